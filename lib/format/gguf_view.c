/* The public functions of smallmind/gguf.h. */
#include "format/format.h"

#include <string.h>

/* ---- shortest decimal of a floating-point number --------------------------------- */

/* Free-format printing with exact integers: Steele & White, "How to print floating-point
 * numbers accurately" (1990), in the form of Burger & Dybvig, "Printing floating-point
 * numbers quickly and accurately" (1996): the shortest digits that read back as the same
 * number, under round-to-even. */

#define LIMBS 40 /* 2^1126 is the largest number a double leads to, 32 bits a limb */

typedef struct big {
    uint32_t limb[LIMBS]; /* lowest first */
} big;

static void big_mul_add(big *a, uint32_t factor, uint32_t add) {
    uint64_t carry = add;
    for (int i = 0; i < LIMBS; i++) {
        carry += (uint64_t)a->limb[i] * factor;
        a->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
}

static big big_shifted(uint64_t value, uint32_t shift) { /* value * 2^shift */
    big a = {{0}};
    a.limb[0] = (uint32_t)value;
    a.limb[1] = (uint32_t)(value >> 32);
    for (; shift >= 31; shift -= 31)
        big_mul_add(&a, UINT32_C(1) << 31, 0);
    big_mul_add(&a, UINT32_C(1) << shift, 0);
    return a;
}

static void big_mul_pow10(big *a, uint32_t power) {
    for (; power >= 9; power -= 9)
        big_mul_add(a, 1000000000, 0);
    for (; power > 0; power--)
        big_mul_add(a, 10, 0);
}

static int big_compare(const big *a, const big *b) {
    for (int i = LIMBS; i-- > 0;)
        if (a->limb[i] != b->limb[i])
            return a->limb[i] < b->limb[i] ? -1 : 1;
    return 0;
}

static big big_sum(const big *a, const big *b) {
    big sum;
    uint64_t carry = 0;
    for (int i = 0; i < LIMBS; i++) {
        carry += (uint64_t)a->limb[i] + b->limb[i];
        sum.limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return sum;
}

static void big_subtract(big *a, const big *b) { /* a >= b */
    uint64_t borrow = 0;
    for (int i = 0; i < LIMBS; i++) {
        uint64_t difference = (uint64_t)a->limb[i] - b->limb[i] - borrow;
        a->limb[i] = (uint32_t)difference;
        borrow = difference >> 63;
    }
}

/* A positive finite number as mantissa * 2^exponent, and whether its lower neighbour is
 * only half as far as its upper one. */
typedef struct binary {
    uint64_t mantissa;
    int exponent;
    bool narrow_below;
} binary;

static binary split_f64(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    int field = (int)(bits >> 52 & 0x7ff);
    if (field == 0)
        return (binary){fraction, -1074, false};
    return (binary){fraction | UINT64_C(1) << 52, field - 1075, fraction == 0 && field > 1};
}

static binary split_f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t fraction = bits & ((UINT32_C(1) << 23) - 1);
    int field = (int)(bits >> 23 & 0xff);
    if (field == 0)
        return (binary){fraction, -149, false};
    return (binary){fraction | UINT32_C(1) << 23, field - 150, fraction == 0 && field > 1};
}

/* Digits d1 d2 … with 0.d1d2… * 10^*power == v; at most 17. Returns their number. */
static int shortest_digits(binary v, char digits[20], int *power) {
    uint32_t up = v.exponent > 0 ? (uint32_t)v.exponent : 0;
    uint32_t down = v.exponent < 0 ? (uint32_t)-v.exponent : 0;
    uint32_t extra = v.narrow_below ? 2 : 1; /* so that half a gap is whole */
    big rest = big_shifted(v.mantissa, up + extra), unit = big_shifted(1, down + extra);
    big above = big_shifted(1, up + extra - 1), below = big_shifted(1, up);
    bool even = v.mantissa % 2 == 0;

    /* log10(2) = 0.30103; the estimate is never too large; the loop below corrects it */
    int bits = v.exponent;
    for (uint64_t m = v.mantissa; m > 1; m >>= 1)
        bits++;
    int k = (int)((int64_t)bits * 30103 / 100000) - (bits < 0);
    if (k > 0) {
        big_mul_pow10(&unit, (uint32_t)k);
    } else {
        big_mul_pow10(&rest, (uint32_t)-k);
        big_mul_pow10(&above, (uint32_t)-k);
        big_mul_pow10(&below, (uint32_t)-k);
    }
    for (;;) {
        big high = big_sum(&rest, &above);
        if (big_compare(&high, &unit) < (even ? 0 : 1))
            break;
        big_mul_add(&unit, 10, 0);
        k++;
    }
    *power = k;
    for (int n = 0;;) {
        big_mul_add(&rest, 10, 0);
        big_mul_add(&above, 10, 0);
        big_mul_add(&below, 10, 0);
        char digit = '0';
        for (; big_compare(&rest, &unit) >= 0; digit++)
            big_subtract(&rest, &unit);
        big high = big_sum(&rest, &above);
        bool low_ends = big_compare(&rest, &below) < (even ? 1 : 0);
        bool high_ends = big_compare(&high, &unit) >= (even ? 0 : 1);
        if (!low_ends && !high_ends) {
            digits[n++] = digit;
            continue;
        }
        big twice = big_sum(&rest, &rest);
        bool round_up = high_ends && (!low_ends || big_compare(&twice, &unit) >= 0);
        digits[n++] = (char)(digit + round_up);
        return n;
    }
}

/* ---- text ------------------------------------------------------------------------ */

/* The caller's buffer: counts everything, keeps what fits. */
typedef struct sink {
    char *out;
    uint64_t capacity, length;
} sink;

static void put(sink *s, const char *text, uint64_t length) {
    uint64_t room = s->length < s->capacity ? s->capacity - s->length : 0;
    if (room)
        memcpy(s->out + s->length, text, (size_t)(length < room ? length : room));
    s->length += length;
}

static void put_text(sink *s, const char *text) {
    put(s, text, strlen(text));
}

static void put_zeros(sink *s, int n) {
    for (; n > 0; n--)
        put(s, "0", 1);
}

/* value is finite; its digits come from `magnitude`. */
static void put_float(sink *s, double value, binary magnitude) {
    char digits[20], exponent[16];
    int power;
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (bits >> 63)
        put_text(s, "-");
    if (magnitude.mantissa == 0) {
        put_text(s, "0");
        return;
    }
    int n = shortest_digits(magnitude, digits, &power);
    if (power < -4 || power > 17) {
        put(s, digits, 1);
        if (n > 1)
            put_text(s, ".");
        put(s, digits + 1, (uint64_t)n - 1);
        put(s, exponent, sm_format(exponent, sizeof exponent, "e%d", power - 1));
    } else if (power <= 0) {
        put_text(s, "0.");
        put_zeros(s, -power);
        put(s, digits, (uint64_t)n);
    } else if (power >= n) {
        put(s, digits, (uint64_t)n);
        put_zeros(s, power - n);
    } else {
        put(s, digits, (uint64_t)power);
        put_text(s, ".");
        put(s, digits + power, (uint64_t)(n - power));
    }
}

/* Element i of a key of numbers or bools. */
static void put_number(sink *s, const sm_key *key, uint64_t i) {
    sm_key_type type = key->type == SM_KEY_ARRAY ? key->element : key->type;
    char text[24];
    int64_t integer;
    double real;
    switch (type) {
    case SM_KEY_BOOL:
        put_text(s, key->data[i] ? "true" : "false");
        break;
    case SM_KEY_UINT64:
        put(s, text,
            sm_format(text, sizeof text, "%llu",
                      (unsigned long long)sm_load_le(key->data + 8 * i, 8)));
        break;
    case SM_KEY_FLOAT32:
    case SM_KEY_FLOAT64:
        sm_key_f64(key, i, &real);
        if (real != real)
            put_text(s, "nan");
        else if (real - real != 0)
            put_text(s, real > 0 ? "inf" : "-inf");
        else
            put_float(s, real,
                      type == SM_KEY_FLOAT32 ? split_f32((float)(real < 0 ? -real : real))
                                             : split_f64(real < 0 ? -real : real));
        break;
    default:
        sm_key_i64(key, i, &integer);
        put(s, text, sm_format(text, sizeof text, "%lld", (long long)integer));
    }
}

static void put_array(sink *s, const sm_key *key, uint64_t max_items) {
    uint64_t shown = max_items && max_items < key->count ? max_items : key->count, cursor = 0;
    put_text(s, "[");
    for (uint64_t i = 0; i < shown; i++) {
        const char *text;
        uint64_t length;
        if (i)
            put_text(s, ", ");
        if (sm_key_next_str(key, &cursor, &text, &length))
            put(s, text, length);
        else
            put_number(s, key, i);
    }
    put_text(s, shown < key->count ? ", ...]" : "]");
}

/* ---- arguments ------------------------------------------------------------------- */

static sm_status null_argument(const char *function, const char *argument, sm_error *error) {
    return sm_fail(error, SM_ERR_ARGUMENT, "%s: %s is NULL", function, argument);
}

/* ---- public functions ------------------------------------------------------------ */

static const sm_wide options_wide[] = {SM_WIDE_FROM(sm_gguf_options, allocator), {0, 0, 0}};

sm_status sm_gguf_load(sm_source **out, const char *path, const sm_gguf_options *options,
                       sm_error *error) {
    if (!out)
        return null_argument("sm_gguf_load", "out", error);
    *out = NULL;
    if (!path)
        return null_argument("sm_gguf_load", "path", error);
    const sm_origin origin = {.struct_size = sizeof origin, .name = path};
    return sm_gguf_load_from(out, &origin, options, error);
}

static sm_status take_options(sm_gguf_options *o, sm_mem **mem, const sm_gguf_options *options,
                              sm_error *error) {
    sm_status status =
        sm_struct_take(o, sizeof *o, options_wide, options, "sm_gguf_options", error);
    if (!status && o->io != SM_IO_MAP && o->io != SM_IO_READ)
        status = sm_fail(error, SM_ERR_ARGUMENT, "sm_gguf_load: options.io is %u", o->io);
    if (status)
        sm_allocator_drop(o->allocator);
    return status ? status : sm_mem_create(mem, o->allocator, 0, error);
}

sm_status sm_gguf_load_from(sm_source **out, const sm_origin *origin,
                            const sm_gguf_options *options, sm_error *error) {
    if (!out)
        return null_argument("sm_gguf_load_from", "out", error);
    *out = NULL;
    sm_origin taken;
    sm_gguf_options o;
    sm_mem *mem;
    sm_ask asked;
    sm_status status = sm_origin_take(&taken, origin, "sm_gguf_load_from", error);
    if (status)
        return status;
    status = take_options(&o, &mem, options, error);
    if (status) {
        sm_origin_drop(&taken);
        return status;
    }
    sm_join_progress(&asked, &o.progress, &o.progress_user, o.cancel_flag);
    status = sm_source_open_origin(out, mem, &taken, o.io == SM_IO_MAP,
                                   &(sm_hook){o.progress, o.progress_user}, error);
    if (status)
        sm_mem_destroy(mem);
    else
        (*out)->owns_mem = true;
    return status;
}

void sm_gguf_free(sm_source *source) {
    sm_source_close(source);
}

/* A key that is no good counts for nothing here: the tensor is shown as it lies there. */
static sm_packed_tensor packed_of(const sm_source *source, const sm_tensor *t) {
    sm_packed_tensor packed;
    return sm_source_get_packed(source, t, &packed, NULL) ? (sm_packed_tensor){0} : packed;
}

static const sm_wide info_wide[] = {SM_WIDE_FROM(sm_gguf_info, n_keys), {0, 0, 0}};

sm_status sm_gguf_get_info(const sm_source *source, sm_gguf_info *info, sm_error *error) {
    if (!source || !info)
        return null_argument("sm_gguf_get_info", source ? "info" : "gguf", error);
    sm_gguf_info value = {
        .version = source->version,
        .alignment = source->alignment,
        .n_files = source->n_files,
        .n_keys = source->n_keys,
        .n_tensors = source->n_tensors,
        .holds = sm_source_holds(source),
    };
    for (uint64_t i = 0; i < source->n_tensors; i++) {
        const sm_tensor *t = &source->tensors[i];
        const sm_packed_tensor packed = packed_of(source, t);
        if (!packed.packed)
            value.n_elements += t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
        else if (strcmp(t->name, SM_PACKED_HEAD) != 0) /* which is there twice */
            value.n_elements += (uint64_t)packed.cols * packed.rows;
        value.data_bytes += t->size;
    }
    return sm_struct_give(info, &value, sizeof value, info_wide, "sm_gguf_get_info", error);
}

sm_status sm_gguf_get_key(const sm_source *source, uint64_t i, const char **name, const char **type,
                          sm_error *error) {
    if (name)
        *name = NULL;
    if (type)
        *type = NULL;
    if (!source)
        return null_argument("sm_gguf_get_key", "gguf", error);
    if (i >= source->n_keys)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_gguf_get_key: key %llu of %llu",
                       (unsigned long long)i, (unsigned long long)source->n_keys);
    if (name)
        *name = source->keys[i].name;
    if (type)
        *type = source->keys[i].type_text;
    return SM_OK;
}

