/* Learned vocabularies: against a plain implementation of the algorithm, against a reference's
 * merges (with the test data), and through the tokenizer that loads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smallmind/smallmind.h"
#include "support.h"
#include "text/text.h"

static const char gpt2[] = "gpt-2";

static sm_bpe_learner *learn(sm_mem *mem, const char *text, uint64_t length, uint32_t n_vocab,
                             uint64_t min_count) {
    sm_bpe_learner *l;
    sm_error error;
    const sm_str special = {"<|endoftext|>", 13};
    assert_int_equal(sm_mem_init(mem, NULL, 0, NULL), SM_OK);
    if (sm_bpe_learner_new(&l, mem, (sm_str){gpt2, 5}, &special, 1, &error) ||
        sm_bpe_learner_add(l, text, length, NULL, &error) ||
        sm_bpe_learner_run(l, n_vocab, min_count, NULL, NULL, &error))
        fail_msg("%s", error.message);
    return l;
}

/* The algorithm as one would write it first: words are runs that begin with a space. */
typedef struct plain_word {
    char parts[24][24];
    int n;
} plain_word;

static void plain_learn(const char *text, int merges, char out[][2][24]) {
    static plain_word words[400];
    int n = 0;
    for (const char *at = text; *at;) {
        plain_word *w = &words[n++];
        w->n = 0;
        do {
            w->parts[w->n][0] = *at++;
            w->parts[w->n++][1] = 0;
        } while (*at && *at != ' ');
    }
    for (int m = 0; m < merges; m++) {
        int best = 0;
        for (int i = 0; i < n; i++)
            for (int j = 0; j + 1 < words[i].n; j++) {
                const char *a = words[i].parts[j], *b = words[i].parts[j + 1];
                int count = 0;
                for (int k = 0; k < n; k++)
                    for (int l = 0; l + 1 < words[k].n; l++)
                        count += !strcmp(words[k].parts[l], a) && !strcmp(words[k].parts[l + 1], b);
                const int left = best ? strcmp(a, out[m][0]) : 1;
                if (count > best ||
                    (count == best && (left > 0 || (!left && strcmp(b, out[m][1]) > 0)))) {
                    best = count;
                    strcpy(out[m][0], a);
                    strcpy(out[m][1], b);
                }
            }
        for (int i = 0; i < n; i++) {
            plain_word *w = &words[i];
            int k = 0;
            for (int j = 0; j < w->n; k++) {
                char part[24];
                strcpy(part, w->parts[j]);
                if (j + 1 < w->n && !strcmp(part, out[m][0]) &&
                    !strcmp(w->parts[j + 1], out[m][1])) {
                    strcat(part, w->parts[j + 1]);
                    j++;
                }
                j++;
                strcpy(w->parts[k], part);
            }
            w->n = k;
        }
    }
}

static void test_against_plain(void **state) {
    (void)state;
    enum { MERGES = 40 };
    for (uint64_t seed = 1; seed <= 8; seed++) {
        char text[1200] = "";
        uint64_t random = seed;
        for (int i = 0; i < 150; i++) {
            char word[16];
            int length = 1 + (int)(test_random(&random) % 7);
            for (int j = 0; j < length; j++)
                word[j] = (char)('a' + test_random(&random) % (2 + seed / 2));
            word[length] = 0;
            strcat(text, i ? " " : "");
            strcat(text, word);
        }
        static char want[MERGES][2][24];
        plain_learn(text, MERGES, want);
        sm_mem mem;
        sm_bpe_learner *l = learn(&mem, text, strlen(text), 257 + MERGES, 1);
        assert_int_equal(sm_bpe_learner_merges(l), MERGES);
        for (uint32_t i = 0; i < MERGES; i++) {
            uint32_t part[2];
            sm_bpe_learner_merge(l, i, &part[0], &part[1]);
            for (int k = 0; k < 2; k++) {
                char got[64], spelled[64] = "";
                got[sm_bpe_learner_token(l, part[k], got)] = 0;
                for (const char *c = want[i][k]; *c; c++)
                    strcat(spelled, *c == ' ' ? "\xc4\xa0" : (char[]){*c, 0});
                assert_string_equal(got, spelled);
            }
        }
        sm_bpe_learner_free(l);
        assert_int_equal(atomic_load(&mem.in_use), 0);
    }
}

/* The merges of a well-known exercise's reference implementation. */
static void test_against_reference(void **state) {
    (void)state;
    const char *corpus = data_path("train/corpus.en");
    const char *merges = data_path("train/train-bpe-reference-merges.txt");
    if (!corpus || !merges) {
        skip();
        return;
    }
    size_t n_text, n_merges;
    char *text = (char *)scratch_read(corpus, &n_text);
    char *want = (char *)scratch_read(merges, &n_merges);
    sm_mem mem;
    sm_bpe_learner *l = learn(&mem, text, n_text, 500, 1);
    assert_int_equal(sm_bpe_learner_tokens(l), 500);
    char *at = want;
    for (uint32_t i = 0; i < sm_bpe_learner_merges(l); i++) {
        char line[256];
        uint32_t left, right;
        sm_bpe_learner_merge(l, i, &left, &right);
        uint64_t n = sm_bpe_learner_token(l, left, line);
        line[n++] = ' ';
        n += sm_bpe_learner_token(l, right, line + n);
        line[n++] = '\n';
        if (strncmp(at, line, n) != 0)
            fail_msg("merge %u is %.*s, not %.20s", i, (int)n, line, at);
        at += n;
    }
    assert_int_equal(*at, 0);
    free(text);
    free(want);
    sm_bpe_learner_free(l);
}

