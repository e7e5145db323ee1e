package smallmind;

import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;
import smallmind.abi.C;

/**
 * A model of a GGUF file, or of a Hugging Face directory. Any number of threads may use it;
 * sessions keep it, so that it may be closed at any time.
 */
public final class Model implements AutoCloseable {
    final Handle handle;

    private Model(Pointer pointer) {
        handle = new Handle(pointer, Library.C::sm_model_free);
        Library.CLEANER.register(this, handle::close);
    }

    public static Model load(String path) {
        return load(path, new ModelOptions());
    }

    public static Model load(Path path, ModelOptions options) {
        return load(path.toString(), options);
    }

    public static Model load(String path, ModelOptions options) {
        Flag flag = new Flag();
        try {
            return load(path, options, flag, new Ongoing());
        } finally {
            flag.free();
        }
    }

    /** Cancelling it ends the loading. */
    public static CompletableFuture<Model> loadAsync(String path, ModelOptions options) {
        Flag flag = new Flag();
        return Task.start(call -> load(path, options, flag, call), flag::cancel, flag::free);
    }

    private static Model load(String path, ModelOptions options, Flag flag, Ongoing call) {
        PointerByReference made = new PointerByReference();
        byte[] name = Library.zeroEnded("path", path);
        C.sm_progress_fn told =
                (user, done, total) -> call.tell(() -> options.progress.told(done, total));
        try (Arena arena = new Arena()) {
            C.sm_model_options c = options.fill(arena);
            c.cancel_flag = flag.pointer;
            c.progress = options.progress == null ? null : told;
            flag.begin(call);
            try {
                call.make(e -> Library.C.sm_model_load(made, name, c, e));
            } finally {
                flag.end();
            }
        }
        return new Model(made.getValue());
    }

    /** What a file says of its model. */
    public record Info(String architecture, String name, int vocabulary, int trainedContext,
            int width, int layers, long parameters, long weightBytes) {}

    public Info info() {
        C.sm_model_info c = new C.sm_model_info();
        c.struct_size = c.size();
        return with(model -> {
            Library.call(e -> Library.C.sm_model_get_info(model, c, e));
            return new Info(Library.text(c.architecture), Library.text(c.name), c.n_vocab,
                    c.n_ctx_train, c.n_embd, c.n_layer, c.n_params, c.weight_bytes);
        });
    }

    /** The ids of a text, with the tokens that the vocabulary wants around it. */
    public int[] encode(String text) {
        return encode(text, Constants.SM_ENCODE_MARKERS);
    }

    /** {@code flags}: {@code Constants.SM_ENCODE_…}. */
    public int[] encode(String text, int flags) {
        byte[] bytes = Library.bytes(text);
        C.sm_encode_options how = new C.sm_encode_options();
        how.struct_size = how.size();
        how.flags = flags;
        return with(model -> withTokenizer(model, tokenizer -> {
            long[] n = {2L * bytes.length + 16};
            int[] ids = new int[0];
            for (boolean fits = false; !fits;) { // once more where normalization makes it longer
                int[] room = new int[(int) n[0]];
                fits = fits(e -> Library.C.sm_tokenizer_encode(tokenizer, bytes, bytes.length, how,
                        room, room.length, n, e));
                ids = room;
            }
            return Arrays.copyOf(ids, (int) n[0]);
        }));
    }

    public String decode(int... ids) {
        return new String(decodeBytes(Constants.SM_DECODE_TEXT, ids), StandardCharsets.UTF_8);
    }

    /** A text may end inside a character. {@code flags}: {@code Constants.SM_DECODE_…}. */
    public byte[] decodeBytes(int flags, int... ids) {
        return with(model -> withTokenizer(model, tokenizer -> {
            long[] n = {16L * ids.length + 64};
            byte[] text = new byte[0];
            for (boolean fits = false; !fits;) {
                byte[] room = new byte[(int) n[0]];
                fits = fits(e -> Library.C.sm_tokenizer_decode(tokenizer, ids, ids.length, flags,
                        room, room.length, n, e));
                text = room;
            }
            return Arrays.copyOf(text, (int) n[0]);
        }));
    }

    /** False where the buffer was too small: the length that it takes is known then. */
    private static boolean fits(Library.Call call) {
        try {
            Library.call(call);
            return true;
        } catch (SmallmindException refused) {
            if (refused.status() != Constants.SM_ERR_BUFFER) {
                throw refused;
            }
            return false;
        }
    }

    public Session session() {
        return session(new SessionOptions());
    }

    public Session session(SessionOptions options) {
        Pointer model = handle.acquire(); // the session's from here on
        return Session.of(handle, (made, flag, e) -> {
            try (Arena arena = new Arena()) {
                C.sm_session_options c = options.fill(arena);
                c.cancel_flag = flag;
                return Library.C.sm_session_new(made, model, c, e);
            }
        });
    }

    public Encoder encoder() {
        return encoder(new EncoderOptions());
    }

    /** What makes vectors and scores of texts. */
    public Encoder encoder(EncoderOptions options) {
        Pointer model = handle.acquire(); // the encoder's from here on
        return new Encoder(Core.of(handle, Library.C::sm_encoder_free, (made, flag, e) -> {
            try (Arena arena = new Arena()) {
                C.sm_encoder_options c = options.fill(arena);
                c.cancel_flag = flag;
                return Library.C.sm_encoder_new(made, model, c, e);
            }
        }));
    }

    static <T> T withTokenizer(Pointer model, Function<Pointer, T> work) {
        PointerByReference made = new PointerByReference();
        Library.call(e -> Library.C.sm_model_get_tokenizer(model, made, e));
        try {
            return work.apply(made.getValue());
        } finally {
            Library.C.sm_tokenizer_free(made.getValue());
        }
    }

    private <T> T with(Function<Pointer, T> work) {
        Pointer pointer = handle.acquire();
        try {
            return work.apply(pointer);
        } finally {
            handle.release();
        }
    }

    @Override
    public void close() {
        handle.close();
    }
}
