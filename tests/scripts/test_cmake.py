#!/usr/bin/env python3
"""Holds CMakeLists.txt to what meson does.

Usage: test_cmake.py SOURCE_ROOT BUILD_DIR MODEL [--build]

Files and flags of the two are compared, and those without training. CMake finds what meson
installed, wherever it is moved to, and examples/hello.c built with it writes the same text with
each kind of library. --build: does the same with a library that CMake built, by itself and as a
part of another project (FetchContent).
"""
import fnmatch
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(sys.argv[1]).resolve()
BUILD = pathlib.Path(sys.argv[2]).resolve()
MODEL = str(pathlib.Path(sys.argv[3]).resolve())
PROMPT = "Once upon a time"
USER = """cmake_minimum_required(VERSION 3.16)
project(user C)
%s
add_executable(hello "%s")
target_link_libraries(hello PRIVATE %s)
"""


def run(*command, **options):
    result = subprocess.run([str(part) for part in command], capture_output=True, **options)
    if result.returncode != 0:
        raise AssertionError(f"{command}: exit {result.returncode}\n"
                             f"{result.stdout.decode(errors='replace')}"
                             f"{result.stderr.decode(errors='replace')}")
    return result.stdout


# What says how it is computed, of a command line: instructions, mathematics, what is defined.
TOLD = re.compile(r"-m(?!t).*|-f(?!diagnostics).*|-O.|-DSM_\w+|-D_\w+=\w+|-std=.*")
OWN = re.compile(r"-D(SM_BUILD|_FILE_OFFSET_BITS).*|-fuse-ld.*|-fPIC|-DSM_OPENBLAS")


def commands(path, root):
    """File of the library -> what its compiler was told; of -O flags the last one holds."""
    found = {}
    for entry in json.loads(path.read_text(encoding="utf-8")):
        file = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        try:
            name = file.relative_to(root.resolve()).as_posix()
        except ValueError:
            continue
        if not name.startswith(("lib/", "kernels/")) or name in found:
            continue
        words = entry.get("arguments") or shlex.split(entry["command"])
        told = {word for word in words if TOLD.fullmatch(word) and not OWN.fullmatch(word)}
        levels = [word for word in words if re.fullmatch("-O.", word)]
        told = {word for word in told if not re.fullmatch("-O.", word)} | set(levels[-1:])
        found[name] = told
    return found


def about(told, name):
    """Without what one file has nothing to do with: CMake defines for all of them."""
    own = {"-DSM_TRAIN"} if name != "lib/run/build.c" else set()
    if not name.startswith("kernels/"):
        own |= {word for word in told if word.startswith("-DSM_HAVE_")}
    return told - own


