/* Building, freeing and asking a tokenizer. */
#include "steps.h"

#include <math.h>
#include <string.h>

/* ---- strings ------------------------------------------------------------- */

static sm_status no_memory(sm_error *error) {
    return sm_fail(error, SM_ERR_NOMEM, "out of memory");
}

/* Steps of work that finding a string in an index is. */
#define FIND_STEPS 12

/* Counts steps of work; false once loading is to end, which build() looks at after each part. */
static bool step(const sm_tokenizer *t, uint64_t steps) {
    return !t->pace || sm_pace_step(t->pace, steps);
}

static bool strings_alloc(sm_strings *strings, sm_mem *mem, uint64_t bytes, uint32_t n) {
    strings->data = sm_alloc(mem, bytes ? bytes : 1);
    strings->at = sm_alloc_array(mem, (uint64_t)n + 1, sizeof *strings->at);
    strings->n = n;
    return strings->data && strings->at;
}

static sm_status copy_tokens(sm_tokenizer *t, const sm_vocab *v, sm_error *error) {
    if (!v->tokens || v->n_tokens == 0)
        return sm_fail(error, SM_ERR_MISSING, "tokenizer.ggml.tokens is missing or empty");
    if (v->n_tokens > INT32_MAX / 2)
        return sm_fail(error, SM_ERR_FORMAT, "tokenizer.ggml.tokens has %llu entries",
                       (unsigned long long)v->n_tokens);
    uint64_t total = 0;
    for (uint64_t i = 0; i < v->n_tokens; i++) {
        if (v->tokens[i].length > SM_MAX_TOKEN_BYTES)
            return sm_fail(
                error, SM_ERR_FORMAT, "tokenizer.ggml.tokens[%llu] has %llu bytes, the limit is %d",
                (unsigned long long)i, (unsigned long long)v->tokens[i].length, SM_MAX_TOKEN_BYTES);
        total += v->tokens[i].length;
    }
    if (total > UINT32_MAX)
        return sm_fail(error, SM_ERR_FORMAT, "tokenizer.ggml.tokens has %llu bytes",
                       (unsigned long long)total);
    uint32_t n = (uint32_t)v->n_tokens, at = 0;
    if (!strings_alloc(&t->text, t->mem, total, n))
        return no_memory(error);
    for (uint32_t i = 0; i < n && step(t, 4); i++) {
        uint32_t length = (uint32_t)v->tokens[i].length;
        if (length)
            memcpy(t->text.data + at, v->tokens[i].data, length);
        t->text.at[i] = at;
        at += length;
        t->max_token = length > t->max_token ? length : t->max_token;
    }
    t->text.at[n] = at;
    if (t->pace && t->pace->stopped)
        return SM_OK;
    return sm_index_build(&t->index, t->mem, &t->text, t->pace) ? SM_OK : no_memory(error);
}

/* ---- ids and switches ---------------------------------------------------- */

static bool equals(sm_str text, const char *other) {
    return same_text(text.data, text.length, other);
}

/* An id of the file, or the kind's default, or -1 where neither is in the vocabulary. */
static int32_t pick_id(const sm_tokenizer *t, int32_t given, int32_t otherwise) {
    int32_t n = (int32_t)t->text.n;
    if (given >= 0 && given < n)
        return given;
    return otherwise < n ? otherwise : -1;
}

static bool pick_switch(int32_t given, bool otherwise) {
    return given == SM_UNSET ? otherwise : given != 0;
}

static void set_ids(sm_tokenizer *t, const sm_vocab *v) {
    /* what SentencePiece, BERT and T5 number by convention; SM_UNSET stands for none */
    static const struct {
        int32_t bos, eos, unk, sep, pad, mask;
    } usual[] = {[SM_TOKENIZER_BPE] = {-1, -1, -1, -1, -1, -1},
                 [SM_TOKENIZER_SPM] = {1, 2, 0, -1, -1, -1},
                 [SM_TOKENIZER_WORDPIECE] = {101, -1, 100, 102, 0, 103},
                 [SM_TOKENIZER_UNIGRAM] = {-1, 1, 2, -1, 0, -1},
                 [SM_TOKENIZER_CHARS] = {-1, -1, -1, -1, -1, -1}};
    t->bos = pick_id(t, v->bos, usual[t->kind].bos);
    t->eos = pick_id(t, v->eos, usual[t->kind].eos);
    t->unk = pick_id(t, v->unk, usual[t->kind].unk);
    t->sep = pick_id(t, v->sep, usual[t->kind].sep);
    t->pad = pick_id(t, v->pad, usual[t->kind].pad);
    t->mask = pick_id(t, v->mask, usual[t->kind].mask);
    t->cls = pick_id(t, v->cls, t->bos);
    t->eot = pick_id(t, v->eot, -1);
    t->eom = pick_id(t, v->eom, -1);
    if (t->kind == SM_TOKENIZER_WORDPIECE)
        t->bos = t->cls;
}

