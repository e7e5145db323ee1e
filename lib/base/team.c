/* team.c - a team of threads that run one function together, its barriers and their cost. */
#include "os.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Pauses before a waiting thread goes to sleep: some 20-50 us, longer than the
 * gap between two operators and shorter than a scheduler's time slice. */
#define SPIN 2000
/* The same where there are more threads than CPUs: whoever is waited for
 * probably needs this very CPU. */
#define SPIN_CROWDED 20

#define STACK_BYTES (256 * 1024)

/* Who waits for a word, and who changes it.
 *
 * What a thread wrote before it published a value is seen by those who read that value: the store
 * releases, the loads acquire. Falling asleep is the one place that needs more. The publisher
 * stores the value and then reads the sleepers; a sleeper adds itself and then reads the value.
 * Were a store allowed to pass the load after it, both could read what was before, and nobody
 * would wake the sleeper; so all four are sequentially consistent. The system compares the value
 * once more before a thread sleeps. */
typedef struct word {
    _Alignas(SM_ALIGN) _Atomic uint32_t value;
    _Atomic uint32_t sleepers;
} word;

struct worker {
    word wake; /* counts the runs this worker takes part in */
    sm_team *team;
    uint32_t thread;
};

struct sm_team {
    word phase; /* counts barriers passed */
    _Alignas(SM_ALIGN) _Atomic uint32_t arrived;
    _Atomic uint64_t slept; /* ns that threads slept at barriers of this run */
    sm_mem *mem;
    sm_team_fn fn; /* NULL tells the workers to end */
    void *arg;
    uint32_t n_threads;
    uint32_t active;  /* threads that may take part in a run: see adapt() */
    uint32_t running; /* that do take part; both change between runs only */
    bool pinned;
    double barrier_ns; /* see sm_team_set_barrier_ns */
    uint32_t n_cpus;
    uint32_t spin;
    uint32_t n_started;
    uint32_t process; /* whose threads the workers are */
    bool torn;        /* see sm_team_torn */
    /* see adapt() */
    uint32_t bad_runs, patience, retry;
    sm_os_thread *threads;
    struct worker *workers;
};

static void pause_cpu(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

static void sleep_while(word *w, uint32_t value) {
    atomic_fetch_add(&w->sleepers, 1);
    while (atomic_load(&w->value) == value)
        sm_os_wait(&w->value, value);
    atomic_fetch_sub(&w->sleepers, 1);
}

/* False if the value is still the same after the spin. */
static bool spin_while(const word *w, uint32_t value, uint32_t spin) {
    for (uint32_t i = 0; i < spin; i++) {
        if (atomic_load_explicit(&w->value, memory_order_acquire) != value)
            return true;
        pause_cpu();
    }
    return false;
}

static void publish(word *w, uint32_t value) {
    atomic_store(&w->value, value);
    if (atomic_load(&w->sleepers))
        sm_os_wake(&w->value);
}

void sm_team_barrier(sm_team *team) {
    /* read before arriving: once all have, the next run may change it */
    const uint32_t running = team->running;
    if (running == 1 || team->torn)
        return;
    /* the latest there is: the phase cannot change before this thread arrives, and it has seen the
     * last change itself or through the thread that woke it */
    const uint32_t phase = atomic_load_explicit(&team->phase.value, memory_order_relaxed);
    /* each arrival hands on what those before it wrote, to the last one, which publishes it */
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) == running - 1) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        publish(&team->phase, phase + 1);
    } else if (!spin_while(&team->phase, phase, team->spin)) {
        if (team->process != sm_process_id()) { /* nobody else will come */
            team->torn = true;
            return;
        }
        const uint64_t start = sm_time_ns();
        sleep_while(&team->phase, phase);
        atomic_fetch_add_explicit(&team->slept, sm_time_ns() - start, memory_order_relaxed);
    }
}

static void work(void *arg) {
    struct worker *self = arg;
    sm_team *team = self->team;
    for (uint32_t seen = 0;; seen++) {
        if (!spin_while(&self->wake, seen, team->spin))
            sleep_while(&self->wake, seen);
        if (!team->fn)
            return;
        team->fn(team->arg, self->thread, team->running);
        sm_team_barrier(team);
    }
}

static void wake(sm_team *team, uint32_t thread) {
    word *w = &team->workers[thread].wake;
    publish(w, atomic_load_explicit(&w->value, memory_order_relaxed) + 1);
}

