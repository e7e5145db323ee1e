/* Texts to ids by a tokenizer.json: added tokens, the steps between them, the template around. */
#include "steps.h"

/* ---- added tokens ---------------------------------------------------------------------------- */

/* One level of looking for added tokens: before or after normalizing. */
typedef struct search {
    sm_encoder *encoder;
    const sm_prefixes *set;
    const sm_strings *strings;
    const uint8_t *text;
    uint64_t length;
    uint64_t at;   /* where to look on */
    uint64_t done; /* up to where the text has been handed out */
    bool plain;    /* special ones are text */
    bool raw;      /* the text is the caller's, which has parts */
} search;

typedef struct found {
    uint32_t id; /* SM_NO_ID: none is left */
    uint64_t begin, end;
} found;

static bool word_before(const search *s, uint64_t at) {
    uint32_t code;
    if (at == 0)
        return false;
    do
        at--;
    while (at > 0 && (s->text[at] & 0xC0) == 0x80);
    (void)sm_utf8_decode(s->text + at, s->length - at, &code);
    return sm_is_word(code) || code == 0x200C || code == 0x200D;
}

static bool word_after(const search *s, uint64_t at) {
    uint32_t code;
    if (at >= s->length)
        return false;
    (void)sm_utf8_decode(s->text + at, s->length - at, &code);
    return sm_is_word(code) || code == 0x200C || code == 0x200D;
}

static uint64_t spaces_before(const search *s, uint64_t at) {
    while (at > s->done && sm_pace_step(&s->encoder->pace, 2)) {
        uint64_t last = at - 1;
        uint32_t n;
        while (last > s->done && (s->text[last] & 0xC0) == 0x80)
            last--;
        if (!(sm_char_at(s->text + last, s->length - last, &n) & SM_CHAR_SPACE))
            break;
        at = last;
    }
    return at;
}

static uint64_t spaces_after(const search *s, uint64_t at) {
    uint32_t n;
    while (at < s->length && sm_char_at(s->text + at, s->length - at, &n) & SM_CHAR_SPACE &&
           sm_pace_step(&s->encoder->pace, 2))
        at += n;
    return at;
}

/* The longest token at s->at, which is left behind it. */
static uint32_t token_here(search *s, uint32_t *bytes) {
    sm_prefix_walk walk;
    uint32_t best = SM_NO_ID, id, n;
    sm_prefixes_start(s->set, s->text[s->at], &walk);
    while ((id = sm_prefixes_next(s->set, s->strings, s->text + s->at, s->length - s->at, &walk,
                                  &n)) != SM_NO_ID) {
        best = id;
        *bytes = n;
    }
    (void)sm_pace_step(&s->encoder->pace, walk.depth);
    return best;
}

/* Whether a plain part of the caller's text is touched. */
static bool in_plain_part(search *s, uint64_t begin, uint64_t end) {
    sm_encoder *encoder = s->encoder;
    for (; encoder->n_parts && encoder->part->end <= begin; encoder->n_parts--)
        encoder->part++;
    for (uint32_t i = 0; i < encoder->n_parts; i++) {
        if (encoder->part[i].plain)
            return true;
        if (encoder->part[i].end >= end)
            break;
    }
    return false;
}

/* Whether a token found at s->at counts. */
static bool counts(search *s, uint32_t id, uint32_t bytes) {
    const sm_tokenizer *t = s->encoder->tokenizer;
    const bool special = t->steps->added[id] & HF_SPECIAL;
    if (special &&
        (s->plain || (s->raw && s->encoder->n_parts && in_plain_part(s, s->at, s->at + bytes))))
        return false;
    return !(t->steps->added[id] & HF_SINGLE_WORD) ||
           (!word_before(s, s->at) && !word_after(s, s->at + bytes));
}

static sm_status next_token(search *s, found *f) {
    const sm_tokenizer *t = s->encoder->tokenizer;
    f->id = SM_NO_ID;
    while (s->at < s->length && s->set->n) {
        const uint64_t from = s->at;
        uint64_t stop = s->length - s->at < SM_PACE_STEPS ? s->length : s->at + SM_PACE_STEPS;
        while (s->at < stop && s->set->first[s->text[s->at]] == s->set->first[s->text[s->at] + 1])
            s->at++;
        if (!sm_pace_step(&s->encoder->pace, (s->at - from) / 2 + 1))
            return sm_encoder_fail(s->encoder);
        if (s->at == stop)
            continue;
        uint32_t bytes = 0;
        const uint32_t id = token_here(s, &bytes);
        if (id == SM_NO_ID) {
            s->at++;
            continue;
        }
        const bool good = counts(s, id, bytes);
        f->begin = s->at;
        f->end = s->at += bytes;
        if (!good)
            continue;
        f->id = id;
        if (t->steps->added[id] & HF_LSTRIP)
            f->begin = spaces_before(s, f->begin);
        if (t->steps->added[id] & HF_RSTRIP)
            f->end = spaces_after(s, f->end);
        break;
    }
    return s->encoder->pace.stopped ? sm_encoder_fail(s->encoder) : SM_OK;
}

