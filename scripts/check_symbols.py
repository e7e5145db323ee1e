#!/usr/bin/env python3
"""Checks what libsmallmind exports, imports and keeps in writable memory.

Usage: check_symbols.py exports|imports|globals BUILD_DIR [SOURCE_ROOT]

exports  the shared library exports exactly the functions that the headers but
         for experimental.h declare SM_API, all of them versioned, and smallmind.map
         and docs/symbols-in-versions.txt list the same; of the static library
         exactly these and those of experimental.h are global
imports  it needs no library but libc, libm and, if that was asked for,
         OpenBLAS; of these it imports nothing that could print, end the
         process, handle signals or read the environment, and the static
         library asks for no name that the shared one does not; each finds its
         own functions in itself
globals  its objects have no writable variable but the kernel dispatch table
         and the page with the process's number, no thread-local variable and no constructor

Needs nm and objdump of the build's target. Meant for a build without sanitizers.
"""
import pathlib
import re
import subprocess
import sys

# Writable variables that are allowed: object file pattern -> symbol names.
WRITABLE = {
    r"dispatch\.c": {"tables"},
    r"posix_machine\.c": {"process"},
}

FORBIDDEN = re.compile(
    r"""^(
      abort | _?exit | _Exit | quick_exit | atexit | at_quick_exit
    | raise | kill | signal | sigaction | sigset | bsd_signal
    | v?fork | exec[lv]p?e? | execveat | fexecve | posix_spawnp? | system | popen
    | _?_?(sig)?longjmp(_chk)? | _?_?sigsetjmp | _?setjmp
    | (__)?v?[fsd]?n?printf(_chk)? | (__)?v?asprintf(_chk)? | (__)?v?dprintf(_chk)?
    | f?puts(_unlocked)? | putc | putchar(_unlocked)? | fputc(_unlocked)? | putw | perror | psignal
    | v?[fs]?scanf | __isoc\d+_v?[fs]?scanf
    | stdin | stdout | stderr
    | f(open|dopen(?!dir)|reopen|close|read|write|flush|getc|gets|seek|tell)\w* | getline | getchar | gets
    | syslog | vsyslog
    | setlocale | newlocale | uselocale | localeconv
    | s?rand(_r)? | s?random(_r)? | [delnmj]rand48
    | (secure_)?getenv | putenv | setenv | unsetenv | environ | __environ
    | __assert_fail | __assert | __assert_perror_fail
    | strto(f|d|ld) | ato(f|i|l|ll)
    )$""",
    re.VERBOSE,
)

HEADER_FUNCTION = re.compile(r"\bSM_API\b[^;{]*?\b(sm_\w+)\s*\(")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def declared(root, leave_out=()):
    names = set()
    for header in sorted((root / "include" / "smallmind").glob("*.h")):
        if header.name in leave_out:
            continue
        text = re.sub(r"/\*.*?\*/", "", header.read_text(encoding="utf-8"), flags=re.DOTALL)
        text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
        names.update(HEADER_FUNCTION.findall(text))
    return names


def versioned(root):
    """The functions of docs/symbols-in-versions.txt, each in one version."""
    text = (root / "docs" / "symbols-in-versions.txt").read_text(encoding="utf-8")
    names = re.findall(r"^    (sm_\w+)$", text, re.MULTILINE)
    return set(names), [f"symbols-in-versions.txt: {name} is there twice"
                        for name in sorted(set(names)) if names.count(name) > 1]


def mapped(root):
    text = (root / "lib" / "smallmind.map").read_text(encoding="utf-8")
    exported = re.sub(r"local:.*?}", "}", text, flags=re.DOTALL)
    return set(re.findall(r"\b(sm_\w+)\s*;", exported))


def differences(name, have, want):
    errors = [f"{name}: {symbol} is missing" for symbol in sorted(want - have)]
    errors += [f"{name}: {symbol} is no SM_API function" for symbol in sorted(have - want)]
    return errors


