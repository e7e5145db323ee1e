/* Fuzz target of JSON Schema: the first byte's bits are options, what follows is a schema up to a
 * zero byte, what follows that steers a walk through what may come next. A text that it may end
 * with is JSON, and the schema's constraint takes it at once, too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "constrain/constrain.h"
#include "format/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_schema: %s\n", what);
        abort();
    }
}

static void require_json(sm_constraint *c, const char *text, size_t n) {
    sm_mem mem;
    sm_json *json;
    sm_error error;
    sm_constraint_state *state;
    sm_mem_init(&mem, NULL, 0, NULL);
    const sm_status status = sm_json_read(&json, &mem, text, n, NULL, NULL, &error);
    require(status != SM_ERR_FORMAT, "what may end is no JSON");
    if (!status)
        sm_json_free(json);
    if (sm_constraint_state_new(&state, c, NULL))
        return;
    const sm_status whole = sm_constraint_accept_text(state, text, n, NULL);
    require(whole != SM_ERR_ARGUMENT, "at once it is not the same");
    require(whole || sm_constraint_can_end(state), "it ends otherwise");
    sm_constraint_state_free(state);
}

/* The next byte from `wish` on that may come; false: none may, or a limit. */
static bool go_on(sm_constraint_state *state, uint8_t wish, char *byte) {
    for (unsigned i = 0; i < 256; i++) {
        *byte = (char)(uint8_t)(wish + i);
        const sm_status status = sm_constraint_accept_text(state, byte, 1, NULL);
        if (status != SM_ERR_ARGUMENT)
            return !status;
    }
    return false;
}

static void walk(sm_constraint *c, const uint8_t *wishes, size_t n) {
    char text[512];
    size_t length = 0;
    sm_constraint_state *state;
    if (sm_constraint_state_new(&state, c, NULL))
        return;
    while (length < sizeof text && go_on(state, n ? wishes[length % n] : 'a', &text[length])) {
        length++;
        if (sm_constraint_can_end(state))
            require_json(c, text, length);
    }
    require(!sm_constraint_rewind(state, length, NULL), "it does not go back");
    sm_constraint_state_free(state);
}

/* The hook ends what takes too long: a fuzzer counts seconds. */
static int32_t count(void *user) {
    return ++*(uint32_t *)user > 400;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > 4096)
        return 0;
    const char *text = (const char *)data + 1;
    const size_t n = strnlen(text, size - 1), rest = size - 1 - n;
    const sm_constraint_options options = {.struct_size = sizeof options, .memory_limit = 64 << 20};
    uint32_t asked = 0;
    const sm_schema_options how = {.struct_size = sizeof how,
                                   .draft = data[0] & 4 ? 7 : 0,
                                   .spaces = (data[0] & 3) % 3,
                                   .max_spaces = 2,
                                   .flags = data[0] >> 3 & 3,
                                   .cancel = count,
                                   .cancel_user = &asked};
    sm_constraint *c;
    sm_error error;
    if (sm_constraint_new_schema(&c, NULL, text, n, &how, &options, &error)) {
        require(error.message[0] != '\0', "an error without a text");
        return 0;
    }
    walk(c, (const uint8_t *)text + n + (rest > 0), rest > 0 ? rest - 1 : 0);
    sm_constraint_free(c);
    return 0;
}
