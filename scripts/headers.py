"""What the public headers declare: constants, structs, callbacks, handles, functions, as data.

For what reads them: scripts/check_headers.py and what writes bindings. Reads what the C
preprocessor leaves of smallmind.h and experimental.h, as a binding generator would.
"""
import dataclasses
import pathlib
import re
import subprocess


@dataclasses.dataclass
class Field:
    type: str        # "uint32_t", "const char *", "sm_log_fn"
    name: str
    count: int = 1   # of an array


@dataclasses.dataclass
class Function:
    result: str
    parameters: list  # of Field
    name: str = ""


@dataclasses.dataclass
class Headers:
    constants: dict = dataclasses.field(default_factory=dict)  # name: number
    structs: dict = dataclasses.field(default_factory=dict)    # name: [Field]
    callbacks: dict = dataclasses.field(default_factory=dict)  # name: Function
    handles: list = dataclasses.field(default_factory=list)
    functions: dict = dataclasses.field(default_factory=dict)  # name: Function
    scalars: dict = dataclasses.field(default_factory=dict)    # sm_status: "int32_t"
    numbers: dict = dataclasses.field(default_factory=dict)    # macros; numbers() reads them


def preprocess(root, compiler=("cc",), headers=("smallmind.h", "experimental.h")):
    """The declarations of the headers alone, as the preprocessor leaves them."""
    source = "".join(f"#include <smallmind/{header}>\n" for header in headers)
    include = f"-I{pathlib.Path(root) / 'include'}"
    text = subprocess.run([*compiler, "-E", include, "-DSM_API=", "-DSM_CALL=", "-xc", "-"],
                          input=source, check=True, capture_output=True, text=True).stdout
    ours, lines = False, []
    for line in text.splitlines():
        marker = re.match(r'# \d+ "([^"]*)"', line)
        if marker:
            ours = "/smallmind/" in marker.group(1)
        elif ours and line.strip() and not line.startswith("#"):
            lines.append(line)
    return "\n".join(lines) + "\n"


def field(text):
    """One declaration without its semicolon: "const char *name", "uint64_t dims[4]"."""
    text = " ".join(text.split())
    pointer = re.fullmatch(r"(.*?)\(\s*\*\s*(\w+)\)\s*\((.*)\)", text)
    if pointer:  # a function pointer without a typedef
        return Field(f"{pointer.group(1).strip()} (*)({pointer.group(3)})", pointer.group(2))
    match = re.fullmatch(r"(.*?)(\w+)\s*(?:\[(\w+)\])?", text)
    kind = match.group(1).replace("struct ", "").strip()
    return Field(re.sub(r"\s*\*", " *", kind).replace("* *", "**"), match.group(2),
                 int(match.group(3) or 1))


def parameters(text):
    return [] if text.strip() in ("", "void") else [field(p) for p in split(text)]


def split(text):
    """At the commas that stand in no parentheses."""
    parts, depth, begin = [], 0, 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            parts.append(text[begin:i])
            begin = i + 1
    return parts + [text[begin:]]


def fields(body):
    """The members of a struct; "double min, max;" are two."""
    found = []
    for declaration in filter(str.strip, body.split(";")):
        first, *more = split(declaration)
        found.append(field(first))
        base = found[-1].type.rstrip(" *")
        for name in more:
            found.append(Field(base + (" *" if "*" in name else ""), name.strip(" *")))
    return found


DECLARATION = re.compile(
    r"\s*(?:"
    r"enum\s*\{(?P<enum>[^}]*)\}\s*;"
    r"|typedef\s+struct\s+(?P<struct>\w+)\s*\{(?P<body>[^}]*)\}\s*\w+\s*;"
    r"|typedef\s+struct\s+(?P<handle>\w+)\s+\w+\s*;"
    r"|struct\s+\w+\s*;"
    r"|typedef\s+(?P<back>[\w ]+?[ *]*)\(\s*\*\s*(?P<backname>\w+)\)\s*\((?P<backargs>[^;]*)\)\s*;"
    r"|typedef\s+(?P<scalar>\w+)\s+(?P<alias>\w+)\s*;"
    r"|(?P<result>[\w ]+?[ *]+)(?P<name>sm_\w+)\s*\((?P<args>[^;]*)\)\s*;"
    r")")


