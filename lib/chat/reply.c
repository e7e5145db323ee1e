/* reply.c - the handle that reads a reply: which alternative is tried where, what is handed out. */
#include "reply.h"

#include "smallmind/chat.h"

#define COMPACT_BYTES 65536 /* read text that is kept at most, unless a mark begins in it */

typedef enum role { ROLE_CALL, ROLE_THINK, ROLE_SILENT } role;

typedef struct alternative {
    uint32_t step; /* where its steps begin */
    uint8_t role;
    bool marked;
    const char *close; /* of ROLE_THINK */
} alternative;

/* A text that is handed out: white space at its end waits for what follows. */
typedef struct channel {
    sm_builder text, space;
} channel;

enum { CONTENT, REASONING, CHANNELS };

struct sm_reply {
    sm_mem *mem;
    sm_use use;
    sm_reply_step *steps;
    alternative *alternatives;
    uint32_t n_steps, n_alternatives;
    bool all; /* every format: calls without a mark have to be of a tool */
    bool starts[256];
    sm_reply_described described;
    sm_reply_tools tools;
    uint32_t first_call;
    /* the text */
    sm_builder text;
    uint64_t at;       /* up to here it is read */
    uint64_t dropped;  /* bytes forgotten in front of it */
    uint64_t hidden;   /* at its beginning, of the prompt */
    uint64_t spent;    /* bytes looked at again */
    const char *close; /* inside reasoning: what ends it */
    /* the place where a mark may begin, at `at` */
    bool trying, meant;
    uint32_t alternative;
    uint64_t worst; /* how far a failed alternative had seen */
    sm_reply_match match;
    /* the message */
    channel channels[CHANNELS];
    sm_reply_calls calls;
    uint32_t n_sent;
    bool marks; /* there were any */
    bool fresh; /* nothing but white space since the last one, or the beginning */
    bool malformed, finished;
    sm_status failed;
    /* what waits to be handed out */
    uint32_t kind;
    sm_builder delta, json;
    sm_delta_fn on_delta;
    void *user;
    sm_status status;
};

/* ---- handing out ----------------------------------------------------------------- */

static void put_member(sm_json_writer *w, const char *name, const char *text, uint64_t n) {
    sm_json_put_key(w, name, strlen(name));
    sm_json_put_string(w, text, n);
}

static void give(sm_reply *r, sm_delta *delta) {
    sm_builder_byte(&r->json, 0);
    if (r->json.failed && !r->status)
        r->status = SM_ERR_NOMEM;
    if (r->status || !r->on_delta)
        return;
    delta->struct_size = sizeof *delta;
    delta->json = r->json.data;
    delta->json_length = r->json.length - 1;
    if (r->on_delta(r->user, delta))
        r->status = SM_ERR_CANCELLED;
}

/* Text that waits; of a character that is not whole only if nothing follows (all). */
static void flush(sm_reply *r, bool all) {
    const uint64_t n =
        all ? r->delta.length : sm_utf8_complete((const uint8_t *)r->delta.data, r->delta.length);
    if (!n || r->status)
        return;
    sm_builder text = sm_builder_of(r->mem, 0);
    sm_reply_put_clean(&text, r->delta.data, n);
    r->json.length = 0;
    sm_json_writer w = sm_json_writer_of(&r->json, NULL);
    sm_json_open(&w, SM_JSON_OBJECT);
    put_member(&w, r->kind == SM_DELTA_CONTENT ? "content" : "reasoning_content", text.data,
               text.length);
    sm_json_close(&w);
    const uint64_t length = text.length;
    sm_builder_byte(&text, 0);
    r->json.failed |= text.failed;
    give(r, &(sm_delta){.kind = r->kind, .text = text.data, .length = length});
    sm_builder_free(&text);
    memmove(r->delta.data, r->delta.data + n, (size_t)(r->delta.length - n));
    r->delta.length -= n;
}

