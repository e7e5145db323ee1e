/* Sessions saved and loaded: what goes on from a loaded one is what would have gone on; all that
 * does not belong to the session that loads it, or is damaged, is refused and changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "fixture.h"
#include "format/format.h"
#include "several.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define V FIXTURE_VOCAB
#define CONTEXT 200
#define KV_TYPES 7

static sm_model *open_model(const fixture_model *spec, const sm_allocator *allocator) {
    const char *path = scratch_path("saved-model.gguf");
    const sm_model_options o = {.struct_size = sizeof o, .allocator = allocator};
    sm_model *model;
    sm_error error;
    assert_int_equal(fixture_write(path, spec), 0);
    if (sm_model_load(&model, path, &o, &error))
        fail_msg("%s", error.message);
    return model;
}

static sm_session_options plain(void) {
    return (sm_session_options){
        .struct_size = sizeof(sm_session_options), .n_ctx = CONTEXT, .n_threads = 1, .n_batch = 16};
}

static sm_session *open_with(const sm_model *model, sm_session_options o) {
    sm_session *s;
    sm_error error;
    if (sm_session_new(&s, model, &o, &error))
        fail_msg("%s", error.message);
    return s;
}

static sm_session *open_session(const sm_model *model) {
    return open_with(model, plain());
}

static void feed(sm_session *s, uint32_t n, uint64_t seed) {
    int32_t id;
    for (uint32_t i = 0; i < n; i++) {
        id = 1 + (int32_t)(test_random(&seed) % 250);
        assert_int_equal(sm_session_feed(s, &id, 1, NULL), SM_OK);
    }
}

static void assert_same(const sm_session *a, const sm_session *b) {
    const float *la, *lb;
    assert_int_equal(sm_session_length(a), sm_session_length(b));
    for (uint32_t i = 0; i < sm_session_length(a); i++)
        assert_int_equal(test_token(a, i), test_token(b, i));
    const sm_status status = sm_session_logits(a, &la, NULL, NULL);
    assert_int_equal(status, sm_session_logits(b, &lb, NULL, NULL));
    if (!status)
        assert_memory_equal(la, lb, V * sizeof *la);
}

/* Both go on alike, also behind where they went back to. */
static void assert_goes_on(sm_session *a, sm_session *b) {
    assert_same(a, b);
    feed(a, 40, 9);
    feed(b, 40, 9);
    assert_same(a, b);
    assert_int_equal(sm_session_rewind(a, sm_session_length(a) - 13, NULL), SM_OK);
    assert_int_equal(sm_session_rewind(b, sm_session_length(b) - 13, NULL), SM_OK);
    feed(a, 5, 10);
    feed(b, 5, 10);
    assert_same(a, b);
}

/* The saved data, to be freed. */
static uint8_t *saved(const sm_session *s, uint64_t *size) {
    sm_error error;
    uint64_t again;
    assert_int_equal(sm_session_save_bytes(s, NULL, 0, size, &error), SM_ERR_BUFFER);
    uint8_t *data = malloc((size_t)*size);
    assert_non_null(data);
    assert_int_equal(sm_session_save_bytes(s, data, *size - 1, &again, NULL), SM_ERR_BUFFER);
    assert_int_equal(again, *size);
    if (sm_session_save_bytes(s, data, *size, &again, &error))
        fail_msg("%s", error.message);
    assert_int_equal(again, *size);
    return data;
}

static void assert_loads(sm_session *s, const uint8_t *data, uint64_t size) {
    sm_error error;
    if (sm_session_restore_bytes(s, data, size, &error))
        fail_msg("%s", error.message);
}

