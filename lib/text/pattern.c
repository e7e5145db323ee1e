/* Regular expressions: the machine that matches them, and the sets of characters. */
#include "pattern_code.h"

#define MAX_STEPS_PER_BYTE 2000 /* of one search; a search of little text has MIN_STEPS */
#define MIN_STEPS 4000000

bool sm_is_word(uint32_t code) {
    const uint32_t words = 1U << SM_CATEGORY_LU | 1U << SM_CATEGORY_LL | 1U << SM_CATEGORY_LT |
                           1U << SM_CATEGORY_LM | 1U << SM_CATEGORY_LO | 1U << SM_CATEGORY_NL |
                           1U << SM_CATEGORY_MN | 1U << SM_CATEGORY_MC | 1U << SM_CATEGORY_ME |
                           1U << SM_CATEGORY_ND | 1U << SM_CATEGORY_PC;
    return words >> sm_category_of(code) & 1 ||
           (code >= 0x24B6 && code <= 0x24E9) || /* letters in circles and squares */
           (code >= 0x1F130 && code <= 0x1F149) || (code >= 0x1F150 && code <= 0x1F169) ||
           (code >= 0x1F170 && code <= 0x1F189);
}

/* ---- sets of characters ---------------------------------------------------------------------- */

static bool in_ranges(const sm_pattern *p, const term *t, uint32_t code) {
    for (uint32_t i = t->a; i < t->a + t->b; i++)
        if (code >= p->ranges[i].low && code <= p->ranges[i].high)
            return true;
    return false;
}

bool sm_char_test_holds(const sm_pattern *p, const sm_char_test *set, uint32_t code) {
    uint64_t bits = 0; /* a stack of truths, the last one lowest */
    const uint32_t category = sm_category_of(code);
    for (uint32_t i = set->at; i < set->at + set->n; i++) {
        const term *t = &p->terms[i];
        switch (t->op) {
        case TERM_CATEGORIES:
            bits = bits << 1 | (t->a >> category & 1);
            break;
        case TERM_RANGES:
            bits = bits << 1 | in_ranges(p, t, code);
            break;
        case TERM_SCRIPT:
            bits = bits << 1 | (sm_script_of(code) == t->a);
            break;
        case TERM_SPACE:
            bits = bits << 1 | ((sm_char_class(code) & SM_CHAR_SPACE) != 0);
            break;
        case TERM_WORD:
            bits = bits << 1 | sm_is_word(code);
            break;
        case TERM_NOT:
            bits ^= 1;
            break;
        case TERM_OR:
            bits = (bits >> 1) | (bits & 1);
            break;
        case TERM_AND:
            bits = (bits >> 1) & (~(uint64_t)1 | (bits & 1));
            break;
        }
    }
    return bits & 1;
}

/* Whether the character at text[at..length) is a member; its bytes in *n. */
static inline bool in_test(const sm_pattern *p, uint32_t set, const uint8_t *text, uint64_t length,
                           uint64_t at, uint32_t *n) {
    *n = 1;
    if (at >= length)
        return false;
    if (text[at] < 0x80)
        return p->sets[set].ascii[text[at]];
    uint32_t code;
    *n = sm_utf8_decode(text + at, length - at, &code);
    return sm_char_test_holds(p, &p->sets[set], code);
}

/* ---- the machine ----------------------------------------------------------------------------- */

/* What to do if the way taken fails. */
typedef enum choice {
    CHOOSE_OTHER,    /* go on at pc with pos */
    CHOOSE_FEWER,    /* a run gives back a character, down to `least` */
    CHOOSE_MORE,     /* a lazy run takes one, up to `least` of them */
    CHOOSE_REGISTER, /* put back register pc */
    CHOOSE_FRAME,    /* the inside of a look or an atom fails */
} choice;

typedef struct entry {
    uint32_t pc;
    choice what;
    uint64_t pos, least;
} entry;

typedef struct machine {
    const sm_pattern *p;
    sm_matcher *m;
    const uint8_t *text;
    uint64_t length, pos, n, steps, budget;
    uint64_t asked; /* steps that the pace knows of */
    uint64_t frame; /* the innermost: its entry + 1 */
    uint64_t registers[MAX_REGISTERS];
    bool out_of_memory;
} machine;

static bool push(machine *v, entry e) {
    if (v->n == v->m->room) {
        const uint64_t room = v->m->room ? 2 * v->m->room : 64;
        entry *fresh = sm_alloc_array(v->m->mem, room, sizeof *fresh);
        if (!fresh) {
            v->out_of_memory = true;
            return false;
        }
        if (v->n)
            memcpy(fresh, v->m->stack, v->n * sizeof *fresh);
        sm_free(v->m->mem, v->m->stack);
        v->m->stack = fresh;
        v->m->room = room;
    }
    ((entry *)v->m->stack)[v->n++] = e;
    return true;
}

