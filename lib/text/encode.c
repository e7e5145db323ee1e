/* Text to ids: special tokens are cut out first, the fragments between them go to the
 * vocabulary's algorithm word by word, through a cache of words seen in this call. */
#include "steps.h"

#include <string.h>

/* ---- fragments of plain text --------------------------------------------- */

/* Where the first invalid byte from i on is, or length. */
static uint64_t find_invalid(const uint8_t *text, uint64_t length, uint64_t i) {
    while (i < length) {
        if (length - i >= 8 && !(sm_load64(text + i) & 0x8080808080808080ULL)) {
            i += 8;
            continue;
        }
        uint32_t code, n = sm_utf8_decode(text + i, length - i, &code);
        if (code == UINT32_MAX)
            return i;
        i += n;
    }
    return length;
}

/* find_invalid in pieces that each end where a character does. */
static sm_status find_invalid_paced(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                                    uint64_t *i) {
    for (;;) {
        uint64_t end = length;
        if (length - *i > SM_PACE_STEPS)
            end = *i + sm_utf8_complete(text + *i, SM_PACE_STEPS);
        uint64_t at = find_invalid(text, end, *i);
        sm_status status = sm_encoder_step(encoder, at - *i);
        *i = at;
        if (status || at < end || end == length)
            return status;
    }
}

/* The pre-tokenizer wants valid UTF-8; it sees a control character (which belongs to no
 * class that a pattern names) for every byte that is not. Offsets stay the same. */
static sm_status make_valid(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                            const uint8_t **valid) {
    uint64_t i = 0;
    sm_status status = find_invalid_paced(encoder, text, length, &i);
    *valid = text;
    if (status || i == length)
        return status;
    uint8_t *copy = sm_scratch_reserve(encoder, &encoder->shadow, 0, length);
    if (!copy)
        return sm_encoder_fail(encoder);
    status = sm_encoder_copy(encoder, copy, text, length);
    while (!status && i < length) {
        copy[i++] = 1;
        status = find_invalid_paced(encoder, text, length, &i);
    }
    *valid = copy;
    return status;
}

static sm_status encode_bytes(sm_encoder *encoder, const uint8_t *text, uint64_t length) {
    const uint8_t *valid;
    sm_status status = make_valid(encoder, text, length, &valid);
    if (status)
        return status;
    sm_split_start(&encoder->split, encoder->tokenizer->pre, valid, length, &encoder->pace);
    for (uint64_t steps = 0;;) {
        uint64_t begin, end;
        status = sm_split_next(&encoder->split, &begin, &end, encoder->error);
        if (status || begin == length)
            return status;
        status = sm_encoder_word(encoder, text + begin, end - begin, sm_bpe_word);
        if (status)
            return status;
        if (!sm_pace_add(&encoder->pace, &steps, end - begin))
            return sm_encoder_fail(encoder);
    }
}

/* The first member of the set from *at on: where and what, or length and SM_NO_ID. */
static sm_status next_special(sm_encoder *encoder, const sm_prefixes *set, const uint8_t *text,
                              uint64_t length, uint64_t *at, uint32_t *id, uint32_t *bytes) {
    uint64_t i = set->n ? *at : length;
    sm_status status = SM_OK;
    *id = SM_NO_ID;
    while (i < length && *id == SM_NO_ID && !status) {
        uint64_t begin = i, stop = length - i < SM_PACE_STEPS ? length : i + SM_PACE_STEPS;
        while (i < stop && set->first[text[i]] == set->first[text[i] + 1])
            i++;
        uint64_t steps = i - begin;
        if (i < stop)
            *id = sm_find_special(encoder->tokenizer, set, text + i, length - i, bytes, &steps);
        i += i < stop && *id == SM_NO_ID;
        status = sm_encoder_step(encoder, steps);
    }
    *at = i;
    return status;
}

