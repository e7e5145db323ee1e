/* reply_match.c - one pattern against the text from one place on, as far as there is text. */
#include "reply.h"

/* What a step comes to: PASS goes on with the next. */
typedef enum outcome { PASS, MORE, FAIL, DONE } outcome;

void sm_reply_match_begin(sm_reply_match *m, const sm_reply_step *step, sm_mem *mem, uint64_t at) {
    *m = (sm_reply_match){.step = step, .base = at, .at = at, .seen = at};
    m->marked = step->code == SM_REPLY_TEXT;
    m->arguments = sm_builder_of(mem, 0);
}

void sm_reply_match_end(sm_reply_match *m) {
    if (m->arguments.mem)
        sm_builder_free(&m->arguments);
}

/* ---- looking ahead --------------------------------------------------------------- */

static sm_reply_found text_at(const sm_reply_input *in, const sm_reply_step *step, uint64_t at) {
    const uint64_t n = min_u64(step->length, in->n - at);
    if (memcmp(in->text + at, step->text, (size_t)n) != 0)
        return SM_REPLY_NONE;
    return n == step->length ? SM_REPLY_WHOLE : SM_REPLY_MORE;
}

static uint64_t past_space(const sm_reply_input *in, uint64_t at) {
    while (at < in->n && sm_reply_is_space(in->text[at]))
        at++;
    return at;
}

static sm_reply_found either(sm_reply_found a, sm_reply_found b) {
    return a == SM_REPLY_WHOLE || b == SM_REPLY_WHOLE ? SM_REPLY_WHOLE
           : a == SM_REPLY_MORE || b == SM_REPLY_MORE ? SM_REPLY_MORE
                                                      : SM_REPLY_NONE;
}

/* The same where an argument's name follows, which begins with no slash: </… closes something. */
static sm_reply_found key_at(const sm_reply_input *in, const sm_reply_step *s, uint64_t at) {
    const sm_reply_found found = text_at(in, s, at);
    const uint64_t key = at + s->length;
    if (found != SM_REPLY_WHOLE || (key == in->n && in->ended))
        return found;
    return key == in->n ? SM_REPLY_MORE : in->text[key] == '/' ? SM_REPLY_NONE : found;
}

/* Whether the steps from pc on can begin at that place, by the first text among them. Past the end
 * of a text that has ended everything can. */
static sm_reply_found can_begin(const sm_reply_match *m, const sm_reply_input *in, uint32_t pc,
                                uint64_t at, uint32_t depth) {
    for (;; pc++) {
        const sm_reply_step *s = &m->step[pc];
        switch (s->code) {
        case SM_REPLY_SPACE:
            at = past_space(in, at);
            break;
        case SM_REPLY_TEXT:
            if (at == in->n)
                return in->ended ? SM_REPLY_WHOLE : SM_REPLY_MORE;
            return s[1].code == SM_REPLY_KEY ? key_at(in, s, at) : text_at(in, s, at);
        case SM_REPLY_MAYBE:
        case SM_REPLY_LOOP:
            if (depth == SM_REPLY_MAX_NESTING)
                return SM_REPLY_NONE;
            return either(can_begin(m, in, pc + 1, at, depth + 1),
                          can_begin(m, in, s->other + 1u, at, depth + 1));
        case SM_REPLY_LOOP_END:
        case SM_REPLY_CALL_END:
            if (depth == SM_REPLY_MAX_NESTING)
                return SM_REPLY_NONE;
            return either(can_begin(m, in, s->other + 1u, at, depth + 1),
                          can_begin(m, in, pc + 1, at, depth + 1));
        case SM_REPLY_MAYBE_END:
        case SM_REPLY_CALL:
        case SM_REPLY_COMPLETE:
        case SM_REPLY_MEANT:
            break;
        default:
            return SM_REPLY_WHOLE;
        }
    }
}

/* ---- words ----------------------------------------------------------------------- */

static bool in_name(char c) {
    return (uint8_t)c > 0x20 && !strchr("<>{}[]()\"'|,=;`", c);
}

static outcome word(sm_reply_match *m, const sm_reply_input *in, sm_reply_span *span) {
    while (m->seen < in->n && in_name(in->text[m->seen]))
        m->seen++;
    if (m->seen - m->at > SM_REPLY_MAX_WORD)
        return FAIL;
    if (m->seen == in->n && !in->ended)
        return MORE;
    *span = (sm_reply_span){m->at, m->seen - m->at};
    return span->n ? PASS : FAIL;
}

