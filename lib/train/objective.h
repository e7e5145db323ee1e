/* objective.h - objectives that compare answers: DPO, IPO, ORPO, SimPO, KTO. Private to lib/train.
 *
 * Each is a function of the log-probabilities of whole answers, those that the model gives and
 * those of a reference, which is the model as it was before. So a step needs, of each answer, one
 * number forward and one back: the derivative of the objective by its log-probability, which every
 * token of it counts in the gradient.
 */
#ifndef SM_OBJECTIVE_H
#define SM_OBJECTIVE_H

#include "trainer.h"

/* An answer: its log-probability, that of the reference, and its tokens. */
typedef struct sm_answer {
    double logp, reference;
    uint64_t n;
} sm_answer;

/* What an objective says of an entry. */
typedef struct sm_judgement {
    double loss;
    double slope[2];  /* its derivative by logp of the answers, the chosen or only one first */
    double reward[2]; /* of the answers: by how much the model prefers them */
} sm_judgement;

/* Options that the objective does not know, or that are not known without it, are refused by name;
 * zeros become what they stand for. SM_ERR_ARGUMENT. */
sm_status sm_objective_settle(sm_trainer_options *options, sm_error *error);
/* Whether the objective looks at pairs, and at a reference. */
bool sm_objective_pairs(uint32_t objective);
bool sm_objective_refers(uint32_t objective);

/* A pair: the chosen and the rejected answer. Options: preference_beta and those behind it, zeros
 * replaced. */
sm_judgement sm_judge_pair(const sm_trainer_options *options, const sm_answer answer[2]);
/* KTO: one answer, good or not, beside `kl`, what the model and the reference differ by. */
sm_judgement sm_judge_label(const sm_trainer_options *options, const sm_answer *answer, bool good,
                            double kl);

/* ---- batches of answers (answers.c) --------------------------------------------------------- */

/* An entry of a batch. Of pairs answers are the chosen and the rejected one; of labels its own and
 * that of another entry, which measures how far the model is from the reference. */
typedef struct sm_entry {
    uint64_t document; /* its number: training, then validation */
    bool good;
    uint32_t span[2];    /* of the answers in their batches; UINT32_MAX: it is not there */
    uint64_t targets[2]; /* tokens of the answers */
} sm_entry;

typedef struct sm_answers sm_answers;
/* Batches of `rows` entries at most, whose answers have up to `sequence` tokens with their prompt.
 * The data set, of pairs or labels, must outlive it. SM_ERR_NOMEM. */
sm_status sm_answers_new(sm_answers **out, sm_mem *mem, sm_dataset *dataset, uint32_t rows,
                         uint32_t sequence, bool pairs, sm_error *error);
void sm_answers_free(sm_answers *answers); /* NULL is fine */
/* The next entries of training, all `rows` of them; those with an answer of no token within
 * `sequence` are left out. SM_ERR_STATE (all are such), _CANCELLED, _FORMAT, _NOMEM. */
sm_status sm_answers_next(sm_answers *answers, sm_error *error);
/* The same over the validation part, from its beginning where restart is set; the last batch may
 * hold less, none past the end. */
sm_status sm_answers_validation(sm_answers *answers, bool restart, sm_error *error);
/* The same over all entries in the file's order from number *first on, which moves behind those
 * that were read. */
sm_status sm_answers_list(sm_answers *answers, uint64_t *first, sm_error *error);
/* Of the batch: entries, and the tokens of their answers: side 1 of pairs is in batch 0, too. */
uint32_t sm_answers_entries(const sm_answers *answers, const sm_entry **entries);
const sm_train_batch *sm_answers_batch(const sm_answers *answers, uint32_t side);

/* ---- steps (preference.c) ------------------------------------------------------------------- */

typedef struct sm_preference sm_preference;
/* What the trainer needs for its objective; its data set and graph are there. */
sm_status sm_preference_new(sm_preference **out, sm_trainer *trainer, sm_error *error);
void sm_preference_free(sm_preference *preference); /* NULL is fine */
/* Of a model that is trained whole: what it says of all answers before it changes. hook is asked,
 * entries done of all. SM_ERR_CANCELLED. */
sm_status sm_preference_refer(sm_preference *preference, const sm_hook *hook, sm_error *error);
/* Adds the gradients of a batch, and what it gives to the update. */
sm_status sm_preference_backward(sm_preference *preference, uint64_t draw,
                                 sm_trainer_update *update, sm_error *error);
/* Adds what the next batch of validation gives; *more is false past the end. */
sm_status sm_preference_evaluate(sm_preference *preference, bool restart, bool *more,
                                 sm_trainer_update *update, sm_error *error);
/* The next batch of training data, for who counts them; whether there is one of validation. */
sm_status sm_preference_skip(sm_preference *preference, sm_error *error);
sm_status sm_preference_can_validate(sm_preference *preference, bool *any, sm_error *error);
/* Tokens and spans of a batch at most. */
uint64_t sm_preference_tokens(const sm_trainer_options *options);
uint32_t sm_preference_spans(const sm_trainer_options *options);

#endif
