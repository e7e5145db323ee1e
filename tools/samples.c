/* samples.c - `smallmind run --samples`: several continuations of one prompt. */
#include "samples.h"

#include <stdio.h>
#include <stdlib.h>

#include "shown.h"
#include "told.h"

/* A token that is printed later. */
typedef struct later {
    sm_token token;
    sm_token_logprob top[SM_MAX_LOGPROBS];
} later;

typedef struct sample {
    struct all *all;
    uint32_t number;
    sm_sampling sampling;
    sm_generate_options options;
    told_text text;
    later *tokens; /* [n], for rows and ids */
    size_t n, capacity;
} sample;

typedef struct all {
    const samples *how;
    sm_tokenizer *tokenizer;
    sm_batch *batch;
    sample *each;         /* [n] */
    sm_batch_text *texts; /* [n] */
    sm_session **open;    /* [n] */
    bool begun;           /* the prompt's line is printed */
} all;

/* ---- lines of JSON ------------------------------------------------------------------------ */

static bool print_line(json_t *line) {
    return cli_print_json(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) == CLI_DONE;
}

static void print_prompt_line(all *a) {
    sm_generate_stats stats = {.struct_size = sizeof stats};
    if (a->begun || a->how->no_prompt || sm_session_get_stats(a->open[0], &stats, NULL) != SM_OK)
        return;
    a->begun = true;
    json_t *ids = json_array();
    for (uint32_t i = 0; i < stats.prompt_tokens && i < sm_session_length(a->open[0]); i++)
        json_array_append_new(ids, json_integer(cli_token(a->open[0], i)));
    print_line(json_pack("{s:o, s:o}", "prompt",
                         cli_json_text(a->how->prompt->text, a->how->prompt->length), "ids", ids));
}

static bool print_token(const sample *s, const sm_token *token) {
    json_t *line = json_pack("{s:I, s:o, s:o}", "sample", (json_int_t)s->number, "id",
                             token->id >= 0 ? json_integer(token->id) : json_null(), "text",
                             cli_json_text(token->text, token->length));
    if (s->all->how->rows && token->id >= 0)
        json_object_set_new(line, "logprobs",
                            json_pack("{s:[o]}", "content", told_json(s->all->tokenizer, token)));
    return print_line(line);
}

static bool print_last_line(const sample *s, const sm_generate_stats *stats) {
    return print_line(json_pack(
        "{s:I, s:o, s:s, s:I, s:I}", "sample", (json_int_t)s->number, "text",
        cli_json_text(s->text.data != NULL ? s->text.data : "", s->text.length), "finish",
        told_finish(stats->finish, true), "prompt_tokens", (json_int_t)stats->prompt_tokens,
        "generated_tokens", (json_int_t)stats->generated_tokens));
}

/* ---- for people --------------------------------------------------------------------------- */

static bool keep_token(sample *s, const sm_token *token) {
    if (s->n == s->capacity) {
        const size_t capacity = 2 * s->capacity + 64;
        later *larger = realloc(s->tokens, capacity * sizeof *larger);
        if (larger == NULL) {
            cli_error("out of memory for the tokens");
            return false;
        }
        s->tokens = larger;
        s->capacity = capacity;
    }
    later *kept = &s->tokens[s->n++];
    kept->token = *token;
    for (uint64_t i = 0; i < token->n_top; i++)
        kept->top[i] = token->top[i];
    return true;
}

static void print_tokens(sample *s) {
    for (size_t i = 0; i < s->n; i++) {
        s->tokens[i].token.top = s->tokens[i].top;
        if (s->all->how->rows)
            told_row(s->all->tokenizer, &s->tokens[i].token);
        else
            printf(i == 0 ? "%d" : " %d", s->tokens[i].token.id);
    }
    if (!s->all->how->rows)
        putchar('\n');
}

static void print_text(const sample *s) {
    const samples *how = s->all->how;
    if (!how->no_prompt)
        fwrite(how->prompt->text, 1, how->prompt->length, stdout);
    if (s->text.length > 0)
        fwrite(s->text.data, 1, s->text.length, stdout);
    putchar('\n');
}

static void print_sample(sample *s) {
    sm_generate_stats stats = {.struct_size = sizeof stats};
    if (sm_session_get_stats(s->all->open[s->number], &stats, NULL) != SM_OK)
        return;
    if (s->all->how->json) {
        print_last_line(s, &stats);
        return;
    }
    printf("--- sample %u, finished: %s\n", s->number, told_finish(stats.finish, false));
    if (s->all->how->rows || s->all->how->ids)
        print_tokens(s);
    else
        print_text(s);
}

