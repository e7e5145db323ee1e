/* string.c - strings that know which of their bytes came from the caller; the memory of a run. */
#include "value.h"

#define CHUNK ((uint64_t)64 << 10)
#define ASK_STEPS 100000 /* some ms */

const text text_empty = {.data = ""};

/* ---- memory and steps ------------------------------------------------------------ */

value run_failed(run *r, sm_status status) {
    r->status = status;
    return undefined_value();
}

static uint64_t limit_or(uint64_t limit, uint64_t otherwise) {
    return limit ? limit : otherwise;
}

bool run_step(run *r, uint64_t n) {
    const uint64_t most = limit_or(r->options->max_steps, SM_TEMPLATE_MAX_STEPS);
    if (r->status)
        return false;
    r->steps += n;
    if (r->steps > most) {
        FAIL(r, SM_ERR_UNSUPPORTED, "more than %llu steps", (unsigned long long)most);
        return false;
    }
    if (r->steps >= r->ask_at && r->options->cancel) {
        r->ask_at = r->steps + ASK_STEPS;
        if (r->options->cancel(r->options->user))
            FAIL(r, SM_ERR_CANCELLED, "%s", "cancelled");
    }
    return !r->status;
}

static bool add_chunk(run *r, uint64_t size) {
    const uint64_t most = limit_or(r->options->max_memory, SM_TEMPLATE_MAX_MEMORY);
    const uint64_t bytes = max_u64(size + sizeof(chunk) + 16, CHUNK);
    if (r->status)
        return false;
    if (size > most || r->memory + bytes > most) {
        FAIL(r, SM_ERR_UNSUPPORTED, "more than %llu bytes of memory", (unsigned long long)most);
        return false;
    }
    chunk *c = sm_alloc(r->mem, bytes);
    if (!c) {
        FAIL(r, SM_ERR_NOMEM, "%s", "out of memory");
        return false;
    }
    c->before = r->chunks;
    c->size = bytes;
    r->chunks = c;
    r->memory += bytes;
    r->top = (char *)c + sizeof(chunk);
    r->end = (char *)c + bytes;
    return true;
}

void *run_alloc(run *r, uint64_t size) {
    const uint64_t skip = (16 - ((uintptr_t)r->top & 15)) & 15;
    if (!r->top || skip + size > (uint64_t)(r->end - r->top)) {
        if (!add_chunk(r, size))
            return NULL;
        return run_alloc(r, size);
    }
    char *at = r->top + skip;
    r->top = at + size;
    return at;
}

/* Made many at a time, so that strings that grow at their end stay the last thing in memory. */
static text *new_text(run *r) {
    if (!r->texts_left) {
        r->texts = run_alloc(r, 64 * sizeof *r->texts);
        r->texts_left = r->texts ? 64 : 0;
    }
    return r->texts_left ? &r->texts[--r->texts_left] : NULL;
}

/* ---- text being written ---------------------------------------------------------- */

mark text_begin(const run *r) {
    return (mark){r->length, r->n_parts};
}

static bool out_room(run *r, uint64_t n) {
    const uint64_t most =
        min_u64(limit_or(r->options->max_output, SM_TEMPLATE_MAX_OUTPUT), INT32_MAX);
    if (r->status || !run_step(r, n / 32))
        return false;
    if (n > most - r->length) {
        FAIL(r, SM_ERR_UNSUPPORTED, "more than %llu bytes of text", (unsigned long long)most);
        return false;
    }
    if (r->length + n <= r->capacity)
        return true;
    const uint64_t capacity = max_u64(2 * (uint64_t)r->capacity + 4096, r->length + n);
    char *out = sm_realloc(r->mem, r->out, min_u64(capacity, UINT32_MAX));
    if (!out) {
        FAIL(r, SM_ERR_NOMEM, "%s", "out of memory");
        return false;
    }
    r->out = out;
    r->capacity = (uint32_t)min_u64(capacity, UINT32_MAX);
    return true;
}

/* The part that bytes of this origin go to, begun where the last one is of the other. The last
 * part of a capture may be one that began before it. */
