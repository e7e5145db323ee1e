/* What crosses the interface: sizes of structs, reserved fields, zeros that mean zero, and what out
 * pointers hold after a failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "blocks.h"
#include "fixture.h"
#include "smallmind/experimental.h"
#include "smallmind/smallmind.h"
#include "support.h"

static const char *model_path(void) {
    static char path[512];
    if (!*path) {
        snprintf(path, sizeof path, "%s", scratch_path("options.gguf"));
        assert_int_equal(fixture_write(path, &(fixture_model){0}), 0);
    }
    return path;
}

static sm_model *open_model(void) {
    sm_model *model = NULL;
    assert_int_equal(sm_model_load(&model, model_path(), NULL, NULL), SM_OK);
    return model;
}

/* ---- sizes -------------------------------------------------------------------------------- */

/* Fields in order: how many bytes each has. */
#define END 0
static const uint8_t gguf_info[] = {4, 4, 4, 4, 8, 8, 8, 8, 8, END};
static const uint8_t tensor_info[] = {4, 4, 8, 8, 4, 4, 32, 8, 8, 4, 4, 8, 32, END};
static const uint8_t tokenizer_info[] = {4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 64, END};
static const uint8_t model_info[] = {4, 4, 8, 8, 4, 4, 4, 4, 4, 4, 4,  4,
                                     8, 8, 8, 8, 8, 8, 8, 8, 4, 4, END};
static const uint8_t stats_info[] = {4, 4, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8, END};
static const uint8_t sampling_options[] = {4, 4, 8, 8, 8, 8, 8, 8, 4, 4, 8, 8,  8, 8,
                                           8, 8, 8, 8, 8, 8, 8, 4, 4, 8, 8, 8,  8, 4,
                                           4, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, END};
static const uint8_t session_options[] = {4, 4, 4, 4, 4, 4, 4, 4, 8, END};
static const uint8_t model_options[] = {4, 4, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8, END};
static const uint8_t gguf_options[] = {4, 4, 8, 8, 8, 8, END};
static const uint8_t encode_options[] = {4, 4, 8, 8, 8, END};

static uint32_t size_of(const uint8_t *fields) {
    uint32_t size = 0;
    while (*fields)
        size += *fields++;
    return size;
}

static bool ends_a_field(const uint8_t *fields, uint32_t size) {
    uint32_t at = 0;
    while (*fields && at < size)
        at += *fields++;
    return at == size || (at < size && size % 4 == 0);
}

/* The handles that the calls below want. */
typedef struct handles {
    sm_gguf *gguf;
    sm_model *model;
    sm_tokenizer *tokenizer;
    sm_session *session;
} handles;

static sm_status get_gguf(const handles *h, void *s, sm_error *e) {
    return sm_gguf_get_info(h->gguf, s, e);
}
static sm_status get_tensor(const handles *h, void *s, sm_error *e) {
    return sm_gguf_get_tensor(h->gguf, 0, s, e);
}
static sm_status get_tokenizer(const handles *h, void *s, sm_error *e) {
    return sm_tokenizer_get_info(h->tokenizer, s, e);
}
static sm_status get_model(const handles *h, void *s, sm_error *e) {
    return sm_model_get_info(h->model, s, e);
}
static sm_status get_stats(const handles *h, void *s, sm_error *e) {
    return sm_session_get_stats(h->session, s, e);
}
static sm_status take_sampling(const handles *h, void *s, sm_error *e) {
    int32_t id;
    return test_sample(h->session, s, &id, NULL, e);
}
static sm_status take_session(const handles *h, void *s, sm_error *e) {
    sm_session *made;
    const sm_status status = sm_session_new(&made, h->model, s, e);
    sm_session_free(made);
    return status;
}
static sm_status take_model(const handles *h, void *s, sm_error *e) {
    sm_model *made;
    (void)h;
    const sm_status status = sm_model_load(&made, model_path(), s, e);
    sm_model_free(made);
    return status;
}
static sm_status take_gguf(const handles *h, void *s, sm_error *e) {
    sm_gguf *made;
    (void)h;
    const sm_status status = sm_gguf_load(&made, model_path(), s, e);
    sm_gguf_free(made);
    return status;
}
static sm_status take_encode(const handles *h, void *s, sm_error *e) {
    int32_t ids[32];
    uint64_t n;
    return sm_tokenizer_encode(h->tokenizer, "the", 3, s, ids, 32, &n, e);
}

