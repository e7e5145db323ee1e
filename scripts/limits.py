#!/usr/bin/env python3
"""Compares the table of limits in SECURITY.md with the code.

Usage: limits.py [SOURCE_ROOT]

A row names what is bounded, the bound, where it is asked for (or "fixed") and the constant that has
it (`FILE`: `NAME`). Every constant SM_..._MAX_... of the readers' headers has to be there.
"""
import pathlib
import re
import sys

ROW = re.compile(r"^\| [^|]+ \| ([0-9,]+)( KiB| MiB| GiB)? \| [^|]+ \| `([\w/.]+)`: `(\w+)` \|$")
UNITS = {None: 1, " KiB": 1 << 10, " MiB": 1 << 20, " GiB": 1 << 30}
READERS = ("format", "text", "chat", "constrain")
BOUND = re.compile(r"^#define (SM_\w+_MAX_\w+|SM_MAX_TOKEN_BYTES)\b", re.MULTILINE)


def value(root, file, name):
    """The number that a #define or an enumerator of the file has."""
    path = root / file
    if not path.is_file():
        raise ValueError(f"{file} is not there")
    found = re.search(rf"^(?:#define {name} | +{name} = )([^/,\n]+)",
                      path.read_text(encoding="utf-8").replace("\\\n", ""), re.MULTILINE)
    if not found:
        raise ValueError(f"{file} has no constant {name}")
    text = re.sub(r"\(u?int\d+_t\)", "", found.group(1))
    text = re.sub(r"(?<=\d)[uUlL]+", "", text).strip()
    if not re.fullmatch(r"[\d()<*+ -]+", text):
        raise ValueError(f"{file}: {name} is no number: {text}")
    return eval(text)  # digits, brackets, shifts


def errors(root):
    told = set()
    lines = (root / "SECURITY.md").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.startswith("| ") or "`lib/" not in line and "`include/" not in line:
            continue
        row = ROW.match(line)
        if not row:
            yield f"SECURITY.md:{number}: not a row of limits: {line}"
            continue
        bound, unit, file, name = row.groups()
        told.add(name)
        try:
            if value(root, file, name) != int(bound.replace(",", "")) * UNITS[unit]:
                yield f"SECURITY.md:{number}: {name} is {value(root, file, name)} in {file}"
        except ValueError as error:
            yield f"SECURITY.md:{number}: {error}"
    if not told:
        yield "SECURITY.md: no table of limits"
    for folder in READERS:
        for header in sorted((root / "lib" / folder).glob("*.h")):
            for name in BOUND.findall(header.read_text(encoding="utf-8")):
                if name not in told:
                    yield f"SECURITY.md: {name} of {header.relative_to(root)} is not in the table"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    found = list(errors(root))
    for error in found:
        print(error)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
