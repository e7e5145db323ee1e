#!/usr/bin/env python3
"""Keeps the contract of a frozen release (docs/abi.md): what its programs were promised is there.

Usage: abi.py --check [SOURCE_ROOT]     needs abidw and abidiff (Debian: abigail-tools)
       abi.py --freeze                  writes the record of the release that types.h names

tests/abi/smallmind-1.0.h is the record of 1.0: what the preprocessor left of its headers.
Of it and of the present headers a library of empty functions is made, with the version nodes of
lib/smallmind.map; abidiff compares the two. Functions, constants and structs may be added, and
structs that tell their size may have grown at their end; all else is a fault.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import headers  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
RECORD = "tests/abi/smallmind-1.0.h"
FROZEN = "SM_1.0"
ABIDIFF_FAILED = 3  # bits of its exit status: the tool's own failures


def nodes(root):
    """{node of the map: its functions}, in the map's order."""
    text = (root / "lib/smallmind.map").read_text(encoding="utf-8")
    return {name: re.findall(r"\b(sm_\w+)\s*;", body.split("local:")[0])
            for name, body in re.findall(r"^(\w[\w.]*) \{(.*?)^\}", text, re.M | re.S)}


def versions(root):
    """The same of docs/symbols-in-versions.txt."""
    found, node = {}, None
    for line in (root / "docs/symbols-in-versions.txt").read_text(encoding="utf-8").splitlines():
        if re.fullmatch(r"SM_[\d.]+", line):
            node = found.setdefault(line, [])
        elif re.fullmatch(r"    sm_\w+", line):
            node.append(line.strip())
    return found


def empty_functions(declarations, names):
    """C source: those declarations, and functions that do nothing."""
    lines = ["#include <stddef.h>", "#include <stdint.h>", declarations]
    for name in names:
        declaration = re.search(rf"^[^;{{}}]*?\b{name}\s*\([^;]*?\);", declarations, re.M | re.S)
        if not declaration:
            raise SystemExit(f"{name} is in {FROZEN} and not in its headers")
        text = declaration.group(0).rstrip(";")
        lines.append(text + (" {}" if re.match(r"\s*void\s+sm_", text) else " { return 0; }"))
    return "\n".join(lines) + "\n"


def map_of(nodes_):
    """A version script with these nodes."""
    text, before = "", ""
    for name, functions in nodes_.items():
        listed = "".join(f"    {function};\n" for function in functions)
        text += f"{name} {{\n  global:\n{listed}  local:\n    *;\n}}{before};\n"
        before = f" {name}"
    return text


def make_library(folder, declarations, nodes_, compiler="cc"):
    """libsmallmind.so.1 of empty functions, in that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for functions in nodes_.values() for name in functions]
    (folder / "empty.c").write_text(empty_functions(declarations, names), encoding="utf-8")
    (folder / "empty.map").write_text(map_of(nodes_), encoding="utf-8")
    library = folder / "libsmallmind.so.1"
    subprocess.run([compiler, "-g", "-O0", "-w", "-fPIC", "-shared", "-Wl,-soname,libsmallmind.so.1",
                    f"-Wl,--version-script,{folder / 'empty.map'}", "-o", library,
                    folder / "empty.c"], check=True)
    link = folder / "libsmallmind.so"
    if not link.exists():
        link.symlink_to(library.name)
    return library


def without_growth(present, frozen):
    """Declarations with those structs that tell their size cut to the fields they had. abidiff could
    be told that they may grow, but then misses what else has changed in them."""
    for name, had in headers.parse(frozen).structs.items():
        if not any(field.name == "struct_size" for field in had):
            continue
        whole = re.search(rf"typedef\s+struct\s+{name}\s*{{([^}}]*)}}", present)
        if whole:
            kept = ""
            for declaration in whole.group(1).split(";")[:-1]:
                if len(headers.fields(kept)) < len(had):
                    kept += declaration + ";"
            present = present[:whole.start(1)] + kept + "\n" + present[whole.end(1):]
    return present


def compare(before, after):
    """What abidiff has against it; "" where nothing."""
    run = subprocess.run(["abidiff", before, after], capture_output=True, text=True)
    if run.returncode & ABIDIFF_FAILED:
        raise SystemExit(f"abidiff failed: {run.stdout}{run.stderr}")
    return run.stdout if run.returncode else ""


def constants_changed(frozen, present):
    then, now = headers.parse(frozen).constants, headers.parse(present).constants
    return [f"{name} was {value} and is {now.get(name, 'gone')}"
            for name, value in then.items() if now.get(name) != value]


def fields_moved(frozen, present):
    """A name that goes to another field of the same type, which is no matter to abidiff."""
    then, now = headers.parse(frozen).structs, headers.parse(present).structs
    return [f"{name}: its fields are not those it had, in their order"
            for name, had in then.items() if now.get(name, [])[:len(had)] != had]


def lists_differ(root, frozen):
    """The version nodes: the frozen one has what it had, the documents say the same as the map."""
    in_map, told = nodes(root), versions(root)
    faults = []
    if sorted(in_map.get(FROZEN, [])) != sorted(headers.parse(frozen).functions):
        faults.append(f"node {FROZEN} of the map is not what was frozen: "
                      "a new function goes into a later one")
    if {k: sorted(v) for k, v in in_map.items()} != {k: sorted(v) for k, v in told.items()}:
        faults.append("docs/symbols-in-versions.txt has other nodes than the map")
    return faults


def record(root):
    """The declarations of the frozen headers."""
    return re.sub(r"/\*.*?\*/", "", (root / RECORD).read_text(encoding="utf-8"), flags=re.S)


def check(root):
    frozen = record(root)
    present = headers.preprocess(root, headers=("smallmind.h",))
    faults = (constants_changed(frozen, present) + fields_moved(frozen, present)
              + lists_differ(root, frozen))
    frozen_names = {FROZEN: list(headers.parse(frozen).functions)}
    gone = sorted(set(frozen_names[FROZEN]) - set(headers.parse(present).functions))
    faults += [f"{name} is gone" for name in gone]
    if not gone:
        with tempfile.TemporaryDirectory() as place:
            folder = pathlib.Path(place)
            told = compare(make_library(folder / "then", frozen, frozen_names),
                           make_library(folder / "now", without_growth(present, frozen),
                                        frozen_names))
            faults += [told] if told else []
    return faults


def main():
    if sys.argv[1:] == ["--freeze"]:
        (ROOT / RECORD).parent.mkdir(exist_ok=True)
        text = headers.preprocess(ROOT, headers=("smallmind.h",))
        (ROOT / RECORD).write_text(
            "/* What the headers of 1.0 declared (scripts/abi.py). It never changes. */\n" + text,
            encoding="utf-8")
        if shutil.which("clang-format-14"):
            subprocess.run(["clang-format-14", "-i", ROOT / RECORD], check=True)
        return 0
    if not sys.argv[1:] or sys.argv[1] != "--check":
        sys.exit(__doc__.split("\n\n")[1])
    if not shutil.which("abidiff"):
        sys.exit("abidiff is not installed (Debian: abigail-tools)")
    faults = check(pathlib.Path(sys.argv[2]) if sys.argv[2:] else ROOT)
    print("\n".join(faults) if faults else f"{FROZEN} is kept")
    return len(faults) > 0


if __name__ == "__main__":
    sys.exit(main())
