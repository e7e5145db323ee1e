"""Declarations of libsmallmind for ctypes. Made by scripts/bindings.py: do not edit."""
# ruff: noqa
from ctypes import (CFUNCTYPE, POINTER, Structure, c_char, c_char_p, c_double,
                    c_float, c_int32, c_int64, c_uint8, c_uint32, c_uint64, c_void_p)

# constants
SM_OK = 0
SM_ERR_ARGUMENT = -1
SM_ERR_NOMEM = -2
SM_ERR_IO = -3
SM_ERR_FORMAT = -4
SM_ERR_MISSING = -5
SM_ERR_SHAPE = -6
SM_ERR_UNSUPPORTED = -7
SM_ERR_TOKEN = -8
SM_ERR_CONTEXT_FULL = -9
SM_ERR_CANCELLED = -10
SM_ERR_STATE = -11
SM_ERR_BUFFER = -12
SM_ERR_SYSTEM = -13
SM_ERR_DIVERGED = -14
SM_LOG_ERROR = 1
SM_LOG_WARN = 2
SM_LOG_INFO = 3
SM_ORIGIN_PATH = 0
SM_ORIGIN_MEMORY = 1
SM_ORIGIN_FD = 2
SM_ORIGIN_READ = 3
SM_LEVEL_AUTO = 0
SM_LEVEL_SCALAR = 1
SM_LEVEL_AVX2 = 2
SM_LEVEL_AVX512 = 3
SM_LEVEL_NEON = 4
SM_LEVEL_DOTPROD = 5
SM_LEVEL_AVXVNNI = 6
SM_LEVEL_I8MM = 7
SM_LEVEL_AVX512BF16 = 8
SM_OPTION_U32 = 1
SM_OPTION_U64 = 2
SM_OPTION_F64 = 3
SM_OPTION_ENUM = 4
SM_OPTION_POINTER = 5
SM_OPTION_BOOL = 6
SM_OPTION_STRING = 7
SM_OPTIONS_MODEL = 1
SM_OPTIONS_SESSION = 2
SM_OPTIONS_SAMPLING = 3
SM_OPTIONS_GENERATE = 4
SM_OPTIONS_QUANTIZE = 5
SM_OPTIONS_IMATRIX = 6
SM_OPTIONS_BATCH = 7
SM_OPTIONS_WATERMARK = 8
SM_OPTIONS_ADAPTER = 9
SM_OPTIONS_MERGE = 10
SM_OPTIONS_PACK = 11
SM_OPTIONS_FORK = 12
SM_OPTIONS_TRAINER = 16
SM_OPTIONS_INIT = 17
SM_OPTIONS_VOCABULARY = 18
SM_OPTIONS_EXPORT = 19
SM_OPTIONS_ENCODER = 20
SM_IO_MAP = 0
SM_IO_READ = 1
SM_GGUF_HOLDS_MODEL = 1
SM_GGUF_HOLDS_PACKED = 2
SM_GGUF_HOLDS_VOCABULARY = 4
SM_GGUF_HOLDS_ADAPTER = 8
SM_GGUF_HOLDS_IMATRIX = 16
SM_GGUF_HOLDS_CHECKPOINT = 32
SM_GGUF_HOLDS_OTHER = 64
SM_TOKENIZER_BPE = 1
SM_TOKENIZER_SPM = 2
SM_TOKENIZER_WORDPIECE = 3
SM_TOKENIZER_UNIGRAM = 4
SM_TOKENIZER_CHARS = 5
SM_TOKENIZER_WORDLEVEL = 6
SM_ENCODE_SPECIAL = 1
SM_ENCODE_MARKERS = 2
SM_DECODE_SPECIAL = 1
SM_DECODE_KEEP_SPACE = 2
SM_DECODE_TEXT = 4
SM_CONSTRAINT_GBNF = 1
SM_CONSTRAINT_REGEX = 2
SM_CONSTRAINT_GRAMMAR = 3
SM_SPACES_NONE = 0
SM_SPACES_ONE = 1
SM_SPACES_ANY = 2
SM_SCHEMA_ANY_ORDER = 1
SM_SCHEMA_UNKNOWN = 2
SM_REPACK_LAZY = 0
SM_REPACK_NONE = 1
SM_ACTIVATIONS_FAST = 0
SM_ACTIVATIONS_FLOAT = 1
SM_KV_TYPE_F16 = 0
SM_KV_TYPE_F32 = 1
SM_KV_TYPE_BF16 = 2
SM_KV_TYPE_Q8_0 = 3
SM_KV_TYPE_Q4_0 = 4
SM_KV_TYPE_Q5_0 = 5
SM_KV_TYPE_IQ4_NL = 6
SM_KV_KEEP_WINDOW = 0
SM_KV_KEEP_ALL = 1
SM_MAX_LOGPROBS = 20
SM_SAMPLER_PENALTIES = 1
SM_SAMPLER_DRY = 2
SM_SAMPLER_TOP_N_SIGMA = 3
SM_SAMPLER_TOP_K = 4
SM_SAMPLER_TYPICAL = 5
SM_SAMPLER_TOP_P = 6
SM_SAMPLER_MIN_P = 7
SM_SAMPLER_TOP_A = 8
SM_SAMPLER_XTC = 9
SM_SAMPLER_TEMPERATURE = 10
SM_SAMPLER_MIROSTAT = 11
SM_WATERMARK_LEFT = 0
SM_WATERMARK_SELF = 1
SM_CONTEXT_STOP = 0
SM_CONTEXT_SLIDE = 1
SM_CONTEXT_SINKS = 2
SM_CONTEXT_ASK = 3
SM_SPECULATE_NO = 0
SM_SPECULATE_NGRAM = 1
SM_FINISH_NONE = 0
SM_FINISH_END = 1
SM_FINISH_STOP = 2
SM_FINISH_LENGTH = 3
SM_FINISH_CANCELLED = 4
SM_FINISH_CONTEXT = 5
SM_FINISH_ERROR = 6
SM_DELTA_CONTENT = 1
SM_DELTA_REASONING = 2
SM_DELTA_CALL = 3
SM_DELTA_END = 4
SM_MAX_ADAPTERS = 16
SM_POOLING_MODEL = 0
SM_POOLING_MEAN = 1
SM_POOLING_FIRST = 2
SM_POOLING_LAST = 3
SM_LONG_CUT = 0
SM_LONG_REFUSE = 1
SM_LONG_WINDOWS = 2
SM_PACKED_INT8 = 1
SM_PACKED_BINARY = 2
SM_FAMILY_LLAMA = 0
SM_FAMILY_QWEN2 = 1
SM_FAMILY_QWEN3 = 2
SM_DATA_FILE_AUTO = 0
SM_DATA_FILE_TEXT = 1
SM_DATA_FILE_INSTRUCT = 2
SM_DATA_FILE_CHOSEN = 3
SM_LAYOUT_ALPACA = 0
SM_LAYOUT_CHATML = 1
SM_OPTIMIZER_ADAMW = 0
SM_OPTIMIZER_LION = 1
SM_OPTIMIZER_ADAFACTOR = 2
SM_OPTIMIZER_SGD = 3
SM_OBJECTIVE_SUPERVISED = 0
SM_OBJECTIVE_DPO = 1
SM_OBJECTIVE_IPO = 2
SM_OBJECTIVE_SIMPO = 3
SM_OBJECTIVE_ORPO = 4
SM_OBJECTIVE_KTO = 5
SM_LR_COSINE = 0
SM_LR_CONSTANT = 1
SM_LR_LINEAR = 2
SM_LR_POLYNOMIAL = 3
SM_LR_INVERSE_SQRT = 4
SM_LR_WSD = 5
SM_LR_RESTARTS = 6
SM_TRAIN_F32 = 0
SM_TRAIN_BF16 = 1
SM_VERSION_MAJOR = 1
SM_VERSION_MINOR = 0
SM_VERSION_PATCH = 0
SM_ABI = 1

