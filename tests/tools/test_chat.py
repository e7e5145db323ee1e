#!/usr/bin/env python3
"""`smallmind chat`: turns from a pipe and from a terminal, its commands, JSON, and real models.

Usage: test_chat.py PROGRAM MODEL [TEST]...

MODEL is a small model with a vocabulary and random weights. The class Real takes the models that
scripts/real_models.sh fetched, from the folder SM_REAL_MODELS; without that it is skipped.
"""
import fcntl
import json
import os
import pathlib
import pty
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import termios
import time
import unittest

PROGRAM = shlex.split(os.environ.get("SM_WRAPPER", "")) + [sys.argv[1]]
MODEL = sys.argv[2]
EDITED = b"stifle_history" in pathlib.Path(PROGRAM[-1]).read_bytes()
TEMPLATE = ("{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}"
            "{% if add_generation_prompt %}[assistant]{% endif %}")


class Case(unittest.TestCase):
    model = MODEL

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.template = self.file("template.jinja", TEMPLATE)

    def file(self, name, text):
        path = pathlib.Path(self.folder.name, name)
        path.write_text(text)
        return str(path)

    def chat(self, lines, *options, code=0):
        done = subprocess.run(PROGRAM + ["chat", "-m", self.model, *options],
                              input="".join(line + "\n" for line in lines).encode(),
                              capture_output=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stderr.decode(errors="replace"))
        return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


class Pipe(Case):
    def short(self, lines, *options, **more):
        return self.chat(lines, "--template", self.template, "-n", "8", "--ignore-end",
                         *options, **more)

    def objects(self, lines, *options):
        out, _ = self.short(lines, "--json", *options)
        return [json.loads(line) for line in out.splitlines()]

    def test_turns(self):
        objects = self.objects(["Hello", "And more"])
        ends = [o for o in objects if "finish_reason" in o]
        self.assertEqual([o["finish_reason"] for o in ends], ["length", "length"])
        self.assertGreater(ends[1]["usage"]["cached_tokens"], 0)
        said = "".join(o["delta"].get("content", "") for o in objects if "delta" in o)
        self.assertEqual(said, "".join(o["message"]["content"] for o in ends))
        plain, _ = self.short(["Hello"])
        self.assertEqual(plain.rstrip("\n"), ends[0]["message"]["content"].rstrip("\n"))

    def test_commands(self):
        saved = pathlib.Path(self.folder.name, "saved.json")
        out, err = self.short(["/help", "/image cat.png", "/nothing", "/regen", "/system Be brief.",
                               "Hello", f"/save {saved}", "/regen", f"/load {saved}", "/load none",
                               "/quit", "not read"])
        for text in ("/system [TEXT]", "images are not read", "/nothing: no such command",
                     "nothing was asked yet", "none:"):
            self.assertIn(text, err)
        messages = json.loads(saved.read_text())
        self.assertEqual([m["role"] for m in messages], ["system", "user", "assistant"])
        self.assertEqual(messages[0]["content"], "Be brief.")
        answer = messages[2]["content"].strip()
        self.assertEqual(out.count(answer), 2, out)  # /regen says the same, greedily

    def test_message_lines(self):
        result = json.dumps({"role": "tool", "content": "7", "name": "x"})
        objects = self.objects([result])
        self.assertEqual(len([o for o in objects if "finish_reason" in o]), 1)

    def test_context_full(self):
        out, err = self.chat(["Hello"], "--template", self.template, "--ignore-end", "-c", "48")
        self.assertIn("the context is full", err)

    # A summary of the model's takes the place of what was said: between turns and inside answers.
    def test_summary(self):
        saved = os.path.join(self.folder.name, "saved.json")
        system = ["--system", "Be kind."]
        out, err = self.chat([f"Turn {i}" for i in range(12)] + [f"/save {saved}"],
                             "--template", self.template, "-n", "8", "--ignore-end", "-c", "384",
                             "--context-full", "ask", "--json", *system)
        ends = [json.loads(line) for line in out.splitlines() if "finish_reason" in line]
        self.assertEqual([e["finish_reason"] for e in ends], ["length"] * 12)
        self.assertIn("a summary takes the place of", err)
        self.assertTrue(all(e["usage"]["completion_tokens"] == 8 for e in ends))
        # nothing of the conversation itself is lost
        self.assertEqual(len(json.loads(pathlib.Path(saved).read_text())), 25)
        out, err = self.chat(["Hello", "Go on"], "--template", self.template, "-n", "500",
                             "--ignore-end", "-c", "384", "--context-full", "ask", "--json")
        ends = [json.loads(line) for line in out.splitlines() if "finish_reason" in line]
        self.assertEqual([e["usage"]["completion_tokens"] for e in ends], [500] * 2)
        self.assertEqual(err.count("a summary takes the place of 2 messages"), 1)
        self.assertIn("tokens of the answer are dropped", err)
        _, err = self.chat(["word " * 400], "--template", self.template, "-c", "128",
                           "--context-full", "ask", code=1)
        self.assertIn("too small for the last message", err)

    def test_wrong(self):
        _, err = self.chat([], "--tools", self.file("tools.json", "{}"), code=1)
        self.assertIn("not a JSON array", err)
        _, err = self.chat([], "--template", self.file("bad.jinja", "{% for %}"), code=1)
        self.assertIn("line 1", err.replace(":1:", " line 1 "))
        _, err = self.chat([], "--template", "no-such-layout", code=1)
        self.assertIn("no-such-layout", err)


