/* block.h - what a network is made of. A layer is a list of blocks, a block some tensors that
 * together compute x += f(norm(x)); its kind says, as data, which tensors these are, what reads
 * what, which buffers it needs and what of them a backward pass wants kept. Everything that walks
 * over a layer's tensors reads these tables: binding, packing, adapters, importance, mixtures,
 * initialisation, parameters of optimizers, random models.
 */
#ifndef SM_BLOCK_H
#define SM_BLOCK_H

#include "weight.h"

#include <math.h>

/* ---- sizes --------------------------------------------------------------------------- */

/* The sizes that tensors and buffers of a block are made of; each block has its own. */
typedef enum sm_dim {
    SM_DIM_NONE,       /* as columns: a vector */
    SM_DIM_EMBD,       /* the residual stream */
    SM_DIM_Q,          /* query heads together */
    SM_DIM_KV,         /* key (or value) heads together */
    SM_DIM_HEAD,       /* one head */
    SM_DIM_HEADS,      /* number of query heads */
    SM_DIM_Q_NORM,     /* what a norm of queries takes together: a head, or all of them */
    SM_DIM_K_NORM,     /* and of keys */
    SM_DIM_Q_NORMS,    /* norms of queries where each head has its own; 0: one for all */
    SM_DIM_K_NORMS,    /* and of keys */
    SM_DIM_FF,         /* the feed-forward part's inner width; of one expert */
    SM_DIM_FF_SHARED,  /* the inner width of what all tokens go through beside experts */
    SM_DIM_EXPERTS,    /* number of experts */
    SM_DIM_ROUTED,     /* what a router reads that has an input of its own */
    SM_DIM_BOUNDS,     /* and one more */
    SM_DIM_USED,       /* experts that a token goes through */
    SM_DIM_USED_EMBD,  /* so many rows of the residual stream, strides and all */
    SM_DIM_USED_FF,    /* and of an expert's inner width */
    SM_DIM_Q_NORMED,   /* queries that are normed */
    SM_DIM_K_NORMED,   /* and keys */
    SM_DIM_V_RAW,      /* and values */
    SM_DIM_INPUT,      /* what a layer reads of the token beside the stream */
    SM_DIM_INPUTS,     /* what all layers do */
    SM_DIM_STREAMS,    /* of the residual, where blocks compute the first of several */
    SM_DIM_OTHERS,     /* one less */
    SM_DIM_OTHER_ROWS, /* rows of so many, strides and all */
    SM_DIM_COEFS,      /* what mixes them */
    SM_DIM_LAUREL,     /* rank of a learned residual */
    SM_DIM_FF_SPARSE,  /* the inner width of a gated part that cuts its gate off */
    SM_DIM_TAPS,       /* tokens that a short convolution reads */
    SM_DIM_ONE,
    /* of latent attention; "whole" is a head's part that starts on a group (or block) of its own */
    SM_DIM_RANK,        /* the latent */
    SM_DIM_RANK_ROT,    /* and the part of keys that has a position */
    SM_DIM_Q_RANK,      /* the latent of queries; 0: they have none */
    SM_DIM_Q_RAW,       /* query heads as the products make them */
    SM_DIM_NOPE,        /* the part of a head without a position */
    SM_DIM_NOPE_BLOCKS, /* of all heads, in whole blocks */
    SM_DIM_RANK_GROUPS, /* latents of all heads, in whole groups */
    SM_DIM_RANK_BLOCKS,
    SM_DIM_VALUE,        /* values of a head */
    SM_DIM_VALUE_GROUPS, /* of all heads, in whole groups */
    SM_DIM_VALUES,       /* of all heads */
    SM_DIM_KV_RAW,       /* keys without position and values of all heads */
    SM_DIM_VOCAB,
    SM_DIM_COUNT
} sm_dim;

/* ---- tensors ------------------------------------------------------------------------- */

/* What a tensor is for, beside being multiplied: initialisation, mixtures of types and rounding
 * make a difference. */
typedef enum sm_role {
    SM_ROLE_MATRIX,
    SM_ROLE_SCORE,    /* makes queries or keys of the residual stream */
    SM_ROLE_VALUE,    /* makes attention's values */
    SM_ROLE_RESIDUAL, /* its product is added to the residual stream */
    SM_ROLE_DOWN,     /* the same, of a feed-forward part */
    SM_ROLE_ROUTER,   /* chooses experts */
    SM_ROLE_HEAD,
    SM_ROLE_NORM, /* vectors: multiplies what was normed */
    SM_ROLE_BIAS  /*          is added */
} sm_role;

/* Whether a block has the tensor. */
typedef enum sm_when {
    SM_MUST,
    SM_MAY,     /* if the file has it; if the family asks for it (sm_block.asked) it must */
    SM_IF_ASKED /* if the family asks for it; then it must be there */
} sm_when;

