/* cancel.c - a word that any thread or signal handler sets, and hooks joined with it. */
#include "base.h"

struct sm_cancel {
    sm_mem *mem;
    _Atomic uint32_t references;
    _Atomic int32_t on; /* lock-free, as a signal handler needs it */
};

_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "a signal handler may set an int");

sm_status sm_cancel_new(sm_cancel **out, sm_error *error) {
    sm_mem *mem;
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_cancel_new: out is NULL");
    *out = NULL;
    const sm_status status = sm_mem_create(&mem, NULL, 0, error);
    if (status)
        return status;
    sm_cancel *c = sm_alloc_zero(mem, sizeof *c);
    if (!c) {
        sm_mem_destroy(mem);
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    }
    c->mem = mem;
    atomic_init(&c->references, 1);
    *out = c;
    return SM_OK;
}

void sm_cancel_set(sm_cancel *c, int32_t on) {
    if (c)
        atomic_store(&c->on, on);
}

int32_t sm_cancel_is_set(const sm_cancel *c) {
    return c && atomic_load_explicit(&c->on, memory_order_relaxed) != 0;
}

sm_cancel *sm_cancel_retain(sm_cancel *c) {
    if (c)
        atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
    return c;
}

void sm_cancel_free(sm_cancel *c) {
    if (!c || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) != 1)
        return;
    sm_mem *mem = c->mem;
    sm_free(mem, c);
    sm_mem_destroy(mem);
}

/* ---- joined hooks -------------------------------------------------------------------------- */

static bool is_set(const sm_ask *ask) {
    return sm_cancel_is_set(ask->flag) || sm_cancel_is_set(ask->call_flag);
}

int32_t sm_ask_cancel(void *user) {
    const sm_ask *ask = user;
    return is_set(ask) || (ask->cancel && ask->cancel(ask->user));
}

static int32_t ask_progress(void *user, uint64_t done, uint64_t total) {
    const sm_ask *ask = user;
    return is_set(ask) || (ask->progress && ask->progress(ask->user, done, total));
}

void sm_join_cancel(sm_ask *ask, sm_cancel_fn *cancel, void **user, const sm_cancel *flag) {
    *ask = (sm_ask){.flag = flag, .cancel = *cancel, .user = *user};
    if (!flag)
        return;
    *cancel = sm_ask_cancel;
    *user = ask;
}

void sm_join_progress(sm_ask *ask, sm_progress_fn *progress, void **user, const sm_cancel *flag) {
    *ask = (sm_ask){.flag = flag, .progress = *progress, .user = *user};
    if (!flag)
        return;
    *progress = ask_progress;
    *user = ask;
}
