/* bench.c - `smallmind bench`: prefill and decode speed beside what the machine allows.
 *
 * The limits are measured before, between and after the repeats. A repeat's speed is compared with
 * the mean of the limits on both sides of it: a neighbour that takes bandwidth for some seconds
 * then counts in both. The share of the bound is the median of the repeats' shares.
 *
 * Bound of a batch of n tokens: the longer of
 *   arithmetic   2 operations per weight of a matrix and token, at the int8 rate
 *                for quantized weights, at the bf16 rate for those of F16 and BF16 that
 *                are computed so (not values and head), at the f32 rate for the others;
 *   memory       the weights once, and the keys and values (of the depth, too) once per
 *                token when decoding, at the read bandwidth of a buffer as large as what
 *                decoding touches (so that it lives in the same cache level).
 * Sequences decoded together are a batch of as many tokens, each with a cache of its own.
 * Attention, norms, sampling and synchronisation count for nothing in it.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli.h"
#include "limits.h"
#include "resident.h"
#include "shown.h"

#define MAX_REPEATS 100

typedef enum arithmetic { F32, BF16, INT8, N_ARITHMETICS } arithmetic;

/* Weights that a token is multiplied with, by the arithmetic they need. */
typedef struct matrix_work {
    double layers[N_ARITHMETICS];
    double head[N_ARITHMETICS]; /* the output layer: for the last token of a prompt only */
} matrix_work;

/* What the machine does per second. */
typedef struct machine_rates {
    double read;
    double operations[N_ARITHMETICS];
} machine_rates;

typedef struct bench_run {
    const char *path; /* of the model; NULL: random weights of this shape and type */
    const char *shape, *type;
    const char *save; /* write those weights here instead of measuring; NULL: measure */
    uint32_t prefill;
    uint32_t decode;
    uint32_t depth;     /* tokens in the context before either */
    uint32_t sequences; /* decoded together; 0: not measured */
    uint32_t repeats;
    bool json;
    sm_model_options model_options;
    sm_session_options session_options;
    sm_model *model;
    sm_model_info info;
    matrix_work work;
    uint32_t n_threads;
    int32_t *ids; /* depth + prefill + decode random ids */
    sm_session *session;
    sm_batch *batch;
    sm_session **together; /* [sequences] of the batch */
    sm_batch_item *items;  /* one of each */
    double warm_up;        /* seconds of the first, untimed round: weights are repacked in it */
    bool has_resident;
    resident resident; /* after it, before this program's own buffers and the batch are made */
    /* one value per repeat */
    double prefill_speed[MAX_REPEATS];
    double decode_speed[MAX_REPEATS];
    double batch_speed[MAX_REPEATS];
    limit_sample limits[MAX_REPEATS + 1]; /* before each, and after the last */
    bool has_bf16; /* or the level has no instruction for it, and computes in f32 */
} bench_run;

/* wide: the matrix is one of those whose input is not rounded to bf16. */
static arithmetic arithmetic_of(const char *type, bool wide) {
    if (strcmp(type, "F32") == 0)
        return F32;
    if (strcmp(type, "F16") == 0 || strcmp(type, "BF16") == 0)
        return wide ? F32 : BF16;
    return INT8;
}

/* Of a model with random weights: what its shape says. */
static void count_random_work(bench_run *run) {
    const sm_model_info *info = &run->info;
    const double embd = info->n_embd, ff = info->n_ff, layers = info->n_layer;
    const double heads = (double)info->n_head * info->head_dim;
    const double heads_kv = (double)info->n_head_kv * info->head_dim;
    const struct {
        double weights;
        int32_t columns;
        bool wide, head;
    } parts[] = {
        {layers * embd * (heads + heads_kv + 2.0 * ff), info->n_embd, false, false},
        {layers * embd * heads_kv, info->n_embd, true, false},
        {layers * embd * heads, info->n_head * info->head_dim, false, false},
        {layers * embd * ff, info->n_ff, false, false},
        {(double)info->n_vocab * embd, info->n_embd, true, true},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        /* what no block fits is F16 */
        arithmetic kind = arithmetic_of(run->type, parts[i].wide);
        if (kind == INT8 && parts[i].columns % 32 != 0)
            kind = arithmetic_of("F16", parts[i].wide);
        (parts[i].head ? run->work.head : run->work.layers)[kind] += parts[i].weights;
    }
}

