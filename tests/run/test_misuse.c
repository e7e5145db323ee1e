/* What hosts do to handles: use them inside their own callbacks, free them there, use one from two
 * threads, fork. A status or the right result; never corruption, never a hang. Run under the
 * thread sanitizer too, which has no forks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"
#include "blocks.h"
#include "fixture.h"
#include "run/run.h"
#include "smallmind/smallmind.h"
#include "support.h"
#include "train/trainer.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NO_FORKS
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define NO_FORKS
#endif

#define TOKENS 12
#define PROMPT 40

static const char *model_path(void) {
    static char path[512];
    if (!*path) {
        snprintf(path, sizeof path, "%s", scratch_path("host.gguf"));
        assert_int_equal(
            fixture_write(path, &(fixture_model){.type = SM_DTYPE_Q8_0, .untied = true}), 0);
    }
    return path;
}

static sm_model *open_model(fail_alloc *counter) {
    static sm_allocator allocator;
    sm_model_options o = {.struct_size = sizeof o};
    sm_error error = {0};
    sm_model *model = NULL;
    if (counter) {
        *counter = (fail_alloc){0};
        allocator = fail_allocator(counter);
        o.allocator = &allocator;
    }
    if (sm_model_load(&model, model_path(), &o, &error))
        fail_msg("%s", error.message);
    return model;
}

static sm_session *open_session(const sm_model *model, uint32_t n_threads) {
    const sm_session_options o = {
        .struct_size = sizeof o, .n_ctx = 200, .n_threads = n_threads, .n_batch = 16};
    sm_session *s = NULL;
    assert_int_equal(sm_session_new(&s, model, &o, NULL), SM_OK);
    sm_team_set_barrier_ns(s->batch->team, 0); /* else these tiny steps take one thread */
    return s;
}

static int32_t prompt_ids[PROMPT]; /* filled before any thread runs */

static const int32_t *prompt(void) {
    return prompt_ids;
}

/* In use, and it is said. */
#define IN_USE(call)                                                      \
    do {                                                                  \
        sm_error e_ = {0};                                                \
        sm_error *error = &e_;                                            \
        assert_int_equal((call), SM_ERR_STATE);                           \
        assert_non_null(strstr(e_.message, "in use by a call that has")); \
    } while (0)

/* ---- a session inside its callbacks -------------------------------------------------------- */

typedef struct guest {
    sm_session *s;
    const sm_adapter *adapter;
    bool free; /* do that instead */
    int at;    /* the call of the callback that does it */
    int calls;
    uint32_t n;
    int32_t ids[TOKENS];
} guest;

/* All that is not allowed inside a call of the session, and all that is. */
static void misuse(guest *g) {
    sm_session *s = g->s, *copy = NULL;
    const float *logits;
    static float rows[2 * FIXTURE_VOCAB];
    int32_t id = 5;
    uint64_t reused;
    const uint32_t length = sm_session_length(s);
    sm_generate_stats stats = {.struct_size = sizeof stats};
    IN_USE(sm_session_generate(s, "the end", SM_ZT, NULL, NULL, NULL, error));
    IN_USE(sm_session_feed(s, &id, 1, error));
    IN_USE(sm_session_feed_logits(s, &id, 1, rows, UINT64_MAX, error));
    IN_USE(sm_session_sync(s, &id, 1, &reused, error));
    IN_USE(sm_session_rewind(s, 0, error));
    IN_USE(test_sample(s, NULL, &id, NULL, error));
    assert_int_equal(id, -1);
    IN_USE(sm_session_set_cancel(s, NULL, NULL, error));
    IN_USE(sm_session_fork(&copy, s, NULL, error));
    assert_null(copy);
    IN_USE(sm_session_drop(s, 0, 0, error));
    IN_USE(sm_session_drop_turns(s, &(uint32_t){0}, 1, 0, 0, &(uint64_t){0}, error));
    IN_USE(sm_session_save(s, scratch_path("in-use.sms"), error));
    IN_USE(sm_session_restore(s, scratch_path("in-use.sms"), error));
    IN_USE(sm_session_save_bytes(s, NULL, 0, &reused, error));
    IN_USE(sm_session_restore_bytes(s, &id, sizeof id, error));
    IN_USE(sm_session_attach(s, g->adapter, 1, error));
    IN_USE(sm_session_detach(s, g->adapter, error));
    assert_int_equal(sm_session_length(s), length);
    assert_int_equal(test_info(s).n_ctx, 200);
    assert_true(test_info(s).n_threads > 0);
    assert_true(test_info(s).cache_bytes > 0 && sm_session_read_bytes(s, 0) > 0);
    assert_int_equal(test_token(s, length), -1);
    assert_int_equal(sm_session_get_stats(s, &stats, NULL), SM_OK);
    const sm_status status = sm_session_logits(s, &logits, NULL, NULL);
    assert_true(status == SM_OK || (status == SM_ERR_STATE && !logits));
}

static int32_t misuse_in_token(void *user, const sm_token *token) {
    guest *g = user;
    if (g->calls++ == g->at) {
        if (g->free)
            sm_session_free(g->s);
        else
            misuse(g);
    }
    if (token->id >= 0 && g->n < TOKENS)
        g->ids[g->n++] = token->id;
    return 0;
}

static int32_t misuse_in_hook(void *user) {
    guest *g = user;
    if (g->calls++ == g->at) {
        if (g->free)
            sm_session_free(g->s);
        else
            misuse(g);
    }
    return 0;
}

static const sm_generate_options *some_tokens(void) {
    static const sm_sampling sampling = {
        .struct_size = sizeof sampling, .temperature = 1, .seed = 3};
    static const sm_generate_options o = {
        .struct_size = sizeof o, .max_tokens = TOKENS, .sampling = &sampling, .ignore_end = 1};
    return &o;
}

