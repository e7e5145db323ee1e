/* config.json: looking keys up, and what tables make of them. */
#include "format/hf.h"

#include <math.h>
#include <string.h>

#define MAX_MEMBERS 4096
#define BIASED "attention_bias|qkv_bias|use_qkv_bias"
#define COUNT_MAX (1u << 30)

/* ---- texts with bars --------------------------------------------------------------------- */

/* The next of `*list`, which is advanced behind it. */
static bool next_of(const char **list, const char **text, uint64_t *length) {
    if (!**list)
        return false;
    *text = *list;
    *length = strcspn(*list, "|");
    *list += *length;
    *list += **list == '|';
    return true;
}

static bool is_among(const char *list, const char *name, uint64_t length) {
    const char *text;
    uint64_t n;
    while (next_of(&list, &text, &n))
        if (n == length && memcmp(text, name, (size_t)n) == 0)
            return true;
    return false;
}

/* A text with one * at its beginning or its end, or none. */
static bool fits(const char *pattern, const char *name, uint64_t length) {
    const uint64_t n = strlen(pattern);
    if (n && pattern[n - 1] == '*')
        return length >= n - 1 && memcmp(name, pattern, (size_t)n - 1) == 0;
    if (pattern[0] == '*')
        return length >= n - 1 && memcmp(name + length - (n - 1), pattern + 1, (size_t)n - 1) == 0;
    return length == n && memcmp(name, pattern, (size_t)n) == 0;
}

/* ---- looking up -------------------------------------------------------------------------- */

void hf_fail(hf_reader *r, sm_status status, const char *name, const char *what) {
    if (!r->status)
        r->status = sm_fail(r->error, status, "%s: key '%.*s' %s", r->config_shown,
                            (int)strcspn(name, "|"), name, what);
}

sm_json_value hf_find_in(hf_reader *r, sm_json_value in, const char *names) {
    const char *text;
    char name[64];
    uint64_t n;
    while (next_of(&names, &text, &n)) {
        sm_format(name, sizeof name, "%.*s", (int)n, text);
        const sm_json_value v = sm_json_get(r->json, in, name);
        const sm_json_kind kind = sm_json_kind_of(r->json, v);
        if (kind != SM_JSON_ABSENT && kind != SM_JSON_NULL)
            return v;
    }
    return SM_JSON_NONE;
}

sm_json_value hf_find(hf_reader *r, const char *names) {
    uint32_t i = 0;
    while (i < r->n_asked && r->asked[i] != names && strcmp(r->asked[i], names) != 0)
        i++;
    if (i == r->n_asked && i < HF_MAX_ASKED)
        r->asked[r->n_asked++] = names;
    return hf_find_in(r, r->config, names);
}

bool hf_has(hf_reader *r, const char *names) {
    return hf_find(r, names) != SM_JSON_NONE;
}

static uint32_t count_of(hf_reader *r, sm_json_value v, const char *names) {
    uint64_t value;
    double real;
    if (sm_json_double(r->json, v, &real) && real >= 0 && real <= COUNT_MAX && real == floor(real))
        return (uint32_t)real; /* 8.0 as well */
    if (!sm_json_u64(r->json, v, &value))
        hf_fail(r, SM_ERR_FORMAT, names, "is no whole number from 0");
    else if (value > COUNT_MAX)
        hf_fail(r, SM_ERR_FORMAT, names, "is too large");
    return 0;
}

uint32_t hf_count_or(hf_reader *r, const char *names, uint32_t fallback) {
    const sm_json_value v = hf_find(r, names);
    return v == SM_JSON_NONE ? fallback : count_of(r, v, names);
}

static double number_of(hf_reader *r, sm_json_value v, const char *names) {
    double value = 0;
    if (!sm_json_double(r->json, v, &value) || !(fabs(value) < 1e30))
        hf_fail(r, SM_ERR_FORMAT, names, "is no number, or none that a float holds");
    return value;
}

double hf_number_or(hf_reader *r, const char *names, double fallback) {
    const sm_json_value v = hf_find(r, names);
    return v == SM_JSON_NONE ? fallback : number_of(r, v, names);
}

static bool flag_of(hf_reader *r, sm_json_value v, const char *names) {
    const sm_json_kind kind = sm_json_kind_of(r->json, v);
    if (kind != SM_JSON_TRUE && kind != SM_JSON_FALSE)
        hf_fail(r, SM_ERR_FORMAT, names, "is neither true nor false");
    return kind == SM_JSON_TRUE;
}

bool hf_flag_or(hf_reader *r, const char *names, bool fallback) {
    const sm_json_value v = hf_find(r, names);
    return v == SM_JSON_NONE ? fallback : flag_of(r, v, names);
}

