/* Reading tiktoken's files of ranks: a token in base64 and its rank a line. A token merges out of
 * any two that it is made of, so that the merges are all ways to part it. */
#include "steps.h"

#define MAX_TOKENS (1U << 22)
#define READ_STEPS 24

typedef struct reader {
    sm_mem *mem;
    sm_error *error;
    sm_pace *pace;
    sm_tokenizer *t;
    char *bytes;   /* of all tokens, as GPT-2's characters */
    sm_str *texts; /* by rank */
    uint32_t n, room;
} reader;

static sm_status no_memory(const reader *r) {
    return sm_fail(r->error, SM_ERR_NOMEM, "out of memory");
}

static sm_status step(const reader *r, uint64_t steps) {
    return r->pace && !sm_pace_step(r->pace, steps)
               ? sm_fail(r->error, SM_ERR_CANCELLED, "loading was cancelled")
               : SM_OK;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* "SGVsbG8= 42"; false if it is none. */
static bool take_line(sm_str *rest, sm_str *token, uint64_t *rank) {
    const char *end = memchr(rest->data, '\n', (size_t)rest->length);
    const uint64_t n = end ? (uint64_t)(end - rest->data) : rest->length;
    const char *gap = memchr(rest->data, ' ', (size_t)n);
    if (!gap)
        return false;
    *token = (sm_str){rest->data, (uint64_t)(gap - rest->data)};
    uint64_t i = token->length + 1;
    *rank = 0;
    for (; i < n && rest->data[i] >= '0' && rest->data[i] <= '9' && *rank < MAX_TOKENS; i++)
        *rank = *rank * 10 + (uint64_t)(rest->data[i] - '0');
    const bool digits = i > token->length + 1;
    i += i < n && rest->data[i] == '\r';
    rest->data += end ? n + 1 : n;
    rest->length -= end ? n + 1 : n;
    return digits && i == n && token->length > 0;
}

bool sm_is_tiktoken(sm_str text) {
    sm_str token;
    uint64_t rank;
    char bytes[64];
    return text.length && take_line(&text, &token, &rank) && token.length < sizeof bytes &&
           sm_base64(token, bytes) > 0;
}

static sm_status count_lines(reader *r, sm_str text) {
    uint64_t rank, total = 0;
    for (uint32_t line = 1; text.length; line++) {
        sm_str token;
        if (text.data[0] == '\n') { /* an empty line */
            text.data++, text.length--;
            continue;
        }
        if (!take_line(&text, &token, &rank) || rank >= MAX_TOKENS)
            return sm_fail(r->error, SM_ERR_FORMAT,
                           "tiktoken file: line %u is no token and its rank", line);
        total += token.length;
        r->room = rank >= r->room ? (uint32_t)rank + 1 : r->room;
        const sm_status status = step(r, READ_STEPS);
        if (status)
            return status;
    }
    r->texts = sm_alloc_zero(r->mem, ((uint64_t)r->room + 1) * sizeof *r->texts);
    r->bytes = sm_alloc(r->mem, 3 * total + 1); /* a byte is spelled with two at most */
    return r->texts && r->bytes ? SM_OK : no_memory(r);
}

static sm_status read_lines(reader *r, sm_str text) {
    char *to = r->bytes;
    uint64_t rank;
    sm_str token;
    while (text.length) {
        if (text.data[0] == '\n') {
            text.data++, text.length--;
            continue;
        }
        char raw[SM_MAX_TOKEN_BYTES];
        if (!take_line(&text, &token, &rank) || token.length >= sizeof raw)
            return sm_fail(r->error, SM_ERR_FORMAT, "tiktoken file: a token that is too long");
        const int64_t n = sm_base64(token, raw);
        if (n <= 0)
            return sm_fail(r->error, SM_ERR_FORMAT, "tiktoken file: rank %llu is not base64",
                           (unsigned long long)rank);
        if (r->texts[rank].data)
            return sm_fail(r->error, SM_ERR_FORMAT, "tiktoken file: two tokens of rank %llu",
                           (unsigned long long)rank);
        r->texts[rank].data = to;
        for (int64_t i = 0; i < n; i++)
            to += sm_utf8_encode(sm_byte_to_code((uint8_t)raw[i]), (uint8_t *)to);
        r->texts[rank].length = (uint64_t)(to - r->texts[rank].data);
    }
    return SM_OK;
}

/* ---- the vocabulary -------------------------------------------------------------------------- */

static bool strings_of(reader *r, const sm_str *texts, uint32_t n, sm_strings *to) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += texts[i].length;
    to->data = sm_alloc(r->mem, total + 1);
    to->at = sm_alloc_array(r->mem, (uint64_t)n + 1, sizeof *to->at);
    to->n = n;
    if (!to->data || !to->at || total > UINT32_MAX)
        return false;
    to->at[0] = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (texts[i].length)
            memcpy(to->data + to->at[i], texts[i].data, (size_t)texts[i].length);
        to->at[i + 1] = to->at[i] + (uint32_t)texts[i].length;
    }
    return true;
}

