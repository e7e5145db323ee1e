package smallmind;

import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.lang.ref.Cleaner;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import smallmind.abi.C;

/** The library that is running: the property {@code smallmind.library} names it. */
public final class Library {
    static final C.Functions C = load();
    static final Cleaner CLEANER = Cleaner.create();

    private Library() {}

    private static C.Functions load() {
        C.Functions found = Native.load(System.getProperty("smallmind.library", "smallmind"),
                C.Functions.class,
                Map.of(com.sun.jna.Library.OPTION_STRING_ENCODING, "UTF-8"));
        if (found.sm_abi() != Constants.SM_ABI) {
            throw new UnsatisfiedLinkError("libsmallmind has ABI " + found.sm_abi()
                    + ", this package is for " + Constants.SM_ABI);
        }
        return found;
    }

    /** Its version. */
    public static String version() {
        return text(C.sm_version());
    }

    /** A call that takes an error last. */
    interface Call {
        int with(C.sm_error error);
    }

    static void call(Call call) {
        C.sm_error error = new C.sm_error();
        int status = call.with(error);
        if (status != Constants.SM_OK) {
            throw new SmallmindException(status, error.system, message(error.message));
        }
    }

    private static String message(byte[] bytes) {
        int length = 0;
        while (length < bytes.length && bytes[length] != 0) {
            length++;
        }
        return new String(bytes, 0, length, StandardCharsets.UTF_8);
    }

    /** Of a text of the library's that ends with a zero; "" for none. */
    static String text(Pointer text) {
        return text == null ? "" : text.getString(0, "UTF-8");
    }

    static String text(Pointer text, long length) {
        return text == null ? ""
                : new String(text.getByteArray(0, (int) length), StandardCharsets.UTF_8);
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Ended by a zero; null stays null. */
    static byte[] zeroEnded(String name, String text) {
        return text == null ? null : bytes(Arena.zeroEnded(name, text) + '\0');
    }
}
