/* Packed files: written by sm_model_save_packed, computed to the same bits, hostile ones refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "format/format.h"
#include "kernels.h"
#include "pack.h"
#include "smallmind/smallmind.h"
#include "support.h"

static const uint32_t types[] = {
    SM_DTYPE_F32,     SM_DTYPE_F16,   SM_DTYPE_BF16,    SM_DTYPE_Q4_0,   SM_DTYPE_Q4_1,
    SM_DTYPE_Q5_0,    SM_DTYPE_Q5_1,  SM_DTYPE_Q8_0,    SM_DTYPE_Q2_K,   SM_DTYPE_Q3_K,
    SM_DTYPE_Q4_K,    SM_DTYPE_Q5_K,  SM_DTYPE_Q6_K,    SM_DTYPE_IQ4_NL, SM_DTYPE_IQ4_XS,
    SM_DTYPE_NVFP4,   SM_DTYPE_Q1_0,  SM_DTYPE_Q2_0,    SM_DTYPE_TQ1_0,  SM_DTYPE_TQ2_0,
    SM_DTYPE_F64,     SM_DTYPE_MXFP4, SM_DTYPE_IQ2_XXS, SM_DTYPE_IQ2_XS, SM_DTYPE_IQ2_S,
    SM_DTYPE_IQ3_XXS, SM_DTYPE_IQ3_S, SM_DTYPE_IQ1_S,   SM_DTYPE_IQ1_M,
};
#define N_TYPES (sizeof types / sizeof *types)

/* Rows of 16 and of fewer, columns of one block and of more. */
static fixture_model spec_of(uint32_t type) {
    return (fixture_model){.type = type, .n_embd = 256, .n_ff = 512, .n_layer = 1, .n_head_kv = 1};
}

static const int32_t ids[] = {1, 299, 77, 3, 9, 11, 250, 44, 5, 6, 7, 8, 2};
#define N_IDS (sizeof ids / sizeof *ids)

/* Logits after each of the ids: some fed together, some one by one. */
static sm_status all_logits(const char *path, uint32_t io, uint32_t repack,
                            const sm_allocator *allocator, float *logits, sm_model_info *info,
                            sm_error *error) {
    const sm_model_options o = {
        .struct_size = sizeof o, .io = io, .repack = repack, .allocator = allocator};
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = 2, .n_ctx = 32};
    sm_model *model = NULL;
    sm_session *session = NULL;
    const uint64_t first = N_IDS - 2;
    sm_status status = sm_model_load(&model, path, &o, error);
    if (!status)
        status = sm_session_new(&session, model, &so, error);
    if (!status)
        status = sm_session_feed_logits(session, ids, first, logits, UINT64_MAX, error);
    for (uint64_t i = first; i < N_IDS && !status; i++)
        status = sm_session_feed_logits(session, ids + i, 1, logits + i * FIXTURE_VOCAB, UINT64_MAX,
                                        error);
    if (!status && info)
        status = sm_model_get_info(model, info, error);
    sm_session_free(session);
    sm_model_free(model);
    return status;
}

static sm_status save(const char *from, const char *to, const sm_allocator *allocator,
                      sm_error *error) {
    const sm_model_options o = {.struct_size = sizeof o, .allocator = allocator};
    sm_model *model;
    sm_status status = sm_model_load(&model, from, &o, error);
    if (status)
        return status;
    status = sm_model_save_packed(model, to, NULL, error);
    sm_model_free(model);
    return status;
}

