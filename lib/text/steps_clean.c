/* The normalizers of tokenizer.json. */
#include "steps.h"

#define LOOK_STEPS 16 /* to look a character up */
#define BLOCK 4096    /* bytes of a run between questions */

/* A step: from a text into the encoder's memory. */
typedef struct work {
    sm_encoder *encoder;
    const uint8_t *text;
    uint64_t length, at;
    sm_scratch *to;
    uint8_t *out;
    uint64_t n, most; /* bytes written, and how many may be */
    bool too_long;
} work;

/* What a text may grow to: rules that make more of it are no normalization. */
#define MOST_TIMES 64
#define MOST_MORE 65536

static sm_status failed(const work *w) {
    return w->too_long ? sm_fail(w->encoder->error, SM_ERR_UNSUPPORTED,
                                 "normalizer: it makes more than %llu bytes of a text",
                                 (unsigned long long)w->most)
                       : sm_encoder_fail(w->encoder);
}

static bool reserve(work *w, uint64_t more) {
    if (w->n + more <= w->to->size && w->out)
        return true;
    if (w->n + more > w->most) {
        w->too_long = true;
        return false;
    }
    const uint64_t left = w->length - w->at;
    w->out = sm_scratch_reserve(w->encoder, w->to, w->n, w->n + more + left);
    return w->out != NULL;
}

static bool put(work *w, const void *bytes, uint64_t n) {
    if (!reserve(w, n))
        return false;
    if (n)
        memcpy(w->out + w->n, bytes, (size_t)n);
    w->n += n;
    return true;
}

static bool put_code(work *w, uint32_t code) {
    if (!reserve(w, 4))
        return false;
    w->n += sm_utf8_encode(code, w->out + w->n);
    return true;
}

static bool counted(work *w, uint64_t steps) {
    return sm_pace_step(&w->encoder->pace, steps);
}

/* How many ASCII characters begin at w->at, a block of them at most. */
static uint64_t ascii_run(const work *w) {
    const uint64_t left = w->length - w->at, most = left < BLOCK ? left : BLOCK;
    const uint8_t *text = w->text + w->at;
    uint64_t n = 0;
    while (most - n >= 8 && !(sm_load64(text + n) & 0x8080808080808080ULL))
        n += 8;
    while (n < most && text[n] < 0x80)
        n++;
    return n;
}

static uint32_t next_code(work *w) {
    uint32_t code;
    w->at += sm_utf8_decode(w->text + w->at, w->length - w->at, &code);
    return code;
}

/* ---- normal forms ---------------------------------------------------------------------------- */

typedef struct mark {
    uint32_t code;
    uint8_t class;
} mark;

/* A starter and what follows it up to the next. */
typedef struct cluster {
    mark *marks;
    uint64_t n;
    bool starts; /* the first is a starter */
} cluster;

static bool add_mark(work *w, cluster *c, mark m) {
    const uint64_t used = c->n * sizeof m;
    c->marks = sm_scratch_reserve(w->encoder, &w->encoder->symbols, used, used + sizeof m);
    if (!c->marks)
        return false;
    c->marks[c->n++] = m;
    return true;
}

/* Few marks by insertion, many by counting: in order of classes, equal ones as they stand. */
static bool order_few(mark *marks, uint64_t n) {
    for (uint64_t i = 1; i < n; i++) {
        const mark m = marks[i];
        uint64_t at = i;
        for (; at > 0 && marks[at - 1].class > m.class; at--)
            marks[at] = marks[at - 1];
        marks[at] = m;
    }
    return true;
}

static bool order_many(work *w, mark *marks, uint64_t n) {
    uint64_t place[257] = {0};
    mark *copy = sm_scratch_reserve(w->encoder, &w->encoder->links, 0, n * sizeof *copy);
    if (!copy || !counted(w, 2 * n))
        return false;
    memcpy(copy, marks, n * sizeof *copy);
    for (uint64_t i = 0; i < n; i++)
        place[copy[i].class + 1]++;
    for (uint32_t c = 0; c < 256; c++)
        place[c + 1] += place[c];
    for (uint64_t i = 0; i < n; i++)
        marks[place[copy[i].class]++] = copy[i];
    return true;
}

static bool order(work *w, cluster *c) {
    mark *marks = c->marks + c->starts;
    const uint64_t n = c->n - c->starts;
    return n < 2 || (n < 32 ? order_few(marks, n) : order_many(w, marks, n));
}

