#!/usr/bin/env python3
"""The tests of the Java binding, and the README's program.

Usage: run_tests.py LIBRARY MODEL FOLDER

LIBRARY and MODEL are paths of the shared library and of a model with a vocabulary; FOLDER is where
classes are built. JNA is SMALLMIND_JNA, Debian's (libjna-java), or one that maven has fetched.
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


def skip(why):
    print(f"skipped: {why}")
    return SKIPPED


def jna():
    fetched = pathlib.Path.home().glob(".m2/repository/net/java/dev/jna/jna/5.*/jna-5.*.jar")
    named = [os.environ.get("SMALLMIND_JNA", ""), "/usr/share/java/jna.jar", *sorted(fetched)]
    return next((path for path in map(str, named) if path and os.path.exists(path)), None)


def compile_java(folder, classes, *sources):
    """Does nothing where the classes are newer than their sources."""
    stamp = folder / "stamp"
    made = stamp.stat().st_mtime if stamp.exists() else 0
    if any(source.stat().st_mtime > made for source in sources):
        how = ["--release", "17", "-encoding", "UTF-8", "-Xlint:all", "-Werror", "-cp", classes]
        if subprocess.run(["javac", *how, "-d", folder, *sources]).returncode:
            sys.exit(1)
        stamp.touch()


def main():
    library, model, folder = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
    jar = jna()
    if not shutil.which("javac") or not shutil.which("java") or not jar:
        return skip("a JDK or JNA is not installed")
    version = subprocess.run(["javac", "-version"], capture_output=True, text=True).stdout
    if int(re.search(r"\d+", version + " 0").group()) < 17:
        return skip(f"{version.strip()} is older than 17")
    if sys.maxsize < 2**32:
        return skip("the test compares layouts of 64 bits")
    folder.mkdir(exist_ok=True)
    classes = f"{folder}:{jar}"
    text = re.search(r"```java\n(.*?)```", (HERE / "README.md").read_text(encoding="utf-8"), re.S)
    hello = folder / "Hello.java"
    if not hello.exists() or hello.read_text(encoding="utf-8") != text.group(1):
        hello.write_text(text.group(1), encoding="utf-8")
    compile_java(folder, classes, hello, *sorted(HERE.glob("src/**/*.java")))
    h = headers.read(ROOT, headers=("smallmind.h",))
    sizes = folder / "sizes"
    sizes.write_text("".join(f"{name} {headers.layout(h, name, 'LP64')[1]}\n"
                             for name in h.structs))
    java = ["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
            f"-Dsmallmind.library={library}", "-cp", classes]
    if subprocess.run([*java, "smallmind.SmallmindTest", model, sizes]).returncode:
        return 1
    said = subprocess.run([*java, "Hello", model], capture_output=True)
    print(said.stderr.decode())
    return 0 if said.returncode == 0 and len(said.stdout) > 10 else 1


if __name__ == "__main__":
    sys.exit(main())
