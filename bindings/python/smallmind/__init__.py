"""libsmallmind: language models inside your program.

    import smallmind

    with smallmind.Model("model.gguf") as model, model.session() as session:
        for piece in session.generate("Once upon a time", max_tokens=40):
            print(piece, end="", flush=True)

Options are keyword arguments by the names of the C library's fields; smallmind.options() lists
them. Whatever the library refuses raises an Error with its message. Calls release the interpreter's
lock; Ctrl-C ends them.
"""
import ctypes
import functools
import json
import os
import queue
import threading
import weakref

from . import _abi
from ._library import (ArgumentError, CancelledError, ContextFullError, Error, FileError,
                       FormatError, OutOfMemoryError, StateError, UnsupportedError, bytes_of, call,
                       filled, id_array, lib, made, sized, text_bytes, zero_ended)
from . import _options

__all__ = ["ArgumentError", "CancelledError", "ContextFullError", "Error", "FileError",
           "FormatError", "Model", "OutOfMemoryError", "Session", "StateError", "UnsupportedError",
           "options", "version"]

# what is so short is done without making a thread that could be interrupted: tokens, bytes of text
SHORT = 4
SHORT_TEXT = 4096

FINISH = {_abi.SM_FINISH_NONE: "none", _abi.SM_FINISH_END: "end", _abi.SM_FINISH_STOP: "stop",
          _abi.SM_FINISH_LENGTH: "length", _abi.SM_FINISH_CANCELLED: "cancelled",
          _abi.SM_FINISH_CONTEXT: "context", _abi.SM_FINISH_ERROR: "error"}


def version():
    return lib.sm_version().decode()


def options():
    """What keyword arguments there are, of models, sessions and generation."""
    return {name: _options.documentation(struct) for name, struct in
            (("Model", _abi.sm_model_options), ("session", _abi.sm_session_options),
             ("generate", _abi.sm_generate_options), ("sampling", _abi.sm_sampling))}


class _Handle:
    """A handle that is freed by close(), at the end of a `with`, or with the object."""

    def __init__(self, handle, free):
        self._handle = handle
        self._finalizer = weakref.finalize(self, free, handle)

    @property
    def _as_parameter_(self):
        if not self._finalizer.alive:
            raise StateError(_abi.SM_ERR_STATE, f"this {type(self).__name__} is closed")
        return self._handle

    def close(self):
        self._finalizer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _until(wait, flag):
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


def _interruptible(flag, function):
    """A call that Ctrl-C ends: the interpreter runs its signal handlers between two steps of the
    main thread's own, so the call is made by another one while the main thread waits."""
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
    threading.Thread(target=work, daemon=True).start()
    interrupt = _until(done.wait, flag)
    if interrupt is not None:
        lib.sm_cancel_set(flag, 0)
        raise interrupt
    if "failure" in outcome:
        raise outcome["failure"]
    return outcome["value"]


class _Guard:
    """Callbacks of one call: what one of them raises ends the call and is raised behind it."""

    def __init__(self):
        self.failure = None

    def __call__(self, kind, function):
        def guarded(_user, *arguments):
            try:
                return function(*arguments) or 0
            except BaseException as failure:
                self.failure = failure
                return 1
        return kind(guarded)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, _trace):
        if self.failure is not None and (kind is None or issubclass(kind, CancelledError)):
            raise self.failure from None


