//! Statuses and options of libsmallmind. Made by scripts/bindings.py: do not edit.

use crate::{sys, Result, Texts};

/// What a call failed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub i32);

impl Status {
    /// SM_ERR_ARGUMENT
    pub const ARGUMENT: Status = Status(-1);
    /// SM_ERR_NOMEM
    pub const NOMEM: Status = Status(-2);
    /// SM_ERR_IO
    pub const IO: Status = Status(-3);
    /// SM_ERR_FORMAT
    pub const FORMAT: Status = Status(-4);
    /// SM_ERR_MISSING
    pub const MISSING: Status = Status(-5);
    /// SM_ERR_SHAPE
    pub const SHAPE: Status = Status(-6);
    /// SM_ERR_UNSUPPORTED
    pub const UNSUPPORTED: Status = Status(-7);
    /// SM_ERR_TOKEN
    pub const TOKEN: Status = Status(-8);
    /// SM_ERR_CONTEXT_FULL
    pub const CONTEXT_FULL: Status = Status(-9);
    /// SM_ERR_CANCELLED
    pub const CANCELLED: Status = Status(-10);
    /// SM_ERR_STATE
    pub const STATE: Status = Status(-11);
    /// SM_ERR_BUFFER
    pub const BUFFER: Status = Status(-12);
    /// SM_ERR_SYSTEM
    pub const SYSTEM: Status = Status(-13);
    /// SM_ERR_DIVERGED
    pub const DIVERGED: Status = Status(-14);
}

/// `sm_model_options`: what is not set is the library's default.
#[derive(Clone, Default)]
pub struct ModelOptions {
    /// How the file is read (map, read).
    pub io: u32,
    /// Highest instruction-set level to use (auto, scalar, avx2, avx512, neon, dotprod, avxvnni,
    /// i8mm, avx512bf16).
    pub level: u32,
    /// Copy weights into the layout the kernels like at first use, or never (lazy, none).
    pub repack: u32,
    /// Heap of the model and its sessions together; 0: no limit.
    pub memory_limit: u64,
    /// What weights multiply: rounded to 8 bits beside quantized ones, or f32 beside all (slow)
    /// (fast, float).
    pub activations: u32,
    /// Ends the loading when it is set.
    pub cancel: Option<crate::Canceller>,
}

impl ModelOptions {
    pub(crate) fn fill(&self, c: &mut sys::sm_model_options, _texts: &mut Texts) -> Result<()> {
        c.io = self.io;
        c.level = self.level;
        c.repack = self.repack;
        c.memory_limit = self.memory_limit;
        c.activations = self.activations;
        Ok(())
    }
}

/// `sm_session_options`: what is not set is the library's default.
#[derive(Clone, Default)]
pub struct SessionOptions {
    /// Tokens the session can hold; 0: the model's training context, 4096 at most.
    pub n_ctx: u32,
    /// Threads that compute; 0: all CPUs of the process, 8 at most.
    pub n_threads: u32,
    /// Tokens computed together at most.
    pub n_batch: u32,
    /// Number format of the key/value cache (f16, f32, bf16, q8_0, q4_0, q5_0, iq4_nl).
    pub kv_type: u32,
    /// Keep each thread but the caller's on a CPU of its own.
    pub pin: bool,
    /// What layers with a window keep of keys and values: the window and one batch, or all (window,
    /// all).
    pub kv_keep: u32,
}

impl SessionOptions {
    pub(crate) fn fill(&self, c: &mut sys::sm_session_options, _texts: &mut Texts) -> Result<()> {
        c.n_ctx = self.n_ctx;
        c.n_threads = self.n_threads;
        c.n_batch = self.n_batch;
        c.kv_type = self.kv_type;
        c.pin = u32::from(self.pin);
        c.kv_keep = self.kv_keep;
        Ok(())
    }
}

/// `sm_fork_options`: what is not set is the library's default.
#[derive(Clone, Default)]
pub struct ForkOptions {
    /// Threads that compute; 0: as many as the session that is copied has.
    pub n_threads: u32,
}

impl ForkOptions {
    pub(crate) fn fill(&self, c: &mut sys::sm_fork_options, _texts: &mut Texts) -> Result<()> {
        c.n_threads = self.n_threads;
        Ok(())
    }
}

