/* run.c - `smallmind run`: continue a prompt and stream what comes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include <jansson.h>

#include "bias.h"
#include "cli.h"
#include "samples.h"
#include "shown.h"
#include "told.h"

typedef struct run_state {
    const char *path;
    cli_prompt given;
    cli_texts stop, ban, biases, dry_breakers;
    sm_tokenizer *tokenizer;
    cli_texts adapters;
    const char *draft;
    const char *grammar, *grammar_file, *regex, *schema;
    cli_texts choices;
    const char *load_session, *save_session, *prompt_cache;
    bool marked;
    sm_watermark watermark;
    bool no_prompt;
    bool ids, json;
    uint32_t samples; /* 0: one, as it comes */
    sm_model_options model;
    sm_session_options session;
    sm_sampling sampling;
    sm_generate_options generate;
    sm_session *handle;
    const cli_input *prompt;
    bool prompt_printed;
    bool any_id;       /* an id stands on the line already */
    bool begun;        /* a token is there */
    bool dropped;      /* it was said that the context is full */
    json_t *echoed;    /* what was told of the prompt's tokens; NULL: nothing */
    told_text written; /* so far */
} run_state;

static void print_id(run_state *run, int32_t id) {
    printf(run->any_id ? " %d" : "%d", id);
    run->any_id = true;
}

/* ---- JSON: a line for the prompt, one for each token, one with all of it ------------------ */

static bool print_line(json_t *line) {
    return cli_print_json(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) == CLI_DONE;
}

static void print_prompt_line(run_state *run, uint32_t n) {
    json_t *ids = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(ids, json_integer(cli_token(run->handle, i)));
    json_t *line = json_pack("{s:o, s:o}", "prompt",
                             cli_json_text(run->prompt->text, run->prompt->length), "ids", ids);
    if (run->echoed != NULL)
        json_object_set_new(line, "logprobs", json_pack("{s:O}", "content", run->echoed));
    print_line(line);
}

/* Whether tokens are told of with their log-probabilities. */
static bool tells(const run_state *run) {
    return run->generate.n_logprobs > 0 || run->generate.echo;
}

/* Text that had been waiting comes without a token. */
static bool print_token_line(const run_state *run, const sm_token *token) {
    json_t *id = token->id >= 0 ? json_integer(token->id) : json_null();
    json_t *line =
        json_pack("{s:o, s:o}", "id", id, "text", cli_json_text(token->text, token->length));
    if (tells(run) && token->id >= 0)
        json_object_set_new(line, "logprobs",
                            json_pack("{s:[o]}", "content", told_json(run->tokenizer, token)));
    return print_line(line);
}

/* ---- output ------------------------------------------------------------------------------- */

/* The prompt, as text or ids, once; with the first token, when it is known to fit. The
 * session holds its ids then. */
static void print_prompt(run_state *run) {
    sm_generate_stats stats = {.struct_size = sizeof stats};
    if (run->no_prompt || run->prompt_printed)
        return;
    run->prompt_printed = true;
    if (!run->ids && !run->json) {
        if (tells(run)) /* rows have it, or leave it out */
            return;
        fwrite(run->prompt->text, 1, run->prompt->length, stdout);
        return;
    }
    if (sm_session_get_stats(run->handle, &stats, NULL) != SM_OK)
        return;
    const uint32_t length = (uint32_t)sm_session_length(run->handle);
    const uint32_t n = stats.prompt_tokens < length ? stats.prompt_tokens : length;
    if (run->json)
        print_prompt_line(run, n);
    for (uint32_t i = 0; run->ids && i < n; i++)
        print_id(run, cli_token(run->handle, i));
}

/* Until the first token is there, how much of the prompt is done. */
static int32_t on_cancel(void *user) {
    const run_state *run = user;
    sm_generate_stats stats = {.struct_size = sizeof stats};
    if (!run->begun && sm_session_get_stats(run->handle, &stats, NULL) == SM_OK)
        progress_count("prompt", sm_session_length(run->handle), stats.prompt_tokens);
    return cli_interrupted();
}

