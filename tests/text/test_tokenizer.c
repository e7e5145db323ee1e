/* Tokenizers of every kind on small vocabularies made here: ids against plain reference
 * algorithms and by hand, decoding, streaming, special tokens, broken vocabularies, no
 * memory, threads. */
#include "text/internal.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

#define MARK "\xE2\x96\x81"
#define MAX_TOKENS 700

/* ---- vocabularies -------------------------------------------------------- */

typedef struct draft {
    sm_vocab v;
    sm_str tokens[MAX_TOKENS];
    float scores[MAX_TOKENS];
    int32_t types[MAX_TOKENS];
    sm_str merges[64];
    char spelled[256][8]; /* byte tokens */
} draft;

static sm_str str(const char *text) {
    return (sm_str){text, strlen(text)};
}

static void start(draft *d, const char *model) {
    memset(d, 0, sizeof *d);
    d->v.model = str(model);
    d->v.tokens = d->tokens;
    d->v.scores = d->scores;
    d->v.types = d->types;
    d->v.merges = d->merges;
    int32_t *const unset[] = {&d->v.bos,
                              &d->v.eos,
                              &d->v.unk,
                              &d->v.sep,
                              &d->v.pad,
                              &d->v.mask,
                              &d->v.cls,
                              &d->v.eot,
                              &d->v.eom,
                              &d->v.add_bos,
                              &d->v.add_eos,
                              &d->v.add_space_prefix,
                              &d->v.remove_extra_whitespaces,
                              &d->v.escape_whitespaces,
                              &d->v.ignore_merges,
                              &d->v.lowercase,
                              &d->v.strip_accents};
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++)
        *unset[i] = SM_UNSET;
}

static int32_t add(draft *d, const char *text, float score, int32_t type) {
    uint64_t i = d->v.n_tokens++;
    assert_true(i < MAX_TOKENS);
    d->tokens[i] = str(text);
    d->scores[i] = score;
    d->types[i] = type;
    return (int32_t)i;
}

static void add_spelled_bytes(draft *d, bool byte_level) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        if (byte_level)
            d->spelled[byte][sm_utf8_encode(sm_byte_to_code((uint8_t)byte),
                                            (uint8_t *)d->spelled[byte])] = 0;
        else
            snprintf(d->spelled[byte], 8, "<0x%02X>", byte);
        add(d, d->spelled[byte], 0, byte_level ? SM_TOKEN_NORMAL : SM_TOKEN_BYTE);
    }
}

/* Leaves no byte tokens of those that begin at `first`. */
static void drop_bytes(draft *d, uint64_t first) {
    for (uint64_t i = first; i < first + 256; i++) {
        d->tokens[i] = str("");
        d->types[i] = SM_TOKEN_NORMAL;
    }
}

static const char *const merge_list[] = {"a b",
                                         "b a",
                                         "ab a",
                                         "aba b",
                                         "c c",
                                         "cc cc",
                                         "b c",
                                         "\xC4\xA0 a",
                                         "\xC4\xA0 \xC4\xA0",
                                         "a a",
                                         "aa aa",
                                         "\xC4\xA0\x61 b",
                                         "\xC3\x83 \xC2\xA9"};
static const char *const merged_list[] = {"ab",
                                          "ba",
                                          "aba",
                                          "abab",
                                          "cc",
                                          "cccc",
                                          "bc",
                                          "\xC4\xA0\x61",
                                          "\xC4\xA0\xC4\xA0",
                                          "aa",
                                          "aaaa",
                                          "\xC4\xA0\x61\x62",
                                          "\xC3\x83\xC2\xA9"};
#define N_MERGES (sizeof merge_list / sizeof *merge_list)

/* 0..255 bytes, then the merged, then <|endoftext|> (control), <ud> (user-defined) */
static void make_bpe(draft *d) {
    start(d, "gpt2");
    d->v.pre = str("gpt-2");
    add_spelled_bytes(d, true);
    for (size_t i = 0; i < N_MERGES; i++) {
        d->merges[i] = str(merge_list[i]);
        add(d, merged_list[i], 0, SM_TOKEN_NORMAL);
    }
    d->v.n_merges = N_MERGES;
    d->v.eos = add(d, "<|endoftext|>", 0, SM_TOKEN_CONTROL);
    add(d, "<ud>", 0, SM_TOKEN_USER_DEFINED);
}

static const struct {
    const char *text;
    float score;
} pieces[] = {{MARK, -1},        {"a", -2},         {"b", -3},        {"c", -4},
              {"ab", -5},        {"ba", -5},        {MARK "a", -6},   {"abc", -7},
              {"cc", -8},        {MARK MARK, -9},   {MARK "ab", -10}, {"bab", -3.5F},
              {"\xC3\xA9", -11}, {"c\xC3\xA9", -12}};
#define N_PIECES (sizeof pieces / sizeof *pieces)

/* 0 <unk>, 1 <s>, 2 </s>, 3..258 bytes, then the pieces, then <ud> */
static void make_spm(draft *d) {
    start(d, "llama");
    add(d, "<unk>", 0, SM_TOKEN_UNKNOWN);
    add(d, "<s>", 0, SM_TOKEN_CONTROL);
    add(d, "</s>", 0, SM_TOKEN_CONTROL);
    add_spelled_bytes(d, false);
    for (size_t i = 0; i < N_PIECES; i++)
        add(d, pieces[i].text, pieces[i].score, SM_TOKEN_NORMAL);
    add(d, "<ud>", 0, SM_TOKEN_USER_DEFINED);
}

