/* eval.c - `smallmind eval`: perplexity of a text; or of a task, choose.c.
 *
 * The text is encoded once, without markers, and cut into windows that do not
 * overlap. A window is a context of its own: BOS, if the vocabulary adds one,
 * and as many tokens of the text as fit. Scored is every token of the window
 * but its first (so with BOS every token of the text, without it all but one
 * per window). The last window may be shorter.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "choose.h"
#include "score.h"
#include "shown.h"

typedef struct eval_text {
    int32_t *ids;
    uint64_t n;
    uint64_t bytes;
    int32_t bos; /* put in front of each window; -1: none */
    sm_tokenizer *tokenizer;
} eval_text;

typedef struct eval_result {
    double nats; /* -log p, summed over the scored tokens */
    uint64_t scored;
    uint64_t bytes; /* of text that the scored tokens stand for */
    uint64_t windows;
    uint64_t fed; /* tokens computed */
    double seconds;
    uint32_t context;
} eval_result;

/* Feeds one window and scores each token by the logits before it. all: tokens of the text. */
static sm_status score_window(sm_session *session, const int32_t *window, uint64_t n,
                              size_t n_vocab, float *logits, uint64_t all, eval_result *result,
                              sm_error *error) {
    sm_status status = sm_session_rewind(session, 0, error);
    for (uint64_t done = 0; status == SM_OK && done + 1 < n;) {
        const uint64_t chunk = n - 1 - done < SCORE_TOGETHER ? n - 1 - done : SCORE_TOGETHER;
        status = sm_session_feed_logits(session, window + done, chunk, logits,
                                        n_vocab * SCORE_TOGETHER, error);
        for (uint64_t i = 0; status == SM_OK && i < chunk; i++)
            result->nats += score_surprise(logits + i * n_vocab, n_vocab, window[done + i + 1]);
        done += chunk;
        progress_count("evaluating", result->fed + done, all);
    }
    if (status == SM_OK) {
        result->scored += n - 1;
        result->fed += n - 1;
        result->windows++;
    }
    return status;
}

static sm_status score_text(sm_session *session, const eval_text *text, size_t n_vocab,
                            int32_t *window, float *logits, eval_result *result, sm_error *error) {
    const uint64_t lead = text->bos >= 0 ? 1 : 0;
    const uint64_t room = result->context - lead;
    window[0] = text->bos;
    result->bytes = text->bytes;
    for (uint64_t at = 0; at < text->n; at += room) {
        const uint64_t n = text->n - at < room ? text->n - at : room;
        uint64_t unscored = 0;
        sm_status status = SM_OK;
        if (lead == 0) {
            /* the bytes of a first token that nothing predicts do not count */
            status = sm_tokenizer_decode(text->tokenizer, text->ids + at, 1,
                                         SM_DECODE_SPECIAL | SM_DECODE_KEEP_SPACE, NULL, 0,
                                         &unscored, error);
            if (status != SM_OK && status != SM_ERR_BUFFER)
                return status;
            result->bytes -= unscored < result->bytes ? unscored : result->bytes;
        }
        if (n + lead < 2)
            break;
        memcpy(window + lead, text->ids + at, n * sizeof *window);
        status = score_window(session, window, n + lead, n_vocab, logits, text->n, result, error);
        if (status != SM_OK)
            return status;
    }
    progress_end();
    return SM_OK;
}

static int encode_text(eval_text *text, const sm_model *model, const cli_input *input) {
    sm_error error = {0};
    sm_tokenizer_info info = {.struct_size = sizeof info};
    memset(text, 0, sizeof *text);
    if (sm_model_get_tokenizer(model, &text->tokenizer, &error) != SM_OK ||
        sm_tokenizer_get_info(text->tokenizer, &info, &error) != SM_OK)
        return cli_fail(&error);
    const int code = cli_encode(&text->ids, &text->n, text->tokenizer, input);
    if (code != CLI_GO_ON)
        return code;
    text->bytes = input->length;
    text->bos = info.add_bos ? info.bos : -1;
    if (text->n + (text->bos >= 0) < 2)
        return cli_error("%s: holds no token that could be scored", input->path);
    return CLI_GO_ON;
}

