/* Adapter files, and adapters of a session. */
#include "run.h"

#include <math.h>
#include <string.h>

typedef struct loader {
    sm_adapter *a;
    const sm_source *source;
    const sm_hook *hook;
    sm_error *error;
} loader;

/* ---- names --------------------------------------------------------------------------------- */

/* The matrix that a tensor name stands for; NULL if none of that name can be adapted. */
static const sm_weight *find_matrix(const sm_net *net, const char *name, uint64_t length) {
    for (uint32_t i = 0; i < net->n_matrices; i++) {
        const sm_weight *w = &net->matrices[i];
        if ((w != net->head || !sm_net_tied(net)) && strlen(w->name) == length &&
            !memcmp(w->name, name, length))
            return w;
    }
    return NULL;
}

/* What a pair adapts: matrices side by side in the net's list (of stacks: in each expert's part of
 * it), whose rows are those of B one after the other. */
typedef struct target {
    const sm_weight *w; /* the first; NULL: none */
    uint32_t n;
    uint64_t rows;
} target;

/* Takes one of that name, rather one with as many rows as B has. */
static void consider(target *best, const sm_weight *w, uint32_t n, uint64_t rows_of_b) {
    target other = {w, n, 0};
    for (uint32_t i = 0; i < n; i++)
        other.rows += w[i].rows;
    if (!best->w || (best->rows != rows_of_b && other.rows == rows_of_b))
        *best = other;
}

/* The matrices of a join, if the block has them all; NULL if not. */
static const sm_weight *joinable(const sm_block *b, uint32_t i) {
    const sm_join *join = &b->kind->join[i];
    const sm_weight *w = b->w[join->first];
    for (uint32_t j = 1; w && j < join->n; j++)
        if (b->w[join->first + j] != w + j)
            w = NULL;
    return b->may_join >> i & 1 ? w : NULL;
}

static bool same_name(const char *own, const char *name, uint64_t length) {
    return strlen(own) == length && !memcmp(own, name, length);
}

/* An adapter may be of a file that has joined what this one has apart, or the other way round. Its
 * B's rows say which where both have the name (ffn_up, with the gate in it or without). */
static target find_target(const sm_net *net, const char *name, uint64_t length,
                          uint64_t rows_of_b) {
    char own[128];
    target found = {0};
    const sm_weight *exact = find_matrix(net, name, length);
    if (exact)
        consider(&found, exact, exact->n_parts, rows_of_b);
    for (uint32_t k = 0; k < net->n_blocks && (!found.w || found.rows != rows_of_b); k++) {
        const sm_block *b = &net->blocks[k];
        for (uint32_t i = 0; i < b->kind->n_slots; i++) {
            if (!b->w[i] || b->w[i]->n_parts == 1)
                continue; /* under its own name already */
            sm_slot_own_name(b, i, own, sizeof own);
            if (same_name(own, name, length))
                consider(&found, b->w[i], 1, rows_of_b);
        }
        for (uint32_t i = 0; i < b->kind->n_joins; i++) {
            sm_join_name(b, &b->kind->join[i], own, sizeof own);
            if (joinable(b, i) && same_name(own, name, length))
                consider(&found, joinable(b, i), b->kind->join[i].n, rows_of_b);
        }
    }
    return found;
}

/* Length of a tensor's name without `ending`; 0 if it does not end so. */
static uint64_t stem(const char *name, const char *ending) {
    const uint64_t n = strlen(name), m = strlen(ending);
    return n > m && !strcmp(name + n - m, ending) ? n - m : 0;
}

/* ---- loading --------------------------------------------------------------------------------- */

static sm_status fits(const loader *l, const sm_tensor *t, const sm_weight *w, uint64_t cols,
                      uint64_t rows) {
    const uint32_t depth = w->n_experts ? w->n_experts : 1;
    if (t->n_dims != (w->n_experts ? 3 : 2) || t->dims[0] != cols || t->dims[1] != rows ||
        t->dims[2] != depth)
        return sm_fail(l->error, SM_ERR_SHAPE,
                       "%s: tensor '%s' is %llu x %llu x %llu, but for '%s' of this model it must "
                       "be %llu x %llu x %u",
                       l->source->path, t->name, (unsigned long long)t->dims[0],
                       (unsigned long long)t->dims[1], (unsigned long long)t->dims[2], w->name,
                       (unsigned long long)cols, (unsigned long long)rows, depth);
    if (!l->a->model->net->kernels->type[t->type].dequantize)
        return sm_fail(l->error, SM_ERR_UNSUPPORTED, "%s: tensor '%s': type %s cannot be computed",
                       l->source->path, t->name, sm_key_type_name(t->type));
    return SM_OK;
}

