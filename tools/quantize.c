/* quantize.c - `smallmind quantize`: write a model with smaller weights. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli.h"
#include "shown.h"

/* What the hooks share. */
typedef struct report {
    bool verbose;
    json_t *list; /* of tensors; NULL: not as JSON */
    uint64_t weights;
} report;

static int32_t show_progress(void *user, uint64_t done, uint64_t total) {
    report *r = user;
    r->weights = done;
    progress_count("quantizing", done, total);
    return cli_interrupted();
}

static int32_t show_tensor(void *user, const sm_quantize_tensor *t) {
    const report *r = user;
    char before[32], after[32];
    if (r->list != NULL) {
        json_t *row = json_pack(
            "{s:o, s:s, s:s, s:I, s:I, s:I, s:b, s:b, s:b}", "name", cli_json_name(t->name), "from",
            t->from, "to", t->to, "weights", (json_int_t)t->n_weights, "bytes_before",
            (json_int_t)t->bytes_before, "bytes_after", (json_int_t)t->bytes_after, "copied",
            (int)t->copied, "fallback", (int)t->fallback, "imatrix", (int)t->by_imatrix);
        if (row != NULL && !t->copied) {
            json_object_set_new(row, "rms", json_real(t->rms));
            json_object_set_new(row, "rmse", json_real(t->rmse));
        }
        if (row == NULL || json_array_append_new(r->list, row) != 0)
            return 1;
    } else if (r->verbose) {
        char name[CLI_SHOWN_SPACE];
        progress_clear();
        printf("%-36s %-6s -> %-6s %11s -> %11s", cli_shown(name, t->name), t->from, t->to,
               cli_bytes(before, t->bytes_before), cli_bytes(after, t->bytes_after));
        if (!t->copied)
            printf("  RMSE %.3e (%.2f%% of %.3e)", t->rmse,
                   t->rms > 0.0 ? t->rmse / t->rms * 100.0 : 0.0, t->rms);
        printf("%s%s\n", t->fallback ? "  fallback" : "", t->by_imatrix ? "  imatrix" : "");
    }
    return cli_interrupted();
}

/* "PATTERN=TYPE", in place of the text that is given. */
static int parse_override(sm_quantize_override *override, const char *text, char **copy) {
    const char *equals = strrchr(text, '=');
    if (equals == NULL || equals == text || equals[1] == 0)
        return cli_misuse("quantize", "--tensor: \"%s\" is not PATTERN=TYPE", text);
    *copy = malloc(strlen(text) + 1);
    if (*copy == NULL)
        return cli_error("out of memory");
    memcpy(*copy, text, strlen(text) + 1);
    (*copy)[equals - text] = 0;
    *override = (sm_quantize_override){
        .struct_size = sizeof *override, .pattern = *copy, .type = *copy + (equals - text) + 1};
    return CLI_GO_ON;
}

