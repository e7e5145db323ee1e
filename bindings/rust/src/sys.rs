//! Declarations of libsmallmind. Made by scripts/bindings.py: do not edit.
#![allow(non_camel_case_types, missing_docs, rustdoc::all, clippy::all)]

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
pub const SM_OPTIONS_ENCODER: u32 = 20;
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
pub const SM_POOLING_MODEL: u32 = 0;
pub const SM_POOLING_MEAN: u32 = 1;
pub const SM_POOLING_FIRST: u32 = 2;
pub const SM_POOLING_LAST: u32 = 3;
pub const SM_LONG_CUT: u32 = 0;
pub const SM_LONG_REFUSE: u32 = 1;
pub const SM_LONG_WINDOWS: u32 = 2;
pub const SM_PACKED_INT8: u32 = 1;
pub const SM_PACKED_BINARY: u32 = 2;
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
pub const SM_OBJECTIVE_SUPERVISED: u32 = 0;
pub const SM_OBJECTIVE_DPO: u32 = 1;
pub const SM_OBJECTIVE_IPO: u32 = 2;
pub const SM_OBJECTIVE_SIMPO: u32 = 3;
pub const SM_OBJECTIVE_ORPO: u32 = 4;
pub const SM_OBJECTIVE_KTO: u32 = 5;
pub const SM_LR_COSINE: u32 = 0;
pub const SM_LR_CONSTANT: u32 = 1;
pub const SM_LR_LINEAR: u32 = 2;
pub const SM_LR_POLYNOMIAL: u32 = 3;
pub const SM_LR_INVERSE_SQRT: u32 = 4;
pub const SM_LR_WSD: u32 = 5;
pub const SM_LR_RESTARTS: u32 = 6;
pub const SM_TRAIN_F32: u32 = 0;
pub const SM_TRAIN_BF16: u32 = 1;
pub const SM_VERSION_MAJOR: u32 = 1;
pub const SM_VERSION_MINOR: u32 = 0;
pub const SM_VERSION_PATCH: u32 = 0;
pub const SM_ABI: u32 = 1;
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
pub struct sm_encoder {
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
    pub min_keep: u32,
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
    pub n_steps: u64,
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
    pub n_replacement: u64,
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
    pub n_overrides: u64,
    pub pure: u32,
    pub requantize: u32,
    pub level: u32,
    pub reserved: u32,
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
pub struct sm_encoder_options {
    pub struct_size: u32,
    pub n_threads: u32,
    pub max_tokens: u32,
    pub n_batch: u32,
    pub pooling: u32,
    pub long_texts: u32,
    pub n_dims: u32,
    pub raw: u32,
    pub prefix: *const c_char,
    pub prompt: *const c_char,
    pub cancel_flag: *mut sm_cancel,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct sm_encoder_info {
    pub struct_size: u32,
    pub pooling: u32,
    pub n_dims: u32,
    pub n_embd: u32,
    pub max_tokens: u32,
    pub n_labels: u32,
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
    pub objective: u32,
    pub length_normalized: u32,
    pub preference_beta: f64,
    pub label_smoothing: f64,
    pub preference_margin: f64,
    pub desirable_weight: f64,
    pub undesirable_weight: f64,
    pub teacher: *const c_char,
    pub teacher_weight: f64,
    pub teacher_temperature: f64,
    pub lora_b_rate: f64,
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
    pub chosen_reward: f64,
    pub rejected_reward: f64,
    pub reward_margin: f64,
    pub teacher_loss: f64,
    pub accuracy: f64,
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
    pub chosen_reward: f64,
    pub rejected_reward: f64,
    pub reward_margin: f64,
    pub accuracy: f64,
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

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(std::mem::size_of::<sm_text>() == 16);
    assert!(std::mem::size_of::<sm_error>() == 512);
    assert!(std::mem::size_of::<sm_build_info>() == 56);
    assert!(std::mem::size_of::<sm_allocator>() == 40);
    assert!(std::mem::size_of::<sm_logger>() == 32);
    assert!(std::mem::size_of::<sm_origin>() == 72);
    assert!(std::mem::size_of::<sm_option>() == 80);
    assert!(std::mem::size_of::<sm_gguf_options>() == 40);
    assert!(std::mem::size_of::<sm_gguf_info>() == 56);
    assert!(std::mem::size_of::<sm_gguf_tensor_info>() == 128);
    assert!(std::mem::size_of::<sm_tokenizer_options>() == 48);
    assert!(std::mem::size_of::<sm_tokenizer_info>() == 112);
    assert!(std::mem::size_of::<sm_encode_options>() == 32);
    assert!(std::mem::size_of::<sm_constraint_options>() == 72);
    assert!(std::mem::size_of::<sm_schema_options>() == 48);
    assert!(std::mem::size_of::<sm_model_options>() == 72);
    assert!(std::mem::size_of::<sm_model_info>() == 128);
    assert!(std::mem::size_of::<sm_pack_options>() == 32);
    assert!(std::mem::size_of::<sm_session_options>() == 40);
    assert!(std::mem::size_of::<sm_fork_options>() == 16);
    assert!(std::mem::size_of::<sm_session_info>() == 40);
    assert!(std::mem::size_of::<sm_token_logprob>() == 16);
    assert!(std::mem::size_of::<sm_logit_bias>() == 16);
    assert!(std::mem::size_of::<sm_sampler_info>() == 56);
    assert!(std::mem::size_of::<sm_sampling_step>() == 40);
    assert!(std::mem::size_of::<sm_watermark>() == 40);
    assert!(std::mem::size_of::<sm_watermark_score>() == 48);
    assert!(std::mem::size_of::<sm_sampling>() == 280);
    assert!(std::mem::size_of::<sm_choice>() == 40);
    assert!(std::mem::size_of::<sm_context_full>() == 56);
    assert!(std::mem::size_of::<sm_generate_options>() == 144);
    assert!(std::mem::size_of::<sm_token>() == 56);
    assert!(std::mem::size_of::<sm_generate_stats>() == 96);
    assert!(std::mem::size_of::<sm_chat_options>() == 48);
    assert!(std::mem::size_of::<sm_render_options>() == 48);
    assert!(std::mem::size_of::<sm_reply_options>() == 48);
    assert!(std::mem::size_of::<sm_delta>() == 56);
    assert!(std::mem::size_of::<sm_reply_info>() == 16);
    assert!(std::mem::size_of::<sm_answer_options>() == 40);
    assert!(std::mem::size_of::<sm_batch_options>() == 32);
    assert!(std::mem::size_of::<sm_batch_item>() == 48);
    assert!(std::mem::size_of::<sm_batch_text>() == 56);
    assert!(std::mem::size_of::<sm_quantize_override>() == 24);
    assert!(std::mem::size_of::<sm_quantize_tensor>() == 80);
    assert!(std::mem::size_of::<sm_quantize_options>() == 104);
    assert!(std::mem::size_of::<sm_quantize_result>() == 40);
    assert!(std::mem::size_of::<sm_imatrix_options>() == 24);
    assert!(std::mem::size_of::<sm_adapter_options>() == 32);
    assert!(std::mem::size_of::<sm_merge_options>() == 40);
    assert!(std::mem::size_of::<sm_adapter_info>() == 32);
    assert!(std::mem::size_of::<sm_encoder_options>() == 56);
    assert!(std::mem::size_of::<sm_encoder_info>() == 24);
    assert!(std::mem::size_of::<sm_vocabulary_options>() == 56);
    assert!(std::mem::size_of::<sm_model_init_options>() == 104);
    assert!(std::mem::size_of::<sm_trainer_options>() == 400);
    assert!(std::mem::size_of::<sm_trainer_info>() == 120);
    assert!(std::mem::size_of::<sm_train_metrics>() == 112);
    assert!(std::mem::size_of::<sm_train_evaluation>() == 72);
    assert!(std::mem::size_of::<sm_checkpoint_info>() == 32);
    assert!(std::mem::size_of::<sm_export_options>() == 16);
};

extern "C" {
    /// A short fixed English name of a status ("out of memory"); never NULL.
    pub fn sm_status_text(status: sm_status) -> *const c_char;
    /// "1.0.0", before that release "1.0.0-rc1".
    pub fn sm_version() -> *const c_char;
    /// The same as a number that grows: major * 1000000 + minor * 1000 + patch.
    pub fn sm_version_number() -> u32;
    /// SM_ABI of the library that is running. Programs work with every library of the same number
    /// that has the functions they call (docs/abi.md).
    pub fn sm_abi() -> u32;
    pub fn sm_build_get_info(info: *mut sm_build_info, error: *mut sm_error) -> sm_status;
    /// Text of unknown origin as a terminal or a log may get it: control characters, what is not
    /// UTF-8, and characters that cannot be seen or turn the order of others (zero-width,
    /// bidirectional and other format characters, line separators, private use) are written \n, \t,
    /// \r, \x1b or \u{202e}. A backslash stays as it is, so that escaping twice changes nothing.
    /// Writes as many whole characters as fit in capacity bytes, a zero among them; returns the
    /// bytes of all, without the zero. length counts bytes of text, which may hold zeros. out may
    /// be NULL where capacity is 0. Messages and log lines are escaped; names, values and pieces of
    /// text that functions hand out (sm_gguf_get_key, sm_gguf_get_value, sm_model_info,
    /// sm_tokenizer_token_text, generated text) are as the file or the model has them.
    pub fn sm_text_escape(text: *const c_char, length: u64, out: *mut c_char, capacity: u64) -> u64;
    pub fn sm_cancel_new(out: *mut *mut sm_cancel, error: *mut sm_error) -> sm_status;
    /// By any thread, at any time, in signal handlers too; NULL is fine.
    pub fn sm_cancel_set(cancel: *mut sm_cancel, on: i32);
    pub fn sm_cancel_is_set(cancel: *const sm_cancel) -> i32;
    /// NULL is fine. Sessions, batches, importance matrices and trainers hold a reference to
    /// theirs; other calls use it until they return.
    pub fn sm_cancel_free(cancel: *mut sm_cancel);
    /// Name of a level ("avx2"), or NULL if unknown; and back (0 on unknown name, "auto" included).
    pub fn sm_level_name(level: u32) -> *const c_char;
    pub fn sm_level_from_name(name: *const c_char) -> u32;
    /// The best level that this CPU has and this build contains, at or below `cap`; a cap of
    /// another architecture leaves SM_LEVEL_SCALAR.
    pub fn sm_level_best(cap: u32) -> u32;
    /// CPUs worth a thread each: those that this process may run on, no more than its control
    /// groups (Linux, v1 and v2) give it time for; at least 1. What `n_threads` 0 means, but for a
    /// cap of its own. Asks the system each time. Any thread.
    pub fn sm_cpu_count() -> u32;
    pub fn sm_names_find(names: *const c_char, name: *const c_char, nearest: *mut u32) -> u32;
    /// Name i of such a list, which ends where *length says, not with a zero; NULL behind the last.
    pub fn sm_names_get(names: *const c_char, i: u32, length: *mut u64) -> *const c_char;
    /// The struct's name ("sm_session_options"); NULL for an unknown number.
    pub fn sm_options_name(options_struct: u32) -> *const c_char;
    /// How many fields its table has; 0 for an unknown one.
    pub fn sm_options_count(options_struct: u32) -> u32;
    /// Field i of it. SM_ERR_ARGUMENT.
    pub fn sm_options_get(options_struct: u32, i: u32, option: *mut sm_option, error: *mut sm_error) -> sm_status;
    /// SM_ERR_IO, _FORMAT, _UNSUPPORTED, _NOMEM, _ARGUMENT, _CANCELLED.
    pub fn sm_gguf_load(out: *mut *mut sm_gguf, path: *const c_char, options: *const sm_gguf_options, error: *mut sm_error) -> sm_status;
    /// The same from anywhere (types.h).
    pub fn sm_gguf_load_from(out: *mut *mut sm_gguf, origin: *const sm_origin, options: *const sm_gguf_options, error: *mut sm_error) -> sm_status;
    pub fn sm_gguf_free(gguf: *mut sm_gguf);
    pub fn sm_gguf_get_info(gguf: *const sm_gguf, info: *mut sm_gguf_info, error: *mut sm_error) -> sm_status;
    /// Key i: its name and type ("u32", "str", "arr[f32,512]"), valid as long as the handle.
    pub fn sm_gguf_get_key(gguf: *const sm_gguf, i: u64, name: *mut *const c_char, r#type: *mut *const c_char, error: *mut sm_error) -> sm_status;
    /// Its value as text: numbers in shortest form, bools "true"/"false", strings as they are,
    /// arrays as "[a, b, c]", or "[a, b, ...]" where max_items (0: no limit) cuts them off. Zero-
    /// terminated; *n is the length without it; SM_ERR_BUFFER (with *n) when capacity <= *n.
    pub fn sm_gguf_get_value(gguf: *const sm_gguf, i: u64, max_items: u64, text: *mut c_char, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_gguf_get_tensor(gguf: *const sm_gguf, i: u64, info: *mut sm_gguf_tensor_info, error: *mut sm_error) -> sm_status;
    /// Opens the vocabulary of a GGUF file (a whole model or vocab-only), of a tokenizer.json
    /// (Hugging Face), a SentencePiece model (.model) or tiktoken's ranks (.tiktoken), or of a
    /// directory that has one of these, in that order. Beside them tokenizer_config.json and
    /// special_tokens_map.json are read: which tokens begin, end and pad, and add_bos_token and
    /// add_eos_token as transformers applies them; a tiktoken file needs its pattern, "pat_str"
    /// (and "special_tokens") in a config.json beside, but for encodings that are known by name
    /// (cl100k_base, o200k_base, r50k_base, p50k_base, qwen). Of a tokenizer.json all components
    /// are computed, or refused by their place in the file; its sections truncation and padding are
    /// not applied; a text whose bytes are no UTF-8 has U+FFFD for each of them, where the file's
    /// steps change texts. `path` is UTF-8. SM_ERR_IO, _FORMAT (also ids of special tokens outside
    /// the vocabulary, byte tokens that are none, keys of a wrong type, arrays of another length
    /// than the tokens), _MISSING, _UNSUPPORTED, _NOMEM, _ARGUMENT, _CANCELLED; the message names
    /// the key.
    pub fn sm_tokenizer_load(out: *mut *mut sm_tokenizer, path: *const c_char, options: *const sm_tokenizer_options, error: *mut sm_error) -> sm_status;
    /// The same from anywhere (types.h); what is no GGUF file from a path or from memory, where
    /// nothing is beside it.
    pub fn sm_tokenizer_load_from(out: *mut *mut sm_tokenizer, origin: *const sm_origin, options: *const sm_tokenizer_options, error: *mut sm_error) -> sm_status;
    pub fn sm_tokenizer_free(tokenizer: *mut sm_tokenizer);
    /// SM_ERR_ARGUMENT if a pointer is NULL or info->struct_size unknown.
    pub fn sm_tokenizer_get_info(tokenizer: *const sm_tokenizer, info: *mut sm_tokenizer_info, error: *mut sm_error) -> sm_status;
    /// Encodes text[0..length). Stores the number of ids in *n (n must not be NULL); writes them
    /// when capacity is enough, else returns SM_ERR_BUFFER and writes nothing. ids may be NULL with
    /// capacity 0. length + 16 ids always suffice for BPE, SPM, CHARS and WordPiece kinds (2 *
    /// length + 16 where an SPM vocabulary has special tokens of a single byte, any number where it
    /// normalizes). options NULL: all zero. SM_ERR_CANCELLED, SM_ERR_NOMEM, SM_ERR_ARGUMENT (also
    /// for a text of more than SIZE_MAX / 64 bytes), SM_ERR_UNSUPPORTED (a gigabyte of text without
    /// a place to split): *n is 0.
    pub fn sm_tokenizer_encode(tokenizer: *const sm_tokenizer, text: *const c_char, length: u64, options: *const sm_encode_options, ids: *mut i32, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    /// Encodes two texts as the vocabulary's template for pairs puts them together (BERT: [CLS]
    /// first [SEP] second [SEP]); without SM_ENCODE_MARKERS one behind the other.
    /// type_ids[capacity], which may be NULL, gets the number of the segment that each id belongs
    /// to. Otherwise as sm_tokenizer_encode; SM_ERR_UNSUPPORTED where the vocabulary has no
    /// template (those of GGUF files but WordPiece).
    pub fn sm_tokenizer_encode_pair(tokenizer: *const sm_tokenizer, first: *const c_char, first_length: u64, second: *const c_char, second_length: u64, options: *const sm_encode_options, ids: *mut i32, type_ids: *mut i32, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    /// Decodes ids to bytes. *n gets the length, as with encode; not zero-terminated. SM_ERR_TOKEN
    /// for an id outside the vocabulary.
    pub fn sm_tokenizer_decode(tokenizer: *const sm_tokenizer, ids: *const i32, n_ids: u64, flags: u32, text: *mut c_char, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    /// The raw vocabulary entry of one id as the file spells it (not decoded); valid as long as the
    /// tokenizer. Stores length; NULL if id is out of range.
    pub fn sm_tokenizer_token_text(tokenizer: *const sm_tokenizer, id: i32, length: *mut u64) -> *const c_char;
    /// The id whose vocabulary entry is exactly these bytes, or -1.
    pub fn sm_tokenizer_find(tokenizer: *const sm_tokenizer, text: *const c_char, length: u64) -> i32;
    /// 1 if the id ends a generation (EOS, end of turn, end of message), else 0.
    pub fn sm_tokenizer_is_end(tokenizer: *const sm_tokenizer, id: i32) -> i32;
    /// Streaming decode: feed ids one by one, get the bytes that are complete. What comes out is
    /// what sm_tokenizer_decode makes, but where a tokenizer.json's decoder looks ahead or back:
    /// the space that a BPEDecoder writes behind a word comes behind the last one, too, a Strip
    /// takes nothing off the end, and a CTC decoder keeps tokens that repeat. Never hands out part
    /// of a UTF-8 sequence: bytes wait until the sequence is whole or can no longer become valid.
    /// One thread at a time: another one that comes while a call has not returned gets
    /// SM_ERR_STATE; sm_detokenizer_free takes effect when it ends. Holds a reference to the
    /// tokenizer.
    pub fn sm_detokenizer_new(out: *mut *mut sm_detokenizer, tokenizer: *const sm_tokenizer, flags: u32, error: *mut sm_error) -> sm_status;
    pub fn sm_detokenizer_free(detokenizer: *mut sm_detokenizer);
    /// piece (zero-terminated, *length bytes, maybe 0) is valid until the next call.
    pub fn sm_detokenizer_feed(detokenizer: *mut sm_detokenizer, id: i32, piece: *mut *const c_char, length: *mut u64, error: *mut sm_error) -> sm_status;
    /// Hands out whatever still waits (an unfinished sequence comes out as it is).
    pub fn sm_detokenizer_flush(detokenizer: *mut sm_detokenizer, piece: *mut *const c_char, length: *mut u64, error: *mut sm_error) -> sm_status;
    /// Back to the state of a new one. SM_ERR_ARGUMENT, _STATE.
    pub fn sm_detokenizer_reset(detokenizer: *mut sm_detokenizer, error: *mut sm_error) -> sm_status;
    /// text[0..length): the grammar or expression, UTF-8. Makes a table of the vocabulary at the
    /// first constraint of a tokenizer, which may be NULL: then it is for bytes, and what asks
    /// about tokens is SM_ERR_MISSING. SM_ERR_FORMAT (no grammar or expression: place),
    /// SM_ERR_UNSUPPORTED (what cannot be done, by name: left recursion in GBNF, references to
    /// tokens, look-behind …; a WordPiece vocabulary), SM_ERR_ARGUMENT (also a constraint that no
    /// text matches, more at least than at most), SM_ERR_NOMEM.
    pub fn sm_constraint_new(out: *mut *mut sm_constraint, tokenizer: *const sm_tokenizer, kind: u32, text: *const c_char, length: u64, options: *const sm_constraint_options, error: *mut sm_error) -> sm_status;
    /// One of n texts.
    pub fn sm_constraint_new_choices(out: *mut *mut sm_constraint, tokenizer: *const sm_tokenizer, texts: *const sm_text, n: u64, options: *const sm_constraint_options, error: *mut sm_error) -> sm_status;
    /// text[0..length): the schema. schema_options may be NULL. Statuses as sm_constraint_new, and
    /// SM_ERR_CANCELLED; a schema that no value satisfies is SM_ERR_UNSUPPORTED.
    pub fn sm_constraint_new_schema(out: *mut *mut sm_constraint, tokenizer: *const sm_tokenizer, text: *const c_char, length: u64, schema_options: *const sm_schema_options, options: *const sm_constraint_options, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_free(constraint: *mut sm_constraint);
    /// At the beginning of a text. SM_ERR_NOMEM.
    pub fn sm_constraint_state_new(out: *mut *mut sm_constraint_state, constraint: *mut sm_constraint, error: *mut sm_error) -> sm_status;
    /// A second state at the same place, with the same tokens to go back over.
    pub fn sm_constraint_state_fork(out: *mut *mut sm_constraint_state, state: *const sm_constraint_state, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_state_free(state: *mut sm_constraint_state);
    /// The tokens that may come next: bit id % 32 of mask[id / 32]; n_words: (n_vocab + 31) / 32 or
    /// more, those beyond become 0. SM_ERR_BUFFER; SM_ERR_UNSUPPORTED or SM_ERR_NOMEM where the
    /// automaton reaches a limit, which it says again from then on.
    pub fn sm_constraint_mask(state: *mut sm_constraint_state, mask: *mut u32, n_words: u64, error: *mut sm_error) -> sm_status;
    /// Appends a token. SM_ERR_ARGUMENT, and nothing has changed, if it may not come here;
    /// SM_ERR_TOKEN. An end token ends the text: nothing may follow.
    pub fn sm_constraint_accept(state: *mut sm_constraint_state, id: i32, error: *mut sm_error) -> sm_status;
    /// Appends bytes that come as no token; counts as one for sm_constraint_rewind.
    pub fn sm_constraint_accept_text(state: *mut sm_constraint_state, text: *const c_char, length: u64, error: *mut sm_error) -> sm_status;
    /// The bytes that have no alternative here: nothing else may come, the end neither. Writes what
    /// fits in capacity and stores the length in *n (at most 65536); SM_ERR_BUFFER if that is more.
    pub fn sm_constraint_forced_text(state: *mut sm_constraint_state, text: *mut c_char, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    /// The same as tokens, as encoding has them: those at the end that would be others for some
    /// text that may follow are left out. Accepts nothing. *n: how many; SM_ERR_BUFFER if more than
    /// capacity.
    pub fn sm_constraint_forced(state: *mut sm_constraint_state, ids: *mut i32, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_constraint_can_end(state: *const sm_constraint_state) -> i32;
    /// 1: it matches and nothing can follow, or an end token was accepted.
    pub fn sm_constraint_ended(state: *mut sm_constraint_state) -> i32;
    /// Takes the last n tokens back. SM_ERR_ARGUMENT if there are fewer.
    pub fn sm_constraint_rewind(state: *mut sm_constraint_state, n: u64, error: *mut sm_error) -> sm_status;
    /// Back to the beginning of a text.
    pub fn sm_constraint_reset(state: *mut sm_constraint_state, error: *mut sm_error) -> sm_status;
    /// Loads a GGUF model (of a split one: the first part), or a Hugging Face directory:
    /// config.json and model.safetensors, or the files of model.safetensors.index.json. Tensors
    /// stay in the mapped files where they lie as in GGUF; converted ones (queries and keys of
    /// llama's relatives, weights of gpt-2, weights of 8 bits, gains) are in memory of the model's.
    /// Everything the file says is checked before it is used. SM_ERR_IO, _FORMAT, _MISSING, _SHAPE,
    /// _UNSUPPORTED (architecture, tensor type, rope scaling, tokenizer: by name), _NOMEM, _SYSTEM,
    /// _CANCELLED, _ARGUMENT; the message names the file and the key or tensor.
    pub fn sm_model_load(out: *mut *mut sm_model, path: *const c_char, options: *const sm_model_options, error: *mut sm_error) -> sm_status;
    /// The same from anywhere (types.h; parts of split models must be files). Statuses as above.
    pub fn sm_model_load_from(out: *mut *mut sm_model, origin: *const sm_origin, options: *const sm_model_options, error: *mut sm_error) -> sm_status;
    pub fn sm_model_free(model: *mut sm_model);
    pub fn sm_model_get_info(model: *const sm_model, info: *mut sm_model_info, error: *mut sm_error) -> sm_status;
    /// Writes the model to one GGUF file with its matrices in the layout that the kernels compute
    /// from. Loaded, such a file needs no repacking and no private copy of the weights: it is fast
    /// from the first token on, and processes that map it share its pages. It is of use to this
    /// library only, on every instruction-set level and machine with little-endian numbers; a
    /// version of the library with another layout refuses it by name (SM_ERR_UNSUPPORTED). All keys
    /// are kept, but for those of the alignment and of splitting. Where the output layer shares the
    /// token embeddings the file holds them twice, as rows and packed. The file appears at path,
    /// replacing one there, when it is complete and on the disk. options may be NULL. Any thread
    /// may call this while sessions of the model run. SM_ERR_ARGUMENT, _IO, _NOMEM, _CANCELLED,
    /// _FORMAT (weights that are infinite or NaN: names tensor and row; those of a packed file are
    /// not looked at again).
    pub fn sm_model_save_packed(model: *const sm_model, path: *const c_char, options: *const sm_pack_options, error: *mut sm_error) -> sm_status;
    /// The model's tokenizer: a new reference, freed with sm_tokenizer_free. SM_ERR_MISSING if the
    /// file holds no vocabulary.
    pub fn sm_model_get_tokenizer(model: *const sm_model, out: *mut *mut sm_tokenizer, error: *mut sm_error) -> sm_status;
    /// SM_ERR_ARGUMENT, _NOMEM, _SYSTEM (threads), _UNSUPPORTED (pin, where the system cannot).
    pub fn sm_session_new(out: *mut *mut sm_session, model: *const sm_model, options: *const sm_session_options, error: *mut sm_error) -> sm_status;
    pub fn sm_session_free(session: *mut sm_session);
    /// A second session with the same tokens, cache and logits, and a team of its own (or in the
    /// same batch, see batch.h). options may be NULL. Asks the cancel hook of the session that is
    /// copied; the copy has none. SM_ERR_CANCELLED, and as sm_session_new.
    pub fn sm_session_fork(out: *mut *mut sm_session, session: *const sm_session, options: *const sm_fork_options, error: *mut sm_error) -> sm_status;
    /// Writes the session to a file; of how see types.h. Asks the session's cancel hook.
    /// SM_ERR_ARGUMENT, _IO, _NOMEM, _CANCELLED, _STATE inside a call of the session.
    pub fn sm_session_save(session: *const sm_session, path: *const c_char, error: *mut sm_error) -> sm_status;
    /// Makes the session hold what was saved, in place of all that it holds. Asks the cancel hook.
    /// SM_ERR_IO, _FORMAT (damaged, or no saved session), _UNSUPPORTED (a later version), _ARGUMENT
    /// (of another model, adapter, level or cache; the message says which), _CONTEXT_FULL, _NOMEM,
    /// _CANCELLED, _STATE as above. On failure the session is as it was, but after _CANCELLED it
    /// may hold no tokens; the message then says so. The file is mapped and must not be cut short
    /// meanwhile.
    pub fn sm_session_restore(session: *mut sm_session, path: *const c_char, error: *mut sm_error) -> sm_status;
    /// The same bytes in memory. *size gets how many there are, SM_ERR_BUFFER if that is more than
    /// capacity, what fits having been written; buffer may be NULL where capacity is 0.
    pub fn sm_session_save_bytes(session: *const sm_session, buffer: *mut c_void, capacity: u64, size: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_session_restore_bytes(session: *mut sm_session, data: *const c_void, size: u64, error: *mut sm_error) -> sm_status;
    pub fn sm_session_length(session: *const sm_session) -> u32;
    /// How many bytes of its key/value cache computing the token at that position reads; 0 where
    /// there can be none.
    pub fn sm_session_read_bytes(session: *const sm_session, position: u32) -> u64;
    /// At any time, by any thread. SM_ERR_ARGUMENT.
    pub fn sm_session_get_info(session: *const sm_session, info: *mut sm_session_info, error: *mut sm_error) -> sm_status;
    /// Copies the tokens from `begin` on into ids, capacity at most; *n (may be NULL) gets how
    /// many, 0 if `begin` is not less than the length. Places that hold no token (what later
    /// versions may feed beside tokens) are -1. At any time, by any thread. SM_ERR_ARGUMENT.
    pub fn sm_session_tokens(session: *const sm_session, begin: u32, ids: *mut i32, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    /// Cancelling long computation: asked every fraction of a millisecond while feeding (while
    /// weights are repacked, before every tensor and every 16 MiB of one) and every few
    /// milliseconds while a prompt is encoded; non-zero makes the running feed or generate return
    /// SM_ERR_CANCELLED with the session as it was before the unfinished batch. Called on the
    /// caller's thread, also by sm_batch_step while it feeds the session. NULL: never. SM_ERR_STATE
    /// inside a call of the session.
    pub fn sm_session_set_cancel(session: *mut sm_session, cancel: sm_cancel_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    /// Appends n tokens and computes them. n may be 0. SM_ERR_TOKEN and SM_ERR_CONTEXT_FULL leave
    /// the session unchanged; so does SM_ERR_NOMEM, possible where weights are used for the first
    /// time (by any session) and repacked; what was repacked stays for the next feed. (Tokens that
    /// windows have lost meanwhile are computed again; if that fails as well, the message says how
    /// many the session holds.) SM_ERR_CANCELLED: see above.
    pub fn sm_session_feed(session: *mut sm_session, ids: *const i32, n: u64, error: *mut sm_error) -> sm_status;
    /// The same, and writes the logits of every fed token: logits[n][n_vocab], for which there is
    /// room for `capacity` floats (SM_ERR_BUFFER if that is too few: nothing is fed). SM_ERR_FORMAT
    /// if one is infinite or NaN (damaged weights: names the token, and the row of the output
    /// matrix if it is at fault): the session is as it was, the logits are for looking at.
    pub fn sm_session_feed_logits(session: *mut sm_session, ids: *const i32, n: u64, logits: *mut f32, capacity: u64, error: *mut sm_error) -> sm_status;
    /// Appends n tokens as sm_session_feed does and writes what the model thought of each before it
    /// came: logprobs[n], NAN for the first token of an empty session, which follows nothing; and
    /// top[n][n_top], the likeliest tokens there, best first (id -1 where there are fewer), n_top
    /// being SM_MAX_LOGPROBS at most, and top NULL where it is 0. The same numbers, to the bit,
    /// however tokens are cut into calls. Takes memory for the logits of some tokens (64 MiB)
    /// meanwhile. SM_ERR_STATE if the session holds tokens but no logits (it was rewound), _FORMAT
    /// if logits are not finite; as sm_session_feed. On failure the session is as it was (its
    /// logits may be gone), but after _CANCELLED it holds what had been fed.
    pub fn sm_session_feed_logprobs(session: *mut sm_session, ids: *const i32, n: u64, n_top: u32, logprobs: *mut f64, top: *mut sm_token_logprob, error: *mut sm_error) -> sm_status;
    /// Makes the session hold exactly ids[0..n): keeps the common prefix, drops the rest, feeds
    /// what is new. *reused (may be NULL) gets the tokens kept: as much of the common prefix as the
    /// session's state allows, which is what sm_session_rewind goes back to at no cost.
    pub fn sm_session_sync(session: *mut sm_session, ids: *const i32, n: u64, reused: *mut u64, error: *mut sm_error) -> sm_status;
    /// Forgets all tokens from position length on, as far as the model's state can go back; 0
    /// always works. What a session carries of its tokens tells how far back it can go at no cost:
    /// to any length where keys and values of all tokens are kept, which is so in models without
    /// windows and with SM_KV_KEEP_ALL; with SM_KV_KEEP_WINDOW by n_batch tokens at least.
    /// Otherwise the tokens from the last place that can be reached (the beginning, once windows
    /// have passed it) are computed again, which can be cancelled (SM_ERR_CANCELLED, the session
    /// then holds fewer tokens). SM_ERR_ARGUMENT if length is beyond the session's, _UNSUPPORTED
    /// where a state can neither go back so far nor be computed again (no model of this version).
    /// Logits are gone unless length is the present one.
    pub fn sm_session_rewind(session: *mut sm_session, length: u32, error: *mut sm_error) -> sm_status;
    /// Drops the tokens [begin, end) and computes those behind them again: the session then is what
    /// it would be without them. SM_ERR_ARGUMENT; SM_ERR_CANCELLED, _NOMEM: it may hold fewer
    /// tokens.
    pub fn sm_session_drop(session: *mut sm_session, begin: u32, end: u32, error: *mut sm_error) -> sm_status;
    /// The same with the oldest whole turns of a chat, as many as it takes to have room for `room`
    /// more tokens: turn i begins at token turns[i] (ascending) and ends where the next one begins.
    /// The first `keep` turns stay (a system message), and so does the last one. *n_dropped gets
    /// how many went: turns[keep .. keep + *n_dropped); those behind then begin earlier by
    /// turns[keep + *n_dropped] - turns[keep]. SM_ERR_CONTEXT_FULL if that is not enough, and
    /// nothing was dropped; else as sm_session_drop.
    pub fn sm_session_drop_turns(session: *mut sm_session, turns: *const u32, n_turns: u64, keep: u64, room: u32, n_dropped: *mut u64, error: *mut sm_error) -> sm_status;
    /// The logits after the last token: *n floats (may be NULL), as many as the vocabulary has
    /// tokens, valid until the session is next fed, rewound or freed; they may be elsewhere then.
    /// SM_ERR_STATE if there are none, _FORMAT if they are not all finite (damaged weights).
    pub fn sm_session_logits(session: *const sm_session, logits: *mut *const f32, n: *mut u64, error: *mut sm_error) -> sm_status;
    /// How many samplers there are, and the i-th in the default order. SM_ERR_ARGUMENT.
    pub fn sm_sampler_count() -> u32;
    pub fn sm_sampler_get_info(i: u32, info: *mut sm_sampler_info, error: *mut sm_error) -> sm_status;
    /// Looks for a watermark (its delta does not matter) in the tokens of a text. With z = 4 one
    /// text in 30,000 without a watermark would be taken for one. SM_ERR_ARGUMENT, _NOMEM.
    pub fn sm_watermark_detect(watermark: *const sm_watermark, ids: *const i32, n: u64, score: *mut sm_watermark_score, error: *mut sm_error) -> sm_status;
    /// Chooses the next token from the session's logits; changes nothing. sampling NULL: greedy.
    /// Mirostat goes on from the tokens of this session that were chosen by it, whichever of them
    /// were rewound or forked, and begins anew where there are none. SM_ERR_STATE if there are no
    /// logits; SM_ERR_ARGUMENT, also if biases ban every token; SM_ERR_TOKEN for a bias of a token
    /// outside the vocabulary; SM_ERR_FORMAT if one of the logits is not finite (damaged weights:
    /// names file, token and, if it is the output matrix, tensor and row).
    pub fn sm_session_sample(session: *mut sm_session, sampling: *const sm_sampling, choice: *mut sm_choice, error: *mut sm_error) -> sm_status;
    /// Continues prompt[0..length) (SM_ZT: up to a zero), which is the whole text so far: what the
    /// session already holds of it is reused, the rest of the session is dropped. Afterwards the
    /// session holds the prompt and the continuation but for its last token, which nothing needed
    /// computed yet. on_token may be NULL. SM_OK for every finish but SM_FINISH_CANCELLED
    /// (SM_ERR_CANCELLED) and failures: SM_ERR_STATE if the draft session is in use;
    /// SM_ERR_ARGUMENT if it is the session itself or of another vocabulary; SM_ERR_CONTEXT_FULL if
    /// the prompt alone does not fit (policy stop), _MISSING if the model has no vocabulary,
    /// _ARGUMENT, _TOKEN and _FORMAT as with sm_session_sample, _NOMEM. An empty prompt needs a BOS
    /// token, else SM_ERR_ARGUMENT.
    pub fn sm_session_generate(session: *mut sm_session, prompt: *const c_char, length: u64, options: *const sm_generate_options, on_token: sm_token_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    /// About the last generate of this session.
    pub fn sm_session_get_stats(session: *const sm_session, stats: *mut sm_generate_stats, error: *mut sm_error) -> sm_status;
    /// From text or a layout's name. SM_ERR_FORMAT, _UNSUPPORTED (the template: line and what),
    /// _ARGUMENT (no such layout, with what it may be a slip of), _NOMEM.
    pub fn sm_chat_new(out: *mut *mut sm_chat, options: *const sm_chat_options, error: *mut sm_error) -> sm_status;
    /// Of a model; options may be NULL. Besides: SM_ERR_MISSING where the model has no template.
    pub fn sm_chat_new_from_model(out: *mut *mut sm_chat, model: *const sm_model, options: *const sm_chat_options, error: *mut sm_error) -> sm_status;
    pub fn sm_chat_free(chat: *mut sm_chat);
    /// The template, zero-terminated, valid as long as the handle.
    pub fn sm_chat_template_text(chat: *const sm_chat) -> *const c_char;
    /// How the model writes reasoning and calls, as sm_reply_options.format takes it: the name of a
    /// format by the marks in the template, or where what the template makes of a probe (a message
    /// with known calls) is none of that format's, a description found by it. Valid as long as the
    /// handle; NULL: none is known.
    pub fn sm_chat_reply_format(chat: *const sm_chat) -> *const c_char;
    /// The names of the layouts that are known, as sm_names_find takes them.
    pub fn sm_chat_layouts_list() -> *const c_char;
    /// messages: a JSON array as in OpenAI's API; tools likewise, or NULL. Stores the bytes in *n
    /// and writes them if capacity is enough, else SM_ERR_BUFFER. SM_ERR_ARGUMENT with the
    /// template's own words where it refuses the messages, SM_ERR_FORMAT (messages, tools that name
    /// no function, or an error inside the template), _UNSUPPORTED (also tools where the template
    /// shows none to the model), _NOMEM, _CANCELLED.
    pub fn sm_chat_render(chat: *const sm_chat, messages: *const c_char, tools: *const c_char, options: *const sm_render_options, text: *mut c_char, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    /// The same as ids, with the BOS that the vocabulary wants unless the template writes it.
    /// Errors as sm_tokenizer_encode's, too.
    pub fn sm_chat_encode(chat: *const sm_chat, tokenizer: *const sm_tokenizer, messages: *const c_char, tools: *const c_char, options: *const sm_render_options, ids: *mut i32, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    /// What is rendered behind the last message: sm_reply_options.prompt_end.
    pub fn sm_chat_prompt_end(chat: *const sm_chat, messages: *const c_char, tools: *const c_char, options: *const sm_render_options, text: *mut c_char, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    /// SM_ERR_ARGUMENT (unknown format, with what it may be a slip of), _FORMAT (tools), _NOMEM.
    pub fn sm_reply_new(out: *mut *mut sm_reply, options: *const sm_reply_options, error: *mut sm_error) -> sm_status;
    pub fn sm_reply_free(reply: *mut sm_reply);
    /// The next piece. on_delta may be NULL. SM_ERR_CANCELLED (by on_delta), SM_ERR_UNSUPPORTED
    /// (more than 256 MiB, or 4096 calls), SM_ERR_NOMEM; after a failure only freeing is left.
    /// SM_ERR_STATE behind sm_reply_finish.
    pub fn sm_reply_feed(reply: *mut sm_reply, text: *const c_char, length: u64, on_delta: sm_delta_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    /// The text has ended: what was waiting is decided. As sm_reply_feed; a second time does
    /// nothing.
    pub fn sm_reply_finish(reply: *mut sm_reply, on_delta: sm_delta_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    /// The message so far: {"role": "assistant", "content": …, "reasoning_content": …,
    /// "tool_calls": […]}, the last two where there are any; content is null beside calls if there
    /// is none. *n gets its bytes; SM_ERR_BUFFER where capacity is less, then nothing is written.
    /// Not zero-terminated.
    pub fn sm_reply_message(reply: *mut sm_reply, json: *mut c_char, capacity: u64, n: *mut u64, error: *mut sm_error) -> sm_status;
    pub fn sm_reply_get_info(reply: *mut sm_reply, info: *mut sm_reply_info, error: *mut sm_error) -> sm_status;
    /// Continues ids[0..n) as sm_session_generate does a prompt, and reads what comes into `reply`,
    /// which is made anew for each answer: the text of control tokens included, for marks of calls
    /// are often those; what ends the answer is not. on_delta gets what has become certain; it may
    /// call what the header of sessions lets callbacks call. The reply is finished afterwards, also
    /// when SM_ERR_CANCELLED says that a hook or on_delta ended it; why it ended otherwise:
    /// sm_session_get_stats. Errors as sm_session_generate and sm_reply_feed.
    pub fn sm_session_reply(session: *mut sm_session, ids: *const i32, n: u64, options: *const sm_generate_options, reply: *mut sm_reply, on_delta: sm_delta_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    /// Tools (a JSON array, as in OpenAI's API) and a choice among them as a constraint on what a
    /// model writes in a format: "auto" holds from the first mark of a call on, what comes before
    /// is free; "required" and the name of a tool hold at once, behind the reasoning if the prompt
    /// has opened one (reasoning: 1). Calls are of these tools, in the format's notation. In every
    /// format the arguments fit the function's `parameters` (`input_schema`), a JSON Schema, as
    /// sm_constraint_new_schema takes it: all of its keywords are honoured, or the tools are
    /// refused by keyword and place ("tools[1].function.parameters.properties.x.format: …"). By
    /// notation: JSON keys in any order where an object names up to 6, otherwise in the schema's
    /// (as everywhere below); white space where JSON allows it Python (f(a=1)) values in Python's
    /// words, strings in either quote; names of arguments are words of [A-Za-z0-9_.-]; other names
    /// are refused pairs (gemma) strings as they are, between their marks markup (a parameter
    /// strings as they are, but none holds the mark that ends a value or all of in marks of its
    /// them, nor, where the schema allows other types beside strings and nothing own) says which it
    /// is, what would be read as one ("null", "12"); values of other types in JSON Keys that a
    /// schema admits without naming them are words where the notation has no quotes. A function
    /// without parameters takes none. "strict": true beside "parameters" closes objects, as
    /// OpenAI's does: those of type "object" whose schema has properties and says nothing of others
    /// have no others, keys come in the schema's order. "strict": false takes the schema for a
    /// hint: any object in the format's notation. *out is NULL where nothing is constrained: choice
    /// "none" or NULL, "auto" in formats whose calls have no mark, or with a format that is not
    /// known (NULL, "auto"). SM_ERR_ARGUMENT (no such tool, no tools), _FORMAT (tools, a schema),
    /// _UNSUPPORTED, and as sm_constraint_new.
    pub fn sm_constraint_new_tools(out: *mut *mut sm_constraint, tokenizer: *const sm_tokenizer, format: *const c_char, tools: *const c_char, choice: *const c_char, reasoning: u32, error: *mut sm_error) -> sm_status;
    /// The whole way: renders messages (a JSON array) and tools (likewise, or NULL) through the
    /// template, encodes them, feeds what the session does not hold of them yet, generates an
    /// answer and reads it. on_delta gets it while it comes, last an SM_DELTA_END with the message
    /// (also when the answer was cancelled: as far as it came), the reason for its end ("stop",
    /// "tool_calls", "length", "cancelled") and the tokens used; sm_session_get_stats has the
    /// times. Errors as sm_chat_encode and sm_session_reply.
    pub fn sm_session_chat(session: *mut sm_session, chat: *const sm_chat, messages: *const c_char, tools: *const c_char, options: *const sm_answer_options, on_delta: sm_delta_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    /// The names of all formats, as sm_names_find takes them.
    pub fn sm_reply_formats_list() -> *const c_char;
    /// The name of the format that a chat template (zero-terminated) writes calls in: by the marks
    /// in its text. NULL: none is known.
    pub fn sm_reply_format_of(template_text: *const c_char) -> *const c_char;
    /// SM_ERR_ARGUMENT, _NOMEM, _SYSTEM (threads), _UNSUPPORTED (pin, where the system cannot).
    pub fn sm_batch_new(out: *mut *mut sm_batch, model: *const sm_model, options: *const sm_batch_options, error: *mut sm_error) -> sm_status;
    pub fn sm_batch_free(batch: *mut sm_batch);
    /// A session that computes with the batch's team and buffers: n_threads, n_batch and pin of the
    /// options must be 0, n_ctx at most the batch's. sm_session_fork of it gives another session of
    /// the batch. SM_ERR_ARGUMENT, _NOMEM.
    pub fn sm_batch_new_session(out: *mut *mut sm_session, batch: *mut sm_batch, options: *const sm_session_options, error: *mut sm_error) -> sm_status;
    /// As sm_session_set_cancel, for steps. A step asks this hook and those of the sessions that it
    /// feeds; one that says yes cancels the step for all. SM_ERR_STATE inside a call of the batch.
    pub fn sm_batch_set_cancel(batch: *mut sm_batch, cancel: sm_cancel_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    /// Feeds all items in one pass. Each session then has the logits after its last token
    /// (sm_session_sample, sm_session_logits), as after sm_session_feed. On any failure every
    /// session is as it was: SM_ERR_ARGUMENT (a session of another batch or twice, more than
    /// n_sequences items or n_batch tokens), _TOKEN, _CONTEXT_FULL, _CANCELLED, _STATE (adapters
    /// that are not those of the first item; the batch or one of its sessions is in use); _NOMEM
    /// only where weights are used for the first time (by any session) and repacked; _FORMAT if an
    /// item wants logits and one is not finite. The message names the item, or the tensor that was
    /// being repacked. n_items may be 0.
    pub fn sm_batch_step(batch: *mut sm_batch, items: *const sm_batch_item, n_items: u64, error: *mut sm_error) -> sm_status;
    /// sm_session_generate for several sessions at once: prompts are fed one after the other, then
    /// each step computes a token of every text that goes on. What comes is for each what would
    /// have come for it alone. A prompt takes over what sessions of earlier items hold of it: n
    /// samples of one prompt are n sessions with this prompt and options whose sampling differs in
    /// `sequence`; it is computed once. A text that fails or is cancelled by its callback ends
    /// alone; a cancel hook ends all that are left. statuses (NULL, or [n_items]) gets what
    /// sm_session_generate would have returned of each, and sm_session_get_stats tells more.
    /// Returns the first of them that is not SM_OK, with its message; before anything begins
    /// SM_ERR_ARGUMENT (as sm_batch_step; a prompt that is NULL), _NOMEM, _STATE, which all
    /// statuses are then.
    pub fn sm_batch_generate(batch: *mut sm_batch, items: *const sm_batch_text, n_items: u64, statuses: *mut sm_status, error: *mut sm_error) -> sm_status;
    /// Writes out_path from the GGUF file in_path (parts of a split model beside it are read too;
    /// both may be the same). All keys are kept but general.file_type and
    /// general.quantization_version, which are set, and those that number the parts. Matrices are
    /// the tensors with two or more dimensions named *.weight, norms and position embeddings
    /// excepted; all else is copied. Where the columns of a matrix are no multiple of the type's
    /// block, it becomes IQ4_NL (for Q2_K, Q3_K, IQ1_… to IQ4_XS), Q5_0 (for Q4_K), Q5_1 (for
    /// Q5_K), Q8_0 (for Q6_K), Q4_0 (for TQ1_0, TQ2_0, Q1_0, Q2_0), MXFP4 (for NVFP4), or F16 if 32
    /// does not divide them either. Memory: one encoded tensor at a time. out_path appears only
    /// when it is complete; result may be NULL. SM_ERR_ARGUMENT (unknown type; one that needs an
    /// importance matrix, and none), _IO, _FORMAT (also: weights that are infinite or NaN, also of
    /// tensors that are copied, or too large for the type, and importance that is negative), _SHAPE
    /// (importance of another size than the matrix), _UNSUPPORTED (a source type that cannot be
    /// read; quantized matrices without requantize), _MISSING, _NOMEM, _SYSTEM, _CANCELLED;
    /// messages name file and tensor.
    pub fn sm_model_quantize(out_path: *const c_char, in_path: *const c_char, options: *const sm_quantize_options, result: *mut sm_quantize_result, error: *mut sm_error) -> sm_status;
    /// SM_ERR_ARGUMENT, _NOMEM, _SYSTEM.
    pub fn sm_imatrix_new(out: *mut *mut sm_imatrix, model: *const sm_model, options: *const sm_imatrix_options, error: *mut sm_error) -> sm_status;
    pub fn sm_imatrix_free(imatrix: *mut sm_imatrix);
    /// Asked while feeding; see sm_session_set_cancel.
    pub fn sm_imatrix_set_cancel(imatrix: *mut sm_imatrix, cancel: sm_cancel_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    /// Runs one chunk, 1 to n_ctx tokens, as a context of its own and adds its sums. A failed or
    /// cancelled chunk adds nothing. SM_ERR_ARGUMENT, _TOKEN, _CONTEXT_FULL, _CANCELLED, _NOMEM.
    pub fn sm_imatrix_feed(imatrix: *mut sm_imatrix, ids: *const i32, n: u64, error: *mut sm_error) -> sm_status;
    /// Tokens of a chunk at most, and chunks fed so far; 0 for NULL.
    pub fn sm_imatrix_capacity(imatrix: *const sm_imatrix) -> u32;
    pub fn sm_imatrix_chunks(imatrix: *const sm_imatrix) -> u32;
    /// Writes the sums in llama.cpp's GGUF format: general.type "imatrix", imatrix.datasets (the
    /// text's name), imatrix.chunk_count, imatrix.chunk_size, and per matrix NAME.in_sum2 [columns]
    /// and NAME.counts [1]. Feeding may go on. SM_ERR_STATE if nothing was fed, _IO, _NOMEM,
    /// _FORMAT if the model's activations were not finite.
    pub fn sm_imatrix_save(imatrix: *const sm_imatrix, path: *const c_char, dataset: *const c_char, error: *mut sm_error) -> sm_status;
    /// Loads an adapter file in llama.cpp's GGUF format, for this model: general.type "adapter",
    /// adapter.type "lora", and for a matrix W the tensors W.lora_a and W.lora_b, each of a type
    /// that is computed. Or a directory that PEFT saved (adapter_config.json,
    /// adapter_model.safetensors): LoRA and rsLoRA, with ranks and alphas of modules; the model may
    /// be of any kind of file. Where the model has matrices as rows of one tensor (attn_qkv) the
    /// adapter may have them apart (attn_q), and the other way round. SM_ERR_IO, _FORMAT (also
    /// weights that are not finite, and two pairs for one matrix), _MISSING (half of a pair),
    /// _SHAPE (does not fit the model: names the tensor), _UNSUPPORTED (another architecture or
    /// kind of adapter, or one of a tensor that is no matrix of a layer nor an output matrix of its
    /// own; a key of adapter_config.json that asks for what is not computed, such as DoRA), _NOMEM,
    /// _ARGUMENT, _CANCELLED. options may be NULL.
    pub fn sm_adapter_load(out: *mut *mut sm_adapter, model: *const sm_model, path: *const c_char, options: *const sm_adapter_options, error: *mut sm_error) -> sm_status;
    /// The same from anywhere (types.h).
    pub fn sm_adapter_load_from(out: *mut *mut sm_adapter, model: *const sm_model, origin: *const sm_origin, options: *const sm_adapter_options, error: *mut sm_error) -> sm_status;
    pub fn sm_adapter_free(adapter: *mut sm_adapter);
    pub fn sm_adapter_get_info(adapter: *const sm_adapter, info: *mut sm_adapter_info, error: *mut sm_error) -> sm_status;
    /// Adds scale times the adapter to what the session computes, or changes its scale if it is
    /// attached already. The session forgets its tokens: they were computed without it.
    /// SM_ERR_ARGUMENT (an adapter of another model, a scale that is not finite), SM_ERR_STATE (too
    /// many), SM_ERR_NOMEM; the session is then as before.
    pub fn sm_session_attach(session: *mut sm_session, adapter: *const sm_adapter, scale: f64, error: *mut sm_error) -> sm_status;
    /// Takes it away again; the session forgets its tokens. SM_ERR_ARGUMENT if it is not attached.
    pub fn sm_session_detach(session: *mut sm_session, adapter: *const sm_adapter, error: *mut sm_error) -> sm_status;
    /// Writes a model with scale times the adapter added to its matrices; all other tensors and
    /// keys are copied. out_path may be model_path; it appears only when it is complete. options
    /// may be NULL. Statuses of sm_model_load and sm_adapter_load, _FORMAT also for weights that
    /// are infinite or NaN, before merging or after, or too large for the type (names tensor and
    /// row), _ARGUMENT (type, a scale that is not finite), _UNSUPPORTED (a packed model),
    /// _CANCELLED.
    pub fn sm_adapter_merge(out_path: *const c_char, model_path: *const c_char, adapter_path: *const c_char, scale: f64, options: *const sm_merge_options, error: *mut sm_error) -> sm_status;
    /// Writes an adapter, in any form that sm_adapter_load takes, as PEFT saves them, for the model
    /// in Hugging Face's form: out_directory (made where it is not there; what is above it must be)
    /// gets adapter_model.safetensors, in f32, and then adapter_config.json, each of which appears
    /// only when it is complete. It counts in PEFT what it counts here at scale 1. options may be
    /// NULL; progress counts matrices. Statuses of sm_model_load and sm_adapter_load, _UNSUPPORTED
    /// also for what has no name there: an adapter of the experts of a layer, or of a matrix that
    /// is a part of theirs.
    pub fn sm_adapter_export(out_directory: *const c_char, model_path: *const c_char, adapter_path: *const c_char, options: *const sm_adapter_options, error: *mut sm_error) -> sm_status;
    /// Holds a reference to the model. One call at a time: another one that comes meanwhile gets
    /// SM_ERR_STATE, sm_encoder_free takes effect when it ends; after a fork() only freeing works
    /// (SM_ERR_STATE). SM_ERR_ARGUMENT, _NOMEM, _SYSTEM (threads), _UNSUPPORTED (a kind of state
    /// that cannot be computed all at once).
    pub fn sm_encoder_new(out: *mut *mut sm_encoder, model: *const sm_model, options: *const sm_encoder_options, error: *mut sm_error) -> sm_status;
    pub fn sm_encoder_free(encoder: *mut sm_encoder);
    /// NULL is fine
    pub fn sm_encoder_get_info(encoder: *const sm_encoder, info: *mut sm_encoder_info, error: *mut sm_error) -> sm_status;
    /// The name of a label, in UTF-8, *length bytes (may be NULL), valid as long as the model; NULL
    /// where it has none.
    pub fn sm_encoder_label(encoder: *const sm_encoder, i: u32, length: *mut u64) -> *const c_char;
    /// vectors[n][n_dims]. capacity: floats there is room for, SM_ERR_BUFFER if that is too few.
    /// SM_ERR_ARGUMENT, _MISSING (the model has no vocabulary), _CONTEXT_FULL, _NOMEM, _CANCELLED,
    /// _FORMAT (hidden states that are not finite); on failure what vectors hold is undefined. A
    /// text without tokens has a vector of zeros.
    pub fn sm_encoder_embed(encoder: *mut sm_encoder, texts: *const sm_text, n: u64, vectors: *mut f32, capacity: u64, error: *mut sm_error) -> sm_status;
    /// The same of n_ids tokens of one's own, markers included: vector[n_dims]. Also SM_ERR_TOKEN;
    /// longer ones than max_tokens are refused.
    pub fn sm_encoder_embed_ids(encoder: *mut sm_encoder, ids: *const i32, n_ids: u64, vector: *mut f32, capacity: u64, error: *mut sm_error) -> sm_status;
    /// The last hidden states of such tokens, after the last norm: states[n_ids][n_embd].
    pub fn sm_encoder_hidden(encoder: *mut sm_encoder, ids: *const i32, n_ids: u64, states: *mut f32, capacity: u64, error: *mut sm_error) -> sm_status;
    /// scores[n][n_labels] of texts, as the model makes them: of several labels their softmax, of
    /// one its sigmoid is a probability. SM_ERR_UNSUPPORTED if the model has none.
    pub fn sm_encoder_score(encoder: *mut sm_encoder, texts: *const sm_text, n: u64, scores: *mut f32, capacity: u64, error: *mut sm_error) -> sm_status;
    /// The same of tokens, with the type of each (the segment; NULL: 0): scores[n_labels].
    pub fn sm_encoder_score_ids(encoder: *mut sm_encoder, ids: *const i32, types: *const i32, n_ids: u64, scores: *mut f32, capacity: u64, error: *mut sm_error) -> sm_status;
    /// scores[n], the greater the better, of documents for a query, by a model with one label that
    /// reads pairs. Long documents are cut. SM_ERR_UNSUPPORTED where it has another number of
    /// labels, or its vocabulary does not say how pairs are put together.
    pub fn sm_encoder_rerank(encoder: *mut sm_encoder, query: *const c_char, length: u64, documents: *const sm_text, n: u64, scores: *mut f32, capacity: u64, error: *mut sm_error) -> sm_status;
    /// packed[n][bytes]: n_dims or (n_dims + 7) / 8 bytes for each of vectors[n][n_dims]. size:
    /// bytes there is room for. SM_ERR_ARGUMENT (also values that are no numbers), _BUFFER.
    pub fn sm_vectors_pack(vectors: *const f32, n: u64, n_dims: u32, kind: u32, packed: *mut c_void, size: u64, error: *mut sm_error) -> sm_status;
    /// Learns a byte-level BPE vocabulary from text files (UTF-8) and writes it as a GGUF file
    /// without weights. SM_ERR_ARGUMENT, _IO, _FORMAT (not UTF-8: names the file; or no text at
    /// all), _UNSUPPORTED (pre; a compressed file, or UTF-16), _NOMEM, _CANCELLED.
    pub fn sm_vocabulary_train(path: *const c_char, text_paths: *const *const c_char, n_texts: u64, options: *const sm_vocabulary_options, error: *mut sm_error) -> sm_status;
    /// Writes a model with random weights (normal, standard deviation 0.02; matrices that add to
    /// the residual stream 0.02/sqrt(2 n_layer); norms 1, biases 0) and the vocabulary of another
    /// GGUF file, or of a directory with config.json and tokenizer.json. f32. SM_ERR_ARGUMENT, _IO,
    /// _MISSING (no vocabulary; a size that the architecture needs beside these: names its key),
    /// _UNSUPPORTED (no such architecture), _NOMEM, _CANCELLED.
    pub fn sm_model_init(path: *const c_char, vocabulary_path: *const c_char, options: *const sm_model_init_options, error: *mut sm_error) -> sm_status;
    /// Opens the model and the data. The model needs a vocabulary. SM_ERR_ARGUMENT, _IO, _FORMAT
    /// (the data: file and line; weights that are infinite or NaN: tensor and row), _MISSING,
    /// _SHAPE, _UNSUPPORTED, _NOMEM, _SYSTEM, _CANCELLED.
    pub fn sm_trainer_open(out: *mut *mut sm_trainer, model_path: *const c_char, options: *const sm_trainer_options, error: *mut sm_error) -> sm_status;
    pub fn sm_trainer_free(trainer: *mut sm_trainer);
    pub fn sm_trainer_get_info(trainer: *const sm_trainer, info: *mut sm_trainer_info, error: *mut sm_error) -> sm_status;
    /// Steps still to be done; 0 for NULL.
    pub fn sm_trainer_steps_left(trainer: *const sm_trainer) -> u64;
    /// One optimizer step: `accumulate` batches forward and backward, clip, update. metrics may be
    /// NULL. SM_ERR_CANCELLED (the hook said so: nothing has changed; or the update of the weights
    /// had begun: the next step goes on with it and is then that step, and an evaluation, saving or
    /// exporting finishes it first). SM_ERR_DIVERGED if the loss or a gradient is not finite:
    /// weights and optimizer are as before the step, the trainer goes no further. SM_ERR_STATE if
    /// no step is left, or its batches hold no token to learn. SM_ERR_ARGUMENT (struct_size of
    /// metrics: no step is taken), _FORMAT, _NOMEM.
    pub fn sm_trainer_step(trainer: *mut sm_trainer, metrics: *mut sm_train_metrics, error: *mut sm_error) -> sm_status;
    /// Steps until none is left, `steps` are done (0: all that are left) or on_step, called after
    /// each, wants no more (SM_ERR_CANCELLED); on_step may be NULL. The statuses of
    /// sm_trainer_step, SM_OK if no step is left.
    pub fn sm_trainer_train(trainer: *mut sm_trainer, steps: u64, on_step: sm_train_step_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    /// Asked by the calling thread every few milliseconds of a step or evaluation, and while
    /// saving, resuming and exporting; non-zero makes that call return SM_ERR_CANCELLED. NULL:
    /// never. A hook that goes on saying so lets nothing be saved: take it away before what was
    /// trained is written.
    pub fn sm_trainer_set_cancel(trainer: *mut sm_trainer, cancel: sm_cancel_fn, user: *mut c_void, error: *mut sm_error) -> sm_status;
    /// Over the validation part. SM_ERR_STATE if there is none, _DIVERGED if the loss is not
    /// finite, _CANCELLED, _ARGUMENT, _FORMAT, _NOMEM.
    pub fn sm_trainer_evaluate(trainer: *mut sm_trainer, result: *mut sm_train_evaluation, error: *mut sm_error) -> sm_status;
    /// Everything that going on needs: weights, optimizer, schedule, place in the data, and a
    /// checksum of the whole file. The file appears whole or not at all. SM_ERR_IO, _NOMEM,
    /// _ARGUMENT, _CANCELLED, _DIVERGED (a weight is not finite: nothing is written, so that a
    /// checkpoint that is there stays the last good one).
    pub fn sm_trainer_save(trainer: *mut sm_trainer, path: *const c_char, error: *mut sm_error) -> sm_status;
    /// Goes on where a checkpoint of the same model, data and options stands. Options that do not
    /// change what is computed (threads) may differ, and `steps`, if the schedule is to end later;
    /// the data may lie elsewhere, but every byte of it is compared (by a hash), and every bit of
    /// an option. Files of earlier versions of the library are read. SM_ERR_IO, _FORMAT (damaged:
    /// any byte of it is another than was written), _ARGUMENT (of another run: names what differs),
    /// _UNSUPPORTED (a later version of the format), _NOMEM, _CANCELLED; the trainer is then as
    /// before. Only where it is cancelled while weights are being replaced it is of no use
    /// (SM_ERR_STATE) until a checkpoint is resumed.
    pub fn sm_trainer_resume(trainer: *mut sm_trainer, path: *const c_char, error: *mut sm_error) -> sm_status;
    /// Where a checkpoint stands, without its model and data; the checksum is not looked at.
    /// SM_ERR_IO, _FORMAT (no checkpoint), _UNSUPPORTED (a later version), _ARGUMENT, _NOMEM.
    pub fn sm_checkpoint_get_info(path: *const c_char, info: *mut sm_checkpoint_info, error: *mut sm_error) -> sm_status;
    /// What a run was made with, so that it can be opened again without saying so: sets the fields
    /// of `options` (struct_size set by the caller) that determine what is computed, and steps,
    /// data_kind, data, more_data, separator and lora_targets; *model_path to the model's. Paths
    /// are as they were given then. The strings and the list more_data lie in `text`, of `capacity`
    /// bytes, NULL where they were not given. What the checkpoint does not know (threads, memory,
    /// hooks; paths, if it is of an older library) stays as it is. *needed: bytes of text that it
    /// takes. SM_ERR_BUFFER (more than capacity: nothing is set but *needed), and the statuses of
    /// sm_checkpoint_get_info; the checksum is looked at.
    pub fn sm_checkpoint_get_options(path: *const c_char, options: *mut sm_trainer_options, model_path: *mut *const c_char, text: *mut c_char, capacity: u64, needed: *mut u64, error: *mut sm_error) -> sm_status;
    /// Writes the model as it is now. options may be NULL. SM_ERR_DIVERGED (a weight is not
    /// finite), _FORMAT (too large for the type: names tensor and row; in both cases nothing is
    /// written), _ARGUMENT (type), _STATE (adapters are trained: sm_trainer_export_adapter, and
    /// sm_adapter_merge for a model with them), _IO, _NOMEM.
    pub fn sm_trainer_export(trainer: *mut sm_trainer, path: *const c_char, options: *const sm_export_options, error: *mut sm_error) -> sm_status;
    /// Writes the adapters alone, as a GGUF adapter file. SM_ERR_STATE if there are none, _DIVERGED
    /// (a weight is not finite: nothing is written), _ARGUMENT, _IO, _NOMEM.
    pub fn sm_trainer_export_adapter(trainer: *mut sm_trainer, path: *const c_char, error: *mut sm_error) -> sm_status;
}
