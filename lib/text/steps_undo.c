/* The decoders of tokenizer.json: from the texts of tokens to one. */
#include "steps.h"

/* What a text may grow to. */
#define MOST_TIMES 256
#define MOST_MORE 65536

static sm_status no_memory(sm_error *error) {
    return sm_fail(error, SM_ERR_NOMEM, "out of memory");
}

/* ---- texts ----------------------------------------------------------------------------------- */

void sm_texts_free(sm_texts *texts, sm_mem *mem) {
    sm_free(mem, texts->data);
    sm_free(mem, texts->ends);
    memset(texts, 0, sizeof *texts);
}

static bool more_bytes(sm_texts *t, sm_mem *mem, uint64_t more) {
    if (t->most && t->n + more > t->most) {
        t->too_long = true;
        return false;
    }
    if (t->n + more <= t->room && t->data)
        return true;
    const uint64_t size = 2 * t->room + more + 64;
    char *fresh = sm_alloc(mem, size);
    if (!fresh)
        return false;
    if (t->n)
        memcpy(fresh, t->data, (size_t)t->n);
    sm_free(mem, t->data);
    t->data = fresh;
    t->room = size;
    return true;
}

/* Bytes of the text that is being written. */
static bool put(sm_texts *t, sm_mem *mem, const char *bytes, uint64_t n) {
    if (!more_bytes(t, mem, n))
        return false;
    if (n)
        memcpy(t->data + t->n, bytes, (size_t)n);
    t->n += n;
    return true;
}

static bool end_text(sm_texts *t, sm_mem *mem) {
    if (t->count == t->count_room) {
        const uint64_t room = 2 * t->count_room + 16;
        uint64_t *fresh = sm_alloc_array(mem, room, sizeof *fresh);
        if (!fresh)
            return false;
        if (t->count)
            memcpy(fresh, t->ends, t->count * sizeof *fresh);
        sm_free(mem, t->ends);
        t->ends = fresh;
        t->count_room = room;
    }
    t->ends[t->count++] = t->n;
    return true;
}

bool sm_texts_add(sm_texts *texts, sm_mem *mem, const char *text, uint64_t length) {
    return put(texts, mem, text, length) && end_text(texts, mem);
}

/* How many bytes of what is no character one sign stands for: as many as could begin one. */
static uint64_t bad_bytes(const uint8_t *text, uint64_t n) {
    uint64_t k = 1;
    while (k < n && k < 4 && sm_utf8_complete(text, k + 1) == 0)
        k++;
    return k;
}

bool sm_texts_make_valid(sm_texts *texts, sm_texts *other, sm_mem *mem, bool each) {
    const uint8_t *text = (const uint8_t *)texts->data;
    other->n = other->count = 0;
    for (uint64_t i = 0; i < texts->n;) {
        uint32_t code, k = sm_utf8_decode(text + i, texts->n - i, &code);
        const bool good = code != UINT32_MAX;
        if (!put(other, mem, good ? (const char *)text + i : "\xEF\xBF\xBD", good ? k : 3))
            return false;
        i += good || each ? k : bad_bytes(text + i, texts->n - i);
    }
    if (!end_text(other, mem))
        return false;
    const sm_texts kept = *texts;
    *texts = *other;
    *other = kept;
    return true;
}

/* ---- one step -------------------------------------------------------------------------------- */

typedef struct step {
    const sm_undo *undo;
    sm_mem *mem;
    const sm_texts *from;
    sm_texts *to;
    sm_undo_where where;
    bool lossy;
    sm_error *error;
} step;

static const char *text_of(const sm_texts *t, uint64_t i, uint64_t *n) {
    const uint64_t begin = i ? t->ends[i - 1] : 0;
    *n = t->ends[i] - begin;
    return t->data + begin;
}

/* Whether text i is the first of all. */
static bool is_head(const step *s, uint64_t i) {
    return i == 0 && s->where != UNDO_MIDDLE;
}

