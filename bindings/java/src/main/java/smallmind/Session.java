package smallmind;

import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import smallmind.abi.C;

/**
 * A sequence of tokens with a model. One call at a time: others get {@code SM_ERR_STATE}. Calls on
 * the caller's own thread that tell of pieces end where it is interrupted, with {@code
 * SM_ERR_CANCELLED}; {@link #cancel} ends any.
 */
public final class Session implements AutoCloseable {
    private final Core core;

    private Session(Core core) {
        this.core = core;
        Library.CLEANER.register(this, core.handle()::close);
    }

    /** Takes over a use of the model. */
    static Session of(Handle model, Core.Maker maker) {
        return new Session(Core.of(model, Library.C::sm_session_free, maker));
    }

    /** A second session with the same tokens, cache and logits. */
    public Session fork() {
        return fork(new ForkOptions());
    }

    public Session fork(ForkOptions options) {
        Session[] fork = new Session[1];
        core.run(new Ongoing(), (session, e) -> {
            core.model().again();
            fork[0] = of(core.model(), (made, flag, inner) -> {
                try (Arena arena = new Arena()) {
                    C.sm_fork_options c = options.fill(arena);
                    c.cancel_flag = flag;
                    return Library.C.sm_session_fork(made, session, c, inner);
                }
            });
            return Constants.SM_OK;
        });
        return fork[0];
    }

    /** How many tokens it holds; 0 of a closed one. */
    public int length() {
        Pointer session;
        try {
            session = core.handle().acquire();
        } catch (SmallmindException closed) {
            return 0;
        }
        try {
            return Library.C.sm_session_length(session);
        } finally {
            core.handle().release();
        }
    }

    /** The ids that it holds. */
    public int[] tokens() {
        Pointer session = core.handle().acquire();
        try {
            int[] ids = new int[Library.C.sm_session_length(session)];
            long[] n = new long[1];
            Library.call(e -> Library.C.sm_session_tokens(session, 0, ids, ids.length, n, e));
            return Arrays.copyOf(ids, (int) n[0]);
        } finally {
            core.handle().release();
        }
    }

    /** Appends tokens and computes them. */
    public void feed(int... ids) {
        core.run(new Ongoing(),
                (session, e) -> Library.C.sm_session_feed(session, ids, ids.length, e));
    }

    /** Makes it hold exactly these tokens; tells how many of them it held already. */
    public int sync(int... ids) {
        long[] reused = new long[1];
        core.run(new Ongoing(),
                (session, e) -> Library.C.sm_session_sync(session, ids, ids.length, reused, e));
        return (int) reused[0];
    }

    /** Forgets all tokens from a length on. */
    public void rewind(int length) {
        if (length < 0) {
            throw new IllegalArgumentException("length is " + length);
        }
        core.run(new Ongoing(), (session, e) -> Library.C.sm_session_rewind(session, length, e));
    }

    /** Those after the last token: a copy. */
    public float[] logits() {
        PointerByReference first = new PointerByReference();
        long[] n = new long[1];
        Pointer session = core.handle().acquire();
        try {
            Library.call(e -> Library.C.sm_session_logits(session, first, n, e));
            return first.getValue().getFloatArray(0, (int) n[0]);
        } finally {
            core.handle().release();
        }
    }

    /** Chooses the likeliest next token. */
    public Choice sample() {
        return sample(new Sampling());
    }

    public Choice sample(Sampling sampling) {
        C.sm_choice c = new C.sm_choice();
        c.struct_size = c.size();
        try (Arena arena = new Arena()) {
            C.sm_sampling how = sampling.fill(arena);
            core.run(new Ongoing(),
                    (session, e) -> Library.C.sm_session_sample(session, how, c, e));
        }
        return new Choice(c.id, c.logprob, c.rank);
    }

    /** About the last text that was generated. */
    public Stats stats() {
        C.sm_generate_stats c = new C.sm_generate_stats();
        c.struct_size = c.size();
        Pointer session = core.handle().acquire();
        try {
            Library.call(e -> Library.C.sm_session_get_stats(session, c, e));
        } finally {
            core.handle().release();
        }
        return new Stats(c.finish, c.prompt_tokens, c.reused_tokens, c.generated_tokens,
                c.prompt_seconds, c.first_token_seconds, c.generate_seconds);
    }

    // Texts

    /** Continues a text on the caller's thread; what {@code told} throws ends it and comes out. */
    public void generate(String prompt, GenerateOptions options, Consumer<Token> told) {
        generate(core, prompt, options, new Ongoing(), told);
    }

    /** The same, piece by piece. */
    public Pieces<Token> stream(String prompt, GenerateOptions options) {
        Core used = core;
        return Pieces.of((call, told) -> generate(used, prompt, options, call, told),
                used.flag()::cancel);
    }

