/* The trainer through its public interface: new models of every family learn, what is exported
 * computes what was trained, checkpoints bridge an interruption bit for bit, failures leave
 * everything as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "format/format.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define OK(call)                            \
    do {                                    \
        sm_error e_ = {0};                  \
        sm_error *error = &e_;              \
        if ((call) != SM_OK)                \
            fail_msg("%s", error->message); \
    } while (0)

static char *vocabulary(void) {
    static char path[512];
    if (!*path) {
        snprintf(path, sizeof path, "%s", scratch_path("vocabulary.gguf"));
        assert_int_equal(fixture_write(path, &(fixture_model){0}), 0);
    }
    return path;
}

/* A text with something to learn: a few sentences over and over, in a shuffled order. */
static const char *story(void) {
    static char path[512];
    if (*path)
        return path;
    static const char *const who[] = {"the cat", "the dog", "a bird", "an ant"};
    static const char *const what[] = {"sat in the sun", "ran to the hill", "ate the cake"};
    static char text[20000];
    uint64_t seed = 3;
    while (strlen(text) < sizeof text - 200)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s %s and %s %s.\n%s",
                 who[test_random(&seed) % 4], what[test_random(&seed) % 3],
                 who[test_random(&seed) % 4], what[test_random(&seed) % 3],
                 test_random(&seed) % 3 ? "" : "<|endoftext|>\n");
    snprintf(path, sizeof path, "%s", scratch_path("story.txt"));
    scratch_write(path, text, strlen(text));
    return path;
}

static const sm_model_init_options small = {.struct_size = sizeof small,
                                            .n_embd = 48,
                                            .n_layer = 2,
                                            .n_head = 4,
                                            .n_head_kv = 2,
                                            .n_ff = 96,
                                            .n_ctx = 64,
                                            .seed = 1};

static const char *new_model(const char *name, const sm_model_init_options *options) {
    static char path[4][512];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s", scratch_path(name));
    OK(sm_model_init(p, vocabulary(), options, error));
    return p;
}

static sm_trainer_options quick(void) {
    return (sm_trainer_options){.struct_size = sizeof(sm_trainer_options),
                                .data = story(),
                                .sequence = 32,
                                .rows = 4,
                                .steps = 20,
                                .warmup = 4,
                                .lr = 0.01,
                                .weight_decay = 0.1,
                                .validation = 0.1,
                                .n_threads = 1};
}

static sm_trainer *open_trainer(const char *model, const sm_trainer_options *options) {
    sm_trainer *t = NULL;
    OK(sm_trainer_open(&t, model, options, error));
    return t;
}

static double evaluate(sm_trainer *t) {
    sm_train_evaluation e = {.struct_size = sizeof e};
    OK(sm_trainer_evaluate(t, &e, error));
    assert_true(e.targets > 0 && e.bits_per_byte > 0);
    return e.loss;
}

static void steps(sm_trainer *t, uint64_t n) {
    while (n--)
        OK(sm_trainer_step(t, NULL, error));
}

/* ---- learning ---------------------------------------------------------------------------- */

static void test_families_learn(void **state) {
    (void)state;
    for (uint32_t family = SM_FAMILY_LLAMA; family <= SM_FAMILY_QWEN3; family++) {
        sm_model_init_options init = small;
        init.family = family;
        init.untied = family == SM_FAMILY_QWEN2;
        const char *model = new_model("family.gguf", &init);
        sm_trainer_options o = quick();
        sm_trainer *t = open_trainer(model, &o);
        const double before = evaluate(t);
        assert_true(fabs(before - log(FIXTURE_VOCAB)) < 0.2); /* all tokens about equally likely */
        sm_train_metrics m = {.struct_size = sizeof m};
        for (int i = 1; i <= 20; i++) {
            OK(sm_trainer_step(t, &m, error));
            assert_int_equal(m.step, i);
            assert_true(m.loss > 0 && m.grad_norm > 0 && m.lr > 0 && m.targets > 0);
        }
        assert_true(evaluate(t) < before - 1.5);
        assert_int_equal(sm_trainer_steps_left(t), 0);
        sm_error e;
        assert_int_equal(sm_trainer_step(t, NULL, &e), SM_ERR_STATE);
        sm_trainer_free(t);
    }
}

static void test_optimizers_learn(void **state) {
    (void)state;
    const char *model = new_model("optimizer.gguf", &small);
    for (uint32_t optimizer = SM_OPTIMIZER_ADAMW; optimizer <= SM_OPTIMIZER_SGD; optimizer++) {
        sm_trainer_options o = quick();
        o.optimizer = optimizer;
        o.lr = optimizer == SM_OPTIMIZER_SGD ? 0.5 : optimizer == SM_OPTIMIZER_LION ? 0.002 : 0.02;
        o.precision = optimizer == SM_OPTIMIZER_LION ? SM_TRAIN_BF16 : SM_TRAIN_F32;
        o.checkpoint_layers = optimizer == SM_OPTIMIZER_ADAFACTOR;
        sm_trainer *t = open_trainer(model, &o);
        const double before = evaluate(t);
        steps(t, 20);
        assert_true(evaluate(t) < before - 1);
        sm_trainer_free(t);
    }
}

#define LAST_STORY "the cat ate the cake and a bird ran to the hill."

/* A text of two stories, of which options keep the last for validation. */
static sm_trainer_options two_stories(void) {
    static char path[512];
    const char *data = "the dog ran to the hill and the cat sat in the sun, the ant ate the cake.\n"
                       "<|endoftext|>\n" LAST_STORY;
    snprintf(path, sizeof path, "%s", scratch_path("two.txt"));
    scratch_write(path, data, strlen(data));
    sm_trainer_options o = quick();
    o.data = path;
    o.validation = 0.3;
    o.sequence = 64;
    return o;
}

/* Mean loss of a session with the model, and the adapter unless it is NULL, over the last story. */
static double session_loss(const char *path, const char *adapter_path) {
    const char *body = LAST_STORY;
    sm_model *model;
    sm_tokenizer *tokenizer;
    sm_session *session;
    OK(sm_model_load(&model, path, NULL, error));
    OK(sm_model_get_tokenizer(model, &tokenizer, error));
    sm_tokenizer_info info = {.struct_size = sizeof info};
    OK(sm_tokenizer_get_info(tokenizer, &info, error));
    int32_t ids[128];
    uint64_t n;
    ids[0] = info.bos;
    OK(sm_tokenizer_encode(tokenizer, body, strlen(body), NULL, ids + 1, 100, &n, error));
    ids[++n] = info.eos;
    const sm_session_options so = {.struct_size = sizeof so, .kv_type = SM_KV_TYPE_F32};
    OK(sm_session_new(&session, model, &so, error));
    if (adapter_path) {
        sm_adapter *adapter;
        OK(sm_adapter_load(&adapter, model, adapter_path, NULL, error));
        OK(sm_session_attach(session, adapter, 1, error));
        sm_adapter_free(adapter);
    }
    float *logits = malloc(n * FIXTURE_VOCAB * sizeof *logits);
    OK(sm_session_feed_logits(session, ids, n, logits, UINT64_MAX, error));
    double sum = 0;
    for (uint64_t p = 0; p < n; p++) {
        const float *row = logits + p * FIXTURE_VOCAB;
        double total = 0;
        for (int v = 0; v < FIXTURE_VOCAB; v++)
            total += exp((double)row[v]);
        sum += log(total) - (double)row[ids[p + 1]];
    }
    free(logits);
    sm_session_free(session);
    sm_tokenizer_free(tokenizer);
    sm_model_free(model);
    return sum / (double)n;
}

/* The loss of the exported model, run by a session over the validation text, is the
 * trainer's. */
static void test_export_computes_the_same(void **state) {
    (void)state;
    sm_trainer_options o = two_stories();
    sm_trainer *t = open_trainer(new_model("export.gguf", &small), &o);
    steps(t, 5);
    const double want = evaluate(t);
    const char *types[] = {NULL, "F32", "F16", "BF16"};
    for (int i = 0; i < 4; i++) {
        const char *out = scratch_path("exported.gguf");
        OK(sm_trainer_export(
            t, out,
            &(sm_export_options){.struct_size = sizeof(sm_export_options), .type = types[i]},
            error));
        assert_true(fabs(session_loss(out, NULL) - want) < (i < 2 ? 1e-4 : 2e-2));
    }
    sm_error e;
    assert_int_equal(
        sm_trainer_export(
            t, scratch_path("x.gguf"),
            &(sm_export_options){.struct_size = sizeof(sm_export_options), .type = "Q9"}, &e),
        SM_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "Q9"));
    assert_int_equal(sm_trainer_export_adapter(t, scratch_path("x.gguf"), &e), SM_ERR_STATE);
    sm_trainer_free(t);
}