static void no_size_ends_inside_a_field(void **state) {
    (void)state;
    if (sizeof(void *) != 8) /* the lists above are of pointers of 8 bytes */
        skip();
    static const struct {
        const char *name;
        sm_status (*call)(const handles *h, void *s, sm_error *e);
        const uint8_t *fields;
        size_t size;
    } structs[] = {
        {"sm_gguf_info", get_gguf, gguf_info, sizeof(sm_gguf_info)},
        {"sm_gguf_tensor_info", get_tensor, tensor_info, sizeof(sm_gguf_tensor_info)},
        {"sm_tokenizer_info", get_tokenizer, tokenizer_info, sizeof(sm_tokenizer_info)},
        {"sm_model_info", get_model, model_info, sizeof(sm_model_info)},
        {"sm_generate_stats", get_stats, stats_info, sizeof(sm_generate_stats)},
        {"sm_sampling", take_sampling, sampling_options, sizeof(sm_sampling)},
        {"sm_session_options", take_session, session_options, sizeof(sm_session_options)},
        {"sm_model_options", take_model, model_options, sizeof(sm_model_options)},
        {"sm_gguf_options", take_gguf, gguf_options, sizeof(sm_gguf_options)},
        {"sm_encode_options", take_encode, encode_options, sizeof(sm_encode_options)},
    };
    handles h;
    const int32_t id = 1;
    h.model = open_model();
    assert_int_equal(sm_gguf_load(&h.gguf, model_path(), NULL, NULL), SM_OK);
    assert_int_equal(sm_model_get_tokenizer(h.model, &h.tokenizer, NULL), SM_OK);
    assert_int_equal(sm_session_new(&h.session, h.model, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_feed(h.session, &id, 1, NULL), SM_OK);
    for (size_t i = 0; i < sizeof structs / sizeof *structs; i++) {
        if (size_of(structs[i].fields) != structs[i].size)
            fail_msg("%s has other fields than are listed here", structs[i].name);
        for (uint32_t size = 8; size <= structs[i].size + 9; size++) {
            union {
                uint64_t align;
                uint8_t bytes[500];
            } s;
            sm_error error = {0};
            memset(&s, 0, sizeof s);
            memcpy(&s, &size, sizeof size);
            const sm_status status = structs[i].call(&h, &s, &error);
            const bool fine = ends_a_field(structs[i].fields, size);
            if (status != (fine ? SM_OK : SM_ERR_ARGUMENT))
                fail_msg("%s of %u bytes: %d %s", structs[i].name, size, (int)status,
                         error.message);
            if (!fine)
                assert_non_null(strstr(error.message, "struct_size"));
        }
    }
    sm_session_free(h.session);
    sm_tokenizer_free(h.tokenizer);
    sm_model_free(h.model);
    sm_gguf_free(h.gguf);
}

static sm_option option_of(uint32_t table, uint32_t i) {
    sm_option o = {.struct_size = sizeof o};
    assert_int_equal(sm_options_get(table, i, &o, NULL), SM_OK);
    return o;
}

static uint32_t bytes_of(const sm_option *o) {
    switch (o->type) {
    case SM_OPTION_U32:
    case SM_OPTION_ENUM:
    case SM_OPTION_BOOL:
        return 4;
    case SM_OPTION_POINTER:
    case SM_OPTION_STRING:
        return sizeof(void *);
    default:
        return 8;
    }
}

/* What bindings read of the tables: everything there, nothing outside the struct or twice. */
static void tables_describe_their_structs(void **state) {
    (void)state;
    uint32_t tables = 0, types[8] = {0};
    for (uint32_t t = 0; t < 64; t++) {
        const uint32_t n = sm_options_count(t);
        assert_true((n != 0) == (sm_options_name(t) != NULL));
        tables += n != 0;
        for (uint32_t i = 0; i < n; i++) {
            const sm_option o = option_of(t, i);
            assert_true(o.type >= 1 && o.type <= 7 && o.name && o.doc && o.unit);
            assert_true((o.type == SM_OPTION_ENUM) == (o.names != NULL));
            if (o.names && strcmp(o.names, "no|yes") == 0)
                fail_msg("%s of %s is a BOOL", o.name, sm_options_name(t));
            types[o.type]++;
            for (uint32_t k = 0; k < i; k++) {
                const sm_option p = option_of(t, k);
                assert_string_not_equal(o.name, p.name);
                assert_true(o.offset >= p.offset + bytes_of(&p) ||
                            p.offset >= o.offset + bytes_of(&o));
            }
        }
    }
    assert_true(tables >= 11);
    for (uint32_t type = 1; type <= 7; type++)
        assert_true(types[type] > 0);
}

/* The struct that a row is read into may be older or younger than the library. */
static void rows_fit_structs_of_any_size(void **state) {
    (void)state;
    struct {
        sm_option known;
        uint64_t more;
    } later = {{.struct_size = sizeof later}, 7};
    const sm_option now = option_of(SM_OPTIONS_SAMPLING, 2);
    assert_int_equal(sm_options_get(SM_OPTIONS_SAMPLING, 2, &later.known, NULL), SM_OK);
    assert_int_equal(later.more, 0);
    assert_string_equal(later.known.doc, now.doc);
    sm_option early = {.struct_size = offsetof(sm_option, names), .max = 5};
    assert_int_equal(sm_options_get(SM_OPTIONS_SAMPLING, 2, &early, NULL), SM_OK);
    assert_string_equal(early.name, now.name);
    assert_true(early.max == 5);
    sm_error error = {0};
    early.struct_size = 0;
    assert_int_equal(sm_options_get(SM_OPTIONS_SAMPLING, 2, &early, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_options_get(SM_OPTIONS_SAMPLING, 2, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_options_get(SM_OPTIONS_SAMPLING, 1000, &later.known, &error),
                     SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "1000"));
    assert_int_equal(sm_options_get(99, 0, &later.known, &error), SM_ERR_ARGUMENT);
    assert_null(sm_options_name(99));
    assert_int_equal(sm_options_count(99), 0);
    sm_sampler_info sampler = {.struct_size = sizeof sampler};
    assert_int_equal(sm_sampler_get_info(sm_sampler_count(), &sampler, &error), SM_ERR_ARGUMENT);
    for (uint32_t i = 0; i < sm_sampler_count(); i++) {
        assert_int_equal(sm_sampler_get_info(i, &sampler, NULL), SM_OK);
        assert_int_equal(sampler.sampler, i + 1);
    }
}

/* Every table of options: each field's end is a size, the bytes inside it are none. */
static void tables_refuse_sizes_inside_their_fields(void **state) {
    (void)state;
    sm_model *model = open_model();
    const uint32_t n = sm_options_count(SM_OPTIONS_TRAINER);
    for (uint32_t i = 0; i < n; i++) {
        const sm_option row = option_of(SM_OPTIONS_TRAINER, i);
        for (uint32_t size = row.offset + 1; size < row.offset + bytes_of(&row); size++) {
            sm_trainer_options o = {.struct_size = size};
            sm_trainer *t;
            sm_error error = {0};
            assert_int_equal(sm_trainer_open(&t, "/nonexistent", &o, &error), SM_ERR_ARGUMENT);
            if (size >= 8)
                assert_non_null(strstr(error.message, "inside"));
        }
    }
    sm_model_free(model);
}

static void reserved_fields_are_zero(void **state) {
    (void)state;
    fail_alloc counter = {0};
    sm_allocator allocator = fail_allocator(&counter);
    allocator.reserved = 1;
    const sm_model_options mo = {.struct_size = sizeof mo, .allocator = &allocator};
    const sm_tokenizer_options to = {.struct_size = sizeof to, .allocator = &allocator};
    const sm_gguf_options go = {.struct_size = sizeof go, .allocator = &allocator};
    sm_error error = {0};
    sm_model *model;
    sm_tokenizer *tokenizer;
    sm_gguf *gguf;
    assert_int_equal(sm_model_load(&model, model_path(), &mo, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "reserved"));
    assert_int_equal(sm_tokenizer_load(&tokenizer, model_path(), &to, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_gguf_load(&gguf, model_path(), &go, &error), SM_ERR_ARGUMENT);
    assert_int_equal(counter.calls, 0);
    const sm_tokenizer_options own = {.struct_size = sizeof own, .reserved = 7};
    assert_int_equal(sm_tokenizer_load(&tokenizer, model_path(), &own, &error), SM_ERR_ARGUMENT);
}

/* ---- calls with options, and the system's numbers ------------------------------------------- */

/* What takes options looks at them first: a size that no version has is refused everywhere. */
static void options_are_looked_at(void **state) {
    (void)state;
    sm_model *model = open_model();
    sm_session *s, *fork;
    sm_adapter *adapter;
    sm_error error = {0};
    assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
    const sm_adapter_options load = {.struct_size = 9};
    const sm_merge_options merge = {.struct_size = 9};
    const sm_pack_options pack = {.struct_size = 9};
    const sm_fork_options copy = {.struct_size = 9},
                          many = {.struct_size = sizeof many, .n_threads = 100000};
    const char *out = scratch_path("options-out.gguf");
    assert_int_equal(sm_adapter_load(&adapter, model, model_path(), &load, &error),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_adapter_merge(out, model_path(), model_path(), 1, &merge, &error),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_save_packed(model, out, &pack, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_fork(&fork, s, &copy, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_fork(&fork, s, &many, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "n_threads"));
    assert_null(fork);
    sm_session_free(s);
    sm_model_free(model);
}

/* A fork may have another team. */
static void forks_have_their_own_threads(void **state) {
    (void)state;
    sm_model *model = open_model();
    const sm_session_options one = {.struct_size = sizeof one, .n_threads = 1};
    const sm_fork_options two = {.struct_size = sizeof two, .n_threads = 2};
    sm_session *s, *fork, *same, *inside;
    sm_batch *batch;
    const int32_t ids[] = {1, 77, 3};
    assert_int_equal(sm_session_new(&s, model, &one, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, ids, 3, NULL), SM_OK);
    assert_int_equal(sm_session_fork(&fork, s, &two, NULL), SM_OK);
    assert_int_equal(sm_session_fork(&same, s, NULL, NULL), SM_OK);
    assert_int_equal(test_info(fork).n_threads, 2);
    assert_int_equal(test_info(same).n_threads, 1);
    const float *a, *b;
    uint64_t n;
    assert_int_equal(sm_session_feed(s, ids, 1, NULL), SM_OK);
    assert_int_equal(sm_session_feed(fork, ids, 1, NULL), SM_OK);
    assert_int_equal(sm_session_logits(s, &a, &n, NULL), SM_OK);
    assert_int_equal(sm_session_logits(fork, &b, NULL, NULL), SM_OK);
    assert_memory_equal(a, b, n * sizeof *a);
    assert_int_equal(sm_batch_new(&batch, model, NULL, NULL), SM_OK);
    assert_int_equal(sm_batch_new_session(&inside, batch, NULL, NULL), SM_OK);
    sm_session_free(same);
    assert_int_equal(sm_session_fork(&same, inside, &two, NULL), SM_ERR_ARGUMENT);
    sm_session_free(inside);
    sm_session_free(fork);
    sm_session_free(s);
    sm_batch_free(batch);
    sm_model_free(model);
}

static void errors_carry_the_number_of_the_system(void **state) {
    (void)state;
    sm_error error = {.system = -5};
    sm_model *model;
    sm_gguf *gguf;
    sm_tokenizer *tokenizer;
    sm_trainer *trainer;
    const char *nowhere = "/nonexistent/model.gguf";
    const sm_trainer_options o = {.struct_size = sizeof o, .data = nowhere};
    assert_int_equal(sm_model_load(&model, nowhere, NULL, &error), SM_ERR_IO);
    assert_int_equal(error.system, ENOENT);
    assert_int_equal(sm_gguf_load(&gguf, NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(error.system, 0);
    assert_int_equal(sm_gguf_load(&gguf, nowhere, NULL, &error), SM_ERR_IO);
    assert_int_equal(error.system, ENOENT);
    error.system = 0;
    assert_int_equal(sm_tokenizer_load(&tokenizer, nowhere, NULL, &error), SM_ERR_IO);
    assert_int_equal(error.system, ENOENT);
    error.system = 0;
    assert_int_equal(sm_trainer_open(&trainer, model_path(), &o, &error), SM_ERR_IO);
    assert_int_equal(error.system, ENOENT);
    model = open_model();
    error.system = 0;
    assert_int_equal(sm_model_save_packed(model, nowhere, NULL, &error), SM_ERR_IO);
    assert_int_equal(error.system, ENOENT);
    sm_model_free(model);
}

/* ---- hooks end ------------------------------------------------------------------------------ */

typedef struct host {
    fail_alloc memory;
    uint32_t done, logged, log_done;
    bool live; /* memory was there when done came */
} host;

static void *host_alloc(void *user, uint64_t size, uint64_t align) {
    host *h = user;
    const sm_allocator own = fail_allocator(&h->memory);
    return own.alloc(own.user, size, align);
}

static void host_release(void *user, void *ptr, uint64_t size, uint64_t align) {
    host *h = user;
    const sm_allocator own = fail_allocator(&h->memory);
    assert_int_equal(h->done, 0);
    own.release(own.user, ptr, size, align);
}

static void host_done(void *user) {
    host *h = user;
    h->live = h->live || h->memory.live_blocks;
    h->done++;
}

static void host_log(void *user, int32_t severity, const char *message) {
    host *h = user;
    (void)severity;
    (void)message;
    assert_int_equal(h->log_done, 0);
    h->logged++;
}

static void host_log_done(void *user) {
    ((host *)user)->log_done++;
}

#define HOST(h)                                                 \
    (&(const sm_allocator){.struct_size = sizeof(sm_allocator), \
                           .alloc = host_alloc,                 \
                           .release = host_release,             \
                           .done = host_done,                   \
                           .user = (h)})
#define HOST_LOG(h)      \
    (&(const sm_logger){ \
        .struct_size = sizeof(sm_logger), .log = host_log, .done = host_log_done, .user = (h)})

static void ended(const host *h, bool logs) {
    assert_int_equal(h->done, 1);
    assert_int_equal(h->log_done, logs);
    assert_int_equal(h->memory.live_blocks, 0);
    assert_false(h->live);
}

/* done comes once for each call: when the last handle goes, or before a call that fails returns. */
static void hooks_are_told_when_they_may_go(void **state) {
    (void)state;
    sm_error error;
    /* a model whose session and tokenizer outlive it */
    host h = {{0}, 0, 0, 0, false};
    const sm_model_options mo = {
        .struct_size = sizeof mo, .allocator = HOST(&h), .log = HOST_LOG(&h)};
    sm_model *model;
    sm_session *s;
    sm_tokenizer *tokenizer;
    assert_int_equal(sm_model_load(&model, model_path(), &mo, NULL), SM_OK);
    assert_true(h.logged > 0 && h.log_done == 1 && h.done == 0);
    assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
    assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, NULL), SM_OK);
    sm_model_free(model);
    sm_session_free(s);
    assert_int_equal(h.done, 0);
    sm_tokenizer_free(tokenizer);
    ended(&h, true);
    /* others, one by one */
    h = (host){{0}, 0, 0, 0, false};
    const sm_tokenizer_options to = {
        .struct_size = sizeof to, .allocator = HOST(&h), .log = HOST_LOG(&h)};
    assert_int_equal(sm_tokenizer_load(&tokenizer, model_path(), &to, NULL), SM_OK);
    sm_constraint *c;
    host g = {{0}, 0, 0, 0, false};
    const sm_constraint_options co = {.struct_size = sizeof co, .allocator = HOST(&g)};
    assert_int_equal(sm_constraint_new(&c, tokenizer, SM_CONSTRAINT_REGEX, "ab", 2, &co, NULL),
                     SM_OK);
    sm_tokenizer_free(tokenizer);
    assert_true(!h.done && !g.done);
    sm_constraint_free(c);
    ended(&g, false);
    ended(&h, true);
    h = (host){{0}, 0, 0, 0, false};
    const sm_gguf_options go = {.struct_size = sizeof go, .allocator = HOST(&h)};
    sm_gguf *gguf;
    assert_int_equal(sm_gguf_load(&gguf, model_path(), &go, NULL), SM_OK);
    sm_gguf_free(gguf);
    ended(&h, false);
    h = (host){{0}, 0, 0, 0, false};
    const sm_reply_options ro = {.struct_size = sizeof ro, .allocator = HOST(&h)};
    sm_reply *reply;
    assert_int_equal(sm_reply_new(&reply, &ro, NULL), SM_OK);
    sm_reply_free(reply);
    ended(&h, false);
    h = (host){{0}, 0, 0, 0, false};
    const sm_chat_options ho = {
        .struct_size = sizeof ho, .allocator = HOST(&h), .template_name = "chatml"};
    sm_chat *chat;
    assert_int_equal(sm_chat_new(&chat, &ho, NULL), SM_OK);
    sm_chat_free(chat);
    ended(&h, false);
    /* a struct of before there was `done`, and one of later */
    h = (host){{0}, 0, 0, 0, false};
    sm_allocator old = *HOST(&h);
    old.struct_size = offsetof(sm_allocator, done);
    const sm_gguf_options oo = {.struct_size = sizeof oo, .allocator = &old};
    assert_int_equal(sm_gguf_load(&gguf, model_path(), &oo, NULL), SM_OK);
    sm_gguf_free(gguf);
    assert_int_equal(h.done, 0);
    struct {
        sm_allocator known;
        uint64_t more;
    } later = {*HOST(&h), 0};
    later.known.struct_size = sizeof later;
    const sm_gguf_options lo = {.struct_size = sizeof lo, .allocator = &later.known};
    assert_int_equal(sm_gguf_load(&gguf, model_path(), &lo, NULL), SM_OK);
    sm_gguf_free(gguf);
    assert_int_equal(h.done, 1);
    later.more = 1;
    assert_int_equal(sm_gguf_load(&gguf, model_path(), &lo, &error), SM_ERR_ARGUMENT);
    assert_int_equal(h.done, 1);
}

static void hooks_are_told_when_calls_fail(void **state) {
    (void)state;
    sm_model *model;
    sm_tokenizer *tokenizer;
    sm_gguf *gguf;
    sm_constraint *c;
    sm_chat *chat;
    sm_trainer *trainer;
    const sm_text none = {"", 0};
    const char *nowhere = "/nonexistent/model.gguf";
    for (int i = 0; i < 11; i++) {
        host h = {{0}, 0, 0, 0, false};
        if (i == 10)
            h.memory.fail_at = 1;
        sm_model_options mo = {
            .struct_size = sizeof mo, .allocator = HOST(&h), .log = HOST_LOG(&h)};
        sm_tokenizer_options to = {
            .struct_size = sizeof to, .allocator = HOST(&h), .log = HOST_LOG(&h)};
        sm_gguf_options go = {.struct_size = sizeof go, .allocator = HOST(&h)};
        sm_constraint_options co = {
            .struct_size = sizeof co, .allocator = HOST(&h), .triggers = &none, .n_triggers = 1};
        sm_chat_options ho = {
            .struct_size = sizeof ho, .allocator = HOST(&h), .template_name = "no such layout"};
        sm_trainer_options ro = {.struct_size = sizeof ro,
                                 .allocator = HOST(&h),
                                 .log = HOST_LOG(&h),
                                 .data = i == 8 ? NULL : nowhere};
        sm_quantize_options qo = {.struct_size = sizeof qo, .type = "Q8_0", .allocator = HOST(&h)};
        mo.level = i == 1 ? 77 : 0;
        mo.reserved = i == 2;
        to.reserved = i == 3;
        go.io = i == 4 ? 9 : 0;
        sm_status status;
        switch (i) {
        case 3:
            status = sm_tokenizer_load(&tokenizer, model_path(), &to, NULL);
            break;
        case 4:
            status = sm_gguf_load(&gguf, model_path(), &go, NULL);
            break;
        case 5:
            status = sm_constraint_new(&c, NULL, SM_CONSTRAINT_REGEX, "a", 1, &co, NULL);
            break;
        case 6:
            status = sm_chat_new(&chat, &ho, NULL);
            break;
        case 7:
        case 8:
            status = sm_trainer_open(&trainer, model_path(), &ro, NULL);
            break;
        case 9:
            status = sm_model_quantize(scratch_path("never.gguf"), nowhere, &qo, NULL, NULL);
            break;
        default:
            status = sm_model_load(&model, i ? model_path() : nowhere, &mo, NULL);
        }
        assert_int_not_equal(status, SM_OK);
        const bool logs = i < 4 || i == 7 || i == 8 || i == 10;
        if (h.done != 1 || h.log_done != logs || h.memory.live_blocks)
            fail_msg("case %d: done %u, of the log %u", i, h.done, h.log_done);
    }
}

/* ---- flags ---------------------------------------------------------------------------------- */

static sm_cancel *signalled;

static void on_signal(int number) {
    (void)number;
    sm_cancel_set(signalled, 1);
}

/* Of a generation alone, by a signal; it may be freed by its maker while a session has it. */
static void flags_end_calls(void **state) {
    (void)state;
    sm_model *model = open_model();
    sm_session *s, *plain;
    const int32_t ids[] = {1, 77, 3};
    sm_error error = {0};
    sm_cancel *own;
    assert_int_equal(sm_cancel_new(&own, NULL), SM_OK);
    assert_int_equal(sm_cancel_new(&signalled, NULL), SM_OK);
    assert_int_equal(sm_cancel_new(NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_cancel_is_set(own), 0);
    const sm_session_options so = {.struct_size = sizeof so, .cancel_flag = own};
    assert_int_equal(sm_session_new(&s, model, &so, NULL), SM_OK);
    assert_int_equal(sm_session_new(&plain, model, NULL, NULL), SM_OK);
    sm_cancel_free(own); /* the session has a reference */
    assert_int_equal(sm_session_feed(s, ids, 3, NULL), SM_OK);
    sm_cancel_set(own, 1);
    assert_int_equal(sm_session_feed(s, ids, 3, &error), SM_ERR_CANCELLED);
    assert_int_equal(sm_session_length(s), 3);
    sm_cancel_set(own, 0);
    assert_int_equal(sm_session_feed(s, ids, 3, NULL), SM_OK);
    sm_session_free(s);
    /* of one call, set by a signal handler; the next call goes without it */
    sm_generate_options o = {
        .struct_size = sizeof o, .max_tokens = 4, .ignore_end = 1, .cancel_flag = signalled};
    assert_int_equal(sm_session_generate(plain, "and", 3, &o, NULL, NULL, NULL), SM_OK);
    void (*before)(int) = signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    signal(SIGUSR1, before);
    assert_int_equal(sm_cancel_is_set(signalled), 1);
    assert_int_equal(sm_session_generate(plain, "the", 3, &o, NULL, NULL, &error),
                     SM_ERR_CANCELLED);
    assert_int_equal(sm_session_feed(plain, ids, 1, NULL), SM_OK);
    o.cancel_flag = NULL;
    assert_int_equal(sm_session_generate(plain, "the", 3, &o, NULL, NULL, NULL), SM_OK);
    /* a schema, and a fork */
    const sm_schema_options schema = {.struct_size = sizeof schema, .cancel_flag = signalled};
    sm_constraint *c;
    assert_int_equal(sm_constraint_new_schema(&c, NULL, "{}", 2, &schema, NULL, NULL),
                     SM_ERR_CANCELLED);
    sm_session *fork;
    const sm_fork_options fo = {.struct_size = sizeof fo, .cancel_flag = signalled};
    assert_int_equal(sm_session_fork(&fork, plain, &fo, NULL), SM_OK);
    assert_int_equal(sm_session_feed(fork, ids, 1, NULL), SM_ERR_CANCELLED);
    sm_session_free(fork);
    sm_session_free(plain);
    sm_cancel_free(signalled);
    sm_cancel_free(NULL);
    sm_cancel_set(NULL, 1);
    assert_int_equal(sm_cancel_is_set(NULL), 0);
    sm_model_free(model);
}

/* A host's read function that says that it was cancelled. */
static int64_t read_cancelled(void *user, uint64_t offset, void *to, uint64_t n) {
    (void)offset;
    (void)to;
    (void)n;
    return *(const int64_t *)user;
}

static void reading_may_be_cancelled(void **state) {
    (void)state;
    int64_t answer = SM_ERR_CANCELLED;
    const sm_origin o = {.struct_size = sizeof o,
                         .kind = SM_ORIGIN_READ,
                         .read = read_cancelled,
                         .user = &answer,
                         .size = 1000};
    sm_gguf *gguf;
    assert_int_equal(sm_gguf_load_from(&gguf, &o, NULL, NULL), SM_ERR_CANCELLED);
    answer = 0;
    assert_int_equal(sm_gguf_load_from(&gguf, &o, NULL, NULL), SM_ERR_IO);
    answer = -77;
    assert_int_equal(sm_gguf_load_from(&gguf, &o, NULL, NULL), SM_ERR_IO);
}

/* ---- what the library is --------------------------------------------------------------------- */

static bool is_named(const char *names, const char *name) {
    return sm_names_find(names, name, NULL) != SM_NAME_NONE;
}

static void the_build_tells_what_it_has(void **state) {
    (void)state;
    sm_build_info info = {.struct_size = sizeof info};
    char version[32];
    assert_int_equal(sm_build_get_info(&info, NULL), SM_OK);
    assert_int_equal(info.abi, SM_ABI);
    assert_int_equal(info.abi, sm_abi());
    snprintf(version, sizeof version, "%d.%d.%d%s", SM_VERSION_MAJOR, SM_VERSION_MINOR,
             SM_VERSION_PATCH, SM_VERSION_PRE);
    assert_string_equal(info.version, version);
    const uint32_t number = sm_version_number();
    assert_int_equal(number / 1000000, SM_VERSION_MAJOR);
    assert_int_equal(number / 1000 % 1000, SM_VERSION_MINOR);
    assert_int_equal(number % 1000, SM_VERSION_PATCH);
    assert_true(info.levels & 1u << SM_LEVEL_SCALAR);
    assert_true(info.levels & 1ull << info.level);
    for (uint32_t cap = SM_LEVEL_SCALAR; sm_level_name(cap); cap++)
        assert_true(info.levels & 1ull << sm_level_best(cap));
    assert_false(info.levels & 1u << SM_LEVEL_AUTO);
    assert_true(is_named(info.families, "llama") && is_named(info.families, "gemma3"));
    assert_false(is_named(info.families, "gpt-5"));
    assert_true(is_named(info.features, "threads") && is_named(info.features, "training"));
    /* types: those that have blocks or floats, no others */
    uint32_t n = 0;
    uint64_t length;
    for (uint32_t type = 0; type < SM_DTYPE_COUNT; type++) {
        const sm_dtype_traits *traits = sm_dtype_get(type);
        if (!traits)
            continue;
        const char c = traits->name[0];
        const bool computed = (c != 'I' || traits->name[1] == 'Q') &&
                              strcmp(traits->name, "Q8_1") != 0 &&
                              strcmp(traits->name, "Q8_K") != 0;
        if (is_named(info.types, traits->name) != computed)
            fail_msg("%s", traits->name);
        n += computed;
    }
    assert_non_null(sm_names_get(info.types, n - 1, &length));
    assert_null(sm_names_get(info.types, n, &length));
    sm_build_info old = {.struct_size = offsetof(sm_build_info, families)};
    assert_int_equal(sm_build_get_info(&old, NULL), SM_OK);
    assert_null(old.families);
    assert_int_equal(sm_build_get_info(NULL, NULL), SM_ERR_ARGUMENT);
}

/* ---- zero ---------------------------------------------------------------------------------- */

static void tables_say_which_zeros_can_be_asked_for(void **state) {
    (void)state;
    static const struct {
        uint32_t table;
        const char *name;
    } zeros[] = {{SM_OPTIONS_SAMPLING, "top_p"},
                 {SM_OPTIONS_SAMPLING, "penalty_last_n"},
                 {SM_OPTIONS_SAMPLING, "dry_allowed_length"},
                 {SM_OPTIONS_TRAINER, "momentum"},
                 {SM_OPTIONS_TRAINER, "beta1"},
                 {SM_OPTIONS_TRAINER, "beta2"},
                 {SM_OPTIONS_TRAINER, "power"},
                 {SM_OPTIONS_TRAINER, "decay_part"}};
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++) {
        sm_option o = option_of(zeros[i].table, 0);
        for (uint32_t k = 1; strcmp(o.name, zeros[i].name) != 0; k++)
            o = option_of(zeros[i].table, k);
        assert_true(o.zero == (o.type == SM_OPTION_F64 ? SM_ZERO : (double)SM_ZERO_U32));
    }
}

/* Wherever a zero stands for another number and zero itself would be in range, it can be said. */
static void every_zero_can_be_said(void **state) {
    (void)state;
    static const char *const senseless[] = {
        "repeat_penalty", /* logits are divided by it */
        "clip",           /* no gradient at all: no_clip is the other end */
        "eps",            /* 0/0 where a gradient has always been 0 */
    };
    for (uint32_t t = 0; t < 64; t++)
        for (uint32_t i = 0; i < sm_options_count(t); i++) {
            const sm_option o = option_of(t, i);
            bool said = o.fallback == 0 || o.min > 0 || o.max < 0 || o.zero != 0;
            for (size_t k = 0; k < sizeof senseless / sizeof *senseless; k++)
                said = said || strcmp(o.name, senseless[k]) == 0;
            if (!said)
                fail_msg("%s of %s: zero cannot be said", o.name, sm_options_name(t));
        }
}

static void sampling_takes_zeros(void **state) {
    (void)state;
    sm_model *model = open_model();
    sm_session *s;
    int32_t greedy, id;
    const int32_t ids[] = {1, 77, 3};
    assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, ids, 3, NULL), SM_OK);
    assert_int_equal(test_sample(s, NULL, &greedy, NULL, NULL), SM_OK);
    uint32_t others = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        sm_sampling o = {.struct_size = sizeof o, .temperature = 1, .seed = seed};
        assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_OK);
        others += id != greedy;
        o.top_p = SM_ZERO;
        assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_OK);
        assert_int_equal(id, greedy);
    }
    assert_true(others > 10);
    const sm_logit_bias bias = {.token = 77, .bias = 100};
    sm_sampling o = {.struct_size = sizeof o,
                     .presence_penalty = 100,
                     .frequency_penalty = 100,
                     .repeat_penalty = 100,
                     .bias = &bias,
                     .n_bias = 1};
    assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_OK);
    assert_int_not_equal(id, 77); /* 77 is 3 tokens back */
    o.penalty_last_n = SM_ZERO_U32;
    assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_OK);
    assert_int_equal(id, 77);
    o.repeat_penalty = SM_ZERO; /* of which zero is no value */
    assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_ERR_ARGUMENT);
    o.repeat_penalty = 0;
    o.top_p = -0.5;
    assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_ERR_ARGUMENT);
    sm_session_free(s);
    sm_model_free(model);
}

