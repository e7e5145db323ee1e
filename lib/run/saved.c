/* A session in a file: a sealed GGUF file with what continuing it takes, and these keys:
 *
 *   general.type                "session"
 *   smallmind.session.version   1: of all that follows
 *   smallmind.session.model     sm_source_fingerprint of the model
 *   smallmind.session.adapters  hash of the adapters attached and of their scales
 *   smallmind.session.level     instruction-set level that computed it, by name
 *   smallmind.session.counts    u64: in the order of enum below
 *   smallmind.state.N           each part of the state (lib/nn/state/kept.c)
 *
 * The tensors are the state's, then session.ids (I32), session.logits (F32) and session.trail (F64:
 * token, or -1, and mu before and after each choice of mirostat), where there are any.
 */
#include "run.h"

#include <string.h>

#define VERSION 1
#define KEY_VERSION "smallmind.session.version"
#define KEY_MODEL "smallmind.session.model"
#define KEY_ADAPTERS "smallmind.session.adapters"
#define KEY_LEVEL "smallmind.session.level"
#define KEY_COUNTS "smallmind.session.counts"
#define IDS "session.ids"
#define LOGITS "session.logits"
#define CHOICES "session.trail"
#define ALIGNMENT 64
#define HEADER_MOST ((uint64_t)16 << 20) /* bytes of all that is no data, with room to spare */

enum { LENGTH, REACHED, HAS_LOGITS, CONTEXT, FLOOR, KEPT, DROPPED, TRAIL, GONE, GONE_AT, COUNTS };

static uint64_t hash_adapters(const sm_session *s) {
    uint64_t h = 0;
    for (uint32_t i = 0; i < s->adapters.n; i++) {
        h = sm_hash_bytes(h, &s->attached[i]->fingerprint, sizeof s->attached[i]->fingerprint);
        h = sm_hash_bytes(h, &s->adapter_scale[i], sizeof s->adapter_scale[i]);
    }
    return h;
}

static const char *level_of(const sm_session *s) {
    return sm_level_name(s->model->net->kernels->level);
}

static int32_t ask(void *user, uint64_t done, uint64_t total) {
    const sm_session *s = user;
    (void)done;
    (void)total;
    return s->cancel && s->cancel(s->cancel_user);
}

static sm_hook hook_of(const sm_session *s) {
    return (sm_hook){ask, (void *)(uintptr_t)s};
}

/* Choices of mirostat that the present length leaves. */
static uint32_t trail_of(const sm_session *s) {
    return min_u32(s->trail.end, s->length + 1);
}

/* ---- save ------------------------------------------------------------------------------------ */

static void declare(const sm_session *s, sm_gguf_writer *w) {
    const uint64_t model = sm_source_fingerprint(s->model->source), adapters = hash_adapters(s);
    const uint64_t counts[COUNTS] = {[LENGTH] = s->length,
                                     [REACHED] = s->length ? s->state.reached : 0,
                                     [HAS_LOGITS] = s->has_logits,
                                     [CONTEXT] = s->n_ctx,
                                     [FLOOR] = min_u32(s->state.floor, s->length),
                                     [KEPT] = s->kept,
                                     [DROPPED] = s->dropped,
                                     [TRAIL] = trail_of(s),
                                     [GONE] = s->gone,
                                     [GONE_AT] = s->gone_at};
    const uint64_t length = s->length, n_vocab = s->model->net->config.n_vocab;
    sm_gguf_put_str(w, SM_K_TYPE, "session", 7);
    sm_gguf_put_u32(w, KEY_VERSION, VERSION);
    sm_gguf_put_scalar(w, KEY_MODEL, SM_KEY_UINT64, &model);
    sm_gguf_put_scalar(w, KEY_ADAPTERS, SM_KEY_UINT64, &adapters);
    sm_gguf_put_str(w, KEY_LEVEL, level_of(s), strlen(level_of(s)));
    sm_gguf_put_array(w, KEY_COUNTS, SM_KEY_UINT64, counts, COUNTS);
    sm_state_declare(&s->state, s->length, w);
    if (length)
        sm_gguf_declare_tensor(w, IDS, SM_DTYPE_I32, 1, &length, NULL);
    if (s->has_logits)
        sm_gguf_declare_tensor(w, LOGITS, SM_DTYPE_F32, 1, &n_vocab, NULL);
    const uint64_t choices = 3 * (uint64_t)trail_of(s);
    if (choices)
        sm_gguf_declare_tensor(w, CHOICES, SM_DTYPE_F64, 1, &choices, NULL);
    sm_gguf_declare_seal(w, NULL);
}

