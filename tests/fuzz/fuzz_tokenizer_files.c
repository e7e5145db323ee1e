/* Fuzz target of the readers of tokenizers: byte 0 says which ('j' tokenizer.json, 's' a
 * SentencePiece model, else tiktoken's ranks); up to the last zero byte comes the file (of ranks,
 * after a pattern and a line end), behind it a text. What is read encodes and decodes that text,
 * with every flag. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_tokenizer_files: %s\n", what);
        abort();
    }
}

/* Gives up on work that goes on for too long. */
static int32_t SM_CALL stop(void *user) {
    uint32_t *left = user;
    return *left == 0 || --*left == 0;
}

static void stream(const sm_tokenizer *t, const int32_t *ids, uint64_t n, uint32_t flags) {
    sm_detokenizer *d;
    const char *piece;
    uint64_t length;
    require(sm_detokenizer_new(&d, t, flags, NULL) == SM_OK, "no stream");
    for (uint64_t i = 0; i < n; i++)
        require(sm_detokenizer_feed(d, ids[i], &piece, &length, NULL) == SM_OK &&
                    strlen(piece) <= length,
                "the stream fails");
    require(sm_detokenizer_flush(d, &piece, &length, NULL) == SM_OK, "the stream does not end");
    sm_detokenizer_free(d);
}

static void decode(const sm_tokenizer *t, const int32_t *ids, uint64_t n_ids, uint32_t flags) {
    uint64_t n = 0, again;
    sm_error error;
    const sm_status status = sm_tokenizer_decode(t, ids, n_ids, flags, NULL, 0, &n, &error);
    if (status == SM_ERR_UNSUPPORTED) /* a pattern that takes too long */
        return;
    require(status == SM_OK || status == SM_ERR_BUFFER, "decoding fails");
    char *text = malloc(n + 1);
    require(sm_tokenizer_decode(t, ids, n_ids, flags, text, n, &again, &error) == SM_OK &&
                again == n,
            "decoding again is another");
    free(text);
}

static void look(const sm_tokenizer *t, const char *text, uint64_t length, uint32_t flags) {
    uint32_t patience = 2000;
    const sm_encode_options how = {
        .struct_size = sizeof how, .flags = flags, .cancel = stop, .cancel_user = &patience};
    const uint64_t room = 64 * length + 4096;
    int32_t *ids = malloc(room * sizeof *ids), *types = malloc(room * sizeof *types);
    sm_error error;
    uint64_t n;
    const sm_status status = sm_tokenizer_encode(t, text, length, &how, ids, room, &n, &error);
    require(status == SM_OK || error.message[0], "no reason");
    for (uint64_t i = 0; i < n && !status; i++)
        require(sm_tokenizer_token_text(t, ids[i], NULL) != NULL, "an id that is no token");
    for (uint32_t what = 0; what < 8 && !status; what++)
        decode(t, ids, n, what);
    if (!status)
        stream(t, ids, n, flags & SM_DECODE_SPECIAL);
    (void)sm_tokenizer_encode_pair(t, text, length / 2, text + length / 2, length - length / 2,
                                   &how, ids, types, room, &n, &error);
    free(ids);
    free(types);
}

static sm_status load(sm_tokenizer **t, sm_mem *mem, uint8_t kind, sm_str file, sm_pace *pace,
                      sm_error *error) {
    if (kind == 'j')
        return sm_tokenizer_from_json(t, mem, file, pace, error);
    if (kind == 's')
        return sm_tokenizer_from_sentencepiece(t, mem, file, pace, error);
    const sm_special special = {{"<|end|>", 7}, 300};
    const char *line = memchr(file.data, '\n', (size_t)file.length);
    const uint64_t n = line ? (uint64_t)(line - file.data) : file.length;
    const sm_str pattern = {file.data, n};
    const sm_str rest = {file.data + n + (line != NULL), file.length - n - (line != NULL)};
    return sm_tokenizer_from_tiktoken(t, mem, rest, pattern, &special, 1, pace, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    size_t end = size;
    while (end > 1 && data[end - 1])
        end--;
    const sm_str file = {(const char *)data + 1, end > 1 ? end - 2 : size - 1};
    const char *text = end > 1 ? (const char *)data + end : "";
    uint32_t patience = 5000;
    sm_pace pace = {.cancel = stop, .user = &patience};
    sm_mem mem;
    sm_tokenizer *t;
    sm_error error = {0};
    sm_mem_init(&mem, NULL, (uint64_t)1 << 30, NULL);
    const sm_status status = load(&t, &mem, data[0], file, &pace, &error);
    require(status == SM_OK || (!t && error.code == status && error.message[0]), "no reason");
    if (t) {
        (void)sm_tokenizer_name_specials(t, file, (sm_str){"{}", 2}, &error);
        for (uint32_t flags = 0; flags < 4; flags++)
            look(t, text, end > 1 ? size - end : 0, flags);
    }
    sm_tokenizer_free(t);
    require(mem.in_use == 0, "a leak");
    return 0;
}