static sm_trainer *open_trainer(double momentum, double beta2) {
    static char data[512];
    sm_trainer *t = NULL;
    sm_error error = {0};
    if (!*data) {
        snprintf(data, sizeof data, "%s", scratch_path("options.txt"));
        const char *text = "the hand in the hat and the hen in the den, then the end of it all.\n";
        scratch_write(data, text, strlen(text));
    }
    const sm_trainer_options o = {.struct_size = sizeof o,
                                  .data = data,
                                  .sequence = 16,
                                  .rows = 1,
                                  .steps = 4,
                                  .lr = 0.01,
                                  .n_threads = 1,
                                  .schedule = SM_LR_WSD,
                                  .decay_part = SM_ZERO,
                                  .optimizer = beta2 != 0 ? SM_OPTIMIZER_ADAMW : SM_OPTIMIZER_SGD,
                                  .momentum = momentum,
                                  .beta2 = beta2};
    if (sm_trainer_open(&t, model_path(), &o, &error))
        fail_msg("%s", error.message);
    return t;
}

static double loss_of_step(sm_trainer *t, double lr) {
    sm_train_metrics m = {.struct_size = sizeof m};
    assert_int_equal(sm_trainer_step(t, &m, NULL), SM_OK);
    assert_true(m.lr == lr); /* no part of the steps decays */
    return m.loss;
}