/* functions.NAME:0 */
static outcome id_with_name(sm_reply_match *m, const sm_reply_input *in) {
    const outcome is = word(m, in, &m->id);
    uint64_t begin = m->id.at, end = m->id.at + m->id.n;
    if (is != PASS)
        return is;
    for (uint64_t i = begin; i < m->id.at + m->id.n; i++) {
        begin = in->text[i] == '.' && end == m->id.at + m->id.n ? i + 1 : begin;
        end = in->text[i] == ':' ? min_u64(i, end) : end;
    }
    m->name = (sm_reply_span){begin, end - begin};
    return begin < end ? PASS : FAIL;
}

/* Everything up to the text of the next step, on one line. */
static outcome up_to(sm_reply_match *m, const sm_reply_input *in, sm_reply_span *span) {
    const sm_reply_step *next = &m->step[m->pc + 1];
    for (; m->seen < in->n; m->seen++) {
        const sm_reply_found found = text_at(in, next, m->seen);
        if (found == SM_REPLY_WHOLE) {
            *span = (sm_reply_span){m->at, m->seen - m->at};
            return PASS;
        }
        if (found == SM_REPLY_MORE)
            return MORE;
        if (in->text[m->seen] == '\n' || m->seen - m->at > SM_REPLY_MAX_WORD)
            return FAIL;
    }
    return MORE;
}

/* ---- values that are text -------------------------------------------------------- */

/* Whether all that follows the arguments stands here, and after it nothing, or the next call, or
 * another mark: then the value whose end is looked for has none. */
static sm_reply_found is_over(const sm_reply_match *m, const sm_reply_input *in, uint64_t at) {
    uint32_t pc = m->pc;
    while (m->step[pc].code != SM_REPLY_LOOP_END && m->step[pc].code != SM_REPLY_END)
        pc++;
    if (m->step[pc].code == SM_REPLY_END)
        return SM_REPLY_NONE;
    for (pc++; m->step[pc].code != SM_REPLY_END && m->step[pc].code != SM_REPLY_CALL_END; pc++) {
        const sm_reply_step *s = &m->step[pc];
        if (s->code == SM_REPLY_SPACE) {
            at = past_space(in, at);
        } else if (s->code == SM_REPLY_TEXT) {
            if (at == in->n && in->ended)
                return SM_REPLY_WHOLE;
            const sm_reply_found found = text_at(in, s, at);
            if (found != SM_REPLY_WHOLE)
                return found;
            at += s->length;
        }
    }
    at = past_space(in, at);
    if (at == in->n)
        return in->ended ? SM_REPLY_WHOLE : SM_REPLY_MORE;
    const sm_reply_found mark = in->mark_at(in->user, at);
    return m->step[pc].code == SM_REPLY_END ? mark : either(mark, can_begin(m, in, pc, at, 0));
}

/* The bytes up to the text of the next step, if what may follow it does: else it is part of the
 * value. */
static outcome value(sm_reply_match *m, const sm_reply_input *in) {
    const sm_reply_step *end = &m->step[m->pc + 1];
    for (; m->seen < in->n; m->seen++) {
        if (in->text[m->seen] != *end->text && in->text[m->seen] != '<')
            continue;
        sm_reply_found found = text_at(in, end, m->seen);
        if (found == SM_REPLY_WHOLE)
            found = can_begin(m, in, m->pc + 2, m->seen + end->length, 0);
        if (found == SM_REPLY_WHOLE) {
            m->body = (sm_reply_span){m->at, m->seen - m->at};
            return PASS;
        }
        const sm_reply_found over =
            found == SM_REPLY_MORE ? SM_REPLY_NONE : is_over(m, in, m->seen);
        if (found == SM_REPLY_MORE || over == SM_REPLY_MORE)
            return MORE;
        if (over == SM_REPLY_WHOLE)
            return FAIL;
    }
    return MORE;
}

/* Without one line end on either side. */
static void trim_lines(const sm_reply_input *in, sm_reply_span *s) {
    if (s->n && in->text[s->at] == '\r' && s->n > 1 && in->text[s->at + 1] == '\n')
        s->at++, s->n--;
    if (s->n && in->text[s->at] == '\n')
        s->at++, s->n--;
    if (s->n && in->text[s->at + s->n - 1] == '\n')
        s->n--;
    if (s->n && in->text[s->at + s->n - 1] == '\r')
        s->n--;
}

