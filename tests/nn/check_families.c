/* Models of as many families as there are folders: each with model.gguf, ids.txt, logits.f32 (f32
 * [ids][vocabulary], from an empty context) and greedy.txt (the ids that follow); or, of models
 * that make vectors or scores, with hidden.f32 ([ids][width]), pooled.f32 or scores.f32.
 *
 *     check_families [--hf] [DIR...]   each a folder of a model, or one of such folders; without
 * any the folder `families` of SM_TEST_DATA. --hf: the model is not model.gguf but the Hugging Face
 * directory hf
 *
 * The stored logits are those of exact products. Beside quantized weights activations are rounded
 * to 8 bits by default, and beside BF16 and F16 to bf16 on some CPUs, so such a file is compared
 * twice: with the option that leaves them f32
 * within the tolerance of all, by default within a twentieth of the logits' range; both bit by bit
 * with themselves fed in pieces.
 *
 * A line for each model; then "N passed, N failed, N skipped". A model of an architecture that the
 * library does not compute, or without logits, is skipped, and its line says so.
 */
#include <dirent.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../support/calls.h"
#include "check_encoder.h"
#include "smallmind/smallmind.h"

#define TOLERANCE 1e-4
/* Gemma 3n cuts gates off in the first layers, and norms what is left, if it is one number near 0,
 * too: that multiplies what f32 rounds. The logits of the model in ../shared, of f32, are 3.4e-3
 * off the same network in double, which one rounding in each operator moves by up to 8e-3
 * (docs/measurements/2026-12-gemma3n.md); with other sparsities we are within 2e-4. */
#define TOLERANCE_3N 2e-2
#define ROUNDED 0.05 /* of the range of the stored logits */
#define MAX_IDS 1024
#define CHUNK 5

static int n_passed, n_failed, n_skipped;
static const char *model_name = "model.gguf";

typedef struct model_case {
    const char *dir;
    int32_t ids[MAX_IDS], greedy[MAX_IDS];
    uint64_t n_ids, n_greedy;
    float *want, *got; /* [n_ids][n_vocab] */
    int32_t n_vocab;
    bool loose;   /* what is rounded may choose other experts: its bits alone are compared */
    double exact; /* the largest difference of exact products */
    sm_model *model;
    char why[600];
} model_case;

static bool fail(model_case *c, const char *what, const char *detail) {
    snprintf(c->why, sizeof c->why, "%s: %s", what, detail);
    return false;
}

static void path_of(const model_case *c, const char *name, char *path, size_t size) {
    snprintf(path, size, "%s/%s", c->dir, name);
}

static bool exists(const char *dir, const char *name) {
    char path[8192];
    struct stat st;
    const int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    return n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0;
}

static uint64_t read_ids(const model_case *c, const char *name, int32_t ids[MAX_IDS]) {
    char path[8192];
    uint64_t n = 0;
    path_of(c, name, path, sizeof path);
    FILE *f = fopen(path, "r");
    while (f && n < MAX_IDS && fscanf(f, "%d%*[ ,]", &ids[n]) == 1)
        n++;
    if (f)
        fclose(f);
    return n;
}

static bool read_logits(model_case *c) {
    char path[8192];
    path_of(c, "logits.f32", path, sizeof path);
    const size_t n = (size_t)c->n_ids * (size_t)c->n_vocab;
    c->want = malloc(n * sizeof(float));
    c->got = malloc(n * sizeof(float));
    FILE *f = fopen(path, "rb");
    const bool whole =
        f && c->want && c->got && fread(c->want, sizeof(float), n, f) == n && fgetc(f) == EOF;
    if (f)
        fclose(f);
    return whole || fail(c, "logits.f32", "cannot be read, or is not [ids][vocabulary]");
}

/* The ids in pieces; logits of all. */
static bool feed(model_case *c, sm_session *s, uint64_t piece) {
    sm_error error;
    for (uint64_t at = 0; at < c->n_ids; at += piece) {
        const uint64_t n = c->n_ids - at < piece ? c->n_ids - at : piece;
        if (sm_session_feed_logits(s, c->ids + at, n, c->got + at * (uint64_t)c->n_vocab,
                                   UINT64_MAX, &error))
            return fail(c, "feed", error.message);
    }
    return true;
}