/* ---- words ----------------------------------------------------------------------------------- */

/* A piece; a long one in segments, where that makes the same ids. */
static sm_status encode_piece(sm_encoder *encoder, const uint8_t *piece, uint64_t length) {
    const sm_tokenizer *t = encoder->tokenizer;
    const sm_word_fn make = t->steps->byte_words ? sm_bpe_word : sm_steps_word;
    encoder->after_unknown = false;
    if (!t->steps->segments || length <= 16)
        return sm_encoder_word(encoder, piece, length, make);
    for (uint64_t begin = 0, steps = 0; begin < length;) {
        const uint64_t end = sm_segment_end(encoder, piece, length, begin);
        const sm_status status = sm_encoder_word(encoder, piece + begin, end - begin, make);
        if (status)
            return status;
        if (!sm_pace_add(&encoder->pace, &steps, end - begin))
            return sm_encoder_fail(encoder);
        begin = end;
    }
    return SM_OK;
}

static sm_status encode_pieces(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                               bool first, bool joined) {
    sm_steps_cut_start(encoder, encoder->cuts, text, length, first, joined);
    for (uint64_t steps = 0;;) {
        const uint8_t *piece;
        uint64_t n;
        sm_status status = sm_steps_cut_next(encoder, encoder->cuts, &piece, &n);
        if (status || !n)
            return status;
        /* where bytes stay as they are pieces lie in the text that was made valid: see encode */
        if (encoder->valid)
            piece = encoder->raw + (piece - encoder->valid);
        status = encode_piece(encoder, piece, n);
        if (status)
            return status;
        if (!sm_pace_add(&encoder->pace, &steps, n))
            return sm_encoder_fail(encoder);
    }
}

static sm_status put_id(sm_encoder *encoder, uint32_t id) {
    return sm_encoder_put(encoder, &(int32_t){(int32_t)id}, 1);
}

/* What lies between added tokens that are looked for before normalizing. */
static sm_status encode_fragment(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                                 bool first, bool plain) {
    const sm_steps *hf = encoder->tokenizer->steps;
    const bool joined = encoder->joined;
    encoder->joined = false;
    if (!length)
        return SM_OK;
    const uint8_t *normal;
    uint64_t n;
    sm_status status = sm_steps_clean(encoder, text, length, joined, &normal, &n);
    if (status || !n)
        return status;
    search s = {.encoder = encoder,
                .set = &hf->normal_set,
                .strings = &hf->normal,
                .text = normal,
                .length = n,
                .plain = plain};
    for (;;) {
        found f;
        status = next_token(&s, &f);
        const uint64_t end = f.id == SM_NO_ID ? n : f.begin;
        if (!status && s.done < end)
            status = encode_pieces(encoder, normal + s.done, end - s.done, first && s.done == 0,
                                   joined && s.done == 0);
        if (status || f.id == SM_NO_ID)
            return status;
        status = put_id(encoder, f.id);
        if (status)
            return status;
        s.done = f.end;
    }
}

/* ---- texts ----------------------------------------------------------------------------------- */

/* Where the first byte is that belongs to no character; length if all do. */
static sm_status find_invalid(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                              uint64_t *at) {
    for (uint64_t steps = 0; *at < length;) {
        uint32_t code, n = 8;
        if (length - *at < 8 || sm_load64(text + *at) & 0x8080808080808080ULL) {
            n = sm_utf8_decode(text + *at, length - *at, &code);
            if (code == UINT32_MAX)
                return SM_OK;
        }
        *at += n;
        if (!sm_pace_add(&encoder->pace, &steps, 2))
            return sm_encoder_fail(encoder);
    }
    return SM_OK;
}

/* The text with a sign for every byte that is no character's: one of as many bytes where places
 * have to stay. */
