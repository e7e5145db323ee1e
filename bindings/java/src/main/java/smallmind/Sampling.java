package smallmind;

import static smallmind.Arena.u32;
import static smallmind.Arena.zeroEnded;

import smallmind.abi.C;

/**
 * {@code sm_sampling}: what is not set is the library's default.
 * Made by scripts/bindings.py: do not edit.
 */
public final class Sampling extends SamplingLists<Sampling> {
    private double temperature;
    private int topK;
    private double topP;
    private double minP;
    private double repeatPenalty;
    private double presencePenalty;
    private double frequencyPenalty;
    private int penaltyLastN;
    private long seed;
    private long sequence;
    private double typicalP;
    private double topA;
    private double topNSigma;
    private double xtcProbability;
    private double xtcThreshold;
    private double dryMultiplier;
    private double dryBase;
    private int dryAllowedLength;
    private int dryLastN;
    private double dynatempRange;
    private double dynatempExponent;
    private int mirostat;
    private int mirostatM;
    private double mirostatTau;
    private double mirostatEta;
    private int minKeep;
    private String order;

    /**
     * 0 takes the likeliest token, more is more random.
     */
    public Sampling temperature(double value) {
        temperature = value;
        return this;
    }

    /**
     * Keep the k likeliest; 0: all.
     */
    public Sampling topK(long value) {
        topK = u32("top_k", value);
        return this;
    }

    /**
     * Keep the smallest set of tokens with this probability; 0 can be said.
     */
    public Sampling topP(double value) {
        topP = value == 0 ? Constants.SM_ZERO : value;
        return this;
    }

    /**
     * Drop tokens less likely than this share of the likeliest one's probability.
     */
    public Sampling minP(double value) {
        minP = value;
        return this;
    }

    /**
     * Divides the logits of tokens that occurred; 1: none.
     */
    public Sampling repeatPenalty(double value) {
        repeatPenalty = value;
        return this;
    }

    /**
     * Subtracted once from tokens that occurred.
     */
    public Sampling presencePenalty(double value) {
        presencePenalty = value;
        return this;
    }

    /**
     * Subtracted for each time that a token occurred.
     */
    public Sampling frequencyPenalty(double value) {
        frequencyPenalty = value;
        return this;
    }

    /**
     * How far back the penalties look; 0 can be said.
     */
    public Sampling penaltyLastN(long value) {
        penaltyLastN = value == 0 ? Constants.SM_ZERO_U32 : u32("penalty_last_n", value);
        return this;
    }

    /**
     * Same seed, same tokens.
     */
    public Sampling seed(long value) {
        seed = value;
        return this;
    }

    /**
     * Tells apart sequences drawn with one seed.
     */
    public Sampling sequence(long value) {
        sequence = value;
        return this;
    }

    /**
     * Keep the tokens whose information is nearest to the entropy, with this probability; 0 can be
     * said.
     */
    public Sampling typicalP(double value) {
        typicalP = value == 0 ? Constants.SM_ZERO : value;
        return this;
    }

    /**
     * Drop tokens below this times the square of the likeliest one's probability.
     */
    public Sampling topA(double value) {
        topA = value;
        return this;
    }

    /**
     * Drop logits more than so many standard deviations below the largest; 0: none.
     */
    public Sampling topNSigma(double value) {
        topNSigma = value;
        return this;
    }

    /**
     * How often to drop the likeliest tokens but the last of those above the threshold.
     */
    public Sampling xtcProbability(double value) {
        xtcProbability = value;
        return this;
    }

    /**
     * Probability from which XTC drops tokens; 0 can be said.
     */
    public Sampling xtcThreshold(double value) {
        xtcThreshold = value == 0 ? Constants.SM_ZERO : value;
        return this;
    }

    /**
     * Penalty of a token that would go on with a repetition; 0: none.
     */
    public Sampling dryMultiplier(double value) {
        dryMultiplier = value;
        return this;
    }

    /**
     * The penalty's growth with each token repeated.
     */
    public Sampling dryBase(double value) {
        dryBase = value;
        return this;
    }

    /**
     * Repetitions up to this length cost nothing more; 0 can be said.
     */
    public Sampling dryAllowedLength(long value) {
        dryAllowedLength = value == 0 ? Constants.SM_ZERO_U32 : u32("dry_allowed_length", value);
        return this;
    }

    /**
     * How far back DRY looks; 0: as far as there is text.
     */
    public Sampling dryLastN(long value) {
        dryLastN = u32("dry_last_n", value);
        return this;
    }

    /**
     * The temperature moves so far up and down with the entropy; 0: it stays.
     */
    public Sampling dynatempRange(double value) {
        dynatempRange = value;
        return this;
    }

    /**
     * Of the entropy's share of the largest; 0 can be said.
     */
    public Sampling dynatempExponent(double value) {
        dynatempExponent = value == 0 ? Constants.SM_ZERO : value;
        return this;
    }

    /**
     * Version of Mirostat; 0: none (0, 1, 2).
     */
    public Sampling mirostat(long value) {
        mirostat = u32("mirostat", value);
        return this;
    }

    /**
     * Likeliest tokens that version 1 estimates from.
     */
    public Sampling mirostatM(long value) {
        mirostatM = u32("mirostat_m", value);
        return this;
    }

    /**
     * Bits of surprise that Mirostat aims at; 0 can be said.
     */
    public Sampling mirostatTau(double value) {
        mirostatTau = value == 0 ? Constants.SM_ZERO : value;
        return this;
    }

    /**
     * How fast Mirostat follows; 0 can be said.
     */
    public Sampling mirostatEta(double value) {
        mirostatEta = value == 0 ? Constants.SM_ZERO : value;
        return this;
    }

    /**
     * Typical_p, top_p, min_p and XTC leave so many tokens at least.
     */
    public Sampling minKeep(long value) {
        minKeep = u32("min_keep", value);
        return this;
    }

    /**
     * Names of the samplers in their order.
     */
    public Sampling order(String value) {
        order = zeroEnded("order", value);
        return this;
    }

    C.sm_sampling fill(Arena arena) {
        C.sm_sampling c = new C.sm_sampling();
        c.struct_size = c.size();
        c.temperature = temperature;
        c.top_k = topK;
        c.top_p = topP;
        c.min_p = minP;
        c.repeat_penalty = repeatPenalty;
        c.presence_penalty = presencePenalty;
        c.frequency_penalty = frequencyPenalty;
        c.penalty_last_n = penaltyLastN;
        c.seed = seed;
        c.sequence = sequence;
        c.typical_p = typicalP;
        c.top_a = topA;
        c.top_n_sigma = topNSigma;
        c.xtc_probability = xtcProbability;
        c.xtc_threshold = xtcThreshold;
        c.dry_multiplier = dryMultiplier;
        c.dry_base = dryBase;
        c.dry_allowed_length = dryAllowedLength;
        c.dry_last_n = dryLastN;
        c.dynatemp_range = dynatempRange;
        c.dynatemp_exponent = dynatempExponent;
        c.mirostat = mirostat;
        c.mirostat_m = mirostatM;
        c.mirostat_tau = mirostatTau;
        c.mirostat_eta = mirostatEta;
        c.min_keep = minKeep;
        c.order = arena.zeroEnded(order);
        lists(c, arena);
        return c;
    }
}