/* Takes the marks that the starter can take. */
static void compose(cluster *c) {
    uint64_t kept = 1;
    uint8_t last = 0; /* class of the mark before that stayed */
    for (uint64_t i = 1; i < c->n && c->starts; i++) {
        const mark m = c->marks[i];
        const uint32_t both =
            last < m.class || last == 0 ? sm_compose(c->marks[0].code, m.code) : 0;
        if (both) {
            c->marks[0].code = both;
            continue;
        }
        last = m.class;
        c->marks[kept++] = m;
    }
    c->n = c->starts ? kept : c->n;
}

static bool flush(work *w, cluster *c) {
    for (uint64_t i = 0; i < c->n; i++)
        if (!put_code(w, c->marks[i].code))
            return false;
    c->n = 0;
    c->starts = false;
    return true;
}

static bool add_code(work *w, cluster *c, uint32_t code, bool composes) {
    const mark m = {code, sm_combining_class(code)};
    if (m.class)
        return add_mark(w, c, m);
    if (c->n && !order(w, c))
        return false;
    if (composes && c->n)
        compose(c);
    const uint32_t both =
        composes && c->n == 1 && c->starts ? sm_compose(c->marks[0].code, code) : 0;
    if (both) {
        c->marks[0].code = both;
        return true;
    }
    if (!flush(w, c))
        return false;
    c->starts = true;
    return add_mark(w, c, m);
}

static bool end_cluster(work *w, cluster *c, bool composes) {
    if (c->n && !order(w, c))
        return false;
    if (composes && c->n)
        compose(c);
    return flush(w, c);
}

static bool normal_form(work *w, const sm_clean *s) {
    const bool composes = s->op == CLEAN_COMPOSE;
    cluster c = {NULL, 0, false};
    uint32_t parts[SM_MOST_COMPATIBLE];
    while (w->at < w->length) {
        uint64_t run = ascii_run(w);
        if (run > 1 || (run && w->at + run == w->length)) { /* the last may be a starter */
            run -= w->at + run < w->length;
            if (!end_cluster(w, &c, composes) || !put(w, w->text + w->at, run) ||
                !counted(w, run / 8))
                return false;
            w->at += run;
            continue;
        }
        const uint32_t code = next_code(w);
        parts[0] = code;
        const uint32_t n = sm_old_whole(code) ? 1
                           : s->compatible    ? sm_decompose_compatible(code, parts)
                                              : sm_decompose(code, parts);
        for (uint32_t i = 0; i < n; i++)
            if (!add_code(w, &c, parts[i], composes))
                return false;
        if (!counted(w, LOOK_STEPS))
            return false;
    }
    return end_cluster(w, &c, composes);
}

/* ---- character by character ------------------------------------------------------------------ */

/* ASCII letters in lower case. */
static bool lower_run(work *w, uint64_t n) {
    if (!reserve(w, n))
        return false;
    const uint8_t *text = w->text + w->at;
    uint8_t *out = w->out + w->n;
    for (uint64_t i = 0; i < n; i++)
        out[i] = (uint8_t)(text[i] | (text[i] >= 'A' && text[i] <= 'Z' ? 0x20 : 0));
    w->at += n;
    w->n += n;
    return counted(w, n / 4);
}

static bool lower(work *w, const sm_clean *s) {
    (void)s;
    while (w->at < w->length) {
        const uint64_t run = ascii_run(w);
        if (run) {
            if (!lower_run(w, run))
                return false;
            continue;
        }
        const uint32_t code = next_code(w);
        bool ok = code == 0x130 ? put(w, "i\xCC\x87", 3) : put_code(w, sm_lower_of(code));
        if (!ok || !counted(w, LOOK_STEPS))
            return false;
    }
    return true;
}

/* ASCII stays, others go through `map`: what becomes of them, SM_NO_ID for nothing. */
static bool map_beyond(work *w, const sm_clean *s, uint32_t (*map)(const sm_clean *, uint32_t)) {
    while (w->at < w->length) {
        const uint64_t run = ascii_run(w);
        if (run) {
            if (!put(w, w->text + w->at, run) || !counted(w, run / 8))
                return false;
            w->at += run;
            continue;
        }
        const uint32_t code = map(s, next_code(w));
        if ((code != SM_NO_ID && !put_code(w, code)) || !counted(w, LOOK_STEPS))
            return false;
    }
    return true;
}

static uint32_t without_marks(const sm_clean *s, uint32_t code) {
    return sm_old_mark(code, s->only_mn) ? SM_NO_ID : code;
}

static bool drop_marks(work *w, const sm_clean *s) {
    return map_beyond(w, s, without_marks);
}

