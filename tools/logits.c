/* logits.c - `smallmind logits`: feed ids, write the logits at every position. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

typedef struct id_list {
    int32_t *ids;
    uint32_t n;
} id_list;

/* Reports failure itself. */
static bool parse_ids(id_list *list, const cli_input *input, const char *path) {
    uint64_t n;
    if (!cli_parse_ids(&list->ids, &n, input->text, input->length, path))
        return false;
    list->n = (uint32_t)n;
    if (n > 0 && n <= UINT32_MAX)
        return true;
    cli_error("%s: %s", path, n == 0 ? "holds no ids" : "holds too many ids");
    free(list->ids);
    return false;
}

/* Little-endian f32. */
static bool write_floats(FILE *out, float *values, size_t n) {
    const uint16_t probe = 1;
    unsigned char first;
    memcpy(&first, &probe, 1);
    for (size_t i = 0; first == 0 && i < n; i++) { /* big-endian machine: swap in place */
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bits = bits >> 24 | (bits >> 8 & 0xFF00u) | (bits << 8 & 0xFF0000u) | bits << 24;
        memcpy(&values[i], &bits, sizeof bits);
    }
    return fwrite(values, sizeof *values, n, out) == n;
}

static int write_logits(sm_session *session, const id_list *list, size_t n_vocab, uint32_t chunk,
                        FILE *out, const char *path) {
    sm_error error = {0};
    int code = CLI_DONE;
    if (chunk > list->n)
        chunk = list->n;
    float *logits = n_vocab <= SIZE_MAX / sizeof(float) / chunk
                        ? malloc(n_vocab * chunk * sizeof *logits)
                        : NULL;
    if (logits == NULL)
        return cli_error("no memory for the logits of %u tokens", chunk);
    progress_count("computing", 0, list->n);
    for (uint32_t done = 0; done < list->n && code == CLI_DONE;) {
        const uint32_t n = list->n - done < chunk ? list->n - done : chunk;
        if (sm_session_feed_logits(session, list->ids + done, n, logits, n_vocab * chunk, &error) !=
            SM_OK)
            code = cli_fail(&error);
        else if (!write_floats(out, logits, n * n_vocab))
            code = cli_error("%s: cannot write: %s", path, strerror(errno));
        done += n;
        progress_count("computing", done, list->n);
    }
    progress_end();
    free(logits);
    return code;
}

/* All ids before anything is written: a long run shall not end at its last id. */
static bool check_ids(const id_list *list, const char *path, int32_t n_vocab) {
    for (uint32_t i = 0; i < list->n; i++) {
        if (list->ids[i] < 0 || list->ids[i] >= n_vocab) {
            cli_error("%s: id %d (number %u) is not in 0..%d", path, list->ids[i], i + 1,
                      n_vocab - 1);
            return false;
        }
    }
    return true;
}

static int compute(const char *model_path, const char *out_path, const id_list *list,
                   const char *ids_path, uint32_t chunk, const cli_texts *adapters,
                   sm_model_options *model_options, sm_session_options *session_options) {
    sm_model *model;
    sm_model_info info;
    sm_session *session;
    FILE *out = stdout;
    const bool to_stdout = strcmp(out_path, "-") == 0;
    int code = cli_load_model(&model, &info, model_path, model_options);
    if (code != CLI_GO_ON)
        return code;
    if (!check_ids(list, ids_path, info.n_vocab)) {
        sm_model_free(model);
        return CLI_FAILED;
    }
    session_options->n_ctx = list->n;
    code = cli_open_session(&session, model, session_options, adapters);
    sm_model_free(model); /* the session holds on to it */
    if (code != CLI_GO_ON)
        return code;
    if (!to_stdout && (out = fopen(out_path, "wb")) == NULL) {
        code = cli_error("%s: cannot create: %s", out_path, strerror(errno));
    } else {
        const double start = cli_seconds();
        code = write_logits(session, list, (size_t)info.n_vocab, chunk, out, out_path);
        struct stat file;
        const bool plain = !to_stdout && fstat(fileno(out), &file) == 0 && S_ISREG(file.st_mode);
        if (!to_stdout && fclose(out) != 0 && code == CLI_DONE)
            code = cli_error("%s: cannot write: %s", out_path, strerror(errno));
        if (code != CLI_DONE && plain)
            remove(out_path); /* half of it looks like the whole for fewer ids */
        if (code == CLI_DONE)
            fprintf(stderr, "%u x %d logits, %.3f s\n", list->n, info.n_vocab,
                    cli_seconds() - start);
    }
    sm_session_free(session);
    return code;
}

