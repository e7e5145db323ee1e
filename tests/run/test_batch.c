/* Several sequences in one batch: each gets the bits it gets alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "nn/nn.h"
#include "nn/worker.h"
#include "support.h"

#define SEQUENCES 5
#define LENGTH 24
#define LDL FIXTURE_VOCAB
#define CONTEXT 64

typedef struct bench {
    sm_mem mem;
    sm_source *gguf;
    sm_net *net;
    sm_team *team;
    sm_workspace *workspace;
} bench;

static void open_bench(bench *b, const fixture_model *spec, uint32_t n_threads) {
    sm_error error = {0};
    const char *path = scratch_path("batch.gguf");
    assert_int_equal(fixture_write(path, spec), 0);
    assert_int_equal(sm_mem_init(&b->mem, NULL, 0, &error), SM_OK);
    if (sm_source_open(&b->gguf, &b->mem, path, true, &error) ||
        sm_net_load(&b->net, &b->mem, b->gguf, sm_kernels_get(sm_level_best(0)), SM_ROUND_MOST,
                    NULL, NULL, &error) ||
        sm_team_new(&b->team, &b->mem, n_threads, &error) || sm_net_pack_lazily(b->net, &error) ||
        sm_workspace_new(&b->workspace, &b->mem, b->net, n_threads, 128, CONTEXT, &error))
        fail_msg("%s", error.message);
}

static void close_bench(bench *b) {
    sm_workspace_free(b->workspace);
    sm_team_free(b->team);
    sm_net_free(b->net);
    sm_source_close(b->gguf);
    assert_int_equal(b->mem.in_use, 0);
}

static int32_t id_of(uint32_t sequence, uint32_t position) {
    return (int32_t)((sequence * 37 + position * 11 + position * position) % FIXTURE_VOCAB);
}

/* Logits of every token of every sequence, one sequence at a time. */
static void alone(bench *b, float logits[SEQUENCES][LENGTH][LDL]) {
    for (uint32_t s = 0; s < SEQUENCES; s++) {
        sm_state kv;
        int32_t ids[LENGTH];
        uint32_t outputs[LENGTH];
        float *rows[LENGTH];
        assert_int_equal(sm_state_init(&kv, &b->mem, b->net, SM_KV_F16, CONTEXT, 0, NULL), SM_OK);
        for (uint32_t t = 0; t < LENGTH; t++) {
            ids[t] = id_of(s, t);
            outputs[t] = t;
            rows[t] = logits[s][t];
        }
        const sm_span span = {&kv, 0, LENGTH, 0};
        const sm_step step = {.n_tokens = LENGTH,
                              .ids = ids,
                              .n_spans = 1,
                              .spans = &span,
                              .n_outputs = LENGTH,
                              .outputs = outputs,
                              .logits = rows};
        assert_int_equal(sm_forward(b->workspace, b->team, &step, NULL), SM_OK);
        sm_state_free(&kv, &b->mem);
    }
}

/* The same with all sequences in each step, every one taking its own number of tokens. */
static void together(bench *b, float logits[SEQUENCES][LENGTH][LDL]) {
    sm_state kv[SEQUENCES];
    uint32_t held[SEQUENCES] = {0};
    static float out[128][LDL];
    for (uint32_t s = 0; s < SEQUENCES; s++)
        assert_int_equal(sm_state_init(&kv[s], &b->mem, b->net, SM_KV_F16, CONTEXT, 0, NULL),
                         SM_OK);
    for (uint32_t step = 0;; step++) {
        int32_t ids[128];
        uint32_t outputs[128], n = 0, n_spans = 0;
        float *rows[128];
        sm_span spans[SEQUENCES];
        uint32_t who[SEQUENCES];
        for (uint32_t s = 0; s < SEQUENCES; s++) {
            uint32_t take = step == 0 ? 3 * s + 1 : 1 + (s + step) % 3;
            take = take < LENGTH - held[s] ? take : LENGTH - held[s];
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
        assert_int_equal(sm_forward(b->workspace, b->team, &pass, NULL), SM_OK);
        for (uint32_t i = 0; i < n_spans; i++) {
            memcpy(logits[who[i]][held[who[i]]], out[spans[i].first], spans[i].n * sizeof out[0]);
            held[who[i]] += spans[i].n;
        }
    }
    for (uint32_t s = 0; s < SEQUENCES; s++)
        sm_state_free(&kv[s], &b->mem);
}

static void batched_sequences_keep_their_bits(void **state) {
    (void)state;
    static const fixture_key scaled[] = {
        {"attention.layer_norm_epsilon", 'f', 1e-5}, {"logit_scale", 'f', 0.3}, {0}};
    static const fixture_key layer_norm[] = {{"attention.layer_norm_epsilon", 'f', 1e-5}, {0}};
    static const fixture_key in_parallel[] = {
        {"attention.layer_norm_epsilon", 'f', 1e-5}, {"use_parallel_residual", 'b', 1}, {0}};
    static float expected[SEQUENCES][LENGTH][LDL], got[SEQUENCES][LENGTH][LDL];
    const fixture_model specs[] = {
        {.type = SM_DTYPE_Q8_0},
        {.type = SM_DTYPE_F16},
        {.architecture = "qwen3", .head_dim = 24},
        {.architecture = "gemma2", .n_layer = 3, .sliding_window = 7},
        {.architecture = "gemma3", .n_layer = 7, .sliding_window = 7},
        {.architecture = "olmo2", .n_layer = 4, .sliding_window = 7},
        {.architecture = "gpt2", .n_head_kv = 4, .keys = layer_norm, .type = SM_DTYPE_F16},
        {.architecture = "stablelm", .keys = in_parallel, .type = SM_DTYPE_Q8_0},
        {.architecture = "gptneox", .untied = true, .keys = in_parallel},
        {.architecture = "command-r", .head_norms = true, .keys = scaled},
        {.n_experts = 5, .n_used = 2},
        {.n_experts = 3, .n_used = 1, .type = SM_DTYPE_Q8_0, .n_ff = 32}};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
            bench b;
            open_bench(&b, &specs[i], n_threads);
            if (n_threads == 1)
                alone(&b, expected);
            together(&b, got);
            assert_memory_equal(got, expected, sizeof got);
            close_bench(&b);
        }
    }
}

