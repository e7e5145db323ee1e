/* bench_rows.c - check_kernels --bench for the row operations: elements per nanosecond
 * (Gelem/s) of vectors that stay in the first-level cache. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_cases.h"

#define N 2048
#define HEAD 64 /* of rope */

typedef struct job {
    any_fn fn;
    float a[N], b[N], y[N], z[N], u[N];
    sm_act_block blocks[N / 32];
    float kept; /* results, so that none is dropped */
} job;

static void run_quantize(void *arg) {
    job *j = arg;
    ((sm_quantize_fn *)j->fn)(j->blocks, j->a, N);
}
static void run_rms_norm(void *arg) {
    job *j = arg;
    ((sm_rms_norm_fn *)j->fn)(j->y, j->a, j->b, N, 1e-5f);
}
static void run_add(void *arg) {
    job *j = arg;
    ((sm_add_fn *)j->fn)(j->y, j->a, j->b, N);
}
static void run_silu_mul(void *arg) {
    job *j = arg;
    ((sm_silu_mul_fn *)j->fn)(j->y, j->a, j->b, N);
}
/* Rotations keep lengths, so y may be turned over and over. */
static void run_rope(void *arg) {
    job *j = arg;
    for (size_t i = 0; i < N; i += HEAD) {
        ((sm_rope_fn *)j->fn)(j->y + i, j->a, j->b, HEAD, true);
    }
}
static void run_softmax_block(void *arg) {
    job *j = arg;
    float m, l;
    memcpy(j->y, j->a, sizeof j->y);
    for (size_t i = 0; i < N; i += SM_KV_BLOCK) {
        ((sm_softmax_block_fn *)j->fn)(j->y + i, SM_KV_BLOCK, 0.125f, &m, &l);
        j->kept += l;
    }
}
static void run_attn_merge(void *arg) {
    job *j = arg;
    float m = 0, l = 1;
    ((sm_attn_merge_fn *)j->fn)(j->y, &m, &l, j->a, -0.5f, 1, N);
    j->kept += l;
}
static void run_scale(void *arg) {
    job *j = arg;
    ((sm_scale_fn *)j->fn)(j->y, j->a, 0.5f, N);
}
static void run_argmax(void *arg) {
    job *j = arg;
    j->kept += (float)((sm_argmax_fn *)j->fn)(j->a, N);
}
static void run_sum_exp(void *arg) {
    job *j = arg;
    j->kept += (float)((sm_sum_exp_fn *)j->fn)(j->a, N, 3);
}
/* Steps of 0 on moments that stay as they are: no number grows or vanishes with the rounds. */
static const sm_update update = {
    .grad_scale = 1,
    .beta1 = 1,
    .beta2 = 1,
    .correct1 = 1,
    .correct2 = 1,
    .eps = 1e-8f,
};
static void run_block_max(void *arg) {
    job *j = arg;
    ((sm_block_max_fn *)j->fn)(j->y, j->a, N, 128);
}
static void run_select(void *arg) {
    job *j = arg;
    j->kept += (float)((sm_select_fn *)j->fn)((uint32_t *)(void *)j->y, j->a, N, 3);
}
static void run_weigh(void *arg) {
    job *j = arg;
    j->kept += (float)((sm_weigh_fn *)j->fn)(j->y, j->a, N, 3, 0.7f);
}
static void run_adamw(void *arg) {
    job *j = arg;
    ((sm_adamw_fn *)j->fn)(j->a, j->b, j->y, j->z, N, &update);
}
static void run_lion(void *arg) {
    job *j = arg;
    ((sm_lion_fn *)j->fn)(j->a, j->b, j->y, N, &update);
}
static const sm_update plain = {.grad_scale = 1};
static void run_sgd(void *arg) {
    job *j = arg;
    ((sm_sgd_fn *)j->fn)(j->a, j->b, j->y, N, &plain);
}

