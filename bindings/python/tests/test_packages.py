"""Tests of the wheel, and of the plug-in for llm where that is installed."""
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import venv

HERE = pathlib.Path(__file__).parent
PLUGIN = HERE.parent / "examples" / "llm-smallmind"
MODEL = os.environ["SMALLMIND_TEST_MODEL"]
LIBRARY = os.environ["SMALLMIND_LIBRARY"]


class Place(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.place = pathlib.Path(folder.name)


@unittest.skipUnless(sys.platform == "linux" and shutil.which("readelf"),
                     "binutils are not installed")
class Wheel(Place):
    def wheel(self, folder="wheels"):
        run = subprocess.run([sys.executable, str(HERE.parent / "wheel.py"), LIBRARY,
                              str(self.place / folder)], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        return pathlib.Path(run.stdout.strip())

    def test_the_same_bytes(self):
        self.assertEqual(self.wheel().read_bytes(), self.wheel("others").read_bytes())

    @unittest.skipUnless(importlib.util.find_spec("pip"), "pip is not installed")
    def test_it_runs_where_nothing_else_is(self):
        empty = self.place / "venv"
        venv.create(empty, with_pip=False, symlinks=True)
        python = empty / "bin" / "python"
        run = subprocess.run(
            [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python),
             "install", "--no-index", "-q", str(self.wheel())], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        program = ("import smallmind, sys; print(smallmind.__file__); s = smallmind.Model("
                   "sys.argv[1]).session(n_threads=1); print(len(s.complete('and the', "
                   "max_tokens=20, ignore_end=True)))")
        clean = {name: value for name, value in os.environ.items()
                 if name not in ("SMALLMIND_LIBRARY", "PYTHONPATH", "LD_LIBRARY_PATH")}
        run = subprocess.run([str(python), "-c", program, MODEL], capture_output=True, text=True,
                             env=clean, cwd=self.place)
        self.assertEqual(run.returncode, 0, run.stderr)
        where, length = run.stdout.split()
        self.assertTrue(where.startswith(str(empty)), where)
        self.assertGreater(int(length), 0)


@unittest.skipUnless(importlib.util.find_spec("llm"), "llm is not installed")
class Plugin(Place):
    def llm(self, *arguments, program=("-m", "llm")):
        """Of a program that finds the plug-in as if it was installed."""
        about = self.place / "llm_smallmind-0.1.0.dist-info"
        about.mkdir(exist_ok=True)
        (about / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: llm-smallmind\nVersion: 0.1.0\n")
        (about / "entry_points.txt").write_text("[llm]\nsmallmind = llm_smallmind\n")
        path = os.pathsep.join(map(str, (self.place, PLUGIN, HERE.parent)))
        run = subprocess.run([sys.executable, *program, *arguments], capture_output=True,
                             text=True, env=dict(os.environ, PYTHONPATH=path,
                                                 LLM_USER_PATH=str(self.place)))
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def test_a_prompt_a_conversation_and_a_schema(self):
        self.llm("smallmind", "add", "tiny", MODEL)
        self.assertIn("tiny", self.llm("models"))
        how = ["-m", "tiny", "-o", "template", "chatml", "-o", "max_tokens", "8"]
        self.assertTrue(self.llm("and the", *how))
        self.llm("-c", "and the", *how[2:])
        fixed = '{"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}'
        self.assertEqual(self.llm("and the", *how, "--schema", fixed).strip(), '{"a":1}')

    def test_the_same_beside_a_loop(self):
        self.llm("smallmind", "add", "tiny", MODEL)
        program = """if True:
            import asyncio, llm
            async def both():
                talk = llm.get_async_model("tiny").conversation()
                how = {"template": "chatml", "max_tokens": 8}
                await talk.prompt("and the", **how).text()
                print(await talk.prompt("end", **how).text())
            asyncio.run(both())
            talk = llm.get_model("tiny").conversation()
            how = {"template": "chatml", "max_tokens": 8}
            talk.prompt("and the", **how).text()
            print(talk.prompt("end", **how).text())
            """
        said = self.llm(program=("-c", program))
        self.assertTrue(said.strip())
        self.assertEqual(said[:len(said) // 2], said[len(said) // 2:])


if __name__ == "__main__":
    unittest.main()
