/* resident.h - what this process holds in memory, as the system counts it. */
#ifndef RESIDENT_H
#define RESIDENT_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes. */
typedef struct resident {
    uint64_t peak;     /* highest total so far */
    uint64_t now;      /* total */
    uint64_t private_; /* memory of this process alone: heap and stacks */
    uint64_t file;     /* pages of mapped files, the program's own included; shared with other
                          processes, and taken back by the system when it needs them */
} resident;

/* false where the system does not tell (anything but Linux). */
bool resident_get(resident *out);

#endif