static bool part_for(run *r, bool user) {
    if (r->n_parts && r->parts[r->n_parts - 1].user == user)
        return true;
    if (r->n_parts == r->parts_capacity) {
        const uint32_t capacity = 2 * r->parts_capacity + 64;
        part *parts = sm_realloc(r->mem, r->parts, capacity * sizeof *parts);
        if (!parts) {
            FAIL(r, SM_ERR_NOMEM, "%s", "out of memory");
            return false;
        }
        r->parts = parts;
        r->parts_capacity = capacity;
    }
    r->parts[r->n_parts++] = (part){r->length, user};
    return true;
}

void text_add(run *r, const char *data, uint64_t n, bool user) {
    if (!n || !out_room(r, n) || !part_for(r, user))
        return;
    memcpy(r->out + r->length, data, (size_t)n);
    r->length += (uint32_t)n;
    r->parts[r->n_parts - 1].end = r->length;
}

void text_literal(run *r, const char *s) {
    text_add(r, s, strlen(s), false);
}

void text_range(run *r, const text *s, uint32_t from, uint32_t to) {
    uint32_t at = from;
    if (!s->n_parts) {
        text_add(r, s->data + from, to - from, s->user);
        return;
    }
    for (uint32_t i = 0; i < s->n_parts && at < to; i++) {
        if (s->parts[i].end <= at)
            continue;
        const uint32_t end = min_u32(s->parts[i].end, to);
        text_add(r, s->data + at, end - at, s->parts[i].user);
        at = end;
    }
}

void text_append(run *r, const text *s) {
    text_range(r, s, 0, s->length);
}

static uint32_t count_chars(const char *data, uint32_t n) {
    uint32_t chars = 0;
    for (uint32_t i = 0; i < n; i++)
        chars += ((uint8_t)data[i] & 0xC0) != 0x80;
    return chars;
}

/* Parts of what was added since the mark; s->n_parts stays 0 where it is all of one origin. */
static void take_parts(run *r, mark from, text *s) {
    uint32_t first = from.n_parts;
    if (first && (first == r->n_parts || r->parts[first - 1].end > from.length))
        first--; /* went on inside the part that was there */
    if (r->n_parts - first <= 1) {
        s->user = r->n_parts && r->parts[r->n_parts - 1].user;
        return;
    }
    part *parts = run_alloc(r, (r->n_parts - first) * sizeof *parts);
    if (!parts)
        return;
    for (uint32_t i = first; i < r->n_parts; i++)
        parts[i - first] = (part){r->parts[i].end - from.length, r->parts[i].user};
    s->parts = parts;
    s->n_parts = r->n_parts - first;
}

/* Back to the mark. */
void text_drop(run *r, mark from) {
    r->length = from.length;
    r->n_parts = from.n_parts;
    if (r->n_parts)
        r->parts[r->n_parts - 1].end = r->length;
}

const text *text_end(run *r, mark from) {
    const uint32_t n = r->length - from.length;
    if (r->status || !n) {
        text_drop(r, from);
        return &text_empty;
    }
    text *s = new_text(r);
    if (s)
        *s = (text){.data = "", .length = n, .chars = count_chars(r->out + from.length, n)};
    if (s)
        take_parts(r, from, s);
    char *data = r->status ? NULL : run_alloc(r, n);
    if (data) {
        memcpy(data, r->out + from.length, n);
        s->data = data;
    }
    text_drop(r, from);
    return data ? s : &text_empty;
}

value value_of_text(const text *s) {
    return (value){.type = V_STR, .s = s};
}

value text_value(run *r, mark from) {
    return value_of_text(text_end(r, from));
}

value value_of_bytes(run *r, const char *data, uint64_t n, bool user) {
    const mark from = text_begin(r);
    text_add(r, data, n, user);
    return text_value(r, from);
}

value text_slice(run *r, const text *s, uint32_t from, uint32_t to) {
    if (from >= to)
        return value_of_text(&text_empty);
    if (from == 0 && to == s->length)
        return value_of_text(s);
    text *part_of = new_text(r);
    if (!part_of || !run_step(r, 1 + (to - from) / 32))
        return undefined_value();
    *part_of = (text){.data = s->data + from, .length = to - from, .user = s->user};
    part_of->chars = s->chars == s->length ? to - from : count_chars(s->data + from, to - from);
    if (s->n_parts) {
        const mark start = text_begin(r);
        text_range(r, s, from, to);
        return text_value(r, start);
    }
    return value_of_text(part_of);
}

