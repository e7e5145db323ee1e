/* Training data: documents, order, packing, instruction formats, broken files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "train/train.h"

/* A vocabulary of bytes: id = byte + 3, then two marks. */
#define BOS 1
#define EOS 2
#define BYTES 3
#define IM_START 259
#define IM_END 260
#define N_VOCAB 261

static sm_mem mem;
static sm_tokenizer *tokenizer;

static int set_up(void **state) {
    (void)state;
    static char names[256][8];
    static sm_str tokens[N_VOCAB];
    static int32_t types[N_VOCAB];
    static float scores[N_VOCAB];
    const char *special[] = {"<unk>", "<s>", "</s>"};
    for (int i = 0; i < 3; i++) {
        tokens[i] = (sm_str){special[i], strlen(special[i])};
        types[i] = i ? SM_TOKEN_CONTROL : SM_TOKEN_UNKNOWN;
    }
    for (int i = 0; i < 256; i++) {
        snprintf(names[i], sizeof names[i], "<0x%02X>", (unsigned)i);
        tokens[BYTES + i] = (sm_str){names[i], 6};
        types[BYTES + i] = SM_TOKEN_BYTE;
    }
    tokens[IM_START] = (sm_str){"<|im_start|>", 12};
    tokens[IM_END] = (sm_str){"<|im_end|>", 10};
    types[IM_START] = types[IM_END] = SM_TOKEN_CONTROL;
    const sm_vocab vocab = {.model = {"llama", 5},
                            .n_tokens = N_VOCAB,
                            .tokens = tokens,
                            .scores = scores,
                            .types = types,
                            .bos = BOS,
                            .eos = EOS,
                            .unk = 0,
                            .sep = SM_UNSET,
                            .pad = SM_UNSET,
                            .mask = SM_UNSET,
                            .cls = SM_UNSET,
                            .eot = SM_UNSET,
                            .eom = SM_UNSET,
                            .add_bos = 1,
                            .add_eos = 0,
                            .add_space_prefix = 0,
                            .remove_extra_whitespaces = SM_UNSET,
                            .escape_whitespaces = 0,
                            .ignore_merges = SM_UNSET,
                            .lowercase = SM_UNSET,
                            .strip_accents = SM_UNSET};
    sm_error error;
    if (sm_mem_init(&mem, NULL, 0, NULL) || sm_tokenizer_build(&tokenizer, &mem, &vocab, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    sm_tokenizer_free(tokenizer);
    return 0;
}

static const sm_dataset_options plain = {.sequence = 16, .rows = 2, .separator = "<|endoftext|>"};

static sm_status open_text(sm_dataset **out, const char *name, const char *text,
                           const sm_dataset_options *options, sm_error *error) {
    const char *path = scratch_path(name);
    scratch_write(path, text, strlen(text));
    return sm_dataset_open(out, &mem, path, tokenizer, options, NULL, NULL, error);
}

static void check_batch(const sm_train_batch *b, const sm_dataset_options *o,
                        const sm_dataset *dataset) {
    assert_int_equal(b->n_tokens, o->rows * o->sequence);
    assert_int_equal(b->span_begin[0], 0);
    assert_int_equal(b->span_begin[b->n_spans], b->n_tokens);
    assert_true(b->n_spans <= sm_dataset_max_spans(dataset));
    for (uint32_t i = 0; i < b->n_spans; i++) {
        assert_true(b->span_begin[i] < b->span_begin[i + 1]);
        /* a span lies in one row, and inside it targets are the tokens shifted */
        assert_int_equal(b->span_begin[i] / o->sequence, (b->span_begin[i + 1] - 1) / o->sequence);
        for (uint32_t t = b->span_begin[i]; t + 1 < b->span_begin[i + 1]; t++)
            assert_true(b->targets[t] == -1 || b->targets[t] == b->ids[t + 1]);
    }
}

/* Every document comes once an epoch, whole, between its markers. */
static void test_text(void **state) {
    (void)state;
    enum { DOCUMENTS = 40 };
    char text[4000] = "";
    for (int i = 0; i < DOCUMENTS; i++) /* lengths 1 .. 40, letters tell which */
        snprintf(text + strlen(text), sizeof text - strlen(text), "%.*s\n<|endoftext|>\n", i + 1,
                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    sm_dataset *d;
    sm_error error;
    assert_int_equal(open_text(&d, "text.txt", text, &plain, &error), SM_OK);
    sm_dataset_info info;
    sm_dataset_get_info(d, &info);
    assert_int_equal(info.train_documents, DOCUMENTS);
    assert_int_equal(info.validation_documents, 0);
    assert_int_equal(info.train_bytes, DOCUMENTS * (DOCUMENTS + 1) / 2);
    int seen[DOCUMENTS + 1] = {0}, order[DOCUMENTS], n = 0, length = 0;
    sm_train_batch b;
    while (n < DOCUMENTS) {
        assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
        check_batch(&b, &plain, d);
        for (uint32_t t = 0; t < b.n_tokens && n < DOCUMENTS; t++) {
            if (b.targets[t] == EOS) {
                assert_int_equal(seen[length]++, 0);
                order[n++] = length;
                length = 0;
            } else if (b.targets[t] != -1) {
                assert_int_equal(b.targets[t], BYTES + 'a');
                length++;
            }
        }
    }
    int in_order = 0;
    for (int i = 0; i < DOCUMENTS; i++)
        in_order += order[i] == i + 1;
    assert_true(in_order < DOCUMENTS / 2); /* shuffled */
    sm_dataset_free(d);
}

/* A long document goes on in the next row; its tokens are all there, none twice. */
static void test_long_document(void **state) {
    (void)state;
    char text[300];
    for (int i = 0; i < 299; i++)
        text[i] = (char)('A' + i % 26);
    text[299] = 0;
    sm_dataset *d;
    sm_error error;
    sm_train_batch b;
    assert_int_equal(open_text(&d, "long.txt", text, &plain, &error), SM_OK);
    int n = 0;
    while (n < 298) { /* without a separator: no markers, the first byte is not predicted */
        assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
        check_batch(&b, &plain, d);
        for (uint32_t t = 0; t < b.n_tokens && n < 298; t++) {
            assert_int_equal(b.ids[t], BYTES + text[n]);
            assert_int_equal(b.targets[t], BYTES + text[++n]);
        }
    }
    sm_dataset_free(d);
}

/* A cursor put aside brings back the same batches; seeds differ in order. */
static void test_cursor(void **state) {
    (void)state;
    char text[6000] = "";
    for (int i = 0; i < 60; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "story %d of %d<|endoftext|>", i,
                 i * i);
    sm_dataset *d;
    sm_error error;
    sm_train_batch b;
    assert_int_equal(open_text(&d, "cursor.txt", text, &plain, &error), SM_OK);
    int32_t kept[60][32];
    uint32_t spans[60];
    sm_data_cursor cursor = {0};
    for (int i = 0; i < 60; i++) {
        if (i == 23)
            sm_dataset_cursor(d, &cursor);
        assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
        memcpy(kept[i], b.ids, sizeof kept[i]);
        spans[i] = b.n_spans;
    }
    sm_data_cursor end;
    sm_dataset_cursor(d, &end);
    assert_true(end.epoch >= 1);
    sm_dataset_free(d);
    assert_int_equal(open_text(&d, "cursor.txt", text, &plain, &error), SM_OK);
    assert_int_equal(sm_dataset_seek(d, &cursor, &error), SM_OK);
    for (int i = 23; i < 60; i++) {
        assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
        assert_memory_equal(kept[i], b.ids, sizeof kept[i]);
        assert_int_equal(spans[i], b.n_spans);
    }
    cursor.position = 1000;
    assert_int_equal(sm_dataset_seek(d, &cursor, &error), SM_ERR_ARGUMENT);
    sm_dataset_free(d);
    sm_dataset_options other = plain;
    other.seed = 1;
    assert_int_equal(open_text(&d, "cursor.txt", text, &other, &error), SM_OK);
    assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
    assert_memory_not_equal(kept[0], b.ids, sizeof kept[0]);
    sm_dataset_free(d);
}

/* The last documents are kept back, come once and never in training. */
static void test_validation(void **state) {
    (void)state;
    char text[3000] = "";
    for (int i = 0; i < 50; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%c%c%c%c<|endoftext|>\n",
                 i < 45 ? 'a' : 'Z', 'x', 'x', 'x');
    sm_dataset_options o = plain;
    o.validation = 0.1;
    sm_dataset *d;
    sm_error error;
    sm_train_batch b;
    assert_int_equal(open_text(&d, "validation.txt", text, &o, &error), SM_OK);
    sm_dataset_info info;
    sm_dataset_get_info(d, &info);
    assert_int_equal(info.train_documents, 45);
    assert_int_equal(info.validation_documents, 5);
    assert_int_equal(info.validation_bytes, 20);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
        for (uint32_t t = 0; t < b.n_tokens; t++)
            assert_int_not_equal(b.ids[t], BYTES + 'Z');
    }
    for (int pass = 0; pass < 2; pass++) {
        int found = 0, targets = 0;
        bool more = true;
        for (int i = 0; more; i++) {
            assert_int_equal(sm_dataset_validation(d, i == 0, &b, &more, &error), SM_OK);
            for (uint32_t t = 0; more && t < b.n_tokens; t++) {
                found += b.targets[t] == BYTES + 'Z';
                targets += b.targets[t] != -1;
            }
            if (more)
                check_batch(&b, &o, d);
        }
        assert_int_equal(found, 5);
        assert_int_equal(targets, 5 * 5); /* four bytes and the end */
    }
    sm_dataset_free(d);
}

/* The whole batch as text, targets only: '.' where nothing is to be learned. */
static void learned(const sm_train_batch *b, char *text) {
    for (uint32_t t = 0; t < b->n_tokens; t++) {
        const int32_t id = b->targets[t];
        text[t] = id == -1         ? '.'
                  : id == EOS      ? '$'
                  : id == BYTES    ? '~'
                  : id == IM_END   ? '#'
                  : id == IM_START ? '@'
                                   : (char)(id - BYTES);
    }
    text[b->n_tokens] = 0;
}

/* Text that follows the dots. */
static const char *answer(const char *text) {
    return text + strspn(text, ".");
}

/* want: what is learned, up to the place where nothing is again. */
static void expect_answer(const char *file, const char *json, sm_data_template layout,
                          const char *want) {
    sm_dataset_options o = {.sequence = 400, .rows = 1, .layout = layout};
    sm_dataset *d;
    sm_error error;
    sm_train_batch b;
    static char text[401];
    if (open_text(&d, file, json, &o, &error))
        fail_msg("%s", error.message);
    assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
    check_batch(&b, &o, d);
    learned(&b, text);
    assert_memory_equal(answer(text), want, strlen(want));
    sm_dataset_free(d);
}

static void expect_error(const char *file, const char *text, sm_status want, const char *part) {
    sm_dataset *d;
    sm_error error;
    assert_int_equal(open_text(&d, file, text, &plain, &error), want);
    assert_null(d);
    if (!strstr(error.message, part) || !strstr(error.message, file))
        fail_msg("\"%s\" does not name %s and %s", error.message, file, part);
}

static void test_instruct(void **state) {
    (void)state;
    expect_answer("a.json", "[{\"instruction\":\"Add.\",\"input\":\"1 2\",\"output\":\"3!\"}]",
                  SM_TEMPLATE_ALPACA, "3!$.");
    expect_answer("a.jsonl", "\n{\"instruction\":\"Add.\",\"output\":\"<|im_end|>\"}\n\n",
                  SM_TEMPLATE_ALPACA, "<|im_end|>$."); /* data is text, never a mark */
    /* a byte-order mark and CR LF, as some editors write them */
    expect_answer("mark.jsonl", "\xEF\xBB\xBF{\"instruction\":\"I\",\"output\":\"O\"}\r\n",
                  SM_TEMPLATE_ALPACA, "O$.");
    expect_answer("mark.json", "\xEF\xBB\xBF\r\n[{\"instruction\":\"I\",\"output\":\"O\"}]\r\n",
                  SM_TEMPLATE_ALPACA, "O$.");
    expect_answer("b.jsonl",
                  "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\","
                  "\"content\":\"U\"},{\"role\":\"assistant\",\"content\":\"A1\"}]}",
                  SM_TEMPLATE_ALPACA, "A1$.");
    expect_answer("c.jsonl",
                  "{\"conversations\":[{\"from\":\"human\",\"value\":\"U\"},"
                  "{\"from\":\"gpt\",\"value\":\"\\u00e9\"}]}",
                  SM_TEMPLATE_CHATML, "\xc3\xa9#.");
    expect_answer("d.json", "[{\"instruction\":\"I\",\"input\":\"\",\"output\":\"O\"}]",
                  SM_TEMPLATE_CHATML, "O#.");
}

/* Entries are not divided: one that does not fit waits for the next row. */
static void test_instruct_rows(void **state) {
    (void)state;
    char json[4000] = "[";
    for (int i = 0; i < 10; i++)
        snprintf(json + strlen(json), sizeof json - strlen(json),
                 "%s{\"messages\":[{\"role\":\"user\",\"content\":\"%d\"},{\"role\":"
                 "\"assistant\",\"content\":\"answer\"}]}",
                 i ? ", " : "", i);
    strcat(json, "]");
    sm_dataset_options o = {.sequence = 120, .rows = 2};
    sm_dataset *d;
    sm_error error;
    sm_train_batch b;
    char text[241];
    assert_int_equal(open_text(&d, "rows.json", json, &o, &error), SM_OK);
    int answers = 0;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
        check_batch(&b, &o, d);
        learned(&b, text);
        for (const char *at = text; (at = strstr(at, "answer$")); at++)
            answers++;
        for (const char *at = text; (at = strchr(at, '$')); at++) /* none is a part */
            assert_true(at - text >= 6 && !memcmp(at - 6, "answer", 6));
    }
    assert_true(answers >= 20);
    o.loss_on_prompt = true;
    sm_dataset_free(d);
    assert_int_equal(open_text(&d, "rows.json", json, &o, &error), SM_OK);
    assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
    learned(&b, text);
    assert_memory_equal(text, "### Instruction:\n", 17);
    sm_dataset_free(d);
    o.sequence = 20; /* shorter than an entry: cut off, never stuck */
    assert_int_equal(open_text(&d, "rows.json", json, &o, &error), SM_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
        check_batch(&b, &o, d);
        assert_int_equal(b.n_spans, 2);
    }
    sm_dataset_free(d);
}

/* prompt: what all of an entry begins with. want: what is learned of it, without what lies
 * between. */
static void expect_whole(const char *file, const char *json, sm_data_kind kind,
                         sm_data_template layout, const char *prompt, const char *want) {
    sm_dataset_options o = {.kind = kind, .sequence = 600, .rows = 1, .layout = layout};
    sm_dataset *d;
    sm_error error;
    sm_train_batch b;
    static char all[601], text[601];
    uint32_t end = 0;
    for (int pass = 0; pass < 2; pass++) { /* everything, then what is learned */
        o.loss_on_prompt = pass == 0;
        if (open_text(&d, file, json, &o, &error))
            fail_msg("%s", error.message);
        assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
        learned(&b, pass ? text : all);
        end = b.span_begin[1];
        if (pass == 0 && memcmp(all, prompt, strlen(prompt)) != 0)
            fail_msg("\"%.*s\" instead of \"%s\"", (int)strlen(prompt) + 20, all, prompt);
        sm_dataset_free(d);
    }
    uint32_t n = 0; /* what is learned of the first one */
    for (uint32_t i = 0; i < end; i++)
        if (text[i] != '.')
            text[n++] = text[i];
    text[n] = 0;
    assert_string_equal(text, want);
}

#define ALPACA                                                                            \
    "Below is an instruction that describes a task. Write a response that appropriately " \
    "completes the request.\n\n### Instruction:\n"

/* Every layout that is read, and the fields that change what an entry means. A BOS in front is no
 * target, so the text begins with the first token of its own. */
static void test_layouts(void **state) {
    (void)state;
    const sm_data_kind any = SM_DATA_AUTO;
    expect_whole("plain.json",
                 "[{\"instruction\":\"I\",\"output\":\"O\",\"system\":\"\",\"history\":[]}]", any,
                 SM_TEMPLATE_ALPACA, ALPACA "I\n\n### Response:\nO$", "O$");
    expect_whole("system.json", "[{\"instruction\":\"I\",\"output\":\"O\",\"system\":\"S\"}]", any,
                 SM_TEMPLATE_ALPACA, "S\n\n### Instruction:\nI\n\n### Response:\nO$", "O$");
    expect_whole("history.json",
                 "[{\"instruction\":\"I\",\"input\":\"N\",\"output\":\"O\",\"system\":\"S\","
                 "\"history\":[[\"a\",\"b\"],[\"c\",\"d\"]]}]",
                 any, SM_TEMPLATE_ALPACA,
                 "S\n\n### Instruction:\na\n\n### Response:\nb$\n\n### Instruction:\nc\n\n### "
                 "Response:\nd$\n\n### Instruction:\nI\n\n### Input:\nN\n\n### Response:\nO$",
                 "b$d$O$");
    expect_whole(
        "history2.json", "[{\"instruction\":\"I\",\"output\":\"O\",\"history\":[[\"a\",\"b\"]]}]",
        any, SM_TEMPLATE_ALPACA,
        ALPACA "a\n\n### Response:\nb$\n\n### Instruction:\nI\n\n### Response:\nO$", "b$O$");
    expect_whole(
        "history3.json",
        "[{\"instruction\":\"I\",\"output\":\"O\",\"system\":\"S\",\"history\":[[\"a\",\"b\"]]}]",
        any, SM_TEMPLATE_CHATML,
        "@system\nS#\n@user\na#\n@assistant\nb#\n@user\nI#\n@assistant\nO#\n", "b#O#");
    expect_whole("weight.jsonl",
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\","
                 "\"content\":\"a\",\"weight\":0},{\"role\":\"user\",\"content\":\"v\"},{\"role\":"
                 "\"assistant\",\"content\":\"b\",\"weight\":1}]}",
                 any, SM_TEMPLATE_ALPACA, "### Instruction:\nu\n\n### Response:\n", "b$");
    expect_whole("shares.jsonl",
                 "{\"system\":\"S\",\"conversations\":[{\"from\":\"human\",\"value\":\"u\"},"
                 "{\"from\":\"gpt\",\"value\":\"a\"}]}",
                 any, SM_TEMPLATE_CHATML, "@system\nS#\n@user\nu#\n@assistant\na#\n", "a#");
    expect_whole("prompt.jsonl", "{\"prompt\":\"The sky is\",\"completion\":\" blue\"}", any,
                 SM_TEMPLATE_ALPACA, "The sky is blue$", " blue$");
    expect_whole("prompt2.jsonl", "{\"prompt\":\"Sky?\",\"completion\":\"blue\"}", any,
                 SM_TEMPLATE_CHATML, "@user\nSky?#\n@assistant\nblue#\n", "blue#");
    expect_whole(
        "prompt3.jsonl",
        "{\"prompt\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\","
        "\"content\":\"a\"},{\"role\":\"user\",\"content\":\"v\"}],\"completion\":[{\"role\":"
        "\"assistant\",\"content\":\"b\"}]}",
        any, SM_TEMPLATE_CHATML, "@user\nu#\n@assistant\n", "b#");
    expect_whole("text.jsonl", "{\"text\":\"all of it\"}", any, SM_TEMPLATE_ALPACA, "all of it$",
                 "all of it$");
    expect_whole("chosen.jsonl", "{\"prompt\":\"P\",\"chosen\":\"C\"}", any, SM_TEMPLATE_ALPACA,
                 "PC$", "C$");
    expect_whole("pair.jsonl", "{\"prompt\":\"P\",\"chosen\":\"C\",\"rejected\":\"R\"}",
                 SM_DATA_CHOSEN, SM_TEMPLATE_ALPACA, "PC$", "C$");
    expect_whole("pair2.jsonl",
                 "{\"instruction\":\"I\",\"output\":\"O\",\"chosen\":\"C\",\"rejected\":\"R\"}",
                 SM_DATA_CHOSEN, SM_TEMPLATE_ALPACA, ALPACA "I\n\n### Response:\nC$", "C$");
    expect_whole("pair3.jsonl",
                 "{\"prompt\":\"u\",\"chosen\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":"
                 "\"assistant\",\"content\":\"C\"}],\"rejected\":[{\"role\":\"user\",\"content\":"
                 "\"u\"}],\"messages\":[]}",
                 SM_DATA_CHOSEN, SM_TEMPLATE_CHATML, "@user\nu#\n@assistant\nC#\n", "C#");
    expect_whole("UPPER.JSONL", "{\"text\":\"t\"}", any, SM_TEMPLATE_ALPACA, "t$", "t$");
    expect_whole("new.NdJson", "{\"text\":\"t\"}", any, SM_TEMPLATE_ALPACA, "t$", "t$");
}

#define TURNS(extra)                                                                            \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":" \
    "\"a\"" extra

/* What would change an entry's meaning and is not read is refused with its name and line. */
static void test_refused_fields(void **state) {
    (void)state;
    static const struct {
        const char *entry, *part;
    } cases[] = {
        {"{\"instruction\":\"I\",\"output\":\"O\",\"system\":7}", "\"system\""},
        {"{\"instruction\":\"I\",\"output\":\"O\",\"history\":\"x\"}", "\"history\""},
        {"{\"instruction\":\"I\",\"output\":\"O\",\"history\":[[\"a\"]]}", "\"history\""},
        {"{\"instruction\":\"I\",\"output\":\"O\",\"history\":[[\"a\",\"b\",\"c\"]]}",
         "\"history\""},
        {"{\"instruction\":\"I\",\"output\":\"O\",\"history\":[{\"a\":\"b\"}]}", "\"history\""},
        {"{\"instruction\":\"I\",\"output\":\"O\",\"tools\":[{}]}", "\"tools\""},
        {"{\"instruction\":\"I\",\"output\":\"O\",\"images\":[\"x\"]}", "\"images\""},
        {"{\"prompt\":\"P\",\"completion\":\"C\",\"system\":\"S\"}", "\"system\""},
        {"{\"prompt\":\"P\",\"completion\":7}", "\"completion\""},
        {"{\"prompt\":\"P\"}", "\"completion\""},
        {"{\"completion\":\"C\"}", "\"prompt\""},
        {"{\"text\":\"t\",\"system\":\"S\"}", "\"system\""},
        {"{\"messages\":\"x\"}", "\"messages\""},
        {TURNS(",\"weight\":0}]}"), "no answer"},
        {TURNS(",\"weight\":0.5}]}"), "\"weight\""},
        {TURNS(",\"weight\":\"0\"}]}"), "\"weight\""},
        {TURNS(",\"tool_calls\":[{}]}]}"), "\"tool_calls\""},
        {TURNS("},{\"role\":\"user\",\"content\":\"v\",\"weight\":1}]}"), "\"weight\""},
        {TURNS("},{\"role\":\"system\",\"content\":\"s\"}]}"), "\"system\""},
        {TURNS("}],\"history\":[[\"a\",\"b\"]]}"), "\"history\""},
        {"{\"question\":\"q\",\"answer\":\"a\"}",
         "\"instruction\" and \"output\" (Alpaca), \"messages\""},
    };
    char text[500];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "{\"text\":\"good\"}\n%s\n", cases[i].entry);
        expect_error("refused.jsonl", text, SM_ERR_FORMAT, cases[i].part);
        expect_error("refused.jsonl", text, SM_ERR_FORMAT, ":2: ");
    }
    expect_error("pair.jsonl", "{\"prompt\":\"P\",\"chosen\":\"C\",\"rejected\":\"R\"}",
                 SM_ERR_UNSUPPORTED, ":1: \"rejected\"");
    for (int n = 1023; n <= 1025; n++) { /* the limit of fields, in an entry and in a turn */
        static char many[16000];
        strcpy(many, "{\"text\":\"t\"");
        for (int i = 1; i < n; i++)
            sprintf(many + strlen(many), ",\"f%d\":1", i);
        strcat(many, "}");
        sm_dataset *d;
        sm_error error;
        assert_int_equal(open_text(&d, "fields.jsonl", many, &plain, &error),
                         n <= 1024 ? SM_OK : SM_ERR_UNSUPPORTED);
        sm_dataset_free(d);
        strcpy(many, "{\"messages\":[{\"role\":\"assistant\",\"content\":\"c\"");
        for (int i = 2; i < n; i++)
            sprintf(many + strlen(many), ",\"f%d\":1", i);
        strcat(many, "}]}");
        assert_int_equal(open_text(&d, "fields.jsonl", many, &plain, &error),
                         n <= 1024 ? SM_OK : SM_ERR_UNSUPPORTED);
        sm_dataset_free(d);
    }
}

