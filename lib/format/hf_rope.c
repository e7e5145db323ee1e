/* The rotation that config.json asks for, in either of its forms: rope_theta and rope_scaling, or
 * rope_parameters, which holds both. */
#include "format/hf.h"

#include <math.h>
#include <string.h>

#define SCALING "rope_scaling"
#define PARAMETERS "rope_parameters"

/* One kind of layers' rotation. */
typedef struct rotation {
    sm_json_value object; /* SM_JSON_NONE: nothing but a base */
    const char *where;    /* its key, for messages */
    double theta, partial;
} rotation;

static double number_in(hf_reader *r, const rotation *o, const char *names, double fallback) {
    const sm_json_value v = hf_find_in(r, o->object, names);
    double value = fallback;
    if (v != SM_JSON_NONE && (!sm_json_double(r->json, v, &value) || !(fabs(value) < 1e30))) {
        char what[96];
        sm_format(what, sizeof what, "has a '%.*s' that is no number", (int)strcspn(names, "|"),
                  names);
        hf_fail(r, SM_ERR_FORMAT, o->where, what);
    }
    return value;
}

static double positive_in(hf_reader *r, const rotation *o, const char *names, double fallback) {
    const double value = number_in(r, o, names, fallback);
    if (!(value > 0))
        hf_fail(r, SM_ERR_FORMAT, o->where, "holds a number that is not positive");
    return value > 0 ? value : 1;
}

/* Half of the elements of a head that are rotated. */
static uint32_t pairs_of(const hf_reader *r, const rotation *o) {
    return (uint32_t)((double)r->head_dim * o->partial) / 2;
}

/* ---- kinds ------------------------------------------------------------------------------- */

static void linear(hf_reader *r, const rotation *o) {
    hf_put_text(r, SM_K_ROPE_TYPE, "linear");
    hf_put_number(r, SM_K_ROPE_FACTOR, positive_in(r, o, "factor", 0));
}

static double yarn_growth(double factor, double m) {
    return factor > 1 ? 0.1 * m * log(factor) + 1 : 1;
}

/* What lengths are multiplied by: our key is beyond 0.1 ln(factor) + 1. Where latent attention has
 * a factor of its own, what it says is all. */
static void yarn_lengths(hf_reader *r, const rotation *o, double factor) {
    const double m = number_in(r, o, "mscale", 0), all = number_in(r, o, "mscale_all_dim", 0);
    double length = yarn_growth(factor, 1);
    if (m != 0 && all != 0)
        length = yarn_growth(factor, m) / yarn_growth(factor, all);
    length = positive_in(r, o, "attention_factor", length);
    if (r->nope && all != 0)
        hf_put_number(r, "rope.scaling.yarn_log_multiplier", 0.1 * all);
    else
        length /= yarn_growth(factor, 1);
    if (fabs(length - 1) > 1e-7)
        hf_put_number(r, "rope.scaling.attn_factor", length);
}

/* Queries grow beyond the original context (ministral 3). */
static void temperature(hf_reader *r, const rotation *o) {
    const double beta = number_in(r, o, "llama_4_scaling_beta", 0);
    if (beta != 0 && strcmp(r->family->architecture, "mistral3") != 0)
        hf_fail(r, SM_ERR_UNSUPPORTED, o->where,
                "has a 'llama_4_scaling_beta', which is not computed for this family");
    if (beta != 0)
        hf_put_number(r, "attention.temperature_scale", beta);
}

static void yarn(hf_reader *r, const rotation *o) {
    const double factor = positive_in(r, o, "factor", 0);
    const double original = number_in(r, o, "original_max_position_embeddings", 0);
    const sm_json_value truncate = hf_find_in(r, o->object, "truncate");
    const bool exact = sm_json_kind_of(r->json, truncate) == SM_JSON_FALSE;
    const bool gpt_oss = !strcmp(r->family->architecture, "gpt-oss");
    hf_put_text(r, SM_K_ROPE_TYPE, "yarn");
    hf_put_number(r, SM_K_ROPE_FACTOR, factor);
    hf_put_count(
        r, "rope.scaling.original_context_length",
        original >= 1 && original < 1e9
            ? (uint32_t)original
            : hf_count_or(r, "original_max_position_embeddings|max_position_embeddings", 0));
    hf_put_number(r, "rope.scaling.yarn_beta_fast", positive_in(r, o, "beta_fast", 32));
    hf_put_number(r, "rope.scaling.yarn_beta_slow", positive_in(r, o, "beta_slow", 1));
    yarn_lengths(r, o, factor);
    temperature(r, o);
    if (exact != gpt_oss) /* keys of ours do not say it */
        hf_fail(r, SM_ERR_UNSUPPORTED, o->where,
                "has another 'truncate' than this version computes for this family");
}

