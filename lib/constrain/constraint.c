/* constraint.c - constraints and their states, as smallmind/constrain.h has them. */
#include "constrain.h"
#include "machine.h"
#include "trie.h"

#include <string.h>

#define MASKS_KEPT 32
#define MAX_FORCED 65536
#define MAX_TOLD (1 << 20)
/* What each byte of a text that is taken may cost beyond a call's limit, and all of them. */
#define WORK_OF_BYTE ((uint64_t)1 << 20)
#define WORK_OF_TEXT ((uint64_t)1 << 29)
#define DEFAULT_LIMIT ((uint64_t)1 << 30)

typedef struct kept_mask {
    sm_place place; /* SM_PLACE_DEAD: none */
    uint32_t *bits;
} kept_mask;

struct sm_constraint {
    _Atomic uint32_t references;
    sm_mem *mem;
    const sm_tokenizer *tokenizer;
    const sm_trie *trie;
    sm_mutex *lock; /* around everything below */
    sm_grammar *g;
    sm_machine machine;
    kept_mask kept[MASKS_KEPT];
    uint32_t next_kept;
    sm_place *path; /* [max_depth + 1]: states along a token */
    uint32_t *ends; /* [max_depth + 1]: where the twigs on the way end */
    char *forced;   /* room for what is forced, as text and as tokens */
    int32_t *forced_ids;
    uint64_t forced_room, forced_ids_room;
    int32_t *told; /* tokens that are forced, by place: how many, then they; [0] is none */
    uint64_t n_told, told_room;
};

struct sm_constraint_state {
    sm_use use;
    sm_constraint *c;
    sm_place at;
    bool over;         /* an end token was accepted */
    sm_place *history; /* before each token */
    uint64_t n, room;
};

/* ---- making (constraint.c)
 * ------------------------------------------------------------------------- */

void sm_constraint_retain(sm_constraint *c) {
    atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
}

void sm_constraint_free(sm_constraint *c) {
    if (!c || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) != 1)
        return;
    sm_mem *mem = c->mem;
    sm_machine_done(&c->machine);
    sm_grammar_free(c->g);
    for (uint32_t i = 0; i < MASKS_KEPT; i++)
        sm_free(mem, c->kept[i].bits);
    sm_free(mem, c->path);
    sm_free(mem, c->ends);
    sm_free(mem, c->forced);
    sm_free(mem, c->forced_ids);
    sm_free(mem, c->told);
    sm_mutex_free(c->lock, mem);
    sm_tokenizer_free((sm_tokenizer *)c->tokenizer);
    sm_free(mem, c);
    sm_mem_destroy(mem);
}

