/* test_window - sliding-window attention: against a reference in double, the same bits however the
 * tokens are fed, and no look at what lies outside the window. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fixture.h"
#include "reference.h"
#include "support.h"

#define MOST 1600 /* tokens of a sequence */
#define V FIXTURE_VOCAB

/* ---- models --------------------------------------------------------------------------- */

typedef struct bench {
    sm_mem mem;
    sm_source *gguf;
    sm_net *net;
    sm_team *team;
    sm_workspace *ws;
    uint32_t n_step; /* of the states that run() and its like make; 0: they keep all tokens */
} bench;

#define STEP_TOKENS 600 /* that one step takes at most */

static void open_bench(bench *b, const char *path, uint32_t level, uint32_t n_threads) {
    sm_error error = {0};
    b->n_step = 0;
    assert_int_equal(sm_mem_init(&b->mem, NULL, 0, &error), SM_OK);
    if (sm_source_open(&b->gguf, &b->mem, path, true, &error) ||
        sm_net_load(&b->net, &b->mem, b->gguf, sm_kernels_get(level), SM_ROUND_MOST, NULL, NULL,
                    &error) ||
        sm_team_new(&b->team, &b->mem, n_threads, &error) || sm_net_pack_lazily(b->net, &error) ||
        sm_workspace_new(&b->ws, &b->mem, b->net, n_threads, STEP_TOKENS, MOST, &error))
        fail_msg("%s", error.message);
    sm_team_set_barrier_ns(b->team, 0); /* else these tiny steps would run on one thread */
}

static void close_bench(bench *b) {
    sm_workspace_free(b->ws);
    sm_team_free(b->team);
    sm_net_free(b->net);
    sm_source_close(b->gguf);
    assert_int_equal(b->mem.in_use, 0);
}

/* Gives the layers windows of their own; the buffers are those of such a model. */
static void set_windows(bench *b, uint32_t n_threads, const uint32_t window[2]) {
    for (uint32_t i = 0; i < b->net->n_blocks; i++)
        if (b->net->blocks[i].kind == &sm_kind_attention)
            b->net->blocks[i].attn.window = window[b->net->blocks[i].layer];
    sm_workspace_free(b->ws);
    assert_int_equal(sm_workspace_new(&b->ws, &b->mem, b->net, n_threads, STEP_TOKENS, MOST, NULL),
                     SM_OK);
}

static const char *write_model(const fixture_model *model) {
    const char *path = scratch_path("window.gguf");
    assert_int_equal(fixture_write(path, model), 0);
    return path;
}

static int32_t id_of(uint32_t sequence, uint32_t position) {
    return (int32_t)((sequence * 37 + position * 11 + position * position / 7) % V);
}

/* ---- ways to feed --------------------------------------------------------------------- */

/* Tokens [from, from + n) of a sequence; logits of all of them, or none. */
static void feed(bench *b, sm_state *kv, uint32_t sequence, uint32_t from, uint32_t n,
                 float (*logits)[V]) {
    static int32_t ids[STEP_TOKENS];
    static uint32_t outputs[STEP_TOKENS];
    static float *rows[STEP_TOKENS];
    for (uint32_t t = 0; t < n; t++) {
        ids[t] = id_of(sequence, from + t);
        outputs[t] = t;
        rows[t] = logits ? logits[from + t] : NULL;
    }
    const sm_span span = {kv, 0, n, from};
    const sm_step step = {.n_tokens = n,
                          .ids = ids,
                          .n_spans = 1,
                          .spans = &span,
                          .n_outputs = logits ? n : 0,
                          .outputs = outputs,
                          .logits = rows};
    assert_int_equal(sm_forward(b->ws, b->team, &step, NULL), SM_OK);
}

/* The first n tokens of a sequence in pieces. */
static void run(bench *b, uint32_t kv_type, uint32_t sequence, uint32_t n, uint32_t piece,
                float (*logits)[V]) {
    sm_state kv;
    assert_int_equal(sm_state_init(&kv, &b->mem, b->net, kv_type, n, b->n_step, NULL), SM_OK);
    for (uint32_t t = 0; t < n; t += piece)
        feed(b, &kv, sequence, t, n - t < piece ? n - t : piece, logits);
    sm_state_free(&kv, &b->mem);
}

/* The same with the last 40 tokens, or all, one at a time. */
static void one_by_one(bench *b, uint32_t kv_type, uint32_t sequence, uint32_t n,
                       float (*logits)[V]) {
    sm_state kv;
    uint32_t t = 0;
    assert_int_equal(sm_state_init(&kv, &b->mem, b->net, kv_type, n, b->n_step, NULL), SM_OK);
    for (; n - t > 40; t += n - t - 40 < 512 ? n - t - 40 : 512)
        feed(b, &kv, sequence, t, n - t - 40 < 512 ? n - t - 40 : 512, logits);
    for (; t < n; t++)
        feed(b, &kv, sequence, t, 1, logits);
    sm_state_free(&kv, &b->mem);
}

