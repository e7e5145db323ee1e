/* bench_limits.c - `smallmind bench limits`: what this machine allows, without a model.
 *
 * Every figure is the median of several repeats. Rates count all threads together; a
 * multiply-add is two operations.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "cli.h"
#include "limits.h"

#define MAX_REPEATS 100
#define MAX_THREADS 256
#define MAX_COUNTS (8 + 8)          /* 1..8, then doubled, then the last */
#define DRAM_BYTES LIMITS_MAX_BYTES /* of all threads together */
#define N_RANGES 3                  /* of a thread's own, then DRAM_BYTES */
static const uint64_t ranges[N_RANGES] = {24u << 10, 512u << 10, 4u << 20};

/* ---- clock ------------------------------------------------------------------------------- */

#define ADDS 32 /* in one round, unrolled */

/* Rounds of additions of which each needs the one before: one per cycle on any CPU in use. The
 * addend is in a register, as additions of constants may be merged. */
static uint64_t add_chain(uint64_t rounds, uint64_t addend) {
    uint64_t sum = 0;
    __asm__ volatile("" : "+r"(addend));
    for (uint64_t i = 0; i < rounds; i++) {
#define ADD        \
    sum += addend; \
    __asm__ volatile("" : "+r"(sum));
#define ADD8 ADD ADD ADD ADD ADD ADD ADD ADD
        ADD8 ADD8 ADD8 ADD8
#undef ADD8
#undef ADD
    }
    return sum;
}

/* Cycles per second, by the additions that a second has room for. */
static double measure_clock(uint32_t repeats) {
    double rates[MAX_REPEATS];
    uint64_t rounds = 1000;
    volatile uint64_t addend = 1;
    for (uint32_t i = 0; i < repeats;) {
        const double start = cli_seconds();
        addend = add_chain(rounds, addend) | 1;
        const double seconds = cli_seconds() - start;
        if (seconds < 0.01)
            rounds *= 2;
        else
            rates[i++] = (double)rounds * ADDS / seconds;
    }
    return cli_median(rates, repeats);
}

/* ---- barrier ------------------------------------------------------------------------------ */

#define BARRIER_ROUNDS 20000

/* Two threads that count up together: neither begins a round before both ended the last. */
static void meet(_Atomic uint64_t *arrived, uint64_t first, uint64_t last) {
    for (uint64_t round = first; round <= last; round++) {
        atomic_fetch_add_explicit(arrived, 1, memory_order_acq_rel);
        while (atomic_load_explicit(arrived, memory_order_acquire) < 2 * round)
            continue;
    }
}

static void *meeting_thread(void *argument) {
    meet(argument, 1, 1 + BARRIER_ROUNDS);
    return NULL;
}

/* Seconds of one barrier between two threads; 0 if a thread cannot be had. */
static double measure_barrier(uint32_t repeats) {
    double seconds[MAX_REPEATS];
    for (uint32_t i = 0; i < repeats; i++) {
        _Atomic uint64_t arrived = 0;
        pthread_t other;
        if (pthread_create(&other, NULL, meeting_thread, &arrived) != 0)
            return 0.0;
        meet(&arrived, 1, 1); /* until the other thread runs */
        const double start = cli_seconds();
        meet(&arrived, 2, 1 + BARRIER_ROUNDS);
        seconds[i] = (cli_seconds() - start) / BARRIER_ROUNDS;
        pthread_join(other, NULL);
    }
    return cli_median(seconds, repeats);
}

/* ---- the system ------------------------------------------------------------------------------ */

/* Time of all CPUs since boot, as the first line of /proc/stat has it (proc(5)). */
typedef struct cpu_time {
    bool known;
    double total, steal; /* seconds; steal: wanted, but the hypervisor ran something else */
} cpu_time;

static cpu_time read_cpu_time(void) {
    cpu_time time = {0};
    uint64_t ticks[8];
    FILE *file = fopen("/proc/stat", "r");
    const long rate = sysconf(_SC_CLK_TCK);
    if (file == NULL)
        return time;
    const int n = fscanf(file,
                         "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                         " %" SCNu64 " %" SCNu64,
                         &ticks[0], &ticks[1], &ticks[2], &ticks[3], &ticks[4], &ticks[5],
                         &ticks[6], &ticks[7]);
    fclose(file);
    if (n != 8 || rate <= 0)
        return time;
    for (int i = 0; i < 8; i++)
        time.total += (double)ticks[i] / (double)rate;
    time.steal = (double)ticks[7] / (double)rate;
    time.known = true;
    return time;
}

/* ---- rates ---------------------------------------------------------------------------------- */

typedef struct limits_run {
    uint32_t repeats;
    bool json;
    uint32_t n_cpus;
    uint32_t n_threads;          /* the most */
    uint32_t counts[MAX_COUNTS]; /* of threads, that bandwidth is read with */
    uint32_t n_counts;
    json_t *levels, *reads; /* results */
} limits_run;