# what no int can be
SM_ZERO = -1.0
SM_ZERO_U32 = 4294967295
SM_NAME_NONE = 4294967295
SM_ZT = 18446744073709551615


class sm_text(Structure):
    pass


class sm_error(Structure):
    pass


class sm_build_info(Structure):
    pass


class sm_allocator(Structure):
    pass


class sm_logger(Structure):
    pass


class sm_origin(Structure):
    pass


class sm_option(Structure):
    pass


class sm_gguf_options(Structure):
    pass


class sm_gguf_info(Structure):
    pass


class sm_gguf_tensor_info(Structure):
    pass


class sm_tokenizer_options(Structure):
    pass


class sm_tokenizer_info(Structure):
    pass


class sm_encode_options(Structure):
    pass


class sm_constraint_options(Structure):
    pass


class sm_schema_options(Structure):
    pass


class sm_model_options(Structure):
    pass


class sm_model_info(Structure):
    pass


class sm_pack_options(Structure):
    pass


class sm_session_options(Structure):
    pass


class sm_fork_options(Structure):
    pass


class sm_session_info(Structure):
    pass


class sm_token_logprob(Structure):
    pass


class sm_logit_bias(Structure):
    pass


class sm_sampler_info(Structure):
    pass


class sm_sampling_step(Structure):
    pass


class sm_watermark(Structure):
    pass


class sm_watermark_score(Structure):
    pass


class sm_sampling(Structure):
    pass


class sm_choice(Structure):
    pass


class sm_context_full(Structure):
    pass


class sm_generate_options(Structure):
    pass


class sm_token(Structure):
    pass


class sm_generate_stats(Structure):
    pass


class sm_chat_options(Structure):
    pass


class sm_render_options(Structure):
    pass


class sm_reply_options(Structure):
    pass


class sm_delta(Structure):
    pass


class sm_reply_info(Structure):
    pass


class sm_answer_options(Structure):
    pass


class sm_batch_options(Structure):
    pass


class sm_batch_item(Structure):
    pass


class sm_batch_text(Structure):
    pass


class sm_quantize_override(Structure):
    pass


class sm_quantize_tensor(Structure):
    pass


class sm_quantize_options(Structure):
    pass


class sm_quantize_result(Structure):
    pass


class sm_imatrix_options(Structure):
    pass


class sm_adapter_options(Structure):
    pass


class sm_merge_options(Structure):
    pass


class sm_adapter_info(Structure):
    pass


class sm_encoder_options(Structure):
    pass


class sm_encoder_info(Structure):
    pass


class sm_vocabulary_options(Structure):
    pass


class sm_model_init_options(Structure):
    pass


class sm_trainer_options(Structure):
    pass


class sm_trainer_info(Structure):
    pass


class sm_train_metrics(Structure):
    pass


class sm_train_evaluation(Structure):
    pass


class sm_checkpoint_info(Structure):
    pass


class sm_export_options(Structure):
    pass


# callbacks
sm_done_fn = CFUNCTYPE(None, c_void_p)
sm_alloc_fn = CFUNCTYPE(c_void_p, c_void_p, c_uint64, c_uint64)
sm_release_fn = CFUNCTYPE(None, c_void_p, c_void_p, c_uint64, c_uint64)
sm_log_fn = CFUNCTYPE(None, c_void_p, c_int32, c_char_p)
sm_progress_fn = CFUNCTYPE(c_int32, c_void_p, c_uint64, c_uint64)
sm_cancel_fn = CFUNCTYPE(c_int32, c_void_p)
sm_read_fn = CFUNCTYPE(c_int64, c_void_p, c_uint64, c_void_p, c_uint64)
sm_context_fn = CFUNCTYPE(c_int32, c_void_p, POINTER(sm_context_full))
sm_token_fn = CFUNCTYPE(c_int32, c_void_p, POINTER(sm_token))
sm_delta_fn = CFUNCTYPE(c_int32, c_void_p, POINTER(sm_delta))
sm_quantize_tensor_fn = CFUNCTYPE(c_int32, c_void_p, POINTER(sm_quantize_tensor))
sm_train_step_fn = CFUNCTYPE(c_int32, c_void_p, POINTER(sm_train_metrics))

# fields
sm_text._fields_ = [
    ("text", c_char_p),
    ("length", c_uint64),
]

sm_error._fields_ = [
    ("code", c_int32),
    ("system", c_int32),
    ("message", c_char * 504),
]

sm_build_info._fields_ = [
    ("struct_size", c_uint32),
    ("abi", c_uint32),
    ("version_number", c_uint32),
    ("level", c_uint32),
    ("version", c_char_p),
    ("families", c_char_p),
    ("types", c_char_p),
    ("features", c_char_p),
    ("levels", c_uint64),
]

sm_allocator._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("alloc", sm_alloc_fn),
    ("release", sm_release_fn),
    ("user", c_void_p),
    ("done", sm_done_fn),
]

sm_logger._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("log", sm_log_fn),
    ("user", c_void_p),
    ("done", sm_done_fn),
]

sm_origin._fields_ = [
    ("struct_size", c_uint32),
    ("kind", c_uint32),
    ("name", c_char_p),
    ("data", c_void_p),
    ("read", sm_read_fn),
    ("done", sm_done_fn),
    ("user", c_void_p),
    ("offset", c_uint64),
    ("size", c_uint64),
    ("fd", c_int64),
]

sm_option._fields_ = [
    ("struct_size", c_uint32),
    ("type", c_uint32),
    ("offset", c_uint32),
    ("reserved", c_uint32),
    ("name", c_char_p),
    ("names", c_char_p),
    ("unit", c_char_p),
    ("doc", c_char_p),
    ("min", c_double),
    ("max", c_double),
    ("fallback", c_double),
    ("zero", c_double),
]