/* OUT is emptied when it is opened, while the model may still be read from its file. */
static int check_output(const char *out, const char *model, const char *ids,
                        const cli_texts *adapters) {
    if (strcmp(out, "-") == 0)
        return CLI_GO_ON;
    if (cli_same_file(out, model))
        return cli_misuse("logits", "OUT would replace MODEL");
    if (cli_same_file(out, ids))
        return cli_misuse("logits", "OUT would replace the ids");
    for (uint32_t i = 0; i < adapters->n; i++) {
        char path[CLI_NAME_SPACE];
        double scale;
        if (cli_split_adapter(path, &scale, adapters->items[i]) && cli_same_file(out, path))
            return cli_misuse("logits", "OUT would replace the adapter %s", path);
    }
    return CLI_GO_ON;
}

int cmd_logits(int argc, char **argv) {
    const char *path = NULL, *ids_path = NULL, *out_path = NULL;
    uint32_t chunk = 128;
    cli_texts adapters = {.n = 0};
    sm_model_options model = {.struct_size = sizeof model};
    sm_session_options session = {.struct_size = sizeof session, .kv_type = SM_KV_TYPE_F32};
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &path, "FILE", 0, 0, CLI_MODEL_DOC},
        {0, "ids", CLI_TEXT, &ids_path, "FILE", 0, 0,
         "token ids separated by white space, from a file or - (required)"},
        {'o', "output", CLI_TEXT, &out_path, "FILE", 0, 0,
         "where the logits go, - for standard "
         "output (required)"},
        {0, "adapter", CLI_TEXTS, &adapters, "FILE[=SCALE]", 0, 0, CLI_ADAPTER_DOC},
        {0, "chunk", CLI_SIZE, &chunk, "N", 1, 1u << 20,
         "feed N tokens at a time [1 to 1048576; default 128]; the results do not depend on it"},
    };
    const cli_fields fields[] = {
        {SM_OPTIONS_SESSION, &session, "n_threads"},
        {SM_OPTIONS_SESSION, &session, "n_batch"},
        {SM_OPTIONS_SESSION, &session, "kv_type"},
        {SM_OPTIONS_SESSION, &session, "kv_keep"},
        {SM_OPTIONS_MODEL, &model, NULL},
    };
    const cli_command command = {
        .name = "logits",
        .synopsis = "-m MODEL --ids FILE -o OUT [--chunk N]",
        .summary = "Feeds the ids to an empty context as they are, no BOS added, and writes the\n"
                   "logits after each as raw little-endian 32-bit floats [n_ids][n_vocab].",
        .examples = {{"smallmind logits -m model.gguf --ids ids.txt -o logits.f32",
                      "the logits after each id, as raw floats"},
                     {"smallmind tokenize -m model.gguf -p \"Hello\" | smallmind logits -m "
                      "model.gguf --ids - -o logits.f32",
                      "the same of a text"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = &path,
    };
    cli_input input;
    id_list list;
    int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (path == NULL || ids_path == NULL || out_path == NULL)
        return cli_misuse("logits", "-m MODEL, --ids FILE and -o OUT are required");
    code = check_output(out_path, path, ids_path, &adapters);
    if (code != CLI_GO_ON)
        return code;
    if (!cli_read(&input, ids_path))
        return CLI_FAILED;
    const bool parsed = parse_ids(&list, &input, ids_path);
    free(input.text);
    if (!parsed)
        return CLI_FAILED;
    cli_catch_interrupt();
    code = compute(path, out_path, &list, ids_path, chunk, &adapters, &model, &session);
    free(list.ids);
    return code;
}