/* Where CPUs are missing (more threads than CPUs, or another program has them),
 * threads mostly sleep at barriers for one that is not running. Results do not
 * depend on the number of threads, so it may shrink: after BAD_RUNS runs in which
 * more than SLEPT_SHARE of the threads' time was slept, fewer take part, and after
 * `patience` runs all are tried again, each time later. */
#define BAD_RUNS 3
#define SLEPT_SHARE 0.4
#define PATIENCE_MIN 16
#define PATIENCE_MAX 4096

static void adapt(sm_team *team, uint64_t elapsed) {
    const uint64_t slept = atomic_exchange_explicit(&team->slept, 0, memory_order_relaxed);
    if (team->active < team->n_threads && --team->retry == 0) {
        team->active = team->n_threads;
        team->bad_runs = 0;
        return;
    }
    if (team->running == 1 || (double)slept < SLEPT_SHARE * (double)elapsed * team->running) {
        team->bad_runs = 0;
        return;
    }
    if (++team->bad_runs < BAD_RUNS)
        return;
    team->active = team->active > team->n_cpus ? team->n_cpus : team->active / 2;
    team->bad_runs = 0;
    team->patience = team->patience < PATIENCE_MAX ? team->patience * 2 : PATIENCE_MAX;
    team->retry = team->patience;
}

static void make_anew(sm_team *team);

void sm_team_run_some(sm_team *team, uint32_t most, sm_team_fn fn, void *arg) {
    if (team->n_threads > 1 && most > 1 && team->process != sm_process_id())
        make_anew(team);
    /* all that were asked for could be started, but perhaps not anew */
    most = min_u32(most, team->n_started + 1);
    if (most <= 1) {
        team->running = 1;
        fn(arg, 0, 1);
        return;
    }
    const uint64_t start = sm_time_ns();
    team->fn = fn;
    team->arg = arg;
    team->running = min_u32(most, team->active);
    for (uint32_t i = 1; i < team->running; i++)
        wake(team, i);
    fn(arg, 0, team->running);
    sm_team_barrier(team);
    adapt(team, sm_time_ns() - start);
}

void sm_team_run(sm_team *team, sm_team_fn fn, void *arg) {
    sm_team_run_some(team, team->n_threads, fn, arg);
}

/* ---- the cost of a barrier --------------------------------------------------------------- */

/* Rounds of more and more barriers, 1 to PROBE_MOST, some 20 us in all, of which the fastest
 * counts: any of them may be interrupted for longer than all the others take. PROBE_NS altogether,
 * where every barrier waits for a thread that has no CPU, or has not moved to another one yet. */
#define PROBE_MOST 64
#define PROBE_NS 500000

typedef struct probe {
    sm_team *team;
    double best; /* ns of a barrier */
    bool stop;   /* written by thread 0 between barriers */
} probe;

static void probe_barriers(void *arg, uint32_t thread, uint32_t n_threads) {
    probe *p = arg;
    (void)n_threads;
    uint64_t total = 0;
    sm_team_barrier(p->team); /* all are awake */
    for (uint32_t n = 1; n <= PROBE_MOST && !p->stop; n *= 2) {
        const uint64_t start = sm_time_ns();
        for (uint32_t i = 0; i < n; i++)
            sm_team_barrier(p->team);
        if (thread == 0) {
            const uint64_t elapsed = sm_time_ns() - start;
            const double each = (double)elapsed / n;
            p->best = n == 1 || each < p->best ? each : p->best;
            total += elapsed;
            p->stop = total > PROBE_NS;
        }
        sm_team_barrier(p->team); /* `stop` is read by all before it is written again */
    }
}

static double measure_barrier(sm_team *team) {
    probe p = {.team = team};
    if (team->n_threads > 1)
        sm_team_run(team, probe_barriers, &p);
    return p.best;
}

void sm_team_set_barrier_ns(sm_team *team, double ns) {
    team->barrier_ns = ns;
}

double sm_team_barrier_ns(sm_team *team) {
    if (team->barrier_ns < 0)
        team->barrier_ns = measure_barrier(team);
    return team->barrier_ns;
}

/* ---- making a team ----------------------------------------------------------------------- */

sm_status sm_team_pin(sm_team *team, sm_error *error) {
    /* threads[0] is the caller's, who stays free to move */
    const sm_status status = sm_os_threads_pin(team->threads + 1, team->n_started, error);
    team->pinned |= !status;
    return status;
}

bool sm_team_pinned(const sm_team *team) {
    return team->pinned;
}