/// `sm_encoder_options`: what is not set is the library's default.
#[derive(Clone, Default)]
pub struct EncoderOptions {
    /// Threads that compute; 0: all CPUs of the process, 8 at most.
    pub n_threads: u32,
    /// Of a text at most; 0: what the model was trained with, 8192 at most.
    pub max_tokens: u32,
    /// Computed together at most; 0: 512; max_tokens if that is more.
    pub n_batch: u32,
    /// What is made of a text's tokens; model: what its file says (model, mean, first, last).
    pub pooling: u32,
    /// What becomes of texts of more than max_tokens (cut, refuse, windows).
    pub long_texts: u32,
    /// Elements of a vector, the first ones; 0: all.
    pub n_dims: u32,
    /// Vectors are not divided by their length.
    pub raw: bool,
    /// Put before every text.
    pub prefix: Option<String>,
    /// The prefix that the model's directory calls so.
    pub prompt: Option<String>,
}

impl EncoderOptions {
    pub(crate) fn fill(&self, c: &mut sys::sm_encoder_options, texts: &mut Texts) -> Result<()> {
        c.n_threads = self.n_threads;
        c.max_tokens = self.max_tokens;
        c.n_batch = self.n_batch;
        c.pooling = self.pooling;
        c.long_texts = self.long_texts;
        c.n_dims = self.n_dims;
        c.raw = u32::from(self.raw);
        c.prefix = texts.optional("prefix", self.prefix.as_deref())?;
        c.prompt = texts.optional("prompt", self.prompt.as_deref())?;
        Ok(())
    }
}

/// `sm_sampling`: what is not set is the library's default.
#[derive(Clone, Default)]
pub struct Sampling {
    /// 0 takes the likeliest token, more is more random.
    pub temperature: f64,
    /// Keep the k likeliest; 0: all.
    pub top_k: u32,
    /// Keep the smallest set of tokens with this probability; 0 can be said.
    pub top_p: Option<f64>,
    /// Drop tokens less likely than this share of the likeliest one's probability.
    pub min_p: f64,
    /// Divides the logits of tokens that occurred; 1: none.
    pub repeat_penalty: f64,
    /// Subtracted once from tokens that occurred.
    pub presence_penalty: f64,
    /// Subtracted for each time that a token occurred.
    pub frequency_penalty: f64,
    /// How far back the penalties look; 0 can be said.
    pub penalty_last_n: Option<u32>,
    /// Same seed, same tokens.
    pub seed: u64,
    /// Tells apart sequences drawn with one seed.
    pub sequence: u64,
    /// Keep the tokens whose information is nearest to the entropy, with this probability; 0 can be
    /// said.
    pub typical_p: Option<f64>,
    /// Drop tokens below this times the square of the likeliest one's probability.
    pub top_a: f64,
    /// Drop logits more than so many standard deviations below the largest; 0: none.
    pub top_n_sigma: f64,
    /// How often to drop the likeliest tokens but the last of those above the threshold.
    pub xtc_probability: f64,
    /// Probability from which XTC drops tokens; 0 can be said.
    pub xtc_threshold: Option<f64>,
    /// Penalty of a token that would go on with a repetition; 0: none.
    pub dry_multiplier: f64,
    /// The penalty's growth with each token repeated.
    pub dry_base: f64,
    /// Repetitions up to this length cost nothing more; 0 can be said.
    pub dry_allowed_length: Option<u32>,
    /// How far back DRY looks; 0: as far as there is text.
    pub dry_last_n: u32,
    /// The temperature moves so far up and down with the entropy; 0: it stays.
    pub dynatemp_range: f64,
    /// Of the entropy's share of the largest; 0 can be said.
    pub dynatemp_exponent: Option<f64>,
    /// Version of Mirostat; 0: none (0, 1, 2).
    pub mirostat: u32,
    /// Likeliest tokens that version 1 estimates from.
    pub mirostat_m: u32,
    /// Bits of surprise that Mirostat aims at; 0 can be said.
    pub mirostat_tau: Option<f64>,
    /// How fast Mirostat follows; 0 can be said.
    pub mirostat_eta: Option<f64>,
    /// Typical_p, top_p, min_p and XTC leave so many tokens at least.
    pub min_keep: u32,
    /// Names of the samplers in their order.
    pub order: Option<String>,
    /// Added to the logits of tokens.
    pub bias: Vec<(i32, f64)>,
    /// Texts that repetitions do not reach over.
    pub dry_breaker_texts: Vec<String>,
}

