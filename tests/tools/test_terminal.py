#!/usr/bin/env python3
"""The progress line of `smallmind` on terminals of several widths, and where there is none.

Usage: test_terminal.py PROGRAM MODEL [TEST]...

MODEL is a small model with a vocabulary. Where no pseudo-terminal can be had the tests that need
one are skipped.
"""
import fcntl
import json
import os
import pathlib
import pty
import random
import re
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

PROGRAM = shlex.split(os.environ.get("SM_WRAPPER", "")) + [sys.argv[1]]
MODEL = sys.argv[2]
WIDTHS = (40, 80, 100)
UPDATE = re.compile(rb"\r([^\r\n\x1b]+)\x1b\[K")  # one write of the line


def open_terminal(case, columns):
    """Both ends of a terminal so wide."""
    try:
        ours, theirs = pty.openpty()
    except OSError as error:  # a container without devpts
        case.skipTest(f"no pseudo-terminal: {error}")
    resize(theirs, columns)
    return ours, theirs


def resize(terminal, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def writes_of(process):
    """System calls that wrote something so far; None where the system does not tell."""
    try:
        text = pathlib.Path(f"/proc/{process.pid}/io").read_text()
    except OSError:
        return None
    return int(re.search(r"syscw: (\d+)", text).group(1))


class Watched:
    """A command on a terminal of its own, until it ends or has shown so many updates."""

    def __init__(self, case, columns, arguments, updates=None, resized=None):
        ours, theirs = open_terminal(case, columns)
        start = time.monotonic()
        process = subprocess.Popen(PROGRAM + [str(a) for a in arguments], stdout=subprocess.DEVNULL,
                                   stderr=theirs, stdin=subprocess.DEVNULL)
        os.close(theirs)
        self.shown, self.writes = b"", None
        try:
            while True:
                try:
                    part = os.read(ours, 65536)
                except OSError:
                    break
                if not part:
                    break
                self.shown += part
                if resized is not None and UPDATE.search(self.shown):
                    resize(ours, resized)
                    resized = None
                if updates is not None and len(UPDATE.findall(self.shown)) >= updates:
                    self.writes = writes_of(process)
                    self.counted = len(UPDATE.findall(self.shown))
                    process.terminate()
                    updates = None
            process.wait(60)
        finally:
            process.kill()
            process.wait()
            os.close(ours)
        self.seconds = time.monotonic() - start
        self.code = process.returncode
        self.updates = [update.decode() for update in UPDATE.findall(self.shown)]


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def good(self, *arguments):
        result = subprocess.run(PROGRAM + [str(a) for a in arguments], capture_output=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def words(self, n):
        order = random.Random(5)
        return " ".join(order.choice(["the", "cat", "and", "hat", "in", "an", "inn"])
                        for _ in range(n)).encode()

    def long_commands(self):
        """That would take minutes, and what their line begins with."""
        text = self.file("text", self.words(300000))
        ids = self.file("ids", b"1 2 3 4 5 " * 20000)
        rows, columns, name = 65536, 4096, b"some.weight"
        large = self.folder / "large.gguf"
        with open(large, "wb") as f:  # all zero, and no blocks on the disk
            f.write(struct.pack("<4sIQQQ", b"GGUF", 3, 1, 0, len(name)) + name +
                    struct.pack("<IQQIQ", 2, columns, rows, 0, 0))
            f.truncate((f.tell() + 31) // 32 * 32 + 4 * rows * columns)
        out = self.folder / "out"
        return {
            "evaluating": ["eval", "-m", MODEL, "-f", text, "-t", "1"],
            "measuring": ["imatrix", "-m", MODEL, "-f", text, "-o", out, "-c", "64", "-t", "1"],
            "computing": ["logits", "-m", MODEL, "--ids", ids, "-o", "/dev/null", "-t", "1"],
            "quantizing": ["quantize", large, out, "Q3_K", "-t", "1", "--level", "scalar"],
            "writing": ["init", "--vocab", MODEL, "-o", out, "--n-embd", "1024", "--n-layer", "40"],
            "encoding": ["tokenize", "-m", MODEL, "-f", self.file("longer", b"the cat " * 8000000)],
            "prompt": ["run", "-m", MODEL, "-f", text, "-c", "1000000", "-t", "1"],
        }

    def check_updates(self, watched, columns):
        self.assertTrue(watched.updates, watched.shown)
        for update in watched.updates:
            self.assertLess(len(update), columns, update)
            if update.startswith("["):  # with a bar it is as wide as the terminal
                self.assertEqual(len(update), columns - 1, update)
        # ten a second at most, and one each to begin and to end with
        self.assertLessEqual(len(watched.updates), 10 * watched.seconds + 2)
        # nothing but updates, and what ends the line, moves the cursor back
        rest = UPDATE.sub(b"", watched.shown).replace(b"\r\x1b[K", b"").replace(b"\r\n", b"")
        self.assertNotIn(b"\r", rest)
        self.assertNotIn(b"\x1b", rest)


class Progress(Case):
    def test_long_commands(self):
        for what, command in self.long_commands().items():
            for columns in WIDTHS if what == "quantizing" else (40,):
                with self.subTest(what=what, columns=columns):
                    # what counts seconds changes with them
                    watched = Watched(self, columns, command, updates=1 if what == "encoding" else 4)
                    self.assertEqual(watched.code, 143, watched.shown)
                    self.check_updates(watched, columns)
                    for update in watched.updates:
                        self.assertRegex(update, rf"^\[#* *\] {what} +\d+\.\d%|^{what}  \d+ s$")
                    self.assertIn(b"smallmind: interrupted", UPDATE.split(watched.shown)[-1])

    def test_one_write_each(self):
        """A write for every update, and none beside them."""
        watched = Watched(self, 80, ["eval", "-m", MODEL, "-f", self.file("text", self.words(300000)),
                                     "-t", "1"], updates=5)
        if watched.writes is None:
            self.skipTest("the system does not count writes")
        self.assertLessEqual(watched.writes, watched.counted + 1)

    def test_resized(self):
        """The width is asked for each time."""
        text = self.file("text", self.words(300000))
        for before, after in (80, 40), (40, 100):
            watched = Watched(self, before, ["eval", "-m", MODEL, "-f", text, "-t", "1"], updates=6,
                              resized=after)
            widths = [len(update) for update in watched.updates]
            self.assertEqual(widths[0], before - 1)
            self.assertEqual(widths[-1], after - 1)

    def test_odd_widths(self):
        """As narrow as can be, and where the terminal does not say."""
        text = self.file("text", self.words(300000))
        for columns, most in (1, 0), (2, 1), (10, 9), (25, 24), (0, 79), (2000, 1999):
            with self.subTest(columns=columns):
                command = ["eval", "-m", MODEL, "-f", text, "-t", "1"]
                if columns == 1:  # there is no room for a thing, and nothing breaks
                    watched = Watched(self, columns, [*command[:4], self.file("t", self.words(3000))])
                    self.assertEqual((watched.code, watched.updates), (0, []))
                    continue
                watched = Watched(self, columns, command, updates=1)
                self.assertTrue(all(0 < len(u) <= most for u in watched.updates), watched.shown)

    def test_over_in_a_moment(self):
        """What takes no time shows nothing but its result."""
        watched = Watched(self, 80, ["run", "-m", MODEL, "-p", "a cat", "-n", "2", "--ignore-end"])
        self.assertEqual(watched.code, 0)
        if watched.seconds < 0.25:
            self.assertEqual(watched.updates, [])

    def test_no_terminal(self):
        """Nothing of the line, be stderr a pipe or a file."""
        text = self.file("text", self.words(3000))
        vocab, model = self.folder / "vocab", self.folder / "model"
        with open(self.folder / "log", "wb") as log:
            for arguments in (["eval", "-m", MODEL, "-f", text],
                              ["imatrix", "-m", MODEL, "-f", text, "-o", self.folder / "im", "-c", "64"],
                              ["vocab", "-d", text, "-o", vocab, "-n", "270"],
                              ["init", "--vocab", vocab, "-o", model, "--n-embd", "64"],
                              ["quantize", model, self.folder / "q", "Q3_K"],
                              ["pack", model, self.folder / "p"],
                              ["train", "-m", model, "-d", text, "-o", self.folder / "t", "-n", "2",
                               "-c", "16", "-b", "1"],
                              ["run", "-m", MODEL, "-f", text, "-n", "2", "-c", "10000"]):
                result = subprocess.run(PROGRAM + [str(a) for a in arguments], stderr=log,
                                        stdout=subprocess.DEVNULL)
                self.assertEqual(result.returncode, 0, arguments)
        shown = (self.folder / "log").read_bytes()
        self.assertNotIn(b"\r", shown)
        self.assertNotIn(b"\x1b", shown)
        self.assertNotIn(b"#", shown)


class Training(Case):
    """train and finetune, of models that train in milliseconds."""

    def setUp(self):
        super().setUp()
        self.text = self.file("text", b"\n<|endoftext|>\n".join([self.words(60)] * 20))
        self.vocab, self.model = self.folder / "vocab.gguf", self.folder / "model.gguf"
        self.good("vocab", "-d", self.text, "-o", self.vocab, "-n", "270")
        self.good("init", "--vocab", self.vocab, "-o", self.model, "--n-embd", "32", "--n-layer", "2",
                  "-c", "512", "--seed", "3")

    def options(self, *options):
        return ["train", "-m", self.model, "-d", self.text, "-o", self.folder / "out.gguf", "-c", "16",
                "-b", "2", "-t", "1", *options]

    def test_widths(self):
        for columns in WIDTHS:
            with self.subTest(columns=columns):
                watched = Watched(self, columns, self.options(
                    "-n", "300", "--overwrite", "--validation", "0.1", "--eval-every", "100"))
                self.assertEqual(watched.code, 0, watched.shown)
                self.check_updates(watched, columns)
                last = watched.updates[-1]
                self.assertRegex(last, r"^\[#+\] step 300/300  loss \d\.\d{4}")
                if columns >= 80:
                    self.assertRegex(last, r"  epoch \d+\.\d\d  \d+ tokens/s")
                if columns >= 100:
                    self.assertRegex(last, r"  validation \d\.\d{4}")
                self.assertRegex(watched.shown, rb"\x1b\[K\r\ndone after step 300: ")

    def test_beside_samples(self):
        """What else is printed begins on a line of its own."""
        watched = Watched(self, 80, self.options("-n", "5", "--sample-every", "4", "--sample-tokens",
                                                 "3"))
        self.assertEqual(watched.code, 0, watched.shown)
        for text in (b"--- sample after step 4: ", b"done after step 5: "):
            self.assertRegex(watched.shown, rb"(\r\n|\r\x1b\[K)" + text)

    def test_log(self):
        """Where stderr is no terminal, a line for each twentieth of the run."""
        for steps in (1, 19, 20, 39, 59, 200):
            result = subprocess.run(PROGRAM + [str(a) for a in self.options("-n", steps, "--overwrite")],
                                    capture_output=True)
            self.assertEqual(result.returncode, 0, result.stderr)
            lines = re.findall(rb"^step (\d+)/%d  loss \d\.\d{4}  .*$" % steps, result.stderr, re.MULTILINE)
            self.assertEqual((int(lines[0]), int(lines[-1])), (1, steps))
            self.assertTrue(min(steps, 20) <= len(lines) <= 22, lines)

    def test_both_speeds(self):
        """finetune tells the tokens that it computes and those that it trains."""
        data = self.file("data.json", json.dumps(
            [{"instruction": "the cat and the hat", "output": "in"}] * 20).encode())
        command = ["finetune", "-m", self.model, "-d", data, "-o", self.folder / "a.gguf", "-c", "400",
                   "-b", "2", "-n", "6", "--lora-rank", "2", "--json"]
        result = subprocess.run(PROGRAM + [str(a) for a in command], capture_output=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        said = json.loads(result.stdout)
        self.assertGreater(said["computed_tokens"], said["tokens"])
        self.assertRegex(result.stderr.decode(), r"  \d+ tokens/s, \d+ trained")
        watched = Watched(self, 120, [*command, "--overwrite"])
        self.assertRegex(watched.updates[-1], r"  \d+ tokens/s, \d+ trained")
        watched = Watched(self, 80, [*command, "--overwrite"])
        self.assertRegex(watched.updates[-1], r"  epoch \d\.\d\d  \d+/\d+ tokens/s")


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
