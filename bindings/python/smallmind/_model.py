"""Models, and what is made of one: constraints, adapters."""
import ctypes
import functools
import os

from . import _abi, _options, _schema, _stream
from ._handle import Guard, Handle, Owner, interruptible, new_flag, owned
from ._library import (Error, call, filled, id_array, lib, sized, text_bytes, texts, zero_ended)

# bytes of text that are encoded without making a thread that could be interrupted
SHORT_TEXT = 4096


def as_dict(struct):
    """What a struct says, but for its size."""
    return {name: value.decode(errors="replace") if isinstance(value, bytes) else value
            for name, *_ in struct._fields_ if name not in ("struct_size", "reserved")
            for value in [getattr(struct, name)]}


def path_bytes(name, path):
    return zero_ended(name, os.fspath(path))


def loaded(name, free, arguments, given, progress):
    """What interruptible and awaited take: the flag, and a function that makes the Owner."""
    flag = new_flag()
    given.cancel_flag = flag.handle.value

    def load():
        with Guard() as guard:
            hook = guard(_abi.sm_progress_fn, progress) if progress else _abi.sm_progress_fn()
            given.progress = hook
            owner = owned(free, name, *arguments, ctypes.byref(given))
            owner.flag = flag  # some handles go on asking it
            return owner
    return flag.handle, load


class Model(Handle):
    """A model of a GGUF file, or of a Hugging Face directory. Any number of threads may use it."""

    def __init__(self, path, *, progress=None, **values):
        self._take(interruptible(*self._loading(path, progress, values)))

    @staticmethod
    def _loading(path, progress, values):
        given = _options.make(_abi.sm_model_options, values)
        return loaded("sm_model_load", lib.sm_model_free, [path_bytes("path", path)], given,
                      progress)

    def _take(self, owner):
        super().__init__(owner)
        self._tokenizer = None
        self._decode_bytes = self.info["decode_bytes"]
        return self

    @classmethod
    async def aload(cls, path, *, progress=None, **values):
        """The same beside the loop; progress is called by another thread."""
        owner = await _stream.awaited(*cls._loading(path, progress, values))
        return cls.__new__(cls)._take(owner)

    @property
    def info(self):
        """What the file says, as a dict."""
        return as_dict(filled(_abi.sm_model_info, "sm_model_get_info", self))

    def session(self, **values):
        from ._session import Session
        return Session(self, **values)

    def encoder(self, **values):
        """What makes vectors and scores of texts."""
        from ._encode import Encoder
        return Encoder(self, **values)

    def constraint(self, **how):
        """What text has to match: one of schema, grammar, regex and choices; see Constraint."""
        return Constraint(self, **how)

    def _vocabulary(self):
        if self._tokenizer is None:
            handle = ctypes.c_void_p()
            call("sm_model_get_tokenizer", self, ctypes.byref(handle))
            self._tokenizer = Handle(Owner(handle, lib.sm_tokenizer_free))
        return self._tokenizer

    def encode(self, text, *, special=False, markers=True):
        """The ids of a text."""
        data = text_bytes(text)
        flags = _abi.SM_ENCODE_SPECIAL * special | _abi.SM_ENCODE_MARKERS * markers
        n = ctypes.c_uint64(2 * len(data) + 16)
        flag = new_flag()
        how = sized(_abi.sm_encode_options, flags=flags, cancel_flag=flag.handle.value)
        while True:  # once more where normalization makes a text longer
            ids = (ctypes.c_int32 * n.value)()
            try:
                run = functools.partial(call, "sm_tokenizer_encode", self._vocabulary(), data,
                                        len(data), ctypes.byref(how), ids, len(ids),
                                        ctypes.byref(n))
                run() if len(data) <= SHORT_TEXT else interruptible(flag.handle, run)
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


class Constraint(Handle):
    """What generated text has to match. Of `schema` (a model of pydantic, a dataclass, a type of
    typing, or a JSON Schema as a dict or text), `grammar` (GBNF), `regex` or `choices` (texts)."""

    _KINDS = {"grammar": _abi.SM_CONSTRAINT_GRAMMAR, "regex": _abi.SM_CONSTRAINT_REGEX}

    def __init__(self, model, **how):
        if len(how) != 1:
            raise TypeError("a constraint is of one of schema, grammar, regex and choices")
        (name, value), = how.items()
        flag = new_flag()
        given = sized(_abi.sm_constraint_options, cancel_flag=flag.handle.value)
        arguments = self._arguments(name, value, model._vocabulary(), given, flag)
        super().__init__(interruptible(flag.handle, functools.partial(
            owned, lib.sm_constraint_free, *arguments)))

    def _arguments(self, name, value, vocabulary, given, flag):
        if name == "choices":
            choices = texts(value)
            return ["sm_constraint_new_choices", vocabulary, choices, len(choices),
                    ctypes.byref(given)]
        if name == "schema":
            text = text_bytes(_schema.text_of(value))
            of_schema = sized(_abi.sm_schema_options, cancel_flag=flag.handle.value)
            return ["sm_constraint_new_schema", vocabulary, text, len(text),
                    ctypes.byref(of_schema), ctypes.byref(given)]
        if name in self._KINDS:
            text = text_bytes(value)
            return ["sm_constraint_new", vocabulary, self._KINDS[name], text, len(text),
                    ctypes.byref(given)]
        raise TypeError(f"there is no constraint of {name}")


class Adapter(Handle):
    """A LoRA adapter of a file or of PEFT's directory, for sessions of this model."""

    def __init__(self, model, path, *, progress=None):
        given = sized(_abi.sm_adapter_options)
        arguments = [model, path_bytes("path", path)]
        super().__init__(interruptible(*loaded("sm_adapter_load", lib.sm_adapter_free, arguments,
                                               given, progress)))

    @property
    def info(self):
        return as_dict(filled(_abi.sm_adapter_info, "sm_adapter_get_info", self))
