/* derive.c - what is left of a regular expression after a byte (Brzozowski, "Derivatives of regular
 * expressions", JACM 1964), for all bytes at once, and the questions that are answered by it. */
#include "expr.h"

#include <string.h>

/* ---- shapes (derive.c) ----------------------------------------------------------------------- */

static uint64_t shape_key(const uint8_t cell[256]) {
    uint64_t h = 0, word;
    for (int i = 0; i < 256; i += 8) {
        memcpy(&word, cell + i, 8);
        h = sm_mix64(h ^ word);
    }
    return h;
}

static bool shapes_rehash(sm_grammar *g) {
    uint32_t *old, mask;
    if (!sm_hash_reserve(g, &g->shape_hash, &old, &mask))
        return false;
    for (uint32_t i = 0; old && i <= mask; i++) {
        if (!old[i])
            continue;
        uint32_t at = (uint32_t)shape_key(g->shapes[old[i] - 1].cell) & g->shape_hash.mask;
        while (g->shape_hash.slots[at])
            at = (at + 1) & g->shape_hash.mask;
        g->shape_hash.slots[at] = old[i];
    }
    sm_free(g->mem, old);
    return true;
}

static void order_bytes(sm_shape *shape) {
    uint32_t at = 0;
    for (uint32_t c = 0; c < shape->n; c++) {
        shape->start[c] = (uint16_t)at;
        for (uint32_t b = 0; b < 256; b++)
            if (shape->cell[b] == c)
                shape->bytes[at++] = (uint8_t)b;
    }
    shape->start[shape->n] = 256;
}

uint32_t sm_shape_find(sm_grammar *g, const uint8_t cell[256], uint32_t n) {
    if (!shapes_rehash(g))
        return SM_EXPR_NONE;
    uint32_t at = (uint32_t)shape_key(cell) & g->shape_hash.mask;
    for (; g->shape_hash.slots[at]; at = (at + 1) & g->shape_hash.mask)
        if (!memcmp(g->shapes[g->shape_hash.slots[at] - 1].cell, cell, 256))
            return g->shape_hash.slots[at] - 1;
    if (!sm_grammar_reserve(g, &g->shapes, &g->shapes_room, g->n_shapes + 1, sizeof *g->shapes))
        return SM_EXPR_NONE;
    sm_shape *shape = &g->shapes[g->n_shapes];
    memcpy(shape->cell, cell, 256);
    shape->n = (uint16_t)n;
    order_bytes(shape);
    g->shape_hash.slots[at] = (uint32_t)++g->n_shapes;
    g->shape_hash.used++;
    return (uint32_t)g->n_shapes - 1;
}

/* ---- putting several together (derive.c) ----------------------------------------------------- */

/* Cells so far, each with the list of what may be left after its bytes; a list is a place in
 * g->links: an expression and the place of the next, 0 at the end. */
struct sm_mix {
    uint16_t cell[256];
    uint32_t list[256], size[256];
    sm_expr target[256];
    uint32_t n, n_links;
    /* of one mix_add: bytes of each cell that it takes, and where those go */
    uint32_t taken[256];
    uint16_t moved[256], touched[256];
};

static sm_mix *mix_start(sm_grammar *g) {
    sm_mix *m = g->mix;
    if (!m)
        m = g->mix = sm_alloc_zero(g->mem, sizeof *m);
    if (!m) {
        sm_grammar_nomem(g);
        return NULL;
    }
    memset(m->cell, 0, sizeof m->cell);
    m->list[0] = 0;
    m->size[0] = 256;
    m->n = m->n_links = 1;
    return m;
}

static bool mix_link(sm_grammar *g, sm_mix *m, uint32_t cell, uint32_t before, sm_expr e) {
    if (!sm_grammar_reserve(g, &g->links, &g->links_room, 2ULL * m->n_links + 2, sizeof *g->links))
        return false;
    g->links[2 * m->n_links] = e;
    g->links[2 * m->n_links + 1] = before;
    m->list[cell] = m->n_links++;
    return true;
}