/* Writes an adapter of the model. */
static const char *adapter_path(void) {
    static char path[512];
    snprintf(path, sizeof path, "%s", scratch_path("host-lora.gguf"));
    static float a[2 * 64], b[64 * 2];
    sm_mem mem;
    sm_gguf_writer *w;
    const uint64_t a_dims[] = {64, 2}, b_dims[] = {2, 64};
    for (int i = 0; i < 128; i++)
        a[i] = b[i] = 0.01f * (float)(i % 7);
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_gguf_writer_open(&w, &mem, path, 3, 32, NULL), SM_OK);
    sm_gguf_put_str(w, "general.type", "adapter", 7);
    sm_gguf_put_str(w, "general.architecture", "llama", 5);
    sm_gguf_put_str(w, "adapter.type", "lora", 4);
    sm_gguf_put_f32(w, "adapter.lora.alpha", 2);
    sm_gguf_declare_tensor(w, "blk.0.attn_q.weight.lora_a", SM_DTYPE_F32, 2, a_dims, NULL);
    sm_gguf_declare_tensor(w, "blk.0.attn_q.weight.lora_b", SM_DTYPE_F32, 2, b_dims, NULL);
    assert_int_equal(sm_gguf_write_tensor(w, a, sizeof a, NULL), SM_OK);
    assert_int_equal(sm_gguf_write_tensor(w, b, sizeof b, NULL), SM_OK);
    assert_int_equal(sm_gguf_writer_finish(w, NULL), SM_OK);
    return path;
}

static void a_session_in_its_callbacks_is_in_use(void **state) {
    (void)state;
    sm_model *model = open_model(NULL);
    sm_adapter *adapter;
    assert_int_equal(sm_adapter_load(&adapter, model, adapter_path(), NULL, NULL), SM_OK);
    guest plain = {.at = -1};
    sm_session *s = open_session(model, 2);
    assert_int_equal(
        sm_session_generate(s, "the", SM_ZT, some_tokens(), misuse_in_token, &plain, NULL), SM_OK);
    assert_int_equal(plain.n, TOKENS);
    for (int at = 0; at < TOKENS; at += 3) { /* what comes out is the same */
        guest g = {.s = s, .adapter = adapter, .at = at};
        sm_session_rewind(s, 0, NULL);
        assert_int_equal(
            sm_session_generate(s, "the", SM_ZT, some_tokens(), misuse_in_token, &g, NULL), SM_OK);
        assert_true(g.calls > at);
        assert_memory_equal(g.ids, plain.ids, sizeof g.ids);
    }
    for (int at = 0; at < 40; at += 5) { /* asked inside the steps */
        guest hook = {.s = s, .adapter = adapter, .at = at}, g = {.at = -1};
        sm_session_rewind(s, 0, NULL);
        assert_int_equal(sm_session_set_cancel(s, misuse_in_hook, &hook, NULL), SM_OK);
        assert_int_equal(
            sm_session_generate(s, "the", SM_ZT, some_tokens(), misuse_in_token, &g, NULL), SM_OK);
        assert_int_equal(sm_session_set_cancel(s, NULL, NULL, NULL), SM_OK);
        assert_true(hook.calls > at);
        assert_memory_equal(g.ids, plain.ids, sizeof g.ids);
    }
    sm_session_free(s);
    sm_adapter_free(adapter);
    sm_model_free(model);
}

static void a_session_freed_in_a_callback_goes_when_the_call_ends(void **state) {
    (void)state;
    for (int at = 0; at < 8; at++) {
        fail_alloc counter;
        sm_model *model = open_model(&counter);
        guest g = {.s = open_session(model, 2), .free = true, .at = at};
        sm_model_free(model); /* the session is the last that holds it */
        if (at % 2)
            sm_session_set_cancel(g.s, misuse_in_hook, &g, NULL);
        assert_int_equal(sm_session_generate(g.s, "the", SM_ZT, some_tokens(),
                                             at % 2 ? NULL : misuse_in_token, &g, NULL),
                         SM_OK);
        assert_true(g.calls > at);
        assert_int_equal(counter.live_blocks, 0);
    }
}

/* An allocator that computes with another session of the model while room for weights is made. */
typedef struct caller {
    sm_session *other;
    int inside, n_state;
} caller;

