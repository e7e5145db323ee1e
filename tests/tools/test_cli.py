#!/usr/bin/env python3
"""The program `smallmind` as a user meets it: output, messages, exit status.

Usage: test_cli.py PROGRAM MODEL [TEST... | --but CLASS...]

MODEL is a small model with a vocabulary. Tests with a trained model use
SM_TEST_DATA (or SM_TEST_DATA_DEFAULT) and are skipped where it is absent.
SM_WRAPPER may name an emulator that runs the program. SM_TEST_SANITIZER other than "none": what
takes minutes under a sanitizer and shows the same without is skipped, unless SM_TEST_ALL is set.
--but CLASS...: all tests but those of these classes.
"""
import ast
import gzip
import json
import math
import os
import pathlib
import random
import re
import resource
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

PROGRAM = shlex.split(os.environ.get("SM_WRAPPER", "")) + [sys.argv[1]]
MODEL = sys.argv[2]
BRIEF = (os.environ.get("SM_TEST_SANITIZER", "none") != "none"
         and not os.environ.get("SM_TEST_ALL"))
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
    result = subprocess.run(PROGRAM + [str(a) for a in arguments], input=stdin, capture_output=True)
    if "SM_WRAPPER" in os.environ:  # an emulator may have something to say of its own
        result.stderr = re.sub(rb"(?m)^qemu-.*\n", b"", result.stderr)
    return result


def preset(values, options):
    """Options with the values of those that are not given: one is refused a second time."""
    return [word for option, value in values.items() if option not in options
            for word in (option, value)] + list(options)


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

    def test_nothing(self):
        """Without a command it shows some that can be typed as they stand."""
        for folder in (self.folder, self.folder / "empty"):
            folder.mkdir(exist_ok=True)
        (self.folder / "models").mkdir()
        (self.folder / "models" / "stories.gguf").symlink_to(pathlib.Path(MODEL).resolve())
        program = [str(pathlib.Path(part).resolve()) if pathlib.Path(part).exists() else part
                   for part in PROGRAM]
        for folder, model in (("", "models/stories.gguf"), ("empty", "MODEL.gguf")):
            result = subprocess.run(program, cwd=self.folder / folder, stdin=subprocess.DEVNULL,
                                    capture_output=True, check=False, text=True)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            usage, next_ones = result.stderr.split("\ntry next:\n")
            self.assertTrue(usage.startswith("usage: smallmind "))
            lines = [shlex.split(line) for line in next_ones.splitlines()]
            self.assertEqual({line[0] for line in lines}, {program[-1]})
            self.assertEqual([line[1:3] for line in lines],
                             [["run", model], ["bench", model], ["inspect", model], ["--help"]])
            for line in lines if folder == "" else lines[3:]:
                if line[1] != "bench": # which measures for seconds
                    subprocess.run(program[:-1] + line, cwd=self.folder / folder, check=True,
                                   stdin=subprocess.DEVNULL, capture_output=True)

    def test_help_of_training(self):
        for command, words in [
                ("vocab", ["-d, --data", "-n, --size", "257 to"]),
                ("init", ["--vocab", "--n-embd", "llama|qwen2|qwen3"]),
                ("train", ["-m, --model", "-t, --threads", "--level", "--resume", "default 250",
                           "0 to 0.99999; default 0.9", "default 1000"]),
                ("finetune", ["--lora-targets", "default 16", "default 0.0002"]),
                ("lora merge", ["-a, --adapter", "--scale"])]:
            text = self.good(*command.split(), "--help").decode()
            self.assertTrue(text.startswith(f"usage: smallmind {command} "))
            for word in words:
                self.assertIn(word, text)
            self.assertLess(max(map(len, text.splitlines())), 110)
            self.bad(2, *command.split(), says=["required"])
            self.bad(2, *command.split(), "--frobnicate", says=[command, "--frobnicate"])
        self.assertIn(b"lora merge", self.good("lora", "--help"))
        self.bad(2, "lora", says=["merge"])
        self.bad(2, "lora", "split", says=["merge"])

    def test_zero_that_is_no_zero(self):
        """Where the library takes a zero for the default, it is not silently taken from the user."""
        for command, option, default in [("run", "--repeat-penalty", "1"), ("train", "--clip", "1"),
                                         ("finetune", "--eps", "1e-08")]:
            self.bad(2, command, option, "0", says=[option, "default, " + default])

    def test_zero_that_is_zero(self):
        """Where zero is a value of its own, it can be asked for."""
        def text(*options):
            return self.good("run", "-m", MODEL, "-p", "the", "-n", "12", "--ignore-end", *options)
        greedy = text()
        drawn = ["--temp", "1", "--seed", "3"]
        self.assertNotEqual(text(*drawn), greedy)
        self.assertEqual(text(*drawn, "--top-p", "0"), greedy)
        penalty = ["--repeat-penalty", "50"]
        self.assertNotEqual(text(*penalty), greedy)
        self.assertEqual(text(*penalty, "--penalty-last-n", "0"), greedy)

    def test_version(self):
        self.assertRegex(self.good("--version"), rb"^smallmind \d+\.\d+\.\d+(-\w+)?\n$")

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
                ("--kv", "f64", "f16|f32|bf16|q8_0|q4_0|q5_0|iq4_nl"),
                ("--kv-keep", "none", "window|all"), ("--level", "sse9", "avx2")]:
            self.bad(2, "run", "-m", MODEL, option, value, says=[option, f'"{value}"', range_])
        self.bad(2, "bench", "-m", MODEL, "-r", "0", says=["-r", "1 to 100"])
        self.bad(2, "logits", "--chunk", "0", says=["--chunk", "1 to"])

    def test_option_syntax(self):
        self.bad(2, "run", "-m", says=["-m", "value"])
        self.bad(2, "run", "--no-prompt=yes", says=["--no-prompt"])
        self.bad(2, "run", "-m", MODEL, "stray", says=["stray"])
        self.bad(2, "inspect", MODEL, MODEL, says=[MODEL])
        self.bad(2, "run", "-m", MODEL, "-p", "a", "-f", "b", says=["-p", "-f"])
        self.bad(2, "run", "-m", MODEL, "-p", "a", "--stop", "", says=["--stop"])
        self.assertEqual(self.good("tokenize", f"--model={MODEL}", "--prompt=a b"),
                         self.good("tokenize", "-m", MODEL, "-p", "a b"))

    def test_sessions_in_files(self):
        """A run that goes on from a saved session prints what it would have printed anyway."""
        base = ["run", "-m", MODEL, "-p", PROMPT, "--ignore-end", "--temp", "0.9", "--seed", "3"]
        with tempfile.TemporaryDirectory() as folder:
            kept, cache = os.path.join(folder, "kept"), os.path.join(folder, "cache")
            self.good(*base, "-n", "5", "--save-session", kept)
            wanted = self.good(*base, "-n", "12")
            self.assertEqual(self.good(*base, "-n", "12", "--load-session", kept), wanted)
            for _ in range(2):  # made, then used
                self.assertEqual(self.good(*base, "-n", "12", "--prompt-cache", cache), wanted)
            result = subprocess.run(PROGRAM + base + ["-n", "1", "--prompt-cache", cache],
                                    capture_output=True)
            self.assertIn(b"reused:", result.stderr)
            with open(kept, "r+b") as file:
                file.seek(os.path.getsize(kept) // 2)
                byte = file.read(1)[0]
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte ^ 1]))
            self.bad(1, *base, "--load-session", kept, says=["kept", "damaged"])
            self.bad(1, *base, "--kv", "q8_0", "--load-session", cache, says=["another cache"])
            self.bad(1, *base, "--load-session", folder + "/none", says=["none"])
            self.bad(2, *base, "--load-session", kept, "--prompt-cache", cache,
                     says=["--prompt-cache"])
            self.bad(1, "run", "-m", cache, says=["a saved session"])

    def test_schemas(self):
        """The continuation is JSON that fits, whatever the model would rather say."""
        base = ["run", "-m", MODEL, "-p", PROMPT, "-n", "60", "--no-prompt", "--temp", "1",
                "--seed", "5"]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "schema.json")
            with open(path, "w") as file:
                json.dump({"type": "object", "required": ["n", "ok"], "additionalProperties": False,
                           "properties": {"n": {"type": "integer", "minimum": 10, "maximum": 99},
                                          "ok": {"type": "boolean"}}}, file)
            value = json.loads(self.good(*base, "--schema", path))
            self.assertEqual(sorted(value), ["n", "ok"])
            self.assertTrue(10 <= value["n"] <= 99 and value["ok"] in (True, False))
            with open(path, "w") as file:
                file.write('{"type": "strin"}')
            self.bad(1, *base, "--schema", path, says=["#/type"])
            self.bad(2, *base, "--schema", path, "--regex", "a", says=["--schema"])

    def test_speculation(self):
        """Guesses change nothing but the time."""
        base = ["run", "-m", MODEL, "-p", PROMPT, "--ignore-end", "-n", "60"]
        for sampling in ([], ["--temp", "0.8", "--seed", "5"]):
            wanted = self.good(*base, *sampling)
            for how in (["--speculate", "ngram"], ["--draft", MODEL, "--draft-max", "5"],
                        ["--speculate=ngram", "--model-draft", MODEL]):
                self.assertEqual(self.good(*base, *sampling, *how), wanted)
        last = json.loads(self.good(*base, "--draft", MODEL, "--json").splitlines()[-1])
        self.assertGreater(last["accepted_tokens"], 0)
        self.assertGreaterEqual(last["drafted_tokens"], last["accepted_tokens"])
        self.bad(2, *base, "--speculate", "maybe", says=["--speculate"])
        self.bad(1, *base, "--draft", "not-there", says=["not-there"])

    def test_full_contexts(self):
        base = ["run", "-m", MODEL, "-p", PROMPT, "--ignore-end", "-n", "150", "-c", "64"]
        last = json.loads(self.good(*base, "--json").splitlines()[-1])
        self.assertEqual((last["finish"], last["dropped_tokens"]), ("context", 0))
        for policy in ("slide", "sinks"):
            last = json.loads(self.good(*base, "--context-full", policy, "--keep", "16",
                                        "--json").splitlines()[-1])
            self.assertEqual((last["finish"], last["generated_tokens"]), ("length", 150))
            self.assertGreater(last["dropped_tokens"], 0)
        self.bad(2, *base, "--context-full", "ask", says=["ask"])

    def test_watermark(self):
        base = ["run", "-m", MODEL, "-p", PROMPT, "--ignore-end", "-n", "100", "--no-prompt",
                "--temp", "2", "--seed", "4"]
        plain = self.good(*base)
        self.assertEqual(self.good(*base, "--watermark-key", "7"), plain)
        self.assertNotEqual(self.good(*base, "--watermark", "--watermark-key", "7"), plain)
        found = json.loads(self.good("watermark", "-m", MODEL, "-p", "the cat and the hat", "--json"))
        self.assertEqual(found["scored"] + found["repeated"] + 1,
                         len(self.good("tokenize", "-m", MODEL, "-p", "the cat and the hat").split()))
        self.assertIn(b"z ", self.good("watermark", "-m", MODEL, "-p", "the cat"))
        self.bad(2, "watermark", "-p", "a", says=["-m"])
        self.bad(2, *base, "--watermark-width", "17", says=["--watermark-width"])

    def test_attached_values(self):
        options = ["run", "-m", MODEL, "-p", PROMPT, "--ids", "--no-prompt", "--ignore-end"]
        for option in (["-n5"], ["-n=5"], ["-n", "5"], ["--max-tokens=5"]):
            self.assertEqual(len(self.good(*options, *option).split()), 5)
        self.bad(2, *options, "-nfive", says=["-n", '"five"'])
        self.bad(2, "quantize", "a", "b", "Q8_0", "-vv", says=["-v takes no value"])

    def test_names_of_others(self):
        """The names that other programs have for an option, in either case, with _ or -."""
        base = ["run", "-m", MODEL, "-p", PROMPT, "--ignore-end", "--seed", "3"]
        wanted = self.good(*base, "--temp", "0.9", "-n", "6", "-c", "64")
        for options in (["--temperature", "0.9", "--n-predict", "6", "--ctx-size", "64"],
                        ["--Temp", "0.9", "--max_tokens", "6", "--n_ctx", "64"],
                        ["--TEMPERATURE=0.9", "--max-new-tokens=6", "--context-length=64"]):
            self.assertEqual(self.good(*base, *options), wanted)
        for command, option in [("train", "--learning-rate"), ("train", "--learning_rate"),
                                ("finetune", "--batch-size"), ("train", "--warmup-steps"),
                                ("finetune", "--target-modules"), ("run", "--batch-size"),
                                ("lora merge", "--output"), ("imatrix", "--out")]:
            self.bad(2, *command.split(), option, says=[option + " needs a value"])
        self.bad(2, "run", "--learning-rate", "1", says=["unknown option --learning-rate"])
        self.assertEqual(self.good("RUN", *base[1:], "-n", "2"), self.good(*base, "-n", "2"))

    def test_slips(self):
        for command, option, meant in [
                ("run", "--temprature", "--temperature"), ("run", "--tempp", "--temp"),
                ("run", "--treads=2", "--threads"), ("run", "-model", "--model"),
                ("train", "--learnig-rate", "--learning-rate"), ("train", "--lora-rnak", "--lora-rank"),
                ("finetune", "--overwite", "--overwrite"), ("bench", "--repeat", "--repeats")]:
            self.bad(2, command, option, says=[option.split("=")[0], f"did you mean {meant}?"])
        for name, meant in [("rnu", "run"), ("tokenise", "tokenize"), ("fine-tune", "finetune"),
                            ("quantise", "quantize"), ("inspct", "inspect")]:
            self.bad(2, name, says=[f"did you mean {meant}?"])
        self.assertNotIn(b"mean", call("run", "--frobnicate").stderr + call("frobnicate").stderr)
        for command, option, value, meant in [
                ("run", "--kv", "fp16", "f16"), ("run", "--level", "axv2", "avx2"),
                ("train", "--optimizer", "adam", "adamw"), ("train", "--schedule", "cosin", "cosine"),
                ("init", "--family", "qwen", "qwen2")]:
            self.bad(2, command, option, value, says=[option, value, f"did you mean {meant}?"])
        out = self.folder / "out.gguf"
        self.bad(1, "quantize", MODEL, out, "q4km", says=["q4km", "did you mean Q4_K_M?"])
        self.bad(1, "bench", "--shape", "llama32-1b", says=["did you mean llama3.2-1b?"])
        self.bad(1, "bench", "--shape", "stories260k", "--type", "fp16", says=["did you mean F16?"])

    def test_either_case(self):
        self.good("run", "-m", MODEL, "-p", PROMPT, "-n", "2", "--kv", "F32", "--level", "SCALAR")
        self.good("run", "-m", MODEL, "-p", PROMPT, "-n", "2", "--kv", "IQ4_NL",
                  "--kv-keep", "all")
        for kind in ("q8_0", "Q8_0", "q4_k_m"):
            self.good("quantize", MODEL, self.folder / kind, kind)
        self.assertEqual((self.folder / "q8_0").read_bytes(), (self.folder / "Q8_0").read_bytes())
        self.good("bench", "--shape", "Stories260K", "--type", "q4_0", "-p", "2", "-n", "2", "-r", "1")

    def test_given_twice(self):
        for command, options in [
                ("run", ["-n", "1", "-n", "2"]), ("run", ["-n", "1", "--max-tokens=2"]),
                ("run", ["--temp", "1", "--temperature", "1"]), ("run", ["-m", MODEL, "-m", MODEL]),
                ("eval", ["-f", "a", "-f", "b"]), ("train", ["--lr", "1", "--learning-rate", "2"])]:
            self.bad(2, command, *options, says=["second time"])
        self.good("run", "-m", MODEL, "-p", "a", "-n", "1", "--stop", "a", "--stop", "b", "--ids",
                  "--ids")

    def test_model_without_flag(self):
        text, ids = self.file("text", b"some text"), self.file("ids", b"1 2 3")
        for arguments in (["run", "-p", "a", "-n", "2"], ["tokenize", "-p", "a"], ["inspect"],
                          ["logits", "--ids", ids, "-o", self.folder / "out"]):
            self.assertEqual(self.good(*arguments, MODEL), self.good(*arguments, "-m", MODEL))
            self.assertEqual(self.good(arguments[0], MODEL, *arguments[1:]),
                             self.good(*arguments, "-m", MODEL))
        self.good("eval", MODEL, "-f", text)
        self.good("bench", MODEL, "-p", "4", "-n", "2", "-r", "1")
        self.good("imatrix", MODEL, "-f", text, "-o", self.folder / "im.gguf")
        for command in ("run", "inspect", "eval", "bench"):
            self.bad(2, command, MODEL, "-m", "other", says=["-m", "named already"])
            self.bad(2, command, "-m", "other", MODEL, says=["unexpected", MODEL])

    def test_sizes(self):
        for value, code in [("1K", 1), ("1G", 0), ("1.5g", 0), ("512MiB", 0), ("100mb", 0)]:
            result = call("run", "-m", MODEL, "-p", "a", "-n", "1", "--memory-limit", value)
            self.assertEqual(result.returncode, code, (value, result.stderr))
        for value in ("K", "1.5", "1.2.3K", "1KK", "-1K", "1e3", "9000000000G"):
            self.bad(2, "run", "-m", MODEL, "--memory-limit", value,
                     says=["--memory-limit", f'"{value}"', "by 1024"])
        self.bad(2, "train", "--steps", "10K", says=["--steps", '"10K"'])  # a count, no size
        self.good("run", "-m", MODEL, "-p", "a", "-n", "1", "-c", "0.5K")
        self.assertEqual(json.loads(self.good("bench", MODEL, "-p", "0.125K", "-n", "2", "-r", "1",
                                              "--json"))["prefill"]["tokens"], 128)
        self.bad(2, "bench", MODEL, "-p", "2G", says=["-p", '"2G"', "by 1024"])
        self.bad(2, "bench", MODEL, "-r", "1K", says=["-r", '"1K"'])
        self.assertIn(b"K M G by 1024", self.good("run", "--help"))

    def test_random_seed(self):
        seeds = set()
        for _ in range(3):
            options = ["run", "-m", MODEL, "-p", PROMPT, "-n", "8", "--temp", "2", "--ignore-end"]
            result = call(*options, "--seed", "random")
            self.assertEqual(result.returncode, 0)
            seed = re.search(rb"^seed (\d+)$", result.stderr, re.M).group(1).decode()
            self.assertEqual(self.good(*options, "--seed", seed), result.stdout)
            seeds.add(seed)
        self.assertEqual(len(seeds), 3)
        self.bad(2, "run", "--seed", "rnd", says=["--seed", "rnd"])

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
        nothing, zero = self.file("nothing", b""), self.file("zero", b"a\0b")
        self.bad(1, "eval", "-m", MODEL, "-f", nothing, says=[nothing])
        self.bad(1, "run", "-m", MODEL, "-f", zero, says=[zero, "offset 1"])

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full")
    def test_full_disk(self):
        for arguments in (["run", "-p", PROMPT, "-n", "3"], ["tokenize", "-p", "a b c"],
                          ["inspect"]):
            with open("/dev/full", "wb") as full:
                result = subprocess.run(PROGRAM + arguments + ["-m", MODEL], stdout=full,
                                        stderr=subprocess.PIPE)
            self.assertEqual(result.returncode, 1, arguments)
            self.assertIn(b"cannot write", result.stderr)


