"""The program of bindings/cpp/README.md compiles, as C++17 and as C++20, and writes a story.

Usage: test_readme.py COMPILER SOURCE_ROOT LIBRARY MODEL

COMPILER may be several words; LIBRARY is the shared library.
"""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

compiler, root, library, model = sys.argv[1:]
root, library = pathlib.Path(root), pathlib.Path(library).resolve()
program = re.search(r"```cpp\n(.*?)```", (root / "bindings/cpp/README.md").read_text(), re.S).group(1)
with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / "story.cpp").write_text(program)
    (folder / "smallmind").mkdir()  # as they are installed
    for header in [*(root / "include/smallmind").glob("*.h"), *(root / "bindings/cpp").glob("*.hpp")]:
        (folder / "smallmind" / header.name).symlink_to(header.resolve())
    for standard in ("c++17", "c++20"):
        subprocess.run([*shlex.split(compiler), f"-std={standard}", "-Wall", "-Wextra",
                        "-Wpedantic", "-Werror", "-I", name, str(folder / "story.cpp"), "-o",
                        str(folder / "story"), str(library), "-pthread"], check=True)
    done = subprocess.run([str(folder / "story"), model], check=True, capture_output=True, text=True,
                          env=dict(os.environ, LD_LIBRARY_PATH=str(library.parent)))
    assert len(done.stdout) > 50, done.stdout
print("2 passed, 0 failed, 0 skipped")
