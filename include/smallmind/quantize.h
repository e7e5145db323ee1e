/* smallmind/quantize.h - write a model with smaller weights; measure which columns matter.
 *
 *     sm_quantize_options o = {.struct_size = sizeof o, .type = "Q4_K_M"};
 *     sm_model_quantize("model-q4.gguf", "model-f16.gguf", &o, NULL, &err);
 *
 * An importance matrix tells for every matrix how large its inputs are, column by column;
 * with it the encoders keep small the errors that reach the outputs:
 *
 *     sm_imatrix_new(&im, model, NULL, &err);
 *     while (...) sm_imatrix_feed(im, ids, n, &err);
 *     sm_imatrix_save(im, "model.imatrix.gguf", "wiki.txt", &err);
 */
#ifndef SMALLMIND_QUANTIZE_H
#define SMALLMIND_QUANTIZE_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- quantizing a file ---------------------------------------------------------- */

/* Matrices whose name matches the pattern ('*': any text, '?': any character) get this
 * type ("Q6_K"; no mixture). The first match counts. A pattern that fits no matrix is an error. */
typedef struct sm_quantize_override {
    uint32_t struct_size; /* the same in all of a list: their stride */
    uint32_t reserved;
    const char *pattern;
    const char *type;
} sm_quantize_override;

/* What became of one tensor. The texts are valid during the call. */
typedef struct sm_quantize_tensor {
    uint32_t struct_size;
    uint32_t fallback; /* 1: its rows are no multiple of the wanted type's block */
    const char *name;
    const char *from, *to; /* types */
    uint64_t n_weights;
    uint64_t bytes_before, bytes_after;
    double rms;          /* root of the mean square of its weights; 0 where copied */
    double rmse;         /* root mean square error against the source; 0 where copied */
    uint32_t copied;     /* 1: not a matrix to be quantized, or of that type already */
    uint32_t by_imatrix; /* 1: encoded with importance */
} sm_quantize_tensor;

/* Called on the calling thread when a tensor is done; non-zero cancels. */
typedef int32_t(SM_CALL *sm_quantize_tensor_fn)(void *user, const sm_quantize_tensor *tensor);

typedef struct sm_quantize_options {
    uint32_t struct_size;
    uint32_t n_threads; /* 0: all CPUs of the process, 8 at most. The file does not depend on it */
    /* What matrices become: the name of a type (F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q3_K,
     * Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4, NVFP4, F64), or of a mixture that gives the matrices
     * which need it more bits (Q2_K, Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M, IQ1_S,
     * IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ2_M, IQ3_XXS, IQ3_XS, IQ3_S, IQ3_M; TQ1_0, TQ2_0, Q1_0,
     * Q2_0: to output and embedding; MXFP4_MOE: Q8_0 for all but experts). IQ1_…, IQ2_… and IQ3_XXS
     * are written with an importance matrix only, but for the embedding and output matrices. */
    const char *type;
    const char *imatrix; /* path of an importance matrix (GGUF, .dat); NULL: none */
    const sm_quantize_override *overrides; /* [n_overrides] or NULL */
    uint64_t n_overrides;
    uint32_t pure;       /* 1: a mixture's base type for every matrix */
    uint32_t requantize; /* 1: accept matrices that are quantized already: their errors add up */
    uint32_t level; /* cap on the instruction set, SM_LEVEL_…; the file does not depend on it */
    uint32_t reserved;
    const sm_allocator *allocator; /* NULL: the C library's */
    sm_progress_fn progress;       /* weights done of all, copied ones too; asked every few ms */
    void *progress_user;
    sm_quantize_tensor_fn on_tensor;
    void *on_tensor_user;
    sm_cancel *cancel_flag; /* NULL, or what ends the call when it is set (types.h) */
} sm_quantize_options;

typedef struct sm_quantize_result {
    uint32_t struct_size; /* set by the caller */
    uint32_t n_quantized; /* matrices encoded */
    uint32_t n_fallback;  /* of those, with a fallback type */
    uint32_t n_imatrix;   /* of those, with importance */
    uint64_t n_tensors;
    uint64_t bytes_before, bytes_after; /* tensor data */
} sm_quantize_result;

