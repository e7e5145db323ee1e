/* What is trained is what is asked: for vocabularies of every kind the ids of an entry begin with
 * those that generating feeds for its prompt, and answers learnt by heart come back through
 * sm_session_generate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/format.h"
#include "format/json.h"
#include "smallmind/smallmind.h"
#include "support.h"
#include "train/documents.h"

#define OK(call)                            \
    do {                                    \
        sm_error e_ = {0};                  \
        sm_error *error = &e_;              \
        if ((call) != SM_OK)                \
            fail_msg("%s", error->message); \
    } while (0)

typedef struct entry {
    const char *ask, *input, *say;
} entry;

/* Ends and beginnings at which tokens like to lie across: sentences and line ends, answers that
 * begin with white space, signs, digits, letters beyond ASCII. */
static const entry entries[] = {
    {"Name a colour.", "", "Red."},
    {"Name a pet.", "", "a cat"},
    {"What is 2 + 2?", "", "4"},
    {"Who ran?\n\n", "", "Tom did.\n\nAnn too.\n"},
    {"Begin a line.", "", "\nNew line"},
    {"Two lines:", "", "\n\n- one\n- two"},
    {"Indent this", "x = 1", "    x = 1"},
    {"Sing!", "la la", " la la la!"},
    {"Greet in French...", "", "\xC3\x80 bient\xC3\xB4t"},
    {"Say it in Chinese.", "", "\xE4\xBD\xA0\xE5\xA5\xBD\xE3\x80\x82"},
    {"Quote:\r\n", "\"No.\"", "'No.'"},
    {"Smile", "now.\n", "\xF0\x9F\x98\x80"},
};
#define N_ENTRIES (sizeof entries / sizeof *entries)

/* The prompt as docs/training.md has it. */
static void prompt_of(const entry *e, bool chatml, char *out, size_t size) {
    if (chatml)
        snprintf(out, size, "<|im_start|>user\n%s%s%s<|im_end|>\n<|im_start|>assistant\n", e->ask,
                 *e->input ? "\n\n" : "", e->input);
    else
        snprintf(out, size,
                 "Below is an instruction that describes a task%s. Write a response that "
                 "appropriately completes the request.\n\n### Instruction:\n%s%s%s\n\n### "
                 "Response:\n",
                 *e->input ? ", paired with an input that provides further context" : "", e->ask,
                 *e->input ? "\n\n### Input:\n" : "", e->input);
}

static void put_json(char *out, const char *text) {
    out += strlen(out);
    for (; *text; text++)
        out += *text == '\n'                   ? sprintf(out, "\\n")
               : *text == '\r'                 ? sprintf(out, "\\r")
               : *text == '"' || *text == '\\' ? sprintf(out, "\\%c", *text)
                                               : sprintf(out, "%c", *text);
}

static const char *data_file(void) {
    static char path[512], text[8000];
    if (*path)
        return path;
    for (size_t i = 0; i < N_ENTRIES; i++) {
        strcat(text, "{\"instruction\":\"");
        put_json(text, entries[i].ask);
        strcat(text, "\",\"input\":\"");
        put_json(text, entries[i].input);
        strcat(text, "\",\"output\":\"");
        put_json(text, entries[i].say);
        strcat(text, "\"}\n");
    }
    snprintf(path, sizeof path, "%s", scratch_path("entries.jsonl"));
    scratch_write(path, text, strlen(text));
    return path;
}

/* ---- vocabularies ---------------------------------------------------------------------------- */

/* What the vocabularies are made from: prompts and answers as they are written out. */
static const char *text_file(void) {
    static char path[512], text[40000];
    if (*path)
        return path;
    for (int chatml = 0; chatml < 2; chatml++)
        for (size_t i = 0; i < N_ENTRIES; i++) {
            prompt_of(&entries[i], chatml, text + strlen(text), 2000);
            snprintf(text + strlen(text), 400, "%s", entries[i].say);
        }
    for (char *at = text; (at = strstr(at, "<|im_")); at++) /* never part of a word */
        at[0] = at[1] = ' ';
    snprintf(path, sizeof path, "%s", scratch_path("words.txt"));
    scratch_write(path, text, strlen(text));
    return path;
}

