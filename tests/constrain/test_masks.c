/* Constraints: masks against what they are defined as, forced text, going back, generation. */
#include "calls.h"
#include "constrain/constrain.h"
#include "smallmind/smallmind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>

#include "fixture.h"
#include "support.h"

#define WORDS ((FIXTURE_VOCAB + 31) / 32)

static const char *bpe_path, *spm_path;
static sm_model *bpe, *spm;
static sm_tokenizer *bpe_tokenizer, *spm_tokenizer;

static sm_constraint *compile(const sm_tokenizer *t, uint32_t kind, const char *text) {
    sm_constraint *c;
    sm_error error = {0};
    if (sm_constraint_new(&c, t, kind, text, strlen(text), NULL, &error))
        fail_msg("%s: %s", text, error.message);
    return c;
}

static sm_constraint_state *state_of(sm_constraint *c) {
    sm_constraint_state *s;
    assert_int_equal(sm_constraint_state_new(&s, c, NULL), SM_OK);
    return s;
}

/* A text drawn at random along masks; at each place every bit is what accepting says. */
static void check_masks(const sm_tokenizer *t, sm_constraint *c, uint64_t seed) {
    sm_constraint_state *s = state_of(c);
    uint32_t mask[WORDS];
    const int32_t n_vocab = FIXTURE_VOCAB;
    for (uint32_t step = 0; step < 24 && !sm_constraint_ended(s); step++) {
        int32_t allowed[FIXTURE_VOCAB];
        uint32_t n = 0;
        assert_int_equal(sm_constraint_mask(s, mask, WORDS, NULL), SM_OK);
        for (int32_t id = 0; id < n_vocab; id++) {
            const bool bit = mask[id / 32] >> id % 32 & 1;
            const sm_status status = sm_constraint_accept(s, id, NULL);
            assert_int_equal(status, bit ? SM_OK : SM_ERR_ARGUMENT);
            if (!status)
                assert_int_equal(sm_constraint_rewind(s, 1, NULL), SM_OK);
            if (bit && sm_tokenizer_is_end(t, id))
                assert_true(sm_constraint_can_end(s));
            else if (bit)
                allowed[n++] = id;
        }
        if (!n)
            break;
        seed = sm_mix64(seed);
        assert_int_equal(sm_constraint_accept(s, allowed[seed % n], NULL), SM_OK);
    }
    sm_constraint_state_free(s);
}

static const char json_like[] = "root ::= \"{\" (pair (\",\" pair)*)? \"}\"\n"
                                "pair ::= str \":\" (str | root | [0-9]{1,4})\n"
                                "str ::= \"\\\"\" [^\"\\\\\\x00-\\x1f]* \"\\\"\"";

