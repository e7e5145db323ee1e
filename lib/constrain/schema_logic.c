/* schema_logic.c - formulas: equal ones are one, what is plainly true or false goes. */
#include "schema.h"

/* ---- memory and errors (schema_logic.c) ------------------------------------------------- */

bool sm_schema_room(schema *s, list *l, uint32_t more, uint32_t size) {
    if (s->status)
        return false;
    if (l->capacity - l->n >= more)
        return true;
    const uint64_t capacity = 2 * ((uint64_t)l->n + more) + 16;
    void *data = capacity < UINT32_MAX / 2 ? sm_realloc(s->mem, l->data, capacity * size) : NULL;
    if (!data) {
        sm_schema_fail(s, SM_ERR_NOMEM, SM_JSON_NONE, "out of memory");
        return false;
    }
    l->data = data;
    l->capacity = (uint32_t)capacity;
    return true;
}

bool sm_schema_push(schema *s, list *l, const void *item, uint32_t size) {
    if (!sm_schema_room(s, l, 1, size))
        return false;
    memcpy((char *)l->data + (size_t)l->n++ * size, item, size);
    return true;
}

void sm_schema_fail(schema *s, sm_status status, sm_json_value place, const char *why) {
    if (s->status)
        return;
    char where[300];
    sm_schema_place(s, place == SM_JSON_NONE ? s->place : place, where, sizeof where);
    s->status = s->options.name ? sm_fail(s->error, status, "%s%s: %s", s->options.name, where, why)
                                : sm_fail(s->error, status, "schema, %s: %s", where, why);
}

bool sm_schema_goes_on(schema *s) {
    if (!s->status && (++s->work & 1023) == 0 && sm_hook_ends(s->cancel, s->work, 0))
        s->status = sm_fail(s->error, SM_ERR_CANCELLED, "schema: cancelled");
    return !s->status;
}

static uint32_t hash_bytes(const char *bytes, uint64_t length) {
    uint64_t h = length;
    for (uint64_t i = 0; i < length; i++)
        h = (h ^ (uint8_t)bytes[i]) * 0x100000001b3u;
    return (uint32_t)sm_mix64(h);
}

uint32_t sm_schema_text(schema *s, const char *bytes, uint64_t length) {
    if (!length) /* memcmp takes no NULL, which an empty text may be */
        bytes = "";
    uint32_t *bucket = &s->text_buckets[hash_bytes(bytes, length) % N_BUCKETS];
    for (uint32_t t = *bucket; t != UINT32_MAX; t = AT(s, texts, text_row, t).next) {
        const text_row *has = &AT(s, texts, text_row, t);
        if (has->length == length &&
            memcmp((const char *)s->bytes.data + has->at, bytes, (size_t)length) == 0)
            return t;
    }
    if (length > MAX_REPEAT || !sm_schema_room(s, &s->bytes, (uint32_t)length + 1, 1))
        return 0;
    const text_row made = {s->bytes.n, (uint32_t)length, *bucket};
    if (!sm_schema_push(s, &s->texts, &made, sizeof made))
        return 0;
    memcpy((char *)s->bytes.data + s->bytes.n, bytes, (size_t)length);
    s->bytes.n += (uint32_t)length;
    return *bucket = s->texts.n - 1;
}

const char *sm_schema_text_of(const schema *s, uint32_t t, uint32_t *length) {
    if (t >= s->texts.n) { /* after an error */
        *length = 0;
        return "";
    }
    *length = AT(s, texts, text_row, t).length;
    return (const char *)s->bytes.data + AT(s, texts, text_row, t).at;
}

/* ---- nodes (schema_logic.c) --------------------------------------------------------------- */

static uint32_t hash_node(const node *n, const formula *items) {
    uint64_t h = n->kind;
    if (items) {
        for (uint32_t i = 0; i < n->b; i++)
            h = sm_mix64(h ^ items[i]);
        return (uint32_t)h;
    }
    h = sm_mix64(h ^ ((uint64_t)n->a << 8) ^ ((uint64_t)n->b << 40));
    return (uint32_t)sm_mix64(h ^ n->c ^ ((uint64_t)n->d << 32));
}

