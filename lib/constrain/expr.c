/* expr.c - the table of expressions: equal ones are one, simple ones stand for what is equal to
 * them. */
#include "expr.h"

#include <stdarg.h>
#include <string.h>

/* ---- the grammar (expr.c) ----------------------------------------------------------------- */

sm_expr sm_grammar_nomem(sm_grammar *g) {
    return sm_grammar_fail(g, SM_ERR_NOMEM, "out of memory for a grammar");
}

#define ASK_AFTER (1U << 13)
#define WORK_OF_NODE 32 /* that is made, before the hook is asked again */

static bool ask(sm_grammar *g) {
    g->unasked = 0;
    if (g->status || !sm_hook_ends(g->hook, g->work, 0))
        return !g->status;
    sm_grammar_fail(g, SM_ERR_CANCELLED, "a constraint: cancelled");
    return false;
}

void sm_grammar_ask(sm_grammar *g, const sm_hook *hook) {
    g->hook = hook;
    if (hook)
        ask(g);
}

bool sm_grammar_work(sm_grammar *g, uint64_t steps) {
    g->work += steps;
    g->unasked += steps;
    if (g->unasked > ASK_AFTER && g->hook && !ask(g))
        return false;
    if (g->work <= SM_GRAMMAR_MAX_WORK)
        return true;
    sm_grammar_fail(g, SM_ERR_UNSUPPORTED,
                    "a constraint that takes too long to follow: too many "
                    "alternatives and counts at once");
    return false;
}

bool sm_grammar_reserve(sm_grammar *g, void *items, uint64_t *room, uint64_t need, uint64_t size) {
    if (need <= *room)
        return true;
    const uint64_t wanted = max_u64(need, *room + *room / 2 + 64);
    void **at = items;
    void *grown = sm_realloc(g->mem, *at, wanted * size);
    if (!grown) {
        sm_grammar_nomem(g);
        return false;
    }
    *at = grown;
    *room = wanted;
    return true;
}

/* Twice the slots where half are used: *old is then the old ones, to be put in again and freed. */
bool sm_hash_reserve(sm_grammar *g, sm_hash *hash, uint32_t **old, uint32_t *old_mask) {
    *old = NULL;
    *old_mask = 0;
    if (hash->slots && hash->used < (hash->mask >> 1))
        return true;
    const uint32_t size = hash->slots ? (hash->mask + 1) * 2 : 256;
    uint32_t *slots = sm_alloc_zero(g->mem, (uint64_t)size * sizeof *slots);
    if (!slots) {
        sm_grammar_nomem(g);
        return false;
    }
    *old = hash->slots;
    *old_mask = hash->mask;
    hash->slots = slots;
    hash->mask = size - 1;
    return true;
}

sm_status sm_grammar_status(const sm_grammar *g, sm_error *error) {
    if (g->status && error)
        *error = g->error;
    return g->status;
}

sm_mem *sm_grammar_mem(sm_grammar *g) {
    return g->mem;
}

sm_expr sm_grammar_fail(sm_grammar *g, sm_status status, const char *format, ...) {
    if (g->status)
        return SM_EXPR_NONE;
    va_list args;
    va_start(args, format);
    g->status = sm_fail_args(&g->error, status, format, args);
    va_end(args);
    return SM_EXPR_NONE;
}

void sm_grammar_allow_left(sm_grammar *g) {
    g->allow_left = true;
}

void sm_grammar_root(sm_grammar *g, sm_expr e) {
    if (e != SM_EXPR_NONE)
        g->root = e;
}

/* ---- nodes (expr.c) ------------------------------------------------------------------------ */

static uint64_t node_key(const sm_grammar *g, const sm_node *n) {
    uint64_t h = sm_mix64(n->kind);
    if (n->kind == SM_NODE_ALT || n->kind == SM_NODE_AND) {
        for (uint32_t i = 0; i < n->b; i++)
            h = sm_mix64(h ^ g->list[n->a + i]);
        return h;
    }
    h = sm_mix64(h ^ ((uint64_t)n->a << 32 | n->b));
    return n->kind == SM_NODE_REPEAT ? sm_mix64(h ^ ((uint64_t)n->min << 32 | n->max)) : h;
}

