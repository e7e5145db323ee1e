/* embed.c - `smallmind embed`: texts to vectors. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "lines.h"
#include "shown.h"

typedef struct embed_job {
    encoding encoding;
    lines lines;
    const char *out; /* of --npy */
    FILE *file;
    bool json, npy;
    uint32_t kind;         /* SM_PACKED_…; 0: f32 */
    unsigned char *packed; /* [n_dims] */
    float *vectors;        /* [LINES_TOGETHER][n_dims] */
} embed_job;

static sm_status compute(void *user, const sm_text *texts, uint64_t n, sm_error *error) {
    embed_job *job = user;
    return sm_encoder_embed(job->encoding.encoder, texts, n, job->vectors,
                            n * job->encoding.info.n_dims, error);
}

static int print_json(const embed_job *job, uint64_t line, const float *vector) {
    const sm_text *text = &job->lines.text[line];
    json_t *list = json_array();
    for (uint32_t i = 0; i < job->encoding.info.n_dims; i++)
        json_array_append_new(list, json_real((double)vector[i]));
    return cli_print_json(json_pack("{s:o, s:o}", "text",
                                    cli_json_text(text->text, (size_t)text->length), "vector",
                                    list),
                          JSON_COMPACT | JSON_REAL_PRECISION(9));
}

static uint32_t packed_size(const embed_job *job) {
    const uint32_t n = job->encoding.info.n_dims;
    return job->kind == SM_PACKED_BINARY ? (n + 7) / 8 : n;
}

/* Of --type int8 and binary: numbers of a byte. */
static int show_packed(const embed_job *job, const float *vector) {
    sm_error error = {0};
    const uint32_t n = packed_size(job);
    if (sm_vectors_pack(vector, 1, job->encoding.info.n_dims, job->kind, job->packed, n, &error) !=
        SM_OK)
        return cli_fail(&error);
    if (job->npy)
        return fwrite(job->packed, 1, n, job->file) == n
                   ? CLI_DONE
                   : cli_error("%s: cannot write: %s", job->out, strerror(errno));
    for (uint32_t k = 0; k < n; k++)
        printf("%s%d", k > 0 ? " " : "",
               job->kind == SM_PACKED_INT8 ? (signed char)job->packed[k] : job->packed[k]);
    putchar('\n');
    return CLI_DONE;
}

/* Little-endian f32, as the header says. */
static int write_row(const embed_job *job, const float *vector) {
    for (uint32_t i = 0; i < job->encoding.info.n_dims; i++) {
        uint32_t bits;
        memcpy(&bits, &vector[i], sizeof bits);
        const unsigned char bytes[] = {(unsigned char)bits, (unsigned char)(bits >> 8),
                                       (unsigned char)(bits >> 16), (unsigned char)(bits >> 24)};
        if (fwrite(bytes, 1, sizeof bytes, job->file) != sizeof bytes)
            return cli_error("%s: cannot write: %s", job->out, strerror(errno));
    }
    return CLI_DONE;
}

static int show(void *user, uint64_t line, uint64_t i) {
    const embed_job *job = user;
    const float *vector = job->vectors + i * job->encoding.info.n_dims;
    if (job->kind != 0)
        return show_packed(job, vector);
    if (job->npy)
        return write_row(job, vector);
    if (job->json)
        return print_json(job, line, vector);
    for (uint32_t k = 0; k < job->encoding.info.n_dims; k++)
        printf("%s%.9g", k > 0 ? " " : "", (double)vector[k]);
    putchar('\n');
    return CLI_DONE;
}

/* NumPy's format, version 1.0 (numpy.lib.format): what follows is rows of f32. */
static bool write_header(const embed_job *job) {
    char text[128];
    const int length = snprintf(text, sizeof text,
                                "{'descr': '%s', 'fortran_order': False, 'shape': (%llu, %u), }",
                                job->kind == 0                ? "<f4"
                                : job->kind == SM_PACKED_INT8 ? "|i1"
                                                              : "|u1",
                                (unsigned long long)job->lines.n,
                                job->kind == 0 ? job->encoding.info.n_dims : packed_size(job));
    const size_t whole = ((size_t)length + 1 + 10 + 63) / 64 * 64 - 10;
    const unsigned char start[] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)whole, (unsigned char)(whole >> 8)};
    fwrite(start, 1, sizeof start, job->file);
    fprintf(job->file, "%-*s\n", (int)whole - 1, text);
    return !ferror(job->file);
}

static int write_all(embed_job *job) {
    const lines_job run = {.encoding = &job->encoding,
                           .lines = &job->lines,
                           .what = "embedding",
                           .compute = compute,
                           .show = show,
                           .user = job};
    const double start = cli_seconds();
    if (job->npy && !write_header(job))
        return cli_error("%s: cannot write: %s", job->out, strerror(errno));
    const int code = lines_run(&run);
    if (code == CLI_DONE)
        fprintf(stderr, "%llu texts, %u dimensions, %.3f s\n", (unsigned long long)job->lines.n,
                job->encoding.info.n_dims, cli_seconds() - start);
    return code;
}

