#!/usr/bin/env python3
"""The program `smallmind` as a user meets it: output, messages, exit status.

Usage: test_cli.py PROGRAM MODEL [TEST]...

MODEL is a small model with a vocabulary. Tests with a trained model use
SM_TEST_DATA (or SM_TEST_DATA_DEFAULT) and are skipped where it is absent.
SM_WRAPPER may name an emulator that runs the program.
"""
import json
import math
import os
import pathlib
import re
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = shlex.split(os.environ.get("SM_WRAPPER", "")) + [sys.argv[1]]
MODEL = sys.argv[2]
DATA = pathlib.Path(os.environ.get("SM_TEST_DATA") or
                    os.environ.get("SM_TEST_DATA_DEFAULT") or "/nonexistent")
COMMANDS = ["run", "tokenize", "logits", "eval", "bench", "inspect", "pack", "imatrix"]
PROMPT = "Once upon a time"
STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high.\n"
    "Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. "
    "She said, \"I want to play with your ball, but I can't find it.\"\nLily was sad and did")


def call(*arguments, stdin=b""):
    return subprocess.run(PROGRAM + [str(a) for a in arguments], input=stdin, capture_output=True)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def good(self, *arguments, stdin=b""):
        """The output of a call that must succeed."""
        result = call(*arguments, stdin=stdin)
        self.assertEqual(result.returncode, 0, (arguments, result.stderr))
        return result.stdout

    def bad(self, code, *arguments, stdin=b"", says=()):
        """A call that must fail with this code, these words and nothing on stdout."""
        result = call(*arguments, stdin=stdin)
        message = result.stderr.decode()
        self.assertEqual(result.returncode, code, (arguments, message))
        self.assertEqual(result.stdout, b"", arguments)
        self.assertTrue(message.startswith("smallmind: "), message)
        for word in says:
            self.assertIn(str(word), message)

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def ids(self, text=PROMPT, *options):
        return [int(i) for i in self.good("tokenize", "-m", MODEL, "-p", text, *options).split()]


class Usage(Case):
    def test_help(self):
        self.assertIn(b"run", self.good("--help"))
        for command in COMMANDS:
            text = self.good(command, "--help").decode()
            self.assertTrue(text.startswith(f"usage: smallmind {command} "))
            for flag in ("-t, --threads", "--level", "-m, --model"):
                self.assertIn(flag, text)
            self.assertLess(max(map(len, text.splitlines())), 100)

    def test_version(self):
        self.assertRegex(self.good("--version"), rb"^smallmind \d+\.\d+\.\d+\n$")

    def test_no_command(self):
        result = call()
        self.assertEqual((result.returncode, result.stdout), (2, b""))
        self.assertIn(b"usage:", result.stderr)
        self.bad(2, "frobnicate", says=["frobnicate"])

    def test_unknown_option(self):
        for command in COMMANDS:
            self.bad(2, command, "--frobnicate", says=[command, "--frobnicate"])
            self.bad(2, command, "-m", MODEL, "-Z", says=["-Z"])

    def test_required(self):
        for command in COMMANDS:
            self.bad(2, command, says=["required"])

    def test_range(self):
        for option, value, range_ in [
                ("--top-p", "2", "0 to 1"), ("--top-p", "x", "0 to 1"), ("--temp", "-1", "0 to 100"),
                ("--temp", "nan", "0 to 100"), ("-t", "257", "0 to 256"), ("-t", "-1", "0 to 256"),
                ("-t", "1.5", "0 to 256"), ("-n", "4294967296", "0 to 4294967295"),
                ("--seed", "18446744073709551616", "0 to 2^64-1"), ("-n", "", "0 to"),
                ("--kv", "f64", "f16|f32|bf16|q8_0"), ("--level", "sse9", "avx2")]:
            self.bad(2, "run", "-m", MODEL, option, value, says=[option, f'"{value}"', range_])
        self.bad(2, "bench", "-m", MODEL, "-r", "0", says=["-r", "1 to 100"])
        self.bad(2, "logits", "--chunk", "0", says=["--chunk", "1 to"])

    def test_option_syntax(self):
        self.bad(2, "run", "-m", says=["-m", "value"])
        self.bad(2, "run", "--no-prompt=yes", says=["--no-prompt"])
        self.bad(2, "run", "stray", says=["stray"])
        self.bad(2, "inspect", MODEL, MODEL, says=[MODEL])
        self.bad(2, "run", "-m", MODEL, "-p", "a", "-f", "b", says=["-p", "-f"])
        self.bad(2, "run", "-m", MODEL, "-p", "a", "--stop", "", says=["--stop"])
        self.assertEqual(self.good("tokenize", f"--model={MODEL}", "--prompt=a b"),
                         self.good("tokenize", "-m", MODEL, "-p", "a b"))

    def test_levels_and_threads_everywhere(self):
        ids = self.file("ids", b"1 2 3")
        for arguments in (["run", "-n", "1"], ["tokenize", "-p", "a"],
                          ["logits", "--ids", ids, "-o", self.folder / "out"],
                          ["eval", "-f", self.file("text", b"some text")],
                          ["bench", "-p", "4", "-n", "2", "-r", "1"], ["inspect"],
                          ["pack", self.folder / "packed"],
                          ["imatrix", "-f", self.file("text", b"some text"), "-o",
                           self.folder / "im.gguf"]):
            self.good(*arguments, "-m", MODEL, "-t", "2", "--level", "scalar")
        self.good("quantize", MODEL, self.folder / "q.gguf", "Q8_0", "-t", "2", "--level", "scalar")


