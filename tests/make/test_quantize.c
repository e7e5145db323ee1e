/* sm_model_quantize and sm_imatrix: what is written, what is refused, and, with test data, the
 * errors beside those of the format's reference encoder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "fixture.h"
#include "format/format.h"
#include "kernels.h"
#include "make/make.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define OPTIONS(...)         \
    (&(sm_quantize_options){ \
        .struct_size = sizeof(sm_quantize_options), .n_threads = 2, __VA_ARGS__})

/* ---- helpers --------------------------------------------------------------------------------- */

static sm_mem mem;

/* A path that stays: those of support.h take turns. NULL for NULL. */
static const char *keep(const char *path) {
    static char kept[96][512];
    size_t i = 0;
    if (!path)
        return NULL;
    while (kept[i][0] && strcmp(kept[i], path) != 0)
        assert_true(++i < sizeof kept / sizeof *kept);
    snprintf(kept[i], sizeof kept[i], "%s", path);
    return kept[i];
}

static const char *path_of(const char *name) {
    return keep(scratch_path(name));
}

static const char *data_of(const char *name) {
    return keep(data_path(name));
}

static sm_source *open_gguf(const char *path) {
    sm_source *gguf;
    sm_error error;
    if (sm_source_open(&gguf, &mem, path, false, &error))
        fail_msg("%s", error.message);
    return gguf;
}

static void quantize(const char *in, const char *out, const sm_quantize_options *o) {
    sm_error error = {0};
    if (sm_model_quantize(out, in, o, NULL, &error))
        fail_msg("%s", error.message);
}

/* Must fail with that status and these words, and leave no file behind. */
static void refused(const char *in, const char *out, const sm_quantize_options *o,
                    sm_status expected, const char *word, const char *word2) {
    sm_error error = {0};
    const size_t files = scratch_count();
    const sm_status status = sm_model_quantize(out, in, o, NULL, &error);
    if (status != expected || !strstr(error.message, word) || !strstr(error.message, word2))
        fail_msg("status %d, expected %d; the message shall name %s and %s: %s", status, expected,
                 word, word2, error.message);
    assert_int_equal(scratch_count(), files);
}

static const char *fixture(const char *name, const fixture_model *spec) {
    const char *path = path_of(name);
    assert_int_equal(fixture_write(path, spec), 0);
    return path;
}

static bool same_files(const char *a, const char *b) {
    size_t na, nb;
    uint8_t *da = scratch_read(a, &na), *db = scratch_read(b, &nb);
    const bool same = da && db && na == nb && memcmp(da, db, na) == 0;
    free(da);
    free(db);
    return same;
}

static const char *type_of(const sm_source *g, const char *name) {
    const sm_tensor *t = sm_source_find_tensor(g, name);
    assert_non_null(t);
    return sm_dtype_get(t->type)->name;
}

/* ---- beside the reference encoder ------------------------------------------------------------ */

static const struct {
    const char *type, *file;
    bool same_bytes;
} golden[] = {
    {"F16", "F16", true},        {"BF16", "BF16", true},      {"Q8_0", "Q8_0", true},
    {"Q4_0", "Q4_0", true},      {"Q4_1", "Q4_1", true},      {"Q5_0", "Q5_0", true},
    {"Q5_1", "Q5_1", true},      {"Q2_K", "Q2_K", false},     {"Q3_K", "Q3_K_M", false},
    {"Q4_K", "Q4_K_M", false},   {"Q5_K", "Q5_K_M", false},   {"Q6_K", "Q6_K", false},
    {"IQ4_NL", "IQ4_NL", false}, {"IQ4_XS", "IQ4_XS", false},
};
#define N_GOLDEN (sizeof golden / sizeof *golden)

/* Our file of that type, made when first asked for. */
static const char *our_file(size_t g) {
    static bool made[N_GOLDEN];
    char name[32];
    snprintf(name, sizeof name, "ours-%s.gguf", golden[g].type);
    const char *path = path_of(name);
    if (!made[g])
        quantize(data_of("golden/llama-256-f32.gguf"), path,
                 OPTIONS(.type = golden[g].type, .pure = 1));
    made[g] = true;
    return path;
}

/* Squared error of t against the f32 tensor x: plain, and weighted with sqrt(s2 + x^2), s2 the
 * mean square of 256 weights. */
static void errors_of(const sm_tensor *t, const sm_tensor *x, double error[2]) {
    const sm_kernels *kernels = sm_kernels_get(SM_LEVEL_SCALAR);
    const uint64_t n = t->dims[0] * t->dims[1];
    float *y = malloc(n * sizeof *y);
    const float *w = (const float *)(const void *)x->data;
    assert_non_null(y);
    kernels->type[t->type].dequantize(y, t->data, n);
    error[0] = error[1] = 0;
    for (uint64_t b = 0; b < n; b += 256) {
        double s2 = 0;
        for (uint64_t i = b; i < b + 256; i++)
            s2 += (double)w[i] * (double)w[i] / 256;
        for (uint64_t i = b; i < b + 256; i++) {
            const double off = (double)w[i] - (double)y[i];
            error[0] += off * off;
            error[1] += sqrt(s2 + (double)w[i] * (double)w[i]) * off * off;
        }
    }
    free(y);
}

static void errors_are_no_larger_than_the_references(void **state) {
    (void)state;
    const char *source = data_of("golden/llama-256-f32.gguf");
    if (!source) {
        print_message("skipped: no test data\n");
        skip();
    }
    sm_source *x = open_gguf(source);
    for (size_t g = 0; g < N_GOLDEN; g++) {
        char name[128];
        snprintf(name, sizeof name, "golden/types/llama-256-%s.gguf", golden[g].file);
        sm_source *ours = open_gguf(our_file(g)), *theirs = open_gguf(data_of(name));
        double worst[2] = {0, 0}, ratio_sum = 0, n = 0;
        for (uint64_t i = 0; i < theirs->n_tensors; i++) {
            const sm_tensor *b = &theirs->tensors[i], *a = sm_source_find_tensor(ours, b->name);
            assert_non_null(a);
            assert_int_equal(a->type, b->type);
            assert_int_equal(a->size, b->size);
            if (golden[g].same_bytes || b->n_dims == 1) {
                assert_memory_equal(a->data, b->data, b->size);
                continue;
            }
            double ea[2], eb[2];
            errors_of(a, sm_source_find_tensor(x, b->name), ea);
            errors_of(b, sm_source_find_tensor(x, b->name), eb);
            for (int e = 0; e < 2; e++) {
                worst[e] = fmax(worst[e], ea[e] / eb[e]);
                assert_true(ea[e] <= eb[e]);
            }
            ratio_sum += ea[1] / eb[1];
            n++;
        }
        if (golden[g].same_bytes)
            print_message("%-7s the reference's bytes\n", golden[g].type);
        else
            print_message("%-7s squared error / the reference's: at most %.4f plain, %.4f weighted "
                          "(mean %.4f)\n",
                          golden[g].type, worst[0], worst[1], ratio_sum / n);
        sm_source_close(ours);
        sm_source_close(theirs);
    }
    sm_source_close(x);
}

