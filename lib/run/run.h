/* run.h - the handles users hold: models, sessions, sampling, generation. */
#ifndef SM_RUN_H
#define SM_RUN_H

#include "base/base.h"
#include "constrain/constrain.h"
#include "format/format.h"
#include "nn/nn.h"
#include "sample/sample.h"
#include "smallmind/smallmind.h"
#include "text/text.h"

/* ---- vocabulary (vocab.c) ------------------------------------------------------------ */

/* Whether the file has a vocabulary: tokenizer.ggml.model is there and does not say "no_vocab" or
 * "none". */
bool sm_vocab_in_gguf(const sm_source *source);

/* Builds the tokenizer of an open file from its tokenizer.ggml.* keys.
 * SM_ERR_MISSING if it has none, SM_ERR_CANCELLED if pace (may be NULL) says so. log may be NULL:
 * warnings as of sm_tokenizer_options. */
sm_status sm_vocab_from_gguf(sm_tokenizer **out, sm_mem *mem, const sm_source *source,
                             sm_pace *pace, sm_log_fn log, void *log_user, sm_error *error);

/* Lets mem go together with the last reference to a tokenizer that lives in it. */
/* Whether bytes are a tokenizer.json, a SentencePiece model or tiktoken's ranks. */
bool sm_vocab_in_bytes(const void *data, uint64_t size);
/* The tokenizer in these bytes, with what the files beside `path` (NULL: none) say of it:
 * tokenizer_config.json, special_tokens_map.json; config.json of tiktoken's ranks. data is not
 * kept. SM_ERR_FORMAT, _UNSUPPORTED, _MISSING, _IO, _NOMEM, _CANCELLED. */
sm_status sm_vocab_from_bytes(sm_tokenizer **out, sm_mem *mem, const char *path, const void *data,
                              uint64_t size, sm_pace *pace, sm_error *error);
/* The same of a directory: its tokenizer.json, else its SentencePiece model, else its ranks.
 *     if (sm_vocab_in_directory(path))
 *         status = sm_vocab_from_directory(&tokenizer, mem, path, pace, error);
 * mem must outlive it; pace may be NULL. */
bool sm_vocab_in_directory(const char *directory);
sm_status sm_vocab_from_directory(sm_tokenizer **out, sm_mem *mem, const char *directory,
                                  sm_pace *pace, sm_error *error);
void sm_vocab_own_mem(sm_tokenizer *tokenizer, sm_mem *mem);

/* ---- model (model.c) ------------------------------------------------------------------- */

struct sm_model {
    _Atomic uint32_t references;
    sm_mem *mem; /* everything below is allocated here */
    sm_source *source;
    uint8_t *image; /* the file of a model made in memory; NULL otherwise */
    sm_net *net;
    sm_tokenizer *tokenizer; /* NULL: the file has no vocabulary */
    char *name;
    uint64_t n_params, weight_bytes;
};

/* Makes a model from a file that `open` opens: it sets model->gguf, allocating in model->mem
 * (on failure too what it set is freed with the model). `what` is handed to it; name stands
 * for the file in messages. */
typedef sm_status (*sm_model_open_fn)(sm_model *model, const void *what, const sm_model_options *o,
                                      sm_error *error);
sm_status sm_model_make(sm_model **out, const char *name, sm_model_open_fn open, const void *what,
                        const sm_model_options *options, sm_error *error);
void sm_model_retain(const sm_model *model);

/* ---- adapters (adapter.c) ----------------------------------------------------------------- */

struct sm_adapter {
    _Atomic uint32_t references;
    sm_mem *mem; /* the model's */
    const sm_model *model;
    sm_net_adapter low;
    sm_adapter_info info;
    uint64_t fingerprint; /* of its file */
};

/* The keys and tensors of an adapter's file, or of a directory of PEFT's, for this model. Takes
 * care of origin->done. */
sm_status sm_adapter_source(sm_source **out, const sm_model *model, const sm_origin *origin,
                            const sm_hook *hook, sm_error *error);
/* sm_adapter_load_from of what was taken, asking: tensors done of the adapter's. */
sm_status sm_adapter_open(sm_adapter **out, const sm_model *model, const sm_origin *origin,
                          const sm_hook *hook, sm_error *error);
