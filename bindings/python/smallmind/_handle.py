"""Handles, and calls that take long: what interrupts them ends them."""
import _thread
import threading
import weakref

from . import _abi
from ._library import CancelledError, StateError, lib, made


class Owner:
    """Memory of the library's that is given back once: when asked, or with this object; not while
    what was lent of it is there."""

    def __init__(self, handle, free):
        self.handle = handle
        self.open = True
        self._free = weakref.finalize(self, free, handle)
        self._lent = 0

    def lend(self, part):
        """`part` lies in the memory; it has to refer to this object itself."""
        self._lent += 1
        weakref.finalize(part, self._returned).atexit = False

    def _returned(self):
        self._lent -= 1
        if not self.open and not self._lent:
            self._free()

    def close(self):
        self.open = False
        if not self._lent:
            self._free()


def owned(free, name, *arguments):
    """What such a function puts into its first argument."""
    return Owner(made(name, *arguments), free)


def new_flag():
    """Ends the calls that it is given to."""
    return owned(lib.sm_cancel_free, "sm_cancel_new")


class Handle:
    """A handle that is freed by close(), at the end of a `with`, or with the object."""

    def __init__(self, owner):
        self._owner = owner

    @property
    def _as_parameter_(self):
        if not self._owner.open:
            raise StateError(_abi.SM_ERR_STATE, f"this {type(self).__name__} is closed")
        return self._owner.handle

    def close(self):
        self._owner.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def until(wait, flag):
    """Waits for a thread's end; whatever interrupts that, however often, cancels its work and is
    given back: memory that the work uses may not go before it."""
    interrupt = None
    while True:
        try:
            wait()
            return interrupt
        except BaseException as failure:
            interrupt = failure
            lib.sm_cancel_set(flag, 1)


def interruptible(flag, function):
    """A call that Ctrl-C ends: the interpreter runs its signal handlers between two steps of the
    main thread's own, so the call is made by another one while the main thread waits. What it
    gives has to be such that nothing is lost when nobody takes it."""
    if threading.current_thread() is not threading.main_thread():
        return function()
    done, outcome = threading.Event(), {}

    def work():
        try:
            outcome["value"] = function()
        except BaseException as failure:
            outcome["failure"] = failure
        finally:
            done.set()
    _thread.start_new_thread(work, ())
    interrupt = until(done.wait, flag)
    if interrupt is not None:
        lib.sm_cancel_set(flag, 0)
        raise interrupt
    if "failure" in outcome:
        raise outcome["failure"]
    return outcome["value"]


class Guard:
    """Callbacks of one call: what one of them raises ends the call and is raised behind it."""

    def __init__(self):
        self.failure = None

    def __call__(self, kind, function):
        def guarded(_user, *arguments):
            try:
                return int(bool(function(*arguments)))
            except BaseException as failure:
                self.failure = failure
                return 1
        return kind(guarded)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, _trace):
        if self.failure is not None and (kind is None or issubclass(kind, CancelledError)):
            raise self.failure from None