static sm_status set_switches(sm_tokenizer *t, const sm_vocab *v, uint32_t pre_flags,
                              sm_error *error) {
    bool sentencepiece = t->kind == SM_TOKENIZER_SPM || t->kind == SM_TOKENIZER_UNIGRAM;
    t->add_space_prefix =
        sentencepiece && pick_switch(v->add_space_prefix, t->kind == SM_TOKENIZER_SPM);
    t->remove_extra_whitespaces = sentencepiece && pick_switch(v->remove_extra_whitespaces, false);
    t->fuses = t->kind == SM_TOKENIZER_UNIGRAM;
    t->escape_whitespaces = pick_switch(v->escape_whitespaces, true);
    t->ignore_merges = pick_switch(v->ignore_merges, pre_flags & SM_PRE_IGNORE_MERGES);
    t->lowercase = pick_switch(v->lowercase, true);
    t->strip_accents = pick_switch(v->strip_accents, t->lowercase);
    if (t->kind == SM_TOKENIZER_WORDPIECE) { /* always [CLS] … [SEP] */
        t->add_bos = t->cls >= 0;
        t->add_eos = t->sep >= 0;
        return SM_OK;
    }
    if ((v->add_bos == 1 && t->bos < 0) || (v->add_eos == 1 && t->eos < 0))
        return sm_fail(error, SM_ERR_MISSING,
                       "tokenizer.ggml.%s_token_id: none in the vocabulary, but "
                       "tokenizer.ggml.add_%s_token is set",
                       v->add_bos == 1 && t->bos < 0 ? "bos" : "eos",
                       v->add_bos == 1 && t->bos < 0 ? "bos" : "eos");
    bool usual_bos = t->kind == SM_TOKENIZER_SPM || pre_flags & SM_PRE_ADD_BOS;
    t->add_bos = pick_switch(v->add_bos, usual_bos) && t->bos >= 0;
    t->add_eos = pick_switch(v->add_eos, t->kind == SM_TOKENIZER_UNIGRAM) && t->eos >= 0;
    return SM_OK;
}

/* ---- types, flags, bytes ------------------------------------------------- */

static bool is_special(uint8_t type) {
    return type == SM_TOKEN_CONTROL || type == SM_TOKEN_UNKNOWN || type == SM_TOKEN_USER_DEFINED;
}

static void mark_control(sm_tokenizer *t, int32_t id) {
    if (id >= 0)
        t->type[id] = SM_TOKEN_CONTROL;
}