static void wait_with(sm_reply *r, uint32_t which, const char *text, uint64_t n) {
    const uint32_t kind = which == CONTENT ? SM_DELTA_CONTENT : SM_DELTA_REASONING;
    if (kind != r->kind)
        flush(r, true);
    r->kind = kind;
    sm_builder_add(&r->channels[which].text, text, n);
    if (r->on_delta)
        sm_builder_add(&r->delta, text, n);
}

/* Adds text to content or reasoning. White space around marks is none of either. */
static void put(sm_reply *r, uint32_t which, const char *text, uint64_t n) {
    channel *c = &r->channels[which];
    uint64_t end = n;
    while (end && sm_reply_is_space(text[end - 1]))
        end--;
    if (end) {
        if (c->text.length || (which == CONTENT && !r->marks)) {
            wait_with(r, which, c->space.data, c->space.length);
        } else {
            while (sm_reply_is_space(*text))
                text++, n--, end--;
        }
        c->space.length = 0;
        wait_with(r, which, text, end);
        r->fresh = r->fresh && which != CONTENT;
    }
    sm_builder_add(&c->space, text + end, n - end);
}

/* The id of a call that has none: 9 letters and digits, which all templates take. */
static void make_id(const sm_reply *r, uint32_t i, char id[16]) {
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    uint32_t number = r->first_call + i;
    memcpy(id, "call00000", 10);
    for (uint32_t place = 9; place > 4; place--, number /= 36)
        id[place - 1] = digits[number % 36];
}

static void put_call(const sm_reply *r, sm_json_writer *w, uint32_t i, bool numbered) {
    const sm_reply_call *call = &r->calls.call[i];
    char made[16];
    make_id(r, i, made);
    sm_json_open(w, SM_JSON_OBJECT);
    if (numbered) {
        sm_json_put_key(w, "index", 5);
        sm_json_put_i64(w, i);
    }
    put_member(w, "id", call->id ? call->id : made, call->id ? call->id_length : strlen(made));
    put_member(w, "type", "function", 8);
    sm_json_put_key(w, "function", 8);
    sm_json_open(w, SM_JSON_OBJECT);
    put_member(w, "name", call->name, call->name_length);
    put_member(w, "arguments", call->arguments, call->arguments_length);
    sm_json_close(w);
    sm_json_close(w);
}

static void send_call(sm_reply *r, uint32_t i) {
    const sm_reply_call *call = &r->calls.call[i];
    char made[16];
    make_id(r, i, made);
    r->json.length = 0;
    sm_json_writer w = sm_json_writer_of(&r->json, NULL);
    sm_json_open(&w, SM_JSON_OBJECT);
    sm_json_put_key(&w, "tool_calls", 10);
    sm_json_open(&w, SM_JSON_ARRAY);
    put_call(r, &w, i, true);
    sm_json_close(&w);
    sm_json_close(&w);
    give(r, &(sm_delta){.kind = SM_DELTA_CALL,
                        .text = call->arguments,
                        .length = call->arguments_length,
                        .name = call->name,
                        .id = call->id ? call->id : made});
}

/* Calls that stay, up to n of them. */
static void send(sm_reply *r, uint32_t n) {
    if (n > r->n_sent)
        flush(r, true);
    for (; r->n_sent < n && !r->status; r->n_sent++)
        send_call(r, r->n_sent);
}

/* ---- reading --------------------------------------------------------------------- */

static void put_text(sm_reply *r, uint32_t which, uint64_t end) {
    const uint64_t shown = r->hidden > r->dropped ? r->hidden - r->dropped : 0;
    const uint64_t begin = max_u64(r->at, shown);
    if (end > begin)
        put(r, which, r->text.data + begin, end - begin);
    r->at = max_u64(r->at, end);
}

static const sm_reply_step *first_step(const sm_reply *r, uint32_t i) {
    return &r->steps[r->alternatives[i].step];
}