/* One tensor of a block. */
typedef struct sm_slot {
    const char *suffix; /* "attn_q.weight", after "blk.N."; NULL: the wiring has the name */
    uint8_t rows, cols; /* sm_dim; cols SM_DIM_NONE: a vector of `rows` elements */
    uint8_t depth;      /* sm_dim: that many matrices, or vectors, in one tensor; NONE: one */
    uint8_t reads;      /* matrices of the same number, which stand side by side, read one input;
                           a vector that has one reads that input as f32 */
    uint8_t role;       /* sm_role */
    uint8_t when;       /* sm_when */
} sm_slot;

/* Tensors whose slots stand side by side and that a file may have as the rows of one, in this
 * order. They stay matrices (or vectors) of their own, which are packed and multiplied one by one;
 * what deals with files (adapters, importance, trained parameters) sees the one tensor. */
typedef struct sm_join {
    const char *suffix;
    uint8_t first, n; /* slots */
    uint8_t when;     /* SM_MAY: a file of any family may have it so; SM_IF_ASKED: if the family
                         says so */
} sm_join;

#define SM_MAX_JOINS 2

/* Every kind's table begins with these, which belong to the wiring. */
enum { SM_SLOT_PRE, SM_SLOT_PRE_BIAS, SM_SLOT_POST, SM_SLOT_SUM, SM_WIRING_SLOTS };
/* clang-format off */
#define SM_WIRING_ROWS                                                            \
    [SM_SLOT_PRE] = {NULL, SM_DIM_EMBD, 0, 0, 0, SM_ROLE_NORM, SM_IF_ASKED},      \
    [SM_SLOT_PRE_BIAS] = {NULL, SM_DIM_EMBD, 0, 0, 0, SM_ROLE_BIAS, SM_IF_ASKED}, \
    [SM_SLOT_POST] = {NULL, SM_DIM_EMBD, 0, 0, 0, SM_ROLE_NORM, SM_IF_ASKED},     \
    [SM_SLOT_SUM] = {NULL, SM_DIM_EMBD, 0, 0, 0, SM_ROLE_NORM, SM_IF_ASKED}
/* clang-format on */

#define SM_MAX_SLOTS 24
#define SM_MAX_READS 8 /* numbers of sm_slot.reads are below */

/* ---- buffers ------------------------------------------------------------------------- */

/* Values of every token of a step that pass from one of a block's operators to another. Steps keep
 * them in a workspace that all blocks of a kind use in turn, and those with a mark, of each block
 * by itself, on the tape of a training step. */
enum {
    SM_KEEP = 1,      /* on the tape */
    SM_ONLY_KEPT = 2, /* there only: without a tape the pointer is NULL */
    SM_FORMS = 4,     /* in the form that a product reads beside f32 (sm_input_form) */
    SM_IF_CLAMPED = 8 /* where the block has sm_attn_params.clamp */
};

typedef struct sm_buffer {
    uint8_t width; /* sm_dim: elements per token */
    uint8_t flags;
    uint8_t slot; /* where the block has this tensor only; 0: always */
} sm_buffer;

#define SM_MAX_BUFFERS 20

/* ---- kinds --------------------------------------------------------------------------- */

/* What a kind computes is private to lib/nn (worker.h), how it is trained to lib/train. */
typedef enum sm_kind_id {
    SM_KIND_ATTENTION,
    SM_KIND_LATENT,
    SM_KIND_INPUTS,
    SM_KIND_LAYER_INPUT,
    SM_KIND_SCALE,
    SM_KIND_SPLIT,
    SM_KIND_PREDICT,
    SM_KIND_CORRECT,
    SM_KIND_MERGE,
    SM_KIND_LAUREL,
    SM_KIND_GATED,
    SM_KIND_PLAIN,
    SM_KIND_LINEAR,
    SM_KIND_SHORTCONV,
    SM_KIND_EXPERTS,
    SM_KIND_NORM,
    SM_KIND_HEAD,
    SM_KIND_COUNT
} sm_kind_id;

typedef struct sm_kind {
    const char *name;
    sm_kind_id id;
    uint8_t n_slots, n_buffers, n_joins;
    /* slots: the product that is added to the residual stream (0: the kind adds by itself) and its
     * bias (0: none) */
    uint8_t last, last_bias;
    bool has_state; /* keys and values of each token, or rows (state.h) */
    bool outside;   /* of no layer: its tensors' names do not begin with "blk.N." */
    sm_slot slot[SM_MAX_SLOTS];
    sm_buffer buffer[SM_MAX_BUFFERS];
    sm_join join[SM_MAX_JOINS];
} sm_kind;

typedef enum sm_norm {
    SM_NORM_RMS,
    SM_NORM_LAYER /* the mean is taken away before (arXiv:1607.06450) */
} sm_norm;

/* attention (blocks/attention.c):
 *   x += O(attention(rope(norm(QKV(norm(x)))))), or norm(rope(…)) */
