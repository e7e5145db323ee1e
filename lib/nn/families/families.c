/* The table of families. */
#include "nn.h"
#include "plan.h"

#include <string.h>

static const struct {
    const char *name;
    sm_family_fn plan;
} families[] = {
#define SM_FAMILY(name, plan) {name, plan},
#include "families.inc"
#undef SM_FAMILY
};
#define N_FAMILIES (sizeof families / sizeof *families)

static const char names[] =
#define SM_FAMILY(name, plan) "|" name
#include "families.inc"
#undef SM_FAMILY
    ;

const char *sm_family_names(void) {
    return names + 1;
}

sm_family_fn sm_family_find(const char *architecture, uint64_t length, const char **name) {
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (strlen(families[i].name) == length &&
            memcmp(families[i].name, architecture, (size_t)length) == 0) {
            *name = families[i].name;
            return families[i].plan;
        }
    return NULL;
}

void sm_family_list(const char *architecture, uint64_t length, char *text, size_t capacity) {
    const size_t alike = length < 3 ? (size_t)length : 3;
    size_t n = 0;
    text[0] = 0;
    for (size_t i = 0; i < N_FAMILIES && alike && n < capacity; i++)
        if (strncmp(families[i].name, architecture, alike) == 0)
            n += sm_format(text + n, capacity - n, "%s%s",
                           n ? ", " : "alike ones that can: ", families[i].name);
    if (!n)
        sm_format(text, capacity, "%u others can", (unsigned)N_FAMILIES);
}
