/* smallmind/generate.h - sessions: feed tokens, read logits, sample, stream text.
 *
 * Two depths. sm_session_generate turns a prompt into streamed text. Beneath
 * it, sm_session_feed / _logits / _sample / _rewind / _fork drive the model
 * token by token. Both work on the same session.
 *
 *     sm_choice choice = {.struct_size = sizeof choice};
 *     sm_session_new(&s, model, NULL, &err);
 *     sm_session_feed(s, ids, n, &err);
 *     while (...) {
 *         sm_session_sample(s, &sampling, &choice, &err);
 *         sm_session_feed(s, &choice.id, 1, &err);
 *     }
 *
 * A session is used by one thread at a time (it runs its own team of threads
 * inside); several sessions of one model may run at the same time. While a call has not
 * returned, callbacks and other threads get SM_ERR_STATE ("the session is in use by a call
 * that has not returned") from all functions but these: sm_session_length,
 * _get_info, _read_bytes and _tokens at any time; sm_session_logits and _get_stats
 * inside the call's own callbacks, where they tell of the last token that is whole;
 * sm_session_free, which then takes effect when the call ends. Of fork() see types.h.
 *
 * On one backend and instruction-set level logits are bit-identical for every thread count, every
 * way of cutting the tokens into feeds, and after rewind, fork or prefix reuse.
 */
#ifndef SMALLMIND_GENERATE_H
#define SMALLMIND_GENERATE_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_session sm_session;
struct sm_constraint; /* constrain.h */

enum {
    SM_KV_TYPE_F16 = 0, /* default */
    SM_KV_TYPE_F32 = 1,
    SM_KV_TYPE_BF16 = 2,
    SM_KV_TYPE_Q8_0 = 3, /* 8 bits and a scale per 32: half of f16 */
    SM_KV_TYPE_Q4_0 = 4, /* 4 bits and a scale per 32: a quarter of f16, and far less exact */
    SM_KV_TYPE_Q5_0 = 5,
    SM_KV_TYPE_IQ4_NL = 6, /* as large as Q4_0; what it loses is in docs/measurements */
};

enum {
    SM_KV_KEEP_WINDOW = 0, /* default */
    SM_KV_KEEP_ALL = 1,
};

typedef struct sm_session_options {
    uint32_t struct_size;
    uint32_t n_ctx;     /* tokens the session can hold; 0: min(n_ctx_train, 4096). Models with two
                           sets of rotation factors (longrope) compute with the long ones where
                           it is more than the context that the model was first trained for */
    uint32_t n_threads; /* threads of its team; 0: all CPUs of the process, 8 at most: here and
                           elsewhere those of its affinity mask, but no more than the quotas of its
                           control groups (Linux, v1 and v2) pay for, rounded up. Steps too small to
                           share out are computed by fewer */
    uint32_t n_batch;   /* tokens computed together at most; 0: 512. Scratch grows with it */
    uint32_t kv_type;   /* SM_KV_TYPE_… of the key/value cache */
    uint32_t pin;       /* 1: each thread of the team but the caller's stays on one CPU of those the
                           process may use (a fork's likewise). For one session that has these CPUs
                           to itself: several would meet on the same ones */
    uint32_t kv_keep; /* SM_KV_KEEP_…: layers whose attention has a window keep keys and values of
                         the window and one batch (n_batch, of the session or of its batch), or like
                         the others those of all tokens. It changes no logits, but what
                         sm_session_rewind costs */
    uint32_t reserved;
    sm_cancel *cancel_flag; /* NULL, or what ends calls of the session while it is set (types.h) */
} sm_session_options;

/* SM_ERR_ARGUMENT, _NOMEM, _SYSTEM (threads), _UNSUPPORTED (pin, where the system cannot). */
SM_API sm_status SM_CALL sm_session_new(sm_session **out, const sm_model *model,
                                        const sm_session_options *options, sm_error *error);
SM_API void SM_CALL sm_session_free(sm_session *session); /* NULL is fine */

typedef struct sm_fork_options {
    uint32_t struct_size;
    uint32_t n_threads; /* of its team; 0: as many as the session that is copied has. A session of a
                           batch computes with the batch's (SM_ERR_ARGUMENT) */
    sm_cancel *cancel_flag; /* of the new session; the copying asks that of the old one */
} sm_fork_options;

/* A second session with the same tokens, cache and logits, and a team of its own (or in the same
 * batch, see batch.h). options may be NULL. Asks the cancel hook of the session that is copied; the
 * copy has none. SM_ERR_CANCELLED, and as sm_session_new. */
