#!/usr/bin/env python3
"""Checks the machine code of the kernels.

Usage: check_objects.py levels|stack BUILD_DIR

levels  no instruction of a higher level got into the objects of a lower one: a level's
        code runs on CPUs that have that level and no more. An AVX-512 instruction in an
        AVX2 object, or any AVX instruction in the portable code, would end the host program.
stack   the tiles of the matrix products hold what they sum up in registers: an innermost
        loop with multiply-adds moves no vector to or from the stack. Meant for a release
        build by the compiler the tiles were written with, gcc 12; what that one leaves is
        listed below (ALLOWED).

Needs readelf and the objdump of the build's target.
"""
import collections
import pathlib
import re
import subprocess
import sys

Instruction = collections.namedtuple("Instruction", "address bytes text")


class Machine:
    """What the checks need to know of an instruction set."""

    def __init__(self, objdump, jump, multiply, vector, frame, store):
        self.objdump = objdump
        self.jump = re.compile(jump)  # its group: the address
        self.multiply = re.compile(multiply)
        self.vector = re.compile(vector)
        self.frame = re.compile(frame)
        self.store = re.compile(store)


X86 = Machine(
    "objdump",
    jump=r"j[a-z]+ +([0-9a-f]+)\b",
    multiply=r"(\{vex\} )?v(pdp(bu|wu|ws|bs|bf)|dpbf16|pmadd|fn?m(add|sub))",
    vector=r"%[xyz]mm",
    frame=r"\(%rsp[,)]",
    store=r"\(%r[sb]p[^()]*\)(\{[^{}]*\})?$",
)
X86_RBP_FRAME = re.compile(r"\(%r[sb]p[,)]")
ARM = Machine(
    "aarch64-linux-gnu-objdump",
    jump=r"(?:b|b\.[a-z]+|cbn?z|tbn?z)\t.*?\b([0-9a-f]+) <",
    multiply=r"([su]dot|[su]mmla|[su]mull?2?|[su]mlal2?|fml[as])\t",
    vector=r"\b([qdsv][0-9]+\b|v[0-9]+\.)",
    frame=r"\[(sp|x29)\b",
    store=r"st",
)
MACHINES = {"Advanced Micro Devices X86-64": X86, "AArch64": ARM}  # as readelf names them

# ---- levels: what must not occur in the objects of a library, by the library's name

AVX512 = r"%zmm|%k[0-7]\b|%[xy]mm(1[6-9]|2[0-9]|3[01])\b"
VNNI = r"|vpdp"
AVX = r"%ymm|\bv[a-z0-9]+ .*%xmm|" + AVX512
BF16 = r"dpbf16|ne2?ps2bf16"
DOTPROD = r"^[su]dot\t"
I8MM = r"^(us|[su])mmla\t|^(us|su)dot\t"
LEVEL_RULES = [
    (X86, "libsm_kernels_avx512bf16", None),
    (X86, "libsm_kernels_avx512", BF16),
    (X86, "libsm_kernels_avxvnni", AVX512),
    (X86, "libsm_kernels_avx2", AVX512 + VNNI),
    (X86, "libsm_", AVX),
    (ARM, "libsm_kernels_i8mm", None),
    (ARM, "libsm_kernels_dotprod", I8MM),
    (ARM, "libsm_", DOTPROD + "|" + I8MM),
]
EVEX = 0x62  # the first byte of every AVX-512 instruction, and of no other in 64-bit mode

# ---- stack: of which objects, and what is allowed: (library, function) -> (reads, writes)

TILES = re.compile(r"(quant|float|attention)\.c\.o$")
ALLOWED = {
    # The super-block's scales of both groups, used once per record as a memory operand of a
    # multiplication. Converting them anew from the packed f16 each time costs 5%.
    ("avx512", "q4_k_6"): (1, 0),
    ("avx512", "q5_k_6"): (2, 0),
    # Four columns straight from packed weights of two scales a record: the first half's results
    # of eight chains beside sums, masks and codes. It is as fast (Q6_K) or 3 to 15% faster than
    # bringing each half into its chain at once, which takes no stack but more multiplications.
    ("avx512", "q2_k_4"): (7, 4),
    ("avx512", "q3_k_4"): (4, 0),
    ("avx512", "q6_k_4"): (4, 0),
    # One or two columns straight from packed weights: masks, scales, codes, sums and results do
    # not fit 16 registers. Nearly all reads are of values that the loop does not change; loading
    # those from the packed head each time instead costs 6 to 9% where the weights are in L2. From
    # DRAM, where such products usually read, nothing of this shows.
    ("avx2", "q2_k_stream_1"): (3, 0),
    ("avx2", "q2_k_stream_2"): (5, 2),
    ("avx2", "q3_k_stream_1"): (2, 0),
    ("avx2", "q3_k_stream_2"): (5, 3),
    ("avx2", "q5_0_stream_1"): (1, 1),
    ("avx2", "q5_1_stream_1"): (1, 0),
    ("avx2", "q5_k_stream_1"): (5, 0),
    ("avx2", "q5_k_stream_2"): (4, 0),
    ("avx2", "q6_k_stream_1"): (4, 2),
    ("avx2", "q6_k_stream_2"): (5, 3),
    ("avxvnni", "q2_k_stream_1"): (3, 0),
    ("avxvnni", "q2_k_stream_2"): (6, 2),
    ("avxvnni", "q3_k_stream_2"): (2, 0),
    ("avxvnni", "q5_k_stream_1"): (3, 0),
    ("avxvnni", "q5_k_stream_2"): (2, 0),
    ("avxvnni", "q6_k_stream_1"): (1, 0),
    # The same of layouts with a table, and with codes in three parts; nearly all of it reads.
    ("avx2", "iq3_s_stream_2"): (1, 0),
    ("avx2", "iq2_xxs_stream_1"): (5, 0),
    ("avx2", "iq2_xxs_stream_2"): (8, 2),
    ("avx2", "iq2_xs_stream_1"): (6, 0),
    ("avx2", "iq2_xs_stream_2"): (10, 4),
    ("avx512", "iq2_xs_4"): (6, 2),
    ("avxvnni", "iq2_xxs_stream_1"): (3, 0),
    ("avxvnni", "iq2_xxs_stream_2"): (4, 0),
    ("avxvnni", "iq2_xs_stream_1"): (5, 0),
    ("avxvnni", "iq2_xs_stream_2"): (8, 2),
}