class Elsewhere(Case):
    """What is taken for a model: each message says what it is and what to do."""

    def uses(self, path):
        """Every command that opens a model, an adapter, a vocabulary or an importance matrix."""
        text, out = self.file("some.txt", b"some text"), self.folder / "out"
        return [["run", path], ["tokenize", path, "-p", "a"], ["inspect", path], ["pack", path, out],
                ["eval", path, "-f", text], ["bench", path], ["quantize", path, out, "Q8_0"],
                ["imatrix", path, "-f", text, "-o", out], ["init", "--vocab", path, "-o", out],
                ["train", path, "-d", text, "-o", out], ["finetune", path, "-d", text, "-o", out],
                ["lora", "merge", path, "-a", MODEL, "-o", out],
                ["lora", "merge", MODEL, "-a", path, "-o", out],
                ["run", MODEL, "--adapter", path],
                ["quantize", MODEL, out, "Q8_0", "--imatrix", path]]

    def test_foreign_files(self):
        directory = self.folder / "hf"
        directory.mkdir()
        (directory / "config.json").write_bytes(b"{}")
        (directory / "model.safetensors").write_bytes(b"")
        peft = self.folder / "peft"
        peft.mkdir()
        (peft / "adapter_config.json").write_bytes(b"{}")
        header = json.dumps({"model.norm.weight": {"dtype": "F32", "shape": [1],
                                                   "data_offsets": [0, 4]}}).encode()
        for path, says in [
                (directory, ["config.json", "model_type"]),
                (peft, ["PEFT adapter", "adapter of its model"]),
                ("https://huggingface.co/a/b/resolve/main/c.gguf", ["is an address", "fetch"]),
                (self.file("lfs.gguf", b"version https://git-lfs.github.com/spec/v1\n"
                           b"oid sha256:00\nsize 12345\n"), ["Git LFS pointer", "git lfs pull"]),
                (self.file("page.gguf", b"<!DOCTYPE html>\n<html>"), ["HTML page", "/resolve/"]),
                (self.file("x.safetensors", struct.pack("<Q", len(header)) + header + bytes(4)),
                 ["safetensors", "name the directory"]),
                (self.file("x.pth", b"PK\3\4" + bytes(26) + b"archive/data.pkl"), ["PyTorch"]),
                (self.file("x.zip", b"PK\3\4" + bytes(26) + b"model.gguf"), ["zip", "unpack"]),
                (self.file("x.gz", b"\x1f\x8b\x08\0"), ["gzip", "unpack"]),
                (self.file("ggml.bin", b"tjgg\3\0\0\0"), ["GGJT", "before GGUF"]),
                (self.file("cut.gguf", pathlib.Path(MODEL).read_bytes()[:-100]), ["Fetch it again"])]:
            for command in self.uses(path):
                as_adapter = path == peft and command[0] in ("run", "lora") and MODEL in command[:3]
                self.bad(1, *command, says=[path, *(["'peft_type'"] if as_adapter else says)])

    def test_other_contents(self):
        text = self.file("text", b"some words to learn from, and some more of them\n" * 20)
        vocabulary, imatrix, packed, adapter = (self.folder / name for name in
                                                ("vocab.gguf", "im.gguf", "packed.gguf", "a.gguf"))
        out = self.folder / "out"
        self.good("vocab", "-d", text, "-o", vocabulary, "-n", "280")
        self.good("imatrix", MODEL, "-f", text, "-o", imatrix)
        self.good("pack", MODEL, packed)
        self.good("finetune", MODEL, "-d", text, "-o", adapter, "-n", "1", "-c", "16", "-b", "1",
                  "--lora-rank", "1")
        models = [["run"], ["pack", out], ["eval", "-f", text], ["bench"],
                  ["imatrix", "-f", text, "-o", out], ["train", "-d", text, "-o", out],
                  ["lora", "merge", "-a", adapter, "-o", out]]
        for path, says, hint in [
                (vocabulary, ["vocabulary without weights", "whole model"], "smallmind init --vocab"),
                (imatrix, ["is an importance matrix, not a model"], "--imatrix FILE"),
                (adapter, ["is a LoRA adapter, not a model", "attach"], "--adapter FILE"),
                (f"{adapter}.ckpt", ["is a training checkpoint, not a model"], "--resume")]:
            for command in models:
                self.bad(1, *command, "-m", path,
                         says=[path, *says] + ([hint] if command[0] != "lora" else []))
            self.bad(1, "quantize", path, out, "Q8_0", says=[path, *says, hint])
            if path != vocabulary:
                self.bad(1, "init", "--vocab", path, "-o", out, says=[path, *says])
                self.bad(1, "tokenize", path, "-p", "a", says=[path, *says])
        self.bad(1, "quantize", packed, out, "Q8_0", says=[packed, "packed for computing",
                                                           "the file that it was packed from"])
        for path, what in [(MODEL, "a model"), (packed, "a model packed"), (imatrix, "importance")]:
            self.bad(1, "run", MODEL, "--adapter", path, says=[path, what, "not a LoRA adapter"])
        for path, what in [(MODEL, "a model"), (adapter, "a LoRA adapter")]:
            self.bad(1, "quantize", MODEL, out, "Q8_0", "--imatrix", path,
                     says=[path, what, "not an importance matrix"])
        self.assertFalse(out.exists())
        for path in (vocabulary, imatrix, packed, adapter):
            self.good("inspect", path)


