/* imatrix.c - `smallmind imatrix`: measure an importance matrix on a text.
 *
 * The text is encoded once, without markers, and cut into chunks that do not overlap. A chunk is
 * a context of its own: BOS, if the vocabulary adds one, and as many tokens of the text as fit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli.h"
#include "shown.h"

typedef struct measuring {
    const char *model_path, *text_path, *out_path;
    uint32_t most_chunks; /* 0: all */
    bool json;
    uint64_t fed; /* tokens */
    double seconds;
} measuring;

/* Feeds chunk after chunk. CLI_GO_ON, also when Ctrl-C ended it early. */
static int feed_chunks(measuring *m, sm_imatrix *imatrix, const int32_t *ids, uint64_t n,
                       int32_t bos) {
    sm_error error = {0};
    const uint64_t lead = bos >= 0 ? 1 : 0, room = sm_imatrix_capacity(imatrix) - lead;
    int32_t *chunk = malloc((size_t)(room + lead) * sizeof *chunk);
    int code = CLI_GO_ON;
    if (chunk == NULL)
        return cli_error("out of memory");
    if (m->most_chunks != 0 && n / room >= m->most_chunks)
        n = m->most_chunks * room;
    chunk[0] = bos;
    progress_count("measuring", 0, n);
    for (uint64_t at = 0; at < n && code == CLI_GO_ON && !cli_interrupted(); at += room) {
        const uint64_t length = n - at < room ? n - at : room;
        memcpy(chunk + lead, ids + at, (size_t)length * sizeof *chunk);
        const sm_status status = sm_imatrix_feed(imatrix, chunk, length + lead, &error);
        if (status == SM_OK) {
            m->fed += length + lead;
            progress_count("measuring", at + length, n);
        } else if (status != SM_ERR_CANCELLED || !cli_interrupted()) {
            code = cli_fail(&error);
        }
    }
    progress_end();
    free(chunk);
    return code;
}