static void training_takes_zeros(void **state) {
    (void)state;
    char ckpt[512], text[2048];
    const char *path;
    uint64_t needed;
    snprintf(ckpt, sizeof ckpt, "%s", scratch_path("zero.ckpt"));
    sm_trainer *plain = open_trainer(0, 0), *zero = open_trainer(SM_ZERO, 0),
               *usual = open_trainer(0.9, 0);
    double a[4], b[4], c[4];
    for (int i = 0; i < 4; i++) {
        a[i] = loss_of_step(plain, 0.01);
        b[i] = loss_of_step(zero, 0.01);
        c[i] = loss_of_step(usual, 0.01);
        assert_true(a[i] == c[i]);              /* 0 is 0.9 */
        assert_true((a[i] == b[i]) == (i < 2)); /* the second update is the first to differ */
    }
    /* the checkpoint knows, and says it so that it is taken again */
    assert_int_equal(sm_trainer_save(zero, ckpt, NULL), SM_OK);
    sm_trainer_options o = {.struct_size = sizeof o};
    assert_int_equal(sm_checkpoint_get_options(ckpt, &o, &path, text, sizeof text, &needed, NULL),
                     SM_OK);
    assert_true(o.momentum == SM_ZERO && o.decay_part == SM_ZERO && o.beta1 == 0.9);
    sm_trainer *again = NULL;
    assert_int_equal(sm_trainer_open(&again, path, &o, NULL), SM_OK);
    assert_int_equal(sm_trainer_resume(again, ckpt, NULL), SM_OK);
    assert_int_equal(sm_trainer_resume(usual, ckpt, NULL), SM_ERR_ARGUMENT);
    sm_trainer_free(again);
    sm_trainer_free(plain);
    sm_trainer_free(zero);
    sm_trainer_free(usual);
    sm_trainer *adam = open_trainer(0, SM_ZERO), *other = open_trainer(0, 0.95);
    for (int i = 0; i < 4; i++) {
        a[i] = loss_of_step(adam, 0.01);
        b[i] = loss_of_step(other, 0.01);
    }
    assert_true(a[0] == b[0] && a[3] != b[3]);
    sm_trainer_free(adam);
    sm_trainer_free(other);
}

