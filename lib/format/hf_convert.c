/* Tensors in the order and type that ours have. */
#include "format/hf.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void fail_tensor(hf_reader *r, const sm_st_tensor *t, sm_status status, const char *what) {
    if (!r->status)
        r->status = sm_fail(r->error, status, "%s: tensor '%s' %s", r->shown, t->name, what);
}

/* ---- numbers ----------------------------------------------------------------------------- */

/* Of 8 bits: sign, `bits` of exponent, the rest. */
static float small_float(uint8_t byte, uint32_t bits, int bias) {
    const uint32_t n = 7 - bits, exponent = (uint32_t)byte >> n & ((1u << bits) - 1);
    const uint32_t fraction = byte & ((1u << n) - 1);
    const float value = exponent
                            ? ldexpf((float)(fraction | 1u << n), (int)exponent - bias - (int)n)
                            : ldexpf((float)fraction, 1 - bias - (int)n);
    return byte & 0x80 ? -value : value;
}

/* The formats of OCP: E4M3 has no infinity, and a NaN in each half; E5M2 is as f16. */
static float f8_value(sm_st_type type, uint8_t byte) {
    const uint8_t rest = byte & 0x7f;
    if (type == SM_ST_F8_E4M3)
        return rest == 0x7f ? NAN : small_float(byte, 4, 7);
    if (rest >= 0x7c)
        return rest > 0x7c ? NAN : byte & 0x80 ? -INFINITY : INFINITY;
    return small_float(byte, 5, 15);
}

static float f64_value(const uint8_t *at) {
    double value;
    memcpy(&value, at, sizeof value);
    return (float)value;
}

/* n elements as f32; false if the type is none of floats. */
static bool to_f32(float *out, const sm_st_tensor *t, uint64_t first, uint64_t n) {
    const uint32_t size = sm_st_type_size(t->type);
    const uint8_t *at = t->data + first * size;
    for (uint64_t i = 0; i < n; i++, at += size) {
        if (t->type == SM_ST_F32)
            memcpy(&out[i], at, sizeof *out);
        else if (t->type == SM_ST_F16)
            out[i] = sm_f16_to_f32((uint16_t)sm_load_le(at, 2));
        else if (t->type == SM_ST_BF16)
            out[i] = sm_bf16_to_f32((uint16_t)sm_load_le(at, 2));
        else if (t->type == SM_ST_F64)
            out[i] = f64_value(at);
        else if (t->type == SM_ST_F8_E4M3 || t->type == SM_ST_F8_E5M2)
            out[i] = f8_value(t->type, *at);
        else
            return false;
    }
    return true;
}

/* ---- scales of weights of 8 bits --------------------------------------------------------- */

/* So many rows and columns have one scale together. */
typedef struct scales {
    const sm_st_tensor *t; /* NULL: none */
    uint64_t rows, cols;   /* in one block */
    uint64_t across;       /* blocks side by side */
} scales;

static const sm_st_tensor *companion(const hf_reader *r, const sm_st_tensor *t) {
    static const char *const ends[] = {"_scale_inv", "_scale"};
    char name[512];
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (sm_format(name, sizeof name, "%s%s", t->name, ends[i]) < sizeof name) {
            const sm_st_tensor *found = hf_find_tensor(r, name);
            if (found)
                return found;
        }
    return NULL;
}

static uint64_t blocks_of(uint64_t n, uint64_t block) {
    return (n + block - 1) / block;
}

