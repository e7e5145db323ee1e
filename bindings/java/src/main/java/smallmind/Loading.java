package smallmind;

import smallmind.abi.C;

/** What {@link ModelOptions} has beside numbers and words. */
abstract class Loading<T> {
    /** Told of done and total units; what it throws ends the loading and comes out of it. */
    @FunctionalInterface
    public interface Progress {
        void told(long done, long total);
    }

    Progress progress;

    @SuppressWarnings("unchecked")
    public T progress(Progress value) {
        progress = value;
        return (T) this;
    }

    void lists(C.sm_model_options c, Arena arena) {
        // progress is of the call (Model.load)
    }
}