/* The file is written whole, or is not there afterwards. */
static int write_file(embed_job *job) {
    const bool plain = job->npy && strcmp(job->out, "-") != 0;
    job->file = plain ? fopen(job->out, "wb") : stdout;
    if (job->file == NULL)
        return cli_error("%s: cannot create: %s", job->out, strerror(errno));
    int code = write_all(job);
    if (plain && fclose(job->file) != 0 && code == CLI_DONE)
        code = cli_error("%s: cannot write: %s", job->out, strerror(errno));
    if (plain && code != CLI_DONE)
        remove(job->out);
    return code;
}

int cmd_embed(int argc, char **argv) {
    embed_job job = {.out = NULL};
    const char *path = NULL, *type = NULL;
    cli_prompt given = {.text = NULL};
    sm_model_options model = {.struct_size = sizeof model};
    sm_encoder_options encoder = {.struct_size = sizeof encoder};
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &path, "FILE", 0, 0, CLI_MODEL_DOC},
        {'p', "prompt", CLI_TEXT, &given.text, "TEXT", 0, 0,
         "one text, its newlines included; - reads standard input as one"},
        {'e', "escapes", CLI_SWITCH, &given.escapes, "", 0, 0, CLI_ESCAPES_DOC},
        {'f', "file", CLI_TEXT, &given.file, "FILE", 0, 0, LINES_FILE_DOC},
        {0, "prefix", CLI_TEXT, &encoder.prefix, "TEXT", 0, 0,
         "put before every text, as models want it that know several tasks (\"search_query: \")"},
        {0, "prompt-name", CLI_TEXT, &encoder.prompt, "NAME", 0, 0,
         "the same by the name that the model's directory gives it (query, document); without it "
         "the model's default, with \"\" none"},
        {0, "type", CLI_TEXT, &type, "TYPE", 0, 0,
         "of the numbers: f32, int8 (127 times as large, rounded) or binary (a bit each, 1 above "
         "0, eight to a byte)"},
        {0, "json", CLI_SWITCH, &job.json, "", 0, 0, "print a JSON object a text: text and vector"},
        {0, "npy", CLI_TEXT, &job.out, "FILE", 0, 0,
         "write NumPy's format, f32, a row for each text, to a file or - (standard output)"},
    };
    const cli_fields fields[] = {
        {SM_OPTIONS_ENCODER, &encoder, NULL},
        {SM_OPTIONS_MODEL, &model, NULL},
    };
    const cli_command command = {
        .name = "embed",
        .synopsis = "-m MODEL [-p TEXT | -f FILE] [--json | --npy FILE]",
        .summary = "Prints a vector for each text, numbers between spaces, a line each. Vectors "
                   "have length\n1: their product is the cosine of the angle between them.",
        .examples = {{"smallmind embed -m all-MiniLM-L6-v2 -p \"Hello, world\"", "one vector"},
                     {"smallmind embed -m model.gguf -f texts.txt --npy vectors.npy",
                      "one for each line, for numpy.load"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = &path,
    };
    int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    job.npy = job.out != NULL;
    job.kind = type != NULL ? sm_names_find("f32|int8|binary", type, NULL) : 0;
    if (job.kind == SM_NAME_NONE)
        return cli_misuse("embed", "--type: \"%s\" is none of f32, int8, binary", type);
    if (job.kind != 0 && job.json)
        return cli_misuse("embed", "--json goes with --type f32");
    if (path == NULL)
        return cli_misuse("embed", "-m MODEL is required");
    if (job.json && job.npy)
        return cli_misuse("embed", "--json and --npy exclude each other");
    if (job.npy && strcmp(job.out, "-") == 0 && isatty(STDOUT_FILENO))
        return cli_misuse("embed", "--npy -: a terminal is no place for binary data");
    if (job.npy && strcmp(job.out, "-") != 0 &&
        (code = cli_check_output(job.out, false)) != CLI_GO_ON)
        return code;
    code = lines_read(&job.lines, "embed", &given);
    if (code != CLI_GO_ON)
        return code;
    cli_catch_interrupt();
    code = encoding_open(&job.encoding, path, &model, &encoder);
    if (code == CLI_GO_ON) {
        job.vectors = malloc(LINES_TOGETHER * sizeof(float) * job.encoding.info.n_dims);
        job.packed = malloc(job.encoding.info.n_dims);
        code = job.vectors != NULL && job.packed != NULL ? write_file(&job)
                                                         : cli_error("no memory for vectors");
    }
    free(job.vectors);
    free(job.packed);
    encoding_free(&job.encoding);
    lines_free(&job.lines);
    return code;
}
