/* Weights of 2, 3, 4 and 8 bits as GPTQ, AWQ and compressed-tensors write them. Where zero is in
 * the middle and groups are whole blocks, Q4_0 and Q8_0 hold the same numbers; others become f32,
 * four bytes a weight. */
#include "format/hf.h"

#include <math.h>
#include <string.h>

#define BLOCK 32 /* elements of Q4_0 and Q8_0 */

/* One matrix: q[row][col] of `bits`, w = scale (q - zero). */
typedef struct packed {
    const sm_st_tensor *q, *zeros, *scales, *groups; /* zeros, groups: may be NULL */
    hf_packing how;
    uint32_t bits;
    uint64_t rows, cols, group, n_groups; /* group: columns of one, unless `groups` says it */
    uint32_t middle;                      /* of all zeros, where there is no tensor of them */
} packed;

static void fail_packed(hf_reader *r, const sm_st_tensor *t, sm_status status, const char *what) {
    if (!r->status)
        r->status = sm_fail(r->error, status, "%s: tensor '%s' %s", r->shown, t->name, what);
}

/* Bits [at, at + n) of a row of 32-bit words. */
static uint32_t bits_at(const uint8_t *row, uint64_t at, uint32_t n) {
    const uint64_t word = at / 32, shift = at % 32;
    uint64_t bits = sm_load_le(row + 4 * word, 4);
    if (shift + n > 32)
        bits |= sm_load_le(row + 4 * (word + 1), 4) << 32;
    return (uint32_t)(bits >> shift & ((1u << n) - 1));
}

/* Number i of a row of `stride` words down a column (GPTQ packs along columns of words). */
static uint32_t bits_down(const packed *p, uint64_t col, uint64_t i) {
    const uint64_t at = i * p->bits, word = at / 32, shift = at % 32;
    const uint8_t *first = p->q->data + 4 * (word * p->rows + col);
    uint64_t bits = sm_load_le(first, 4);
    if (shift + p->bits > 32)
        bits |= sm_load_le(first + 4 * p->rows, 4) << 32;
    return (uint32_t)(bits >> shift & ((1u << p->bits) - 1));
}