class Model(_Handle):
    """A model of a GGUF file, or of a Hugging Face directory. Any number of threads may use it."""

    def __init__(self, path, *, progress=None, **values):
        flag = _Handle(made("sm_cancel_new"), lib.sm_cancel_free)
        name = zero_ended("path", os.fspath(path))
        given = _options.make(_abi.sm_model_options, values)
        given.cancel_flag = flag._handle.value
        with _Guard() as guard:
            hook = guard(_abi.sm_progress_fn, progress) if progress else _abi.sm_progress_fn()
            given.progress = hook
            handle = _interruptible(flag, lambda: made("sm_model_load", name,
                                                       ctypes.byref(given)))
        super().__init__(handle, lib.sm_model_free)
        self._tokenizer = None

    @property
    def info(self):
        """What the file says, as a dict."""
        info = filled(_abi.sm_model_info, "sm_model_get_info", self)
        return {name: value.decode() if isinstance(value, bytes) else value
                for name, *_ in info._fields_ if name not in ("struct_size", "reserved")
                for value in [getattr(info, name)]}

    def session(self, **values):
        return Session(self, **values)

    def _vocabulary(self):
        if self._tokenizer is None:
            handle = ctypes.c_void_p()
            call("sm_model_get_tokenizer", self, ctypes.byref(handle))
            self._tokenizer = _Handle(handle, lib.sm_tokenizer_free)
        return self._tokenizer

    def encode(self, text, *, special=False, markers=True):
        """The ids of a text."""
        data = text_bytes(text)
        flags = _abi.SM_ENCODE_SPECIAL * special | _abi.SM_ENCODE_MARKERS * markers
        n = ctypes.c_uint64(2 * len(data) + 16)
        flag = _Handle(made("sm_cancel_new"), lib.sm_cancel_free)
        how = sized(_abi.sm_encode_options, flags=flags, cancel_flag=flag._handle.value)
        while True:  # once more where normalization makes a text longer
            ids = (ctypes.c_int32 * n.value)()
            try:
                run = functools.partial(call, "sm_tokenizer_encode", self._vocabulary(), data,
                                        len(data), ctypes.byref(how), ids, len(ids),
                                        ctypes.byref(n))
                run() if len(data) <= SHORT_TEXT else _interruptible(flag, run)
                return ids[:n.value]
            except Error as error:
                if error.code != _abi.SM_ERR_BUFFER:
                    raise

    def decode(self, ids, *, special=False):
        """The text of ids; what is no UTF-8 becomes U+FFFD."""
        array = id_array(ids)
        n = ctypes.c_uint64(16 * len(array) + 64)
        while True:
            text = ctypes.create_string_buffer(n.value + 1)
            try:
                call("sm_tokenizer_decode", self._vocabulary(), array, len(array),
                     _abi.SM_DECODE_SPECIAL * special, text, n.value, ctypes.byref(n))
                return text.raw[:n.value].decode(errors="replace")
            except Error as error:
                if error.code != _abi.SM_ERR_BUFFER:
                    raise


class _Stream:
    """Runs a call in a thread and gives what its callback is told, one by one."""

    def __init__(self, flag, run):
        self._items = queue.Queue()
        self._flag = flag
        self._thread = threading.Thread(target=self._work, args=(run,), daemon=True)

    def _work(self, run):
        try:
            run(self._items.put)
            self._items.put(None)
        except BaseException as failure:
            self._items.put(failure)
        finally:
            lib.sm_cancel_set(self._flag, 0)

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


def _end(flag, thread):
    lib.sm_cancel_set(flag, 1)
    if thread is threading.current_thread():  # whose callback collects garbage
        return None
    interrupt = _until(thread.join, flag)
    lib.sm_cancel_set(flag, 0)
    return interrupt


def _texts(texts):
    texts = (texts,) if isinstance(texts, (str, bytes)) else texts
    data = [text_bytes(text) for text in texts]
    return (_abi.sm_text * len(data))(*(_abi.sm_text(text, len(text)) for text in data))


