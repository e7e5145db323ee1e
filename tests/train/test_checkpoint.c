/* Checkpoints as files: old versions go on, and no damage goes unseen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/format.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define OK(call)                            \
    do {                                    \
        sm_error e_ = {0};                  \
        sm_error *error = &e_;              \
        if ((call) != SM_OK)                \
            fail_msg("%s", error->message); \
    } while (0)

/* golden/checkpoint-2: a model, data, and the checkpoint that smallmind 0.1.0 of November 2026 made
 * of them, format version 2, after 2 of 4 steps with the options below. */
static const char *golden(const char *name) {
    static char path[8][1024];
    static unsigned turn;
    const char *folder = getenv("SM_TEST_GOLDEN");
    if (!folder)
        skip();
    char *p = path[turn++ % 8];
    snprintf(p, sizeof path[0], "%s/checkpoint-2/%s", folder, name);
    return p;
}

static sm_trainer *open_trainer(void) {
    sm_trainer *t = NULL;
    const sm_trainer_options o = {.struct_size = sizeof o,
                                  .data = golden("data.txt"),
                                  .sequence = 16,
                                  .rows = 2,
                                  .steps = 4,
                                  .warmup = 1,
                                  .lr = 0.01,
                                  .weight_decay = 0.1,
                                  .seed = 3,
                                  .level = SM_LEVEL_SCALAR,
                                  .n_threads = 1,
                                  .validation = 0.3,
                                  .state_8bit = 1};
    OK(sm_trainer_open(&t, golden("model.gguf"), &o, error));
    return t;
}

/* The weights of the trainer are the bytes that the checkpoint has. */
static void expect_weights_of(sm_trainer *t, const char *path) {
    sm_mem mem;
    sm_source *checkpoint, *model;
    const char *exported = scratch_path("exported.gguf");
    sm_mem_init(&mem, NULL, 0, NULL);
    OK(sm_trainer_export(t, exported, NULL, error));
    OK(sm_source_open(&checkpoint, &mem, path, true, error));
    OK(sm_source_open(&model, &mem, exported, true, error));
    assert_true(model->n_tensors > 10);
    for (uint64_t i = 0; i < model->n_tensors; i++) {
        const sm_tensor *weights = &model->tensors[i];
        const sm_tensor *saved = sm_source_find_tensor(checkpoint, weights->name);
        assert_non_null(saved);
        assert_int_equal(saved->size, weights->size);
        assert_memory_equal(saved->data, weights->data, weights->size);
    }
    sm_source_close(model);
    sm_source_close(checkpoint);
}

static void expect_info(const char *path, uint64_t step) {
    sm_checkpoint_info info = {.struct_size = sizeof info};
    OK(sm_checkpoint_get_info(path, &info, error));
    assert_int_equal(info.step, step);
    assert_int_equal(info.steps, 4);
    assert_int_equal(info.tokens, 32 * step);
}

