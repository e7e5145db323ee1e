/* filters.h - filters lie in tables, by what they make; and what they share. */
#ifndef SM_CHAT_FILTERS_H
#define SM_CHAT_FILTERS_H

#include "value.h"

typedef struct filter_row {
    const char *name; /* NULL: the end */
    value (*apply)(run *r, value v, const arguments *a);
    uint8_t least, most;
    const char *names; /* of arguments; "*": any */
    bool lazy;         /* gives a generator: what fails shows when somebody asks for the items */
} filter_row;

extern const filter_row filters_of_text[], filters_of_lists[];

/* Whether the argument is there and true. */
bool flag_of(const arguments *a, uint32_t i, const char *name);
/* False, with a status, where it is no integer. */
bool whole_or(run *r, const arguments *a, uint32_t i, const char *name, int64_t otherwise,
              int64_t *out);
/* Of a path like "function.name" or 0. */
value path_of(run *r, value v, value path);
/* What is compared: the attribute if there is one, letters without their case unless asked. */
value compared_part(run *r, value v, value attribute, bool case_sensitive);
/* Of what lies on the stack from `base` on. */
value generator_of(run *r, uint32_t base);

#endif
