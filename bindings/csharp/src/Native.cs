// Declarations of libsmallmind.
// Made by scripts/bindings.py: do not edit.

using System;
using System.Runtime.InteropServices;

#pragma warning disable 649, 1591

namespace SmallMind.Abi
{
    /// <summary>Constants of libsmallmind.</summary>
    public static class Constants
    {
        public const int SM_OK = 0;
        public const int SM_ERR_ARGUMENT = -1;
        public const int SM_ERR_NOMEM = -2;
        public const int SM_ERR_IO = -3;
        public const int SM_ERR_FORMAT = -4;
        public const int SM_ERR_MISSING = -5;
        public const int SM_ERR_SHAPE = -6;
        public const int SM_ERR_UNSUPPORTED = -7;
        public const int SM_ERR_TOKEN = -8;
        public const int SM_ERR_CONTEXT_FULL = -9;
        public const int SM_ERR_CANCELLED = -10;
        public const int SM_ERR_STATE = -11;
        public const int SM_ERR_BUFFER = -12;
        public const int SM_ERR_SYSTEM = -13;
        public const int SM_ERR_DIVERGED = -14;
        public const uint SM_LOG_ERROR = 1;
        public const uint SM_LOG_WARN = 2;
        public const uint SM_LOG_INFO = 3;
        public const uint SM_ORIGIN_PATH = 0;
        public const uint SM_ORIGIN_MEMORY = 1;
        public const uint SM_ORIGIN_FD = 2;
        public const uint SM_ORIGIN_READ = 3;
        public const uint SM_LEVEL_AUTO = 0;
        public const uint SM_LEVEL_SCALAR = 1;
        public const uint SM_LEVEL_AVX2 = 2;
        public const uint SM_LEVEL_AVX512 = 3;
        public const uint SM_LEVEL_NEON = 4;
        public const uint SM_LEVEL_DOTPROD = 5;
        public const uint SM_LEVEL_AVXVNNI = 6;
        public const uint SM_LEVEL_I8MM = 7;
        public const uint SM_LEVEL_AVX512BF16 = 8;
        public const uint SM_OPTION_U32 = 1;
        public const uint SM_OPTION_U64 = 2;
        public const uint SM_OPTION_F64 = 3;
        public const uint SM_OPTION_ENUM = 4;
        public const uint SM_OPTION_POINTER = 5;
        public const uint SM_OPTION_BOOL = 6;
        public const uint SM_OPTION_STRING = 7;
        public const uint SM_OPTIONS_MODEL = 1;
        public const uint SM_OPTIONS_SESSION = 2;
        public const uint SM_OPTIONS_SAMPLING = 3;
        public const uint SM_OPTIONS_GENERATE = 4;
        public const uint SM_OPTIONS_QUANTIZE = 5;
        public const uint SM_OPTIONS_IMATRIX = 6;
        public const uint SM_OPTIONS_BATCH = 7;
        public const uint SM_OPTIONS_WATERMARK = 8;
        public const uint SM_OPTIONS_ADAPTER = 9;
        public const uint SM_OPTIONS_MERGE = 10;
        public const uint SM_OPTIONS_PACK = 11;
        public const uint SM_OPTIONS_FORK = 12;
        public const uint SM_OPTIONS_TRAINER = 16;
        public const uint SM_OPTIONS_INIT = 17;
        public const uint SM_OPTIONS_VOCABULARY = 18;
        public const uint SM_OPTIONS_EXPORT = 19;
        public const uint SM_OPTIONS_ENCODER = 20;
        public const uint SM_IO_MAP = 0;
        public const uint SM_IO_READ = 1;
        public const uint SM_GGUF_HOLDS_MODEL = 1;
        public const uint SM_GGUF_HOLDS_PACKED = 2;
        public const uint SM_GGUF_HOLDS_VOCABULARY = 4;
        public const uint SM_GGUF_HOLDS_ADAPTER = 8;
        public const uint SM_GGUF_HOLDS_IMATRIX = 16;
        public const uint SM_GGUF_HOLDS_CHECKPOINT = 32;
        public const uint SM_GGUF_HOLDS_OTHER = 64;
        public const uint SM_TOKENIZER_BPE = 1;
        public const uint SM_TOKENIZER_SPM = 2;
        public const uint SM_TOKENIZER_WORDPIECE = 3;
        public const uint SM_TOKENIZER_UNIGRAM = 4;
        public const uint SM_TOKENIZER_CHARS = 5;
        public const uint SM_TOKENIZER_WORDLEVEL = 6;
        public const uint SM_ENCODE_SPECIAL = 1;
        public const uint SM_ENCODE_MARKERS = 2;
        public const uint SM_DECODE_SPECIAL = 1;
        public const uint SM_DECODE_KEEP_SPACE = 2;
        public const uint SM_DECODE_TEXT = 4;
        public const uint SM_CONSTRAINT_GBNF = 1;
        public const uint SM_CONSTRAINT_REGEX = 2;
        public const uint SM_CONSTRAINT_GRAMMAR = 3;
        public const uint SM_SPACES_NONE = 0;
        public const uint SM_SPACES_ONE = 1;
        public const uint SM_SPACES_ANY = 2;
        public const uint SM_SCHEMA_ANY_ORDER = 1;
        public const uint SM_SCHEMA_UNKNOWN = 2;
        public const uint SM_REPACK_LAZY = 0;
        public const uint SM_REPACK_NONE = 1;
        public const uint SM_ACTIVATIONS_FAST = 0;
        public const uint SM_ACTIVATIONS_FLOAT = 1;
        public const uint SM_KV_TYPE_F16 = 0;
        public const uint SM_KV_TYPE_F32 = 1;
        public const uint SM_KV_TYPE_BF16 = 2;
        public const uint SM_KV_TYPE_Q8_0 = 3;
        public const uint SM_KV_TYPE_Q4_0 = 4;
        public const uint SM_KV_TYPE_Q5_0 = 5;
        public const uint SM_KV_TYPE_IQ4_NL = 6;
        public const uint SM_KV_KEEP_WINDOW = 0;
        public const uint SM_KV_KEEP_ALL = 1;
        public const uint SM_MAX_LOGPROBS = 20;
        public const uint SM_SAMPLER_PENALTIES = 1;
        public const uint SM_SAMPLER_DRY = 2;
        public const uint SM_SAMPLER_TOP_N_SIGMA = 3;
        public const uint SM_SAMPLER_TOP_K = 4;
        public const uint SM_SAMPLER_TYPICAL = 5;
        public const uint SM_SAMPLER_TOP_P = 6;
        public const uint SM_SAMPLER_MIN_P = 7;
        public const uint SM_SAMPLER_TOP_A = 8;
        public const uint SM_SAMPLER_XTC = 9;
        public const uint SM_SAMPLER_TEMPERATURE = 10;
        public const uint SM_SAMPLER_MIROSTAT = 11;
        public const uint SM_WATERMARK_LEFT = 0;
        public const uint SM_WATERMARK_SELF = 1;
        public const uint SM_CONTEXT_STOP = 0;
        public const uint SM_CONTEXT_SLIDE = 1;
        public const uint SM_CONTEXT_SINKS = 2;
        public const uint SM_CONTEXT_ASK = 3;
        public const uint SM_SPECULATE_NO = 0;
        public const uint SM_SPECULATE_NGRAM = 1;
        public const uint SM_FINISH_NONE = 0;
        public const uint SM_FINISH_END = 1;
        public const uint SM_FINISH_STOP = 2;
        public const uint SM_FINISH_LENGTH = 3;
        public const uint SM_FINISH_CANCELLED = 4;
        public const uint SM_FINISH_CONTEXT = 5;
        public const uint SM_FINISH_ERROR = 6;
        public const uint SM_DELTA_CONTENT = 1;
        public const uint SM_DELTA_REASONING = 2;
        public const uint SM_DELTA_CALL = 3;
        public const uint SM_DELTA_END = 4;
        public const uint SM_MAX_ADAPTERS = 16;
        public const uint SM_POOLING_MODEL = 0;
        public const uint SM_POOLING_MEAN = 1;
        public const uint SM_POOLING_FIRST = 2;
        public const uint SM_POOLING_LAST = 3;
        public const uint SM_LONG_CUT = 0;
        public const uint SM_LONG_REFUSE = 1;
        public const uint SM_LONG_WINDOWS = 2;
        public const uint SM_PACKED_INT8 = 1;
        public const uint SM_PACKED_BINARY = 2;
        public const uint SM_FAMILY_LLAMA = 0;
        public const uint SM_FAMILY_QWEN2 = 1;
        public const uint SM_FAMILY_QWEN3 = 2;
        public const uint SM_DATA_FILE_AUTO = 0;
        public const uint SM_DATA_FILE_TEXT = 1;
        public const uint SM_DATA_FILE_INSTRUCT = 2;
        public const uint SM_DATA_FILE_CHOSEN = 3;
        public const uint SM_LAYOUT_ALPACA = 0;
        public const uint SM_LAYOUT_CHATML = 1;
        public const uint SM_OPTIMIZER_ADAMW = 0;
        public const uint SM_OPTIMIZER_LION = 1;
        public const uint SM_OPTIMIZER_ADAFACTOR = 2;
        public const uint SM_OPTIMIZER_SGD = 3;
        public const uint SM_OBJECTIVE_SUPERVISED = 0;
        public const uint SM_OBJECTIVE_DPO = 1;
        public const uint SM_OBJECTIVE_IPO = 2;
        public const uint SM_OBJECTIVE_SIMPO = 3;
        public const uint SM_OBJECTIVE_ORPO = 4;
        public const uint SM_OBJECTIVE_KTO = 5;
        public const uint SM_LR_COSINE = 0;
        public const uint SM_LR_CONSTANT = 1;
        public const uint SM_LR_LINEAR = 2;
        public const uint SM_LR_POLYNOMIAL = 3;
        public const uint SM_LR_INVERSE_SQRT = 4;
        public const uint SM_LR_WSD = 5;
        public const uint SM_LR_RESTARTS = 6;
        public const uint SM_TRAIN_F32 = 0;
        public const uint SM_TRAIN_BF16 = 1;
        public const uint SM_VERSION_MAJOR = 1;
        public const uint SM_VERSION_MINOR = 0;
        public const uint SM_VERSION_PATCH = 0;
        public const uint SM_ABI = 1;
        public const double SM_ZERO = -1.0;
        public const uint SM_ZERO_U32 = uint.MaxValue;
        public const uint SM_NAME_NONE = uint.MaxValue;
        public const ulong SM_ZT = ulong.MaxValue;
    }

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public unsafe delegate void sm_done_fn(void* user);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public unsafe delegate void * sm_alloc_fn(void* user, ulong size, ulong align);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public unsafe delegate void sm_release_fn(void* user, void* ptr, ulong size, ulong align);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public unsafe delegate void sm_log_fn(void* user, int severity, byte* message);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public unsafe delegate int sm_progress_fn(void* user, ulong done, ulong total);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public unsafe delegate int sm_cancel_fn(void* user);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public unsafe delegate long sm_read_fn(void* user, ulong offset, void* to, ulong n);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public unsafe delegate int sm_context_fn(void* user, sm_context_full* full);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public unsafe delegate int sm_token_fn(void* user, sm_token* token);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public unsafe delegate int sm_delta_fn(void* user, sm_delta* delta);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public unsafe delegate int sm_quantize_tensor_fn(void* user, sm_quantize_tensor* tensor);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public unsafe delegate int sm_train_step_fn(void* user, sm_train_metrics* metrics);

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_text
    {
        public byte* text;
        public ulong length;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_error
    {
        public int code;
        public int system;
        public fixed byte message[504];
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_build_info
    {
        public uint struct_size;
        public uint abi;
        public uint version_number;
        public uint level;
        public byte* version;
        public byte* families;
        public byte* types;
        public byte* features;
        public ulong levels;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_allocator
    {
        public uint struct_size;
        public uint reserved;
        public IntPtr alloc;
        public IntPtr release;
        public void* user;
        public IntPtr done;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_logger
    {
        public uint struct_size;
        public uint reserved;
        public IntPtr log;
        public void* user;
        public IntPtr done;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_origin
    {
        public uint struct_size;
        public uint kind;
        public byte* name;
        public void* data;
        public IntPtr read;
        public IntPtr done;
        public void* user;
        public ulong offset;
        public ulong size;
        public long fd;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_option
    {
        public uint struct_size;
        public uint type;
        public uint offset;
        public uint reserved;
        public byte* name;
        public byte* names;
        public byte* unit;
        public byte* doc;
        public double min;
        public double max;
        public double fallback;
        public double zero;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_gguf_options
    {
        public uint struct_size;
        public uint io;
        public sm_allocator* allocator;
        public IntPtr progress;
        public void* progress_user;
        public IntPtr cancel_flag;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_gguf_info
    {
        public uint struct_size;
        public uint version;
        public uint alignment;
        public uint n_files;
        public ulong n_keys;
        public ulong n_tensors;
        public ulong n_elements;
        public ulong data_bytes;
        public ulong holds;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_gguf_tensor_info
    {
        public uint struct_size;
        public uint type;
        public byte* name;
        public byte* type_name;
        public uint n_dims;
        public uint file;
        public fixed ulong dims[4];
        public ulong offset;
        public ulong size;
        public uint packed;
        public uint weight_type;
        public byte* weight_type_name;
        public fixed ulong weight_dims[4];
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_tokenizer_options
    {
        public uint struct_size;
        public uint reserved;
        public sm_allocator* allocator;
        public IntPtr cancel;
        public void* cancel_user;
        public sm_logger* log;
        public IntPtr cancel_flag;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_tokenizer_info
    {
        public uint struct_size;
        public uint kind;
        public int n_vocab;
        public int bos;
        public int eos;
        public int unk;
        public int sep;
        public int pad;
        public int mask;
        public int eot;
        public int add_bos;
        public int add_eos;
        public fixed byte pre[64];
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_encode_options
    {
        public uint struct_size;
        public uint flags;
        public IntPtr cancel;
        public void* cancel_user;
        public IntPtr cancel_flag;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_constraint_options
    {
        public uint struct_size;
        public uint reserved;
        public sm_text* triggers;
        public sm_allocator* allocator;
        public ulong n_triggers;
        public ulong memory_limit;
        public IntPtr cancel;
        public void* cancel_user;
        public IntPtr cancel_flag;
        public void* reserved_pointer;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_schema_options
    {
        public uint struct_size;
        public uint draft;
        public uint spaces;
        public uint max_spaces;
        public uint flags;
        public uint reserved;
        public IntPtr cancel;
        public void* cancel_user;
        public IntPtr cancel_flag;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_model_options
    {
        public uint struct_size;
        public uint io;
        public uint level;
        public uint repack;
        public uint activations;
        public uint reserved;
        public sm_allocator* allocator;
        public sm_logger* log;
        public IntPtr progress;
        public void* progress_user;
        public IntPtr cancel_flag;
        public ulong memory_limit;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_model_info
    {
        public uint struct_size;
        public uint level;
        public byte* architecture;
        public byte* name;
        public int n_vocab;
        public int n_ctx_train;
        public int n_embd;
        public int n_layer;
        public int n_head;
        public int n_head_kv;
        public int head_dim;
        public int n_ff;
        public ulong n_params;
        public ulong weight_bytes;
        public ulong decode_bytes;
        public ulong packed_bytes;
        public ulong heap_bytes;
        public ulong heap_peak;
        public ulong n_allocs;
        public ulong packed_file_bytes;
        public int sliding_window;
        public int reserved;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_pack_options
    {
        public uint struct_size;
        public uint reserved;
        public IntPtr progress;
        public void* progress_user;
        public IntPtr cancel_flag;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_session_options
    {
        public uint struct_size;
        public uint n_ctx;
        public uint n_threads;
        public uint n_batch;
        public uint kv_type;
        public uint pin;
        public uint kv_keep;
        public uint reserved;
        public IntPtr cancel_flag;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_fork_options
    {
        public uint struct_size;
        public uint n_threads;
        public IntPtr cancel_flag;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_session_info
    {
        public uint struct_size;
        public uint length;
        public uint n_ctx;
        public uint n_threads;
        public uint n_batch;
        public uint kv_type;
        public uint kv_keep;
        public int n_vocab;
        public ulong cache_bytes;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_token_logprob
    {
        public int id;
        public int reserved;
        public double logprob;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_logit_bias
    {
        public int token;
        public int reserved;
        public double bias;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_sampler_info
    {
        public uint struct_size;
        public uint sampler;
        public uint n_parameters;
        public uint reserved;
        public byte* name;
        public byte* other_names;
        public byte* parameters;
        public byte* fields;
        public byte* doc;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_sampling_step
    {
        public uint sampler;
        public uint min_keep;
        public fixed double value[4];
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_watermark
    {
        public uint struct_size;
        public uint seeding;
        public uint width;
        public uint reserved;
        public double gamma;
        public double delta;
        public ulong key;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_watermark_score
    {
        public uint struct_size;
        public uint reserved;
        public ulong n_scored;
        public ulong n_green;
        public ulong n_repeated;
        public double z;
        public double p;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_sampling
    {
        public uint struct_size;
        public uint top_k;
        public double temperature;
        public double top_p;
        public double min_p;
        public double repeat_penalty;
        public double presence_penalty;
        public double frequency_penalty;
        public uint penalty_last_n;
        public uint min_keep;
        public ulong seed;
        public ulong sequence;
        public sm_logit_bias* bias;
        public ulong n_bias;
        public double typical_p;
        public double top_a;
        public double top_n_sigma;
        public double xtc_probability;
        public double xtc_threshold;
        public double dry_multiplier;
        public double dry_base;
        public uint dry_allowed_length;
        public uint dry_last_n;
        public int* dry_breakers;
        public ulong n_dry_breakers;
        public double dynatemp_range;
        public double dynatemp_exponent;
        public uint mirostat;
        public uint mirostat_m;
        public double mirostat_tau;
        public double mirostat_eta;
        public ulong n_steps;
        public sm_sampling_step* steps;
        public byte* order;
        public uint* mask;
        public sm_watermark* watermark;
        public float* logits;
        public sm_text* dry_breaker_texts;
        public ulong n_dry_breaker_texts;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_choice
    {
        public uint struct_size;
        public int id;
        public double logprob;
        public ulong rank;
        public sm_token_logprob* top;
        public ulong n_top;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_context_full
    {
        public uint struct_size;
        public uint policy;
        public uint n_ctx;
        public uint n_keep;
        public int* ids;
        public int* replacement;
        public ulong n_replacement;
        public ulong n_ids;
        public ulong n_dropped;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_generate_options
    {
        public uint struct_size;
        public uint max_tokens;
        public sm_sampling* sampling;
        public sm_text* stop;
        public uint parse_special;
        public uint no_bos;
        public uint ignore_end;
        public uint speculate;
        public uint draft_tokens;
        public IntPtr draft;
        public uint context_full;
        public uint n_keep;
        public uint n_drop;
        public uint heal;
        public IntPtr on_context_full;
        public void* context_full_user;
        public IntPtr constraint;
        public IntPtr cancel_flag;
        public sm_text* ban;
        public uint min_tokens;
        public uint n_logprobs;
        public uint echo;
        public ulong n_stop;
        public ulong n_ban;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_token
    {
        public uint struct_size;
        public int id;
        public double logprob;
        public byte* text;
        public ulong length;
        public sm_token_logprob* top;
        public ulong n_top;
        public uint in_prompt;
        public uint reserved;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_generate_stats
    {
        public uint struct_size;
        public uint finish;
        public uint prompt_tokens;
        public uint reused_tokens;
        public uint generated_tokens;
        public uint reserved;
        public double prepare_seconds;
        public double prompt_seconds;
        public double first_token_seconds;
        public double generate_seconds;
        public ulong drafted_tokens;
        public ulong accepted_tokens;
        public ulong dropped_tokens;
        public ulong context_fulls;
        public ulong healed_tokens;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_chat_options
    {
        public uint struct_size;
        public uint reserved;
        public byte* template_text;
        public byte* template_name;
        public byte* bos;
        public byte* eos;
        public sm_allocator* allocator;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_render_options
    {
        public uint struct_size;
        public uint no_generation_prompt;
        public byte* variables;
        public IntPtr cancel;
        public void* cancel_user;
        public IntPtr cancel_flag;
        public long clock;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_reply_options
    {
        public uint struct_size;
        public uint first_call;
        public byte* format;
        public byte* template_text;
        public byte* prompt_end;
        public byte* tools;
        public sm_allocator* allocator;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_delta
    {
        public uint struct_size;
        public uint kind;
        public byte* text;
        public ulong length;
        public byte* name;
        public byte* id;
        public byte* json;
        public ulong json_length;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_reply_info
    {
        public uint struct_size;
        public uint n_calls;
        public uint malformed;
        public uint reasoning;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_answer_options
    {
        public uint struct_size;
        public uint reserved;
        public byte* tool_choice;
        public sm_generate_options* generate;
        public byte* format;
        public byte* variables;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_batch_options
    {
        public uint struct_size;
        public uint n_threads;
        public uint n_sequences;
        public uint n_batch;
        public uint n_ctx;
        public uint pin;
        public IntPtr cancel_flag;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_batch_item
    {
        public uint struct_size;
        public uint reserved;
        public IntPtr session;
        public int* ids;
        public float* logits;
        public ulong n_ids;
        public ulong n_logits;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_batch_text
    {
        public uint struct_size;
        public uint reserved;
        public IntPtr session;
        public byte* prompt;
        public sm_generate_options* options;
        public IntPtr on_token;
        public void* user;
        public ulong length;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_quantize_override
    {
        public uint struct_size;
        public uint reserved;
        public byte* pattern;
        public byte* type;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_quantize_tensor
    {
        public uint struct_size;
        public uint fallback;
        public byte* name;
        public byte* from;
        public byte* to;
        public ulong n_weights;
        public ulong bytes_before;
        public ulong bytes_after;
        public double rms;
        public double rmse;
        public uint copied;
        public uint by_imatrix;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_quantize_options
    {
        public uint struct_size;
        public uint n_threads;
        public byte* type;
        public byte* imatrix;
        public sm_quantize_override* overrides;
        public ulong n_overrides;
        public uint pure;
        public uint requantize;
        public uint level;
        public uint reserved;
        public sm_allocator* allocator;
        public IntPtr progress;
        public void* progress_user;
        public IntPtr on_tensor;
        public void* on_tensor_user;
        public IntPtr cancel_flag;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_quantize_result
    {
        public uint struct_size;
        public uint n_quantized;
        public uint n_fallback;
        public uint n_imatrix;
        public ulong n_tensors;
        public ulong bytes_before;
        public ulong bytes_after;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_imatrix_options
    {
        public uint struct_size;
        public uint n_ctx;
        public uint n_threads;
        public uint reserved;
        public IntPtr cancel_flag;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_adapter_options
    {
        public uint struct_size;
        public uint reserved;
        public IntPtr progress;
        public void* progress_user;
        public IntPtr cancel_flag;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_merge_options
    {
        public uint struct_size;
        public uint reserved;
        public byte* type;
        public IntPtr progress;
        public void* progress_user;
        public IntPtr cancel_flag;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_adapter_info
    {
        public uint struct_size;
        public uint n_matrices;
        public uint max_rank;
        public uint reserved;
        public double alpha;
        public ulong n_weights;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_encoder_options
    {
        public uint struct_size;
        public uint n_threads;
        public uint max_tokens;
        public uint n_batch;
        public uint pooling;
        public uint long_texts;
        public uint n_dims;
        public uint raw;
        public byte* prefix;
        public byte* prompt;
        public IntPtr cancel_flag;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_encoder_info
    {
        public uint struct_size;
        public uint pooling;
        public uint n_dims;
        public uint n_embd;
        public uint max_tokens;
        public uint n_labels;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_vocabulary_options
    {
        public uint struct_size;
        public uint n_vocab;
        public byte* separator;
        public byte* pre;
        public IntPtr progress;
        public void* progress_user;
        public IntPtr cancel_flag;
        public ulong min_count;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_model_init_options
    {
        public uint struct_size;
        public uint n_embd;
        public uint n_layer;
        public uint n_head;
        public uint n_head_kv;
        public uint n_ff;
        public uint n_ctx;
        public uint untied;
        public uint family;
        public uint sliding_window;
        public ulong seed;
        public double rope_theta;
        public byte* name;
        public IntPtr progress;
        public void* progress_user;
        public IntPtr cancel_flag;
        public byte* architecture;
        public sm_allocator* allocator;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_trainer_options
    {
        public uint struct_size;
        public uint n_threads;
        public byte* data;
        public byte** more_data;
        public ulong n_more_data;
        public byte* separator;
        public double validation;
        public uint data_kind;
        public uint layout;
        public uint loss_on_prompt;
        public uint sequence;
        public uint rows;
        public uint accumulate;
        public ulong steps;
        public double epochs;
        public ulong seed;
        public uint optimizer;
        public uint state_8bit;
        public double lr;
        public double min_lr;
        public double beta1;
        public double beta2;
        public double eps;
        public double weight_decay;
        public double expert_balance;
        public double momentum;
        public double clip;
        public uint no_clip;
        public uint schedule;
        public ulong warmup;
        public double power;
        public double decay_part;
        public ulong cycle;
        public double cycle_growth;
        public uint precision;
        public uint checkpoint_layers;
        public uint level;
        public uint lora_rank;
        public double lora_alpha;
        public double lora_dropout;
        public uint lora_rs;
        public uint openblas;
        public byte* lora_targets;
        public sm_allocator* allocator;
        public IntPtr progress;
        public void* progress_user;
        public sm_logger* log;
        public IntPtr cancel_flag;
        public ulong memory_limit;
        public uint objective;
        public uint length_normalized;
        public double preference_beta;
        public double label_smoothing;
        public double preference_margin;
        public double desirable_weight;
        public double undesirable_weight;
        public byte* teacher;
        public double teacher_weight;
        public double teacher_temperature;
        public double lora_b_rate;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_trainer_info
    {
        public uint struct_size;
        public uint level;
        public uint n_threads;
        public uint n_vocab;
        public ulong n_params;
        public ulong steps;
        public ulong step;
        public ulong tokens;
        public ulong epoch;
        public ulong train_documents;
        public ulong validation_documents;
        public ulong train_bytes;
        public ulong validation_bytes;
        public ulong heap_bytes;
        public ulong heap_peak;
        public double epochs;
        public ulong updating;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_train_metrics
    {
        public uint struct_size;
        public uint reserved;
        public ulong step;
        public double loss;
        public double grad_norm;
        public double lr;
        public ulong targets;
        public double seconds;
        public ulong tokens;
        public double expert_balance;
        public double chosen_reward;
        public double rejected_reward;
        public double reward_margin;
        public double teacher_loss;
        public double accuracy;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_train_evaluation
    {
        public uint struct_size;
        public uint reserved;
        public double loss;
        public double bits_per_byte;
        public ulong targets;
        public double seconds;
        public double chosen_reward;
        public double rejected_reward;
        public double reward_margin;
        public double accuracy;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_checkpoint_info
    {
        public uint struct_size;
        public uint reserved;
        public ulong step;
        public ulong steps;
        public ulong tokens;
    }

    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct sm_export_options
    {
        public uint struct_size;
        public uint reserved;
        public byte* type;
    }

    /// <summary>
    /// Functions of libsmallmind. A SafeHandle stays open during a call.
    /// </summary>
    public static unsafe class Native
    {
        public const string Library = "smallmind";

        /// <summary>
        /// A short fixed English name of a status ("out of memory"); never NULL.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* sm_status_text(int status);

        /// <summary>
        /// "1.0.0", before that release "1.0.0-rc1".
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* sm_version();

        /// <summary>
        /// The same as a number that grows: major * 1000000 + minor * 1000 + patch.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern uint sm_version_number();

        /// <summary>
        /// SM_ABI of the library that is running. Programs work with every library of the same
        /// number that has the functions they call (docs/abi.md).
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern uint sm_abi();

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_build_get_info(sm_build_info* info, sm_error* error);

        /// <summary>
        /// Text of unknown origin as a terminal or a log may get it: control characters, what is
        /// not UTF-8, and characters that cannot be seen or turn the order of others (zero-width,
        /// bidirectional and other format characters, line separators, private use) are written \n,
        /// \t, \r, \x1b or \u{202e}. A backslash stays as it is, so that escaping twice changes
        /// nothing. Writes as many whole characters as fit in capacity bytes, a zero among them;
        /// returns the bytes of all, without the zero. length counts bytes of text, which may hold
        /// zeros. out may be NULL where capacity is 0. Messages and log lines are escaped; names,
        /// values and pieces of text that functions hand out (sm_gguf_get_key, sm_gguf_get_value,
        /// sm_model_info, sm_tokenizer_token_text, generated text) are as the file or the model has
        /// them.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern ulong sm_text_escape(byte* text, ulong length, byte* @out, ulong
            capacity);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_cancel_new(IntPtr* @out, sm_error* error);

        /// <summary>
        /// By any thread, at any time, in signal handlers too; NULL is fine.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_cancel_set(SafeHandle cancel, int on);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_cancel_is_set(SafeHandle cancel);

        /// <summary>
        /// NULL is fine. Sessions, batches, importance matrices and trainers hold a reference to
        /// theirs; other calls use it until they return.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_cancel_free(IntPtr cancel);

        /// <summary>
        /// Name of a level ("avx2"), or NULL if unknown; and back (0 on unknown name, "auto"
        /// included).
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* sm_level_name(uint level);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern uint sm_level_from_name(byte* name);

        /// <summary>
        /// The best level that this CPU has and this build contains, at or below `cap`; a cap of
        /// another architecture leaves SM_LEVEL_SCALAR.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern uint sm_level_best(uint cap);

        /// <summary>
        /// CPUs worth a thread each: those that this process may run on, no more than its control
        /// groups (Linux, v1 and v2) give it time for; at least 1. What `n_threads` 0 means, but
        /// for a cap of its own. Asks the system each time. Any thread.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern uint sm_cpu_count();

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern uint sm_names_find(byte* names, byte* name, uint* nearest);

        /// <summary>
        /// Name i of such a list, which ends where *length says, not with a zero; NULL behind the
        /// last.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* sm_names_get(byte* names, uint i, ulong* length);

        /// <summary>
        /// The struct's name ("sm_session_options"); NULL for an unknown number.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* sm_options_name(uint options_struct);

        /// <summary>
        /// How many fields its table has; 0 for an unknown one.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern uint sm_options_count(uint options_struct);

        /// <summary>
        /// Field i of it. SM_ERR_ARGUMENT.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_options_get(uint options_struct, uint i, sm_option* option,
            sm_error* error);

        /// <summary>
        /// SM_ERR_IO, _FORMAT, _UNSUPPORTED, _NOMEM, _ARGUMENT, _CANCELLED.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_gguf_load(IntPtr* @out, byte* path, sm_gguf_options* options,
            sm_error* error);

        /// <summary>
        /// The same from anywhere (types.h).
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_gguf_load_from(IntPtr* @out, sm_origin* origin, sm_gguf_options*
            options, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_gguf_free(IntPtr gguf);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_gguf_get_info(SafeHandle gguf, sm_gguf_info* info, sm_error*
            error);

        /// <summary>
        /// Key i: its name and type ("u32", "str", "arr[f32,512]"), valid as long as the handle.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_gguf_get_key(SafeHandle gguf, ulong i, byte** name, byte** type,
            sm_error* error);

        /// <summary>
        /// Its value as text: numbers in shortest form, bools "true"/"false", strings as they are,
        /// arrays as "[a, b, c]", or "[a, b, ...]" where max_items (0: no limit) cuts them off.
        /// Zero-terminated; *n is the length without it; SM_ERR_BUFFER (with *n) when capacity
        /// &lt;= *n.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_gguf_get_value(SafeHandle gguf, ulong i, ulong max_items, byte*
            text, ulong capacity, ulong* n, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_gguf_get_tensor(SafeHandle gguf, ulong i, sm_gguf_tensor_info*
            info, sm_error* error);

        /// <summary>
        /// Opens the vocabulary of a GGUF file (a whole model or vocab-only), of a tokenizer.json
        /// (Hugging Face), a SentencePiece model (.model) or tiktoken's ranks (.tiktoken), or of a
        /// directory that has one of these, in that order. Beside them tokenizer_config.json and
        /// special_tokens_map.json are read: which tokens begin, end and pad, and add_bos_token and
        /// add_eos_token as transformers applies them; a tiktoken file needs its pattern, "pat_str"
        /// (and "special_tokens") in a config.json beside, but for encodings that are known by name
        /// (cl100k_base, o200k_base, r50k_base, p50k_base, qwen). Of a tokenizer.json all
        /// components are computed, or refused by their place in the file; its sections truncation
        /// and padding are not applied; a text whose bytes are no UTF-8 has U+FFFD for each of
        /// them, where the file's steps change texts. `path` is UTF-8. SM_ERR_IO, _FORMAT (also ids
        /// of special tokens outside the vocabulary, byte tokens that are none, keys of a wrong
        /// type, arrays of another length than the tokens), _MISSING, _UNSUPPORTED, _NOMEM,
        /// _ARGUMENT, _CANCELLED; the message names the key.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_tokenizer_load(IntPtr* @out, byte* path, sm_tokenizer_options*
            options, sm_error* error);

        /// <summary>
        /// The same from anywhere (types.h); what is no GGUF file from a path or from memory, where
        /// nothing is beside it.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_tokenizer_load_from(IntPtr* @out, sm_origin* origin,
            sm_tokenizer_options* options, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_tokenizer_free(IntPtr tokenizer);

        /// <summary>
        /// SM_ERR_ARGUMENT if a pointer is NULL or info-&gt;struct_size unknown.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_tokenizer_get_info(SafeHandle tokenizer, sm_tokenizer_info*
            info, sm_error* error);

        /// <summary>
        /// Encodes text[0..length). Stores the number of ids in *n (n must not be NULL); writes
        /// them when capacity is enough, else returns SM_ERR_BUFFER and writes nothing. ids may be
        /// NULL with capacity 0. length + 16 ids always suffice for BPE, SPM, CHARS and WordPiece
        /// kinds (2 * length + 16 where an SPM vocabulary has special tokens of a single byte, any
        /// number where it normalizes). options NULL: all zero. SM_ERR_CANCELLED, SM_ERR_NOMEM,
        /// SM_ERR_ARGUMENT (also for a text of more than SIZE_MAX / 64 bytes), SM_ERR_UNSUPPORTED
        /// (a gigabyte of text without a place to split): *n is 0.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_tokenizer_encode(SafeHandle tokenizer, byte* text, ulong length,
            sm_encode_options* options, int* ids, ulong capacity, ulong* n, sm_error* error);

        /// <summary>
        /// Encodes two texts as the vocabulary's template for pairs puts them together (BERT: [CLS]
        /// first [SEP] second [SEP]); without SM_ENCODE_MARKERS one behind the other.
        /// type_ids[capacity], which may be NULL, gets the number of the segment that each id
        /// belongs to. Otherwise as sm_tokenizer_encode; SM_ERR_UNSUPPORTED where the vocabulary
        /// has no template (those of GGUF files but WordPiece).
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_tokenizer_encode_pair(SafeHandle tokenizer, byte* first, ulong
            first_length, byte* second, ulong second_length, sm_encode_options* options, int* ids,
            int* type_ids, ulong capacity, ulong* n, sm_error* error);

        /// <summary>
        /// Decodes ids to bytes. *n gets the length, as with encode; not zero-terminated.
        /// SM_ERR_TOKEN for an id outside the vocabulary.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_tokenizer_decode(SafeHandle tokenizer, int* ids, ulong n_ids,
            uint flags, byte* text, ulong capacity, ulong* n, sm_error* error);

        /// <summary>
        /// The raw vocabulary entry of one id as the file spells it (not decoded); valid as long as
        /// the tokenizer. Stores length; NULL if id is out of range.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* sm_tokenizer_token_text(SafeHandle tokenizer, int id, ulong*
            length);

        /// <summary>
        /// The id whose vocabulary entry is exactly these bytes, or -1.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_tokenizer_find(SafeHandle tokenizer, byte* text, ulong length);

        /// <summary>
        /// 1 if the id ends a generation (EOS, end of turn, end of message), else 0.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_tokenizer_is_end(SafeHandle tokenizer, int id);

        /// <summary>
        /// Streaming decode: feed ids one by one, get the bytes that are complete. What comes out
        /// is what sm_tokenizer_decode makes, but where a tokenizer.json's decoder looks ahead or
        /// back: the space that a BPEDecoder writes behind a word comes behind the last one, too, a
        /// Strip takes nothing off the end, and a CTC decoder keeps tokens that repeat. Never hands
        /// out part of a UTF-8 sequence: bytes wait until the sequence is whole or can no longer
        /// become valid. One thread at a time: another one that comes while a call has not returned
        /// gets SM_ERR_STATE; sm_detokenizer_free takes effect when it ends. Holds a reference to
        /// the tokenizer.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_detokenizer_new(IntPtr* @out, SafeHandle tokenizer, uint flags,
            sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_detokenizer_free(IntPtr detokenizer);

        /// <summary>
        /// piece (zero-terminated, *length bytes, maybe 0) is valid until the next call.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_detokenizer_feed(SafeHandle detokenizer, int id, byte** piece,
            ulong* length, sm_error* error);

        /// <summary>
        /// Hands out whatever still waits (an unfinished sequence comes out as it is).
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_detokenizer_flush(SafeHandle detokenizer, byte** piece, ulong*
            length, sm_error* error);

        /// <summary>
        /// Back to the state of a new one. SM_ERR_ARGUMENT, _STATE.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_detokenizer_reset(SafeHandle detokenizer, sm_error* error);

        /// <summary>
        /// text[0..length): the grammar or expression, UTF-8. Makes a table of the vocabulary at
        /// the first constraint of a tokenizer, which may be NULL: then it is for bytes, and what
        /// asks about tokens is SM_ERR_MISSING. SM_ERR_FORMAT (no grammar or expression: place),
        /// SM_ERR_UNSUPPORTED (what cannot be done, by name: left recursion in GBNF, references to
        /// tokens, look-behind …; a WordPiece vocabulary), SM_ERR_ARGUMENT (also a constraint that
        /// no text matches, more at least than at most), SM_ERR_NOMEM.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_new(IntPtr* @out, SafeHandle tokenizer, uint kind,
            byte* text, ulong length, sm_constraint_options* options, sm_error* error);

        /// <summary>
        /// One of n texts.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_new_choices(IntPtr* @out, SafeHandle tokenizer,
            sm_text* texts, ulong n, sm_constraint_options* options, sm_error* error);

        /// <summary>
        /// text[0..length): the schema. schema_options may be NULL. Statuses as sm_constraint_new,
        /// and SM_ERR_CANCELLED; a schema that no value satisfies is SM_ERR_UNSUPPORTED.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_new_schema(IntPtr* @out, SafeHandle tokenizer, byte*
            text, ulong length, sm_schema_options* schema_options, sm_constraint_options* options,
            sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_constraint_free(IntPtr constraint);

        /// <summary>
        /// At the beginning of a text. SM_ERR_NOMEM.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_state_new(IntPtr* @out, SafeHandle constraint,
            sm_error* error);

        /// <summary>
        /// A second state at the same place, with the same tokens to go back over.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_state_fork(IntPtr* @out, SafeHandle state, sm_error*
            error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_constraint_state_free(IntPtr state);

        /// <summary>
        /// The tokens that may come next: bit id % 32 of mask[id / 32]; n_words: (n_vocab + 31) /
        /// 32 or more, those beyond become 0. SM_ERR_BUFFER; SM_ERR_UNSUPPORTED or SM_ERR_NOMEM
        /// where the automaton reaches a limit, which it says again from then on.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_mask(SafeHandle state, uint* mask, ulong n_words,
            sm_error* error);

        /// <summary>
        /// Appends a token. SM_ERR_ARGUMENT, and nothing has changed, if it may not come here;
        /// SM_ERR_TOKEN. An end token ends the text: nothing may follow.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_accept(SafeHandle state, int id, sm_error* error);

        /// <summary>
        /// Appends bytes that come as no token; counts as one for sm_constraint_rewind.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_accept_text(SafeHandle state, byte* text, ulong
            length, sm_error* error);

        /// <summary>
        /// The bytes that have no alternative here: nothing else may come, the end neither. Writes
        /// what fits in capacity and stores the length in *n (at most 65536); SM_ERR_BUFFER if that
        /// is more.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_forced_text(SafeHandle state, byte* text, ulong
            capacity, ulong* n, sm_error* error);

        /// <summary>
        /// The same as tokens, as encoding has them: those at the end that would be others for some
        /// text that may follow are left out. Accepts nothing. *n: how many; SM_ERR_BUFFER if more
        /// than capacity.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_forced(SafeHandle state, int* ids, ulong capacity,
            ulong* n, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_can_end(SafeHandle state);

        /// <summary>
        /// 1: it matches and nothing can follow, or an end token was accepted.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_ended(SafeHandle state);

        /// <summary>
        /// Takes the last n tokens back. SM_ERR_ARGUMENT if there are fewer.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_rewind(SafeHandle state, ulong n, sm_error* error);

        /// <summary>
        /// Back to the beginning of a text.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_reset(SafeHandle state, sm_error* error);

        /// <summary>
        /// Loads a GGUF model (of a split one: the first part), or a Hugging Face directory:
        /// config.json and model.safetensors, or the files of model.safetensors.index.json. Tensors
        /// stay in the mapped files where they lie as in GGUF; converted ones (queries and keys of
        /// llama's relatives, weights of gpt-2, weights of 8 bits, gains) are in memory of the
        /// model's. Everything the file says is checked before it is used. SM_ERR_IO, _FORMAT,
        /// _MISSING, _SHAPE, _UNSUPPORTED (architecture, tensor type, rope scaling, tokenizer: by
        /// name), _NOMEM, _SYSTEM, _CANCELLED, _ARGUMENT; the message names the file and the key or
        /// tensor.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_model_load(IntPtr* @out, byte* path, sm_model_options* options,
            sm_error* error);

        /// <summary>
        /// The same from anywhere (types.h; parts of split models must be files). Statuses as
        /// above.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_model_load_from(IntPtr* @out, sm_origin* origin,
            sm_model_options* options, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_model_free(IntPtr model);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_model_get_info(SafeHandle model, sm_model_info* info, sm_error*
            error);

        /// <summary>
        /// Writes the model to one GGUF file with its matrices in the layout that the kernels
        /// compute from. Loaded, such a file needs no repacking and no private copy of the weights:
        /// it is fast from the first token on, and processes that map it share its pages. It is of
        /// use to this library only, on every instruction-set level and machine with little-endian
        /// numbers; a version of the library with another layout refuses it by name
        /// (SM_ERR_UNSUPPORTED). All keys are kept, but for those of the alignment and of
        /// splitting. Where the output layer shares the token embeddings the file holds them twice,
        /// as rows and packed. The file appears at path, replacing one there, when it is complete
        /// and on the disk. options may be NULL. Any thread may call this while sessions of the
        /// model run. SM_ERR_ARGUMENT, _IO, _NOMEM, _CANCELLED, _FORMAT (weights that are infinite
        /// or NaN: names tensor and row; those of a packed file are not looked at again).
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_model_save_packed(SafeHandle model, byte* path, sm_pack_options*
            options, sm_error* error);

        /// <summary>
        /// The model's tokenizer: a new reference, freed with sm_tokenizer_free. SM_ERR_MISSING if
        /// the file holds no vocabulary.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_model_get_tokenizer(SafeHandle model, IntPtr* @out, sm_error*
            error);

        /// <summary>
        /// SM_ERR_ARGUMENT, _NOMEM, _SYSTEM (threads), _UNSUPPORTED (pin, where the system cannot).
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_new(IntPtr* @out, SafeHandle model, sm_session_options*
            options, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_session_free(IntPtr session);

        /// <summary>
        /// A second session with the same tokens, cache and logits, and a team of its own (or in
        /// the same batch, see batch.h). options may be NULL. Asks the cancel hook of the session
        /// that is copied; the copy has none. SM_ERR_CANCELLED, and as sm_session_new.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_fork(IntPtr* @out, SafeHandle session, sm_fork_options*
            options, sm_error* error);

        /// <summary>
        /// Writes the session to a file; of how see types.h. Asks the session's cancel hook.
        /// SM_ERR_ARGUMENT, _IO, _NOMEM, _CANCELLED, _STATE inside a call of the session.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_save(SafeHandle session, byte* path, sm_error* error);

        /// <summary>
        /// Makes the session hold what was saved, in place of all that it holds. Asks the cancel
        /// hook. SM_ERR_IO, _FORMAT (damaged, or no saved session), _UNSUPPORTED (a later version),
        /// _ARGUMENT (of another model, adapter, level or cache; the message says which),
        /// _CONTEXT_FULL, _NOMEM, _CANCELLED, _STATE as above. On failure the session is as it was,
        /// but after _CANCELLED it may hold no tokens; the message then says so. The file is mapped
        /// and must not be cut short meanwhile.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_restore(SafeHandle session, byte* path, sm_error*
            error);

        /// <summary>
        /// The same bytes in memory. *size gets how many there are, SM_ERR_BUFFER if that is more
        /// than capacity, what fits having been written; buffer may be NULL where capacity is 0.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_save_bytes(SafeHandle session, void* buffer, ulong
            capacity, ulong* size, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_restore_bytes(SafeHandle session, void* data, ulong
            size, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern uint sm_session_length(SafeHandle session);

        /// <summary>
        /// How many bytes of its key/value cache computing the token at that position reads; 0
        /// where there can be none.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern ulong sm_session_read_bytes(SafeHandle session, uint position);

        /// <summary>
        /// At any time, by any thread. SM_ERR_ARGUMENT.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_get_info(SafeHandle session, sm_session_info* info,
            sm_error* error);

        /// <summary>
        /// Copies the tokens from `begin` on into ids, capacity at most; *n (may be NULL) gets how
        /// many, 0 if `begin` is not less than the length. Places that hold no token (what later
        /// versions may feed beside tokens) are -1. At any time, by any thread. SM_ERR_ARGUMENT.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_tokens(SafeHandle session, uint begin, int* ids, ulong
            capacity, ulong* n, sm_error* error);

        /// <summary>
        /// Cancelling long computation: asked every fraction of a millisecond while feeding (while
        /// weights are repacked, before every tensor and every 16 MiB of one) and every few
        /// milliseconds while a prompt is encoded; non-zero makes the running feed or generate
        /// return SM_ERR_CANCELLED with the session as it was before the unfinished batch. Called
        /// on the caller's thread, also by sm_batch_step while it feeds the session. NULL: never.
        /// SM_ERR_STATE inside a call of the session.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_set_cancel(SafeHandle session, IntPtr cancel, void*
            user, sm_error* error);

        /// <summary>
        /// Appends n tokens and computes them. n may be 0. SM_ERR_TOKEN and SM_ERR_CONTEXT_FULL
        /// leave the session unchanged; so does SM_ERR_NOMEM, possible where weights are used for
        /// the first time (by any session) and repacked; what was repacked stays for the next feed.
        /// (Tokens that windows have lost meanwhile are computed again; if that fails as well, the
        /// message says how many the session holds.) SM_ERR_CANCELLED: see above.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_feed(SafeHandle session, int* ids, ulong n, sm_error*
            error);

        /// <summary>
        /// The same, and writes the logits of every fed token: logits[n][n_vocab], for which there
        /// is room for `capacity` floats (SM_ERR_BUFFER if that is too few: nothing is fed).
        /// SM_ERR_FORMAT if one is infinite or NaN (damaged weights: names the token, and the row
        /// of the output matrix if it is at fault): the session is as it was, the logits are for
        /// looking at.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_feed_logits(SafeHandle session, int* ids, ulong n,
            float* logits, ulong capacity, sm_error* error);

        /// <summary>
        /// Appends n tokens as sm_session_feed does and writes what the model thought of each
        /// before it came: logprobs[n], NAN for the first token of an empty session, which follows
        /// nothing; and top[n][n_top], the likeliest tokens there, best first (id -1 where there
        /// are fewer), n_top being SM_MAX_LOGPROBS at most, and top NULL where it is 0. The same
        /// numbers, to the bit, however tokens are cut into calls. Takes memory for the logits of
        /// some tokens (64 MiB) meanwhile. SM_ERR_STATE if the session holds tokens but no logits
        /// (it was rewound), _FORMAT if logits are not finite; as sm_session_feed. On failure the
        /// session is as it was (its logits may be gone), but after _CANCELLED it holds what had
        /// been fed.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_feed_logprobs(SafeHandle session, int* ids, ulong n,
            uint n_top, double* logprobs, sm_token_logprob* top, sm_error* error);

        /// <summary>
        /// Makes the session hold exactly ids[0..n): keeps the common prefix, drops the rest, feeds
        /// what is new. *reused (may be NULL) gets the tokens kept: as much of the common prefix as
        /// the session's state allows, which is what sm_session_rewind goes back to at no cost.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_sync(SafeHandle session, int* ids, ulong n, ulong*
            reused, sm_error* error);

        /// <summary>
        /// Forgets all tokens from position length on, as far as the model's state can go back; 0
        /// always works. What a session carries of its tokens tells how far back it can go at no
        /// cost: to any length where keys and values of all tokens are kept, which is so in models
        /// without windows and with SM_KV_KEEP_ALL; with SM_KV_KEEP_WINDOW by n_batch tokens at
        /// least. Otherwise the tokens from the last place that can be reached (the beginning, once
        /// windows have passed it) are computed again, which can be cancelled (SM_ERR_CANCELLED,
        /// the session then holds fewer tokens). SM_ERR_ARGUMENT if length is beyond the session's,
        /// _UNSUPPORTED where a state can neither go back so far nor be computed again (no model of
        /// this version). Logits are gone unless length is the present one.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_rewind(SafeHandle session, uint length, sm_error*
            error);

        /// <summary>
        /// Drops the tokens [begin, end) and computes those behind them again: the session then is
        /// what it would be without them. SM_ERR_ARGUMENT; SM_ERR_CANCELLED, _NOMEM: it may hold
        /// fewer tokens.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_drop(SafeHandle session, uint begin, uint end, sm_error*
            error);

        /// <summary>
        /// The same with the oldest whole turns of a chat, as many as it takes to have room for
        /// `room` more tokens: turn i begins at token turns[i] (ascending) and ends where the next
        /// one begins. The first `keep` turns stay (a system message), and so does the last one.
        /// *n_dropped gets how many went: turns[keep .. keep + *n_dropped); those behind then begin
        /// earlier by turns[keep + *n_dropped] - turns[keep]. SM_ERR_CONTEXT_FULL if that is not
        /// enough, and nothing was dropped; else as sm_session_drop.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_drop_turns(SafeHandle session, uint* turns, ulong
            n_turns, ulong keep, uint room, ulong* n_dropped, sm_error* error);

        /// <summary>
        /// The logits after the last token: *n floats (may be NULL), as many as the vocabulary has
        /// tokens, valid until the session is next fed, rewound or freed; they may be elsewhere
        /// then. SM_ERR_STATE if there are none, _FORMAT if they are not all finite (damaged
        /// weights).
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_logits(SafeHandle session, float** logits, ulong* n,
            sm_error* error);

        /// <summary>
        /// How many samplers there are, and the i-th in the default order. SM_ERR_ARGUMENT.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern uint sm_sampler_count();

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_sampler_get_info(uint i, sm_sampler_info* info, sm_error*
            error);

        /// <summary>
        /// Looks for a watermark (its delta does not matter) in the tokens of a text. With z = 4
        /// one text in 30,000 without a watermark would be taken for one. SM_ERR_ARGUMENT, _NOMEM.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_watermark_detect(sm_watermark* watermark, int* ids, ulong n,
            sm_watermark_score* score, sm_error* error);

        /// <summary>
        /// Chooses the next token from the session's logits; changes nothing. sampling NULL:
        /// greedy. Mirostat goes on from the tokens of this session that were chosen by it,
        /// whichever of them were rewound or forked, and begins anew where there are none.
        /// SM_ERR_STATE if there are no logits; SM_ERR_ARGUMENT, also if biases ban every token;
        /// SM_ERR_TOKEN for a bias of a token outside the vocabulary; SM_ERR_FORMAT if one of the
        /// logits is not finite (damaged weights: names file, token and, if it is the output
        /// matrix, tensor and row).
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_sample(SafeHandle session, sm_sampling* sampling,
            sm_choice* choice, sm_error* error);

        /// <summary>
        /// Continues prompt[0..length) (SM_ZT: up to a zero), which is the whole text so far: what
        /// the session already holds of it is reused, the rest of the session is dropped.
        /// Afterwards the session holds the prompt and the continuation but for its last token,
        /// which nothing needed computed yet. on_token may be NULL. SM_OK for every finish but
        /// SM_FINISH_CANCELLED (SM_ERR_CANCELLED) and failures: SM_ERR_STATE if the draft session
        /// is in use; SM_ERR_ARGUMENT if it is the session itself or of another vocabulary;
        /// SM_ERR_CONTEXT_FULL if the prompt alone does not fit (policy stop), _MISSING if the
        /// model has no vocabulary, _ARGUMENT, _TOKEN and _FORMAT as with sm_session_sample,
        /// _NOMEM. An empty prompt needs a BOS token, else SM_ERR_ARGUMENT.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_generate(SafeHandle session, byte* prompt, ulong length,
            sm_generate_options* options, IntPtr on_token, void* user, sm_error* error);

        /// <summary>
        /// About the last generate of this session.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_get_stats(SafeHandle session, sm_generate_stats* stats,
            sm_error* error);

        /// <summary>
        /// From text or a layout's name. SM_ERR_FORMAT, _UNSUPPORTED (the template: line and what),
        /// _ARGUMENT (no such layout, with what it may be a slip of), _NOMEM.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_chat_new(IntPtr* @out, sm_chat_options* options, sm_error*
            error);

        /// <summary>
        /// Of a model; options may be NULL. Besides: SM_ERR_MISSING where the model has no
        /// template.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_chat_new_from_model(IntPtr* @out, SafeHandle model,
            sm_chat_options* options, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_chat_free(IntPtr chat);

        /// <summary>
        /// The template, zero-terminated, valid as long as the handle.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* sm_chat_template_text(SafeHandle chat);

        /// <summary>
        /// How the model writes reasoning and calls, as sm_reply_options.format takes it: the name
        /// of a format by the marks in the template, or where what the template makes of a probe (a
        /// message with known calls) is none of that format's, a description found by it. Valid as
        /// long as the handle; NULL: none is known.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* sm_chat_reply_format(SafeHandle chat);

        /// <summary>
        /// The names of the layouts that are known, as sm_names_find takes them.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* sm_chat_layouts_list();

        /// <summary>
        /// messages: a JSON array as in OpenAI's API; tools likewise, or NULL. Stores the bytes in
        /// *n and writes them if capacity is enough, else SM_ERR_BUFFER. SM_ERR_ARGUMENT with the
        /// template's own words where it refuses the messages, SM_ERR_FORMAT (messages, tools that
        /// name no function, or an error inside the template), _UNSUPPORTED (also tools where the
        /// template shows none to the model), _NOMEM, _CANCELLED.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_chat_render(SafeHandle chat, byte* messages, byte* tools,
            sm_render_options* options, byte* text, ulong capacity, ulong* n, sm_error* error);

        /// <summary>
        /// The same as ids, with the BOS that the vocabulary wants unless the template writes it.
        /// Errors as sm_tokenizer_encode's, too.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_chat_encode(SafeHandle chat, SafeHandle tokenizer, byte*
            messages, byte* tools, sm_render_options* options, int* ids, ulong capacity, ulong* n,
            sm_error* error);

        /// <summary>
        /// What is rendered behind the last message: sm_reply_options.prompt_end.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_chat_prompt_end(SafeHandle chat, byte* messages, byte* tools,
            sm_render_options* options, byte* text, ulong capacity, ulong* n, sm_error* error);

        /// <summary>
        /// SM_ERR_ARGUMENT (unknown format, with what it may be a slip of), _FORMAT (tools),
        /// _NOMEM.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_reply_new(IntPtr* @out, sm_reply_options* options, sm_error*
            error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_reply_free(IntPtr reply);

        /// <summary>
        /// The next piece. on_delta may be NULL. SM_ERR_CANCELLED (by on_delta), SM_ERR_UNSUPPORTED
        /// (more than 256 MiB, or 4096 calls), SM_ERR_NOMEM; after a failure only freeing is left.
        /// SM_ERR_STATE behind sm_reply_finish.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_reply_feed(SafeHandle reply, byte* text, ulong length, IntPtr
            on_delta, void* user, sm_error* error);

        /// <summary>
        /// The text has ended: what was waiting is decided. As sm_reply_feed; a second time does
        /// nothing.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_reply_finish(SafeHandle reply, IntPtr on_delta, void* user,
            sm_error* error);

        /// <summary>
        /// The message so far: {"role": "assistant", "content": …, "reasoning_content": …,
        /// "tool_calls": […]}, the last two where there are any; content is null beside calls if
        /// there is none. *n gets its bytes; SM_ERR_BUFFER where capacity is less, then nothing is
        /// written. Not zero-terminated.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_reply_message(SafeHandle reply, byte* json, ulong capacity,
            ulong* n, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_reply_get_info(SafeHandle reply, sm_reply_info* info, sm_error*
            error);

        /// <summary>
        /// Continues ids[0..n) as sm_session_generate does a prompt, and reads what comes into
        /// `reply`, which is made anew for each answer: the text of control tokens included, for
        /// marks of calls are often those; what ends the answer is not. on_delta gets what has
        /// become certain; it may call what the header of sessions lets callbacks call. The reply
        /// is finished afterwards, also when SM_ERR_CANCELLED says that a hook or on_delta ended
        /// it; why it ended otherwise: sm_session_get_stats. Errors as sm_session_generate and
        /// sm_reply_feed.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_reply(SafeHandle session, int* ids, ulong n,
            sm_generate_options* options, SafeHandle reply, IntPtr on_delta, void* user, sm_error*
            error);

        /// <summary>
        /// Tools (a JSON array, as in OpenAI's API) and a choice among them as a constraint on what
        /// a model writes in a format: "auto" holds from the first mark of a call on, what comes
        /// before is free; "required" and the name of a tool hold at once, behind the reasoning if
        /// the prompt has opened one (reasoning: 1). Calls are of these tools, in the format's
        /// notation. In every format the arguments fit the function's `parameters`
        /// (`input_schema`), a JSON Schema, as sm_constraint_new_schema takes it: all of its
        /// keywords are honoured, or the tools are refused by keyword and place
        /// ("tools[1].function.parameters.properties.x.format: …"). By notation: JSON keys in any
        /// order where an object names up to 6, otherwise in the schema's (as everywhere below);
        /// white space where JSON allows it Python (f(a=1)) values in Python's words, strings in
        /// either quote; names of arguments are words of [A-Za-z0-9_.-]; other names are refused
        /// pairs (gemma) strings as they are, between their marks markup (a parameter strings as
        /// they are, but none holds the mark that ends a value or all of in marks of its them, nor,
        /// where the schema allows other types beside strings and nothing own) says which it is,
        /// what would be read as one ("null", "12"); values of other types in JSON Keys that a
        /// schema admits without naming them are words where the notation has no quotes. A function
        /// without parameters takes none. "strict": true beside "parameters" closes objects, as
        /// OpenAI's does: those of type "object" whose schema has properties and says nothing of
        /// others have no others, keys come in the schema's order. "strict": false takes the schema
        /// for a hint: any object in the format's notation. *out is NULL where nothing is
        /// constrained: choice "none" or NULL, "auto" in formats whose calls have no mark, or with
        /// a format that is not known (NULL, "auto"). SM_ERR_ARGUMENT (no such tool, no tools),
        /// _FORMAT (tools, a schema), _UNSUPPORTED, and as sm_constraint_new.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_constraint_new_tools(IntPtr* @out, SafeHandle tokenizer, byte*
            format, byte* tools, byte* choice, uint reasoning, sm_error* error);

        /// <summary>
        /// The whole way: renders messages (a JSON array) and tools (likewise, or NULL) through the
        /// template, encodes them, feeds what the session does not hold of them yet, generates an
        /// answer and reads it. on_delta gets it while it comes, last an SM_DELTA_END with the
        /// message (also when the answer was cancelled: as far as it came), the reason for its end
        /// ("stop", "tool_calls", "length", "cancelled") and the tokens used; sm_session_get_stats
        /// has the times. Errors as sm_chat_encode and sm_session_reply.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_chat(SafeHandle session, SafeHandle chat, byte*
            messages, byte* tools, sm_answer_options* options, IntPtr on_delta, void* user,
            sm_error* error);

        /// <summary>
        /// The names of all formats, as sm_names_find takes them.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* sm_reply_formats_list();

        /// <summary>
        /// The name of the format that a chat template (zero-terminated) writes calls in: by the
        /// marks in its text. NULL: none is known.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* sm_reply_format_of(byte* template_text);

        /// <summary>
        /// SM_ERR_ARGUMENT, _NOMEM, _SYSTEM (threads), _UNSUPPORTED (pin, where the system cannot).
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_batch_new(IntPtr* @out, SafeHandle model, sm_batch_options*
            options, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_batch_free(IntPtr batch);

        /// <summary>
        /// A session that computes with the batch's team and buffers: n_threads, n_batch and pin of
        /// the options must be 0, n_ctx at most the batch's. sm_session_fork of it gives another
        /// session of the batch. SM_ERR_ARGUMENT, _NOMEM.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_batch_new_session(IntPtr* @out, SafeHandle batch,
            sm_session_options* options, sm_error* error);

        /// <summary>
        /// As sm_session_set_cancel, for steps. A step asks this hook and those of the sessions
        /// that it feeds; one that says yes cancels the step for all. SM_ERR_STATE inside a call of
        /// the batch.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_batch_set_cancel(SafeHandle batch, IntPtr cancel, void* user,
            sm_error* error);

        /// <summary>
        /// Feeds all items in one pass. Each session then has the logits after its last token
        /// (sm_session_sample, sm_session_logits), as after sm_session_feed. On any failure every
        /// session is as it was: SM_ERR_ARGUMENT (a session of another batch or twice, more than
        /// n_sequences items or n_batch tokens), _TOKEN, _CONTEXT_FULL, _CANCELLED, _STATE
        /// (adapters that are not those of the first item; the batch or one of its sessions is in
        /// use); _NOMEM only where weights are used for the first time (by any session) and
        /// repacked; _FORMAT if an item wants logits and one is not finite. The message names the
        /// item, or the tensor that was being repacked. n_items may be 0.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_batch_step(SafeHandle batch, sm_batch_item* items, ulong
            n_items, sm_error* error);

        /// <summary>
        /// sm_session_generate for several sessions at once: prompts are fed one after the other,
        /// then each step computes a token of every text that goes on. What comes is for each what
        /// would have come for it alone. A prompt takes over what sessions of earlier items hold of
        /// it: n samples of one prompt are n sessions with this prompt and options whose sampling
        /// differs in `sequence`; it is computed once. A text that fails or is cancelled by its
        /// callback ends alone; a cancel hook ends all that are left. statuses (NULL, or [n_items])
        /// gets what sm_session_generate would have returned of each, and sm_session_get_stats
        /// tells more. Returns the first of them that is not SM_OK, with its message; before
        /// anything begins SM_ERR_ARGUMENT (as sm_batch_step; a prompt that is NULL), _NOMEM,
        /// _STATE, which all statuses are then.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_batch_generate(SafeHandle batch, sm_batch_text* items, ulong
            n_items, int* statuses, sm_error* error);

        /// <summary>
        /// Writes out_path from the GGUF file in_path (parts of a split model beside it are read
        /// too; both may be the same). All keys are kept but general.file_type and
        /// general.quantization_version, which are set, and those that number the parts. Matrices
        /// are the tensors with two or more dimensions named *.weight, norms and position
        /// embeddings excepted; all else is copied. Where the columns of a matrix are no multiple
        /// of the type's block, it becomes IQ4_NL (for Q2_K, Q3_K, IQ1_… to IQ4_XS), Q5_0 (for
        /// Q4_K), Q5_1 (for Q5_K), Q8_0 (for Q6_K), Q4_0 (for TQ1_0, TQ2_0, Q1_0, Q2_0), MXFP4 (for
        /// NVFP4), or F16 if 32 does not divide them either. Memory: one encoded tensor at a time.
        /// out_path appears only when it is complete; result may be NULL. SM_ERR_ARGUMENT (unknown
        /// type; one that needs an importance matrix, and none), _IO, _FORMAT (also: weights that
        /// are infinite or NaN, also of tensors that are copied, or too large for the type, and
        /// importance that is negative), _SHAPE (importance of another size than the matrix),
        /// _UNSUPPORTED (a source type that cannot be read; quantized matrices without requantize),
        /// _MISSING, _NOMEM, _SYSTEM, _CANCELLED; messages name file and tensor.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_model_quantize(byte* out_path, byte* in_path,
            sm_quantize_options* options, sm_quantize_result* result, sm_error* error);

        /// <summary>
        /// SM_ERR_ARGUMENT, _NOMEM, _SYSTEM.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_imatrix_new(IntPtr* @out, SafeHandle model, sm_imatrix_options*
            options, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_imatrix_free(IntPtr imatrix);

        /// <summary>
        /// Asked while feeding; see sm_session_set_cancel.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_imatrix_set_cancel(SafeHandle imatrix, IntPtr cancel, void*
            user, sm_error* error);

        /// <summary>
        /// Runs one chunk, 1 to n_ctx tokens, as a context of its own and adds its sums. A failed
        /// or cancelled chunk adds nothing. SM_ERR_ARGUMENT, _TOKEN, _CONTEXT_FULL, _CANCELLED,
        /// _NOMEM.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_imatrix_feed(SafeHandle imatrix, int* ids, ulong n, sm_error*
            error);

        /// <summary>
        /// Tokens of a chunk at most, and chunks fed so far; 0 for NULL.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern uint sm_imatrix_capacity(SafeHandle imatrix);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern uint sm_imatrix_chunks(SafeHandle imatrix);

        /// <summary>
        /// Writes the sums in llama.cpp's GGUF format: general.type "imatrix", imatrix.datasets
        /// (the text's name), imatrix.chunk_count, imatrix.chunk_size, and per matrix NAME.in_sum2
        /// [columns] and NAME.counts [1]. Feeding may go on. SM_ERR_STATE if nothing was fed, _IO,
        /// _NOMEM, _FORMAT if the model's activations were not finite.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_imatrix_save(SafeHandle imatrix, byte* path, byte* dataset,
            sm_error* error);

        /// <summary>
        /// Loads an adapter file in llama.cpp's GGUF format, for this model: general.type
        /// "adapter", adapter.type "lora", and for a matrix W the tensors W.lora_a and W.lora_b,
        /// each of a type that is computed. Or a directory that PEFT saved (adapter_config.json,
        /// adapter_model.safetensors): LoRA and rsLoRA, with ranks and alphas of modules; the model
        /// may be of any kind of file. Where the model has matrices as rows of one tensor
        /// (attn_qkv) the adapter may have them apart (attn_q), and the other way round. SM_ERR_IO,
        /// _FORMAT (also weights that are not finite, and two pairs for one matrix), _MISSING (half
        /// of a pair), _SHAPE (does not fit the model: names the tensor), _UNSUPPORTED (another
        /// architecture or kind of adapter, or one of a tensor that is no matrix of a layer nor an
        /// output matrix of its own; a key of adapter_config.json that asks for what is not
        /// computed, such as DoRA), _NOMEM, _ARGUMENT, _CANCELLED. options may be NULL.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_adapter_load(IntPtr* @out, SafeHandle model, byte* path,
            sm_adapter_options* options, sm_error* error);

        /// <summary>
        /// The same from anywhere (types.h).
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_adapter_load_from(IntPtr* @out, SafeHandle model, sm_origin*
            origin, sm_adapter_options* options, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_adapter_free(IntPtr adapter);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_adapter_get_info(SafeHandle adapter, sm_adapter_info* info,
            sm_error* error);

        /// <summary>
        /// Adds scale times the adapter to what the session computes, or changes its scale if it is
        /// attached already. The session forgets its tokens: they were computed without it.
        /// SM_ERR_ARGUMENT (an adapter of another model, a scale that is not finite), SM_ERR_STATE
        /// (too many), SM_ERR_NOMEM; the session is then as before.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_attach(SafeHandle session, SafeHandle adapter, double
            scale, sm_error* error);

        /// <summary>
        /// Takes it away again; the session forgets its tokens. SM_ERR_ARGUMENT if it is not
        /// attached.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_session_detach(SafeHandle session, SafeHandle adapter, sm_error*
            error);

        /// <summary>
        /// Writes a model with scale times the adapter added to its matrices; all other tensors and
        /// keys are copied. out_path may be model_path; it appears only when it is complete.
        /// options may be NULL. Statuses of sm_model_load and sm_adapter_load, _FORMAT also for
        /// weights that are infinite or NaN, before merging or after, or too large for the type
        /// (names tensor and row), _ARGUMENT (type, a scale that is not finite), _UNSUPPORTED (a
        /// packed model), _CANCELLED.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_adapter_merge(byte* out_path, byte* model_path, byte*
            adapter_path, double scale, sm_merge_options* options, sm_error* error);

        /// <summary>
        /// Writes an adapter, in any form that sm_adapter_load takes, as PEFT saves them, for the
        /// model in Hugging Face's form: out_directory (made where it is not there; what is above
        /// it must be) gets adapter_model.safetensors, in f32, and then adapter_config.json, each
        /// of which appears only when it is complete. It counts in PEFT what it counts here at
        /// scale 1. options may be NULL; progress counts matrices. Statuses of sm_model_load and
        /// sm_adapter_load, _UNSUPPORTED also for what has no name there: an adapter of the experts
        /// of a layer, or of a matrix that is a part of theirs.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_adapter_export(byte* out_directory, byte* model_path, byte*
            adapter_path, sm_adapter_options* options, sm_error* error);

        /// <summary>
        /// Holds a reference to the model. One call at a time: another one that comes meanwhile
        /// gets SM_ERR_STATE, sm_encoder_free takes effect when it ends; after a fork() only
        /// freeing works (SM_ERR_STATE). SM_ERR_ARGUMENT, _NOMEM, _SYSTEM (threads), _UNSUPPORTED
        /// (a kind of state that cannot be computed all at once).
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_encoder_new(IntPtr* @out, SafeHandle model, sm_encoder_options*
            options, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_encoder_free(IntPtr encoder);

        /// <summary>
        /// NULL is fine
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_encoder_get_info(SafeHandle encoder, sm_encoder_info* info,
            sm_error* error);

        /// <summary>
        /// The name of a label, in UTF-8, *length bytes (may be NULL), valid as long as the model;
        /// NULL where it has none.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* sm_encoder_label(SafeHandle encoder, uint i, ulong* length);

        /// <summary>
        /// vectors[n][n_dims]. capacity: floats there is room for, SM_ERR_BUFFER if that is too
        /// few. SM_ERR_ARGUMENT, _MISSING (the model has no vocabulary), _CONTEXT_FULL, _NOMEM,
        /// _CANCELLED, _FORMAT (hidden states that are not finite); on failure what vectors hold is
        /// undefined. A text without tokens has a vector of zeros.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_encoder_embed(SafeHandle encoder, sm_text* texts, ulong n,
            float* vectors, ulong capacity, sm_error* error);

        /// <summary>
        /// The same of n_ids tokens of one's own, markers included: vector[n_dims]. Also
        /// SM_ERR_TOKEN; longer ones than max_tokens are refused.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_encoder_embed_ids(SafeHandle encoder, int* ids, ulong n_ids,
            float* vector, ulong capacity, sm_error* error);

        /// <summary>
        /// The last hidden states of such tokens, after the last norm: states[n_ids][n_embd].
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_encoder_hidden(SafeHandle encoder, int* ids, ulong n_ids, float*
            states, ulong capacity, sm_error* error);

        /// <summary>
        /// scores[n][n_labels] of texts, as the model makes them: of several labels their softmax,
        /// of one its sigmoid is a probability. SM_ERR_UNSUPPORTED if the model has none.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_encoder_score(SafeHandle encoder, sm_text* texts, ulong n,
            float* scores, ulong capacity, sm_error* error);

        /// <summary>
        /// The same of tokens, with the type of each (the segment; NULL: 0): scores[n_labels].
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_encoder_score_ids(SafeHandle encoder, int* ids, int* types,
            ulong n_ids, float* scores, ulong capacity, sm_error* error);

        /// <summary>
        /// scores[n], the greater the better, of documents for a query, by a model with one label
        /// that reads pairs. Long documents are cut. SM_ERR_UNSUPPORTED where it has another number
        /// of labels, or its vocabulary does not say how pairs are put together.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_encoder_rerank(SafeHandle encoder, byte* query, ulong length,
            sm_text* documents, ulong n, float* scores, ulong capacity, sm_error* error);

        /// <summary>
        /// packed[n][bytes]: n_dims or (n_dims + 7) / 8 bytes for each of vectors[n][n_dims]. size:
        /// bytes there is room for. SM_ERR_ARGUMENT (also values that are no numbers), _BUFFER.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_vectors_pack(float* vectors, ulong n, uint n_dims, uint kind,
            void* packed, ulong size, sm_error* error);

        /// <summary>
        /// Learns a byte-level BPE vocabulary from text files (UTF-8) and writes it as a GGUF file
        /// without weights. SM_ERR_ARGUMENT, _IO, _FORMAT (not UTF-8: names the file; or no text at
        /// all), _UNSUPPORTED (pre; a compressed file, or UTF-16), _NOMEM, _CANCELLED.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_vocabulary_train(byte* path, byte** text_paths, ulong n_texts,
            sm_vocabulary_options* options, sm_error* error);

        /// <summary>
        /// Writes a model with random weights (normal, standard deviation 0.02; matrices that add
        /// to the residual stream 0.02/sqrt(2 n_layer); norms 1, biases 0) and the vocabulary of
        /// another GGUF file, or of a directory with config.json and tokenizer.json. f32.
        /// SM_ERR_ARGUMENT, _IO, _MISSING (no vocabulary; a size that the architecture needs beside
        /// these: names its key), _UNSUPPORTED (no such architecture), _NOMEM, _CANCELLED.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_model_init(byte* path, byte* vocabulary_path,
            sm_model_init_options* options, sm_error* error);

        /// <summary>
        /// Opens the model and the data. The model needs a vocabulary. SM_ERR_ARGUMENT, _IO,
        /// _FORMAT (the data: file and line; weights that are infinite or NaN: tensor and row),
        /// _MISSING, _SHAPE, _UNSUPPORTED, _NOMEM, _SYSTEM, _CANCELLED.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_trainer_open(IntPtr* @out, byte* model_path, sm_trainer_options*
            options, sm_error* error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern void sm_trainer_free(IntPtr trainer);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_trainer_get_info(SafeHandle trainer, sm_trainer_info* info,
            sm_error* error);

        /// <summary>
        /// Steps still to be done; 0 for NULL.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern ulong sm_trainer_steps_left(SafeHandle trainer);

        /// <summary>
        /// One optimizer step: `accumulate` batches forward and backward, clip, update. metrics may
        /// be NULL. SM_ERR_CANCELLED (the hook said so: nothing has changed; or the update of the
        /// weights had begun: the next step goes on with it and is then that step, and an
        /// evaluation, saving or exporting finishes it first). SM_ERR_DIVERGED if the loss or a
        /// gradient is not finite: weights and optimizer are as before the step, the trainer goes
        /// no further. SM_ERR_STATE if no step is left, or its batches hold no token to learn.
        /// SM_ERR_ARGUMENT (struct_size of metrics: no step is taken), _FORMAT, _NOMEM.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_trainer_step(SafeHandle trainer, sm_train_metrics* metrics,
            sm_error* error);

        /// <summary>
        /// Steps until none is left, `steps` are done (0: all that are left) or on_step, called
        /// after each, wants no more (SM_ERR_CANCELLED); on_step may be NULL. The statuses of
        /// sm_trainer_step, SM_OK if no step is left.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_trainer_train(SafeHandle trainer, ulong steps, IntPtr on_step,
            void* user, sm_error* error);

        /// <summary>
        /// Asked by the calling thread every few milliseconds of a step or evaluation, and while
        /// saving, resuming and exporting; non-zero makes that call return SM_ERR_CANCELLED. NULL:
        /// never. A hook that goes on saying so lets nothing be saved: take it away before what was
        /// trained is written.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_trainer_set_cancel(SafeHandle trainer, IntPtr cancel, void*
            user, sm_error* error);

