/* Tensors of a directory: their names become ours, experts that are tensors of their own stacks. */
#include "format/hf.h"

#include <inttypes.h>
#include <string.h>

#define NAME 160 /* bytes of a name of ours */
#define INDEX_MAX (1u << 20)

/* What becomes of a tensor, or of a part of it. */
typedef struct piece {
    const char *to;
    uint32_t index; /* in a stack; UINT32_MAX: it is no stack */
    hf_order order;
    const sm_st_tensor *from;
    uint32_t file;
} piece;

typedef struct pieces {
    hf_reader *r;
    piece *list;
    uint64_t n, capacity;
    char *text; /* room for names */
    uint64_t left;
    uint32_t file; /* at hand */
} pieces;

static void out_of_memory(hf_reader *r) {
    if (!r->status)
        r->status = sm_fail(r->error, SM_ERR_NOMEM, "%s: out of memory", r->shown);
}

static void fail_tensor(hf_reader *r, sm_status status, const char *name, const char *what) {
    if (!r->status)
        r->status = sm_fail(r->error, status, "%s: tensor '%s' %s", r->shown, name, what);
}

void *hf_keep(hf_reader *r, uint64_t size) {
    sm_source *s = r->source;
    if (r->status)
        return NULL;
    if (s->n_owned == s->owned_capacity) {
        const uint64_t capacity = 2 * s->owned_capacity + 16;
        void **owned = sm_realloc(r->mem, s->owned, capacity * sizeof *owned);
        if (!owned) {
            out_of_memory(r);
            return NULL;
        }
        s->owned = owned;
        s->owned_capacity = capacity;
    }
    void *memory = sm_alloc(r->mem, size);
    if (memory)
        s->owned[s->n_owned++] = memory;
    else
        out_of_memory(r);
    return memory;
}

/* ---- names ------------------------------------------------------------------------------- */

/* What the numbers of a pattern stand for. */
typedef struct numbers {
    uint32_t layer, index; /* UINT32_MAX: there is none */
} numbers;

static bool read_number(const char **text, uint32_t *out) {
    const char *at = *text;
    uint32_t value = 0;
    if (at[0] == '0' && at[1] >= '0' && at[1] <= '9')
        return false;
    for (; *at >= '0' && *at <= '9' && value < INDEX_MAX; at++)
        value = value * 10 + (uint32_t)(*at - '0');
    const bool good = at > *text && value < INDEX_MAX;
    *text = at;
    *out = value;
    return good;
}

/* What may stand behind a name; *rest gets what ours have there: nothing, ".weight" or ".bias",
 * or of an adapter's halves ".weight.lora_a" and ".weight.lora_b". */
static bool is_rest(const hf_reader *r, const char *name, const char **rest) {
    if (r->model) {
        *rest = !strcmp(name, SM_PEFT_A) ? ".weight.lora_a" : ".weight.lora_b";
        return !strcmp(name, SM_PEFT_A) || !strcmp(name, SM_PEFT_B);
    }
    const bool packed = !strcmp(name, ".qweight") || !strcmp(name, ".weight_packed");
    *rest = packed ? ".weight" : name; /* whether it is one is looked at before */
    return packed || !*name || !strcmp(name, ".weight") || !strcmp(name, ".bias");
}

/* Whether a name fits; *rest: see there. */
static bool fits(const hf_reader *r, const char *pattern, const char *name, numbers *n,
                 const char **rest) {
    *n = (numbers){UINT32_MAX, UINT32_MAX};
    for (; *pattern; pattern++) {
        if (*pattern == '#' || *pattern == '&') {
            if (!read_number(&name, *pattern == '#' ? &n->layer : &n->index))
                return false;
        } else if (*name++ != *pattern) {
            return false;
        }
    }
    return is_rest(r, name, rest);
}

static void fill_in(const char *pattern, numbers n, const char *rest, char *out) {
    const char *hash = strchr(pattern, '#');
    if (hash)
        sm_format(out, NAME, "%.*s%u%s%s", (int)(hash - pattern), pattern, n.layer, hash + 1, rest);
    else
        sm_format(out, NAME, "%s%s", pattern, rest);
}