static void assert_same_files(const char *a, const char *b) {
    size_t size_a, size_b;
    uint8_t *data_a = scratch_read(a, &size_a), *data_b = scratch_read(b, &size_b);
    assert_non_null(data_a);
    assert_non_null(data_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(data_a, data_b, size_a);
    free(data_a);
    free(data_b);
}

static void every_type_gives_the_same_bits(void **state) {
    (void)state;
    static float expected[N_IDS * FIXTURE_VOCAB], got[N_IDS * FIXTURE_VOCAB];
    for (size_t i = 0; i < 2 * N_TYPES; i++) {
        fixture_model spec = spec_of(types[i / 2]);
        spec.untied = i % 2;
        spec.architecture = i % 4 < 2 ? "llama" : "qwen2";
        const char *plain = scratch_path("plain.gguf"), *packed = scratch_path("packed.gguf");
        sm_model_info info = {.struct_size = sizeof info}, packed_info = info;
        assert_int_equal(fixture_write(plain, &spec), 0);
        assert_int_equal(save(plain, packed, NULL, NULL), SM_OK);
        assert_int_equal(all_logits(plain, SM_IO_MAP, SM_REPACK_LAZY, NULL, expected, &info, NULL),
                         SM_OK);
        assert_int_equal(info.packed_file_bytes, 0);
        assert_true(info.packed_bytes > 0);
        for (uint32_t how = 0; how < 5; how++) {
            sm_error error = {0};
            memset(got, 0, sizeof got);
            const char *path = how == 4 ? plain : packed;
            const uint32_t repack = how == 4 || how % 2 ? SM_REPACK_NONE : SM_REPACK_LAZY;
            if (all_logits(path, how / 2 == 1 ? SM_IO_READ : SM_IO_MAP, repack, NULL, got,
                           &packed_info, &error))
                fail_msg("%s", error.message);
            assert_memory_equal(got, expected, sizeof got);
            assert_int_equal(packed_info.packed_bytes, 0);
            assert_int_equal(packed_info.packed_file_bytes, how == 4 ? 0 : info.packed_bytes);
            assert_int_equal(packed_info.n_params, info.n_params);
            assert_int_equal(packed_info.decode_bytes, info.decode_bytes);
            assert_int_equal(packed_info.n_vocab, info.n_vocab);
        }
    }
}

static void a_packed_file_packs_to_itself(void **state) {
    (void)state;
    const char *plain = scratch_path("plain.gguf"), *once = scratch_path("once.gguf"),
               *twice = scratch_path("twice.gguf");
    for (int untied = 0; untied < 2; untied++) {
        fixture_model spec = spec_of(SM_DTYPE_Q4_K);
        spec.untied = untied;
        spec.rope_freqs = true;
        assert_int_equal(fixture_write(plain, &spec), 0);
        assert_int_equal(save(plain, once, NULL, NULL), SM_OK);
        assert_int_equal(save(once, twice, NULL, NULL), SM_OK);
        assert_same_files(once, twice);
        assert_int_equal(save(once, once, NULL, NULL), SM_OK); /* onto itself, while mapped */
        assert_same_files(once, twice);
    }
}

typedef struct saving {
    const sm_model *model;
    const char *path;
    sm_status status;
} saving;

static void *save_in_thread(void *arg) {
    saving *s = arg;
    s->status = sm_model_save_packed(s->model, s->path, NULL, NULL);
    return NULL;
}

/* Before, while and after a session repacks the weights. */
static void saving_goes_with_running(void **state) {
    (void)state;
    const char *plain = scratch_path("plain.gguf"), *before = scratch_path("before.gguf"),
               *during = scratch_path("during.gguf"), *after = scratch_path("after.gguf");
    const fixture_model spec = spec_of(SM_DTYPE_Q5_K);
    assert_int_equal(fixture_write(plain, &spec), 0);
    sm_model *model;
    sm_session *session;
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = 2};
    assert_int_equal(sm_model_load(&model, plain, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_new(&session, model, &so, NULL), SM_OK);
    assert_int_equal(sm_model_save_packed(model, before, NULL, NULL), SM_OK);
    saving s = {model, during, SM_ERR_STATE};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, save_in_thread, &s), 0);
    assert_int_equal(sm_session_feed(session, ids, N_IDS, NULL), SM_OK);
    pthread_join(thread, NULL);
    assert_int_equal(s.status, SM_OK);
    assert_int_equal(sm_model_save_packed(model, after, NULL, NULL), SM_OK);
    assert_same_files(before, during);
    assert_same_files(before, after);
    sm_session_free(session);
    sm_model_free(model);
}

static int32_t stop_at(void *user) {
    return (*(int32_t *)user)-- <= 0;
}

