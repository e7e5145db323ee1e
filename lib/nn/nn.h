/* nn.h - the network: hyperparameters and weights of a model family, the KV
 * cache, and the one forward pass that prefill, decoding and evaluation run.
 *
 * Shapes are written [rows][columns], row-major. T is the number of tokens
 * computed together, from one or more sequences.
 */
#ifndef SM_NN_H
#define SM_NN_H

#include "base/base.h"
#include "format/format.h"
#include "kernels.h"

#include <stdatomic.h>

/* ---- families -------------------------------------------------------------------- */

/* What distinguishes one decoder-only family from another. The decoder block is
 *   x += O(attention(rope(norm(QKV(rms_norm(x))))))
 *   x += down(silu(gate(rms_norm(x))) * up(rms_norm(x))) */
typedef struct sm_family {
    const char *architecture; /* general.architecture, prefix of the keys */
    bool rope_neox;           /* rotate (i, i + n/2) rather than (2i, 2i + 1) */
    bool qkv_bias;            /* q, k and v biases must be there (optional in the others) */
    bool qk_norm;             /* RMS norm of each q and k head before rope */
} sm_family;

/* NULL if this library has no such family. */
const sm_family *sm_family_find(const char *architecture, uint64_t length);
/* The families by name, comma separated, for messages. */
void sm_family_list(char *text, size_t capacity);

typedef enum sm_rope_scaling { SM_ROPE_NONE, SM_ROPE_LINEAR, SM_ROPE_YARN } sm_rope_scaling;

#define SM_MAX_HEAD_DIM 1024

typedef struct sm_config {
    const sm_family *family;
    uint32_t n_vocab;
    uint32_t n_embd;
    uint32_t n_layer;
    uint32_t n_head;
    uint32_t n_head_kv;
    uint32_t head_dim;
    uint32_t n_ff;
    uint32_t n_ctx_train;
    uint32_t sliding_window; /* sm_layer.window of every layer */
    float norm_eps;
    /* rope */
    uint32_t n_rot; /* rotated dimensions of a head */
    double rope_theta;
    sm_rope_scaling scaling;
    double rope_factor; /* context is stretched by this */
    double rope_attn_factor;
    double yarn_ext_factor, yarn_beta_fast, yarn_beta_slow;
    uint32_t n_ctx_original;
} sm_config;

/* Reads and checks the hyperparameters. SM_ERR_MISSING, SM_ERR_FORMAT,
 * SM_ERR_UNSUPPORTED; the message names file and key. */
sm_status sm_config_read(sm_config *config, const sm_gguf *gguf, sm_error *error);

/* ---- weights ----------------------------------------------------------------------- */

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
} sm_weight;

typedef struct sm_layer {
    uint32_t window; /* tokens that attention sees, the token itself included; 0: all before it */
    const float *attn_norm;    /* [n_embd] */
    sm_weight wq, wk, wv;      /* [n_head*head_dim][n_embd], [n_head_kv*head_dim][n_embd] twice */
    const float *bq, *bk, *bv; /* biases may be NULL */
    const float *q_norm, *k_norm; /* [head_dim] or NULL */
    sm_weight wo;                 /* [n_embd][n_head*head_dim] */
    const float *bo;
    const float *ffn_norm; /* [n_embd] */
    sm_weight gate, up;    /* [n_ff][n_embd] */
    sm_weight down;        /* [n_embd][n_ff] */
    const float *b_gate, *b_up, *b_down;
    /* of the matrices that share an input: what it is brought into for those that want it */
    sm_input_form qkv_form, ffn_form;
} sm_layer;

/* The first position that the token at `position` attends to: max(0, position - window + 1). So
 * define it Mistral's and Qwen's code in transformers (masking_utils.py, sliding_window_overlay:
 * key > query - window) and, for other families, llama.cpp (LLAMA_SWA_TYPE_STANDARD). */
static inline uint32_t sm_window_begin(uint32_t window, uint32_t position) {
    return window && position >= window ? position - window + 1 : 0;
}

/* The matrices of a layer, in the order in which they are used. */
enum { SM_Q, SM_K, SM_V, SM_O, SM_GATE, SM_UP, SM_DOWN, SM_MATRICES };

/* What several matrices are packed into. */
typedef struct sm_packed_block {
    struct sm_packed_block *next;
    _Alignas(SM_ALIGN) uint8_t bytes[];
} sm_packed_block;

/* A loaded network; immutable but for what packing fills in at the first use of each matrix
 * (repack.c). A step reads `packed` of a matrix after it has held the lock to pack it, or has
 * found nothing left to pack; all others read it under the lock. */
