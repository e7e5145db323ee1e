/* Fuzz target of the reader of replies: the first byte chooses the format, the second how the text
 * is cut. Read whole and in pieces it gives the same message and the same deltas, all of them JSON.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/reply.h"
#include "smallmind/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_reply: %s\n", what);
        abort();
    }
}

static const char tools[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"properties\": "
    "{\"a\": {\"type\": \"string\"}, \"b\": {\"type\": \"integer\"}, \"c\": {\"anyOf\": "
    "[{\"type\": "
    "\"object\"}, {\"$ref\": \"#/$defs/c\"}]}}, \"$defs\": {\"c\": {\"$ref\": \"#/$defs/c\"}}}}}]";

static void check_json(sm_mem *mem, const char *text, uint64_t n) {
    const sm_json_source source = {.name = "fuzz", .line = 1};
    sm_json *json;
    require(sm_json_read(&json, mem, text, n, &source, NULL, NULL) == SM_OK, "no JSON");
    sm_json_free(json);
}

static int32_t on_delta(void *user, const sm_delta *delta) {
    sm_builder *sum = user;
    check_json(sum->mem, delta->json, delta->json_length);
    require(delta->text[delta->length] == 0, "no zero behind a delta");
    if (delta->kind == SM_DELTA_CONTENT)
        sm_builder_add(sum, delta->text, delta->length);
    return 0;
}

/* The message, in pieces of lengths that the seed gives (0: whole). */
static sm_builder read_reply(sm_mem *mem, const char *format, const char *text, size_t size,
                             uint64_t seed, sm_builder *sum, uint32_t *n_calls) {
    sm_builder message = sm_builder_of(mem, 0);
    sm_reply_info info = {.struct_size = sizeof info};
    sm_reply *reply;
    sm_reply_options o = {.struct_size = sizeof o, .format = format, .tools = tools};
    require(sm_reply_new(&reply, &o, NULL) == SM_OK, "no reply");
    for (size_t at = 0; at < size;) {
        const size_t left = size - at, piece = seed ? 1 + sm_mix64(seed++) % 7 : left;
        const size_t n = piece < left ? piece : left;
        require(sm_reply_feed(reply, text + at, n, on_delta, sum, NULL) == SM_OK, "feed");
        at += n;
    }
    require(sm_reply_finish(reply, on_delta, sum, NULL) == SM_OK, "finish");
    uint64_t n;
    sm_reply_message(reply, NULL, 0, &n, NULL);
    sm_builder_repeat(&message, ' ', n);
    require(sm_reply_message(reply, message.data, n, &n, NULL) == SM_OK, "message");
    sm_reply_get_info(reply, &info, NULL);
    *n_calls = info.n_calls;
    check_json(mem, message.data, n);
    sm_reply_free(reply);
    return message;
}

static bool same(const sm_builder *a, const sm_builder *b) {
    return a->length == b->length && (!a->length || !memcmp(a->data, b->data, (size_t)a->length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sm_mem mem;
    uint32_t calls[2];
    if (size < 2)
        return 0;
    sm_mem_init(&mem, NULL, 0, NULL);
    const uint32_t which = data[0] % (sm_reply_n_formats + 1);
    const char *format = which ? sm_reply_formats[which - 1].own : "auto";
    const char *text = (const char *)data + 2;
    sm_builder sums[2] = {sm_builder_of(&mem, 0), sm_builder_of(&mem, 0)};
    sm_builder whole = read_reply(&mem, format, text, size - 2, 0, &sums[0], &calls[0]);
    sm_builder cut = read_reply(&mem, format, text, size - 2, data[1] + 1u, &sums[1], &calls[1]);
    require(same(&whole, &cut) && calls[0] == calls[1], "not the same in pieces");
    require(same(&sums[0], &sums[1]), "not the same deltas");
    sm_builder_free(&whole);
    sm_builder_free(&cut);
    sm_builder_free(&sums[0]);
    sm_builder_free(&sums[1]);
    require(mem.in_use == 0, "a leak");
    return 0;
}
