#!/usr/bin/env python3
"""Counts the checks of a `meson test` run.

Usage: count_results.py TESTLOG.json | --text OUTPUT

Prints "PASSED FAILED SKIPPED" and, on stderr, every check that was skipped or
failed. A cmocka or unittest program counts as the tests inside it, since part
of them may have been skipped; any other program counts as one. With --text the
file is the output of one such program (0 0 0 if it shows no tests).
"""
import json
import re
import sys

PASSED = re.compile(r"^\[  PASSED  \] (\d+) test", re.MULTILINE)
FAILED = re.compile(r"^\[  FAILED  \] (\d+) test", re.MULTILINE)
SKIPPED = re.compile(r"^\[  SKIPPED \] (\d+) test", re.MULTILINE)
SKIPPED_NAME = re.compile(r"^\[  SKIPPED \] ([A-Za-z_]\S*)$", re.MULTILINE)
UNITTEST = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
UNITTEST_END = re.compile(r"^(?:OK|FAILED)(?: \((.*)\))?$", re.MULTILINE)


def total(pattern, text):
    return sum(int(number) for number in pattern.findall(text))


def count_inside(text):
    """(passed, failed, skipped) of the tests inside one program, None if it shows none."""
    if PASSED.search(text) or FAILED.search(text) or SKIPPED.search(text):
        return total(PASSED, text), total(FAILED, text), total(SKIPPED, text)
    ran, end = UNITTEST.search(text), UNITTEST_END.search(text)
    if ran and end:
        notes = dict(re.findall(r"(failures|errors|skipped)=(\d+)", end.group(1) or ""))
        failed = int(notes.get("failures", 0)) + int(notes.get("errors", 0))
        skipped = int(notes.get("skipped", 0))
        return int(ran.group(1)) - failed - skipped, failed, skipped
    return None


def count(test):
    """(passed, failed, skipped) of one line of the log."""
    result = test["result"]
    inside = count_inside(test.get("stdout", "") + "\n" + test.get("stderr", ""))
    if result == "SKIP":
        return (0, 0, max(1, sum(inside) if inside else 1))
    if result not in ("OK", "EXPECTEDFAIL"):
        passed, failed, skipped = inside or (0, 0, 0)
        return passed, max(1, failed), skipped  # a crash or time-out counts as a failure
    return inside or (1, 0, 0)


def main():
    if sys.argv[1] == "--text":
        with open(sys.argv[2], encoding="utf-8", errors="replace") as output:
            print(*(count_inside(output.read()) or (0, 0, 0)))
        return
    passed = failed = skipped = 0
    with open(sys.argv[1], encoding="utf-8") as log:
        for line in log:
            test = json.loads(line)
            p, f, s = count(test)
            passed, failed, skipped = passed + p, failed + f, skipped + s
            if s:
                names = sorted(set(SKIPPED_NAME.findall(test.get("stdout", ""))))
                shown = " ".join(names[:4]) + (" ..." if len(names) > 4 else "")
                print(f"  skipped: {s} of {test['name']} {shown}", file=sys.stderr)
            if f:
                print(f"  FAILED:  {f} of {test['name']} ({test['result']})", file=sys.stderr)
    print(passed, failed, skipped)


if __name__ == "__main__":
    main()