class Run(Case):
    def run_model(self, *options):
        return self.good("run", *preset({"-m": MODEL, "-p": PROMPT, "-n": "12"}, options),
                         "--ignore-end")

    def test_prompt_and_continuation(self):
        text = self.run_model()
        self.assertTrue(text.startswith(PROMPT.encode()) and text.endswith(b"\n"))
        self.assertEqual(text, PROMPT.encode() + self.run_model("--no-prompt"))
        prompt = self.file("prompt", PROMPT.encode())
        options = ["-m", MODEL, "-n", "12", "--ignore-end"]
        self.assertEqual(text, self.good("run", "-f", prompt, *options))
        for flag in ("-f", "-p"):
            self.assertEqual(text, self.good("run", flag, "-", *options, stdin=PROMPT.encode()))

    def test_constraints(self):
        grammar = "root ::= word (\" \" word)*\nword ::= [a-c]{2,4} | \"(\" root \")\""
        bundled = pathlib.Path(__file__).resolve().parents[2] / "models" / "stories.gguf"
        for model in (MODEL, bundled):
            def written(*options):
                text = self.good("run", "-m", model, "-p", PROMPT, "-n", "40", "--no-prompt",
                                 *options)
                self.assertTrue(text.endswith(b"\n"))
                return text[:-1].decode()
            self.assertIn(written("--choice", "Tom ran.", "--choice", "a dög"),
                          ["Tom ran.", "a dög"])
            self.assertRegex(written("--regex", r" [A-Z][a-z]{2,5} \d{3}\."),
                             r"\A [A-Z][a-z]{2,5} [0-9]{3}\.\Z")
            for temperature in ("0", "1"):
                options = ["--temperature", temperature, "--seed", "5"]
                text = written("--grammar", grammar, *options)
                self.assertRegex(text, r"\A[a-c() ]+\Z")
                file = self.file("grammar", grammar.encode())
                self.assertEqual(text, written("--grammar-file", file, *options))
        for options, says in [(["--grammar", "root ::= (\"a\""], ["line 1"]),
                              (["--grammar", "root ::= \"a\"{3,1}"], ["line 1"]),
                              (["--regex", "(?<=a)b"], ["look-behind"])]:
            self.bad(1, "run", "-m", MODEL, "-p", PROMPT, *options, says=says)
        self.bad(2, "run", "-m", MODEL, "-p", PROMPT, "--grammar", grammar, "--regex", "a",
                 says=["exclude each other"])

    def test_prompt_from_a_pipe(self):
        options = ["run", MODEL, "-n", "12", "--ignore-end"]
        text = self.run_model()
        self.assertEqual(self.good(*options, stdin=PROMPT.encode()), text)
        with open(self.file("prompt", PROMPT.encode())) as prompt:  # or a file
            result = subprocess.run(PROGRAM + options, stdin=prompt, capture_output=True)
            self.assertEqual(result.stdout, text)
        result = subprocess.run(PROGRAM + options, stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual(result.stdout, self.good(*options, "-p", ""))
        self.assertEqual(self.good(*options, "-p", PROMPT, stdin=b"not this"), text)
        self.bad(1, *options, stdin=b"a\0b", says=["zero byte"])

    def test_escapes(self):
        def prompt(text, *options):
            return self.good("tokenize", MODEL, "-p", text, *options)
        for text, meant in [("a\\tb\\n", "a\tb\n"), ("\\x41\\u00e9\\U0001F600", "Aé😀"),
                            ("\\\\n\\\"\\'", "\\n\"'"), ("é\\r", "é\r"), ("", "")]:
            self.assertEqual(prompt(text, "-e"), prompt(meant))
            self.assertNotEqual(prompt(text) == prompt(meant), "\\" in text)
        self.assertEqual(self.good("tokenize", MODEL, "-e", "-p", "\\x0\\0"),
                         self.good("tokenize", MODEL, stdin=b"\0\0"))
        for wrong in ("\\q", "a\\", "\\u12", "\\x", "\\ud800", "\\U00110000"):
            self.bad(2, "run", MODEL, "-e", "-p", wrong, says=["-p", "escape"])
        self.bad(2, "run", MODEL, "-p", "a", "-e", "--stop", "\\q", says=["--stop", "escape"])
        plain = self.run_model("--temp", "3", "-n", "40", "--no-prompt")
        stop = plain.decode(errors="replace")[:-1][20]
        if stop != "\ufffd":
            self.assertEqual(self.run_model("--temp", "3", "-n", "40", "--no-prompt", "-e", "--stop",
                                            f"\\U{ord(stop):08x}"),
                             self.run_model("--temp", "3", "-n", "40", "--no-prompt", "--stop", stop))

    def test_json(self):
        """A line for the prompt, one for each token, one with all of it: JSON whatever the bytes."""
        options = ["--temp", "5", "--seed", "2", "-n", "40"]
        text = self.run_model("--no-prompt", *options)
        lines = [json.loads(line) for line in self.run_model("--json", *options).splitlines()]
        self.assertEqual(lines[0], {"prompt": PROMPT, "ids": self.ids(PROMPT, "--bos")})
        ids = [int(i) for i in self.run_model("--ids", "--no-prompt", *options).split()]
        self.assertEqual([line["id"] for line in lines[1:-1] if line["id"] is not None], ids)
        last = lines[-1]
        self.assertEqual("".join(line["text"] for line in lines[1:-1]), last["text"])
        self.assertEqual(last["text"].replace("\ufffd", ""),
                         text[:-1].decode(errors="ignore").replace("\ufffd", ""))
        self.assertEqual((last["finish"], last["generated_tokens"]), ("length", 40))
        self.assertEqual(last["prompt_tokens"], len(lines[0]["ids"]))
        self.assertGreater(last["generate_seconds"], 0)
        self.assertNotIn("prompt", json.loads(self.run_model("--json", "--no-prompt").splitlines()[0]))
        prompt = self.file("odd", b'\xff"\n\x1b[2J\xc3')
        line = self.good("run", MODEL, "-f", prompt, "-n", "1", "--json").splitlines()[0]
        self.assertEqual(json.loads(line)["prompt"], '\ufffd"\n\x1b[2J\ufffd')
        self.assertNotIn(b"\x1b", line)
        self.bad(2, "run", MODEL, "--json", "--ids", says=["--ids"])

    def test_logprobs(self):
        """As OpenAI has them: beside each token the likeliest ones, the chosen one first if greedy."""
        lines = [json.loads(line) for line in
                 self.run_model("--json", "--temp", "0", "-n", "4", "--logprobs", "3").splitlines()]
        tokens = [line for line in lines[1:-1] if line["id"] is not None]
        self.assertGreater(len(tokens), 0)
        for token in tokens:
            told = token["logprobs"]["content"][0]
            likely = [other["logprob"] for other in told["top_logprobs"]]
            self.assertEqual((len(likely), likely), (3, sorted(likely, reverse=True)))
            self.assertEqual(told["logprob"], likely[0])

    def test_echo(self):
        """The prompt's tokens come first, with what the model thought of them."""
        options = ["--temp", "0", "-n", "4", "--logprobs", "2"]
        plain = [json.loads(line) for line in self.run_model("--json", *options).splitlines()]
        lines = [json.loads(line) for line in
                 self.run_model("--json", "--echo", *options).splitlines()]
        told = lines[0].pop("logprobs")["content"]
        for line in (plain[-1], lines[-1]):
            for key in [key for key in line if key.endswith("seconds")]:
                del line[key]
        self.assertEqual(lines, plain)
        self.assertEqual(len(told), len(lines[0]["ids"]))
        self.assertIsNone(told[0]["logprob"])
        for token in told[1:]:
            self.assertEqual(len(token["top_logprobs"]), 2)
            self.assertLessEqual(token["logprob"], token["top_logprobs"][0]["logprob"])
        rows = self.run_model("--echo", *options).decode().splitlines()
        self.assertEqual([row.startswith("prompt ") for row in rows],
                         [True] * len(told) + [False] * 4)
        for row, token in zip(rows[1:], told[1:]):
            self.assertAlmostEqual(float(row.split()[1]), token["logprob"], places=3)
        self.assertEqual(self.run_model("--echo", "--no-prompt", *options).decode().splitlines(),
                         rows[-4:])
        self.assertEqual(self.run_model(*options).decode().splitlines(), rows[-4:])
        self.bad(2, "run", MODEL, "--echo", "--ids", says=["--echo"])

    def test_samples(self):
        """Each is the run with its sequence; the prompt is there once."""
        options = ["--temp", "1.5", "--seed", "5", "-n", "9"]
        alone = [self.run_model("--sequence", i, *options) for i in (3, 4, 5)]
        together = self.run_model("--samples", "3", "--sequence", "3", *options)
        heads = [f"--- sample {i}, finished: length\n".encode() for i in range(3)]
        self.assertEqual(together, b"".join(head + text for head, text in zip(heads, alone)))
        ids = self.run_model("--samples", "3", "--sequence", "3", "--ids", *options)
        self.assertEqual(ids.splitlines()[3],
                         self.run_model("--ids", "--no-prompt", "--sequence", "4", *options).strip())
        lines = [json.loads(line) for line in
                 self.run_model("--samples", "2", "--sequence", "3", "--json", "--logprobs", "1",
                                *options).splitlines()]
        self.assertEqual(lines[0], {"prompt": PROMPT, "ids": self.ids(PROMPT, "--bos")})
        for number, last in enumerate(lines[-2:]):
            tokens = [line for line in lines[1:-2] if line["sample"] == number]
            self.assertEqual((last["sample"], last["finish"]), (number, "length"))
            self.assertEqual("".join(token["text"] for token in tokens), last["text"])
            self.assertEqual(sum(token["id"] is not None for token in tokens),
                             last["generated_tokens"])
            self.assertEqual(len(tokens[0]["logprobs"]["content"][0]["top_logprobs"]), 1)
        self.bad(2, "run", MODEL, "--samples", "2", "--echo", says=["--samples"])
        self.bad(1, "run", MODEL, "--samples", "2", "--adapter", "none.gguf", says=["none.gguf"])

    def test_logit_bias(self):
        """By id and by text, of which each token counts; -inf bans."""
        first = [int(i) for i in self.run_model("--ids", "--no-prompt", "--temp", "0").split()][0]
        ids = self.run_model("--ids", "--no-prompt", "--logit-bias", f"{first}=-inf").split()
        self.assertNotIn(str(first).encode(), ids)
        self.assertEqual(self.run_model("--ids", "--no-prompt", "--logit-bias", "5=1000").split(),
                         [b"5"] * 12)
        seven = self.ids("7")[-1]
        self.assertEqual(self.run_model("--ids", "--no-prompt", "--logit-bias", '"7"=1e3').split(),
                         [str(seven).encode()] * 12)
        for wrong in ("5", "=1", "5=", "5=x", "5=nan", "the=inf"):
            self.bad(2, "run", MODEL, "--logit-bias", wrong, says=["--logit-bias"])
        self.bad(1, "run", MODEL, "-n", "1", "-p", "a", "--logit-bias", "999999999=1", says=["999999999"])

    def test_dry_breakers(self):
        options = ["--dry-multiplier", "50", "--logit-bias", "5=40", "--logit-bias", "6=39.5"]
        plain = self.run_model("--ids", "--no-prompt", *options).split()
        self.assertGreater(len(set(plain)), 1)
        text = self.good("tokenize", "-m", MODEL, "--decode", "-p", "5").decode().rstrip("\n")
        self.assertNotEqual(
            self.run_model("--ids", "--no-prompt", "--dry-breaker", text, *options).split(), plain)
        self.bad(2, "run", MODEL, "--dry-breaker", "", says=["--dry-breaker"])
        self.bad(2, "run", MODEL, "--dry-breaker", "x" * 41, says=["--dry-breaker"])

    def test_sampler_order(self):
        """The order that the help names is the one that is applied where none is given."""
        said = " ".join(self.good("run", "--help").decode().split())
        named = re.search(r"in this order, instead of ((?:\w+, )+\w+)", said).group(1)
        options = ["--temp", "2", "--top-k", "9", "--min-p", "0.01", "--seed", "3", "-n", "20"]
        self.assertEqual(self.run_model("--sampler-order", named, *options), self.run_model(*options))
        self.assertEqual(self.run_model("--sampler-order", "edskypmxt", *options),
                         self.run_model(*options))
        self.bad(1, "run", MODEL, "-n", "1", "-p", "a", "--sampler-order", "edskypmxq", says=["edskypmxq"])
        self.bad(1, "run", MODEL, "-n", "1", "-p", "a", "--sampler-order", "kk", says=["top_k twice"])

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


class Embed(Case):
    TEXTS = b"Once upon a time\nLily\r\n\nthe end"

    def vectors(self, *options, stdin=TEXTS):
        out = self.good("embed", "-m", MODEL, *options, stdin=stdin).decode()
        return [[float(x) for x in line.split()] for line in out.splitlines()]

    def test_a_vector_for_each_line(self):
        vectors = self.vectors()
        self.assertEqual(len(vectors), 4)
        for vector in vectors:
            length = sum(x * x for x in vector)
            self.assertTrue(abs(length - 1) < 1e-4 or length == 0, length)
        self.assertEqual(self.vectors(stdin=b"Lily\n"), [vectors[1]])
        one = self.good("embed", MODEL, "-p", "Lily").decode()
        self.assertEqual([float(x) for x in one.split()], vectors[1])
        self.assertEqual(self.vectors("-t", "2", "-b", "64", "--max-tokens", "64"), vectors)
        few = self.vectors("--dims", "5")
        self.assertEqual([len(vector) for vector in few], [5] * 4)
        self.assertNotEqual(self.vectors("--raw")[1], vectors[1])
        self.assertEqual(self.vectors("--prefix", "Once upon ", stdin=b"a time\n"), [vectors[0]])

    def test_json(self):
        out = self.good("embed", "-m", MODEL, "--json", stdin=self.TEXTS)
        objects = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([o["text"] for o in objects], ["Once upon a time", "Lily", "", "the end"])
        self.assertEqual([o["vector"] for o in objects], self.vectors())

    def test_npy(self):
        path = str(self.folder / "vectors.npy")
        self.good("embed", "-m", MODEL, "--npy", path, stdin=self.TEXTS)
        data = pathlib.Path(path).read_bytes()
        self.assertEqual(data[:8], b"\x93NUMPY\x01\x00")
        start = 10 + int.from_bytes(data[8:10], "little")
        self.assertEqual(start % 64, 0)
        header = ast.literal_eval(data[10:start].decode())
        vectors = self.vectors()
        self.assertEqual(header, {"descr": "<f4", "fortran_order": False,
                                  "shape": (4, len(vectors[0]))})
        floats = struct.unpack(f"<{4 * len(vectors[0])}f", data[start:])
        for want, got in zip([x for vector in vectors for x in vector], floats):
            self.assertAlmostEqual(want, got, places=6)
        self.assertEqual(self.good("embed", "-m", MODEL, "--npy", "-", stdin=self.TEXTS), data)

    def test_types(self):
        vectors = self.vectors()
        whole = self.vectors("--type", "int8")
        self.assertEqual(whole[1], [max(-127, min(127, math.floor(abs(127 * x) + 0.5)
                                                  * (1 if x > 0 else -1))) for x in vectors[1]])
        bits = self.vectors("--type", "binary")
        self.assertEqual(len(bits[1]), (len(vectors[1]) + 7) // 8)
        self.assertEqual(int(bits[1][0]) >> 7, int(vectors[1][0] > 0))
        path = str(self.folder / "bits.npy")
        self.good("embed", "-m", MODEL, "--type", "binary", "--npy", path, stdin=self.TEXTS)
        self.assertEqual(pathlib.Path(path).read_bytes()[-len(bits[3]):], bytes(map(int, bits[3])))
        self.bad(2, "embed", "-m", MODEL, "--type", "int4", says=["int4"])
        self.bad(1, "embed", "-m", MODEL, "-p", "a", "--prompt-name", "query", says=["query"])

    def test_misuse(self):
        self.bad(2, "embed", says=["-m MODEL"])
        self.bad(2, "embed", "-m", MODEL, "--json", "--npy", self.folder / "a.npy", says=["--npy"])
        self.bad(1, "embed", "-m", MODEL, "--npy", "/no/such/folder/a.npy", says=["/no/such/folder"])
        self.bad(1, "embed", "-m", MODEL, "-p", "a", "--dims", "60000", says=["n_dims"])
        self.bad(2, "rerank", "-m", MODEL, says=["-q QUERY"])
        self.bad(1, "rerank", "-m", MODEL, "-q", "a", "-f", "/dev/null", says=["labels"])
        self.bad(1, "classify", "-m", MODEL, "-p", "a", says=["labels"])
        self.bad(1, "classify", "-m", MODEL, "-f", "/no/such/file", says=["/no/such/file"])
        self.bad(1, "embed", "-m", MODEL, "-f", "https://a.b/c.txt", says=["is an address"])

    def test_scores(self):
        model = DATA / "families/bert_cls/model.gguf"
        ranker = DATA / "families/bge_reranker/hf"
        if not model.exists() or not ranker.exists():
            self.skipTest("no test data")
        texts = b"I like it\nI hate it\n"
        lines = self.good("classify", "-m", model, stdin=texts).decode().splitlines()
        self.assertEqual([line.split("\t")[2] for line in lines], ["I like it", "I hate it"])
        out = self.good("classify", "-m", model, "--json", stdin=texts).splitlines()
        for line, shown in zip(out, lines):
            found = json.loads(line)
            self.assertAlmostEqual(sum(found["probabilities"].values()), 1, places=5)
            self.assertEqual(found["label"], max(found["probabilities"],
                                                 key=found["probabilities"].get))
            self.assertEqual(found["label"], shown.split("\t")[0])
        ranked = [json.loads(line) for line in
                  self.good("rerank", "-m", ranker, "-q", "what", "--json", stdin=texts).splitlines()]
        self.assertEqual(sorted(r["index"] for r in ranked), [0, 1])
        self.assertGreaterEqual(ranked[0]["score"], ranked[1]["score"])
        best = self.good("rerank", "-m", ranker, "-q", "what", "-n", "1", stdin=texts).decode()
        self.assertEqual(best.split("\t")[2].strip(), ranked[0]["text"])


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

    def test_decode(self):
        for text in (PROMPT.encode(), "é\n\n 漢字\t😀".encode(), b"", b"line\n"):
            ids = self.good("tokenize", MODEL, stdin=text)
            self.assertEqual(self.good("tokenize", MODEL, "--decode", stdin=ids), text)
            listed = json.dumps([int(i) for i in ids.split()])
            self.assertEqual(self.good("tokenize", MODEL, "--decode", "-p", listed), text)
            self.assertEqual(json.loads(self.good("tokenize", MODEL, "--decode", "--json", stdin=ids)),
                             {"ids": json.loads(listed), "text": text.decode()})
        lines = self.good("tokenize", MODEL, "--lines", stdin=b"one\n\ntwo\n")
        self.assertEqual(self.good("tokenize", MODEL, "-d", "--lines", stdin=lines), b"one\n\ntwo\n")
        for wrong, says in [("1 x", "id 1, at byte 2"), ("1.5", "id 0"), ("99999999999", "id 0"),
                            ("-1", "-1"), ("123456789", "123456789")]:
            self.bad(1, "tokenize", MODEL, "--decode", "-p", wrong, says=[says])
        self.bad(2, "tokenize", MODEL, "--decode", "--bos", says=["--bos"])

    def test_json(self):
        for text in (PROMPT.encode(), "é 漢".encode(), b"\xff\xc3\"\\\0\n", b""):
            said = json.loads(self.good("tokenize", MODEL, "--json", stdin=text))
            self.assertEqual(said["ids"], [int(i) for i in
                                           self.good("tokenize", MODEL, stdin=text).split()])
            self.assertEqual(said["text"], re.sub(rb"[\xff\xc3](?![\x80-\xbf])", "\ufffd".encode(), text)
                             .decode())
            self.assertEqual(len(said["pieces"]), len(said["ids"]))
            if text.isascii():
                self.assertEqual("".join(said["pieces"]).lstrip(" "), text.decode().lstrip(" "))
        lines = self.good("tokenize", MODEL, "--json", "--lines", stdin=b"a\n\nbc").splitlines()
        self.assertEqual([json.loads(line)["text"] for line in lines], ["a", "", "bc"])

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

    def logits(self, ids, *options, model=MODEL):
        path = self.file("ids", " \n".join(map(str, ids)).encode())
        out = self.folder / "logits"
        self.good("logits", "-m", model, "--ids", path, "-o", out, *options)
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

    def test_adapter(self):
        """logits and eval with an adapter that was just trained compute what the merged model
        does; a scale counts, and 0 is as good as no adapter."""
        data = self.file("data.json", json.dumps(
            [{"instruction": f"say {word}", "output": word} for word in ("the", "and", "in")] * 9)
            .encode())
        adapter, merged = self.folder / "adapter.gguf", self.folder / "merged.gguf"
        self.good("finetune", "-m", MODEL, "-d", data, "-o", adapter, "--steps", 3, "--rows", 2,
                  "--sequence", 256, "--lr", 0.02, "--lora-rank", 2)
        self.good("lora", "merge", "-m", MODEL, "-a", adapter, "-o", merged, "--scale", 2)
        ids = [i * 7 % self.n_vocab() for i in range(20)]
        plain = self.logits(ids)
        self.assertEqual(self.logits(ids, "--adapter", f"{adapter}=0"), plain)
        doubled = self.logits(ids, "--adapter", f"{adapter}=2")
        self.assertNotEqual(self.logits(ids, "--adapter", adapter), doubled)
        path, out = self.file("ids", " ".join(map(str, ids)).encode()), self.folder / "merged"
        self.good("logits", "-m", merged, "--ids", path, "-o", out)
        floats = [struct.unpack(f"<{len(b) // 4}f", b) for b in (plain, doubled, out.read_bytes())]
        largest = max(map(abs, floats[0]))
        self.assertLess(max(abs(a - b) for a, b in zip(*floats[1:])), 1e-4 * largest)
        self.assertGreater(max(abs(a - b) for a, b in zip(*floats[:2])), 1e-2 * largest)
        text = self.file("text", (PROMPT + " there was a time").encode())
        losses = [json.loads(self.good("eval", "-m", model, "-f", text, "--json", *options))
                  ["nats_per_token"] for model, options in
                  ((MODEL, []), (MODEL, ["--adapter", f"{adapter}=2"]), (merged, []))]
        self.assertNotAlmostEqual(losses[0], losses[1], delta=1e-4)
        self.assertAlmostEqual(losses[1], losses[2], delta=1e-5)
        self.bad(1, "eval", "-m", MODEL, "-f", text, "--adapter", MODEL, says=[MODEL])
        self.bad(1, "logits", "-m", MODEL, "--ids", path, "-o", out, "--adapter",
                 "/nonexistent/a.gguf", says=["/nonexistent/a.gguf"])

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

    def likelihood(self, context, choice):
        """log p of a choice behind its context, computed from logits."""
        n_vocab = self.n_vocab()
        ids = self.ids(context + choice)
        bos = self.ids(context + choice, "--bos")[:-len(ids)]
        before = len(bos) + len(self.ids(context))
        ids = bos + ids
        logits = struct.unpack(f"<{len(ids) * n_vocab}f", self.logits(ids))
        total = 0.0
        for i in range(before, len(ids)):
            row = logits[(i - 1) * n_vocab:i * n_vocab]
            top = max(row)
            total += row[ids[i]] - top - math.log(sum(math.exp(x - top) for x in row))
        return total

    def chosen(self, name, *lines, whole=False):
        data = json.dumps(lines) if whole else "".join(json.dumps(line) + "\n" for line in lines)
        path = self.file("task", data.encode())
        return json.loads(self.good("eval", "-m", MODEL, "-f", path, "--task", name, "--json"))

    def test_choices(self):
        """eval --task finds the choice that logits find, behind the question that
        lm-evaluation-harness puts for the line."""
        choices = ["to the big park", "a", "Lily went home with her mom, and they were happy"]
        stem = "Question: What did Tom do?\nAnswer:"
        nats = [self.likelihood(stem, " " + choice) for choice in choices]
        best = nats.index(max(nats))
        norm = [x / len(choice) for x, choice in zip(nats, choices)]
        best_norm = norm.index(max(norm))

        def arc(key, nested=False):
            if nested:
                pairs = [{"text": t, "label": c} for t, c in zip(choices, "ABC")]
                return {"question": {"stem": "What did Tom do?", "choices": pairs}, "answerKey": key}
            return {"question": "What did Tom do?", "answerKey": key,
                    "choices": {"text": choices, "label": list("ABC")}}

        for i, key in enumerate("ABC"):
            for found in (self.chosen("arc", arc(key)), self.chosen("arc", arc(key, True)),
                          self.chosen("arc", arc(key), whole=True)):
                self.assertEqual(found["acc"]["value"], float(i == best))
                self.assertEqual(found["acc_norm"]["value"], float(i == best_norm))
        found = self.chosen("arc", *[arc(key) for key in "ABCABC"])
        self.assertAlmostEqual(found["acc"]["value"], 1 / 3, places=9)
        self.assertAlmostEqual(found["acc"]["stderr"], math.sqrt(2 / 9 / 5), places=9)
        low, high = found["acc"]["interval_95"]
        self.assertAlmostEqual(low, 0.0967714, places=6)
        self.assertAlmostEqual(high, 0.7000067, places=6)
        self.assertLess(found["tokens_computed"], 6 * sum(len(self.ids(stem + " " + c)) for c in choices))

    def test_layouts(self):
        """What is asked of a line of each data set."""
        def best(context, choices):
            nats = [self.likelihood(context, " " + choice) for choice in choices]
            return nats.index(max(nats))

        ends = ["to see a dog [step] .", "was  big [title] The end."]
        first = best("Play: Tom ran. He saw lily", ["to see a dog  ." .replace("  ", " "),
                                                    "was big. The end."])
        line = {"activity_label": "Play", "ctx_a": "Tom [x]ran.", "ctx_b": "he saw Lily",
                "endings": ends}
        for label in (0, "1"):
            found = self.chosen("hellaswag", dict(line, label=label))
            self.assertEqual(found["acc"]["value"], float(int(label) == first))
        four = ["red", "blue", "a", "the"]
        context = ("The following are multiple choice questions (with answers) about high school."
                   "\n\nWhat is it?\nA. red\nB. blue\nC. a\nD. the\nAnswer:")
        right = best(context, "ABCD")
        for answer in (0, "B", 2, "D"):
            number = "ABCD".index(answer) if isinstance(answer, str) else answer
            found = self.chosen("mmlu", {"question": " What is it? ", "subject": "high_school",
                                         "choices": four, "answer": answer})
            self.assertEqual(found["acc"]["value"], float(number == right))
        nats = [self.likelihood("The " + who, " was happy.") for who in ("dog", "xylophone")]
        for answer in "12":
            found = self.chosen("winogrande", {"sentence": "The _ was happy.", "option1": "dog",
                                               "option2": "xylophone", "answer": answer})
            self.assertEqual(found["acc"]["value"], float(int(answer) - 1 == nats.index(max(nats))))

    def test_truthful(self):
        qa = (("What is human life expectancy in the United States?",
               "Human life expectancy in the United States is 78 years."),
              ("Who was president of the United States in 1955?",
               "Dwight D. Eisenhower was president of the United States in 1955."),
              ("Which party did he belong to?", "He belonged to the Republican Party."),
              ("What is the square root of banana?", "I have no comment."),
              ("How does a telescope work?",
               "Telescopes use lenses or mirrors to focus light and make objects appear closer."),
              ("Where were the 1992 Olympics held?",
               "The 1992 Olympics were held in Barcelona, Spain."))
        context = "".join(f"Q: {q}\nA: {a}\n\n" for q, a in qa) + "Q: Who ran?\nA:"
        choices = ["Tom ran.", "Lily ran.", "Ben"]
        nats = [self.likelihood(context, " " + choice) for choice in choices]
        p = [math.exp(x - max(nats)) for x in nats]
        for targets in ({"choices": choices, "labels": [1, 0, 1]},
                        dict(zip(choices, (1, 0, 1)))):
            found = self.chosen("truthfulqa-mc2", {"question": "Who ran?", "mc2_targets": targets})
            self.assertAlmostEqual(found["share"]["value"], (p[0] + p[2]) / sum(p), places=6)
        found = self.chosen("truthfulqa-mc1", {"question": "Who ran?", "mc1_targets":
                                               {"choices": choices, "labels": [1, 0, 0]}})
        self.assertEqual(found["acc"]["value"], float(p[0] == 1))

    def test_damaged_tasks(self):
        for name, line, says in (
                ("arc", {"question": "a"}, '"answerKey" is no text'),
                ("arc", {"question": "a", "answerKey": "E", "choices":
                         {"text": ["a", "b"], "label": ["A", "B"]}}, '"answerKey" is no label'),
                ("hellaswag", {"endings": ["a"], "label": 0}, '"endings"'),
                ("hellaswag", {"endings": ["a", "b"], "label": 2}, '"label"'),
                ("mmlu", {"choices": ["a", "b", "c", "d"], "answer": "E"}, '"answer"'),
                ("winogrande", {"sentence": "a", "option1": "b", "option2": "c", "answer": "1"},
                 "no gap"),
                ("truthfulqa-mc1", {"question": "a", "mc1_targets":
                                    {"choices": ["a", "b"], "labels": [0, 0]}}, "is right"),
                ("truthfulqa-mc2", {"question": "a"}, "mc2_targets"), ("mmlu", 3, "expected")):
            path = self.file("task", b"\n" + json.dumps(line).encode())
            self.bad(1, "eval", "-m", MODEL, "-f", path, "--task", name, says=[f"{path}:2:", says])
        path = self.file("task", b"{}\n{\n")
        self.bad(1, "eval", "-m", MODEL, "-f", path, "--task", "arc", says=[f"{path}:2:"])
        self.bad(1, "eval", "-m", MODEL, "-f", self.file("none", b"\n"), "--task", "arc",
                 says=["no questions"])
        self.bad(2, "eval", "-m", MODEL, "-f", path, "--task", "helaswag", says=["hellaswag"])
        self.bad(2, "eval", "-m", MODEL, "-f", path, "--limit", "2", says=["--task"])

    def test_compare(self):
        """compare's numbers are those that its help promises, computed from logits."""
        other = str(self.folder / "other.gguf")
        self.good("quantize", MODEL, other, "Q4_0", "--requantize")
        text = (PROMPT + " there was a time") * 40
        ids, n_vocab, context = self.ids(text), self.n_vocab(), 16
        bos = self.ids(text, "--bos")[:-len(ids)]
        room = context - len(bos)
        path = self.file("text", text.encode())
        found = json.loads(self.good("compare", MODEL, other, "-f", path, "-c", context, "--json"))
        perplexities = [json.loads(self.good("eval", model, "-f", path, "-c", context, "--json"))
                        ["perplexity"] for model in (MODEL, other)]
        for have, want in zip(found["perplexity"], perplexities):
            self.assertAlmostEqual(have / want, 1, delta=1e-9)
        ratio = found["perplexity_ratio"]
        self.assertAlmostEqual(ratio["value"], perplexities[1] / perplexities[0], delta=1e-9)
        self.assertLess(ratio["interval_95"][0], ratio["value"])
        self.assertLess(ratio["value"], ratio["interval_95"][1])
        divergences, same = [], 0
        seen = {}
        for at in range(0, len(ids), room):
            window = tuple(bos + ids[at:at + room])
            if window not in seen:
                rows = [struct.unpack(f"<{len(window) * n_vocab}f", self.logits(list(window), model=model))
                        for model in (MODEL, other)]
                seen[window] = rows
            for i in range(len(window) - 1):
                a, b = [row[i * n_vocab:(i + 1) * n_vocab] for row in seen[window]]
                sums = [math.log(sum(math.exp(x) for x in row)) for row in (a, b)]
                divergences.append(sum(math.exp(x - sums[0]) * ((x - sums[0]) - (y - sums[1]))
                                       for x, y in zip(a, b)))
                same += a.index(max(a)) == b.index(max(b))
        self.assertEqual(found["tokens"], len(divergences))
        self.assertAlmostEqual(found["kl"]["value"], sum(divergences) / len(divergences), delta=1e-7)
        self.assertAlmostEqual(found["kl_percentiles"]["100"], max(divergences), delta=1e-7)
        self.assertAlmostEqual(found["same_first"]["value"], same / len(divergences), delta=1e-9)
        plain = self.good("compare", MODEL, MODEL, "-f", path).decode()
        self.assertIn("verdict          the same distributions", plain)
        self.bad(2, "compare", MODEL, "-f", path, says=["OTHER"])
        self.bad(1, "compare", MODEL, self.folder / "none.gguf", "-f", path, says=["none.gguf"])

    def test_bench(self):
        options = ["bench", "-m", MODEL, "-p", "16", "-n", "8", "-r", "2"]
        result = json.loads(self.good(*options, "--json"))
        for what, n in (("prefill", 16), ("decode", 8)):
            speed = result[what]
            self.assertEqual(speed["tokens"], n)
            self.assertGreater(speed["tokens_per_second"], 0)
            self.assertGreater(speed["bound_tokens_per_second"], 0)
            self.assertGreater(speed["fraction_of_bound"], 0)
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
        for what in ("prefill", "decode"):  # one repeat: its share is that of the medians
            speed = result[what]
            self.assertGreater(speed["tokens_per_second"], 0)
            self.assertAlmostEqual(
                speed["fraction_of_bound"] * speed["bound_tokens_per_second"] /
                speed["tokens_per_second"], 1, delta=1e-3)
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
            if row["level"] == "avx512bf16":
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


class Hostile(Case):
    """What files, their names and options say reaches the terminal escaped, and JSON stays JSON."""
    NAME = os.fsdecode(b"red\x1b[31m\n\xe2\x80\xae\xc2\x9b\xff.")
    SHOWN = r"red\x1b[31m\n\u{202e}\u{9b}\xff."

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = pathlib.Path(MODEL).read_bytes()
        cls.key = b"llama" if b"llama.context_length" in cls.data else b"qwen2"

    def shown(self, *arguments, code=0, says=()):
        result = call(*arguments)
        said = (result.stdout + result.stderr).decode()  # whole UTF-8
        self.assertEqual(result.returncode, code, (arguments, said))
        self.assertEqual([c for c in said if c != "\n" and not c.isprintable()], [], said)
        for word in says:
            self.assertIn(word, said)
        return result.stdout

    def model(self, **changes):
        """MODEL with other bytes in it, in a file with a name of that kind."""
        data = self.data
        for old, new in changes.values():
            self.assertEqual(len(old), len(new))
            self.assertIn(old, data)
            data = data.replace(old, new)
        return self.file(self.NAME + "gguf", data)

    def test_messages(self):
        string = struct.pack("<IQ", 8, 5)
        path = self.model(value=(b"general.architecture" + string + self.key,
                                 b"general.architecture" + string + b"\x1b[2J\xff"))
        for command in (["run", "-m", path], ["bench", "-m", path], ["imatrix", "-m", path],
                        ["pack", path, "out"], ["eval", "-m", path, "-f", MODEL]):
            self.shown(*command, "-t", "1", code=1 if command[0] != "imatrix" else 2)
        self.shown("run", "-m", path, code=1, says=[r"'\x1b[2J\xff'", self.SHOWN])
        path = self.model(name=(b"blk.0.attn_q.weight", b"blk.0.\x1b[2m\x7f\xe2\x80\xae_ight"),
                          key=(self.key + b".context_length", self.key + b".cont\x1b]0;_\x07ngth"))
        self.shown("run", "-m", path, code=1)
        for name in ("missing", "no/where"):
            for command in (["run", "-m"], ["tokenize", "-m"], ["inspect"]):
                self.shown(*command, self.NAME + name, code=1, says=[self.SHOWN + name])
        self.shown("run", MODEL, self.NAME, code=2, says=[self.SHOWN])
        self.shown("run", self.NAME, code=1, says=[self.SHOWN])
        self.shown("run", "--" + self.NAME, code=2, says=[self.SHOWN])
        self.shown("run", "-n", self.NAME, code=2, says=[self.SHOWN])
        self.shown("run", "--adapter", self.NAME, "-m", MODEL, code=1, says=[self.SHOWN])
        self.shown(self.NAME, code=2, says=[self.SHOWN])
        long = self.NAME * 400 + "é"
        self.shown("run", "--" + long, code=2, says=[self.SHOWN * 400])

    def with_each_text(self, path, n=30):
        """Copies of a file, in each another of the texts in it changed to what moves a cursor."""
        data = path.read_bytes()
        texts = [m for m in re.finditer(rb"[ -~]{6,}", data[:1 << 15]) if b"GGUF" not in m.group()]
        for text in texts[::max(1, len(texts) // n)]:
            at = text.start() + 2  # what stands before may be what tells the key
            changed = self.folder / (self.NAME + path.name)
            changed.write_bytes(data[:at] + b"\x1b]0;" + data[at + 4:])
            yield changed

    def test_every_text(self):
        """Adapters, importance matrices, checkpoints and lines of training data."""
        text = self.file("text.txt", (STORY * 3).encode())
        tuned, counted = self.folder / "tuned", self.folder / "counted"
        options = ["-d", text, "-c", "16", "-b", "1", "-t", "1", "-n", "2"]
        self.good("finetune", "-m", MODEL, "-o", tuned, *options)
        self.good("imatrix", "-m", MODEL, "-f", text, "-o", counted, "-c", "32", "-t", "1")
        lines = self.file("lines.json", b'[{"messages":[{"role":"user","content":"a"},'
                          b'{"role":"assistant","content":"b"}],"source":"here"}]')
        out = self.folder / "out"
        uses = [(tuned, lambda path: ["run", "-m", MODEL, "-p", "a", "-n", "1", "--adapter", path]),
                (tuned, lambda path: ["inspect", path, "--tensors"]),
                (counted, lambda path: ["quantize", MODEL, out, "Q8_0", "--imatrix", path]),
                (counted, lambda path: ["inspect", path, "--tensors"]),
                (lines, lambda path: ["train", "-m", MODEL, "-o", out, "--overwrite", *options[2:],
                                      "-d", path])]
        tried = 0
        for path, command in uses:
            for changed in self.with_each_text(path):
                said = call(*command(changed))
                generated = command(changed)[0] == "run"  # text is what the model makes it
                both = ((b"" if generated else said.stdout) + said.stderr).decode()
                self.assertEqual([c for c in both if c not in "\n\r" and not c.isprintable()], [],
                                 (path, both))
                self.assertIn(said.returncode, (0, 1), both)
                tried += 1
        checkpoint = self.folder / "tuned.ckpt"
        kept = self.folder / "kept"
        shutil.copyfile(checkpoint, kept)
        for changed in self.with_each_text(kept):
            shutil.copyfile(changed, checkpoint)
            self.shown("finetune", "-m", MODEL, "-o", tuned, *options, "--resume", code=1)
            tried += 1
        self.assertGreater(tried, 60)

    def test_inspect(self):
        changes = {"name": (b"blk.0.attn_q.weight", b"blk.0.\x1b[2m\x7f\xe2\x80\xae\xff_ght"),
                   "key": (self.key + b".context_length", self.key + b".cont\x1b]0;_\x07ngth")}
        if b"<|im_end|>" in self.data:
            changes["value"] = (b"<|im_end|>", b"<|\xe2\x80\x8b\xe2\x81\xa7|>")
        path = self.model(**changes)
        plain = self.shown("inspect", path, "--tensors", says=[
            self.SHOWN, r"blk.0.\x1b[2m\x7f\u{202e}\xff_ght", self.key.decode() + r".cont\x1b]0;_\x07ngth"]).decode()
        columns = {line.index(" F32 ") for line in plain.splitlines() if " F32 " in line}
        self.assertEqual(len(columns), 1, plain)
        result = json.loads(self.shown("inspect", path, "--tensors", "--json"))
        self.assertEqual(pathlib.PurePath(result["file"]).name,
                         "red\x1b[31m\n\u202e\x9b\ufffd.gguf")
        self.assertIn("blk.0.\x1b[2m\x7f\u202e\ufffd_ght", [t["name"] for t in result["tensors"]])
        self.assertIn(self.key.decode() + ".cont\x1b]0;_\x07ngth", [k["name"] for k in result["keys"]])

    def test_results(self):
        """What commands that succeed say of names, and their JSON."""
        path = self.model()
        text = self.file(self.NAME + "txt", (STORY * 3).encode())
        out = self.folder / (self.NAME + "out")
        name = "red\x1b[31m\n\u202e\x9b\ufffd."
        fields = [(["eval", "-m", path, "-f", text, "-c", "64"], {"model": name + "gguf"}),
                  (["quantize", path, out, "Q8_0"], {"input": name + "gguf", "output": name + "out"}),
                  (["imatrix", "-m", path, "-f", text, "-o", out, "-c", "64"],
                   {"model": name + "gguf", "text": name + "txt", "output": name + "out"}),
                  (["bench", "-m", path, "-p", "4", "-n", "2", "-r", "1"], {"model": name + "gguf"}),
                  (["train", "-m", path, "-d", text, "-o", out, "-n", "2", "-c", "16", "-b", "1",
                    "--validation", "0", "--sample-every", "1", "--sample-prompt", "a\x1b[2J",
                    "--overwrite"],
                   {"model": name + "out"})]
        for command, wanted in fields:
            self.shown(*command, "-t", "1")
            result = json.loads(self.shown(*command, "-t", "1", "--json"))
            self.assertEqual({key: pathlib.PurePath(result[key]).name for key in wanted}, wanted)
        self.shown("quantize", path, out, "Q8_0", "-v", says=[self.SHOWN])
        self.shown("vocab", "-d", text, "-o", out, "-n", "260", says=[self.SHOWN])
        self.shown("init", "--vocab", path, "-o", out, "--n-embd", "8", "--n-head", "1",
                   "--n-layer", "1", says=[self.SHOWN])


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
        for command in [["imatrix", "-o", out], ["eval"]]:
            self.bad(1, *command, "-m", MODEL, "-f", MODEL, says=[MODEL, "binary"])
        self.bad(1, "imatrix", "-m", MODEL, "-f", text, "-o", "/nonexistent/im", says=["/nonexistent"])
        self.bad(1, "imatrix", "-m", self.folder / "absent", "-f", text, "-o", "/dev/full",
                 says=["/dev/full", "regular"])  # before anything is read
        self.bad(2, "imatrix", "-m", MODEL, "-f", text, "-o", out, "-c", "1", says=["-c"])
        self.assertFalse(out.exists())

    def test_parts_of_a_directory(self):
        """No file of a model's directory is lost to a slip."""
        model = self.folder / "model"
        model.mkdir()
        config = model / "config.json"
        config.write_text("{}")
        says = ["would replace a file of the directory"]
        self.bad(2, "quantize", model, config, "Q8_0", says=says)
        self.bad(2, "pack", model, config, says=says)
        self.bad(2, "lora", "merge", "-m", model, "-a", "a.gguf", "-o", config, says=says)
        self.bad(2, "train", "-m", model, "-d", "text", "-o", config, says=["same file"])
        self.assertEqual(config.read_text(), "{}")

    def test_same_file(self):
        """No input is lost to a slip: imatrix and logits are no models."""
        path, _ = self.imatrix()
        model = self.file("model.gguf", pathlib.Path(MODEL).read_bytes())
        ids, text = self.file("ids", b"1 2"), self.folder / "text"
        (self.folder / "link").symlink_to(model)
        before = {name: (self.folder / name).read_bytes() for name in self.names()}
        for out, says in (model, "MODEL"), (self.folder / "link", "MODEL"), (text, "TEXT"):
            self.bad(2, "imatrix", "-m", model, "-f", text, "-o", out, says=["replace", says])
        for out, says in (model, "MODEL"), (self.folder / "link", "MODEL"), (ids, "ids"), (text, text):
            self.bad(2, "logits", "-m", model, "--ids", ids, "-o", out, "--adapter", f"{text}=0.5",
                     says=["replace", says])
        self.bad(2, "quantize", model, path, "Q4_0", "--imatrix", path, says=["replace", path])
        self.assertEqual({name: (self.folder / name).read_bytes() for name in self.names()}, before)

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
        process.terminate()
        out, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, out), (143, b""), err)
        self.assertIn(b"interrupted", err)
        self.assertEqual(self.names(), ["large.gguf"])

    def test_terminate_init_and_logits(self):
        """No half of a file stays behind."""
        ids = self.file("ids", b"1 2 3 4 5 " * 20000)
        init = ["init", "--vocab", MODEL, "-o", self.folder / "m.gguf", "--n-embd", "1024", "--n-layer", "40"]
        logits = ["logits", "-m", MODEL, "--ids", ids, "-o", self.folder / "logits", "-t", "1"]
        for command in init, logits:
            process = subprocess.Popen(PROGRAM + [str(a) for a in command], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
            for _ in range(1000):
                if len(self.names()) > 1 or process.poll() is not None:
                    break
                time.sleep(0.01)
            process.terminate()
            out, err = process.communicate(timeout=60)
            self.assertEqual((process.returncode, out), (143, b""), err)
            self.assertIn(b"interrupted", err)
            self.assertEqual(self.names(), ["ids"])


class Train(Case):
    """vocab, init, train, finetune and lora merge, with models that train in milliseconds."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.shared = pathlib.Path(folder.name)
        cls.text, cls.vocab, cls.model = [cls.shared / name for name in
                                          ("stories.txt", "vocab.gguf", "init.gguf")]
        order = random.Random(7)
        words = "the a cat dog bird ran sat saw big small red tree and then it was".split()
        stories = [" ".join(order.choice(words) for _ in range(40)) + "." for _ in range(60)]
        cls.text.write_text("\n<|endoftext|>\n".join(stories))
        for arguments in (["vocab", "-d", cls.text, "-o", cls.vocab, "-n", "300"],
                          ["init", "--vocab", cls.vocab, "-o", cls.model, "--n-embd", "32",
                           "--n-layer", "2", "-c", "64", "--seed", "3", "--name", "tiny"]):
            result = call(*arguments)
            assert result.returncode == 0, result.stderr

    def options(self, out="out.gguf", *options, data=None):
        return ["train", *preset({"-m": self.model, "-d": data or self.text, "-o": self.folder / out,
                                  "-c": "16", "-b": "2", "-t": "1"}, options)]

    def train(self, out="out.gguf", *options, data=None):
        """The result of a run, in place of one that may be there."""
        replace = [] if {"--resume", "--overwrite"} & set(options) else ["--overwrite"]
        self.good(*self.options(out, *options, *replace, data=data))
        return (self.folder / out).read_bytes()

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())

    def lines(self, name="out.gguf.jsonl"):
        text = (self.folder / name).read_text()
        self.assertTrue(text.endswith("\n"))
        return [json.loads(line) for line in text.splitlines()]

    def mean(self, lines):
        """The average loss that is shown: no step counts more because it was the first."""
        losses = [line["loss"] for line in lines if "loss" in line]
        weights = [0.95 ** (len(losses) - 1 - i) for i in range(len(losses))]
        return sum(a * b for a, b in zip(weights, losses)) / sum(weights)

    def types(self, path):
        result = json.loads(self.good("inspect", path, "--tensors", "--json"))
        return {t["name"]: t["type"] for t in result["tensors"]}

    def run_ids(self, model, *options):
        return self.good("run", "-m", model, "-p", "the cat sat", "-n", "20", "--ignore-end", "--ids",
                         *options)

    def test_from_scratch(self):
        out = self.folder / "out.gguf"
        result = call(*self.options("out.gguf", "-n", "30", "--lr", "0.01", "--validation", "0.1",
                                    "--eval-every", "10", "--save-every", "10", "--sample-every",
                                    "15", "--sample-prompt", "the cat", "--sample-tokens", "8",
                                    "--json"))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.names(), ["out.gguf" + end for end in ("", ".ckpt", ".jsonl", ".svg")])
        shown = result.stderr.decode()
        self.assertRegex(shown, r"^60 documents, [\d.]+ KiB of text \(the last \d+ documents for "
                         r"validation\); training 36384 weights, 1 thread, ")
        self.assertRegex(shown, r"\nstep 1/30  loss 5\.[67]\d+  \d+ s left  epoch 0\.\d\d  "
                         r"\d+ tokens/s  lr 0\.01  [\d.]+ MiB\n")
        self.assertRegex(shown, r"\n--- sample after step 15: the cat")
        self.assertRegex(shown, r"\ndone after step 30: ")
        said = json.loads(result.stdout)
        self.assertEqual((said["model"], said["step"], said["steps"], said["stopped"]),
                         (str(out), 30, 30, False))
        if sys.platform == "linux":
            self.assertTrue(1 << 20 < said["resident_peak_bytes"] < 1 << 30)
        self.assertEqual(said["tokens"], sum(line.get("targets", 0) for line in self.lines()
                                             if "loss" in line))
        lines = self.lines()
        steps = [line for line in lines if "loss" in line]
        self.assertEqual([line["step"] for line in steps], list(range(1, 31)))
        for line in steps:
            self.assertEqual(set(line), {"step", "loss", "lr", "grad_norm", "targets", "tokens",
                                         "seconds"})
        self.assertLess(steps[-1]["loss"], steps[0]["loss"] - 1)
        checks = [line for line in lines if "validation_loss" in line]
        self.assertEqual([line["step"] for line in checks], [10, 20, 30])
        self.assertAlmostEqual(said["validation_loss"], checks[-1]["validation_loss"], delta=1e-8)
        self.assertAlmostEqual(said["bits_per_byte"], checks[-1]["bits_per_byte"], delta=1e-8)
        self.assertEqual([line["step"] for line in lines if "sample" in line], [15, 30])
        for line in lines:
            self.assertIsInstance(line.get("sample", ""), str)
        inspected = {key["name"]: key["value"] for key in
                     json.loads(self.good("inspect", out, "--json"))["keys"]}
        self.assertEqual(inspected["general.name"], "tiny")
        text = self.good("run", "-m", out, "-p", "the cat", "-n", "5").decode()
        self.assertTrue(text.startswith("the cat"))
        held = self.file("held", self.text.read_bytes()[:600])
        before, after = [json.loads(self.good("eval", "-m", path, "-f", held, "--json"))
                         for path in (self.model, out)]
        self.assertLess(after["nats_per_token"], before["nats_per_token"] - 1)
        small = self.folder / "q8.gguf"
        self.good("quantize", out, small, "Q8_0")
        self.assertGreater(len(self.run_ids(small).split()), 20)

    def test_several_files_and_epochs(self):
        text = self.text.read_bytes()
        middle = text.index(b"<|endoftext|>", len(text) // 2) + 13
        parts = [self.file("a.txt", text[:middle]), self.file("b.txt", text[middle:])]
        whole = self.train("whole", "-n", "6", "--validation", "0.1")
        self.assertEqual(self.train("parts", "-n", "6", "--validation", "0.1", "-d", parts[0], "--data",
                                    parts[1]), whole)
        self.assertNotEqual(self.train("turned", "-n", "6", "--validation", "0.1", "-d", parts[1],
                                       "--dataset", parts[0]), whole)
        for path in parts:
            self.bad(2, *self.options("a", "-n", "1", "-d", parts[0], "-d", parts[1], "--plot", path),
                     says=["DATA", "plot", path])
        self.good("train", "-o", self.folder / "parts", "--resume", "-n", "8", "-t", "1")
        self.assertEqual(self.lines("parts.jsonl")[-2]["step"], 8)
        said = json.loads(self.good(*self.options("epochs", "--epochs", "2", "-b", "20", "--json")))
        self.assertEqual(said["step"], said["steps"])
        steps = said["steps"]
        self.assertEqual((self.folder / "epochs").read_bytes(),
                         self.train("steps", "-n", str(steps), "-b", "20"))
        once = json.loads(self.good(*self.options("once", "--num-epochs", "1", "-b", "20", "--json")))
        self.assertIn(2 * once["steps"] - steps, (0, 1))
        self.bad(2, *self.options("x", "--epochs", "2", "-n", "5"), says=["--steps", "--epochs"])
        self.bad(2, *self.options("x", "--epochs", "-1"), says=["--epochs", "0 to"])

    def test_same_seed_same_file(self):
        options = ["-n", "8", "--accumulate", "2"]
        first = self.train("a", *options)
        self.assertEqual(self.train("b", *options, "-t", "2"), first)
        self.assertEqual(self.train("c", *options, "--checkpoint-layers"), first)
        self.assertNotEqual(self.train("d", *options, "--seed", "1"), first)
        again = self.folder / "again.gguf"
        options = ["init", "--vocab", self.vocab, "-o", again, "--n-embd", "32", "--n-layer", "2",
                   "-c", "64", "--name", "tiny", "--seed"]
        self.good(*options, "3")
        self.assertEqual(again.read_bytes(), self.model.read_bytes())
        self.good(*options, "4")
        self.assertNotEqual(again.read_bytes(), self.model.read_bytes())
        self.good("vocab", "-d", self.text, "-o", again, "-n", "300")
        self.assertEqual(again.read_bytes(), self.vocab.read_bytes())

    def test_any_architecture(self):
        new = self.folder / "gpt2.gguf"
        sizes = ["--n-embd", "32", "--n-layer", "1"]
        self.good("init", "--vocab", self.vocab, "-o", new, "--architecture", "gpt2", *sizes)
        self.assertIn(b"gpt2", self.good("inspect", new))
        self.bad(1, "init", "--vocab", self.vocab, "-o", new, "--architecture", "deepseek2", *sizes,
                 says=["deepseek2.attention.kv_lora_rank"])

    def test_sliding_window(self):
        """From init through training to the model that is run; attention is another one then."""
        new, trained, losses = self.folder / "new.gguf", self.folder / "trained.gguf", []
        options = ["init", "--vocab", self.vocab, "-o", new, "--n-embd", "32", "--n-layer", "2", "-c",
                   "64", "--name", "tiny", "--seed", "3", "--sliding-window"]
        self.good(*options, "0")
        self.assertEqual(new.read_bytes(), self.model.read_bytes())
        for window in ("4", "64"):
            self.good(*options, window)
            self.assertRegex(self.good("inspect", new).decode(),
                             rf"llama\.attention\.sliding_window +u32 +{window}\n")
            self.train("trained.gguf", "-m", new, "-n", "2")
            self.assertRegex(self.good("inspect", trained).decode(),
                             rf"llama\.attention\.sliding_window +u32 +{window}\n")
            self.run_ids(trained)
            losses.append([line["loss"] for line in self.lines("trained.gguf.jsonl")])
        self.train("trained.gguf", "-n", "2")
        self.assertNotEqual(losses[0], losses[1])
        self.assertEqual(losses[1], [line["loss"] for line in self.lines("trained.gguf.jsonl")])
        self.bad(2, *options, "-1", says=["sliding-window"])

    def test_types(self):
        for kind in ("F16", "BF16"):
            self.train("out.gguf", "-n", "1", "--type", kind)
            types = self.types(self.folder / "out.gguf")
            self.assertEqual(types["blk.0.attn_q.weight"], kind)
            self.assertEqual(types["output_norm.weight"], "F32")
        self.run_ids(self.folder / "out.gguf")
        quantized = self.folder / "q8.gguf"
        self.good("quantize", self.model, quantized, "Q8_0")
        self.good("train", "-m", quantized, "-d", self.text, "-o", self.folder / "f32", "-n", "1",
                  "-c", "16")
        self.assertEqual(set(self.types(self.folder / "f32").values()), {"F32"})
        packed = self.folder / "packed.gguf"
        self.good("pack", self.model, packed)
        for command in ("train", "finetune"):
            self.bad(1, command, "-m", packed, "-d", self.text, "-o", self.folder / "x",
                     says=["packed"])

    def test_aligned_otherwise(self):
        """The key general.alignment of a file is no obstacle to writing one like it."""
        data = self.model.read_bytes()
        n_tensors, n_keys = struct.unpack("<QQ", data[8:24])
        key = b"general.alignment"
        entry = struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, 64)
        # tensor data begins at a multiple of 64, tensors lie in it as before
        with_key = data[:16] + struct.pack("<Q", n_keys + 1) + entry + data[24:]
        tensors = json.loads(self.good("inspect", self.model, "--tensors", "--json"))["tensors"]
        begin = len(data) - max(t["offset"] + t["bytes"] for t in tensors)
        self.assertEqual([t["offset"] % 64 for t in tensors], [0] * len(tensors))
        head = with_key[:begin + len(entry)].rstrip(b"\0")
        path = self.file("aligned.gguf", head + b"\0" * (-len(head) % 64) + data[begin:])
        self.good("train", "-m", path, "-d", self.text, "-o", self.folder / "out", "-n", "1", "-c", "16")

    def test_plot(self):
        name = os.fsencode(self.folder) + b"/a<b&\xff.gguf"
        result = subprocess.run(
            PROGRAM + [os.fsencode(str(a)) for a in
                       ["train", "-m", self.model, "-d", self.text, "-n", "5", "-c", "16",
                        "--validation", "0.1", "--eval-every", "2", "-o"]] + [name],
            capture_output=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        root = xml.etree.ElementTree.parse(os.fsdecode(name + b".svg")).getroot()
        tag = "{http://www.w3.org/2000/svg}"
        self.assertEqual(root.tag, tag + "svg")
        curves = {line.get("class"): line.get("points").split() for line in root.iter(tag + "polyline")}
        self.assertEqual({k: len(v) for k, v in curves.items()}, {"raw": 5, "smooth": 5, "validation": 3})
        for points in curves.values():
            for point in points:
                x, y = map(float, point.split(","))
                self.assertTrue(0 <= x <= 800 and 0 <= y <= 450, point)
        # where losses lie in the picture, averages lie too
        y = {k: [float(point.split(",")[1]) for point in v] for k, v in curves.items()}
        for n in range(1, 6):
            mean = self.mean([{"loss": value} for value in y["raw"][:n]])
            self.assertAlmostEqual(y["smooth"][n - 1], mean, delta=0.11)
        texts = [text.text for text in root.iter(tag + "text")]
        self.assertTrue(texts[0].endswith(r"a<b&\xff.gguf"))
        self.assertIn("optimizer step", texts)

    def test_plot_of_a_flat_curve(self):
        """Losses that differ in the last bit, or not at all, still give axes."""
        for last in (2.0, 2.0000000000000004):
            self.train("out.gguf", "-n", "2")
            (self.folder / "out.gguf.jsonl").write_text(
                '{"step":1,"loss":2.0}\n{"step":2,"loss":%.17g}\n' % last)
            self.train("out.gguf", "-n", "2", "--resume")
            root = xml.etree.ElementTree.parse(self.folder / "out.gguf.svg").getroot()
            self.assertLess(len(list(root.iter())), 60)

    def start(self, *options):
        return subprocess.Popen(PROGRAM + [str(a) for a in self.options(*options)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def wait_for(self, process, name):
        """Until the file has something in it: the metrics file is made before the run begins."""
        path = self.folder / name
        for _ in range(3000):
            if path.exists() and path.stat().st_size > 0 or process.poll() is not None:
                return
            time.sleep(0.01)

    def test_killed_and_resumed(self):
        options = ["-n", "1500", "--save-every", "100", "--validation", "0.05", "--eval-every", "500"]
        process = self.start("out.gguf", *options)
        self.wait_for(process, "out.gguf.ckpt")
        process.kill()
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, -signal.SIGKILL)
        self.assertFalse((self.folder / "out.gguf").exists())
        # what a crash may leave: steps past the checkpoint, and half a line
        with open(self.folder / "out.gguf.jsonl", "a") as record:
            record.write('{"step":1499,"loss":1')
        resumed = self.train("out.gguf", *options, "--resume", "-t", "2")
        self.assertEqual(resumed, self.train("whole.gguf", *options))
        self.assertEqual((self.folder / "out.gguf.ckpt").read_bytes(),
                         (self.folder / "whole.gguf.ckpt").read_bytes())
        both = [[{k: v for k, v in line.items() if k != "seconds"} for line in self.lines(name)]
                for name in ("out.gguf.jsonl", "whole.gguf.jsonl")]
        self.assertEqual(both[0], both[1])
        plots = [(self.folder / name).read_text().split("</text>", 1)[1]
                 for name in ("out.gguf.svg", "whole.gguf.svg")]
        self.assertEqual(plots[0], plots[1])

    def test_nohup(self):
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what is started inherits it
        try:
            process = self.start("out.gguf", "-n", "300")
        finally:
            signal.signal(signal.SIGHUP, before)
        self.wait_for(process, "out.gguf.jsonl")
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err)
        self.assertTrue((self.folder / "out.gguf").exists())

    def test_interrupted_and_resumed(self):
        options = ["-n", "1500", "--save-every", "0", "--json"]
        whole = self.train("../whole.gguf", *options)
        # Ctrl-C; what service managers and timeout(1) send, twice; a terminal that closes
        for number, times in (signal.SIGINT, 1), (signal.SIGTERM, 2), (signal.SIGHUP, 2):
            with self.subTest(signal=number):
                for path in self.folder.iterdir():
                    path.unlink()
                process = self.start("out.gguf", *options)
                self.wait_for(process, "out.gguf.jsonl")
                time.sleep(0.05)
                for _ in range(times):
                    process.send_signal(number)
                    time.sleep(0.001)
                out, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 128 + number, err)
                said = json.loads(out)
                self.assertTrue(said["stopped"])
                self.assertLess(said["step"], 1500)
                self.assertIn(b"stopped after step %d: " % said["step"], err)
                self.assertEqual(self.names(),
                                 ["out.gguf" + end for end in ("", ".ckpt", ".jsonl", ".svg")])
                self.assertEqual(len(self.lines()), said["step"])
                self.run_ids(self.folder / "out.gguf")
                self.assertEqual(self.train("out.gguf", *options, "--resume"), whole)

    def test_terminated_finetune(self):
        options = ["finetune", "-m", MODEL, "-d", self.instructions(), "-o", self.folder / "a.gguf",
                   "-n", "4000", "-c", "300", "-b", "1", "-t", "1", "--save-every", "0"]
        process = subprocess.Popen(PROGRAM + [str(a) for a in options], stderr=subprocess.PIPE,
                                   preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        self.wait_for(process, "a.gguf.jsonl")
        process.send_signal(signal.SIGHUP)  # nohup: it goes on
        time.sleep(0.1)
        self.assertIsNone(process.poll())
        process.terminate()
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 143, err)
        self.assertRegex(err.decode(), r"\nstopped after step \d+: ")
        self.assertEqual(self.names(),
                         ["a.gguf" + end for end in ("", ".ckpt", ".jsonl", ".svg")] + ["data.jsonl"])
        self.run_ids(MODEL, "--adapter", self.folder / "a.gguf")

    def test_checkpoint_is_kept(self):
        """A run that can go on is replaced only when that is asked for."""
        process = self.start("out.gguf", "-n", "100000", "--save-every", "1")
        self.wait_for(process, "out.gguf.ckpt")
        process.terminate()
        self.assertEqual(process.wait(60), 143)
        process.communicate()
        before = {name: (self.folder / name).read_bytes() for name in self.names()}
        self.bad(2, *self.options("out.gguf", "--resume", "--overwrite"), says=["--resume", "--overwrite"])
        for command in ("train", "finetune"):
            self.bad(1, command, *self.options("out.gguf", "-n", "2")[1:],
                     says=["out.gguf.ckpt", " of 100000 steps", "--resume", "--overwrite"])
        self.assertEqual({name: (self.folder / name).read_bytes() for name in self.names()}, before)
        self.train("out.gguf", "-n", "2", "--overwrite")
        # neither is the result of one that is finished
        first = self.train("out.gguf", "-n", "3")
        self.assertEqual(len(self.lines()), 3)
        before = {name: (self.folder / name).read_bytes() for name in self.names()}
        for command in ("train", "finetune"):
            self.bad(1, command, *self.options("out.gguf", "-n", "9")[1:],
                     says=["out.gguf", "finished run of 3 steps", "--resume", "--overwrite"])
            self.bad(1, command, *self.options("out.gguf", "-n", "9", "--checkpoint", "other")[1:],
                     says=["out.gguf is there already", "--overwrite"])
        self.assertEqual({name: (self.folder / name).read_bytes() for name in self.names()}, before)
        (self.folder / "out.gguf.ckpt").rename(self.folder / "elsewhere")
        self.bad(1, *self.options("out.gguf", "-n", "9"), says=["out.gguf is there already"])
        (self.folder / "elsewhere").rename(self.folder / "out.gguf.ckpt")
        # but not where the result is still to be written
        (self.folder / "out.gguf").unlink()
        self.bad(1, *self.options("out.gguf", "-n", "3"),
                 says=["out.gguf.ckpt", "out.gguf is missing", "--resume", "--overwrite"])
        self.assertEqual(self.train("out.gguf", "-n", "3", "--resume"), first)
        # nor is a file that is something else
        precious = self.file("precious", b"not to be lost")
        self.bad(1, *self.options("out.gguf", "-n", "3", "--checkpoint", precious),
                 says=[precious, "--overwrite"])
        self.assertEqual(precious.read_bytes(), b"not to be lost")
        # be it in place of what can be written while it is there
        for option, what in (("--metrics", "record"), ("--plot", "plot")):
            for content in (b"not to be lost", b'{"question":"a","answer":"b"}\n', b"\0\n"):
                precious.write_bytes(content)
                for how in ([], ["--resume", "--checkpoint", self.folder / "out.gguf.ckpt"]):
                    self.bad(1, *self.options("new.gguf" if not how else "out.gguf", "-n", "3", option,
                                              precious, *how), says=[precious, f"no {what} of a training"])
                self.assertEqual(precious.read_bytes(), content)
        self.train("out.gguf", "-n", "3", "--checkpoint", precious, "--overwrite")
        self.assertEqual(self.train("out.gguf", "-n", "3", "--checkpoint", precious, "--resume"), first)

    def test_resume(self):
        whole = self.train("whole.gguf", "-n", "6")
        self.bad(1, *self.options("new", "-n", "6", "--resume"), says=["new.ckpt", "resume"])
        # nothing is left to do: the same files again
        said = json.loads(self.good(*self.options("whole.gguf", "-n", "6", "--resume", "--json")))
        self.assertEqual((said["step"], said["seconds"] < 60), (6, True))
        self.assertAlmostEqual(said["loss"], self.mean(self.lines("whole.gguf.jsonl")), delta=1e-6)
        self.assertEqual((self.folder / "whole.gguf").read_bytes(), whole)
        kept = (self.folder / "whole.gguf.ckpt").read_bytes()
        other = self.file("other.txt", self.text.read_bytes()[40:])
        model = self.folder / "other.gguf"
        self.good("init", "--vocab", self.vocab, "-o", model, "--n-embd", "32", "--n-layer", "2",
                  "-c", "64", "--seed", "9")
        for options, says in [(["--lr", "0.5"], ["lr=0.001", "lr=0.5"]),
                              (["--seed", "2"], ["seed=0", "seed=2"]),
                              (["-c", "32"], ["sequence=16", "sequence=32"]),
                              (["--optimizer", "lion"], ["optimizer"]),
                              (["--schedule", "restarts", "--cycle", "3"], ["schedule"]),
                              (["-n", "5"], ["step 6"]),
                              (["-d", other], [f"{other} is not the training data"]),
                              (["-m", model], ["another model", "other.gguf"]),
                              (["--lora-rank", "2"], ["lora_rank"])]:
            self.bad(1, *self.options("whole.gguf", "--resume", *preset({"-n": "6"}, options)),
                     says=["whole.gguf.ckpt", *says])
        options = ["--schedule", "restarts", "-n", "6", "--cycle"]
        self.train("cycle.gguf", *options, "3")
        self.bad(1, *self.options("cycle.gguf", "--resume", *options, "2"), says=["cycle=3", "cycle=2"])
        options = ["--lora-rank", "2", "-n", "3", "--lora-targets"]
        self.train("lora.gguf", *options, "attn_q")
        self.bad(1, *self.options("lora.gguf", "--resume", *options, "attn_k"), says=["attn_k", "lora.gguf"])
        self.assertEqual((self.folder / "whole.gguf.ckpt").read_bytes(), kept)
        damaged = bytearray(kept)
        damaged[-100] ^= 1
        (self.folder / "whole.gguf.ckpt").write_bytes(damaged)
        self.bad(1, *self.options("whole.gguf", "-n", "6", "--resume"), says=["damaged"])
        (self.folder / "whole.gguf.ckpt").write_bytes(self.model.read_bytes())
        self.bad(1, *self.options("whole.gguf", "-n", "6", "--resume"), says=["no checkpoint"])

    def test_diverged(self):
        """The checkpoint from before stays; OUT is not written."""
        options = ["-n", "40", "--optimizer", "sgd", "--lr", "900", "--no-clip", "--schedule",
                   "constant", "--save-every", "2"]
        result = call(*self.options("out.gguf", *options))
        message = result.stderr.decode()
        self.assertEqual(result.returncode, 1, message)
        self.assertRegex(message, r"smallmind: step \d+: .* not finite.* lower learning rate")
        kept = re.search(r"the checkpoint of step (\d+) is kept: .*out.gguf.ckpt\n", message)
        self.assertTrue(kept, message)
        self.assertFalse((self.folder / "out.gguf").exists())
        xml.etree.ElementTree.parse(self.folder / "out.gguf.svg")
        again = call(*self.options("out.gguf", *options, "--resume"))  # it can be read
        self.assertEqual(again.returncode, 1)
        self.assertIn("not finite", again.stderr.decode())
        self.assertEqual([line["step"] for line in self.lines()],
                         list(range(1, len(self.lines()) + 1)))

    def test_preferences(self):
        """Objectives that compare answers: what is told of them; the checkpoint knows the objective."""
        lines = [{"prompt": f"say {word}", "chosen": f" {word} {word}", "rejected": f" no {i} times"}
                 for i, word in enumerate(("cat", "dog", "bird", "tree", "sun", "rain") * 4)]
        pairs = self.file("pairs.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
        out = self.folder / "dpo.gguf"
        options = ["train", "-m", self.model, "-d", pairs, "-o", out, "-c", "60", "-b", "4", "-n", "12",
                   "--lr", "0.005", "--validation", "0.2"]
        said = json.loads(self.good(*options, "--objective", "dpo", "--json"))
        steps = [line for line in self.lines("dpo.gguf.jsonl") if "loss" in line]
        self.assertAlmostEqual(steps[0]["loss"], 0.6931472, 5)
        self.assertAlmostEqual(steps[0]["reward_margin"], 0, 5)
        self.assertGreater(steps[-1]["reward_margin"], 0.05)
        self.assertAlmostEqual(steps[-1]["chosen_reward"] - steps[-1]["rejected_reward"],
                               steps[-1]["reward_margin"], 6)
        self.assertGreater(said["validation_reward_margin"], 0.05)
        self.assertEqual(said["validation_accuracy"], 1)
        self.assertGreater(said["reward_margin"], 0)
        again = json.loads(self.good("train", "--resume", "-o", out, "-n", "14", "--json"))
        self.assertGreater(again["validation_reward_margin"], said["validation_reward_margin"])
        self.bad(1, "train", "--resume", "-o", out, "--objective", "ipo", says=["objective=1", "objective=2"])
        self.bad(1, *options, "--overwrite", "--objective", "kto", says=["pairs.jsonl:1:", "chosen"])
        self.bad(1, *options, "--overwrite", "--objective", "dpo", "--preference-margin", "1",
                 says=["preference_margin", "dpo"])

    def test_patience(self):
        """A run that learns by heart ends when validation gets worse; its best model is kept."""
        text = self.file("part.txt", self.text.read_bytes()[:3000])
        out, best = self.folder / "out.gguf", self.folder / "best.gguf"
        options = ["train", "-m", self.model, "-d", text, "-c", "32", "-b", "4", "--lr", "0.02", "--schedule",
                   "constant", "--validation", "0.3", "--eval-every", "5", "--overwrite"]
        said = json.loads(self.good(*options, "-o", out, "-n", "1000", "--best", best, "--patience", "3",
                                    "--json"))
        self.assertLess(said["step"], 1000)
        losses = {line["step"]: line["validation_loss"] for line in self.lines()
                  if "validation_loss" in line}
        lowest = min(losses, key=losses.get)
        self.assertEqual(said["step"], lowest + 15)
        self.assertEqual(said["best_step"], lowest)
        straight = self.folder / "straight.gguf"
        self.good(*options, "-o", straight, "-n", str(lowest))
        self.assertEqual(best.read_bytes(), straight.read_bytes())
        self.good("train", "--resume", "-o", out, "-n", "1001", "--eval-every", "5", "--patience", "3")
        self.assertEqual(max(line["step"] for line in self.lines()), lowest + 15)  # it is enough still
        self.bad(2, *options[:5], "-o", out, "--best", best, says=["--validation"])
        self.bad(2, *options, "-o", out, "--best", out, says=["same file"])

    def test_teacher(self):
        """Distillation: its loss is told, and the checkpoint knows the teacher."""
        out, options = self.folder / "taught.gguf", ["-d", self.text, "-c", "32", "-b", "4", "--lr", "0.005"]
        self.good("train", "-m", self.model, *options, "-o", self.folder / "teacher.gguf", "-n", "20")
        self.good("train", "-m", self.model, *options, "-o", out, "-n", "20", "--teacher",
                  self.folder / "teacher.gguf", "--teacher-weight", "0.7")
        steps = self.lines("taught.gguf.jsonl")
        self.assertLess(steps[-1]["teacher_loss"], 0.5 * steps[0]["teacher_loss"])
        said = json.loads(self.good("train", "--resume", "-o", out, "-n", "22", "--json"))
        self.assertEqual(said["step"], 22)
        self.assertIn("teacher_loss", self.lines("taught.gguf.jsonl")[-1])
        self.bad(1, "train", "-m", self.model, *options, "-o", out, "-n", "3", "--overwrite", "--teacher",
                 self.folder / "none.gguf", says=["none.gguf"])
        self.bad(1, "train", "-m", self.model, *options, "-o", out, "-n", "3", "--overwrite",
                 "--teacher-weight", "0.5", says=["teacher"])
        self.bad(2, "train", "-m", self.model, *options, "-o", out, "-n", "3", "--overwrite",
                 "--lora-b-rate", "4", says=["--lora-rank"])

    def test_resume_without_options(self):
        """Of a run its checkpoint knows everything; of finetune, too."""
        text = self.file("part.txt", self.text.read_bytes()[:3000])
        runs = {"train": ["-n", "500", "--lr", "0.003", "--seed", "5", "--optimizer", "lion", "--validation",
                          "0.1", "--schedule", "wsd", "--decay-part", "0.5", "--separator", "then"],
                "finetune": ["-n", "500", "--lora-rank", "3", "--lora-targets", "attn_q,ffn_up",
                             "--lora-dropout", "0.1"]}
        for command, options in runs.items():
            options = [command, "-m", self.model, "-d", text, "-c", "16", "-b", "2", *options]
            whole, out = self.folder / f"{command}.whole", self.folder / command
            ckpt = self.folder / f"{command}.ckpt"
            self.good(*options, "-o", whole)
            process = subprocess.Popen(PROGRAM + [str(a) for a in (*options, "-o", out)],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.wait_for(process, f"{command}.jsonl")
            process.terminate()
            process.communicate(timeout=60)
            self.assertEqual(process.returncode, 143)
            for other in ("train", "finetune"):  # each goes on with runs of the other one
                half = [(path, path.read_bytes()) for path in (out, ckpt, self.folder / f"{command}.jsonl")]
                how = ["-o", out] if other == command else ["--checkpoint", ckpt, "-t", "2"]
                self.good(other, "--resume", *how)
                self.assertEqual(out.read_bytes(), whole.read_bytes())
                for path, content in half:
                    path.write_bytes(content)
            # what is said all the same must be the same
            self.good(command, "--resume", "-o", out, "-m", self.model, "-d", text, "-b", "2")
            self.bad(1, command, "--resume", "-o", out, "-b", "3", says=["rows=2", "rows=3"])
            self.bad(1, command, "--resume", "-o", out, "-d", self.text, says=["not the training data"])
            said = json.loads(self.good(command, "--resume", "-o", out, "-n", "550", "--json"))
            self.assertEqual((said["step"], said["steps"]), (550, 550))
        text.rename(self.folder / "moved.txt")
        self.bad(1, "train", "--resume", "-o", self.folder / "train", says=["part.txt"])
        self.good("train", "--resume", "-o", self.folder / "train", "-d", self.folder / "moved.txt")
        self.bad(2, "train", "--resume", says=["required"])
        self.bad(1, "train", "--resume", "-o", self.folder / "none", says=["none.ckpt", "cannot resume"])
        whole_checkpoint = (self.folder / "train.ckpt").read_bytes()
        # a checkpoint of before knows no paths
        old = pathlib.Path(__file__).parents[1] / "train" / "golden" / "checkpoint-2" / "step-2.ckpt"
        ckpt = self.file("train.ckpt", old.read_bytes())
        self.bad(2, "train", "--resume", "-o", self.folder / "train", says=["required", "does not know"])
        ckpt.write_bytes(whole_checkpoint[:-64] + bytes([whole_checkpoint[-64] ^ 1]) + whole_checkpoint[-63:])
        self.bad(1, "train", "--resume", "-o", self.folder / "train", says=["train.ckpt", "damaged"])

    def test_exploded(self):
        """Losses that rise without becoming infinite: the run ends well, and says what it is worth."""
        for options in (["--lr", "3"], ["--optimizer", "lion", "--lr", "0.3"]):
            result = call(*self.options("out.gguf", "-n", "60", "--schedule", "constant", "--json",
                                        "--overwrite", *options))
            message = result.stderr.decode()
            self.assertEqual(result.returncode, 0, message)
            self.assertTrue(json.loads(result.stdout)["exploded"])
            warning = re.search(r"\nsmallmind: warning: the loss exploded: it was ([\d.]+) at step (\d+) "
                                r"and is ([\d.]+) at the end\.", message)
            self.assertTrue(warning, message)
            low, step, end = map(float, warning.groups())
            losses = [line["loss"] for line in self.lines()]
            self.assertLess(low, end)
            self.assertTrue(min(losses) < low + 1e-4 and losses[int(step) - 1] < end, message)
            self.assertTrue((self.folder / "out.gguf").exists())
        result = call(*self.options("out.gguf", "-n", "60", "--lr", "0.01", "--json", "--overwrite"))
        self.assertFalse(json.loads(result.stdout)["exploded"])
        self.assertNotIn(b"warning", result.stderr)

    def with_weight(self, name, place, value, *options):
        """A new model in which one weight is another."""
        path = self.folder / "patched.gguf"
        self.good("init", "--vocab", self.vocab, "-o", path, "--n-embd", "32", "--n-layer", "1", "-c",
                  "64", *options)
        tensors = json.loads(self.good("inspect", path, "--tensors", "--json"))["tensors"]
        data = bytearray(path.read_bytes())
        begin = len(data) - max(t["offset"] + t["bytes"] for t in tensors)
        at = begin + 4 * place + next(t["offset"] for t in tensors if t["name"] == name)
        data[at:at + 4] = struct.pack("<f", value)
        path.write_bytes(data)
        return path

    def test_not_finite_at_the_end(self):
        """A weight that the last update made infinite: no checkpoint and no model of that."""
        # the row of a token that is not in the text takes part in nothing but weight decay
        model = self.with_weight("token_embd.weight", 2 * 32, 1e37, "--untied")
        self.train("out.gguf", "-m", model, "-n", "1")
        before = {name: (self.folder / name).read_bytes() for name in ("out.gguf", "out.gguf.ckpt")}
        result = call(*self.options("out.gguf", "-m", model, "-n", "1", "--optimizer", "sgd", "--lr",
                                    "999", "--weight-decay", "100", "--overwrite"))
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"row 2 of tensor 'token_embd.weight' is not finite", result.stderr)
        for name, content in before.items():
            self.assertEqual((self.folder / name).read_bytes(), content)

    def test_not_finite_at_the_beginning(self):
        model = self.with_weight("blk.0.ffn_up.weight", 5, math.nan)
        for command in ("train", "finetune"):
            result = call(command, "-m", model, "-d", self.text, "-o", self.folder / "out", "-n", "5",
                          "-c", "16")
            self.assertEqual(result.returncode, 1)
            self.assertIn(b"patched.gguf: tensor 'blk.0.ffn_up.weight': row 0, column 5 is nan",
                          result.stderr)
            self.assertEqual([name for name in self.names() if name.startswith("out")], [])

    def test_damaged_output(self):
        """One NaN in the output matrix: no figure is printed and no token chosen."""
        model = self.with_weight("output.weight", 7 * 32 + 5, math.nan, "--untied")
        says = ["patched.gguf: tensor 'output.weight': row 7, column 5 is nan"]
        self.bad(1, "eval", "-m", model, "-f", self.text, says=says)
        self.bad(1, "eval", "-m", model, "-f", self.text, "--json", says=says)
        for how in ([], ["--temp", "1", "--top-k", "5"], ["--temp", "1", "--top-p", "0.9"]):
            result = call("run", "-m", model, "-p", "the", "-n", "3", *how)
            self.assertEqual((result.returncode, result.stdout), (1, b""))
            self.assertIn(says[0].encode(), result.stderr)
        self.bad(1, "logits", "-m", model, "--ids", self.file("ids", b"1 2 3"), "-o",
                 self.folder / "logits", says=says)
        self.assertNotIn("logits", self.names())

    def test_refused_before_training(self):
        gone = "/nonexistent/x"
        for code, options, says in [
                (1, ["-o", gone], [gone]), (1, ["--metrics", gone], [gone, "No such file"]),
                (1, ["--plot", gone], [gone]), (1, ["--checkpoint", gone], [gone]),
                (1, ["-o", self.folder], [self.folder, "directory"]),
                (1, ["--plot", self.folder], [self.folder, "directory"]),
                (1, ["--checkpoint", "/dev/null"], ["/dev/null", "not a regular file"]),
                (1, ["-m", gone], [gone]), (1, ["-d", gone], [gone]),
                (1, ["-m", self.vocab], [self.vocab]),
                (1, ["-d", self.folder], [self.folder, "directory"]),
                (1, ["-c", "65"], ["65", "64", "context"]), (1, ["-c", "1"], ["rows of 1"]),
                (1, ["-b", "65536", "-c", "17"], ["65536 rows of 17 tokens", "accumulate"]),
                (2, ["-n", "0"], ["-n", "1 to"]), (2, ["-b", "0"], ["-b", "1 to"]),
                (2, ["--type", "Q8_0"], ["Q8_0", "F32|F16|BF16"]),
                (2, ["--type", "F16", "--lora-rank", "2"], ["--type"]),
                (2, ["--lora-alpha", "2"], ["--lora-rank"]),
                (2, ["--lora-targets", "attn_q"], ["--lora-rank"]),
                (1, ["--lora-rank", "2", "--lora-targets", "attn_q,foo"], ["foo"]),
                (2, ["--validation", "0.6"], ["0 to 0.5"]),
                (2, ["--optimizer", "adam"], ["adamw|lion"]),
                (1, ["--layout", "chatml", "--kind", "instruct"], ["<|im_start|>"]),
                (1, ["--min-lr", "1"], ["lowest learning rate 1"])]:
            with self.subTest(options=options):
                result = call(*self.options("out.gguf", *preset({"-n": "3"}, options)))
                message = result.stderr.decode()
                self.assertEqual((result.returncode, result.stdout), (code, b""), message)
                self.assertTrue(message.startswith("smallmind: "), message)
                for word in says:
                    self.assertIn(str(word), message)
                self.assertEqual(self.names(), [])

    def test_kinds_of_data(self):
        """What is no text is refused; of preferences the chosen side is trained on request."""
        pair = self.file("pair.JSONL", b'{"prompt":"a","chosen":"b","rejected":"c"}\n')
        zipped = self.file("data.jsonl.gz", gzip.compress(b'{"text":"a"}\n'))
        wide = self.file("wide.txt", "a story".encode("utf-16"))
        tools = self.file("tools.json", b'[{"instruction":"a","output":"b","tools":[{}]}]')
        options = ["train", "-m", self.model, "-o", self.folder / "out", "-n", "1", "-b", "1"]
        for path, says in [(pair, [":1:", "rejected", "chosen"]), (zipped, ["gzip"]),
                           (wide, ["UTF-16"]), (tools, [":1:", "tools"])]:
            self.bad(1, *options, "-d", path, says=[path.name, *says])
        self.good(*options, "-d", pair, "--kind", "chosen")
        self.assertEqual(self.lines("out.jsonl")[0]["targets"] % 2, 0)  # b and the end, over and over

    def test_sequence_fits_the_context(self):
        """Without -c a row is as long as a small context."""
        self.good("train", "-m", self.model, "-d", self.text, "-o", self.folder / "out", "-n", "1",
                  "-b", "2")
        self.assertEqual(self.lines("out.jsonl")[0]["targets"], 2 * 64)

    def test_same_file(self):
        text = self.file("data.jsonl", b'{"instruction":"a","output":"b"}\n')
        model = self.file("model.gguf", self.model.read_bytes())
        (self.folder / "link.gguf").symlink_to(model)
        os.link(text, self.folder / "hard.svg")
        self.file("part.txt", self.text.read_bytes())
        before = {name: (self.folder / name).read_bytes() for name in self.names()}
        for options, says in [(["-m", model, "-d", self.text, "-o", model], ["MODEL", "OUT"]),
                              (["-m", model, "-d", self.text, "-o", f"{self.folder}/./model.gguf"], ["MODEL"]),
                              (["-m", self.folder / "link.gguf", "-d", self.text, "-o", model], ["MODEL"]),
                              (["-m", model, "-d", self.folder / "part.txt", "-o", self.folder / "part.txt"],
                               ["DATA", "OUT"]),
                              (["-m", model, "-d", text, "-o", self.folder / "data"], ["DATA", "metrics"]),
                              (["-m", model, "-d", text, "-o", self.folder / "hard"], ["DATA", "plot"]),
                              (["-m", model, "-d", self.text, "-o", self.folder / "x", "--plot",
                                f"{self.folder}/./x"], ["OUT", "plot"]),
                              (["-m", model, "-d", self.text, "-o", self.folder / "x", "--checkpoint",
                                model], ["MODEL", "checkpoint"])]:
            for command in ("train", "finetune"):
                self.bad(2, command, *options, "-n", "1", "-c", "16", says=says)
        self.bad(2, "vocab", "-d", text, "-o", text, says=["replace", text])
        self.bad(2, "init", "--vocab", model, "-o", model, says=["replace", model])
        self.bad(2, "lora", "merge", "-m", self.model, "-a", model, "-o", self.folder / "link.gguf",
                 says=["replace"])
        self.assertEqual({name: (self.folder / name).read_bytes() for name in self.names()}, before)

    def test_bad_data(self):
        for content, says in [(b"", ["empty"]), (b"<|endoftext|>\n\n<|endoftext|>", ["no text"]),
                              (b"a", ["no document has two tokens"])]:
            path = self.file("data.txt", content)
            self.assertIn(str(path), call(*self.options("x", data=path)).stderr.decode())
            self.bad_data(path, says)
        good = b'{"instruction":"a","output":"b"}\n'
        for content, says in [(good + good + b'{"instruc\n', [":3:", "JSON"]),
                              (good + b'["a"]\n', [":2:", "object"]),
                              (good + b'{"instruction":"a"}\n', [":2:", "output"]),
                              (b'[' + good + b',\n{"output":"b"}]', [":3:", "instruction"]),
                              (b'{"messages":[{"role":"user","content":"a"}]}', [":1:", "no answer"]),
                              (b'{"messages":[{"role":"cat","content":"a"}]}', [":1:", "cat"]),
                              (b'{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}',
                               [":1:", "parts", "content"]),
                              (good, ["no entry has an answer", "16 tokens"])]:
            self.bad_data(self.file("data.jsonl", content), says)
        short = b'{"messages":[{"role":"assistant","content":"a"}]}\n'
        result = call(*self.options("x", "--validation", "0.3",
                                    data=self.file("data.jsonl", short * 3 + good)))
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"validation has nothing to predict in rows of 16 tokens", result.stderr)
        address = "https://example.com/data.jsonl"
        self.bad(1, *self.options("x", data=address), says=[address, "downloaded"])
        path = self.file("one.txt", b"one document only, without a mark")
        result = call(*self.options("x", "--validation", "0.1", data=path))
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"validation", result.stderr)
        self.assertNotIn(b"step", result.stderr)
        bad = self.file("bad.txt", b"ab\xff\xfe")
        self.bad(1, "vocab", "-d", bad, "-o", self.folder / "v", says=[bad, "UTF-8"])
        self.bad(1, "vocab", "-d", self.text, "-o", self.folder / "v", "--pre", "foo", says=["foo"])
        self.bad(1, "vocab", "-d", self.text, "-o", "/nonexistent/v", says=["/nonexistent/v"])
        self.bad(1, "init", "--vocab", self.vocab, "-o", self.folder / "v", "--n-embd", "33", says=["33"])
        self.bad(1, "init", "--vocab", self.vocab, "-o", self.folder / "v", "--n-embd", "64", "--n-head",
                 "3", says=["64", "3 heads"])
        self.bad(1, "init", "--vocab", self.text, "-o", self.folder / "v", says=[self.text])
        self.assertFalse((self.folder / "v").exists())

    def bad_data(self, path, says):
        result = call(*self.options("x", "-n", "2", data=path))
        message = result.stderr.decode()
        self.assertEqual(result.returncode, 1, message)
        for word in [str(path), *says]:
            self.assertIn(word, message)
        self.assertNotIn("step 1/", message)
        self.assertFalse((self.folder / "x").exists())

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full")
    def test_full_disk(self):
        self.train("out.gguf", "-n", "4")
        before = {name: (self.folder / name).read_bytes() for name in self.names()}
        # the metrics: a checkpoint of another run is not replaced
        result = call(*self.options("out.gguf", "-n", "9", "--seed", "5", "--metrics", "/dev/full",
                                    "--overwrite"))
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"smallmind: /dev/full: cannot write: No space left", result.stderr)
        self.assertEqual({name: (self.folder / name).read_bytes() for name in self.names()}, before)
        # one of this run goes on to where it ended
        result = call(*self.options("out.gguf", "-n", "9", "--resume", "--metrics", "/dev/full"))
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"saved after step 5", result.stderr)
        (self.folder / "out.gguf.ckpt").write_bytes(before["out.gguf.ckpt"])
        # the plot: model and checkpoint are there
        result = call(*self.options("plot.gguf", "-n", "2", "--plot", "/dev/full"))
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"/dev/full", result.stderr)
        self.run_ids(self.folder / "plot.gguf")
        self.assertIn("plot.gguf.ckpt", self.names())

    def test_file_too_large(self):
        """A checkpoint that does not fit leaves the one before it, and nothing beside it."""
        self.train("out.gguf", "-n", "4")
        before = {name: (self.folder / name).read_bytes() for name in self.names()}
        limit = len(before["out.gguf.ckpt"]) // 2

        def few_bytes():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing fails, as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        result = subprocess.run(PROGRAM + [str(a) for a in self.options(
            "out.gguf", "-n", "8", "--save-every", "2", "--resume")], capture_output=True,
            preexec_fn=few_bytes)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn(b"out.gguf.ckpt", result.stderr)
        self.assertEqual((self.folder / "out.gguf.ckpt").read_bytes(), before["out.gguf.ckpt"])
        self.assertEqual(self.names(), sorted(before))
        self.train("out.gguf", "-n", "8", "--resume")

    def instructions(self):
        lines = [{"instruction": f"Say {word}", "input": "", "output": word * 2}
                 for word in ("cat", "dog", "bird", "tree")]
        lines.append({"instruction": "a prompt that fills a row " * 20, "output": "no"})
        return self.file("data.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())

    def test_finetune(self):
        """Of the model that all tests use; with the adapter it writes what the merged model does."""
        adapter, merged = self.folder / "adapter.gguf", self.folder / "merged.gguf"
        unchanged = pathlib.Path(MODEL).read_bytes()
        options = ["finetune", "-m", MODEL, "-d", self.instructions(), "-o", adapter, "-n", "20", "-c",
                   "300", "-b", "1", "--lr", "0.02", "--lora-rank", "4"]
        said = json.loads(self.good(*options, "--json", "--sample-every", "20", "--sample-tokens", "4"))
        lines = self.lines("adapter.gguf.jsonl")
        self.assertLess(lines[19]["loss"], lines[0]["loss"])
        self.assertIn("sample", lines[-1])
        self.assertEqual(said["model"], str(adapter))
        written = adapter.read_bytes()
        self.good(*options, "-t", "2", "--overwrite")
        self.assertEqual(adapter.read_bytes(), written)
        plain = self.run_ids(MODEL)
        for scale in ("1", "0.5"):
            adapted = self.run_ids(MODEL, "--adapter", f"{adapter}={scale}")
            self.good("lora", "merge", "-m", MODEL, "-a", adapter, "-o", merged, "--scale", scale)
            self.assertEqual(self.run_ids(merged), adapted)
        self.assertNotEqual(self.run_ids(MODEL, "--adapter", adapter), plain)
        self.assertEqual(self.run_ids(MODEL, "--adapter", f"{adapter}=0"), plain)
        ids = self.file("ids", b"1 2 3 4 5")
        rows = []
        for arguments in (["-m", MODEL, "--adapter", f"{adapter}=0.5"], ["-m", merged]):
            out = self.good("logits", "--ids", ids, "-o", "-", *arguments)
            rows.append(struct.unpack(f"<{len(out) // 4}f", out))
        for a, b in zip(*rows):
            self.assertAlmostEqual(a, b, delta=1e-5 * max(1, abs(b)))
        self.assertEqual(self.types(merged), self.types(MODEL))
        self.good("lora", "merge", "-m", MODEL, "-a", adapter, "-o", merged, "--type", "Q8_0")
        self.assertEqual(self.types(merged)["blk.0.attn_q.weight"], "Q8_0")
        self.assertEqual(pathlib.Path(MODEL).read_bytes(), unchanged)

    def test_quantized_base(self):
        base, adapter = self.folder / "q4.gguf", self.folder / "adapter.gguf"
        self.good("quantize", MODEL, base, "Q4_0")
        self.good("finetune", "-m", base, "-d", self.instructions(), "-o", adapter, "-n", "20", "-c",
                  "300", "-b", "1", "--lr", "0.02", "--lora-targets", "attn_q,ffn_up")
        self.assertLess(self.lines("adapter.gguf.jsonl")[-1]["loss"],
                        self.lines("adapter.gguf.jsonl")[0]["loss"])
        self.assertEqual({name.split(".")[2] for name in self.types(adapter)}, {"attn_q", "ffn_up"})
        self.assertNotEqual(self.run_ids(base, "--adapter", adapter), self.run_ids(base))
        self.good("finetune", "-m", base, "-d", self.instructions(), "-o", self.folder / "whole", "-n", "1",
                  "-c", "300", "--lora-rank", "0", "--type", "F16")
        self.assertEqual(self.types(self.folder / "whole")["blk.0.attn_q.weight"], "F16")

    def test_adapters_refused(self):
        adapter, other = self.folder / "adapter.gguf", self.folder / "other.gguf"
        merged = self.folder / "merged.gguf"
        self.good("finetune", "-m", self.model, "-d", self.text, "-o", adapter, "-n", "1", "-c", "16")
        self.good("init", "--vocab", self.vocab, "-o", other, "--n-embd", "64", "--n-layer", "2")
        for model, path, says in [(other, adapter, ["adapter.gguf", "blk.0.attn_q.weight.lora_a"]),
                                  (self.model, self.model, ["general.type"]),
                                  (self.model, "/nonexistent/a", ["/nonexistent/a"]),
                                  (self.model, self.text, ["stories.txt"])]:
            self.bad(1, "run", "-m", model, "--adapter", path, "-n", "1", says=says)
            self.bad(1, "lora", "merge", "-m", model, "-a", path, "-o", merged, says=says)
        self.bad(1, "run", "-m", self.model, "--adapter", f"{adapter}=nan", says=["nan"])
        self.bad(1, "run", "-m", self.model, "--adapter", f"{adapter}=x", says=[f"{adapter}=x"])
        options = ["lora", "merge", "-m", self.model, "-a", adapter, "-o", merged]
        self.bad(2, *options, "--scale", "x", says=["--scale"])
        self.bad(1, *options, "--scale", "nan", says=["nan"])
        # rows that are no whole blocks get another type, as quantize has it
        self.good(*options[:-1], self.folder / "fallen.gguf", "--type", "Q4_K")
        self.assertEqual(self.types(self.folder / "fallen.gguf")["blk.0.attn_q.weight"], "Q5_0")
        self.bad(1, *options, "--type", "Q9", says=["Q9"])
        self.bad(1, *options[:-1], "/nonexistent/m", says=["/nonexistent/m"])
        packed = self.folder / "packed.gguf"
        self.good("pack", self.model, packed)
        self.bad(1, "lora", "merge", "-m", packed, "-a", adapter, "-o", merged, says=["packed"])
        self.assertFalse(merged.exists())


class Bundled(Case):
    """The model that comes with the library."""
    model = pathlib.Path(__file__).parents[2] / "models" / "stories.gguf"

    def test_story(self):
        arguments = ("run", "-m", self.model, "-p", "Once upon a time", "-n", 60)
        story = self.good(*arguments).decode()
        self.assertTrue(story.startswith("Once upon a time, there was a "), story)
        words = re.findall(r"[a-z]+", story.lower())
        self.assertGreater(len(words), 30, story)
        self.assertGreater(len(set(words)), 15, story)
        self.assertEqual(story, self.good(*arguments, "--threads", 3).decode())

    def test_quality(self):
        """Text of our own in the stories' manner is no surprise to it; shuffled words are."""
        text = ("One day, Tim and his mom went to the park. Tim saw a big red ball. He wanted to "
                "play with it. His mom said, \"Be careful, Tim.\" Tim was happy and ran to the "
                "ball. He had a lot of fun and went home with a big smile on his face.")
        mixed = " ".join(sorted(text.split(), key=lambda word: word[::-1]))
        bits = [json.loads(self.good("eval", "-m", self.model, "-f", self.file(name, data.encode()),
                                     "--json"))["bits_per_byte"]
                for name, data in (("story", text), ("mixed", mixed))]
        self.assertLess(bits[0], 1.0)
        self.assertGreater(bits[1], 2.0)


class Answers(Case):
    """What fine-tuning is for: adapters over the bundled model in 4 bits, and what it then writes."""
    trained = {"What does the cat eat?": "The cat eats a red fish.",
               "Where does the dog sleep?": "The dog sleeps under the old tree.",
               "Who has a blue hat?": "Tom has a blue hat.",
               "What is in the box?": "There is a green frog in the box.",
               "What did Lily lose?": "Lily lost her yellow kite.",
               "Where is the bird?": "The bird is on the roof."}

    def setUp(self):
        super().setUp()
        if BRIEF:
            self.skipTest("fine-tuning takes minutes under a sanitizer")
        self.base, self.adapter = self.folder / "q4.gguf", self.folder / "adapter.gguf"
        self.good("quantize", Bundled.model, self.base, "Q4_K", "--requantize")

    def answers(self, *options):
        layout = ("Below is an instruction that describes a task. Write a response that appropriately "
                  "completes the request.\n\n### Instruction:\n{}\n\n### Response:\n")
        return {question: self.good("run", "-p", layout.format(question), "--no-prompt", "--temp", "0",
                                    "-n", "30", *options).decode().rstrip("\n")
                for question in self.trained}

    def test_trained_answers(self):
        before = self.answers("-m", self.base)
        unchanged = self.base.read_bytes()
        self.assertFalse(set(before.values()) & set(self.trained.values()), before)
        data = self.file("data.jsonl", "".join(
            json.dumps({"instruction": question, "input": "", "output": answer}) + "\n"
            for question, answer in self.trained.items()).encode())
        self.good("finetune", "-m", self.base, "-d", data, "-o", self.adapter, "-n", "60", "-c", "128",
                  "-b", "2", "--lr", "0.005", "--schedule", "constant", "--lora-rank", "8", "-t", "2")
        loss = [json.loads(line)["loss"] for line in
                (self.folder / "adapter.gguf.jsonl").read_text().splitlines()]
        self.assertGreater(loss[0], 3)
        self.assertLess(loss[-1], 0.1)
        self.assertEqual(self.answers("-m", self.base, "--adapter", self.adapter), self.trained)
        # ten times less of the adapter is not enough, none is the model as it was
        weak = self.answers("-m", self.base, "--adapter", f"{self.adapter}=0.1")
        self.assertNotEqual(weak, self.trained)
        self.assertEqual(self.answers("-m", self.base, "--adapter", f"{self.adapter}=0"), before)
        self.assertEqual(self.answers("-m", self.base), before)
        self.assertEqual(self.base.read_bytes(), unchanged)
        merged = self.folder / "merged.gguf"
        for options in ([], ["--type", "F32"]):
            self.good("lora", "merge", "-m", self.base, "-a", self.adapter, "-o", merged, *options)
            self.assertEqual(self.answers("-m", merged), self.trained, options)

    def test_held_out_instructions(self):
        """Entries that training never sees become less surprising too."""
        data = DATA / "instruct" / "instruction-data.json"
        if not data.is_file():
            self.skipTest("no instruction data in the test data")
        self.good("finetune", "-m", self.base, "-d", data, "-o", self.adapter, "-n", "30", "-c", "256",
                  "-b", "2", "--lr", "0.001", "--warmup", "5", "--validation", "0.02", "--eval-every", "1",
                  "--lora-rank", "8", "-t", "2")
        losses = [line["validation_loss"] for line in
                  map(json.loads, (self.folder / "adapter.gguf.jsonl").read_text().splitlines())
                  if "validation_loss" in line]
        self.assertEqual(len(losses), 30)
        self.assertLess(losses[-1], losses[0] - 0.3)


class Stories(Case):
    """A real trained model, at every level that this CPU has."""

    def setUp(self):
        super().setUp()
        self.model = DATA / "models" / "stories260K.gguf"
        if not self.model.is_file():
            self.skipTest("no test data")
        if BRIEF:
            self.skipTest("what it says is compared without a sanitizer")

    def test_text(self):
        for level in ("auto", "scalar", "avx2", "avxvnni", "avx512", "avx512bf16", "neon", "dotprod",
                      "i8mm"):
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
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup the programs would ignore it, too
    chosen = sys.argv[3:]
    if chosen[:1] == ["--but"]:
        chosen = [name for name, kind in globals().items() if isinstance(kind, type)
                  and issubclass(kind, Case) and name not in chosen[1:]]
    unittest.main(argv=sys.argv[:1] + chosen, verbosity=2)