/* Anything until the first trigger, then root; or anything without one. */
static sm_expr behind_triggers(sm_grammar *g, const sm_constraint_options *o, sm_expr root) {
    sm_expr any = SM_NOTHING;
    for (uint64_t i = 0; i < o->n_triggers; i++) {
        const sm_expr text = sm_expr_bytes(g, o->triggers[i].text,
                                           text_size(o->triggers[i].text, o->triggers[i].length));
        any = sm_expr_alt(
            g, (sm_expr[]){any, text, sm_expr_seq2(g, sm_expr_bytes(g, "\xFF", 1), text)}, 3);
    }
    const sm_expr up_to = sm_expr_seq2(g, SM_ANY_BYTES, any);
    static const uint64_t all[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    const sm_expr longer = sm_expr_seq3(g, up_to, sm_expr_byte(g, all), SM_ANY_BYTES),
                  first = sm_expr_and2(g, up_to, sm_expr_other(g, longer)),
                  never = sm_expr_other(g, sm_expr_seq2(g, up_to, SM_ANY_BYTES));
    return sm_expr_alt2(g, never, sm_expr_seq2(g, first, root));
}

static sm_status check_triggers(const sm_constraint_options *o, sm_error *error) {
    if (o->n_triggers && !o->triggers)
        return sm_fail(error, SM_ERR_ARGUMENT, "option n_triggers is %llu but triggers is NULL",
                       (unsigned long long)o->n_triggers);
    for (uint64_t i = 0; i < o->n_triggers; i++)
        if (!o->triggers[i].text || !text_size(o->triggers[i].text, o->triggers[i].length))
            return sm_fail(error, SM_ERR_ARGUMENT, "option triggers: text %llu is empty",
                           (unsigned long long)i);
    return SM_OK;
}

static sm_status write_and_run(sm_constraint *c, sm_grammar_fn write, void *user,
                               const sm_constraint_options *o, sm_error *error) {
    sm_expr root;
    sm_status status = sm_grammar_new(&c->g, c->mem, error);
    if (!status)
        status = write(user, c->g, &root, error);
    if (!status)
        status = sm_grammar_status(c->g, error);
    if (status)
        return status;
    if (o->n_triggers)
        root = behind_triggers(c->g, o, root);
    sm_grammar_root(c->g, root);
    if (!sm_grammar_finish(c->g) || !sm_machine_init(&c->machine, c->g))
        return sm_grammar_status(c->g, error);
    return SM_OK;
}

static sm_status fill(sm_constraint *c, sm_grammar_fn write, void *user,
                      const sm_constraint_options *o, sm_error *error) {
    sm_status status = sm_mutex_new(&c->lock, c->mem, error);
    if (!status && c->tokenizer)
        status = sm_trie_of(&c->trie, c->tokenizer, error);
    if (status || !c->tokenizer)
        return status ? status : write_and_run(c, write, user, o, error);
    c->path = sm_alloc_array(c->mem, c->trie->max_depth + 1ULL, sizeof *c->path);
    c->ends = sm_alloc_array(c->mem, c->trie->max_depth + 1ULL, sizeof *c->ends);
    if (!c->path || !c->ends)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a constraint");
    return write_and_run(c, write, user, o, error);
}

sm_status sm_constraint_make(sm_constraint **out, const sm_tokenizer *tokenizer,
                             sm_grammar_fn write, void *user, const sm_constraint_options *options,
                             sm_error *error) {
    static const sm_wide wide[] = {SM_WIDE_FROM(sm_constraint_options, triggers), {0, 0, 0}};
    sm_constraint_options o;
    sm_mem *mem;
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_new: out is NULL");
    *out = NULL;
    sm_status status = sm_struct_take(&o, sizeof o, wide, options, "sm_constraint_options", error);
    if (status)
        return status;
    status = check_triggers(&o, error);
    if (status)
        sm_allocator_drop(o.allocator);
    else
        status = sm_mem_create(&mem, o.allocator, o.memory_limit ? o.memory_limit : DEFAULT_LIMIT,
                               error);
    if (status)
        return status;
    sm_constraint *c = sm_alloc_zero(mem, sizeof *c);
    if (!c) {
        sm_mem_destroy(mem);
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a constraint");
    }
    c->references = 1;
    c->mem = mem;
    c->tokenizer = tokenizer;
    if (tokenizer)
        sm_tokenizer_retain(tokenizer);
    status = fill(c, write, user, &o, error);
    if (status)
        sm_constraint_free(c);
    else
        *out = c;
    return status;
}

/* ---- from text (constraint.c)
 * ------------------------------------------------------------------------ */

typedef struct source {
    const char *text;
    uint64_t length;
} source;

static sm_status write_gbnf(void *user, sm_grammar *g, sm_expr *root, sm_error *error) {
    const source *s = user;
    (void)error;
    *root = sm_expr_gbnf(g, s->text, s->length);
    return SM_OK;
}

static sm_status write_grammar(void *user, sm_grammar *g, sm_expr *root, sm_error *error) {
    sm_grammar_allow_left(g);
    return write_gbnf(user, g, root, error);
}

static sm_status write_regex(void *user, sm_grammar *g, sm_expr *root, sm_error *error) {
    const source *s = user;
    (void)error;
    *root = sm_expr_regex(g, s->text, s->length, 0, NULL);
    return SM_OK;
}

sm_status sm_constraint_new(sm_constraint **out, const sm_tokenizer *tokenizer, uint32_t kind,
                            const char *text, uint64_t length, const sm_constraint_options *options,
                            sm_error *error) {
    static const sm_grammar_fn writers[] = {[SM_CONSTRAINT_GBNF] = write_gbnf,
                                            [SM_CONSTRAINT_REGEX] = write_regex,
                                            [SM_CONSTRAINT_GRAMMAR] = write_grammar};
    source s = {text, length};
    if (out)
        *out = NULL;
    if (!text)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_new: text is NULL");
    if (kind >= sizeof writers / sizeof *writers || !writers[kind])
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_new: there is no kind %u", kind);
    return sm_constraint_make(out, tokenizer, writers[kind], &s, options, error);
}

typedef struct choices {
    const sm_text *texts;
    uint64_t n;
} choices;

static sm_status write_choices(void *user, sm_grammar *g, sm_expr *root, sm_error *error) {
    const choices *c = user;
    sm_expr *items = sm_alloc_array(sm_grammar_mem(g), c->n, sizeof *items);
    if (!items)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a constraint");
    for (uint64_t i = 0; i < c->n; i++)
        items[i] =
            sm_expr_bytes(g, c->texts[i].text, text_size(c->texts[i].text, c->texts[i].length));
    *root = sm_expr_alt(g, items, c->n);
    sm_free(sm_grammar_mem(g), items);
    return SM_OK;
}

sm_status sm_constraint_new_choices(sm_constraint **out, const sm_tokenizer *tokenizer,
                                    const sm_text *texts, uint64_t n,
                                    const sm_constraint_options *options, sm_error *error) {
    choices c = {texts, n};
    if (out)
        *out = NULL;
    if (!texts || !n)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_new_choices: no texts");
    for (uint64_t i = 0; i < n; i++)
        if (!texts[i].text && texts[i].length)
            return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_new_choices: text %llu is NULL",
                           (unsigned long long)i);
    return sm_constraint_make(out, tokenizer, write_choices, &c, options, error);
}

