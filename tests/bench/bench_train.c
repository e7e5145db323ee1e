/* bench_train - speed of a training step on the shapes that are followed, against the machine's
 * multiply-adds per second, and where the time goes.
 *
 *   bench_train [SHAPE 0..2 [STEPS [f32|bf16 [THREADS [checkpoint]]]]]
 *
 * A step: gradients to zero, forward, backward, packing of the weights; no optimizer. Operations
 * are counted as 6 N T + 12 L d s T / 2: N weights of matrices (the embedding read by row left
 * out), T tokens in spans of s, L layers of width d, of causal attention the half that is seen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "limits.h"
#include "fixture.h"
#include "support.h"
#include "train/train.h"

typedef struct shape {
    uint32_t n_embd, n_layer, n_head, n_ff, n_vocab, spans, length;
} shape;

static const shape shapes[] = {
    {288, 6, 6, 768, 32000, 4, 256},
    {768, 12, 12, 2048, 50304, 4, 256},
    {192, 6, 6, 512, 2048, 16, 256},
};

static const char *const parts[SM_PART_COUNT] = {
    "forward", "head+loss", "dW", "dX", "attention", "rows", "update",
};

typedef struct bench {
    sm_mem mem;
    sm_source *gguf;
    sm_graph *graph;
    sm_train_batch batch;
} bench;

static void make_batch(bench *b, const shape *s) {
    const uint32_t n = s->spans * s->length;
    int32_t *ids = malloc(2 * n * sizeof *ids);
    uint32_t *begin = malloc((s->spans + 1) * sizeof *begin);
    uint64_t seed = 1;
    if (!ids || !begin)
        abort();
    for (uint32_t i = 0; i < 2 * n; i++)
        ids[i] = (int32_t)(test_random(&seed) % s->n_vocab);
    for (uint32_t i = 0; i <= s->spans; i++)
        begin[i] = i * s->length;
    b->batch = (sm_train_batch){n, ids, ids + n, s->spans, begin};
}

static void make(bench *b, const shape *s, const sm_graph_options *options) {
    const char *path = scratch_path("bench.gguf");
    const fixture_model model = {.n_embd = s->n_embd,
                                 .n_layer = s->n_layer,
                                 .n_head = s->n_head,
                                 .n_head_kv = s->n_head,
                                 .n_ff = s->n_ff,
                                 .no_vocab = true,
                                 .n_rows = s->n_vocab};
    sm_error error = {0};
    if (fixture_write(path, &model) || sm_mem_init(&b->mem, NULL, 0, &error) ||
        sm_source_open(&b->gguf, &b->mem, path, true, &error) ||
        sm_graph_new(&b->graph, &b->mem, b->gguf, sm_kernels_get(sm_level_best(SM_LEVEL_AUTO)),
                     options, &error)) {
        fprintf(stderr, "bench_train: %s\n", error.message);
        exit(1);
    }
    make_batch(b, s);
}

static double operations(const shape *s) {
    const double d = s->n_embd, tokens = (double)s->spans * s->length;
    const double weights = s->n_layer * (4 * d * d + 3 * d * s->n_ff) + d * s->n_vocab;
    return 6 * weights * tokens + 6.0 * s->n_layer * d * s->length * tokens;
}

static void zero(void *arg, uint32_t thread, uint32_t n_threads) {
    sm_graph *g = arg;
    const sm_crew crew = {.team = sm_graph_team(g), .thread = thread, .n_threads = n_threads};
    sm_params_zero_grad(&crew, sm_graph_params(g));
}

static double step(bench *b) {
    sm_error error;
    double loss;
    const uint64_t start = sm_time_ns();
    sm_team_run(sm_graph_team(b->graph), zero, b->graph);
    if (sm_graph_backward(b->graph, &b->batch, 1.0 / b->batch.n_tokens, 0, &loss, NULL, &error)) {
        fprintf(stderr, "bench_train: %s\n", error.message);
        exit(1);
    }
    sm_graph_update(b->graph);
    return (double)(sm_time_ns() - start) * 1e-9;
}

typedef struct peak_job {
    const limit_loops *loops;
    uint64_t rounds;
} peak_job;

static void run_peak(void *arg, uint32_t thread, uint32_t n_threads) {
    const peak_job *job = arg;
    (void)thread;
    (void)n_threads;
    job->loops->f32(job->rounds);
}

/* Operations per second of multiply-adds in registers, all threads together, over about 20 ms. */
static double peak_rate(sm_team *team) {
    peak_job job = {limit_loops_of(sm_level_best(SM_LEVEL_AUTO)), 1 << 10};
    for (;; job.rounds *= 2) {
        const uint64_t start = sm_time_ns();
        sm_team_run(team, run_peak, &job);
        const double seconds = (double)(sm_time_ns() - start) * 1e-9;
        if (seconds > 0.02)
            return 2 * job.loops->f32_macs * (double)job.rounds * sm_team_size(team) / seconds;
    }
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    const int index = argc > 1 ? atoi(argv[1]) : 0, n_steps = argc > 2 ? atoi(argv[2]) : 5;
    if (index < 0 || index > 2 || n_steps < 1 || n_steps > 1000) {
        fprintf(stderr, "bench_train [SHAPE 0..2 [STEPS [f32|bf16 [THREADS [checkpoint]]]]]\n");
        return 2;
    }
    const shape *s = &shapes[index];
    const uint32_t n_threads = argc > 4 ? (uint32_t)atoi(argv[4]) : sm_cpu_count();
    const bool bf16 = argc > 3 && strcmp(argv[3], "bf16") == 0;
    const sm_graph_options options = {.max_tokens = s->spans * s->length,
                                      .max_spans = s->spans,
                                      .n_threads = n_threads,
                                      .precision = bf16 ? SM_PRECISION_BF16 : SM_PRECISION_F32,
                                      .checkpoint_layers = argc > 5};
    static bench b;
    make(&b, s, &options);
    step(&b);
    uint64_t before[SM_PART_COUNT], after[SM_PART_COUNT];
    double seconds[1000], peaks[1000];
    sm_graph_times(b.graph, before);
    for (int i = 0; i < n_steps; i++) {
        peaks[i] = peak_rate(sm_graph_team(b.graph));
        seconds[i] = step(&b);
    }
    sm_graph_times(b.graph, after);
    qsort(seconds, (size_t)n_steps, sizeof *seconds, by_value);
    qsort(peaks, (size_t)n_steps, sizeof *peaks, by_value);
    const double median = seconds[n_steps / 2], peak = peaks[n_steps / 2];
    const double rate = operations(s) / median;
    printf("dim %u, %u layers, vocab %u, %u x %u, %s, %u threads%s: %.0f tokens/s, %.1f GFLOP/s, "
           "%.1f%% of the f32 peak %.1f, %.0f MB\n",
           s->n_embd, s->n_layer, s->n_vocab, s->spans, s->length, bf16 ? "bf16" : "f32", n_threads,
           options.checkpoint_layers ? ", checkpoints" : "", b.batch.n_tokens / median, rate * 1e-9,
           100 * rate / peak, peak * 1e-9, (double)b.mem.peak * 1e-6);
    for (int i = 0; i < SM_PART_COUNT; i++)
        printf("  %-10s %8.2f ms a step\n", parts[i],
               (double)(after[i] - before[i]) * 1e-6 / n_steps);
    sm_graph_free(b.graph);
    sm_source_close(b.gguf);
    free((void *)(uintptr_t)b.batch.ids);
    free((void *)(uintptr_t)b.batch.span_begin);
    return 0;
}
