package smallmind;

import com.sun.jna.Pointer;
import java.util.function.Consumer;

/** A handle of the library's, counted: closed in the middle of a call it goes behind the call. */
final class Handle {
    private final Pointer pointer;
    private final Consumer<Pointer> free;
    private int users = 1;
    private boolean closed;

    Handle(Pointer pointer, Consumer<Pointer> free) {
        this.pointer = pointer;
        this.free = free;
    }

    /** To be released. */
    synchronized Pointer acquire() {
        if (closed) {
            throw new SmallmindException(Constants.SM_ERR_STATE, 0, "the handle is closed");
        }
        users++;
        return pointer;
    }

    /** {@link #acquire} by who holds it already, closed or not. */
    synchronized Pointer again() {
        users++;
        return pointer;
    }

    void release() {
        synchronized (this) {
            if (--users > 0) {
                return;
            }
        }
        free.accept(pointer);
    }

    void close() {
        synchronized (this) {
            if (closed) {
                return;
            }
            closed = true;
        }
        release();
    }
}
