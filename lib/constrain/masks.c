/* masks.c - which tokens may come where a constraint is: by what is known of plain text and of
 * bytes that change nothing, the rest by a walk over the vocabulary. */
#include "constraint.h"

#include <string.h>

/* ---- masks (masks.c) ------------------------------------------------------------------------- */

#define FAR 254             /* as many characters as are told apart */
#define MAX_PLAIN_WORK 4096 /* bytes looked at to find how much that is plain may follow */
#define KNOWN_LOOPS 0x80U   /* in a state's known */
#define MANY_LOOPS 20       /* bytes after which a state is the same, for loop_mask */
#define MANY_AROUND 16      /* states around one */
#define MANY_TWIGS 16       /* for which it is worth while to find loops */

static uint8_t plain_from(sm_machine *m, sm_place at, uint32_t slice, uint32_t left,
                          uint32_t *work);

typedef struct place_set {
    sm_place at[64];
    uint32_t n;
} place_set;

static bool set_put(place_set *set, sm_place at) {
    uint32_t i = 0;
    while (i < set->n && set->at[i] != at)
        i++;
    if (i == 64)
        return false;
    set->at[i] = at;
    set->n += i == set->n;
    return true;
}

/* Where the bytes first..last of a slice lead: false if some may not come, or there is too much to
 * look at. The bytes of a cell lead to the same, so one of each is enough. */
static bool after_bytes(sm_machine *m, sm_place at, uint32_t slice, uint32_t first, uint32_t last,
                        uint32_t *work, place_set *out) {
    uint16_t seen_cell = UINT16_MAX;
    for (uint32_t b = first; b <= last; b++) {
        if (b < 0x80 && !sm_slice_has(slice, b))
            continue;
        const sm_state_entry *e = &m->states[at];
        if (e->shape != SM_PLACE_NONE && m->g->shapes[e->shape].cell[b] == seen_cell)
            continue;
        if (++*work > MAX_PLAIN_WORK)
            return false;
        const sm_place next = sm_machine_next(m, at, (uint8_t)b);
        if (next == SM_PLACE_NONE || next == SM_PLACE_DEAD || !set_put(out, next))
            return false;
        seen_cell = m->g->shapes[m->states[at].shape].cell[b];
    }
    return true;
}

/* Where all characters beyond ASCII lead; likewise. */
static bool after_high(sm_machine *m, sm_place at, uint32_t *work, place_set *out) {
    /* what follows a lead byte: its continuation bytes, all of them, in turn */
    static const struct {
        uint8_t first, last, low, high, more;
    } leads[] = {{0xC2, 0xDF, 0x80, 0xBF, 1}, {0xE0, 0xE0, 0xA0, 0xBF, 2},
                 {0xE1, 0xEC, 0x80, 0xBF, 2}, {0xED, 0xED, 0x80, 0x9F, 2},
                 {0xEE, 0xEF, 0x80, 0xBF, 2}, {0xF0, 0xF0, 0x90, 0xBF, 3},
                 {0xF1, 0xF3, 0x80, 0xBF, 3}, {0xF4, 0xF4, 0x80, 0x8F, 3}};
    for (size_t k = 0; k < sizeof leads / sizeof *leads; k++) {
        place_set layer[2] = {{{at}, 1}, {{0}, 0}};
        uint32_t now = 0;
        for (uint32_t s = 0; s <= leads[k].more; s++, now ^= 1) {
            const uint32_t first = s == 0   ? leads[k].first
                                   : s == 1 ? leads[k].low
                                            : 0x80,
                           last = s == 0   ? leads[k].last
                                  : s == 1 ? leads[k].high
                                           : 0xBF;
            layer[now ^ 1].n = 0;
            for (uint32_t i = 0; i < layer[now].n; i++)
                if (!after_bytes(m, layer[now].at[i], 0, first, last, work, &layer[now ^ 1]))
                    return false;
        }
        for (uint32_t i = 0; i < layer[now].n; i++)
            if (!set_put(out, layer[now].at[i]))
                return false;
    }
    return true;
}

/* The least of what may follow the characters of a slice from here on, 1 for each. */
static bool after_chars(sm_machine *m, sm_place at, uint32_t slice, uint32_t left, uint32_t *work,
                        uint8_t *least) {
    place_set done = {.n = 0};
    if (!after_bytes(m, at, slice, 0, 0x7F, work, &done) || !after_high(m, at, work, &done))
        return false;
    *least = FAR;
    for (uint32_t i = 0; i < done.n && *least; i++) {
        const uint8_t one =
            done.at[i] == at ? FAR : plain_from(m, done.at[i], slice, left - 1, work);
        *least = one < *least ? one : *least;
    }
    return true;
}