static int print_result(const measuring *m, const sm_imatrix *imatrix) {
    const double speed = m->seconds > 0.0 ? (double)m->fed / m->seconds : 0.0;
    const uint32_t chunks = sm_imatrix_chunks(imatrix), size = sm_imatrix_capacity(imatrix);
    if (!m->json) {
        char out[CLI_SHOWN_SPACE];
        printf("%s: %llu tokens in %u chunks of %u at most, %.2f s, %.1f tokens/s\n",
               cli_shown(out, m->out_path), (unsigned long long)m->fed, chunks, size, m->seconds,
               speed);
        return CLI_DONE;
    }
    json_t *root = json_pack(
        "{s:o, s:o, s:o, s:I, s:I, s:I, s:f, s:f, s:b}", "model", cli_json_name(m->model_path),
        "text", cli_json_name(m->text_path), "output", cli_json_name(m->out_path), "tokens",
        (json_int_t)m->fed, "chunks", (json_int_t)chunks, "chunk_size", (json_int_t)size, "seconds",
        m->seconds, "tokens_per_second", speed, "interrupted", (int)cli_interrupted());
    return cli_print_json(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
}

/* Saves what there is, also after Ctrl-C. */
static int save(const measuring *m, const sm_imatrix *imatrix) {
    sm_error error = {0};
    const char *slash = strrchr(m->text_path, '/');
    if (cli_interrupted() && sm_imatrix_chunks(imatrix) == 0) {
        cli_error("interrupted before the first chunk was done: nothing is saved");
        return cli_interrupt_code();
    }
    if (sm_imatrix_save(imatrix, m->out_path, slash != NULL ? slash + 1 : m->text_path, &error) !=
        SM_OK)
        return cli_fail(&error);
    const int code = print_result(m, imatrix);
    if (code == CLI_DONE && cli_interrupted()) {
        cli_error("interrupted: the chunks that were done are saved");
        return cli_interrupt_code();
    }
    return code;
}

static int measure(measuring *m, const sm_model *model, const cli_input *input,
                   const sm_imatrix_options *options) {
    sm_error error = {0};
    sm_tokenizer *tokenizer = NULL;
    sm_tokenizer_info info = {.struct_size = sizeof info};
    sm_imatrix *imatrix = NULL;
    int32_t *ids = NULL;
    uint64_t n = 0;
    int code = CLI_GO_ON;
    if (sm_model_get_tokenizer(model, &tokenizer, &error) != SM_OK ||
        sm_tokenizer_get_info(tokenizer, &info, &error) != SM_OK ||
        sm_imatrix_new(&imatrix, model, options, &error) != SM_OK ||
        sm_imatrix_set_cancel(imatrix, cli_cancel, NULL, &error) != SM_OK)
        code = cli_fail(&error);
    if (code == CLI_GO_ON)
        code = cli_encode(&ids, &n, tokenizer, input);
    if (code == CLI_GO_ON && n == 0)
        code = cli_error("%s: holds no token", m->text_path);
    if (code == CLI_GO_ON && sm_imatrix_capacity(imatrix) < 2)
        code = cli_misuse("imatrix", "-c: chunks of 1 token measure nothing");
    if (code == CLI_GO_ON) {
        const double start = cli_seconds();
        code = feed_chunks(m, imatrix, ids, n, info.add_bos ? info.bos : -1);
        m->seconds = cli_seconds() - start;
    }
    if (code == CLI_GO_ON)
        code = save(m, imatrix);
    free(ids);
    sm_imatrix_free(imatrix);
    sm_tokenizer_free(tokenizer);
    return code;
}

int cmd_imatrix(int argc, char **argv) {
    measuring m = {0};
    sm_model_options model_options = {.struct_size = sizeof model_options};
    sm_imatrix_options options = {.struct_size = sizeof options};
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &m.model_path, "FILE", 0, 0, CLI_MODEL_DOC},
        {'f', "file", CLI_TEXT, &m.text_path, "FILE", 0, 0,
         "the text, from a file or - (required)"},
        {'o', "output", CLI_TEXT, &m.out_path, "FILE", 0, 0,
         "where the importance matrix goes (required)"},
        {0, "chunks", CLI_COUNT, &m.most_chunks, "N", 0, UINT32_MAX,
         "stop after N chunks [0 to 4294967295; default 0: the whole text]"},
        {0, "json", CLI_SWITCH, &m.json, "", 0, 0, "print one JSON object"},
    };
    const cli_fields fields[] = {
        {SM_OPTIONS_IMATRIX, &options, NULL},
        {SM_OPTIONS_MODEL, &model_options, NULL},
    };
    const cli_command command = {
        .name = "imatrix",
        .synopsis = "-m MODEL -f TEXT -o OUT [-c CHUNK]",
        .summary =
            "Runs the model over a text and writes how large the inputs of every matrix of the\n"
            "layers are, column by column (mean square), for `smallmind quantize --imatrix`.\n"
            "The text is cut into chunks of CHUNK tokens, each with an empty cache and BOS in\n"
            "front if the vocabulary adds one. Ctrl-C saves the chunks that are done. The file\n"
            "is of llama.cpp's GGUF importance matrix format.",
        .examples = {{"smallmind imatrix -m model.gguf -f text.txt -o imatrix.gguf",
                      "measure on a text which columns matter"},
                     {"smallmind imatrix -m model.gguf -f text.txt -o imatrix.gguf --chunks 100",
                      "on the beginning of it"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = &m.model_path,
    };
    cli_input input;
    sm_model *model;
    sm_model_info info;
    int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (m.model_path == NULL || m.text_path == NULL || m.out_path == NULL)
        return cli_misuse("imatrix", "-m MODEL, -f TEXT and -o OUT are required");
    if (cli_same_file(m.out_path, m.model_path))
        return cli_misuse("imatrix", "OUT would replace MODEL");
    if (cli_same_file(m.out_path, m.text_path))
        return cli_misuse("imatrix", "OUT would replace TEXT");
    if (cli_check_output(m.out_path, true) != CLI_GO_ON) /* rather now than after the measuring */
        return CLI_FAILED;
    if (!cli_read_text(&input, m.text_path))
        return CLI_FAILED;
    cli_catch_interrupt();
    code = cli_load_model(&model, &info, m.model_path, &model_options);
    if (code == CLI_GO_ON) {
        code = measure(&m, model, &input, &options);
        sm_model_free(model);
    }
    free(input.text);
    return code;
}
