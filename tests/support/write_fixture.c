/* write_fixture.c - writes a tiny model for the tests of the program.
 *
 * Usage: write_fixture FILE ARCHITECTURE bpe|spm
 */
#include <stdio.h>
#include <string.h>

#include "fixture.h"

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: write_fixture FILE ARCHITECTURE bpe|spm\n");
        return 2;
    }
    const fixture_model model = {
        .architecture = argv[2],
        .spm = strcmp(argv[3], "spm") == 0,
        .seed = 1,
    };
    return fixture_write(argv[1], &model) == 0 ? 0 : 1;
}