static void *alloc_and_call(void *user, uint64_t size, uint64_t align) {
    caller *c = user;
    if (c->other && !c->inside++) {
        const int32_t ids[] = {1, 2, 3};
        const sm_status status = sm_session_feed(c->other, ids, 3, NULL);
        assert_true(status == SM_OK || status == SM_ERR_STATE);
        c->n_state += status == SM_ERR_STATE;
        c->inside = 0;
    }
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void release_it(void *user, void *ptr, uint64_t size, uint64_t align) {
    (void)user;
    (void)size;
    (void)align;
    free(ptr);
}

static void an_allocator_that_computes_does_not_hang(void **state) {
    (void)state;
    caller c = {0};
    const sm_allocator allocator = {.struct_size = sizeof allocator,
                                    .alloc = alloc_and_call,
                                    .release = release_it,
                                    .user = &c};
    const sm_model_options o = {.struct_size = sizeof o, .allocator = &allocator};
    sm_model *model;
    assert_int_equal(sm_model_load(&model, model_path(), &o, NULL), SM_OK);
    sm_session *s = open_session(model, 2), *other = open_session(model, 2);
    c.other = other;
    assert_int_equal(sm_session_feed(s, prompt(), PROMPT, NULL), SM_OK);
    assert_true(c.n_state > 0);
    c.other = NULL;
    assert_int_equal(sm_session_feed(other, prompt(), PROMPT, NULL), SM_OK);
    sm_session_free(s);
    sm_session_free(other);
    sm_model_free(model);
}

/* ---- a batch --------------------------------------------------------------------------------- */

typedef struct batch_guest {
    sm_batch *batch;
    sm_session *sessions[3]; /* the last one is not in the step */
    int mode;                /* 0: misuse, others free */
    int at, calls;
} batch_guest;

static int32_t misuse_batch(void *user) {
    batch_guest *g = user;
    const int32_t id = 3;
    sm_session *fresh = NULL;
    if (g->calls++ != g->at)
        return 0;
    if (g->mode == 0) {
        const sm_batch_item item = {.struct_size = sizeof(sm_batch_item),
                                    .session = g->sessions[2],
                                    .ids = &id,
                                    .n_ids = 1};
        IN_USE(sm_batch_step(g->batch, &item, 1, error));
        IN_USE(sm_batch_step(g->batch, NULL, 0, error));
        IN_USE(sm_batch_set_cancel(g->batch, NULL, NULL, error));
        IN_USE(sm_batch_new_session(&fresh, g->batch, NULL, error));
        assert_null(fresh);
        for (int i = 0; i < 3; i++) {
            IN_USE(sm_session_feed(g->sessions[i], &id, 1, error));
            IN_USE(sm_session_rewind(g->sessions[i], 0, error));
            IN_USE(sm_session_fork(&fresh, g->sessions[i], NULL, error));
            IN_USE(sm_session_generate(g->sessions[i], "a", SM_ZT, NULL, NULL, NULL, error));
        }
        return 0;
    }
    if (g->mode & 1)
        sm_batch_free(g->batch);
    for (int i = 0; i < 3; i++)
        if (g->mode & 2 << i)
            sm_session_free(g->sessions[i]);
    return 0;
}

static void a_batch_in_its_hook_is_in_use(void **state) {
    (void)state;
    for (int mode = 0; mode < 16; mode++) {
        fail_alloc counter;
        sm_model *model = open_model(&counter);
        const sm_batch_options o = {
            .struct_size = sizeof o, .n_threads = 2, .n_sequences = 3, .n_ctx = 64};
        batch_guest g = {.mode = mode, .at = mode % 3 * 4};
        assert_int_equal(sm_batch_new(&g.batch, model, &o, NULL), SM_OK);
        sm_team_set_barrier_ns(g.batch->team, 0);
        for (int i = 0; i < 3; i++)
            assert_int_equal(sm_batch_new_session(&g.sessions[i], g.batch, NULL, NULL), SM_OK);
        assert_int_equal(sm_batch_set_cancel(g.batch, misuse_batch, &g, NULL), SM_OK);
        const sm_batch_item items[] = {{.struct_size = sizeof(sm_batch_item),
                                        .session = g.sessions[0],
                                        .ids = prompt(),
                                        .n_ids = 9},
                                       {.struct_size = sizeof(sm_batch_item),
                                        .session = g.sessions[1],
                                        .ids = prompt(),
                                        .n_ids = 5}};
        assert_int_equal(sm_batch_step(g.batch, items, 2, NULL), SM_OK);
        assert_true(g.calls > g.at);
        for (int i = 0; i < 3; i++) /* what was not freed still works, whatever went before it */
            if (!(mode & 2 << i)) {
                assert_int_equal(sm_session_length(g.sessions[i]), i == 0 ? 9 : i == 1 ? 5 : 0);
                assert_int_equal(sm_session_feed(g.sessions[i], prompt(), 1, NULL), SM_OK);
                sm_session_free(g.sessions[i]);
            }
        if (!(mode & 1))
            sm_batch_free(g.batch);
        sm_model_free(model);
        assert_int_equal(counter.live_blocks, 0);
    }
}

static int32_t count_calls(void *user) {
    ++*(int *)user;
    return 0;
}

static int32_t stop_third(void *user) {
    return ++*(int *)user == 3;
}

/* The hooks of the sessions are asked in a step, as they are in a feed. */
static void a_step_asks_the_hooks_of_its_sessions(void **state) {
    (void)state;
    sm_model *model = open_model(NULL);
    sm_batch *batch;
    sm_session *s[3];
    int asked[4] = {0};
    assert_int_equal(sm_batch_new(&batch, model, NULL, NULL), SM_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sm_batch_new_session(&s[i], batch, NULL, NULL), SM_OK);
        sm_session_set_cancel(s[i], i == 1 ? stop_third : count_calls, &asked[i], NULL);
    }
    const sm_batch_item items[] = {
        {.struct_size = sizeof(sm_batch_item), .session = s[0], .ids = prompt(), .n_ids = 9},
        {.struct_size = sizeof(sm_batch_item), .session = s[1], .ids = prompt(), .n_ids = 5},
        {.struct_size = sizeof(sm_batch_item), .session = s[2]}};
    assert_int_equal(sm_batch_step(batch, items, 3, NULL), SM_ERR_CANCELLED);
    assert_true(asked[0] == 3 && asked[1] == 3 && asked[2] == 0); /* fed nothing, asked nothing */
    assert_int_equal(sm_session_length(s[0]), 0);
    assert_int_equal(sm_session_length(s[1]), 0);
    sm_batch_set_cancel(batch, count_calls, &asked[3], NULL);
    assert_int_equal(sm_batch_step(batch, items, 3, NULL), SM_OK);
    assert_true(asked[3] > 0 && asked[0] > 3 && asked[1] > 3 && asked[2] == 0);
    for (int i = 0; i < 3; i++)
        sm_session_free(s[i]);
    sm_batch_free(batch);
    sm_model_free(model);
}

/* ---- an importance matrix -------------------------------------------------------------------- */

typedef struct imatrix_guest {
    sm_imatrix *im;
    bool free;
    int calls;
} imatrix_guest;

static int32_t misuse_imatrix(void *user) {
    imatrix_guest *g = user;
    const int32_t id = 3;
    if (g->calls++ != 2)
        return 0;
    if (g->free) {
        sm_imatrix_free(g->im);
        return 0;
    }
    IN_USE(sm_imatrix_feed(g->im, &id, 1, error));
    IN_USE(sm_imatrix_save(g->im, scratch_path("im.gguf"), NULL, error));
    IN_USE(sm_imatrix_set_cancel(g->im, NULL, NULL, error));
    assert_int_equal(sm_imatrix_chunks(g->im), 0);
    assert_true(sm_imatrix_capacity(g->im) > 0);
    return 0;
}

static void an_imatrix_in_its_hook_is_in_use(void **state) {
    (void)state;
    for (int free = 0; free < 2; free++) {
        fail_alloc counter;
        sm_model *model = open_model(&counter);
        const sm_imatrix_options o = {.struct_size = sizeof o, .n_threads = 2};
        imatrix_guest g = {.free = free};
        assert_int_equal(sm_imatrix_new(&g.im, model, &o, NULL), SM_OK);
        sm_model_free(model);
        assert_int_equal(sm_imatrix_set_cancel(g.im, misuse_imatrix, &g, NULL), SM_OK);
        assert_int_equal(sm_imatrix_feed(g.im, prompt(), PROMPT, NULL), SM_OK);
        assert_true(g.calls > 2);
        if (!free) {
            assert_int_equal(sm_imatrix_chunks(g.im), 1);
            sm_imatrix_free(g.im);
        }
        assert_int_equal(counter.live_blocks, 0);
    }
}

/* ---- a trainer ------------------------------------------------------------------------------- */

