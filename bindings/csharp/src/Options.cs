// Options of libsmallmind.
// Made by scripts/bindings.py: do not edit.

using SmallMind.Abi;

namespace SmallMind
{
    /// <summary>Of options Io.</summary>
    public enum Io { Map, Read }

    /// <summary>Of options Level.</summary>
    public enum Level { Auto, Scalar, AVX2, AVX512, Neon, Dotprod, Avxvnni, I8MM, AVX512BF16 }

    /// <summary>Of options Repack.</summary>
    public enum Repack { Lazy, None }

    /// <summary>Of options Activations.</summary>
    public enum Activations { Fast, Float }

    /// <summary>
    /// sm_model_options: what is not set is the library's default.
    /// </summary>
    public sealed partial class ModelOptions
    {
        /// <summary>
        /// How the file is read (map, read).
        /// </summary>
        public Io Io { get; set; }

        /// <summary>
        /// Highest instruction-set level to use (auto, scalar, avx2, avx512, neon, dotprod,
        /// avxvnni, i8mm, avx512bf16).
        /// </summary>
        public Level Level { get; set; }

        /// <summary>
        /// Copy weights into the layout the kernels like at first use, or never (lazy, none).
        /// </summary>
        public Repack Repack { get; set; }

        /// <summary>
        /// Heap of the model and its sessions together; 0: no limit.
        /// </summary>
        public ulong MemoryLimit { get; set; }

        /// <summary>
        /// What weights multiply: rounded to 8 bits beside quantized ones, or f32 beside all (slow)
        /// (fast, float).
        /// </summary>
        public Activations Activations { get; set; }

        internal unsafe sm_model_options* Fill(Arena arena)
        {
            var c = (sm_model_options*)arena.Take(sizeof(sm_model_options));
            c->struct_size = (uint)sizeof(sm_model_options);
            c->io = (uint)Io;
            c->level = (uint)Level;
            c->repack = (uint)Repack;
            c->memory_limit = MemoryLimit;
            c->activations = (uint)Activations;
            return c;
        }
    }

    /// <summary>Of options KvType.</summary>
    public enum KvType { F16, F32, BF16, Q8_0, Q4_0, Q5_0, IQ4_NL }

    /// <summary>Of options KvKeep.</summary>
    public enum KvKeep { Window, All }

    /// <summary>
    /// sm_session_options: what is not set is the library's default.
    /// </summary>
    public sealed partial class SessionOptions
    {
        /// <summary>
        /// Tokens the session can hold; 0: the model's training context, 4096 at most.
        /// </summary>
        public uint NCtx { get; set; }

        /// <summary>
        /// Threads that compute; 0: all CPUs of the process, 8 at most.
        /// </summary>
        public uint NThreads { get; set; }

        /// <summary>
        /// Tokens computed together at most.
        /// </summary>
        public uint NBatch { get; set; }

        /// <summary>
        /// Number format of the key/value cache (f16, f32, bf16, q8_0, q4_0, q5_0, iq4_nl).
        /// </summary>
        public KvType KvType { get; set; }

        /// <summary>
        /// Keep each thread but the caller's on a CPU of its own.
        /// </summary>
        public bool Pin { get; set; }

        /// <summary>
        /// What layers with a window keep of keys and values: the window and one batch, or all
        /// (window, all).
        /// </summary>
        public KvKeep KvKeep { get; set; }

        internal unsafe sm_session_options* Fill(Arena arena)
        {
            var c = (sm_session_options*)arena.Take(sizeof(sm_session_options));
            c->struct_size = (uint)sizeof(sm_session_options);
            c->n_ctx = NCtx;
            c->n_threads = NThreads;
            c->n_batch = NBatch;
            c->kv_type = (uint)KvType;
            c->pin = Pin ? 1u : 0u;
            c->kv_keep = (uint)KvKeep;
            return c;
        }
    }

    /// <summary>
    /// sm_fork_options: what is not set is the library's default.
    /// </summary>
    public sealed partial class ForkOptions
    {
        /// <summary>
        /// Threads that compute; 0: as many as the session that is copied has.
        /// </summary>
        public uint NThreads { get; set; }

