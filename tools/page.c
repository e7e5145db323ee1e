/* page.c - text set to a width. */
#include "page.h"

#include <stdbool.h>
#include <string.h>

#include "terminal.h"

#define NARROWEST 40 /* what is narrower breaks lines itself */
#define WIDEST 100

page page_new(FILE *out) {
    const int columns = terminal_columns(fileno(out));
    int width = columns == 0 ? TERMINAL_USUAL : columns;
    width = width < NARROWEST ? NARROWEST : width > WIDEST ? WIDEST : width;
    return (page){.out = out, .width = width};
}

/* Columns of n bytes: one for each character. */
static int columns_of(const char *text, size_t n) {
    int columns = 0;
    for (size_t i = 0; i < n; i++)
        columns += ((unsigned char)text[i] & 0xC0) != 0x80;
    return columns;
}

static void put(page *p, const char *text, size_t n) {
    if (p->column < p->indent) {
        fprintf(p->out, "%*s", p->indent - p->column, "");
        p->column = p->indent;
    }
    fwrite(text, 1, n, p->out);
    p->column += columns_of(text, n);
}

void page_break(page *p) {
    if (p->column > 0)
        fputc('\n', p->out);
    p->column = 0;
}

void page_indent(page *p, int column) {
    if (p->column > 0 && p->column + 1 >= column)
        page_break(p);
    p->indent = column;
}

/* How much of a word that is longer than `room` columns goes on a line: n bytes of it. */
static size_t break_at(const char *word, size_t n, int room) {
    size_t end = 0, good = 0;
    while (end < n && columns_of(word, end + 1) <= room) {
        end++;
        if (strchr("|,/", word[end - 1]) != NULL)
            good = end;
    }
    if (good > 0)
        return good;
    while (end > 1 && ((unsigned char)word[end] & 0xC0) == 0x80) /* no part of a character */
        end--;
    return end > 0 ? end : 1;
}

static void put_word(page *p, const char *word, size_t n) {
    const int room = p->width - p->indent;
    if (p->column > p->indent && p->column + 1 + columns_of(word, n) > p->width)
        page_break(p);
    else if (p->column > p->indent)
        put(p, " ", 1);
    while (columns_of(word, n) > room) {
        const size_t part = break_at(word, n, room);
        put(p, word, part);
        page_break(p);
        word += part;
        n -= part;
    }
    put(p, word, n);
}

static void put_words(page *p, const char *text, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t word = 0;
        while (i + word < n && text[i + word] != ' ')
            word++;
        if (word > 0)
            put_word(p, text + i, word);
        i += word;
        while (i < n && text[i] == ' ')
            i++;
    }
}

void page_words(page *p, const char *text) {
    put_words(p, text, strlen(text));
}

void page_text(page *p, const char *text) {
    const int indent = p->indent;
    bool inside = false; /* an indented line came last */
    while (*text != 0) {
        const size_t n = strcspn(text, "\n"), spaces = strspn(text, " ");
        if (spaces > 0 || inside || n == 0)
            page_break(p);
        if (n == 0)
            fputc('\n', p->out);
        inside = spaces > 0;
        p->indent = indent + (int)spaces;
        put_words(p, text + spaces, n - spaces);
        text += n + (text[n] == '\n');
    }
    p->indent = indent;
    page_break(p);
}

/* The length of the word, in which spaces within quotes count as letters. */
static size_t shell_word(const char *text) {
    char quote = 0;
    size_t n = 0;
    for (; text[n] != 0 && (quote != 0 || text[n] != ' '); n++) {
        if (quote == text[n])
            quote = 0;
        else if (quote == 0 && (text[n] == '"' || text[n] == '\''))
            quote = text[n];
    }
    return n;
}

void page_command(page *p, const char *text) {
    enum { MARK = 2 }; /* columns of " \" */
    const int indent = p->indent;
    bool first = true;
    while (*text != 0) {
        const size_t n = shell_word(text);
        const bool last = text[n] == 0;
        const int needed = columns_of(text, n) + (last ? 0 : MARK);
        if (!first && p->column + 1 + needed > p->width) {
            fputs(" \\", p->out);
            page_break(p);
            p->indent = indent + 4;
        } else if (!first) {
            put(p, " ", 1);
        }
        put(p, text, n);
        first = false;
        text += n;
        text += strspn(text, " ");
    }
    p->indent = indent;
    page_break(p);
}

#define WIDE 70 /* columns from which on texts stand beside what they explain */

void page_entry(page *p, const char *term, int beside, const char *meaning, const char *facts) {
    page_indent(p, 2);
    page_words(p, term);
    page_indent(p, p->width < WIDE ? 6 : beside);
    if (p->width < WIDE)
        page_break(p);
    page_words(p, meaning);
    page_break(p);
    page_words(p, facts);
    page_break(p);
}

void page_usage(page *p, const char *name, const char *synopsis) {
    for (int i = 0; *synopsis != 0; i++) {
        char usage[512];
        const size_t n = strcspn(synopsis, "\n");
        snprintf(usage, sizeof usage, "smallmind %s %.*s", name, (int)n, synopsis);
        p->indent = 7;
        if (i == 0) {
            fputs("usage: ", p->out);
            p->column = p->indent;
        }
        page_words(p, usage);
        page_break(p);
        synopsis += n + (synopsis[n] == '\n');
    }
}
