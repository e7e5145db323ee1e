/* Loading from memory, descriptors and a host's own reader: the same model as from the path; what
 * the bytes are needed for ends with one call of `done`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blocks.h"
#include "fixture.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define IN_FRONT 4096 /* of the model in the archive that holds it */

/* A host that lends bytes. */
typedef struct host {
    const uint8_t *data;
    uint64_t size;
    uint64_t most;    /* that one read gives */
    uint64_t fail_at; /* reads from there on fail; 0: none */
    uint32_t n_reads, n_done;
} host;

static int64_t read_host(void *user, uint64_t offset, void *to, uint64_t n) {
    host *h = user;
    h->n_reads++;
    if (h->fail_at && offset >= h->fail_at)
        return 0;
    assert_true(offset + n <= h->size);
    const uint64_t give = n < h->most ? n : h->most;
    memcpy(to, h->data + offset, give);
    return (int64_t)give;
}

static void done(void *user) {
    ((host *)user)->n_done++;
}

static struct {
    char path[256], archive[256];
    uint8_t *lines; /* the file once more, beginning where a cache line does */
    size_t size;
    float logits[FIXTURE_VOCAB];
} world;

static void logits_of(const sm_model *model, float *out) {
    static const int32_t ids[] = {1, 77, 250, 3, 9};
    sm_session *session;
    const float *logits;
    assert_int_equal(sm_session_new(&session, model, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_feed(session, ids, 5, NULL), SM_OK);
    assert_int_equal(sm_session_logits(session, &logits, NULL, NULL), SM_OK);
    memcpy(out, logits, sizeof world.logits);
    sm_session_free(session);
}

static int make_world(void **state) {
    (void)state;
    const fixture_model spec = {.type = SM_DTYPE_Q8_0, .untied = true};
    strcpy(world.path, scratch_path("model.gguf"));
    strcpy(world.archive, scratch_path("archive"));
    if (fixture_write(world.path, &spec))
        return -1;
    uint8_t *whole = scratch_read(world.path, &world.size);
    world.lines = aligned_alloc(64, (world.size + 127) / 64 * 64);
    uint8_t *archive = calloc(1, world.size + 2 * IN_FRONT);
    if (!whole || !world.lines || !archive)
        return -1;
    memcpy(world.lines, whole, world.size);
    memcpy(archive + IN_FRONT, whole, world.size);
    scratch_write(world.archive, archive, world.size + 2 * IN_FRONT);
    free(whole);
    free(archive);
    sm_model *model;
    assert_int_equal(sm_model_load(&model, world.path, NULL, NULL), SM_OK);
    logits_of(model, world.logits);
    sm_model_free(model);
    return 0;
}

static int end_world(void **state) {
    (void)state;
    free(world.lines);
    return 0;
}

/* Loads, computes, frees; done comes once, and not before the model goes if it is `lent`. */
static void same_model(const sm_origin *origin, uint32_t io, bool lent) {
    float logits[FIXTURE_VOCAB];
    const sm_model_options o = {.struct_size = sizeof o, .io = io, .repack = SM_REPACK_NONE};
    const host *h = origin->user;
    sm_model *model;
    sm_tokenizer *tokenizer;
    sm_error error = {0};
    if (sm_model_load_from(&model, origin, &o, &error))
        fail_msg("%s", error.message);
    assert_int_equal(h->n_done, lent ? 0 : 1);
    logits_of(model, logits);
    assert_memory_equal(logits, world.logits, sizeof logits);
    assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, NULL), SM_OK);
    sm_model_free(model);
    sm_tokenizer_free(tokenizer);
    assert_int_equal(h->n_done, 1);
}