static int print_json(const char *const operands[3], const sm_quantize_result *result,
                      const report *r, double seconds) {
    json_t *root = json_pack(
        "{s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:O}", "input",
        cli_json_name(operands[0]), "output", cli_json_name(operands[1]), "type", operands[2],
        "n_tensors", (json_int_t)result->n_tensors, "n_quantized", (json_int_t)result->n_quantized,
        "n_fallback", (json_int_t)result->n_fallback, "n_imatrix", (json_int_t)result->n_imatrix,
        "weights", (json_int_t)r->weights, "bytes_before", (json_int_t)result->bytes_before,
        "bytes_after", (json_int_t)result->bytes_after, "seconds", seconds, "weights_per_second",
        seconds > 0.0 ? (double)r->weights / seconds : 0.0, "tensors", r->list);
    return cli_print_json(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
}

static void print_text(const char *const operands[3], const sm_quantize_result *result,
                       const report *r, double seconds) {
    char before[32], after[32], out[CLI_SHOWN_SPACE];
    printf("%s: %u of %llu tensors quantized to %s, %s -> %s of data, %.2f s, %.1f M weights/s\n",
           cli_shown(out, operands[1]), result->n_quantized, (unsigned long long)result->n_tensors,
           operands[2], cli_bytes(before, result->bytes_before),
           cli_bytes(after, result->bytes_after), seconds,
           seconds > 0.0 ? (double)r->weights / seconds * 1e-6 : 0.0);
    if (result->n_fallback > 0)
        printf("%u with a fallback type: their columns are no multiple of 256\n",
               result->n_fallback);
}

static int quantize(const char *const operands[3], sm_quantize_options *options, report *r,
                    bool json) {
    sm_error error = {0};
    sm_quantize_result result = {.struct_size = sizeof result};
    r->list = json ? json_array() : NULL;
    options->type = operands[2];
    options->progress = show_progress;
    options->progress_user = r;
    options->on_tensor = show_tensor;
    options->on_tensor_user = r;
    cli_catch_interrupt();
    const double start = cli_seconds();
    const sm_status status = sm_model_quantize(operands[1], operands[0], options, &result, &error);
    const double seconds = cli_seconds() - start;
    progress_end();
    int code = CLI_DONE;
    if (status != SM_OK)
        code = cli_hint(cli_fail(&error), operands[0]);
    else if (json)
        code = print_json(operands, &result, r, seconds);
    else
        print_text(operands, &result, r, seconds);
    json_decref(r->list);
    return code;
}

int cmd_quantize(int argc, char **argv) {
    const char *operands[3] = {NULL, NULL, NULL}, *output = NULL, *embedding = NULL;
    sm_quantize_options options = {.struct_size = sizeof options};
    sm_quantize_override overrides[CLI_MAX_TEXTS + 2];
    char *copies[CLI_MAX_TEXTS] = {NULL};
    cli_texts tensors = {.n = 0};
    report r = {0};
    bool json = false;
    const cli_flag flags[] = {
        {0, "imatrix", CLI_TEXT, &options.imatrix, "FILE", 0, 0,
         "importance matrix (GGUF), as `smallmind imatrix` writes it"},
        {0, "output-type", CLI_TEXT, &output, "TYPE", 0, 0, "type of output.weight"},
        {0, "embedding-type", CLI_TEXT, &embedding, "TYPE", 0, 0, "type of token_embd.weight"},
        {0, "tensor", CLI_TEXTS, &tensors, "PATTERN=TYPE", 0, 0,
         "type of the matrices whose name matches (* any text, ? any character); may be "
         "repeated, the first match counts"},
        {'v', "verbose", CLI_SWITCH, &r.verbose, "", 0, 0,
         "list every tensor: types, bytes, root mean square error (RMSE)"},
        {0, "json", CLI_SWITCH, &json, "", 0, 0, "print one JSON object"},
    };
    const cli_fields fields[] = {{SM_OPTIONS_QUANTIZE, &options, NULL}};
    const cli_command command = {
        .name = "quantize",
        .synopsis = "IN OUT TYPE [--imatrix FILE]",
        .summary =
            "Writes the GGUF file OUT with the matrices of IN encoded as TYPE:\n"
            "  F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4\n"
            "  NVFP4 F64\n"
            "      that type for every matrix\n"
            "  Q2_0 TQ1_0 TQ2_0 Q1_0\n"
            "      that type but for output and embedding: for models trained for such weights\n"
            "  Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M IQ3_S IQ3_M MXFP4_MOE\n"
            "      a mixture: more bits where they help most (attn_v, ffn_down, output)\n"
            "  IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M IQ3_XXS IQ3_XS\n"
            "      a mixture that needs --imatrix\n"
            "Norms and biases are copied. Rows that are no multiple of 256 get a type with blocks\n"
            "of 32. OUT appears when it is complete. Sizes are in bytes.",
        .examples = {{"smallmind quantize model.gguf small.gguf Q4_K_M",
                      "4 bits a weight, more where they help most"},
                     {"smallmind quantize model.gguf small.gguf Q3_K_M --imatrix imatrix.gguf",
                      "fewer bits, guided by what matters to a text"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = operands,
        .n_operands = 3,
    };
    int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (operands[2] == NULL)
        return cli_misuse("quantize", "IN, OUT and TYPE are required");
    if (cli_is_part(operands[1], operands[0]))
        return cli_misuse("quantize", "OUT would replace a file of the directory %s", operands[0]);
    if (options.imatrix != NULL && cli_same_file(operands[1], options.imatrix))
        return cli_misuse("quantize", "OUT would replace the importance matrix %s",
                          options.imatrix);
    if (output != NULL)
        overrides[options.n_overrides++] = (sm_quantize_override){
            .struct_size = sizeof *overrides, .pattern = "output.weight", .type = output};
    if (embedding != NULL)
        overrides[options.n_overrides++] = (sm_quantize_override){
            .struct_size = sizeof *overrides, .pattern = "token_embd.weight", .type = embedding};
    for (uint32_t i = 0; i < tensors.n && code == CLI_GO_ON; i++)
        code = parse_override(&overrides[options.n_overrides++], tensors.items[i], &copies[i]);
    options.overrides = overrides;
    if (code == CLI_GO_ON)
        code = quantize(operands, &options, &r, json);
    for (uint32_t i = 0; i < tensors.n; i++)
        free(copies[i]);
    return code;
}
