/* flags.c - the flags of a command: its own, and fields of the library's options structs. */
#include "flags.h"

#include <stdio.h>
#include <string.h>

#define MOST_TABLES 32
#define MOST_FIELDS 128

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
    {SM_OPTIONS_ENCODER, "n_threads", 't', "threads"},
    {SM_OPTIONS_ENCODER, "n_batch", 'b', "batch"},
    {SM_OPTIONS_ENCODER, "n_dims", 0, "dims"},
    {SM_OPTIONS_TRAINER, "n_threads", 't', "threads"},
    {SM_OPTIONS_TRAINER, "data_kind", 0, "kind"},
    {SM_OPTIONS_TRAINER, "sequence", 'c', "sequence"},
    {SM_OPTIONS_TRAINER, "rows", 'b', "rows"},
    {SM_OPTIONS_TRAINER, "steps", 'n', "steps"},
    {SM_OPTIONS_TRAINER, "n_more_data", 0, NULL},
    {SM_OPTIONS_INIT, "n_ctx", 'c', "context"},
    {SM_OPTIONS_VOCABULARY, "n_vocab", 'n', "size"},
    {SM_OPTIONS_SAMPLING, "temperature", 0, "temp"},
    {SM_OPTIONS_SAMPLING, "n_bias", 0, NULL},
    {SM_OPTIONS_SAMPLING, "typical_p", 0, "typical"},
    {SM_OPTIONS_SAMPLING, "n_dry_breakers", 0, NULL},
    {SM_OPTIONS_SAMPLING, "n_dry_breaker_texts", 0, NULL},
    {SM_OPTIONS_SAMPLING, "n_steps", 0, NULL},
    {SM_OPTIONS_WATERMARK, "seeding", 0, "watermark-seeding"},
    {SM_OPTIONS_WATERMARK, "width", 0, "watermark-width"},
    {SM_OPTIONS_WATERMARK, "gamma", 0, "watermark-gamma"},
    {SM_OPTIONS_WATERMARK, "delta", 0, "watermark-delta"},
    {SM_OPTIONS_WATERMARK, "key", 0, "watermark-key"},
    {SM_OPTIONS_GENERATE, "max_tokens", 'n', "max-tokens"},
    {SM_OPTIONS_GENERATE, "parse_special", 0, "special"},
    {SM_OPTIONS_GENERATE, "n_stop", 0, NULL},
    {SM_OPTIONS_GENERATE, "n_ban", 0, NULL},
    {SM_OPTIONS_GENERATE, "n_logprobs", 0, "logprobs"},
    {SM_OPTIONS_QUANTIZE, "n_threads", 't', "threads"},
    {SM_OPTIONS_QUANTIZE, "n_overrides", 0, NULL},
    {SM_OPTIONS_IMATRIX, "n_ctx", 'c', "chunk"},
    {SM_OPTIONS_IMATRIX, "n_threads", 't', "threads"},
};

/* The table of an options struct, read once. */
static const sm_option *table_of(uint32_t options_struct, uint32_t *n) {
    static sm_option tables[MOST_TABLES][MOST_FIELDS];
    sm_option *table = tables[options_struct % MOST_TABLES];
    *n = sm_options_count(options_struct);
    for (uint32_t i = 0; i < *n && i < MOST_FIELDS && table[i].name == NULL; i++) {
        table[i].struct_size = sizeof table[i];
        if (sm_options_get(options_struct, i, &table[i], NULL) != SM_OK)
            *n = 0;
    }
    if (*n > MOST_FIELDS)
        *n = MOST_FIELDS;
    return table;
}

/* A field's name as a flag. */
static void dash_name(char *name, size_t capacity, const sm_option *field) {
    snprintf(name, capacity, "%s", field->name);
    for (char *c = name; *c != 0; c++) {
        if (*c == '_')
            *c = '-';
    }
}

/* Whether the field can be set from the command line; fills in its spelling. */
static bool spell_field(flag_ref *ref, uint32_t table, const sm_option *field) {
    if (field->type == SM_OPTION_POINTER || field->type == SM_OPTION_STRING)
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
    dash_name(ref->name, sizeof ref->name, field);
    return true;
}

