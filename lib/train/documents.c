/* documents.c - the documents of a training file, and the tokens of one when asked for. */
#include "documents.h"

#include <string.h>

/* Text without separators is cut past this many bytes: large beside a row of tokens, small beside a
 * file worth shuffling. */
#define PIECE 16384
#define NEIGHBOURS 64            /* bytes on each side of a cut that are compared */
#define MAX_TRIES 256            /* places in a piece */
#define LONGEST_PIECE (1u << 20) /* a text without a place to cut ends somewhere, too */
#define ASK_PARTS 256            /* of an entry, encoded between two questions */

/* ---- tokens ------------------------------------------------------------------------------- */

sm_status sm_document_tokens_reserve(sm_document_tokens *t, sm_mem *mem, uint64_t n,
                                     sm_error *error) {
    if (n <= t->capacity)
        return SM_OK;
    const uint64_t capacity = n + n / 2;
    int32_t *ids = sm_realloc(mem, t->ids, capacity * sizeof *ids);
    if (ids)
        t->ids = ids;
    uint8_t *learn = ids ? sm_realloc(mem, t->learn, capacity) : NULL;
    if (!learn)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a document of %llu tokens",
                       (unsigned long long)n);
    t->learn = learn;
    t->capacity = capacity;
    return SM_OK;
}

static sm_status reserve(const sm_documents *d, uint64_t more, sm_document_tokens *t,
                         sm_error *error) {
    return sm_document_tokens_reserve(t, d->mem, t->n + more, error);
}

static sm_status push(const sm_documents *d, int32_t id, bool learn, sm_document_tokens *t,
                      sm_error *error) {
    if (id < 0)
        return SM_OK;
    sm_status status = reserve(d, 1, t, error);
    if (!status) {
        t->ids[t->n] = id;
        t->learn[t->n++] = learn;
    }
    return status;
}

/* Appends the ids of text[from..length), which goes on from what is before it. */
static sm_status append(const sm_documents *d, const char *text, uint64_t from, uint64_t length,
                        sm_document_tokens *t, sm_error *error) {
    const sm_encode_options o = {
        .struct_size = sizeof o, .cancel = d->cancel, .cancel_user = d->cancel_user};
    uint64_t n = 0;
    /* enough for every kind but in odd vocabularies, where the second try has the exact number */
    sm_status status = reserve(d, length - from + 16, t, error);
    if (!status)
        status = sm_tokenizer_encode_rest(d->tokenizer, text, length, from, &o, t->ids + t->n,
                                          t->capacity - t->n, &n, error);
    if (status == SM_ERR_BUFFER) {
        status = reserve(d, n, t, error);
        if (!status)
            status = sm_tokenizer_encode_rest(d->tokenizer, text, length, from, &o, t->ids + t->n,
                                              t->capacity - t->n, &n, error);
    }
    t->n += status ? 0 : n;
    return status;
}

/* Appends the ids of a part's text; *answer is the first of its answer. A prompt has those that
 * generating feeds: as a rule these are the first ones of the whole, so that the first token that
 * spells anything of the answer counts as answer. Where a token of the whole would lie across the
 * end of the prompt the answer goes on from there instead, for that is what is asked. */
static sm_status encode_part(const sm_documents *d, const char *text, const sm_part *p,
                             sm_document_tokens *t, uint64_t *answer, sm_error *error) {
    /* what stands before a part counts only where it goes on from there */
    const char *from = p->joined ? text : text + p->begin;
    const uint64_t begin = p->joined ? p->begin : 0, end = p->end - p->begin + begin,
                   seam = p->answer == UINT64_MAX ? end : p->answer - p->begin + begin;
    const uint64_t first = t->n;
    sm_status status = append(d, from, begin, seam, t, error);
    *answer = t->n;
    if (status || seam == end)
        return status;
    status = append(d, from, begin, end, t, error);
    if (status)
        return status;
    const uint64_t prompt = *answer - first, whole = t->n - *answer;
    if (whole >= prompt && !memcmp(t->ids + first, t->ids + *answer, prompt * sizeof *t->ids)) {
        memmove(t->ids + first, t->ids + *answer, whole * sizeof *t->ids);
        t->n = first + whole;
        return SM_OK;
    }
    t->n = *answer;
    return append(d, from, seam, end, t, error);
}