static void find_scales(hf_reader *r, const sm_st_tensor *t, scales *s) {
    const uint64_t cols = t->n_dims ? t->dims[t->n_dims - 1] : 1;
    const uint64_t rows = cols ? sm_st_elements(t) / cols : 0;
    *s = (scales){companion(r, t), rows, cols, 1};
    if (!s->t)
        return;
    const uint64_t n = sm_st_elements(s->t),
                   across = s->t->n_dims ? s->t->dims[s->t->n_dims - 1] : 1;
    if (n == rows && (across == 1 || s->t->n_dims == 1)) {
        s->rows = 1; /* one of each row */
    } else if (n != 1) {
        s->rows = r->block[0];
        s->cols = r->block[1];
        if (!s->rows || !s->cols || across != blocks_of(cols, s->cols) ||
            n != across * blocks_of(rows, s->rows)) {
            fail_tensor(r, s->t, SM_ERR_SHAPE,
                        "has another number of scales than the weights have rows or blocks "
                        "('weight_block_size')");
            return;
        }
        s->across = across;
    }
    float probe;
    if (!to_f32(&probe, s->t, 0, 1))
        fail_tensor(r, s->t, SM_ERR_UNSUPPORTED, "holds scales of a type that is not computed");
}

/* Row by row: f32, as a product of 8 and 24 bits has no shorter form. */
static void apply(const scales *s, uint64_t row, float *x, uint64_t cols) {
    for (uint64_t c = 0; c < cols; c += s->cols) {
        float scale = 1;
        to_f32(&scale, s->t, row / s->rows * s->across + c / s->cols, 1);
        for (uint64_t k = c; k < cols && k < c + s->cols; k++)
            x[k] *= scale;
    }
}

/* ---- types ------------------------------------------------------------------------------- */

static bool known_type(sm_st_type from, uint32_t *to) {
    switch (from) {
    case SM_ST_F32:
        *to = SM_DTYPE_F32;
        return true;
    case SM_ST_F16:
        *to = SM_DTYPE_F16;
        return true;
    case SM_ST_BF16:
        *to = SM_DTYPE_BF16;
        return true;
    default:
        return false;
    }
}

/* Columns, rows, matrices. A vector is one column, its last dimension rows. */
static void shape_of(hf_reader *r, const sm_st_tensor *t, bool vector, hf_tensor *out) {
    const uint32_t n = t->n_dims;
    out->cols = vector || !n ? 1 : t->dims[n - 1];
    const uint32_t at = vector ? 1 : 2;
    out->rows = n >= at ? t->dims[n - at] : 1;
    out->vector = vector;
    if (!t->size) {
        fail_tensor(r, t, SM_ERR_FORMAT, "has a dimension of 0");
        return;
    }
    out->depth = sm_st_elements(t) / out->cols / out->rows;
}

static void set_strides(hf_tensor *out, uint32_t element_bytes) {
    out->row_bytes = out->cols * element_bytes;
    out->distance = out->rows * out->row_bytes;
}

static void convert_f8(hf_reader *r, const sm_st_tensor *t, bool f32, hf_tensor *out) {
    scales s;
    const uint64_t n_rows = out->depth * out->rows;
    find_scales(r, t, &s);
    out->type = s.t || f32 ? SM_DTYPE_F32 : SM_DTYPE_BF16;
    set_strides(out, out->type == SM_DTYPE_F32 ? 4 : 2);
    uint8_t *to = hf_keep(r, n_rows * out->row_bytes);
    float *row = sm_alloc_array(r->mem, out->cols, sizeof *row);
    if (!row)
        fail_tensor(r, t, SM_ERR_NOMEM, "does not fit memory");
    for (uint64_t i = 0; i < n_rows && to && !r->status; i++) {
        to_f32(row, t, i * out->cols, out->cols);
        if (s.t)
            apply(&s, i, row, out->cols);
        if (out->type == SM_DTYPE_F32)
            memcpy(to + i * out->row_bytes, row, (size_t)out->row_bytes);
        for (uint64_t k = 0; out->type == SM_DTYPE_BF16 && k < out->cols; k++) {
            const uint16_t bits = sm_f32_to_bf16(row[k]); /* exact */
            memcpy(to + i * out->row_bytes + 2 * k, &bits, 2);
        }
    }
    out->data = to;
    sm_free(r->mem, row);
}

