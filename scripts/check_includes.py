#!/usr/bin/env python3
"""Checks that every #include goes in the direction of the table in CONTRIBUTING.md.

Usage: check_includes.py [SOURCE_ROOT]
"""
import pathlib
import re
import sys

STANDARD = {
    "errno.h", "float.h", "inttypes.h", "limits.h", "math.h", "stdalign.h", "stdarg.h",
    "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "stdlib.h", "string.h",
}
CPU = {"immintrin.h", "arm_neon.h", "cpuid.h", "sys/auxv.h", "asm/hwcap.h"}
ANY = None

# component: (project headers of others it may include, system headers it may include)
TABLE = {
    "kernels": ({"smallmind/types.h"}, STANDARD | CPU),
    "lib/base": (set(), ANY),
    "lib/format": ({"base/base.h", "blocks.h"}, STANDARD),
    "lib/text": ({"base/base.h"}, STANDARD | {"pcre2.h", "utf8proc.h"}),
    "lib/nn": ({"base/base.h", "format/format.h", "kernels.h", "blocks.h", "pack.h"}, STANDARD),
    "lib/run": ({"base/base.h", "format/format.h", "text/text.h", "nn/nn.h"}, STANDARD),
    "lib/train": ({"base/base.h", "format/format.h", "format/json.h", "text/text.h", "nn/nn.h",
                   "kernels.h", "blocks.h", "pack.h"}, STANDARD | {"cblas.h"}),
    "lib/make": ({"base/base.h", "format/format.h", "text/text.h", "nn/nn.h", "kernels.h",
                  "run/run.h", "train/train.h"}, STANDARD),
    "tools": (set(), ANY),
    "examples": (set(), ANY),
    "include": (set(), {"stddef.h", "stdint.h"}),
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.MULTILINE)


def own_header(root, component, source, name):
    """Whether name is a header of the component itself, as its files may spell it."""
    folder = root / component
    own_name = name.removeprefix(component.removeprefix("lib/") + "/")
    return any((place / own).is_file()
               for place in (source.parent, folder) for own in (name, own_name))


def check(root):
    errors = []
    n = 0
    for component, (others, system) in TABLE.items():
        for source in sorted((root / component).rglob("*")):
            if source.suffix not in {".c", ".h", ".inc"}:
                continue
            n += 1
            text = source.read_text(encoding="utf-8")
            for kind, name in INCLUDE.findall(text):
                if ".." in name:
                    allowed = False
                elif name.startswith("smallmind/"):
                    allowed = component != "kernels" or name in others
                elif kind == '"':
                    allowed = name in others or own_header(root, component, source, name)
                else:
                    allowed = system is ANY or name in system
                if not allowed:
                    errors.append(f"{source.relative_to(root)}: may not include {name}")
    if n == 0:
        errors.append("no source file found")
    return errors


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    errors = check(root)
    for error in errors:
        print(error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