sm_gguf_options._fields_ = [
    ("struct_size", c_uint32),
    ("io", c_uint32),
    ("allocator", POINTER(sm_allocator)),
    ("progress", sm_progress_fn),
    ("progress_user", c_void_p),
    ("cancel_flag", c_void_p),
]

sm_gguf_info._fields_ = [
    ("struct_size", c_uint32),
    ("version", c_uint32),
    ("alignment", c_uint32),
    ("n_files", c_uint32),
    ("n_keys", c_uint64),
    ("n_tensors", c_uint64),
    ("n_elements", c_uint64),
    ("data_bytes", c_uint64),
    ("holds", c_uint64),
]

sm_gguf_tensor_info._fields_ = [
    ("struct_size", c_uint32),
    ("type", c_uint32),
    ("name", c_char_p),
    ("type_name", c_char_p),
    ("n_dims", c_uint32),
    ("file", c_uint32),
    ("dims", c_uint64 * 4),
    ("offset", c_uint64),
    ("size", c_uint64),
    ("packed", c_uint32),
    ("weight_type", c_uint32),
    ("weight_type_name", c_char_p),
    ("weight_dims", c_uint64 * 4),
]

sm_tokenizer_options._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("allocator", POINTER(sm_allocator)),
    ("cancel", sm_cancel_fn),
    ("cancel_user", c_void_p),
    ("log", POINTER(sm_logger)),
    ("cancel_flag", c_void_p),
]

sm_tokenizer_info._fields_ = [
    ("struct_size", c_uint32),
    ("kind", c_uint32),
    ("n_vocab", c_int32),
    ("bos", c_int32),
    ("eos", c_int32),
    ("unk", c_int32),
    ("sep", c_int32),
    ("pad", c_int32),
    ("mask", c_int32),
    ("eot", c_int32),
    ("add_bos", c_int32),
    ("add_eos", c_int32),
    ("pre", c_char * 64),
]

sm_encode_options._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("cancel", sm_cancel_fn),
    ("cancel_user", c_void_p),
    ("cancel_flag", c_void_p),
]

sm_constraint_options._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("triggers", POINTER(sm_text)),
    ("allocator", POINTER(sm_allocator)),
    ("n_triggers", c_uint64),
    ("memory_limit", c_uint64),
    ("cancel", sm_cancel_fn),
    ("cancel_user", c_void_p),
    ("cancel_flag", c_void_p),
    ("reserved_pointer", c_void_p),
]

sm_schema_options._fields_ = [
    ("struct_size", c_uint32),
    ("draft", c_uint32),
    ("spaces", c_uint32),
    ("max_spaces", c_uint32),
    ("flags", c_uint32),
    ("reserved", c_uint32),
    ("cancel", sm_cancel_fn),
    ("cancel_user", c_void_p),
    ("cancel_flag", c_void_p),
]

sm_model_options._fields_ = [
    ("struct_size", c_uint32),
    ("io", c_uint32),
    ("level", c_uint32),
    ("repack", c_uint32),
    ("activations", c_uint32),
    ("reserved", c_uint32),
    ("allocator", POINTER(sm_allocator)),
    ("log", POINTER(sm_logger)),
    ("progress", sm_progress_fn),
    ("progress_user", c_void_p),
    ("cancel_flag", c_void_p),
    ("memory_limit", c_uint64),
]

sm_model_info._fields_ = [
    ("struct_size", c_uint32),
    ("level", c_uint32),
    ("architecture", c_char_p),
    ("name", c_char_p),
    ("n_vocab", c_int32),
    ("n_ctx_train", c_int32),
    ("n_embd", c_int32),
    ("n_layer", c_int32),
    ("n_head", c_int32),
    ("n_head_kv", c_int32),
    ("head_dim", c_int32),
    ("n_ff", c_int32),
    ("n_params", c_uint64),
    ("weight_bytes", c_uint64),
    ("decode_bytes", c_uint64),
    ("packed_bytes", c_uint64),
    ("heap_bytes", c_uint64),
    ("heap_peak", c_uint64),
    ("n_allocs", c_uint64),
    ("packed_file_bytes", c_uint64),
    ("sliding_window", c_int32),
    ("reserved", c_int32),
]

sm_pack_options._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("progress", sm_progress_fn),
    ("progress_user", c_void_p),
    ("cancel_flag", c_void_p),
]

sm_session_options._fields_ = [
    ("struct_size", c_uint32),
    ("n_ctx", c_uint32),
    ("n_threads", c_uint32),
    ("n_batch", c_uint32),
    ("kv_type", c_uint32),
    ("pin", c_uint32),
    ("kv_keep", c_uint32),
    ("reserved", c_uint32),
    ("cancel_flag", c_void_p),
]

sm_fork_options._fields_ = [
    ("struct_size", c_uint32),
    ("n_threads", c_uint32),
    ("cancel_flag", c_void_p),
]

sm_session_info._fields_ = [
    ("struct_size", c_uint32),
    ("length", c_uint32),
    ("n_ctx", c_uint32),
    ("n_threads", c_uint32),
    ("n_batch", c_uint32),
    ("kv_type", c_uint32),
    ("kv_keep", c_uint32),
    ("n_vocab", c_int32),
    ("cache_bytes", c_uint64),
]

sm_token_logprob._fields_ = [
    ("id", c_int32),
    ("reserved", c_int32),
    ("logprob", c_double),
]

sm_logit_bias._fields_ = [
    ("token", c_int32),
    ("reserved", c_int32),
    ("bias", c_double),
]

sm_sampler_info._fields_ = [
    ("struct_size", c_uint32),
    ("sampler", c_uint32),
    ("n_parameters", c_uint32),
    ("reserved", c_uint32),
    ("name", c_char_p),
    ("other_names", c_char_p),
    ("parameters", c_char_p),
    ("fields", c_char_p),
    ("doc", c_char_p),
]

sm_sampling_step._fields_ = [
    ("sampler", c_uint32),
    ("min_keep", c_uint32),
    ("value", c_double * 4),
]

sm_watermark._fields_ = [
    ("struct_size", c_uint32),
    ("seeding", c_uint32),
    ("width", c_uint32),
    ("reserved", c_uint32),
    ("gamma", c_double),
    ("delta", c_double),
    ("key", c_uint64),
]

sm_watermark_score._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("n_scored", c_uint64),
    ("n_green", c_uint64),
    ("n_repeated", c_uint64),
    ("z", c_double),
    ("p", c_double),
]

