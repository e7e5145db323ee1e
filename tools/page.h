/* page.h - text that is set to a width, for help on a terminal. */
#ifndef PAGE_H
#define PAGE_H

#include <stdio.h>

typedef struct page {
    FILE *out;
    int width;  /* columns */
    int indent; /* where lines begin */
    int column; /* where the next byte goes */
} page;

/* A page as wide as the terminal that `out` is, but no wider than can be read; TERMINAL_USUAL
 * columns where it is none. */
page page_new(FILE *out);
/* Words, each on the line that is begun if it fits there. What is longer than a line is broken,
 * behind '|', ',' or '/' if there is one. */
void page_words(page *p, const char *text);
/* Goes to that column, on a new line if need be, and begins lines there from now on. */
void page_indent(page *p, int column);
/* Ends the line, if one is begun. */
void page_break(page *p);
/* Paragraphs: lines that follow one another are one, unless they are indented, which begin a
 * line that far in; an empty line stays. */
void page_text(page *p, const char *text);
/* A command for a shell, continued behind a backslash where it is longer than a line. */
void page_command(page *p, const char *text);
/* A term and what it means: beside it from column `beside` on, or below where there is no room. */
void page_entry(page *p, const char *term, int beside, const char *meaning, const char *facts);
/* "smallmind NAME" and each line of the synopsis, of which the first follows "usage:". */
void page_usage(page *p, const char *name, const char *synopsis);

#endif