bool hf_is(hf_reader *r, const char *names, const char *text) {
    return sm_json_is(r->json, hf_find(r, names), text);
}

/* ---- writing ----------------------------------------------------------------------------- */

static bool was_put(const hf_reader *r, const char *key) {
    for (uint32_t i = 0; key && i < r->n_put; i++)
        if (!strcmp(r->put[i], key))
            return true;
    return false;
}

/* The key's whole name; false if it was written, or nothing is to be written any more. */
static bool begin_key(hf_reader *r, const char *key, char *name, size_t capacity) {
    if (r->status || r->n_put == HF_MAX_ASKED || was_put(r, key))
        return false;
    r->put[r->n_put++] = key;
    if (starts_with(key, "general.") || starts_with(key, "tokenizer."))
        sm_format(name, capacity, "%s", key);
    else
        sm_format(name, capacity, "%s.%s", r->family->architecture, key);
    return true;
}

void hf_put_count(hf_reader *r, const char *key, uint32_t value) {
    char name[128];
    if (begin_key(r, key, name, sizeof name))
        sm_gguf_put_u32(r->keys, name, value);
}

void hf_put_number(hf_reader *r, const char *key, double value) {
    char name[128];
    if (begin_key(r, key, name, sizeof name))
        sm_gguf_put_f32(r->keys, name, (float)value);
}

void hf_put_flag(hf_reader *r, const char *key, bool value) {
    char name[128];
    if (begin_key(r, key, name, sizeof name))
        sm_gguf_put_bool(r->keys, name, value);
}

void hf_put_text(hf_reader *r, const char *key, const char *value) {
    char name[128];
    if (begin_key(r, key, name, sizeof name))
        sm_gguf_put_str(r->keys, name, value, strlen(value));
}

void hf_put_flags(hf_reader *r, const char *key, const bool *value, uint32_t n) {
    char name[128];
    if (begin_key(r, key, name, sizeof name))
        sm_gguf_put_array(r->keys, name, SM_KEY_BOOL, value, n);
}

void hf_put_floats(hf_reader *r, const char *key, const float *value, uint32_t n) {
    char name[128];
    if (begin_key(r, key, name, sizeof name))
        sm_gguf_put_array(r->keys, name, SM_KEY_FLOAT32, value, n);
}

void hf_put_counts(hf_reader *r, const char *key, const uint32_t *value, uint32_t n) {
    char name[128];
    if (begin_key(r, key, name, sizeof name))
        sm_gguf_put_array(r->keys, name, SM_KEY_UINT32, value, n);
}

void hf_put_texts(hf_reader *r, const char *key, const sm_gguf_str *value, uint32_t n) {
    char name[128];
    if (begin_key(r, key, name, sizeof name))
        sm_gguf_put_array(r->keys, name, SM_KEY_STRING, value, n);
}

float *hf_make(hf_reader *r, const char *name, uint64_t n) {
    if (r->status)
        return NULL;
    if (r->n_made == sizeof r->made / sizeof *r->made)
        return NULL; /* no family makes so many */
    float *value = sm_alloc_array(r->mem, n, sizeof *value);
    if (!value) {
        r->status = sm_fail(r->error, SM_ERR_NOMEM, "%s: out of memory", r->shown);
        return NULL;
    }
    r->made[r->n_made++] = (hf_made){name, n, value};
    return value;
}

/* ---- tables ------------------------------------------------------------------------------ */

static bool is_neutral(const hf_reader *r, sm_json_value v) {
    double number;
    uint64_t length;
    switch (sm_json_kind_of(r->json, v)) {
    case SM_JSON_ABSENT:
    case SM_JSON_NULL:
    case SM_JSON_FALSE:
        return true;
    case SM_JSON_NUMBER:
        return sm_json_double(r->json, v, &number) && number == 0;
    case SM_JSON_STRING:
        sm_json_text(r->json, v, &length);
        return length == 0;
    case SM_JSON_ARRAY:
    case SM_JSON_OBJECT:
        return sm_json_count(r->json, v) == 0;
    default:
        return false;
    }
}

static void check_is(hf_reader *r, const hf_key *k, sm_json_value v) {
    uint64_t length;
    const char *text = sm_json_text(r->json, v, &length);
    if (r->status || v == SM_JSON_NONE)
        return;
    if (sm_json_kind_of(r->json, v) != SM_JSON_STRING)
        hf_fail(r, SM_ERR_FORMAT, k->names, "is no text");
    else if (!is_among(k->value, text, length))
        r->status = sm_fail(r->error, SM_ERR_UNSUPPORTED,
                            "%s: key '%.*s' is '%.*s', which this version does not compute "
                            "here (it computes %s)",
                            r->config_shown, (int)strcspn(k->names, "|"), k->names,
                            (int)(length < 64 ? length : 64), text, k->value);
}