static bool node_equal(const sm_grammar *g, const sm_node *m, const sm_node *n) {
    if (m->kind != n->kind || m->b != n->b || m->min != n->min || m->max != n->max)
        return false;
    if (m->kind == SM_NODE_ALT || m->kind == SM_NODE_AND)
        return !memcmp(g->list + m->a, g->list + n->a, m->b * sizeof *g->list);
    return m->a == n->a;
}

static void node_put(sm_grammar *g, uint32_t i) {
    uint32_t at = (uint32_t)node_key(g, &g->nodes[i]) & g->node_hash.mask;
    while (g->node_hash.slots[at])
        at = (at + 1) & g->node_hash.mask;
    g->node_hash.slots[at] = i + 1;
}

static bool nodes_rehash(sm_grammar *g) {
    uint32_t *old, mask;
    if (!sm_hash_reserve(g, &g->node_hash, &old, &mask))
        return false;
    for (uint32_t i = 0; old && i <= mask; i++)
        if (old[i])
            node_put(g, old[i] - 1);
    sm_free(g->mem, old);
    return true;
}

/* The number of a node; where its list is the newest one and the node is not, that is taken
 * back. */
static sm_expr node_find(sm_grammar *g, const sm_node *n) {
    const bool listed = n->kind == SM_NODE_ALT || n->kind == SM_NODE_AND;
    if (!nodes_rehash(g))
        return SM_EXPR_NONE;
    uint32_t at = (uint32_t)node_key(g, n) & g->node_hash.mask;
    for (; g->node_hash.slots[at]; at = (at + 1) & g->node_hash.mask) {
        const uint32_t i = g->node_hash.slots[at] - 1;
        if (!node_equal(g, &g->nodes[i], n))
            continue;
        if (listed)
            g->n_list = n->a;
        return i;
    }
    if (g->n_nodes == SM_GRAMMAR_MAX_EXPRS)
        return sm_grammar_fail(g, SM_ERR_UNSUPPORTED, "more than %u expressions",
                               SM_GRAMMAR_MAX_EXPRS);
    if (n->depth > SM_GRAMMAR_MAX_DEPTH)
        return sm_grammar_fail(g, SM_ERR_UNSUPPORTED, "more than %u expressions inside each other",
                               SM_GRAMMAR_MAX_DEPTH);
    g->unasked += WORK_OF_NODE;
    if ((g->unasked > ASK_AFTER && g->hook && !ask(g)) ||
        !sm_grammar_reserve(g, &g->nodes, &g->nodes_room, g->n_nodes + 1, sizeof *g->nodes))
        return SM_EXPR_NONE;
    g->nodes[g->n_nodes] = *n;
    g->node_hash.slots[at] = (uint32_t)++g->n_nodes;
    g->node_hash.used++;
    return (sm_expr)(g->n_nodes - 1);
}

#define INHERITED (SM_HAS_RULE | SM_HAS_BOOLEAN)

/* ---- sets of bytes (expr.c) ----------------------------------------------------------------- */

static uint64_t set_key(const uint64_t set[4]) {
    return sm_mix64(sm_mix64(sm_mix64(sm_mix64(set[0]) ^ set[1]) ^ set[2]) ^ set[3]);
}

static bool sets_rehash(sm_grammar *g) {
    uint32_t *old, mask;
    if (!sm_hash_reserve(g, &g->set_hash, &old, &mask))
        return false;
    for (uint32_t i = 0; old && i <= mask; i++) {
        if (!old[i])
            continue;
        uint32_t at = (uint32_t)set_key(g->sets[old[i] - 1]) & g->set_hash.mask;
        while (g->set_hash.slots[at])
            at = (at + 1) & g->set_hash.mask;
        g->set_hash.slots[at] = old[i];
    }
    sm_free(g->mem, old);
    return true;
}

static uint32_t set_find(sm_grammar *g, const uint64_t set[4]) {
    if (!sets_rehash(g))
        return SM_EXPR_NONE;
    uint32_t at = (uint32_t)set_key(set) & g->set_hash.mask;
    for (; g->set_hash.slots[at]; at = (at + 1) & g->set_hash.mask)
        if (!memcmp(g->sets[g->set_hash.slots[at] - 1], set, sizeof g->sets[0]))
            return g->set_hash.slots[at] - 1;
    if (!sm_grammar_reserve(g, &g->sets, &g->sets_room, g->n_sets + 1, sizeof *g->sets))
        return SM_EXPR_NONE;
    memcpy(g->sets[g->n_sets], set, sizeof g->sets[0]);
    g->set_hash.slots[at] = (uint32_t)++g->n_sets;
    g->set_hash.used++;
    return (uint32_t)g->n_sets - 1;
}

