/* Packing matrices into the kernels' layout, each when a step first comes to it.
 *
 * Steps of several teams may come to a matrix at once. It is packed piece by piece, each by the
 * team whose thread 0 holds the net's lock; between pieces the lock is free, so that nobody's
 * cancel hook is asked with it held, and a team that waited goes on where another one stopped.
 */
#include "worker.h"

/* Bytes of the file that are packed before their pages are given back, so that a large tensor is
 * not in memory twice. */
#define RELEASE_BYTES ((uint64_t)16 << 20)

/* Layers have their matrices in blocks of up to this, since only a large block has large pages. */
#define BLOCK_BYTES ((uint64_t)128 << 20)

/* The count that a matrix belongs to. */
static _Atomic uint32_t *unpacked(sm_net *net, const sm_weight *w) {
    return w == net->head ? &net->unpacked_head
           : w->routed    ? &net->unpacked_experts
                          : &net->unpacked_in_layers;
}

sm_status sm_net_pack_lazily(sm_net *net, sm_error *error) {
    const sm_status status = sm_mutex_new(&net->lock, net->mem, error);
    if (status)
        return status;
    net->block_bytes = BLOCK_BYTES;
    for (uint32_t i = 0; i < net->n_matrices; i++)
        if (!net->matrices[i].packed && !sm_weight_unfolds(&net->matrices[i]))
            atomic_fetch_add_explicit(unpacked(net, &net->matrices[i]), 1, memory_order_relaxed);
    return SM_OK;
}

void sm_repack_plan(sm_pass *pass) {
    const sm_net *net = pass->ws->net;
    pass->repack_layers = atomic_load_explicit(&net->unpacked_in_layers, memory_order_acquire) != 0;
    pass->repack_experts = atomic_load_explicit(&net->unpacked_experts, memory_order_acquire) != 0;
    pass->repack_head = pass->batch->n_outputs &&
                        atomic_load_explicit(&net->unpacked_head, memory_order_acquire) != 0;
}

static sm_weight *first_unpacked(sm_net *net, uint32_t first, uint32_t end) {
    for (uint32_t i = first; i < end; i++)
        if (!net->matrices[i].packed && net->matrices[i].routed == net->matrices[first].routed &&
            !sm_weight_unfolds(&net->matrices[i]))
            return &net->matrices[i];
    return NULL;
}

static uint64_t n_groups(const sm_weight *w) {
    return sm_weight_packed_bytes(w) / w->group_bytes;
}

/* Where matrices begin: CPUs fetch pairs of lines. */
#define PAIR_BYTES ((uint64_t)128)

static uint64_t whole_pairs(uint64_t bytes) {
    return (bytes + PAIR_BYTES - 1) / PAIR_BYTES * PAIR_BYTES;
}

/* Bytes of the matrices of layers from number `first` on that have no room yet: of the first one,
 * and of as many after it as fill a block. With `at` that is where they get it. */
static uint64_t take_room(sm_net *net, uint32_t first, uint8_t *at) {
    uint64_t size = 0;
    for (uint32_t i = first; i < net->head->index; i++) {
        sm_weight *w = &net->matrices[i];
        if (w->packed || w->room || w->routed || sm_weight_unfolds(w))
            continue;
        const uint64_t bytes = whole_pairs(sm_weight_packed_bytes(w));
        if (size && size + bytes > net->block_bytes)
            return size;
        if (at)
            w->room = at + size;
        size += bytes;
    }
    return size;
}

/* Room for the whole matrix, when its first piece is packed, and for others of layers after it. */
static sm_status make_room(sm_net *net, sm_weight *w, sm_error *error) {
    if (w->room)
        return SM_OK;
    const bool single = w == net->head || w->routed; /* an expert may be the only one used */
    const uint64_t alone = whole_pairs(sm_weight_packed_bytes(w));
    const uint64_t size = single ? alone : take_room(net, w->index, NULL);
    sm_packed_block *block = sm_alloc_large(net->mem, sizeof *block + PAIR_BYTES + size);
    if (!block)
        return sm_fail(
            error, SM_ERR_NOMEM,
            "out of memory repacking tensor '%s'%s (%llu bytes; the repack option can be "
            "turned off)",
            w->name, size > alone ? " and others" : "", (unsigned long long)size);
    block->next = net->packed;
    net->packed = block;
    uint8_t *begin =
        block->bytes + (PAIR_BYTES - (uintptr_t)block->bytes % PAIR_BYTES) % PAIR_BYTES;
    if (single)
        w->room = begin;
    else
        take_room(net, w->index, begin);
    return SM_OK;
}