static bool start_workers(sm_team *team) {
    bool ok = true;
    for (uint32_t i = 1; i < team->n_threads && ok; i++) {
        team->workers[i].team = team;
        team->workers[i].thread = i;
        ok = sm_os_thread_start(&team->threads[i], STACK_BYTES, work, &team->workers[i]);
        team->n_started += ok;
    }
    return ok;
}

static void reset(word *w) {
    atomic_store_explicit(&w->value, 0, memory_order_relaxed);
    atomic_store_explicit(&w->sleepers, 0, memory_order_relaxed);
}

/* In a forked child, where the workers are not. What they left may be in the midst of anything. */
static void make_anew(sm_team *team) {
    team->process = sm_process_id();
    team->torn = false;
    team->n_started = 0;
    reset(&team->phase);
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&team->slept, 0, memory_order_relaxed);
    for (uint32_t i = 0; i < team->n_threads; i++)
        reset(&team->workers[i].wake);
    start_workers(team); /* with fewer, or none, the work takes longer */
    if (team->pinned)
        sm_team_pin(team, NULL);
}

sm_status sm_team_new(sm_team **out, sm_mem *mem, uint32_t n_threads, sm_error *error) {
    *out = NULL;
    if (n_threads < 1 || n_threads > SM_MAX_THREADS)
        return sm_fail(error, SM_ERR_ARGUMENT, "n_threads is %u, not in 1..%u", n_threads,
                       SM_MAX_THREADS);
    sm_team *team = sm_alloc_zero(mem, sizeof *team);
    if (!team)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a team of %u threads", n_threads);
    team->mem = mem;
    team->process = sm_process_id();
    team->n_threads = team->active = team->running = n_threads;
    team->n_cpus = sm_cpu_count();
    team->spin = n_threads > team->n_cpus ? SPIN_CROWDED : SPIN;
    team->patience = PATIENCE_MIN / 2;
    team->threads = sm_alloc_array(mem, n_threads, sizeof *team->threads);
    team->workers = sm_alloc_zero(mem, n_threads * sizeof *team->workers);
    if (!team->threads || !team->workers) {
        sm_team_free(team);
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a team of %u threads", n_threads);
    }
    if (!start_workers(team)) {
        uint32_t started = team->n_started + 1;
        sm_team_free(team);
        return sm_fail(error, SM_ERR_SYSTEM, "only %u of %u threads could be started", started,
                       n_threads);
    }
    *out = team;
    return SM_OK;
}

void sm_team_free(sm_team *team) {
    if (!team)
        return;
    team->fn = NULL;
    const uint32_t n_here = team->process == sm_process_id() ? team->n_started : 0;
    for (uint32_t i = 1; i <= n_here; i++) {
        wake(team, i);
        sm_os_thread_join(&team->threads[i]);
    }
    sm_free(team->mem, team->threads);
    sm_free(team->mem, team->workers);
    sm_free(team->mem, team);
}

/* The process whose thread has the lock; 0: nobody. Where it is another process than the running
 * one, that was forked while a thread which it has not held the lock. */
struct sm_mutex {
    word holder;
    _Atomic uintptr_t thread; /* which of that process's; 0: none */
};

sm_status sm_mutex_new(sm_mutex **out, sm_mem *mem, sm_error *error) {
    *out = sm_alloc_zero(mem, sizeof **out);
    return *out ? SM_OK : sm_fail(error, SM_ERR_NOMEM, "out of memory");
}

void sm_mutex_free(sm_mutex *mutex, sm_mem *mem) {
    sm_free(mem, mutex);
}

void sm_mutex_lock(sm_mutex *mutex) {
    const uint32_t process = sm_process_id();
    for (;;) {
        uint32_t holder = 0;
        while (!atomic_compare_exchange_weak(&mutex->holder.value, &holder, process))
            if (holder == process)
                break;
        if (holder != process)
            break;
        sleep_while(&mutex->holder, process);
    }
    atomic_store_explicit(&mutex->thread, sm_os_this_thread(), memory_order_relaxed);
}

bool sm_mutex_is_mine(const sm_mutex *mutex) {
    return atomic_load_explicit(&mutex->thread, memory_order_relaxed) == sm_os_this_thread();
}

void sm_mutex_unlock(sm_mutex *mutex) {
    atomic_store_explicit(&mutex->thread, 0, memory_order_relaxed);
    publish(&mutex->holder, 0);
}

bool sm_team_torn(const sm_team *team) {
    return team->torn;
}

uint32_t sm_team_size(const sm_team *team) {
    return team->n_threads;
}
