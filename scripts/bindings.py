#!/usr/bin/env python3
"""Writes the declarations of the bindings from the public headers.

Usage: bindings.py [--check]

Each language's back end is scripts/backends/LANGUAGE.py. --check writes nothing and fails where a
file is not what it would write.
"""
import importlib
import pathlib
import sys

import headers

ROOT = pathlib.Path(__file__).resolve().parents[1]


def backends():
    """The modules of scripts/backends: one a language, each with FILES = {path: function that
    makes its text of headers.Headers}."""
    for path in sorted((ROOT / "scripts" / "backends").glob("*.py")):
        yield importlib.import_module(f"backends.{path.stem}")


def main():
    h = headers.read(ROOT, headers=("smallmind.h",))
    h.numbers = headers.numbers(ROOT)
    stale = []
    for name, write in [item for module in backends() for item in module.FILES.items()]:
        path, text = ROOT / name, write(h)
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    for name in stale:
        print(f"{name} is not what the headers say: run scripts/bindings.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
