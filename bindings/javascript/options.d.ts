// Options and answers of libsmallmind. Made by scripts/bindings.py: do not edit.

/** sm_model_options. What is not set is the library's default. */
export interface ModelOptions {
  /**
   * How the file is read (map, read).
   */
  io?: "map" | "read" | number;
  /**
   * Highest instruction-set level to use (auto, scalar, avx2, avx512, neon, dotprod, avxvnni, i8mm,
   * avx512bf16).
   */
  level?: "auto" | "scalar" | "avx2" | "avx512" | "neon" | "dotprod" | "avxvnni" | "i8mm" | "avx512bf16" | number;
  /**
   * Copy weights into the layout the kernels like at first use, or never (lazy, none).
   */
  repack?: "lazy" | "none" | number;
  /**
   * Heap of the model and its sessions together; 0: no limit.
   */
  memory_limit?: number | bigint;
  /**
   * What weights multiply: rounded to 8 bits beside quantized ones, or f32 beside all (slow) (fast,
   * float).
   */
  activations?: "fast" | "float" | number;
}

/** sm_session_options. What is not set is the library's default. */
export interface SessionOptions {
  /**
   * Tokens the session can hold; 0: the model's training context, 4096 at most.
   */
  n_ctx?: number;
  /**
   * Threads that compute; 0: all CPUs of the process, 8 at most.
   */
  n_threads?: number;
  /**
   * Tokens computed together at most.
   */
  n_batch?: number;
  /**
   * Number format of the key/value cache (f16, f32, bf16, q8_0, q4_0, q5_0, iq4_nl).
   */
  kv_type?: "f16" | "f32" | "bf16" | "q8_0" | "q4_0" | "q5_0" | "iq4_nl" | number;
  /**
   * Keep each thread but the caller's on a CPU of its own.
   */
  pin?: boolean;
  /**
   * What layers with a window keep of keys and values: the window and one batch, or all (window,
   * all).
   */
  kv_keep?: "window" | "all" | number;
}

/** sm_fork_options. What is not set is the library's default. */
export interface ForkOptions {
  /**
   * Threads that compute; 0: as many as the session that is copied has.
   */
  n_threads?: number;
}

/** sm_encoder_options. What is not set is the library's default. */
export interface EncoderOptions {
  /**
   * Threads that compute; 0: all CPUs of the process, 8 at most.
   */
  n_threads?: number;
  /**
   * Of a text at most; 0: what the model was trained with, 8192 at most.
   */
  max_tokens?: number;
  /**
   * Computed together at most; 0: 512; max_tokens if that is more.
   */
  n_batch?: number;
  /**
   * What is made of a text's tokens; model: what its file says (model, mean, first, last).
   */
  pooling?: "model" | "mean" | "first" | "last" | number;
  /**
   * What becomes of texts of more than max_tokens (cut, refuse, windows).
   */
  long_texts?: "cut" | "refuse" | "windows" | number;
  /**
   * Elements of a vector, the first ones; 0: all.
   */
  n_dims?: number;
  /**
   * Vectors are not divided by their length.
   */
  raw?: boolean;
  /**
   * Put before every text.
   */
  prefix?: string;
  /**
   * The prefix that the model's directory calls so.
   */
  prompt?: string;
}