/* The share of its experts that a token of a mixture is computed by. */
static double used_experts(const sm_gguf *gguf, uint64_t n_keys) {
    double used = 1.0, all = 1.0;
    for (uint64_t i = 0; i < n_keys; i++) {
        const char *name, *type;
        char text[32];
        uint64_t n;
        if (sm_gguf_get_key(gguf, i, &name, &type, NULL) != SM_OK)
            continue;
        const char *end = strchr(name, '.');
        double *value = end && strcmp(end, ".expert_used_count") == 0 ? &used
                        : end && strcmp(end, ".expert_count") == 0    ? &all
                                                                      : NULL;
        if (value && sm_gguf_get_value(gguf, i, 0, text, sizeof text, &n, NULL) == SM_OK)
            *value = strtod(text, NULL);
    }
    return all >= 1.0 && used < all ? used / all : 1.0;
}

static sm_status count_work(bench_run *run, sm_error *error) {
    sm_gguf *gguf;
    sm_gguf_options options = {.struct_size = sizeof options, .io = run->model_options.io};
    sm_gguf_info info = {.struct_size = sizeof info};
    matrix_work tied = {0};
    bool has_head = false;
    sm_status status = sm_gguf_load(&gguf, run->path, &options, error);
    if (status == SM_OK)
        status = sm_gguf_get_info(gguf, &info, error);
    const double used = status == SM_OK ? used_experts(gguf, info.n_keys) : 1.0;
    for (uint64_t i = 0; status == SM_OK && i < info.n_tensors; i++) {
        sm_gguf_tensor_info tensor = {.struct_size = sizeof tensor};
        status = sm_gguf_get_tensor(gguf, i, &tensor, error);
        if (status != SM_OK || tensor.n_dims < 2)
            continue;
        const double weights = (double)tensor.weight_dims[0] * (double)tensor.weight_dims[1] *
                               (double)tensor.weight_dims[2] * (double)tensor.weight_dims[3];
        const bool layer = strncmp(tensor.name, "blk.", 4) == 0;
        const arithmetic kind = arithmetic_of(tensor.weight_type_name,
                                              !layer || strstr(tensor.name, ".attn_v.") != NULL);
        if (layer) {
            run->work.layers[kind] += strstr(tensor.name, "_exps.") ? weights * used : weights;
        } else if (strcmp(tensor.name, "output.weight") == 0) {
            run->work.head[kind] = weights;
            has_head = true;
        } else if (strcmp(tensor.name, "token_embd.weight") == 0) {
            tied.head[kind] = weights;
        }
    }
    if (!has_head)
        memcpy(run->work.head, tied.head, sizeof tied.head);
    sm_gguf_free(gguf);
    return status;
}