sm_expr sm_expr_byte(sm_grammar *g, const uint64_t set[4]) {
    if (g->status)
        return SM_EXPR_NONE;
    if (!(set[0] | set[1] | set[2] | set[3]))
        return SM_NOTHING;
    const uint32_t number = set_find(g, set);
    return number == SM_EXPR_NONE ? number
                                  : node_find(g, &(sm_node){.kind = SM_NODE_SET, .a = number});
}

/* ---- small builders (expr.c) ----------------------------------------------------------------- */

sm_expr sm_expr_nothing(sm_grammar *g) {
    return g->status ? SM_EXPR_NONE : SM_NOTHING;
}

sm_expr sm_expr_empty(sm_grammar *g) {
    return g->status ? SM_EXPR_NONE : SM_EMPTY;
}

sm_expr sm_expr_any_text(sm_grammar *g) {
    return g->status ? SM_EXPR_NONE : g->any_text;
}

static bool usable(sm_grammar *g, sm_expr e) {
    return !g->status && e < g->n_nodes;
}

/* a then b where a is no sequence, or one that stays as it is. */
static sm_expr pair(sm_grammar *g, sm_expr a, sm_expr b) {
    const sm_node *x = &g->nodes[a], *y = &g->nodes[b];
    const uint16_t depth = (uint16_t)(x->depth + 1 > y->depth ? x->depth + 1 : y->depth);
    const uint16_t rest = y->kind == SM_NODE_SEQ ? y->spine : 1;
    return node_find(g, &(sm_node){.kind = SM_NODE_SEQ,
                                   .flags = (uint8_t)(((x->flags | y->flags) & INHERITED) |
                                                      (x->flags & y->flags & SM_HAS_EMPTY)),
                                   .depth = depth,
                                   .spine = (uint16_t)(rest < UINT16_MAX ? rest + 1 : rest),
                                   .a = a,
                                   .b = b});
}

sm_expr sm_expr_seq2(sm_grammar *g, sm_expr a, sm_expr b) {
    if (!usable(g, a) || !usable(g, b))
        return SM_EXPR_NONE;
    if (a == SM_NOTHING || b == SM_NOTHING)
        return SM_NOTHING;
    if (a == SM_EMPTY)
        return b;
    if (b == SM_EMPTY)
        return a;
    if (a == SM_ANY_BYTES && b == SM_ANY_BYTES)
        return a;
    if (g->nodes[a].kind != SM_NODE_SEQ || g->nodes[a].spine > SM_MAX_SPINE)
        return pair(g, a, b);
    sm_expr items[SM_MAX_SPINE + 1];
    uint32_t n = 0;
    for (; g->nodes[a].kind == SM_NODE_SEQ && n < SM_MAX_SPINE; a = g->nodes[a].b)
        items[n++] = g->nodes[a].a;
    items[n++] = a;
    while (n > 0 && b != SM_EXPR_NONE)
        b = pair(g, items[--n], b);
    return b;
}

sm_expr sm_expr_seq3(sm_grammar *g, sm_expr a, sm_expr b, sm_expr c) {
    return sm_expr_seq2(g, a, sm_expr_seq2(g, b, c));
}

sm_expr sm_expr_seq(sm_grammar *g, const sm_expr *items, uint64_t n) {
    sm_expr e = sm_expr_empty(g);
    while (n > 0 && e != SM_EXPR_NONE)
        e = sm_expr_seq2(g, items[--n], e);
    return e;
}

sm_expr sm_expr_bytes(sm_grammar *g, const void *text, uint64_t n) {
    const uint8_t *bytes = text;
    sm_expr e = sm_expr_empty(g);
    while (n > 0 && e != SM_EXPR_NONE) {
        uint64_t set[4] = {0};
        const uint8_t byte = bytes[--n];
        set[byte / 64] = 1ULL << byte % 64;
        const sm_expr one = sm_expr_byte(g, set);
        e = one == SM_EXPR_NONE ? one : e == SM_EMPTY ? one : pair(g, one, e);
    }
    return e;
}

