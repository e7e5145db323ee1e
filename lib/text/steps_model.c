/* Reading tokenizer.json: the vocabulary, added tokens, the model. */
#include "steps_read.h"

#include <math.h>

#define MAX_TOKENS (4U << 20)
#define READ_STEPS 24 /* to read or find a token */

/* ---- texts by id ----------------------------------------------------------------------------- */

/* What is collected before there are tables. */
typedef struct collected {
    sm_str *texts;  /* [room] data NULL: none */
    uint32_t n;     /* the greatest id + 1 */
    uint32_t count; /* of the model's */
    uint32_t room;
} collected;

static bool bad_token(sm_steps_reader *r, const char *place, sm_str text, const char *problem) {
    char what[160];
    (void)sm_format(what, sizeof what, "token \"%.*s\": %s",
                    text.length < 64 ? (int)text.length : 64, text.data, problem);
    return sm_steps_broken(r, place, what);
}

static bool make_room(sm_steps_reader *r, collected *c, uint64_t room) {
    c->texts = sm_alloc_zero(r->mem, (room + 1) * sizeof *c->texts);
    c->room = (uint32_t)room;
    return c->texts || sm_steps_no_memory(r);
}

static bool put_token(sm_steps_reader *r, collected *c, const char *place, sm_str text,
                      uint64_t id) {
    if (text.length > SM_MAX_TOKEN_BYTES)
        return bad_token(r, place, text, "it is too long");
    if (id >= c->room)
        return bad_token(r, place, text, "its id is too large");
    if (c->texts[id].data)
        return bad_token(r, place, text, "another one has its id");
    c->texts[id] = text;
    c->n = id >= c->n ? (uint32_t)id + 1 : c->n;
    return sm_steps_step(r, READ_STEPS);
}

static sm_str text_of(const sm_steps_reader *r, sm_json_value value) {
    sm_str text;
    text.data = sm_json_text(r->json, value, &text.length);
    return text;
}

/* {"token": id, …}: how large ids are. */
static bool largest_id(sm_steps_reader *r, sm_json_value vocab, uint64_t *largest) {
    uint64_t id;
    *largest = 0;
    for (sm_json_value key = sm_json_first(r->json, vocab); key != SM_JSON_NONE;
         key = sm_json_next(r->json, vocab, key)) {
        if (!sm_json_u64(r->json, sm_json_member(r->json, key), &id) || id >= MAX_TOKENS)
            return bad_token(r, "model.vocab", text_of(r, key), "its id is none, or too large");
        *largest = id > *largest ? id : *largest;
        if (!sm_steps_step(r, 4))
            return false;
    }
    return true;
}

static bool collect_map(sm_steps_reader *r, sm_json_value vocab, uint64_t more, collected *c) {
    uint64_t largest, id;
    if (!largest_id(r, vocab, &largest) || !make_room(r, c, largest + 1 + more))
        return false;
    for (sm_json_value key = sm_json_first(r->json, vocab); key != SM_JSON_NONE;
         key = sm_json_next(r->json, vocab, key), c->count++) {
        (void)sm_json_u64(r->json, sm_json_member(r->json, key), &id);
        if (!put_token(r, c, "model.vocab", text_of(r, key), id))
            return false;
    }
    return true;
}

/* [["token", score], …] */
static bool collect_list(sm_steps_reader *r, sm_json_value vocab, uint64_t more, collected *c) {
    const uint32_t n = sm_json_count(r->json, vocab);
    if (n > MAX_TOKENS)
        return sm_steps_broken(r, "model.vocab", "too many tokens");
    r->steps->score = sm_alloc_array(r->mem, (uint64_t)n + 1, sizeof *r->steps->score);
    if (!r->steps->score || !make_room(r, c, n + more))
        return r->steps->score ? false : sm_steps_no_memory(r);
    for (sm_json_value item = sm_json_first(r->json, vocab); item != SM_JSON_NONE;
         item = sm_json_next(r->json, vocab, item), c->count++) {
        const sm_json_value text = sm_json_first(r->json, item);
        double *score = &r->steps->score[c->count];
        if (sm_json_kind_of(r->json, item) != SM_JSON_ARRAY ||
            sm_json_kind_of(r->json, text) != SM_JSON_STRING ||
            !sm_json_double(r->json, sm_json_next(r->json, item, text), score) || !isfinite(*score))
            return sm_steps_broken(r, "model.vocab", "an entry that is no token and its score");
        if (!put_token(r, c, "model.vocab", text_of(r, text), c->count))
            return false;
    }
    return true;
}

