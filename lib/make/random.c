/* Models with random weights, for measuring without a download: a GGUF image is made in
 * memory and loaded as any other file, or written to one. */
#include "kernels.h"
#include "make.h"
#include "nn/nn.h"
#include "run/run.h"
#include "smallmind/experimental.h"

#include <math.h>
#include <string.h>

/* A key of a family's own; a list of them ends with one without suffix. */
typedef struct shape_key {
    const char *suffix;
    double value;
    bool integer;
    const char *text; /* NULL: it is a number */
} shape_key;

static const shape_key gemma3_keys[] = {
    {SM_K_WINDOW, 512, true, NULL}, {SM_K_ROPE_BASE_SWA, 1e4, false, NULL}, {0}};
static const shape_key phi3_keys[] = {{SM_K_WINDOW, 2047, true, NULL}, {0}};
static const shape_key granite3_keys[] = {{SM_K_EXPERTS, 32, true, NULL},
                                          {SM_K_EXPERTS_USED, 8, true, NULL},
                                          {"embedding_scale", 12, false, NULL},
                                          {"attention.scale", 0.015625, false, NULL},
                                          {"residual_scale", 0.22, false, NULL},
                                          {"logit_scale", 6, false, NULL},
                                          {0}};
static const shape_key olmoe_keys[] = {
    {SM_K_EXPERTS, 64, true, NULL}, {SM_K_EXPERTS_USED, 8, true, NULL}, {0}};
static const shape_key gpt_oss_keys[] = {{SM_K_EXPERTS, 32, true, NULL},
                                         {SM_K_EXPERTS_USED, 4, true, NULL},
                                         {SM_K_WINDOW, 128, true, NULL},
                                         {SM_K_ROPE_TYPE, 0, false, "yarn"},
                                         {SM_K_ROPE_FACTOR, 32, false, NULL},
                                         {"rope.scaling.original_context_length", 4096, true, NULL},
                                         {0}};

static const shape_key deepseek2_keys[] = {
    {SM_K_KV_RANK, 512, true, NULL},
    {SM_K_KEY_LENGTH_MLA, 192, true, NULL},
    {SM_K_VALUE_LENGTH_MLA, 128, true, NULL},
    {SM_K_ROPE_DIMS, 64, true, NULL},
    {SM_K_ROPE_TYPE, 0, false, "yarn"},
    {SM_K_ROPE_FACTOR, 40, false, NULL},
    {"rope.scaling.original_context_length", 4096, true, NULL},
    {"rope.scaling.yarn_log_multiplier", 0.0707, false, NULL},
    {SM_K_EXPERTS, 64, true, NULL},
    {SM_K_EXPERTS_USED, 6, true, NULL},
    {"expert_feed_forward_length", 1408, true, NULL},
    {"expert_shared_count", 2, true, NULL},
    {"leading_dense_block_count", 1, true, NULL},
    {0}};
static const shape_key lfm2_keys[] = {{SM_K_CONV_TAPS, 3, true, NULL}, {0}};

typedef struct shape {
    const char *name;
    const char *architecture;
    uint32_t n_vocab, n_embd, n_layer, n_head, n_head_kv, head_dim, n_ff;
    float norm_eps, rope_theta;
    const shape_key *more; /* NULL: none */
    bool untied;           /* a head of its own */
    uint32_t attending;    /* layers that attend, a bit each, where the others convolve; 0: all */
} shape;