/** sm_sampling. What is not set is the library's default. */
export interface SamplingOptions {
  /**
   * 0 takes the likeliest token, more is more random.
   */
  temperature?: number;
  /**
   * Keep the k likeliest; 0: all.
   */
  top_k?: number;
  /**
   * Keep the smallest set of tokens with this probability; 0 can be said.
   */
  top_p?: number;
  /**
   * Drop tokens less likely than this share of the likeliest one's probability.
   */
  min_p?: number;
  /**
   * Divides the logits of tokens that occurred; 1: none.
   */
  repeat_penalty?: number;
  /**
   * Subtracted once from tokens that occurred.
   */
  presence_penalty?: number;
  /**
   * Subtracted for each time that a token occurred.
   */
  frequency_penalty?: number;
  /**
   * How far back the penalties look; 0 can be said.
   */
  penalty_last_n?: number;
  /**
   * Same seed, same tokens.
   */
  seed?: number | bigint;
  /**
   * Tells apart sequences drawn with one seed.
   */
  sequence?: number | bigint;
  /**
   * Keep the tokens whose information is nearest to the entropy, with this probability; 0 can be
   * said.
   */
  typical_p?: number;
  /**
   * Drop tokens below this times the square of the likeliest one's probability.
   */
  top_a?: number;
  /**
   * Drop logits more than so many standard deviations below the largest; 0: none.
   */
  top_n_sigma?: number;
  /**
   * How often to drop the likeliest tokens but the last of those above the threshold.
   */
  xtc_probability?: number;
  /**
   * Probability from which XTC drops tokens; 0 can be said.
   */
  xtc_threshold?: number;
  /**
   * Penalty of a token that would go on with a repetition; 0: none.
   */
  dry_multiplier?: number;
  /**
   * The penalty's growth with each token repeated.
   */
  dry_base?: number;
  /**
   * Repetitions up to this length cost nothing more; 0 can be said.
   */
  dry_allowed_length?: number;
  /**
   * How far back DRY looks; 0: as far as there is text.
   */
  dry_last_n?: number;
  /**
   * The temperature moves so far up and down with the entropy; 0: it stays.
   */
  dynatemp_range?: number;
  /**
   * Of the entropy's share of the largest; 0 can be said.
   */
  dynatemp_exponent?: number;
  /**
   * Version of Mirostat; 0: none (0, 1, 2).
   */
  mirostat?: "0" | "1" | "2" | number;
  /**
   * Likeliest tokens that version 1 estimates from.
   */
  mirostat_m?: number;
  /**
   * Bits of surprise that Mirostat aims at; 0 can be said.
   */
  mirostat_tau?: number;
  /**
   * How fast Mirostat follows; 0 can be said.
   */
  mirostat_eta?: number;
  /**
   * Typical_p, top_p, min_p and XTC leave so many tokens at least.
   */
  min_keep?: number;
  /**
   * Names of the samplers in their order.
   */
  order?: string;
}

/** sm_generate_options. What is not set is the library's default. */
export interface TextOptions {
  /**
   * Tokens to generate at most; 0: until the context is full.
   */
  max_tokens?: number;
  /**
   * Parse special tokens written in the prompt.
   */
  parse_special?: boolean;
  /**
   * Leave out the BOS token.
   */
  no_bos?: boolean;
  /**
   * Go on after the end of the text.
   */
  ignore_end?: boolean;
  /**
   * Compute guessed tokens together with the chosen one; ngram: guessed from the text so far. The
   * result is the same (no, ngram).
   */
  speculate?: "no" | "ngram" | number;
  /**
   * Guessed at a time at most.
   */
  draft_tokens?: number;
  /**
   * When the context is full: stop; drop tokens and compute the rest again; drop them and keep the
   * rest's keys and values; ask the program (stop, slide, sinks, ask).
   */
  context_full?: "stop" | "slide" | "sinks" | "ask" | number;
  /**
   * First tokens that a full context keeps; 0: none, 4 of sinks.
   */
  n_keep?: number;
  /**
   * Dropped behind them at a time; 0: half of the others.
   */
  n_drop?: number;
  /**
   * Choose the prompt's last tokens anew where they are the beginning of longer ones.
   */
  heal?: boolean;
  /**
   * The text does not end before so many.
   */
  min_tokens?: number;
  /**
   * Likeliest tokens to tell the log-probabilities of, beside each that is chosen.
   */
  n_logprobs?: number;
  /**
   * Tell of the prompt's tokens, too, and of their log-probabilities.
   */
  echo?: boolean;
}

/** sm_model_info */
export interface ModelInfo {
  level: number;
  architecture: string;
  name: string;
  n_vocab: number;
  n_ctx_train: number;
  n_embd: number;
  n_layer: number;
  n_head: number;
  n_head_kv: number;
  head_dim: number;
  n_ff: number;
  n_params: number;
  weight_bytes: number;
  decode_bytes: number;
  packed_bytes: number;
  heap_bytes: number;
  heap_peak: number;
  n_allocs: number;
  packed_file_bytes: number;
  sliding_window: number;
}

/** sm_generate_stats */
export interface Stats {
  finish: number;
  prompt_tokens: number;
  reused_tokens: number;
  generated_tokens: number;
  prepare_seconds: number;
  prompt_seconds: number;
  first_token_seconds: number;
  generate_seconds: number;
  drafted_tokens: number;
  accepted_tokens: number;
  dropped_tokens: number;
  context_fulls: number;
  healed_tokens: number;
}

/** sm_encoder_info */
export interface EncoderInfo {
  pooling: number;
  n_dims: number;
  n_embd: number;
  max_tokens: number;
  n_labels: number;
}