/* Strings with consecutive numbers. */
static bool make_strings(sm_steps_reader *r, sm_strings *strings, const sm_str *texts, uint32_t n) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += texts[i].length;
    if (total > UINT32_MAX)
        return sm_steps_broken(r, "model.vocab", "more than four gigabytes of tokens");
    strings->data = sm_alloc(r->mem, total + 1);
    strings->at = sm_alloc_array(r->mem, (uint64_t)n + 1, sizeof *strings->at);
    strings->n = n;
    if (!strings->data || !strings->at)
        return sm_steps_no_memory(r);
    uint32_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        strings->at[i] = at;
        if (texts[i].length)
            memcpy(strings->data + at, texts[i].data, (size_t)texts[i].length);
        at += (uint32_t)texts[i].length;
    }
    strings->at[n] = at;
    return sm_steps_step(r, n);
}

/* ---- added tokens ---------------------------------------------------------------------------- */

static bool find_index(sm_steps_reader *r) {
    sm_tokenizer *t = r->t;
    sm_free(r->mem, t->index.slots);
    t->index.slots = NULL;
    if (!sm_index_build(&t->index, r->mem, &t->text, r->pace))
        return r->pace && r->pace->stopped ? sm_steps_step(r, 0) : sm_steps_no_memory(r);
    return sm_steps_step(r, 0);
}

static uint32_t find(const sm_steps_reader *r, sm_str text) {
    return sm_index_find(&r->t->index, &r->t->text, text.data, text.length);
}

/* Gives those their ids that the vocabulary lacks: they follow it, as Hugging Face numbers them. */
static bool collect_added(sm_steps_reader *r, sm_json_value added, collected *c) {
    uint32_t next = c->count, i = 0;
    char place[SM_STEPS_PLACE];
    for (sm_json_value item = sm_json_first(r->json, added); item != SM_JSON_NONE;
         item = sm_json_next(r->json, added, item), i++) {
        sm_str text;
        (void)sm_format(place, sizeof place, "added_tokens[%u]", i);
        if (!sm_steps_text(r, item, place, "content", NULL, &text))
            return false;
        if (!text.length || find(r, text) != SM_NO_ID)
            continue;
        bool known = false;
        for (uint32_t k = c->count; k < next && !known; k++)
            known = c->texts[k].length == text.length &&
                    memcmp(c->texts[k].data, text.data, (size_t)text.length) == 0;
        if (!known && !put_token(r, c, place, text, next++))
            return false;
    }
    return true;
}

static bool read_added_flags(sm_steps_reader *r, sm_json_value item, const char *place,
                             uint8_t *flags, bool *normalized) {
    bool single, left, right, special;
    if (!sm_steps_bool(r, item, place, "single_word", false, &single) ||
        !sm_steps_bool(r, item, place, "lstrip", false, &left) ||
        !sm_steps_bool(r, item, place, "rstrip", false, &right) ||
        !sm_steps_bool(r, item, place, "special", false, &special) ||
        !sm_steps_bool(r, item, place, "normalized", !special, normalized))
        return false;
    *flags = (uint8_t)(HF_ADDED | (single ? HF_SINGLE_WORD : 0) | (left ? HF_LSTRIP : 0) |
                       (right ? HF_RSTRIP : 0) | (special ? HF_SPECIAL : 0) |
                       (*normalized ? HF_NORMALIZED : 0));
    return true;
}

