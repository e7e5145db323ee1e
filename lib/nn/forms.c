/* In which form each matrix reads its input. */
#include "net.h"

/* Brings the shared input of n matrices into one form besides f32: where some want blocks, the
 * others read it as f32. */
static void share_input(sm_weight *matrices, uint32_t n) {
    sm_input_form form = SM_INPUT_FLOAT;
    for (uint32_t i = 0; i < n; i++)
        if (form != SM_INPUT_BLOCKS && matrices[i].form != SM_INPUT_FLOAT)
            form = matrices[i].form;
    for (uint32_t i = 0; i < n; i++) {
        matrices[i].group_form = form;
        if (matrices[i].form != form)
            matrices[i].form = SM_INPUT_FLOAT;
    }
}

static sm_input_form form_of(const sm_net *net, const sm_weight *w, bool round) {
    if (sm_dtype_get(w->type)->block_size > 1)
        return SM_INPUT_BLOCKS;
    return round && net->kernels->type[w->type].mul_rounded ? SM_INPUT_BF16 : SM_INPUT_FLOAT;
}

/* In inference input stays f32 where rounding to bf16 costs much accuracy for the time it saves:
 * values are few rows, the head is computed for few tokens. Figures: docs/architecture.md. */
static bool rounds(const sm_slot *slot, sm_rounding rounding) {
    const bool dear = slot->role == SM_ROLE_VALUE || slot->role == SM_ROLE_HEAD;
    return dear ? rounding == SM_ROUND_ALL : rounding != SM_ROUND_NONE;
}

void sm_net_choose_forms(sm_net *net, sm_rounding rounding) {
    for (uint32_t i = 0; i <= net->n_blocks; i++) {
        sm_block *b = &net->blocks[i];
        for (uint32_t s = 0; s < b->kind->n_slots; s++)
            if (b->w[s])
                b->w[s]->form = form_of(net, b->w[s], rounds(&b->kind->slot[s], rounding));
    }
    for (uint32_t i = 0; i < net->n_matrices; i += net->matrices[i].group_n)
        share_input(&net->matrices[i], net->matrices[i].group_n);
}