/* ---- plain text --------------------------------------------------------------------------- */

/* A walk through plain text. */
typedef struct walk {
    sm_documents *d;
    const uint8_t *text;
    uint64_t begin, size, line; /* begin: of the text, behind a byte-order mark */
    sm_watch watch;
    sm_document_tokens tokens; /* of the places looked at */
    sm_error *error;
} walk;

/* Where `what` occurs in text[from..size), or size. */
static uint64_t find(const uint8_t *text, uint64_t size, uint64_t from, const char *what,
                     uint64_t length) {
    while (from + length <= size) {
        const uint8_t *at = memchr(text + from, what[0], size - length - from + 1);
        if (!at)
            break;
        if (!memcmp(at, what, length))
            return (uint64_t)(at - text);
        from = (uint64_t)(at - text) + 1;
    }
    return size;
}

/* The same through what may be a large file: the hook is asked on the way. */
static sm_status find_watched(walk *w, uint64_t from, const char *what, uint64_t length,
                              uint64_t *at) {
    sm_status status = SM_OK;
    *at = w->size;
    while (*at == w->size && from < w->size && !status) {
        const uint64_t left = w->size - from, step = left < SM_WATCH_BYTES ? left : SM_WATCH_BYTES;
        const uint64_t end = step + length < left ? from + step + length : w->size;
        const uint64_t found = find(w->text, end, from, what, length);
        *at = found < end ? found : w->size;
        from += step;
        if (*at == w->size && from < w->size && sm_watch_ask(&w->watch))
            status = sm_fail(w->error, SM_ERR_CANCELLED, "%s: cancelled", w->d->path);
    }
    return status;
}

