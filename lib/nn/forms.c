/* In which form each matrix reads its input. */
#include "net.h"

/* Calls fn for the block's matrices that read input number `reads`, all of a stack. */
static void each_reader(const sm_block *b, uint32_t reads, void (*fn)(sm_weight *w, void *arg),
                        void *arg) {
    for (uint32_t s = 0; s < b->kind->n_slots; s++)
        for (uint32_t e = 0; b->w[s] && b->kind->slot[s].reads == reads &&
                             e < (b->w[s]->n_experts ? b->w[s]->n_experts : 1);
             e++)
            fn(sm_block_expert(b, s, e), arg);
}

static bool vector_reads(const sm_block *b, uint32_t reads) {
    if (b->kind == &sm_kind_experts && b->experts.weigh_inputs && reads == 1)
        return true; /* they are weighed before they take another form */
    for (uint32_t s = 0; s < b->kind->n_slots && reads; s++)
        if (b->v[s] && b->kind->slot[s].reads == reads)
            return true;
    return false;
}

/* How an input is read: in one form besides f32, and whether in f32. */
typedef struct shared_input {
    sm_input_form form;
    bool floats;
} shared_input;

static void look(sm_weight *w, void *arg) {
    shared_input *in = arg;
    if (in->form != SM_INPUT_BLOCKS && w->form != SM_INPUT_FLOAT)
        in->form = w->form;
}

/* Where some want blocks, the others read it as f32. */
static void settle(sm_weight *w, void *arg) {
    shared_input *in = arg;
    if (w->form != in->form)
        w->form = SM_INPUT_FLOAT;
    in->floats = in->floats || w->form == SM_INPUT_FLOAT;
}

static void tell(sm_weight *w, void *arg) {
    const shared_input *in = arg;
    w->input_form = in->form;
    w->input_floats = in->floats;
}

static sm_input_form form_of(const sm_net *net, const sm_weight *w, bool round, bool floats) {
    if (sm_dtype_get(w->type)->block_size > 1)
        return floats ? SM_INPUT_FLOAT : SM_INPUT_BLOCKS;
    return round && net->kernels->type[w->type].mul_rounded ? SM_INPUT_BF16 : SM_INPUT_FLOAT;
}

/* In inference input stays f32 where rounding to bf16 costs much accuracy for the time it saves:
 * values and the router are few rows, the head is computed for few tokens. */
static bool rounds(const sm_slot *slot, sm_rounding rounding) {
    const bool dear =
        slot->role == SM_ROLE_VALUE || slot->role == SM_ROLE_HEAD || slot->role == SM_ROLE_ROUTER;
    return dear ? rounding == SM_ROUND_ALL : rounding > SM_ROUND_NONE;
}

void sm_net_choose_forms(sm_net *net, sm_rounding rounding) {
    for (uint32_t i = 0; i <= net->n_blocks; i++) {
        sm_block *b = &net->blocks[i];
        for (uint32_t s = 0; s < b->kind->n_slots; s++)
            if (b->w[s])
                for (uint32_t e = 0; e < (b->w[s]->n_experts ? b->w[s]->n_experts : 1); e++) {
                    sm_weight *w = sm_block_expert(b, s, e);
                    w->form = form_of(net, w, rounds(&b->kind->slot[s], rounding),
                                      rounding == SM_ROUND_NOTHING);
                }
        for (uint32_t reads = 0; reads < SM_MAX_READS; reads++) {
            shared_input in = {SM_INPUT_FLOAT, vector_reads(b, reads)};
            each_reader(b, reads, look, &in);
            each_reader(b, reads, settle, &in);
            each_reader(b, reads, tell, &in);
        }
    }
}
