using System;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using SmallMind.Abi;

namespace SmallMind
{
    /// <summary>What a file says of its model.</summary>
    public sealed class ModelInfo
    {
        internal unsafe ModelInfo(sm_model_info* c)
        {
            Architecture = Library.Text(c->architecture);
            Name = Library.Text(c->name);
            Vocabulary = c->n_vocab;
            TrainedContext = c->n_ctx_train;
            Width = c->n_embd;
            Layers = c->n_layer;
            Parameters = c->n_params;
            WeightBytes = c->weight_bytes;
        }

        public string Architecture { get; }
        public string Name { get; }
        public int Vocabulary { get; }
        public int TrainedContext { get; }
        public int Width { get; }
        public int Layers { get; }
        public ulong Parameters { get; }
        public ulong WeightBytes { get; }
    }

    /// <summary>
    /// A model of a GGUF file, or of a Hugging Face directory. Any number of threads may use it;
    /// sessions keep it, so that it may be disposed of at any time.
    /// </summary>
    public sealed unsafe class Model : IDisposable
    {
        private readonly ModelHandle handle;

        private Model(IntPtr made)
        {
            handle = new ModelHandle(made);
        }

        /// <summary>progress is told of done and total units; what it throws comes out.</summary>
        public static Model Load(string path, ModelOptions options = null,
            Action<ulong, ulong> progress = null,
            CancellationToken token = default(CancellationToken))
        {
            Library.Check();
            byte[] name = Library.ZeroEnded(nameof(path), path);
            var flag = new Flag();
            var call = new Ongoing(token);
            sm_progress_fn hook = (user, done, total) => call.Tell(() => progress(done, total));
            IntPtr made = IntPtr.Zero;
            using (flag.Pointer)
            using (var arena = new Arena())
            {
                sm_model_options* c = (options ?? new ModelOptions()).Fill(arena);
                c->cancel_flag = flag.Pointer.DangerousGetHandle();
                c->progress = progress == null ? IntPtr.Zero : Hooks.Pointer(hook);
                IntPtr* at = &made;
                flag.During(call, o => o.Make(e =>
                {
                    fixed (byte* from = name)
                        return Native.sm_model_load(at, from, c, (sm_error*)e);
                }));
            }
            GC.KeepAlive(hook);
            return new Model(made);
        }

        public static Task<Model> LoadAsync(string path, ModelOptions options = null,
            Action<ulong, ulong> progress = null,
            CancellationToken token = default(CancellationToken))
        {
            return Hooks.Long(() => Load(path, options, progress, token), token);
        }

        public ModelInfo Info
        {
            get
            {
                var c = new sm_model_info { struct_size = (uint)sizeof(sm_model_info) };
                sm_model_info* at = &c;
                handle.Acquire(); // the texts are the model's
                try
                {
                    Library.Call(e => Native.sm_model_get_info(handle, at, (sm_error*)e));
                    return new ModelInfo(at);
                }
                finally
                {
                    handle.DangerousRelease();
                }
            }
        }

        /// <summary>flags: Constants.SM_ENCODE_…</summary>
        public int[] Encode(string text, uint flags = Constants.SM_ENCODE_MARKERS)
        {
            byte[] bytes = Library.Bytes(text);
            var options = new sm_encode_options {
                struct_size = (uint)sizeof(sm_encode_options), flags = flags };
            sm_encode_options* how = &options;
            return WithTokenizer(handle, tokenizer =>
                Measured<int>(2 * bytes.Length + 16, (to, room, n, e) =>
                {
                    fixed (byte* from = bytes)
                    fixed (int* ids = to)
                        return Native.sm_tokenizer_encode(tokenizer, from, (ulong)bytes.Length - 1,
                            how, ids, room, n, (sm_error*)e);
                }));
        }

        public string Decode(params int[] ids)
        {
            return Encoding.UTF8.GetString(DecodeBytes(Constants.SM_DECODE_TEXT, ids));
        }

        /// <summary>A text may end inside a character. flags: Constants.SM_DECODE_…</summary>
        public byte[] DecodeBytes(uint flags, params int[] ids)
        {
            return WithTokenizer(handle, tokenizer =>
                Measured<byte>(16 * ids.Length + 64, (to, room, n, e) =>
                {
                    fixed (int* from = Library.Fixable(ids))
                    fixed (byte* text = to)
                        return Native.sm_tokenizer_decode(tokenizer, from, (ulong)ids.Length,
                            flags, text, room, n, (sm_error*)e);
                }));
        }

        private delegate int Filling<T>(T[] to, ulong room, ulong* n, void* error);

        /// <summary>
        /// A list whose length the library tells: asked for again where it did not fit.
        /// </summary>
        private static T[] Measured<T>(int guess, Filling<T> fill)
        {
            for (ulong n = (ulong)guess; ;)
            {
                var list = new T[n];
                ulong found = 0;
                ulong* at = &found;
                try
                {
                    Library.Call(e => fill(list, (ulong)list.Length, at, e));
                }
                catch (SmallmindException small) when (small.Status == Constants.SM_ERR_BUFFER)
                {
                    n = found;
                    continue;
                }
                Array.Resize(ref list, checked((int)found));
                return list;
            }
        }

        internal static T WithTokenizer<T>(SafeHandle model, Func<Borrowed, T> work)
        {
            IntPtr tokenizer;
            IntPtr* at = &tokenizer;
            Library.Call(e => Native.sm_model_get_tokenizer(model, at, (sm_error*)e));
            try
            {
                return work(new Borrowed(tokenizer));
            }
            finally
            {
                Native.sm_tokenizer_free(tokenizer);
            }
        }

        /// <summary>An empty session.</summary>
        public Session CreateSession(SessionOptions options = null)
        {
            return Session.Of(handle.Model, (made, flag, e) =>
            {
                using (var arena = new Arena())
                {
                    sm_session_options* c = (options ?? new SessionOptions()).Fill(arena);
                    c->cancel_flag = flag;
                    return Native.sm_session_new((IntPtr*)made, handle, c, (sm_error*)e);
                }
            });
        }

        /// <summary>What makes vectors and scores of texts.</summary>
        public Encoder CreateEncoder(EncoderOptions options = null)
        {
            return Encoder.Of(handle.Model, (made, flag, e) =>
            {
                using (var arena = new Arena())
                {
                    sm_encoder_options* c = (options ?? new EncoderOptions()).Fill(arena);
                    c->cancel_flag = flag;
                    return Native.sm_encoder_new((IntPtr*)made, handle, c, (sm_error*)e);
                }
            });
        }

        public void Dispose()
        {
            handle.Dispose();
        }
    }

    internal static class Hooks
    {
        internal static IntPtr Pointer(Delegate hook)
        {
            return Marshal.GetFunctionPointerForDelegate(hook);
        }

        /// <summary>A call in a thread of its own.</summary>
        internal static Task<T> Long<T>(Func<T> work, CancellationToken token)
        {
            return Task.Factory.StartNew(work, token, TaskCreationOptions.LongRunning,
                TaskScheduler.Default);
        }
    }
}
