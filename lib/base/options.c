/* The tables of the options structs, and taking a caller's struct by them. */
#include "base.h"
#include "smallmind/smallmind.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define ROW(S, kind, field, least, most, usual, zero_by, choices, in, text)                       \
    {                                                                                             \
        .struct_size = sizeof(sm_option), .type = SM_OPTION_##kind, .offset = offsetof(S, field), \
        .name = #field, .names = choices, .unit = in, .doc = text, .min = least, .max = most,     \
        .fallback = usual, .zero = zero_by                                                        \
    }
#define U32(S, field, min, max, fallback, unit, doc) \
    ROW(S, U32, field, min, max, fallback, 0, NULL, unit, doc)
#define U64(S, field, min, max, fallback, unit, doc) \
    ROW(S, U64, field, min, max, fallback, 0, NULL, unit, doc)
#define F64(S, field, min, max, fallback, doc) \
    ROW(S, F64, field, min, max, fallback, 0, NULL, "", doc)
/* Where zero can be said (SM_ZERO), since a zero stands for another value. */
#define F64_ZERO(S, field, min, max, fallback, doc) \
    ROW(S, F64, field, min, max, fallback, SM_ZERO, NULL, "", doc)
#define U32_ZERO(S, field, min, max, fallback, unit, doc) \
    ROW(S, U32, field, min, max, fallback, SM_ZERO_U32, NULL, unit, doc)
#define ENUM(S, field, names, max, doc) ROW(S, ENUM, field, 0, max, 0, 0, names, "", doc)
#define BOOL(S, field, doc) ROW(S, BOOL, field, 0, 1, 0, 0, NULL, "", doc)
#define STRING(S, field, doc) ROW(S, STRING, field, 0, 0, 0, 0, NULL, "", doc)
#define POINTER(S, field, doc) ROW(S, POINTER, field, 0, 0, 0, 0, NULL, "", doc)

#define MAX_CONTEXT 16777216.0

static const sm_option model_table[] = {
    ENUM(sm_model_options, io, "map|read", 1, "how the file is read"),
    ENUM(sm_model_options, level, "auto|scalar|avx2|avx512|neon|dotprod|avxvnni|i8mm|avx512bf16", 8,
         "highest instruction-set level to use"),
    ENUM(sm_model_options, repack, "lazy|none", 1,
         "copy weights into the layout the kernels like at first use, or never"),
    U64(sm_model_options, memory_limit, 0, 9.0e15, 0, "bytes",
        "heap of the model and its sessions together; 0: no limit"),
    POINTER(sm_model_options, allocator, "memory hook"),
    POINTER(sm_model_options, log, "log hook"),
    POINTER(sm_model_options, progress, "progress hook"),
    POINTER(sm_model_options, progress_user, "argument of the progress hook"),
    POINTER(sm_model_options, cancel_flag, "ends the work when it is set"),
    ENUM(
        sm_model_options, activations, "fast|float", 1,
        "what weights multiply: rounded to 8 bits beside quantized ones, or f32 beside all (slow)"),
};

static const sm_option session_table[] = {
    U32(sm_session_options, n_ctx, 0, MAX_CONTEXT, 0, "tokens",
        "tokens the session can hold; 0: the model's training context, 4096 at most"),
    U32(sm_session_options, n_threads, 0, SM_MAX_THREADS, 0, "threads",
        "threads that compute; 0: all CPUs of the process, 8 at most"),
    U32(sm_session_options, n_batch, 1, 8192, 512, "tokens", "tokens computed together at most"),
    ENUM(sm_session_options, kv_type, "f16|f32|bf16|q8_0|q4_0|q5_0|iq4_nl", 6,
         "number format of the key/value cache"),
    BOOL(sm_session_options, pin, "keep each thread but the caller's on a CPU of its own"),
    ENUM(sm_session_options, kv_keep, "window|all", 1,
         "what layers with a window keep of keys and values: the window and one batch, or all"),
    POINTER(sm_session_options, cancel_flag, "ends the work when it is set"),
};