/* Of every kind of state and every type of cache, at lengths around tiles, rings and nothing. */
static void goes_on_as_if_never_saved(void **state) {
    (void)state;
    static const uint32_t lengths[] = {0, 1, 15, 16, 17, 70, 150};
    const char *path = scratch_path("session.sms");
    for (size_t m = 0; m < SEVERAL; m++) {
        sm_model *model = open_model(&several[m], NULL);
        for (uint32_t type = 0; type < KV_TYPES; type++)
            for (uint32_t keep = 0; keep < 2; keep++)
                for (size_t i = (m + type + keep) % 2; i < 7; i += 2) {
                    sm_session_options o = plain();
                    o.kv_type = type;
                    o.kv_keep = keep;
                    sm_session *s = open_with(model, o), *from_file, *from_bytes;
                    o.n_threads = 2;
                    from_file = open_with(model, o);
                    from_bytes = open_with(model, o);
                    feed(s, lengths[i], m + 1);
                    feed(from_file, 77, 5); /* in place of what it has */
                    uint64_t size;
                    uint8_t *data = saved(s, &size);
                    assert_int_equal(sm_session_save(s, path, NULL), SM_OK);
                    assert_loads(from_bytes, data, size);
                    assert_int_equal(sm_session_restore(from_file, path, NULL), SM_OK);
                    size_t on_disk;
                    uint8_t *file = scratch_read(path, &on_disk);
                    assert_int_equal(on_disk, size);
                    assert_memory_equal(file, data, size);
                    free(file);
                    assert_same(s, from_file);
                    assert_goes_on(s, from_bytes);
                    sm_session_free(s);
                    sm_session_free(from_file);
                    sm_session_free(from_bytes);
                    free(data);
                }
        sm_model_free(model);
    }
}

/* Rewound before it is saved; forked; in a batch; with more room than it had. */
static void whatever_was_done_before(void **state) {
    (void)state;
    for (size_t m = 0; m < SEVERAL; m++) {
        sm_model *model = open_model(&several[m], NULL);
        sm_session *s = open_session(model), *copy, *fork;
        uint64_t size;
        feed(s, 120, 3);
        assert_int_equal(sm_session_rewind(s, 107, NULL), SM_OK);
        uint8_t *data = saved(s, &size);
        sm_batch *batch;
        const sm_batch_options bo = {
            .struct_size = sizeof bo, .n_sequences = 4, .n_batch = 16, .n_ctx = CONTEXT};
        assert_int_equal(sm_batch_new(&batch, model, &bo, NULL), SM_OK);
        const sm_session_options inside = {.struct_size = sizeof inside, .n_ctx = CONTEXT};
        assert_int_equal(sm_batch_new_session(&copy, batch, &inside, NULL), SM_OK);
        sm_batch_free(batch);
        assert_loads(copy, data, size);
        assert_same(s, copy);
        sm_session_free(copy);
        sm_session_options wide = plain();
        wide.n_ctx = 2 * CONTEXT;
        copy = open_with(model, wide);
        assert_loads(copy, data, size);
        assert_int_equal(sm_session_fork(&fork, copy, NULL, NULL), SM_OK);
        assert_goes_on(s, fork);
        sm_session_free(fork);
        sm_session_free(copy);
        sm_session_free(s);
        free(data);
        sm_model_free(model);
    }
}

/* What mirostat carries goes along. */
static void choices_go_on(void **state) {
    (void)state;
    const sm_sampling sampling = {
        .struct_size = sizeof sampling, .temperature = 1, .mirostat = 2, .seed = 3};
    sm_model *model = open_model(&several[0], NULL);
    sm_session *s = open_session(model), *t = open_session(model);
    uint64_t size;
    int32_t a, b;
    feed(s, 5, 1);
    for (int i = 0; i < 60; i++) {
        if (i == 30 || i == 31) { /* before and after the choice is fed */
            if (i == 31)
                assert_int_equal(test_sample(s, &sampling, &a, NULL, NULL), SM_OK);
            uint8_t *data = saved(s, &size);
            assert_loads(t, data, size);
            free(data);
        }
        assert_int_equal(test_sample(s, &sampling, &a, NULL, NULL), SM_OK);
        assert_int_equal(sm_session_feed(s, &a, 1, NULL), SM_OK);
        if (i < 30)
            continue;
        assert_int_equal(test_sample(t, &sampling, &b, NULL, NULL), SM_OK);
        assert_int_equal(a, b);
        assert_int_equal(sm_session_feed(t, &b, 1, NULL), SM_OK);
    }
    sm_session_free(s);
    sm_session_free(t);
    sm_model_free(model);
}

/* A file that version 1 wrote, in tests/run/kept with its model (gemma2, scalar level, n_ctx 24,
 * n_batch 4, mirostat 2 with seed 3): it loads for ever, and its text goes on as it would have. */
