package smallmind;

/**
 * About the last text that was generated.
 *
 * @param finish {@code Constants.SM_FINISH_…}
 */
public record Stats(int finish, int promptTokens, int reusedTokens, int generatedTokens,
        double promptSeconds, double firstTokenSeconds, double generateSeconds) {}
