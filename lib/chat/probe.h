/* probe.h - how a template writes calls and reasoning, found by what it makes of small
 * conversations: for templates whose marks belong to no format of the list.
 */
#ifndef SM_CHAT_PROBE_H
#define SM_CHAT_PROBE_H

#include "smallmind/chat.h"

#include "format/json_write.h"

/* Writes the description of a format that reads what the template writes (reply_format.h); nothing
 * where there is none. What is written was tried: it reads the probe's calls and reasoning.
 * named: a format whose marks the text has, or NULL. If it reads the probes nothing is written.
 * SM_ERR_NOMEM. */
sm_status sm_chat_probe(sm_builder *out, const sm_chat *chat, const char *named);

#endif