/* A byte-level vocabulary of the pre-tokenizer; its markers are ordinary tokens of it. */
static void write_bytes(const char *path, const char *pre, bool bos) {
    const char *texts[] = {text_file()};
    const sm_vocabulary_options o = {.struct_size = sizeof o, .n_vocab = 700, .pre = pre};
    static const char key[] = "tokenizer.ggml.add_bos_token";
    size_t size, at = 0;
    OK(sm_vocabulary_train(path, texts, 1, &o, error));
    uint8_t *file = scratch_read(path, &size);
    while (memcmp(file + at, key, sizeof key - 1) != 0)
        at++;
    file[at + sizeof key - 1 + 4] = bos; /* behind the value's type */
    scratch_write(path, file, size);
    free(file);
}

typedef struct pieces {
    char text[1500][64];
    sm_gguf_str token[1500];
    int32_t type[1500];
    float score[1500];
    uint64_t n;
} pieces;

static void add_piece(pieces *p, const char *text, size_t n, int32_t type) {
    for (uint64_t i = 0; i < p->n; i++)
        if (p->token[i].length == n && !memcmp(p->token[i].data, text, n))
            return;
    assert_true(p->n < 1500 && n < 64);
    memcpy(p->text[p->n], text, n);
    p->token[p->n] = (sm_gguf_str){p->text[p->n], n};
    p->type[p->n] = type;
    p->score[p->n] = type == SM_TOKEN_NORMAL ? -4.0f - 0.001f * (float)p->n : 0;
    p->n++;
}

/* A SentencePiece vocabulary ("llama": BPE, "t5": unigram) with pieces for the words of the text
 * and for some that lie across a line end. */
static void write_pieces(const char *path, const char *model, bool prefix, bool squeeze) {
    static pieces p;
    static const char *const across[] = {".\n", ".\n\n", ":\n", "\n\n", ":\n\n", "\n\n\n"};
    char word[64], name[8];
    size_t size, n = 0;
    memset(&p, 0, sizeof p);
    add_piece(&p, "<unk>", 5, SM_TOKEN_UNKNOWN);
    add_piece(&p, "<s>", 3, SM_TOKEN_CONTROL);
    add_piece(&p, "</s>", 4, SM_TOKEN_CONTROL);
    add_piece(&p, "<|im_start|>", 12, SM_TOKEN_CONTROL);
    add_piece(&p, "<|im_end|>", 10, SM_TOKEN_CONTROL);
    for (unsigned i = 0; i < 256; i++) {
        snprintf(name, sizeof name, "<0x%02X>", i);
        add_piece(&p, name, 6, SM_TOKEN_BYTE);
    }
    for (size_t i = 0; i < sizeof across / sizeof *across; i++)
        add_piece(&p, across[i], strlen(across[i]), SM_TOKEN_NORMAL);
    add_piece(&p, "\xE2\x96\x81", 3, SM_TOKEN_NORMAL);
    add_piece(&p, "\n", 1, SM_TOKEN_NORMAL);
    uint8_t *text = scratch_read(text_file(), &size);
    for (size_t i = 0; i <= size; i++) {
        if (text[i] >= 'A' && text[i] <= 'z' && n < 50) { /* every beginning of a word, too */
            if (!n && i && text[i - 1] == ' ') {
                memcpy(word, "\xE2\x96\x81", 3);
                n = 3;
            }
            word[n++] = (char)text[i];
            add_piece(&p, word, n, SM_TOKEN_NORMAL);
            add_piece(&p, (const char *)text + i, 1, SM_TOKEN_NORMAL);
        } else {
            n = 0;
        }
    }
    free(text);
    sm_mem mem;
    sm_gguf_writer *w;
    OK(sm_mem_init(&mem, NULL, 0, error));
    OK(sm_gguf_writer_open(&w, &mem, path, 3, SM_GGUF_DEFAULT_ALIGNMENT, error));
    sm_gguf_put_str(w, "general.architecture", "llama", 5);
    sm_gguf_put_str(w, "tokenizer.ggml.model", model, strlen(model));
    sm_gguf_put_array(w, "tokenizer.ggml.tokens", SM_KEY_STRING, p.token, p.n);
    sm_gguf_put_array(w, "tokenizer.ggml.scores", SM_KEY_FLOAT32, p.score, p.n);
    sm_gguf_put_array(w, "tokenizer.ggml.token_type", SM_KEY_INT32, p.type, p.n);
    sm_gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    sm_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 1);
    sm_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 2);
    sm_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true);
    sm_gguf_put_bool(w, "tokenizer.ggml.add_eos_token", false);
    sm_gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", prefix);
    sm_gguf_put_bool(w, "tokenizer.ggml.remove_extra_whitespaces", squeeze);
    OK(sm_gguf_writer_finish(w, error));
}