/* What both halves have for one matrix, whose rows in B begin at `row`; those behind the first of a
 * target share its A. */
static sm_status load_one(const loader *l, const sm_weight *w, bool shares, uint64_t row,
                          const sm_tensor *a, const sm_tensor *b) {
    sm_adapter *to = l->a;
    sm_lora *place = &to->low.lora[w->index];
    const sm_kernels *kernels = to->model->net->kernels;
    const uint64_t rank = a->dims[1];
    sm_status status = SM_OK;
    if (place->b.rows)
        return sm_fail(l->error, SM_ERR_FORMAT,
                       "%s: tensor '%s' adapts what another one of this file adapts, too",
                       l->source->path, a->name);
    place->shares = shares;
    if (shares) {
        place->a = place[-1].a;
        place->a.own_packed = NULL;
    } else {
        status = sm_weight_load_f32(&place->a, to->mem, kernels, l->source, a, w->expert * rank,
                                    rank, l->error);
    }
    if (!status)
        status =
            sm_weight_load_f32(&place->b, to->mem, kernels, l->source, b, row, w->rows, l->error);
    /* llama.cpp takes 1 where alpha is 0 */
    place->scale = to->info.alpha != 0 ? (float)(to->info.alpha / (double)a->dims[1]) : 1.0f;
    return status;
}

static sm_status load_target(const loader *l, const target *to, const sm_tensor *a,
                             const sm_tensor *b) {
    sm_status status = SM_OK;
    for (uint32_t e = 0; !e || e < to->w->n_experts; e++) {
        const sm_weight *w = to->w + (uint64_t)e * to->w->stride;
        uint64_t row = e * to->rows;
        for (uint32_t i = 0; i < to->n && !status; row += w[i++].rows)
            status = load_one(l, &w[i], i > 0, row, a, b);
    }
    return status;
}

/* The pair whose first half is tensor t. */
static sm_status load_pair(const loader *l, const sm_tensor *t, uint64_t length) {
    sm_adapter *a = l->a;
    char name[256];
    if (length > sizeof name - 8)
        return sm_fail(l->error, SM_ERR_FORMAT, "%s: the name of tensor '%.*s' is too long",
                       l->source->path, 100, t->name);
    sm_format(name, sizeof name, "%.*s.lora_b", (int)length, t->name);
    const sm_tensor *b = sm_source_find_tensor(l->source, name);
    const target to = find_target(a->model->net, t->name, length, b ? b->dims[1] : 0);
    const sm_weight *w = to.w;
    if (!w)
        return sm_fail(l->error, SM_ERR_UNSUPPORTED,
                       "%s: tensor '%s' adapts nothing that this model can have adapted",
                       l->source->path, t->name);
    if (!b)
        return sm_fail(l->error, SM_ERR_MISSING, "%s: tensor '%s' is missing", l->source->path,
                       name);
    const uint64_t rank = t->dims[1];
    if (rank == 0 || rank > INT32_MAX)
        return sm_fail(l->error, SM_ERR_SHAPE, "%s: tensor '%s' has rank %llu", l->source->path,
                       t->name, (unsigned long long)rank);
    sm_status status = fits(l, t, w, w->cols, rank);
    if (!status)
        status = fits(l, b, w, rank, to.rows);
    if (!status)
        status = sm_tensor_check(l->source, t, a->model->net->kernels, a->mem, NULL, l->error);
    if (!status)
        status = sm_tensor_check(l->source, b, a->model->net->kernels, a->mem, NULL, l->error);
    if (!status)
        status = load_target(l, &to, t, b);
    a->info.n_matrices++;
    a->info.max_rank = rank > a->info.max_rank ? (uint32_t)rank : a->info.max_rank;
    a->info.n_weights += rank * ((uint64_t)w->cols + to.rows) * (w->n_experts ? w->n_experts : 1);
    return status;
}

static sm_status expect_text(const loader *l, const char *key, const char *want) {
    const char *text;
    uint64_t length;
    sm_status status = sm_source_get_str(l->source, key, &text, &length, l->error);
    if (!status && (length != strlen(want) || memcmp(text, want, length) != 0))
        status = sm_fail(l->error, SM_ERR_UNSUPPORTED, "%s: key '%s' is '%.*s', not '%s'",
                         l->source->path, key, (int)(length < 60 ? length : 60), text, want);
    return status;
}