/* Among those of a session, whose tokens it does not touch: puts one there or changes its scale
 * (statuses of sm_session_attach), takes one away (of sm_session_detach), or all. */
sm_status sm_adapter_put(sm_session *session, const sm_adapter *adapter, double scale,
                         sm_error *error);
sm_status sm_adapter_take(sm_session *session, const sm_adapter *adapter, sm_error *error);
void sm_adapter_take_all(sm_session *session);
/* Whether two sessions have the same adapters with the same scales, in the same order. */
bool sm_adapter_same(const sm_session *a, const sm_session *b);

/* What is known of logits after `length` tokens that are not finite: SM_ERR_FORMAT names the first
 * one's token and, where that is what is damaged, the row of the output matrix. SM_OK if all are.
 */
sm_status sm_logits_check(const sm_model *model, const float *logits, uint32_t length,
                          sm_error *error);

/* ---- batch (batch.c) ------------------------------------------------------------------------- */

/* What computing needs, shared by the sessions of a batch. A session that was not made in a
 * batch has one of its own. */
struct sm_batch {
    _Atomic uint32_t references; /* the user's and one of each session */
    sm_use use;                  /* by a call of its own or of one of its sessions, if shared */
    const sm_model *model;
    sm_mem *mem;
    sm_team *team;
    sm_workspace *workspace;
    sm_sampler *sampler;
    uint32_t n_sequences, n_batch, n_ctx;
    bool shared; /* made by the user; else what one session has */
    /* the running step: items, spans[n_sequences], the others [n_batch] */
    sm_batch_item *items; /* as this version knows them */
    sm_span *spans;
    int32_t *ids;
    uint32_t *outputs;
    float **logits;
    uint64_t n_steps;    /* begun */
    uint64_t repack_ns;  /* that they spent repacking weights */
    sm_cancel_fn cancel; /* what is asked, of `ask` */
    void *cancel_user;
    sm_ask ask;
    sm_cancel *flag; /* a reference */
};

/* n_ctx and n_threads are the number asked for or, if that is 0, the default. */
uint32_t sm_default_context(const sm_model *model, uint32_t n_ctx);
sm_status sm_batch_make(sm_batch **out, const sm_model *model, const sm_batch_options *options,
                        bool shared, sm_error *error);
/* Drops a reference. */
void sm_batch_release(sm_batch *batch);
/* Ends the use of a batch, and the user's hold on it if it was to be freed meanwhile. */
void sm_batch_end(sm_batch *batch);
/* Checks n ids that are to follow the `held` tokens of a session. SM_ERR_ARGUMENT,
 * SM_ERR_CONTEXT_FULL, SM_ERR_TOKEN. */
sm_status sm_batch_check(const sm_session *session, const int32_t *ids, uint64_t n, uint32_t held,
                         sm_error *error);
/* Computes checked items, together n_batch tokens at most, and appends their tokens. With
 * quiet, only items that want all logits get any. SM_ERR_CANCELLED, SM_ERR_NOMEM: as
 * sm_forward. */
sm_status sm_batch_compute(sm_batch *batch, const sm_batch_item *items, uint64_t n_items,
                           bool quiet, sm_cancel_fn cancel, void *cancel_user, sm_error *error);

/* Of calls that name several sessions (step.c): whether there may be so many, which begins a step;
 * whether session i may be one of them, all having the adapters of the first. */
sm_status sm_batch_check_count(sm_batch *batch, uint64_t n_items, sm_error *error);
sm_status sm_batch_check_member(sm_batch *batch, sm_session *session, const sm_session *first,
                                uint32_t i, sm_error *error);
/* Computes checked items of marked sessions, asking the hooks of batch and sessions. */
sm_status sm_batch_compute_asking(sm_batch *batch, const sm_batch_item *items, uint64_t n_items,
                                  sm_error *error);

/* ---- speculation (speculate.c) ------------------------------------------------------------- */

