using System;
using System.Collections.Generic;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;
using SmallMind.Abi;

namespace SmallMind
{
    /// <summary>What the library refused.</summary>
    public sealed class SmallmindException : Exception
    {
        internal SmallmindException(int status, int system, string message) : base(message)
        {
            Status = status;
            SystemError = system;
        }

        /// <summary>Constants.SM_ERR_…</summary>
        public int Status { get; }

        /// <summary>The system's number of what failed (errno, GetLastError), or 0.</summary>
        public int SystemError { get; }
    }

    /// <summary>The library that is running.</summary>
    public static unsafe class Library
    {
        /// <summary>Its version.</summary>
        public static string Version => Text(Native.sm_version());

        /// <summary>A call that takes an error (sm_error*).</summary>
        internal delegate int Work(void* error);

        internal static void Call(Work work)
        {
            var error = default(sm_error);
            int status = work(&error);
            if (status != Constants.SM_OK)
                throw new SmallmindException(status, error.system, Text(error.message));
        }

        /// <summary>Refuses a library whose structs are others.</summary>
        internal static void Check()
        {
            if (Native.sm_abi() != Constants.SM_ABI)
                throw new DllNotFoundException("libsmallmind has ABI " + Native.sm_abi()
                    + ", this assembly is for " + Constants.SM_ABI);
        }

        /// <summary>Of a text that ends with a zero; "" for none.</summary>
        internal static string Text(byte* text)
        {
            int length = 0;
            while (text != null && text[length] != 0)
                length++;
            return Text(text, (ulong)length);
        }

        internal static string Text(byte* text, ulong length)
        {
            return text == null || length == 0 ? ""
                : Encoding.UTF8.GetString(text, checked((int)length));
        }

        /// <summary>Not empty, so that it can be fixed; a zero is behind the text.</summary>
        internal static byte[] Bytes(string text)
        {
            if (text == null)
                throw new ArgumentNullException(nameof(text));
            byte[] bytes = new byte[Encoding.UTF8.GetByteCount(text) + 1];
            Encoding.UTF8.GetBytes(text, 0, text.Length, bytes, 0);
            return bytes;
        }

        /// <summary>Of a text that C reads up to a zero.</summary>
        internal static byte[] ZeroEnded(string name, string text)
        {
            if (text != null && text.IndexOf('\0') >= 0)
                throw new ArgumentException("holds a zero", name);
            return Bytes(text);
        }

        /// <summary>An array of one element at least, so that it can be fixed.</summary>
        internal static int[] Fixable(int[] ids)
        {
            return ids.Length > 0 ? ids : new int[1];
        }
    }

    /// <summary>Memory that structs of one call point to.</summary>
    internal sealed unsafe class Arena : IDisposable
    {
        private readonly List<IntPtr> held = new List<IntPtr>();

        /// <summary>All zero.</summary>
        internal void* Take(int size)
        {
            IntPtr memory = Marshal.AllocHGlobal(size);
            held.Add(memory);
            byte* bytes = (byte*)memory;
            for (int i = 0; i < size; i++)
                bytes[i] = 0;
            return bytes;
        }

        internal byte* Copy(byte[] bytes)
        {
            byte* memory = (byte*)Take(bytes.Length);
            Marshal.Copy(bytes, 0, (IntPtr)memory, bytes.Length);
            return memory;
        }

        /// <summary>Null stays null.</summary>
        internal byte* ZeroEnded(string name, string text)
        {
            return text == null ? null : Copy(Library.ZeroEnded(name, text));
        }

        internal sm_text* Texts(IList<string> texts, out ulong n)
        {
            n = (ulong)(texts?.Count ?? 0);
            if (n == 0)
                return null;
            var list = (sm_text*)Take(sizeof(sm_text) * texts.Count);
            for (int i = 0; i < texts.Count; i++)
            {
                byte[] bytes = Library.Bytes(texts[i]);
                list[i].text = Copy(bytes);
                list[i].length = (ulong)bytes.Length - 1;
            }
            return list;
        }

        public void Dispose()
        {
            foreach (IntPtr memory in held)
                Marshal.FreeHGlobal(memory);
            held.Clear();
        }
    }

    /// <summary>
    /// A call that is being made: who may end it, and what its callback has thrown.
    /// </summary>
    internal sealed class Ongoing
    {
        internal readonly CancellationToken Token;
        internal volatile bool Cancelled;
        private ExceptionDispatchInfo thrown;

        internal Ongoing(CancellationToken token)
        {
            Token = token;
        }

        /// <summary>
        /// What a callback answers, whatever it does: nothing goes through the library.
        /// </summary>
        internal int Tell(Action told)
        {
            try
            {
                told();
            }
            catch (Exception failure)
            {
                thrown = ExceptionDispatchInfo.Capture(failure);
                return 1;
            }
            return Cancelled ? 1 : 0;
        }

        internal unsafe void Make(Library.Work work)
        {
            try
            {
                if (Cancelled)
                    throw new SmallmindException(Constants.SM_ERR_CANCELLED, 0, "cancelled");
                Library.Call(work);
            }
            catch (SmallmindException refused)
            {
                thrown?.Throw();
                if (refused.Status == Constants.SM_ERR_CANCELLED)
                    Token.ThrowIfCancellationRequested();
                throw;
            }
        }
    }

    /// <summary>What ends the call that somebody is at, from any thread.</summary>
    internal sealed class Flag
    {
        internal readonly CancelHandle Pointer = CancelHandle.New();
        private readonly object door = new object();
        private Ongoing current;

        /// <summary>A call that takes long; the handle stays open meanwhile.</summary>
        internal void During(Handle handle, Ongoing call, Library.Work work)
        {
            handle.Acquire();
            try
            {
                During(call, o => o.Make(work));
            }
            finally
            {
                handle.DangerousRelease();
            }
        }

        /// <summary>Makes a call that its token, and Cancel, end.</summary>
        internal void During(Ongoing call, Action<Ongoing> make)
        {
            call.Token.ThrowIfCancellationRequested();
            lock (door)
            {
                if (current != null)
                    throw new SmallmindException(Constants.SM_ERR_STATE, 0,
                        "it is in use by a call that has not returned");
                current = call;
            }
            try
            {
                using (call.Token.Register(() => Cancel(call)))
                    make(call);
            }
            finally
            {
                lock (door)
                {
                    current = null;
                    Native.sm_cancel_set(Pointer, 0);
                }
            }
        }

        /// <summary>Of this call, or of any (null), if it is being made.</summary>
        internal void Cancel(Ongoing call)
        {
            if (call != null)
                call.Cancelled = true;
            lock (door)
            {
                if (current != null && (call == null || call == current))
                    Native.sm_cancel_set(Pointer, 1);
            }
        }
    }
}