static void convert_to_f32(hf_reader *r, const sm_st_tensor *t, hf_tensor *out) {
    const uint64_t n = sm_st_elements(t);
    float *to = hf_keep(r, n * sizeof *to);
    out->type = SM_DTYPE_F32;
    set_strides(out, 4);
    if (to)
        to_f32(to, t, 0, n);
    out->data = (const uint8_t *)to;
}

/* Where it lies, unless kernels could not read it there. */
static void take(hf_reader *r, const sm_st_tensor *t, hf_tensor *out) {
    const uint32_t size = sm_st_type_size(t->type);
    set_strides(out, size);
    out->data = t->data;
    if ((uintptr_t)t->data % size == 0)
        return;
    uint8_t *to = hf_keep(r, t->size);
    if (to)
        memcpy(to, t->data, (size_t)t->size);
    out->data = to;
}

static void plain(hf_reader *r, const sm_st_tensor *t, hf_form form, hf_tensor *out) {
    *out = (hf_tensor){0};
    if (hf_is_packed(r, t)) {
        hf_unpack(r, t, out);
        return;
    }
    shape_of(r, t, form.vector, out);
    if (r->status)
        return;
    const bool f8 = t->type == SM_ST_F8_E4M3 || t->type == SM_ST_F8_E5M2;
    if (f8)
        convert_f8(r, t, form.f32, out);
    else if (known_type(t->type, &out->type) && !form.f32)
        take(r, t, out);
    else if (known_type(t->type, &out->type) || t->type == SM_ST_F64)
        convert_to_f32(r, t, out);
    else if (!r->status)
        r->status = sm_fail(r->error, SM_ERR_UNSUPPORTED,
                            "%s: tensor '%s' has type %s, which cannot be computed here (F64, F32, "
                            "F16, BF16, F8_E4M3 and F8_E5M2 can)",
                            r->shown, t->name, sm_st_type_name(t->type));
}

/* ---- orders ------------------------------------------------------------------------------ */

/* How rows lie, in numbers. */
typedef struct heads {
    uint64_t n, n_kv, dim, per_kv; /* queries of a kv head */
} heads;

/* Row j in pairs of a head whose rows are in halves. */
static uint64_t pair_row(uint64_t j, uint64_t dim) {
    const uint64_t k = j % dim;
    return j - k + k % 2 * (dim / 2) + k / 2;
}

static uint64_t group_row(const heads *h, uint64_t group, uint64_t place, uint64_t k) {
    return (group * (h->per_kv + 2) + place) * h->dim + k;
}

/* Which row of the file's matrix is row j of ours. */
static uint64_t row_of(hf_order order, const heads *h, uint64_t j) {
    const uint64_t head = j / h->dim, k = j % h->dim;
    switch (order) {
    case HF_Q:
    case HF_K:
        return pair_row(j, h->dim);
    case HF_EVEN:
    case HF_TURNED_EVEN:
    case HF_MXFP4_EVEN:
        return 2 * j;
    case HF_ODD:
    case HF_TURNED_ODD:
    case HF_MXFP4_ODD:
        return 2 * j + 1;
    case HF_HEADS:
        return (head % h->n * 3 + head / h->n) * h->dim + k;
    case HF_GROUPS:
        return head < h->n             ? group_row(h, head / h->per_kv, head % h->per_kv, k)
               : head < h->n + h->n_kv ? group_row(h, head - h->n, h->per_kv, k)
                                       : group_row(h, head - h->n - h->n_kv, h->per_kv + 1, k);
    case HF_GROUPS_Q:
        return group_row(h, head / h->per_kv, head % h->per_kv, pair_row(k, h->dim));
    case HF_GROUPS_K:
        return group_row(h, head, h->per_kv, pair_row(k, h->dim));
    case HF_GROUPS_V:
        return group_row(h, head, h->per_kv + 1, k);
    case HF_TURNED_LAST:
        return h->n + j;
    default:
        return j;
    }
}