uint64_t sm_constraint_words(const sm_constraint *c) {
    return c->trie ? c->trie->n_words : 0;
}

/* ---- masks (constraint.c)
 * ------------------------------------------------------------------------------ */

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

/* ---- states that many bytes do not change (constraint.c)
 * ------------------------------------------------------------------------------ */

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

/* ---- walking (constraint.c)
 * ------------------------------------------------------------------------------ */

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

/* The mask of a place, kept for the next time. */
static sm_status mask_of(sm_constraint *c, sm_place at, const uint32_t **bits, sm_error *error) {
    for (uint32_t i = 0; i < MASKS_KEPT; i++)
        if (c->kept[i].place == at) {
            *bits = c->kept[i].bits;
            return SM_OK;
        }
    kept_mask *kept = &c->kept[c->next_kept];
    c->next_kept = (c->next_kept + 1) % MASKS_KEPT;
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

/* ---- states (constraint.c)
 * ------------------------------------------------------------------------------ */

static sm_status begin(sm_constraint_state *s, sm_error *error) {
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "a constraint's state is NULL");
    const sm_status status = sm_use_begin(&s->use, sm_process_id(), "constraint state", error);
    if (status)
        return status;
    sm_mutex_lock(s->c->lock);
    s->c->g->work = 0;
    return SM_OK;
}

/* The same for what asks about tokens. */
static sm_status begin_tokens(sm_constraint_state *s, sm_error *error) {
    if (s && !s->c->trie)
        return sm_fail(error, SM_ERR_MISSING, "the constraint was made without a vocabulary");
    return begin(s, error);
}

