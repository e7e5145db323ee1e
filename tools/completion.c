/* completion.c - `smallmind completion`: scripts that let shells complete commands, made from the
 * tables that parse them. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "help.h"

/* ---- what is completed --------------------------------------------------------------------- */

typedef enum value_kind { NOTHING, CHOICE, FILES, FREE } value_kind;

static value_kind kind_of(const flag_ref *ref) {
    if (flag_is_switch(ref))
        return NOTHING;
    if (ref->field != NULL)
        return ref->field->type == SM_OPTION_ENUM ? CHOICE : FREE;
    return strncmp(ref->own->value, "FILE", 4) == 0 ? FILES : FREE;
}

static bool is_repeated(const flag_ref *ref) {
    return ref->own != NULL && ref->own->kind == CLI_TEXTS;
}

/* The beginning of what the help says about a flag: a sentence, or a part of one. */
#define SHORT_SPACE 72
static const char *short_doc(char buffer[SHORT_SPACE], const flag_ref *ref) {
    const char *doc = help_doc(ref);
    size_t n = strlen(doc);
    static const char *const ends[] = {"; ", ". ", ": ", " ("};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        const char *end = strstr(doc, ends[i]);
        if (end != NULL && (size_t)(end - doc) < n)
            n = (size_t)(end - doc);
    }
    if (n >= SHORT_SPACE) { /* whole words of it */
        n = SHORT_SPACE - 1;
        while (n > 0 && doc[n] != ' ')
            n--;
    }
    snprintf(buffer, SHORT_SPACE, "%.*s", (int)n, doc);
    return buffer;
}

static void print_choices(const char *names) {
    for (const char *c = names; *c != 0; c++)
        putchar(*c == '|' ? ' ' : *c);
}

/* What is in `special` comes behind a backslash. */
static void print_escaped(const char *text, const char *special) {
    for (const char *c = text; *c != 0; c++) {
        if (strchr(special, *c) != NULL)
            putchar('\\');
        putchar(*c);
    }
}

/* The first word of command i if no command before has it, else NULL. */
static const char *first_word(size_t i, size_t *length) {
    *length = strcspn(commands[i].name, " ");
    for (size_t k = 0; k < i; k++) {
        if (strncmp(commands[k].name, commands[i].name, *length) == 0 &&
            strchr(" ", commands[k].name[*length]) != NULL)
            return NULL;
    }
    return commands[i].name;
}

static void print_first_words(void) {
    for (size_t i = 0; i < n_commands; i++) {
        size_t length;
        const char *word = first_word(i, &length);
        if (word != NULL)
            printf("%.*s ", (int)length, word);
    }
}

/* The second word of a command; NULL: it has one only. */
static const char *second_word(const command_entry *c) {
    const char *space = strchr(c->name, ' ');
    return space != NULL ? space + 1 : NULL;
}

static void each_command(void (*describe)(const cli_command *, const void *)) {
    for (size_t i = 0; i < n_commands; i++)
        cli_describe(commands[i].run, describe, &commands[i]);
}

/* ---- bash ------------------------------------------------------------------------------------ */

static void bash_options(const cli_command *c, const void *user) {
    flag_ref ref;
    const command_entry *which = user;
    printf("        '%s') words='", which->name);
    for (size_t i = 0; flag_at(c, i, &ref); i++) {
        if (ref.letter != 0)
            printf("-%c ", ref.letter);
        if (ref.name[0] != 0)
            printf("--%s ", ref.name);
    }
    puts("-h --help' ;;");
}

static void bash_pattern(const command_entry *which, const flag_ref *ref) {
    printf("        ");
    if (ref->letter != 0)
        printf("'%s -%c'%s", which->name, ref->letter, ref->name[0] != 0 ? " | " : "");
    if (ref->name[0] != 0)
        printf("'%s --%s'", which->name, ref->name);
    printf(") ");
}

static void bash_values(const cli_command *c, const void *user) {
    flag_ref ref;
    for (size_t i = 0; flag_at(c, i, &ref); i++) {
        const value_kind kind = kind_of(&ref);
        if (kind == NOTHING)
            continue;
        bash_pattern(user, &ref);
        if (kind == CHOICE) {
            printf("words='");
            print_choices(ref.field->names);
            puts("' ;;");
        } else {
            puts(kind == FILES ? "return ;;" : "compopt +o default 2> /dev/null; return ;;");
        }
    }
}

static void bash_operands(const cli_command *c, const void *user) {
    const command_entry *which = user;
    if (c->choices == NULL)
        return;
    printf("        '%s') words='", which->name);
    print_choices(c->choices);
    puts("' ;;");
}

