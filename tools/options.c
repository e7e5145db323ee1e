/* options.c - command lines: flags of a command and fields of the library's options. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* How fields are spelled as flags. A field that is not listed is --its-name; one
 * with neither letter nor name is not offered. */
static const struct {
    uint32_t table;
    const char *field;
    char letter;
    const char *name;
} spellings[] = {
    {SM_OPTIONS_SESSION, "n_ctx", 'c', "context"},
    {SM_OPTIONS_SESSION, "n_threads", 't', "threads"},
    {SM_OPTIONS_SESSION, "n_batch", 'b', "batch"},
    {SM_OPTIONS_SESSION, "kv_type", 0, "kv"},
    {SM_OPTIONS_TRAINER, "n_threads", 't', "threads"},
    {SM_OPTIONS_TRAINER, "data_kind", 0, "kind"},
    {SM_OPTIONS_TRAINER, "sequence", 'c', "sequence"},
    {SM_OPTIONS_TRAINER, "rows", 'b', "rows"},
    {SM_OPTIONS_TRAINER, "steps", 'n', "steps"},
    {SM_OPTIONS_INIT, "n_ctx", 'c', "context"},
    {SM_OPTIONS_VOCABULARY, "n_vocab", 'n', "size"},
    {SM_OPTIONS_SAMPLING, "temperature", 0, "temp"},
    {SM_OPTIONS_SAMPLING, "n_bias", 0, NULL},
    {SM_OPTIONS_GENERATE, "max_tokens", 'n', "max-tokens"},
    {SM_OPTIONS_GENERATE, "parse_special", 0, "special"},
    {SM_OPTIONS_GENERATE, "n_stop", 0, NULL},
    {SM_OPTIONS_QUANTIZE, "n_threads", 't', "threads"},
    {SM_OPTIONS_QUANTIZE, "n_overrides", 0, NULL},
    {SM_OPTIONS_IMATRIX, "n_ctx", 'c', "chunk"},
    {SM_OPTIONS_IMATRIX, "n_threads", 't', "threads"},
};

/* One flag: of the command's own, or a field. */
typedef struct flag_ref {
    char letter;
    char name[48]; /* "" if it has no long form */
    const cli_flag *own;
    const sm_option *field;
    void *options;
} flag_ref;

/* Whether the field can be set from the command line; fills in its spelling. */
static bool spell_field(flag_ref *ref, uint32_t table, const sm_option *field) {
    if (field->type == SM_OPTION_POINTER)
        return false;
    ref->letter = 0;
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        if (spellings[i].table == table && strcmp(spellings[i].field, field->name) == 0) {
            ref->letter = spellings[i].letter;
            snprintf(ref->name, sizeof ref->name, "%s",
                     spellings[i].name != NULL ? spellings[i].name : "");
            return ref->letter != 0 || ref->name[0] != 0;
        }
    }
    snprintf(ref->name, sizeof ref->name, "%s", field->name);
    for (char *c = ref->name; *c != 0; c++) {
        if (*c == '_')
            *c = '-';
    }
    return true;
}

/* The i-th flag of a command in the order of the help; false behind the last. */
static bool flag_at(const cli_command *command, size_t i, flag_ref *ref) {
    memset(ref, 0, sizeof *ref);
    if (i < command->n_flags) {
        ref->own = &command->flags[i];
        ref->letter = ref->own->letter;
        snprintf(ref->name, sizeof ref->name, "%s", ref->own->name != NULL ? ref->own->name : "");
        return true;
    }
    i -= command->n_flags;
    for (size_t j = 0; j < command->n_fields; j++) {
        const cli_fields *fields = &command->fields[j];
        uint32_t n = 0;
        const sm_option *table = sm_options_table(fields->table, &n);
        for (uint32_t k = 0; table != NULL && k < n; k++) {
            if (fields->only != NULL && strcmp(fields->only, table[k].name) != 0)
                continue;
            if (!spell_field(ref, fields->table, &table[k]))
                continue;
            if (i-- == 0) {
                ref->field = &table[k];
                ref->options = fields->options;
                return true;
            }
        }
    }
    return false;
}

/* What can only be no or yes needs no value. */
static bool is_switch(const flag_ref *ref) {
    if (ref->own != NULL)
        return ref->own->kind == CLI_SWITCH;
    return ref->field->type == SM_OPTION_ENUM && strcmp(ref->field->names, "no|yes") == 0;
}