/* A text with every `what` replaced. */
static bool put_replaced(const step *s, const char *text, uint64_t n, sm_str what,
                         const char *with) {
    const uint64_t with_n = strlen(with);
    for (uint64_t i = 0; i < n;) {
        const bool is = what.length && n - i >= what.length &&
                        memcmp(text + i, what.data, (size_t)what.length) == 0;
        if (!(is ? put(s->to, s->mem, with, with_n) : put(s->to, s->mem, text + i, 1)))
            return false;
        i += is ? what.length : 1;
    }
    return true;
}

/* The bytes that a text of GPT-2's characters stands for; the text itself if it has others. */
static bool put_bytes(const step *s, const char *text, uint64_t n) {
    const uint64_t begin = s->to->n;
    for (uint64_t i = 0; i < n;) {
        uint32_t code;
        i += sm_utf8_decode((const uint8_t *)text + i, n - i, &code);
        const int32_t byte = code == UINT32_MAX ? -1 : sm_code_to_byte(code);
        if (byte < 0) {
            s->to->n = begin;
            return put(s->to, s->mem, text, n);
        }
        const char c = (char)byte;
        if (!put(s->to, s->mem, &c, 1))
            return false;
    }
    return true;
}

static bool undo_bytes(const step *s) {
    for (uint64_t i = 0; i < s->from->count; i++) {
        uint64_t n;
        const char *text = text_of(s->from, i, &n);
        if (!put_bytes(s, text, n))
            return false;
    }
    return end_text(s->to, s->mem);
}

static bool undo_meta(const step *s, uint64_t i, const char *text, uint64_t n) {
    const bool dropped = is_head(s, i) && s->undo->front;
    return put_replaced(s, text, n, s->undo->text, dropped ? "" : " ");
}

