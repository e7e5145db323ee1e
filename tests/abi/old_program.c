/* A program of release 1.0, against the library of today: it is compiled with what the headers of
 * 1.0 declared (smallmind-1.0.h), and uses what people use. Prints what the test compares.
 *
 * Usage: old_program MODEL TEXT FOLDER
 */
#include <stddef.h>
#include <stdint.h>

#include "smallmind-1.0.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sm_error error;

static void must(sm_status status, const char *what) {
    if (status == SM_OK)
        return;
    fprintf(stderr, "%s: %d %s\n", what, (int)status, error.message);
    exit(1);
}

static int32_t on_token(void *user, const sm_token *token) {
    fwrite(token->text, 1, (size_t)token->length, stdout);
    ++*(int *)user;
    return 0;
}

static void tokens_there_and_back(const sm_model *model, const char *text) {
    sm_tokenizer *tokenizer;
    int32_t ids[256];
    char back[1024];
    uint64_t n, length;
    must(sm_model_get_tokenizer(model, &tokenizer, &error), "sm_model_get_tokenizer");
    must(sm_tokenizer_encode(tokenizer, text, strlen(text), NULL, ids, 256, &n, &error), "encode");
    must(sm_tokenizer_decode(tokenizer, ids, n, 0, back, sizeof back, &length, &error), "decode");
    printf("%d tokens\n", (int)n);
    sm_tokenizer_free(tokenizer);
}

static void a_text(const sm_model *model, const char *text, double temperature) {
    const sm_session_options how = {.struct_size = sizeof how, .n_ctx = 128, .n_threads = 2};
    const sm_sampling sampling = {
        .struct_size = sizeof sampling, .temperature = temperature, .top_k = 40, .seed = 7};
    const sm_generate_options options = {
        .struct_size = sizeof options, .max_tokens = 24, .sampling = &sampling};
    sm_generate_stats stats = {.struct_size = sizeof stats};
    sm_session *session;
    int told = 0;
    must(sm_session_new(&session, model, &how, &error), "sm_session_new");
    must(sm_session_generate(session, text, strlen(text), &options, on_token, &told, &error),
         "sm_session_generate");
    must(sm_session_get_stats(session, &stats, &error), "sm_session_get_stats");
    printf("\n%d told, finish %u\n", told > 0, stats.finish);
    must(sm_session_rewind(session, 1, &error), "sm_session_rewind");
    sm_session_free(session);
}

static void a_constraint(const sm_model *model) {
    sm_session *session;
    sm_tokenizer *tokenizer;
    sm_constraint *constraint;
    const sm_text choices[] = {{"red", 3}, {"green", 5}};
    int told = 0;
    must(sm_model_get_tokenizer(model, &tokenizer, &error), "sm_model_get_tokenizer");
    must(sm_constraint_new_choices(&constraint, tokenizer, choices, 2, NULL, &error),
         "sm_constraint_new_choices");
    must(sm_session_new(&session, model, NULL, &error), "sm_session_new");
    const sm_generate_options options = {
        .struct_size = sizeof options, .max_tokens = 24, .constraint = constraint};
    must(sm_session_generate(session, "It is ", 6, &options, on_token, &told, &error), "choice");
    printf("\n");
    sm_session_free(session);
    sm_constraint_free(constraint);
    sm_tokenizer_free(tokenizer);
}

static void quantized(const char *model, const char *folder) {
    char path[4096];
    sm_quantize_result result = {.struct_size = sizeof result};
    const sm_quantize_options options = {.struct_size = sizeof options, .type = "Q8_0"};
    snprintf(path, sizeof path, "%s/q8.gguf", folder);
    must(sm_model_quantize(path, model, &options, &result, &error), "sm_model_quantize");
    printf("quantized: %d\n", result.n_quantized > 0);
}

static void refused(void) {
    sm_model *model;
    const sm_status status = sm_model_load(&model, "/there/is/no/such/file", NULL, &error);
    printf("%d %s\n", (int)status, strstr(error.message, "/there/is") ? "named" : error.message);
}

int main(int argc, char **argv) {
    if (argc != 4 || sm_abi() != 1)
        return 2;
    sm_model *model;
    sm_model_info info = {.struct_size = sizeof info};
    uint32_t n_options = sm_options_count(SM_OPTIONS_SAMPLING);
    must(sm_model_load(&model, argv[1], NULL, &error), "sm_model_load");
    must(sm_model_get_info(model, &info, &error), "sm_model_get_info");
    printf("%s %d\n", info.architecture, n_options > 20);
    tokens_there_and_back(model, argv[2]);
    a_text(model, argv[2], 0);
    a_text(model, argv[2], 0.8);
    a_constraint(model);
    quantized(argv[1], argv[3]);
    refused();
    sm_model_free(model);
    return 0;
}
