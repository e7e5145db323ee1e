package smallmind;

import java.util.List;

/**
 * A whole answer.
 *
 * @param json {@code {"message": …, "finish_reason": …, "usage": …}}
 */
public record Answer(String content, String reasoning, List<Delta> calls, String json) {}