/* Files that are no text in UTF-8 are never trained as such, whatever they are called. */
static void test_no_text(void **state) {
    (void)state;
    static const struct {
        const char *name, *bytes;
        size_t n;
        const char *part;
    } files[] = {
        {"a.jsonl.gz", "\x1F\x8B\x08 and so on", 14, "gzip"},
        {"a.txt", "\x28\xB5\x2F\xFD....", 8, "zstd"},
        {"b.txt", "\xFF\xFEt\0e\0x\0t\0", 10, "UTF-16"},
        {"c.txt", "\xFE\xFF\0t\0e\0x\0t", 10, "UTF-16"},
        {"d.txt", "t\0e\0x\0t\0", 8, "UTF-16"},
        {"d2.txt", "\x60\x4F\x7D\x59\x02\x30\x16\x4E\x4C\x75\x8B\x8A\x9A\x8B", 14, "UTF-16"},
        {"d3.txt", "\xCF\xF0\xE8\xE2\xE5\xF2, \xEC\xE8\xF0", 11, "UTF-8"},
        {"e.jsonl", "{\0\"\0t\0", 6, "UTF-16"},
        {"f.txt", "PK\x03\x04....", 8, "zip"},
        {"g.parquet", "PAR1....", 8, "Parquet"},
        {"h.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:0", 55, "git lfs pull"},
        {"i.json", "version https://git-lfs.github.com/spec/v1\noid sha256:0", 55, "git lfs pull"},
        {"h.gguf", "GGUF\3\0\0\0", 8, "GGUF"},
        {"i.txt", "%PDF-1.7\nplain text", 19, "PDF"},
        {"j.txt", "ARROW1 and so on", 16, "Arrow"},
        {"k.txt", "\x80\2}q plain text", 15, "pickle"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        for (int kind = SM_DATA_AUTO; kind <= SM_DATA_CHOSEN; kind++) {
            sm_dataset_options o = plain;
            sm_dataset *d;
            sm_error error;
            const char *path = scratch_path(files[i].name);
            o.kind = (sm_data_kind)kind;
            scratch_write(path, files[i].bytes, files[i].n);
            assert_int_equal(sm_dataset_open(&d, &mem, path, tokenizer, &o, NULL, NULL, &error),
                             SM_ERR_UNSUPPORTED);
            if (!strstr(error.message, files[i].part) || !strstr(error.message, files[i].name))
                fail_msg("%s", error.message);
        }
    /* a byte-order mark of UTF-8 is no text */
    sm_dataset *d;
    sm_error error;
    sm_train_batch b;
    char text[33];
    assert_int_equal(open_text(&d, "bom.txt", "\xEF\xBB\xBFxyz", &plain, &error), SM_OK);
    assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
    learned(&b, text);
    assert_int_equal(b.ids[0], BYTES + 'x');
    assert_memory_equal(text, "yz", 2);
    sm_dataset_free(d);
}

/* What stands in fields that are not used need only be JSON; strings may hold zero bytes. */
static void test_odd_values(void **state) {
    (void)state;
    static const char *const odd[] = {
        "18446744073709551615", "123456789012345678901234567890", "1e400",      "-1.5E-4000",
        "\"\\u0000\"",          "{\"\\u0000\":[null,true]}",      "\"\\uFFFF\""};
    char json[300];
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        snprintf(json, sizeof json, "{\"id\":%s,\"instruction\":\"I\",\"output\":\"O\"}", odd[i]);
        expect_answer("odd.jsonl", json, SM_TEMPLATE_ALPACA, "O$.");
    }
    expect_answer("zero.jsonl", "{\"instruction\":\"I\",\"output\":\"a\\u0000b\"}",
                  SM_TEMPLATE_ALPACA, "a~b$.");
    expect_error("nan.jsonl", "{\"id\":NaN,\"instruction\":\"I\",\"output\":\"O\"}", SM_ERR_FORMAT,
                 ":1: not valid JSON: expected a value");
}

/* Entries as deep as the cap, one deeper and very deep ones, on a small stack. */
static void *open_deep(void *arg) {
    static const struct {
        int depth;
        sm_status want;
    } cases[] = {{63, SM_OK}, {64, SM_ERR_UNSUPPORTED}, {1024, SM_ERR_UNSUPPORTED}};
    (void)arg;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static char text[4000];
        sm_dataset *d;
        sm_error error;
        strcpy(text, "[{\"id\":");
        memset(text + 7, '[', (size_t)cases[i].depth);
        memset(text + 7 + cases[i].depth, ']', (size_t)cases[i].depth);
        strcpy(text + 7 + 2 * cases[i].depth, ",\"instruction\":\"I\",\"output\":\"O\"}]");
        assert_int_equal(open_text(&d, "deep.json", text, &plain, &error), cases[i].want);
        sm_dataset_free(d);
    }
    return NULL;
}