def machine_of(archive):
    """By the header of its first object."""
    header = subprocess.run(["readelf", "-h", str(archive)], capture_output=True, text=True,
                            check=True).stdout
    return MACHINES.get(re.search(r"Machine: +(.*)", header)[1])


def functions(machine, archive):
    """(object, function, instructions) of an archive."""
    listing = subprocess.run([machine.objdump, "-d", "-w", str(archive)], capture_output=True,
                             text=True, check=True).stdout
    member, name, body = "", "", []
    for line in listing.splitlines():
        start = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        if start or ":     file format" in line:
            if body:
                yield member, name, body
            name, body = start[1] if start else "", []
            member = member if start else line.split(":")[0]
        else:
            parts = line.split("\t", 2)
            if len(parts) == 3:
                body.append(Instruction(int(parts[0].strip(" :"), 16), parts[1].split(),
                                        parts[2].strip()))
    if body:
        yield member, name, body


def check_levels(archive, machine):
    for of, prefix, pattern in LEVEL_RULES:
        if of is machine and archive.name.startswith(prefix):
            break
    else:
        return 0, []
    if pattern is None:
        return 0, []
    total, found = 0, []
    for _, name, body in functions(machine, archive):
        total += len(body)
        for i in body:
            evex = machine is X86 and int(i.bytes[0], 16) == EVEX
            if (evex and pattern is not BF16) or re.search(pattern, i.text):
                found.append(f"{archive.name}: {name}: {i.text}: of a higher level")
    return total, found


def innermost_loops(machine, body):
    """The instructions from the target of each jump back to the jump, but for loops around
    others."""
    loops = set()
    for i in body:
        jump = machine.jump.match(i.text)
        if jump and body[0].address <= int(jump[1], 16) <= i.address:
            loops.add((int(jump[1], 16), i.address))
    for first, last in sorted(loops):
        inside = any(first <= f and l <= last for f, l in loops - {(first, last)})
        if not inside:
            yield [i for i in body if first <= i.address <= last]


def check_stack(archive, machine):
    library = archive.name.removeprefix("libsm_kernels_").removesuffix(".a")
    total, found = 0, []
    for member, name, body in functions(machine, archive):
        if not TILES.search(member):
            continue
        frame = machine.frame
        if machine is X86 and any(re.match(r"mov +%rsp,%rbp$", i.text) for i in body):
            frame = X86_RBP_FRAME
        for loop in innermost_loops(machine, body):
            if not any(machine.multiply.match(i.text) for i in loop):
                continue
            total += 1
            moves = [i.text for i in loop
                     if frame.search(i.text) and machine.vector.search(i.text)]
            writes = sum(bool(machine.store.search(text)) for text in moves)
            reads = len(moves) - writes
            source = library.removesuffix("bf16")  # avx512bf16 is avx512's tiles compiled again
            may_read, may_write = ALLOWED.get((source, name), (0, 0))
            if reads > may_read or writes > may_write:
                found.append(f"{archive.name}: {name}: the loop at {loop[0].address:x} reads "
                             f"{reads} vectors from the stack and writes {writes} "
                             f"({may_read}, {may_write} allowed)")
    return total, found


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("levels", "stack"):
        sys.exit(__doc__.strip())
    build = pathlib.Path(sys.argv[2])
    total, found = 0, []
    for archive in sorted(build.glob("*/libsm_*.a")):
        machine = machine_of(archive)
        if machine:
            check = check_levels if sys.argv[1] == "levels" else check_stack
            n, bad = check(archive, machine)
            total += n
            found += bad
    for line in found[:40]:
        print(line)
    if found:
        sys.exit(f"{len(found)} found")
    if not total:
        sys.exit(f"{build}: nothing to check")
    print(f"{total} {'instructions' if sys.argv[1] == 'levels' else 'loops'} checked")


main()