/* From texts to a file, from the file to a tokenizer. */
static void test_file(void **state) {
    (void)state;
    const char *text = "hello hello hello world<|endoftext|>\xc3\xa9t\xc3\xa9 hello world \xc3\xa9t"
                       "\xc3\xa9\n<|endoftext|>";
    char in[512], out[512];
    snprintf(in, sizeof in, "%s", scratch_path("learn.txt"));
    snprintf(out, sizeof out, "%s", scratch_path("learn.gguf"));
    scratch_write(in, text, strlen(text));
    sm_error error;
    const char *paths[] = {in, in};
    const sm_vocabulary_options o = {.struct_size = sizeof o, .n_vocab = 300};
    if (sm_vocabulary_train(out, paths, 2, &o, &error))
        fail_msg("%s", error.message);
    sm_tokenizer *t;
    if (sm_tokenizer_load(&t, out, NULL, &error))
        fail_msg("%s", error.message);
    sm_tokenizer_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_tokenizer_get_info(t, &info, &error), SM_OK);
    assert_true(info.n_vocab > 257 && info.n_vocab <= 300);
    assert_int_equal(info.bos, 0);
    assert_int_equal(info.eos, 0);
    assert_int_equal(info.add_bos, 1);
    assert_true(sm_tokenizer_find(t, "hello", 5) > 0);
    assert_true(sm_tokenizer_find(t, "\xc4\xa0hello", 7) > 0);
    assert_true(sm_tokenizer_find(t, "endoftext", 9) < 0); /* marks are no words */
    int32_t ids[64];
    uint64_t n, length;
    char back[64];
    assert_int_equal(sm_tokenizer_encode(t, " hello world", 12, NULL, ids, 64, &n, &error), SM_OK);
    assert_int_equal(n, 2);
    assert_int_equal(sm_tokenizer_decode(t, ids, n, 0, back, 64, &length, &error), SM_OK);
    assert_memory_equal(back, " hello world", 12);
    sm_tokenizer_free(t);
}

static void test_failures(void **state) {
    (void)state;
    sm_error error;
    char in[512];
    snprintf(in, sizeof in, "%s", scratch_path("bad.txt"));
    scratch_write(in, "good\xff", 5);
    const char *paths[] = {in};
    sm_vocabulary_options o = {.struct_size = sizeof o};
    assert_int_equal(sm_vocabulary_train(scratch_path("x.gguf"), paths, 1, &o, &error),
                     SM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "bad.txt"));
    scratch_write(in, "a\0b\0c\0d\0", 8); /* UTF-16 of ASCII is UTF-8, too */
    assert_int_equal(sm_vocabulary_train(scratch_path("x.gguf"), paths, 1, &o, &error),
                     SM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "UTF-16"));
    scratch_write(in, "<|endoftext|>", 13);
    assert_int_equal(sm_vocabulary_train(scratch_path("x.gguf"), paths, 1, &o, &error),
                     SM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "bad.txt"));
    scratch_write(in, "good", 4);
    o.n_vocab = 100;
    assert_int_equal(sm_vocabulary_train(scratch_path("x.gguf"), paths, 1, &o, &error),
                     SM_ERR_ARGUMENT);
    o.n_vocab = 0;
    o.pre = "no-such";
    assert_int_equal(sm_vocabulary_train(scratch_path("x.gguf"), paths, 1, &o, &error),
                     SM_ERR_UNSUPPORTED);
    o.pre = NULL;
    assert_int_equal(sm_vocabulary_train("/nonexistent/x.gguf", paths, 1, &o, &error), SM_ERR_IO);
    paths[0] = "/nonexistent/text";
    assert_int_equal(sm_vocabulary_train(scratch_path("x.gguf"), paths, 1, &o, &error), SM_ERR_IO);
    const sm_str special = {"<|endoftext|>", 13};
    for (uint64_t at = 1;; at++) { /* every allocation fails in turn */
        fail_alloc fail = {.fail_at = at};
        const sm_allocator hook = fail_allocator(&fail);
        sm_mem mem;
        sm_bpe_learner *l;
        assert_int_equal(sm_mem_init(&mem, &hook, 0, NULL), SM_OK);
        sm_status status = sm_bpe_learner_new(&l, &mem, (sm_str){gpt2, 5}, &special, 1, NULL);
        if (!status)
            status = sm_bpe_learner_add(l, "a few words and a few more", 26, NULL, NULL);
        if (!status)
            status = sm_bpe_learner_run(l, 300, 1, NULL, NULL, NULL);
        sm_bpe_learner_free(l);
        assert_int_equal(fail.live_blocks, 0);
        if (!status)
            break;
        assert_int_equal(status, SM_ERR_NOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_plain),
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