/* A token of the prompt: kept for the prompt's line, or a row. */
static int32_t on_prompt_token(run_state *run, const sm_token *token) {
    if (token->id < 0 || run->no_prompt)
        return cli_interrupted();
    if (!run->json) {
        progress_end();
        told_row(run->tokenizer, token);
        return fflush(stdout) != 0 || cli_interrupted();
    }
    if (run->echoed == NULL)
        run->echoed = json_array();
    json_array_append_new(run->echoed, told_json(run->tokenizer, token));
    return cli_interrupted();
}

static int32_t on_token(void *user, const sm_token *token) {
    run_state *run = user;
    if (token->in_prompt)
        return on_prompt_token(run, token);
    if (!run->begun)
        progress_end();
    run->begun = true;
    print_prompt(run);
    if (run->json) {
        if (!told_keep(&run->written, token) || !print_token_line(run, token))
            return 1;
    } else if (tells(run)) {
        if (token->id >= 0)
            told_row(run->tokenizer, token);
    } else if (!run->ids)
        fwrite(token->text, 1, token->length, stdout);
    else if (token->id >= 0)
        print_id(run, token->id);
    return fflush(stdout) != 0 || cli_interrupted();
}

static double per_second(double n, double seconds) {
    return seconds > 0.0 ? n / seconds : 0.0;
}

/* Once, whatever the policy does about it. */
static int32_t on_context_full(void *user, sm_context_full *full) {
    run_state *run = user;
    if (!run->dropped)
        fprintf(stderr, "\ncontext full: %llu tokens behind the first %u are dropped\n",
                (unsigned long long)full->n_dropped, full->n_keep);
    run->dropped = true;
    return cli_interrupted();
}

static void print_timings(const sm_session *session, const sm_model_info *info,
                          double load_seconds) {
    sm_generate_stats stats = {.struct_size = sizeof stats};
    if (sm_session_get_stats(session, &stats, NULL) != SM_OK)
        return;
    const char *level = sm_level_name(info->level);
    const uint32_t n_threads = cli_session_info(session).n_threads;
    fprintf(stderr, "loaded:    %.3f s, %s, %u thread%s\n", load_seconds,
            level != NULL ? level : "?", n_threads, n_threads == 1 ? "" : "s");
    fprintf(stderr, "prompt:    %u tokens in %.3f s, %.1f tokens/s\n", stats.prompt_tokens,
            stats.prompt_seconds, per_second(stats.prompt_tokens, stats.prompt_seconds));
    if (stats.reused_tokens > 0)
        fprintf(stderr, "reused:    %u of them\n", stats.reused_tokens);
    if (stats.generated_tokens > 0)
        fprintf(stderr, "first token after %.3f s\n", stats.first_token_seconds);
    /* the clock of generating starts when the first token is there */
    const double decoded = stats.generated_tokens > 1 ? stats.generated_tokens - 1 : 0;
    fprintf(stderr, "generated: %u tokens in %.3f s, %.1f tokens/s; finished: %s\n",
            stats.generated_tokens, stats.generate_seconds,
            per_second(decoded, stats.generate_seconds), told_finish(stats.finish, false));
    if (stats.dropped_tokens > 0)
        fprintf(stderr, "dropped:   %llu tokens, %llu times\n",
                (unsigned long long)stats.dropped_tokens, (unsigned long long)stats.context_fulls);
    if (stats.drafted_tokens > 0)
        fprintf(stderr, "guessed:   %llu tokens, %llu of them right\n",
                (unsigned long long)stats.drafted_tokens,
                (unsigned long long)stats.accepted_tokens);
}

static int print_last_line(const run_state *run, double load_seconds) {
    sm_generate_stats stats = {.struct_size = sizeof stats};
    if (sm_session_get_stats(run->handle, &stats, NULL) != SM_OK)
        return CLI_FAILED;
    return print_line(json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "text",
                                cli_json_text(run->written.data != NULL ? run->written.data : "",
                                              run->written.length),
                                "finish", told_finish(stats.finish, true), "prompt_tokens",
                                (json_int_t)stats.prompt_tokens, "generated_tokens",
                                (json_int_t)stats.generated_tokens, "drafted_tokens",
                                (json_int_t)stats.drafted_tokens, "accepted_tokens",
                                (json_int_t)stats.accepted_tokens, "dropped_tokens",
                                (json_int_t)stats.dropped_tokens, "load_seconds", load_seconds,
                                "prompt_seconds", stats.prompt_seconds, "first_token_seconds",
                                stats.generated_tokens > 0 ? stats.first_token_seconds : 0.0,
                                "generate_seconds", stats.generate_seconds))
               ? CLI_DONE
               : CLI_FAILED;
}

