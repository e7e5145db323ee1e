/* Which type each matrix of a quantized model gets: mixtures by name, fallbacks for rows that
 * do not fit, overrides. The mixtures and file type numbers are llama.cpp's. */
#include "quantize.h"

#include <string.h>

static const sm_mixture mixtures[] = {
    {"F32", SM_DTYPE_F32, 0, SM_MIX_NONE},        {"F16", SM_DTYPE_F16, 1, SM_MIX_NONE},
    {"BF16", SM_DTYPE_BF16, 32, SM_MIX_NONE},     {"Q4_0", SM_DTYPE_Q4_0, 2, SM_MIX_NONE},
    {"Q4_1", SM_DTYPE_Q4_1, 3, SM_MIX_NONE},      {"Q5_0", SM_DTYPE_Q5_0, 8, SM_MIX_NONE},
    {"Q5_1", SM_DTYPE_Q5_1, 9, SM_MIX_NONE},      {"Q8_0", SM_DTYPE_Q8_0, 7, SM_MIX_NONE},
    {"Q2_K", SM_DTYPE_Q2_K, 10, SM_MIX_Q2_K},     {"Q3_K", SM_DTYPE_Q3_K, 11, SM_MIX_NONE},
    {"Q3_K_S", SM_DTYPE_Q3_K, 11, SM_MIX_Q3_K_S}, {"Q3_K_M", SM_DTYPE_Q3_K, 12, SM_MIX_Q3_K_M},
    {"Q3_K_L", SM_DTYPE_Q3_K, 13, SM_MIX_Q3_K_L}, {"Q4_K", SM_DTYPE_Q4_K, 14, SM_MIX_NONE},
    {"Q4_K_S", SM_DTYPE_Q4_K, 14, SM_MIX_Q4_K_S}, {"Q4_K_M", SM_DTYPE_Q4_K, 15, SM_MIX_Q4_K_M},
    {"Q5_K", SM_DTYPE_Q5_K, 16, SM_MIX_NONE},     {"Q5_K_S", SM_DTYPE_Q5_K, 16, SM_MIX_Q5_K_S},
    {"Q5_K_M", SM_DTYPE_Q5_K, 17, SM_MIX_Q5_K_M}, {"Q6_K", SM_DTYPE_Q6_K, 18, SM_MIX_NONE},
    {"IQ4_NL", SM_DTYPE_IQ4_NL, 25, SM_MIX_NONE}, {"IQ4_XS", SM_DTYPE_IQ4_XS, 30, SM_MIX_NONE},
};
#define N_MIXTURES (sizeof mixtures / sizeof *mixtures)

const sm_mixture *sm_mixture_find(const char *name, sm_error *error) {
    char known[256];
    size_t n = 0;
    for (size_t i = 0; i < N_MIXTURES && n < sizeof known; i++)
        n += sm_format(known + n, sizeof known - n, "%s%s", i ? ", " : "", mixtures[i].name);
    const uint32_t place = sm_names_find(known, name, NULL);
    if (place != SM_NAME_NONE)
        return &mixtures[place];
    sm_fail_name(error, "type", name, known);
    return NULL;
}

uint32_t sm_mixture_file_type(uint32_t type) {
    for (size_t i = 0; i < N_MIXTURES; i++)
        if (mixtures[i].type == type) /* the first of a type is that type pure, or almost */
            return mixtures[i].file_type;
    return SM_FILE_TYPE_UNKNOWN;
}

/* ---- names --------------------------------------------------------------------------------- */

