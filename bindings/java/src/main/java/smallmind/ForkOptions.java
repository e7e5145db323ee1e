package smallmind;

import static smallmind.Arena.u32;

import smallmind.abi.C;

/**
 * {@code sm_fork_options}: what is not set is the library's default.
 * Made by scripts/bindings.py: do not edit.
 */
public final class ForkOptions {
    private int nThreads;

    /**
     * Threads that compute; 0: as many as the session that is copied has.
     */
    public ForkOptions nThreads(long value) {
        nThreads = u32("n_threads", value);
        return this;
    }

    C.sm_fork_options fill(Arena arena) {
        C.sm_fork_options c = new C.sm_fork_options();
        c.struct_size = c.size();
        c.n_threads = nThreads;
        return c;
    }
}