static bool flag_added(sm_steps_reader *r, sm_json_value added) {
    sm_tokenizer *t = r->t;
    char place[SM_STEPS_PLACE];
    uint32_t i = 0;
    for (sm_json_value item = sm_json_first(r->json, added); item != SM_JSON_NONE;
         item = sm_json_next(r->json, added, item), i++) {
        sm_str text;
        bool normalized;
        uint8_t flags;
        (void)sm_format(place, sizeof place, "added_tokens[%u]", i);
        if (!sm_steps_text(r, item, place, "content", NULL, &text) ||
            !read_added_flags(r, item, place, &flags, &normalized))
            return false;
        const uint32_t id = text.length ? find(r, text) : SM_NO_ID;
        if (id == SM_NO_ID)
            continue;
        r->steps->added[id] = flags;
        t->type[id] = flags & HF_SPECIAL ? SM_TOKEN_CONTROL : SM_TOKEN_USER_DEFINED;
    }
    return true;
}

/* What an added token is looked for as, where it is looked for in normalized text. */
static bool normalize_one(sm_steps_reader *r, sm_encoder *encoder, uint32_t id, sm_str *out) {
    uint32_t length;
    const char *text = sm_strings_get(&r->t->text, id, &length);
    const uint8_t *normal;
    uint64_t n;
    const sm_status status =
        sm_steps_clean(encoder, (const uint8_t *)text, length, false, &normal, &n);
    if (status) {
        r->status = status;
        return false;
    }
    if (!n || n > SM_MAX_TOKEN_BYTES) /* an empty one would be everywhere */
        normal = (const uint8_t *)text, n = length;
    return sm_steps_keep(r, (sm_str){(const char *)normal, n}, out);
}

/* A special token that reads like none when it is decoded is no silent one. */
static void hear_normalized(sm_steps_reader *r, uint32_t id, sm_str normal) {
    const uint32_t other = find(r, normal);
    if (other != id && (other == SM_NO_ID || !(r->steps->added[other] & HF_SPECIAL)) &&
        r->t->type[id] == SM_TOKEN_CONTROL)
        r->t->type[id] = SM_TOKEN_USER_DEFINED;
}

static bool normalize_all(sm_steps_reader *r, sm_encoder *encoder, sm_str *normal) {
    const uint32_t n = r->t->text.n;
    for (uint32_t id = 0; id < n; id++) {
        if (!(r->steps->added[id] & HF_NORMALIZED))
            continue;
        if (!normalize_one(r, encoder, id, &normal[id]))
            return false;
        hear_normalized(r, id, normal[id]);
    }
    return make_strings(r, &r->steps->normal, normal, n);
}

static bool normalize_added(sm_steps_reader *r) {
    const uint32_t n = r->t->text.n;
    static const sm_encode_options none = {.struct_size = sizeof none};
    sm_encoder encoder;
    sm_str *normal = sm_alloc_zero(r->mem, ((uint64_t)n + 1) * sizeof *normal);
    if (!normal)
        return sm_steps_no_memory(r);
    const sm_status status = sm_encoder_init(&encoder, r->t, 0, &none, NULL, 0, r->error);
    r->status = r->status ? r->status : status;
    const bool ok = !status && normalize_all(r, &encoder, normal);
    sm_encoder_done(&encoder);
    for (uint32_t id = 0; id < n; id++)
        sm_free(r->mem, (void *)normal[id].data);
    sm_free(r->mem, normal);
    return ok;
}

static bool build_set(sm_steps_reader *r, sm_prefixes *set, const sm_strings *strings,
                      uint8_t flags, uint32_t *ids) {
    uint32_t n = 0;
    for (uint32_t id = 0; id < r->t->text.n; id++)
        if ((r->steps->added[id] & (HF_ADDED | HF_NORMALIZED)) == flags)
            ids[n++] = id;
    return sm_prefixes_build(set, r->mem, strings, ids, n, r->pace) ||
           (r->pace && r->pace->stopped) || sm_steps_no_memory(r);
}

