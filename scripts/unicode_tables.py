#!/usr/bin/env python3
"""Writes lib/base/character_tables.h and normal_form_tables.h from an installed utf8proc.

Usage: unicode_tables.py [LIBRARY [OUTPUT]]

What the library needs of Unicode (general categories, simple case mappings, canonical
decompositions; combining classes, compositions, compatibility decompositions; scripts) in 100 KB,
where utf8proc itself takes 340. tests/base/test_base.c compares every code point. Scripts are those of
the Python package fonttools, without which that header stays as it is.
"""
import ctypes
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BLOCK = 128
END = 0x110000
WIDTH = 100  # columns


def grouped(values, form, per_line):
    lines = [[]]
    for text in map(form, values):
        line = lines[-1]
        if len(line) == per_line or sum(map(len, line)) + 2 * len(line) + len(text) > WIDTH - 5:
            line = []
            lines.append(line)
        line.append(text)
    return ",\n    ".join(map(", ".join, lines))


def categories(library):
    """The code point from which on they are looked up otherwise, places of blocks, and blocks."""
    of = bytes(library.utf8proc_category(code) for code in range(END))
    end = next(code for code in range(END, 0, -BLOCK)
               if set(of[code - BLOCK:code]) != {of[code - 1]} and code <= 0xE0000)
    blocks, places = {}, []
    for at in range(0, end, BLOCK):
        places.append(blocks.setdefault(of[at:at + BLOCK], len(blocks)))
    return of, end, places, list(blocks)


def runs_above(of, end):
    """(first, last, category) of what is assigned from `end` on."""
    runs, at = [], end
    while at < END:
        last = at
        while last + 1 < END and of[last + 1] == of[at]:
            last += 1
        if of[at]:
            runs.append((at, last, of[at]))
        at = last + 1
    return runs


def mappings(function):
    """(first, last, step, difference) of code points that the function changes."""
    found = []
    for code in range(END):
        difference = function(code) - code
        if not difference:
            continue
        if found:
            first, last, step, same = found[-1]
            gap = code - last
            if same == difference and gap <= 2 and step in (0, gap):
                found[-1] = (first, code, gap, same)
                continue
        found.append((code, code, 0, difference))
    return [(first, last, step or 1, difference) for first, last, step, difference in found]


def decompositions(library):
    """(code, its canonical decomposition), but for Hangul syllables."""
    found, parts, boundary = [], (ctypes.c_int32 * 32)(), ctypes.c_int()
    for code in range(END):
        if 0xAC00 <= code < 0xD7A4 or 0xD800 <= code < 0xE000:
            continue
        n = library.utf8proc_decompose_char(code, parts, 32, 1 << 4, ctypes.byref(boundary))
        whole = tuple(parts[:n])
        if whole != (code,):
            found.append((code, whole))
    return found


COMPOSE, COMPATIBLE, DECOMPOSE = 1 << 3, 1 << 2, 1 << 4


def whole(library, code, options):
    parts, boundary = (ctypes.c_int32 * 32)(), ctypes.c_int()
    n = library.utf8proc_decompose_char(code, parts, 32, options, ctypes.byref(boundary))
    return tuple(parts[:n])


def composed(library, codes):
    """NFC of some code points that are decomposed and in order."""
    buffer = (ctypes.c_int32 * 32)(*codes)
    n = library.utf8proc_normalize_utf32(buffer, len(codes), COMPOSE | 1 << 1)
    return tuple(buffer[:n])


def compositions(library):
    """(first, second, what both are composed to), but for Hangul."""
    found = []
    for code, parts in decompositions(library):
        if composed(library, parts) != (code,):
            continue
        first = composed(library, parts[:-1])
        if len(first) != 1:
            sys.exit(f"U+{code:04X} is not made of two")
        found.append((first[0], parts[-1], code))
    return sorted(found)


def units(parts):
    """UTF-16 of code points."""
    encoded = "".join(map(chr, parts)).encode("utf-16-le")
    return [encoded[i] | encoded[i + 1] << 8 for i in range(0, len(encoded), 2)]


def compatible(library):
    """(code, its compatibility decomposition) where that is another than the canonical one."""
    found = []
    for code in range(END):
        if 0xAC00 <= code < 0xD7A4 or 0xD800 <= code < 0xE000:
            continue
        parts = whole(library, code, DECOMPOSE | COMPATIBLE)
        if parts != whole(library, code, DECOMPOSE):
            found.append((code, units(parts)))
    return found


class Property(ctypes.Structure):
    """The beginning of utf8proc_property_t."""
    _fields_ = [("category", ctypes.c_int16), ("combining_class", ctypes.c_int16)]


def combining_classes(library):
    """(first, last, class) of what has one."""
    library.utf8proc_get_property.restype = ctypes.POINTER(Property)
    found = []
    for code in range(END):
        number = library.utf8proc_get_property(code).contents.combining_class
        if number and found and found[-1][1:] == (code - 1, number):
            found[-1] = (found[-1][0], code, number)
        elif number:
            found.append((code, code, number))
    return found


