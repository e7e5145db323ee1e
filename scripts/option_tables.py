"""The tables of options in lib/base/options.c, as data: for the bindings' structs of options."""
import dataclasses
import pathlib
import re
import textwrap


@dataclasses.dataclass
class Option:
    kind: str    # U32, U64, F64, ENUM, BOOL, STRING, POINTER
    name: str
    names: str   # of an ENUM, separated by '|'
    doc: str
    zero: bool   # that 0 can be said, and is not the default


ROW = re.compile(r"^    (U32|U64|F64|F64_ZERO|U32_ZERO|ENUM|BOOL|STRING|POINTER)\("
                 r"\s*(\w+),\s*(\w+)(.*?)\),\n(?=    [A-Z]|\};)", re.M | re.S)
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"(?:\s*"(?:[^"\\]|\\.)*")*')


def text(literals):
    """What adjacent literals of C say together."""
    return "".join(part[1:-1] for part in re.findall(r'"(?:[^"\\]|\\.)*"', literals))


def read(root):
    """{struct: [Option]}"""
    source = (pathlib.Path(root) / "lib" / "base" / "options.c").read_text(encoding="utf-8")
    tables = {}
    for kind, struct, name, rest in ROW.findall(source):
        texts = [text(found) for found in TEXT.findall(rest)]
        tables.setdefault(struct, []).append(Option(
            kind.removesuffix("_ZERO"), name, texts[0] if kind == "ENUM" else "", texts[-1],
            kind.endswith("_ZERO")))
    return tables


def settable(tables, struct):
    """The options that are numbers, words and texts; the length of a list goes with the list."""
    rows = tables[struct]
    names = {row.name for row in rows}
    return [row for row in rows if row.kind != "POINTER"
            and not (row.name.startswith("n_") and row.name[2:] in names)]


def comment(row, mark, indent=4, width=100):
    """Its documentation as lines of comments."""
    words = row.doc + (f" ({row.names.replace('|', ', ')})" if row.names else "")
    words += "; 0 can be said" if row.zero else ""
    lead = " " * indent + mark + " "
    return textwrap.wrap(words[0].upper() + words[1:] + ".", width, initial_indent=lead,
                         subsequent_indent=lead)
