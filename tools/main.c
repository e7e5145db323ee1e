/* main.c - the `smallmind` program: picks the command. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "commands.h"

/* The words that make commands together with this one; "" if there are none. */
static void find_group(const char *word, char *others, size_t capacity) {
    size_t n = 0;
    others[0] = 0;
    for (size_t i = 0; i < n_commands && n < capacity; i++) {
        if (command_in_group(&commands[i], word))
            n += (size_t)snprintf(others + n, capacity - n, "%s%s", n > 0 ? ", " : "",
                                  commands[i].name + strlen(word) + 1);
    }
}

static bool asks_for_help(const char *word) {
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* A word that is no command, or only together with another one. */
static int no_command(int argc, char **argv) {
    char names[512], meant[96], others[128];
    find_group(argv[1], others, sizeof others);
    const bool group = others[0] != 0;
    if (group && argc > 2 && asks_for_help(argv[2])) {
        command_print_group(stdout, argv[1]);
        return cli_finish(CLI_DONE);
    }
    command_names(names, sizeof names);
    if (group)
        cli_error("\"%s\" is the first word of a command, the second one is one of these: %s",
                  argv[1], others);
    else
        cli_error("unknown command \"%s\"%s; `smallmind --help` lists the commands", argv[1],
                  cli_did_you_mean(meant, sizeof meant, names, argv[1]));
    return CLI_USAGE;
}

/* Commands that can be copied, with the bundled model where it is at hand. */
static void print_next(FILE *out, const char *program) {
    static const char bundled[] = "models/stories.gguf";
    FILE *file = fopen(bundled, "rb");
    const char *model = file ? bundled : "MODEL.gguf";
    if (file)
        fclose(file);
    fprintf(out, "try next:\n");
    fprintf(out, "  %s run %s -p 'One day, a dog' --temp 0.7\n", program, model);
    fprintf(out, "  %s bench %s\n", program, model);
    fprintf(out, "  %s inspect %s\n", program, model);
    fprintf(out, "  %s --help\n", program);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        command_print_all(stderr);
        fputc('\n', stderr);
        print_next(stderr, argc ? argv[0] : "smallmind");
        return CLI_USAGE;
    }
    if (asks_for_help(argv[1]) || strcmp(argv[1], "help") == 0) {
        command_print_all(stdout);
        return cli_finish(CLI_DONE);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("smallmind %s\n", sm_version());
        return cli_finish(CLI_DONE);
    }
    int words;
    const command_entry *found = command_find(argc - 1, argv + 1, &words);
    if (found != NULL)
        return cli_finish(found->run(argc - words, argv + words));
    return no_command(argc, argv);
}