class BadFiles(Case):
    def test_every_command(self):
        text = self.file("text", b"some text")
        ids = self.file("ids", b"1 2 3")
        out = self.folder / "out"
        whole = pathlib.Path(MODEL).read_bytes()
        for name, content in [("magic.gguf", b"FUGG" + whole[4:]), ("short.gguf", whole[:100]),
                              ("cut.gguf", whole[:-1]), ("empty.gguf", b"")]:
            path = self.file(name, content)
            for arguments in (["run"], ["tokenize", "-p", "a"], ["eval", "-f", text], ["bench"],
                              ["logits", "--ids", ids, "-o", out], ["inspect"],
                              ["pack", out],
                              ["imatrix", "-f", text, "-o", out]):
                self.bad(1, *arguments, "-m", path, says=[path])
        for command in (["run"], ["tokenize"], ["bench"], ["inspect"]):
            self.bad(1, *command, "-m", "/nonexistent/model", says=["/nonexistent/model"])
        self.assertFalse(out.exists())

    def test_inputs(self):
        for command in ("run", "tokenize", "eval"):
            self.bad(1, command, "-m", MODEL, "-f", "/nonexistent/text", says=["/nonexistent/text"])
        self.bad(1, "run", "-m", MODEL, "-f", self.file("zero", b"a\0b"), says=["zero byte"])
        out = ["-o", self.folder / "out"]
        self.bad(1, "logits", "-m", MODEL, "--ids", "/nonexistent/ids", *out,
                 says=["/nonexistent/ids"])
        for content in (b"1 x", b"", b"1.5", b"99999999999"):
            path = self.file("ids", content)
            self.bad(1, "logits", "-m", MODEL, "--ids", path, *out, says=[path])
        self.bad(1, "logits", "-m", MODEL, "--ids", self.file("ids", b"1 -1"), *out, says=["-1"])
        ids = self.file("ids", b"1")
        self.bad(1, "logits", "-m", MODEL, "--ids", ids, "-o", "/nonexistent/out",
                 says=["/nonexistent/out"])
        self.bad(1, "eval", "-m", MODEL, "-f", self.file("nothing", b""))

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full")
    def test_full_disk(self):
        for arguments in (["run", "-p", PROMPT, "-n", "3"], ["tokenize", "-p", "a b c"],
                          ["inspect"]):
            with open("/dev/full", "wb") as full:
                result = subprocess.run(PROGRAM + arguments + ["-m", MODEL], stdout=full,
                                        stderr=subprocess.PIPE)
            self.assertEqual(result.returncode, 1, arguments)
            self.assertIn(b"cannot write", result.stderr)


