#!/usr/bin/env python3
"""Every public header compiles alone, strictly, as C99, C11 and C++17; the rules of
scripts/check_headers.py hold, and it finds what breaks them.

Usage: test_headers.py SOURCE_ROOT C_COMPILER...
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile
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

    def faults(self, declarations, before=""):
        """What check_headers.py says of a tree with this header."""
        with tempfile.TemporaryDirectory() as folder:
            place = pathlib.Path(folder) / "include" / "smallmind"
            place.mkdir(parents=True)
            (place / "experimental.h").write_text("")
            (place / "smallmind.h").write_text(
                "#include <stdint.h>\n#ifndef SM_API\n#define SM_API\n#endif\n"
                f"#ifndef SM_CALL\n#define SM_CALL\n#endif\n{before}{declarations}\n")
            run = subprocess.run([sys.executable, ROOT / "scripts/check_headers.py", folder, *CC],
                                 capture_output=True, text=True)
            self.assertIn(run.returncode, (0, 1), run.stderr)
            return run.stdout.splitlines()[:-1]

    def test_rules(self):
        run = subprocess.run([sys.executable, ROOT / "scripts/check_headers.py", ROOT, *CC],
                             capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_faults_are_found(self):
        fine = "enum { SM_ONE = -1, SM_TWO };\nSM_API int32_t SM_CALL sm_x(const char *text);"
        self.assertEqual(self.faults(fine), [])
        for bad, said in [
            ("#define SM_THREE 3", "is a macro"),
            ("SM_API int32_t sm_y(void);", "no SM_CALL"),
            ("typedef int32_t (*sm_fn)(void *user);", "no SM_CALL"),
            ("SM_API long SM_CALL sm_y(void);", "returns long"),
            ("SM_API void SM_CALL sm_y(float x);", "x is of type float"),
            ("typedef struct sm_s {\n    uint32_t struct_size;\n    uint32_t x;\n} sm_s;\n"
             "SM_API void SM_CALL sm_y(sm_s s);", "s is of type sm_s"),
            ("typedef struct sm_s {\n    int32_t x;\n} sm_s;", "neither begins with struct_size"),
            ("/* It never grows. */\ntypedef struct sm_s {\n    uint32_t struct_size;\n} sm_s;",
             "and has struct_size"),
            ("typedef struct sm_s {\n    uint32_t struct_size;\n    uint32_t x;\n    uint64_t y;\n"
             "    uint32_t z;\n} sm_s;", "ends with 4 bytes of padding (LP64)"),
            ("typedef struct sm_s {\n    uint32_t struct_size;\n    uint32_t x;\n    uint64_t y;\n"
             "    const char *z;\n} sm_s;", "padding (ILP32, eight-byte numbers aligned to 8)"),
        ]:
            with self.subTest(bad=bad):
                self.assertTrue(any(said in line for line in self.faults(fine + "\n" + bad)), said)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
