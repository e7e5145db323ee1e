#!/usr/bin/env python3
"""What `smallmind` says about its commands: help, completion of shells, manual pages.

Usage: test_describe.py PROGRAM COMMANDS_INC [TEST]...

Shells and readers of manual pages that are not installed are skipped.
"""
import fcntl
import os
import pathlib
import pty
import re
import select
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

PROGRAM = shlex.split(os.environ.get("SM_WRAPPER", "")) + [sys.argv[1]]
COMMANDS = re.findall(r'^COMMAND\("([^"]+)"', pathlib.Path(sys.argv[2]).read_text(), re.MULTILINE)
WIDTHS = (40, 80, 100)


def call(*arguments, **options):
    return subprocess.run(PROGRAM + list(arguments), capture_output=True, **options)


def good(*arguments):
    result = call(*arguments)
    assert result.returncode == 0 and result.stderr == b"", (arguments, result.stderr)
    return result.stdout.decode()


def on_terminal(case, columns, *arguments):
    """What a command prints on a terminal so wide."""
    try:
        ours, theirs = pty.openpty()
    except OSError as error:
        case.skipTest(f"no pseudo-terminal: {error}")
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(PROGRAM + list(arguments), stdout=theirs, stdin=subprocess.DEVNULL)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    case.assertEqual(process.wait(60), 0)
    return shown.decode().replace("\r\n", "\n")


def options_of(text):
    """The options that a help lists."""
    listed = text[text.index("\noptions:\n"):text.index("\nexamples:\n")]
    return {word for line in re.findall(r"^  (-.*)$", listed, re.MULTILINE)
            for word in re.findall(r"(?:^|(?<=, ))(--?[a-z0-9-]+)", line)}


def require(case, program):
    path = shutil.which(program)
    if path is None:
        case.skipTest(f"{program} is not installed")
    return path

KV_TYPES = {"f16", "f32", "bf16", "q8_0", "q4_0", "q5_0", "iq4_nl"}


class Help(unittest.TestCase):
    def test_fits(self):
        """Every line of every help, on a terminal and where there is none."""
        for command in [[]] + [name.split() for name in COMMANDS] + [["lora"]]:
            texts = [(80, good(*command, "--help"))]
            texts += [(columns, on_terminal(self, columns, *command, "--help")) for columns in WIDTHS]
            for columns, text in texts:
                with self.subTest(command=command, columns=columns):
                    self.assertLessEqual(max(map(len, text.splitlines())), columns, text)
            for columns, text in texts[1:]:  # the same words, wherever they are broken
                self.assertEqual(re.sub(r"[\s\\]+", "", text), re.sub(r"[\s\\]+", "", texts[0][1]))
        self.assertLessEqual(max(map(len, on_terminal(self, 5, "run", "--help").splitlines())), 40)
        self.assertLessEqual(max(map(len, on_terminal(self, 500, "run", "--help").splitlines())), 100)

    def test_two_examples(self):
        """With options that there are."""
        for command in COMMANDS:
            text = good(*command.split(), "--help")
            examples = text[text.index("\nexamples:\n"):].replace("\\\n", "")
            lines = re.findall(r"^  (\S.*)$", examples, re.MULTILINE)
            self.assertEqual(len(lines), 2, examples)
            self.assertEqual(len(re.findall(r"^      \S", examples, re.MULTILINE)), 2, examples)
            self.assertTrue(any(f"smallmind {command}" in line for line in lines), examples)
            for line in lines:
                for part in re.findall(r"smallmind ([^|<>()]*)", line):
                    result = call(*shlex.split(part), "--help")
                    self.assertEqual(result.returncode, 0, (part, result.stderr))

    def test_every_command_listed(self):
        text = good("--help")
        for command in COMMANDS:
            self.assertRegex(text, rf"\n  {command} +\S")
        self.assertIn("smallmind lora COMMAND", good("lora", "--help"))
        self.assertIn("lora merge", good("lora", "--help"))
        for arguments in (["lora"], ["lora", "split"]):
            result = call(*arguments)
            self.assertEqual((result.returncode, result.stdout), (2, b""))
            self.assertIn(b"merge", result.stderr)