static sm_status make_valid(sm_encoder *encoder, const uint8_t **text, uint64_t *length) {
    const bool stays = encoder->tokenizer->steps->keeps_bytes || encoder->n_parts;
    const sm_str sign = stays ? (sm_str){"\x01", 1} : (sm_str){"\xEF\xBF\xBD", 3};
    uint64_t at = 0, n = 0, from = 0;
    sm_status status = find_invalid(encoder, *text, *length, &at);
    if (status || at == *length)
        return status;
    uint8_t *copy = sm_scratch_reserve(encoder, &encoder->shadow, 0, *length * sign.length);
    if (!copy)
        return sm_encoder_fail(encoder);
    while (from < *length && !status) {
        status = sm_encoder_copy(encoder, copy + n, *text + from, at - from);
        n += at - from;
        if (status || at == *length)
            break;
        memcpy(copy + n, sign.data, (size_t)sign.length);
        n += sign.length;
        from = ++at;
        status = find_invalid(encoder, *text, *length, &at);
    }
    if (encoder->tokenizer->steps->keeps_bytes) {
        encoder->valid = copy;
        encoder->raw = *text;
    }
    *text = copy;
    *length = n;
    return status;
}

sm_status sm_steps_encode(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                          uint32_t flags) {
    const sm_tokenizer *t = encoder->tokenizer;
    const bool begins = !encoder->joined;
    encoder->valid = NULL;
    sm_status status = make_valid(encoder, &text, &length);
    search s = {.encoder = encoder,
                .set = &t->steps->raw_set,
                .strings = &t->text,
                .text = text,
                .length = length,
                .plain = !(flags & SM_ENCODE_SPECIAL),
                .raw = true};
    while (!status) {
        found f;
        status = next_token(&s, &f);
        const uint64_t end = f.id == SM_NO_ID ? length : f.begin;
        if (!status && s.done < end)
            status = encode_fragment(encoder, text + s.done, end - s.done, begins && s.done == 0,
                                     s.plain);
        if (status || f.id == SM_NO_ID)
            return status;
        encoder->joined = false;
        status = put_id(encoder, f.id);
        s.done = f.end;
    }
    return status;
}

/* ---- templates ------------------------------------------------------------------------------- */

static void put_types(int32_t *types, uint64_t capacity, uint64_t from, uint64_t to,
                      uint32_t type) {
    for (uint64_t i = from; types && i < to && i < capacity; i++)
        types[i] = (int32_t)type;
}

sm_status sm_steps_encode_template(sm_encoder *encoder, const sm_steps_template *how, sm_str first,
                                   sm_str second, uint32_t flags, int32_t *type_ids,
                                   uint64_t capacity) {
    const sm_steps *hf = encoder->tokenizer->steps;
    sm_status status = SM_OK;
    for (uint32_t i = 0; i < how->n && !status; i++) {
        const sm_steps_part *part = &how->parts[i];
        const sm_str text = part->kind == HF_FIRST ? first : second;
        const uint64_t from = encoder->sink.n;
        if (part->kind != HF_IDS)
            status = sm_steps_encode(encoder, (const uint8_t *)text.data, text.length, flags);
        else if (flags & SM_ENCODE_MARKERS)
            status = sm_encoder_put(encoder, hf->ids + part->at, part->n);
        put_types(type_ids, capacity, from, encoder->sink.n, part->type);
    }
    return status;
}

void sm_steps_free(sm_steps *hf, sm_mem *mem) {
    if (!hf)
        return;
    for (uint32_t i = 0; i < hf->n_clean; i++) {
        sm_pattern_free(hf->clean[i].pattern, mem);
        sm_free(mem, (void *)hf->clean[i].text.data);
        sm_free(mem, hf->clean[i].charsmap.units);
        sm_free(mem, hf->clean[i].charsmap.replacements);
    }
    for (uint32_t i = 0; i < hf->n_cut; i++) {
        sm_pattern_free(hf->cut[i].pattern, mem);
        sm_free(mem, (void *)hf->cut[i].text.data);
    }
    for (uint32_t i = 0; i < hf->n_undo; i++) {
        sm_pattern_free(hf->undo[i].pattern, mem);
        sm_free(mem, (void *)hf->undo[i].text.data);
        sm_free(mem, (void *)hf->undo[i].other.data);
    }
    void *const blocks[] = {(void *)hf->prefix.data,
                            (void *)hf->suffix.data,
                            hf->score,
                            hf->tails.data,
                            hf->tails.at,
                            hf->inner.ids,
                            hf->added,
                            hf->normal.data,
                            hf->normal.at,
                            hf->raw_set.ids,
                            hf->normal_set.ids,
                            hf->ids};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        sm_free(mem, blocks[i]);
    sm_free(mem, hf);
}
