/* handle.h - the handle of a chat template: what the rest of the library sees of it, beside the
 * public functions.
 */
#ifndef SM_CHAT_HANDLE_H
#define SM_CHAT_HANDLE_H

#include "smallmind/chat.h"

#include "format/json_write.h"
#include "template.h"

/* The template of a well-known layout; NULL: none of that name. */
const char *sm_chat_layout(const char *name);

/* A handle of that template, text[0..length); bos and eos: what its variables of these names are,
 * zero-terminated, NULL: empty. */
sm_status sm_chat_make(sm_chat **out, const char *text, uint64_t length, const char *bos,
                       const char *eos, const sm_allocator *allocator, sm_error *error);

/* sm_struct_take of those options. */
sm_status sm_chat_options_take(sm_chat_options *to, const sm_chat_options *from, sm_error *error);

/* What a render needs of its messages that a template cannot do itself (messages.c). */
typedef struct sm_chat_needs {
    bool text_arguments; /* of calls: as text, not as objects */
    bool text_content;   /* parts of a content are joined */
    bool part_content;   /* a content of text becomes a part */
    bool no_system;      /* a system message goes into the first of the user's */
} sm_chat_needs;

/* The messages as these needs have them, as JSON; json is an array. */
void sm_chat_prepare(sm_builder *out, const sm_json *json, const sm_chat_needs *needs);

#endif
