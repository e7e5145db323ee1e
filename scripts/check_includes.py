#!/usr/bin/env python3
"""Checks the order of the tree: who includes and uses whom, by the tables in CONTRIBUTING.md.

Usage: check_includes.py [SOURCE_ROOT]

Beside #include lines it looks at names: a header of the project declares types, functions,
constants and macros, and whoever writes such a name uses that header's folder, whatever other
header it came by. It also finds circles between folders and between headers, source files that do
not begin with what they are, and names of files that occur twice.
"""
import pathlib
import re
import sys

SOURCES = {".c", ".h", ".inc"}
BROKEN_RULE = re.compile(r"^ *\*? ?-{8,} \*/$", re.MULTILINE)
TABLE = re.compile(r"<!-- (headers|includes|exceptions) -->\n\n?((?:\|.*\n)+)")
CODE = re.compile(r"`([^`]+)`")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.MULTILINE)
NAME = re.compile(r"\b(?:sm|SM|plan|PLAN)_\w+")
NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


class Row:
    """A folder: headers it shows, what it may use of others, headers of the system (None: any)."""

    def __init__(self, folder, shows, uses, system):
        self.folder, self.shows, self.uses, self.system = folder, shows, uses, system


def read_tables(root):
    """Rows by folder, and the exceptions: pairs of a file and a header that it may use."""
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tables = {}
    for name, body in TABLE.findall(text):
        tables[name] = [[CODE.findall(cell) or cell.split() for cell in line.strip("|").split("|")]
                        for line in body.splitlines()[2:]]
    groups = {group[0]: set(headers) for group, headers in tables["headers"]}
    rows = {}
    for (folder, *_), shows, uses, system in tables["includes"]:
        known = None if "any" in system else set().union(*(groups.get(s, {s}) for s in system))
        rows[folder] = Row(folder, shows, uses, known)
    return rows, {(file[0], header) for file, headers, _ in tables["exceptions"] for header in headers}


def stripped(text):
    return NOISE.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


# ---- what a header declares ----


def braces_out(text):
    """Text without what stands in braces, but for that of enums."""
    out, depth, keep = [], 0, []
    for i, c in enumerate(text):
        if c == "{":
            keep.append(bool(re.search(r"\benum\b[^;{}()]*$", text[max(0, i - 200):i])))
            out.append("{")
        elif c == "}":
            if keep:
                keep.pop()
            out.append("}")
        elif all(keep):
            out.append(c)
    return "".join(out)