def scripts():
    """Names, and (first, number of the name) of runs that each go on to the next one's first."""
    from fontTools import unicodedata
    names, runs = ["Unknown", "Common", "Inherited"], []
    for code in range(END):
        name = unicodedata.script_name(unicodedata.script(chr(code)))
        if name not in names:
            names.append(name)
        if not runs or runs[-1][1] != names.index(name):
            runs.append((code, names.index(name)))
    return names, runs


def write_normal_forms(library, output):
    text = ["/* normal_form_tables.h - made by scripts/unicode_tables.py; Unicode "
            + library.utf8proc_unicode_version().decode() + ". */", "/* clang-format off */", ""]
    text += ["/* Canonical combining classes but 0. */",
             "static const struct {\n    uint32_t first, last;\n    uint8_t class;\n"
             "} combining_runs[] = {\n    "
             + grouped([f"{{0x{a:X}, 0x{b:X}, {c}}}" for a, b, c in combining_classes(library)], str, 4)
             + "\n};", "",
             "/* What two code points are composed to, ordered. */",
             "static const struct {\n    uint32_t first, second, both;\n} compositions[] = {\n    "
             + grouped([f"{{0x{a:X}, 0x{b:X}, 0x{c:X}}}" for a, b, c in compositions(library)], str, 4)
             + "\n};", "",
             "/* Compatibility decompositions that are not the canonical ones: places in a list of",
             " * UTF-16. */",
             "static const struct {\n    uint32_t code;\n    uint16_t at;\n    uint8_t n;\n"
             "} compatible[] = {"]
    entries, pool = [], []
    for code, parts in compatible(library):
        entries.append(f"{{0x{code:X}, {len(pool)}, {len(parts)}}}")
        pool += parts
    text += ["    " + grouped(entries, str, 5) + "\n};", "static const uint16_t compatible_parts[] = {\n    "
             + grouped([f"0x{c:X}" for c in pool], str, 12) + "\n};", ""]
    names, runs = scripts()
    text += ["/* Names of scripts, each ended by a zero; and the first of each run of code points of one,"
             " times", " * 256, and its number. */",
             "static const char script_names[] =\n    "
             + "\n    ".join(f'"{name}\\0"' for name in names) + ";",
             "static const uint32_t script_runs[] = {\n    "
             + grouped([f"0x{a << 8 | n:X}" for a, n in runs], str, 8) + "\n};"]
    output.write_text("\n".join(text) + "\n", encoding="utf-8")


def main():
    library = ctypes.CDLL(sys.argv[1] if len(sys.argv) > 1 else "libutf8proc.so.2")
    library.utf8proc_unicode_version.restype = ctypes.c_char_p
    library.utf8proc_decompose_char.restype = ctypes.c_ssize_t
    output = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "lib/base/character_tables.h"
    of, end, places, blocks = categories(library)
    text = ["/* character_tables.h - made by scripts/unicode_tables.py; Unicode "
            + library.utf8proc_unicode_version().decode() + ". */", "/* clang-format off */", ""]
    text += ["/* Categories as letters from 'A' on, of the code points below CATEGORY_END: blocks of 128, "
             "and", " * which of them each 128 have. */", f"#define CATEGORY_END 0x{end:X}",
             f"static const char category_blocks[{len(blocks)}][128] = {{"]
    for block in blocks:
        letters = "".join(chr(ord("A") + c) for c in block).replace("\\", "\\\\")
        text.append(f'    "{letters}",')
    text += ["};", "static const uint8_t category_places[] = {\n    "
             + grouped(places, str, 19) + "\n};", "",
             "/* Beyond. */",
             "static const struct {\n    uint32_t first, last, category;\n} category_runs[] = {\n    "
             + grouped([f"{{0x{a:X}, 0x{b:X}, {c}}}" for a, b, c in runs_above(of, end)],
                       str, 3) + "\n};", ""]
    text.append("/* Every step-th code point from first to last is mapped to the one that far from it. */\n"
                "typedef struct case_run {\n    uint32_t first, last, step;\n    int32_t difference;\n"
                "} case_run;")
    for name in ("lower", "upper", "title"):
        runs = mappings(getattr(library, f"utf8proc_to{name}"))
        text.append(f"static const case_run {name}_runs[] = {{\n    "
                    + grouped([f"{{0x{a:X}, 0x{b:X}, {s}, {d}}}" for a, b, s, d in runs], str, 3) + "\n};")
    whole, pool = decompositions(library), []
    text += ["", "/* Canonical decompositions, in the order of code points: places in a list. */",
             "static const struct {\n    uint32_t code;\n    uint16_t at;\n    uint8_t n;\n"
             "} decompositions[] = {"]
    entries = []
    for code, parts in whole:
        entries.append(f"{{0x{code:X}, {len(pool)}, {len(parts)}}}")
        pool += parts
    text += ["    " + grouped(entries, str, 4) + "\n};", "static const uint32_t decomposed[] = {\n    "
             + grouped([f"0x{c:X}" for c in pool], str, 10) + "\n};"]
    output.write_text("\n".join(text) + "\n", encoding="utf-8")
    try:
        write_normal_forms(library, output.with_name("normal_form_tables.h"))
    except ImportError as problem:
        print(f"normal_form_tables.h stays as it is: {problem}", file=sys.stderr)


main()
