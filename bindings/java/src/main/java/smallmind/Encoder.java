package smallmind;

import com.sun.jna.Pointer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import smallmind.abi.C;

/**
 * Vectors and scores of texts, of one text or of many together. One call at a time: others get
 * {@code SM_ERR_STATE}; {@link #cancel} ends any.
 */
public final class Encoder implements AutoCloseable {
    private final Core core;

    Encoder(Core core) {
        this.core = core;
        Library.CLEANER.register(this, core.handle()::close);
    }

    /**
     * What it makes.
     *
     * @param pooling {@code Constants.SM_POOLING_…}
     * @param dimensions of vectors
     * @param width of hidden states
     * @param maxTokens of a text
     * @param labels scores of a text; 0: the model has none
     */
    public record Info(int pooling, int dimensions, int width, int maxTokens, int labels) {}

    public Info info() {
        Pointer encoder = core.handle().acquire();
        try {
            return info(encoder);
        } finally {
            core.handle().release();
        }
    }

    private static Info info(Pointer encoder) {
        C.sm_encoder_info c = new C.sm_encoder_info();
        c.struct_size = c.size();
        Library.call(e -> Library.C.sm_encoder_get_info(encoder, c, e));
        return new Info(c.pooling, c.n_dims, c.n_embd, c.max_tokens, c.n_labels);
    }

    /** Names of the scores of a text; "" for one that has none. */
    public List<String> labels() {
        List<String> names = new ArrayList<>();
        long[] length = new long[1];
        Pointer encoder = core.handle().acquire();
        try {
            for (int i = 0, n = info(encoder).labels(); i < n; i++) {
                Pointer name = Library.C.sm_encoder_label(encoder, i, length);
                names.add(Library.text(name, length[0]));
            }
        } finally {
            core.handle().release();
        }
        return names;
    }

    /** The vector of a text. */
    public float[] embed(String text) {
        return embed(List.of(text))[0];
    }

    /** The vectors of texts, in their order. */
    public float[][] embed(List<String> texts) {
        return embed(core, texts, new Ongoing());
    }

    /** Cancelling it ends the work. */
    public CompletableFuture<float[][]> embedAsync(List<String> texts) {
        Core used = core;
        return Task.start(call -> embed(used, texts, call), used.flag()::cancel, () -> { });
    }

    private static float[][] embed(Core core, List<String> texts, Ongoing call) {
        return rows(core, texts, call, (encoder, c, n, numbers, e) ->
                Library.C.sm_encoder_embed(encoder, c, n, numbers, numbers.length, e), false);
    }

    /** The scores of a text by labels. */
    public float[] score(String text) {
        return score(List.of(text))[0];
    }

    /** The scores of texts by labels, in their order. */
    public float[][] score(List<String> texts) {
        return rows(core, texts, new Ongoing(), (encoder, c, n, numbers, e) ->
                Library.C.sm_encoder_score(encoder, c, n, numbers, numbers.length, e), true);
    }

    /** How well documents answer a query, the greater the better. */
    public float[] rerank(String query, List<String> documents) {
        byte[] asked = Library.bytes(query);
        float[] scores = new float[documents.size()];
        try (Arena arena = new Arena()) {
            C.sm_text[] c = arena.textStructs(documents);
            core.run(new Ongoing(), (encoder, e) -> Library.C.sm_encoder_rerank(encoder, asked,
                    asked.length, c == null ? null : c[0], scores.length, scores, scores.length, e));
        }
        return scores;
    }

    private interface Filling {
        int fill(Pointer encoder, C.sm_text texts, long n, float[] numbers, C.sm_error error);
    }

    private static float[][] rows(Core core, List<String> texts, Ongoing call, Filling work,
            boolean scores) {
        float[][] rows = new float[texts.size()][];
        try (Arena arena = new Arena()) {
            C.sm_text[] c = arena.textStructs(texts);
            core.run(call, (encoder, e) -> {
                Info info = info(encoder);
                int width = scores ? info.labels() : info.dimensions();
                // without labels the call says what is wrong
                float[] numbers = new float[Math.max(1, Math.multiplyExact(rows.length, width))];
                int status = work.fill(encoder, c == null ? null : c[0], rows.length, numbers, e);
                for (int i = 0; status == Constants.SM_OK && i < rows.length; i++) {
                    rows[i] = Arrays.copyOfRange(numbers, i * width, (i + 1) * width);
                }
                return status;
            });
        }
        return rows;
    }

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
