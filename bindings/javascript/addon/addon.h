/* The addon of bindings/javascript: what index.js calls. Whatever computes for long runs in a
 * thread of its own, a job, that tells JavaScript through a threadsafe function.
 *
 * Boxes (handles) and jobs are counted: finalizers come in any order, and a job keeps its session,
 * which keeps its model. Of both only the counts and `stop` are looked at by two threads.
 *
 * index.js looks at the types of all arguments before it calls. */
#ifndef SMALLMIND_ADDON_H
#define SMALLMIND_ADDON_H

#include <node_api.h>
#include <uv.h>

#include <smallmind/smallmind.h>
#include <stdatomic.h>
#include <stddef.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { MODEL = 1, SESSION = 2, ENCODER = 3 };

/* Memory that goes with a job or a call. */
struct chunk {
    struct chunk *next;
    max_align_t bytes[];
};
void *take(struct chunk **chunks, size_t size); /* zeroed; NULL: out of memory */
void give_back(struct chunk *chunks);

/* ---- handles: handles.c ---- */

struct job;
struct box {
    atomic_int refs;  /* who may look at this memory: users, and the external of a closed one */
    atomic_int users; /* of the handle: the open external, jobs, what is made of a model */
    int kind, closed;
    void *handle;
    struct box *model; /* of a session or an encoder */
    struct job *job;   /* that is at work with it; it takes one at a time */
    sm_cancel *flag;   /* of a session or an encoder */
};

struct box *box_new(int kind);
struct box *box_new_of(int kind, struct box *model); /* with its flag; keeps the model */
struct box *box_keep(struct box *box);
void box_drop(struct box *box); /* the C handle goes with its last user */
/* An external that owns the box; 0 where memory ran out, and the box is still the caller's. */
int box_wrap(napi_env env, struct box *box, napi_value *external);
/* The box of a handle that is open; NULL having thrown. */
struct box *opened(napi_env env, napi_value value, int kind);
struct box *idle(napi_env env, napi_value value, int kind); /* the same without a job */
napi_value close_handle(napi_env env, napi_callback_info info);

/* ---- values: values.c ---- */

napi_value undefined(napi_env env);
napi_value failure(napi_env env, const sm_error *error);
napi_value throw_error(napi_env env, const sm_error *error);
napi_value throw_own(napi_env env, sm_status code, const char *message);
napi_value throw_no_memory(napi_env env);
sm_status no_memory(sm_error *error);

void arguments_of(napi_env env, napi_callback_info info, size_t n, napi_value *values);
/* A copy of a string, zero-terminated too; a NULL text if it is none or memory ran out. */
sm_text text_of(napi_env env, struct chunk **chunks, napi_value value);
/* The same for an element of an array that may be undefined; 0: out of memory. */
int text_at(napi_env env, struct chunk **chunks, napi_value array, uint32_t i, const char **text);
int texts_at(napi_env env, struct chunk **chunks, napi_value lists, uint32_t at,
             const sm_text **texts, uint64_t *n);
void *array_of(napi_env env, napi_value value, size_t *n); /* of a typed array */
napi_value new_array(napi_env env, napi_typedarray_type type, const void *from, size_t n);
void set_number(napi_env env, napi_value object, const char *name, double number);
void set_text(napi_env env, napi_value object, const char *name, const char *text);

/* A struct that tells, by the fields that scripts/bindings.py found. */
napi_value model_info_object(napi_env env, const sm_model_info *from);
napi_value stats_object(napi_env env, const sm_generate_stats *from);
napi_value encoder_info_object(napi_env env, const sm_encoder_info *from);
napi_value top_object(napi_env env, const sm_token_logprob *top, uint64_t n);

/* Fills an options struct by its table. pairs: [place in the table, value, place, value, …]. A
 * field that the struct of this header does not have, of a newer library, is left alone. 0: out of
 * memory. */
int fill(napi_env env, struct chunk **chunks, uint32_t table, napi_value pairs, void *options,
         uint32_t size);
napi_value options_rows(napi_env env, napi_callback_info info);
napi_value find_name(napi_env env, napi_callback_info info);

/* ---- jobs: jobs.c ---- */

struct job {
    atomic_int refs, stop;
    int started, ended; /* ended: JavaScript has been told so */
    int deaf;           /* the threadsafe function is closing: not to be used any more */
    int no_memory;
    napi_threadsafe_function to;
    uv_thread_t thread;
    uv_sem_t room;
    struct chunk *chunks;
    struct box *box, *made;
    sm_cancel *flag, *own_flag;
    sm_status (*work)(struct job *job);
    sm_status status;
    sm_error error;
    double number; /* what the work gave, beside `made`; below 0: nothing */
    float *floats; /* the same */
    uint64_t n_floats;
    sm_model_options loading;
    sm_fork_options fork;
    sm_generate_options generate;
    sm_sampling sampling;
    sm_answer_options answer;
    const char *path, *messages, *tools, *layout;
    sm_text prompt, constraint;
    const sm_text *texts;
    uint64_t n_texts;
    uint32_t constraint_kind; /* SM_CONSTRAINT_…, 0: a schema */
    int32_t *ids;
    uint64_t n_ids;
    uint32_t length;
};

/* Takes a reference to the box, which may be NULL; NULL: out of memory. */
struct job *job_new(struct box *box, sm_status (*work)(struct job *));
/* Begins the work; `ready` is 0 where memory ran out, `job` may be NULL then. Gives the job as an
 * external. The callback gets (value) of what is told, or (undefined, error, outcome) at the end. */
napi_value start(napi_env env, struct job *job, int ready, napi_value callback);
void job_cancel(struct job *job);
/* What callbacks of the library tell: they answer what these do. */
int32_t SM_CALL on_token(void *user, const sm_token *token);
int32_t SM_CALL on_delta(void *user, const sm_delta *delta);
int32_t SM_CALL on_progress(void *user, uint64_t done, uint64_t total);
napi_value cancel(napi_env env, napi_callback_info info);
napi_value taken(napi_env env, napi_callback_info info);
napi_value hold(napi_env env, napi_callback_info info);

/* ---- what index.js calls: models.c, sessions.c, texts.c, encoders.c ---- */

napi_value load(napi_env env, napi_callback_info info);
napi_value model_info(napi_env env, napi_callback_info info);
napi_value encode(napi_env env, napi_callback_info info);
napi_value decode(napi_env env, napi_callback_info info);

napi_value session(napi_env env, napi_callback_info info);
napi_value length(napi_env env, napi_callback_info info);
napi_value tokens(napi_env env, napi_callback_info info);
napi_value logits(napi_env env, napi_callback_info info);
napi_value stats(napi_env env, napi_callback_info info);
napi_value feed(napi_env env, napi_callback_info info);
napi_value sync_session(napi_env env, napi_callback_info info);
napi_value rewind_to(napi_env env, napi_callback_info info);
napi_value fork_session(napi_env env, napi_callback_info info);

napi_value sample(napi_env env, napi_callback_info info);
napi_value generate(napi_env env, napi_callback_info info);
napi_value chat(napi_env env, napi_callback_info info);

napi_value encoder(napi_env env, napi_callback_info info);
napi_value encoder_info(napi_env env, napi_callback_info info);
napi_value labels(napi_env env, napi_callback_info info);
napi_value embed(napi_env env, napi_callback_info info);
napi_value score(napi_env env, napi_callback_info info);
napi_value rerank(napi_env env, napi_callback_info info);

#endif