static bool build_sets(sm_steps_reader *r) {
    uint32_t *ids = sm_alloc_array(r->mem, (uint64_t)r->t->text.n + 1, sizeof *ids);
    if (!ids)
        return sm_steps_no_memory(r);
    const bool ok =
        build_set(r, &r->steps->raw_set, &r->t->text, HF_ADDED, ids) &&
        build_set(r, &r->steps->normal_set, &r->steps->normal, HF_ADDED | HF_NORMALIZED, ids);
    sm_free(r->mem, ids);
    return ok && sm_steps_step(r, 0);
}

/* ---- the vocabulary -------------------------------------------------------------------------- */

static bool collect(sm_steps_reader *r, sm_json_value model, sm_json_value added, collected *c) {
    const sm_json_value vocab = sm_json_get(r->json, model, "vocab");
    const sm_json_kind want = r->steps->model == HF_UNIGRAM ? SM_JSON_ARRAY : SM_JSON_OBJECT;
    const uint64_t more = sm_json_count(r->json, added);
    if (sm_json_kind_of(r->json, vocab) != want)
        return sm_steps_broken(r, "model.vocab", "what is no vocabulary of that type");
    if (more > MAX_TOKENS)
        return sm_steps_broken(r, "added_tokens", "too many tokens");
    if (!(want == SM_JSON_ARRAY ? collect_list(r, vocab, more, c) : collect_map(r, vocab, more, c)))
        return false;
    return make_strings(r, &r->t->text, c->texts, c->n) && find_index(r) &&
           collect_added(r, added, c);
}

/* Types before added tokens have theirs. */
static bool make_types(sm_steps_reader *r, const collected *c) {
    sm_tokenizer *t = r->t;
    const uint32_t n = t->text.n;
    t->type = sm_alloc(r->mem, (uint64_t)n + 1);
    t->flags = sm_alloc_zero(r->mem, (uint64_t)n + 1);
    r->steps->added = sm_alloc_zero(r->mem, (uint64_t)n + 1);
    if (!t->type || !t->flags || !r->steps->added)
        return sm_steps_no_memory(r);
    for (uint32_t id = 0; id < n; id++) {
        t->type[id] = c->texts[id].data ? SM_TOKEN_NORMAL : SM_TOKEN_UNUSED;
        const uint32_t length = (uint32_t)c->texts[id].length;
        t->max_token = length > t->max_token ? length : t->max_token;
    }
    return true;
}

static int32_t fallback_byte(const char *text, uint32_t length) {
    static const char digits[] = "0123456789ABCDEF";
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    const char *high = memchr(digits, text[3], 16), *low = memchr(digits, text[4], 16);
    return high && low ? (int32_t)((high - digits) * 16 + (low - digits)) : -1;
}

/* Which tokens text may become, and those of bytes. */
static void flag_tokens(sm_steps_reader *r, uint32_t model_ids) {
    sm_tokenizer *t = r->t;
    memset(t->byte_id, 0xFF, sizeof t->byte_id);
    for (uint32_t id = 0; id < t->text.n; id++) {
        uint32_t length;
        const char *text = sm_strings_get(&t->text, id, &length);
        const int32_t byte = fallback_byte(text, length);
        const bool of_model = id < model_ids && t->type[id] != SM_TOKEN_UNUSED;
        if (of_model && !(r->steps->added[id] & HF_SPECIAL))
            t->flags[id] |= SM_FLAG_MERGE;
        if (of_model && byte >= 0 && t->byte_id[byte] == SM_NO_ID)
            t->byte_id[byte] = id;
    }
}