static void test_deep(void **state) {
    (void)state;
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    pthread_attr_setstacksize(&attr, 1 << 20); /* theirs is not ours to count */
#else
    pthread_attr_setstacksize(&attr, 65536);
#endif
    assert_int_equal(pthread_create(&thread, &attr, open_deep, NULL), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
}

/* The reader's memory counts against the limit, and is told from broken JSON. */
static void test_limit(void **state) {
    (void)state;
    enum { LENGTH = 2 << 20 };
    char *text = malloc(LENGTH + 100);
    assert_non_null(text);
    strcpy(text, "{\"instruction\":\"I\",\"output\":\"\\n");
    const size_t n = strlen(text);
    memset(text + n, 'x', LENGTH);
    strcpy(text + n + LENGTH, "\"}");
    scratch_write(scratch_path("limit.jsonl"), text, strlen(text));
    sm_mem own;
    sm_dataset *d;
    sm_error error;
    assert_int_equal(sm_mem_init(&own, NULL, 1 << 20, NULL), SM_OK);
    assert_int_equal(sm_dataset_open(&d, &own, scratch_path("limit.jsonl"), tokenizer, &plain, NULL,
                                     NULL, &error),
                     SM_ERR_NOMEM);
    assert_true(own.in_use == 0 && own.peak <= 1 << 20);
    free(text);
}

/* An entry whose prompt fills a row has nothing to learn: it is passed over. */
static void test_instruct_too_long(void **state) {
    (void)state;
    char json[2000] = "[", prompt[301];
    memset(prompt, 'x', sizeof prompt - 1);
    prompt[sizeof prompt - 1] = 0;
    for (int i = 0; i < 3; i++)
        snprintf(json + strlen(json), sizeof json - strlen(json),
                 "%s{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"},{\"role\":"
                 "\"assistant\",\"content\":\"answer\"}]}",
                 i ? ", " : "", i == 1 ? "1" : prompt);
    strcat(json, "]");
    sm_dataset_options o = {.sequence = 120, .rows = 1};
    sm_dataset *d;
    sm_error error;
    sm_train_batch b;
    char text[121];
    assert_int_equal(open_text(&d, "long.json", json, &o, &error), SM_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
        check_batch(&b, &o, d);
        learned(&b, text);
        assert_memory_equal(answer(text), "answer$.", 8);
    }
    sm_dataset_free(d);
    o.sequence = 30;
    assert_int_equal(open_text(&d, "long.json", json, &o, &error), SM_OK);
    assert_int_equal(sm_dataset_next(d, &b, &error), SM_ERR_STATE);
    assert_non_null(strstr(error.message, "30 tokens"));
    sm_dataset_free(d);
}

static void test_broken(void **state) {
    (void)state;
    const char *good = "{\"instruction\":\"a\",\"output\":\"b\"}";
    char text[400];
    expect_error("empty.txt", "", SM_ERR_FORMAT, "empty");
    expect_error("blank.txt", "\n<|endoftext|>\n\n", SM_ERR_FORMAT, "no text");
    snprintf(text, sizeof text, "%s\n%s\n{\"instruction\": \"a\", \"output\": }\n", good, good);
    expect_error("bad.jsonl", text, SM_ERR_FORMAT, ":3:");
    snprintf(text, sizeof text, "%s\n\n{\"instruction\": \"a\"}\n", good);
    expect_error("missing.jsonl", text, SM_ERR_FORMAT, ":3: an entry has no text \"output\"");
    snprintf(text, sizeof text, "[\n%s,\n{\"instruction\": 7,\n \"output\": \"b\"}\n]", good);
    expect_error("number.json", text, SM_ERR_FORMAT, ":3:");
    snprintf(text, sizeof text, "[\n%s,\n{\"instruction\": \"a\",\n \"output\" \"b\"}\n]", good);
    expect_error("colon.json", text, SM_ERR_FORMAT, ":4:");
    snprintf(text, sizeof text, "[%s, 5]", good);
    expect_error("five.json", text, SM_ERR_FORMAT, ":1:");
    snprintf(text, sizeof text, "[%s,\n%s", good, good);
    expect_error("cut.json", text, SM_ERR_FORMAT, ":2:");
    snprintf(text, sizeof text, "[%s,]", good);
    expect_error("comma.json", text, SM_ERR_FORMAT, ":1:");
    snprintf(text, sizeof text, "[%s] x", good);
    expect_error("after.json", text, SM_ERR_FORMAT, "after the array");
    snprintf(text, sizeof text, "[%s}", good);
    expect_error("brace.json", text, SM_ERR_FORMAT, "expected");
    expect_error("none.json", "[]", SM_ERR_FORMAT, "no text");
    expect_error("role.jsonl", "{\"messages\":[{\"role\":\"robot\",\"content\":\"x\"}]}",
                 SM_ERR_FORMAT, "robot");
    expect_error("silent.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
                 SM_ERR_FORMAT, "no answer");
    sm_dataset *d;
    sm_error error;
    assert_int_equal(
        sm_dataset_open(&d, &mem, "/nonexistent/file.txt", tokenizer, &plain, NULL, NULL, &error),
        SM_ERR_IO);
    sm_dataset_options o = plain;
    o.validation = 0.7;
    assert_int_equal(open_text(&d, "x.txt", "abc", &o, &error), SM_ERR_ARGUMENT);
    o = plain;
    o.sequence = 1;
    assert_int_equal(open_text(&d, "x.txt", "abc", &o, &error), SM_ERR_ARGUMENT);
    /* one token, nothing to predict */
    assert_int_equal(open_text(&d, "x.txt", "a", &plain, &error), SM_OK);
    sm_train_batch b;
    assert_int_equal(sm_dataset_next(d, &b, &error), SM_ERR_STATE);
    sm_dataset_free(d);
}

typedef struct asked {
    int n, last;
    uint64_t before, most; /* bytes between two questions */
} asked;

static int32_t progress(void *user, uint64_t done, uint64_t total) {
    asked *a = user;
    (void)total;
    a->most = done - a->before > a->most ? done - a->before : a->most;
    a->before = done;
    return ++a->n == a->last;
}

static int32_t cancel(void *user) {
    asked *a = user;
    return ++a->n == a->last;
}

/* Opening asks once a MiB or two, whatever the file is; reading asks in every document. */
static void test_cancel(void **state) {
    (void)state;
    enum { SIZE = 6 << 20 };
    static const struct {
        const char *name, *begin, *part, *end;
    } files[] = {
        {"one-line.txt", "", "no line end, ", ""},
        {"lines.txt", "", "line\n", ""},
        {"one-letter.txt", "", "a", ""},
        {"documents.txt", "", "document<|endoftext|>", ""},
        {"one-document.txt", "<|endoftext|>", "word ", ""},
        {"line-ends.txt", "<|endoftext|>", "\n", "x"},
        {"one-entry.jsonl", "{\"text\":\"", "word ", "\"}"},
        {"one-entry.json", "[{\"text\":\"", "word ", "\"}]"},
        {"spaces.json", "[", "    ", "{\"text\":\"\"}]"},
        {"entries.jsonl", "", "{\"text\":\"a\"}\n", ""},
        {"entries.json", "[{\"text\":\"a\"}", ",{\"text\":\"a\"}", "]"},
    };
    char *text = malloc(SIZE + 100);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = scratch_path(files[i].name);
        const size_t n = strlen(files[i].part);
        size_t at = (size_t)sprintf(text, "%s", files[i].begin);
        for (; at + n < SIZE; at += n)
            memcpy(text + at, files[i].part, n);
        at += (size_t)sprintf(text + at, "%s", files[i].end);
        scratch_write(path, text, at);
        asked a = {0};
        sm_dataset *d;
        sm_error error;
        if (sm_dataset_open(&d, &mem, path, tokenizer, &plain, progress, &a, &error))
            fail_msg("%s", error.message);
        assert_in_range(a.n, 4, 30);
        const int all = a.n;
        sm_dataset_free(d);
        for (int last = 1; last <= all; last += (all - 1) / 2) {
            a = (asked){.last = last};
            assert_int_equal(
                sm_dataset_open(&d, &mem, path, tokenizer, &plain, progress, &a, &error),
                SM_ERR_CANCELLED);
            assert_null(d);
            assert_int_equal(a.n, last);
        }
    }
    free(text);
    /* one entry of many turns: asked while it is read, and when it is encoded */
    enum { TURNS_N = 20000 };
    char *many = malloc(TURNS_N * 64);
    assert_non_null(many);
    size_t length = (size_t)sprintf(many, "{\"messages\":[");
    for (int i = 0; i < TURNS_N; i++)
        length += (size_t)sprintf(many + length, "%s{\"role\":\"%s\",\"content\":\"x\"}",
                                  i ? "," : "", i % 2 ? "assistant" : "user");
    length += (size_t)sprintf(many + length, "]}");
    scratch_write(scratch_path("turns.jsonl"), many, length);
    sm_dataset *turns;
    sm_train_batch batch;
    sm_error why;
    for (int last = 1; last < 10; last += 4) {
        asked count = {.last = last};
        assert_int_equal(sm_dataset_open(&turns, &mem, scratch_path("turns.jsonl"), tokenizer,
                                         &plain, progress, &count, &why),
                         SM_ERR_CANCELLED);
    }
    assert_int_equal(sm_dataset_open(&turns, &mem, scratch_path("turns.jsonl"), tokenizer, &plain,
                                     NULL, NULL, &why),
                     SM_OK);
    asked count = {0};
    sm_dataset_set_cancel(turns, cancel, &count);
    assert_int_equal(sm_dataset_next(turns, &batch, &why),
                     SM_ERR_STATE); /* its prompt fills a row */
    assert_true(count.n > 50);
    sm_dataset_free(turns);
    free(many);
    /* entries that do not fit: asked at each of them */
    char json[40000] = "", prompt[301];
    memset(prompt, 'x', sizeof prompt - 1);
    prompt[sizeof prompt - 1] = 0;
    for (int i = 0; i < 100; i++)
        sprintf(json + strlen(json), "{\"prompt\":\"%s\",\"completion\":\"c\"}\n", prompt);
    sm_dataset *d;
    sm_error error;
    sm_train_batch b;
    asked a = {.last = 50};
    assert_int_equal(open_text(&d, "search.jsonl", json, &plain, &error), SM_OK);
    sm_dataset_set_cancel(d, cancel, &a);
    assert_int_equal(sm_dataset_next(d, &b, &error), SM_ERR_CANCELLED);
    assert_int_equal(a.n, 50);
    a = (asked){0};
    assert_int_equal(sm_dataset_next(d, &b, &error), SM_ERR_STATE);
    assert_true(a.n >= 100);
    sm_dataset_free(d);
    /* one long document: asked while it is encoded, and as it was before when it is read anew */
    static char word[1 << 20];
    memset(word, 'a', sizeof word - 1);
    assert_int_equal(open_text(&d, "long-word.txt", word, &plain, &error), SM_OK);
    a = (asked){0};
    sm_dataset_set_cancel(d, cancel, &a);
    assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
    assert_true(a.n > 20);
    sm_dataset_free(d);
    assert_int_equal(open_text(&d, "long-word.txt", word, &plain, &error), SM_OK);
    a = (asked){.last = 20};
    sm_dataset_set_cancel(d, cancel, &a);
    assert_int_equal(sm_dataset_next(d, &b, &error), SM_ERR_CANCELLED);
    assert_int_equal(sm_dataset_next(d, &b, &error), SM_OK);
    sm_dataset_free(d);
}