/* Adds e to what is left after these bytes. */
static bool mix_add(sm_grammar *g, sm_mix *m, const uint8_t *bytes, uint32_t n, sm_expr e) {
    uint32_t n_touched = 0;
    if (!sm_grammar_work(g, 8 + n))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const uint16_t old = m->cell[bytes[i]];
        if (!m->taken[old]++)
            m->touched[n_touched++] = old;
    }
    bool sound = true;
    for (uint32_t i = 0; i < n_touched; i++) {
        const uint16_t old = m->touched[i];
        uint16_t to = old;
        if (m->taken[old] < m->size[old]) { /* no cell is empty: there are 256 at most */
            to = (uint16_t)m->n++;
            m->size[to] = m->taken[old];
            m->size[old] -= m->taken[old];
        }
        m->taken[old] = 0;
        m->moved[old] = to;
        sound = sound && mix_link(g, m, to, m->list[old], e);
    }
    for (uint32_t i = 0; i < n; i++)
        m->cell[bytes[i]] = m->moved[m->cell[bytes[i]]];
    return sound;
}

/* What is left after the bytes of one cell: any of its list, or all of it. */
static sm_expr mix_target(sm_grammar *g, sm_mix *m, uint32_t cell, bool all) {
    uint64_t n = 0, from = 2ULL * m->n_links;
    for (uint32_t at = m->list[cell]; at; at = g->links[2 * at + 1])
        n++;
    if (!sm_grammar_reserve(g, &g->links, &g->links_room, from + n, sizeof *g->links))
        return SM_EXPR_NONE;
    n = 0;
    for (uint32_t at = m->list[cell]; at; at = g->links[2 * at + 1])
        g->links[from + n++] = g->links[2 * at];
    const sm_expr *items = g->links + from;
    return n == 1 ? items[0] : all ? sm_expr_and(g, items, n) : sm_expr_alt(g, items, n);
}

/* Keeps the cells, those with the same target joined, as the derivatives of e. */
static bool mix_finish(sm_grammar *g, const sm_mix *m, sm_expr e) {
    uint8_t cell[256], number[256];
    bool seen[256] = {false};
    uint32_t n = 0;
    if (!sm_grammar_reserve(g, &g->targets, &g->targets_room, g->n_targets + 256,
                            sizeof *g->targets) ||
        !sm_grammar_reserve(g, &g->steps, &g->steps_room, g->n_steps + 1, sizeof *g->steps))
        return false;
    sm_expr *targets = g->targets + g->n_targets;
    for (uint32_t b = 0; b < 256; b++) {
        const uint32_t c = m->cell[b];
        if (!seen[c]) {
            uint32_t i = 0;
            while (i < n && targets[i] != m->target[c])
                i++;
            targets[i] = m->target[c];
            n += i == n;
            seen[c] = true;
            number[c] = (uint8_t)i;
        }
        cell[b] = number[c];
    }
    const uint32_t shape = sm_shape_find(g, cell, n);
    if (shape == SM_EXPR_NONE)
        return false;
    if (g->n_targets + n > UINT32_MAX / 2) {
        sm_grammar_fail(g, SM_ERR_UNSUPPORTED, "too many states");
        return false;
    }
    g->steps[g->n_steps] = (sm_step){shape, (uint32_t)g->n_targets};
    g->n_targets += n;
    g->nodes[e].step = (uint32_t)g->n_steps++;
    return true;
}

/* ---- derivatives (derive.c) ------------------------------------------------------------------ */

/* The cells of a child's derivatives, before what is done to each. */
static sm_mix *mix_copy(sm_grammar *g, sm_step step) {
    sm_mix *m = mix_start(g);
    if (!m)
        return NULL;
    const sm_shape *shape = &g->shapes[step.shape];
    for (uint32_t b = 0; b < 256; b++)
        m->cell[b] = shape->cell[b];
    m->n = shape->n;
    return m;
}

