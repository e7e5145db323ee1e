#!/usr/bin/env python3
"""Prints the ninja targets that some tests of a build folder need.

Usage: test_targets.py BUILD_DIR NAME...

NAME is a test, a suite, or a target of its own.
"""
import json
import pathlib
import subprocess
import sys


def introspect(build, what):
    return json.loads(subprocess.run(["meson", "introspect", what, str(build)], check=True,
                                     capture_output=True, text=True).stdout)


def main():
    build, names = pathlib.Path(sys.argv[1]).resolve(), set(sys.argv[2:])
    files = {target["id"]: target["filename"] for target in introspect(build, "--targets")}
    chosen = {target["id"] for target in introspect(build, "--targets") if target["name"] in names
              and target["type"] == "executable"}
    for test in introspect(build, "--tests"):
        if names & {test["name"], *(suite.split(":")[-1] for suite in test["suite"])}:
            chosen.update(test["depends"])
    print(*sorted(str(pathlib.Path(name).relative_to(build)) for target in chosen
                  for name in files[target]))


if __name__ == "__main__":
    main()