static void release_state(sm_constraint_state *s) {
    sm_constraint *c = s->c;
    sm_free(c->mem, s->history);
    sm_free(c->mem, s);
    sm_constraint_free(c);
}

static void end(sm_constraint_state *s) {
    sm_mutex_unlock(s->c->lock);
    if (sm_use_end(&s->use))
        release_state(s);
}

sm_status sm_constraint_state_new(sm_constraint_state **out, sm_constraint *c, sm_error *error) {
    if (out)
        *out = NULL;
    if (!out || !c)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_state_new: a pointer is NULL");
    sm_constraint_state *s = sm_alloc_zero(c->mem, sizeof *s);
    if (!s)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a constraint's state");
    sm_constraint_retain(c);
    s->c = c;
    s->at = c->machine.start;
    *out = s;
    return SM_OK;
}

void sm_constraint_state_free(sm_constraint_state *s) {
    if (s && sm_use_free(&s->use))
        release_state(s);
}

static sm_status remember(sm_constraint_state *s, uint64_t more, sm_error *error) {
    if (s->n + more <= s->room)
        return SM_OK;
    const uint64_t room = max_u64(s->n + more, s->room * 2 + 256);
    sm_place *history = sm_realloc(s->c->mem, s->history, room * sizeof *history);
    if (!history)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a constraint's state");
    s->history = history;
    s->room = room;
    return SM_OK;
}

sm_status sm_constraint_state_fork(sm_constraint_state **out, const sm_constraint_state *from,
                                   sm_error *error) {
    if (out)
        *out = NULL;
    sm_constraint_state *f = (sm_constraint_state *)from;
    sm_status status =
        out ? begin(f, error)
            : sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_state_fork: out is NULL");
    if (status)
        return status;
    status = sm_constraint_state_new(out, f->c, error);
    if (!status) {
        (*out)->at = f->at;
        (*out)->over = f->over;
        status = remember(*out, f->n, error);
        if (!status && f->n)
            memcpy((*out)->history, f->history, f->n * sizeof *f->history);
        (*out)->n = status ? 0 : f->n;
    }
    if (status && *out) {
        sm_constraint_state_free(*out);
        *out = NULL;
    }
    end(f);
    return status;
}

sm_status sm_constraint_mask(sm_constraint_state *s, uint32_t *mask, uint64_t n_words,
                             sm_error *error) {
    sm_status status = begin_tokens(s, error);
    if (status)
        return status;
    const uint64_t words = s->c->trie->n_words;
    const uint32_t *bits = NULL;
    if (!mask || n_words < words)
        status = sm_fail(error, SM_ERR_BUFFER, "a mask of %llu words, %llu are needed",
                         (unsigned long long)n_words, (unsigned long long)words);
    else if (s->over)
        memset(mask, 0, n_words * sizeof *mask);
    else
        status = mask_of(s->c, s->at, &bits, error);
    if (!status && !s->over) {
        memcpy(mask, bits, words * sizeof *mask);
        memset(mask + words, 0, (n_words - words) * sizeof *mask);
    }
    end(s);
    return status;
}

static sm_status advance(sm_constraint_state *s, const void *text, uint64_t n, sm_place *at,
                         sm_error *error) {
    const uint8_t *bytes = text;
    uint64_t more = WORK_OF_TEXT;
    *at = s->over ? SM_PLACE_DEAD : s->at;
    for (uint64_t i = 0; i < n && *at != SM_PLACE_DEAD; i++) {
        const uint64_t back = min_u64(s->c->g->work, min_u64(more, WORK_OF_BYTE));
        s->c->g->work -= back;
        more -= back;
        *at = sm_machine_next(&s->c->machine, *at, bytes[i]);
        if (*at == SM_PLACE_NONE)
            return sm_grammar_status(s->c->g, error);
    }
    return SM_OK;
}