/* AWQ's place of column i of eight in a word. */
static uint32_t awq_place(uint64_t i) {
    static const uint8_t place[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    return place[i % 8];
}

static uint32_t code(const packed *p, uint64_t row, uint64_t col) {
    if (p->how == HF_GPTQ)
        return bits_down(p, row, col);
    if (p->how == HF_AWQ) {
        const uint8_t *words = p->q->data + 4 * (col * (p->rows / 8));
        return bits_at(words, row / 8 * 32 + 4 * awq_place(row), 4);
    }
    if (p->q->type == SM_ST_I8)
        return (uint32_t)((int8_t)p->q->data[row * p->cols + col] + 128);
    return bits_at(p->q->data + row * p->q->dims[1] * 4, col * p->bits, p->bits);
}

static uint32_t zero(const packed *p, uint64_t row, uint64_t group) {
    if (!p->zeros)
        return p->middle;
    const uint8_t *words = p->zeros->data + group * p->zeros->dims[1] * 4;
    if (p->how == HF_AWQ)
        return bits_at(words, row / 8 * 32 + 4 * awq_place(row), 4);
    return bits_at(words, row * p->bits, p->bits) + p->middle;
}

static uint64_t group_of(const packed *p, uint64_t col) {
    return p->groups ? sm_load_le(p->groups->data + 4 * col, 4) : col / p->group;
}

static float scale(const packed *p, uint64_t row, uint64_t group) {
    const uint64_t at = p->how == HF_COMPRESSED ? row * p->n_groups + group : group * p->rows + row;
    const uint8_t *data = p->scales->data + at * sm_st_type_size(p->scales->type);
    float value;
    if (p->scales->type == SM_ST_F16)
        return sm_f16_to_f32((uint16_t)sm_load_le(data, 2));
    if (p->scales->type == SM_ST_BF16)
        return sm_bf16_to_f32((uint16_t)sm_load_le(data, 2));
    memcpy(&value, data, sizeof value);
    return value;
}

/* ---- what belongs together ----------------------------------------------------------------- */

static const sm_st_tensor *beside(const hf_reader *r, const sm_st_tensor *t, const char *suffix) {
    char name[512];
    const char *dot = strrchr(t->name, '.');
    const int n = dot ? (int)(dot - t->name) : 0;
    if (sm_format(name, sizeof name, "%.*s%s", n, t->name, suffix) >= sizeof name)
        return NULL;
    return hf_find_tensor(r, name);
}

static bool has_shape(const sm_st_tensor *t, uint64_t rows, uint64_t cols) {
    return t && t->n_dims == 2 && t->dims[0] == rows && t->dims[1] == cols;
}

/* Rows, columns and groups, by the tensor of codes; false if it has another form. */
static bool measure(const hf_reader *r, packed *p) {
    const sm_st_tensor *q = p->q;
    if (q->n_dims != 2 || !q->size || q->dims[0] > 1u << 28 || q->dims[1] > 1u << 28)
        return false;
    const uint64_t per_word = 32 / p->bits;
    if (p->how == HF_GPTQ) {
        p->rows = q->dims[1];
        p->cols = q->dims[0] * 32 / p->bits;
    } else if (p->how == HF_AWQ) {
        p->rows = q->dims[1] * per_word;
        p->cols = q->dims[0];
    } else {
        p->rows = q->dims[0];
        p->cols = q->type == SM_ST_I8 ? q->dims[1] : q->dims[1] * per_word;
    }
    p->group = r->group ? r->group : p->cols;
    p->n_groups = (p->cols + p->group - 1) / p->group;
    return p->how == HF_AWQ || p->rows * p->bits % 32 == 0 || p->how == HF_COMPRESSED;
}

/* Columns may be in groups in any order; each number must be one of a group. */
static bool take_groups(packed *p) {
    const sm_st_tensor *g = p->groups;
    bool usual = true;
    if (!g)
        return true;
    if (g->type != SM_ST_I32 || g->n_dims != 1 || g->dims[0] != p->cols)
        return false;
    for (uint64_t i = 0; i < p->cols; i++) {
        const uint64_t n = sm_load_le(g->data + 4 * i, 4);
        usual = usual && n == i / p->group;
        if (n >= p->n_groups)
            return false;
    }
    p->groups = usual ? NULL : g;
    return true;
}

static bool float_scales(const sm_st_tensor *s) {
    return s && (s->type == SM_ST_F16 || s->type == SM_ST_BF16 || s->type == SM_ST_F32);
}

static void find_parts(hf_reader *r, const sm_st_tensor *t, packed *p) {
    *p = (packed){.q = t, .how = r->packing, .bits = r->bits};
    const bool gptq = p->how == HF_GPTQ, compressed = p->how == HF_COMPRESSED;
    p->scales = beside(r, t, compressed ? ".weight_scale" : ".scales");
    p->zeros = compressed ? NULL : beside(r, t, ".qzeros");
    p->groups = beside(r, t, compressed ? ".weight_g_idx" : ".g_idx");
    p->middle = gptq ? r->zeros_lack_one : 1u << (p->bits - 1);
    if (!measure(r, p) || !take_groups(p) || !float_scales(p->scales) ||
        (!compressed && !p->zeros)) {
        fail_packed(r, t, SM_ERR_SHAPE, "has not the shape, groups or scales that its kind says");
        return;
    }
    const uint64_t words = p->rows * p->bits / 32;
    const bool good = compressed ? has_shape(p->scales, p->rows, p->n_groups)
                                 : has_shape(p->scales, p->n_groups, p->rows) &&
                                       has_shape(p->zeros, p->n_groups, words) &&
                                       p->zeros->type == SM_ST_I32;
    if (!good)
        fail_packed(r, t, SM_ERR_SHAPE, "has scales or zeros of another shape than it says");
}

/* ---- writing ------------------------------------------------------------------------------- */

static bool is_f16(float x) {
    return sm_f16_to_f32(sm_f32_to_f16(x)) == x;
}

/* Whether blocks of ours hold the same numbers. */
static bool is_exact(const packed *p) {
    const uint32_t middle = 1u << (p->bits - 1);
    if ((p->bits != 4 && p->bits != 8) || p->groups || p->group % BLOCK || p->cols % BLOCK)
        return false;
    for (uint64_t g = 0; g < p->n_groups; g++)
        for (uint64_t row = 0; row < p->rows; row++)
            if (zero(p, row, g) != middle || !is_f16(scale(p, row, g)))
                return false;
    return true;
}

static void put_block(const packed *p, uint64_t row, uint64_t col, uint8_t *to) {
    const uint16_t d = sm_f32_to_f16(scale(p, row, col / p->group));
    memcpy(to, &d, sizeof d);
    for (uint64_t i = 0; i < BLOCK / 2 && p->bits == 4; i++)
        to[2 + i] = (uint8_t)(code(p, row, col + i) | code(p, row, col + BLOCK / 2 + i) << 4);
    for (uint64_t i = 0; i < BLOCK && p->bits == 8; i++)
        to[2 + i] = (uint8_t)(code(p, row, col + i) - 128);
}

/* Columns [col, end). */
static void put_floats(const packed *p, uint64_t row, uint64_t col, uint64_t end, float *to) {
    for (; col < end; col++) {
        const uint64_t g = group_of(p, col);
        to[col] = scale(p, row, g) * (float)((int32_t)code(p, row, col) - (int32_t)zero(p, row, g));
    }
}

#define TILE 16 /* rows whose words lie in one line of the cache, where columns are packed */

static void put_tile(const packed *p, bool exact, uint64_t first, uint8_t *to, uint64_t row_bytes) {
    const uint64_t end = p->rows - first < TILE ? p->rows : first + TILE;
    const uint64_t block = p->bits == 4 ? 2 + BLOCK / 2 : 2 + BLOCK;
    for (uint64_t col = 0; col < p->cols; col += BLOCK)
        for (uint64_t row = first; row < end; row++) {
            uint8_t *at = to + row * row_bytes;
            if (exact)
                put_block(p, row, col, at + col / BLOCK * block);
            else
                put_floats(p, row, col, p->cols - col < BLOCK ? p->cols : col + BLOCK,
                           (float *)(void *)at);
        }
}

void hf_unpack(hf_reader *r, const sm_st_tensor *t, hf_tensor *out) {
    packed p;
    if (r->packing == HF_NIBBLES) {
        hf_unpack_nibbles(r, t, out);
        return;
    }
    find_parts(r, t, &p);
    if (r->status)
        return;
    const bool exact = is_exact(&p);
    const uint64_t block = p.bits == 4 ? 2 + BLOCK / 2 : 2 + BLOCK;
    *out = (hf_tensor){.type = !exact        ? SM_DTYPE_F32
                               : p.bits == 4 ? SM_DTYPE_Q4_0
                                             : SM_DTYPE_Q8_0,
                       .depth = 1,
                       .rows = p.rows,
                       .cols = p.cols};
    out->row_bytes = exact ? p.cols / BLOCK * block : p.cols * sizeof(float);
    out->distance = out->rows * out->row_bytes;
    uint8_t *to = hf_keep(r, out->distance);
    out->data = to;
    for (uint64_t row = 0; row < p.rows && to; row += TILE)
        put_tile(&p, exact, row, to, out->row_bytes);
}

/* ---- names --------------------------------------------------------------------------------- */

bool hf_is_packed(const hf_reader *r, const sm_st_tensor *t) {
    if (r->packing == HF_NIBBLES)
        return hf_is_nibbles(r, t);
    if (r->packing == HF_COMPRESSED)
        return ends_with(t->name, ".weight_packed") ? t->type == SM_ST_I32 : t->type == SM_ST_I8;
    return r->packing != HF_UNPACKED && t->type == SM_ST_I32 && ends_with(t->name, ".qweight");
}

bool hf_beside_packed(const hf_reader *r, const sm_st_tensor *t) {
    static const char *const ends[] = {".qzeros",       ".scales",       ".g_idx",
                                       ".weight_scale", ".weight_shape", ".weight_g_idx"};
    static const char *const owners[] = {".qweight", ".weight_packed", ".weight"};
    if (r->packing == HF_NIBBLES)
        return hf_beside_nibbles(r, t);
    for (size_t i = 0; r->packing != HF_UNPACKED && i < sizeof ends / sizeof *ends; i++)
        for (size_t k = 0; ends_with(t->name, ends[i]) && k < 3; k++) {
            const sm_st_tensor *owner = beside(r, t, owners[k]);
            if (owner && hf_is_packed(r, owner))
                return true;
        }
    return false;
}
