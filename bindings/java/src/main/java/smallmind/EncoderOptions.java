package smallmind;

import static smallmind.Arena.u32;
import static smallmind.Arena.zeroEnded;

import smallmind.abi.C;

/**
 * {@code sm_encoder_options}: what is not set is the library's default.
 * Made by scripts/bindings.py: do not edit.
 */
public final class EncoderOptions {
    private int nThreads;
    private int maxTokens;
    private int nBatch;
    private int pooling;
    private int longTexts;
    private int nDims;
    private int raw;
    private String prefix;
    private String prompt;

    /**
     * Threads that compute; 0: all CPUs of the process, 8 at most.
     */
    public EncoderOptions nThreads(long value) {
        nThreads = u32("n_threads", value);
        return this;
    }

    /**
     * Of a text at most; 0: what the model was trained with, 8192 at most.
     */
    public EncoderOptions maxTokens(long value) {
        maxTokens = u32("max_tokens", value);
        return this;
    }

    /**
     * Computed together at most; 0: 512; max_tokens if that is more.
     */
    public EncoderOptions nBatch(long value) {
        nBatch = u32("n_batch", value);
        return this;
    }

    /** Of {@link #pooling}. */
    public enum Pooling { MODEL, MEAN, FIRST, LAST }

    /**
     * What is made of a text's tokens; model: what its file says (model, mean, first, last).
     */
    public EncoderOptions pooling(Pooling value) {
        pooling = value.ordinal();
        return this;
    }

    /** Of {@link #longTexts}. */
    public enum LongTexts { CUT, REFUSE, WINDOWS }

    /**
     * What becomes of texts of more than max_tokens (cut, refuse, windows).
     */
    public EncoderOptions longTexts(LongTexts value) {
        longTexts = value.ordinal();
        return this;
    }

    /**
     * Elements of a vector, the first ones; 0: all.
     */
    public EncoderOptions nDims(long value) {
        nDims = u32("n_dims", value);
        return this;
    }

    /**
     * Vectors are not divided by their length.
     */
    public EncoderOptions raw(boolean value) {
        raw = value ? 1 : 0;
        return this;
    }

    /**
     * Put before every text.
     */
    public EncoderOptions prefix(String value) {
        prefix = zeroEnded("prefix", value);
        return this;
    }

    /**
     * The prefix that the model's directory calls so.
     */
    public EncoderOptions prompt(String value) {
        prompt = zeroEnded("prompt", value);
        return this;
    }

    C.sm_encoder_options fill(Arena arena) {
        C.sm_encoder_options c = new C.sm_encoder_options();
        c.struct_size = c.size();
        c.n_threads = nThreads;
        c.max_tokens = maxTokens;
        c.n_batch = nBatch;
        c.pooling = pooling;
        c.long_texts = longTexts;
        c.n_dims = nDims;
        c.raw = raw;
        c.prefix = arena.zeroEnded(prefix);
        c.prompt = arena.zeroEnded(prompt);
        return c;
    }
}