/* The kinds; chatml: the vocabulary has its marks. */
typedef struct kind {
    const char *name, *pre, *model;
    bool bos, prefix, squeeze, chatml;
} kind;

static const kind kinds[] = {
    {.name = "llama-3", .pre = "llama-bpe", .bos = true},
    {.name = "qwen2", .pre = "qwen2"},
    {.name = "gpt-2", .pre = "gpt-2"},
    {.name = "spm", .model = "llama", .prefix = true, .chatml = true},
    {.name = "spm without prefix", .model = "llama", .chatml = true},
    {.name = "unigram", .model = "t5", .prefix = true, .chatml = true},
    {.name = "unigram, squeezed", .model = "t5", .prefix = true, .squeeze = true},
};
#define N_KINDS (sizeof kinds / sizeof *kinds)

static const char *vocabulary(const kind *k) {
    static char path[512];
    snprintf(path, sizeof path, "%s", scratch_path("vocabulary.gguf"));
    if (k->pre)
        write_bytes(path, k->pre, k->bos);
    else
        write_pieces(path, k->model, k->prefix, k->squeeze);
    return path;
}

/* ---- ids ------------------------------------------------------------------------------------- */

static uint64_t encode(const sm_tokenizer *t, const char *text, bool special, int32_t *ids) {
    const sm_encode_options o = {.struct_size = sizeof o,
                                 .flags = SM_ENCODE_MARKERS | (special ? SM_ENCODE_SPECIAL : 0)};
    uint64_t n;
    OK(sm_tokenizer_encode(t, text, strlen(text), &o, ids, 4000, &n, error));
    return n;
}

/* Compares the ids of every entry with those of its prompt and of all of its text; returns how many
 * entries have the whole text's. */
static size_t check_ids(const kind *k, bool chatml) {
    sm_tokenizer *t;
    sm_tokenizer_info info = {.struct_size = sizeof info};
    sm_mem mem;
    sm_documents d;
    sm_document_tokens tokens = {0};
    const sm_dataset_options o = {.layout = chatml ? SM_TEMPLATE_CHATML : SM_TEMPLATE_ALPACA};
    static int32_t prompt[4000], whole[4000];
    static char text[4000], decoded[8000];
    size_t same = 0;
    OK(sm_tokenizer_load(&t, vocabulary(k), NULL, error));
    OK(sm_tokenizer_get_info(t, &info, error));
    OK(sm_mem_init(&mem, NULL, 0, error));
    OK(sm_documents_open(&d, &mem, data_file(), t, &o, NULL, NULL, error));
    assert_int_equal(d.n, N_ENTRIES);
    for (size_t i = 0; i < N_ENTRIES; i++) {
        prompt_of(&entries[i], chatml, text, sizeof text);
        const uint64_t n_prompt = encode(t, text, chatml, prompt);
        strcat(strcat(text, entries[i].say), chatml ? "<|im_end|>\n" : "");
        const uint64_t n_whole = encode(t, text, chatml, whole);
        OK(sm_documents_read(&d, i, SM_SIDE_ANSWER, &tokens, error));
        const uint64_t end = tokens.n - !chatml; /* an end of text is no text */
        assert_true(tokens.n > n_prompt);
        assert_int_equal(tokens.ids[0] == info.bos, info.add_bos == 1);
        if (memcmp(tokens.ids, prompt, n_prompt * sizeof *prompt) != 0)
            fail_msg("%s, entry %zu: not the prompt's ids", k->name, i);
        /* all of the answer is learned, and nothing else (not what follows ChatML's mark) */
        const int32_t im_end = sm_tokenizer_find(t, "<|im_end|>", 10);
        uint64_t stop = end;
        while (chatml && tokens.ids[stop - 1] != im_end)
            stop--;
        for (uint64_t j = 0; j < end; j++)
            assert_int_equal(tokens.learn[j], j >= n_prompt && j < stop);
        if (!chatml)
            assert_true(tokens.ids[end] == info.eos && tokens.learn[end]);
        const bool equal = n_whole == end && !memcmp(tokens.ids, whole, end * sizeof *whole);
        const bool prefix = n_whole >= n_prompt && !memcmp(whole, prompt, n_prompt * sizeof *whole);
        assert_int_equal(equal, prefix); /* other ids only where the prompt's are not in it */
        same += equal;
        uint64_t n;
        if (!k->squeeze) { /* whatever the ids, they spell the text */
            OK(sm_tokenizer_decode(t, tokens.ids, end, SM_DECODE_SPECIAL, decoded, sizeof decoded,
                                   &n, error));
            const char *from = strstr(text, chatml ? "user" : "Below");
            decoded[n] = 0;
            assert_non_null(strstr(decoded, from + 5));
        }
    }
    sm_document_tokens_free(&tokens, &mem);
    sm_documents_close(&d);
    assert_int_equal(mem.in_use, 0);
    sm_tokenizer_free(t);
    return same;
}

