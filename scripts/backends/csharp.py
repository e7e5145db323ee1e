"""bindings/csharp: declarations for P/Invoke (Native.cs), classes of options (Options.cs)."""
import pathlib
import textwrap

import headers
import option_tables

ROOT = pathlib.Path(__file__).resolve().parents[2]
MADE = "// Made by scripts/bindings.py: do not edit."
NUMBERS = {"char": "byte", "uint8_t": "byte", "int32_t": "int", "uint32_t": "uint",
           "sm_status": "int", "int64_t": "long", "uint64_t": "ulong", "float": "float",
           "double": "double", "void": "void"}
KEYWORDS = {"in", "out", "ref", "params", "string", "object", "base", "checked", "fixed", "lock",
            "operator", "event", "is", "as"}
OPTION_TYPES = {"U32": "uint", "U64": "ulong", "F64": "double", "BOOL": "bool", "STRING": "string"}
# C struct: class here, which is partial; whether it has more in a part by hand (Lists)
STRUCTS = {"sm_model_options": ("ModelOptions", False),
           "sm_session_options": ("SessionOptions", False),
           "sm_fork_options": ("ForkOptions", False),
           "sm_encoder_options": ("EncoderOptions", False),
           "sm_sampling": ("Sampling", True),
           "sm_generate_options": ("GenerateOptions", True)}


def name_of(name):
    return f"@{name}" if name in KEYWORDS else name


def base_of(kind):
    return " ".join(word for word in kind.replace("*", " ").split() if word != "const")


def kind_of(h, kind, freeing=False):
    """The type of a parameter or a member. Handles are SafeHandles where `freeing` is None."""
    base, stars = base_of(kind), kind.count("*")
    if base in h.callbacks:
        return "IntPtr"
    if base in h.handles:
        return "SafeHandle" if stars == 1 and freeing is None else "IntPtr" + "*" * (stars - 1)
    return NUMBERS.get(base, base) + "*" * stars


def arguments(h, f, freeing=None):
    return ", ".join(f"{kind_of(h, p.type, freeing)} {name_of(p.name)}" for p in f.parameters)


def result_of(f):
    return NUMBERS.get(f.result, "byte*" if "char" in f.result else f.result)


def struct(h, name):
    out = ["", "    [StructLayout(LayoutKind.Sequential)]", f"    public unsafe struct {name}", "    {"]
    for f in h.structs[name]:
        kind = kind_of(h, f.type)
        out.append(f"        public fixed {kind} {name_of(f.name)}[{f.count}];" if f.count > 1
                   else f"        public {kind} {name_of(f.name)};")
    return [*out, "    }"]


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def documented(text, indent):
    lines = textwrap.wrap(escaped(text), 96 - indent)
    if not lines:
        return []
    lead = " " * indent + "/// "
    return [f"{lead}<summary>", *(lead + line for line in lines), f"{lead}</summary>"]


def functions(h):
    comments, out = headers.comments(ROOT), []
    for f in h.functions.values():
        handles = any(base_of(p.type) in h.handles and p.type.count("*") == 1
                      for p in f.parameters)
        freeing = False if f.name.endswith("_free") or not handles else None
        out += ["", *documented(comments.get(f.name, ""), 8),
                "        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]",
                *textwrap.wrap(f"public static extern {result_of(f)} {f.name}("
                               f"{arguments(h, f, freeing)});", 100, initial_indent=" " * 8,
                               subsequent_indent=" " * 12)]
    return out


def native(h):
    out = ["// Declarations of libsmallmind.", MADE, "", "using System;",
           "using System.Runtime.InteropServices;", "", "#pragma warning disable 649, 1591", "",
           "namespace SmallMind.Abi", "{", "    /// <summary>Constants of libsmallmind.</summary>",
           "    public static class Constants", "    {"]
    rows = [*h.constants.items(), *h.numbers.items()]
    out += [f"        public const {'int' if value < 0 or name == 'SM_OK' else 'uint'} {name} = "
            f"{value};" for name, value in rows]
    out += ["        public const double SM_ZERO = -1.0;",
            "        public const uint SM_ZERO_U32 = uint.MaxValue;",
            "        public const uint SM_NAME_NONE = uint.MaxValue;",
            "        public const ulong SM_ZT = ulong.MaxValue;", "    }"]
    for f in h.callbacks.values():
        out += ["", "    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]",
                *textwrap.wrap(f"public unsafe delegate {result_of(f)} {f.name}("
                               f"{arguments(h, f, False)});", 100, initial_indent=" " * 4,
                               subsequent_indent=" " * 8)]
    for name in h.structs:
        out += struct(h, name)
    out += ["", *documented("Functions of libsmallmind. A SafeHandle stays open during a call.", 4),
            "    public static unsafe class Native", "    {",
            '        public const string Library = "smallmind";', *functions(h), "    }", "}", ""]
    return "\n".join(out)


def camel(name):
    return "".join(part.capitalize() for part in name.split("_"))


def is_enum(row):
    return row.kind == "ENUM" and not row.names[0].isdigit()


def enum(row):
    words = ", ".join(word.upper() if any(c.isdigit() for c in word) else word.capitalize()
                      for word in row.names.split("|"))
    return ["", f"    /// <summary>Of options {camel(row.name)}.</summary>",
            f"    public enum {camel(row.name)} {{ {words} }}"]


def type_of(row):
    if is_enum(row):
        return camel(row.name)
    kind = OPTION_TYPES.get(row.kind, "uint")
    return f"{kind}?" if row.zero else kind


def member(row):
    kind, name = type_of(row), camel(row.name)
    doc = " ".join(line.strip(" /") for line in option_tables.comment(row, "///"))
    return ["", *documented(doc.replace("; 0 can be said", "; null: the default, 0 is 0"), 8),
            f"        public {kind} {name} {{ get; set; }}"]


def assignment(row):
    name = camel(row.name)
    value = {"STRING": f'arena.ZeroEnded(nameof({name}), {name})', "BOOL": f"{name} ? 1u : 0u",
             "ENUM": f"(uint){name}"}.get(row.kind, name)
    if row.zero:
        zero = "SM_ZERO_U32" if row.kind == "U32" else "SM_ZERO"
        value = f"{name} == 0 ? Constants.{zero} : {name} ?? 0"
    return f"            c->{row.name} = {value};"


def options(h):
    tables = option_tables.read(ROOT)
    out = ["// Options of libsmallmind.", MADE, "", "using SmallMind.Abi;", "",
           "namespace SmallMind", "{"]
    body = []
    for struct_name, (ours, more) in STRUCTS.items():
        rows = option_tables.settable(tables, struct_name)
        for row in filter(is_enum, rows):
            body += enum(row)
        body += ["", *documented(f"{struct_name}: what is not set is the library's default.", 4),
                 f"    public sealed partial class {ours}", "    {",
                 *[line for row in rows for line in member(row)][1:], "",
                 f"        internal unsafe {struct_name}* Fill(Arena arena)", "        {",
                 f"            var c = ({struct_name}*)arena.Take(sizeof({struct_name}));",
                 f"            c->struct_size = (uint)sizeof({struct_name});",
                 *map(assignment, rows), *(["            Lists(c, arena);"] if more else []),
                 "            return c;", "        }", "    }"]
    return "\n".join([*out, *body[1:], "}", ""])


FILES = {"bindings/csharp/src/Native.cs": native, "bindings/csharp/src/Options.cs": options}