static const char *without(const char *name, const char *prefix) {
    return starts_with(name, prefix) ? name + strlen(prefix) : name;
}

/* A name without what stands before the text model's. */
static const char *bare_name(const hf_reader *r, const char *name) {
    if (r->model)
        name = without(name, SM_PEFT_BEFORE);
    if (r->pictures) {
        name = without(name, "model.language_model.");
        name = without(name, "language_model.model.");
        name = without(name, "language_model.");
    }
    return without(name, r->family->prefix ? r->family->prefix : "model.");
}

/* Parts of a model that read pictures or sound. */
static bool is_picture(const hf_reader *r, const char *name) {
    static const char *const parts[] = {"vision_tower.", "visual.",      "multi_modal_projector.",
                                        "vision_model.", "audio_tower.", "embed_vision.",
                                        "embed_audio.",  "mm_projector."};
    name = without(name, "model.");
    for (size_t i = 0; r->pictures && i < sizeof parts / sizeof *parts; i++)
        if (starts_with(name, parts[i]))
            return true;
    return false;
}

/* What belongs to another tensor (a scale), which asks for it by name: one of 8 bits, or it would
 * be passed over. */
static bool is_companion(const hf_reader *r, const char *name) {
    static const char *const ends[] = {".weight_scale_inv", ".weight_scale", ".input_scale",
                                       ".activation_scale", "_proj_scale_inv"};
    char owner[512];
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (!ends_with(name, ends[i]))
            continue;
        const char *kept = i == 4 ? "_proj" : ".weight";
        sm_format(owner, sizeof owner, "%.*s%s", (int)(strlen(name) - strlen(ends[i])), name, kept);
        const sm_st_tensor *t = hf_find_tensor(r, owner);
        if (t && sm_st_type_size(t->type) == 1)
            return true;
    }
    return false;
}

/* ---- the list ---------------------------------------------------------------------------- */

static const char *keep_name(pieces *p, const char *name) {
    const uint64_t size = strlen(name) + 1;
    if (size > p->left) {
        p->left = 65536;
        p->text = hf_keep(p->r, p->left);
        if (!p->text) {
            p->left = 0;
            return NULL;
        }
    }
    char *kept = p->text;
    memcpy(kept, name, (size_t)size);
    p->text += size;
    p->left -= size;
    return kept;
}

static void add(pieces *p, const sm_st_tensor *t, const char *to, uint32_t index, hf_order order) {
    if (p->n == p->capacity) {
        const uint64_t capacity = 2 * p->capacity + 256;
        piece *list = sm_realloc(p->r->mem, p->list, capacity * sizeof *list);
        if (!list) {
            out_of_memory(p->r);
            return;
        }
        p->list = list;
        p->capacity = capacity;
    }
    p->list[p->n++] = (piece){keep_name(p, to), index, order, t, p->file};
}

/* Heads of q and k that are rotated in halves, where ours are in pairs; gains that lack 1, not
 * biases. */
static hf_order plain_order(const hf_reader *r, const hf_name *row, const char *rest) {
    if (row->order == HF_PLUS_ONE && !strcmp(rest, ".bias"))
        return HF_SAME;
    if (!r->family->qk_in_pairs || row->order != HF_SAME || !row->to)
        return row->order;
    return !strcmp(row->to, "blk.#.attn_q")   ? HF_Q
           : !strcmp(row->to, "blk.#.attn_k") ? HF_K
                                              : HF_SAME;
}

/* Of an adapter's halves: A lies as ours does, and the rows of B as those of what it adapts, whose
 * columns and rows PEFT never has the other way round. */
hf_order hf_adapter_order(const hf_reader *r, const hf_name *row) {
    const hf_order order = plain_order(r, row, ".weight");
    return order == HF_TURNED ? HF_SAME : order;
}

static hf_order order_of(const hf_reader *r, const hf_name *row, const char *rest) {
    if (!r->model)
        return plain_order(r, row, rest);
    return ends_with(rest, ".lora_a") ? HF_SAME : hf_adapter_order(r, row);
}

