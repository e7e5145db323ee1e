/* The pre-tokenizers of tokenizer.json: steps that each cut the pieces of the one before. A piece
 * is handed on as soon as it is found, so nothing but places is kept of a text. */
#include "steps.h"

#define NO_MATCH UINT64_MAX

/* ---- finding matches ------------------------------------------------------------------------- */

/* The first character from `at` on that the step is about. */
static void find_held(sm_encoder *encoder, const sm_cut *cut, sm_cut_state *s, uint64_t at) {
    uint64_t steps = 0;
    s->begin = NO_MATCH;
    while (at < s->length) {
        uint32_t code = s->text[at], n = 1;
        bool held;
        if (code < 0x80) {
            held = cut->ascii[code];
        } else {
            n = sm_utf8_decode(s->text + at, s->length - at, &code);
            held = cut->holds(code);
        }
        if (held) {
            s->begin = at;
            s->end = at + n;
            return;
        }
        at += n;
        if (!sm_pace_add(&encoder->pace, &steps, 1))
            return;
    }
}

/* The match that comes next, which may be an empty one; begin is NO_MATCH if there is none. */
static sm_status look_ahead(sm_encoder *encoder, const sm_cut *cut, sm_cut_state *s) {
    s->known = true;
    if (cut->holds) {
        find_held(encoder, cut, s, s->at);
        return encoder->pace.stopped ? sm_encoder_fail(encoder) : SM_OK;
    }
    while (s->memo <= s->length) {
        const sm_status status =
            sm_pattern_find(cut->pattern, &encoder->matcher, s->text, s->length, s->memo, &s->begin,
                            &s->end, encoder->error);
        if (status || s->begin == NO_MATCH)
            return status;
        s->memo = s->end;
        if (s->begin < s->end || s->end != s->last) {
            s->last = s->end;
            return SM_OK;
        }
        uint32_t code; /* an empty one where the last ended does not count */
        s->memo +=
            s->end < s->length ? sm_utf8_decode(s->text + s->end, s->length - s->end, &code) : 1;
    }
    s->begin = NO_MATCH;
    return SM_OK;
}

