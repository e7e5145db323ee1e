#!/usr/bin/env python3
"""The tests of the Rust binding, and the README's program.

Usage: run_tests.py LIBRARY MODEL TARGET

LIBRARY and MODEL are paths of the shared library and of a model with a vocabulary; TARGET is the
folder that cargo builds in.
"""
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SKIPPED = 77


def main():
    library, model, target = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
    cargo = shutil.which("cargo")
    if not cargo:
        print("skipped: cargo is not installed")
        return SKIPPED
    env = os.environ | {
        "SMALLMIND_LIB_DIR": str(library.parent), "LD_LIBRARY_PATH": str(library.parent),
        "SMALLMIND_TEST_MODEL": str(model), "RUSTFLAGS": "-Dwarnings"}
    how = ["--offline", "--target-dir", str(target)]
    if subprocess.run([cargo, "test", *how], cwd=HERE, env=env).returncode:
        return 1
    said = subprocess.run([cargo, "run", "-q", *how, "--example", "hello", str(model)], cwd=HERE,
                          env=env, capture_output=True)
    print(said.stderr.decode())
    return 0 if said.returncode == 0 and len(said.stdout) > 10 else 1


if __name__ == "__main__":
    sys.exit(main())
