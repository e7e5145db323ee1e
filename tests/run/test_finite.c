/* Weights that are infinite or NaN: whatever reads logits or writes weights says so, and names what
 * it can. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "blocks.h"
#include "fixture.h"
#include "format/format.h"
#include "kernels.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define ROW 7 /* the damaged one */

static const char *copy_path(const char *name) {
    static char path[64][512];
    static int turn;
    char *p = path[turn++ % 64];
    snprintf(p, sizeof path[0], "%s", scratch_path(name));
    return p;
}

/* Overwrites bytes of a tensor. */
static void damage(const char *path, const char *tensor, uint64_t at, const void *with, size_t n) {
    sm_mem mem;
    sm_source *gguf;
    size_t size;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_source_open(&gguf, &mem, path, true, NULL), SM_OK);
    const sm_tensor *t = sm_source_find_tensor(gguf, tensor);
    assert_non_null(t);
    assert_true(at + n <= t->size);
    const uint64_t offset = (uint64_t)(t->data - gguf->files[0].data) + at;
    sm_source_close(gguf);
    uint8_t *whole = scratch_read(path, &size);
    memcpy(whole + offset, with, n);
    scratch_write(path, whole, size);
    free(whole);
}

/* A model whose tensor's row ROW (of 64 columns; a vector: element) holds the value. */
static const char *damaged(const char *tensor, uint32_t type, float value) {
    const char *path = copy_path("damaged.gguf");
    assert_int_equal(fixture_write(path, &(fixture_model){.type = type, .untied = true}), 0);
    const bool vector = strstr(tensor, "norm") != NULL;
    if (type == SM_DTYPE_Q8_0 && !vector) {
        const uint16_t d = sm_f32_to_f16(value); /* of the row's second block */
        damage(path, tensor, ROW * 2 * sizeof(sm_block_q8_0) + sizeof(sm_block_q8_0), &d, 2);
    } else {
        damage(path, tensor, (vector ? ROW : ROW * 64 + 3) * sizeof value, &value, sizeof value);
    }
    return path;
}

static void expect(sm_status status, const sm_error *error, const char *tensor) {
    assert_int_equal(status, SM_ERR_FORMAT);
    if (!strstr(error->message, tensor))
        fail_msg("no '%s' in: %s", tensor, error->message);
}

static void the_first_is_found(void **state) {
    (void)state;
    static float x[5000];
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (uint64_t n = 0; n < 5000; n += n < 70 ? 1 : 911) {
        assert_int_equal(sm_first_not_finite(x, n), n);
        for (uint64_t at = 0; at < n; at += at < 70 ? 1 : 317)
            for (size_t i = 0; i < 4; i++) {
                x[at] = bad[i];
                x[n - 1] = n - 1 == at ? bad[i] : NAN;
                assert_int_equal(sm_first_not_finite(x, n), at);
                x[at] = x[n - 1] = 0;
            }
    }
    x[3] = 3.4028235e38f;
    x[4] = -3.4028235e38f;
    x[5] = 1e-45f;
    assert_int_equal(sm_first_not_finite(x, 64), 64);
}

