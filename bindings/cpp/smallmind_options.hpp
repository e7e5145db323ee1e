// Statuses and options of libsmallmind for C++. Made by scripts/bindings.py: do not edit.
#ifndef SMALLMIND_OPTIONS_HPP
#define SMALLMIND_OPTIONS_HPP

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <smallmind/smallmind.h>

namespace smallmind {

class canceller;
class constraint;

/// A call that failed: the C message, its status, and the system's number of it or 0.
struct error : std::runtime_error {
    explicit error(const sm_error &e)
        : std::runtime_error(e.message), code(e.code), system(e.system) {}
    sm_status code;
    std::int32_t system;
};

/// SM_ERR_ARGUMENT
struct argument_error : error {
    using error::error;
};
/// SM_ERR_NOMEM
struct nomem_error : error {
    using error::error;
};
/// SM_ERR_IO
struct io_error : error {
    using error::error;
};
/// SM_ERR_FORMAT
struct format_error : error {
    using error::error;
};
/// SM_ERR_MISSING
struct missing_error : error {
    using error::error;
};
/// SM_ERR_SHAPE
struct shape_error : error {
    using error::error;
};
/// SM_ERR_UNSUPPORTED
struct unsupported_error : error {
    using error::error;
};
/// SM_ERR_TOKEN
struct token_error : error {
    using error::error;
};
/// SM_ERR_CONTEXT_FULL
struct context_full_error : error {
    using error::error;
};
/// SM_ERR_CANCELLED
struct cancelled_error : error {
    using error::error;
};
/// SM_ERR_STATE
struct state_error : error {
    using error::error;
};
/// SM_ERR_BUFFER
struct buffer_error : error {
    using error::error;
};
/// SM_ERR_SYSTEM
struct system_error : error {
    using error::error;
};
/// SM_ERR_DIVERGED
struct diverged_error : error {
    using error::error;
};

/// Throws what a call has said.
[[noreturn]] inline void raise(const sm_error &e) {
    switch (e.code) {
    case SM_ERR_ARGUMENT:
        throw argument_error(e);
    case SM_ERR_NOMEM:
        throw nomem_error(e);
    case SM_ERR_IO:
        throw io_error(e);
    case SM_ERR_FORMAT:
        throw format_error(e);
    case SM_ERR_MISSING:
        throw missing_error(e);
    case SM_ERR_SHAPE:
        throw shape_error(e);
    case SM_ERR_UNSUPPORTED:
        throw unsupported_error(e);
    case SM_ERR_TOKEN:
        throw token_error(e);
    case SM_ERR_CONTEXT_FULL:
        throw context_full_error(e);
    case SM_ERR_CANCELLED:
        throw cancelled_error(e);
    case SM_ERR_STATE:
        throw state_error(e);
    case SM_ERR_BUFFER:
        throw buffer_error(e);
    case SM_ERR_SYSTEM:
        throw system_error(e);
    case SM_ERR_DIVERGED:
        throw diverged_error(e);
    default:
        throw error(e);
    }
}

namespace detail {
inline bool is_zero(double x) { return x >= 0 && x <= 0; }
} // namespace detail

/// sm_model_options. What is not set is the library's default.
struct model_options {
    /// How the file is read (map, read).
    std::uint32_t io = 0;
    /// Highest instruction-set level to use (auto, scalar, avx2, avx512, neon, dotprod, avxvnni,
    /// i8mm, avx512bf16).
    std::uint32_t level = 0;
    /// Copy weights into the layout the kernels like at first use, or never (lazy, none).
    std::uint32_t repack = 0;
    /// Heap of the model and its sessions together; 0: no limit.
    std::uint64_t memory_limit = 0;
    /// What weights multiply: rounded to 8 bits beside quantized ones, or f32 beside all (slow)
    /// (fast, float).
    std::uint32_t activations = 0;
    /// Told of done and total units; false, or what it throws, ends the loading.
    std::function<bool(std::uint64_t, std::uint64_t)> progress;
    /// Ends the loading when it is set; not owned.
    const canceller *cancel = nullptr;
};

/// The numbers, words and texts of them; `in` has to live as long as `out`.
inline void fill(sm_model_options &out, const model_options &in) {
    out.io = in.io;
    out.level = in.level;
    out.repack = in.repack;
    out.memory_limit = in.memory_limit;
    out.activations = in.activations;
}

/// sm_session_options. What is not set is the library's default.
struct session_options {
    /// Tokens the session can hold; 0: the model's training context, 4096 at most.
    std::uint32_t n_ctx = 0;
    /// Threads that compute; 0: all CPUs of the process, 8 at most.
    std::uint32_t n_threads = 0;
    /// Tokens computed together at most.
    std::uint32_t n_batch = 0;
    /// Number format of the key/value cache (f16, f32, bf16, q8_0, q4_0, q5_0, iq4_nl).
    std::uint32_t kv_type = 0;
    /// Keep each thread but the caller's on a CPU of its own.
    bool pin = false;
    /// What layers with a window keep of keys and values: the window and one batch, or all (window,
    /// all).
    std::uint32_t kv_keep = 0;
};

/// The numbers, words and texts of them; `in` has to live as long as `out`.
inline void fill(sm_session_options &out, const session_options &in) {
    out.n_ctx = in.n_ctx;
    out.n_threads = in.n_threads;
    out.n_batch = in.n_batch;
    out.kv_type = in.kv_type;
    out.pin = in.pin;
    out.kv_keep = in.kv_keep;
}

/// sm_fork_options. What is not set is the library's default.
struct fork_options {
    /// Threads that compute; 0: as many as the session that is copied has.
    std::uint32_t n_threads = 0;
};

/// The numbers, words and texts of them; `in` has to live as long as `out`.
inline void fill(sm_fork_options &out, const fork_options &in) {
    out.n_threads = in.n_threads;
}

/// sm_encoder_options. What is not set is the library's default.
struct encoder_options {
    /// Threads that compute; 0: all CPUs of the process, 8 at most.
    std::uint32_t n_threads = 0;
    /// Of a text at most; 0: what the model was trained with, 8192 at most.
    std::uint32_t max_tokens = 0;
    /// Computed together at most; 0: 512; max_tokens if that is more.
    std::uint32_t n_batch = 0;
    /// What is made of a text's tokens; model: what its file says (model, mean, first, last).
    std::uint32_t pooling = 0;
    /// What becomes of texts of more than max_tokens (cut, refuse, windows).
    std::uint32_t long_texts = 0;
    /// Elements of a vector, the first ones; 0: all.
    std::uint32_t n_dims = 0;
    /// Vectors are not divided by their length.
    bool raw = false;
    /// Put before every text.
    std::optional<std::string> prefix = std::nullopt;
    /// The prefix that the model's directory calls so.
    std::optional<std::string> prompt = std::nullopt;
};

/// The numbers, words and texts of them; `in` has to live as long as `out`.
inline void fill(sm_encoder_options &out, const encoder_options &in) {
    out.n_threads = in.n_threads;
    out.max_tokens = in.max_tokens;
    out.n_batch = in.n_batch;
    out.pooling = in.pooling;
    out.long_texts = in.long_texts;
    out.n_dims = in.n_dims;
    out.raw = in.raw;
    out.prefix = in.prefix ? in.prefix->c_str() : nullptr;
    out.prompt = in.prompt ? in.prompt->c_str() : nullptr;
}

/// sm_sampling. What is not set is the library's default.
struct sampling_options {
    /// 0 takes the likeliest token, more is more random.
    double temperature = 0;
    /// Keep the k likeliest; 0: all.
    std::uint32_t top_k = 0;
    /// Keep the smallest set of tokens with this probability; 0 can be said.
    std::optional<double> top_p = std::nullopt;
    /// Drop tokens less likely than this share of the likeliest one's probability.
    double min_p = 0;
    /// Divides the logits of tokens that occurred; 1: none.
    double repeat_penalty = 0;
    /// Subtracted once from tokens that occurred.
    double presence_penalty = 0;
    /// Subtracted for each time that a token occurred.
    double frequency_penalty = 0;
    /// How far back the penalties look; 0 can be said.
    std::optional<std::uint32_t> penalty_last_n = std::nullopt;
    /// Same seed, same tokens.
    std::uint64_t seed = 0;
    /// Tells apart sequences drawn with one seed.
    std::uint64_t sequence = 0;
    /// Keep the tokens whose information is nearest to the entropy, with this probability; 0 can be
    /// said.
    std::optional<double> typical_p = std::nullopt;
    /// Drop tokens below this times the square of the likeliest one's probability.
    double top_a = 0;
    /// Drop logits more than so many standard deviations below the largest; 0: none.
    double top_n_sigma = 0;
    /// How often to drop the likeliest tokens but the last of those above the threshold.
    double xtc_probability = 0;
    /// Probability from which XTC drops tokens; 0 can be said.
    std::optional<double> xtc_threshold = std::nullopt;
    /// Penalty of a token that would go on with a repetition; 0: none.
    double dry_multiplier = 0;
    /// The penalty's growth with each token repeated.
    double dry_base = 0;
    /// Repetitions up to this length cost nothing more; 0 can be said.
    std::optional<std::uint32_t> dry_allowed_length = std::nullopt;
    /// How far back DRY looks; 0: as far as there is text.
    std::uint32_t dry_last_n = 0;
    /// The temperature moves so far up and down with the entropy; 0: it stays.
    double dynatemp_range = 0;
    /// Of the entropy's share of the largest; 0 can be said.
    std::optional<double> dynatemp_exponent = std::nullopt;
    /// Version of Mirostat; 0: none (0, 1, 2).
    std::uint32_t mirostat = 0;
    /// Likeliest tokens that version 1 estimates from.
    std::uint32_t mirostat_m = 0;
    /// Bits of surprise that Mirostat aims at; 0 can be said.
    std::optional<double> mirostat_tau = std::nullopt;
    /// How fast Mirostat follows; 0 can be said.
    std::optional<double> mirostat_eta = std::nullopt;
    /// Typical_p, top_p, min_p and XTC leave so many tokens at least.
    std::uint32_t min_keep = 0;
    /// Names of the samplers in their order.
    std::optional<std::string> order = std::nullopt;
    /// Added to the logits of tokens.
    std::vector<sm_logit_bias> bias;
    /// Texts that repetitions do not reach over.
    std::vector<std::string> dry_breaker_texts;
};

/// The numbers, words and texts of them; `in` has to live as long as `out`.
inline void fill(sm_sampling &out, const sampling_options &in) {
    out.temperature = in.temperature;
    out.top_k = in.top_k;
    if (in.top_p)
        out.top_p = detail::is_zero(*in.top_p) ? SM_ZERO : *in.top_p;
    out.min_p = in.min_p;
    out.repeat_penalty = in.repeat_penalty;
    out.presence_penalty = in.presence_penalty;
    out.frequency_penalty = in.frequency_penalty;
    if (in.penalty_last_n)
        out.penalty_last_n = *in.penalty_last_n == 0 ? SM_ZERO_U32 : *in.penalty_last_n;
    out.seed = in.seed;
    out.sequence = in.sequence;
    if (in.typical_p)
        out.typical_p = detail::is_zero(*in.typical_p) ? SM_ZERO : *in.typical_p;
    out.top_a = in.top_a;
    out.top_n_sigma = in.top_n_sigma;
    out.xtc_probability = in.xtc_probability;
    if (in.xtc_threshold)
        out.xtc_threshold = detail::is_zero(*in.xtc_threshold) ? SM_ZERO : *in.xtc_threshold;
    out.dry_multiplier = in.dry_multiplier;
    out.dry_base = in.dry_base;
    if (in.dry_allowed_length)
        out.dry_allowed_length = *in.dry_allowed_length == 0 ? SM_ZERO_U32 : *in.dry_allowed_length;
    out.dry_last_n = in.dry_last_n;
    out.dynatemp_range = in.dynatemp_range;
    if (in.dynatemp_exponent)
        out.dynatemp_exponent = detail::is_zero(*in.dynatemp_exponent) ? SM_ZERO : *in.dynatemp_exponent;
    out.mirostat = in.mirostat;
    out.mirostat_m = in.mirostat_m;
    if (in.mirostat_tau)
        out.mirostat_tau = detail::is_zero(*in.mirostat_tau) ? SM_ZERO : *in.mirostat_tau;
    if (in.mirostat_eta)
        out.mirostat_eta = detail::is_zero(*in.mirostat_eta) ? SM_ZERO : *in.mirostat_eta;
    out.min_keep = in.min_keep;
    out.order = in.order ? in.order->c_str() : nullptr;
}

/// sm_generate_options. What is not set is the library's default.
struct generate_options {
    /// Tokens to generate at most; 0: until the context is full.
    std::uint32_t max_tokens = 0;
    /// Parse special tokens written in the prompt.
    bool parse_special = false;
    /// Leave out the BOS token.
    bool no_bos = false;
    /// Go on after the end of the text.
    bool ignore_end = false;
    /// Compute guessed tokens together with the chosen one; ngram: guessed from the text so far.
    /// The result is the same (no, ngram).
    std::uint32_t speculate = 0;
    /// Guessed at a time at most.
    std::uint32_t draft_tokens = 0;
    /// When the context is full: stop; drop tokens and compute the rest again; drop them and keep
    /// the rest's keys and values; ask the program (stop, slide, sinks, ask).
    std::uint32_t context_full = 0;
    /// First tokens that a full context keeps; 0: none, 4 of sinks.
    std::uint32_t n_keep = 0;
    /// Dropped behind them at a time; 0: half of the others.
    std::uint32_t n_drop = 0;
    /// Choose the prompt's last tokens anew where they are the beginning of longer ones.
    bool heal = false;
    /// The text does not end before so many.
    std::uint32_t min_tokens = 0;
    /// Likeliest tokens to tell the log-probabilities of, beside each that is chosen.
    std::uint32_t n_logprobs = 0;
    /// Tell of the prompt's tokens, too, and of their log-probabilities.
    bool echo = false;
    /// How tokens are chosen.
    sampling_options sampling = {};
    /// Texts that end the text.
    std::vector<std::string> stop;
    /// Texts that the text must not hold.
    std::vector<std::string> ban;
    /// What the text must match; not owned.
    const class constraint *constraint = nullptr;
    /// Ends the call when it is set, beside the session's; not owned.
    const canceller *cancel = nullptr;
};

/// The numbers, words and texts of them; `in` has to live as long as `out`.
inline void fill(sm_generate_options &out, const generate_options &in) {
    out.max_tokens = in.max_tokens;
    out.parse_special = in.parse_special;
    out.no_bos = in.no_bos;
    out.ignore_end = in.ignore_end;
    out.speculate = in.speculate;
    out.draft_tokens = in.draft_tokens;
    out.context_full = in.context_full;
    out.n_keep = in.n_keep;
    out.n_drop = in.n_drop;
    out.heal = in.heal;
    out.min_tokens = in.min_tokens;
    out.n_logprobs = in.n_logprobs;
    out.echo = in.echo;
}

} // namespace smallmind
#endif