sm_status sm_gguf_get_value(const sm_source *source, uint64_t i, uint64_t max_items, char *text,
                            uint64_t capacity, uint64_t *n, sm_error *error) {
    if (n)
        *n = 0;
    if (!source || !n || (!text && capacity))
        return null_argument("sm_gguf_get_value", !source ? "gguf" : !n ? "n" : "text", error);
    if (i >= source->n_keys)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_gguf_get_value: key %llu of %llu",
                       (unsigned long long)i, (unsigned long long)source->n_keys);
    const sm_key *key = &source->keys[i];
    sink s = {text, capacity, 0};
    if (key->type == SM_KEY_ARRAY)
        put_array(&s, key, max_items);
    else if (key->type == SM_KEY_STRING)
        put(&s, (const char *)key->data, key->size);
    else
        put_number(&s, key, 0);
    *n = s.length;
    if (s.length < capacity) {
        text[s.length] = 0;
        return SM_OK;
    }
    if (capacity)
        text[capacity - 1] = 0;
    return sm_fail(error, SM_ERR_BUFFER,
                   "sm_gguf_get_value: %llu bytes do not hold the text of %llu and its zero",
                   (unsigned long long)capacity, (unsigned long long)s.length);
}

static const sm_wide tensor_wide[] = {
    SM_WIDE_UNTIL(sm_gguf_tensor_info, name, n_dims),
    SM_WIDE_ARRAY(sm_gguf_tensor_info, dims),
    SM_WIDE_UNTIL(sm_gguf_tensor_info, offset, packed),
    SM_WIDE_UNTIL(sm_gguf_tensor_info, weight_type_name, weight_dims),
    SM_WIDE_ARRAY(sm_gguf_tensor_info, weight_dims),
    {0, 0, 0}};