static sm_reply_found mark_at(const void *user, uint64_t at) {
    const sm_reply *r = user;
    sm_reply_found best = SM_REPLY_NONE;
    for (uint32_t i = 0; i < r->n_alternatives; i++) {
        const sm_reply_step *s = first_step(r, i);
        const uint64_t n = min_u64(s->length, r->text.length - at);
        if (!r->alternatives[i].marked || memcmp(r->text.data + at, s->text, (size_t)n) != 0)
            continue;
        if (n == s->length)
            return SM_REPLY_WHOLE;
        best = SM_REPLY_MORE;
    }
    return best;
}

static bool line_begins(const sm_reply *r) {
    return !r->at || r->text.data[r->at - 1] == '\n';
}

/* Whether calls without a mark have to be of a tool here, for what else could be meant by them. */
static bool wants_tool(const sm_reply *r, const alternative *a) {
    return !a->marked && (r->all || r->channels[CONTENT].text.length > 0 || !r->fresh);
}

static bool possible(const sm_reply *r, const alternative *a) {
    if (a->role == ROLE_THINK)
        return r->fresh;
    return !wants_tool(r, a) || (r->tools.json && line_begins(r));
}

static bool known(const sm_reply *r, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++)
        if (sm_reply_tool(&r->tools, r->calls.call[i].name, r->calls.call[i].name_length) ==
            SM_JSON_NONE)
            return false;
    return true;
}

static void try_next(sm_reply *r) {
    sm_reply_match_end(&r->match);
    while (r->alternative < r->n_alternatives && !possible(r, &r->alternatives[r->alternative]))
        r->alternative++;
    r->match = (sm_reply_match){0};
    if (r->alternative < r->n_alternatives)
        sm_reply_match_begin(&r->match, first_step(r, r->alternative), r->mem, r->at);
    r->match.n_taken = r->n_sent;
}

static void begin_trying(sm_reply *r) {
    r->trying = true;
    r->meant = false;
    r->worst = r->at;
    r->alternative = 0;
    try_next(r);
}

/* A mark or a call ends at that place. */
static void end_trying(sm_reply *r, uint64_t at) {
    sm_reply_match_end(&r->match);
    r->match = (sm_reply_match){0};
    r->trying = false;
    r->at = at;
    r->marks = r->fresh = true;
}

static void open_reasoning(sm_reply *r, const char *close) {
    channel *c = &r->channels[REASONING];
    r->close = close;
    c->space.length = 0;
    if (c->text.length)
        sm_builder_byte(&c->space, '\n');
}

/* None of the alternatives: content, of which one byte is sure, and all that was seen if it has
 * been looked at often enough. */
static void give_up(sm_reply *r) {
    r->trying = false;
    r->malformed |= r->meant;
    r->spent += r->worst - r->at;
    const bool all = r->spent > SM_REPLY_BUDGET(r->dropped + r->worst);
    put_text(r, CONTENT, all ? max_u64(r->worst, r->at + 1) : r->at + 1);
}

static void failed(sm_reply *r) {
    const uint64_t seen = max_u64(r->match.seen, r->match.at);
    sm_reply_calls_cut(&r->calls, r->match.any ? r->match.n_taken : r->n_sent);
    if (r->match.any) { /* calls, and then something else */
        r->malformed |= r->match.meant;
        send(r, r->calls.n);
        end_trying(r, r->match.base);
        return;
    }
    r->meant |= r->match.meant;
    r->worst = max_u64(r->worst, min_u64(seen, r->text.length));
    r->alternative++;
    try_next(r);
}

static void matched(sm_reply *r, const alternative *a) {
    send(r, r->calls.n);
    end_trying(r, r->match.at);
    if (a->role == ROLE_THINK)
        open_reasoning(r, a->close);
}