/* Median rate; 0 if threads cannot be had. */
static double median_rate(const limits_run *run, limit_bench *limits, limit_kind kind) {
    double rates[MAX_REPEATS];
    if (!limit_bench_rates(limits, kind, run->repeats, rates))
        return 0.0;
    return cli_median(rates, run->repeats);
}

static int no_threads(uint32_t n) {
    return cli_error("cannot start %u threads", n);
}

static int measure_peak(limits_run *run, uint32_t level, uint32_t n_threads) {
    limit_bench *limits = limit_bench_new(level, n_threads, 0);
    if (limits == NULL)
        return cli_error("out of memory");
    const bool has_bf16 = limit_loops_of(level)->bf16 != NULL;
    const double f32 = median_rate(run, limits, LIMIT_F32);
    const double bf16 = has_bf16 ? median_rate(run, limits, LIMIT_BF16) : 0.0;
    const double int8 = median_rate(run, limits, LIMIT_INT8);
    limit_bench_free(limits);
    if (f32 <= 0.0 || (has_bf16 && bf16 <= 0.0) || int8 <= 0.0)
        return no_threads(n_threads);
    json_t *row = json_pack("{s:s, s:I, s:f, s:o, s:f}", "level", sm_level_name(level), "threads",
                            (json_int_t)n_threads, "f32_ops_per_second", f32, "bf16_ops_per_second",
                            has_bf16 ? json_real(bf16) : json_null(), "int8_ops_per_second", int8);
    return json_array_append_new(run->levels, row) == 0 ? CLI_GO_ON : cli_error("out of memory");
}

static int measure_read(limits_run *run, uint64_t bytes, uint32_t n_threads) {
    /* one byte less: limit_bench_new rounds a share up */
    limit_bench *limits =
        limit_bench_new(sm_level_best(SM_LEVEL_AUTO), n_threads, bytes * n_threads - 1);
    if (limits == NULL)
        return cli_error("out of memory");
    const double plain = median_rate(run, limits, LIMIT_READ);
    const double ahead = median_rate(run, limits, LIMIT_READ_AHEAD);
    limit_bench_free(limits);
    if (plain <= 0.0 || ahead <= 0.0)
        return no_threads(n_threads);
    json_t *row =
        json_pack("{s:I, s:I, s:f}", "bytes_per_thread", (json_int_t)bytes, "threads",
                  (json_int_t)n_threads, "bytes_per_second", plain > ahead ? plain : ahead);
    return json_array_append_new(run->reads, row) == 0 ? CLI_GO_ON : cli_error("out of memory");
}

static int step(int code, uint32_t *done, uint32_t total) {
    progress_count("measuring", ++*done, total);
    if (code == CLI_GO_ON && cli_interrupted()) {
        cli_error("interrupted");
        return cli_interrupt_code();
    }
    return code;
}

static int measure_rates(limits_run *run) {
    int code = CLI_GO_ON;
    uint32_t done = 0, n_levels = 0;
    for (uint32_t level = 1; sm_level_name(level) != NULL; level++)
        n_levels += sm_level_best(level) == level;
    const uint32_t peaks = run->n_threads > 1 ? 2 : 1;
    const uint32_t total = n_levels * peaks + (N_RANGES + 1) * run->n_counts;
    for (uint32_t level = 1; sm_level_name(level) != NULL; level++) {
        if (sm_level_best(level) != level)
            continue;
        for (uint32_t i = 0; code == CLI_GO_ON && i < peaks; i++)
            code = step(measure_peak(run, level, i == 0 ? 1 : run->n_threads), &done, total);
    }
    for (uint32_t range = 0; range <= N_RANGES; range++) {
        for (uint32_t i = 0; code == CLI_GO_ON && i < run->n_counts; i++) {
            const uint32_t n = run->counts[i];
            code = step(measure_read(run, range < N_RANGES ? ranges[range] : DRAM_BYTES / n, n),
                        &done, total);
        }
    }
    progress_end();
    return code;
}

/* ---- output ---------------------------------------------------------------------------------- */

static double number(const json_t *row, const char *key) {
    return json_number_value(json_object_get(row, key));
}

