/* make.h - what writes models: from other models, from training, from nothing. What its files
 * share; no other component includes it.
 */
#ifndef SM_MAKE_H
#define SM_MAKE_H

#include "base/base.h"
#include "format/format.h"

/* ---- types (types.c) ----------------------------------------------------------------------- */

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
    SM_MIX_MXFP4_MOE,
    SM_MIX_IQ1,   /* and IQ2_XXS, IQ2_XS */
    SM_MIX_IQ2_S, /* and IQ2_M */
    SM_MIX_IQ3_XXS,
    SM_MIX_IQ3_XS,
    SM_MIX_IQ3_S,
    SM_MIX_IQ3_M,
    SM_MIX_Q1_0,
    SM_MIX_TERNARY,
} sm_mix;

/* How the factor of a block is stored. */
typedef enum sm_factor {
    SM_FACTOR_F16,
    SM_FACTOR_E8M0,
    SM_FACTOR_IQ1_M, /* an f16 in four parts */
    SM_FACTOR_UE4M3, /* four of them */
    SM_FACTOR_PAIRS, /* f16, and of the codes of two bits that stand for -1..2 none is 3 */
} sm_factor;

/* How blocks are made whose bits are all random but for their factors. Where a minimum is
 * subtracted or added, it is chosen so that the weights' mean is about 0. */
typedef struct sm_filling {
    sm_factor factor;
    int16_t d, min; /* byte offsets of the factors in a block; -1: none */
    double ratio;   /* of the second factor to the first */
    double spread;  /* standard deviation of the weights for a first factor of 1 */
} sm_filling;

/* What a user names as the type of a model. */
typedef struct sm_model_type {
    const char *name;
    uint32_t type;      /* of most matrices */
    uint32_t file_type; /* general.file_type */
    sm_mix mix;         /* what the others get */
    /* of names that are a tensor type's: */
    uint32_t fallback; /* what stands for it in rows that are no whole blocks */
    sm_filling filling;
} sm_model_type;

/* What kinds of names a caller takes: of a type without blocks (but F64) and with, of a mixture
 * alone, F64. */
enum {
    SM_TYPES_FLOAT = 1,
    SM_TYPES_QUANTIZED = 2,
    SM_TYPES_MIXED = 4,
    SM_TYPES_F64 = 8,
    SM_TYPES_OF_TENSORS = SM_TYPES_FLOAT | SM_TYPES_QUANTIZED | SM_TYPES_F64,
    SM_TYPES_ALL = SM_TYPES_OF_TENSORS | SM_TYPES_MIXED
};

/* One of these. */
uint32_t sm_model_type_kind(const sm_model_type *type);
/* NULL and SM_ERR_ARGUMENT, listing the known names of these kinds. */
const sm_model_type *sm_model_type_find(const char *name, uint32_t kinds, sm_error *error);
/* That of a tensor type; NULL for one that is not written here. */
const sm_model_type *sm_model_type_of(uint32_t type);
/* general.file_type of a file whose weights are mostly of that tensor type. */
#define SM_FILE_TYPE_UNKNOWN 1024 /* llama.cpp's "guessed" */
uint32_t sm_file_type_of(uint32_t type);
bool sm_type_is_float(uint32_t type);
/* Whether quantizing to that tensor type goes by an importance matrix or not at all. */
bool sm_type_needs_importance(uint32_t type);
/* The type itself, or what stands for it in rows of that many columns. One that is written here. */
uint32_t sm_fallback_type(uint32_t type, uint64_t columns);

/* ---- mixtures (mixture.c) ------------------------------------------------------------------ */

/* What mixtures depend on. */
typedef struct sm_mixture_model {
    uint32_t n_layer, n_head, n_head_kv;
    bool has_output; /* an output.weight of its own */
} sm_mixture_model;

/* The type of the matrix of that name, whatever its columns. */
uint32_t sm_mixture_type(const sm_model_type *type, const sm_mixture_model *model,
                         const char *name);
/* Whether quantizing is for this tensor: no norm, no bias. */
bool sm_tensor_is_matrix(const sm_tensor *tensor);
/* '*': any text, '?': any character. */
bool sm_glob(const char *pattern, const char *text);

/* ---- importance (importance.c) --------------------------------------------------------------- */

/* An open importance matrix. */
typedef struct sm_importance {
    sm_source *source;
    sm_mem *mem;
    uint8_t *image; /* that source was made of; NULL: of a file */
} sm_importance;

/* A GGUF file, or one of the kind before. SM_ERR_IO, _FORMAT (not an importance matrix), _NOMEM. */
sm_status sm_importance_open(sm_importance *importance, sm_mem *mem, const char *path,
                             sm_error *error);
void sm_importance_close(sm_importance *importance);
/* The kind before, which sm_is_old_imatrix knows (importance_old.c); *out is zeroed before. */
sm_status sm_importance_open_old(sm_importance *out, sm_mem *mem, const sm_file *file,
                                 const char *path, sm_error *error);
/* Mean square of the inputs of a matrix: [n_matrices][columns], to be freed with sm_free, or NULL
 * where the file has none of it (or it was never used). n_matrices is 1, or the third dimension of
 * the tensor. SM_ERR_SHAPE, _FORMAT (not finite, negative; counts missing), _NOMEM. */
sm_status sm_importance_get(float **out, uint64_t *n_matrices, const sm_importance *importance,
                            sm_mem *mem, const sm_tensor *tensor, sm_error *error);

#endif