static double worst(const model_case *c) {
    double most = 0;
    for (size_t i = 0; i < (size_t)c->n_ids * (size_t)c->n_vocab; i++) {
        const double off = fabs((double)c->got[i] - (double)c->want[i]);
        most = off <= most ? most : isnan(off) ? INFINITY : off;
    }
    return most;
}

static bool same_greedy(model_case *c, sm_session *s) {
    sm_error error;
    char text[64];
    for (uint64_t i = 0; i < c->n_greedy; i++) {
        int32_t id;
        if (test_sample(s, NULL, &id, NULL, &error))
            return fail(c, "greedy", error.message);
        snprintf(text, sizeof text, "id %u is %d, not %d", (unsigned)i, id, c->greedy[i]);
        if (id != c->greedy[i])
            return fail(c, "greedy", text);
        if (sm_session_feed(s, &id, 1, &error))
            return fail(c, "greedy", error.message);
    }
    return true;
}

/* The largest difference that is allowed. */
static double tolerance(const model_case *c, bool exact) {
    float least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < (size_t)c->n_ids * (size_t)c->n_vocab; i++) {
        least = fminf(least, c->want[i]);
        most = fmaxf(most, c->want[i]);
    }
    return exact ? c->exact : c->loose ? INFINITY : ROUNDED * (double)(most - least);
}

/* All at once, one by one and in chunks: equal to the stored ones, and to each other bit by bit.
 * The ids that follow where it is exact. */
static bool compare(model_case *c, bool exact, double *most) {
    static const uint64_t pieces[] = {MAX_IDS, 1, CHUNK};
    const sm_session_options o = {
        .struct_size = sizeof o, .kv_type = SM_KV_TYPE_F32, .n_ctx = MAX_IDS / 8, .n_threads = 2};
    const size_t bytes = (size_t)c->n_ids * (size_t)c->n_vocab * sizeof(float);
    float *first = malloc(bytes);
    bool good = first != NULL;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces && good; i++) {
        sm_session *s;
        sm_error error;
        if (sm_session_new(&s, c->model, &o, &error)) {
            good = fail(c, "session", error.message);
            break;
        }
        good = feed(c, s, pieces[i]);
        if (i == 0 && good) {
            memcpy(first, c->got, bytes);
            *most = worst(c);
            good = !exact || same_greedy(c, s);
        } else if (good && memcmp(first, c->got, bytes) != 0) {
            good = fail(c, "bits", i == 1 ? "differ one by one" : "differ in chunks");
        }
        sm_session_free(s);
    }
    free(first);
    if (good && !(*most < tolerance(c, exact)))
        good = fail(c, "logits", "too far off");
    return good;
}

/* Whether a tensor is of none of the types that `exact` names, with bars. */
static bool has_other(const char *path, const char *exact) {
    sm_gguf *gguf;
    sm_gguf_info info = {.struct_size = sizeof info};
    bool found = false;
    if (sm_gguf_load(&gguf, path, NULL, NULL))
        return false;
    sm_gguf_get_info(gguf, &info, NULL);
    for (uint64_t i = 0; i < info.n_tensors && !found; i++) {
        sm_gguf_tensor_info t = {.struct_size = sizeof t};
        char name[32];
        found = !sm_gguf_get_tensor(gguf, i, &t, NULL) &&
                snprintf(name, sizeof name, "|%s|", t.type_name) > 0 && !strstr(exact, name);
    }
    sm_gguf_free(gguf);
    return found;
}

/* A model of other weights than f32: with f32 activations, then as it is computed by default.
 * *most: of the former. */
static bool compare_rounding(model_case *c, const char *path, double *most) {
    const sm_model_options o = {.struct_size = sizeof o, .activations = SM_ACTIVATIONS_FLOAT};
    sm_model *rounding = c->model;
    sm_error error;
    double rounded;
    c->model = NULL;
    bool good = !sm_model_load(&c->model, path, &o, &error);
    good = good ? compare(c, true, most) : fail(c, "with f32 activations", error.message);
    sm_model_free(c->model);
    c->model = rounding;
    c->loose = !has_other(path, "|F32|F16|BF16|");
    return good && compare(c, false, &rounded);
}

