package smallmind;

import java.util.ArrayDeque;
import java.util.Queue;
import java.util.concurrent.CancellationException;

/** Pieces on their way from the thread that makes them to the one that reads them. */
final class Pipe<T> {
    private static final int AHEAD = 64;
    private final Queue<T> pieces = new ArrayDeque<>();
    private boolean left;
    private boolean ended;
    private Throwable failure;

    /** Waits while so many have not been read; throws where nobody reads on. */
    synchronized void put(T piece) throws InterruptedException {
        while (pieces.size() >= AHEAD && !left) {
            wait();
        }
        if (left) {
            throw new CancellationException();
        }
        pieces.add(piece);
        notifyAll();
    }

    /** No more will come. */
    synchronized void end(Throwable with) {
        ended = true;
        failure = with;
        notifyAll();
    }

    /** Null at the end; throws, once, what has ended it. */
    synchronized T take() throws InterruptedException {
        while (pieces.isEmpty() && !ended && !left) {
            wait();
        }
        T piece = pieces.poll();
        notifyAll();
        if (piece == null && failure != null && !left) {
            Throwable thrown = failure;
            failure = null;
            throw Ongoing.<RuntimeException>any(thrown);
        }
        return piece;
    }

    /** Nobody reads on. */
    synchronized void leave() {
        left = true;
        pieces.clear();
        notifyAll();
    }

    synchronized void awaitEnd() {
        boolean interrupted = false;
        while (!ended) {
            try {
                wait();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
