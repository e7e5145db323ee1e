/* options.c - command lines: their flags, values and operands. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

const char *cli_did_you_mean(char *buffer, size_t capacity, const char *names, const char *name) {
    uint32_t nearest;
    uint64_t length;
    sm_names_find(names, name, &nearest);
    const char *meant = sm_names_get(names, nearest, &length);
    buffer[0] = 0;
    if (meant != NULL)
        snprintf(buffer, capacity, ": did you mean %.*s?", (int)length, meant);
    return buffer;
}

/* ---- values ------------------------------------------------------------------------------ */

static int bad_range(const cli_command *command, const char *flag, const char *text, double min,
                     double max, const char *unit, bool whole) {
    char high[32];
    if (max >= 18446744073709551615.0)
        snprintf(high, sizeof high, "2^64-1");
    else
        snprintf(high, sizeof high, "%.10g", max);
    return cli_misuse(command->name, "%s: \"%s\" is not a %snumber from %.10g to %s%s%s%s", flag,
                      text, whole ? "whole " : "", min, high,
                      unit != NULL && unit[0] != 0 ? " " : "", unit != NULL ? unit : "",
                      flag_unit_is_size(unit) ? " (K, M and G multiply by 1024)" : "");
}

static bool parse_whole(const char *text, uint64_t *value) {
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && *end == 0;
}

/* What K, M or G stand for, spelled K, KB or KiB in either case; 0: something else. */
static uint64_t multiplier(const char *text) {
    static const char *const endings[] = {"k|kb|kib", "m|mb|mib", "g|gb|gib"};
    for (unsigned i = 0; i < 3; i++) {
        if (sm_names_find(endings[i], text, NULL) != SM_NAME_NONE)
            return (uint64_t)1 << (10 * (i + 1));
    }
    return 0;
}

/* A whole number, or one with a fraction and a multiplier: 512, 4K, 1.5G. */
static bool parse_size(const char *text, uint64_t *value) {
    char *end;
    if (parse_whole(text, value))
        return true;
    if (text[0] < '0' || text[0] > '9' || text[strspn(text, "0123456789.")] == 0)
        return false;
    const size_t digits = strspn(text, "0123456789.");
    const uint64_t unit = multiplier(text + digits);
    char number[32];
    if (unit == 0 || digits >= sizeof number)
        return false;
    memcpy(number, text, digits);
    number[digits] = 0;
    const double size = strtod(number, &end) * (double)unit;
    if (*end != 0 || size >= 9.2e18)
        return false;
    *value = (uint64_t)(size + 0.5);
    return true;
}

static bool parse_real(const char *text, double *value) {
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == 0 && isfinite(*value);
}

/* Of 32 bits: short enough to be typed again. */
static uint64_t random_seed(void) {
    uint32_t seed = 0;
    FILE *source = fopen("/dev/urandom", "rb");
    if (source == NULL || fread(&seed, sizeof seed, 1, source) != 1)
        seed = (uint32_t)time(NULL) * 2654435761u ^ (uint32_t)clock();
    if (source != NULL)
        fclose(source);
    return seed;
}

static size_t operand_room(const cli_command *command) {
    return command->operand == NULL ? 0 : command->n_operands != 0 ? command->n_operands : 1;
}

/* Whether a text that is set already stands there as an operand. */
static bool is_operand(const cli_command *command, const void *target) {
    for (size_t i = 0; i < operand_room(command); i++) {
        if (target == &command->operand[i])
            return true;
    }
    return false;
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
        if (is_operand(command, own->target) && *(const char **)own->target != NULL)
            return cli_misuse(command->name, "%s: \"%s\" is named already", flag,
                              *(const char **)own->target);
        *(const char **)own->target = text;
        return CLI_GO_ON;
    case CLI_TEXTS:
        texts = own->target;
        if (texts->n == CLI_MAX_TEXTS)
            return cli_misuse(command->name, "%s: given more than %d times", flag, CLI_MAX_TEXTS);
        texts->items[texts->n++] = text;
        return CLI_GO_ON;
    case CLI_COUNT:
    case CLI_SIZE:
        break;
    }
    const bool size = own->kind == CLI_SIZE;
    if (!(size ? parse_size : parse_whole)(text, &whole) || whole < own->min || whole > own->max)
        return bad_range(command, flag, text, own->min, own->max, size ? "tokens" : "", true);
    *(uint32_t *)own->target = (uint32_t)whole;
    return CLI_GO_ON;
}

static int set_enum(const cli_command *command, const flag_ref *ref, const char *flag,
                    const char *text) {
    char meant[96];
    const uint32_t place = sm_names_find(ref->field->names, text, NULL);
    if (place == SM_NAME_NONE)
        return cli_misuse(command->name, "%s: \"%s\" is none of %s%s", flag, text,
                          ref->field->names,
                          cli_did_you_mean(meant, sizeof meant, ref->field->names, text));
    flag_set(ref, place, 0.0);
    return CLI_GO_ON;
}

