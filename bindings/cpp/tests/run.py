#!/usr/bin/env python3
"""The tests of the C++ binding with the compilers that the build itself did not take.

Usage: run.py LIBRARY MODEL COMPILER...   (of the build)
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", "-pthread"]
SKIPPED = 77


def others(command):
    taken = "clang" if any("clang" in word for word in command) else "g++"
    for kind, names in (("g++", ("g++",)), ("clang", ("clang++", "clang++-14"))):
        found = [path for path in map(shutil.which, names) if path]
        if kind != taken and found:
            yield found[0]


def main():
    library, model = (str(pathlib.Path(argument).resolve()) for argument in sys.argv[1:3])
    env = os.environ | {"LD_LIBRARY_PATH": os.path.dirname(library)}
    compilers = list(others(sys.argv[3:]))
    with tempfile.TemporaryDirectory() as place:
        for compiler in compilers:
            for standard in ("c++17", "c++20"):
                subprocess.run(
                    [compiler, f"-std={standard}", *STRICT, "-I", ROOT / "include", "-I",
                     HERE.parent, HERE / "test_smallmind.cpp", "-o", "test", library],
                    check=True, cwd=place)
                subprocess.run([os.path.join(place, "test"), model], check=True, env=env)
    if not compilers:
        print("skipped: there is no second C++ compiler")
    return 0 if compilers else SKIPPED


if __name__ == "__main__":
    sys.exit(main())