/* Ways to part a token in two: counted, or added. */
static sm_status part_token(reader *r, uint32_t id, bool add, uint64_t *count) {
    sm_tokenizer *t = r->t;
    uint32_t length;
    const char *text = sm_strings_get(&t->text, id, &length);
    for (uint32_t k = 1; k < length; k++) {
        if (((uint8_t)text[k] & 0xC0) == 0x80)
            continue;
        const uint32_t left = sm_index_find(&t->index, &t->text, text, k),
                       right = left == SM_NO_ID
                                   ? SM_NO_ID
                                   : sm_index_find(&t->index, &t->text, text + k, length - k);
        if (right == SM_NO_ID)
            continue;
        ++*count;
        if (add)
            sm_pairs_add(&t->pairs, left, right, id, id);
    }
    return step(r, READ_STEPS * (1 + (uint64_t)length));
}

static sm_status make_merges(reader *r) {
    uint64_t count = 0;
    for (uint32_t pass = 0; pass < 2; pass++) {
        if (pass && !sm_pairs_init(&r->t->pairs, r->mem, count))
            return no_memory(r);
        for (uint32_t id = 0; id < r->room; id++) {
            const sm_status status = r->texts[id].data ? part_token(r, id, pass, &count) : SM_OK;
            if (status)
                return status;
        }
    }
    return SM_OK;
}

static sm_status find_bytes(reader *r) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint8_t spelled[4];
        const uint32_t n = sm_utf8_encode(sm_byte_to_code((uint8_t)byte), spelled);
        r->t->byte_id[byte] = sm_index_find(&r->t->index, &r->t->text, spelled, n);
        if (r->t->byte_id[byte] == SM_NO_ID)
            return sm_fail(r->error, SM_ERR_FORMAT, "tiktoken file: no token for byte %u", byte);
    }
    return SM_OK;
}

static sm_status add_specials(reader *r, const sm_special *specials, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (!specials[i].text.length || specials[i].id < 0 ||
            specials[i].id >= (int32_t)MAX_TOKENS || specials[i].text.length > SM_MAX_TOKEN_BYTES)
            return sm_fail(r->error, SM_ERR_FORMAT, "special_tokens: one without text or id");
        r->n = (uint32_t)specials[i].id >= r->n ? (uint32_t)specials[i].id + 1 : r->n;
    }
    sm_str *grown = sm_alloc_zero(r->mem, ((uint64_t)r->n + 1) * sizeof *grown);
    if (!grown)
        return no_memory(r);
    memcpy(grown, r->texts, r->room * sizeof *grown);
    sm_free(r->mem, r->texts);
    r->texts = grown;
    for (uint32_t i = 0; i < n; i++) {
        if (grown[specials[i].id].data)
            return sm_fail(r->error, SM_ERR_FORMAT, "special_tokens: \"%.*s\" has a token's rank",
                           (int)specials[i].text.length, specials[i].text.data);
        grown[specials[i].id] = specials[i].text;
    }
    return SM_OK;
}

