#!/usr/bin/env python3
"""Makes the files of a release of what is committed: sources, what a build installs, an SBOM.

Usage: release.py [--try] FOLDER

FOLDER gets, named by version and, what was built, by system and machine:
  smallmind-V.tar.gz         the files of the commit
  smallmind-V-S-M.tar.gz     what `meson install` installs, which may be unpacked anywhere
  smallmind-V.cdx.json       what is in them (CycloneDX 1.5)
  SHA256SUMS                 of these
The same commit, compilers and libraries give the same bytes: no path, owner, time or order of this
machine goes in; times are the commit's.

--try: makes them twice, built in folders of different names, and compares; unpacks them in an empty
folder, tries program, pkg-config and, if it is there, CMake there, and builds the sources.
"""
import gzip
import hashlib
import io
import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[1]
# module of pkg-config: name, licence, what needs it, how it gets in
PARTS = {
    "libxxhash": ("xxHash", "BSD-2-Clause", "library", "its header is compiled in"),
    "jansson": ("Jansson", "MIT", "program", "linked at run time"),
}


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, text=True,
                          stdout=subprocess.PIPE, **options).stdout


def tell(text):
    print(text, flush=True)


def pack(path, name, files, time):
    """files: (name, mode, bytes or the target of a link)."""
    with open(path, "wb") as raw, \
            gzip.GzipFile("", "wb", 9, raw, mtime=time) as packed, \
            tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for inside, mode, content in sorted(files):
            entry = tarfile.TarInfo(f"{name}/{inside}")
            entry.mtime, entry.mode = time, mode
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                tar.addfile(entry)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def committed():
    """The commit's files, links as such."""
    archive = subprocess.run(["git", "-C", ROOT, "archive", "HEAD"], check=True,
                             stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for entry in tar:
            if entry.issym():
                yield entry.name, 0o777, entry.linkname
            elif entry.isfile():
                yield (entry.name, 0o755 if entry.mode & 0o100 else 0o644,
                       tar.extractfile(entry).read())


def installed(place):
    for path in place.rglob("*"):
        name = path.relative_to(place).as_posix()
        if path.is_symlink():
            yield name, 0o777, os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
            if path.suffix == ".pc":  # where it is found says where the rest is
                content = re.sub(rb"^prefix=.*$", b"prefix=${pcfiledir}/../..", content,
                                 flags=re.MULTILINE)
            yield name, 0o755 if os.access(path, os.X_OK) else 0o644, content


def build(sources, place):
    folder = place / "build"
    quiet = {"cwd": place}
    run("meson", "setup", folder, sources, "--buildtype=release", "--prefix=/usr/local",
        "-Dtests=disabled", "-Dlibedit=disabled", **quiet)
    run("ninja", "-C", folder, **quiet)
    env = dict(os.environ, DESTDIR=str(place / "stage"))
    run("meson", "install", "-C", folder, "--no-rebuild", "--strip", env=env, **quiet)
    return place / "stage/usr/local"


def sbom(version, time, compiler):
    parts = [{
        "type": "library", "name": name, "version": run("pkg-config", "--modversion", module).strip(),
        "licenses": [{"license": {"id": licence}}], "scope": "required",
        "description": f"needed by the {user}: {how}", "bom-ref": module,
    } for module, (name, licence, user, how) in PARTS.items()]
    own = {"type": "library", "name": "smallmind", "version": version, "bom-ref": "smallmind",
           "licenses": [{"license": {"id": "MIT"}}]}
    commit = run("git", "-C", ROOT, "rev-parse", "HEAD").strip()
    own["properties"] = [{"name": "commit", "value": commit},
                         {"name": "compiler", "value": compiler}]
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'smallmind {commit} {compiler}')}",
        "metadata": {"timestamp": time, "component": own},
        "components": parts,
        "dependencies": [{"ref": "smallmind", "dependsOn": sorted(PARTS)}],
    }


