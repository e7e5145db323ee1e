package smallmind;

/** What the library refused. */
public final class SmallmindException extends RuntimeException {
    private static final long serialVersionUID = 1;
    private final int status;
    private final int system;

    SmallmindException(int status, int system, String message) {
        super(message);
        this.status = status;
        this.system = system;
    }

    static SmallmindException cancelled() {
        return new SmallmindException(Constants.SM_ERR_CANCELLED, 0, "cancelled");
    }

    /** {@code Constants.SM_ERR_…}. */
    public int status() {
        return status;
    }

    /** The system's number of what failed (errno), or 0. */
    public int system() {
        return system;
    }
}