extern const sm_kind sm_kind_attention;
enum {
    SM_ATTN_Q = SM_WIRING_SLOTS,
    SM_ATTN_K,
    SM_ATTN_V,
    SM_ATTN_Q_BIAS,
    SM_ATTN_K_BIAS,
    SM_ATTN_V_BIAS,
    SM_ATTN_Q_NORM,
    SM_ATTN_K_NORM,
    SM_ATTN_O,
    SM_ATTN_O_BIAS,
    SM_ATTN_SINKS, /* of each head, a score without a value in every softmax */
    SM_ATTN_SLOTS
};
enum { /* buffers; those up to LSE begin those of every kind that attends (sm_block_attends) */
       SM_AT_Q,
       SM_AT_K,
       SM_AT_V,
       SM_AT_OUT, /* what O reads */
       SM_AT_OUT_FORM,
       SM_AT_LSE,   /* log of each softmax's sum */
       SM_AT_Q_RAW, /* before the norm of queries */
       SM_AT_K_RAW,
       SM_AT_V_RAW,
       SM_AT_Q_FREE, /* before they are clamped */
       SM_AT_K_FREE,
       SM_AT_V_FREE,
       SM_AT_BUFFERS
};

/* Rotation of positions: shared by blocks. */
typedef enum sm_rope_scaling {
    SM_ROPE_NONE,
    SM_ROPE_LINEAR,
    SM_ROPE_YARN,
    SM_ROPE_LONG /* by divisors of the file alone */
} sm_rope_scaling;
typedef struct sm_rope {
    uint32_t n_rot; /* rotated dimensions of a head; 0: these layers know no positions */
    bool neox;      /* rotate (i, i + n_rot/2) rather than (2i, 2i + 1) */
    sm_rope_scaling scaling;
    double theta, factor, attn_factor; /* context is stretched by `factor` */
    double ext_factor, beta_fast, beta_slow;
    uint32_t n_ctx_original;
    bool exact_ramp;    /* the ends of YaRN's ramp are not rounded to whole dimensions */
    bool takes_freqs;   /* divisors, if the file has them */
    const float *freqs; /* [n_rot/2] these, or NULL */
    double *inv_freq;   /* [n_rot/2] angle per position, scaling applied */
    /* the same of sequences that may become longer than n_ctx_original; NULL: as of shorter ones
     * (longrope, arXiv:2402.13753) */
    const float *long_freqs;
    double *long_inv_freq;
    double growth; /* yarn: the magnitude grows by this times ln(factor) */
    float mscale;  /* magnitude of the rotation (yarn) */
} sm_rope;

#define SM_CHUNKED (1u << 31)
#define SM_BOTH (1u << 30)
typedef struct sm_attn_params {
    uint32_t n_head, n_head_kv, head_dim;
    uint32_t rope; /* which of the net's */
    uint32_t
        window;  /* tokens that attention sees, the token itself included; 0: all before it; with
                        SM_CHUNKED those of the same chunk of so many positions; with SM_BOTH those
                        up to half as many before and behind it, or all of the span */
    float scale; /* of scores */
    float cap;   /* then cap * tanh(score / cap); 0: not */
    /* norms of q and k, where there are: what kind; over all heads together rather than each; of
     * each head with gains of its own; after the rotation rather than before it */
    sm_norm norm;
    bool norm_whole, norm_own, norm_late;
    bool norm_bare; /* without gains, and tensors */
    float clamp; /* q, k and v stay within -clamp..clamp, before norms; 0: they are what they are */
    float max_bias;      /* of ALiBi, from which slopes are made; 0: none */
    const float *slopes; /* [n_head] what a score loses with each token of distance; NULL: nothing;
                            the net's own */
    /* queries times 1 + temperature ln(1 + floor(position / temperature_span)); 0: not; positions
     * count from temperature_first */
    float temperature;
    uint32_t temperature_span, temperature_first;
    bool norm_values;  /* of each head, without gains */
    bool keyed_values; /* values are keys, before norm and rotation */
    bool borrows; /* keys and values are those of an earlier block, number `lender` of the net's */
    uint32_t lender;
} sm_attn_params;
/* That factor. */
float sm_query_scale(const sm_attn_params *params, uint32_t position);

/* inputs of layers (blocks/inputs.c; gemma 3n and 4): before the first layer, of each layer's part
 * p of P x and e of the token's row in a table of their own
 *   input = (norm(p / sqrt(width)) + e sqrt(n)) / sqrt(2)
 * x stays what it is. */
extern const sm_kind sm_kind_inputs;
enum { SM_INPUTS_PROJECTION = SM_WIRING_SLOTS, SM_INPUTS_NORM, SM_INPUTS_SLOTS };
enum { SM_IN_RAW, SM_IN_INPUTS, SM_IN_BUFFERS };

typedef struct sm_inputs_params {
    uint32_t n; /* elements of a layer's input */
} sm_inputs_params;

/* and what a layer makes of its input: x += norm(projection(gelu(gate(x)) * input)) */
extern const sm_kind sm_kind_layer_input;
enum { SM_LAYER_INPUT_GATE = SM_WIRING_SLOTS, SM_LAYER_INPUT_PROJECTION, SM_LAYER_INPUT_SLOTS };
enum { SM_LI_GATE, SM_LI_H, SM_LI_H_FORM, SM_LI_BUFFERS };

