/* distill.c - trains a small model on a text and on what a larger one with the same vocabulary says
 * of it, which tells more of each token than the text does.
 *
 *     distill TEACHER.gguf TEXT.txt STUDENT.gguf [STEPS]
 */
#include <stdio.h>
#include <stdlib.h>

#include <smallmind/smallmind.h>

static int fail(const sm_error *error) {
    fprintf(stderr, "distill: %s\n", error->message);
    return 1;
}

static int32_t show(void *user, const sm_train_metrics *m) {
    (void)user;
    if (m->step % 20 == 0)
        printf("step %4llu  loss %.3f  of it the teacher's %.3f\n", (unsigned long long)m->step,
               m->loss, m->teacher_loss);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: distill TEACHER.gguf TEXT.txt STUDENT.gguf [STEPS]\n");
        return 2;
    }
    const uint64_t steps = argc > 4 ? strtoull(argv[4], NULL, 10) : 200;
    const sm_model_init_options small = {.struct_size = sizeof small,
                                         .n_embd = 192,
                                         .n_layer = 4,
                                         .n_head = 6,
                                         .n_head_kv = 3,
                                         .n_ff = 512};
    const sm_trainer_options options = {
        .struct_size = sizeof options,
        .data = argv[2],
        .validation = 0.05, /* of the text alone: nats per token without the teacher */
        .steps = steps,
        .warmup = steps / 20,
        .lr = 3e-3,
        .teacher = argv[1],
        .teacher_weight = 0.5,
        .teacher_temperature = 2,
    };
    sm_error error;
    sm_trainer *trainer;
    sm_train_evaluation e = {.struct_size = sizeof e};
    if (sm_model_init(argv[3], argv[1], &small, &error) != SM_OK ||
        sm_trainer_open(&trainer, argv[3], &options, &error) != SM_OK)
        return fail(&error);
    sm_status status = sm_trainer_train(trainer, 0, show, NULL, &error);
    if (status == SM_OK)
        status = sm_trainer_evaluate(trainer, &e, &error);
    if (status == SM_OK)
        status = sm_trainer_export(trainer, argv[3], NULL, &error);
    sm_trainer_free(trainer);
    if (status != SM_OK)
        return fail(&error);
    printf("validation loss %.3f; wrote %s\n", e.loss, argv[3]);
    return 0;
}
