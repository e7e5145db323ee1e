/* clock.c - the time that passes. */
#include "clock.h"

#include <time.h>

double cli_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double cli_seconds_roughly(void) {
#if defined(CLOCK_MONOTONIC_COARSE)
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
#else
    return cli_seconds();
#endif
}