        internal unsafe sm_fork_options* Fill(Arena arena)
        {
            var c = (sm_fork_options*)arena.Take(sizeof(sm_fork_options));
            c->struct_size = (uint)sizeof(sm_fork_options);
            c->n_threads = NThreads;
            return c;
        }
    }

    /// <summary>Of options Pooling.</summary>
    public enum Pooling { Model, Mean, First, Last }

    /// <summary>Of options LongTexts.</summary>
    public enum LongTexts { Cut, Refuse, Windows }

    /// <summary>
    /// sm_encoder_options: what is not set is the library's default.
    /// </summary>
    public sealed partial class EncoderOptions
    {
        /// <summary>
        /// Threads that compute; 0: all CPUs of the process, 8 at most.
        /// </summary>
        public uint NThreads { get; set; }

        /// <summary>
        /// Of a text at most; 0: what the model was trained with, 8192 at most.
        /// </summary>
        public uint MaxTokens { get; set; }

        /// <summary>
        /// Computed together at most; 0: 512; max_tokens if that is more.
        /// </summary>
        public uint NBatch { get; set; }

        /// <summary>
        /// What is made of a text's tokens; model: what its file says (model, mean, first, last).
        /// </summary>
        public Pooling Pooling { get; set; }

        /// <summary>
        /// What becomes of texts of more than max_tokens (cut, refuse, windows).
        /// </summary>
        public LongTexts LongTexts { get; set; }

        /// <summary>
        /// Elements of a vector, the first ones; 0: all.
        /// </summary>
        public uint NDims { get; set; }

        /// <summary>
        /// Vectors are not divided by their length.
        /// </summary>
        public bool Raw { get; set; }

        /// <summary>
        /// Put before every text.
        /// </summary>
        public string Prefix { get; set; }

        /// <summary>
        /// The prefix that the model's directory calls so.
        /// </summary>
        public string Prompt { get; set; }

        internal unsafe sm_encoder_options* Fill(Arena arena)
        {
            var c = (sm_encoder_options*)arena.Take(sizeof(sm_encoder_options));
            c->struct_size = (uint)sizeof(sm_encoder_options);
            c->n_threads = NThreads;
            c->max_tokens = MaxTokens;
            c->n_batch = NBatch;
            c->pooling = (uint)Pooling;
            c->long_texts = (uint)LongTexts;
            c->n_dims = NDims;
            c->raw = Raw ? 1u : 0u;
            c->prefix = arena.ZeroEnded(nameof(Prefix), Prefix);
            c->prompt = arena.ZeroEnded(nameof(Prompt), Prompt);
            return c;
        }
    }

    /// <summary>
    /// sm_sampling: what is not set is the library's default.
    /// </summary>
    public sealed partial class Sampling
    {
        /// <summary>
        /// 0 takes the likeliest token, more is more random.
        /// </summary>
        public double Temperature { get; set; }

        /// <summary>
        /// Keep the k likeliest; 0: all.
        /// </summary>
        public uint TopK { get; set; }

        /// <summary>
        /// Keep the smallest set of tokens with this probability; null: the default, 0 is 0.
        /// </summary>
        public double? TopP { get; set; }

        /// <summary>
        /// Drop tokens less likely than this share of the likeliest one's probability.
        /// </summary>
        public double MinP { get; set; }

        /// <summary>
        /// Divides the logits of tokens that occurred; 1: none.
        /// </summary>
        public double RepeatPenalty { get; set; }

        /// <summary>
        /// Subtracted once from tokens that occurred.
        /// </summary>
        public double PresencePenalty { get; set; }

        /// <summary>
        /// Subtracted for each time that a token occurred.
        /// </summary>
        public double FrequencyPenalty { get; set; }

        /// <summary>
        /// How far back the penalties look; null: the default, 0 is 0.
        /// </summary>
        public uint? PenaltyLastN { get; set; }

