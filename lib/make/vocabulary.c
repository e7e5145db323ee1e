/* Learning a vocabulary from files, and writing it as the keys of a GGUF file. */
#include "format/format.h"
#include "smallmind/generate.h"
#include "smallmind/train.h"
#include "text/text.h"

#include <string.h>

typedef struct maker {
    sm_mem *mem;
    sm_vocabulary_options o;
    sm_str separator;
    sm_bpe_learner *learner;
    uint64_t n_bytes; /* of text, without separators */
    sm_pace pace;     /* asks the progress hook */
    sm_error *error;
} maker;

static int32_t ask(void *user) {
    const maker *m = user;
    return m->o.progress && m->o.progress(m->o.progress_user, 0, m->o.n_vocab);
}

/* Bytes that are searched in one go. */
#define SEARCH_PIECE ((uint64_t)1 << 16)

/* Where the next separator begins, from `at` on; the end of the file without one, or if the work is
 * to stop. */
static uint64_t find_separator(maker *m, const sm_file *file, uint64_t at) {
    const char *text = (const char *)file->data, *mark = m->separator.data;
    const uint64_t length = m->separator.length;
    while (file->size - at >= length && sm_pace_step(&m->pace, 1)) {
        if (memcmp(text + at, mark, length) == 0)
            return at;
        at++;
        const uint64_t left = file->size - at, n = left < SEARCH_PIECE ? left : SEARCH_PIECE;
        const char *next = memchr(text + at, mark[0], n);
        const uint64_t skip = next ? (uint64_t)(next - text) - at : n;
        sm_pace_step(&m->pace, skip / 16);
        at += skip;
    }
    return file->size;
}

/* Counts the words of one file, document by document. */
static sm_status add_file(maker *m, const char *path) {
    sm_file file;
    sm_error why;
    sm_status status = sm_file_open(&file, m->mem, path, true, m->error);
    if (status)
        return status;
    status = sm_recognize_text(path, file.data, file.size, m->error);
    const char *text = (const char *)file.data;
    for (uint64_t at = 0; at < file.size && !status;) {
        const uint64_t end = find_separator(m, &file, at);
        status = sm_bpe_learner_add(m->learner, text + at, end - at, &m->pace, &why);
        if (status == SM_ERR_FORMAT)
            sm_fail(m->error, status, "%s: %s that begins at byte %llu", path, why.message,
                    (unsigned long long)at);
        else if (status)
            sm_fail(m->error, status, "%s: %s", path, why.message);
        m->n_bytes += end - at;
        at = end < file.size ? end + m->separator.length : end;
        if (!status && !sm_pace_step(&m->pace, 1))
            status = sm_fail(m->error, SM_ERR_CANCELLED, "%s: cancelled", path);
    }
    sm_file_close(&file);
    return status;
}

/* The texts of tokens and merges, in one block. */
typedef struct spelling {
    sm_gguf_str *tokens, *merges;
    int32_t *types;
    char *text;
} spelling;

static sm_status spell(const maker *m, spelling *s) {
    const uint32_t n = sm_bpe_learner_tokens(m->learner), k = sm_bpe_learner_merges(m->learner);
    uint64_t bytes = 0, at = 0;
    uint32_t left, right;
    for (uint32_t i = 0; i < n; i++)
        bytes += sm_bpe_learner_token(m->learner, i, NULL);
    for (uint32_t i = 0; i < k; i++) {
        sm_bpe_learner_merge(m->learner, i, &left, &right);
        bytes += sm_bpe_learner_token(m->learner, left, NULL) + 1 +
                 sm_bpe_learner_token(m->learner, right, NULL);
    }
    s->tokens = sm_alloc_array(m->mem, n, sizeof *s->tokens);
    s->merges = sm_alloc_array(m->mem, k ? k : 1, sizeof *s->merges);
    s->types = sm_alloc_array(m->mem, n, sizeof *s->types);
    s->text = sm_alloc(m->mem, bytes);
    if (!s->tokens || !s->merges || !s->types || !s->text)
        return sm_fail(m->error, SM_ERR_NOMEM, "out of memory for a vocabulary of %u tokens", n);
    for (uint32_t i = 0; i < n; i++) {
        s->tokens[i] =
            (sm_gguf_str){s->text + at, sm_bpe_learner_token(m->learner, i, s->text + at)};
        at += s->tokens[i].length;
        s->types[i] = i == 0 ? SM_TOKEN_CONTROL : SM_TOKEN_NORMAL;
    }
    for (uint32_t i = 0; i < k; i++) {
        const uint64_t begin = at;
        sm_bpe_learner_merge(m->learner, i, &left, &right);
        at += sm_bpe_learner_token(m->learner, left, s->text + at);
        s->text[at++] = ' ';
        at += sm_bpe_learner_token(m->learner, right, s->text + at);
        s->merges[i] = (sm_gguf_str){s->text + begin, at - begin};
    }
    return SM_OK;
}

