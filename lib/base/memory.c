/* memory.c - the one allocator: the caller's hook or malloc, aligned, counted and limited. */
#include "base.h"

#include <string.h>

#include "os.h"

/* In front of every block, one line long so that the block stays aligned. */
typedef struct header {
    uint64_t size; /* of the whole allocation, header included */
} header;

#define HEADER SM_ALIGN

static void *default_alloc(uint64_t size, uint64_t align) {
    if (size > SIZE_MAX - align)
        return NULL;
    return sm_os_alloc((size + align - 1) / align * align, align);
}

static sm_status take(sm_allocator *to, const sm_allocator *from, sm_error *error) {
    static const sm_wide wide[] = {SM_WIDE_FROM(sm_allocator, alloc), {0, 0, 0}};
    const sm_status status = sm_struct_take(to, sizeof *to, wide, from, "sm_allocator", error);
    if (status)
        return status;
    if (to->reserved)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_allocator: reserved is set");
    if (!to->alloc || !to->release)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_allocator: alloc or release is NULL");
    return SM_OK;
}

static void tell_done(const sm_allocator *hook) {
    if (hook->done)
        hook->done(hook->user);
}

void sm_allocator_drop(const sm_allocator *allocator) {
    sm_allocator known;
    if (allocator && !take(&known, allocator, NULL))
        tell_done(&known);
}

sm_status sm_logger_take(sm_logger *to, const sm_logger *from, sm_error *error) {
    static const sm_wide wide[] = {SM_WIDE_FROM(sm_logger, log), {0, 0, 0}};
    const sm_status status = sm_struct_take(to, sizeof *to, wide, from, "sm_logger", error);
    return status         ? status
           : to->reserved ? sm_fail(error, SM_ERR_ARGUMENT, "sm_logger: reserved is set")
                          : SM_OK;
}

void sm_logger_drop(const sm_logger *logger) {
    sm_logger known;
    if (logger && !sm_logger_take(&known, logger, NULL) && known.done)
        known.done(known.user);
}

sm_status sm_mem_init(sm_mem *mem, const sm_allocator *allocator, uint64_t limit, sm_error *error) {
    memset(&mem->hook, 0, sizeof mem->hook);
    if (allocator) {
        const sm_status status = take(&mem->hook, allocator, error);
        if (status)
            return status;
    }
    mem->limit = limit;
    atomic_init(&mem->in_use, 0);
    atomic_init(&mem->peak, 0);
    atomic_init(&mem->n_allocs, 0);
    return SM_OK;
}

/* Books size bytes; false if the limit forbids. */
static bool book(sm_mem *mem, uint64_t size) {
    const uint64_t limit = mem->limit ? mem->limit : UINT64_MAX;
    uint64_t used = atomic_load_explicit(&mem->in_use, memory_order_relaxed);
    do
        if (used > limit || size > limit - used)
            return false;
    while (!atomic_compare_exchange_weak_explicit(&mem->in_use, &used, used + size,
                                                  memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* Counts a booked allocation that was made. */
static void count(sm_mem *mem) {
    const uint64_t now = atomic_load_explicit(&mem->in_use, memory_order_relaxed);
    uint64_t peak = atomic_load_explicit(&mem->peak, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak_explicit(
                             &mem->peak, &peak, now, memory_order_relaxed, memory_order_relaxed)) {
    }
    atomic_fetch_add_explicit(&mem->n_allocs, 1, memory_order_relaxed);
}

void *sm_alloc(sm_mem *mem, uint64_t size) {
    uint64_t total;
    if (size == 0 || sm_add_over(size, HEADER, &total) || !book(mem, total))
        return NULL;
    uint8_t *block = mem->hook.alloc ? mem->hook.alloc(mem->hook.user, total, SM_ALIGN)
                                     : default_alloc(total, SM_ALIGN);
    if (!block) {
        atomic_fetch_sub_explicit(&mem->in_use, total, memory_order_relaxed);
        return NULL;
    }
    count(mem);
    ((header *)(void *)block)->size = total;
    return block + HEADER;
}

sm_status sm_mem_create(sm_mem **out, const sm_allocator *allocator, uint64_t limit,
                        sm_error *error) {
    sm_mem first;
    *out = NULL;
    sm_status status = sm_mem_init(&first, allocator, limit, error);
    if (status)
        return status;
    sm_mem *mem = sm_alloc(&first, sizeof *mem);
    if (!mem) {
        tell_done(&first.hook);
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    }
    *mem = first; /* its own block stays booked */
    *out = mem;
    return SM_OK;
}

void sm_mem_destroy(sm_mem *mem) {
    if (!mem)
        return;
    sm_mem last = *mem;
    sm_free(&last, mem);
    tell_done(&last.hook);
}

void *sm_alloc_zero(sm_mem *mem, uint64_t size) {
    void *ptr = sm_alloc(mem, size);
    if (ptr)
        memset(ptr, 0, (size_t)size);
    return ptr;
}

void *sm_alloc_large(sm_mem *mem, uint64_t size) {
    void *ptr = sm_alloc(mem, size);
    if (ptr && !mem->hook.alloc)
        sm_want_large_pages(ptr, size);
    return ptr;
}

void *sm_alloc_array(sm_mem *mem, uint64_t n, uint64_t size) {
    uint64_t total;
    return sm_mul_over(n, size, &total) ? NULL : sm_alloc(mem, total);
}

void *sm_realloc(sm_mem *mem, void *ptr, uint64_t size) {
    if (!ptr)
        return sm_alloc(mem, size);
    void *fresh = sm_alloc(mem, size);
    if (!fresh)
        return NULL;
    const header *old = (const header *)(const void *)((const uint8_t *)ptr - HEADER);
    uint64_t keep = old->size - HEADER < size ? old->size - HEADER : size;
    memcpy(fresh, ptr, (size_t)keep);
    sm_free(mem, ptr);
    return fresh;
}

void sm_free(sm_mem *mem, void *ptr) {
    if (!ptr)
        return;
    uint8_t *block = (uint8_t *)ptr - HEADER;
    uint64_t total = ((header *)(void *)block)->size;
    atomic_fetch_sub_explicit(&mem->in_use, total, memory_order_relaxed);
    if (mem->hook.release)
        mem->hook.release(mem->hook.user, block, total, SM_ALIGN);
    else
        sm_os_release(block);
}

char *sm_strdup(sm_mem *mem, const char *text, uint64_t length) {
    if (length == UINT64_MAX)
        return NULL;
    char *copy = sm_alloc(mem, length + 1);
    if (copy) {
        memcpy(copy, text, (size_t)length);
        copy[length] = 0;
    }
    return copy;
}
