/* json.c - a JSON text in one pass into nodes, without recursion. */
#include "json.h"

#include <string.h>

#define PAGE_BITS 16
#define PAGE_BYTES (1u << PAGE_BITS)
#define PAGE_NODES (PAGE_BYTES / sizeof(node))
#define ASK_BYTES (1u << 20) /* about 2 ms */

/* A value; those inside a container follow it, depth first. */
typedef struct node {
    uint32_t next;   /* the first node after this value; of an open container: the one around it */
    uint32_t at;     /* string: place in the text, or among the unescaped; number: in the text */
    uint32_t length; /* bytes; or items or members */
    uint8_t kind;
    bool escaped; /* string: lies among the unescaped */
    bool name;    /* of a member, whose value follows */
} node;

_Static_assert(sizeof(node) == 16, "as json.h says");

/* Memory that grows without moving. A chunk is one page or several that lie together. */
typedef struct pages {
    struct page {
        uint8_t *data;
        bool own; /* begins a chunk */
    } * page;
    uint32_t n, capacity;
} pages;

struct sm_json {
    sm_mem *mem;
    const uint8_t *text;
    pages nodes, strings;
    uint32_t n_nodes;
    uint32_t string_at, string_end; /* where the next unescaped string goes; end of that chunk */
    uint64_t lines;
};

typedef struct parser {
    sm_json *json;
    const uint8_t *text;
    uint64_t at, size, ask_at;
    uint32_t open; /* innermost container that has not ended */
    uint32_t depth;
    bool clipped; /* there is more text than is looked at */
    const sm_json_source *source;
    sm_error *error;
} parser;

/* ---- memory ---------------------------------------------------------------------------- */

static bool pages_add(pages *p, sm_mem *mem, uint32_t n_pages, uint64_t bytes) {
    if (p->n + n_pages > p->capacity) {
        const uint32_t capacity = 2 * (p->n + n_pages);
        struct page *page = sm_realloc(mem, p->page, capacity * sizeof *page);
        if (!page)
            return false;
        p->page = page;
        p->capacity = capacity;
    }
    uint8_t *data = sm_alloc(mem, bytes);
    if (!data)
        return false;
    for (uint32_t i = 0; i < n_pages; i++)
        p->page[p->n++] = (struct page){data + (uint64_t)i * PAGE_BYTES, i == 0};
    return true;
}

static void pages_free(pages *p, sm_mem *mem) {
    for (uint32_t i = 0; i < p->n; i++)
        if (p->page[i].own)
            sm_free(mem, p->page[i].data);
    sm_free(mem, p->page);
}

static node *node_at(const sm_json *json, uint32_t i) {
    return (node *)(void *)json->nodes.page[i / PAGE_NODES].data + i % PAGE_NODES;
}

static sm_status no_memory(const parser *p) {
    return sm_fail(p->error, SM_ERR_NOMEM, "%s: out of memory for a JSON text", p->source->name);
}

/* Appends a value that holds nothing yet. */
static sm_status add(parser *p, sm_json_kind kind, uint64_t at, uint64_t length) {
    sm_json *json = p->json;
    if (json->n_nodes % PAGE_NODES == 0) {
        /* a value takes two bytes of text at least, with what parts it from the next or ends it,
         * but for those that have not ended */
        const uint64_t most = (p->size / 2 + SM_JSON_MAX_DEPTH + 2) * sizeof(node);
        if (!pages_add(&json->nodes, json->mem, 1,
                       json->n_nodes || most > PAGE_BYTES ? PAGE_BYTES : most))
            return no_memory(p);
    }
    const uint32_t i = json->n_nodes++;
    *node_at(json, i) = (node){
        .next = i + 1, .at = (uint32_t)at, .length = (uint32_t)length, .kind = (uint8_t)kind};
    return SM_OK;
}