/* Whether an adapter of it can be taken apart as its rows are. */
static bool can_adapt(const hf_name *row) {
    const bool stack = row->to && (ends_with(row->to, ".weight") || ends_with(row->to, ".bias"));
    return row->to && !stack && row->order != HF_LATENT_K && row->order != HF_LATENT_V;
}

static void add_row(pieces *p, const sm_st_tensor *t, const hf_name *row, numbers n,
                    const char *rest) {
    hf_reader *r = p->r;
    char to[NAME];
    const bool beyond = n.layer != UINT32_MAX && n.layer >= r->n_layer;
    if (!row->to || (beyond && n.layer < r->n_layer + r->n_drafts))
        return;
    if (beyond) {
        fail_tensor(r, SM_ERR_FORMAT, t->name,
                    r->model ? "is of a layer that the model does not have"
                             : "is of a layer that config.json does not have");
        return;
    }
    if (r->model && !can_adapt(row)) {
        fail_tensor(r, SM_ERR_UNSUPPORTED, t->name, "adapts what this version cannot have adapted");
        return;
    }
    fill_in(row->to, n, rest, to);
    add(p, t, to, n.index, order_of(r, row, rest));
}

/* All rows of a table that begin with the first that fits; false if none does. */
static bool add_rows(pieces *p, const sm_st_tensor *t, const hf_name *table) {
    const char *name = bare_name(p->r, t->name), *rest;
    const char *from = NULL;
    numbers n;
    for (const hf_name *row = table; row && row->from; row++) {
        if (from ? strcmp(from, row->from) != 0 : !fits(p->r, row->from, name, &n, &rest))
            continue;
        from = row->from;
        add_row(p, t, row, n, rest);
    }
    return from != NULL;
}

static bool has_row(const hf_reader *r, const sm_st_tensor *t, const hf_name *table) {
    const char *rest;
    numbers n;
    for (const hf_name *row = table; row && row->from; row++)
        if (fits(r, row->from, bare_name(r, t->name), &n, &rest))
            return true;
    return false;
}

bool hf_places_all(const hf_reader *r) {
    for (uint32_t k = 0; k < r->n_files; k++)
        for (uint64_t i = 0; i < r->files[k].n; i++)
            if (!ends_with(r->files[k].tensors[i].name, HF_LORA_COPY) &&
                !has_row(r, &r->files[k].tensors[i], r->family->names) &&
                !has_row(r, &r->files[k].tensors[i], hf_common_names))
                return false;
    return true;
}

/* Of a file of its own: a matrix behind pooling. */
static void add_dense(pieces *p, const sm_st_tensor *t, uint32_t i) {
    if (!strcmp(t->name, "linear.weight"))
        add(p, t, i ? SM_DENSE_2 : SM_DENSE_1, UINT32_MAX, HF_SAME);
    else
        fail_tensor(p->r, SM_ERR_UNSUPPORTED, t->name,
                    "is of a module behind pooling and no 'linear.weight'");
}

static void add_tensor(pieces *p, const sm_st_tensor *t) {
    hf_reader *r = p->r;
    if (p->file + r->n_dense >= r->n_files) {
        add_dense(p, t, p->file + r->n_dense - r->n_files);
        return;
    }
    const bool packed = ends_with(t->name, ".qweight") || ends_with(t->name, ".weight_packed");
    if (packed && !hf_is_packed(r, t)) {
        fail_tensor(r, SM_ERR_UNSUPPORTED, t->name,
                    "is packed, and 'quantization_config' does not say how");
        return;
    }
    if (r->model && hf_is_copied(r, t))
        return;
    if (r->model && is_picture(r, without(t->name, SM_PEFT_BEFORE))) {
        fail_tensor(r, SM_ERR_UNSUPPORTED, t->name,
                    "adapts a part of the model that reads no text");
        return;
    }
    if (is_picture(r, t->name) || is_companion(r, t->name) || hf_beside_packed(r, t) ||
        add_rows(p, t, r->family->names) || add_rows(p, t, hf_common_names))
        return;
    numbers n = {UINT32_MAX, UINT32_MAX};
    const char *at = strstr(t->name, "layers.");
    at = at ? at + strlen("layers.") : NULL;
    if (at && r->n_drafts && read_number(&at, &n.layer) && n.layer >= r->n_layer &&
        n.layer < r->n_layer + r->n_drafts)
        return; /* of a layer for drafts */
    if (!r->status)
        r->status =
            sm_fail(r->error, SM_ERR_UNSUPPORTED,
                    "%s: tensor '%s' has no place in %s of model_type '%.*s' as this version "
                    "computes it",
                    r->shown, t->name, r->model ? "an adapter of a model" : "a model",
                    (int)strcspn(r->family->types, "|"), r->family->types);
}