SM_API sm_status SM_CALL sm_session_fork(sm_session **out, const sm_session *session,
                                         const sm_fork_options *options, sm_error *error);

/* ---- kept in files, or in memory ------------------------------------------------
 *
 * A saved session is all that continuing it takes: its tokens, keys and values, the logits after
 * the last token, what mirostat carries. What goes on from a loaded one is what would have gone on,
 * to the bit. It belongs to a model (its keys and the names, shapes and first bytes of its tensors
 * are compared; a packed copy is another model), to the adapters attached and their scales, to the
 * level that computed it, and to a kind of cache (kv_type; with windows kv_keep and, where they are
 * kept alone, n_batch). Threads and, if the tokens fit, n_ctx may be others (but in models with two
 * sets of rotation factors on the same side of their limit).
 *
 * The file is a GGUF file that ends with a checksum over every byte of it: a damaged or cut one is
 * refused. Nothing of what it says is allocated for.
 */

/* Writes the session to a file; of how see types.h. Asks the session's cancel hook.
 * SM_ERR_ARGUMENT, _IO, _NOMEM, _CANCELLED, _STATE inside a call of the session. */
SM_API sm_status SM_CALL sm_session_save(const sm_session *session, const char *path,
                                         sm_error *error);
/* Makes the session hold what was saved, in place of all that it holds. Asks the cancel hook.
 * SM_ERR_IO, _FORMAT (damaged, or no saved session), _UNSUPPORTED (a later version), _ARGUMENT (of
 * another model, adapter, level or cache; the message says which), _CONTEXT_FULL, _NOMEM,
 * _CANCELLED, _STATE as above. On failure the session is as it was, but after _CANCELLED it may
 * hold no tokens; the message then says so. The file is mapped and must not be cut short
 * meanwhile. */
SM_API sm_status SM_CALL sm_session_restore(sm_session *session, const char *path, sm_error *error);
/* The same bytes in memory. *size gets how many there are, SM_ERR_BUFFER if that is more than
 * capacity, what fits having been written; buffer may be NULL where capacity is 0. */
SM_API sm_status SM_CALL sm_session_save_bytes(const sm_session *session, void *buffer,
                                               uint64_t capacity, uint64_t *size, sm_error *error);
SM_API sm_status SM_CALL sm_session_restore_bytes(sm_session *session, const void *data,
                                                  uint64_t size, sm_error *error);

/* ---- token by token ------------------------------------------------------------ */

SM_API uint32_t SM_CALL sm_session_length(const sm_session *session); /* tokens held; 0 for NULL */

/* How many bytes of its key/value cache computing the token at that position reads; 0 where there
 * can be none. */
SM_API uint64_t SM_CALL sm_session_read_bytes(const sm_session *session, uint32_t position);

typedef struct sm_session_info {
    uint32_t struct_size; /* set by the caller */
    uint32_t length;      /* tokens held */
    uint32_t n_ctx;       /* that it can hold */
    uint32_t n_threads;   /* of its team */
    uint32_t n_batch;     /* tokens computed together at most */
    uint32_t kv_type;     /* SM_KV_TYPE_… */
    uint32_t kv_keep;     /* SM_KV_KEEP_… */
    int32_t n_vocab;      /* logits of a token */
    uint64_t cache_bytes; /* of keys and values */
} sm_session_info;
/* At any time, by any thread. SM_ERR_ARGUMENT. */
SM_API sm_status SM_CALL sm_session_get_info(const sm_session *session, sm_session_info *info,
                                             sm_error *error);
/* Copies the tokens from `begin` on into ids, capacity at most; *n (may be NULL) gets how many, 0
 * if `begin` is not less than the length. Places that hold no token (what later versions may feed
 * beside tokens) are -1. At any time, by any thread. SM_ERR_ARGUMENT. */
SM_API sm_status SM_CALL sm_session_tokens(const sm_session *session, uint32_t begin, int32_t *ids,
                                           uint64_t capacity, uint64_t *n, sm_error *error);

/* Cancelling long computation: asked every fraction of a millisecond while feeding
 * (while weights are repacked, before every tensor and every 16 MiB of one) and every few
 * milliseconds while a prompt is encoded; non-zero makes the running feed or generate return
 * SM_ERR_CANCELLED with the session as it was before the unfinished batch. Called on the caller's
 * thread, also by sm_batch_step while it feeds the session. NULL: never. SM_ERR_STATE inside a call
 * of the session. */