/* Room for `length` unescaped bytes that lie together. */
static uint8_t *string_room(parser *p, uint64_t length) {
    sm_json *json = p->json;
    if (length > json->string_end - json->string_at) {
        const uint32_t n = (uint32_t)((length + PAGE_BYTES - 1) >> PAGE_BITS);
        /* all strings that follow are no longer than the text from here on */
        const uint64_t most = length + (p->size - p->at), bytes = (uint64_t)n << PAGE_BITS;
        json->string_at = json->strings.n << PAGE_BITS;
        if (!pages_add(&json->strings, json->mem, n, most < bytes ? most : bytes))
            return NULL;
        json->string_end = json->string_at + (uint32_t)(most < bytes ? most : bytes);
    }
    return json->strings.page[json->string_at >> PAGE_BITS].data +
           (json->string_at & (PAGE_BYTES - 1));
}

/* ---- text ------------------------------------------------------------------------------- */

static sm_status bad(const parser *p, const char *what) {
    return sm_fail(p->error, SM_ERR_FORMAT, "%s:%llu: not valid JSON: %s", p->source->name,
                   (unsigned long long)(p->source->line + p->json->lines), what);
}

static sm_status expected(const parser *p, const char *what) {
    if (p->at == p->size && p->clipped)
        return sm_fail(p->error, SM_ERR_UNSUPPORTED, "%s:%llu: a JSON text of more than %llu bytes",
                       p->source->name, (unsigned long long)p->source->line,
                       (unsigned long long)SM_JSON_MAX_BYTES);
    return sm_fail(p->error, SM_ERR_FORMAT, "%s:%llu: not valid JSON: %s %s", p->source->name,
                   (unsigned long long)(p->source->line + p->json->lines),
                   p->at == p->size ? "it ends, expected" : "expected", what);
}

/* Asks the hook where it is time to. */
static sm_status ask(parser *p) {
    if (p->at < p->ask_at)
        return SM_OK;
    p->ask_at = p->at + ASK_BYTES;
    if (p->source->cancel && p->source->cancel(p->source->user))
        return sm_fail(p->error, SM_ERR_CANCELLED, "%s: cancelled", p->source->name);
    return SM_OK;
}

/* To the next byte that is no white space; 0 at the end (which is no byte that JSON knows). */
static sm_status next_byte(parser *p, uint8_t *c) {
    for (; p->at < p->size; p->at++) {
        *c = p->text[p->at];
        if (*c != ' ' && *c != '\n' && *c != '\t' && *c != '\r')
            return p->at < p->ask_at ? SM_OK : ask(p);
        p->json->lines += *c == '\n';
        if (p->at >= p->ask_at) {
            const sm_status status = ask(p);
            if (status)
                return status;
        }
    }
    *c = 0;
    return SM_OK;
}

/* Past as many digits as there are, one at least. */
static sm_status digits(parser *p) {
    const uint64_t begin = p->at;
    for (; p->at < p->size && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++)
        if (p->at >= p->ask_at) {
            const sm_status status = ask(p);
            if (status)
                return status;
        }
    return p->at > begin ? SM_OK : expected(p, "a digit");
}

static bool take(parser *p, char a, char b) {
    if (p->at == p->size || (p->text[p->at] != a && p->text[p->at] != b))
        return false;
    p->at++;
    return true;
}

static sm_status number(parser *p) {
    const uint64_t begin = p->at;
    take(p, '-', '-');
    sm_status status = take(p, '0', '0') ? SM_OK : digits(p);
    if (!status && take(p, '.', '.'))
        status = digits(p);
    if (!status && take(p, 'e', 'E')) {
        take(p, '+', '-');
        status = digits(p);
    }
    return status ? status : add(p, SM_JSON_NUMBER, begin, p->at - begin);
}

static sm_status literal(parser *p, const char *text, sm_json_kind kind) {
    const uint64_t n = strlen(text);
    if (p->size - p->at < n || memcmp(p->text + p->at, text, n) != 0)
        return expected(p, "a value");
    p->at += n;
    return add(p, kind, 0, 0);
}

/* ---- strings ------------------------------------------------------------------------------ */

