"""libsmallmind: language models inside your program.

    import smallmind

    with smallmind.Model("model.gguf") as model, model.session() as session:
        for piece in session.generate("Once upon a time", max_tokens=40):
            print(piece, end="", flush=True)

Options are keyword arguments by the names of the C library's fields; smallmind.options() lists
them. Whatever the library refuses raises an Error with its message. Calls release the interpreter's
lock; Ctrl-C ends them.
"""
from . import _options
from ._encode import Encoder
from ._library import (ArgumentError, CancelledError, ContextFullError, Error, FileError,
                       FormatError, OutOfMemoryError, StateError, UnsupportedError, lib)
from ._model import Adapter, Constraint, Model
from ._session import Session
from ._train import Trainer, init_model, merge_adapter, quantize, train_vocabulary

__all__ = ["Adapter", "ArgumentError", "CancelledError", "Constraint", "ContextFullError",
           "Encoder", "Error", "FileError", "FormatError", "Model", "OutOfMemoryError", "Session",
           "StateError", "Trainer", "UnsupportedError", "init_model", "merge_adapter", "options",
           "quantize", "train_vocabulary", "version"]


def version():
    return lib.sm_version().decode()


def options():
    """What keyword arguments there are: {of what: a line for each}."""
    return {name: _options.documentation(struct) for name, struct in _options.NAMES.items()}