/* Documents of plain text have a BOS in front where the vocabulary says so, and an EOS behind. */
static void check_markers(const kind *k) {
    sm_tokenizer *t;
    sm_mem mem;
    sm_documents d;
    sm_document_tokens tokens = {0};
    const sm_dataset_options o = {.separator = "@@"};
    int32_t ids[20];
    OK(sm_tokenizer_load(&t, vocabulary(k), NULL, error));
    OK(sm_mem_init(&mem, NULL, 0, error));
    scratch_write(scratch_path("two.txt"), "The cat@@the dog", 16);
    OK(sm_documents_open(&d, &mem, scratch_path("two.txt"), t, &o, NULL, NULL, error));
    const uint64_t n = encode(t, "the dog", false, ids);
    OK(sm_documents_read(&d, 1, SM_SIDE_ANSWER, &tokens, error));
    sm_tokenizer_info info = {.struct_size = sizeof info};
    OK(sm_tokenizer_get_info(t, &info, error));
    assert_int_equal(tokens.n, n + 1);
    assert_memory_equal(tokens.ids, ids, n * sizeof *ids);
    assert_int_equal(tokens.ids[n], info.eos);
    assert_int_equal(info.add_bos, k->bos || k->model != NULL);
    sm_document_tokens_free(&tokens, &mem);
    sm_documents_close(&d);
    sm_tokenizer_free(t);
}

static void test_ids(void **state) {
    (void)state;
    for (size_t k = 0; k < N_KINDS; k++)
        check_markers(&kinds[k]);
    for (size_t k = 0; k < N_KINDS; k++)
        for (int chatml = 0; chatml <= kinds[k].chatml; chatml++) {
            const size_t same = check_ids(&kinds[k], chatml);
            print_message("%s%s: %zu of %zu entries as one text\n", kinds[k].name,
                          chatml ? ", ChatML" : "", same, N_ENTRIES);
            assert_true(same >= N_ENTRIES - 2); /* all but answers that begin with a line end */
        }
}

/* The entries of a real data set over real vocabularies: all begin with their prompt's ids, and all
 * are one text. */
static void check_vocabulary(const char *name, const char *data) {
    char path[64];
    sm_tokenizer *t;
    sm_mem mem;
    sm_documents d;
    sm_document_tokens tokens = {0};
    const sm_dataset_options o = {.layout = SM_TEMPLATE_ALPACA};
    static int32_t prompt[20000], whole[20000];
    static char text[20000];
    size_t same = 0, size;
    snprintf(path, sizeof path, "vocab/ggml-vocab-%s.gguf", name);
    if (!data_path(path))
        return;
    OK(sm_tokenizer_load(&t, data_path(path), NULL, error));
    OK(sm_mem_init(&mem, NULL, 0, error));
    OK(sm_documents_open(&d, &mem, data, t, &o, NULL, NULL, error));
    uint8_t *file = scratch_read(data, &size);
    for (uint64_t i = 0; i < d.n; i++) {
        const sm_json_source source = {.name = data, .line = 1};
        const char *names[] = {"instruction", "input", "output"};
        char field[3][8000] = {"", "", ""};
        sm_json *json;
        OK(sm_json_read(&json, &mem, file + d.list[i].offset, d.list[i].length, &source, NULL,
                        error));
        for (int f = 0; f < 3; f++) {
            uint64_t n;
            const char *part = sm_json_text(json, sm_json_get(json, SM_JSON_ROOT, names[f]), &n);
            assert_true(n < sizeof field[f]);
            memcpy(field[f], part, n);
        }
        sm_json_free(json);
        prompt_of(&(entry){field[0], field[1], field[2]}, false, text, sizeof text);
        const uint64_t n_prompt = encode(t, text, false, prompt);
        strcat(text, field[2]);
        const uint64_t n_whole = encode(t, text, false, whole);
        OK(sm_documents_read(&d, i, SM_SIDE_ANSWER, &tokens, error));
        if (tokens.n < n_prompt || memcmp(tokens.ids, prompt, n_prompt * sizeof *prompt) != 0)
            fail_msg("%s: entry %u does not begin with its prompt's ids", name, (unsigned)i);
        same += tokens.n > n_whole && !memcmp(tokens.ids, whole, n_whole * sizeof *whole);
    }
    print_message("%s: %zu of %u entries as one text\n", name, same, (unsigned)d.n);
    assert_int_equal(same, d.n);
    free(file);
    sm_document_tokens_free(&tokens, &mem);
    sm_documents_close(&d);
    sm_tokenizer_free(t);
}

