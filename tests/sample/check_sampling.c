/* Chains of samplers on stored logits: DIR/cases.jsonl, a case a line, with the tokens that
 * survive, their probabilities and logits; and runs of mirostat, step by step.
 *
 *     check_sampling [DIR]      without it the folder `sampling` of SM_TEST_DATA
 *
 * A line for each failure; then "N passed, N failed". Of equal logits any may survive, if as many do.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "sample/sample.h"
#include "support.h"

#define TOLERANCE 1e-6
#define MOST 65536

typedef struct one_case {
    const sm_json *json;
    char name[128];
    float logits[MOST];
    uint32_t mask[MOST / 32];
    int32_t history[MOST], breakers[MOST], kept[MOST];
    double probabilities[MOST], got[MOST];
    uint32_t n_vocab, n_history, n_breakers;
    char why[200];
} one_case;

static one_case c;
static sm_mem mem;

static double number(sm_json_value v, double fallback) {
    double value = fallback;
    return sm_json_double(c.json, v, &value) ? value : fallback;
}

static sm_json_value get(sm_json_value object, const char *name) {
    return sm_json_get(c.json, object, name);
}

static double parameter(sm_json_value step, const char *name, double fallback) {
    return number(get(step, name), fallback);
}

static double limit(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}

static uint32_t read_ids(sm_json_value list, int32_t *ids) {
    uint32_t n = 0;
    for (sm_json_value v = sm_json_first(c.json, list); v != SM_JSON_NONE && n < MOST;
         v = sm_json_next(c.json, list, v))
        ids[n++] = (int32_t)number(v, -1);
    return n;
}

/* null is a token that may not be chosen. */
static void read_logits(sm_json_value list) {
    c.n_vocab = 0;
    memset(c.mask, 0, sizeof c.mask);
    for (sm_json_value v = sm_json_first(c.json, list); v != SM_JSON_NONE && c.n_vocab < MOST;
         v = sm_json_next(c.json, list, v), c.n_vocab++) {
        if (sm_json_kind_of(c.json, v) != SM_JSON_NULL)
            c.mask[c.n_vocab / 32] |= 1u << (c.n_vocab % 32);
        c.logits[c.n_vocab] = (float)number(v, 0);
    }
}

/* A step of the file as one of ours, where what is off by definition is brought into range. */
static bool read_step(sm_json_value from, sm_sampling_step *to) {
    char name[64];
    uint64_t length;
    const char *text = sm_json_text(c.json, get(from, "sampler"), &length);
    snprintf(name, sizeof name, "%.*s", (int)length, text ? text : "");
    uint32_t n;
    const sm_sampler_info *table = sm_sampler_table(&n);
    *to = (sm_sampling_step){.min_keep = (uint32_t)parameter(from, "min_keep", 0)};
    for (uint32_t i = 0; i < n && !to->sampler; i++)
        if (sm_names_find(table[i].name, name, NULL) != SM_NAME_NONE ||
            sm_names_find(table[i].other_names, name, NULL) != SM_NAME_NONE)
            to->sampler = table[i].sampler;
    double *v = to->value;
    switch (to->sampler) {
    case SM_SAMPLER_PENALTIES:
        v[0] = parameter(from, "last_n", 64);
        v[1] = parameter(from, "repeat", 1);
        v[2] = parameter(from, "frequency", 0);
        v[3] = parameter(from, "presence", 0);
        return true;
    case SM_SAMPLER_DRY:
        v[0] = parameter(from, "multiplier", 0);
        v[1] = parameter(from, "base", 1.75);
        v[2] = parameter(from, "allowed_length", 2);
        v[3] = parameter(from, "last_n", -1);
        c.n_breakers = read_ids(get(from, "breakers"), c.breakers);
        return true;
    case SM_SAMPLER_TOP_N_SIGMA:
        v[0] = limit(parameter(from, "n", 0), 0, 1000);
        return true;
    case SM_SAMPLER_TOP_K:
        v[0] = limit(parameter(from, "k", 0), 0, 2147483647);
        return true;
    case SM_SAMPLER_TYPICAL:
    case SM_SAMPLER_TOP_P:
    case SM_SAMPLER_MIN_P:
        v[0] = limit(parameter(from, "p", 1), 0, 1);
        return true;
    case SM_SAMPLER_TOP_A:
        v[0] = limit(parameter(from, "a", 0), 0, 1);
        return true;
    case SM_SAMPLER_XTC:
        v[0] = limit(parameter(from, "probability", 0), 0, 1);
        v[1] = limit(parameter(from, "threshold", 0.1), 0, 1);
        return true;
    case SM_SAMPLER_TEMPERATURE:
        v[0] = limit(parameter(from, "t", 1), 0, 100);
        v[1] = limit(parameter(from, "range", 0), 0, 100);
        v[2] = parameter(from, "exponent", 1);
        return true;
    default:
        snprintf(c.why, sizeof c.why, "no sampler \"%s\"", name);
        return false;
    }
}