SM_API sm_status SM_CALL sm_session_set_cancel(sm_session *session, sm_cancel_fn cancel, void *user,
                                               sm_error *error);

/* Appends n tokens and computes them. n may be 0. SM_ERR_TOKEN and SM_ERR_CONTEXT_FULL
 * leave the session unchanged; so does SM_ERR_NOMEM, possible where weights are used for the
 * first time (by any session) and repacked; what was repacked stays for the next feed. (Tokens that
 * windows have lost meanwhile are computed again; if that fails as well, the message says how many
 * the session holds.)
 * SM_ERR_CANCELLED: see above. */
SM_API sm_status SM_CALL sm_session_feed(sm_session *session, const int32_t *ids, uint64_t n,
                                         sm_error *error);
/* The same, and writes the logits of every fed token: logits[n][n_vocab], for which there is room
 * for `capacity` floats (SM_ERR_BUFFER if that is too few: nothing is fed). SM_ERR_FORMAT if one is
 * infinite or NaN (damaged weights: names the token, and the row of the output matrix if it is at
 * fault): the session is as it was, the logits are for looking at. */
SM_API sm_status SM_CALL sm_session_feed_logits(sm_session *session, const int32_t *ids, uint64_t n,
                                                float *logits, uint64_t capacity, sm_error *error);
/* A token and its natural log-probability under the model's own distribution. It never grows. */
typedef struct sm_token_logprob {
    int32_t id;
    int32_t reserved;
    double logprob;
} sm_token_logprob;

enum {
    SM_MAX_LOGPROBS = 20,
};

/* Appends n tokens as sm_session_feed does and writes what the model thought of each before it
 * came: logprobs[n], NAN for the first token of an empty session, which follows nothing; and
 * top[n][n_top], the likeliest tokens there, best first (id -1 where there are fewer), n_top being
 * SM_MAX_LOGPROBS at most, and top NULL where it is 0. The same numbers, to the bit, however tokens
 * are cut into calls. Takes memory for the logits of some tokens (64 MiB) meanwhile. SM_ERR_STATE
 * if the session holds tokens but no logits (it was rewound), _FORMAT if logits are not finite; as
 * sm_session_feed. On failure the session is as it was (its logits may be gone), but after
 * _CANCELLED it holds what had been fed. */
SM_API sm_status SM_CALL sm_session_feed_logprobs(sm_session *session, const int32_t *ids,
                                                  uint64_t n, uint32_t n_top, double *logprobs,
                                                  sm_token_logprob *top, sm_error *error);
/* Makes the session hold exactly ids[0..n): keeps the common prefix, drops the
 * rest, feeds what is new. *reused (may be NULL) gets the tokens kept: as much of the common prefix
 * as the session's state allows, which is what sm_session_rewind goes back to at no cost. */
SM_API sm_status SM_CALL sm_session_sync(sm_session *session, const int32_t *ids, uint64_t n,
                                         uint64_t *reused, sm_error *error);
/* Forgets all tokens from position length on, as far as the model's state can go back; 0 always
 * works. What a session carries of its tokens tells how far back it can go at no cost: to any
 * length where keys and values of all tokens are kept, which is so in models without windows and
 * with SM_KV_KEEP_ALL; with SM_KV_KEEP_WINDOW by n_batch tokens at least. Otherwise the tokens from
 * the last place that can be reached (the beginning, once windows have passed it) are computed
 * again, which can be cancelled (SM_ERR_CANCELLED, the session then holds fewer tokens).
 * SM_ERR_ARGUMENT if length is beyond the session's, _UNSUPPORTED where a state can neither go back
 * so far nor be computed again (no model of this version). Logits are gone unless length is the
 * present one. */
SM_API sm_status SM_CALL sm_session_rewind(sm_session *session, uint32_t length, sm_error *error);
/* Drops the tokens [begin, end) and computes those behind them again: the session then is what it
 * would be without them. SM_ERR_ARGUMENT; SM_ERR_CANCELLED, _NOMEM: it may hold fewer tokens. */
SM_API sm_status SM_CALL sm_session_drop(sm_session *session, uint32_t begin, uint32_t end,
                                         sm_error *error);
/* The same with the oldest whole turns of a chat, as many as it takes to have room for `room` more
 * tokens: turn i begins at token turns[i] (ascending) and ends where the next one begins. The first
 * `keep` turns stay (a system message), and so does the last one. *n_dropped gets how many went:
 * turns[keep .. keep + *n_dropped); those behind then begin earlier by turns[keep + *n_dropped] -
 * turns[keep]. SM_ERR_CONTEXT_FULL if that is not enough, and nothing was dropped; else as
 * sm_session_drop. */
