/* What check_families compares of models that make vectors or scores, and no logits. */
#include "check_encoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smallmind/smallmind.h"

static const char *const parts[] = {"hidden.f32", "pooled.f32", "scores.f32"};
enum { HIDDEN, POOLED, SCORES, PARTS };

/* The floats of a file; NULL: there is none. */
static float *read_floats(const char *dir, const char *name, size_t *n) {
    char path[8192];
    const int length = snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = length > 0 && (size_t)length < sizeof path ? fopen(path, "rb") : NULL;
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f) / sizeof(float);
    rewind(f);
    float *x = malloc(*n * sizeof *x + 1);
    if (fread(x, sizeof *x, *n, f) != *n) {
        free(x);
        x = NULL;
    }
    fclose(f);
    return x;
}

bool is_encoder_case(const char *dir) {
    for (size_t i = 0; i < PARTS; i++) {
        size_t n;
        float *x = read_floats(dir, parts[i], &n);
        free(x);
        if (x)
            return true;
    }
    return false;
}

static sm_status compute(sm_encoder *e, int part, const int32_t *ids, uint64_t n, float *to,
                         size_t capacity, sm_error *error) {
    if (part == HIDDEN)
        return sm_encoder_hidden(e, ids, n, to, capacity, error);
    if (part == POOLED)
        return sm_encoder_embed_ids(e, ids, n, to, capacity, error);
    return sm_encoder_score_ids(e, ids, NULL, n, to, capacity, error);
}

/* One of the stored ones. */
static bool check_part(sm_encoder *e, const char *dir, int part, const int32_t *ids, uint64_t n_ids,
                       double *most, sm_error *error) {
    size_t n;
    float *want = read_floats(dir, parts[part], &n);
    if (!want)
        return true;
    float *got = malloc(n * sizeof *got + 1);
    const sm_status status = compute(e, part, ids, n_ids, got, n, error);
    for (size_t i = 0; i < n && !status; i++) {
        const double off = fabs((double)got[i] - (double)want[i]);
        *most = off <= *most ? *most : isnan(off) ? INFINITY : off;
    }
    free(got);
    free(want);
    return status == SM_OK;
}

bool check_encoder_case(const char *dir, const char *name, const int32_t *ids, uint64_t n_ids,
                        double exact, double *most, bool *computed, char *why, size_t capacity) {
    char path[8192];
    sm_model *model;
    sm_error error = {0};
    const sm_model_options mo = {.struct_size = sizeof mo, .activations = SM_ACTIVATIONS_FLOAT};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    *most = 0;
    const sm_status status = sm_model_load(&model, path, &mo, &error);
    *computed = status != SM_ERR_UNSUPPORTED;
    if (status) {
        snprintf(why, capacity, "load: %s", error.message);
        return false;
    }
    bool good = true;
    for (uint32_t n_threads = 1; n_threads <= 2 && good; n_threads++) {
        const sm_encoder_options o = {.struct_size = sizeof o, .n_threads = n_threads, .raw = 1};
        sm_encoder *e = NULL;
        good = !sm_encoder_new(&e, model, &o, &error);
        for (int part = 0; part < PARTS && good; part++)
            good = check_part(e, dir, part, ids, n_ids, most, &error);
        sm_encoder_free(e);
    }
    sm_model_free(model);
    if (!good)
        snprintf(why, capacity, "%s", error.message);
    else if (!(*most < exact))
        snprintf(why, capacity, "too far off");
    return good && *most < exact;
}
