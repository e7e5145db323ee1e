/* smallmind/batch.h - decoding several sequences together.
 *
 * Reading the weights is most of the work of decoding one token; a step that feeds one
 * token each to several sequences reads them once for all. A batch owns what computing
 * needs (a team of threads, buffers); its sessions own their tokens and caches. A step
 * takes any of them, each with any number of tokens: chunks of prompts and single tokens
 * may be mixed.
 *
 *     sm_batch_new(&batch, model, NULL, &err);
 *     for (i = 0; i < n; i++) {
 *         sm_batch_new_session(&s[i], batch, NULL, &err);
 *         sm_session_feed(s[i], prompt[i], n_prompt[i], &err);    (or in steps, as chunks)
 *     }
 *     while (...) {
 *         for (i = 0; i < n; i++) {
 *             sm_session_sample(s[i], &sampling[i], &choice[i], &err);
 *             items[i] = (sm_batch_item){.struct_size = sizeof *items, .session = s[i],
 *                                        .ids = &choice[i].id, .n_ids = 1};
 *         }
 *         sm_batch_step(batch, items, n, &err);
 *     }
 *
 * Every function of generate.h works on these sessions too. A batch with its sessions is
 * used by one thread at a time: while a call on any of them has not returned, its callbacks
 * and other threads get SM_ERR_STATE from all functions but sm_batch_free, sm_session_free
 * (both take effect on what is in use when the call ends) and those that generate.h names.
 * Of fork() see types.h. Logits are bit-identical to those of the sequence computed
 * alone (in a session of the same n_ctx, if the model has longrope), whatever is in the batch
 * beside it. Handles may be freed in any order.
 */
#ifndef SMALLMIND_BATCH_H
#define SMALLMIND_BATCH_H

#include "generate.h"
#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_batch sm_batch;

typedef struct sm_batch_options {
    uint32_t struct_size;
    uint32_t n_threads;     /* of the team; 0: all CPUs of the process, 8 at most */
    uint32_t n_sequences;   /* that one step feeds at most; 0: 32. There may be more sessions */
    uint32_t n_batch;       /* tokens of a step at most; 0: 512; n_sequences if that is more.
                             Buffers grow with it */
    uint32_t n_ctx;         /* tokens that a session can hold at most, and by default; 0:
                             min(n_ctx_train, 4096) */
    uint32_t pin;           /* 1: each thread but the caller's stays on one CPU, see generate.h */
    sm_cancel *cancel_flag; /* NULL, or what ends steps while it is set (types.h) */
} sm_batch_options;

/* SM_ERR_ARGUMENT, _NOMEM, _SYSTEM (threads), _UNSUPPORTED (pin, where the system cannot). */
SM_API sm_status SM_CALL sm_batch_new(sm_batch **out, const sm_model *model,
                                      const sm_batch_options *options, sm_error *error);
SM_API void SM_CALL sm_batch_free(sm_batch *batch); /* NULL is fine; its sessions stay usable */

/* A session that computes with the batch's team and buffers: n_threads, n_batch
 * and pin of the options must be 0, n_ctx at most the batch's. sm_session_fork of it gives another
 * session of the batch. SM_ERR_ARGUMENT, _NOMEM. */
SM_API sm_status SM_CALL sm_batch_new_session(sm_session **out, sm_batch *batch,
                                              const sm_session_options *options, sm_error *error);

/* As sm_session_set_cancel, for steps. A step asks this hook and those of the sessions that it
 * feeds; one that says yes cancels the step for all. SM_ERR_STATE inside a call of the batch. */
SM_API sm_status SM_CALL sm_batch_set_cancel(sm_batch *batch, sm_cancel_fn cancel, void *user,
                                             sm_error *error);

typedef struct sm_batch_item {
    uint32_t struct_size; /* the same in all items of a step: their stride */
    uint32_t reserved;
    sm_session *session; /* of this batch; once in a step */
    const int32_t *ids;  /* [n_ids] appended to it */
    float *logits;       /* NULL, or [n_ids][n_vocab] that get the logits of every token */
    uint64_t n_ids;      /* 0: nothing happens to it */
    uint64_t n_logits;   /* floats that `logits` has room for; SM_ERR_BUFFER if that is too few */
} sm_batch_item;

/* Feeds all items in one pass. Each session then has the logits after its last token
 * (sm_session_sample, sm_session_logits), as after sm_session_feed. On any failure every
 * session is as it was: SM_ERR_ARGUMENT (a session of another batch or twice, more than
 * n_sequences items or n_batch tokens), _TOKEN, _CONTEXT_FULL, _CANCELLED, _STATE (adapters
 * that are not those of the first item; the batch or one of its sessions is in use); _NOMEM only
 * where weights are used for the first time (by any session) and repacked; _FORMAT if an item wants
 * logits and one is not finite. The message names the item, or the tensor that was being repacked.
 * n_items may be 0. */
SM_API sm_status SM_CALL sm_batch_step(sm_batch *batch, const sm_batch_item *items,
                                       uint64_t n_items, sm_error *error);

typedef struct sm_batch_text {
    uint32_t struct_size; /* the same in all items of a call: their stride */
    uint32_t reserved;
    sm_session *session;                /* of this batch; once in a call */
    const char *prompt;                 /* [length] as sm_session_generate has it */
    const sm_generate_options *options; /* likewise; NULL: the defaults. Without speculate, draft */
    sm_token_fn on_token;               /* NULL, or told of its tokens; non-zero ends this text */
    void *user;
    uint64_t length; /* of the prompt, or SM_ZT */
} sm_batch_text;

/* sm_session_generate for several sessions at once: prompts are fed one after the other, then each
 * step computes a token of every text that goes on. What comes is for each what would have come for
 * it alone. A prompt takes over what sessions of earlier items hold of it: n samples of one prompt
 * are n sessions with this prompt and options whose sampling differs in `sequence`; it is computed
 * once.
 *
 * A text that fails or is cancelled by its callback ends alone; a cancel hook ends all that are
 * left. statuses (NULL, or [n_items]) gets what sm_session_generate would have returned of each,
 * and sm_session_get_stats tells more. Returns the first of them that is not SM_OK, with its
 * message; before anything begins SM_ERR_ARGUMENT (as sm_batch_step; a prompt that is NULL),
 * _NOMEM, _STATE, which all statuses are then. */
SM_API sm_status SM_CALL sm_batch_generate(sm_batch *batch, const sm_batch_text *items,
                                           uint64_t n_items, sm_status *statuses, sm_error *error);

#ifdef __cplusplus
}
#endif
#endif