static double field_value(const flag_ref *ref) {
    const char *at = (const char *)ref->options + ref->field->offset;
    uint32_t u32;
    uint64_t u64;
    double f64;
    switch (ref->field->type) {
    case SM_OPTION_U64:
        memcpy(&u64, at, sizeof u64);
        return (double)u64;
    case SM_OPTION_F64:
        memcpy(&f64, at, sizeof f64);
        return f64;
    default:
        memcpy(&u32, at, sizeof u32);
        return (double)u32;
    }
}

static void set_field(const flag_ref *ref, uint64_t whole, double real) {
    char *at = (char *)ref->options + ref->field->offset;
    const uint32_t u32 = (uint32_t)whole;
    switch (ref->field->type) {
    case SM_OPTION_U64:
        memcpy(at, &whole, sizeof whole);
        break;
    case SM_OPTION_F64:
        memcpy(at, &real, sizeof real);
        break;
    default:
        memcpy(at, &u32, sizeof u32);
        break;
    }
}

/* The n-th of names separated by '|'; its length in *length, NULL behind the last. */
static const char *name_at(const char *names, uint64_t n, size_t *length) {
    for (; n > 0 && names != NULL; n--) {
        names = strchr(names, '|');
        if (names != NULL)
            names++;
    }
    if (names != NULL)
        *length = strcspn(names, "|");
    return names;
}

/* ---- help --------------------------------------------------------------------------- */

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

/* Where a zero in the struct stands for another value, it cannot be asked for. */
static bool zero_is_default(const sm_option *field) {
    return field->type != SM_OPTION_ENUM && field->min == 0.0 && field->fallback != 0.0;
}

/* Range, unit and default of a field, in brackets behind its text. */
static void print_field_facts(const flag_ref *ref) {
    const sm_option *field = ref->field;
    const double preset = field_value(ref);
    const double value = preset != 0.0 ? preset : field->fallback;
    size_t length = 0;
    printf("%*s[", HELP_INDENT, "");
    if (field->type == SM_OPTION_ENUM) {
        const char *name = name_at(field->names, (uint64_t)value, &length);
        const bool fits = HELP_INDENT + strlen(field->names) + length < HELP_WIDTH - 14;
        fputs(field->names, stdout);
        if (name != NULL)
            printf(";%s%*sdefault %.*s", fits ? "" : "\n", fits ? 1 : HELP_INDENT + 1, "",
                   (int)length, name);
    } else {
        if (zero_is_default(field) && field->type == SM_OPTION_F64)
            fputs("above ", stdout);
        print_number(zero_is_default(field) && field->type != SM_OPTION_F64 ? 1.0 : field->min);
        fputs(" to ", stdout);
        print_number(field->max);
        if (field->unit != NULL && field->unit[0] != 0)
            printf(" %s", field->unit);
        fputs("; default ", stdout);
        print_number(value);
    }
    puts("]");
}