SM_API sm_status SM_CALL sm_session_drop_turns(sm_session *session, const uint32_t *turns,
                                               uint64_t n_turns, uint64_t keep, uint32_t room,
                                               uint64_t *n_dropped, sm_error *error);
/* The logits after the last token: *n floats (may be NULL), as many as the vocabulary has tokens,
 * valid until the session is next fed, rewound or freed; they may be elsewhere then. SM_ERR_STATE
 * if there are none, _FORMAT if they are not all finite (damaged weights). */
SM_API sm_status SM_CALL sm_session_logits(const sm_session *session, const float **logits,
                                           uint64_t *n, sm_error *error);

/* ---- sampling -------------------------------------------------------------------- */

/* It never grows. */
typedef struct sm_logit_bias {
    int32_t token;
    int32_t reserved;
    double bias; /* added to the logit; -INFINITY bans the token */
} sm_logit_bias;

/* Samplers by number, in the order in which they are applied if nothing else is asked for. */
enum {
    SM_SAMPLER_PENALTIES = 1,   /* of tokens that occurred */
    SM_SAMPLER_DRY = 2,         /* of tokens that would go on with a repetition */
    SM_SAMPLER_TOP_N_SIGMA = 3, /* keep logits within n standard deviations of the largest */
    SM_SAMPLER_TOP_K = 4,       /* keep the k likeliest */
    SM_SAMPLER_TYPICAL = 5,     /* keep those whose information is nearest to the entropy */
    SM_SAMPLER_TOP_P = 6,       /* keep the smallest set with this probability */
    SM_SAMPLER_MIN_P = 7,       /* keep at least this share of the likeliest one's probability */
    SM_SAMPLER_TOP_A = 8,       /* keep at least a times the square of that probability */
    SM_SAMPLER_XTC = 9,         /* now and then drop the likeliest but the last of them */
    SM_SAMPLER_TEMPERATURE = 10,
    SM_SAMPLER_MIROSTAT = 11, /* keep what leads to a surprise of tau bits a token */
};

/* What is known of a sampler. The texts are the library's. */
typedef struct sm_sampler_info {
    uint32_t struct_size;  /* set by the caller */
    uint32_t sampler;      /* SM_SAMPLER_… */
    uint32_t n_parameters; /* 4 at most */
    uint32_t reserved;
    const char *name;        /* in an order */
    const char *other_names; /* that are understood there, too, separated by '|' */
    const char *parameters;  /* what value[] of a step holds, separated by '|' */
    const char *fields;      /* of sm_sampling, that give these in a chain made from an order */
    const char *doc;
} sm_sampler_info;

/* How many samplers there are, and the i-th in the default order. SM_ERR_ARGUMENT. */
SM_API uint32_t SM_CALL sm_sampler_count(void);
SM_API sm_status SM_CALL sm_sampler_get_info(uint32_t i, sm_sampler_info *info, sm_error *error);

/* One sampler of a chain. Values mean what they say (a top_p of 0 is 0): see sm_sampling and
 * sm_sampler_get_info; a last_n below 0 is the whole history, 0 is none. It never grows. */
typedef struct sm_sampling_step {
    uint32_t sampler;  /* SM_SAMPLER_… */
    uint32_t min_keep; /* typical, top_p, min_p, xtc: tokens that stay at least; 0: 1 */
    double value[4];
} sm_sampling_step;

/* A watermark in generated text (Kirchenbauer et al., arXiv:2301.10226): a function of the tokens
 * before and of a key makes some tokens of the vocabulary green, whose logits get delta before
 * anything else happens to them; who knows the key counts them. All zero takes the defaults. */
enum {
    SM_WATERMARK_LEFT = 0, /* by the `width` tokens before (algorithm 2) */
    SM_WATERMARK_SELF = 1, /* by the token itself and one of those before (algorithm 3) */
};

typedef struct sm_watermark {
    uint32_t struct_size;
    uint32_t seeding; /* SM_WATERMARK_… */
    uint32_t width;   /* tokens before that count; 0: 1, 4 of SM_WATERMARK_SELF; 16 at most */
    uint32_t reserved;
    double gamma; /* the part of green tokens, under 1; 0: 0.25 */
    double delta; /* added to their logits; 0: 2; SM_ZERO: nothing */
    uint64_t key;
} sm_watermark;

