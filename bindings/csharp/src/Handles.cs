using System;
using System.Runtime.InteropServices;
using System.Threading;
using SmallMind.Abi;

namespace SmallMind
{
    /// <summary>A handle of the library's. Calls keep it open until they return.</summary>
    internal abstract class Handle : SafeHandle
    {
        protected Handle(IntPtr made) : base(IntPtr.Zero, true)
        {
            SetHandle(made);
        }

        public override bool IsInvalid => handle == IntPtr.Zero;

        /// <summary>A use, which DangerousRelease ends; fails where it is closed.</summary>
        internal IntPtr Acquire()
        {
            bool added = false;
            DangerousAddRef(ref added);
            return handle;
        }
    }

    /// <summary>A model, counted: by its handle, open or not, and by sessions.</summary>
    internal sealed class Shared
    {
        internal readonly IntPtr Pointer;
        private int users = 1;

        internal Shared(IntPtr made)
        {
            Pointer = made;
        }

        /// <summary>By who holds it already.</summary>
        internal void Keep()
        {
            Interlocked.Increment(ref users);
        }

        internal void Release()
        {
            if (Interlocked.Decrement(ref users) == 0)
                Native.sm_model_free(Pointer);
        }
    }

    internal sealed class ModelHandle : Handle
    {
        internal readonly Shared Model;

        internal ModelHandle(IntPtr made) : base(made)
        {
            Model = new Shared(made);
        }

        protected override bool ReleaseHandle()
        {
            Model.Release();
            return true;
        }
    }

    internal sealed class CancelHandle : Handle
    {
        internal CancelHandle(IntPtr made) : base(made) { }

        internal static unsafe CancelHandle New()
        {
            IntPtr made;
            IntPtr* at = &made;
            Library.Call(e => Native.sm_cancel_new(at, (sm_error*)e));
            return new CancelHandle(made);
        }

        protected override bool ReleaseHandle()
        {
            Native.sm_cancel_free(handle);
            return true;
        }
    }

    /// <summary>
    /// Uses its model, which is kept for it, and its flag as long as it is there.
    /// </summary>
    internal abstract class PartHandle : Handle
    {
        internal readonly Shared Model;
        private readonly CancelHandle flag;

        protected PartHandle(IntPtr made, Shared model, CancelHandle flag) : base(made)
        {
            Model = model;
            this.flag = flag;
            model.Keep();
            flag.Acquire();
        }

        protected abstract void Free();

        protected override bool ReleaseHandle()
        {
            Free();
            Model.Release();
            flag.DangerousRelease();
            return true;
        }
    }

    internal sealed class SessionHandle : PartHandle
    {
        internal SessionHandle(IntPtr made, Shared model, CancelHandle flag)
            : base(made, model, flag) { }

        protected override void Free()
        {
            Native.sm_session_free(handle);
        }
    }

    internal sealed class EncoderHandle : PartHandle
    {
        internal EncoderHandle(IntPtr made, Shared model, CancelHandle flag)
            : base(made, model, flag) { }

        protected override void Free()
        {
            Native.sm_encoder_free(handle);
        }
    }

    /// <summary>A handle that somebody else holds.</summary>
    internal sealed class Borrowed : SafeHandle
    {
        internal Borrowed(IntPtr held) : base(IntPtr.Zero, false)
        {
            SetHandle(held);
        }

        public override bool IsInvalid => handle == IntPtr.Zero;

        protected override bool ReleaseHandle()
        {
            return true;
        }
    }
}
