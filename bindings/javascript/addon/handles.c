/* Handles of the library, as externals. */
#include "addon.h"

#include <stdlib.h>

void *take(struct chunk **chunks, size_t size) {
    struct chunk *chunk = calloc(1, sizeof *chunk + size);
    if (!chunk)
        return NULL;
    chunk->next = *chunks;
    *chunks = chunk;
    return chunk->bytes;
}

void give_back(struct chunk *chunks) {
    while (chunks) {
        struct chunk *next = chunks->next;
        free(chunks);
        chunks = next;
    }
}

static void box_forget(struct box *box) {
    if (atomic_fetch_sub(&box->refs, 1) == 1)
        free(box);
}

static void box_shut(struct box *box) {
    if (atomic_fetch_sub(&box->users, 1) > 1)
        return;
    if (box->kind == SESSION)
        sm_session_free(box->handle);
    else if (box->kind == ENCODER)
        sm_encoder_free(box->handle);
    else
        sm_model_free(box->handle);
    sm_cancel_free(box->flag);
    box_drop(box->model);
}

void box_drop(struct box *box) {
    if (!box)
        return;
    box_shut(box);
    box_forget(box);
}

struct box *box_new(int kind) {
    struct box *box = calloc(1, sizeof *box);
    if (box) {
        atomic_init(&box->refs, 1);
        atomic_init(&box->users, 1);
        box->kind = kind;
    }
    return box;
}

struct box *box_new_of(int kind, struct box *model) {
    struct box *box = box_new(kind);
    if (!box)
        return NULL;
    box->model = box_keep(model);
    if (!sm_cancel_new(&box->flag, NULL))
        return box;
    box_drop(box);
    return NULL;
}

struct box *box_keep(struct box *box) {
    atomic_fetch_add(&box->refs, 1);
    atomic_fetch_add(&box->users, 1);
    return box;
}

static void box_finalize(napi_env env, void *data, void *hint) {
    (void)env, (void)hint;
    struct box *box = data;
    if (box->closed)
        box_forget(box);
    else
        box_drop(box);
}

int box_wrap(napi_env env, struct box *box, napi_value *external) {
    return napi_create_external(env, box, box_finalize, NULL, external) == napi_ok;
}

static const char *const closed[] = {
    [MODEL] = "this Model is closed",
    [SESSION] = "this Session is closed",
    [ENCODER] = "this Encoder is closed",
};

struct box *opened(napi_env env, napi_value value, int kind) {
    struct box *box = NULL;
    if (napi_get_value_external(env, value, (void **)&box) != napi_ok || box->kind != kind) {
        throw_own(env, SM_ERR_ARGUMENT, "no handle of this kind");
        return NULL;
    }
    if (box->closed) {
        throw_own(env, SM_ERR_STATE, closed[kind]);
        return NULL;
    }
    return box;
}

struct box *idle(napi_env env, napi_value value, int kind) {
    struct box *box = opened(env, value, kind);
    if (box && box->job) {
        throw_own(env, SM_ERR_STATE, "it is in use by a call that has not returned");
        return NULL;
    }
    return box;
}

/* close(handle): ends what it is at */
napi_value close_handle(napi_env env, napi_callback_info info) {
    napi_value argument = NULL;
    struct box *box = NULL;
    arguments_of(env, info, 1, &argument);
    if (napi_get_value_external(env, argument, (void **)&box) == napi_ok && !box->closed) {
        if (box->job)
            job_cancel(box->job);
        box->closed = 1;
        box_shut(box);
    }
    return undefined(env);
}
