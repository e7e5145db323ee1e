/* What an entry of instruction data says. It is
 *   {"instruction": …, "input": …, "output": …, "system": …, "history": [[…, …]]}   Alpaca
 *   {"conversations": [{"from": "human"|"gpt"|"system", "value": …}], "system": …}  ShareGPT
 *   {"messages": [{"role": "user"|"assistant"|"system", "content": …, "weight": …}]}
 *   {"prompt": …, "completion": …}, both texts or lists of messages
 *   {"prompt": …, "chosen": …}, the same; "rejected" besides is refused or, on request, left out
 *   {"text": …}
 * Data of pairs has "chosen" and "rejected", each a text, a list of messages or, beside
 * "conversations" or "messages", a turn, in place of the last answer of these; data of labels has
 * "label" or "kto_tag" beside one answer. Of both only the last answer is learned.
 * Fields that are in none of these and change what an entry means are refused by name. */
#include "documents.h"

#include <string.h>

/* ---- one entry ----------------------------------------------------------------------------- */

#define MAX_FIELDS 1024 /* of an object: each name that is known is looked for among all */
#define ASK_TURNS 1024  /* written between two questions */

typedef struct reader {
    const sm_documents *d;
    const sm_document *entry;
    const sm_json *json;
    sm_answer_side side;
    uint32_t shared; /* turns that both answers of a pair begin with: not learned */
    sm_writer writer;
    sm_canceller hook;
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

/* Data with answers that are preferred to others, not learned as they are. */
static bool compares(const reader *r) {
    return r->d->kind == SM_DATA_PAIRS || r->d->kind == SM_DATA_LABELS;
}

/* Where an entry has its answer, if it is no list of turns. */
static const char *answer_name(const reader *r, const char *usual) {
    if (r->d->kind == SM_DATA_PAIRS)
        return r->side == SM_SIDE_REJECTED ? "rejected" : "chosen";
    return r->d->kind == SM_DATA_LABELS || is_empty(r, field(r, "chosen")) ? usual : "chosen";
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

/* A list of turns. learn: its answers are, behind those that are shared; where answers are
 * compared the last turn's alone. */
static sm_status write_turns(reader *r, sm_json_value turns, const char *role_key,
                             const char *text_key, bool learn) {
    const uint32_t n = sm_json_count(r->json, turns);
    const uint32_t first = r->d->kind == SM_DATA_LABELS && n ? n - 1 : r->shared;
    uint32_t at = 0;
    sm_status status = SM_OK;
    for (sm_json_value i = sm_json_first(r->json, turns); i != SM_JSON_NONE && !status;
         i = sm_json_next(r->json, turns, i), at++) {
        status = ask(r);
        if (!status)
            status = write_turn(r, i, role_key, text_key, learn && at >= first);
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

/* The answer of a pair that goes on from a conversation: a turn or its text. */
static sm_status write_pair_turn(reader *r, const char *role_key, const char *text_key) {
    const char *const name = answer_name(r, NULL);
    const sm_json_value answer = field(r, name);
    if (is_text(r, answer))
        return write_text(r, SM_SPEAKER_ASSISTANT, text_of(r, answer), SM_PORTION_ANSWER);
    if (sm_json_kind_of(r->json, answer) != SM_JSON_OBJECT)
        return bad(r, "an entry has no turn or text", name);
    return write_turn(r, answer, role_key, text_key, true);
}

static sm_status conversation(reader *r, const char *name, const char *role_key,
                              const char *text_key) {
    static const char *const unread[] = {"instruction", "input",  "output",   "history",
                                         "completion",  "chosen", "rejected", NULL};
    static const char *const unread_of_pairs[] = {"instruction", "input",      "output",
                                                  "history",     "completion", NULL};
    const bool pair = r->d->kind == SM_DATA_PAIRS;
    sm_status status = refuse(r, SM_JSON_ROOT, pair ? unread_of_pairs : unread);
    if (!status && !is_list(r, field(r, name)))
        status = bad(r, "this is no list of turns:", name);
    if (!status)
        status = write_system(r);
    if (!status)
        status = write_turns(r, field(r, name), role_key, text_key, !pair);
    return status || !pair ? status : write_pair_turn(r, role_key, text_key);
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
            status = write_text(r, SM_SPEAKER_ASSISTANT, text_of(r, answer),
                                compares(r) ? SM_PORTION_SILENT : SM_PORTION_ANSWER);
        if (!status)
            status = ask(r);
    }
    return status || is_list(r, history) ? status : bad(r, "this is no list:", "history");
}

static sm_status alpaca(reader *r) {
    static const char *const unread[] = {"completion", NULL};
    const char *const answer = answer_name(r, "output");
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

static bool alike(const reader *r, sm_json_value a, sm_json_value b, const char *name) {
    const sm_str x = text_of(r, sm_json_get(r->json, a, name)),
                 y = text_of(r, sm_json_get(r->json, b, name));
    return x.length == y.length && (!x.length || !memcmp(x.data, y.data, (size_t)x.length));
}

/* Turns that the lists of a pair both begin with, not the last of either. */
static uint32_t shared_turns(const reader *r) {
    const sm_json_value a = field(r, "chosen"), b = field(r, "rejected");
    const uint32_t n = sm_json_count(r->json, a), m = sm_json_count(r->json, b);
    sm_json_value i = sm_json_first(r->json, a), j = sm_json_first(r->json, b);
    uint32_t shared = 0;
    if (!is_list(r, a) || !is_list(r, b))
        return 0;
    while (shared + 1 < n && shared + 1 < m && alike(r, i, j, "role") &&
           alike(r, i, j, "content")) {
        i = sm_json_next(r->json, a, i);
        j = sm_json_next(r->json, b, j);
        shared++;
    }
    return shared;
}

/* "prompt" and "completion" or "chosen", each a text or a list of messages. */
static sm_status prompt(reader *r) {
    static const char *const unread[] = {"input", "output", "history", NULL};
    const char *const name = answer_name(r, "completion");
    const sm_json_value asked = field(r, "prompt"), answer = field(r, name);
    sm_status status = refuse(r, SM_JSON_ROOT, unread);
    if (status)
        return status;
    if (r->d->kind == SM_DATA_PAIRS)
        r->shared = shared_turns(r);
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

/* What a label says of the answer. */
static sm_status read_label(reader *r) {
    static const char *const unread[] = {"chosen", "rejected", NULL};
    const char *const name = has(r, "label") ? "label" : "kto_tag";
    const sm_json_value v = field(r, name);
    double number = -1;
    sm_status status = refuse(r, SM_JSON_ROOT, unread);
    if (status)
        return status;
    if (!has(r, name))
        return bad(r, "an entry of this objective needs a", "label");
    if (sm_json_kind_of(r->json, v) == SM_JSON_TRUE || sm_json_kind_of(r->json, v) == SM_JSON_FALSE)
        number = sm_json_kind_of(r->json, v) == SM_JSON_TRUE;
    else
        sm_json_double(r->json, v, &number);
    if (number != 0 && number != 1)
        return bad(r, "only true and false can be the", name);
    r->writer.out.good = number != 0;
    return SM_OK;
}

/* What an entry of this kind of data needs, and what is of others. */
static sm_status check_kind(reader *r) {
    static const char *const answers[] = {"chosen", "rejected"};
    static const char *const labels[] = {"label", "kto_tag"};
    if (r->d->kind == SM_DATA_LABELS)
        return read_label(r);
    if (!is_empty(r, field(r, "kto_tag")))
        return bad(r, "only the objective kto reads a", "kto_tag");
    if (sm_json_kind_of(r->json, field(r, "label")) == SM_JSON_FALSE) /* not one to be learned */
        return bad(r, "only the objective kto reads a false", "label");
    for (int i = 0; r->d->kind == SM_DATA_PAIRS && i < 2; i++) {
        if (has(r, labels[i]))
            return bad(r, "an entry with two answers has no", labels[i]);
        if (!has(r, answers[i]))
            return bad(r, "an entry of this objective needs an answer", answers[i]);
    }
    if (r->d->kind == SM_DATA_INSTRUCT && !is_empty(r, field(r, "rejected")))
        return sm_fail(r->error, SM_ERR_UNSUPPORTED,
                       "%s:%llu: \"rejected\": the objective supervised learns one answer; "
                       "objective dpo and others compare both, and data of kind \"chosen\" is "
                       "trained on the chosen side alone",
                       r->d->path, (unsigned long long)r->entry->line);
    return SM_OK;
}

static sm_status write_entry(reader *r) {
    static const char *const unread[] = {"tools",  "functions", "image", "images",
                                         "videos", "audios",    NULL};
    sm_status status = check_fields(r, SM_JSON_ROOT);
    if (!status)
        status = refuse(r, SM_JSON_ROOT, unread);
    if (!status)
        status = check_kind(r);
    if (status)
        return status;
    const bool whole =
        r->d->kind == SM_DATA_PAIRS ? is_list(r, field(r, "chosen")) : r->d->kind == SM_DATA_CHOSEN;
    if (whole && has(r, "chosen") && !has(r, "instruction"))
        return prompt(r);
    if (has(r, "messages"))
        return conversation(r, "messages", "role", "content");
    if (has(r, "conversations"))
        return conversation(r, "conversations", "from", "value");
    if (has(r, "instruction") || has(r, "output"))
        return alpaca(r);
    if (has(r, "prompt") || has(r, "completion") || has(r, "chosen"))
        return prompt(r);
    if (has(r, "text") && !compares(r))
        return whole_text(r);
    return sm_fail(r->error, SM_ERR_FORMAT,
                   "%s:%llu: this is none of the layouts that are read: \"instruction\" and "
                   "\"output\" (Alpaca), \"messages\", \"conversations\" (ShareGPT), \"prompt\" "
                   "and \"completion\", \"prompt\" and \"chosen\", or \"text\"",
                   r->d->path, (unsigned long long)r->entry->line);
}

sm_status sm_instruct_write(const sm_documents *d, const sm_document *entry, const sm_json *json,
                            sm_answer_side side, sm_canceller hook, sm_rendering *out,
                            sm_error *error) {
    reader r = {.d = d, .entry = entry, .json = json, .side = side, .hook = hook, .error = error};
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
