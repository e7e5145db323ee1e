package smallmind;

import com.sun.jna.Pointer;
import java.util.ArrayList;
import java.util.List;
import smallmind.abi.C;

/**
 * A generated piece.
 *
 * @param id -1 where only text comes that had been waiting
 * @param logprob natural, under the model's own distribution
 * @param text whole characters; may be empty
 * @param top the likeliest, best first: option {@code nLogprobs}
 * @param inPrompt with option {@code echo}
 */
public record Token(int id, double logprob, String text, List<Likely> top, boolean inPrompt) {
    /** A token that is likely, and how. */
    public record Likely(int id, double logprob) {}

    static Token of(C.sm_token c) {
        List<Likely> top = new ArrayList<>();
        long size = c.n_top == 0 ? 0 : new C.sm_token_logprob().size();
        for (int i = 0; i < c.n_top; i++) {
            Pointer at = c.top.share(i * size);
            C.sm_token_logprob one = new C.sm_token_logprob(at);
            top.add(new Likely(one.id, one.logprob));
        }
        return new Token(c.id, c.logprob, Library.text(c.text, c.length), List.copyOf(top),
                c.in_prompt != 0);
    }
}