static void test_masks(void **state) {
    (void)state;
    static const struct {
        uint32_t kind;
        const char *text;
    } cases[] = {
        {SM_CONSTRAINT_GBNF, json_like},
        {SM_CONSTRAINT_GBNF, "root ::= \"the\" | \"then\" | \" an\" | \"\""},
        {SM_CONSTRAINT_GBNF, "root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"\""},
        {SM_CONSTRAINT_REGEX, ".*"},
        {SM_CONSTRAINT_REGEX, "[^x]*the[^xy]*and.*"},
        {SM_CONSTRAINT_REGEX, "\"([^\"\\\\]|\\\\.)*a([^\"\\\\]|\\\\.)*\" (an|[^a]+)"},
        {SM_CONSTRAINT_REGEX, "[a-z ]{0,5}!"},
        {SM_CONSTRAINT_REGEX, "(the|and)*[^a-t]+"},
        {SM_CONSTRAINT_REGEX, "[\\p{L} ]+"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint64_t seed = 1; seed <= 4; seed++) {
            sm_constraint *c = compile(bpe_tokenizer, cases[i].kind, cases[i].text);
            check_masks(bpe_tokenizer, c, seed);
            sm_constraint_free(c);
            c = compile(spm_tokenizer, cases[i].kind, cases[i].text);
            check_masks(spm_tokenizer, c, seed);
            sm_constraint_free(c);
        }
}

/* ---- random grammars against a recognizer that tries everything ------------------------------ */

typedef struct toy {
    /* rule r: alternatives of up to 3 symbols; a symbol below 3 is a letter, others rules */
    uint8_t n[3], length[3][3], symbol[3][3][3];
} toy;

static uint64_t draw(uint64_t *seed, uint64_t n) {
    return (*seed = sm_mix64(*seed)) % n;
}

/* Later rules begin alternatives with letters, so that no rule begins with itself. */
static void make_toy(toy *t, uint64_t *seed) {
    for (uint32_t r = 0; r < 3; r++) {
        t->n[r] = (uint8_t)(1 + draw(seed, 3));
        for (uint32_t a = 0; a < t->n[r]; a++) {
            t->length[r][a] = (uint8_t)draw(seed, 4);
            for (uint32_t k = 0; k < t->length[r][a]; k++)
                t->symbol[r][a][k] = (uint8_t)(k ? draw(seed, 6) : draw(seed, 3));
        }
    }
}

static void write_toy(const toy *t, char *out) {
    static const char *const names[] = {"\"a\"", "\"b\"", "\"c\"", "root", "r1", "r2"};
    *out = 0;
    for (uint32_t r = 0; r < 3; r++) {
        strcat(strcat(out, names[r + 3]), " ::= ");
        for (uint32_t a = 0; a < t->n[r]; a++) {
            strcat(out, a ? " | \"\" " : "\"\" ");
            for (uint32_t k = 0; k < t->length[r][a]; k++)
                strcat(strcat(out, names[t->symbol[r][a][k]]), " ");
        }
        strcat(out, "\n");
    }
}

/* Bit e of the answer: symbols from k on match text[at..e). */
static uint32_t ends_of(const toy *t, uint32_t r, uint32_t a, uint32_t k, const char *text,
                        uint32_t at) {
    if (k >= 3 || k == t->length[r][a])
        return 1U << at;
    const uint8_t symbol = t->symbol[r][a][k];
    uint32_t first = 0, all = 0;
    if (symbol < 3)
        first = text[at] == (char)('a' + symbol) ? 2U << at : 0;
    else
        for (uint32_t b = 0; b < t->n[symbol - 3]; b++)
            first |= ends_of(t, symbol - 3U, b, 0, text, at);
    for (uint32_t e = at; e <= strlen(text); e++)
        if (first >> e & 1)
            all |= ends_of(t, r, a, k + 1, text, e);
    return all;
}

static void test_toys(void **state) {
    (void)state;
    uint64_t seed = 17;
    for (uint32_t i = 0; i < test_share(300, 40); i++) {
        toy t = {0};
        char grammar[1000], text[7];
        sm_constraint *c;
        sm_error error = {0};
        make_toy(&t, &seed);
        write_toy(&t, grammar);
        if (sm_constraint_new(&c, NULL, SM_CONSTRAINT_GBNF, grammar, strlen(grammar), NULL,
                              &error)) {
            assert_non_null(strstr(error.message, "no text"));
            continue;
        }
        sm_constraint_state *s = state_of(c);
        for (uint32_t n = 0; n < 1093; n++) { /* all texts of up to six letters of three */
            uint32_t v = n, length = 0, expected = 0;
            for (; v > 0; v = (v - 1) / 3)
                text[length++] = (char)('a' + (v - 1) % 3);
            text[length] = 0;
            for (uint32_t a = 0; a < t.n[0]; a++)
                expected |= ends_of(&t, 0, a, 0, text, 0);
            const bool got =
                !sm_constraint_accept_text(s, text, length, NULL) && sm_constraint_can_end(s);
            if (got != (expected >> length & 1))
                fail_msg("%s\n'%s'", grammar, text);
            sm_constraint_reset(s, NULL);
        }
        sm_constraint_state_free(s);
        sm_constraint_free(c);
    }
}

static void test_forced(void **state) {
    (void)state;
    sm_constraint *c =
        compile(bpe_tokenizer, SM_CONSTRAINT_GBNF, "root ::= \"x the an\" [dt] \"!\"");
    sm_constraint_state *s = state_of(c), *f;
    char text[32];
    int32_t ids[32];
    uint64_t n;
    assert_int_equal(sm_constraint_forced_text(s, text, sizeof text, &n, NULL), SM_OK);
    assert_int_equal(n, 8);
    assert_memory_equal(text, "x the an", 8);
    assert_int_equal(sm_constraint_forced_text(s, text, 3, &n, NULL), SM_ERR_BUFFER);
    assert_int_equal(n, 8);
    /* "an" may become "and": it is not settled; " the" is */
    assert_int_equal(sm_constraint_forced(s, ids, 32, &n, NULL), SM_OK);
    char decoded[32];
    uint64_t length;
    assert_int_equal(sm_tokenizer_decode(bpe_tokenizer, ids, n, 0, decoded, 32, &length, NULL),
                     SM_OK);
    assert_int_equal(length, 6);
    assert_memory_equal(decoded, "x the ", 6);
    assert_int_equal(n, 3);
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(sm_constraint_accept(s, ids[i], NULL), SM_OK);
    assert_int_equal(sm_constraint_state_fork(&f, s, NULL), SM_OK);
    assert_int_equal(sm_constraint_accept_text(f, "and!", 4, NULL), SM_OK);
    assert_int_equal(sm_constraint_ended(f), 1);
    assert_int_equal(sm_constraint_can_end(s), 0);
    assert_int_equal(sm_constraint_rewind(f, 4, NULL), SM_OK);
    assert_int_equal(sm_constraint_rewind(f, 1, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_constraint_accept_text(f, "x the ant!", 10, NULL), SM_OK);
    sm_constraint_state_free(f);
    sm_constraint_state_free(s);
    sm_constraint_free(c);
}

static void test_trigger(void **state) {
    (void)state;
    static const sm_text triggers[] = {{"<x>!", 3}, {"</s>", SM_ZT}};
    const sm_constraint_options options = {
        .struct_size = sizeof options, .n_triggers = 2, .triggers = triggers};
    sm_constraint *c;
    assert_int_equal(
        sm_constraint_new(&c, bpe_tokenizer, SM_CONSTRAINT_REGEX, "[0-9]+", 6, &options, NULL),
        SM_OK);
    sm_constraint_state *s = state_of(c);
    assert_int_equal(sm_constraint_can_end(s), 1);
    assert_int_equal(sm_constraint_accept_text(s, "free <x text", 12, NULL), SM_OK);
    assert_int_equal(sm_constraint_can_end(s), 1);
    assert_int_equal(sm_constraint_accept_text(s, "<x>a", 4, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_constraint_accept_text(s, "<x>", 3, NULL), SM_OK);
    assert_int_equal(sm_constraint_can_end(s), 0);
    assert_int_equal(sm_constraint_accept_text(s, "a", 1, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_constraint_accept_text(s, "12", 2, NULL), SM_OK);
    assert_int_equal(sm_constraint_can_end(s), 1);
    sm_constraint_state_free(s);
    check_masks(bpe_tokenizer, c, 5);
    sm_constraint_free(c);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *grammar, *says;
        sm_status status;
    } cases[] = {
        {"root ::= \"a\"{3,1}", "line 1", SM_ERR_FORMAT},
        {"root ::= root \"a\" | \"b\"", "'root' begins with itself", SM_ERR_UNSUPPORTED},
        {"root ::= x\nx ::= \"\" y\ny ::= x? root", "begins with itself", SM_ERR_UNSUPPORTED},
        {"root ::= nil", "'nil' is not defined", SM_ERR_FORMAT},
        {"root ::= \"a\" root", "no text", SM_ERR_ARGUMENT},
        {"root ::= <think>", "tokens", SM_ERR_UNSUPPORTED},
        {"root ::= \"\\q\"", "escape", SM_ERR_FORMAT},
        {"root ::= \"a\"\nroot ::= \"b\"", "twice", SM_ERR_FORMAT},
        {"root ::= [b-a]", "range", SM_ERR_FORMAT},
        {"root ::= \"a\"{4000000000}", "more than", SM_ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sm_constraint *c;
        sm_error error = {0};
        assert_int_equal(sm_constraint_new(&c, NULL, SM_CONSTRAINT_GBNF, cases[i].grammar,
                                           strlen(cases[i].grammar), NULL, &error),
                         cases[i].status);
        assert_null(c);
        if (!strstr(error.message, cases[i].says))
            fail_msg("%s: %s", cases[i].grammar, error.message);
    }
    sm_constraint *c;
    assert_int_equal(sm_constraint_new(&c, NULL, 77, "a", 1, NULL, NULL), SM_ERR_ARGUMENT);
    c = compile(NULL, SM_CONSTRAINT_REGEX, "a");
    sm_constraint_state *s = state_of(c);
    uint32_t mask[WORDS];
    assert_int_equal(sm_constraint_mask(s, mask, WORDS, NULL), SM_ERR_MISSING);
    sm_constraint_state_free(s);
    sm_constraint_free(c);
}

/* What would explode if it were written out costs little, or its limit. */
static void test_hostile(void **state) {
    (void)state;
    sm_constraint *c =
        compile(NULL, SM_CONSTRAINT_GBNF,
                "root ::= (([a-z]{0,100000} [0-9]{0,100000}){0,100000} \"x\"){0,100000}");
    sm_constraint_state *s = state_of(c);
    char text[2000];
    memset(text, 'a', sizeof text);
    assert_int_equal(sm_constraint_accept_text(s, text, 300, NULL), SM_OK);
    sm_constraint_state_free(s);
    sm_constraint_free(c);
    memset(text, '(', sizeof text);
    memcpy(text, "root ::= ", 9);
    assert_int_equal(sm_constraint_new(&c, NULL, SM_CONSTRAINT_GBNF, text, sizeof text, NULL, NULL),
                     SM_ERR_UNSUPPORTED);
}

/* Ends at the n-th question. */
static int32_t countdown(void *user) {
    uint32_t *left = user;
    return *left == 0 || --*left == 0;
}

/* Making can be ended at any question: nothing is left behind, and who never says so gets it. */
static void test_cancelled(void **state) {
    (void)state;
    static const char *const texts[] = {
        "root ::= (a | b){2,9}\na ::= [a-z]{1,200} \"x\" | [^a-f]{3,70} b?\nb ::= \"b\" a | [0-9]",
        "(\\w{1,30}|\\p{L}+x){1,20}(?=.*z)[^é]+", "root ::= root \"+\" root | [0-9]"};
    static const uint32_t kinds[] = {SM_CONSTRAINT_GBNF, SM_CONSTRAINT_REGEX,
                                     SM_CONSTRAINT_GRAMMAR};
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t left, asked = 0;
        sm_status status = SM_ERR_CANCELLED;
        const sm_constraint_options o = {
            .struct_size = sizeof o, .cancel = countdown, .cancel_user = &left};
        while (status == SM_ERR_CANCELLED && asked++ < 10000) {
            sm_constraint *c;
            left = asked;
            status = sm_constraint_new(&c, NULL, kinds[i], texts[i], strlen(texts[i]), &o, NULL);
            assert_int_equal(c == NULL, status != SM_OK);
            sm_constraint_free(c);
        }
        assert_int_equal(status, SM_OK);
        assert_true(asked > (i == 1 ? 2 : 1));
    }
}

/* ---- generation ------------------------------------------------------------------------------ */

typedef struct written {
    char text[4000];
    int32_t ids[2000];
    uint32_t n;
} written;

static int32_t take(void *user, const sm_token *token) {
    written *w = user;
    strncat(w->text, token->text, (size_t)token->length);
    if (token->id >= 0)
        w->ids[w->n++] = token->id;
    return 0;
}

static void generate(const sm_model *model, sm_constraint *c, uint32_t threads, uint32_t most,
                     double temperature, written *w, uint32_t *finish) {
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = threads, .n_ctx = 256};
    const sm_sampling sampling = {
        .struct_size = sizeof sampling, .temperature = temperature, .seed = 3};
    const sm_generate_options o = {
        .struct_size = sizeof o, .max_tokens = most, .sampling = &sampling, .constraint = c};
    sm_generate_stats stats = {.struct_size = sizeof stats};
    sm_session *s;
    sm_error error = {0};
    memset(w, 0, sizeof *w);
    assert_int_equal(sm_session_new(&s, model, &so, NULL), SM_OK);
    if (sm_session_generate(s, "the", SM_ZT, &o, take, w, &error))
        fail_msg("%s", error.message);
    assert_int_equal(sm_session_get_stats(s, &stats, NULL), SM_OK);
    assert_int_equal(stats.generated_tokens, w->n);
    assert_int_equal(sm_session_length(s), stats.prompt_tokens + (w->n ? w->n - 1 : 0));
    for (uint32_t i = 0; i + 1 < w->n; i++)
        assert_int_equal(test_token(s, stats.prompt_tokens + i), w->ids[i]);
    *finish = stats.finish;
    sm_session_free(s);
}

static void test_generate(void **state) {
    (void)state;
    static const sm_text texts[] = {{"yes", SM_ZT}, {"no", 2}, {"perhaps the other", SM_ZT}};
    for (int k = 0; k < 2; k++) {
        const sm_model *model = k ? spm : bpe;
        const sm_tokenizer *t = k ? spm_tokenizer : bpe_tokenizer;
        sm_constraint *c;
        written one, two;
        uint32_t finish;
        assert_int_equal(sm_constraint_new_choices(&c, t, texts, 3, NULL, NULL), SM_OK);
        generate(model, c, 1, 0, 0, &one, &finish);
        assert_int_equal(finish, SM_FINISH_END);
        assert_true(!strcmp(one.text, texts[0].text) || !strcmp(one.text, texts[1].text) ||
                    !strcmp(one.text, texts[2].text));
        sm_constraint_free(c);

        c = compile(t, SM_CONSTRAINT_GBNF, "root ::= \"{the an: \" [a-z]{3,9} \"; \" [0-9]+ \"}\"");
        generate(model, c, 1, 0, 1, &one, &finish);
        generate(model, c, 3, 0, 1, &two, &finish);
        assert_string_equal(one.text, two.text);
        sm_constraint_state *s = state_of(c);
        assert_int_equal(sm_constraint_accept_text(s, one.text, strlen(one.text), NULL), SM_OK);
        if (finish == SM_FINISH_END)
            assert_int_equal(sm_constraint_can_end(s), 1);
        sm_constraint_state_free(s);
        generate(model, c, 2, 3, 0, &one, &finish);
        assert_int_equal(finish, SM_FINISH_LENGTH);
        assert_int_equal(one.n, 3);
        sm_constraint_free(c);
    }
}

/* A mask in the options of sampling. */
static void test_sampling_mask(void **state) {
    (void)state;
    uint32_t mask[WORDS] = {0};
    sm_session *s;
    int32_t id;
    mask[2] = 1U << 7;
    const sm_sampling sampling = {.struct_size = sizeof sampling, .mask = mask};
    assert_int_equal(sm_session_new(&s, bpe, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, &(int32_t){65}, 1, NULL), SM_OK);
    assert_int_equal(test_sample(s, &sampling, &id, NULL, NULL), SM_OK);
    assert_int_equal(id, 71);
    sm_session_free(s);
}

/* A text under a constraint as a loop of one's own writes it, from the beginning of the state. */
static void write_once(sm_constraint_state *s, const int32_t *ids, uint64_t n_ids) {
    uint32_t mask[WORDS];
    int32_t forced[64];
    uint64_t n;
    assert_int_equal(sm_constraint_reset(s, NULL), SM_OK);
    for (uint64_t i = 0; i < n_ids; i++) {
        assert_int_equal(sm_constraint_mask(s, mask, WORDS, NULL), SM_OK);
        assert_true(mask[ids[i] / 32] >> ids[i] % 32 & 1);
        assert_int_equal(sm_constraint_forced(s, forced, 64, &n, NULL), SM_OK);
        assert_int_equal(sm_constraint_accept(s, ids[i], NULL), SM_OK);
    }
    assert_int_equal(sm_constraint_can_end(s), 1);
}

/* Once a text was written under a constraint, the next time allocates nothing: more places than
 * masks are kept, text that is forced, stacks. */
static void test_nothing_allocated(void **state) {
    (void)state;
    static const char text[] =
        "{\"the hand\":{\"a\":\"0123456789\",\"b\":{\"c\":17}},\"and the other\":9}forced end.";
    static const char grammar[] = "root ::= top \"forced end.\"\n"
                                  "top ::= \"{\" pair (\",\" pair)* \"}\"\n"
                                  "pair ::= str \":\" (str | top | [0-9]{1,4})\n"
                                  "str ::= \"\\\"\" [^\"]* \"\\\"\"";
    fail_alloc counted = {0};
    const sm_allocator hook = fail_allocator(&counted);
    const sm_tokenizer_options to = {.struct_size = sizeof to, .allocator = &hook};
    const sm_constraint_options co = {.struct_size = sizeof co, .allocator = &hook};
    sm_tokenizer *t;
    sm_constraint *c;
    int32_t ids[128];
    uint64_t n;
    assert_int_equal(sm_tokenizer_load(&t, bpe_path, &to, NULL), SM_OK);
    assert_int_equal(
        sm_constraint_new(&c, t, SM_CONSTRAINT_GBNF, grammar, strlen(grammar), &co, NULL), SM_OK);
    assert_int_equal(sm_tokenizer_encode(t, text, sizeof text - 1, 0, ids, 128, &n, NULL), SM_OK);
    sm_constraint_state *s = state_of(c);
    write_once(s, ids, n);
    const uint64_t before = counted.calls;
    assert_true(n > 33); /* more places than masks are kept */
    write_once(s, ids, n);
    write_once(s, ids, n);
    assert_int_equal(counted.calls, before);
    sm_constraint_state_free(s);
    sm_constraint_free(c);
    sm_tokenizer_free(t);
    assert_int_equal(counted.live_blocks, 0);
}

/* Whichever allocation fails: SM_ERR_NOMEM, nothing left behind; the text is what it would be. */
static void test_no_memory(void **state) {
    (void)state;
    uint32_t mask[WORDS];
    for (uint64_t at = 1;; at++) {
        fail_alloc failing = {.fail_at = at, .sticky = true};
        const sm_allocator hook = fail_allocator(&failing);
        const sm_constraint_options options = {.struct_size = sizeof options, .allocator = &hook};
        sm_constraint *c;
        sm_constraint_state *s = NULL;
        int32_t ids[64];
        uint64_t n;
        sm_status status = sm_constraint_new(&c, bpe_tokenizer, SM_CONSTRAINT_GBNF, json_like,
                                             strlen(json_like), &options, NULL);
        if (!status)
            status = sm_constraint_state_new(&s, c, NULL);
        if (!status)
            status = sm_constraint_accept_text(s, "{\"a\":{", 6, NULL);
        if (!status)
            status = sm_constraint_mask(s, mask, WORDS, NULL);
        if (!status)
            status = sm_constraint_forced(s, ids, 64, &n, NULL);
        sm_constraint_state_free(s);
        sm_constraint_free(c);
        assert_int_equal(failing.live_blocks, 0);
        if (!status)
            break;
        assert_int_equal(status, SM_ERR_NOMEM);
    }
}

static int set_up(void **state) {
    (void)state;
    const fixture_model plain = {.seed = 5}, pieces = {.seed = 6, .spm = true};
    bpe_path = scratch_path("bpe.gguf");
    spm_path = scratch_path("spm.gguf");
    return fixture_write(bpe_path, &plain) || fixture_write(spm_path, &pieces) ||
           sm_model_load(&bpe, bpe_path, NULL, NULL) || sm_model_load(&spm, spm_path, NULL, NULL) ||
           sm_model_get_tokenizer(bpe, &bpe_tokenizer, NULL) ||
           sm_model_get_tokenizer(spm, &spm_tokenizer, NULL);
}

static int tear_down(void **state) {
    (void)state;
    sm_tokenizer_free(bpe_tokenizer);
    sm_tokenizer_free(spm_tokenizer);
    sm_model_free(bpe);
    sm_model_free(spm);
    return 0;
}

/* ---- many at once ---------------------------------------------------------------------------- */

#define THREADS 4
#define STEPS 20

typedef struct walker {
    sm_constraint *c;
    uint64_t seed;
    uint32_t n;
    int32_t ids[STEPS];
    uint32_t masks[STEPS][WORDS];
    sm_status status;
} walker;

/* A text drawn along the masks; forced text and forks in between. */
static void *walk_along(void *user) {
    walker *w = user;
    sm_constraint_state *s, *f;
    uint64_t seed = w->seed, n;
    int32_t forced[64];
    w->status = sm_constraint_state_new(&s, w->c, NULL);
    for (w->n = 0; !w->status && w->n < STEPS && !sm_constraint_ended(s); w->n++) {
        w->status = sm_constraint_mask(s, w->masks[w->n], WORDS, NULL);
        if (!w->status)
            w->status = sm_constraint_forced(s, forced, 64, &n, NULL);
        int32_t id = (int32_t)((seed = sm_mix64(seed)) % FIXTURE_VOCAB);
        while (!w->status && !(w->masks[w->n][id / 32] >> id % 32 & 1))
            id = (id + 1) % FIXTURE_VOCAB;
        w->ids[w->n] = id;
        if (!w->status)
            w->status = sm_constraint_state_fork(&f, s, NULL);
        if (!w->status) {
            sm_constraint_state_free(s);
            s = f;
            w->status = sm_constraint_accept(s, id, NULL);
        }
    }
    sm_constraint_state_free(s);
    return NULL;
}

/* One constraint, used for the first time by several threads at once: each has the masks that it
 * has alone. */
static void test_threads(void **state) {
    (void)state;
    static const char longer[] = "root ::= \"{\" pair (\",\" pair)* \"}\"\n"
                                 "pair ::= [a-zé\" ]{3,40} \":\" (root | [0-9]{2,4}) \"forced\"";
    static walker alone, together[THREADS];
    pthread_t threads[THREADS];
    sm_constraint *c = compile(bpe_tokenizer, SM_CONSTRAINT_GBNF, longer);
    for (uint32_t i = 0; i < THREADS; i++) {
        together[i] = (walker){.c = c, .seed = 7 + i / 2};
        assert_int_equal(pthread_create(&threads[i], NULL, walk_along, &together[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    sm_constraint_free(c);
    for (uint32_t i = 0; i < THREADS; i++) {
        c = compile(bpe_tokenizer, SM_CONSTRAINT_GBNF, longer);
        alone = (walker){.c = c, .seed = 7 + i / 2};
        walk_along(&alone);
        sm_constraint_free(c);
        assert_int_equal(together[i].status, SM_OK);
        assert_true(alone.n > 2);
        assert_int_equal(together[i].n, alone.n);
        assert_memory_equal(together[i].ids, alone.ids, alone.n * sizeof *alone.ids);
        assert_memory_equal(together[i].masks, alone.masks, alone.n * sizeof *alone.masks);
    }
}

#define AT_ONCE 3
#define BATCH_STEPS 12

/* The sequences of a batch, each with a state of its own of one constraint: the tokens that each
 * would have alone. */
static void write_sequences(sm_constraint *c, uint32_t from, uint32_t to,
                            int32_t out[AT_ONCE][BATCH_STEPS]) {
    const sm_batch_options bo = {.struct_size = sizeof bo, .n_threads = 2};
    sm_batch *batch;
    sm_session *sessions[AT_ONCE];
    sm_constraint_state *states[AT_ONCE];
    sm_batch_item items[AT_ONCE] = {{0}};
    int32_t ids[AT_ONCE];
    assert_int_equal(sm_batch_new(&batch, bpe, &bo, NULL), SM_OK);
    for (uint32_t k = from; k < to; k++) {
        assert_int_equal(sm_batch_new_session(&sessions[k], batch, NULL, NULL), SM_OK);
        states[k] = state_of(c);
        ids[k] = (int32_t)(65 + k);
        items[k] = (sm_batch_item){.struct_size = sizeof(sm_batch_item),
                                   .session = sessions[k],
                                   .ids = &ids[k],
                                   .n_ids = 1};
    }
    for (uint32_t i = 0; i < BATCH_STEPS; i++) {
        assert_int_equal(sm_batch_step(batch, items + from, to - from, NULL), SM_OK);
        for (uint32_t k = from; k < to; k++) {
            uint32_t mask[WORDS];
            const sm_sampling sampling = {
                .struct_size = sizeof sampling, .temperature = 1, .seed = 4 + k, .mask = mask};
            assert_int_equal(sm_constraint_mask(states[k], mask, WORDS, NULL), SM_OK);
            assert_int_equal(test_sample(sessions[k], &sampling, &ids[k], NULL, NULL), SM_OK);
            assert_int_equal(sm_constraint_accept(states[k], ids[k], NULL), SM_OK);
            out[k][i] = ids[k];
        }
    }
    for (uint32_t k = from; k < to; k++) {
        sm_constraint_state_free(states[k]);
        sm_session_free(sessions[k]);
    }
    sm_batch_free(batch);
}

static void test_batch(void **state) {
    (void)state;
    int32_t together[AT_ONCE][BATCH_STEPS], alone[AT_ONCE][BATCH_STEPS];
    sm_constraint *c = compile(bpe_tokenizer, SM_CONSTRAINT_GBNF,
                               "root ::= \"{\" ([a-z]+ [0-9] | \"; \")+ \"}\" .*");
    write_sequences(c, 0, AT_ONCE, together);
    for (uint32_t k = 0; k < AT_ONCE; k++)
        write_sequences(c, k, k + 1, alone);
    assert_memory_equal(together, alone, sizeof alone);
    assert_memory_not_equal(together[0], together[1], sizeof *together);
    sm_constraint_free(c);
}

static void run_with(sm_generate_options o, uint32_t n_ctx, sm_constraint *c, written *w,
                     sm_generate_stats *stats) {
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = 2, .n_ctx = n_ctx};
    sm_session *s;
    sm_error error = {0};
    o.struct_size = sizeof o;
    o.constraint = c;
    memset(w, 0, sizeof *w);
    *stats = (sm_generate_stats){.struct_size = sizeof *stats};
    assert_int_equal(sm_session_new(&s, bpe, &so, NULL), SM_OK);
    if (sm_session_generate(s, "the an the an the", SM_ZT, &o, take, w, &error))
        fail_msg("%s", error.message);
    assert_int_equal(sm_session_get_stats(s, stats, NULL), SM_OK);
    sm_session_free(s);
}

/* Guessed tokens change nothing about what is written under a constraint. */
static void test_guesses(void **state) {
    (void)state;
    sm_constraint *c = compile(bpe_tokenizer, SM_CONSTRAINT_GBNF,
                               "root ::= (\"the an: \" [a-d]{1,3} \"; \")+ [0-9]+");
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = 1, .n_ctx = 256};
    sm_session *draft;
    assert_int_equal(sm_session_new(&draft, bpe, &so, NULL), SM_OK);
    for (uint32_t k = 0; k < 2; k++) {
        const sm_sampling sampling = {.struct_size = sizeof sampling, .temperature = k, .seed = 3};
        sm_generate_options o = {.max_tokens = 90, .sampling = &sampling};
        written plain, guessed;
        sm_generate_stats stats;
        run_with(o, 256, c, &plain, &stats);
        assert_true(plain.n > 20);
        o.speculate = SM_SPECULATE_NGRAM;
        run_with(o, 256, c, &guessed, &stats);
        assert_int_equal(guessed.n, plain.n);
        assert_memory_equal(guessed.ids, plain.ids, plain.n * sizeof *plain.ids);
        o.draft = draft;
        run_with(o, 256, c, &guessed, &stats);
        assert_int_equal(guessed.n, plain.n);
        assert_memory_equal(guessed.ids, plain.ids, plain.n * sizeof *plain.ids);
    }
    sm_session_free(draft);
    sm_constraint_free(c);
}

/* What leaves a full context stays part of the text that the constraint is for. */
static void test_full_context(void **state) {
    (void)state;
    sm_constraint *c =
        compile(bpe_tokenizer, SM_CONSTRAINT_GBNF, "root ::= \"{\" ([a-z] [a-z] [0-9]){100} \"}\"");
    const sm_sampling sampling = {.struct_size = sizeof sampling, .temperature = 1, .seed = 3};
    const sm_generate_options o = {
        .max_tokens = 600, .sampling = &sampling, .context_full = SM_CONTEXT_SLIDE};
    written w;
    sm_generate_stats stats;
    run_with(o, 64, c, &w, &stats);
    assert_int_equal(stats.finish, SM_FINISH_END);
    assert_true(w.n > 128);
    sm_constraint_state *s = state_of(c);
    assert_int_equal(sm_constraint_accept_text(s, w.text, strlen(w.text), NULL), SM_OK);
    assert_int_equal(sm_constraint_ended(s), 1);
    sm_constraint_state_free(s);
    sm_constraint_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_toys),
        cmocka_unit_test(test_forced),
        cmocka_unit_test(test_trigger),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_generate),
        cmocka_unit_test(test_sampling_mask),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_nothing_allocated),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_guesses),
        cmocka_unit_test(test_full_context),
    };
    return cmocka_run_group_tests_name("constrain", tests, set_up, tear_down);
}
