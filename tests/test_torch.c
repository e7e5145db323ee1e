/* test_torch - loss, every gradient and ten AdamW steps against PyTorch's, stored by
 * golden_train.py (which has the settings and the format).
 *
 * Usage: test_torch DIR           compares with the files of DIR
 *        test_torch --write DIR   writes the models that golden_train.py reads
 */
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
#include "support.h"
#include "train/train.h"

static const struct {
    const char *name;
    fixture_model model;
} cases[] = {
    {"llama",
     {.n_embd = 16,
      .n_head = 4,
      .n_head_kv = 2,
      .n_ff = 24,
      .no_vocab = true,
      .n_rows = 100,
      .untied = true}},
    {"qwen3",
     {.architecture = "qwen3",
      .n_embd = 24,
      .n_head = 3,
      .n_head_kv = 1,
      .n_ff = 16,
      .no_vocab = true,
      .n_rows = 100}},
};

static const char *directory;

#define TOKENS 40
#define STEPS 10
#define TOLERANCE 1e-4

/* One tensor of the stored file. */
typedef struct stored {
    const uint8_t *at, *end;
    char name[96];
    uint32_t n;
    const uint8_t *gradient, *value; /* f32, unaligned */
} stored;

static void next_stored(stored *s) {
    uint32_t length;
    assert_true(s->end - s->at >= 4);
    memcpy(&length, s->at, 4);
    assert_true(length < sizeof s->name && (uint64_t)(s->end - s->at) >= 8 + (uint64_t)length);
    memcpy(s->name, s->at + 4, length);
    s->name[length] = 0;
    memcpy(&s->n, s->at + 4 + length, 4);
    s->gradient = s->at + 8 + length;
    s->value = s->gradient + 4 * (uint64_t)s->n;
    s->at = s->value + 4 * (uint64_t)s->n;
    assert_true(s->at <= s->end);
}

static const sm_param *find_param(const sm_params *params, const stored *s) {
    for (uint32_t i = 0; i < params->n; i++)
        if (strcmp(params->param[i].name, s->name) == 0) {
            assert_int_equal(params->param[i].rows * params->param[i].cols, s->n);
            return &params->param[i];
        }
    fail_msg("no parameter '%s'", s->name);
    return NULL;
}

/* |got - want| against |want - from|; from NULL: 0. */
static void check_near(const char *what, const char *name, const float *got, const uint8_t *want,
                       const float *from, uint32_t n) {
    double error = 0, length = 0;
    for (uint32_t i = 0; i < n; i++) {
        float w;
        memcpy(&w, want + 4 * (uint64_t)i, 4);
        error += ((double)got[i] - (double)w) * ((double)got[i] - (double)w);
        const double d = (double)w - (from ? (double)from[i] : 0);
        length += d * d;
    }
    if (!(sqrt(error) <= TOLERANCE * sqrt(length)))
        fail_msg("%s of %s: off by %.3g of %.3g", what, name, sqrt(error), sqrt(length));
}

typedef struct step_job {
    sm_graph *graph;
    sm_optim *optim;
    bool zero;
} step_job;

static void run_step(void *arg, uint32_t thread, uint32_t n_threads) {
    const step_job *job = arg;
    const sm_crew crew = {sm_graph_team(job->graph), sm_kernels_get(sm_level_best(SM_LEVEL_AUTO)),
                          sm_graph_gemm(job->graph), thread, n_threads};
    if (job->zero)
        sm_params_zero_grad(&crew, sm_graph_params(job->graph));
    else
        sm_optim_step(&crew, job->optim, 2e-3, 1);
}

static void check_loss(double got, const uint8_t *file, int i) {
    double want;
    memcpy(&want, file + 8 * i, 8);
    if (fabs(got - want) > 1e-5 * want)
        fail_msg("loss %d is %.9g, not %.9g", i, got, want);
}

