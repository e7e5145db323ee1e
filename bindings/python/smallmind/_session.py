"""Sessions: text, chat, and token by token."""
import ctypes
import functools
import json

from . import _abi, _options, _schema, _stream
from ._handle import Guard, Handle, interruptible, new_flag, owned
from ._library import (FormatError, bytes_of, call, filled, id_array, lib, sized, text_bytes, texts,
                       zero_ended)
from ._model import Constraint, as_dict, path_bytes

# bytes of weights that are read without making a thread that could be interrupted: some
# milliseconds of the slowest machine
SHORT = 1 << 24

FINISH = {_abi.SM_FINISH_NONE: "none", _abi.SM_FINISH_END: "end", _abi.SM_FINISH_STOP: "stop",
          _abi.SM_FINISH_LENGTH: "length", _abi.SM_FINISH_CANCELLED: "cancelled",
          _abi.SM_FINISH_CONTEXT: "context", _abi.SM_FINISH_ERROR: "error"}


def _json(value):
    return None if value is None else json.dumps(value, default=_schema.plain).encode()


class _Texts:
    """Options of texts, taken out of `values`, and what they refer to until the text is there."""

    def __init__(self, model, values):
        stop, ban = (texts(values.pop(name, ())) for name in ("stop", "ban"))
        self.draft = values.pop("draft", None)
        self.constraint = self._constraint(model, values)
        self.sampling = _sampling(values)
        given = self.given = _options.make(_abi.sm_generate_options, values)
        given.sampling = ctypes.pointer(self.sampling)  # ctypes keeps alive what fields point to
        given.stop, given.n_stop, given.ban, given.n_ban = stop, len(stop), ban, len(ban)
        given.constraint, given.draft = (  # an empty session is false
            None if handle is None else handle._as_parameter_.value
            for handle in (self.constraint, self.draft))

    @staticmethod
    def _constraint(model, values):
        named = {name: values.pop(name, None) for name in ("schema", "grammar", "regex", "choices")}
        asked = {name: value for name, value in named.items() if value is not None}
        made = values.pop("constraint", None)
        if not asked:
            return made
        return Constraint(model, **asked, **({} if made is None else {"constraint": made}))


def _sampling(values):
    """Those options, taken out of `values`."""
    given = _options.fill(sized(_abi.sm_sampling), values)
    bias, breakers = values.pop("bias", None) or {}, texts(values.pop("dry_breaker_texts", ()))
    given.bias = (_abi.sm_logit_bias * len(bias))(
        *(_abi.sm_logit_bias(token=i, bias=bias[i]) for i in id_array(bias)))
    given.n_bias = len(bias)
    given.dry_breaker_texts, given.n_dry_breaker_texts = breakers, len(breakers)
    return given