typedef struct sm_watermark_score {
    uint32_t struct_size; /* set by the caller */
    uint32_t reserved;
    uint64_t n_scored;   /* tokens that have `width` others before them, each once with those */
    uint64_t n_green;    /* of them */
    uint64_t n_repeated; /* others: seen before after the same tokens, which shows nothing new */
    double z;            /* standard deviations by which green ones are more than gamma of them */
    double p;            /* chance of that, or more, in a text without the watermark */
} sm_watermark_score;

/* Looks for a watermark (its delta does not matter) in the tokens of a text. With z = 4 one text in
 * 30,000 without a watermark would be taken for one. SM_ERR_ARGUMENT, _NOMEM. */
SM_API sm_status SM_CALL sm_watermark_detect(const sm_watermark *watermark, const int32_t *ids,
                                             uint64_t n, sm_watermark_score *score,
                                             sm_error *error);

/* All zero: greedy. First come the biases, then a chain of samplers, each of which sees what the
 * one before left, then a draw. The default order is that of the numbers above:
 *
 *     penalties, dry, top_n_sigma, top_k, typical, top_p, min_p, top_a, xtc, temperature, mirostat
 *
 * Samplers whose values are neutral do nothing. `order` names others, or these in another order;
 * what it leaves out is not applied (without temperature: 1), and asking for it all the same is
 * refused by name. With `steps` the chain is written out, value by value. */
typedef struct sm_sampling {
    uint32_t struct_size;
    uint32_t top_k;            /* keep the k likeliest; 0: all */
    double temperature;        /* 0: greedy (the likeliest token) */
    double top_p;              /* keep the smallest set with this probability; 0 means 1: all;
                                 SM_ZERO: the likeliest token alone */
    double min_p;              /* drop tokens below min_p times the likeliest one's probability */
    double repeat_penalty;     /* divides positive, multiplies negative logits; 0 means 1: none */
    double presence_penalty;   /* subtracted once from tokens that occurred */
    double frequency_penalty;  /* subtracted for each time a token occurred */
    uint32_t penalty_last_n;   /* tokens looked back at, of all where there are fewer; 0 means 64,
                                 SM_ZERO_U32 none */
    uint32_t min_keep;         /* typical, top_p, min_p, xtc: tokens that stay at least; 0: 1 */
    uint64_t seed;             /* draws depend on (seed, sequence, position) only; the position
                                  counts tokens that a session dropped (and has not been rewound
                                  to before), so that no draw comes twice */
    uint64_t sequence;         /* distinguishes sequences drawn with one seed */
    const sm_logit_bias *bias; /* [n_bias] or NULL */
    uint64_t n_bias;
    double typical_p;       /* locally typical sampling (arXiv:2202.00666): keep the tokens whose
                               -log p is nearest to the entropy, with this probability; 0 means 1,
                               SM_ZERO 0 */
    double top_a;           /* drop tokens below top_a times the square of the largest p */
    double top_n_sigma;     /* arXiv:2411.07641: drop logits that are more than so many standard
                               deviations (of all logits) below the largest; 0: none */
    double xtc_probability; /* of the tokens with p >= xtc_threshold, if there are two, drop all but
                               the least likely, with this probability; 0: never */
    double xtc_threshold;   /* 0 means 0.1, SM_ZERO 0; above 0.5 nothing happens */
    double dry_multiplier;  /* a token that would go on with what stood before it earlier, for
                               m >= dry_allowed_length tokens, loses dry_multiplier *
                               dry_base^(m - dry_allowed_length) of its logit; 0: none */
    double dry_base;        /* 0 means 1.75 */
    uint32_t dry_allowed_length; /* 0 means 2, SM_ZERO_U32 0 */
    uint32_t dry_last_n;         /* tokens looked back at; 0: all */
    const int32_t *dry_breakers; /* [n_dry_breakers] tokens that repetitions do not reach over */
    uint64_t n_dry_breakers;
    double dynatemp_range;    /* dynamic temperature: within this of `temperature`, low where the
                                 distribution is sure, high where it is flat; 0: none */
    double dynatemp_exponent; /* of the entropy's share of the largest; 0 means 1, SM_ZERO 0 */
    uint32_t mirostat;        /* 1, 2: arXiv:2007.14966, or its second version; 0: none */
    uint32_t mirostat_m;      /* version 1: likeliest tokens that it estimates from; 0 means 100 */
    double mirostat_tau;      /* surprise that it aims at, in bits; 0 means 5, SM_ZERO 0 */
    double mirostat_eta;      /* how fast; 0 means 0.1, SM_ZERO 0 */
    uint64_t n_steps;
    const sm_sampling_step *steps; /* [n_steps], 32 at most: the chain, instead of the fields from
                                      top_k to mirostat_eta but seed, sequence, biases and breakers;
                                      NULL: by order */
    const char *order;             /* names of samplers between commas, semicolons or spaces, as
                                      sm_sampler_get_info has them, or a word of llama.cpp's letters
                                      for them, "edskypmxt"; NULL: the default order */
    const uint32_t
        *mask; /* NULL, or the tokens that may be chosen: bit id % 32 of mask[id / 32], of
                             all n_vocab (sm_constraint_mask) */
    const sm_watermark *watermark; /* NULL: none */
    const float *logits; /* NULL, or [n_vocab] finite logits to choose by in place of the session's:
                            what the program has made of them, or of several models'. The
                            log-probabilities that sm_session_sample gives stay those of the
                            session. Not for whole texts */
    /* NULL, or [n_dry_breaker_texts] texts that repetitions do not reach over, 64 at
     * most of 1..40 bytes: tokens that hold one, and tokens that end with the beginning of one
     * where those of its rest follow, as in llama.cpp. A session looks for them among its
     * vocabulary at first, and when they are others than before */
    const sm_text *dry_breaker_texts;
    uint64_t n_dry_breaker_texts;
} sm_sampling;