static void print_bash(void) {
    puts("# bash completion of smallmind, as `smallmind completion bash` prints it\n"
         "_smallmind() {\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
         "    local command=${COMP_WORDS[1]} words=\n"
         "    COMPREPLY=()\n"
         "    if [[ $cur == \"=\" ]]; then # --option=value comes in three words\n"
         "        cur=\n"
         "    elif [[ $prev == \"=\" ]]; then\n"
         "        prev=${COMP_WORDS[COMP_CWORD-2]}\n"
         "    fi\n"
         "    if ((COMP_CWORD > 2)); then\n"
         "        case \"$command ${COMP_WORDS[2]}\" in");
    for (size_t i = 0; i < n_commands; i++) {
        if (second_word(&commands[i]) != NULL)
            printf("        '%s') command='%s' ;;\n", commands[i].name, commands[i].name);
    }
    printf("        esac\n    fi\n    if ((COMP_CWORD == 1)); then\n        words='");
    print_first_words();
    puts("--help --version'\n"
         "    elif [[ $cur == -* ]]; then\n"
         "        case $command in");
    each_command(bash_options);
    puts("        esac\n    else\n        case $command in");
    each_command(bash_operands);
    puts("        esac");
    for (size_t i = 0; i < n_commands; i++) {
        const char *second = second_word(&commands[i]);
        if (second != NULL)
            printf("        [[ $COMP_CWORD == 2 && $command == %.*s ]] && words+=' %s'\n",
                   (int)(second - commands[i].name - 1), commands[i].name, second);
    }
    puts("        case \"$command $prev\" in");
    each_command(bash_values);
    puts("        esac\n"
         "    fi\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
         "}\n"
         "complete -o bashdefault -o default -F _smallmind smallmind");
}

/* ---- zsh ------------------------------------------------------------------------------------- */

/* Inside of quotes. */
static void zsh_text(const char *text, const char *special) {
    for (const char *c = text; *c != 0; c++) {
        if (*c == '\'') /* out of the quotes and in again */
            fputs("'\\''", stdout);
        else
            print_escaped((const char[]){*c, 0}, special);
    }
}

static void zsh_flag(const flag_ref *ref) {
    char doc[SHORT_SPACE];
    const value_kind kind = kind_of(ref);
    const char *mark = kind == NOTHING ? "" : ref->name[0] != 0 ? "=" : "+";
    printf("            ");
    if (is_repeated(ref))
        printf("'*'");
    else if (ref->letter != 0 && ref->name[0] != 0)
        printf("'(-%c --%s)'", ref->letter, ref->name);
    if (ref->letter != 0 && ref->name[0] != 0)
        printf("{-%c%s,--%s%s}", ref->letter, kind == NOTHING ? "" : "+", ref->name, mark);
    else if (ref->letter != 0)
        printf("-%c%s", ref->letter, mark);
    else
        printf("--%s%s", ref->name, mark);
    printf("'[");
    zsh_text(short_doc(doc, ref), "[]:\\");
    putchar(']');
    if (kind != NOTHING)
        printf(":%s:", help_value(ref));
    if (kind == FILES)
        fputs("_files", stdout);
    if (kind == CHOICE) {
        putchar('(');
        print_choices(ref->field->names);
        putchar(')');
    }
    puts("' \\");
}

static void zsh_command(const cli_command *c, const void *user) {
    flag_ref ref;
    const command_entry *which = user;
    printf("    '%s')\n        _arguments -s \\\n", which->name);
    for (size_t i = 0; flag_at(c, i, &ref); i++)
        zsh_flag(&ref);
    fputs("            '(-h --help)'{-h,--help}'[print the help]' \\\n            '*:", stdout);
    if (c->choices != NULL) {
        fputs("choice:(", stdout);
        print_choices(c->choices);
        puts(")' ;;");
    } else {
        puts("file:_files' ;;");
    }
}

