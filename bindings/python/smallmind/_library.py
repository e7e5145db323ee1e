"""Finding the library, calling it, and errors of it as exceptions."""
import array
import ctypes
import ctypes.util
import os
import pathlib
import sys

from . import _abi

NAMES = {"linux": ("libsmallmind.so.1", "libsmallmind.so"), "darwin": ("libsmallmind.dylib",),
         "win32": ("smallmind.dll",)}


class Error(RuntimeError):
    """A call that failed: `code` is the status, `system` the system's number of it or 0."""

    def __init__(self, code, message, system=0):
        super().__init__(message)
        self.code = code
        self.system = system


class ArgumentError(Error, ValueError):
    pass


class FileError(Error, OSError):
    def __init__(self, code, message, system=0):
        Error.__init__(self, code, message, system)
        self.errno = system


class FormatError(Error):
    """A file, template, grammar or schema that breaks its form, or lacks something."""


class UnsupportedError(Error):
    """Well formed, but not computed by this version."""


class ContextFullError(Error):
    pass


class CancelledError(Error):
    pass


class StateError(Error):
    pass


class OutOfMemoryError(Error, MemoryError):
    pass


CLASSES = {
    _abi.SM_ERR_ARGUMENT: ArgumentError, _abi.SM_ERR_TOKEN: ArgumentError,
    _abi.SM_ERR_NOMEM: OutOfMemoryError, _abi.SM_ERR_IO: FileError,
    _abi.SM_ERR_FORMAT: FormatError, _abi.SM_ERR_MISSING: FormatError,
    _abi.SM_ERR_SHAPE: FormatError, _abi.SM_ERR_UNSUPPORTED: UnsupportedError,
    _abi.SM_ERR_CONTEXT_FULL: ContextFullError, _abi.SM_ERR_CANCELLED: CancelledError,
    _abi.SM_ERR_STATE: StateError,
}


def _find():
    given = os.environ.get("SMALLMIND_LIBRARY")
    if given:
        return given
    names = NAMES.get(sys.platform, NAMES["linux"])
    for name in names:
        beside = pathlib.Path(__file__).with_name(name)
        if beside.exists():
            return str(beside)
    return ctypes.util.find_library("smallmind") or names[0]


def _load():
    library = ctypes.CDLL(_find())  # calls release the interpreter's lock
    for name, (result, parameters) in _abi.FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, parameters
    if library.sm_abi() != _abi.SM_ABI:
        raise ImportError(f"libsmallmind has ABI {library.sm_abi()}, not {_abi.SM_ABI}")
    return library


lib = _load()


def check(status, error):
    if status != _abi.SM_OK:
        raise CLASSES.get(status, Error)(status, error.message.decode(), error.system)


def call(name, *arguments):
    """A function that takes an error last; raises what it says."""
    error = _abi.sm_error()
    arguments = [getattr(argument, "_as_parameter_", argument) for argument in arguments]
    check(getattr(lib, name)(*arguments, ctypes.byref(error)), error)


def made(name, *arguments):
    """The handle that such a function puts into its first argument."""
    handle = ctypes.c_void_p()
    call(name, ctypes.byref(handle), *arguments)
    return handle


def sized(struct, **values):
    return struct(struct_size=ctypes.sizeof(struct), **values)


def filled(struct, name, *arguments):
    """What sm_…_get_info gives."""
    info = sized(struct)
    call(name, *arguments, ctypes.byref(info))
    return info


def zero_ended(name, text):
    """A text that ends with a zero, in which there can be no other."""
    data = text if isinstance(text, bytes) else text.encode(errors="surrogateescape")
    if b"\0" in data:
        raise ValueError(f"{name} has a zero character")
    return data


def text_bytes(text):
    """A text, or bytes of one."""
    return text.encode() if isinstance(text, str) else memoryview(text).tobytes()


def texts(given):
    """An array of sm_text; a text alone is one text, not one of each letter."""
    data = [text_bytes(text) for text in ((given,) if isinstance(given, (str, bytes)) else given)]
    return (_abi.sm_text * len(data))(*(_abi.sm_text(text, len(text)) for text in data))


def id_array(ids):
    """ctypes would cut off what does not fit."""
    checked = array.array("i", ids)
    return (ctypes.c_int32 * len(checked))(*checked)


def bytes_of(struct, field, length):
    """A text of a struct with its length, zeros included."""
    address = ctypes.c_void_p.from_buffer(struct, getattr(type(struct), field).offset).value
    return ctypes.string_at(address, length) if address and length else b""
