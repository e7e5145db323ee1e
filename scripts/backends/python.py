"""bindings/python: the declarations for ctypes, and types of the keyword arguments."""
import pathlib
import re

import option_tables

ROOT = pathlib.Path(__file__).resolve().parents[2]

CTYPES = {"void": "None", "char": "c_char", "float": "c_float", "double": "c_double",
          "uint8_t": "c_uint8", "int32_t": "c_int32", "uint32_t": "c_uint32",
          "int64_t": "c_int64", "uint64_t": "c_uint64"}


def plain(kind):
    return " ".join(re.sub(r"\bconst\b", "", kind).split())


def python_type(h, kind, result=False):
    """The ctypes type of a C one. Pointers to handles and bytes are addresses."""
    bare = plain(kind)
    bare = h.scalars.get(bare, bare)
    if bare in CTYPES:
        return CTYPES[bare]
    if bare in h.callbacks:
        return bare
    if not bare.endswith("*"):
        return bare  # a struct inside another
    target = plain(bare[:-1])
    if target == "char":
        return "c_char_p" if result or "const" in kind else "c_void_p"
    if target == "void" or target in h.handles:
        return "c_void_p"
    return f"POINTER({python_type(h, target)})"


def python_struct(h, name):
    lines = [f"class {name}(Structure):", "    pass", "", ""]
    fields = ",\n".join(
        f'    ("{f.name}", {python_type(h, f.type)}{f" * {f.count}" if f.count > 1 else ""})'
        for f in h.structs[name])
    return lines, [f"{name}._fields_ = [", fields + ",", "]", ""]


def python(h):
    out = ['"""Declarations of libsmallmind for ctypes. Made by scripts/bindings.py: do not edit."""',
           "# ruff: noqa", "from ctypes import (CFUNCTYPE, POINTER, Structure, c_char, c_char_p, c_double,",
           "                    c_float, c_int32, c_int64, c_uint8, c_uint32, c_uint64, c_void_p)", "",
           "# constants"]
    out += [f"{name} = {value}" for name, value in h.constants.items()]
    out += [f"{name} = {value}" for name, value in h.numbers.items()]
    out += ["", "# what no int can be", "SM_ZERO = -1.0", "SM_ZERO_U32 = 4294967295",
            "SM_NAME_NONE = 4294967295", "SM_ZT = 18446744073709551615", "", ""]
    bodies = []
    for name in h.structs:
        declared, body = python_struct(h, name)
        out += declared
        bodies += body
    out.append("# callbacks")
    for f in h.callbacks.values():
        types = ", ".join([python_type(h, f.result),
                           *(python_type(h, p.type) for p in f.parameters)])
        out.append(f"{f.name} = CFUNCTYPE({types})")
    out += ["", "# fields", *bodies, "# functions: result, parameters", "FUNCTIONS = {"]
    for f in h.functions.values():
        types = ", ".join(python_type(h, p.type) for p in f.parameters)
        out.append(f'    "{f.name}": ({python_type(h, f.result, True)}, [{types}]),')
    return "\n".join([*out, "}", ""])


# C struct: name here, what it is made on, members that no table has
KEYWORDS = {
    "sm_model_options": ("ModelOptions", "TypedDict", []),
    "sm_session_options": ("SessionOptions", "TypedDict", []),
    "sm_fork_options": ("ForkOptions", "TypedDict", []),
    "sm_encoder_options": ("EncoderOptions", "TypedDict", []),
    "sm_sampling": ("SamplingOptions", "TypedDict", [
        "bias: Mapping[int, float]", "dry_breaker_texts: Union[Text, Iterable[Text]]"]),
    "sm_generate_options": ("GenerateOptions", "SamplingOptions", [
        "stop: Union[Text, Iterable[Text]]", "ban: Union[Text, Iterable[Text]]",
        "draft: Optional[smallmind.Session]", "constraint: Optional[smallmind.Constraint]",
        "schema: Any", "grammar: Text", "regex: Text", "choices: Iterable[Text]"]),
    "sm_trainer_options": ("TrainerOptions", "TypedDict", []),
    "sm_export_options": ("ExportOptions", "TypedDict", []),
    "sm_vocabulary_options": ("VocabularyOptions", "TypedDict", []),
    "sm_model_init_options": ("InitOptions", "TypedDict", []),
    "sm_quantize_options": ("QuantizeOptions", "TypedDict", []),
    "sm_merge_options": ("MergeOptions", "TypedDict", []),
}
# what are parameters of their own
PARAMETERS = {("sm_trainer_options", "data"), ("sm_quantize_options", "type")}
KINDS = {"U32": "int", "U64": "int", "F64": "float", "BOOL": "bool", "STRING": "str"}


def keyword(row):
    if row.kind != "ENUM":
        return f"    {row.name}: {KINDS[row.kind]}"
    words = ", ".join(f'"{word}"' for word in row.names.split("|"))
    return f"    {row.name}: Union[int, Literal[{words}]]"


def keywords(_):
    tables = option_tables.read(ROOT)
    out = ['"""Keyword arguments of libsmallmind, for type checkers. Made by scripts/bindings.py: do not',
           'edit."""', "# ruff: noqa", "from __future__ import annotations", "",
           "from typing import (TYPE_CHECKING, Any, Iterable, Literal, Mapping, Optional, TypedDict,",
           "                    Union)", "", "if TYPE_CHECKING:", "    import smallmind", "",
           "Text = Union[str, bytes]"]
    for struct, (name, base, more) in KEYWORDS.items():
        out += ["", "", f"class {name}({base}, total=False):"]
        for row in option_tables.settable(tables, struct):
            if (struct, row.name) not in PARAMETERS:
                out += [*option_tables.comment(row, "#"), keyword(row)]
        out += [f"    {member}" for member in more]
    return "\n".join([*out, ""])


FILES = {"bindings/python/smallmind/_abi.py": python,
         "bindings/python/smallmind/_keywords.py": keywords}