static const sm_option sampling_table[] = {
    F64(sm_sampling, temperature, 0, 100, 0, "0 takes the likeliest token, more is more random"),
    U32(sm_sampling, top_k, 0, 2147483647.0, 0, "tokens", "keep the k likeliest; 0: all"),
    F64_ZERO(sm_sampling, top_p, 0, 1, 1, "keep the smallest set of tokens with this probability"),
    F64(sm_sampling, min_p, 0, 1, 0,
        "drop tokens less likely than this share of the likeliest one's probability"),
    F64(sm_sampling, repeat_penalty, 0, 100, 1,
        "divides the logits of tokens that occurred; 1: none"),
    F64(sm_sampling, presence_penalty, -100, 100, 0, "subtracted once from tokens that occurred"),
    F64(sm_sampling, frequency_penalty, -100, 100, 0,
        "subtracted for each time that a token occurred"),
    U32_ZERO(sm_sampling, penalty_last_n, 0, MAX_CONTEXT, 64, "tokens",
             "how far back the penalties look"),
    U64(sm_sampling, seed, 0, 18446744073709551615.0, 0, "", "same seed, same tokens"),
    U64(sm_sampling, sequence, 0, 18446744073709551615.0, 0, "",
        "tells apart sequences drawn with one seed"),
    POINTER(sm_sampling, bias, "list of logit biases"),
    U64(sm_sampling, n_bias, 0, 16777216.0, 0, "", "length of bias"),
    F64_ZERO(sm_sampling, typical_p, 0, 1, 1,
             "keep the tokens whose information is nearest to the entropy, with this probability"),
    F64(sm_sampling, top_a, 0, 1, 0,
        "drop tokens below this times the square of the likeliest one's probability"),
    F64(sm_sampling, top_n_sigma, 0, 1000, 0,
        "drop logits more than so many standard deviations below the largest; 0: none"),
    F64(sm_sampling, xtc_probability, 0, 1, 0,
        "how often to drop the likeliest tokens but the last of those above the threshold"),
    F64_ZERO(sm_sampling, xtc_threshold, 0, 1, 0.1, "probability from which XTC drops tokens"),
    F64(sm_sampling, dry_multiplier, 0, 1000, 0,
        "penalty of a token that would go on with a repetition; 0: none"),
    F64(sm_sampling, dry_base, 1, 1000, 1.75, "the penalty's growth with each token repeated"),
    U32_ZERO(sm_sampling, dry_allowed_length, 0, MAX_CONTEXT, 2, "tokens",
             "repetitions up to this length cost nothing more"),
    U32(sm_sampling, dry_last_n, 0, MAX_CONTEXT, 0, "tokens",
        "how far back DRY looks; 0: as far as there is text"),
    POINTER(sm_sampling, dry_breakers, "tokens that end repetitions"),
    U64(sm_sampling, n_dry_breakers, 0, 16777216.0, 0, "", "length of dry_breakers"),
    F64(sm_sampling, dynatemp_range, 0, 100, 0,
        "the temperature moves so far up and down with the entropy; 0: it stays"),
    F64_ZERO(sm_sampling, dynatemp_exponent, 0, 100, 1, "of the entropy's share of the largest"),
    ENUM(sm_sampling, mirostat, "0|1|2", 2, "version of Mirostat; 0: none"),
    U32(sm_sampling, mirostat_m, 2, MAX_CONTEXT, 100, "tokens",
        "likeliest tokens that version 1 estimates from"),
    F64_ZERO(sm_sampling, mirostat_tau, 0, 100, 5, "bits of surprise that Mirostat aims at"),
    F64_ZERO(sm_sampling, mirostat_eta, 0, 10, 0.1, "how fast Mirostat follows"),
    U32(sm_sampling, min_keep, 1, 2147483647.0, 1, "tokens",
        "typical_p, top_p, min_p and XTC leave so many tokens at least"),
    U64(sm_sampling, n_steps, 0, 32, 0, "", "length of steps"),
    POINTER(sm_sampling, steps, "the chain, written out"),
    STRING(sm_sampling, order, "names of the samplers in their order"),
    POINTER(sm_sampling, mask, "tokens that may be chosen, a bit each"),
    POINTER(sm_sampling, dry_breaker_texts, "texts that end repetitions"),
    U64(sm_sampling, n_dry_breaker_texts, 0, 64, 0, "", "length of dry_breaker_texts"),
    POINTER(sm_sampling, logits, "logits to choose by"),
    POINTER(sm_sampling, watermark, "a mark in what is chosen; NULL: none"),
};

static const sm_option watermark_table[] = {
    ENUM(sm_watermark, seeding, "left|self", 1,
         "what makes tokens green: those before, or these and the token itself"),
    U32(sm_watermark, width, 0, 16, 0, "tokens", "before that count; 0: 1, or 4 with self"),
    F64(sm_watermark, gamma, 1e-3, 1, 0.25, "part of green tokens"),
    F64_ZERO(sm_watermark, delta, 0, 100, 2, "added to the logits of green tokens"),
    U64(sm_watermark, key, 0, 18446744073709551615.0, 0, "", "who knows it can find the mark"),
};