/* Thread 0 takes the lock and the next piece; without one the lock is free again. */
static void take_piece(sm_net *net, const sm_worker *w, uint32_t first, uint32_t end) {
    sm_pass *pass = w->pass;
    const bool cancelled = sm_stopped(w->scratch);
    pass->piece = (sm_repack_piece){0};
    if (sm_mutex_is_mine(net->lock)) { /* the allocator asked for room computes with the model */
        pass->repack_status = sm_fail(pass->error, SM_ERR_STATE,
                                      "the model's weights are being repacked by a call that has "
                                      "not returned");
        return;
    }
    sm_mutex_lock(net->lock);
    sm_weight *W = first_unpacked(net, first, end);
    if (cancelled)
        pass->repack_status =
            W ? sm_fail(pass->error, SM_ERR_CANCELLED, "cancelled while repacking '%s'", W->name)
              : sm_fail(pass->error, SM_ERR_CANCELLED, "cancelled");
    else if (W)
        pass->repack_status = make_room(net, W, pass->error);
    if (!W || pass->repack_status) {
        sm_mutex_unlock(net->lock);
        return;
    }
    const uint64_t step = RELEASE_BYTES / (SM_GROUP * W->row_bytes);
    pass->piece = (sm_repack_piece){W, W->room_groups,
                                    min_u64(W->room_groups + (step ? step : 1), n_groups(W))};
}

/* Thread 0 books the piece, and the matrix if that was its last one, and gives the lock back. */
static void book_piece(sm_net *net, const sm_repack_piece *piece) {
    sm_weight *w = piece->w;
    const uint64_t begin = piece->first * SM_GROUP, end = min_u64(piece->end * SM_GROUP, w->rows);
    /* the file's copy is not read again, unless as the embedding table of a tied head or by
     * sm_net_save: then its rows come back one by one */
    for (uint32_t i = 0; i < net->source->n_files; i++)
        sm_file_release(&net->source->files[i], w->data + begin * w->row_bytes,
                        (end - begin) * w->row_bytes);
    w->room_groups = piece->end;
    atomic_fetch_add_explicit(&net->packed_bytes, (piece->end - piece->first) * w->group_bytes,
                              memory_order_relaxed);
    if (piece->end == n_groups(w)) {
        w->packed = w->room;
        atomic_fetch_sub_explicit(unpacked(net, w), 1, memory_order_release);
    }
    sm_mutex_unlock(net->lock);
}

static bool pack_pieces(sm_net *net, const sm_worker *w, uint32_t first, uint32_t end) {
    sm_pass *pass = w->pass;
    const sm_repack_piece *piece = &pass->piece;
    for (;;) {
        if (w->thread == 0)
            take_piece(net, w, first, end);
        sm_team_barrier(w->team);
        if (pass->repack_status)
            return false;
        if (!piece->w)
            return true;
        sm_range share;
        sm_work_share(w, piece->end - piece->first, &share.begin, &share.end);
        share.begin += piece->first;
        share.end += piece->first;
        sm_weight_pack(piece->w, w->kernels, share.begin, share.end,
                       piece->w->room + share.begin * piece->w->group_bytes);
        sm_team_barrier(w->team);
        if (sm_team_torn(w->team)) { /* only a part of the piece is packed */
            sm_mutex_unlock(net->lock);
            pass->repack_status = sm_torn(pass->error);
            return false;
        }
        if (w->thread == 0)
            book_piece(net, piece);
    }
}

bool sm_repack(const sm_worker *w, uint32_t first, uint32_t end) {
    sm_net *net = (sm_net *)(uintptr_t)w->net; /* this is what changes in a net that is in use */
    const uint64_t start = sm_time_ns();
    const bool done = pack_pieces(net, w, first, end);
    if (w->thread == 0 && w->batch->repack_ns)
        *w->batch->repack_ns += sm_time_ns() - start;
    return done;
}
