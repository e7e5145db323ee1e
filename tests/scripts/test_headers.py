#!/usr/bin/env python3
"""Every public header compiles alone, strictly, as C99, C11 and C++17.

Usage: test_headers.py SOURCE_ROOT C_COMPILER...
"""
import pathlib
import shutil
import subprocess
import sys
import unittest

ROOT = pathlib.Path(sys.argv[1])
CC = sys.argv[2:]
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]


class Headers(unittest.TestCase):
    def compile(self, compiler, language, standard, warnings):
        headers = sorted((ROOT / "include" / "smallmind").glob("*.h"))
        self.assertGreater(len(headers), 5)
        for header in headers:
            with self.subTest(header=header.name):
                result = subprocess.run(
                    compiler + STRICT + warnings + [f"-std={standard}", "-x", language,
                    f"-I{ROOT / 'include'}", "-"],
                    input=f"#include <smallmind/{header.name}>\n#include <smallmind/{header.name}>\n"
                          "int main(void);\n",
                    capture_output=True, text=True)
                self.assertEqual(result.returncode, 0, result.stderr)

    def test_c99(self):
        self.compile(CC, "c", "c99", ["-Wstrict-prototypes", "-Wconversion"])

    def test_c11(self):
        self.compile(CC, "c", "c11", ["-Wstrict-prototypes", "-Wconversion"])

    def test_cpp17(self):
        compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
        if compiler is None:
            self.skipTest("no C++ compiler")
        self.compile([compiler], "c++", "c++17", ["-Wconversion"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
