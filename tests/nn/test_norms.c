/* Files of the families with LayerNorm that are not as they should be: each is refused by the name
 * of what is wrong. And contexts that go on where no position is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "fixture.h"
#include "smallmind/smallmind.h"
#include "support.h"

static const fixture_key layer_norm[] = {{"attention.layer_norm_epsilon", 'f', 1e-5}, {0}};
static const fixture_key scaled[] = {
    {"attention.layer_norm_epsilon", 'f', 1e-5}, {"logit_scale", 'f', 0.3}, {0}};

static const fixture_model gpt2 = {
    .architecture = "gpt2", .n_head_kv = 4, .n_ctx = 40, .keys = layer_norm};
static const fixture_model phi2 = {.architecture = "phi2", .untied = true, .keys = layer_norm};
static const fixture_model stablelm = {.architecture = "stablelm", .keys = layer_norm};
static const fixture_model cohere = {
    .architecture = "command-r", .head_norms = true, .keys = scaled};

static sm_status load(const fixture_model *spec, sm_model **model, sm_error *error) {
    const char *path = scratch_path("model.gguf");
    assert_int_equal(fixture_write(path, spec), 0);
    return sm_model_load(model, path, NULL, error);
}

static void check_refused(const fixture_model *spec, sm_status status, const char *named) {
    sm_model *model = NULL;
    sm_error error = {0};
    const sm_status got = load(spec, &model, &error);
    if (got != status || !strstr(error.message, named))
        fail_msg("%d, not %d, and '%s' does not name %s", got, status, error.message, named);
    assert_null(model);
}

static void tensors_are_checked(void **state) {
    (void)state;
    static const struct {
        const fixture_model *of;
        const char *omit, *shape, *nan;
        sm_status status;
    } cases[] = {
        {&gpt2, "position_embd.weight", NULL, NULL, SM_ERR_MISSING},
        {&gpt2, NULL, "position_embd.weight", NULL, SM_ERR_SHAPE},
        {&gpt2, "blk.1.attn_norm.bias", NULL, NULL, SM_ERR_MISSING},
        {&gpt2, NULL, "blk.1.ffn_norm.bias", NULL, SM_ERR_SHAPE},
        {&gpt2, NULL, NULL, "output_norm.bias", SM_ERR_FORMAT},
        {&gpt2, "blk.0.ffn_up.bias", NULL, NULL, SM_ERR_MISSING},
        {&gpt2, NULL, "blk.0.ffn_up.weight", NULL, SM_ERR_SHAPE},
        {&phi2, "output.bias", NULL, NULL, SM_ERR_MISSING},
        {&phi2, NULL, "output.bias", NULL, SM_ERR_SHAPE},
        {&phi2, NULL, NULL, "output.bias", SM_ERR_FORMAT},
        {&cohere, NULL, "blk.0.attn_q_norm.weight", NULL, SM_ERR_SHAPE},
        {&cohere, "blk.1.attn_k_norm.weight", NULL, NULL, SM_ERR_MISSING},
        {&cohere, NULL, NULL, "blk.1.attn_k_norm.weight", SM_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_model spec = *cases[i].of;
        spec.omit_tensor = cases[i].omit;
        spec.bad_shape = cases[i].shape;
        spec.nan_tensor = cases[i].nan;
        check_refused(&spec, cases[i].status,
                      cases[i].omit    ? cases[i].omit
                      : cases[i].shape ? cases[i].shape
                                       : cases[i].nan);
    }
}

static void keys_are_checked(void **state) {
    (void)state;
    static const float bad[] = {0, -1, 1, 2};
    fixture_model spec = gpt2;
    spec.f32_key = "gpt2.attention.layer_norm_epsilon";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spec.f32_value = bad[i];
        check_refused(&spec, SM_ERR_FORMAT, "gpt2.attention.layer_norm_epsilon");
    }
    spec = gpt2;
    spec.omit_key = "gpt2.attention.layer_norm_epsilon"; /* that of the other kind does not do */
    check_refused(&spec, SM_ERR_MISSING, "gpt2.attention.layer_norm_epsilon");
    spec =
        (fixture_model){.keys = layer_norm, .omit_key = "llama.attention.layer_norm_rms_epsilon"};
    check_refused(&spec, SM_ERR_MISSING, "llama.attention.layer_norm_rms_epsilon");
    spec = cohere;
    spec.omit_key = "command-r.logit_scale";
    check_refused(&spec, SM_ERR_MISSING, "command-r.logit_scale");
    spec = cohere;
    spec.f32_key = "command-r.logit_scale";
    spec.f32_value = -1;
    check_refused(&spec, SM_ERR_FORMAT, "command-r.logit_scale");
    spec = stablelm;
    spec.u32_key = "stablelm.use_parallel_residual";
    check_refused(&spec, SM_ERR_FORMAT, "stablelm.use_parallel_residual");
    spec = gpt2;
    spec.u32_key = "gpt2.expert_count";
    spec.u32_value = 4;
    check_refused(&spec, SM_ERR_UNSUPPORTED, "gpt2.expert_count");
}

static void contexts_end_with_the_positions(void **state) {
    (void)state;
    sm_model *model = NULL;
    sm_session *s = NULL;
    sm_batch *batch = NULL;
    sm_error error = {0};
    int32_t ids[40];
    for (int32_t i = 0; i < 40; i++)
        ids[i] = i * 5;
    if (load(&gpt2, &model, &error))
        fail_msg("%s", error.message);
    sm_session_options o = {.struct_size = sizeof o, .n_ctx = 41};
    assert_int_equal(sm_session_new(&s, model, &o, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "n_ctx is 41"));
    assert_null(s);
    const sm_batch_options bo = {.struct_size = sizeof bo, .n_ctx = 4096, .n_sequences = 2};
    assert_int_equal(sm_batch_new(&batch, model, &bo, &error), SM_ERR_ARGUMENT);
    o.n_ctx = 0;
    if (sm_session_new(&s, model, &o, &error))
        fail_msg("%s", error.message);
    assert_int_equal(test_info(s).n_ctx, 40);
    assert_int_equal(sm_session_feed(s, ids, 40, &error), SM_OK); /* the last position, too */
    assert_int_not_equal(sm_session_feed(s, ids, 1, &error), SM_OK);
    sm_session_free(s);
    sm_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_are_checked),
        cmocka_unit_test(keys_are_checked),
        cmocka_unit_test(contexts_end_with_the_positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