static const sm_option generate_table[] = {
    U32(sm_generate_options, max_tokens, 0, 4294967295.0, 0, "tokens",
        "tokens to generate at most; 0: until the context is full"),
    POINTER(sm_generate_options, sampling, "how tokens are chosen; NULL: greedy"),
    POINTER(sm_generate_options, stop, "strings that end the text"),
    U64(sm_generate_options, n_stop, 0, 64, 0, "", "length of stop"),
    BOOL(sm_generate_options, parse_special, "parse special tokens written in the prompt"),
    BOOL(sm_generate_options, no_bos, "leave out the BOS token"),
    BOOL(sm_generate_options, ignore_end, "go on after the end of the text"),
    ENUM(
        sm_generate_options, speculate, "no|ngram", 1,
        "compute guessed tokens together with the chosen one; ngram: guessed from the text so far. "
        "The result is the same"),
    U32(sm_generate_options, draft_tokens, 1, 8191, 16, "tokens", "guessed at a time at most"),
    POINTER(sm_generate_options, draft, "a session whose model guesses tokens"),
    ENUM(sm_generate_options, context_full, "stop|slide|sinks|ask", 3,
         "when the context is full: stop; drop tokens and compute the rest again; drop them and "
         "keep "
         "the rest's keys and values; ask the program"),
    U32(sm_generate_options, n_keep, 0, MAX_CONTEXT, 0, "tokens",
        "first tokens that a full context keeps; 0: none, 4 of sinks"),
    U32(sm_generate_options, n_drop, 0, MAX_CONTEXT, 0, "tokens",
        "dropped behind them at a time; 0: half of the others"),
    BOOL(sm_generate_options, heal,
         "choose the prompt's last tokens anew where they are the beginning of longer ones"),
    POINTER(sm_generate_options, on_context_full, "hook of full contexts"),
    POINTER(sm_generate_options, context_full_user, "argument of that hook"),
    POINTER(sm_generate_options, ban, "strings that the text must not hold"),
    U64(sm_generate_options, n_ban, 0, 64, 0, "", "length of ban"),
    U32(sm_generate_options, min_tokens, 0, 4294967295.0, 0, "tokens",
        "the text does not end before so many"),
    U32(sm_generate_options, n_logprobs, 0, 20, 0, "tokens",
        "likeliest tokens to tell the log-probabilities of, beside each that is chosen"),
    BOOL(sm_generate_options, echo,
         "tell of the prompt's tokens, too, and of their log-probabilities"),
    POINTER(sm_generate_options, constraint, "what the text must match"),
    POINTER(sm_generate_options, cancel_flag, "ends the work when it is set"),
};

static const sm_option quantize_table[] = {
    U32(sm_quantize_options, n_threads, 0, SM_MAX_THREADS, 0, "threads",
        "threads that encode; 0: all CPUs of the process, 8 at most"),
    STRING(sm_quantize_options, type, "type or mixture of the matrices"),
    STRING(sm_quantize_options, imatrix, "path of an importance matrix"),
    POINTER(sm_quantize_options, overrides, "types of tensors by pattern"),
    U64(sm_quantize_options, n_overrides, 0, 65536, 0, "", "length of overrides"),
    BOOL(sm_quantize_options, pure, "a mixture's base type for every matrix"),
    BOOL(sm_quantize_options, requantize,
         "accept matrices that are quantized already: their errors add up"),
    ENUM(sm_quantize_options, level, "auto|scalar|avx2|avx512|neon|dotprod|avxvnni|i8mm|avx512bf16",
         8, "highest instruction-set level to use"),
    POINTER(sm_quantize_options, allocator, "memory hook"),
    POINTER(sm_quantize_options, progress, "progress hook"),
    POINTER(sm_quantize_options, progress_user, "argument of the progress hook"),
    POINTER(sm_quantize_options, on_tensor, "told of every tensor that is done"),
    POINTER(sm_quantize_options, on_tensor_user, "argument of on_tensor"),
    POINTER(sm_quantize_options, cancel_flag, "ends the work when it is set"),
};

