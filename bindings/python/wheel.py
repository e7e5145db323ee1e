#!/usr/bin/env python3
"""Writes a wheel of the binding with the library inside: one for every CPU of an architecture, as
the library chooses its kernels when it runs, and for every Python 3.

Usage: wheel.py LIBRARY FOLDER   (the built libsmallmind.so; prints the wheel's path)

The tag names the oldest glibc that has what the library asks for; a library that needs more than
glibc is refused. The same library gives the same bytes.
"""
import base64
import hashlib
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# what manylinux lets a wheel expect
ALLOWED = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libgcc_s.so.1",
           "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "ld-linux-armhf.so.3"}
NAME = "libsmallmind.so.1"
EPOCH = (1980, 1, 1, 0, 0, 0)


def said(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def glibc_of(library):
    """(major, minor) of the newest version of glibc that a symbol is asked of."""
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", said("readelf", "-dW", library)))
    if needed - ALLOWED:
        sys.exit(f"{library} needs {', '.join(sorted(needed - ALLOWED))}")
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", said("readelf", "-VW", library))
    return max((int(major), int(minor)) for major, minor in versions)


def project():
    """name: value of the [project] table, as far as it is plain texts."""
    text = (HERE / "pyproject.toml").read_text(encoding="utf-8")
    table = text.split("[project]")[1].split("\n[")[0]
    return dict(re.findall(r'^([\w-]+) = "(.*)"$', table, re.M))


def metadata(about):
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    return "\n".join(["Metadata-Version: 2.1", f"Name: {about['name']}",
                      f"Version: {about['version']}", f"Summary: {about['description']}",
                      f"Requires-Python: {about['requires-python']}", "License: MIT",
                      "Description-Content-Type: text/markdown", "", readme])


def contents(library, about, tag):
    """{name in the wheel: bytes}"""
    folder = f"{about['name']}-{about['version']}.dist-info"
    files = {f"smallmind/{path.name}": path.read_bytes()
             for path in sorted((HERE / "smallmind").glob("*"))
             if path.suffix in (".py", ".pyi") or path.name == "py.typed"}
    with tempfile.TemporaryDirectory() as place:
        stripped = pathlib.Path(place) / NAME
        shutil.copy(library, stripped)
        said("strip", "--strip-unneeded", stripped)
        files[f"smallmind/{NAME}"] = stripped.read_bytes()
    licences = [ROOT / "LICENSE", *sorted((ROOT / "LICENSES").glob("*"))]
    for path in licences:
        if path.is_file():
            files[f"{folder}/licenses/{path.name}"] = path.read_bytes()
    files[f"{folder}/METADATA"] = metadata(about).encode()
    files[f"{folder}/WHEEL"] = (f"Wheel-Version: 1.0\nGenerator: smallmind\n"
                                f"Root-Is-Purelib: false\nTag: {tag}\n").encode()
    rows = [f"{name},sha256={digest(data)},{len(data)}" for name, data in files.items()]
    files[f"{folder}/RECORD"] = "\n".join([*rows, f"{folder}/RECORD,,", ""]).encode()
    return files


def digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def main():
    library, folder = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    about = project()
    major, minor = glibc_of(library)
    tag = f"py3-none-manylinux_{major}_{minor}_{platform.machine()}"
    path = folder / f"{about['name']}-{about['version']}-{tag}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in contents(library, about, tag).items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if name.endswith(NAME) else 0o644) << 16
            wheel.writestr(entry, data)
    print(path)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n\n")[1])
    main()
