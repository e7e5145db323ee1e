/* What a generation begins with: a text or ids, fed where the session does not hold them. */
#include "generation.h"

#include <string.h>

/* The prompt's ids, allocated here. */
static sm_status encode(sm_session *s, const char *prompt, uint64_t length,
                        const sm_generate_options *o, int32_t **ids, uint64_t *n, sm_error *error) {
    const sm_tokenizer *tokenizer = s->model->tokenizer;
    const sm_encode_options how = {.struct_size = sizeof how,
                                   .flags = (o->no_bos ? 0 : SM_ENCODE_MARKERS) |
                                            (o->parse_special ? SM_ENCODE_SPECIAL : 0),
                                   .cancel = s->cancel,
                                   .cancel_user = s->cancel_user};
    uint64_t capacity = length + 16;
    *ids = NULL;
    for (;;) { /* once more where a normalisation made the text longer */
        sm_free(s->mem, *ids);
        *ids = sm_alloc_array(s->mem, capacity, sizeof **ids);
        if (!*ids)
            return sm_fail(error, SM_ERR_NOMEM, "out of memory for a prompt of %llu bytes",
                           (unsigned long long)length);
        sm_status status =
            sm_tokenizer_encode(tokenizer, prompt, length, &how, *ids, capacity, n, error);
        if (status != SM_ERR_BUFFER || *n <= capacity)
            return status;
        capacity = *n;
    }
}

/* Markers mean BOS in front here; an EOS behind would end the text before it began. */
static void drop_eos(const sm_session *s, const int32_t *ids, uint64_t *n) {
    sm_tokenizer_info info = {.struct_size = sizeof info};
    if (!sm_tokenizer_get_info(s->model->tokenizer, &info, NULL) && info.add_eos == 1 && *n > 0 &&
        ids[*n - 1] == info.eos)
        --*n;
}

/* The ids that a caller has. */
static sm_status copy_ids(const sm_generation *g, const sm_prompt *prompt, int32_t **ids) {
    *ids = sm_alloc_array(g->s->mem, prompt->n, sizeof **ids);
    if (!*ids && prompt->n)
        return sm_fail(g->error, SM_ERR_NOMEM, "out of memory for a prompt of %llu tokens",
                       (unsigned long long)prompt->n);
    memcpy(*ids, prompt->ids, (size_t)prompt->n * sizeof **ids);
    return SM_OK;
}

/* ---- the prompt's tokens, told of (prompt.c) ------------------------------------------------- */

typedef struct echo {
    sm_generation *g;
    sm_detokenizer *text;
} echo;

/* Hands out a token of the prompt, or what is left of its text (NULL). */
static sm_status hand_out(echo *e, const sm_thought *t, const char *text, uint64_t length,
                          sm_error *error) {
    const sm_token token = {.struct_size = sizeof token,
                            .id = t ? t->id : -1,
                            .logprob = t ? t->logprob : 0,
                            .text = text,
                            .length = length,
                            .top = t && t->n_top ? t->top : NULL,
                            .n_top = t ? t->n_top : 0,
                            .in_prompt = 1};
    if (!e->g->on_token || !e->g->on_token(e->g->user, &token))
        return SM_OK;
    return sm_fail(error, SM_ERR_CANCELLED, "cancelled by the token callback");
}

static sm_status echo_token(void *user, const sm_thought *t, sm_error *error) {
    echo *e = user;
    const char *piece = "";
    uint64_t length = 0;
    sm_status status = SM_OK;
    if (t->id < sm_tokenizer_n_vocab(e->g->s->model->tokenizer))
        status = sm_detokenizer_feed(e->text, t->id, &piece, &length, error);
    return status ? status : hand_out(e, t, piece, length, error);
}

/* Computes the prompt from its beginning, telling of its tokens. */
static sm_status echo_prompt(sm_generation *g, const int32_t *ids, uint64_t n) {
    sm_session *s = g->s;
    echo e = {.g = g};
    const sm_thoughts to = {echo_token, &e, g->o->n_logprobs};
    const char *piece;
    uint64_t length;
    sm_status status = sm_batch_check(s, ids, n, 0, g->error);
    if (!status)
        status = sm_detokenizer_new(&e.text, s->model->tokenizer, 0, g->error);
    if (!status)
        status = sm_session_rewind_marked(s, 0, g->error);
    s->dropped = status ? s->dropped : 0;
    if (!status)
        status = sm_session_feed_thoughts(s, ids, n, &to, g->error);
    if (!status)
        status = sm_detokenizer_flush(e.text, &piece, &length, g->error);
    if (!status && length)
        status = hand_out(&e, NULL, piece, length, g->error);
    sm_detokenizer_free(e.text);
    return status;
}

sm_status sm_generation_feed_prompt(sm_generation *g, const sm_prompt *prompt) {
    sm_session *s = g->s;
    int32_t *ids = NULL;
    uint64_t n = prompt->n, reused = 0;
    sm_status status = prompt->text ? encode(s, prompt->text, prompt->n, g->o, &ids, &n, g->error)
                                    : copy_ids(g, prompt, &ids);
    if (!status && !g->o->no_bos && prompt->text)
        drop_eos(s, ids, &n);
    if (!status && n == 0)
        status = sm_fail(g->error, SM_ERR_ARGUMENT,
                         "the prompt is empty and the vocabulary puts no BOS token in front");
    if (!status && g->o->heal)
        status = sm_heal_begin(s, &g->heal, ids, &n, g->error);
    if (!status && g->n_before)
        status = sm_generation_share(g, ids, n);
    if (!status) {
        s->stats.prompt_tokens = (uint32_t)n;
        status = g->o->echo ? echo_prompt(g, ids, n)
                            : sm_policy_sync(s, &g->policy, ids, n, &reused, g->error);
        s->stats.reused_tokens = (uint32_t)reused;
    }
    sm_free(s->mem, ids);
    return status;
}