/* What barriers are said to cost decides who computes, not what. */
static void shares_keep_their_bits(void **state) {
    (void)state;
    static float expected[SEQUENCES][LENGTH][LDL], got[SEQUENCES][LENGTH][LDL];
    const fixture_model spec = {.n_ff = 1024, .n_layer = 1};
    const double costs[] = {0, 30, 2000, 1e9};
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
        bench b;
        open_bench(&b, &spec, 3);
        sm_team_set_barrier_ns(b.team, costs[i]);
        if (i == 0)
            alone(&b, expected);
        together(&b, got);
        assert_memory_equal(got, expected, sizeof got);
        close_bench(&b);
    }
}

/* A barrier is measured once. Where that met threads that had no CPU of their own yet, it must not
 * leave matrices of some hundred KB to one thread from then on. */
static void slow_barriers_are_not_believed(void **state) {
    (void)state;
    bench b;
    open_bench(&b, &(fixture_model){0}, 2);
    sm_team_set_barrier_ns(b.team, 100);
    const double quick = sm_work_least_share(b.team);
    sm_team_set_barrier_ns(b.team, 32000);
    const double slow = sm_work_least_share(b.team);
    assert_true(quick < slow && slow < 64 << 10);
    close_bench(&b);
}

static int by_address(const void *a, const void *b) {
    const uint8_t *x = (*(const sm_weight *const *)a)->packed;
    const uint8_t *y = (*(const sm_weight *const *)b)->packed;
    return x < y ? -1 : x > y;
}

/* Packed weights begin on a pair of cache lines and keep out of each other's way. */
static void packed_matrices_have_their_places(void **state) {
    (void)state;
    static float logits[SEQUENCES][LENGTH][LDL];
    const fixture_model specs[] = {{.type = SM_DTYPE_Q4_0, .n_layer = 3}, {.type = SM_DTYPE_F32}};
    const uint64_t sizes[] = {0, 1, 20000, (uint64_t)128 << 20}; /* 0: as it comes */
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        bench b;
        const sm_weight *m[64];
        open_bench(&b, &specs[i % 2], 2);
        if (sizes[i / 2])
            b.net->block_bytes = sizes[i / 2];
        alone(&b, logits);
        assert_true(b.net->n_matrices <= 64);
        for (size_t k = 0; k < b.net->n_matrices; k++)
            m[k] = &b.net->matrices[k];
        qsort(m, b.net->n_matrices, sizeof *m, by_address);
        for (size_t k = 0; k < b.net->n_matrices; k++) {
            assert_true(m[k]->packed && (uintptr_t)m[k]->packed % 128 == 0);
            if (k > 0)
                assert_true(m[k - 1]->packed + sm_weight_packed_bytes(m[k - 1]) <= m[k]->packed);
        }
        close_bench(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_matrices_have_their_places),
        cmocka_unit_test(batched_sequences_keep_their_bits),
        cmocka_unit_test(shares_keep_their_bits),
        cmocka_unit_test(slow_barriers_are_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
