/* bias.c - `--logit-bias`: tokens made likelier or less likely. */
#include "bias.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 64 /* that a text may have */

typedef struct biases {
    sm_logit_bias *all;
    uint64_t n;
} biases;

static int misuse(const char *given, const char *why) {
    return cli_misuse("run", "--logit-bias: \"%s\" %s", given, why);
}

/* Behind the last '=': a number, or -inf. */
static bool read_bias(const char *text, double *bias) {
    char *end;
    if (strcmp(text, "-inf") == 0) {
        *bias = -INFINITY;
        return true;
    }
    *bias = strtod(text, &end);
    return end != text && *end == 0 && isfinite(*bias);
}

static bool is_id(const char *text, size_t length) {
    return length > 0 && length < 10 && strspn(text, "0123456789") >= length;
}

static int add(biases *to, int32_t token, double bias) {
    sm_logit_bias *larger = realloc(to->all, (size_t)(to->n + 1) * sizeof *larger);
    if (larger == NULL)
        return cli_error("out of memory for biases");
    to->all = larger;
    larger[to->n++] = (sm_logit_bias){.token = token, .bias = bias};
    return CLI_GO_ON;
}

static int add_text(biases *to, const sm_tokenizer *tokenizer, const char *given, const char *text,
                    size_t length, double bias) {
    const sm_encode_options how = {.struct_size = sizeof how, .flags = SM_ENCODE_SPECIAL};
    int32_t ids[TOKENS];
    uint64_t n;
    sm_error error;
    const bool quoted = length >= 2 && text[0] == '"' && text[length - 1] == '"';
    const sm_status status = sm_tokenizer_encode(tokenizer, text + quoted, length - 2 * quoted,
                                                 &how, ids, TOKENS, &n, &error);
    if (status == SM_ERR_BUFFER)
        return misuse(given, "has more than 64 tokens");
    if (status != SM_OK)
        return cli_fail(&error);
    if (n == 0)
        return misuse(given, "names no token");
    int code = CLI_GO_ON;
    for (uint64_t i = 0; i < n && code == CLI_GO_ON; i++)
        code = add(to, ids[i], bias);
    return code;
}

static int read_one(biases *to, const sm_tokenizer *tokenizer, const char *given) {
    const char *equals = strrchr(given, '=');
    double bias;
    if (equals == NULL || !read_bias(equals + 1, &bias))
        return misuse(given, "is no TOKEN=BIAS, BIAS being a number or -inf");
    const size_t length = (size_t)(equals - given);
    return is_id(given, length) ? add(to, (int32_t)strtol(given, NULL, 10), bias)
                                : add_text(to, tokenizer, given, given, length, bias);
}

int bias_read(const cli_texts *given, const sm_model *model, sm_sampling *sampling) {
    sm_tokenizer *tokenizer;
    sm_error error;
    biases to = {0};
    int code = CLI_GO_ON;
    if (given->n == 0)
        return CLI_GO_ON;
    if (sm_model_get_tokenizer(model, &tokenizer, &error) != SM_OK)
        return cli_fail(&error);
    for (uint32_t i = 0; i < given->n && code == CLI_GO_ON; i++)
        code = read_one(&to, tokenizer, given->items[i]);
    sm_tokenizer_free(tokenizer);
    sampling->bias = to.all;
    sampling->n_bias = to.n;
    return code;
}
