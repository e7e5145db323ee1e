/* Fuzz target of templates: the input is a template, rendered with a small conversation under small
 * limits. Whatever it is, memory comes back, the pieces cover the text, and text that no variable
 * gave is not the caller's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_template: %s\n", what);
        abort();
    }
}

static const char talk[] =
    "[{\"role\": \"user\", \"content\": \"h\xc3\xa9 <|x|>\", \"n\": 1.5}, {\"role\": \"assistant\","
    " \"content\": null, \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {\"a\":"
    " [1, true]}}}]}]";

static void check(const sm_template *t, sm_mem *mem, const sm_variable *variables, uint32_t n) {
    const sm_template_options options = {
        .clock_is_set = true, .max_steps = 200000, .max_output = 1 << 18, .max_memory = 4 << 20};
    sm_rendered out;
    sm_error error = {0};
    const sm_status status = sm_template_render(t, mem, variables, n, &options, &out, &error);
    require(status == SM_OK ? out.text != NULL : !out.text && error.message[0], "no reason");
    require(mem->peak < (uint64_t)24 << 20, "too much memory");
    uint64_t at = 0;
    for (uint32_t i = 0; !status && i < out.n_pieces; i++) {
        require(out.pieces[i].end > at, "an empty piece");
        require(n || !out.pieces[i].user, "text of nobody");
        at = out.pieces[i].end;
    }
    require(status || at == out.length, "pieces that do not cover the text");
    sm_rendered_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const sm_json_source source = {.name = "talk", .line = 1};
    sm_mem mem;
    sm_template *t;
    sm_json *json;
    sm_error error = {0};
    sm_mem_init(&mem, NULL, 0, NULL);
    if (sm_template_parse(&t, &mem, (const char *)data, size, "fuzz", &error)) {
        require(!t && error.message[0], "no reason");
    } else {
        require(sm_json_read(&json, &mem, talk, strlen(talk), &source, NULL, &error) == SM_OK,
                "a talk that is none");
        const sm_variable messages = {
            .name = "messages", .kind = SM_VARIABLE_JSON, .json = json, .value = SM_JSON_ROOT};
        check(t, &mem, &messages, 1);
        check(t, &mem, NULL, 0);
        sm_json_free(json);
        sm_template_free(t);
    }
    require(mem.in_use == 0, "a leak");
    return 0;
}
