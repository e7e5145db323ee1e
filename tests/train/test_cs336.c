/* test_cs336 - parts of the reference transformer of Stanford's course CS336, whose weights, inputs
 * and outputs are in the test data (train/cs336-lm, safetensors), against our operators, on every
 * level of this machine. Skipped, visibly, without the data.
 *
 * Compared: RMSNorm (eps 1e-5), attention of given Q, K and V under the stored mask, which is
 * asserted to be the causal one (true: not seen), and multi-head self-attention with its
 * projections, which is causal and has no positions.
 *
 * Not compared: the feed-forward part, the block and the whole language model. Their
 * feed-forward part is w2 gelu(w1 x), positions are a learned table that is added to the
 * embedding; no family of this library has either, and so no operator of ours stands for them.
 * The files hold no output of the embedding alone, and no gradients. A model of that shape
 * with llama's parts is trained beside PyTorch in test_torch.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/ops.h"
#include "support.h"
#include "train/train.h"

/* ---- safetensors: u64 length of the header, a JSON object of tensors, data ------------- */

#define MAX_DIMS 4

typedef struct tensor {
    uint64_t dims[MAX_DIMS], n; /* 1 where there are fewer; elements */
    uint8_t *file;              /* owns what follows */
    const uint8_t *data;
} tensor;

/* A tensor of a file of train/cs336-lm, or the test is skipped. */
static tensor read_tensor(const char *file, const char *name, const char *dtype, uint64_t width) {
    char part[128];
    snprintf(part, sizeof part, "train/cs336-lm/%s.safetensors", file);
    const char *path = data_path(part);
    if (!path) {
        print_message("skipped: no test data (%s)\n", part);
        skip();
    }
    size_t size;
    tensor t = {.dims = {1, 1, 1, 1}, .n = 1, .file = scratch_read(path, &size)};
    uint64_t length;
    assert_non_null(t.file);
    assert_true(size >= sizeof length);
    memcpy(&length, t.file, sizeof length);
    assert_true(length <= size - sizeof length);
    json_error_t error;
    json_t *header = json_loadb((const char *)t.file + sizeof length, length, 0, &error);
    json_t *entry = json_object_get(header, name), *shape = json_object_get(entry, "shape");
    if (!entry)
        fail_msg("%s has no tensor '%s'", path, name);
    assert_string_equal(json_string_value(json_object_get(entry, "dtype")), dtype);
    assert_true(json_array_size(shape) <= MAX_DIMS);
    for (size_t i = 0; i < json_array_size(shape); i++)
        t.n *= t.dims[i] = (uint64_t)json_integer_value(json_array_get(shape, i));
    json_t *offsets = json_object_get(entry, "data_offsets");
    const uint64_t begin = (uint64_t)json_integer_value(json_array_get(offsets, 0));
    assert_true(json_integer_value(json_array_get(offsets, 1)) ==
                (json_int_t)(begin + t.n * width));
    assert_true(sizeof length + length + begin + t.n * width <= size);
    t.data = t.file + sizeof length + length + begin;
    json_decref(header);
    return t;
}

/* The elements of an f32 tensor, to be freed. */
static float *read_floats(const char *file, const char *name, const uint64_t *dims,
                          uint64_t n_dims) {
    tensor t = read_tensor(file, name, "F32", sizeof(float));
    assert_memory_equal(t.dims, dims, n_dims * sizeof *dims);
    float *x = malloc(t.n * sizeof *x);
    assert_non_null(x);
    memcpy(x, t.data, t.n * sizeof *x);
    free(t.file);
    return x;
}

#define DIMS(...) (const uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / 8

/* Both sides compute in f32: no element is off by more than 2e-6 of the largest. */
#define TOLERANCE 2e-6

static void check_near(const char *what, const sm_kernels *kernels, const float *got,
                       const float *want, uint64_t n) {
    double largest = 0, worst = 0;
    for (uint64_t i = 0; i < n; i++) {
        const double error = fabs((double)got[i] - (double)want[i]);
        largest = fmax(largest, fabs((double)want[i]));
        if (error > worst || isnan(error)) /* and stays NaN */
            worst = error;
    }
    print_message("%s, %s: off by at most %.1e of %.3g\n", what, sm_level_name(kernels->level),
                  worst, largest);
    assert_true(worst <= TOLERANCE * largest);
}