/* A token that was chosen, and what the model thought of it: under its own distribution, before
 * bias, penalties and temperature. */
typedef struct sm_choice {
    uint32_t struct_size;  /* set by the caller */
    int32_t id;            /* -1 after a failure */
    double logprob;        /* natural */
    uint64_t rank;         /* tokens that were likelier, of equal ones those of a lower id */
    sm_token_logprob *top; /* set by the caller: NULL, or room for the likeliest tokens */
    uint64_t n_top;        /* room for so many, SM_MAX_LOGPROBS at most; gets how many there are */
} sm_choice;

/* Chooses the next token from the session's logits; changes nothing. sampling NULL: greedy.
 * Mirostat goes on from the tokens of this session that were chosen by it, whichever of them were
 * rewound or forked, and begins anew where there are none.
 * SM_ERR_STATE if there are no logits; SM_ERR_ARGUMENT, also if biases ban every token;
 * SM_ERR_TOKEN for a bias of a token outside the vocabulary; SM_ERR_FORMAT if one of the
 * logits is not finite (damaged weights: names file, token and, if it is the output matrix, tensor
 * and row). */
SM_API sm_status SM_CALL sm_session_sample(sm_session *session, const sm_sampling *sampling,
                                           sm_choice *choice, sm_error *error);

/* ---- text ---------------------------------------------------------------------- */

/* When the context is full, of the prompt or while text is generated:
 *
 * SM_CONTEXT_STOP   generating ends (SM_FINISH_CONTEXT); a prompt that does not fit is refused.
 * SM_CONTEXT_SLIDE  n_drop tokens behind the first n_keep are dropped, and those after them
 *                   computed again: the session then is what it would be had it been fed only what
 *                   it holds.
 * SM_CONTEXT_SINKS  the same tokens are dropped, and those after them keep their keys and values
 *                   (StreamingLLM, arXiv:2309.17453): the first n_keep tokens are the sinks, and
 *                   positions are those within the cache. Nothing is computed again, but keys are
 *                   rotated by the difference of their positions, from what the cache has of them,
 *                   and rounded to its type once more; so that this happens to each only once,
 *                   n_drop is half of what is not kept where the paper drops one token at a time.
 *                   n_keep (0: 4) and n_drop are rounded up to multiples of 16. Where the session
 *                   later computes anything of this again (sm_session_rewind with windows, another
 *                   prompt), it does so from the tokens it holds. SM_ERR_UNSUPPORTED where
 *                   positions are learned (gpt2) or keys are normed after their rotation (hunyuan),
 *                   and where windows kept alone do not fit beside n_keep.
 * SM_CONTEXT_ASK    on_context_full gives the tokens to go on with: of a summary, for instance.
 *
 * A prompt longer than the context is treated likewise, its first n_keep tokens being kept, so that
 * a chat can go on by handing over the whole text each time: what the session holds of it is found.
 */
