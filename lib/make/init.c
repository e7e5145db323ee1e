/* A model with random weights and another file's vocabulary, to train from scratch. */
#include "make.h"
#include "nn/nn.h"
#include "run/run.h"
#include "smallmind/generate.h"
#include "smallmind/train.h"

#include <math.h>
#include <string.h>

#define SPREAD 0.02 /* standard deviation of the weights, as in GPT-2 */
#define NORM_EPS 1e-5f

typedef struct plan {
    sm_model_init_options o;
    char architecture[32];
    uint32_t head_dim, n_vocab;
} plan;

/* ---- random numbers: depend on seed, tensor and place only --------------------------------- */

static double uniform(uint64_t bits) { /* (0, 1] */
    return ((double)(bits >> 11) + 1) * 0x1p-53;
}

/* Weights [first, first + n) of a tensor; first is even. */
static void fill_normal(float *x, uint64_t first, uint64_t n, uint64_t key, double spread) {
    for (uint64_t i = 0; i < n; i += 2) { /* Box-Muller */
        const uint64_t at = key + 2 * (first + i);
        const double r = sqrt(-2 * log(uniform(sm_mix64(at)))) * spread;
        const double a = 6.283185307179586 * uniform(sm_mix64(at + 1));
        x[i] = (float)(r * cos(a));
        if (i + 1 < n)
            x[i + 1] = (float)(r * sin(a));
    }
}

/* ---- tensors -------------------------------------------------------------------------------- */

/* Sees every tensor in file order; both passes (declare, write) use it. */
typedef struct visitor {
    const plan *p;
    sm_gguf_writer *w;
    float *room; /* NULL: declare */
    uint64_t n;
    uint64_t done, total; /* weights written, and of all tensors */
    sm_status status;
    sm_error *error;
} visitor;

/* Weights that are made and written between two questions: some milliseconds. */
#define PIECE_WEIGHTS 65536

/* Weights [at, at + n) of a tensor. */
static void fill(const visitor *v, const sm_new_tensor *t, uint64_t at, uint64_t n) {
    const sm_model_init_options *o = &v->p->o;
    const sm_role role = t->slot ? t->slot->role : SM_ROLE_MATRIX;
    const bool residual = role == SM_ROLE_RESIDUAL || role == SM_ROLE_DOWN;
    if (role == SM_ROLE_NORM || role == SM_ROLE_BIAS)
        for (uint64_t i = 0; i < n; i++)
            v->room[i] = role == SM_ROLE_NORM;
    else
        fill_normal(v->room, at, n, sm_mix64(o->seed ^ sm_mix64(v->n)),
                    residual ? SPREAD / sqrt(2.0 * (double)o->n_layer) : SPREAD);
}

static sm_status write_piece(visitor *v, const sm_new_tensor *t, uint64_t at, uint64_t n) {
    const sm_model_init_options *o = &v->p->o;
    if (o->progress && o->progress(o->progress_user, v->done, v->total))
        return sm_fail(v->error, SM_ERR_CANCELLED, "cancelled");
    fill(v, t, at, n);
    v->done += n;
    return sm_gguf_write_part(v->w, v->room, n * sizeof(float), v->error);
}

static bool visit(void *user, const sm_new_tensor *t) {
    visitor *v = user;
    if (!v->room) {
        sm_new_tensor_declare(v->w, t, SM_DTYPE_F32);
        v->total += sm_new_tensor_weights(t);
        return true;
    }
    const uint64_t size = sm_new_tensor_weights(t);
    for (uint64_t at = 0, n; at < size && !v->status; at += n) {
        n = size - at < PIECE_WEIGHTS ? size - at : PIECE_WEIGHTS;
        v->status = write_piece(v, t, at, n);
    }
    v->n++;
    return !v->status;
}

/* ---- keys ---------------------------------------------------------------------------------- */

