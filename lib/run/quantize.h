/* quantize.h - what the files about quantizing share. Private to lib/run. */
#ifndef SM_RUN_QUANTIZE_H
#define SM_RUN_QUANTIZE_H

#include "run.h"
#include "smallmind/quantize.h"

/* ---- types (mixture.c) --------------------------------------------------------------------- */

typedef enum sm_mix {
    SM_MIX_NONE, /* one type for all matrices */
    SM_MIX_Q2_K,
    SM_MIX_Q3_K_S,
    SM_MIX_Q3_K_M,
    SM_MIX_Q3_K_L,
    SM_MIX_Q4_K_S,
    SM_MIX_Q4_K_M,
    SM_MIX_Q5_K_S,
    SM_MIX_Q5_K_M,
} sm_mix;

/* What a user names as the type of a model. */
typedef struct sm_mixture {
    const char *name;
    uint32_t type;      /* of most matrices */
    uint32_t file_type; /* general.file_type */
    sm_mix mix;
} sm_mixture;

/* Whether attn_v and ffn_down of this layer of n get more bits in the mixtures …_M: the first and
 * the last eighth, and every third between. */
bool sm_mixture_chosen(uint32_t layer, uint32_t n);

/* What mixtures depend on. */
typedef struct sm_mixture_model {
    uint32_t n_layer, n_head, n_head_kv;
    bool has_output; /* an output.weight of its own */
} sm_mixture_model;

/* NULL and SM_ERR_ARGUMENT, listing the known names. */
const sm_mixture *sm_mixture_find(const char *name, sm_error *error);
/* general.file_type of a file whose weights are mostly of that tensor type. */
#define SM_FILE_TYPE_UNKNOWN 1024 /* llama.cpp's "guessed" */
uint32_t sm_mixture_file_type(uint32_t type);
uint32_t sm_mixture_type(const sm_mixture *mixture, const sm_mixture_model *model,
                         const char *name);
/* The type itself, or what stands for it in rows of that many columns. */
uint32_t sm_fallback_type(uint32_t type, uint64_t columns);
/* Whether quantizing is for this tensor: no norm, no bias. */
bool sm_tensor_is_matrix(const sm_gguf_tensor *tensor);
/* '*': any text, '?': any character. */
bool sm_glob(const char *pattern, const char *text);

/* ---- importance (importance.c) --------------------------------------------------------------- */

/* An open importance matrix. */
typedef struct sm_importance {
    sm_gguf *gguf;
} sm_importance;

/* SM_ERR_IO, _FORMAT (not an importance matrix), _NOMEM. */
sm_status sm_importance_open(sm_importance *importance, sm_mem *mem, const char *path,
                             sm_error *error);
void sm_importance_close(sm_importance *importance);
/* Mean square of the inputs of a matrix: [n_matrices][columns], to be freed with sm_free, or NULL
 * where the file has none of it (or it was never used). n_matrices is 1, or the third dimension of
 * the tensor. SM_ERR_SHAPE, _FORMAT (not finite, negative; counts missing), _NOMEM. */
sm_status sm_importance_get(float **out, uint64_t *n_matrices, const sm_importance *importance,
                            sm_mem *mem, const sm_gguf_tensor *tensor, sm_error *error);

#endif