/* Keeps a child's cells, if what is left is different after each; *kept: whether it was. */
static bool keep_cells(sm_grammar *g, const sm_mix *m, uint32_t shape, sm_expr e, bool *kept) {
    *kept = m->n <= 8;
    for (uint32_t c = 1; c < m->n && *kept; c++)
        for (uint32_t d = 0; d < c; d++)
            *kept = *kept && m->target[c] != m->target[d];
    if (!*kept)
        return true;
    if (!sm_grammar_reserve(g, &g->targets, &g->targets_room, g->n_targets + m->n,
                            sizeof *g->targets) ||
        !sm_grammar_reserve(g, &g->steps, &g->steps_room, g->n_steps + 1, sizeof *g->steps))
        return false;
    if (g->n_targets > UINT32_MAX / 2) {
        *kept = false; /* mix_finish says so */
        return true;
    }
    memcpy(g->targets + g->n_targets, m->target, m->n * sizeof *m->target);
    g->steps[g->n_steps] = (sm_step){shape, (uint32_t)g->n_targets};
    g->n_targets += m->n;
    g->nodes[e].step = (uint32_t)g->n_steps++;
    return true;
}

/* Of a child's: each followed by rest, or the rest of all bytes (SM_EXPR_NONE). */
static bool map_step(sm_grammar *g, sm_expr e, sm_expr child, sm_expr rest) {
    const sm_step step = g->steps[g->nodes[child].step];
    sm_mix *m = mix_copy(g, step);
    if (!m)
        return false;
    for (uint32_t c = 0; c < m->n; c++) {
        const sm_expr t = g->targets[step.at + c];
        m->target[c] = rest == SM_EXPR_NONE ? sm_expr_other(g, t) : sm_expr_seq2(g, t, rest);
        if (m->target[c] == SM_EXPR_NONE)
            return false;
    }
    bool kept;
    return keep_cells(g, m, step.shape, e, &kept) && (kept || mix_finish(g, m, e));
}

/* Adds a child's derivatives, each followed by rest; with all, those that match nothing as well. */
static bool add_step(sm_grammar *g, sm_mix *m, sm_expr child, sm_expr rest, bool all) {
    const sm_step step = g->steps[g->nodes[child].step];
    const uint32_t n = g->shapes[step.shape].n;
    for (uint32_t c = 0; c < n; c++) {
        const sm_expr t = g->targets[step.at + c];
        if (t == SM_NOTHING && !all)
            continue;
        const sm_expr left = sm_expr_seq2(g, t, rest);
        const sm_shape *shape = &g->shapes[step.shape];
        if (left == SM_EXPR_NONE ||
            !mix_add(g, m, shape->bytes + shape->start[c],
                     (uint32_t)(shape->start[c + 1] - shape->start[c]), left))
            return false;
    }
    return true;
}

static bool mix_all(sm_grammar *g, sm_mix *m, sm_expr e, bool all) {
    for (uint32_t c = 0; c < m->n; c++) {
        m->target[c] = m->list[c] ? mix_target(g, m, c, all) : SM_NOTHING;
        if (m->target[c] == SM_EXPR_NONE)
            return false;
    }
    return mix_finish(g, m, e);
}

static bool step_set(sm_grammar *g, sm_expr e) {
    sm_mix *m = mix_start(g);
    if (!m)
        return false;
    const uint64_t *set = g->sets[g->nodes[e].a];
    for (uint32_t b = 0; b < 256; b++)
        m->cell[b] = set[b / 64] >> b % 64 & 1;
    m->target[0] = SM_NOTHING;
    m->target[1] = SM_EMPTY;
    return mix_finish(g, m, e);
}