static void move(sm_constraint_state *s, sm_place at, bool over) {
    s->history[s->n++] = s->at;
    s->at = at;
    s->over = over;
}

static sm_status accept(sm_constraint_state *s, int32_t id, sm_error *error) {
    const sm_trie *t = s->c->trie;
    sm_place at;
    if (id < 0 || (uint32_t)id >= t->n_vocab)
        return sm_fail(error, SM_ERR_TOKEN, "token %d is outside the vocabulary of %u", id,
                       t->n_vocab);
    sm_status status = remember(s, 1, error);
    if (status)
        return status;
    const bool ends = t->ends[id / 32] >> id % 32 & 1;
    if (ends && !s->over && sm_machine_accepts(&s->c->machine, s->at)) {
        move(s, s->at, true);
        return SM_OK;
    }
    status = advance(s, t->text[id].data, t->text[id].length, &at, error);
    if (status)
        return status;
    if (ends || !t->text[id].length || at == SM_PLACE_DEAD)
        return sm_fail(error, SM_ERR_ARGUMENT, "token %d may not come here by the constraint", id);
    move(s, at, false);
    return SM_OK;
}

sm_status sm_constraint_accept(sm_constraint_state *s, int32_t id, sm_error *error) {
    sm_status status = begin_tokens(s, error);
    if (status)
        return status;
    status = accept(s, id, error);
    end(s);
    return status;
}

sm_status sm_constraint_accept_text(sm_constraint_state *s, const char *text, uint64_t length,
                                    sm_error *error) {
    sm_status status = begin(s, error);
    sm_place at = SM_PLACE_DEAD;
    if (status)
        return status;
    status = length && !text ? sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_accept_text: NULL")
                             : remember(s, 1, error);
    if (!status)
        status = advance(s, text, length, &at, error);
    if (!status && at == SM_PLACE_DEAD)
        status = sm_fail(error, SM_ERR_ARGUMENT, "the text may not come here by the constraint");
    if (!status)
        move(s, at, false);
    end(s);
    return status;
}

/* ---- what is forced (constraint.c)
 * ------------------------------------------------------------------------ */

/* The only byte that may follow; -1: there are others, or none, or the end may come. -2: failed. */
static int only_byte(sm_machine *m, sm_place at) {
    if (sm_machine_accepts(m, at))
        return -1;
    if (!sm_machine_look(m, at))
        return -2;
    int only = -1;
    const sm_shape shape = m->g->shapes[m->states[at].shape];
    for (uint32_t c = 0; c < shape.n; c++) {
        const sm_place next = sm_machine_next(m, at, shape.bytes[shape.start[c]]);
        if (next == SM_PLACE_NONE)
            return -2;
        if (next == SM_PLACE_DEAD)
            continue;
        if (only >= 0 || shape.start[c + 1] - shape.start[c] > 1)
            return -1;
        only = shape.bytes[shape.start[c]];
    }
    return only;
}

/* text NULL: only counts. *at: where they lead. */
static sm_status forced(sm_constraint_state *s, char *text, uint64_t capacity, uint64_t *n,
                        sm_place *at, sm_error *error) {
    sm_machine *m = &s->c->machine;
    *at = s->at;
    for (*n = 0; !s->over && *n < MAX_FORCED; ++*n) {
        const int byte = only_byte(m, *at);
        if (byte == -2)
            return sm_grammar_status(s->c->g, error);
        if (byte < 0)
            break;
        if (text && *n < capacity)
            text[*n] = (char)byte;
        *at = sm_machine_next(m, *at, (uint8_t)byte);
    }
    return SM_OK;
}

sm_status sm_constraint_forced_text(sm_constraint_state *s, char *text, uint64_t capacity,
                                    uint64_t *n, sm_error *error) {
    sm_place at;
    sm_status status = n ? begin(s, error) : sm_fail(error, SM_ERR_ARGUMENT, "n is NULL");
    if (status)
        return status;
    status = forced(s, text, capacity, n, &at, error);
    if (!status && *n > capacity)
        status = sm_fail(error, SM_ERR_BUFFER, "%llu bytes are forced", (unsigned long long)*n);
    end(s);
    return status;
}

