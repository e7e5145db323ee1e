using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using SmallMind.Abi;

namespace SmallMind
{
    /// <summary>
    /// A sequence of tokens with a model. One call at a time: others get SM_ERR_STATE. A token that
    /// is cancelled ends its call with an OperationCanceledException.
    /// </summary>
    public sealed unsafe class Session : IDisposable
    {
        private readonly SessionHandle handle;
        private readonly Flag flag;

        internal delegate int Maker(void* made, IntPtr flag, void* error);

        private Session(SessionHandle handle, Flag flag)
        {
            this.handle = handle;
            this.flag = flag;
        }

        /// <summary>Of a model that the maker's caller holds meanwhile.</summary>
        internal static Session Of(Shared model, Maker maker)
        {
            var flag = new Flag();
            IntPtr made;
            IntPtr* at = &made;
            Library.Call(e => maker(at, flag.Pointer.DangerousGetHandle(), e));
            return new Session(new SessionHandle(made, model, flag.Pointer), flag);
        }

        /// <summary>Of the session's own use: open whether the program's Model is or not.</summary>
        private Borrowed Model => new Borrowed(handle.Model.Pointer);

        /// <summary>
        /// A call that takes long; the session stays open meanwhile, and its model.
        /// </summary>
        private void Long(Ongoing call, Library.Work work)
        {
            flag.During(handle, call, work);
        }

        private void Long(CancellationToken token, Library.Work work)
        {
            Long(new Ongoing(token), work);
        }

        /// <summary>How many tokens it holds.</summary>
        public int Length => (int)Native.sm_session_length(handle);

        /// <summary>The ids that it holds.</summary>
        public int[] Tokens
        {
            get
            {
                var ids = new int[Length];
                ulong n = 0;
                ulong* found = &n;
                ulong room = (ulong)ids.Length;
                fixed (int* to = Library.Fixable(ids))
                {
                    int* at = to;
                    Library.Call(e => Native.sm_session_tokens(handle, 0, at, room, found,
                        (sm_error*)e));
                }
                Array.Resize(ref ids, (int)n);
                return ids;
            }
        }

        /// <summary>Appends tokens and computes them.</summary>
        public void Feed(int[] ids, CancellationToken token = default(CancellationToken))
        {
            fixed (int* from = Library.Fixable(ids))
            {
                int* at = from;
                Long(token, e => Native.sm_session_feed(handle, at, (ulong)ids.Length, (sm_error*)e));
            }
        }

#if NETSTANDARD2_1_OR_GREATER || NETCOREAPP
        /// <summary>Appends tokens and computes them.</summary>
        public void Feed(ReadOnlySpan<int> ids, CancellationToken token = default(CancellationToken))
        {
            int n = ids.Length;
            fixed (int* from = ids)
            {
                int* at = from;
                Long(token, e => Native.sm_session_feed(handle, at, (ulong)n, (sm_error*)e));
            }
        }
#endif

        public Task FeedAsync(int[] ids, CancellationToken token = default(CancellationToken))
        {
            return Hooks.Long(() => { Feed(ids, token); return 0; }, token);
        }

        /// <summary>Makes it hold exactly these tokens; tells how many of them it held.</summary>
        public int Sync(int[] ids, CancellationToken token = default(CancellationToken))
        {
            ulong reused = 0;
            ulong* found = &reused;
            fixed (int* from = Library.Fixable(ids))
            {
                int* at = from;
                Long(token, e => Native.sm_session_sync(handle, at, (ulong)ids.Length, found,
                    (sm_error*)e));
            }
            return (int)reused;
        }

        /// <summary>Forgets all tokens from a length on.</summary>
        public void Rewind(int length, CancellationToken token = default(CancellationToken))
        {
            if (length < 0)
                throw new ArgumentOutOfRangeException(nameof(length));
            Long(token, e => Native.sm_session_rewind(handle, (uint)length, (sm_error*)e));
        }

