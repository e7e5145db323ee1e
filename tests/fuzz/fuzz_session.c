/* Fuzz target of saved sessions: the input changes a session that was saved, whose seal is then
 * made anew, as if another program had written it; or, where it begins like a GGUF file, is one
 * itself. What is loaded goes on, what is not leaves the session as it was.
 *
 * Changes are of 6 bytes each: four of a place, one of how many bytes (0: the file ends there), and
 * the byte that is put there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "fixture.h"
#include "format/format.h"
#include "smallmind/smallmind.h"
#include "support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_session: %s\n", what);
        abort();
    }
}

static struct {
    sm_model *model;
    sm_session *session; /* holds 3 tokens before each input */
    uint8_t *saved;      /* [size] of a session of 9 */
    uint64_t size;
} world;

/* As the writer would have sealed it: the sum of all before it, at the end. */
static void seal_again(uint8_t *file) {
    sm_mem mem;
    const uint64_t at = world.size - 64; /* the alignment */
    require(!sm_mem_init(&mem, NULL, 0, NULL), "no memory");
    sm_sum *sum = sm_sum_new(&mem);
    require(sum != NULL, "no memory");
    sm_sum_add(sum, file, at);
    const uint64_t value = sm_sum_value(sum);
    sm_free(&mem, sum);
    for (int i = 0; i < 8; i++)
        file[at + (uint64_t)i] = (uint8_t)(value >> 8 * i);
}

static void make_world(void) {
    static const int32_t ids[] = {5, 9, 77, 3, 8, 5, 9, 77, 1};
    const fixture_model small = {.architecture = "gemma2",
                                 .n_layer = 2,
                                 .n_embd = 16,
                                 .n_head = 2,
                                 .n_head_kv = 1,
                                 .head_dim = 8,
                                 .sliding_window = 5};
    const sm_model_options level = {.struct_size = sizeof level, .level = SM_LEVEL_SCALAR};
    const sm_session_options o = {
        .struct_size = sizeof o, .n_ctx = 24, .n_threads = 1, .n_batch = 1};
    const char *path = scratch_path("fuzz-model.gguf");
    if (world.model)
        return;
    require(fixture_write(path, &small) == 0, "no model");
    require(!sm_model_load(&world.model, path, &level, NULL), "no model");
    require(!sm_session_new(&world.session, world.model, &o, NULL), "no session");
    require(!sm_session_feed(world.session, ids, 9, NULL), "not fed");
    sm_session_save_bytes(world.session, NULL, 0, &world.size, NULL);
    world.saved = malloc((size_t)world.size);
    require(world.saved &&
                !sm_session_save_bytes(world.session, world.saved, world.size, &world.size, NULL),
            "not saved");
    uint8_t *again = malloc((size_t)world.size);
    require(again != NULL, "no memory");
    memcpy(again, world.saved, (size_t)world.size);
    seal_again(again);
    require(!memcmp(again, world.saved, (size_t)world.size), "the seal is not where it was");
    free(again);
}

/* The file with the changes; its new size. */
static uint64_t change(uint8_t *file, const uint8_t *data, size_t size) {
    uint64_t n = world.size;
    memcpy(file, world.saved, (size_t)n);
    for (; size >= 6; data += 6, size -= 6) {
        const uint32_t place =
            data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
        if (!n)
            break;
        if (!data[4])
            n = place % n;
        for (uint64_t i = 0; i < data[4] && i + place % n < n; i++)
            file[place % n + i] = data[5];
    }
    return n;
}

/* Loads, and goes on. */
static void load(const uint8_t *file, uint64_t n) {
    static const int32_t ids[] = {5, 9, 77};
    sm_error error = {0};
    const float *logits;
    const int32_t next = 4;
    require(!sm_session_sync(world.session, ids, 3, NULL, NULL), "no beginning");
    const sm_status status = sm_session_restore_bytes(world.session, file, n, &error);
    require(!status == !error.message[0], "no reason");
    if (status) {
        require(sm_session_length(world.session) == 3, "a refused file changed the session");
        require(!sm_session_logits(world.session, &logits, NULL, NULL), "logits are gone");
    }
    if (sm_session_length(world.session) < 24) {
        const sm_status fed = sm_session_feed(world.session, &next, 1, &error);
        require(!fed || fed == SM_ERR_FORMAT, "does not go on");
    }
    require(!sm_session_rewind(world.session, 0, NULL), "does not go back");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    make_world();
    if (size >= 4 && !memcmp(data, "GGUF", 4)) {
        load(data, size);
        return 0;
    }
    uint8_t *file = malloc((size_t)world.size);
    require(file != NULL, "out of memory");
    const uint64_t n = change(file, data, size);
    uint8_t *exact = malloc(n ? (size_t)n : 1); /* so that reads past the end are seen */
    require(exact != NULL, "out of memory");
    memcpy(exact, file, (size_t)n);
    load(exact, n);
    if (n == world.size) {
        seal_again(exact);
        load(exact, n);
    }
    free(exact);
    free(file);
    return 0;
}