static bool same_node(const schema *s, const node *has, const node *n, const formula *items) {
    if (has->kind != n->kind || has->b != n->b)
        return false;
    if (items)
        return memcmp(&AT(s, lists, formula, has->a), items, n->b * sizeof *items) == 0;
    return has->a == n->a && has->c == n->c && has->d == n->d;
}

/* The node, made if there is none; items: of a kind with children. */
static formula node_of(schema *s, node n, const formula *items) {
    uint32_t *bucket = &s->buckets[hash_node(&n, items) % N_BUCKETS];
    for (formula f = *bucket; f != NO_FORMULA; f = NODE(s, f)->hash_next)
        if (same_node(s, NODE(s, f), &n, items))
            return f;
    if (s->nodes.n >= MAX_FORMULAS)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE, "more than 2^20 formulas");
    if (items) {
        if (!sm_schema_room(s, &s->lists, n.b, sizeof *items))
            return FALSUM;
        memcpy(&AT(s, lists, formula, s->lists.n), items, n.b * sizeof *items);
        n.a = s->lists.n;
        s->lists.n += n.b;
    }
    memset(n.seen, 0xff, sizeof n.seen);
    n.read = n.cases = n.object_cases = n.negated = NO_FORMULA;
    n.written[0] = n.written[1] = n.value = SM_EXPR_NONE;
    n.hash_next = *bucket;
    if (!sm_schema_push(s, &s->nodes, &n, sizeof n))
        return FALSUM;
    return *bucket = s->nodes.n - 1;
}

formula sm_formula_literal(schema *s, node_kind kind, uint32_t a, uint32_t b, uint32_t c,
                           uint32_t d) {
    return node_of(s, (node){.kind = kind, .a = a, .b = b, .c = c, .d = d}, NULL);
}

formula sm_formula_types(schema *s, uint32_t set) {
    const uint32_t all = (1u << N_TYPES) - 1;
    if ((set & all) == all)
        return VERUM;
    return set & all ? sm_formula_literal(s, K_TYPE, set & all, 0, 0, 0) : FALSUM;
}

type sm_formula_type_of(uint32_t kind) {
    if (kind >= A_BELOW)
        return T_ARRAY;
    if (kind >= O_ALL)
        return T_OBJECT;
    return kind >= S_EQUAL ? T_STRING : T_NUMBER;
}

formula sm_formula_flip(schema *s, formula literal) {
    const node n = *NODE(s, literal);
    const formula not = n.kind == O_ALL || n.kind == O_SOME ? sm_formula_not(s, n.b) : n.b;
    return sm_formula_literal(s, n.kind ^ 1, n.a, not, n.c, n.d);
}

/* ---- and, or (schema_logic.c) -------------------------------------------------------------- */

typedef struct collector {
    schema *s;
    uint32_t kind, mark;
    list items;
    bool decided; /* false in an and, true in an or */
} collector;

/* Whether the negation of f is there already, as far as that can be seen at once. */
static bool is_contrary(collector *c, formula f) {
    const node *n = NODE(c->s, f);
    if (n->kind == K_SCHEMA || n->kind == K_NOT_SCHEMA || (is_literal(n) && n->kind < O_ALL)) {
        const node not = {.kind = n->kind ^ 1, .a = n->a, .b = n->b, .c = n->c, .d = n->d};
        schema *s = c->s;
        for (formula g = s->buckets[hash_node(&not, NULL) % N_BUCKETS]; g != NO_FORMULA;
             g = NODE(s, g)->hash_next)
            if (NODE(s, g)->mark == c->mark && same_node(s, NODE(s, g), &not, NULL))
                /* of literals both may be true for other types */
                return n->kind < N_BELOW || c->kind == K_OR || c->s->one_type;
    }
    return false;
}

static void collect(collector *c, const formula *items, uint32_t n) {
    schema *s = c->s;
    const formula neutral = c->kind == K_AND ? VERUM : FALSUM;
    for (uint32_t i = 0; i < n && !c->decided; i++) {
        const formula f = items[i];
        if (f == neutral || NODE(s, f)->mark == c->mark)
            continue;
        if (f == (neutral ^ 1) || is_contrary(c, f)) {
            c->decided = true;
        } else if (NODE(s, f)->kind == c->kind) { /* one level: its children are of other kinds */
            const node *inner = NODE(s, f);
            NODE(s, f)->mark = c->mark;
            for (uint32_t k = 0; k < inner->b && !c->decided; k++) {
                const formula g = AT(s, lists, formula, inner->a + k);
                if (NODE(s, g)->mark == c->mark)
                    continue;
                c->decided = is_contrary(c, g);
                NODE(s, g)->mark = c->mark;
                sm_schema_push(s, &c->items, &g, sizeof g);
            }
        } else {
            NODE(s, f)->mark = c->mark;
            sm_schema_push(s, &c->items, &f, sizeof f);
        }
    }
}

