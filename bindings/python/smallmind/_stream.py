"""Calls whose callbacks tell something, as iterators: the call has a thread of its own."""
import asyncio
import queue
import threading
import weakref

from ._handle import until
from ._library import lib


def _work(run, put, flag):
    """`run` gives what it has to put, one by one; None comes last, or what was raised."""
    last = None
    try:
        run(put)
    except BaseException as failure:
        last = failure
    finally:
        lib.sm_cancel_set(flag, 0)
        put(last)


def _end(flag, thread):
    lib.sm_cancel_set(flag, 1)
    if thread is threading.current_thread():  # whose callback collects garbage
        return None
    interrupt = until(thread.join, flag)
    lib.sm_cancel_set(flag, 0)
    return interrupt


class Stream:
    """What a call tells, one by one."""

    def __init__(self, flag, run):
        self._items = queue.SimpleQueue()
        self._flag = flag
        self._thread = threading.Thread(target=_work, args=(run, self._items.put, flag),
                                        daemon=True)

    def __iter__(self):
        self._thread.start()
        # where the program ends first, before handles go: finalizers run the newest first
        end = weakref.finalize(self, _end, self._flag, self._thread)
        try:
            while (item := self._items.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:  # the generator was closed, or interrupted
            interrupt = end()
            if interrupt is not None:
                raise interrupt


class _Ended:
    """Work that is over, whether or not its loop is."""

    def __init__(self, loop):
        self._loop = loop
        self._event = asyncio.Event()

    def say(self):
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:  # the loop is closed: nobody waits
            pass

    async def wait(self):
        """However often that is cancelled; gives the last cancelling back."""
        cancelled = None
        while not self._event.is_set():
            try:
                await self._event.wait()
            except asyncio.CancelledError as failure:
                cancelled = failure
        return cancelled


async def stream(flag, run):
    """The same for a loop of asyncio. Cancelling the task that waits, or closing the iterator, ends
    the call, and is through when the call is."""
    loop = asyncio.get_running_loop()
    items, ended = asyncio.Queue(), _Ended(loop)

    def put(item):  # raises where the loop is closed: then the call ends, too
        loop.call_soon_threadsafe(items.put_nowait, item)

    def work():
        try:
            _work(run, put, flag)
        except RuntimeError:
            pass
        finally:
            ended.say()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    at_exit = weakref.finalize(items, _end, flag, thread)
    try:
        while (item := await items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        lib.sm_cancel_set(flag, 1)
        cancelled = await ended.wait()
        at_exit.detach()
        lib.sm_cancel_set(flag, 0)
        if cancelled is not None:
            raise cancelled


async def awaited(flag, function):
    """What a function gives that runs beside the loop; cancelling the task ends it. What it gives
    has to be such that nothing is lost when nobody takes it."""
    last = []
    async for last in stream(flag, lambda put: put([function()])):
        pass
    return last[0]