static void the_same_model_from_anywhere(void **state) {
    (void)state;
    for (uint32_t io = SM_IO_MAP; io <= SM_IO_READ; io++) {
        host h = {.data = world.lines, .size = world.size, .most = 1000};
        sm_origin origin = {
            .struct_size = sizeof origin, .read = read_host, .user = &h, .done = done};
        origin.name = world.path;
        same_model(&origin, io, io == SM_IO_MAP);
        h.n_done = 0;
        origin.kind = SM_ORIGIN_MEMORY;
        origin.name = NULL;
        origin.data = world.lines;
        origin.size = world.size;
        same_model(&origin, io, true);
        uint8_t *odd = malloc(world.size + 128);
        assert_non_null(odd);
        for (uintptr_t i = 1; i < 64; i += 31) { /* no multiple of 64: copied */
            uint8_t *at = (uint8_t *)(((uintptr_t)odd + 63) / 64 * 64) + i;
            memcpy(at, world.lines, world.size);
            origin.data = at;
            h.n_done = 0;
            same_model(&origin, io, false);
        }
        free(odd);
        h.n_done = 0;
        origin.kind = SM_ORIGIN_READ;
        same_model(&origin, io, false);
        assert_true(h.n_reads >= world.size / 1000);
        const int fd = open(world.archive, O_RDONLY);
        assert_true(fd >= 0);
        origin.kind = SM_ORIGIN_FD;
        origin.fd = fd;
        origin.offset = IN_FRONT;
        h.n_done = 0;
        same_model(&origin, io, io == SM_IO_MAP);
        close(fd);
    }
}

/* An archive whose models do not begin on pages: at a multiple of 64 mapped, elsewhere copied. */
static void a_descriptor_from_any_place(void **state) {
    (void)state;
    static const uint64_t at[] = {64, 4032, 4160, 5, 4099};
    uint8_t *whole = calloc(1, world.size + 2 * IN_FRONT);
    assert_non_null(whole);
    for (uint32_t i = 0; i < sizeof at / sizeof *at; i++) {
        const char *path = scratch_path("odd");
        memset(whole, 0xff, world.size + 2 * IN_FRONT);
        memcpy(whole + at[i], world.lines, world.size);
        scratch_write(path, whole, at[i] + world.size);
        host h = {0};
        const int fd = open(path, O_RDONLY);
        const sm_origin origin = {.struct_size = sizeof origin,
                                  .kind = SM_ORIGIN_FD,
                                  .offset = at[i],
                                  .size = i % 2 ? world.size : 0,
                                  .fd = fd,
                                  .done = done,
                                  .user = &h};
        same_model(&origin, SM_IO_MAP, at[i] % 64 == 0);
        close(fd);
    }
    free(whole);
}

static void vocabularies_and_directories_too(void **state) {
    (void)state;
    host h = {.data = world.lines, .size = world.size, .most = UINT64_MAX};
    const sm_origin origin = {.struct_size = sizeof origin,
                              .kind = SM_ORIGIN_READ,
                              .name = "from the host",
                              .size = world.size,
                              .read = read_host,
                              .done = done,
                              .user = &h};
    sm_tokenizer *tokenizer;
    sm_gguf *gguf;
    sm_gguf_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_tokenizer_load_from(&tokenizer, &origin, NULL, NULL), SM_OK);
    assert_int_equal(h.n_done, 1);
    sm_tokenizer_free(tokenizer);
    assert_int_equal(sm_gguf_load_from(&gguf, &origin, NULL, NULL), SM_OK);
    assert_int_equal(h.n_done, 2);
    assert_int_equal(sm_gguf_get_info(gguf, &info, NULL), SM_OK);
    assert_true(info.n_tensors > 0);
    sm_gguf_free(gguf);
    sm_model *model;
    sm_adapter *adapter;
    sm_error error;
    assert_int_equal(sm_model_load(&model, world.path, NULL, NULL), SM_OK);
    assert_int_equal(sm_adapter_load_from(&adapter, model, &origin, NULL, &error),
                     SM_ERR_UNSUPPORTED); /* a model is no adapter */
    assert_non_null(strstr(error.message, "from the host"));
    assert_int_equal(h.n_done, 3);
    sm_model_free(model);
    assert_int_equal(h.n_done, 3);
}

static int32_t stop(void *user, uint64_t n, uint64_t total) {
    (void)user;
    (void)total;
    return n > 0;
}

/* Whatever fails, done was called once. */
static void failing(sm_origin origin, sm_status want, const char *message) {
    host *h = origin.user;
    sm_model *model = (sm_model *)(uintptr_t)1;
    sm_error error = {0};
    h->n_done = 0;
    assert_int_equal(sm_model_load_from(&model, &origin, NULL, &error), want);
    assert_null(model);
    if (!strstr(error.message, message))
        fail_msg("%s", error.message);
    assert_int_equal(h->n_done, 1);
}