/* From the models' published configurations. */
static const shape shapes[] = {
    {"smollm2-135m", "llama", 49152, 576, 30, 9, 3, 64, 1536, 1e-5f, 1e5f, NULL, false, 0},
    {"llama3.2-1b", "llama", 128256, 2048, 16, 32, 8, 64, 8192, 1e-5f, 5e5f, NULL, false, 0},
    {"llama3.2-3b", "llama", 128256, 3072, 28, 24, 8, 128, 8192, 1e-5f, 5e5f, NULL, false, 0},
    {"qwen3-0.6b", "qwen3", 151936, 1024, 28, 16, 8, 128, 3072, 1e-6f, 1e6f, NULL, false, 0},
    {"qwen3-1.7b", "qwen3", 151936, 2048, 28, 16, 8, 128, 6144, 1e-6f, 1e6f, NULL, false, 0},
    {"phi3-mini", "phi3", 32064, 3072, 32, 32, 32, 96, 8192, 1e-5f, 1e4f, phi3_keys, true, 0},
    {"gemma3-270m", "gemma3", 262144, 640, 18, 4, 1, 256, 2048, 1e-6f, 1e6f, gemma3_keys, false, 0},
    {"gemma3-1b", "gemma3", 262144, 1152, 26, 4, 1, 256, 6912, 1e-6f, 1e6f, gemma3_keys, false, 0},
    {"granite3-1b-a400m", "granitemoe", 49155, 1024, 24, 16, 8, 64, 512, 1e-6f, 1e4f, granite3_keys,
     false, 0},
    {"olmoe-1b-7b", "olmoe", 50304, 2048, 16, 16, 16, 128, 1024, 1e-5f, 1e4f, olmoe_keys, true, 0},
    {"gpt-oss-20b", "gpt-oss", 201088, 2880, 24, 64, 8, 64, 2880, 1e-5f, 1.5e5f, gpt_oss_keys, true,
     0},
    {"deepseek-v2-lite", "deepseek2", 102400, 2048, 27, 16, 1, 576, 10944, 1e-6f, 1e4f,
     deepseek2_keys, true, 0},
    {"lfm2-350m", "lfm2", 65536, 1024, 16, 16, 8, 64, 4608, 1e-5f, 1e6f, lfm2_keys, false, 0x5524},
    {"stories15m", "llama", 32000, 288, 6, 6, 6, 48, 768, 1e-5f, 1e4f, NULL, false, 0},
    {"stories260k", "llama", 512, 64, 5, 8, 4, 8, 172, 1e-5f, 1e4f, NULL, false, 0},
};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

/* Longest of the shapes: a random model has no length it was trained for. */
#define CONTEXT_LENGTH 131072

/* ---- names ------------------------------------------------------------------------------- */

static const shape *find_shape(const char *name, sm_error *error) {
    char known[512];
    size_t n = 0;
    for (size_t i = 0; i < N_SHAPES && n < sizeof known; i++)
        n += sm_format(known + n, sizeof known - n, "%s%s", i ? ", " : "", shapes[i].name);
    const uint32_t place = sm_names_find(known, name, NULL);
    if (place != SM_NAME_NONE)
        return &shapes[place];
    sm_fail_name(error, "shape", name, known);
    return NULL;
}

/* ---- keys and tensors ----------------------------------------------------------------------- */

typedef struct recipe {
    const shape *shape;
    const sm_model_type *type;
    uint64_t seed;
} recipe;

/* Names, checked, to a recipe. `function` is the caller's. */
static sm_status read_recipe(recipe *r, const char *function, const char *shape_name,
                             const char *type, uint64_t seed, sm_error *error) {
    if (!shape_name || !type)
        return sm_fail(error, SM_ERR_ARGUMENT, "%s: shape or type is NULL", function);
    r->seed = seed;
    r->shape = find_shape(shape_name, error);
    r->type = r->shape ? sm_model_type_find(type, SM_TYPES_ALL, error) : NULL;
    return r->type ? SM_OK : SM_ERR_ARGUMENT;
}

/* Heads of keys: one number, or one of each layer, 0 where it does not attend. */
static void put_heads_kv(sm_gguf_writer *w, const char *name, const shape *s) {
    uint32_t heads[32];
    for (uint32_t i = 0; i < s->n_layer && s->attending; i++)
        heads[i] = s->attending >> i & 1 ? s->n_head_kv : 0;
    if (s->attending)
        sm_gguf_put_array(w, name, SM_KEY_UINT32, heads, s->n_layer);
    else
        sm_gguf_put_u32(w, name, s->n_head_kv);
}