        /// <summary>Those after the last token: a copy.</summary>
        public float[] Logits()
        {
            handle.Acquire(); // they are the session's
            try
            {
                float* first;
                ulong n;
                float** values = &first;
                ulong* found = &n;
                Library.Call(e => Native.sm_session_logits(handle, values, found, (sm_error*)e));
                var logits = new float[n];
                Marshal.Copy((IntPtr)first, logits, 0, logits.Length);
                return logits;
            }
            finally
            {
                handle.DangerousRelease();
            }
        }

        /// <summary>Chooses the next token; null: the likeliest.</summary>
        public Choice Sample(Sampling sampling = null)
        {
            var c = new sm_choice { struct_size = (uint)sizeof(sm_choice) };
            sm_choice* at = &c;
            using (var arena = new Arena())
            {
                sm_sampling* how = (sampling ?? new Sampling()).Fill(arena);
                Long(CancellationToken.None,
                    e => Native.sm_session_sample(handle, how, at, (sm_error*)e));
            }
            return new Choice(c);
        }

        /// <summary>A second session with the same tokens, cache and logits.</summary>
        public Session Fork(ForkOptions options = null,
            CancellationToken token = default(CancellationToken))
        {
            Session fork = null;
            Long(token, outer =>
            {
                using (var arena = new Arena())
                {
                    sm_fork_options* c = (options ?? new ForkOptions()).Fill(arena);
                    fork = Of(handle.Model, (made, other, e) =>
                    {
                        c->cancel_flag = other;
                        return Native.sm_session_fork((IntPtr*)made, handle, c, (sm_error*)e);
                    });
                }
                return Constants.SM_OK;
            });
            return fork;
        }

        /// <summary>About the last text that was generated.</summary>
        public Stats Stats
        {
            get
            {
                var c = new sm_generate_stats { struct_size = (uint)sizeof(sm_generate_stats) };
                sm_generate_stats* at = &c;
                Library.Call(e => Native.sm_session_get_stats(handle, at, (sm_error*)e));
                return new Stats(c);
            }
        }

        // ---- texts

        /// <summary>Continues a text on the caller's thread; what told throws comes out.</summary>
        public void Generate(string prompt, GenerateOptions options, Action<Token> told,
            CancellationToken token = default(CancellationToken))
        {
            Generate(prompt, options, new Ongoing(token), told);
        }

        /// <summary>The same, piece by piece; leaving the loop ends the work.</summary>
        public IEnumerable<Token> Stream(string prompt, GenerateOptions options = null,
            CancellationToken token = default(CancellationToken))
        {
            return StreamAsync(prompt, options, token).All();
        }

        /// <summary>The same without a thread that waits: "await foreach", or NextAsync.</summary>
        public Pieces<Token> StreamAsync(string prompt, GenerateOptions options = null,
            CancellationToken token = default(CancellationToken))
        {
            if (prompt == null)
                throw new ArgumentNullException(nameof(prompt));
            return new Pieces<Token>((call, told) => Generate(prompt, options, call, told),
                flag.Cancel, token);
        }

        /// <summary>The whole continuation.</summary>
        public string Complete(string prompt, GenerateOptions options = null,
            CancellationToken token = default(CancellationToken))
        {
            var text = new StringBuilder();
            Generate(prompt, options, piece => text.Append(piece.Text), token);
            return text.ToString();
        }

        public Task<string> CompleteAsync(string prompt, GenerateOptions options = null,
            CancellationToken token = default(CancellationToken))
        {
            return Hooks.Long(() => Complete(prompt, options, token), token);
        }

        private void Generate(string prompt, GenerateOptions options, Ongoing call,
            Action<Token> told)
        {
            byte[] bytes = Library.Bytes(prompt);
            sm_token_fn hook = (user, token) => call.Tell(() => told(new Token(token)));
            Constrained(options, call, (c, e) =>
            {
                fixed (byte* from = bytes)
                    return Native.sm_session_generate(handle, from, (ulong)bytes.Length - 1,
                        (sm_generate_options*)c, Hooks.Pointer(hook), null, (sm_error*)e);
            });
            GC.KeepAlive(hook);
        }

