package smallmind;


import smallmind.abi.C;

/**
 * {@code sm_model_options}: what is not set is the library's default.
 * Made by scripts/bindings.py: do not edit.
 */
public final class ModelOptions extends Loading<ModelOptions> {
    private int io;
    private int level;
    private int repack;
    private long memoryLimit;
    private int activations;

    /** Of {@link #io}. */
    public enum Io { MAP, READ }

    /**
     * How the file is read (map, read).
     */
    public ModelOptions io(Io value) {
        io = value.ordinal();
        return this;
    }

    /** Of {@link #level}. */
    public enum Level { AUTO, SCALAR, AVX2, AVX512, NEON, DOTPROD, AVXVNNI, I8MM, AVX512BF16 }

    /**
     * Highest instruction-set level to use (auto, scalar, avx2, avx512, neon, dotprod, avxvnni,
     * i8mm, avx512bf16).
     */
    public ModelOptions level(Level value) {
        level = value.ordinal();
        return this;
    }

    /** Of {@link #repack}. */
    public enum Repack { LAZY, NONE }

    /**
     * Copy weights into the layout the kernels like at first use, or never (lazy, none).
     */
    public ModelOptions repack(Repack value) {
        repack = value.ordinal();
        return this;
    }

    /**
     * Heap of the model and its sessions together; 0: no limit.
     */
    public ModelOptions memoryLimit(long value) {
        memoryLimit = value;
        return this;
    }

    /** Of {@link #activations}. */
    public enum Activations { FAST, FLOAT }

    /**
     * What weights multiply: rounded to 8 bits beside quantized ones, or f32 beside all (slow)
     * (fast, float).
     */
    public ModelOptions activations(Activations value) {
        activations = value.ordinal();
        return this;
    }

    C.sm_model_options fill(Arena arena) {
        C.sm_model_options c = new C.sm_model_options();
        c.struct_size = c.size();
        c.io = io;
        c.level = level;
        c.repack = repack;
        c.memory_limit = memoryLimit;
        c.activations = activations;
        lists(c, arena);
        return c;
    }
}