static bool step_seq(sm_grammar *g, sm_expr e) {
    const sm_node *node = &g->nodes[e];
    if (!sm_expr_has_empty(g, node->a))
        return map_step(g, e, node->a, node->b);
    sm_mix *m = mix_start(g);
    if (!m)
        return false;
    sm_expr at = e;
    for (; g->nodes[at].kind == SM_NODE_SEQ; at = g->nodes[at].b) {
        if (!add_step(g, m, g->nodes[at].a, g->nodes[at].b, false))
            return false;
        if (!sm_expr_has_empty(g, g->nodes[at].a))
            return mix_all(g, m, e, false);
    }
    return add_step(g, m, at, SM_EMPTY, false) && mix_all(g, m, e, false);
}

static bool step_list(sm_grammar *g, sm_expr e, bool all) {
    sm_mix *m = mix_start(g);
    const uint32_t n = g->nodes[e].b;
    for (uint32_t i = 0; m && i < n; i++)
        if (!add_step(g, m, g->list[g->nodes[e].a + i], SM_EMPTY, all))
            return false;
    return m && mix_all(g, m, e, all);
}

static bool step_repeat(sm_grammar *g, sm_expr e) {
    const sm_node n = g->nodes[e];
    const sm_expr rest =
        sm_expr_repeat(g, n.a, n.min ? n.min - 1 : 0, n.max == SM_FOREVER ? n.max : n.max - 1);
    return rest != SM_EXPR_NONE && map_step(g, e, n.a, rest);
}

static bool make_step(sm_grammar *g, sm_expr e) {
    switch (g->nodes[e].kind) {
    case SM_NODE_SET:
        return step_set(g, e);
    case SM_NODE_SEQ:
        return step_seq(g, e);
    case SM_NODE_ALT:
        return step_list(g, e, false);
    case SM_NODE_AND:
        return step_list(g, e, true);
    case SM_NODE_NOT:
        return map_step(g, e, g->nodes[e].a, SM_EXPR_NONE);
    case SM_NODE_REPEAT:
        return step_repeat(g, e);
    default: { /* nothing is left of nothing and of the empty text */
        sm_mix *m = mix_start(g);
        if (m)
            m->target[0] = SM_NOTHING;
        return m && mix_finish(g, m, e);
    }
    }
}

/* Makes the derivatives of e, after those of what it is made of: as deep as expressions are. */
static bool ensure_step(sm_grammar *g, sm_expr e) {
    if (g->status || e >= g->n_nodes)
        return false;
    if (g->nodes[e].step)
        return true;
    const uint8_t kind = g->nodes[e].kind;
    if (kind == SM_NODE_NOT || kind == SM_NODE_REPEAT) {
        if (!ensure_step(g, g->nodes[e].a))
            return false;
    } else if (kind == SM_NODE_ALT || kind == SM_NODE_AND) {
        for (uint32_t i = 0; i < g->nodes[e].b; i++)
            if (!ensure_step(g, g->list[g->nodes[e].a + i]))
                return false;
    } else if (kind == SM_NODE_SEQ) {
        sm_expr at = e;
        for (; g->nodes[at].kind == SM_NODE_SEQ; at = g->nodes[at].b) {
            if (!ensure_step(g, g->nodes[at].a))
                return false;
            if (!sm_expr_has_empty(g, g->nodes[at].a))
                break;
        }
        if (g->nodes[at].kind != SM_NODE_SEQ && !ensure_step(g, at))
            return false;
    } else if (kind == SM_NODE_RULE) {
        sm_grammar_fail(g, SM_ERR_ARGUMENT, "a rule inside a regular expression");
        return false;
    }
    return make_step(g, e);
}

bool sm_expr_step(sm_grammar *g, sm_expr e, sm_step *step) {
    if (!ensure_step(g, e))
        return false;
    *step = g->steps[g->nodes[e].step];
    return true;
}

/* ---- what matches something (derive.c) ------------------------------------------------------- */

static bool is_live(sm_grammar *g, sm_expr e, uint32_t nested);

static bool mark(sm_grammar *g, sm_expr e, bool live) {
    g->nodes[e].flags |= live ? SM_IS_LIVE : SM_IS_DEAD;
    return live;
}