static const sm_option imatrix_table[] = {
    U32(sm_imatrix_options, n_ctx, 0, MAX_CONTEXT, 0, "tokens",
        "tokens of a chunk; 0: the model's training context, 512 at most"),
    U32(sm_imatrix_options, n_threads, 0, SM_MAX_THREADS, 0, "threads",
        "threads that compute; 0: all CPUs of the process, 8 at most"),
    POINTER(sm_imatrix_options, cancel_flag, "ends the work when it is set"),
};

static const sm_option trainer_table[] = {
    STRING(sm_trainer_options, data, "path of the training data"),
    POINTER(sm_trainer_options, more_data, "paths of further training data"),
    U64(sm_trainer_options, n_more_data, 0, 65535, 0, "", "length of more_data"),
    STRING(sm_trainer_options, separator, "what stands between documents of a text"),
    U32(sm_trainer_options, n_threads, 0, SM_MAX_THREADS, 0, "threads",
        "threads that compute; 0: all CPUs of the process, 8 at most"),
    F64(sm_trainer_options, validation, 0, 0.5, 0,
        "part of the data kept for validation: the last documents"),
    ENUM(sm_trainer_options, data_kind, "auto|text|instruct|chosen", 3,
         "what the data is; auto: .json and .jsonl files hold instructions, others text; chosen: "
         "instructions, without their rejected answers"),
    ENUM(sm_trainer_options, layout, "alpaca|chatml", 1, "how instructions are written out"),
    BOOL(sm_trainer_options, loss_on_prompt,
         "train the prompts of instruction data too, not only the answers"),
    U32(sm_trainer_options, sequence, 0, 1048576, 0, "tokens",
        "length of a row; 0: 256, or the model's context if that is less"),
    U32(sm_trainer_options, rows, 1, 65536, 8, "rows", "rows computed together"),
    U32(sm_trainer_options, accumulate, 1, 65536, 1, "batches",
        "batches of rows that make one optimizer step"),
    U64(sm_trainer_options, steps, 1, 9.0e15, 1000, "steps", "optimizer steps in all"),
    F64(sm_trainer_options, epochs, 0, 1e6, 0,
        "passes through the training data, instead of steps; it is tokenized once more to count "
        "the steps"),
    U64(sm_trainer_options, seed, 0, 18446744073709551615.0, 0, "",
        "of the data's order, adapters' first weights and dropout"),
    ENUM(sm_trainer_options, optimizer, "adamw|lion|adafactor|sgd", 3, "rule of the updates"),
    BOOL(sm_trainer_options, state_8bit, "keep AdamW's moments in 8 bits each"),
    F64(sm_trainer_options, lr, 0, 999, 0,
        "highest learning rate; 0: 1e-3 AdamW, 1e-4 Lion, 1e-2 Adafactor, 0.1 SGD"),
    F64(sm_trainer_options, min_lr, 0, 999, 0, "learning rate at the end of the schedule"),
    F64_ZERO(sm_trainer_options, beta1, 0, 0.99999, 0.9,
             "AdamW and Lion: decay of the first moment"),
    F64_ZERO(sm_trainer_options, beta2, 0, 0.99999999, 0,
             "decay of the second moment; 0: 0.95, or 0.99 for Lion"),
    F64(sm_trainer_options, eps, 0, 0.1, 1e-8, "AdamW: added to the root of the second moment"),
    F64(sm_trainer_options, weight_decay, 0, 100, 0, "decoupled weight decay of matrices"),
    F64(sm_trainer_options, expert_balance, 0, 100, 0,
        "mixtures of experts: weight of the loss that keeps experts equally in use"),
    F64_ZERO(sm_trainer_options, momentum, 0, 0.99999, 0.9, "SGD"),
    F64(sm_trainer_options, clip, 0, 1e30, 1, "largest global norm of the gradient"),
    BOOL(sm_trainer_options, no_clip, "do not limit the gradient"),
    ENUM(sm_trainer_options, schedule,
         "cosine|constant|linear|polynomial|inverse-sqrt|wsd|restarts", 6,
         "course of the learning rate after the warmup"),
    U64(sm_trainer_options, warmup, 0, 9.0e15, 0, "steps", "linear rise of the learning rate"),
    F64_ZERO(sm_trainer_options, power, 0, 100, 2, "of the polynomial schedule"),
    F64_ZERO(sm_trainer_options, decay_part, 0, 1, 0.2, "WSD: the last part of the steps"),
    U64(sm_trainer_options, cycle, 0, 9.0e15, 0, "steps",
        "restarts: first cycle; 0: a quarter of the steps"),
    F64(sm_trainer_options, cycle_growth, 1, 100, 2, "restarts: each cycle is longer by this"),
    ENUM(sm_trainer_options, precision, "f32|bf16", 1, "number format of matrix products' inputs"),
    BOOL(sm_trainer_options, checkpoint_layers,
         "keep only each layer's input and compute the rest again: less memory, a third slower"),
    ENUM(sm_trainer_options, level, "auto|scalar|avx2|avx512|neon|dotprod|avxvnni|i8mm|avx512bf16",
         8, "highest instruction-set level to use"),
    U32(sm_trainer_options, lora_rank, 0, 4096, 0, "",
        "train adapters of this rank over frozen weights; 0: train every weight"),
    F64(sm_trainer_options, lora_alpha, 0, 1e6, 0,
        "adapters count alpha/rank times; 0: twice the rank"),
    F64(sm_trainer_options, lora_dropout, 0, 0.9, 0, "part of the adapters' inputs dropped"),
    BOOL(sm_trainer_options, lora_rs, "adapters count alpha/sqrt(rank) times"),
    BOOL(sm_trainer_options, openblas,
         "f32 products of the backward pass by OpenBLAS, where the library was built with it"),
    STRING(sm_trainer_options, lora_targets, "tensors that get adapters"),
    U64(sm_trainer_options, memory_limit, 0, 9.0e15, 0, "bytes",
        "heap of the trainer; 0: no limit"),
    POINTER(sm_trainer_options, allocator, "memory hook"),
    POINTER(sm_trainer_options, progress, "progress hook"),
    POINTER(sm_trainer_options, progress_user, "argument of the progress hook"),
    POINTER(sm_trainer_options, log, "log hook"),
    POINTER(sm_trainer_options, cancel_flag, "ends the work when it is set"),
    ENUM(sm_trainer_options, objective, "supervised|dpo|ipo|simpo|orpo|kto", 5,
         "what is learned: the answers, or to prefer some to others, in data with chosen and "
         "rejected answers (kto: with a label)"),
    BOOL(sm_trainer_options, length_normalized,
         "DPO: compare means of an answer's tokens, as the others do"),
    F64(sm_trainer_options, preference_beta, 0, 1000, 0,
        "how strongly preferences count; 0: 0.1, 2 for SimPO"),
    F64(sm_trainer_options, label_smoothing, 0, 0.5, 0,
        "DPO, SimPO, ORPO: part of the pairs taken to be the other way round"),
    F64_ZERO(sm_trainer_options, preference_margin, 0, 1000, 0,
             "SimPO: reward that the chosen answer is to have more; 0: 1"),
    F64(sm_trainer_options, desirable_weight, 0, 1000, 0, "KTO: weight of good answers; 0: 1"),
    F64(sm_trainer_options, undesirable_weight, 0, 1000, 0, "KTO: weight of the others; 0: 1"),
    STRING(sm_trainer_options, teacher, "model whose probabilities are learned, too"),
    F64(sm_trainer_options, teacher_weight, 0, 1, 0,
        "part of the loss that the teacher counts; 0: 0.5"),
    F64(sm_trainer_options, teacher_temperature, 0.01, 100, 0,
        "of the probabilities that are compared with the teacher's; 0: 2"),
    F64(sm_trainer_options, lora_b_rate, 0, 1000, 0,
        "learning rate of the adapters' B by that of A (LoRA+); 0: 1"),
};

