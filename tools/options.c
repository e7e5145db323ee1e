/* options.c - command lines: their flags, values and operands. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "flags.h"
#include "help.h"
#include "shown.h"

int cli_misuse(const char *command, const char *format, ...) {
    char prefix[64];
    va_list args;
    snprintf(prefix, sizeof prefix, "smallmind: %s: ", command);
    va_start(args, format);
    cli_say(prefix, format, args);
    va_end(args);
    fprintf(stderr, "smallmind: `smallmind %s --help` lists the options\n", command);
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
        const char *name = flag_choice(ref->field->names, i, &length);
        if (name == NULL)
            return cli_misuse(command->name, "%s: \"%s\" is none of %s", flag, text,
                              ref->field->names);
        if (length == strlen(text) && memcmp(name, text, length) == 0) {
            flag_set(ref, i, 0.0);
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
    if (real == 0.0 && flag_zero_is_default(field))
        return cli_misuse(command->name, "%s: 0 would stand for the default, %.10g", flag,
                          field->fallback);
    flag_set(ref, whole, real);
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
            help_print(command);
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
        if (flag_is_switch(&ref)) {
            if (value != NULL)
                return cli_misuse(command->name, "--%s takes no value", ref.name);
            if (ref.own == NULL)
                flag_set(&ref, 1, 0.0);
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