class Run(Case):
    def run_model(self, *options):
        return self.good("run", "-m", MODEL, "-p", PROMPT, "-n", "12", "--ignore-end", *options)

    def test_prompt_and_continuation(self):
        text = self.run_model()
        self.assertTrue(text.startswith(PROMPT.encode()) and text.endswith(b"\n"))
        self.assertEqual(text, PROMPT.encode() + self.run_model("--no-prompt"))
        prompt = self.file("prompt", PROMPT.encode())
        options = ["-m", MODEL, "-n", "12", "--ignore-end"]
        self.assertEqual(text, self.good("run", "-f", prompt, *options))
        for flag in ("-f", "-p"):
            self.assertEqual(text, self.good("run", flag, "-", *options, stdin=PROMPT.encode()))

    def test_same_for_any_threads(self):
        for options in ([], ["--temp", "0.9", "--seed", "5", "--top-k", "50"]):
            outputs = {self.run_model("-t", t, *options) for t in (1, 2, 3)}
            self.assertEqual(len(outputs), 1)

    def test_pin(self):
        if sys.platform == "linux":
            self.assertEqual(self.run_model("-t", "3", "--pin"), self.run_model("-t", "1"))
            self.good("bench", "-m", MODEL, "-p", "4", "-n", "2", "-r", "1", "--pin")
        self.bad(2, "run", "-m", MODEL, "--pin=maybe", says=["--pin"])

    def test_seed(self):
        outputs = {self.run_model("--temp", "5", "--seed", seed) for seed in range(4)}
        self.assertGreater(len(outputs), 1)

    def test_ids(self):
        ids = [int(i) for i in self.run_model("--ids").split()]
        continued = [int(i) for i in self.run_model("--ids", "--no-prompt").split()]
        self.assertEqual(len(continued), 12)
        self.assertEqual(ids, self.ids(PROMPT, "--bos") + continued)

    def test_stop(self):
        for seed in range(20):  # until the random model happens to write a letter
            options = ["--no-prompt", "-n", "60", "--temp", "2", "--seed", seed]
            text = self.run_model(*options)
            letter = re.search(rb"[A-Za-z]", text[1:])
            if letter:
                break
        stop = letter.group()
        stopped = self.run_model(*options, "--stop", "never there", "--stop", stop.decode())
        self.assertEqual(stopped, text[:text.index(stop)] + b"\n")

    def test_timings(self):
        result = call("run", "-m", MODEL, "-p", PROMPT, "-n", "3", "--ignore-end")
        timings = result.stderr.decode()
        self.assertRegex(timings, r"prompt: +\d+ tokens in [\d.]+ s, [\d.]+ tokens/s")
        self.assertRegex(timings, r"first token after [\d.]+ s")
        self.assertRegex(timings, r"generated: +3 tokens .*finished: length")

    def test_context(self):
        n = len(self.ids(PROMPT, "--bos"))
        self.bad_context = call("run", "-m", MODEL, "-p", PROMPT, "-c", n - 1)
        self.assertEqual(self.bad_context.returncode, 1)
        result = call("run", "-m", MODEL, "-p", PROMPT, "-c", n + 4, "--ignore-end")
        self.assertEqual(result.returncode, 0)
        self.assertIn(b"context full", result.stderr)

    def test_interrupt(self):
        process = subprocess.Popen(
            PROGRAM + ["run", "-m", MODEL, "-p", PROMPT, "--no-prompt", "--ignore-end", "--ids",
                       "-c", "200000", "-t", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(len(process.stdout.read(2)), 2)  # it is at it
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertTrue(out.endswith(b"\n"))
        self.assertIn(b"finished: cancelled", err)
        self.assertIn(b"smallmind: interrupted", err)


class Tokenize(Case):
    def test_plain(self):
        ids = self.ids()
        self.assertGreater(len(ids), 1)
        line = " ".join(map(str, ids)).encode() + b"\n"
        self.assertEqual(self.good("tokenize", "-m", MODEL, "-p", PROMPT), line)
        self.assertEqual(self.good("tokenize", "-m", MODEL, stdin=PROMPT.encode()), line)
        self.assertEqual(self.good("tokenize", "-m", MODEL, "-f", "-", stdin=PROMPT.encode()), line)
        self.assertEqual(self.good("tokenize", "-m", MODEL, "-p", ""), b"\n")

    def test_lines(self):
        text = b"a b\n\nOnce upon\r\nlast"
        lines = self.good("tokenize", "-m", MODEL, "--lines", stdin=text).split(b"\n")
        self.assertEqual(lines.pop(), b"")
        expected = [self.good("tokenize", "-m", MODEL, stdin=line).rstrip(b"\n")
                    for line in text.split(b"\n")]
        self.assertEqual(lines, expected)
        self.assertEqual(self.good("tokenize", "-m", MODEL, "--lines", stdin=b""), b"")
        self.assertEqual(self.good("tokenize", "-m", MODEL, "--lines", stdin=b"a\n").count(b"\n"), 1)

    def test_large(self):
        text = PROMPT.encode() * 5000
        n = len(self.good("tokenize", "-m", MODEL, stdin=text).split())
        self.assertGreater(n, 5000)


class Numbers(Case):
    def inspect(self):
        return json.loads(self.good("inspect", MODEL, "--tensors", "--json"))

    def n_vocab(self):
        for tensor in self.inspect()["tensors"]:
            if tensor["name"] == "token_embd.weight":
                return tensor["dims"][1]
        self.fail("no token_embd.weight")

    def logits(self, ids, *options):
        path = self.file("ids", " \n".join(map(str, ids)).encode())
        out = self.folder / "logits"
        self.good("logits", "-m", MODEL, "--ids", path, "-o", out, *options)
        return out.read_bytes()

    def test_logits(self):
        n_vocab = self.n_vocab()
        ids = [i * 7 % n_vocab for i in range(20)]
        whole = self.logits(ids)
        self.assertEqual(len(whole), len(ids) * n_vocab * 4)
        self.assertTrue(all(math.isfinite(x) for x in struct.unpack(f"<{len(whole) // 4}f", whole)))
        for chunk in (1, 3, 20, 1000):
            self.assertEqual(self.logits(ids, "--chunk", chunk, "-t", 2), whole)
        self.assertEqual(self.logits(ids[:5]), whole[:5 * n_vocab * 4])
        path = self.file("ids", b"1 2")
        self.assertEqual(len(self.good("logits", "-m", MODEL, "--ids", path, "-o", "-")),
                         2 * n_vocab * 4)
        self.bad(1, "logits", "-m", MODEL, "--ids", self.file("ids", str(n_vocab).encode()), "-o",
                 self.folder / "out", says=[n_vocab])

    def test_eval(self):
        """eval's numbers are those that its help promises, computed from logits."""
        n_vocab = self.n_vocab()
        text = (PROMPT + " there was a time") * 3
        ids = self.ids(text)
        bos = self.ids(text, "--bos")[:-len(ids)]
        context = 16
        room = context - len(bos)
        nats, scored = 0.0, 0
        for at in range(0, len(ids), room):
            window = bos + ids[at:at + room]
            logits = struct.unpack(f"<{len(window) * n_vocab}f", self.logits(window))
            for i in range(1, len(window)):
                row = logits[(i - 1) * n_vocab:i * n_vocab]
                top = max(row)
                nats += top + math.log(sum(math.exp(x - top) for x in row)) - row[window[i]]
                scored += 1
        path = self.file("text", text.encode())
        result = json.loads(self.good("eval", "-m", MODEL, "-f", path, "-c", context, "--json"))
        self.assertEqual(result["tokens"], scored)
        self.assertAlmostEqual(result["nats_per_token"], nats / scored, delta=1e-9 * nats)
        self.assertAlmostEqual(result["perplexity"] / math.exp(nats / scored), 1, delta=1e-9)
        if bos:
            self.assertEqual(result["bytes"], len(text))
        bits = nats / math.log(2) / result["bytes"]
        self.assertAlmostEqual(result["bits_per_byte"], bits, delta=1e-9 * bits)
        plain = self.good("eval", "-m", MODEL, "-f", path, "-c", context).decode()
        self.assertRegex(plain, r"perplexity +[\d.]+\nnats/token +[\d.]+\nbits/byte +[\d.]+\n")

    def test_bench(self):
        options = ["bench", "-m", MODEL, "-p", "16", "-n", "8", "-r", "2"]
        result = json.loads(self.good(*options, "--json"))
        for what, n in (("prefill", 16), ("decode", 8)):
            speed = result[what]
            self.assertEqual(speed["tokens"], n)
            self.assertGreater(speed["tokens_per_second"], 0)
            self.assertAlmostEqual(
                speed["fraction_of_bound"] * speed["bound_tokens_per_second"] /
                speed["tokens_per_second"], 1, delta=1e-3)
        self.assertEqual(result["packed_file_bytes"], 0)
        self.assertGreater(result["packed_bytes"], 0)
        if sys.platform == "linux":
            resident = result["resident"]
            self.assertGreaterEqual(resident["peak_bytes"], resident["bytes"])
            self.assertGreaterEqual(resident["bytes"],
                                    resident["private_bytes"] + resident["file_bytes"])
            self.assertRegex(self.good(*options).decode(), r"\nresident .*MiB")
        self.assertRegex(self.good(*options).decode(), r"\ndecode +8 tokens: [\d.]+ tokens/s .*% of it")

    def test_bench_depth(self):
        options = ["bench", "-m", MODEL, "-p", "16", "-n", "8", "-r", "1", "-d"]
        result = json.loads(self.good(*options, "40", "--json"))
        self.assertEqual(result["depth"], 40)
        self.assertGreater(result["prefill"]["tokens_per_second"], 0)
        self.assertGreater(result["decode"]["tokens_per_second"], 0)
        self.assertIn(b"after 40 tokens", self.good(*options, "40"))
        self.assertEqual(json.loads(self.good(*options, "0", "--json"))["depth"], 0)
        self.bad(1, *options, "1000000", says=["1000000", "context"])
        self.bad(2, *options, "1048577", says=["-d", "0 to 1048576"])

    def test_bench_sequences(self):
        options = ["bench", "-m", MODEL, "-p", "16", "-n", "8", "-r", "1", "-d", "20", "-b", "3"]
        batch = json.loads(self.good(*options, "--json"))["batch"]
        self.assertEqual((batch["sequences"], batch["tokens"]), (3, 24))
        self.assertGreater(batch["tokens_per_second"], 0)
        self.assertAlmostEqual(
            batch["fraction_of_bound"] * batch["bound_tokens_per_second"] /
            batch["tokens_per_second"], 1, delta=1e-3)
        self.assertRegex(self.good(*options).decode(),
                         r"\nbatch +3 sequences of 8 tokens: [\d.]+ tokens/s together .*% of it")
        self.assertNotIn("batch", json.loads(self.good(*options[:-2], "--json")))
        self.bad(2, *options[:-1], "1025", says=["-b", "0 to 1024"])

    def test_bench_limits(self):
        self.assertIn(b"bandwidth", self.good("bench", "limits", "--help"))
        options = ["bench", "limits", "-t", "2", "-r", "1"]
        result = json.loads(self.good(*options, "--json"))
        self.assertEqual((result["threads"], result["repeats"]), (2, 1))
        self.assertGreater(result["clock"]["before_hz"], 0)
        self.assertGreater(result["clock"]["after_hz"], 0)
        self.assertEqual(result["levels"][0]["level"], "scalar")
        self.assertEqual({row["threads"] for row in result["levels"]}, {1, 2})
        for row in result["levels"]:
            self.assertGreater(row["f32_ops_per_second"], 0)
            self.assertGreater(row["int8_ops_per_second"], 0)
            if row["level"] == "avx512":
                self.assertGreater(row["bf16_ops_per_second"], 0)
            else:
                self.assertIsNone(row["bf16_ops_per_second"])
        sizes = [(row["bytes_per_thread"], row["threads"]) for row in result["read"]]
        self.assertEqual(sizes, [(size << 10, n) for size in (24, 512, 4096) for n in (1, 2)] +
                         [(512 << 20, 1), (256 << 20, 2)])
        for row in result["read"]:
            self.assertGreater(row["bytes_per_second"], 0)
        if len(os.sched_getaffinity(0)) > 1:
            self.assertGreater(result["barrier_seconds"], 0)
        if result["steal"] is not None:
            self.assertGreaterEqual(result["steal"]["fraction"], 0)
        self.bad(2, "bench", "limits", "-m", MODEL, says=["bench limits", "-m"])
        self.assertRegex(self.good(*options).decode(),
                         r"clock +[\d.]+ GHz before.*\n(peak .*\n)+(read .*\n)+barrier .*\nsteal ")

    def test_bench_shape(self):
        options = ["bench", "--shape", "stories260k", "-p", "16", "-n", "4", "-r", "1"]
        for kind in ("Q8_0", "Q4_K", "BF16"):
            result = json.loads(self.good(*options, "--type", kind, "--json"))
            self.assertEqual(result["model"], f"stories260k {kind} (random)")
            self.assertGreater(result["decode"]["tokens_per_second"], 0)
        self.assertEqual(json.loads(self.good(*options, "--json"))["model"],
                         "stories260k Q8_0 (random)")
        self.assertIn(b"stories260k Q8_0 (random)", self.good(*options))
        self.bad(1, "bench", "--shape", "giant", says=["giant", "smollm2-135m", "qwen3-1.7b"])
        self.bad(1, *options, "--type", "Q9", says=["Q9", "Q4_K", "IQ4_XS"])
        self.bad(2, *options, "-m", MODEL, says=["--shape"])
        self.bad(2, "bench", "-m", MODEL, "--type", "Q8_0", says=["--type"])

    def test_bench_save(self):
        path = self.folder / "model.gguf"
        options = ["bench", "--shape", "stories260k", "--type", "Q4_K_M", "--save", path]
        self.assertEqual(self.good(*options), b"")
        result = json.loads(self.good("bench", "-m", path, "-p", "8", "-n", "2", "-r", "1",
                                      "--json"))
        self.assertEqual(result["model"], str(path))
        self.assertGreater(result["decode"]["tokens_per_second"], 0)
        self.bad(1, "run", "-m", path, "-p", "a", says=["no vocabulary"])
        self.bad(1, "tokenize", "-m", path, "-p", "a", says=["no vocabulary"])
        self.bad(1, *options[:-1], "/nonexistent/m.gguf", says=["/nonexistent/m.gguf"])
        self.bad(2, "bench", "-m", MODEL, "--save", path, says=["--save"])

    def test_inspect(self):
        plain = self.good("inspect", MODEL).decode()
        self.assertRegex(plain, r"general\.architecture +str +\w+")
        self.assertNotIn("token_embd.weight", plain)
        self.assertIn("token_embd.weight", self.good("inspect", MODEL, "--tensors").decode())
        self.assertNotIn("tensors", json.loads(self.good("inspect", MODEL, "--json")))
        result = self.inspect()
        self.assertEqual(len(result["tensors"]), result["n_tensors"])
        self.assertEqual(len(result["keys"]), result["n_keys"])
        keys = {key["name"]: key for key in result["keys"]}
        self.assertIsInstance(keys["general.architecture"]["value"], str)
        tokens = keys["tokenizer.ggml.tokens"]
        self.assertRegex(tokens["type"], r"^arr\[str,\d+\]$")
        self.assertLess(len(tokens["value"]), 1000)


    def test_pack(self):
        packed = self.folder / "packed.gguf"
        self.assertEqual(self.good("pack", MODEL, packed), b"")
        self.assertEqual(list(self.folder.iterdir()), [packed])
        options = ["-p", PROMPT, "-n", "12", "--temp", "1", "--seed", "3"]
        text = self.good("run", "-m", MODEL, *options)
        self.assertEqual(self.good("run", "-m", packed, *options), text)
        self.assertEqual(self.good("run", "-m", packed, "--repack", "none", "--io", "read",
                                   *options), text)
        again = self.folder / "again.gguf"
        self.good("pack", packed, again)
        self.assertEqual(again.read_bytes(), packed.read_bytes())
        plain, result = [json.loads(self.good("inspect", path, "--tensors", "--json"))
                         for path in (MODEL, packed)]
        self.assertEqual(result["n_weights"], plain["n_weights"])
        shapes = {t["name"]: (t["type"], t["dims"]) for t in result["tensors"]}
        for tensor in plain["tensors"]:
            self.assertEqual(shapes[tensor["name"]], (tensor["type"], tensor["dims"]))
        self.assertIn(True, [t["packed"] for t in result["tensors"]])
        shown = self.good("inspect", packed, "--tensors").decode()
        self.assertRegex(shown, r"blk\.0\.ffn_up\.weight .* bytes  packed\n")
        self.assertNotIn("packed.tensor", shown)
        self.bad(2, "pack", says=["MODEL and FILE"])
        self.bad(2, "pack", MODEL, says=["MODEL and FILE"])
        self.bad(2, "pack", MODEL, again, "-m", MODEL, says=["two models"])
        self.bad(2, "pack", MODEL, again, again, says=["unexpected argument"])
        self.bad(1, "pack", self.folder / "none.gguf", again, says=["none.gguf"])
        self.bad(1, "pack", MODEL, self.folder / "no" / "x.gguf", says=["x.gguf", "no such file"])
        self.bad(1, "pack", self.file("junk.gguf", b"junk"), again, says=["junk.gguf"])


class Quantize(Case):
    def types(self, path):
        result = json.loads(self.good("inspect", path, "--tensors", "--json"))
        return {t["name"]: t["type"] for t in result["tensors"]}

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())

    def imatrix(self, *options):
        text = self.file("text", b"the cat and the hat in the inn " * 40)
        path = self.folder / "im.gguf"
        return path, self.good("imatrix", "-m", MODEL, "-f", text, "-o", path, "-c", "64", *options)

    def test_help(self):
        text = self.good("quantize", "--help").decode()
        for word in ("usage: smallmind quantize IN OUT TYPE", "Q4_K_M", "--imatrix", "--pure",
                     "--requantize", "-t, --threads", "--level"):
            self.assertIn(word, text)
        self.assertLess(max(map(len, text.splitlines())), 100)

    def test_types(self):
        out = self.folder / "q.gguf"
        line = self.good("quantize", MODEL, out, "Q8_0").decode()
        self.assertRegex(line, r"q\.gguf: \d+ of \d+ tensors quantized to Q8_0, .* M weights/s\n$")
        types = self.types(out)
        self.assertEqual(types["blk.0.attn_q.weight"], "Q8_0")
        self.assertEqual(types["output_norm.weight"], "F32")
        self.assertGreater(len(self.good("run", "-m", out, "-p", "the", "-n", "4")), 0)
        result = json.loads(self.good(
            "quantize", MODEL, out, "Q4_K_M", "--tensor", "blk.0.*=F16", "--tensor=*ffn_up*=Q5_1",
            "--embedding-type", "BF16", "--json"))
        types = self.types(out)
        self.assertEqual([types[n] for n in ("blk.0.ffn_up.weight", "blk.1.ffn_up.weight",
                                             "token_embd.weight")], ["F16", "Q5_1", "BF16"])
        self.assertEqual(len(result["tensors"]), result["n_tensors"])
        self.assertEqual({t["name"]: t["to"] for t in result["tensors"]}, types)
        self.assertLess(result["bytes_after"], result["bytes_before"])
        self.assertGreater(result["n_fallback"], 0)
        self.assertTrue(any(t["fallback"] for t in result["tensors"]))
        table = self.good("quantize", MODEL, out, "Q4_0", "-v").decode()
        self.assertRegex(table, r"blk\.0\.attn_q\.weight +F32 +-> Q4_0 .*KiB .*RMSE [\d.]+e-\d+ \(")

    def test_refused(self):
        out = self.folder / "q.gguf"
        self.bad(2, "quantize", says=["required"])
        self.bad(2, "quantize", MODEL, out, says=["required"])
        self.bad(2, "quantize", MODEL, out, "Q8_0", "more", says=["more"])
        self.bad(2, "quantize", MODEL, out, "Q8_0", "--frobnicate", says=["--frobnicate"])
        self.bad(2, "quantize", MODEL, out, "Q8_0", "--tensor", "x", says=["PATTERN=TYPE"])
        self.bad(1, "quantize", MODEL, out, "Q9", says=["Q9", "Q4_K_M"])
        self.bad(1, "quantize", MODEL, out, "Q8_0", "--tensor", "*=Q9", says=["Q9"])
        self.bad(1, "quantize", self.folder / "absent", out, "Q8_0", says=["absent"])
        self.bad(1, "quantize", MODEL, "/nonexistent/q.gguf", "Q8_0", says=["/nonexistent/q.gguf"])
        self.bad(1, "quantize", MODEL, "/dev/full", "Q8_0", says=["/dev/full"])
        self.bad(1, "quantize", MODEL, out, "Q8_0", "--imatrix", MODEL, says=["general.type"])
        self.assertEqual(self.names(), [])
        self.good("quantize", MODEL, out, "Q8_0")
        self.bad(1, "quantize", out, self.folder / "new", "Q4_0", says=["q.gguf", "token_embd.weight"])
        self.good("quantize", out, out, "Q4_0", "--requantize")
        self.assertEqual(self.names(), ["q.gguf"])

    def test_imatrix(self):
        path, line = self.imatrix()
        self.assertRegex(line.decode(), r"im\.gguf: \d+ tokens in \d+ chunks of 64 at most, .* tokens/s\n$")
        names = self.types(path)
        self.assertIn("blk.0.attn_q.weight.in_sum2", names)
        self.assertIn("blk.1.ffn_down.weight.counts", names)
        result = json.loads(self.imatrix("--chunks", "2", "--json")[1])
        self.assertEqual((result["chunks"], result["chunk_size"]), (2, 64))
        self.assertEqual(result["tokens"], 128)
        plain, better = self.folder / "plain.gguf", self.folder / "better.gguf"
        self.good("quantize", MODEL, plain, "Q4_0")
        result = json.loads(self.good("quantize", MODEL, better, "Q4_0", "--imatrix", path, "--json"))
        self.assertGreater(result["n_imatrix"], 0)
        self.assertTrue(any(t["imatrix"] for t in result["tensors"]))
        self.assertNotEqual(plain.read_bytes(), better.read_bytes())

    def test_imatrix_refused(self):
        empty, text = self.file("empty", b""), self.file("text", b"the cat")
        out = self.folder / "im.gguf"
        self.bad(1, "imatrix", "-m", MODEL, "-f", empty, "-o", out, says=["empty"])
        self.bad(1, "imatrix", "-m", MODEL, "-f", text, "-o", "/nonexistent/im", says=["/nonexistent"])
        self.bad(2, "imatrix", "-m", MODEL, "-f", text, "-o", out, "-c", "1", says=["-c"])
        self.assertFalse(out.exists())

    def test_interrupt_imatrix(self):
        text = self.file("text", b"the cat and the hat in the inn " * 600000)
        out = self.folder / "im.gguf"
        process = subprocess.Popen(PROGRAM + ["imatrix", "-m", MODEL, "-f", text, "-o", out, "-c", "16"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn(b"interrupted", err)
        if b"nothing is saved" in err:
            self.assertEqual(self.names(), ["text"])
        else:
            self.assertEqual(self.names(), ["im.gguf", "text"])
            self.assertIn("blk.0.attn_q.weight.in_sum2", self.types(out))

    def test_interrupt_quantize(self):
        rows, columns, name = 16384, 4096, b"some.weight"
        path = self.folder / "large.gguf"
        with open(path, "wb") as f:  # all zero, and no blocks on the disk
            f.write(struct.pack("<4sIQQQ", b"GGUF", 3, 1, 0, len(name)) + name +
                    struct.pack("<IQQIQ", 2, columns, rows, 0, 0))
            f.truncate((f.tell() + 31) // 32 * 32 + 4 * rows * columns)
        process = subprocess.Popen(PROGRAM + ["quantize", path, self.folder / "q.gguf", "Q3_K", "-t", "1",
                                              "--level", "scalar"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(500):
            if len(self.names()) > 1:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, out), (130, b""), err)
        self.assertIn(b"interrupted", err)
        self.assertEqual(self.names(), ["large.gguf"])


class Stories(Case):
    """A real trained model, at every level that this CPU has."""

    def setUp(self):
        super().setUp()
        self.model = DATA / "models" / "stories260K.gguf"
        if not self.model.is_file():
            self.skipTest("no test data")

    def test_text(self):
        for level in ("auto", "scalar", "avx2", "avxvnni", "avx512", "neon", "dotprod", "i8mm"):
            with self.subTest(level=level):
                text = self.good("run", "-m", self.model, "-p", PROMPT, "--temp", "0", "-n", "250",
                                 "--level", level).decode()
                self.assertTrue(text.startswith(STORY), text)

    def test_perplexity(self):
        corpus = DATA / "corpora" / "tinystories-2M.txt"
        if not corpus.is_file():
            self.skipTest("no corpus in the test data")
        text = corpus.read_bytes()[:6000]
        path = self.file("story", text)
        values = [json.loads(self.good("eval", "-m", self.model, "-f", path, "--json", "--level",
                                       level))["perplexity"]
                  for level in ("auto", "scalar", "avx2", "neon")]
        self.assertLess(values[0], 10)
        for value in values:
            self.assertAlmostEqual(value / values[0], 1, delta=1e-4)

    def test_vocabularies(self):
        paths = sorted((DATA / "vocab").glob("*.gguf"))
        if not paths:
            self.skipTest("no vocabularies in the test data")
        for path in paths:
            with self.subTest(vocabulary=path.name):
                texts = path.with_name(path.name + ".inp").read_text(encoding="utf-8") \
                    .split("\n__ggml_vocab_test__\n")
                lines = path.with_name(path.name + ".out").read_text().split("\n")
                for text, line in list(zip(texts, lines))[::6]:
                    ids = self.good("tokenize", "-m", path, stdin=text.encode())
                    self.assertEqual(ids.split(), line.encode().split(), text)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