static void run_rms_norm_grad(void *arg) {
    job *j = arg;
    j->kept += ((sm_rms_norm_grad_fn *)j->fn)(j->y, j->a, j->b, j->a, N, 1e-5f, false);
}
static void run_silu_mul_grad(void *arg) {
    job *j = arg;
    ((sm_silu_mul_grad_fn *)j->fn)(j->y, j->z, j->u, j->a, j->b, j->a, N);
}
static void run_gelu_mul(void *arg) {
    job *j = arg;
    ((sm_gelu_mul_fn *)j->fn)(j->y, j->a, j->b, N);
}
static void run_soft_cap(void *arg) {
    job *j = arg;
    ((sm_soft_cap_fn *)j->fn)(j->y, j->a, N, 0.125f, 30);
}
static void run_add_slope(void *arg) {
    job *j = arg;
    ((sm_add_slope_fn *)j->fn)(j->y, j->a, N, 0.125f, 0.5f, -300);
}
static void run_gelu_mul_grad(void *arg) {
    job *j = arg;
    ((sm_gelu_mul_grad_fn *)j->fn)(j->y, j->z, j->u, j->a, j->b, j->a, N);
}
static void run_soft_cap_grad(void *arg) {
    job *j = arg;
    memcpy(j->y, j->a, sizeof j->y);
    ((sm_soft_cap_grad_fn *)j->fn)(j->y, j->b, N, 0.125f, 30);
}
static void run_softmax_grad(void *arg) {
    job *j = arg;
    memcpy(j->y, j->a, sizeof j->y);
    memcpy(j->z, j->b, sizeof j->z);
    ((sm_softmax_grad_fn *)j->fn)(j->y, j->z, N, 0.125f, 1, 0.5f);
}
static void run_exp_scale(void *arg) {
    job *j = arg;
    memcpy(j->y, j->a, sizeof j->y);
    ((sm_exp_scale_fn *)j->fn)(j->y, 1, 0.5f, N);
}
static void run_add_product(void *arg) {
    job *j = arg;
    ((sm_add_product_fn *)j->fn)(j->y, j->a, j->b, 0, N);
}
static void run_dot(void *arg) {
    job *j = arg;
    j->kept += ((sm_dot_fn *)j->fn)(j->a, j->b, N);
}

static const struct {
    const char *op;
    void (*run)(void *arg);
} operations[] = {
    {"quantize", run_quantize},
    {"rms_norm", run_rms_norm},
    {"add", run_add},
    {"silu_mul", run_silu_mul},
    {"gelu_mul", run_gelu_mul},
    {"soft_cap", run_soft_cap},
    {"add_slope", run_add_slope},
    {"rope", run_rope},
    {"softmax_block", run_softmax_block},
    {"attn_merge", run_attn_merge},
    {"scale", run_scale},
    {"argmax", run_argmax},
    {"sum_exp", run_sum_exp},
    {"block_max", run_block_max},
    {"select", run_select},
    {"weigh", run_weigh},
    {"adamw", run_adamw},
    {"lion", run_lion},
    {"sgd", run_sgd},
    {"rms_norm_grad", run_rms_norm_grad},
    {"silu_mul_grad", run_silu_mul_grad},
    {"gelu_mul_grad", run_gelu_mul_grad},
    {"soft_cap_grad", run_soft_cap_grad},
    {"softmax_grad", run_softmax_grad},
    {"exp_scale", run_exp_scale},
    {"add_product", run_add_product},
    {"dot", run_dot},
};

/* name is sm_<op>_<level> */
static bool is_operation(const char *name, const char *op) {
    const size_t n = strlen(op);
    return strncmp(name + 3, op, n) == 0 && name[3 + n] == '_' && !strchr(name + 4 + n, '_');
}

bool bench_row(const kernel_entry *k) {
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (is_operation(k->name, operations[i].op)) {
            job *j = take(sizeof *j);
            memset(j, 0, sizeof *j);
            j->fn = k->fn;
            fill_activations(j->a, N, RANDOM);
            fill_activations(j->b, N, RANDOM);
            for (size_t d = 0; strcmp(operations[i].op, "rope") == 0 && d < HEAD / 2; d++) {
                j->a[d] = cosf((float)d);
                j->b[d] = sinf((float)d);
                j->y[2 * d] = j->y[2 * d + 1] = 1;
            }
            printf("%-24s Gelem/s %8.3f\n", k->name, N / bench_time(operations[i].run, j));
            free(j);
            return true;
        }
    }
    return false;
}
