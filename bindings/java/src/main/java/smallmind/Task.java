package smallmind;

import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.Function;

/** A call in a thread of its own; cancelling it ends the call. */
final class Task<T> extends CompletableFuture<T> {
    private final Ongoing call = new Ongoing();
    private final Consumer<Ongoing> cancel;

    private Task(Consumer<Ongoing> cancel) {
        this.cancel = cancel;
    }

    static <T> Task<T> start(Function<Ongoing, T> work, Consumer<Ongoing> cancel, Runnable done) {
        Task<T> task = new Task<>(cancel);
        run("smallmind", () -> task.run(work, done));
        return task;
    }

    /** No program waits for such a thread at its end. */
    static void run(String name, Runnable work) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        thread.start();
    }

    private void run(Function<Ongoing, T> work, Runnable done) {
        try {
            T made = work.apply(call);
            if (!complete(made) && made instanceof Model) {
                ((Model) made).close(); // cancelled at the last moment
            }
        } catch (Throwable failure) {
            completeExceptionally(failure);
        }
        synchronized (call) {
            call.cancelled = true; // there is nothing to cancel any more
            done.run();
        }
    }

    @Override
    public boolean cancel(boolean mayInterrupt) {
        boolean cancelled = super.cancel(mayInterrupt);
        synchronized (call) {
            if (cancelled && !call.cancelled) {
                cancel.accept(call);
            }
        }
        return cancelled;
    }
}