enum {
    SM_CONTEXT_STOP = 0,
    SM_CONTEXT_SLIDE = 1,
    SM_CONTEXT_SINKS = 2,
    SM_CONTEXT_ASK = 3,
};

typedef struct sm_context_full {
    uint32_t struct_size;
    uint32_t policy; /* SM_CONTEXT_… */
    uint32_t n_ctx;
    uint32_t n_keep;
    const int32_t *ids; /* [n_ids] that the session holds, or those of a prompt that is too long */
    int32_t *replacement;   /* SM_CONTEXT_ASK: room for n_ctx ids that are to be held instead */
    uint64_t n_replacement; /* ... set by the callback: at least one less than n_ctx */
    uint64_t n_ids;
    uint64_t n_dropped; /* of these, behind the first n_keep; 0 with SM_CONTEXT_ASK */
} sm_context_full;

/* Called before anything is dropped, on the calling thread; non-zero cancels. Other sessions may be
 * used (a fork made before, which writes the summary). full is valid during the call. */
typedef int32_t(SM_CALL *sm_context_fn)(void *user, sm_context_full *full);

/* Speculation: tokens are guessed and computed together with the one that was chosen, which reads
 * the weights once for all; each is then chosen as it would have been, and where it is the guessed
 * one its step has been done. Text, logits and log-probabilities are the same bits as without it,
 * greedy or drawn. SM_SPECULATE_NGRAM guesses that the text goes on as it did where it went like
 * this before, in the prompt or in what was generated. A `draft` session, of a smaller model with
 * the same vocabulary, guesses what its model would choose (where the look-up finds nothing, if
 * both are asked for); it holds other tokens afterwards, and is in use until the call returns. How
 * much is guessed depends on how much came true (counts that the session keeps, no clocks): where
 * nothing does, next to nothing is tried. Other threads that look at the session's tokens may for a
 * moment see guessed ones. A session that keeps windows alone can afterwards go back
 * at no cost by as many tokens less as were computed ahead. */
enum {
    SM_SPECULATE_NO = 0,
    SM_SPECULATE_NGRAM = 1,
};

typedef struct sm_generate_options {
    uint32_t struct_size;
    uint32_t max_tokens;         /* generated at most; 0: until the context is full */
    const sm_sampling *sampling; /* NULL: greedy */
    const sm_text *stop;         /* [n_stop] texts that end generation; the
                                    text handed out ends before the match. The text of a control
                                    token counts where the token is chosen, though it is never
                                    handed out: "<|im_start|>", and "\n<|im_start|>user" with
                                    what stands around it, too */
    uint32_t parse_special;      /* 1: special tokens written in the prompt are parsed */
    uint32_t no_bos;             /* 1: no BOS in front even where the vocabulary asks for it */
    uint32_t ignore_end;         /* 1: go on after end-of-text tokens */
    uint32_t speculate;          /* SM_SPECULATE_…: see above */
    uint32_t draft_tokens;       /* computed ahead at most; 0: 16; less than n_batch */
    sm_session *draft;           /* NULL, or a session whose model guesses tokens */
    uint32_t context_full;       /* SM_CONTEXT_…: see above */
    uint32_t n_keep;             /* first tokens that stay */
    uint32_t n_drop;             /* dropped behind them at a time; 0: half of the others */
    uint32_t heal;               /* 1: token healing: where the prompt's last tokens (4 at most) are
                                    the beginning of a longer one, they are chosen anew, with their
                                    text before anything else; text handed out begins behind it */
    sm_context_fn on_context_full; /* NULL, or told of it, or asked */
    void *context_full_user;
    /* NULL, or what the text must match (constrain.h), made with the model's tokenizer: it holds
     * for what is generated. Text without an alternative is fed together, its tokens' logprob is 0.
     * The end comes (SM_FINISH_END) where nothing can follow, or by an end token where the text
     * matches; SM_FINISH_LENGTH, _CONTEXT and _STOP may leave it unfinished. ignore_end says
     * nothing then */
    struct sm_constraint *constraint;
    sm_cancel *cancel_flag; /* NULL, or what ends this call, beside the session's */
    const sm_text *ban;     /* [n_ban] UTF-8 texts that the text must not hold: where
                               one is complete, generation goes back to the token that it began in
                               and takes another one there. Tokens are handed out when nothing
                               banned can begin in them. Where a full context has dropped
                               that token meanwhile, the first one behind it that is still there
                               takes its place. Without heal and constraint. SM_ERR_ARGUMENT where
                               no token is left */
    uint32_t min_tokens;    /* tokens that end the text are not chosen before so many;
                               UINT32_MAX: never */
    uint32_t n_logprobs;    /* likeliest tokens told of with each token, SM_MAX_LOGPROBS at most */
    uint32_t echo;   /* 1: on_token first gets the prompt's tokens, with what the model thought
                            of each (in_prompt). The prompt is then computed from its beginning, as
                            logits of what the session holds are gone. Without heal; a prompt that
                            does not fit is refused whatever the policy */
    uint64_t n_stop; /* at most 64, each 1..1024 bytes */
    uint64_t n_ban;  /* at most 64, each 1..1024 bytes */
} sm_generate_options;