/* A byte of a string that is itself, whatever stands beside it. */
static bool is_plain(uint8_t c) {
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* To the quote that ends the string; *escaped: there is a backslash in it. */
static sm_status find_quote(parser *p, bool *escaped) {
    for (;;) {
        const uint64_t stop = p->size < p->ask_at ? p->size : p->ask_at;
        while (p->at < stop && is_plain(p->text[p->at]))
            p->at++;
        const sm_status status = ask(p);
        if (status)
            return status;
        if (p->at >= p->size)
            return expected(p, "a quote after a string");
        const uint8_t c = p->text[p->at];
        uint32_t code, n = 1;
        if (c == '"')
            return SM_OK;
        if (c < 0x20)
            return bad(p, "a control character inside a string");
        if (c == '\\') {
            *escaped = true;
            n = 2; /* unescape() looks at what that is */
        } else if (c >= 0x80) {
            n = sm_utf8_decode(p->text + p->at, p->size - p->at, &code);
            if (code == UINT32_MAX)
                return bad(p, "bytes inside a string that are not UTF-8");
        }
        p->at = n < p->size - p->at ? p->at + n : p->size;
    }
}

static bool hex4(const uint8_t *text, uint64_t left, uint32_t *code) {
    *code = 0;
    for (uint32_t i = 0; i < 4; i++) {
        const uint8_t c = left > i ? text[i] : 0;
        const uint32_t digit = c >= '0' && c <= '9'                 ? c - (uint32_t)'0'
                               : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - (uint32_t)'a' + 10
                                                                    : 16;
        if (digit == 16)
            return false;
        *code = *code << 4 | digit;
    }
    return true;
}

/* What the escape at text[0..left) stands for, as UTF-8; returns the bytes of text it takes, 0 if
 * it is none. */
static uint32_t escape(const uint8_t *text, uint64_t left, uint8_t *out, uint32_t *n) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *simple = text[1] ? strchr(from, text[1]) : NULL;
    uint32_t code, low;
    *n = 1;
    if (simple) {
        *out = (uint8_t)to[simple - from];
        return 2;
    }
    if (text[1] != 'u' || !hex4(text + 2, left - 2, &code))
        return 0;
    if (code < 0xD800 || code > 0xDFFF) {
        *n = sm_utf8_encode(code, out);
        return 6;
    }
    if (code > 0xDBFF || left < 12 || text[6] != '\\' || text[7] != 'u' ||
        !hex4(text + 8, left - 8, &low) || low < 0xDC00 || low > 0xDFFF)
        return 0;
    *n = sm_utf8_encode(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), out);
    return 12;
}

/* The string text[begin..p->at) without its escapes. */
static sm_status unescape(parser *p, uint64_t begin, uint8_t *out, uint64_t *length) {
    const uint64_t end = p->at;
    uint64_t n = 0;
    for (uint64_t i = begin, asked = begin; i < end;) {
        if (p->text[i] != '\\') {
            out[n++] = p->text[i++];
        } else {
            uint32_t bytes;
            const uint32_t used = escape(p->text + i, end - i, out + n, &bytes);
            if (!used)
                return bad(p, "an unknown escape, or half of a surrogate pair, inside a string");
            i += used;
            n += bytes;
        }
        if (i - asked >= ASK_BYTES) {
            asked = i;
            p->ask_at = p->at; /* now, not where the text goes on */
            const sm_status status = ask(p);
            if (status)
                return status;
        }
    }
    *length = n;
    return SM_OK;
}

/* The string whose quote is here. */
static sm_status string(parser *p, bool name) {
    const uint64_t begin = ++p->at;
    bool escaped = false;
    uint64_t place = begin, length;
    sm_status status = find_quote(p, &escaped);
    if (status)
        return status;
    length = p->at - begin;
    if (escaped) {
        uint8_t *out = string_room(p, length);
        if (!out)
            return no_memory(p);
        status = unescape(p, begin, out, &length);
        place = p->json->string_at;
        p->json->string_at += (uint32_t)length;
    }
    if (!status)
        status = add(p, SM_JSON_STRING, place, length);
    if (status)
        return status;
    node *n = node_at(p->json, p->json->n_nodes - 1);
    n->escaped = escaped;
    n->name = name;
    p->at++;
    return SM_OK;
}

/* ---- values ------------------------------------------------------------------------------- */

/* What comes next. */
typedef enum state { VALUE, NAME, AFTER, DONE } state;