static bool read_vocabulary(sm_steps_reader *r, sm_json_value model, sm_json_value added) {
    collected c = {NULL, 0, 0, 0};
    bool ok = collect(r, model, added, &c);
    const uint32_t model_ids = r->t->text.n;
    if (ok && c.n > model_ids) { /* added tokens behind the vocabulary */
        sm_free(r->mem, r->t->text.data);
        sm_free(r->mem, r->t->text.at);
        r->t->text.data = NULL;
        r->t->text.at = NULL;
        ok = make_strings(r, &r->t->text, c.texts, c.n) && find_index(r);
    }
    ok = ok && make_types(r, &c) && flag_added(r, added);
    sm_free(r->mem, c.texts);
    if (!ok || !c.n)
        return ok && sm_steps_broken(r, "model.vocab", "an empty vocabulary");
    if (!normalize_added(r) || !build_sets(r))
        return false;
    flag_tokens(r, model_ids);
    return true;
}

/* ---- BPE ------------------------------------------------------------------------------------- */

/* "left right" or ["left", "right"] */
static bool merge_texts(sm_steps_reader *r, sm_json_value item, sm_str *left, sm_str *right) {
    if (sm_json_kind_of(r->json, item) == SM_JSON_ARRAY) {
        const sm_json_value first = sm_json_first(r->json, item);
        *left = text_of(r, first);
        *right = text_of(r, sm_json_next(r->json, item, first));
        return sm_json_count(r->json, item) == 2 && left->data && right->data;
    }
    const sm_str whole = text_of(r, item);
    const char *gap = whole.data ? memchr(whole.data, ' ', (size_t)whole.length) : NULL;
    if (!gap)
        return false;
    *left = (sm_str){whole.data, (uint64_t)(gap - whole.data)};
    *right = (sm_str){gap + 1, whole.length - left->length - 1};
    return !memchr(right->data, ' ', (size_t)right->length);
}

/* The token of both, whose second loses the prefix of what goes on. */
static uint32_t merged_id(const sm_steps_reader *r, sm_str left, sm_str right) {
    char joined[SM_MAX_TOKEN_BYTES];
    const uint64_t cut = r->steps->prefix.length;
    if (right.length < cut || left.length + right.length - cut > sizeof joined)
        return SM_NO_ID;
    memcpy(joined, left.data, (size_t)left.length);
    memcpy(joined + left.length, right.data + cut, (size_t)(right.length - cut));
    return find(r, (sm_str){joined, left.length + right.length - cut});
}

static bool add_merge(sm_steps_reader *r, sm_json_value item, uint32_t rank) {
    sm_str left = {NULL, 0}, right = {NULL, 0};
    char place[SM_STEPS_PLACE];
    (void)sm_format(place, sizeof place, "model.merges[%u]", rank);
    if (!merge_texts(r, item, &left, &right))
        return sm_steps_broken(r, place, "what is no pair of tokens");
    const uint32_t a = find(r, left), b = find(r, right), both = merged_id(r, left, right);
    if (a == SM_NO_ID || b == SM_NO_ID || both == SM_NO_ID)
        return sm_steps_broken(r, place, "a merge of or into what is no token");
    if (fallback_byte(left.data, (uint32_t)left.length) >= 0 ||
        fallback_byte(right.data, (uint32_t)right.length) >= 0)
        r->steps->segments = false;
    sm_pair *known = (sm_pair *)sm_pairs_find(&r->t->pairs, a, b);
    if (known) { /* of equal ones the last counts */
        known->rank = rank;
        known->merged = both;
    } else {
        sm_pairs_add(&r->t->pairs, a, b, rank, both);
    }
    return sm_steps_step(r, 4 * READ_STEPS);
}

