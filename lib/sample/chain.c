/* The table of samplers, and chains made from options by it. */
#include "survivors.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* ---- the table ------------------------------------------------------------------------------ */

static bool above_zero(const double *v) {
    return v[0] > 0;
}
static bool below_one(const double *v) {
    return v[0] < 1;
}
static bool always(const double *v) {
    (void)v;
    return true;
}
static bool penalties_on(const double *v) {
    return v[0] != 0 && (v[1] != 1 || v[2] != 0 || v[3] != 0);
}
static bool dry_on(const double *v) {
    return v[0] > 0 && v[3] != 0;
}
/* The draw is uniform on [0, 1): of 0 nothing comes. */
static bool xtc_on(const double *v) {
    return v[0] > 0 && v[1] <= 0.5;
}

#define FIELD(field) offsetof(sm_sampling, field)

static const struct {
    uint32_t offset[4]; /* of the parameters' fields */
    bool (*on)(const double *v);
    sm_sampler_fn *run;
    bool least; /* looks at min_keep */
} how[] = {
    {{FIELD(penalty_last_n), FIELD(repeat_penalty), FIELD(frequency_penalty),
      FIELD(presence_penalty)},
     penalties_on,
     sm_penalties,
     false},
    {{FIELD(dry_multiplier), FIELD(dry_base), FIELD(dry_allowed_length), FIELD(dry_last_n)},
     dry_on,
     sm_dry,
     false},
    {{FIELD(top_n_sigma)}, above_zero, sm_top_n_sigma, false},
    {{FIELD(top_k)}, above_zero, sm_top_k, false},
    {{FIELD(typical_p)}, below_one, sm_typical, true},
    {{FIELD(top_p)}, below_one, sm_top_p, true},
    {{FIELD(min_p)}, above_zero, sm_min_p, true},
    {{FIELD(top_a)}, above_zero, sm_top_a, false},
    {{FIELD(xtc_probability), FIELD(xtc_threshold)}, xtc_on, sm_xtc, true},
    {{FIELD(temperature), FIELD(dynatemp_range), FIELD(dynatemp_exponent)},
     always,
     sm_temperature,
     false},
    {{FIELD(mirostat), FIELD(mirostat_tau), FIELD(mirostat_eta), FIELD(mirostat_m)},
     above_zero,
     sm_mirostat,
     false},
};

static const sm_sampler_info table[] = {
    {sizeof(sm_sampler_info), SM_SAMPLER_PENALTIES, 4, 0, "penalties",
     "penalty|repetition_penalty|e", "last_n|repeat|frequency|presence",
     "penalty_last_n|repeat_penalty|frequency_penalty|presence_penalty",
     "makes tokens less likely that occurred"},
    {sizeof(sm_sampler_info), SM_SAMPLER_DRY, 4, 0, "dry", "d",
     "multiplier|base|allowed_length|last_n",
     "dry_multiplier|dry_base|dry_allowed_length|dry_last_n",
     "makes tokens less likely that would go on with a repetition"},
    {sizeof(sm_sampler_info), SM_SAMPLER_TOP_N_SIGMA, 1, 0, "top_n_sigma",
     "top-n-sigma|top-nsigma|nsigma|s", "n", "top_n_sigma",
     "keeps logits within n standard deviations of the largest"},
    {sizeof(sm_sampler_info), SM_SAMPLER_TOP_K, 1, 0, "top_k", "top-k|topk|k", "k", "top_k",
     "keeps the k likeliest tokens"},
    {sizeof(sm_sampler_info), SM_SAMPLER_TYPICAL, 1, 0, "typical",
     "typical_p|typical-p|typ_p|typ-p|typ|y", "p", "typical_p",
     "keeps the tokens whose information is nearest to the entropy"},
    {sizeof(sm_sampler_info), SM_SAMPLER_TOP_P, 1, 0, "top_p", "top-p|topp|nucleus|p", "p", "top_p",
     "keeps the smallest set of tokens with a probability"},
    {sizeof(sm_sampler_info), SM_SAMPLER_MIN_P, 1, 0, "min_p", "min-p|minp|m", "p", "min_p",
     "drops tokens below a share of the likeliest one's probability"},
    {sizeof(sm_sampler_info), SM_SAMPLER_TOP_A, 1, 0, "top_a", "top-a|topa", "a", "top_a",
     "drops tokens below a times the square of that probability"},
    {sizeof(sm_sampler_info), SM_SAMPLER_XTC, 2, 0, "xtc", "x", "probability|threshold",
     "xtc_probability|xtc_threshold",
     "drops now and then the likeliest tokens but the last of them"},
    {sizeof(sm_sampler_info), SM_SAMPLER_TEMPERATURE, 3, 0, "temperature", "temp|temp_ext|t",
     "t|range|exponent", "temperature|dynatemp_range|dynatemp_exponent",
     "makes draws more random, or less"},
    {sizeof(sm_sampler_info), SM_SAMPLER_MIROSTAT, 4, 0, "mirostat", "", "version|tau|eta|m",
     "mirostat|mirostat_tau|mirostat_eta|mirostat_m",
     "keeps what leads to a surprise of tau bits a token"},
};
#define N_SAMPLERS ((uint32_t)(sizeof table / sizeof *table))