static sm_status begin_container(parser *p, sm_json_kind kind, state *next) {
    const uint32_t i = p->json->n_nodes;
    uint8_t c;
    if (p->depth == SM_JSON_MAX_DEPTH)
        return sm_fail(p->error, SM_ERR_UNSUPPORTED,
                       "%s:%llu: JSON with arrays and objects more than %d deep", p->source->name,
                       (unsigned long long)(p->source->line + p->json->lines), SM_JSON_MAX_DEPTH);
    sm_status status = add(p, kind, 0, 0);
    if (status)
        return status;
    node_at(p->json, i)->next = p->open;
    p->open = i;
    p->depth++;
    p->at++;
    status = next_byte(p, &c);
    *next = kind == SM_JSON_ARRAY ? VALUE : NAME;
    if (c == (kind == SM_JSON_ARRAY ? ']' : '}'))
        *next = AFTER;
    return status;
}

static sm_status value(parser *p, state *next) {
    uint8_t c;
    sm_status status = next_byte(p, &c);
    if (status)
        return status;
    *next = p->open == SM_JSON_NONE ? DONE : AFTER;
    switch (c) {
    case '{':
        return begin_container(p, SM_JSON_OBJECT, next);
    case '[':
        return begin_container(p, SM_JSON_ARRAY, next);
    case '"':
        return string(p, false);
    case 't':
        return literal(p, "true", SM_JSON_TRUE);
    case 'f':
        return literal(p, "false", SM_JSON_FALSE);
    case 'n':
        return literal(p, "null", SM_JSON_NULL);
    default:
        return c == '-' || (c >= '0' && c <= '9') ? number(p) : expected(p, "a value");
    }
}

static sm_status name(parser *p, state *next) {
    uint8_t c;
    sm_status status = next_byte(p, &c);
    if (!status)
        status = c == '"' ? string(p, true) : expected(p, "a name in quotes");
    if (!status)
        status = next_byte(p, &c);
    if (!status && c != ':')
        status = expected(p, ": after a name");
    p->at += !status;
    *next = VALUE;
    return status;
}

static void end_container(parser *p, state *next) {
    node *n = node_at(p->json, p->open);
    p->open = n->next;
    n->next = p->json->n_nodes;
    p->depth--;
    p->at++;
    *next = p->open == SM_JSON_NONE ? DONE : AFTER;
}

/* After an item, or right after the bracket of a container without any. */
static sm_status after(parser *p, state *next) {
    node *n = node_at(p->json, p->open);
    const bool array = n->kind == SM_JSON_ARRAY;
    uint8_t c;
    sm_status status = next_byte(p, &c);
    if (status)
        return status;
    n->length += p->json->n_nodes > p->open + 1; /* but for what begins and ends at once */
    if (c == (array ? ']' : '}')) {
        end_container(p, next);
        return SM_OK;
    }
    if (c != ',')
        return expected(p, array ? ", or ] after an item" : ", or } after a member");
    p->at++;
    *next = array ? VALUE : NAME;
    return SM_OK;
}

static sm_status parse(parser *p) {
    sm_status status = SM_OK;
    state next = VALUE;
    while (next != DONE && !status)
        status = next == VALUE ? value(p, &next) : next == NAME ? name(p, &next) : after(p, &next);
    return status;
}

sm_status sm_json_read(sm_json **out, sm_mem *mem, const void *text, uint64_t length,
                       const sm_json_source *source, uint64_t *used, sm_error *error) {
    *out = NULL;
    sm_json *json = sm_alloc_zero(mem, sizeof *json);
    if (!json)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory for a JSON text", source->name);
    json->mem = mem;
    json->text = text;
    parser p = {.json = json,
                .text = text,
                .size = length < SM_JSON_MAX_BYTES ? length : SM_JSON_MAX_BYTES,
                .ask_at = ASK_BYTES,
                .open = SM_JSON_NONE,
                .clipped = length > SM_JSON_MAX_BYTES,
                .source = source,
                .error = error};
    sm_status status = parse(&p);
    if (!status && !used) {
        uint8_t c;
        status = next_byte(&p, &c);
        if (!status && (p.at < p.size || p.clipped))
            status = bad(&p, "something follows the value");
    }
    if (status) {
        sm_json_free(json);
        return status;
    }
    if (used)
        *used = p.at;
    *out = json;
    return SM_OK;
}

void sm_json_free(sm_json *json) {
    if (!json)
        return;
    pages_free(&json->nodes, json->mem);
    pages_free(&json->strings, json->mem);
    sm_free(json->mem, json);
}