class Session(_Handle):
    """A sequence of tokens with a model. One call at a time."""

    def __init__(self, model, **values):
        flag = made("sm_cancel_new")
        self._flag = _Handle(flag, lib.sm_cancel_free)
        given = _options.make(_abi.sm_session_options, values)
        given.cancel_flag = flag.value
        super().__init__(made("sm_session_new", model, ctypes.byref(given)), lib.sm_session_free)
        self.model = model

    def __len__(self):
        return lib.sm_session_length(self)

    @property
    def tokens(self):
        ids, n = (ctypes.c_int32 * len(self))(), ctypes.c_uint64()
        call("sm_session_tokens", self, 0, ids, len(ids), ctypes.byref(n))
        return list(ids[:n.value])

    @property
    def stats(self):
        """About the last text that was generated, as a dict."""
        stats = filled(_abi.sm_generate_stats, "sm_session_get_stats", self)
        found = {name: getattr(stats, name) for name, *_ in stats._fields_
                 if name not in ("struct_size", "reserved")}
        found["finish"] = FINISH.get(stats.finish, "other")
        return found

    def cancel(self):
        """Ends the call that another thread is in."""
        lib.sm_cancel_set(self._flag, 1)

    def _work(self, name, *arguments):
        """A call that takes long."""
        try:
            _interruptible(self._flag, lambda: call(name, self, *arguments))
        finally:
            lib.sm_cancel_set(self._flag, 0)

    def feed(self, ids):
        """Appends tokens and computes them."""
        array = id_array(ids)
        if len(array) <= SHORT:
            call("sm_session_feed", self, array, len(array))
        else:
            self._work("sm_session_feed", array, len(array))

    def rewind(self, length):
        self._work("sm_session_rewind", _options.whole("length", length, 32))

    def logits(self):
        """After the last token: a read-only buffer of floats (numpy.asarray takes it without a
        copy), valid until the session is next fed or rewound; it keeps the session alive."""
        start, n = ctypes.POINTER(ctypes.c_float)(), ctypes.c_uint64()
        call("sm_session_logits", self, ctypes.byref(start), ctypes.byref(n))
        array = (ctypes.c_ubyte * (4 * n.value)).from_address(ctypes.addressof(start.contents))
        array._session = self
        return memoryview(array).cast("B").cast("f").toreadonly()

    def sample(self, **values):
        """(id, log-probability) of the next token by sampling options."""
        choice = sized(_abi.sm_choice)
        given = _options.make(_abi.sm_sampling, values)
        call("sm_session_sample", self, ctypes.byref(given), ctypes.byref(choice))
        return choice.id, choice.logprob

    def fork(self, **values):
        """A second session with the same tokens."""
        flag = made("sm_cancel_new")
        given = _options.make(_abi.sm_fork_options, values)
        given.cancel_flag = flag.value
        fork = Session.__new__(Session)
        fork._flag = _Handle(flag, lib.sm_cancel_free)
        _Handle.__init__(fork, made("sm_session_fork", self, ctypes.byref(given)),
                         lib.sm_session_free)
        fork.model = self.model
        return fork

    @staticmethod
    def _generate_options(values, stop, ban):
        sampling = _options.fill(sized(_abi.sm_sampling), values)
        given = _options.fill(sized(_abi.sm_generate_options), values)
        _options.refuse(values)
        given.sampling = ctypes.pointer(sampling)  # ctypes keeps alive what fields point to
        given.stop, given.ban = stops, bans = _texts(stop), _texts(ban)
        given.n_stop, given.n_ban = len(stops), len(bans)
        return given

    def generate(self, prompt, *, stop=(), ban=(), **values):
        """Continues a text: gives pieces of it while they come. Options are those of generation and
        of sampling. Closing the iterator, or Ctrl-C, ends the work."""
        given = self._generate_options(values, stop, ban)
        data = text_bytes(prompt)

        def run(put):
            def told(token):
                text = bytes_of(token.contents, "text", token.contents.length)
                if text:
                    put(text.decode(errors="replace"))
            with _Guard() as guard:
                hook = guard(_abi.sm_token_fn, told)
                call("sm_session_generate", self, data, len(data), ctypes.byref(given), hook, None)
            del hook
        return iter(_Stream(self._flag, run))

    def complete(self, prompt, **values):
        """The whole continuation."""
        return "".join(self.generate(prompt, **values))

    def stream_chat(self, messages, *, tools=None, template=None, tool_choice=None, variables=None,
                    stop=(), ban=(), **values):
        """Answers messages (a list of dicts as in OpenAI's API): gives the deltas of the answer as
        dicts, last one with the whole "message", the "finish_reason" and the "usage"."""
        given = self._generate_options(values, stop, ban)
        how = sized(_abi.sm_answer_options, generate=ctypes.pointer(given))
        how.tool_choice = zero_ended("tool_choice", tool_choice) if tool_choice else None
        how.variables = json.dumps(variables).encode() if variables else None
        asked = json.dumps(messages).encode()
        offered = json.dumps(tools).encode() if tools else None
        named = sized(_abi.sm_chat_options)
        named.template_name = zero_ended("template", template) if template else None
        chat = _Handle(made("sm_chat_new_from_model", self.model, ctypes.byref(named)),
                       lib.sm_chat_free)

        def run(put):
            def told(delta):
                put(json.loads(bytes_of(delta.contents, "json", delta.contents.json_length)))
            with chat, _Guard() as guard:
                hook = guard(_abi.sm_delta_fn, told)
                call("sm_session_chat", self, chat, asked, offered, ctypes.byref(how), hook, None)
            del hook
        return iter(_Stream(self._flag, run))

    def chat(self, messages, **values):
        """The whole answer: the message, as a dict."""
        last = {}
        for last in self.stream_chat(messages, **values):
            pass
        return last["message"]