        /// <summary>
        /// Same seed, same tokens.
        /// </summary>
        public ulong Seed { get; set; }

        /// <summary>
        /// Tells apart sequences drawn with one seed.
        /// </summary>
        public ulong Sequence { get; set; }

        /// <summary>
        /// Keep the tokens whose information is nearest to the entropy, with this probability;
        /// null: the default, 0 is 0.
        /// </summary>
        public double? TypicalP { get; set; }

        /// <summary>
        /// Drop tokens below this times the square of the likeliest one's probability.
        /// </summary>
        public double TopA { get; set; }

        /// <summary>
        /// Drop logits more than so many standard deviations below the largest; 0: none.
        /// </summary>
        public double TopNSigma { get; set; }

        /// <summary>
        /// How often to drop the likeliest tokens but the last of those above the threshold.
        /// </summary>
        public double XtcProbability { get; set; }

        /// <summary>
        /// Probability from which XTC drops tokens; null: the default, 0 is 0.
        /// </summary>
        public double? XtcThreshold { get; set; }

        /// <summary>
        /// Penalty of a token that would go on with a repetition; 0: none.
        /// </summary>
        public double DryMultiplier { get; set; }

        /// <summary>
        /// The penalty's growth with each token repeated.
        /// </summary>
        public double DryBase { get; set; }

        /// <summary>
        /// Repetitions up to this length cost nothing more; null: the default, 0 is 0.
        /// </summary>
        public uint? DryAllowedLength { get; set; }

        /// <summary>
        /// How far back DRY looks; 0: as far as there is text.
        /// </summary>
        public uint DryLastN { get; set; }

        /// <summary>
        /// The temperature moves so far up and down with the entropy; 0: it stays.
        /// </summary>
        public double DynatempRange { get; set; }

        /// <summary>
        /// Of the entropy's share of the largest; null: the default, 0 is 0.
        /// </summary>
        public double? DynatempExponent { get; set; }

        /// <summary>
        /// Version of Mirostat; 0: none (0, 1, 2).
        /// </summary>
        public uint Mirostat { get; set; }

        /// <summary>
        /// Likeliest tokens that version 1 estimates from.
        /// </summary>
        public uint MirostatM { get; set; }

        /// <summary>
        /// Bits of surprise that Mirostat aims at; null: the default, 0 is 0.
        /// </summary>
        public double? MirostatTau { get; set; }

        /// <summary>
        /// How fast Mirostat follows; null: the default, 0 is 0.
        /// </summary>
        public double? MirostatEta { get; set; }

        /// <summary>
        /// Typical_p, top_p, min_p and XTC leave so many tokens at least.
        /// </summary>
        public uint MinKeep { get; set; }

        /// <summary>
        /// Names of the samplers in their order.
        /// </summary>
        public string Order { get; set; }

        internal unsafe sm_sampling* Fill(Arena arena)
        {
            var c = (sm_sampling*)arena.Take(sizeof(sm_sampling));
            c->struct_size = (uint)sizeof(sm_sampling);
            c->temperature = Temperature;
            c->top_k = TopK;
            c->top_p = TopP == 0 ? Constants.SM_ZERO : TopP ?? 0;
            c->min_p = MinP;
            c->repeat_penalty = RepeatPenalty;
            c->presence_penalty = PresencePenalty;
            c->frequency_penalty = FrequencyPenalty;
            c->penalty_last_n = PenaltyLastN == 0 ? Constants.SM_ZERO_U32 : PenaltyLastN ?? 0;
            c->seed = Seed;
            c->sequence = Sequence;
            c->typical_p = TypicalP == 0 ? Constants.SM_ZERO : TypicalP ?? 0;
            c->top_a = TopA;
            c->top_n_sigma = TopNSigma;
            c->xtc_probability = XtcProbability;
            c->xtc_threshold = XtcThreshold == 0 ? Constants.SM_ZERO : XtcThreshold ?? 0;
            c->dry_multiplier = DryMultiplier;
            c->dry_base = DryBase;
            c->dry_allowed_length = DryAllowedLength == 0 ? Constants.SM_ZERO_U32 : DryAllowedLength ?? 0;
            c->dry_last_n = DryLastN;
            c->dynatemp_range = DynatempRange;
            c->dynatemp_exponent = DynatempExponent == 0 ? Constants.SM_ZERO : DynatempExponent ?? 0;
            c->mirostat = (uint)Mirostat;
            c->mirostat_m = MirostatM;
            c->mirostat_tau = MirostatTau == 0 ? Constants.SM_ZERO : MirostatTau ?? 0;
            c->mirostat_eta = MirostatEta == 0 ? Constants.SM_ZERO : MirostatEta ?? 0;
            c->min_keep = MinKeep;
            c->order = arena.ZeroEnded(nameof(Order), Order);
            Lists(c, arena);
            return c;
        }
    }

