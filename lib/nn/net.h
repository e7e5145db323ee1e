/* net.h - a loaded network: blocks in the order in which they are computed, and lists of all
 * their tensors.
 */
#ifndef SM_NET_H
#define SM_NET_H

#include "block.h"

#include <stdatomic.h>

#define SM_MAX_HEAD_DIM 1024

/* What holds for a model as a whole; sizes of layers are their blocks'. */
typedef struct sm_config {
    const char *architecture; /* general.architecture, prefix of the keys */
    uint32_t n_vocab;         /* 0 until the embedding is bound */
    uint32_t n_embd;
    uint32_t n_layer;
    uint32_t n_drafts; /* layers behind these that a file has and nothing here computes */
    uint32_t n_ctx_train;
    float norm_eps;
} sm_config;

/* Reads and checks these. SM_ERR_MISSING, SM_ERR_FORMAT, SM_ERR_UNSUPPORTED (no such family); the
 * message names file and key. */
sm_status sm_config_read(sm_config *config, const sm_source *source, sm_error *error);

/* What an encoder makes of its last hidden states. */
typedef enum sm_pooling_type {
    SM_POOLED_NOT,
    SM_POOLED_MEAN,
    SM_POOLED_FIRST, /* of the first token */
    SM_POOLED_LAST,
    SM_POOLED_RANK /* scores of the first token */
} sm_pooling_type;

/* Matrices [rows][cols] that are read by row, rows 0: none, and biases, NULL: none. */
typedef struct sm_pooling {
    sm_pooling_type type;
    sm_weight dense[2]; /* of what was pooled, one after the other, without biases */
    sm_weight pooler;   /* scores = out(tanh(pooler(x))) */
    sm_weight out;
    float *pooler_bias, *out_bias;
} sm_pooling;

/* A vector of a block. */
typedef struct sm_vector {
    float *value; /* [n], the net's own */
    uint64_t n;
    uint32_t depth; /* vectors that it is made of */
    sm_block *block;
    uint32_t slot; /* of the block */
    /* of a tensor that joins several, whose vectors follow each other here and in memory: which;
     * elements of all */
    uint32_t part;
    uint64_t joined;
} sm_vector;

/* What several matrices are packed into. */
typedef struct sm_packed_block {
    struct sm_packed_block *next;
    _Alignas(SM_ALIGN) uint8_t bytes[];
} sm_packed_block;

/* Immutable but for what packing fills in at the first use of each matrix (repack.c). A step reads
 * `packed` of a matrix after it has held the lock to pack it, or has found nothing left to pack;
 * all others read it under the lock. */
typedef struct sm_net {
    sm_mem *mem;
    sm_config config;
    const sm_kernels *kernels;
    const sm_source *source;
    sm_block *blocks; /* [n_blocks] in the order in which they run, the head after the last */
    uint32_t n_blocks, n_states;
    uint32_t n_streams; /* of the residual; 0: it is one vector a token */
    bool idle_keys;     /* files have keys and values of blocks, too, that read another one's */
    sm_rope *ropes;     /* [n_ropes] */
    uint32_t n_ropes;
    sm_weight embd;      /* [n_vocab][n_embd], read by row */
    float embd_scale;    /* what is read of it is multiplied by this; 0: not */
    sm_weight positions; /* [n_ctx_train][n_embd], added by row; rows 0: none */
    sm_weight types;     /* [types of tokens][n_embd], the same; cols 0: none */
    bool both;           /* tokens see those behind them, so that no sequence can be continued */
    sm_pooling pooling;
    sm_weight inputs; /* [n_vocab][cols], of layers (sm_kind_inputs), read by row; cols 0: none */
    sm_weight *head;  /* [n_vocab][n_embd]; the same tensor as embd where tied */
    /* those that are multiplied, layer by layer in the order of their use, then the head; matrices
     * of layers are first the first_of[layer] th */
    sm_weight *matrices;
    uint32_t n_matrices;
    uint32_t *first_of; /* [n_layer + 1] */
    sm_vector *vectors; /* in the order of blocks and slots, the head's last */
    uint32_t n_vectors;
    float *rope_freqs;             /* rope_freqs.weight or rope_factors_short.weight, or NULL */
    float *rope_long;              /* rope_factors_long.weight, or NULL */
    uint64_t decode_bytes;         /* weight bytes one decoded token reads */
    uint64_t packed_file_bytes;    /* used where they lie in the file */
    sm_mutex *lock;                /* guards packing; NULL: steps do not pack */
    sm_packed_block *packed;       /* memory of what steps pack */
    uint64_t block_bytes;          /* matrices of layers share one of up to this */
    _Atomic uint64_t packed_bytes; /* that steps have packed so far, in memory of the net's own */
    /* matrices that a step packs when it comes to them; a 0 that was acquired makes their `packed`
     * readable without the lock */
    _Atomic uint32_t unpacked_in_layers, unpacked_experts, unpacked_head;
} sm_net;

/* The blocks of a model and the lists of its tensors, from its keys alone: sizes are there, no
 * tensor is bound. n_tensors: that the file has; UINT64_MAX where it is still to be made. */
sm_status sm_net_plan(sm_net **out, sm_mem *mem, const sm_source *source, uint64_t n_tensors,
                      sm_error *error);
