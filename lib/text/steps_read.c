/* Reading tokenizer.json, and what files beside it say of special tokens. */
#include "steps_read.h"

/* ---- failing --------------------------------------------------------------------------------- */

static bool fail(sm_steps_reader *r, sm_status status, const char *place, const char *format,
                 const char *what) {
    if (!r->status)
        r->status = sm_fail(r->error, status, format, place, what);
    return false;
}

bool sm_steps_refuse(sm_steps_reader *r, const char *place, const char *what) {
    return fail(r, SM_ERR_UNSUPPORTED, place, "%s: %s is not supported", what);
}

bool sm_steps_broken(sm_steps_reader *r, const char *place, const char *what) {
    return fail(r, SM_ERR_FORMAT, place, "%s: %s", what);
}

bool sm_steps_no_memory(sm_steps_reader *r) {
    if (!r->status)
        r->status = sm_fail(r->error, SM_ERR_NOMEM, "out of memory");
    return false;
}

bool sm_steps_step(sm_steps_reader *r, uint64_t steps) {
    if (r->pace && !sm_pace_step(r->pace, steps) && !r->status)
        r->status = sm_fail(r->error, SM_ERR_CANCELLED, "loading was cancelled");
    return !r->status;
}

/* ---- fields ---------------------------------------------------------------------------------- */

static bool is_absent(const sm_steps_reader *r, sm_json_value value) {
    return sm_json_kind_of(r->json, value) <= SM_JSON_NULL;
}

static bool bad_field(sm_steps_reader *r, const char *place, const char *name, const char *wanted) {
    char what[120];
    (void)sm_format(what, sizeof what, "\"%s\" is not %s", name, wanted);
    return sm_steps_broken(r, place, what);
}

bool sm_steps_bool(sm_steps_reader *r, sm_json_value object, const char *place, const char *name,
                   bool otherwise, bool *out) {
    const sm_json_value value = sm_json_get(r->json, object, name);
    const sm_json_kind kind = sm_json_kind_of(r->json, value);
    *out = is_absent(r, value) ? otherwise : kind == SM_JSON_TRUE;
    return is_absent(r, value) || kind == SM_JSON_TRUE || kind == SM_JSON_FALSE ||
           bad_field(r, place, name, "true or false");
}

bool sm_steps_u32(sm_steps_reader *r, sm_json_value object, const char *place, const char *name,
                  uint32_t otherwise, uint32_t *out) {
    const sm_json_value value = sm_json_get(r->json, object, name);
    uint64_t number = otherwise;
    if (!is_absent(r, value) && (!sm_json_u64(r->json, value, &number) || number > UINT32_MAX))
        return bad_field(r, place, name, "a number of that size");
    *out = (uint32_t)number;
    return true;
}

bool sm_steps_text(sm_steps_reader *r, sm_json_value object, const char *place, const char *name,
                   const char *otherwise, sm_str *out) {
    const sm_json_value value = sm_json_get(r->json, object, name);
    if (is_absent(r, value) && otherwise) {
        *out = (sm_str){otherwise, strlen(otherwise)};
        return true;
    }
    out->data = sm_json_text(r->json, value, &out->length);
    return sm_json_kind_of(r->json, value) == SM_JSON_STRING ||
           bad_field(r, place, name, "a string");
}

bool sm_steps_keep(sm_steps_reader *r, sm_str text, sm_str *out) {
    char *copy = sm_alloc(r->mem, text.length + 1);
    if (!copy)
        return sm_steps_no_memory(r);
    if (text.length)
        memcpy(copy, text.data, (size_t)text.length);
    *out = (sm_str){copy, text.length};
    return true;
}

bool sm_steps_copy(sm_steps_reader *r, sm_json_value object, const char *place, const char *name,
                   const char *otherwise, sm_str *out) {
    sm_str text;
    return sm_steps_text(r, object, place, name, otherwise, &text) && sm_steps_keep(r, text, out);
}

/* ---- what tokens decode to ------------------------------------------------------------------- */

static sm_status undo_one(sm_steps_reader *r, uint32_t id, sm_undo_where where, sm_texts *texts,
                          sm_texts *other) {
    uint32_t length;
    const char *text = sm_steps_token_text(r->t, id, &length);
    texts->n = texts->count = 0;
    if (!sm_texts_add(texts, r->mem, text, length))
        return sm_fail(r->error, SM_ERR_NOMEM, "out of memory");
    return sm_steps_undo(r->t, texts, other, where, false, r->error);
}