/* ---- sessions in files -------------------------------------------------------------------- */

static int32_t on_session_cancel(void *user) {
    (void)user;
    return cli_interrupted();
}

/* A cache that is not there yet comes with the first run. */
static sm_status load_session(run_state *run, sm_error *error) {
    const char *path = run->load_session;
    if (path == NULL && run->prompt_cache != NULL && access(run->prompt_cache, F_OK) == 0)
        path = run->prompt_cache;
    if (path == NULL)
        return SM_OK;
    sm_session_set_cancel(run->handle, on_session_cancel, run, NULL);
    return sm_session_restore(run->handle, path, error);
}

/* What was asked for and has not failed before. */
static sm_status save_session(run_state *run, sm_error *error) {
    const char *const paths[] = {run->save_session, run->prompt_cache};
    sm_status status = SM_OK;
    sm_session_set_cancel(run->handle, on_session_cancel, run, NULL);
    for (int i = 0; i < 2 && status == SM_OK; i++)
        if (paths[i] != NULL)
            status = sm_session_save(run->handle, paths[i], error);
    return status;
}

/* A session of the second model, which it keeps. */
static int open_draft(run_state *run) {
    sm_model *model;
    sm_model_info info;
    sm_session_options options = run->session;
    if (run->draft == NULL)
        return CLI_GO_ON;
    int code = cli_load_model(&model, &info, run->draft, &run->model);
    if (code != CLI_GO_ON)
        return code;
    options.n_ctx = cli_session_info(run->handle).n_ctx;
    code = cli_open_session(&run->generate.draft, model, &options, NULL);
    sm_model_free(model);
    return code;
}

/* What the continuation has to match, if it was asked for. */
static int open_constraint(run_state *run, const sm_model *model) {
    sm_error error;
    sm_tokenizer *tokenizer;
    cli_input file = {0};
    sm_text choices[CLI_MAX_TEXTS];
    const char *text = run->grammar != NULL ? run->grammar : run->regex;
    uint64_t length = text != NULL ? strlen(text) : 0;
    const char *path = run->grammar_file != NULL ? run->grammar_file : run->schema;
    if (text == NULL && path == NULL && run->choices.n == 0)
        return CLI_GO_ON;
    if (path != NULL) {
        if (!cli_read(&file, path))
            return CLI_FAILED;
        text = file.text;
        length = file.length;
    }
    sm_status status = sm_model_get_tokenizer(model, &tokenizer, &error);
    if (status == SM_OK) {
        if (run->choices.n > 0)
            status = sm_constraint_new_choices(&run->generate.constraint, tokenizer,
                                               cli_texts_of(&run->choices, choices), run->choices.n,
                                               NULL, &error);
        else if (run->schema != NULL)
            status = sm_constraint_new_schema(&run->generate.constraint, tokenizer, text, length,
                                              NULL, NULL, &error);
        else
            status =
                sm_constraint_new(&run->generate.constraint, tokenizer,
                                  run->regex != NULL ? SM_CONSTRAINT_REGEX : SM_CONSTRAINT_GBNF,
                                  text, length, NULL, &error);
        sm_tokenizer_free(tokenizer);
    }
    free(file.text);
    return status == SM_OK ? CLI_GO_ON : cli_fail(&error);
}

