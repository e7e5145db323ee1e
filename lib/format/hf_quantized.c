/* quantization_config: how weights of fewer bits lie in the files. What is not known by its method
 * is refused. */
#include "format/hf.h"

#include <string.h>

#define KEY "quantization_config|compression_config"

static sm_json_value in(hf_reader *r, sm_json_value object, const char *name) {
    return hf_find_in(r, object, name);
}

/* Blocks of weights that share a scale: two numbers, rows and columns. */
static void read_block(hf_reader *r, sm_json_value config) {
    const sm_json_value list = in(r, config, "weight_block_size");
    uint32_t i = 0;
    if (list == SM_JSON_NONE)
        return;
    for (sm_json_value v = sm_json_first(r->json, list); v != SM_JSON_NONE && i < 2;
         v = sm_json_next(r->json, list, v)) {
        uint64_t n = 0;
        if (!sm_json_u64(r->json, v, &n) || !n || n > 1u << 20)
            break;
        r->block[i++] = (uint32_t)n;
    }
    if (i != 2 || sm_json_count(r->json, list) != 2)
        hf_fail(r, SM_ERR_FORMAT, KEY, "has a 'weight_block_size' that is no pair of sizes");
}

static void fp8(hf_reader *r, sm_json_value config) {
    read_block(r, config);
}

/* Of the experts of gpt-oss, whose names say it. */
static void mxfp4(hf_reader *r, sm_json_value config) {
    (void)config;
    if (strcmp(r->family->architecture, "gpt-oss") != 0)
        hf_fail(r, SM_ERR_UNSUPPORTED, KEY, "says mxfp4, which is computed for gpt_oss alone");
}

static uint32_t count_in(hf_reader *r, sm_json_value config, const char *name, uint32_t fallback) {
    const sm_json_value v = in(r, config, name);
    uint64_t value = fallback;
    int64_t minus;
    if (sm_json_i64(r->json, v, &minus) && minus == -1)
        return 0; /* all columns */
    if (v != SM_JSON_NONE && (!sm_json_u64(r->json, v, &value) || value > 1u << 20))
        hf_fail(r, SM_ERR_FORMAT, KEY, "holds a size that is no whole number");
    return (uint32_t)value;
}

static void require(hf_reader *r, bool good, const char *what) {
    if (!good)
        hf_fail(r, SM_ERR_UNSUPPORTED, KEY, what);
}

static void gptq(hf_reader *r, sm_json_value config) {
    const sm_json_value form = in(r, config, "checkpoint_format");
    r->packing = HF_GPTQ;
    r->bits = count_in(r, config, "bits", 4);
    r->group = count_in(r, config, "group_size", 128);
    r->zeros_lack_one = !sm_json_is(r->json, form, "gptq_v2");
    require(r, r->bits == 2 || r->bits == 3 || r->bits == 4 || r->bits == 8,
            "says 'bits' that GPTQ does not have");
    require(r,
            form == SM_JSON_NONE || sm_json_is(r->json, form, "gptq") ||
                sm_json_is(r->json, form, "gptq_v2"),
            "says a 'checkpoint_format' that is not computed (gptq and gptq_v2 are)");
}

static void awq(hf_reader *r, sm_json_value config) {
    const sm_json_value version = in(r, config, "version");
    r->packing = HF_AWQ;
    r->bits = count_in(r, config, "bits|w_bit", 4);
    r->group = count_in(r, config, "group_size|q_group_size", 128);
    require(r, r->bits == 4, "says 'bits' other than 4, which AWQ does not have");
    require(r,
            version == SM_JSON_NONE || sm_json_is(r->json, version, "gemm") ||
                sm_json_is(r->json, version, "GEMM"),
            "says a 'version' of AWQ that is not computed (gemm is)");
}