static void a_file_of_version_1_goes_on(void **state) {
    (void)state;
    static const int32_t held[] = {5, 9, 77, 3, 8, 8, 241, 94, 246}, next[] = {46, 254, 246, 49};
    const char *folder = getenv("SM_TEST_KEPT");
    char model_path[4096], path[4096];
    sm_model *model;
    sm_error error;
    if (!folder)
        skip(); /* started by hand */
    snprintf(model_path, sizeof model_path, "%s/model.gguf", folder);
    snprintf(path, sizeof path, "%s/session-1.sms", folder);
    const sm_model_options scalar = {.struct_size = sizeof scalar, .level = SM_LEVEL_SCALAR};
    if (sm_model_load(&model, model_path, &scalar, &error))
        fail_msg("%s", error.message);
    sm_session_options o = plain();
    o.n_ctx = 24;
    o.n_batch = 4;
    sm_session *s = open_with(model, o);
    if (sm_session_restore(s, path, &error))
        fail_msg("%s", error.message);
    assert_int_equal(sm_session_length(s), 9);
    for (uint32_t i = 0; i < 9; i++)
        assert_int_equal(test_token(s, i), held[i]);
    const sm_sampling sampling = {
        .struct_size = sizeof sampling, .temperature = 1, .mirostat = 2, .seed = 3};
    for (int i = 0; i < 4; i++) {
        int32_t id;
        assert_int_equal(test_sample(s, &sampling, &id, NULL, NULL), SM_OK);
        assert_int_equal(id, next[i]);
        assert_int_equal(sm_session_feed(s, &id, 1, NULL), SM_OK);
    }
    sm_session_free(s);
    sm_model_free(model);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void refused(sm_session *s, const uint8_t *data, uint64_t size, sm_status status,
                    const char *word) {
    sm_error error = {0};
    const uint32_t length = sm_session_length(s);
    const sm_status got = sm_session_restore_bytes(s, data, size, &error);
    if (got != status || !strstr(error.message, word))
        fail_msg("%d '%s', not %d '%s'", got, error.message, status, word);
    assert_int_equal(sm_session_length(s), length);
}

static void another_session_is_refused_by_name(void **state) {
    (void)state;
    sm_model *model = open_model(&several[1], NULL), *other;
    sm_session *s = open_session(model), *t;
    uint64_t size;
    feed(s, 60, 3);
    uint8_t *data = saved(s, &size);

    fixture_model like = several[1];
    like.seed = 77; /* the same shapes, other weights */
    other = open_model(&like, NULL);
    t = open_session(other);
    feed(t, 3, 1);
    refused(t, data, size, SM_ERR_ARGUMENT, "another model");
    sm_session_free(t);
    sm_model_free(other);

    const sm_model_options scalar = {.struct_size = sizeof scalar, .level = SM_LEVEL_SCALAR};
    assert_int_equal(fixture_write(scratch_path("saved-model.gguf"), &several[1]), 0);
    assert_int_equal(sm_model_load(&other, scratch_path("saved-model.gguf"), &scalar, NULL), SM_OK);
    t = open_session(other);
    if (sm_level_best(0) != SM_LEVEL_SCALAR)
        refused(t, data, size, SM_ERR_ARGUMENT, "level");
    sm_session_free(t);
    sm_model_free(other);

    sm_session_options o = plain();
    o.kv_type = SM_KV_TYPE_Q8_0;
    t = open_with(model, o);
    refused(t, data, size, SM_ERR_ARGUMENT, "type of keys and values");
    sm_session_free(t);
    o = plain();
    o.kv_keep = SM_KV_KEEP_ALL;
    t = open_with(model, o);
    refused(t, data, size, SM_ERR_ARGUMENT, "window");
    sm_session_free(t);
    o = plain();
    o.n_batch = 64;
    t = open_with(model, o);
    refused(t, data, size, SM_ERR_ARGUMENT, "windows keep");
    sm_session_free(t);
    o = plain();
    o.n_ctx = 59;
    t = open_with(model, o);
    refused(t, data, size, SM_ERR_CONTEXT_FULL, "60 tokens");
    sm_session_free(t);

    sm_error error;
    sm_model *none;
    assert_int_equal(sm_session_save(s, scratch_path("session.sms"), NULL), SM_OK);
    assert_int_equal(sm_model_load(&none, scratch_path("session.sms"), NULL, &error),
                     SM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "a saved session"));
    assert_int_equal(fixture_write(scratch_path("saved-model.gguf"), &several[1]), 0);
    assert_int_equal(sm_session_restore(s, scratch_path("saved-model.gguf"), &error),
                     SM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "no saved session"));
    assert_int_equal(sm_session_restore(s, scratch_path("not-there"), &error), SM_ERR_IO);
    free(data);
    sm_session_free(s);
    sm_model_free(model);
}