bool flag_at(const cli_command *command, size_t i, flag_ref *ref) {
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
        const sm_option *table = table_of(fields->table, &n);
        for (uint32_t k = 0; k < n; k++) {
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

/* What other programs call flags, and ours: of several the first that the command has. */
static const struct {
    const char *other, *names;
} others[] = {
    {"learning-rate", "lr"},
    {"batch-size", "rows|batch"},
    {"per-device-train-batch-size", "rows"},
    {"gradient-accumulation-steps", "accumulate"},
    {"model-draft", "draft"},
    {"keep", "n-keep"},
    {"draft-max", "draft-tokens"},
    {"max-steps", "steps"},
    {"num-epochs", "epochs"},
    {"num-train-epochs", "epochs"},
    {"warmup-steps", "warmup"},
    {"max-grad-norm", "clip"},
    {"lr-scheduler-type", "schedule"},
    {"max-seq-length", "sequence"},
    {"seq-len", "sequence"},
    {"lora-r", "lora-rank"},
    {"target-modules", "lora-targets"},
    {"lora-target-modules", "lora-targets"},
    {"dataset", "data"},
    {"ctx-size", "context|sequence"},
    {"context-size", "context"},
    {"context-length", "context"},
    {"n-predict", "max-tokens"},
    {"predict", "max-tokens"},
    {"max-new-tokens", "max-tokens"},
    {"repetition-penalty", "repeat-penalty"},
    {"repeat-last-n", "penalty-last-n"},
    {"top-nsigma", "top-n-sigma"},
    {"dry-penalty-last-n", "dry-last-n"},
    {"dynatemp-exp", "dynatemp-exponent"},
    {"mirostat-lr", "mirostat-eta"},
    {"mirostat-ent", "mirostat-tau"},
    {"samplers", "sampler-order"},
    {"lora", "adapter"},
    {"num-threads", "threads"},
    {"output", "out"},
    {"out", "output"},
    {"model-path", "model"},
};
#define N_OTHERS (sizeof others / sizeof others[0])

static char plain(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c == '_' ? '-' : c;
}

static bool same_name(const char *own, const char *name, size_t length) {
    size_t i = 0;
    while (i < length && own[i] != 0 && plain(own[i]) == plain(name[i]))
        i++;
    return i == length && own[i] == 0;
}

static bool find_named(const cli_command *command, const char *name, size_t length, size_t *index,
                       flag_ref *ref) {
    if (length == 0)
        return false;
    for (*index = 0; flag_at(command, *index, ref); ++*index) {
        if (same_name(ref->name, name, length))
            return true;
    }
    for (*index = 0; flag_at(command, *index, ref); ++*index) {
        if (ref->field != NULL && same_name(ref->field->name, name, length))
            return true;
    }
    return false;
}

/* The flag of the command that entry i of the table above stands for. */
static bool find_other(const cli_command *command, size_t i, size_t *index, flag_ref *ref) {
    uint64_t length;
    const char *name;
    for (uint32_t k = 0; (name = sm_names_get(others[i].names, k, &length)) != NULL; k++) {
        if (find_named(command, name, length, index, ref))
            return true;
    }
    return false;
}

bool flag_find(const cli_command *command, const char *name, size_t length, size_t *index,
               flag_ref *ref) {
    if (find_named(command, name, length, index, ref))
        return true;
    for (size_t i = 0; i < N_OTHERS; i++) {
        if (same_name(others[i].other, name, length))
            return find_other(command, i, index, ref);
    }
    return false;
}

bool flag_find_letter(const cli_command *command, char letter, size_t *index, flag_ref *ref) {
    for (*index = 0; flag_at(command, *index, ref); ++*index) {
        if (ref->letter != 0 && ref->letter == letter)
            return true;
    }
    return false;
}

void flag_names(const cli_command *command, char *names, size_t capacity) {
    flag_ref ref;
    char own[48];
    size_t n = (size_t)snprintf(names, capacity, "--help"), index;
    for (size_t i = 0; n < capacity && flag_at(command, i, &ref); i++) {
        if (ref.name[0] != 0)
            n += (size_t)snprintf(names + n, capacity - n, "|--%s", ref.name);
        if (ref.field != NULL && n < capacity) {
            dash_name(own, sizeof own, ref.field);
            if (strcmp(own, ref.name) != 0)
                n += (size_t)snprintf(names + n, capacity - n, "|--%s", own);
        }
    }
    for (size_t i = 0; n < capacity && i < N_OTHERS; i++) {
        if (find_other(command, i, &index, &ref))
            n += (size_t)snprintf(names + n, capacity - n, "|--%s", others[i].other);
    }
}

bool flag_unit_is_size(const char *unit) {
    return unit != NULL && (strcmp(unit, "bytes") == 0 || strcmp(unit, "tokens") == 0);
}

bool flag_is_seed(const flag_ref *ref) {
    return ref->field != NULL && strcmp(ref->field->name, "seed") == 0;
}

bool flag_is_switch(const flag_ref *ref) {
    if (ref->own != NULL)
        return ref->own->kind == CLI_SWITCH;
    return ref->field->type == SM_OPTION_BOOL;
}

double flag_value(const flag_ref *ref) {
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

void flag_set(const flag_ref *ref, uint64_t whole, double real) {
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

const char *flag_choice(const char *names, uint64_t n, size_t *length) {
    for (; n > 0 && names != NULL; n--) {
        names = strchr(names, '|');
        if (names != NULL)
            names++;
    }
    if (names != NULL)
        *length = strcspn(names, "|");
    return names;
}

bool flag_zero_is_default(const sm_option *field) {
    return field->type != SM_OPTION_ENUM && field->type != SM_OPTION_BOOL && field->min == 0.0 &&
           field->fallback != 0.0 && field->zero == 0.0;
}