static void make_bert(draft *d) {
    start(d, "bert");
    static const char *const special[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    for (size_t i = 0; i < 5; i++)
        add(d, special[i], 0, SM_TOKEN_CONTROL);
    d->v.pad = 0;
    d->v.unk = 1;
    d->v.cls = 2;
    d->v.sep = 3;
    d->v.mask = 4;
    static const char *const words[] = {MARK "the",
                                        MARK "cat",
                                        MARK "un",
                                        "able",
                                        "aff", /* 5..9 */
                                        "s",
                                        MARK "cafe",
                                        MARK ",",
                                        MARK "\xE4\xB8\xAD",
                                        MARK "\xE1\x84\x92",
                                        "\xE1\x85\xA1",
                                        "\xE1\x86\xAB"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        add(d, words[i], 0, SM_TOKEN_NORMAL);
}

static void make_unigram(draft *d) {
    start(d, "t5");
    add(d, "<pad>", 0, SM_TOKEN_CONTROL);
    add(d, "</s>", 0, SM_TOKEN_CONTROL);
    add(d, "<unk>", 0, SM_TOKEN_UNKNOWN);
    add(d, MARK, -3, SM_TOKEN_NORMAL);         /* 3 */
    add(d, "a", -2, SM_TOKEN_NORMAL);          /* 4 */
    add(d, "b", -2.5F, SM_TOKEN_NORMAL);       /* 5 */
    add(d, "ab", -4, SM_TOKEN_NORMAL);         /* 6 */
    add(d, "abc", -9, SM_TOKEN_NORMAL);        /* 7 */
    add(d, MARK "a", -3.5F, SM_TOKEN_NORMAL);  /* 8 */
    add(d, "fi", -3, SM_TOKEN_NORMAL);         /* 9 */
    add(d, "<ud>", -3, SM_TOKEN_USER_DEFINED); /* 10 */
    d->v.add_space_prefix = 1;
    d->v.remove_extra_whitespaces = 1;
}

static sm_mem mem;

static sm_tokenizer *build(const draft *d) {
    sm_tokenizer *t;
    sm_error error = {0};
    if (sm_tokenizer_build(&t, &mem, &d->v, &error))
        fail_msg("build: %s", error.message);
    return t;
}

static int set_up(void **state) {
    (void)state;
    return sm_mem_init(&mem, NULL, 0, NULL);
}

static int tear_down(void **state) { /* every test gives back all it took */
    (void)state;
    return mem.in_use != 0;
}

/* ---- encoding and decoding for tests ------------------------------------- */

typedef struct ids {
    int32_t id[4096];
    uint64_t n;
} ids;

static void encode(const sm_tokenizer *t, const void *text, size_t length, uint32_t flags,
                   ids *out) {
    sm_error error = {0};
    if (sm_tokenizer_encode(t, text, length, ENCODE(flags), out->id, 4096, &out->n, &error))
        fail_msg("encode: %s", error.message);
}

static void expect(const sm_tokenizer *t, const char *text, uint32_t flags, size_t n,
                   const int32_t *expected) {
    ids got;
    encode(t, text, strlen(text), flags, &got);
    bool same = got.n == n && memcmp(got.id, expected, n * sizeof *expected) == 0;
    if (!same) {
        print_error("\"%s\" became", text);
        for (uint64_t i = 0; i < got.n; i++)
            print_error(" %d", got.id[i]);
        print_error("\n");
    }
    assert_true(same);
}
#define EXPECT(t, text, flags, ...)                                            \
    expect(t, text, flags, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t), \
           (int32_t[]){__VA_ARGS__})

static void expect_text(const sm_tokenizer *t, const ids *in, uint32_t flags, const void *text,
                        size_t length) {
    static char out[16384];
    uint64_t n;
    sm_error error = {0};
    if (sm_tokenizer_decode(t, in->id, in->n, flags, out, sizeof out, &n, &error))
        fail_msg("decode: %s", error.message);
    assert_int_equal(n, length);
    assert_memory_equal(out, text, length);
}

/* Whether a character or invalid byte of the text ends at `at`. */
static bool is_boundary(const char *text, uint64_t length, uint64_t at) {
    uint64_t i = 0;
    uint32_t code;
    while (i < at)
        i += sm_utf8_decode((const uint8_t *)text + i, length - i, &code);
    return i == at;
}

/* Streaming gives the same bytes, never a part of a UTF-8 sequence. */
static void expect_stream(const sm_tokenizer *t, const ids *in, uint32_t flags, const char *text,
                          size_t length) {
    sm_detokenizer *d;
    const char *piece;
    uint64_t n, total = 0;
    assert_int_equal(sm_detokenizer_new(&d, t, flags, NULL), SM_OK);
    for (uint64_t i = 0; i < in->n; i++) {
        assert_int_equal(sm_detokenizer_feed(d, in->id[i], &piece, &n, NULL), SM_OK);
        assert_int_equal(piece[n], 0);
        assert_true(total + n <= length);
        assert_memory_equal(piece, text + total, n);
        total += n;
        assert_true(is_boundary(text, length, total));
    }
    assert_int_equal(sm_detokenizer_flush(d, &piece, &n, NULL), SM_OK);
    assert_int_equal(total + n, length);
    assert_memory_equal(piece, text + total, n);
    sm_detokenizer_free(d);
}

static void expect_round_trip(const sm_tokenizer *t, const char *text, size_t length) {
    ids out;
    encode(t, text, length, 0, &out);
    expect_text(t, &out, 0, text, length);
    expect_stream(t, &out, 0, text, length);
}

/* ---- reference algorithms ------------------------------------------------ */

/* Merges in the plainest way: the best pair of the whole word, again and again. */
typedef struct reference {
    const draft *d;
    uint32_t n;
    char text[2048][64];
} reference;

static int32_t find_token(const draft *d, const char *text) {
    for (uint64_t i = 0; i < d->v.n_tokens; i++)
        if (d->tokens[i].length == strlen(text) &&
            memcmp(d->tokens[i].data, text, strlen(text)) == 0)
            return (int32_t)i;
    return -1;
}

static bool pair_rank(const reference *r, uint32_t i, double *rank) {
    char joined[160];
    if (r->d->v.n_merges) {
        snprintf(joined, sizeof joined, "%s %s", r->text[i], r->text[i + 1]);
        for (uint64_t k = 0; k < r->d->v.n_merges; k++)
            if (strcmp(r->d->merges[k].data, joined) == 0) {
                *rank = (double)k;
                return true;
            }
        return false;
    }
    snprintf(joined, sizeof joined, "%s%s", r->text[i], r->text[i + 1]);
    int32_t id = find_token(r->d, joined);
    if (id < 0 || r->d->types[id] != SM_TOKEN_NORMAL)
        return false;
    *rank = -(double)r->d->scores[id];
    return true;
}

static void merge_all(reference *r) {
    for (;;) {
        uint32_t best = UINT32_MAX;
        double best_rank = 0, rank;
        for (uint32_t i = 0; i + 1 < r->n; i++)
            if (pair_rank(r, i, &rank) && (best == UINT32_MAX || rank < best_rank)) {
                best = i;
                best_rank = rank;
            }
        if (best == UINT32_MAX)
            return;
        char joined[160];
        snprintf(joined, sizeof joined, "%s%s", r->text[best], r->text[best + 1]);
        snprintf(r->text[best], sizeof *r->text, "%.60s", joined);
        memmove(r->text[best + 1], r->text[best + 2], (r->n - best - 2) * sizeof *r->text);
        r->n--;
    }
}

static void check_word(const sm_tokenizer *t, const draft *d, reference *r, const char *text) {
    ids got;
    merge_all(r);
    encode(t, text, strlen(text), 0, &got);
    assert_int_equal(got.n, r->n);
    for (uint32_t i = 0; i < r->n; i++)
        assert_int_equal(got.id[i], find_token(d, r->text[i]));
}

/* Words on both sides of the length where the heap takes over. */
static void test_merging_equals_reference(void **state) {
    (void)state;
    static reference r;
    static draft bpe, spm;
    make_bpe(&bpe);
    make_spm(&spm);
    spm.v.add_space_prefix = 0;
    sm_tokenizer *t_bpe = build(&bpe), *t_spm = build(&spm);
    uint64_t seed = 3;
    for (uint32_t round = 0; round < 400; round++) {
        uint32_t n = 1 + (uint32_t)(test_random(&seed) % (round % 20 ? 60 : 900));
        char text[1024] = "";
        for (r.n = 0; r.n < n; r.n++) {
            text[r.n] = "abc"[test_random(&seed) % 3];
            text[r.n + 1] = 0;
            snprintf(r.text[r.n], 8, "%c", text[r.n]);
        }
        r.d = &bpe;
        check_word(t_bpe, &bpe, &r, text);
        for (r.n = 0; r.n < n; r.n++)
            snprintf(r.text[r.n], 8, "%c", text[r.n]);
        r.d = &spm;
        check_word(t_spm, &spm, &r, text);
    }
    sm_tokenizer_free(t_bpe);
    sm_tokenizer_free(t_spm);
}

/* Segments cut out of the text and cached words give what the whole text gives. */
static void test_sentencepiece_segments(void **state) {
    (void)state;
    static reference r;
    static draft d;
    make_spm(&d);
    d.v.add_space_prefix = 0;
    sm_tokenizer *t = build(&d);
    uint64_t seed = 9;
    for (uint32_t round = 0; round < 60; round++) {
        char text[1024] = "";
        uint32_t n = 1 + (uint32_t)(test_random(&seed) % 900);
        for (r.n = 0; r.n < n; r.n++) {
            text[r.n] = "abc  "[test_random(&seed) % 5];
            text[r.n + 1] = 0;
            snprintf(r.text[r.n], 8, "%s", text[r.n] == ' ' ? MARK : (char[]){text[r.n], 0});
        }
        r.d = &d;
        check_word(t, &d, &r, text);
    }
    sm_tokenizer_free(t);
}

/* ---- byte-level ---------------------------------------------------------- */

static void test_bpe(void **state) {
    (void)state;
    static draft d;
    make_bpe(&d);
    sm_tokenizer *t = build(&d);
    EXPECT(t, "abab", 0, 256, 256);
    EXPECT(t, "aba", 0, 258);
    EXPECT(t, " ab  a", 0, 32, 256, 32, 263); /* the last space of a run belongs to the word */
    EXPECT(t, "\xC3\xA9", 0, 268);
    EXPECT(t, "<|endoftext|>a", SM_ENCODE_SPECIAL, 269, 'a');
    EXPECT(t, "<ud>", 0, 270);
    EXPECT(t, "<|x", 0, '<', '|', 'x');
    ids none;
    encode(t, "", 0, SM_ENCODE_MARKERS, &none);
    assert_int_equal(none.n, 0);
    encode(t, "<|endoftext|>", 13, 0, &none);
    assert_int_equal(none.n, 13); /* plain text: a byte each */
    assert_int_equal(sm_tokenizer_find(t, "aba", 3), 258);
    assert_int_equal(sm_tokenizer_find(t, "abx", 3), -1);
    assert_int_equal(sm_tokenizer_find(t, "", 0), -1);
    uint64_t n;
    assert_memory_equal(sm_tokenizer_token_text(t, 267, &n),
                        "\xC4\xA0"
                        "ab",
                        4);
    assert_int_equal(n, 4);
    assert_null(sm_tokenizer_token_text(t, 271, &n));
    assert_null(sm_tokenizer_token_text(t, -1, NULL));
    assert_int_equal(sm_tokenizer_is_end(t, 269), 1);
    assert_int_equal(sm_tokenizer_is_end(t, 268), 0);
    assert_int_equal(sm_tokenizer_is_end(t, 5000), 0);
    sm_tokenizer_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_tokenizer_get_info(t, &info, NULL), SM_OK);
    assert_int_equal(info.kind, SM_TOKENIZER_BPE);
    assert_int_equal(info.n_vocab, 271);
    assert_int_equal(info.bos, -1);
    assert_int_equal(info.eos, 269);
    assert_int_equal(info.eot, 269);
    assert_int_equal(info.add_bos, 0);
    assert_string_equal(info.pre, "gpt-2");
    sm_tokenizer_free(t);
}

