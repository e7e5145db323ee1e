/* commands.h - the commands of the program (commands.inc). */
#ifndef COMMANDS_H
#define COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cli.h"

typedef struct command_entry {
    const char *name;                  /* one word or two */
    int (*run)(int argc, char **argv); /* returns the exit code */
    const char *summary;
} command_entry;

extern const command_entry commands[];
extern const size_t n_commands;

/* The command that argv (of one argument at least) begins with, letters in either case; *words is
 * how many arguments its name takes. NULL: none. */
const command_entry *command_find(int argc, char **argv, int *words);
/* Whether the command's name begins with that word and has another one. */
bool command_in_group(const command_entry *c, const char *group);
/* All names as sm_names_find takes them, words joined by '-'. */
void command_names(char *names, size_t capacity);

/* All commands, for --help without one (overview.c). */
void command_print_all(FILE *out);
/* Those in a group. */
void command_print_group(FILE *out, const char *group);

#endif