static int32_t window_of(const char *path) {
    sm_model *model;
    sm_model_info info = {.struct_size = sizeof info};
    OK(sm_model_load(&model, path, NULL, error));
    OK(sm_model_get_info(model, &info, error));
    sm_model_free(model);
    return info.sliding_window;
}

/* A window goes from the options to the new model, into training, and on to what is exported. */
static void test_windows_learn(void **state) {
    (void)state;
    sm_model_init_options init = small;
    init.sliding_window = 6;
    const char *model = new_model("window.gguf", &init), *out = scratch_path("exported.gguf");
    assert_int_equal(window_of(model), 6);
    assert_int_equal(window_of(new_model("whole.gguf", &small)), 0);
    sm_trainer_options o = two_stories();
    sm_trainer *t = open_trainer(model, &o);
    const double before = evaluate(t);
    steps(t, 5);
    const double want = evaluate(t);
    assert_true(want < before);
    OK(sm_trainer_export(t, out, NULL, error));
    assert_int_equal(window_of(out), 6);
    assert_true(fabs(session_loss(out, NULL) - want) < 1e-4);
    sm_trainer_free(t);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static void expect_same_files(const char *a, const char *b) {
    size_t n, m;
    uint8_t *x = scratch_read(a, &n), *y = scratch_read(b, &m);
    assert_non_null(x);
    assert_non_null(y);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static void test_resume(void **state) {
    (void)state;
    const char *model = new_model("resume.gguf", &small);
    for (uint32_t variant = 0; variant < 3; variant++) {
        sm_trainer_options o = quick();
        o.accumulate = variant == 1 ? 2 : 1;
        o.state_8bit = variant == 1;
        o.optimizer = variant == 2 ? SM_OPTIMIZER_ADAFACTOR : SM_OPTIMIZER_ADAMW;
        sm_trainer *t = open_trainer(model, &o);
        steps(t, 9);
        OK(sm_trainer_save(t, scratch_path("middle.ckpt"), error));
        steps(t, 11);
        OK(sm_trainer_save(t, scratch_path("straight.ckpt"), error));
        OK(sm_trainer_export(t, scratch_path("straight.gguf"), NULL, error));
        sm_trainer_free(t);
        for (uint32_t threads = 1; threads <= 4; threads += threads) {
            o.n_threads = threads;
            t = open_trainer(model, &o);
            OK(sm_trainer_resume(t, scratch_path("middle.ckpt"), error));
            assert_int_equal(sm_trainer_steps_left(t), 11);
            steps(t, 11);
            OK(sm_trainer_save(t, scratch_path("resumed.ckpt"), error));
            OK(sm_trainer_export(t, scratch_path("resumed.gguf"), NULL, error));
            sm_trainer_free(t);
            expect_same_files(scratch_path("straight.ckpt"), scratch_path("resumed.ckpt"));
            expect_same_files(scratch_path("straight.gguf"), scratch_path("resumed.gguf"));
        }
    }
}

/* A trainer of these options does not go on from the checkpoint, and says so with these words. */
static void expect_refusal(const char *model, const sm_trainer_options *options, const char *ckpt,
                           const char *says) {
    sm_error e = {0};
    sm_trainer *t = open_trainer(model, options);
    assert_int_equal(sm_trainer_resume(t, ckpt, &e), SM_ERR_ARGUMENT);
    if (!strstr(e.message, says))
        fail_msg("\"%s\" does not say \"%s\"", e.message, says);
    assert_int_equal(sm_trainer_steps_left(t), options->steps);
    sm_trainer_free(t);
}

/* Data of the same length that differ anywhere, in the part for validation too, are others; a copy
 * of the same data is not. Text in one piece, text in documents and instructions. */
static void test_resume_compares_data(void **state) {
    (void)state;
    const char *model = new_model("data.gguf", &small);
    const char *names[] = {"copy.txt", "whole.txt", "copy.jsonl"};
    size_t size;
    uint8_t *text = scratch_read(story(), &size);
    for (int kind = 0; kind < 3; kind++) {
        char path[512], ckpt[512];
        snprintf(path, sizeof path, "%s", scratch_path(names[kind]));
        snprintf(ckpt, sizeof ckpt, "%s", scratch_path("data.ckpt"));
        uint8_t *data = malloc(100000);
        size_t n = 0;
        if (kind == 2) {
            while (n < 80000)
                n += (size_t)sprintf((char *)data + n,
                                     "{\"instruction\": \"%zu\", \"output\": \"a cat\"}\n", n);
        } else {
            for (; n + size < 100000; n += size)
                memcpy(data + n, text, size);
        }
        data[n] = 0;
        scratch_write(path, data, n);
        sm_trainer_options o = quick();
        o.data = path;
        o.sequence = 64;
        o.loss_on_prompt = 1;
        o.separator = kind == 1 ? "@" : NULL;
        sm_trainer *t = open_trainer(model, &o);
        steps(t, 1);
        OK(sm_trainer_save(t, ckpt, error));
        sm_trainer_free(t);
        for (size_t i = 0; i <= 6; i++) {
            size_t at = i * (n - 1) / 6; /* where a letter is found, it becomes another one */
            while (at > 0 && !(data[at] >= 'a' && data[at] <= 'y' && data[at - 1] == ' '))
                at--;
            if (at == 0) {
                at = (size_t)((uint8_t *)strstr((char *)data, kind == 2 ? "cat" : "a") - data);
            }
            data[at]++;
            scratch_write(path, data, n);
            data[at]--;
            expect_refusal(model, &o, ckpt, names[kind]);
        }
        char other[512];
        snprintf(other, sizeof other, "%s.%s", scratch_path("moved"), strrchr(path, '.') + 1);
        scratch_write(other, data, n);
        o.data = other;
        t = open_trainer(model, &o);
        OK(sm_trainer_resume(t, ckpt, error));
        sm_trainer_free(t);
        free(data);
    }
    free(text);
}

static void test_checkpoint_info(void **state) {
    (void)state;
    const char *model = new_model("info.gguf", &small);
    const sm_trainer_options o = quick();
    sm_trainer *t = open_trainer(model, &o);
    sm_trainer_info own = {.struct_size = sizeof own};
    sm_checkpoint_info info = {.struct_size = sizeof info};
    char ckpt[512];
    snprintf(ckpt, sizeof ckpt, "%s", scratch_path("info.ckpt"));
    steps(t, 3);
    OK(sm_trainer_get_info(t, &own, error));
    OK(sm_trainer_save(t, ckpt, error));
    sm_trainer_free(t);
    OK(sm_checkpoint_get_info(ckpt, &info, error));
    assert_int_equal(info.step, 3);
    assert_int_equal(info.steps, o.steps);
    assert_int_equal(info.tokens, own.tokens);
    sm_error e;
    assert_int_equal(sm_checkpoint_get_info(NULL, &info, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_checkpoint_get_info(ckpt, NULL, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_checkpoint_get_info(scratch_path("none.ckpt"), &info, &e), SM_ERR_IO);
    assert_int_equal(sm_checkpoint_get_info(model, &info, &e), SM_ERR_FORMAT);
    assert_non_null(strstr(e.message, "no checkpoint"));
    /* another version of the format is refused by its number */
    static const char key[] = "smallmind.checkpoint.version";
    size_t size, at = 0;
    uint8_t *file = scratch_read(ckpt, &size);
    while (memcmp(file + at, key, sizeof key - 1) != 0)
        at++;
    file[at + sizeof key - 1 + 4] = 1; /* behind the value's type */
    scratch_write(ckpt, file, size);
    free(file);
    assert_int_equal(sm_checkpoint_get_info(ckpt, &info, &e), SM_ERR_UNSUPPORTED);
    assert_non_null(strstr(e.message, "version 1;"));
    t = open_trainer(model, &o);
    assert_int_equal(sm_trainer_resume(t, ckpt, &e), SM_ERR_UNSUPPORTED);
    sm_trainer_free(t);
}

static void test_resume_refuses(void **state) {
    (void)state;
    const char *model = new_model("refuse.gguf", &small);
    sm_trainer_options o = quick();
    sm_trainer *t = open_trainer(model, &o);
    steps(t, 3);
    char ckpt[512];
    snprintf(ckpt, sizeof ckpt, "%s", scratch_path("good.ckpt"));
    OK(sm_trainer_save(t, ckpt, error));
    sm_error e;
    assert_int_equal(sm_trainer_resume(t, scratch_path("no.ckpt"), &e), SM_ERR_IO);
    assert_int_equal(sm_trainer_resume(t, model, &e), SM_ERR_FORMAT);
    size_t size;
    uint8_t *file = scratch_read(ckpt, &size);
    for (size_t at = 40; at < size; at += size / 60) { /* a flipped bit anywhere is noticed */
        file[at] ^= 4;
        scratch_write(scratch_path("bad.ckpt"), file, size);
        assert_true(sm_trainer_resume(t, scratch_path("bad.ckpt"), &e) != SM_OK);
        assert_int_equal(sm_trainer_steps_left(t), 17);
        file[at] ^= 4;
    }
    file[size - 70] ^= 1;
    scratch_write(scratch_path("bad.ckpt"), file, size);
    assert_int_equal(sm_trainer_resume(t, scratch_path("bad.ckpt"), &e), SM_ERR_FORMAT);
    scratch_write(scratch_path("bad.ckpt"), file, size / 2);
    assert_int_equal(sm_trainer_resume(t, scratch_path("bad.ckpt"), &e), SM_ERR_FORMAT);
    free(file);
    sm_trainer_free(t);
    o.lr = 0.02;
    expect_refusal(model, &o, ckpt, "lr=0.01, this run lr=0.02");
    o.lr = nextafter(0.01, 1);
    expect_refusal(model, &o, ckpt, "lr=0.01 and other digits after these");
    o = quick();
    o.beta2 = nextafter(0.95, 1);
    expect_refusal(model, &o, ckpt, "beta2=0.95 and other digits");
    o = quick();
    o.lora_rank = 4;
    o.lora_targets = "attn_q";
    expect_refusal(model, &o, ckpt, "lora_targets '', this run 'attn_q'");
    o = quick();
    sm_model_init_options init = small;
    init.seed = 2;
    t = open_trainer(new_model("other.gguf", &init), &o);
    assert_int_equal(sm_trainer_resume(t, ckpt, &e), SM_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "another model"));
    sm_trainer_free(t);
}

/* The options of a checkpoint, over what `o` says. */
static const char *options_of(const char *ckpt, sm_trainer_options *o, char text[1024]) {
    const char *model = NULL;
    uint64_t needed;
    OK(sm_checkpoint_get_options(ckpt, o, &model, text, 1024, &needed, error));
    assert_true(needed > 0 && needed <= 1024);
    return model;
}

/* Runs go on by what their checkpoints know: all that was asked for, and nothing else. */
static void test_resume_by_checkpoint(void **state) {
    (void)state;
    char model[512], ckpt[512], text[1024];
    snprintf(model, sizeof model, "%s", new_model("known.gguf", &small));
    snprintf(ckpt, sizeof ckpt, "%s", scratch_path("known.ckpt"));
    sm_trainer_options runs[4] = {quick(), quick(), quick(), quick()};
    runs[1] = (sm_trainer_options){.struct_size = sizeof runs[1], .data = story()}; /* defaults */
    runs[1].sequence = 16;
    runs[1].n_threads = 1;
    runs[2].optimizer = SM_OPTIMIZER_LION;
    runs[2].lr = 1.0 / 3;
    runs[2].min_lr = 0.1;
    runs[2].schedule = SM_LR_RESTARTS;
    runs[2].cycle = 7;
    runs[2].cycle_growth = 1.5;
    runs[2].seed = UINT64_MAX;
    runs[2].accumulate = 2;
    runs[2].no_clip = 1;
    runs[2].level = SM_LEVEL_SCALAR;
    runs[2].separator = "and";
    runs[2].data_kind = SM_DATA_FILE_TEXT;
    runs[3].lora_rank = 3;
    runs[3].lora_alpha = 1.0 / 7;
    runs[3].lora_dropout = 0.25;
    runs[3].lora_rs = 1;
    runs[3].lora_targets = "attn_q,ffn_up";
    runs[3].precision = SM_TRAIN_BF16;
    runs[3].schedule = SM_LR_WSD;
    runs[3].decay_part = 0.3;
    runs[3].state_8bit = 1;
    for (int i = 0; i < 4; i++) {
        sm_trainer *t = open_trainer(model, &runs[i]);
        steps(t, 2);
        OK(sm_trainer_save(t, ckpt, error));
        sm_trainer_free(t);
        sm_trainer_options o = {.struct_size = sizeof o, .n_threads = 2, .checkpoint_layers = 1};
        assert_string_equal(options_of(ckpt, &o, text), model);
        assert_string_equal(o.data, runs[i].data);
        assert_int_equal(o.data_kind, runs[i].data_kind);
        assert_int_equal(o.steps, i == 1 ? 1000 : 20);
        assert_int_equal(o.n_threads, 2); /* what it does not know stays */
        assert_int_equal(o.checkpoint_layers, 1);
        if (runs[i].separator)
            assert_string_equal(o.separator, runs[i].separator);
        t = open_trainer(model, &o);
        OK(sm_trainer_resume(t, ckpt, error));
        assert_int_equal(sm_trainer_steps_left(t), o.steps - 2);
        sm_trainer_free(t);
    }
}

/* The checksum at the end of a checkpoint, for what was done to it. */
static void seal(uint8_t *file, size_t size) {
    sm_mem mem;
    sm_mem_init(&mem, NULL, 0, NULL);
    sm_sum *sum = sm_sum_new(&mem);
    sm_sum_add(sum, file, size - 64);
    for (int i = 0; i < SM_GGUF_SEAL_BYTES; i++)
        file[size - 64 + (size_t)i] = (uint8_t)(sm_sum_value(sum) >> 8 * i);
    sm_free(&mem, sum);
}

/* Replaces one occurrence in the checkpoint, bytes for bytes. */
static void patch(const char *ckpt, const char *from, const char *to) {
    size_t size, at = 0;
    uint8_t *file = scratch_read(ckpt, &size);
    const size_t n = strlen(from);
    while (at + n < size && memcmp(file + at, from, n) != 0)
        at++;
    assert_true(at + n < size && strlen(to) == n);
    memcpy(file + at, to, n);
    seal(file, size);
    scratch_write(ckpt, file, size);
    free(file);
}

static void test_checkpoint_options_refused(void **state) {
    (void)state;
    char ckpt[512], text[1024];
    const char *model = new_model("asked.gguf", &small), *path = "untouched";
    snprintf(ckpt, sizeof ckpt, "%s", scratch_path("asked.ckpt"));
    sm_trainer_options o = quick(), got = {.struct_size = sizeof got, .rows = 99};
    sm_trainer *t = open_trainer(model, &o);
    OK(sm_trainer_save(t, ckpt, error));
    uint64_t needed = 0, again;
    sm_error e;
    assert_int_equal(sm_checkpoint_get_options(ckpt, &got, &path, NULL, 0, &needed, &e),
                     SM_ERR_BUFFER);
    assert_int_equal(needed, strlen(model) + strlen(o.data) + 2);
    assert_int_equal(sm_checkpoint_get_options(ckpt, &got, &path, text, needed - 1, &again, &e),
                     SM_ERR_BUFFER);
    assert_true(again == needed && got.rows == 99 && !strcmp(path, "untouched"));
    OK(sm_checkpoint_get_options(ckpt, &got, &path, text, needed, &again, error));
    assert_true(got.rows == 4 && !strcmp(path, model));
    got.struct_size = offsetof(sm_trainer_options, steps); /* of an earlier library */
    got.steps = 5;
    OK(sm_checkpoint_get_options(ckpt, &got, &path, text, needed, &again, error));
    assert_int_equal(got.steps, 5);
    assert_int_equal(sm_checkpoint_get_options(ckpt, NULL, &path, text, 1024, &again, &e),
                     SM_ERR_ARGUMENT);
    got.struct_size = sizeof got;
    assert_int_equal(sm_checkpoint_get_options(model, &got, &path, text, 1024, &again, &e),
                     SM_ERR_FORMAT);
    assert_int_equal(
        sm_checkpoint_get_options("/nonexistent/x", &got, &path, text, 1024, &again, &e),
        SM_ERR_IO);
    /* text that no run wrote */
    static const char *const bad[][2] = {
        {"rows=4", "rows 4"}, {"rows=4", "rows=x"}, {"rows=4 accumulate=1", "rows=44444444444444"}};
    for (int i = 0; i < 3; i++) {
        OK(sm_trainer_save(t, ckpt, error));
        patch(ckpt, bad[i][0], bad[i][1]);
        assert_int_equal(sm_checkpoint_get_options(ckpt, &got, &path, text, 1024, &again, &e),
                         SM_ERR_FORMAT);
        assert_non_null(strstr(e.message, "checkpoint.run"));
    }
    /* a checkpoint of before */
    OK(sm_trainer_save(t, ckpt, error));
    patch(ckpt, "checkpoint.origin", "checkpoint.formed");
    got.data = "kept";
    path = "kept too";
    OK(sm_checkpoint_get_options(ckpt, &got, &path, text, 1024, &again, error));
    assert_true(!strcmp(got.data, "kept") && !strcmp(path, "kept too") && again == 0);
    sm_trainer_free(t);
}

/* ---- adapters over quantized weights -------------------------------------------------------- */

static const char *quantized_model(const char *name, uint32_t n_layer) {
    static char path[512];
    const fixture_model model = {.n_embd = 256,
                                 .n_ff = 256,
                                 .n_layer = n_layer,
                                 .type = 12, /* Q4_K in ggml's numbers */
                                 .seed = 5};
    snprintf(path, sizeof path, "%s", scratch_path(name));
    assert_int_equal(fixture_write(path, &model), 0);
    return path;
}

/* Plain; rsLoRA with dropout; attention only, in bf16 and with recomputed layers. */
static sm_trainer_options with_adapters(uint32_t variant) {
    sm_trainer_options o = two_stories();
    o.rows = 2;
    o.steps = 12;
    o.lora_rank = variant == 1 ? 6 : 16;
    if (variant == 1) {
        o.lora_rs = 1;
        o.lora_alpha = 3;
        o.lora_dropout = 0.1;
    }
    if (variant == 2) {
        o.lora_targets = "attn_";
        o.precision = SM_TRAIN_BF16;
        o.checkpoint_layers = 1;
    }
    return o;
}

/* The loss falls, the base stays as it is, and what is exported computes the loss that the
 * trainer states: attached over the quantized weights, attached over the same weights in f32, and
 * merged into those. Between quantized and f32 weights lie activations rounded to 8 bits. */
static void test_adapters_learn(void **state) {
    (void)state;
    const char *model = quantized_model("q4k.gguf", 2);
    size_t size, size_after;
    uint8_t *before = scratch_read(model, &size);
    char plain[512];
    snprintf(plain, sizeof plain, "%s", scratch_path("q4k-f32.gguf"));
    const sm_quantize_options f32 = {.struct_size = sizeof f32, .type = "F32", .requantize = 1};
    OK(sm_model_quantize(plain, model, &f32, NULL, error));
    for (uint32_t variant = 0; variant < 3; variant++) {
        const sm_trainer_options o = with_adapters(variant);
        sm_trainer *t = open_trainer(model, &o);
        const double first = evaluate(t);
        /* a session's attention is not rounded to bf16 */
        const double close = o.precision == SM_TRAIN_BF16 ? 2e-3 : 1e-4;
        assert_true(fabs(session_loss(model, NULL) - first) < close); /* B is 0 */
        sm_train_metrics m = {.struct_size = sizeof m};
        OK(sm_trainer_step(t, &m, error));
        const double start = m.loss;
        while (sm_trainer_steps_left(t))
            OK(sm_trainer_step(t, &m, error));
        assert_true(m.loss < start - 1.5);
        const double want = evaluate(t);
        assert_true(want < first - 0.5);
        const char *adapter = scratch_path("q4k-adapter.gguf");
        const char *merged = scratch_path("q4k-merged.gguf");
        OK(sm_trainer_export_adapter(t, adapter, error));
        sm_trainer_free(t);
        assert_true(fabs(session_loss(model, adapter) - want) < close);
        OK(sm_adapter_merge(merged, plain, adapter, 1, NULL, error));
        const double in_f32 = session_loss(plain, adapter);
        assert_true(fabs(session_loss(merged, NULL) - in_f32) < 1e-5 * in_f32);
        assert_true(fabs(in_f32 - want) < 0.05);
        OK(sm_adapter_merge(
            merged, model, adapter, 1,
            &(sm_merge_options){.struct_size = sizeof(sm_merge_options), .type = "F32"}, error));
        assert_true(fabs(session_loss(merged, NULL) - want) < 0.05);
    }
    uint8_t *after = scratch_read(model, &size_after);
    assert_int_equal(size, size_after);
    assert_memory_equal(before, after, size);
    free(before);
    free(after);
}

/* Adapters resume byte for byte, with dropout too, for any number of threads. */
static void test_adapters_resume(void **state) {
    (void)state;
    const char *model = quantized_model("q4k-resume.gguf", 2);
    for (uint32_t variant = 0; variant < 3; variant++) {
        sm_trainer_options o = with_adapters(variant);
        o.steps = 4;
        sm_trainer *t = open_trainer(model, &o);
        steps(t, 2);
        OK(sm_trainer_save(t, scratch_path("middle.ckpt"), error));
        steps(t, 2);
        OK(sm_trainer_save(t, scratch_path("straight.ckpt"), error));
        OK(sm_trainer_export_adapter(t, scratch_path("straight.gguf"), error));
        sm_error e;
        assert_int_equal(sm_trainer_export(t, scratch_path("x.gguf"), NULL, &e), SM_ERR_STATE);
        sm_trainer_free(t);
        for (uint32_t threads = test_share(1, 2); threads <= test_share(4, 2); threads *= 2) {
            o.n_threads = threads;
            t = open_trainer(model, &o);
            OK(sm_trainer_resume(t, scratch_path("middle.ckpt"), error));
            steps(t, 2);
            OK(sm_trainer_save(t, scratch_path("resumed.ckpt"), error));
            OK(sm_trainer_export_adapter(t, scratch_path("resumed.gguf"), error));
            sm_trainer_free(t);
            expect_same_files(scratch_path("straight.ckpt"), scratch_path("resumed.ckpt"));
            expect_same_files(scratch_path("straight.gguf"), scratch_path("resumed.gguf"));
        }
    }
}

/* Tensors that hold several matrices: one parameter, in checkpoints and in what is exported, whole
 * and as adapters, which attach and merge. */
static void test_joined(void **state) {
    (void)state;
    for (int lora = 0; lora < 2; lora++) {
        char model[512], out[512];
        const fixture_model phi3 = {.architecture = "phi3",
                                    .all_biases = true,
                                    .n_embd = lora ? 256 : 40,
                                    .head_dim = lora ? 0 : 10,
                                    .n_ff = lora ? 256 : 52,
                                    .type = lora ? 12 : 0, /* Q4_K, F32 */
                                    .seed = 5};
        snprintf(model, sizeof model, "%s", scratch_path("phi3.gguf"));
        snprintf(out, sizeof out, "%s", scratch_path("phi3-out.gguf"));
        assert_int_equal(fixture_write(model, &phi3), 0);
        sm_trainer_options o = two_stories();
        o.rows = 2;
        o.steps = 6;
        o.lora_rank = lora ? 8 : 0;
        o.lora_targets = lora ? "qkv_proj,gate_up_proj" : NULL;
        sm_trainer *t = open_trainer(model, &o);
        const double first = evaluate(t);
        assert_true(fabs(session_loss(model, NULL) - first) < 1e-4);
        steps(t, 3);
        OK(sm_trainer_save(t, scratch_path("middle.ckpt"), error));
        steps(t, 3);
        const double want = evaluate(t);
        assert_true(want < first - 0.05);
        OK((lora ? sm_trainer_export_adapter(t, out, error)
                 : sm_trainer_export(t, out, NULL, error)));
        sm_trainer_free(t);
        assert_true(fabs(session_loss(lora ? model : out, lora ? out : NULL) - want) < 1e-4);
        if (lora) {
            OK(sm_adapter_merge(
                scratch_path("merged.gguf"), model, out, 1,
                &(sm_merge_options){.struct_size = sizeof(sm_merge_options), .type = "F32"},
                error));
            assert_true(fabs(session_loss(scratch_path("merged.gguf"), NULL) - want) < 0.05);
        }
        t = open_trainer(model, &o);
        OK(sm_trainer_resume(t, scratch_path("middle.ckpt"), error));
        steps(t, 3);
        OK((lora ? sm_trainer_export_adapter(t, scratch_path("resumed.gguf"), error)
                 : sm_trainer_export(t, scratch_path("resumed.gguf"), NULL, error)));
        sm_trainer_free(t);
        expect_same_files(out, scratch_path("resumed.gguf"));
    }
}

/* Keeps the text that is generated. */
static int32_t keep_text(void *user, const sm_token *token) {
    char *text = user;
    strncat(text, token->text, token->length);
    return 0;
}

/* Whether greedy generation answers the instruction with exactly this. */
static bool answers(sm_session *session, const char *instruction, const char *answer) {
    char prompt[512], text[1024] = "";
    snprintf(prompt, sizeof prompt,
             "Below is an instruction that describes a task. Write a response that appropriately "
             "completes the request.\n\n### Instruction:\n%s\n\n### Response:\n",
             instruction);
    const sm_generate_options go = {.struct_size = sizeof go, .max_tokens = 24};
    OK(sm_session_generate(session, prompt, SM_ZT, &go, keep_text, text, error));
    return !strcmp(text, answer);
}

/* Adapters over 4-bit weights make a session say what they were trained to say, for as long as
 * they are attached; of two, each its own. */
static void test_adapters_answer(void **state) {
    (void)state;
    if (test_share(2, 1) == 1) {
        print_message("training until answers are learned takes minutes under a sanitizer\n");
        skip();
    }
    static const char *const asked[] = {"Name a pet.", "What is red?", "Who ran?"};
    static const char *const said[2][3] = {{"a cat", "the hat", "Tom did"},
                                           {"a dog", "the sun", "Ann did"}};
    const char *model_path = quantized_model("q4k-answers.gguf", 2);
    sm_model *model;
    sm_session *session;
    sm_adapter *adapter[2];
    OK(sm_model_load(&model, model_path, NULL, error));
    for (int a = 0; a < 2; a++) {
        char data[1024] = "";
        for (int i = 0; i < 3; i++)
            snprintf(data + strlen(data), sizeof data - strlen(data),
                     "{\"instruction\": \"%s\", \"output\": \"%s\"}\n", asked[i], said[a][i]);
        char path[512];
        snprintf(path, sizeof path, "%s", scratch_path("answers.jsonl"));
        scratch_write(path, data, strlen(data));
        sm_trainer_options o = {.struct_size = sizeof o,
                                .data = path,
                                .sequence = 256,
                                .rows = 3, /* of one entry each */
                                .steps = 60,
                                .lr = 0.01,
                                .lora_rank = 8,
                                .n_threads = 1};
        sm_trainer *t = open_trainer(model_path, &o);
        steps(t, o.steps);
        OK(sm_trainer_export_adapter(t, scratch_path("answers.gguf"), error));
        sm_trainer_free(t);
        OK(sm_adapter_load(&adapter[a], model, scratch_path("answers.gguf"), NULL, error));
    }
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = 1};
    OK(sm_session_new(&session, model, &so, error));
    for (int turn = 0; turn < 4; turn++) { /* each adapter twice */
        const int a = turn % 2;
        OK(sm_session_attach(session, adapter[a], 1, error));
        for (int i = 0; i < 3; i++) {
            assert_true(answers(session, asked[i], said[a][i]));
            assert_false(answers(session, asked[i], said[1 - a][i]));
        }
        OK(sm_session_detach(session, adapter[a], error));
        for (int i = 0; i < 3; i++)
            for (int b = 0; b < 2; b++)
                assert_false(answers(session, asked[i], said[b][i]));
    }
    sm_adapter_free(adapter[0]);
    sm_adapter_free(adapter[1]);
    sm_session_free(session);
    sm_model_free(model);
}

/* The same of experts alone, whose matrices lie in stacks: the loss falls, and what is generated is
 * what was trained as long as the adapter is attached. */
static void test_adapters_of_experts_answer(void **state) {
    (void)state;
    if (test_share(2, 1) == 1) {
        print_message("training until answers are learned takes minutes under a sanitizer\n");
        skip();
    }
    static const char *const asked = "Name a pet.", *const said = "a cat";
    const fixture_model mixture = {.n_embd = 256,
                                   .n_ff = 256,
                                   .n_experts = 4,
                                   .n_used = 2,
                                   .type = 12, /* Q4_K in ggml's numbers */
                                   .seed = 5};
    char model_path[512], data_path[512], adapter_path[512], data[256];
    snprintf(model_path, sizeof model_path, "%s", scratch_path("mixture.gguf"));
    snprintf(data_path, sizeof data_path, "%s", scratch_path("pet.jsonl"));
    snprintf(adapter_path, sizeof adapter_path, "%s", scratch_path("experts.gguf"));
    snprintf(data, sizeof data, "{\"instruction\": \"%s\", \"output\": \"%s\"}\n", asked, said);
    assert_int_equal(fixture_write(model_path, &mixture), 0);
    scratch_write(data_path, data, strlen(data));
    const sm_trainer_options o = {.struct_size = sizeof o,
                                  .data = data_path,
                                  .sequence = 256,
                                  .rows = 1,
                                  .steps = 60,
                                  .lr = 0.01,
                                  .lora_rank = 8,
                                  .lora_targets = "_exps",
                                  .n_threads = 1};
    sm_trainer *t = open_trainer(model_path, &o);
    sm_train_metrics m = {.struct_size = sizeof m};
    OK(sm_trainer_step(t, &m, error));
    const double first = m.loss;
    while (sm_trainer_steps_left(t))
        OK(sm_trainer_step(t, &m, error));
    print_message("loss of experts: %.3g, then %.3g\n", first, m.loss);
    assert_true(m.loss < first / 10);
    OK(sm_trainer_export_adapter(t, adapter_path, error));
    sm_trainer_free(t);
    sm_model *model;
    sm_session *session;
    sm_adapter *adapter;
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = 1};
    OK(sm_model_load(&model, model_path, NULL, error));
    OK(sm_adapter_load(&adapter, model, adapter_path, NULL, error));
    OK(sm_session_new(&session, model, &so, error));
    assert_false(answers(session, asked, said));
    OK(sm_session_attach(session, adapter, 1, error));
    assert_true(answers(session, asked, said));
    OK(sm_session_detach(session, adapter, error));
    assert_false(answers(session, asked, said));
    sm_adapter_free(adapter);
    sm_session_free(session);
    sm_model_free(model);
}

/* What a step computed, and how many times the data have been passed through. */
static void test_tokens_and_epochs(void **state) {
    (void)state;
    char path[512];
    double pass = 0, tokens = 0;
    sm_train_metrics m = {.struct_size = sizeof m};
    sm_trainer_info info = {.struct_size = sizeof info};
    snprintf(path, sizeof path, "%s", scratch_path("passes.txt"));
    scratch_write(path, LAST_STORY, strlen(LAST_STORY));
    sm_trainer_options o = {.struct_size = sizeof o,
                            .data = path,
                            .sequence = 16,
                            .rows = 1,
                            .steps = 20,
                            .n_threads = 1};
    sm_trainer *t = open_trainer(new_model("passes.gguf", &small), &o);
    while (sm_trainer_steps_left(t)) { /* of a text every token is trained */
        OK(sm_trainer_step(t, &m, error));
        OK(sm_trainer_get_info(t, &info, error));
        assert_int_equal(m.tokens, m.targets);
        tokens += (double)m.tokens;
        pass = m.step == 1 ? tokens / info.epochs : pass;
        assert_true(fabs(info.epochs * pass - tokens) < 1e-6);
        assert_int_equal(info.epoch, (uint64_t)(info.epochs - 1e-9));
    }
    assert_int_equal(info.n_vocab, FIXTURE_VOCAB);
    assert_true(info.epochs > 2 && fabs(pass - round(pass)) < 1e-6);
    sm_trainer_free(t);

    const char *data = "{\"instruction\": \"Name a pet.\", \"output\": \"a cat\"}\n"
                       "{\"instruction\": \"Name a hat.\", \"output\": \"a hat\"}\n";
    snprintf(path, sizeof path, "%s", scratch_path("passes.jsonl"));
    scratch_write(path, data, strlen(data));
    sm_model_init_options init = small;
    init.n_ctx = 256;
    o.sequence = 256;
    o.rows = 3; /* of one entry each; what is left of them is filled up */
    t = open_trainer(new_model("passes.gguf", &init), &o);
    OK(sm_trainer_step(t, &m, error));
    OK(sm_trainer_get_info(t, &info, error));
    assert_true(m.targets * 2 < m.tokens && m.tokens < 3 * 256);
    assert_true(fabs(info.epochs - 1.5) < 1e-9);
    sm_trainer_free(t);
}

static sm_trainer_info heap_of(const char *model, uint32_t lora_rank) {
    sm_trainer_options o = two_stories();
    o.rows = 1;
    o.lora_rank = lora_rank;
    o.checkpoint_layers = 1;
    sm_trainer *t = open_trainer(model, &o);
    steps(t, 1);
    sm_trainer_info info = {.struct_size = sizeof info};
    OK(sm_trainer_get_info(t, &info, error));
    sm_trainer_free(t);
    return info;
}

/* What further layers add to the heap is their adapters (weight, gradient, two moments, the copy
 * packed for products) and one input of each token: no copy of the file's weights in any form. */
static void test_adapters_memory(void **state) {
    (void)state;
    const uint64_t more = 6;
    const sm_trainer_info few = heap_of(quantized_model("q4k-2.gguf", 2), 16);
    const char *large = quantized_model("q4k-8.gguf", 2 + (uint32_t)more);
    const sm_trainer_info many = heap_of(large, 16), all = heap_of(large, 0);
    const uint64_t adapters = (many.n_params - few.n_params) * 5 * sizeof(float);
    const uint64_t inputs = more * 64 * (256 + 32) * sizeof(float);
    const uint64_t small_things = more * 16384;
    assert_true(many.heap_peak - few.heap_peak < adapters + inputs + small_things);
    assert_true(many.heap_peak < all.heap_peak / 2);
}

/* ---- memory -------------------------------------------------------------------------------- */

/* Bytes that the trainer holds at most during one step (and its validation) of a model of n_layer
 * layers; *loss after it. */
static uint64_t step_peak(uint32_t n_layer, uint32_t checkpoint_layers, double *loss) {
    sm_model_init_options init = small;
    init.n_layer = n_layer;
    const char *model = new_model("deep.gguf", &init);
    fail_alloc count = {0};
    const sm_allocator hook = fail_allocator(&count);
    sm_trainer_options o = quick();
    o.sequence = 64;
    o.rows = 16;
    o.checkpoint_layers = checkpoint_layers;
    o.allocator = &hook;
    sm_trainer *t = open_trainer(model, &o);
    steps(t, 1);
    count.peak_bytes = count.live_bytes; /* what opening and the first step needed for a while */
    steps(t, 1);
    *loss = evaluate(t);
    const uint64_t peak = count.peak_bytes;
    sm_trainer_free(t);
    assert_int_equal(count.live_blocks, 0);
    return peak;
}

/* With checkpointed layers a step needs less memory: of a further layer the input of each token
 * stays, besides its weights, gradients and moments, and what backward needs is there for one layer
 * at a time. The loss is the same. */
static void test_checkpointed_layers_memory(void **state) {
    (void)state;
    if (test_share(2, 1) == 1) {
        print_message("bytes that a sanitizer does not change were counted without one\n");
        skip();
    }
    enum { FEW = 4, MANY = 12 };
    uint64_t peak[2][2]; /* few layers and many; plain and checkpointed */
    for (int many = 0; many < 2; many++) {
        double loss[2];
        for (uint32_t checkpointed = 0; checkpointed < 2; checkpointed++)
            peak[many][checkpointed] =
                step_peak(many ? MANY : FEW, checkpointed, &loss[checkpointed]);
        assert_true(loss[0] == loss[1]);
    }
    const uint64_t plain_layer = (peak[1][0] - peak[0][0]) / (MANY - FEW);
    const uint64_t checkpointed_layer = (peak[1][1] - peak[0][1]) / (MANY - FEW);
    printf("%d layers: %.2f MiB, checkpointed %.2f; each layer %.0f KiB, %.0f\n", MANY,
           (double)peak[1][0] / 1048576, (double)peak[1][1] / 1048576, (double)plain_layer / 1024,
           (double)checkpointed_layer / 1024);
    assert_true(3 * peak[1][1] < 2 * peak[1][0]);
    assert_true(3 * checkpointed_layer < plain_layer);
}

/* ---- models to start from -------------------------------------------------------------------- */

typedef struct init_watch {
    int left; /* times until it says stop */
    uint64_t done, total;
} init_watch;

static int32_t watch_init(void *user, uint64_t done, uint64_t total) {
    init_watch *w = user;
    assert_true(done >= w->done && done < total);
    assert_true(w->total == 0 || w->total == total);
    w->done = done;
    w->total = total;
    return --w->left <= 0;
}

/* Stopped anywhere, sm_model_init leaves no file; unstopped, the same one as without a hook. */
static void test_init_cancel(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path("stopped.gguf"));
    init_watch watch;
    int asked = 0;
    sm_status status;
    do {
        sm_error e;
        sm_model_init_options init = small;
        watch = (init_watch){.left = ++asked};
        init.progress = watch_init;
        init.progress_user = &watch;
        status = sm_model_init(path, vocabulary(), &init, &e);
        size_t size;
        uint8_t *file = scratch_read(path, &size);
        assert_true(status == (watch.left > 0 ? SM_OK : SM_ERR_CANCELLED));
        assert_true((file != NULL) == (status == SM_OK));
        free(file);
    } while (status != SM_OK);
    assert_true(asked > 10 && watch.total > 0);
    expect_same_files(path, new_model("unwatched.gguf", &small));
}