static sm_status write_trail(const sm_session *s, sm_gguf_writer *w, sm_error *error) {
    sm_status status = SM_OK;
    for (uint32_t i = 0; i < trail_of(s) && !status; i++) {
        const sm_trail_step *t = &s->trail.at[i];
        const double step[3] = {t->id, t->id < 0 ? 0 : t->before, t->id < 0 ? 0 : t->after};
        status = sm_gguf_write_part(w, step, sizeof step, error);
    }
    return status;
}

/* Ends the writer, which keeps the first failure. */
static sm_status write_all(const sm_session *s, sm_gguf_writer *w, sm_error *error) {
    const sm_hook hook = hook_of(s);
    sm_gguf_writer_ask(w, &hook);
    declare(s, w);
    sm_status status = sm_state_write(&s->state, s->length, w, error);
    if (!status && s->length)
        status = sm_gguf_write_tensor(w, s->ids, s->length * sizeof *s->ids, error);
    if (!status && s->has_logits)
        status = sm_gguf_write_tensor(w, s->logits,
                                      s->model->net->config.n_vocab * sizeof *s->logits, error);
    if (!status)
        status = write_trail(s, w, error);
    return sm_gguf_writer_end(w, status, error);
}

sm_status sm_session_save(const sm_session *s, const char *path, sm_error *error) {
    if (!s || !path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_save: session or path is NULL");
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    sm_gguf_writer *w;
    status = sm_gguf_writer_open(&w, s->mem, path, 3, ALIGNMENT, error);
    if (!status)
        status = write_all(s, w, error);
    sm_session_end(s);
    return status;
}

sm_status sm_session_save_bytes(const sm_session *s, void *buffer, uint64_t capacity,
                                uint64_t *size, sm_error *error) {
    if (size)
        *size = 0;
    if (!s || !size || (!buffer && capacity))
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_session_save_bytes: session, buffer or size is NULL");
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    sm_gguf_writer *w;
    status =
        sm_gguf_writer_into(&w, s->mem, "session", 3, ALIGNMENT, buffer, capacity, size, error);
    if (!status)
        status = write_all(s, w, error);
    sm_session_end(s);
    return status;
}

/* ---- load ------------------------------------------------------------------------------------ */

typedef struct loaded {
    const sm_source *source;
    uint64_t counts[COUNTS];
    const sm_tensor *ids, *logits, *trail; /* NULL: there are none */
} loaded;

static sm_status read_version(const sm_source *source, sm_error *error) {
    uint32_t version;
    if (sm_source_get_u32(source, KEY_VERSION, &version, NULL))
        return sm_fail(error, SM_ERR_FORMAT, "%s: is no saved session", source->path);
    return version == VERSION ? SM_OK
                              : sm_fail(error, SM_ERR_UNSUPPORTED,
                                        "%s: version %u of saved sessions; this library reads %d",
                                        source->path, version, VERSION);
}

static sm_status compare_u64(const sm_source *source, const char *name, uint64_t own,
                             const char *what, sm_error *error) {
    const sm_key *key = sm_source_find_key(source, name);
    if (!key || key->type != SM_KEY_UINT64)
        return sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' is missing or no u64", source->path,
                       name);
    return sm_load_le(key->data, 8) == own
               ? SM_OK
               : sm_fail(error, SM_ERR_ARGUMENT, "%s: a session of %s", source->path, what);
}

/* Another level would not have computed the same bits. */
static sm_status compare_level(const sm_session *s, const sm_source *source, sm_error *error) {
    const char *level;
    uint64_t length;
    const sm_status status = sm_source_get_str(source, KEY_LEVEL, &level, &length, error);
    if (status || same_text(level, length, level_of(s)))
        return status;
    return sm_fail(error, SM_ERR_ARGUMENT,
                   "%s: a session that level %.*s computed, and this model computes with %s",
                   source->path, length < 40 ? (int)length : 40, level, level_of(s));
}