static bool read_merges(sm_steps_reader *r, sm_json_value model) {
    const sm_json_value merges = sm_json_get(r->json, model, "merges");
    if (sm_json_kind_of(r->json, merges) != SM_JSON_ARRAY)
        return sm_steps_broken(r, "model.merges", "what is no list");
    if (!sm_pairs_init(&r->t->pairs, r->mem, sm_json_count(r->json, merges)))
        return sm_steps_no_memory(r);
    uint32_t rank = 0;
    for (sm_json_value item = sm_json_first(r->json, merges); item != SM_JSON_NONE;
         item = sm_json_next(r->json, merges, item)) {
        const sm_str text = text_of(r, item);
        if (text.data && text.length >= 8 && memcmp(text.data, "#version", 8) == 0)
            continue;
        if (!add_merge(r, item, rank++))
            return false;
    }
    return true;
}

/* Whether words may stay bytes: GPT-2's characters of all of them are tokens, and the last step is
 * what makes these. Then it is left out. */
static void keep_bytes(sm_steps_reader *r) {
    sm_steps *hf = r->steps;
    sm_tokenizer *t = r->t;
    uint32_t ids[256];
    if (!hf->n_cut || hf->cut[hf->n_cut - 1].op != CUT_BYTES || hf->prefix.length ||
        hf->suffix.length)
        return;
    for (uint32_t i = 0; i + 1 < hf->n_cut; i++)
        if (hf->cut[i].op == CUT_BYTES)
            return;
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint8_t spelled[4];
        const uint32_t n = sm_utf8_encode(sm_byte_to_code((uint8_t)byte), spelled);
        ids[byte] = sm_index_find(&t->index, &t->text, spelled, n);
        if (ids[byte] == SM_NO_ID || !(t->flags[ids[byte]] & SM_FLAG_MERGE))
            return;
    }
    memcpy(t->byte_id, ids, sizeof ids);
    hf->byte_words = true;
    hf->n_cut--;
    hf->keeps_bytes = hf->n_clean == 0;
    for (uint32_t i = 0; i < hf->n_cut; i++)
        hf->keeps_bytes &= hf->cut[i].op != CUT_SPACE && hf->cut[i].op != CUT_META;
}

/* Whether long pieces may be cut where no token spans: unknown characters must come out the
 * same. */
static bool may_segment(const sm_steps_reader *r) {
    const sm_steps *hf = r->steps;
    bool bytes = hf->byte_fallback;
    for (uint32_t byte = 0; byte < 256 && bytes; byte++)
        bytes = r->t->byte_id[byte] != SM_NO_ID;
    return !hf->byte_words && !r->t->ignore_merges && !hf->prefix.length && !hf->suffix.length &&
           (bytes || !hf->byte_fallback || r->t->unk < 0);
}

/* A character's token, if text may become it. */
static uint32_t char_token(const sm_steps_reader *r, sm_str text) {
    const uint32_t id = find(r, text);
    return id != SM_NO_ID && r->t->flags[id] & SM_FLAG_MERGE ? id : SM_NO_ID;
}

static void find_chars(sm_steps_reader *r) {
    for (uint32_t code = 0; code < 128; code++) {
        const char text = (char)code;
        r->steps->ascii_id[code] = char_token(r, (sm_str){&text, 1});
    }
    r->steps->block_id = char_token(r, (sm_str){SM_LOWER_BLOCK, 3});
}