static void print_flag(const flag_ref *ref) {
    char left[96];
    int n = 0;
    const char *value = "";
    if (!is_switch(ref)) {
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
    if (ref->field != NULL && !is_switch(ref))
        print_field_facts(ref);
}

static void print_help(const cli_command *command) {
    flag_ref ref;
    printf("usage: smallmind %s %s\n\n%s\n\noptions:\n", command->name, command->synopsis,
           command->summary);
    for (size_t i = 0; flag_at(command, i, &ref); i++)
        print_flag(&ref);
    puts("  -h, --help                print this text");
}

/* ---- parsing -------------------------------------------------------------------------- */

int cli_misuse(const char *command, const char *format, ...) {
    va_list args;
    fprintf(stderr, "smallmind: %s: ", command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nsmallmind: `smallmind %s --help` lists the options\n", command);
    return CLI_USAGE;
}

static int bad_range(const cli_command *command, const char *flag, const char *text, double min,
                     double max, const char *unit, bool whole) {
    char high[32];
    if (max >= 18446744073709551615.0)
        snprintf(high, sizeof high, "2^64-1");
    else
        snprintf(high, sizeof high, "%.10g", max);
    return cli_misuse(command->name, "%s: \"%s\" is not a %snumber from %.10g to %s%s%s", flag,
                      text, whole ? "whole " : "", min, high,
                      unit != NULL && unit[0] != 0 ? " " : "", unit != NULL ? unit : "");
}

static bool parse_whole(const char *text, uint64_t *value) {
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && *end == 0;
}

static bool parse_real(const char *text, double *value) {
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == 0 && isfinite(*value);
}

static int set_own(const cli_command *command, const flag_ref *ref, const char *flag,
                   const char *text) {
    const cli_flag *own = ref->own;
    uint64_t whole;
    cli_texts *texts;
    switch (own->kind) {
    case CLI_SWITCH:
        *(bool *)own->target = true;
        return CLI_GO_ON;
    case CLI_TEXT:
        *(const char **)own->target = text;
        return CLI_GO_ON;
    case CLI_TEXTS:
        texts = own->target;
        if (texts->n == CLI_MAX_TEXTS)
            return cli_misuse(command->name, "%s: given more than %d times", flag, CLI_MAX_TEXTS);
        texts->items[texts->n++] = text;
        return CLI_GO_ON;
    case CLI_COUNT:
        break;
    }
    if (!parse_whole(text, &whole) || whole < own->min || whole > own->max)
        return bad_range(command, flag, text, own->min, own->max, "", true);
    *(uint32_t *)own->target = (uint32_t)whole;
    return CLI_GO_ON;
}

static int set_enum(const cli_command *command, const flag_ref *ref, const char *flag,
                    const char *text) {
    size_t length = 0;
    for (uint64_t i = 0;; i++) {
        const char *name = name_at(ref->field->names, i, &length);
        if (name == NULL)
            return cli_misuse(command->name, "%s: \"%s\" is none of %s", flag, text,
                              ref->field->names);
        if (length == strlen(text) && memcmp(name, text, length) == 0) {
            set_field(ref, i, 0.0);
            return CLI_GO_ON;
        }
    }
}

static int set_from_text(const cli_command *command, const flag_ref *ref, const char *flag,
                         const char *text) {
    const sm_option *field = ref->field;
    uint64_t whole = 0;
    double real = 0.0;
    if (field->type == SM_OPTION_ENUM)
        return set_enum(command, ref, flag, text);
    const bool is_real = field->type == SM_OPTION_F64;
    const bool valid = is_real ? parse_real(text, &real) : parse_whole(text, &whole);
    if (!is_real)
        real = (double)whole;
    if (!valid || real < field->min || real > field->max)
        return bad_range(command, flag, text, field->min, field->max, field->unit, !is_real);
    if (real == 0.0 && zero_is_default(field))
        return cli_misuse(command->name, "%s: 0 would stand for the default, %.10g", flag,
                          field->fallback);
    set_field(ref, whole, real);
    return CLI_GO_ON;
}

/* The flag that `argument` names; *value points behind '=' or is NULL. */
static bool find_flag(const cli_command *command, const char *argument, flag_ref *ref,
                      const char **value) {
    *value = NULL;
    for (size_t i = 0; flag_at(command, i, ref); i++) {
        const size_t length = strlen(ref->name);
        if (argument[1] != '-') {
            if (ref->letter != 0 && argument[1] == ref->letter && argument[2] == 0)
                return true;
        } else if (length != 0 && strncmp(argument + 2, ref->name, length) == 0) {
            if (argument[2 + length] == 0)
                return true;
            if (argument[2 + length] == '=') {
                *value = argument + 2 + length + 1;
                return true;
            }
        }
    }
    return false;
}

int cli_parse(const cli_command *command, int argc, char **argv) {
    bool options_ended = false;
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        const char *value;
        flag_ref ref;
        int code = CLI_GO_ON;
        if (!options_ended && (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)) {
            print_help(command);
            return cli_finish(CLI_DONE);
        }
        if (!options_ended && strcmp(argument, "--") == 0) {
            options_ended = true;
            continue;
        }
        if (options_ended || argument[0] != '-' || argument[1] == 0) {
            const size_t room = command->operand == NULL   ? 0
                                : command->n_operands != 0 ? command->n_operands
                                                           : 1;
            size_t taken = 0;
            while (taken < room && command->operand[taken] != NULL)
                taken++;
            if (taken == room)
                return cli_misuse(command->name, "unexpected argument \"%s\"", argument);
            command->operand[taken] = argument;
            continue;
        }
        if (!find_flag(command, argument, &ref, &value))
            return cli_misuse(command->name, "unknown option %s", argument);
        if (is_switch(&ref)) {
            if (value != NULL)
                return cli_misuse(command->name, "--%s takes no value", ref.name);
            if (ref.own == NULL)
                set_field(&ref, 1, 0.0);
            else
                code = set_own(command, &ref, argument, NULL);
        } else {
            char flag[64];
            snprintf(flag, sizeof flag, "%.*s", (int)strcspn(argument, "="), argument);
            if (value == NULL && ++i == argc)
                return cli_misuse(command->name, "%s needs a value", flag);
            if (value == NULL)
                value = argv[i];
            code = ref.own != NULL ? set_own(command, &ref, flag, value)
                                   : set_from_text(command, &ref, flag, value);
        }
        if (code != CLI_GO_ON)
            return code;
    }
    return CLI_GO_ON;
}