/* Every character through `map`. */
static bool map_all(work *w, uint32_t (*map)(uint32_t)) {
    for (uint64_t steps = 0; w->at < w->length;) {
        const uint32_t code = map(next_code(w));
        if (code != SM_NO_ID && !put_code(w, code))
            return false;
        if (!sm_pace_add(&w->encoder->pace, &steps, 2))
            return false;
    }
    return true;
}

static uint32_t without_controls(uint32_t code) {
    const uint32_t class = sm_char_class(code);
    if (code == '\t' || class & SM_CHAR_NEWLINE)
        return ' ';
    if (code == 0 || code == 0xFFFD || sm_old_control(code))
        return SM_NO_ID;
    return class & SM_CHAR_SPACE ? ' ' : code;
}

static bool is_printable_run(const work *w, uint64_t *n) {
    const uint64_t run = ascii_run(w);
    for (*n = 0; *n < run; ++*n)
        if (w->text[w->at + *n] < 0x20 || w->text[w->at + *n] == 0x7F)
            break;
    return *n > 0;
}

static bool controls(work *w, const sm_clean *s) {
    (void)s;
    while (w->at < w->length) {
        uint64_t run;
        if (is_printable_run(w, &run)) {
            if (!put(w, w->text + w->at, run) || !counted(w, run))
                return false;
            w->at += run;
            continue;
        }
        const uint32_t code = without_controls(next_code(w));
        if ((code != SM_NO_ID && !put_code(w, code)) || !counted(w, LOOK_STEPS))
            return false;
    }
    return true;
}

static uint32_t nmt_of(uint32_t c) {
    if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
        c == 0x9F)
        return SM_NO_ID;
    if (c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
        c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD)
        return ' ';
    return c;
}

static bool nmt(work *w, const sm_clean *s) {
    (void)s;
    return map_all(w, nmt_of);
}

static bool ideographs(work *w, const sm_clean *s) {
    (void)s;
    while (w->at < w->length) {
        const uint64_t run = ascii_run(w);
        if (run) {
            if (!put(w, w->text + w->at, run) || !counted(w, run / 8))
                return false;
            w->at += run;
            continue;
        }
        const uint32_t code = next_code(w);
        const bool alone = sm_is_ideograph(code);
        if ((alone && !put(w, " ", 1)) || !put_code(w, code) || (alone && !put(w, " ", 1)) ||
            !counted(w, LOOK_STEPS))
            return false;
    }
    return true;
}

static bool bytes(work *w, const sm_clean *s) {
    (void)s;
    for (uint64_t steps = 0; w->at < w->length; w->at++)
        if (!put_code(w, sm_byte_to_code(w->text[w->at])) ||
            !sm_pace_add(&w->encoder->pace, &steps, 2))
            return false;
    return true;
}

/* ---- charsmaps ------------------------------------------------------------------------------- */

static bool replace_chars(work *w, const sm_charsmap *map, uint64_t end) {
    while (w->at < end) {
        uint32_t code;
        const uint32_t n = sm_utf8_decode(w->text + w->at, end - w->at, &code);
        const char *with = sm_charsmap_find(map, w->text + w->at, n);
        if (!(with ? put(w, with, strlen(with)) : put(w, w->text + w->at, n)) ||
            !counted(w, LOOK_STEPS))
            return false;
        w->at += n;
    }
    return true;
}

static bool charsmap(work *w, const sm_clean *s) {
    const sm_charsmap *map = &s->charsmap;
    while (w->at < w->length) {
        uint64_t run = ascii_run(w), plain = 0;
        while (plain < run && map->plain[w->text[w->at + plain]])
            plain++;
        if (plain == run && w->at + run < w->length && plain) /* the last may be combined */
            plain--;
        if (plain) {
            if (!put(w, w->text + w->at, plain) || !counted(w, plain))
                return false;
            w->at += plain;
            continue;
        }
        const uint64_t end = sm_grapheme_end(w->text, w->length, w->at);
        const char *with =
            end - w->at < 6 ? sm_charsmap_find(map, w->text + w->at, end - w->at) : NULL;
        if (with) {
            if (!put(w, with, strlen(with)) || !counted(w, LOOK_STEPS))
                return false;
            w->at = end;
        } else if (!replace_chars(w, map, end)) {
            return false;
        }
    }
    return true;
}

/* ---- the text as a whole --------------------------------------------------------------------- */

static bool is_space_at(const uint8_t *text, uint64_t length, uint64_t at, uint32_t *n) {
    return (sm_char_at(text + at, length - at, n) & SM_CHAR_SPACE) != 0;
}