    /// <summary>Of options Speculate.</summary>
    public enum Speculate { No, Ngram }

    /// <summary>Of options ContextFull.</summary>
    public enum ContextFull { Stop, Slide, Sinks, Ask }

    /// <summary>
    /// sm_generate_options: what is not set is the library's default.
    /// </summary>
    public sealed partial class GenerateOptions
    {
        /// <summary>
        /// Tokens to generate at most; 0: until the context is full.
        /// </summary>
        public uint MaxTokens { get; set; }

        /// <summary>
        /// Parse special tokens written in the prompt.
        /// </summary>
        public bool ParseSpecial { get; set; }

        /// <summary>
        /// Leave out the BOS token.
        /// </summary>
        public bool NoBos { get; set; }

        /// <summary>
        /// Go on after the end of the text.
        /// </summary>
        public bool IgnoreEnd { get; set; }

        /// <summary>
        /// Compute guessed tokens together with the chosen one; ngram: guessed from the text so
        /// far. The result is the same (no, ngram).
        /// </summary>
        public Speculate Speculate { get; set; }

        /// <summary>
        /// Guessed at a time at most.
        /// </summary>
        public uint DraftTokens { get; set; }

        /// <summary>
        /// When the context is full: stop; drop tokens and compute the rest again; drop them and
        /// keep the rest's keys and values; ask the program (stop, slide, sinks, ask).
        /// </summary>
        public ContextFull ContextFull { get; set; }

        /// <summary>
        /// First tokens that a full context keeps; 0: none, 4 of sinks.
        /// </summary>
        public uint NKeep { get; set; }

        /// <summary>
        /// Dropped behind them at a time; 0: half of the others.
        /// </summary>
        public uint NDrop { get; set; }

        /// <summary>
        /// Choose the prompt's last tokens anew where they are the beginning of longer ones.
        /// </summary>
        public bool Heal { get; set; }

        /// <summary>
        /// The text does not end before so many.
        /// </summary>
        public uint MinTokens { get; set; }

        /// <summary>
        /// Likeliest tokens to tell the log-probabilities of, beside each that is chosen.
        /// </summary>
        public uint NLogprobs { get; set; }

        /// <summary>
        /// Tell of the prompt's tokens, too, and of their log-probabilities.
        /// </summary>
        public bool Echo { get; set; }

        internal unsafe sm_generate_options* Fill(Arena arena)
        {
            var c = (sm_generate_options*)arena.Take(sizeof(sm_generate_options));
            c->struct_size = (uint)sizeof(sm_generate_options);
            c->max_tokens = MaxTokens;
            c->parse_special = ParseSpecial ? 1u : 0u;
            c->no_bos = NoBos ? 1u : 0u;
            c->ignore_end = IgnoreEnd ? 1u : 0u;
            c->speculate = (uint)Speculate;
            c->draft_tokens = DraftTokens;
            c->context_full = (uint)ContextFull;
            c->n_keep = NKeep;
            c->n_drop = NDrop;
            c->heal = Heal ? 1u : 0u;
            c->min_tokens = MinTokens;
            c->n_logprobs = NLogprobs;
            c->echo = Echo ? 1u : 0u;
            Lists(c, arena);
            return c;
        }
    }
}
