/* help.c - what --help says. */
#include "help.h"

#include <string.h>

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

static void print_flag(page *p, const flag_ref *ref) {
    char term[HELP_FLAG_SPACE], facts[HELP_FACTS_SPACE];
    page_entry(p, help_flag(term, ref), 28, help_doc(ref), help_facts(facts, ref));
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
    page_usage(&p, command->name, command->synopsis);
    p.indent = 0;
    fputc('\n', p.out);
    page_text(&p, command->summary);
    fputs("\noptions:\n", p.out);
    for (size_t i = 0; flag_at(command, i, &ref); i++)
        print_flag(&p, &ref);
    page_entry(&p, "-h, --help", 28, "print this text", "");
    print_examples(&p, command);
}
