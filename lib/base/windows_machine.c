/* windows_machine.c - what Windows says of this machine: time, process, CPUs, caches. */
#include "windows_os.h"

#include <malloc.h>

#define NS 1000000000u
#define UNIX_EPOCH 116444736000000000 /* 1970 in units of 100 ns since 1601 */

uint64_t sm_time_ns(void) {
    LARGE_INTEGER rate, now;
    QueryPerformanceFrequency(&rate);
    QueryPerformanceCounter(&now);
    const uint64_t ticks = (uint64_t)now.QuadPart, per_second = (uint64_t)rate.QuadPart;
    return ticks / per_second * NS + ticks % per_second * NS / per_second;
}

int64_t sm_unix_time(void) {
    FILETIME t;
    GetSystemTimeAsFileTime(&t);
    const int64_t units = (int64_t)((uint64_t)t.dwHighDateTime << 32 | t.dwLowDateTime);
    return (units - UNIX_EPOCH) / 10000000;
}

uint32_t sm_process_id(void) {
    return GetCurrentProcessId();
}

/* What a job object leaves this process of all CPUs' time, in CPUs, rounded up. */
uint32_t sm_cpu_quota(const char *root) {
    (void)root;
    JOBOBJECT_CPU_RATE_CONTROL_INFORMATION info;
    const DWORD hard = JOB_OBJECT_CPU_RATE_CONTROL_ENABLE | JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP;
    if (!QueryInformationJobObject(NULL, JobObjectCpuRateControlInformation, &info, sizeof info,
                                   NULL) ||
        (info.ControlFlags & hard) != hard)
        return UINT32_MAX;
    const uint64_t all = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    return (uint32_t)((all * info.CpuRate + 9999) / 10000); /* CpuRate: hundredths of a per cent */
}

uint32_t sm_cpu_count(void) {
    DWORD_PTR process, system;
    uint32_t n = 0;
    if (GetActiveProcessorGroupCount() > 1) /* the mask is that of one group */
        n = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    else if (GetProcessAffinityMask(GetCurrentProcess(), &process, &system))
        for (; process; process &= process - 1)
            n++;
    const uint32_t quota = sm_cpu_quota("");
    n = n < quota ? n : quota;
    return n ? n : 1;
}

void *sm_os_alloc(uint64_t size, uint64_t align) {
    return _aligned_malloc((size_t)size, (size_t)align);
}

void sm_os_release(void *block) {
    _aligned_free(block);
}

uint64_t sm_cache_bytes(void) {
    uint64_t best = 0;
    union {
        SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX first;
        uint8_t bytes[16384];
    } info;
    DWORD size = sizeof info;
    if (!GetLogicalProcessorInformationEx(RelationCache, &info.first, &size))
        size = 0;
    for (DWORD at = 0; at < size;) {
        const SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX *one = (const void *)(info.bytes + at);
        if (one->Cache.Level == 3 && one->Cache.CacheSize > best)
            best = one->Cache.CacheSize;
        at += one->Size;
    }
    return best ? best : 16u << 20;
}

/* They ask for a privilege that programs do not have. */
void sm_want_large_pages(void *ptr, uint64_t size) {
    (void)ptr, (void)size;
}