static uint64_t char_before(const machine *v, uint64_t at) {
    do
        at--;
    while (at > 0 && (v->text[at] & 0xC0) == 0x80);
    return at;
}

static bool word_at(const machine *v, uint64_t at) {
    if (at >= v->length)
        return false;
    uint32_t code;
    (void)sm_utf8_decode(v->text + at, v->length - at, &code);
    return sm_is_word(code);
}

static bool at_word_edge(const machine *v) {
    const bool before = v->pos > 0 && word_at(v, char_before(v, v->pos));
    return before != word_at(v, v->pos);
}

static bool asserts(const machine *v, op what) {
    switch (what) {
    case OP_LINE_BEGIN:
        return v->pos == 0 || (v->pos < v->length && v->text[v->pos - 1] == '\n');
    case OP_LINE_END:
        return v->pos == v->length || v->text[v->pos] == '\n';
    case OP_TEXT_BEGIN:
        return v->pos == 0;
    case OP_TEXT_END:
        return v->pos == v->length;
    case OP_TEXT_LAST:
        return v->pos == v->length || (v->pos + 1 == v->length && v->text[v->pos] == '\n');
    case OP_WORD_EDGE:
        return at_word_edge(v);
    default: /* OP_NO_WORD_EDGE */
        return !at_word_edge(v);
    }
}

/* A run of members of a set. */
static bool run(machine *v, uint32_t pc) {
    const instruction *i = &v->p->code[pc];
    uint64_t pos = v->pos, least = pos, k = 0;
    const uint64_t most = i->lazy ? i->min : i->max;
    const uint8_t *ascii = v->p->sets[i->a].ascii;
    uint32_t n;
    for (; k < most; k++) {
        if (pos < v->length && v->text[pos] < 0x80) {
            if (!ascii[v->text[pos]])
                break;
            pos++;
        } else if (in_test(v->p, i->a, v->text, v->length, pos, &n)) {
            pos += n;
        } else {
            break;
        }
        if (k + 1 == i->min)
            least = pos;
    }
    v->steps += k;
    if (k < i->min)
        return false;
    v->pos = pos;
    if (i->lazy && i->max > i->min)
        return push(v, (entry){pc, CHOOSE_MORE, pos, i->max - i->min});
    return i->last || i->possessive || pos == least ||
           push(v, (entry){pc, CHOOSE_FEWER, pos, least});
}

/* Goes back to the last choice and takes its other way; where to go on, or UINT32_MAX. */
static uint32_t backtrack(machine *v) {
    while (v->n) {
        entry *e = &((entry *)v->m->stack)[v->n - 1];
        uint32_t n;
        switch (e->what) {
        case CHOOSE_OTHER:
            v->pos = e->pos;
            v->n--;
            return e->pc;
        case CHOOSE_FEWER:
            e->pos = v->pos = char_before(v, e->pos);
            if (e->pos <= e->least)
                v->n--;
            return e->pc + 1;
        case CHOOSE_MORE:
            if (!in_test(v->p, v->p->code[e->pc].a, v->text, v->length, e->pos, &n)) {
                v->n--;
                break;
            }
            v->pos = e->pos += n;
            if (!--e->least)
                v->n--;
            return e->pc + 1;
        case CHOOSE_REGISTER:
            v->registers[e->pc] = e->pos;
            v->n--;
            break;
        case CHOOSE_FRAME:
            v->n--;
            v->frame = e->least;
            if (v->p->code[e->pc].op == OP_LOOK && v->p->code[e->pc].negative) {
                v->pos = e->pos;
                return e->pc + v->p->code[e->pc].a;
            }
            break;
        }
    }
    return UINT32_MAX;
}

/* The inside of a look or an atom matched: its choices are dropped. */
static uint32_t leave(machine *v, uint32_t pc) {
    const entry e = ((entry *)v->m->stack)[v->frame - 1];
    const instruction *i = &v->p->code[e.pc];
    v->n = v->frame - 1;
    v->frame = e.least;
    if (i->op == OP_ATOM)
        return pc + 1;
    if (i->negative)
        return backtrack(v);
    v->pos = e.pos;
    return pc + 1;
}

static bool step_back(machine *v, uint32_t chars) {
    for (; chars; chars--) {
        if (!v->pos)
            return false;
        v->pos = char_before(v, v->pos);
    }
    return true;
}

static bool may_begin(const machine *v, uint32_t starts) {
    const begin_set *set = &v->p->begins[starts];
    return set->any || (v->pos < v->length && set->bytes[v->text[v->pos]]);
}

static uint32_t split(machine *v, uint32_t pc) {
    const instruction *i = &v->p->code[pc];
    const bool first = may_begin(v, i->min), second = may_begin(v, i->min + 1);
    const uint32_t to = pc + (uint32_t)i->a, other = pc + (uint32_t)i->b;
    if (first && second && !push(v, (entry){other, CHOOSE_OTHER, v->pos, 0}))
        return UINT32_MAX;
    return first ? to : second ? other : backtrack(v);
}