class Typed(Case):
    """The program at a terminal of its own."""
    options = ["--ignore-end", "-n", "4"]

    def setUp(self):
        super().setUp()
        try:
            self.ours, theirs = pty.openpty()
        except OSError as error:
            self.skipTest(f"no pseudo-terminal: {error}")
        self.process = subprocess.Popen(
            PROGRAM + ["chat", "-m", MODEL, "--template", self.template, *self.options],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)
        self.seen = b""

    def tearDown(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)

    def until(self, text, start=0):
        end = time.monotonic() + 60
        while text not in self.seen[start:]:
            self.assertLess(time.monotonic(), end, self.seen[-400:])
            if select.select([self.ours], [], [], 1)[0]:
                try:
                    self.seen += os.read(self.ours, 65536)
                except OSError:  # the other end is closed
                    break
        self.assertIn(text, self.seen[start:], self.seen[-400:])

    def type(self, keys, text=b"tokens/s"):
        """Types, and waits for what shows that it was done."""
        at = len(self.seen)
        os.write(self.ours, keys)
        self.until(text, at)
        return self.seen[at:]

    def ready(self, text):
        """Waits for the prompt after a text, and until single keys are read: a Ctrl-D before that
        would be lost, and a Ctrl-C flush what is shown."""
        self.until(b"> ", self.seen.rindex(text))
        end = time.monotonic() + 60
        while EDITED and termios.tcgetattr(self.ours)[3] & termios.ICANON:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def said(self):
        """What the conversation holds: roles and contents."""
        path = pathlib.Path(self.folder.name, "said.json")
        path.unlink(missing_ok=True)
        os.write(self.ours, b"/save " + bytes(path) + b"\n")
        self.type(b"/save\n", b"needs the name")
        self.ready(b"needs the name")
        return [(m["role"], m["content"]) for m in json.loads(path.read_text())]

    def quit(self):
        os.write(self.ours, b"/quit\n")
        self.assertEqual(self.process.wait(60), 0)


class Terminal(Typed):
    """Turns of several lines, commands, reasoning, Ctrl-C at the prompt."""

    def test_lines(self):
        self.until(b"> ")
        self.type(b"one \\\n", b"... ")
        self.type(b"two\n")
        self.assertEqual([s for s in self.said() if s[0] == "user"], [("user", "one \ntwo")])
        self.type(b"/system Be brief.\n", b"> ")
        self.type(b'"""\n', b"... ")
        self.type(b"a\n", b"... ")
        self.type(b"\n", b"... ")
        self.type(b"b\\\n", b"... ")
        stats = self.type(b'"""\n')
        self.assertRegex(stats, rb"\[4 tokens, [0-9.]+ tokens/s, context \d+ of \d+")
        self.assertEqual(self.said()[:2], [("system", "Be brief."), ("user", "a\n\nb\\\n")])
        self.quit()

    def test_commands(self):
        self.until(b"> ")
        self.type(b"Hello\n")
        first = self.said()
        self.assertEqual([role for role, _ in first], ["user", "assistant"])
        self.type(b"/regen\n")
        self.assertEqual(self.said(), first)
        self.type(b"More\n")
        self.assertEqual(len(self.said()), 4)
        path = self.file("load.json", json.dumps([{"role": "user", "content": "x"},
                                                  {"role": "assistant", "content": "y"}]))
        os.write(self.ours, b"/load " + path.encode() + b"\n")
        self.assertEqual(self.said(), [("user", "x"), ("assistant", "y")])
        self.type(b"/nothing\n", b"no such command")
        self.ready(b"no such command")
        self.type(b"\x03", b"> ")  # at the prompt: the line is given up, the program goes on
        self.type(b"Again\n")
        self.assertEqual(self.said()[2], ("user", "Again"))
        os.write(self.ours, b"\x04")
        self.assertEqual(self.process.wait(60), 0)

    def test_terminated(self):
        self.until(b"> ")
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(60), 128 + signal.SIGTERM)

    @unittest.skipUnless(EDITED, "built without libedit")
    def test_editing(self):
        self.until(b"> ")
        self.type(b"Hellp\x7fo\n")
        self.type(b"\x1b[A\x01Oh \n")  # the line before, with something in front of it
        self.assertEqual([text for role, text in self.said() if role == "user"],
                         ["Hello", "Oh Hello"])
        self.quit()


