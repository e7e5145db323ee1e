/* Speed of a vocabulary on a text: bench_tokenizer VOCAB TEXT [REPEATS]. Prints the time
 * to open the vocabulary and, for the fastest repeat, MB/s of encoding and decoding on one
 * thread (processor time, so that other programs count less). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "smallmind/tokenizer.h"
#include "support.h"

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int give_up(const char *path, const sm_error *error) {
    fprintf(stderr, "bench_tokenizer: %s: %s\n", path, error->message);
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: bench_tokenizer VOCAB TEXT [REPEATS]\n");
        return 2;
    }
    sm_error error = {0};
    sm_tokenizer *t;
    size_t size;
    char *text = (char *)scratch_read(argv[2], &size);
    if (!text) {
        fprintf(stderr, "bench_tokenizer: cannot read %s\n", argv[2]);
        return 1;
    }
    double begin = seconds();
    if (sm_tokenizer_load(&t, argv[1], NULL, &error))
        return give_up(argv[1], &error);
    double open = seconds() - begin, encode = 1e9, decode = 1e9;
    uint64_t room = size * 2 + 16, n = 0, length = 0;
    int32_t *ids = malloc(room * sizeof *ids);
    char *back = malloc(size * 4 + 16);
    for (long r = argc > 3 ? strtol(argv[3], NULL, 10) : 5; r > 0; r--) {
        begin = seconds();
        if (sm_tokenizer_encode(t, text, size, NULL, ids, room, &n, &error))
            return give_up(argv[2], &error);
        double middle = seconds();
        if (sm_tokenizer_decode(t, ids, n, 0, back, size * 4 + 16, &length, &error))
            return give_up(argv[2], &error);
        double end = seconds();
        encode = middle - begin < encode ? middle - begin : encode;
        decode = end - middle < decode ? end - middle : decode;
    }
    printf("%s: open %.1f ms, encode %.1f MB/s, decode %.1f MB/s, %llu ids, %s\n", argv[1],
           1e3 * open, (double)size / 1e6 / encode, (double)size / 1e6 / decode,
           (unsigned long long)n,
           length == size && memcmp(back, text, size) == 0 ? "text comes back" : "text changes");
    free(ids);
    free(back);
    free(text);
    sm_tokenizer_free(t);
    return 0;
}