static bool add_piece(sm_steps_reader *r, uint32_t id, sm_texts *pieces, sm_texts *texts,
                      sm_texts *other) {
    sm_tokenizer *t = r->t;
    sm_status status = SM_OK;
    uint64_t longest = 0;
    texts->n = 0;
    if (t->type[id] != SM_TOKEN_UNUSED)
        status = undo_one(r, id, UNDO_HEAD, texts, other);
    if (!status) {
        longest = texts->n;
        texts->n = 0;
        if (t->type[id] != SM_TOKEN_UNUSED)
            status = undo_one(r, id, UNDO_MIDDLE, texts, other);
    }
    longest = texts->n > longest ? texts->n : longest;
    if (!status && longest > (1U << 20))
        status = sm_fail(r->error, SM_ERR_UNSUPPORTED, "decoder: token %u becomes %llu bytes", id,
                         (unsigned long long)longest);
    if (!status && !sm_texts_add(pieces, r->mem, texts->data, texts->n))
        status = sm_fail(r->error, SM_ERR_NOMEM, "out of memory");
    t->max_piece = longest > t->max_piece ? (uint32_t)longest : t->max_piece;
    r->status = r->status ? r->status : status;
    return !status && sm_steps_step(r, 16 + longest);
}

/* The strings that texts are. */
static bool make_pieces(sm_steps_reader *r, sm_texts *pieces) {
    sm_strings *to = &r->t->piece;
    if (pieces->n > UINT32_MAX)
        return sm_steps_refuse(r, "decoder", "a text of that size");
    to->at = sm_alloc_array(r->mem, pieces->count + 1, sizeof *to->at);
    if (!to->at)
        return sm_steps_no_memory(r);
    to->data = pieces->data;
    to->n = (uint32_t)pieces->count;
    pieces->data = NULL;
    to->at[0] = 0;
    for (uint32_t i = 0; i < to->n; i++)
        to->at[i + 1] = (uint32_t)pieces->ends[i];
    return true;
}

static bool read_pieces(sm_steps_reader *r) {
    sm_texts pieces = {0}, texts = {0}, other = {0};
    bool ok = true;
    for (uint32_t id = 0; id < r->t->text.n && ok; id++)
        ok = add_piece(r, id, &pieces, &texts, &other);
    ok = ok && make_pieces(r, &pieces);
    sm_texts_free(&pieces, r->mem);
    sm_texts_free(&texts, r->mem);
    sm_texts_free(&other, r->mem);
    return ok;
}

sm_status sm_steps_make_pieces(sm_tokenizer *tokenizer, sm_pace *pace, sm_error *error) {
    sm_steps_reader r = {.mem = tokenizer->mem,
                         .t = tokenizer,
                         .steps = tokenizer->steps,
                         .pace = pace,
                         .error = error};
    return read_pieces(&r) ? SM_OK : r.status;
}

sm_status sm_steps_new(sm_tokenizer **out, sm_mem *mem, sm_error *error) {
    sm_tokenizer *t = *out = sm_alloc_zero(mem, sizeof *t);
    sm_steps *steps = t ? sm_alloc_zero(mem, sizeof *steps) : NULL;
    if (!steps) {
        sm_free(mem, t);
        *out = NULL;
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    }
    int32_t *const ids[] = {&t->bos, &t->eos,  &t->unk, &t->sep, &t->pad,
                            &t->cls, &t->mask, &t->eot, &t->eom};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        *ids[i] = -1;
    t->mem = mem;
    t->steps = steps;
    atomic_init(&t->references, 1);
    return SM_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Sections that change results and are not applied: cutting texts short is the caller's business,
 * as is filling them up; both are off until somebody asks in Hugging Face's transformers, too. */
static bool read_all(sm_steps_reader *r) {
    const sm_json *json = r->json;
    const sm_json_value version = sm_json_get(json, SM_JSON_ROOT, "version");
    const sm_json_value added = sm_json_get(json, SM_JSON_ROOT, "added_tokens");
    if (sm_json_kind_of(json, SM_JSON_ROOT) != SM_JSON_OBJECT)
        return sm_steps_broken(r, "tokenizer.json", "what is no object");
    if (!is_absent(r, version) && !sm_json_is(json, version, "1.0"))
        return sm_steps_refuse(r, "version", "another one than 1.0");
    if (!is_absent(r, added) && sm_json_kind_of(json, added) != SM_JSON_ARRAY)
        return sm_steps_broken(r, "added_tokens", "what is no list");
    return sm_steps_read_normalizer(r, sm_json_get(json, SM_JSON_ROOT, "normalizer")) &&
           sm_steps_read_pre_tokenizer(r, sm_json_get(json, SM_JSON_ROOT, "pre_tokenizer")) &&
           sm_steps_read_decoder(r, sm_json_get(json, SM_JSON_ROOT, "decoder")) &&
           sm_steps_read_model(r, sm_json_get(json, SM_JSON_ROOT, "model"), added) &&
           sm_steps_read_post_processor(r, sm_json_get(json, SM_JSON_ROOT, "post_processor")) &&
           read_pieces(r);
}

/* Whether a template puts something in front of the text, or behind it. */
static void look_at_template(sm_tokenizer *t) {
    const sm_steps_template *s = &t->steps->single;
    bool before = true;
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->parts[i].kind != HF_IDS)
            before = false;
        else if (s->parts[i].n && before)
            t->add_bos = true;
        else if (s->parts[i].n)
            t->add_eos = true;
    }
}