sm_expr sm_expr_text(sm_grammar *g, const char *text) {
    return sm_expr_bytes(g, text, strlen(text));
}

/* ---- alternatives (expr.c) ------------------------------------------------------------------- */

static void sift(uint32_t *x, uint64_t n, uint64_t i) {
    for (;;) {
        uint64_t most = i;
        for (uint64_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (x[child] > x[most])
                most = child;
        if (most == i)
            return;
        const uint32_t swap = x[i];
        x[i] = x[most];
        x[most] = swap;
        i = most;
    }
}

static void sort(uint32_t *x, uint64_t n) {
    if (n < 24) {
        for (uint64_t i = 1; i < n; i++) {
            const uint32_t v = x[i];
            uint64_t at = i;
            for (; at > 0 && x[at - 1] > v; at--)
                x[at] = x[at - 1];
            x[at] = v;
        }
        return;
    }
    for (uint64_t i = n / 2; i-- > 0;)
        sift(x, n, i);
    for (uint64_t end = n - 1; end > 0; end--) {
        const uint32_t swap = x[0];
        x[0] = x[end];
        x[end] = swap;
        sift(x, end, 0);
    }
}

static uint64_t sort_unique(uint32_t *x, uint64_t n) {
    uint64_t kept = 0;
    sort(x, n);
    for (uint64_t i = 0; i < n; i++)
        if (!kept || x[kept - 1] != x[i])
            x[kept++] = x[i];
    return kept;
}

/* The members of a node of that kind, others as they are, behind each other in g->scratch. */
static bool gather(sm_grammar *g, uint8_t kind, const sm_expr *items, uint64_t n, uint64_t *count) {
    uint64_t total = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (!usable(g, items[i]))
            return false;
        total += g->nodes[items[i]].kind == kind ? g->nodes[items[i]].b : 1;
    }
    if (!sm_grammar_reserve(g, &g->scratch, &g->scratch_room, total + 2, sizeof *g->scratch))
        return false;
    uint64_t at = 0;
    for (uint64_t i = 0; i < n; i++) {
        const sm_node *node = &g->nodes[items[i]];
        if (node->kind == kind) {
            memcpy(g->scratch + at, g->list + node->a, node->b * sizeof *g->scratch);
            at += node->b;
        } else {
            g->scratch[at++] = items[i];
        }
    }
    *count = sort_unique(g->scratch, at);
    return true;
}

/* All sets among the sorted members become one: the union, or what they share (both). */
static bool join_sets(sm_grammar *g, bool both, uint64_t *n) {
    uint64_t set[4] = {0}, sets = 0, kept = 0;
    for (uint64_t i = 0; i < *n; i++) {
        const sm_node *node = &g->nodes[g->scratch[i]];
        if (node->kind != SM_NODE_SET)
            continue;
        for (int k = 0; k < 4; k++) {
            const uint64_t other = g->sets[node->a][k];
            set[k] = !sets ? other : both ? set[k] & other : set[k] | other;
        }
        sets++;
    }
    if (sets < 2)
        return true;
    for (uint64_t i = 0; i < *n; i++)
        if (g->nodes[g->scratch[i]].kind != SM_NODE_SET)
            g->scratch[kept++] = g->scratch[i];
    const sm_expr joined = sm_expr_byte(g, set);
    if (joined == SM_EXPR_NONE)
        return false;
    g->scratch[kept++] = joined;
    *n = sort_unique(g->scratch, kept);
    return true;
}

/* A member that is a repetition and what follows it: body{min,max} rest. */
struct sm_run {
    sm_expr body, rest;
    uint32_t min, max;
    sm_expr whole; /* SM_EXPR_NONE: of several members */
};

static bool as_run(const sm_grammar *g, sm_expr e, sm_run *r) {
    const sm_node *n = &g->nodes[e];
    r->whole = e;
    r->rest = SM_EMPTY;
    if (n->kind == SM_NODE_SEQ) {
        r->rest = n->b;
        n = &g->nodes[n->a];
    }
    if (n->kind != SM_NODE_REPEAT)
        return false;
    r->body = n->a;
    r->min = n->min;
    r->max = n->max;
    return true;
}