/* A stretch of a fragment without user-defined pieces, which is no empty one. */
static sm_status encode_segments(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                                 bool prefix) {
    const sm_word_fn make =
        encoder->tokenizer->kind == SM_TOKENIZER_UNIGRAM ? sm_unigram_word : sm_bpe_word;
    uint64_t begin = 0;
    if (prefix) {
        begin = length ? sm_segment_end(encoder, text, length, 0) : 0;
        uint8_t *first = sm_scratch_reserve(encoder, &encoder->normal, 0, begin + 1);
        if (!first)
            return sm_encoder_fail(encoder);
        first[0] = ' ';
        sm_status status = sm_encoder_copy(encoder, first + 1, text, begin);
        if (!status)
            status = sm_encoder_word(encoder, first, begin + 1, make);
        if (status)
            return status;
    }
    for (uint64_t steps = begin; begin < length;) {
        uint64_t end = sm_segment_end(encoder, text, length, begin);
        sm_status status = sm_encoder_word(encoder, text + begin, end - begin, make);
        if (status)
            return status;
        if (!sm_pace_add(&encoder->pace, &steps, end - begin))
            return sm_encoder_fail(encoder);
        begin = end;
    }
    return SM_OK;
}

/* SentencePiece kinds. A user-defined piece stands for itself, and nothing merges across it; a
 * lattice (unigram) has them among its pieces. */
static sm_status encode_pieces(sm_encoder *encoder, const uint8_t *text, uint64_t length) {
    const sm_tokenizer *t = encoder->tokenizer;
    bool prefix = t->add_space_prefix && !t->normalizes && !encoder->joined;
    encoder->after_unknown = false;
    encoder->reached = 0;
    if (t->normalizes) {
        sm_status status = sm_normalize(encoder, text, length, &length);
        if (status)
            return status;
        text = encoder->normal.data;
    }
    if (t->kind == SM_TOKENIZER_UNIGRAM)
        return encode_segments(encoder, text, length, false);
    for (uint64_t begin = 0, i = 0;;) {
        uint32_t bytes, id;
        sm_status status = next_special(encoder, &t->woven, text, length, &i, &id, &bytes);
        if (!status)
            status = encode_segments(encoder, text + begin, i - begin, prefix);
        if (status || id == SM_NO_ID)
            return status;
        status = sm_encoder_put(encoder, &(int32_t){(int32_t)id}, 1);
        if (status)
            return status;
        prefix = encoder->after_unknown = false;
        begin = i += bytes;
    }
}

static sm_status encode_fragment(sm_encoder *encoder, const uint8_t *text, uint64_t length) {
    if (!length)
        return SM_OK;
    switch (encoder->tokenizer->kind) {
    case SM_TOKENIZER_BPE:
        return encode_bytes(encoder, text, length);
    case SM_TOKENIZER_WORDPIECE:
        return sm_wordpiece_fragment(encoder, text, length);
    default:
        return encode_pieces(encoder, text, length);
    }
}

/* ---- special tokens ------------------------------------------------------ */