static void what_fails_is_said_and_let_go(void **state) {
    (void)state;
    host h = {.data = world.lines, .size = world.size, .most = 4096};
    sm_origin origin = {.struct_size = sizeof origin,
                        .kind = SM_ORIGIN_READ,
                        .name = "lent",
                        .size = world.size,
                        .read = read_host,
                        .done = done,
                        .user = &h};
    h.fail_at = 8192;
    failing(origin, SM_ERR_IO, "lent: byte 8192 of ");
    h.fail_at = 0;
    origin.size = world.size / 2;
    failing(origin, SM_ERR_FORMAT, "lent");
    origin.size = 0;
    failing(origin, SM_ERR_FORMAT, "lent");
    origin.kind = SM_ORIGIN_MEMORY;
    origin.data = world.lines;
    origin.size = 100;
    failing(origin, SM_ERR_FORMAT, "lent");
    origin.kind = SM_ORIGIN_PATH;
    origin.name = "/nonexistent/model.gguf";
    failing(origin, SM_ERR_IO, "/nonexistent/model.gguf");
    origin.kind = SM_ORIGIN_FD;
    origin.name = NULL;
    origin.fd = open(world.archive, O_RDONLY);
    origin.size = world.size * 3;
    failing(origin, SM_ERR_IO, "input: bytes 0 to ");
    close((int)origin.fd);
    origin.fd = open("/", O_RDONLY);
    failing(origin, SM_ERR_IO, "is a directory");
    close((int)origin.fd);
    failing(origin, SM_ERR_IO, "descriptor"); /* closed */
    /* cancelled, options that are refused, out of memory */
    sm_model *model;
    origin = (sm_origin){.struct_size = sizeof origin,
                         .kind = SM_ORIGIN_READ,
                         .size = world.size,
                         .read = read_host,
                         .done = done,
                         .user = &h};
    sm_model_options o = {.struct_size = sizeof o, .progress = stop};
    h.n_done = 0;
    assert_int_equal(sm_model_load_from(&model, &origin, &o, NULL), SM_ERR_CANCELLED);
    assert_int_equal(h.n_done, 1);
    o = (sm_model_options){.struct_size = sizeof o, .repack = 77};
    assert_int_equal(sm_model_load_from(&model, &origin, &o, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(h.n_done, 2);
    o = (sm_model_options){.struct_size = sizeof o, .memory_limit = 4096};
    assert_int_equal(sm_model_load_from(&model, &origin, &o, NULL), SM_ERR_NOMEM);
    assert_int_equal(h.n_done, 3);
    fail_alloc failure = {0};
    const sm_allocator allocator = fail_allocator(&failure);
    o = (sm_model_options){.struct_size = sizeof o, .allocator = &allocator};
    for (uint64_t i = 1;; i++) {
        failure.calls = 0;
        failure.fail_at = i;
        h.n_done = 0;
        const sm_status status = sm_model_load_from(&model, &origin, &o, NULL);
        assert_int_equal(h.n_done, 1);
        if (status == SM_OK)
            break;
        assert_int_equal(status, SM_ERR_NOMEM);
    }
    sm_model_free(model);
    assert_int_equal(failure.live_blocks, 0);
}

/* Structs that say nothing that can be opened: nobody's done is called. */
static void what_cannot_be_read_is_refused(void **state) {
    (void)state;
    host h = {0};
    const sm_origin good = {.struct_size = sizeof good,
                            .kind = SM_ORIGIN_READ,
                            .size = 8,
                            .read = read_host,
                            .done = done,
                            .user = &h};
    sm_origin bad[8];
    for (int i = 0; i < 8; i++)
        bad[i] = good;
    bad[0].struct_size = 3;
    bad[1].kind = 4;
    bad[2].kind = SM_ORIGIN_PATH;
    bad[3].kind = SM_ORIGIN_MEMORY;
    bad[4].kind = SM_ORIGIN_FD, bad[4].fd = -1;
    bad[5].read = NULL;
    bad[6].size = UINT64_MAX;
    bad[7].offset = UINT64_MAX;
    sm_model *model;
    sm_error error;
    for (int i = 0; i < 8; i++)
        assert_int_equal(sm_model_load_from(&model, &bad[i], NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_load_from(&model, NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_load_from(NULL, &good, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(h.n_done + h.n_reads, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_model_from_anywhere),
        cmocka_unit_test(a_descriptor_from_any_place),
        cmocka_unit_test(vocabularies_and_directories_too),
        cmocka_unit_test(what_fails_is_said_and_let_go),
        cmocka_unit_test(what_cannot_be_read_is_refused),
    };
    return cmocka_run_group_tests(tests, make_world, end_world);
}
