/* Decoding several sequences together through the public API: bits, failures, memory, order
 * of freeing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "calls.h"
#include "blocks.h"
#include "fixture.h"
#include "run/run.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define VOCAB FIXTURE_VOCAB
#define LONG 4200 /* tokens of the long sequence: over many blocks of the cache */

static sm_model *open_model(const fixture_model *spec, const sm_model_options *options) {
    const char *path = scratch_path("batch_api.gguf");
    sm_error error = {0};
    sm_model *model;
    assert_int_equal(fixture_write(path, spec), 0);
    if (sm_model_load(&model, path, options, &error))
        fail_msg("%s", error.message);
    return model;
}

static sm_batch *open_batch(const sm_model *model, uint32_t n_threads, uint32_t n_batch,
                            uint32_t n_ctx) {
    const sm_batch_options o = {
        .struct_size = sizeof o, .n_threads = n_threads, .n_batch = n_batch, .n_ctx = n_ctx};
    sm_error error = {0};
    sm_batch *batch;
    if (sm_batch_new(&batch, model, &o, &error))
        fail_msg("%s", error.message);
    /* else these tiny steps would run on one thread */
    sm_team_set_barrier_ns(batch->team, 0);
    return batch;
}

static sm_session *open_session(sm_batch *batch) {
    sm_error error = {0};
    sm_session *session;
    if (sm_batch_new_session(&session, batch, NULL, &error))
        fail_msg("%s", error.message);
    return session;
}

static int32_t id_of(uint32_t sequence, uint32_t position) {
    uint64_t state = (uint64_t)sequence << 32 | position;
    return (int32_t)(test_random(&state) % VOCAB);
}

static void fill_ids(int32_t *ids, uint32_t sequence, uint32_t position, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        ids[i] = id_of(sequence, position + i);
}

static const float *logits_of(const sm_session *session) {
    const float *logits;
    sm_error error = {0};
    if (sm_session_logits(session, &logits, NULL, &error))
        fail_msg("%s", error.message);
    return logits;
}

static void step(sm_batch *batch, const sm_batch_item *items, uint64_t n) {
    sm_error error = {0};
    if (sm_batch_step(batch, items, n, &error))
        fail_msg("%s", error.message);
}

/* ---- bits ------------------------------------------------------------------------------ */

#define SEQUENCES 8
#define TAIL 12 /* positions at the end of each sequence whose logits are compared */

static uint32_t length_of(uint32_t sequence) {
    return sequence == 0 ? LONG : 20 + 37 * sequence;
}

typedef float tail_logits[SEQUENCES][TAIL][VOCAB];

/* Every sequence in a session of its own. */
static void compute_alone(const sm_model *model, tail_logits out, uint32_t kv_type) {
    static int32_t ids[LONG];
    for (uint32_t s = 0; s < SEQUENCES; s++) {
        const uint32_t n = length_of(s);
        const sm_session_options o = {
            .struct_size = sizeof o, .n_ctx = LONG, .n_threads = 1, .kv_type = kv_type};
        sm_session *session;
        assert_int_equal(sm_session_new(&session, model, &o, NULL), SM_OK);
        fill_ids(ids, s, 0, n);
        assert_int_equal(sm_session_feed(session, ids, n - TAIL, NULL), SM_OK);
        assert_int_equal(
            sm_session_feed_logits(session, ids + n - TAIL, TAIL, out[s][0], UINT64_MAX, NULL),
            SM_OK);
        sm_session_free(session);
    }
}

/* All in one batch: chunks of prompts and single tokens in the same steps, sequences that come
 * and go, in an order and with companions that `mix` says; the last TAIL tokens one by one. */
