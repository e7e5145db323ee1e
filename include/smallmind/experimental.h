/* smallmind/experimental.h - functions that are not settled yet.
 *
 * Not part of the stable interface and not included by smallmind.h: what is
 * declared here may change or go in any release, without a new SM_ABI.
 */
#ifndef SMALLMIND_EXPERIMENTAL_H
#define SMALLMIND_EXPERIMENTAL_H

#include "model.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A model of a known shape with random weights and no vocabulary, to measure speed without a
 * download: feed it ids, what it predicts means nothing. Every matrix is of the type where its
 * columns allow, else of the type that sm_model_quantize would take: those of 256-element blocks
 * fall back to IQ4_NL (Q2_K, Q3_K, IQ1_… to IQ4_XS), Q5_0 (Q4_K), Q5_1 (Q5_K), Q8_0 (Q6_K) or Q4_0
 * (TQ1_0, TQ2_0) if the columns are no multiple of 256, Q1_0 (of 128) and Q2_0 (of 64) to Q4_0,
 * NVFP4 (of 64) to MXFP4, and all quantized ones to F16 if they are no multiple of 32 either.
 * Weights have a standard deviation of about 1/sqrt(columns); norms are 1. The same seed gives the
 * same weights.
 *
 *   shape  smollm2-135m, llama3.2-1b, llama3.2-3b, qwen3-0.6b, qwen3-1.7b, phi3-mini, gemma3-270m,
 *          gemma3-1b, granite3-1b-a400m, olmoe-1b-7b, gpt-oss-20b, deepseek-v2-lite, lfm2-350m,
 *          stories15m, stories260k
 *   type   F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL,
 *          IQ4_XS, IQ3_S, IQ3_XXS, IQ2_S, IQ2_XS, IQ2_XXS, IQ1_M, IQ1_S, MXFP4, NVFP4, Q2_0, TQ1_0,
 *          TQ2_0, Q1_0, F64, each for all matrices, or a mixture: Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S,
 *          Q4_K_M, Q5_K_S, Q5_K_M, IQ2_M, IQ3_XS, IQ3_M, MXFP4_MOE, as sm_model_quantize makes it
 *          of a model whose embedding is the head
 *
 * The weights lie in the model's heap as those of a file that was read (options->io is ignored);
 * repacked weights come on top. SM_ERR_ARGUMENT (an unknown name: the message lists the known
 * ones), _NOMEM, _SYSTEM, _CANCELLED, _UNSUPPORTED. */
SM_API sm_status SM_CALL sm_model_random(sm_model **out, const char *shape, const char *type,
                                         uint64_t seed, const sm_model_options *options,
                                         sm_error *error);

/* Writes that model to a GGUF file, replacing path only when it is whole: loaded from there, it
 * computes the same. The file says that it has no vocabulary (tokenizer.ggml.model is
 * "no_vocab"), which llama.cpp loads too. Takes as much heap as the file is large; of the options
 * the allocator, memory_limit and progress (tensors made of all, then bytes written) are used.
 * SM_ERR_IO, _ARGUMENT, _NOMEM, _CANCELLED. */
SM_API sm_status SM_CALL sm_model_random_save(const char *path, const char *shape, const char *type,
                                              uint64_t seed, const sm_model_options *options,
                                              sm_error *error);

#ifdef __cplusplus
}
#endif
#endif
