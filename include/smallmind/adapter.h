/* smallmind/adapter.h - LoRA adapters (arXiv:2106.09685): small additions to a model's
 * matrices, attached to a session and detached again without loading the model anew.
 *
 *     sm_adapter_load(&a, model, "adapter.gguf", NULL, &err);
 *     sm_session_attach(session, a, 1.0, &err);
 *     ...
 *     sm_session_detach(session, a, &err);
 *     sm_adapter_free(a);
 *
 * An adapter is immutable after loading and may be used by any number of sessions and
 * threads. Handles are reference counted inside and may be freed in any order.
 */
#ifndef SMALLMIND_ADAPTER_H
#define SMALLMIND_ADAPTER_H

#include "generate.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_adapter sm_adapter;

typedef struct sm_adapter_options {
    uint32_t struct_size;
    uint32_t reserved;
    sm_progress_fn progress; /* NULL: none; tensors done of the adapter's */
    void *progress_user;
    sm_cancel *cancel_flag; /* NULL, or what ends the call when it is set (types.h) */
} sm_adapter_options;

typedef struct sm_merge_options {
    uint32_t struct_size;
    uint32_t reserved;
    const char *type; /* of the merged matrices ("Q8_0", "F16", …), in rows that do not fit what
                         sm_model_quantize falls back to; NULL: as they were, so quantized ones are
                         quantized anew, which costs some of the adapter's precision */
    sm_progress_fn progress; /* NULL: none; counts weights */
    void *progress_user;
    sm_cancel *cancel_flag; /* NULL, or what ends the call when it is set (types.h) */
} sm_merge_options;

/* Loads an adapter file in llama.cpp's GGUF format, for this model: general.type "adapter",
 * adapter.type "lora", and for a matrix W the tensors W.lora_a and W.lora_b, each of a type that
 * is computed. Or a directory that PEFT saved (adapter_config.json, adapter_model.safetensors):
 * LoRA and rsLoRA, with ranks and alphas of modules; the model may be of any kind of file. Where
 * the model has matrices as rows of one tensor (attn_qkv) the adapter may have them apart (attn_q),
 * and the other way round. SM_ERR_IO, _FORMAT (also weights that are not finite, and two pairs for
 * one matrix), _MISSING (half of a pair), _SHAPE (does not fit the model: names the tensor),
 * _UNSUPPORTED (another architecture or kind of adapter, or one of a tensor that is no matrix of a
 * layer nor an output matrix of its own; a key of adapter_config.json that asks for what is not
 * computed, such as DoRA), _NOMEM, _ARGUMENT, _CANCELLED. options may be NULL. */
SM_API sm_status SM_CALL sm_adapter_load(sm_adapter **out, const sm_model *model, const char *path,
                                         const sm_adapter_options *options, sm_error *error);
/* The same from anywhere (types.h). */
SM_API sm_status SM_CALL sm_adapter_load_from(sm_adapter **out, const sm_model *model,
                                              const sm_origin *origin,
                                              const sm_adapter_options *options, sm_error *error);
SM_API void SM_CALL sm_adapter_free(sm_adapter *adapter); /* NULL is fine */

typedef struct sm_adapter_info {
    uint32_t struct_size; /* set by the caller */
    uint32_t n_matrices;  /* that it adds to */
    uint32_t max_rank;
    uint32_t reserved;
    double alpha;       /* as the file says; 0 if it does not; of rsLoRA times root of the rank */
    uint64_t n_weights; /* in all its matrices */
} sm_adapter_info;
SM_API sm_status SM_CALL sm_adapter_get_info(const sm_adapter *adapter, sm_adapter_info *info,
                                             sm_error *error);

enum {
    SM_MAX_ADAPTERS = 16, /* attached to one session at most */
};

/* Adds scale times the adapter to what the session computes, or changes its scale if it is
 * attached already. The session forgets its tokens: they were computed without it.
 * SM_ERR_ARGUMENT (an adapter of another model, a scale that is not finite), SM_ERR_STATE (too
 * many), SM_ERR_NOMEM; the session is then as before. */
SM_API sm_status SM_CALL sm_session_attach(sm_session *session, const sm_adapter *adapter,
                                           double scale, sm_error *error);
/* Takes it away again; the session forgets its tokens. SM_ERR_ARGUMENT if it is not
 * attached. */
SM_API sm_status SM_CALL sm_session_detach(sm_session *session, const sm_adapter *adapter,
                                           sm_error *error);

/* Writes a model with scale times the adapter added to its matrices; all other tensors and keys are
 * copied. out_path may be model_path; it appears only when it is complete. options may be NULL.
 * Statuses of sm_model_load and sm_adapter_load, _FORMAT also for weights that are infinite or NaN,
 * before merging or after, or too large for the type (names tensor and row), _ARGUMENT (type, a
 * scale that is not finite), _UNSUPPORTED (a packed model), _CANCELLED. */
SM_API sm_status SM_CALL sm_adapter_merge(const char *out_path, const char *model_path,
                                          const char *adapter_path, double scale,
                                          const sm_merge_options *options, sm_error *error);

/* Writes an adapter, in any form that sm_adapter_load takes, as PEFT saves them, for the model in
 * Hugging Face's form: out_directory (made where it is not there; what is above it must be) gets
 * adapter_model.safetensors, in f32, and then adapter_config.json, each of which appears only when
 * it is complete. It counts in PEFT what it counts here at scale 1. options may be NULL; progress
 * counts matrices. Statuses of sm_model_load and sm_adapter_load, _UNSUPPORTED also for what has no
 * name there: an adapter of the experts of a layer, or of a matrix that is a part of theirs. */
SM_API sm_status SM_CALL sm_adapter_export(const char *out_directory, const char *model_path,
                                           const char *adapter_path,
                                           const sm_adapter_options *options, sm_error *error);

#ifdef __cplusplus
}
#endif
#endif
