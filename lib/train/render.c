/* What training reads, as text: the layouts that instruction data is written out in. The text of
 * a prompt is what a program gives to sm_session_generate, character by character; tokens of the
 * layout (end of text, ChatML's marks) stand between texts, so that in the data their spelling
 * stays text. */
#include "documents.h"

#include <string.h>

/* ---- a rendering --------------------------------------------------------------------------- */

void sm_rendering_free(sm_rendering *r) {
    sm_free(r->mem, r->text);
    sm_free(r->mem, r->part);
    r->text = NULL;
    r->part = NULL;
    r->length = r->capacity = 0;
    r->n = r->part_capacity = 0;
}

static sm_status no_memory(sm_error *error) {
    return sm_fail(error, SM_ERR_NOMEM, "out of memory for the text of an entry");
}

static sm_status append(sm_rendering *r, const char *bytes, uint64_t n, sm_error *error) {
    if (n > r->capacity - r->length) {
        const uint64_t capacity = 2 * (r->length + n) + 256;
        char *text = sm_realloc(r->mem, r->text, capacity);
        if (!text)
            return no_memory(error);
        r->text = text;
        r->capacity = capacity;
    }
    if (n)
        memcpy(r->text + r->length, bytes, (size_t)n);
    r->length += n;
    r->part[r->n - 1].end = r->length;
    return SM_OK;
}

/* The part that text can be added to; after a token, and after an answer, a new one begins. */
static sm_status open_part(sm_rendering *r, sm_error *error) {
    sm_part *last = r->n ? &r->part[r->n - 1] : NULL;
    if (last && last->token < 0 && last->answer == UINT64_MAX)
        return SM_OK;
    if (r->n == r->part_capacity) {
        const uint64_t capacity = 2 * r->part_capacity + 8;
        sm_part *part = sm_realloc(r->mem, r->part, capacity * sizeof *part);
        if (!part)
            return no_memory(error);
        r->part = part;
        r->part_capacity = capacity;
        last = r->n ? &r->part[r->n - 1] : NULL;
    }
    r->part[r->n++] = (sm_part){.begin = r->length,
                                .end = r->length,
                                .answer = UINT64_MAX,
                                .token = -1,
                                .joined = last && last->token < 0};
    return SM_OK;
}

sm_status sm_render_text(sm_rendering *r, const char *bytes, uint64_t n, sm_error *error) {
    if (r->check)
        return SM_OK;
    const sm_status status = open_part(r, error);
    return status ? status : append(r, bytes, n, error);
}

sm_status sm_render_answer(sm_rendering *r, const char *bytes, uint64_t n, sm_portion portion,
                           sm_error *error) {
    if (r->check)
        return SM_OK;
    sm_status status = open_part(r, error);
    if (status)
        return status;
    r->part[r->n - 1].answer = r->length;
    r->part[r->n - 1].portion = portion;
    return append(r, bytes, n, error);
}

sm_status sm_render_token(sm_rendering *r, int32_t id, sm_portion portion, sm_error *error) {
    if (r->check || id < 0)
        return SM_OK;
    if (!r->n || r->part[r->n - 1].token >= 0) {
        const sm_status status = open_part(r, error);
        if (status)
            return status;
    }
    r->part[r->n - 1].token = id;
    r->part[r->n - 1].token_portion = portion;
    return SM_OK;
}

/* ---- layouts ------------------------------------------------------------------------------ */

static sm_status put(sm_writer *w, const char *text) {
    return sm_render_text(&w->out, text, strlen(text), w->error);
}

static sm_status put_str(sm_writer *w, sm_str text) {
    return sm_render_text(&w->out, text.data, text.length, w->error);
}

sm_status sm_write_answer(sm_writer *w, sm_str text, sm_portion portion) {
    w->answers += portion == SM_PORTION_ANSWER;
    return sm_render_answer(&w->out, text.data, text.length, portion, w->error);
}

sm_status sm_write_end(sm_writer *w, sm_portion portion) {
    return sm_render_token(&w->out, w->eos, portion, w->error);
}

/* input: of an instruction, maybe empty; before: what parts it from that. */
static sm_status put_user(sm_writer *w, sm_str text, const char *before, sm_str input) {
    sm_status status = put_str(w, text);
    if (!status && input.length)
        status = put(w, before);
    return !status && input.length ? put_str(w, input) : status;
}

static sm_status chatml(sm_writer *w, sm_speaker who, sm_str text, sm_str input,
                        sm_portion portion) {
    static const char *const heads[] = {"system\n", "user\n", "assistant\n"};
    sm_status status = sm_render_token(&w->out, w->im_start, SM_PORTION_PROMPT, w->error);
    if (!status)
        status = put(w, heads[who]);
    if (!status)
        status = who == SM_SPEAKER_ASSISTANT ? sm_write_answer(w, text, portion)
                                             : put_user(w, text, "\n\n", input);
    if (!status)
        status = sm_render_token(&w->out, w->im_end, portion, w->error);
    return status ? status : put(w, "\n");
}

sm_status sm_write_turn(sm_writer *w, sm_speaker who, sm_str text, sm_str input,
                        sm_portion portion) {
    const bool first = w->turns++ == 0;
    if (w->layout == SM_TEMPLATE_CHATML)
        return chatml(w, who, text, input, portion);
    if (who == SM_SPEAKER_SYSTEM)
        return put_str(w, text);
    if (who == SM_SPEAKER_USER) {
        const sm_status status = put(w, first ? "### Instruction:\n" : "\n\n### Instruction:\n");
        return status ? status : put_user(w, text, "\n\n### Input:\n", input);
    }
    sm_status status = put(w, "\n\n### Response:\n");
    if (!status)
        status = sm_write_answer(w, text, portion);
    return status ? status : sm_write_end(w, portion);
}

sm_status sm_write_preamble(sm_writer *w, bool with_input) {
    if (w->layout == SM_TEMPLATE_CHATML)
        return SM_OK;
    w->turns++;
    return put(w, with_input ? "Below is an instruction that describes a task, paired with an "
                               "input that provides further context. Write a response that "
                               "appropriately completes the request."
                             : "Below is an instruction that describes a task. Write a response "
                               "that appropriately completes the request.");
}
