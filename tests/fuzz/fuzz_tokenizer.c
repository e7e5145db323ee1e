/* Fuzz target of the tokenizers: a vocabulary and a text made of the input.
 *
 * Byte 0: kind (2 bits), encode flags (2 bits), three switches. Byte 1: number of the
 * pre-tokenizer. Then four parts, each ended by a zero byte: tokens, one a line, the first
 * character being the type digit; merges, one a line; charsmap in hexadecimal; the rest of
 * the input is the text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/internal.h"

#define MAX_LINES 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_tokenizer: %s\n", what);
        abort();
    }
}

/* What is left of the input. */
typedef struct input {
    const char *at, *end;
} input;

static input take_part(input *in) {
    const char *zero = memchr(in->at, 0, (size_t)(in->end - in->at));
    input part = {in->at, zero ? zero : in->end};
    in->at = zero ? zero + 1 : in->end;
    return part;
}

static uint64_t take_lines(input part, sm_str *lines) {
    uint64_t n = 0;
    while (part.at < part.end && n < MAX_LINES) {
        const char *line_end = memchr(part.at, '\n', (size_t)(part.end - part.at));
        const char *end = line_end ? line_end : part.end;
        lines[n++] = (sm_str){part.at, (uint64_t)(end - part.at)};
        part.at = line_end ? line_end + 1 : part.end;
    }
    return n;
}

static uint64_t take_hex(input part, char *out, uint64_t capacity) {
    static const char digits[] = "0123456789abcdef";
    uint64_t n = 0;
    for (; part.end - part.at >= 2 && n < capacity; part.at += 2) {
        const char *high = memchr(digits, part.at[0], 16), *low = memchr(digits, part.at[1], 16);
        out[n++] = (char)((high ? high - digits : 0) * 16 + (low ? low - digits : 0));
    }
    return n;
}

static void look(const sm_tokenizer *t, const char *text, size_t length, uint32_t flags) {
    uint64_t room = length * 8 + 64, n, n_bytes, total = 0;
    int32_t *ids = malloc(room * sizeof *ids);
    require(ids != NULL, "out of memory");
    const sm_encode_options how = {.struct_size = sizeof how, .flags = flags};
    sm_status status = sm_tokenizer_encode(t, text, length, &how, ids, room, &n, NULL);
    require(status == SM_OK || (status == SM_ERR_BUFFER && n > room), "encode fails");
    n = status ? 0 : n;
    require(!t->dense || n <= length + 16, "more ids than promised");
    char *back = malloc(n * (t->max_piece + 1) + 1);
    require(back != NULL, "out of memory");
    require(sm_tokenizer_decode(t, ids, n, flags, back, n * (t->max_piece + 1) + 1, &n_bytes,
                                NULL) == SM_OK,
            "decode fails");
    sm_detokenizer *stream;
    require(sm_detokenizer_new(&stream, t, flags, NULL) == SM_OK, "no stream");
    for (uint64_t i = 0; i <= n; i++) {
        const char *piece;
        uint64_t k;
        status = i < n ? sm_detokenizer_feed(stream, ids[i], &piece, &k, NULL)
                       : sm_detokenizer_flush(stream, &piece, &k, NULL);
        require(status == SM_OK && total + k <= n_bytes && !memcmp(piece, back + total, k),
                "the stream differs");
        total += k;
    }
    require(total == n_bytes, "the stream is short");
    sm_detokenizer_free(stream);
    free(back);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const models[] = {"gpt2", "llama", "bert", "t5"};
    static sm_str tokens[MAX_LINES], merges[MAX_LINES];
    static float scores[MAX_LINES];
    static int32_t types[MAX_LINES];
    static char charsmap[65536];
    if (size < 2)
        return 0;
    input in = {(const char *)data + 2, (const char *)data + size};
    uint32_t n_pre = 0, what = data[0];
    while (sm_pre_name(n_pre))
        n_pre++;
    sm_vocab v = {.model = {models[what & 3], strlen(models[what & 3])},
                  .pre = {sm_pre_name(data[1] % n_pre), strlen(sm_pre_name(data[1] % n_pre))},
                  .tokens = tokens,
                  .scores = scores,
                  .types = types,
                  .merges = merges,
                  .bos = SM_UNSET,
                  .eos = SM_UNSET,
                  .unk = SM_UNSET,
                  .add_bos = SM_UNSET,
                  .add_eos = SM_UNSET,
                  .add_space_prefix = what >> 4 & 1,
                  .remove_extra_whitespaces = what >> 5 & 1,
                  .escape_whitespaces = 1,
                  .ignore_merges = what >> 6 & 1,
                  .lowercase = what >> 6 & 1,
                  .strip_accents = SM_UNSET};
    v.n_tokens = take_lines(take_part(&in), tokens);
    for (uint64_t i = 0; i < v.n_tokens; i++) {
        scores[i] = -(float)(i * 7 % 13);
        types[i] = tokens[i].length ? tokens[i].data[0] - '0' : 0;
        if (tokens[i].length)
            tokens[i] = (sm_str){tokens[i].data + 1, tokens[i].length - 1};
    }
    v.n_merges = take_lines(take_part(&in), merges);
    v.charsmap = (sm_str){charsmap, take_hex(take_part(&in), charsmap, sizeof charsmap)};
    sm_mem mem;
    sm_tokenizer *t;
    sm_error error = {0};
    sm_mem_init(&mem, NULL, 0, NULL);
    sm_status status = sm_tokenizer_build(&t, &mem, &v, &error);
    require(status == SM_OK || (!t && error.code == status && error.message[0]), "no reason");
    if (t)
        look(t, in.at, (size_t)(in.end - in.at), what >> 2 & 3);
    sm_tokenizer_free(t);
    require(mem.in_use == 0, "a leak");
    return 0;
}