/* Guessed tokens whose logits are there already. */
typedef struct sm_ahead {
    bool started;      /* credit and size are set; they last as long as the session */
    bool look_up;      /* guesses from the tokens so far */
    sm_session *draft; /* or of this session; NULL: none */
    uint32_t most;     /* guesses at a time; 0: no speculation */
    uint32_t size;     /* as many next */
    int64_t credit;    /* what guesses may cost */
    uint32_t capacity; /* guesses that there is room for */
    int32_t *ids;      /* [capacity + 1] fed together, the first one chosen, the others guessed */
    float *rows;       /* [capacity + 1][n_vocab] after each */
    sm_cancel_fn draft_cancel; /* the draft session's own, while it is asked for guesses */
    void *draft_cancel_user;
    uint32_t position; /* of the first in the sequence */
    uint32_t n, at;    /* how many; how many of them have been chosen. n 0: none */
} sm_ahead;

/* Before tokens are generated: by a look-up in the text, by a second session of which this call has
 * the mark (or NULL), at most so many at a time; neither: none. SM_ERR_NOMEM. */
sm_status sm_ahead_begin(sm_session *session, bool look_up, sm_session *draft, uint32_t most,
                         sm_error *error);
/* Feeds a chosen token, after which no more than `left` others will be. As sm_session_feed. */
sm_status sm_ahead_feed(sm_session *session, const sm_chain *chain, int32_t id, uint32_t left,
                        sm_error *error);
void sm_ahead_free(sm_session *session);
/* The mark of a session (or NULL) that is to guess for another one, whose cancel hook it asks
 * meanwhile. SM_ERR_ARGUMENT, SM_ERR_STATE. The end may free it. */
sm_status sm_draft_begin(sm_session *session, sm_session *draft, sm_error *error);
void sm_draft_end(sm_session *session, sm_session *draft);

/* ---- full contexts (context.c) --------------------------------------------------------------- */

/* What generate does when there is no room. */
typedef struct sm_policy {
    uint32_t kind; /* SM_CONTEXT_… */
    uint32_t n_keep, n_drop;
    sm_context_fn told;
    void *user;
    int32_t *ids; /* [n_ctx] for what is to be held; NULL: SM_CONTEXT_STOP */
} sm_policy;

/* From options that were taken; freed also on failure. SM_ERR_ARGUMENT, _UNSUPPORTED, _NOMEM. */
sm_status sm_policy_take(sm_session *session, const sm_generate_options *options, sm_policy *policy,
                         sm_error *error);
void sm_policy_free(sm_session *session, sm_policy *policy);
/* sm_session_sync_marked with a prompt of any length. */
sm_status sm_policy_sync(sm_session *session, sm_policy *policy, const int32_t *ids, uint64_t n,
                         uint64_t *reused, sm_error *error);
/* Makes room for a token where there is none (and the policy is not to stop). */
sm_status sm_policy_room(sm_session *session, sm_policy *policy, sm_error *error);

/* ---- token healing (heal.c) ------------------------------------------------------------------ */

/* What the next tokens have to spell. All zero: nothing. */
typedef struct sm_heal {
    char *text;          /* [length] of the tokens given up */
    uint64_t length, at; /* at: bytes of it that are chosen */
    uint64_t skip;       /* bytes of it still to be kept back: they are in the prompt */
    uint32_t *mask;      /* [(n_vocab + 31) / 32] */
} sm_heal;

/* Takes the last tokens of a prompt away that are to be chosen anew. SM_ERR_NOMEM. */
sm_status sm_heal_begin(sm_session *session, sm_heal *heal, const int32_t *ids, uint64_t *n,
                        sm_error *error);
void sm_heal_free(sm_session *session, sm_heal *heal);
/* Of the tokens that may come next (sm_draw.mask), of those that are allowed (NULL: all); NULL:
 * any.
 */
const uint32_t *sm_heal_mask(sm_session *session, sm_heal *heal, const uint32_t *allowed);
/* This one came. */
void sm_heal_take(sm_session *session, sm_heal *heal, int32_t id);
/* Leaves out of the stream of generated text what the prompt has. */
void sm_heal_hide(sm_heal *heal, const char **text, uint64_t *length);

/* ---- session (session.c, generate.c) --------------------------------------------------------- */

/* A choice that mirostat made: its mu around it. */
typedef struct sm_trail_step {
    int32_t id; /* -1: the token was not chosen by it */
    double before, after;
} sm_trail_step;

typedef struct sm_trail {
    sm_trail_step *at; /* [n_ctx + 1], made when it is first needed */
    uint32_t end;      /* positions that are known */
} sm_trail;