impl Sampling {
    pub(crate) fn fill(&self, c: &mut sys::sm_sampling, texts: &mut Texts) -> Result<()> {
        c.temperature = self.temperature;
        c.top_k = self.top_k;
        if let Some(value) = self.top_p {
            c.top_p = if value == 0.0 { sys::SM_ZERO } else { value };
        }
        c.min_p = self.min_p;
        c.repeat_penalty = self.repeat_penalty;
        c.presence_penalty = self.presence_penalty;
        c.frequency_penalty = self.frequency_penalty;
        if let Some(value) = self.penalty_last_n {
            c.penalty_last_n = if value == 0 { sys::SM_ZERO_U32 } else { value };
        }
        c.seed = self.seed;
        c.sequence = self.sequence;
        if let Some(value) = self.typical_p {
            c.typical_p = if value == 0.0 { sys::SM_ZERO } else { value };
        }
        c.top_a = self.top_a;
        c.top_n_sigma = self.top_n_sigma;
        c.xtc_probability = self.xtc_probability;
        if let Some(value) = self.xtc_threshold {
            c.xtc_threshold = if value == 0.0 { sys::SM_ZERO } else { value };
        }
        c.dry_multiplier = self.dry_multiplier;
        c.dry_base = self.dry_base;
        if let Some(value) = self.dry_allowed_length {
            c.dry_allowed_length = if value == 0 { sys::SM_ZERO_U32 } else { value };
        }
        c.dry_last_n = self.dry_last_n;
        c.dynatemp_range = self.dynatemp_range;
        if let Some(value) = self.dynatemp_exponent {
            c.dynatemp_exponent = if value == 0.0 { sys::SM_ZERO } else { value };
        }
        c.mirostat = self.mirostat;
        c.mirostat_m = self.mirostat_m;
        if let Some(value) = self.mirostat_tau {
            c.mirostat_tau = if value == 0.0 { sys::SM_ZERO } else { value };
        }
        if let Some(value) = self.mirostat_eta {
            c.mirostat_eta = if value == 0.0 { sys::SM_ZERO } else { value };
        }
        c.min_keep = self.min_keep;
        c.order = texts.optional("order", self.order.as_deref())?;
        Ok(())
    }
}

/// `sm_generate_options`: what is not set is the library's default.
#[derive(Clone, Default)]
pub struct GenerateOptions {
    /// Tokens to generate at most; 0: until the context is full.
    pub max_tokens: u32,
    /// Parse special tokens written in the prompt.
    pub parse_special: bool,
    /// Leave out the BOS token.
    pub no_bos: bool,
    /// Go on after the end of the text.
    pub ignore_end: bool,
    /// Compute guessed tokens together with the chosen one; ngram: guessed from the text so far.
    /// The result is the same (no, ngram).
    pub speculate: u32,
    /// Guessed at a time at most.
    pub draft_tokens: u32,
    /// When the context is full: stop; drop tokens and compute the rest again; drop them and keep
    /// the rest's keys and values; ask the program (stop, slide, sinks, ask).
    pub context_full: u32,
    /// First tokens that a full context keeps; 0: none, 4 of sinks.
    pub n_keep: u32,
    /// Dropped behind them at a time; 0: half of the others.
    pub n_drop: u32,
    /// Choose the prompt's last tokens anew where they are the beginning of longer ones.
    pub heal: bool,
    /// The text does not end before so many.
    pub min_tokens: u32,
    /// Likeliest tokens to tell the log-probabilities of, beside each that is chosen.
    pub n_logprobs: u32,
    /// Tell of the prompt's tokens, too, and of their log-probabilities.
    pub echo: bool,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the text.
    pub stop: Vec<String>,
    /// Texts that the text must not hold.
    pub ban: Vec<String>,
    /// What the text must match.
    pub constraint: Option<crate::Constraint>,
    /// Ends the call when it is set, beside the session's.
    pub cancel: Option<crate::Canceller>,
}

impl GenerateOptions {
    pub(crate) fn fill(&self, c: &mut sys::sm_generate_options, _texts: &mut Texts) -> Result<()> {
        c.max_tokens = self.max_tokens;
        c.parse_special = u32::from(self.parse_special);
        c.no_bos = u32::from(self.no_bos);
        c.ignore_end = u32::from(self.ignore_end);
        c.speculate = self.speculate;
        c.draft_tokens = self.draft_tokens;
        c.context_full = self.context_full;
        c.n_keep = self.n_keep;
        c.n_drop = self.n_drop;
        c.heal = u32::from(self.heal);
        c.min_tokens = self.min_tokens;
        c.n_logprobs = self.n_logprobs;
        c.echo = u32::from(self.echo);
        Ok(())
    }
}
