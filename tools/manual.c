/* manual.c - `smallmind manual`: manual pages, made from the tables that parse commands. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "help.h"

/* ---- roff -------------------------------------------------------------------------------- */

/* The code point of the UTF-8 sequence at text; *n its bytes. */
static uint32_t code_point(const char *text, size_t *n) {
    const unsigned char *c = (const unsigned char *)text;
    *n = c[0] < 0x80 ? 1 : c[0] < 0xE0 ? 2 : c[0] < 0xF0 ? 3 : 4;
    uint32_t code = *n == 1 ? c[0] : c[0] & (0x7Fu >> *n);
    for (size_t i = 1; i < *n; i++)
        code = code << 6 | (c[i] & 0x3Fu);
    return code;
}

/* Text as it is; what roff takes for something else is escaped. */
static void put(const char *text, size_t length) {
    for (size_t i = 0; i < length;) {
        size_t n;
        const uint32_t code = code_point(text + i, &n);
        if (i == 0 && (code == '.' || code == '\''))
            printf("\\&%c", (char)code);
        else if (code == '\\')
            fputs("\\e", stdout);
        else if (code == '-' || code == '`' || code == '\'' || code == '^' || code == '~')
            printf("\\%s", code == '-'    ? "-"
                           : code == '`'  ? "(ga"
                           : code == '\'' ? "(aq"
                           : code == '^'  ? "(ha"
                                          : "(ti");
        else if (code == '|') /* where a list of names may be broken */
            fputs("|\\:", stdout);
        else if (code >= 0x80)
            printf("\\[u%04X]", (unsigned)code);
        else
            putchar((char)code);
        i += n;
    }
}

static void put_text(const char *text) {
    put(text, strlen(text));
}

static void put_line(const char *text) {
    put_text(text);
    putchar('\n');
}

/* Paragraphs as page_text takes them. */
static void put_paragraphs(const char *text) {
    while (*text != 0) {
        const size_t n = strcspn(text, "\n"), spaces = strspn(text, " ");
        if (n == 0)
            puts(".PP");
        else if (spaces > 0)
            printf(".RS %zu\n", spaces);
        put(text + spaces, n - spaces);
        if (n > 0)
            putchar('\n');
        if (spaces > 0)
            puts(".RE");
        text += n + (text[n] == '\n');
    }
}

static void put_head(const char *name, const char *summary) {
    printf(".TH \"%s\" 1 \"\" \"smallmind %s\" \"smallmind\"\n.ad l\n.nh\n.SH NAME\n", name,
           sm_version());
    put_text(name);
    fputs(" \\- ", stdout);
    put_line(summary);
}

/* ---- pages ---------------------------------------------------------------------------------- */

/* smallmind-lora-merge */
static void page_name(char name[64], const command_entry *c) {
    snprintf(name, 64, "smallmind-%s", c->name);
    for (char *at = name; *at != 0; at++) {
        if (*at == ' ')
            *at = '-';
    }
}

static void put_synopsis(const cli_command *c) {
    puts(".SH SYNOPSIS");
    for (const char *line = c->synopsis; *line != 0;) {
        const size_t n = strcspn(line, "\n");
        fputs(line == c->synopsis ? ".B " : ".br\n.B ", stdout);
        fputs("smallmind ", stdout);
        put_line(c->name);
        put(line, n);
        putchar('\n');
        line += n + (line[n] == '\n');
    }
}

static void put_term(const char *term, const char *value) {
    const size_t n = strlen(term) - strlen(value);
    fputs(".TP\n\\fB", stdout);
    put(term, n);
    fputs("\\fR\\fI", stdout);
    put_text(value);
    puts("\\fR");
}

static void put_options(const cli_command *c) {
    flag_ref ref;
    char term[HELP_FLAG_SPACE], facts[HELP_FACTS_SPACE];
    puts(".SH OPTIONS");
    for (size_t i = 0; flag_at(c, i, &ref); i++) {
        put_term(help_flag(term, &ref), help_value(&ref));
        put_line(help_doc(&ref));
        if (help_facts(facts, &ref)[0] != 0) {
            puts(".br");
            put_line(facts);
        }
    }
    put_term("-h, --help", "");
    put_line("print the help");
}

static void put_examples(const cli_command *c) {
    puts(".SH EXAMPLES");
    for (size_t i = 0; i < sizeof c->examples / sizeof c->examples[0]; i++) {
        puts(".TP");
        fputs("\\fB", stdout);
        put_text(c->examples[i].command);
        puts("\\fR");
        put_line(c->examples[i].what);
    }
}

static void put_foot(const char *see) {
    puts(".SH \"EXIT STATUS\"\n"
         "0 done, 1 failed, 2 wrong usage, 130 interrupted by Ctrl\\-C, 143 by SIGTERM, 129 by "
         "SIGHUP.\n"
         ".SH \"SEE ALSO\"");
    puts(see);
}

static void put_page(const cli_command *c, const void *user) {
    char name[64];
    const command_entry *which = user;
    page_name(name, which);
    put_head(name, which->summary);
    put_synopsis(c);
    puts(".SH DESCRIPTION");
    put_paragraphs(c->summary);
    put_options(c);
    put_examples(c);
    put_foot(".BR smallmind (1)");
}

/* The page of the program as a whole. */
static void put_overview(void) {
    char name[64];
    put_head("smallmind", "run and train language models on the CPU");
    puts(".SH SYNOPSIS\n.B smallmind\nCOMMAND [OPTION]...\n"
         ".SH DESCRIPTION\nRuns and trains language models from GGUF files and Hugging Face\n"
         "directories on the CPU. Results go to\n"
         "standard output, progress, timings and errors to standard error.\n"
         ".SH COMMANDS");
    for (size_t i = 0; i < n_commands; i++) {
        page_name(name, &commands[i]);
        fputs(".TP\n.BR ", stdout);
        put_text(name);
        puts(" (1)");
        put_line(commands[i].summary);
    }
    put_foot("The library that does the work: the headers in smallmind/ are its manual.");
}

int cmd_manual(int argc, char **argv) {
    const char *operands[2] = {NULL, NULL};
    char names[512];
    int words = 0;
    command_names(names, sizeof names);
    const cli_command command = {
        .name = "manual",
        .synopsis = "[COMMAND]",
        .summary =
            "Prints the manual page of a command, or of the program as a whole, for man(1). Where\n"
            "the program is installed with meson, the pages are, too: `man smallmind-run`.",
        .examples = {{"smallmind manual run | man -l -", "read a page without installing it"},
                     {"smallmind manual lora merge > smallmind-lora-merge.1", "keep one"}},
        .operand = operands,
        .n_operands = 2,
        .choices = names,
    };
    const int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (operands[0] == NULL) {
        put_overview();
        return CLI_DONE;
    }
    const int given = operands[1] != NULL ? 2 : 1;
    const command_entry *found = command_find(given, (char **)(uintptr_t)operands, &words);
    if (found == NULL || words < given)
        return cli_misuse("manual", "there is no command \"%s%s%s\"", operands[0],
                          given > 1 ? " " : "", given > 1 ? operands[1] : "");
    cli_describe(found->run, put_page, found);
    return CLI_DONE;
}