static bool is_turned(hf_order order) {
    return order >= HF_TURNED && order <= HF_TURNED_LAST;
}

/* Rows that are ours of so many of the file's; 0: they are not as many heads or halves. */
static uint64_t our_rows(const hf_reader *r, hf_order order, uint64_t rows, heads *h) {
    *h = (heads){r->n_head, r->n_head_kv, 1, 1};
    if (!h->n || !h->n_kv || h->n % h->n_kv)
        return 0;
    h->per_kv = h->n / h->n_kv;
    uint64_t n_heads = 1, ours = rows;
    switch (order) {
    case HF_Q:
        n_heads = h->n;
        break;
    case HF_K:
        n_heads = h->n_kv;
        break;
    case HF_HEADS:
        n_heads = 3 * h->n;
        break;
    case HF_GROUPS:
    case HF_GROUPS_Q:
    case HF_GROUPS_K:
    case HF_GROUPS_V:
        n_heads = h->n_kv * (h->per_kv + 2);
        break;
    case HF_TURNED_FIRST:
    case HF_TURNED_LAST:
        h->n = rows / 2;
        return rows % 2 ? 0 : rows / 2;
    case HF_EVEN:
    case HF_ODD:
    case HF_TURNED_EVEN:
    case HF_TURNED_ODD:
    case HF_MXFP4_EVEN:
    case HF_MXFP4_ODD:
        return rows % 2 ? 0 : rows / 2;
    default:
        return rows;
    }
    if (rows % n_heads)
        return 0;
    h->dim = rows / n_heads;
    if ((order == HF_Q || order == HF_K || order == HF_GROUPS_Q || order == HF_GROUPS_K) &&
        h->dim % 2)
        return 0;
    ours = order == HF_GROUPS_Q                           ? h->n * h->dim
           : order == HF_GROUPS_K || order == HF_GROUPS_V ? h->n_kv * h->dim
                                                          : rows;
    return ours;
}

bool hf_rows(const hf_reader *r, hf_order order, uint64_t rows, uint64_t *row_of_ours) {
    heads h;
    if (order != HF_SAME && our_rows(r, order, rows, &h) != rows)
        return false;
    for (uint64_t j = 0; j < rows; j++)
        row_of_ours[j] = order == HF_SAME ? j : row_of(order, &h, j);
    return true;
}

/* A matrix whose columns are our rows, each of `bytes`; into rows of `cols` elements. */
static void turn(uint8_t *to, const uint8_t *from, uint64_t from_cols, uint64_t column,
                 uint64_t cols, uint64_t bytes) {
    for (uint64_t c = 0; c < cols; c++)
        memcpy(to + c * bytes, from + (c * from_cols + column) * bytes, (size_t)bytes);
}

static void reorder(hf_reader *r, const sm_st_tensor *t, hf_order order, hf_tensor *x) {
    heads h;
    const bool turned = is_turned(order) && !x->vector;
    const uint64_t bytes =
        x->row_bytes / x->cols; /* 0 of blocks, of which no order is of columns */
    if (turned && !bytes) {
        fail_tensor(r, t, SM_ERR_UNSUPPORTED, "is packed, and its columns would have to be rows");
        return;
    }
    hf_tensor out = *x;
    if (turned) {
        out.rows = x->cols;
        out.cols = x->rows;
    }
    out.rows = our_rows(r, order, out.rows, &h);
    if (!out.rows) {
        fail_tensor(r, t, SM_ERR_SHAPE,
                    "has a number of rows that its heads or halves do not divide");
        return;
    }
    if (turned)
        set_strides(&out, (uint32_t)bytes);
    out.distance = out.rows * out.row_bytes;
    uint8_t *to = hf_keep(r, out.depth * out.distance);
    out.data = to;
    for (uint64_t d = 0; d < out.depth && to; d++)
        for (uint64_t j = 0; j < out.rows; j++, to += out.row_bytes) {
            const uint64_t row = row_of(order, &h, j);
            const uint8_t *from = x->data + d * x->distance;
            if (turned)
                turn(to, from, x->cols, row, out.cols, bytes);
            else
                memcpy(to, from + row * x->row_bytes, (size_t)out.row_bytes);
        }
    *x = out;
}

