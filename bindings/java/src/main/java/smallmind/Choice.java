package smallmind;

/**
 * A token that was chosen.
 *
 * @param logprob natural, under the model's own distribution
 * @param rank how many tokens were likelier
 */
public record Choice(int id, double logprob, long rank) {}
