/* The mark of a handle that a call uses. */
#include "os.h"

/* Beside the number of a thread, whose low bits are 0. */
#define FREED ((uint64_t)1) /* to be freed when the call ends */
#define LENT ((uint64_t)2)  /* a callback of the call may use the handle in some ways */
#define INNER ((uint64_t)4) /* and does */
#define NOTES (FREED | LENT | INNER)

static uint64_t this_thread(void) {
    return (uint64_t)sm_os_this_thread();
}

/* Whether a call that marked the handle goes on: not in a child that another thread forked. */
static bool goes_on(const sm_use *use, uint32_t process, uint64_t holder) {
    return atomic_load(&use->process) == process || (holder & ~NOTES) == this_thread();
}

sm_status sm_use_begin(sm_use *use, uint32_t process, const char *what, sm_error *error) {
    uint64_t holder = atomic_load(&use->holder);
    /* before the mark is set: who sees the mark sees whose it is. All threads of a process that
     * find none write the same */
    if (!holder && atomic_load_explicit(&use->process, memory_order_relaxed) != process)
        atomic_store(&use->process, process);
    if (!holder && atomic_compare_exchange_strong(&use->holder, &holder, this_thread()))
        return SM_OK;
    return sm_fail(error, SM_ERR_STATE,
                   goes_on(use, process, holder)
                       ? "the %s is in use by a call that has not returned"
                       : "the %s was in use by another thread when this process was forked: here "
                         "it can only be freed",
                   what);
}

sm_status sm_use_begin_lent(sm_use *use, uint32_t process, const char *what, sm_error *error) {
    uint64_t holder = atomic_load(&use->holder);
    if ((holder & (LENT | INNER)) != LENT || (holder & ~NOTES) != this_thread())
        return sm_use_begin(use, process, what, error);
    atomic_fetch_or(&use->holder, INNER);
    return SM_OK;
}

bool sm_use_end(sm_use *use) {
    if (atomic_load_explicit(&use->holder, memory_order_relaxed) & INNER) {
        atomic_fetch_and(&use->holder, ~INNER);
        return false;
    }
    return (atomic_exchange(&use->holder, 0) & FREED) != 0;
}

void sm_use_lend(sm_use *use) {
    atomic_fetch_or(&use->holder, LENT);
}

void sm_use_take_back(sm_use *use) {
    atomic_fetch_and(&use->holder, ~LENT);
}

bool sm_use_free(sm_use *use) {
    uint64_t holder = atomic_load(&use->holder);
    do
        if (!holder || !goes_on(use, sm_process_id(), holder))
            return true;
    while (!atomic_compare_exchange_weak(&use->holder, &holder, holder | FREED));
    return false;
}