/* x = scale x (blocks/inputs.c), a number that the file has, or sm_block.factor. */
extern const sm_kind sm_kind_scale;
enum { SM_SCALE_SCALE = SM_WIRING_SLOTS, SM_SCALE_SLOTS };

/* streams (blocks/streams.c; AltUp, arXiv:2301.13310, as in gemma 3n): the residual is n vectors a
 * token, which lie side by side, and one place more behind them. All other blocks read and add to
 * the first.
 *   split:   others_i = P_i x, as long as x
 *   predict: s_o += sum over i of c_oi s_i, c = C tanh(R norm(s_0) / n_embd); the first also to the
 *            place behind them
 *   correct: v = s_0 - that place; s_o = what was predicted + (1 + k_o) v, k = K tanh(R norm(s_0) /
 *            n_embd), R and the norm those of `predict`
 *   merge:   x = mean of x and U_i others_i, each as long as x */
extern const sm_kind sm_kind_split, sm_kind_predict, sm_kind_correct, sm_kind_merge;
#define SM_MAX_STREAMS 16
#define SM_STREAM_LEAST 1e-5 /* mean of squares of what is made as long as x, at least */
/* What makes a vector as long as x. */
float sm_stream_factor(const float *raw, const float *x, uint64_t n);
enum { SM_STREAMS_MATRIX = SM_WIRING_SLOTS, SM_STREAMS_SLOTS }; /* split, merge */
enum { SM_ST_RAW, SM_ST_FORM, SM_ST_BUFFERS };                  /* P_i x, U_i x */
enum { SM_MIX_COEFS = SM_WIRING_SLOTS, SM_MIX_ROUTER, SM_MIX_NORM, SM_MIX_SLOTS }; /* predict */
enum {                   /* predict, correct */
       SM_MIX_AT_NORMED, /* norm(s_0) / n_embd */
       SM_MIX_AT_NORMED_FORM,
       SM_MIX_AT_MODES, /* tanh(R ..) */
       SM_MIX_AT_MODES_FORM,
       SM_MIX_AT_COEFS,
       SM_MIX_BUFFERS
};

typedef struct sm_streams_params {
    uint32_t predict; /* of `correct`: number of the block that predicted */
} sm_streams_params;

/* learned augmented residual (blocks/streams.c; LAuReL, arXiv:2411.07501): x += n + norm(R L n),
 * n = norm(x) */
extern const sm_kind sm_kind_laurel;
enum { SM_LAUREL_LEFT = SM_WIRING_SLOTS, SM_LAUREL_RIGHT, SM_LAUREL_NORM, SM_LAUREL_SLOTS };
enum { SM_LA_LOW, SM_LA_LOW_FORM, SM_LA_RAW, SM_LA_BUFFERS };

/* latent attention (blocks/latent.c; arXiv:2405.04434, section 2.1): keys and values of all heads
 * come from one latent c per token, and a part r of keys that has a position is one for all heads:
 *   c, r = norm(KV_A n), rope(..); q = Q_B norm(Q_A n), or Q n; n = norm(x)
 * Files have what makes them of c by head, as two stacks or as one matrix, and say so how they are
 * computed, whatever the number of tokens:
 *   K_B, V_B: absorbed. Scores are (K_B q + rope(q')) . (c, r), so c and r are the one head of keys
 *             that is cached, c that of values, and V_B follows attention.
 *   KV_B:     expanded. Keys (k, r) and values of each head are cached. */
extern const sm_kind sm_kind_latent;
enum {
    SM_LATENT_Q = SM_WIRING_SLOTS,
    SM_LATENT_KV_A,
    SM_LATENT_Q_A,
    SM_LATENT_Q_A_NORM,
    SM_LATENT_KV_A_NORM,
    SM_LATENT_Q_B,
    SM_LATENT_K_B, /* of each head */
    SM_LATENT_V_B,
    SM_LATENT_KV_B, /* of each head rows of keys, then of values */
    SM_LATENT_O,
    SM_LATENT_SLOTS
};
enum { /* after SM_AT_LSE; of those before it a head is as the cache has it */
       SM_LT_Q_LOW = SM_AT_LSE + 1, /* Q_A n */
       SM_LT_Q_NORMED,
       SM_LT_Q_NORMED_FORM,
       SM_LT_Q_RAW,
       SM_LT_KV_A, /* KV_A n */
       SM_LT_LATENT,
       SM_LT_LATENT_FORM,
       SM_LT_Q_FORM, /* what each K_B reads */
       SM_LT_ABSORBED,
       SM_LT_OUT_FORM, /* what each V_B reads */
       SM_LT_LIFTED,
       SM_LT_KV_B,   /* KV_B c */
       SM_LT_VALUES, /* what O reads */
       SM_LT_VALUES_FORM,
       SM_LT_BUFFERS
};