/* ---- from pieces to tensors -------------------------------------------------------------- */

static int by_target(const void *context, uint32_t a, uint32_t b) {
    const piece *list = context;
    const int order = strcmp(list[a].to, list[b].to);
    return order ? order : (list[a].index > list[b].index) - (list[a].index < list[b].index);
}

/* Vectors and what else llama.cpp's converter writes as f32: small tensors, of which rounding what
 * they are multiplied by would cost most. */
static hf_form form_of(const piece *p) {
    static const char *const f32[] = {"_norm.weight", ".ffn_gate_inp.weight",
                                      ".ffn_gate_inp_shexp.weight", "position_embd.weight"};
    hf_form form = {.order = p->order, .vector = p->from->n_dims < 2 || ends_with(p->to, ".bias")};
    form.f32 = form.vector;
    for (size_t i = 0; i < sizeof f32 / sizeof *f32; i++)
        form.f32 = form.f32 || ends_with(p->to, f32[i]);
    return form;
}

static void set_dims(sm_tensor *t, const hf_tensor *one, uint64_t depth) {
    const uint64_t inner[2] = {one->vector ? one->rows : one->cols,
                               one->vector ? depth : one->rows};
    t->dims[0] = inner[0];
    t->dims[1] = inner[1];
    t->dims[2] = one->vector ? 1 : depth;
    t->dims[3] = 1;
    t->n_dims = t->dims[2] > 1 ? 3 : t->dims[1] > 1 || !one->vector ? 2 : 1;
}

/* One behind the other in memory of their own. */
static void copy_together(hf_reader *r, sm_tensor *t, const hf_tensor *parts, uint64_t n) {
    uint8_t *to = hf_keep(r, t->size);
    t->data = to;
    for (uint64_t i = 0; to && i < n; i++)
        for (uint64_t d = 0; d < parts[i].depth; d++, to += parts[i].rows * parts[i].row_bytes)
            memcpy(to, parts[i].data + d * parts[i].distance,
                   (size_t)(parts[i].rows * parts[i].row_bytes));
}

/* Where each matrix lies. */
static void point_at(hf_reader *r, sm_tensor *t, const hf_tensor *parts, uint64_t n,
                     uint64_t depth) {
    const uint8_t **list = hf_keep(r, depth * sizeof *list);
    uint64_t k = 0;
    for (uint64_t i = 0; list && i < n; i++)
        for (uint64_t d = 0; d < parts[i].depth; d++)
            list[k++] = parts[i].data + d * parts[i].distance;
    if (!list)
        return;
    t->data = list[0];
    t->pieces = list;
    t->n_piece_rows = parts[0].rows;
}

static bool all_alike(hf_reader *r, const char *name, const hf_tensor *parts, uint64_t n) {
    for (uint64_t i = 1; i < n; i++)
        if (parts[i].type != parts[0].type || parts[i].rows != parts[0].rows ||
            parts[i].cols != parts[0].cols || parts[i].depth != parts[0].depth)
            fail_tensor(r, SM_ERR_SHAPE, name, "is made of tensors that differ in shape or type");
    return !r->status;
}