/* One row of the output matrix: one logit, that no maximum finds. */
static void no_token_is_chosen_from_damaged_logits(void **state) {
    (void)state;
    const sm_sampling ways[] = {
        {.struct_size = sizeof ways[0]},
        {.struct_size = sizeof ways[0], .temperature = 1},
        {.struct_size = sizeof ways[0], .temperature = 1, .top_k = 5},
        {.struct_size = sizeof ways[0], .temperature = 1, .top_p = 0.9},
        {.struct_size = sizeof ways[0], .temperature = 1, .min_p = 0.1},
        {.struct_size = sizeof ways[0], .repeat_penalty = 1.2},
        {.struct_size = sizeof ways[0], .temperature = 0.7, .top_k = 9, .top_p = 0.5}};
    static const struct {
        uint32_t type;
        float value;
    } how[] = {{SM_DTYPE_F32, NAN},
               {SM_DTYPE_F32, INFINITY},
               {SM_DTYPE_F32, -INFINITY},
               {SM_DTYPE_Q8_0, NAN},
               {SM_DTYPE_Q8_0, INFINITY}};
    static float rows[3 * FIXTURE_VOCAB];
    const int32_t ids[] = {1, 2, 3};
    for (size_t h = 0; h < sizeof how / sizeof *how; h++) {
        sm_error error = {0};
        sm_model *model;
        sm_session *s;
        sm_batch *batch;
        const float *logits;
        const char *path = damaged("output.weight", how[h].type, how[h].value);
        assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
        assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            int32_t id = 5;
            double logprob = 5;
            const sm_generate_options o = {.struct_size = sizeof o, .sampling = &ways[i]};
            assert_int_equal(sm_session_sync(s, ids, 3, NULL, NULL), SM_OK);
            expect(test_sample(s, &ways[i], &id, &logprob, &error), &error,
                   "'output.weight': row 7");
            assert_true(id == -1 && logprob == 0);
            expect(sm_session_generate(s, "the", SM_ZT, &o, NULL, NULL, &error), &error,
                   "'output.weight': row 7");
        }
        assert_int_equal(sm_session_sync(s, ids, 3, NULL, NULL), SM_OK);
        expect(sm_session_logits(s, &logits, NULL, &error), &error, "damaged.gguf");
        assert_null(logits);
        expect(sm_session_feed_logits(s, ids, 3, rows, UINT64_MAX, &error), &error, "row 7");
        assert_int_equal(sm_session_length(s), 3); /* as it was */
        sm_session_free(s);

        assert_int_equal(sm_batch_new(&batch, model, NULL, NULL), SM_OK);
        assert_int_equal(sm_batch_new_session(&s, batch, NULL, NULL), SM_OK);
        const sm_batch_item item = {.struct_size = sizeof(sm_batch_item),
                                    .session = s,
                                    .ids = ids,
                                    .n_ids = 3,
                                    .logits = rows,
                                    .n_logits = sizeof rows / sizeof(float)};
        expect(sm_batch_step(batch, &item, 1, &error), &error, "row 7");
        assert_int_equal(sm_session_length(s), 0);
        sm_session_free(s);
        sm_batch_free(batch);
        sm_model_free(model);
    }
}

/* Damage deeper inside: all logits, and no row of the output matrix is at fault. */
static void damage_inside_is_told(void **state) {
    (void)state;
    sm_error error = {0};
    sm_model *model;
    sm_session *s;
    const int32_t id = 1;
    const float *logits;
    const char *path = damaged("blk.1.ffn_down.weight", SM_DTYPE_F32, NAN);
    assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, &id, 1, NULL), SM_OK);
    expect(sm_session_logits(s, &logits, NULL, &error), &error, "logits after token 1");
    sm_session_free(s);
    sm_model_free(model);
}

/* What lies between the damage and the logits hides it from nobody: caps of scores and logits, the
 * choice of experts, the cache's type. */