static void check_case(size_t index) {
    const char *path = scratch_path("torch.gguf");
    assert_int_equal(fixture_write(path, &cases[index].model), 0);
    char name[512];
    size_t size;
    snprintf(name, sizeof name, "%s/train-%s.bin", directory, cases[index].name);
    uint8_t *file = scratch_read(name, &size);
    if (!file)
        fail_msg("%s is missing", name);
    assert_true(size > 8 * (STEPS + 1));
    int32_t ids[TOKENS], targets[TOKENS];
    uint64_t n_targets = 0;
    for (int32_t t = 0; t < TOKENS; t++) {
        ids[t] = (t * 37 + 11) % 50;
        targets[t] = t % 6 == 2 ? -1 : (t * t * 7 + 5) % 100;
        n_targets += targets[t] >= 0;
    }
    const uint32_t begin[] = {0, 13, 21, TOKENS};
    const sm_train_batch batch = {TOKENS, ids, targets, 3, begin};

    sm_mem mem;
    sm_gguf *gguf;
    sm_graph *graph;
    sm_optim *optim;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_gguf_open(&gguf, &mem, path, true, NULL), SM_OK);
    const sm_graph_options options = {.max_tokens = 64, .max_spans = 4, .n_threads = 2};
    assert_int_equal(sm_graph_new(&graph, &mem, gguf, sm_kernels_get(sm_level_best(SM_LEVEL_AUTO)),
                                  &options, NULL),
                     SM_OK);
    const sm_params *params = sm_graph_params(graph);
    const sm_optim_config config = {
        .kind = SM_OPTIM_ADAMW, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1};
    assert_int_equal(sm_optim_new(&optim, &mem, &config, params, NULL), SM_OK);
    float *start = malloc(params->n_elements * sizeof *start), *at = start;
    assert_non_null(start);
    for (uint32_t i = 0; i < params->n; i++) {
        const uint64_t n = params->param[i].rows * params->param[i].cols;
        memcpy(at, params->param[i].value, n * sizeof *at);
        at += n;
    }
    step_job job = {graph, optim, true};
    for (int i = 0; i < STEPS; i++) {
        double loss;
        uint64_t n;
        job.zero = true;
        sm_team_run(sm_graph_team(graph), run_step, &job);
        assert_int_equal(
            sm_graph_backward(graph, &batch, 1.0 / (double)n_targets, 0, &loss, &n, NULL), SM_OK);
        check_loss(loss / (double)n, file, i);
        stored s = {.at = file + 8 * (STEPS + 1), .end = file + size};
        for (; i == 0 && s.at < s.end;) {
            next_stored(&s);
            check_near("gradient", s.name, find_param(params, &s)->grad, s.gradient, NULL, s.n);
        }
        job.zero = false;
        sm_team_run(sm_graph_team(graph), run_step, &job);
        sm_graph_update(graph);
    }
    double loss;
    assert_int_equal(sm_graph_loss(graph, &batch, &loss, NULL, NULL), SM_OK);
    check_loss(loss, file, STEPS);
    stored s = {.at = file + 8 * (STEPS + 1), .end = file + size};
    uint32_t n_seen = 0;
    for (; s.at < s.end; n_seen++) {
        next_stored(&s);
        const sm_param *p = find_param(params, &s);
        at = start;
        for (const sm_param *q = params->param; q != p; q++)
            at += q->rows * q->cols;
        check_near("ten steps", s.name, p->value, s.value, at, s.n);
    }
    assert_int_equal(n_seen, params->n);
    free(start);
    free(file);
    sm_optim_free(optim);
    sm_graph_free(graph);
    sm_gguf_close(gguf);
}

static void test_llama(void **state) {
    (void)state;
    check_case(0);
}
static void test_qwen3(void **state) {
    (void)state;
    check_case(1);
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            char path[512];
            snprintf(path, sizeof path, "%s/train-%s.gguf", argv[2], cases[i].name);
            if (fixture_write(path, &cases[i].model))
                return 1;
        }
        return 0;
    }
    if (argc != 2) {
        fprintf(stderr, "usage: test_torch DIR | test_torch --write DIR\n");
        return 2;
    }
    directory = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama),
        cmocka_unit_test(test_qwen3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