static sm_status read_counts(const sm_session *s, loaded *l, sm_error *error) {
    const sm_key *key = sm_source_find_key(l->source, KEY_COUNTS);
    if (!key || key->type != SM_KEY_ARRAY || key->element != SM_KEY_UINT64 || key->count != COUNTS)
        return sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' is not %d u64", l->source->path,
                       KEY_COUNTS, COUNTS);
    for (uint32_t i = 0; i < COUNTS; i++)
        l->counts[i] = sm_load_le(key->data + 8 * i, 8);
    const uint64_t *c = l->counts;
    if (c[LENGTH] > c[REACHED] || c[HAS_LOGITS] > (c[LENGTH] != 0) || c[REACHED] > c[CONTEXT] ||
        c[FLOOR] > c[LENGTH] || c[KEPT] > c[CONTEXT] || c[DROPPED] > UINT64_MAX / 2 ||
        c[TRAIL] > c[LENGTH] + 1 || c[GONE] > UINT64_MAX / 2 || c[GONE_AT] > UINT32_MAX)
        return sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' contradicts itself", l->source->path,
                       KEY_COUNTS);
    if (c[REACHED] > s->n_ctx)
        return sm_fail(error, SM_ERR_CONTEXT_FULL,
                       "%s: a session that had %llu tokens; this one takes %u", l->source->path,
                       (unsigned long long)c[REACHED], s->n_ctx);
    return SM_OK;
}

/* Models with two sets of rotation factors compute with those that the context asks for. */
static sm_status compare_ropes(const sm_session *s, const loaded *l, sm_error *error) {
    const sm_net *net = s->model->net;
    const uint32_t theirs = (uint32_t)min_u64(l->counts[CONTEXT], UINT32_MAX);
    for (uint32_t i = 0; i < net->n_ropes; i++)
        if (sm_rope_angles(&net->ropes[i], theirs) != sm_rope_angles(&net->ropes[i], s->n_ctx))
            return sm_fail(error, SM_ERR_ARGUMENT,
                           "%s: a session of n_ctx %u, where this model rotates otherwise than "
                           "with %u",
                           l->source->path, theirs, s->n_ctx);
    return SM_OK;
}

static sm_status find(const loaded *l, const char *name, uint32_t type, uint64_t n,
                      const sm_tensor **out, sm_error *error) {
    const sm_tensor *t = n ? sm_source_find_tensor(l->source, name) : NULL;
    *out = t;
    return !n || (t && t->type == type && t->n_dims == 1 && t->dims[0] == n)
               ? SM_OK
               : sm_fail(error, SM_ERR_FORMAT, "%s: tensor '%s' is not there or not of %llu",
                         l->source->path, name, (unsigned long long)n);
}

static sm_status check_ids(const sm_session *s, const loaded *l, sm_error *error) {
    const uint32_t n_vocab = s->model->net->config.n_vocab;
    for (uint64_t i = 0; i < l->counts[LENGTH]; i++)
        if (sm_load_le(l->ids->data + 4 * i, 4) >= n_vocab)
            return sm_fail(error, SM_ERR_FORMAT, "%s: token %llu is not in 0..%u", l->source->path,
                           (unsigned long long)i, n_vocab - 1);
    return SM_OK;
}

static double trail_at(const loaded *l, uint64_t i) {
    double value;
    memcpy(&value, l->trail->data + i * sizeof value, sizeof value);
    return value;
}

static sm_status check_trail(const sm_session *s, const loaded *l, sm_error *error) {
    const double n_vocab = s->model->net->config.n_vocab;
    for (uint64_t i = 0; i < l->counts[TRAIL]; i++)
        if (!(trail_at(l, 3 * i) >= -1 && trail_at(l, 3 * i) < n_vocab))
            return sm_fail(error, SM_ERR_FORMAT, "%s: choice %llu is of no token", l->source->path,
                           (unsigned long long)i);
    return SM_OK;
}

static sm_status compare(const sm_session *s, loaded *l, sm_error *error) {
    const sm_source *source = l->source;
    sm_status status = compare_u64(source, KEY_MODEL, sm_source_fingerprint(s->model->source),
                                   "another model", error);
    if (!status)
        status = compare_u64(source, KEY_ADAPTERS, hash_adapters(s),
                             "other adapters, or of other scales", error);
    if (!status)
        status = compare_level(s, source, error);
    if (!status)
        status = read_counts(s, l, error);
    if (!status)
        status = compare_ropes(s, l, error);
    if (status)
        return status;
    const uint32_t n = (uint32_t)l->counts[LENGTH], reached = (uint32_t)l->counts[REACHED];
    status = sm_state_check(&s->state, n, reached, source, error);
    if (!status)
        status = find(l, IDS, SM_DTYPE_I32, n, &l->ids, error);
    if (!status)
        status = find(l, LOGITS, SM_DTYPE_F32,
                      l->counts[HAS_LOGITS] ? s->model->net->config.n_vocab : 0, &l->logits, error);
    if (!status)
        status = find(l, CHOICES, SM_DTYPE_F64, 3 * l->counts[TRAIL], &l->trail, error);
    const uint64_t tensors = sm_state_tensors(&s->state, n, reached) + (n != 0) +
                             l->counts[HAS_LOGITS] + (l->counts[TRAIL] != 0) + 1;
    if (!status && source->n_tensors != tensors)
        status = sm_fail(error, SM_ERR_FORMAT, "%s: holds %llu tensors, not %llu", source->path,
                         (unsigned long long)source->n_tensors, (unsigned long long)tensors);
    if (!status)
        status = check_trail(s, l, error);
    return status ? status : check_ids(s, l, error);
}