static void put_keys(void *user, sm_gguf_writer *w) {
    const plan *p = user;
    char name[64];
#define KEY(suffix) (sm_format(name, sizeof name, "%s." suffix, p->architecture), name)
    sm_gguf_put_str(w, SM_K_ARCHITECTURE, p->architecture, strlen(p->architecture));
    if (p->o.name)
        sm_gguf_put_str(w, SM_K_NAME, p->o.name, strlen(p->o.name));
    sm_gguf_put_u32(w, SM_K_FILE_TYPE, sm_file_type_of(SM_DTYPE_F32));
    sm_gguf_put_u32(w, KEY(SM_K_CONTEXT), p->o.n_ctx);
    sm_gguf_put_u32(w, KEY(SM_K_EMBD), p->o.n_embd);
    sm_gguf_put_u32(w, KEY(SM_K_LAYERS), p->o.n_layer);
    sm_gguf_put_u32(w, KEY(SM_K_FF), p->o.n_ff);
    sm_gguf_put_u32(w, KEY(SM_K_HEADS), p->o.n_head);
    sm_gguf_put_u32(w, KEY(SM_K_HEADS_KV), p->o.n_head_kv);
    sm_gguf_put_u32(w, KEY(SM_K_KEY_LENGTH), p->head_dim);
    sm_gguf_put_u32(w, KEY(SM_K_VALUE_LENGTH), p->head_dim);
    if (p->o.sliding_window)
        sm_gguf_put_u32(w, KEY(SM_K_WINDOW), p->o.sliding_window);
    sm_gguf_put_u32(w, KEY(SM_K_ROPE_DIMS), p->head_dim);
    sm_gguf_put_u32(w, KEY(SM_K_VOCAB_SIZE), p->n_vocab);
    sm_gguf_put_f32(w, KEY(SM_K_RMS_EPS), NORM_EPS);
    if (p->o.architecture) /* which kind of norm it has is the plan's to know */
        sm_gguf_put_f32(w, KEY(SM_K_LAYER_EPS), NORM_EPS);
    sm_gguf_put_f32(w, KEY(SM_K_ROPE_BASE), (float)p->o.rope_theta);
#undef KEY
}

/* The option's names are those of the families. */
static void name_family(plan *p) {
    uint32_t n;
    uint64_t length;
    const sm_option *options = sm_options_table(SM_OPTIONS_INIT, &n);
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(options[i].name, "family") == 0) {
            const char *name = sm_names_get(options[i].names, p->o.family, &length);
            sm_format(p->architecture, sizeof p->architecture, "%.*s", (int)length, name);
        }
}

/* Of a directory's tokenizer.json, which is copied as it is, or of a file that was made so. */
static sm_status count_json(plan *p, sm_mem *mem, const sm_source *vocabulary, sm_error *error) {
    sm_tokenizer *tokenizer;
    sm_tokenizer_info info = {.struct_size = sizeof info};
    sm_status status =
        vocabulary->directory
            ? sm_vocab_from_directory(&tokenizer, mem, vocabulary->directory, NULL, error)
            : sm_vocab_from_gguf(&tokenizer, mem, vocabulary, NULL, NULL, NULL, error);
    if (status)
        return status;
    status = sm_tokenizer_get_info(tokenizer, &info, error);
    p->n_vocab = (uint32_t)info.n_vocab;
    sm_tokenizer_free(tokenizer);
    return status;
}

static bool has_json(const sm_source *vocabulary) {
    char path[4096];
    if (!vocabulary->directory)
        return sm_source_find_key(vocabulary, SM_K_TOKENIZER_JSON) != NULL;
    return sm_format(path, sizeof path, "%s/tokenizer.json", vocabulary->directory) < sizeof path &&
           sm_path_is_file(path);
}

static sm_status count_tokens(plan *p, sm_mem *mem, const sm_source *vocabulary, sm_error *error) {
    const sm_key *tokens = sm_source_find_key(vocabulary, SM_K_TOKENS);
    if (!tokens && has_json(vocabulary))
        return count_json(p, mem, vocabulary, error);
    if (!tokens || tokens->type != SM_KEY_ARRAY || tokens->element != SM_KEY_STRING ||
        !tokens->count)
        return sm_fail(error, SM_ERR_MISSING, "%s: %s is missing: it has no vocabulary",
                       vocabulary->path,
                       vocabulary->directory ? "tokenizer.json" : "key 'tokenizer.ggml.tokens'");
    if (tokens->count > INT32_MAX)
        return sm_fail(error, SM_ERR_UNSUPPORTED, "%s: the vocabulary is too large",
                       vocabulary->path);
    p->n_vocab = (uint32_t)tokens->count;
    return SM_OK;
}

