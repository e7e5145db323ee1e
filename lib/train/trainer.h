/* trainer.h - the trainer's inside. Private to lib/train.
 */
#ifndef SM_TRAINER_H
#define SM_TRAINER_H

#include "smallmind/train.h"
#include "train.h"

struct sm_trainer {
    sm_mem *mem;                /* everything below is allocated here */
    sm_trainer_options options; /* zeros replaced by defaults; pointers not to be used */
    char *path;                 /* of the model, for messages */
    char *targets;              /* option lora_targets; NULL: not given */
    sm_gguf *gguf;
    sm_tokenizer *tokenizer;
    sm_dataset *dataset;
    sm_graph *graph;
    sm_optim *optim;
    sm_schedule schedule;
    uint64_t step, tokens;
    bool diverged;
};

/* Runs fn on the trainer's team. */
typedef void (*sm_crew_fn)(const sm_crew *crew, void *arg);
void sm_trainer_run(sm_trainer *trainer, sm_crew_fn fn, void *arg);

#endif