/* Programs built with an earlier header hand over structs without what came later: it is neither
 * read nor written. */
static void test_earlier_structs(void **state) {
    (void)state;
    init_watch watch = {.left = 1};
    sm_model_init_options init = small;
    init.struct_size = offsetof(sm_model_init_options, progress);
    init.progress = watch_init;
    init.progress_user = &watch;
    const char *path = new_model("earlier.gguf", &init);
    assert_int_equal(watch.left, 1);
    sm_model *model;
    sm_model_info info;
    memset(&info, 0x5a, sizeof info);
    info.struct_size = offsetof(sm_model_info, sliding_window);
    OK(sm_model_load(&model, path, NULL, error));
    OK(sm_model_get_info(model, &info, error));
    assert_int_equal(info.n_layer, 2);
    assert_int_equal(info.sliding_window, 0x5a5a5a5a);
    sm_model_free(model);
    const sm_trainer_options o = quick();
    sm_trainer *t = open_trainer(path, &o);
    steps(t, 1);
    char ckpt[512];
    snprintf(ckpt, sizeof ckpt, "%s", scratch_path("earlier.ckpt"));
    OK(sm_trainer_save(t, ckpt, error));
    sm_trainer_free(t);
    sm_checkpoint_info at;
    memset(&at, 0x5a, sizeof at);
    at.struct_size = offsetof(sm_checkpoint_info, steps);
    OK(sm_checkpoint_get_info(ckpt, &at, error));
    assert_true(at.step == 1 && at.steps == 0x5a5a5a5a5a5a5a5a && at.tokens == at.steps);
    at.struct_size = 4;
    assert_int_equal(sm_checkpoint_get_info(ckpt, &at, NULL), SM_ERR_ARGUMENT);
}