/* However many matrices are packed in memory, the file is the same. */
static void saving_takes_what_is_packed(void **state) {
    (void)state;
    const char *plain = scratch_path("plain.gguf"), *none = scratch_path("none.gguf"),
               *some = scratch_path("some.gguf");
    fixture_model spec = spec_of(SM_DTYPE_Q6_K);
    spec.untied = true;
    assert_int_equal(fixture_write(plain, &spec), 0);
    assert_int_equal(save(plain, none, NULL, NULL), SM_OK);
    uint64_t n = 0, last = UINT64_MAX;
    sm_status status = SM_ERR_CANCELLED;
    for (int32_t limit = 0; status; limit++) {
        const sm_session_options so = {.struct_size = sizeof so, .n_threads = 1};
        sm_model_info info = {.struct_size = sizeof info};
        int32_t left = limit;
        sm_model *model;
        sm_session *session;
        assert_int_equal(sm_model_load(&model, plain, NULL, NULL), SM_OK);
        assert_int_equal(sm_session_new(&session, model, &so, NULL), SM_OK);
        assert_int_equal(sm_session_set_cancel(session, stop_at, &left, NULL), SM_OK);
        status = sm_session_feed(session, ids, 1, NULL);
        assert_int_equal(sm_model_get_info(model, &info, NULL), SM_OK);
        n += info.packed_bytes != last;
        last = info.packed_bytes;
        assert_int_equal(sm_model_save_packed(model, some, NULL, NULL), SM_OK);
        assert_same_files(none, some);
        sm_session_free(session);
        sm_model_free(model);
    }
    assert_int_equal(n, 7 + 2); /* 0 to all matrices of a layer and the head */
}

/* ---- progress and failures -------------------------------------------------------------- */

typedef struct watcher {
    uint64_t calls, stop_at, last, total;
} watcher;

static int32_t watch(void *user, uint64_t done, uint64_t total) {
    watcher *w = user;
    assert_true(done > w->last && done <= total);
    w->last = done;
    w->total = total;
    return ++w->calls == w->stop_at;
}