/* Calls fn on every level. */
static void each_level(void (*fn)(const sm_kernels *kernels)) {
    for (uint32_t level = SM_LEVEL_SCALAR; sm_level_name(level); level++)
        if (sm_kernels_get(level))
            fn(sm_kernels_get(level));
}

/* ---- RMSNorm --------------------------------------------------------------------- */

enum { ROWS = 8 * 128, WIDTH = 64 };

static void norm_on(const sm_kernels *kernels) {
    float *x = read_floats("in_features", "data", DIMS(8, 128, WIDTH));
    float *w = read_floats("rmsnorm_weights", "weight", DIMS(WIDTH));
    float *want = read_floats("rmsnorm_expected_output", "data", DIMS(8, 128, WIDTH));
    static float got[ROWS * WIDTH];
    for (size_t i = 0; i < ROWS; i++)
        kernels->rms_norm(got + i * WIDTH, x + i * WIDTH, w, WIDTH, 1e-5f);
    check_near("rms norm", kernels, got, want, ROWS * WIDTH);
    free(x);
    free(w);
    free(want);
}
static void test_norm(void **state) {
    (void)state;
    each_level(norm_on);
}

/* ---- attention --------------------------------------------------------------------- */

/* Causal attention of n_head heads by sm_attn_prefill, as a forward pass calls it, keys and
 * values in an f32 cache. q, k, v, out: [tokens][n_head * head_dim]. */
static void attend(const sm_kernels *kernels, uint32_t n_head, uint32_t head_dim, uint32_t tokens,
                   const float *q, const float *k, const float *v, float *out) {
    const sm_attn_params params = {.n_head = n_head,
                                   .n_head_kv = n_head,
                                   .head_dim = head_dim,
                                   .scale = 1.0f / sqrtf((float)head_dim)};
    const uint64_t ld = (uint64_t)n_head * head_dim;
    sm_mem mem;
    sm_kv kv;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    sm_kv_place(&kv, n_head, head_dim, SM_KV_F32, tokens, NULL, NULL);
    kv.k = sm_alloc(&mem, sm_kv_bytes(&kv));
    kv.v = sm_alloc(&mem, sm_kv_bytes(&kv));
    assert_true(kv.k && kv.v);
    const sm_attn a = {.kernels = kernels, .p = params, .width = sm_kv_width(head_dim)};
    uint32_t chunk;
    const uint64_t nq = sm_attn_chunk(&params, &chunk), width = a.width;
    float *scratch_floats[] = {malloc(nq * width * 4), malloc(nq * SM_KV_BLOCK * 4),
                               malloc(nq * width * 4), malloc(nq * width * 4),
                               malloc(nq * 2 * 4),     malloc(nq * 2 * 4)};
    for (int i = 0; i < 6; i++)
        assert_non_null(scratch_floats[i]);
    sm_stop stop = {.cancel = NULL};
    sm_thread_scratch scratch = {.stop = &stop,
                                 .attn_q = scratch_floats[0],
                                 .attn_s = scratch_floats[1],
                                 .attn_o = scratch_floats[2],
                                 .attn_acc = scratch_floats[3],
                                 .attn_m = scratch_floats[4],
                                 .attn_l = scratch_floats[5]};
    for (uint32_t t = 0; t < tokens; t++)
        for (uint32_t h = 0; h < n_head; h++)
            sm_kv_store(&kv, kernels, h, t, k + t * ld + (uint64_t)h * head_dim,
                        v + t * ld + (uint64_t)h * head_dim);
    sm_state carried = {.n = 1, .kv = &kv};
    const sm_span span = {.state = &carried, .n = tokens};
    for (uint32_t h = 0; h < n_head; h++)
        for (uint32_t t = 0; t < tokens; t += chunk)
            sm_attn_prefill(&a, &span, h, t, tokens - t < chunk ? tokens - t : chunk, q, ld, out,
                            ld, NULL, 0, &scratch);
    for (int i = 0; i < 6; i++)
        free(scratch_floats[i]);
    sm_free(&mem, kv.k);
    sm_free(&mem, kv.v);
    assert_int_equal(mem.in_use, 0);
}

enum { SETS = 8 * 16, TOKENS = 32 };