/* ---- data of several files ---------------------------------------------------------------- */

/* A scratch file that holds text[begin..end). */
static const char *part_of(const char *name, const char *text, size_t begin, size_t end) {
    static char path[6][512];
    static int turn;
    char *p = path[turn++ % 6];
    snprintf(p, sizeof path[0], "%s", scratch_path(name));
    scratch_write(p, text + begin, end - begin);
    return p;
}

/* Trains 6 steps, the loss of each in `losses`; saves and exports at the end. */
static void train_some(const char *model, const sm_trainer_options *o, double losses[6],
                       const char *ckpt, const char *out) {
    sm_trainer *t = open_trainer(model, o);
    for (int i = 0; i < 6; i++) {
        sm_train_metrics m = {.struct_size = sizeof m};
        OK(sm_trainer_step(t, &m, error));
        losses[i] = m.loss;
    }
    losses[5] += evaluate(t);
    OK(sm_trainer_save(t, ckpt, error));
    OK(sm_trainer_export(t, out, NULL, error));
    sm_trainer_free(t);
}

/* Files that follow each other are what one file with all of their documents is: the same batches,
 * the same validation part. Checkpoints know all of them, and their order. */
static void test_files_are_one_data_set(void **state) {
    (void)state;
    const char *model = new_model("files.gguf", &small);
    char ckpt[512], out[512], other[512];
    snprintf(ckpt, sizeof ckpt, "%s", scratch_path("files.ckpt"));
    snprintf(out, sizeof out, "%s", scratch_path("files-out.gguf"));
    snprintf(other, sizeof other, "%s", scratch_path("files-one.gguf"));
    size_t size;
    uint8_t *read = scratch_read(story(), &size);
    char *text = malloc(size + 1);
    assert_non_null(text);
    memcpy(text, read, size);
    text[size] = 0;
    free(read);
    size_t cut[2];
    for (int i = 0; i < 2; i++) { /* behind separators */
        const char *at = strstr(text + size * (size_t)(i + 1) / 4, "<|endoftext|>");
        cut[i] = (size_t)(at - text) + 13;
    }
    const char *a = part_of("a.txt", text, 0, cut[0]), *b = part_of("b.txt", text, cut[0], cut[1]),
               *c = part_of("c.txt", text, cut[1], size);
    const char *more[] = {b, c}, *turned[] = {c, b};
    sm_trainer_options one = quick(), several = quick();
    double want[6], got[6];
    one.validation = several.validation = 0.5; /* begins in the last file, or in the middle one */
    several.data = a;
    several.more_data = more;
    several.n_more_data = 2;
    train_some(model, &one, want, scratch_path("one.ckpt"), other);
    train_some(model, &several, got, ckpt, out);
    assert_memory_equal(want, got, sizeof want);
    expect_same_files(out, other);

    sm_trainer *t = open_trainer(model, &several);
    OK(sm_trainer_resume(t, ckpt, error));
    sm_trainer_free(t);
    sm_error e;
    for (size_t shift = 0; shift < sizeof(void *); shift++) { /* the list lies as pointers must */
        sm_trainer_options known = {.struct_size = sizeof known};
        const char *from = NULL;
        uint64_t needed;
        assert_int_equal(sm_checkpoint_get_options(ckpt, &known, &from, NULL, 0, &needed, &e),
                         SM_ERR_BUFFER);
        char *room = malloc(needed + shift);
        assert_non_null(room);
        OK(sm_checkpoint_get_options(ckpt, &known, &from, room + shift, needed, &needed, error));
        assert_string_equal(known.data, a);
        assert_int_equal(known.n_more_data, 2);
        assert_string_equal(known.more_data[0], b);
        assert_string_equal(known.more_data[1], c);
        assert_int_equal((uintptr_t)known.more_data % sizeof(void *), 0);
        t = open_trainer(from, &known);
        OK(sm_trainer_resume(t, ckpt, error));
        sm_trainer_free(t);
        free(room);
    }
    sm_trainer_options wrong = several;
    wrong.more_data = turned;
    expect_refusal(model, &wrong, ckpt, "is not the training data");
    wrong.more_data = more;
    wrong.n_more_data = 1;
    expect_refusal(model, &wrong, ckpt, "is not the training data");
    text[cut[1] + 3] ^= 1; /* one bit of the last file */
    const char *changed[] = {b, part_of("d.txt", text, cut[1], size)};
    wrong.more_data = changed;
    wrong.n_more_data = 2;
    expect_refusal(model, &wrong, ckpt, "is not the training data");

    const char *nowhere[] = {b, "/nonexistent/c.txt"}, *none[] = {b, NULL};
    wrong.more_data = nowhere;
    assert_int_equal(sm_trainer_open(&t, model, &wrong, &e), SM_ERR_IO);
    assert_non_null(strstr(e.message, "/nonexistent/c.txt"));
    wrong.more_data = none;
    assert_int_equal(sm_trainer_open(&t, model, &wrong, &e), SM_ERR_ARGUMENT);
    wrong.more_data = NULL;
    assert_int_equal(sm_trainer_open(&t, model, &wrong, &e), SM_ERR_ARGUMENT);
    wrong.more_data = more;
    wrong.n_more_data = 65536;
    assert_int_equal(sm_trainer_open(&t, model, &wrong, &e), SM_ERR_ARGUMENT);
    free(text);
}