static void add_argument(sm_reply_match *m, const sm_reply_input *in) {
    const char *key = in->text + m->key.at, *name = in->text + m->name.at;
    const sm_json_value tool = sm_reply_tool(in->tools, name, m->name.n);
    const sm_json_value schema = sm_reply_property(in->tools, tool, key, m->key.n);
    sm_builder *out = &m->arguments;
    sm_builder_text(out, m->n_arguments++ ? ", \"" : "{\"");
    sm_builder_json_escaped(out, key, m->key.n);
    sm_builder_text(out, "\": ");
    sm_reply_put_typed(out, in->tools, schema, in->text + m->body.at, m->body.n, m->as);
    m->as = SM_REPLY_AS_SCHEMA;
}

static void note_type(sm_reply_match *m, const sm_reply_input *in, sm_reply_span type) {
    m->as =
        same_text(in->text + type.at, type.n, "string") ? SM_REPLY_AS_STRING : SM_REPLY_AS_VALUE;
}

static void note_string(sm_reply_match *m, const sm_reply_input *in, sm_reply_span flag) {
    m->as = same_text(in->text + flag.at, flag.n, "true") ? SM_REPLY_AS_STRING : SM_REPLY_AS_VALUE;
}

/* ---- values that tell their end -------------------------------------------------- */

static outcome scan(sm_reply_match *m, const sm_reply_input *in,
                    sm_reply_found (*fn)(sm_reply_scan *, const char *, uint64_t, uint64_t *)) {
    const sm_reply_found found = fn(&m->scan, in->text, in->n, &m->seen);
    if (found == SM_REPLY_MORE)
        return MORE;
    m->body = (sm_reply_span){m->at, m->seen - m->at};
    m->scan = (sm_reply_scan){0};
    return found == SM_REPLY_WHOLE ? PASS : FAIL;
}

/* Whether a call without a mark looked like one: it has a name and arguments. */
static bool names_both(const char *text, uint64_t n) {
    bool name = false, arguments = false;
    for (uint64_t i = 0; i + 6 <= n && i < 512; i++) {
        name |= !memcmp(text + i, "\"name\"", 6);
        arguments |= i + 12 <= n && (!memcmp(text + i, "\"parameters\"", 12) ||
                                     !memcmp(text + i, "\"arguments\"", 11));
    }
    return name && arguments;
}

/* What parts one JSON value from the next: white space, a comma or a semicolon. *next gets the
 * place behind it. SM_REPLY_NONE: no further value follows. */
static sm_reply_found another(const sm_reply_match *m, const sm_reply_input *in, uint64_t *next) {
    *next = past_space(in, m->at);
    if (*next < in->n && (in->text[*next] == ';' || in->text[*next] == ','))
        *next = past_space(in, *next + 1);
    if (*next == in->n)
        return in->ended ? SM_REPLY_NONE : SM_REPLY_MORE;
    return in->text[*next] == '{' || in->text[*next] == '[' ? SM_REPLY_WHOLE : SM_REPLY_NONE;
}

/* Calls that stand in one value after the other are taken one by one where no mark has to follow
 * the last. */
static void take_some(sm_reply_match *m, const sm_reply_input *in) {
    if (m->step[m->pc + 1].code != SM_REPLY_END)
        return;
    m->any = true;
    m->n_taken = in->calls->n;
    m->base = m->at;
}

/* One or more objects, or arrays of them. */
static outcome objects(sm_reply_match *m, const sm_reply_input *in, bool maps) {
    for (;;) {
        uint64_t next;
        if (m->between) {
            const sm_reply_found found = another(m, in, &next);
            if (found != SM_REPLY_WHOLE) {
                m->seen = m->at;
                return found == SM_REPLY_MORE ? MORE : PASS;
            }
            take_some(m, in);
            m->at = m->seen = next;
            m->between = false;
        }
        if (m->at == in->n)
            return MORE;
        m->meant |= m->marked && (in->text[m->at] == '{' || in->text[m->at] == '[');
        const outcome is = scan(m, in, sm_reply_scan_json);
        if (is == FAIL || (is == MORE && in->ended))
            m->meant |= names_both(in->text + m->at, m->seen - m->at);
        if (is != PASS)
            return is;
        if (!sm_reply_calls_json(in->calls, in->text + m->body.at, m->body.n, maps, !m->marked)) {
            m->meant |= names_both(in->text + m->at, m->seen - m->at);
            return FAIL;
        }
        m->at = m->seen;
        m->between = true;
    }
}

