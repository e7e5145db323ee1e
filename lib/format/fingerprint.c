/* What identifies a model. */
#include "format/source.h"

#include <string.h>

#define SAMPLE 4096 /* bytes of each tensor */

uint64_t sm_source_fingerprint(const sm_source *source) {
    uint64_t h = 1;
    for (uint64_t i = 0; i < source->n_keys; i++) {
        const sm_key *key = &source->keys[i];
        if (starts_with(key->name, "general."))
            continue;
        h = sm_hash_bytes(h, key->name, strlen(key->name));
        h = sm_hash_bytes(h, key->data, key->size);
    }
    for (uint64_t i = 0; i < source->n_tensors; i++) {
        const sm_tensor *t = &source->tensors[i];
        const uint64_t shape[] = {t->type, t->dims[0], t->dims[1]};
        h = sm_hash_bytes(h, t->name, strlen(t->name));
        h = sm_hash_bytes(h, shape, sizeof shape);
        const uint64_t first = t->size / sm_tensor_rows(t) * sm_tensor_rows_left(t, 0);
        h = sm_hash_bytes(h, t->data, first < SAMPLE ? first : SAMPLE);
    }
    return h;
}