/* ---- special tokens by name ------------------------------------------------------------------ */

static int32_t token_named(const sm_tokenizer *t, const sm_json *json, sm_json_value value) {
    uint64_t length;
    if (sm_json_kind_of(json, value) == SM_JSON_OBJECT)
        value = sm_json_get(json, value, "content");
    const char *text = sm_json_text(json, value, &length);
    return sm_json_kind_of(json, value) == SM_JSON_STRING ? sm_tokenizer_find(t, text, length) : -1;
}

static void take_names(sm_tokenizer *t, const sm_json *json) {
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    int32_t *const ids[] = {&t->bos, &t->eos, &t->unk, &t->sep, &t->pad, &t->cls, &t->mask};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const int32_t id = token_named(t, json, sm_json_get(json, SM_JSON_ROOT, names[i]));
        if (id >= 0 && (*ids[i] < 0 || ids[i] != &t->unk))
            *ids[i] = id;
    }
}

/* What add_bos_token or add_eos_token says: 0, 1, or -1 if nothing. */
static int32_t said(const sm_json *json, const char *name) {
    const sm_json_kind kind = sm_json_kind_of(json, sm_json_get(json, SM_JSON_ROOT, name));
    return kind == SM_JSON_TRUE ? 1 : kind == SM_JSON_FALSE ? 0 : -1;
}

static sm_status new_template(sm_tokenizer *t, bool bos, bool eos, sm_error *error) {
    sm_steps *hf = t->steps;
    int32_t *ids = sm_alloc_array(t->mem, 2, sizeof *ids);
    if (!ids)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    sm_free(t->mem, hf->ids);
    hf->ids = ids;
    hf->n_ids = 2;
    ids[0] = t->bos;
    ids[1] = t->eos;
    hf->single.n = hf->pair.n = 0;
    for (uint32_t second = 0; second < 2; second++) {
        sm_steps_part parts[3];
        uint32_t n = 0;
        if (bos)
            parts[n++] = (sm_steps_part){HF_IDS, 0, 1, second};
        parts[n++] = (sm_steps_part){second ? HF_SECOND : HF_FIRST, 0, 0, second};
        if (eos)
            parts[n++] = (sm_steps_part){HF_IDS, 1, 1, second};
        for (uint32_t i = 0; i < n; i++) {
            hf->pair.parts[hf->pair.n++] = parts[i];
            if (!second)
                hf->single.parts[hf->single.n++] = parts[i];
        }
    }
    t->add_bos = bos;
    t->add_eos = eos;
    return SM_OK;
}

sm_status sm_tokenizer_name_specials(sm_tokenizer *t, sm_str config, sm_str map, sm_error *error) {
    int32_t bos = -1, eos = -1;
    const sm_str files[] = {map, config}; /* what the configuration says counts more */
    static const char *const names[] = {"special_tokens_map.json", "tokenizer_config.json"};
    for (uint32_t i = 0; i < 2; i++) {
        sm_json *json;
        const sm_json_source source = {.name = names[i], .line = 1};
        if (!files[i].length)
            continue;
        const sm_status status =
            sm_json_read(&json, t->mem, files[i].data, files[i].length, &source, NULL, error);
        if (status)
            return status;
        take_names(t, json);
        bos = said(json, "add_bos_token");
        eos = said(json, "add_eos_token");
        sm_json_free(json);
    }
    if (t->bos < 0 && t->kind == SM_TOKENIZER_WORDPIECE)
        t->bos = t->cls;
    sm_markers_detect(t);
    if (!t->steps)
        return SM_OK;
    const bool with_bos = bos < 0 ? t->add_bos : bos && t->bos >= 0,
               with_eos = eos < 0 ? t->add_eos : eos && t->eos >= 0;
    /* transformers makes a new template where the configuration says either; where that adds what
     * the file's does the file's stays, which may say more of pairs */
    if ((bos < 0 && eos < 0) || (with_bos == t->add_bos && with_eos == t->add_eos))
        return SM_OK;
    return new_template(t, with_bos && t->bos >= 0, with_eos && t->eos >= 0, error);
}

sm_status sm_tokenizer_from_json(sm_tokenizer **out, sm_mem *mem, sm_str text, sm_pace *pace,
                                 sm_error *error) {
    *out = NULL;
    sm_steps_reader r = {.mem = mem, .pace = pace, .error = error};
    const sm_json_source source = {.name = "tokenizer.json", .line = 1};
    sm_json *json = NULL;
    sm_status status = sm_json_read(&json, mem, text.data, text.length, &source, NULL, error);
    if (status)
        return status;
    r.json = json;
    status = sm_steps_new(&r.t, mem, error);
    if (status) {
        sm_json_free(json);
        return status;
    }
    r.steps = r.t->steps;
    status = read_all(&r) ? SM_OK : r.status;
    sm_json_free(json);
    if (status) {
        sm_tokenizer_free(r.t);
        return status;
    }
    look_at_template(r.t);
    *out = r.t;
    return SM_OK;
}