static int generate(run_state *run, const sm_model *model, const sm_model_info *info,
                    const cli_input *prompt, double load_seconds) {
    sm_error error = {0};
    int code = cli_open_session(&run->handle, model, &run->session, &run->adapters);
    if (code != CLI_GO_ON)
        return code;
    code = open_draft(run);
    if (code == CLI_GO_ON)
        code = open_constraint(run, model);
    if (code != CLI_GO_ON) {
        sm_session_free(run->generate.draft);
        sm_session_free(run->handle);
        return code;
    }
    run->prompt = prompt;
    sm_model_get_tokenizer(model, &run->tokenizer, NULL);
    sm_status status = load_session(run, &error);
    if (status != SM_OK) {
        sm_constraint_free(run->generate.constraint);
        sm_session_free(run->generate.draft);
        sm_session_free(run->handle);
        return cli_fail(&error);
    }
    sm_session_set_cancel(run->handle, on_cancel, run, NULL);
    status = sm_session_generate(run->handle, prompt->text, prompt->length, &run->generate,
                                 on_token, run, &error);
    progress_end();
    if (status == SM_OK || status == SM_ERR_CANCELLED) {
        print_prompt(run); /* if no token came at all */
        if (!run->json && !tells(run))
            putchar('\n');
        else if (run->json && print_last_line(run, load_seconds) != CLI_DONE)
            code = CLI_FAILED;
        fflush(stdout);
        print_timings(run->handle, info, load_seconds);
    }
    if (status == SM_OK)
        status = save_session(run, &error);
    /* output that cannot be written cancels too; cli_finish reports that */
    if (status != SM_OK && (status != SM_ERR_CANCELLED || cli_interrupted()))
        code = cli_fail(&error);
    else if (code == CLI_GO_ON)
        code = CLI_DONE;
    free(run->written.data);
    json_decref(run->echoed);
    sm_constraint_free(run->generate.constraint);
    sm_session_free(run->generate.draft);
    sm_session_free(run->handle);
    sm_tokenizer_free(run->tokenizer);
    return code;
}

/* Several continuations, of which each is printed as one would be. */
static int generate_samples(run_state *run, const sm_model *model, const cli_input *prompt) {
    samples how = {.n = run->samples,
                   .model = model,
                   .prompt = prompt,
                   .session = &run->session,
                   .generate = &run->generate,
                   .sampling = &run->sampling,
                   .adapters = &run->adapters,
                   .json = run->json,
                   .ids = run->ids,
                   .rows = tells(run),
                   .no_prompt = run->no_prompt};
    int code = open_constraint(run, model);
    if (code == CLI_GO_ON)
        code = samples_print(&how);
    sm_constraint_free(run->generate.constraint);
    return code;
}

static int load_and_generate(run_state *run) {
    cli_input prompt;
    sm_model *model;
    sm_model_info info;
    int code = cli_read_prompt(&prompt, "run", &run->given, cli_input_waits() ? "-" : NULL);
    if (code != CLI_GO_ON)
        return code;
    if (strlen(prompt.text) != prompt.length) {
        code = cli_error("%s: the prompt holds a zero byte at offset %zu", prompt.path,
                         strlen(prompt.text));
    } else {
        const double start = cli_seconds();
        code = cli_load_model(&model, &info, run->path, &run->model);
        if (code == CLI_GO_ON) {
            code = bias_read(&run->biases, model, &run->sampling);
            if (code == CLI_GO_ON)
                code = run->samples > 0
                           ? generate_samples(run, model, &prompt)
                           : generate(run, model, &info, &prompt, cli_seconds() - start);
            sm_model_free(model);
        }
        free((void *)(uintptr_t)run->sampling.bias);
    }
    free(prompt.text);
    return code;
}

/* Texts of a flag, with their escapes where that was asked for. */
static bool take_texts(const run_state *run, const cli_texts *texts, const char *flag, size_t most,
                       sm_text to[CLI_MAX_TEXTS]) {
    for (uint32_t i = 0; i < texts->n; i++) {
        char *text = (char *)(uintptr_t)texts->items[i]; /* of argv, whose texts may be changed */
        size_t length = strlen(text);
        if (run->given.escapes && cli_unescape(text, &length, "run", flag) != CLI_GO_ON)
            return false;
        if (length < 1 || length > most) {
            cli_misuse("run", "%s: %zu bytes are not within 1 to %zu", flag, length, most);
            return false;
        }
        to[i] = (sm_text){text, length};
    }
    return true;
}