/* Breakers of DRY that were found for texts (breakers.c). */
typedef struct sm_breaker_cache {
    char *key; /* the texts, each behind its length, and a 0; NULL: none yet */
    int32_t *head, *tail;
    uint32_t *end;
    uint32_t capacity, n_tail, tail_capacity;
    sm_breakers found; /* in these */
} sm_breaker_cache;

struct sm_session {
    sm_use use;
    const sm_model *model;
    sm_mem *mem;
    sm_batch *batch;
    uint64_t step; /* the last step of the batch that named this session */
    sm_state state;
    uint32_t n_ctx, kv_type, kv_keep; /* of its options */
    /* the text had so many tokens behind the first `kept` that are dropped (context.c) */
    uint32_t kept;
    uint64_t dropped;
    /* tokens that what it holds has lost by any way, those from gone_at on at the earliest: so that
     * draws are numbered on, and not those of before again */
    uint64_t gone;
    uint32_t gone_at; /* says nothing where gone is 0 */
    int32_t *ids;     /* [n_ctx]; other threads may look at them through sm_session_tokens */
    _Atomic uint32_t length;
    float *logits; /* [n_vocab] after the last token */
    float *marked; /* [n_vocab] these with a watermark; NULL until one is asked for */
    bool has_logits;
    sm_trail trail;
    sm_breaker_cache breakers;
    sm_cancel_fn cancel; /* what is asked, of `ask` */
    void *cancel_user;
    sm_ask ask;
    sm_cancel *flag;             /* a reference */
    const sm_observer *observer; /* NULL: none; not taken over by forks */
    /* adapters attached; adapters.n of each are in use */
    const sm_adapter *attached[SM_MAX_ADAPTERS];
    const sm_net_adapter *adapter[SM_MAX_ADAPTERS];
    float adapter_scale[SM_MAX_ADAPTERS];
    sm_adapters adapters;
    /* generation */
    sm_detokenizer *detokenizer; /* NULL without a vocabulary */
    char *pending;               /* text held back for stop strings */
    uint8_t *silent;             /* of each byte of it: 1 where only stop strings may match it */
    uint64_t pending_length, pending_capacity;
    sm_generate_stats stats;
    sm_ahead ahead;
};

/* During a call that has a flag of its own; NULL: it ends. */
void sm_session_call_flag(sm_session *session, const sm_cancel *flag);
/* The session's mark, and its batch's where others share that, around everything that changes or
 * reads more of them than a number. SM_ERR_STATE. The end may free both. */
sm_status sm_session_begin(const sm_session *session, sm_error *error);
void sm_session_end(const sm_session *session);
/* The public functions of these names inside a call that has the marks. */
sm_status sm_session_feed_marked(sm_session *session, const int32_t *ids, uint64_t n, float *logits,
                                 sm_error *error);
sm_status sm_session_sync_marked(sm_session *session, const int32_t *ids, uint64_t n,
                                 uint64_t *reused, sm_error *error);
sm_status sm_session_rewind_marked(sm_session *session, uint32_t length, sm_error *error);
/* n tokens at position `at` are gone; and: the session goes back to `length`, and has lost nothing
 * where that is before all that was. */
void sm_session_lose(sm_session *session, uint32_t at, uint64_t n);
void sm_session_unlose(sm_session *session, uint32_t length);

/* ---- tokens that are given, and what was thought of them (echo.c) ---------------------------- */

typedef struct sm_thought {
    int32_t id;
    uint32_t n_top;
    double logprob; /* NAN: nothing stands before it */
    sm_token_logprob top[SM_MAX_LOGPROBS];
} sm_thought;

/* Told of tokens in their order; any failure ends it. */
typedef struct sm_thoughts {
    sm_status (*told)(void *user, const sm_thought *thought, sm_error *error);
    void *user;
    uint32_t n_top;
} sm_thoughts;

/* As sm_session_feed, telling of each token; on failure some may have been fed. SM_ERR_STATE if
 * there are tokens but no logits. */
sm_status sm_session_feed_thoughts(sm_session *session, const int32_t *ids, uint64_t n,
                                   const sm_thoughts *to, sm_error *error);

/* ---- banned strings, tokens that end the text (ban.c) ---------------------------------------- */

#define SM_MAX_TEXTS 64 /* banned, or that end the text */

