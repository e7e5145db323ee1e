/* probe.c - a template renders a conversation with known calls; where their parts lie in the text,
 * and what stands around them, is the pattern that reads such calls. */
#include "probe.h"

#include <string.h>

#include "reply.h"

#define USER "{\"role\": \"user\", \"content\": \"~smUser~\"}"
#define ASSISTANT(members) "{\"role\": \"assistant\", " members "}"
#define TEXT "\"content\": \"~smText~\""
#define FIRST                                                                                \
    "{\"id\": \"smcall001\", \"type\": \"function\", \"function\": {\"name\": \"smFirst\", " \
    "\"arguments\": {\"smKey\": \"smValue\", \"smOther\": \"smThing\"}}}"
#define SECOND                                                                                \
    "{\"id\": \"smcall002\", \"type\": \"function\", \"function\": {\"name\": \"smSecond\", " \
    "\"arguments\": {\"smKey\": \"smMore\", \"smOther\": \"smLess\"}}}"
#define TOOL(name)                                                                             \
    "{\"type\": \"function\", \"function\": {\"name\": \"" name "\", \"description\": \"?\", " \
    "\"parameters\": {\"type\": \"object\", \"properties\": {\"smKey\": {\"type\": "           \
    "\"string\"}, \"smOther\": {\"type\": \"string\"}}}}}"
#define TOOLS "[" TOOL("smFirst") ", " TOOL("smSecond") "]"

typedef struct span {
    const char *p;
    uint64_t n;
} span;

/* What the probes gave. */
typedef struct probe {
    const sm_chat *chat;
    sm_mem *mem;
    const char *tools;
    span begin;    /* the user's message and what an answer goes on from */
    span plain;    /* the same with an answer, to its end */
    span one, two; /* with one call, with two */
    bool failed;
} probe;

/* ---- spans ----------------------------------------------------------------------- */

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static span part(span s, uint64_t from, uint64_t to) {
    return (span){s.p + from, to - from};
}

/* Without white space in front; at either end. */
static span started(span s) {
    while (s.n && is_space(*s.p))
        s.p++, s.n--;
    return s;
}