static void compute_together(const sm_model *model, tail_logits out, uint32_t n_threads,
                             uint32_t mix, uint32_t kv_type) {
    enum { N_BATCH = 700 };
    static int32_t ids[SEQUENCES][N_BATCH];
    const sm_session_options o = {.struct_size = sizeof o, .kv_type = kv_type};
    sm_batch *batch = open_batch(model, n_threads, N_BATCH, LONG);
    sm_session *sessions[SEQUENCES];
    for (uint32_t s = 0; s < SEQUENCES; s++)
        assert_int_equal(sm_batch_new_session(&sessions[s], batch, &o, NULL), SM_OK);
    sm_batch_free(batch); /* its sessions keep it */
    for (uint32_t round = 0;; round++) {
        sm_batch_item items[SEQUENCES];
        uint32_t n_items = 0, left = N_BATCH, fed = 0;
        for (uint32_t i = 0; i < SEQUENCES; i++) {
            const uint32_t s = (i * 3 + mix * 5 + round * (mix % 2)) % SEQUENCES;
            const uint32_t held = sm_session_length(sessions[s]), all = length_of(s);
            const uint32_t single = all - TAIL; /* from here on one by one */
            const uint32_t chunk = s == 0 ? 400 : 1 + (s + round + mix) % 31;
            uint32_t n = held < single ? (chunk < single - held ? chunk : single - held)
                                       : (held < all ? 1 : 0);
            if ((s + round + mix) % 5 == 0 && round < 20)
                n = 0; /* pauses */
            n = n < left ? n : left;
            left -= n;
            fed += n + (held < all);
            if (n == 0 && round % 2)
                continue; /* left out, or in the step with no tokens */
            fill_ids(ids[s], s, held, n);
            items[n_items++] = (sm_batch_item){
                .struct_size = sizeof(sm_batch_item),
                .session = sessions[s],
                .ids = ids[s],
                .n_ids = n,
                .logits = held >= single && n && (s + mix) % 2 ? out[s][held - single] : NULL,
                .n_logits = VOCAB * n};
        }
        if (!fed)
            break;
        step(batch, items, n_items);
        for (uint32_t i = 0; i < n_items; i++) {
            for (uint32_t s = 0; s < SEQUENCES; s++) {
                const uint32_t held = sm_session_length(sessions[s]), all = length_of(s);
                if (sessions[s] != items[i].session || !items[i].n_ids || held <= all - TAIL)
                    continue;
                float *row = out[s][held - 1 - (all - TAIL)];
                if (items[i].logits)
                    assert_memory_equal(row, logits_of(sessions[s]), sizeof out[s][0]);
                else
                    memcpy(row, logits_of(sessions[s]), sizeof out[s][0]);
            }
        }
    }
    for (uint32_t s = 0; s < SEQUENCES; s++)
        sm_session_free(sessions[(s + mix) % SEQUENCES]);
}

static void every_composition_gives_the_bits_of_each_alone(void **state) {
    (void)state;
    static tail_logits alone, together;
    const struct {
        fixture_model model;
        uint32_t kv_type;
    } cases[] = {{{.type = SM_DTYPE_Q8_0, .n_ctx = 8192, .no_vocab = true}, SM_KV_TYPE_F16},
                 {{.type = SM_DTYPE_Q4_K, .n_embd = 256, .n_ff = 256, .n_layer = 1, .n_ctx = 8192},
                  SM_KV_TYPE_BF16},
                 {{.type = SM_DTYPE_Q6_K, .n_embd = 256, .n_ff = 512, .n_layer = 1, .n_ctx = 8192},
                  SM_KV_TYPE_F32},
                 {{.architecture = "qwen3", .head_dim = 24, .type = SM_DTYPE_F16, .n_ctx = 8192},
                  SM_KV_TYPE_F16},
                 {{.type = SM_DTYPE_Q5_K, .n_embd = 256, .n_ff = 256, .n_layer = 1, .n_ctx = 8192},
                  SM_KV_TYPE_Q8_0}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        sm_model *model = open_model(&cases[c].model, NULL);
        compute_alone(model, alone, cases[c].kv_type);
        static const uint32_t threads[] = {1, 2, 3, 4, 8};
        for (uint32_t mix = 0; mix < (c == 0 ? 5 : 2); mix++) {
            memset(together, 0, sizeof together);
            compute_together(model, together, threads[(mix + c) % 5], mix, cases[c].kv_type);
            assert_memory_equal(together, alone, sizeof alone);
        }
        sm_model_free(model);
    }
}