/* What BERT's decoder does to blanks: each rule over the whole text, one after the other. */
static bool clean_up(const step *s, uint64_t begin) {
    static const char *const rules[][2] = {{" .", "."},     {" ?", "?"},           {" !", "!"},
                                           {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                           {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                           {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
        const uint64_t n = strlen(rules[r][0]), with = strlen(rules[r][1]);
        uint64_t kept = begin;
        for (uint64_t i = begin; i < s->to->n;) {
            const bool is = s->to->n - i >= n && memcmp(s->to->data + i, rules[r][0], n) == 0;
            memmove(s->to->data + kept, is ? rules[r][1] : s->to->data + i, is ? with : 1);
            kept += is ? with : 1;
            i += is ? n : 1;
        }
        s->to->n = kept;
    }
    return true;
}

static bool undo_wordpiece(const step *s, uint64_t i, const char *text, uint64_t n) {
    const sm_str prefix = s->undo->text;
    const uint64_t begin = s->to->n;
    const bool inner = n >= prefix.length && memcmp(text, prefix.data, (size_t)prefix.length) == 0;
    bool ok = true;
    if (!is_head(s, i) && inner)
        text += prefix.length, n -= prefix.length;
    else if (!is_head(s, i))
        ok = put(s->to, s->mem, " ", 1);
    return ok && put(s->to, s->mem, text, n) && (!s->undo->cleanup || clean_up(s, begin));
}

static bool undo_suffix(const step *s, uint64_t i, const char *text, uint64_t n) {
    const bool last = s->where == UNDO_WHOLE && i + 1 == s->from->count;
    return put_replaced(s, text, n, s->undo->text, last ? "" : " ");
}

static bool is_equal(const sm_texts *t, uint64_t i, uint64_t k) {
    uint64_t n, m;
    const char *a = text_of(t, i, &n), *b = text_of(t, k, &m);
    return n == m && memcmp(a, b, (size_t)n) == 0;
}

/* The delimiter of words becomes a blank. */
static bool undo_delimiter(const step *s, uint64_t begin) {
    const sm_str what = s->undo->other;
    uint64_t kept = begin;
    for (uint64_t i = begin; i < s->to->n && what.length;) {
        const bool is = s->to->n - i >= what.length &&
                        memcmp(s->to->data + i, what.data, (size_t)what.length) == 0;
        s->to->data[kept++] = is ? ' ' : s->to->data[i];
        i += is ? what.length : 1;
    }
    s->to->n = what.length ? kept : s->to->n;
    return true;
}

static bool undo_ctc(const step *s, uint64_t i, const char *text, uint64_t n) {
    const uint64_t begin = s->to->n;
    if (i > 0 && is_equal(s->from, i, i - 1))
        return true;
    return put_replaced(s, text, n, s->undo->text, "") &&
           (!s->undo->cleanup || (clean_up(s, begin) && undo_delimiter(s, begin)));
}

static sm_status undo_replace(const step *s, const char *text, uint64_t n) {
    sm_pace pace = {0};
    sm_matcher matcher = {.mem = s->mem, .pace = &pace};
    const sm_str with = s->undo->other;
    uint64_t from = 0, done = 0, last = UINT64_MAX, begin, end;
    sm_status status = SM_OK;
    while (from <= n) {
        status = sm_pattern_find(s->undo->pattern, &matcher, (const uint8_t *)text, n, from, &begin,
                                 &end, s->error);
        if (status || begin == UINT64_MAX)
            break;
        from = end;
        uint32_t code;
        if (begin == end && end == last) {
            from += from < n ? sm_utf8_decode((const uint8_t *)text + from, n - from, &code) : 1;
            continue;
        }
        last = end;
        if (!put(s->to, s->mem, text + done, begin - done) ||
            !put(s->to, s->mem, with.data, with.length))
            status = no_memory(s->error);
        if (status)
            break;
        done = end;
    }
    sm_matcher_done(&matcher);
    if (!status && !put(s->to, s->mem, text + done, n - done))
        status = no_memory(s->error);
    return status;
}

static uint64_t same_front(const char *text, uint64_t n, sm_str sign, uint64_t most) {
    uint64_t i = 0;
    while (most-- && n - i >= sign.length && memcmp(text + i, sign.data, (size_t)sign.length) == 0)
        i += sign.length;
    return i;
}

static bool undo_strip(const step *s, const char *text, uint64_t n) {
    const sm_undo *u = s->undo;
    const uint64_t front =
        u->fused && s->where == UNDO_MIDDLE ? 0 : same_front(text, n, u->text, u->start);
    uint64_t end = n;
    for (uint32_t k = 0; k < u->stop && !(u->fused && s->where != UNDO_WHOLE); k++) {
        if (end < u->text.length ||
            memcmp(text + end - u->text.length, u->text.data, (size_t)u->text.length) != 0)
            break;
        end -= u->text.length;
    }
    return put(s->to, s->mem, text + front, end > front ? end - front : 0);
}

/* The byte that "<0x2A>" stands for, or -1. */
static int32_t fallback_byte(const char *text, uint64_t n) {
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    const char *high = memchr(digits, text[3], 32), *low = memchr(digits, text[4], 32);
    /* Rust's reader of numbers takes a sign */
    if (text[3] == '+' && low)
        return (int32_t)((low - digits) % 16);
    return high && low ? (int32_t)((high - digits) % 16 * 16 + (low - digits) % 16) : -1;
}

static bool is_whole(const uint8_t *text, uint64_t n) {
    for (uint64_t i = 0; i < n;) {
        uint32_t code;
        i += sm_utf8_decode(text + i, n - i, &code);
        if (code == UINT32_MAX)
            return false;
    }
    return true;
}

/* The bytes from `begin` on, which stand in a row: text, or as many signs as there are. */
static bool end_bytes(const step *s, uint64_t begin) {
    const uint64_t n = s->to->n - begin;
    if (!n)
        return true;
    if (s->lossy && !is_whole((const uint8_t *)s->to->data + begin, n)) {
        s->to->n = begin;
        for (uint64_t i = 0; i < n; i++)
            if (!sm_texts_add(s->to, s->mem, "\xEF\xBF\xBD", 3))
                return false;
        return true;
    }
    return end_text(s->to, s->mem);
}

static bool undo_fallback(const step *s) {
    uint64_t begin = s->to->n;
    for (uint64_t i = 0; i < s->from->count; i++) {
        uint64_t n;
        const char *text = text_of(s->from, i, &n);
        const int32_t byte = fallback_byte(text, n);
        const char c = (char)byte;
        if (byte >= 0) {
            if (!put(s->to, s->mem, &c, 1))
                return false;
            continue;
        }
        if (!end_bytes(s, begin) || !sm_texts_add(s->to, s->mem, text, n))
            return false;
        begin = s->to->n;
    }
    return end_bytes(s, begin);
}

static bool undo_each(const step *s, uint64_t i, const char *text, uint64_t n) {
    switch (s->undo->op) {
    case UNDO_META:
        return undo_meta(s, i, text, n);
    case UNDO_WORDPIECE:
        return undo_wordpiece(s, i, text, n);
    case UNDO_SUFFIX:
        return undo_suffix(s, i, text, n);
    case UNDO_CTC:
        return undo_ctc(s, i, text, n);
    default:
        return undo_strip(s, text, n);
    }
}

static sm_status run_step(const step *s) {
    const sm_undo_op op = s->undo->op;
    if (op == UNDO_BYTES || op == UNDO_FALLBACK)
        return (op == UNDO_BYTES ? undo_bytes(s) : undo_fallback(s)) ? SM_OK : no_memory(s->error);
    if (op == UNDO_FUSE)
        return sm_texts_add(s->to, s->mem, s->from->data, s->from->n) ? SM_OK : no_memory(s->error);
    for (uint64_t i = 0; i < s->from->count; i++) {
        uint64_t n;
        const char *text = text_of(s->from, i, &n);
        const uint64_t begin = s->to->n;
        sm_status status = SM_OK;
        if (op == UNDO_REPLACE)
            status = undo_replace(s, text, n);
        else if (!undo_each(s, i, text, n))
            status = no_memory(s->error);
        if (!status && !(op == UNDO_CTC && s->to->n == begin) && !end_text(s->to, s->mem))
            status = no_memory(s->error);
        if (status)
            return status;
    }
    return SM_OK;
}

/* Where there is no decoder: tokens with a blank between. */
static bool join(const step *s) {
    for (uint64_t i = 0; i < s->from->count; i++) {
        uint64_t n;
        const char *text = text_of(s->from, i, &n);
        if ((!is_head(s, i) && !put(s->to, s->mem, " ", 1)) || !put(s->to, s->mem, text, n))
            return false;
    }
    return end_text(s->to, s->mem);
}

static void swap(sm_texts *a, sm_texts *b) {
    const sm_texts kept = *a;
    *a = *b;
    *b = kept;
    b->n = b->count = 0;
}

const char *sm_steps_token_text(const sm_tokenizer *t, uint32_t id, uint32_t *length) {
    const char *text = sm_strings_get(&t->steps->normal, id, length);
    return *length ? text : sm_strings_get(&t->text, id, length);
}

sm_status sm_steps_undo(const sm_tokenizer *t, sm_texts *texts, sm_texts *other,
                        sm_undo_where where, bool lossy, sm_error *error) {
    const sm_steps *hf = t->steps;
    sm_status status = SM_OK;
    other->n = other->count = 0;
    step s = {
        .mem = t->mem, .from = texts, .to = other, .where = where, .lossy = lossy, .error = error};
    texts->most = other->most = texts->n * MOST_TIMES + MOST_MORE;
    texts->too_long = other->too_long = false;
    if (!more_bytes(texts, t->mem, 0) || !more_bytes(other, t->mem, 0))
        return no_memory(error);
    for (uint32_t i = 0; i < hf->n_undo && !status; i++) {
        s.undo = &hf->undo[i];
        status = run_step(&s);
        swap(texts, other);
        if (!status && lossy && s.undo->op == UNDO_BYTES) {
            if (!sm_texts_make_valid(texts, other, t->mem, false))
                status = no_memory(error);
            other->n = other->count = 0;
        }
    }
    if (!status && hf->no_decoder) {
        status = join(&s) ? SM_OK : no_memory(error);
        swap(texts, other);
    }
    if (texts->too_long || other->too_long)
        status =
            sm_fail(error, SM_ERR_UNSUPPORTED, "decoder: it makes more than %llu bytes of a text",
                    (unsigned long long)texts->most);
    texts->most = other->most = 0;
    return status;
}