int cmd_run(int argc, char **argv) {
    sm_text stops[CLI_MAX_TEXTS], bans[CLI_MAX_TEXTS], breakers[CLI_MAX_TEXTS];
    run_state run = {
        .model.struct_size = sizeof run.model,
        .session.struct_size = sizeof run.session,
        .sampling.struct_size = sizeof run.sampling,
        .generate.struct_size = sizeof run.generate,
        .watermark.struct_size = sizeof run.watermark,
    };
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &run.path, "FILE", 0, 0, CLI_MODEL_DOC},
        {'p', "prompt", CLI_TEXT, &run.given.text, "TEXT", 0, 0,
         "the text to continue; - reads standard input. Without -p and -f the text comes from "
         "standard input where that is a pipe or a file, else it is empty"},
        {'e', "escapes", CLI_SWITCH, &run.given.escapes, "", 0, 0,
         CLI_ESCAPES_DOC "; in those of --stop and --dry-breaker, too"},
        {'f', "file", CLI_TEXT, &run.given.file, "FILE", 0, 0,
         "the text to continue, from a file or -"},
        {0, "stop", CLI_TEXTS, &run.stop, "TEXT", 0, 0,
         "end before this text would appear, or when a control token with this text is chosen; may "
         "be given up to 64 times, 1 to 1024 bytes each"},
        {0, "ban-string", CLI_TEXTS, &run.ban, "TEXT", 0, 0,
         "the continuation must not hold this text; may be given up to 64 times, 1 to 1024 bytes "
         "each"},
        {0, "logit-bias", CLI_TEXTS, &run.biases, "TOKEN=BIAS", 0, 0,
         "add to the logit of a token, given by id or by text (in double quotes where it looks "
         "like "
         "an id), of which each token counts; -inf bans. May be given up to 64 times"},
        {0, "dry-breaker", CLI_TEXTS, &run.dry_breakers, "TEXT", 0, 0,
         "repetitions that DRY looks for do not reach over this text; may be given up to 64 times, "
         "1 to 40 bytes each"},
        {0, "adapter", CLI_TEXTS, &run.adapters, "FILE[=SCALE]", 0, 0, CLI_ADAPTER_DOC},
        {0, "draft", CLI_TEXT, &run.draft, "FILE", 0, 0,
         "a smaller model with the same vocabulary that guesses tokens, which are computed "
         "together: "
         "the same text, sooner if it guesses well"},
        {0, "watermark", CLI_SWITCH, &run.marked, "", 0, 0,
         "mark the text, for `smallmind watermark` to find with the same --watermark-key"},
        {0, "load-session", CLI_TEXT, &run.load_session, "FILE", 0, 0,
         "begin with a session that --save-session wrote: what it has of the prompt is not "
         "computed again"},
        {0, "save-session", CLI_TEXT, &run.save_session, "FILE", 0, 0,
         "write the session at the end: prompt, continuation, keys and values"},
        {0, "prompt-cache", CLI_TEXT, &run.prompt_cache, "FILE", 0, 0,
         "both, with one file, which need not be there at first"},
        {0, "sampler-order", CLI_TEXT, &run.sampling.order, "NAMES", 0, 0,
         "names of samplers, to be applied in this order, instead of penalties, dry, top_n_sigma, "
         "top_k, typical, top_p, min_p, top_a, xtc, temperature, mirostat; or llama.cpp's letters "
         "for "
         "them, edskypmxt"},
        {0, "samples", CLI_COUNT, &run.samples, "N", 1, 1024,
         "so many continuations, computed together, the first being the one that comes without "
         "this; the others' draws are those of --sequence 1, 2 and so on"},
        {0, "grammar", CLI_TEXT, &run.grammar, "TEXT", 0, 0,
         "the continuation has to match this grammar, in llama.cpp's notation (GBNF)"},
        {0, "grammar-file", CLI_TEXT, &run.grammar_file, "FILE", 0, 0, "the same, from a file"},
        {0, "regex", CLI_TEXT, &run.regex, "TEXT", 0, 0,
         "the continuation has to match this regular expression, as a whole"},
        {0, "schema", CLI_TEXT, &run.schema, "FILE", 0, 0,
         "the continuation has to be a JSON text, without white space, that fits this JSON Schema; "
         "- reads standard input"},
        {0, "choice", CLI_TEXTS, &run.choices, "TEXT", 0, 0,
         "the continuation has to be this text, or one of them: may be given up to 64 times"},
        {0, "no-prompt", CLI_SWITCH, &run.no_prompt, "", 0, 0, "print the continuation only"},
        {0, "ids", CLI_SWITCH, &run.ids, "", 0, 0, "print token ids instead of text"},
        {0, "json", CLI_SWITCH, &run.json, "", 0, 0,
         "print JSON objects, one a line: the prompt, each token as it comes, and at the end the "
         "whole text with counts and timings"},
    };
    const cli_fields fields[] = {
        {SM_OPTIONS_GENERATE, &run.generate, NULL},   {SM_OPTIONS_SAMPLING, &run.sampling, NULL},
        {SM_OPTIONS_WATERMARK, &run.watermark, NULL}, {SM_OPTIONS_SESSION, &run.session, NULL},
        {SM_OPTIONS_MODEL, &run.model, NULL},
    };
    const cli_command command = {
        .name = "run",
        .synopsis = "-m MODEL [-p TEXT | -f FILE] [OPTION]...",
        .summary =
            "Prints the prompt and then its continuation as it is generated, and a final newline.\n"
            "The same seed gives the same text, for every number of threads. Timings go to\n"
            "standard error: seconds, prompt tokens per second, generated tokens per second.\n"
            "Ctrl-C stops cleanly with exit status 130; a second one stops at once.",
        .examples = {{"smallmind run -m model.gguf -p \"Once upon a time\"",
                      "continue a text until it ends"},
                     {"smallmind run -m model.gguf -f prompt.txt -n 200 --temp 0.8 --seed random",
                      "200 tokens at most, drawn at random, others each time"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = &run.path,
    };
    const int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (run.path == NULL)
        return cli_misuse("run", "-m MODEL is required");
    if (run.load_session != NULL && run.prompt_cache != NULL)
        return cli_misuse("run", "--prompt-cache loads a session already: it goes without "
                                 "--load-session");
    if ((run.grammar != NULL) + (run.grammar_file != NULL) + (run.regex != NULL) +
            (run.schema != NULL) + (run.choices.n > 0) >
        1)
        return cli_misuse("run", "--grammar, --grammar-file, --regex, --schema and --choice "
                                 "exclude each other");
    if (run.samples > 0 && (run.draft != NULL || run.generate.speculate != SM_SPECULATE_NO ||
                            run.load_session != NULL || run.save_session != NULL ||
                            run.prompt_cache != NULL || run.generate.echo))
        return cli_misuse("run", "--samples goes without --draft, --speculate, --echo and files of "
                                 "sessions");
    if (run.json && run.ids)
        return cli_misuse("run", "--json has the ids: it goes without --ids");
    if (run.ids && tells(&run))
        return cli_misuse("run", "--%s prints rows of tokens: it goes without --ids",
                          run.generate.echo ? "echo" : "logprobs");
    if (!take_texts(&run, &run.stop, "--stop", 1024, stops) ||
        !take_texts(&run, &run.dry_breakers, "--dry-breaker", 40, breakers))
        return CLI_USAGE;
    if (run.generate.context_full == SM_CONTEXT_ASK)
        return cli_misuse("run", "--context-full ask is for programs that have an answer");
    run.generate.on_context_full = on_context_full;
    run.generate.context_full_user = &run;
    run.sampling.watermark = run.marked ? &run.watermark : NULL;
    run.sampling.dry_breaker_texts = run.dry_breakers.n > 0 ? breakers : NULL;
    run.sampling.n_dry_breaker_texts = run.dry_breakers.n;
    run.generate.sampling = &run.sampling;
    run.generate.stop = run.stop.n > 0 ? stops : NULL;
    run.generate.n_stop = run.stop.n;
    run.generate.ban = cli_texts_of(&run.ban, bans);
    run.generate.n_ban = run.ban.n;
    cli_catch_interrupt();
    return load_and_generate(&run);
}