static void progress_reaches_the_end_and_cancels(void **state) {
    (void)state;
    const char *plain = scratch_path("plain.gguf"), *packed = scratch_path("cancelled.gguf");
    const fixture_model spec = spec_of(SM_DTYPE_Q8_0);
    assert_int_equal(fixture_write(plain, &spec), 0);
    sm_model *model;
    assert_int_equal(sm_model_load(&model, plain, NULL, NULL), SM_OK);
    watcher w = {0};
    assert_int_equal(sm_model_save_packed(model, packed,
                                          &(sm_pack_options){.struct_size = sizeof(sm_pack_options),
                                                             .progress = watch,
                                                             .progress_user = &w},
                                          NULL),
                     SM_OK);
    assert_true(w.calls > 3);
    assert_int_equal(w.last, w.total);
    scratch_write(packed, "old", 3);
    const size_t n_files = scratch_count();
    for (uint64_t at = 1; at <= w.calls; at++) {
        watcher stopper = {.stop_at = at};
        sm_error error = {0};
        assert_int_equal(
            sm_model_save_packed(model, packed,
                                 &(sm_pack_options){.struct_size = sizeof(sm_pack_options),
                                                    .progress = watch,
                                                    .progress_user = &stopper},
                                 &error),
            SM_ERR_CANCELLED);
        assert_int_equal(stopper.calls, at);
        assert_int_equal(scratch_count(), n_files);
    }
    size_t size;
    uint8_t *old = scratch_read(packed, &size);
    assert_int_equal(size, 3);
    free(old);
    sm_error error = {0};
    assert_int_equal(sm_model_save_packed(model, "/nonexistent/x.gguf", NULL, &error), SM_ERR_IO);
    assert_non_null(strstr(error.message, "/nonexistent/x.gguf"));
    assert_int_equal(sm_model_save_packed(NULL, packed, NULL, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_save_packed(model, NULL, NULL, NULL), SM_ERR_ARGUMENT);
    sm_model_free(model);
}

/* Load, save, load what was saved, compute. */
static sm_status whole_way(const sm_allocator *allocator, sm_error *error) {
    static float logits[N_IDS * FIXTURE_VOCAB];
    const char *plain = scratch_path("alloc.gguf"), *packed = scratch_path("alloc-packed.gguf");
    sm_status status = save(plain, packed, allocator, error);
    if (!status)
        status = all_logits(packed, SM_IO_MAP, 0, allocator, logits, NULL, error);
    return status;
}

static void every_failing_allocation_is_survived(void **state) {
    (void)state;
    const fixture_model spec = {.type = SM_DTYPE_Q4_0, .n_layer = 1};
    assert_int_equal(fixture_write(scratch_path("alloc.gguf"), &spec), 0);
    fail_alloc counter = {0};
    sm_allocator allocator = fail_allocator(&counter);
    assert_int_equal(whole_way(&allocator, NULL), SM_OK);
    assert_int_equal(counter.live_blocks, 0);
    const size_t n_files = scratch_count();
    for (uint64_t at = 1; at <= counter.calls; at++) {
        fail_alloc failing = {.fail_at = at};
        sm_error error = {0};
        allocator = fail_allocator(&failing);
        assert_int_equal(whole_way(&allocator, &error), SM_ERR_NOMEM);
        assert_true(error.message[0] != 0);
        assert_int_equal(failing.live_blocks, 0);
        assert_int_equal(scratch_count(), n_files);
    }
}

/* ---- broken files ------------------------------------------------------------------------- */

#define GATE "blk.0.ffn_gate.weight"

/* A copy of the packed file at `from` with one thing changed. */
typedef struct change {
    const char *key;     /* this key is left out, or replaced by */
    uint32_t n;          /* so many of */
    uint64_t values[3];  /* these, as an array; as one u32 if n is 1 */
    const char *tensor;  /* this tensor gets */
    int64_t groups;      /* so many more groups of rows */
    const char *renamed; /* or this name */
    sm_status status;
    const char *says;
} change;

static void write_changed(const char *from, const char *to, const change *c) {
    sm_mem mem;
    sm_gguf *gguf;
    sm_gguf_writer *w;
    sm_mem_init(&mem, NULL, 0, NULL);
    assert_int_equal(sm_source_open(&gguf, &mem, from, true, NULL), SM_OK);
    assert_int_equal(sm_gguf_writer_open(&w, &mem, to, 3, 128, NULL), SM_OK);
    for (uint64_t i = 0; i < gguf->n_keys; i++)
        if (!c->key || strcmp(gguf->keys[i].name, c->key) != 0)
            sm_gguf_put_key(w, &gguf->keys[i]);
    if (c->n == 1)
        sm_gguf_put_u32(w, c->key, (uint32_t)c->values[0]);
    else if (c->n)
        sm_gguf_put_array(w, c->key, SM_KEY_UINT64, c->values, c->n);
    uint64_t largest = 0;
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        const sm_tensor *t = &gguf->tensors[i];
        uint64_t dims[4] = {t->dims[0], t->dims[1], t->dims[2], t->dims[3]};
        const bool hit = c->tensor && strcmp(t->name, c->tensor) == 0;
        if (hit)
            dims[1] = (uint64_t)((int64_t)dims[1] + c->groups);
        sm_gguf_declare_tensor(w, hit && c->renamed ? c->renamed : t->name, t->type, t->n_dims,
                               dims, NULL);
        largest = t->size > largest ? t->size : largest;
    }
    uint8_t *zeros = calloc(1, largest * 2);
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        const sm_tensor *t = &gguf->tensors[i];
        const bool hit = c->tensor && strcmp(t->name, c->tensor) == 0;
        const uint64_t size = hit ? (uint64_t)((int64_t)t->dims[1] + c->groups) * t->dims[0] : 0;
        assert_int_equal(hit ? sm_gguf_write_tensor(w, zeros, size, NULL)
                             : sm_gguf_write_tensor(w, t->data, t->size, NULL),
                         SM_OK);
    }
    free(zeros);
    sm_error error = {0};
    if (sm_gguf_writer_finish(w, &error))
        fail_msg("%s", error.message);
    sm_source_close(gguf);
}

