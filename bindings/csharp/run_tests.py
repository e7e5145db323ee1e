#!/usr/bin/env python3
"""The tests of the C# binding under Mono, and the README's program.

Usage: run_tests.py LIBRARY MODEL FOLDER

LIBRARY and MODEL are paths of the shared library and of a model with a vocabulary; FOLDER is where
assemblies are built.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import headers  # noqa: E402

SKIPPED = 77
COMPILER = ["mcs", "-langversion:latest", "-warn:4", "-warnaserror"]


def build(out, sources, *more, after=()):
    """Does nothing where it is newer than its sources, and than what else it is made of."""
    out.parent.mkdir(parents=True, exist_ok=True)
    made = out.stat().st_mtime if out.exists() else 0
    if any(source.stat().st_mtime > made for source in [*sources, *after]):
        subprocess.run([*COMPILER, f"-out:{out}", *more, *sources], check=True)


def main():
    library, model, folder = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
    if not shutil.which("mcs") or not shutil.which("mono"):
        print("skipped: Mono (mono-mcs, mono-runtime, libmono-system-core4.0-cil) is not installed")
        return SKIPPED
    if sys.maxsize < 2**32:
        print("skipped: the test compares layouts of 64 bits")
        return SKIPPED
    ours = sorted(HERE.glob("src/*.cs"))
    stand_in = folder / "ExtensionsAI.dll"
    build(stand_in, [HERE / "tests/ExtensionsAI.cs"], "-target:library", "-r:System.Core.dll")
    build(folder / "old" / "SmallMind.dll", ours, "-unsafe", "-target:library")
    assembly = folder / "SmallMind.dll"
    uses = [f"-r:{stand_in}", "-r:System.Core.dll"]
    build(assembly, ours, "-unsafe", "-target:library", *uses,
          "-define:NETSTANDARD2_1_OR_GREATER;SMALLMIND_EXTENSIONS_AI", after=[stand_in])
    uses += [f"-r:{assembly}"]
    build(folder / "Tests.exe", [HERE / "tests/Tests.cs", HERE / "tests/ChatClientTests.cs"], *uses,
          after=[assembly])
    text = re.search(r"```cs\n(.*?)```", (HERE / "README.md").read_text(encoding="utf-8"), re.S)
    hello = folder / "Hello.cs"
    hello.write_text(text.group(1), encoding="utf-8")
    build(folder / "Hello.exe", [hello], *uses, after=[assembly])
    sizes = folder / "sizes"
    h = headers.read(ROOT, headers=("smallmind.h",))
    sizes.write_text("".join(f"{name} {headers.layout(h, name, 'LP64')[1]}\n" for name in h.structs))
    env = os.environ | {"LD_LIBRARY_PATH": str(library.parent)}
    tests = ["mono", "--debug", folder / "Tests.exe", model, sizes]
    if subprocess.run(tests, env=env).returncode:
        return 1
    said = subprocess.run(["mono", folder / "Hello.exe", model], env=env, capture_output=True)
    print(said.stderr.decode())
    return 0 if said.returncode == 0 and len(said.stdout) > 10 else 1


if __name__ == "__main__":
    sys.exit(main())
