#!/usr/bin/env python3
"""Tests of scripts/check_objects.py on made-up objects.

Usage: test_objects.py SOURCE_ROOT CC...
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(sys.argv[1])
CC = sys.argv[2:]

LOOP = """
1:
    vmovdqu (%rdi), %ymm1
    vpmaddubsw (%rsi), %ymm1, %ymm2
    vpaddw %ymm2, %ymm0, %ymm0
    {inside}
    add $32, %rdi
    cmp %rdx, %rdi
    jb 1b
"""


class Objects(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.build = pathlib.Path(folder.name)
        (self.build / "kernels").mkdir()

    def put(self, level, file, name, body):
        source = self.build / (file + ".c.s")
        source.write_text(f".text\n.globl {name}\n.type {name}, @function\n{name}:\n{body}\nret\n")
        target = self.build / (file + ".c.o")
        subprocess.run([*CC, "-c", str(source), "-o", str(target)], check=True)
        subprocess.run(["ar", "rc", str(self.build / "kernels" / f"libsm_kernels_{level}.a"),
                        str(target)], check=True)

    def check(self, what, bad=None):
        run = subprocess.run([sys.executable, str(ROOT / "scripts" / "check_objects.py"), what,
                              str(self.build)], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0 if bad is None else 1, run.stdout + run.stderr)
        if bad:
            self.assertIn(bad, run.stdout)
        else:
            self.assertIn("1 loops" if what == "stack" else "instructions", run.stdout)

    def stack(self, inside, bad=None, file="x86_avx2_quant", name="tile", before=""):
        self.put("avx2", file, name, before + LOOP.format(inside=inside))
        self.check("stack", bad)

    def test_clean_loop(self):
        self.stack("mov 8(%rsp), %rax", before="vmovaps %ymm3, -64(%rsp)")

    def test_spill(self):
        self.stack("vmovaps %ymm0, -32(%rsp)", "tile: the loop at 6 reads 0 vectors from the stack "
                   "and writes 1", before="vmovaps %ymm3, -64(%rsp)")

    def test_reload(self):
        self.stack("vpaddw 64(%rsp), %ymm0, %ymm0", "reads 1 vectors from the stack and writes 0")

    def test_broadcast_from_stack(self):
        self.stack("vpbroadcastd 64(%rsp), %ymm3", "reads 1")

    def test_frame_pointer(self):
        self.stack("vmovaps %ymm0, -32(%rbp)", "writes 1", before="mov %rsp, %rbp")

    def test_rbp_that_is_no_frame_pointer(self):
        self.stack("vmovaps %ymm0, -32(%rbp)")

    def test_allowed(self):
        self.stack("vmovaps -32(%rsp), %ymm3", name="q5_1_stream_1")

    def test_more_than_allowed(self):
        self.stack("vmovaps -32(%rsp), %ymm3\nvmovaps -64(%rsp), %ymm4",
                   "reads 2 vectors from the stack and writes 0 (1, 0 allowed)",
                   name="q5_1_stream_1")

    def test_outer_loop(self):
        inner = LOOP.format(inside="")
        self.put("avx2", "x86_avx2_quant", "tile",
                 f"2:\nvmovaps -32(%rsp), %ymm0\n{inner}\nvmovaps %ymm0, -32(%rsp)\ndec %rcx\n"
                 "jnz 2b")
        self.check("stack")

    def test_loops_without_products(self):
        self.put("avx2", "x86_avx2_quant", "copy", "1:\nvmovaps %ymm0, -32(%rsp)\ndec %rcx\njnz 1b")
        self.stack("")

    def test_other_files(self):
        self.put("avx2", "x86_avx2_rows", "rows", LOOP.format(inside="vmovaps %ymm0, -32(%rsp)"))
        self.stack("")

    def test_instructions_of_a_level(self):
        for level, body, bad in (
                ("avx2", "vpaddd %ymm0, %ymm1, %ymm2", False),
                ("avx2", "vpaddd %zmm0, %zmm1, %zmm2", True),
                ("avx2", "{evex} vpaddd %ymm0, %ymm1, %ymm2", True),
                ("avx2", "{vex} vpdpbusd %ymm0, %ymm1, %ymm2", True),
                ("avxvnni", "{vex} vpdpbusd %ymm0, %ymm1, %ymm2", False),
                ("avxvnni", "{evex} vpdpbusd %ymm0, %ymm1, %ymm2", True),
                ("avxvnni", "vpdpbusd %zmm0, %zmm1, %zmm2", True),
                ("avx512", "vpdpbusd %zmm0, %zmm1, %zmm2", False),
                ("avx512", "vdpbf16ps %zmm0, %zmm1, %zmm2", True),
                ("avx512", "vcvtne2ps2bf16 %zmm0, %zmm1, %zmm2", True),
                ("avx512", "vcvtneps2bf16 %zmm0, %ymm1", True)):
            with self.subTest(level=level, body=body):
                for old in self.build.glob("kernels/*"):
                    old.unlink()
                self.put(level, "x86_quant", "tile", body)
                self.check("levels", "tile: " if bad else None)

    def test_nothing_to_check(self):
        run = subprocess.run([sys.executable, str(ROOT / "scripts" / "check_objects.py"), "stack",
                              str(self.build)], capture_output=True, text=True)
        self.assertEqual(run.returncode, 1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
