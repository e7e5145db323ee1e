package smallmind;

import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;

/** What ends the call that a session, an encoder or a loading is at, from any thread. */
final class Flag {
    final Pointer pointer;
    private Ongoing current;

    Flag() {
        PointerByReference made = new PointerByReference();
        Library.call(e -> Library.C.sm_cancel_new(made, e));
        pointer = made.getValue();
    }

    synchronized void begin(Ongoing call) {
        if (current != null) {
            throw new SmallmindException(Constants.SM_ERR_STATE, 0,
                    "it is in use by a call that has not returned");
        }
        current = call;
        Library.C.sm_cancel_set(pointer, 0);
    }

    synchronized void end() {
        current = null;
        Library.C.sm_cancel_set(pointer, 0);
    }

    /** Of this call, or of any (null), if it is being made. */
    synchronized void cancel(Ongoing call) {
        if (call != null) {
            call.cancelled = true;
        }
        if (current != null && (call == null || call == current)) {
            Library.C.sm_cancel_set(pointer, 1);
        }
    }

    /** When no call can come any more. */
    void free() {
        Library.C.sm_cancel_free(pointer);
    }
}