static const char *text_path(void) {
    static char path[512];
    if (!*path) {
        static char text[4000];
        snprintf(path, sizeof path, "%s", scratch_path("host.txt"));
        for (int i = 0; strlen(text) < sizeof text - 100; i++)
            snprintf(text + strlen(text), 100, "the cat %d sat in the sun.\n%s", i % 10,
                     i % 3 ? "" : "<|endoftext|>\n");
        scratch_write(path, text, strlen(text));
    }
    return path;
}

static sm_trainer *open_trainer(fail_alloc *counter, uint32_t n_threads) {
    static sm_allocator allocator;
    sm_error error = {0};
    sm_trainer *t = NULL;
    sm_trainer_options o = {.struct_size = sizeof o,
                            .data = text_path(),
                            .sequence = 32,
                            .rows = 2,
                            .steps = 6,
                            .validation = 0.1,
                            .n_threads = n_threads};
    if (counter) {
        *counter = (fail_alloc){0};
        allocator = fail_allocator(counter);
        o.allocator = &allocator;
    }
    static char path[512];
    snprintf(path, sizeof path, "%s", scratch_path("train.gguf"));
    assert_int_equal(fixture_write(path, &(fixture_model){0}), 0);
    if (sm_trainer_open(&t, path, &o, &error))
        fail_msg("%s", error.message);
    return t;
}

typedef struct trainer_guest {
    sm_trainer *t;
    bool free;
    int at, calls;
} trainer_guest;

static void misuse_always(sm_trainer *t) {
    sm_trainer_info info = {.struct_size = sizeof info};
    IN_USE(sm_trainer_step(t, NULL, error));
    IN_USE(sm_trainer_train(t, 1, NULL, NULL, error));
    IN_USE(sm_trainer_resume(t, scratch_path("none.ckpt"), error));
    assert_int_equal(sm_trainer_get_info(t, &info, NULL), SM_OK);
    assert_int_equal(info.steps - info.step, sm_trainer_steps_left(t));
}

static int32_t misuse_in_step_hook(void *user) {
    trainer_guest *g = user;
    sm_train_evaluation e = {.struct_size = sizeof e};
    if (g->calls++ != g->at)
        return 0;
    if (g->free) {
        sm_trainer_free(g->t);
        return 0;
    }
    misuse_always(g->t);
    IN_USE(sm_trainer_evaluate(g->t, &e, error));
    IN_USE(sm_trainer_save(g->t, scratch_path("host.ckpt"), error));
    IN_USE(sm_trainer_export(g->t, scratch_path("host-out.gguf"), NULL, error));
    IN_USE(sm_trainer_export_adapter(g->t, scratch_path("host-out.gguf"), error));
    IN_USE(sm_trainer_set_cancel(g->t, NULL, NULL, error));
    return 0;
}

static int32_t work_in_on_step(void *user, const sm_train_metrics *metrics) {
    trainer_guest *g = user;
    sm_train_evaluation e = {.struct_size = sizeof e};
    (void)metrics;
    if (g->calls++ != g->at)
        return 0;
    if (g->free) {
        sm_trainer_free(g->t);
        return 0;
    }
    misuse_always(g->t);
    assert_int_equal(sm_trainer_evaluate(g->t, &e, NULL), SM_OK);
    assert_int_equal(sm_trainer_save(g->t, scratch_path("host.ckpt"), NULL), SM_OK);
    assert_int_equal(sm_trainer_export(g->t, scratch_path("host-out.gguf"), NULL, NULL), SM_OK);
    assert_int_equal(sm_trainer_set_cancel(g->t, NULL, NULL, NULL), SM_OK);
    misuse_always(g->t); /* no more than before */
    return 0;
}

static uint8_t *exported(sm_trainer *t, size_t *size) {
    const char *path = scratch_path("exported.gguf");
    assert_int_equal(sm_trainer_export(t, path, NULL, NULL), SM_OK);
    return scratch_read(path, size);
}

static void a_trainer_in_its_callbacks_is_in_use(void **state) {
    (void)state;
    size_t n[2];
    sm_trainer *plain = open_trainer(NULL, 2);
    assert_int_equal(sm_trainer_train(plain, 3, NULL, NULL, NULL), SM_OK);
    uint8_t *expected = exported(plain, &n[0]);
    sm_trainer_free(plain);
    for (int hook = 0; hook < 2; hook++) {
        trainer_guest g = {.t = open_trainer(NULL, 2), .at = 1};
        if (hook)
            sm_trainer_set_cancel(g.t, misuse_in_step_hook, &g, NULL);
        assert_int_equal(sm_trainer_train(g.t, 3, hook ? NULL : work_in_on_step, &g, NULL), SM_OK);
        assert_true(g.calls > 1);
        sm_trainer_set_cancel(g.t, NULL, NULL, NULL);
        uint8_t *got = exported(g.t, &n[1]);
        assert_int_equal(n[0], n[1]);
        assert_memory_equal(expected, got, n[0]);
        free(got);
        sm_trainer_free(g.t);
    }
    free(expected);
}

static void a_trainer_freed_in_a_callback_goes_when_the_call_ends(void **state) {
    (void)state;
    for (int mode = 0; mode < 3; mode++) {
        fail_alloc counter;
        sm_train_evaluation e = {.struct_size = sizeof e};
        trainer_guest g = {.t = open_trainer(&counter, 2), .free = true, .at = mode};
        if (mode)
            sm_trainer_set_cancel(g.t, misuse_in_step_hook, &g, NULL);
        if (mode == 2)
            assert_int_equal(sm_trainer_evaluate(g.t, &e, NULL), SM_OK);
        else
            assert_int_equal(sm_trainer_train(g.t, 2, mode ? NULL : work_in_on_step, &g, NULL),
                             SM_OK);
        assert_true(g.calls > g.at);
        assert_int_equal(counter.live_blocks, 0);
    }
}

/* ---- two threads ----------------------------------------------------------------------------- */

#define ROUNDS 60

typedef struct racer {
    void *handle;
    int number;
    bool bad;
} racer;

#define OK_OR_IN_USE(call)                                     \
    do {                                                       \
        const sm_status status_ = (call);                      \
        r->bad |= status_ != SM_OK && status_ != SM_ERR_STATE; \
    } while (0)

