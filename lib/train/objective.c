/* The formulas of the objectives that compare answers. */
#include "objective.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

bool sm_objective_pairs(uint32_t objective) {
    return objective != SM_OBJECTIVE_SUPERVISED && objective != SM_OBJECTIVE_KTO;
}

bool sm_objective_refers(uint32_t objective) {
    return objective == SM_OBJECTIVE_DPO || objective == SM_OBJECTIVE_IPO ||
           objective == SM_OBJECTIVE_KTO;
}

/* Options of the objectives that compare, and which know them (bits by number). */
#define OF(objective) (1u << SM_OBJECTIVE_##objective)
#define OF_PAIRS (OF(DPO) | OF(IPO) | OF(SIMPO) | OF(ORPO))
#define FIELD(name, objectives) \
    { #name, offsetof(sm_trainer_options, name), objectives }
static const struct {
    const char *name;
    size_t offset;
    uint32_t objectives;
} numbers[] = {FIELD(preference_beta, OF_PAIRS | OF(KTO)),
               FIELD(label_smoothing, OF(DPO) | OF(SIMPO) | OF(ORPO)),
               FIELD(preference_margin, OF(SIMPO)), FIELD(desirable_weight, OF(KTO)),
               FIELD(undesirable_weight, OF(KTO))};

static sm_status unknown_to(const char *option, uint32_t objective, sm_error *error) {
    uint32_t n, i = 0;
    uint64_t length;
    const sm_option *table = sm_options_table(SM_OPTIONS_TRAINER, &n);
    while (strcmp(table[i].name, "objective") != 0)
        i++;
    const char *name = sm_names_get(table[i].names, objective, &length);
    return sm_fail(error, SM_ERR_ARGUMENT, "option %s is not one of objective %.*s", option,
                   (int)length, name);
}

/* Options of distillation: with a teacher, and where the text is learned. */
static sm_status check_teacher(sm_trainer_options *o, sm_error *error) {
    if (o->teacher && o->objective != SM_OBJECTIVE_SUPERVISED)
        return unknown_to("teacher", o->objective, error);
    if (!o->teacher && (o->teacher_weight != 0 || o->teacher_temperature != 0))
        return sm_fail(error, SM_ERR_ARGUMENT, "options teacher_… need option teacher");
    if (o->teacher && o->teacher_weight == 0)
        o->teacher_weight = 0.5;
    if (o->teacher && o->teacher_temperature == 0)
        o->teacher_temperature = 2;
    return o->lora_b_rate != 0 && !o->lora_rank
               ? sm_fail(error, SM_ERR_ARGUMENT, "option lora_b_rate needs option lora_rank")
               : SM_OK;
}

static sm_status check_numbers(sm_trainer_options *o, sm_error *error) {
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double *value = (double *)(void *)((uint8_t *)o + numbers[i].offset);
        if (numbers[i].objectives & 1u << o->objective)
            continue;
        if (*value != 0 && *value != SM_ZERO)
            return unknown_to(numbers[i].name, o->objective, error);
        *value = 0;
    }
    return o->length_normalized && o->objective != SM_OBJECTIVE_DPO
               ? unknown_to("length_normalized", o->objective, error)
               : SM_OK;
}

sm_status sm_objective_settle(sm_trainer_options *o, sm_error *error) {
    const bool simpo = o->objective == SM_OBJECTIVE_SIMPO, kto = o->objective == SM_OBJECTIVE_KTO;
    sm_status status = check_numbers(o, error);
    if (!status)
        status = check_teacher(o, error);
    if (status || o->objective == SM_OBJECTIVE_SUPERVISED)
        return status;
    if (o->data_kind == SM_DATA_FILE_TEXT || o->data_kind == SM_DATA_FILE_CHOSEN)
        return unknown_to(o->data_kind == SM_DATA_FILE_TEXT ? "data_kind (text)"
                                                            : "data_kind (chosen)",
                          o->objective, error);
    if (o->loss_on_prompt)
        return unknown_to("loss_on_prompt", o->objective, error);
    if (o->expert_balance > 0)
        return unknown_to("expert_balance", o->objective, error);
    if (o->preference_beta == 0)
        o->preference_beta = simpo ? 2 : 0.1;
    if (simpo && o->preference_margin == 0)
        o->preference_margin = 1;
    if (o->preference_margin == SM_ZERO)
        o->preference_margin = 0;
    if (kto && o->desirable_weight == 0)
        o->desirable_weight = 1;
    if (kto && o->undesirable_weight == 0)
        o->undesirable_weight = 1;
    return SM_OK;
}