static int print_result(const eval_result *result, const char *path, const sm_model_info *info,
                        uint32_t n_threads, bool json) {
    const double nats = result->nats / (double)result->scored;
    const double bits = result->bytes > 0 ? result->nats / log(2.0) / (double)result->bytes : 0.0;
    const double speed = result->seconds > 0.0 ? (double)result->fed / result->seconds : 0.0;
    const char *level = sm_level_name(info->level);
    if (level == NULL)
        level = "";
    if (!json) {
        printf("perplexity   %.6f\nnats/token   %.8f\nbits/byte    %.8f\ntokens       %llu "
               "(in %llu windows of %u at most)\nbytes        %llu\ntokens/s     %.1f\n",
               exp(nats), nats, bits, (unsigned long long)result->scored,
               (unsigned long long)result->windows, result->context,
               (unsigned long long)result->bytes, speed);
        return CLI_DONE;
    }
    json_t *root =
        json_pack("{s:o, s:s, s:I, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:f}", "model",
                  cli_json_name(path), "level", level, "threads", (json_int_t)n_threads,
                  "perplexity", exp(nats), "nats_per_token", nats, "bits_per_byte", bits, "tokens",
                  (json_int_t)result->scored, "bytes", (json_int_t)result->bytes, "windows",
                  (json_int_t)result->windows, "context", (json_int_t)result->context, "seconds",
                  result->seconds, "tokens_per_second", speed);
    return cli_print_json(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
}

static int evaluate(const char *path, const sm_model *model, const sm_model_info *info,
                    const cli_input *input, const sm_session_options *options,
                    const cli_texts *adapters, bool json) {
    sm_error error = {0};
    sm_session *session = NULL;
    eval_text text;
    eval_result result = {0};
    int32_t *window = NULL;
    float *logits = NULL;
    const size_t n_vocab = (size_t)info->n_vocab;
    int code = encode_text(&text, model, input);
    if (code == CLI_GO_ON)
        code = cli_open_session(&session, model, options, adapters);
    if (code == CLI_GO_ON) {
        result.context = cli_session_info(session).n_ctx;
        window = malloc(result.context * sizeof *window);
        logits = malloc(n_vocab * SCORE_TOGETHER * sizeof *logits);
        if (window == NULL || logits == NULL)
            code = cli_error("out of memory");
    }
    if (code == CLI_GO_ON) {
        const double start = cli_seconds();
        if (score_text(session, &text, n_vocab, window, logits, &result, &error) != SM_OK)
            code = cli_fail(&error);
        result.seconds = cli_seconds() - start;
    }
    if (code == CLI_GO_ON)
        code = print_result(&result, path, info, cli_session_info(session).n_threads, json);
    free(logits);
    free(window);
    free(text.ids);
    sm_session_free(session);
    sm_tokenizer_free(text.tokenizer);
    return code;
}

static int choose(const choose_options *options, const sm_model *model,
                  const sm_session_options *how, const cli_texts *adapters) {
    sm_session *session = NULL;
    int code = cli_open_session(&session, model, how, adapters);
    if (code == CLI_GO_ON)
        code = choose_run(options, model, session);
    sm_session_free(session);
    return code;
}

static int misnamed(const char *name) {
    char hint[128];
    return cli_misuse("eval", "--task %s: none of %s%s", name, TASK_NAMES,
                      cli_did_you_mean(hint, sizeof hint, TASK_NAMES, name));
}

int cmd_eval(int argc, char **argv) {
    const char *path = NULL, *file = NULL, *asked = NULL;
    uint32_t limit = 0;
    bool json = false;
    cli_texts adapters = {.n = 0};
    sm_model_options model_options = {.struct_size = sizeof model_options};
    sm_session_options session = {.struct_size = sizeof session, .kv_type = SM_KV_TYPE_F32};
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &path, "FILE", 0, 0, CLI_MODEL_DOC},
        {'f', "file", CLI_TEXT, &file, "FILE", 0, 0,
         "the text or the task's lines, from a file or - (required)"},
        {0, "task", CLI_TEXT, &asked, "NAME", 0, 0,
         "the file holds multiple choice: hellaswag, arc, mmlu, winogrande, truthfulqa-mc1 or "
         "truthfulqa-mc2"},
        {0, "limit", CLI_COUNT, &limit, "N", 1, UINT32_MAX, "of a task, only the first N lines"},
        {0, "adapter", CLI_TEXTS, &adapters, "FILE[=SCALE]", 0, 0, CLI_ADAPTER_DOC},
        {0, "json", CLI_SWITCH, &json, "", 0, 0, "print one JSON object"},
    };
    const cli_fields fields[] = {
        {SM_OPTIONS_SESSION, &session, NULL},
        {SM_OPTIONS_MODEL, &model_options, NULL},
    };
    const cli_command command = {
        .name = "eval",
        .synopsis = "-m MODEL -f FILE [-c CONTEXT] [--json]\n"
                    "-m MODEL -f FILE --task NAME [--limit N] [--json]",
        .summary =
            "Prints perplexity, nats per token, bits per byte and tokens per second.\n"
            "The text is encoded once and cut into windows of CONTEXT tokens that do not overlap;\n"
            "each begins with BOS if the vocabulary adds one, and an empty cache. Every token of "
            "a\n"
            "window after its first is scored; the last window may be shorter. nats/token is the\n"
            "mean of -log p over the scored tokens, perplexity its exponential; bits/byte divides\n"
            "by the bytes of text that the scored tokens stand for.\n"
            "\n"
            "With --task the file is a data set of multiple choice, a JSON object a line (or one\n"
            "list of them) in the layout of its name, and acc is how often the right choice is\n"
            "the likeliest; acc_norm (hellaswag, arc) divides log p by the characters of each\n"
            "choice before; share (truthfulqa-mc2) is what the right choices have of the\n"
            "probability of all. Questions are put and numbers computed as lm-evaluation-harness\n"
            "does without examples. Intervals are Wilson's; that of share is 1.96 standard "
            "errors.",
        .examples = {{"smallmind eval -m model.gguf -f held-out.txt", "the perplexity of a text"},
                     {"smallmind eval -m model.gguf -f hellaswag_val.jsonl --task hellaswag "
                      "--limit 500",
                      "how often it finds the right ending"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = &path,
    };
    cli_input input;
    sm_model *model;
    sm_model_info info;
    int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (path == NULL || file == NULL)
        return cli_misuse("eval", "-m MODEL and -f FILE are required");
    if (session.n_ctx == 1)
        return cli_misuse("eval", "-c: a window of 1 token leaves nothing to score");
    if (asked != NULL && task_find(asked) == NULL)
        return misnamed(asked);
    if (asked == NULL && limit > 0)
        return cli_misuse("eval", "--limit goes with --task");
    input.text = NULL;
    if (asked == NULL && !cli_read_text(&input, file))
        return CLI_FAILED;
    cli_catch_interrupt();
    code = cli_load_model(&model, &info, path, &model_options);
    if (code == CLI_GO_ON) {
        const choose_options choices = {.task = asked ? task_find(asked) : NULL,
                                        .task_name = asked,
                                        .path = file,
                                        .limit = limit,
                                        .model = path,
                                        .json = json};
        code = asked != NULL ? choose(&choices, model, &session, &adapters)
                             : evaluate(path, model, &info, &input, &session, &adapters, json);
        sm_model_free(model);
    }
    free(input.text);
    return code;
}