/* false: more text is needed. */
static bool go_on_trying(sm_reply *r, bool ended) {
    if (r->alternative == r->n_alternatives) {
        give_up(r);
        return true;
    }
    const alternative *a = &r->alternatives[r->alternative];
    const sm_reply_input in = {.text = r->text.data,
                               .n = r->text.length,
                               .ended = ended,
                               .tools = &r->tools,
                               .calls = &r->calls,
                               .mark_at = mark_at,
                               .user = r};
    const sm_reply_found found = sm_reply_match_run(&r->match, &in);
    if (r->calls.failed || r->match.arguments.failed) {
        r->status = r->calls.n >= SM_REPLY_MAX_CALLS ? SM_ERR_UNSUPPORTED : SM_ERR_NOMEM;
        return true;
    }
    if (wants_tool(r, a) && !known(r, r->n_sent, r->match.n_taken)) {
        r->match.any = r->match.meant = false;
        failed(r);
        return true;
    }
    if (found == SM_REPLY_MORE) {
        if (r->match.any)
            send(r, r->match.n_taken);
        return false;
    }
    if (found == SM_REPLY_WHOLE)
        matched(r, a);
    else
        failed(r);
    return true;
}

/* Up to what ends the reasoning. */
static bool reason(sm_reply *r, bool ended) {
    const uint64_t length = strlen(r->close), n = r->text.length;
    uint64_t i = r->at;
    for (; i < n; i++) {
        const char *found = memchr(r->text.data + i, *r->close, (size_t)(n - i));
        if (!found) {
            i = n;
            break;
        }
        i = (uint64_t)(found - r->text.data);
        if (!memcmp(found, r->close, (size_t)min_u64(length, n - i)))
            break;
    }
    const bool whole = n - i >= length;
    put_text(r, REASONING, whole || !ended ? i : n);
    if (!whole)
        return false;
    r->at += length;
    r->close = NULL;
    r->channels[REASONING].space.length = 0;
    r->marks = r->fresh = true;
    return true;
}

static bool may_start(const sm_reply *r, uint64_t i) {
    return r->starts[(uint8_t)r->text.data[i]];
}

static void advance(sm_reply *r, bool ended) {
    while (r->at < r->text.length && !r->status) {
        if (r->close) {
            if (!reason(r, ended))
                return;
            continue;
        }
        if (!r->trying) {
            uint64_t i = r->at;
            while (i < r->text.length && !may_start(r, i))
                i++;
            put_text(r, CONTENT, i);
            if (i == r->text.length)
                return;
            begin_trying(r);
        }
        if (!go_on_trying(r, ended))
            return;
    }
}

/* Forgets text that is read but for its last byte, which tells where a line begins. */
static void compact(sm_reply *r) {
    if (r->trying || r->at < COMPACT_BYTES)
        return;
    const uint64_t n = r->at - 1;
    memmove(r->text.data, r->text.data + n, (size_t)(r->text.length - n));
    r->text.length -= n;
    r->dropped += n;
    r->at = 1;
}

static sm_status outcome_of(sm_reply *r, sm_error *error) {
    if (!r->status && (r->text.failed || r->delta.failed || r->channels[CONTENT].text.failed ||
                       r->channels[CONTENT].space.failed || r->channels[REASONING].text.failed ||
                       r->channels[REASONING].space.failed || r->match.arguments.failed))
        r->status = SM_ERR_NOMEM;
    if (!r->status)
        return SM_OK;
    return sm_fail(error, r->status, "reply: %s",
                   r->status == SM_ERR_CANCELLED     ? "cancelled"
                   : r->status == SM_ERR_UNSUPPORTED ? "too long, or too many calls"
                                                     : "out of memory");
}

static sm_status feed(sm_reply *r, const char *text, uint64_t length, sm_error *error) {
    if (r->finished)
        return sm_fail(error, SM_ERR_STATE, "sm_reply_feed: the reply is finished");
    if (!r->status &&
        length > SM_REPLY_MAX_BYTES - min_u64(SM_REPLY_MAX_BYTES, r->dropped + r->text.length))
        r->status = SM_ERR_UNSUPPORTED;
    if (!r->status)
        sm_builder_add(&r->text, text, length);
    if (!r->status && !r->text.failed) {
        advance(r, false);
        flush(r, false);
        compact(r);
    }
    return outcome_of(r, error);
}

