#!/usr/bin/env python3
"""Writes docs/models.md: the architectures that run, of families.inc, and what each was compared with.

Usage: models.py [--check] [SOURCE_ROOT]

With --check it writes nothing and fails if the file is not what it would write.
"""
import pathlib
import re
import sys

FAMILY = re.compile(r'^SM_FAMILY\("([^"]+)", sm_plan_(\w+)\) /\* (\w+) \*/$')
COMPARED = {
    "golden": "stored logits of transformers",
    "transformers": "transformers, on small random models",
    "torch": "code in torch, on small random models",
    "formulas": "the formulas in double of the tests",
}
HEAD = """# Models that run

Made by `scripts/models.py` from `lib/nn/families/families.inc`: not to be edited.

A GGUF file runs if its `general.architecture` is one of these and it asks for nothing that the
architecture's row does not compute: keys and tensors that are not known are refused by name.
`tests/nn/test_families.c` takes each through pieces of any size, quantizing, packing, importance,
adapters and a step of training; gradients are compared with finite differences
(`tests/train/test_backward.c`).

- **stored logits of transformers**: `build/tests/check_families DIR...`, differences below 1e-4 (gemma3n:
  see `docs/architecture.md`), and the ids that follow.
- **transformers, on small random models** (5.24): by hand, below 4e-6 and the ids that follow; gemma4 with
  experts or with keys for values 1e-4 to 4e-4, nearer to transformers in double than itself in f32.
- **code in torch**: the same where transformers has no such model.
- **the formulas in double of the tests**: what `tests/support/reference.c` makes of the keys.

| architecture | compared with | planned as |
|---|---|---|
"""


def table(root):
    rows = []
    lines = (root / "lib/nn/families/families.inc").read_text(encoding="utf-8").splitlines()
    for line in lines:
        found = FAMILY.match(line)
        if line.startswith("SM_FAMILY") and (not found or found[3] not in COMPARED):
            sys.exit(f"families.inc: says not what was compared: {line}")
        if found:
            rows.append(found.groups())
    return HEAD + "".join(f"| {name} | {COMPARED[how]} | {plan} |\n"
                          for name, plan, how in sorted(rows))


def main():
    check = "--check" in sys.argv[1:]
    places = [word for word in sys.argv[1:] if word != "--check"]
    root = pathlib.Path(places[0] if places else ".")
    page, text = root / "docs/models.md", table(root)
    if check and (not page.exists() or page.read_text(encoding="utf-8") != text):
        sys.exit("docs/models.md is not what scripts/models.py makes of families.inc")
    if not check:
        page.write_text(text, encoding="utf-8")


main()
