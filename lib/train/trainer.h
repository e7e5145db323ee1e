/* trainer.h - the trainer's inside. Private to lib/train.
 */
#ifndef SM_TRAINER_H
#define SM_TRAINER_H

#include "smallmind/train.h"
#include "train.h"

/* A step between its gradient and its end. What was begun of these is to be finished before
 * anything else is computed or written: sm_trainer_settle. */
typedef enum sm_update_stage {
    SM_UPDATE_NONE,
    SM_UPDATE_WEIGHTS, /* the optimizer is at work */
    SM_UPDATE_PACKED,  /* then: what is derived from the weights */
    SM_UPDATE_MIXED,   /* a checkpoint was being taken over: only another one helps */
} sm_update_stage;

/* What one update needs and gives. */
typedef struct sm_trainer_update {
    sm_update_stage stage;
    sm_optim *optim;
    double lr, clip, scale;   /* scale: 1 / targets */
    double norm;              /* of the mean gradient */
    double loss;              /* summed over the targets */
    double balance;           /* the routers' loss of each batch, its targets times */
    double unlike;            /* summed over the targets, what is learned of a teacher */
    uint64_t targets, tokens; /* that are trained, that were computed */
    /* where answers are compared: entries, which the loss is summed over then; of the good and the
     * bad answers how many, and their rewards; entries that are told apart rightly */
    uint64_t entries, answers[2], right;
    double reward[2];
} sm_trainer_update;

struct sm_trainer {
    sm_use use;
    uint32_t process;           /* in which the running call began */
    sm_mem *mem;                /* everything below is allocated here */
    sm_trainer_options options; /* zeros replaced by defaults; pointers not to be used */
    char *path;                 /* of the model, for messages */
    char *targets, *separator;  /* options lora_targets and separator; NULL: not given */
    sm_ask ask;                 /* its hook and flag */
    sm_cancel *flag;            /* a reference */
    sm_source *source;
    sm_tokenizer *tokenizer;
    sm_dataset *dataset;
    sm_graph *graph;
    sm_optim *optim;
    struct sm_preference *preference; /* NULL: supervised */
    char *teacher_path;               /* NULL: none */
    sm_source *teacher_source;
    sm_teacher *teacher;
    sm_schedule schedule;
    sm_trainer_update update; /* of the last step */
    /* what other threads may look at (sm_trainer_get_info) */
    _Atomic uint64_t step, tokens, epoch;
    _Atomic double epochs;
    _Atomic bool diverged, updating; /* updating: stage is WEIGHTS or PACKED */
};

/* The trainer's mark, around everything but sm_trainer_get_info and sm_trainer_steps_left, to
 * sm_trainer_end; lent: a callback of sm_trainer_train may do it. SM_ERR_STATE. */
sm_status sm_trainer_begin(sm_trainer *trainer, bool lent, sm_error *error);

/* SM_ERR_DIVERGED if a weight that is trained is not finite; those of the file were when it was
 * opened. SM_ERR_CANCELLED. */
sm_status sm_trainer_check(sm_trainer *trainer, sm_error *error);

typedef void (*sm_crew_fn)(const sm_crew *crew, void *arg);
/* Makes graph and data ask what the trainer is to ask. */
void sm_trainer_set_hook(sm_trainer *trainer);
/* The trainer's cancel hook, for work that asks one thread. */
sm_hook sm_trainer_hook(sm_trainer *trainer);
/* Goes on with what a cancelled step has left to do, if anything. SM_ERR_CANCELLED: once more. */
sm_status sm_trainer_settle(sm_trainer *trainer, sm_error *error);

#endif
