/* Which matrices get adapters. */
#include "builder.h"

#include <string.h>

/* What Hugging Face's models call the matrices, and what a tensor is called here before
 * ".weight"; joined: only where that holds several. A name may stand for more than one. */
static const struct {
    const char *theirs, *ours;
    bool joined;
} other_names[] = {
    {"q_proj", "attn_q", false},
    {"k_proj", "attn_k", false},
    {"v_proj", "attn_v", false},
    {"o_proj", "attn_output", false},
    {"gate_proj", "ffn_gate", false},
    {"up_proj", "ffn_up", false},
    {"down_proj", "ffn_down", false},
    {"lm_head", "output", false},
    {"qkv_proj", "attn_qkv", true},
    {"gate_up_proj", "ffn_up", true},
    {"query_key_value", "attn_qkv", true},
    {"Wqkv", "attn_qkv", true},
    {"c_attn", "attn_qkv", true},
    {"c_proj", "attn_output", false},
    {"c_proj", "ffn_down", false},
    {"dense", "attn_output", false},
    {"c_fc", "ffn_up", false},
    {"dense_h_to_4h", "ffn_up", false},
    {"dense_4h_to_h", "ffn_down", false},
    {"fc1", "ffn_up", false},
    {"fc2", "ffn_down", false},
};

/* Whether the last part of a tensor's name, before ".weight", is `own`. */
static bool is_called(const char *name, const char *own) {
    const size_t n = strlen(name), m = strlen(own) + strlen(".weight");
    return n >= m && (n == m || name[n - m - 1] == '.') &&
           strncmp(name + n - m, own, strlen(own)) == 0;
}

/* In either case. */
static bool same(const char *a, const char *b, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (!a[i] || lower_ascii(a[i]) != lower_ascii(b[i]))
            return false;
    return true;
}

/* Whether a pattern fits the matrix: it is part of its name, or another name of it. */
static bool contains(const sm_weight *w, const char *part, size_t length) {
    bool known = false;
    for (size_t i = 0; i < sizeof other_names / sizeof *other_names; i++)
        if (strlen(other_names[i].theirs) == length && same(other_names[i].theirs, part, length)) {
            known = true;
            if (is_called(w->name, other_names[i].ours) &&
                (w->n_parts > 1) == other_names[i].joined)
                return true;
        }
    for (const char *name = w->name; *name && !known; name++)
        if (same(name, part, length))
            return true;
    return false;
}

/* The next of comma-separated patterns, without spaces around it; NULL behind the last. */
static const char *next_pattern(const char **targets, size_t *length) {
    const char *at = *targets;
    if (!*at)
        return NULL;
    at += strspn(at, " ");
    *length = strcspn(at, ",");
    *targets = at + *length + (at[*length] == ',');
    while (*length && at[*length - 1] == ' ')
        (*length)--;
    return at;
}

/* One of the patterns fits the matrix. */
static bool is_target(const char *targets, const sm_weight *w) {
    size_t length;
    for (const char *at; (at = next_pattern(&targets, &length)) != NULL;)
        if (length && contains(w, at, length))
            return true;
    return false;
}

/* Whether a target can be this matrix: a tied head cannot have an adapter of its own. */
static bool adaptable(const sm_net *net, const sm_weight *w) {
    return w != net->head || !sm_net_tied(net);
}

/* Refuses a pattern that fits nothing. */
static sm_status no_such_target(const sm_builder *b, const char *pattern, size_t length) {
    char known[512], shown[64];
    size_t n = 0;
    uint32_t nearest;
    uint64_t n_meant;
    for (size_t i = 0; i < sizeof other_names / sizeof *other_names && n < sizeof known; i++)
        n += sm_format(known + n, sizeof known - n, "%s%s, %s", i ? ", " : "", other_names[i].ours,
                       other_names[i].theirs);
    sm_format(shown, sizeof shown, "%.*s", (int)(length < sizeof shown ? length : sizeof shown),
              pattern);
    sm_names_find(known, shown, &nearest);
    const char *meant = sm_names_get(known, nearest, &n_meant);
    return sm_fail(b->error, SM_ERR_ARGUMENT,
                   "LoRA target '%s' is in the name of no matrix of %s%s%.*s%s (known are %s)",
                   shown, b->g->net->source->path, meant ? ": did you mean " : "", (int)n_meant,
                   meant ? meant : "", meant ? "?" : "", known);
}

/* Checks each pattern alone, so that a misspelt one does not go unnoticed. */
void sm_build_check_targets(sm_builder *b) {
    const char *targets = b->g->options.lora_targets ? b->g->options.lora_targets : "";
    const sm_net *net = b->g->net;
    size_t length;
    for (const char *at; !b->status && (at = next_pattern(&targets, &length)) != NULL;) {
        bool found = false;
        for (uint32_t i = 0; i < net->n_matrices && !found; i++)
            found = adaptable(net, &net->matrices[i]) && contains(&net->matrices[i], at, length);
        if (!length || !found)
            b->status = no_such_target(b, at, length);
    }
}

/* Without targets all matrices of layers get one, the head only by its name. */
bool sm_build_is_target(const sm_builder *b, const sm_weight *w) {
    const char *targets = b->g->options.lora_targets;
    if (!targets)
        return w != b->g->net->head;
    return adaptable(b->g->net, w) && is_target(targets, w);
}