static bool set_register(machine *v, uint32_t r) {
    if (!push(v, (entry){r, CHOOSE_REGISTER, v->registers[r], 0}))
        return false;
    v->registers[r] = v->pos;
    return true;
}

/* False when the search is to stop. */
static bool go_on(machine *v) {
    const uint64_t fresh = v->steps - v->asked;
    if (fresh < SM_PACE_PART)
        return true;
    v->asked = v->steps;
    return sm_pace_step(v->m->pace, fresh) && v->steps < v->budget;
}

/* Whether a match begins at v->pos, whose end that is then. */
static bool match_here(machine *v) {
    uint32_t pc = 0, n;
    v->n = v->frame = 0;
    while (pc != UINT32_MAX && go_on(v)) {
        const instruction *i = &v->p->code[pc];
        bool ok = true;
        v->steps++;
        switch (i->op) {
        case OP_MATCH:
            return true;
        case OP_CHAR:
            ok = v->length - v->pos >= i->b && memcmp(v->text + v->pos, &i->a, i->b) == 0;
            v->pos += ok ? i->b : 0;
            break;
        case OP_SET:
            ok = in_test(v->p, i->a, v->text, v->length, v->pos, &n);
            v->pos += ok ? n : 0;
            break;
        case OP_RUN:
            ok = run(v, pc);
            break;
        case OP_SPLIT:
            pc = split(v, pc);
            continue;
        case OP_JUMP:
            pc += i->a;
            continue;
        case OP_ATOM:
        case OP_LOOK:
            ok = push(v, (entry){pc, CHOOSE_FRAME, v->pos, v->frame});
            v->frame = v->n;
            break;
        case OP_LEAVE:
            pc = leave(v, pc);
            continue;
        case OP_BACK:
            ok = step_back(v, i->a);
            break;
        case OP_MARK:
            ok = set_register(v, i->b);
            break;
        case OP_CHECK:
            if (v->registers[i->b] == v->pos) {
                pc += i->a;
                continue;
            }
            break;
        default:
            ok = asserts(v, i->op);
        }
        pc = ok ? pc + 1 : v->out_of_memory ? UINT32_MAX : backtrack(v);
    }
    return false;
}

/* The first place from v->pos on where a match may begin; length if there is none. */
static uint64_t next_place(const machine *v, uint64_t at) {
    const begin_set *set = &v->p->begins[0];
    while (at < v->length && !set->bytes[v->text[at]])
        at++;
    return at;
}

static sm_status find_status(machine *v, sm_error *error) {
    if (v->out_of_memory)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    if (v->m->pace->stopped)
        return sm_fail(error, SM_ERR_CANCELLED, "cancelled");
    if (v->steps >= v->budget)
        return sm_fail(error, SM_ERR_UNSUPPORTED,
                       "the text takes more than %llu steps of a regular expression",
                       (unsigned long long)v->budget);
    return SM_OK;
}

sm_status sm_pattern_find(const sm_pattern *pattern, sm_matcher *matcher, const uint8_t *text,
                          uint64_t length, uint64_t from, uint64_t *begin, uint64_t *end,
                          sm_error *error) {
    machine v;
    v.p = pattern;
    v.m = matcher;
    v.text = text;
    v.length = length;
    v.steps = v.asked = 0;
    v.out_of_memory = false;
    v.budget = (length - from) * MAX_STEPS_PER_BYTE;
    v.budget = v.budget < MIN_STEPS ? MIN_STEPS : v.budget;
    *begin = UINT64_MAX;
    const bool anywhere = pattern->begins[0].any;
    for (uint64_t at = from; at <= length; at++) {
        const uint64_t begun = at;
        if (!anywhere)
            at = next_place(&v, at);
        v.steps += (at - begun) / 8;
        if (at == length && !anywhere)
            break;
        if (at < length && at > from && (text[at] & 0xC0) == 0x80)
            continue;
        v.pos = at;
        if (match_here(&v)) {
            *begin = at;
            *end = v.pos;
            break;
        }
        if (v.out_of_memory || !go_on(&v))
            break;
    }
    return find_status(&v, error);
}

bool sm_pattern_is_byte(const sm_pattern *pattern, uint8_t *byte) {
    if (pattern->n_code != 2 || pattern->code[0].op != OP_CHAR || pattern->code[0].b != 1)
        return false;
    memcpy(byte, &pattern->code[0].a, 1);
    return true;
}

void sm_matcher_done(sm_matcher *matcher) {
    sm_free(matcher->mem, matcher->stack);
    matcher->stack = NULL;
    matcher->room = 0;
}

void sm_pattern_free(sm_pattern *pattern, sm_mem *mem) {
    if (!pattern)
        return;
    sm_free(mem, pattern->code);
    sm_free(mem, pattern->terms);
    sm_free(mem, pattern->ranges);
    sm_free(mem, pattern->sets);
    sm_free(mem, pattern->begins);
    sm_free(mem, pattern);
}