/* The next stretch, from s->at on: a match, maybe empty, or what lies before one. */
static sm_status stretch(sm_encoder *encoder, const sm_cut *cut, sm_cut_state *s, uint64_t *end,
                         bool *is_match) {
    const sm_status status = s->known ? SM_OK : look_ahead(encoder, cut, s);
    if (status)
        return status;
    *is_match = s->begin == s->at;
    *end = *is_match ? s->end : s->begin == NO_MATCH ? s->length : s->begin;
    if (*is_match)
        s->known = false;
    s->at = *end;
    *is_match ^= cut->invert;
    return SM_OK;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* Puts what follows into the piece that ends at *end, as the step says. */
static sm_status join(sm_encoder *encoder, const sm_cut *cut, sm_cut_state *s, bool is_match,
                      uint64_t *end) {
    const bool same = cut->keep == KEEP_CONTIGUOUS;
    if (cut->keep == KEEP_ISOLATED || cut->keep == KEEP_REMOVED ||
        (cut->keep == KEEP_WITH_PREVIOUS && is_match) || (cut->keep == KEEP_WITH_NEXT && !is_match))
        return SM_OK;
    while (s->at < s->length) {
        sm_cut_state ahead = *s;
        uint64_t next;
        bool other;
        const sm_status status = stretch(encoder, cut, &ahead, &next, &other);
        if (status)
            return status;
        if ((other == is_match) != same) {
            s->known = ahead.known || ahead.at > s->at || other; /* what was found stays found */
            s->begin = ahead.begin;
            s->end = ahead.end;
            s->memo = ahead.memo;
            s->last = ahead.last;
            return SM_OK;
        }
        *s = ahead;
        *end = next;
        if (!same)
            return SM_OK;
    }
    return SM_OK;
}

static sm_status split(sm_encoder *encoder, const sm_cut *cut, sm_cut_state *s, uint64_t *begin,
                       uint64_t *end) {
    if (cut->scan) {
        *begin = s->at;
        *end = s->at =
            sm_scan(cut->scan, cut->ascii, s->text, s->length, s->at, &s->memo, &encoder->pace);
        return encoder->pace.stopped ? sm_encoder_fail(encoder) : SM_OK;
    }
    for (uint64_t steps = 0; s->at < s->length;) {
        bool is_match;
        *begin = s->at;
        sm_status status = stretch(encoder, cut, s, end, &is_match);
        if (!status)
            status = join(encoder, cut, s, is_match, end);
        if (status || ((cut->keep != KEEP_REMOVED || !is_match) && *end > *begin))
            return status;
        if (!sm_pace_add(&encoder->pace, &steps, *end - *begin + 4))
            return sm_encoder_fail(encoder);
    }
    *begin = *end = s->length;
    return SM_OK;
}

static void take_chars(sm_cut_state *s, uint32_t chars, uint64_t *begin, uint64_t *end) {
    *begin = s->at;
    for (; chars && s->at < s->length; chars--) {
        uint32_t code;
        s->at += sm_utf8_decode(s->text + s->at, s->length - s->at, &code);
    }
    *end = s->at;
}

/* Kana counts as Han, a space as anything. */
static uint32_t script_at(const sm_cut *cut, const sm_cut_state *s, uint64_t at, uint32_t *n) {
    uint32_t code;
    *n = sm_utf8_decode(s->text + at, s->length - at, &code);
    const uint32_t script = code == ' ' ? SM_SCRIPT_UNKNOWN : sm_script_of(code);
    const bool kana = script == cut->scripts[1] || script == cut->scripts[2] || code == 0x30FC;
    return kana ? cut->scripts[0] : script;
}

/* Up to where another script begins; memo: the last script but that of anything, + 1. What comes
 * before the first of a script is left out. */
static void take_script(sm_encoder *encoder, const sm_cut *cut, sm_cut_state *s, uint64_t *begin,
                        uint64_t *end) {
    uint32_t n;
    uint64_t steps = 0;
    while (!s->memo && s->at < s->length && script_at(cut, s, s->at, &n) == SM_SCRIPT_UNKNOWN &&
           sm_pace_add(&encoder->pace, &steps, 8))
        s->at += n;
    *begin = s->at;
    for (uint64_t at = s->at; at < s->length && sm_pace_add(&encoder->pace, &steps, 8); at += n) {
        const uint32_t script = script_at(cut, s, at, &n);
        if (script != SM_SCRIPT_UNKNOWN && at > *begin && s->memo != script + 1) {
            s->at = *end = at;
            s->memo = 0;
            return;
        }
        if (script != SM_SCRIPT_UNKNOWN)
            s->memo = script + 1;
    }
    s->at = *end = s->length;
}

/* ---- steps that change their text ------------------------------------------------------------ */

static bool begins_with(const uint8_t *text, uint64_t length, sm_str with) {
    return length >= with.length && memcmp(text, with.data, (size_t)with.length) == 0;
}

#define MOST_TIMES 64 /* what a piece may grow to */

/* Memory of the step's own for what it makes of its text. */
static sm_status room(sm_encoder *encoder, sm_cut_state *s, uint64_t size, uint8_t **to) {
    const uint64_t most =
        encoder->cuts[encoder->tokenizer->steps->n_cut].length * MOST_TIMES + 65536;
    if (size > most)
        return sm_fail(encoder->error, SM_ERR_UNSUPPORTED,
                       "pre_tokenizer: it makes more than %llu bytes of a text",
                       (unsigned long long)most);
    *to = sm_scratch_reserve(encoder, &s->made, 0, size);
    return *to ? SM_OK : sm_encoder_fail(encoder);
}

static sm_status make_space(sm_encoder *encoder, sm_cut_state *s) {
    if (s->text[0] == ' ' || s->joined)
        return SM_OK;
    uint8_t *to;
    sm_status status = room(encoder, s, s->length + 1, &to);
    if (status)
        return status;
    to[0] = ' ';
    status = sm_encoder_copy(encoder, to + 1, s->text, s->length);
    s->text = to;
    s->length++;
    return status;
}

static sm_status make_bytes(sm_encoder *encoder, sm_cut_state *s) {
    uint64_t n = 0, i = 0, stop;
    uint8_t *to;
    const sm_status status = room(encoder, s, 2 * s->length, &to);
    if (status)
        return status;
    while ((stop = sm_pace_block(&encoder->pace, i, s->length)) > i)
        for (; i < stop; i++)
            n += sm_utf8_encode(sm_byte_to_code(s->text[i]), to + n);
    s->text = to;
    s->length = n;
    return encoder->pace.stopped ? sm_encoder_fail(encoder) : SM_OK;
}

static uint64_t count_spaces(sm_encoder *encoder, const sm_cut_state *s) {
    uint64_t n = 0, i = 0, stop;
    while ((stop = sm_pace_block(&encoder->pace, i, s->length)) > i)
        for (; i < stop; i++)
            n += s->text[i] == ' ';
    return n;
}

static sm_status make_meta(sm_encoder *encoder, const sm_cut *cut, sm_cut_state *s) {
    const sm_str sign = cut->text;
    const bool front = !s->joined && s->text[0] != ' ' && !begins_with(s->text, s->length, sign) &&
                       (cut->front == FRONT_ALWAYS || (cut->front == FRONT_FIRST && s->first));
    const uint64_t spaces = count_spaces(encoder, s) + front;
    uint64_t n = 0, i = 0, stop;
    uint8_t *to;
    const sm_status status = room(encoder, s, s->length + spaces * sign.length, &to);
    if (status)
        return status;
    if (front) {
        memcpy(to, sign.data, (size_t)sign.length);
        n = sign.length;
    }
    while ((stop = sm_pace_block(&encoder->pace, i, s->length)) > i)
        for (; i < stop; i++) {
            if (s->text[i] != ' ') {
                to[n++] = s->text[i];
                continue;
            }
            memcpy(to + n, sign.data, (size_t)sign.length);
            n += sign.length;
        }
    s->text = to;
    s->length = n;
    return encoder->pace.stopped ? sm_encoder_fail(encoder) : SM_OK;
}

/* ---- the walk -------------------------------------------------------------------------------- */

static sm_status give(sm_encoder *encoder, const sm_cut *cut, sm_cut_state *s, const uint8_t *text,
                      uint64_t length, bool first, bool joined) {
    s->text = text;
    s->length = length;
    s->at = s->memo = 0;
    s->last = NO_MATCH;
    s->known = false;
    s->first = first;
    s->joined = joined;
    switch (cut->op) {
    case CUT_META:
        return make_meta(encoder, cut, s);
    case CUT_SPACE:
        return make_space(encoder, s);
    case CUT_BYTES:
        return make_bytes(encoder, s);
    default:
        return SM_OK;
    }
}

static sm_status take(sm_encoder *encoder, const sm_cut *cut, sm_cut_state *s, uint64_t *begin,
                      uint64_t *end) {
    switch (cut->op) {
    case CUT_SPLIT:
        return split(encoder, cut, s, begin, end);
    case CUT_LENGTH:
        take_chars(s, cut->length, begin, end);
        break;
    case CUT_SCRIPTS:
        take_script(encoder, cut, s, begin, end);
        break;
    default:
        *begin = s->at;
        *end = s->at = s->length;
    }
    return encoder->pace.stopped ? sm_encoder_fail(encoder) : SM_OK;
}

void sm_steps_cut_start(sm_encoder *encoder, sm_cut_state *states, const uint8_t *text,
                        uint64_t length, bool first, bool joined) {
    const sm_steps *hf = encoder->tokenizer->steps;
    for (uint32_t i = 0; i < hf->n_cut; i++)
        states[i].at = states[i].length = 0;
    states[hf->n_cut] = (sm_cut_state){
        .text = text, .length = length, .first = first, .joined = joined, .known = false};
}

sm_status sm_steps_cut_next(sm_encoder *encoder, sm_cut_state *states, const uint8_t **piece,
                            uint64_t *length) {
    const sm_steps *hf = encoder->tokenizer->steps;
    sm_cut_state *whole = &states[hf->n_cut];
    uint32_t level = hf->n_cut;
    *length = 0;
    for (;;) {
        while (level > 0 && states[level - 1].at == states[level - 1].length)
            level--; /* used up: the step before has to give more */
        const uint8_t *text = whole->text;
        uint64_t begin = 0, end = whole->length;
        bool first = whole->first, joined = whole->joined;
        sm_status status = SM_OK;
        if (level == 0) {
            if (whole->known || !end)
                return SM_OK;
            whole->known = true; /* handed out */
        } else {
            sm_cut_state *s = &states[level - 1];
            status = take(encoder, &hf->cut[level - 1], s, &begin, &end);
            text = s->text;
            first = s->first && begin == 0;
            joined = s->joined && begin == 0;
        }
        if (status)
            return status;
        if (begin == end)
            continue;
        if (level == hf->n_cut) {
            *piece = text + begin;
            *length = end - begin;
            return SM_OK;
        }
        status = give(encoder, &hf->cut[level], &states[level], text + begin, end - begin, first,
                      joined);
        if (status)
            return status;
        level++;
    }
}
