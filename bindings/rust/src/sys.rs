//! Declarations of libsmallmind. Made by scripts/bindings.py: do not edit.
#![allow(non_camel_case_types, missing_docs)]

use std::os::raw::{c_char, c_void};

pub const SM_OK: i32 = 0;
pub const SM_ERR_ARGUMENT: i32 = -1;
pub const SM_ERR_NOMEM: i32 = -2;
pub const SM_ERR_IO: i32 = -3;
pub const SM_ERR_FORMAT: i32 = -4;
pub const SM_ERR_MISSING: i32 = -5;
pub const SM_ERR_SHAPE: i32 = -6;
pub const SM_ERR_UNSUPPORTED: i32 = -7;
pub const SM_ERR_TOKEN: i32 = -8;
pub const SM_ERR_CONTEXT_FULL: i32 = -9;
pub const SM_ERR_CANCELLED: i32 = -10;
pub const SM_ERR_STATE: i32 = -11;
pub const SM_ERR_BUFFER: i32 = -12;
pub const SM_ERR_SYSTEM: i32 = -13;
pub const SM_ERR_DIVERGED: i32 = -14;
pub const SM_LOG_ERROR: u32 = 1;
pub const SM_LOG_WARN: u32 = 2;
pub const SM_LOG_INFO: u32 = 3;
pub const SM_ORIGIN_PATH: u32 = 0;
pub const SM_ORIGIN_MEMORY: u32 = 1;
pub const SM_ORIGIN_FD: u32 = 2;
pub const SM_ORIGIN_READ: u32 = 3;
pub const SM_LEVEL_AUTO: u32 = 0;
pub const SM_LEVEL_SCALAR: u32 = 1;
pub const SM_LEVEL_AVX2: u32 = 2;
pub const SM_LEVEL_AVX512: u32 = 3;
pub const SM_LEVEL_NEON: u32 = 4;
pub const SM_LEVEL_DOTPROD: u32 = 5;
pub const SM_LEVEL_AVXVNNI: u32 = 6;
pub const SM_LEVEL_I8MM: u32 = 7;
pub const SM_LEVEL_AVX512BF16: u32 = 8;
pub const SM_OPTION_U32: u32 = 1;
pub const SM_OPTION_U64: u32 = 2;
pub const SM_OPTION_F64: u32 = 3;
pub const SM_OPTION_ENUM: u32 = 4;
pub const SM_OPTION_POINTER: u32 = 5;
pub const SM_OPTION_BOOL: u32 = 6;
pub const SM_OPTION_STRING: u32 = 7;
pub const SM_OPTIONS_MODEL: u32 = 1;
pub const SM_OPTIONS_SESSION: u32 = 2;
pub const SM_OPTIONS_SAMPLING: u32 = 3;
pub const SM_OPTIONS_GENERATE: u32 = 4;
pub const SM_OPTIONS_QUANTIZE: u32 = 5;
pub const SM_OPTIONS_IMATRIX: u32 = 6;
pub const SM_OPTIONS_BATCH: u32 = 7;
pub const SM_OPTIONS_WATERMARK: u32 = 8;
pub const SM_OPTIONS_ADAPTER: u32 = 9;
pub const SM_OPTIONS_MERGE: u32 = 10;
pub const SM_OPTIONS_PACK: u32 = 11;
pub const SM_OPTIONS_FORK: u32 = 12;
pub const SM_OPTIONS_TRAINER: u32 = 16;
pub const SM_OPTIONS_INIT: u32 = 17;
pub const SM_OPTIONS_VOCABULARY: u32 = 18;
pub const SM_OPTIONS_EXPORT: u32 = 19;
pub const SM_IO_MAP: u32 = 0;
pub const SM_IO_READ: u32 = 1;
pub const SM_GGUF_HOLDS_MODEL: u32 = 1;
pub const SM_GGUF_HOLDS_PACKED: u32 = 2;
pub const SM_GGUF_HOLDS_VOCABULARY: u32 = 4;
pub const SM_GGUF_HOLDS_ADAPTER: u32 = 8;
pub const SM_GGUF_HOLDS_IMATRIX: u32 = 16;
pub const SM_GGUF_HOLDS_CHECKPOINT: u32 = 32;
pub const SM_GGUF_HOLDS_OTHER: u32 = 64;
pub const SM_TOKENIZER_BPE: u32 = 1;
pub const SM_TOKENIZER_SPM: u32 = 2;
pub const SM_TOKENIZER_WORDPIECE: u32 = 3;
pub const SM_TOKENIZER_UNIGRAM: u32 = 4;
pub const SM_TOKENIZER_CHARS: u32 = 5;
pub const SM_TOKENIZER_WORDLEVEL: u32 = 6;
pub const SM_ENCODE_SPECIAL: u32 = 1;
pub const SM_ENCODE_MARKERS: u32 = 2;
pub const SM_DECODE_SPECIAL: u32 = 1;
pub const SM_DECODE_KEEP_SPACE: u32 = 2;
pub const SM_DECODE_TEXT: u32 = 4;
pub const SM_CONSTRAINT_GBNF: u32 = 1;
pub const SM_CONSTRAINT_REGEX: u32 = 2;
pub const SM_CONSTRAINT_GRAMMAR: u32 = 3;
pub const SM_SPACES_NONE: u32 = 0;
pub const SM_SPACES_ONE: u32 = 1;
pub const SM_SPACES_ANY: u32 = 2;
pub const SM_SCHEMA_ANY_ORDER: u32 = 1;
pub const SM_SCHEMA_UNKNOWN: u32 = 2;
pub const SM_REPACK_LAZY: u32 = 0;
pub const SM_REPACK_NONE: u32 = 1;
pub const SM_ACTIVATIONS_FAST: u32 = 0;
pub const SM_ACTIVATIONS_FLOAT: u32 = 1;
pub const SM_KV_TYPE_F16: u32 = 0;
pub const SM_KV_TYPE_F32: u32 = 1;
pub const SM_KV_TYPE_BF16: u32 = 2;
pub const SM_KV_TYPE_Q8_0: u32 = 3;
pub const SM_KV_TYPE_Q4_0: u32 = 4;
pub const SM_KV_TYPE_Q5_0: u32 = 5;
pub const SM_KV_TYPE_IQ4_NL: u32 = 6;
pub const SM_KV_KEEP_WINDOW: u32 = 0;
pub const SM_KV_KEEP_ALL: u32 = 1;
pub const SM_MAX_LOGPROBS: u32 = 20;
pub const SM_SAMPLER_PENALTIES: u32 = 1;
pub const SM_SAMPLER_DRY: u32 = 2;
pub const SM_SAMPLER_TOP_N_SIGMA: u32 = 3;
pub const SM_SAMPLER_TOP_K: u32 = 4;
pub const SM_SAMPLER_TYPICAL: u32 = 5;
pub const SM_SAMPLER_TOP_P: u32 = 6;
pub const SM_SAMPLER_MIN_P: u32 = 7;
pub const SM_SAMPLER_TOP_A: u32 = 8;
pub const SM_SAMPLER_XTC: u32 = 9;
pub const SM_SAMPLER_TEMPERATURE: u32 = 10;
pub const SM_SAMPLER_MIROSTAT: u32 = 11;
pub const SM_WATERMARK_LEFT: u32 = 0;
pub const SM_WATERMARK_SELF: u32 = 1;
pub const SM_CONTEXT_STOP: u32 = 0;
pub const SM_CONTEXT_SLIDE: u32 = 1;
pub const SM_CONTEXT_SINKS: u32 = 2;
pub const SM_CONTEXT_ASK: u32 = 3;
pub const SM_SPECULATE_NO: u32 = 0;
pub const SM_SPECULATE_NGRAM: u32 = 1;
pub const SM_FINISH_NONE: u32 = 0;
pub const SM_FINISH_END: u32 = 1;
pub const SM_FINISH_STOP: u32 = 2;
pub const SM_FINISH_LENGTH: u32 = 3;
pub const SM_FINISH_CANCELLED: u32 = 4;
pub const SM_FINISH_CONTEXT: u32 = 5;
pub const SM_FINISH_ERROR: u32 = 6;
pub const SM_DELTA_CONTENT: u32 = 1;
pub const SM_DELTA_REASONING: u32 = 2;
pub const SM_DELTA_CALL: u32 = 3;
pub const SM_DELTA_END: u32 = 4;
pub const SM_MAX_ADAPTERS: u32 = 16;
pub const SM_FAMILY_LLAMA: u32 = 0;
pub const SM_FAMILY_QWEN2: u32 = 1;
pub const SM_FAMILY_QWEN3: u32 = 2;
pub const SM_DATA_FILE_AUTO: u32 = 0;
pub const SM_DATA_FILE_TEXT: u32 = 1;
pub const SM_DATA_FILE_INSTRUCT: u32 = 2;
pub const SM_DATA_FILE_CHOSEN: u32 = 3;
pub const SM_LAYOUT_ALPACA: u32 = 0;
pub const SM_LAYOUT_CHATML: u32 = 1;
pub const SM_OPTIMIZER_ADAMW: u32 = 0;
pub const SM_OPTIMIZER_LION: u32 = 1;
pub const SM_OPTIMIZER_ADAFACTOR: u32 = 2;
pub const SM_OPTIMIZER_SGD: u32 = 3;
pub const SM_LR_COSINE: u32 = 0;
pub const SM_LR_CONSTANT: u32 = 1;
pub const SM_LR_LINEAR: u32 = 2;
pub const SM_LR_POLYNOMIAL: u32 = 3;
pub const SM_LR_INVERSE_SQRT: u32 = 4;
pub const SM_LR_WSD: u32 = 5;
pub const SM_LR_RESTARTS: u32 = 6;
pub const SM_TRAIN_F32: u32 = 0;
pub const SM_TRAIN_BF16: u32 = 1;
pub const SM_VERSION_MAJOR: u32 = 0;
pub const SM_VERSION_MINOR: u32 = 1;
pub const SM_VERSION_PATCH: u32 = 0;
pub const SM_ABI: u32 = 0;
pub const SM_ZERO: f64 = -1.0;
pub const SM_ZERO_U32: u32 = u32::MAX;
pub const SM_NAME_NONE: u32 = u32::MAX;
pub const SM_ZT: u64 = u64::MAX;

