using System;
using System.Collections.Generic;
using System.Runtime.ExceptionServices;
using System.Threading;
using System.Threading.Tasks;

namespace SmallMind
{
    /// <summary>
    /// Pieces on their way from the thread that makes them to the one that reads them.
    /// </summary>
    internal sealed class Pipe<T>
    {
        private const int Ahead = 64;
        private readonly Queue<T> pieces = new Queue<T>();
        private readonly SemaphoreSlim filled = new SemaphoreSlim(0);
        private readonly SemaphoreSlim room = new SemaphoreSlim(Ahead);
        private readonly ManualResetEventSlim ended = new ManualResetEventSlim();
        private volatile bool left;
        private ExceptionDispatchInfo failure;

        /// <summary>Waits while so many have not been read; fails where nobody reads on.</summary>
        internal void Put(T piece)
        {
            room.Wait();
            if (left)
            {
                room.Release(); // an answer has an end, too, which nobody reads either
                throw new OperationCanceledException();
            }
            lock (pieces)
                pieces.Enqueue(piece);
            filled.Release();
        }

        /// <summary>No more will come.</summary>
        internal void End(Exception with)
        {
            if (with != null)
                failure = ExceptionDispatchInfo.Capture(with);
            ended.Set();
            filled.Release();
        }

        internal bool Take(out T piece)
        {
            filled.Wait();
            return Taken(out piece);
        }

        internal Task FilledAsync()
        {
            return filled.WaitAsync();
        }

        /// <summary>
        /// Behind a wait for it; false at the end. Throws, once, what has ended it.
        /// </summary>
        internal bool Taken(out T piece)
        {
            lock (pieces)
            {
                if (pieces.Count > 0)
                {
                    piece = pieces.Dequeue();
                    room.Release();
                    return true;
                }
            }
            filled.Release(); // the end stays there
            piece = default(T);
            ExceptionDispatchInfo thrown = failure;
            failure = null;
            thrown?.Throw();
            return false;
        }

        /// <summary>Nobody reads on.</summary>
        internal void Leave()
        {
            left = true;
            room.Release();
        }

        internal void AwaitEnd()
        {
            ended.Wait();
        }
    }

    /// <summary>
    /// What a call tells, piece by piece. The call runs in a thread of its own, which begins with
    /// the first piece that is asked for, and is 64 pieces ahead at most. Disposing ends it, and so
    /// does forgetting this. For one thread at a time.
    /// </summary>
    public sealed class Pieces<T> : IDisposable
#if NETSTANDARD2_1_OR_GREATER || NETCOREAPP
        , IAsyncEnumerable<T>, IAsyncEnumerator<T>
#endif
    {
        internal delegate void Work(Ongoing call, Action<T> told);

        private readonly Pipe<T> pipe = new Pipe<T>();
        private readonly Work work;
        private readonly Action<Ongoing> cancel;
        private Ongoing call;
        private CancellationToken token;
        private bool over;

        internal Pieces(Work work, Action<Ongoing> cancel, CancellationToken token)
        {
            this.work = work;
            this.cancel = cancel;
            this.token = token;
        }

        /// <summary>Ends a call that nobody asks for pieces of.</summary>
        ~Pieces()
        {
            Leave();
        }

        /// <summary>The piece that Next or NextAsync has found.</summary>
        public T Current { get; private set; }

        /// <summary>Waits for the next piece; false at the end.</summary>
        public bool Next()
        {
            if (over)
                return false;
            Begin();
            T piece = default(T);
            bool found = Found(() => pipe.Take(out piece));
            Current = piece;
            return found;
        }

        /// <summary>The same without a thread that waits.</summary>
        public async Task<bool> NextAsync()
        {
            if (over)
                return false;
            Begin();
            await pipe.FilledAsync().ConfigureAwait(false);
            T piece = default(T);
            bool found = Found(() => pipe.Taken(out piece));
            Current = piece;
            return found;
        }

        private bool Found(Func<bool> take)
        {
            bool found = false;
            try
            {
                found = take();
            }
            finally
            {
                if (!found)
                    Dispose();
            }
            return found;
        }

        private void Begin()
        {
            if (call != null)
                return;
            token.ThrowIfCancellationRequested();
            call = new Ongoing(token);
            Start(pipe, work, call);
        }

        /// <summary>The thread knows nothing of this object.</summary>
        private static void Start(Pipe<T> pipe, Work work, Ongoing call)
        {
            var thread = new Thread(() =>
            {
                Exception failure = null;
                try
                {
                    work(call, pipe.Put);
                }
                catch (Exception thrown)
                {
                    failure = thrown;
                }
                pipe.End(failure);
            });
            thread.IsBackground = true;
            thread.Start();
        }

        private void Leave()
        {
            if (call == null)
                return;
            call.Cancelled = true;
            pipe.Leave();
            cancel(call);
        }

        /// <summary>Returns when the call has ended.</summary>
        public void Dispose()
        {
            if (over)
                return;
            over = true;
            GC.SuppressFinalize(this);
            Leave();
            if (call != null)
                pipe.AwaitEnd();
        }

        internal IEnumerable<T> All()
        {
            using (this)
            {
                while (Next())
                    yield return Current;
            }
        }

#if NETSTANDARD2_1_OR_GREATER || NETCOREAPP
        IAsyncEnumerator<T> IAsyncEnumerable<T>.GetAsyncEnumerator(CancellationToken other)
        {
            if (other.CanBeCanceled)
                token = token.CanBeCanceled
                    ? CancellationTokenSource.CreateLinkedTokenSource(token, other).Token : other;
            return this;
        }

        ValueTask<bool> IAsyncEnumerator<T>.MoveNextAsync()
        {
            return new ValueTask<bool>(NextAsync());
        }

        ValueTask IAsyncDisposable.DisposeAsync()
        {
            return new ValueTask(Task.Run((Action)Dispose));
        }
#endif
    }
}
