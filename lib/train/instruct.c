/* Instruction data: a JSON array of objects, or one object a line (JSONL). An entry is
 *   {"instruction": …, "input": …, "output": …, "system": …, "history": [[…, …]]}   Alpaca
 *   {"conversations": [{"from": "human"|"gpt"|"system", "value": …}], "system": …}  ShareGPT
 *   {"messages": [{"role": "user"|"assistant"|"system", "content": …, "weight": …}]}
 *   {"prompt": …, "completion": …}, both texts or lists of messages
 *   {"prompt": …, "chosen": …}, the same; "rejected" besides is refused or, on request, left out
 *   {"text": …}
 * Fields that are in none of these and change what an entry means are refused by name. Every entry
 * is parsed once when the file is opened, so that a broken one is known before training begins,
 * and again whenever it is used. */
#include "documents.h"

#include <string.h>

#include "format/json.h"

/* ---- one entry ----------------------------------------------------------------------------- */

#define MAX_FIELDS 1024 /* of an object: each name that is known is looked for among all */
#define ASK_TURNS 1024  /* written between two questions */

/* A hook that ends what is under way. */
typedef struct canceller {
    int32_t (*cancel)(void *user); /* NULL: never */
    void *user;
} canceller;

typedef struct reader {
    const sm_documents *d;
    const sm_document *entry;
    const sm_json *json;
    sm_writer writer;
    canceller hook;
    sm_error *error;
} reader;

static sm_status bad(const reader *r, const char *what, const char *key) {
    return sm_fail(r->error, SM_ERR_FORMAT, "%s:%llu: %s \"%s\"", r->d->path,
                   (unsigned long long)r->entry->line, what, key);
}

static sm_status check_fields(const reader *r, sm_json_value object) {
    if (sm_json_count(r->json, object) <= MAX_FIELDS)
        return SM_OK;
    return sm_fail(r->error, SM_ERR_UNSUPPORTED, "%s:%llu: an object has %u fields, more than %d",
                   r->d->path, (unsigned long long)r->entry->line, sm_json_count(r->json, object),
                   MAX_FIELDS);
}

/* Asks the hook once in so many turns. */
static sm_status ask(const reader *r) {
    if (!r->hook.cancel || r->writer.turns % ASK_TURNS != ASK_TURNS - 1 ||
        !r->hook.cancel(r->hook.user))
        return SM_OK;
    return sm_fail(r->error, SM_ERR_CANCELLED, "%s: cancelled", r->d->path);
}

static sm_json_value field(const reader *r, const char *name) {
    return sm_json_get(r->json, SM_JSON_ROOT, name);
}

static bool is_text(const reader *r, sm_json_value v) {
    return sm_json_kind_of(r->json, v) == SM_JSON_STRING;
}

static bool is_list(const reader *r, sm_json_value v) {
    return sm_json_kind_of(r->json, v) == SM_JSON_ARRAY;
}

static sm_str text_of(const reader *r, sm_json_value v) {
    sm_str text;
    text.data = sm_json_text(r->json, v, &text.length);
    return text;
}

/* Whether the value says nothing: it is not there, null, false, or empty. */
static bool is_empty(const reader *r, sm_json_value v) {
    switch (sm_json_kind_of(r->json, v)) {
    case SM_JSON_STRING:
        return !text_of(r, v).length;
    case SM_JSON_ARRAY:
    case SM_JSON_OBJECT:
        return !sm_json_count(r->json, v);
    default:
        return sm_json_kind_of(r->json, v) <= SM_JSON_FALSE;
    }
}

/* The text of a field that may be missing, or null. */
static sm_status optional_text(const reader *r, const char *name, sm_str *text) {
    const sm_json_value v = field(r, name);
    *text = text_of(r, v);
    if (!is_text(r, v) && sm_json_kind_of(r->json, v) > SM_JSON_NULL)
        return bad(r, "this is no text:", name);
    return SM_OK;
}

