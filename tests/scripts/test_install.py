#!/usr/bin/env python3
"""Installs the library and builds programs with nothing but pkg-config's flags.

Usage: test_install.py SOURCE_ROOT BUILD_DIR MODEL C_COMPILER...

examples/hello.c, examples/tokens.c and the example of README.md are built
against the shared and the static library and run on MODEL.
"""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(sys.argv[1])
BUILD = pathlib.Path(sys.argv[2])
MODEL = sys.argv[3]
CC = sys.argv[4:]
PROMPT = "Once upon a time"


def run(command, **options):
    result = subprocess.run(command, capture_output=True, **options)
    if result.returncode != 0:
        raise AssertionError(f"{shlex.join(map(str, command))}: exit {result.returncode}\n"
                             f"{result.stdout.decode(errors='replace')}"
                             f"{result.stderr.decode(errors='replace')}")
    return result.stdout


def readme_example():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.search(r"^```c\n(.*?)^```$", text, re.MULTILINE | re.DOTALL).group(1)


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.place = pathlib.Path(cls.folder.name)
        cls.stage = cls.place / "stage"
        run(["meson", "install", "-C", str(BUILD), "--no-rebuild", "--destdir", str(cls.stage)])
        found = list(cls.stage.rglob("smallmind.pc"))
        assert len(found) == 1, found
        cls.libdir = found[0].parents[1]
        # the files say where they will be, the stage is where they are now
        cls.env = dict(os.environ, PKG_CONFIG_SYSROOT_DIR=str(cls.stage),
                       PKG_CONFIG_PATH=str(found[0].parent))
        cls.env_run = dict(os.environ, LD_LIBRARY_PATH=str(cls.libdir))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def flags(self, *options):
        return shlex.split(run(["pkg-config", *options, "smallmind"], env=self.env).decode())

    def build(self, name, source, static):
        program = self.place / (name + ("-static" if static else "-shared"))
        flags = self.flags("--cflags", "--libs", *(["--static"] if static else []))
        run([*CC, "-std=c11", "-Wall", "-Wextra", "-Werror", str(source), "-o", str(program),
             *flags, *(["-static"] if static else []), "-lm"])
        return program

    def build_both(self, name, source, *arguments):
        """The program's output, which must not depend on how it was linked. Its arguments begin with
        MODEL, and are this and PROMPT where none are given."""
        shared = self.build(name, source, False)
        linked = run(["readelf", "-d", str(shared)]).decode()
        self.assertRegex(linked, r"NEEDED.*libsmallmind\.so\.\d+")
        static = self.build(name, source, True)
        self.assertNotIn("libsmallmind", run(["readelf", "-d", str(static)]).decode())
        outputs = [run([str(program), MODEL, *map(str, arguments or (PROMPT,))], env=self.env_run)
                   for program in (shared, static)]
        self.assertEqual(outputs[0], outputs[1])
        return outputs[0].decode(errors="replace")

    def test_hello(self):
        text = self.build_both("hello", ROOT / "examples" / "hello.c")
        self.assertTrue(text.startswith(PROMPT))
        self.assertGreater(len(text), len(PROMPT) + 1)

    def test_tokens(self):
        text = self.build_both("tokens", ROOT / "examples" / "tokens.c")
        self.assertRegex(text, r"^\d+ tokens in the prompt\nlikeliest:")
        self.assertIn("\ndrawn:", text)

    def test_searches(self):
        """What chooses tokens with several sessions or models at once."""
        text = self.build_both("beam", ROOT / "examples" / "beam.c", PROMPT, "3", "6")
        scores = [float(score) for score in re.findall(r"^ *(-\d+\.\d{4}) ", text, re.M)]
        self.assertEqual(len(scores), 3)
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.build_both("contrastive", ROOT / "examples" / "contrastive.c", MODEL, PROMPT)
        self.build_both("guidance", ROOT / "examples" / "guidance.c", PROMPT, "The", "1.5")
        text = self.build_both("vote", ROOT / "examples" / "vote.c", PROMPT, "5", "12")
        self.assertRegex(text, r"answer: .* \([1-5] of 5\)\n$")

    def test_training(self):
        """What learns from pairs, and from another model."""
        pairs, text = self.place / "pairs.jsonl", self.place / "text.txt"
        pairs.write_text('{"prompt": "the", "chosen": " end", "rejected": " and"}\n' * 40, encoding="utf-8")
        text.write_text("the cat and the end\n<|endoftext|>\n" * 200, encoding="utf-8")
        out = self.build_both("dpo", ROOT / "examples" / "dpo.c", pairs, self.place / "dpo.gguf", "5")
        self.assertIn("before: loss 0.693, margin 0.000", out)
        self.assertRegex(out, r"step +5 .*\n.*\nafter: loss 0\.6")
        out = self.build_both("distill", ROOT / "examples" / "distill.c", text,
                              self.place / "student.gguf", "2")
        self.assertRegex(out, r"validation loss \d\.\d+; wrote ")

    def test_readme(self):
        example = readme_example()
        self.assertLessEqual(len([line for line in example.splitlines() if line.strip()]), 24)
        source = self.place / "readme.c"
        source.write_text(example, encoding="utf-8")
        text = self.build_both("readme", source)
        self.assertGreater(len(text), 1)

    def test_program(self):
        version = self.flags("--modversion")[0]
        out = run([str(next(self.stage.rglob("bin/smallmind"))), "--version"], env=self.env_run)
        self.assertEqual(out.decode(), f"smallmind {version}\n")

    def test_files(self):
        names = {path.name for path in self.stage.rglob("*") if not path.is_dir()}
        self.assertLessEqual({"libsmallmind.a", "libsmallmind.so", "smallmind.pc", "smallmind",
                              "smallmind.h", "generate.h", "quantize.h"}, names)
        self.assertFalse([name for name in names if name.startswith("libsm_")])

    def test_described(self):
        """Shells and man find what they look for by name, where they look."""
        share = next(self.stage.rglob("man1")).parents[1]
        self.assertIn("complete ", (share / "bash-completion/completions/smallmind").read_text())
        self.assertTrue((share / "zsh/site-functions/_smallmind").read_text()
                        .startswith("#compdef smallmind\n"))
        self.assertIn("complete ", (share / "fish/vendor_completions.d/smallmind.fish").read_text())
        pages = {path.name for path in (share / "man/man1").iterdir()}
        commands = re.findall(r'^COMMAND\("([^"]+)"', (ROOT / "tools/commands.inc").read_text(),
                              re.MULTILINE)
        self.assertEqual(pages, {"smallmind.1"} | {
            f"smallmind-{name.replace(' ', '-')}.1" for name in commands})


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
