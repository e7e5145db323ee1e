/* Instruction data: a JSON array of objects, or one object a line (JSONL). An entry is
 *   {"instruction": …, "input": …, "output": …}                        Alpaca
 *   {"conversations": [{"from": "human"|"gpt"|"system", "value": …}]}   ShareGPT
 *   {"messages": [{"role": "user"|"assistant"|"system", "content": …}]}
 * Every entry is parsed once when the file is opened, so that a broken one is known before
 * training begins, and again whenever it is used. */
#include "documents.h"

#include <jansson.h>
#include <string.h>

#define PROGRESS_ENTRIES 4096

typedef enum role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT } role;

static sm_status parse(const sm_documents *d, const sm_document *e, json_t **out, sm_error *error) {
    json_error_t why;
    *out = json_loadb((const char *)d->file.data + e->offset, e->length, 0, &why);
    if (!*out)
        return sm_fail(error, SM_ERR_FORMAT, "%s:%llu: not valid JSON: %s", d->path,
                       (unsigned long long)(e->line + (why.line > 0 ? (uint64_t)why.line - 1 : 0)),
                       why.text);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return sm_fail(error, SM_ERR_FORMAT, "%s:%llu: an entry must be a JSON object", d->path,
                       (unsigned long long)e->line);
    }
    return SM_OK;
}

/* ---- rendering -------------------------------------------------------------------------- */

/* What entries are written to: tokens, or nothing while a file is only checked. */
typedef struct sink {
    const sm_documents *d;
    const sm_document *entry;
    sm_document_tokens *tokens; /* NULL: check only */
    bool answered;
    sm_error *error;
} sink;

static sm_status fixed(sink *s, const char *text, bool learn) {
    return s->tokens
               ? sm_documents_encode(s->d, text, strlen(text), true, learn, s->tokens, s->error)
               : SM_OK;
}

/* Text of the data: special tokens written in it stay text. */
static sm_status content(sink *s, const json_t *text, bool learn) {
    return s->tokens ? sm_documents_encode(s->d, json_string_value(text), json_string_length(text),
                                           false, learn, s->tokens, s->error)
                     : SM_OK;
}

static sm_status end_of_text(sink *s, bool learn) {
    return s->tokens ? sm_documents_push(s->d, s->d->vocab.eos, learn, s->tokens, s->error) : SM_OK;
}

static sm_status bad(const sink *s, const char *what, const char *key) {
    return sm_fail(s->error, SM_ERR_FORMAT, "%s:%llu: %s \"%s\"", s->d->path,
                   (unsigned long long)s->entry->line, what, key);
}

/* One turn of a conversation. index: of the turn; a system text only begins one. */
static sm_status turn(sink *s, role who, const json_t *text, uint64_t index) {
    static const char *const names[] = {"system", "user", "assistant"};
    const bool learn = who == ROLE_ASSISTANT || s->d->loss_on_prompt;
    sm_status status = SM_OK;
    s->answered |= who == ROLE_ASSISTANT;
    if (s->d->layout == SM_TEMPLATE_CHATML) {
        char head[32];
        sm_format(head, sizeof head, "<|im_start|>%s\n", names[who]);
        status = fixed(s, head, s->d->loss_on_prompt);
        if (!status)
            status = content(s, text, learn);
        if (!status)
            status = fixed(s, "<|im_end|>", learn);
        return status ? status : fixed(s, "\n", s->d->loss_on_prompt);
    }
    if (who == ROLE_USER)
        status =
            fixed(s, index ? "\n\n### Instruction:\n" : "### Instruction:\n", s->d->loss_on_prompt);
    else if (who == ROLE_ASSISTANT)
        status = fixed(s, "\n\n### Response:\n", s->d->loss_on_prompt);
    if (!status)
        status = content(s, text, learn);
    return !status && who == ROLE_ASSISTANT ? end_of_text(s, learn) : status;
}

