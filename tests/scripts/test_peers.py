#!/usr/bin/env python3
"""bench/peers with stand-ins for the engines, and with the real program beside one.

Usage: test_peers.py SOURCE_ROOT PROGRAM LLAMA_STAND_IN [TEST]...

A stand-in notes how it is called, and prints speeds that are known.
"""
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(sys.argv[1])
PROGRAM = sys.argv[2]
LLAMA = sys.argv[3]
PEERS = [sys.executable, str(ROOT / "bench" / "peers")]

# `calls` holds the arguments of every call, one JSON array a line, the program's name first.
HEAD = """#!{python}
import json, pathlib, sys
here = pathlib.Path(__file__).parent
name = pathlib.Path(__file__).name
args = sys.argv[1:]
with open(here / "calls", "a") as file:
    file.write(json.dumps([name] + args) + chr(10))
with open(here / "calls") as file:
    n = sum(json.loads(line)[0] == name and "--save" not in line for line in file)
def value(flag):
    return args[args.index(flag) + 1]
"""
OURS = HEAD + """
if "--save" in args:
    pathlib.Path(value("--save")).write_text(value("--type"))
else:
    def speed(tokens):
        return {{"tokens_per_second": tokens, "fraction_of_bound": tokens / 1000}}
    print(json.dumps({{"level": "avx9", "prefill": speed(400 + n), "decode": speed(100 * n)}}
                     | ({{"batch": speed(100 * n) | {{"sequences": int(value("-b"))}}}}
                        if "-b" in args else {{}})))
"""
BENCH = HEAD + """
if "Q4_0" in pathlib.Path(value("-m")).read_text():
    sys.exit("cannot load this")
entry = {{"build_number": 7, "build_commit": "abc", {device}}}
print(json.dumps([entry | {{"n_prompt": 512, "n_gen": 0, "avg_ts": 200.0}},
                  entry | {{"n_prompt": 0, "n_gen": 128, "avg_ts": 50.0}}]))
"""
TEXT = HEAD + """
print("speed is 80.5 per second", file=sys.stderr)
"""
PATTERN = r"speed is (?P<decode>[0-9.]+)"