/* Text and instructions together: each file is what its name says. */
static void test_files_of_both_kinds(void **state) {
    (void)state;
    static const char stories[] = "a cat sat<|endoftext|>a dog ran<|endoftext|>a bird sang",
                      entries[] = "{\"instruction\": \"Say a.\", \"output\": \"a\"}\n"
                                  "{\"instruction\": \"Say b.\", \"output\": \"b\"}\n";
    sm_model_init_options init = small;
    init.n_ctx = 256;
    const char *model = new_model("both.gguf", &init);
    const char *text = part_of("both.txt", stories, 0, sizeof stories - 1);
    const char *more[] = {part_of("both.jsonl", entries, 0, sizeof entries - 1)};
    sm_trainer_options o = quick();
    sm_trainer_info info = {.struct_size = sizeof info};
    sm_train_evaluation e = {.struct_size = sizeof e};
    o.data = text;
    o.more_data = more;
    o.n_more_data = 1;
    o.sequence = 256;
    o.rows = 1;
    sm_trainer *t = open_trainer(model, &o);
    OK(sm_trainer_get_info(t, &info, error));
    assert_int_equal(info.train_documents + info.validation_documents, 5);
    steps(t, 8); /* more than a pass, each file's documents cut into rows by their kind */
    OK(sm_trainer_get_info(t, &info, error));
    assert_true(info.epoch >= 1);
    OK(sm_trainer_evaluate(t, &e, error)); /* of the last entry: bytes are of no use */
    assert_true(e.targets > 0 && e.bits_per_byte == 0);
    sm_trainer_free(t);
}