static double sigmoid(double x) {
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

static double log_sigmoid(double x) {
    return x >= 0 ? -log1p(exp(-x)) : x - log1p(exp(x));
}

/* -log sigmoid(x), smoothed: a part of the labels is taken for wrong. *slope: by x. */
static double logistic(double x, double smoothing, double *slope) {
    *slope = (1 - smoothing) * (sigmoid(x) - 1) + smoothing * sigmoid(x);
    return -(1 - smoothing) * log_sigmoid(x) - smoothing * log_sigmoid(-x);
}

/* What a log-probability is divided by. */
static double divisor(const sm_answer *a, bool mean) {
    return mean && a->n ? (double)a->n : 1;
}

/* From the derivative by the difference of both answers' log-probabilities to that by each. */
static void spread(sm_judgement *j, const sm_answer answer[2], bool mean, double slope) {
    j->slope[0] = slope / divisor(&answer[0], mean);
    j->slope[1] = -slope / divisor(&answer[1], mean);
}

/* DPO (arXiv:2305.18290), with label smoothing as cDPO; IPO (arXiv:2310.12036), over means of
 * tokens. */
static sm_judgement dpo(const sm_trainer_options *o, const sm_answer answer[2]) {
    const bool ipo = o->objective == SM_OBJECTIVE_IPO, mean = ipo || o->length_normalized;
    const double beta = o->preference_beta;
    sm_judgement j;
    double ratio[2], slope;
    for (int i = 0; i < 2; i++) {
        ratio[i] = (answer[i].logp - answer[i].reference) / divisor(&answer[i], mean);
        j.reward[i] = beta * ratio[i];
    }
    const double difference = ratio[0] - ratio[1];
    if (ipo) {
        const double off = difference - 1 / (2 * beta);
        j.loss = off * off;
        slope = 2 * off;
    } else {
        j.loss = logistic(beta * difference, o->label_smoothing, &slope);
        slope *= beta;
    }
    spread(&j, answer, mean, slope);
    return j;
}

/* SimPO (arXiv:2405.14734): no reference, but a margin. */
static sm_judgement simpo(const sm_trainer_options *o, const sm_answer answer[2]) {
    sm_judgement j;
    double slope;
    for (int i = 0; i < 2; i++)
        j.reward[i] = o->preference_beta * answer[i].logp / divisor(&answer[i], true);
    j.loss = logistic(j.reward[0] - j.reward[1] - o->preference_margin, o->label_smoothing, &slope);
    spread(&j, answer, true, slope * o->preference_beta);
    return j;
}

/* log(1 - exp(x)) of x < 0 */
static double log_rest(double x) {
    return x > -0.7 ? log(-expm1(x)) : log1p(-exp(x));
}

/* Mean log-probability; that of one, which has no odds, is taken for a little less. */
static double mean_of(const sm_answer *a) {
    const double mean = a->logp / divisor(a, true);
    return mean < -1e-12 ? mean : -1e-12;
}

/* ORPO (arXiv:2403.07691): the loss of the chosen answer, and beta times that of the odds. */
static sm_judgement orpo(const sm_trainer_options *o, const sm_answer answer[2]) {
    sm_judgement j;
    double odds[2], by_mean[2], slope;
    for (int i = 0; i < 2; i++) {
        const double mean = mean_of(&answer[i]);
        j.reward[i] = o->preference_beta * mean;
        odds[i] = mean - log_rest(mean);
        by_mean[i] = 1 / -expm1(mean); /* 1 + p / (1 - p) */
    }
    j.loss = o->preference_beta * logistic(odds[0] - odds[1], o->label_smoothing, &slope) -
             mean_of(&answer[0]);
    slope *= o->preference_beta;
    j.slope[0] = (slope * by_mean[0] - 1) / divisor(&answer[0], true);
    j.slope[1] = -slope * by_mean[1] / divisor(&answer[1], true);
    return j;
}

sm_judgement sm_judge_pair(const sm_trainer_options *o, const sm_answer answer[2]) {
    if (o->objective == SM_OBJECTIVE_ORPO)
        return orpo(o, answer);
    return o->objective == SM_OBJECTIVE_SIMPO ? simpo(o, answer) : dpo(o, answer);
}

/* KTO (arXiv:2402.01306) */
sm_judgement sm_judge_label(const sm_trainer_options *o, const sm_answer *answer, bool good,
                            double kl) {
    const double beta = o->preference_beta, ratio = answer->logp - answer->reference;
    const double weight = good ? o->desirable_weight : o->undesirable_weight;
    const double value = sigmoid(good ? beta * (ratio - kl) : beta * (kl - ratio));
    sm_judgement j = {.loss = weight * (1 - value), .reward = {beta * ratio, beta * kl}};
    j.slope[0] = (good ? -1 : 1) * weight * beta * value * (1 - value);
    return j;
}