        private delegate int Generating(void* options, void* error);

        /// <summary>Makes what the text must match, if anything, and the call.</summary>
        private void Constrained(GenerateOptions options, Ongoing call, Generating work)
        {
            GenerateOptions given = options ?? new GenerateOptions();
            Long(call, e =>
            {
                using (var arena = new Arena())
                {
                    sm_generate_options* c = given.Fill(arena);
                    c->constraint = SmallMind.Model.WithTokenizer(Model,
                        tokenizer => given.Constraint(tokenizer, flag.Pointer.DangerousGetHandle()));
                    try
                    {
                        return work(c, e);
                    }
                    finally
                    {
                        Native.sm_constraint_free(c->constraint);
                    }
                }
            });
        }

        // ---- answers

        /// <summary>
        /// Answers a conversation, a JSON array as in OpenAI's API, on this thread.
        /// </summary>
        public void Chat(string messages, ChatOptions options, Action<Delta> told,
            CancellationToken token = default(CancellationToken))
        {
            Chat(messages, options, new Ongoing(token), told);
        }

        /// <summary>The whole answer.</summary>
        public Answer Chat(IEnumerable<Message> messages, ChatOptions options = null,
            CancellationToken token = default(CancellationToken))
        {
            var answer = new Answer();
            Chat(Message.Json(messages), options, answer.Add, token);
            return answer;
        }

        public Task<Answer> ChatAsync(IEnumerable<Message> messages, ChatOptions options = null,
            CancellationToken token = default(CancellationToken))
        {
            return Hooks.Long(() => Chat(messages, options, token), token);
        }

        /// <summary>Piece by piece; leaving the loop ends the work.</summary>
        public IEnumerable<Delta> StreamChat(IEnumerable<Message> messages,
            ChatOptions options = null, CancellationToken token = default(CancellationToken))
        {
            return StreamChatAsync(messages, options, token).All();
        }

        public Pieces<Delta> StreamChatAsync(IEnumerable<Message> messages,
            ChatOptions options = null, CancellationToken token = default(CancellationToken))
        {
            string json = Message.Json(messages);
            return new Pieces<Delta>((call, told) => Chat(json, options, call, told), flag.Cancel,
                token);
        }

        private void Chat(string messages, ChatOptions options, Ongoing call, Action<Delta> told)
        {
            ChatOptions given = options ?? new ChatOptions();
            sm_delta_fn hook = (user, delta) => call.Tell(() => told(new Delta(delta)));
            Constrained(given.Generate, call, (c, e) =>
            {
                using (var arena = new Arena())
                {
                    byte* asked = arena.ZeroEnded(nameof(messages), messages);
                    byte* tools = arena.ZeroEnded(nameof(given.Tools), given.Tools);
                    sm_chat_options* how = given.Chat(arena);
                    sm_answer_options* answer = given.Fill((sm_generate_options*)c, arena);
                    IntPtr chat;
                    IntPtr* at = &chat;
                    Library.Call(inner => Native.sm_chat_new_from_model(at, Model, how,
                        (sm_error*)inner));
                    try
                    {
                        return Native.sm_session_chat(handle, new Borrowed(chat), asked, tools,
                            answer, Hooks.Pointer(hook), null, (sm_error*)e);
                    }
                    finally
                    {
                        Native.sm_chat_free(chat);
                    }
                }
            });
            GC.KeepAlive(hook);
        }

        /// <summary>
        /// Ends the call that it is at, too; the memory goes when that has returned.
        /// </summary>
        public void Dispose()
        {
            flag.Cancel(null);
            handle.Dispose();
        }
    }
}
