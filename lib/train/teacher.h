/* teacher.h - a model whose logits another one learns. Private to lib/train. */
#ifndef SM_TEACHER_H
#define SM_TEACHER_H

#include "train.h"

struct sm_teacher {
    sm_mem *mem;
    sm_net *net;
    sm_workspace *ws;
    sm_tape *tape;
    double weight, temperature;
    sm_span *spans; /* [max_spans], with states as in sm_graph */
    sm_state *states;
    sm_kv *kv;
    uint8_t *memory;
    float *logits; /* [chunk][ldl] */
    uint64_t ldl;
    float **room; /* [n_threads] two rows of logits each */
    uint32_t n_threads;
};

/* The teacher's logits of a batch, once sm_teacher_logits is called for tokens of it.
 * SM_ERR_CANCELLED. */
sm_status sm_teacher_forward(sm_teacher *teacher, sm_team *team, const sm_train_batch *batch,
                             sm_stop *stop);
void sm_teacher_logits(sm_teacher *teacher, sm_team *team, sm_stop *stop, const uint32_t *rows,
                       uint32_t n);
/* Of one token, whose teacher's logits are row i: what being unlike the teacher costs, without the
 * teacher's weight; from the student's logits. *difference is that of both
 * distributions, until the thread's next token: the gradient is temperature times it. */
double sm_teacher_loss(sm_teacher *teacher, const float *logits, uint32_t i, uint32_t thread,
                       const float **difference);

#endif
