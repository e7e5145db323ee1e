#!/usr/bin/env python3
"""Checks the public headers against the rules of docs/abi.md.

Usage: check_headers.py [SOURCE_ROOT [C_COMPILER...]]

Of what a preprocessor leaves of them: every constant is there; fixed-width types only; structs
by pointer only; those that grow begin with struct_size, the others' comments say that they never
grow; no struct ends with padding on any ABI. Of the text: functions have SM_API and SM_CALL,
callbacks SM_CALL, macros are those that are none of these. Where cffi is installed, it has to
understand them, and find every constant.
"""
import pathlib
import re
import sys

import headers

MACROS = {"SM_API", "SM_CALL", "SM_ABI", "SM_VERSION_MAJOR", "SM_VERSION_MINOR",
          "SM_VERSION_PATCH", "SM_VERSION_PRE", "SM_ZERO", "SM_ZERO_U32", "SM_NAME_NONE", "SM_ZT"}
SCALARS = {"uint32_t", "int32_t", "uint64_t", "int64_t", "double", "sm_status"}
POINTED = SCALARS | {"void", "char", "float", "uint8_t"}


def texts(root):
    for path in sorted((root / "include" / "smallmind").glob("*.h")):
        yield path.name, path.read_text(encoding="utf-8")


def bare(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def check_text(root):
    """What the preprocessor would take away."""
    found = []
    for name, text in texts(root):
        code = bare(text)
        for macro in re.findall(r"^\s*#\s*define\s+(\w+)", code, flags=re.MULTILINE):
            if macro not in MACROS and not macro.endswith("_H"):
                found.append(f"{name}: {macro} is a macro: a constant is an enumerator")
        code = re.sub(r"^\s*#.*$", "", code, flags=re.MULTILINE)
        for function in re.findall(r"\bSM_API\b([^;]*?)\(", code):
            if "SM_CALL" not in function:
                found.append(f"{name}: {function.split()[-1]} has no SM_CALL")
        for callback in re.findall(r"\(\s*\*\s*(\w+)\s*\)\s*\(", code):
            found.append(f"{name}: the callback {callback} has no SM_CALL")
    return found


def check_constants(root, h):
    written = {c for _, text in texts(root)
               for e in re.findall(r"enum\s*\{(.*?)\}", bare(text), flags=re.DOTALL)
               for c in re.findall(r"\b(SM_\w+)\s*(?:[=,]|$)", e)}
    return [f"{name} is lost" for name in sorted(written ^ set(h.constants))]


def pointed(h, kind):
    base = re.sub(r"\bconst\b|\*", "", kind).strip()
    return base in POINTED or base in h.structs or base in h.handles


def plain(h, kind):
    """Whether a value may be of this type."""
    return kind in SCALARS or kind in h.callbacks or (kind.endswith(("*", "const")) and pointed(h, kind))


def check_types(h):
    found = [f"{f.name} returns {f.result}" for f in h.functions.values()
             if f.result != "void" and not plain(h, f.result)]
    for f in [*h.functions.values(), *h.callbacks.values()]:
        found += [f"{f.name}: {p.name} is of type {p.type}" for p in f.parameters
                  if not plain(h, p.type)]
    for struct, fields in h.structs.items():
        found += [f"{struct}: {f.name} is of type {f.type}" for f in fields
                  if not (plain(h, f.type) or (f.type == "char" and f.count > 1))]
    return found


def never_grows(root):
    """Structs whose comment says so."""
    said = set()
    for _, text in texts(root):
        said.update(re.findall(r"never\s+grows?\b[^/]*\*/\s*typedef struct (\w+)",
                               re.sub(r"\n \*(?!/)", "\n", text), flags=re.IGNORECASE))
    return said


def check_growth(root, h):
    fixed = never_grows(root)
    sized = {s for s, f in h.structs.items()
             if (f[0].type, f[0].name) == ("uint32_t", "struct_size")}
    return ([f"{s} neither begins with struct_size nor is said never to grow"
             for s in sorted(set(h.structs) - sized - fixed)] +
            [f"{s} is said never to grow, and has struct_size" for s in sorted(sized & fixed)])


def check_layouts(h):
    return [f"{struct} ends with {tail} bytes of padding ({abi})"
            for struct in h.structs for abi in headers.ABIS
            for *_, tail in [headers.layout(h, struct, abi)] if tail]


def check_cffi(root, compiler, h):
    try:
        import cffi
    except ImportError:
        return []
    ffi = cffi.FFI()
    ffi.cdef(headers.preprocess(root, compiler))
    lib = ffi.dlopen(None)
    return [f"cffi does not know {name}" for name, value in h.constants.items()
            if getattr(lib, name, None) != value]


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    compiler = sys.argv[2:] or ["cc"]
    h = headers.read(root, compiler)
    found = (check_text(root) + check_constants(root, h) + check_types(h) +
             check_growth(root, h) + check_layouts(h) + check_cffi(root, compiler, h))
    for line in found:
        print(line)
    print(f"{len(h.functions)} functions, {len(h.structs)} structs, {len(h.callbacks)} callbacks, "
          f"{len(h.constants)} constants: {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