static void *race_session(void *arg) {
    racer *r = arg;
    sm_session *s = r->handle, *copy = NULL;
    int32_t id = 7;
    for (int i = 0; i < ROUNDS; i++) {
        switch ((i + r->number) % 6) {
        case 0:
            OK_OR_IN_USE(sm_session_generate(s, "the", SM_ZT, some_tokens(), NULL, NULL, NULL));
            break;
        case 1:
            OK_OR_IN_USE(sm_session_feed(s, &id, 1, NULL));
            break;
        case 2:
            OK_OR_IN_USE(sm_session_sync(s, prompt(), 20, NULL, NULL));
            break;
        case 3:
            OK_OR_IN_USE(sm_session_rewind(s, 0, NULL));
            break;
        case 4:
            OK_OR_IN_USE(test_sample(s, NULL, &id, NULL, NULL));
            id = 7;
            break;
        default:
            OK_OR_IN_USE(sm_session_fork(&copy, s, NULL, NULL));
            sm_session_free(copy);
            copy = NULL;
        }
        r->bad |= sm_session_length(s) > 200 || test_info(s).n_ctx != 200 || test_token(s, 0) < -1;
    }
    return NULL;
}

static void *race_batch(void *arg) {
    racer *r = arg;
    sm_session **s = r->handle;
    const int32_t id = 7;
    for (int i = 0; i < ROUNDS; i++) {
        const sm_batch_item items[] = {
            {.struct_size = sizeof(sm_batch_item), .session = s[0], .ids = &id, .n_ids = 1},
            {.struct_size = sizeof(sm_batch_item), .session = s[1], .ids = &id, .n_ids = 1}};
        OK_OR_IN_USE(sm_batch_step(s[0]->batch, items, 2, NULL));
        OK_OR_IN_USE(sm_session_feed(s[r->number % 2], &id, 1, NULL));
        OK_OR_IN_USE(sm_session_rewind(s[i % 2], 0, NULL));
    }
    return NULL;
}

static void *race_trainer(void *arg) {
    racer *r = arg;
    sm_trainer_info info = {.struct_size = sizeof info};
    sm_train_evaluation e = {.struct_size = sizeof e};
    for (int i = 0; i < 4; i++) {
        OK_OR_IN_USE(sm_trainer_step(r->handle, NULL, NULL));
        OK_OR_IN_USE(sm_trainer_evaluate(r->handle, &e, NULL));
        OK_OR_IN_USE(sm_trainer_get_info(r->handle, &info, NULL));
        r->bad |= sm_trainer_steps_left(r->handle) > 6;
    }
    return NULL;
}

static void *race_imatrix(void *arg) {
    racer *r = arg;
    for (int i = 0; i < ROUNDS; i++) {
        OK_OR_IN_USE(sm_imatrix_feed(r->handle, prompt(), 8, NULL));
        r->bad |= sm_imatrix_chunks(r->handle) > 2 * ROUNDS;
    }
    return NULL;
}

static void *race_detokenizer(void *arg) {
    racer *r = arg;
    const char *piece;
    uint64_t length;
    for (int i = 0; i < 400 * ROUNDS; i++) {
        OK_OR_IN_USE(sm_detokenizer_feed(r->handle, 200 + i % 60, &piece, &length, NULL));
        if (i % 5 == 0)
            OK_OR_IN_USE(sm_detokenizer_reset(r->handle, NULL));
        if (i % 7 == 0)
            OK_OR_IN_USE(sm_detokenizer_flush(r->handle, &piece, &length, NULL));
    }
    return NULL;
}

