/* reference.h - the loss of a decoder-only network in plain double arithmetic, straight from the
 * formulas and sharing no code with the library, for finite differences.
 */
#ifndef TEST_REFERENCE_H
#define TEST_REFERENCE_H

#include "train/train.h"

/* Shapes of the network; all layers are alike but for what struct reference has of each. */
typedef struct reference_shape {
    uint32_t n_vocab, n_embd, n_layer, n_head, n_head_kv, head_dim, n_ff;
    sm_experts_params experts; /* n_experts 0: no mixture of experts */
    sm_wiring attention, ffn;
    const sm_wiring *beside; /* of experts beside a gated part; NULL: there is one or the other */
    bool neox, layer_norm;
    bool norm_whole, norm_own, qk_layer_norm; /* of q and k */
    bool normed;                              /* before blocks */
    bool plain;                               /* feed-forward parts have no gate */
    sm_activation activation;
    sm_xielu xielu;
    float norm_eps;
    double score_cap, logit_cap, embd_scale; /* 0: none, none, 1 */
    double score_scale, residual_scale, logit_scale;
    bool norm_values;               /* of each head, without gains */
    uint32_t n_input;               /* of a layer's input beside the stream; 0: none */
    const sm_latent_params *latent; /* NULL: attention is not latent */
    double clamp, max_bias;         /* of q, k and v; ALiBi. 0: none */
} reference_shape;

/* Parameters of a graph as doubles, in the order of sm_graph_params. */
typedef struct reference {
    reference_shape config;
    const sm_params *params;
    double **value;
    double balance; /* weight of the routers' balancing loss; reference_make sets 0 */
    double *used, *score, *balanced; /* [n_experts] of a layer: tokens, scores; that loss */
    const sm_rope **rope;            /* [n_layer] angles */
    const sm_attn_params **attn;     /* [n_layer]; NULL: there is no attention */
    uint32_t *head_dim, *n_ff;       /* [n_layer]; 0 */
    uint32_t *lender; /* [n_layer] whose keys and values it reads: its own, or another's */
    uint32_t *window; /* [n_layer] tokens that attention sees, 0 (at first): all before */
} reference;

reference reference_make(const sm_graph *graph);
void reference_free(reference *r);
/* [n_tokens][n_vocab] of a batch, whose targets are not looked at; to be freed. */
double *reference_logits(const reference *r, const sm_train_batch *batch);
/* Sum of the losses of the tokens that have a target. */
double reference_loss(const reference *r, const sm_train_batch *batch);

#endif
