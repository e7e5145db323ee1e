/* help.h - what --help prints about a command. */
#ifndef HELP_H
#define HELP_H

#include "cli.h"

void help_print(const cli_command *command);

#endif
