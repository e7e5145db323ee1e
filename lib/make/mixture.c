/* Which type each matrix of a model gets that is written in a mixture; llama.cpp's. */
#include "make.h"
#include "nn/nn.h"

#include <string.h>

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

bool sm_tensor_is_matrix(const sm_tensor *t) {
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

/* What follows "blk.N.", and N; NULL if the name is not of that form. */
static const char *in_layer(const char *name, uint32_t *layer) {
    uint64_t n = 0;
    if (strncmp(name, "blk.", 4) != 0)
        return NULL;
    for (name += 4; *name >= '0' && *name <= '9' && n < 1000000; name++)
        n = n * 10 + (uint64_t)(*name - '0');
    *layer = (uint32_t)n;
    return *name == '.' ? name + 1 : NULL;
}

/* Experts of a layer. */
static bool is_stack(const char *name) {
    const sm_slot *slot = sm_slot_by_name(name);
    return slot && slot->depth != SM_DIM_NONE;
}

/* ---- mixtures -------------------------------------------------------------------------------- */

/* The first and last eighth of the layers and every third between. */
static bool is_chosen(uint32_t layer, uint32_t n) {
    return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

static uint32_t value_type(const sm_model_type *m, const sm_mixture_model *model, uint32_t layer) {
    const bool shared = model->n_head >= 4 * model->n_head_kv; /* few values for many queries */
    switch (m->mix) {
    case SM_MIX_Q2_K:
        return shared ? SM_DTYPE_Q4_K : SM_DTYPE_Q3_K;
    case SM_MIX_IQ1:
        return shared ? SM_DTYPE_Q4_K : SM_DTYPE_Q2_K;
    case SM_MIX_IQ2_S:
        return shared ? SM_DTYPE_Q4_K : SM_DTYPE_IQ3_S;
    case SM_MIX_IQ3_XXS:
    case SM_MIX_IQ3_XS:
    case SM_MIX_IQ3_S:
        return shared ? SM_DTYPE_Q4_K : m->type;
    case SM_MIX_IQ3_M:
        return SM_DTYPE_Q4_K;
    case SM_MIX_Q3_K_M:
        return layer < 2 ? SM_DTYPE_Q5_K : SM_DTYPE_Q4_K;
    case SM_MIX_Q3_K_L:
        return SM_DTYPE_Q5_K;
    case SM_MIX_Q4_K_S:
        return layer < 4 ? SM_DTYPE_Q5_K : m->type;
    case SM_MIX_Q4_K_M:
    case SM_MIX_Q5_K_M:
        return is_chosen(layer, model->n_layer) ? SM_DTYPE_Q6_K : m->type;
    default:
        return m->type;
    }
}

static uint32_t down_type(const sm_model_type *m, const sm_mixture_model *model, uint32_t layer) {
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
        return is_chosen(layer, n) ? SM_DTYPE_Q6_K : m->type;
    case SM_MIX_IQ1:
        return layer < n / 8 ? SM_DTYPE_Q2_K : m->type;
    case SM_MIX_IQ2_S:
        return layer < n / 8 ? SM_DTYPE_IQ3_S : m->type;
    case SM_MIX_IQ3_M:
        return layer < n / 8 ? SM_DTYPE_Q4_K : m->type;
    default:
        return m->type;
    }
}

static uint32_t attention_output_type(const sm_model_type *m) {
    switch (m->mix) {
    case SM_MIX_Q2_K:
        return SM_DTYPE_Q3_K;
    case SM_MIX_Q3_K_M:
        return SM_DTYPE_Q4_K;
    case SM_MIX_Q3_K_L:
        return SM_DTYPE_Q5_K;
    case SM_MIX_IQ1:
        return m->type == SM_DTYPE_IQ1_S || m->type == SM_DTYPE_IQ1_M ? SM_DTYPE_IQ2_XXS : m->type;
    case SM_MIX_IQ2_S:
    case SM_MIX_IQ3_XXS:
        return SM_DTYPE_IQ3_S;
    case SM_MIX_IQ3_M:
        return SM_DTYPE_Q4_K;
    default:
        return m->type;
    }
}

/* The embedding where it is not the head, too. */
static uint32_t embedding_type(const sm_model_type *m) {
    switch (m->mix) {
    case SM_MIX_IQ1:
        return SM_DTYPE_Q2_K;
    case SM_MIX_IQ2_S:
    case SM_MIX_IQ3_XXS:
        return SM_DTYPE_IQ3_S;
    case SM_MIX_TERNARY:
        return SM_DTYPE_Q4_K;
    default:
        return m->type;
    }
}

static uint32_t head_type(const sm_model_type *m) {
    return m->mix == SM_MIX_IQ1 || m->mix == SM_MIX_IQ2_S || m->mix == SM_MIX_IQ3_XXS
               ? SM_DTYPE_Q5_K
               : SM_DTYPE_Q6_K;
}

/* Matrices that read the input of a block; attention: they make queries or keys. */
static uint32_t input_type(const sm_model_type *m, uint32_t n, uint32_t layer, bool attention) {
    const bool middle = layer >= n / 8 && layer < 7 * n / 8;
    if (m->mix == SM_MIX_IQ3_XXS && attention)
        return SM_DTYPE_IQ2_S;
    if (m->mix == SM_MIX_IQ3_XS && (attention || middle))
        return SM_DTYPE_IQ3_XXS;
    return m->type;
}

static uint32_t joined_qkv_type(const sm_model_type *m) {
    switch (m->mix) {
    case SM_MIX_Q3_K_M:
    case SM_MIX_Q3_K_L:
    case SM_MIX_IQ3_M:
        return SM_DTYPE_Q4_K;
    case SM_MIX_Q4_K_M:
        return SM_DTYPE_Q5_K;
    case SM_MIX_Q5_K_M:
        return SM_DTYPE_Q6_K;
    default:
        return m->type;
    }
}

uint32_t sm_mixture_type(const sm_model_type *m, const sm_mixture_model *model, const char *name) {
    uint32_t layer;
    if (m->mix == SM_MIX_NONE)
        return m->type;
    if (m->mix == SM_MIX_MXFP4_MOE)
        return is_stack(name) ? m->type : SM_DTYPE_Q8_0;
    if (strcmp(name, model->has_output ? "output.weight" : "token_embd.weight") == 0)
        return head_type(m);
    if (strcmp(name, "token_embd.weight") == 0)
        return embedding_type(m);
    const char *suffix = in_layer(name, &layer);
    const sm_slot *slot = suffix ? sm_slot_by_name(name) : NULL;
    if (suffix && strcmp(suffix, "attn_qkv.weight") == 0) /* queries, keys and values in one */
        return joined_qkv_type(m);
    switch (slot ? slot->role : SM_ROLE_MATRIX) {
    case SM_ROLE_VALUE:
        return value_type(m, model, layer);
    case SM_ROLE_DOWN:
        return down_type(m, model, layer);
    case SM_ROLE_RESIDUAL:
        return attention_output_type(m);
    default:
        return slot ? input_type(m, model->n_layer, layer, slot->role == SM_ROLE_SCORE) : m->type;
    }
}
