package smallmind;

import smallmind.abi.C;

/**
 * What has become certain of an answer.
 *
 * @param kind {@code Constants.SM_DELTA_…}
 * @param text content, reasoning, or a call's arguments, a JSON object
 * @param name of a call
 * @param id of a call
 * @param json the same as a "delta" of OpenAI's chunks; at the end {@code {"message": …,
 *     "finish_reason": …, "usage": …}}
 */
public record Delta(int kind, String text, String name, String id, String json) {
    static Delta of(C.sm_delta c) {
        return new Delta(c.kind, Library.text(c.text, c.length), Library.text(c.name),
                Library.text(c.id), Library.text(c.json, c.json_length));
    }
}
