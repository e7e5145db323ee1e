package smallmind;

import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * What a call tells, piece by piece. The call runs in a thread of its own, 64 pieces ahead at most.
 * Closing ends it, and so does forgetting this; an interrupt of who waits for a piece does, too.
 * What the call fails with comes out of {@link #hasNext}. For one thread at a time.
 */
public final class Pieces<T> implements Iterator<T>, AutoCloseable {
    private final Pipe<T> pipe;
    private final Runnable abandon;
    private T next;

    private Pieces(Pipe<T> pipe, Runnable abandon) {
        this.pipe = pipe;
        this.abandon = abandon;
    }

    static <T> Pieces<T> of(BiConsumer<Ongoing, Consumer<T>> work, Consumer<Ongoing> cancel) {
        Ongoing call = new Ongoing();
        Pipe<T> pipe = new Pipe<>();
        Runnable abandon = () -> {
            pipe.leave();
            cancel.accept(call);
        };
        Task.run("smallmind pieces", () -> run(pipe, call, work));
        Pieces<T> made = new Pieces<>(pipe, abandon);
        Library.CLEANER.register(made, abandon);
        return made;
    }

    private static <T> void run(Pipe<T> pipe, Ongoing call, BiConsumer<Ongoing, Consumer<T>> work) {
        Throwable failure = null;
        try {
            work.accept(call, piece -> {
                try {
                    pipe.put(piece);
                } catch (InterruptedException e) {
                    throw Ongoing.<RuntimeException>any(e);
                }
            });
        } catch (Throwable thrown) {
            failure = thrown;
        }
        pipe.end(failure);
    }

    @Override
    public boolean hasNext() {
        if (next != null) {
            return true;
        }
        try {
            next = pipe.take();
        } catch (InterruptedException e) {
            close();
            Thread.currentThread().interrupt();
            throw SmallmindException.cancelled();
        }
        return next != null;
    }

    @Override
    public T next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        T piece = next;
        next = null;
        return piece;
    }

    /** The same as a stream, which is to be closed. */
    public Stream<T> stream() {
        int how = Spliterator.ORDERED | Spliterator.NONNULL;
        return StreamSupport.stream(Spliterators.spliteratorUnknownSize(this, how), false)
                .onClose(this::close);
    }

    /** Returns when the call has ended. */
    @Override
    public void close() {
        next = null;
        abandon.run();
        pipe.awaitEnd();
    }
}