static formula combine(schema *s, uint32_t kind, const formula *items, uint32_t n) {
    collector c = {s, kind, ++s->mark, {0}, false};
    const formula neutral = kind == K_AND ? VERUM : FALSUM;
    collect(&c, items, n);
    const formula *all = c.items.data;
    formula f = neutral;
    if (c.decided)
        f = neutral ^ 1;
    else if (c.items.n == 1)
        f = all[0];
    else if (c.items.n)
        f = node_of(s, (node){.kind = kind, .b = c.items.n}, all);
    sm_free(s->mem, c.items.data);
    return s->status ? FALSUM : f;
}

formula sm_formula_and(schema *s, const formula *items, uint32_t n) {
    return combine(s, K_AND, items, n);
}

formula sm_formula_or(schema *s, const formula *items, uint32_t n) {
    return combine(s, K_OR, items, n);
}

formula sm_formula_and2(schema *s, formula a, formula b) {
    const formula items[] = {a, b};
    return a == VERUM ? b : b == VERUM ? a : combine(s, K_AND, items, 2);
}

formula sm_formula_or2(schema *s, formula a, formula b) {
    const formula items[] = {a, b};
    return a == FALSUM ? b : b == FALSUM ? a : combine(s, K_OR, items, 2);
}

formula sm_formula_one(schema *s, const formula *items, uint32_t n) {
    if (n == 1)
        return items[0];
    return n ? node_of(s, (node){.kind = K_ONE, .b = n}, items) : FALSUM;
}

/* ---- not (schema_logic.c) ------------------------------------------------------------------ */

static formula not_children(schema *s, formula f) {
    const node n = *NODE(s, f);
    list out = {0};
    for (uint32_t i = 0; i < n.b && sm_schema_goes_on(s); i++) {
        const formula item = sm_formula_not(s, AT(s, lists, formula, n.a + i));
        sm_schema_push(s, &out, &item, sizeof item);
    }
    const formula not = combine(s, n.kind == K_AND ? K_OR : K_AND, out.data, out.n);
    sm_free(s->mem, out.data);
    return not ;
}

static formula other_kind(schema *s, formula f) {
    const node n = *NODE(s, f);
    if (n.kind == K_SCHEMA || n.kind == K_NOT_SCHEMA)
        return sm_formula_literal(s, n.kind ^ 1, n.a, 0, 0, 0);
    /* the children are copied: adding to the lists may move them */
    list items = {0};
    for (uint32_t i = 0; i < n.b; i++)
        sm_schema_push(s, &items, &AT(s, lists, formula, n.a + i), sizeof(formula));
    const formula not =
        s->status ? FALSUM : node_of(s, (node){.kind = n.kind ^ 1, .b = n.b}, items.data);
    sm_free(s->mem, items.data);
    return not ;
}

static formula not_of(schema *s, formula f) {
    const node *n = NODE(s, f);
    if (n->kind == K_AND || n->kind == K_OR)
        return not_children(s, f);
    if (n->kind == K_TYPE)
        return sm_formula_types(s, ~n->a);
    if (!is_literal(n))
        return other_kind(s, f);
    const formula of_type = sm_formula_types(s, 1u << sm_formula_type_of(n->kind));
    return sm_formula_and2(s, of_type, sm_formula_flip(s, f));
}

formula sm_formula_not(schema *s, formula f) {
    if (f <= VERUM)
        return f ^ 1;
    if (s->status)
        return FALSUM;
    if (NODE(s, f)->negated != NO_FORMULA)
        return NODE(s, f)->negated;
    if (++s->depth > MAX_NESTED)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE, "nested too deeply in one place");
    const formula not = s->status ? FALSUM : not_of(s, f);
    s->depth--;
    NODE(s, f)->negated = not ;
    return not ;
}