static sm_status finish(sm_reply *r, sm_error *error) {
    if (r->finished || r->status)
        return outcome_of(r, error);
    advance(r, true);
    channel *c = &r->channels[CONTENT];
    /* white space at the end of plain text belongs to it, behind a mark to that */
    if (!r->status && c->space.length && !(r->marks && r->fresh))
        wait_with(r, CONTENT, c->space.data, c->space.length);
    flush(r, true);
    r->finished = true;
    return outcome_of(r, error);
}

sm_status sm_reply_feed(sm_reply *reply, const char *text, uint64_t length, sm_delta_fn on_delta,
                        void *user, sm_error *error) {
    if (!reply || (!text && length))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_reply_feed: NULL");
    sm_status status = sm_use_begin(&reply->use, sm_process_id(), "reply", error);
    if (status)
        return status;
    reply->on_delta = on_delta;
    reply->user = user;
    status = feed(reply, text, text_size(text, length), error);
    if (sm_use_end(&reply->use))
        sm_reply_free(reply);
    return status;
}

sm_status sm_reply_finish(sm_reply *reply, sm_delta_fn on_delta, void *user, sm_error *error) {
    if (!reply)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_reply_finish: NULL");
    sm_status status = sm_use_begin(&reply->use, sm_process_id(), "reply", error);
    if (status)
        return status;
    reply->on_delta = on_delta;
    reply->user = user;
    status = finish(reply, error);
    if (sm_use_end(&reply->use))
        sm_reply_free(reply);
    return status;
}

/* ---- the message ----------------------------------------------------------------- */

static void put_channel(const sm_reply *r, sm_json_writer *w, uint32_t which, const char *name) {
    sm_builder text = sm_builder_of(r->mem, 0);
    sm_reply_put_clean(&text, r->channels[which].text.data, r->channels[which].text.length);
    put_member(w, name, text.data, text.length);
    w->out->failed |= text.failed;
    sm_builder_free(&text);
}

static void put_message(const sm_reply *r, sm_builder *out) {
    sm_json_writer w = sm_json_writer_of(out, NULL);
    sm_json_open(&w, SM_JSON_OBJECT);
    put_member(&w, "role", "assistant", 9);
    if (r->channels[CONTENT].text.length || !r->n_sent) {
        put_channel(r, &w, CONTENT, "content");
    } else {
        sm_json_put_key(&w, "content", 7);
        sm_json_put_literal(&w, SM_JSON_NULL);
    }
    if (r->channels[REASONING].text.length)
        put_channel(r, &w, REASONING, "reasoning_content");
    if (r->n_sent) {
        sm_json_put_key(&w, "tool_calls", 10);
        sm_json_open(&w, SM_JSON_ARRAY);
        for (uint32_t i = 0; i < r->n_sent; i++)
            put_call(r, &w, i, false);
        sm_json_close(&w);
    }
    sm_json_close(&w);
}

static sm_status message(sm_reply *r, char *json, uint64_t capacity, uint64_t *n, sm_error *error) {
    sm_builder out = sm_builder_of(r->mem, 0);
    sm_status status = SM_OK;
    put_message(r, &out);
    if (out.failed) {
        status = sm_fail(error, SM_ERR_NOMEM, "sm_reply_message: out of memory");
    } else {
        *n = out.length;
        if (capacity < out.length)
            status = sm_fail(error, SM_ERR_BUFFER, "sm_reply_message: %llu bytes",
                             (unsigned long long)out.length);
        else
            memcpy(json, out.data, (size_t)out.length);
    }
    sm_builder_free(&out);
    return status;
}

sm_status sm_reply_message(sm_reply *reply, char *json, uint64_t capacity, uint64_t *n,
                           sm_error *error) {
    if (n)
        *n = 0;
    if (!reply || !n || (!json && capacity))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_reply_message: NULL");
    sm_status status = sm_use_begin(&reply->use, sm_process_id(), "reply", error);
    if (status)
        return status;
    status = message(reply, json, capacity, n, error);
    if (sm_use_end(&reply->use))
        sm_reply_free(reply);
    return status;
}