def check_exports(build, root):
    want = declared(root, ("experimental.h",))
    exported, errors = set(), []
    for line in run("nm", "-D", "--defined-only", str(library(build))).splitlines():
        _, kind, symbol = line.split(None, 2)
        name, _, version = symbol.partition("@")
        if kind == "A" and name.startswith("SM_"):
            continue  # the version node itself
        if not version:
            errors.append(f"shared library: {name} has no version")
        exported.add(name)
    if not want:
        errors.append("headers: no SM_API function found")
    errors += differences("shared library", exported, want)
    lines = run("nm", "-g", "--defined-only", str(static_library(build))).splitlines()
    visible = {line.split()[-1] for line in lines if len(line.split()) == 3}
    errors += differences("static library", visible, declared(root))
    names, twice = versioned(root)
    errors += twice + differences("symbols-in-versions.txt", names, want)
    return errors + differences("smallmind.map", mapped(root), want)


def allowed_libraries(build):
    text = (build / "meson-private" / "smallmind.pc").read_text(encoding="utf-8")
    blas = r"|lib(open)?blas" if re.search(r"^Requires.*openblas", text, re.MULTILINE) else ""
    return re.compile(rf"(libc|libm|libpthread|ld-linux[\w-]*|ld-musl[\w-]*{blas})\.so\b")


def check_imports(build, _root):
    errors = []
    dynamic = run("readelf", "-d", str(library(build)))
    allowed = allowed_libraries(build)
    for name in re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic):
        if not allowed.match(name):
            errors.append(f"shared library: needs {name}")
    lines = run("nm", "-D", "--undefined-only", str(library(build))).splitlines()
    imported = {line.split()[-1].partition("@")[0] for line in lines}
    for name in sorted(imported):
        if FORBIDDEN.match(name):
            errors.append(f"shared library: imports {name}")
    for name in sorted(undefined(static_library(build)) - imported):
        if not re.match("_[_A-Z]", name):  # reserved: what compilers call of their own library
            errors.append(f"static library: takes {name} from the program")
    if "(SYMBOLIC)" not in dynamic:
        errors.append("shared library: not linked with -Bsymbolic")
    return errors if lines else ["shared library: no imports found, which cannot be"]


def undefined(archive):
    lines = run("nm", "-g", "--undefined-only", str(archive)).splitlines()
    return {line.split()[-1] for line in lines if line.startswith(" ")}


def archives(build):
    return sorted(build.glob("lib/libsm_*.a")) + sorted(build.glob("kernels/libsm_*.a"))


def check_globals(build, _root):
    found = archives(build)
    errors = [] if found else ["no component library found"]
    for archive in found:
        member = "?"
        for line in run("objdump", "-ht", str(archive)).splitlines():
            header = re.match(r"(\S+):\s+file format", line)
            if header:
                member = header.group(1)
            section = re.match(r"\s*\d+\s+(\.(?:init_array|ctors|preinit_array)\S*)\s", line)
            if section:
                errors.append(f"{archive.name}: {member}: has a constructor")
            symbol = re.match(r"[0-9a-f]{8,} .{7} (\S+)\s+([0-9a-f]{8,})\s+(?:\.hidden )?(\S+)$",
                              line)
            if symbol is None:
                continue
            where, size, name = symbol.group(1), int(symbol.group(2), 16), symbol.group(3)
            writable = re.match(r"(\.t?data|\.t?bss|\*COM\*)", where)
            if size == 0 or not writable or where.startswith(".data.rel.ro"):
                continue
            plain = re.sub(r"\.\d+$", "", name)
            allowed = any(re.search(pattern, member) and plain in names
                          for pattern, names in WRITABLE.items())
            if where.startswith(".t") or not allowed:
                errors.append(f"{archive.name}: {member}: {name} is writable ({where})")
    return errors


def built(path):
    if not path.exists():
        sys.exit(f"{path}: not built")
    return path


def library(build):
    return built(build / "lib" / "libsmallmind.so")


def static_library(build):
    return built(build / "lib" / "libsmallmind.a")


def main():
    checks = {"exports": check_exports, "imports": check_imports, "globals": check_globals}
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in checks:
        sys.exit(__doc__)
    root = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else pathlib.Path(__file__).parents[1])
    errors = checks[sys.argv[1]](pathlib.Path(sys.argv[2]), root)
    for error in errors:
        print(error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
