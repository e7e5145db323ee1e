"""bindings/java: declarations for JNA (abi/C.java), constants, classes of options."""
import pathlib
import textwrap

import option_tables
import headers

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = "bindings/java/src/main/java/smallmind"
MADE = "Made by scripts/bindings.py: do not edit."
NUMBERS = {"char": "byte", "uint8_t": "byte", "int32_t": "int", "uint32_t": "int",
           "sm_status": "int", "int64_t": "long", "uint64_t": "long", "float": "float",
           "double": "double"}
# C struct: class here, the class by hand that it extends
STRUCTS = {"sm_model_options": ("ModelOptions", "Loading"),
           "sm_session_options": ("SessionOptions", None),
           "sm_fork_options": ("ForkOptions", None),
           "sm_encoder_options": ("EncoderOptions", None),
           "sm_sampling": ("Sampling", "SamplingLists"),
           "sm_generate_options": ("GenerateOptions", "TextLists")}
OPTION_TYPES = {"U32": "long", "U64": "long", "F64": "double", "BOOL": "boolean",
                "STRING": "String"}
FIELD_TYPES = {"U32": "int", "U64": "long", "F64": "double", "BOOL": "int", "ENUM": "int",
               "STRING": "String"}


def base_of(kind):
    return " ".join(word for word in kind.replace("*", " ").split() if word != "const")


def field_type(h, f):
    base = base_of(f.type)
    if base in h.callbacks:
        return base
    if "*" in f.type:
        return "Pointer"
    return NUMBERS[base] + ("[]" if f.count > 1 else "")


def parameter_type(h, kind):
    base, stars = base_of(kind), kind.count("*")
    if base in h.callbacks:
        return base
    if not stars:
        return NUMBERS[base]
    if stars == 2:
        return "Pointer" if base == "char" else "PointerByReference"
    if base in h.structs:
        return base
    return NUMBERS[base] + "[]" if base in NUMBERS else "Pointer"


def result_type(kind):
    return "void" if kind == "void" else NUMBERS.get(kind, "Pointer")


def arguments(h, f, callback=False):
    """Callbacks get numbers, structs and pointers."""
    found = []
    for p in f.parameters:
        kind = parameter_type(h, p.type)
        found.append(f"{'Pointer' if callback and kind.endswith('[]') else kind} {p.name}")
    return ", ".join(found)


def wrapped(lead, text, end="", indent=8):
    return textwrap.wrap(lead + text + end, 100, initial_indent=" " * indent,
                         subsequent_indent=" " * (indent + 8))


def struct(h, name):
    out = ["", *wrapped("@Structure.FieldOrder({",
                        ", ".join(f'"{f.name}"' for f in h.structs[name]), "})", 4),
           f"    public static class {name} extends Structure {{"]
    for f in h.structs[name]:
        kind = field_type(h, f)
        size = f" = new {kind[:-1]}{f.count}]" if f.count > 1 else ""
        out.append(f"        public {kind} {f.name}{size};")
    out += ["", f"        public {name}() {{}}", "",
            f"        public {name}(Pointer at) {{", "            super(at);",
            "            read();", "        }", "    }"]
    return out


def escaped(text):
    for character in "&<>\\":
        text = text.replace(character, f"&#{ord(character)};")
    return text.replace("*/", "* /")


def functions(h):
    comments, out = headers.comments(ROOT), []
    for f in h.functions.values():
        lines = textwrap.wrap(escaped(comments.get(f.name, "")), 88)
        out += ["", *(["        /**", *(f"         * {line}" for line in lines), "         */"]
                      if lines else [])]
        out += wrapped(f"{result_type(f.result)} {f.name}(", arguments(h, f), ");")
    return out[1:]