typedef struct sm_net {
    sm_mem *mem;
    sm_config config;
    const sm_kernels *kernels;
    const sm_gguf *gguf;
    sm_weight embd; /* [n_vocab][n_embd], read by row */
    sm_weight head; /* [n_vocab][n_embd]; the same tensor as embd where tied */
    const float *out_norm;
    const float *rope_freqs; /* [n_rot/2] divisors or NULL */
    double *rope_inv_freq;   /* [n_rot/2] angle per position, scaling applied */
    float rope_mscale;       /* magnitude of the rotation (yarn) */
    sm_layer *layers;        /* [n_layer] */
    float **vectors;         /* every f32 vector owned, for freeing */
    uint64_t n_vectors;
    uint64_t decode_bytes;         /* weight bytes one decoded token reads */
    uint64_t packed_file_bytes;    /* used where they lie in the file */
    sm_mutex *lock;                /* guards packing; NULL: steps do not pack */
    sm_packed_block *blocks;       /* memory of what steps pack */
    uint64_t block_bytes;          /* matrices of layers share a block of up to this */
    _Atomic uint64_t packed_bytes; /* that steps have packed so far, in memory of the net's own */
    /* matrices that a step packs when it comes to them; a 0 that was acquired makes their `packed`
     * readable without the lock */
    _Atomic uint32_t unpacked_in_layers, unpacked_head;
} sm_net;

/* Binds the tensors of an open file, which must outlive the net, after checking
 * presence, shape and type of each. progress may be NULL. SM_ERR_MISSING,
 * SM_ERR_SHAPE, SM_ERR_UNSUPPORTED, SM_ERR_NOMEM, SM_ERR_CANCELLED. */
sm_status sm_net_load(sm_net **out, sm_mem *mem, const sm_gguf *gguf, const sm_kernels *kernels,
                      sm_progress_fn progress, void *progress_user, sm_error *error);
void sm_net_free(sm_net *net);
/* Makes steps pack each matrix when they first come to it; else they compute from the file's
 * layout. Before the first step, once; not for nets that sm_forward_logits is used with.
 * SM_ERR_NOMEM, SM_ERR_SYSTEM. */
sm_status sm_net_pack_lazily(sm_net *net, sm_error *error);

/* Bytes of a matrix in the kernels' layout. */
uint64_t sm_weight_packed_bytes(const sm_weight *w);
/* Packs groups [begin, end) of a matrix that has the file's layout, to `packed` from its
 * beginning. */
void sm_weight_pack(const sm_weight *w, const sm_kernels *kernels, uint64_t begin, uint64_t end,
                    uint8_t *packed);
/* Calls fn for every matrix that is multiplied, the head included, in order. */
void sm_net_each_matrix(sm_net *net, void (*fn)(sm_net *net, sm_weight *w, void *arg), void *arg);

/* SM_ERR_UNSUPPORTED if the file is packed in a layout of another version than ours, in
 * which case the message names file and key; SM_ERR_FORMAT. */
sm_status sm_net_check_packed(const sm_gguf *gguf, sm_error *error);
/* Writes a packed file (lib/format/format.h) of the net's file, which replaces the one at
 * path when it is whole. Matrices that steps have packed are written as they are in memory, the
 * others are packed for it. progress (may be NULL) gets bytes. Several threads may call this at a
 * time, also while steps run. SM_ERR_IO, SM_ERR_NOMEM, SM_ERR_CANCELLED. */
sm_status sm_net_save(sm_net *net, const char *path, sm_progress_fn progress, void *progress_user,
                      sm_error *error);

/* Which float weights multiply input rounded to bf16, on levels that have instructions for it. */
typedef enum sm_rounding {
    SM_ROUND_NONE,
    SM_ROUND_MOST, /* but the head and the values, where it costs accuracy: for inference */
    SM_ROUND_ALL   /* for training in bf16 */
} sm_rounding;

/* Decides in which form every matrix reads its input; sm_net_load has done it (SM_ROUND_MOST), and
 * it is done anew where types were changed. */
void sm_net_choose_forms(sm_net *net, sm_rounding rounding);

sm_weight *sm_layer_matrix(sm_layer *layer, uint32_t matrix);

/* ---- adapters ------------------------------------------------------------------------ */

/* A low-rank addition to one matrix, y += scale B A x (LoRA, arXiv:2106.09685). */
typedef struct sm_lora {
    sm_weight a; /* [rank][cols]: F32, packed; rows 0: none */
    sm_weight b; /* [rows][rank]: F32, packed */
    float scale;
} sm_lora;

/* What is added to a network; the caller's, and matching the net it is used with. */
typedef struct sm_net_adapter {
    sm_lora (*layers)[SM_MATRICES]; /* [n_layer] */
    sm_lora head;
} sm_net_adapter;

