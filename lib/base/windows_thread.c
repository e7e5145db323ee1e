/* windows_thread.c - threads, and sleeping on a word. */
#include "windows_os.h"

#include <process.h>

uintptr_t sm_os_this_thread(void) {
    return (uintptr_t)GetCurrentThreadId() << 3;
}

static unsigned __stdcall begin(void *arg) {
    const sm_os_thread *thread = arg;
    thread->run(thread->arg);
    return 0;
}

bool sm_os_thread_start(sm_os_thread *thread, uint64_t stack_bytes, void (*run)(void *arg),
                        void *arg) {
    thread->run = run;
    thread->arg = arg;
    thread->handle = _beginthreadex(NULL, (unsigned)stack_bytes, begin, thread,
                                    STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    return thread->handle != 0;
}

void sm_os_thread_join(sm_os_thread *thread) {
    WaitForSingleObject((HANDLE)thread->handle, INFINITE);
    CloseHandle((HANDLE)thread->handle);
}

/* Among the CPUs of the process's group. */
sm_status sm_os_threads_pin(const sm_os_thread *threads, uint32_t n, sm_error *error) {
    DWORD_PTR all, system;
    if (!GetProcessAffinityMask(GetCurrentProcess(), &all, &system) || !all)
        return sm_fail(error, SM_ERR_SYSTEM, "the CPUs of this process cannot be told");
    DWORD_PTR left = all & (all - 1);
    for (uint32_t i = 0; i < n; i++, left &= left - 1) {
        left = left ? left : all;
        const DWORD_PTR one = left & (~left + 1);
        if (!SetThreadAffinityMask((HANDLE)threads[i].handle, one))
            return sm_fail(error, SM_ERR_SYSTEM, "thread %u cannot be pinned", i + 1);
    }
    return SM_OK;
}

void sm_os_wait(_Atomic uint32_t *word, uint32_t value) {
    WaitOnAddress((volatile void *)word, &value, sizeof value, INFINITE);
}

void sm_os_wake(_Atomic uint32_t *word) {
    WakeByAddressAll((void *)word);
}