static void put_together(hf_reader *r, sm_tensor *t, const hf_tensor *parts, uint64_t n) {
    char subject[300];
    const uint64_t depth = n * parts[0].depth;
    if (!all_alike(r, t->name, parts, n))
        return;
    t->type = parts[0].type;
    set_dims(t, &parts[0], depth);
    sm_format(subject, sizeof subject, "%s: tensor '%s'", r->shown, t->name);
    r->status = sm_tensor_bytes(t->type, t->n_dims, t->dims, &t->size, subject, r->error);
    if (r->status)
        return;
    const bool whole =
        n == 1 && (parts[0].depth == 1 || parts[0].distance == parts[0].rows * parts[0].row_bytes);
    if (whole)
        t->data = parts[0].data;
    else if (parts[0].vector)
        copy_together(r, t, parts, n);
    else
        point_at(r, t, parts, n, depth);
    const sm_file *file = &r->source->files[t->shard];
    const uintptr_t begin = (uintptr_t)file->data, at = (uintptr_t)t->data;
    if (at >= begin && at - begin < file->size)
        t->offset = at - begin;
}

/* Gemma 3n's table of inputs may have fewer rows than there are tokens: those beyond have the first
 * one's. */
static void fill_up(hf_reader *r, sm_tensor *t) {
    const uint64_t rows = t->dims[1], row_bytes = t->size / rows;
    if (strcmp(t->name, "per_layer_token_embd.weight") != 0 || t->pieces || rows >= r->n_vocab ||
        r->n_vocab > 1u << 24)
        return;
    uint8_t *to = hf_keep(r, r->n_vocab * row_bytes);
    if (!to)
        return;
    memcpy(to, t->data, (size_t)t->size);
    for (uint64_t i = rows; i < r->n_vocab; i++)
        memcpy(to + i * row_bytes, t->data, (size_t)row_bytes);
    t->data = to;
    t->offset = 0;
    t->dims[1] = r->n_vocab;
    t->size = r->n_vocab * row_bytes;
}

/* Pieces order[0..n) are all of one tensor. */
static void make_tensor(pieces *p, const uint32_t *order, uint64_t n, sm_tensor *out) {
    hf_reader *r = p->r;
    const piece *first = &p->list[order[0]];
    const bool stack = first->index != UINT32_MAX;
    *out = (sm_tensor){.name = first->to, .shard = first->file};
    for (uint64_t i = 0; i < n; i++)
        if (p->list[order[i]].index != (stack ? i : UINT32_MAX))
            fail_tensor(r, SM_ERR_FORMAT, p->list[order[i]].from->name,
                        "is there twice, or one before it is missing");
    hf_tensor *parts = sm_alloc_array(r->mem, n, sizeof *parts);
    if (!parts)
        out_of_memory(r);
    for (uint64_t i = 0; i < n && !r->status; i++) {
        const piece *one = &p->list[order[i]];
        hf_convert(r, one->from, form_of(one), &parts[i]);
        if (r->model)
            hf_scale(r, &parts[i], hf_lora_factor(r, one->from));
        if (sm_hook_ends(r->hook, 0, 1) && !r->status)
            r->status = sm_fail(r->error, SM_ERR_CANCELLED, "%s: reading was cancelled", r->shown);
    }
    if (!r->status)
        put_together(r, out, parts, n);
    if (!r->status)
        fill_up(r, out);
    sm_free(r->mem, parts);
}

/* A head of the file's own beside a shared embedding is not computed with. */
static bool is_left_out(const hf_reader *r, const char *name) {
    return r->tied && !strcmp(name, "output.weight");
}

static void make_all(pieces *p) {
    hf_reader *r = p->r;
    sm_source *s = r->source;
    uint32_t *order = p->n ? sm_sort_indices(r->mem, p->n, by_target, p->list) : NULL;
    s->tensors = sm_alloc_array(r->mem, p->n + r->n_made + 1, sizeof *s->tensors);
    if ((p->n && !order) || !s->tensors)
        out_of_memory(r);
    for (uint64_t i = 0, n; i < p->n && !r->status; i += n) {
        const char *name = p->list[order[i]].to;
        for (n = 1; i + n < p->n && !strcmp(p->list[order[i + n]].to, name);)
            n++;
        if (s->n_tensors >= SM_SOURCE_MAX_TENSORS)
            r->status = sm_fail(r->error, SM_ERR_UNSUPPORTED, "%s: more than %u tensors", r->shown,
                                SM_SOURCE_MAX_TENSORS);
        else if (!is_left_out(r, name))
            make_tensor(p, order + i, n, &s->tensors[s->n_tensors++]);
    }
    sm_free(r->mem, order);
}