static sm_status make_plan(plan *p, sm_mem *mem, const sm_source *vocabulary, sm_error *error) {
    sm_model_init_options *o = &p->o;
    const sm_status status = count_tokens(p, mem, vocabulary, error);
    if (status)
        return status;
    if (o->architecture)
        sm_format(p->architecture, sizeof p->architecture, "%s", o->architecture);
    else
        name_family(p);
    if (!o->n_head)
        o->n_head = o->n_embd / 32 ? o->n_embd / 32 : 1;
    if (!o->n_head_kv)
        o->n_head_kv = o->n_head;
    if (!o->n_ff)
        o->n_ff = (o->n_embd * 8 / 3 + 31) / 32 * 32;
    if (o->n_embd % o->n_head || (o->n_embd / o->n_head) % 2)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "n_embd %u cannot be divided into %u heads of even size", o->n_embd,
                       o->n_head);
    if (o->n_head % o->n_head_kv)
        return sm_fail(error, SM_ERR_ARGUMENT, "n_head_kv %u does not divide n_head %u",
                       o->n_head_kv, o->n_head);
    p->head_dim = o->n_embd / o->n_head;
    if (p->head_dim > SM_MAX_HEAD_DIM)
        return sm_fail(error, SM_ERR_ARGUMENT, "heads of %u are larger than %d", p->head_dim,
                       SM_MAX_HEAD_DIM);
    return SM_OK;
}

static sm_status write_model(sm_mem *mem, plan *p, const sm_net *net, const char *path,
                             const sm_source *vocabulary, sm_error *error) {
    sm_gguf_writer *w;
    sm_status status = sm_gguf_writer_open(&w, mem, path, 3, SM_GGUF_DEFAULT_ALIGNMENT, error);
    if (status)
        return status;
    put_keys(p, w);
    sm_gguf_copy_keys(w, vocabulary, SM_KEYS_BUT_VOCABULARY);
    visitor v = {.p = p, .w = w, .error = error};
    sm_net_each_tensor(net, p->n_vocab, p->o.untied, visit, &v);
    v.room = sm_alloc_array(mem, PIECE_WEIGHTS, sizeof *v.room);
    if (v.room) {
        sm_net_each_tensor(net, p->n_vocab, p->o.untied, visit, &v);
        status = v.status;
    } else {
        status = sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
    }
    sm_free(mem, v.room);
    return sm_gguf_writer_end(w, status, error);
}

sm_status sm_model_init(const char *path, const char *vocabulary_path,
                        const sm_model_init_options *options, sm_error *error) {
    plan p = {0};
    if (!path || !vocabulary_path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_model_init: a path is NULL");
    sm_status status = sm_options_take(&p.o, sizeof p.o, options, SM_OPTIONS_INIT, error);
    if (status)
        return status;
    sm_ask asked;
    sm_mem *mem;
    sm_join_progress(&asked, &p.o.progress, &p.o.progress_user, p.o.cancel_flag);
    status = sm_mem_create(&mem, p.o.allocator, 0, error);
    if (status)
        return status;
    sm_source *vocabulary = NULL;
    status = sm_source_open(&vocabulary, mem, vocabulary_path, true, error);
    if (!status)
        status = sm_source_expect(
            vocabulary, SM_GGUF_HOLDS_MODEL | SM_GGUF_HOLDS_PACKED | SM_GGUF_HOLDS_VOCABULARY,
            error);
    if (!status)
        status = make_plan(&p, mem, vocabulary, error);
    sm_new_model model = {0};
    if (!status)
        status = sm_new_model_plan(&model, mem, path, put_keys, &p, error);
    if (!status)
        status = write_model(mem, &p, model.net, path, vocabulary, error);
    sm_new_model_free(&model, mem);
    sm_source_close(vocabulary);
    sm_mem_destroy(mem);
    return status;
}