    /** The whole continuation. */
    public String complete(String prompt, GenerateOptions options) {
        return complete(core, prompt, options, new Ongoing());
    }

    /** Cancelling it ends the work. */
    public CompletableFuture<String> completeAsync(String prompt, GenerateOptions options) {
        Core used = core;
        return Task.start(call -> complete(used, prompt, options, call), used.flag()::cancel,
                () -> { });
    }

    private static String complete(Core core, String prompt, GenerateOptions options,
            Ongoing call) {
        StringBuilder text = new StringBuilder();
        generate(core, prompt, options, call, token -> text.append(token.text()));
        return text.toString();
    }

    private static void generate(Core core, String prompt, GenerateOptions options, Ongoing call,
            Consumer<Token> told) {
        byte[] bytes = Library.bytes(prompt);
        C.sm_token_fn hook = (user, token) -> call.tell(() -> told.accept(Token.of(token)));
        constrained(core, options, call, (session, model, c, e) ->
                Library.C.sm_session_generate(session, bytes, bytes.length, c, hook, null, e));
    }

    private interface Generating {
        int with(Pointer session, Pointer model, C.sm_generate_options c, C.sm_error error);
    }

    /** Makes what the text must match, if anything, and the call. */
    private static void constrained(Core core, GenerateOptions options, Ongoing call,
            Generating work) {
        core.run(call, (session, e) -> {
            Pointer model = core.model().again();
            try (Arena arena = new Arena()) {
                C.sm_generate_options c = options.fill(arena);
                c.constraint = Model.withTokenizer(model,
                        tokenizer -> options.constraint(tokenizer, core.flag().pointer));
                try {
                    return work.with(session, model, c, e);
                } finally {
                    Library.C.sm_constraint_free(c.constraint);
                }
            } finally {
                core.model().release();
            }
        });
    }

    // Answers

    /** Answers a conversation on the caller's thread: a JSON array as in OpenAI's API. */
    public void chat(String messages, ChatOptions options, Consumer<Delta> told) {
        chat(core, messages, options, new Ongoing(), told);
    }

    /** The same, piece by piece. */
    public Pieces<Delta> streamChat(List<Message> messages, ChatOptions options) {
        Core used = core;
        String json = Message.json(messages);
        return Pieces.of((call, told) -> chat(used, json, options, call, told),
                used.flag()::cancel);
    }

    /** The whole answer. */
    public Answer chat(List<Message> messages, ChatOptions options) {
        return answer(core, Message.json(messages), options, new Ongoing());
    }

    /** Cancelling it ends the work. */
    public CompletableFuture<Answer> chatAsync(List<Message> messages, ChatOptions options) {
        Core used = core;
        String json = Message.json(messages);
        return Task.start(call -> answer(used, json, options, call), used.flag()::cancel,
                () -> { });
    }

    private static Answer answer(Core core, String messages, ChatOptions options, Ongoing call) {
        StringBuilder content = new StringBuilder();
        StringBuilder reasoning = new StringBuilder();
        StringBuilder json = new StringBuilder();
        List<Delta> calls = new ArrayList<>();
        chat(core, messages, options, call, delta -> {
            switch (delta.kind()) { // others are of a later version
                case Constants.SM_DELTA_CONTENT -> content.append(delta.text());
                case Constants.SM_DELTA_REASONING -> reasoning.append(delta.text());
                case Constants.SM_DELTA_CALL -> calls.add(delta);
                case Constants.SM_DELTA_END -> json.append(delta.json());
                default -> { }
            }
        });
        return new Answer(content.toString(), reasoning.toString(), List.copyOf(calls),
                json.toString());
    }

    private static void chat(Core core, String messages, ChatOptions options, Ongoing call,
            Consumer<Delta> told) {
        byte[] asked = Library.zeroEnded("messages", messages);
        byte[] tools = options.toolsJson();
        C.sm_delta_fn hook = (user, delta) -> call.tell(() -> told.accept(Delta.of(delta)));
        constrained(core, options.generate(), call, (session, model, c, e) -> {
            try (Arena arena = new Arena()) {
                PointerByReference chat = new PointerByReference();
                Library.call(inner -> Library.C.sm_chat_new_from_model(chat, model,
                        options.chat(arena), inner));
                try {
                    return Library.C.sm_session_chat(session, chat.getValue(), asked, tools,
                            options.answer(c, arena), hook, null, e);
                } finally {
                    Library.C.sm_chat_free(chat.getValue());
                }
            }
        });
    }

    // Ends

    /** Ends the call that it is at, with {@code SM_ERR_CANCELLED}; any thread. */
    public void cancel() {
        core.flag().cancel(null);
    }

    /** Ends the call that it is at, too; the memory goes when that has returned. */
    @Override
    public void close() {
        core.close();
    }
}