#define SM_DROPPED UINT32_MAX /* by the policy for full contexts: no way back */

/* A token that was chosen, before it is handed out. */
typedef struct sm_waiting {
    int32_t id;
    uint32_t position, n_top; /* position may be SM_DROPPED */
    double logprob;
    double mu; /* mirostat's before it */
    sm_detokenizer_mark before;
    uint64_t end; /* of its text in what is pending */
    sm_token_logprob top[SM_MAX_LOGPROBS];
} sm_waiting;

/* What may not follow the first `position` tokens. */
typedef struct sm_ban {
    uint32_t position;
    int32_t id;
} sm_ban;

typedef struct sm_bans {
    sm_waiting *waiting; /* [n_waiting] */
    sm_ban *bans;        /* [n] by position */
    int32_t *ids;        /* [n_ids]: n_ends that end the text, then the present position's */
    uint32_t n_waiting, n, n_ids, n_ends, first;
    uint32_t waiting_capacity, bans_capacity, ids_capacity;
} sm_bans;

/* Into texts with their lengths [SM_MAX_TEXTS]. */
sm_status sm_bans_check(const sm_generate_options *options, sm_text *ban, sm_error *error);
/* Takes in the tokens that end the text. */
sm_status sm_bans_ends(sm_bans *bans, const sm_session *session, sm_error *error);
/* Makes ids[first .. n_ids) those that may not come at a position, with `ends` or without. */
sm_status sm_bans_at(sm_bans *bans, sm_mem *mem, uint32_t position, bool ends, sm_error *error);
sm_status sm_bans_forbid(sm_bans *bans, sm_mem *mem, uint32_t position, int32_t id,
                         sm_error *error);
sm_status sm_bans_wait(sm_bans *bans, sm_mem *mem, const sm_waiting *token, sm_error *error);
/* Tokens [begin, end) of the session are gone, those behind stand earlier. */
void sm_bans_drop(sm_bans *bans, uint32_t begin, uint32_t end);
/* The first n that wait were handed out, and so many bytes. */
void sm_bans_drop_first(sm_bans *bans, uint32_t n, uint64_t bytes);
void sm_bans_free(sm_bans *bans, sm_mem *mem);

/* What a generation continues: a text to encode, or ids. */
typedef struct sm_prompt {
    const char *text;   /* [n] */
    const int32_t *ids; /* [n], where text is NULL */
    uint64_t n;
    bool control; /* hand out the text of control tokens too, but of those that end the text */
} sm_prompt;
/* sm_session_generate inside a call that has the marks. */
sm_status sm_session_generate_marked(sm_session *session, const sm_prompt *prompt,
                                     const sm_generate_options *options, sm_token_fn on_token,
                                     void *user, sm_error *error);

/* Mirostat's mu for the next choice (NAN: it begins), by the tokens that were chosen (trail.c);
 * room for what comes (SM_ERR_NOMEM); what a choice made of it; a fork's. */
double sm_trail_mu(const sm_session *session);
sm_status sm_trail_reserve(sm_session *session, sm_error *error);
void sm_trail_put(sm_session *session, int32_t id, double before, double after);
sm_status sm_trail_copy(sm_session *to, const sm_session *from, sm_error *error);
/* The tokens [begin, end) go, those behind stand earlier. */
void sm_trail_drop(sm_session *session, uint32_t begin, uint32_t end);
/* The breakers that taken options ask for by text; NULL: none. SM_ERR_MISSING, _NOMEM. */
sm_status sm_breaker_cache_take(sm_session *session, const sm_chain *chain,
                                const sm_breakers **breakers, sm_error *error);
void sm_breaker_cache_free(sm_breaker_cache *breakers, sm_mem *mem);
/* The next token by taken options, from the session's logits, of those that mask (NULL: all) and
 * the n_banned ids of `banned` allow. mu as in sm_draw. */
sm_status sm_session_choose(sm_session *session, const sm_chain *chain, const uint32_t *mask,
                            const int32_t *banned, uint64_t n_banned, double *mu, int32_t *id,
                            sm_error *error);

/* A session in a batch, whose reference it takes over, also on failure. n_ctx, kv_type and kv_keep
 * of the options count. */
sm_status sm_session_make(sm_session **out, sm_batch *batch, const sm_session_options *options,
                          sm_error *error);

#endif
