/* Names of Hugging Face's for matrices of ours, and the order of their rows there. */
#include "format/hf_tables.h"
#include "format/peft.h"

#include <string.h>

/* The layer's number in "blk.7.attn_q", and the name with # in its place. */
static bool with_hash(const char *matrix, uint64_t length, uint32_t *layer, char *name,
                      uint64_t capacity) {
    const uint64_t n = length - strlen(".weight");
    *layer = 0;
    if (length <= strlen(".weight") || memcmp(matrix + n, ".weight", strlen(".weight")) != 0)
        return false;
    if (!starts_with(matrix, "blk.")) {
        sm_format(name, capacity, "%.*s", (int)n, matrix);
        return n < capacity;
    }
    uint64_t i = strlen("blk.");
    for (; i < n && matrix[i] >= '0' && matrix[i] <= '9' && *layer < 1u << 20; i++)
        *layer = *layer * 10 + (uint32_t)(matrix[i] - '0');
    return sm_format(name, capacity, "blk.#%.*s", (int)(n - i), matrix + i) < capacity;
}

/* Gate and up are one matrix where the layer has no gate of its own and the name stands for both
 * in a table: then the second row that has it is meant. */
static bool is_joined(const hf_reader *r, uint32_t layer, const char *name, uint64_t rows) {
    char other[64];
    sm_format(other, sizeof other, "blk.%u.ffn_down.weight", layer);
    const sm_tensor *down = sm_source_find_tensor(r->model, other);
    return !strcmp(name, "blk.#.ffn_up") && down && rows == 2 * down->dims[0];
}

static const hf_name *row_in(const hf_name *table, const char *name, bool joined) {
    for (const hf_name *row = table; row && row->from; row++)
        if (row->to && !strcmp(row->to, name) && !strchr(row->from, '&') &&
            (strstr(row->from, "gate_up") != NULL) == joined)
            return row;
    return NULL;
}

static const hf_name *find_row(const hf_reader *r, const char *name, bool joined) {
    const hf_name *row = row_in(r->family->names, name, joined);
    return row ? row : row_in(hf_common_names, name, joined);
}

/* Rows that are all of one matrix there. */
static bool is_whole(hf_order order) {
    return order == HF_SAME || order == HF_Q || order == HF_K || order == HF_TURNED ||
           order == HF_HEADS || order == HF_GROUPS;
}

static sm_status place_of(hf_reader *r, const hf_name *row, uint32_t layer, uint64_t rows,
                          const sm_source *adapter, sm_peft_place *out) {
    const hf_order order = hf_adapter_order(r, row);
    const char *hash = strchr(row->from, '#');
    const char *prefix = r->family->prefix ? r->family->prefix : "model.";
    out->turned = row->order == HF_TURNED;
    if (hash)
        sm_format(out->module, sizeof out->module, "%s%.*s%u%s", prefix, (int)(hash - row->from),
                  row->from, layer, hash + 1);
    else
        sm_format(out->module, sizeof out->module, "%s", row->from);
    out->row_of = sm_alloc_array(r->mem, rows, sizeof *out->row_of);
    if (!out->row_of)
        return sm_fail(r->error, SM_ERR_NOMEM, "%s: out of memory", adapter->path);
    if (hf_rows(r, order, rows, out->row_of))
        return SM_OK;
    return sm_fail(r->error, SM_ERR_SHAPE,
                   "%s: the model's heads do not divide the %llu rows of '%s'", adapter->path,
                   (unsigned long long)rows, out->module);
}

sm_status sm_peft_find(sm_peft_place *out, sm_mem *mem, const sm_source *model,
                       const sm_source *adapter, const char *matrix, uint64_t length, uint64_t rows,
                       sm_error *error) {
    hf_labels l;
    hf_reader r = hf_begin(mem, adapter->path, SM_PEFT_CONFIG, NULL, &l, error);
    uint32_t layer;
    char name[96];
    *out = (sm_peft_place){0};
    hf_look_at_model(&r, model);
    if (r.status)
        return r.status;
    const bool named = with_hash(matrix, length, &layer, name, sizeof name);
    const hf_name *row = NULL;
    if (named)
        row = find_row(&r, name, is_joined(&r, layer, name, rows));
    if (!row || !is_whole(row->order))
        return sm_fail(error, SM_ERR_UNSUPPORTED,
                       "%s: '%.*s' is no single matrix in Hugging Face's form of the model",
                       adapter->path, (int)(length < 100 ? length : 100), matrix);
    const sm_status status = place_of(&r, row, layer, rows, adapter, out);
    if (status) {
        sm_free(mem, out->row_of);
        *out = (sm_peft_place){0};
    }
    return status;
}