/* The writer keeps the first failure: none of the put and declare calls needs a look. */
static void put_keys(void *user, sm_gguf_writer *w) {
    const shape *s = user;
    char name[64];
#define KEY(suffix) (sm_format(name, sizeof name, "%s." suffix, s->architecture), name)
    sm_gguf_put_str(w, SM_K_ARCHITECTURE, s->architecture, strlen(s->architecture));
    sm_gguf_put_str(w, SM_K_NAME, s->name, strlen(s->name));
    sm_gguf_put_u32(w, KEY(SM_K_CONTEXT), CONTEXT_LENGTH);
    sm_gguf_put_u32(w, KEY(SM_K_EMBD), s->n_embd);
    sm_gguf_put_u32(w, KEY(SM_K_LAYERS), s->n_layer);
    sm_gguf_put_u32(w, KEY(SM_K_FF), s->n_ff);
    sm_gguf_put_u32(w, KEY(SM_K_HEADS), s->n_head);
    put_heads_kv(w, KEY(SM_K_HEADS_KV), s);
    sm_gguf_put_u32(w, KEY(SM_K_KEY_LENGTH), s->head_dim);
    sm_gguf_put_u32(w, KEY(SM_K_VALUE_LENGTH), s->head_dim);
    sm_gguf_put_f32(w, KEY(SM_K_RMS_EPS), s->norm_eps);
    sm_gguf_put_f32(w, KEY(SM_K_ROPE_BASE), s->rope_theta);
    for (const shape_key *k = s->more; k && k->suffix; k++) {
        sm_format(name, sizeof name, "%s.%s", s->architecture, k->suffix);
        if (k->text)
            sm_gguf_put_str(w, name, k->text, strlen(k->text));
        else if (k->integer)
            sm_gguf_put_u32(w, name, (uint32_t)k->value);
        else
            sm_gguf_put_f32(w, name, (float)k->value);
    }
    /* other programs want to be told that ids have no text, and how many there are */
    sm_gguf_put_u32(w, KEY(SM_K_VOCAB_SIZE), s->n_vocab);
    sm_gguf_put_str(w, SM_K_TOKENIZER_MODEL, "no_vocab", 8);
#undef KEY
}

typedef struct declaring {
    sm_gguf_writer *w;
    const recipe *r;
    sm_mixture_model model;
} declaring;

/* Vectors are f32. A type's own name means all matrices, as quantize's option `pure`. */
static bool declare(void *user, const sm_new_tensor *t) {
    const declaring *d = user;
    const sm_model_type *type = d->r->type;
    const bool mixed = sm_model_type_kind(type) == SM_TYPES_MIXED;
    const uint32_t wanted = mixed ? sm_mixture_type(type, &d->model, t->name) : type->type;
    sm_new_tensor_declare(d->w, t, t->rows ? sm_fallback_type(wanted, t->cols) : SM_DTYPE_F32);
    return true;
}

/* ---- weights --------------------------------------------------------------------------------- */

/* xorshift64 (Marsaglia 2003): cheap, and good enough for weights that mean nothing. */
static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void fill_random(uint8_t *data, uint64_t size, uint64_t *state) {
    for (uint64_t i = 0; i < size; i += 8) {
        const uint64_t bits = next_random(state);
        memcpy(data + i, &bits, size - i < 8 ? (size_t)(size - i) : 8);
    }
}

static uint8_t nearest_ue4m3(double factor) {
    uint8_t code = 1;
    while (code < 126 && (double)sm_ue4m3_to_f32(code) < factor)
        code++;
    return code;
}

/* Pairs of bits: what is 3 becomes 1, so that 1 is the mean. */
static void centre_pairs(uint8_t *data, uint64_t size) {
    for (uint64_t i = 0; i < size; i++)
        data[i] = (uint8_t)(data[i] & ~(data[i] << 1 & data[i] & 0xaa));
}

static void fill_factors(uint8_t *data, uint64_t size, uint32_t block_bytes, const sm_filling *f,
                         double deviation) {
    const uint8_t e = (uint8_t)(128 + lround(log2(deviation / f->spread))); /* about */
    const uint8_t small = nearest_ue4m3(deviation / f->spread);
    const uint16_t d = sm_f32_to_f16((float)(deviation / f->spread));
    const uint16_t min = sm_f32_to_f16((float)(deviation / f->spread * f->ratio));
    for (uint64_t at = 0; at < size; at += block_bytes) {
        if (f->factor == SM_FACTOR_E8M0)
            data[at + (uint64_t)f->d] = e;
        else if (f->factor == SM_FACTOR_IQ1_M)
            sm_iq1_m_set_d((sm_block_iq1_m *)(void *)(data + at), d);
        else if (f->factor == SM_FACTOR_UE4M3)
            memset(data + at + f->d, small, 4);
        else
            memcpy(data + at + f->d, &d, sizeof d);
        if (f->min >= 0)
            memcpy(data + at + f->min, &min, sizeof min);
    }
}