def make(out, place):
    out.mkdir(parents=True, exist_ok=True)
    version = run("sh", ROOT / "scripts/version.sh").strip()
    time = int(run("git", "-C", ROOT, "log", "-1", "--format=%ct"))
    stamp = run("date", "-u", f"-d@{time}", "+%Y-%m-%dT%H:%M:%SZ").strip()
    compiler = run("cc", "--version").splitlines()[0]
    name = f"smallmind-{version}"
    built = f"{name}-{platform.system().lower()}-{platform.machine()}"
    files = list(committed())
    pack(out / f"{name}.tar.gz", name, files, time)
    with tarfile.open(out / f"{name}.tar.gz") as tar:  # what is built is what is released
        tar.extractall(place)
    pack(out / f"{built}.tar.gz", built, installed(build(place / name, place)), time)
    (out / f"{name}.cdx.json").write_text(
        json.dumps(sbom(version, stamp, compiler), indent=2, sort_keys=True) + "\n")
    made = [f"{name}.tar.gz", f"{built}.tar.gz", f"{name}.cdx.json"]
    sums = [f"{hashlib.sha256((out / file).read_bytes()).hexdigest()}  {file}\n" for file in made]
    (out / "SHA256SUMS").write_text("".join(sums))
    return [*made, "SHA256SUMS"]


USER = """cmake_minimum_required(VERSION 3.16)
project(user C)
find_package(smallmind REQUIRED)
add_executable(hello hello.c)
target_link_libraries(hello PRIVATE smallmind::static)
"""


def attempt(out, place):
    """Program, library and headers where they were unpacked, and the sources."""
    run("sha256sum", "--quiet", "-c", "SHA256SUMS", cwd=out)
    for archive in sorted(out.glob("*.tar.gz")):
        with tarfile.open(archive) as tar:
            tar.extractall(place)
    sources, = place.glob("smallmind-*/meson.build")
    prefix, = place.glob("smallmind-*/bin")
    sources, prefix = sources.parent, prefix.parent
    prefix = prefix.rename(place / "some where")  # whatever it is called
    model = sources / "models/stories.gguf"
    shutil.copy(sources / "examples/hello.c", place)
    env = dict(os.environ, PKG_CONFIG_PATH=str(prefix / "lib/pkgconfig"))
    flags = shlex.split(run("pkg-config", "--cflags", "--libs", "smallmind", env=env))
    run("cc", "hello.c", *flags, "-o", "hello", cwd=place)
    with_library = dict(os.environ, LD_LIBRARY_PATH=str(prefix / "lib"))
    text = run(place / "hello", model, "Once upon a time", env=with_library)
    assert len(text) > 20, text
    flags = shlex.split(run("pkg-config", "--cflags", "--libs", "--static", "smallmind", env=env))
    run("cc", "hello.c", *flags, "-static", "-o", "hello-static", cwd=place)
    assert run(place / "hello-static", model, "Once upon a time") == text
    shown = run(prefix / "bin/smallmind", "run", "-m", model, "-p", "Once upon a time", "-n", "5",
                stderr=subprocess.DEVNULL)
    assert shown.startswith("Once upon a time"), shown
    if shutil.which("cmake"):
        (place / "CMakeLists.txt").write_text(USER)
        run("cmake", "-S", place, "-B", place / "cmake", f"-DCMAKE_PREFIX_PATH={prefix}")
        run("cmake", "--build", place / "cmake")
        assert run(place / "cmake/hello", model, "Once upon a time") == text
    for file in prefix.rglob("*"):
        if file.is_file() and str(place).encode() in file.read_bytes():
            sys.exit(f"{file}: names a folder of this machine")


def main():
    arguments = [a for a in sys.argv[1:] if a != "--try"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    out = pathlib.Path(arguments[0]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "one").mkdir()
        made = make(out, place / "one")
        if "--try" in sys.argv:
            (place / "another place").mkdir()
            make(place / "again", place / "another place")
            for file in made:
                same = (out / file).read_bytes() == (place / "again" / file).read_bytes()
                tell(f"{file}: {'the same again' if same else 'DIFFERS'}")
                if not same:
                    sys.exit(1)
            (place / "empty").mkdir()
            attempt(out, place / "empty")
            tell("unpacked elsewhere: program, shared and static library work")
    for file in made:
        tell(out / file)


if __name__ == "__main__":
    main()