static void halve(hf_reader *r, const sm_st_tensor *t, hf_order order, hf_tensor *x) {
    if (x->rows % 2)
        fail_tensor(r, t, SM_ERR_SHAPE, "has an odd number of rows");
    x->rows /= 2;
    if (order == HF_LAST_HALF)
        x->data += x->rows * x->row_bytes;
}

/* Latent heads: the keys' part turned, as queries are multiplied by it; the values' where it is. */
static void latent(hf_reader *r, const sm_st_tensor *t, hf_order order, hf_tensor *x) {
    const uint64_t rows = (uint64_t)r->nope + r->value_dim, bytes = x->row_bytes / x->cols;
    if (!bytes || x->depth != 1 || !r->n_head || x->rows != r->n_head * rows) {
        fail_tensor(r, t, SM_ERR_SHAPE, "has another number of rows than heads of config.json");
        return;
    }
    x->depth = r->n_head;
    x->distance = rows * x->row_bytes;
    if (order == HF_LATENT_V) {
        x->data += r->nope * x->row_bytes;
        x->rows = r->value_dim;
        return;
    }
    hf_tensor out = {.type = x->type, .depth = x->depth, .rows = x->cols, .cols = r->nope};
    set_strides(&out, (uint32_t)bytes);
    uint8_t *to = hf_keep(r, out.depth * out.distance);
    out.data = to;
    for (uint64_t d = 0; d < out.depth && to; d++)
        for (uint64_t j = 0; j < out.rows; j++, to += out.row_bytes)
            turn(to, x->data + d * x->distance, x->cols, j, out.cols, bytes);
    *x = out;
}

static void plus_one(hf_reader *r, hf_tensor *x) {
    const uint64_t n = x->depth * x->rows;
    float *to = hf_keep(r, n * sizeof *to);
    for (uint64_t i = 0; i < n && to; i++) {
        float value;
        memcpy(&value, x->data + i * sizeof value, sizeof value);
        to[i] = value + 1;
    }
    x->data = (const uint8_t *)to;
}

/* ---- MXFP4 ------------------------------------------------------------------------------- */

#define BLOCK 32      /* elements */
#define HALF_BYTES 16 /* of a block's elements */

/* Neighbours share a byte in the file; ours has the first half of a block in the low ones. */
static void mxfp4_block(uint8_t *to, const uint8_t *from, uint8_t scale) {
    to[0] = scale;
    for (uint32_t i = 0; i < HALF_BYTES; i++) {
        const uint32_t low = i, high = i + HALF_BYTES;
        const uint8_t a = from[low / 2] >> 4 * (low % 2) & 15;
        const uint8_t b = from[high / 2] >> 4 * (high % 2) & 15;
        to[1 + i] = (uint8_t)(a | b << 4);
    }
}

static const sm_st_tensor *mxfp4_scales(const hf_reader *r, const sm_st_tensor *t) {
    char name[512];
    const size_t n = strlen(t->name), end = strlen("_blocks");
    if (n <= end || n >= sizeof name - end || !ends_with(t->name, "_blocks"))
        return NULL;
    sm_format(name, sizeof name, "%.*s_scales", (int)(n - end), t->name);
    return hf_find_tensor(r, name);
}