def abi(h):
    out = ["package smallmind.abi;", "", "import com.sun.jna.Callback;",
           "import com.sun.jna.Library;", "import com.sun.jna.Pointer;",
           "import com.sun.jna.Structure;", "import com.sun.jna.ptr.PointerByReference;", "",
           "/**", f" * Declarations of libsmallmind. {MADE} Texts go down as",
           " * UTF-8, ended by a zero where the library is not told their length.", " */",
           '@SuppressWarnings("checkstyle:TypeName")', "public final class C {",
           "    private C() {}"]
    for f in h.callbacks.values():
        out += ["", f"    public interface {f.name} extends Callback {{",
                *wrapped(f"{result_type(f.result)} invoke(", arguments(h, f, True), ");"), "    }"]
    for name in h.structs:
        out += struct(h, name)
    out += ["", "    public interface Functions extends Library {", *functions(h), "    }", "}", ""]
    return "\n".join(out)


def constants(h):
    rows = {**h.constants, **h.numbers, "SM_ZERO_U32": -1, "SM_NAME_NONE": -1}
    out = ["package smallmind;", "", f"/** Constants of libsmallmind. {MADE} */",
           "public final class Constants {", "    private Constants() {}", ""]
    out += [f"    public static final int {name} = {value};" for name, value in rows.items()]
    return "\n".join([*out, "    public static final double SM_ZERO = -1.0;",
                      "    public static final long SM_ZT = -1L;", "}", ""])


def camel(name):
    first, *more = name.split("_")
    return first + "".join(part.capitalize() for part in more)


def is_enum(row):
    return row.kind == "ENUM" and not row.names[0].isdigit()


def enum_name(row):
    return camel(row.name)[0].upper() + camel(row.name)[1:]


def value_of(row):
    if is_enum(row):
        return "value.ordinal()"
    if row.kind in ("U32", "ENUM"):
        zero = "value == 0 ? Constants.SM_ZERO_U32 : " if row.zero else ""
        return f'{zero}u32("{row.name}", value)'
    if row.kind == "BOOL":
        return "value ? 1 : 0"
    if row.kind == "F64" and row.zero:
        return "value == 0 ? Constants.SM_ZERO : value"
    return f'zeroEnded("{row.name}", value)' if row.kind == "STRING" else "value"


def setter(row, ours):
    kind = enum_name(row) if is_enum(row) else OPTION_TYPES.get(row.kind, "long")
    name = camel(row.name)
    out = []
    if is_enum(row):
        words = ", ".join(word.upper() for word in row.names.split("|"))
        out += ["", f"    /** Of {{@link #{name}}}. */",
                f"    public enum {kind} {{ {words} }}"]
    doc = [escaped(line) for line in option_tables.comment(row, "*", 5)]
    return [*out, "", "    /**", *doc, "     */",
            f"    public {ours} {name}({kind} value) {{",
            f"        {name} = {value_of(row)};", "        return this;", "    }"]


def assignment(row):
    if row.kind == "STRING":
        return f"        c.{row.name} = arena.zeroEnded({camel(row.name)});"
    return f"        c.{row.name} = {camel(row.name)};"


def options(struct_name):
    ours, parent = STRUCTS[struct_name]

    def write(_):
        rows = option_tables.settable(option_tables.read(ROOT), struct_name)
        checks = [word for word in ("u32", "zeroEnded") if any(word in value_of(r) for r in rows)]
        out = ["package smallmind;", ""]
        out += [f"import static smallmind.Arena.{word};" for word in checks]
        out += ["", "import smallmind.abi.C;", "", "/**",
                f" * {{@code {struct_name}}}: what is not set is the library's default.", f" * {MADE}",
                " */", f"public final class {ours}{f' extends {parent}<{ours}>' if parent else ''} {{"]
        out += [f"    private {FIELD_TYPES[row.kind]} {camel(row.name)};" for row in rows]
        for row in rows:
            out += setter(row, ours)
        out += ["", f"    C.{struct_name} fill(Arena arena) {{",
                f"        C.{struct_name} c = new C.{struct_name}();",
                "        c.struct_size = c.size();", *map(assignment, rows)]
        out += ["        lists(c, arena);"] if parent else []
        return "\n".join([*out, "        return c;", "    }", "}", ""])
    return write


FILES = {f"{FOLDER}/abi/C.java": abi, f"{FOLDER}/Constants.java": constants,
         **{f"{FOLDER}/{ours}.java": options(name) for name, (ours, _) in STRUCTS.items()}}
