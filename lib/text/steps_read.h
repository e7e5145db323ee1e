/* steps_read.h - what the readers of tokenizer.json share. */
#ifndef SM_TEXT_STEPS_READ_H
#define SM_TEXT_STEPS_READ_H

#include "format/json.h"
#include "steps.h"

#define SM_STEPS_PLACE 160 /* bytes of a place in a file: "normalizer.normalizers[2].pattern" */

typedef struct sm_steps_reader {
    const sm_json *json;
    sm_mem *mem;
    sm_tokenizer *t; /* in the making */
    sm_steps *steps;
    sm_pace *pace; /* NULL: nobody asks */
    sm_error *error;
    sm_status status; /* the first failure */
} sm_steps_reader;

/* Each records the first failure and says false. */
bool sm_steps_refuse(sm_steps_reader *r, const char *place,
                     const char *what); /* SM_ERR_UNSUPPORTED */
bool sm_steps_broken(sm_steps_reader *r, const char *place, const char *what); /* SM_ERR_FORMAT */
bool sm_steps_no_memory(sm_steps_reader *r);
/* Counts steps of reading. */
bool sm_steps_step(sm_steps_reader *r, uint64_t steps);

/* Fields of an object: absent and null mean `otherwise`. False, recorded, if of another kind. */
bool sm_steps_bool(sm_steps_reader *r, sm_json_value object, const char *place, const char *name,
                   bool otherwise, bool *out);
bool sm_steps_u32(sm_steps_reader *r, sm_json_value object, const char *place, const char *name,
                  uint32_t otherwise, uint32_t *out);
/* A string, not copied; otherwise NULL: must be there. */
bool sm_steps_text(sm_steps_reader *r, sm_json_value object, const char *place, const char *name,
                   const char *otherwise, sm_str *out);
/* The same, copied for the tokenizer. */
bool sm_steps_copy(sm_steps_reader *r, sm_json_value object, const char *place, const char *name,
                   const char *otherwise, sm_str *out);
bool sm_steps_keep(sm_steps_reader *r, sm_str text, sm_str *out);

/* steps_parts.c */
bool sm_steps_read_normalizer(sm_steps_reader *r, sm_json_value value);
bool sm_steps_read_pre_tokenizer(sm_steps_reader *r, sm_json_value value);
bool sm_steps_read_decoder(sm_steps_reader *r, sm_json_value value);
bool sm_steps_read_post_processor(sm_steps_reader *r, sm_json_value value);
/* steps_model.c: the vocabulary with added tokens, and the model */
bool sm_steps_read_model(sm_steps_reader *r, sm_json_value model, sm_json_value added);

#endif
