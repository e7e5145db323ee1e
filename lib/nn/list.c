/* The lists of a net's tensors, made from its blocks. */
#include "net.h"

/* Whether this block has the tensor: one that may be there is looked for. */
static bool has_slot(const sm_net *net, const sm_block *b, uint32_t slot) {
    char name[128];
    const sm_slot *s = &b->kind->slot[slot];
    if (sm_slot_wanted(b, slot) || s->role == SM_ROLE_HEAD) /* there is a head, its own or not */
        return true;
    if (s->when != SM_MAY)
        return false;
    sm_slot_name(b, slot, name, sizeof name);
    return sm_source_find_tensor(net->source, name) != NULL;
}

static uint32_t depth_of(const sm_block *b, uint32_t slot) {
    const uint32_t depth = b->kind->slot[slot].depth;
    return depth && b->dims[depth] ? b->dims[depth] : 1;
}

static void count(const sm_net *net, const sm_block *b, uint32_t *n_matrices, uint32_t *n_vectors) {
    for (uint32_t i = 0; i < b->kind->n_slots; i++) {
        const bool matrix = sm_slot_is_matrix(&b->kind->slot[i]);
        if (has_slot(net, b, i))
            *(matrix ? n_matrices : n_vectors) += matrix ? depth_of(b, i) : 1;
    }
}

/* Enters matrix `expert` of a slot; `place` counts those of a layer. */
static void list_matrix(sm_net *net, sm_block *b, uint32_t i, uint32_t expert, uint32_t *place) {
    const sm_slot *slot = &b->kind->slot[i];
    const uint32_t index = net->n_matrices++;
    sm_weight *w = &net->matrices[index];
    const sm_join *join = sm_slot_join(b, i);
    const uint32_t part = sm_slot_part(b, i);
    *w = (sm_weight){.rows = b->dims[slot->rows],
                     .cols = b->dims[slot->cols],
                     .index = index,
                     .group_first = index,
                     .layer = b->layer,
                     .place = part ? *place - 1 : (*place)++,
                     .n_experts = slot->depth ? b->dims[slot->depth] : 0,
                     .expert = expert,
                     .n_parts = join ? join->n : 1,
                     .part = part,
                     .joined_rows = sm_slot_rows(b, i),
                     .rows_before = part ? w[-1].rows_before + w[-1].rows : 0,
                     .routed = slot->depth == SM_DIM_EXPERTS};
    if (!expert)
        b->w[i] = w;
    if (i > 0 && slot->reads == slot[-1].reads && slot->depth == slot[-1].depth && b->w[i - 1])
        w->group_first = w[-1].group_first;
    for (uint32_t j = w->group_first; j <= index; j++)
        net->matrices[j].group_n = index + 1 - w->group_first;
}

static bool is_stack(const sm_slot *slot) {
    return sm_slot_is_matrix(slot) && slot->depth;
}

/* Single matrices, then stacks, expert by expert. */
static void list_matrices(sm_net *net, sm_block *b, uint32_t *place) {
    uint32_t n_experts = 0, n_stacks = 0;
    for (uint32_t i = 0; i < b->kind->n_slots; i++) {
        const sm_slot *slot = &b->kind->slot[i];
        if (!sm_slot_is_matrix(slot) || !has_slot(net, b, i))
            continue;
        if (slot->depth) {
            n_experts = b->dims[slot->depth];
            n_stacks++;
        } else {
            list_matrix(net, b, i, 0, place);
        }
    }
    for (uint32_t e = 0; e < n_experts; e++)
        for (uint32_t i = 0; i < b->kind->n_slots; i++)
            if (is_stack(&b->kind->slot[i]) && has_slot(net, b, i)) {
                list_matrix(net, b, i, e, place);
                net->matrices[net->n_matrices - 1].stride = n_stacks;
            }
}

static void list_vectors(sm_net *net, sm_block *b) {
    for (uint32_t i = 0; i < b->kind->n_slots; i++)
        if (!sm_slot_is_matrix(&b->kind->slot[i]) && has_slot(net, b, i))
            net->vectors[net->n_vectors++] =
                (sm_vector){.n = (uint64_t)b->dims[b->kind->slot[i].rows] * depth_of(b, i),
                            .depth = depth_of(b, i),
                            .block = b,
                            .slot = i,
                            .part = sm_slot_part(b, i),
                            .joined = (uint64_t)sm_slot_rows(b, i) * depth_of(b, i)};
}

static void set_strides(sm_block *b) {
    for (uint32_t i = 0; i < b->kind->n_buffers; i++) {
        const sm_buffer *buffer = &b->kind->buffer[i];
        const uint32_t n = b->dims[buffer->width];
        b->ld[i] = buffer->flags & SM_FORMS ? sm_block_stride(n) : sm_row_stride(n);
    }
}

sm_status sm_net_list(sm_net *net, sm_error *error) {
    uint32_t n_matrices = 0, n_vectors = 0;
    for (uint32_t i = 0; i <= net->n_blocks; i++)
        count(net, &net->blocks[i], &n_matrices, &n_vectors);
    net->matrices = sm_alloc_zero(net->mem, n_matrices * sizeof *net->matrices);
    net->vectors = sm_alloc_zero(net->mem, (n_vectors ? n_vectors : 1) * sizeof *net->vectors);
    net->first_of =
        sm_alloc_zero(net->mem, ((uint64_t)net->config.n_layer + 1) * sizeof *net->first_of);
    if (!net->matrices || !net->vectors || !net->first_of)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for %u layers", net->config.n_layer);
    uint32_t place = 0;
    for (uint32_t i = 0; i <= net->n_blocks; i++) {
        sm_block *b = &net->blocks[i];
        if (i == 0 || b->layer != b[-1].layer)
            place = 0;
        if (!place)
            net->first_of[b->layer] = net->n_matrices;
        list_matrices(net, b, &place);
        list_vectors(net, b);
        set_strides(b);
    }
    net->head = &net->matrices[net->n_matrices - 1];
    return SM_OK;
}