static const sm_option init_table[] = {
    U32(sm_model_init_options, n_embd, 2, 65536, 256, "", "width of the model"),
    U32(sm_model_init_options, n_layer, 1, 1024, 6, "layers", "depth of the model"),
    U32(sm_model_init_options, n_head, 0, 4096, 0, "heads",
        "attention heads; 0: one for each 32 of the width"),
    U32(sm_model_init_options, n_head_kv, 0, 4096, 0, "heads",
        "heads of keys and values; 0: as many as attention heads"),
    U32(sm_model_init_options, n_ff, 0, 1048576, 0, "",
        "width inside the feed-forward block; 0: 8/3 of the model's, to a multiple of 32"),
    U32(sm_model_init_options, n_ctx, 1, MAX_CONTEXT, 512, "tokens", "context length"),
    BOOL(sm_model_init_options, untied, "an output matrix of its own instead of the embedding's"),
    ENUM(sm_model_init_options, family, "llama|qwen2|qwen3", 2, "kind of network"),
    U32(sm_model_init_options, sliding_window, 0, MAX_CONTEXT, 0, "tokens",
        "each token attends to this many of the last, itself included; 0: to all"),
    U64(sm_model_init_options, seed, 0, 18446744073709551615.0, 0, "", "of the random weights"),
    F64(sm_model_init_options, rope_theta, 1, 1e9, 10000, "base of the rotary position angles"),
    STRING(sm_model_init_options, name, "general.name of the file"),
    POINTER(sm_model_init_options, progress, "progress hook"),
    POINTER(sm_model_init_options, progress_user, "argument of the progress hook"),
    POINTER(sm_model_init_options, cancel_flag, "ends the work when it is set"),
    STRING(sm_model_init_options, architecture,
           "general.architecture, in place of the kind of network"),
    POINTER(sm_model_init_options, allocator, "memory hook"),
};

