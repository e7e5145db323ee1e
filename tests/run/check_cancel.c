/* check_cancel - every call that takes long asks a hook now and then whether to go on, and ends
 * where it says no, leaving no file.
 *
 *   check_cancel             a test: questions are counted, on small models
 *   check_cancel --measure [SIZE [CALL]]
 *                            the longest CPU time, of all threads together, that passes between two
 *                            questions of each call, its beginning and end counted as such, and the
 *                            question after which it passed; on a model of 27 M weights, or SIZE
 *                            times as many layers; CALL: part of the names of the calls
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "format/format.h"
#include "smallmind/experimental.h"
#include "smallmind/smallmind.h"
#include "support.h"

/* ---- the hook ----------------------------------------------------------------------------- */

typedef struct asking {
    uint64_t asked, yes_at; /* question that is answered with yes, from 1; 0: none */
    uint64_t longest_after; /* question after which the longest time passed */
    double last, longest;   /* seconds of CPU */
    bool silent;            /* no hook is given: the flag alone ends the call */
} asking;

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void note_gap(asking *a) {
    const double now = cpu_seconds();
    a->longest_after = now - a->last > a->longest ? a->asked : a->longest_after;
    a->longest = now - a->last > a->longest ? now - a->last : a->longest;
    a->last = now;
}

static int32_t ask(void *user) {
    asking *a = user;
    note_gap(a);
    a->asked++;
    return a->yes_at && a->asked >= a->yes_at;
}

static int32_t progress(void *user, uint64_t done, uint64_t total) {
    assert_true(done <= total && total > 0);
    return ask(user);
}

static sm_progress_fn progress_of(const asking *a) {
    return a->silent ? NULL : progress;
}

static sm_cancel_fn cancel_of(const asking *a) {
    return a->silent ? NULL : ask;
}

/* ---- what the calls work on ------------------------------------------------------------------ */

typedef struct sizes {
    uint32_t n_embd, n_layer, n_ff, n_vocab, sequence, rows;
    uint64_t text_bytes;
    const char *shape; /* of random models */
    uint64_t strings;  /* in an array of a GGUF file */
} sizes;

static const sizes small = {256, 2, 704, 600, 64, 4, (uint64_t)1 << 20, "stories15m", 400000};
static const sizes large = {512, 8, 1376, 4096, 256, 8, (uint64_t)8 << 20, "smollm2-135m", 2000000};

static struct world {
    sizes size;
    char text[256], lines[256], vocab[256], model[256], adapter[256], out[256], ckpt[256],
        strings[256];
    sm_model *loaded;
    sm_trainer *trainer, *lora;
    sm_session *session;
    sm_imatrix *imatrix;
    sm_cancel *flag; /* of all that is made and called */
    int32_t *ids;
    float *logits;
    uint32_t n_ids;
} world;