typedef struct sm_latent_params {
    sm_attn_params attn;   /* what is computed once queries, keys and values are there; its place is
                            that of sm_block.attn */
    uint32_t rank, q_rank; /* of c; of what Q_B reads, 0: there is Q */
    uint32_t nope, n_rot;  /* a head of q, and of keys: the part without and with a position */
    uint32_t value;        /* a head of values */
    bool absorbed;
} sm_latent_params;

/* gated feed-forward (blocks/gated.c):
 *   x += down(activation(gate(norm(x))) * up(norm(x))) */
extern const sm_kind sm_kind_gated;
enum {
    SM_GATED_GATE = SM_WIRING_SLOTS,
    SM_GATED_UP,
    SM_GATED_DOWN,
    SM_GATED_GATE_BIAS,
    SM_GATED_UP_BIAS,
    SM_GATED_DOWN_BIAS,
    SM_GATED_SLOTS
};
enum {
    SM_GATED_AT_GATE,
    SM_GATED_AT_UP,
    SM_GATED_AT_H,
    SM_GATED_AT_H_FORM,
    SM_GATED_AT_SPARSE, /* the gate, cut off */
    SM_GATED_BUFFERS
};

/* gelu: the tanh form, and the one by erf; the square of relu; of plain parts alone xielu
 * (arXiv:2411.13010): above 0 p x^2 + b x, else n (exp(min(x, e)) - 1 - x) + b x */
typedef enum sm_activation { SM_SILU, SM_GELU, SM_GELU_ERF, SM_RELU2, SM_XIELU } sm_activation;
typedef struct sm_xielu {
    float p, n, b, e;
} sm_xielu;

typedef struct sm_gated_params {
    uint32_t n_ff;
    sm_activation activation;
    bool
        sparse; /* of gate what is above its mean + so many standard deviations, less that, and 0 */
    float deviations;
} sm_gated_params;
/* What is taken off a gate of n elements, which then ends at 0; its deviation unless NULL. */
double sm_gate_cutoff(const float *gate, uint64_t n, double k, double *mean, double *deviation);

/* plain feed-forward (blocks/plain.c):
 *   x += down(activation(up(norm(x)))) */
extern const sm_kind sm_kind_plain;
enum {
    SM_PLAIN_UP = SM_WIRING_SLOTS,
    SM_PLAIN_DOWN,
    SM_PLAIN_UP_BIAS,
    SM_PLAIN_DOWN_BIAS,
    SM_PLAIN_SLOTS
};
enum { SM_PLAIN_AT_UP, SM_PLAIN_AT_H, SM_PLAIN_AT_H_FORM, SM_PLAIN_BUFFERS };

typedef struct sm_plain_params {
    uint32_t n_ff;
    sm_activation activation;
    sm_xielu xielu; /* of SM_XIELU */
} sm_plain_params;

/* a matrix in attention's place (blocks/linear.c): x += W norm(x) */
extern const sm_kind sm_kind_linear;
enum { SM_LINEAR_MATRIX = SM_WIRING_SLOTS, SM_LINEAR_BIAS, SM_LINEAR_SLOTS };

/* mixture of experts (blocks/experts.c, arXiv:2401.04088): of each token n_used experts, in the
 * order of their numbers, and what all tokens go through:
 *   x += share(n) shared(n) + sum over the chosen e of p_e expert_e(n), n = norm(x)
 *   expert_e(n) = down_e(activation(gate_e(n)) * up_e(n)), shared likewise
 * share is the sigmoid of a vector's product with n, or 1; which experts, and p, route.c says. */
extern const sm_kind sm_kind_experts;
enum {
    SM_EXPERTS_ROUTER = SM_WIRING_SLOTS,
    SM_EXPERTS_SHARED_GATE,
    SM_EXPERTS_SHARED_UP,
    SM_EXPERTS_SHARED_DOWN,
    SM_EXPERTS_GATE,
    SM_EXPERTS_UP,
    SM_EXPERTS_DOWN,
    SM_EXPERTS_ROUTER_BIAS,
    SM_EXPERTS_CHOICE_BIAS, /* added to scores where experts are chosen, not where weighed */
    SM_EXPERTS_SHARE,
    SM_EXPERTS_GATE_BIAS,
    SM_EXPERTS_UP_BIAS,
    SM_EXPERTS_DOWN_BIAS,
    SM_EXPERTS_ROUTER_SCALE, /* the router reads x normed by itself, times this / root of its size
                                */
    SM_EXPERTS_WEIGHT_SCALE, /* of each expert, of its weight */
    SM_EXPERTS_SLOTS
};
#define SM_EXPERTS_SHARED_PART \
    (1u << SM_EXPERTS_SHARED_GATE | 1u << SM_EXPERTS_SHARED_UP | 1u << SM_EXPERTS_SHARED_DOWN)
