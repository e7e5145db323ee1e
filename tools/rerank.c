/* rerank.c - `smallmind rerank` and `smallmind classify`: scores of texts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lines.h"
#include "shown.h"

typedef struct score_job {
    encoding encoding;
    lines lines;
    const char *query; /* of rerank */
    bool json;
    uint32_t top;
    float *scores; /* of rerank all, of classify [LINES_TOGETHER][n_labels] */
    uint64_t done;
} score_job;

static int open_job(score_job *job, const char *command, const char *path, const cli_prompt *given,
                    sm_model_options *model, sm_encoder_options *encoder) {
    int code = lines_read(&job->lines, command, given);
    if (code != CLI_GO_ON)
        return code;
    cli_catch_interrupt();
    return encoding_open(&job->encoding, path, model, encoder);
}

static void close_job(score_job *job) {
    free(job->scores);
    encoding_free(&job->encoding);
    lines_free(&job->lines);
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

/* ---- rerank ------------------------------------------------------------------------------ */

static sm_status rank(void *user, const sm_text *texts, uint64_t n, sm_error *error) {
    score_job *job = user;
    const sm_status status = sm_encoder_rerank(job->encoding.encoder, job->query, SM_ZT, texts, n,
                                               job->scores + job->done, n, error);
    job->done += n;
    return status;
}

static int show_nothing(void *user, uint64_t line, uint64_t i) {
    (void)user;
    (void)line;
    (void)i;
    return CLI_DONE;
}

typedef struct ranked {
    float score;
    uint64_t line;
} ranked;

static int best_first(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return (x->line > y->line) - (x->line < y->line);
}

static int print_ranked(const score_job *job, const ranked *r) {
    const sm_text *text = &job->lines.text[r->line];
    if (job->json)
        return cli_print_json(json_pack("{s:I, s:f, s:f, s:o}", "index", (json_int_t)r->line,
                                        "score", (double)r->score, "relevance",
                                        sigmoid((double)r->score), "text",
                                        cli_json_text(text->text, (size_t)text->length)),
                              JSON_COMPACT | JSON_REAL_PRECISION(9));
    printf("%.6f\t%llu\t", sigmoid((double)r->score), (unsigned long long)r->line + 1);
    fwrite(text->text, 1, (size_t)text->length, stdout);
    putchar('\n');
    return CLI_DONE;
}

static int rerank(score_job *job) {
    const lines_job run = {.encoding = &job->encoding,
                           .lines = &job->lines,
                           .what = "ranking",
                           .compute = rank,
                           .show = show_nothing,
                           .user = job};
    ranked *order = malloc((size_t)(job->lines.n + 1) * sizeof *order);
    job->scores = malloc((size_t)(job->lines.n + 1) * sizeof *job->scores);
    if (order == NULL || job->scores == NULL) {
        free(order);
        return cli_error("no memory for scores");
    }
    int code = lines_run(&run);
    for (uint64_t i = 0; i < job->lines.n; i++)
        order[i] = (ranked){job->scores[i], i};
    if (code == CLI_DONE)
        qsort(order, (size_t)job->lines.n, sizeof *order, best_first);
    const uint64_t shown = job->top > 0 && job->top < job->lines.n ? job->top : job->lines.n;
    for (uint64_t i = 0; i < shown && code == CLI_DONE; i++)
        code = print_ranked(job, &order[i]);
    free(order);
    return code;
}

int cmd_rerank(int argc, char **argv) {
    score_job job = {.query = NULL};
    const char *path = NULL;
    cli_prompt given = {.text = NULL};
    sm_model_options model = {.struct_size = sizeof model};
    sm_encoder_options encoder = {.struct_size = sizeof encoder};
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &path, "FILE", 0, 0, CLI_MODEL_DOC},
        {'q', "query", CLI_TEXT, &job.query, "TEXT", 0, 0, "what is looked for (required)"},
        {'f', "file", CLI_TEXT, &given.file, "FILE", 0, 0,
         "documents, one a line, from a file or -. Without it standard input is read"},
        {'n', "top", CLI_COUNT, &job.top, "N", 1, UINT32_MAX, "print the best N alone"},
        {0, "json", CLI_SWITCH, &job.json, "", 0, 0,
         "print a JSON object a document: index (from 0), score as the model gives it, relevance "
         "(0 to 1), text"},
    };
    const cli_fields fields[] = {
        {SM_OPTIONS_ENCODER, &encoder, "n_threads"},
        {SM_OPTIONS_ENCODER, &encoder, "max_tokens"},
        {SM_OPTIONS_ENCODER, &encoder, "n_batch"},
        {SM_OPTIONS_MODEL, &model, NULL},
    };
    const cli_command command = {
        .name = "rerank",
        .synopsis = "-m MODEL -q QUERY [-f FILE] [-n N] [--json]",
        .summary = "Sorts documents by how well they answer a query, best first: relevance (0 to "
                   "1), number\nof the line (from 1) and text, between tabs. The model has to be "
                   "one for that: an encoder\nwith one label, which reads pairs.",
        .examples = {{"smallmind rerank -m bge-reranker -q \"who wrote it?\" -f found.txt -n 3",
                      "the three best lines"},
                     {"smallmind rerank -m bge-reranker -q \"who?\" --json < found.txt",
                      "all, for a program"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = &path,
    };
    int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (path == NULL || job.query == NULL)
        return cli_misuse("rerank", "%s is required", path == NULL ? "-m MODEL" : "-q QUERY");
    code = open_job(&job, "rerank", path, &given, &model, &encoder);
    if (code == CLI_GO_ON)
        code = rerank(&job);
    close_job(&job);
    return code;
}

/* ---- classify ---------------------------------------------------------------------------- */

static sm_status score(void *user, const sm_text *texts, uint64_t n, sm_error *error) {
    score_job *job = user;
    return sm_encoder_score(job->encoding.encoder, texts, n, job->scores,
                            n * job->encoding.info.n_labels, error);
}

/* Scores become probabilities, in place; returns the likeliest. */
static uint32_t probable(float *scores, uint32_t n) {
    uint32_t best = 0;
    double sum = 0;
    for (uint32_t i = 1; i < n; i++)
        best = scores[i] > scores[best] ? i : best;
    if (n == 1) {
        scores[0] = (float)sigmoid((double)scores[0]);
        return 0;
    }
    const double most = (double)scores[best];
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)scores[i] - most);
    for (uint32_t i = 0; i < n; i++)
        scores[i] = (float)(exp((double)scores[i] - most) / sum);
    return best;
}