static sm_status load_all(const loader *l) {
    sm_adapter *a = l->a;
    sm_status status = sm_source_expect(l->source, SM_GGUF_HOLDS_ADAPTER, l->error);
    if (!status)
        status = expect_text(l, SM_K_TYPE, "adapter");
    if (!status)
        status = expect_text(l, SM_K_ADAPTER_TYPE, "lora");
    if (!status)
        status = expect_text(l, SM_K_ARCHITECTURE, a->model->net->config.architecture);
    if (!status && sm_source_find_key(l->source, SM_K_ADAPTER_ALPHA))
        status = sm_source_get_f64(l->source, SM_K_ADAPTER_ALPHA, &a->info.alpha, l->error);
    if (!status && !isfinite(a->info.alpha))
        status = sm_fail(l->error, SM_ERR_FORMAT, "%s: key 'adapter.lora.alpha' is not finite",
                         l->source->path);
    for (uint64_t i = 0; i < l->source->n_tensors && !status; i++) {
        const sm_tensor *t = &l->source->tensors[i];
        uint64_t length = stem(t->name, ".lora_a");
        if (sm_hook_ends(l->hook, i, l->source->n_tensors))
            return sm_fail(l->error, SM_ERR_CANCELLED, "%s: loading was cancelled",
                           l->source->path);
        if (length) {
            status = load_pair(l, t, length);
            continue;
        }
        length = stem(t->name, ".lora_b");
        char name[256];
        if (!length || length > sizeof name - 8)
            return sm_fail(l->error, SM_ERR_UNSUPPORTED,
                           "%s: tensor '%.*s' is neither lora_a nor lora_b of a matrix",
                           l->source->path, 100, t->name);
        sm_format(name, sizeof name, "%.*s.lora_a", (int)length, t->name);
        if (!sm_source_find_tensor(l->source, name))
            status = sm_fail(l->error, SM_ERR_MISSING, "%s: tensor '%s' is missing",
                             l->source->path, name);
    }
    if (!status && !a->info.n_matrices)
        status = sm_fail(l->error, SM_ERR_MISSING, "%s: the adapter is empty", l->source->path);
    return status;
}