/* An object, a string that holds one, or nothing where the next text follows at once. */
static outcome arguments(sm_reply_match *m, const sm_reply_input *in, bool pairs) {
    if (m->at == in->n)
        return MORE;
    const char c = in->text[m->at];
    sm_builder *out = &m->arguments;
    if (c != '{') {
        const sm_reply_found next = can_begin(m, in, m->pc + 1, m->at, 0);
        if (m->step[m->pc + 1].code == SM_REPLY_END || next == SM_REPLY_NONE)
            return FAIL;
        if (next == SM_REPLY_MORE)
            return MORE;
        sm_builder_text(out, "{}");
        return PASS;
    }
    m->meant = true;
    const outcome is = scan(m, in, pairs ? sm_reply_scan_pairs : sm_reply_scan_json);
    if (is != PASS)
        return is;
    const char *text = in->text + m->body.at;
    return (pairs ? sm_reply_pairs_to_json(out, text, m->body.n)
                  : sm_reply_put_arguments(out, text, m->body.n))
               ? PASS
               : FAIL;
}

/* Whether the function that is called there is one of the tools; if they are not known it is. */
static bool is_tool(const sm_reply_input *in, const char *name, uint64_t n) {
    return !in->tools || !in->tools->json || sm_reply_tool(in->tools, name, n) != SM_JSON_NONE;
}

static outcome python(sm_reply_match *m, const sm_reply_input *in) {
    if (m->at == in->n)
        return MORE;
    if (!m->marked && in->text[m->at] != '[')
        return FAIL;
    const sm_reply_found found = sm_reply_scan_python(&m->scan, in->text, in->n, &m->seen);
    if (m->scan.called && !m->meant) {
        const char *name = in->text + m->scan.name;
        const char *bracket = memchr(name, '(', (size_t)(in->n - m->scan.name));
        m->meant = m->marked || (bracket && is_tool(in, name, (uint64_t)(bracket - name)));
    }
    if (found == SM_REPLY_NONE)
        return FAIL;
    if (found == SM_REPLY_MORE && !(in->ended && sm_reply_scan_python_may_end(&m->scan)))
        return MORE;
    m->body = (sm_reply_span){m->at, m->seen - m->at};
    return sm_reply_calls_python(in->calls, in->tools, in->text + m->body.at, m->body.n) ? PASS
                                                                                         : FAIL;
}

/* ---- steps ----------------------------------------------------------------------- */

/* The call that name and arguments make, where the pattern has those. */
static bool make_call(sm_reply_match *m, const sm_reply_input *in) {
    sm_builder *out = &m->arguments;
    if (!m->name.n)
        return true;
    if (m->n_arguments)
        sm_builder_byte(out, '}');
    else if (!out->length)
        sm_builder_text(out, "{}");
    const char *id = m->id.n ? in->text + m->id.at : NULL;
    const bool good =
        !out->failed && sm_reply_calls_add(in->calls, in->text + m->name.at, m->name.n, id, m->id.n,
                                           out->data, out->length);
    in->calls->failed |= out->failed;
    out->length = 0;
    m->n_arguments = 0;
    m->name = m->id = (sm_reply_span){0};
    return good;
}

static outcome done(sm_reply_match *m, const sm_reply_input *in) {
    if (!make_call(m, in))
        return FAIL;
    m->n_taken = in->calls->n;
    m->base = m->at;
    return DONE;
}

/* A call inside a section is whole: it stays. */
static outcome call_end(sm_reply_match *m, const sm_reply_input *in) {
    const uint32_t begin = m->step[m->pc].other;
    const sm_reply_found next = can_begin(m, in, begin + 1u, m->at, 0);
    if (m->name.n || in->calls->n > m->n_taken) {
        if (!make_call(m, in))
            return FAIL;
        m->n_taken = in->calls->n;
        m->any = true;
        m->base = m->at;
        m->meant = m->complete = false;
    }
    if (m->at == in->n && in->ended)
        return DONE;
    if (next == SM_REPLY_MORE && !in->ended)
        return MORE;
    if (next != SM_REPLY_NONE)
        m->pc = begin;
    return PASS;
}