static void nothing_hides_damage(void **state) {
    (void)state;
    static const fixture_model gemma2 = {.architecture = "gemma2", .n_layer = 1},
                               mixtral = {.n_experts = 4, .n_used = 2, .n_layer = 1},
                               llama = {.n_layer = 1};
    static const struct {
        const fixture_model *model;
        const char *tensor;
        uint64_t at;                                       /* element */
    } where[] = {{&gemma2, "token_embd.weight", 290 * 64}, /* the output matrix too */
                 {&gemma2, "blk.0.attn_q.weight", 70},
                 {&gemma2, "blk.0.ffn_up.weight", 70},
                 {&mixtral, "blk.0.ffn_gate_inp.weight", 2 * 64 + 5}, /* of expert 2 */
                 {&mixtral, "blk.0.attn_v.weight", 0},
                 {&llama, "blk.0.attn_v.weight", 5},
                 {&llama, "blk.0.attn_k.weight", 5}};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    const int32_t ids[] = {1, 2, 3, 4, 5, 6};
    const char *path = copy_path("hidden.gguf");
    for (size_t i = 0; i < sizeof where / sizeof *where; i++)
        for (size_t v = 0; v < 3; v++)
            for (uint32_t cache = SM_KV_TYPE_F16; cache <= SM_KV_TYPE_IQ4_NL; cache++) {
                const sm_session_options o = {
                    .struct_size = sizeof o, .n_threads = 1, .kv_type = cache};
                const float *logits;
                sm_model *model;
                sm_session *s;
                assert_int_equal(fixture_write(path, where[i].model), 0);
                damage(path, where[i].tensor, where[i].at * sizeof bad[0], &bad[v], sizeof bad[v]);
                assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
                assert_int_equal(sm_session_new(&s, model, &o, NULL), SM_OK);
                assert_int_equal(sm_session_feed(s, ids, 6, NULL), SM_OK);
                if (sm_session_logits(s, &logits, NULL, NULL) != SM_ERR_FORMAT)
                    fail_msg("%f in %s is not seen, cache %u", (double)bad[v], where[i].tensor,
                             cache);
                sm_session_free(s);
                sm_model_free(model);
            }
}

/* Nor do activations in 8 bits, which quantized matrices are multiplied by. */
static void quantized_matrices_show_damage(void **state) {
    (void)state;
    static const char *const tensors[] = {"blk.0.attn_q.weight",      "blk.0.attn_v.weight",
                                          "blk.0.attn_output.weight", "blk.0.ffn_gate.weight",
                                          "blk.0.ffn_up.weight",      "blk.0.ffn_down.weight"};
    static const float bad[] = {NAN, INFINITY};
    const int32_t ids[] = {1, 2, 3, 4, 5, 6};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        for (size_t v = 0; v < 2; v++) {
            const float *logits;
            sm_model *model;
            sm_session *s;
            const char *path = damaged(tensors[i], SM_DTYPE_Q8_0, bad[v]);
            assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
            assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
            assert_int_equal(sm_session_feed(s, ids, 6, NULL), SM_OK);
            if (sm_session_logits(s, &logits, NULL, NULL) != SM_ERR_FORMAT)
                fail_msg("%f in %s is not seen", (double)bad[v], tensors[i]);
            sm_session_free(s);
            sm_model_free(model);
        }
}

/* ---- what writes weights ------------------------------------------------------------------- */

/* Rank 1; a[at] is the value. */
static const char *write_adapter(uint64_t at, float value) {
    const char *path = copy_path("adapter.gguf");
    sm_mem mem;
    sm_gguf_writer *w;
    float a[64], b[64];
    const uint64_t a_dims[] = {64, 1}, b_dims[] = {1, 64};
    for (int i = 0; i < 64; i++)
        a[i] = b[i] = 0.1f;
    a[at] = value;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_gguf_writer_open(&w, &mem, path, 3, 32, NULL), SM_OK);
    sm_gguf_put_str(w, "general.type", "adapter", 7);
    sm_gguf_put_str(w, "general.architecture", "llama", 5);
    sm_gguf_put_str(w, "adapter.type", "lora", 4);
    sm_gguf_put_f32(w, "adapter.lora.alpha", 1);
    sm_gguf_declare_tensor(w, "blk.0.attn_q.weight.lora_a", SM_DTYPE_F32, 2, a_dims, NULL);
    sm_gguf_declare_tensor(w, "blk.0.attn_q.weight.lora_b", SM_DTYPE_F32, 2, b_dims, NULL);
    assert_int_equal(sm_gguf_write_tensor(w, a, sizeof a, NULL), SM_OK);
    assert_int_equal(sm_gguf_write_tensor(w, b, sizeof b, NULL), SM_OK);
    assert_int_equal(sm_gguf_writer_finish(w, NULL), SM_OK);
    return path;
}

static void expect_no_file(const char *path) {
    size_t size;
    assert_null(scratch_read(path, &size));
}