static void say(bool good, const char *dir, double most, const char *why) {
    if (good)
        printf("ok       %s  max difference %.1e\n", dir, most);
    else
        printf("FAILED   %s  %s (max difference %.1e)\n", dir, why, most);
    *(good ? &n_passed : &n_failed) += 1;
}

static void check_vectors(const char *dir) {
    model_case c = {.dir = dir};
    double most = 0;
    bool computed = true;
    c.n_ids = read_ids(&c, "ids.txt", c.ids);
    const bool good = c.n_ids ? check_encoder_case(dir, model_name, c.ids, c.n_ids, TOLERANCE,
                                                   &most, &computed, c.why, sizeof c.why)
                              : fail(&c, "ids.txt", "cannot be read");
    if (computed)
        say(good, dir, most, c.why);
    else
        printf("skipped  %s  %s\n", dir, c.why);
    n_skipped += !computed;
}

static void check(const char *dir) {
    if (!exists(dir, "logits.f32") && is_encoder_case(dir)) {
        check_vectors(dir);
        return;
    }
    model_case c = {.dir = dir};
    char path[8192];
    sm_error error = {0};
    double most = 0;
    path_of(&c, model_name, path, sizeof path);
    const sm_model_options o = {.struct_size = sizeof o};
    const sm_status status = sm_model_load(&c.model, path, &o, &error);
    const bool computed = status != SM_ERR_UNSUPPORTED && exists(dir, "logits.f32");
    bool good = !status || fail(&c, "load", error.message);
    if (good && computed) {
        sm_model_info info = {.struct_size = sizeof info};
        good = !sm_model_get_info(c.model, &info, NULL);
        c.n_vocab = info.n_vocab;
        c.exact = good && !strcmp(info.architecture, "gemma3n") ? TOLERANCE_3N : TOLERANCE;
        c.n_ids = read_ids(&c, "ids.txt", c.ids);
        c.n_greedy = read_ids(&c, "greedy.txt", c.greedy);
        if (!c.n_ids || !c.n_greedy)
            good = fail(&c, "ids.txt, greedy.txt", "cannot be read");
        good = good && read_logits(&c);
        if (good)
            good = has_other(path, "|F32|") ? compare_rounding(&c, path, &most)
                                            : compare(&c, true, &most);
    }
    if (computed)
        say(good, dir, most, c.why);
    else
        printf("skipped  %s  %s\n", dir, status ? c.why : "has no logits");
    n_skipped += !computed;
    sm_model_free(c.model);
    free(c.want);
    free(c.got);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void check_all(const char *dir) {
    char *names[1024], path[8192];
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && n < 1024 && (e = readdir(d));) {
        const int length = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (length > 0 && (size_t)length < sizeof path && e->d_name[0] != '.' &&
            exists(path, model_name))
            names[n++] = strdup(path);
    }
    if (d)
        closedir(d);
    if (!n) {
        printf("FAILED   %s  holds no %s and no folder that does\n", dir, model_name);
        n_failed++;
    }
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        check(names[i]);
        free(names[i]);
    }
}

int main(int argc, char **argv) {
    char data[4096];
    int first = 1;
    if (argc > 1 && !strcmp(argv[1], "--hf")) {
        model_name = "hf";
        first = 2;
    }
    if (argc <= first) { /* the test suite's data */
        const char *root = getenv("SM_TEST_DATA");
        root = root ? root : getenv("SM_TEST_DATA_DEFAULT");
        snprintf(data, sizeof data, "%s/families", root ? root : ".");
        if (!exists(data, ".")) {
            printf("skipped: no test data (%s)\n", data);
            return 77;
        }
        check_all(data);
    }
    for (int i = first; i < argc; i++) {
        if (exists(argv[i], model_name))
            check(argv[i]);
        else
            check_all(argv[i]);
    }
    printf("%d passed, %d failed, %d skipped\n", n_passed, n_failed, n_skipped);
    return n_failed != 0;
}
