#!/usr/bin/env python3
"""Makes the static library: one object in which only the public functions are global.

Usage: prelink.py OUTPUT.a MAP HEADER AR OBJCOPY PART.a... -- C_COMPILER...

All of the parts are linked into one relocatable object. Its names are then hidden but for the
functions that MAP lists and those that HEADER declares (experimental.h, which the shared library has
not), so that a program may have functions of the same names as internal ones, and they do not get
called.
"""
import pathlib
import re
import subprocess
import sys


def public_names(text):
    exported = re.sub(r"local:.*?}", "}", text, flags=re.DOTALL)
    return re.findall(r"^\s*(\w+)\s*;", exported, re.MULTILINE)


def main():
    command = sys.argv.index("--")
    output, symbol_map, header, ar, objcopy, *archives = sys.argv[1:command]
    compiler = sys.argv[command + 1:]
    names = pathlib.Path(output + ".names")
    public = public_names(pathlib.Path(symbol_map).read_text(encoding="utf-8"))
    public += re.findall(r"^SM_API\b[^;{]*?\b(sm_\w+)\s*\(",
                         pathlib.Path(header).read_text(encoding="utf-8"), re.MULTILINE)
    names.write_text("".join(f"{name}\n" for name in public), encoding="utf-8")
    linked = pathlib.Path(output).with_suffix(".o")
    # without groups, which are shared by name with those of other objects and dropped for them:
    # on 32-bit x86 each function that uses a global is in need of one
    subprocess.run([*compiler, "-r", "-nostdlib", "-o", str(linked),
                    "-Wl,--force-group-allocation", "-Wl,--whole-archive", *archives], check=True)
    # sections of link-time optimisation would be compiled again, under the old names
    subprocess.run([objcopy, f"--keep-global-symbols={names}", "--remove-section=.gnu.lto_*",
                    "--remove-section=.gnu.debuglto_*", str(linked)], check=True)
    pathlib.Path(output).unlink(missing_ok=True)
    subprocess.run([ar, "rcs", output, str(linked)], check=True)
    names.unlink()
    linked.unlink()


if __name__ == "__main__":
    main()