#define IDS 40
#define VOCAB 512

static void logits_of(const char *path, const int32_t *ids, float *logits) {
    sm_model *model = NULL;
    sm_session *session = NULL;
    sm_error error;
    const sm_session_options o = {.struct_size = sizeof o, .kv_type = SM_KV_TYPE_F32};
    if (sm_model_load(&model, path, NULL, &error) || sm_session_new(&session, model, &o, &error) ||
        sm_session_feed_logits(session, ids, IDS, logits, UINT64_MAX, &error))
        fail_msg("%s", error.message);
    sm_session_free(session);
    sm_model_free(model);
}

static double log_sum(const float *x) {
    double sum = 0;
    for (int i = 0; i < VOCAB; i++)
        sum += exp((double)x[i]);
    return log(sum);
}

/* Mean over positions of KL(exact || ours). */
static double divergence(const float *exact, const float *ours) {
    double total = 0;
    for (int t = 0; t < IDS; t++, exact += VOCAB, ours += VOCAB) {
        const double e = log_sum(exact), o = log_sum(ours);
        for (int i = 0; i < VOCAB; i++)
            total += exp((double)exact[i] - e) * ((double)exact[i] - e - ((double)ours[i] - o));
    }
    return total / IDS;
}

/* The logits of the reference's file were computed with its weights in f32; so are ours here. */
static void divergence_is_no_larger_than_the_references(void **state) {
    (void)state;
    static float exact[IDS * VOCAB], ours[IDS * VOCAB];
    int32_t ids[IDS];
    size_t size;
    const char *source = data_of("golden/llama-256-f32.gguf");
    if (!source) {
        print_message("skipped: no test data\n");
        skip();
    }
    char *text = (char *)scratch_read(data_of("golden/ids40.txt"), &size), *at = text;
    for (int i = 0; i < IDS; i++)
        ids[i] = (int32_t)strtol(at, &at, 10);
    free(text);
    logits_of(source, ids, exact);
    for (size_t g = 0; g < N_GOLDEN; g++) {
        char name[128];
        snprintf(name, sizeof name, "golden/types/llama-256-%s.exact.logits", golden[g].file);
        float *stored = (float *)(void *)scratch_read(data_of(name), &size);
        assert_int_equal(size, sizeof exact);
        quantize(our_file(g), path_of("back.gguf"), OPTIONS(.type = "F32"));
        logits_of(path_of("back.gguf"), ids, ours);
        const double theirs_kl = divergence(exact, stored), ours_kl = divergence(exact, ours);
        print_message("%-7s KL %.4e, of the reference's file %.4e\n", golden[g].type, ours_kl,
                      theirs_kl);
        assert_true(ours_kl <= theirs_kl * 1.001 + 1e-9);
        free(stored);
    }
}

/* ---- what is written ------------------------------------------------------------------------- */

static void keys_are_kept(void **state) {
    (void)state;
    const char *in = fixture("in.gguf", &(fixture_model){.n_embd = 256, .n_ff = 512});
    const char *out = path_of("out.gguf");
    quantize(in, out, OPTIONS(.type = "Q4_K_M"));
    sm_source *a = open_gguf(in), *b = open_gguf(out);
    for (uint64_t i = 0; i < a->n_keys; i++) {
        const sm_key *key = &a->keys[i], *copy = sm_source_find_key(b, key->name);
        assert_non_null(copy);
        assert_int_equal(copy->type, key->type);
        assert_int_equal(copy->size, key->size);
        assert_memory_equal(copy->data, key->data, key->size);
    }
    uint32_t value;
    assert_int_equal(sm_source_get_u32(b, "general.file_type", &value, NULL), SM_OK);
    assert_int_equal(value, 15);
    assert_int_equal(sm_source_get_u32(b, "general.quantization_version", &value, NULL), SM_OK);
    assert_int_equal(value, 2);
    assert_int_equal(b->n_tensors, a->n_tensors);
    for (uint64_t i = 0; i < a->n_tensors; i++) {
        const sm_tensor *t = &a->tensors[i], *copy = sm_source_find_tensor(b, t->name);
        assert_non_null(copy);
        assert_memory_equal(copy->dims, t->dims, sizeof t->dims);
        if (t->n_dims == 1) {
            assert_int_equal(copy->type, t->type);
            assert_memory_equal(copy->data, t->data, t->size);
        }
    }
    sm_source_close(a);
    sm_source_close(b);
    /* the file is one the library runs; written in place it is the same */
    sm_model *model;
    sm_error error;
    if (sm_model_load(&model, out, NULL, &error))
        fail_msg("%s", error.message);
    sm_model_free(model);
    quantize(in, in, OPTIONS(.type = "Q4_K_M"));
    assert_true(same_files(in, out));
}

