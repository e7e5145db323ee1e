#!/usr/bin/env python3
"""Makes the training text of models/stories.gguf from two excerpts of TinyStories.

Usage: prepare.py CASED LOWERCASE OUT

CASED has its stories separated by <|endoftext|>. LOWERCASE has one newline between stories and
two between paragraphs, and holds the stories of CASED among others: those are left out. OUT gets
the other lower-case stories first and the cased ones last, so that `smallmind train --validation`,
which keeps the last stories, keeps cased ones that occur nowhere else.
"""
import re
import sys

SEPARATOR = "\n<|endoftext|>\n"


def fingerprint(story):
    return re.sub(r"[^a-z]", "", story.lower())[:80]


def main():
    cased_path, lower_path, out_path = sys.argv[1:]
    with open(cased_path, encoding="utf-8") as file:
        text = file.read()
    cased = [story.strip() for story in text.split("<|endoftext|>")]
    if not text.rstrip().endswith("<|endoftext|>"):
        cased.pop()  # cut off in the middle
    cased = [story for story in cased if story]
    with open(lower_path, encoding="utf-8") as file:
        lower = [story.strip() for story in re.split(r"(?<!\n)\n(?!\n)", file.read())]
    known = {fingerprint(story) for story in cased}
    others = [re.sub(r"\n\n+", "\n", story) for story in lower
              if story and fingerprint(story) not in known]
    with open(out_path, "w", encoding="utf-8") as file:
        file.write(SEPARATOR.join(others + cased) + SEPARATOR)
    print(f"{len(others)} lower-case and {len(cased)} cased stories", file=sys.stderr)


if __name__ == "__main__":
    main()
