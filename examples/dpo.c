/* dpo.c - teaches a model to prefer some answers to others by DPO, with a small LoRA adapter.
 *
 *     dpo MODEL.gguf PAIRS.json ADAPTER.gguf [STEPS]
 *
 * PAIRS is a JSON array (or one object a line) with "prompt", "chosen" and "rejected", or in
 * another layout of docs/training.md. What to look at: margins and accuracy of pairs that are not
 * trained on rise, while the chosen answers do not become unlikely.
 */
#include <stdio.h>
#include <stdlib.h>

#include <smallmind/smallmind.h>

static int fail(const sm_error *error) {
    fprintf(stderr, "dpo: %s\n", error->message);
    return 1;
}

static int32_t show(void *user, const sm_train_metrics *m) {
    (void)user;
    if (m->step % 5 == 0)
        printf("step %4llu  loss %.3f  rewards %6.3f and %6.3f  margin %6.3f  accuracy %.2f\n",
               (unsigned long long)m->step, m->loss, m->chosen_reward, m->rejected_reward,
               m->reward_margin, m->accuracy);
    return 0;
}

static void tell(const char *when, const sm_train_evaluation *e) {
    printf("%s: loss %.3f, margin %.3f, accuracy %.2f\n", when, e->loss, e->reward_margin,
           e->accuracy);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: dpo MODEL.gguf PAIRS.json ADAPTER.gguf [STEPS]\n");
        return 2;
    }
    const uint64_t steps = argc > 4 ? strtoull(argv[4], NULL, 10) : 60;
    const sm_trainer_options options = {
        .struct_size = sizeof options,
        .data = argv[2],
        .objective = SM_OBJECTIVE_DPO,
        .preference_beta = 0.1,
        .validation = 0.05, /* the last pairs are not trained on */
        .sequence = 128,    /* tokens of a prompt and its answer */
        .rows = 4,          /* pairs in a step */
        .steps = steps,
        .warmup = steps / 10,
        .lr = 5e-5,
        .lora_rank = 16, /* the reference is the model without the adapter */
    };
    sm_error error;
    sm_trainer *trainer;
    sm_train_evaluation before = {.struct_size = sizeof before}, after = before;
    if (sm_trainer_open(&trainer, argv[1], &options, &error) != SM_OK)
        return fail(&error);
    sm_status status = sm_trainer_evaluate(trainer, &before, &error);
    if (status == SM_OK)
        status = sm_trainer_train(trainer, 0, show, NULL, &error);
    if (status == SM_OK)
        status = sm_trainer_evaluate(trainer, &after, &error);
    if (status == SM_OK)
        status = sm_trainer_export_adapter(trainer, argv[3], &error);
    sm_trainer_free(trainer);
    if (status != SM_OK)
        return fail(&error);
    tell("before", &before);
    tell("after", &after);
    return 0;
}
