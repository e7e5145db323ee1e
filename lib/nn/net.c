/* A net as a whole: freeing it, and what others ask of it. */
#include "net.h"
#include "pack.h"

bool sm_net_tied(const sm_net *net) {
    return net->head->data == net->embd.data;
}

void sm_net_free(sm_net *net) {
    if (!net)
        return;
    for (uint32_t i = 0; i < net->n_matrices; i++)
        sm_free(net->mem, net->matrices[i].own_packed);
    for (sm_packed_block *block = net->packed, *next; block; block = next) {
        next = block->next;
        sm_free(net->mem, block);
    }
    for (uint32_t i = 0; i < net->n_vectors; i++)
        if (!net->vectors[i].part)
            sm_free(net->mem, net->vectors[i].value);
    for (uint32_t i = 0; i < net->n_blocks; i++)
        if (net->blocks[i].kind == &sm_kind_attention)
            sm_free(net->mem, (float *)(uintptr_t)net->blocks[i].attn.slopes);
    for (uint32_t i = 0; i < net->n_ropes; i++) {
        sm_free(net->mem, net->ropes[i].inv_freq);
        sm_free(net->mem, net->ropes[i].long_inv_freq);
    }
    sm_free(net->mem, net->pooling.pooler_bias);
    sm_free(net->mem, net->pooling.out_bias);
    sm_free(net->mem, net->rope_freqs);
    sm_free(net->mem, net->rope_long);
    sm_free(net->mem, net->vectors);
    sm_free(net->mem, net->matrices);
    sm_free(net->mem, net->first_of);
    sm_free(net->mem, net->ropes);
    sm_free(net->mem, net->blocks);
    sm_mutex_free(net->lock, net->mem);
    sm_free(net->mem, net);
}

uint64_t sm_net_stream_ld(const sm_net *net) {
    return sm_row_stride(net->config.n_embd);
}

uint64_t sm_net_ldx(const sm_net *net) {
    return sm_net_stream_ld(net) * (net->n_streams ? net->n_streams + 1 : 1);
}

const sm_block *sm_net_layer(const sm_net *net, uint32_t layer) {
    const sm_block *b = net->blocks;
    while (b->layer < layer)
        b++;
    return b;
}

uint32_t sm_net_most(const sm_net *net, sm_dim dim) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < net->n_blocks; i++)
        most = net->blocks[i].dims[dim] > most ? net->blocks[i].dims[dim] : most;
    return most;
}

uint32_t sm_net_widest_input(const sm_net *net) {
    uint32_t widest = 0;
    for (uint32_t i = 0; i < net->n_matrices; i++)
        widest = net->matrices[i].cols > widest ? net->matrices[i].cols : widest;
    return widest;
}

static uint32_t whole_groups(const sm_lora *lora) {
    return lora->shares ? 0 : (lora->a.rows + SM_GROUP - 1) / SM_GROUP * SM_GROUP;
}

uint32_t sm_adapter_width(const sm_net_adapter *adapter, const sm_net *net) {
    uint32_t widest = 0;
    for (uint32_t first = 0; first < net->n_matrices; first += net->matrices[first].group_n) {
        uint32_t width = 0; /* of matrices that read the same input */
        for (uint32_t i = 0; i < net->matrices[first].group_n; i++)
            width += whole_groups(&adapter->lora[first + i]);
        widest = width > widest ? width : widest;
    }
    return widest;
}
