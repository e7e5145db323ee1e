/* Which layers have a window. */
#include "format/hf.h"

#include <string.h>

/* layer_types as one flag a layer, true: a window; false if there is no such key or after a
 * failure. */
static bool by_layer(hf_reader *r, bool *windowed) {
    const sm_json_value list = hf_find(r, "layer_types");
    uint32_t i = 0;
    if (list == SM_JSON_NONE || r->status)
        return false;
    if (sm_json_kind_of(r->json, list) != SM_JSON_ARRAY ||
        sm_json_count(r->json, list) != r->n_layer) {
        hf_fail(r, SM_ERR_FORMAT, "layer_types",
                "has another number of elements than there are layers");
        return false;
    }
    for (sm_json_value v = sm_json_first(r->json, list); v != SM_JSON_NONE && i < r->n_layer;
         v = sm_json_next(r->json, list, v)) {
        windowed[i++] = sm_json_is(r->json, v, "sliding_attention");
        if (!windowed[i - 1] && !sm_json_is(r->json, v, "full_attention"))
            hf_fail(r, SM_ERR_UNSUPPORTED, "layer_types",
                    "has a kind that this version does not compute for this family (it computes "
                    "full_attention and sliding_attention)");
    }
    return !r->status;
}

/* "LLLG": G has none. */
static bool by_letters(hf_reader *r, bool *windowed) {
    const sm_json_value v = hf_find(r, "sliding_window_pattern");
    uint64_t length;
    const char *text = sm_json_text(r->json, v, &length);
    if (sm_json_kind_of(r->json, v) != SM_JSON_STRING || !length)
        return false;
    for (uint32_t i = 0; i < r->n_layer; i++)
        windowed[i] = text[i % length] == 'L';
    return true;
}

/* Of what the layers are. */
static void put(hf_reader *r, uint32_t window, uint32_t period, const bool *windowed) {
    uint32_t n = 0;
    bool usual = true;
    for (uint32_t i = 0; i < r->n_layer; i++) {
        n += windowed[i];
        usual = usual && windowed[i] == (period == 0 || i % period < period - 1);
    }
    if (!n)
        return;
    hf_put_count(r, SM_K_WINDOW, window);
    if (!usual)
        hf_put_flags(r, SM_K_WINDOW_PATTERN, windowed, r->n_layer);
}

void hf_windows(hf_reader *r, uint32_t usual, uint32_t period) {
    const uint32_t window = hf_count_or(r, "sliding_window|sliding_window_size", 0);
    const bool used = hf_flag_or(r, "use_sliding_window", true);
    const uint32_t first = hf_count_or(r, "max_window_layers", 0);
    if (r->status || r->n_layer > 1u << 16)
        return;
    bool *windowed = sm_alloc_zero(r->mem, r->n_layer + 1);
    if (!windowed) {
        r->status = sm_fail(r->error, SM_ERR_NOMEM, "%s: out of memory", r->shown);
        return;
    }
    const bool letters = by_letters(r, windowed);
    if (!by_layer(r, windowed) && !letters)
        for (uint32_t i = 0; i < r->n_layer; i++)
            windowed[i] = i >= first && (period == 0 || i % period < period - 1);
    if (window && used)
        put(r, window, usual, windowed);
    sm_free(r->mem, windowed);
}