/* ---- against the reference ------------------------------------------------------------ */

static const uint32_t windows[] = {256, 5, 300, 1, 100, 255, 257, 4000};
#define N_WINDOWS (sizeof windows / sizeof *windows)
#define LENGTH 540

/* Logits of one sequence in double. */
static double *wanted(const char *path, uint32_t window, uint32_t n) {
    static int32_t ids[MOST];
    sm_mem mem;
    sm_source *gguf;
    sm_graph *graph;
    sm_error error;
    const uint32_t begin[] = {0, n};
    for (uint32_t t = 0; t < n; t++)
        ids[t] = id_of(0, t);
    const sm_graph_options options = {.max_tokens = 8, .max_spans = 1, .n_threads = 1};
    assert_int_equal(sm_mem_init(&mem, NULL, 0, &error), SM_OK);
    if (sm_source_open(&gguf, &mem, path, true, &error) ||
        sm_graph_new(&graph, &mem, gguf, sm_kernels_get(SM_LEVEL_SCALAR), &options, &error))
        fail_msg("%s", error.message);
    reference r = reference_make(graph);
    for (uint32_t i = 0; i < r.config.n_layer; i++)
        r.window[i] = window;
    double *logits = reference_logits(&r, &(sm_train_batch){n, ids, NULL, 1, begin});
    reference_free(&r);
    sm_graph_free(graph);
    sm_source_close(gguf);
    return logits;
}

/* The largest difference, as a part of the largest logit. */
static double difference(float (*got)[V], const double *want, uint32_t n) {
    double worst = 0, largest = 0;
    for (uint64_t i = 0; i < (uint64_t)n * V; i++) {
        const double off = fabs((double)got[i / V][i % V] - want[i]), size = fabs(want[i]);
        if (!(off <= worst))
            worst = off;
        if (size > largest)
            largest = size;
    }
    return worst / largest;
}

/* Relative to the largest logit: about twice what was measured on scalar, AVX2 and AVX-512, and for
 * f32, which has rounding errors only, seven times. A token more in a window of 256 is 0.1. */
static const double tolerance[SM_KV_TYPES] = {1e-5, 2e-3, 2e-2, 5e-2, 0.6, 0.5, 0.6};

static void windows_are_as_defined(void **state) {
    (void)state;
    static float logits[LENGTH][V], other[LENGTH][V];
    static const char *const families[] = {"llama", "qwen2", "qwen3"};
    static const uint32_t levels[] = {SM_LEVEL_SCALAR, SM_LEVEL_AVX2,    SM_LEVEL_AVX512,
                                      SM_LEVEL_NEON,   SM_LEVEL_DOTPROD, SM_LEVEL_AVX512BF16};
    const uint32_t n_windows = test_share(N_WINDOWS, 2);
    for (size_t i = 0; i < n_windows; i++) {
        const fixture_model model = {.architecture = families[i % 3],
                                     .n_embd = 32,
                                     .n_head = 4,
                                     .head_dim = i % 2 ? 16 : 24,
                                     .n_ff = 32,
                                     .sliding_window = windows[i]};
        const char *path = write_model(&model);
        double *want = wanted(path, windows[i], LENGTH);
        double *longer = windows[i] == 256 ? wanted(path, 257, LENGTH) : NULL;
        for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
            bench b;
            if (sm_level_best(levels[l]) != levels[l])
                continue;
            open_bench(&b, path, levels[l], 2);
            for (uint32_t kv = 0; kv < SM_KV_TYPES; kv++) {
                run(&b, kv, 0, LENGTH, LENGTH, logits);
                const double worst = difference(logits, want, LENGTH);
                if (!(worst < tolerance[kv]))
                    fail_msg("window %u, level %u, cache type %u: off by %g", windows[i], levels[l],
                             kv, worst);
                if (longer && kv == SM_KV_F32) /* the test can tell a token more */
                    assert_true(difference(logits, longer, LENGTH) > 1000 * tolerance[kv]);
                b.n_step = 61;
                run(&b, kv, 0, LENGTH, 61, other);
                b.n_step = 0;
                assert_memory_equal(other, logits, sizeof logits);
            }
            close_bench(&b);
        }
        free(want);
        free(longer);
    }
}

