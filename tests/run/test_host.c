/* test_host.c - a program whose functions bear names of the library's. Nothing of it may be called:
 * splitting texts, folding letters, training on JSON and generating all work as anywhere else.
 *
 * TAKES_INTERNALS: they are internal ones, for the static library; else public ones that the
 * library calls itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "smallmind/smallmind.h"
#include "support.h"

/* ---- the host's own functions -------------------------------------------------------- */

static const char *called; /* the last one */

#ifdef TAKES_INTERNALS
#define TAKE(name)      \
    void *name(void);   \
    void *name(void) {  \
        called = #name; \
        return NULL;    \
    }
TAKE(sm_alloc)
TAKE(sm_alloc_array)
TAKE(sm_cpu_quota)
TAKE(sm_fail)
TAKE(sm_free)
TAKE(sm_realloc)
TAKE(sm_strdup)
TAKE(sm_utf8_encode)
#else
SM_API sm_status sm_session_feed(sm_session *session, const int32_t *ids, uint64_t n,
                                 sm_error *error) {
    (void)session, (void)ids, (void)n, (void)error;
    called = "sm_session_feed";
    return SM_ERR_STATE;
}
SM_API sm_status sm_detokenizer_feed(sm_detokenizer *detokenizer, int32_t id, const char **text,
                                     uint64_t *length, sm_error *error) {
    (void)detokenizer, (void)id, (void)text, (void)length, (void)error;
    called = "sm_detokenizer_feed";
    return SM_ERR_STATE;
}
#endif

static void host_was_left_alone(void) {
    if (called)
        fail_msg("the library called the program's %s", called);
}

/* ---- files, by hand: a program has nothing but the public functions -------------------- */

#define OK(call)                            \
    do {                                    \
        sm_error e_ = {0};                  \
        sm_error *error = &e_;              \
        if ((call) != SM_OK)                \
            fail_msg("%s", error->message); \
    } while (0)

enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_STRING = 8, GGUF_ARRAY = 9 };

static void put_key(bytes *b, const char *name, uint32_t type) {
    bytes_str(b, name);
    bytes_u32(b, type);
}

static void put_str(bytes *b, const char *name, const char *value) {
    put_key(b, name, GGUF_STRING);
    bytes_str(b, value);
}

static void put_list(bytes *b, const char *name, uint32_t type, uint64_t n) {
    put_key(b, name, GGUF_ARRAY);
    bytes_u32(b, type);
    bytes_u64(b, n);
}

static void put_head(bytes *b, uint64_t n_keys) {
    bytes_put(b, "GGUF", 4);
    bytes_u32(b, 3);
    bytes_u64(b, 0);
    bytes_u64(b, n_keys);
    put_str(b, "general.architecture", "llama");
}

static const char *written(const char *name, bytes *b) {
    const char *path = scratch_path(name);
    scratch_write(path, b->data, b->size);
    bytes_free(b);
    return path;
}

/* The bytes as GPT-2 spells them, one merge that the pre-tokenizer forbids
 * ("!" is a piece of its own) and one that they allow, and an end mark. */
static const char *byte_level(void) {
    enum { N_MERGES = 2, N = 256 + N_MERGES + 1 };
    static const char *const merges[N_MERGES] = {"a !", "a b"};
    bytes b = {0};
    put_head(&b, 7);
    put_str(&b, "tokenizer.ggml.model", "gpt2");
    put_str(&b, "tokenizer.ggml.pre", "chameleon");
    put_list(&b, "tokenizer.ggml.tokens", GGUF_STRING, N);
    for (uint32_t code = '!'; code < 0x144; code++) /* printable bytes, then stand-ins */
        if (code < 127 || (code > 160 && code != 173)) {
            const char two[] = {(char)(0xc0 | code >> 6), (char)(0x80 | (code & 63)), 0};
            bytes_str(&b, code < 0x80 ? (char[]){(char)code, 0} : two);
        }
    bytes_str(&b, "a!");
    bytes_str(&b, "ab");
    bytes_str(&b, "<|endoftext|>");
    put_list(&b, "tokenizer.ggml.token_type", GGUF_I32, N);
    for (uint32_t i = 0; i < N; i++)
        bytes_u32(&b, i == N - 1 ? 3 : 1);
    put_list(&b, "tokenizer.ggml.merges", GGUF_STRING, N_MERGES);
    for (uint32_t i = 0; i < N_MERGES; i++)
        bytes_str(&b, merges[i]);
    put_key(&b, "tokenizer.ggml.eos_token_id", GGUF_U32);
    bytes_u32(&b, N - 1);
    return written("byte-level.gguf", &b);
}