def declared(text):
    names = set(re.findall(r"^\s*#\s*define\s+(\w+)", text, re.MULTILINE))
    lines = re.sub(r"^\s*#(?:[^\n]*\\\n)*[^\n]*", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\bextern\s*\{", "", lines)  # "C"
    flat = braces_out(lines)
    for body in re.findall(r"\benum\b[^;{}()]*\{([^}]*)\}", flat):
        names.update(re.findall(r"(?:^|,)\s*(\w+)", body))
    names.update(re.findall(r"\b(?:struct|enum|union)\s+(\w+)\s*(?=[{;])", flat))
    statements = re.split(r"[;}](?!\s*\w+\s*;)", re.sub(r"\{[^}]*\}\s*(?=\w+\s*(?:;|\[))", " ", flat))
    for statement in statements:
        statement = re.sub(r"\{.*", "", statement, flags=re.DOTALL).strip()
        if not statement:
            continue
        pointer = re.search(r"\(\s*\*\s*(\w+)\s*\)\s*\(", statement)
        function = re.search(r"(\w+)\s*\(", statement)
        plain = re.search(r"(\w+)\s*(?:\[[^\]]*\]\s*)*(?:=.*)?$", statement, re.DOTALL)
        for match in (pointer if "typedef" in statement and pointer else function or plain,):
            if match:
                names.add(match.group(1))
    return {name for name in names if NAME.fullmatch(name)}


# ---- the tree ----


class Tree:
    def __init__(self, root, rows):
        self.root, self.rows = root, rows
        self.text, self.folder = {}, {}
        for folder in rows:
            for path in sorted((root / folder).rglob("*")):
                if path.suffix in SOURCES:
                    name = str(path.relative_to(root))
                    self.text[name] = stripped_includes(path.read_text(encoding="utf-8"))
                    self.folder[name] = folder
        self.headers = [n for n in self.text if n.endswith((".h", ".inc"))]
        self.home = {}  # name: the headers that declare it
        for header in self.headers:
            for name in declared(self.text[header][1]):
                self.home.setdefault(name, set()).add(header)

    def find(self, source, name):
        """The file of the project that an include of source means, or None."""
        folder = self.folder[source]
        places = [pathlib.PurePosixPath(source).parent, folder, "lib", "include", "kernels", "tools"]
        places += [f"{f}" for f in self.rows]
        for place in places:
            path = str(pathlib.PurePosixPath(place) / name)
            if path in self.text:
                return path
        return None


def stripped_includes(text):
    """Includes, text without comments and strings."""
    bare = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    return INCLUDE.findall(bare), stripped(text), text.split("\n", 1)[0]


# ---- the checks ----


def may_use(row, header, folder):
    """Whether a row's folder may use that header of another folder."""
    if folder == "include":
        return not any(u.startswith("smallmind/") for u in row.uses) or \
            header.removeprefix("include/") in row.uses
    return folder in row.uses or header in row.uses


def shown(rows, header, folder):
    return header.removeprefix(folder + "/") in rows[folder].shows


def included(tree, rows):
    """(file, what, header or None) of includes that are not allowed, and edges between folders."""
    for source, (includes, _, _) in tree.text.items():
        row = rows[tree.folder[source]]
        for kind, name in includes:
            if kind == "<" and not name.startswith("smallmind/"):
                if row.system is not None and name not in row.system:
                    yield source, f"may not include <{name}>", None
                continue
            header = tree.find(source, name)
            if ".." in name or header is None:
                yield source, f"may not include {name}", None
                continue
            folder = tree.folder[header]
            if folder == row.folder:
                continue
            if not may_use(row, header, folder):
                yield source, f"may not include {name}", header
            elif folder != "include" and not shown(rows, header, folder):
                yield source, f"may not include {name}, which is {folder}'s own", header


def used(tree, rows):
    for source, (_, text, _) in tree.text.items():
        row = rows[tree.folder[source]]
        seen = {}
        for name in NAME.findall(text):
            homes = tree.home.get(name, ())
            folders = {tree.folder[h] for h in homes}
            if not homes or row.folder in folders:
                continue
            if not any(may_use(row, h, tree.folder[h]) for h in homes):
                seen.setdefault(sorted(homes)[0], []).append(name)
        for header, names in seen.items():
            some = ", ".join(sorted(set(names))[:4])
            yield source, f"may not use {header} ({some})", header


def circle(edges):
    """A list of nodes that lead back to the first, or None."""
    state, path = {}, []

    def visit(node):
        state[node] = 1
        path.append(node)
        for to in sorted(edges.get(node, ())):
            if state.get(to) == 1:
                return path[path.index(to):] + [to]
            if to not in state:
                found = visit(to)
                if found:
                    return found
        state[node] = 2
        path.pop()
        return None

    for node in sorted(edges):
        if node not in state:
            found = visit(node)
            if found:
                return found
    return None


def circles(tree, exceptions):
    folders, headers = {}, {}
    for source, (includes, text, _) in tree.text.items():
        for _, name in includes:
            header = tree.find(source, name)
            if not header or header == source:
                continue
            if source in tree.headers:
                headers.setdefault(source, set()).add(header)
            if tree.folder[header] != tree.folder[source]:
                folders.setdefault(tree.folder[source], set()).add(tree.folder[header])
        for name in NAME.findall(text):
            homes = tree.home.get(name, ())
            if homes and tree.folder[source] not in {tree.folder[h] for h in homes}:
                for home in homes:
                    if (source, home) not in exceptions and len(homes) == 1:
                        folders.setdefault(tree.folder[source], set()).add(tree.folder[home])
    for what, edges in (("folders", folders), ("headers", headers)):
        found = circle(edges)
        if found:
            yield f"circle of {what}: {' -> '.join(found)}"


def openings(root):
    for folder in ("include", "kernels", "lib", "tools", "examples", "tests", "scripts", "bench"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SOURCES:
                first = path.read_text(encoding="utf-8").split("\n", 1)[0]
                if not first.startswith("/* ") or len(first) < 15 or first.startswith("/* ----"):
                    yield f"{path.relative_to(root)}: does not begin with what it is"


def twice(root):
    """Names that occur twice among the files of the library, of the program, or of the tests."""
    for folder in ("kernels", "lib", "tools", "tests"):
        seen = {}
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SOURCES:
                seen.setdefault(path.name, []).append(str(path.relative_to(root)))
        for files in seen.values():
            if len(files) > 1:
                yield f"{', '.join(files)}: one name for several files"


def rules(root):
    """Rules between sections that a formatter has broken: they are one line."""
    for folder in ("include", "kernels", "lib", "tools", "examples", "tests"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SOURCES and BROKEN_RULE.search(path.read_text(encoding="utf-8")):
                yield f"{path.relative_to(root)}: a rule between sections on two lines"


def check(root):
    rows, exceptions = read_tables(root)
    tree = Tree(root, rows)
    if not tree.text:
        return ["no source file found"]
    errors = [f"{f}: no such folder, but a row of CONTRIBUTING.md" for f in rows if not (root / f).is_dir()]
    unused = set(exceptions)
    for finding in (included, used):
        for source, what, header in finding(tree, rows):
            if (source, header) in exceptions:
                unused.discard((source, header))
            else:
                errors.append(f"{source}: {what}")
    errors += [f"{f}: the exception for {h} is not needed" for f, h in sorted(unused)]
    errors += circles(tree, exceptions)
    errors += openings(root)
    errors += twice(root)
    errors += rules(root)
    return errors


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    errors = check(root)
    for error in errors:
        print(error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
