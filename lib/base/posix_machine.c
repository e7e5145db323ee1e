/* posix_machine.c - what the system says of this machine: time, process, CPUs, caches, large pages. */
#if defined(__linux__)
#define _GNU_SOURCE /* sched_getaffinity, madvise */
#include <sched.h>
#include <sys/mman.h>
#endif
#include "os.h"

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

uint32_t sm_process_id(void) {
    return (uint32_t)getpid();
}

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
