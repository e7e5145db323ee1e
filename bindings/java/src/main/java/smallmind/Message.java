package smallmind;

import java.util.List;
import java.util.stream.Collectors;

/** One of a conversation. What else OpenAI's messages have goes down as JSON. */
public record Message(String role, String content) {
    public static Message system(String content) {
        return new Message("system", content);
    }

    public static Message user(String content) {
        return new Message("user", content);
    }

    public static Message assistant(String content) {
        return new Message("assistant", content);
    }

    /** The JSON array that chats take. */
    public static String json(List<Message> messages) {
        return messages.stream()
                .map(m -> "{\"role\":" + quoted(m.role) + ",\"content\":" + quoted(m.content) + "}")
                .collect(Collectors.joining(",", "[", "]"));
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }
}
