/* finetune.c - teaches a model to follow instructions with a small LoRA adapter, then asks it.
 *
 *     finetune MODEL.gguf INSTRUCTIONS.json ADAPTER.gguf [STEPS]
 *
 * INSTRUCTIONS is a JSON array (or one object a line) with "instruction", "input" and "output".
 */
#include <stdio.h>
#include <stdlib.h>

#include <smallmind/smallmind.h>

static int fail(const sm_error *error) {
    fprintf(stderr, "finetune: %s\n", error->message);
    return 1;
}

static int train(const char *model, const char *data, const char *out, uint64_t steps) {
    const sm_trainer_options options = {
        .struct_size = sizeof options,
        .data = data,
        .validation = 0.1, /* the last tenth is not trained on */
        .rows = 4,
        .steps = steps,
        .warmup = steps / 10,
        .lr = 5e-4,
        .lora_rank = 8,
    };
    sm_error error;
    sm_trainer *trainer;
    sm_train_metrics m = {.struct_size = sizeof m};
    sm_train_evaluation before = {.struct_size = sizeof before}, after = before;
    if (sm_trainer_open(&trainer, model, &options, &error) != SM_OK)
        return fail(&error);
    sm_status status = sm_trainer_evaluate(trainer, &before, &error);
    while (status == SM_OK && sm_trainer_steps_left(trainer) > 0) {
        status = sm_trainer_step(trainer, &m, &error);
        if (status == SM_OK && m.step % 10 == 0)
            printf("step %4llu  loss %.3f nats/token\n", (unsigned long long)m.step, m.loss);
    }
    if (status == SM_OK)
        status = sm_trainer_evaluate(trainer, &after, &error);
    if (status == SM_OK)
        status = sm_trainer_export_adapter(trainer, out, &error);
    sm_trainer_free(trainer);
    if (status != SM_OK)
        return fail(&error);
    printf("validation loss %.3f -> %.3f; wrote %s\n", before.loss, after.loss, out);
    return 0;
}

static int32_t print(void *user, const sm_token *token) {
    (void)user;
    fwrite(token->text, 1, token->length, stdout);
    return fflush(stdout) != 0;
}

/* The same question without and with the adapter: one model, one session. */
static int ask(const char *path, const char *adapter_path) {
    static const char prompt[] =
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nName a color.\n\n### Response:\n";
    const sm_generate_options options = {.struct_size = sizeof options, .max_tokens = 40};
    sm_error error;
    sm_model *model = NULL;
    sm_session *session = NULL;
    sm_adapter *adapter = NULL;
    sm_status status = sm_model_load(&model, path, NULL, &error);
    if (status == SM_OK)
        status = sm_session_new(&session, model, NULL, &error);
    if (status == SM_OK)
        status = sm_adapter_load(&adapter, model, adapter_path, NULL, &error);
    for (int with = 0; with < 2 && status == SM_OK; with++) {
        if (with)
            status = sm_session_attach(session, adapter, 1.0, &error);
        printf("\n--- %s the adapter:\n", with ? "with" : "without");
        if (status == SM_OK)
            status = sm_session_generate(session, prompt, SM_ZT, &options, print, NULL, &error);
    }
    putchar('\n');
    sm_adapter_free(adapter);
    sm_session_free(session);
    sm_model_free(model);
    return status == SM_OK ? 0 : fail(&error);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: finetune MODEL.gguf INSTRUCTIONS.json ADAPTER.gguf [STEPS]\n");
        return 2;
    }
    const uint64_t steps = argc > 4 ? strtoull(argv[4], NULL, 10) : 100;
    const int code = train(argv[1], argv[2], argv[3], steps ? steps : 100);
    return code ? code : ask(argv[1], argv[3]);
}