static int32_t stop_at_once(void *user, uint64_t done, uint64_t total) {
    const uint64_t *passes = user;
    (void)total;
    static uint64_t last;
    static int restarts;
    restarts = done < last ? restarts + 1 : restarts;
    last = done;
    return restarts == (int)*passes;
}

/* Option epochs: as many steps as it takes, and the same training as with that many steps. */
static void test_epochs(void **state) {
    (void)state;
    static const char entries[] = "{\"instruction\": \"Say a.\", \"output\": \"a\"}\n"
                                  "{\"instruction\": \"Say b.\", \"output\": \"b\"}\n";
    sm_model_init_options init = small;
    init.n_ctx = 256;
    const char *model = new_model("epochs.gguf", &init);
    sm_trainer_info info = {.struct_size = sizeof info};
    sm_trainer_options o = quick();
    o.data = part_of("epochs.jsonl", entries, 0, sizeof entries - 1);
    o.validation = 0;
    o.sequence = 256;
    o.rows = 3; /* of one entry each: a pass and a half in a batch */
    o.warmup = 0;
    static const struct {
        double epochs;
        uint32_t accumulate;
        uint64_t steps;
    } cases[] = {{3, 1, 2}, {3.1, 1, 3}, {0.5, 1, 1}, {6, 2, 2}, {300, 1, 200}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        o.epochs = cases[i].epochs;
        o.accumulate = cases[i].accumulate;
        sm_trainer *t = open_trainer(model, &o);
        assert_int_equal(sm_trainer_steps_left(t), cases[i].steps);
        sm_trainer_free(t);
    }
    /* the counting leaves no trace */
    sm_trainer_options by_epochs = quick(), by_steps = quick();
    double want[6], got[6];
    by_epochs.epochs = 1;
    by_epochs.steps = 0;
    sm_trainer *t = open_trainer(model, &by_epochs);
    by_steps.steps = sm_trainer_steps_left(t);
    while (sm_trainer_steps_left(t))
        OK(sm_trainer_step(t, NULL, error));
    OK(sm_trainer_get_info(t, &info, error));
    assert_true(info.steps >= 6 && info.epochs >= 1 && info.epochs < 1.2);
    sm_trainer_free(t);
    train_some(model, &by_steps, want, scratch_path("e.ckpt"), scratch_path("e.gguf"));
    train_some(model, &by_epochs, got, scratch_path("e.ckpt"), scratch_path("e.gguf"));
    assert_memory_equal(want, got, sizeof want);
    /* counting can be stopped: the second time that the hook counts from the start */
    uint64_t passes = 1;
    by_epochs.progress = stop_at_once;
    by_epochs.progress_user = &passes;
    assert_int_equal(sm_trainer_open(&t, model, &by_epochs, NULL), SM_ERR_CANCELLED);
    assert_null(t);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* Says yes when it is asked that many times. */
static int32_t count_down(void *user) {
    return --*(int *)user <= 0;
}

/* A step that is cancelled leaves no trace, wherever it is; one whose update had begun is finished
 * by the next call, whichever that is. */
static void test_cancel(void **state) {
    (void)state;
    const char *model = new_model("cancel.gguf", &small);
    for (uint32_t checkpoint_layers = 0; checkpoint_layers < 2; checkpoint_layers++) {
        sm_trainer_options o = quick();
        o.checkpoint_layers = checkpoint_layers;
        o.n_threads = 2;
        sm_error e;
        sm_trainer *t = open_trainer(model, &o);
        steps(t, 4);
        OK(sm_trainer_save(t, scratch_path("plain.ckpt"), error));
        sm_trainer_free(t);
        t = open_trainer(model, &o);
        int left, cancelled = 0;
        steps(t, 2);
        OK(sm_trainer_set_cancel(t, count_down, &left, error));
        sm_train_evaluation result = {.struct_size = sizeof result};
        for (int asked = 1; sm_trainer_steps_left(t) == 18; asked += 1 + asked / 16, cancelled++) {
            left = asked;
            sm_status status = sm_trainer_evaluate(t, &result, &e);
            assert_int_equal(status, left > 0 ? SM_OK : SM_ERR_CANCELLED);
            left = asked;
            if (sm_trainer_steps_left(t) == 17)
                break;
            status = sm_trainer_step(t, NULL, &e);
            assert_int_equal(status, left > 0 ? SM_OK : SM_ERR_CANCELLED);
            assert_int_equal(sm_trainer_steps_left(t), status ? 18 : 17);
        }
        assert_true(left > 0 && cancelled > 5);
        OK(sm_trainer_set_cancel(t, NULL, NULL, error));
        steps(t, 1);
        OK(sm_trainer_save(t, scratch_path("cancelled.ckpt"), error));
        expect_same_files(scratch_path("plain.ckpt"), scratch_path("cancelled.ckpt"));
        sm_trainer_free(t);
    }
}

/* A trainer that was left between two runs says so until it is of one again. */
static void test_cancel_resume(void **state) {
    (void)state;
    const char *model = new_model("mixed.gguf", &small);
    const sm_trainer_options o = quick();
    char ckpt[512];
    sm_error e;
    sm_trainer *t = open_trainer(model, &o);
    snprintf(ckpt, sizeof ckpt, "%s", scratch_path("mixed.ckpt"));
    steps(t, 2);
    OK(sm_trainer_save(t, ckpt, error));
    steps(t, 2);
    OK(sm_trainer_save(t, scratch_path("plain.ckpt"), error));
    int left = 1000000;
    OK(sm_trainer_set_cancel(t, count_down, &left, error));
    OK(sm_trainer_resume(t, ckpt, error));
    left = 1000000 - left; /* the last question, while what follows from the weights is made */
    assert_int_equal(sm_trainer_resume(t, ckpt, &e), SM_ERR_CANCELLED);
    OK(sm_trainer_set_cancel(t, NULL, NULL, error));
    sm_train_evaluation result = {.struct_size = sizeof result};
    assert_int_equal(sm_trainer_step(t, NULL, &e), SM_ERR_STATE);
    assert_int_equal(sm_trainer_evaluate(t, &result, &e), SM_ERR_STATE);
    assert_int_equal(sm_trainer_save(t, scratch_path("none.ckpt"), &e), SM_ERR_STATE);
    assert_int_equal(sm_trainer_export(t, scratch_path("none.gguf"), NULL, &e), SM_ERR_STATE);
    OK(sm_trainer_resume(t, ckpt, error));
    steps(t, 2);
    OK(sm_trainer_save(t, scratch_path("again.ckpt"), error));
    expect_same_files(scratch_path("plain.ckpt"), scratch_path("again.ckpt"));
    sm_trainer_free(t);
}

/* Stops after the step that *user says. */
static int32_t up_to(void *user, const sm_train_metrics *m) {
    uint64_t *seen = user;
    assert_int_equal(m->step, seen[1] + 1);
    assert_true(m->loss > 0 && m->grad_norm > 0 && m->targets > 0);
    seen[1] = m->step;
    return m->step == seen[0];
}

/* The same as step by step, with a look at each. */
static void test_callback(void **state) {
    (void)state;
    const char *model = new_model("callback.gguf", &small);
    const sm_trainer_options o = quick();
    sm_error e;
    sm_trainer *t = open_trainer(model, &o);
    steps(t, 20);
    OK(sm_trainer_save(t, scratch_path("steps.ckpt"), error));
    sm_trainer_free(t);
    t = open_trainer(model, &o);
    uint64_t seen[2] = {3, 0};
    assert_int_equal(sm_trainer_train(t, 10, up_to, seen, &e), SM_ERR_CANCELLED); /* by up_to */
    assert_non_null(strstr(e.message, "step 3"));
    assert_int_equal(seen[1], 3);
    seen[0] = 100;
    OK(sm_trainer_train(t, 4, up_to, seen, error));
    assert_int_equal(seen[1], 7);
    int left = 1;
    OK(sm_trainer_set_cancel(t, count_down, &left, error));
    assert_int_equal(sm_trainer_train(t, 4, up_to, seen, &e), SM_ERR_CANCELLED);
    assert_int_equal(seen[1], 7);
    OK(sm_trainer_set_cancel(t, NULL, NULL, error));
    OK(sm_trainer_train(t, 1, NULL, NULL, error));
    seen[1]++;
    OK(sm_trainer_train(t, 0, up_to, seen, error)); /* all that are left */
    assert_int_equal(seen[1], 20);
    OK(sm_trainer_train(t, 0, up_to, seen, error));
    OK(sm_trainer_save(t, scratch_path("callback.ckpt"), error));
    expect_same_files(scratch_path("steps.ckpt"), scratch_path("callback.ckpt"));
    sm_trainer_free(t);
    assert_int_equal(sm_trainer_train(NULL, 0, NULL, NULL, &e), SM_ERR_ARGUMENT);
}

static void test_divergence(void **state) {
    (void)state;
    sm_trainer_options o = quick();
    o.optimizer = SM_OPTIMIZER_SGD;
    o.lr = 999;
    o.no_clip = 1;
    o.warmup = 0;
    sm_trainer *t = open_trainer(new_model("astray.gguf", &small), &o);
    sm_error e;
    sm_status status = SM_OK;
    uint64_t left = 0;
    while (!status) {
        left = sm_trainer_steps_left(t);
        status = sm_trainer_step(t, NULL, &e);
    }
    assert_int_equal(status, SM_ERR_DIVERGED);
    char step[32];
    snprintf(step, sizeof step, "step %d", (int)(o.steps - left + 1));
    assert_non_null(strstr(e.message, step));
    assert_int_equal(sm_trainer_step(t, NULL, &e), SM_ERR_DIVERGED);
    assert_int_equal(sm_trainer_steps_left(t), 0);
    sm_trainer_free(t);
}

static void test_arguments(void **state) {
    (void)state;
    const char *model = new_model("arguments.gguf", &small);
    sm_error e;
    sm_trainer *t;
    sm_trainer_options o = quick();
    assert_int_equal(sm_trainer_open(NULL, model, &o, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_trainer_open(&t, NULL, &o, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_trainer_open(&t, model, NULL, &e), SM_ERR_ARGUMENT);
    o.data = NULL;
    assert_int_equal(sm_trainer_open(&t, model, &o, &e), SM_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "data"));
    o = quick();
    o.data = "/nonexistent/data.txt";
    assert_int_equal(sm_trainer_open(&t, model, &o, &e), SM_ERR_IO);
    o = quick();
    assert_int_equal(sm_trainer_open(&t, "/nonexistent/model.gguf", &o, &e), SM_ERR_IO);
    o.warmup = 21;
    assert_int_equal(sm_trainer_open(&t, model, &o, &e), SM_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "warmup"));
    o = quick();
    o.validation = 0.9;
    assert_int_equal(sm_trainer_open(&t, model, &o, &e), SM_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "validation"));
    o = quick();
    o.openblas = 1; /* works, or is refused by name */
    const sm_status blas = sm_trainer_open(&t, model, &o, &e);
    assert_true(blas == SM_OK || (blas == SM_ERR_UNSUPPORTED && strstr(e.message, "OpenBLAS")));
    sm_trainer_free(t);
    o = quick();
    o.validation = 0;
    t = open_trainer(model, &o);
    sm_train_evaluation result = {.struct_size = sizeof result};
    assert_int_equal(sm_trainer_evaluate(t, &result, &e), SM_ERR_STATE);
    sm_trainer_free(t);
    sm_trainer_free(NULL);
    assert_int_equal(sm_trainer_steps_left(NULL), 0);
    sm_model_init_options init = small;
    init.n_head = 5;
    assert_int_equal(sm_model_init(scratch_path("bad.gguf"), vocabulary(), &init, &e),
                     SM_ERR_ARGUMENT);
    init = small;
    init.n_head_kv = 3;
    assert_int_equal(sm_model_init(scratch_path("bad.gguf"), vocabulary(), &init, &e),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_init("/nonexistent/x.gguf", vocabulary(), &small, &e), SM_ERR_IO);
}