class Completion(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "model one.gguf").write_bytes(b"")
        (self.folder / "smallmind").symlink_to(os.path.abspath(sys.argv[1]))

    def script(self, shell, name):
        path = self.folder / name
        path.write_text(good("completion", shell))
        return path

    def bash(self, *lines):
        """What bash would offer for the last word of each line."""
        script = self.script("bash", "bash")
        code = f"source {shlex.quote(str(script))}\n"
        for line in lines:
            words = " ".join(map(shlex.quote, line))
            code += (f"COMP_WORDS=({words}); COMP_CWORD={len(line) - 1}; COMPREPLY=(); _smallmind; "
                     'echo "${COMPREPLY[*]}"\n')
        result = subprocess.run([require(self, "bash"), "--norc", "-c", code], capture_output=True,
                                cwd=self.folder)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return [set(line.split()) for line in result.stdout.decode().splitlines()]

    def test_bash_options(self):
        """For each command those that its help lists."""
        offered = self.bash(*(["smallmind", *command.split(), "-"] for command in COMMANDS))
        for command, words in zip(COMMANDS, offered):
            self.assertEqual(words, options_of(good(*command.split(), "--help")), command)
            self.assertIn("--help", words)

    def test_bash_words(self):
        cases = [
            ((["qua"]), {"quantize"}), (["run", "--te"], {"--temp"}),
            (["run", "--kv", ""], KV_TYPES), (["run", "--kv", "b"], {"bf16"}),
            (["run", "--kv", "="], KV_TYPES),
            (["run", "--kv", "=", "q8"], {"q8_0"}), (["run", "-m", "mod"], set()),
            (["run", "-n", ""], set()), (["train", "--optimizer", "s"], {"sgd"}),
            (["lora", ""], {"merge", "export"}), (["lora", "merge", "--sc"], {"--scale"}),
            (["bench", "l"], {"limits"}), (["bench", "limits", "--r"], {"--repeats"}),
            (["completion", ""], {"bash", "zsh", "fish"}), (["manual", "quan"], {"quantize"}),
            (["--ver"], {"--version"}),
        ]
        offered = self.bash(*(["smallmind", *words] for words, _ in cases))
        for (words, expected), result in zip(cases, offered):
            self.assertEqual(result, expected, words)
        first = self.bash(["smallmind", ""])[0]
        self.assertEqual(first, {name.split()[0] for name in COMMANDS} | {"--help", "--version"})

    def interact(self, command, prepare, typed, wanted):
        """Types into a shell on a terminal until it shows what is wanted."""
        try:
            ours, theirs = pty.openpty()
        except OSError as error:
            self.skipTest(f"no pseudo-terminal: {error}")
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
        environment = {"PATH": f"{self.folder}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "> ",
                       "HOME": str(self.folder), "INPUTRC": "/dev/null", "LC_ALL": "C",
                       "HISTFILE": "/dev/null"}
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=self.folder,
                                   env=environment, start_new_session=True)
        os.close(theirs)
        shown = b""
        try:
            os.write(ours, (prepare + "; echo rea''dy\n").encode())
            for mark in (b"ready", wanted):
                begin, end = len(shown), time.monotonic() + 60
                if mark == wanted:
                    os.write(ours, typed.encode())
                while mark not in shown[begin:] and time.monotonic() < end:
                    if select.select([ours], [], [], 1)[0]:
                        shown += os.read(ours, 65536)
                self.assertIn(mark, shown[begin:], shown)
        finally:
            process.kill()
            process.wait()
            os.close(ours)

    def test_bash_at_a_terminal(self):
        script = self.script("bash", "script")
        command = [require(self, "bash"), "--norc", "--noprofile", "-i"]
        for typed, wanted in [("smallmind quanti\t", b"quantize "), ("smallmind run --te\t", b"--temp "),
                              ("smallmind run --kv=q8\t", b"--kv=q8_0 "),
                              ("smallmind run -m mod\t", b"model\\ one.gguf "),
                              ("smallmind inspect mod\t", b"model\\ one.gguf ")]:
            with self.subTest(typed=typed):
                self.interact(command, f"source {script}", typed, wanted)

    def test_zsh_at_a_terminal(self):
        self.script("zsh", "_smallmind")
        command = [require(self, "zsh"), "-f", "-i"]
        subprocess.run([command[0], "-n", self.folder / "_smallmind"], check=True)
        prepare = (f"fpath=({self.folder} $fpath); autoload -Uz compinit; compinit -u -D; "
                   "zstyle ':completion:*' list-prompt ''")
        for typed, wanted in [("smallmind quanti\t", b"quantize "), ("smallmind run --te\t", b"--temp="),
                              ("smallmind run --kv q8\t", b"--kv q8_0"),
                              ("smallmind lora m\t", b"lora merge "),
                              ("smallmind lora merge --sc\t", b"--scale="),
                              ("smallmind run -m mod\t", b"model\\ one.gguf")]:
            with self.subTest(typed=typed):
                self.interact(command, prepare, typed, wanted)

    def test_fish(self):
        script = self.script("fish", "smallmind.fish")
        fish = require(self, "fish")
        environment = dict(os.environ, HOME=str(self.folder), XDG_CONFIG_HOME=str(self.folder),
                           XDG_DATA_HOME=str(self.folder), PATH=f"{self.folder}:{os.environ['PATH']}")
        for line, expected in [("smallmind quanti", {"quantize"}), ("smallmind run --te", {"--temp"}),
                               ("smallmind run --kv ", KV_TYPES),
                               ("smallmind lora merge --sc", {"--scale"}),
                               ("smallmind bench limits --r", {"--repeats"}),
                               ("smallmind completion ", {"bash", "zsh", "fish"})]:
            result = subprocess.run([fish, "-c", f"source {script}; complete -C {shlex.quote(line)}"],
                                    capture_output=True, env=environment, cwd=self.folder)
            self.assertEqual((result.returncode, result.stderr), (0, b""), line)
            words = {text.split("\t")[0] for text in result.stdout.decode().splitlines()}
            self.assertEqual(words, expected, line)

    def test_wrong(self):
        for arguments, says in ((["completion"], b"bash|zsh|fish"), (["completion", "tcsh"], b"tcsh"),
                                (["manual", "frobnicate"], b"frobnicate")):
            result = call(*arguments)
            self.assertEqual((result.returncode, result.stdout), (2, b""))
            self.assertIn(says, result.stderr)


