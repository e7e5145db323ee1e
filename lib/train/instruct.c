/* Instruction data: a JSON array of objects, or one object a line (JSONL). An entry is
 *   {"instruction": …, "input": …, "output": …}                        Alpaca
 *   {"conversations": [{"from": "human"|"gpt"|"system", "value": …}]}   ShareGPT
 *   {"messages": [{"role": "user"|"assistant"|"system", "content": …}]}
 * Every entry is parsed once when the file is opened, so that a broken one is known before
 * training begins, and again whenever it is used. */
#include "documents.h"

#include <string.h>

#include "format/json.h"

#define PROGRESS_BYTES (1u << 20) /* a few ms of reading */

typedef enum role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT } role;

/* How far the file has been gone through, for whoever asks while it is opened. */
typedef struct watch {
    const sm_documents *d;
    uint64_t at;
    sm_progress_fn progress;
    void *user;
} watch;

static int32_t cancelled(void *user) {
    const watch *w = user;
    return w->progress && w->progress(w->user, w->at, w->d->file.size);
}

/* Reads the entry at `offset`: of `length` bytes, or, with `used`, as long as it turns out. */
static sm_status parse(const sm_documents *d, const sm_document *e, const watch *w, sm_json **out,
                       uint64_t *used, sm_error *error) {
    const sm_json_source source = {.name = d->path,
                                   .line = e->line,
                                   .cancel = w ? cancelled : NULL,
                                   .user = (void *)(uintptr_t)w};
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

/* ---- rendering -------------------------------------------------------------------------- */

/* What entries are written to: tokens, or nothing while a file is only checked. */
typedef struct sink {
    const sm_documents *d;
    const sm_document *entry;
    const sm_json *json;
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
static sm_status content(sink *s, sm_json_value text, bool learn) {
    uint64_t length;
    const char *bytes = sm_json_text(s->json, text, &length);
    return s->tokens ? sm_documents_encode(s->d, bytes, length, false, learn, s->tokens, s->error)
                     : SM_OK;
}

static bool is_text(const sink *s, sm_json_value v) {
    return sm_json_kind_of(s->json, v) == SM_JSON_STRING;
}

static sm_status end_of_text(sink *s, bool learn) {
    return s->tokens ? sm_documents_push(s->d, s->d->vocab.eos, learn, s->tokens, s->error) : SM_OK;
}

static sm_status bad(const sink *s, const char *what, const char *key) {
    return sm_fail(s->error, SM_ERR_FORMAT, "%s:%llu: %s \"%s\"", s->d->path,
                   (unsigned long long)s->entry->line, what, key);
}

/* One turn of a conversation. index: of the turn; a system text only begins one. */
static sm_status turn(sink *s, role who, sm_json_value text, uint64_t index) {
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

static bool role_of(const sm_json *json, sm_json_value name, role *who) {
    static const struct {
        const char *name;
        role who;
    } roles[] = {{"user", ROLE_USER},
                 {"human", ROLE_USER},
                 {"assistant", ROLE_ASSISTANT},
                 {"gpt", ROLE_ASSISTANT},
                 {"system", ROLE_SYSTEM}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (sm_json_is(json, name, roles[i].name)) {
            *who = roles[i].who;
            return true;
        }
    return false;
}

static sm_status conversation(sink *s, sm_json_value turns, const char *role_key,
                              const char *text_key) {
    sm_status status = SM_OK;
    uint64_t n = 0, length;
    for (sm_json_value i = sm_json_first(s->json, turns); i != SM_JSON_NONE && !status;
         i = sm_json_next(s->json, turns, i)) {
        const sm_json_value text = sm_json_get(s->json, i, text_key);
        const sm_json_value name = sm_json_get(s->json, i, role_key);
        if (!is_text(s, text))
            return bad(s, "a turn has no text", text_key);
        if (!is_text(s, name))
            return bad(s, "a turn has no text", role_key);
        role who;
        if (!role_of(s->json, name, &who)) {
            const char *bytes = sm_json_text(s->json, name, &length);
            return sm_fail(s->error, SM_ERR_FORMAT, "%s:%llu: unknown role \"%.*s\"", s->d->path,
                           (unsigned long long)s->entry->line, (int)(length < 60 ? length : 60),
                           bytes);
        }
        status = turn(s, who, text, n++);
    }
    return status;
}

/* The layout of the Alpaca data set (github.com/tatsu-lab/stanford_alpaca). */
static sm_status alpaca(sink *s) {
    const sm_json_value instruction = sm_json_get(s->json, SM_JSON_ROOT, "instruction");
    const sm_json_value input = sm_json_get(s->json, SM_JSON_ROOT, "input");
    const sm_json_value output = sm_json_get(s->json, SM_JSON_ROOT, "output");
    uint64_t input_length;
    if (!is_text(s, instruction))
        return bad(s, "an entry has no text", "instruction");
    if (!is_text(s, output))
        return bad(s, "an entry has no text", "output");
    sm_json_text(s->json, input, &input_length);
    if (!is_text(s, input) && sm_json_kind_of(s->json, input) > SM_JSON_NULL)
        return bad(s, "this is no text:", "input");
    const bool with_input = input_length > 0;
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
    const sm_json_value messages = sm_json_get(s->json, SM_JSON_ROOT, "messages");
    const sm_json_value conversations = sm_json_get(s->json, SM_JSON_ROOT, "conversations");
    sm_status status;
    if (sm_json_kind_of(s->json, messages) == SM_JSON_ARRAY)
        status = conversation(s, messages, "role", "content");
    else if (sm_json_kind_of(s->json, conversations) == SM_JSON_ARRAY)
        status = conversation(s, conversations, "from", "value");
    else
        status = alpaca(s);
    if (!status && !s->answered)
        status = sm_fail(s->error, SM_ERR_FORMAT, "%s:%llu: the conversation has no answer",
                         s->d->path, (unsigned long long)s->entry->line);
    return status;
}

sm_status sm_instruct_read(const sm_documents *d, uint64_t i, sm_document_tokens *tokens,
                           sm_error *error) {
    sm_json *json;
    sm_status status = parse(d, &d->list[i], NULL, &json, NULL, error);
    if (status)
        return status;
    sink s = {d, &d->list[i], json, tokens, false, error};
    status = sm_documents_push(d, d->vocab.bos, false, tokens, error);
    if (!status)
        status = render(&s);
    sm_json_free(json);
    return status;
}

/* ---- index --------------------------------------------------------------------------------- */

typedef struct scanner {
    sm_documents *d;
    const uint8_t *text;
    uint64_t size, line;
    watch watch; /* its `at` is the scanner's place */
    uint64_t told;
    sm_error *error;
} scanner;

/* Asks the progress hook once in PROGRESS_BYTES. */
static sm_status tell(scanner *s) {
    if (s->watch.at - s->told < PROGRESS_BYTES || s->watch.at >= s->size)
        return SM_OK;
    s->told = s->watch.at;
    return cancelled(&s->watch) ? sm_fail(s->error, SM_ERR_CANCELLED, "%s: cancelled", s->d->path)
                                : SM_OK;
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
    const uint64_t begin = s->watch.at;
    const uint8_t *stop = NULL;
    sm_status status = SM_OK;
    while (!stop && s->watch.at < s->size && !status) {
        const uint64_t left = s->size - s->watch.at,
                       n = left < PROGRESS_BYTES ? left : PROGRESS_BYTES;
        stop = memchr(s->text + s->watch.at, '\n', n);
        s->watch.at += n;
        status = tell(s);
    }
    *end = stop ? (uint64_t)(stop - s->text) : s->size;
    s->watch.at = s->told = begin;
    return status;
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
    status = parse(d, entry, &s->watch, &json, whole ? NULL : &used, s->error);
    if (status)
        return status;
    entry->length = used;
    s->watch.at = begin + used;
    s->line += sm_json_lines(json);
    sm_documents_hash(d, s->watch.at);
    sink check = {d, entry, json, NULL, false, s->error};
    status = render(&check);
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
                 .watch = {.d = d, .progress = progress, .user = user},
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