static void merging_refuses(void **state) {
    (void)state;
    sm_error error = {0};
    const char *out = copy_path("merged.gguf"), *good = write_adapter(0, 0.5f);
    const char *const tensors[] = {"blk.0.attn_q.weight", "blk.1.attn_k.weight",
                                   "blk.0.attn_norm.weight", "output.weight"};
    for (size_t i = 0; i < 4; i++)
        for (uint32_t type = 0; type < 2; type++) {
            const char *model = damaged(tensors[i], type ? SM_DTYPE_Q8_0 : SM_DTYPE_F32, NAN);
            expect(sm_adapter_merge(out, model, good, 1, NULL, &error), &error, tensors[i]);
            assert_non_null(strstr(error.message, "damaged.gguf"));
            expect_no_file(out);
        }
    const char *model = copy_path("whole.gguf");
    assert_int_equal(fixture_write(model, &(fixture_model){0}), 0);
    const char *bad = write_adapter(9, NAN);
    expect(sm_adapter_merge(out, model, bad, 1, NULL, &error), &error,
           "blk.0.attn_q.weight.lora_a");
    expect_no_file(out);
    /* all finite, but for what comes of it */
    const char *large = write_adapter(9, 3e38f);
    expect(sm_adapter_merge(out, model, large, 1000, NULL, &error), &error, "blk.0.attn_q.weight");
    expect(sm_adapter_merge(
               out, model, write_adapter(9, 3e6f), 1,
               &(sm_merge_options){.struct_size = sizeof(sm_merge_options), .type = "F16"}, &error),
           &error, "too large for type F16");
    expect_no_file(out);
    assert_int_equal(sm_adapter_merge(out, model, write_adapter(9, 3e6f), 1,
                                      &(sm_merge_options){.struct_size = sizeof(sm_merge_options),
                                                          .type = "BF16"},
                                      NULL),
                     SM_OK);
}

static void adapters_refuse(void **state) {
    (void)state;
    sm_error error = {0};
    sm_model *model;
    sm_adapter *a;
    const char *path = copy_path("whole.gguf");
    assert_int_equal(fixture_write(path, &(fixture_model){0}), 0);
    assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
    expect(sm_adapter_load(&a, model, write_adapter(63, -INFINITY), NULL, &error), &error,
           "blk.0.attn_q.weight.lora_a");
    assert_null(a);
    sm_model_free(model);
}

static void quantizing_refuses_where_the_type_stays(void **state) {
    (void)state;
    sm_error error = {0};
    const char *out = copy_path("quantized.gguf");
    const char *const tensors[] = {"blk.0.ffn_norm.weight", "blk.1.ffn_up.weight",
                                   "token_embd.weight"};
    for (size_t i = 0; i < 3; i++)
        for (uint32_t type = 0; type < 2; type++)
            for (uint32_t n_threads = 1; n_threads < 4; n_threads++) {
                const sm_quantize_options o = {
                    .struct_size = sizeof o, .type = type ? "Q8_0" : "F32", .n_threads = n_threads};
                const char *in = damaged(tensors[i], type ? SM_DTYPE_Q8_0 : SM_DTYPE_F32, INFINITY);
                expect(sm_model_quantize(out, in, &o, NULL, &error), &error, tensors[i]);
                assert_non_null(strstr(error.message, i ? "row 7" : "column 7"));
                expect_no_file(out);
            }
}

static void packing_refuses(void **state) {
    (void)state;
    sm_error error = {0};
    const char *out = copy_path("packed.gguf");
    const char *const tensors[] = {"blk.1.ffn_up.weight", "token_embd.weight", "output.weight"};
    const int32_t id = 1;
    for (size_t i = 0; i < 3; i++)
        for (int used = 0; used < 2; used++) { /* repacked in memory already, or not */
            sm_model *model;
            sm_session *s;
            const char *path = damaged(tensors[i], SM_DTYPE_Q8_0, NAN);
            assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
            assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
            if (used)
                assert_int_equal(sm_session_feed(s, &id, 1, NULL), SM_OK);
            expect(sm_model_save_packed(model, out, NULL, &error), &error, tensors[i]);
            expect_no_file(out);
            sm_session_free(s);
            sm_model_free(model);
        }
}