        /// <summary>
        /// Over the validation part. SM_ERR_STATE if there is none, _DIVERGED if the loss is not
        /// finite, _CANCELLED, _ARGUMENT, _FORMAT, _NOMEM.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_trainer_evaluate(SafeHandle trainer, sm_train_evaluation*
            result, sm_error* error);

        /// <summary>
        /// Everything that going on needs: weights, optimizer, schedule, place in the data, and a
        /// checksum of the whole file. The file appears whole or not at all. SM_ERR_IO, _NOMEM,
        /// _ARGUMENT, _CANCELLED, _DIVERGED (a weight is not finite: nothing is written, so that a
        /// checkpoint that is there stays the last good one).
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_trainer_save(SafeHandle trainer, byte* path, sm_error* error);

        /// <summary>
        /// Goes on where a checkpoint of the same model, data and options stands. Options that do
        /// not change what is computed (threads) may differ, and `steps`, if the schedule is to end
        /// later; the data may lie elsewhere, but every byte of it is compared (by a hash), and
        /// every bit of an option. Files of earlier versions of the library are read. SM_ERR_IO,
        /// _FORMAT (damaged: any byte of it is another than was written), _ARGUMENT (of another
        /// run: names what differs), _UNSUPPORTED (a later version of the format), _NOMEM,
        /// _CANCELLED; the trainer is then as before. Only where it is cancelled while weights are
        /// being replaced it is of no use (SM_ERR_STATE) until a checkpoint is resumed.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_trainer_resume(SafeHandle trainer, byte* path, sm_error* error);

        /// <summary>
        /// Where a checkpoint stands, without its model and data; the checksum is not looked at.
        /// SM_ERR_IO, _FORMAT (no checkpoint), _UNSUPPORTED (a later version), _ARGUMENT, _NOMEM.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_checkpoint_get_info(byte* path, sm_checkpoint_info* info,
            sm_error* error);

        /// <summary>
        /// What a run was made with, so that it can be opened again without saying so: sets the
        /// fields of `options` (struct_size set by the caller) that determine what is computed, and
        /// steps, data_kind, data, more_data, separator and lora_targets; *model_path to the
        /// model's. Paths are as they were given then. The strings and the list more_data lie in
        /// `text`, of `capacity` bytes, NULL where they were not given. What the checkpoint does
        /// not know (threads, memory, hooks; paths, if it is of an older library) stays as it is.
        /// *needed: bytes of text that it takes. SM_ERR_BUFFER (more than capacity: nothing is set
        /// but *needed), and the statuses of sm_checkpoint_get_info; the checksum is looked at.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_checkpoint_get_options(byte* path, sm_trainer_options* options,
            byte** model_path, byte* text, ulong capacity, ulong* needed, sm_error* error);

        /// <summary>
        /// Writes the model as it is now. options may be NULL. SM_ERR_DIVERGED (a weight is not
        /// finite), _FORMAT (too large for the type: names tensor and row; in both cases nothing is
        /// written), _ARGUMENT (type), _STATE (adapters are trained: sm_trainer_export_adapter, and
        /// sm_adapter_merge for a model with them), _IO, _NOMEM.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_trainer_export(SafeHandle trainer, byte* path,
            sm_export_options* options, sm_error* error);

        /// <summary>
        /// Writes the adapters alone, as a GGUF adapter file. SM_ERR_STATE if there are none,
        /// _DIVERGED (a weight is not finite: nothing is written), _ARGUMENT, _IO, _NOMEM.
        /// </summary>
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern int sm_trainer_export_adapter(SafeHandle trainer, byte* path, sm_error*
            error);
    }
}