sm_status sm_reply_get_info(sm_reply *reply, sm_reply_info *info, sm_error *error) {
    if (!reply || !info)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_reply_get_info: NULL");
    sm_status status = sm_use_begin(&reply->use, sm_process_id(), "reply", error);
    if (status)
        return status;
    const sm_reply_info full = {
        .n_calls = reply->n_sent, .malformed = reply->malformed, .reasoning = reply->close != NULL};
    status = sm_struct_give(info, &full, sizeof full, NULL, "sm_reply_info", error);
    if (sm_use_end(&reply->use))
        sm_reply_free(reply);
    return status;
}

/* ---- making one ------------------------------------------------------------------ */

/* Adds what begins at that pattern, unless it is there already. */
static sm_status add(sm_reply *r, const char *pattern, role as, const char *close, bool marks,
                     sm_error *error) {
    sm_reply_step steps[SM_REPLY_MAX_STEPS] = {
        {.code = SM_REPLY_TEXT, .text = pattern, .length = (uint16_t)strlen(pattern)},
        {.code = SM_REPLY_END}};
    const uint32_t n = as == ROLE_CALL ? sm_reply_compile(pattern, steps) : 2;
    if (!n)
        return sm_fail(error, SM_ERR_FORMAT, "reply: no pattern: %s", pattern);
    if (marks != (steps->code == SM_REPLY_TEXT))
        return SM_OK;
    for (uint32_t i = 0; i < r->n_alternatives; i++)
        if (first_step(r, i)->text == steps->text && steps->text)
            return SM_OK;
    sm_reply_step *to = sm_realloc(r->mem, r->steps, (r->n_steps + n) * sizeof *to);
    r->steps = to ? to : r->steps;
    alternative *list = sm_realloc(r->mem, r->alternatives, (r->n_alternatives + 1) * sizeof *list);
    r->alternatives = list ? list : r->alternatives;
    if (!to || !list)
        return sm_fail(error, SM_ERR_NOMEM, "reply: out of memory");
    memcpy(to + r->n_steps, steps, n * sizeof *steps);
    list[r->n_alternatives++] =
        (alternative){.step = r->n_steps, .role = (uint8_t)as, .marked = marks, .close = close};
    r->n_steps += n;
    if (marks)
        r->starts[(uint8_t)*steps->text] = true;
    else
        r->starts['{'] = r->starts['['] = true;
    return SM_OK;
}

/* Marks that are no words of a language: among all formats only those are dropped in silence. */
static bool is_token(const char *mark) {
    return strstr(mark, "|>") != NULL;
}

static sm_status add_format(sm_reply *r, const sm_reply_format *f, bool marks, sm_error *error) {
    sm_status status = SM_OK;
    for (uint32_t i = 0; i < SM_REPLY_MARKS && f->patterns[i] && !status; i++)
        status = add(r, f->patterns[i], ROLE_CALL, NULL, marks, error);
    for (uint32_t i = 0; i < SM_REPLY_MARKS && f->think[i] && !status && marks; i += 2)
        status = add(r, f->think[i], ROLE_THINK, f->think[i + 1], true, error);
    for (uint32_t i = 0; i < SM_REPLY_MARKS && f->silent[i] && !status && marks; i++)
        if (!r->all || is_token(f->silent[i]))
            status = add(r, f->silent[i], ROLE_SILENT, NULL, true, error);
    return status;
}

/* The format that is asked for, or that the template writes; NULL: all of them. */
static sm_status choose(sm_reply *r, const sm_reply_format **format, const sm_reply_options *o,
                        sm_error *error) {
    sm_chat *chat = NULL;
    const char *what = o->format ? o->format : sm_reply_format_of(o->template_text);
    if (!what && o->template_text) {
        const sm_chat_options of = {.struct_size = sizeof of,
                                    .template_text = o->template_text,
                                    .allocator = r->mem->hook.alloc ? &r->mem->hook : NULL};
        const sm_status made = sm_chat_new(&chat, &of, NULL);
        if (made == SM_ERR_NOMEM)
            return sm_fail(error, made, "reply: out of memory");
        what = made ? NULL : sm_chat_reply_format(chat); /* what is no template has no format */
    }
    const sm_status status = sm_reply_format_find(format, &r->described, r->mem, what, error);
    sm_chat_free(chat);
    return status;
}