static int set_from_text(const cli_command *command, const flag_ref *ref, const char *flag,
                         const char *text) {
    const sm_option *field = ref->field;
    uint64_t whole = 0;
    double real = 0.0;
    if (field->type == SM_OPTION_ENUM)
        return set_enum(command, ref, flag, text);
    if (flag_is_seed(ref) && sm_names_find("random", text, NULL) == 0) {
        whole = random_seed();
        fprintf(stderr, "seed %llu\n", (unsigned long long)whole);
        flag_set(ref, whole, 0.0);
        return CLI_GO_ON;
    }
    const bool is_real = field->type == SM_OPTION_F64;
    const bool valid = is_real                          ? parse_real(text, &real)
                       : flag_unit_is_size(field->unit) ? parse_size(text, &whole)
                                                        : parse_whole(text, &whole);
    if (!is_real)
        real = (double)whole;
    if (!valid || real < field->min || real > field->max)
        return bad_range(command, flag, text, field->min, field->max, field->unit, !is_real);
    if (real == 0.0 && field->zero != 0.0) { /* zero itself */
        flag_set(ref, is_real ? 0 : (uint64_t)field->zero, field->zero);
        return CLI_GO_ON;
    }
    if (real == 0.0 && flag_zero_is_default(field))
        return cli_misuse(command->name, "%s: 0 would stand for the default, %.10g", flag,
                          field->fallback);
    flag_set(ref, whole, real);
    return CLI_GO_ON;
}

/* ---- flags ------------------------------------------------------------------------------- */

#define MOST_FLAGS 128

/* A flag as it stands on the command line. */
typedef struct given {
    size_t index;      /* in the order of flag_at */
    const char *value; /* attached to it; NULL: none */
    char text[64];     /* of the flag alone, for messages */
} given;

/* The flag that `argument` names; false if there is none. */
static bool find_flag(const cli_command *command, const char *argument, flag_ref *ref, given *g) {
    size_t length = strcspn(argument, "=");
    if (argument[1] == '-') {
        if (!flag_find(command, argument + 2, length - 2, &g->index, ref))
            return false;
        g->value = argument[length] == '=' ? argument + length + 1 : NULL;
    } else { /* -n 5, -n5 or -n=5 */
        if (!flag_find_letter(command, argument[1], &g->index, ref))
            return false;
        g->value = argument[2] == 0 ? NULL : argument + 2 + (argument[2] == '=');
        length = 2;
    }
    snprintf(g->text, sizeof g->text, "%.*s", (int)length, argument);
    return true;
}

static int unknown_flag(const cli_command *command, const char *argument) {
    char names[4096], meant[96], name[64];
    const size_t length = strcspn(argument, "=");
    const size_t known = length < sizeof name ? length : sizeof name - 1;
    memcpy(name, argument, known);
    name[known] = 0;
    flag_names(command, names, sizeof names);
    return cli_misuse(command->name, "unknown option %.*s%s", (int)length, argument,
                      cli_did_you_mean(meant, sizeof meant, names, name));
}

/* Sets what one flag asks for. *i is the place of its argument and moves on to that of its value.
 * seen: flags that took their one value. */
static int take_flag(const cli_command *command, int argc, char **argv, int *i, bool *seen) {
    flag_ref ref;
    given g;
    const char *argument = argv[*i];
    /* a long name behind one dash: -model */
    if (argument[1] != '-' && argument[2] != 0 &&
        flag_find(command, argument + 1, strcspn(argument + 1, "="), &g.index, &ref))
        return cli_misuse(command->name, "unknown option %.*s: did you mean --%s?",
                          (int)strcspn(argument, "="), argument, ref.name);
    if (!find_flag(command, argument, &ref, &g))
        return unknown_flag(command, argument);
    if (flag_is_switch(&ref)) {
        if (g.value != NULL)
            return cli_misuse(command->name, "%s takes no value", g.text);
        if (ref.own != NULL)
            return set_own(command, &ref, g.text, NULL);
        flag_set(&ref, 1, 0.0);
        return CLI_GO_ON;
    }
    if (g.value == NULL && ++*i == argc)
        return cli_misuse(command->name, "%s needs a value", g.text);
    if (g.value == NULL)
        g.value = argv[*i];
    const bool repeats = ref.own != NULL && ref.own->kind == CLI_TEXTS;
    if (!repeats && g.index < MOST_FLAGS) {
        if (seen[g.index])
            return cli_misuse(command->name, "%s: given a second time, but it takes one value",
                              g.text);
        seen[g.index] = true;
    }
    return ref.own != NULL ? set_own(command, &ref, g.text, g.value)
                           : set_from_text(command, &ref, g.text, g.value);
}

static int take_operand(const cli_command *command, const char *argument) {
    size_t taken = 0;
    while (taken < operand_room(command) && command->operand[taken] != NULL)
        taken++;
    if (taken == operand_room(command))
        return cli_misuse(command->name, "unexpected argument \"%s\"", argument);
    command->operand[taken] = argument;
    return CLI_GO_ON;
}

/* Who wants to know about commands; set while cli_describe runs. */
static struct {
    void (*describe)(const cli_command *command, const void *user);
    const void *user;
} listener;

void cli_describe(int (*run)(int argc, char **argv),
                  void (*describe)(const cli_command *command, const void *user),
                  const void *user) {
    char *argv[] = {"", NULL};
    listener.describe = describe;
    listener.user = user;
    run(1, argv); /* all that a command does without arguments is to parse none */
    listener.describe = NULL;
}

int cli_parse(const cli_command *command, int argc, char **argv) {
    if (listener.describe != NULL) {
        listener.describe(command, listener.user);
        return CLI_DONE;
    }
    bool options_ended = false, seen[MOST_FLAGS] = {false};
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        int code = CLI_GO_ON;
        if (!options_ended && (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)) {
            help_print(command);
            return cli_finish(CLI_DONE);
        }
        if (!options_ended && strcmp(argument, "--") == 0)
            options_ended = true;
        else if (options_ended || argument[0] != '-' || argument[1] == 0)
            code = take_operand(command, argument);
        else
            code = take_flag(command, argc, argv, &i, seen);
        if (code != CLI_GO_ON)
            return code;
    }
    return CLI_GO_ON;
}
