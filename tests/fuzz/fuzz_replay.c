/* main of a fuzz target that is not built for libFuzzer: runs the target on the files and
 * the files of the directories it is given. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_replayed;

static int replay_file(const char *path) {
    size_t size;
    uint8_t *read = scratch_read(path, &size);
    uint8_t *exact = malloc(size ? size : 1); /* so that reads past the end are seen */
    if (!read || !exact) {
        fprintf(stderr, "cannot read %s\n", path);
        return 1;
    }
    for (size_t i = 0; i < size; i++)
        exact[i] = read[i];
    free(read);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    n_replayed++;
    return 0;
}

int main(int argc, char **argv) {
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        DIR *directory = opendir(argv[i]);
        if (!directory)
            failed |= replay_file(argv[i]);
        for (struct dirent *e; directory && (e = readdir(directory));) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            if (e->d_name[0] != '.')
                failed |= replay_file(path);
        }
        if (directory)
            closedir(directory);
    }
    printf("%u inputs replayed\n", n_replayed);
    return failed || !n_replayed;
}
