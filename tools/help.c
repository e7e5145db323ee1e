/* help.c - what --help says. */
#include "help.h"

#include <string.h>

#include "commands.h"
#include "page.h"

/* ---- flags ------------------------------------------------------------------------------ */

const char *help_value(const flag_ref *ref) {
    if (flag_is_switch(ref))
        return "";
    if (ref->own != NULL)
        return ref->own->value;
    return ref->field->type == SM_OPTION_ENUM  ? "NAME"
           : ref->field->type == SM_OPTION_F64 ? "X"
                                               : "N";
}

const char *help_flag(char buffer[HELP_FLAG_SPACE], const flag_ref *ref) {
    const char *value = help_value(ref);
    snprintf(buffer, HELP_FLAG_SPACE, "%s%.1s%s%s%s%s%s", ref->letter != 0 ? "-" : "", &ref->letter,
             ref->letter != 0 && ref->name[0] != 0 ? ", " : "", ref->name[0] != 0 ? "--" : "",
             ref->name, value[0] != 0 ? " " : "", value);
    return buffer;
}

const char *help_doc(const flag_ref *ref) {
    return ref->own != NULL ? ref->own->doc : ref->field->doc;
}

static const char *number(char buffer[32], double value) {
    if (value >= 18446744073709551615.0)
        return "2^64-1";
    snprintf(buffer, 32, "%.10g", value);
    return buffer;
}

static void choice_facts(char *buffer, const sm_option *field, double value) {
    size_t length = 0;
    const char *name = flag_choice(field->names, (uint64_t)value, &length);
    snprintf(buffer, HELP_FACTS_SPACE, "[%s%s%.*s]", field->names, name != NULL ? "; default " : "",
             (int)length, name != NULL ? name : "");
}

static void number_facts(char *buffer, const flag_ref *ref, double value) {
    const sm_option *field = ref->field;
    char low[32], high[32], usual[32];
    const bool above = flag_zero_is_default(field), real = field->type == SM_OPTION_F64;
    const char *unit = field->unit != NULL ? field->unit : "";
    snprintf(buffer, HELP_FACTS_SPACE, "[%s%s to %s%s%s%s; default %s%s]",
             above && real ? "above " : "", number(low, above && !real ? 1.0 : field->min),
             number(high, field->max), unit[0] != 0 ? " " : "", unit,
             flag_unit_is_size(unit) ? ", K M G by 1024" : "", number(usual, value),
             flag_is_seed(ref) ? "; random chooses one" : "");
}

const char *help_facts(char buffer[HELP_FACTS_SPACE], const flag_ref *ref) {
    buffer[0] = 0;
    if (ref->field == NULL || flag_is_switch(ref))
        return buffer;
    const double preset = flag_value(ref);
    const double value = preset != 0.0 ? preset : ref->field->fallback;
    if (ref->field->type == SM_OPTION_ENUM)
        choice_facts(buffer, ref->field, value);
    else
        number_facts(buffer, ref, value);
    return buffer;
}

/* ---- pages ------------------------------------------------------------------------------ */

#define WIDE 70 /* columns from which on texts stand beside what they explain */

/* A term and what it means: beside it, or below where there is no room. */
static void print_entry(page *p, const char *term, int beside, const char *meaning,
                        const char *facts) {
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

static void print_flag(page *p, const flag_ref *ref) {
    char term[HELP_FLAG_SPACE], facts[HELP_FACTS_SPACE];
    print_entry(p, help_flag(term, ref), 28, help_doc(ref), help_facts(facts, ref));
}

/* Its lines are usages, of which the first follows "usage:". */
static void print_usage(page *p, const char *name, const char *synopsis) {
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

static void print_examples(page *p, const cli_command *command) {
    fputs("\nexamples:\n", p->out);
    for (size_t i = 0; i < sizeof command->examples / sizeof command->examples[0]; i++) {
        const cli_example *example = &command->examples[i];
        p->indent = 2;
        page_command(p, example->command);
        p->indent = 6;
        page_words(p, example->what);
        page_break(p);
    }
}

void help_print(const cli_command *command) {
    page p = page_new(stdout);
    flag_ref ref;
    print_usage(&p, command->name, command->synopsis);
    p.indent = 0;
    fputc('\n', p.out);
    page_text(&p, command->summary);
    fputs("\noptions:\n", p.out);
    for (size_t i = 0; flag_at(command, i, &ref); i++)
        print_flag(&p, &ref);
    print_entry(&p, "-h, --help", 28, "print this text", "");
    print_examples(&p, command);
}

/* Commands of a group; NULL: all. */
static void list_commands(page *p, const char *group) {
    fputs("\ncommands:\n", p->out);
    for (size_t i = 0; i < n_commands; i++) {
        if (group == NULL || command_in_group(&commands[i], group))
            print_entry(p, commands[i].name, 16, commands[i].summary, "");
    }
    fputc('\n', p->out);
    p->indent = 0;
}

void help_group(FILE *out, const char *group) {
    page p = page_new(out);
    print_usage(&p, group, "COMMAND [OPTION]...");
    list_commands(&p, group);
    page_text(&p, "`smallmind COMMAND --help` lists the options of a command.");
}

void help_commands(FILE *out) {
    page p = page_new(out);
    print_usage(&p, "COMMAND", "[OPTION]...");
    page_text(&p, "\nRuns language models from GGUF files on the CPU.");
    list_commands(&p, NULL);
    page_text(&p,
              "`smallmind COMMAND --help` lists the options of a command; those that compute take\n"
              "-t THREADS and --level LEVEL. `smallmind --version` prints the version.\n"
              "Results go to standard output, progress, timings and errors to standard error.\n"
              "Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted by Ctrl-C,\n"
              "143 by SIGTERM, 129 by SIGHUP.");
}