static bool strip(work *w, const sm_clean *s) {
    uint64_t begin = 0, end = w->length, steps = 0;
    uint32_t n;
    while (s->left && begin < end && is_space_at(w->text, end, begin, &n) &&
           sm_pace_add(&w->encoder->pace, &steps, 2))
        begin += n;
    while (s->right && end > begin && sm_pace_add(&w->encoder->pace, &steps, 2)) {
        uint64_t last = end - 1;
        while (last > begin && (w->text[last] & 0xC0) == 0x80)
            last--;
        if (!is_space_at(w->text, end, last, &n))
            break;
        end = last;
    }
    w->at = w->length;
    return put(w, w->text + begin, end - begin);
}

/* One character for one: the commonest pattern. */
static bool replace_byte(work *w, const sm_clean *s, uint8_t byte) {
    while (w->at < w->length) {
        const uint64_t left = w->length - w->at, most = left < BLOCK ? left : BLOCK;
        const uint8_t *text = w->text + w->at, *found = memchr(text, byte, (size_t)most);
        const uint64_t n = found ? (uint64_t)(found - text) : most;
        if (!put(w, text, n) || (found && !put(w, s->text.data, s->text.length)) ||
            !counted(w, n / 8 + 1))
            return false;
        w->at += n + (found != NULL);
    }
    return true;
}

static sm_status replace(work *w, const sm_clean *s) {
    sm_encoder *encoder = w->encoder;
    uint64_t from = 0, last_end = UINT64_MAX;
    while (from <= w->length) {
        uint64_t begin, end;
        const sm_status status = sm_pattern_find(s->pattern, &encoder->matcher, w->text, w->length,
                                                 from, &begin, &end, encoder->error);
        if (status)
            return status;
        if (begin == UINT64_MAX)
            break;
        from = end;
        if (begin == end && end == last_end) { /* an empty match where one just ended */
            uint32_t code;
            from += from < w->length ? sm_utf8_decode(w->text + from, w->length - from, &code) : 1;
            continue;
        }
        last_end = end;
        if (!put(w, w->text + w->at, begin - w->at) || !put(w, s->text.data, s->text.length))
            return failed(w);
        w->at = end;
    }
    const uint64_t rest = w->length - w->at;
    return put(w, w->text + w->at, rest) ? SM_OK : failed(w);
}

/* ---- the list -------------------------------------------------------------------------------- */

static sm_status step(work *w, const sm_clean *s) {
    bool ok;
    uint8_t byte;
    switch (s->op) {
    case CLEAN_COMPOSE:
    case CLEAN_DECOMPOSE:
        ok = normal_form(w, s);
        break;
    case CLEAN_LOWER:
        ok = lower(w, s);
        break;
    case CLEAN_DROP_MARKS:
        ok = drop_marks(w, s);
        break;
    case CLEAN_STRIP:
        ok = strip(w, s);
        break;
    case CLEAN_REPLACE:
        if (!sm_pattern_is_byte(s->pattern, &byte))
            return replace(w, s);
        ok = replace_byte(w, s, byte);
        break;
    case CLEAN_PREPEND:
        ok = put(w, s->text.data, s->text.length) && put(w, w->text, w->length);
        break;
    case CLEAN_CONTROLS:
        ok = controls(w, s);
        break;
    case CLEAN_IDEOGRAPHS:
        ok = ideographs(w, s);
        break;
    case CLEAN_CHARSMAP:
        ok = charsmap(w, s);
        break;
    case CLEAN_NMT:
        ok = nmt(w, s);
        break;
    default:
        ok = bytes(w, s);
    }
    return ok ? SM_OK : failed(w);
}

sm_status sm_steps_clean(sm_encoder *encoder, const uint8_t *text, uint64_t length, bool joined,
                         const uint8_t **out, uint64_t *n) {
    const sm_steps *hf = encoder->tokenizer->steps;
    *out = text;
    *n = length;
    for (uint32_t i = 0, to = 0; i < hf->n_clean && *n; i++) {
        if (joined && hf->clean[i].op == CLEAN_PREPEND)
            continue;
        work w = {.encoder = encoder,
                  .text = *out,
                  .length = *n,
                  .to = &encoder->clean[to],
                  .most = length * MOST_TIMES + MOST_MORE};
        if (!reserve(&w, 1))
            return failed(&w);
        const sm_status status = step(&w, &hf->clean[i]);
        if (status)
            return status;
        *out = w.out;
        *n = w.n;
        to ^= 1;
    }
    return SM_OK;
}