class Manual(unittest.TestCase):
    def pages(self):
        yield [], good("manual")
        for command in COMMANDS:
            yield command.split(), good("manual", *command.split())
            self.assertEqual(good("manual", command.replace(" ", "-")),
                             good("manual", *command.split()))

    def test_says_what_the_help_says(self):
        for command, page in self.pages():
            self.assertTrue(page.startswith(f'.TH "smallmind{"".join("-" + w for w in command)}" 1 '))
            self.assertTrue(page.isascii())
            plain = re.sub(r"\\f[BIR]", "", page.replace("\\-", "-"))
            if not command:
                for name in COMMANDS:
                    self.assertIn("smallmind-" + name.replace(" ", "-"), plain)
                continue
            for option in options_of(good(*command, "--help")):
                self.assertRegex(plain, rf"(?m)^(-., )?{option}( |,|$)")
            self.assertIn(".SH EXAMPLES\n", page)

    def check(self, command):
        require(self, command[0])
        for name, page in self.pages():
            result = subprocess.run(command, input=page.encode(), capture_output=True)
            self.assertEqual((result.returncode, result.stderr), (0, b""), name)
            if command[0] != "mandoc":
                self.assertIn(b"SYNOPSIS", re.sub(rb".\x08", b"", result.stdout))
            else:
                self.assertEqual(result.stdout, b"")

    def test_groff(self):
        self.check(["groff", "-man", "-ww", "-Tutf8"])

    def test_man(self):
        require(self, "man")
        if subprocess.run(["man", "--warnings", "-l", "-"], input=good("manual").encode(),
                          capture_output=True).returncode:
            self.skipTest("this man takes no files")
        self.check(["man", "--warnings", "-l", "-"])

    def test_mandoc(self):
        self.check(["mandoc", "-T", "lint", "-W", "error"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
