/* tasks.h - multiple choice in the layouts that its data sets are handed out in.
 *
 * What a model is asked is, to the byte, what lm-evaluation-harness asks of the same line without
 * examples before it.
 */
#ifndef TASKS_H
#define TASKS_H

#include <jansson.h>

#include "cli.h"

#define TASK_NAMES "hellaswag|arc|mmlu|winogrande|truthfulqa-mc1|truthfulqa-mc2"
#define TASK_MOST_CHOICES 64

typedef struct task_choice {
    char *context;       /* free() both */
    char *text;          /* that is scored behind it */
    uint64_t characters; /* of the choice as the data set has it: what acc_norm divides by */
    bool right;
} task_choice;

typedef struct task_item {
    task_choice choices[TASK_MOST_CHOICES];
    uint32_t n;
} task_item;

typedef struct task task;
const task *task_find(const char *name); /* NULL: none of TASK_NAMES */
/* Whether the measure is the share of probability that right choices have (mc2), not how often the
 * likeliest is right. */
bool task_is_share(const task *t);
bool task_has_norm(const task *t); /* whether the harness divides by lengths as well */

/* Makes what is asked of one line of the data set. false: `why` says what is wrong with it; the
 * item is then to be freed as well. */
bool task_make(const task *t, task_item *item, const json_t *line, const char **why);
void task_item_free(task_item *item);

#endif