/* Inputs of A set to 0 with probability rate, the others divided by 1 - rate, by random numbers
 * that are a function of everything here and of layer, matrix, token and column. */
typedef struct sm_dropout {
    double rate; /* 0: none */
    uint64_t seed, draw;
} sm_dropout;

/* y = x with dropout; y may be x. The head counts as matrix 0 of layer n_layer. */
void sm_dropout_row(const sm_dropout *dropout, uint32_t layer, uint32_t matrix, uint32_t token,
                    float *y, const float *x, uint64_t n);

/* A number in [0, 1) that is a function of its arguments only. */
double sm_random_unit(uint64_t seed, uint32_t layer, uint32_t matrix, uint64_t i);

/* Adapters in use: all of them act on all tokens of a batch. */
typedef struct sm_adapters {
    uint32_t n;
    const sm_net_adapter *const *adapter; /* [n] */
    const float *scale;                   /* [n] times each lora's own */
    sm_dropout dropout;                   /* training */
} sm_adapters;

/* Makes a packed f32 matrix, to be freed with sm_free(mem, w->own_packed), of a tensor [rows][cols]
 * of an open file; its type must be one that net's kernels dequantize. SM_ERR_NOMEM. */
sm_status sm_weight_load_f32(sm_weight *w, sm_mem *mem, const sm_net *net, const sm_gguf *gguf,
                             const sm_gguf_tensor *tensor, sm_error *error);

/* Elements of a row of sm_workspace's buffer that an adapter of this net needs. */
uint32_t sm_adapter_width(const sm_net_adapter *adapter, const sm_net *net);

/* ---- KV cache ------------------------------------------------------------------------ */

/* Keys and values of one sequence. Per layer and kv head: K and V in tiles of 16 tokens,
 * capacity/16 of them, as kernels.h lays them out for the type. width is head_dim rounded
 * up to the multiple of 8 that the kernels want, filled up with zeros. With n_layer 1 every layer
 * uses the same place: enough where all tokens of a sequence are computed at once. */
typedef struct sm_kv {
    uint32_t type;     /* SM_KV_… of kernels.h */
    uint32_t capacity; /* tokens, a multiple of 16 */
    uint32_t n_layer, n_head_kv, head_dim, width;
    uint64_t head_bytes; /* K (or V) of one layer and head */
    uint8_t *k, *v;
} sm_kv;

sm_status sm_kv_init(sm_kv *kv, sm_mem *mem, const sm_config *config, uint32_t type, uint32_t n_ctx,
                     sm_error *error);
void sm_kv_free(sm_kv *kv, sm_mem *mem);
/* A cache of one layer's size (n_layer 1) in memory of the caller's, sm_kv_bytes of it at k
 * and as much at v. */
uint64_t sm_kv_bytes(const sm_config *config, uint32_t type, uint32_t n_ctx);
void sm_kv_place(sm_kv *kv, const sm_config *config, uint32_t type, uint32_t n_ctx, uint8_t *k,
                 uint8_t *v);
/* sm_kv.width of a model. */
uint32_t sm_kv_width(const sm_config *config);
/* Stores one token's key and/or value vector (NULL: not that one) of a layer and head. */
void sm_kv_store(sm_kv *kv, const sm_kernels *kernels, uint32_t layer, uint32_t head,
                 uint32_t position, const float *k, const float *v);
/* Asks for the memory where sm_kv_store will put that token's key (or value): by the time a token
 * comes other data has pushed it out of the caches. */
void sm_kv_fetch(const sm_kv *kv, uint32_t layer, uint32_t head, uint32_t position, bool key);
/* Where the block that begins at position (a multiple of 16) lies, in k and in v. */
uint64_t sm_kv_offset(const sm_kv *kv, uint32_t layer, uint32_t head, uint32_t position);
/* Copies the first n tokens between caches of equal shape. */
void sm_kv_copy(sm_kv *to, const sm_kv *from, uint32_t n);

/* ---- forward pass ------------------------------------------------------------------- */

/* Consecutive tokens of one sequence inside a step. */
typedef struct sm_span {
    sm_kv *kv;
    uint32_t first;    /* index of its first token in the step */
    uint32_t n;        /* tokens */
    uint32_t position; /* of its first token in the sequence: what the cache holds before */
} sm_span;

/* Shown what every matrix of the layers reads, for measuring. fn is called by each thread for its
 * share of the columns, [begin, end), of all n_tokens rows of x (ldx apart), once per matrix and
 * batch. */