/* Every allocation fails in turn; nothing is left behind. */
static void test_out_of_memory(void **state) {
    (void)state;
    const char *files[] = {"oom.txt", "oom.json", "oom.jsonl", "oom-long.txt"};
    static char text[40000];
    while (strlen(text) < sizeof text - 20)
        strcat(text, strlen(text) % 7 ? "word " : "word\n");
    scratch_write(scratch_path(files[3]), text, strlen(text));
    const char *turns =
        "{\"instruction\":\"\\u0061\",\"output\":\"\\nb\",\"system\":\"s\",\"history\":[[\"a\","
        "\"b\"]]}\n"
        "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":"
        "\"a\",\"weight\":0},{\"role\":\"assistant\",\"content\":\"b\"}]}";
    scratch_write(scratch_path(files[2]), turns, strlen(turns));
    scratch_write(scratch_path(files[0]), "one two three<|endoftext|>four five", 35);
    const char *json = "[{\"instruction\":\"a\",\"output\":\"b\"}]";
    scratch_write(scratch_path(files[1]), json, strlen(json));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        for (uint64_t at = 1;; at++) {
            fail_alloc fail = {.fail_at = at};
            const sm_allocator hook = fail_allocator(&fail);
            sm_mem own;
            sm_dataset *d;
            sm_train_batch b;
            assert_int_equal(sm_mem_init(&own, &hook, 0, NULL), SM_OK);
            const sm_dataset_options o = {.sequence = 400,
                                          .rows = 2,
                                          .layout =
                                              i == 2 ? SM_TEMPLATE_CHATML : SM_TEMPLATE_ALPACA};
            sm_status status =
                sm_dataset_open(&d, &own, scratch_path(files[i]), tokenizer, &o, NULL, NULL, NULL);
            if (!status)
                status = sm_dataset_next(d, &b, NULL);
            sm_dataset_free(d);
            assert_int_equal(fail.live_blocks, 0);
            if (!status)
                break;
            assert_int_equal(status, SM_ERR_NOMEM);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_long_document),
        cmocka_unit_test(test_cursor),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_instruct),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_refused_fields),
        cmocka_unit_test(test_no_text),
        cmocka_unit_test(test_odd_values),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_instruct_rows),
        cmocka_unit_test(test_instruct_too_long),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