static void test_ignore_merges(void **state) {
    (void)state;
    static draft d;
    make_bpe(&d);
    int32_t whole = add(&d, "xyz", 0, SM_TOKEN_NORMAL);
    sm_tokenizer *t = build(&d);
    EXPECT(t, "xyz", 0, 'x', 'y', 'z');
    sm_tokenizer_free(t);
    d.v.pre = str("llama-bpe");
    d.v.bos = 269;
    t = build(&d);
    EXPECT(t, "xyz", SM_ENCODE_MARKERS, 269, whole); /* BOS is this family's default, too */
    sm_tokenizer_free(t);
    d.v.ignore_merges = 0;
    d.v.add_bos = 0;
    t = build(&d);
    EXPECT(t, "xyz", SM_ENCODE_MARKERS, 'x', 'y', 'z');
    sm_tokenizer_free(t);
}

/* Any bytes come back, valid UTF-8 or not, at once and streamed. */
static void test_round_trip_of_any_bytes(void **state) {
    (void)state;
    static draft bpe, spm;
    make_bpe(&bpe);
    make_spm(&spm);
    sm_tokenizer *const all[] = {build(&bpe), build(&spm)};
    uint64_t seed = 77;
    static const char *const parts[] = {
        "ab",       " ",        "  ",   "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
        "\xE2\x82", "\xF0\x9F", "\xFF", "\x80",     "\n",           "<ud>",
        "</s>",     "c"};
    for (uint32_t round = 0; round < 1500; round++) {
        char text[1024];
        size_t n = 0;
        for (uint32_t k = (uint32_t)(test_random(&seed) % (round % 50 ? 12 : 200)); k > 0; k--) {
            if (test_random(&seed) % 4 == 0) {
                text[n++] = (char)test_random(&seed);
                continue;
            }
            const char *part = parts[test_random(&seed) % (sizeof parts / sizeof *parts)];
            memcpy(text + n, part, strlen(part));
            n += strlen(part);
        }
        for (size_t i = 0; i < 2; i++)
            expect_round_trip(all[i], text, n);
    }
    for (uint32_t byte = 0; byte < 256; byte++)
        for (size_t i = 0; i < 2; i++)
            expect_round_trip(all[i], &(char){(char)byte}, 1);
    sm_tokenizer_free(all[0]);
    sm_tokenizer_free(all[1]);
}

/* ---- charsmaps ----------------------------------------------------------- */

/* A charsmap of one-byte and longer keys in the format of SentencePiece: every node
 * gets a block of 256 units of its own. */
static void make_charsmap(bytes *b, const char *const (*pairs)[2], size_t n) {
    uint32_t units[256 * 16] = {0}, n_blocks = 2;
    char replacements[256];
    size_t n_replacements = 0;
    /* node at index i has its children at (block * 256) ^ byte, base = i ^ block * 256 */
    uint32_t block_of[256 * 16] = {0};
    units[0] = 256U << 10;
    block_of[0] = 1;
    for (size_t p = 0; p < n; p++) {
        uint32_t node = 0;
        for (const char *k = pairs[p][0]; *k; k++) {
            uint32_t child = block_of[node] * 256 ^ (uint8_t)*k;
            units[child] |= (uint8_t)*k;
            if (!block_of[child]) {
                block_of[child] = n_blocks++;
                assert_true(n_blocks <= 16);
                units[child] |= (child ^ block_of[child] * 256) << 10;
            }
            node = child;
        }
        units[node] |= 1U << 8;
        units[block_of[node] * 256] = (uint32_t)n_replacements | 1U << 31;
        strcpy(replacements + n_replacements, pairs[p][1]);
        n_replacements += strlen(pairs[p][1]) + 1;
    }
    memset(b, 0, sizeof *b);
    bytes_u32(b, n_blocks * 256 * 4);
    for (uint32_t i = 0; i < n_blocks * 256; i++)
        bytes_u32(b, units[i]);
    bytes_put(b, replacements, n_replacements);
}

static const char *const map_pairs[][2] = {
    {"A", "a"}, {"\t", " "}, {"\xEF\xAC\x81", "fi"}, {"a\xCC\x81", "ab"}};

/* ---- SentencePiece BPE --------------------------------------------------- */

static void test_spm(void **state) {
    (void)state;
    static draft d;
    make_spm(&d);
    sm_tokenizer *t = build(&d);
    EXPECT(t, "ab", 0, 269);
    EXPECT(t, "ab", SM_ENCODE_MARKERS, 1, 269);
    EXPECT(t, " ab", 0, 268, 263); /* the prefix and the space */
    EXPECT(t, "x\xC3\xA9", 0, 259, 3 + 'x', 271);
    EXPECT(t, "\xE2\x82\xAC", 0, 259, 3 + 0xE2, 3 + 0x82, 3 + 0xAC);
    EXPECT(t, "<0x41>", 0, 259, 3 + '<', 3 + '0', 3 + 'x', 3 + '4', 3 + '1', 3 + '>');
    EXPECT(t, "a<s>a", SM_ENCODE_SPECIAL, 265, 1, 265);
    EXPECT(t, "<s>", 0, 259, 3 + '<', 3 + 's', 3 + '>');
    EXPECT(t, "a<ud>a", 0, 265, 273, 260); /* no space behind user-defined pieces */
    EXPECT(t, "<ud>a <ud>", 0, 259, 273, 260, 259, 273);
    EXPECT(t, "<ud><s>a<ud>", SM_ENCODE_SPECIAL, 259, 273, 1, 265, 273);
    expect_text(t, &(ids){{259, 273, 265, 273, 260}, 5}, 0, "<ud> a<ud>a", 11);
    ids some = {{1, 265, 2, 265, 3 + 0xC3}, 5};
    expect_text(t, &some, 0, "aa\xC3", 3);
    expect_text(t, &some, SM_DECODE_SPECIAL, "<s>a</s>a\xC3", 10);
    expect_text(t, &some, SM_DECODE_KEEP_SPACE, " a a\xC3", 5);
    expect_stream(t, &some, SM_DECODE_SPECIAL, "<s>a</s>a\xC3", 10);
    sm_tokenizer_free(t);
    d.v.add_space_prefix = 0;
    d.v.add_bos = 0;
    d.v.add_eos = 1;
    t = build(&d);
    EXPECT(t, "ab", SM_ENCODE_MARKERS, 263, 2);
    expect_text(t, &(ids){{265}, 1}, 0, " a", 2);
    EXPECT(t, "<ud>", 0, 273);
    EXPECT(t, "a<ud>a", 0, 260, 273, 260);
    sm_tokenizer_free(t);
}

/* Keys that only unigram vocabularies have in files known; they mean the same here. */
static void test_spm_normalization(void **state) {
    (void)state;
    static draft d;
    bytes map;
    make_spm(&d);
    d.v.remove_extra_whitespaces = 1;
    sm_tokenizer *t = build(&d);
    EXPECT(t, "  a   b ", 0, 265, 259, 261);
    EXPECT(t, "  <ud>  a<ud>", 0, 259, 273, 265, 273);
    ids none;
    encode(t, "  ", 2, 0, &none);
    assert_int_equal(none.n, 0);
    EXPECT(t, "\xFF a", 0, 259, 3 + 0xFF, 265);              /* bytes stay what they are */
    expect_text(t, &(ids){{259, 268, 265}, 3}, 0, "  a", 3); /* one space of each in front */
    sm_tokenizer_free(t);
    d.v.add_space_prefix = 0;
    t = build(&d);
    EXPECT(t, "  a   b ", 0, 260, 259, 261);
    sm_tokenizer_free(t);
    d.v.remove_extra_whitespaces = 0;
    make_charsmap(&map, map_pairs, 4);
    d.v.charsmap = (sm_str){(const char *)map.data, map.size};
    t = build(&d);
    EXPECT(t, "A\tA", 0, 260, 265);
    sm_tokenizer_free(t);
    bytes_free(&map);
    /* user-defined pieces keep spaces of their own, but none in front that follows another */
    make_spm(&d);
    add(&d, "  ", 0, SM_TOKEN_USER_DEFINED);
    d.v.remove_extra_whitespaces = 1;
    t = build(&d);
    EXPECT(t, "a b", 0, 265, 259, 261);
    EXPECT(t, "a  b", 0, 265, 268, 261);
    EXPECT(t, "a     b", 0, 265, 268, 261);
    EXPECT(t, "   a  ", 0, 265);
    sm_tokenizer_free(t);
    /* a user-defined piece of spaces is found before words are */
    make_spm(&d);
    d.types[268] = SM_TOKEN_USER_DEFINED;
    t = build(&d);
    EXPECT(t, " " MARK "ab", 0, 268, 269);
    EXPECT(t, "b ab", 0, 259, 261, 269);
    expect_text(t, &(ids){{268, 263}, 2}, 0, " ab", 3);
    sm_tokenizer_free(t);
    make_spm(&d);
    d.v.escape_whitespaces = 0; /* spaces stay what they are: a byte, that is */
    t = build(&d);
    EXPECT(t, "a b", 0, 3 + ' ', 260, 3 + ' ', 261);
    sm_tokenizer_free(t);
}