/* The last step of planning: fills in the lists. SM_ERR_NOMEM. */
sm_status sm_net_list(sm_net *net, sm_error *error);
/* Which float weights multiply input rounded to bf16, on levels that have instructions for it.
 * Quantized ones multiply input rounded to 8 bits but with NOTHING. */
typedef enum sm_rounding {
    SM_ROUND_NOTHING,
    SM_ROUND_NONE,
    SM_ROUND_MOST, /* but the head and the values, where it costs accuracy: for inference */
    SM_ROUND_ALL   /* for training in bf16 */
} sm_rounding;

/* Binds the tensors of an open file, which must outlive the net, after checking
 * presence, shape and type of each; `rounding` is of its forms (sm_net_choose_forms). progress may
 * be NULL. SM_ERR_MISSING, SM_ERR_SHAPE, SM_ERR_UNSUPPORTED, SM_ERR_NOMEM, SM_ERR_CANCELLED. */
sm_status sm_net_load(sm_net **out, sm_mem *mem, const sm_source *source, const sm_kernels *kernels,
                      sm_rounding rounding, sm_progress_fn progress, void *progress_user,
                      sm_error *error);
void sm_net_free(sm_net *net);
/* Angles per position and their magnitude. SM_ERR_NOMEM, SM_ERR_FORMAT (not finite). */
sm_status sm_rope_init(const sm_net *net, sm_rope *rope, sm_error *error);

/* Whether the head multiplies by the embedding's own tensor. */
bool sm_net_tied(const sm_net *net);
static inline const sm_block *sm_net_head(const sm_net *net) {
    return &net->blocks[net->n_blocks];
}
/* From one stream to the next, and from one token's residual to the next one's. */
uint64_t sm_net_stream_ld(const sm_net *net);
uint64_t sm_net_ldx(const sm_net *net);
/* The first block of a layer; of layer n_layer: the head. */
const sm_block *sm_net_layer(const sm_net *net, uint32_t layer);
/* The largest of a size in any block, the head left out. */
uint32_t sm_net_most(const sm_net *net, sm_dim dim);
/* Elements of the widest input of any matrix. */
uint32_t sm_net_widest_input(const sm_net *net);

/* A model that is to be made: planned from the keys that its file will have. */
typedef struct sm_new_model {
    sm_net *net;
    sm_source *keys;
    uint8_t *image;
} sm_new_model;
/* put_keys writes them; name stands for the file in messages. SM_ERR_NOMEM, and what sm_net_plan
 * says of them. */
sm_status sm_new_model_plan(sm_new_model *model, sm_mem *mem, const char *name,
                            void (*put_keys)(void *user, sm_gguf_writer *writer), void *user,
                            sm_error *error);
void sm_new_model_free(sm_new_model *model, sm_mem *mem);

/* One tensor of a model that is made. */
typedef struct sm_new_tensor {
    const char *name;
    uint64_t cols, rows, depth; /* of a vector: cols, rows 0; depth 0: no stack */
    const sm_slot *slot;        /* NULL: the embedding */
    uint32_t layer;
} sm_new_tensor;
/* Weights that it has. */
uint64_t sm_new_tensor_weights(const sm_new_tensor *tensor);
/* The writer keeps the first failure. */
void sm_new_tensor_declare(sm_gguf_writer *writer, const sm_new_tensor *tensor, uint32_t type);
/* Calls fn for every tensor of a planned net that a new model has, in the order of its file, until
 * it answers false. untied: with a head of its own. */
void sm_net_each_tensor(const sm_net *net, uint32_t n_vocab, bool untied,
                        bool (*fn)(void *user, const sm_new_tensor *tensor), void *user);

/* Makes steps pack each matrix when they first come to it; else they compute from the file's
 * layout. Before the first step, once; not for nets that sm_forward_logits is used with.
 * SM_ERR_NOMEM, SM_ERR_SYSTEM. */
sm_status sm_net_pack_lazily(sm_net *net, sm_error *error);

/* SM_ERR_UNSUPPORTED if the file is packed in a layout of another version than ours, in
 * which case the message names file and key; SM_ERR_FORMAT. */
sm_status sm_net_check_packed(const sm_source *source, sm_error *error);
/* Writes a packed file (lib/format/format.h) of the net's file, which replaces the one at
 * path when it is whole. Matrices that steps have packed are written as they are in memory, the
 * others are packed for it. progress (may be NULL) gets bytes. Several threads may call this at a
 * time, also while steps run. SM_ERR_IO, SM_ERR_NOMEM, SM_ERR_CANCELLED, SM_ERR_FORMAT (a weight
 * that is not finite). */
sm_status sm_net_save(sm_net *net, const char *path, sm_progress_fn progress, void *progress_user,
                      sm_error *error);

/* Decides in which form every matrix reads its input; sm_net_load has done it (SM_ROUND_MOST), and
 * it is done anew where types were changed. */
void sm_net_choose_forms(sm_net *net, sm_rounding rounding);

/* Elements of a row of sm_workspace's buffer that an adapter of this net needs. */
uint32_t sm_adapter_width(const sm_net_adapter *adapter, const sm_net *net);

#endif