static int32_t hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "<0xAB>" stands for, -1 for other text. */
static int32_t parse_byte(const char *text, uint32_t length) {
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    int32_t high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static sm_status set_types(sm_tokenizer *t, const sm_vocab *v, sm_error *error) {
    t->type = sm_alloc(t->mem, t->text.n);
    t->flags = sm_alloc_zero(t->mem, t->text.n);
    if (!t->type || !t->flags)
        return no_memory(error);
    for (uint32_t i = 0; i < t->text.n; i++) {
        int32_t type = v->types ? v->types[i] : SM_TOKEN_NORMAL;
        t->type[i] =
            type >= SM_TOKEN_NORMAL && type <= SM_TOKEN_BYTE ? (uint8_t)type : SM_TOKEN_NORMAL;
        uint32_t length;
        const char *text = sm_strings_get(&t->text, i, &length);
        if (type == SM_TOKEN_BYTE && parse_byte(text, length) < 0)
            return sm_fail(
                error, SM_ERR_FORMAT,
                "tokenizer.ggml.tokens[%u] is called a byte by tokenizer.ggml.token_type "
                "but is none of <0x00> to <0xFF>",
                i);
    }
    if (!v->types) {
        const int32_t ids[] = {t->bos, t->eos, t->cls, t->sep, t->pad, t->mask};
        for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
            mark_control(t, ids[i]);
        if (t->unk >= 0)
            t->type[t->unk] = SM_TOKEN_UNKNOWN;
    }
    return SM_OK;
}

static bool may_be_text(const sm_tokenizer *t, uint8_t type) {
    return type == SM_TOKEN_NORMAL ||
           (type == SM_TOKEN_UNUSED && t->kind != SM_TOKENIZER_UNIGRAM) ||
           type == SM_TOKEN_USER_DEFINED;
}

/* Byte tokens, and which tokens plain text may become. */
static void set_flags(sm_tokenizer *t) {
    memset(t->byte_id, 0xFF, sizeof t->byte_id);
    if (t->kind == SM_TOKENIZER_BPE) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint8_t spelled[4];
            uint32_t n = sm_utf8_encode(sm_byte_to_code((uint8_t)byte), spelled);
            t->byte_id[byte] = sm_index_find(&t->index, &t->text, spelled, n);
        }
        return;
    }
    bool bytes = t->kind != SM_TOKENIZER_WORDPIECE;
    for (uint32_t id = 0; id < t->text.n && step(t, 4); id++) {
        uint32_t length;
        const char *text = sm_strings_get(&t->text, id, &length);
        int32_t byte = bytes && !is_special(t->type[id]) ? parse_byte(text, length) : -1;
        if (byte >= 0) {
            t->flags[id] |= SM_FLAG_BYTE;
            if (t->byte_id[byte] == SM_NO_ID)
                t->byte_id[byte] = id;
        } else if (may_be_text(t, t->type[id])) {
            t->flags[id] |= SM_FLAG_MERGE;
        }
    }
}

/* SentencePiece finds user-defined pieces in running text. (Where a model is known to have white
 * space swallowed beside them it is Hugging Face's way, which cuts the text there.) */
static void weave(sm_tokenizer *t) {
    if (t->kind != SM_TOKENIZER_SPM && t->kind != SM_TOKENIZER_UNIGRAM)
        return;
    for (uint32_t id = 0; id < t->text.n; id++)
        if (t->type[id] == SM_TOKEN_USER_DEFINED &&
            !(t->flags[id] & (SM_FLAG_LSTRIP | SM_FLAG_RSTRIP)))
            t->flags[id] |= SM_FLAG_WOVEN;
}

/* ---- what tokens decode to ----------------------------------------------- */

/* Writes the piece of one token to out; never longer than its text. */
static uint32_t make_piece(const sm_tokenizer *t, uint32_t id, char *out) {
    uint32_t length, n = 0;
    const char *text = sm_strings_get(&t->text, id, &length);
    if (is_special(t->type[id]) && !(t->flags[id] & SM_FLAG_WOVEN)) {
        if (length)
            memcpy(out, text, length);
        return length;
    }
    if (t->flags[id] & SM_FLAG_BYTE) {
        *out = (char)parse_byte(text, length);
        return 1;
    }
    for (uint32_t i = 0, used; i < length; i += used) {
        uint32_t code;
        used = sm_utf8_decode((const uint8_t *)text + i, length - i, &code);
        int32_t byte = t->kind == SM_TOKENIZER_BPE ? sm_code_to_byte(code)
                       : code == 0x2581            ? ' '
                                                   : -1;
        if (byte >= 0) {
            out[n++] = (char)byte;
        } else {
            memcpy(out + n, text + i, used);
            n += used;
        }
    }
    return n;
}

static sm_status make_pieces(sm_tokenizer *t, sm_error *error) {
    if (!strings_alloc(&t->piece, t->mem, t->text.at[t->text.n], t->text.n))
        return no_memory(error);
    uint32_t at = 0;
    for (uint32_t id = 0; id < t->text.n; id++) {
        uint32_t n = make_piece(t, id, t->piece.data + at);
        if (!step(t, 4 + 2 * (uint64_t)n))
            return SM_OK;
        t->piece.at[id] = at;
        at += n;
        t->max_piece = n > t->max_piece ? n : t->max_piece;
    }
    t->piece.at[t->text.n] = at;
    return SM_OK;
}

