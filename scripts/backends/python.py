"""Declarations of bindings/python: ctypes."""
import re

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


FILES = {"bindings/python/smallmind/_abi.py": python}