static span trimmed(span s) {
    s = started(s);
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* Where it begins at or behind `from`; UINT64_MAX: nowhere. */
static uint64_t find(span s, const char *what, uint64_t from) {
    const uint64_t n = strlen(what);
    for (uint64_t i = from; i + n <= s.n; i++)
        if (!memcmp(s.p + i, what, (size_t)n))
            return i;
    return UINT64_MAX;
}

static uint64_t same_front(span a, span b) {
    uint64_t n = 0;
    while (n < a.n && n < b.n && a.p[n] == b.p[n])
        n++;
    return n;
}

static uint64_t same_back(span a, span b) {
    uint64_t n = 0;
    while (n < a.n && n < b.n && a.p[a.n - 1 - n] == b.p[b.n - 1 - n])
        n++;
    return n;
}

static bool same(span a, span b) {
    a = trimmed(a);
    b = trimmed(b);
    return a.n == b.n && same_front(a, b) == a.n;
}

/* Where a mark may begin. */
static bool opens_mark(char c) {
    return c == '<' || c == '[' || c == '{' || c == '(' || c == '#' || c == '`';
}

/* The end that both have, from where a mark begins. */
static span shared_end(span a, span b) {
    const uint64_t n = same_back(a, b);
    span s = part(a, a.n - n, a.n);
    for (span t = s; t.n; t.p++, t.n--)
        if (opens_mark(*t.p))
            return t;
    return s;
}

/* ---- renders --------------------------------------------------------------------- */

static span render(probe *p, const char *messages, bool continues) {
    const sm_render_options o = {.struct_size = sizeof o, .no_generation_prompt = !continues};
    uint64_t n;
    const sm_status status = sm_chat_render(p->chat, messages, p->tools, &o, NULL, 0, &n, NULL);
    p->failed |= status == SM_ERR_NOMEM;
    if (status != SM_ERR_BUFFER)
        return (span){NULL, 0};
    char *text = sm_alloc(p->mem, n);
    if (!text || sm_chat_render(p->chat, messages, p->tools, &o, text, n, &n, NULL)) {
        p->failed = true; /* it was rendered before */
        sm_free(p->mem, text);
        return (span){NULL, 0};
    }
    return (span){text, n};
}

static void drop(probe *p, span s) {
    sm_free(p->mem, (char *)(uintptr_t)s.p);
}

/* How far both are the same, up to where a mark or a line may begin. */
static uint64_t shared_front(span a, span b) {
    uint64_t n = same_front(a, b);
    while (n < a.n && n && !strchr("\n>]~", a.p[n]) && !strchr("\n>]", b.p[n - 1]))
        n--;
    return n;
}

/* What the model would have written of that conversation: without what an answer goes on from (an
 * empty reasoning included), and without its end, of which a part may be the same as in another
 * answer's. */
static span written(const probe *p, span whole) {
    const uint64_t from = max_u64(shared_front(p->begin, whole), shared_front(p->plain, whole));
    uint64_t cut;
    const uint64_t shorter = min_u64(whole.n, p->plain.n);
    const uint64_t end = min_u64(same_back(p->plain, whole), shorter - min_u64(from, shorter));
    span s = trimmed(part(whole, from, whole.n - end));
    for (cut = s.n; cut && s.p[cut - 1] != '<' && s.p[cut - 1] != '>';)
        cut--;
    if (cut && s.p[cut - 1] == '<' && end)
        s.n = cut - 1;
    return trimmed(s);
}

static bool run_probes(probe *p) {
    p->tools = TOOLS;
    p->one = render(
        p, "[" USER ", " ASSISTANT("\"content\": \"\", \"tool_calls\": [" FIRST "]") "]", false);
    if (!p->one.p) {
        p->tools = NULL;
        p->one =
            render(p, "[" USER ", " ASSISTANT("\"content\": \"\", \"tool_calls\": [" FIRST "]") "]",
                   false);
    }
    p->begin = render(p, "[" USER "]", true);
    p->plain = render(p, "[" USER ", " ASSISTANT(TEXT) "]", false);
    p->two = render(
        p,
        "[" USER ", " ASSISTANT("\"content\": \"\", \"tool_calls\": [" FIRST ", " SECOND "]") "]",
        false);
    return p->begin.p && p->plain.p;
}

/* ---- trying ---------------------------------------------------------------------- */

typedef struct seen {
    uint32_t n_calls;
    bool right;
} seen;

static int32_t look_at(void *user, const sm_delta *delta) {
    static const char *const wanted[][3] = {{"smFirst", "smValue", "smThing"},
                                            {"smSecond", "smMore", "smLess"}};
    seen *s = user;
    if (delta->kind != SM_DELTA_CALL)
        return 0;
    const uint32_t i = s->n_calls++;
    s->right &= i < 2 && !strcmp(delta->name, wanted[i][0]) && strstr(delta->text, "\"smKey\"") &&
                strstr(delta->text, wanted[i][1]) && strstr(delta->text, "\"smOther\"") &&
                strstr(delta->text, wanted[i][2]);
    return 0;
}

/* Whether a reply in that format is so many calls, the probe's; alone: and nothing else. */
static bool reads_calls(probe *p, const char *format, span text, uint32_t n_calls, bool alone) {
    sm_reply *reply;
    seen s = {.right = true};
    char message[8];
    uint64_t n;
    const sm_reply_options o = {.struct_size = sizeof o,
                                .format = format,
                                .tools = TOOLS,
                                .allocator = p->mem->hook.alloc ? &p->mem->hook : NULL};
    const sm_status status = sm_reply_new(&reply, &o, NULL);
    p->failed |= status == SM_ERR_NOMEM;
    if (status)
        return false;
    sm_reply_info info = {.struct_size = sizeof info};
    sm_status read = sm_reply_feed(reply, text.p, text.n, look_at, &s, NULL);
    if (!read)
        read = sm_reply_finish(reply, look_at, &s, NULL);
    p->failed |= read == SM_ERR_NOMEM;
    bool good = !read && !sm_reply_get_info(reply, &info, NULL) && !info.malformed && s.right &&
                s.n_calls == n_calls;
    /* no content: {"role": "assistant", "content": null */
    if (good && alone) {
        read = sm_reply_message(reply, message, 0, &n, NULL);
        p->failed |= read == SM_ERR_NOMEM;
        good = read == SM_ERR_BUFFER;
    }
    if (good && alone) {
        char *json = sm_alloc(p->mem, n);
        read = json ? sm_reply_message(reply, json, n, &n, NULL) : SM_ERR_NOMEM;
        p->failed |= read == SM_ERR_NOMEM;
        good = !read && find((span){json, n}, "\"content\": null", 0) != UINT64_MAX;
        sm_free(p->mem, json);
    }
    sm_reply_free(reply);
    return good;
}

/* ---- patterns -------------------------------------------------------------------- */

/* Text of a mark: white space may be other, a single space is what it is. False: it holds what
 * belongs to the probe. */
static bool put_mark(sm_builder *out, span s) {
    if (find(s, "smcall", 0) != UINT64_MAX || find(s, "smFirst", 0) != UINT64_MAX)
        return false;
    for (uint64_t i = 0; i < s.n; i++) {
        uint64_t spaces = 0;
        while (i + spaces < s.n && is_space(s.p[i + spaces]))
            spaces++;
        if (spaces > 1 || (spaces && s.p[i] != ' ')) {
            sm_builder_text(out, "%_");
            i += spaces - 1;
        } else {
            sm_builder_add(out, s.p[i] == '%' ? "%%" : s.p + i, s.p[i] == '%' ? 2 : 1);
        }
    }
    return true;
}

/* A mark that may hold the call's id. */
static bool put_mark_and_id(sm_builder *out, span s) {
    const uint64_t id = find(s, "smcall001", 0);
    if (id == UINT64_MAX)
        return put_mark(out, s);
    const bool front = put_mark(out, part(s, 0, id));
    sm_builder_text(out, "%i");
    return front && put_mark(out, part(s, id + 9, s.n));
}

/* A call in the text: what is its own, from where to where. */
typedef struct core {
    uint64_t from, to;
    bool whole; /* JSON or Python: several may stand in one */
} core;

/* The end of the JSON value at that place; 0: there is none. */
static uint64_t json_end(probe *p, span s, uint64_t at) {
    const sm_json_source source = {.name = "probe", .line = 1};
    sm_json *json;
    uint64_t used = 0;
    const sm_status status = sm_json_read(&json, p->mem, s.p + at, s.n - at, &source, &used, NULL);
    p->failed |= status == SM_ERR_NOMEM;
    if (status)
        return 0;
    sm_json_free(json);
    return at + used;
}

static bool are_calls(probe *p, span s, bool maps) {
    sm_reply_calls calls = {.mem = p->mem};
    const bool good = sm_reply_calls_json(&calls, s.p, s.n, maps, true);
    p->failed |= calls.failed;
    sm_reply_calls_free(&calls);
    return good;
}

/* The outermost JSON value around the name that is calls: what they are; NULL: none. */
static const char *find_json(probe *p, span s, uint64_t name, core *c) {
    for (uint64_t i = 0; i < name; i++) {
        const uint64_t end = s.p[i] == '{' || s.p[i] == '[' ? json_end(p, s, i) : 0;
        if (end <= name)
            continue;
        *c = (core){i, end, true};
        if (are_calls(p, part(s, i, end), false))
            return "%o%.";
        if (are_calls(p, part(s, i, end), true))
            return "%m%.";
    }
    return NULL;
}

/* NAME( … ), and the brackets around. */
static bool find_python(span s, uint64_t name, core *c) {
    uint64_t to = s.n, from = name;
    if (s.p[name + 7] != '(')
        return false;
    while (to && s.p[to - 1] != ')')
        to--;
    while (from && is_space(s.p[from - 1]))
        from--;
    if (from && s.p[from - 1] == '[') {
        const uint64_t close = find(s, "]", to);
        *c = (core){from - 1, close == UINT64_MAX ? to : close + 1, true};
    } else {
        *c = (core){name, to, true};
    }
    return to > name;
}

/* The name, text, and arguments as JSON. */
static bool put_named(probe *p, sm_builder *out, span s, uint64_t name, core *c) {
    uint64_t at = name + 7;
    while (at < s.n && (s.p[at] != '{' || !json_end(p, s, at)))
        at++;
    if (at == s.n || find(part(s, at, json_end(p, s, at)), "smKey", 0) == UINT64_MAX)
        return false;
    *c = (core){name, json_end(p, s, at), false};
    sm_builder_text(out, "%n");
    const bool good = put_mark_and_id(out, part(s, name + 7, at));
    sm_builder_text(out, "%a%.");
    return good;
}

/* The name, and the arguments one by one, with marks around names and values. */
static bool put_keyed(sm_builder *out, span s, uint64_t name, core *c) {
    static const char *const words[] = {"smFirst", "smKey", "smValue", "smOther", "smThing"};
    uint64_t at[5], end[5];
    for (uint32_t i = 0; i < 5; i++) {
        at[i] = find(s, words[i], i ? end[i - 1] : name);
        if (at[i] == UINT64_MAX)
            return false;
        end[i] = at[i] + strlen(words[i]);
    }
    const span head = part(s, end[0], at[1]), before = part(s, end[1], at[2]),
               between = part(s, end[2], at[3]), tail = part(s, end[4], s.n);
    if (!same(before, part(s, end[3], at[4])))
        return false;
    const span open = shared_end(head, between);
    const span close = part(between, 0, between.n - open.n);
    if (!trimmed(close).n || !trimmed(open).n || tail.n < close.n ||
        same_front(close, tail) < trimmed(close).n)
        return false;
    const bool lines = before.n && before.p[before.n - 1] == '\n' && *close.p == '\n';
    sm_builder_text(out, "%n");
    bool good = put_mark_and_id(out, part(head, 0, head.n - open.n));
    sm_builder_text(out, "%!%_%[");
    good = good && put_mark(out, started(open));
    sm_builder_text(out, "%k");
    good = good && put_mark(out, lines ? trimmed(before) : before);
    sm_builder_text(out, lines ? "%w" : "%v");
    good = good && put_mark(out, trimmed(close));
    sm_builder_text(out, "%_%]");
    *c = (core){name, end[4] + close.n, false};
    return good;
}

/* ---- calls ----------------------------------------------------------------------- */

/* What stands around a call: once around all of them, and around each. */
typedef struct around {
    span open, before, behind, close;
    bool section;
} around;

static around look_around(const probe *p, span one, const core *c) {
    around a = {.before = part(one, 0, c->from), .behind = part(one, c->to, one.n)};
    const span two = p->two.p ? written(p, p->two) : (span){NULL, 0};
    const uint64_t second = two.n ? find(two, "smSecond", 0) : UINT64_MAX;
    const uint64_t size = c->to - c->from;
    if (second == UINT64_MAX || c->whole || two.n < c->to || second < c->from + size)
        return a;
    const span gap = part(two, c->to, second);
    span before = shared_end(a.before, gap);
    if (before.n > gap.n)
        before = part(before, before.n - gap.n, before.n);
    const span behind = part(gap, 0, gap.n - before.n);
    if (same(before, a.before) && same(behind, a.behind))
        return a;
    const span close = a.behind;
    if (close.n < behind.n || same_front(close, behind) < trimmed(behind).n)
        return a;
    a.section = true;
    a.open = part(a.before, 0, a.before.n - before.n);
    a.close = part(close, behind.n, close.n);
    a.before = before;
    a.behind = behind;
    return a;
}

static bool put_around(sm_builder *out, const around *a, const sm_builder *call) {
    bool good = true;
    if (a->section) {
        good = put_mark_and_id(out, trimmed(a->open));
        sm_builder_text(out, "%_%{");
    }
    good = good && put_mark_and_id(out, a->section ? trimmed(a->before) : a->before);
    sm_builder_add(out, call->data, call->length);
    good = good && put_mark(out, a->behind);
    if (a->section) {
        sm_builder_text(out, "%_%}");
        good = good && put_mark(out, a->close);
    }
    return good;
}

/* The pattern of the call in the text. */
static bool put_pattern(probe *p, sm_builder *out, span one) {
    const uint64_t name = find(one, "smFirst", 0);
    sm_builder call = sm_builder_of(p->mem, 0);
    core c;
    bool good = name != UINT64_MAX;
    const char *json = good ? find_json(p, one, name, &c) : NULL;
    if (json) {
        sm_builder_text(&call, json);
    } else if (good && find_python(one, name, &c)) {
        sm_builder_text(&call, "%p%.");
    } else if (good && !put_named(p, &call, one, name, &c)) {
        call.length = 0;
        good = put_keyed(&call, one, name, &c);
    }
    if (good) {
        const around a = look_around(p, one, &c);
        good = put_around(out, &a, &call);
    }
    p->failed |= call.failed;
    sm_builder_free(&call);
    return good;
}

/* A line of the description, if a format of it reads the probes. */
static bool put_calls(probe *p, sm_builder *out, span one) {
    sm_builder line = sm_builder_of(p->mem, 0);
    sm_builder_text(&line, "call ");
    bool good = put_pattern(p, &line, one);
    sm_builder_byte(&line, '\n');
    sm_builder_byte(&line, 0);
    p->failed |= line.failed;
    good = good && !line.failed && reads_calls(p, line.data, one, 1, true) &&
           (!p->two.p || find(p->two, "smMore", 0) == UINT64_MAX ||
            reads_calls(p, line.data, written(p, p->two), 2, true));
    if (good)
        sm_builder_text(out, line.data);
    sm_builder_free(&line);
    return good;
}

/* ---- reasoning ------------------------------------------------------------------- */

/* The last mark before `end`, without the header of the message. */
static span last_mark(span s) {
    s = trimmed(s);
    for (uint64_t i = s.n; i-- > 0;)
        if (s.p[i] == '<' || s.p[i] == '[' || s.p[i] == '\n')
            return trimmed(part(s, i, s.n));
    return (span){NULL, 0};
}

static bool put_reasoning(sm_builder *out, const probe *p, span text) {
    const uint64_t at = find(text, "~smThought~", 0);
    const uint64_t answer = at == UINT64_MAX ? at : find(text, "~smText~", at);
    if (answer == UINT64_MAX)
        return false;
    const uint64_t from = same_front(p->plain, text);
    const span close = trimmed(part(text, at + 11, answer));
    span open = from < at ? trimmed(part(text, from, at)) : (span){NULL, 0};
    if (!open.n || !opens_mark(*open.p))
        open = last_mark(part(text, 0, at));
    if (!open.n || !close.n || memchr(open.p, '\n', (size_t)open.n) ||
        memchr(open.p, '\t', (size_t)open.n) || memchr(close.p, '\n', (size_t)close.n))
        return false;
    sm_builder_text(out, "think ");
    sm_builder_add(out, open.p, open.n);
    sm_builder_byte(out, '\t');
    sm_builder_add(out, close.p, close.n);
    sm_builder_byte(out, '\n');
    return true;
}

static void find_reasoning(probe *p, sm_builder *out) {
    static const char *const messages[] = {
        "[" USER ", " ASSISTANT(TEXT ", \"reasoning_content\": \"~smThought~\"") "]",
        "[" USER ", " ASSISTANT(TEXT ", \"thinking\": \"~smThought~\"") "]",
        "[" USER ", " ASSISTANT(TEXT ", \"reasoning\": \"~smThought~\"") "]"};
    bool found = false;
    for (uint32_t i = 0; i < 3 && !found; i++) {
        const span text = render(p, messages[i], false);
        found = text.p && put_reasoning(out, p, text);
        drop(p, text);
    }
    if (!found)
        sm_builder_text(out, "think <think>\t</think>\n");
}

sm_status sm_chat_probe(sm_builder *out, const sm_chat *chat, const char *named) {
    probe p = {.chat = chat, .mem = out->mem};
    if (run_probes(&p) && p.one.p && !p.failed) {
        const span one = written(&p, p.one);
        if (!(named && reads_calls(&p, named, one, 1, false)) && put_calls(&p, out, one))
            find_reasoning(&p, out);
    }
    drop(&p, p.begin);
    drop(&p, p.plain);
    drop(&p, p.one);
    drop(&p, p.two);
    return p.failed || out->failed ? SM_ERR_NOMEM : SM_OK;
}