class Session(Handle):
    """A sequence of tokens with a model. One call at a time."""

    def __init__(self, model, **values):
        given = _options.make(_abi.sm_session_options, values)
        self._make(model, given, "sm_session_new", model)

    def _make(self, model, given, name, source):
        """Where the source is a session, its flag ends the making."""
        self._flag_owner, self.model = new_flag(), model
        given.cancel_flag = self._flag.value
        asked = getattr(source, "_flag", self._flag)
        super().__init__(interruptible(asked, functools.partial(
            owned, lib.sm_session_free, name, source, ctypes.byref(given))))

    @property
    def _flag(self):
        return self._flag_owner.handle

    def __len__(self):
        return lib.sm_session_length(self)

    @property
    def tokens(self):
        ids, n = (ctypes.c_int32 * len(self))(), ctypes.c_uint64()
        call("sm_session_tokens", self, 0, ids, len(ids), ctypes.byref(n))
        return list(ids[:n.value])

    @property
    def info(self):
        return as_dict(filled(_abi.sm_session_info, "sm_session_get_info", self))

    @property
    def stats(self):
        """About the last text that was generated, as a dict."""
        found = as_dict(filled(_abi.sm_generate_stats, "sm_session_get_stats", self))
        found["finish"] = FINISH.get(found["finish"], "other")
        return found

    def cancel(self):
        """Ends the call that another thread is in."""
        lib.sm_cancel_set(self._flag, 1)

    def _call(self, name, *arguments):
        """A call that takes long."""
        try:
            interruptible(self._flag, lambda: call(name, self, *arguments))
        finally:
            lib.sm_cancel_set(self._flag, 0)

    def feed(self, ids):
        """Appends tokens and computes them."""
        array = id_array(ids)
        if len(array) * self.model._decode_bytes <= SHORT:
            call("sm_session_feed", self, array, len(array))
        else:
            self._call("sm_session_feed", array, len(array))

    async def afeed(self, ids):
        array = id_array(ids)
        await _stream.awaited(self._flag,
                              lambda: call("sm_session_feed", self, array, len(array)))

    def feed_logits(self, ids):
        """Appends tokens and gives the logits after each of them: a buffer of floats, a row for
        each token (numpy.asarray takes it without a copy)."""
        array, wide = id_array(ids), self.info["n_vocab"]
        logits = (ctypes.c_float * (len(array) * wide))()
        self._call("sm_session_feed_logits", array, len(array), logits, len(logits))
        return memoryview(logits).cast("B").cast("f", (len(array), wide))

    def rewind(self, length):
        self._call("sm_session_rewind", _options.whole("length", length, 32))

    def logits(self):
        """After the last token: a read-only buffer of floats (numpy.asarray takes it without a
        copy), valid until the session is next fed or rewound. It keeps the session's memory, also
        where the session is closed."""
        start, n = ctypes.POINTER(ctypes.c_float)(), ctypes.c_uint64()
        call("sm_session_logits", self, ctypes.byref(start), ctypes.byref(n))
        array = (ctypes.c_ubyte * (4 * n.value)).from_address(ctypes.addressof(start.contents))
        array._owner = self._owner
        self._owner.lend(array)
        return memoryview(array).cast("B").cast("f").toreadonly()

    def sample(self, **values):
        """(id, log-probability) of the next token by sampling options."""
        choice, given = sized(_abi.sm_choice), _sampling(values)
        _options.refuse(values)
        call("sm_session_sample", self, ctypes.byref(given), ctypes.byref(choice))
        return choice.id, choice.logprob

    def fork(self, **values):
        """A second session with the same tokens."""
        given = _options.make(_abi.sm_fork_options, values)
        fork = Session.__new__(Session)
        fork._make(self.model, given, "sm_session_fork", self)
        return fork

    def save(self, path):
        """Writes all that going on takes."""
        self._call("sm_session_save", path_bytes("path", path))

    def restore(self, path):
        self._call("sm_session_restore", path_bytes("path", path))

    def attach(self, adapter, scale=1.0):
        """Adds an adapter to what is computed; the session forgets its tokens."""
        call("sm_session_attach", self, adapter, scale)

    def detach(self, adapter):
        call("sm_session_detach", self, adapter)

    def _generating(self, prompt, values):
        how, data = _Texts(self.model, values), text_bytes(prompt)

        def run(put):
            def told(token):
                text = bytes_of(token.contents, "text", token.contents.length)
                if text:
                    put(text.decode(errors="replace"))
            with Guard() as guard:
                hook = guard(_abi.sm_token_fn, told)
                call("sm_session_generate", self, data, len(data), ctypes.byref(how.given), hook,
                     None)
            del hook
        return self._flag, run

    def generate(self, prompt, **values):
        """Continues a text: gives pieces of it while they come. Options are those of generation and
        of sampling, stop and ban (texts), draft (a session that guesses), bias ({id: number}), and
        what the text has to match: constraint, or one of schema, grammar, regex and choices.
        Closing the iterator, or Ctrl-C, ends the work."""
        return iter(_stream.Stream(*self._generating(prompt, values)))

    def agenerate(self, prompt, **values):
        """The same for `async for`; cancelling the task ends the work."""
        return _stream.stream(*self._generating(prompt, values))

    def complete(self, prompt, **values):
        """The whole continuation."""
        return "".join(self.generate(prompt, **values))

    async def acomplete(self, prompt, **values):
        return "".join([piece async for piece in self.agenerate(prompt, **values)])

    def _chatting(self, messages, tools, template, tool_choice, variables, values):
        how = _Texts(self.model, values)
        answer = sized(_abi.sm_answer_options, generate=ctypes.pointer(how.given))
        answer.tool_choice = zero_ended("tool_choice", tool_choice) if tool_choice else None
        answer.variables = _json(variables)
        answer._kept = how  # what its fields refer to
        named = sized(_abi.sm_chat_options)
        named.template_name = zero_ended("template", template) if template else None
        chat = Handle(owned(lib.sm_chat_free, "sm_chat_new_from_model", self.model,
                            ctypes.byref(named)))
        asked, offered = _json(messages), _json(tools or None)

        def run(put):
            def told(delta):
                put(json.loads(bytes_of(delta.contents, "json", delta.contents.json_length)))
            with chat, Guard() as guard:
                hook = guard(_abi.sm_delta_fn, told)
                call("sm_session_chat", self, chat, asked, offered, ctypes.byref(answer), hook,
                     None)
            del hook
        return self._flag, run

    def stream_chat(self, messages, *, tools=None, template=None, tool_choice=None, variables=None,
                    **values):
        """Answers messages (dicts as in OpenAI's API, or what becomes such: models of pydantic,
        dataclasses): gives the deltas of the answer as dicts, last one with the whole "message",
        the "finish_reason" and the "usage". Options as of generate."""
        return iter(_stream.Stream(*self._chatting(messages, tools, template, tool_choice,
                                                   variables, values)))

    def astream_chat(self, messages, *, tools=None, template=None, tool_choice=None, variables=None,
                     **values):
        """The same for `async for`; cancelling the task ends the work."""
        return _stream.stream(*self._chatting(messages, tools, template, tool_choice, variables,
                                              values))

    def chat(self, messages, **values):
        """The whole answer: the message, as a dict."""
        last = {}
        for last in self.stream_chat(messages, **values):
            pass
        return last["message"]

    async def achat(self, messages, **values):
        last = {}
        async for last in self.astream_chat(messages, **values):
            pass
        return last["message"]

    def chat_as(self, kind, messages, **values):
        """The answer as a value: of a model of pydantic, a dataclass or another type that a
        Constraint takes as its schema; for a schema as a dict or text what JSON says."""
        return self._read(kind, self.chat(messages, schema=kind, **values))

    async def achat_as(self, kind, messages, **values):
        return self._read(kind, await self.achat(messages, schema=kind, **values))

    def _read(self, kind, message):
        finish = self.stats["finish"]
        if finish not in ("end", "stop"):
            raise FormatError(_abi.SM_ERR_FORMAT,
                              f"the answer ended before it was complete ({finish})")
        return _schema.read(kind, message["content"])
