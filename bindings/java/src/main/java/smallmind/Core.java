package smallmind;

import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.util.function.Consumer;
import smallmind.abi.C;

/**
 * A session or an encoder: what calls of other threads hold, so that one that nobody holds goes when
 * they end.
 */
record Core(Handle handle, Handle model, Flag flag) {
    interface With {
        int with(Pointer handle, C.sm_error error);
    }

    interface Maker {
        int make(PointerByReference made, Pointer flag, C.sm_error error);
    }

    /** Takes over a use of the model. */
    static Core of(Handle model, Consumer<Pointer> free, Maker maker) {
        Flag flag = null;
        try {
            flag = new Flag();
            Flag kept = flag;
            PointerByReference made = new PointerByReference();
            Library.call(e -> maker.make(made, kept.pointer, e));
            Handle handle = new Handle(made.getValue(), pointer -> {
                free.accept(pointer);
                kept.free();
                model.release();
            });
            return new Core(handle, model, kept);
        } catch (Throwable failure) {
            if (flag != null) {
                flag.free();
            }
            model.release();
            throw failure;
        }
    }

    /** A call that takes long. */
    void run(Ongoing call, With work) {
        Pointer pointer = handle.acquire();
        try {
            flag.begin(call);
            try {
                call.make(e -> work.with(pointer, e));
            } finally {
                flag.end();
            }
        } finally {
            handle.release();
        }
    }

    /** Ends the call that it is at, too; the memory goes when that has returned. */
    void close() {
        flag.cancel(null);
        handle.close();
    }
}