/* Texts of so many characters of a slice may follow, whatever they are: a lower bound. */
static uint8_t plain_from(sm_machine *m, sm_place at, uint32_t slice, uint32_t left,
                          uint32_t *work) {
    const sm_state_entry *s = &m->states[at];
    if (s->known >> slice & 1 || s->plain[slice] >= left)
        return s->plain[slice];
    if (!left)
        return 0;
    uint8_t least;
    if (!after_chars(m, at, slice, left, work, &least)) {
        if (*work <= MAX_PLAIN_WORK)
            m->states[at].known |= (uint8_t)(1U << slice); /* it is none, or too much to look at */
        return m->states[at].plain[slice];
    }
    const uint8_t length = least >= FAR ? FAR : (uint8_t)(least + 1);
    m->states[at].plain[slice] = length;
    if (length == FAR || length < left)
        m->states[at].known |= (uint8_t)(1U << slice);
    return length;
}

/* The longest of the lengths that masks are kept for, up to `length`: its place, or none. */
static uint32_t length_index(uint8_t length) {
    uint32_t k = SM_SLICE_LENGTHS;
    while (k > 0 && sm_slice_lengths[k - 1] > length)
        k--;
    return k;
}

static void add_token(const sm_trie *t, uint32_t *bits, int32_t id) {
    for (; id >= 0; id = t->same[id])
        bits[id / 32] |= 1U << id % 32;
}

/* ---- states that many bytes do not change (masks.c) ------------------------------------------ */

/* Groups of which every byte, or whole character, leads back to the state; false: failed. */
static bool find_loops(sm_machine *m, sm_place at) {
    uint32_t loops = SM_GROUP_HIGH - 1, work = 0;
    if (m->states[at].known & KNOWN_LOOPS)
        return true;
    for (uint32_t b = 0; b < 0x80; b++) {
        const sm_place next = sm_machine_next(m, at, (uint8_t)b);
        if (next == SM_PLACE_NONE)
            return false;
        if (next != at)
            loops &= ~(1U << sm_byte_group((uint8_t)b));
    }
    place_set high = {.n = 0};
    if (after_high(m, at, &work, &high) && high.n == 1 && high.at[0] == at)
        loops |= SM_GROUP_HIGH;
    m->states[at].loops = loops;
    m->states[at].known |= KNOWN_LOOPS;
    return !m->g->status;
}

/* Bytes by what they do in a state, the home, that most bytes of the start lead to and many do not
 * change; it may be the start. And the states around it that those bytes, and others as good, do
 * not lead out of: such as where a word that a pattern asks for has been. */
typedef struct loop_view {
    sm_place start, home;
    place_set around;
    uint32_t n_loops;
    uint32_t special; /* groups with bytes that lead out, and not nowhere */
    bool loops[128];  /* stay around */
    bool first[256];  /* of a start: lead where they lead in the home */
} loop_view;

/* Where most of ASCII leads. */
static sm_place find_home(sm_machine *m, sm_place start) {
    sm_place home = SM_PLACE_DEAD;
    uint32_t votes = 0;
    for (uint32_t b = 0; b < 0x80; b++) {
        const sm_place next = sm_machine_next(m, start, (uint8_t)b);
        if (next == SM_PLACE_DEAD)
            continue;
        if (!votes)
            home = next;
        votes = next == home ? votes + 1 : votes - 1;
    }
    return home;
}

/* Whether all bytes that loop at home may come there. */
static bool takes_loops(sm_machine *m, sm_place at, const loop_view *v) {
    for (uint32_t b = 0; b < 0x80; b++)
        if (v->loops[b] && sm_machine_next(m, at, (uint8_t)b) == SM_PLACE_DEAD)
            return false;
    return true;
}

/* Takes in other bytes after which it goes on as at home; false: what is around is too much. */
static bool look_around(sm_machine *m, loop_view *v) {
    bool more[128];
    for (uint32_t b = 0; b < 0x80; b++) {
        const sm_place next = sm_machine_next(m, v->home, (uint8_t)b);
        more[b] =
            next == v->home || (next != SM_PLACE_DEAD && !m->g->status && takes_loops(m, next, v));
    }
    memcpy(v->loops, more, sizeof more);
    for (uint32_t i = 0; i < v->around.n; i++) {
        uint32_t work = 0;
        if (m->states[v->home].loops & SM_GROUP_HIGH &&
            !after_high(m, v->around.at[i], &work, &v->around))
            return false;
        for (uint32_t b = 0; b < 0x80; b++) {
            if (!v->loops[b])
                continue;
            const sm_place next = sm_machine_next(m, v->around.at[i], (uint8_t)b);
            if (next == SM_PLACE_DEAD || next == SM_PLACE_NONE || !set_put(&v->around, next) ||
                v->around.n > MANY_AROUND)
                return false;
        }
    }
    return true;
}