static void print_text(const json_t *root) {
    size_t i;
    json_t *row;
    char size[32];
    const json_t *clock = json_object_get(root, "clock");
    const json_t *steal = json_object_get(root, "steal");
    printf("clock    %.2f GHz before, %.2f GHz after (additions that wait for each other)\n",
           number(clock, "before_hz") / 1e9, number(clock, "after_hz") / 1e9);
    json_array_foreach(json_object_get(root, "levels"), i, row) {
        printf("peak     %-8s %3.0f threads: f32 %.1f GFLOP/s, ",
               json_string_value(json_object_get(row, "level")), number(row, "threads"),
               number(row, "f32_ops_per_second") / 1e9);
        if (!json_is_null(json_object_get(row, "bf16_ops_per_second")))
            printf("bf16 %.1f GFLOP/s, ", number(row, "bf16_ops_per_second") / 1e9);
        printf("int8 %.1f GOP/s\n", number(row, "int8_ops_per_second") / 1e9);
    }
    json_array_foreach(json_object_get(root, "read"), i, row) {
        printf("read     %9s of each of %3.0f threads: %.1f GB/s\n",
               cli_bytes(size, (uint64_t)number(row, "bytes_per_thread")), number(row, "threads"),
               number(row, "bytes_per_second") / 1e9);
    }
    const json_t *barrier = json_object_get(root, "barrier_seconds");
    if (json_is_null(barrier))
        puts("barrier  not measured: it takes two CPUs and two threads");
    else
        printf("barrier  %.0f ns, two spinning threads of this program (not the library's team)\n",
               json_number_value(barrier) * 1e9);
    if (json_is_null(steal))
        puts("steal    not told by this system");
    else
        printf("steal    %.2f s since boot before, %.2f s after: %.2f%% of CPU time meanwhile\n",
               number(steal, "before_seconds"), number(steal, "after_seconds"),
               100.0 * number(steal, "fraction"));
}

static json_t *steal_json(const cpu_time *before, const cpu_time *after) {
    const double passed = after->total - before->total;
    if (!before->known || !after->known)
        return json_null();
    return json_pack("{s:f, s:f, s:f}", "before_seconds", before->steal, "after_seconds",
                     after->steal, "fraction",
                     passed > 0.0 ? (after->steal - before->steal) / passed : 0.0);
}

static int print_result(limits_run *run, double clock_before, double clock_after, double barrier,
                        json_t *steal) {
    json_t *root = json_pack("{s:I, s:I, s:{s:f, s:f}, s:O, s:O, s:o, s:o}", "threads",
                             (json_int_t)run->n_threads, "repeats", (json_int_t)run->repeats,
                             "clock", "before_hz", clock_before, "after_hz", clock_after, "levels",
                             run->levels, "read", run->reads, "barrier_seconds",
                             barrier > 0.0 ? json_real(barrier) : json_null(), "steal", steal);
    if (root == NULL)
        return cli_error("out of memory");
    if (run->json) {
        json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        putchar('\n');
    } else {
        print_text(root);
    }
    json_decref(root);
    return CLI_DONE;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int measure(limits_run *run) {
    const cpu_time before = read_cpu_time();
    const double clock_before = measure_clock(run->repeats);
    int code = measure_rates(run);
    if (code != CLI_GO_ON)
        return code;
    const bool two = run->n_threads > 1 && run->n_cpus > 1; /* on one CPU they would only wait */
    const double barrier = two ? measure_barrier(run->repeats) : 0.0;
    if (two && barrier <= 0.0)
        return no_threads(2);
    const double clock_after = measure_clock(run->repeats);
    const cpu_time after = read_cpu_time();
    return print_result(run, clock_before, clock_after, barrier, steal_json(&before, &after));
}

int cmd_bench_limits(int argc, char **argv) {
    limits_run run = {.repeats = 5};
    const cli_flag flags[] = {
        {'t', "threads", CLI_COUNT, &run.n_threads, "N", 1, MAX_THREADS,
         "the most threads to measure with [1 to 256; default all CPUs of the process]"},
        {'r', "repeats", CLI_COUNT, &run.repeats, "N", 1, MAX_REPEATS,
         "how often everything is measured, the medians count [1 to 100; default 5]"},
        {0, "json", CLI_SWITCH, &run.json, "", 0, 0, "print one JSON object"},
    };
    const cli_command command = {
        .name = "bench limits",
        .synopsis = "[-t N] [-r N] [--json]",
        .summary =
            "Measures what this machine allows, without a model: the clock (additions that wait\n"
            "for each other, one per cycle); the peak of f32, bf16 and int8 multiply-adds of each\n"
            "instruction-set level, in operations per second, two per multiply-add; the read\n"
            "bandwidth of 24 KiB, 512 KiB and 4 MiB of each thread's own and of 512 MiB shared\n"
            "out; the cost of a barrier between two spinning threads; and the time that the\n"
            "hypervisor took away meanwhile. Peaks are measured with 1 and N threads, bandwidth\n"
            "with 1 to 8 threads, then doubled numbers, then N.",
        .examples = {{"smallmind bench limits", "what the machine can do"},
                     {"smallmind bench limits -t 4 --json > limits.json",
                      "the same of four threads, to be compared later"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
    };
    int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    run.n_cpus = sm_cpu_count();
    if (run.n_threads == 0)
        run.n_threads = run.n_cpus;
    if (run.n_threads > MAX_THREADS)
        run.n_threads = MAX_THREADS;
    for (uint32_t n = 1; n < run.n_threads; n = n < 8 ? n + 1 : n * 2)
        run.counts[run.n_counts++] = n;
    run.counts[run.n_counts++] = run.n_threads;
    cli_catch_interrupt();
    run.levels = json_array();
    run.reads = json_array();
    code = run.levels == NULL || run.reads == NULL ? cli_error("out of memory") : measure(&run);
    json_decref(run.levels);
    json_decref(run.reads);
    return code;
}