static void mixtures_give_more_bits_where_they_help(void **state) {
    (void)state;
    const sm_mixture_model model = {.n_layer = 16, .n_head = 4, .n_head_kv = 2, .has_output = true};
    const struct {
        const char *mixture, *tensor, *type;
    } cases[] = {
        {"Q4_K_M", "output.weight", "Q6_K"},
        {"Q4_K_M", "token_embd.weight", "Q4_K"},
        {"Q4_K_M", "blk.0.attn_v.weight", "Q6_K"},
        {"Q4_K_M", "blk.2.attn_v.weight", "Q4_K"},
        {"Q4_K_M", "blk.4.ffn_down.weight", "Q6_K"},
        {"Q4_K_M", "blk.15.ffn_down.weight", "Q6_K"},
        {"Q4_K_M", "blk.0.ffn_up.weight", "Q4_K"},
        {"Q4_K_S", "blk.3.attn_v.weight", "Q5_K"},
        {"Q4_K_S", "blk.4.attn_v.weight", "Q4_K"},
        {"Q4_K_S", "blk.1.ffn_down.weight", "Q5_K"},
        {"Q5_K_M", "blk.1.attn_v.weight", "Q6_K"},
        {"Q5_K_M", "blk.2.ffn_down.weight", "Q5_K"},
        {"Q5_K_S", "blk.1.attn_v.weight", "Q5_K"},
        {"Q3_K_M", "blk.1.attn_v.weight", "Q5_K"},
        {"Q3_K_M", "blk.2.attn_v.weight", "Q4_K"},
        {"Q3_K_M", "blk.0.ffn_down.weight", "Q5_K"},
        {"Q3_K_M", "blk.1.ffn_down.weight", "Q4_K"},
        {"Q3_K_M", "blk.5.attn_output.weight", "Q4_K"},
        {"Q3_K_L", "blk.5.attn_output.weight", "Q5_K"},
        {"Q3_K_S", "blk.5.ffn_down.weight", "Q3_K"},
        {"Q2_K", "blk.5.attn_v.weight", "Q3_K"},
        {"Q2_K", "blk.5.ffn_gate.weight", "Q2_K"},
        {"Q2_K", "output.weight", "Q6_K"},
        {"Q4_K", "output.weight", "Q4_K"},
        {"IQ1_S", "output.weight", "Q5_K"},
        {"IQ1_S", "token_embd.weight", "Q2_K"},
        {"IQ1_S", "blk.5.attn_output.weight", "IQ2_XXS"},
        {"IQ1_M", "blk.1.ffn_down.weight", "Q2_K"},
        {"IQ1_M", "blk.2.ffn_down.weight", "IQ1_M"},
        {"IQ2_XXS", "blk.5.attn_output.weight", "IQ2_XXS"},
        {"IQ2_XS", "blk.5.attn_v.weight", "Q2_K"},
        {"IQ2_XS", "blk.5.ffn_up.weight", "IQ2_XS"},
        {"IQ2_S", "token_embd.weight", "IQ3_S"},
        {"IQ2_M", "blk.5.attn_v.weight", "IQ3_S"},
        {"IQ2_M", "blk.5.attn_q.weight", "IQ2_S"},
        {"IQ3_XXS", "blk.5.attn_k.weight", "IQ2_S"},
        {"IQ3_XXS", "blk.5.attn_v.weight", "IQ3_XXS"},
        {"IQ3_XXS", "blk.5.attn_output.weight", "IQ3_S"},
        {"IQ3_XS", "blk.5.ffn_gate.weight", "IQ3_XXS"},
        {"IQ3_XS", "blk.1.ffn_gate.weight", "IQ3_S"},
        {"IQ3_XS", "blk.1.attn_q.weight", "IQ3_XXS"},
        {"IQ3_XS", "blk.5.ffn_down.weight", "IQ3_S"},
        {"IQ3_S", "output.weight", "Q6_K"},
        {"IQ3_S", "blk.5.attn_v.weight", "IQ3_S"},
        {"IQ3_M", "blk.1.ffn_down.weight", "Q4_K"},
        {"IQ3_M", "blk.5.attn_output.weight", "Q4_K"},
        {"TQ2_0", "output.weight", "Q6_K"},
        {"TQ1_0", "token_embd.weight", "Q4_K"},
        {"Q2_0", "blk.0.ffn_down.weight", "Q2_0"},
        {"Q1_0", "token_embd.weight", "Q1_0"},
        {"Q1_0", "output.weight", "Q6_K"},
        {"NVFP4", "output.weight", "NVFP4"},
        {"MXFP4_MOE", "output.weight", "Q8_0"},
        {"MXFP4_MOE", "blk.3.attn_k.weight", "Q8_0"},
        {"MXFP4_MOE", "blk.3.ffn_down.weight", "Q8_0"},
        {"MXFP4_MOE", "blk.3.ffn_down_exps.weight", "MXFP4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const sm_model_type *m = sm_model_type_find(cases[i].mixture, SM_TYPES_ALL, NULL);
        assert_non_null(m);
        const char *type = sm_dtype_get(sm_mixture_type(m, &model, cases[i].tensor))->name;
        if (strcmp(type, cases[i].type) != 0)
            fail_msg("%s: %s is %s", cases[i].mixture, cases[i].tensor, type);
    }
    const sm_mixture_model grouped = {.n_layer = 16, .n_head = 8, .n_head_kv = 2};
    assert_int_equal(sm_mixture_type(sm_model_type_find("Q2_K", SM_TYPES_ALL, NULL), &grouped,
                                     "blk.5.attn_v.weight"),
                     SM_DTYPE_Q4_K);
}

#define OVERRIDE(matrices, becomes) \
    { .struct_size = sizeof(sm_quantize_override), .pattern = matrices, .type = becomes }

/* A list of structs of a later version, and of two versions at once. */
static void overrides_say_their_stride(void **state) {
    (void)state;
    const char *in = fixture("stride.gguf", &(fixture_model){.n_layer = 2});
    const char *once = path_of("stride-1.gguf"), *later = path_of("stride-2.gguf");
    const sm_quantize_override own[] = {OVERRIDE("blk.0.*", "Q8_0"), OVERRIDE("blk.1.*", "F16")};
    struct {
        sm_quantize_override known;
        uint64_t more;
    } longer[2] = {{own[0], 0}, {own[1], 0}};
    longer[0].known.struct_size = longer[1].known.struct_size = sizeof longer[0];
    const sm_quantize_override *list = &longer[0].known;
    quantize(in, once, OPTIONS(.type = "Q4_0", .overrides = own, .n_overrides = 2));
    quantize(in, later, OPTIONS(.type = "Q4_0", .overrides = list, .n_overrides = 2));
    assert_true(same_files(once, later));
    longer[1].more = 1;
    refused(in, later, OPTIONS(.type = "Q4_0", .overrides = list, .n_overrides = 2),
            SM_ERR_ARGUMENT, "number 1 of 2", "knows only");
    longer[1].known.struct_size = sizeof own[0];
    refused(in, later, OPTIONS(.type = "Q4_0", .overrides = list, .n_overrides = 2),
            SM_ERR_ARGUMENT, "struct_size", "of the first one");
}

static void files_follow_mixtures_and_overrides(void **state) {
    (void)state;
    const char *in = fixture(
        "in.gguf", &(fixture_model){.n_embd = 256, .n_ff = 256, .n_layer = 11, .untied = true});
    /* tied: the embedding is the output */
    const char *tied = fixture("tied.gguf", &(fixture_model){.n_embd = 256, .n_ff = 256});
    quantize(tied, path_of("out.gguf"), OPTIONS(.type = "Q4_K_M"));
    sm_source *g = open_gguf(path_of("out.gguf"));
    assert_string_equal(type_of(g, "token_embd.weight"), "Q6_K");
    sm_source_close(g);
    const sm_quantize_override o[] = {OVERRIDE("blk.0.*", "Q8_0"),
                                      OVERRIDE("blk.?.ffn_*", "IQ4_XS")};
    quantize(in, path_of("out.gguf"),
             OPTIONS(.type = "Q4_K_M", .pure = 1, .overrides = o, .n_overrides = 2));
    g = open_gguf(path_of("out.gguf"));
    assert_string_equal(type_of(g, "blk.0.ffn_up.weight"), "Q8_0");
    assert_string_equal(type_of(g, "blk.1.ffn_up.weight"), "IQ4_XS");
    assert_string_equal(type_of(g, "blk.10.ffn_up.weight"), "Q4_K");
    assert_string_equal(type_of(g, "output.weight"), "Q4_K");
    sm_source_close(g);
}

static int32_t count_fallbacks(void *user, const sm_quantize_tensor *t) {
    uint32_t *n = user;
    n[0] += t->fallback;
    n[1] += !t->copied;
    assert_true(t->copied || (t->rmse >= 0 && t->rmse < t->rms));
    return 0;
}

static void rows_that_do_not_fit_fall_back(void **state) {
    (void)state;
    const char *in = fixture("in.gguf", &(fixture_model){.n_embd = 96, .n_head = 6, .n_ff = 40});
    const char *const cases[][2] = {{"Q4_K", "Q5_0"},    {"Q5_K", "Q5_1"},   {"Q6_K", "Q8_0"},
                                    {"Q2_K", "IQ4_NL"},  {"Q3_K", "IQ4_NL"}, {"IQ4_XS", "IQ4_NL"},
                                    {"TQ1_0", "Q4_0"},   {"TQ2_0", "Q4_0"},  {"Q2_0", "Q4_0"},
                                    {"Q1_0", "Q4_0"},    {"NVFP4", "MXFP4"}, {"IQ2_S", "IQ4_NL"},
                                    {"IQ1_M", "IQ4_NL"}, {"Q8_0", "Q8_0"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t seen[2] = {0, 0};
        sm_quantize_result result = {.struct_size = sizeof result};
        sm_error error;
        const char *out = path_of("out.gguf");
        if (sm_model_quantize(out, in,
                              OPTIONS(.type = cases[i][0], .pure = 1, .on_tensor = count_fallbacks,
                                      .on_tensor_user = seen),
                              &result, &error))
            fail_msg("%s", error.message);
        sm_source *g = open_gguf(out);
        assert_string_equal(type_of(g, "blk.0.ffn_up.weight"), cases[i][1]);
        assert_string_equal(type_of(g, "blk.0.ffn_down.weight"), "F16"); /* 40 columns */
        assert_int_equal(result.n_tensors, g->n_tensors);
        sm_source_close(g);
        assert_int_equal(result.n_fallback, seen[0]);
        assert_int_equal(result.n_quantized, seen[1]);
        assert_true(result.bytes_after < result.bytes_before);
    }
}

/* Neither threads nor the instruction set change a byte. */
static void files_do_not_depend_on_the_machine(void **state) {
    (void)state;
    const char *in = fixture("in.gguf", &(fixture_model){.n_embd = 256, .n_ff = 512});
    quantize(in, path_of("one.gguf"), OPTIONS(.type = "Q4_K_M"));
    for (uint32_t level = SM_LEVEL_SCALAR; level <= SM_LEVEL_AVX512; level++)
        for (uint32_t n = 1; n <= 4; n += level == SM_LEVEL_SCALAR ? 3 : 1) {
            sm_quantize_options o = *OPTIONS(.type = "Q4_K_M", .level = level);
            o.n_threads = n;
            quantize(in, path_of("two.gguf"), &o);
            assert_true(same_files(path_of("one.gguf"), path_of("two.gguf")));
        }
}

static void sources_of_other_types(void **state) {
    (void)state;
    const char *out = path_of("out.gguf");
    for (uint32_t type = SM_DTYPE_F16; type <= SM_DTYPE_BF16; type += SM_DTYPE_BF16 - SM_DTYPE_F16)
        quantize(fixture("half.gguf", &(fixture_model){.type = type}), out,
                 OPTIONS(.type = "Q8_0"));
    const char *q8 = fixture("q8.gguf", &(fixture_model){.type = SM_DTYPE_Q8_0});
    refused(q8, out, OPTIONS(.type = "Q4_0"), SM_ERR_UNSUPPORTED, "q8.gguf", "token_embd.weight");
    quantize(q8, out, OPTIONS(.type = "Q4_0", .requantize = 1));
    quantize(q8, out, OPTIONS(.type = "F32")); /* decoding adds no error */
    quantize(q8, out, OPTIONS(.type = "Q8_0"));
    sm_source *a = open_gguf(q8), *b = open_gguf(out);
    for (uint64_t i = 0; i < a->n_tensors; i++)
        assert_memory_equal(a->tensors[i].data, b->tensors[i].data, a->tensors[i].size);
    sm_source_close(a);
    sm_source_close(b);
    const char *odd =
        fixture("odd.gguf", &(fixture_model){.n_embd = 256, .bad_type = "blk.0.ffn_up.weight"});
    refused(odd, out, OPTIONS(.type = "Q4_0", .requantize = 1), SM_ERR_UNSUPPORTED,
            "blk.0.ffn_up.weight", "Q8_1");
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void what_cannot_be_done_is_named(void **state) {
    (void)state;
    const char *in = fixture("in.gguf", &(fixture_model){0});
    const char *out = path_of("new.gguf");
    refused(in, out, OPTIONS(.type = "Q9"), SM_ERR_ARGUMENT, "Q9", "Q4_K_M");
    refused(in, out, OPTIONS(.type = NULL), SM_ERR_ARGUMENT, "type", "");
    refused(in, out, OPTIONS(.type = "Q8_0", .pure = 2), SM_ERR_ARGUMENT, "pure", "");
    const sm_quantize_override mixture = OVERRIDE("*", "Q4_K_M"), unknown = OVERRIDE("*", "Q9"),
                               none = OVERRIDE("*", NULL),
                               elsewhere = OVERRIDE("blk.*.ffn_norm.*", "Q4_0");
    refused(in, out, OPTIONS(.type = "Q8_0", .overrides = &mixture, .n_overrides = 1),
            SM_ERR_ARGUMENT, "Q4_K_M", "mixture");
    refused(in, out, OPTIONS(.type = "Q8_0", .overrides = &unknown, .n_overrides = 1),
            SM_ERR_ARGUMENT, "Q9", "");
    refused(in, out, OPTIONS(.type = "Q8_0", .overrides = &none, .n_overrides = 1), SM_ERR_ARGUMENT,
            "NULL", "");
    refused(in, out, OPTIONS(.type = "Q8_0", .overrides = &elsewhere, .n_overrides = 1),
            SM_ERR_ARGUMENT, "in.gguf", "blk.*.ffn_norm.*");
    refused(in, out, OPTIONS(.type = "Q8_0", .n_overrides = 1), SM_ERR_ARGUMENT, "overrides", "");
    refused(path_of("absent.gguf"), out, OPTIONS(.type = "Q8_0"), SM_ERR_IO, "absent.gguf", "");
    refused(in, "/nonexistent/new.gguf", OPTIONS(.type = "Q8_0"), SM_ERR_IO, "/nonexistent", "");
    refused(in, "/dev/full", OPTIONS(.type = "Q8_0"), SM_ERR_IO, "/dev/full", "");
    refused(in, "/", OPTIONS(.type = "Q8_0"), SM_ERR_IO, "/", "");
    refused(in, out, OPTIONS(.type = "Q8_0", .imatrix = in), SM_ERR_FORMAT, "in.gguf",
            "general.type");
    const char *nan = fixture("nan.gguf", &(fixture_model){.nan_tensor = "blk.1.ffn_up.weight"});
    refused(nan, out, OPTIONS(.type = "Q4_0"), SM_ERR_FORMAT, "blk.1.ffn_up.weight", "NaN");
    refused(nan, out, OPTIONS(.type = "F16"), SM_ERR_FORMAT, "nan.gguf", "NaN");
    sm_error error;
    assert_int_equal(sm_model_quantize(out, NULL, OPTIONS(.type = "Q8_0"), NULL, &error),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_quantize(NULL, in, OPTIONS(.type = "Q8_0"), NULL, &error),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_quantize(out, in, NULL, NULL, &error), SM_ERR_ARGUMENT);
}

/* A weight that f16 cannot hold. */
static void too_large_weights_are_refused(void **state) {
    (void)state;
    const char *in = path_of("large.gguf");
    sm_gguf_writer *w;
    sm_error error;
    float *x = calloc(64 * 64, sizeof *x);
    const uint64_t dims[2] = {64, 64};
    assert_non_null(x);
    x[1000] = 1e10f;
    assert_int_equal(sm_gguf_writer_open(&w, &mem, in, 3, 32, &error), SM_OK);
    sm_gguf_declare_tensor(w, "some.weight", SM_DTYPE_F32, 2, dims, &error);
    sm_gguf_write_tensor(w, x, 64 * 64 * sizeof *x, &error);
    assert_int_equal(sm_gguf_writer_finish(w, &error), SM_OK);
    free(x);
    const char *const types[] = {"F16", "Q8_0", "Q4_1", "Q4_K"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        refused(in, path_of("new.gguf"), OPTIONS(.type = types[i]), SM_ERR_FORMAT, "some.weight",
                "too large");
    quantize(in, path_of("out.gguf"), OPTIONS(.type = "BF16"));
}

static int32_t stop_after(void *user, uint64_t done, uint64_t total) {
    uint32_t *left = user;
    assert_true(done <= total);
    return (*left)-- == 0;
}

static int32_t stop_at_once(void *user, const sm_quantize_tensor *tensor) {
    (void)user;
    (void)tensor;
    return 1;
}

static void hooks_cancel(void **state) {
    (void)state;
    const char *in = fixture("in.gguf", &(fixture_model){0});
    for (uint32_t n = 0; n < 4; n++) {
        uint32_t left = n;
        refused(in, path_of("new.gguf"),
                OPTIONS(.type = "Q8_0", .progress = stop_after, .progress_user = &left),
                SM_ERR_CANCELLED, "in.gguf", "cancelled");
    }
    refused(in, path_of("new.gguf"), OPTIONS(.type = "Q8_0", .on_tensor = stop_at_once),
            SM_ERR_CANCELLED, "cancelled", "");
}

/* A file system that is full leaves the old file whole. */
static void full_disk_leaves_the_old_file(void **state) {
    (void)state;
    const char *in = fixture("in.gguf", &(fixture_model){.n_embd = 256, .n_ff = 512});
    const char *out = path_of("old.gguf");
    struct rlimit limit, small;
    quantize(in, out, OPTIONS(.type = "Q4_0"));
    size_t before, after;
    uint8_t *old = scratch_read(out, &before);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_IGN); /* write fails instead */
    small = limit;
    small.rlim_cur = 100000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    refused(in, out, OPTIONS(.type = "Q8_0"), SM_ERR_IO, "old.gguf", "too large");
    setrlimit(RLIMIT_FSIZE, &limit);
    uint8_t *now = scratch_read(out, &after);
    assert_int_equal(before, after);
    assert_memory_equal(old, now, before);
    free(old);
    free(now);
}

/* ---- importance ------------------------------------------------------------------------------ */

static sm_model *load(const char *path, const sm_allocator *allocator) {
    sm_model *model;
    sm_error error;
    const sm_model_options o = {.struct_size = sizeof o, .allocator = allocator};
    if (sm_model_load(&model, path, &o, &error))
        fail_msg("%s", error.message);
    return model;
}

static void measure(const char *model_path, const char *out, uint32_t n_threads) {
    sm_model *model = load(model_path, NULL);
    sm_imatrix *im;
    sm_error error;
    int32_t ids[100];
    for (int i = 0; i < 100; i++)
        ids[i] = i * 7 % FIXTURE_VOCAB;
    const sm_imatrix_options o = {.struct_size = sizeof o, .n_ctx = 64, .n_threads = n_threads};
    if (sm_imatrix_new(&im, model, &o, &error))
        fail_msg("%s", error.message);
    sm_model_free(model);
    assert_int_equal(sm_imatrix_capacity(im), 64);
    assert_int_equal(sm_imatrix_save(im, out, "text", &error), SM_ERR_STATE);
    assert_int_equal(sm_imatrix_feed(im, ids, 65, &error), SM_ERR_CONTEXT_FULL);
    assert_int_equal(sm_imatrix_feed(im, ids, 0, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_imatrix_feed(im, (int32_t[]){-1}, 1, &error), SM_ERR_TOKEN);
    if (sm_imatrix_feed(im, ids, 64, &error) || sm_imatrix_feed(im, ids + 64, 36, &error) ||
        sm_imatrix_feed(im, ids, 1, &error))
        fail_msg("%s", error.message);
    assert_int_equal(sm_imatrix_chunks(im), 3);
    if (sm_imatrix_save(im, out, "text", &error))
        fail_msg("%s", error.message);
    sm_imatrix_free(im);
}

/* What wq of the first layer reads can be computed by hand. */
static void sums_are_those_of_the_inputs(void **state) {
    (void)state;
    const char *in = fixture("in.gguf", &(fixture_model){0});
    const char *out = path_of("im.gguf");
    measure(in, out, 2);
    sm_source *g = open_gguf(in), *im = open_gguf(out);
    const float *E =
        (const float *)(const void *)sm_source_find_tensor(g, "token_embd.weight")->data;
    const float *norm =
        (const float *)(const void *)sm_source_find_tensor(g, "blk.0.attn_norm.weight")->data;
    double sums[64] = {0};
    for (int i = 0; i < 101; i++) {
        const float *x = E + i % 100 * 7 % FIXTURE_VOCAB * 64;
        double square = 0;
        for (int c = 0; c < 64; c++)
            square += (double)x[c] * (double)x[c] / 64;
        for (int c = 0; c < 64; c++)
            sums[c] += pow((double)x[c] * (double)norm[c], 2) / (square + 1e-5);
    }
    const char *const readers[] = {"blk.0.attn_q.weight", "blk.0.attn_k.weight",
                                   "blk.0.attn_v.weight"};
    for (int r = 0; r < 3; r++) {
        char name[64];
        snprintf(name, sizeof name, "%s.in_sum2", readers[r]);
        const sm_tensor *t = sm_source_find_tensor(im, name);
        assert_non_null(t);
        assert_int_equal(t->dims[0], 64);
        const float *stored = (const float *)(const void *)t->data;
        for (int c = 0; c < 64; c++)
            assert_true(fabs((double)stored[c] - sums[c]) <= 1e-4 * sums[c]);
        snprintf(name, sizeof name, "%s.counts", readers[r]);
        t = sm_source_find_tensor(im, name);
        float count;
        assert_int_equal(t->size, sizeof count);
        memcpy(&count, t->data, sizeof count);
        assert_true(count == 101);
    }
    assert_non_null(sm_source_find_tensor(im, "blk.1.attn_output.weight.in_sum2"));
    assert_non_null(sm_source_find_tensor(im, "blk.1.ffn_gate.weight.in_sum2"));
    assert_int_equal(sm_source_find_tensor(im, "blk.1.ffn_down.weight.in_sum2")->dims[0], 96);
    uint32_t value;
    assert_int_equal(sm_source_get_u32(im, "imatrix.chunk_count", &value, NULL), SM_OK);
    assert_int_equal(value, 3);
    assert_int_equal(sm_source_get_u32(im, "imatrix.chunk_size", &value, NULL), SM_OK);
    assert_int_equal(value, 64);
    sm_source_close(g);
    sm_source_close(im);
    for (uint32_t n = 1; n <= 4; n++) {
        measure(in, path_of("im2.gguf"), n);
        assert_true(same_files(out, path_of("im2.gguf")));
    }
}

static void importance_is_used(void **state) {
    (void)state;
    const char *in = fixture("in.gguf", &(fixture_model){.n_embd = 256, .n_ff = 512});
    const char *im = path_of("im.gguf"), *out = path_of("out.gguf");
    sm_quantize_result result = {.struct_size = sizeof result};
    sm_error error;
    measure(in, im, 2);
    quantize(in, path_of("plain.gguf"), OPTIONS(.type = "Q4_K"));
    if (sm_model_quantize(out, in, OPTIONS(.type = "Q4_K", .imatrix = im), &result, &error))
        fail_msg("%s", error.message);
    assert_int_equal(result.n_imatrix, 14);   /* two layers of seven */
    assert_int_equal(result.n_quantized, 15); /* and the embedding */
    assert_false(same_files(out, path_of("plain.gguf")));
    /* of another model: named */
    const char *other = fixture("other.gguf", &(fixture_model){0});
    refused(other, path_of("new.gguf"), OPTIONS(.type = "Q4_0", .imatrix = im), SM_ERR_SHAPE,
            "im.gguf", "blk.0.attn_q.weight");
}

/* The matrix in a GGUF file as it was written before, of one call. */
static void write_old(const char *from, const char *to) {
    sm_source *g = open_gguf(from);
    bytes b = {0};
    const float *count = NULL;
    bytes_u32(&b, (uint32_t)(g->n_tensors / 2));
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const sm_tensor *t = &g->tensors[i];
        const char *end = strstr(t->name, ".in_sum2");
        if (!end)
            continue;
        char name[100];
        snprintf(name, sizeof name, "%.*s.counts", (int)(end - t->name), t->name);
        count = (const float *)(const void *)sm_source_find_tensor(g, name)->data;
        const uint64_t n = t->size / sizeof(float), depth = t->n_dims > 1 ? t->dims[1] : 1;
        bytes_u32(&b, (uint32_t)(end - t->name));
        bytes_put(&b, name, (size_t)(end - t->name));
        bytes_u32(&b, 1);
        bytes_u32(&b, (uint32_t)n);
        for (uint64_t k = 0; k < n; k++) {
            const float of = count[k / (n / depth)];
            const float value = of > 0 ? ((const float *)(const void *)t->data)[k] / of : 1;
            bytes_put(&b, &value, sizeof value);
        }
    }
    bytes_u32(&b, 3);
    bytes_u32(&b, 4);
    bytes_put(&b, "text", 4);
    sm_source_close(g);
    scratch_write(to, b.data, b.size);
    bytes_free(&b);
}

static void old_importance_is_used(void **state) {
    (void)state;
    sm_error error;
    for (uint32_t n_experts = 0; n_experts < 4; n_experts += 3) {
        const char *in = fixture(
            "in.gguf", &(fixture_model){.n_experts = n_experts, .n_used = n_experts ? 2 : 0});
        const char *im = path_of("im.gguf"), *out = path_of("out.gguf");
        measure(in, im, 1);
        quantize(in, path_of("new.gguf"), OPTIONS(.type = "Q4_0", .imatrix = im));
        quantize(in, path_of("plain.gguf"), OPTIONS(.type = "Q4_0"));
        write_old(im, im);
        quantize(in, out, OPTIONS(.type = "Q4_0", .imatrix = im));
        assert_true(same_files(out, path_of("new.gguf")));
        assert_false(same_files(out, path_of("plain.gguf")));
    }
    /* cut anywhere, and with every byte of its beginning another */
    const char *in = fixture("in.gguf", &(fixture_model){0});
    const char *old = path_of("old.dat");
    size_t size;
    measure(in, path_of("im.gguf"), 1);
    write_old(path_of("im.gguf"), old);
    uint8_t *whole = scratch_read(old, &size);
    for (size_t n = 12; n < size - 12; n += n < 400 ? 1 : 97) {
        sm_importance i;
        scratch_write(old, whole, n);
        assert_int_equal(sm_importance_open(&i, &mem, old, &error), SM_ERR_FORMAT);
        assert_non_null(strstr(error.message, "old.dat: byte "));
    }
    for (size_t k = 0; k < 300; k++) {
        sm_importance i;
        whole[k] ^= 0x40;
        scratch_write(old, whole, size);
        whole[k] ^= 0x40;
        const sm_status status = sm_importance_open(&i, &mem, old, &error);
        if (!status)
            sm_importance_close(&i);
        assert_true(!status || status == SM_ERR_FORMAT);
    }
    free(whole);
}

/* An importance matrix with one tensor as given. */
static const char *write_importance(float value, float count, uint32_t count_type, uint64_t n) {
    const char *path = path_of("made.gguf");
    sm_gguf_writer *w;
    sm_error error;
    float values[256];
    const uint64_t columns[1] = {n}, one[1] = {1};
    for (int i = 0; i < 256; i++)
        values[i] = i == 9 ? value : 1;
    assert_int_equal(sm_gguf_writer_open(&w, &mem, path, 3, 32, &error), SM_OK);
    sm_gguf_put_str(w, "general.type", "imatrix", 7);
    sm_gguf_declare_tensor(w, "blk.0.attn_q.weight.in_sum2", SM_DTYPE_F32, 1, columns, &error);
    sm_gguf_declare_tensor(w, "blk.0.attn_q.weight.counts", count_type, 1, one, &error);
    sm_gguf_write_tensor(w, values, n * sizeof(float), &error);
    sm_gguf_write_tensor(w, &count, sizeof count, &error);
    assert_int_equal(sm_gguf_writer_finish(w, &error), SM_OK);
    return path;
}

/* Types that go by importance are not written without, but for what is never measured. */
static void importance_is_asked_for(void **state) {
    (void)state;
    static const char *const needing[] = {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS",
                                          "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS"};
    const char *in = fixture("in.gguf", &(fixture_model){.n_embd = 256, .n_ff = 512});
    const char *im = path_of("im.gguf"), *out = path_of("new.gguf");
    const sm_quantize_override kept[] = {OVERRIDE("blk.*", "Q8_0")};
    measure(in, im, 2);
    const uint32_t n = sizeof needing / sizeof *needing, written = test_share(n, 1);
    for (uint32_t i = 0; i < n; i++) {
        refused(in, out, OPTIONS(.type = needing[i]), SM_ERR_ARGUMENT, "in.gguf", "imatrix");
        if (i >= written)
            continue;
        quantize(in, path_of("out.gguf"), OPTIONS(.type = needing[i], .imatrix = im));
        quantize(in, path_of("out.gguf"),
                 OPTIONS(.type = needing[i], .pure = 1, .overrides = kept, .n_overrides = 1));
    }
    quantize(in, path_of("out.gguf"), OPTIONS(.type = "IQ3_S"));
    sm_source *g = open_gguf(path_of("out.gguf"));
    assert_string_equal(type_of(g, "blk.0.ffn_up.weight"), "IQ3_S");
    sm_source_close(g);
    quantize(in, path_of("made-iq2.gguf"), OPTIONS(.type = "IQ2_XXS", .pure = 1, .imatrix = im));
    quantize(path_of("made-iq2.gguf"), path_of("out.gguf"), /* what is copied needs nothing */
             OPTIONS(.type = "IQ2_XXS", .pure = 1));
    /* one that lacks most matrices */
    const char *wide = fixture("wide.gguf", &(fixture_model){.n_embd = 256, .n_ff = 256});
    const sm_quantize_override only_k[] = {OVERRIDE("*attn_k.weight", "IQ2_XXS")};
    refused(wide, out,
            OPTIONS(.type = "Q8_0", .imatrix = write_importance(1, 4, SM_DTYPE_F32, 256),
                    .overrides = only_k, .n_overrides = 1),
            SM_ERR_MISSING, "made.gguf", "blk.0.attn_k.weight");
}

static void bad_importance_is_refused(void **state) {
    (void)state;
    const char *in = fixture("in.gguf", &(fixture_model){0});
    const char *im = write_importance(1, 4, SM_DTYPE_F32, 64);
    const char *out = path_of("new.gguf");
    quantize(in, path_of("out.gguf"), OPTIONS(.type = "Q4_0", .imatrix = im));
    const float bad[] = {-1, NAN, INFINITY};
    for (int i = 0; i < 3; i++) {
        write_importance(bad[i], 4, SM_DTYPE_F32, 64);
        refused(in, out, OPTIONS(.type = "Q4_0", .imatrix = im), SM_ERR_FORMAT, "made.gguf",
                "blk.0.attn_q.weight.in_sum2");
    }
    write_importance(1, NAN, SM_DTYPE_F32, 64);
    refused(in, out, OPTIONS(.type = "Q4_0", .imatrix = im), SM_ERR_FORMAT, "made.gguf", ".counts");
    write_importance(1, 4, SM_DTYPE_I32, 64);
    refused(in, out, OPTIONS(.type = "Q4_0", .imatrix = im), SM_ERR_FORMAT, "made.gguf", ".counts");
    write_importance(1, 4, SM_DTYPE_F32, 63);
    refused(in, out, OPTIONS(.type = "Q4_0", .imatrix = im), SM_ERR_SHAPE, "made.gguf",
            "blk.0.attn_q.weight");
    write_importance(1, 0, SM_DTYPE_F32, 64); /* never used: as without */
    quantize(in, path_of("out.gguf"), OPTIONS(.type = "Q4_0", .imatrix = im));
}

static int32_t stop_now(void *user) {
    (void)user;
    return 1;
}

static void measuring_can_be_cancelled(void **state) {
    (void)state;
    sm_model *model = load(fixture("in.gguf", &(fixture_model){0}), NULL);
    sm_imatrix *im;
    sm_error error;
    assert_int_equal(sm_imatrix_new(&im, model, NULL, &error), SM_OK);
    const int32_t ids[] = {1, 2, 3};
    assert_int_equal(sm_imatrix_feed(im, ids, 3, &error), SM_OK);
    assert_int_equal(sm_imatrix_save(im, path_of("a.gguf"), NULL, &error), SM_OK);
    assert_int_equal(sm_imatrix_set_cancel(im, stop_now, NULL, &error), SM_OK);
    assert_int_equal(sm_imatrix_feed(im, ids, 3, &error), SM_ERR_CANCELLED);
    assert_int_equal(sm_imatrix_chunks(im), 1);
    assert_int_equal(sm_imatrix_save(im, path_of("b.gguf"), NULL, &error), SM_OK);
    assert_true(same_files(path_of("a.gguf"), path_of("b.gguf")));
    assert_int_equal(sm_imatrix_save(im, "/nonexistent/im.gguf", NULL, &error), SM_ERR_IO);
    assert_int_equal(sm_imatrix_save(im, NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_imatrix_save(NULL, "x", NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_imatrix_new(NULL, model, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_imatrix_feed(NULL, ids, 3, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_imatrix_set_cancel(NULL, NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_imatrix_capacity(NULL), 0);
    assert_int_equal(sm_imatrix_chunks(NULL), 0);
    sm_imatrix_free(im);
    sm_imatrix_free(NULL);
    im = (sm_imatrix *)&error;
    assert_int_equal(sm_imatrix_new(&im, NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_null(im);
    sm_model_free(model);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void failing_allocations_leave_nothing(void **state) {
    (void)state;
    const char *in = fixture("in.gguf", &(fixture_model){.n_embd = 256, .n_ff = 256});
    const char *im = path_of("im.gguf"), *out = path_of("fault.gguf");
    measure(in, im, 1);
    for (int sticky = 0; sticky <= 1; sticky++)
        for (uint64_t n = 1;; n++) {
            fail_alloc counter = {.fail_at = n, .sticky = sticky};
            const sm_allocator allocator = fail_allocator(&counter);
            sm_error error = {0};
            const size_t files = scratch_count();
            const sm_status status = sm_model_quantize(
                out, in, OPTIONS(.type = "Q4_K_M", .imatrix = im, .allocator = &allocator), NULL,
                &error);
            assert_int_equal(counter.live_blocks, 0);
            if (status == SM_OK) {
                assert_true(counter.calls < n);
                break;
            }
            assert_int_equal(status, SM_ERR_NOMEM);
            assert_int_equal(scratch_count(), files);
        }
}

static void failing_allocations_while_measuring(void **state) {
    (void)state;
    const char *in = fixture("in.gguf", &(fixture_model){.n_layer = 1});
    const int32_t ids[] = {1, 2, 3};
    for (uint64_t n = 1;; n++) {
        fail_alloc counter = {0};
        const sm_allocator allocator = fail_allocator(&counter);
        sm_error error = {0};
        sm_model *model = load(in, &allocator);
        sm_imatrix *im = NULL;
        counter.fail_at = counter.calls + n;
        const uint64_t last = counter.fail_at;
        sm_status status = sm_imatrix_new(&im, model, NULL, &error);
        if (!status)
            status = sm_imatrix_feed(im, ids, 3, &error);
        if (!status)
            status = sm_imatrix_save(im, path_of("im.gguf"), NULL, &error);
        sm_model_free(model);
        sm_imatrix_free(im);
        assert_int_equal(counter.live_blocks, 0);
        if (status == SM_OK) {
            assert_true(counter.calls < last);
            break;
        }
        assert_int_equal(status, SM_ERR_NOMEM);
    }
}

static void patterns_match(void **state) {
    (void)state;
    assert_true(sm_glob("*", ""));
    assert_true(sm_glob("a*b*c", "axxbybc"));
    assert_true(sm_glob("blk.?.attn_?.weight", "blk.3.attn_q.weight"));
    assert_true(sm_glob("*.weight", "a.weight.weight"));
    assert_false(sm_glob("blk.?.attn_q.weight", "blk.13.attn_q.weight"));
    assert_false(sm_glob("", "a"));
    assert_false(sm_glob("a*b", "aXc"));
    assert_false(sm_glob("ab", "abc"));
    assert_false(sm_glob("a?", "a"));
}

int main(void) {
    if (sm_mem_init(&mem, NULL, 0, NULL))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_no_larger_than_the_references),
        cmocka_unit_test(divergence_is_no_larger_than_the_references),
        cmocka_unit_test(keys_are_kept),
        cmocka_unit_test(mixtures_give_more_bits_where_they_help),
        cmocka_unit_test(overrides_say_their_stride),
        cmocka_unit_test(files_follow_mixtures_and_overrides),
        cmocka_unit_test(rows_that_do_not_fit_fall_back),
        cmocka_unit_test(files_do_not_depend_on_the_machine),
        cmocka_unit_test(sources_of_other_types),
        cmocka_unit_test(what_cannot_be_done_is_named),
        cmocka_unit_test(too_large_weights_are_refused),
        cmocka_unit_test(hooks_cancel),
        cmocka_unit_test(full_disk_leaves_the_old_file),
        cmocka_unit_test(sums_are_those_of_the_inputs),
        cmocka_unit_test(importance_is_used),
        cmocka_unit_test(old_importance_is_used),
        cmocka_unit_test(importance_is_asked_for),
        cmocka_unit_test(bad_importance_is_refused),
        cmocka_unit_test(measuring_can_be_cancelled),
        cmocka_unit_test(failing_allocations_leave_nothing),
        cmocka_unit_test(failing_allocations_while_measuring),
        cmocka_unit_test(patterns_match),
    };
    return cmocka_run_group_tests_name("quantize", tests, NULL, NULL);
}
