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

/* Floats of 8 bits alone; scales of rows or of a whole tensor. */
static void compressed(hf_reader *r, sm_json_value config) {
    if (!sm_json_is(r->json, in(r, config, "format"), "float-quantized") &&
        !sm_json_is(r->json, in(r, config, "format"), "naive-quantized"))
        hf_fail(r, SM_ERR_UNSUPPORTED, KEY,
                "says a 'format' of compressed-tensors that this version does not compute (it "
                "computes float-quantized)");
    const sm_json_value cache = in(r, config, "kv_cache_scheme");
    if (cache != SM_JSON_NONE)
        hf_fail(r, SM_ERR_UNSUPPORTED, KEY, "has a 'kv_cache_scheme', which is not computed");
}

static const struct {
    const char *method;
    void (*read)(hf_reader *r, sm_json_value config);
} methods[] = {
    {"fp8", fp8},
    {"fbgemm_fp8", fp8},
    {"mxfp4", mxfp4},
    {"compressed-tensors", compressed},
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
    r->status = sm_fail(r->error, SM_ERR_UNSUPPORTED,
                        "%s: key 'quantization_config': quant_method '%.*s' cannot be computed "
                        "(fp8, fbgemm_fp8, mxfp4 and compressed-tensors of floats can)",
                        r->config_shown, (int)(length < 64 ? length : 64), text ? text : "");
}