static void broken_files_are_refused_by_name(void **state) {
    (void)state;
    static const change changes[] = {
        {.key = "smallmind.packed.version",
         .n = 1,
         .values = {SM_PACK_VERSION + 1},
         .status = SM_ERR_UNSUPPORTED,
         .says = "'smallmind.packed.version' is 2"},
        {.key = "smallmind.packed.version",
         .n = 2,
         .status = SM_ERR_FORMAT,
         .says = "'smallmind.packed.version'"},
        {.key = "smallmind.packed.version", .status = SM_ERR_SHAPE, .says = "has shape"},
        {.key = "smallmind.packed.tensor." GATE,
         .status = SM_ERR_SHAPE,
         .says = "'" GATE "' has shape"},
        {.key = "smallmind.packed.tensor." GATE, .n = 2, .status = SM_ERR_FORMAT, .says = "array"},
        {.key = "smallmind.packed.tensor." GATE, .n = 1, .status = SM_ERR_FORMAT, .says = "array"},
        {.key = "smallmind.packed.tensor." GATE,
         .n = 3,
         .values = {SM_DTYPE_COUNT, 256, 512},
         .status = SM_ERR_FORMAT,
         .says = "type that is not known"},
        {.key = "smallmind.packed.tensor." GATE,
         .n = 3,
         .values = {SM_DTYPE_Q8_1, 256, 512},
         .status = SM_ERR_UNSUPPORTED,
         .says = "Q8_1"},
        {.key = "smallmind.packed.tensor." GATE,
         .n = 3,
         .values = {SM_DTYPE_Q4_K, 0, 512},
         .status = SM_ERR_FORMAT,
         .says = "out of range"},
        {.key = "smallmind.packed.tensor." GATE,
         .n = 3,
         .values = {SM_DTYPE_Q4_K, 256, UINT64_MAX},
         .status = SM_ERR_FORMAT,
         .says = "array of 3 integers"},
        {.key = "smallmind.packed.tensor." GATE,
         .n = 3,
         .values = {SM_DTYPE_Q4_K, 256, 1u << 31},
         .status = SM_ERR_FORMAT,
         .says = "out of range"},
        {.key = "smallmind.packed.tensor." GATE,
         .n = 3,
         .values = {SM_DTYPE_Q4_K, 512, 256},
         .status = SM_ERR_SHAPE,
         .says = "expected [256, 512]"},
        {.key = "smallmind.packed.tensor." GATE,
         .n = 3,
         .values = {SM_DTYPE_Q5_K, 256, 512},
         .status = SM_ERR_FORMAT,
         .says = "packed Q5_K takes"},
        {.key = "smallmind.packed.tensor.token_embd.weight",
         .n = 3,
         .values = {SM_DTYPE_Q4_K, 256, 300},
         .status = SM_ERR_FORMAT,
         .says = "not I8"},
        {.tensor = GATE, .groups = -1, .status = SM_ERR_FORMAT, .says = "'" GATE "' has"},
        {.tensor = GATE, .groups = 1, .status = SM_ERR_FORMAT, .says = "'" GATE "' has"},
        {.tensor = SM_PACKED_HEAD, .groups = -1, .status = SM_ERR_FORMAT, .says = SM_PACKED_HEAD},
        {.tensor = SM_PACKED_HEAD,
         .renamed = "blk.0.other.packed",
         .status = SM_ERR_UNSUPPORTED,
         .says = "has no place"},
    };
    const char *plain = scratch_path("plain.gguf"), *packed = scratch_path("packed.gguf"),
               *broken = scratch_path("broken.gguf");
    const fixture_model spec = spec_of(SM_DTYPE_Q4_K);
    assert_int_equal(fixture_write(plain, &spec), 0);
    assert_int_equal(save(plain, packed, NULL, NULL), SM_OK);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        sm_model *model;
        sm_error error = {0};
        write_changed(packed, broken, &changes[i]);
        const sm_status status = sm_model_load(&model, broken, NULL, &error);
        if (status != changes[i].status || !strstr(error.message, changes[i].says) ||
            !strstr(error.message, "broken.gguf"))
            fail_msg("change %zu: status %d, %s", i, status, error.message);
    }
    const change none = {0};
    write_changed(packed, broken, &none);
    assert_same_files(packed, broken);
}

