package smallmind;

/** A call that is being made: whether it is to end, and what its callback has thrown. */
final class Ongoing {
    volatile boolean cancelled;
    private Throwable thrown;

    /** What a callback answers, whatever it does. */
    int tell(Runnable told) {
        try {
            told.run();
        } catch (Throwable failure) { // none may go through the library
            thrown = failure;
            return 1;
        }
        return cancelled || Thread.currentThread().isInterrupted() ? 1 : 0;
    }

    /** Makes the call; what a callback has thrown comes out of it. */
    void make(Library.Call call) {
        if (cancelled) {
            throw SmallmindException.cancelled();
        }
        try {
            Library.call(call);
        } catch (SmallmindException refused) {
            if (thrown != null) {
                throw Ongoing.<RuntimeException>any(thrown);
            }
            throw refused;
        }
    }

    @SuppressWarnings("unchecked")
    static <E extends Throwable> E any(Throwable failure) throws E {
        throw (E) failure;
    }
}