static bool queue_put(sm_grammar *g, uint64_t *end, sm_expr e, uint64_t whence) {
    if (*end >= SM_GRAMMAR_MAX_STEPS) {
        sm_grammar_fail(
            g, SM_ERR_UNSUPPORTED,
            "whether what 'and' and 'not' leave matches anything takes more than %u states",
            (uint32_t)SM_GRAMMAR_MAX_STEPS);
        return false;
    }
    if (!sm_grammar_reserve(g, &g->queue, &g->queue_room, 2 * *end + 2, sizeof *g->queue))
        return false;
    g->queue[2 * *end] = e;
    g->queue[2 * *end + 1] = (uint32_t)whence;
    ++*end;
    return true;
}

/* Whether a state that was reached answers the question: 1 yes, 0 no, -1 it has to be looked
 * into. */
static int judge(sm_grammar *g, sm_expr e, uint32_t nested) {
    const sm_node *n = &g->nodes[e];
    if (n->flags & (SM_IS_LIVE | SM_HAS_EMPTY))
        return 1;
    if (n->flags & SM_IS_DEAD)
        return 0;
    if (n->kind == SM_NODE_AND || n->kind == SM_NODE_NOT)
        return -1;
    return is_live(g, e, nested + 1);
}

/* Breadth first, as long as nothing is found; what led there is live, or all that was seen dead. */
static bool search(sm_grammar *g, sm_expr e, uint32_t nested) {
    const uint64_t begin = g->queue_used;
    uint64_t end = begin;
    const uint32_t epoch = ++g->epoch;
    g->nodes[e].mark = epoch;
    bool found = false, sound = queue_put(g, &end, e, UINT32_MAX);
    uint64_t at = begin;
    for (; sound && !found && at < end; at++) {
        sm_step step;
        if (!(sound = sm_expr_step(g, g->queue[2 * at], &step)))
            break;
        const uint32_t n = g->shapes[step.shape].n;
        for (uint32_t c = 0; sound && !found && c < n; c++) {
            const sm_expr t = g->targets[step.at + c];
            g->queue_used = end;
            const int known = judge(g, t, nested);
            found = known == 1;
            if (known != -1 || g->nodes[t].mark == epoch)
                continue;
            g->nodes[t].mark = epoch;
            sound = queue_put(g, &end, t, at);
        }
        if (found)
            break;
    }
    g->queue_used = begin;
    if (!sound || g->status)
        return true;
    if (found)
        for (uint64_t i = at;; i = g->queue[2 * i + 1]) {
            mark(g, g->queue[2 * i], true);
            if (i == begin)
                break;
        }
    else
        for (uint64_t i = begin; i < end; i++)
            mark(g, g->queue[2 * i], false);
    return found;
}

static bool list_is_live(sm_grammar *g, sm_expr e, uint32_t nested) {
    for (uint32_t i = 0; i < g->nodes[e].b; i++)
        if (is_live(g, g->list[g->nodes[e].a + i], nested))
            return true;
    return false;
}

static bool seq_is_live(sm_grammar *g, sm_expr e, uint32_t nested) {
    for (; g->nodes[e].kind == SM_NODE_SEQ; e = g->nodes[e].b)
        if (!is_live(g, g->nodes[e].a, nested))
            return false;
    return is_live(g, e, nested);
}

static bool is_live(sm_grammar *g, sm_expr e, uint32_t nested) {
    if (g->status || nested > 2 * SM_GRAMMAR_MAX_DEPTH) {
        sm_grammar_fail(g, SM_ERR_UNSUPPORTED, "'and' and 'not' too deep inside each other");
        return true;
    }
    const sm_node *n = &g->nodes[e];
    if (!(n->flags & SM_HAS_BOOLEAN) || (n->flags & (SM_HAS_EMPTY | SM_IS_LIVE)))
        return e != SM_NOTHING;
    if (n->flags & SM_IS_DEAD)
        return false;
    switch (n->kind) {
    case SM_NODE_SEQ:
        return mark(g, e, seq_is_live(g, e, nested + 1));
    case SM_NODE_ALT:
        return mark(g, e, list_is_live(g, e, nested + 1));
    case SM_NODE_REPEAT:
        return mark(g, e, is_live(g, n->a, nested + 1));
    default:
        return search(g, e, nested);
    }
}