static sm_status conversation(sink *s, const json_t *turns, const char *role_key,
                              const char *text_key) {
    sm_status status = SM_OK;
    for (size_t i = 0; i < json_array_size(turns) && !status; i++) {
        const json_t *item = json_array_get(turns, i);
        const json_t *text = json_object_get(item, text_key);
        const char *name = json_string_value(json_object_get(item, role_key));
        if (!json_is_string(text))
            return bad(s, "a turn has no text", text_key);
        if (!name)
            return bad(s, "a turn has no text", role_key);
        role who;
        if (!strcmp(name, "user") || !strcmp(name, "human"))
            who = ROLE_USER;
        else if (!strcmp(name, "assistant") || !strcmp(name, "gpt"))
            who = ROLE_ASSISTANT;
        else if (!strcmp(name, "system"))
            who = ROLE_SYSTEM;
        else
            return bad(s, "unknown role", name);
        status = turn(s, who, text, i);
    }
    return status;
}

/* The layout of the Alpaca data set (github.com/tatsu-lab/stanford_alpaca). */
static sm_status alpaca(sink *s, const json_t *entry) {
    const json_t *instruction = json_object_get(entry, "instruction");
    const json_t *input = json_object_get(entry, "input");
    const json_t *output = json_object_get(entry, "output");
    if (!json_is_string(instruction))
        return bad(s, "an entry has no text", "instruction");
    if (!json_is_string(output))
        return bad(s, "an entry has no text", "output");
    if (input && !json_is_string(input) && !json_is_null(input))
        return bad(s, "this is no text:", "input");
    const bool with_input = json_string_length(input) > 0;
    const bool prompt = s->d->loss_on_prompt;
    sm_status status = SM_OK;
    s->answered = true;
    if (s->d->layout == SM_TEMPLATE_CHATML) {
        status = fixed(s, "<|im_start|>user\n", prompt);
        if (!status)
            status = content(s, instruction, prompt);
        if (!status && with_input)
            status = fixed(s, "\n\n", prompt);
        if (!status && with_input)
            status = content(s, input, prompt);
        if (!status)
            status = fixed(s, "<|im_end|>\n<|im_start|>assistant\n", prompt);
        if (!status)
            status = content(s, output, true);
        if (!status)
            status = fixed(s, "<|im_end|>", true);
        return status ? status : fixed(s, "\n", prompt);
    }
    status = fixed(s,
                   with_input ? "Below is an instruction that describes a task, paired with an "
                                "input that provides further context. Write a response that "
                                "appropriately completes the request.\n\n### Instruction:\n"
                              : "Below is an instruction that describes a task. Write a response "
                                "that appropriately completes the request.\n\n### Instruction:\n",
                   prompt);
    if (!status)
        status = content(s, instruction, prompt);
    if (!status && with_input)
        status = fixed(s, "\n\n### Input:\n", prompt);
    if (!status && with_input)
        status = content(s, input, prompt);
    if (!status)
        status = fixed(s, "\n\n### Response:\n", prompt);
    if (!status)
        status = content(s, output, true);
    return status ? status : end_of_text(s, true);
}

static sm_status render(sink *s) {
    json_t *entry;
    sm_status status = parse(s->d, s->entry, &entry, s->error);
    if (status)
        return status;
    const json_t *messages = json_object_get(entry, "messages");
    const json_t *conversations = json_object_get(entry, "conversations");
    if (json_is_array(messages))
        status = conversation(s, messages, "role", "content");
    else if (json_is_array(conversations))
        status = conversation(s, conversations, "from", "value");
    else
        status = alpaca(s, entry);
    if (!status && !s->answered)
        status = sm_fail(s->error, SM_ERR_FORMAT, "%s:%llu: the conversation has no answer",
                         s->d->path, (unsigned long long)s->entry->line);
    json_decref(entry);
    return status;
}

sm_status sm_instruct_read(const sm_documents *d, uint64_t i, sm_document_tokens *tokens,
                           sm_error *error) {
    sink s = {d, &d->list[i], tokens, false, error};
    sm_status status = sm_documents_push(d, d->vocab.bos, false, tokens, error);
    return status ? status : render(&s);
}

/* ---- index --------------------------------------------------------------------------------- */

typedef struct scanner {
    const uint8_t *text;
    uint64_t size, at, line;
} scanner;