#define OK(call)                                       \
    do {                                               \
        sm_error error_ = {0};                         \
        sm_error *const error = &error_;               \
        if (call)                                      \
            fail_msg("%s: %s", #call, error->message); \
    } while (0)

/* Words of a few letters, documents of 4 KiB, or a single one without line ends. */
static void write_text(const char *path, uint64_t size, bool documents) {
    FILE *f = fopen(path, "wb");
    uint64_t seed = 3, at = 0, next = 4096;
    assert_non_null(f);
    while (at < size) {
        char word[12];
        const uint64_t length = 2 + test_random(&seed) % 6;
        for (uint64_t i = 0; i < length; i++)
            word[i] = "etaonishr"[test_random(&seed) % (i % 2 ? 9 : 5)];
        word[length] = ' ';
        fwrite(word, 1, length + 1, f);
        at += length + 1;
        if (documents && at > next) {
            fputs("\n<|endoftext|>\n", f);
            next += 4096;
        }
    }
    fclose(f);
}

/* A file that is nothing but a vocabulary: a word for each number, and merges of two of them. */
static void write_strings(const char *path, uint64_t n) {
    sm_mem mem;
    sm_gguf_writer *w;
    char *text = calloc(n, 24);
    sm_gguf_str *words = calloc(n, sizeof *words), *merges = calloc(n, sizeof *merges);
    assert_true(text && words && merges);
    for (uint64_t i = 0; i < n; i++) {
        char *word = text + 24 * i;
        const int length =
            snprintf(word, 24, "%llu %llu", (unsigned long long)i, (unsigned long long)(i / 3));
        const size_t first = strcspn(word, " ");
        words[i] = (sm_gguf_str){word, first};
        merges[i] = (sm_gguf_str){word, (size_t)length};
    }
    OK(sm_mem_init(&mem, NULL, 0, error));
    OK(sm_gguf_writer_open(&w, &mem, path, 3, 32, error));
    sm_gguf_put_str(w, "general.architecture", "llama", 5);
    sm_gguf_put_str(w, "tokenizer.ggml.model", "gpt2", 4);
    sm_gguf_put_str(w, "tokenizer.ggml.pre", "gpt-2", 5);
    sm_gguf_put_array(w, "tokenizer.ggml.tokens", SM_KEY_STRING, words, n);
    sm_gguf_put_array(w, "tokenizer.ggml.merges", SM_KEY_STRING, merges, n);
    OK(sm_gguf_writer_finish(w, error));
    free(text);
    free(words);
    free(merges);
}

static sm_trainer_options trainer_options(uint32_t lora_rank, uint32_t precision) {
    return (sm_trainer_options){.struct_size = sizeof(sm_trainer_options),
                                .n_threads = 2,
                                .data = world.text,
                                .validation = 0.004,
                                .sequence = world.size.sequence,
                                .rows = world.size.rows,
                                .precision = precision,
                                .cancel_flag = world.flag,
                                .lora_rank = lora_rank};
}

static void set_paths(void) {
    char *const paths[] = {world.text,    world.lines, world.vocab, world.model,
                           world.adapter, world.out,   world.ckpt,  world.strings};
    static const char *const names[] = {"text.txt",     "lines.txt", "vocab.gguf", "model.gguf",
                                        "adapter.gguf", "out.gguf",  "run.ckpt",   "strings.gguf"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        snprintf(paths[i], sizeof world.text, "%s", scratch_path(names[i]));
}

static sm_model_init_options init_options(asking *a) {
    return (sm_model_init_options){.struct_size = sizeof(sm_model_init_options),
                                   .n_embd = world.size.n_embd,
                                   .n_layer = world.size.n_layer,
                                   .n_ff = world.size.n_ff,
                                   .n_ctx = 2048,
                                   .progress = a ? progress_of(a) : NULL,
                                   .cancel_flag = world.flag,
                                   .progress_user = a};
}

static sm_vocabulary_options vocabulary_options(asking *a) {
    return (sm_vocabulary_options){.struct_size = sizeof(sm_vocabulary_options),
                                   .n_vocab = world.size.n_vocab,
                                   .progress = a ? progress_of(a) : NULL,
                                   .cancel_flag = world.flag,
                                   .progress_user = a};
}

static void make_world(const sizes *size) {
    world.size = *size;
    OK(sm_cancel_new(&world.flag, error));
    set_paths();
    write_text(world.text, size->text_bytes, true);
    write_text(world.lines, size->text_bytes, false);
    write_strings(world.strings, size->strings);
    const char *const texts[] = {world.text};
    const sm_vocabulary_options vocabulary = vocabulary_options(NULL);
    OK(sm_vocabulary_train(world.vocab, texts, 1, &vocabulary, error));
    const sm_model_init_options init = init_options(NULL);
    OK(sm_model_init(world.model, world.vocab, &init, error));
    const sm_trainer_options full = trainer_options(0, SM_TRAIN_F32);
    const sm_trainer_options lora = trainer_options(8, SM_TRAIN_F32);
    OK(sm_trainer_open(&world.trainer, world.model, &full, error));
    OK(sm_trainer_open(&world.lora, world.model, &lora, error));
    OK(sm_trainer_export_adapter(world.lora, world.adapter, error));
    OK(sm_trainer_save(world.trainer, world.ckpt, error));
    OK(sm_model_load(&world.loaded, world.model, NULL, error));
    const sm_session_options session = {
        .struct_size = sizeof session, .n_threads = 2, .n_ctx = 1024, .cancel_flag = world.flag};
    OK(sm_session_new(&world.session, world.loaded, &session, error));
    const sm_imatrix_options imatrix = {
        .struct_size = sizeof imatrix, .n_threads = 2, .cancel_flag = world.flag};
    OK(sm_imatrix_new(&world.imatrix, world.loaded, &imatrix, error));
    world.n_ids = 512;
    world.ids = calloc(world.n_ids, sizeof *world.ids);
    world.logits = calloc((uint64_t)world.n_ids * size->n_vocab, sizeof *world.logits);
    assert_true(world.ids && world.logits);
    for (uint32_t i = 0; i < world.n_ids; i++)
        world.ids[i] = (int32_t)(i * 7919 % size->n_vocab);
}

static void end_world(void) {
    free(world.ids);
    free(world.logits);
    sm_imatrix_free(world.imatrix);
    sm_session_free(world.session);
    sm_model_free(world.loaded);
    sm_trainer_free(world.lora);
    sm_trainer_free(world.trainer);
    sm_cancel_free(world.flag);
}

/* ---- the calls ------------------------------------------------------------------------------- */

static sm_status learn(asking *a, sm_error *error) {
    const char *const texts[] = {world.text};
    const sm_vocabulary_options o = vocabulary_options(a);
    return sm_vocabulary_train(world.out, texts, 1, &o, error);
}

static sm_status learn_one_line(asking *a, sm_error *error) {
    const char *const texts[] = {world.lines};
    const sm_vocabulary_options o = vocabulary_options(a);
    return sm_vocabulary_train(world.out, texts, 1, &o, error);
}

static sm_status init(asking *a, sm_error *error) {
    const sm_model_init_options o = init_options(a);
    return sm_model_init(world.out, world.vocab, &o, error);
}

static sm_status look_into(const char *path, uint32_t io, asking *a, sm_error *error) {
    const sm_gguf_options o = {.struct_size = sizeof o,
                               .io = io,
                               .progress = progress_of(a),
                               .progress_user = a,
                               .cancel_flag = world.flag};
    sm_gguf *gguf;
    const sm_status status = sm_gguf_load(&gguf, path, &o, error);
    sm_gguf_free(gguf);
    return status;
}

static sm_status look_read(asking *a, sm_error *error) {
    return look_into(world.model, SM_IO_READ, a, error);
}

static sm_status look_long(asking *a, sm_error *error) {
    return look_into(world.strings, SM_IO_MAP, a, error);
}

static sm_status load_by(uint32_t io, asking *a, sm_error *error) {
    const sm_model_options o = {.struct_size = sizeof o,
                                .io = io,
                                .progress = progress_of(a),
                                .progress_user = a,
                                .cancel_flag = world.flag};
    sm_model *model;
    const sm_status status = sm_model_load(&model, world.model, &o, error);
    sm_model_free(model);
    return status;
}

static sm_status load_read(asking *a, sm_error *error) {
    return load_by(SM_IO_READ, a, error);
}

static sm_status load_mapped(asking *a, sm_error *error) {
    return load_by(SM_IO_MAP, a, error);
}

static sm_status load_tokenizer(asking *a, sm_error *error) {
    const sm_tokenizer_options o = {.struct_size = sizeof o,
                                    .cancel = cancel_of(a),
                                    .cancel_user = a,
                                    .cancel_flag = world.flag};
    sm_tokenizer *tokenizer;
    const sm_status status = sm_tokenizer_load(&tokenizer, world.strings, &o, error);
    sm_tokenizer_free(tokenizer);
    return status;
}

static sm_status random_of(const char *type, asking *a, sm_error *error) {
    const sm_model_options o = {.struct_size = sizeof o,
                                .progress = progress_of(a),
                                .progress_user = a,
                                .cancel_flag = world.flag};
    sm_model *model;
    const sm_status status = sm_model_random(&model, world.size.shape, type, 1, &o, error);
    note_gap(a);
    sm_model_free(model); /* hundreds of megabytes go back to the system */
    a->last = cpu_seconds();
    return status;
}

static sm_status random_floats(asking *a, sm_error *error) {
    return random_of("F32", a, error);
}

static sm_status random_blocks(asking *a, sm_error *error) {
    return random_of("Q8_0", a, error);
}

static sm_status random_save(asking *a, sm_error *error) {
    const sm_model_options o = {.struct_size = sizeof o,
                                .progress = progress_of(a),
                                .progress_user = a,
                                .cancel_flag = world.flag};
    return sm_model_random_save(world.out, world.size.shape, "F16", 1, &o, error);
}

static sm_status save_packed(asking *a, sm_error *error) {
    return sm_model_save_packed(world.loaded, world.out,
                                &(sm_pack_options){.struct_size = sizeof(sm_pack_options),
                                                   .progress = progress_of(a),
                                                   .cancel_flag = world.flag,
                                                   .progress_user = a},
                                error);
}

static sm_status quantize_to(const char *type, asking *a, sm_error *error) {
    const sm_quantize_options o = {.struct_size = sizeof o,
                                   .n_threads = 2,
                                   .type = type,
                                   .progress = progress_of(a),
                                   .cancel_flag = world.flag,
                                   .progress_user = a};
    return sm_model_quantize(world.out, world.model, &o, NULL, error);
}

static sm_status quantize_blocks(asking *a, sm_error *error) {
    return quantize_to("Q2_K", a, error);
}

static sm_status quantize_copy(asking *a, sm_error *error) {
    return quantize_to("F32", a, error);
}

static sm_status merge(asking *a, sm_error *error) {
    return sm_adapter_merge(world.out, world.model, world.adapter, 1,
                            &(sm_merge_options){.struct_size = sizeof(sm_merge_options),
                                                .progress = progress_of(a),
                                                .cancel_flag = world.flag,
                                                .progress_user = a},
                            error);
}

static sm_status load_adapter(asking *a, sm_error *error) {
    sm_adapter *adapter;
    const sm_status status =
        sm_adapter_load(&adapter, world.loaded, world.adapter,
                        &(sm_adapter_options){.struct_size = sizeof(sm_adapter_options),
                                              .progress = progress_of(a),
                                              .progress_user = a,
                                              .cancel_flag = world.flag},
                        error);
    sm_adapter_free(adapter);
    return status;
}

static sm_status with_session(sm_status (*fn)(sm_error *error), asking *a, sm_error *error) {
    sm_session_set_cancel(world.session, cancel_of(a), a, NULL);
    sm_session_rewind(world.session, 0, NULL);
    const sm_status status = fn(error);
    sm_session_set_cancel(world.session, NULL, NULL, NULL);
    return status;
}

static sm_status feed_ids(sm_error *error) {
    return sm_session_feed(world.session, world.ids, world.n_ids, error);
}

static sm_status feed(asking *a, sm_error *error) {
    return with_session(feed_ids, a, error);
}

static sm_status feed_for_logits(sm_error *error) {
    return sm_session_feed_logits(world.session, world.ids, world.n_ids, world.logits, UINT64_MAX,
                                  error);
}

static sm_status feed_logits(asking *a, sm_error *error) {
    return with_session(feed_for_logits, a, error);
}

static sm_status fork_session(sm_error *error) {
    sm_session *copy;
    const sm_status status = sm_session_fork(&copy, world.session, NULL, error);
    sm_session_free(copy);
    return status;
}

/* Of what has been fed, without a hook. */
static sm_status fork_fed(asking *a, sm_error *error) {
    sm_status status = sm_session_sync(world.session, world.ids, world.n_ids, NULL, error);
    if (status)
        return status;
    sm_session_set_cancel(world.session, cancel_of(a), a, NULL);
    a->last = cpu_seconds();
    status = fork_session(error);
    sm_session_set_cancel(world.session, NULL, NULL, NULL);
    return status;
}

/* Of what has been fed, and into what holds nothing. */
static sm_status with_fed(sm_status (*fn)(const char *path, sm_error *error), bool empty, asking *a,
                          sm_error *error) {
    sm_status status = sm_session_sync(world.session, world.ids, world.n_ids, NULL, error);
    if (!status)
        status = sm_session_save(world.session, scratch_path("session.sms"), error);
    if (!status && empty)
        status = sm_session_rewind(world.session, 0, error);
    if (status)
        return status;
    sm_session_set_cancel(world.session, ask, a, NULL);
    a->last = cpu_seconds();
    status = fn(scratch_path(empty ? "session.sms" : "again.sms"), error);
    sm_session_set_cancel(world.session, NULL, NULL, NULL);
    return status;
}

static sm_status save_file(const char *path, sm_error *error) {
    return sm_session_save(world.session, path, error);
}

static sm_status save_session(asking *a, sm_error *error) {
    return with_fed(save_file, false, a, error);
}

static sm_status load_file(const char *path, sm_error *error) {
    return sm_session_restore(world.session, path, error);
}

static sm_status load_session(asking *a, sm_error *error) {
    return with_fed(load_file, true, a, error);
}

static sm_status generate_text(sm_error *error) {
    const sm_sampling sampling = {.struct_size = sizeof sampling, .seed = 1};
    const sm_generate_options o = {
        .struct_size = sizeof o, .max_tokens = 32, .sampling = &sampling};
    return sm_session_generate(world.session, "abc", SM_ZT, &o, NULL, NULL, error);
}

static sm_status generate(asking *a, sm_error *error) {
    return with_session(generate_text, a, error);
}

static sm_status measure_inputs(asking *a, sm_error *error) {
    sm_imatrix_set_cancel(world.imatrix, cancel_of(a), a, NULL);
    return sm_imatrix_feed(world.imatrix, world.ids, world.n_ids, error);
}

static sm_status open_with(uint32_t lora_rank, uint32_t precision, asking *a, sm_error *error) {
    sm_trainer_options o = trainer_options(lora_rank, precision);
    o.progress = progress_of(a);
    o.progress_user = a;
    sm_trainer *trainer;
    const sm_status status = sm_trainer_open(&trainer, world.model, &o, error);
    note_gap(a);
    sm_trainer_free(trainer);
    a->last = cpu_seconds();
    return status;
}

static sm_status open_trainer(asking *a, sm_error *error) {
    return open_with(0, SM_TRAIN_F32, a, error);
}

static sm_status open_lora(asking *a, sm_error *error) {
    return open_with(8, SM_TRAIN_F32, a, error);
}

typedef sm_status (*trainer_fn)(sm_trainer *trainer, sm_error *error);

static sm_status with_trainer(sm_trainer *trainer, trainer_fn fn, asking *a, sm_error *error) {
    sm_trainer_set_cancel(trainer, cancel_of(a), a, NULL);
    const sm_status status = fn(trainer, error);
    sm_trainer_set_cancel(trainer, NULL, NULL, NULL);
    return status;
}

static sm_status one_step(sm_trainer *trainer, sm_error *error) {
    return sm_trainer_step(trainer, NULL, error);
}

static sm_status step(asking *a, sm_error *error) {
    return with_trainer(world.trainer, one_step, a, error);
}

static sm_status step_lora(asking *a, sm_error *error) {
    return with_trainer(world.lora, one_step, a, error);
}

static sm_status step_other(const sm_trainer_options *o, asking *a, sm_error *error) {
    sm_trainer *trainer;
    const sm_status opened = sm_trainer_open(&trainer, world.model, o, error);
    if (opened)
        return opened;
    a->last = cpu_seconds();
    const sm_status status = with_trainer(trainer, one_step, a, error);
    note_gap(a);
    sm_trainer_free(trainer);
    a->last = cpu_seconds();
    return status;
}

static sm_status step_bf16(asking *a, sm_error *error) {
    const sm_trainer_options o = trainer_options(0, SM_TRAIN_BF16);
    return step_other(&o, a, error);
}

static sm_status step_adafactor(asking *a, sm_error *error) {
    sm_trainer_options o = trainer_options(0, SM_TRAIN_F32);
    o.optimizer = SM_OPTIMIZER_ADAFACTOR;
    o.checkpoint_layers = 1;
    return step_other(&o, a, error);
}

static sm_status step_8bit(asking *a, sm_error *error) {
    sm_trainer_options o = trainer_options(0, SM_TRAIN_F32);
    o.state_8bit = 1;
    return step_other(&o, a, error);
}

static sm_status evaluation(sm_trainer *trainer, sm_error *error) {
    sm_train_evaluation result = {.struct_size = sizeof result};
    return sm_trainer_evaluate(trainer, &result, error);
}

static sm_status evaluate(asking *a, sm_error *error) {
    return with_trainer(world.trainer, evaluation, a, error);
}

static sm_status saving(sm_trainer *trainer, sm_error *error) {
    return sm_trainer_save(trainer, world.out, error);
}

static sm_status save(asking *a, sm_error *error) {
    return with_trainer(world.trainer, saving, a, error);
}

static sm_status resuming(sm_trainer *trainer, sm_error *error) {
    return sm_trainer_resume(trainer, world.ckpt, error);
}

static sm_status resume(asking *a, sm_error *error) {
    return with_trainer(world.trainer, resuming, a, error);
}

static sm_status exporting(sm_trainer *trainer, sm_error *error) {
    return sm_trainer_export(
        trainer, world.out,
        &(sm_export_options){.struct_size = sizeof(sm_export_options), .type = "F16"}, error);
}

static sm_status export(asking *a, sm_error *error) {
    return with_trainer(world.trainer, exporting, a, error);
}

static sm_status encode(asking *a, sm_error *error) {
    sm_tokenizer *tokenizer;
    size_t size;
    uint8_t *text = scratch_read(world.text, &size);
    int32_t *ids = malloc((size + 16) * sizeof *ids);
    const sm_encode_options o = {.struct_size = sizeof o,
                                 .cancel = cancel_of(a),
                                 .cancel_user = a,
                                 .cancel_flag = world.flag};
    uint64_t n;
    assert_true(text && ids);
    assert_int_equal(sm_model_get_tokenizer(world.loaded, &tokenizer, NULL), SM_OK);
    const sm_status status =
        sm_tokenizer_encode(tokenizer, (const char *)text, size, &o, ids, size + 16, &n, error);
    sm_tokenizer_free(tokenizer);
    free(text);
    free(ids);
    return status;
}

/* What a call works on at least, and how much of it may lie between two questions. */
static uint64_t file_pieces(const char *path, uint64_t piece) {
    size_t size;
    uint8_t *data = scratch_read(path, &size);
    assert_non_null(data);
    free(data);
    return size / piece;
}

static uint64_t text_pieces(void) {
    return world.size.text_bytes / 65536;
}
static uint64_t read_pieces(void) {
    return file_pieces(world.model, (uint64_t)4 << 20);
}
static uint64_t model_pieces(void) {
    return file_pieces(world.model, (uint64_t)1 << 20);
}
static uint64_t checkpoint_pieces(void) {
    return file_pieces(world.ckpt, (uint64_t)1 << 20);
}
static uint64_t string_pieces(void) {
    return world.size.strings / 65536;
}
static uint64_t random_pieces(void) {
    return strcmp(world.size.shape, "stories15m") ? 50 : 24; /* 24 M weights */
}
static uint64_t many(void) {
    return 50;
}
static uint64_t some(void) {
    return 5;
}

static const struct call {
    const char *name;
    sm_status (*run)(asking *a, sm_error *error);
    uint64_t (*least)(void); /* questions */
} calls[] = {
    {"vocabulary, documents", learn, text_pieces},
    {"vocabulary, one line", learn_one_line, text_pieces},
    {"init", init, model_pieces},
    {"gguf, read", look_read, read_pieces},
    {"gguf, long array", look_long, string_pieces},
    {"load, read", load_read, read_pieces},
    {"load, mapped", load_mapped, some},
    {"tokenizer, load", load_tokenizer, string_pieces},
    {"encode", encode, some},
    {"random, F32", random_floats, random_pieces},
    {"random, Q8_0", random_blocks, random_pieces},
    {"random, saved", random_save, random_pieces},
    {"pack", save_packed, model_pieces},
    {"quantize, Q2_K", quantize_blocks, model_pieces},
    {"quantize, copied", quantize_copy, model_pieces},
    {"merge", merge, model_pieces},
    {"load an adapter", load_adapter, some},
    {"feed", feed, many},
    {"feed, logits", feed_logits, many},
    {"generate", generate, many},
    {"fork", fork_fed, some},
    {"save a session", save_session, some},
    {"load a session", load_session, some},
    {"imatrix", measure_inputs, many},
    {"trainer, open", open_trainer, model_pieces},
    {"trainer, open for LoRA", open_lora, some},
    {"step, f32", step, many},
    {"step, bf16", step_bf16, many},
    {"step, 8-bit states", step_8bit, many},
    {"step, Adafactor", step_adafactor, many},
    {"step, LoRA", step_lora, many},
    {"evaluate", evaluate, many},
    {"save", save, checkpoint_pieces},
    {"resume", resume, checkpoint_pieces},
    {"export", export, model_pieces},
};
#define N_CALLS (sizeof calls / sizeof *calls)

/* ---- the test ---------------------------------------------------------------------------- */

static sm_status run_call(const struct call *c, asking *a, sm_error *error) {
    a->last = cpu_seconds();
    const sm_status status = c->run(a, error);
    note_gap(a);
    return status;
}

static void asked_and_heard(void **state) {
    (void)state;
    make_world(&small);
    for (size_t i = 0; i < N_CALLS; i++) {
        const struct call *c = &calls[i];
        asking a = {0};
        sm_error error = {0};
        if (run_call(c, &(asking){0}, &error) || run_call(c, &a, &error)) /* repacked by then */
            fail_msg("%s: %s", c->name, error.message);
        if (a.asked < c->least())
            fail_msg("%s: asked %llu times, not %llu", c->name, (unsigned long long)a.asked,
                     (unsigned long long)c->least());
        remove(world.out);
        const size_t files = scratch_count();
        const uint64_t when[] = {1, 2, a.asked / 3, a.asked - a.asked / 8, a.asked};
        for (size_t k = 0; k < sizeof when / sizeof *when; k++) {
            asking b = {.yes_at = when[k] ? when[k] : 1};
            const sm_status status = run_call(c, &b, &error);
            /* how often it is asked depends on how the threads come along, a little */
            if (k > 2 && !status && b.asked < b.yes_at) {
                remove(world.out);
                continue;
            }
            if (status != SM_ERR_CANCELLED || b.asked > b.yes_at)
                fail_msg("%s: status %d, asked %llu times, told to end at %llu", c->name, status,
                         (unsigned long long)b.asked, (unsigned long long)b.yes_at);
            assert_int_equal(error.code, SM_ERR_CANCELLED);
            assert_int_equal(scratch_count(), files);
        }
        asking again = {0}; /* nothing is left in the way */
        if (run_call(c, &again, &error))
            fail_msg("%s, once more: %s", c->name, error.message);
        remove(world.out);
        /* the flag ends it where there is no hook */
        sm_cancel_set(world.flag, 1);
        const sm_status flagged = run_call(c, &(asking){.silent = true}, &error);
        sm_cancel_set(world.flag, 0);
        if (flagged != SM_ERR_CANCELLED)
            fail_msg("%s: status %d with the flag set", c->name, flagged);
        assert_int_equal(scratch_count(), files);
        if (run_call(c, &(asking){.silent = true}, &error))
            fail_msg("%s, without hook: %s", c->name, error.message);
        remove(world.out);
    }
    end_world();
}

/* ---- measuring --------------------------------------------------------------------------- */

static void measure(uint32_t times, const char *part) {
    sizes size = large;
    size.n_layer *= times;
    make_world(&size);
    printf("%-24s %10s %10s %10s %10s\n", "call", "questions", "CPU s", "longest ms", "after");
    for (size_t i = 0; i < N_CALLS; i++) {
        asking a = {0};
        sm_error error = {0};
        if (part && !strstr(calls[i].name, part))
            continue;
        const double start = cpu_seconds();
        const sm_status status = run_call(&calls[i], &a, &error);
        const double seconds = cpu_seconds() - start;
        printf("%-24s %10llu %10.3f %10.2f %10llu%s%s\n", calls[i].name,
               (unsigned long long)a.asked, seconds, 1e3 * a.longest,
               (unsigned long long)a.longest_after, status ? "  " : "",
               status ? error.message : "");
        fflush(stdout);
    }
    end_world();
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--measure") == 0) {
        const int times = argc > 2 ? atoi(argv[2]) : 1;
        measure(times > 0 && times < 1000 ? (uint32_t)times : 1, argc > 3 ? argv[3] : NULL);
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(asked_and_heard)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