static const sm_option vocabulary_table[] = {
    U32(sm_vocabulary_options, n_vocab, 257, 16777216, 4096, "tokens",
        "size of the vocabulary, the 256 bytes included"),
    STRING(sm_vocabulary_options, separator, "mark between documents"),
    STRING(sm_vocabulary_options, pre, "pre-tokenizer"),
    U64(sm_vocabulary_options, min_count, 1, 9.0e15, 2, "times",
        "how often a pair must occur to be merged"),
    POINTER(sm_vocabulary_options, progress, "progress hook"),
    POINTER(sm_vocabulary_options, progress_user, "argument of the progress hook"),
    POINTER(sm_vocabulary_options, cancel_flag, "ends the work when it is set"),
};

static const sm_option batch_table[] = {
    U32(sm_batch_options, n_threads, 0, SM_MAX_THREADS, 0, "threads",
        "threads that compute; 0: all CPUs of the process, 8 at most"),
    U32(sm_batch_options, n_sequences, 1, 1024, 32, "", "sequences that one step feeds at most"),
    U32(sm_batch_options, n_batch, 1, 8192, 512, "tokens",
        "tokens of a step at most; n_sequences if that is more"),
    U32(sm_batch_options, n_ctx, 0, MAX_CONTEXT, 0, "tokens",
        "tokens a session can hold at most; 0: the model's training context, 4096 at most"),
    BOOL(sm_batch_options, pin, "keep each thread but the caller's on a CPU of its own"),
    POINTER(sm_batch_options, cancel_flag, "ends the work when it is set"),
};

static const sm_option encoder_table[] = {
    U32(sm_encoder_options, n_threads, 0, SM_MAX_THREADS, 0, "threads",
        "threads that compute; 0: all CPUs of the process, 8 at most"),
    U32(sm_encoder_options, max_tokens, 0, MAX_CONTEXT, 0, "tokens",
        "of a text at most; 0: what the model was trained with, 8192 at most"),
    U32(sm_encoder_options, n_batch, 0, 65536, 0, "tokens",
        "computed together at most; 0: 512; max_tokens if that is more"),
    ENUM(sm_encoder_options, pooling, "model|mean|first|last", 3,
         "what is made of a text's tokens; model: what its file says"),
    ENUM(sm_encoder_options, long_texts, "cut|refuse|windows", 2,
         "what becomes of texts of more than max_tokens"),
    U32(sm_encoder_options, n_dims, 0, 65536, 0, "",
        "elements of a vector, the first ones; 0: all"),
    BOOL(sm_encoder_options, raw, "vectors are not divided by their length"),
    STRING(sm_encoder_options, prefix, "put before every text"),
    STRING(sm_encoder_options, prompt, "the prefix that the model's directory calls so"),
    POINTER(sm_encoder_options, cancel_flag, "ends the work when it is set"),
};

static const sm_option adapter_table[] = {
    POINTER(sm_adapter_options, progress, "progress hook"),
    POINTER(sm_adapter_options, progress_user, "argument of the progress hook"),
    POINTER(sm_adapter_options, cancel_flag, "ends the work when it is set"),
};

static const sm_option merge_table[] = {
    STRING(sm_merge_options, type, "of the merged matrices; NULL: as they were"),
    POINTER(sm_merge_options, progress, "progress hook"),
    POINTER(sm_merge_options, progress_user, "argument of the progress hook"),
    POINTER(sm_merge_options, cancel_flag, "ends the work when it is set"),
};

