package smallmind.abi;

import com.sun.jna.Callback;
import com.sun.jna.Library;
import com.sun.jna.Pointer;
import com.sun.jna.Structure;
import com.sun.jna.ptr.PointerByReference;

/**
 * Declarations of libsmallmind. Made by scripts/bindings.py: do not edit. Texts go down as
 * UTF-8, ended by a zero where the library is not told their length.
 */
@SuppressWarnings("checkstyle:TypeName")
public final class C {
    private C() {}

    public interface sm_done_fn extends Callback {
        void invoke(Pointer user);
    }

    public interface sm_alloc_fn extends Callback {
        Pointer invoke(Pointer user, long size, long align);
    }

    public interface sm_release_fn extends Callback {
        void invoke(Pointer user, Pointer ptr, long size, long align);
    }

    public interface sm_log_fn extends Callback {
        void invoke(Pointer user, int severity, Pointer message);
    }

    public interface sm_progress_fn extends Callback {
        int invoke(Pointer user, long done, long total);
    }

    public interface sm_cancel_fn extends Callback {
        int invoke(Pointer user);
    }

    public interface sm_read_fn extends Callback {
        long invoke(Pointer user, long offset, Pointer to, long n);
    }

    public interface sm_context_fn extends Callback {
        int invoke(Pointer user, sm_context_full full);
    }

    public interface sm_token_fn extends Callback {
        int invoke(Pointer user, sm_token token);
    }

    public interface sm_delta_fn extends Callback {
        int invoke(Pointer user, sm_delta delta);
    }

    public interface sm_quantize_tensor_fn extends Callback {
        int invoke(Pointer user, sm_quantize_tensor tensor);
    }

    public interface sm_train_step_fn extends Callback {
        int invoke(Pointer user, sm_train_metrics metrics);
    }

    @Structure.FieldOrder({"text", "length"})
    public static class sm_text extends Structure {
        public Pointer text;
        public long length;

        public sm_text() {}

        public sm_text(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"code", "system", "message"})
    public static class sm_error extends Structure {
        public int code;
        public int system;
        public byte[] message = new byte[504];

        public sm_error() {}

        public sm_error(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "abi", "version_number", "level", "version", "families",
            "types", "features", "levels"})
    public static class sm_build_info extends Structure {
        public int struct_size;
        public int abi;
        public int version_number;
        public int level;
        public Pointer version;
        public Pointer families;
        public Pointer types;
        public Pointer features;
        public long levels;

        public sm_build_info() {}

        public sm_build_info(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "alloc", "release", "user", "done"})
    public static class sm_allocator extends Structure {
        public int struct_size;
        public int reserved;
        public sm_alloc_fn alloc;
        public sm_release_fn release;
        public Pointer user;
        public sm_done_fn done;

        public sm_allocator() {}

        public sm_allocator(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "log", "user", "done"})
    public static class sm_logger extends Structure {
        public int struct_size;
        public int reserved;
        public sm_log_fn log;
        public Pointer user;
        public sm_done_fn done;

        public sm_logger() {}

        public sm_logger(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "kind", "name", "data", "read", "done", "user", "offset",
            "size", "fd"})
    public static class sm_origin extends Structure {
        public int struct_size;
        public int kind;
        public Pointer name;
        public Pointer data;
        public sm_read_fn read;
        public sm_done_fn done;
        public Pointer user;
        public long offset;
        public long size;
        public long fd;

        public sm_origin() {}

        public sm_origin(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "type", "offset", "reserved", "name", "names", "unit",
            "doc", "min", "max", "fallback", "zero"})
    public static class sm_option extends Structure {
        public int struct_size;
        public int type;
        public int offset;
        public int reserved;
        public Pointer name;
        public Pointer names;
        public Pointer unit;
        public Pointer doc;
        public double min;
        public double max;
        public double fallback;
        public double zero;

        public sm_option() {}

        public sm_option(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "io", "allocator", "progress", "progress_user",
            "cancel_flag"})
    public static class sm_gguf_options extends Structure {
        public int struct_size;
        public int io;
        public Pointer allocator;
        public sm_progress_fn progress;
        public Pointer progress_user;
        public Pointer cancel_flag;

        public sm_gguf_options() {}

