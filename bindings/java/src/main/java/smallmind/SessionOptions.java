package smallmind;

import static smallmind.Arena.u32;

import smallmind.abi.C;

/**
 * {@code sm_session_options}: what is not set is the library's default.
 * Made by scripts/bindings.py: do not edit.
 */
public final class SessionOptions {
    private int nCtx;
    private int nThreads;
    private int nBatch;
    private int kvType;
    private int pin;
    private int kvKeep;

    /**
     * Tokens the session can hold; 0: the model's training context, 4096 at most.
     */
    public SessionOptions nCtx(long value) {
        nCtx = u32("n_ctx", value);
        return this;
    }

    /**
     * Threads that compute; 0: all CPUs of the process, 8 at most.
     */
    public SessionOptions nThreads(long value) {
        nThreads = u32("n_threads", value);
        return this;
    }

    /**
     * Tokens computed together at most.
     */
    public SessionOptions nBatch(long value) {
        nBatch = u32("n_batch", value);
        return this;
    }

    /** Of {@link #kvType}. */
    public enum KvType { F16, F32, BF16, Q8_0, Q4_0, Q5_0, IQ4_NL }

    /**
     * Number format of the key/value cache (f16, f32, bf16, q8_0, q4_0, q5_0, iq4_nl).
     */
    public SessionOptions kvType(KvType value) {
        kvType = value.ordinal();
        return this;
    }

    /**
     * Keep each thread but the caller's on a CPU of its own.
     */
    public SessionOptions pin(boolean value) {
        pin = value ? 1 : 0;
        return this;
    }

    /** Of {@link #kvKeep}. */
    public enum KvKeep { WINDOW, ALL }

    /**
     * What layers with a window keep of keys and values: the window and one batch, or all (window,
     * all).
     */
    public SessionOptions kvKeep(KvKeep value) {
        kvKeep = value.ordinal();
        return this;
    }

    C.sm_session_options fill(Arena arena) {
        C.sm_session_options c = new C.sm_session_options();
        c.struct_size = c.size();
        c.n_ctx = nCtx;
        c.n_threads = nThreads;
        c.n_batch = nBatch;
        c.kv_type = kvType;
        c.pin = pin;
        c.kv_keep = kvKeep;
        return c;
    }
}
