#!/usr/bin/env python3
"""The tests of the Go binding under the race detector.

Usage: run_tests.py LIBRARY MODEL   (paths of the shared library and of a model with a vocabulary)
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zlib

HERE = pathlib.Path(__file__).resolve().parent
SKIPPED = 77


def main():
    library, model = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    go = shutil.which("go")
    if not go or not shutil.which("pkg-config"):
        print("skipped: go or pkg-config is not installed")
        return SKIPPED
    include = HERE.parents[1] / "include"
    # Go does not look whether headers and libraries outside of its package have changed
    said = zlib.crc32(b"".join(path.read_bytes() for path in sorted(include.rglob("*.h"))))
    with tempfile.TemporaryDirectory() as place:
        pathlib.Path(place, "smallmind.pc").write_text(
            "Name: smallmind\nDescription: the build's\nVersion: 0\n"
            f"Cflags: -I{include} -DSMALLMIND_HEADERS={said}\n"
            f"Libs: -L{library.parent} -lsmallmind\n")
        env = os.environ | {
            "PKG_CONFIG_PATH": place, "LD_LIBRARY_PATH": str(library.parent), "CGO_ENABLED": "1",
            "GOFLAGS": "-mod=readonly", "GOPROXY": "off", "GOTOOLCHAIN": "local",
            "SMALLMIND_TEST_MODEL": str(model)}
        for command in (["vet", "./..."], ["test", "-race", "-count=1", "./..."]):
            if subprocess.run([go, *command], cwd=HERE, env=env).returncode:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