/* Every byte, and every place to cut: nothing is believed, nothing is changed. */
static void damage_is_refused(void **state) {
    (void)state;
    const fixture_model small = {.architecture = "gemma2",
                                 .n_layer = 2,
                                 .n_embd = 16,
                                 .n_head = 2,
                                 .n_head_kv = 1,
                                 .head_dim = 8,
                                 .sliding_window = 5};
    sm_model *model = open_model(&small, NULL);
    sm_session_options o = plain();
    o.kv_type = SM_KV_TYPE_Q4_0;
    o.n_batch = 1;
    sm_session *s = open_with(model, o), *t = open_with(model, o);
    uint64_t size;
    feed(s, 20, 3);
    feed(t, 7, 4);
    uint8_t *data = saved(s, &size);
    const uint32_t step = test_share(1, 7);
    for (uint64_t i = 0; i < size; i += step) {
        data[i] ^= (uint8_t)(1u << i % 8);
        if (sm_session_restore_bytes(t, data, size, NULL) == SM_OK)
            fail_msg("byte %llu of %llu may be damaged", (unsigned long long)i,
                     (unsigned long long)size);
        assert_int_equal(sm_session_length(t), 7);
        data[i] ^= (uint8_t)(1u << i % 8);
    }
    uint8_t *cut = malloc((size_t)size); /* of its own, for sanitizers */
    for (uint64_t i = 0; i < size; i += step) {
        uint8_t *exact = realloc(cut, (size_t)i + 1);
        assert_non_null(exact);
        cut = exact;
        memcpy(cut, data, (size_t)i);
        assert_int_not_equal(sm_session_restore_bytes(t, cut, i, NULL), SM_OK);
    }
    free(cut);
    assert_int_equal(sm_session_length(t), 7);
    feed(t, 1, 4);
    assert_loads(t, data, size);
    assert_goes_on(s, t);
    free(data);
    sm_session_free(s);
    sm_session_free(t);
    sm_model_free(model);
}

/* Files that are whole and lie: what the writer of GGUF files seals for anybody. */
typedef struct lie {
    uint64_t counts[10];
    uint64_t n_ids;
    int32_t id;
    bool logits;
    const char *word;
} lie;

static void write_lie(const char *path, const lie *told, const uint8_t *truth, uint64_t size) {
    sm_mem mem;
    sm_source *source;
    sm_gguf_writer *w;
    static int32_t ids[CONTEXT + 1];
    static float logits[V];
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_source_open_bytes(&source, &mem, truth, size, "truth", NULL), SM_OK);
    assert_int_equal(sm_gguf_writer_open(&w, &mem, path, 3, 64, NULL), SM_OK);
    const uint64_t n_vocab = V, n_ids = told->n_ids;
    for (uint64_t i = 0; i < source->n_keys; i++)
        if (strcmp(source->keys[i].name, "smallmind.session.counts") != 0 &&
            strcmp(source->keys[i].name, "general.alignment") != 0)
            sm_gguf_put_key(w, &source->keys[i]);
    sm_gguf_put_array(w, "smallmind.session.counts", SM_KEY_UINT64, told->counts, 10);
    for (uint64_t i = 0; i < source->n_tensors; i++)
        if (strncmp(source->tensors[i].name, "state.", 6) == 0)
            sm_gguf_declare_tensor(w, source->tensors[i].name, SM_DTYPE_I8, 1,
                                   source->tensors[i].dims, NULL);
    if (n_ids)
        sm_gguf_declare_tensor(w, "session.ids", SM_DTYPE_I32, 1, &n_ids, NULL);
    if (told->logits)
        sm_gguf_declare_tensor(w, "session.logits", SM_DTYPE_F32, 1, &n_vocab, NULL);
    sm_gguf_declare_seal(w, NULL);
    for (uint64_t i = 0; i < source->n_tensors; i++)
        if (strncmp(source->tensors[i].name, "state.", 6) == 0)
            sm_gguf_write_tensor(w, source->tensors[i].data, source->tensors[i].size, NULL);
    for (int i = 0; i < CONTEXT + 1; i++)
        ids[i] = told->id;
    if (n_ids)
        sm_gguf_write_tensor(w, ids, n_ids * sizeof *ids, NULL);
    if (told->logits)
        sm_gguf_write_tensor(w, logits, sizeof logits, NULL);
    assert_int_equal(sm_gguf_writer_finish(w, NULL), SM_OK);
    sm_source_close(source);
}