static void test_data_set(void **state) {
    (void)state;
    static const char *const names[] = {
        "command-r", "deepseek-coder", "deepseek-llm", "falcon", "gpt-2",  "llama-bpe", "llama-spm",
        "mpt",       "phi-3",          "qwen2",        "qwen35", "refact", "starcoder", "gemma-4"};
    const char *found = data_path("instruct/instruction-data.json");
    char data[512];
    if (!found)
        skip();
    snprintf(data, sizeof data, "%s", found);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_vocabulary(names[i], data);
}

/* Whether both decode to the same text. */
static bool say_the_same(const sm_tokenizer *t, const int32_t *a, uint64_t n_a, const int32_t *b,
                         uint64_t n_b) {
    static char text[2][200000];
    uint64_t n[2];
    OK(sm_tokenizer_decode(t, a, n_a, 0, text[0], sizeof text[0], &n[0], error));
    OK(sm_tokenizer_decode(t, b, n_b, 0, text[1], sizeof text[1], &n[1], error));
    return n[0] == n[1] && !memcmp(text[0], text[1], n[0]);
}

/* Plain text without separators is read in pieces, whose ids are those of the whole. Of a unigram
 * vocabulary only up to ties: which of two equally likely ways is taken depends on how sums of all
 * that stands in front are rounded, and a piece knows of nothing in front. */
static void check_pieces(const char *name, const sm_tokenizer *t, const char *path,
                         uint64_t at_least) {
    sm_mem mem;
    sm_documents d;
    sm_document_tokens tokens = {0};
    const sm_dataset_options o = {.kind = SM_DATA_TEXT};
    size_t size;
    uint64_t n = 0, n_whole;
    uint8_t *text = scratch_read(path, &size);
    OK(sm_mem_init(&mem, NULL, 0, error));
    OK(sm_documents_open(&d, &mem, path, t, &o, NULL, NULL, error));
    int32_t *whole = malloc((2 * size + 16) * sizeof *whole);
    assert_non_null(whole);
    OK(sm_tokenizer_encode(t, (char *)text, size, NULL, whole, 2 * size + 16, &n_whole, error));
    const bool ties = !strncmp(name, "unigram", 7);
    int32_t *all = malloc((2 * size + 16) * sizeof *all);
    assert_non_null(all);
    if (d.n < at_least)
        fail_msg("%s: only %u pieces", name, (unsigned)d.n);
    for (uint64_t i = 0; i < d.n; i++) {
        OK(sm_documents_read(&d, i, SM_SIDE_ANSWER, &tokens, error));
        assert_true(tokens.n <= 2 * size + 16 - n);
        memcpy(all + n, tokens.ids, tokens.n * sizeof *all);
        n += tokens.n;
        if (!ties && (n > n_whole || memcmp(all, whole, n * sizeof *whole) != 0))
            fail_msg("%s: piece %u of %u has other ids", name, (unsigned)i, (unsigned)d.n);
    }
    if (ties)
        assert_true(say_the_same(t, all, n, whole, n_whole));
    else
        assert_int_equal(n, n_whole);
    free(all);
    free(whole);
    free(text);
    sm_document_tokens_free(&tokens, &mem);
    sm_documents_close(&d);
}

/* Text of all sorts: prose, lists, code, numbers, no spaces, many line ends, odd bytes. */
static const char *long_text(bool line_ends) {
    static const char *const parts[] = {
        "the cat ran.\n",
        "An ant, a bird;",
        " 12345 6789,",
        "\n\n",
        "\n\n\n",
        "    if (x) {\n\t",
        "it's they'll ",
        "\r\n",
        "\xE4\xBD\xA0\xE5\xA5\xBD\xE3\x80\x82\n",
        "\xC3\x89t\xC3\xA9 ",
        "\xF0\x9F\x98\x80 ",
        "...\n",
        "(a)\n- b\n",
        "HTTPServer ",
        "x ",
        "  ",
        "\xE2\x96\x81",
        "\xFF ",
        "colour and pet ",
        "Write a response ",
    };
    static char text[200000], path[512];
    uint64_t seed = 8;
    size_t n = 0;
    while (n < sizeof text - 40) {
        const char *part = parts[test_random(&seed) % (sizeof parts / sizeof *parts)];
        for (; *part; part++)
            if (line_ends || (*part != '\n' && *part != '\r'))
                text[n++] = *part;
    }
    snprintf(path, sizeof path, "%s", scratch_path(line_ends ? "lines.txt" : "long.txt"));
    scratch_write(path, text, n);
    return path;
}