static void print_zsh(void) {
    puts("#compdef smallmind\n"
         "# zsh completion of smallmind, as `smallmind completion zsh` prints it\n"
         "_smallmind() {\n"
         "    local -a commands seconds\n"
         "    commands=(");
    for (size_t i = 0; i < n_commands; i++) {
        size_t length;
        const char *word = first_word(i, &length);
        if (word == NULL)
            continue;
        printf("        '%.*s:", (int)length, word);
        zsh_text(commands[i].summary, ":\\");
        puts("'");
    }
    puts("    )\n"
         "    if ((CURRENT == 2)); then\n"
         "        _describe -t commands command commands\n"
         "        return\n"
         "    fi\n"
         "    local command=$words[2]\n"
         "    shift words\n"
         "    ((CURRENT--))\n"
         "    case $command in");
    for (size_t i = 0; i < n_commands; i++) {
        const char *second = second_word(&commands[i]);
        if (second != NULL)
            printf("    %.*s) seconds+=(%s) ;;\n", (int)(second - commands[i].name - 1),
                   commands[i].name, second);
    }
    puts("    esac\n"
         "    if ((CURRENT == 2)); then\n"
         "        compadd -a seconds\n"
         "    elif ((${seconds[(Ie)$words[2]]})); then\n"
         "        command+=\" $words[2]\"\n"
         "        shift words\n"
         "        ((CURRENT--))\n"
         "    fi\n"
         "    case $command in");
    each_command(zsh_command);
    puts("    esac\n"
         "}\n"
         "if [[ $funcstack[1] == _smallmind ]]; then # loaded by its name, when it is called\n"
         "    _smallmind \"$@\"\n"
         "else\n"
         "    compdef _smallmind smallmind\n"
         "fi");
}

/* ---- fish ------------------------------------------------------------------------------------ */

/* complete -c smallmind -n 'the command is given' */
static void fish_begin(const command_entry *which) {
    const char *second = second_word(which);
    const int first = second != NULL ? (int)(second - which->name - 1) : (int)strlen(which->name);
    printf("complete -c smallmind -n '__fish_seen_subcommand_from %.*s", first, which->name);
    if (second != NULL)
        printf("; and __fish_seen_subcommand_from %s", second);
    for (size_t i = 0; second == NULL && i < n_commands; i++) {
        if (command_in_group(&commands[i], which->name))
            printf("; and not __fish_seen_subcommand_from %s", second_word(&commands[i]));
    }
    putchar('\'');
}

static void fish_text(const char *text) {
    fputs(" -d '", stdout);
    print_escaped(text, "'\\");
    puts("'");
}

static void fish_flags(const cli_command *c, const void *user) {
    flag_ref ref;
    char doc[SHORT_SPACE];
    for (size_t i = 0; flag_at(c, i, &ref); i++) {
        const value_kind kind = kind_of(&ref);
        fish_begin(user);
        if (ref.letter != 0)
            printf(" -s %c", ref.letter);
        if (ref.name[0] != 0)
            printf(" -l %s", ref.name);
        fputs(kind == NOTHING ? "" : kind == FILES ? " -r -F" : " -x", stdout);
        if (kind == CHOICE) {
            fputs(" -a '", stdout);
            print_choices(ref.field->names);
            putchar('\'');
        }
        fish_text(short_doc(doc, &ref));
    }
    fish_begin(user);
    fputs(" -s h -l help", stdout);
    fish_text("print the help");
    if (c->choices != NULL) {
        fish_begin(user);
        fputs(" -f -a '", stdout);
        print_choices(c->choices);
        puts("'");
    }
}

static void print_fish(void) {
    puts("# fish completion of smallmind, as `smallmind completion fish` prints it");
    for (size_t i = 0; i < n_commands; i++) {
        size_t length;
        const char *word = first_word(i, &length);
        const char *second = second_word(&commands[i]);
        if (word != NULL) {
            printf("complete -c smallmind -n __fish_use_subcommand -f -a %.*s", (int)length, word);
            fish_text(commands[i].summary);
        }
        if (second != NULL) {
            const int first = (int)(second - commands[i].name - 1);
            printf("complete -c smallmind -n '__fish_seen_subcommand_from %.*s; and not "
                   "__fish_seen_subcommand_from %s' -f -a %s",
                   first, commands[i].name, second, second);
            fish_text(commands[i].summary);
        }
    }
    puts("complete -c smallmind -n __fish_use_subcommand -l version -d 'print the version'");
    each_command(fish_flags);
}

/* ---- the command ----------------------------------------------------------------------------- */

int cmd_completion(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    const char *shell = NULL;
    const cli_command command = {
        .name = "completion",
        .synopsis = "bash|zsh|fish",
        .summary =
            "Prints a script that lets the shell complete commands, options and their values.\n"
            "Where the program is installed with meson, the scripts are, too.",
        .examples = {{"source <(smallmind completion bash)", "in ~/.bashrc"},
                     {"smallmind completion fish | source", "in ~/.config/fish/config.fish"}},
        .operand = &shell,
        .choices = "bash|zsh|fish",
    };
    const int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    const uint32_t which = shell != NULL ? sm_names_find(command.choices, shell, NULL) : 0;
    if (shell == NULL)
        return cli_misuse("completion", "the name of a shell is required: %s", command.choices);
    if (which == SM_NAME_NONE)
        return cli_misuse("completion", "\"%s\" is none of %s", shell, command.choices);
    shells[which].print();
    return CLI_DONE;
}