static bool fail(const char *what, uint32_t i, double got, double want) {
    snprintf(c.why, sizeof c.why, "%s %u: %.9g, not %.9g", what, i, got, want);
    return false;
}

static uint32_t place_of(const sm_left *left, int32_t id) {
    for (uint32_t i = 0; i < left->n; i++)
        if ((left->ids ? left->ids[i] : (int32_t)i) == id && isfinite(left->logits[i]))
            return i;
    return UINT32_MAX;
}

static uint32_t count(const sm_left *left) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < left->n; i++)
        n += isfinite(left->logits[i]) ? 1 : 0;
    return n;
}

/* A survivor that stands for another one of the same logit. */
static uint32_t place_of_equal(const sm_left *left, int32_t id, const bool *used) {
    for (uint32_t i = 0; i < left->n; i++) {
        const int32_t other = left->ids ? left->ids[i] : (int32_t)i;
        bool wanted = false;
        for (uint32_t k = 0; k < c.n_vocab; k++)
            wanted |= c.kept[k] == other;
        if (!used[i] && c.logits[other] == c.logits[id] && !wanted)
            return i;
    }
    return UINT32_MAX;
}

static bool compare(const sm_left *left, sm_json_value of) {
    static bool used[MOST];
    memset(used, 0, sizeof used);
    memset(c.kept, -1, sizeof c.kept);
    const uint32_t n = read_ids(get(of, "kept"), c.kept);
    if (n != count(left))
        return fail("survivors", 0, count(left), n);
    sm_left_probabilities(left, c.probabilities);
    const sm_json_value probs = get(of, "probs"), logits = get(of, "logits_out");
    sm_json_value p = sm_json_first(c.json, probs), x = sm_json_first(c.json, logits);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = place_of(left, c.kept[i]);
        if (at == UINT32_MAX)
            at = place_of_equal(left, c.kept[i], used);
        if (at == UINT32_MAX)
            return fail("not there", (uint32_t)c.kept[i], 0, 1);
        used[at] = true;
        const double want = number(p, NAN);
        if (!(fabs(c.probabilities[at] - want) <= TOLERANCE))
            return fail("probability of", (uint32_t)c.kept[i], c.probabilities[at], want);
        p = sm_json_next(c.json, probs, p);
        if (x == SM_JSON_NONE)
            continue;
        const double logit = (double)left->logits[at] / left->temperature, to = number(x, NAN);
        if (!(fabs(logit - to) <= TOLERANCE * (1 + fabs(to))))
            return fail("logit of", (uint32_t)c.kept[i], logit, to);
        x = sm_json_next(c.json, logits, x);
    }
    return true;
}

/* The best level of this CPU and the portable one: *kind 0 and 1. */
static sm_sampler *new_sampler(int kind) {
    sm_sampler *s = NULL;
    const uint32_t level = kind ? SM_LEVEL_SCALAR : sm_level_best(SM_LEVEL_AUTO);
    sm_sampler_new(&s, &mem, sm_kernels_get(level), c.n_vocab, c.n_history, NULL);
    return s;
}

static bool apply(const sm_sampling *o, double *mu, sm_json_value of, sm_json_value chosen,
                  int kind) {
    sm_chain chain;
    sm_left left;
    sm_error error = {0};
    sm_sampler *s = new_sampler(kind);
    const sm_draw draw = {
        .logits = c.logits, .mask = c.mask, .ids = c.history, .length = c.n_history, .mu = mu};
    bool fine = s && !sm_chain_take(&chain, o, c.n_vocab, &error) &&
                !sm_sample_left(&left, s, &chain, &draw, &error);
    if (!fine)
        snprintf(c.why, sizeof c.why, "%.180s", error.message);
    fine = fine && compare(&left, of);
    if (fine && mu)
        *mu = sm_left_mu(&left, &chain, (int32_t)number(chosen, -1), *mu);
    sm_sampler_free(s);
    return fine;
}