/* Merges in a list, of characters; byte tokens for what no token spells. */
static void test_chars(void **state) {
    (void)state;
    static draft d;
    start(&d, "gemma4");
    add(&d, "<unk>", 0, SM_TOKEN_UNKNOWN);
    add_spelled_bytes(&d, false); /* 1.. */
    static const char *const tokens[] = {MARK, "a",    "\xC3\xA9", MARK "a", "a\xC3\xA9",
                                         "\n", "\n\n", "\n\n\n",   MARK MARK}; /* 257.. */
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        add(&d, tokens[i], 0, SM_TOKEN_NORMAL);
    add(&d, "<ud>", 0, SM_TOKEN_USER_DEFINED); /* 266 */
    d.merges[0] = str("a \xC3\xA9");
    d.merges[1] = str(MARK " a");
    d.merges[2] = str("\n \n");
    d.merges[3] = str(MARK " " MARK);
    d.v.n_merges = 4;
    sm_tokenizer *t = build(&d);
    EXPECT(t, "a a", 0, 258, 260);
    EXPECT(t, " a\xC3\xA9", 0, 257, 261);
    EXPECT(t, "\n\n\na", 0, 264, 258); /* a token, though no merge makes it */
    EXPECT(t, "\n\n\n\n", 0, 263, 263);
    EXPECT(t, "a<ud> a\xFFx", 0, 258, 266, 260, 1 + 0xFF, 1 + 'x');
    expect_text(t, &(ids){{260, 266, 260, 1 + 0xFF}, 4}, 0, " a<ud> a\xFF", 9);
    sm_tokenizer_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_tokenizer_get_info(t, &info, NULL), SM_OK);
    assert_int_equal(info.kind, SM_TOKENIZER_CHARS);
    sm_tokenizer_free(t);
    drop_bytes(&d, 1);
    d.v.unk = 0;
    t = build(&d);
    EXPECT(t, "axya", 0, 258, 0, 258);
    sm_tokenizer_free(t);
}

static void test_spm_without_bytes(void **state) {
    (void)state;
    static draft d;
    make_spm(&d);
    drop_bytes(&d, 3);
    sm_tokenizer *t = build(&d);
    EXPECT(t,
           "x\xE2\x82\xAC"
           "a",
           0, 259, 0, 260); /* one for a run of them */
    EXPECT(t, "xy zx<ud>xa", 0, 259, 0, 259, 0, 273, 0, 260);
    expect_text(t, &(ids){{265, 0, 265, 0}, 4}, 0, "a a", 3);
    expect_text(t, &(ids){{259, 0, 259, 0, 260}, 5}, SM_DECODE_SPECIAL, "<unk> <unk>a", 12);
    char text[1200];
    memset(text, 'x', sizeof text); /* through the cache, too */
    text[600] = ' ';
    ids long_run;
    encode(t, text, sizeof text, 0, &long_run);
    assert_int_equal(long_run.n, 4);
    sm_tokenizer_free(t);
    d.tokens[259] = str(""); /* no space either */
    t = build(&d);
    EXPECT(t, "b", 0, 0, 261);
    sm_tokenizer_free(t);
    d.types[0] = SM_TOKEN_NORMAL;
    d.v.unk = 100000; /* an id that is none: the usual one, 0 */
    t = build(&d);
    EXPECT(t, "b", 0, 0, 261);
    sm_tokenizer_free(t);
}

/* ---- WordPiece ------------------------------------------------------------------------------- */

static void test_wordpiece(void **state) {
    (void)state;
    static draft d;
    make_bert(&d);
    sm_tokenizer *t = build(&d);
    EXPECT(t, "The CAT", SM_ENCODE_MARKERS, 2, 5, 6, 3);
    EXPECT(t, "unaffable cats", 0, 7, 9, 8, 6, 10);
    EXPECT(t, "Caf\xC3\xA9, cafe\xCC\x81", 0, 11, 12, 11);
    EXPECT(t,
           "the\xE4\xB8\xAD"
           "cat",
           0, 5, 13, 6);                      /* an ideograph is a word */
    EXPECT(t, "\xED\x95\x9C", 0, 14, 15, 16); /* Hangul is decomposed */
    EXPECT(t, "dog the", 0, 1, 5);
    EXPECT(t,
           "th\x0C"
           "e\xFF cat\xE2\x80\x8B",
           0, 5, 6); /* controls and rubbish are dropped */
    EXPECT(t, "[MASK] the", SM_ENCODE_SPECIAL, 4, 5);
    ids some = {{2, 5, 6, 10, 12, 3}, 6};
    expect_text(t, &some, 0, "the cats ,", 10);
    expect_text(t, &some, SM_DECODE_SPECIAL, "[CLS] the cats ,[SEP]", 21);
    expect_stream(t, &some, SM_DECODE_KEEP_SPACE, " the cats ,", 11);
    sm_tokenizer_free(t);
    d.v.lowercase = 0;
    t = build(&d);
    EXPECT(t, "the The", 0, 5, 1);
    sm_tokenizer_free(t);
}

/* ---- unigram ------------------------------------------------------------- */

static void test_unigram(void **state) {
    (void)state;
    static draft d;
    bytes map;
    make_unigram(&d);
    make_charsmap(&map, map_pairs, 4);
    d.v.charsmap = (sm_str){(const char *)map.data, map.size};
    sm_tokenizer *t = build(&d);
    EXPECT(t, "ab", 0, 8, 5);  /* -3.5 -2.5 beats ▁ ab and ▁a b … */
    EXPECT(t, "abc", 0, 3, 7); /* c is unknown: -19; abc: -3 -9 = -12 */
    EXPECT(t, "  a  b ", SM_ENCODE_MARKERS, 8, 3, 5, 1);
    EXPECT(t, "A\tA", 0, 8, 8);
    EXPECT(t, "\xEF\xAC\x81", 0, 3, 9);
    EXPECT(t, "a\xCC\x81", 0, 8, 5);
    EXPECT(t, "xyz a", 0, 3, 2, 8); /* unknowns in a row are one */
    EXPECT(t, "\xFF", 0, 3, 2);
    EXPECT(t, "a<ud>b", 0, 8, 10, 5);
    EXPECT(t, "<ud> <ud>", 0, 3, 10, 3, 10);
    ids some = {{8, 5, 8}, 3};
    expect_text(t, &some, 0, "ab a", 4);
    expect_stream(t, &some, 0, "ab a", 4);
    sm_tokenizer_free(t);
    d.v.add_space_prefix = 0;
    t = build(&d);
    EXPECT(t, "  a  b ", 0, 4, 3, 5);
    EXPECT(t, "a" MARK, 0, 4); /* signs for spaces at the end go, those in front stay */
    EXPECT(t, MARK "b", 0, 3, 5);
    expect_text(t, &(ids){{3, 8, 1, 8}, 4}, 0, "a a", 3);
    sm_tokenizer_free(t);
    d.types[6] = SM_TOKEN_UNUSED;
    t = build(&d);
    EXPECT(t, "ab", 0, 4, 5);
    sm_tokenizer_free(t);
    d.types[6] = SM_TOKEN_NORMAL;
    d.v.add_space_prefix = 1;
    d.v.remove_extra_whitespaces = 0;
    t = build(&d);
    EXPECT(t, "  a", 0, 3, 3, 8);
    sm_tokenizer_free(t);
    d.v.escape_whitespaces = 0; /* spaces stay what they are, and that is no token here */
    t = build(&d);
    EXPECT(t, "a b", 0, 2, 4, 2, 5);
    sm_tokenizer_free(t);
    bytes_free(&map);
}