sm_status sm_adapter_load(sm_adapter **out, const sm_model *model, const char *path,
                          const sm_adapter_options *options, sm_error *error) {
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_adapter_load: out is NULL");
    *out = NULL;
    if (!model || !path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_adapter_load: model or path is NULL");
    const sm_origin origin = {.struct_size = sizeof origin, .name = path};
    return sm_adapter_load_from(out, model, &origin, options, error);
}

sm_status sm_adapter_load_from(sm_adapter **out, const sm_model *model, const sm_origin *origin,
                               const sm_adapter_options *options, sm_error *error) {
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_adapter_load_from: out is NULL");
    *out = NULL;
    if (!model)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_adapter_load_from: model is NULL");
    sm_origin taken;
    sm_adapter_options o;
    sm_status status = sm_origin_take(&taken, origin, "sm_adapter_load_from", error);
    if (status)
        return status;
    status = sm_options_take(&o, sizeof o, options, SM_OPTIONS_ADAPTER, error);
    if (status)
        sm_origin_drop(&taken);
    sm_ask asked;
    sm_join_progress(&asked, &o.progress, &o.progress_user, status ? NULL : o.cancel_flag);
    const sm_hook hook = {o.progress, o.progress_user};
    return status ? status : sm_adapter_open(out, model, &taken, &hook, error);
}

/* A directory is read for this model: llama.cpp's files say the same by their names. */
sm_status sm_adapter_source(sm_source **out, const sm_model *model, const sm_origin *origin,
                            const sm_hook *hook, sm_error *error) {
    if (origin->kind != SM_ORIGIN_PATH || !sm_directory_is_adapter(origin->name))
        return sm_source_open_origin(out, model->mem, origin, true, hook, error);
    const sm_status status =
        sm_source_open_adapter(out, model->mem, origin->name, true, model->source, hook, error);
    sm_origin_drop(origin);
    return status;
}

sm_status sm_adapter_open(sm_adapter **out, const sm_model *model, const sm_origin *origin,
                          const sm_hook *hook, sm_error *error) {
    *out = NULL;
    sm_mem *mem = model->mem;
    sm_source *source;
    sm_status status = sm_adapter_source(&source, model, origin, hook, error);
    if (status)
        return status;
    sm_adapter *a = sm_alloc_zero(mem, sizeof *a);
    if (a) {
        a->mem = mem;
        a->model = model;
        atomic_init(&a->references, 1);
        sm_model_retain(model);
        a->low.lora = sm_alloc_zero(mem, model->net->n_matrices * sizeof *a->low.lora);
    }
    if (!a || !a->low.lora)
        status = sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", origin->name);
    if (!status) {
        a->fingerprint = sm_source_fingerprint(source);
        status = load_all(&(loader){a, source, hook, error});
    }
    sm_source_close(source);
    if (status)
        sm_adapter_free(a);
    else
        *out = a;
    return status;
}

static void free_lora(sm_mem *mem, sm_lora *lora) {
    sm_free(mem, lora->a.own_packed);
    sm_free(mem, lora->b.own_packed);
}

void sm_adapter_free(sm_adapter *a) {
    if (!a || atomic_fetch_sub_explicit(&a->references, 1, memory_order_acq_rel) != 1)
        return;
    sm_model *model = (sm_model *)(uintptr_t)a->model;
    for (uint32_t i = 0; a->low.lora && i < model->net->n_matrices; i++)
        free_lora(a->mem, &a->low.lora[i]);
    sm_free(a->mem, a->low.lora);
    sm_free(a->mem, a);
    sm_model_free(model);
}

static const sm_wide info_wide[] = {SM_WIDE_FROM(sm_adapter_info, alpha), {0, 0, 0}};

sm_status sm_adapter_get_info(const sm_adapter *a, sm_adapter_info *info, sm_error *error) {
    if (!a)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_adapter_get_info: adapter is NULL");
    return sm_struct_give(info, &a->info, sizeof a->info, info_wide, "sm_adapter_get_info", error);
}

/* ---- of sessions ----------------------------------------------------------------------------- */

static uint32_t find_attached(const sm_session *s, const sm_adapter *a) {
    uint32_t i = 0;
    while (i < s->adapters.n && s->attached[i] != a)
        i++;
    return i;
}

sm_status sm_adapter_put(sm_session *s, const sm_adapter *a, double scale, sm_error *error) {
    if (a->model != s->model)
        return sm_fail(error, SM_ERR_ARGUMENT, "the adapter was loaded for another model");
    if (!isfinite(scale) || !isfinite((float)scale))
        return sm_fail(error, SM_ERR_ARGUMENT, "scale %g is not finite", scale);
    const uint32_t i = find_attached(s, a);
    if (i == SM_MAX_ADAPTERS)
        return sm_fail(error, SM_ERR_STATE, "a session takes %d adapters at most", SM_MAX_ADAPTERS);
    if (i == s->adapters.n) {
        uint64_t width = sm_adapter_width(&a->low, s->model->net);
        for (uint32_t j = 0; j < s->adapters.n; j++)
            width += sm_adapter_width(&s->attached[j]->low, s->model->net);
        sm_status status = sm_workspace_adapt(s->batch->workspace, width, false, error);
        if (status)
            return status;
        atomic_fetch_add_explicit(&((sm_adapter *)(uintptr_t)a)->references, 1,
                                  memory_order_relaxed);
        s->attached[i] = a;
        s->adapter[i] = &a->low;
        s->adapters.n++;
    }
    s->adapter_scale[i] = (float)scale;
    return SM_OK;
}

sm_status sm_adapter_take(sm_session *s, const sm_adapter *a, sm_error *error) {
    const uint32_t i = find_attached(s, a);
    if (i == s->adapters.n)
        return sm_fail(error, SM_ERR_ARGUMENT, "the adapter is not attached to this session");
    for (uint32_t j = i; j + 1 < s->adapters.n; j++) {
        s->attached[j] = s->attached[j + 1];
        s->adapter[j] = s->adapter[j + 1];
        s->adapter_scale[j] = s->adapter_scale[j + 1];
    }
    s->adapters.n--;
    sm_adapter_free((sm_adapter *)(uintptr_t)a);
    return SM_OK;
}

void sm_adapter_take_all(sm_session *s) {
    while (s->adapters.n)
        sm_adapter_free((sm_adapter *)(uintptr_t)s->attached[--s->adapters.n]);
}

bool sm_adapter_same(const sm_session *a, const sm_session *b) {
    bool same = a->adapters.n == b->adapters.n;
    for (uint32_t i = 0; same && i < a->adapters.n; i++)
        same = a->attached[i] == b->attached[i] && a->adapter_scale[i] == b->adapter_scale[i];
    return same;
}