/* Whether the prompt opened a reasoning that it did not close. */
static void look_at_prompt(sm_reply *r, const char *end) {
    const char *last = NULL;
    for (uint32_t i = 0; i < r->n_alternatives; i++) {
        const alternative *a = &r->alternatives[i];
        const char *open = first_step(r, i)->text, *at = end;
        const char *begin = NULL;
        while (a->role == ROLE_THINK && (at = strstr(at, open)) != NULL)
            begin = at, at++;
        if (begin && !strstr(begin + strlen(open), a->close) && (!last || begin > last)) {
            last = begin;
            open_reasoning(r, a->close);
        }
    }
    if (!last)
        return;
    r->text.length = r->hidden = 0; /* the prompt is past the first mark */
    r->marks = true;
}

static sm_status fill_in(sm_reply *r, const sm_reply_options *o, sm_error *error) {
    const sm_reply_format *format;
    sm_status status = choose(r, &format, o, error);
    r->all = !format;
    for (uint32_t pass = 0; pass < 2; pass++) /* calls without a mark last */
        for (uint32_t i = 0; i < (format ? 1 : sm_reply_n_formats) && !status; i++)
            status = add_format(r, format ? format : &sm_reply_formats[i], pass == 0, error);
    if (!status)
        status = sm_reply_tools_read(&r->tools, r->mem, o->tools, error);
    if (status)
        return status;
    if (format && format->begun) {
        sm_builder_text(&r->text, format->begun);
        r->hidden = r->text.length;
    }
    if (o->prompt_end)
        look_at_prompt(r, o->prompt_end);
    return r->text.failed ? sm_fail(error, SM_ERR_NOMEM, "reply: out of memory") : SM_OK;
}

static const sm_wide wide[] = {SM_WIDE_FROM(sm_reply_options, format), {0}};

sm_status sm_reply_new(sm_reply **out, const sm_reply_options *options, sm_error *error) {
    sm_reply_options o;
    sm_mem *mem;
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_reply_new: out is NULL");
    *out = NULL;
    sm_status status = sm_struct_take(&o, sizeof o, wide, options, "sm_reply_options", error);
    if (!status)
        status = sm_mem_create(&mem, o.allocator, 0, error);
    if (status)
        return status;
    sm_reply *r = sm_alloc_zero(mem, sizeof *r);
    if (!r) {
        sm_mem_destroy(mem);
        return sm_fail(error, SM_ERR_NOMEM, "reply: out of memory");
    }
    r->mem = mem;
    r->first_call = o.first_call;
    r->fresh = true;
    r->text = r->delta = r->json = sm_builder_of(mem, 0);
    for (uint32_t i = 0; i < CHANNELS; i++)
        r->channels[i].text = r->channels[i].space = sm_builder_of(mem, 0);
    r->calls.mem = mem;
    status = fill_in(r, &o, error);
    if (status) {
        sm_reply_free(r);
        return status;
    }
    *out = r;
    return SM_OK;
}

void sm_reply_free(sm_reply *r) {
    if (!r || !sm_use_free(&r->use))
        return;
    sm_mem *mem = r->mem;
    sm_reply_match_end(&r->match);
    sm_reply_calls_free(&r->calls);
    for (uint32_t i = 0; i < CHANNELS; i++) {
        sm_builder_free(&r->channels[i].text);
        sm_builder_free(&r->channels[i].space);
    }
    sm_builder_free(&r->text);
    sm_builder_free(&r->delta);
    sm_builder_free(&r->json);
    sm_reply_tools_free(&r->tools, mem);
    sm_free(mem, r->steps);
    sm_free(mem, r->alternatives);
    sm_free(mem, r->described.text);
    sm_free(mem, r);
    sm_mem_destroy(mem);
}