const sm_sampler_info *sm_sampler_table(uint32_t *n) {
    if (n)
        *n = N_SAMPLERS;
    return table;
}

uint32_t sm_sampler_count(void) {
    return N_SAMPLERS;
}

sm_status sm_sampler_get_info(uint32_t i, sm_sampler_info *info, sm_error *error) {
    static const sm_wide wide[] = {SM_WIDE_FROM(sm_sampler_info, name), {0, 0, 0}};
    if (i >= N_SAMPLERS)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_sampler_get_info: there are %u samplers, and no number %u", N_SAMPLERS,
                       i);
    return sm_struct_give(info, &table[i], sizeof *info, wide, "sm_sampler_info", error);
}

/* A row of the table, which has the numbers in their order. */
static uint32_t row_of(uint32_t sampler) {
    return sampler - 1;
}

bool sm_step_is_on(const sm_sampling_step *step) {
    return how[row_of(step->sampler)].on(step->value);
}

void sm_step_run(const sm_sampling_step *step, const sm_stage *c) {
    how[row_of(step->sampler)].run(c, step);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static const sm_option *option_at(uint32_t offset) {
    uint32_t n;
    const sm_option *options = sm_options_table(SM_OPTIONS_SAMPLING, &n);
    while (options->offset != offset)
        options++;
    return options;
}

static double read_option(const sm_sampling *o, uint32_t offset) {
    const uint8_t *field = (const uint8_t *)o + offset;
    uint32_t whole;
    double real;
    memcpy(&whole, field, sizeof whole);
    memcpy(&real, field, sizeof real);
    return option_at(offset)->type == SM_OPTION_F64 ? real : whole;
}

/* What the fields say of a sampler. The length of DRY's window is 0 there where it is all. */
static sm_sampling_step step_of(const sm_sampling *o, uint32_t row) {
    sm_sampling_step step = {.sampler = table[row].sampler, .min_keep = o->min_keep};
    for (uint32_t i = 0; i < table[row].n_parameters; i++)
        step.value[i] = read_option(o, how[row].offset[i]);
    if (step.sampler == SM_SAMPLER_DRY && o->dry_last_n == 0)
        step.value[3] = -1;
    return step;
}

static void add(sm_chain *chain, const sm_sampling_step *step) {
    if (sm_step_is_on(step))
        chain->steps[chain->n_steps++] = *step;
}

/* ---- an order -------------------------------------------------------------------------------- */

static bool is_gap(char c) {
    return c == ',' || c == ';' || c == ' ' || c == '|' || c == '\n' || c == '\t';
}

/* All names that an order may hold, for a message. */
static void all_names(char *names, size_t capacity) {
    size_t n = 0;
    for (uint32_t i = 0; i < N_SAMPLERS; i++)
        n += sm_format(names + n, capacity - n, i ? "|%s" : "%s", table[i].name);
}

static uint32_t find_row(const char *name) {
    for (uint32_t i = 0; i < N_SAMPLERS; i++)
        if (sm_names_find(table[i].name, name, NULL) != SM_NAME_NONE ||
            sm_names_find(table[i].other_names, name, NULL) != SM_NAME_NONE)
            return i;
    return N_SAMPLERS;
}

/* Whether a word that is no name is made of letters that are: "edskypmxt", as llama.cpp has it. */
static bool is_letters(const char *word) {
    char letter[2] = "";
    for (; *word; word++) {
        letter[0] = *word;
        if (find_row(letter) == N_SAMPLERS)
            return false;
    }
    return true;
}

/* The row of the next name of an order, which it moves behind it; N_SAMPLERS at the end. */
static sm_status next_row(const char **order, uint32_t *row, sm_error *error) {
    char name[48], names[200];
    const char *begin = *order;
    while (is_gap(*begin))
        begin++;
    const char *end = begin;
    while (*end && !is_gap(*end))
        end++;
    *order = end;
    *row = N_SAMPLERS;
    if (begin == end)
        return SM_OK;
    sm_format(name, sizeof name, "%.*s", (int)min_u64((uint64_t)(end - begin), sizeof name - 1),
              begin);
    *row = find_row(name);
    if (*row == N_SAMPLERS && is_letters(name)) { /* the first one's, the others come next */
        *order = begin + 1;
        name[1] = 0;
        *row = find_row(name);
    }
    if (*row < N_SAMPLERS)
        return SM_OK;
    all_names(names, sizeof names);
    return sm_fail_name(error, "option order: sampler", name, names);
}

/* What was asked for has to be in the order. */
static sm_status check_left_out(const sm_sampling *o, const bool *used, sm_error *error) {
    for (uint32_t row = 0; row < N_SAMPLERS; row++) {
        const sm_sampling_step step = step_of(o, row);
        const bool asked =
            step.sampler == SM_SAMPLER_TEMPERATURE ? o->temperature > 0 : sm_step_is_on(&step);
        if (!used[row] && asked)
            return sm_fail(error, SM_ERR_ARGUMENT,
                           "option order leaves out %s, which other options ask for",
                           table[row].name);
    }
    return SM_OK;
}

static sm_status take_order(sm_chain *chain, sm_error *error) {
    const sm_sampling *o = &chain->options;
    const char *at = o->order;
    bool used[N_SAMPLERS] = {false};
    for (;;) {
        uint32_t row;
        const sm_status status = next_row(&at, &row, error);
        if (status)
            return status;
        if (row == N_SAMPLERS)
            return check_left_out(o, used, error);
        if (used[row])
            return sm_fail(error, SM_ERR_ARGUMENT, "option order names %s twice", table[row].name);
        used[row] = true;
        const sm_sampling_step step = step_of(o, row);
        add(chain, &step);
    }
}

/* ---- steps that are written out -------------------------------------------------------------- */

/* Whether a value is one that the parameter's option may have, or a last_n below 0. */
static bool in_range(const sm_option *option, double value) {
    const double least = ends_with(option->name, "last_n") ? -INFINITY : option->min;
    return value >= least && value <= option->max;
}

static sm_status check_step(const sm_sampling_step *step, uint32_t i, sm_error *error) {
    if (step->sampler < 1 || step->sampler > N_SAMPLERS)
        return sm_fail(error, SM_ERR_ARGUMENT, "option steps: step %u has no sampler %u", i,
                       step->sampler);
    const uint32_t row = row_of(step->sampler);
    for (uint32_t k = 0; k < 4; k++) {
        const double value = step->value[k];
        uint64_t length;
        const char *name = sm_names_get(table[row].parameters, k, &length);
        if (!name && value != 0)
            return sm_fail(error, SM_ERR_ARGUMENT, "option steps: step %u (%s) has %u parameters",
                           i, table[row].name, table[row].n_parameters);
        if (name && !in_range(option_at(how[row].offset[k]), value))
            return sm_fail(error, SM_ERR_ARGUMENT, "option steps: %.*s of step %u (%s) is %g",
                           (int)length, name, i, table[row].name, value);
    }
    if (step->min_keep > 1 && !how[row].least)
        return sm_fail(error, SM_ERR_ARGUMENT, "option steps: step %u (%s) knows no min_keep", i,
                       table[row].name);
    if (step->sampler == SM_SAMPLER_PENALTIES && step->value[1] == 0)
        return sm_fail(error, SM_ERR_ARGUMENT, "option steps: repeat of step %u (%s) is 0", i,
                       table[row].name);
    return SM_OK;
}

/* Fields that steps stand for; NULL if none is set. */
static const char *field_beside_steps(const sm_sampling *o) {
    for (uint32_t row = 0; row < N_SAMPLERS; row++) {
        const sm_sampling_step step = step_of(o, row);
        if (step.sampler == SM_SAMPLER_TEMPERATURE ? step.value[0] > 0 : sm_step_is_on(&step))
            return table[row].name;
    }
    return o->order ? "order" : NULL;
}

static sm_status take_steps(sm_chain *chain, sm_error *error) {
    const sm_sampling *o = &chain->options;
    const char *beside = field_beside_steps(o);
    if (!o->steps)
        return sm_fail(error, SM_ERR_ARGUMENT, "option n_steps is %llu but steps is NULL",
                       (unsigned long long)o->n_steps);
    if (beside)
        return sm_fail(error, SM_ERR_ARGUMENT, "option steps stands beside option %s", beside);
    bool mirostat = false;
    for (uint32_t i = 0; i < o->n_steps; i++) {
        const sm_status status = check_step(&o->steps[i], i, error);
        if (status)
            return status;
        if (mirostat && o->steps[i].sampler == SM_SAMPLER_MIROSTAT)
            return sm_fail(error, SM_ERR_ARGUMENT, "option steps has mirostat twice");
        mirostat |= o->steps[i].sampler == SM_SAMPLER_MIROSTAT;
        add(chain, &o->steps[i]);
    }
    return SM_OK;
}

/* ---- taking options -------------------------------------------------------------------------- */

static sm_status check_bias(const sm_sampling *o, uint32_t n_vocab, sm_error *error) {
    if (o->n_bias && !o->bias)
        return sm_fail(error, SM_ERR_ARGUMENT, "option n_bias is %llu but bias is NULL",
                       (unsigned long long)o->n_bias);
    for (uint64_t i = 0; i < o->n_bias; i++) {
        if (o->bias[i].token < 0 || (uint32_t)o->bias[i].token >= n_vocab)
            return sm_fail(error, SM_ERR_TOKEN, "option bias: token %d is not in 0..%u",
                           o->bias[i].token, n_vocab - 1);
        if (o->bias[i].reserved)
            return sm_fail(error, SM_ERR_ARGUMENT, "option bias: reserved is set");
        if (isnan(o->bias[i].bias) || (isinf(o->bias[i].bias) && o->bias[i].bias > 0))
            return sm_fail(error, SM_ERR_ARGUMENT, "option bias: the bias of token %d is no number",
                           o->bias[i].token);
    }
    return SM_OK;
}

static sm_status check_breakers(const sm_sampling *o, uint32_t n_vocab, sm_error *error) {
    if (o->n_dry_breakers && !o->dry_breakers)
        return sm_fail(error, SM_ERR_ARGUMENT, "option n_dry_breakers is %llu but %s",
                       (unsigned long long)o->n_dry_breakers, "dry_breakers is NULL");
    for (uint64_t i = 0; i < o->n_dry_breakers; i++)
        if (o->dry_breakers[i] < 0 || (uint32_t)o->dry_breakers[i] >= n_vocab)
            return sm_fail(error, SM_ERR_TOKEN, "option dry_breakers: token %d is not in 0..%u",
                           o->dry_breakers[i], n_vocab - 1);
    return SM_OK;
}

static sm_status take_default(sm_chain *chain) {
    for (uint32_t row = 0; row < N_SAMPLERS; row++) {
        const sm_sampling_step step = step_of(&chain->options, row);
        add(chain, &step);
    }
    return SM_OK;
}

sm_status sm_chain_take(sm_chain *chain, const sm_sampling *from, uint32_t n_vocab,
                        sm_error *error) {
    sm_sampling *to = &chain->options;
    chain->n_steps = 0;
    sm_status status = sm_options_take(to, sizeof *to, from, SM_OPTIONS_SAMPLING, error);
    if (status)
        return status;
    status = check_bias(to, n_vocab, error);
    if (!status)
        status = check_breakers(to, n_vocab, error);
    if (!status)
        status = sm_texts_take(chain->breakers, to->dry_breaker_texts, to->n_dry_breaker_texts,
                               SM_MAX_BREAKER, "dry_breaker_texts", error);
    if (status)
        return status;
    return to->n_steps ? take_steps(chain, error)
           : to->order ? take_order(chain, error)
                       : take_default(chain);
}

const sm_sampling_step *sm_chain_mirostat(const sm_chain *chain) {
    for (uint32_t i = 0; i < chain->n_steps; i++)
        if (chain->steps[i].sampler == SM_SAMPLER_MIROSTAT)
            return &chain->steps[i];
    return NULL;
}