class Reasoning(Typed):
    def file(self, name, text):
        return super().file(name, text.replace("[assistant]", "[assistant]<think>"))

    def test_dimmed(self):
        self.until(b"> ")
        answer = self.type(b"Hello\n")
        self.assertIn(b"\x1b[2m", answer.split(b"tokens/s")[0].rsplit(b"[4 tokens", 1)[0])
        self.quit()


class Endless(Typed):
    options = ["--ignore-end", "--context-full", "slide"]

    def test_interrupt(self):
        self.until(b"> ")
        os.write(self.ours, b"Hello\n")
        while len(self.seen) < 2000:  # the answer goes on forever
            self.seen += os.read(self.ours, 65536)
        at = len(self.seen)
        os.write(self.ours, b"\x03")
        self.until(b"stopped", at)
        self.until(b"tokens/s", at)
        os.write(self.ours, b"/image x\n")
        self.until(b"images are not read", at)
        os.write(self.ours, b"/quit\n")
        self.assertEqual(self.process.wait(60), 0)


class Real(Case):
    def setUp(self):
        super().setUp()
        self.model = str(pathlib.Path(os.environ.get("SM_REAL_MODELS", "/nowhere"),
                                      "smollm2-135m-instruct.gguf"))
        if not pathlib.Path(self.model).exists():
            self.skipTest("no real models: scripts/real_models.sh DIR, SM_REAL_MODELS=DIR")

    # The template puts a system message of its own in front where there is none, with which these
    # weights begin with "Il" (27.26, "The": 27.14, computed in f64 by another program): an empty one.
    def test_capital(self):
        out, _ = self.chat(["What is the capital of Italy?"], "--system", "", "-n", "20")
        self.assertEqual(out.strip(), "The capital of Italy is Rome.")

    def test_turns(self):
        out, _ = self.chat(["What is the capital of Italy?", "And of France?"], "--json", "-n", "60",
                           "--system", "")
        ends = [json.loads(line) for line in out.splitlines() if "finish_reason" in json.loads(line)]
        self.assertIn("Rome", ends[0]["message"]["content"])
        self.assertIn("Paris", ends[1]["message"]["content"])
        self.assertGreater(ends[1]["usage"]["cached_tokens"], 20)

    # Fifty sentences, and what a schema lets be taken from them: always JSON that fits, whatever
    # this small model makes of it.
    def test_extraction(self):
        schema = {"type": "object", "additionalProperties": False,
                  "required": ["name", "place", "year", "tags"],
                  "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 24},
                                 "place": {"type": "string", "maxLength": 24},
                                 "year": {"type": "integer", "minimum": 1500, "maximum": 2030},
                                 "tags": {"type": "array", "maxItems": 2,
                                          "items": {"enum": ["art", "science", "war", "sport"]}}}}
        path = os.path.join(self.folder.name, "schema.json")
        pathlib.Path(path).write_text(json.dumps(schema))
        names = ["Ada", "Bo", "Chi", "Dora", "Émile", "Faruq", "Gül", "Hana", "Ivo", "Juan"]
        places = ["Rome", "Lima", "Kyōto", "Oslo", "Accra"]
        for k in range(50):
            text = f"In {1700 + 6 * k} {names[k % 10]} of {places[k % 5]} painted the harbour. JSON: "
            out = subprocess.run(PROGRAM + ["run", "-m", self.model, "-p", text, "--schema", path,
                                            "-n", "200", "--no-prompt"],
                                 capture_output=True, check=True)
            value = json.loads(out.stdout)
            self.assertEqual(list(value), schema["required"])
            self.assertTrue(1 <= len(value["name"]) <= 24 and len(value["place"]) <= 24)
            self.assertTrue(1500 <= value["year"] <= 2030 and len(value["tags"]) <= 2)

    # Two hundred turns in a context of 2,048 tokens.
    def test_full_contexts(self):
        turns = ["Say a word.", "And another one?"] * 100
        for policy in ["slide", "sinks", "ask"]:
            out, _ = self.chat(turns, "--json", "-n", "24", "--system", "", "-c", "2048",
                               "--context-full", policy)
            lines = [json.loads(line) for line in out.splitlines()]
            self.assertEqual(sum("finish_reason" in line for line in lines), 200)


if __name__ == "__main__":
    del sys.argv[1:3]
    program = unittest.main(exit=False)
    ran = program.result.testsRun
    if program.result.wasSuccessful() and ran and len(program.result.skipped) == ran:
        sys.exit(77)
    sys.exit(not program.result.wasSuccessful())