/* Tokens as often as they use an expert are rows, expert by expert, tokens in order: T * n_used. */
enum {
    SM_EX_LOGITS, /* [T][n_experts], on the tape with the router's bias */
    SM_EX_CHOSEN, /* uint32_t [T][n_used], ascending */
    SM_EX_WEIGHT, /* [T][n_used] p of these */
    SM_EX_ROWS,   /* uint32_t [T][n_used]: their rows */
    SM_EX_TOKENS, /* uint32_t [rows]: back, not strided */
    SM_EX_BOUNDS, /* uint32_t [n_experts + 1]: rows of an expert begin here */
    SM_EX_IN,     /* [rows][ldx] */
    SM_EX_IN_FORM,
    SM_EX_GATE, /* [rows][sm_row_stride(n_ff)], as are UP and H */
    SM_EX_UP,
    SM_EX_H,
    SM_EX_H_FORM,
    SM_EX_OUT, /* [rows][ldx] */
    SM_EX_SHARED_GATE,
    SM_EX_SHARED_UP,
    SM_EX_SHARED_H,
    SM_EX_SHARED_H_FORM,
    SM_EX_ROUTER_IN, /* where it is not what experts read */
    SM_EX_ROUTER_IN_FORM,
    SM_EX_BUFFERS
};

#define SM_MAX_EXPERTS 1024
#define SM_MAX_USED 32

/* What a router's logits are made into. */
#define SM_MIXER_GAP 0.02f
typedef enum sm_scoring {
    SM_SCORE_SOFTMAX, /* of all logits */
    SM_SCORE_SIGMOID, /* of each */
    SM_SCORE_MIXER /* of a chosen expert, softmax of its logit and of those of experts that are not
                         chosen before it and less than SM_MIXER_GAP below it, as a share of the
                         greater of it and their own size (SparseMixer-v2, arXiv:2409.12136, without
                         its sampling) */
} sm_scoring;

typedef struct sm_experts_params {
    uint32_t n_ff, n_experts, n_used;
    uint32_t n_ff_shared; /* 0: nothing but experts */
    sm_activation activation;
    sm_scoring scoring;
    bool renormalise;  /* the chosen ones' scores are divided by their sum */
    bool short_name;   /* SM_EXPERTS_CHOICE_BIAS has no ".bias" behind its name */
    bool weigh_inputs; /* what the chosen ones read is multiplied, not what they make */
    float scale;       /* and multiplied by this */
    /* Experts stand in groups of equal size, and those of n_groups_used groups can be chosen: where
     * the sum of the group_top greatest scores is greatest. 1 group: all can. */
    uint32_t n_groups, n_groups_used, group_top;
    /* 0: none; else gate and up are first clamped, gate from above only, and the activation is
     * gate sigmoid(alpha gate) (up + 1) (gpt-oss) */
    float limit, alpha;
} sm_experts_params;

/* Whether the score of an expert, number `other`, counts in that of a chosen one. */
static inline bool sm_mixer_counts(const float *logits, uint32_t one, uint32_t other, bool chosen) {
    const float most = logits[one], x = logits[other], size = fabsf(x) > most ? fabsf(x) : most;
    const bool before = chosen && (x > most || (x == most && other < one));
    return other == one || (!before && !((most - x) / size > SM_MIXER_GAP));
}

/* gated short convolution (blocks/shortconv.c; LFM2): b, c and x are products of the norm; u = b x
 * of the last `taps` tokens, each channel by its own weights, times c is what O reads:
 *   x += O(c conv(b x)) */
extern const sm_kind sm_kind_shortconv;
enum {
    SM_SHORTCONV_B = SM_WIRING_SLOTS,
    SM_SHORTCONV_C,
    SM_SHORTCONV_X,
    SM_SHORTCONV_TAPS,
    SM_SHORTCONV_O,
    SM_SHORTCONV_SLOTS
};
enum { SM_SC_B, SM_SC_C, SM_SC_X, SM_SC_OUT, SM_SC_OUT_FORM, SM_SC_BUFFERS };

typedef struct sm_shortconv_params {
    sm_attn_params attn; /* u of each token is kept as a value is: one head, window `taps` */
    uint32_t taps;
} sm_shortconv_params;

/* a norm that is a block of its own (step/residual.c), of the embedding: x = norm(x); and one of a
 * layer, behind another block, which has the same number */
extern const sm_kind sm_kind_norm, sm_kind_layer_norm;

/* the head (blocks/head.c): logits = W norm(x) + bias. Its wiring norm is the last norm. */
typedef struct sm_head_params {
    float scale;      /* of logits; 0: 1 */
    float cap;        /* then cap * tanh(logit / cap); 0: not */
    bool bias;        /* the file must have one */
    const char *norm; /* name of the last norm; NULL: output_norm */
    bool unnormed;    /* there is none: blocks end with one */
} sm_head_params;
extern const sm_kind sm_kind_head;
enum { SM_HEAD_OUTPUT = SM_WIRING_SLOTS, SM_HEAD_BIAS, SM_HEAD_SLOTS };

/* ---- blocks -------------------------------------------------------------------------- */

