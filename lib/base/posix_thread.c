/* posix_thread.c - threads, and sleeping on a word (futex(2) on Linux). */
#if defined(__linux__)
#define _GNU_SOURCE /* pthread_setaffinity_np */
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#include "os.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

_Static_assert(sizeof(pthread_t) <= sizeof(uintptr_t), "a thread's handle fits");

uintptr_t sm_os_this_thread(void) {
    return (uintptr_t)pthread_self() & ~(uintptr_t)7;
}

static void *begin(void *arg) {
    const sm_os_thread *thread = arg;
    thread->run(thread->arg);
    return NULL;
}

bool sm_os_thread_start(sm_os_thread *thread, uint64_t stack_bytes, void (*run)(void *arg),
                        void *arg) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes))
        return false;
    pthread_attr_setstacksize(&attributes, (size_t)stack_bytes);
    /* the host's signals are for the host's threads, but for those that tell of a
     * fault of the very thread: blocked, they would pass the host's handler by */
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    sigset_t all, old;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&all, faults[i]);
    pthread_t started;
    thread->run = run;
    thread->arg = arg;
    pthread_sigmask(SIG_BLOCK, &all, &old);
    const bool ok = pthread_create(&started, &attributes, begin, thread) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    thread->handle = ok ? (uintptr_t)started : 0;
    return ok;
}

void sm_os_thread_join(sm_os_thread *thread) {
    pthread_join((pthread_t)thread->handle, NULL);
}

sm_status sm_os_threads_pin(const sm_os_thread *threads, uint32_t n, sm_error *error) {
#if defined(__linux__)
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) == 0)
        return sm_fail(error, SM_ERR_SYSTEM, "the CPUs of this process cannot be told");
    size_t cpu = CPU_SETSIZE - 1;
    for (uint32_t i = 0; i <= n; i++) {
        do
            cpu = (cpu + 1) % CPU_SETSIZE;
        while (!CPU_ISSET(cpu, &all));
        if (i == 0)
            continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (pthread_setaffinity_np((pthread_t)threads[i - 1].handle, sizeof one, &one) != 0)
            return sm_fail(error, SM_ERR_SYSTEM, "thread %u cannot be pinned to CPU %zu", i, cpu);
    }
    return SM_OK;
#else
    (void)threads, (void)n;
    return sm_fail(error, SM_ERR_UNSUPPORTED, "threads cannot be pinned on this system");
#endif
}

#if defined(__APPLE__)
/* What the C++ library of the system sleeps by; no header declares them. */
extern int __ulock_wait(uint32_t operation, void *word, uint64_t value, uint32_t microseconds);
extern int __ulock_wake(uint32_t operation, void *word, uint64_t value);
#define UL_COMPARE_AND_WAIT 1u
#define ULF_WAKE_ALL 0x100u
#endif

/* Where the system has no such call a thread looks again after a while. */
void sm_os_wait(_Atomic uint32_t *word, uint32_t value) {
#if defined(__linux__)
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
#elif defined(__APPLE__)
    __ulock_wait(UL_COMPARE_AND_WAIT, (void *)word, value, 0);
#else
    (void)word, (void)value;
    nanosleep(&(struct timespec){0, 50000}, NULL);
#endif
}

void sm_os_wake(_Atomic uint32_t *word) {
#if defined(__linux__)
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
#elif defined(__APPLE__)
    __ulock_wake(UL_COMPARE_AND_WAIT | ULF_WAKE_ALL, (void *)word, 0);
#else
    (void)word;
#endif
}