static void lies_are_refused(void **state) {
    (void)state;
    static const lie lies[] = {
        {{20, 20, 1, CONTEXT}, 20, V, true, "token 0"},
        {{20, 20, 1, CONTEXT}, 20, -1, true, "token 0"},
        {{20, 20, 1, CONTEXT}, 21, 1, true, "session.ids"},
        {{20, 20, 1, CONTEXT}, 0, 1, true, "session.ids"},
        {{20, 20, 1, CONTEXT}, 20, 1, false, "session.logits"},
        {{20, 20, 0, CONTEXT}, 20, 1, true, "tensors"},
        {{20, 19, 1, CONTEXT}, 20, 1, true, "contradicts"},
        {{20, 20, 2, CONTEXT}, 20, 1, true, "contradicts"},
        {{20, 20, 1, 19}, 20, 1, true, "contradicts"},
        {{0, 0, 1, CONTEXT}, 20, 1, true, "contradicts"},
        {{40, 40, 1, CONTEXT}, 40, 1, true, "state.0.keys"},
        {{20, 90, 1, CONTEXT}, 20, 1, true, "state."},
        {{UINT64_MAX, UINT64_MAX, 1, UINT64_MAX}, 20, 1, true, "tokens"},
        {{UINT64_C(1) << 32, UINT64_C(1) << 32, 1, UINT64_MAX}, 20, 1, true, "tokens"},
        {{20, 20, 1, CONTEXT, 21}, 20, 1, true, "contradicts"},
        {{20, 20, 1, CONTEXT, 0, CONTEXT + 1}, 20, 1, true, "contradicts"},
        {{20, 20, 1, CONTEXT, 0, 0, UINT64_MAX}, 20, 1, true, "contradicts"},
        {{20, 20, 1, CONTEXT, 0, 0, 0, 22}, 20, 1, true, "contradicts"},
        {{20, 20, 1, CONTEXT, 0, 0, 0, 3}, 20, 1, true, "session.trail"},
        {{20, 20, 1, CONTEXT, 0, 0, 0, 0, UINT64_MAX}, 20, 1, true, "contradicts"},
        {{20, 20, 1, CONTEXT, 0, 0, 0, 0, 1, UINT64_MAX}, 20, 1, true, "contradicts"},
        {{20, 20, 1, CONTEXT}, 20, 1, true, NULL}, /* which is none */
    };
    sm_model *model = open_model(&several[1], NULL);
    sm_session *s = open_session(model);
    uint64_t size;
    feed(s, 20, 3);
    uint8_t *data = saved(s, &size);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        sm_error error = {0};
        const char *path = scratch_path("lie.sms");
        write_lie(path, &lies[i], data, size);
        const sm_status status = sm_session_restore(s, path, &error);
        if (lies[i].word ? !status || !strstr(error.message, lies[i].word) : status)
            fail_msg("lie %zu: %d '%s'", i, status, error.message);
        assert_int_equal(sm_session_length(s), 20);
    }
    free(data);
    sm_session_free(s);
    sm_model_free(model);
}

/* ---- failing, cancelled ---------------------------------------------------------------------- */