/* Where config.json has no value. */
static void put_fallback(hf_reader *r, const hf_key *k) {
    double value = 0;
    if (was_put(r, k->key))
        return;
    if (k->value && !strcmp(k->value, "!"))
        hf_fail(r, SM_ERR_MISSING, k->names, "is missing");
    if (r->status || !k->value || !sm_json_parse_double(k->value, strlen(k->value), &value))
        return;
    if (k->rule == HF_COUNT)
        hf_put_count(r, k->key, (uint32_t)value);
    else if (k->rule == HF_NUMBER)
        hf_put_number(r, k->key, value);
    else
        hf_put_flag(r, k->key, value != 0);
}

static void read_key(hf_reader *r, const hf_key *k) {
    const sm_json_value v = hf_find(r, k->names);
    if (k->rule == HF_IS)
        check_is(r, k, v);
    else if (k->rule == HF_OFF && !is_neutral(r, v))
        hf_fail(r, SM_ERR_UNSUPPORTED, k->names, "says what this version does not compute here");
    else if (k->rule == HF_ON && v != SM_JSON_NONE && !flag_of(r, v, k->names))
        hf_fail(r, SM_ERR_UNSUPPORTED, k->names,
                "is false, which this version does not compute here");
    if (k->rule == HF_IS || k->rule == HF_OFF || k->rule == HF_ON || k->rule == HF_SKIP)
        return;
    if (v == SM_JSON_NONE)
        put_fallback(r, k);
    else if (k->rule == HF_COUNT)
        hf_put_count(r, k->key, count_of(r, v, k->names));
    else if (k->rule == HF_NUMBER)
        hf_put_number(r, k->key, number_of(r, v, k->names));
    else
        hf_put_flag(r, k->key, flag_of(r, v, k->names));
}

/* Whether one of a table's rows looks at a key of that name. */
static bool table_has(const hf_key *table, const char *names) {
    const char *text;
    uint64_t n;
    while (table && next_of(&names, &text, &n))
        for (const hf_key *k = table; k->rule; k++)
            if (is_among(k->names, text, n))
                return true;
    return false;
}

void hf_read_table(hf_reader *r, const hf_key *table) {
    for (const hf_key *k = table; k && k->rule && !r->status; k++)
        read_key(r, k);
}

static void read_tables(hf_reader *r) {
    const hf_key *own = r->family->keys;
    hf_read_table(r, own);
    for (const hf_key *k = hf_common_keys; k->rule && !r->status; k++)
        if (!table_has(own, k->names))
            read_key(r, k);
}

/* ---- what is refused --------------------------------------------------------------------- */

static bool is_known(const hf_reader *r, const char *name, uint64_t length) {
    for (uint32_t i = 0; i < r->n_asked; i++)
        if (is_among(r->asked[i], name, length))
            return true;
    for (const char *const *h = hf_harmless; *h; h++)
        if (fits(*h, name, length))
            return true;
    return false;
}

void hf_refuse_unread(hf_reader *r) {
    for (sm_json_value m = sm_json_first(r->json, r->config); m != SM_JSON_NONE && !r->status;
         m = sm_json_next(r->json, r->config, m)) {
        uint64_t length;
        const char *name = sm_json_text(r->json, m, &length);
        if (is_neutral(r, sm_json_member(r->json, m)) || is_known(r, name, length))
            continue;
        r->status = sm_fail(r->error, SM_ERR_UNSUPPORTED,
                            "%s: key '%.*s' is not one that this version knows for %s '%.*s': it "
                            "may ask for what is not computed",
                            r->config_shown, (int)(length < 100 ? length : 100), name,
                            r->model ? "an adapter of" : "model_type",
                            (int)strcspn(r->family->types, "|"), r->family->types);
    }
}

static void refuse_twice(hf_reader *r, sm_json_value object) {
    char text[128];
    if (sm_json_count(r->json, object) > MAX_MEMBERS)
        r->status = sm_fail(r->error, SM_ERR_UNSUPPORTED, "%s: more than %d keys", r->config_shown,
                            MAX_MEMBERS);
    for (sm_json_value m = sm_json_first(r->json, object); m != SM_JSON_NONE && !r->status;
         m = sm_json_next(r->json, object, m)) {
        uint64_t length;
        const char *name = sm_json_text(r->json, m, &length);
        if (length >= sizeof text || memchr(name, 0, (size_t)length))
            continue; /* nobody looks such a name up */
        sm_format(text, sizeof text, "%.*s", (int)length, name);
        if (sm_json_get(r->json, object, text) != sm_json_member(r->json, m))
            hf_fail(r, SM_ERR_FORMAT, text, "appears more than once");
    }
}

