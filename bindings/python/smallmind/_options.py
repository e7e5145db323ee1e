"""Keyword arguments by the library's own tables of options."""
import ctypes
import functools
import operator

from . import _abi
from ._library import call, lib, sized, zero_ended

TABLES = {
    _abi.sm_model_options: _abi.SM_OPTIONS_MODEL,
    _abi.sm_session_options: _abi.SM_OPTIONS_SESSION,
    _abi.sm_sampling: _abi.SM_OPTIONS_SAMPLING,
    _abi.sm_generate_options: _abi.SM_OPTIONS_GENERATE,
    _abi.sm_fork_options: _abi.SM_OPTIONS_FORK,
    _abi.sm_encoder_options: _abi.SM_OPTIONS_ENCODER,
    _abi.sm_trainer_options: _abi.SM_OPTIONS_TRAINER,
    _abi.sm_export_options: _abi.SM_OPTIONS_EXPORT,
    _abi.sm_vocabulary_options: _abi.SM_OPTIONS_VOCABULARY,
    _abi.sm_model_init_options: _abi.SM_OPTIONS_INIT,
    _abi.sm_quantize_options: _abi.SM_OPTIONS_QUANTIZE,
    _abi.sm_merge_options: _abi.SM_OPTIONS_MERGE,
}

# what takes them as keyword arguments
NAMES = {
    "Model": _abi.sm_model_options, "session": _abi.sm_session_options,
    "generate": _abi.sm_generate_options, "sampling": _abi.sm_sampling,
    "fork": _abi.sm_fork_options, "encoder": _abi.sm_encoder_options,
    "Trainer": _abi.sm_trainer_options,
    "export": _abi.sm_export_options, "train_vocabulary": _abi.sm_vocabulary_options,
    "init_model": _abi.sm_model_init_options, "quantize": _abi.sm_quantize_options,
    "merge_adapter": _abi.sm_merge_options,
}


@functools.lru_cache(maxsize=None)
def table(struct):
    """{name: sm_option} of the fields that can be set from numbers and texts; the number of a list
    goes with the list."""
    rows = {}
    for i in range(lib.sm_options_count(TABLES[struct])):
        row = sized(_abi.sm_option)
        call("sm_options_get", TABLES[struct], i, ctypes.byref(row))
        name = row.name.decode()
        of_list = name.startswith("n_") and hasattr(struct, name[2:])
        if row.type != _abi.SM_OPTION_POINTER and hasattr(struct, name) and not of_list:
            rows[name] = row
    return rows


WIDTHS = {_abi.SM_OPTION_U64: 64}  # 32 of all others


def whole(name, value, bits):
    """A whole number; ctypes would cut off what does not fit."""
    number = operator.index(value)
    if not 0 <= number < 1 << bits:
        raise ValueError(f"{name} is {number}, not in 0..{(1 << bits) - 1}")
    return number


def value_of(row, value):
    """What a field holds for a value of Python's."""
    if row.type == _abi.SM_OPTION_STRING:
        return zero_ended(row.name.decode(), value)
    if row.type == _abi.SM_OPTION_ENUM and isinstance(value, str):
        place = lib.sm_names_find(row.names, value.encode(), None)
        if place == _abi.SM_NAME_NONE:
            raise ValueError(f"{row.name.decode()}: {value!r} is none of {row.names.decode()}")
        return place
    if row.type == _abi.SM_OPTION_F64:
        return row.zero if value == 0 and row.zero else float(value)
    if value == 0 and row.zero:
        return int(row.zero)
    return whole(row.name.decode(), value, WIDTHS.get(row.type, 32))


def fill(options, values):
    """Sets fields; the library itself looks whether they are in range. Takes them out of values."""
    for name, row in table(type(options)).items():
        value = values.pop(name, None)
        if value is not None:
            setattr(options, name, value_of(row, value))
    return options


def make(struct, values):
    options = fill(sized(struct), values)
    refuse(values)
    return options


def refuse(values):
    if values:
        raise TypeError(f"unknown option {next(iter(values))!r}")


def documentation(struct):
    """A line for each option."""
    return "\n".join(f"{name}: {row.doc.decode()}" for name, row in table(struct).items())
