"""Tests of the stubs, where mypy is installed."""
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent


@unittest.skipUnless(importlib.util.find_spec("mypy"), "mypy is not installed")
class Types(unittest.TestCase):
    def run_module(self, *arguments):
        with tempfile.TemporaryDirectory() as cache:
            return subprocess.run(
                [sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=cache,
                env=dict(os.environ, MYPYPATH=str(HERE.parent), PYTHONPATH=str(HERE.parent)))

    def test_a_program(self):
        path = HERE / "typed_program.py"
        lines = path.read_text(encoding="utf-8").splitlines()
        refused = {i for i, line in enumerate(lines, 1) if line.endswith("# refused")}
        said = self.run_module("mypy", "--strict", "--no-pretty", "--no-error-summary", str(path))
        found = {int(line.split(":")[1]) for line in said.stdout.splitlines() if ": error:" in line}
        self.assertEqual(found, refused, said.stdout + said.stderr)
        self.assertTrue(refused)

    def test_the_stubs_themselves(self):
        said = self.run_module("mypy", "--strict", str(HERE.parent / "smallmind" / "__init__.pyi"))
        self.assertEqual(said.returncode, 0, said.stdout + said.stderr)

    def test_they_are_what_the_module_has(self):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as others:
            others.write("smallmind\\._.*\n")  # modules within, which have no stubs
            others.flush()
            said = self.run_module("mypy.stubtest", "smallmind", "--concise", "--allowlist",
                                   others.name, "--ignore-unused-allowlist")
        self.assertEqual(said.returncode, 0, said.stdout + said.stderr)


if __name__ == "__main__":
    unittest.main()
