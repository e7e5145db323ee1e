/* weight.h - matrices: their layouts, what a product reads, and what adapters add to one.
 *
 * Shapes are written [rows][columns], row-major.
 */
#ifndef SM_WEIGHT_H
#define SM_WEIGHT_H

#include "base/base.h"
#include "format/format.h"
#include "kernels.h"

/* What a product reads its input as; all but FLOAT are made from it beforehand. */
typedef enum sm_input_form {
    SM_INPUT_FLOAT,
    SM_INPUT_BLOCKS, /* sm_act_block: quantized weights */
    SM_INPUT_BF16    /* rounded: F16 and BF16 weights where the level has kernels for it */
} sm_input_form;

/* A matrix W[rows][cols]: y = W x. */
typedef struct sm_weight {
    const char *name;
    uint32_t type; /* sm_dtype */
    sm_input_form form;
    uint32_t rows, cols;
    const uint8_t *data;   /* the file's layout, NULL where the file has it packed */
    uint64_t row_bytes;    /* in the file's layout */
    const uint8_t *packed; /* the kernels' layout (kernels/pack.h); NULL: packed on the fly */
    uint8_t *own_packed;   /* the same where it is memory of this matrix alone */
    uint8_t *room; /* where steps pack it, in a block of the net's; there before `packed` is */
    uint64_t room_groups; /* while they do: groups that are packed so far */
    uint64_t group_bytes;
    sm_prefetch prefetch; /* for decoding, in which all the matrices fit a cache or none does */
    uint32_t index;       /* in the net's list of matrices */
    /* those that read the same input stand together in that list: n from index `first` on */
    uint32_t group_first, group_n;
    /* what its input, which it may share with more, is brought into for those that want it, and
     * whether some of them read it as f32 */
    sm_input_form input_form;
    bool input_floats;
    uint32_t layer, place; /* its layer (n_layer: the head), and which matrix of it: they key the
                              random numbers of training */
    /* of a tensor that stacks n_experts matrices (0: it is this one alone): which, and the distance
     * in the net's list from one to the next */
    uint32_t n_experts, expert, stride;
    /* of a tensor that joins n_parts matrices (sm_join; 1: it is this one alone), which stand side
     * by side in the net's list: which; the tensor's rows, of a stack those of one in it, and how
     * many of them come before this matrix */
    uint32_t n_parts, part, joined_rows, rows_before;
    bool routed; /* read for tokens that are routed to it: an expert's, not a head's */
} sm_weight;

/* Matrices that a tensor holds, stacked and joined: matrix i of the one whose first is w. */
static inline uint32_t sm_weight_count(const sm_weight *w) {
    return (w->n_experts ? w->n_experts : 1) * w->n_parts;
}
static inline uint64_t sm_weight_place(const sm_weight *w, uint32_t i) {
    return (uint64_t)(i / w->n_parts) * w->stride + i % w->n_parts;
}
/* Whether a matrix is the first of its tensor; its first row there. */
static inline bool sm_weight_is_first(const sm_weight *w) {
    return !w->expert && !w->part;
}
static inline uint64_t sm_weight_first_row(const sm_weight *w) {
    return (uint64_t)w->expert * w->joined_rows + w->rows_before;
}

/* Whether a quantized matrix multiplies f32 (SM_ROUND_NOTHING): then its numbers become f32 each
 * time they are used, and it is never packed. */
bool sm_weight_unfolds(const sm_weight *w);

/* Bytes of a matrix in the kernels' layout. */
uint64_t sm_weight_packed_bytes(const sm_weight *w);
/* Packs groups [begin, end) of a matrix that has the file's layout, to `packed` from its
 * beginning. */
void sm_weight_pack(const sm_weight *w, const sm_kernels *kernels, uint64_t begin, uint64_t end,
                    uint8_t *packed);
/* Makes a packed f32 matrix, to be freed with sm_free(mem, w->own_packed), of n rows from `begin`
 * on of a tensor of an open file, stacked matrices counted through; its type must be one that the
 * kernels dequantize. SM_ERR_NOMEM. */
sm_status sm_weight_load_f32(sm_weight *w, sm_mem *mem, const sm_kernels *kernels,
                             const sm_source *source, const sm_tensor *tensor, uint64_t begin,
                             uint64_t n, sm_error *error);

/* Looks for a weight that is infinite or NaN in rows [begin, end) of a tensor, of all its matrices
 * counted through: SM_ERR_FORMAT names it. What no kernel unpacks passes. row: [dims[0]], holds the
 * last one looked at. (tensor_check.c) */
sm_status sm_rows_check(const sm_source *source, const sm_tensor *tensor, const sm_kernels *kernels,
                        uint64_t begin, uint64_t end, float *row, sm_error *error);
/* All rows; hook may be NULL. SM_ERR_NOMEM, SM_ERR_CANCELLED too. */
sm_status sm_tensor_check(const sm_source *source, const sm_tensor *tensor,
                          const sm_kernels *kernels, sm_mem *mem, const sm_hook *hook,
                          sm_error *error);

/* Stride of rows of n floats that the kernels write: whole groups, off multiples of 4096 bytes. */
uint64_t sm_row_stride(uint64_t n);

/* ---- adapters ------------------------------------------------------------------------ */

/* A low-rank addition to one matrix, y += scale B A x (LoRA, arXiv:2106.09685). */
typedef struct sm_lora {
    sm_weight a; /* [rank][cols]: F32, packed; rows 0: none */
    sm_weight b; /* [rows][rank]: F32, packed */
    float scale;
    bool shares; /* the A of the matrix before it in the net's list, which reads the same input */
} sm_lora;

/* What is added to a network; the caller's, and matching the net it is used with. */
typedef struct sm_net_adapter {
    sm_lora *lora; /* [net->n_matrices], by sm_weight.index */
} sm_net_adapter;

/* Inputs of A set to 0 with probability rate, the others divided by 1 - rate, by random numbers
 * that are a function of everything here and of the matrix's layer and place, token and column. */
typedef struct sm_dropout {
    double rate; /* 0: none */
    uint64_t seed, draw;
} sm_dropout;

/* y = x with dropout, x an input of w; y may be x. */
void sm_dropout_row(const sm_dropout *dropout, const sm_weight *w, uint32_t token, float *y,
                    const float *x);
/* A number in [0, 1) that is a function of seed, the matrix's layer and place, and i only. */
double sm_weight_random(uint64_t seed, const sm_weight *w, uint64_t i);

/* Adapters in use: all of them act on all tokens of a batch. */
typedef struct sm_adapters {
    uint32_t n;
    const sm_net_adapter *const *adapter; /* [n] */
    const float *scale;                   /* [n] times each lora's own */
    sm_dropout dropout;                   /* training */
} sm_adapters;

#endif