static bool run_before(const sm_run *a, const sm_run *b) {
    if (a->body != b->body)
        return a->body < b->body;
    return a->rest != b->rest ? a->rest < b->rest : a->min < b->min;
}

static void sort_runs(sm_run *x, uint64_t n) {
    for (uint64_t gap = n / 2; gap > 0; gap /= 2)
        for (uint64_t i = gap; i < n; i++)
            for (uint64_t j = i; j >= gap && run_before(&x[j], &x[j - gap]); j -= gap) {
                const sm_run swap = x[j];
                x[j] = x[j - gap];
                x[j - gap] = swap;
            }
}

/* Sorted runs of which neighbours that differ in how often only are one; how many are left. */
static uint64_t join_sorted(sm_run *x, uint64_t n) {
    uint64_t kept = 0;
    for (uint64_t i = 0; i < n; i++) {
        sm_run *last = kept ? &x[kept - 1] : NULL;
        if (last && last->body == x[i].body && last->rest == x[i].rest &&
            (last->max == SM_FOREVER || x[i].min <= last->max + 1)) {
            last->max = last->max > x[i].max ? last->max : x[i].max;
            last->whole = SM_EXPR_NONE;
        } else {
            x[kept++] = x[i];
        }
    }
    return kept;
}

/* What is made has two members at most, in a scratch of its own. */
static sm_expr whole_run(sm_grammar *g, const sm_run *r) {
    if (r->whole != SM_EXPR_NONE)
        return r->whole;
    uint32_t *mine = g->scratch;
    const uint64_t room = g->scratch_room;
    g->scratch = NULL;
    g->scratch_room = 0;
    const sm_expr e = sm_expr_seq2(g, sm_expr_repeat(g, r->body, r->min, r->max), r->rest);
    sm_free(g->mem, g->scratch);
    g->scratch = mine;
    g->scratch_room = room;
    return e;
}

/* Members that differ in how often the same is repeated become one: without this, what follows one
 * counted repetition by another would have as many members as there are counts. */
static bool join_runs(sm_grammar *g, uint64_t *n) {
    uint64_t n_runs = 0, kept = 0;
    sm_run one;
    for (uint64_t i = 0; i < *n; i++)
        n_runs += as_run(g, g->scratch[i], &one);
    if (n_runs < 2)
        return true;
    if (!sm_grammar_reserve(g, &g->runs, &g->runs_room, n_runs, sizeof *g->runs))
        return false;
    n_runs = 0;
    for (uint64_t i = 0; i < *n; i++)
        if (as_run(g, g->scratch[i], &one))
            g->runs[n_runs++] = one;
        else
            g->scratch[kept++] = g->scratch[i];
    sort_runs(g->runs, n_runs);
    n_runs = join_sorted(g->runs, n_runs);
    sm_run *mine = g->runs; /* making one may come back here */
    const uint64_t room = g->runs_room;
    g->runs = NULL;
    g->runs_room = 0;
    for (uint64_t i = 0; i < n_runs; i++) {
        const sm_expr e = whole_run(g, &mine[i]);
        if (e != SM_EXPR_NONE)
            g->scratch[kept++] = e;
    }
    sm_free(g->mem, g->runs);
    g->runs = mine;
    g->runs_room = room;
    *n = sort_unique(g->scratch, kept);
    return !g->status;
}

/* A node with the members in g->scratch. */
static sm_expr list_node(sm_grammar *g, uint8_t kind, uint64_t n) {
    if (!sm_grammar_reserve(g, &g->list, &g->list_room, g->n_list + n, sizeof *g->list))
        return SM_EXPR_NONE;
    sm_node node = {.kind = kind,
                    .flags = kind == SM_NODE_AND ? SM_HAS_EMPTY | SM_HAS_BOOLEAN : 0,
                    .a = (uint32_t)g->n_list,
                    .b = (uint32_t)n};
    if (!sm_grammar_work(g, n))
        return SM_EXPR_NONE;
    memcpy(g->list + g->n_list, g->scratch, n * sizeof *g->list);
    g->n_list += n;
    for (uint64_t i = 0; i < n; i++) {
        const sm_node *item = &g->nodes[g->scratch[i]];
        node.flags |= item->flags & INHERITED;
        if (kind == SM_NODE_ALT)
            node.flags |= item->flags & SM_HAS_EMPTY;
        else if (!(item->flags & SM_HAS_EMPTY))
            node.flags &= (uint8_t)~SM_HAS_EMPTY;
        if (item->depth + 1 > node.depth)
            node.depth = (uint16_t)(item->depth + 1);
    }
    return node_find(g, &node);
}