static const char *word_piece(void) {
    static const char piece[] = "\xe2\x96\x81\x65te"; /* U+2581, then ete */
    const char *const tokens[] = {"[UNK]", "[CLS]", "[SEP]", piece};
    bytes b = {0};
    put_head(&b, 6);
    put_str(&b, "tokenizer.ggml.model", "bert");
    put_list(&b, "tokenizer.ggml.tokens", GGUF_STRING, 4);
    for (size_t i = 0; i < 4; i++)
        bytes_str(&b, tokens[i]);
    static const char *const ids[] = {"tokenizer.ggml.unknown_token_id",
                                      "tokenizer.ggml.cls_token_id",
                                      "tokenizer.ggml.seperator_token_id"};
    for (uint32_t i = 0; i < 3; i++) {
        put_key(&b, ids[i], GGUF_U32);
        bytes_u32(&b, i);
    }
    return written("word-piece.gguf", &b);
}

/* ---- what a host does with the library -------------------------------------------------- */

static void expect_ids(const char *path, const char *text, const int32_t *want, uint64_t n_want) {
    sm_tokenizer *tokenizer;
    int32_t ids[16];
    uint64_t n = 0;
    OK(sm_tokenizer_load(&tokenizer, path, NULL, error));
    OK(sm_tokenizer_encode(tokenizer, text, strlen(text), 0, ids, 16, &n, error));
    sm_tokenizer_free(tokenizer);
    assert_int_equal(n, n_want);
    assert_memory_equal(ids, want, n * sizeof *ids);
    host_was_left_alone();
}

static void texts_are_split(void **state) {
    (void)state;
    /* printable bytes come first: a byte's id is its rank among these */
    expect_ids(byte_level(), "aba!", (const int32_t[]){257, 'a' - '!', 0}, 3);
}

static void letters_are_folded(void **state) {
    (void)state;
    expect_ids(word_piece(), "\xc3\x89T\xc3\x89", (const int32_t[]){3}, 1);
}

static int32_t collect(void *user, const sm_token *token) {
    *(uint64_t *)user += token->id >= 0;
    return 0;
}

static void instructions_are_learnt(void **state) {
    (void)state;
    static const char data[] =
        "[{\"instruction\": \"say \\u00e9!\", \"input\": \"\", \"output\": \"ab ab ab\"},\n"
        " {\"instruction\": \"say no\", \"output\": \"no! no!\"}]";
    const char *path = scratch_path("instructions.json");
    scratch_write(path, data, strlen(data));
    const char *model_path = scratch_path("model.gguf");
    OK(sm_model_init(model_path, byte_level(),
                     &(sm_model_init_options){.struct_size = sizeof(sm_model_init_options),
                                              .n_embd = 32,
                                              .n_layer = 1,
                                              .n_head = 2,
                                              .n_ff = 64,
                                              .n_ctx = 256,
                                              .seed = 1},
                     error));
    const sm_trainer_options options = {
        .struct_size = sizeof options, .data = path, .rows = 2, .steps = 4, .lr = 0.01};
    sm_trainer *trainer;
    sm_train_metrics first = {.struct_size = sizeof first}, last = first;
    OK(sm_trainer_open(&trainer, model_path, &options, error));
    OK(sm_trainer_step(trainer, &first, error));
    while (sm_trainer_steps_left(trainer) > 0)
        OK(sm_trainer_step(trainer, &last, error));
    assert_true(isfinite(first.loss) && last.loss < first.loss);
    OK(sm_trainer_export(trainer, model_path, NULL, error));
    sm_trainer_free(trainer);

    sm_model *model;
    sm_session *session;
    uint64_t n = 0;
    OK(sm_model_load(&model, model_path, NULL, error));
    OK(sm_session_new(&session, model, NULL, error));
    const sm_generate_options go = {.struct_size = sizeof go, .max_tokens = 5, .ignore_end = 1};
    OK(sm_session_generate(session, "say no", SM_ZT, &go, collect, &n, error));
    assert_int_equal(n, 5);
    sm_session_free(session);
    sm_model_free(model);
    host_was_left_alone();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_split),
        cmocka_unit_test(letters_are_folded),
        cmocka_unit_test(instructions_are_learnt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