/* A window that holds everything is none, bit for bit. */
static void wide_windows_change_nothing(void **state) {
    (void)state;
    static float logits[LENGTH][V], other[LENGTH][V];
    for (uint32_t kv = 0; kv < SM_KV_TYPES; kv++)
        for (int wide = 0; wide < 3; wide++) {
            const uint32_t window[] = {0, LENGTH, UINT32_MAX};
            const char *path = write_model(&(fixture_model){.sliding_window = window[wide]});
            bench b;
            open_bench(&b, path, sm_level_best(SM_LEVEL_AUTO), 2);
            run(&b, kv, 0, LENGTH, wide ? 97 : LENGTH, wide ? other : logits);
            if (wide)
                assert_memory_equal(other, logits, sizeof logits);
            close_bench(&b);
        }
}

/* ---- sameness -------------------------------------------------------------------------- */

#define SEQUENCES 5

/* All sequences in each step, some with many tokens, most with one; the first is far ahead, so
 * that threads share its blocks. */
static void together(bench *b, uint32_t kv_type, const uint32_t *lengths,
                     float (*logits)[MOST][V]) {
    sm_state kv[SEQUENCES];
    uint32_t held[SEQUENCES] = {0};
    static float out[STEP_TOKENS][V];
    for (uint32_t s = 0; s < SEQUENCES; s++)
        assert_int_equal(sm_state_init(&kv[s], &b->mem, b->net, kv_type, MOST, b->n_step, NULL),
                         SM_OK);
    for (; held[0] < lengths[0] - 40; held[0] += 40)
        feed(b, &kv[0], 0, held[0], 40, logits[0]);
    for (uint32_t step = 0;; step++) {
        static int32_t ids[STEP_TOKENS];
        static uint32_t outputs[STEP_TOKENS];
        static float *rows[STEP_TOKENS];
        uint32_t n = 0, n_spans = 0, who[SEQUENCES];
        sm_span spans[SEQUENCES];
        for (uint32_t s = 0; s < SEQUENCES; s++) {
            uint32_t take = s && step % 8 == s ? 70 : 1;
            take = take < lengths[s] - held[s] ? take : lengths[s] - held[s];
            if (!take)
                continue;
            who[n_spans] = s;
            spans[n_spans++] = (sm_span){&kv[s], n, take, held[s]};
            for (uint32_t t = 0; t < take; t++, n++) {
                ids[n] = id_of(s, held[s] + t);
                outputs[n] = n;
                rows[n] = out[n];
            }
        }
        if (!n)
            break;
        const sm_step pass = {.n_tokens = n,
                              .ids = ids,
                              .n_spans = n_spans,
                              .spans = spans,
                              .n_outputs = n,
                              .outputs = outputs,
                              .logits = rows};
        assert_int_equal(sm_forward(b->ws, b->team, &pass, NULL), SM_OK);
        for (uint32_t i = 0; i < n_spans; i++) {
            memcpy(logits[who[i]][held[who[i]]], out[spans[i].first], spans[i].n * sizeof out[0]);
            held[who[i]] += spans[i].n;
        }
    }
    for (uint32_t s = 0; s < SEQUENCES; s++)
        sm_state_free(&kv[s], &b->mem);
}

/* Chunks, threads and company change no bit, where layers have windows of their own, too. */
static void windows_are_bit_exact(void **state) {
    (void)state;
    static float expected[SEQUENCES][MOST][V], got[SEQUENCES][MOST][V];
    static const uint32_t lengths[SEQUENCES] = {1560, 300, 90, 200, 1};
    static const struct {
        uint32_t window[2]; /* of the layers */
        uint32_t kv_type;
    } cases[] = {{{40, 40}, SM_KV_F32},
                 {{1400, 1400}, SM_KV_Q8_0},
                 {{0, 300}, SM_KV_F16},
                 {{1, 1300}, SM_KV_F32}};
    const char *path = write_model(&(fixture_model){.n_embd = 32, .n_ff = 32, .head_dim = 8});
    const uint32_t n_cases = test_share(sizeof cases / sizeof *cases, 2);
    for (size_t i = 0; i < n_cases; i++)
        for (uint32_t n_threads = 1; n_threads <= test_share(4, 3); n_threads++) {
            bench b;
            open_bench(&b, path, sm_level_best(SM_LEVEL_AUTO), n_threads);
            set_windows(&b, n_threads, cases[i].window);
            if (n_threads == 1)
                for (uint32_t s = 0; s < SEQUENCES; s++)
                    run(&b, cases[i].kv_type, s, lengths[s], STEP_TOKENS, expected[s]);
            memset(got, 0, sizeof got);
            b.n_step = n_threads == 2 ? 512 : n_threads == 3 ? 0 : 70;
            if (n_threads == 2)
                for (uint32_t s = 0; s < SEQUENCES; s++)
                    one_by_one(&b, cases[i].kv_type, s, lengths[s], got[s]);
            else
                together(&b, cases[i].kv_type, lengths, got);
            for (uint32_t s = 0; s < SEQUENCES; s++)
                assert_memory_equal(got[s], expected[s], lengths[s] * sizeof got[s][0]);
            close_bench(&b);
        }
}

