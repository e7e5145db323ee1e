/* posix_machine.c - what the system says of this machine: time, process, CPUs, caches, pages. */
#if defined(__linux__)
#define _GNU_SOURCE /* sched_getaffinity, madvise */
#include <sched.h>
#include <sys/mman.h>
#endif
#include "os.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

uint64_t sm_time_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int64_t sm_unix_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec;
}

#ifdef MADV_WIPEONFORK
/* A page that the kernel clears in forked children, so that most answers cost no system call (a
 * small model's token asks seven times). Of a size that fewer systems have than not: where pages
 * are larger it is not aligned and madvise refuses it. */
static union {
    _Alignas(4096) uint8_t page[4096];
    struct {
        _Atomic uint32_t id;   /* 0: not known */
        _Atomic uint32_t kept; /* 1: the page is not cleared, so nothing may be known */
    };
} process;

/* Emulators that know no advice say yes to any. */
static bool is_cleared(void) {
    return madvise(&process, sizeof process, -1) != 0 &&
           madvise(&process, sizeof process, MADV_WIPEONFORK) == 0;
}

uint32_t sm_process_id(void) {
    const uint32_t known = atomic_load_explicit(&process.id, memory_order_relaxed);
    if (known)
        return known;
    const uint32_t id = (uint32_t)getpid();
    if (!atomic_load(&process.kept) && is_cleared())
        atomic_store(&process.id, id);
    else
        atomic_store(&process.kept, 1);
    return id;
}
#else
uint32_t sm_process_id(void) {
    return (uint32_t)getpid();
}
#endif

static uint32_t count_allowed(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int n = CPU_COUNT(&set);
        return n > 0 ? (uint32_t)n : 1;
    }
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}

uint32_t sm_cpu_count(void) {
    const uint32_t allowed = count_allowed();
#if defined(__linux__)
    const uint32_t quota = allowed > 1 ? sm_cpu_quota("") : allowed;
    return quota < allowed ? quota : allowed;
#else
    return allowed;
#endif
}

void *sm_os_alloc(uint64_t size, uint64_t align) {
    return aligned_alloc((size_t)align, (size_t)size);
}

void sm_os_release(void *block) {
    free(block);
}

uint64_t sm_cache_bytes(void) {
    long bytes = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    return bytes > 0 ? (uint64_t)bytes : 16u << 20;
}

void sm_want_large_pages(void *ptr, uint64_t size) {
#if defined(MADV_HUGEPAGE)
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t begin = ((uintptr_t)ptr + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)ptr + size) / page * page;
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#else
    (void)ptr, (void)size;
#endif
}