static void truncated_and_flipped_files_do_no_harm(void **state) {
    (void)state;
    const char *plain = scratch_path("plain.gguf"), *packed = scratch_path("packed.gguf"),
               *broken = scratch_path("broken.gguf");
    fixture_model spec = {.type = SM_DTYPE_Q8_0, .n_layer = 1, .no_vocab = true};
    static float logits[N_IDS * FIXTURE_VOCAB];
    assert_int_equal(fixture_write(plain, &spec), 0);
    assert_int_equal(save(plain, packed, NULL, NULL), SM_OK);
    sm_mem mem;
    sm_gguf *gguf;
    sm_mem_init(&mem, NULL, 0, NULL);
    assert_int_equal(sm_source_open(&gguf, &mem, packed, true, NULL), SM_OK);
    const size_t header = (size_t)(gguf->tensors[0].data - gguf->files[0].data);
    sm_source_close(gguf);
    size_t size;
    uint8_t *data = scratch_read(packed, &size);
    for (size_t n = 0; n < size; n += n < header ? 37 : 997) {
        sm_model *model;
        scratch_write(broken, data, n);
        assert_int_not_equal(sm_model_load(&model, broken, NULL, NULL), SM_OK);
    }
    for (size_t at = 0; at < header; at++) {
        data[at] ^= (uint8_t)(1u << at % 8);
        scratch_write(broken, data, size);
        sm_error error = {0};
        const sm_status status = all_logits(broken, SM_IO_READ, 0, NULL, logits, NULL, &error);
        assert_int_equal(error.code, status);
        data[at] ^= (uint8_t)(1u << at % 8);
    }
    free(data);
}

/* ---- what inspect sees ---------------------------------------------------------------------- */

static void the_view_shows_what_tensors_stand_for(void **state) {
    (void)state;
    const char *plain = scratch_path("plain.gguf"), *packed = scratch_path("packed.gguf");
    fixture_model spec = spec_of(SM_DTYPE_Q6_K);
    assert_int_equal(fixture_write(plain, &spec), 0);
    assert_int_equal(save(plain, packed, NULL, NULL), SM_OK);
    sm_gguf *a, *b;
    sm_gguf_info info_a = {.struct_size = sizeof info_a}, info_b = info_a;
    assert_int_equal(sm_gguf_load(&a, plain, NULL, NULL), SM_OK);
    assert_int_equal(sm_gguf_load(&b, packed, NULL, NULL), SM_OK);
    assert_int_equal(sm_gguf_get_info(a, &info_a, NULL), SM_OK);
    assert_int_equal(sm_gguf_get_info(b, &info_b, NULL), SM_OK);
    assert_int_equal(info_a.n_elements, info_b.n_elements);
    assert_int_equal(info_a.n_tensors + 1, info_b.n_tensors);
    assert_int_equal(info_b.alignment, 128);
    for (uint64_t i = 0; i < info_b.n_tensors; i++) {
        sm_gguf_tensor_info ta = {.struct_size = sizeof ta}, tb = ta;
        assert_int_equal(sm_gguf_get_tensor(b, i, &tb, NULL), SM_OK);
        assert_int_equal(tb.offset % 128, 0);
        if (strcmp(tb.name, SM_PACKED_HEAD) == 0) {
            assert_int_equal(tb.packed, 1);
            assert_int_equal(tb.weight_dims[1], FIXTURE_VOCAB);
            continue;
        }
        assert_int_equal(sm_gguf_get_tensor(a, i, &ta, NULL), SM_OK);
        assert_string_equal(ta.name, tb.name);
        assert_string_equal(ta.type_name, tb.weight_type_name);
        assert_int_equal(ta.type, tb.weight_type);
        assert_memory_equal(ta.dims, tb.weight_dims, sizeof ta.dims);
        assert_int_equal(ta.packed, 0);
        assert_int_equal(tb.packed, ta.n_dims > 1 && strcmp(ta.name, "token_embd.weight") != 0);
        assert_string_equal(tb.type_name, tb.packed ? "I8" : ta.type_name);
    }
    sm_gguf_free(a);
    sm_gguf_free(b);
}

/* ---- the layout ----------------------------------------------------------------------------- */

/* Packed files outlive this build: a layout that changes by a byte takes another
 * SM_PACK_VERSION. FNV-1a of 13 packed rows of pseudo-random bytes, at layout 1. */