        public sm_gguf_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "version", "alignment", "n_files", "n_keys", "n_tensors",
            "n_elements", "data_bytes", "holds"})
    public static class sm_gguf_info extends Structure {
        public int struct_size;
        public int version;
        public int alignment;
        public int n_files;
        public long n_keys;
        public long n_tensors;
        public long n_elements;
        public long data_bytes;
        public long holds;

        public sm_gguf_info() {}

        public sm_gguf_info(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "type", "name", "type_name", "n_dims", "file", "dims",
            "offset", "size", "packed", "weight_type", "weight_type_name", "weight_dims"})
    public static class sm_gguf_tensor_info extends Structure {
        public int struct_size;
        public int type;
        public Pointer name;
        public Pointer type_name;
        public int n_dims;
        public int file;
        public long[] dims = new long[4];
        public long offset;
        public long size;
        public int packed;
        public int weight_type;
        public Pointer weight_type_name;
        public long[] weight_dims = new long[4];

        public sm_gguf_tensor_info() {}

        public sm_gguf_tensor_info(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "allocator", "cancel", "cancel_user", "log",
            "cancel_flag"})
    public static class sm_tokenizer_options extends Structure {
        public int struct_size;
        public int reserved;
        public Pointer allocator;
        public sm_cancel_fn cancel;
        public Pointer cancel_user;
        public Pointer log;
        public Pointer cancel_flag;

        public sm_tokenizer_options() {}

        public sm_tokenizer_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "kind", "n_vocab", "bos", "eos", "unk", "sep", "pad",
            "mask", "eot", "add_bos", "add_eos", "pre"})
    public static class sm_tokenizer_info extends Structure {
        public int struct_size;
        public int kind;
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
        public byte[] pre = new byte[64];

        public sm_tokenizer_info() {}

        public sm_tokenizer_info(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "flags", "cancel", "cancel_user", "cancel_flag"})
    public static class sm_encode_options extends Structure {
        public int struct_size;
        public int flags;
        public sm_cancel_fn cancel;
        public Pointer cancel_user;
        public Pointer cancel_flag;

        public sm_encode_options() {}

        public sm_encode_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "triggers", "allocator", "n_triggers",
            "memory_limit", "cancel", "cancel_user", "cancel_flag", "reserved_pointer"})
    public static class sm_constraint_options extends Structure {
        public int struct_size;
        public int reserved;
        public Pointer triggers;
        public Pointer allocator;
        public long n_triggers;
        public long memory_limit;
        public sm_cancel_fn cancel;
        public Pointer cancel_user;
        public Pointer cancel_flag;
        public Pointer reserved_pointer;

        public sm_constraint_options() {}

        public sm_constraint_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "draft", "spaces", "max_spaces", "flags", "reserved",
            "cancel", "cancel_user", "cancel_flag"})
    public static class sm_schema_options extends Structure {
        public int struct_size;
        public int draft;
        public int spaces;
        public int max_spaces;
        public int flags;
        public int reserved;
        public sm_cancel_fn cancel;
        public Pointer cancel_user;
        public Pointer cancel_flag;

        public sm_schema_options() {}

        public sm_schema_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "io", "level", "repack", "activations", "reserved",
            "allocator", "log", "progress", "progress_user", "cancel_flag", "memory_limit"})
    public static class sm_model_options extends Structure {
        public int struct_size;
        public int io;
        public int level;
        public int repack;
        public int activations;
        public int reserved;
        public Pointer allocator;
        public Pointer log;
        public sm_progress_fn progress;
        public Pointer progress_user;
        public Pointer cancel_flag;
        public long memory_limit;

        public sm_model_options() {}

        public sm_model_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "level", "architecture", "name", "n_vocab", "n_ctx_train",
            "n_embd", "n_layer", "n_head", "n_head_kv", "head_dim", "n_ff", "n_params",
            "weight_bytes", "decode_bytes", "packed_bytes", "heap_bytes", "heap_peak", "n_allocs",
            "packed_file_bytes", "sliding_window", "reserved"})
    public static class sm_model_info extends Structure {
        public int struct_size;
        public int level;
        public Pointer architecture;
        public Pointer name;
        public int n_vocab;
        public int n_ctx_train;
        public int n_embd;
        public int n_layer;
        public int n_head;
        public int n_head_kv;
        public int head_dim;
        public int n_ff;
        public long n_params;
        public long weight_bytes;
        public long decode_bytes;
        public long packed_bytes;
        public long heap_bytes;
        public long heap_peak;
        public long n_allocs;
        public long packed_file_bytes;
        public int sliding_window;
        public int reserved;

        public sm_model_info() {}

        public sm_model_info(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "progress", "progress_user", "cancel_flag"})
    public static class sm_pack_options extends Structure {
        public int struct_size;
        public int reserved;
        public sm_progress_fn progress;
        public Pointer progress_user;
        public Pointer cancel_flag;

        public sm_pack_options() {}

        public sm_pack_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "n_ctx", "n_threads", "n_batch", "kv_type", "pin",
            "kv_keep", "reserved", "cancel_flag"})
    public static class sm_session_options extends Structure {
        public int struct_size;
        public int n_ctx;
        public int n_threads;
        public int n_batch;
        public int kv_type;
        public int pin;
        public int kv_keep;
        public int reserved;
        public Pointer cancel_flag;

        public sm_session_options() {}

        public sm_session_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "n_threads", "cancel_flag"})
    public static class sm_fork_options extends Structure {
        public int struct_size;
        public int n_threads;
        public Pointer cancel_flag;

        public sm_fork_options() {}

        public sm_fork_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "length", "n_ctx", "n_threads", "n_batch", "kv_type",
            "kv_keep", "n_vocab", "cache_bytes"})
    public static class sm_session_info extends Structure {
        public int struct_size;
        public int length;
        public int n_ctx;
        public int n_threads;
        public int n_batch;
        public int kv_type;
        public int kv_keep;
        public int n_vocab;
        public long cache_bytes;

        public sm_session_info() {}

        public sm_session_info(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"id", "reserved", "logprob"})
    public static class sm_token_logprob extends Structure {
        public int id;
        public int reserved;
        public double logprob;

        public sm_token_logprob() {}

        public sm_token_logprob(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"token", "reserved", "bias"})
    public static class sm_logit_bias extends Structure {
        public int token;
        public int reserved;
        public double bias;

        public sm_logit_bias() {}

        public sm_logit_bias(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "sampler", "n_parameters", "reserved", "name",
            "other_names", "parameters", "fields", "doc"})
    public static class sm_sampler_info extends Structure {
        public int struct_size;
        public int sampler;
        public int n_parameters;
        public int reserved;
        public Pointer name;
        public Pointer other_names;
        public Pointer parameters;
        public Pointer fields;
        public Pointer doc;

        public sm_sampler_info() {}

        public sm_sampler_info(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"sampler", "min_keep", "value"})
    public static class sm_sampling_step extends Structure {
        public int sampler;
        public int min_keep;
        public double[] value = new double[4];

        public sm_sampling_step() {}

        public sm_sampling_step(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "seeding", "width", "reserved", "gamma", "delta", "key"})
    public static class sm_watermark extends Structure {
        public int struct_size;
        public int seeding;
        public int width;
        public int reserved;
        public double gamma;
        public double delta;
        public long key;

        public sm_watermark() {}

        public sm_watermark(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "n_scored", "n_green", "n_repeated", "z",
            "p"})
    public static class sm_watermark_score extends Structure {
        public int struct_size;
        public int reserved;
        public long n_scored;
        public long n_green;
        public long n_repeated;
        public double z;
        public double p;

        public sm_watermark_score() {}

        public sm_watermark_score(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "top_k", "temperature", "top_p", "min_p",
            "repeat_penalty", "presence_penalty", "frequency_penalty", "penalty_last_n", "min_keep",
            "seed", "sequence", "bias", "n_bias", "typical_p", "top_a", "top_n_sigma",
            "xtc_probability", "xtc_threshold", "dry_multiplier", "dry_base", "dry_allowed_length",
            "dry_last_n", "dry_breakers", "n_dry_breakers", "dynatemp_range", "dynatemp_exponent",
            "mirostat", "mirostat_m", "mirostat_tau", "mirostat_eta", "n_steps", "steps", "order",
            "mask", "watermark", "logits", "dry_breaker_texts", "n_dry_breaker_texts"})
    public static class sm_sampling extends Structure {
        public int struct_size;
        public int top_k;
        public double temperature;
        public double top_p;
        public double min_p;
        public double repeat_penalty;
        public double presence_penalty;
        public double frequency_penalty;
        public int penalty_last_n;
        public int min_keep;
        public long seed;
        public long sequence;
        public Pointer bias;
        public long n_bias;
        public double typical_p;
        public double top_a;
        public double top_n_sigma;
        public double xtc_probability;
        public double xtc_threshold;
        public double dry_multiplier;
        public double dry_base;
        public int dry_allowed_length;
        public int dry_last_n;
        public Pointer dry_breakers;
        public long n_dry_breakers;
        public double dynatemp_range;
        public double dynatemp_exponent;
        public int mirostat;
        public int mirostat_m;
        public double mirostat_tau;
        public double mirostat_eta;
        public long n_steps;
        public Pointer steps;
        public Pointer order;
        public Pointer mask;
        public Pointer watermark;
        public Pointer logits;
        public Pointer dry_breaker_texts;
        public long n_dry_breaker_texts;

        public sm_sampling() {}

        public sm_sampling(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "id", "logprob", "rank", "top", "n_top"})
    public static class sm_choice extends Structure {
        public int struct_size;
        public int id;
        public double logprob;
        public long rank;
        public Pointer top;
        public long n_top;

        public sm_choice() {}

        public sm_choice(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "policy", "n_ctx", "n_keep", "ids", "replacement",
            "n_replacement", "n_ids", "n_dropped"})
    public static class sm_context_full extends Structure {
        public int struct_size;
        public int policy;
        public int n_ctx;
        public int n_keep;
        public Pointer ids;
        public Pointer replacement;
        public long n_replacement;
        public long n_ids;
        public long n_dropped;

        public sm_context_full() {}

        public sm_context_full(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "max_tokens", "sampling", "stop", "parse_special",
            "no_bos", "ignore_end", "speculate", "draft_tokens", "draft", "context_full", "n_keep",
            "n_drop", "heal", "on_context_full", "context_full_user", "constraint", "cancel_flag",
            "ban", "min_tokens", "n_logprobs", "echo", "n_stop", "n_ban"})
    public static class sm_generate_options extends Structure {
        public int struct_size;
        public int max_tokens;
        public Pointer sampling;
        public Pointer stop;
        public int parse_special;
        public int no_bos;
        public int ignore_end;
        public int speculate;
        public int draft_tokens;
        public Pointer draft;
        public int context_full;
        public int n_keep;
        public int n_drop;
        public int heal;
        public sm_context_fn on_context_full;
        public Pointer context_full_user;
        public Pointer constraint;
        public Pointer cancel_flag;
        public Pointer ban;
        public int min_tokens;
        public int n_logprobs;
        public int echo;
        public long n_stop;
        public long n_ban;

        public sm_generate_options() {}

        public sm_generate_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "id", "logprob", "text", "length", "top", "n_top",
            "in_prompt", "reserved"})
    public static class sm_token extends Structure {
        public int struct_size;
        public int id;
        public double logprob;
        public Pointer text;
        public long length;
        public Pointer top;
        public long n_top;
        public int in_prompt;
        public int reserved;

        public sm_token() {}

        public sm_token(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "finish", "prompt_tokens", "reused_tokens",
            "generated_tokens", "reserved", "prepare_seconds", "prompt_seconds",
            "first_token_seconds", "generate_seconds", "drafted_tokens", "accepted_tokens",
            "dropped_tokens", "context_fulls", "healed_tokens"})
    public static class sm_generate_stats extends Structure {
        public int struct_size;
        public int finish;
        public int prompt_tokens;
        public int reused_tokens;
        public int generated_tokens;
        public int reserved;
        public double prepare_seconds;
        public double prompt_seconds;
        public double first_token_seconds;
        public double generate_seconds;
        public long drafted_tokens;
        public long accepted_tokens;
        public long dropped_tokens;
        public long context_fulls;
        public long healed_tokens;

        public sm_generate_stats() {}

        public sm_generate_stats(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "template_text", "template_name", "bos",
            "eos", "allocator"})
    public static class sm_chat_options extends Structure {
        public int struct_size;
        public int reserved;
        public Pointer template_text;
        public Pointer template_name;
        public Pointer bos;
        public Pointer eos;
        public Pointer allocator;

        public sm_chat_options() {}

        public sm_chat_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "no_generation_prompt", "variables", "cancel",
            "cancel_user", "cancel_flag", "clock"})
    public static class sm_render_options extends Structure {
        public int struct_size;
        public int no_generation_prompt;
        public Pointer variables;
        public sm_cancel_fn cancel;
        public Pointer cancel_user;
        public Pointer cancel_flag;
        public long clock;

        public sm_render_options() {}

        public sm_render_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "first_call", "format", "template_text", "prompt_end",
            "tools", "allocator"})
    public static class sm_reply_options extends Structure {
        public int struct_size;
        public int first_call;
        public Pointer format;
        public Pointer template_text;
        public Pointer prompt_end;
        public Pointer tools;
        public Pointer allocator;

        public sm_reply_options() {}

        public sm_reply_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "kind", "text", "length", "name", "id", "json",
            "json_length"})
    public static class sm_delta extends Structure {
        public int struct_size;
        public int kind;
        public Pointer text;
        public long length;
        public Pointer name;
        public Pointer id;
        public Pointer json;
        public long json_length;

        public sm_delta() {}

        public sm_delta(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "n_calls", "malformed", "reasoning"})
    public static class sm_reply_info extends Structure {
        public int struct_size;
        public int n_calls;
        public int malformed;
        public int reasoning;

        public sm_reply_info() {}

        public sm_reply_info(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "tool_choice", "generate", "format",
            "variables"})
    public static class sm_answer_options extends Structure {
        public int struct_size;
        public int reserved;
        public Pointer tool_choice;
        public Pointer generate;
        public Pointer format;
        public Pointer variables;

        public sm_answer_options() {}

        public sm_answer_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "n_threads", "n_sequences", "n_batch", "n_ctx", "pin",
            "cancel_flag"})
    public static class sm_batch_options extends Structure {
        public int struct_size;
        public int n_threads;
        public int n_sequences;
        public int n_batch;
        public int n_ctx;
        public int pin;
        public Pointer cancel_flag;

        public sm_batch_options() {}

        public sm_batch_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "session", "ids", "logits", "n_ids",
            "n_logits"})
    public static class sm_batch_item extends Structure {
        public int struct_size;
        public int reserved;
        public Pointer session;
        public Pointer ids;
        public Pointer logits;
        public long n_ids;
        public long n_logits;

        public sm_batch_item() {}

        public sm_batch_item(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "session", "prompt", "options", "on_token",
            "user", "length"})
    public static class sm_batch_text extends Structure {
        public int struct_size;
        public int reserved;
        public Pointer session;
        public Pointer prompt;
        public Pointer options;
        public sm_token_fn on_token;
        public Pointer user;
        public long length;

        public sm_batch_text() {}

        public sm_batch_text(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "pattern", "type"})
    public static class sm_quantize_override extends Structure {
        public int struct_size;
        public int reserved;
        public Pointer pattern;
        public Pointer type;

        public sm_quantize_override() {}

        public sm_quantize_override(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "fallback", "name", "from", "to", "n_weights",
            "bytes_before", "bytes_after", "rms", "rmse", "copied", "by_imatrix"})
    public static class sm_quantize_tensor extends Structure {
        public int struct_size;
        public int fallback;
        public Pointer name;
        public Pointer from;
        public Pointer to;
        public long n_weights;
        public long bytes_before;
        public long bytes_after;
        public double rms;
        public double rmse;
        public int copied;
        public int by_imatrix;

        public sm_quantize_tensor() {}

        public sm_quantize_tensor(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "n_threads", "type", "imatrix", "overrides",
            "n_overrides", "pure", "requantize", "level", "reserved", "allocator", "progress",
            "progress_user", "on_tensor", "on_tensor_user", "cancel_flag"})
    public static class sm_quantize_options extends Structure {
        public int struct_size;
        public int n_threads;
        public Pointer type;
        public Pointer imatrix;
        public Pointer overrides;
        public long n_overrides;
        public int pure;
        public int requantize;
        public int level;
        public int reserved;
        public Pointer allocator;
        public sm_progress_fn progress;
        public Pointer progress_user;
        public sm_quantize_tensor_fn on_tensor;
        public Pointer on_tensor_user;
        public Pointer cancel_flag;

        public sm_quantize_options() {}

        public sm_quantize_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "n_quantized", "n_fallback", "n_imatrix", "n_tensors",
            "bytes_before", "bytes_after"})
    public static class sm_quantize_result extends Structure {
        public int struct_size;
        public int n_quantized;
        public int n_fallback;
        public int n_imatrix;
        public long n_tensors;
        public long bytes_before;
        public long bytes_after;

        public sm_quantize_result() {}

        public sm_quantize_result(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "n_ctx", "n_threads", "reserved", "cancel_flag"})
    public static class sm_imatrix_options extends Structure {
        public int struct_size;
        public int n_ctx;
        public int n_threads;
        public int reserved;
        public Pointer cancel_flag;

        public sm_imatrix_options() {}

        public sm_imatrix_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "progress", "progress_user", "cancel_flag"})
    public static class sm_adapter_options extends Structure {
        public int struct_size;
        public int reserved;
        public sm_progress_fn progress;
        public Pointer progress_user;
        public Pointer cancel_flag;

        public sm_adapter_options() {}

        public sm_adapter_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "type", "progress", "progress_user",
            "cancel_flag"})
    public static class sm_merge_options extends Structure {
        public int struct_size;
        public int reserved;
        public Pointer type;
        public sm_progress_fn progress;
        public Pointer progress_user;
        public Pointer cancel_flag;

        public sm_merge_options() {}

        public sm_merge_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "n_matrices", "max_rank", "reserved", "alpha",
            "n_weights"})
    public static class sm_adapter_info extends Structure {
        public int struct_size;
        public int n_matrices;
        public int max_rank;
        public int reserved;
        public double alpha;
        public long n_weights;

        public sm_adapter_info() {}

        public sm_adapter_info(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "n_threads", "max_tokens", "n_batch", "pooling",
            "long_texts", "n_dims", "raw", "prefix", "prompt", "cancel_flag"})
    public static class sm_encoder_options extends Structure {
        public int struct_size;
        public int n_threads;
        public int max_tokens;
        public int n_batch;
        public int pooling;
        public int long_texts;
        public int n_dims;
        public int raw;
        public Pointer prefix;
        public Pointer prompt;
        public Pointer cancel_flag;

        public sm_encoder_options() {}

        public sm_encoder_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "pooling", "n_dims", "n_embd", "max_tokens", "n_labels"})
    public static class sm_encoder_info extends Structure {
        public int struct_size;
        public int pooling;
        public int n_dims;
        public int n_embd;
        public int max_tokens;
        public int n_labels;

        public sm_encoder_info() {}

        public sm_encoder_info(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "n_vocab", "separator", "pre", "progress",
            "progress_user", "cancel_flag", "min_count"})
    public static class sm_vocabulary_options extends Structure {
        public int struct_size;
        public int n_vocab;
        public Pointer separator;
        public Pointer pre;
        public sm_progress_fn progress;
        public Pointer progress_user;
        public Pointer cancel_flag;
        public long min_count;

        public sm_vocabulary_options() {}

        public sm_vocabulary_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "n_embd", "n_layer", "n_head", "n_head_kv", "n_ff",
            "n_ctx", "untied", "family", "sliding_window", "seed", "rope_theta", "name", "progress",
            "progress_user", "cancel_flag", "architecture", "allocator"})
    public static class sm_model_init_options extends Structure {
        public int struct_size;
        public int n_embd;
        public int n_layer;
        public int n_head;
        public int n_head_kv;
        public int n_ff;
        public int n_ctx;
        public int untied;
        public int family;
        public int sliding_window;
        public long seed;
        public double rope_theta;
        public Pointer name;
        public sm_progress_fn progress;
        public Pointer progress_user;
        public Pointer cancel_flag;
        public Pointer architecture;
        public Pointer allocator;

        public sm_model_init_options() {}

        public sm_model_init_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "n_threads", "data", "more_data", "n_more_data",
            "separator", "validation", "data_kind", "layout", "loss_on_prompt", "sequence", "rows",
            "accumulate", "steps", "epochs", "seed", "optimizer", "state_8bit", "lr", "min_lr",
            "beta1", "beta2", "eps", "weight_decay", "expert_balance", "momentum", "clip",
            "no_clip", "schedule", "warmup", "power", "decay_part", "cycle", "cycle_growth",
            "precision", "checkpoint_layers", "level", "lora_rank", "lora_alpha", "lora_dropout",
            "lora_rs", "openblas", "lora_targets", "allocator", "progress", "progress_user", "log",
            "cancel_flag", "memory_limit", "objective", "length_normalized", "preference_beta",
            "label_smoothing", "preference_margin", "desirable_weight", "undesirable_weight",
            "teacher", "teacher_weight", "teacher_temperature", "lora_b_rate"})
    public static class sm_trainer_options extends Structure {
        public int struct_size;
        public int n_threads;
        public Pointer data;
        public Pointer more_data;
        public long n_more_data;
        public Pointer separator;
        public double validation;
        public int data_kind;
        public int layout;
        public int loss_on_prompt;
        public int sequence;
        public int rows;
        public int accumulate;
        public long steps;
        public double epochs;
        public long seed;
        public int optimizer;
        public int state_8bit;
        public double lr;
        public double min_lr;
        public double beta1;
        public double beta2;
        public double eps;
        public double weight_decay;
        public double expert_balance;
        public double momentum;
        public double clip;
        public int no_clip;
        public int schedule;
        public long warmup;
        public double power;
        public double decay_part;
        public long cycle;
        public double cycle_growth;
        public int precision;
        public int checkpoint_layers;
        public int level;
        public int lora_rank;
        public double lora_alpha;
        public double lora_dropout;
        public int lora_rs;
        public int openblas;
        public Pointer lora_targets;
        public Pointer allocator;
        public sm_progress_fn progress;
        public Pointer progress_user;
        public Pointer log;
        public Pointer cancel_flag;
        public long memory_limit;
        public int objective;
        public int length_normalized;
        public double preference_beta;
        public double label_smoothing;
        public double preference_margin;
        public double desirable_weight;
        public double undesirable_weight;
        public Pointer teacher;
        public double teacher_weight;
        public double teacher_temperature;
        public double lora_b_rate;

        public sm_trainer_options() {}

        public sm_trainer_options(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "level", "n_threads", "n_vocab", "n_params", "steps",
            "step", "tokens", "epoch", "train_documents", "validation_documents", "train_bytes",
            "validation_bytes", "heap_bytes", "heap_peak", "epochs", "updating"})
    public static class sm_trainer_info extends Structure {
        public int struct_size;
        public int level;
        public int n_threads;
        public int n_vocab;
        public long n_params;
        public long steps;
        public long step;
        public long tokens;
        public long epoch;
        public long train_documents;
        public long validation_documents;
        public long train_bytes;
        public long validation_bytes;
        public long heap_bytes;
        public long heap_peak;
        public double epochs;
        public long updating;

        public sm_trainer_info() {}

        public sm_trainer_info(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "step", "loss", "grad_norm", "lr", "targets",
            "seconds", "tokens", "expert_balance", "chosen_reward", "rejected_reward",
            "reward_margin", "teacher_loss", "accuracy"})
    public static class sm_train_metrics extends Structure {
        public int struct_size;
        public int reserved;
        public long step;
        public double loss;
        public double grad_norm;
        public double lr;
        public long targets;
        public double seconds;
        public long tokens;
        public double expert_balance;
        public double chosen_reward;
        public double rejected_reward;
        public double reward_margin;
        public double teacher_loss;
        public double accuracy;

        public sm_train_metrics() {}

        public sm_train_metrics(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "loss", "bits_per_byte", "targets", "seconds",
            "chosen_reward", "rejected_reward", "reward_margin", "accuracy"})
    public static class sm_train_evaluation extends Structure {
        public int struct_size;
        public int reserved;
        public double loss;
        public double bits_per_byte;
        public long targets;
        public double seconds;
        public double chosen_reward;
        public double rejected_reward;
        public double reward_margin;
        public double accuracy;

        public sm_train_evaluation() {}

        public sm_train_evaluation(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "step", "steps", "tokens"})
    public static class sm_checkpoint_info extends Structure {
        public int struct_size;
        public int reserved;
        public long step;
        public long steps;
        public long tokens;

        public sm_checkpoint_info() {}

        public sm_checkpoint_info(Pointer at) {
            super(at);
            read();
        }
    }

    @Structure.FieldOrder({"struct_size", "reserved", "type"})
    public static class sm_export_options extends Structure {
        public int struct_size;
        public int reserved;
        public Pointer type;

        public sm_export_options() {}

        public sm_export_options(Pointer at) {
            super(at);
            read();
        }
    }

    public interface Functions extends Library {
        /**
         * A short fixed English name of a status ("out of memory"); never NULL.
         */
        Pointer sm_status_text(int status);

        /**
         * "1.0.0", before that release "1.0.0-rc1".
         */
        Pointer sm_version();

        /**
         * The same as a number that grows: major * 1000000 + minor * 1000 + patch.
         */
        int sm_version_number();

        /**
         * SM_ABI of the library that is running. Programs work with every library of the same
         * number that has the functions they call (docs/abi.md).
         */
        int sm_abi();

        int sm_build_get_info(sm_build_info info, sm_error error);

        /**
         * Text of unknown origin as a terminal or a log may get it: control characters, what is
         * not UTF-8, and characters that cannot be seen or turn the order of others (zero-width,
         * bidirectional and other format characters, line separators, private use) are written
         * &#92;n, &#92;t, &#92;r, &#92;x1b or &#92;u{202e}. A backslash stays as it is, so that
         * escaping twice changes nothing. Writes as many whole characters as fit in capacity
         * bytes, a zero among them; returns the bytes of all, without the zero. length counts
         * bytes of text, which may hold zeros. out may be NULL where capacity is 0. Messages and
         * log lines are escaped; names, values and pieces of text that functions hand out
         * (sm_gguf_get_key, sm_gguf_get_value, sm_model_info, sm_tokenizer_token_text, generated
         * text) are as the file or the model has them.
         */
        long sm_text_escape(byte[] text, long length, byte[] out, long capacity);

        int sm_cancel_new(PointerByReference out, sm_error error);

        /**
         * By any thread, at any time, in signal handlers too; NULL is fine.
         */
        void sm_cancel_set(Pointer cancel, int on);

        int sm_cancel_is_set(Pointer cancel);

        /**
         * NULL is fine. Sessions, batches, importance matrices and trainers hold a reference to
         * theirs; other calls use it until they return.
         */
        void sm_cancel_free(Pointer cancel);

        /**
         * Name of a level ("avx2"), or NULL if unknown; and back (0 on unknown name, "auto"
         * included).
         */
        Pointer sm_level_name(int level);

        int sm_level_from_name(byte[] name);

        /**
         * The best level that this CPU has and this build contains, at or below `cap`; a cap of
         * another architecture leaves SM_LEVEL_SCALAR.
         */
        int sm_level_best(int cap);

        /**
         * CPUs worth a thread each: those that this process may run on, no more than its control
         * groups (Linux, v1 and v2) give it time for; at least 1. What `n_threads` 0 means, but
         * for a cap of its own. Asks the system each time. Any thread.
         */
        int sm_cpu_count();

        int sm_names_find(byte[] names, byte[] name, int[] nearest);

        /**
         * Name i of such a list, which ends where *length says, not with a zero; NULL behind the
         * last.
         */
        Pointer sm_names_get(byte[] names, int i, long[] length);

        /**
         * The struct's name ("sm_session_options"); NULL for an unknown number.
         */
        Pointer sm_options_name(int options_struct);

        /**
         * How many fields its table has; 0 for an unknown one.
         */
        int sm_options_count(int options_struct);

        /**
         * Field i of it. SM_ERR_ARGUMENT.
         */
        int sm_options_get(int options_struct, int i, sm_option option, sm_error error);

        /**
         * SM_ERR_IO, _FORMAT, _UNSUPPORTED, _NOMEM, _ARGUMENT, _CANCELLED.
         */
        int sm_gguf_load(PointerByReference out, byte[] path, sm_gguf_options options, sm_error
                error);

        /**
         * The same from anywhere (types.h).
         */
        int sm_gguf_load_from(PointerByReference out, sm_origin origin, sm_gguf_options options,
                sm_error error);

        void sm_gguf_free(Pointer gguf);

        int sm_gguf_get_info(Pointer gguf, sm_gguf_info info, sm_error error);

        /**
         * Key i: its name and type ("u32", "str", "arr[f32,512]"), valid as long as the handle.
         */
        int sm_gguf_get_key(Pointer gguf, long i, Pointer name, Pointer type, sm_error error);

        /**
         * Its value as text: numbers in shortest form, bools "true"/"false", strings as they are,
         * arrays as "[a, b, c]", or "[a, b, ...]" where max_items (0: no limit) cuts them off.
         * Zero-terminated; *n is the length without it; SM_ERR_BUFFER (with *n) when capacity
         * &#60;= *n.
         */
        int sm_gguf_get_value(Pointer gguf, long i, long max_items, byte[] text, long capacity,
                long[] n, sm_error error);

        int sm_gguf_get_tensor(Pointer gguf, long i, sm_gguf_tensor_info info, sm_error error);

        /**
         * Opens the vocabulary of a GGUF file (a whole model or vocab-only), of a tokenizer.json
         * (Hugging Face), a SentencePiece model (.model) or tiktoken's ranks (.tiktoken), or of a
         * directory that has one of these, in that order. Beside them tokenizer_config.json and
         * special_tokens_map.json are read: which tokens begin, end and pad, and add_bos_token and
         * add_eos_token as transformers applies them; a tiktoken file needs its pattern, "pat_str"
         * (and "special_tokens") in a config.json beside, but for encodings that are known by name
         * (cl100k_base, o200k_base, r50k_base, p50k_base, qwen). Of a tokenizer.json all
         * components are computed, or refused by their place in the file; its sections truncation
         * and padding are not applied; a text whose bytes are no UTF-8 has U+FFFD for each of
         * them, where the file's steps change texts. `path` is UTF-8. SM_ERR_IO, _FORMAT (also ids
         * of special tokens outside the vocabulary, byte tokens that are none, keys of a wrong
         * type, arrays of another length than the tokens), _MISSING, _UNSUPPORTED, _NOMEM,
         * _ARGUMENT, _CANCELLED; the message names the key.
         */
        int sm_tokenizer_load(PointerByReference out, byte[] path, sm_tokenizer_options options,
                sm_error error);

        /**
         * The same from anywhere (types.h); what is no GGUF file from a path or from memory, where
         * nothing is beside it.
         */
        int sm_tokenizer_load_from(PointerByReference out, sm_origin origin, sm_tokenizer_options
                options, sm_error error);

        void sm_tokenizer_free(Pointer tokenizer);

        /**
         * SM_ERR_ARGUMENT if a pointer is NULL or info-&#62;struct_size unknown.
         */
        int sm_tokenizer_get_info(Pointer tokenizer, sm_tokenizer_info info, sm_error error);

        /**
         * Encodes text[0..length). Stores the number of ids in *n (n must not be NULL); writes
         * them when capacity is enough, else returns SM_ERR_BUFFER and writes nothing. ids may be
         * NULL with capacity 0. length + 16 ids always suffice for BPE, SPM, CHARS and WordPiece
         * kinds (2 * length + 16 where an SPM vocabulary has special tokens of a single byte, any
         * number where it normalizes). options NULL: all zero. SM_ERR_CANCELLED, SM_ERR_NOMEM,
         * SM_ERR_ARGUMENT (also for a text of more than SIZE_MAX / 64 bytes), SM_ERR_UNSUPPORTED
         * (a gigabyte of text without a place to split): *n is 0.
         */
        int sm_tokenizer_encode(Pointer tokenizer, byte[] text, long length, sm_encode_options
                options, int[] ids, long capacity, long[] n, sm_error error);

        /**
         * Encodes two texts as the vocabulary's template for pairs puts them together (BERT: [CLS]
         * first [SEP] second [SEP]); without SM_ENCODE_MARKERS one behind the other.
         * type_ids[capacity], which may be NULL, gets the number of the segment that each id
         * belongs to. Otherwise as sm_tokenizer_encode; SM_ERR_UNSUPPORTED where the vocabulary
         * has no template (those of GGUF files but WordPiece).
         */
        int sm_tokenizer_encode_pair(Pointer tokenizer, byte[] first, long first_length, byte[]
                second, long second_length, sm_encode_options options, int[] ids, int[] type_ids,
                long capacity, long[] n, sm_error error);

        /**
         * Decodes ids to bytes. *n gets the length, as with encode; not zero-terminated.
         * SM_ERR_TOKEN for an id outside the vocabulary.
         */
        int sm_tokenizer_decode(Pointer tokenizer, int[] ids, long n_ids, int flags, byte[] text,
                long capacity, long[] n, sm_error error);

        /**
         * The raw vocabulary entry of one id as the file spells it (not decoded); valid as long as
         * the tokenizer. Stores length; NULL if id is out of range.
         */
        Pointer sm_tokenizer_token_text(Pointer tokenizer, int id, long[] length);

        /**
         * The id whose vocabulary entry is exactly these bytes, or -1.
         */
        int sm_tokenizer_find(Pointer tokenizer, byte[] text, long length);

        /**
         * 1 if the id ends a generation (EOS, end of turn, end of message), else 0.
         */
        int sm_tokenizer_is_end(Pointer tokenizer, int id);

        /**
         * Streaming decode: feed ids one by one, get the bytes that are complete. What comes out
         * is what sm_tokenizer_decode makes, but where a tokenizer.json's decoder looks ahead or
         * back: the space that a BPEDecoder writes behind a word comes behind the last one, too, a
         * Strip takes nothing off the end, and a CTC decoder keeps tokens that repeat. Never hands
         * out part of a UTF-8 sequence: bytes wait until the sequence is whole or can no longer
         * become valid. One thread at a time: another one that comes while a call has not returned
         * gets SM_ERR_STATE; sm_detokenizer_free takes effect when it ends. Holds a reference to
         * the tokenizer.
         */
        int sm_detokenizer_new(PointerByReference out, Pointer tokenizer, int flags, sm_error
                error);

        void sm_detokenizer_free(Pointer detokenizer);

        /**
         * piece (zero-terminated, *length bytes, maybe 0) is valid until the next call.
         */
        int sm_detokenizer_feed(Pointer detokenizer, int id, Pointer piece, long[] length, sm_error
                error);

        /**
         * Hands out whatever still waits (an unfinished sequence comes out as it is).
         */
        int sm_detokenizer_flush(Pointer detokenizer, Pointer piece, long[] length, sm_error error);

        /**
         * Back to the state of a new one. SM_ERR_ARGUMENT, _STATE.
         */
        int sm_detokenizer_reset(Pointer detokenizer, sm_error error);

        /**
         * text[0..length): the grammar or expression, UTF-8. Makes a table of the vocabulary at
         * the first constraint of a tokenizer, which may be NULL: then it is for bytes, and what
         * asks about tokens is SM_ERR_MISSING. SM_ERR_FORMAT (no grammar or expression: place),
         * SM_ERR_UNSUPPORTED (what cannot be done, by name: left recursion in GBNF, references to
         * tokens, look-behind …; a WordPiece vocabulary), SM_ERR_ARGUMENT (also a constraint that
         * no text matches, more at least than at most), SM_ERR_NOMEM.
         */
        int sm_constraint_new(PointerByReference out, Pointer tokenizer, int kind, byte[] text, long
                length, sm_constraint_options options, sm_error error);

        /**
         * One of n texts.
         */
        int sm_constraint_new_choices(PointerByReference out, Pointer tokenizer, sm_text texts, long
                n, sm_constraint_options options, sm_error error);

        /**
         * text[0..length): the schema. schema_options may be NULL. Statuses as sm_constraint_new,
         * and SM_ERR_CANCELLED; a schema that no value satisfies is SM_ERR_UNSUPPORTED.
         */
        int sm_constraint_new_schema(PointerByReference out, Pointer tokenizer, byte[] text, long
                length, sm_schema_options schema_options, sm_constraint_options options, sm_error
                error);

        void sm_constraint_free(Pointer constraint);

        /**
         * At the beginning of a text. SM_ERR_NOMEM.
         */
        int sm_constraint_state_new(PointerByReference out, Pointer constraint, sm_error error);

        /**
         * A second state at the same place, with the same tokens to go back over.
         */
        int sm_constraint_state_fork(PointerByReference out, Pointer state, sm_error error);

        void sm_constraint_state_free(Pointer state);

        /**
         * The tokens that may come next: bit id % 32 of mask[id / 32]; n_words: (n_vocab + 31) /
         * 32 or more, those beyond become 0. SM_ERR_BUFFER; SM_ERR_UNSUPPORTED or SM_ERR_NOMEM
         * where the automaton reaches a limit, which it says again from then on.
         */
        int sm_constraint_mask(Pointer state, int[] mask, long n_words, sm_error error);

        /**
         * Appends a token. SM_ERR_ARGUMENT, and nothing has changed, if it may not come here;
         * SM_ERR_TOKEN. An end token ends the text: nothing may follow.
         */
        int sm_constraint_accept(Pointer state, int id, sm_error error);

        /**
         * Appends bytes that come as no token; counts as one for sm_constraint_rewind.
         */
        int sm_constraint_accept_text(Pointer state, byte[] text, long length, sm_error error);

        /**
         * The bytes that have no alternative here: nothing else may come, the end neither. Writes
         * what fits in capacity and stores the length in *n (at most 65536); SM_ERR_BUFFER if that
         * is more.
         */
        int sm_constraint_forced_text(Pointer state, byte[] text, long capacity, long[] n, sm_error
                error);

        /**
         * The same as tokens, as encoding has them: those at the end that would be others for some
         * text that may follow are left out. Accepts nothing. *n: how many; SM_ERR_BUFFER if more
         * than capacity.
         */
        int sm_constraint_forced(Pointer state, int[] ids, long capacity, long[] n, sm_error error);

        int sm_constraint_can_end(Pointer state);

        /**
         * 1: it matches and nothing can follow, or an end token was accepted.
         */
        int sm_constraint_ended(Pointer state);

        /**
         * Takes the last n tokens back. SM_ERR_ARGUMENT if there are fewer.
         */
        int sm_constraint_rewind(Pointer state, long n, sm_error error);

        /**
         * Back to the beginning of a text.
         */
        int sm_constraint_reset(Pointer state, sm_error error);

        /**
         * Loads a GGUF model (of a split one: the first part), or a Hugging Face directory:
         * config.json and model.safetensors, or the files of model.safetensors.index.json. Tensors
         * stay in the mapped files where they lie as in GGUF; converted ones (queries and keys of
         * llama's relatives, weights of gpt-2, weights of 8 bits, gains) are in memory of the
         * model's. Everything the file says is checked before it is used. SM_ERR_IO, _FORMAT,
         * _MISSING, _SHAPE, _UNSUPPORTED (architecture, tensor type, rope scaling, tokenizer: by
         * name), _NOMEM, _SYSTEM, _CANCELLED, _ARGUMENT; the message names the file and the key or
         * tensor.
         */
        int sm_model_load(PointerByReference out, byte[] path, sm_model_options options, sm_error
                error);

        /**
         * The same from anywhere (types.h; parts of split models must be files). Statuses as
         * above.
         */
        int sm_model_load_from(PointerByReference out, sm_origin origin, sm_model_options options,
                sm_error error);

        void sm_model_free(Pointer model);

        int sm_model_get_info(Pointer model, sm_model_info info, sm_error error);

        /**
         * Writes the model to one GGUF file with its matrices in the layout that the kernels
         * compute from. Loaded, such a file needs no repacking and no private copy of the weights:
         * it is fast from the first token on, and processes that map it share its pages. It is of
         * use to this library only, on every instruction-set level and machine with little-endian
         * numbers; a version of the library with another layout refuses it by name
         * (SM_ERR_UNSUPPORTED). All keys are kept, but for those of the alignment and of
         * splitting. Where the output layer shares the token embeddings the file holds them twice,
         * as rows and packed. The file appears at path, replacing one there, when it is complete
         * and on the disk. options may be NULL. Any thread may call this while sessions of the
         * model run. SM_ERR_ARGUMENT, _IO, _NOMEM, _CANCELLED, _FORMAT (weights that are infinite
         * or NaN: names tensor and row; those of a packed file are not looked at again).
         */
        int sm_model_save_packed(Pointer model, byte[] path, sm_pack_options options, sm_error
                error);

        /**
         * The model's tokenizer: a new reference, freed with sm_tokenizer_free. SM_ERR_MISSING if
         * the file holds no vocabulary.
         */
        int sm_model_get_tokenizer(Pointer model, PointerByReference out, sm_error error);

        /**
         * SM_ERR_ARGUMENT, _NOMEM, _SYSTEM (threads), _UNSUPPORTED (pin, where the system cannot).
         */
        int sm_session_new(PointerByReference out, Pointer model, sm_session_options options,
                sm_error error);

        void sm_session_free(Pointer session);

        /**
         * A second session with the same tokens, cache and logits, and a team of its own (or in
         * the same batch, see batch.h). options may be NULL. Asks the cancel hook of the session
         * that is copied; the copy has none. SM_ERR_CANCELLED, and as sm_session_new.
         */
        int sm_session_fork(PointerByReference out, Pointer session, sm_fork_options options,
                sm_error error);

        /**
         * Writes the session to a file; of how see types.h. Asks the session's cancel hook.
         * SM_ERR_ARGUMENT, _IO, _NOMEM, _CANCELLED, _STATE inside a call of the session.
         */
        int sm_session_save(Pointer session, byte[] path, sm_error error);

        /**
         * Makes the session hold what was saved, in place of all that it holds. Asks the cancel
         * hook. SM_ERR_IO, _FORMAT (damaged, or no saved session), _UNSUPPORTED (a later version),
         * _ARGUMENT (of another model, adapter, level or cache; the message says which),
         * _CONTEXT_FULL, _NOMEM, _CANCELLED, _STATE as above. On failure the session is as it was,
         * but after _CANCELLED it may hold no tokens; the message then says so. The file is mapped
         * and must not be cut short meanwhile.
         */
        int sm_session_restore(Pointer session, byte[] path, sm_error error);

        /**
         * The same bytes in memory. *size gets how many there are, SM_ERR_BUFFER if that is more
         * than capacity, what fits having been written; buffer may be NULL where capacity is 0.
         */
        int sm_session_save_bytes(Pointer session, Pointer buffer, long capacity, long[] size,
                sm_error error);

        int sm_session_restore_bytes(Pointer session, Pointer data, long size, sm_error error);

        int sm_session_length(Pointer session);

        /**
         * How many bytes of its key/value cache computing the token at that position reads; 0
         * where there can be none.
         */
        long sm_session_read_bytes(Pointer session, int position);

        /**
         * At any time, by any thread. SM_ERR_ARGUMENT.
         */
        int sm_session_get_info(Pointer session, sm_session_info info, sm_error error);

        /**
         * Copies the tokens from `begin` on into ids, capacity at most; *n (may be NULL) gets how
         * many, 0 if `begin` is not less than the length. Places that hold no token (what later
         * versions may feed beside tokens) are -1. At any time, by any thread. SM_ERR_ARGUMENT.
         */
        int sm_session_tokens(Pointer session, int begin, int[] ids, long capacity, long[] n,
                sm_error error);

        /**
         * Cancelling long computation: asked every fraction of a millisecond while feeding (while
         * weights are repacked, before every tensor and every 16 MiB of one) and every few
         * milliseconds while a prompt is encoded; non-zero makes the running feed or generate
         * return SM_ERR_CANCELLED with the session as it was before the unfinished batch. Called
         * on the caller's thread, also by sm_batch_step while it feeds the session. NULL: never.
         * SM_ERR_STATE inside a call of the session.
         */
        int sm_session_set_cancel(Pointer session, sm_cancel_fn cancel, Pointer user, sm_error
                error);

        /**
         * Appends n tokens and computes them. n may be 0. SM_ERR_TOKEN and SM_ERR_CONTEXT_FULL
         * leave the session unchanged; so does SM_ERR_NOMEM, possible where weights are used for
         * the first time (by any session) and repacked; what was repacked stays for the next feed.
         * (Tokens that windows have lost meanwhile are computed again; if that fails as well, the
         * message says how many the session holds.) SM_ERR_CANCELLED: see above.
         */
        int sm_session_feed(Pointer session, int[] ids, long n, sm_error error);

        /**
         * The same, and writes the logits of every fed token: logits[n][n_vocab], for which there
         * is room for `capacity` floats (SM_ERR_BUFFER if that is too few: nothing is fed).
         * SM_ERR_FORMAT if one is infinite or NaN (damaged weights: names the token, and the row
         * of the output matrix if it is at fault): the session is as it was, the logits are for
         * looking at.
         */
        int sm_session_feed_logits(Pointer session, int[] ids, long n, float[] logits, long
                capacity, sm_error error);

        /**
         * Appends n tokens as sm_session_feed does and writes what the model thought of each
         * before it came: logprobs[n], NAN for the first token of an empty session, which follows
         * nothing; and top[n][n_top], the likeliest tokens there, best first (id -1 where there
         * are fewer), n_top being SM_MAX_LOGPROBS at most, and top NULL where it is 0. The same
         * numbers, to the bit, however tokens are cut into calls. Takes memory for the logits of
         * some tokens (64 MiB) meanwhile. SM_ERR_STATE if the session holds tokens but no logits
         * (it was rewound), _FORMAT if logits are not finite; as sm_session_feed. On failure the
         * session is as it was (its logits may be gone), but after _CANCELLED it holds what had
         * been fed.
         */
        int sm_session_feed_logprobs(Pointer session, int[] ids, long n, int n_top, double[]
                logprobs, sm_token_logprob top, sm_error error);

        /**
         * Makes the session hold exactly ids[0..n): keeps the common prefix, drops the rest, feeds
         * what is new. *reused (may be NULL) gets the tokens kept: as much of the common prefix as
         * the session's state allows, which is what sm_session_rewind goes back to at no cost.
         */
        int sm_session_sync(Pointer session, int[] ids, long n, long[] reused, sm_error error);

        /**
         * Forgets all tokens from position length on, as far as the model's state can go back; 0
         * always works. What a session carries of its tokens tells how far back it can go at no
         * cost: to any length where keys and values of all tokens are kept, which is so in models
         * without windows and with SM_KV_KEEP_ALL; with SM_KV_KEEP_WINDOW by n_batch tokens at
         * least. Otherwise the tokens from the last place that can be reached (the beginning, once
         * windows have passed it) are computed again, which can be cancelled (SM_ERR_CANCELLED,
         * the session then holds fewer tokens). SM_ERR_ARGUMENT if length is beyond the session's,
         * _UNSUPPORTED where a state can neither go back so far nor be computed again (no model of
         * this version). Logits are gone unless length is the present one.
         */
        int sm_session_rewind(Pointer session, int length, sm_error error);

        /**
         * Drops the tokens [begin, end) and computes those behind them again: the session then is
         * what it would be without them. SM_ERR_ARGUMENT; SM_ERR_CANCELLED, _NOMEM: it may hold
         * fewer tokens.
         */
        int sm_session_drop(Pointer session, int begin, int end, sm_error error);

        /**
         * The same with the oldest whole turns of a chat, as many as it takes to have room for
         * `room` more tokens: turn i begins at token turns[i] (ascending) and ends where the next
         * one begins. The first `keep` turns stay (a system message), and so does the last one.
         * *n_dropped gets how many went: turns[keep .. keep + *n_dropped); those behind then begin
         * earlier by turns[keep + *n_dropped] - turns[keep]. SM_ERR_CONTEXT_FULL if that is not
         * enough, and nothing was dropped; else as sm_session_drop.
         */
        int sm_session_drop_turns(Pointer session, int[] turns, long n_turns, long keep, int room,
                long[] n_dropped, sm_error error);

        /**
         * The logits after the last token: *n floats (may be NULL), as many as the vocabulary has
         * tokens, valid until the session is next fed, rewound or freed; they may be elsewhere
         * then. SM_ERR_STATE if there are none, _FORMAT if they are not all finite (damaged
         * weights).
         */
        int sm_session_logits(Pointer session, PointerByReference logits, long[] n, sm_error error);

        /**
         * How many samplers there are, and the i-th in the default order. SM_ERR_ARGUMENT.
         */
        int sm_sampler_count();

        int sm_sampler_get_info(int i, sm_sampler_info info, sm_error error);

        /**
         * Looks for a watermark (its delta does not matter) in the tokens of a text. With z = 4
         * one text in 30,000 without a watermark would be taken for one. SM_ERR_ARGUMENT, _NOMEM.
         */
        int sm_watermark_detect(sm_watermark watermark, int[] ids, long n, sm_watermark_score score,
                sm_error error);

        /**
         * Chooses the next token from the session's logits; changes nothing. sampling NULL:
         * greedy. Mirostat goes on from the tokens of this session that were chosen by it,
         * whichever of them were rewound or forked, and begins anew where there are none.
         * SM_ERR_STATE if there are no logits; SM_ERR_ARGUMENT, also if biases ban every token;
         * SM_ERR_TOKEN for a bias of a token outside the vocabulary; SM_ERR_FORMAT if one of the
         * logits is not finite (damaged weights: names file, token and, if it is the output
         * matrix, tensor and row).
         */
        int sm_session_sample(Pointer session, sm_sampling sampling, sm_choice choice, sm_error
                error);

        /**
         * Continues prompt[0..length) (SM_ZT: up to a zero), which is the whole text so far: what
         * the session already holds of it is reused, the rest of the session is dropped.
         * Afterwards the session holds the prompt and the continuation but for its last token,
         * which nothing needed computed yet. on_token may be NULL. SM_OK for every finish but
         * SM_FINISH_CANCELLED (SM_ERR_CANCELLED) and failures: SM_ERR_STATE if the draft session
         * is in use; SM_ERR_ARGUMENT if it is the session itself or of another vocabulary;
         * SM_ERR_CONTEXT_FULL if the prompt alone does not fit (policy stop), _MISSING if the
         * model has no vocabulary, _ARGUMENT, _TOKEN and _FORMAT as with sm_session_sample,
         * _NOMEM. An empty prompt needs a BOS token, else SM_ERR_ARGUMENT.
         */
        int sm_session_generate(Pointer session, byte[] prompt, long length, sm_generate_options
                options, sm_token_fn on_token, Pointer user, sm_error error);

        /**
         * About the last generate of this session.
         */
        int sm_session_get_stats(Pointer session, sm_generate_stats stats, sm_error error);

        /**
         * From text or a layout's name. SM_ERR_FORMAT, _UNSUPPORTED (the template: line and what),
         * _ARGUMENT (no such layout, with what it may be a slip of), _NOMEM.
         */
        int sm_chat_new(PointerByReference out, sm_chat_options options, sm_error error);

        /**
         * Of a model; options may be NULL. Besides: SM_ERR_MISSING where the model has no
         * template.
         */
        int sm_chat_new_from_model(PointerByReference out, Pointer model, sm_chat_options options,
                sm_error error);

        void sm_chat_free(Pointer chat);

        /**
         * The template, zero-terminated, valid as long as the handle.
         */
        Pointer sm_chat_template_text(Pointer chat);

        /**
         * How the model writes reasoning and calls, as sm_reply_options.format takes it: the name
         * of a format by the marks in the template, or where what the template makes of a probe (a
         * message with known calls) is none of that format's, a description found by it. Valid as
         * long as the handle; NULL: none is known.
         */
        Pointer sm_chat_reply_format(Pointer chat);

        /**
         * The names of the layouts that are known, as sm_names_find takes them.
         */
        Pointer sm_chat_layouts_list();

        /**
         * messages: a JSON array as in OpenAI's API; tools likewise, or NULL. Stores the bytes in
         * *n and writes them if capacity is enough, else SM_ERR_BUFFER. SM_ERR_ARGUMENT with the
         * template's own words where it refuses the messages, SM_ERR_FORMAT (messages, tools that
         * name no function, or an error inside the template), _UNSUPPORTED (also tools where the
         * template shows none to the model), _NOMEM, _CANCELLED.
         */
        int sm_chat_render(Pointer chat, byte[] messages, byte[] tools, sm_render_options options,
                byte[] text, long capacity, long[] n, sm_error error);

        /**
         * The same as ids, with the BOS that the vocabulary wants unless the template writes it.
         * Errors as sm_tokenizer_encode's, too.
         */
        int sm_chat_encode(Pointer chat, Pointer tokenizer, byte[] messages, byte[] tools,
                sm_render_options options, int[] ids, long capacity, long[] n, sm_error error);

        /**
         * What is rendered behind the last message: sm_reply_options.prompt_end.
         */
        int sm_chat_prompt_end(Pointer chat, byte[] messages, byte[] tools, sm_render_options
                options, byte[] text, long capacity, long[] n, sm_error error);

        /**
         * SM_ERR_ARGUMENT (unknown format, with what it may be a slip of), _FORMAT (tools),
         * _NOMEM.
         */
        int sm_reply_new(PointerByReference out, sm_reply_options options, sm_error error);

        void sm_reply_free(Pointer reply);

        /**
         * The next piece. on_delta may be NULL. SM_ERR_CANCELLED (by on_delta), SM_ERR_UNSUPPORTED
         * (more than 256 MiB, or 4096 calls), SM_ERR_NOMEM; after a failure only freeing is left.
         * SM_ERR_STATE behind sm_reply_finish.
         */
        int sm_reply_feed(Pointer reply, byte[] text, long length, sm_delta_fn on_delta, Pointer
                user, sm_error error);

        /**
         * The text has ended: what was waiting is decided. As sm_reply_feed; a second time does
         * nothing.
         */
        int sm_reply_finish(Pointer reply, sm_delta_fn on_delta, Pointer user, sm_error error);

        /**
         * The message so far: {"role": "assistant", "content": …, "reasoning_content": …,
         * "tool_calls": […]}, the last two where there are any; content is null beside calls if
         * there is none. *n gets its bytes; SM_ERR_BUFFER where capacity is less, then nothing is
         * written. Not zero-terminated.
         */
        int sm_reply_message(Pointer reply, byte[] json, long capacity, long[] n, sm_error error);

        int sm_reply_get_info(Pointer reply, sm_reply_info info, sm_error error);

        /**
         * Continues ids[0..n) as sm_session_generate does a prompt, and reads what comes into
         * `reply`, which is made anew for each answer: the text of control tokens included, for
         * marks of calls are often those; what ends the answer is not. on_delta gets what has
         * become certain; it may call what the header of sessions lets callbacks call. The reply
         * is finished afterwards, also when SM_ERR_CANCELLED says that a hook or on_delta ended
         * it; why it ended otherwise: sm_session_get_stats. Errors as sm_session_generate and
         * sm_reply_feed.
         */
        int sm_session_reply(Pointer session, int[] ids, long n, sm_generate_options options,
                Pointer reply, sm_delta_fn on_delta, Pointer user, sm_error error);

        /**
         * Tools (a JSON array, as in OpenAI's API) and a choice among them as a constraint on what
         * a model writes in a format: "auto" holds from the first mark of a call on, what comes
         * before is free; "required" and the name of a tool hold at once, behind the reasoning if
         * the prompt has opened one (reasoning: 1). Calls are of these tools, in the format's
         * notation. In every format the arguments fit the function's `parameters`
         * (`input_schema`), a JSON Schema, as sm_constraint_new_schema takes it: all of its
         * keywords are honoured, or the tools are refused by keyword and place
         * ("tools[1].function.parameters.properties.x.format: …"). By notation: JSON keys in any
         * order where an object names up to 6, otherwise in the schema's (as everywhere below);
         * white space where JSON allows it Python (f(a=1)) values in Python's words, strings in
         * either quote; names of arguments are words of [A-Za-z0-9_.-]; other names are refused
         * pairs (gemma) strings as they are, between their marks markup (a parameter strings as
         * they are, but none holds the mark that ends a value or all of in marks of its them, nor,
         * where the schema allows other types beside strings and nothing own) says which it is,
         * what would be read as one ("null", "12"); values of other types in JSON Keys that a
         * schema admits without naming them are words where the notation has no quotes. A function
         * without parameters takes none. "strict": true beside "parameters" closes objects, as
         * OpenAI's does: those of type "object" whose schema has properties and says nothing of
         * others have no others, keys come in the schema's order. "strict": false takes the schema
         * for a hint: any object in the format's notation. *out is NULL where nothing is
         * constrained: choice "none" or NULL, "auto" in formats whose calls have no mark, or with
         * a format that is not known (NULL, "auto"). SM_ERR_ARGUMENT (no such tool, no tools),
         * _FORMAT (tools, a schema), _UNSUPPORTED, and as sm_constraint_new.
         */
        int sm_constraint_new_tools(PointerByReference out, Pointer tokenizer, byte[] format, byte[]
                tools, byte[] choice, int reasoning, sm_error error);

        /**
         * The whole way: renders messages (a JSON array) and tools (likewise, or NULL) through the
         * template, encodes them, feeds what the session does not hold of them yet, generates an
         * answer and reads it. on_delta gets it while it comes, last an SM_DELTA_END with the
         * message (also when the answer was cancelled: as far as it came), the reason for its end
         * ("stop", "tool_calls", "length", "cancelled") and the tokens used; sm_session_get_stats
         * has the times. Errors as sm_chat_encode and sm_session_reply.
         */
        int sm_session_chat(Pointer session, Pointer chat, byte[] messages, byte[] tools,
                sm_answer_options options, sm_delta_fn on_delta, Pointer user, sm_error error);

        /**
         * The names of all formats, as sm_names_find takes them.
         */
        Pointer sm_reply_formats_list();

        /**
         * The name of the format that a chat template (zero-terminated) writes calls in: by the
         * marks in its text. NULL: none is known.
         */
        Pointer sm_reply_format_of(byte[] template_text);

        /**
         * SM_ERR_ARGUMENT, _NOMEM, _SYSTEM (threads), _UNSUPPORTED (pin, where the system cannot).
         */
        int sm_batch_new(PointerByReference out, Pointer model, sm_batch_options options, sm_error
                error);

        void sm_batch_free(Pointer batch);

        /**
         * A session that computes with the batch's team and buffers: n_threads, n_batch and pin of
         * the options must be 0, n_ctx at most the batch's. sm_session_fork of it gives another
         * session of the batch. SM_ERR_ARGUMENT, _NOMEM.
         */
        int sm_batch_new_session(PointerByReference out, Pointer batch, sm_session_options options,
                sm_error error);

        /**
         * As sm_session_set_cancel, for steps. A step asks this hook and those of the sessions
         * that it feeds; one that says yes cancels the step for all. SM_ERR_STATE inside a call of
         * the batch.
         */
        int sm_batch_set_cancel(Pointer batch, sm_cancel_fn cancel, Pointer user, sm_error error);

        /**
         * Feeds all items in one pass. Each session then has the logits after its last token
         * (sm_session_sample, sm_session_logits), as after sm_session_feed. On any failure every
         * session is as it was: SM_ERR_ARGUMENT (a session of another batch or twice, more than
         * n_sequences items or n_batch tokens), _TOKEN, _CONTEXT_FULL, _CANCELLED, _STATE
         * (adapters that are not those of the first item; the batch or one of its sessions is in
         * use); _NOMEM only where weights are used for the first time (by any session) and
         * repacked; _FORMAT if an item wants logits and one is not finite. The message names the
         * item, or the tensor that was being repacked. n_items may be 0.
         */
        int sm_batch_step(Pointer batch, sm_batch_item items, long n_items, sm_error error);

        /**
         * sm_session_generate for several sessions at once: prompts are fed one after the other,
         * then each step computes a token of every text that goes on. What comes is for each what
         * would have come for it alone. A prompt takes over what sessions of earlier items hold of
         * it: n samples of one prompt are n sessions with this prompt and options whose sampling
         * differs in `sequence`; it is computed once. A text that fails or is cancelled by its
         * callback ends alone; a cancel hook ends all that are left. statuses (NULL, or [n_items])
         * gets what sm_session_generate would have returned of each, and sm_session_get_stats
         * tells more. Returns the first of them that is not SM_OK, with its message; before
         * anything begins SM_ERR_ARGUMENT (as sm_batch_step; a prompt that is NULL), _NOMEM,
         * _STATE, which all statuses are then.
         */
        int sm_batch_generate(Pointer batch, sm_batch_text items, long n_items, int[] statuses,
                sm_error error);

        /**
         * Writes out_path from the GGUF file in_path (parts of a split model beside it are read
         * too; both may be the same). All keys are kept but general.file_type and
         * general.quantization_version, which are set, and those that number the parts. Matrices
         * are the tensors with two or more dimensions named *.weight, norms and position
         * embeddings excepted; all else is copied. Where the columns of a matrix are no multiple
         * of the type's block, it becomes IQ4_NL (for Q2_K, Q3_K, IQ1_… to IQ4_XS), Q5_0 (for
         * Q4_K), Q5_1 (for Q5_K), Q8_0 (for Q6_K), Q4_0 (for TQ1_0, TQ2_0, Q1_0, Q2_0), MXFP4 (for
         * NVFP4), or F16 if 32 does not divide them either. Memory: one encoded tensor at a time.
         * out_path appears only when it is complete; result may be NULL. SM_ERR_ARGUMENT (unknown
         * type; one that needs an importance matrix, and none), _IO, _FORMAT (also: weights that
         * are infinite or NaN, also of tensors that are copied, or too large for the type, and
         * importance that is negative), _SHAPE (importance of another size than the matrix),
         * _UNSUPPORTED (a source type that cannot be read; quantized matrices without requantize),
         * _MISSING, _NOMEM, _SYSTEM, _CANCELLED; messages name file and tensor.
         */
        int sm_model_quantize(byte[] out_path, byte[] in_path, sm_quantize_options options,
                sm_quantize_result result, sm_error error);

        /**
         * SM_ERR_ARGUMENT, _NOMEM, _SYSTEM.
         */
        int sm_imatrix_new(PointerByReference out, Pointer model, sm_imatrix_options options,
                sm_error error);

        void sm_imatrix_free(Pointer imatrix);

        /**
         * Asked while feeding; see sm_session_set_cancel.
         */
        int sm_imatrix_set_cancel(Pointer imatrix, sm_cancel_fn cancel, Pointer user, sm_error
                error);

        /**
         * Runs one chunk, 1 to n_ctx tokens, as a context of its own and adds its sums. A failed
         * or cancelled chunk adds nothing. SM_ERR_ARGUMENT, _TOKEN, _CONTEXT_FULL, _CANCELLED,
         * _NOMEM.
         */
        int sm_imatrix_feed(Pointer imatrix, int[] ids, long n, sm_error error);

        /**
         * Tokens of a chunk at most, and chunks fed so far; 0 for NULL.
         */
        int sm_imatrix_capacity(Pointer imatrix);

        int sm_imatrix_chunks(Pointer imatrix);

        /**
         * Writes the sums in llama.cpp's GGUF format: general.type "imatrix", imatrix.datasets
         * (the text's name), imatrix.chunk_count, imatrix.chunk_size, and per matrix NAME.in_sum2
         * [columns] and NAME.counts [1]. Feeding may go on. SM_ERR_STATE if nothing was fed, _IO,
         * _NOMEM, _FORMAT if the model's activations were not finite.
         */
        int sm_imatrix_save(Pointer imatrix, byte[] path, byte[] dataset, sm_error error);

        /**
         * Loads an adapter file in llama.cpp's GGUF format, for this model: general.type
         * "adapter", adapter.type "lora", and for a matrix W the tensors W.lora_a and W.lora_b,
         * each of a type that is computed. Or a directory that PEFT saved (adapter_config.json,
         * adapter_model.safetensors): LoRA and rsLoRA, with ranks and alphas of modules; the model
         * may be of any kind of file. Where the model has matrices as rows of one tensor
         * (attn_qkv) the adapter may have them apart (attn_q), and the other way round. SM_ERR_IO,
         * _FORMAT (also weights that are not finite, and two pairs for one matrix), _MISSING (half
         * of a pair), _SHAPE (does not fit the model: names the tensor), _UNSUPPORTED (another
         * architecture or kind of adapter, or one of a tensor that is no matrix of a layer nor an
         * output matrix of its own; a key of adapter_config.json that asks for what is not
         * computed, such as DoRA), _NOMEM, _ARGUMENT, _CANCELLED. options may be NULL.
         */
        int sm_adapter_load(PointerByReference out, Pointer model, byte[] path, sm_adapter_options
                options, sm_error error);

        /**
         * The same from anywhere (types.h).
         */
        int sm_adapter_load_from(PointerByReference out, Pointer model, sm_origin origin,
                sm_adapter_options options, sm_error error);

        void sm_adapter_free(Pointer adapter);

        int sm_adapter_get_info(Pointer adapter, sm_adapter_info info, sm_error error);

        /**
         * Adds scale times the adapter to what the session computes, or changes its scale if it is
         * attached already. The session forgets its tokens: they were computed without it.
         * SM_ERR_ARGUMENT (an adapter of another model, a scale that is not finite), SM_ERR_STATE
         * (too many), SM_ERR_NOMEM; the session is then as before.
         */
        int sm_session_attach(Pointer session, Pointer adapter, double scale, sm_error error);

        /**
         * Takes it away again; the session forgets its tokens. SM_ERR_ARGUMENT if it is not
         * attached.
         */
        int sm_session_detach(Pointer session, Pointer adapter, sm_error error);

        /**
         * Writes a model with scale times the adapter added to its matrices; all other tensors and
         * keys are copied. out_path may be model_path; it appears only when it is complete.
         * options may be NULL. Statuses of sm_model_load and sm_adapter_load, _FORMAT also for
         * weights that are infinite or NaN, before merging or after, or too large for the type
         * (names tensor and row), _ARGUMENT (type, a scale that is not finite), _UNSUPPORTED (a
         * packed model), _CANCELLED.
         */
        int sm_adapter_merge(byte[] out_path, byte[] model_path, byte[] adapter_path, double scale,
                sm_merge_options options, sm_error error);

        /**
         * Writes an adapter, in any form that sm_adapter_load takes, as PEFT saves them, for the
         * model in Hugging Face's form: out_directory (made where it is not there; what is above
         * it must be) gets adapter_model.safetensors, in f32, and then adapter_config.json, each
         * of which appears only when it is complete. It counts in PEFT what it counts here at
         * scale 1. options may be NULL; progress counts matrices. Statuses of sm_model_load and
         * sm_adapter_load, _UNSUPPORTED also for what has no name there: an adapter of the experts
         * of a layer, or of a matrix that is a part of theirs.
         */
        int sm_adapter_export(byte[] out_directory, byte[] model_path, byte[] adapter_path,
                sm_adapter_options options, sm_error error);

        /**
         * Holds a reference to the model. One call at a time: another one that comes meanwhile
         * gets SM_ERR_STATE, sm_encoder_free takes effect when it ends; after a fork() only
         * freeing works (SM_ERR_STATE). SM_ERR_ARGUMENT, _NOMEM, _SYSTEM (threads), _UNSUPPORTED
         * (a kind of state that cannot be computed all at once).
         */
        int sm_encoder_new(PointerByReference out, Pointer model, sm_encoder_options options,
                sm_error error);

        void sm_encoder_free(Pointer encoder);

        /**
         * NULL is fine
         */
        int sm_encoder_get_info(Pointer encoder, sm_encoder_info info, sm_error error);

        /**
         * The name of a label, in UTF-8, *length bytes (may be NULL), valid as long as the model;
         * NULL where it has none.
         */
        Pointer sm_encoder_label(Pointer encoder, int i, long[] length);

        /**
         * vectors[n][n_dims]. capacity: floats there is room for, SM_ERR_BUFFER if that is too
         * few. SM_ERR_ARGUMENT, _MISSING (the model has no vocabulary), _CONTEXT_FULL, _NOMEM,
         * _CANCELLED, _FORMAT (hidden states that are not finite); on failure what vectors hold is
         * undefined. A text without tokens has a vector of zeros.
         */
        int sm_encoder_embed(Pointer encoder, sm_text texts, long n, float[] vectors, long capacity,
                sm_error error);

        /**
         * The same of n_ids tokens of one's own, markers included: vector[n_dims]. Also
         * SM_ERR_TOKEN; longer ones than max_tokens are refused.
         */
        int sm_encoder_embed_ids(Pointer encoder, int[] ids, long n_ids, float[] vector, long
                capacity, sm_error error);

        /**
         * The last hidden states of such tokens, after the last norm: states[n_ids][n_embd].
         */
        int sm_encoder_hidden(Pointer encoder, int[] ids, long n_ids, float[] states, long capacity,
                sm_error error);

        /**
         * scores[n][n_labels] of texts, as the model makes them: of several labels their softmax,
         * of one its sigmoid is a probability. SM_ERR_UNSUPPORTED if the model has none.
         */
        int sm_encoder_score(Pointer encoder, sm_text texts, long n, float[] scores, long capacity,
                sm_error error);

        /**
         * The same of tokens, with the type of each (the segment; NULL: 0): scores[n_labels].
         */
        int sm_encoder_score_ids(Pointer encoder, int[] ids, int[] types, long n_ids, float[]
                scores, long capacity, sm_error error);

        /**
         * scores[n], the greater the better, of documents for a query, by a model with one label
         * that reads pairs. Long documents are cut. SM_ERR_UNSUPPORTED where it has another number
         * of labels, or its vocabulary does not say how pairs are put together.
         */
        int sm_encoder_rerank(Pointer encoder, byte[] query, long length, sm_text documents, long n,
                float[] scores, long capacity, sm_error error);

        /**
         * packed[n][bytes]: n_dims or (n_dims + 7) / 8 bytes for each of vectors[n][n_dims]. size:
         * bytes there is room for. SM_ERR_ARGUMENT (also values that are no numbers), _BUFFER.
         */
        int sm_vectors_pack(float[] vectors, long n, int n_dims, int kind, Pointer packed, long
                size, sm_error error);

        /**
         * Learns a byte-level BPE vocabulary from text files (UTF-8) and writes it as a GGUF file
         * without weights. SM_ERR_ARGUMENT, _IO, _FORMAT (not UTF-8: names the file; or no text at
         * all), _UNSUPPORTED (pre; a compressed file, or UTF-16), _NOMEM, _CANCELLED.
         */
        int sm_vocabulary_train(byte[] path, Pointer text_paths, long n_texts, sm_vocabulary_options
                options, sm_error error);

        /**
         * Writes a model with random weights (normal, standard deviation 0.02; matrices that add
         * to the residual stream 0.02/sqrt(2 n_layer); norms 1, biases 0) and the vocabulary of
         * another GGUF file, or of a directory with config.json and tokenizer.json. f32.
         * SM_ERR_ARGUMENT, _IO, _MISSING (no vocabulary; a size that the architecture needs beside
         * these: names its key), _UNSUPPORTED (no such architecture), _NOMEM, _CANCELLED.
         */
        int sm_model_init(byte[] path, byte[] vocabulary_path, sm_model_init_options options,
                sm_error error);

        /**
         * Opens the model and the data. The model needs a vocabulary. SM_ERR_ARGUMENT, _IO,
         * _FORMAT (the data: file and line; weights that are infinite or NaN: tensor and row),
         * _MISSING, _SHAPE, _UNSUPPORTED, _NOMEM, _SYSTEM, _CANCELLED.
         */
        int sm_trainer_open(PointerByReference out, byte[] model_path, sm_trainer_options options,
                sm_error error);

        void sm_trainer_free(Pointer trainer);

        int sm_trainer_get_info(Pointer trainer, sm_trainer_info info, sm_error error);

        /**
         * Steps still to be done; 0 for NULL.
         */
        long sm_trainer_steps_left(Pointer trainer);

        /**
         * One optimizer step: `accumulate` batches forward and backward, clip, update. metrics may
         * be NULL. SM_ERR_CANCELLED (the hook said so: nothing has changed; or the update of the
         * weights had begun: the next step goes on with it and is then that step, and an
         * evaluation, saving or exporting finishes it first). SM_ERR_DIVERGED if the loss or a
         * gradient is not finite: weights and optimizer are as before the step, the trainer goes
         * no further. SM_ERR_STATE if no step is left, or its batches hold no token to learn.
         * SM_ERR_ARGUMENT (struct_size of metrics: no step is taken), _FORMAT, _NOMEM.
         */
        int sm_trainer_step(Pointer trainer, sm_train_metrics metrics, sm_error error);

        /**
         * Steps until none is left, `steps` are done (0: all that are left) or on_step, called
         * after each, wants no more (SM_ERR_CANCELLED); on_step may be NULL. The statuses of
         * sm_trainer_step, SM_OK if no step is left.
         */
        int sm_trainer_train(Pointer trainer, long steps, sm_train_step_fn on_step, Pointer user,
                sm_error error);

        /**
         * Asked by the calling thread every few milliseconds of a step or evaluation, and while
         * saving, resuming and exporting; non-zero makes that call return SM_ERR_CANCELLED. NULL:
         * never. A hook that goes on saying so lets nothing be saved: take it away before what was
         * trained is written.
         */
        int sm_trainer_set_cancel(Pointer trainer, sm_cancel_fn cancel, Pointer user, sm_error
                error);

        /**
         * Over the validation part. SM_ERR_STATE if there is none, _DIVERGED if the loss is not
         * finite, _CANCELLED, _ARGUMENT, _FORMAT, _NOMEM.
         */
        int sm_trainer_evaluate(Pointer trainer, sm_train_evaluation result, sm_error error);

        /**
         * Everything that going on needs: weights, optimizer, schedule, place in the data, and a
         * checksum of the whole file. The file appears whole or not at all. SM_ERR_IO, _NOMEM,
         * _ARGUMENT, _CANCELLED, _DIVERGED (a weight is not finite: nothing is written, so that a
         * checkpoint that is there stays the last good one).
         */
        int sm_trainer_save(Pointer trainer, byte[] path, sm_error error);

        /**
         * Goes on where a checkpoint of the same model, data and options stands. Options that do
         * not change what is computed (threads) may differ, and `steps`, if the schedule is to end
         * later; the data may lie elsewhere, but every byte of it is compared (by a hash), and
         * every bit of an option. Files of earlier versions of the library are read. SM_ERR_IO,
         * _FORMAT (damaged: any byte of it is another than was written), _ARGUMENT (of another
         * run: names what differs), _UNSUPPORTED (a later version of the format), _NOMEM,
         * _CANCELLED; the trainer is then as before. Only where it is cancelled while weights are
         * being replaced it is of no use (SM_ERR_STATE) until a checkpoint is resumed.
         */
        int sm_trainer_resume(Pointer trainer, byte[] path, sm_error error);

        /**
         * Where a checkpoint stands, without its model and data; the checksum is not looked at.
         * SM_ERR_IO, _FORMAT (no checkpoint), _UNSUPPORTED (a later version), _ARGUMENT, _NOMEM.
         */
        int sm_checkpoint_get_info(byte[] path, sm_checkpoint_info info, sm_error error);

        /**
         * What a run was made with, so that it can be opened again without saying so: sets the
         * fields of `options` (struct_size set by the caller) that determine what is computed, and
         * steps, data_kind, data, more_data, separator and lora_targets; *model_path to the
         * model's. Paths are as they were given then. The strings and the list more_data lie in
         * `text`, of `capacity` bytes, NULL where they were not given. What the checkpoint does
         * not know (threads, memory, hooks; paths, if it is of an older library) stays as it is.
         * *needed: bytes of text that it takes. SM_ERR_BUFFER (more than capacity: nothing is set
         * but *needed), and the statuses of sm_checkpoint_get_info; the checksum is looked at.
         */
        int sm_checkpoint_get_options(byte[] path, sm_trainer_options options, Pointer model_path,
                byte[] text, long capacity, long[] needed, sm_error error);

        /**
         * Writes the model as it is now. options may be NULL. SM_ERR_DIVERGED (a weight is not
         * finite), _FORMAT (too large for the type: names tensor and row; in both cases nothing is
         * written), _ARGUMENT (type), _STATE (adapters are trained: sm_trainer_export_adapter, and
         * sm_adapter_merge for a model with them), _IO, _NOMEM.
         */
        int sm_trainer_export(Pointer trainer, byte[] path, sm_export_options options, sm_error
                error);

        /**
         * Writes the adapters alone, as a GGUF adapter file. SM_ERR_STATE if there are none,
         * _DIVERGED (a weight is not finite: nothing is written), _ARGUMENT, _IO, _NOMEM.
         */
        int sm_trainer_export_adapter(Pointer trainer, byte[] path, sm_error error);
    }
}