static void every_type_gives_the_same_for_any_number_of_columns(void **state) {
    (void)state;
    static const uint32_t types[] = {
        SM_DTYPE_F32,   SM_DTYPE_F16,   SM_DTYPE_BF16,    SM_DTYPE_Q4_0,   SM_DTYPE_Q4_1,
        SM_DTYPE_Q5_0,  SM_DTYPE_Q5_1,  SM_DTYPE_Q8_0,    SM_DTYPE_Q2_K,   SM_DTYPE_Q3_K,
        SM_DTYPE_Q4_K,  SM_DTYPE_Q5_K,  SM_DTYPE_IQ4_NL,  SM_DTYPE_IQ4_XS, SM_DTYPE_Q6_K,
        SM_DTYPE_NVFP4, SM_DTYPE_Q1_0,  SM_DTYPE_Q2_0,    SM_DTYPE_TQ1_0,  SM_DTYPE_TQ2_0,
        SM_DTYPE_F64,   SM_DTYPE_MXFP4, SM_DTYPE_IQ2_XXS, SM_DTYPE_IQ2_XS, SM_DTYPE_IQ3_S,
        SM_DTYPE_IQ1_M};
    enum { MOST = 36 };
    static float alone[MOST][VOCAB];
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        /* 768 columns: a whole slab and a half; rows of an odd number of groups */
        const fixture_model spec = {.type = types[t],
                                    .n_embd = 768,
                                    .n_head = 6,
                                    .n_ff = 256,
                                    .n_layer = 1,
                                    .no_vocab = true};
        for (uint32_t repack = SM_REPACK_LAZY; repack <= SM_REPACK_NONE; repack++) {
            const sm_model_options o = {.struct_size = sizeof o, .repack = repack};
            sm_model *model = open_model(&spec, &o);
            const sm_batch_options bo = {
                .struct_size = sizeof bo, .n_threads = 2, .n_sequences = MOST, .n_ctx = 16};
            sm_batch *batch;
            sm_session *sessions[MOST];
            sm_batch_item items[MOST];
            int32_t ids[MOST];
            assert_int_equal(sm_batch_new(&batch, model, &bo, NULL), SM_OK);
            for (uint32_t s = 0; s < MOST; s++) {
                sessions[s] = open_session(batch);
                ids[s] = id_of(s, 0);
                if (repack == SM_REPACK_LAZY) {
                    assert_int_equal(sm_session_feed(sessions[s], &ids[s], 1, NULL), SM_OK);
                    memcpy(alone[s], logits_of(sessions[s]), sizeof alone[s]);
                }
                items[s] = (sm_batch_item){.struct_size = sizeof(sm_batch_item),
                                           .session = sessions[s],
                                           .ids = &ids[s],
                                           .n_ids = 1};
            }
            for (uint32_t n = 2; n <= MOST; n += n < 18 ? 1 : 7) {
                if (repack == SM_REPACK_NONE && n % 7 != 2)
                    continue; /* packing again and again takes its time */
                for (uint32_t s = 0; s < n; s++)
                    assert_int_equal(sm_session_rewind(sessions[s], 0, NULL), SM_OK);
                step(batch, items, n);
                for (uint32_t s = 0; s < n; s++)
                    assert_memory_equal(logits_of(sessions[s]), alone[s], sizeof alone[s]);
            }
            for (uint32_t s = 0; s < MOST; s++)
                sm_session_free(sessions[s]);
            sm_batch_free(batch);
            sm_model_free(model);
        }
    }
}

/* ---- sampling, generating, forks ----------------------------------------------------------- */

static void sampled_tokens_do_not_depend_on_the_batch(void **state) {
    (void)state;
    enum { N = 4, TOKENS = 24 };
    sm_model *model = open_model(&(fixture_model){.type = SM_DTYPE_Q8_0}, NULL);
    int32_t expected[N][TOKENS];
    for (int together = 0; together < 2; together++) {
        sm_batch *batch = open_batch(model, 2, 0, 64);
        sm_session *s[N];
        int32_t ids[N];
        sm_batch_item items[N];
        for (uint32_t i = 0; i < N; i++) {
            const int32_t prompt[] = {id_of(i, 0), id_of(i, 1)};
            s[i] = open_session(batch);
            assert_int_equal(sm_session_feed(s[i], prompt, 2, NULL), SM_OK);
        }
        for (uint32_t t = 0; t < TOKENS; t++) {
            for (uint32_t i = 0; i < N; i++) {
                const sm_sampling sampling = {.struct_size = sizeof sampling,
                                              .temperature = 1,
                                              .top_p = 0.95,
                                              .repeat_penalty = 1.1,
                                              .seed = 3,
                                              .sequence = i};
                assert_int_equal(test_sample(s[i], &sampling, &ids[i], NULL, NULL), SM_OK);
                items[i] = (sm_batch_item){.struct_size = sizeof(sm_batch_item),
                                           .session = s[i],
                                           .ids = &ids[i],
                                           .n_ids = 1};
                if (!together) {
                    expected[i][t] = ids[i];
                    assert_int_equal(sm_session_feed(s[i], &ids[i], 1, NULL), SM_OK);
                } else {
                    assert_int_equal(ids[i], expected[i][t]);
                }
            }
            if (together)
                step(batch, items, N);
        }
        for (uint32_t i = 0; i < N; i++)
            sm_session_free(s[i]);
        sm_batch_free(batch);
    }
    sm_model_free(model);
}