sm_status sm_gguf_get_tensor(const sm_source *source, uint64_t i, sm_gguf_tensor_info *info,
                             sm_error *error) {
    if (!source || !info)
        return null_argument("sm_gguf_get_tensor", source ? "info" : "gguf", error);
    if (i >= source->n_tensors)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_gguf_get_tensor: tensor %llu of %llu",
                       (unsigned long long)i, (unsigned long long)source->n_tensors);
    const sm_tensor *t = &source->tensors[i];
    sm_gguf_tensor_info value = {
        .type = t->type,
        .name = t->name,
        .type_name = sm_dtype_get(t->type)->name,
        .n_dims = t->n_dims,
        .file = t->shard,
        .offset = t->offset,
        .size = t->size,
        .weight_type = t->type,
        .weight_type_name = sm_dtype_get(t->type)->name,
    };
    memcpy(value.dims, t->dims, sizeof value.dims);
    memcpy(value.weight_dims, t->dims, sizeof value.weight_dims);
    const sm_packed_tensor packed = packed_of(source, t);
    if (packed.packed) {
        value.packed = 1;
        value.weight_type = packed.type;
        value.weight_type_name = sm_dtype_get(packed.type)->name;
        value.weight_dims[0] = packed.cols;
        value.weight_dims[1] = packed.rows;
    }
    return sm_struct_give(info, &value, sizeof value, tensor_wide, "sm_gguf_get_tensor", error);
}
