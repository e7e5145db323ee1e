/* fixture.h - tiny models with random weights, written on demand, for tests that need
 * a whole model but no trained one. Deterministic by seed.
 */
#ifndef TEST_FIXTURE_H
#define TEST_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

/* A key of a family's own. */
typedef struct fixture_key {
    const char *suffix; /* after "<architecture>." */
    char type; /* 'u': u32, 'f': f32, 'b': bool, 'l': of each layer its digit of the number,
                           the last layer's the last, 'L': times 8 */
    double value;
} fixture_key;

/* Zero takes the default in brackets. */
typedef struct fixture_model {
    const char *architecture;   /* any that the library computes ["llama"] */
    uint32_t n_embd;            /* [64] */
    uint32_t n_layer;           /* [2] */
    uint32_t n_head;            /* [4] */
    uint32_t n_head_kv;         /* [2] */
    uint32_t head_dim;          /* [n_embd / n_head; written as key_length only if set] */
    uint32_t n_ff;              /* [96] */
    uint32_t n_ctx;             /* [512] */
    uint32_t sliding_window;    /* tokens that attention sees [no such key: all] */
    uint32_t type;              /* sm_dtype of the matrices: any that is computed [F32]. Quantized
                                   blocks get random codes and scales such that weights have a
                                   standard deviation of about 1/sqrt(columns) */
    uint32_t other_type;        /* of attn_k, attn_output and ffn_up [type] */
    uint32_t n_experts, n_used; /* a mixture of experts [none] */
    bool untied;                /* an output.weight of its own */
    bool biases;                /* q, k and v biases (qwen2 always has them) */
    bool joined;                /* attn_qkv instead of attn_q, attn_k, attn_v (phi3 has that) */
    bool split;                 /* phi3: each matrix is a tensor of its own */
    bool head_norms;            /* norms of q and k, of each head its own (families that may) */
    bool all_biases;            /* these and biases of attention output, gate, up and down; of
                                   experts those, of the router and of the choice */
    bool spm;                   /* a SentencePiece vocabulary instead of byte-level BPE */
    bool no_vocab;              /* no tokenizer.ggml.* keys; n_rows rows */
    uint32_t n_rows;            /* of the embedding, with no_vocab [300] */
    const char *rope_scaling;   /* rope.scaling.type: "linear", "yarn"; NULL: no key */
    float rope_factor;          /* rope.scaling.factor [4] */
    bool rope_freqs;            /* a rope_freqs.weight tensor with divisors 1..8 */
    bool longrope;              /* rope_factors_short.weight with these and rope_factors_long.weight
                                   with twice as much, at the end of the file */
    const fixture_key *keys;    /* more keys, up to one without suffix, or others than those
                                   above make [none] */
    uint64_t seed;

    /* ways to break it: */
    const char *omit_key;    /* this key is left out */
    const char *omit_tensor; /* this tensor is left out */
    const char *bad_shape;   /* this tensor gets one more row (a vector: one more element) */
    const char *bad_type;    /* this tensor is written as Q8_1, which cannot be computed (I8 where
                                its rows are no multiple of 32) */
    const char *set_architecture; /* general.architecture says this instead */
    const char *u32_key; /* this key ("llama.block_count"), added if it is none of the model's */
    uint32_t u32_value;  /* ... gets this value, as u32 */
    const char *f32_key;
    float f32_value;
    const char *nan_tensor; /* this (f32) tensor begins with a NaN */
} fixture_model;

/* Vocabulary of the byte-level one: ids 0..255 are the bytes in GPT-2's order, then the
 * merged tokens "he", "in", "th", "the", "an", "and", " t", " the", then the control
 * tokens <s> (BOS, added in front), </s> (EOS), <|im_end|> (EOT), then the rest up to a
 * round 300 as "[unused0]", ... The SentencePiece one: <unk>, <s>, </s>, 256 byte tokens,
 * then pieces (each letter, "▁", "▁t", "he", "▁the", ...) up to 300 likewise. */
#define FIXTURE_VOCAB 300

/* Writes the model; 0, or -1 with a message on stderr. */
int fixture_write(const char *path, const fixture_model *model);

#endif
