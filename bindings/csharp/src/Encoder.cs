using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using SmallMind.Abi;

namespace SmallMind
{
    /// <summary>What an encoder makes.</summary>
    public sealed class EncoderInfo
    {
        internal EncoderInfo(sm_encoder_info c)
        {
            Pooling = c.pooling;
            Dimensions = (int)c.n_dims;
            Width = (int)c.n_embd;
            MaxTokens = (int)c.max_tokens;
            Labels = (int)c.n_labels;
        }

        /// <summary>Constants.SM_POOLING_…</summary>
        public uint Pooling { get; }

        /// <summary>Of vectors.</summary>
        public int Dimensions { get; }

        /// <summary>Of hidden states.</summary>
        public int Width { get; }

        /// <summary>Of a text.</summary>
        public int MaxTokens { get; }

        /// <summary>Scores of a text; 0: the model has none.</summary>
        public int Labels { get; }
    }

    /// <summary>
    /// Vectors and scores of texts, of one text or of many together. One call at a time: others get
    /// SM_ERR_STATE.
    /// </summary>
    public sealed unsafe class Encoder : IDisposable
    {
        private readonly EncoderHandle handle;
        private readonly Flag flag;

        private Encoder(EncoderHandle handle, Flag flag)
        {
            this.handle = handle;
            this.flag = flag;
        }

        internal static Encoder Of(Shared model, Session.Maker maker)
        {
            var flag = new Flag();
            IntPtr made;
            IntPtr* at = &made;
            Library.Call(e => maker(at, flag.Pointer.DangerousGetHandle(), e));
            return new Encoder(new EncoderHandle(made, model, flag.Pointer), flag);
        }

        public EncoderInfo Info
        {
            get
            {
                var c = new sm_encoder_info { struct_size = (uint)sizeof(sm_encoder_info) };
                sm_encoder_info* at = &c;
                Library.Call(e => Native.sm_encoder_get_info(handle, at, (sm_error*)e));
                return new EncoderInfo(c);
            }
        }

        /// <summary>Names of the scores of a text; "" for one that has none.</summary>
        public IReadOnlyList<string> Labels
        {
            get
            {
                handle.Acquire(); // the names are the model's
                try
                {
                    var names = new string[Info.Labels];
                    for (int i = 0; i < names.Length; i++)
                    {
                        ulong length;
                        byte* name = Native.sm_encoder_label(handle, (uint)i, &length);
                        names[i] = Library.Text(name, length);
                    }
                    return names;
                }
                finally
                {
                    handle.DangerousRelease();
                }
            }
        }

        /// <summary>The vector of a text.</summary>
        public float[] Embed(string text, CancellationToken token = default(CancellationToken))
        {
            return Embed(new[] { text }, token)[0];
        }

        /// <summary>The vectors of texts, in their order.</summary>
        public float[][] Embed(IList<string> texts,
            CancellationToken token = default(CancellationToken))
        {
            int width = Info.Dimensions;
            return Rows(texts, width, token, (c, n, to, room, e) =>
                Native.sm_encoder_embed(handle, (sm_text*)c, n, to, room, (sm_error*)e));
        }

        public Task<float[][]> EmbedAsync(IList<string> texts,
            CancellationToken token = default(CancellationToken))
        {
            return Hooks.Long(() => Embed(texts, token), token);
        }

        /// <summary>The scores of a text by labels.</summary>
        public float[] Score(string text, CancellationToken token = default(CancellationToken))
        {
            return Score(new[] { text }, token)[0];
        }

        /// <summary>The scores of texts by labels, in their order.</summary>
        public float[][] Score(IList<string> texts,
            CancellationToken token = default(CancellationToken))
        {
            int width = Info.Labels;
            return Rows(texts, width, token, (c, n, to, room, e) =>
                Native.sm_encoder_score(handle, (sm_text*)c, n, to, room, (sm_error*)e));
        }

        /// <summary>How well documents answer a query, the greater the better.</summary>
        public float[] Rerank(string query, IList<string> documents,
            CancellationToken token = default(CancellationToken))
        {
            byte[] bytes = Library.Bytes(query);
            float[][] rows = Rows(documents, 1, token, (c, n, to, room, e) =>
            {
                fixed (byte* from = bytes)
                    return Native.sm_encoder_rerank(handle, from, (ulong)bytes.Length - 1,
                        (sm_text*)c, n, to, room, (sm_error*)e);
            });
            return Array.ConvertAll(rows, row => row[0]);
        }

        private delegate int Filling(void* texts, ulong n, float* to, ulong room, void* error);

        private float[][] Rows(IList<string> texts, int width, CancellationToken token,
            Filling work)
        {
            // without labels the call says what is wrong
            var all = new float[Math.Max(1, checked(texts.Count * width))];
            using (var arena = new Arena())
            {
                ulong n;
                sm_text* c = arena.Texts(texts, out n);
                ulong room = (ulong)all.Length;
                fixed (float* to = all)
                {
                    float* at = to;
                    flag.During(handle, new Ongoing(token), e => work(c, n, at, room, e));
                }
            }
            var rows = new float[texts.Count][];
            for (int i = 0; i < rows.Length; i++)
            {
                rows[i] = new float[width];
                Array.Copy(all, i * width, rows[i], 0, width);
            }
            return rows;
        }

        /// <summary>Ends the call that it is at, too; the memory goes when that has returned.</summary>
        public void Dispose()
        {
            flag.Cancel(null);
            handle.Dispose();
        }
    }
}