/* Whether some token that begins with these bytes goes on beyond them in a way that may come. */
static bool goes_beyond(sm_constraint *c, const char *text, uint32_t n, sm_place at) {
    const sm_twig *twigs = c->trie->twigs[0];
    uint32_t i = 0;
    for (uint32_t d = 0; d < n; d++) { /* down to the twig of these bytes */
        uint32_t child = i + 1;
        while (child < twigs[i].end && twigs[child].byte != (uint8_t)text[d])
            child = twigs[child].end;
        if (child >= twigs[i].end)
            return false;
        i = child;
    }
    const uint32_t last = twigs[i].end;
    c->path[n] = at;
    for (i++; i < last;) {
        const sm_place next =
            sm_machine_next(&c->machine, c->path[twigs[i].depth - 1], twigs[i].byte);
        if (next == SM_PLACE_DEAD || next == SM_PLACE_NONE) {
            i = twigs[i].end;
            continue;
        }
        if (twigs[i].token >= 0)
            return true;
        c->path[twigs[i].depth] = next;
        i++;
    }
    return false;
}

/* Tokens that stand whatever comes: those before the first byte from which on a longer one may
 * come. */
static uint64_t standing(sm_constraint *c, const char *text, uint64_t n, sm_place at,
                         const int32_t *ids, uint64_t n_ids) {
    uint64_t safe = n;
    const uint64_t from = n > c->trie->max_depth ? n - c->trie->max_depth : 0;
    for (uint64_t i = from; i < n && safe == n; i++)
        if (goes_beyond(c, text + i, (uint32_t)(n - i), at))
            safe = i;
    uint64_t kept = 0, length = 0;
    while (kept < n_ids && length + c->trie->text[ids[kept]].length <= safe)
        length += c->trie->text[ids[kept++]].length;
    return kept;
}

/* Whether these ids are the text, byte by byte. */
static bool spells(const sm_trie *t, const int32_t *ids, uint64_t n_ids, const char *text,
                   uint64_t n) {
    uint64_t at = 0;
    for (uint64_t i = 0; i < n_ids; i++) {
        const sm_str piece = t->text[ids[i]];
        if (!piece.length || piece.length > n - at ||
            memcmp(piece.data, text + at, (size_t)piece.length))
            return false;
        at += piece.length;
    }
    return at == n;
}

/* Tokens of text[1..length], which is forced and leads to `at`, into own: how many stand. */
static sm_status forced_ids(sm_constraint *c, char *text, uint64_t length, sm_place at,
                            int32_t *own, uint64_t *n, sm_error *error) {
    uint64_t n_ids;
    text[0] = 'x'; /* something before it: the text goes on */
    const sm_status status = sm_tokenizer_encode_rest(c->tokenizer, text, length + 1, 1, NULL, own,
                                                      length + 16, &n_ids, error);
    if (status == SM_ERR_BUFFER)
        return SM_OK; /* a vocabulary that normalizes: nothing is put together */
    if (!status && spells(c->trie, own, n_ids, text + 1, length))
        *n = standing(c, text + 1, length, at, own, n_ids);
    return status;
}

/* Puts the tokens that are forced where the state is into c->told, at *told; kept for the next time
 * as long as there is room. */
