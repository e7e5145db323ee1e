package smallmind;

import com.sun.jna.Structure;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.LongFunction;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import smallmind.abi.C;

/**
 * Every method without parameters is a test. Arguments: a model with a vocabulary, and a file with
 * "struct size" of the headers in each line.
 */
public final class SmallmindTest {
    private static String path;
    private static Path sizes;

    private interface Body {
        void run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        path = arguments[0];
        sizes = Path.of(arguments[1]);
        int passed = 0;
        int failed = 0;
        for (Method method : SmallmindTest.class.getDeclaredMethods()) {
            if (method.getParameterCount() > 0 || method.isSynthetic()
                    || method.getReturnType() != void.class) {
                continue;
            }
            try {
                method.invoke(new SmallmindTest());
                passed++;
            } catch (InvocationTargetException e) {
                failed++;
                System.out.println(method.getName() + ": " + e.getCause());
                e.getCause().printStackTrace(System.out);
            }
        }
        System.out.println("[  PASSED  ] " + passed + " test(s).");
        System.out.println("[  FAILED  ] " + failed + " test(s).");
        System.exit(failed == 0 ? 0 : 1);
    }

    private static void check(boolean holds, Object... about) {
        if (!holds) {
            throw new AssertionError(Arrays.deepToString(about));
        }
    }

    private static <T extends Throwable> T thrown(Class<T> kind, Body body) {
        try {
            body.run();
        } catch (Throwable failure) {
            if (kind.isInstance(failure)) {
                return kind.cast(failure);
            }
            throw new AssertionError("another failure", failure);
        }
        throw new AssertionError("nothing was thrown");
    }

    private static SmallmindException refused(int status, Body body) {
        SmallmindException failure = thrown(SmallmindException.class, body);
        check(failure.status() == status, failure, failure.status());
        return failure;
    }

    private static void until(BooleanSupplier condition) throws InterruptedException {
        for (int i = 0; i < 1000 && !condition.getAsBoolean(); i++) {
            System.gc();
            Thread.sleep(5);
        }
        check(condition.getAsBoolean());
    }

