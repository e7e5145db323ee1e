/* help.c - what --help prints about a command. */
#include "help.h"

#include <stdio.h>
#include <string.h>

#include "flags.h"

static void print_number(double value) {
    if (value >= 18446744073709551615.0)
        fputs("2^64-1", stdout);
    else
        printf("%.10g", value);
}

#define HELP_WIDTH 90
#define HELP_INDENT 28

static void print_wrapped(const char *text, int indent) {
    int column = indent;
    while (*text != 0) {
        const size_t word = strcspn(text, " ");
        if (column > indent && column + (int)word + 1 > HELP_WIDTH) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        fwrite(text, 1, word, stdout);
        column += (int)word;
        text += word;
        while (*text == ' ')
            text++;
    }
    putchar('\n');
}

/* Range, unit and default of a field, in brackets behind its text. */
static void print_field_facts(const flag_ref *ref) {
    const sm_option *field = ref->field;
    const double preset = flag_value(ref);
    const double value = preset != 0.0 ? preset : field->fallback;
    size_t length = 0;
    printf("%*s[", HELP_INDENT, "");
    if (field->type == SM_OPTION_ENUM) {
        const char *name = flag_choice(field->names, (uint64_t)value, &length);
        const bool fits = HELP_INDENT + strlen(field->names) + length < HELP_WIDTH - 14;
        fputs(field->names, stdout);
        if (name != NULL)
            printf(";%s%*sdefault %.*s", fits ? "" : "\n", fits ? 1 : HELP_INDENT + 1, "",
                   (int)length, name);
    } else {
        if (flag_zero_is_default(field) && field->type == SM_OPTION_F64)
            fputs("above ", stdout);
        print_number(flag_zero_is_default(field) && field->type != SM_OPTION_F64 ? 1.0
                                                                                 : field->min);
        fputs(" to ", stdout);
        print_number(field->max);
        if (field->unit != NULL && field->unit[0] != 0)
            printf(" %s", field->unit);
        if (flag_unit_is_size(field->unit))
            fputs(", K M G by 1024", stdout);
        fputs("; default ", stdout);
        print_number(value);
        if (flag_is_seed(ref))
            fputs("; random chooses one", stdout);
    }
    puts("]");
}

static void print_flag(const flag_ref *ref) {
    char left[96];
    int n = 0;
    const char *value = "";
    if (!flag_is_switch(ref)) {
        if (ref->own != NULL)
            value = ref->own->value;
        else
            value = ref->field->type == SM_OPTION_ENUM  ? "NAME"
                    : ref->field->type == SM_OPTION_F64 ? "X"
                                                        : "N";
    }
    n = snprintf(left, sizeof left, "  %s%.1s%s%s%s%s%s", ref->letter != 0 ? "-" : "", &ref->letter,
                 ref->letter != 0 && ref->name[0] != 0 ? ", " : "", ref->name[0] != 0 ? "--" : "",
                 ref->name, value[0] != 0 ? " " : "", value);
    fputs(left, stdout);
    if (n < HELP_INDENT - 1)
        printf("%*s", HELP_INDENT - n, "");
    else
        printf("\n%*s", HELP_INDENT, "");
    print_wrapped(ref->own != NULL ? ref->own->doc : ref->field->doc, HELP_INDENT);
    if (ref->field != NULL && !flag_is_switch(ref))
        print_field_facts(ref);
}

void help_print(const cli_command *command) {
    flag_ref ref;
    printf("usage: smallmind %s %s\n\n%s\n\noptions:\n", command->name, command->synopsis,
           command->summary);
    for (size_t i = 0; flag_at(command, i, &ref); i++)
        print_flag(&ref);
    puts("  -h, --help                print this text");
}