def enumerators(text):
    value = -1
    for item in filter(str.strip, text.split(",")):
        name, _, given = item.partition("=")
        value = int(given.strip(), 0) if given else value + 1
        yield name.strip(), value


def parse(text):
    h, text, place = Headers(), " ".join(text.splitlines()), 0
    while text[place:].strip():
        m = DECLARATION.match(text, place)
        if not m:
            raise ValueError(f"not understood: {text[place:place + 200]}")
        place = m.end()
        if m["enum"] is not None:
            h.constants.update(enumerators(m["enum"]))
        elif m["struct"]:
            h.structs[m["struct"]] = fields(m["body"])
        elif m["handle"]:
            h.handles.append(m["handle"])
        elif m["backname"]:
            h.callbacks[m["backname"]] = Function(m["back"].strip(), parameters(m["backargs"]),
                                                  m["backname"])
        elif m["alias"]:
            h.scalars[m["alias"]] = m["scalar"]
        elif m["name"]:
            kind = re.sub(r"\s*\*", " *", m["result"]).strip()
            h.functions[m["name"]] = Function(kind, parameters(m["args"]), m["name"])
    h.handles = [name for name in h.handles if name not in h.structs]
    return h


def read(root, compiler=("cc",), **more):
    return parse(preprocess(root, compiler, **more))


def numbers(root):
    """The version and the ABI number, which stay macros."""
    text = (pathlib.Path(root) / "include" / "smallmind" / "types.h").read_text(encoding="utf-8")
    return {name: int(value)
            for name, value in re.findall(r"^#define (SM_VERSION_\w+|SM_ABI) (\d+)$", text, re.M)}


def comments(root):
    """{function: the comment in front of it, in one line}, for what documents it elsewhere."""
    found = {}
    for path in sorted((pathlib.Path(root) / "include" / "smallmind").glob("*.h")):
        text = path.read_text(encoding="utf-8")
        for comment, name in re.findall(
                r"/\*((?:[^*]|\*(?!/))*)\*/\nSM_API[^;()]*?(\w+)\(", text):
            found[name] = " ".join(re.sub(r"^ \* ?", "", comment, flags=re.M).split())
    return found


# ---- layouts --------------------------------------------------------------------------------

# bytes of a pointer, alignment of eight-byte numbers
ABIS = {"LP64": (8, 8), "LLP64": (8, 8), "ILP32, eight-byte numbers aligned to 4": (4, 4),
        "ILP32, eight-byte numbers aligned to 8": (4, 8)}
SIZES = {"char": 1, "uint8_t": 1, "int8_t": 1, "uint16_t": 2, "int16_t": 2, "uint32_t": 4,
         "int32_t": 4, "float": 4, "uint64_t": 8, "int64_t": 8, "double": 8}


def is_pointer(headers, kind):
    return kind.endswith("*") or "(*)" in kind or kind in headers.callbacks


def size_of(headers, kind, abi):
    """Bytes and alignment of a type."""
    pointer, eight = ABIS[abi]
    if is_pointer(headers, kind):
        return pointer, pointer
    kind = headers.scalars.get(kind.removeprefix("const "), kind.removeprefix("const "))
    if kind in headers.structs:
        return layout(headers, kind, abi)[1:3]
    return SIZES[kind], eight if SIZES[kind] == 8 else SIZES[kind]


def layout(headers, struct, abi):
    """{field: offset}, size, alignment, and bytes of padding behind the last field."""
    offsets, end, widest = {}, 0, 1
    for f in headers.structs[struct]:
        size, align = size_of(headers, f.type, abi)
        end = (end + align - 1) // align * align
        offsets[f.name] = end
        end += size * f.count
        widest = max(widest, align)
    size = (end + widest - 1) // widest * widest
    return offsets, size, widest, size - end
