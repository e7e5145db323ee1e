/* told.h - tokens with their log-probabilities: as JSON, and as a row for people. */
#ifndef TOLD_H
#define TOLD_H

#include <jansson.h>

#include "smallmind/smallmind.h"

/* As they stand in OpenAI's `content`: {"token", "logprob", "bytes", "top_logprobs": [...]}; a
 * logprob is null where nothing stands before the token. */
json_t *told_json(const sm_tokenizer *tokenizer, const sm_token *token);
/* A line: whether it is of the prompt, its log-probability, its text, and the likeliest tokens. */
void told_row(const sm_tokenizer *tokenizer, const sm_token *token);

#endif