/* Seconds for the arithmetic of n tokens with the output layer for n_out of them. */
static double arithmetic_seconds(const matrix_work *work, double n, double n_out,
                                 const machine_rates *rates) {
    double seconds = 0.0;
    for (int i = 0; i < N_ARITHMETICS; i++)
        seconds += 2.0 * (n * work->layers[i] + n_out * work->head[i]) / rates->operations[i];
    return seconds;
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

/* Bytes of keys and values of one token. */
static double kv_bytes(const bench_run *run) {
    return (double)sm_session_read_bytes(run->session, 0);
}

static double prefill_bound(const bench_run *run, const machine_rates *rates) {
    const uint32_t batch = run->session_options.n_batch != 0 ? run->session_options.n_batch : 512;
    const double batches = (run->prefill + batch - 1) / batch;
    return run->prefill / larger(arithmetic_seconds(&run->work, run->prefill, 1.0, rates),
                                 batches * (double)run->info.decode_bytes / rates->read);
}

/* Of n sequences, all tokens counted. */
static double decode_bound(const bench_run *run, double n, const machine_rates *rates) {
    double cache = 0.0; /* bytes of a context that a token reads, on average */
    for (uint32_t i = 0; i < run->decode; i++)
        cache += (double)sm_session_read_bytes(run->session, run->depth + i) / run->decode;
    return n / larger(arithmetic_seconds(&run->work, n, n, rates),
                      ((double)run->info.decode_bytes + n * cache) / rates->read);
}

/* splitmix64: ids from a fixed seed */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

#define ROUND_SECONDS \
    0.1 /* small models are run several times, so that a repeat means something \
         */

static sm_status prefill_once(const bench_run *run, sm_error *error) {
    return sm_session_feed(run->session, run->ids + run->depth, run->prefill, error);
}

static const int32_t *decoded_ids(const bench_run *run) {
    return run->ids + run->depth + run->prefill;
}

static sm_status decode_once(const bench_run *run, sm_error *error) {
    sm_status status = SM_OK;
    for (uint32_t i = 0; status == SM_OK && i < run->decode; i++)
        status = sm_session_feed(run->session, decoded_ids(run) + i, 1, error);
    return status;
}

static sm_status batch_once(const bench_run *run, sm_error *error) {
    sm_status status = SM_OK;
    for (uint32_t i = 0; status == SM_OK && i < run->decode; i++) {
        for (uint32_t s = 0; s < run->sequences; s++)
            run->items[s] = (sm_batch_item){.struct_size = sizeof *run->items,
                                            .session = run->together[s],
                                            .ids = decoded_ids(run) + (i + s) % run->decode,
                                            .n_ids = 1};
        status = sm_batch_step(run->batch, run->items, run->sequences, error);
    }
    return status;
}

/* All sessions to `depth` tokens. Where a window has passed them that computes them again. */
static sm_status go_back(const bench_run *run, sm_error *error) {
    sm_status status = sm_session_rewind(run->session, run->depth, error);
    for (uint32_t s = 0; status == SM_OK && run->batch != NULL && s < run->sequences; s++)
        status = sm_session_rewind(run->together[s], run->depth, error);
    return status;
}

/* Tokens per second of `once`, which feeds n tokens to sessions of `depth`, over and over for
 * min_seconds. */
static sm_status time_rounds(const bench_run *run, sm_status (*once)(const bench_run *, sm_error *),
                             double n, double min_seconds, double *speed, sm_error *error) {
    double seconds = 0.0, tokens = 0.0;
    sm_status status = SM_OK;
    while (status == SM_OK && (tokens == 0.0 || seconds < min_seconds)) {
        status = go_back(run, error);
        if (status != SM_OK)
            break;
        const double start = cli_seconds();
        status = once(run, error);
        seconds += cli_seconds() - start;
        tokens += n;
    }
    *speed = tokens / larger(seconds, 1e-9);
    return status;
}

/* speeds: of prefill, decode and the batch. */
static sm_status time_speeds(const bench_run *run, double min_seconds, double *speeds[3],
                             sm_error *error) {
    const double n = run->decode;
    sm_status status = time_rounds(run, prefill_once, run->prefill, min_seconds, speeds[0], error);
    if (status == SM_OK)
        status = time_rounds(run, decode_once, n, min_seconds, speeds[1], error);
    if (status == SM_OK && run->batch != NULL)
        status = time_rounds(run, batch_once, n * run->sequences, min_seconds, speeds[2], error);
    return status;
}

/* The sequences to decode together, all with the same `depth` tokens. */
static sm_status open_batch(bench_run *run, sm_error *error) {
    const sm_batch_options options = {.struct_size = sizeof options,
                                      .n_threads = run->session_options.n_threads,
                                      .n_sequences = run->sequences,
                                      .n_batch = run->session_options.n_batch,
                                      .n_ctx = run->depth + run->decode,
                                      .pin = run->session_options.pin};
    const sm_session_options each = {.struct_size = sizeof each,
                                     .kv_type = run->session_options.kv_type,
                                     .kv_keep = run->session_options.kv_keep};
    sm_status status = sm_batch_new(&run->batch, run->model, &options, error);
    if (status == SM_OK)
        status = sm_batch_set_cancel(run->batch, cli_cancel, NULL, error);
    if (status == SM_OK)
        status = sm_batch_new_session(&run->together[0], run->batch, &each, error);
    if (status == SM_OK)
        status = sm_session_set_cancel(run->together[0], cli_cancel, NULL, error);
    if (status == SM_OK)
        status = sm_session_feed(run->together[0], run->ids, run->depth, error);
    for (uint32_t s = 1; status == SM_OK && s < run->sequences; s++)
        status = sm_session_fork(&run->together[s], run->together[0], NULL, error);
    return status;
}

static void close_batch(bench_run *run) {
    for (uint32_t s = 0; run->together != NULL && s < run->sequences; s++)
        sm_session_free(run->together[s]);
    sm_batch_free(run->batch);
    free(run->together);
    free(run->items);
}

static int warm_up(bench_run *run) {
    sm_error error = {0};
    double ignored[3];
    double *speeds[] = {&ignored[0], &ignored[1], &ignored[2]};
    const double start = cli_seconds();
    progress_count("warming up", 0, 0);
    if (sm_session_feed(run->session, run->ids, run->depth, &error) != SM_OK ||
        time_speeds(run, 0.0, speeds, &error) != SM_OK)
        return cli_fail(&error);
    run->warm_up = cli_seconds() - start;
    run->has_resident = resident_get(&run->resident);
    if (run->sequences > 0 &&
        (open_batch(run, &error) != SM_OK || batch_once(run, &error) != SM_OK))
        return cli_fail(&error);
    return CLI_GO_ON;
}

static int measure(bench_run *run, limit_bench *limits) {
    sm_error error = {0};
    double *speeds[3];
    if (!limit_bench_run(limits, &run->limits[0]))
        return cli_error("cannot start %u threads", run->n_threads);
    for (uint32_t i = 0; i < run->repeats; i++) {
        progress_count("measuring", i, run->repeats);
        if (cli_interrupted()) {
            cli_error("interrupted");
            return cli_interrupt_code();
        }
        speeds[0] = &run->prefill_speed[i];
        speeds[1] = &run->decode_speed[i];
        speeds[2] = &run->batch_speed[i];
        if (time_speeds(run, ROUND_SECONDS, speeds, &error) != SM_OK)
            return cli_fail(&error);
        if (!limit_bench_run(limits, &run->limits[i + 1]))
            return cli_error("cannot start %u threads", run->n_threads);
    }
    run->has_bf16 = run->limits[0].bf16 > 0.0;
    for (uint32_t i = 0; i <= run->repeats && !run->has_bf16; i++)
        run->limits[i].bf16 = run->limits[i].f32;
    progress_end();
    return CLI_GO_ON;
}

/* ---- results -------------------------------------------------------------------------- */

typedef struct summary {
    double median, best;
} summary;

static summary summarize(const double *values, uint32_t n) {
    summary s = {cli_median(values, n), values[0]};
    for (uint32_t i = 1; i < n; i++)
        s.best = larger(s.best, values[i]);
    return s;
}

/* A limit over all its samples; of what lies `offset` bytes into a sample. */
static summary summarize_limit(const bench_run *run, size_t offset) {
    double values[MAX_REPEATS + 1];
    for (uint32_t i = 0; i <= run->repeats; i++)
        values[i] = *(const double *)((const char *)&run->limits[i] + offset);
    return summarize(values, run->repeats + 1);
}

/* Tokens per second beside their bound. */
typedef struct speed {
    uint32_t n; /* tokens of a round */
    summary measured;
    double bound, share; /* medians */
} speed;

typedef enum speed_kind { PREFILL, DECODE, BATCH } speed_kind;

static speed compare(const bench_run *run, speed_kind kind) {
    const double *speeds[] = {run->prefill_speed, run->decode_speed, run->batch_speed};
    const uint32_t n[] = {run->prefill, run->decode, run->sequences * run->decode};
    double bounds[MAX_REPEATS], shares[MAX_REPEATS];
    for (uint32_t i = 0; i < run->repeats; i++) {
        const limit_sample *before = &run->limits[i], *after = before + 1;
        const machine_rates rates = {
            .read = (before->read + after->read) / 2,
            .operations = {[F32] = (before->f32 + after->f32) / 2,
                           [BF16] = (before->bf16 + after->bf16) / 2,
                           [INT8] = (before->int8 + after->int8) / 2},
        };
        bounds[i] = kind == PREFILL
                        ? prefill_bound(run, &rates)
                        : decode_bound(run, kind == BATCH ? run->sequences : 1.0, &rates);
        shares[i] = speeds[kind][i] / bounds[i];
    }
    return (speed){n[kind], summarize(speeds[kind], run->repeats), cli_median(bounds, run->repeats),
                   cli_median(shares, run->repeats)};
}

static json_t *speed_json(speed s) {
    return json_pack("{s:I, s:f, s:f, s:f, s:f}", "tokens", (json_int_t)s.n, "tokens_per_second",
                     s.measured.median, "best_tokens_per_second", s.measured.best,
                     "bound_tokens_per_second", s.bound, "fraction_of_bound", s.share);
}

static json_t *limit_json(summary limit) {
    return json_pack("{s:f, s:f}", "median", limit.median, "best", limit.best);
}

static void print_resident(const bench_run *run) {
    const resident *r = &run->resident;
    char peak[32], now[32], private_[32], file[32];
    if (run->has_resident)
        printf("resident %s (private %s, pages of mapped files %s), %s at most\n",
               cli_bytes(now, r->now), cli_bytes(private_, r->private_), cli_bytes(file, r->file),
               cli_bytes(peak, r->peak));
    printf("start    the first round took %.3f s\n", run->warm_up);
}

/* null where the system does not tell. */
static json_t *resident_json(const bench_run *run) {
    const resident *r = &run->resident;
    if (!run->has_resident)
        return json_null();
    return json_pack("{s:I, s:I, s:I, s:I}", "bytes", (json_int_t)r->now, "private_bytes",
                     (json_int_t)r->private_, "file_bytes", (json_int_t)r->file, "peak_bytes",
                     (json_int_t)r->peak);
}

static void print_speed(const char *name, const char *what, const char *how, speed s) {
    printf("%s  %u %s: %.1f tokens/s%s (best %.1f), bound %.1f, %.1f%% of it\n", name, s.n, what,
           s.measured.median, how, s.measured.best, s.bound, 100.0 * s.share);
}

static int print_result(const bench_run *run) {
    const speed prefill = compare(run, PREFILL), decode = compare(run, DECODE);
    const summary read = summarize_limit(run, offsetof(limit_sample, read));
    const summary f32 = summarize_limit(run, offsetof(limit_sample, f32));
    const summary bf16 = summarize_limit(run, offsetof(limit_sample, bf16));
    const summary int8 = summarize_limit(run, offsetof(limit_sample, int8));
    const char *level = sm_level_name(run->info.level);
    char size[32], packed[32], in_file[32], heap[32], cache[32], random[64], shown[CLI_SHOWN_SPACE];
    const char *name = run->path;
    if (name == NULL) {
        snprintf(random, sizeof random, "%s %s (random)", run->shape, run->type);
        name = random;
    }
    if (level == NULL)
        level = "";
    if (!run->json) {
        printf("model    %s, %s, weights read per token %s\n", run->info.architecture,
               cli_shown(shown, name), cli_bytes(size, run->info.decode_bytes));
        if (run->depth > 0)
            printf("depth    all after %u tokens of context\n", run->depth);
        printf("machine  %s, %u threads\n", level, run->n_threads);
        printf("memory   heap %s, of it repacked weights %s; weights packed in the file %s\n",
               cli_bytes(heap, run->info.heap_bytes), cli_bytes(packed, run->info.packed_bytes),
               cli_bytes(in_file, run->info.packed_file_bytes));
        print_resident(run);
        printf("cache    %s, %.0f bytes per token where all are kept\n",
               cli_bytes(cache, cli_session_info(run->session).cache_bytes), kv_bytes(run));
        printf("limits   read %.1f GB/s (best %.1f), f32 %.1f GFLOP/s (best %.1f), ",
               read.median / 1e9, read.best / 1e9, f32.median / 1e9, f32.best / 1e9);
        if (run->has_bf16)
            printf("bf16 %.1f GFLOP/s (best %.1f), ", bf16.median / 1e9, bf16.best / 1e9);
        printf("int8 %.1f GOP/s (best %.1f)\n", int8.median / 1e9, int8.best / 1e9);
        print_speed("prefill", "tokens", "", prefill);
        print_speed("decode ", "tokens", "", decode);
        if (run->sequences > 0) {
            char what[48];
            snprintf(what, sizeof what, "sequences of %u tokens", run->decode);
            speed batch = compare(run, BATCH);
            batch.n = run->sequences;
            print_speed("batch  ", what, " together", batch);
        }
        return CLI_DONE;
    }
    json_t *root = json_pack(
        "{s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:f, s:{s:o, s:o, s:o, "
        "s:o}, s:o, s:o}",
        "model", cli_json_name(name), "architecture", run->info.architecture, "level", level,
        "threads", (json_int_t)run->n_threads, "repeats", (json_int_t)run->repeats, "depth",
        (json_int_t)run->depth, "decode_bytes", (json_int_t)run->info.decode_bytes, "heap_bytes",
        (json_int_t)run->info.heap_bytes, "packed_bytes", (json_int_t)run->info.packed_bytes,
        "packed_file_bytes", (json_int_t)run->info.packed_file_bytes, "resident",
        resident_json(run), "kv_bytes", (json_int_t)cli_session_info(run->session).cache_bytes,
        "kv_bytes_per_token", (json_int_t)kv_bytes(run), "first_round_seconds", run->warm_up,
        "limits", "read_bytes_per_second", limit_json(read), "f32_ops_per_second", limit_json(f32),
        "bf16_ops_per_second", run->has_bf16 ? limit_json(bf16) : json_null(),
        "int8_ops_per_second", limit_json(int8), "prefill", speed_json(prefill), "decode",
        speed_json(decode));
    if (root != NULL && run->sequences > 0) {
        json_t *together = speed_json(compare(run, BATCH));
        if (json_object_set_new(together, "sequences", json_integer(run->sequences)) != 0 ||
            json_object_set_new(root, "batch", together) != 0) {
            json_decref(root);
            root = NULL;
        }
    }
    return cli_print_json(root, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
}

static int bench(bench_run *run) {
    sm_error error = {0};
    limit_bench *limits = NULL;
    uint64_t random = 1;
    const uint64_t n_ids = (uint64_t)run->depth + run->prefill + run->decode;
    int code = cli_open_session(&run->session, run->model, &run->session_options, NULL);
    if (code != CLI_GO_ON)
        return code;
    run->n_threads = cli_session_info(run->session).n_threads;
    run->ids = malloc(n_ids * sizeof *run->ids);
    run->together = calloc(run->sequences + 1u, sizeof *run->together);
    run->items = calloc(run->sequences + 1u, sizeof *run->items);
    for (uint64_t i = 0; run->ids != NULL && i < n_ids; i++)
        run->ids[i] = (int32_t)(next_random(&random) % (uint64_t)run->info.n_vocab);
    if (run->ids == NULL || run->together == NULL || run->items == NULL)
        code = cli_error("out of memory");
    else
        code = warm_up(run);
    if (code == CLI_GO_ON) {
        limits = limit_bench_new(run->info.level, run->n_threads,
                                 run->info.decode_bytes +
                                     sm_session_read_bytes(run->session, run->depth));
        code = limits != NULL ? measure(run, limits) : cli_error("out of memory");
    }
    if (code == CLI_GO_ON && sm_model_get_info(run->model, &run->info, &error) != SM_OK)
        code = cli_fail(&error);
    if (code == CLI_GO_ON)
        code = print_result(run);
    limit_bench_free(limits);
    close_batch(run);
    free(run->ids);
    sm_session_free(run->session);
    return code;
}

/* The tokens a session must hold. An exit code if the model has no such context. */
static int set_context(bench_run *run) {
    const uint32_t longest = run->prefill > run->decode ? run->prefill : run->decode;
    const uint32_t trained = (uint32_t)run->info.n_ctx_train;
    if (run->depth > 0 && run->depth + longest > trained)
        return cli_error("depth %u and %u tokens on top exceed the model's context of %u tokens",
                         run->depth, longest, trained);
    run->session_options.n_ctx = run->depth + longest;
    return CLI_GO_ON;
}

static int load(sm_model **model, bench_run *run) {
    sm_error error = {0};
    if (run->path == NULL) {
        const int code =
            cli_random_model(model, &run->info, run->shape, run->type, &run->model_options);
        if (code == CLI_GO_ON)
            count_random_work(run);
        return code;
    }
    /* before the model is there: a file that is read, not mapped, would count twice */
    if (count_work(run, &error) != SM_OK)
        return cli_fail(&error);
    return cli_load_model(model, &run->info, run->path, &run->model_options);
}

int cmd_bench(int argc, char **argv) {
    bench_run run = {
        .prefill = 512,
        .decode = 128,
        .repeats = 3,
        .model_options.struct_size = sizeof run.model_options,
        .session_options.struct_size = sizeof run.session_options,
    };
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &run.path, "FILE", 0, 0,
         "the model, a GGUF file or a Hugging Face directory (this or --shape is required)"},
        {0, "shape", CLI_TEXT, &run.shape, "NAME", 0, 0,
         "instead of a file: random weights in the shape of smollm2-135m, llama3.2-1b, "
         "llama3.2-3b, qwen3-0.6b, qwen3-1.7b, phi3-mini, gemma3-270m, gemma3-1b, "
         "granite3-1b-a400m, olmoe-1b-7b, gpt-oss-20b, deepseek-v2-lite, lfm2-350m, stories15m "
         "or stories260k, held in memory"},
        {0, "type", CLI_TEXT, &run.type, "NAME", 0, 0,
         "type of those weights [F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, "
         "Q5_K, Q6_K, IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, IQ4_NL, IQ4_XS, MXFP4, "
         "NVFP4, Q2_0, TQ1_0, TQ2_0, Q1_0, F64, "
         "and with more bits in some matrices Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M, Q5_K_S, "
         "Q5_K_M, IQ2_M, IQ3_XS, IQ3_M, MXFP4_MOE; default Q8_0]; where columns are no multiple of "
         "256, Q2_K, Q3_K, IQ1_S to IQ3_S and IQ4_XS become IQ4_NL, Q4_K Q5_0, Q5_K Q5_1, Q6_K "
         "Q8_0, TQ1_0 and TQ2_0 Q4_0; where of 128 Q1_0 and of 64 Q2_0 Q4_0, NVFP4 MXFP4; where of "
         "32 neither, F16, as with quantize"},
        {0, "save", CLI_TEXT, &run.save, "FILE", 0, 0,
         "write those weights to a GGUF file (without vocabulary) instead of measuring"},
        {'p', "prefill", CLI_SIZE, &run.prefill, "N", 1, 1u << 20,
         "tokens of the prompt, fed at once [1 to 1048576, K M G by 1024; default 512]"},
        {'n', "decode", CLI_SIZE, &run.decode, "N", 1, 1u << 20,
         "tokens fed one by one [1 to 1048576, K M G by 1024; default 128]"},
        {'d', "depth", CLI_SIZE, &run.depth, "N", 0, 1u << 20,
         "tokens in the context before either, within the model's context [0 to 1048576; "
         "default 0]"},
        {'b', "sequences", CLI_COUNT, &run.sequences, "N", 0, 1024,
         "also decode that many sequences together [0 to 1024; default 0: none]"},
        {0, "chunk", CLI_SIZE, &run.session_options.n_batch, "N", 0, 8192,
         "tokens of the prompt computed together at most [0 to 8192; default 512]"},
        {'r', "repeats", CLI_COUNT, &run.repeats, "N", 1, MAX_REPEATS,
         "how often everything is measured, the medians count [1 to 100; default 3]"},
        {0, "json", CLI_SWITCH, &run.json, "", 0, 0, "print one JSON object"},
    };
    const cli_fields fields[] = {
        {SM_OPTIONS_SESSION, &run.session_options, "n_threads"},
        {SM_OPTIONS_SESSION, &run.session_options, "kv_type"},
        {SM_OPTIONS_SESSION, &run.session_options, "kv_keep"},
        {SM_OPTIONS_SESSION, &run.session_options, "pin"},
        {SM_OPTIONS_MODEL, &run.model_options, NULL},
    };
    const cli_command command = {
        .name = "bench",
        .synopsis =
            "-m MODEL | --shape NAME [--type T] [-p N] [-n N] [-d N] [-b N] [-r N] [--json]\n"
            "--shape NAME [--type T] --save FILE",
        .summary =
            "Measures prefill and decode speed in tokens per second on random ids, each beside\n"
            "its bound: 2 operations per weight and token at the measured f32, bf16 or int8 rate,\n"
            "or the weights (and the cache) at the measured read bandwidth, whichever takes "
            "longer.\n"
            "The limits are measured with the same threads, before and after each repeat, which "
            "is\n"
            "compared with their mean (the median of these shares is printed); the buffer that is\n"
            "read is as large as what decoding a token touches (512 MiB at most).\n"
            "`smallmind bench limits` measures the machine alone.",
        .examples = {{"smallmind bench -m model.gguf", "the speed of a model"},
                     {"smallmind bench --shape llama3.2-1b --type Q4_K -d 2048",
                      "that of a model which is not at hand, after 2048 tokens"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = &run.path,
    };
    int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (run.path == NULL && run.shape == NULL)
        return cli_misuse("bench", "-m MODEL or --shape NAME is required");
    if (run.path != NULL && (run.shape != NULL || run.type != NULL))
        return cli_misuse("bench", "-m MODEL goes without --shape and --type");
    if (run.path != NULL && run.save != NULL)
        return cli_misuse("bench", "--save goes with --shape");
    if (run.type == NULL)
        run.type = "Q8_0";
    cli_catch_interrupt();
    if (run.save != NULL)
        return cli_save_random_model(run.save, run.shape, run.type, &run.model_options);
    code = load(&run.model, &run);
    if (code == CLI_GO_ON) {
        code = set_context(&run);
        if (code == CLI_GO_ON)
            code = bench(&run);
        sm_model_free(run.model);
    }
    return code;
}
