/* state.h - what a sequence carries from token to token: keys and values of each attention block.
 */
#ifndef SM_STATE_H
#define SM_STATE_H

#include "net.h"

#define SM_KV_TILE 16 /* tokens: the first one's key clears the tile */

/* Keys and values of one block. Per kv head: K and V in tiles of 16 tokens, capacity/16 of them, as
 * kernels.h lays them out for the type. width is head_dim rounded up to the multiple of 8 that the
 * kernels want, filled up with zeros. A ring has fewer tiles than the sequence: each takes the
 * place of the one that is capacity tokens before it. */
typedef struct sm_kv {
    uint32_t type;     /* SM_KV_… of kernels.h */
    uint32_t capacity; /* tokens, a multiple of 16 */
    uint32_t window;   /* of a ring, what sm_attn_params.window says; 0: all tokens are kept */
    bool keyless;      /* rows of f32 alone, as values lie: k is NULL */
    uint32_t n_head_kv, head_dim, width;
    uint64_t tile_bytes, head_bytes; /* K (or V) of 16 tokens, and all, of one head */
    uint8_t *k, *v;
} sm_kv;

/* Stores one token's key and/or value vector (NULL: not that one) of a head. */
void sm_kv_store(sm_kv *kv, const sm_kernels *kernels, uint32_t head, uint32_t position,
                 const float *k, const float *v);
/* Asks for the memory where sm_kv_store will put that token's key (or value): by the time a token
 * comes other data has pushed it out of the caches. */
void sm_kv_fetch(const sm_kv *kv, uint32_t head, uint32_t position, bool key);
/* Where the tile that begins at position (a multiple of 16) lies, in k and in v; those after it
 * follow, to the end of the ring. */
uint64_t sm_kv_offset(const sm_kv *kv, uint32_t head, uint32_t position);
/* How many of n tiles from that one on do follow; the others lie at the ring's beginning. */
uint32_t sm_kv_run(const sm_kv *kv, uint32_t position, uint32_t n);
/* sm_kv.width for heads of that size. */
uint32_t sm_kv_width(uint32_t head_dim);
/* Keys and values of n_head_kv heads for n_ctx tokens, at k and at v, which may be filled in later:
 * sm_kv_bytes each. All tokens are kept. */
void sm_kv_place(sm_kv *kv, uint32_t n_head_kv, uint32_t head_dim, uint32_t type, uint32_t n_ctx,
                 uint8_t *k, uint8_t *v);
/* The same, keeping what the first token of a step sees through the window and up to n_step tokens
 * of the step, if that is less. */
void sm_kv_place_ring(sm_kv *kv, uint32_t n_head_kv, uint32_t head_dim, uint32_t type,
                      uint32_t n_ctx, uint32_t window, uint32_t n_step);
uint64_t sm_kv_bytes(const sm_kv *kv);
/* Where a keyless part has the row of that position. */
float *sm_kv_row(const sm_kv *kv, uint32_t position);
/* Copies the first n tokens, of a ring what it has of them, between caches of equal shape. False:
 * the hook, which may be NULL and is asked for each head, said stop. */
bool sm_kv_copy(sm_kv *to, const sm_kv *from, uint32_t n, const sm_hook *hook);

/* The state of one sequence: a part for each block of the net that has one (sm_block.state). */
typedef struct sm_state {
    uint32_t n;
    uint32_t type;     /* SM_KV_… of kernels.h */
    uint32_t capacity; /* tokens */
    uint32_t reached;  /* tokens that the sequence has had at most: rings lost what is behind */
    uint32_t floor;    /* before this position rings have nothing, since tokens were moved */
    sm_kv *kv;         /* [n] */
    uint8_t *memory;   /* of all of them; NULL: the caller's */
    uint64_t bytes;    /* of memory */
} sm_state;

/* For steps of at most n_step tokens of the sequence: blocks with a window keep that much and the
 * window. n_step 0: they keep all tokens, as the others do. SM_ERR_NOMEM. */
sm_status sm_state_init(sm_state *state, sm_mem *mem, const sm_net *net, uint32_t type,
                        uint32_t n_ctx, uint32_t n_step, sm_error *error);
void sm_state_free(sm_state *state, sm_mem *mem);
/* A step is about to store n tokens from position on: sm_forward says so. */
void sm_state_begin(sm_state *state, uint32_t position, uint32_t n);
/* Bytes that the attention of n tokens from position on reads in all blocks. */
double sm_state_read_bytes(const sm_state *state, const sm_net *net, uint32_t position, uint32_t n);
/* A state whose parts all lie in the same place, where all tokens of a sequence are computed at
 * once and every block is done with before the next: kv[net->n_states] and memory of the
 * caller's, sm_state_bytes of it. */
void sm_state_share(sm_state *state, const sm_net *net, uint32_t type, uint32_t n_ctx, sm_kv *kv,
                    uint8_t *memory);
uint64_t sm_state_bytes(const sm_net *net, uint32_t type, uint32_t n_ctx);
/* The longest length of at most `to` tokens that a sequence of `from` can go back to: what it
 * carries of the tokens before must still be there. Where all keys and values are kept: `to`; where
 * a ring has lost some of the window before `to`: 0. Any sequence can go back by n_step tokens. */
uint32_t sm_state_rewinds_to(const sm_state *state, uint32_t from, uint32_t to);
/* Copies the first n tokens between states of equal shape; hook as of sm_kv_copy. */
bool sm_state_copy(sm_state *to, const sm_state *from, uint32_t n, const sm_hook *hook);

/* ---- other positions (shift.c) ---------------------------------------------------------- */

/* Whether tokens can be: SM_ERR_UNSUPPORTED says what is in the way. */
sm_status sm_state_can_shift(const sm_net *net, sm_error *error);
/* Gives the tokens [begin, end) of a sequence of `end` the positions that are `by` less; begin and
 * by are multiples of SM_KV_TILE, by at most begin. What rings keep must be behind begin - by:
 * end - by - begin + by >= sm_state_window. SM_ERR_NOMEM changes nothing; after SM_ERR_CANCELLED
 * (hook asked for each head) no token is left whole. */
sm_status sm_state_shift(sm_state *state, const sm_net *net, uint32_t begin, uint32_t end,
                         uint32_t by, sm_mem *mem, const sm_hook *hook, sm_error *error);
/* The widest window of a ring; 0: there is none. */
uint32_t sm_state_window(const sm_state *state);
/* The first token that a ring still has after `reached` tokens. */
uint32_t sm_state_oldest(const sm_kv *kv, uint32_t reached);

/* ---- in a file (kept.c): each part has a key that says what it is, and tensors of its own
 * --------
 */

/* Declares what keeps the first n tokens, and writes its data, in that order. */
void sm_state_declare(const sm_state *state, uint32_t n, sm_gguf_writer *writer);
sm_status sm_state_write(const sm_state *state, uint32_t n, sm_gguf_writer *writer,
                         sm_error *error);
/* How many tensors that is. */
uint64_t sm_state_tensors(const sm_state *state, uint32_t n, uint32_t reached);
/* Whether a file has n tokens, of a sequence that reached so many, of a state like this one; n at
 * most state->capacity. SM_ERR_ARGUMENT (another cache; the message says in what), _FORMAT. */
sm_status sm_state_check(const sm_state *state, uint32_t n, uint32_t reached,
                         const sm_source *source, sm_error *error);
/* Takes them, which have been checked. False: the hook (asked for each head) said stop. */
bool sm_state_read(sm_state *state, uint32_t n, uint32_t reached, const sm_source *source,
                   const sm_hook *hook);

#endif