/* ---- per kind ------------------------------------------------------------ */

static sm_status build_merges(sm_tokenizer *t, const sm_vocab *v, sm_error *error) {
    if (v->n_merges > UINT32_MAX - 1)
        return sm_fail(error, SM_ERR_FORMAT, "tokenizer.ggml.merges has %llu entries",
                       (unsigned long long)v->n_merges);
    if (!sm_pairs_init(&t->pairs, t->mem, v->n_merges))
        return no_memory(error);
    char joined[SM_MAX_TOKEN_BYTES];
    for (uint64_t i = 0; i < v->n_merges; i++) {
        sm_str m = v->merges[i];
        const char *gap = m.length > 2 ? memchr(m.data + 1, ' ', (size_t)m.length - 1) : NULL;
        if (!gap || gap + 1 == m.data + m.length)
            return sm_fail(error, SM_ERR_FORMAT, "tokenizer.ggml.merges[%llu] is not a pair",
                           (unsigned long long)i);
        uint64_t n_left = (uint64_t)(gap - m.data), n_right = m.length - n_left - 1;
        if (!step(t, 4 * FIND_STEPS))
            return SM_OK;
        if (m.length - 1 > sizeof joined)
            continue; /* no token is that long */
        memcpy(joined, m.data, (size_t)n_left);
        memcpy(joined + n_left, gap + 1, (size_t)n_right);
        uint32_t left = sm_index_find(&t->index, &t->text, joined, n_left);
        uint32_t right = sm_index_find(&t->index, &t->text, joined + n_left, n_right);
        uint32_t both = sm_index_find(&t->index, &t->text, joined, n_left + n_right);
        if (left != SM_NO_ID && right != SM_NO_ID && both != SM_NO_ID)
            sm_pairs_add(&t->pairs, left, right, (uint32_t)i, both);
    }
    return SM_OK;
}

static sm_status check_scores(const sm_tokenizer *t, const sm_vocab *v, sm_error *error) {
    if (!v->scores)
        return sm_fail(error, SM_ERR_MISSING, "tokenizer.ggml.scores is missing");
    for (uint32_t i = 0; i < t->text.n; i++)
        if (!isfinite(v->scores[i]))
            return sm_fail(error, SM_ERR_FORMAT, "tokenizer.ggml.scores[%u] is not finite", i);
    return SM_OK;
}

/* A number that is lower the higher the score. */
static uint32_t score_order(float score) {
    uint32_t bits;
    score += 0.0F; /* -0 and 0 are one */
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? bits : ~bits & 0x7FFFFFFF;
}

/* What is no token becomes bytes, which may also spell themselves, or the unknown token. */
static void spell_bytes(sm_tokenizer *t) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint8_t text = (uint8_t)byte;
        uint32_t id = t->byte_id[byte];
        if (id == SM_NO_ID)
            id = sm_index_find(&t->index, &t->text, &text, 1);
        bool usable = id != SM_NO_ID && t->flags[id] & (SM_FLAG_BYTE | SM_FLAG_MERGE);
        t->byte_id[byte] = usable ? id : SM_NO_ID;
        t->fuses |= !usable;
    }
}

static sm_status build_sentencepiece(sm_tokenizer *t, const sm_vocab *v, sm_error *error) {
    sm_status status = check_scores(t, v, error);
    if (status)
        return status;
    t->order = sm_alloc_array(t->mem, t->text.n, sizeof *t->order);
    if (!t->order || !sm_segment_build(t))
        return no_memory(error);
    for (uint32_t i = 0; i < t->text.n; i++)
        t->order[i] = score_order(v->scores[i]);
    spell_bytes(t);
    return SM_OK;
}

/* BPE by a list of merges, of characters. */
static sm_status build_chars(sm_tokenizer *t, const sm_vocab *v, sm_error *error) {
    sm_status status = build_merges(t, v, error);
    if (status)
        return status;
    spell_bytes(t);
    return sm_segment_build(t) ? SM_OK : no_memory(error);
}

