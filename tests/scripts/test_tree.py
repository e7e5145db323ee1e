#!/usr/bin/env python3
"""What scripts/check_includes.py finds, in a small tree of its own.

Usage: test_tree.py SOURCE_ROOT
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(sys.argv.pop(1))

TABLES = """
<!-- includes -->
| folder | shows to others | may use | headers of the system |
|---|---|---|---|
| `include` | | | `stdint.h` |
| `lib/low` | `low.h` | `include` | standard |
| `lib/mid` | `mid.h` | `include` `lib/low` | standard |
| `lib/top` | `top.h` | `include` `lib/mid` | standard `other.h` |

<!-- headers -->
| group | headers |
|---|---|
| standard | `string.h` |

<!-- exceptions -->
| file | header | why |
|---|---|---|
"""

FILES = {
    "include/smallmind/api.h": "/* api.h - the contract. */\ntypedef struct sm_thing sm_thing;\n",
    "lib/low/low.h": "/* low.h - the lowest. */\n#include <string.h>\n#define SM_LOW(x) x\n"
                     "enum { SM_A, SM_B };\ntypedef struct sm_pair { int sm_not_a_name; } sm_pair;\n"
                     "int sm_low_do(void);\nstatic inline int sm_low_get(void) {\n    return 1;\n}\n"
                     "typedef int (*sm_low_fn)(int);\nextern const int sm_low_table[3];\n",
    "lib/mid/mid.h": '/* mid.h - between. */\n#include "low/low.h"\nstruct sm_thing { int x; };\n',
    "lib/mid/mid.c": '/* mid.c - between. */\n#include "mid.h"\nint sm_low_do(void);\n',
    "lib/top/top.h": '/* top.h - above. */\n#include "mid/mid.h"\nint sm_top(sm_thing *t);\n',
    "lib/top/top.c": '/* top.c - above. */\n#include "top.h"\n#include <other.h>\n'
                     'int sm_top(sm_thing *t) { return t->x; }\n',
}


class Tree(unittest.TestCase):
    def findings(self, files=None, exceptions=""):
        """What is found with these texts behind those of FILES."""
        tree = dict(FILES)
        for name, more in (files or {}).items():
            tree[name] = tree.get(name, "") + more
        with tempfile.TemporaryDirectory() as place:
            (pathlib.Path(place) / "CONTRIBUTING.md").write_text(TABLES + exceptions)
            for name, text in tree.items():
                path = pathlib.Path(place) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            done = subprocess.run([sys.executable, str(ROOT / "scripts/check_includes.py"), place],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 1 if done.stdout else 0, done.stderr)
            return done.stdout

    def expect(self, finding, **arguments):
        self.assertIn(finding, self.findings(**arguments))

    def test_nothing(self):
        self.assertEqual(self.findings(), "")

    def test_includes(self):
        self.expect("lib/low/low.h: may not include top/top.h",
                    files={"lib/low/low.h": '#include "top/top.h"\n'})
        self.expect("lib/top/top.c: may not include low/low.h",
                    files={"lib/top/top.c": '#include "low/low.h"\n'})
        self.expect("lib/top/top.c: may not include ../mid/mid.h",
                    files={"lib/top/top.c": '#include "../mid/mid.h"\n'})
        self.expect("lib/mid/mid.c: may not include <other.h>",
                    files={"lib/mid/mid.c": "#include <other.h>\n"})
        self.expect("which is lib/mid's own", files={
            "lib/mid/own.h": "/* own.h - nobody else's. */\n", "lib/top/top.c": '#include "mid/own.h"\n'})

    def test_use_through_another_header(self):
        for use in ("int x = SM_LOW(1);", "int x = SM_B;", "sm_pair pair;", "int y = sm_low_get();",
                    "sm_low_fn fn;", "int z(void) { return sm_low_table[0]; }"):
            self.expect("lib/top/top.c: may not use lib/low/low.h", files={"lib/top/top.c": use + "\n"})
        for harmless in ("/* sm_pair */", 'const char *s = "sm_pair";', "int sm_not_a_name;"):
            self.assertEqual(self.findings(files={"lib/top/top.c": harmless + "\n"}), "")

    def test_exceptions(self):
        row = "| `lib/top/top.c` | `lib/low/low.h` | why not |\n"
        use = {"lib/top/top.c": "sm_pair pair;\n"}
        self.assertEqual(self.findings(exceptions=row, files=use), "")
        self.expect("the exception for lib/low/low.h is not needed", exceptions=row)

    def test_circles(self):
        self.expect("circle of headers", files={
            "lib/low/low.h": '#include "more.h"\n',
            "lib/low/more.h": '/* more.h - more. */\n#include "low.h"\n'})
        self.expect("circle of folders: lib/low -> lib/mid -> lib/low",
                    files={"lib/low/low.h": "int sm_mid_do(void);\n", "lib/mid/mid.h": "int sm_mid_make(void);\n",
                           "lib/low/low.c": '/* low.c - low. */\nint q(void) { return sm_mid_make(); }\n'})

    def test_openings_and_names(self):
        self.expect("lib/top/new.c: does not begin with what it is",
                    files={"lib/top/new.c": '#include "top.h"\n'})
        self.expect("one name for several files", files={"lib/top/mid.c": "/* mid.c - the other. */\n"})


if __name__ == "__main__":
    unittest.main()