    /** Whether the file of the model is mapped. */
    private static boolean mapped() {
        try {
            return Files.readString(Path.of("/proc/self/maps")).contains(path);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private static Session session(Model model) {
        return model.session(new SessionOptions().nCtx(64).nThreads(1));
    }

    private static Session session() {
        try (Model model = Model.load(path)) {
            return session(model);
        }
    }

    private static GenerateOptions few(long tokens) {
        return new GenerateOptions().maxTokens(tokens);
    }

    private static GenerateOptions many() {
        return new GenerateOptions().maxTokens(1_000_000).ignoreEnd(true)
                .contextFull(GenerateOptions.ContextFull.SLIDE);
    }

    void structsHaveTheHeadersSizes() throws Exception {
        int compared = 0;
        for (String line : Files.readAllLines(sizes)) {
            String[] words = line.split(" ");
            Class<?> kind = Class.forName("smallmind.abi.C$" + words[0]);
            Structure made = (Structure) kind.getConstructor().newInstance();
            check(made.size() == Integer.parseInt(words[1]), line, made.size());
            compared++;
        }
        check(compared > 40, compared);
    }

    void textsThereAndBack() {
        try (Model model = Model.load(path)) {
            int[] ids = model.encode("and the end\0!", 0);
            check(ids.length > 2);
            check(model.decode(ids).strip().equals("and the end\0!"), model.decode(ids));
            check(model.encode("", 0).length == 0);
            check(model.info().architecture().equals("llama") && model.info().vocabulary() > 0);
            refused(Constants.SM_ERR_TOKEN, () -> model.decode(1 << 30));
        }
        check(Library.version().matches("\\d+\\.\\d+\\.\\d+.*"));
    }

    void errorsHaveStatusAndMessage() {
        SmallmindException missing = refused(Constants.SM_ERR_IO,
                () -> Model.load("/nonexistent/m.gguf"));
        check(missing.system() == 2 && missing.getMessage().contains("/nonexistent"), missing);
        thrown(IllegalArgumentException.class, () -> Model.load("a\0b"));
        thrown(IllegalArgumentException.class, () -> new SessionOptions().nCtx(1L << 32));
        thrown(IllegalArgumentException.class, () -> new SessionOptions().nCtx(-1));
        try (Model model = Model.load(path); Session session = session(model)) {
            check(refused(Constants.SM_ERR_ARGUMENT,
                    () -> model.session(new SessionOptions().nThreads(100_000)))
                    .getMessage().contains("n_threads"));
            refused(Constants.SM_ERR_TOKEN, () -> session.feed(1 << 30));
            refused(Constants.SM_ERR_STATE, session::logits);
            thrown(IllegalArgumentException.class, () -> session.rewind(-1));
            try (Pieces<Token> wrong = session.stream("Once", few(2).nLogprobs(1000))) {
                refused(Constants.SM_ERR_ARGUMENT, wrong::hasNext);
                check(!wrong.hasNext());
            }
            refused(Constants.SM_ERR_ARGUMENT, () -> session.chat(List.of(Message.user("a")),
                    new ChatOptions().template("no such layout")));
        }
    }

    void textsComePieceByPiece() {
        try (Session session = session()) {
            String whole = session.complete("Once", few(12));
            check(!whole.isEmpty());
            List<Token> tokens;
            try (Pieces<Token> pieces = session.stream("Once", few(12).nLogprobs(2))) {
                tokens = pieces.stream().collect(Collectors.toList());
                thrown(NoSuchElementException.class, pieces::next);
            }
            check(tokens.stream().map(Token::text).collect(Collectors.joining()).equals(whole));
            for (Token token : tokens) {
                check(token.id() < 0 || token.top().size() == 2
                        && token.top().get(0).equals(new Token.Likely(token.id(),
                                token.logprob())), token);
            }
            Stats stats = session.stats();
            check(stats.finish() == Constants.SM_FINISH_LENGTH && stats.generatedTokens() == 12);
            Token first = session.stream("Once", few(1).echo(true)).next();
            session.cancel();
            check(first.inPrompt() && Double.isNaN(first.logprob()));
        }
    }

    void leavingEndsTheWork() throws Exception {
        try (Session session = session()) {
            for (int i = 0; i < 20; i++) {
                try (Pieces<Token> pieces = session.stream("Once", many())) {
                    check(pieces.next() != null);
                }
                session.stream("Once", many()).close();
            }
            check(!session.complete("Once", few(3)).isEmpty());
            session.stream("Once", many()).next(); // nobody holds it
            until(() -> {
                try {
                    session.rewind(0);
                    return true;
                } catch (SmallmindException busy) {
                    return false;
                }
            });
        }
        until(() -> !mapped());
    }

    void zeroCanBeSaid() {
        try (Session session = session()) {
            session.feed(1, 2, 3);
            int greedy = session.sample().id();
            LongFunction<Sampling> hot = seed -> new Sampling().temperature(100).seed(seed);
            check(LongStream.range(0, 40)
                    .allMatch(i -> session.sample(hot.apply(i).topP(0)).id() == greedy));
            check(LongStream.range(0, 40)
                    .anyMatch(i -> session.sample(hot.apply(i)).id() != greedy));
            double none = Double.NEGATIVE_INFINITY;
            Sampling banned = new Sampling().bias(Map.of(greedy, none, greedy + 1, 0.0));
            check(session.sample(banned).id() != greedy);
        }
    }

    void whatCallbacksThrowComesOut() {
        try (Session session = session()) {
            List<Token> told = new ArrayList<>();
            IllegalStateException enough = thrown(IllegalStateException.class,
                    () -> session.generate("Once", many(), token -> {
                        told.add(token);
                        if (told.size() == 3) {
                            throw new IllegalStateException("enough");
                        }
                    }));
            check(enough.getMessage().equals("enough") && told.size() == 3, told.size());
            StackOverflowError deep = thrown(StackOverflowError.class,
                    () -> session.generate("Once", many(), token -> {
                        throw new StackOverflowError();
                    }));
            check(deep != null && !session.complete("Once", few(3)).isEmpty());
        }
        thrown(IllegalStateException.class,
                () -> Model.load(path, new ModelOptions().progress((done, total) -> {
                    throw new IllegalStateException();
                })));
        long[] last = new long[2];
        Model.load(path, new ModelOptions().progress((done, total) -> {
            last[0] = done;
            last[1] = total;
        })).close();
        check(last[0] > 0 && last[0] == last[1], last);
    }

    void otherThreadsCancel() throws Exception {
        try (Session session = session()) {
            CountDownLatch begun = new CountDownLatch(1);
            new Thread(() -> {
                try {
                    begun.await();
                } catch (InterruptedException e) {
                    throw new AssertionError(e);
                }
                session.cancel();
            }).start();
            refused(Constants.SM_ERR_CANCELLED,
                    () -> session.generate("Once", many(), token -> begun.countDown()));
            session.rewind(0);
            session.feed(1, 2); // nothing is left of it

            CompletableFuture<String> future = session.completeAsync("Once", many());
            check(!future.isDone() && future.cancel(true));
            thrown(CancellationException.class, future::join);
            until(() -> { // the session is free again
                try {
                    return !session.complete("Once", few(3)).isEmpty();
                } catch (SmallmindException busy) {
                    return false;
                }
            });
            String whole = session.completeAsync("Once", few(8)).get(10, TimeUnit.SECONDS);
            check(whole.equals(session.complete("Once", few(8))));
            Thread.currentThread().interrupt();
            refused(Constants.SM_ERR_CANCELLED,
                    () -> session.generate("Once", many(), token -> { }));
            check(Thread.interrupted());
            try (Pieces<Token> pieces = session.stream("Once", many())) {
                Thread.currentThread().interrupt();
                refused(Constants.SM_ERR_CANCELLED, () -> {
                    while (pieces.hasNext()) {
                        pieces.next();
                    }
                });
                check(Thread.interrupted());
            }
        }
        CompletableFuture<Model> loading = Model.loadAsync(path, new ModelOptions());
        if (!loading.cancel(true)) { // it was quick
            loading.get().close();
        }
        Model.loadAsync(path, new ModelOptions()).get().close();
        ExecutionException failed = thrown(ExecutionException.class,
                () -> Model.loadAsync("/nonexistent", new ModelOptions()).get());
        check(failed.getCause() instanceof SmallmindException);
        until(() -> !mapped());
    }

    /** sun.misc.Signal, which the compiler warns of, by reflection. */
    void signalsCancel() throws Exception {
        Class<?> kind = Class.forName("sun.misc.Signal");
        Class<?> handler = Class.forName("sun.misc.SignalHandler");
        Object usr2 = kind.getConstructor(String.class).newInstance("USR2");
        try (Session session = session()) {
            Object cancels = Proxy.newProxyInstance(handler.getClassLoader(),
                    new Class<?>[] {handler}, (self, method, arguments) -> {
                        session.cancel();
                        return null;
                    });
            Object before = kind.getMethod("handle", kind, handler).invoke(null, usr2, cancels);
            CountDownLatch once = new CountDownLatch(1);
            refused(Constants.SM_ERR_CANCELLED, () -> session.generate("Once", many(), token -> {
                if (once.getCount() > 0) {
                    once.countDown();
                    try {
                        kind.getMethod("raise", kind).invoke(null, usr2);
                    } catch (ReflectiveOperationException e) {
                        throw new AssertionError(e);
                    }
                }
            }));
            kind.getMethod("handle", kind, handler).invoke(null, usr2, before);
        }
    }

    void handlesEndInAnyOrder() throws Exception {
        until(() -> !mapped());
        Model model = Model.load(path);
        Session session = session(model);
        int[] ids = model.encode("Once upon a time");
        model.close();
        model.close();
        refused(Constants.SM_ERR_STATE, model::info);
        refused(Constants.SM_ERR_STATE, model::session);
        session.feed(ids);
        float[] logits = session.logits();
        Session fork = session.fork();
        session.close();
        refused(Constants.SM_ERR_STATE, () -> session.feed(1));
        check(session.length() == 0 && Arrays.equals(fork.tokens(), ids));
        check(Arrays.equals(fork.logits(), logits));
        fork.rewind(1);
        check(fork.length() == 1 && fork.sync(ids) == 1);
        check(Arrays.equals(fork.logits(), logits));
        check(mapped());
        refused(Constants.SM_ERR_CANCELLED, // the memory goes behind the call
                () -> fork.generate("Once", many(), token -> fork.close()));
        check(!mapped());
        for (int i = 0; i < 50; i++) {
            session(Model.load(path)).length(); // never closed
        }
        check(mapped());
        until(() -> !mapped());
    }

    void sessionsAtTheSameTime() throws Exception {
        try (Model model = Model.load(path)) {
            String want = session(model).complete("Once", few(8));
            List<CompletableFuture<String>> all = new ArrayList<>();
            for (int i = 0; i < 6; i++) {
                all.add(session(model).completeAsync("Once", few(8)));
            }
            for (CompletableFuture<String> one : all) {
                check(one.get().equals(want));
            }
            Session busy = session(model);
            busy.generate("Once", few(3), token -> { // one call at a time
                check(busy.length() > 0 && busy.logits().length == model.info().vocabulary());
                refused(Constants.SM_ERR_STATE, () -> busy.feed(1));
            });
        }
    }

    void chats() throws Exception {
        List<Message> asked = List.of(Message.system("s"), Message.user("A \"q\"\nline\u0001 \\ ä"));
        check(Message.json(asked).equals("[{\"role\":\"system\",\"content\":\"s\"},"
                + "{\"role\":\"user\",\"content\":\"A \\\"q\\\"\\u000aline\\u0001 \\\\ ä\"}]"));
        ChatOptions how = new ChatOptions().template("chatml").generate(few(8));
        Model model = Model.load(path);
        try (Session session = model.session(new SessionOptions().nThreads(1))) {
            model.close();
            Answer answer = session.chat(asked, how);
            check(answer.json().contains("\"finish_reason\""));
            try (Pieces<Delta> pieces = session.streamChat(asked, how)) {
                List<Delta> deltas = pieces.stream().collect(Collectors.toList());
                check(deltas.get(deltas.size() - 1).kind() == Constants.SM_DELTA_END);
                check(deltas.stream().filter(d -> d.kind() == Constants.SM_DELTA_CONTENT)
                        .map(Delta::text).collect(Collectors.joining()).equals(answer.content()));
            }
            check(session.chatAsync(asked, how).get().content().equals(answer.content()));
            ChatOptions endless = new ChatOptions().template("chatml").generate(many());
            try (Pieces<Delta> pieces = session.streamChat(asked, endless)) {
                pieces.next();
                Thread.sleep(20); // its thread waits to put one more: the end comes behind that
            }
            Answer chosen = session.chat(asked, new ChatOptions().template("chatml")
                    .generate(few(20).schema("{\"enum\": [\"a\", \"b\"]}")));
            check(chosen.content().matches("\"[ab]\""), chosen);
        }
    }

    void vectorsOfTexts() throws Exception {
        until(() -> !mapped());
        Model model = Model.load(path);
        Encoder encoder = model.encoder(new EncoderOptions().nThreads(1));
        model.close();
        int width = encoder.info().dimensions();
        float[][] vectors = encoder.embed(List.of("Once upon a time", "and the end", ""));
        check(vectors.length == 3 && vectors[2].length == width);
        double length = 0;
        for (float x : vectors[0]) {
            length += x * x;
        }
        check(Math.abs(length - 1) < 1e-4 && !Arrays.equals(vectors[0], vectors[1]), length);
        check(Arrays.equals(encoder.embed("and the end"), vectors[1])); // alone the same
        check(encoder.embed(List.of()).length == 0);
        check(encoder.info().labels() == 0 && encoder.labels().isEmpty());
        refused(Constants.SM_ERR_UNSUPPORTED, () -> encoder.score("Once"));
        refused(Constants.SM_ERR_UNSUPPORTED, () -> encoder.rerank("Once", List.of("a", "b")));
        List<String> much = Collections.nCopies(5000, "Once upon a time there was");
        CompletableFuture<float[][]> future = encoder.embedAsync(much);
        check(future.cancel(true));
        until(() -> {
            try {
                return encoder.embed("Once").length == width;
            } catch (SmallmindException busy) {
                return false;
            }
        });
        check(Arrays.equals(encoder.embedAsync(List.of("and the end")).get()[0], vectors[1]));
        encoder.close();
        refused(Constants.SM_ERR_STATE, () -> encoder.embed("Once"));
        check(!mapped());
        try (Model other = Model.load(path);
                Encoder few = other.encoder(new EncoderOptions().nDims(8).raw(true).nThreads(1)
                        .pooling(EncoderOptions.Pooling.MEAN))) {
            check(few.embed("Once").length == 8);
            check(few.info().pooling() == Constants.SM_POOLING_MEAN);
        }
    }

    void textsMatchSomething() {
        try (Session session = session()) {
            check(session.complete("Once", few(20).schema("{\"enum\": [1, 2]}")).matches("[12]"));
            check(session.complete("Once", few(20).regex("[0-9]{3}")).matches("[0-9]{3}"));
            check(session.complete("Once", few(20).grammar("root ::= \"x\"+")).matches("x+"));
            refused(Constants.SM_ERR_FORMAT, () -> session.complete("Once", few(2).schema("{")));
            String whole = session.complete("Once", few(12));
            String end = whole.substring(whole.length() - 1);
            String stopped = session.complete("Once", few(12).stop("no such text", end));
            check(whole.startsWith(stopped) && stopped.length() < whole.length());
            check(!session.complete("Once", few(12).ban(end)).contains(end));
        }
    }
}
