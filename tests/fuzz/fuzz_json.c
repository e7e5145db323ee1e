/* Fuzz target of the JSON reader: the input is a text; what it holds is looked at from end to end,
 * and a text that was read and is written out again from what was seen reads the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_json: %s\n", what);
        abort();
    }
}

typedef struct text {
    char *data;
    size_t n, capacity;
} text;

static void put(text *t, const char *data, size_t n) {
    while (t->n + n > t->capacity) {
        t->capacity = 2 * t->capacity + 256;
        t->data = realloc(t->data, t->capacity);
        require(t->data != NULL, "out of memory");
    }
    for (size_t i = 0; i < n; i++)
        t->data[t->n++] = data[i];
}

static void put_string(text *out, const char *data, uint64_t n) {
    put(out, "\"", 1);
    for (uint64_t i = 0; i < n; i++) {
        char escape[8];
        if ((uint8_t)data[i] < 0x20 || data[i] == '"' || data[i] == '\\') {
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)(uint8_t)data[i]);
            put(out, escape, 6);
        } else {
            put(out, data + i, 1);
        }
    }
    put(out, "\"", 1);
}

static void write_value(text *out, const sm_json *json, sm_json_value v);

static void write_items(text *out, const sm_json *json, sm_json_value v, bool object) {
    uint64_t length;
    uint32_t n = 0;
    put(out, object ? "{" : "[", 1);
    for (sm_json_value i = sm_json_first(json, v); i != SM_JSON_NONE;
         i = sm_json_next(json, v, i)) {
        put(out, ",", n++ > 0);
        if (object) {
            const char *name = sm_json_text(json, i, &length);
            put_string(out, name, length);
            put(out, ":", 1);
        }
        write_value(out, json, object ? sm_json_member(json, i) : i);
    }
    require(n == sm_json_count(json, v), "not as many items as it says");
    put(out, object ? "}" : "]", 1);
}

static void write_value(text *out, const sm_json *json, sm_json_value v) {
    uint64_t length, u;
    int64_t i;
    double f;
    const char *bytes = sm_json_text(json, v, &length);
    switch (sm_json_kind_of(json, v)) {
    case SM_JSON_NULL:
        put(out, "null", 4);
        break;
    case SM_JSON_FALSE:
        put(out, "false", 5);
        break;
    case SM_JSON_TRUE:
        put(out, "true", 4);
        break;
    case SM_JSON_NUMBER:
        put(out, bytes, length);
        if (sm_json_double(json, v, &f)) {
            char copy[64] = "";
            memcpy(copy, bytes, length < 63 ? (size_t)length : 0);
            require(!copy[0] || strtod(copy, NULL) == f, "not strtod's number");
            if (sm_json_u64(json, v, &u))
                require((double)u == f, "two integers for one number");
            if (sm_json_i64(json, v, &i))
                require((double)i == f, "two numbers for one number");
        }
        break;
    case SM_JSON_STRING:
        put_string(out, bytes, length);
        break;
    case SM_JSON_ARRAY:
    case SM_JSON_OBJECT:
        write_items(out, json, v, sm_json_kind_of(json, v) == SM_JSON_OBJECT);
        break;
    default:
        require(false, "a value of no kind");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sm_mem mem;
    sm_json *json, *again;
    sm_error error = {0};
    uint64_t used;
    const sm_json_source source = {.name = "fuzz", .line = 1};
    text first = {0}, second = {0};
    sm_mem_init(&mem, NULL, 0, NULL);
    sm_status status = sm_json_read(&json, &mem, data, size, &source, &used, &error);
    require(status == SM_OK || (!json && error.code == status && error.message[0]), "no reason");
    require(mem.peak <= 10 * (uint64_t)size + 4096 + 3 * 65536, "too much memory");
    if (json) {
        require(used <= size, "more than there is");
        write_value(&first, json, SM_JSON_ROOT);
        require(sm_json_read(&again, &mem, first.data, first.n, &source, NULL, &error) == SM_OK,
                "what was read cannot be written");
        write_value(&second, again, SM_JSON_ROOT);
        require(first.n == second.n && !memcmp(first.data, second.data, first.n), "not the same");
        sm_json_free(again);
    }
    sm_json_free(json);
    free(first.data);
    free(second.data);
    require(mem.in_use == 0, "a leak");
    return 0;
}