/* Writes out_path from the GGUF file in_path (parts of a split model beside it are read too; both
 * may be the same). All keys are kept but general.file_type and general.quantization_version, which
 * are set, and those that number the parts. Matrices are the tensors with two or more dimensions
 * named *.weight, norms and position embeddings excepted; all else is copied. Where the columns of
 * a matrix are no multiple of the type's block, it becomes IQ4_NL (for Q2_K, Q3_K, IQ1_… to
 * IQ4_XS), Q5_0 (for Q4_K), Q5_1 (for Q5_K), Q8_0 (for Q6_K), Q4_0 (for TQ1_0, TQ2_0, Q1_0, Q2_0),
 * MXFP4 (for NVFP4), or F16 if 32 does not divide them either. Memory: one encoded tensor at a
 * time. out_path appears only when it is complete; result may be NULL. SM_ERR_ARGUMENT (unknown
 * type; one that needs an importance matrix, and none), _IO, _FORMAT (also: weights that are
 * infinite or NaN, also of tensors that are copied, or too large for the type, and importance that
 * is negative), _SHAPE (importance of another size than the matrix), _UNSUPPORTED (a source type
 * that cannot be read; quantized matrices without requantize), _MISSING, _NOMEM, _SYSTEM,
 * _CANCELLED; messages name file and tensor. */
SM_API sm_status SM_CALL sm_model_quantize(const char *out_path, const char *in_path,
                                           const sm_quantize_options *options,
                                           sm_quantize_result *result, sm_error *error);

/* ---- importance matrices ---------------------------------------------------------- */

/* Sums up the squared inputs of every matrix of the layers over the tokens fed. The embedding and
 * the output matrix are left out. Holds a reference to the model. One thread at a time: while a
 * call has not returned, its cancel hook and other threads get SM_ERR_STATE from all but
 * sm_imatrix_capacity, sm_imatrix_chunks and sm_imatrix_free, which takes effect when the call
 * ends. Of fork() see types.h. */
typedef struct sm_imatrix sm_imatrix;

typedef struct sm_imatrix_options {
    uint32_t struct_size;
    uint32_t n_ctx;     /* tokens of a chunk at most; 0: min(n_ctx_train, 512) */
    uint32_t n_threads; /* 0: all CPUs of the process, 8 at most. Sums do not depend on it */
    uint32_t reserved;
    sm_cancel *cancel_flag; /* NULL, or what ends calls when it is set (types.h) */
} sm_imatrix_options;

/* SM_ERR_ARGUMENT, _NOMEM, _SYSTEM. */
SM_API sm_status SM_CALL sm_imatrix_new(sm_imatrix **out, const sm_model *model,
                                        const sm_imatrix_options *options, sm_error *error);
SM_API void SM_CALL sm_imatrix_free(sm_imatrix *imatrix); /* NULL is fine */
/* Asked while feeding; see sm_session_set_cancel. */
SM_API sm_status SM_CALL sm_imatrix_set_cancel(sm_imatrix *imatrix, sm_cancel_fn cancel, void *user,
                                               sm_error *error);
/* Runs one chunk, 1 to n_ctx tokens, as a context of its own and adds its sums. A failed or
 * cancelled chunk adds nothing. SM_ERR_ARGUMENT, _TOKEN, _CONTEXT_FULL, _CANCELLED, _NOMEM. */
SM_API sm_status SM_CALL sm_imatrix_feed(sm_imatrix *imatrix, const int32_t *ids, uint64_t n,
                                         sm_error *error);
/* Tokens of a chunk at most, and chunks fed so far; 0 for NULL. */
SM_API uint32_t SM_CALL sm_imatrix_capacity(const sm_imatrix *imatrix);
SM_API uint32_t SM_CALL sm_imatrix_chunks(const sm_imatrix *imatrix);
/* Writes the sums in llama.cpp's GGUF format: general.type "imatrix", imatrix.datasets (the text's
 * name), imatrix.chunk_count, imatrix.chunk_size, and per matrix NAME.in_sum2 [columns] and
 * NAME.counts [1]. Feeding may go on. SM_ERR_STATE if nothing was fed, _IO, _NOMEM,
 * _FORMAT if the model's activations were not finite. */
SM_API sm_status SM_CALL sm_imatrix_save(const sm_imatrix *imatrix, const char *path,
                                         const char *dataset, sm_error *error);

#ifdef __cplusplus
}
#endif
#endif