sm_sampling._fields_ = [
    ("struct_size", c_uint32),
    ("top_k", c_uint32),
    ("temperature", c_double),
    ("top_p", c_double),
    ("min_p", c_double),
    ("repeat_penalty", c_double),
    ("presence_penalty", c_double),
    ("frequency_penalty", c_double),
    ("penalty_last_n", c_uint32),
    ("min_keep", c_uint32),
    ("seed", c_uint64),
    ("sequence", c_uint64),
    ("bias", POINTER(sm_logit_bias)),
    ("n_bias", c_uint64),
    ("typical_p", c_double),
    ("top_a", c_double),
    ("top_n_sigma", c_double),
    ("xtc_probability", c_double),
    ("xtc_threshold", c_double),
    ("dry_multiplier", c_double),
    ("dry_base", c_double),
    ("dry_allowed_length", c_uint32),
    ("dry_last_n", c_uint32),
    ("dry_breakers", POINTER(c_int32)),
    ("n_dry_breakers", c_uint64),
    ("dynatemp_range", c_double),
    ("dynatemp_exponent", c_double),
    ("mirostat", c_uint32),
    ("mirostat_m", c_uint32),
    ("mirostat_tau", c_double),
    ("mirostat_eta", c_double),
    ("n_steps", c_uint64),
    ("steps", POINTER(sm_sampling_step)),
    ("order", c_char_p),
    ("mask", POINTER(c_uint32)),
    ("watermark", POINTER(sm_watermark)),
    ("logits", POINTER(c_float)),
    ("dry_breaker_texts", POINTER(sm_text)),
    ("n_dry_breaker_texts", c_uint64),
]

sm_choice._fields_ = [
    ("struct_size", c_uint32),
    ("id", c_int32),
    ("logprob", c_double),
    ("rank", c_uint64),
    ("top", POINTER(sm_token_logprob)),
    ("n_top", c_uint64),
]

sm_context_full._fields_ = [
    ("struct_size", c_uint32),
    ("policy", c_uint32),
    ("n_ctx", c_uint32),
    ("n_keep", c_uint32),
    ("ids", POINTER(c_int32)),
    ("replacement", POINTER(c_int32)),
    ("n_replacement", c_uint64),
    ("n_ids", c_uint64),
    ("n_dropped", c_uint64),
]

sm_generate_options._fields_ = [
    ("struct_size", c_uint32),
    ("max_tokens", c_uint32),
    ("sampling", POINTER(sm_sampling)),
    ("stop", POINTER(sm_text)),
    ("parse_special", c_uint32),
    ("no_bos", c_uint32),
    ("ignore_end", c_uint32),
    ("speculate", c_uint32),
    ("draft_tokens", c_uint32),
    ("draft", c_void_p),
    ("context_full", c_uint32),
    ("n_keep", c_uint32),
    ("n_drop", c_uint32),
    ("heal", c_uint32),
    ("on_context_full", sm_context_fn),
    ("context_full_user", c_void_p),
    ("constraint", c_void_p),
    ("cancel_flag", c_void_p),
    ("ban", POINTER(sm_text)),
    ("min_tokens", c_uint32),
    ("n_logprobs", c_uint32),
    ("echo", c_uint32),
    ("n_stop", c_uint64),
    ("n_ban", c_uint64),
]

sm_token._fields_ = [
    ("struct_size", c_uint32),
    ("id", c_int32),
    ("logprob", c_double),
    ("text", c_char_p),
    ("length", c_uint64),
    ("top", POINTER(sm_token_logprob)),
    ("n_top", c_uint64),
    ("in_prompt", c_uint32),
    ("reserved", c_uint32),
]

sm_generate_stats._fields_ = [
    ("struct_size", c_uint32),
    ("finish", c_uint32),
    ("prompt_tokens", c_uint32),
    ("reused_tokens", c_uint32),
    ("generated_tokens", c_uint32),
    ("reserved", c_uint32),
    ("prepare_seconds", c_double),
    ("prompt_seconds", c_double),
    ("first_token_seconds", c_double),
    ("generate_seconds", c_double),
    ("drafted_tokens", c_uint64),
    ("accepted_tokens", c_uint64),
    ("dropped_tokens", c_uint64),
    ("context_fulls", c_uint64),
    ("healed_tokens", c_uint64),
]

sm_chat_options._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("template_text", c_char_p),
    ("template_name", c_char_p),
    ("bos", c_char_p),
    ("eos", c_char_p),
    ("allocator", POINTER(sm_allocator)),
]

sm_render_options._fields_ = [
    ("struct_size", c_uint32),
    ("no_generation_prompt", c_uint32),
    ("variables", c_char_p),
    ("cancel", sm_cancel_fn),
    ("cancel_user", c_void_p),
    ("cancel_flag", c_void_p),
    ("clock", c_int64),
]

sm_reply_options._fields_ = [
    ("struct_size", c_uint32),
    ("first_call", c_uint32),
    ("format", c_char_p),
    ("template_text", c_char_p),
    ("prompt_end", c_char_p),
    ("tools", c_char_p),
    ("allocator", POINTER(sm_allocator)),
]

sm_delta._fields_ = [
    ("struct_size", c_uint32),
    ("kind", c_uint32),
    ("text", c_char_p),
    ("length", c_uint64),
    ("name", c_char_p),
    ("id", c_char_p),
    ("json", c_char_p),
    ("json_length", c_uint64),
]

sm_reply_info._fields_ = [
    ("struct_size", c_uint32),
    ("n_calls", c_uint32),
    ("malformed", c_uint32),
    ("reasoning", c_uint32),
]

sm_answer_options._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("tool_choice", c_char_p),
    ("generate", POINTER(sm_generate_options)),
    ("format", c_char_p),
    ("variables", c_char_p),
]

sm_batch_options._fields_ = [
    ("struct_size", c_uint32),
    ("n_threads", c_uint32),
    ("n_sequences", c_uint32),
    ("n_batch", c_uint32),
    ("n_ctx", c_uint32),
    ("pin", c_uint32),
    ("cancel_flag", c_void_p),
]

sm_batch_item._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("session", c_void_p),
    ("ids", POINTER(c_int32)),
    ("logits", POINTER(c_float)),
    ("n_ids", c_uint64),
    ("n_logits", c_uint64),
]

sm_batch_text._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("session", c_void_p),
    ("prompt", c_char_p),
    ("options", POINTER(sm_generate_options)),
    ("on_token", sm_token_fn),
    ("user", c_void_p),
    ("length", c_uint64),
]

sm_quantize_override._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("pattern", c_char_p),
    ("type", c_char_p),
]

sm_quantize_tensor._fields_ = [
    ("struct_size", c_uint32),
    ("fallback", c_uint32),
    ("name", c_char_p),
    ("from", c_char_p),
    ("to", c_char_p),
    ("n_weights", c_uint64),
    ("bytes_before", c_uint64),
    ("bytes_after", c_uint64),
    ("rms", c_double),
    ("rmse", c_double),
    ("copied", c_uint32),
    ("by_imatrix", c_uint32),
]