static void skip_space(scanner *s) {
    while (s->at < s->size && (s->text[s->at] == ' ' || s->text[s->at] == '\t' ||
                               s->text[s->at] == '\r' || s->text[s->at] == '\n'))
        s->line += s->text[s->at++] == '\n';
}

/* Steps over one value of an array: to the comma or bracket that follows it at its level. Only
 * finds where it ends; parse() decides whether it is JSON. */
static void skip_value(scanner *s) {
    uint64_t depth = 0;
    bool quoted = false;
    for (; s->at < s->size; s->at++) {
        const uint8_t c = s->text[s->at];
        if (quoted) {
            if (c == '\\' && s->at + 1 < s->size)
                s->at++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (!depth)
                return;
            depth--;
        } else if (c == ',' && !depth) {
            return;
        }
        s->line += s->text[s->at] == '\n';
    }
}

static sm_status add_entry(sm_documents *d, uint64_t begin, uint64_t end, uint64_t line,
                           sm_error *error) {
    sm_status status = sm_documents_add(d, begin, end - begin, line, error);
    if (status)
        return status;
    sm_documents_hash(d, end);
    sink s = {d, &d->list[d->n - 1], NULL, false, error};
    return render(&s);
}

static sm_status tell(const sm_documents *d, sm_progress_fn progress, void *user, uint64_t at,
                      sm_error *error) {
    if (progress && d->n % PROGRESS_ENTRIES == 0 && at < d->file.size &&
        progress(user, at, d->file.size))
        return sm_fail(error, SM_ERR_CANCELLED, "%s: cancelled", d->path);
    return SM_OK;
}

static sm_status index_array(sm_documents *d, scanner *s, sm_progress_fn progress, void *user,
                             sm_error *error) {
    sm_status status = SM_OK;
    s->at++; /* the bracket */
    for (;;) {
        skip_space(s);
        if (s->at < s->size && s->text[s->at] == ']' && !d->n)
            break;
        const uint64_t begin = s->at, line = s->line;
        skip_value(s);
        if (s->at == s->size)
            return sm_fail(error, SM_ERR_FORMAT,
                           "%s:%llu: the file ends inside the entry that begins here", d->path,
                           (unsigned long long)line);
        status = add_entry(d, begin, s->at, line, error);
        if (!status)
            status = tell(d, progress, user, s->at, error);
        if (status)
            return status;
        if (s->text[s->at] != ',')
            break;
        s->at++;
    }
    if (s->text[s->at] != ']')
        return sm_fail(error, SM_ERR_FORMAT, "%s:%llu: expected , or ] after an entry", d->path,
                       (unsigned long long)s->line);
    s->at++;
    skip_space(s);
    if (s->at < s->size)
        return sm_fail(error, SM_ERR_FORMAT, "%s:%llu: there is something after the array", d->path,
                       (unsigned long long)s->line);
    return SM_OK;
}

sm_status sm_instruct_index(sm_documents *d, sm_progress_fn progress, void *user, sm_error *error) {
    scanner s = {d->file.data, d->file.size, 0, 1};
    if (d->layout == SM_TEMPLATE_CHATML &&
        (sm_tokenizer_find(d->tokenizer, "<|im_start|>", 12) < 0 ||
         sm_tokenizer_find(d->tokenizer, "<|im_end|>", 10) < 0))
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "the ChatML layout needs <|im_start|> and <|im_end|> in the vocabulary");
    if (s.size >= 3 && !memcmp(s.text, "\xEF\xBB\xBF", 3)) /* U+FEFF, as some editors begin files */
        s.at = 3;
    skip_space(&s);
    if (s.at < s.size && s.text[s.at] == '[')
        return index_array(d, &s, progress, user, error);
    while (s.at < s.size) { /* one entry a line */
        const uint8_t *stop = memchr(s.text + s.at, '\n', s.size - s.at);
        const uint64_t end = stop ? (uint64_t)(stop - s.text) : s.size;
        sm_status status = add_entry(d, s.at, end, s.line, error);
        if (!status)
            status = tell(d, progress, user, end, error);
        if (status)
            return status;
        s.at = end;
        skip_space(&s);
    }
    return SM_OK;
}