static int32_t collect(void *user, const sm_token *token) {
    strncat(user, token->text, 200 - strlen(user));
    return 0;
}

static void sessions_of_a_batch_do_all_that_others_do(void **state) {
    (void)state;
    sm_model *model = open_model(&(fixture_model){.type = SM_DTYPE_Q8_0}, NULL);
    const sm_generate_options go = {.struct_size = sizeof go, .max_tokens = 12, .ignore_end = 1};
    char alone[256] = "", in_batch[256] = "", again[256] = "";
    sm_session *session, *fork;
    assert_int_equal(sm_session_new(&session, model, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_generate(session, "the hand", SM_ZT, &go, collect, alone, NULL),
                     SM_OK);
    sm_session_free(session);

    sm_batch *batch = open_batch(model, 3, 0, 0);
    session = open_session(batch);
    assert_int_equal(test_info(session).n_threads, 3);
    assert_int_equal(test_info(session).n_ctx, 512);
    assert_int_equal(sm_session_generate(session, "the hand", SM_ZT, &go, collect, in_batch, NULL),
                     SM_OK);
    assert_string_equal(in_batch, alone);
    assert_int_equal(sm_session_fork(&fork, session, NULL, NULL), SM_OK);
    /* the fork is of the batch: both go on in one step, to the same logits */
    const int32_t ids[] = {5, 9, 5};
    const sm_batch_item items[] = {
        {.struct_size = sizeof(sm_batch_item), .session = fork, .ids = ids, .n_ids = 3},
        {.struct_size = sizeof(sm_batch_item), .session = session, .ids = ids, .n_ids = 3}};
    step(batch, items, 2);
    assert_memory_equal(logits_of(fork), logits_of(session), VOCAB * sizeof(float));
    const uint32_t n = sm_session_length(fork);
    assert_int_equal(sm_session_rewind(fork, 0, NULL), SM_OK);
    assert_int_equal(sm_session_generate(fork, "the hand", SM_ZT, &go, collect, again, NULL),
                     SM_OK);
    assert_string_equal(again, alone);
    assert_int_equal(sm_session_length(session), n);
    sm_session_free(session);
    sm_session_free(fork);
    sm_batch_free(batch);
    sm_model_free(model);
}

/* ---- failures ------------------------------------------------------------------------------- */

static int32_t cancel_after(void *user) {
    uint32_t *left = user;
    if (*left == 0)
        return 1;
    --*left;
    return 0;
}

static void a_failed_step_changes_nothing(void **state) {
    (void)state;
    sm_model *model = open_model(&(fixture_model){.type = SM_DTYPE_Q8_0}, NULL);
    const sm_batch_options o = {
        .struct_size = sizeof o, .n_threads = 2, .n_sequences = 3, .n_batch = 12, .n_ctx = 16};
    sm_batch *batch, *other;
    assert_int_equal(sm_batch_new(&batch, model, &o, NULL), SM_OK);
    assert_int_equal(sm_batch_new(&other, model, &o, NULL), SM_OK);
    sm_session *a = open_session(batch), *b = open_session(batch), *c = open_session(batch),
               *d = open_session(batch), *strange = open_session(other), *lone;
    assert_int_equal(sm_session_new(&lone, model, NULL, NULL), SM_OK);
    const int32_t ids[20] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    const int32_t bad[] = {1, VOCAB}, negative[] = {-1};
    static float logits[2][VOCAB], any[20 * VOCAB];
    assert_int_equal(sm_session_feed(a, ids, 5, NULL), SM_OK);
    assert_int_equal(sm_session_feed(b, ids, 9, NULL), SM_OK);
    memcpy(logits[0], logits_of(a), sizeof logits[0]);
    memcpy(logits[1], logits_of(b), sizeof logits[1]);
#define A \
    { .struct_size = sizeof(sm_batch_item), .session = a, .ids = ids + 5, .n_ids = 1 }
    const struct {
        sm_batch_item items[4];
        uint64_t n;
        sm_status status;
        const char *word;
    } cases[] = {
        {{A, {.struct_size = sizeof(sm_batch_item), .session = b, .ids = bad, .n_ids = 2}},
         2,
         SM_ERR_TOKEN,
         "item 1: token id 300"},
        {{A, {.struct_size = sizeof(sm_batch_item), .session = b, .ids = negative, .n_ids = 1}},
         2,
         SM_ERR_TOKEN,
         "item 1"},
        {{A, {.struct_size = sizeof(sm_batch_item), .session = b, .ids = ids, .n_ids = 8}},
         2,
         SM_ERR_CONTEXT_FULL,
         "item 1"},
        {{A, {.struct_size = sizeof(sm_batch_item), .session = b, .ids = ids, .n_ids = UINT64_MAX}},
         2,
         SM_ERR_CONTEXT_FULL,
         "item 1"},
        {{A, {.struct_size = sizeof(sm_batch_item), .session = b, .ids = NULL, .n_ids = 1}},
         2,
         SM_ERR_ARGUMENT,
         "item 1"},
        {{A, {.struct_size = sizeof(sm_batch_item), .session = NULL, .ids = ids, .n_ids = 1}},
         2,
         SM_ERR_ARGUMENT,
         "item 1"},
        {{A, {.struct_size = sizeof(sm_batch_item), .session = b, .ids = ids, .n_ids = 1}, A},
         3,
         SM_ERR_ARGUMENT,
         "item 2"},
        {{A, {.struct_size = sizeof(sm_batch_item), .session = strange, .ids = ids, .n_ids = 1}},
         2,
         SM_ERR_ARGUMENT,
         "not of this"},
        {{A, {.struct_size = sizeof(sm_batch_item), .session = lone, .ids = ids, .n_ids = 1}},
         2,
         SM_ERR_ARGUMENT,
         "not of this"},
        {{A,
          {.struct_size = sizeof(sm_batch_item), .session = b, .ids = ids, .n_ids = 1},
          {.struct_size = sizeof(sm_batch_item), .session = c, .ids = ids, .n_ids = 1},
          {.struct_size = sizeof(sm_batch_item), .session = d, .ids = ids, .n_ids = 1}},
         4,
         SM_ERR_ARGUMENT,
         "3 sequences"},
        {{A,
          {.struct_size = sizeof(sm_batch_item), .session = b, .ids = ids, .n_ids = 6},
          {.struct_size = sizeof(sm_batch_item), .session = c, .ids = ids, .n_ids = 6}},
         3,
         SM_ERR_ARGUMENT,
         "13 tokens"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sm_error error = {0};
        assert_int_equal(sm_batch_step(batch, cases[i].items, cases[i].n, &error), cases[i].status);
        assert_int_equal(error.code, cases[i].status);
        if (!strstr(error.message, cases[i].word))
            fail_msg("no '%s' in: %s", cases[i].word, error.message);
    }
    /* cancelled at every moment, until it is not */
    const sm_batch_item items[] = {A,
                                   {.struct_size = sizeof(sm_batch_item),
                                    .session = b,
                                    .ids = ids + 9,
                                    .n_ids = 2,
                                    .logits = any,
                                    .n_logits = 2 * VOCAB},
                                   {.struct_size = sizeof(sm_batch_item), .session = c}};
    sm_status status = SM_ERR_CANCELLED;
    uint32_t asked = 0;
    for (uint32_t after = 0; status; after++, asked++) {
        uint32_t left = after;
        assert_int_equal(sm_batch_set_cancel(batch, cancel_after, &left, NULL), SM_OK);
        assert_int_equal(sm_session_length(a), 5);
        assert_int_equal(sm_session_length(b), 9);
        assert_int_equal(sm_session_length(c), 0);
        assert_memory_equal(logits_of(a), logits[0], sizeof logits[0]);
        assert_memory_equal(logits_of(b), logits[1], sizeof logits[1]);
        assert_int_equal(test_token(b, 9), -1);
        status = sm_batch_step(batch, items, 3, NULL);
        if (status)
            assert_int_equal(status, SM_ERR_CANCELLED);
    }
    assert_true(asked > 3);
    assert_int_equal(sm_session_length(a), 6);
    assert_int_equal(sm_session_length(b), 11);
    assert_int_equal(test_token(b, 10), ids[10]);
    const float *none;
    assert_int_equal(sm_session_logits(c, &none, NULL, NULL),
                     SM_ERR_STATE); /* no tokens, no logits */
    /* after all that, what a session fed by itself has */
    assert_int_equal(sm_session_feed(lone, ids, 11, NULL), SM_OK);
    assert_memory_equal(logits_of(lone), logits_of(b), VOCAB * sizeof(float));
    assert_memory_equal(logits_of(lone), any + VOCAB, VOCAB * sizeof(float));
    sm_session_free(a);
    sm_session_free(b);
    sm_session_free(c);
    sm_session_free(d);
    sm_session_free(strange);
    sm_session_free(lone);
    sm_batch_free(other);
    sm_batch_free(batch);
    sm_model_free(model);
}

static void wrong_use_is_a_status(void **state) {
    (void)state;
    sm_model *model = open_model(&(fixture_model){0}, NULL);
    sm_batch *batch;
    sm_session *session;
    assert_int_equal(sm_batch_new(NULL, model, NULL, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_batch_new(&batch, NULL, NULL, NULL), SM_ERR_ARGUMENT);
    assert_null(batch);
    const sm_batch_options wrong[] = {{.struct_size = sizeof *wrong, .n_threads = 257},
                                      {.struct_size = sizeof *wrong, .n_sequences = 1025},
                                      {.struct_size = sizeof *wrong, .n_batch = 8193},
                                      {.struct_size = sizeof *wrong, .n_ctx = 16777217},
                                      {.struct_size = sizeof *wrong, .pin = 2},
                                      {.struct_size = 2}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(sm_batch_new(&batch, model, &wrong[i], NULL), SM_ERR_ARGUMENT);
    sm_batch_free(NULL);
    assert_int_equal(sm_batch_step(NULL, NULL, 0, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_batch_set_cancel(NULL, NULL, NULL, NULL), SM_ERR_ARGUMENT);

    batch = open_batch(model, 1, 0, 100);
    assert_int_equal(sm_batch_step(batch, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_batch_step(batch, NULL, 1, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_batch_new_session(NULL, batch, NULL, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_batch_new_session(&session, NULL, NULL, NULL), SM_ERR_ARGUMENT);
    const sm_session_options unfit[] = {{.struct_size = sizeof *unfit, .n_ctx = 101},
                                        {.struct_size = sizeof *unfit, .n_threads = 1},
                                        {.struct_size = sizeof *unfit, .n_batch = 1},
                                        {.struct_size = sizeof *unfit, .pin = 1},
                                        {.struct_size = sizeof *unfit, .kv_type = 99}};
    for (size_t i = 0; i < sizeof unfit / sizeof *unfit; i++) {
        assert_int_equal(sm_batch_new_session(&session, batch, &unfit[i], NULL), SM_ERR_ARGUMENT);
        assert_null(session);
    }
    assert_int_equal(sm_options_count(SM_OPTIONS_BATCH), 6);
    sm_batch_free(batch);
    sm_model_free(model);
}

/* Items of a later version lie farther apart; what is set behind what is known is refused. */
static void items_say_their_stride(void **state) {
    (void)state;
    sm_model *model = open_model(&(fixture_model){.type = SM_DTYPE_Q8_0}, NULL);
    const sm_batch_options bo = {.struct_size = sizeof bo, .n_sequences = 2};
    sm_batch *batch;
    sm_session *s[2];
    struct {
        sm_batch_item known;
        uint64_t more[3];
    } items[2] = {{{0}, {0}}};
    const int32_t ids[2][2] = {{id_of(0, 0), id_of(0, 1)}, {id_of(1, 0), id_of(1, 1)}};
    float room[2 * VOCAB];
    sm_error error = {0};
    assert_int_equal(sm_batch_new(&batch, model, &bo, NULL), SM_OK);
    for (int i = 0; i < 2; i++) {
        s[i] = open_session(batch);
        items[i].known = (sm_batch_item){
            .struct_size = sizeof *items, .session = s[i], .ids = ids[i], .n_ids = 2};
    }
    assert_int_equal(sm_batch_step(batch, &items[0].known, 2, NULL), SM_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sm_session_length(s[i]), 2);
        assert_int_equal(test_token(s[i], 1), ids[i][1]);
    }
    items[1].more[2] = 1;
    assert_int_equal(sm_batch_step(batch, &items[0].known, 2, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "number 1 of 2"));
    items[1].more[2] = 0;
    items[1].known.struct_size = sizeof items[1].known;
    assert_int_equal(sm_batch_step(batch, &items[0].known, 2, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "struct_size"));
    items[1].known.struct_size = sizeof items[1];
    items[0].known.struct_size = 0;
    assert_int_equal(sm_batch_step(batch, &items[0].known, 1, &error), SM_ERR_ARGUMENT);
    items[0].known.struct_size = sizeof items[0];
    items[0].known.reserved = 1;
    assert_int_equal(sm_batch_step(batch, &items[0].known, 1, &error), SM_ERR_ARGUMENT);
    /* logits have their room */
    items[0].known.reserved = 0;
    items[0].known.logits = room;
    items[0].known.n_logits = 2 * VOCAB - 1;
    assert_int_equal(sm_batch_step(batch, &items[0].known, 1, &error), SM_ERR_BUFFER);
    assert_int_equal(sm_session_length(s[0]), 2);
    items[0].known.n_logits = 2 * VOCAB;
    assert_int_equal(sm_batch_step(batch, &items[0].known, 1, &error), SM_OK);
    for (int i = 0; i < 2; i++)
        sm_session_free(s[i]);
    sm_batch_free(batch);
    sm_model_free(model);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static sm_status whole_run(const char *path, const sm_allocator *allocator, sm_error *error) {
    const sm_model_options mo = {.struct_size = sizeof mo, .allocator = allocator};
    const sm_batch_options bo = {.struct_size = sizeof bo, .n_threads = 2, .n_ctx = 64};
    const int32_t ids[] = {1, 2, 3};
    static float logits[3][VOCAB];
    sm_model *model = NULL;
    sm_batch *batch = NULL;
    sm_session *s[3] = {NULL};
    sm_status status = sm_model_load(&model, path, &mo, error);
    if (!status)
        status = sm_batch_new(&batch, model, &bo, error);
    for (int i = 0; i < 2 && !status; i++)
        status = sm_batch_new_session(&s[i], batch, NULL, error);
    for (int round = 0; round < 2 && !status; round++) {
        const sm_batch_item items[] = {
            {.struct_size = sizeof(sm_batch_item),
             .session = s[0],
             .ids = ids,
             .n_ids = 3,
             .logits = logits[0],
             .n_logits = 3 * VOCAB},
            {.struct_size = sizeof(sm_batch_item), .session = s[1], .ids = ids, .n_ids = 1}};
        status = sm_batch_step(batch, items, 2, error);
    }
    if (!status)
        status = sm_session_fork(&s[2], s[1], NULL, error);
    for (int i = 0; i < 3; i++)
        sm_session_free(s[i]);
    sm_batch_free(batch);
    sm_model_free(model);
    return status;
}

static void every_failing_allocation_is_survived(void **state) {
    (void)state;
    const char *path = scratch_path("batch_fault.gguf");
    const fixture_model spec = {.type = SM_DTYPE_Q8_0, .n_layer = 1};
    assert_int_equal(fixture_write(path, &spec), 0);
    fail_alloc counter = {0};
    sm_allocator allocator = fail_allocator(&counter);
    assert_int_equal(whole_run(path, &allocator, NULL), SM_OK);
    assert_int_equal(counter.live_blocks, 0);
    assert_true(counter.calls > 50);
    for (uint64_t at = 1; at <= counter.calls; at++) {
        for (int sticky = 0; sticky < 2; sticky++) {
            fail_alloc failing = {.fail_at = at, .sticky = sticky};
            sm_error error = {0};
            allocator = fail_allocator(&failing);
            assert_int_equal(whole_run(path, &allocator, &error), SM_ERR_NOMEM);
            assert_int_equal(error.code, SM_ERR_NOMEM);
            assert_int_equal(failing.live_blocks, 0);
        }
    }
}

static void steps_allocate_nothing(void **state) {
    (void)state;
    fail_alloc counter = {0};
    const sm_allocator allocator = fail_allocator(&counter);
    const sm_model_options mo = {.struct_size = sizeof mo, .allocator = &allocator};
    sm_model *model = open_model(&(fixture_model){.type = SM_DTYPE_Q8_0}, &mo);
    sm_batch *batch = open_batch(model, 2, 0, 256);
    sm_session *s[5];
    uint64_t calls = 0;
    static float logits[3 * VOCAB];
    for (int i = 0; i < 5; i++)
        s[i] = open_session(batch);
    for (uint32_t round = 0; round < 60; round++) {
        int32_t ids[5][3];
        sm_batch_item items[5];
        for (uint32_t i = 0; i < 5; i++) {
            fill_ids(ids[i], i, round, 3);
            items[i] = (sm_batch_item){.struct_size = sizeof(sm_batch_item),
                                       .session = s[i],
                                       .ids = ids[i],
                                       .n_ids = 1 + (i + round) % 3,
                                       .logits = i == 2 ? logits : NULL,
                                       .n_logits = i == 2 ? sizeof logits / sizeof *logits : 0};
        }
        step(batch, items, 1 + round % 5);
        int32_t id;
        assert_int_equal(test_sample(s[0], NULL, &id, NULL, NULL), SM_OK);
        if (round == 0)
            calls = counter.calls; /* the weights were repacked */
        assert_int_equal(counter.calls, calls);
    }
    for (int i = 0; i < 5; i++)
        sm_session_free(s[i]);
    sm_batch_free(batch);
    sm_model_free(model);
    assert_int_equal(counter.live_blocks, 0);
}

static void handles_go_in_any_order(void **state) {
    (void)state;
    fail_alloc counter = {0};
    const sm_allocator allocator = fail_allocator(&counter);
    const sm_model_options mo = {.struct_size = sizeof mo, .allocator = &allocator};
    for (int order = 0; order < 24; order++) {
        sm_model *model = open_model(&(fixture_model){0}, &mo);
        sm_batch *batch = open_batch(model, 2, 0, 32);
        sm_session *a = open_session(batch), *b = NULL;
        const int32_t id = 7;
        assert_int_equal(sm_session_feed(a, &id, 1, NULL), SM_OK);
        assert_int_equal(sm_session_fork(&b, a, NULL, NULL), SM_OK);
        int gone[4] = {0};
        for (int left = 4, code = order; left > 0; code /= left, left--) {
            int which = code % left; /* the which-th of those that are left */
            for (int i = 0; i <= which; i++)
                which += gone[i];
            gone[which] = 1;
            if (which == 0)
                sm_model_free(model);
            else if (which == 1)
                sm_batch_free(batch);
            else
                sm_session_free(which == 2 ? a : b);
            sm_session *usable = !gone[2] ? a : !gone[3] ? b : NULL;
            if (usable)
                assert_int_equal(sm_session_feed(usable, &id, 1, NULL), SM_OK);
        }
        assert_int_equal(counter.live_blocks, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_composition_gives_the_bits_of_each_alone),
        cmocka_unit_test(every_type_gives_the_same_for_any_number_of_columns),
        cmocka_unit_test(sampled_tokens_do_not_depend_on_the_batch),
        cmocka_unit_test(sessions_of_a_batch_do_all_that_others_do),
        cmocka_unit_test(a_failed_step_changes_nothing),
        cmocka_unit_test(wrong_use_is_a_status),
        cmocka_unit_test(items_say_their_stride),
        cmocka_unit_test(every_failing_allocation_is_survived),
        cmocka_unit_test(steps_allocate_nothing),
        cmocka_unit_test(handles_go_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