/* Llama 3: slow pairs are stretched, fast ones are not, those between in part. */
static void llama3(hf_reader *r, const rotation *o) {
    const double factor = positive_in(r, o, "factor", 8),
                 low = positive_in(r, o, "low_freq_factor", 1);
    const double high = positive_in(r, o, "high_freq_factor", 4);
    const double original = positive_in(r, o, "original_max_position_embeddings", 8192);
    const uint32_t n = pairs_of(r, o);
    float *divisor = n ? hf_make(r, "rope_freqs.weight", n) : NULL;
    if (!(high > low))
        hf_fail(r, SM_ERR_FORMAT, o->where,
                "has a 'high_freq_factor' that is not above the low one");
    for (uint32_t i = 0; divisor && i < n; i++) {
        const double wave = 2 * 3.14159265358979323846 * pow(o->theta, 2.0 * i / (2.0 * n));
        const double smooth = (original / wave - low) / (high - low);
        divisor[i] = (float)(wave < original / high  ? 1
                             : wave > original / low ? factor
                                                     : 1 / ((1 - smooth) / factor + smooth));
    }
}

static void divisors(hf_reader *r, const rotation *o, const char *from, const char *to) {
    const sm_json_value list = hf_find_in(r, o->object, from);
    const uint32_t n = pairs_of(r, o);
    uint32_t i = 0;
    if (sm_json_kind_of(r->json, list) != SM_JSON_ARRAY || sm_json_count(r->json, list) != n ||
        !n) {
        hf_fail(r, SM_ERR_FORMAT, o->where,
                "has no 'short_factor' and 'long_factor' of a number for each pair of a head");
        return;
    }
    float *divisor = hf_make(r, to, n);
    for (sm_json_value v = sm_json_first(r->json, list); divisor && v != SM_JSON_NONE && i < n;
         v = sm_json_next(r->json, list, v)) {
        double value = 0;
        if (!sm_json_double(r->json, v, &value) || !(value > 0 && value < 1e30))
            hf_fail(r, SM_ERR_FORMAT, o->where, "holds a number that is not positive");
        divisor[i++] = (float)value;
    }
}

static void longrope(hf_reader *r, const rotation *o) {
    const uint32_t context = hf_count_or(r, "max_position_embeddings", 0);
    double original = number_in(r, o, "original_max_position_embeddings", 0);
    original =
        original != 0 ? original : hf_count_or(r, "original_max_position_embeddings", context);
    double factor = number_in(r, o, "factor", 0);
    if (factor == 0 || hf_has(r, "original_max_position_embeddings"))
        factor = original > 0 ? context / original : 1;
    if (!(original > 1 && original < 1e9)) {
        hf_fail(r, SM_ERR_FORMAT, o->where, "says no original context");
        return;
    }
    const double length = factor > 1 ? sqrt(1 + log(factor) / log(original)) : 1;
    hf_put_text(r, SM_K_ROPE_TYPE, "longrope");
    hf_put_count(r, "rope.scaling.original_context_length", (uint32_t)original);
    hf_put_number(r, "rope.scaling.attn_factor", positive_in(r, o, "attention_factor", length));
    divisors(r, o, "long_factor", "rope_factors_long.weight");
    divisors(r, o, "short_factor", "rope_factors_short.weight");
}

/* Gemma 4: the first pairs of a whole head alone are turned. */
static void proportional(hf_reader *r, rotation *o) {
    const uint32_t turned = pairs_of(r, o);
    o->partial = 1;
    const uint32_t n = pairs_of(r, o);
    float *divisor = n ? hf_make(r, "rope_freqs.weight", n) : NULL;
    for (uint32_t i = 0; divisor && i < n; i++)
        divisor[i] = i < turned ? 1 : 1e30f;
}

/* NTK-aware with a factor of its own: a larger base (hunyuan). */
static void alpha(hf_reader *r, rotation *o) {
    const double a = positive_in(r, o, "alpha", 1), n = 2.0 * pairs_of(r, o);
    if (n > 2)
        o->theta *= pow(a, n / (n - 2));
}

/* Keys that a kind may have beside those that it reads. */
static void check_members(hf_reader *r, const rotation *o, const char *known) {
    for (sm_json_value m = sm_json_first(r->json, o->object); m != SM_JSON_NONE;
         m = sm_json_next(r->json, o->object, m)) {
        uint64_t length;
        const char *name = sm_json_text(r->json, m, &length), *at = known;
        bool found = sm_json_kind_of(r->json, sm_json_member(r->json, m)) == SM_JSON_NULL;
        for (uint64_t n; !found && *at; at += n + (at[n] == '|')) {
            n = strcspn(at, "|");
            found = n == length && memcmp(at, name, (size_t)n) == 0;
        }
        if (!found && !r->status)
            r->status = sm_fail(r->error, SM_ERR_UNSUPPORTED,
                                "%s: key '%s': its '%.*s' is not computed by this version",
                                r->config_shown, o->where, (int)(length < 64 ? length : 64), name);
    }
}

#define ALWAYS "rope_type|type|rope_theta|partial_rotary_factor|max_position_embeddings"

