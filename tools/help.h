/* help.h - what there is to say about commands and their flags, and --help. */
#ifndef HELP_H
#define HELP_H

#include <stdio.h>

#include "cli.h"
#include "flags.h"

void help_print(const cli_command *command);

/* How a flag is written, "-t, --threads N". */
#define HELP_FLAG_SPACE 96
const char *help_flag(char buffer[HELP_FLAG_SPACE], const flag_ref *ref);
/* What its value is called: "" of a switch. */
const char *help_value(const flag_ref *ref);
/* Range, unit and default of a field's flag, "" where its text says all. */
#define HELP_FACTS_SPACE 512
const char *help_facts(char buffer[HELP_FACTS_SPACE], const flag_ref *ref);
const char *help_doc(const flag_ref *ref);

#endif