static void only_home(sm_machine *m, loop_view *v) {
    v->n_loops = 0;
    v->around = (place_set){{v->home}, 1};
    for (uint32_t b = 0; b < 0x80; b++)
        v->n_loops += v->loops[b] = sm_machine_next(m, v->home, (uint8_t)b) == v->home;
}

static void find_special(sm_machine *m, loop_view *v) {
    for (uint32_t i = 0; i < v->around.n; i++)
        for (uint32_t b = 0; b < 256; b++)
            if (!(b < 128 && v->loops[b]) &&
                sm_machine_next(m, v->around.at[i], (uint8_t)b) != SM_PLACE_DEAD)
                v->special |= 1U << sm_byte_group((uint8_t)b);
    if (m->states[v->home].loops & SM_GROUP_HIGH)
        v->special &= ~SM_GROUP_HIGH;
}

/* False: there is no such home, or the grammar failed. */
static bool view_loops(sm_machine *m, sm_place start, loop_view *v) {
    const sm_place home = find_home(m, start);
    *v = (loop_view){.start = start, .home = home};
    if (m->g->status || home == SM_PLACE_DEAD || !find_loops(m, home))
        return false;
    for (uint32_t b = 0; b < 256; b++) {
        v->first[b] = sm_machine_next(m, start, (uint8_t)b) == sm_machine_next(m, home, (uint8_t)b);
        if (b >= 0x80 && !v->first[b])
            return false;
    }
    only_home(m, v);
    if (v->n_loops < MANY_LOOPS || m->g->status)
        return false;
    if (!look_around(m, v))
        only_home(m, v);
    find_special(m, v);
    return !m->g->status;
}

static void or_mask(uint32_t *bits, const sm_trie *t, uint32_t which) {
    const uint32_t *from = t->holding + (uint64_t)which * t->n_words;
    for (uint32_t i = 0; i < t->n_words; i++)
        bits[i] |= from[i];
}

/* The tokens that consist of what loops. */
static void loop_mask(const sm_machine *m, const sm_trie *t, const loop_view *v, uint32_t *bits) {
    uint32_t some = 0;
    for (uint32_t b = 0; b < 128; b++)
        some |= v->loops[b] ? 1U << sm_byte_group((uint8_t)b) : 0;
    memset(bits, 0, t->n_words * sizeof *bits);
    for (uint32_t g = 0; g < SM_ASCII_GROUPS; g++)
        if (!(some >> g & 1))
            or_mask(bits, t, 128 + g);
    for (uint32_t b = 0; b < 128; b++)
        if (!v->loops[b] && some >> sm_byte_group((uint8_t)b) & 1)
            or_mask(bits, t, b);
    or_mask(bits, t, m->states[v->home].loops & SM_GROUP_HIGH ? 128 + 30 : 128 + 29);
    for (uint32_t i = 0; i < t->n_words; i++)
        bits[i] = ~bits[i];
    if (t->n_vocab % 32)
        bits[t->n_words - 1] &= (1U << t->n_vocab % 32) - 1;
}

/* ---- walking (masks.c) ----------------------------------------------------------------------- */

/* Whether all that is below a twig may follow, as it changes nothing. */
static bool all_follow(sm_machine *m, sm_place at, const sm_twig *twig, uint32_t i) {
    if (twig->end - i < MANY_TWIGS || twig->below & (SM_GROUP_BROKEN | SM_GROUP_INSIDE) ||
        !find_loops(m, at))
        return false;
    return !(twig->below & ~m->states[at].loops);
}

static void remove_all(const sm_trie *t, const sm_twig *twigs, uint32_t i, uint32_t end,
                       uint32_t *bits) {
    for (; i < end; i++)
        for (int32_t id = twigs[i].token; id >= 0; id = t->same[id])
            bits[id / 32] &= ~(1U << id % 32);
}

static void add_all(const sm_trie *t, const sm_twig *twigs, uint32_t i, uint32_t end,
                    uint32_t *bits) {
    for (; i < end; i++)
        if (twigs[i].token >= 0)
            add_token(t, bits, twigs[i].token);
}

/* Along all tokens whose need is more than `plain`, or that do not only loop (view; NULL: without);
 * false: the grammar failed. */