/* By rope_type; what a kind does not read is refused. */
static const struct {
    const char *type, *members;
    void (*read)(hf_reader *r, const rotation *o);
    void (*change)(hf_reader *r, rotation *o); /* of the base, or of what is rotated */
} kinds[] = {
    {"default", ALWAYS "|factor|mrope_section|mrope_interleaved", NULL, NULL},
    {"mrope", ALWAYS "|mrope_section|mrope_interleaved", NULL, NULL}, /* texts: as none */
    {"linear", ALWAYS "|factor", linear, NULL},
    {"yarn",
     ALWAYS "|factor|beta_fast|beta_slow|mscale|mscale_all_dim|attention_factor|truncate|"
            "llama_4_scaling_beta|"
            "original_max_position_embeddings",
     yarn, NULL},
    {"llama3", ALWAYS "|factor|low_freq_factor|high_freq_factor|original_max_position_embeddings",
     llama3, NULL},
    {"longrope",
     ALWAYS "|factor|long_factor|short_factor|attention_factor|original_max_position_embeddings",
     longrope, NULL},
    {"su", ALWAYS "|long_factor|short_factor|original_max_position_embeddings", longrope, NULL},
    {"proportional", ALWAYS "|factor", NULL, proportional},
};
#define N_KINDS (sizeof kinds / sizeof *kinds)

static bool is_hunyuan(const hf_reader *r, const rotation *o) {
    return starts_with(r->family->architecture, "hunyuan") &&
           hf_find_in((hf_reader *)(uintptr_t)r, o->object, "alpha") != SM_JSON_NONE;
}

static void read_kind(hf_reader *r, rotation *o) {
    const sm_json_value type = hf_find_in(r, o->object, "rope_type|type");
    uint64_t length;
    const char *text = sm_json_text(r->json, type, &length);
    if (is_hunyuan(r, o)) {
        alpha(r, o);
        return;
    }
    for (size_t i = 0; i < N_KINDS; i++)
        if (sm_json_is(r->json, type, kinds[i].type) || (type == SM_JSON_NONE && i == 0)) {
            check_members(r, o, kinds[i].members);
            if (kinds[i].change)
                kinds[i].change(r, o);
            if (kinds[i].read)
                kinds[i].read(r, o);
            return;
        }
    if (!r->status)
        r->status =
            sm_fail(r->error, SM_ERR_UNSUPPORTED,
                    "%s: key '%s': rope_type '%.*s' cannot be computed (default, linear, "
                    "yarn, llama3 and longrope can)",
                    r->config_shown, o->where, (int)(length < 64 ? length : 64), text ? text : "");
}

/* ---- where they stand -------------------------------------------------------------------- */

static double partial_of(hf_reader *r, const rotation *o) {
    const double top = hf_number_or(r, "partial_rotary_factor|rotary_pct|rope_pct", 1);
    const double partial = positive_in(r, o, "partial_rotary_factor", top);
    if (partial > 1 || (partial < 1 && !r->family->partial))
        hf_fail(r, SM_ERR_UNSUPPORTED, "partial_rotary_factor",
                "is one that this version does not compute for this family");
    return partial;
}

static rotation rotation_of(hf_reader *r, sm_json_value object, const char *where, double theta) {
    rotation o = {object, where, theta, 1};
    o.theta = positive_in(r, &o, "rope_theta", theta);
    o.partial = partial_of(r, &o);
    return o;
}

void hf_read_rope(hf_reader *r) {
    const double usual = r->family->theta > 0 ? r->family->theta : 10000;
    const double theta =
        hf_number_or(r, "rope_theta|rotary_emb_base|rope_base|global_rope_theta", usual);
    const bool local_said = hf_has(r, "rope_local_base_freq");
    double local = hf_number_or(r, "rope_local_base_freq", 10000);
    const char *where = hf_has(r, PARAMETERS) ? PARAMETERS : SCALING;
    sm_json_value object = hf_find(r, PARAMETERS "|" SCALING);
    const sm_json_value full = hf_find_in(r, object, "full_attention");
    const sm_json_value windowed = hf_find_in(r, object, "sliding_attention");
    bool own = local_said;
    if (object != SM_JSON_NONE && sm_json_kind_of(r->json, object) != SM_JSON_OBJECT)
        hf_fail(r, SM_ERR_FORMAT, where, "is no object");
    if (windowed != SM_JSON_NONE) {
        rotation o = rotation_of(r, windowed, where, local);
        check_members(r, &o, kinds[0].members);
        if (hf_find_in(r, windowed, "rope_type|type") != SM_JSON_NONE &&
            !sm_json_is(r->json, hf_find_in(r, windowed, "rope_type|type"), "default"))
            hf_fail(r, SM_ERR_UNSUPPORTED, where,
                    "stretches layers with a window, which this version does not compute");
        local = o.theta;
        own = true;
    }
    if (full != SM_JSON_NONE || windowed != SM_JSON_NONE)
        object = full;
    rotation o = rotation_of(r, object, where, theta);
    read_kind(r, &o);
    hf_put_number(r, SM_K_ROPE_BASE, o.theta);
    if (own)
        hf_put_number(r, SM_K_ROPE_BASE_SWA, local);
    hf_put_count(r, SM_K_ROPE_DIMS, 2 * pairs_of(r, &o));
}