static const sm_option pack_table[] = {
    POINTER(sm_pack_options, progress, "progress hook"),
    POINTER(sm_pack_options, progress_user, "argument of the progress hook"),
    POINTER(sm_pack_options, cancel_flag, "ends the work when it is set"),
};

static const sm_option fork_table[] = {
    U32(sm_fork_options, n_threads, 0, SM_MAX_THREADS, 0, "threads",
        "threads that compute; 0: as many as the session that is copied has"),
    POINTER(sm_fork_options, cancel_flag, "ends the work when it is set"),
};

static const sm_option export_table[] = {
    STRING(sm_export_options, type, "of matrices: F32, F16 or BF16; NULL: F32"),
};

#define TABLE(which, S, rows) \
    { which, sizeof(rows) / sizeof *(rows), 0, #S, rows }
#define HOLED_TABLE(which, S, rows) \
    { which, sizeof(rows) / sizeof *(rows), offsetof(S, reserved), #S, rows }

static const struct {
    uint32_t which, n;
    size_t reserved; /* where that field is, 0: nowhere */
    const char *name;
    const sm_option *table;
} tables[] = {
    HOLED_TABLE(SM_OPTIONS_MODEL, sm_model_options, model_table),
    HOLED_TABLE(SM_OPTIONS_SESSION, sm_session_options, session_table),
    TABLE(SM_OPTIONS_SAMPLING, sm_sampling, sampling_table),
    TABLE(SM_OPTIONS_GENERATE, sm_generate_options, generate_table),
    HOLED_TABLE(SM_OPTIONS_QUANTIZE, sm_quantize_options, quantize_table),
    HOLED_TABLE(SM_OPTIONS_IMATRIX, sm_imatrix_options, imatrix_table),
    TABLE(SM_OPTIONS_BATCH, sm_batch_options, batch_table),
    HOLED_TABLE(SM_OPTIONS_WATERMARK, sm_watermark, watermark_table),
    HOLED_TABLE(SM_OPTIONS_ADAPTER, sm_adapter_options, adapter_table),
    HOLED_TABLE(SM_OPTIONS_MERGE, sm_merge_options, merge_table),
    HOLED_TABLE(SM_OPTIONS_PACK, sm_pack_options, pack_table),
    TABLE(SM_OPTIONS_FORK, sm_fork_options, fork_table),
    HOLED_TABLE(SM_OPTIONS_EXPORT, sm_export_options, export_table),
    TABLE(SM_OPTIONS_TRAINER, sm_trainer_options, trainer_table),
    TABLE(SM_OPTIONS_INIT, sm_model_init_options, init_table),
    TABLE(SM_OPTIONS_ENCODER, sm_encoder_options, encoder_table),
    TABLE(SM_OPTIONS_VOCABULARY, sm_vocabulary_options, vocabulary_table),
};
#define N_TABLES (sizeof tables / sizeof *tables)

/* N_TABLES: there is none. */
static size_t find_table(uint32_t options_struct) {
    size_t i = 0;
    while (i < N_TABLES && tables[i].which != options_struct)
        i++;
    return i;
}

const sm_option *sm_options_table(uint32_t options_struct, uint32_t *n) {
    const size_t i = find_table(options_struct);
    *n = i < N_TABLES ? tables[i].n : 0;
    return i < N_TABLES ? tables[i].table : NULL;
}

const char *sm_options_name(uint32_t options_struct) {
    const size_t i = find_table(options_struct);
    return i < N_TABLES ? tables[i].name : NULL;
}

uint32_t sm_options_count(uint32_t options_struct) {
    uint32_t n;
    sm_options_table(options_struct, &n);
    return n;
}

sm_status sm_options_get(uint32_t options_struct, uint32_t i, sm_option *option, sm_error *error) {
    static const sm_wide wide[] = {SM_WIDE_FROM(sm_option, name), {0, 0, 0}};
    uint32_t n;
    const sm_option *table = sm_options_table(options_struct, &n);
    if (i >= n)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_options_get: struct %u has %u options, there is no number %u",
                       options_struct, n, i);
    return sm_struct_give(option, &table[i], sizeof *option, wide, "sm_option", error);
}

static bool is_u32(const sm_option *o) {
    return o->type == SM_OPTION_U32 || o->type == SM_OPTION_ENUM || o->type == SM_OPTION_BOOL;
}

static bool is_pointer(const sm_option *o) {
    return o->type == SM_OPTION_POINTER || o->type == SM_OPTION_STRING;
}

static uint32_t field_bytes(const sm_option *o) {
    return is_u32(o) ? 4 : is_pointer(o) ? (uint32_t)sizeof(void *) : 8;
}

static double read_field(const uint8_t *field, const sm_option *o) {
    uint32_t u32;
    uint64_t u64;
    double value = 0;
    if (o->type == SM_OPTION_F64) {
        memcpy(&value, field, sizeof value);
        return value;
    }
    if (o->type == SM_OPTION_U64) {
        memcpy(&u64, field, sizeof u64);
        return (double)u64;
    }
    memcpy(&u32, field, sizeof u32);
    return u32;
}

static void write_field(uint8_t *field, const sm_option *o, double value) {
    const uint32_t u32 = o->type == SM_OPTION_F64 ? 0 : (uint32_t)value;
    const uint64_t u64 = o->type == SM_OPTION_F64 ? 0 : (uint64_t)value;
    memcpy(field,
           o->type == SM_OPTION_F64   ? (const void *)&value
           : o->type == SM_OPTION_U64 ? (const void *)&u64
                                      : &u32,
           field_bytes(o));
}

/* A zero takes the fallback, what says zero takes zero; anything else must be in range. */
static sm_status check_field(uint8_t *base, const char *name, const sm_option *o, sm_error *error) {
    uint8_t *field = base + o->offset;
    if (is_pointer(o))
        return SM_OK;
    const double value = read_field(field, o);
    if (value == 0) {
        write_field(field, o, o->fallback);
        return SM_OK;
    }
    if (o->zero != 0 && value == o->zero) {
        if (o->fallback != 0)
            write_field(field, o, 0);
        return SM_OK;
    }
    if (!(value >= o->min && value <= o->max))
        return sm_fail(error, SM_ERR_ARGUMENT, "option %s of %s is %g, not in %g..%g", o->name,
                       name, value, o->min, o->max);
    return SM_OK;
}

sm_status sm_options_check(const void *options, uint32_t options_struct, sm_error *error) {
    uint32_t n, size;
    const sm_option *table = sm_options_table(options_struct, &n);
    memcpy(&size, options, sizeof size);
    for (uint32_t i = 0; i < n; i++)
        if (size > table[i].offset && size < table[i].offset + field_bytes(&table[i]))
            return sm_fail(error, SM_ERR_ARGUMENT,
                           "%s: struct_size is %u, which is inside the field %s",
                           sm_options_name(options_struct), size, table[i].name);
    return SM_OK;
}

void sm_options_say_zero(void *options, uint32_t options_struct) {
    uint32_t n;
    const sm_option *table = sm_options_table(options_struct, &n);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *field = (uint8_t *)options + table[i].offset;
        if (table[i].zero != 0 && read_field(field, &table[i]) == 0)
            write_field(field, &table[i], table[i].zero);
    }
}