bool sm_expr_is_live(sm_grammar *g, sm_expr e) {
    return is_live(g, e, 0);
}

/* ---- questions (derive.c) -------------------------------------------------------------------- */

static bool askable(sm_grammar *g, sm_expr e) {
    if (g->status || e >= g->n_nodes)
        return false;
    if (g->nodes[e].flags & SM_HAS_RULE)
        sm_grammar_fail(g, SM_ERR_ARGUMENT, "a question about what has a rule inside");
    return !g->status;
}

bool sm_expr_is_empty(sm_grammar *g, sm_expr e) {
    return askable(g, e) && !sm_expr_is_live(g, e) && !g->status;
}

bool sm_expr_matches(sm_grammar *g, sm_expr e, const void *text, uint64_t n) {
    const uint8_t *bytes = text;
    sm_step step;
    if (!askable(g, e))
        return false;
    for (uint64_t i = 0; i < n && e != SM_NOTHING; i++) {
        if (!sm_expr_step(g, e, &step))
            return false;
        e = sm_step_target(g, step, bytes[i]);
    }
    return sm_expr_has_empty(g, e);
}

bool sm_expr_contains(sm_grammar *g, sm_expr all, sm_expr part) {
    return askable(g, all) && askable(g, part) && sm_expr_is_empty(g, sm_expr_minus(g, part, all));
}

/* A text on its way to be listed: what is left of the expression, and its last byte. */
typedef struct prefix {
    sm_expr left;
    uint32_t before; /* UINT32_MAX: the empty text */
    uint32_t length;
    uint8_t byte;
} prefix;

static bool hand_out(sm_grammar *g, const prefix *all, uint32_t i, sm_text_fn each, void *user) {
    if (!each)
        return true;
    const uint32_t n = all[i].length;
    uint8_t *text = sm_alloc(g->mem, (uint64_t)n + 1);
    if (!text) {
        sm_grammar_nomem(g);
        return false;
    }
    for (uint32_t at = n; at > 0; at--, i = all[i].before)
        text[at - 1] = all[i].byte;
    const bool go_on = !each(user, text, n);
    sm_free(g->mem, text);
    return go_on;
}

bool sm_expr_list_texts(sm_grammar *g, sm_expr e, uint32_t most, sm_text_fn each, void *user) {
    if (!askable(g, e) || !sm_expr_is_live(g, e))
        return !g->status;
    prefix *all = NULL;
    uint64_t room = 0, n = 0, level = 0;
    uint32_t found = 0;
    bool sound = sm_grammar_reserve(g, &all, &room, 1, sizeof *all);
    if (sound)
        all[n++] = (prefix){.left = e, .before = UINT32_MAX};
    for (uint64_t i = 0; sound && i < n; i++) {
        if (i == level) { /* each text of this length leads to another one at least */
            level = n;
            if (n - i > most || n > SM_GRAMMAR_MAX_LISTED) {
                sound = false;
                break;
            }
        }
        if (sm_expr_has_empty(g, all[i].left))
            sound = ++found <= most && hand_out(g, all, (uint32_t)i, each, user);
        sm_step step;
        sound = sound && sm_expr_step(g, all[i].left, &step);
        for (uint32_t b = 0; sound && b < 256; b++) {
            const sm_expr left = sm_step_target(g, step, (uint8_t)b);
            if (!sm_expr_is_live(g, left))
                continue;
            sound = !g->status && sm_grammar_reserve(g, &all, &room, n + 1, sizeof *all);
            if (sound)
                all[n++] = (prefix){left, (uint32_t)i, all[i].length + 1, (uint8_t)b};
        }
    }
    sm_free(g->mem, all);
    return sound;
}