/* How a block hangs on the residual stream. Names of tensors, NULL: none. */
typedef struct sm_wiring {
    const char *pre;  /* norm before the block */
    const char *post; /* norm of what is added */
    const char *sum;  /* of a block beside another, both with `post`: norm of what both make */
    float scale;      /* of what is added, normed or not; 0: 1 */
    sm_norm norm;     /* what kind they are */
    bool bias;        /* the one before adds a bias, of its name */
    bool bare;        /* the one before has no tensors: pre is NULL */
    bool aside;  /* parallel to the next block of its layer, which reads the same x and adds what
                         both make */
    bool shared; /* that next block: its norm before is the other's, of the same tensors */
    bool gain;   /* what is called a norm before only multiplies by its gains */
    bool others; /* what is added, normed, goes to the other streams, not to x */
} sm_wiring;

typedef struct sm_block {
    const sm_kind *kind;
    uint32_t layer; /* the "N" of its tensors' names, n_layer for the head */
    uint32_t index; /* in the net's list of blocks */
    uint32_t state; /* where kind->has_state: which part of sm_state */
    uint32_t dims[SM_DIM_COUNT];
    uint32_t asked;    /* bits of slots */
    uint32_t joined;   /* bits of the kind's joins: those that this block's tensors come by */
    uint32_t may_join; /* those that a file of this family might have it by */
    sm_wiring wiring;
    union {
        sm_attn_params attn;
        sm_latent_params latent;
        sm_inputs_params inputs;
        sm_streams_params streams;
        float factor; /* of kind scale, where it has no tensor */
        sm_gated_params gated;
        sm_plain_params plain;
        sm_experts_params experts;
        sm_shortconv_params shortconv;
        sm_head_params head;
    };
    uint32_t
        last_borrower; /* index of the last block that reads this one's keys and values; 0: none
                               does */
    sm_weight *w[SM_MAX_SLOTS];   /* matrices, of stacks the first one; NULL: none */
    const float *v[SM_MAX_SLOTS]; /* vectors; NULL: none */
    uint64_t ld[SM_MAX_BUFFERS];  /* strides of the buffers' rows, in elements (blocks: FORMS) */
} sm_block;

_Static_assert(offsetof(sm_latent_params, attn) == 0 && offsetof(sm_shortconv_params, attn) == 0,
               "sm_block.attn is that of all");

/* Whether `attn` says what the block's attention is, over keys and values in its part of the state.
 */
static inline bool sm_block_attends(const sm_block *block) {
    return block->kind->id == SM_KIND_ATTENTION || block->kind->id == SM_KIND_LATENT;
}

/* Whether a part of the state is the block's own. */
static inline bool sm_block_keeps(const sm_block *block) {
    return block->kind->has_state && !(block->kind->id == SM_KIND_ATTENTION && block->attn.borrows);
}

/* Whether queries or keys, whose slot of gains this is, are normed. */
static inline bool sm_attn_normed(const sm_block *block, uint32_t slot) {
    return block->v[slot] || block->attn.norm_bare;
}

/* Tokens that are seen, at most; 0: all. */
static inline uint32_t sm_window_size(uint32_t window) {
    return window & ~(SM_CHUNKED | SM_BOTH);
}

/* The first position that the token at `position` attends to: max(0, position - window + 1). So
 * define it Mistral's and Qwen's code in transformers (masking_utils.py, sliding_window_overlay:
 * key > query - window) and, for other families, llama.cpp (LLAMA_SWA_TYPE_STANDARD). */
static inline uint32_t sm_window_begin(uint32_t window, uint32_t position) {
    const uint32_t n = sm_window_size(window);
    if (window & SM_CHUNKED)
        return position - position % n;
    if (window & SM_BOTH)
        return n && position > n / 2 ? position - n / 2 : 0;
    return n && position >= n ? position - n + 1 : 0;
}
/* The first one behind those that it attends to, of a sequence of n_tokens. Of windows on both
 * sides as ModernBERT's and EmbeddingGemma's code has them: |key - query| <= window / 2. */
static inline uint32_t sm_window_end(uint32_t window, uint32_t position, uint32_t n_tokens) {
    const uint32_t half = sm_window_size(window) / 2;
    if (!(window & SM_BOTH))
        return position + 1;
    return half && n_tokens - position > half + 1 ? position + half + 1 : n_tokens;
}
/* The first position that sees the token at `start`. */
static inline uint32_t sm_window_first(uint32_t window, uint32_t start) {
    const uint32_t half = sm_window_size(window) / 2;
    if (!(window & SM_BOTH))
        return start;
    return half && start > half ? start - half : 0;
}
/* The first position that sees none of the tokens before `end`. */
static inline uint64_t sm_window_after(uint32_t window, uint32_t end) {
    const uint64_t n = sm_window_size(window);
    if (!n)
        return UINT64_MAX;
    if (window & SM_BOTH)
        return end + n / 2;
    return window & SM_CHUNKED ? (end + n - 1) / n * n : end + n - 1;
}

/* Angles per position in a sequence of at most n_ctx tokens. */
static inline const double *sm_rope_angles(const sm_rope *rope, uint32_t n_ctx) {
    return rope->long_inv_freq && n_ctx > rope->n_ctx_original ? rope->long_inv_freq
                                                               : rope->inv_freq;
}