static sm_status write_file(const maker *m, const spelling *s, const char *path) {
    sm_gguf_writer *w;
    const char *pre = m->o.pre ? m->o.pre : "gpt-2";
    sm_status status =
        sm_gguf_writer_open(&w, m->mem, path, 3, SM_GGUF_DEFAULT_ALIGNMENT, m->error);
    if (status)
        return status;
    const uint32_t n = sm_bpe_learner_tokens(m->learner);
    sm_gguf_put_str(w, SM_K_ARCHITECTURE, "llama", 5);
    sm_gguf_put_str(w, SM_K_TOKENIZER_MODEL, "gpt2", 4);
    sm_gguf_put_str(w, "tokenizer.ggml.pre", pre, strlen(pre));
    sm_gguf_put_array(w, SM_K_TOKENS, SM_KEY_STRING, s->tokens, n);
    sm_gguf_put_array(w, "tokenizer.ggml.token_type", SM_KEY_INT32, s->types, n);
    sm_gguf_put_array(w, "tokenizer.ggml.merges", SM_KEY_STRING, s->merges,
                      sm_bpe_learner_merges(m->learner));
    sm_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 0);
    sm_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 0);
    sm_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true);
    return sm_gguf_writer_finish(w, m->error);
}

sm_status sm_vocabulary_train(const char *path, const char *const *text_paths, uint64_t n_texts,
                              const sm_vocabulary_options *options, sm_error *error) {
    maker m = {.error = error};
    if (!path || !text_paths || !n_texts)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_vocabulary_train: a path is NULL or no text");
    sm_status status = sm_options_take(&m.o, sizeof m.o, options, SM_OPTIONS_VOCABULARY, error);
    if (status)
        return status;
    m.pace = (sm_pace){.cancel = ask, .user = &m};
    m.separator.data = m.o.separator ? m.o.separator : "<|endoftext|>";
    m.separator.length = strlen(m.separator.data);
    if (!m.separator.length)
        return sm_fail(error, SM_ERR_ARGUMENT, "option separator is empty");
    status = sm_mem_create(&m.mem, NULL, 0, error);
    if (status)
        return status;
    const char *pre = m.o.pre ? m.o.pre : "gpt-2";
    spelling s = {0};
    sm_ask asked;
    sm_join_progress(&asked, &m.o.progress, &m.o.progress_user, m.o.cancel_flag);
    status =
        sm_bpe_learner_new(&m.learner, m.mem, (sm_str){pre, strlen(pre)}, &m.separator, 1, error);
    for (uint64_t i = 0; i < n_texts && !status; i++)
        status = text_paths[i] ? add_file(&m, text_paths[i])
                               : sm_fail(error, SM_ERR_ARGUMENT, "text path %llu is NULL",
                                         (unsigned long long)i);
    if (!status && !m.n_bytes)
        status = sm_fail(error, SM_ERR_FORMAT, "%s: there is no text to learn from", text_paths[0]);
    if (!status)
        status = sm_bpe_learner_run(m.learner, m.o.n_vocab, m.o.min_count, m.o.progress,
                                    m.o.progress_user, error);
    if (!status)
        status = spell(&m, &s);
    if (!status)
        status = write_file(&m, &s, path);
    sm_free(m.mem, s.tokens);
    sm_free(m.mem, s.merges);
    sm_free(m.mem, s.types);
    sm_free(m.mem, s.text);
    sm_bpe_learner_free(m.learner);
    sm_mem_destroy(m.mem);
    return status;
}