/* Uniform on 256 values, one for each random byte. */
static void fill_floats(uint8_t *data, uint64_t size, uint32_t type, double deviation,
                        uint64_t *state) {
    uint8_t values[256][8];
    const uint32_t unit = sm_dtype_get(type)->block_bytes;
    for (int i = 0; i < 256; i++) {
        const float value = (float)((i - 127.5) / 127.5 * sqrt(3.0) * deviation);
        const uint16_t half = type == SM_DTYPE_F16 ? sm_f32_to_f16(value) : sm_f32_to_bf16(value);
        const double wide = value;
        if (type == SM_DTYPE_F32)
            memcpy(values[i], &value, sizeof value);
        else if (type == SM_DTYPE_F64)
            memcpy(values[i], &wide, sizeof wide);
        else
            memcpy(values[i], &half, sizeof half);
    }
    uint64_t bits = 0;
    for (uint64_t i = 0; i < size / unit; i++) {
        bits = i % 8 == 0 ? next_random(state) : bits >> 8;
        memcpy(data + unit * i, values[bits & 255], unit);
    }
}

/* Bytes of a tensor that are filled between two questions, about. */
#define PIECE_BYTES ((uint64_t)1 << 20)

/* A piece of a tensor's data. */
static void fill_piece(const sm_tensor *t, uint8_t *data, uint64_t size, uint64_t *state) {
    const sm_filling *f = &sm_model_type_of(t->type)->filling;
    const double deviation = 1 / sqrt((double)t->dims[0]);
    const sm_slot *slot = sm_slot_by_name(t->name);
    const float value = slot && slot->role == SM_ROLE_BIAS ? 0 : 1;
    for (uint64_t i = 0; i < size && t->n_dims == 1; i += sizeof value)
        memcpy(data + i, &value, sizeof value);
    if (t->n_dims == 1)
        return;
    if (f->d < 0) {
        fill_floats(data, size, t->type, deviation, state);
    } else {
        fill_random(data, size, state);
        if (f->factor == SM_FACTOR_PAIRS)
            centre_pairs(data, size);
        fill_factors(data, size, sm_dtype_get(t->type)->block_bytes, f, deviation);
    }
}

/* t's data, in the image, which is writable. False: the hook said so. */
static bool fill_tensor(const sm_tensor *t, uint8_t *data, uint64_t seed, const sm_hook *hook,
                        uint64_t done, uint64_t total) {
    uint64_t state = seed | 1; /* 0 would stay 0 */
    /* whole blocks, and whole numbers of the random sequence: a piece goes on with it */
    const uint64_t unit = 8 * (uint64_t)sm_dtype_get(t->type)->block_bytes;
    const uint64_t piece = PIECE_BYTES / unit * unit;
    for (uint64_t at = 0, n; at < t->size; at += n) {
        n = t->size - at < piece ? t->size - at : piece;
        if (sm_hook_ends(hook, done, total))
            return false;
        fill_piece(t, data + at, n, &state);
    }
    return true;
}

/* ---- the model ------------------------------------------------------------------------------- */

static sm_status make_image(uint8_t **image, uint64_t *size, sm_mem *mem, const recipe *r,
                            sm_error *error) {
    shape s = *r->shape;
    sm_new_model model;
    sm_gguf_writer *w;
    sm_status status = sm_new_model_plan(&model, mem, s.name, put_keys, &s, error);
    if (!status)
        status = sm_gguf_writer_new(&w, mem, s.name, 3, SM_GGUF_DEFAULT_ALIGNMENT, error);
    if (!status) {
        put_keys(&s, w);
        const sm_mixture_model sizes = {s.n_layer, s.n_head, s.n_head_kv, .has_output = s.untied};
        sm_net_each_tensor(model.net, s.n_vocab, s.untied, declare, &(declaring){w, r, sizes});
        status = sm_gguf_writer_image(w, image, size, error);
    }
    sm_new_model_free(&model, mem);
    return status;
}