/* The empty text says nothing beside a member that matches it; nothing never does. */
static uint64_t drop_idle(sm_grammar *g, uint64_t n) {
    bool other = false;
    for (uint64_t i = 0; i < n; i++)
        other |= g->scratch[i] != SM_EMPTY && sm_expr_has_empty(g, g->scratch[i]);
    uint64_t kept = 0;
    for (uint64_t i = 0; i < n; i++)
        if (g->scratch[i] != SM_NOTHING && !(other && g->scratch[i] == SM_EMPTY))
            g->scratch[kept++] = g->scratch[i];
    return kept;
}

static bool scratch_has(const sm_grammar *g, uint64_t n, sm_expr e) {
    for (uint64_t i = 0; i < n; i++)
        if (g->scratch[i] == e)
            return true;
    return false;
}

sm_expr sm_expr_alt(sm_grammar *g, const sm_expr *items, uint64_t n) {
    uint64_t count;
    if (g->status || !gather(g, SM_NODE_ALT, items, n, &count))
        return SM_EXPR_NONE;
    if (scratch_has(g, count, SM_ANY_BYTES))
        return SM_ANY_BYTES;
    if (!join_sets(g, false, &count) || !join_runs(g, &count))
        return SM_EXPR_NONE;
    count = sort_unique(g->scratch, drop_idle(g, count));
    if (count < 2)
        return count ? g->scratch[0] : SM_NOTHING;
    return list_node(g, SM_NODE_ALT, count);
}

sm_expr sm_expr_alt2(sm_grammar *g, sm_expr a, sm_expr b) {
    return sm_expr_alt(g, (sm_expr[]){a, b}, 2);
}

sm_expr sm_expr_optional(sm_grammar *g, sm_expr e) {
    return sm_expr_alt2(g, sm_expr_empty(g), e);
}

/* ---- all of several, and the rest (expr.c) --------------------------------------------------- */

static sm_expr refuse_rule(sm_grammar *g) {
    return sm_grammar_fail(g, SM_ERR_ARGUMENT,
                           "and, not: of what has a rule inside, which is no regular expression");
}

sm_expr sm_expr_and(sm_grammar *g, const sm_expr *items, uint64_t n) {
    uint64_t count;
    if (g->status || !gather(g, SM_NODE_AND, items, n, &count))
        return SM_EXPR_NONE;
    for (uint64_t i = 0; i < count; i++)
        if (g->nodes[g->scratch[i]].flags & SM_HAS_RULE)
            return refuse_rule(g);
    if (!n)
        return g->any_text;
    if (scratch_has(g, count, SM_NOTHING))
        return SM_NOTHING;
    if (!join_sets(g, true, &count))
        return SM_EXPR_NONE;
    if (scratch_has(g, count, SM_NOTHING))
        return SM_NOTHING;
    uint64_t kept = 0;
    bool all_empty = true;
    for (uint64_t i = 0; i < count; i++) {
        all_empty &= sm_expr_has_empty(g, g->scratch[i]);
        if (g->scratch[i] != SM_ANY_BYTES)
            g->scratch[kept++] = g->scratch[i];
    }
    if (scratch_has(g, kept, SM_EMPTY))
        return all_empty ? SM_EMPTY : SM_NOTHING;
    if (kept < 2)
        return kept ? g->scratch[0] : SM_ANY_BYTES;
    return list_node(g, SM_NODE_AND, kept);
}

sm_expr sm_expr_and2(sm_grammar *g, sm_expr a, sm_expr b) {
    return sm_expr_and(g, (sm_expr[]){a, b}, 2);
}

sm_expr sm_expr_other(sm_grammar *g, sm_expr e) {
    if (!usable(g, e))
        return SM_EXPR_NONE;
    const sm_node *n = &g->nodes[e];
    if (n->flags & SM_HAS_RULE)
        return refuse_rule(g);
    if (n->kind == SM_NODE_NOT)
        return n->a;
    if (e == SM_NOTHING)
        return SM_ANY_BYTES;
    if (e == SM_ANY_BYTES)
        return SM_NOTHING;
    return node_find(g, &(sm_node){.kind = SM_NODE_NOT,
                                   .flags = (uint8_t)(SM_HAS_BOOLEAN | (~n->flags & SM_HAS_EMPTY)),
                                   .depth = (uint16_t)(n->depth + 1),
                                   .a = e});
}