pub type sm_status = i32;

#[repr(C)]
pub struct sm_cancel {
    _private: [u8; 0],
}

#[repr(C)]
pub struct sm_gguf {
    _private: [u8; 0],
}

#[repr(C)]
pub struct sm_tokenizer {
    _private: [u8; 0],
}

#[repr(C)]
pub struct sm_detokenizer {
    _private: [u8; 0],
}

#[repr(C)]
pub struct sm_constraint {
    _private: [u8; 0],
}

#[repr(C)]
pub struct sm_constraint_state {
    _private: [u8; 0],
}

#[repr(C)]
pub struct sm_model {
    _private: [u8; 0],
}

#[repr(C)]
pub struct sm_session {
    _private: [u8; 0],
}

#[repr(C)]
pub struct sm_chat {
    _private: [u8; 0],
}

#[repr(C)]
pub struct sm_reply {
    _private: [u8; 0],
}

#[repr(C)]
pub struct sm_batch {
    _private: [u8; 0],
}

#[repr(C)]
pub struct sm_imatrix {
    _private: [u8; 0],
}

#[repr(C)]
pub struct sm_adapter {
    _private: [u8; 0],
}

#[repr(C)]
pub struct sm_trainer {
    _private: [u8; 0],
}

pub type sm_done_fn = Option<unsafe extern "C" fn(user: *mut c_void)>;
pub type sm_alloc_fn = Option<unsafe extern "C" fn(user: *mut c_void, size: u64, align: u64) -> *mut c_void>;
pub type sm_release_fn = Option<unsafe extern "C" fn(user: *mut c_void, ptr: *mut c_void, size: u64, align: u64)>;
pub type sm_log_fn = Option<unsafe extern "C" fn(user: *mut c_void, severity: i32, message: *const c_char)>;
pub type sm_progress_fn = Option<unsafe extern "C" fn(user: *mut c_void, done: u64, total: u64) -> i32>;
pub type sm_cancel_fn = Option<unsafe extern "C" fn(user: *mut c_void) -> i32>;
pub type sm_read_fn = Option<unsafe extern "C" fn(user: *mut c_void, offset: u64, to: *mut c_void, n: u64) -> i64>;
pub type sm_context_fn = Option<unsafe extern "C" fn(user: *mut c_void, full: *mut sm_context_full) -> i32>;
pub type sm_token_fn = Option<unsafe extern "C" fn(user: *mut c_void, token: *const sm_token) -> i32>;
pub type sm_delta_fn = Option<unsafe extern "C" fn(user: *mut c_void, delta: *const sm_delta) -> i32>;
pub type sm_quantize_tensor_fn = Option<unsafe extern "C" fn(user: *mut c_void, tensor: *const sm_quantize_tensor) -> i32>;
pub type sm_train_step_fn = Option<unsafe extern "C" fn(user: *mut c_void, metrics: *const sm_train_metrics) -> i32>;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_text {
    pub text: *const c_char,
    pub length: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_error {
    pub code: sm_status,
    pub system: i32,
    pub message: [c_char; 504],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_build_info {
    pub struct_size: u32,
    pub abi: u32,
    pub version_number: u32,
    pub level: u32,
    pub version: *const c_char,
    pub families: *const c_char,
    pub types: *const c_char,
    pub features: *const c_char,
    pub levels: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_allocator {
    pub struct_size: u32,
    pub reserved: u32,
    pub alloc: sm_alloc_fn,
    pub release: sm_release_fn,
    pub user: *mut c_void,
    pub done: sm_done_fn,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_logger {
    pub struct_size: u32,
    pub reserved: u32,
    pub log: sm_log_fn,
    pub user: *mut c_void,
    pub done: sm_done_fn,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_origin {
    pub struct_size: u32,
    pub kind: u32,
    pub name: *const c_char,
    pub data: *const c_void,
    pub read: sm_read_fn,
    pub done: sm_done_fn,
    pub user: *mut c_void,
    pub offset: u64,
    pub size: u64,
    pub fd: i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_option {
    pub struct_size: u32,
    pub r#type: u32,
    pub offset: u32,
    pub reserved: u32,
    pub name: *const c_char,
    pub names: *const c_char,
    pub unit: *const c_char,
    pub doc: *const c_char,
    pub min: f64,
    pub max: f64,
    pub fallback: f64,
    pub zero: f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_gguf_options {
    pub struct_size: u32,
    pub io: u32,
    pub allocator: *const sm_allocator,
    pub progress: sm_progress_fn,
    pub progress_user: *mut c_void,
    pub cancel_flag: *mut sm_cancel,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_gguf_info {
    pub struct_size: u32,
    pub version: u32,
    pub alignment: u32,
    pub n_files: u32,
    pub n_keys: u64,
    pub n_tensors: u64,
    pub n_elements: u64,
    pub data_bytes: u64,
    pub holds: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_gguf_tensor_info {
    pub struct_size: u32,
    pub r#type: u32,
    pub name: *const c_char,
    pub type_name: *const c_char,
    pub n_dims: u32,
    pub file: u32,
    pub dims: [u64; 4],
    pub offset: u64,
    pub size: u64,
    pub packed: u32,
    pub weight_type: u32,
    pub weight_type_name: *const c_char,
    pub weight_dims: [u64; 4],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_tokenizer_options {
    pub struct_size: u32,
    pub reserved: u32,
    pub allocator: *const sm_allocator,
    pub cancel: sm_cancel_fn,
    pub cancel_user: *mut c_void,
    pub log: *const sm_logger,
    pub cancel_flag: *mut sm_cancel,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_tokenizer_info {
    pub struct_size: u32,
    pub kind: u32,
    pub n_vocab: i32,
    pub bos: i32,
    pub eos: i32,
    pub unk: i32,
    pub sep: i32,
    pub pad: i32,
    pub mask: i32,
    pub eot: i32,
    pub add_bos: i32,
    pub add_eos: i32,
    pub pre: [c_char; 64],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_encode_options {
    pub struct_size: u32,
    pub flags: u32,
    pub cancel: sm_cancel_fn,
    pub cancel_user: *mut c_void,
    pub cancel_flag: *mut sm_cancel,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_constraint_options {
    pub struct_size: u32,
    pub reserved: u32,
    pub triggers: *const sm_text,
    pub allocator: *const sm_allocator,
    pub n_triggers: u64,
    pub memory_limit: u64,
    pub cancel: sm_cancel_fn,
    pub cancel_user: *mut c_void,
    pub cancel_flag: *mut sm_cancel,
    pub reserved_pointer: *mut c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_schema_options {
    pub struct_size: u32,
    pub draft: u32,
    pub spaces: u32,
    pub max_spaces: u32,
    pub flags: u32,
    pub reserved: u32,
    pub cancel: sm_cancel_fn,
    pub cancel_user: *mut c_void,
    pub cancel_flag: *mut sm_cancel,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_model_options {
    pub struct_size: u32,
    pub io: u32,
    pub level: u32,
    pub repack: u32,
    pub activations: u32,
    pub reserved: u32,
    pub allocator: *const sm_allocator,
    pub log: *const sm_logger,
    pub progress: sm_progress_fn,
    pub progress_user: *mut c_void,
    pub cancel_flag: *mut sm_cancel,
    pub memory_limit: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_model_info {
    pub struct_size: u32,
    pub level: u32,
    pub architecture: *const c_char,
    pub name: *const c_char,
    pub n_vocab: i32,
    pub n_ctx_train: i32,
    pub n_embd: i32,
    pub n_layer: i32,
    pub n_head: i32,
    pub n_head_kv: i32,
    pub head_dim: i32,
    pub n_ff: i32,
    pub n_params: u64,
    pub weight_bytes: u64,
    pub decode_bytes: u64,
    pub packed_bytes: u64,
    pub heap_bytes: u64,
    pub heap_peak: u64,
    pub n_allocs: u64,
    pub packed_file_bytes: u64,
    pub sliding_window: i32,
    pub reserved: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_pack_options {
    pub struct_size: u32,
    pub reserved: u32,
    pub progress: sm_progress_fn,
    pub progress_user: *mut c_void,
    pub cancel_flag: *mut sm_cancel,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_session_options {
    pub struct_size: u32,
    pub n_ctx: u32,
    pub n_threads: u32,
    pub n_batch: u32,
    pub kv_type: u32,
    pub pin: u32,
    pub kv_keep: u32,
    pub reserved: u32,
    pub cancel_flag: *mut sm_cancel,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_fork_options {
    pub struct_size: u32,
    pub n_threads: u32,
    pub cancel_flag: *mut sm_cancel,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_session_info {
    pub struct_size: u32,
    pub length: u32,
    pub n_ctx: u32,
    pub n_threads: u32,
    pub n_batch: u32,
    pub kv_type: u32,
    pub kv_keep: u32,
    pub n_vocab: i32,
    pub cache_bytes: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_token_logprob {
    pub id: i32,
    pub reserved: i32,
    pub logprob: f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_logit_bias {
    pub token: i32,
    pub reserved: i32,
    pub bias: f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_sampler_info {
    pub struct_size: u32,
    pub sampler: u32,
    pub n_parameters: u32,
    pub reserved: u32,
    pub name: *const c_char,
    pub other_names: *const c_char,
    pub parameters: *const c_char,
    pub fields: *const c_char,
    pub doc: *const c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_sampling_step {
    pub sampler: u32,
    pub min_keep: u32,
    pub value: [f64; 4],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_watermark {
    pub struct_size: u32,
    pub seeding: u32,
    pub width: u32,
    pub reserved: u32,
    pub gamma: f64,
    pub delta: f64,
    pub key: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_watermark_score {
    pub struct_size: u32,
    pub reserved: u32,
    pub n_scored: u64,
    pub n_green: u64,
    pub n_repeated: u64,
    pub z: f64,
    pub p: f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_sampling {
    pub struct_size: u32,
    pub top_k: u32,
    pub temperature: f64,
    pub top_p: f64,
    pub min_p: f64,
    pub repeat_penalty: f64,
    pub presence_penalty: f64,
    pub frequency_penalty: f64,
    pub penalty_last_n: u32,
    pub reserved: u32,
    pub seed: u64,
    pub sequence: u64,
    pub bias: *const sm_logit_bias,
    pub n_bias: u64,
    pub typical_p: f64,
    pub top_a: f64,
    pub top_n_sigma: f64,
    pub xtc_probability: f64,
    pub xtc_threshold: f64,
    pub dry_multiplier: f64,
    pub dry_base: f64,
    pub dry_allowed_length: u32,
    pub dry_last_n: u32,
    pub dry_breakers: *const i32,
    pub n_dry_breakers: u64,
    pub dynatemp_range: f64,
    pub dynatemp_exponent: f64,
    pub mirostat: u32,
    pub mirostat_m: u32,
    pub mirostat_tau: f64,
    pub mirostat_eta: f64,
    pub min_keep: u32,
    pub n_steps: u32,
    pub steps: *const sm_sampling_step,
    pub order: *const c_char,
    pub mask: *const u32,
    pub watermark: *const sm_watermark,
    pub logits: *const f32,
    pub dry_breaker_texts: *const sm_text,
    pub n_dry_breaker_texts: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_choice {
    pub struct_size: u32,
    pub id: i32,
    pub logprob: f64,
    pub rank: u64,
    pub top: *mut sm_token_logprob,
    pub n_top: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_context_full {
    pub struct_size: u32,
    pub policy: u32,
    pub n_ctx: u32,
    pub n_keep: u32,
    pub ids: *const i32,
    pub replacement: *mut i32,
    pub n_replacement: u32,
    pub reserved: u32,
    pub n_ids: u64,
    pub n_dropped: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_generate_options {
    pub struct_size: u32,
    pub max_tokens: u32,
    pub sampling: *const sm_sampling,
    pub stop: *const sm_text,
    pub parse_special: u32,
    pub no_bos: u32,
    pub ignore_end: u32,
    pub speculate: u32,
    pub draft_tokens: u32,
    pub draft: *mut sm_session,
    pub context_full: u32,
    pub n_keep: u32,
    pub n_drop: u32,
    pub heal: u32,
    pub on_context_full: sm_context_fn,
    pub context_full_user: *mut c_void,
    pub constraint: *mut sm_constraint,
    pub cancel_flag: *mut sm_cancel,
    pub ban: *const sm_text,
    pub min_tokens: u32,
    pub n_logprobs: u32,
    pub echo: u32,
    pub n_stop: u64,
    pub n_ban: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_token {
    pub struct_size: u32,
    pub id: i32,
    pub logprob: f64,
    pub text: *const c_char,
    pub length: u64,
    pub top: *const sm_token_logprob,
    pub n_top: u64,
    pub in_prompt: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_generate_stats {
    pub struct_size: u32,
    pub finish: u32,
    pub prompt_tokens: u32,
    pub reused_tokens: u32,
    pub generated_tokens: u32,
    pub reserved: u32,
    pub prepare_seconds: f64,
    pub prompt_seconds: f64,
    pub first_token_seconds: f64,
    pub generate_seconds: f64,
    pub drafted_tokens: u64,
    pub accepted_tokens: u64,
    pub dropped_tokens: u64,
    pub context_fulls: u64,
    pub healed_tokens: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_chat_options {
    pub struct_size: u32,
    pub reserved: u32,
    pub template_text: *const c_char,
    pub template_name: *const c_char,
    pub bos: *const c_char,
    pub eos: *const c_char,
    pub allocator: *const sm_allocator,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_render_options {
    pub struct_size: u32,
    pub no_generation_prompt: u32,
    pub variables: *const c_char,
    pub cancel: sm_cancel_fn,
    pub cancel_user: *mut c_void,
    pub cancel_flag: *mut sm_cancel,
    pub clock: i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_reply_options {
    pub struct_size: u32,
    pub first_call: u32,
    pub format: *const c_char,
    pub template_text: *const c_char,
    pub prompt_end: *const c_char,
    pub tools: *const c_char,
    pub allocator: *const sm_allocator,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_delta {
    pub struct_size: u32,
    pub kind: u32,
    pub text: *const c_char,
    pub length: u64,
    pub name: *const c_char,
    pub id: *const c_char,
    pub json: *const c_char,
    pub json_length: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_reply_info {
    pub struct_size: u32,
    pub n_calls: u32,
    pub malformed: u32,
    pub reasoning: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_answer_options {
    pub struct_size: u32,
    pub reserved: u32,
    pub tool_choice: *const c_char,
    pub generate: *const sm_generate_options,
    pub format: *const c_char,
    pub variables: *const c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_batch_options {
    pub struct_size: u32,
    pub n_threads: u32,
    pub n_sequences: u32,
    pub n_batch: u32,
    pub n_ctx: u32,
    pub pin: u32,
    pub cancel_flag: *mut sm_cancel,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_batch_item {
    pub struct_size: u32,
    pub reserved: u32,
    pub session: *mut sm_session,
    pub ids: *const i32,
    pub logits: *mut f32,
    pub n_ids: u64,
    pub n_logits: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_batch_text {
    pub struct_size: u32,
    pub reserved: u32,
    pub session: *mut sm_session,
    pub prompt: *const c_char,
    pub options: *const sm_generate_options,
    pub on_token: sm_token_fn,
    pub user: *mut c_void,
    pub length: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_quantize_override {
    pub struct_size: u32,
    pub reserved: u32,
    pub pattern: *const c_char,
    pub r#type: *const c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_quantize_tensor {
    pub struct_size: u32,
    pub fallback: u32,
    pub name: *const c_char,
    pub from: *const c_char,
    pub to: *const c_char,
    pub n_weights: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub rms: f64,
    pub rmse: f64,
    pub copied: u32,
    pub by_imatrix: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_quantize_options {
    pub struct_size: u32,
    pub n_threads: u32,
    pub r#type: *const c_char,
    pub imatrix: *const c_char,
    pub overrides: *const sm_quantize_override,
    pub n_overrides: u32,
    pub pure: u32,
    pub requantize: u32,
    pub level: u32,
    pub allocator: *const sm_allocator,
    pub progress: sm_progress_fn,
    pub progress_user: *mut c_void,
    pub on_tensor: sm_quantize_tensor_fn,
    pub on_tensor_user: *mut c_void,
    pub cancel_flag: *mut sm_cancel,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_quantize_result {
    pub struct_size: u32,
    pub n_quantized: u32,
    pub n_fallback: u32,
    pub n_imatrix: u32,
    pub n_tensors: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_imatrix_options {
    pub struct_size: u32,
    pub n_ctx: u32,
    pub n_threads: u32,
    pub reserved: u32,
    pub cancel_flag: *mut sm_cancel,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_adapter_options {
    pub struct_size: u32,
    pub reserved: u32,
    pub progress: sm_progress_fn,
    pub progress_user: *mut c_void,
    pub cancel_flag: *mut sm_cancel,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_merge_options {
    pub struct_size: u32,
    pub reserved: u32,
    pub r#type: *const c_char,
    pub progress: sm_progress_fn,
    pub progress_user: *mut c_void,
    pub cancel_flag: *mut sm_cancel,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_adapter_info {
    pub struct_size: u32,
    pub n_matrices: u32,
    pub max_rank: u32,
    pub reserved: u32,
    pub alpha: f64,
    pub n_weights: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_vocabulary_options {
    pub struct_size: u32,
    pub n_vocab: u32,
    pub separator: *const c_char,
    pub pre: *const c_char,
    pub progress: sm_progress_fn,
    pub progress_user: *mut c_void,
    pub cancel_flag: *mut sm_cancel,
    pub min_count: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_model_init_options {
    pub struct_size: u32,
    pub n_embd: u32,
    pub n_layer: u32,
    pub n_head: u32,
    pub n_head_kv: u32,
    pub n_ff: u32,
    pub n_ctx: u32,
    pub untied: u32,
    pub family: u32,
    pub sliding_window: u32,
    pub seed: u64,
    pub rope_theta: f64,
    pub name: *const c_char,
    pub progress: sm_progress_fn,
    pub progress_user: *mut c_void,
    pub cancel_flag: *mut sm_cancel,
    pub architecture: *const c_char,
    pub allocator: *const sm_allocator,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_trainer_options {
    pub struct_size: u32,
    pub n_threads: u32,
    pub data: *const c_char,
    pub more_data: *const *const c_char,
    pub n_more_data: u64,
    pub separator: *const c_char,
    pub validation: f64,
    pub data_kind: u32,
    pub layout: u32,
    pub loss_on_prompt: u32,
    pub sequence: u32,
    pub rows: u32,
    pub accumulate: u32,
    pub steps: u64,
    pub epochs: f64,
    pub seed: u64,
    pub optimizer: u32,
    pub state_8bit: u32,
    pub lr: f64,
    pub min_lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    pub expert_balance: f64,
    pub momentum: f64,
    pub clip: f64,
    pub no_clip: u32,
    pub schedule: u32,
    pub warmup: u64,
    pub power: f64,
    pub decay_part: f64,
    pub cycle: u64,
    pub cycle_growth: f64,
    pub precision: u32,
    pub checkpoint_layers: u32,
    pub level: u32,
    pub lora_rank: u32,
    pub lora_alpha: f64,
    pub lora_dropout: f64,
    pub lora_rs: u32,
    pub openblas: u32,
    pub lora_targets: *const c_char,
    pub allocator: *const sm_allocator,
    pub progress: sm_progress_fn,
    pub progress_user: *mut c_void,
    pub log: *const sm_logger,
    pub cancel_flag: *mut sm_cancel,
    pub memory_limit: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_trainer_info {
    pub struct_size: u32,
    pub level: u32,
    pub n_threads: u32,
    pub n_vocab: u32,
    pub n_params: u64,
    pub steps: u64,
    pub step: u64,
    pub tokens: u64,
    pub epoch: u64,
    pub train_documents: u64,
    pub validation_documents: u64,
    pub train_bytes: u64,
    pub validation_bytes: u64,
    pub heap_bytes: u64,
    pub heap_peak: u64,
    pub epochs: f64,
    pub updating: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_train_metrics {
    pub struct_size: u32,
    pub reserved: u32,
    pub step: u64,
    pub loss: f64,
    pub grad_norm: f64,
    pub lr: f64,
    pub targets: u64,
    pub seconds: f64,
    pub tokens: u64,
    pub expert_balance: f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_train_evaluation {
    pub struct_size: u32,
    pub reserved: u32,
    pub loss: f64,
    pub bits_per_byte: f64,
    pub targets: u64,
    pub seconds: f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_checkpoint_info {
    pub struct_size: u32,
    pub reserved: u32,
    pub step: u64,
    pub steps: u64,
    pub tokens: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_export_options {
    pub struct_size: u32,
    pub reserved: u32,
    pub r#type: *const c_char,
}

extern "C" {
    pub fn sm_status_text(status: sm_status) -> *const c_char;
    pub fn sm_version() -> *const c_char;
    pub fn sm_version_number() -> u32;
    pub fn sm_abi() -> u32;
    pub fn sm_build_get_info(info: *mut sm_build_info, error: *mut sm_error) -> sm_status;
    pub fn sm_text_escape(text: *const c_char, length: u64, out: *mut c_char, capacity: u64) -> u64;
    pub fn sm_cancel_new(out: *mut *mut sm_cancel, error: *mut sm_error) -> sm_status;
    pub fn sm_cancel_set(cancel: *mut sm_cancel, on: i32);
    pub fn sm_cancel_is_set(cancel: *const sm_cancel) -> i32;
    pub fn sm_cancel_free(cancel: *mut sm_cancel);
    pub fn sm_level_name(level: u32) -> *const c_char;
    pub fn sm_level_from_name(name: *const c_char) -> u32;
    pub fn sm_level_best(cap: u32) -> u32;
    pub fn sm_cpu_count() -> u32;
    pub fn sm_names_find(names: *const c_char, name: *const c_char, nearest: *mut u32) -> u32;
    pub fn sm_names_get(names: *const c_char, i: u32, length: *mut u32) -> *const c_char;
    pub fn sm_options_name(options_struct: u32) -> *const c_char;
    pub fn sm_options_count(options_struct: u32) -> u32;
    pub fn sm_options_get(options_struct: u32, i: u32, option: *mut sm_option, error: *mut sm_error) -> sm_status;
    pub fn sm_gguf_load(out: *mut *mut sm_gguf, path: *const c_char, options: *const sm_gguf_options, error: *mut sm_error) -> sm_status;
    pub fn sm_gguf_load_from(out: *mut *mut sm_gguf, origin: *const sm_origin, options: *const sm_gguf_options, error: *mut sm_error) -> sm_status;
    pub fn sm_gguf_free(gguf: *mut sm_gguf);
    pub fn sm_gguf_get_info(gguf: *const sm_gguf, info: *mut sm_gguf_info, error: *mut sm_error) -> sm_status;
    pub fn sm_gguf_get_key(gguf: *const sm_gguf, i: u64, name: *mut *const c_char, r#type: *mut *const c_char, error: *mut sm_error) -> sm_status;
    pub fn sm_gguf_get_value(gguf: *const sm_gguf, i: u64, max_items: u64, text: *mut c_char, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_gguf_get_tensor(gguf: *const sm_gguf, i: u64, info: *mut sm_gguf_tensor_info, error: *mut sm_error) -> sm_status;
    pub fn sm_tokenizer_load(out: *mut *mut sm_tokenizer, path: *const c_char, options: *const sm_tokenizer_options, error: *mut sm_error) -> sm_status;
    pub fn sm_tokenizer_load_from(out: *mut *mut sm_tokenizer, origin: *const sm_origin, options: *const sm_tokenizer_options, error: *mut sm_error) -> sm_status;
    pub fn sm_tokenizer_free(tokenizer: *mut sm_tokenizer);
    pub fn sm_tokenizer_get_info(tokenizer: *const sm_tokenizer, info: *mut sm_tokenizer_info, error: *mut sm_error) -> sm_status;
    pub fn sm_tokenizer_encode(tokenizer: *const sm_tokenizer, text: *const c_char, length: u64, options: *const sm_encode_options, ids: *mut i32, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_tokenizer_encode_pair(tokenizer: *const sm_tokenizer, first: *const c_char, first_length: u64, second: *const c_char, second_length: u64, options: *const sm_encode_options, ids: *mut i32, type_ids: *mut i32, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_tokenizer_decode(tokenizer: *const sm_tokenizer, ids: *const i32, n_ids: u64, flags: u32, text: *mut c_char, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_tokenizer_token_text(tokenizer: *const sm_tokenizer, id: i32, length: *mut u64) -> *const c_char;
    pub fn sm_tokenizer_find(tokenizer: *const sm_tokenizer, text: *const c_char, length: u64) -> i32;
    pub fn sm_tokenizer_is_end(tokenizer: *const sm_tokenizer, id: i32) -> i32;
    pub fn sm_detokenizer_new(out: *mut *mut sm_detokenizer, tokenizer: *const sm_tokenizer, flags: u32, error: *mut sm_error) -> sm_status;
    pub fn sm_detokenizer_free(detokenizer: *mut sm_detokenizer);
    pub fn sm_detokenizer_feed(detokenizer: *mut sm_detokenizer, id: i32, piece: *mut *const c_char, length: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_detokenizer_flush(detokenizer: *mut sm_detokenizer, piece: *mut *const c_char, length: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_detokenizer_reset(detokenizer: *mut sm_detokenizer, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_new(out: *mut *mut sm_constraint, tokenizer: *const sm_tokenizer, kind: u32, text: *const c_char, length: u64, options: *const sm_constraint_options, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_new_choices(out: *mut *mut sm_constraint, tokenizer: *const sm_tokenizer, texts: *const sm_text, n: u64, options: *const sm_constraint_options, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_new_schema(out: *mut *mut sm_constraint, tokenizer: *const sm_tokenizer, text: *const c_char, length: u64, schema_options: *const sm_schema_options, options: *const sm_constraint_options, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_free(constraint: *mut sm_constraint);
    pub fn sm_constraint_state_new(out: *mut *mut sm_constraint_state, constraint: *mut sm_constraint, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_state_fork(out: *mut *mut sm_constraint_state, state: *const sm_constraint_state, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_state_free(state: *mut sm_constraint_state);
    pub fn sm_constraint_mask(state: *mut sm_constraint_state, mask: *mut u32, n_words: u64, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_accept(state: *mut sm_constraint_state, id: i32, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_accept_text(state: *mut sm_constraint_state, text: *const c_char, length: u64, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_forced_text(state: *mut sm_constraint_state, text: *mut c_char, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_forced(state: *mut sm_constraint_state, ids: *mut i32, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_can_end(state: *const sm_constraint_state) -> i32;
    pub fn sm_constraint_ended(state: *mut sm_constraint_state) -> i32;
    pub fn sm_constraint_rewind(state: *mut sm_constraint_state, n: u64, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_reset(state: *mut sm_constraint_state, error: *mut sm_error) -> sm_status;
    pub fn sm_model_load(out: *mut *mut sm_model, path: *const c_char, options: *const sm_model_options, error: *mut sm_error) -> sm_status;
    pub fn sm_model_load_from(out: *mut *mut sm_model, origin: *const sm_origin, options: *const sm_model_options, error: *mut sm_error) -> sm_status;
    pub fn sm_model_free(model: *mut sm_model);
    pub fn sm_model_get_info(model: *const sm_model, info: *mut sm_model_info, error: *mut sm_error) -> sm_status;
    pub fn sm_model_save_packed(model: *const sm_model, path: *const c_char, options: *const sm_pack_options, error: *mut sm_error) -> sm_status;
    pub fn sm_model_get_tokenizer(model: *const sm_model, out: *mut *mut sm_tokenizer, error: *mut sm_error) -> sm_status;
    pub fn sm_session_new(out: *mut *mut sm_session, model: *const sm_model, options: *const sm_session_options, error: *mut sm_error) -> sm_status;
    pub fn sm_session_free(session: *mut sm_session);
    pub fn sm_session_fork(out: *mut *mut sm_session, session: *const sm_session, options: *const sm_fork_options, error: *mut sm_error) -> sm_status;
    pub fn sm_session_save(session: *const sm_session, path: *const c_char, error: *mut sm_error) -> sm_status;
    pub fn sm_session_restore(session: *mut sm_session, path: *const c_char, error: *mut sm_error) -> sm_status;
    pub fn sm_session_save_bytes(session: *const sm_session, buffer: *mut c_void, capacity: u64, size: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_session_restore_bytes(session: *mut sm_session, data: *const c_void, size: u64, error: *mut sm_error) -> sm_status;
    pub fn sm_session_length(session: *const sm_session) -> u32;
    pub fn sm_session_read_bytes(session: *const sm_session, position: u32) -> u64;
    pub fn sm_session_get_info(session: *const sm_session, info: *mut sm_session_info, error: *mut sm_error) -> sm_status;
    pub fn sm_session_tokens(session: *const sm_session, begin: u32, ids: *mut i32, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_session_set_cancel(session: *mut sm_session, cancel: sm_cancel_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    pub fn sm_session_feed(session: *mut sm_session, ids: *const i32, n: u64, error: *mut sm_error) -> sm_status;
    pub fn sm_session_feed_logits(session: *mut sm_session, ids: *const i32, n: u64, logits: *mut f32, capacity: u64, error: *mut sm_error) -> sm_status;
    pub fn sm_session_feed_logprobs(session: *mut sm_session, ids: *const i32, n: u64, n_top: u32, logprobs: *mut f64, top: *mut sm_token_logprob, error: *mut sm_error) -> sm_status;
    pub fn sm_session_sync(session: *mut sm_session, ids: *const i32, n: u64, reused: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_session_rewind(session: *mut sm_session, length: u32, error: *mut sm_error) -> sm_status;
    pub fn sm_session_drop(session: *mut sm_session, begin: u32, end: u32, error: *mut sm_error) -> sm_status;
    pub fn sm_session_drop_turns(session: *mut sm_session, turns: *const u32, n_turns: u32, keep: u32, room: u32, n_dropped: *mut u32, error: *mut sm_error) -> sm_status;
    pub fn sm_session_logits(session: *const sm_session, logits: *mut *const f32, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_sampler_count() -> u32;
    pub fn sm_sampler_get_info(i: u32, info: *mut sm_sampler_info, error: *mut sm_error) -> sm_status;
    pub fn sm_watermark_detect(watermark: *const sm_watermark, ids: *const i32, n: u64, score: *mut sm_watermark_score, error: *mut sm_error) -> sm_status;
    pub fn sm_session_sample(session: *mut sm_session, sampling: *const sm_sampling, choice: *mut sm_choice, error: *mut sm_error) -> sm_status;
    pub fn sm_session_generate(session: *mut sm_session, prompt: *const c_char, length: u64, options: *const sm_generate_options, on_token: sm_token_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    pub fn sm_session_get_stats(session: *const sm_session, stats: *mut sm_generate_stats, error: *mut sm_error) -> sm_status;
    pub fn sm_chat_new(out: *mut *mut sm_chat, options: *const sm_chat_options, error: *mut sm_error) -> sm_status;
    pub fn sm_chat_new_from_model(out: *mut *mut sm_chat, model: *const sm_model, options: *const sm_chat_options, error: *mut sm_error) -> sm_status;
    pub fn sm_chat_free(chat: *mut sm_chat);
    pub fn sm_chat_template_text(chat: *const sm_chat) -> *const c_char;
    pub fn sm_chat_reply_format(chat: *const sm_chat) -> *const c_char;
    pub fn sm_chat_layouts_list() -> *const c_char;
    pub fn sm_chat_render(chat: *const sm_chat, messages: *const c_char, tools: *const c_char, options: *const sm_render_options, text: *mut c_char, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_chat_encode(chat: *const sm_chat, tokenizer: *const sm_tokenizer, messages: *const c_char, tools: *const c_char, options: *const sm_render_options, ids: *mut i32, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_chat_prompt_end(chat: *const sm_chat, messages: *const c_char, tools: *const c_char, options: *const sm_render_options, text: *mut c_char, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_reply_new(out: *mut *mut sm_reply, options: *const sm_reply_options, error: *mut sm_error) -> sm_status;
    pub fn sm_reply_free(reply: *mut sm_reply);
    pub fn sm_reply_feed(reply: *mut sm_reply, text: *const c_char, length: u64, on_delta: sm_delta_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    pub fn sm_reply_finish(reply: *mut sm_reply, on_delta: sm_delta_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    pub fn sm_reply_message(reply: *mut sm_reply, json: *mut c_char, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_reply_get_info(reply: *mut sm_reply, info: *mut sm_reply_info, error: *mut sm_error) -> sm_status;
    pub fn sm_session_reply(session: *mut sm_session, ids: *const i32, n: u64, options: *const sm_generate_options, reply: *mut sm_reply, on_delta: sm_delta_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_new_tools(out: *mut *mut sm_constraint, tokenizer: *const sm_tokenizer, format: *const c_char, tools: *const c_char, choice: *const c_char, reasoning: u32, error: *mut sm_error) -> sm_status;
    pub fn sm_session_chat(session: *mut sm_session, chat: *const sm_chat, messages: *const c_char, tools: *const c_char, options: *const sm_answer_options, on_delta: sm_delta_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    pub fn sm_reply_formats_list() -> *const c_char;
    pub fn sm_reply_format_of(template_text: *const c_char) -> *const c_char;
    pub fn sm_batch_new(out: *mut *mut sm_batch, model: *const sm_model, options: *const sm_batch_options, error: *mut sm_error) -> sm_status;
    pub fn sm_batch_free(batch: *mut sm_batch);
    pub fn sm_batch_new_session(out: *mut *mut sm_session, batch: *mut sm_batch, options: *const sm_session_options, error: *mut sm_error) -> sm_status;
    pub fn sm_batch_set_cancel(batch: *mut sm_batch, cancel: sm_cancel_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    pub fn sm_batch_step(batch: *mut sm_batch, items: *const sm_batch_item, n_items: u64, error: *mut sm_error) -> sm_status;
    pub fn sm_batch_generate(batch: *mut sm_batch, items: *const sm_batch_text, n_items: u64, statuses: *mut sm_status, error: *mut sm_error) -> sm_status;
    pub fn sm_model_quantize(out_path: *const c_char, in_path: *const c_char, options: *const sm_quantize_options, result: *mut sm_quantize_result, error: *mut sm_error) -> sm_status;
    pub fn sm_imatrix_new(out: *mut *mut sm_imatrix, model: *const sm_model, options: *const sm_imatrix_options, error: *mut sm_error) -> sm_status;
    pub fn sm_imatrix_free(imatrix: *mut sm_imatrix);
    pub fn sm_imatrix_set_cancel(imatrix: *mut sm_imatrix, cancel: sm_cancel_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    pub fn sm_imatrix_feed(imatrix: *mut sm_imatrix, ids: *const i32, n: u64, error: *mut sm_error) -> sm_status;
    pub fn sm_imatrix_capacity(imatrix: *const sm_imatrix) -> u32;
    pub fn sm_imatrix_chunks(imatrix: *const sm_imatrix) -> u32;
    pub fn sm_imatrix_save(imatrix: *const sm_imatrix, path: *const c_char, dataset: *const c_char, error: *mut sm_error) -> sm_status;
    pub fn sm_adapter_load(out: *mut *mut sm_adapter, model: *const sm_model, path: *const c_char, options: *const sm_adapter_options, error: *mut sm_error) -> sm_status;
    pub fn sm_adapter_load_from(out: *mut *mut sm_adapter, model: *const sm_model, origin: *const sm_origin, options: *const sm_adapter_options, error: *mut sm_error) -> sm_status;
    pub fn sm_adapter_free(adapter: *mut sm_adapter);
    pub fn sm_adapter_get_info(adapter: *const sm_adapter, info: *mut sm_adapter_info, error: *mut sm_error) -> sm_status;
    pub fn sm_session_attach(session: *mut sm_session, adapter: *const sm_adapter, scale: f64, error: *mut sm_error) -> sm_status;
    pub fn sm_session_detach(session: *mut sm_session, adapter: *const sm_adapter, error: *mut sm_error) -> sm_status;
    pub fn sm_adapter_merge(out_path: *const c_char, model_path: *const c_char, adapter_path: *const c_char, scale: f64, options: *const sm_merge_options, error: *mut sm_error) -> sm_status;
    pub fn sm_adapter_export(out_directory: *const c_char, model_path: *const c_char, adapter_path: *const c_char, options: *const sm_adapter_options, error: *mut sm_error) -> sm_status;
    pub fn sm_vocabulary_train(path: *const c_char, text_paths: *const *const c_char, n_texts: u32, options: *const sm_vocabulary_options, error: *mut sm_error) -> sm_status;
    pub fn sm_model_init(path: *const c_char, vocabulary_path: *const c_char, options: *const sm_model_init_options, error: *mut sm_error) -> sm_status;
    pub fn sm_trainer_open(out: *mut *mut sm_trainer, model_path: *const c_char, options: *const sm_trainer_options, error: *mut sm_error) -> sm_status;
    pub fn sm_trainer_free(trainer: *mut sm_trainer);
    pub fn sm_trainer_get_info(trainer: *const sm_trainer, info: *mut sm_trainer_info, error: *mut sm_error) -> sm_status;
    pub fn sm_trainer_steps_left(trainer: *const sm_trainer) -> u64;
    pub fn sm_trainer_step(trainer: *mut sm_trainer, metrics: *mut sm_train_metrics, error: *mut sm_error) -> sm_status;
    pub fn sm_trainer_train(trainer: *mut sm_trainer, steps: u64, on_step: sm_train_step_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    pub fn sm_trainer_set_cancel(trainer: *mut sm_trainer, cancel: sm_cancel_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    pub fn sm_trainer_evaluate(trainer: *mut sm_trainer, result: *mut sm_train_evaluation, error: *mut sm_error) -> sm_status;
    pub fn sm_trainer_save(trainer: *mut sm_trainer, path: *const c_char, error: *mut sm_error) -> sm_status;
    pub fn sm_trainer_resume(trainer: *mut sm_trainer, path: *const c_char, error: *mut sm_error) -> sm_status;
    pub fn sm_checkpoint_get_info(path: *const c_char, info: *mut sm_checkpoint_info, error: *mut sm_error) -> sm_status;
    pub fn sm_checkpoint_get_options(path: *const c_char, options: *mut sm_trainer_options, model_path: *mut *const c_char, text: *mut c_char, capacity: u64, needed: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_trainer_export(trainer: *mut sm_trainer, path: *const c_char, options: *const sm_export_options, error: *mut sm_error) -> sm_status;
    pub fn sm_trainer_export_adapter(trainer: *mut sm_trainer, path: *const c_char, error: *mut sm_error) -> sm_status;
}