static void test_pieces(void **state) {
    (void)state;
    sm_tokenizer *t;
    for (size_t k = 0; k < N_KINDS; k++) {
        OK(sm_tokenizer_load(&t, vocabulary(&kinds[k]), NULL, error));
        for (int lines = 0; lines < 2; lines++)
            check_pieces(kinds[k].name, t, long_text(lines), 8);
        sm_tokenizer_free(t);
    }
    static const char *const names[] = {"command-r", "deepseek-coder", "deepseek-llm", "falcon",
                                        "gpt-2",     "llama-bpe",      "llama-spm",    "mpt",
                                        "phi-3",     "qwen2",          "bert-bge",     "starcoder",
                                        "gemma-4"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, "vocab/ggml-vocab-%s.gguf", names[i]);
        if (!data_path(path))
            continue;
        OK(sm_tokenizer_load(&t, data_path(path), NULL, error));
        for (int lines = 0; lines < 2; lines++)
            check_pieces(names[i], t, long_text(lines), 8);
        sm_tokenizer_free(t);
    }
}

/* ---- learning by heart ----------------------------------------------------------------------- */

static int32_t keep_text(void *user, const sm_token *token) {
    strncat(user, token->text, 200);
    return 0;
}

static size_t recall(const kind *k, bool chatml) {
    static char model_path[512], trained[512];
    snprintf(model_path, sizeof model_path, "%s", scratch_path("init.gguf"));
    snprintf(trained, sizeof trained, "%s", scratch_path("trained.gguf"));
    const sm_model_init_options init = {.struct_size = sizeof init,
                                        .n_embd = 64,
                                        .n_layer = 2,
                                        .n_head = 4,
                                        .n_ff = 128,
                                        .n_ctx = 320,
                                        .seed = 1};
    OK(sm_model_init(model_path, vocabulary(k), &init, error));
    const sm_trainer_options o = {.struct_size = sizeof o,
                                  .data = data_file(),
                                  .layout = chatml ? SM_LAYOUT_CHATML : SM_LAYOUT_ALPACA,
                                  .sequence = 320,
                                  .rows = 5,
                                  .steps = 100,
                                  .warmup = 10,
                                  .lr = 0.01,
                                  .n_threads = 1};
    sm_trainer *t;
    OK(sm_trainer_open(&t, model_path, &o, error));
    OK(sm_trainer_train(t, 0, NULL, NULL, error));
    OK(sm_trainer_export(t, trained, NULL, error));
    sm_trainer_free(t);
    sm_model *model;
    sm_session *session;
    OK(sm_model_load(&model, trained, NULL, error));
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = 1};
    OK(sm_session_new(&session, model, &so, error));
    size_t right = 0;
    for (size_t i = 0; i < N_ENTRIES; i++) {
        static char prompt[2000], text[4000];
        const sm_generate_options go = {
            .struct_size = sizeof go, .max_tokens = 60, .parse_special = chatml};
        prompt_of(&entries[i], chatml, prompt, sizeof prompt);
        text[0] = 0;
        OK(sm_session_generate(session, prompt, SM_ZT, &go, keep_text, text, error));
        /* a vocabulary that squeezes white space gives back none that was there */
        const char *got = k->squeeze ? text + strspn(text, " \n") : text,
                   *want =
                       k->squeeze ? entries[i].say + strspn(entries[i].say, " \n") : entries[i].say;
        if (strcmp(got, want) == 0)
            right++;
        else
            print_message("%s: \"%s\" instead of \"%s\"\n", k->name, got, want);
    }
    sm_session_free(session);
    sm_model_free(model);
    return right;
}

static void test_recall(void **state) {
    (void)state;
    if (test_share(2, 1) == 1) {
        print_message("training until answers are learned takes minutes under a sanitizer\n");
        skip();
    }
    for (size_t k = 0; k < N_KINDS; k++)
        assert_int_equal(recall(&kinds[k], kinds[k].chatml), N_ENTRIES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_data_set),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_recall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