/* The most bytes that a session like this one can be saved as. */
static uint64_t most_bytes(const sm_session *s) {
    return s->state.bytes + s->n_ctx * sizeof *s->ids +
           3 * sizeof(double) * ((uint64_t)s->n_ctx + 1) +
           s->model->net->config.n_vocab * sizeof *s->logits + HEADER_MOST;
}

static sm_status check_whole(const sm_session *s, const sm_source *source, sm_error *error) {
    const sm_hook hook = hook_of(s);
    const sm_status status = sm_source_check_seal(source, &hook, error);
    return status == SM_ERR_MISSING
               ? sm_fail(error, SM_ERR_FORMAT, "%s: the session has no checksum", source->path)
               : status;
}

/* A file too large to be one of this session's is compared, which tells why, but not summed up. */
static sm_status check(const sm_session *s, loaded *l, sm_error *error) {
    const bool large = l->source->files[0].size > most_bytes(s);
    sm_status status = read_version(l->source, error);
    if (!status && !large)
        status = check_whole(s, l->source, error);
    if (!status)
        status = compare(s, l, error);
    return !status && large
               ? sm_fail(error, SM_ERR_FORMAT, "%s: is larger than its session", l->source->path)
               : status;
}

/* All of it has been checked. */
static sm_status take(sm_session *s, const loaded *l, sm_error *error) {
    const sm_hook hook = hook_of(s);
    const uint32_t n = (uint32_t)l->counts[LENGTH];
    if (l->trail && sm_trail_reserve(s, error))
        return SM_ERR_NOMEM;
    s->length = 0;
    s->has_logits = false;
    s->trail.end = 0;
    if (!sm_state_read(&s->state, n, (uint32_t)l->counts[REACHED], l->source, &hook))
        return sm_fail(error, SM_ERR_CANCELLED,
                       "%s: loading was cancelled; the session holds no tokens", l->source->path);
    for (uint32_t i = 0; i < n; i++) /* see sm_session_tokens */
        __atomic_store_n(&s->ids[i], (int32_t)sm_load_le(l->ids->data + 4 * (uint64_t)i, 4),
                         __ATOMIC_RELAXED);
    s->state.floor = (uint32_t)l->counts[FLOOR];
    s->kept = (uint32_t)min_u64(l->counts[KEPT], UINT32_MAX);
    s->dropped = l->counts[DROPPED];
    s->gone = l->counts[GONE];
    s->gone_at = (uint32_t)l->counts[GONE_AT];
    for (uint64_t i = 0; i < l->counts[TRAIL]; i++)
        s->trail.at[i] = (sm_trail_step){(int32_t)trail_at(l, 3 * i), trail_at(l, 3 * i + 1),
                                         trail_at(l, 3 * i + 2)};
    s->trail.end = (uint32_t)l->counts[TRAIL];
    s->length = n;
    if (l->logits)
        memcpy(s->logits, l->logits->data, (size_t)l->logits->size);
    s->has_logits = l->logits != NULL;
    return SM_OK;
}

/* Ends with the source. */
static sm_status load(sm_session *s, sm_source *source, sm_error *error) {
    loaded l = {.source = source};
    sm_status status = check(s, &l, error);
    if (!status)
        status = take(s, &l, error);
    sm_source_close(source);
    return status;
}

sm_status sm_session_restore(sm_session *s, const char *path, sm_error *error) {
    if (!s || !path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_restore: session or path is NULL");
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    const sm_hook hook = hook_of(s);
    sm_source *source;
    status = sm_source_open_asking(&source, s->mem, path, true, &hook, error);
    if (!status)
        status = load(s, source, error);
    sm_session_end(s);
    return status;
}

sm_status sm_session_restore_bytes(sm_session *s, const void *data, uint64_t size,
                                   sm_error *error) {
    if (!s || !data)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_restore_bytes: session or data is NULL");
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    sm_source *source;
    status = sm_source_open_bytes(&source, s->mem, data, size, "session", error);
    if (!status)
        status = load(s, source, error);
    sm_session_end(s);
    return status;
}