static void print_timings(const all *a, double seconds) {
    double tokens = 0;
    for (uint32_t i = 0; i < a->how->n; i++) {
        sm_generate_stats stats = {.struct_size = sizeof stats};
        if (sm_session_get_stats(a->open[i], &stats, NULL) == SM_OK)
            tokens += stats.generated_tokens;
    }
    fprintf(stderr, "%u samples: %.0f tokens in %.3f s, %.1f tokens/s\n", a->how->n, tokens,
            seconds, seconds > 0 ? tokens / seconds : 0.0);
}

/* ---- computing them ----------------------------------------------------------------------- */

static int32_t on_token(void *user, const sm_token *token) {
    sample *s = user;
    const samples *how = s->all->how;
    if (!told_keep(&s->text, token))
        return 1;
    if (how->json) {
        print_prompt_line(s->all);
        return !print_token(s, token) || fflush(stdout) != 0;
    }
    return token->id >= 0 && (how->rows || how->ids) && !keep_token(s, token);
}

static int open_sessions(all *a) {
    const samples *how = a->how;
    const sm_session_options *o = how->session;
    const sm_batch_options together = {.struct_size = sizeof together,
                                       .n_threads = o->n_threads,
                                       .n_sequences = how->n,
                                       .n_batch = o->n_batch,
                                       .n_ctx = o->n_ctx,
                                       .pin = o->pin};
    sm_session_options each = *o;
    sm_error error;
    each.n_threads = each.n_batch = each.pin = 0;
    sm_status status = sm_batch_new(&a->batch, how->model, &together, &error);
    if (status == SM_OK)
        status = sm_batch_set_cancel(a->batch, cli_cancel, NULL, &error);
    for (uint32_t i = 0; i < how->n && status == SM_OK; i++) {
        status = sm_batch_new_session(&a->open[i], a->batch, &each, &error);
        if (status == SM_OK) {
            const int code = cli_attach(a->open[i], how->model, how->adapters);
            if (code != CLI_GO_ON)
                return code;
        }
    }
    return status == SM_OK ? CLI_GO_ON : cli_fail(&error);
}

static void prepare(all *a) {
    for (uint32_t i = 0; i < a->how->n; i++) {
        sample *s = &a->each[i];
        *s = (sample){
            .all = a, .number = i, .sampling = *a->how->sampling, .options = *a->how->generate};
        s->sampling.sequence += i;
        s->options.sampling = &s->sampling;
        a->texts[i] = (sm_batch_text){.struct_size = sizeof *a->texts,
                                      .session = a->open[i],
                                      .prompt = a->how->prompt->text,
                                      .length = a->how->prompt->length,
                                      .options = &s->options,
                                      .on_token = on_token,
                                      .user = s};
    }
}

static int generate(all *a) {
    sm_error error;
    const double start = cli_seconds();
    prepare(a);
    const sm_status status = sm_batch_generate(a->batch, a->texts, a->how->n, NULL, &error);
    if (status != SM_OK && status != SM_ERR_CANCELLED)
        return cli_fail(&error);
    if (a->how->json)
        print_prompt_line(a); /* if no token came at all */
    for (uint32_t i = 0; i < a->how->n; i++)
        print_sample(&a->each[i]);
    fflush(stdout);
    print_timings(a, cli_seconds() - start);
    return status == SM_OK || !cli_interrupted() ? CLI_DONE : cli_fail(&error);
}

int samples_print(const samples *how) {
    all a = {.how = how,
             .each = calloc(how->n, sizeof *a.each),
             .texts = calloc(how->n, sizeof *a.texts),
             .open = calloc(how->n, sizeof *a.open)};
    int code = CLI_FAILED;
    sm_model_get_tokenizer(how->model, &a.tokenizer, NULL);
    if (a.each == NULL || a.texts == NULL || a.open == NULL)
        code = cli_error("out of memory for %u samples", how->n);
    else
        code = open_sessions(&a);
    if (code == CLI_GO_ON)
        code = generate(&a);
    for (uint32_t i = 0; i < how->n; i++) {
        if (a.open != NULL)
            sm_session_free(a.open[i]);
        if (a.each != NULL) {
            free(a.each[i].text.data);
            free(a.each[i].tokens);
        }
    }
    sm_batch_free(a.batch);
    sm_tokenizer_free(a.tokenizer);
    free(a.each);
    free(a.texts);
    free(a.open);
    return code;
}