static outcome text(sm_reply_match *m, const sm_reply_input *in) {
    const sm_reply_step *s = &m->step[m->pc];
    const sm_reply_found found = text_at(in, s, m->at);
    m->seen = min_u64(m->at + s->length, in->n);
    if (found == SM_REPLY_WHOLE)
        return PASS;
    if (found == SM_REPLY_MORE)
        return MORE;
    if (!m->complete)
        return FAIL;
    /* the end mark is missing, and the next mark stands here */
    const uint64_t at = past_space(in, m->at);
    const sm_reply_found mark = at == in->n ? SM_REPLY_MORE : in->mark_at(in->user, at);
    return mark == SM_REPLY_WHOLE ? done(m, in) : mark == SM_REPLY_MORE ? MORE : FAIL;
}

/* Whether what may be missing, or come again, begins here. */
static outcome branch(sm_reply_match *m, const sm_reply_input *in) {
    const sm_reply_found found = can_begin(m, in, m->pc + 1, m->at, 0);
    const uint32_t end = m->step[m->pc].other;
    uint32_t after = end + 1;
    if (found == SM_REPLY_MORE)
        return MORE;
    if (m->at == in->n && in->ended) {
        m->pc = end;
        return PASS;
    }
    if (found == SM_REPLY_NONE)
        m->pc = after - 1;
    return PASS;
}

static outcome step(sm_reply_match *m, const sm_reply_input *in) {
    sm_reply_span span = {0};
    outcome is = PASS;
    switch (m->step[m->pc].code) {
    case SM_REPLY_END:
        return done(m, in);
    case SM_REPLY_TEXT:
        return text(m, in);
    case SM_REPLY_SPACE:
        m->seen = past_space(in, m->at);
        return m->seen == in->n && !in->ended ? MORE : PASS;
    case SM_REPLY_NAME:
        return word(m, in, &m->name);
    case SM_REPLY_ID:
        return word(m, in, &m->id);
    case SM_REPLY_ID_NAME:
        return id_with_name(m, in);
    case SM_REPLY_KEY:
        return up_to(m, in, &m->key);
    case SM_REPLY_ANY:
        return up_to(m, in, &span);
    case SM_REPLY_TYPE:
        is = up_to(m, in, &span);
        if (is == PASS)
            note_type(m, in, span);
        return is;
    case SM_REPLY_IS_STRING:
        is = up_to(m, in, &span);
        if (is == PASS)
            note_string(m, in, span);
        return is;
    case SM_REPLY_VALUE:
    case SM_REPLY_LINES:
        is = value(m, in);
        if (is == PASS && m->step[m->pc].code == SM_REPLY_LINES)
            trim_lines(in, &m->body);
        if (is == PASS)
            add_argument(m, in);
        return is;
    case SM_REPLY_OBJECTS:
    case SM_REPLY_MAPS:
        return objects(m, in, m->step[m->pc].code == SM_REPLY_MAPS);
    case SM_REPLY_ARGUMENTS:
    case SM_REPLY_PAIRS:
        return arguments(m, in, m->step[m->pc].code == SM_REPLY_PAIRS);
    case SM_REPLY_PYTHON:
        return python(m, in);
    case SM_REPLY_MAYBE:
    case SM_REPLY_LOOP:
        return branch(m, in);
    case SM_REPLY_LOOP_END:
        m->pc = m->step[m->pc].other - 1u; /* looks once more */
        return PASS;
    case SM_REPLY_CALL_END:
        return call_end(m, in);
    case SM_REPLY_COMPLETE:
        m->complete = true;
        return PASS;
    case SM_REPLY_MEANT:
        m->meant = true;
        return PASS;
    default: /* the beginning or end of something */
        return PASS;
    }
}

sm_reply_found sm_reply_match_run(sm_reply_match *m, const sm_reply_input *in) {
    for (;;) {
        const outcome is = step(m, in);
        if (is == DONE)
            return SM_REPLY_WHOLE;
        if (is == FAIL)
            return SM_REPLY_NONE;
        if (is == MORE) {
            if (!in->ended)
                return SM_REPLY_MORE;
            if (!m->complete)
                return SM_REPLY_NONE;
            m->at = in->n; /* with what there is of the end mark */
            return done(m, in) == DONE ? SM_REPLY_WHOLE : SM_REPLY_NONE;
        }
        m->at = m->seen = max_u64(m->at, m->seen);
        m->pc++;
    }
}