/* The image and the view of it in *gguf; both are the caller's, also on failure. Asks the hook:
 * tensors done of all. */
static sm_status make_file(uint8_t **image, uint64_t *size, sm_source **source, sm_mem *mem,
                           const recipe *r, const sm_hook *hook, sm_error *error) {
    sm_status status = make_image(image, size, mem, r, error);
    if (!status)
        status = sm_source_open_bytes(source, mem, *image, *size, r->shape->name, error);
    for (uint64_t i = 0; !status && i < (*source)->n_tensors; i++) {
        const sm_tensor *t = &(*source)->tensors[i];
        /* an odd multiplier keeps the tensors' numbers apart */
        if (!fill_tensor(t, *image + (t->data - *image),
                         (r->seed * 1000003 + i + 1) * 0x9E3779B97F4A7C15u, hook, i,
                         (*source)->n_tensors))
            status = sm_fail(error, SM_ERR_CANCELLED, "%s: cancelled", r->shape->name);
    }
    return status;
}

static sm_status open_random(sm_model *model, const void *what, const sm_model_options *o,
                             sm_error *error) {
    uint64_t size;
    return make_file(&model->image, &size, &model->source, model->mem, what,
                     &(sm_hook){o->progress, o->progress_user}, error);
}

sm_status sm_model_random(sm_model **out, const char *shape_name, const char *type, uint64_t seed,
                          const sm_model_options *options, sm_error *error) {
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_model_random: out is NULL");
    *out = NULL;
    recipe r;
    sm_status status = read_recipe(&r, "sm_model_random", shape_name, type, seed, error);
    return status ? status : sm_model_make(out, r.shape->name, open_random, &r, options, error);
}

static sm_status save(const char *path, sm_mem *mem, const recipe *r, const sm_model_options *o,
                      sm_error *error) {
    uint8_t *image = NULL;
    uint64_t size = 0;
    sm_source *source = NULL;
    sm_file_writer *writer; /* first: a path that cannot be written to costs no time */
    sm_status status = sm_file_writer_open(&writer, mem, path, error);
    if (status)
        return status;
    const sm_hook hook = {o->progress, o->progress_user};
    status = make_file(&image, &size, &source, mem, r, &hook, error);
    for (uint64_t at = 0, n; at < size && !status; at += n) {
        n = size - at < SM_WRITE_PIECE ? size - at : SM_WRITE_PIECE;
        status = sm_hook_ends(&hook, at, size)
                     ? sm_fail(error, SM_ERR_CANCELLED, "%s: writing was cancelled", path)
                     : sm_file_write(writer, image + at, n, error);
    }
    if (!status && sm_hook_ends(&hook, size, size))
        status = sm_fail(error, SM_ERR_CANCELLED, "%s: writing was cancelled", path);
    sm_source_close(source);
    sm_free(mem, image);
    if (!status)
        return sm_file_commit(writer, error);
    sm_file_abort(writer);
    return status;
}

sm_status sm_model_random_save(const char *path, const char *shape_name, const char *type,
                               uint64_t seed, const sm_model_options *options, sm_error *error) {
    if (!path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_model_random_save: path is NULL");
    recipe r;
    sm_model_options o;
    sm_mem *mem;
    sm_status status = read_recipe(&r, "sm_model_random_save", shape_name, type, seed, error);
    if (!status)
        status = sm_options_take(&o, sizeof o, options, SM_OPTIONS_MODEL, error);
    if (!status)
        status = sm_mem_create(&mem, o.allocator, o.memory_limit, error);
    if (status)
        return status;
    sm_ask asked;
    sm_join_progress(&asked, &o.progress, &o.progress_user, o.cancel_flag);
    status = save(path, mem, &r, &o, error);
    sm_logger_drop(o.log);
    sm_mem_destroy(mem);
    return status;
}