/* ---- training -------------------------------------------------------------------------------- */

static sm_trainer_options training(void) {
    static char data[512];
    snprintf(data, sizeof data, "%s", copy_path("finite.txt"));
    const char *text = "the hand in the hat and the hen in the den, then the end.\n";
    scratch_write(data, text, strlen(text));
    return (sm_trainer_options){.struct_size = sizeof(sm_trainer_options),
                                .data = data,
                                .sequence = 16,
                                .rows = 1,
                                .steps = 40,
                                .n_threads = 1};
}

static void training_refuses(void **state) {
    (void)state;
    sm_error error = {0};
    sm_trainer *t;
    const char *const tensors[] = {"blk.0.ffn_norm.weight", "blk.1.ffn_up.weight",
                                   "token_embd.weight", "output.weight"};
    for (size_t i = 0; i < 4; i++)
        for (uint32_t rank = 0; rank < 2; rank++) {
            sm_trainer_options o = training();
            o.lora_rank = rank;
            const char *path = damaged(tensors[i], rank ? SM_DTYPE_Q8_0 : SM_DTYPE_F32, NAN);
            expect(sm_trainer_open(&t, path, &o, &error), &error, tensors[i]);
            assert_null(t);
        }
    /* a weight that f16 cannot hold, of a token that does not come */
    sm_trainer_options o = training();
    const char *path = damaged("token_embd.weight", SM_DTYPE_F32, 1e6f), *out = copy_path("t.gguf");
    assert_int_equal(sm_trainer_open(&t, path, &o, &error), SM_OK);
    expect(sm_trainer_export(
               t, out,
               &(sm_export_options){.struct_size = sizeof(sm_export_options), .type = "F16"},
               &error),
           &error, "token_embd.weight");
    assert_non_null(strstr(error.message, "row 7"));
    expect_no_file(out);
    assert_int_equal(
        sm_trainer_export(
            t, out, &(sm_export_options){.struct_size = sizeof(sm_export_options), .type = "BF16"},
            &error),
        SM_OK);
    sm_trainer_free(t);
}

/* Training that goes astray leaves no file. */
static void diverged_weights_are_not_written(void **state) {
    (void)state;
    sm_error error = {0};
    sm_trainer *t;
    sm_trainer_options o = training();
    o.optimizer = SM_OPTIMIZER_SGD;
    o.lr = 999;
    o.no_clip = 1;
    o.schedule = SM_LR_CONSTANT;
    const char *path = copy_path("whole.gguf"), *out = copy_path("astray.gguf");
    assert_int_equal(fixture_write(path, &(fixture_model){.untied = true}), 0);
    assert_int_equal(sm_trainer_open(&t, path, &o, &error), SM_OK);
    sm_status status = SM_OK;
    while (!status)
        status = sm_trainer_step(t, NULL, &error);
    assert_int_equal(status, SM_ERR_DIVERGED);
    status = sm_trainer_save(t, out, &error); /* they may be finite still, and too large */
    assert_true(status == SM_OK || status == SM_ERR_DIVERGED);
    assert_int_equal(sm_trainer_export(t, out, NULL, &error), status);
    sm_trainer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_is_found),
        cmocka_unit_test(no_token_is_chosen_from_damaged_logits),
        cmocka_unit_test(damage_inside_is_told),
        cmocka_unit_test(nothing_hides_damage),
        cmocka_unit_test(quantized_matrices_show_damage),
        cmocka_unit_test(merging_refuses),
        cmocka_unit_test(adapters_refuse),
        cmocka_unit_test(quantizing_refuses_where_the_type_stays),
        cmocka_unit_test(packing_refuses),
        cmocka_unit_test(training_refuses),
        cmocka_unit_test(diverged_weights_are_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