static void mxfp4(hf_reader *r, const sm_st_tensor *t, hf_order order, hf_tensor *out) {
    const sm_st_tensor *s = mxfp4_scales(r, t);
    heads h;
    if (t->type != SM_ST_U8 || t->n_dims != 4 || t->dims[3] != HALF_BYTES || !t->size || !s ||
        s->type != SM_ST_U8 || s->size * HALF_BYTES != t->size) {
        fail_tensor(r, t, SM_ERR_SHAPE,
                    "is not of blocks of 16 bytes with a scale of one byte each beside it");
        return;
    }
    const uint64_t n_blocks = t->dims[2], rows = t->dims[1];
    *out = (hf_tensor){.type = SM_DTYPE_MXFP4, .depth = t->dims[0], .cols = n_blocks * BLOCK};
    out->rows = our_rows(r, order, rows, &h);
    if (!out->rows) {
        fail_tensor(r, t, SM_ERR_SHAPE, "has an odd number of rows");
        return;
    }
    out->row_bytes = n_blocks * (1 + HALF_BYTES);
    out->distance = out->rows * out->row_bytes;
    uint8_t *to = hf_keep(r, out->depth * out->distance);
    out->data = to;
    for (uint64_t i = 0; i < out->depth * out->rows && to; i++) {
        const uint64_t row = i / out->rows * rows + row_of(order, &h, i % out->rows);
        for (uint64_t b = 0; b < n_blocks; b++, to += 1 + HALF_BYTES)
            mxfp4_block(to, t->data + (row * n_blocks + b) * HALF_BYTES,
                        s->data[row * n_blocks + b]);
    }
}

/* ---- the whole --------------------------------------------------------------------------- */

/* Which way a stack of experts lies, by its number of rows. */
static hf_order decide(const hf_reader *r, const sm_st_tensor *t, hf_order order) {
    const uint64_t rows = t->n_dims > 1 ? t->dims[t->n_dims - 2] : 0;
    switch (order) {
    case HF_EITHER_FIRST:
        return rows == 2 * (uint64_t)r->n_ff_expert ? HF_FIRST_HALF : HF_TURNED_FIRST;
    case HF_EITHER_LAST:
        return rows == 2 * (uint64_t)r->n_ff_expert ? HF_LAST_HALF : HF_TURNED_LAST;
    case HF_EITHER:
        return rows == r->n_embd ? HF_SAME : HF_TURNED;
    default:
        return order;
    }
}

static void skip_padding(hf_reader *r, const sm_st_tensor *t, hf_tensor *out) {
    if (out->depth != 1 || out->rows < 3) {
        r->status = sm_fail(r->error, SM_ERR_SHAPE, "%s: tensor '%s' has no rows behind padding's",
                            r->shown, t->name);
        return;
    }
    out->rows -= 2;
    out->data += 2 * out->row_bytes;
    out->distance = out->rows * out->row_bytes;
}

/* [channels][1][taps]: a matrix. */
static void join_channels(hf_tensor *out) {
    if (out->rows != 1 || out->distance != out->row_bytes)
        return;
    out->rows = out->depth;
    out->depth = 1;
    out->distance = out->rows * out->row_bytes;
}

void hf_convert(hf_reader *r, const sm_st_tensor *t, hf_form form, hf_tensor *out) {
    const hf_order order = decide(r, t, form.order);
    if (order == HF_MXFP4 || order == HF_MXFP4_EVEN || order == HF_MXFP4_ODD) {
        mxfp4(r, t, order, out);
        return;
    }
    plain(r, t, form, out);
    if (r->status || order == HF_SAME)
        return;
    if (order == HF_PLUS_ONE)
        plus_one(r, out);
    else if (order == HF_TAPS)
        join_channels(out);
    else if (order == HF_POSITIONS)
        skip_padding(r, t, out);
    else if (order == HF_FIRST_HALF || order == HF_LAST_HALF)
        halve(r, t, order, out);
    else if (order == HF_LATENT_K || order == HF_LATENT_V)
        latent(r, t, order, out);
    else if (order != HF_TURNED || !form.vector)
        reorder(r, t, order, out);
}