/* SentencePiece adds in single precision: a and b (-1 + 1e-8) are as likely as ab there, and the
 * longer one was there first (0.2.3 of its Python package says so, too). */
static void test_unigram_ties(void **state) {
    (void)state;
    static draft d;
    make_unigram(&d);
    d.v.add_space_prefix = 0;
    d.scores[4] = d.scores[6] = -1;
    d.scores[5] = 1e-8F;
    sm_tokenizer *t = build(&d);
    EXPECT(t, "ab", 0, 6);
    sm_tokenizer_free(t);
    d.scores[5] = 1.2e-7F;
    t = build(&d);
    EXPECT(t, "ab", 0, 4, 5);
    sm_tokenizer_free(t);
}

/* A word of more than 100 characters is unknown, however many bytes these have. */
static void test_wordpiece_long(void **state) {
    (void)state;
    static draft d;
    make_bert(&d);
    sm_tokenizer *t = build(&d);
    for (uint32_t n = 95; n < 100; n++) {
        char text[400] = "the", wide[400] = "the";
        for (uint32_t i = 0; i < n; i++) {
            strcat(text, "s");
            strcat(wide, "\xC5\x9B"); /* s with an accent, which goes */
        }
        strcat(text, ",s");
        strcat(wide, " the");
        ids got;
        encode(t, text, strlen(text), 0, &got);
        assert_int_equal(got.n, n + 3 <= 100 ? n + 3 : 3);
        assert_int_equal(got.id[0], n + 3 <= 100 ? 5 : 1);
        encode(t, wide, strlen(wide), 0, &got);
        assert_int_equal(got.n, n + 3 <= 100 ? n + 2 : 2);
        assert_int_equal(got.id[0], n + 3 <= 100 ? 5 : 1);
        assert_int_equal(got.id[got.n - 1], 5);
    }
    sm_tokenizer_free(t);
}

static void test_unigram_bytes(void **state) {
    (void)state;
    static draft d;
    make_unigram(&d);
    add_spelled_bytes(&d, false); /* 11.. */
    sm_tokenizer *t = build(&d);
    EXPECT(t, "\xC3\xA9z", 0, 3, 11 + 0xC3, 11 + 0xA9, 11 + 'z');
    sm_tokenizer_free(t);
}

/* ---- special tokens ------------------------------------------------------ */

static void test_special_tokens(void **state) {
    (void)state;
    static draft d;
    make_bpe(&d);
    int32_t longer = add(&d, "<ud>>", 0, SM_TOKEN_USER_DEFINED);     /* 271 */
    int32_t start_id = add(&d, "<|im_start|>", 0, SM_TOKEN_CONTROL); /* 272 */
    int32_t end_id = add(&d, "<|im_end|>", 0, SM_TOKEN_NORMAL);      /* the file has it wrong */
    add(&d, "<s>", 0, SM_TOKEN_UNKNOWN);
    add(&d, "</s>", 0, SM_TOKEN_NORMAL); /* may well be an ordinary word */
    add(&d, "<|call|>", 0, SM_TOKEN_CONTROL);
    add(&d, "<|return|>", 0, SM_TOKEN_CONTROL);
    int32_t part = add(&d, "<|end|>", 0, SM_TOKEN_CONTROL);
    sm_tokenizer *t = build(&d);
    EXPECT(t, "a<ud>>b", 0, 'a', longer, 'b');
    EXPECT(t, "<ud<ud>", 0, '<', 'u', 'd', 270);
    EXPECT(t, "<|im_start|>a<|im_end|>", SM_ENCODE_SPECIAL, start_id, 'a', end_id);
    EXPECT(t, "<s>", SM_ENCODE_SPECIAL, 274);
    EXPECT(t, "</s>", SM_ENCODE_SPECIAL, '<', '/', 's', '>');
    EXPECT(t, "<s>", 0, '<', 's', '>');
    assert_int_equal(sm_tokenizer_is_end(t, end_id), 1);
    assert_int_equal(sm_tokenizer_is_end(t, 275), 0);
    assert_int_equal(sm_tokenizer_is_end(t, 276), 1);
    assert_int_equal(sm_tokenizer_is_end(t, part), 0);
    sm_tokenizer_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_tokenizer_get_info(t, &info, NULL), SM_OK);
    assert_int_equal(info.eot, end_id);
    sm_tokenizer_free(t);
}

static void test_markers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int32_t type, end;
    } known[] = {{"<|eot_id|>", SM_TOKEN_CONTROL, 1},    {"<end_of_turn>", SM_TOKEN_NORMAL, 1},
                 {"<|endoftext|>", SM_TOKEN_CONTROL, 1}, {"<|eom_id|>", SM_TOKEN_CONTROL, 1},
                 {"</s>", SM_TOKEN_CONTROL, 1},          {"</s>", SM_TOKEN_NORMAL, 0},
                 {"<|fim_pad|>", SM_TOKEN_CONTROL, 1},   {"<|fim_prefix|>", SM_TOKEN_CONTROL, 0},
                 {"<|channel|>", SM_TOKEN_CONTROL, 0}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        static draft d;
        make_bpe(&d);
        d.tokens[269] = str(known[i].text); /* no longer <|endoftext|> */
        d.types[269] = known[i].type;
        d.v.eos = SM_UNSET;
        sm_tokenizer *t = build(&d);
        assert_int_equal(sm_tokenizer_is_end(t, 269), known[i].end);
        sm_tokenizer_free(t);
    }
    static draft d;
    make_bpe(&d);
    d.v.eot = 5;
    d.v.eom = 6;
    sm_tokenizer *t = build(&d);
    assert_int_equal(sm_tokenizer_is_end(t, 5) + sm_tokenizer_is_end(t, 6), 2);
    sm_tokenizer_free(t);
    make_spm(&d);
    add(&d, "<|tool_response>", 0, SM_TOKEN_CONTROL);
    d.v.eos = 0;
    t = build(&d);
    assert_int_equal(sm_tokenizer_is_end(t, 2), 0); /* </s> is markup beside that one */
    sm_tokenizer_free(t);
}

static void test_stripping(void **state) {
    (void)state;
    static draft d;
    make_bpe(&d);
    d.v.name = str("Phi-3 mini");
    sm_tokenizer *t = build(&d);
    EXPECT(t, "a <ud> \n b", 0, 'a', 32, 270, 'b');
    EXPECT(t, "<|endoftext|> a", SM_ENCODE_SPECIAL, 269, 263);
    sm_tokenizer_free(t);
    d.v.name = str("");
    d.v.pre = str("jina-v2-de");
    int32_t mask = add(&d, "<mask>", 0, SM_TOKEN_CONTROL);
    t = build(&d);
    EXPECT(t, "a \t<mask> b", SM_ENCODE_SPECIAL, 'a', mask, 32, 'b');
    sm_tokenizer_free(t);
    d.tokens[mask] = str("[MASK]");
    d.v.name = str("ModernBert");
    d.v.pre = str("modern-bert");
    t = build(&d);
    EXPECT(t, "a [MASK]", SM_ENCODE_SPECIAL, 'a', 32, mask);
    sm_tokenizer_free(t);
    d.v.name = str("Some MODERN-BERT base");
    t = build(&d);
    EXPECT(t, "a [MASK]", SM_ENCODE_SPECIAL, 'a', mask);
    sm_tokenizer_free(t);
}

/* A text as long as the cache likes, with every way to hand out room. */
static void test_room(void **state) {
    (void)state;
    static draft d;
    make_bpe(&d);
    sm_tokenizer *t = build(&d);
    static char text[6000];
    static int32_t whole[7000], again[7000];
    uint64_t seed = 5, n, m;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "ab c"[test_random(&seed) % 4];
    sm_error error;
    assert_int_equal(sm_tokenizer_encode(t, text, sizeof text, NULL, whole, 7000, &n, &error),
                     SM_OK);
    const uint64_t rooms[] = {n, n + 1, n - 1, 1, 0, sizeof text + 15, sizeof text + 16};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        memset(again, 0x55, sizeof again);
        sm_status status = sm_tokenizer_encode(t, text, sizeof text, NULL, rooms[i] ? again : NULL,
                                               rooms[i], &m, &error);
        assert_int_equal(status, rooms[i] < n ? SM_ERR_BUFFER : SM_OK);
        assert_int_equal(m, n);
        if (!status)
            assert_memory_equal(again, whole, n * sizeof *whole);
        for (uint64_t k = status ? 0 : rooms[i]; k < 7000; k++)
            assert_int_equal(again[k], 0x55555555); /* nothing written that was not asked for */
    }
    for (size_t i = 0; i < n; i += 7) { /* pieces of it, below the length where the cache starts */
        uint64_t length = i % 500;
        sm_tokenizer_encode(t, text, length, NULL, again, 7000, &m, NULL);
        expect_text(t, &(ids){{0}, 0}, 0, "", 0);
    }
    sm_tokenizer_free(t);
}