static sm_status tell_forced(sm_constraint_state *s, uint64_t length, uint32_t *told,
                             sm_error *error) {
    sm_constraint *c = s->c;
    sm_place at;
    uint64_t n = 0;
    if (!sm_grammar_reserve(c->g, &c->forced, &c->forced_room, length + 2, 1) ||
        !sm_grammar_reserve(c->g, &c->forced_ids, &c->forced_ids_room, length + 16,
                            sizeof *c->forced_ids) ||
        !sm_grammar_reserve(c->g, &c->told, &c->told_room, c->n_told + length + 18,
                            sizeof *c->told))
        return sm_grammar_status(c->g, error);
    sm_status status = forced(s, c->forced + 1, length, &length, &at, error);
    if (!status)
        status = forced_ids(c, c->forced, length, at, c->forced_ids, &n, error);
    if (status)
        return status;
    c->n_told += !c->n_told;
    c->told[c->n_told] = (int32_t)n;
    if (n)
        memcpy(c->told + c->n_told + 1, c->forced_ids, n * sizeof *c->told);
    *told = (uint32_t)c->n_told;
    if (c->n_told + n + 1 <= MAX_TOLD) {
        c->machine.states[s->at].forced = *told;
        c->n_told += n + 1;
    }
    return SM_OK;
}

static sm_status forced_tokens(sm_constraint_state *s, int32_t *ids, uint64_t capacity, uint64_t *n,
                               sm_error *error) {
    sm_constraint *c = s->c;
    sm_place at;
    uint64_t length = 0;
    if (s->over)
        return SM_OK;
    uint32_t place = c->machine.states[s->at].forced;
    if (!place) {
        sm_status status = forced(s, NULL, 0, &length, &at, error);
        if (!status && length)
            status = tell_forced(s, length, &place, error);
        if (status || !length)
            return status;
    }
    const int32_t *told = c->told + place;
    *n = (uint64_t)told[0];
    if (*n > capacity)
        return sm_fail(error, SM_ERR_BUFFER, "%llu tokens are forced", (unsigned long long)*n);
    if (*n)
        memcpy(ids, told + 1, *n * sizeof *ids);
    return SM_OK;
}

sm_status sm_constraint_forced(sm_constraint_state *s, int32_t *ids, uint64_t capacity, uint64_t *n,
                               sm_error *error) {
    sm_status status = n ? begin_tokens(s, error) : sm_fail(error, SM_ERR_ARGUMENT, "n is NULL");
    if (status)
        return status;
    *n = 0;
    status = forced_tokens(s, ids, capacity, n, error);
    end(s);
    return status;
}

int32_t sm_constraint_can_end(const sm_constraint_state *state) {
    sm_constraint_state *s = (sm_constraint_state *)state;
    if (begin(s, NULL))
        return 0;
    const bool can = s->over || sm_machine_accepts(&s->c->machine, s->at);
    end(s);
    return can;
}

int32_t sm_constraint_ended(sm_constraint_state *s) {
    if (begin(s, NULL))
        return 0;
    sm_machine *m = &s->c->machine;
    bool ended = s->over;
    if (!ended && sm_machine_accepts(m, s->at) && sm_machine_look(m, s->at)) {
        const sm_shape shape = m->g->shapes[m->states[s->at].shape];
        ended = true;
        for (uint32_t c = 0; c < shape.n && ended; c++)
            ended = sm_machine_next(m, s->at, shape.bytes[shape.start[c]]) == SM_PLACE_DEAD;
    }
    end(s);
    return ended;
}

sm_status sm_constraint_rewind(sm_constraint_state *s, uint64_t n, sm_error *error) {
    sm_status status = begin(s, error);
    if (status)
        return status;
    if (n > s->n) {
        status = sm_fail(error, SM_ERR_ARGUMENT, "%llu tokens are to be taken back, of %llu",
                         (unsigned long long)n, (unsigned long long)s->n);
    } else if (n) {
        s->n -= n;
        s->at = s->history[s->n];
        s->over = false;
    }
    end(s);
    return status;
}

sm_status sm_constraint_reset(sm_constraint_state *s, sm_error *error) {
    const sm_status status = begin(s, error);
    if (status)
        return status;
    s->n = 0;
    s->at = s->c->machine.start;
    s->over = false;
    end(s);
    return SM_OK;
}