/* A row of x as a router with an input of its own reads it (SM_EXPERTS_ROUTER_SCALE). */
void sm_router_row(const sm_kernels *kernels, const sm_block *b, float *y, const float *x,
                   float eps);
/* Stride of rows of n elements in another form than f32, in blocks. */
uint64_t sm_block_stride(uint64_t n);
/* The kinds by their number. */
const sm_kind *sm_kind_get(sm_kind_id id);
/* Name of a block's tensor, as its file has it, cut off where it does not fit (128 bytes do). */
void sm_slot_name(const sm_block *block, uint32_t slot, char *name, size_t capacity);
/* The same where each tensor is one of its own, whether this file has it so or not. */
void sm_slot_own_name(const sm_block *block, uint32_t slot, char *name, size_t capacity);
/* Whether the block's tensor is one that a new model has: all but optional ones. */
bool sm_slot_wanted(const sm_block *block, uint32_t slot);
/* The same of a join's tensor, whether the block comes by it or not. */
void sm_join_name(const sm_block *block, const sm_join *join, char *name, size_t capacity);
/* The join that the block's slot comes by; NULL: the slot has a tensor of its own. */
const sm_join *sm_slot_join(const sm_block *block, uint32_t slot);
/* Which part of its tensor a slot is, 0 where it has one of its own. */
uint32_t sm_slot_part(const sm_block *block, uint32_t slot);
/* Rows of a slot's tensor (of stacks: of one in it), all parts together. */
uint32_t sm_slot_rows(const sm_block *block, uint32_t slot);
/* The slot of some kind whose tensors bear this name, the first one of a join; NULL: none. For
 * tensors outside layers too. */
const sm_slot *sm_slot_by_name(const char *name);

/* The kernels of an activation: y = f(gate) up, and its gradient. */
static inline sm_silu_mul_fn *sm_activation_of(const sm_kernels *kernels, sm_activation f) {
    sm_silu_mul_fn *const of[] = {[SM_SILU] = kernels->silu_mul,
                                  [SM_GELU] = kernels->gelu_mul,
                                  [SM_GELU_ERF] = kernels->gelu_erf_mul,
                                  [SM_RELU2] = kernels->relu2_mul};
    return of[f];
}
static inline sm_silu_mul_grad_fn *sm_activation_grad_of(const sm_kernels *kernels,
                                                         sm_activation f) {
    sm_silu_mul_grad_fn *const of[] = {[SM_SILU] = kernels->silu_mul_grad,
                                       [SM_GELU] = kernels->gelu_mul_grad,
                                       [SM_GELU_ERF] = kernels->gelu_erf_mul_grad,
                                       [SM_RELU2] = kernels->relu2_mul_grad};
    return of[f];
}

/* Whether the block's first matrix, a router, reads something else than the others. */
static inline bool sm_routes_apart(const sm_block *block) {
    return block->kind->id == SM_KIND_EXPERTS && block->v[SM_EXPERTS_ROUTER_SCALE];
}

/* Whether the block reads what the one before it in the list read, and adds both. */
static inline bool sm_block_beside(const sm_block *block) {
    return block->index > 0 && block[-1].wiring.aside;
}

/* y[n] = x normed. gain, bias NULL: ones, zeros. */
static inline void sm_norm_row(const sm_kernels *kernels, sm_norm norm, float *y, const float *x,
                               const float *gain, const float *bias, uint64_t n, float eps) {
    if (norm == SM_NORM_LAYER)
        kernels->layer_norm(y, x, gain, bias, n, eps);
    else
        kernels->rms_norm(y, x, gain, n, eps);
}
/* Whether there is a norm before the block. */
static inline bool sm_is_normed(const sm_block *block) {
    return block->wiring.pre || block->wiring.bare;
}
/* y = x as the block's first products read it; of blocks with such a norm. */
static inline void sm_norm_before(const sm_kernels *kernels, const sm_block *block, float *y,
                                  const float *x, float eps) {
    const uint64_t n = block->dims[SM_DIM_EMBD];
    if (block->wiring.gain) {
        for (uint64_t i = 0; i < n; i++)
            y[i] = x[i] * block->v[SM_SLOT_PRE][i];
        return;
    }
    sm_norm_row(kernels, block->wiring.norm, y, x, block->v[SM_SLOT_PRE],
                block->v[SM_SLOT_PRE_BIAS], n, eps);
}

/* Matrix number `expert` of a stack. */
static inline sm_weight *sm_block_expert(const sm_block *block, uint32_t slot, uint32_t expert) {
    return block->w[slot] + (uint64_t)expert * block->w[slot]->stride;
}
/* One of those that read the block's input. */
static inline sm_weight *sm_block_first(const sm_block *block) {
    return block->w[SM_WIRING_SLOTS] ? block->w[SM_WIRING_SLOTS] : block->w[SM_WIRING_SLOTS + 1];
}
static inline bool sm_slot_is_matrix(const sm_slot *slot) {
    return slot->cols != SM_DIM_NONE;
}

#endif
