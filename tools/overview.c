/* overview.c - what there is: the lists of commands. */
#include "commands.h"
#include "page.h"

/* Commands of a group; NULL: all. */
static void list_commands(page *p, const char *group) {
    fputs("\ncommands:\n", p->out);
    for (size_t i = 0; i < n_commands; i++) {
        if (group == NULL || command_in_group(&commands[i], group))
            page_entry(p, commands[i].name, 16, commands[i].summary, "");
    }
    fputc('\n', p->out);
    p->indent = 0;
}

void command_print_group(FILE *out, const char *group) {
    page p = page_new(out);
    page_usage(&p, group, "COMMAND [OPTION]...");
    list_commands(&p, group);
    page_text(&p, "`smallmind COMMAND --help` lists the options of a command.");
}

void command_print_all(FILE *out) {
    page p = page_new(out);
    page_usage(&p, "COMMAND", "[OPTION]...");
    page_text(&p, "\nRuns language models from GGUF files and Hugging Face directories.");
    list_commands(&p, NULL);
    page_text(&p,
              "`smallmind COMMAND --help` lists the options of a command; those that compute take\n"
              "-t THREADS and --level LEVEL. `smallmind --version` prints the version.\n"
              "Results go to standard output, progress, timings and errors to standard error.\n"
              "Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted by Ctrl-C,\n"
              "143 by SIGTERM, 129 by SIGHUP.");
}