class Peers(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.ours = self.program("smallmind", OURS)
        self.bench = self.program("bench", BENCH, device='"backends": "CPU,BLAS"')
        self.text = self.program("text", TEXT)
        self.model = self.folder / "a.gguf"
        self.model.write_text("Q8_0")

    def program(self, name, source, **values):
        path = self.folder / name
        path.write_text(source.format(python=sys.executable, **values))
        path.chmod(0o755)
        return path

    def start(self, *arguments, ours=None):
        command = PEERS + ["--smallmind", str(ours or self.ours), "--wait", "0",
                           "--folder", str(self.folder)]
        return subprocess.Popen(command + [str(a) for a in arguments], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True,
                                env=os.environ | {"LLAMA_NOTES": str(self.folder / "notes")})

    def call(self, code, *arguments, ours=None):
        process = self.start(*arguments, ours=ours)
        out, err = process.communicate()
        self.assertEqual(process.returncode, code, (out, err))
        return out, err

    def refused(self, *arguments, says):
        out, err = self.call(1, *arguments)
        self.assertEqual(out, "")
        self.assertIn(says, err)

    def calls(self, name):
        lines = (self.folder / "calls").read_text().splitlines()
        return [call[1:] for call in map(json.loads, lines) if call[0] == name]

    def test_takes_turns_and_compares_pairs(self):
        out, _ = self.call(0, "--llama-bench", f"one={self.bench}", "--program", "two", self.text,
                           PATTERN, "-r", 3, self.model)
        order = [json.loads(line)[0]
                 for line in (self.folder / "calls").read_text().splitlines()]
        self.assertEqual(order, ["smallmind", "bench", "text"] * 3)
        rows = [re.split(r"\s*\|\s*", line)[1:-1] for line in out.splitlines()
                if line.startswith("| ")]
        self.assertEqual(rows, [
            ["model", "test", "ours", "of bound", "one", "ratio", "pairs", "two", "ratio", "pairs",
             "others"],
            ["a.gguf", "prefill 512", "402.0", "40%", "200.0", "2.01", "2.00 2.01 2.02",
             "-", "-", "-", rows[1][-1]],
            ["a.gguf", "decode 128", "200.0", "20%", "50.0", "4.00", "2.00 4.00 6.00",
             "80.5", "2.48", "1.24 2.48 3.73", rows[1][-1]]])
        self.assertIn("one: build 7 (abc), bench\n", out)
        self.assertIn("ours: smallmind, level avx9\n", out)

    def test_what_is_measured_is_handed_on(self):
        words = f"{self.text} {{model}} {{threads}} {{prefill}} {{decode}} {{depth}} {{batch}}"
        out, _ = self.call(0, "--program", "text", words, PATTERN, "-p", 9, "-n", 8, "-d", 7,
                           "-t", 2, "-b", 6, "-r", 1, "--level", "avx2", self.model)
        self.assertEqual(self.calls("text"), [[str(self.model), "2", "9", "8", "7", "6"]])
        self.assertEqual(self.calls("smallmind"), [
            ["bench", "-m", str(self.model), "-p", "9", "-n", "8", "-d", "7", "-t", "2",
             "-r", "1", "--json", "-b", "6", "--level", "avx2"]])
        self.assertIn("| decode 8 x6 at 7 |", out)
        self.assertNotIn("| prefill", out)

    def test_arguments_for_llama_bench(self):
        self.call(0, "--llama-bench", f"{self.bench} -rtr 1 -fa 0", "-d", 7, "-r", 1, self.model)
        call = self.calls("bench")[0]
        self.assertEqual(call[-4:], ["-rtr", "1", "-fa", "0"])
        self.assertEqual(call.count("-fa"), 1)
        self.assertEqual(call[call.index("-d") + 1], "7")

    def test_models_are_made_and_deleted(self):
        record = self.folder / "record"
        _, err = self.call(1, "--llama-bench", f"one={self.bench}", "--program", "two",
                           f"{self.text} {{shape}} {{type}}", PATTERN, "-r", 1,
                           "--shapes", "x,y", "--types", "Q8_0,Q4_0", "--record", record)
        self.assertIn("y Q4_0: one failed", err)  # and is said to have failed, nothing else
        self.assertIn("cannot load this", err)
        self.assertEqual(self.calls("text"), [["x", "Q8_0"], ["x", "Q4_0"], ["y", "Q8_0"],
                                              ["y", "Q4_0"]])
        self.assertEqual(sorted(p.name for p in self.folder.iterdir() if p.suffix != ".gguf"),
                         ["bench", "calls", "record", "smallmind", "text"])
        report = json.loads(record.read_text())
        self.assertEqual([r["model"] for r in report["results"]],
                         ["x Q8_0", "x Q4_0", "y Q8_0", "y Q4_0"])
        good, bad = report["results"][:2]
        self.assertEqual(good["failed"], {})
        self.assertEqual(list(bad["failed"]), ["one"])
        self.assertEqual(list(bad["decode"]["peers"]), ["two"])
        self.assertEqual(good["decode"]["peers"]["one"]["ratio"], 2.0)
        self.assertEqual(report["engines"]["one"]["engine"], "build 7 (abc), bench")
        self.assertTrue(report["cpu"])

    def test_an_interruption_keeps_what_is_known(self):
        slow = self.program("slow", TEXT + "import time\n"
                            "time.sleep(0 if 'x' in args else 60)\n")
        record = self.folder / "record"
        process = self.start("--program", "two", f"{slow} {{shape}}", PATTERN, "-r", 1,
                             "--shapes", "x,y", "--record", record)
        end = time.monotonic() + 30
        while not (self.folder / "calls").exists() or len(self.calls("slow")) < 2:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate()
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)
        self.assertIn("| x Q8_0 | decode 128 | 100.0 |", out)
        self.assertEqual(len(json.loads(record.read_text())["results"]), 1)
        self.assertEqual([p for p in self.folder.iterdir() if p.is_dir()], [])

    def test_only_the_cpu_is_compared(self):
        for device in ('"backends": "CUDA"', '"cuda": True', '"rpc": "1"'):
            path = self.program("gpu", BENCH, device=device)
            _, err = self.call(1, "--llama-bench", path, "-r", 1, self.model)
            self.assertRegex(err, "computes on (CUDA|cuda|rpc)")
        for device in ('"cuda": False, "rpc": "0"', '"backends": "CPU"'):
            path = self.program("cpu", BENCH, device=device)
            self.call(0, "--llama-bench", path, "-r", 1, self.model)

    def test_refused(self):
        program = ["--program", "two", self.text]
        self.refused("--llama-bench", self.bench, "-b", 2, self.model, says="--program")
        self.refused("--llama-bench", "/nonexistent", self.model, says="/nonexistent")
        self.refused("--library", self.folder, self.model, says="libllama.so")
        self.refused("--node-package", self.folder, self.model, says="npm install")
        self.refused(*program, "speed ([0-9.]+)", self.model, says="?P<decode>")
        self.refused(*program, "(", self.model, says="--program two")
        self.refused(*program, PATTERN, *program, PATTERN, self.model, says="called two")
        self.refused("--program", "ours", self.text, PATTERN, self.model, says="called ours")
        self.refused("--program", "two", f"{self.text} {{size}}", PATTERN, self.model,
                     says="{size}")
        self.refused(*program, PATTERN, "--peer-cpu", "haswell", self.model, says="--peer-cpu")
        self.refused(*program, PATTERN, "/nonexistent/model", says="/nonexistent/model")
        self.assertFalse((self.folder / "calls").exists())  # before anything is measured

    def library(self, *arguments):
        """What the library was asked for: the lines until it computes, and the steps."""
        place = self.folder / "library"
        if not place.exists():
            place.mkdir()
            for name in ("libllama.v9", "libggml.v9", "libggml-base", "libggml-cpu-best",
                         "libggml-cpu-least"):
                shutil.copy(LLAMA, place / f"{name}.so")
        notes = self.folder / "notes"
        notes.unlink(missing_ok=True)
        out, _ = self.call(0, "--library", place, "-r", 1, "--json", *arguments, self.model)
        lines = notes.read_text().splitlines()
        n = next(i for i, line in enumerate(lines) if line.startswith(("decode", "remove")))
        # small models are computed again and again: one round says it all
        steps = [line for line, _ in itertools.groupby(lines[n:n + 60])]
        return json.loads(out), lines[:n], steps

    def test_library(self):
        report, head, steps = self.library("-p", 514, "-n", 3, "-t", 2)
        place = self.folder / "library"
        self.assertEqual(head, [f"load {place}/libggml-cpu-best.so",
                                "context 768 batch 512 512 sequences 1", "threads 2 2", "pool 2",
                                "attach"])
        prompt = ["decode " + " ".join(f"{i}:0" for i in range(512)) + "!", "decode 512:0 513:0!"]
        self.assertEqual(steps[:6], prompt + ["remove 0 0 -1"] + prompt + ["remove 0 0 -1"])
        self.assertEqual(self.notes()[-4:], ["remove 0 0 -1"] + [f"decode {i}:0!" for i in range(3)])
        self.assertEqual(report["engines"]["llama.cpp"]["engine"],
                         "llama.cpp 1.2 abc, libllama.v9.so with libggml-cpu-best.so")
        peers = report["results"][0]["prefill"]["peers"]["llama.cpp"]
        self.assertGreater(peers["speed"], 0)

    def notes(self):
        return (self.folder / "notes").read_text().splitlines()

    def test_library_at_a_depth(self):
        _, head, steps = self.library("-p", 2, "-n", 3, "-d", 4)
        self.assertIn("context 256 batch 512 512 sequences 1", head)
        self.assertEqual(steps[:4], ["decode 0:0 1:0 2:0 3:0!", "decode 4:0 5:0!", "remove 0 4 -1",
                                     "decode 4:0 5:0!"])
        self.assertEqual(self.notes()[-4:], ["remove 0 4 -1"] +
                         [f"decode {i}:0!" for i in (4, 5, 6)])

    def test_library_with_several_sequences(self):
        report, head, steps = self.library("-n", 2, "-p", 250, "-d", 6, "-b", 3)
        self.assertIn("context 768 batch 512 512 sequences 3", head)
        rewind = [f"remove {k} 6 -1" for k in range(3)]
        self.assertEqual(steps[:3], ["decode 0:0 1:0 2:0 3:0 4:0 5:0!", "copy 0 1 -1 -1",
                                     "copy 0 2 -1 -1"])
        self.assertEqual(steps[3:11], (rewind + ["decode 6:0! 6:1! 6:2!", "decode 7:0! 7:1! 7:2!"]
                                       + rewind))
        self.assertEqual(list(report["results"][0]), ["model", "runs", "failed", "decode", "others"])

    def test_library_for_another_cpu(self):
        report, head, _ = self.library("--peer-cpu", "least")
        self.assertIn(f"load {self.folder}/library/libggml-cpu-least.so", head)
        self.assertIn("with libggml-cpu-least.so", report["engines"]["llama.cpp"]["engine"])
        _, err = self.call(1, "--library", self.folder / "library", "-r", 1, "--peer-cpu", "most",
                           self.model)
        self.assertIn("CPU backends here: best, least", err)

    def test_no_speed_is_a_failure(self):
        out, err = self.call(1, "--program", "two", self.text, "pace (?P<decode>[0-9]+)", "-r", 2,
                             self.model)
        self.assertIn("printed no speed", err)
        self.assertIn("| 150.0 | 15% | - | - | - |", out)
        self.assertEqual(len(self.calls("text")), 1)  # not tried again

    def test_the_real_program(self):
        options = ["--program", "two", self.text, PATTERN, "--shapes", "stories260k", "--types",
                   "Q4_K_M", "-p", 16, "-n", 8, "-r", 1, "--json", "-t", 1]
        out, _ = self.call(0, *options, "-d", 8, "--level", "scalar", ours=PROGRAM)
        report = json.loads(out)
        self.assertEqual(report["engines"]["ours"]["engine"], "smallmind, level scalar")
        decode = report["results"][0]["decode"]
        self.assertGreater(decode["ours"], 0)
        self.assertGreater(decode["of_bound"], 0)
        self.assertAlmostEqual(decode["peers"]["two"]["ratio"], decode["ours"] / 80.5)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