static void failing_allocations(void **state) {
    (void)state;
    fail_alloc counter = {0};
    const sm_allocator allocator = fail_allocator(&counter);
    sm_model *model = open_model(&several[1], &allocator);
    sm_session *s = open_session(model), *t = open_session(model);
    const char *path = scratch_path("session.sms");
    uint64_t size;
    feed(s, 50, 3);
    feed(t, 8, 4);
    uint8_t *data = saved(s, &size);
    for (int what = 0; what < 4; what++)
        for (uint64_t n = 1;; n++) {
            assert_true(n < 100);
            counter.calls = 0;
            counter.fail_at = n;
            uint64_t written;
            const uint64_t before = counter.live_blocks;
            const sm_status status = what == 0 ? sm_session_save(s, path, NULL)
                                     : what == 1
                                         ? sm_session_save_bytes(s, data, size, &written, NULL)
                                     : what == 2 ? sm_session_restore(t, path, NULL)
                                                 : sm_session_restore_bytes(t, data, size, NULL);
            counter.fail_at = 0;
            assert_int_equal(counter.live_blocks, before);
            if (!status)
                break;
            assert_int_equal(status, SM_ERR_NOMEM);
            assert_int_equal(sm_session_length(t), what < 3 ? 8 : 50);
        }
    assert_goes_on(s, t);
    free(data);
    sm_session_free(s);
    sm_session_free(t);
    sm_model_free(model);
    assert_int_equal(counter.live_blocks, 0);
}

typedef struct asked {
    uint32_t calls, stop_at;
} asked;

static int32_t on_ask(void *user) {
    asked *a = user;
    return ++a->calls == a->stop_at;
}

static void cancelled_anywhere(void **state) {
    (void)state;
    sm_model *model = open_model(&several[1], NULL);
    sm_session *s = open_session(model), *t = open_session(model);
    const char *path = scratch_path("session.sms");
    uint64_t size;
    feed(s, 50, 3);
    uint8_t *data = saved(s, &size);
    asked a = {0};
    for (int what = 0; what < 2; what++)
        for (uint32_t stop = 1;; stop++) {
            assert_true(stop < 1000);
            sm_session *who = what ? t : s;
            sm_session_set_cancel(who, NULL, NULL, NULL);
            if (what) {
                assert_int_equal(sm_session_rewind(t, 0, NULL), SM_OK);
                feed(t, 5, 1);
            }
            a = (asked){.stop_at = stop};
            sm_session_set_cancel(who, on_ask, &a, NULL);
            const sm_status status = what ? sm_session_restore_bytes(t, data, size, NULL)
                                          : sm_session_save(s, path, NULL);
            if (!status)
                break;
            assert_int_equal(status, SM_ERR_CANCELLED);
            assert_true(!what || sm_session_length(t) == 5 || sm_session_length(t) == 0);
        }
    sm_session_set_cancel(s, NULL, NULL, NULL);
    sm_session_set_cancel(t, NULL, NULL, NULL);
    assert_goes_on(s, t);
    free(data);
    sm_session_free(s);
    sm_session_free(t);
    sm_model_free(model);
}

static void arguments(void **state) {
    (void)state;
    sm_model *model = open_model(&several[0], NULL);
    sm_session *s = open_session(model);
    uint64_t size = 5;
    uint8_t byte = 0;
    assert_int_equal(sm_session_save(NULL, "x", NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_save(s, NULL, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_restore(NULL, "x", NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_restore(s, NULL, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_save_bytes(NULL, &byte, 1, &size, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(size, 0);
    assert_int_equal(sm_session_save_bytes(s, NULL, 1, &size, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_save_bytes(s, &byte, 1, NULL, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_restore_bytes(s, NULL, 0, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_restore_bytes(s, &byte, 0, NULL), SM_ERR_FORMAT);
    sm_session_free(s);
    sm_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_on_as_if_never_saved),
        cmocka_unit_test(whatever_was_done_before),
        cmocka_unit_test(choices_go_on),
        cmocka_unit_test(a_file_of_version_1_goes_on),
        cmocka_unit_test(another_session_is_refused_by_name),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(lies_are_refused),
        cmocka_unit_test(failing_allocations),
        cmocka_unit_test(cancelled_anywhere),
        cmocka_unit_test(arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
