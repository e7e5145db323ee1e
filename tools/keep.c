/* keep.c - results of training that are not replaced by a slip. */
#include "keep.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "cli.h"

/* Of OUT and the checkpoint. */
static int check_result(const keep_files *f) {
    sm_error error;
    sm_checkpoint_info info = {.struct_size = sizeof info};
    const bool out = access(f->out, F_OK) == 0, checkpoint = access(f->checkpoint, F_OK) == 0;
    if (checkpoint && sm_checkpoint_get_info(f->checkpoint, &info, &error) != SM_OK)
        return cli_error("%s; --overwrite replaces it", error.message);
    const unsigned long long step = info.step, steps = info.steps;
    if (step > 0 && step < steps)
        return cli_error("%s holds a run that has done %llu of %llu steps: --resume goes on with "
                         "it, --overwrite starts anew",
                         f->checkpoint, step, steps);
    if (step > 0 && !out)
        return cli_error("%s holds a finished run, but %s is missing: --resume writes it, "
                         "--overwrite starts anew",
                         f->checkpoint, f->out);
    if (step > 0)
        return cli_error("%s is the result of a finished run of %llu steps: --overwrite replaces "
                         "it, --resume with more steps goes on with it",
                         f->out, steps);
    return out ? cli_error("%s is there already: --overwrite replaces it", f->out) : CLI_GO_ON;
}

/* The first line of a file, without its end; false: it is not there, empty or no plain file. */
static bool first_line(const char *path, char *line, size_t capacity) {
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return false;
    FILE *in = fopen(path, "rb");
    if (in == NULL)
        return false;
    const bool any = fgets(line, (int)capacity, in) != NULL;
    fclose(in);
    line[any ? strcspn(line, "\n") : 0] = 0;
    return any;
}

static bool is_metrics(const char *line) {
    json_t *first = json_loads(line, 0, NULL);
    const bool is = json_is_integer(json_object_get(first, "step"));
    json_decref(first);
    return is;
}

static bool is_plot(const char *line) {
    return strncmp(line, "<svg ", 5) == 0;
}

static int check_record(const char *path, const char *what, bool (*is)(const char *line),
                        bool resume) {
    char line[4096];
    if (!first_line(path, line, sizeof line) || is(line))
        return CLI_GO_ON;
    return cli_error("%s is there, but is no %s of a training run%s", path, what,
                     resume ? "" : "; --overwrite replaces it");
}

int keep_check(const keep_files *f, bool resume, bool overwrite) {
    if (overwrite)
        return CLI_GO_ON;
    int code = resume ? CLI_GO_ON : check_result(f);
    if (code == CLI_GO_ON)
        code = check_record(f->metrics, "record", is_metrics, resume);
    if (code == CLI_GO_ON)
        code = check_record(f->plot, "plot", is_plot, resume);
    return code;
}
