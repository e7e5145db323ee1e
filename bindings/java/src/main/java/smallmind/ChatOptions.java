package smallmind;

import smallmind.abi.C;

/** Options of an answer. */
public final class ChatOptions {
    private GenerateOptions generate = new GenerateOptions();
    private String tools;
    private String toolChoice;
    private String format;
    private String variables;
    private String template;

    public ChatOptions generate(GenerateOptions value) {
        generate = value;
        return this;
    }

    /** A JSON array as in OpenAI's API. */
    public ChatOptions tools(String json) {
        tools = json;
        return this;
    }

    /** "auto", "none", "required", or a tool's name; otherwise auto where there are tools. */
    public ChatOptions toolChoice(String value) {
        toolChoice = value;
        return this;
    }

    /** How the model writes calls; otherwise found from the template. */
    public ChatOptions format(String value) {
        format = value;
        return this;
    }

    /** More for the template, a JSON object. */
    public ChatOptions variables(String json) {
        variables = json;
        return this;
    }

    /** A variant of the model's template, or a layout; otherwise the model's own. */
    public ChatOptions template(String value) {
        template = value;
        return this;
    }

    GenerateOptions generate() {
        return generate;
    }

    byte[] toolsJson() {
        return Library.zeroEnded("tools", tools);
    }

    C.sm_chat_options chat(Arena arena) {
        C.sm_chat_options c = new C.sm_chat_options();
        c.struct_size = c.size();
        c.template_name = arena.zeroEnded(Arena.zeroEnded("template", template));
        return c;
    }

    C.sm_answer_options answer(C.sm_generate_options with, Arena arena) {
        C.sm_answer_options c = new C.sm_answer_options();
        c.struct_size = c.size();
        c.generate = arena.structs(with);
        c.tool_choice = arena.zeroEnded(Arena.zeroEnded("toolChoice", toolChoice));
        c.format = arena.zeroEnded(Arena.zeroEnded("format", format));
        c.variables = arena.zeroEnded(Arena.zeroEnded("variables", variables));
        return c;
    }
}