static bool walk(sm_constraint *c, sm_place start, uint32_t slice, uint32_t plain,
                 const loop_view *view, uint32_t *bits) {
    sm_machine *m = &c->machine;
    const sm_trie *t = c->trie;
    const sm_twig *twigs = t->twigs[slice];
    sm_place *path = c->path;
    uint32_t left = view ? UINT32_MAX : 0; /* the depth at which the start was left */
    c->ends[0] = t->n_twigs;
    path[0] = start;
    for (uint32_t i = 1; i < t->n_twigs;) {
        const sm_twig *twig = &twigs[i];
        if (twig->need <= plain) { /* and all behind it up to the end of the one above */
            i = c->ends[twig->depth - 1];
            continue;
        }
        if (view && left >= twig->depth) {
            left = UINT32_MAX;
            if (twig->depth == 1 && !view->first[twig->byte])
                remove_all(t, twigs, i, twig->end, bits);
            else if (!((twig->below | t->group[twig->byte]) & view->special)) {
                i = twig->end;
                continue;
            }
        }
        const sm_place next = sm_machine_next(m, path[twig->depth - 1], twig->byte);
        if (next == SM_PLACE_DEAD) {
            i = twig->end;
            continue;
        }
        if (next == SM_PLACE_NONE)
            return false;
        if (left == UINT32_MAX && (!(twig->byte < 128 && view->loops[twig->byte]) ||
                                   (twig->depth == 1 && !view->first[twig->byte])))
            left = twig->depth;
        path[twig->depth] = next;
        c->ends[twig->depth] = twig->end;
        if (twig->token >= 0)
            add_token(t, bits, twig->token);
        i++;
        if (all_follow(m, next, twig, i)) {
            add_all(t, twigs, i, twig->end, bits);
            i = twig->end;
        }
    }
    return !m->g->status;
}

/* Which slice lets most tokens be passed over, and how long its texts may be. */
static uint32_t best_slice(sm_machine *m, sm_place at, uint32_t *index) {
    uint32_t best = 0;
    *index = 0;
    for (uint32_t slice = 0; slice < SM_SLICES; slice++) {
        uint32_t work = 0;
        const uint32_t k = length_index(plain_from(m, at, slice, 32, &work));
        if (k > *index) {
            *index = k;
            best = slice;
        }
    }
    return best;
}

/* Tokens that are no whole UTF-8, where all that is loops. */
static bool add_broken(sm_constraint *c, sm_place start, uint32_t *bits) {
    const sm_trie *t = c->trie;
    for (uint32_t i = 0; i < t->n_broken; i++) {
        const sm_str text = t->text[t->broken[i]];
        sm_place at = start;
        for (uint64_t k = 0; k < text.length && at != SM_PLACE_DEAD; k++)
            if ((at = sm_machine_next(&c->machine, at, (uint8_t)text.data[k])) == SM_PLACE_NONE)
                return false;
        if (at != SM_PLACE_DEAD)
            bits[t->broken[i] / 32] |= 1U << t->broken[i] % 32;
    }
    return true;
}

static bool plain_mask(sm_constraint *c, sm_place at, uint32_t *bits) {
    const sm_trie *t = c->trie;
    uint32_t k;
    const uint32_t slice = best_slice(&c->machine, at, &k);
    if (k)
        memcpy(bits, t->plain[slice] + (uint64_t)(k - 1) * t->n_words, t->n_words * sizeof *bits);
    else
        memset(bits, 0, t->n_words * sizeof *bits);
    return walk(c, at, slice, k ? sm_slice_lengths[k - 1] : 0, NULL, bits);
}

static sm_status make_mask(sm_constraint *c, sm_place at, uint32_t *bits, sm_error *error) {
    const sm_trie *t = c->trie;
    loop_view view;
    bool sound = true;
    if (view_loops(&c->machine, at, &view)) {
        loop_mask(&c->machine, t, &view, bits);
        sound = walk(c, at, 0, 0, &view, bits) &&
                (!(c->machine.states[view.home].loops & SM_GROUP_HIGH) || add_broken(c, at, bits));
    } else {
        sound = plain_mask(c, at, bits);
    }
    if (!sound)
        return sm_grammar_status(c->g, error);
    if (sm_machine_accepts(&c->machine, at))
        for (uint32_t i = 0; i < t->n_words; i++)
            bits[i] |= t->ends[i];
    return sm_grammar_status(c->g, error);
}

sm_status sm_mask_of(sm_constraint *c, sm_place at, const uint32_t **bits, sm_error *error) {
    for (uint32_t i = 0; i < SM_MASKS_KEPT; i++)
        if (c->kept[i].place == at) {
            *bits = c->kept[i].bits;
            return SM_OK;
        }
    sm_kept_mask *kept = &c->kept[c->next_kept];
    c->next_kept = (c->next_kept + 1) % SM_MASKS_KEPT;
    if (!kept->bits)
        kept->bits = sm_alloc_array(c->mem, c->trie->n_words, sizeof *kept->bits);
    if (!kept->bits)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a mask");
    kept->place = SM_PLACE_DEAD;
    const sm_status status = make_mask(c, at, kept->bits, error);
    if (!status)
        kept->place = at;
    *bits = kept->bits;
    return status;
}
