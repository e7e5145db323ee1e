/* Weights of 4 bits as bitsandbytes writes them: two in a byte, the first one in the high half.
 * Each is the number of one of 16 values (nf4, arXiv:2305.14314, or fp4), times the largest
 * magnitude of its block, which may itself be a byte into a table of values, times that of a block
 * of these, and an offset. No type of ours holds them: they become f32. */
#include "format/hf.h"

#include <math.h>
#include <string.h>

#define STATE ".weight.quant_state.bitsandbytes__"
#define MOST (1u << 30) /* weights of a matrix */

static void fail_tensor(hf_reader *r, const sm_st_tensor *t, sm_status status, const char *what) {
    if (!r->status)
        r->status = sm_fail(r->error, status, "%s: tensor '%s' %s", r->shown, t->name, what);
}

static const sm_st_tensor *beside(const hf_reader *r, const sm_st_tensor *t, const char *suffix) {
    char name[512];
    const int n = (int)(strlen(t->name) - strlen(".weight"));
    return sm_format(name, sizeof name, "%.*s%s", n, t->name, suffix) < sizeof name
               ? hf_find_tensor(r, name)
               : NULL;
}

bool hf_is_nibbles(const hf_reader *r, const sm_st_tensor *t) {
    return t->type == SM_ST_U8 && ends_with(t->name, ".weight") &&
           beside(r, t, ".weight.absmax") != NULL;
}

bool hf_beside_nibbles(const hf_reader *r, const sm_st_tensor *t) {
    const char *end = strstr(t->name, ".weight.");
    char name[512];
    if (!end ||
        sm_format(name, sizeof name, "%.*s", (int)(end - t->name) + 7, t->name) >= sizeof name)
        return false;
    const sm_st_tensor *owner = hf_find_tensor(r, name);
    return owner && hf_is_nibbles(r, owner);
}

/* ---- what belongs together ----------------------------------------------------------------- */

typedef struct nibbles {
    const sm_st_tensor *q, *absmax, *map, *outer, *outer_map; /* the last two: may be NULL */
    uint64_t rows, cols, block, outer_block;
    double offset;
} nibbles;

static bool is_list(const sm_st_tensor *t, sm_st_type type, uint64_t n) {
    return t && t->type == type && sm_st_elements(t) == n;
}

static uint64_t size_of(const sm_json *json, sm_json_value v) {
    uint64_t value = 0;
    return sm_json_u64(json, v, &value) && value <= MOST ? value : 0;
}

/* The JSON that lies in a tensor of bytes; false if it lacks something. */
static bool read_state(hf_reader *r, const sm_st_tensor *t, nibbles *n) {
    const sm_json_source from = {r->shown, 1, NULL, NULL};
    sm_json *json;
    if (!t || t->type != SM_ST_U8 ||
        sm_json_read(&json, r->mem, t->data, t->size, &from, NULL, NULL))
        return false;
    const sm_json_value shape = sm_json_get(json, SM_JSON_ROOT, "shape");
    const sm_json_value rows = sm_json_first(json, shape);
    n->rows = size_of(json, rows);
    n->cols = size_of(json, sm_json_next(json, shape, rows));
    n->block = size_of(json, sm_json_get(json, SM_JSON_ROOT, "blocksize"));
    n->outer_block = size_of(json, sm_json_get(json, SM_JSON_ROOT, "nested_blocksize"));
    const sm_json_value offset = sm_json_get(json, SM_JSON_ROOT, "nested_offset");
    const bool good = sm_json_count(json, shape) == 2 && n->rows && n->cols && n->block &&
                      n->rows <= MOST / n->cols &&
                      (offset == SM_JSON_NONE || sm_json_double(json, offset, &n->offset));
    sm_json_free(json);
    return good;
}

static uint64_t blocks_of(uint64_t n, uint64_t block) {
    return (n + block - 1) / block;
}

static void find_parts(hf_reader *r, const sm_st_tensor *t, nibbles *n) {
    *n = (nibbles){.q = t, .absmax = beside(r, t, ".weight.absmax")};
    const sm_st_tensor *state = beside(r, t, STATE "nf4");
    n->map = beside(r, t, ".weight.quant_map");
    n->outer = beside(r, t, ".weight.nested_absmax");
    n->outer_map = beside(r, t, ".weight.nested_quant_map");
    if (!read_state(r, state ? state : beside(r, t, STATE "fp4"), n)) {
        fail_tensor(r, t, SM_ERR_FORMAT, "has no 'quant_state' beside it that says its shape");
        return;
    }
    const uint64_t weights = n->rows * n->cols, n_blocks = blocks_of(weights, n->block);
    bool good = t->size == (weights + 1) / 2 && is_list(n->map, SM_ST_F32, 16);
    if (n->outer)
        good = good && n->outer_block && is_list(n->absmax, SM_ST_U8, n_blocks) &&
               is_list(n->outer_map, SM_ST_F32, 256) &&
               is_list(n->outer, SM_ST_F32, blocks_of(n_blocks, n->outer_block));
    else
        good = good && is_list(n->absmax, SM_ST_F32, n_blocks);
    if (!good)
        fail_tensor(r, t, SM_ERR_SHAPE, "has not the size, or the scales, that its state says");
}

/* ---- numbers ------------------------------------------------------------------------------- */

static float float_at(const sm_st_tensor *t, uint64_t i) {
    float value;
    memcpy(&value, t->data + i * sizeof value, sizeof value);
    return value;
}

static float largest(const nibbles *n, uint64_t block) {
    if (!n->outer)
        return float_at(n->absmax, block);
    const float inner = float_at(n->outer_map, n->absmax->data[block]);
    return inner * float_at(n->outer, block / n->outer_block) + (float)n->offset;
}

void hf_unpack_nibbles(hf_reader *r, const sm_st_tensor *t, hf_tensor *out) {
    nibbles n;
    find_parts(r, t, &n);
    if (r->status)
        return;
    float *to = hf_keep(r, n.rows * n.cols * sizeof *to), scale = 0;
    *out = (hf_tensor){.type = SM_DTYPE_F32, .depth = 1, .rows = n.rows, .cols = n.cols};
    out->row_bytes = n.cols * sizeof *to;
    out->distance = n.rows * out->row_bytes;
    out->data = (const uint8_t *)to;
    for (uint64_t i = 0; to && i < n.rows * n.cols; i++) {
        if (i % n.block == 0)
            scale = largest(&n, i / n.block);
        to[i] = float_at(n.map, i % 2 ? t->data[i / 2] & 15 : t->data[i / 2] >> 4) * scale;
    }
}