static void test_old_version(void **state) {
    (void)state;
    const char *old = golden("step-2.ckpt");
    char saved[512];
    snprintf(saved, sizeof saved, "%s", scratch_path("step-2.ckpt"));
    expect_info(old, 2);
    sm_trainer *t = open_trainer();
    OK(sm_trainer_resume(t, old, error));
    assert_int_equal(sm_trainer_steps_left(t), 2);
    expect_weights_of(t, old);
    OK(sm_trainer_save(t, saved, error)); /* in today's version */
    expect_info(saved, 2);
    OK(sm_trainer_step(t, NULL, error));
    OK(sm_trainer_step(t, NULL, error));
    OK(sm_trainer_save(t, scratch_path("a.ckpt"), error));
    sm_trainer_free(t);

    t = open_trainer(); /* it has everything that the old one had */
    OK(sm_trainer_resume(t, saved, error));
    expect_weights_of(t, old);
    OK(sm_trainer_step(t, NULL, error));
    OK(sm_trainer_step(t, NULL, error));
    OK(sm_trainer_save(t, scratch_path("b.ckpt"), error));
    sm_trainer_free(t);
    size_t n, m;
    uint8_t *a = scratch_read(scratch_path("a.ckpt"), &n);
    uint8_t *b = scratch_read(scratch_path("b.ckpt"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
}

/* ---- damage ----------------------------------------------------------------------------- */

typedef struct damaged {
    sm_trainer *trainer;
    char path[512];
    uint8_t *file; /* as it was written */
    size_t size;
    int fd;
    bool old;             /* version 2 */
    uint64_t refused[16]; /* by status */
} damaged;

static void damage_begin(damaged *d, bool old) {
    *d = (damaged){.trainer = open_trainer(), .old = old};
    snprintf(d->path, sizeof d->path, "%s", scratch_path("damaged.ckpt"));
    if (old) {
        d->file = scratch_read(golden("step-2.ckpt"), &d->size);
        scratch_write(d->path, d->file, d->size);
    } else {
        OK(sm_trainer_step(d->trainer, NULL, error));
        OK(sm_trainer_save(d->trainer, d->path, error));
        d->file = scratch_read(d->path, &d->size);
    }
    d->fd = open(d->path, O_RDWR | O_CLOEXEC);
    assert_true(d->fd >= 0);
    OK(sm_trainer_resume(d->trainer, d->path, error));
}

static void damage_end(damaged *d) {
    OK(sm_trainer_resume(d->trainer, d->path, error)); /* it was the damage */
    close(d->fd);
    free(d->file);
    sm_trainer_free(d->trainer);
}

static void expect_refused(damaged *d, const char *how, size_t at) {
    sm_error e = {0};
    const uint64_t left = sm_trainer_steps_left(d->trainer);
    const sm_status status = sm_trainer_resume(d->trainer, d->path, &e);
    if (status == SM_OK)
        fail_msg("%s at byte %zu of %zu is not noticed", how, at, d->size);
    assert_true(status == SM_ERR_FORMAT || status == SM_ERR_UNSUPPORTED || status == SM_ERR_IO);
    assert_int_equal(sm_trainer_steps_left(d->trainer), left);
    /* nor are options taken from it; of the old version, which ones were damaged cannot be seen */
    char text[4096];
    uint64_t needed;
    const char *model = NULL;
    sm_trainer_options o = {.struct_size = sizeof o};
    if (!d->old)
        assert_true(sm_checkpoint_get_options(d->path, &o, &model, text, sizeof text, &needed,
                                              NULL) != SM_OK);
    d->refused[-status]++;
}

static void put(const damaged *d, size_t at, uint8_t byte) {
    assert_int_equal(pwrite(d->fd, &byte, 1, (off_t)at), 1);
}

static size_t tries(uint32_t n) {
    return test_share(n, n / 10);
}

/* 10,000 times one to four bits anywhere: all are refused. */
static void test_flips(void **state) {
    (void)state;
    damaged d;
    damage_begin(&d, false);
    uint64_t seed = 25;
    for (size_t i = 0; i < tries(10000); i++) {
        const size_t n = 1 + i % 4;
        size_t at[4];
        for (size_t k = 0; k < n; k++) { /* in n parts of the file: never one bit twice */
            at[k] = (k * d.size + test_random(&seed) % d.size) / n;
            put(&d, at[k], d.file[at[k]] ^ (uint8_t)(1u << test_random(&seed) % 8));
        }
        expect_refused(&d, "a flip", at[0]);
        for (size_t k = 0; k < n; k++)
            put(&d, at[k], d.file[at[k]]);
    }
    assert_true(d.refused[-SM_ERR_FORMAT] > tries(10000) / 2);
    damage_end(&d);
}

/* Every byte once: keys, their names, tensors, padding, the sum itself. */
static void test_every_byte(void **state) {
    (void)state;
    damaged d;
    damage_begin(&d, false);
    const size_t step = tries(10000) == 10000 ? 1 : 10;
    for (size_t at = 0; at < d.size; at += step) {
        put(&d, at, d.file[at] ^ (uint8_t)(1u << at % 8));
        expect_refused(&d, "a flip", at);
        put(&d, at, d.file[at]);
    }
    damage_end(&d);
}

/* Any other length than the file's, with zeros or else. */
static void test_lengths(void **state) {
    (void)state;
    damaged d;
    damage_begin(&d, false);
    for (size_t size = 0; size < d.size; size += size < 400 || d.size - size < 400 ? 1 : 61) {
        assert_int_equal(ftruncate(d.fd, (off_t)size), 0);
        expect_refused(&d, "the end", size);
    }
    assert_int_equal(pwrite(d.fd, d.file, d.size, 0), (ssize_t)d.size);
    for (size_t more = 1; more < 200; more++) {
        assert_int_equal(ftruncate(d.fd, (off_t)(d.size + more)), 0);
        expect_refused(&d, "zeros behind the end", d.size);
    }
    put(&d, d.size, 1);
    expect_refused(&d, "more", d.size);
    assert_int_equal(ftruncate(d.fd, (off_t)d.size), 0);
    damage_end(&d);
}

/* Of the old version what its sum covers: state and tensors. */
static void test_old_damage(void **state) {
    (void)state;
    damaged d;
    damage_begin(&d, true);
    sm_mem mem;
    sm_source *gguf;
    sm_mem_init(&mem, NULL, 0, NULL);
    OK(sm_source_open_bytes(&gguf, &mem, d.file, d.size, "old", error));
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        const size_t at = (size_t)(gguf->tensors[i].data - d.file) + gguf->tensors[i].size / 2;
        put(&d, at, d.file[at] ^ 16);
        expect_refused(&d, "a flip", at);
        put(&d, at, d.file[at]);
    }
    const sm_key *key = sm_source_find_key(gguf, "smallmind.checkpoint.state");
    for (size_t i = 0; i < 7; i++) {
        const size_t at = (size_t)(key->data - d.file) + 8 * i;
        put(&d, at, d.file[at] ^ 1);
        expect_refused(&d, "a flip", at);
        put(&d, at, d.file[at]);
    }
    sm_source_close(gguf);
    damage_end(&d);
}

/* A file of the next version, whole: refused by its number. */
static void test_other_versions(void **state) {
    (void)state;
    sm_mem mem;
    sm_mem_init(&mem, NULL, 0, NULL);
    sm_trainer *t = open_trainer();
    for (uint32_t version = 0; version <= 4; version++) {
        const char *path = scratch_path("version.ckpt");
        sm_gguf_writer *w;
        sm_error e = {0};
        const uint64_t numbers[7] = {0};
        OK(sm_gguf_writer_open(&w, &mem, path, 3, 64, error));
        OK(sm_gguf_put_u32(w, "smallmind.checkpoint.version", version));
        OK(sm_gguf_put_array(w, "smallmind.checkpoint.state", SM_KEY_UINT64, numbers, 7));
        if (version != 3)
            OK(sm_gguf_declare_seal(w, error));
        OK(sm_gguf_writer_finish(w, error));
        const sm_status status = sm_trainer_resume(t, path, &e);
        if (version == 2) /* known, and no more than that */
            assert_non_null(strstr(e.message, "missing"));
        else if (version == 3)
            assert_non_null(strstr(e.message, "has no checksum"));
        else
            assert_int_equal(status, SM_ERR_UNSUPPORTED);
        assert_true(status != SM_OK);
    }
    sm_trainer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_old_version), cmocka_unit_test(test_flips),
        cmocka_unit_test(test_every_byte),  cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_old_damage),  cmocka_unit_test(test_other_versions),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
