#!/usr/bin/env python3
"""The tests of the JavaScript binding, the README's program, and with `types` its types.

Usage: run_tests.py LIBRARY MODEL FOLDER
       run_tests.py types

LIBRARY and MODEL are paths of the shared library and of a model with a vocabulary; FOLDER is where
the addon is built.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SKIPPED = 77


def skip(why):
    print(f"skipped: {why}")
    return SKIPPED


def installed(folder, program, text):
    """A program in a folder where the package is installed."""
    modules = pathlib.Path(folder, "node_modules")
    modules.mkdir()
    (modules / "smallmind").symlink_to(HERE)
    pathlib.Path(folder, "package.json").write_text('{"type": "module"}')
    path = pathlib.Path(folder, program)
    path.write_text(text, encoding="utf-8")
    return path


def readme(node, model, env):
    text = (HERE / "README.md").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        program = installed(folder, "hello.js", re.search(r"```js\n(.*?)```", text, re.S).group(1))
        done = subprocess.run([node, program, model], env=env, capture_output=True)
    print(done.stderr.decode())
    return done.returncode == 0 and len(done.stdout) > 10


def tests(library, model, folder):
    node = shutil.which("node")
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if not node or not compiler:
        return skip("node or a compiler is not installed")
    there = subprocess.run([node, "-p", "process.execPath"], capture_output=True, text=True)
    headers = pathlib.Path(there.stdout.strip()).resolve().parents[1] / "include/node/node_api.h"
    if there.returncode or not headers.exists():
        return skip("node's headers are not installed")
    folder.mkdir(exist_ok=True)
    env = os.environ | {
        "SMALLMIND_LIB_DIR": str(library.parent), "LD_LIBRARY_PATH": str(library.parent),
        "SMALLMIND_INCLUDE_DIR": str(HERE.parents[1] / "include"),
        "SMALLMIND_NODE": str(folder / "smallmind.node"), "SMALLMIND_TEST_MODEL": str(model),
        "CFLAGS": "-Wconversion -Wshadow -Werror"}
    for command in (["build.js", env["SMALLMIND_NODE"]], ["--expose-gc", "test/smallmind.test.js"]):
        if subprocess.run([node, *command], cwd=HERE, env=env).returncode:
            return 1
    return 0 if readme(node, model, env) else 1


def types():
    tsc = shutil.which("tsc")
    if not tsc:
        return skip("tsc (TypeScript) is not installed")
    how = {"strict": True, "noEmit": True, "target": "es2022", "module": "node16",
           "moduleResolution": "node16", "lib": ["es2022", "dom"], "types": [],
           "preserveSymlinks": True}
    with tempfile.TemporaryDirectory() as folder:
        installed(folder, "types.ts", (HERE / "test/types.ts").read_text(encoding="utf-8"))
        config = pathlib.Path(folder, "tsconfig.json")
        config.write_text(json.dumps({"compilerOptions": how, "files": ["types.ts"]}))
        return subprocess.run([tsc, "-p", config]).returncode


def main():
    if sys.argv[1:] == ["types"]:
        return types()
    return tests(*(pathlib.Path(argument).resolve() for argument in sys.argv[1:4]))


if __name__ == "__main__":
    sys.exit(main())
