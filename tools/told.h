/* told.h - tokens with their log-probabilities: as JSON, and as a row for people. */
#ifndef TOLD_H
#define TOLD_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "smallmind/smallmind.h"

/* As they stand in OpenAI's `content`: {"token", "logprob", "bytes", "top_logprobs": [...]}; a
 * logprob is null where nothing stands before the token. */
json_t *told_json(const sm_tokenizer *tokenizer, const sm_token *token);
/* A line: whether it is of the prompt, its log-probability, its text, and the likeliest tokens. */
void told_row(const sm_tokenizer *tokenizer, const sm_token *token);

/* Why a text ended, as it is said to people or, in one word, in JSON. */
const char *told_finish(uint32_t finish, bool word);

/* The text written so far; all zero at first, data to be freed. */
typedef struct told_text {
    char *data;
    size_t length, capacity;
} told_text;

/* Adds a token's text; false, and a message, where there is no memory. */
bool told_keep(told_text *text, const sm_token *token);

#endif
