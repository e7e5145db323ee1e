"""The contract of 1.0 (scripts/abi.py): it is kept, what breaks it is found, an old program runs on
this library and a new one says what an older library lacks.

Usage: test_abi.py SOURCE_ROOT LIBRARY MODEL
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT, LIBRARY, MODEL = (pathlib.Path(path).resolve() for path in sys.argv[1:4])
sys.path.insert(0, str(ROOT / "scripts"))
import abi  # noqa: E402
import headers  # noqa: E402

# what happened to a header, and what is said of it
BREAKS = {
    "a field in the middle": ("train.h", r"(    uint64_t min_count;)", r"    uint64_t extra;\n\1",
                              "sm_vocabulary_options"),
    "a field of another type": ("generate.h", r"uint32_t min_keep;", "int64_t min_keep;",
                                "min_keep"),
    "a struct that cannot grow": ("generate.h", r"\n} sm_logit_bias;",
                                  "\n    uint64_t extra;\n} sm_logit_bias;", "sm_logit_bias"),
    "a constant's number": ("types.h", r"SM_ERR_STATE = -11", "SM_ERR_STATE = -111",
                            "SM_ERR_STATE was -11"),
    "a parameter's type": ("generate.h", r"uint64_t n_turns", "uint32_t n_turns",
                           "sm_session_drop_turns"),
    "a parameter more": ("generate.h", r"(sm_session_rewind\(sm_session \*session, )",
                         r"\1uint32_t extra, ", "sm_session_rewind"),
    "a function that is gone": ("types.h", r"SM_API uint32_t SM_CALL sm_abi\(void\);", "",
                                "sm_abi is gone"),
}


@unittest.skipUnless(shutil.which("abidiff"), "abidiff is not installed")
class Contract(unittest.TestCase):
    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.place)
        for folder in ("include", "tests/abi"):
            shutil.copytree(ROOT / folder, self.place / folder)
        for name in ("lib/smallmind.map", "docs/symbols-in-versions.txt"):
            (self.place / name).parent.mkdir()
            shutil.copy(ROOT / name, self.place / name)

    def change(self, name, before, after):
        path = self.place / "include/smallmind" / name
        text = path.read_text(encoding="utf-8")
        changed = re.sub(before, after, text, count=1)
        self.assertNotEqual(text, changed)
        path.write_text(changed, encoding="utf-8")
        return path, text

    def test_it_is_kept(self):
        self.assertEqual(abi.check(ROOT), [])

    def test_breaks_are_found(self):
        for what, (name, before, after, told) in BREAKS.items():
            with self.subTest(what):
                path, text = self.change(name, before, after)
                self.assertIn(told, "\n".join(abi.check(self.place)))
                path.write_text(text, encoding="utf-8")

    def test_growth_is_none(self):
        self.change("train.h", r"\n} sm_vocabulary_options;",
                    "\n    uint64_t extra;\n} sm_vocabulary_options;")
        self.change("types.h", r"(    SM_ERR_STATE = -11,)", r"\1\n    SM_ERR_TOMORROW = -99,")
        self.assertEqual(abi.check(self.place), [])

    def test_the_map_is_closed(self):
        path = self.place / "lib/smallmind.map"
        path.write_text(path.read_text().replace("    sm_abi;\n", "    sm_abi;\n    sm_more;\n"))
        self.assertIn("goes into a later one", "\n".join(abi.check(self.place)))


class Programs(unittest.TestCase):
    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.place)

    def build(self, source, library, *more):
        program = self.place / "program"
        subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-o", program, source, *more,
                        library, "-Wl,--allow-shlib-undefined"], check=True)
        return program

    def run_with(self, program, folder, *arguments):
        return subprocess.run([program, *arguments], capture_output=True, text=True, errors="replace",
                              env=dict(os.environ, LD_LIBRARY_PATH=str(folder)))

    def test_an_old_program_on_this_library(self):
        program = self.build(ROOT / "tests/abi/old_program.c", LIBRARY, f"-I{ROOT / 'tests/abi'}")
        run = self.run_with(program, LIBRARY.parent, MODEL, "the tree", self.place)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertRegex(run.stdout, r"(?s)^\w+ 1\n\d+ tokens\n.*\n1 told, finish \d\n.*\n1 told, "
                                     r"finish \d\n(red|green)\nquantized: 1\n-\d+ named\n$")

    def test_a_new_program_on_an_older_library(self):
        frozen = abi.record(ROOT)
        old = {abi.FROZEN: list(headers.parse(frozen).functions)}
        abi.make_library(self.place / "old", frozen, old)
        new = abi.make_library(self.place / "new", frozen + "int32_t sm_of_tomorrow(void);\n",
                               {**old, "SM_1.999": ["sm_of_tomorrow"]})
        source = self.place / "program.c"
        source.write_text("int sm_of_tomorrow(void);\nint main(void) { return sm_of_tomorrow(); }\n")
        program = self.build(source, new)
        self.assertEqual(self.run_with(program, self.place / "new").returncode, 0)
        run = self.run_with(program, self.place / "old")
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("SM_1.999", run.stderr)

    def test_an_old_program_takes_the_versions_it_knew(self):
        program = self.build(ROOT / "tests/abi/old_program.c", LIBRARY, f"-I{ROOT / 'tests/abi'}")
        told = subprocess.run(["readelf", "-VW", program], capture_output=True, text=True).stdout
        self.assertEqual(set(re.findall(r"Name: (SM_[\d.]+)", told)), {abi.FROZEN})


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"])