/* The set of tokens that plain text may become. */
static sm_status build_words(sm_tokenizer *t, sm_error *error) {
    uint32_t *ids = sm_alloc_array(t->mem, t->text.n, sizeof *ids), n = 0;
    if (!ids)
        return no_memory(error);
    for (uint32_t id = 0; id < t->text.n; id++)
        if (t->flags[id] & SM_FLAG_MERGE)
            ids[n++] = id;
    bool built = sm_prefixes_build(&t->words, t->mem, &t->text, ids, n, t->pace);
    sm_free(t->mem, ids);
    return built ? SM_OK : no_memory(error);
}

static sm_status build_unigram(sm_tokenizer *t, const sm_vocab *v, sm_error *error) {
    sm_status status = check_scores(t, v, error);
    if (!status)
        status = build_words(t, error);
    if (status)
        return status;
    t->score = sm_alloc_array(t->mem, t->text.n, sizeof *t->score);
    if (!t->score || !sm_segment_build(t))
        return no_memory(error);
    float lowest = 0;
    bool any = false;
    for (uint32_t i = 0; i < t->text.n; i++) {
        t->score[i] = v->scores[i];
        if (t->type[i] == SM_TOKEN_NORMAL && (!any || v->scores[i] < lowest))
            lowest = v->scores[i];
        any |= t->type[i] == SM_TOKEN_NORMAL;
    }
    t->unknown_score = lowest - 10; /* SentencePiece's penalty */
    return SM_OK;
}

static bool contains_space(const char *text, uint32_t length) {
    for (uint32_t i = 0; i + 3 <= length; i++)
        if (memcmp(text + i, SM_LOWER_BLOCK, 3) == 0)
            return true;
    return false;
}

/* The special tokens, or of the user-defined ones those woven into running text or not. */
static bool build_set(sm_tokenizer *t, sm_prefixes *set, uint32_t *ids, bool all, uint8_t woven) {
    uint32_t n = 0;
    for (uint32_t id = 0; id < t->text.n; id++)
        if (all ? is_special(t->type[id])
                : t->type[id] == SM_TOKEN_USER_DEFINED && (t->flags[id] & SM_FLAG_WOVEN) == woven)
            ids[n++] = id;
    return sm_prefixes_build(set, t->mem, &t->text, ids, n, t->pace);
}

static sm_status build_special(sm_tokenizer *t, sm_error *error) {
    uint32_t *ids = sm_alloc_array(t->mem, t->text.n, sizeof *ids);
    bool built = ids && build_set(t, &t->special, ids, true, 0) &&
                 build_set(t, &t->user_defined, ids, false, 0) &&
                 build_set(t, &t->woven, ids, false, SM_FLAG_WOVEN);
    sm_free(t->mem, ids);
    return built ? SM_OK : no_memory(error);
}

/* Whether a fragment is normalized before it is cut in words, and how many ids may come of it. */
static sm_status plan_normalization(sm_tokenizer *t, const sm_vocab *v, sm_error *error) {
    bool spm = t->kind == SM_TOKENIZER_SPM, unigram = t->kind == SM_TOKENIZER_UNIGRAM;
    memset(t->charsmap.plain, 1, sizeof t->charsmap.plain);
    t->dense = !unigram;
    if (!spm && !unigram)
        return SM_OK;
    sm_status status = sm_charsmap_build(&t->charsmap, t->mem, v->charsmap, error);
    t->normalizes = unigram || t->charsmap.n_units || t->remove_extra_whitespaces;
    t->dense = spm && !t->charsmap.n_units;
    for (uint32_t id = 0; id < t->text.n; id++) {
        uint32_t length;
        const char *text = sm_strings_get(&t->text, id, &length);
        /* user-defined pieces with spaces are found where these are written as in the pieces */
        if (t->flags[id] & SM_FLAG_WOVEN && contains_space(text, length))
            t->normalizes = true;
        /* such a token may put a space prefix behind every byte */
        if (length == 1 && is_special(t->type[id]) && t->add_space_prefix)
            t->dense = false;
    }
    for (uint32_t c = 0; c < 128; c++)
        t->charsmap.plain[c] &= t->woven.first[c] == t->woven.first[c + 1];
    return status;
}