bool sm_glob(const char *pattern, const char *text) {
    const char *star = NULL, *retry = NULL; /* behind the last '*', and where it tries next */
    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            retry = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

bool sm_tensor_is_matrix(const sm_gguf_tensor *t) {
    static const char *const kept[] = {"*_norm.weight",        "*norm?.weight",
                                       "*ffn_gate_inp.weight", "position_embd.weight",
                                       "token_types.weight",   "*attn_rel_b.weight"};
    if (t->n_dims < 2 || !sm_glob("*.weight", t->name))
        return false;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (sm_glob(kept[i], t->name))
            return false;
    return true;
}

/* N of "blk.N.suffix"; false if the name is not of that form. */
static bool layer_of(const char *name, const char *suffix, uint32_t *layer) {
    uint64_t n = 0;
    if (strncmp(name, "blk.", 4) != 0)
        return false;
    for (name += 4; *name >= '0' && *name <= '9' && n < 1000000; name++)
        n = n * 10 + (uint64_t)(*name - '0');
    *layer = (uint32_t)n;
    return *name == '.' && strcmp(name + 1, suffix) == 0;
}

/* ---- mixtures -------------------------------------------------------------------------------- */

/* The first and last eighth of the layers and every third between. */
bool sm_mixture_chosen(uint32_t layer, uint32_t n) {
    return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

static uint32_t value_type(const sm_mixture *m, const sm_mixture_model *model, uint32_t layer) {
    switch (m->mix) {
    case SM_MIX_Q2_K:
        return model->n_head >= 4 * model->n_head_kv ? SM_DTYPE_Q4_K : SM_DTYPE_Q3_K;
    case SM_MIX_Q3_K_M:
        return layer < 2 ? SM_DTYPE_Q5_K : SM_DTYPE_Q4_K;
    case SM_MIX_Q3_K_L:
        return SM_DTYPE_Q5_K;
    case SM_MIX_Q4_K_S:
        return layer < 4 ? SM_DTYPE_Q5_K : m->type;
    case SM_MIX_Q4_K_M:
    case SM_MIX_Q5_K_M:
        return sm_mixture_chosen(layer, model->n_layer) ? SM_DTYPE_Q6_K : m->type;
    default:
        return m->type;
    }
}

static uint32_t down_type(const sm_mixture *m, const sm_mixture_model *model, uint32_t layer) {
    const uint32_t n = model->n_layer;
    switch (m->mix) {
    case SM_MIX_Q2_K:
        return SM_DTYPE_Q3_K;
    case SM_MIX_Q3_K_M:
        return layer < n / 16 ? SM_DTYPE_Q5_K : SM_DTYPE_Q4_K;
    case SM_MIX_Q3_K_L:
        return SM_DTYPE_Q5_K;
    case SM_MIX_Q4_K_S:
        return layer < n / 8 ? SM_DTYPE_Q5_K : m->type;
    case SM_MIX_Q4_K_M:
    case SM_MIX_Q5_K_M:
        return sm_mixture_chosen(layer, n) ? SM_DTYPE_Q6_K : m->type;
    default:
        return m->type;
    }
}

static uint32_t attention_output_type(const sm_mixture *m) {
    switch (m->mix) {
    case SM_MIX_Q2_K:
        return SM_DTYPE_Q3_K;
    case SM_MIX_Q3_K_M:
        return SM_DTYPE_Q4_K;
    case SM_MIX_Q3_K_L:
        return SM_DTYPE_Q5_K;
    default:
        return m->type;
    }
}

static uint32_t joined_qkv_type(const sm_mixture *m) {
    switch (m->mix) {
    case SM_MIX_Q3_K_M:
    case SM_MIX_Q3_K_L:
        return SM_DTYPE_Q4_K;
    case SM_MIX_Q4_K_M:
        return SM_DTYPE_Q5_K;
    case SM_MIX_Q5_K_M:
        return SM_DTYPE_Q6_K;
    default:
        return m->type;
    }
}

uint32_t sm_mixture_type(const sm_mixture *m, const sm_mixture_model *model, const char *name) {
    uint32_t layer;
    if (m->mix == SM_MIX_NONE)
        return m->type;
    if (strcmp(name, model->has_output ? "output.weight" : "token_embd.weight") == 0)
        return SM_DTYPE_Q6_K;
    if (layer_of(name, "attn_v.weight", &layer))
        return value_type(m, model, layer);
    if (layer_of(name, "ffn_down.weight", &layer))
        return down_type(m, model, layer);
    if (layer_of(name, "attn_output.weight", &layer))
        return attention_output_type(m);
    if (layer_of(name, "attn_qkv.weight", &layer))
        return joined_qkv_type(m);
    return m->type;
}

uint32_t sm_fallback_type(uint32_t type, uint64_t columns) {
    if (columns % sm_dtype_get(type)->block_size == 0)
        return type;
    switch (type) {
    case SM_DTYPE_Q2_K:
    case SM_DTYPE_Q3_K:
    case SM_DTYPE_IQ4_XS:
        type = SM_DTYPE_IQ4_NL;
        break;
    case SM_DTYPE_Q4_K:
        type = SM_DTYPE_Q5_0;
        break;
    case SM_DTYPE_Q5_K:
        type = SM_DTYPE_Q5_1;
        break;
    default:
        type = SM_DTYPE_Q8_0;
        break;
    }
    return columns % sm_dtype_get(type)->block_size == 0 ? type : SM_DTYPE_F16;
}