sm_expr sm_expr_not(sm_grammar *g, sm_expr e) {
    return sm_expr_and2(g, g->any_text, sm_expr_other(g, e));
}

sm_expr sm_expr_minus(sm_grammar *g, sm_expr a, sm_expr b) {
    return sm_expr_and2(g, a, sm_expr_other(g, b));
}

bool sm_expr_regular(const sm_grammar *g, sm_expr e) {
    return e < g->n_nodes && !(g->nodes[e].flags & SM_HAS_RULE);
}

/* ---- repetition (expr.c) --------------------------------------------------------------------- */

/* Alternatives without the empty one. */
static sm_expr without_empty(sm_grammar *g, sm_expr e) {
    const sm_node *n = &g->nodes[e];
    if (n->kind != SM_NODE_ALT || g->list[n->a] != SM_EMPTY)
        return e;
    if (n->b == 2)
        return g->list[n->a + 1];
    const uint64_t count = n->b - 1;
    if (!sm_grammar_reserve(g, &g->scratch, &g->scratch_room, count, sizeof *g->scratch))
        return SM_EXPR_NONE;
    memcpy(g->scratch, g->list + n->a + 1, count * sizeof *g->scratch);
    return list_node(g, SM_NODE_ALT, count);
}

sm_expr sm_expr_repeat(sm_grammar *g, sm_expr e, uint32_t min, uint32_t max) {
    if (!usable(g, e))
        return SM_EXPR_NONE;
    if (min > max || min == SM_FOREVER)
        return sm_grammar_fail(g, SM_ERR_ARGUMENT, "a repetition of at least %u and at most %u",
                               min, max);
    if (min > SM_GRAMMAR_MAX_REPEAT || (max != SM_FOREVER && max > SM_GRAMMAR_MAX_REPEAT))
        return sm_grammar_fail(g, SM_ERR_UNSUPPORTED, "a repetition of more than %u",
                               SM_GRAMMAR_MAX_REPEAT);
    if (max == 0 || e == SM_EMPTY)
        return SM_EMPTY;
    if (e == SM_NOTHING)
        return min ? SM_NOTHING : SM_EMPTY;
    if (max == 1)
        return min ? e : sm_expr_optional(g, e);
    if (g->nodes[e].flags & SM_HAS_EMPTY)
        min = 0;
    if (min == 0)
        e = without_empty(g, e);
    if (e == SM_EXPR_NONE)
        return e;
    const sm_node *n = &g->nodes[e];
    if (n->kind == SM_NODE_REPEAT && n->max == SM_FOREVER && n->min <= 1)
        return n->min || min ? min ? node_find(g, &(sm_node){.kind = SM_NODE_REPEAT,
                                                             .flags = n->flags & INHERITED,
                                                             .depth = n->depth,
                                                             .a = n->a,
                                                             .min = min,
                                                             .max = SM_FOREVER})
                                   : sm_expr_repeat(g, n->a, 0, SM_FOREVER)
                             : e;
    if (n->kind == SM_NODE_REPEAT && n->min <= 1 && max == SM_FOREVER && min <= 1)
        return sm_expr_repeat(g, n->a, min, max);
    return node_find(
        g, &(sm_node){.kind = SM_NODE_REPEAT,
                      .flags = (uint8_t)((n->flags & INHERITED) | (min == 0 ? SM_HAS_EMPTY : 0)),
                      .depth = (uint16_t)(n->depth + 1),
                      .a = e,
                      .min = min,
                      .max = max});
}

sm_expr sm_expr_list(sm_grammar *g, sm_expr item, sm_expr between, uint32_t min, uint32_t max) {
    if (max == 0)
        return min ? sm_expr_repeat(g, item, min, max) : sm_expr_empty(g);
    const sm_expr rest = sm_expr_repeat(g, sm_expr_seq2(g, between, item), min ? min - 1 : 0,
                                        max == SM_FOREVER ? max : max - 1);
    const sm_expr some = sm_expr_seq2(g, item, rest);
    return min ? some : sm_expr_optional(g, some);
}

