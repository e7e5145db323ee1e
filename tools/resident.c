/* resident.c - reads /proc/self/status. getrusage would not do: its peak is inherited from
 * the process that started this one. */
#include "resident.h"

#include <stdio.h>
#include <string.h>

bool resident_get(resident *out) {
    static const char *const names[] = {"VmHWM:", "VmRSS:", "RssAnon:", "RssFile:"};
    uint64_t *const targets[] = {&out->peak, &out->now, &out->private_, &out->file};
    char line[256];
    size_t found = 0;
    FILE *f = fopen("/proc/self/status", "r");
    if (f == NULL)
        return false;
    while (fgets(line, sizeof line, f) != NULL) {
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            unsigned long long kib;
            if (strncmp(line, names[i], strlen(names[i])) == 0 &&
                sscanf(line + strlen(names[i]), "%llu", &kib) == 1) {
                *targets[i] = (uint64_t)kib * 1024;
                found++;
            }
        }
    }
    fclose(f);
    return found == sizeof names / sizeof names[0];
}
