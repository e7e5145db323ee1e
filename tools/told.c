/* told.c - tokens with their log-probabilities: as JSON, and as a row for people. */
#include "told.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "shown.h"

#define TEXT 1024

/* The token's own text, that of a control token, too; its length. */
static size_t text_of(const sm_tokenizer *tokenizer, int32_t id, char text[TEXT]) {
    uint64_t length = 0;
    if (sm_tokenizer_decode(tokenizer, &id, 1, SM_DECODE_SPECIAL | SM_DECODE_KEEP_SPACE, text, TEXT,
                            &length, NULL) != SM_OK)
        return 0; /* longer, or a row without a name */
    return (size_t)length;
}

static json_t *one(const sm_tokenizer *tokenizer, int32_t id, double logprob) {
    char text[TEXT];
    const size_t length = text_of(tokenizer, id, text);
    json_t *bytes = json_array();
    for (size_t i = 0; i < length; i++)
        json_array_append_new(bytes, json_integer((uint8_t)text[i]));
    return json_pack("{s:o, s:o, s:o}", "token", cli_json_text(text, length), "logprob",
                     isnan(logprob) ? json_null() : json_real(logprob), "bytes", bytes);
}

json_t *told_json(const sm_tokenizer *tokenizer, const sm_token *token) {
    json_t *content = one(tokenizer, token->id, token->logprob), *top = json_array();
    for (uint64_t i = 0; i < token->n_top; i++)
        json_array_append_new(top, one(tokenizer, token->top[i].id, token->top[i].logprob));
    json_object_set_new(content, "top_logprobs", top);
    return content;
}

static void print_quoted(const sm_tokenizer *tokenizer, int32_t id) {
    char text[TEXT];
    const size_t length = text_of(tokenizer, id, text);
    putchar('"');
    cli_print_escaped(text, length, 0);
    putchar('"');
}

void told_row(const sm_tokenizer *tokenizer, const sm_token *token) {
    fputs(token->in_prompt ? "prompt " : "       ", stdout);
    if (isnan(token->logprob))
        printf("%9s  ", "-");
    else
        printf("%9.4f  ", token->logprob);
    print_quoted(tokenizer, token->id);
    for (uint64_t i = 0; i < token->n_top; i++) {
        fputs(i == 0 ? "  | " : ", ", stdout);
        print_quoted(tokenizer, token->top[i].id);
        printf(" %.4f", token->top[i].logprob);
    }
    putchar('\n');
}

const char *told_finish(uint32_t finish, bool word) {
    switch (finish) {
    case SM_FINISH_END:
        return word ? "end" : "end of text";
    case SM_FINISH_STOP:
        return word ? "stop" : "stop string";
    case SM_FINISH_LENGTH:
        return "length";
    case SM_FINISH_CANCELLED:
        return "cancelled";
    case SM_FINISH_CONTEXT:
        return word ? "context" : "context full";
    default:
        return "error";
    }
}

bool told_keep(told_text *text, const sm_token *token) {
    if (token->length == 0) /* the first ones, too, before there is any memory */
        return true;
    if (text->capacity - text->length < token->length) {
        const size_t capacity = 2 * text->capacity + (size_t)token->length + 256;
        char *larger = realloc(text->data, capacity);
        if (larger == NULL) {
            cli_error("out of memory for the text");
            return false;
        }
        text->data = larger;
        text->capacity = capacity;
    }
    memcpy(text->data + text->length, token->text, (size_t)token->length);
    text->length += (size_t)token->length;
    return true;
}