/* Types, flags, what added tokens are found with. */
static sm_status make_tables(reader *r, const sm_special *specials, uint32_t n) {
    sm_tokenizer *t = r->t;
    sm_steps *steps = t->steps;
    uint32_t *ids = sm_alloc_array(r->mem, (uint64_t)n + 1, sizeof *ids);
    t->type = sm_alloc_zero(r->mem, (uint64_t)r->n + 1);
    t->flags = sm_alloc_zero(r->mem, (uint64_t)r->n + 1);
    steps->added = sm_alloc_zero(r->mem, (uint64_t)r->n + 1);
    const sm_str none = {"", 0};
    sm_str *empty = sm_alloc_zero(r->mem, ((uint64_t)r->n + 1) * sizeof *empty);
    bool ok = ids && t->type && t->flags && steps->added && empty;
    for (uint32_t id = 0; id < r->n && ok; id++) {
        empty[id] = none;
        t->type[id] = r->texts[id].data ? SM_TOKEN_NORMAL : SM_TOKEN_UNUSED;
        t->flags[id] = r->texts[id].data && id < r->room ? SM_FLAG_MERGE : 0;
        t->max_token =
            r->texts[id].length > t->max_token ? (uint32_t)r->texts[id].length : t->max_token;
    }
    for (uint32_t i = 0; i < n && ok; i++) {
        ids[i] = (uint32_t)specials[i].id;
        t->type[ids[i]] = SM_TOKEN_CONTROL;
        t->flags[ids[i]] = 0;
        steps->added[ids[i]] = HF_ADDED | HF_SPECIAL;
    }
    ok = ok && strings_of(r, empty, r->n, &steps->normal) &&
         sm_prefixes_build(&steps->raw_set, r->mem, &t->text, ids, n, r->pace) &&
         sm_prefixes_build(&steps->normal_set, r->mem, &steps->normal, ids, 0, r->pace);
    sm_free(r->mem, ids);
    sm_free(r->mem, empty);
    return ok ? SM_OK : step(r, 0) ? SM_ERR_CANCELLED : no_memory(r);
}

static sm_status set_steps(reader *r, sm_str pattern) {
    sm_steps *steps = r->t->steps;
    sm_cut *cut = &steps->cut[steps->n_cut++];
    cut->op = CUT_SPLIT;
    cut->keep = KEEP_ISOLATED;
    steps->undo[steps->n_undo++].op = UNDO_BYTES;
    steps->model = HF_BPE;
    steps->byte_words = steps->keeps_bytes = true;
    const sm_steps_part first = {HF_FIRST, 0, 0, 0}, second = {HF_SECOND, 0, 0, 1};
    steps->single.parts[steps->single.n++] = first;
    steps->pair.parts[steps->pair.n++] = first;
    steps->pair.parts[steps->pair.n++] = second;
    r->t->kind = SM_TOKENIZER_BPE;
    r->t->ignore_merges = true;
    cut->scan = sm_scan_of(pattern, cut->ascii);
    return cut->scan ? SM_OK
                     : sm_pattern_new(&cut->pattern, r->mem, pattern, SM_DIALECT_FANCY, "pat_str",
                                      r->error);
}

static sm_status build(reader *r, sm_str text, sm_str pattern, const sm_special *specials,
                       uint32_t n) {
    sm_status status = count_lines(r, text);
    if (!status)
        status = read_lines(r, text);
    r->n = r->room;
    if (!status)
        status = add_specials(r, specials, n);
    if (!status && (!strings_of(r, r->texts, r->n, &r->t->text) ||
                    !sm_index_build(&r->t->index, r->mem, &r->t->text, r->pace)))
        status = step(r, 0) ? SM_ERR_CANCELLED : no_memory(r);
    if (!status)
        status = make_tables(r, specials, n);
    if (!status)
        status = find_bytes(r);
    if (!status)
        status = make_merges(r);
    if (!status)
        status = set_steps(r, pattern);
    return status ? status : sm_steps_make_pieces(r->t, r->pace, r->error);
}

sm_status sm_tokenizer_from_tiktoken(sm_tokenizer **out, sm_mem *mem, sm_str text, sm_str pattern,
                                     const sm_special *specials, uint32_t n_specials, sm_pace *pace,
                                     sm_error *error) {
    reader r = {.mem = mem, .error = error, .pace = pace};
    *out = NULL;
    sm_status status = sm_steps_new(&r.t, mem, error);
    if (status)
        return status;
    status = build(&r, text, pattern, specials, n_specials);
    sm_free(mem, r.texts);
    sm_free(mem, r.bytes);
    if (status)
        sm_tokenizer_free(r.t);
    else
        *out = r.t;
    return status;
}