/* None of the names (ended by NULL) may say anything in the object. */
static sm_status refuse(const reader *r, sm_json_value object, const char *const *names) {
    for (; *names; names++)
        if (!is_empty(r, sm_json_get(r->json, object, *names)))
            return bad(r,
                       "this changes what an entry of this layout means, and is not read:", *names);
    return SM_OK;
}

/* ---- turns --------------------------------------------------------------------------------- */

static bool role_of(const sm_json *json, sm_json_value name, sm_speaker *who) {
    static const struct {
        const char *name;
        sm_speaker who;
    } roles[] = {{"user", SM_SPEAKER_USER},
                 {"human", SM_SPEAKER_USER},
                 {"assistant", SM_SPEAKER_ASSISTANT},
                 {"gpt", SM_SPEAKER_ASSISTANT},
                 {"system", SM_SPEAKER_SYSTEM}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (sm_json_is(json, name, roles[i].name)) {
            *who = roles[i].who;
            return true;
        }
    return false;
}

/* OpenAI's "weight": 0 for an answer that shall not be learned. */
static sm_status portion_of(const reader *r, sm_json_value turn, sm_speaker who, bool learn,
                            sm_portion *portion) {
    const sm_json_value weight = sm_json_get(r->json, turn, "weight");
    double value = learn;
    *portion = SM_PORTION_PROMPT;
    if (sm_json_kind_of(r->json, weight) > SM_JSON_NULL &&
        (!sm_json_double(r->json, weight, &value) || (value != 0 && value != 1)))
        return bad(r, "only 0 and 1 can be the", "weight");
    if (who == SM_SPEAKER_ASSISTANT)
        *portion = value != 0 && learn ? SM_PORTION_ANSWER : SM_PORTION_SILENT;
    else if (sm_json_kind_of(r->json, weight) > SM_JSON_NULL && value != 0)
        return bad(r, "only an answer can have a", "weight");
    return SM_OK;
}

static sm_status write_turn(reader *r, sm_json_value turn, const char *role_key,
                            const char *text_key, bool learn) {
    static const char *const unread[] = {
        "tool_calls",        "function_call", "tool_call_id", "name",   "refusal",
        "reasoning_content", "thinking",      "audio",        "images", NULL};
    sm_speaker who;
    sm_portion portion;
    sm_status status = check_fields(r, turn);
    if (status)
        return status;
    const sm_json_value text = sm_json_get(r->json, turn, text_key);
    const sm_json_value name = sm_json_get(r->json, turn, role_key);
    if (!is_text(r, name))
        return bad(r, "a turn has no text", role_key);
    if (!role_of(r->json, name, &who)) {
        const sm_str role = text_of(r, name);
        return sm_fail(r->error, SM_ERR_FORMAT, "%s:%llu: unknown role \"%.*s\"", r->d->path,
                       (unsigned long long)r->entry->line,
                       (int)(role.length < 60 ? role.length : 60), role.data);
    }
    status = refuse(r, turn, unread);
    if (!status && is_list(r, text))
        status = bad(r, "only text is read, no list of parts in", text_key);
    if (!status && !is_text(r, text))
        status = bad(r, "a turn has no text", text_key);
    if (!status)
        status = portion_of(r, turn, who, learn, &portion);
    if (!status && who == SM_SPEAKER_SYSTEM && r->writer.turns &&
        r->d->layout != SM_TEMPLATE_CHATML)
        status = bad(r, "only the first turn can be one of the", "system");
    return status ? status
                  : sm_write_turn(&r->writer, who, text_of(r, text), (sm_str){NULL, 0}, portion);
}

/* A list of turns. learn: its answers are. */
static sm_status write_turns(reader *r, sm_json_value turns, const char *role_key,
                             const char *text_key, bool learn) {
    sm_status status = SM_OK;
    for (sm_json_value i = sm_json_first(r->json, turns); i != SM_JSON_NONE && !status;
         i = sm_json_next(r->json, turns, i)) {
        status = ask(r);
        if (!status)
            status = write_turn(r, i, role_key, text_key, learn);
    }
    return status;
}

static sm_status write_text(reader *r, sm_speaker who, sm_str text, sm_portion portion) {
    return sm_write_turn(&r->writer, who, text, (sm_str){NULL, 0}, portion);
}

/* The field "system", if it says something. */
static sm_status write_system(reader *r) {
    sm_str system;
    const sm_status status = optional_text(r, "system", &system);
    return status || !system.length ? status
                                    : write_text(r, SM_SPEAKER_SYSTEM, system, SM_PORTION_PROMPT);
}

static sm_status conversation(reader *r, const char *name, const char *role_key,
                              const char *text_key) {
    static const char *const unread[] = {"instruction", "input",  "output",   "history",
                                         "completion",  "chosen", "rejected", NULL};
    sm_status status = refuse(r, SM_JSON_ROOT, unread);
    if (!status && !is_list(r, field(r, name)))
        status = bad(r, "this is no list of turns:", name);
    if (!status)
        status = write_system(r);
    return status ? status : write_turns(r, field(r, name), role_key, text_key, true);
}

/* ---- instructions -------------------------------------------------------------------------- */

/* Earlier turns: pairs of an instruction and its answer. */
static sm_status write_history(reader *r) {
    const sm_json_value history = field(r, "history");
    sm_status status = SM_OK;
    if (is_empty(r, history))
        return SM_OK;
    for (sm_json_value i = sm_json_first(r->json, history); i != SM_JSON_NONE && !status;
         i = sm_json_next(r->json, history, i)) {
        const sm_json_value asked = is_list(r, i) ? sm_json_first(r->json, i) : SM_JSON_NONE;
        const sm_json_value answer = sm_json_next(r->json, i, asked);
        if (sm_json_count(r->json, i) != 2 || !is_text(r, asked) || !is_text(r, answer))
            return bad(r, "what is no pair of texts stands in", "history");
        status = write_text(r, SM_SPEAKER_USER, text_of(r, asked), SM_PORTION_PROMPT);
        if (!status)
            status = ask(r);
        if (!status)
            status = write_text(r, SM_SPEAKER_ASSISTANT, text_of(r, answer), SM_PORTION_ANSWER);
        if (!status)
            status = ask(r);
    }
    return status || is_list(r, history) ? status : bad(r, "this is no list:", "history");
}

static sm_status alpaca(reader *r) {
    static const char *const unread[] = {"completion", NULL};
    const char *const answer = is_empty(r, field(r, "chosen")) ? "output" : "chosen";
    sm_str input, system;
    sm_status status = refuse(r, SM_JSON_ROOT, unread);
    if (!status && !is_text(r, field(r, "instruction")))
        status = bad(r, "an entry has no text", "instruction");
    if (!status && !is_text(r, field(r, answer)))
        status = bad(r, "an entry has no text", answer);
    if (!status)
        status = optional_text(r, "input", &input);
    if (!status)
        status = optional_text(r, "system", &system);
    if (status)
        return status;
    status = system.length ? write_text(r, SM_SPEAKER_SYSTEM, system, SM_PORTION_PROMPT)
                           : sm_write_preamble(&r->writer, input.length > 0);
    if (!status)
        status = write_history(r);
    if (!status)
        status = sm_write_turn(&r->writer, SM_SPEAKER_USER, text_of(r, field(r, "instruction")),
                               input, SM_PORTION_PROMPT);
    return status ? status
                  : write_text(r, SM_SPEAKER_ASSISTANT, text_of(r, field(r, answer)),
                               SM_PORTION_ANSWER);
}

/* ---- prompts and texts ----------------------------------------------------------------------- */

/* A prompt as it is given to a model that knows no turns, and what follows it. */
static sm_status plain_prompt(reader *r, sm_json_value prompt, sm_json_value answer) {
    static const char *const unread[] = {"system", NULL};
    const sm_str text = text_of(r, prompt);
    sm_status status = refuse(r, SM_JSON_ROOT, unread);
    if (!status)
        status = sm_render_text(&r->writer.out, text.data, text.length, r->error);
    if (!status)
        status = sm_write_answer(&r->writer, text_of(r, answer), SM_PORTION_ANSWER);
    return status ? status : sm_write_end(&r->writer, SM_PORTION_ANSWER);
}

/* Whether the first of a list of turns is an answer. */
static bool begins_with_answer(const reader *r, sm_json_value list) {
    sm_speaker who = SM_SPEAKER_USER;
    return role_of(r->json, sm_json_get(r->json, sm_json_first(r->json, list), "role"), &who) &&
           who == SM_SPEAKER_ASSISTANT;
}

/* "prompt" and "completion" or "chosen", each a text or a list of messages. */
static sm_status prompt(reader *r) {
    static const char *const unread[] = {"input", "output", "history", NULL};
    const char *const name = is_empty(r, field(r, "chosen")) ? "completion" : "chosen";
    const sm_json_value asked = field(r, "prompt"), answer = field(r, name);
    sm_status status = refuse(r, SM_JSON_ROOT, unread);
    if (status)
        return status;
    if (!is_text(r, answer) && !is_list(r, answer))
        return bad(r, "an entry has no text or list of messages", name);
    if (!is_text(r, asked) && !is_list(r, asked) && (!is_empty(r, asked) || is_text(r, answer)))
        return bad(r, "an entry has no text or list of messages", "prompt");
    if (is_text(r, asked) && is_text(r, answer) && r->d->layout != SM_TEMPLATE_CHATML)
        return plain_prompt(r, asked, answer);
    status = write_system(r);
    if (!status && is_list(r, asked))
        status = write_turns(r, asked, "role", "content", false);
    else if (!status && is_text(r, asked) && (is_text(r, answer) || begins_with_answer(r, answer)))
        status = write_text(r, SM_SPEAKER_USER, text_of(r, asked), SM_PORTION_PROMPT);
    if (status)
        return status;
    return is_list(r, answer)
               ? write_turns(r, answer, "role", "content", true)
               : write_text(r, SM_SPEAKER_ASSISTANT, text_of(r, answer), SM_PORTION_ANSWER);
}

static sm_status whole_text(reader *r) {
    static const char *const unread[] = {"system", "history", "input", "output", NULL};
    sm_status status = refuse(r, SM_JSON_ROOT, unread);
    if (!status && !is_text(r, field(r, "text")))
        status = bad(r, "an entry has no text", "text");
    if (!status)
        status = sm_write_answer(&r->writer, text_of(r, field(r, "text")), SM_PORTION_ANSWER);
    return status ? status : sm_write_end(&r->writer, SM_PORTION_ANSWER);
}

/* ---- entries --------------------------------------------------------------------------------- */

static bool has(const reader *r, const char *name) {
    return sm_json_kind_of(r->json, field(r, name)) > SM_JSON_NULL;
}

static sm_status write_entry(reader *r) {
    static const char *const unread[] = {"tools",  "functions", "image",   "images",
                                         "videos", "audios",    "kto_tag", NULL};
    sm_status status = check_fields(r, SM_JSON_ROOT);
    if (!status)
        status = refuse(r, SM_JSON_ROOT, unread);
    if (status)
        return status;
    const bool chosen_only = r->d->kind == SM_DATA_CHOSEN;
    if (!chosen_only && !is_empty(r, field(r, "rejected")))
        return sm_fail(r->error, SM_ERR_UNSUPPORTED,
                       "%s:%llu: \"rejected\": there is no preference training yet; data of "
                       "kind \"chosen\" is trained on the chosen side alone",
                       r->d->path, (unsigned long long)r->entry->line);
    if (chosen_only && has(r, "chosen") && !has(r, "instruction"))
        return prompt(r);
    if (has(r, "messages"))
        return conversation(r, "messages", "role", "content");
    if (has(r, "conversations"))
        return conversation(r, "conversations", "from", "value");
    if (has(r, "instruction") || has(r, "output"))
        return alpaca(r);
    if (has(r, "prompt") || has(r, "completion") || has(r, "chosen"))
        return prompt(r);
    if (has(r, "text"))
        return whole_text(r);
    return sm_fail(r->error, SM_ERR_FORMAT,
                   "%s:%llu: this is none of the layouts that are read: \"instruction\" and "
                   "\"output\" (Alpaca), \"messages\", \"conversations\" (ShareGPT), \"prompt\" "
                   "and \"completion\", \"prompt\" and \"chosen\", or \"text\"",
                   r->d->path, (unsigned long long)r->entry->line);
}

/* Writes an entry that has been parsed. */
static sm_status render(const sm_documents *d, const sm_document *entry, const sm_json *json,
                        canceller hook, sm_rendering *out, sm_error *error) {
    reader r = {.d = d, .entry = entry, .json = json, .hook = hook, .error = error};
    r.writer = (sm_writer){.out = *out,
                           .layout = d->layout,
                           .im_start = sm_tokenizer_find(d->tokenizer, "<|im_start|>", 12),
                           .im_end = sm_tokenizer_find(d->tokenizer, "<|im_end|>", 10),
                           .eos = d->vocab.eos,
                           .error = error};
    const sm_status status = write_entry(&r);
    *out = r.writer.out;
    if (!status && !r.writer.answers)
        return sm_fail(error, SM_ERR_FORMAT, "%s:%llu: the conversation has no answer to learn",
                       d->path, (unsigned long long)entry->line);
    return status;
}

/* Reads the entry at `offset`: of `length` bytes, or, with `used`, as long as it turns out. */
static sm_status parse(const sm_documents *d, const sm_document *e, int32_t (*cancel)(void *user),
                       void *user, sm_json **out, uint64_t *used, sm_error *error) {
    const sm_json_source source = {
        .name = d->path, .line = e->line, .cancel = cancel, .user = user};
    sm_status status =
        sm_json_read(out, d->mem, d->file.data + e->offset, e->length, &source, used, error);
    if (status)
        return status;
    if (sm_json_kind_of(*out, SM_JSON_ROOT) == SM_JSON_OBJECT)
        return SM_OK;
    sm_json_free(*out);
    *out = NULL;
    return sm_fail(error, SM_ERR_FORMAT, "%s:%llu: an entry must be a JSON object", d->path,
                   (unsigned long long)e->line);
}

sm_status sm_instruct_render(const sm_documents *d, uint64_t i, sm_rendering *rendering,
                             sm_error *error) {
    sm_json *json;
    sm_status status = parse(d, &d->list[i], d->cancel, d->cancel_user, &json, NULL, error);
    if (status)
        return status;
    status = render(d, &d->list[i], json, (canceller){d->cancel, d->cancel_user}, rendering, error);
    sm_json_free(json);
    return status;
}

/* ---- index --------------------------------------------------------------------------------- */

#define LINE_BYTES (1u << 20) /* searched for a line end at once */

typedef struct scanner {
    sm_documents *d;
    const uint8_t *text;
    uint64_t size, line;
    sm_watch watch; /* its `at` is the scanner's place */
    sm_error *error;
} scanner;

static sm_status tell(scanner *s) {
    return s->watch.at < s->size ? sm_watch_tell(&s->watch, s->error) : SM_OK;
}

static bool is_space(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static sm_status skip_space(scanner *s) {
    sm_status status = SM_OK;
    for (uint64_t *at = &s->watch.at; *at < s->size && is_space(s->text[*at]) && !status; ++*at) {
        s->line += s->text[*at] == '\n';
        status = tell(s);
    }
    return status;
}

/* Where the line ends. */
static sm_status line_end(scanner *s, uint64_t *end) {
    const uint8_t *stop = NULL;
    *end = s->size;
    for (uint64_t at = s->watch.at; !stop && at < s->size; at += LINE_BYTES) {
        stop = memchr(s->text + at, '\n', s->size - at < LINE_BYTES ? s->size - at : LINE_BYTES);
        if (at > s->watch.at && sm_watch_ask(&s->watch))
            return sm_fail(s->error, SM_ERR_CANCELLED, "%s: cancelled", s->d->path);
    }
    if (stop)
        *end = (uint64_t)(stop - s->text);
    return SM_OK;
}

/* Takes the entry here, which ends at `end` or before. */
static sm_status add_entry(scanner *s, uint64_t end, bool whole) {
    sm_documents *d = s->d;
    const uint64_t begin = s->watch.at;
    uint64_t used = end - begin;
    sm_json *json;
    sm_status status = sm_documents_add(d, begin, end - begin, s->line, s->error);
    if (status)
        return status;
    sm_document *entry = &d->list[d->n - 1];
    status = parse(d, entry, sm_watch_ask, &s->watch, &json, whole ? NULL : &used, s->error);
    if (status)
        return status;
    entry->length = used;
    s->watch.at = begin + used;
    s->line += sm_json_lines(json);
    sm_documents_hash(d, s->watch.at);
    sm_rendering check = {.mem = d->mem, .check = true};
    status = render(d, entry, json, (canceller){sm_watch_ask, &s->watch}, &check, s->error);
    sm_json_free(json);
    return status ? status : tell(s);
}

static sm_status array_fail(const scanner *s, const char *what) {
    return sm_fail(s->error, SM_ERR_FORMAT, "%s:%llu: %s", s->d->path, (unsigned long long)s->line,
                   what);
}

static sm_status index_array(scanner *s) {
    sm_status status = SM_OK;
    uint8_t c = ',';
    s->watch.at++; /* the bracket */
    status = skip_space(s);
    if (!status && s->watch.at < s->size && s->text[s->watch.at] == ']')
        c = ']';
    while (c == ',' && !status) {
        status = skip_space(s);
        if (!status)
            status = add_entry(s, s->size, false);
        if (!status)
            status = skip_space(s);
        if (status)
            return status;
        c = s->watch.at < s->size ? s->text[s->watch.at] : 0;
        if (c != ',' && c != ']')
            return array_fail(s, "expected , or ] after an entry");
        s->watch.at += c == ',';
    }
    s->watch.at++;
    if (!status)
        status = skip_space(s);
    if (!status && s->watch.at < s->size)
        status = array_fail(s, "there is something after the array");
    return status;
}

static sm_status index_lines(scanner *s) {
    sm_status status = SM_OK;
    while (s->watch.at < s->size && !status) {
        uint64_t end;
        status = line_end(s, &end);
        if (!status)
            status = add_entry(s, end, true);
        if (!status)
            status = skip_space(s);
    }
    return status;
}

sm_status sm_instruct_index(sm_documents *d, sm_progress_fn progress, void *user, sm_error *error) {
    scanner s = {.d = d,
                 .text = d->file.data,
                 .size = d->file.size,
                 .line = 1,
                 .watch = {.documents = d, .progress = progress, .user = user},
                 .error = error};
    if (d->layout == SM_TEMPLATE_CHATML &&
        (sm_tokenizer_find(d->tokenizer, "<|im_start|>", 12) < 0 ||
         sm_tokenizer_find(d->tokenizer, "<|im_end|>", 10) < 0))
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "the ChatML layout needs <|im_start|> and <|im_end|> in the vocabulary");
    if (s.size >= 3 && !memcmp(s.text, "\xEF\xBB\xBF", 3)) /* U+FEFF, as some editors begin files */
        s.watch.at = 3;
    sm_status status = skip_space(&s);
    if (status)
        return status;
    return s.watch.at < s.size && s.text[s.watch.at] == '[' ? index_array(&s) : index_lines(&s);
}
