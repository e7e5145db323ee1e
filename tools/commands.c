/* commands.c - the table of commands. */
#include "commands.h"

#include <stdio.h>
#include <string.h>

#define COMMAND(name, run, summary) {name, run, summary},
const command_entry commands[] = {
#include "commands.inc"
};
#undef COMMAND
const size_t n_commands = sizeof commands / sizeof commands[0];

#define NAMES_SPACE 512

void command_names(char *names, size_t capacity) {
    size_t n = 0;
    names[0] = 0;
    for (size_t i = 0; i < n_commands && n < capacity; i++)
        n += (size_t)snprintf(names + n, capacity - n, "%s%s", i > 0 ? "|" : "", commands[i].name);
    for (char *c = names; *c != 0; c++) {
        if (*c == ' ')
            *c = '-';
    }
}

const command_entry *command_find(int argc, char **argv, int *words) {
    char names[NAMES_SPACE], name[64];
    command_names(names, sizeof names);
    for (*words = argc > 1 ? 2 : 1; *words > 0; --*words) {
        snprintf(name, sizeof name, "%s%s%s", argv[0], *words > 1 ? "-" : "",
                 *words > 1 ? argv[1] : "");
        const uint32_t place = sm_names_find(names, name, NULL);
        if (place < n_commands)
            return &commands[place];
    }
    return NULL;
}

bool command_in_group(const command_entry *c, const char *group) {
    const size_t n = strlen(group);
    return strncmp(c->name, group, n) == 0 && c->name[n] == ' ';
}
