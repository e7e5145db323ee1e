#!/usr/bin/env python3
"""Checks that no instruction of a higher level got into the objects of a lower one.

Usage: check_objects.py BUILD_DIR

A level's code runs on CPUs that have that level and no more: an AVX-512 instruction in
an AVX2 object, or any AVX instruction in the portable code, would end the host program.
"""
import pathlib
import re
import subprocess
import sys

# what must not occur in the objects of a library, by the library's name
AVX512 = r"%zmm|%k[0-7]\b|%[xy]mm(1[6-9]|2[0-9]|3[01])\b"
AVX = r"%ymm|\bv[a-z0-9]+ .*%xmm|" + AVX512
X86_RULES = [(r"libsm_kernels_avx512", None), (r"libsm_kernels_avx2", AVX512), (r"libsm_", AVX)]


def forbidden_for(archive):
    for name, pattern in X86_RULES:
        if archive.name.startswith(name):
            return pattern
    return None


def check(archive, pattern):
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", str(archive)],
                             capture_output=True, text=True, check=True).stdout
    if "elf64-x86-64" not in listing:
        return 0, []
    found = []
    place, instructions = "", 0
    for line in listing.splitlines():
        if line.endswith(">:"):
            place = line.split("<")[-1][:-2]
        elif "\t" in line:
            instructions += 1
            if re.search(pattern, line):
                found.append(f"{archive.name}: {place}: {line.strip()}")
    return instructions, found


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    build = pathlib.Path(sys.argv[1])
    total, found = 0, []
    for archive in sorted(build.glob("*/libsm_*.a")):
        pattern = forbidden_for(archive)
        if pattern:
            instructions, bad = check(archive, pattern)
            total += instructions
            found += bad
    for line in found[:20]:
        print(line)
    if found:
        sys.exit(f"{len(found)} instructions of a higher level")
    if not total:
        sys.exit(f"{build}: no x86-64 objects to check")
    print(f"{total} instructions checked")


main()
