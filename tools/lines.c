/* lines.c - many texts, one a line, through an encoder. */
#include "lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t count_lines(const cli_input *input) {
    uint64_t n = 0;
    for (size_t at = 0; at < input->length; n++) {
        const char *end = memchr(input->text + at, '\n', input->length - at);
        at = end != NULL ? (size_t)(end - input->text) + 1 : input->length;
    }
    return n;
}

int lines_read(lines *to, const char *command, const cli_prompt *given) {
    const int code = cli_read_prompt(&to->input, command, given, "-");
    if (code != CLI_GO_ON)
        return code;
    const bool whole = given->text != NULL;
    to->n = whole ? 1 : count_lines(&to->input);
    to->text = malloc((size_t)(to->n + 1) * sizeof *to->text);
    if (to->text == NULL) {
        free(to->input.text);
        return cli_error("no memory for %llu texts", (unsigned long long)to->n);
    }
    if (whole)
        to->text[0] = (sm_text){to->input.text, to->input.length};
    for (size_t at = 0, i = 0; i < to->n && !whole; i++) {
        const char *begin = to->input.text + at;
        const char *end = memchr(begin, '\n', to->input.length - at);
        size_t length = end != NULL ? (size_t)(end - begin) : to->input.length - at;
        at += length + 1;
        if (length > 0 && begin[length - 1] == '\r')
            length--;
        to->text[i] = (sm_text){begin, length};
    }
    return CLI_GO_ON;
}

void lines_free(lines *l) {
    free(l->text);
    free(l->input.text);
}

int encoding_open(encoding *to, const char *path, sm_model_options *model,
                  sm_encoder_options *encoder) {
    sm_error error = {0};
    sm_model_info info;
    const int code = cli_load_model(&to->model, &info, path, model);
    if (code != CLI_GO_ON)
        return code;
    to->info = (sm_encoder_info){.struct_size = sizeof to->info};
    sm_status status = sm_cancel_new(&to->flag, &error);
    if (status == SM_OK) {
        encoder->cancel_flag = to->flag;
        status = sm_encoder_new(&to->encoder, to->model, encoder, &error);
    }
    if (status == SM_OK)
        status = sm_encoder_get_info(to->encoder, &to->info, &error);
    return status == SM_OK ? CLI_GO_ON : cli_fail(&error);
}

void encoding_free(encoding *e) {
    sm_encoder_free(e->encoder);
    sm_cancel_free(e->flag);
    sm_model_free(e->model);
}

int lines_run(const lines_job *job) {
    sm_error error = {0};
    const bool counted = !isatty(STDOUT_FILENO); /* else the output shows how far it is */
    int code = CLI_DONE;
    /* without texts, too, a model that cannot do it says so */
    if (job->lines->n == 0 && job->compute(job->user, job->lines->text, 0, &error) != SM_OK)
        return cli_fail(&error);
    for (uint64_t at = 0, n; at < job->lines->n && code == CLI_DONE; at += n) {
        n = job->lines->n - at < LINES_TOGETHER ? job->lines->n - at : LINES_TOGETHER;
        if (counted)
            progress_count(job->what, at, job->lines->n);
        sm_cancel_set(job->encoding->flag, cli_interrupted());
        if (job->compute(job->user, job->lines->text + at, n, &error) != SM_OK) {
            progress_end();
            return cli_fail(&error);
        }
        for (uint64_t i = 0; i < n && code == CLI_DONE && !ferror(stdout); i++)
            code = job->show(job->user, at + i, i);
        if (ferror(stdout))
            break;
    }
    progress_end();
    return code;
}
