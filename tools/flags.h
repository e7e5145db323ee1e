/* flags.h - the flags of a command, whether its own or fields of the library's options structs.
 *
 * What parses a command line and what describes it (help, completion, manual pages) goes through
 * the same list.
 */
#ifndef FLAGS_H
#define FLAGS_H

#include "cli.h"

/* One flag: of the command's own, or a field. */
typedef struct flag_ref {
    char letter;
    char name[48]; /* "" if it has no long form */
    const cli_flag *own;
    const sm_option *field;
    void *options;
} flag_ref;

/* The i-th flag of a command in the order of the help; false behind the last. */
bool flag_at(const cli_command *command, size_t i, flag_ref *ref);
/* The flag of a long name: of a flag as flag_at has it, of a field as the library calls it, or one
 * that other programs use for it. Letters count in either case, '_' is '-'. */
bool flag_find(const cli_command *command, const char *name, size_t length, size_t *index,
               flag_ref *ref);
bool flag_find_letter(const cli_command *command, char letter, size_t *index, flag_ref *ref);
/* All long names that flag_find knows, as "--a|--b"; cut where they do not fit. */
void flag_names(const cli_command *command, char *names, size_t capacity);
/* What can only be no or yes needs no value. */
bool flag_is_switch(const flag_ref *ref);
/* Of a field: what the struct holds, and what it is to hold (`real` in a field of type F64). */
double flag_value(const flag_ref *ref);
void flag_set(const flag_ref *ref, uint64_t whole, double real);
/* Where a zero in the struct stands for another value, it cannot be asked for. */
bool flag_zero_is_default(const sm_option *field);
/* Whether numbers of that unit may end with K, M or G, which multiply by 1024. */
bool flag_unit_is_size(const char *unit);
/* Whether it takes "random", too. */
bool flag_is_seed(const flag_ref *ref);
/* The n-th of names separated by '|'; its length in *length, NULL behind the last. */
const char *flag_choice(const char *names, uint64_t n, size_t *length);

#endif