/* ---- rules (expr.c) -------------------------------------------------------------------------- */

sm_rule sm_rule_new(sm_grammar *g, const char *name, uint64_t length) {
    if (g->status)
        return SM_EXPR_NONE;
    if (g->n_rules == SM_GRAMMAR_MAX_RULES)
        return sm_grammar_fail(g, SM_ERR_UNSUPPORTED, "more than %u rules", SM_GRAMMAR_MAX_RULES);
    if (!sm_grammar_reserve(g, &g->rules, &g->rules_room, g->n_rules + 1, sizeof *g->rules))
        return SM_EXPR_NONE;
    char *copy = sm_strdup(g->mem, name, length);
    if (!copy)
        return sm_grammar_nomem(g);
    g->rules[g->n_rules] = (sm_rule_entry){copy, SM_EXPR_NONE};
    return (sm_rule)g->n_rules++;
}

sm_expr sm_expr_rule(sm_grammar *g, sm_rule rule) {
    if (g->status || rule >= g->n_rules)
        return SM_EXPR_NONE;
    return node_find(g, &(sm_node){.kind = SM_NODE_RULE, .flags = SM_HAS_RULE, .a = rule});
}

void sm_rule_define(sm_grammar *g, sm_rule rule, sm_expr e) {
    if (g->status || rule >= g->n_rules || e == SM_EXPR_NONE)
        return;
    if (g->rules[rule].body != SM_EXPR_NONE)
        sm_grammar_fail(g, SM_ERR_FORMAT, "rule '%s' is defined twice", g->rules[rule].name);
    else
        g->rules[rule].body = e;
}

/* ---- making and freeing (expr.c) ------------------------------------------------------------- */

static bool make_fixed(sm_grammar *g) {
    static const uint64_t all[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    static const sm_node first[] = {{.kind = SM_NODE_NOTHING},
                                    {.kind = SM_NODE_EMPTY, .flags = SM_HAS_EMPTY}};
    if (!sm_grammar_reserve(g, &g->steps, &g->steps_room, 1, sizeof *g->steps) ||
        node_find(g, &first[0]) != SM_NOTHING || node_find(g, &first[1]) != SM_EMPTY)
        return false;
    g->n_steps = 1;
    /* number 2 is any bytes, made of a set that has to come before: the slot is kept for it */
    g->nodes[g->n_nodes++] = (sm_node){.kind = SM_NODE_NOTHING};
    const sm_expr byte = sm_expr_byte(g, all);
    if (byte == SM_EXPR_NONE)
        return false;
    g->nodes[SM_ANY_BYTES] = (sm_node){
        .kind = SM_NODE_REPEAT, .flags = SM_HAS_EMPTY, .depth = 1, .a = byte, .max = SM_FOREVER};
    node_put(g, SM_ANY_BYTES);
    g->node_hash.used++;
    g->any_text = sm_expr_repeat(g, sm_expr_not_chars(g, NULL, 0), 0, SM_FOREVER);
    return !g->status;
}

sm_status sm_grammar_new(sm_grammar **out, sm_mem *mem, sm_error *error) {
    *out = NULL;
    sm_grammar *g = sm_alloc_zero(mem, sizeof *g);
    if (!g)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a grammar");
    g->mem = mem;
    g->root = SM_EXPR_NONE;
    if (!make_fixed(g)) {
        const sm_status status = sm_grammar_status(g, error);
        sm_grammar_free(g);
        return status;
    }
    *out = g;
    return SM_OK;
}

void sm_grammar_free(sm_grammar *g) {
    if (!g)
        return;
    sm_mem *mem = g->mem;
    for (uint64_t i = 0; i < g->n_rules; i++)
        sm_free(mem, g->rules[i].name);
    void *const blocks[] = {g->nodes,          g->node_hash.slots,
                            g->list,           g->sets,
                            g->set_hash.slots, g->rules,
                            g->shapes,         g->shape_hash.slots,
                            g->steps,          g->targets,
                            g->properties,     g->property_ranges,
                            g->scratch,        g->links,
                            g->queue,          g->mix,
                            g->runs,           g};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        sm_free(mem, blocks[i]);
}