static bool read_bpe(sm_steps_reader *r, sm_json_value model) {
    sm_steps *hf = r->steps;
    sm_tokenizer *t = r->t;
    const char *place = "model";
    sm_str unknown;
    double dropout = 0;
    const sm_json_value drops = sm_json_get(r->json, model, "dropout");
    if (sm_json_double(r->json, drops, &dropout) && dropout != 0)
        return sm_steps_refuse(r, "model.dropout", "dropout");
    if (!sm_steps_text(r, model, place, "unk_token", "", &unknown) ||
        !sm_steps_copy(r, model, place, "continuing_subword_prefix", "", &hf->prefix) ||
        !sm_steps_copy(r, model, place, "end_of_word_suffix", "", &hf->suffix) ||
        !sm_steps_bool(r, model, place, "fuse_unk", false, &hf->fuse_unk) ||
        !sm_steps_bool(r, model, place, "byte_fallback", false, &hf->byte_fallback) ||
        !sm_steps_bool(r, model, place, "ignore_merges", false, &t->ignore_merges))
        return false;
    if (hf->prefix.length > 256 || hf->suffix.length > 256)
        return sm_steps_refuse(r, place, "a prefix or suffix of that length");
    t->unk = unknown.length ? (int32_t)find(r, unknown) : -1; /* SM_NO_ID is -1, too */
    hf->segments = true;
    if (!read_merges(r, model))
        return false;
    keep_bytes(r);
    find_chars(r);
    hf->segments &= may_segment(r);
    t->kind = SM_TOKENIZER_BPE;
    if (hf->segments && !sm_segment_build(t))
        return sm_steps_no_memory(r);
    t->fuses = hf->segments && hf->fuse_unk;
    t->kind = hf->byte_words ? SM_TOKENIZER_BPE : SM_TOKENIZER_CHARS;
    return sm_steps_step(r, 0);
}

/* ---- the others ------------------------------------------------------------------------------ */

/* The set of tokens that text may become. */
static bool build_words(sm_steps_reader *r, sm_prefixes *set, const sm_strings *strings) {
    sm_tokenizer *t = r->t;
    uint32_t *ids = sm_alloc_array(r->mem, (uint64_t)t->text.n + 1, sizeof *ids), n = 0;
    if (!ids)
        return sm_steps_no_memory(r);
    for (uint32_t id = 0; id < t->text.n; id++)
        if (t->flags[id] & SM_FLAG_MERGE)
            ids[n++] = id;
    const bool built = sm_prefixes_build(set, r->mem, strings, ids, n, r->pace);
    sm_free(r->mem, ids);
    return built || (r->pace && r->pace->stopped) ? sm_steps_step(r, 0) : sm_steps_no_memory(r);
}

/* Of equal tokens the last counts. */
static bool drop_equal(sm_steps_reader *r, uint32_t n) {
    sm_tokenizer *t = r->t;
    uint32_t *latest = sm_alloc_array(r->mem, (uint64_t)n + 1, sizeof *latest);
    if (!latest)
        return sm_steps_no_memory(r);
    for (uint32_t id = 0; id < n; id++) {
        uint32_t length;
        const char *text = sm_strings_get(&t->text, id, &length);
        const uint32_t first = sm_index_find(&t->index, &t->text, text, length);
        if (first != SM_NO_ID && first < id)
            t->flags[latest[first]] &= (uint8_t)~SM_FLAG_MERGE;
        if (first != SM_NO_ID)
            latest[first] = id;
    }
    sm_free(r->mem, latest);
    return sm_steps_step(r, (uint64_t)n * READ_STEPS);
}

static bool read_unigram(sm_steps_reader *r, sm_json_value model) {
    sm_steps *hf = r->steps;
    const uint32_t n = sm_json_count(r->json, sm_json_get(r->json, model, "vocab"));
    const sm_json_value unknown = sm_json_get(r->json, model, "unk_id");
    uint64_t id;
    r->t->unk = -1;
    if (sm_json_u64(r->json, unknown, &id) && id < n)
        r->t->unk = (int32_t)id;
    else if (sm_json_kind_of(r->json, unknown) > SM_JSON_NULL)
        return sm_steps_broken(r, "model.unk_id", "what is no id of the vocabulary");
    if (!sm_steps_bool(r, model, "model", "byte_fallback", false, &hf->byte_fallback))
        return false;
    double lowest = INFINITY;
    for (uint32_t i = 0; i < n; i++)
        lowest = hf->score[i] < lowest ? hf->score[i] : lowest;
    hf->unknown_score = lowest - 10; /* SentencePiece's penalty */
    r->t->kind = SM_TOKENIZER_UNIGRAM;
    return drop_equal(r, n) && build_words(r, &r->t->words, &r->t->text);
}

