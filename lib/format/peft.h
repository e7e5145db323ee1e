/* peft.h - where PEFT has the matrices of an adapter of ours (hf_peft.c): the other way round than
 * sm_source_open_adapter reads. */
#ifndef SM_PEFT_H
#define SM_PEFT_H

#include "format/source.h"

#define SM_PEFT_CONFIG "adapter_config.json"
#define SM_PEFT_WEIGHTS "adapter_model.safetensors"
#define SM_PEFT_BEFORE "base_model.model." /* of tensors' names; then the module's */
#define SM_PEFT_A ".lora_A.weight"
#define SM_PEFT_B ".lora_B.weight"

#define SM_PEFT_NAME 200

typedef struct sm_peft_place {
    char module[SM_PEFT_NAME]; /* "model.layers.0.self_attn.q_proj" */
    uint64_t *row_of;          /* [rows]: which row of PEFT's B row j of ours is; sm_free */
    bool turned;               /* the module's weight has columns where others have rows */
} sm_peft_place;

/* For `matrix` (length bytes: the name of what is adapted, "blk.0.attn_q.weight") of `model`, where
 * B has so many rows. SM_ERR_UNSUPPORTED (Hugging Face's form of the model has no single matrix
 * that it is, or the architecture none that is known; names file and tensor), _SHAPE, _NOMEM. */
sm_status sm_peft_find(sm_peft_place *out, sm_mem *mem, const sm_source *model,
                       const sm_source *adapter, const char *matrix, uint64_t length, uint64_t rows,
                       sm_error *error);

#endif