static void race(void *(*fn)(void *), void *handle) {
    pthread_t threads[2];
    racer racers[2];
    for (int i = 0; i < 2; i++) {
        racers[i] = (racer){.handle = handle, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, fn, &racers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_false(racers[i].bad);
    }
}

static void two_threads_do_no_harm(void **state) {
    (void)state;
    sm_model *model = open_model(NULL);
    sm_session *s = open_session(model, 2), *fresh = open_session(model, 2), *pair[2];
    const float *a, *b;
    race(race_session, s);
    /* and it is as good as new */
    assert_int_equal(sm_session_sync(s, prompt(), 30, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_feed(fresh, prompt(), 30, NULL), SM_OK);
    assert_int_equal(sm_session_logits(s, &a, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_logits(fresh, &b, NULL, NULL), SM_OK);
    assert_memory_equal(a, b, FIXTURE_VOCAB * sizeof *a);
    sm_session_free(s);
    sm_session_free(fresh);

    sm_batch *batch;
    const sm_batch_options o = {.struct_size = sizeof o, .n_threads = 2};
    assert_int_equal(sm_batch_new(&batch, model, &o, NULL), SM_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(sm_batch_new_session(&pair[i], batch, NULL, NULL), SM_OK);
    race(race_batch, pair);
    sm_batch_free(batch);
    sm_session_free(pair[0]);
    sm_session_free(pair[1]);

    sm_imatrix *im;
    assert_int_equal(sm_imatrix_new(&im, model, NULL, NULL), SM_OK);
    race(race_imatrix, im);
    sm_imatrix_free(im);

    sm_tokenizer *tokenizer;
    sm_detokenizer *detokenizer;
    assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, NULL), SM_OK);
    assert_int_equal(sm_detokenizer_new(&detokenizer, tokenizer, 0, NULL), SM_OK);
    race(race_detokenizer, detokenizer);
    sm_detokenizer_free(detokenizer);
    sm_tokenizer_free(tokenizer);
    sm_model_free(model);

    sm_trainer *t = open_trainer(NULL, 2);
    race(race_trainer, t);
    sm_trainer_free(t);
}

/* A thread in a call, held there by its hook until it is let go. */
typedef struct held {
    sm_session *s;
    pthread_mutex_t lock;
    pthread_cond_t turn;
    bool inside, go;
    sm_status status;
} held;

static int32_t hold(void *user) {
    held *h = user;
    pthread_mutex_lock(&h->lock);
    h->inside = true;
    pthread_cond_broadcast(&h->turn);
    while (!h->go)
        pthread_cond_wait(&h->turn, &h->lock);
    pthread_mutex_unlock(&h->lock);
    return 0;
}

static void *feed_held(void *arg) {
    held *h = arg;
    h->status = sm_session_feed(h->s, prompt(), PROMPT, NULL);
    return NULL;
}

static void begin_held(held *h, pthread_t *thread, sm_session *s) {
    *h = (held){.s = s};
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->turn, NULL);
    assert_int_equal(sm_session_set_cancel(s, hold, h, NULL), SM_OK);
    assert_int_equal(pthread_create(thread, NULL, feed_held, h), 0);
    pthread_mutex_lock(&h->lock);
    while (!h->inside)
        pthread_cond_wait(&h->turn, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

static void end_held(held *h, pthread_t thread) {
    pthread_mutex_lock(&h->lock);
    h->go = true;
    pthread_cond_broadcast(&h->turn);
    pthread_mutex_unlock(&h->lock);
    pthread_join(thread, NULL);
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->turn);
    assert_int_equal(h->status, SM_OK);
}

static void a_session_freed_by_another_thread_goes_when_the_call_ends(void **state) {
    (void)state;
    fail_alloc counter;
    sm_model *model = open_model(&counter);
    sm_session *s = open_session(model, 2);
    sm_model_free(model);
    held h;
    pthread_t thread;
    begin_held(&h, &thread, s);
    const int32_t id = 1;
    IN_USE(sm_session_feed(s, &id, 1, error));
    sm_session_free(s);
    assert_true(counter.live_blocks > 0);
    end_held(&h, thread);
    assert_int_equal(counter.live_blocks, 0);
}

/* ---- fork ------------------------------------------------------------------------------------ */

#if !defined(NO_FORKS)
/* Exit code of a child: 0, or where it went wrong. Nobody waits for ever. */
static void expect_child(pid_t child) {
    int status = 0;
    const struct timespec pause = {0, 5000000};
    for (int i = 0; i < 12000; i++) {
        const pid_t done = waitpid(child, &status, WNOHANG);
        if (done == child) {
            if (!WIFEXITED(status) || WEXITSTATUS(status))
                fail_msg("the child ended with %s %d", WIFEXITED(status) ? "code" : "signal",
                         WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
            return;
        }
        nanosleep(&pause, NULL);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    fail_msg("the child hangs");
}

/* In a child: numbers the steps that could fail. */
#define MUST(n, condition) \
    do {                   \
        if (!(condition))  \
            _exit(n);      \
    } while (0)

static void in_child(sm_session *s, const float *expected) {
    const float *logits;
    sm_session *copy;
    MUST(1, sm_session_feed(s, prompt() + 20, 20, NULL) == SM_OK);
    MUST(2, sm_session_logits(s, &logits, NULL, NULL) == SM_OK);
    MUST(3, !memcmp(logits, expected, FIXTURE_VOCAB * sizeof *logits));
    MUST(4, sm_session_fork(&copy, s, NULL, NULL) == SM_OK);
    MUST(5, sm_session_feed(copy, prompt(), 3, NULL) == SM_OK);
    sm_session_free(copy);
    MUST(6, sm_session_generate(s, "the", SM_ZT, some_tokens(), NULL, NULL, NULL) == SM_OK);
    const pid_t grandchild = fork();
    if (!grandchild) { /* once more */
        MUST(7, sm_session_sync(s, prompt(), PROMPT, NULL, NULL) == SM_OK);
        MUST(8, sm_session_logits(s, &logits, NULL, NULL) == SM_OK);
        MUST(9, !memcmp(logits, expected, FIXTURE_VOCAB * sizeof *logits));
        sm_session_free(s);
        _exit(0);
    }
    int status;
    MUST(10, waitpid(grandchild, &status, 0) == grandchild);
    sm_session_free(s);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
}

/* Fed in the parent, which repacks the weights, or not at all. */
static void a_forked_child_computes_the_same(void **state) {
    (void)state;
    static float expected[FIXTURE_VOCAB];
    const float *logits;
    for (int mode = 0; mode < 6; mode++) {
        fail_alloc counter;
        sm_model *model = open_model(&counter);
        sm_session *s = NULL;
        sm_batch *batch = NULL;
        const sm_batch_options o = {.struct_size = sizeof o, .n_threads = 3, .n_ctx = 200};
        if (mode < 4) {
            s = open_session(model, 1 + (uint32_t)mode);
        } else {
            assert_int_equal(sm_batch_new(&batch, model, &o, NULL), SM_OK);
            sm_team_set_barrier_ns(batch->team, 0);
            assert_int_equal(sm_batch_new_session(&s, batch, NULL, NULL), SM_OK);
        }
        assert_int_equal(sm_session_feed(s, prompt(), PROMPT, NULL), SM_OK);
        assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
        memcpy(expected, logits, sizeof expected);
        assert_int_equal(sm_session_rewind(s, 20, NULL), SM_OK);
        const pid_t child = fork();
        if (!child) {
            if (batch && mode == 5)
                sm_batch_free(batch);
            in_child(s, expected);
        }
        expect_child(child);
        /* the parent goes on, too */
        assert_int_equal(sm_session_feed(s, prompt() + 20, 20, NULL), SM_OK);
        assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
        assert_memory_equal(logits, expected, sizeof expected);
        sm_session_free(s);
        sm_batch_free(batch);
        sm_model_free(model);
        assert_int_equal(counter.live_blocks, 0);
    }
}

static void a_forked_child_can_free_everything(void **state) {
    (void)state;
    fail_alloc counter;
    sm_model *model = open_model(&counter);
    sm_session *s = open_session(model, 3), *idle = open_session(model, 2);
    sm_batch *batch;
    sm_session *of_batch;
    sm_imatrix *im;
    const sm_batch_options o = {.struct_size = sizeof o, .n_threads = 2};
    const sm_imatrix_options io = {.struct_size = sizeof io, .n_threads = 2};
    assert_int_equal(sm_batch_new(&batch, model, &o, NULL), SM_OK);
    assert_int_equal(sm_batch_new_session(&of_batch, batch, NULL, NULL), SM_OK);
    assert_int_equal(sm_imatrix_new(&im, model, &io, NULL), SM_OK);
    assert_int_equal(sm_imatrix_feed(im, prompt(), 9, NULL), SM_OK);
    held h;
    pthread_t thread;
    begin_held(&h, &thread, s); /* one of them in the midst of a step of another thread's */
    const pid_t child = fork();
    if (!child) {
        sm_error error = {0};
        const int32_t id = 1;
        MUST(1, sm_session_feed(s, &id, 1, &error) == SM_ERR_STATE);
        MUST(2, strstr(error.message, "when this process was forked"));
        MUST(3, sm_session_feed(idle, prompt(), 9, NULL) == SM_OK);
        sm_session_free(s);
        sm_session_free(idle);
        sm_batch_free(batch);
        sm_session_free(of_batch);
        sm_imatrix_free(im);
        sm_model_free(model);
        _exit(counter.live_blocks ? 4 : 0);
    }
    expect_child(child);
    end_held(&h, thread);
    sm_session_free(s);
    sm_session_free(idle);
    sm_batch_free(batch);
    sm_session_free(of_batch);
    sm_imatrix_free(im);
    sm_model_free(model);
    assert_int_equal(counter.live_blocks, 0);
}

static void a_forked_child_measures_and_trains_the_same(void **state) {
    (void)state;
    sm_model *model = open_model(NULL);
    const sm_imatrix_options io = {.struct_size = sizeof io, .n_threads = 2};
    sm_imatrix *im;
    char path[2][512];
    for (int i = 0; i < 2; i++)
        snprintf(path[i], sizeof path[i], "%s", scratch_path(i ? "fork-b.gguf" : "fork-a.gguf"));
    assert_int_equal(sm_imatrix_new(&im, model, &io, NULL), SM_OK);
    assert_int_equal(sm_imatrix_feed(im, prompt(), PROMPT, NULL), SM_OK);
    pid_t child = fork();
    if (!child) {
        MUST(1, sm_imatrix_feed(im, prompt(), 20, NULL) == SM_OK);
        MUST(2, sm_imatrix_save(im, path[0], NULL, NULL) == SM_OK);
        sm_imatrix_free(im);
        _exit(0);
    }
    expect_child(child);
    assert_int_equal(sm_imatrix_feed(im, prompt(), 20, NULL), SM_OK);
    assert_int_equal(sm_imatrix_save(im, path[1], NULL, NULL), SM_OK);
    sm_imatrix_free(im);
    sm_model_free(model);
    size_t n[2];
    uint8_t *a = scratch_read(path[0], &n[0]), *b = scratch_read(path[1], &n[1]);
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(a, b, n[0]);
    free(a);
    free(b);

    sm_trainer *t = open_trainer(NULL, 2);
    assert_int_equal(sm_trainer_step(t, NULL, NULL), SM_OK);
    child = fork();
    if (!child) {
        MUST(3, sm_trainer_step(t, NULL, NULL) == SM_OK);
        MUST(4, sm_trainer_export(t, path[0], NULL, NULL) == SM_OK);
        sm_trainer_free(t);
        _exit(0);
    }
    expect_child(child);
    assert_int_equal(sm_trainer_step(t, NULL, NULL), SM_OK);
    assert_int_equal(sm_trainer_export(t, path[1], NULL, NULL), SM_OK);
    sm_trainer_free(t);
    a = scratch_read(path[0], &n[0]);
    b = scratch_read(path[1], &n[1]);
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(a, b, n[0]);
    free(a);
    free(b);
}

/* ---- fork inside callbacks ---- */

typedef struct forker {
    int at, calls;
    pid_t parent, child;
    uint32_t n;
    int32_t ids[TOKENS];
} forker;

static int32_t fork_now(forker *f) {
    if (f->calls++ == f->at)
        f->child = fork();
    return 0;
}

static int32_t fork_in_token(void *user, const sm_token *token) {
    forker *f = user;
    if (token->id >= 0 && f->n < TOKENS)
        f->ids[f->n++] = token->id;
    return fork_now(f);
}

static int32_t fork_in_hook(void *user) {
    return fork_now(user);
}

/* The call that goes on in the child gives what it gives in the parent. */
static void a_fork_between_tokens_changes_nothing(void **state) {
    (void)state;
    sm_model *model = open_model(NULL);
    sm_session *s = open_session(model, 2);
    forker f = {.at = 2, .parent = getpid()}, plain = {.at = -1};
    assert_int_equal(
        sm_session_generate(s, "the", SM_ZT, some_tokens(), fork_in_token, &plain, NULL), SM_OK);
    sm_session_rewind(s, 0, NULL);
    const sm_status status =
        sm_session_generate(s, "the", SM_ZT, some_tokens(), fork_in_token, &f, NULL);
    if (getpid() != f.parent) {
        MUST(1, status == SM_OK);
        MUST(2, f.n == TOKENS && !memcmp(f.ids, plain.ids, sizeof f.ids));
        sm_session_free(s);
        _exit(0);
    }
    assert_int_equal(status, SM_OK);
    assert_memory_equal(f.ids, plain.ids, sizeof f.ids);
    expect_child(f.child);
    sm_session_free(s);
    sm_model_free(model);
}

/* Inside a step the workers are in the midst of it: the call ends, the session stays usable. */
static void a_fork_inside_a_step_ends_it(void **state) {
    (void)state;
    static float expected[FIXTURE_VOCAB];
    const float *logits;
    for (int at = 0; at < 24; at += 3) {
        sm_model *model = open_model(NULL); /* whose weights are not repacked yet */
        sm_session *s = open_session(model, 2);
        forker f = {.at = at, .parent = getpid()};
        assert_int_equal(sm_session_set_cancel(s, fork_in_hook, &f, NULL), SM_OK);
        const sm_status status = sm_session_feed(s, prompt(), PROMPT, NULL);
        if (getpid() != f.parent) {
            MUST(1, status == SM_ERR_STATE);
            MUST(2, sm_session_length(s) == 0);
            MUST(3, sm_session_feed(s, prompt(), PROMPT, NULL) == SM_OK);
            MUST(4, sm_session_logits(s, &logits, NULL, NULL) == SM_OK);
            MUST(5, !at || !memcmp(logits, expected, sizeof expected));
            sm_session_free(s);
            _exit(0);
        }
        assert_int_equal(status, SM_OK);
        assert_true(f.calls > at);
        assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
        if (!at)
            memcpy(expected, logits, sizeof expected);
        assert_memory_equal(logits, expected, sizeof expected);
        expect_child(f.child);
        sm_session_free(s);
        sm_model_free(model);
    }
    char path[2][512];
    for (int i = 0; i < 2; i++)
        snprintf(path[i], sizeof path[i], "%s", scratch_path(i ? "torn-b.gguf" : "torn-a.gguf"));
    for (int at = 0, last = 0; !last; at += 29) { /* all steps of both end with the same weights */
        sm_trainer *t = open_trainer(NULL, 2);
        forker f = {.at = at, .parent = getpid()};
        sm_trainer_set_cancel(t, fork_in_hook, &f, NULL);
        const sm_status status = sm_trainer_train(t, 2, NULL, NULL, NULL);
        if (getpid() != f.parent) {
            MUST(1, status == SM_ERR_STATE || status == SM_OK); /* where the workers were done */
            MUST(2, sm_trainer_train(t, 0, NULL, NULL, NULL) == SM_OK);
            MUST(3, sm_trainer_export(t, path[1], NULL, NULL) == SM_OK);
            sm_trainer_free(t);
            _exit(0);
        }
        assert_int_equal(status, SM_OK);
        last = f.calls <= at;
        if (!last)
            expect_child(f.child);
        sm_trainer_set_cancel(t, NULL, NULL, NULL);
        assert_int_equal(sm_trainer_train(t, 0, NULL, NULL, NULL), SM_OK);
        assert_int_equal(sm_trainer_export(t, path[0], NULL, NULL), SM_OK);
        sm_trainer_free(t);
        size_t n[2];
        uint8_t *a = scratch_read(path[0], &n[0]), *b = scratch_read(path[1], &n[1]);
        assert_int_equal(n[0], n[1]);
        assert_memory_equal(a, b, n[0]);
        free(a);
        free(b);
    }
}

/* The model's lock, which another thread holds while it repacks. */
typedef struct lock_user {
    sm_mutex *mutex;
    _Atomic int stage;
} lock_user;

static void *hold_lock(void *arg) {
    lock_user *u = arg;
    sm_mutex_lock(u->mutex);
    u->stage = 1;
    while (u->stage != 2)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    sm_mutex_unlock(u->mutex);
    return NULL;
}

/* Experts are numbers that the threads choose: where the others are gone, none is made up. */
static void a_fork_among_experts_ends_the_step(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path("torn-experts.gguf"));
    for (int at = 0, last = 0; !last; at += at < 40 ? 1 : 7) {
        sm_model *model;
        assert_int_equal(fixture_write(path, &(fixture_model){.n_experts = 4, .n_used = 2}), 0);
        assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
        sm_session *s = open_session(model, 2);
        forker f = {.at = at, .parent = getpid()};
        assert_int_equal(sm_session_set_cancel(s, fork_in_hook, &f, NULL), SM_OK);
        const sm_status status = sm_session_feed(s, prompt(), PROMPT, NULL);
        if (getpid() != f.parent) {
            MUST(1, status == SM_ERR_STATE || status == SM_OK);
            MUST(2, sm_session_sync(s, prompt(), PROMPT, NULL, NULL) == SM_OK);
            sm_session_free(s);
            _exit(0);
        }
        assert_int_equal(status, SM_OK);
        last = f.calls <= at;
        if (!last)
            expect_child(f.child);
        sm_session_free(s);
        sm_model_free(model);
    }
    for (int at = 0, last = 0; !last; at += 13) {
        sm_trainer_options o = {.struct_size = sizeof o,
                                .data = text_path(),
                                .sequence = 32,
                                .rows = 2,
                                .steps = 1,
                                .n_threads = 2,
                                .checkpoint_layers = at % 2 ? 1 : 0};
        sm_trainer *t;
        assert_int_equal(sm_trainer_open(&t, path, &o, NULL), SM_OK);
        forker f = {.at = at, .parent = getpid()};
        sm_trainer_set_cancel(t, fork_in_hook, &f, NULL);
        const sm_status status = sm_trainer_step(t, NULL, NULL);
        if (getpid() != f.parent) {
            MUST(3, status == SM_ERR_STATE || status == SM_OK);
            sm_trainer_free(t);
            _exit(0);
        }
        assert_int_equal(status, SM_OK);
        last = f.calls <= at;
        if (!last)
            expect_child(f.child);
        sm_trainer_free(t);
    }
}

static void a_lock_held_at_a_fork_is_free_in_the_child(void **state) {
    (void)state;
    sm_mem mem;
    lock_user u = {0};
    pthread_t thread;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_mutex_new(&u.mutex, &mem, NULL), SM_OK);
    assert_int_equal(pthread_create(&thread, NULL, hold_lock, &u), 0);
    while (u.stage != 1)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    const pid_t child = fork();
    if (!child) {
        sm_mutex_lock(u.mutex);
        sm_mutex_unlock(u.mutex);
        sm_mutex_lock(u.mutex);
        sm_mutex_free(u.mutex, &mem);
        _exit(0);
    }
    expect_child(child);
    u.stage = 2;
    pthread_join(thread, NULL);
    sm_mutex_lock(u.mutex);
    sm_mutex_unlock(u.mutex);
    sm_mutex_free(u.mutex, &mem);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_in_its_callbacks_is_in_use),
        cmocka_unit_test(a_session_freed_in_a_callback_goes_when_the_call_ends),
        cmocka_unit_test(an_allocator_that_computes_does_not_hang),
        cmocka_unit_test(a_batch_in_its_hook_is_in_use),
        cmocka_unit_test(a_step_asks_the_hooks_of_its_sessions),
        cmocka_unit_test(an_imatrix_in_its_hook_is_in_use),
        cmocka_unit_test(a_trainer_in_its_callbacks_is_in_use),
        cmocka_unit_test(a_trainer_freed_in_a_callback_goes_when_the_call_ends),
        cmocka_unit_test(two_threads_do_no_harm),
        cmocka_unit_test(a_session_freed_by_another_thread_goes_when_the_call_ends),
#if !defined(NO_FORKS)
        cmocka_unit_test(a_forked_child_computes_the_same),
        cmocka_unit_test(a_forked_child_can_free_everything),
        cmocka_unit_test(a_forked_child_measures_and_trains_the_same),
        cmocka_unit_test(a_fork_between_tokens_changes_nothing),
        cmocka_unit_test(a_fork_inside_a_step_ends_it),
        cmocka_unit_test(a_fork_among_experts_ends_the_step),
        cmocka_unit_test(a_lock_held_at_a_fork_is_free_in_the_child),
#endif
    };
    for (int i = 0; i < PROMPT; i++)
        prompt_ids[i] = (i * 37 + 11) % FIXTURE_VOCAB;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