/* ---- out pointers -------------------------------------------------------------------------- */

static void out_pointers_hold_nothing_after_a_failure(void **state) {
    (void)state;
    static int somewhere;
    void *const rubbish = &somewhere;
    sm_model *model = rubbish, *real = open_model();
    sm_tokenizer *tokenizer = rubbish;
    sm_session *session = rubbish;
    sm_batch *batch = rubbish;
    sm_adapter *adapter = rubbish;
    sm_imatrix *imatrix = rubbish;
    sm_trainer *trainer = rubbish;
    sm_detokenizer *detokenizer = rubbish;
    sm_gguf *gguf = rubbish;
    const char *name = rubbish, *type = rubbish, *piece = rubbish;
    const float *logits = rubbish;
    uint64_t n = 99, reused = 99;
    int32_t id = 99;
    double logprob = 99;
#define GONE(p, call)                        \
    do {                                     \
        assert_int_not_equal((call), SM_OK); \
        assert_null(p);                      \
        (p) = rubbish;                       \
    } while (0)
    GONE(model, sm_model_load(&model, NULL, NULL, NULL));
    GONE(model, sm_model_load(&model, "/nonexistent", NULL, NULL));
    GONE(model, sm_model_random(&model, NULL, NULL, 0, NULL, NULL));
    GONE(model, sm_model_random(&model, "no", "F32", 0, NULL, NULL));
    GONE(tokenizer, sm_tokenizer_load(&tokenizer, NULL, NULL, NULL));
    GONE(tokenizer, sm_model_get_tokenizer(NULL, &tokenizer, NULL));
    GONE(detokenizer, sm_detokenizer_new(&detokenizer, NULL, 0, NULL));
    GONE(gguf, sm_gguf_load(&gguf, NULL, NULL, NULL));
    GONE(session, sm_session_new(&session, NULL, NULL, NULL));
    GONE(session, sm_session_fork(&session, NULL, NULL, NULL));
    GONE(session, sm_batch_new_session(&session, NULL, NULL, NULL));
    GONE(batch, sm_batch_new(&batch, NULL, NULL, NULL));
    GONE(adapter, sm_adapter_load(&adapter, NULL, NULL, NULL, NULL));
    GONE(adapter, sm_adapter_load(&adapter, real, NULL, NULL, NULL));
    GONE(imatrix, sm_imatrix_new(&imatrix, NULL, NULL, NULL));
    GONE(trainer, sm_trainer_open(&trainer, NULL, NULL, NULL));
    GONE(logits, sm_session_logits(NULL, &logits, NULL, NULL));
    GONE(name, sm_gguf_get_key(NULL, 0, &name, &type, NULL));
    assert_null(type);
    assert_int_equal(sm_detokenizer_feed(NULL, 0, &piece, &n, NULL), SM_ERR_ARGUMENT);
    assert_true(n == 0 && !strcmp(piece, ""));
    n = 99;
    assert_int_equal(sm_tokenizer_encode(NULL, "a", 1, NULL, NULL, 0, &n, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(n, 0);
    n = 99;
    assert_int_equal(sm_tokenizer_decode(NULL, NULL, 0, 0, NULL, 0, &n, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(n, 0);
    n = 99;
    assert_int_equal(sm_gguf_get_value(NULL, 0, 0, NULL, 0, &n, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(n, 0);
    assert_int_equal(sm_session_sync(NULL, NULL, 0, &reused, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(reused, 0);
    assert_int_equal(test_sample(NULL, NULL, &id, &logprob, NULL), SM_ERR_ARGUMENT);
    assert_true(id == -1 && logprob == 0);
    sm_model_free(real);
}

/* SM_ZT in place of a length: the same as with the length. */
static void texts_end_with_a_zero(void **state) {
    (void)state;
    char shown[32];
    sm_tokenizer *t;
    int32_t ids[2][16];
    uint64_t n[2];
    sm_model *model = open_model();
    assert_int_equal(sm_model_get_tokenizer(model, &t, NULL), SM_OK);
    assert_int_equal(sm_text_escape("a\x1b", SM_ZT, shown, sizeof shown), 5);
    assert_string_equal(shown, "a\\x1b");
    assert_int_equal(sm_text_escape(NULL, SM_ZT, shown, sizeof shown), 0);
    assert_int_equal(sm_tokenizer_encode(t, "aab", 3, NULL, ids[0], 16, &n[0], NULL), SM_OK);
    assert_int_equal(sm_tokenizer_encode(t, "aab", SM_ZT, NULL, ids[1], 16, &n[1], NULL), SM_OK);
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(ids[0], ids[1], n[0] * sizeof ids[0][0]);
    assert_int_equal(sm_tokenizer_encode(t, NULL, SM_ZT, NULL, ids[0], 16, &n[0], NULL),
                     SM_ERR_ARGUMENT);
    uint64_t length;
    char name[64];
    const char *text = sm_tokenizer_token_text(t, ids[1][n[1] - 1], &length);
    snprintf(name, sizeof name, "%.*s", (int)length, text);
    assert_int_equal(sm_tokenizer_find(t, name, SM_ZT), sm_tokenizer_find(t, name, length));
    sm_constraint *c;
    sm_constraint_state *s;
    assert_int_equal(
        sm_constraint_new_schema(&c, t, "{\"type\": \"null\"}", SM_ZT, NULL, NULL, NULL), SM_OK);
    sm_constraint_free(c);
    assert_int_equal(sm_constraint_new(&c, t, SM_CONSTRAINT_REGEX, "ab+", SM_ZT, NULL, NULL),
                     SM_OK);
    assert_int_equal(sm_constraint_state_new(&s, c, NULL), SM_OK);
    assert_int_equal(sm_constraint_accept_text(s, "abb", SM_ZT, NULL), SM_OK);
    assert_int_equal(sm_constraint_accept_text(s, "a", SM_ZT, NULL), SM_ERR_ARGUMENT);
    sm_constraint_state_free(s);
    sm_constraint_free(c);
    sm_reply *reply;
    const sm_reply_options o = {.struct_size = sizeof o, .format = "hermes"};
    assert_int_equal(sm_reply_new(&reply, &o, NULL), SM_OK);
    assert_int_equal(sm_reply_feed(reply, "hi", SM_ZT, NULL, NULL, NULL), SM_OK);
    sm_reply_free(reply);
    sm_tokenizer_free(t);
    sm_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_size_ends_inside_a_field),
        cmocka_unit_test(tables_describe_their_structs),
        cmocka_unit_test(rows_fit_structs_of_any_size),
        cmocka_unit_test(tables_refuse_sizes_inside_their_fields),
        cmocka_unit_test(reserved_fields_are_zero),
        cmocka_unit_test(options_are_looked_at),
        cmocka_unit_test(forks_have_their_own_threads),
        cmocka_unit_test(errors_carry_the_number_of_the_system),
        cmocka_unit_test(hooks_are_told_when_they_may_go),
        cmocka_unit_test(hooks_are_told_when_calls_fail),
        cmocka_unit_test(flags_end_calls),
        cmocka_unit_test(reading_may_be_cancelled),
        cmocka_unit_test(the_build_tells_what_it_has),
        cmocka_unit_test(tables_say_which_zeros_can_be_asked_for),
        cmocka_unit_test(every_zero_can_be_said),
        cmocka_unit_test(sampling_takes_zeros),
        cmocka_unit_test(training_takes_zeros),
        cmocka_unit_test(out_pointers_hold_nothing_after_a_failure),
        cmocka_unit_test(texts_end_with_a_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
