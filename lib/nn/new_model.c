/* Models that are made, not loaded: their blocks and tensors. */
#include "net.h"

sm_status sm_new_model_plan(sm_new_model *m, sm_mem *mem, const char *name,
                            void (*put_keys)(void *user, sm_gguf_writer *writer), void *user,
                            sm_error *error) {
    sm_gguf_writer *w;
    uint64_t size = 0;
    *m = (sm_new_model){0};
    sm_status status = sm_gguf_writer_new(&w, mem, name, 3, SM_GGUF_DEFAULT_ALIGNMENT, error);
    if (status)
        return status;
    put_keys(user, w);
    status = sm_gguf_writer_image(w, &m->image, &size, error);
    if (!status)
        status = sm_source_open_bytes(&m->keys, mem, m->image, size, name, error);
    if (!status)
        status = sm_net_plan(&m->net, mem, m->keys, UINT64_MAX, error);
    if (status)
        sm_new_model_free(m, mem);
    return status;
}

void sm_new_model_free(sm_new_model *m, sm_mem *mem) {
    sm_net_free(m->net);
    sm_source_close(m->keys);
    sm_free(mem, m->image);
    *m = (sm_new_model){0};
}

static bool new_slot(const sm_block *b, uint32_t i, uint32_t n_vocab,
                     bool (*fn)(void *user, const sm_new_tensor *tensor), void *user) {
    const sm_slot *slot = &b->kind->slot[i];
    char name[128];
    sm_slot_name(b, i, name, sizeof name);
    const uint64_t rows = slot->rows == SM_DIM_VOCAB ? n_vocab : sm_slot_rows(b, i);
    const bool matrix = sm_slot_is_matrix(slot);
    const sm_new_tensor t = {.name = name,
                             .cols = matrix ? b->dims[slot->cols] : rows,
                             .rows = matrix ? rows : 0,
                             .depth = slot->depth ? b->dims[slot->depth] : 0,
                             .slot = slot,
                             .layer = b->layer};
    return fn(user, &t);
}

void sm_net_each_tensor(const sm_net *net, uint32_t n_vocab, bool untied,
                        bool (*fn)(void *user, const sm_new_tensor *tensor), void *user) {
    const sm_new_tensor embd = {
        .name = "token_embd.weight", .cols = net->config.n_embd, .rows = n_vocab};
    const sm_weight *P = &net->positions;
    const sm_new_tensor positions = {.name = SM_POSITIONS, .cols = P->cols, .rows = P->rows};
    const sm_new_tensor inputs = {
        .name = SM_INPUTS_TABLE, .cols = net->inputs.cols, .rows = n_vocab};
    bool more = fn(user, &embd) && (!P->rows || fn(user, &positions)) &&
                (!inputs.cols || fn(user, &inputs));
    for (uint32_t i = 0; i <= net->n_blocks; i++) {
        const sm_block *b = &net->blocks[i];
        for (uint32_t s = 0; s < b->kind->n_slots && more; s++)
            if (!sm_slot_part(b, s) &&
                (sm_slot_wanted(b, s) || (untied && b->kind->slot[s].role == SM_ROLE_HEAD)))
                more = new_slot(b, s, n_vocab, fn, user);
    }
}

uint64_t sm_new_tensor_weights(const sm_new_tensor *t) {
    return t->cols * (t->rows ? t->rows : 1) * (t->depth ? t->depth : 1);
}

void sm_new_tensor_declare(sm_gguf_writer *writer, const sm_new_tensor *t, uint32_t type) {
    const uint64_t dims[3] = {t->cols, t->rows ? t->rows : t->depth, t->depth};
    const uint32_t n_dims = 1u + (t->rows ? 1u : 0) + (t->depth ? 1u : 0);
    sm_gguf_declare_tensor(writer, t->name, type, n_dims, dims, NULL);
}