typedef struct sm_observer {
    void (*fn)(void *user, const sm_weight *weight, const float *x, uint64_t ldx, uint64_t begin,
               uint64_t end, uint32_t n_tokens);
    void *user;
} sm_observer;
/* What a forward pass leaves for a backward pass, per layer; T tokens, rows ld… apart as in
 * sm_tape. Norms and silu(gate) * up are cheap and computed again from these. */
typedef struct sm_tape_layer {
    float *x;             /* [T][ldx] input of the layer */
    float *q_raw, *k_raw; /* [T][ldq], [T][ldkv] before the head norm; NULL without one */
    float *q, *k, *v;     /* [T][ldq], [T][ldkv]: as attention reads them */
    float *att;           /* [T][ldq] */
    float *lse;           /* [T][n_head] log of the sum of exp(score * scale) */
    float *mid;           /* [T][ldx] x + attention */
    float *gate, *up;     /* [T][ldh] before silu */
    float *out;           /* [T][ldx] output: x of the next layer, or sm_tape.x */
} sm_tape_layer;

typedef struct sm_tape {
    sm_mem *mem;
    uint64_t ldx, ldq, ldkv, ldh;
    sm_tape_layer *layers; /* [n_layer] */
    float *x;              /* [T][ldx] output of the last layer */
    float *cos, *sin;      /* [T][n_rot/2] rotation of each token */
    bool rounded;          /* set by the caller: attention reads queries rounded to bf16 */
    /* Layers that sm_forward computes, set by the caller before each call. begin > 0 starts
     * from what layers[begin].x and cos, sin hold. */
    uint32_t begin, end;
    void **owned;
    uint32_t n_owned;
} sm_tape;

/* For batches of at most max_tokens tokens. keep_layers false: every layer keeps its x only,
 * all else lies in one place that the layers use in turn. SM_ERR_NOMEM. */
sm_status sm_tape_new(sm_tape **out, sm_mem *mem, const sm_net *net, uint32_t max_tokens,
                      bool keep_layers, sm_error *error);
void sm_tape_free(sm_tape *tape); /* NULL is fine */

/* What one forward pass computes. */
typedef struct sm_step {
    uint32_t n_tokens;
    const int32_t *ids; /* [n_tokens], checked by the caller */
    uint32_t n_spans;
    const sm_span *spans; /* cover the tokens in order; each has a cache of its own */
    uint32_t n_outputs;
    const uint32_t *outputs;       /* tokens whose logits are wanted */
    float *const *logits;          /* [n_outputs] rows of n_vocab floats each */
    int32_t (*cancel)(void *user); /* asked by thread 0 every fraction of a ms; NULL: never */
    void *cancel_user;
    const sm_observer *observer; /* NULL: none */
    const sm_tape *tape;         /* records, or NULL; every span must then begin at position 0 */
    const sm_adapters *adapters; /* NULL: none */
    uint64_t *repack_ns;         /* the time that packing took is added to it; NULL: to nothing */
} sm_step;

/* Buffers for steps of at most max_tokens tokens in contexts of at most max_context,
 * and for a team of n_threads. */
typedef struct sm_workspace sm_workspace;
sm_status sm_workspace_new(sm_workspace **out, sm_mem *mem, const sm_net *net, uint32_t n_threads,
                           uint32_t max_tokens, uint32_t max_context, sm_error *error);
void sm_workspace_free(sm_workspace *workspace);
/* Makes room for adapters whose widths sum up to `width`, with dropout or without; before
 * batches that have them. SM_ERR_NOMEM leaves the workspace as it was. */
sm_status sm_workspace_adapt(sm_workspace *workspace, uint64_t width, bool dropout,
                             sm_error *error);

/* Computes the step: writes K and V of its tokens into the caches and the wanted
 * logits. SM_ERR_CANCELLED if the cancel hook said so; after sm_net_pack_lazily SM_ERR_NOMEM too,
 * and the message names the matrix that was to be packed. On failure no logits were written, cache
 * contents beyond the spans' positions are undefined, and what was packed stays for later steps. */
sm_status sm_forward(sm_workspace *workspace, sm_team *team, const sm_step *step, sm_error *error);
/* The last part of it alone: logits[i][ldl] of token rows[i] of x (sm_tape.x); n at most the
 * workspace's max_tokens. Asks `stop`; once it is stopped the logits are rubbish. */
void sm_forward_logits(sm_workspace *workspace, sm_team *team, const sm_adapters *adapters,
                       sm_stop *stop, const float *x, const uint32_t *rows, uint32_t n,
                       float *logits, uint64_t ldl);
/* Stride of rows of n floats that the kernels write: whole groups, off multiples of 4096
 * bytes. */
uint64_t sm_row_stride(uint64_t n);

#endif