/* A state that keeps a window and a step has the bits of one that keeps all, wherever tiles, blocks
 * and rings end; nothing is read that was not stored, were it NaN. */
static void rings_are_bit_exact(void **state) {
    (void)state;
    enum { LONG = 700 };
    static float expected[LONG][V], got[LONG][V];
    static const uint32_t widths[] = {1, 2, 16, 17, 40, 255, 256, 257, 300};
    static const uint32_t steps[] = {1, 3, 16, 64, 250};
    const char *path = write_model(&(fixture_model){.n_embd = 32, .n_ff = 32, .head_dim = 8});
    bench b;
    uint64_t seed = 9;
    open_bench(&b, path, sm_level_best(SM_LEVEL_AUTO), 2);
    for (uint32_t kv_type = 0; kv_type < SM_KV_TYPES; kv_type++)
        for (size_t i = 0; i < test_share(sizeof widths / sizeof *widths, 3); i++) {
            set_windows(&b, 2, (const uint32_t[]){widths[i], widths[i]});
            run(&b, kv_type, 0, LONG, STEP_TOKENS, expected);
            for (size_t j = 0; j < sizeof steps / sizeof *steps; j++) {
                sm_state kv;
                assert_int_equal(sm_state_init(&kv, &b.mem, b.net, kv_type, LONG, steps[j], NULL),
                                 SM_OK);
                memset(kv.memory, 0xff, (size_t)kv.bytes);
                for (uint32_t t = 0, n; t < LONG; t += n) {
                    n = 1 + (uint32_t)(test_random(&seed) % steps[j]);
                    n = n < LONG - t ? n : LONG - t;
                    feed(&b, &kv, 0, t, n, got);
                    assert_int_equal(kv.reached, t + n);
                }
                /* the window and a step, and what tiles of 16 make of that */
                const uint32_t seen = widths[i] - 1 + steps[j];
                assert_true(kv.kv[0].capacity >= seen && kv.kv[0].capacity <= seen + 30);
                assert_memory_equal(got, expected, sizeof got);
                sm_state_free(&kv, &b.mem);
            }
        }
    close_bench(&b);
}

/* Blocks that no token of a step sees are not read: what lies there makes no difference, were it
 * NaN. */
static void what_lies_outside_is_not_read(void **state) {
    (void)state;
    enum { HELD = 900, MORE = 20, WINDOW = 130 };
    static float expected[HELD + MORE][V], got[HELD + MORE][V];
    const char *path = write_model(&(fixture_model){.sliding_window = WINDOW});
    for (uint32_t kv_type = 0; kv_type < SM_KV_TYPES; kv_type++)
        for (uint32_t piece = 1; piece <= MORE; piece += MORE - 1) {
            bench b;
            sm_state kv;
            open_bench(&b, path, sm_level_best(SM_LEVEL_AUTO), 2);
            assert_int_equal(sm_state_init(&kv, &b.mem, b.net, kv_type, HELD + MORE, 0, NULL),
                             SM_OK);
            for (uint32_t t = 0; t < HELD; t += 450)
                feed(&b, &kv, 0, t, 450, NULL);
            for (int damaged = 0; damaged < 2; damaged++) {
                for (uint32_t t = HELD; t < HELD + MORE; t += piece)
                    feed(&b, &kv, 0, t, piece, damaged ? got : expected);
                /* the first of the tokens sees 771 and later: blocks 0 to 2 are out */
                for (uint32_t l = 0; l < kv.n; l++)
                    for (uint32_t h = 0; h < kv.kv[l].n_head_kv; h++) {
                        const uint64_t from = sm_kv_offset(&kv.kv[l], h, 0);
                        const uint64_t n = sm_kv_offset(&kv.kv[l], h, 3 * SM_KV_BLOCK) - from;
                        memset(kv.kv[l].k + from, 0xff, (size_t)n);
                        memset(kv.kv[l].v + from, 0xff, (size_t)n);
                    }
            }
            assert_memory_equal(got[HELD], expected[HELD], MORE * sizeof got[0]);
            sm_state_free(&kv, &b.mem);
            close_bench(&b);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_as_defined),
        cmocka_unit_test(wide_windows_change_nothing),
        cmocka_unit_test(windows_are_bit_exact),
        cmocka_unit_test(rings_are_bit_exact),
        cmocka_unit_test(what_lies_outside_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