static void given_on(const sm_kernels *kernels) {
    static const char prefix[] = "scaled_dot_product_attention_";
    static const char *const names[] = {"Q", "K", "V", "expected_output"};
    float *x[4];
    char file[64];
    for (int i = 0; i < 4; i++) {
        snprintf(file, sizeof file, "%s%s", prefix, names[i]);
        x[i] = read_floats(file, "data", DIMS(8, 16, TOKENS, WIDTH));
    }
    static float got[SETS * TOKENS * WIDTH];
    for (size_t i = 0; i < SETS; i++) {
        const size_t at = i * TOKENS * WIDTH;
        attend(kernels, 1, WIDTH, TOKENS, x[0] + at, x[1] + at, x[2] + at, got + at);
    }
    check_near("attention", kernels, got, x[3], SETS * TOKENS * WIDTH);
    for (int i = 0; i < 4; i++)
        free(x[i]);
}
static void test_attention(void **state) {
    (void)state;
    tensor mask = read_tensor("scaled_dot_product_attention_mask", "data", "BOOL", 1);
    assert_true(mask.dims[0] == TOKENS && mask.dims[1] == TOKENS);
    for (uint64_t i = 0; i < mask.n; i++) /* causal: the only one we have */
        assert_int_equal(mask.data[i], i % TOKENS > i / TOKENS);
    free(mask.file);
    each_level(given_on);
}

/* ---- multi-head self-attention ---------------------------------------------------- */

enum { HEADS = 2, HEAD_DIM = 32 };

/* Rows of one thread's team: y[n][WIDTH] = x W^T. */
typedef struct product {
    const sm_kernels *kernels;
    sm_team *team;
    sm_gemm_scratch *gemm;
    const float *x, *w;
    float *y;
} product;

static void run_product(void *arg, uint32_t thread, uint32_t n_threads) {
    const product *p = arg;
    const sm_crew crew = {.team = p->team,
                          .kernels = p->kernels,
                          .gemm = p->gemm,
                          .thread = thread,
                          .n_threads = n_threads};
    sm_gemm(&crew, &(sm_gemm_args){.M = ROWS,
                                   .N = WIDTH,
                                   .K = WIDTH,
                                   .a = p->x,
                                   .lda = WIDTH,
                                   .b = p->w,
                                   .ldb = WIDTH,
                                   .b_transposed = true,
                                   .c = p->y,
                                   .ldc = WIDTH});
}

/* The projection of all heads, one below the other as in GGUF; which: "q", "k" or "v". */
static float *projection(const char *which) {
    float *w = malloc(WIDTH * WIDTH * sizeof *w);
    assert_non_null(w);
    for (int h = 0; h < HEADS; h++) {
        char name[32];
        snprintf(name, sizeof name, "%s_heads.%d.weight", which, h);
        float *part =
            read_floats("unbatched_multihead_self_attention_weights", name, DIMS(HEAD_DIM, WIDTH));
        memcpy(w + h * HEAD_DIM * WIDTH, part, HEAD_DIM * WIDTH * sizeof *w);
        free(part);
    }
    return w;
}

static void self_on(const sm_kernels *kernels) {
    static const char *const names[] = {"q", "k", "v"};
    static float projected[3][ROWS * WIDTH], attended[ROWS * WIDTH], got[ROWS * WIDTH];
    float *x = read_floats("in_features", "data", DIMS(8, 128, WIDTH));
    float *want = read_floats("unbatched_multihead_self_attention_expected_output", "data",
                              DIMS(8, 128, WIDTH));
    float *wo = read_floats("unbatched_multihead_self_attention_weights", "output_proj.weight",
                            DIMS(WIDTH, WIDTH));
    sm_mem mem;
    product p = {.kernels = kernels};
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_team_new(&p.team, &mem, 1, NULL), SM_OK);
    assert_int_equal(sm_gemm_scratch_new(&p.gemm, &mem, 1, NULL), SM_OK);
    for (int i = 0; i < 3; i++) {
        float *w = projection(names[i]);
        p.x = x;
        p.w = w;
        p.y = projected[i];
        sm_team_run(p.team, run_product, &p);
        free(w);
    }
    for (size_t i = 0; i < 8; i++) {
        const size_t at = i * 128 * WIDTH;
        attend(kernels, HEADS, HEAD_DIM, 128, projected[0] + at, projected[1] + at,
               projected[2] + at, attended + at);
    }
    p.x = attended;
    p.w = wo;
    p.y = got;
    sm_team_run(p.team, run_product, &p);
    check_near("self-attention", kernels, got, want, ROWS * WIDTH);
    sm_gemm_scratch_free(p.gemm);
    sm_team_free(p.team);
    free(x);
    free(want);
    free(wo);
}
static void test_self_attention(void **state) {
    (void)state;
    each_level(self_on);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norm),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_self_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