/* A label's name, or its number. */
static const char *label_of(const score_job *job, uint32_t i, char *buffer, size_t capacity) {
    uint64_t length;
    const char *name = sm_encoder_label(job->encoding.encoder, i, &length);
    if (name == NULL)
        snprintf(buffer, capacity, "%u", i);
    else
        cli_clean(buffer, name, (size_t)(length < capacity / 3 - 1 ? length : capacity / 3 - 1));
    return buffer;
}

static int show(void *user, uint64_t line, uint64_t i) {
    const score_job *job = user;
    const uint32_t n = job->encoding.info.n_labels;
    const sm_text *text = &job->lines.text[line];
    float *scores = job->scores + i * n;
    char name[400];
    const uint32_t best = probable(scores, n);
    if (!job->json) {
        printf("%s\t%.6f\t", label_of(job, best, name, sizeof name), (double)scores[best]);
        fwrite(text->text, 1, (size_t)text->length, stdout);
        putchar('\n');
        return CLI_DONE;
    }
    json_t *all = json_object();
    for (uint32_t k = 0; k < n; k++)
        json_object_set_new(all, label_of(job, k, name, sizeof name), json_real((double)scores[k]));
    return cli_print_json(json_pack("{s:o, s:s, s:o}", "text",
                                    cli_json_text(text->text, (size_t)text->length), "label",
                                    label_of(job, best, name, sizeof name), "probabilities", all),
                          JSON_COMPACT | JSON_REAL_PRECISION(9));
}

static int classify(score_job *job) {
    const lines_job run = {.encoding = &job->encoding,
                           .lines = &job->lines,
                           .what = "classifying",
                           .compute = score,
                           .show = show,
                           .user = job};
    job->scores = malloc(LINES_TOGETHER * sizeof(float) * (job->encoding.info.n_labels + 1));
    return job->scores != NULL ? lines_run(&run) : cli_error("no memory for scores");
}

int cmd_classify(int argc, char **argv) {
    score_job job = {.query = NULL};
    const char *path = NULL;
    cli_prompt given = {.text = NULL};
    sm_model_options model = {.struct_size = sizeof model};
    sm_encoder_options encoder = {.struct_size = sizeof encoder};
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &path, "FILE", 0, 0, CLI_MODEL_DOC},
        {'p', "prompt", CLI_TEXT, &given.text, "TEXT", 0, 0,
         "one text, its newlines included; - reads standard input as one"},
        {'e', "escapes", CLI_SWITCH, &given.escapes, "", 0, 0, CLI_ESCAPES_DOC},
        {'f', "file", CLI_TEXT, &given.file, "FILE", 0, 0, LINES_FILE_DOC},
        {0, "json", CLI_SWITCH, &job.json, "", 0, 0,
         "print a JSON object a text: text, label, and the probabilities of all labels"},
    };
    const cli_fields fields[] = {
        {SM_OPTIONS_ENCODER, &encoder, "n_threads"},
        {SM_OPTIONS_ENCODER, &encoder, "max_tokens"},
        {SM_OPTIONS_ENCODER, &encoder, "n_batch"},
        {SM_OPTIONS_MODEL, &model, NULL},
    };
    const cli_command command = {
        .name = "classify",
        .synopsis = "-m MODEL [-p TEXT | -f FILE] [--json]",
        .summary = "Prints for each text the label that a classifier's model gives it, the "
                   "probability of\nthat (0 to 1) and the text, between tabs.",
        .examples = {{"smallmind classify -m sentiment -p \"I like it\"", "one text"},
                     {"smallmind classify -m sentiment -f reviews.txt --json",
                      "each line, with the probabilities of all labels"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = &path,
    };
    int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (path == NULL)
        return cli_misuse("classify", "-m MODEL is required");
    code = open_job(&job, "classify", path, &given, &model, &encoder);
    if (code == CLI_GO_ON)
        code = classify(&job);
    close_job(&job);
    return code;
}