static bool check_chain(int kind) {
    sm_sampling_step steps[SM_MAX_STEPS];
    const sm_json_value chain = get(SM_JSON_ROOT, "chain");
    uint32_t n = 0;
    c.n_breakers = 0;
    read_logits(get(SM_JSON_ROOT, "logits"));
    c.n_history = read_ids(get(SM_JSON_ROOT, "history"), c.history);
    for (sm_json_value v = sm_json_first(c.json, chain); v != SM_JSON_NONE && n < SM_MAX_STEPS;
         v = sm_json_next(c.json, chain, v))
        if (!read_step(v, &steps[n++]))
            return false;
    const sm_sampling o = {.struct_size = sizeof o,
                           .steps = steps,
                           .n_steps = n,
                           .dry_breakers = c.breakers,
                           .n_dry_breakers = c.n_breakers};
    return apply(&o, NULL, SM_JSON_ROOT, SM_JSON_NONE, kind);
}

static bool check_mirostat(sm_json_value steps, int kind) {
    sm_sampling_step step = {
        .sampler = SM_SAMPLER_MIROSTAT,
        .value = {sm_json_is(c.json, get(SM_JSON_ROOT, "sampler"), "mirostat1") ? 1 : 2,
                  parameter(SM_JSON_ROOT, "tau", 5), parameter(SM_JSON_ROOT, "eta", 0.1),
                  parameter(SM_JSON_ROOT, "m", 100)}};
    const sm_sampling o = {.struct_size = sizeof o, .steps = &step, .n_steps = 1};
    double mu = NAN;
    c.n_history = 0;
    for (sm_json_value v = sm_json_first(c.json, steps); v != SM_JSON_NONE;
         v = sm_json_next(c.json, steps, v)) {
        const double before = parameter(v, "mu_before", NAN), after = parameter(v, "mu_after", NAN);
        const double begins = isnan(mu) ? 2 * step.value[1] : mu;
        if (!(fabs(begins - before) <= TOLERANCE))
            return fail("mu before", 0, begins, before);
        read_logits(get(v, "logits"));
        if (!apply(&o, &mu, v, get(v, "chosen"), kind))
            return false;
        if (!(fabs(mu - after) <= TOLERANCE))
            return fail("mu after", 0, mu, after);
    }
    return true;
}

static bool check_line(const char *line, uint64_t length, uint64_t number_of_line) {
    sm_json *json;
    sm_error error = {0};
    uint64_t n;
    const sm_json_source source = {.name = "cases.jsonl", .line = number_of_line};
    snprintf(c.name, sizeof c.name, "line %llu", (unsigned long long)number_of_line);
    if (sm_json_read(&json, &mem, line, length, &source, NULL, &error)) {
        snprintf(c.why, sizeof c.why, "%.180s", error.message);
        return false;
    }
    c.json = json;
    const char *name = sm_json_text(json, get(SM_JSON_ROOT, "name"), &n);
    if (name)
        snprintf(c.name, sizeof c.name, "%.*s", (int)n, name);
    const sm_json_value steps = get(SM_JSON_ROOT, "steps");
    bool fine = true;
    for (int kind = 0; kind < 2 && fine; kind++)
        fine = steps != SM_JSON_NONE ? check_mirostat(steps, kind) : check_chain(kind);
    sm_json_free(json);
    return fine;
}

int main(int argc, char **argv) {
    char path[4096];
    size_t size;
    const char *dir = argc > 1 ? argv[1] : data_path("sampling");
    snprintf(path, sizeof path, "%s/cases.jsonl", dir ? dir : "");
    char *text = dir ? (char *)scratch_read(path, &size) : NULL;
    if (!text) {
        fprintf(stderr, "check_sampling: no %s\n", path);
        return argc > 1 ? 1 : 77;
    }
    int passed = 0, failed = 0;
    uint64_t number_of_line = 0;
    sm_mem_init(&mem, NULL, 0, NULL);
    for (char *line = text, *end; *line; line = end + (*end != 0)) {
        end = line + strcspn(line, "\n");
        number_of_line++;
        if (end == line)
            continue;
        const bool fine = check_line(line, (uint64_t)(end - line), number_of_line);
        passed += fine;
        failed += !fine;
        if (!fine)
            printf("%s: %s\n", c.name, c.why);
    }
    free(text);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