class Cmake(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.place = pathlib.Path(cls.folder.name)
        cls.config = json.loads((BUILD / "meson-info/intro-buildoptions.json").read_text())

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def option(self, name):
        return next(o["value"] for o in self.config if o["name"] == name)

    def configure(self, name, *options):
        place = self.place / name
        run("cmake", "-S", ROOT, "-B", place, "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", *options)
        return place

    def same(self, cmake, meson):
        ours, theirs = (commands(place / "compile_commands.json", ROOT) for place in (cmake, meson))
        theirs = {name: told for name, told in theirs.items() if name in ours or "/absent" not in name}
        self.assertGreater(len(ours), 100)
        self.assertEqual(sorted(ours), sorted(theirs))
        for name, told in ours.items():
            self.assertEqual(about(told, name), about(theirs[name], name), name)

    def test_files_and_flags(self):
        if self.option("buildtype") != "release" or self.option("openblas") == "enabled":
            self.skipTest("not a build as CMake's default is")
        levels = ";".join(self.option("levels"))
        self.same(self.configure("same", f"-DSMALLMIND_LEVELS={levels}"), BUILD)

    def test_without_training(self):
        cmake = self.configure("less", "-DSMALLMIND_TRAIN=OFF", "-DSMALLMIND_LEVELS=avx2;neon")
        meson = self.place / "meson"
        run("meson", "setup", meson, ROOT, "--buildtype=release", "-Dtrain=disabled",
            "-Dtests=disabled", "-Dtools=disabled", "-Dlevels=avx2,neon")
        self.same(cmake, meson)

    def test_conan_exports_what_is_installed(self):
        recipe = (ROOT / "packaging/conan/conanfile.py").read_text(encoding="utf-8")
        patterns = re.findall(r'"([^"]+)"', re.search(r"for pattern in \((.*?)\):", recipe, re.S)[1])
        lists = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
        named = [word for words in re.findall(r"install\((?:FILES|DIRECTORY) (.*?)\s+DESTINATION",
                                              lists, re.S)
                 for word in words.split() if (ROOT / word).exists()]
        self.assertIn("LICENSE", named)
        for name in named:
            inside = f"{name}/x" if (ROOT / name).is_dir() else name
            self.assertTrue(any(fnmatch.fnmatch(inside, one) for one in patterns), name)

    def hello(self, name, finds, target, *options):
        """What the example writes, in a project of its own."""
        source = self.place / name
        source.mkdir()
        (source / "CMakeLists.txt").write_text(USER % (finds, ROOT / "examples/hello.c", target))
        run("cmake", "-S", source, "-B", source / "build", *options)
        run("cmake", "--build", source / "build", "-j2")
        return run(source / "build/hello", MODEL, PROMPT)

    def installed(self, stage, *targets):
        find = "find_package(smallmind 1.0 REQUIRED)"
        texts = {self.hello(f"{stage.name}-{target.rpartition(':')[2]}", find, target,
                            f"-DCMAKE_PREFIX_PATH={stage}") for target in targets}
        self.assertEqual(len(texts), 1)
        self.assertTrue(texts.pop().decode(errors="replace").startswith(PROMPT))
        with self.assertRaisesRegex(AssertionError, "smallmind"):
            self.hello(f"{stage.name}-other", "find_package(smallmind 9.0 REQUIRED)",
                       "smallmind::smallmind", f"-DCMAKE_PREFIX_PATH={stage}")

    def test_installed(self):
        stage = self.place / "stage"
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", stage)
        prefix = next(stage.rglob("smallmind-config.cmake"))
        while not (prefix / "include/smallmind").is_dir():
            prefix = prefix.parent
        moved = self.place / "moved"
        shutil.move(prefix, moved)
        self.assertEqual((moved / "share/licenses/smallmind/LICENSE").read_bytes(),
                         (ROOT / "LICENSE").read_bytes())
        self.assertIn("Yann Collet", (moved / "share/licenses/smallmind/xxHash.txt").read_text())
        self.installed(moved, "smallmind::smallmind", "smallmind::shared", "smallmind::static")

    @unittest.skipUnless("--build" in sys.argv, "with --build")
    def test_built(self):
        for name, shared in (("shared", "ON"), ("static", "OFF")):
            place = self.configure(f"built-{name}", f"-DBUILD_SHARED_LIBS={shared}")
            run("cmake", "--build", place, "-j2")
            stage = self.place / f"stage-{name}"
            run("cmake", "--install", place, "--prefix", stage)
            self.installed(stage, "smallmind::smallmind", f"smallmind::{name}")

    @unittest.skipUnless("--build" in sys.argv, "with --build")
    def test_part_of_another(self):
        fetch = ("include(FetchContent)\n"
                 f"FetchContent_Declare(smallmind SOURCE_DIR {ROOT})\n"
                 "FetchContent_MakeAvailable(smallmind)")
        text = self.hello("part", fetch, "smallmind::smallmind", "-DSMALLMIND_LEVELS=avx2",
                          "-DSMALLMIND_TRAIN=OFF")
        self.assertTrue(text.decode(errors="replace").startswith(PROMPT))


if __name__ == "__main__":
    if not shutil.which("cmake"):
        print("cmake is not installed")
        sys.exit(77)
    for variable in ("DESTDIR", "MAKEFLAGS"):
        os.environ.pop(variable, None)
    unittest.main(argv=sys.argv[:1], verbosity=2)