/* Tokens without the prefix that inner ones have. */
static bool build_tails(sm_steps_reader *r) {
    const sm_steps *hf = r->steps;
    const uint32_t n = r->t->text.n;
    sm_str *tails = sm_alloc_zero(r->mem, ((uint64_t)n + 1) * sizeof *tails);
    if (!tails)
        return sm_steps_no_memory(r);
    for (uint32_t id = 0; id < n; id++) {
        uint32_t length;
        const char *text = sm_strings_get(&r->t->text, id, &length);
        if (length > hf->prefix.length &&
            memcmp(text, hf->prefix.data, (size_t)hf->prefix.length) == 0)
            tails[id] = (sm_str){text + hf->prefix.length, length - hf->prefix.length};
    }
    const bool ok = make_strings(r, &r->steps->tails, tails, n);
    sm_free(r->mem, tails);
    return ok && build_words(r, &r->steps->inner, &r->steps->tails);
}

static bool read_wordpiece(sm_steps_reader *r, sm_json_value model) {
    sm_steps *hf = r->steps;
    sm_str unknown;
    if (!sm_steps_text(r, model, "model", "unk_token", "[UNK]", &unknown) ||
        !sm_steps_copy(r, model, "model", "continuing_subword_prefix", "##", &hf->prefix) ||
        !sm_steps_u32(r, model, "model", "max_input_chars_per_word", 100, &hf->max_chars))
        return false;
    r->t->unk = (int32_t)find(r, unknown);
    r->t->kind = SM_TOKENIZER_WORDPIECE;
    return build_words(r, &r->t->words, &r->t->text) && build_tails(r);
}

static bool read_wordlevel(sm_steps_reader *r, sm_json_value model) {
    sm_str unknown;
    if (!sm_steps_text(r, model, "model", "unk_token", "<unk>", &unknown))
        return false;
    r->t->unk = (int32_t)find(r, unknown);
    r->t->kind = SM_TOKENIZER_WORDLEVEL;
    return true;
}

/* ---- which ----------------------------------------------------------------------------------- */

static bool model_kind(sm_steps_reader *r, sm_json_value model) {
    static const char *const names[] = {[HF_BPE] = "BPE",
                                        [HF_UNIGRAM] = "Unigram",
                                        [HF_WORDPIECE] = "WordPiece",
                                        [HF_WORDLEVEL] = "WordLevel"};
    const sm_json_value type = sm_json_get(r->json, model, "type");
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
        if (sm_json_is(r->json, type, names[i])) {
            r->steps->model = (sm_steps_model)i;
            return true;
        }
    if (sm_json_kind_of(r->json, type) == SM_JSON_STRING)
        return sm_steps_refuse(r, "model.type", "such a model");
    /* files from before models had types */
    if (sm_json_get(r->json, model, "merges") != SM_JSON_NONE)
        r->steps->model = HF_BPE;
    else if (sm_json_kind_of(r->json, sm_json_get(r->json, model, "vocab")) == SM_JSON_ARRAY)
        r->steps->model = HF_UNIGRAM;
    else
        r->steps->model = sm_json_get(r->json, model, "max_input_chars_per_word") != SM_JSON_NONE
                              ? HF_WORDPIECE
                              : HF_WORDLEVEL;
    return true;
}

bool sm_steps_read_model(sm_steps_reader *r, sm_json_value model, sm_json_value added) {
    if (sm_json_kind_of(r->json, model) != SM_JSON_OBJECT)
        return sm_steps_broken(r, "model", "what is no object");
    if (!model_kind(r, model) || !read_vocabulary(r, model, added))
        return false;
    switch (r->steps->model) {
    case HF_BPE:
        return read_bpe(r, model);
    case HF_UNIGRAM:
        return read_unigram(r, model);
    case HF_WORDPIECE:
        return read_wordpiece(r, model);
    default:
        return read_wordlevel(r, model);
    }
}