/* Which of the values the names of tensors say. */
static void nibbles(hf_reader *r, sm_json_value config) {
    const sm_json_value type = in(r, config, "bnb_4bit_quant_type");
    const sm_json_value storage = in(r, config, "bnb_4bit_quant_storage");
    r->packing = HF_NIBBLES;
    require(r, sm_json_kind_of(r->json, in(r, config, "load_in_4bit")) == SM_JSON_TRUE,
            "is of bitsandbytes without 'load_in_4bit' (weights of 8 bits are not computed)");
    require(r,
            type == SM_JSON_NONE || sm_json_is(r->json, type, "nf4") ||
                sm_json_is(r->json, type, "fp4"),
            "says a 'bnb_4bit_quant_type' that is not computed (nf4 and fp4 are)");
    require(r, storage == SM_JSON_NONE || sm_json_is(r->json, storage, "uint8"),
            "says a 'bnb_4bit_quant_storage' that is not computed (uint8 is)");
}

/* What compressed-tensors says of the weights of its only group. */
static void compressed_integers(hf_reader *r, sm_json_value config) {
    const sm_json_value groups = in(r, config, "config_groups");
    const sm_json_value group = sm_json_member(r->json, sm_json_first(r->json, groups));
    const sm_json_value weights = in(r, group, "weights");
    const sm_json_value strategy = in(r, weights, "strategy");
    r->packing = HF_COMPRESSED;
    r->bits = count_in(r, weights, "num_bits", 0);
    r->group = sm_json_is(r->json, strategy, "group") ? count_in(r, weights, "group_size", 128) : 0;
    require(r, sm_json_count(r->json, groups) == 1, "has not one 'config_groups'");
    require(r, r->bits == 4 || r->bits == 8, "says 'num_bits' that are not computed (4 and 8 are)");
    require(r, sm_json_is(r->json, in(r, weights, "type"), "int"), "says weights of no integers");
    require(r, sm_json_kind_of(r->json, in(r, weights, "symmetric")) != SM_JSON_FALSE,
            "says weights that are not symmetric");
    require(r, sm_json_is(r->json, strategy, "group") || sm_json_is(r->json, strategy, "channel"),
            "says a 'strategy' that is not computed (group and channel are)");
}

/* Activations that it would round, too, are left as they are. */
static void compressed(hf_reader *r, sm_json_value config) {
    static const char *const floats[] = {"float-quantized", "naive-quantized"};
    static const char *const integers[] = {"pack-quantized", "int-quantized"};
    const sm_json_value format = in(r, config, "format"), cache = in(r, config, "kv_cache_scheme");
    require(r, cache == SM_JSON_NONE, "has a 'kv_cache_scheme', which is not computed");
    for (size_t i = 0; i < 2; i++) {
        if (sm_json_is(r->json, format, floats[i]))
            return;
        if (sm_json_is(r->json, format, integers[i])) {
            compressed_integers(r, config);
            return;
        }
    }
    require(r, false,
            "says a 'format' of compressed-tensors that this version does not compute "
            "(float-quantized, int-quantized and pack-quantized are)");
}

static const struct {
    const char *method;
    void (*read)(hf_reader *r, sm_json_value config);
} methods[] = {
    {"fp8", fp8},
    {"fbgemm_fp8", fp8},
    {"mxfp4", mxfp4},
    {"gptq", gptq},
    {"awq", awq},
    {"compressed-tensors", compressed},
    {"bitsandbytes", nibbles},
};

void hf_read_quantized(hf_reader *r) {
    const sm_json_value config = hf_find(r, KEY);
    const sm_json_value method = in(r, config, "quant_method");
    uint64_t length;
    const char *text = sm_json_text(r->json, method, &length);
    if (config == SM_JSON_NONE || r->status)
        return;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (sm_json_is(r->json, method, methods[i].method)) {
            methods[i].read(r, config);
            return;
        }
    r->status =
        sm_fail(r->error, SM_ERR_UNSUPPORTED,
                "%s: key 'quantization_config': quant_method '%.*s' cannot be computed "
                "(fp8, fbgemm_fp8, mxfp4, gptq, awq, compressed-tensors and bitsandbytes of 4 bits "
                "can)",
                r->config_shown, (int)(length < 64 ? length : 64), text ? text : "");
}