sm_quantize_options._fields_ = [
    ("struct_size", c_uint32),
    ("n_threads", c_uint32),
    ("type", c_char_p),
    ("imatrix", c_char_p),
    ("overrides", POINTER(sm_quantize_override)),
    ("n_overrides", c_uint64),
    ("pure", c_uint32),
    ("requantize", c_uint32),
    ("level", c_uint32),
    ("reserved", c_uint32),
    ("allocator", POINTER(sm_allocator)),
    ("progress", sm_progress_fn),
    ("progress_user", c_void_p),
    ("on_tensor", sm_quantize_tensor_fn),
    ("on_tensor_user", c_void_p),
    ("cancel_flag", c_void_p),
]

sm_quantize_result._fields_ = [
    ("struct_size", c_uint32),
    ("n_quantized", c_uint32),
    ("n_fallback", c_uint32),
    ("n_imatrix", c_uint32),
    ("n_tensors", c_uint64),
    ("bytes_before", c_uint64),
    ("bytes_after", c_uint64),
]

sm_imatrix_options._fields_ = [
    ("struct_size", c_uint32),
    ("n_ctx", c_uint32),
    ("n_threads", c_uint32),
    ("reserved", c_uint32),
    ("cancel_flag", c_void_p),
]

sm_adapter_options._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("progress", sm_progress_fn),
    ("progress_user", c_void_p),
    ("cancel_flag", c_void_p),
]

sm_merge_options._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("type", c_char_p),
    ("progress", sm_progress_fn),
    ("progress_user", c_void_p),
    ("cancel_flag", c_void_p),
]

sm_adapter_info._fields_ = [
    ("struct_size", c_uint32),
    ("n_matrices", c_uint32),
    ("max_rank", c_uint32),
    ("reserved", c_uint32),
    ("alpha", c_double),
    ("n_weights", c_uint64),
]

sm_encoder_options._fields_ = [
    ("struct_size", c_uint32),
    ("n_threads", c_uint32),
    ("max_tokens", c_uint32),
    ("n_batch", c_uint32),
    ("pooling", c_uint32),
    ("long_texts", c_uint32),
    ("n_dims", c_uint32),
    ("raw", c_uint32),
    ("prefix", c_char_p),
    ("prompt", c_char_p),
    ("cancel_flag", c_void_p),
]

sm_encoder_info._fields_ = [
    ("struct_size", c_uint32),
    ("pooling", c_uint32),
    ("n_dims", c_uint32),
    ("n_embd", c_uint32),
    ("max_tokens", c_uint32),
    ("n_labels", c_uint32),
]

sm_vocabulary_options._fields_ = [
    ("struct_size", c_uint32),
    ("n_vocab", c_uint32),
    ("separator", c_char_p),
    ("pre", c_char_p),
    ("progress", sm_progress_fn),
    ("progress_user", c_void_p),
    ("cancel_flag", c_void_p),
    ("min_count", c_uint64),
]

sm_model_init_options._fields_ = [
    ("struct_size", c_uint32),
    ("n_embd", c_uint32),
    ("n_layer", c_uint32),
    ("n_head", c_uint32),
    ("n_head_kv", c_uint32),
    ("n_ff", c_uint32),
    ("n_ctx", c_uint32),
    ("untied", c_uint32),
    ("family", c_uint32),
    ("sliding_window", c_uint32),
    ("seed", c_uint64),
    ("rope_theta", c_double),
    ("name", c_char_p),
    ("progress", sm_progress_fn),
    ("progress_user", c_void_p),
    ("cancel_flag", c_void_p),
    ("architecture", c_char_p),
    ("allocator", POINTER(sm_allocator)),
]

sm_trainer_options._fields_ = [
    ("struct_size", c_uint32),
    ("n_threads", c_uint32),
    ("data", c_char_p),
    ("more_data", POINTER(c_void_p)),
    ("n_more_data", c_uint64),
    ("separator", c_char_p),
    ("validation", c_double),
    ("data_kind", c_uint32),
    ("layout", c_uint32),
    ("loss_on_prompt", c_uint32),
    ("sequence", c_uint32),
    ("rows", c_uint32),
    ("accumulate", c_uint32),
    ("steps", c_uint64),
    ("epochs", c_double),
    ("seed", c_uint64),
    ("optimizer", c_uint32),
    ("state_8bit", c_uint32),
    ("lr", c_double),
    ("min_lr", c_double),
    ("beta1", c_double),
    ("beta2", c_double),
    ("eps", c_double),
    ("weight_decay", c_double),
    ("expert_balance", c_double),
    ("momentum", c_double),
    ("clip", c_double),
    ("no_clip", c_uint32),
    ("schedule", c_uint32),
    ("warmup", c_uint64),
    ("power", c_double),
    ("decay_part", c_double),
    ("cycle", c_uint64),
    ("cycle_growth", c_double),
    ("precision", c_uint32),
    ("checkpoint_layers", c_uint32),
    ("level", c_uint32),
    ("lora_rank", c_uint32),
    ("lora_alpha", c_double),
    ("lora_dropout", c_double),
    ("lora_rs", c_uint32),
    ("openblas", c_uint32),
    ("lora_targets", c_char_p),
    ("allocator", POINTER(sm_allocator)),
    ("progress", sm_progress_fn),
    ("progress_user", c_void_p),
    ("log", POINTER(sm_logger)),
    ("cancel_flag", c_void_p),
    ("memory_limit", c_uint64),
    ("objective", c_uint32),
    ("length_normalized", c_uint32),
    ("preference_beta", c_double),
    ("label_smoothing", c_double),
    ("preference_margin", c_double),
    ("desirable_weight", c_double),
    ("undesirable_weight", c_double),
    ("teacher", c_char_p),
    ("teacher_weight", c_double),
    ("teacher_temperature", c_double),
    ("lora_b_rate", c_double),
]

sm_trainer_info._fields_ = [
    ("struct_size", c_uint32),
    ("level", c_uint32),
    ("n_threads", c_uint32),
    ("n_vocab", c_uint32),
    ("n_params", c_uint64),
    ("steps", c_uint64),
    ("step", c_uint64),
    ("tokens", c_uint64),
    ("epoch", c_uint64),
    ("train_documents", c_uint64),
    ("validation_documents", c_uint64),
    ("train_bytes", c_uint64),
    ("validation_bytes", c_uint64),
    ("heap_bytes", c_uint64),
    ("heap_peak", c_uint64),
    ("epochs", c_double),
    ("updating", c_uint64),
]

