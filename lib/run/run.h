/* run.h - the handles users hold: models, sessions, sampling, generation. */
#ifndef SM_RUN_H
#define SM_RUN_H

#include "base/base.h"
#include "format/format.h"
#include "nn/nn.h"
#include "smallmind/smallmind.h"
#include "text/text.h"

/* ---- vocabulary (vocab.c) ------------------------------------------------------------ */

/* Whether the file has a vocabulary: tokenizer.ggml.model is there and does not say "no_vocab" or
 * "none". */
bool sm_vocab_in_gguf(const sm_gguf *gguf);

/* Builds the tokenizer of an open file from its tokenizer.ggml.* keys.
 * SM_ERR_MISSING if it has none. */
sm_status sm_vocab_from_gguf(sm_tokenizer **out, sm_mem *mem, const sm_gguf *gguf, sm_error *error);

/* Lets mem go together with the last reference to a tokenizer that lives in it. */
void sm_vocab_own_mem(sm_tokenizer *tokenizer, sm_mem *mem);

/* ---- model (model.c) ------------------------------------------------------------------- */

struct sm_model {
    _Atomic uint32_t references;
    sm_mem *mem; /* everything below is allocated here */
    sm_gguf *gguf;
    uint8_t *image; /* the file of a model made in memory; NULL otherwise */
    sm_net *net;
    sm_tokenizer *tokenizer; /* NULL: the file has no vocabulary */
    sm_mutex *lock;          /* guards packing */
    _Atomic bool packed;
    bool repack;
    char *name;
    uint64_t n_params, weight_bytes;
    sm_log_fn log;
    void *log_user;
};

/* Makes a model from a file that `open` opens: it sets model->gguf, allocating in model->mem
 * (on failure too what it set is freed with the model). `what` is handed to it; name stands
 * for the file in messages. */
typedef sm_status (*sm_model_open_fn)(sm_model *model, const void *what, const sm_model_options *o,
                                      sm_error *error);
sm_status sm_model_make(sm_model **out, const char *name, sm_model_open_fn open, const void *what,
                        const sm_model_options *options, sm_error *error);
void sm_model_retain(const sm_model *model);
/* Repacks the weights if that is wanted and not yet done; cancel may be NULL. */
sm_status sm_model_prepare(const sm_model *model, sm_team *team, sm_cancel_fn cancel,
                           void *cancel_user, sm_error *error);

/* ---- adapters (adapter.c) ----------------------------------------------------------------- */

struct sm_adapter {
    _Atomic uint32_t references;
    sm_mem *mem; /* the model's */
    const sm_model *model;
    sm_net_adapter low;
    sm_adapter_info info;
};

/* Drops what a session holds of its adapters. */
void sm_session_detach_all(sm_session *session);

/* ---- sampling (sample.c) ------------------------------------------------------------------ */

typedef struct sm_candidate {
    float logit;
    int32_t id;
} sm_candidate;

/* Buffers of one session, all [n_vocab]. */
typedef struct sm_sampler {
    float *logits;
    sm_candidate *candidates;
    int32_t *counts; /* all zero between calls */
} sm_sampler;

/* Chooses from logits after `length` tokens ids[0..length); sampling was taken with
 * sm_sampling_take. Draw number = length. SM_ERR_ARGUMENT if biases leave no token,
 * SM_ERR_FORMAT if the logits are not finite. */
sm_status sm_sample(int32_t *id, const sm_sampler *sampler, const sm_kernels *kernels,
                    const sm_sampling *sampling, const float *logits, uint32_t n_vocab,
                    const int32_t *ids, uint32_t length, sm_error *error);
/* Natural log-probability of id under softmax(logits). */
double sm_logprob(const sm_kernels *kernels, const float *logits, uint32_t n_vocab, int32_t id);
/* Takes and checks sampling options, the bias list included. */
sm_status sm_sampling_take(sm_sampling *to, const sm_sampling *from, uint32_t n_vocab,
                           sm_error *error);
/* A number in [0, 1) that depends on nothing but its arguments: Philox4x32-10. */
double sm_uniform(uint64_t seed, uint64_t sequence, uint64_t position);

/* ---- session (session.c, generate.c) --------------------------------------------------------- */

struct sm_session {
    const sm_model *model;
    sm_mem *mem;
    sm_team *team;
    sm_workspace *workspace;
    sm_kv kv;
    uint32_t n_ctx, n_batch;
    int32_t *ids; /* [n_ctx] */
    uint32_t length;
    float *logits; /* [n_vocab padded to 16] after the last token */
    bool has_logits;
    float *all_logits; /* staging of sm_session_feed_logits; made when first needed */
    sm_sampler sampler;
    sm_cancel_fn cancel;
    void *cancel_user;
    const sm_observer *observer; /* NULL: none; not taken over by forks */
    /* adapters attached; adapters.n of each are in use */
    const sm_adapter *attached[SM_MAX_ADAPTERS];
    const sm_net_adapter *adapter[SM_MAX_ADAPTERS];
    float adapter_scale[SM_MAX_ADAPTERS];
    sm_adapters adapters;
    /* generation */
    sm_detokenizer *detokenizer; /* NULL without a vocabulary */
    char *pending;               /* text held back for stop strings */
    uint64_t pending_length, pending_capacity;
    sm_generate_stats stats;
};

#endif
