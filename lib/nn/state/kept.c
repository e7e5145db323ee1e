/* A state in a file: each part says by a key what it is, and lies in tensors of its own. */
#include "format/format.h"
#include "state.h"

#include <string.h>

#define FIGURES 6
#define NAME_SPACE 48

/* ---- keys and values ------------------------------------------------------------------------- */

enum {
    KEYS_AND_VALUES,
    ROWS
}; /* the first figure: the kind of part, which says what the others are */

static void figures_of(const sm_kv *kv, uint64_t figures[FIGURES]) {
    const uint64_t all[FIGURES] = {
        kv->keyless ? ROWS : KEYS_AND_VALUES, kv->type,      kv->window,
        kv->window ? kv->capacity : 0,        kv->n_head_kv, kv->head_dim};
    memcpy(figures, all, sizeof all);
}

/* Bytes of keys, or values, of one head: of a ring all that is there, else of n tokens. */
static uint64_t head_bytes(const sm_kv *kv, uint32_t n, uint32_t reached) {
    const uint32_t held = min_u32(n && kv->window ? reached : n, kv->capacity);
    return (held + SM_KV_TILE - 1) / SM_KV_TILE * kv->tile_bytes;
}

static void name_of(char name[NAME_SPACE], uint32_t part, bool key) {
    sm_format(name, NAME_SPACE, "state.%u.%s", part, key ? "keys" : "values");
}

static void declare_kv(const sm_kv *kv, uint32_t part, uint64_t bytes, sm_gguf_writer *w) {
    char name[NAME_SPACE];
    for (int key = !kv->keyless; key >= 0 && bytes; key--) {
        const uint64_t all = kv->n_head_kv * bytes;
        name_of(name, part, key);
        sm_gguf_declare_tensor(w, name, SM_DTYPE_I8, 1, &all, NULL);
    }
}

static sm_status write_kv(const sm_kv *kv, uint64_t bytes, sm_gguf_writer *w, sm_error *error) {
    sm_status status = SM_OK;
    for (int key = !kv->keyless; key >= 0 && bytes; key--)
        for (uint64_t h = 0; h < kv->n_head_kv && !status; h++)
            status =
                sm_gguf_write_part(w, (key ? kv->k : kv->v) + h * kv->head_bytes, bytes, error);
    return status;
}

static sm_status check_kv(const sm_kv *kv, uint32_t part, uint64_t bytes, const sm_source *source,
                          sm_error *error) {
    char name[NAME_SPACE];
    for (int key = !kv->keyless; key >= 0 && bytes; key--) {
        name_of(name, part, key);
        const sm_tensor *t = sm_source_find_tensor(source, name);
        if (!t || t->size != kv->n_head_kv * bytes)
            return sm_fail(error, SM_ERR_FORMAT, "%s: tensor '%s' is not there or not %llu bytes",
                           source->path, name, (unsigned long long)(kv->n_head_kv * bytes));
    }
    return SM_OK;
}

static bool read_kv(sm_kv *kv, uint32_t part, uint64_t bytes, const sm_source *source,
                    const sm_hook *hook) {
    char name[NAME_SPACE];
    for (int key = !kv->keyless; key >= 0 && bytes; key--) {
        name_of(name, part, key);
        const sm_tensor *t = sm_source_find_tensor(source, name);
        for (uint64_t h = 0; h < kv->n_head_kv; h++) {
            if (sm_hook_ends(hook, h, kv->n_head_kv))
                return false;
            memcpy((key ? kv->k : kv->v) + h * kv->head_bytes, t->data + h * bytes, (size_t)bytes);
        }
    }
    return true;
}

/* ---- all parts ------------------------------------------------------------------------------- */

static void key_of(char name[NAME_SPACE], uint32_t part) {
    sm_format(name, NAME_SPACE, "smallmind.state.%u", part);
}

void sm_state_declare(const sm_state *state, uint32_t n, sm_gguf_writer *w) {
    char name[NAME_SPACE];
    uint64_t figures[FIGURES];
    for (uint32_t i = 0; i < state->n; i++) {
        key_of(name, i);
        figures_of(&state->kv[i], figures);
        sm_gguf_put_array(w, name, SM_KEY_UINT64, figures, FIGURES);
    }
    for (uint32_t i = 0; i < state->n; i++)
        declare_kv(&state->kv[i], i, head_bytes(&state->kv[i], n, state->reached), w);
}

sm_status sm_state_write(const sm_state *state, uint32_t n, sm_gguf_writer *w, sm_error *error) {
    sm_status status = SM_OK;
    for (uint32_t i = 0; i < state->n && !status; i++)
        status = write_kv(&state->kv[i], head_bytes(&state->kv[i], n, state->reached), w, error);
    return status;
}

/* Whether part i is of the shape that the file has. */
static sm_status check_figures(const sm_kv *kv, uint32_t i, const sm_source *source,
                               sm_error *error) {
    static const char *const what[FIGURES] = {"the kind of part", "the type of keys and values",
                                              "the window",       "the tokens that windows keep",
                                              "the heads",        "the size of heads"};
    char name[NAME_SPACE];
    uint64_t own[FIGURES], theirs[FIGURES];
    key_of(name, i);
    figures_of(kv, own);
    const sm_key *key = sm_source_find_key(source, name);
    if (!key || key->type != SM_KEY_ARRAY || key->element != SM_KEY_UINT64 || key->count != FIGURES)
        return sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' is not %d u64", source->path, name,
                       FIGURES);
    for (uint32_t j = 0; j < FIGURES; j++) {
        theirs[j] = sm_load_le(key->data + 8 * j, 8);
        if (theirs[j] != own[j])
            return sm_fail(error, SM_ERR_ARGUMENT,
                           "%s: of another cache: %s is not the session's (%llu, here %llu)",
                           source->path, what[j], (unsigned long long)theirs[j],
                           (unsigned long long)own[j]);
    }
    return SM_OK;
}

uint64_t sm_state_tensors(const sm_state *state, uint32_t n, uint32_t reached) {
    uint64_t tensors = 0;
    for (uint32_t i = 0; i < state->n; i++)
        tensors += !head_bytes(&state->kv[i], n, reached) ? 0 : state->kv[i].keyless ? 1 : 2;
    return tensors;
}

sm_status sm_state_check(const sm_state *state, uint32_t n, uint32_t reached,
                         const sm_source *source, sm_error *error) {
    sm_status status = SM_OK;
    for (uint32_t i = 0; i < state->n && !status; i++)
        status = check_figures(&state->kv[i], i, source, error);
    for (uint32_t i = 0; i < state->n && !status; i++)
        status = check_kv(&state->kv[i], i, head_bytes(&state->kv[i], n, reached), source, error);
    return status;
}

bool sm_state_read(sm_state *state, uint32_t n, uint32_t reached, const sm_source *source,
                   const sm_hook *hook) {
    bool whole = true;
    for (uint32_t i = 0; i < state->n && whole; i++)
        whole = read_kv(&state->kv[i], i, head_bytes(&state->kv[i], n, reached), source, hook);
    state->reached = reached;
    return whole;
}