/* ---- arguments ----------------------------------------------------------- */

static void drop(void *owner) {
    ++*(int *)owner;
}

/* The owner hears of it once, after the last reference went and everything was given back. */
static void test_owner(void **state) {
    (void)state;
    static draft d;
    make_bpe(&d);
    sm_tokenizer *t = build(&d);
    int dropped = 0;
    sm_tokenizer_set_owner(t, drop, &dropped);
    sm_tokenizer_retain(t);
    sm_tokenizer_free(t);
    assert_int_equal(dropped, 0);
    sm_tokenizer_free(t);
    assert_int_equal(dropped, 1);
    assert_int_equal(mem.in_use, 0);
}

static void test_arguments(void **state) {
    (void)state;
    static draft d;
    make_bpe(&d);
    sm_tokenizer *t = build(&d);
    sm_error e;
    int32_t id;
    uint64_t n;
    char c;
    const char *piece;
    assert_int_equal(sm_tokenizer_encode(NULL, "a", 1, NULL, &id, 1, &n, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_tokenizer_encode(t, NULL, 1, NULL, &id, 1, &n, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_tokenizer_encode(t, "a", 1, NULL, NULL, 1, &n, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_tokenizer_encode(t, "a", 1, NULL, &id, 1, NULL, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_tokenizer_encode(t, "a", 1, ENCODE(4), &id, 1, &n, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_tokenizer_encode(t, "a", SM_ZT - 1, NULL, &id, 1, &n, &e), SM_ERR_ARGUMENT);
    sm_encode_options how = {.struct_size = 4};
    assert_int_equal(sm_tokenizer_encode(t, "a", 1, &how, &id, 1, &n, &e), SM_ERR_ARGUMENT);
    how = (sm_encode_options){.struct_size = 8}; /* of a program that knows only the flags */
    assert_int_equal(sm_tokenizer_encode(t, "a", 1, &how, &id, 1, &n, &e), SM_OK);
    assert_int_equal(sm_tokenizer_encode(t, NULL, 0, NULL, NULL, 0, &n, &e), SM_OK);
    assert_int_equal(n, 0);
    id = 'a';
    assert_int_equal(sm_tokenizer_decode(NULL, &id, 1, 0, &c, 1, &n, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_tokenizer_decode(t, NULL, 1, 0, &c, 1, &n, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_tokenizer_decode(t, &id, 1, 0, NULL, 1, &n, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_tokenizer_decode(t, &id, 1, 0, &c, 1, NULL, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_tokenizer_decode(t, &id, 1, 8, &c, 1, &n, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_tokenizer_decode(t, &id, 1, 0, NULL, 0, &n, &e), SM_ERR_BUFFER);
    assert_int_equal(n, 1);
    const int32_t outside[] = {-1, 271, INT32_MAX, INT32_MIN};
    sm_detokenizer *stream;
    assert_int_equal(sm_detokenizer_new(&stream, NULL, 0, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_detokenizer_new(NULL, t, 0, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_detokenizer_new(&stream, t, 8, &e), SM_ERR_ARGUMENT);
    assert_null(stream);
    assert_int_equal(sm_detokenizer_new(&stream, t, 0, &e), SM_OK);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(sm_tokenizer_decode(t, &outside[i], 1, 0, &c, 1, &n, &e), SM_ERR_TOKEN);
        assert_int_equal(sm_detokenizer_feed(stream, outside[i], &piece, &n, &e), SM_ERR_TOKEN);
    }
    assert_int_equal(sm_detokenizer_feed(NULL, 1, &piece, &n, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_detokenizer_feed(stream, 1, NULL, &n, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_detokenizer_flush(stream, &piece, NULL, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_detokenizer_feed(stream, 0xC3, &piece, &n, &e), SM_OK);
    assert_int_equal(n, 0);
    assert_int_equal(sm_detokenizer_reset(stream, NULL), SM_OK); /* what waited is gone */
    assert_int_equal(sm_detokenizer_flush(stream, &piece, &n, &e), SM_OK);
    assert_int_equal(n, 0);
    assert_int_equal(sm_detokenizer_reset(NULL, NULL), SM_ERR_ARGUMENT);
    sm_detokenizer_free(NULL);
    sm_tokenizer_free(NULL);
    sm_tokenizer_info info = {.struct_size = 4};
    assert_int_equal(sm_tokenizer_get_info(t, &info, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_tokenizer_get_info(t, NULL, &e), SM_ERR_ARGUMENT);
    info.struct_size = 12; /* an older, shorter struct */
    info.bos = 1234;
    assert_int_equal(sm_tokenizer_get_info(t, &info, &e), SM_OK);
    assert_int_equal(info.n_vocab, 271);
    assert_int_equal(info.bos, 1234);
    assert_int_equal(sm_tokenizer_find(NULL, "a", 1), -1);
    assert_int_equal(sm_tokenizer_find(t, NULL, 1), -1);
    assert_int_equal(sm_tokenizer_is_end(NULL, 1), 0);
    assert_null(sm_tokenizer_token_text(NULL, 1, &n));
    assert_int_equal(sm_tokenizer_n_vocab(t), 271);
    sm_tokenizer_free(t); /* the stream still holds it */
    assert_int_equal(sm_detokenizer_feed(stream, 'x', &piece, &n, &e), SM_OK);
    assert_string_equal(piece, "x");
    sm_detokenizer_free(stream);
}

/* ---- broken vocabularies ------------------------------------------------- */

static void refuse(const draft *d, sm_status expected, const char *word) {
    sm_tokenizer *t = (sm_tokenizer *)(uintptr_t)1;
    sm_error error = {0};
    assert_int_equal(sm_tokenizer_build(&t, &mem, &d->v, &error), expected);
    assert_null(t);
    assert_int_equal(error.code, expected);
    if (!strstr(error.message, word))
        fail_msg("\"%s\" does not name %s", error.message, word);
    assert_int_equal(mem.in_use, 0);
}

static void test_refused(void **state) {
    (void)state;
    static draft d;
    make_bpe(&d);
    d.v.model = str("rwkv");
    refuse(&d, SM_ERR_UNSUPPORTED, "rwkv");
    d.v.model = str("");
    refuse(&d, SM_ERR_MISSING, "model");
    make_bpe(&d);
    d.v.pre = str("no-such-pre");
    refuse(&d, SM_ERR_UNSUPPORTED, "no-such-pre");
    make_bpe(&d);
    d.v.n_tokens = 0;
    refuse(&d, SM_ERR_MISSING, "tokens");
    d.v.n_tokens = (uint64_t)1 << 40;
    refuse(&d, SM_ERR_FORMAT, "tokens");
    static const char *const bad_merges[] = {"ab", "a ", " b", "", " ", "  "};
    for (size_t i = 0; i < sizeof bad_merges / sizeof *bad_merges; i++) {
        make_bpe(&d);
        d.merges[3] = str(bad_merges[i]);
        refuse(&d, SM_ERR_FORMAT, "merges[3]");
    }
    static char long_text[SM_MAX_TOKEN_BYTES + 2];
    memset(long_text, 'a', sizeof long_text);
    make_bpe(&d);
    d.tokens[7] = (sm_str){long_text, SM_MAX_TOKEN_BYTES + 1};
    refuse(&d, SM_ERR_FORMAT, "tokens[7]");
    make_bpe(&d);
    d.v.add_bos = 1;
    refuse(&d, SM_ERR_MISSING, "bos_token_id");
    d.v.bos = 99999; /* no more than none */
    refuse(&d, SM_ERR_MISSING, "bos_token_id");
    make_bpe(&d);
    d.v.eos = -7;
    d.v.add_eos = 1;
    refuse(&d, SM_ERR_MISSING, "eos_token_id");
    for (int32_t kind = 0; kind < 2; kind++) {
        (kind ? make_unigram : make_spm)(&d);
        d.v.scores = NULL;
        refuse(&d, SM_ERR_MISSING, "scores");
        d.v.scores = d.scores;
        const float bad[] = {NAN, INFINITY, -INFINITY};
        for (size_t i = 0; i < 3; i++) {
            d.scores[4] = bad[i];
            refuse(&d, SM_ERR_FORMAT, "scores[4]");
        }
    }
}

static void test_broken_charsmap(void **state) {
    (void)state;
    static draft d;
    bytes map;
    make_unigram(&d);
    make_charsmap(&map, map_pairs, 4);
    uint8_t *data = map.data;
    const sm_str whole = {(const char *)data, map.size};
    for (uint64_t n = 1; n < 40; n++) { /* cut off within the replacements, or before */
        d.v.charsmap = (sm_str){whole.data, n < 20 ? n : whole.length - (n - 19)};
        sm_tokenizer *t;
        sm_status status = sm_tokenizer_build(&t, &mem, &d.v, NULL);
        assert_int_equal(status, SM_ERR_FORMAT);
    }
    const uint64_t sizes[] = {0, 3, 0xFFFFFFFF, 0xFFFFFFFC, map.size, map.size - 4, map.size - 5};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        bytes_patch(&map, 0, sizes[i], 4);
        d.v.charsmap = whole;
        refuse(&d, SM_ERR_FORMAT, "charsmap");
    }
    bytes_free(&map);
    /* units overwritten at random: refused, or it works somehow */
    uint64_t seed = 1;
    for (uint32_t round = 0; round < 300; round++) {
        make_charsmap(&map, map_pairs, 4);
        for (uint32_t k = 0; k < 3; k++)
            bytes_patch(&map, 4 + 4 * (test_random(&seed) % 1500), test_random(&seed), 4);
        d.v.charsmap = (sm_str){(const char *)map.data, map.size};
        sm_tokenizer *t;
        if (sm_tokenizer_build(&t, &mem, &d.v, NULL) == SM_OK) {
            ids out;
            char text[200];
            for (size_t i = 0; i < sizeof text; i++)
                text[i] = (char)test_random(&seed);
            sm_tokenizer_encode(t, text, sizeof text, NULL, out.id, 4096, &out.n, NULL);
            sm_tokenizer_encode(t, "Aa\xCC\x81 \xEF\xAC\x81", 8, NULL, out.id, 4096, &out.n, NULL);
        }
        sm_tokenizer_free(t);
        bytes_free(&map);
    }
    assert_int_equal(mem.in_use, 0);
}

/* Oddities that are taken: defined results, see text.h. */
static void test_tolerated(void **state) {
    (void)state;
    static draft d;
    make_bpe(&d);
    d.tokens[260] = d.tokens[256];   /* "ab" twice; "cc" is gone, and so is what merges into it */
    d.tokens[257] = str("");         /* "ba" */
    d.tokens[262] = str("\xFF\xFE"); /* "bc": no UTF-8 */
    d.merges[7] = str("nosuch token");
    static char long_merge[SM_MAX_TOKEN_BYTES + 9];
    memset(long_merge, 'a', sizeof long_merge - 1);
    long_merge[5] = ' ';
    d.merges[8] = str(long_merge);
    d.types[5] = 77;
    d.v.bos = 400;
    d.v.eos = INT32_MAX;
    d.v.unk = -1;
    sm_tokenizer *t = build(&d);
    EXPECT(t, "ab", 0, 256);
    EXPECT(t, "ba", 0, 'b', 'a');
    EXPECT(t, "cc", 0, 'c', 'c');
    EXPECT(t, " a", 0, 32, 'a');
    expect_text(t, &(ids){{257, 262, 260}, 3}, 0,
                "\xFF\xFE"
                "ab",
                4);
    sm_tokenizer_free(t);
    make_bpe(&d);
    d.tokens['x'] = str("y"); /* no token for the byte x: dropped, or the unknown token */
    t = build(&d);
    EXPECT(t, "axb", 0, 'a', 'b');
    sm_tokenizer_free(t);
    d.v.unk = 3;
    t = build(&d);
    EXPECT(t, "axb", 0, 'a', 3, 'b');
    sm_tokenizer_free(t);
    make_spm(&d);
    d.tokens[3 + 'x'] = str("<0x-1>");
    d.tokens[3 + 'y'] = str("<0xZZ>");
    d.tokens[3 + 'z'] = str("<0x7A");
    d.tokens[3 + 'w'] = d.tokens[3 + 'v'];
    for (const char *c = "xyz"; *c; c++) {
        sm_error error = {0};
        assert_int_equal(sm_tokenizer_build(&t, &mem, &d.v, &error), SM_ERR_FORMAT);
        char name[40]; /* each of them by itself is none of the byte tokens it is said to be */
        snprintf(name, sizeof name, "tokenizer.ggml.tokens[%d]", 3 + *c);
        assert_non_null(strstr(error.message, name));
        d.types[3 + *c] = SM_TOKEN_NORMAL;
    }
    t = build(&d);
    EXPECT(t, "x", 0, 259, 0);
    EXPECT(t, "w", 0, 259, 0);
    EXPECT(t, "v", 0, 259, 3 + 'v');
    expect_text(t, &(ids){{3 + 'x', 3 + 'z'}, 2}, 0, "<0x-1><0x7A", 11);
    sm_tokenizer_free(t);
    make_spm(&d); /* without types: byte tokens by their text, control by the usual ids */
    d.v.types = NULL;
    t = build(&d);
    EXPECT(t, "x</s>", SM_ENCODE_SPECIAL, 259, 3 + 'x', 2);
    sm_tokenizer_free(t);
    start(&d, "t5"); /* nothing but one token */
    add(&d, "x", -1, SM_TOKEN_NORMAL);
    t = build(&d);
    EXPECT(t, "xyx", 0, 0, 0);
    sm_tokenizer_free(t);
    start(&d, "bert");
    add(&d, MARK "x", 0, SM_TOKEN_NORMAL);
    t = build(&d);
    EXPECT(t, "x y x", SM_ENCODE_MARKERS, 0, 0);
    sm_tokenizer_free(t);
}

/* Vocabularies of random bytes, all kinds: built or refused, and then they encode anything. */
static void test_random_vocabularies(void **state) {
    (void)state;
    static const char *const models[] = {"gpt2", "llama", "bert", "t5"};
    static const char alphabet[] = "ab <>0x|\xC3\xA9\xE2\x96\x81\xFF\n";
    uint64_t seed = 123;
    for (uint32_t round = 0; round < 600; round++) {
        static draft d;
        static char texts[200][12];
        start(&d, models[round % 4]);
        uint64_t n = 1 + test_random(&seed) % 199;
        for (uint64_t i = 0; i < n; i++) {
            add(&d, "", -(float)(test_random(&seed) % 20), (int32_t)(test_random(&seed) % 8));
            d.tokens[i] = (sm_str){texts[i], test_random(&seed) % 6};
            for (size_t k = 0; k < 12; k++)
                texts[i][k] = alphabet[test_random(&seed) % (sizeof alphabet - 1)];
        }
        d.v.n_merges = test_random(&seed) % 30;
        for (uint64_t i = 0; i < d.v.n_merges; i++)
            d.merges[i] = (sm_str){texts[test_random(&seed) % n], 2 + test_random(&seed) % 6};
        d.v.add_space_prefix = test_random(&seed) % 2;
        d.v.remove_extra_whitespaces = test_random(&seed) % 2;
        d.v.unk = (int32_t)(test_random(&seed) % 300);
        sm_tokenizer *t;
        if (sm_tokenizer_build(&t, &mem, &d.v, NULL))
            continue;
        char text[600];
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = alphabet[test_random(&seed) % (sizeof alphabet - 1)];
        ids out;
        for (uint32_t flags = 0; flags < 4; flags++) {
            encode(t, text, sizeof text, flags, &out);
            static char back[65536];
            uint64_t length;
            assert_int_equal(
                sm_tokenizer_decode(t, out.id, out.n, flags, back, sizeof back, &length, NULL),
                SM_OK);
            expect_stream(t, &out, flags, back, length);
        }
        sm_tokenizer_free(t);
        assert_int_equal(mem.in_use, 0);
    }
}

/* ---- no memory ----------------------------------------------------------- */

/* Builds, encodes and streams; the text is long enough for the cache, a long word and
 * invalid bytes. */
static sm_status use_all(sm_mem *from, const draft *d) {
    static char text[1500];
    static int32_t out[4096];
    uint64_t seed = 4, n;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i < 300 ? "abc"[test_random(&seed) % 3] : "abc \xFF"[test_random(&seed) % 5];
    sm_tokenizer *t;
    sm_error error = {0};
    sm_status status = sm_tokenizer_build(&t, from, &d->v, &error);
    if (!status)
        status = sm_tokenizer_encode(t, text, sizeof text, NULL, out, 1400, &n, &error);
    sm_detokenizer *stream = NULL;
    if (!status)
        status = sm_detokenizer_new(&stream, t, 0, &error);
    if (status)
        assert_true(error.code == status && error.message[0]);
    sm_detokenizer_free(stream);
    if (status && t) { /* a failed call leaves the tokenizer usable */
        sm_status again = sm_tokenizer_encode(t, "ab", 2, NULL, out, 1400, &n, &error);
        assert_true(again == SM_OK || again == SM_ERR_NOMEM);
    }
    sm_tokenizer_free(t);
    return status;
}

static void test_no_memory(void **state) {
    (void)state;
    static void (*const make[])(draft *) = {make_bpe, make_spm, make_bert, make_unigram};
    bytes map;
    make_charsmap(&map, map_pairs, 4);
    for (size_t kind = 0; kind < 4; kind++) {
        static draft d;
        make[kind](&d);
        d.v.ignore_merges = 1;
        d.v.charsmap = (sm_str){(const char *)map.data, map.size};
        for (uint32_t sticky = 0; sticky < 2; sticky++) {
            for (uint64_t n = 1;; n++) {
                fail_alloc failing = {.fail_at = n, .sticky = sticky};
                sm_allocator hook = fail_allocator(&failing);
                sm_mem from;
                assert_int_equal(sm_mem_init(&from, &hook, 0, NULL), SM_OK);
                sm_status status = use_all(&from, &d);
                assert_int_equal(failing.live_blocks, 0);
                assert_int_equal(from.in_use, 0);
                if (failing.calls < n) {
                    assert_int_equal(status, SM_OK);
                    assert_true(n > 10);
                    break;
                }
                assert_int_equal(status, SM_ERR_NOMEM);
            }
        }
    }
    bytes_free(&map);
}

/* ---- cancelling ------------------------------------------------------------ */

typedef struct judge {
    uint64_t asked, yes_at; /* the question, from 1, that is answered with yes; 0: none */
} judge;

static int32_t decide(void *user) {
    judge *j = user;
    return ++j->asked == j->yes_at;
}

static sm_status encode_judged(const sm_tokenizer *t, const char *text, uint64_t length,
                               int32_t *out, uint64_t *n, judge *j) {
    sm_error error = {0};
    const sm_encode_options how = {.struct_size = sizeof how, .cancel = decide, .cancel_user = j};
    sm_status status = sm_tokenizer_encode(t, text, length, &how, out, 2 * length + 16, n, &error);
    assert_int_equal(error.code, status);
    return status;
}

/* Long texts of every kind: asked often enough, stopped by any answer, nothing left behind. What
 * is one word, what is many, what is unknown and what is no UTF-8 take different ways. */
static void test_cancel(void **state) {
    (void)state;
    enum { LENGTH = 1 << 18 };
    static void (*const make[])(draft *) = {make_bpe, make_spm, make_bert, make_unigram};
    static const char *const units[] = {"a",     "ab ", " ",    "\xC3\xA9",
                                        "a\xFF", "?",   "<ud>", "\xE4\xB8\xAD"};
    static char text[LENGTH];
    int32_t *out = malloc((2 * LENGTH + 16) * sizeof *out);
    for (size_t kind = 0; kind < 4; kind++) {
        static draft d;
        make[kind](&d);
        sm_tokenizer *t = build(&d);
        const uint64_t idle = mem.in_use;
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            for (size_t i = 0; i < LENGTH; i++)
                text[i] = units[u][i % strlen(units[u])];
            judge j = {0, 0};
            uint64_t n;
            assert_int_equal(encode_judged(t, text, LENGTH, out, &n, &j), SM_OK);
            assert_true(j.asked >= LENGTH / 32768);
            for (uint64_t last = j.asked, at = 1; at <= last; at += 1 + last / 9) {
                j = (judge){0, at};
                assert_int_equal(encode_judged(t, text, LENGTH, out, &n, &j), SM_ERR_CANCELLED);
                assert_int_equal(n, 0);
                assert_int_equal(j.asked, at); /* a yes ends it: no further question */
                assert_int_equal(mem.in_use, idle);
            }
        }
        sm_tokenizer_free(t);
    }
    free(out);
}

/* ---- threads ------------------------------------------------------------- */

typedef struct job {
    const sm_tokenizer *tokenizer;
    const char *text;
    size_t length;
    int32_t ids[4096];
    uint64_t n;
} job;

static void *run_job(void *arg) {
    job *j = arg;
    for (uint32_t i = 0; i < 50; i++)
        if (sm_tokenizer_encode(j->tokenizer, j->text, j->length, NULL, j->ids, 4096, &j->n, NULL))
            j->n = 0;
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    static void (*const make[])(draft *) = {make_bpe, make_spm, make_bert, make_unigram};
    char text[2000];
    uint64_t seed = 8;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "abc\xFF  "[test_random(&seed) % 6];
    for (size_t kind = 0; kind < 4; kind++) {
        static draft d;
        static job jobs[4];
        make[kind](&d);
        sm_tokenizer *t = build(&d);
        pthread_t threads[4];
        for (size_t i = 0; i < 4; i++) {
            jobs[i] = (job){.tokenizer = t, .text = text, .length = sizeof text};
            assert_int_equal(pthread_create(&threads[i], NULL, run_job, &jobs[i]), 0);
        }
        for (size_t i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        for (size_t i = 0; i < 4; i++) {
            assert_true(jobs[i].n > 0);
            assert_int_equal(jobs[i].n, jobs[0].n);
            assert_memory_equal(jobs[i].ids, jobs[0].ids, jobs[0].n * sizeof(int32_t));
        }
        sm_tokenizer_free(t);
    }
}

/* ---- UTF-8 ------------------------------------------------------------------- */

static void test_utf8(void **state) {
    (void)state;
    uint8_t buffer[4];
    uint32_t code;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        uint32_t n = sm_utf8_encode(c, buffer);
        bool surrogate = c >= 0xD800 && c < 0xE000;
        assert_int_equal(sm_utf8_decode(buffer, n, &code), surrogate ? 1 : n);
        assert_int_equal(code, surrogate ? UINT32_MAX : c);
        if (surrogate)
            continue;
        assert_int_equal(sm_utf8_complete(buffer, n), n);
        for (uint32_t cut = 1; cut < n; cut++) {
            assert_int_equal(sm_utf8_decode(buffer, cut, &code), 1);
            assert_int_equal(code, UINT32_MAX);
            assert_int_equal(sm_utf8_complete(buffer, cut), 0);
        }
    }
    static const struct {
        const char *text;
        uint64_t length, complete;
    } cases[] = {{"", 0, 0},
                 {"ab", 2, 2},
                 {"\x80", 1, 1},
                 {"\x80\x80\x80\x80", 4, 4},
                 {"\xC0", 1, 1},
                 {"\xC1\xBF", 2, 2},
                 {"\xF5", 1, 1},
                 {"\xED\xA0", 2, 2},
                 {"\xE0\x80", 2, 2},
                 {"\xF4\x90", 2, 2},
                 {"\xF0\x8F", 2, 2},
                 {"a\xE2\x82", 3, 1},
                 {"\xE2\x82\xE2", 3, 2},
                 {"\xF0\x9F\x98", 3, 0},
                 {"\xF0\x9F\x98\x80\xF0", 5, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(sm_utf8_complete((const uint8_t *)cases[i].text, cases[i].length),
                         cases[i].complete);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_utf8),
        TEST(test_merging_equals_reference),
        TEST(test_sentencepiece_segments),
        TEST(test_bpe),
        TEST(test_ignore_merges),
        TEST(test_round_trip_of_any_bytes),
        TEST(test_spm),
        TEST(test_spm_normalization),
        TEST(test_chars),
        TEST(test_spm_without_bytes),
        TEST(test_wordpiece),
        TEST(test_unigram),
        TEST(test_unigram_ties),
        TEST(test_wordpiece_long),
        TEST(test_unigram_bytes),
        TEST(test_special_tokens),
        TEST(test_markers),
        TEST(test_stripping),
        TEST(test_room),
        TEST(test_owner),
        TEST(test_arguments),
        TEST(test_refused),
        TEST(test_broken_charsmap),
        TEST(test_tolerated),
        TEST(test_random_vocabularies),
        TEST(test_no_memory),
        TEST(test_cancel),
        TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
