/* hf_tables.h - what the tables of families are written with. Private to hf_….c that have some. */
#ifndef SM_FORMAT_HF_TABLES_H
#define SM_FORMAT_HF_TABLES_H

#include "format/hf.h"

#define END_KEY \
    { HF_END, NULL, NULL, NULL }
#define END_NAME \
    { NULL, NULL, HF_SAME }
#define EXPERT_KEYS(count)                                                              \
    {HF_COUNT, count, SM_K_EXPERTS, "!"}, {                                             \
        HF_COUNT, "num_experts_per_tok|experts_per_token|moe_topk|moe_k|top_k_experts", \
            SM_K_EXPERTS_USED, "!"                                                      \
    }
#define GELU_TANH "gelu_new|gelu_pytorch_tanh|gelu_fast|gelu_python_tanh"
#define ACTIVATION "hidden_act|hidden_activation|activation_function|activation"

/* A key that must have one value, or be missing. */
void hf_require_count(hf_reader *r, const char *name, uint32_t value);
void hf_require_number(hf_reader *r, const char *name, double value);
/* The same window, if any, in all layers. */
void hf_all_windows(hf_reader *r);

/* Gains that lack 1. */
extern const hf_name hf_plus_one_names[];

/* Each ends with one without types. */
extern const hf_family hf_llama_families[], hf_gemma_families[], hf_gpt_families[],
    hf_sparse_families[], hf_hybrid_families[], hf_encoder_families[];

#endif