/* ---- the whole --------------------------------------------------------------------------- */

static void find_family(hf_reader *r) {
    const sm_json_value v = hf_find(r, "model_type");
    uint64_t length;
    const char *type = sm_json_text(r->json, v, &length);
    if (r->status)
        return;
    if (sm_json_kind_of(r->json, v) != SM_JSON_STRING) {
        hf_fail(r, SM_ERR_MISSING, "model_type", "is missing, or is no text");
        return;
    }
    r->family = hf_family_find(type, length);
    if (!r->family)
        r->status = sm_fail(r->error, SM_ERR_UNSUPPORTED,
                            "%s: key 'model_type': '%.*s' cannot be computed from a directory by "
                            "this version",
                            r->config_shown, (int)(length < 64 ? length : 64), type);
    else if (r->family->instead)
        r->family = r->family->instead(r);
}

/* Whether the embedding is the output layer, too. Where a model has parts that read other things
 * the key may stand inside and outside of the text's: if they differ the tensors decide. */
static void read_tied(hf_reader *r) {
    const char *name = "tie_word_embeddings";
    const sm_json_value v = hf_find(r, name);
    const sm_json_kind whole = sm_json_kind_of(r->json, sm_json_get(r->json, SM_JSON_ROOT, name));
    const bool flag = whole == SM_JSON_TRUE || whole == SM_JSON_FALSE;
    r->tied_said = v != SM_JSON_NONE;
    r->tied = hf_flag_or(r, name, r->family->tied);
    if (r->pictures && flag && r->tied != (whole == SM_JSON_TRUE))
        r->tied = r->tied_said = false;
}

/* Sizes that tensors are put in order by. What is missing there its own row of a table says. */
static void read_sizes(hf_reader *r) {
    r->n_embd = hf_count_or(r, "hidden_size|n_embd|d_model", 0);
    r->n_layer = hf_count_or(r, "num_hidden_layers|n_layer|n_layers|num_layers", 0);
    r->n_head = hf_count_or(r, "num_attention_heads|n_head|n_heads", 0);
    r->n_head_kv = hf_count_or(r, "num_key_value_heads|num_kv_heads|n_head_kv", r->n_head);
    r->head_dim = hf_count_or(r, "head_dim", r->n_head ? r->n_embd / r->n_head : 0);
    r->n_vocab = hf_count_or(r, "vocab_size", 0);
    read_tied(r);
    r->biased = sm_json_kind_of(r->json, hf_find_in(r, r->config, BIASED)) == SM_JSON_TRUE;
}

static void refuse_quantized(hf_reader *r) {
    if (hf_has(r, "quantization_config|compression_config"))
        hf_fail(r, SM_ERR_UNSUPPORTED, "quantization_config",
                "is of a model that reads more than text, which this version does not compute");
}

/* Where the text model's keys are in an object of their own. */
static void choose_object(hf_reader *r) {
    const sm_json_value text = sm_json_get(r->json, SM_JSON_ROOT, "text_config");
    r->config = SM_JSON_ROOT;
    if (sm_json_kind_of(r->json, SM_JSON_ROOT) != SM_JSON_OBJECT)
        r->status = sm_fail(r->error, SM_ERR_FORMAT, "%s: is no JSON object", r->config_shown);
    else if (sm_json_kind_of(r->json, text) == SM_JSON_OBJECT && !hf_has(r, "hidden_size")) {
        refuse_quantized(r); /* which stands outside of it */
        r->config = text;
        r->pictures = true;
    }
}

void hf_read_json(hf_reader *r, const void *text, uint64_t length) {
    const sm_json_source from = {r->config_shown, 1, NULL, NULL};
    if (!r->status)
        r->status = sm_json_read(&r->json, r->mem, text, length, &from, NULL, r->error);
    if (!r->status)
        choose_object(r);
    if (!r->status)
        refuse_twice(r, r->config);
}

void hf_read_config(hf_reader *r, const void *text, uint64_t length) {
    hf_read_json(r, text, length);
    if (!r->status)
        find_family(r);
    if (r->status)
        return;
    read_sizes(r);
    hf_put_text(r, SM_K_ARCHITECTURE, r->family->architecture);
    hf_put_text(r, SM_K_TYPE, "model");
    hf_read_quantized(r);
    if (r->family->more)
        r->family->more(r);
    read_tables(r);
    if (!r->family->no_rope && !r->status)
        hf_read_rope(r);
    hf_put_count(r, SM_K_HEADS_KV, r->n_head_kv);
    if (r->n_vocab && r->n_vocab <= UINT32_MAX)
        hf_put_count(r, SM_K_VOCAB_SIZE, (uint32_t)r->n_vocab);
    hf_refuse_unread(r);
}