/* Those that no file has. */
static void add_made(pieces *p) {
    hf_reader *r = p->r;
    for (uint32_t i = 0; i < r->n_made && !r->status; i++) {
        const hf_made *m = &r->made[i];
        float *value = hf_keep(r, m->n * sizeof *value);
        if (!value)
            return;
        memcpy(value, m->value, (size_t)m->n * sizeof *value);
        r->source->tensors[r->source->n_tensors++] = (sm_tensor){.name = keep_name(p, m->name),
                                                                 .type = SM_DTYPE_F32,
                                                                 .n_dims = 1,
                                                                 .dims = {m->n, 1, 1, 1},
                                                                 .data = (const uint8_t *)value,
                                                                 .size = m->n * sizeof *value};
    }
}

static int by_name(const void *context, uint32_t a, uint32_t b) {
    const sm_source *s = context;
    return strcmp(s->tensors[a].name, s->tensors[b].name);
}

/* Whether there are biases where config.json says so; where it says nothing the tensors decide. */
static void check_biases(hf_reader *r) {
    const sm_source *s = r->source;
    if (r->status) /* tensors may have no order yet */
        return;
    const bool plain = sm_source_find_tensor(s, "blk.0.attn_q.weight");
    const bool joined = sm_source_find_tensor(s, "blk.0.attn_qkv.weight");
    if (r->biased && ((plain && !sm_source_find_tensor(s, "blk.0.attn_q.bias")) ||
                      (joined && !sm_source_find_tensor(s, "blk.0.attn_qkv.bias"))))
        r->status = sm_fail(r->error, SM_ERR_MISSING,
                            "%s: key 'attention_bias' (or 'qkv_bias') is true, but the queries of "
                            "layer 0 have no bias",
                            r->config_shown);
}

/* What config.json and the tensors must agree about. */
static void check_whole(hf_reader *r) {
    const sm_tensor *embd = sm_source_find_tensor(r->source, "token_embd.weight");
    if (!r->tied && r->tied_said && !sm_source_find_tensor(r->source, "output.weight"))
        r->status = sm_fail(r->error, SM_ERR_MISSING,
                            "%s: tensor 'lm_head.weight' is missing, and 'tie_word_embeddings' of "
                            "config.json is false",
                            r->shown);
    else if (embd && r->n_vocab && embd->dims[1] != r->n_vocab)
        r->status =
            sm_fail(r->error, SM_ERR_SHAPE,
                    "%s: key 'vocab_size' is %" PRIu64 ", but the embedding has %" PRIu64 " rows",
                    r->config_shown, r->n_vocab, embd->dims[1]);
}

void hf_read_tensors(hf_reader *r) {
    pieces p = {.r = r};
    for (p.file = 0; p.file < r->n_files && !r->status; p.file++)
        for (uint64_t i = 0; i < r->files[p.file].n && !r->status; i++)
            add_tensor(&p, &r->files[p.file].tensors[i]);
    if (!r->status)
        make_all(&p);
    if (!r->status)
        add_made(&p);
    sm_free(r->mem, p.list);
    if (r->status || !r->source->n_tensors)
        return;
    r->source->tensor_order = sm_sort_indices(r->mem, r->source->n_tensors, by_name, r->source);
    if (!r->source->tensor_order)
        out_of_memory(r);
    else if (!r->model)
        check_whole(r);
    if (!r->model)
        check_biases(r);
}

const sm_st_tensor *hf_find_tensor(const hf_reader *r, const char *name) {
    const sm_st_tensor *found = NULL;
    for (uint32_t i = 0; i < r->n_files && !found; i++)
        found = sm_safetensors_find(&r->files[i], name);
    return found;
}
