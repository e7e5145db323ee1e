/* The entries of instruction data: a JSON array of objects, or one object a line (JSONL). Every one
 * is parsed once when the file is opened, so that a broken one is known before training begins,
 * and again whenever it is used. What an entry may hold: instruct.c. */
#include "documents.h"

#include <string.h>

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

sm_status sm_instruct_render(const sm_documents *d, uint64_t i, sm_answer_side side,
                             sm_rendering *rendering, sm_error *error) {
    sm_json *json;
    sm_status status = parse(d, &d->list[i], d->cancel, d->cancel_user, &json, NULL, error);
    if (status)
        return status;
    status = sm_instruct_write(d, &d->list[i], json, side,
                               (sm_canceller){d->cancel, d->cancel_user}, rendering, error);
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
    const sm_canceller hook = {sm_watch_ask, &s->watch};
    const uint32_t sides = d->kind == SM_DATA_PAIRS ? 2 : 1;
    for (uint32_t side = 0; side < sides && !status; side++) {
        sm_rendering check = {.mem = d->mem, .check = true};
        status = sm_instruct_write(d, entry, json, side, hook, &check, s->error);
    }
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
