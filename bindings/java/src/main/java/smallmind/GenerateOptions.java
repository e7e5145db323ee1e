package smallmind;

import static smallmind.Arena.u32;

import smallmind.abi.C;

/**
 * {@code sm_generate_options}: what is not set is the library's default.
 * Made by scripts/bindings.py: do not edit.
 */
public final class GenerateOptions extends TextLists<GenerateOptions> {
    private int maxTokens;
    private int parseSpecial;
    private int noBos;
    private int ignoreEnd;
    private int speculate;
    private int draftTokens;
    private int contextFull;
    private int nKeep;
    private int nDrop;
    private int heal;
    private int minTokens;
    private int nLogprobs;
    private int echo;

    /**
     * Tokens to generate at most; 0: until the context is full.
     */
    public GenerateOptions maxTokens(long value) {
        maxTokens = u32("max_tokens", value);
        return this;
    }

    /**
     * Parse special tokens written in the prompt.
     */
    public GenerateOptions parseSpecial(boolean value) {
        parseSpecial = value ? 1 : 0;
        return this;
    }

    /**
     * Leave out the BOS token.
     */
    public GenerateOptions noBos(boolean value) {
        noBos = value ? 1 : 0;
        return this;
    }

    /**
     * Go on after the end of the text.
     */
    public GenerateOptions ignoreEnd(boolean value) {
        ignoreEnd = value ? 1 : 0;
        return this;
    }

    /** Of {@link #speculate}. */
    public enum Speculate { NO, NGRAM }

    /**
     * Compute guessed tokens together with the chosen one; ngram: guessed from the text so far. The
     * result is the same (no, ngram).
     */
    public GenerateOptions speculate(Speculate value) {
        speculate = value.ordinal();
        return this;
    }

    /**
     * Guessed at a time at most.
     */
    public GenerateOptions draftTokens(long value) {
        draftTokens = u32("draft_tokens", value);
        return this;
    }

    /** Of {@link #contextFull}. */
    public enum ContextFull { STOP, SLIDE, SINKS, ASK }

    /**
     * When the context is full: stop; drop tokens and compute the rest again; drop them and keep
     * the rest's keys and values; ask the program (stop, slide, sinks, ask).
     */
    public GenerateOptions contextFull(ContextFull value) {
        contextFull = value.ordinal();
        return this;
    }

    /**
     * First tokens that a full context keeps; 0: none, 4 of sinks.
     */
    public GenerateOptions nKeep(long value) {
        nKeep = u32("n_keep", value);
        return this;
    }

    /**
     * Dropped behind them at a time; 0: half of the others.
     */
    public GenerateOptions nDrop(long value) {
        nDrop = u32("n_drop", value);
        return this;
    }

    /**
     * Choose the prompt's last tokens anew where they are the beginning of longer ones.
     */
    public GenerateOptions heal(boolean value) {
        heal = value ? 1 : 0;
        return this;
    }

    /**
     * The text does not end before so many.
     */
    public GenerateOptions minTokens(long value) {
        minTokens = u32("min_tokens", value);
        return this;
    }

    /**
     * Likeliest tokens to tell the log-probabilities of, beside each that is chosen.
     */
    public GenerateOptions nLogprobs(long value) {
        nLogprobs = u32("n_logprobs", value);
        return this;
    }

    /**
     * Tell of the prompt's tokens, too, and of their log-probabilities.
     */
    public GenerateOptions echo(boolean value) {
        echo = value ? 1 : 0;
        return this;
    }

    C.sm_generate_options fill(Arena arena) {
        C.sm_generate_options c = new C.sm_generate_options();
        c.struct_size = c.size();
        c.max_tokens = maxTokens;
        c.parse_special = parseSpecial;
        c.no_bos = noBos;
        c.ignore_end = ignoreEnd;
        c.speculate = speculate;
        c.draft_tokens = draftTokens;
        c.context_full = contextFull;
        c.n_keep = nKeep;
        c.n_drop = nDrop;
        c.heal = heal;
        c.min_tokens = minTokens;
        c.n_logprobs = nLogprobs;
        c.echo = echo;
        lists(c, arena);
        return c;
    }
}