/* Every allocation fails in turn: a status and a message, and nothing left behind. */
static void test_out_of_memory(void **state) {
    (void)state;
    const char *model = new_model("memory.gguf", &small);
    for (uint64_t at = 1;; at++) {
        fail_alloc fail = {.fail_at = at};
        const sm_allocator hook = fail_allocator(&fail);
        sm_trainer_options o = quick();
        o.allocator = &hook;
        o.lora_targets = "attn_q"; /* kept, though this trainer has no adapters */
        o.more_data = &o.data;
        o.n_more_data = 1;
        sm_trainer *t = NULL;
        sm_error error = {0};
        sm_status status = sm_trainer_open(&t, model, &o, &error);
        if (!status)
            status = sm_trainer_step(t, NULL, &error);
        if (!status)
            status = sm_trainer_save(t, scratch_path("memory.ckpt"), &error);
        if (!status)
            status = sm_trainer_export(t, scratch_path("memory-out.gguf"), NULL, &error);
        sm_trainer_free(t);
        assert_int_equal(fail.live_blocks, 0);
        if (!status)
            break;
        assert_int_equal(status, SM_ERR_NOMEM);
        assert_int_equal(error.code, SM_ERR_NOMEM);
        assert_non_null(strstr(error.message, "memory"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families_learn),
        cmocka_unit_test(test_optimizers_learn),
        cmocka_unit_test(test_export_computes_the_same),
        cmocka_unit_test(test_windows_learn),
        cmocka_unit_test(test_tokens_and_epochs),
        cmocka_unit_test(test_files_are_one_data_set),
        cmocka_unit_test(test_files_of_both_kinds),
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_resume_by_checkpoint),
        cmocka_unit_test(test_checkpoint_options_refused),
        cmocka_unit_test(test_resume_refuses),
        cmocka_unit_test(test_resume_compares_data),
        cmocka_unit_test(test_checkpoint_info),
        cmocka_unit_test(test_adapters_learn),
        cmocka_unit_test(test_adapters_resume),
        cmocka_unit_test(test_joined),
        cmocka_unit_test(test_adapters_answer),
        cmocka_unit_test(test_adapters_of_experts_answer),
        cmocka_unit_test(test_adapters_memory),
        cmocka_unit_test(test_checkpointed_layers_memory),
        cmocka_unit_test(test_init_cancel),
        cmocka_unit_test(test_earlier_structs),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_resume),
        cmocka_unit_test(test_callback),
        cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