/* One generated piece. text may be empty (bytes of an unfinished character or of
 * a possible stop string wait) and is zero-terminated; valid during the call. */
typedef struct sm_token {
    uint32_t struct_size;
    int32_t id; /* -1: no token, only text that had been waiting */
    double logprob;
    const char *text;
    uint64_t length;
    const sm_token_logprob *top; /* [n_top] the likeliest, best first; option n_logprobs */
    uint64_t n_top;
    uint32_t in_prompt; /* 1: a token of the prompt (option echo), of which the first has a logprob
                           of NAN: it follows nothing. Their texts together are the prompt as
                           sm_tokenizer_decode gives it; half a character at its end comes with
                           id -1 */
    uint32_t reserved;
} sm_token;

/* Called on the calling thread for each token; non-zero cancels. */
typedef int32_t(SM_CALL *sm_token_fn)(void *user, const sm_token *token);

enum {
    SM_FINISH_NONE = 0,
    SM_FINISH_END = 1,       /* the model ended its text */
    SM_FINISH_STOP = 2,      /* a stop string */
    SM_FINISH_LENGTH = 3,    /* max_tokens */
    SM_FINISH_CANCELLED = 4, /* a callback said so */
    SM_FINISH_CONTEXT = 5,   /* the context is full */
    SM_FINISH_ERROR = 6,
};

typedef struct sm_generate_stats {
    uint32_t struct_size; /* set by the caller */
    uint32_t finish;      /* SM_FINISH_… */
    uint32_t prompt_tokens;
    uint32_t reused_tokens;    /* of those, found in the cache */
    uint32_t generated_tokens; /* the end-of-text token not counted */
    uint32_t reserved;
    double prepare_seconds;     /* repacking weights, each tensor at its first use by any session,
                                   and waiting for sessions that do so */
    double prompt_seconds;      /* encoding the prompt and feeding what was not reused; with echo
                                   callbacks for its tokens are included */
    double first_token_seconds; /* from the call to the first token chosen: all of the above */
    double generate_seconds;    /* from the first token to the end, callbacks included: the
                                   time of generated_tokens - 1 steps */
    uint64_t drafted_tokens;    /* guessed and computed (speculation) */
    uint64_t accepted_tokens;   /* of them, those that were chosen */
    uint64_t dropped_tokens;    /* by the policy for full contexts, of prompt and text */
    uint64_t context_fulls;     /* how often it had to */
    uint64_t healed_tokens;     /* of the prompt, given up and chosen anew: generated_tokens counts
                                   those that took their place */
} sm_generate_stats;

/* Continues prompt[0..length) (SM_ZT: up to a zero), which is the whole text so far:
 * what the session already holds of it is reused, the rest of the session is
 * dropped. Afterwards the session holds the prompt and the continuation but for its
 * last token, which nothing needed computed yet. on_token may be NULL. SM_OK for
 * every finish but SM_FINISH_CANCELLED (SM_ERR_CANCELLED) and failures:
 * SM_ERR_STATE if the draft session is in use; SM_ERR_ARGUMENT if it is the session itself or of
 * another vocabulary; SM_ERR_CONTEXT_FULL if the prompt alone does not fit (policy stop), _MISSING
 * if the model has no vocabulary, _ARGUMENT, _TOKEN and _FORMAT as with sm_session_sample, _NOMEM.
 * An empty prompt needs a BOS token, else SM_ERR_ARGUMENT. */
SM_API sm_status SM_CALL sm_session_generate(sm_session *session, const char *prompt,
                                             uint64_t length, const sm_generate_options *options,
                                             sm_token_fn on_token, void *user, sm_error *error);
/* About the last generate of this session. */
SM_API sm_status SM_CALL sm_session_get_stats(const sm_session *session, sm_generate_stats *stats,
                                              sm_error *error);

#ifdef __cplusplus
}
#endif
#endif
