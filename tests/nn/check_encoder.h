/* What check_families compares of models that make vectors or scores, and no logits. */
#ifndef CHECK_ENCODER_H
#define CHECK_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the folder has hidden.f32, pooled.f32 or scores.f32. */
bool is_encoder_case(const char *dir);
/* The model at dir/name with the ids against what of these is there, with 1 and 2 threads; *most
 * gets the largest difference. False: why, or that it is more than `exact`; *computed: whether the
 * library computes such models. */
bool check_encoder_case(const char *dir, const char *name, const int32_t *ids, uint64_t n_ids,
                        double exact, double *most, bool *computed, char *why, size_t capacity);

#endif