static bool is_strippable(uint8_t c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Whether a special token found there stands in text that is to have none. */
static bool in_plain_part(sm_encoder *encoder, const uint8_t *text, uint64_t length, uint64_t at,
                          uint64_t bytes, uint32_t id) {
    uint32_t plain_bytes;
    uint64_t steps = 0;
    bool plain = false;
    while (encoder->n_parts && encoder->part->end <= at)
        encoder->part++, encoder->n_parts--;
    for (uint32_t i = 0; i < encoder->n_parts && !plain; i++) {
        plain = encoder->part[i].plain;
        if (encoder->part[i].end >= at + bytes)
            break;
    }
    return plain && sm_find_special(encoder->tokenizer, &encoder->tokenizer->user_defined,
                                    text + at, length - at, &plain_bytes, &steps) != id;
}

static sm_status encode_text(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                             const sm_prefixes *set) {
    const sm_tokenizer *t = encoder->tokenizer;
    uint64_t begin = 0, i = 0;
    for (;;) {
        uint32_t bytes, id;
        sm_status status = next_special(encoder, set, text, length, &i, &id, &bytes);
        uint64_t end = i;
        if (!status && id != SM_NO_ID && encoder->n_parts &&
            in_plain_part(encoder, text, length, i, bytes, id)) {
            i++;
            continue;
        }
        if (!status && id != SM_NO_ID && t->flags[id] & SM_FLAG_WOVEN) {
            i += bytes; /* not the place of another that begins inside */
            continue;
        }
        if (!status && id != SM_NO_ID && t->flags[id] & SM_FLAG_LSTRIP)
            while (end > begin && is_strippable(text[end - 1]) && sm_pace_step(&encoder->pace, 1))
                end--;
        if (!status)
            status = encode_fragment(encoder, text + begin, end - begin);
        if (status || id == SM_NO_ID)
            return status;
        encoder->joined = false;
        status = sm_encoder_put(encoder, &(int32_t){(int32_t)id}, 1);
        if (status)
            return status;
        i += bytes;
        if (t->flags[id] & SM_FLAG_RSTRIP)
            while (i < length && is_strippable(text[i]) && sm_pace_step(&encoder->pace, 1))
                i++;
        begin = i;
    }
}

/* ---- the call -------------------------------------------------------------------------------- */

static sm_status encode_all(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                            uint32_t flags) {
    const sm_tokenizer *t = encoder->tokenizer;
    if (t->steps)
        return sm_steps_encode_template(encoder, &t->steps->single,
                                        (sm_str){(const char *)text, length}, (sm_str){NULL, 0},
                                        flags, NULL, 0);
    bool word_piece = t->kind == SM_TOKENIZER_WORDPIECE;
    int32_t front = word_piece ? t->cls : t->bos, back = word_piece ? t->sep : t->eos;
    sm_status status = SM_OK;
    if (flags & SM_ENCODE_MARKERS && t->add_bos)
        status = sm_encoder_put(encoder, &front, 1);
    if (!status)
        status = encode_text(encoder, text, length,
                             flags & SM_ENCODE_SPECIAL ? &t->special : &t->user_defined);
    if (!status && flags & SM_ENCODE_MARKERS && t->add_eos)
        status = sm_encoder_put(encoder, &back, 1);
    return status;
}

static const sm_wide options_wide[] = {SM_WIDE_FROM(sm_encode_options, cancel), {0, 0, 0}};

/* Hands the ids out, if there is room, and ends the call. */
static sm_status finish(sm_encoder *encoder, sm_status status, int32_t *ids, uint64_t capacity,
                        uint64_t *n) {
    if (!status) {
        *n = encoder->sink.n;
        if (*n > capacity)
            status = sm_fail(encoder->error, SM_ERR_BUFFER,
                             "sm_tokenizer_encode: %llu ids, room for %llu", (unsigned long long)*n,
                             (unsigned long long)capacity);
        else if (encoder->sink.own)
            status = sm_encoder_copy(encoder, ids, encoder->sink.ids, *n * sizeof *ids);
        if (status == SM_ERR_CANCELLED)
            *n = 0;
    }
    sm_encoder_done(encoder);
    return status;
}

static sm_status take_options(sm_encode_options *o, const sm_encode_options *options,
                              uint64_t length, sm_error *error) {
    const sm_status status =
        sm_struct_take(o, sizeof *o, options_wide, options, "sm_tokenizer_encode", error);
    if (status)
        return status;
    if (o->flags & ~(uint32_t)(SM_ENCODE_SPECIAL | SM_ENCODE_MARKERS))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_tokenizer_encode: unknown flag in %u", o->flags);
    if (length > SIZE_MAX / 64)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_tokenizer_encode: the text is too long");
    return SM_OK;
}

static sm_status encode(const sm_tokenizer *tokenizer, const char *text, uint64_t length,
                        uint64_t from, const sm_text_part *parts, uint32_t n_parts,
                        const sm_encode_options *options, int32_t *ids, uint64_t capacity,
                        uint64_t *n, sm_error *error) {
    if (n)
        *n = 0;
    if (!tokenizer || !n || (!text && length) || (!ids && capacity))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_tokenizer_encode: a pointer is NULL");
    sm_encode_options o;
    sm_status status = take_options(&o, options, length, error);
    if (status)
        return status;
    sm_ask asked;
    sm_join_cancel(&asked, &o.cancel, &o.cancel_user, o.cancel_flag);
    sm_encoder encoder;
    status = sm_encoder_init(&encoder, tokenizer, length - from, &o, ids, capacity, error);
    encoder.joined = from > 0;
    encoder.part = parts;
    encoder.n_parts = n_parts;
    encoder.after_space = from > 0 && tokenizer->normalizes &&
                          sm_normal_ends_with_space(tokenizer, (const uint8_t *)text, from);
    if (!status)
        status = encode_all(&encoder, (const uint8_t *)text + from, length - from, o.flags);
    return finish(&encoder, status, ids, capacity, n);
}

sm_status sm_tokenizer_encode(const sm_tokenizer *tokenizer, const char *text, uint64_t length,
                              const sm_encode_options *options, int32_t *ids, uint64_t capacity,
                              uint64_t *n, sm_error *error) {
    length = text ? text_size(text, length) : length;
    return sm_tokenizer_encode_rest(tokenizer, text, length, 0, options, ids, capacity, n, error);
}

sm_status sm_tokenizer_encode_rest(const sm_tokenizer *tokenizer, const char *text, uint64_t length,
                                   uint64_t from, const sm_encode_options *options, int32_t *ids,
                                   uint64_t capacity, uint64_t *n, sm_error *error) {
    return encode(tokenizer, text, length, from, NULL, 0, options, ids, capacity, n, error);
}

sm_status sm_tokenizer_encode_parts(const sm_tokenizer *tokenizer, const char *text,
                                    uint64_t length, const sm_text_part *parts, uint32_t n_parts,
                                    const sm_encode_options *options, int32_t *ids,
                                    uint64_t capacity, uint64_t *n, sm_error *error) {
    return encode(tokenizer, text, length, 0, parts, n_parts, options, ids, capacity, n, error);
}

/* ---- pairs ----------------------------------------------------------------------------------- */

/* [CLS] first [SEP] second [SEP], as BERT has it. */
static sm_status wordpiece_pair(sm_encoder *encoder, sm_str first, sm_str second, uint32_t flags,
                                int32_t *type_ids, uint64_t capacity) {
    const sm_tokenizer *t = encoder->tokenizer;
    const sm_prefixes *set = flags & SM_ENCODE_SPECIAL ? &t->special : &t->user_defined;
    const bool marks = flags & SM_ENCODE_MARKERS;
    sm_status status = marks && t->cls >= 0 ? sm_encoder_put(encoder, &t->cls, 1) : SM_OK;
    for (uint32_t i = 0, from = 0; i < 2 && !status; i++) {
        const sm_str text = i ? second : first;
        status = encode_text(encoder, (const uint8_t *)text.data, text.length, set);
        if (!status && marks && t->sep >= 0)
            status = sm_encoder_put(encoder, &t->sep, 1);
        for (uint64_t k = from; type_ids && k < encoder->sink.n && k < capacity; k++)
            type_ids[k] = (int32_t)i;
        from = (uint32_t)encoder->sink.n;
    }
    return status;
}

sm_status sm_tokenizer_encode_pair(const sm_tokenizer *tokenizer, const char *first,
                                   uint64_t first_length, const char *second,
                                   uint64_t second_length, const sm_encode_options *options,
                                   int32_t *ids, int32_t *type_ids, uint64_t capacity, uint64_t *n,
                                   sm_error *error) {
    if (n)
        *n = 0;
    if (!tokenizer || !n || (!first && first_length) || (!second && second_length) ||
        (!ids && capacity))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_tokenizer_encode_pair: a pointer is NULL");
    if (!tokenizer->steps && tokenizer->kind != SM_TOKENIZER_WORDPIECE)
        return sm_fail(error, SM_ERR_UNSUPPORTED,
                       "sm_tokenizer_encode_pair: the vocabulary has no template for pairs");
    const sm_str a = {first, text_size(first, first_length)};
    const sm_str b = {second, text_size(second, second_length)};
    sm_encode_options o;
    sm_status status = take_options(&o, options, a.length > b.length ? a.length : b.length, error);
    if (status)
        return status;
    sm_ask asked;
    sm_join_cancel(&asked, &o.cancel, &o.cancel_user, o.cancel_flag);
    sm_encoder encoder;
    status = sm_encoder_init(&encoder, tokenizer, a.length + b.length, &o, ids, capacity, error);
    if (!status && tokenizer->steps)
        status = sm_steps_encode_template(&encoder, &tokenizer->steps->pair, a, b, o.flags,
                                          type_ids, capacity);
    else if (!status)
        status = wordpiece_pair(&encoder, a, b, o.flags, type_ids, capacity);
    return finish(&encoder, status, ids, capacity, n);
}