static uint64_t count_lines(const uint8_t *text, uint64_t n) {
    uint64_t lines = 0;
    for (uint64_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    return lines;
}

/* Moves on to byte `end`: what lies before it is counted and hashed. */
static sm_status move(walk *w, uint64_t end) {
    sm_status status = SM_OK;
    while (w->watch.at < end && !status) {
        const uint64_t left = end - w->watch.at, n = left < SM_WATCH_BYTES ? left : SM_WATCH_BYTES;
        w->line += count_lines(w->text + w->watch.at, n);
        w->watch.at += n;
        sm_documents_hash(w->d, w->watch.at);
        if (w->watch.at < w->size)
            status = sm_watch_tell(&w->watch, w->error);
    }
    return status;
}

/* Adds the text up to `end` without the line ends around it. */
static sm_status add_trimmed(walk *w, uint64_t end) {
    const uint64_t begin = w->watch.at;
    uint64_t first = begin, last = end;
    while (first < end && (w->text[first] == '\n' || w->text[first] == '\r'))
        first++;
    while (last > first && (w->text[last - 1] == '\n' || w->text[last - 1] == '\r'))
        last--;
    return first == last
               ? SM_OK
               : sm_documents_add(w->d, first, last - first,
                                  w->line + count_lines(w->text + begin, first - begin), w->error);
}

static bool is_word(uint8_t c) {
    return c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_inside(uint8_t c) { /* of a character */
    return (c & 0xC0) == 0x80;
}

/* Whether the text around `at` has the same ids in two parts as in one. */
static sm_status can_cut(walk *w, uint64_t at, bool *can) {
    sm_document_tokens *t = &w->tokens;
    const char *text = (const char *)w->text + w->begin;
    uint64_t from = at - w->begin > NEIGHBOURS ? at - NEIGHBOURS : w->begin,
             to = w->size - at > NEIGHBOURS ? at + NEIGHBOURS : w->size;
    while (from < at && is_inside(w->text[from]))
        from++;
    while (to > at && to < w->size && is_inside(w->text[to]))
        to--;
    t->n = 0;
    sm_status status = append(w->d, text, from - w->begin, to - w->begin, t, w->error);
    const uint64_t n = t->n;
    if (!status)
        status = append(w->d, text, from - w->begin, at - w->begin, t, w->error);
    if (!status)
        status = append(w->d, text, at - w->begin, to - w->begin, t, w->error);
    *can = !status && t->n == 2 * n && !memcmp(t->ids, t->ids + n, n * sizeof *t->ids);
    return status;
}

/* Whether a text may be cut before byte i as far as its characters go: behind a line end, or before
 * a space between words. */
static bool looks_like_an_end(const uint8_t *text, uint64_t i, bool spaces) {
    if (text[i - 1] == '\n')
        return text[i] > ' ' && text[i - 2] > ' ';
    return spaces && text[i] == ' ' && is_word(text[i - 1]) && is_word(text[i + 1]);
}

/* Where the piece of one long text that begins at `begin` ends: where no token lies across, at a
 * line end if there is one near. */
static sm_status piece_end(walk *w, uint64_t begin, uint64_t *end) {
    const uint64_t rest = w->size - begin;
    uint32_t tries = 0;
    *end = w->size;
    if (rest <= PIECE)
        return SM_OK;
    const uint64_t limit[] = {rest < 2 * PIECE ? w->size : begin + 2 * PIECE,
                              rest < LONGEST_PIECE ? w->size : begin + LONGEST_PIECE};
    for (int spaces = 0; spaces < 2; spaces++)
        for (uint64_t i = begin + PIECE; i + 1 < limit[spaces] && tries < MAX_TRIES; i++) {
            bool can = false;
            if (!looks_like_an_end(w->text, i, spaces))
                continue;
            tries++;
            sm_status status = can_cut(w, i, &can);
            if (status)
                return status;
            if (can) {
                *end = i;
                return SM_OK;
            }
        }
    /* no place in sight: where a character ends, if the text does not */
    for (*end = limit[1]; *end < w->size && is_inside(w->text[*end]); --*end) {
    }
    return SM_OK;
}

static sm_status index_text(sm_documents *d, const char *separator, sm_progress_fn progress,
                            void *progress_user, sm_error *error) {
    walk w = {.d = d,
              .text = d->file.data,
              .size = d->file.size,
              .line = 1,
              .watch = {.documents = d, .progress = progress, .user = progress_user},
              .error = error};
    const uint64_t length = separator ? strlen(separator) : 0;
    uint64_t end = w.size;
    if (w.size >= 3 && !memcmp(w.text, "\xEF\xBB\xBF", 3)) /* U+FEFF, as some editors begin files */
        w.watch.at = w.begin = 3;
    sm_status status = length ? find_watched(&w, 0, separator, length, &end) : SM_OK;
    d->continued = end == w.size;
    while (w.watch.at < w.size && !status) {
        const uint64_t begin = w.watch.at;
        status = d->continued ? piece_end(&w, begin, &end)
                              : find_watched(&w, begin, separator, length, &end);
        if (!status)
            status = d->continued ? sm_documents_add(d, begin, end - begin, w.line, error)
                                  : add_trimmed(&w, end);
        if (!status && !d->continued)
            end = w.size - end > length ? end + length : w.size;
        if (!status)
            status = move(&w, end);
    }
    sm_document_tokens_free(&w.tokens, d->mem);
    return status;
}

/* ---- kinds of files ----------------------------------------------------------------------- */

/* By the ending of its name, in either case. */
static bool is_instruct(const char *path) {
    char end[8] = "";
    const size_t n = strlen(path), from = n > sizeof end - 1 ? n - (sizeof end - 1) : 0;
    for (size_t i = from; i < n; i++)
        end[i - from] = lower_ascii(path[i]);
    return ends_with(end, ".json") || ends_with(end, ".jsonl") || ends_with(end, ".ndjson");
}

/* Unless it is known better why it cannot be opened, the system's reason stands. */
static sm_status open_file(sm_documents *d, const char *path, sm_error *error) {
    const sm_status status = sm_file_open(&d->file, d->mem, path, true, error);
    const sm_status known = status == SM_ERR_IO ? sm_recognize_path(path, path, error) : SM_OK;
    return known ? known : status;
}

sm_status sm_documents_open(sm_documents *d, sm_mem *mem, const char *path,
                            const sm_tokenizer *tokenizer, const sm_dataset_options *options,
                            sm_progress_fn progress, void *progress_user, sm_error *error) {
    memset(d, 0, sizeof *d);
    d->mem = mem;
    d->tokenizer = tokenizer;
    d->vocab.struct_size = sizeof d->vocab;
    d->layout = options->layout;
    d->loss_on_prompt = options->loss_on_prompt;
    d->kind = options->kind;
    if (d->kind == SM_DATA_AUTO)
        d->kind = is_instruct(path) ? SM_DATA_INSTRUCT : SM_DATA_TEXT;
    sm_status status = sm_tokenizer_get_info(tokenizer, &d->vocab, error);
    if (!status) {
        d->path = sm_strdup(mem, path, strlen(path));
        if (!d->path)
            status = sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
    }
    if (!status)
        status = open_file(d, path, error);
    if (!status && !d->file.size)
        status = sm_fail(error, SM_ERR_FORMAT, "%s: the file is empty", path);
    if (!status)
        status = sm_recognize_text(path, d->file.data, d->file.size, error);
    if (!status)
        status = d->kind != SM_DATA_TEXT
                     ? sm_instruct_index(d, progress, progress_user, error)
                     : index_text(d, options->separator, progress, progress_user, error);
    if (!status && !d->n)
        status = sm_fail(error, SM_ERR_FORMAT, "%s: there is no text in it", path);
    if (!status && d->hashed < d->file.size)
        sm_documents_hash(d, d->file.size);
    if (!status && progress && progress(progress_user, d->file.size, d->file.size))
        status = sm_fail(error, SM_ERR_CANCELLED, "%s: cancelled", path);
    if (status)
        sm_documents_close(d);
    return status;
}

void sm_documents_close(sm_documents *d) {
    sm_file_close(&d->file);
    sm_free(d->mem, d->list);
    sm_free(d->mem, d->path);
    memset(d, 0, sizeof *d);
}

/* ---- documents ---------------------------------------------------------------------------- */

static bool is_learned(const sm_documents *d, sm_portion portion) {
    return portion == SM_PORTION_ANSWER || (portion == SM_PORTION_PROMPT && d->loss_on_prompt);
}

static sm_status encode_rendering(const sm_documents *d, const sm_rendering *r,
                                  sm_document_tokens *t, sm_error *error) {
    sm_status status = SM_OK;
    for (uint64_t i = 0; i < r->n && !status; i++) {
        const sm_part *p = &r->part[i];
        const uint64_t first = t->n;
        if (i % ASK_PARTS == ASK_PARTS - 1 && d->cancel && d->cancel(d->cancel_user))
            return sm_fail(error, SM_ERR_CANCELLED, "%s: cancelled", d->path);
        uint64_t answer;
        status = encode_part(d, r->text, p, t, &answer, error);
        if (status)
            break;
        memset(t->learn + first, is_learned(d, SM_PORTION_PROMPT), answer - first);
        memset(t->learn + answer, is_learned(d, p->portion), t->n - answer);
        status = push(d, p->token, is_learned(d, p->token_portion), t, error);
    }
    return status;
}

static sm_status read_entry(const sm_documents *d, uint64_t i, sm_answer_side side,
                            sm_document_tokens *t, sm_error *error) {
    sm_rendering r = {.mem = d->mem};
    sm_status status = sm_instruct_render(d, i, side, &r, error);
    t->good = r.good;
    if (!status)
        status = encode_rendering(d, &r, t, error);
    sm_rendering_free(&r);
    return status;
}

static sm_status read_text(const sm_documents *d, uint64_t i, sm_document_tokens *t,
                           sm_error *error) {
    const sm_document *document = &d->list[i];
    /* pieces of one text go on from each other */
    const uint64_t before = d->continued ? document->offset - d->list[0].offset : 0;
    const char *text = (const char *)d->file.data + document->offset - before;
    const uint64_t first = t->n;
    sm_status status = append(d, text, before, before + document->length, t, error);
    if (!status)
        memset(t->learn + first, 1, t->n - first);
    return status || d->continued ? status : push(d, d->vocab.eos, true, t, error);
}

sm_status sm_documents_read(const sm_documents *d, uint64_t i, sm_answer_side side,
                            sm_document_tokens *t, sm_error *error) {
    sm_status status = SM_OK;
    t->n = 0;
    if (d->vocab.add_bos == 1 && !d->continued)
        status = push(d, d->vocab.bos, false, t, error);
    if (status)
        return status;
    return d->kind == SM_DATA_TEXT ? read_text(d, i, t, error) : read_entry(d, i, side, t, error);
}

void sm_document_tokens_free(sm_document_tokens *t, sm_mem *mem) {
    sm_free(mem, t->ids);
    sm_free(mem, t->learn);
    memset(t, 0, sizeof *t);
}