sm_train_metrics._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("step", c_uint64),
    ("loss", c_double),
    ("grad_norm", c_double),
    ("lr", c_double),
    ("targets", c_uint64),
    ("seconds", c_double),
    ("tokens", c_uint64),
    ("expert_balance", c_double),
    ("chosen_reward", c_double),
    ("rejected_reward", c_double),
    ("reward_margin", c_double),
    ("teacher_loss", c_double),
    ("accuracy", c_double),
]

sm_train_evaluation._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("loss", c_double),
    ("bits_per_byte", c_double),
    ("targets", c_uint64),
    ("seconds", c_double),
    ("chosen_reward", c_double),
    ("rejected_reward", c_double),
    ("reward_margin", c_double),
    ("accuracy", c_double),
]

sm_checkpoint_info._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("step", c_uint64),
    ("steps", c_uint64),
    ("tokens", c_uint64),
]

sm_export_options._fields_ = [
    ("struct_size", c_uint32),
    ("reserved", c_uint32),
    ("type", c_char_p),
]

# functions: result, parameters
FUNCTIONS = {
    "sm_status_text": (c_char_p, [c_int32]),
    "sm_version": (c_char_p, []),
    "sm_version_number": (c_uint32, []),
    "sm_abi": (c_uint32, []),
    "sm_build_get_info": (c_int32, [POINTER(sm_build_info), POINTER(sm_error)]),
    "sm_text_escape": (c_uint64, [c_char_p, c_uint64, c_void_p, c_uint64]),
    "sm_cancel_new": (c_int32, [POINTER(c_void_p), POINTER(sm_error)]),
    "sm_cancel_set": (None, [c_void_p, c_int32]),
    "sm_cancel_is_set": (c_int32, [c_void_p]),
    "sm_cancel_free": (None, [c_void_p]),
    "sm_level_name": (c_char_p, [c_uint32]),
    "sm_level_from_name": (c_uint32, [c_char_p]),
    "sm_level_best": (c_uint32, [c_uint32]),
    "sm_cpu_count": (c_uint32, []),
    "sm_names_find": (c_uint32, [c_char_p, c_char_p, POINTER(c_uint32)]),
    "sm_names_get": (c_char_p, [c_char_p, c_uint32, POINTER(c_uint64)]),
    "sm_options_name": (c_char_p, [c_uint32]),
    "sm_options_count": (c_uint32, [c_uint32]),
    "sm_options_get": (c_int32, [c_uint32, c_uint32, POINTER(sm_option), POINTER(sm_error)]),
    "sm_gguf_load": (c_int32, [POINTER(c_void_p), c_char_p, POINTER(sm_gguf_options), POINTER(sm_error)]),
    "sm_gguf_load_from": (c_int32, [POINTER(c_void_p), POINTER(sm_origin), POINTER(sm_gguf_options), POINTER(sm_error)]),
    "sm_gguf_free": (None, [c_void_p]),
    "sm_gguf_get_info": (c_int32, [c_void_p, POINTER(sm_gguf_info), POINTER(sm_error)]),
    "sm_gguf_get_key": (c_int32, [c_void_p, c_uint64, POINTER(c_void_p), POINTER(c_void_p), POINTER(sm_error)]),
    "sm_gguf_get_value": (c_int32, [c_void_p, c_uint64, c_uint64, c_void_p, c_uint64, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_gguf_get_tensor": (c_int32, [c_void_p, c_uint64, POINTER(sm_gguf_tensor_info), POINTER(sm_error)]),
    "sm_tokenizer_load": (c_int32, [POINTER(c_void_p), c_char_p, POINTER(sm_tokenizer_options), POINTER(sm_error)]),
    "sm_tokenizer_load_from": (c_int32, [POINTER(c_void_p), POINTER(sm_origin), POINTER(sm_tokenizer_options), POINTER(sm_error)]),
    "sm_tokenizer_free": (None, [c_void_p]),
    "sm_tokenizer_get_info": (c_int32, [c_void_p, POINTER(sm_tokenizer_info), POINTER(sm_error)]),
    "sm_tokenizer_encode": (c_int32, [c_void_p, c_char_p, c_uint64, POINTER(sm_encode_options), POINTER(c_int32), c_uint64, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_tokenizer_encode_pair": (c_int32, [c_void_p, c_char_p, c_uint64, c_char_p, c_uint64, POINTER(sm_encode_options), POINTER(c_int32), POINTER(c_int32), c_uint64, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_tokenizer_decode": (c_int32, [c_void_p, POINTER(c_int32), c_uint64, c_uint32, c_void_p, c_uint64, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_tokenizer_token_text": (c_char_p, [c_void_p, c_int32, POINTER(c_uint64)]),
    "sm_tokenizer_find": (c_int32, [c_void_p, c_char_p, c_uint64]),
    "sm_tokenizer_is_end": (c_int32, [c_void_p, c_int32]),
    "sm_detokenizer_new": (c_int32, [POINTER(c_void_p), c_void_p, c_uint32, POINTER(sm_error)]),
    "sm_detokenizer_free": (None, [c_void_p]),
    "sm_detokenizer_feed": (c_int32, [c_void_p, c_int32, POINTER(c_void_p), POINTER(c_uint64), POINTER(sm_error)]),
    "sm_detokenizer_flush": (c_int32, [c_void_p, POINTER(c_void_p), POINTER(c_uint64), POINTER(sm_error)]),
    "sm_detokenizer_reset": (c_int32, [c_void_p, POINTER(sm_error)]),
    "sm_constraint_new": (c_int32, [POINTER(c_void_p), c_void_p, c_uint32, c_char_p, c_uint64, POINTER(sm_constraint_options), POINTER(sm_error)]),
    "sm_constraint_new_choices": (c_int32, [POINTER(c_void_p), c_void_p, POINTER(sm_text), c_uint64, POINTER(sm_constraint_options), POINTER(sm_error)]),
    "sm_constraint_new_schema": (c_int32, [POINTER(c_void_p), c_void_p, c_char_p, c_uint64, POINTER(sm_schema_options), POINTER(sm_constraint_options), POINTER(sm_error)]),
    "sm_constraint_free": (None, [c_void_p]),
    "sm_constraint_state_new": (c_int32, [POINTER(c_void_p), c_void_p, POINTER(sm_error)]),
    "sm_constraint_state_fork": (c_int32, [POINTER(c_void_p), c_void_p, POINTER(sm_error)]),
    "sm_constraint_state_free": (None, [c_void_p]),
    "sm_constraint_mask": (c_int32, [c_void_p, POINTER(c_uint32), c_uint64, POINTER(sm_error)]),
    "sm_constraint_accept": (c_int32, [c_void_p, c_int32, POINTER(sm_error)]),
    "sm_constraint_accept_text": (c_int32, [c_void_p, c_char_p, c_uint64, POINTER(sm_error)]),
    "sm_constraint_forced_text": (c_int32, [c_void_p, c_void_p, c_uint64, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_constraint_forced": (c_int32, [c_void_p, POINTER(c_int32), c_uint64, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_constraint_can_end": (c_int32, [c_void_p]),
    "sm_constraint_ended": (c_int32, [c_void_p]),
    "sm_constraint_rewind": (c_int32, [c_void_p, c_uint64, POINTER(sm_error)]),
    "sm_constraint_reset": (c_int32, [c_void_p, POINTER(sm_error)]),
    "sm_model_load": (c_int32, [POINTER(c_void_p), c_char_p, POINTER(sm_model_options), POINTER(sm_error)]),
    "sm_model_load_from": (c_int32, [POINTER(c_void_p), POINTER(sm_origin), POINTER(sm_model_options), POINTER(sm_error)]),
    "sm_model_free": (None, [c_void_p]),
    "sm_model_get_info": (c_int32, [c_void_p, POINTER(sm_model_info), POINTER(sm_error)]),
    "sm_model_save_packed": (c_int32, [c_void_p, c_char_p, POINTER(sm_pack_options), POINTER(sm_error)]),
    "sm_model_get_tokenizer": (c_int32, [c_void_p, POINTER(c_void_p), POINTER(sm_error)]),
    "sm_session_new": (c_int32, [POINTER(c_void_p), c_void_p, POINTER(sm_session_options), POINTER(sm_error)]),
    "sm_session_free": (None, [c_void_p]),
    "sm_session_fork": (c_int32, [POINTER(c_void_p), c_void_p, POINTER(sm_fork_options), POINTER(sm_error)]),
    "sm_session_save": (c_int32, [c_void_p, c_char_p, POINTER(sm_error)]),
    "sm_session_restore": (c_int32, [c_void_p, c_char_p, POINTER(sm_error)]),
    "sm_session_save_bytes": (c_int32, [c_void_p, c_void_p, c_uint64, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_session_restore_bytes": (c_int32, [c_void_p, c_void_p, c_uint64, POINTER(sm_error)]),
    "sm_session_length": (c_uint32, [c_void_p]),
    "sm_session_read_bytes": (c_uint64, [c_void_p, c_uint32]),
    "sm_session_get_info": (c_int32, [c_void_p, POINTER(sm_session_info), POINTER(sm_error)]),
    "sm_session_tokens": (c_int32, [c_void_p, c_uint32, POINTER(c_int32), c_uint64, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_session_set_cancel": (c_int32, [c_void_p, sm_cancel_fn, c_void_p, POINTER(sm_error)]),
    "sm_session_feed": (c_int32, [c_void_p, POINTER(c_int32), c_uint64, POINTER(sm_error)]),
    "sm_session_feed_logits": (c_int32, [c_void_p, POINTER(c_int32), c_uint64, POINTER(c_float), c_uint64, POINTER(sm_error)]),
    "sm_session_feed_logprobs": (c_int32, [c_void_p, POINTER(c_int32), c_uint64, c_uint32, POINTER(c_double), POINTER(sm_token_logprob), POINTER(sm_error)]),
    "sm_session_sync": (c_int32, [c_void_p, POINTER(c_int32), c_uint64, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_session_rewind": (c_int32, [c_void_p, c_uint32, POINTER(sm_error)]),
    "sm_session_drop": (c_int32, [c_void_p, c_uint32, c_uint32, POINTER(sm_error)]),
    "sm_session_drop_turns": (c_int32, [c_void_p, POINTER(c_uint32), c_uint64, c_uint64, c_uint32, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_session_logits": (c_int32, [c_void_p, POINTER(POINTER(c_float)), POINTER(c_uint64), POINTER(sm_error)]),
    "sm_sampler_count": (c_uint32, []),
    "sm_sampler_get_info": (c_int32, [c_uint32, POINTER(sm_sampler_info), POINTER(sm_error)]),
    "sm_watermark_detect": (c_int32, [POINTER(sm_watermark), POINTER(c_int32), c_uint64, POINTER(sm_watermark_score), POINTER(sm_error)]),
    "sm_session_sample": (c_int32, [c_void_p, POINTER(sm_sampling), POINTER(sm_choice), POINTER(sm_error)]),
    "sm_session_generate": (c_int32, [c_void_p, c_char_p, c_uint64, POINTER(sm_generate_options), sm_token_fn, c_void_p, POINTER(sm_error)]),
    "sm_session_get_stats": (c_int32, [c_void_p, POINTER(sm_generate_stats), POINTER(sm_error)]),
    "sm_chat_new": (c_int32, [POINTER(c_void_p), POINTER(sm_chat_options), POINTER(sm_error)]),
    "sm_chat_new_from_model": (c_int32, [POINTER(c_void_p), c_void_p, POINTER(sm_chat_options), POINTER(sm_error)]),
    "sm_chat_free": (None, [c_void_p]),
    "sm_chat_template_text": (c_char_p, [c_void_p]),
    "sm_chat_reply_format": (c_char_p, [c_void_p]),
    "sm_chat_layouts_list": (c_char_p, []),
    "sm_chat_render": (c_int32, [c_void_p, c_char_p, c_char_p, POINTER(sm_render_options), c_void_p, c_uint64, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_chat_encode": (c_int32, [c_void_p, c_void_p, c_char_p, c_char_p, POINTER(sm_render_options), POINTER(c_int32), c_uint64, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_chat_prompt_end": (c_int32, [c_void_p, c_char_p, c_char_p, POINTER(sm_render_options), c_void_p, c_uint64, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_reply_new": (c_int32, [POINTER(c_void_p), POINTER(sm_reply_options), POINTER(sm_error)]),
    "sm_reply_free": (None, [c_void_p]),
    "sm_reply_feed": (c_int32, [c_void_p, c_char_p, c_uint64, sm_delta_fn, c_void_p, POINTER(sm_error)]),
    "sm_reply_finish": (c_int32, [c_void_p, sm_delta_fn, c_void_p, POINTER(sm_error)]),
    "sm_reply_message": (c_int32, [c_void_p, c_void_p, c_uint64, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_reply_get_info": (c_int32, [c_void_p, POINTER(sm_reply_info), POINTER(sm_error)]),
    "sm_session_reply": (c_int32, [c_void_p, POINTER(c_int32), c_uint64, POINTER(sm_generate_options), c_void_p, sm_delta_fn, c_void_p, POINTER(sm_error)]),
    "sm_constraint_new_tools": (c_int32, [POINTER(c_void_p), c_void_p, c_char_p, c_char_p, c_char_p, c_uint32, POINTER(sm_error)]),
    "sm_session_chat": (c_int32, [c_void_p, c_void_p, c_char_p, c_char_p, POINTER(sm_answer_options), sm_delta_fn, c_void_p, POINTER(sm_error)]),
    "sm_reply_formats_list": (c_char_p, []),
    "sm_reply_format_of": (c_char_p, [c_char_p]),
    "sm_batch_new": (c_int32, [POINTER(c_void_p), c_void_p, POINTER(sm_batch_options), POINTER(sm_error)]),
    "sm_batch_free": (None, [c_void_p]),
    "sm_batch_new_session": (c_int32, [POINTER(c_void_p), c_void_p, POINTER(sm_session_options), POINTER(sm_error)]),
    "sm_batch_set_cancel": (c_int32, [c_void_p, sm_cancel_fn, c_void_p, POINTER(sm_error)]),
    "sm_batch_step": (c_int32, [c_void_p, POINTER(sm_batch_item), c_uint64, POINTER(sm_error)]),
    "sm_batch_generate": (c_int32, [c_void_p, POINTER(sm_batch_text), c_uint64, POINTER(c_int32), POINTER(sm_error)]),
    "sm_model_quantize": (c_int32, [c_char_p, c_char_p, POINTER(sm_quantize_options), POINTER(sm_quantize_result), POINTER(sm_error)]),
    "sm_imatrix_new": (c_int32, [POINTER(c_void_p), c_void_p, POINTER(sm_imatrix_options), POINTER(sm_error)]),
    "sm_imatrix_free": (None, [c_void_p]),
    "sm_imatrix_set_cancel": (c_int32, [c_void_p, sm_cancel_fn, c_void_p, POINTER(sm_error)]),
    "sm_imatrix_feed": (c_int32, [c_void_p, POINTER(c_int32), c_uint64, POINTER(sm_error)]),
    "sm_imatrix_capacity": (c_uint32, [c_void_p]),
    "sm_imatrix_chunks": (c_uint32, [c_void_p]),
    "sm_imatrix_save": (c_int32, [c_void_p, c_char_p, c_char_p, POINTER(sm_error)]),
    "sm_adapter_load": (c_int32, [POINTER(c_void_p), c_void_p, c_char_p, POINTER(sm_adapter_options), POINTER(sm_error)]),
    "sm_adapter_load_from": (c_int32, [POINTER(c_void_p), c_void_p, POINTER(sm_origin), POINTER(sm_adapter_options), POINTER(sm_error)]),
    "sm_adapter_free": (None, [c_void_p]),
    "sm_adapter_get_info": (c_int32, [c_void_p, POINTER(sm_adapter_info), POINTER(sm_error)]),
    "sm_session_attach": (c_int32, [c_void_p, c_void_p, c_double, POINTER(sm_error)]),
    "sm_session_detach": (c_int32, [c_void_p, c_void_p, POINTER(sm_error)]),
    "sm_adapter_merge": (c_int32, [c_char_p, c_char_p, c_char_p, c_double, POINTER(sm_merge_options), POINTER(sm_error)]),
    "sm_adapter_export": (c_int32, [c_char_p, c_char_p, c_char_p, POINTER(sm_adapter_options), POINTER(sm_error)]),
    "sm_encoder_new": (c_int32, [POINTER(c_void_p), c_void_p, POINTER(sm_encoder_options), POINTER(sm_error)]),
    "sm_encoder_free": (None, [c_void_p]),
    "sm_encoder_get_info": (c_int32, [c_void_p, POINTER(sm_encoder_info), POINTER(sm_error)]),
    "sm_encoder_label": (c_char_p, [c_void_p, c_uint32, POINTER(c_uint64)]),
    "sm_encoder_embed": (c_int32, [c_void_p, POINTER(sm_text), c_uint64, POINTER(c_float), c_uint64, POINTER(sm_error)]),
    "sm_encoder_embed_ids": (c_int32, [c_void_p, POINTER(c_int32), c_uint64, POINTER(c_float), c_uint64, POINTER(sm_error)]),
    "sm_encoder_hidden": (c_int32, [c_void_p, POINTER(c_int32), c_uint64, POINTER(c_float), c_uint64, POINTER(sm_error)]),
    "sm_encoder_score": (c_int32, [c_void_p, POINTER(sm_text), c_uint64, POINTER(c_float), c_uint64, POINTER(sm_error)]),
    "sm_encoder_score_ids": (c_int32, [c_void_p, POINTER(c_int32), POINTER(c_int32), c_uint64, POINTER(c_float), c_uint64, POINTER(sm_error)]),
    "sm_encoder_rerank": (c_int32, [c_void_p, c_char_p, c_uint64, POINTER(sm_text), c_uint64, POINTER(c_float), c_uint64, POINTER(sm_error)]),
    "sm_vectors_pack": (c_int32, [POINTER(c_float), c_uint64, c_uint32, c_uint32, c_void_p, c_uint64, POINTER(sm_error)]),
    "sm_vocabulary_train": (c_int32, [c_char_p, POINTER(c_void_p), c_uint64, POINTER(sm_vocabulary_options), POINTER(sm_error)]),
    "sm_model_init": (c_int32, [c_char_p, c_char_p, POINTER(sm_model_init_options), POINTER(sm_error)]),
    "sm_trainer_open": (c_int32, [POINTER(c_void_p), c_char_p, POINTER(sm_trainer_options), POINTER(sm_error)]),
    "sm_trainer_free": (None, [c_void_p]),
    "sm_trainer_get_info": (c_int32, [c_void_p, POINTER(sm_trainer_info), POINTER(sm_error)]),
    "sm_trainer_steps_left": (c_uint64, [c_void_p]),
    "sm_trainer_step": (c_int32, [c_void_p, POINTER(sm_train_metrics), POINTER(sm_error)]),
    "sm_trainer_train": (c_int32, [c_void_p, c_uint64, sm_train_step_fn, c_void_p, POINTER(sm_error)]),
    "sm_trainer_set_cancel": (c_int32, [c_void_p, sm_cancel_fn, c_void_p, POINTER(sm_error)]),
    "sm_trainer_evaluate": (c_int32, [c_void_p, POINTER(sm_train_evaluation), POINTER(sm_error)]),
    "sm_trainer_save": (c_int32, [c_void_p, c_char_p, POINTER(sm_error)]),
    "sm_trainer_resume": (c_int32, [c_void_p, c_char_p, POINTER(sm_error)]),
    "sm_checkpoint_get_info": (c_int32, [c_char_p, POINTER(sm_checkpoint_info), POINTER(sm_error)]),
    "sm_checkpoint_get_options": (c_int32, [c_char_p, POINTER(sm_trainer_options), POINTER(c_void_p), c_void_p, c_uint64, POINTER(c_uint64), POINTER(sm_error)]),
    "sm_trainer_export": (c_int32, [c_void_p, c_char_p, POINTER(sm_export_options), POINTER(sm_error)]),
    "sm_trainer_export_adapter": (c_int32, [c_void_p, c_char_p, POINTER(sm_error)]),
}