uint64_t sm_json_lines(const sm_json *json) {
    return json->lines;
}

/* ---- looking ------------------------------------------------------------------------------ */

sm_json_kind sm_json_kind_of(const sm_json *json, sm_json_value v) {
    return v == SM_JSON_NONE ? SM_JSON_ABSENT : (sm_json_kind)node_at(json, v)->kind;
}

uint32_t sm_json_count(const sm_json *json, sm_json_value v) {
    return sm_json_kind_of(json, v) >= SM_JSON_ARRAY ? node_at(json, v)->length : 0;
}

const char *sm_json_text(const sm_json *json, sm_json_value v, uint64_t *length) {
    const sm_json_kind kind = sm_json_kind_of(json, v);
    *length = 0;
    if (kind != SM_JSON_STRING && kind != SM_JSON_NUMBER)
        return NULL;
    const node *n = node_at(json, v);
    const uint8_t *text = json->text + n->at;
    if (n->escaped)
        text = json->strings.page[n->at >> PAGE_BITS].data + (n->at & (PAGE_BYTES - 1));
    *length = n->length;
    return (const char *)text;
}

bool sm_json_is(const sm_json *json, sm_json_value v, const char *want) {
    uint64_t length;
    const char *text = sm_json_text(json, v, &length);
    return text && sm_json_kind_of(json, v) == SM_JSON_STRING && strlen(want) == length &&
           !memcmp(text, want, (size_t)length);
}

sm_json_value sm_json_get(const sm_json *json, sm_json_value object, const char *name) {
    sm_json_value found = SM_JSON_NONE;
    if (sm_json_kind_of(json, object) != SM_JSON_OBJECT)
        return found;
    for (sm_json_value i = sm_json_first(json, object); i != SM_JSON_NONE;
         i = sm_json_next(json, object, i))
        if (sm_json_is(json, i, name))
            found = sm_json_member(json, i);
    return found;
}

sm_json_value sm_json_first(const sm_json *json, sm_json_value container) {
    return sm_json_count(json, container) ? container + 1 : SM_JSON_NONE;
}

sm_json_value sm_json_next(const sm_json *json, sm_json_value container, sm_json_value item) {
    if (item == SM_JSON_NONE || sm_json_kind_of(json, container) < SM_JSON_ARRAY)
        return SM_JSON_NONE;
    const node *n = node_at(json, item);
    const uint32_t next = n->name ? node_at(json, item + 1)->next : n->next;
    return next < node_at(json, container)->next ? next : SM_JSON_NONE;
}

sm_json_value sm_json_member(const sm_json *json, sm_json_value name) {
    return sm_json_kind_of(json, name) == SM_JSON_STRING && node_at(json, name)->name
               ? name + 1
               : SM_JSON_NONE;
}

bool sm_json_u64(const sm_json *json, sm_json_value v, uint64_t *out) {
    uint64_t length, n = 0;
    const char *text = sm_json_text(json, v, &length);
    if (sm_json_kind_of(json, v) != SM_JSON_NUMBER)
        return false;
    for (uint64_t i = 0; i < length; i++)
        if (text[i] < '0' || text[i] > '9' || sm_mul_over(n, 10, &n) ||
            sm_add_over(n, (uint64_t)(text[i] - '0'), &n))
            return false;
    *out = n;
    return true;
}

bool sm_json_i64(const sm_json *json, sm_json_value v, int64_t *out) {
    uint64_t length, n = 0;
    const char *text = sm_json_text(json, v, &length);
    if (sm_json_kind_of(json, v) != SM_JSON_NUMBER)
        return false;
    const bool minus = text[0] == '-';
    for (uint64_t i = minus; i < length; i++)
        if (text[i] < '0' || text[i] > '9' || sm_mul_over(n, 10, &n) ||
            sm_add_over(n, (uint64_t)(text[i] - '0'), &n))
            return false;
    if (n > (uint64_t)INT64_MAX + minus)
        return false;
    *out = minus ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

bool sm_json_double(const sm_json *json, sm_json_value v, double *out) {
    uint64_t length;
    const char *text = sm_json_text(json, v, &length);
    return sm_json_kind_of(json, v) == SM_JSON_NUMBER && sm_json_parse_double(text, length, out);
}