static const struct {
    uint32_t version, type;
    uint64_t hash;
} layouts[] = {
    {1, SM_DTYPE_F32, 0x09cb832a830adc37u},     {1, SM_DTYPE_F16, 0xa9c84c63b1c0aa0au},
    {1, SM_DTYPE_BF16, 0xc677eee70f2da556u},    {1, SM_DTYPE_Q4_0, 0x71a9aed7eaf99448u},
    {1, SM_DTYPE_Q4_1, 0x6051e97772ae4278u},    {1, SM_DTYPE_Q5_0, 0xf00d68eca580c330u},
    {1, SM_DTYPE_Q5_1, 0x17ddc794cd97be21u},    {1, SM_DTYPE_Q8_0, 0xd0ce84fbcb9607ffu},
    {1, SM_DTYPE_Q2_K, 0x2f6f7681bdecdfa9u},    {1, SM_DTYPE_Q3_K, 0xb7e65962ee3c504eu},
    {1, SM_DTYPE_Q4_K, 0xc66f81e5548d60b0u},    {1, SM_DTYPE_Q5_K, 0x1f9a157bee51d4fdu},
    {1, SM_DTYPE_Q6_K, 0x69eb813c0492c4bcu},    {1, SM_DTYPE_IQ4_NL, 0x71a9aed7eaf99448u},
    {1, SM_DTYPE_IQ4_XS, 0xb6dc1a54dbdca382u},  {1, SM_DTYPE_NVFP4, 0x5f426f3098cf8360u},
    {1, SM_DTYPE_Q1_0, 0x4361d6d2ca5cf7d2u},    {1, SM_DTYPE_Q2_0, 0x286f24db224f57c7u},
    {1, SM_DTYPE_TQ1_0, 0x798c20b1937a7aaau},   {1, SM_DTYPE_TQ2_0, 0x82a6e5a9f26a183eu},
    {1, SM_DTYPE_F64, 0x4694558e2de51223u},     {1, SM_DTYPE_MXFP4, 0x2bbd3d42ec98bbadu},
    {1, SM_DTYPE_IQ2_XXS, 0xca55e21bfbaf3c05u}, {1, SM_DTYPE_IQ2_XS, 0x106d04990b2621c7u},
    {1, SM_DTYPE_IQ2_S, 0x3ca03a00a0b9bb38u},   {1, SM_DTYPE_IQ3_XXS, 0xf88c55dc85bc0044u},
    {1, SM_DTYPE_IQ3_S, 0xfc340d0fc36cdee8u},   {1, SM_DTYPE_IQ1_S, 0x16c0ccd0d53d4457u},
    {1, SM_DTYPE_IQ1_M, 0x827e318d7e4238a2u},
};

static uint64_t layout_hash(uint32_t type) {
    enum { ROWS = 13, COLS = 512 };
    const sm_kernels *kernels = sm_kernels_get(SM_LEVEL_SCALAR);
    const sm_dtype_traits *traits = sm_dtype_get(type);
    const size_t row_bytes = COLS / traits->block_size * traits->block_bytes;
    const size_t size = sm_packed_bytes(type, COLS);
    uint8_t *rows = malloc(ROWS * row_bytes), *packed = malloc(size);
    uint64_t seed = 1, hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < ROWS * row_bytes; i++)
        rows[i] = (uint8_t)test_random(&seed);
    kernels->type[type].pack(packed, rows, row_bytes, ROWS, COLS);
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ packed[i]) * 0x100000001b3u;
    free(rows);
    free(packed);
    return hash;
}

static void the_layout_is_what_its_number_says(void **state) {
    (void)state;
    int n_unknown = 0;
    for (size_t i = 0; i < N_TYPES; i++) {
        const uint64_t hash = layout_hash(types[i]);
        bool found = false;
        for (size_t k = 0; k < sizeof layouts / sizeof *layouts; k++)
            found = found || (layouts[k].version == SM_PACK_VERSION &&
                              layouts[k].type == types[i] && layouts[k].hash == hash);
        n_unknown += !found;
        if (!found)
            print_error(
                "the layout of %s is not that of number %d: {%d, SM_DTYPE_%s, 0x%016llxu},\n",
                sm_dtype_get(types[i])->name, SM_PACK_VERSION, SM_PACK_VERSION,
                sm_dtype_get(types[i])->name, (unsigned long long)hash);
    }
    assert_int_equal(n_unknown, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_gives_the_same_bits),
        cmocka_unit_test(a_packed_file_packs_to_itself),
        cmocka_unit_test(saving_goes_with_running),
        cmocka_unit_test(saving_takes_what_is_packed),
        cmocka_unit_test(progress_reaches_the_end_and_cancels),
        cmocka_unit_test(every_failing_allocation_is_survived),
        cmocka_unit_test(broken_files_are_refused_by_name),
        cmocka_unit_test(truncated_and_flipped_files_do_no_harm),
        cmocka_unit_test(the_view_shows_what_tensors_stand_for),
        cmocka_unit_test(the_layout_is_what_its_number_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