static sm_status build_kind(sm_tokenizer *t, const sm_vocab *v, sm_error *error) {
    switch (t->kind) {
    case SM_TOKENIZER_BPE:
        return build_merges(t, v, error);
    case SM_TOKENIZER_CHARS:
        return build_chars(t, v, error);
    case SM_TOKENIZER_SPM:
        return build_sentencepiece(t, v, error);
    case SM_TOKENIZER_WORDPIECE:
        return build_words(t, error);
    default:
        return build_unigram(t, v, error);
    }
}

/* ---- the builder ----------------------------------------------------------------------------- */

static sm_status set_kind(sm_tokenizer *t, const sm_vocab *v, uint32_t *pre_flags,
                          sm_error *error) {
    static const struct {
        const char *name;
        uint32_t kind;
    } kinds[] = {{"gpt2", SM_TOKENIZER_BPE},
                 {"llama", SM_TOKENIZER_SPM},
                 {"bert", SM_TOKENIZER_WORDPIECE},
                 {"t5", SM_TOKENIZER_UNIGRAM},
                 {"gemma4", SM_TOKENIZER_CHARS}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (equals(v->model, kinds[i].name))
            t->kind = kinds[i].kind;
    if (!v->model.length)
        return sm_fail(error, SM_ERR_MISSING, "tokenizer.ggml.model is missing");
    if (!t->kind)
        return sm_fail(error, SM_ERR_UNSUPPORTED, "tokenizer.ggml.model: unknown kind \"%.*s\"",
                       v->model.length < 64 ? (int)v->model.length : 64, v->model.data);
    if (t->kind != SM_TOKENIZER_BPE)
        return SM_OK;
    sm_str pre = v->pre.length ? v->pre : (sm_str){"default", 7};
    sm_status status = sm_pre_new(&t->pre, t->mem, pre.data, pre.length, pre_flags, error);
    if (!status) /* known names are shorter than the field */
        memcpy(t->pre_name, pre.data, (size_t)pre.length);
    return status;
}

/* The status of a part of the building, unless it was to end meanwhile: then the part may be
 * incomplete. */
static sm_status part_status(const sm_tokenizer *t, sm_status status, sm_error *error) {
    if (!status && t->pace && t->pace->stopped)
        return sm_fail(error, SM_ERR_CANCELLED, "loading was cancelled");
    return status;
}

static sm_status build(sm_tokenizer *t, const sm_vocab *v, sm_error *error) {
    uint32_t pre_flags = 0;
    sm_status status = set_kind(t, v, &pre_flags, error);
    if (!status)
        status = part_status(t, copy_tokens(t, v, error), error);
    if (status)
        return status;
    set_ids(t, v);
    if (v->unk_surface.length < sizeof t->unk_surface && v->unk_surface.length)
        memcpy(t->unk_surface, v->unk_surface.data, (size_t)v->unk_surface.length);
    status = set_switches(t, v, pre_flags, error);
    if (!status)
        status = set_types(t, v, error);
    if (status)
        return status;
    sm_markers_detect(t);
    set_flags(t);
    sm_markers_strip(t, v->name, v->architecture, pre_flags);
    weave(t);
    status = part_status(t, make_pieces(t, error), error);
    if (!status)
        status = part_status(t, build_special(t, error), error);
    if (!status)
        status = plan_normalization(t, v, error);
    if (!status)
        status = part_status(t, build_kind(t, v, error), error);
    t->pace = NULL; /* the caller's */
    return status;
}

static void release(sm_tokenizer *t) {
    sm_mem *mem = t->mem;
    if (atomic_load(&t->extra))
        t->release_extra(atomic_load(&t->extra));
    void *const blocks[] = {t->text.data,
                            t->text.at,
                            t->piece.data,
                            t->piece.at,
                            t->type,
                            t->flags,
                            t->index.slots,
                            t->special.ids,
                            t->user_defined.ids,
                            t->woven.ids,
                            t->pairs.slots,
                            t->order,
                            t->score,
                            t->charsmap.units,
                            t->words.ids,
                            t->charsmap.replacements,
                            t->adjacent};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        sm_free(mem, blocks[i]);
    sm_pre_free(t->pre, mem);
    sm_steps_free(t->steps, mem);
    void (*on_free)(void *owner) = t->on_free;
    void *owner = t->owner;
    sm_free(mem, t);
    if (on_free)
        on_free(owner);
}

sm_status sm_tokenizer_build(sm_tokenizer **out, sm_mem *mem, const sm_vocab *vocab,
                             sm_error *error) {
    *out = NULL;
    sm_tokenizer *t = sm_alloc_zero(mem, sizeof *t);
    if (!t)
        return no_memory(error);
    t->mem = mem;
    t->pace = vocab->pace;
    atomic_init(&t->references, 1);
    sm_status status = build(t, vocab, error);
    if (status)
        release(t);
    else
        *out = t;
    return status;
}

/* ---- handles --------------------------------------------------------------------------------- */

void sm_tokenizer_retain(const sm_tokenizer *tokenizer) {
    atomic_fetch_add_explicit(&((sm_tokenizer *)tokenizer)->references, 1, memory_order_relaxed);
}

void sm_tokenizer_set_owner(sm_tokenizer *tokenizer, void (*on_free)(void *owner), void *owner) {
    tokenizer->on_free = on_free;
    tokenizer->owner = owner;
}

void sm_tokenizer_free(sm_tokenizer *tokenizer) {
    if (tokenizer &&
        atomic_fetch_sub_explicit(&tokenizer->references, 1, memory_order_acq_rel) == 1)
        release(tokenizer);
}

const void *sm_tokenizer_extra(const sm_tokenizer *tokenizer) {
    return atomic_load_explicit(&((sm_tokenizer *)tokenizer)->extra, memory_order_acquire);
}

const void *sm_tokenizer_set_extra(const sm_tokenizer *tokenizer, void *extra,
                                   void (*release_extra)(void *extra)) {
    sm_tokenizer *t = (sm_tokenizer *)tokenizer;
    void *none = NULL;
    if (!atomic_compare_exchange_strong(&t->extra, &none, extra)) {
        release_extra(extra);
        return none;
    }
    t->release_extra = release_extra; /* looked at when the last reference goes */
    return extra;
}

sm_mem *sm_tokenizer_mem(const sm_tokenizer *tokenizer) {
    return tokenizer->mem;
}

int32_t sm_tokenizer_n_vocab(const sm_tokenizer *tokenizer) {
    return (int32_t)tokenizer->text.n;
}

static const sm_wide info_wide[] = {SM_WIDE_ARRAY(sm_tokenizer_info, pre), {0, 0, 0}};

sm_status sm_tokenizer_get_info(const sm_tokenizer *tokenizer, sm_tokenizer_info *info,
                                sm_error *error) {
    if (!tokenizer)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_tokenizer_get_info: tokenizer is NULL");
    const sm_tokenizer *t = tokenizer;
    sm_tokenizer_info full = {.kind = t->kind,
                              .n_vocab = (int32_t)t->text.n,
                              .bos = t->bos,
                              .eos = t->eos,
                              .unk = t->unk,
                              .sep = t->sep,
                              .pad = t->pad,
                              .mask = t->mask,
                              .eot = t->eot,
                              .add_bos = t->add_bos,
                              .add_eos = t->add_eos};
    memcpy(full.pre, t->pre_name, sizeof full.pre);
    return sm_struct_give(info, &full, sizeof full, info_wide, "sm_tokenizer_get_info", error);
}

const char *sm_tokenizer_token_text(const sm_tokenizer *tokenizer, int32_t id, uint64_t *length) {
    if (length)
        *length = 0;
    if (!tokenizer || id < 0 || (uint32_t)id >= tokenizer->text.n)
        return NULL;
    uint32_t n;
    const char *text = sm_strings_get(&tokenizer->text, (uint32_t)id, &n);
    if (length)
        *length = n;
    return text;
}

int32_t sm_tokenizer_find(const sm_tokenizer *tokenizer, const char *text, uint64_t length) {
    if (!tokenizer || !text)
        return -1;
    uint32_t id = sm_index_find(&tokenizer->index, &tokenizer->text, text, text_size(text, length));
    return id == SM_NO_ID ? -1 : (int32_t)id;
}

int32_t sm_tokenizer_is_end(const sm_tokenizer *tokenizer, int32_t id) {
    if (!tokenizer || id < 0 || (uint32_t)id >= tokenizer->text.n)
        return 0;
    return (tokenizer->flags[id] & SM_FLAG_END) != 0;
}