/* What a caller's struct has of hooks that are to be told that they are not needed. */
static void drop_hooks(const void *options, const sm_option *table, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        const void *hook = NULL;
        if (table[i].type == SM_OPTION_POINTER)
            memcpy(&hook, (const uint8_t *)options + table[i].offset, sizeof hook);
        if (strcmp(table[i].name, "allocator") == 0)
            sm_allocator_drop(hook);
        else if (strcmp(table[i].name, "log") == 0)
            sm_logger_drop(hook);
    }
}

/* What is there is zero until a later version reads it. */
static sm_status check_reserved(const uint8_t *base, uint32_t options_struct, sm_error *error) {
    const size_t i = find_table(options_struct);
    uint32_t value = 0;
    if (i < N_TABLES && tables[i].reserved)
        memcpy(&value, base + tables[i].reserved, sizeof value);
    return value ? sm_fail(error, SM_ERR_ARGUMENT, "%s: reserved is set", tables[i].name) : SM_OK;
}

sm_status sm_options_take(void *to, size_t known, const void *from, uint32_t options_struct,
                          sm_error *error) {
    uint32_t n;
    const sm_option *table = sm_options_table(options_struct, &n);
    const char *name = sm_options_name(options_struct);
    sm_status status = sm_struct_take(to, known, NULL, from, name, error);
    if (!status && from)
        status = sm_options_check(from, options_struct, error);
    if (status)
        return status;
    for (uint32_t i = 0; i < n && !status; i++)
        status = check_field(to, name, &table[i], error);
    if (!status)
        status = check_reserved(to, options_struct, error);
    if (status)
        drop_hooks(to, table, n);
    return status;
}