/* a lies at the end of the memory in use: b is put behind it. */
static bool extend(run *r, const text *a, const text *b, text *both) {
    if (!a->length || a->data + a->length != r->top || b->length > (uint64_t)(r->end - r->top) ||
        a->n_parts || b->n_parts || a->user != b->user || !run_step(r, b->length / 32))
        return false;
    memcpy(r->top, b->data, b->length);
    r->top += b->length;
    *both = (text){.data = a->data,
                   .length = a->length + b->length,
                   .chars = a->chars + b->chars,
                   .user = a->user};
    return true;
}

value text_concat(run *r, const text *a, const text *b) {
    if (!a->length || !b->length)
        return value_of_text(a->length ? a : b);
    text both;
    if ((uint64_t)a->length + b->length < INT32_MAX && extend(r, a, b, &both)) {
        text *s = new_text(r);
        if (!s)
            return undefined_value();
        *s = both;
        return value_of_text(s);
    }
    const mark from = text_begin(r);
    text_append(r, a);
    text_append(r, b);
    return text_value(r, from);
}

const text *text_escape(run *r, const text *s) {
    static const char plain[] = "&<>'\"";
    static const char *const escaped[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    const mark from = text_begin(r);
    uint32_t at = 0;
    for (uint32_t i = 0; i < s->length && run_step(r, 1); i++) {
        const char *c = memchr(plain, s->data[i], sizeof plain - 1);
        if (!c)
            continue;
        text_range(r, s, at, i);
        text_add(r, escaped[c - plain], strlen(escaped[c - plain]), text_user_at(s, i));
        at = i + 1;
    }
    text_range(r, s, at, s->length);
    return text_end(r, from);
}

/* ---- looking --------------------------------------------------------------------- */

bool text_user_at(const text *s, uint32_t at) {
    for (uint32_t i = 0; i < s->n_parts; i++)
        if (at < s->parts[i].end)
            return s->parts[i].user;
    return s->user;
}

bool text_same(const text *a, const text *b) {
    return a->length == b->length && !memcmp(a->data, b->data, a->length);
}

bool text_is(const text *s, const char *what) {
    return same_text(s->data, s->length, what);
}

/* UTF-8's order of bytes is that of code points. */
int text_compare(const text *a, const text *b) {
    const int order = memcmp(a->data, b->data, min_u32(a->length, b->length));
    return order < 0 ? -1 : order > 0 ? 1 : (a->length > b->length) - (a->length < b->length);
}

uint32_t text_offset(const text *s, uint32_t chars) {
    if (s->chars == s->length || chars >= s->chars)
        return chars < s->chars ? chars : s->length;
    uint32_t at = 0;
    for (; chars; chars--)
        for (at++; ((uint8_t)s->data[at] & 0xC0) == 0x80; at++) {
        }
    return at;
}

static bool matches(run *r, const text *s, const text *what, uint32_t at) {
    return s->data[at] == what->data[0] && run_step(r, 1 + what->length / 32) &&
           !memcmp(s->data + at, what->data, what->length);
}

uint32_t text_find(run *r, const text *s, const text *what, uint32_t from) {
    if (from > s->length || what->length > s->length - from || !run_step(r, s->length / 32))
        return UINT32_MAX;
    if (!what->length)
        return from;
    for (uint32_t i = from; i <= s->length - what->length; i++) {
        const char *first = memchr(s->data + i, what->data[0], s->length - what->length - i + 1);
        if (!first)
            break;
        i = (uint32_t)(first - s->data);
        if (matches(r, s, what, i))
            return i;
        if (r->status)
            break;
    }
    return UINT32_MAX;
}

uint32_t text_rfind(run *r, const text *s, const text *what, uint32_t before) {
    if (what->length > before || !run_step(r, before / 8))
        return UINT32_MAX;
    if (!what->length)
        return before;
    for (uint32_t i = before - what->length + 1; i-- > 0 && !r->status;)
        if (matches(r, s, what, i))
            return i;
    return UINT32_MAX;
}

uint32_t code_at(const text *s, uint32_t at, uint32_t *n) {
    uint32_t code;
    *n = sm_utf8_decode((const uint8_t *)s->data + at, s->length - at, &code);
    return code;
}

/* str.isspace of Python. */
bool code_is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}
