/* Hand-written forms of the patterns in pretokenize.c; a test holds each
 * against the regex it stands for. */
#include "pretokenize.h"

#include <string.h>

typedef struct scan {
    const uint8_t *text;
    uint64_t length;
    sm_pace *pace; /* once it says stop every run ends where it is; sm_split_next reports that */
} scan;

#define BLOCK SM_PACE_PART /* bytes of a run between questions whether to go on */

static uint64_t block_end(const scan *s, uint64_t i) {
    return s->length - i < BLOCK ? s->length : i + BLOCK;
}

/* Whether the run that has come to the end of a block goes on. */
static bool next_block(const scan *s, uint64_t i) {
    return i < s->length && sm_pace_step(s->pace, BLOCK);
}

/* The same in loops that count single characters, in *steps. */
static inline bool go_on(const scan *s, uint64_t *steps) {
    return sm_pace_add(s->pace, steps, 1);
}

/* Classes of the character at i, its bytes in *n; 0 and 0 at the end. */
static uint32_t class_at(const scan *s, uint64_t i, uint32_t *n) {
    if (i >= s->length) {
        *n = 0;
        return 0;
    }
    return sm_char_at(s->text + i, s->length - i, n);
}

/* End of the run from i of characters that have a class of `any`. */
static uint64_t run_of(const scan *s, uint64_t i, uint32_t any) {
    do {
        uint64_t stop = block_end(s, i);
        for (uint32_t n; i < stop; i += n) {
            while (i < stop && s->text[i] < 0x80) {
                if (!(sm_char_ascii[s->text[i]] & any))
                    return i;
                i++;
            }
            n = 0;
            if (i < stop && !(class_at(s, i, &n) & any))
                return i;
        }
    } while (next_block(s, i));
    return i;
}

/* End of the run from i of characters that have no class of `none`. */
static uint64_t run_without(const scan *s, uint64_t i, uint32_t none) {
    do {
        uint64_t stop = block_end(s, i);
        for (uint32_t n; i < stop; i += n) {
            while (i < stop && s->text[i] < 0x80) {
                if (sm_char_ascii[s->text[i]] & none)
                    return i;
                i++;
            }
            n = 0;
            if (i < stop && class_at(s, i, &n) & none)
                return i;
        }
    } while (next_block(s, i));
    return i;
}

static uint64_t run_of_bytes(const scan *s, uint64_t i, char a, char b, char c) {
    do {
        for (uint64_t stop = block_end(s, i); i < stop; i++)
            if (s->text[i] != a && s->text[i] != b && s->text[i] != c)
                return i;
    } while (next_block(s, i));
    return i;
}

/* End of 's 't 'm 'd 're 've 'll at i, or i. */
static uint64_t contraction(const scan *s, uint64_t i, bool any_case) {
    if (s->length - i < 2 || s->text[i] != '\'')
        return i;
    uint32_t fold = any_case ? 0x20 : 0;
    uint32_t a = s->text[i + 1] | fold, b = s->length - i > 2 ? s->text[i + 2] | fold : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return i + 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
        return i + 3;
    /* the long s is one where case does not count */
    return any_case && s->length - i > 2 && s->text[i + 1] == 0xC5 && s->text[i + 2] == 0xBF ? i + 3
                                                                                             : i;
}

/* The alternatives \s*[\r\n]+ (if `lines`), \s+(?!\S), \s+ at a white space. */
static uint64_t white_space(const scan *s, uint64_t i, bool lines) {
    uint64_t end = i, before_last = i, line_end = i, steps = 0;
    uint32_t n;
    for (uint32_t class; (class = class_at(s, end, &n)) & SM_CHAR_SPACE;) {
        before_last = end;
        end += n;
        if (class & SM_CHAR_NEWLINE)
            line_end = end;
        if (!go_on(s, &steps))
            break;
    }
    if (lines && line_end > i)
        return line_end;
    return end == s->length || before_last == i ? end : before_last;
}

static uint64_t skip(const scan *s, uint64_t i, uint64_t count) {
    for (uint32_t n; count > 0; count--, i += n)
        (void)class_at(s, i, &n);
    return i;
}

/* \s{512}(?!\S)|\s{256}(?!\S)|…|\s{4}(?!\S)|\s{1,2}(?!\S)|\s behind \s*[\r\n]+. *run_end is
 * the end of a run of white space known to have no line end. */
static uint64_t halving_space(const scan *s, uint64_t i, uint64_t *run_end) {
    if (i >= *run_end) {
        uint64_t line = white_space(s, i, true);
        if (s->text[line - 1] == '\n' || s->text[line - 1] == '\r')
            return line;
        *run_end = run_of(s, i, SM_CHAR_SPACE);
    }
    uint32_t count = 0, n, take = 512;
    for (uint64_t at = i; at < *run_end && count <= 512; at += n, count++)
        (void)class_at(s, at, &n);
    if (*run_end < s->length && count <= 512)
        count--; /* the last one stands before something else */
    while (take > count && take > 1)
        take = take == 4 ? 2 : take / 2;
    return skip(s, i, take);
}

/* \p{N}{1,max} */
static uint64_t digits(const scan *s, uint64_t i, uint32_t max) {
    uint64_t steps = 0;
    uint32_t n;
    for (uint32_t k = 0;
         (max == 0 || k < max) && class_at(s, i, &n) & SM_CHAR_NUMBER && go_on(s, &steps); k++)
        i += n;
    return i;
}

#define WORDLIKE (SM_CHAR_LETTER | SM_CHAR_NUMBER | SM_CHAR_SPACE)

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static uint64_t scan_gpt2(const scan *s, uint64_t i) {
    uint64_t end = contraction(s, i, false);
    if (end > i)
        return end;
    uint32_t n, class = class_at(s, i, &n);
    uint64_t at = i;
    if (s->text[i] == ' ' && i + 1 < s->length) {
        uint32_t next = class_at(s, i + 1, &n);
        if (!(next & SM_CHAR_SPACE)) {
            class = next;
            at = i + 1;
        }
    }
    if (class & SM_CHAR_LETTER)
        return run_of(s, at, SM_CHAR_LETTER);
    if (class & SM_CHAR_NUMBER)
        return run_of(s, at, SM_CHAR_NUMBER);
    if (class & SM_CHAR_SPACE)
        return white_space(s, i, false);
    return run_without(s, at, WORDLIKE);
}

/* ' ?[^\s\p{L}\p{N}]+' and what may follow it, at i; i if it does not match. */
static uint64_t punctuation(const stage *rules, const scan *s, uint64_t i) {
    uint32_t letters = rules->marks ? SM_CHAR_MARK : 0, n;
    uint64_t at = i + (s->text[i] == ' ');
    if (at == s->length || class_at(s, at, &n) & (WORDLIKE | letters))
        return i;
    at = run_without(s, at, WORDLIKE | letters);
    if (rules->phrases)
        return at + (at < s->length && (s->text[at] == '\r' || s->text[at] == '\n'));
    return rules->bare ? at : run_of_bytes(s, at, '\r', '\n', rules->slash ? '/' : '\n');
}

/* What STAGE_WORDS and STAGE_CASED share behind their words. */
static uint64_t after_words(const stage *rules, const scan *s, uint64_t i, uint32_t class,
                            uint64_t *memo) {
    if (class & SM_CHAR_NUMBER)
        return digits(s, i, rules->max);
    uint64_t end = punctuation(rules, s, i);
    if (end > i)
        return end;
    return rules->halving ? halving_space(s, i, memo) : white_space(s, i, true);
}

/* What goes on from a letter: letters, or (?:[\p{L}\p{M}]| \p{L})* if rules->phrases. */
static uint64_t word_end(const stage *rules, const scan *s, uint64_t i, uint32_t letter) {
    if (!rules->phrases)
        return run_of(s, i, letter);
    for (uint64_t begin = i, steps = 0;; begin = i) {
        uint32_t n;
        i = run_of(s, i, letter | SM_CHAR_MARK);
        if (i == s->length || s->text[i] != ' ' || !(class_at(s, i + 1, &n) & letter) ||
            !sm_pace_add(s->pace, &steps, i - begin + 1))
            return i;
        i += 1 + n;
    }
}

/* contractions|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,max}| ?[^\s\p{L}\p{N}]+[\r\n]*|
 * \s*[\r\n]+|\s+(?!\S)|\s+ */
static uint64_t scan_words(const stage *rules, const scan *s, uint64_t i, uint64_t *memo) {
    uint32_t letter = SM_CHAR_LETTER | (rules->marks ? SM_CHAR_MARK : 0), n, m;
    uint32_t class = class_at(s, i, &n);
    if (class & letter)
        return word_end(rules, s, i, letter);
    if (rules->contractions) {
        uint64_t end = contraction(s, i, true);
        if (end > i)
            return end;
    }
    if (!(class & (SM_CHAR_NUMBER | SM_CHAR_NEWLINE)) && class_at(s, i + n, &m) & letter)
        return word_end(rules, s, i + n, letter);
    return after_words(rules, s, i, class, memo);
}

/* in_set beyond ASCII */
static uint32_t in_wide_set(const stage *rules, const scan *s, uint64_t i, uint32_t *n) {
    uint32_t class = class_at(s, i, n), code;
    if (!*n)
        return 0;
    if (class & rules->set->classes)
        return 1;
    if (!rules->set->n_ranges)
        return 0;
    (void)sm_utf8_decode(s->text + i, s->length - i, &code);
    uint32_t low = 0, high = rules->set->n_ranges; /* first range that ends at or after code */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (rules->set->ranges[middle][1] < code)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == rules->set->n_ranges || rules->set->ranges[low][0] > code)
        return 0;
    return rules->set->kinds ? (uint32_t)rules->set->kinds[low] : 1;
}

static bool is_upper(uint32_t class) { /* [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] */
    return class & SM_CHAR_MARK || (class & SM_CHAR_LETTER && !(class & SM_CHAR_LOWER));
}

static bool is_lower(uint32_t class) { /* [\p{Ll}\p{Lm}\p{Lo}\p{M}] */
    return class & SM_CHAR_MARK || (class & SM_CHAR_LETTER && !(class & SM_CHAR_UPPER));
}

/* The classes of the character at i for STAGE_CASED: none if it is of the script apart. */
static uint32_t cased_class(const stage *rules, const scan *s, uint64_t i, uint32_t *n) {
    if (rules->set && i < s->length && s->text[i] >= 0x80 && in_wide_set(rules, s, i, n))
        return 0;
    return class_at(s, i, n);
}

/* upper*lower+ at i (or, if `shout`, upper+lower* where that failed); i if it
 * does not match. */
static uint64_t cased_word(const stage *rules, const scan *s, uint64_t i, bool shout) {
    uint64_t at = i, give_back = i, steps = 0;
    uint32_t n, class;
    for (; is_upper(class = cased_class(rules, s, at, &n)) && go_on(s, &steps); at += n)
        if (is_lower(class))
            give_back = at + n; /* upper* leaves this one to lower+ */
    if (shout)
        return at;
    if (!is_lower(class))
        return give_back;
    while (is_lower(cased_class(rules, s, at, &n)) && go_on(s, &steps))
        at += n;
    return at;
}

/* [script]+|[^\r\n\p{L}\p{N}]?upper*lower+contraction?|[^\r\n\p{L}\p{N}]?upper+lower*contraction?|
 * \p{N}{1,max}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static uint64_t scan_cased(const stage *rules, const scan *s, uint64_t i) {
    uint64_t steps = 0;
    uint32_t n, class = class_at(s, i, &n);
    if (rules->set && s->text[i] >= 0x80 && in_wide_set(rules, s, i, &n)) {
        while (i < s->length && s->text[i] >= 0x80 && in_wide_set(rules, s, i, &n) &&
               go_on(s, &steps))
            i += n;
        return i;
    }
    bool prefix = !(class & (SM_CHAR_LETTER | SM_CHAR_NUMBER | SM_CHAR_NEWLINE));
    for (uint32_t shout = 0; shout < 2; shout++) {
        uint64_t end = i;
        if (prefix && (end = cased_word(rules, s, i + n, shout)) == i + n)
            end = i;
        if (end == i)
            end = cased_word(rules, s, i, shout);
        if (end > i)
            return rules->contractions ? contraction(s, end, true) : end;
    }
    return after_words(rules, s, i, class, NULL);
}

static bool ascii_letter(const scan *s, uint64_t i) {
    return i < s->length && s->text[i] < 0x80 && sm_char_ascii[s->text[i]] & SM_CHAR_LETTER;
}

/* [ASCII punctuation][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|
 * \s*[\r\n]+|\s+(?!\S)|\s+ at i; i if it does not match. If rules->bare, [\p{P}\p{S}]+ alone and
 * [\r\n] instead of \s*[\r\n]+. */
static uint64_t script_match(const stage *rules, const scan *s, uint64_t i) {
    const uint32_t letter = SM_CHAR_LETTER | SM_CHAR_MARK, sign = SM_CHAR_PUNCT | SM_CHAR_SYMBOL;
    uint32_t n, m, class = class_at(s, i, &n);
    if (class & letter)
        return run_of(s, i, letter);
    if (n == 1 && class & sign && ascii_letter(s, i + 1)) {
        uint64_t end = i + 2, steps = 0;
        while (ascii_letter(s, end) && go_on(s, &steps))
            end++;
        return end;
    }
    if (!(class & (sign | SM_CHAR_NEWLINE)) && class_at(s, i + n, &m) & letter)
        return run_of(s, i + n, letter);
    uint64_t at = i + (s->text[i] == ' ');
    if (class_at(s, at, &m) & sign && rules->bare)
        return run_of(s, at, sign);
    if (class_at(s, at, &m) & sign)
        return run_of_bytes(s, run_of(s, at, sign), '\r', '\n', '\n');
    if (rules->bare && class & SM_CHAR_NEWLINE)
        return i + n;
    return class & SM_CHAR_SPACE ? white_space(s, i, !rules->bare) : i;
}

static uint64_t scan_script(const stage *rules, const scan *s, uint64_t i) {
    uint64_t end = script_match(rules, s, i);
    if (end > i)
        return end;
    /* what nothing matches (digits, control characters) makes one piece */
    uint64_t steps = 0;
    for (uint32_t n;
         i < s->length && script_match(rules, s, i) == i && sm_pace_add(s->pace, &steps, 4); i += n)
        (void)class_at(s, i, &n);
    return i;
}

/* The kind of member that the character at i is, 0 if it (or nothing, at the end) is none; its
 * bytes in *n. */
static uint32_t in_set(const stage *rules, const uint8_t *set, const scan *s, uint64_t i,
                       uint32_t *n) {
    if (i >= s->length || s->text[i] >= 0x80)
        return in_wide_set(rules, s, i, n);
    *n = 1;
    return set[s->text[i]];
}

/* Whether [set] or \s?[set] matches at i; *at is where its first member is. */
static bool set_begins(const stage *rules, const uint8_t *set, const scan *s, uint64_t i,
                       uint64_t *at) {
    uint32_t n, m;
    *at = i;
    if (rules->spaced && class_at(s, i, &n) & SM_CHAR_SPACE && in_set(rules, set, s, i + n, &m)) {
        *at = i + n;
        return true;
    }
    return in_set(rules, set, s, i, &n);
}

/* The first place from i on where a match begins. */
static uint64_t set_search(const stage *rules, const uint8_t *set, const scan *s, uint64_t i) {
    for (uint64_t at, steps = 0; i < s->length && go_on(s, &steps);) {
        uint8_t c = s->text[i];
        if (c < 0x80 && !set[c] && !(rules->spaced && sm_char_ascii[c] & SM_CHAR_SPACE)) {
            i++;
            continue;
        }
        if (set_begins(rules, set, s, i, &at))
            return i;
        uint32_t n;
        (void)class_at(s, i, &n);
        i += n;
    }
    return i;
}

/* [set]{1,max} or \s?[set]{1,max} */
static uint64_t scan_set(const stage *rules, const uint8_t *set, const scan *s, uint64_t i) {
    uint64_t at;
    uint32_t n;
    if (!set_begins(rules, set, s, i, &at)) {
        (void)class_at(s, i, &n);
        return set_search(rules, set, s, i + n);
    }
    if (rules->max) {
        for (uint32_t k = 0; k < rules->max && in_set(rules, set, s, at, &n); k++)
            at += n;
        return at;
    }
    const uint32_t kind = in_set(rules, set, s, at, &n);
    do
        for (uint64_t stop = block_end(s, at); at < stop; at += n)
            if (in_set(rules, set, s, at, &n) != kind)
                return at;
    while (next_block(s, at));
    return at;
}

/* Where the run after ` ?` begins that a match of STAGE_PARTS at i has; length if there is none. */
static uint64_t part_begins(const stage *rules, const uint8_t *set, const scan *s, uint64_t i) {
    uint32_t n;
    i += s->text[i] == ' ';
    return i < s->length && !in_set(rules, set, s, i, &n) ? i : s->length;
}

/* ' ?[^set]+' */
static uint64_t scan_parts(const stage *rules, const uint8_t *set, const scan *s, uint64_t i) {
    uint64_t at = part_begins(rules, set, s, i), steps = 0;
    uint32_t n;
    if (at == s->length) {
        do {
            (void)class_at(s, i, &n);
            i += n;
        } while (i < s->length && part_begins(rules, set, s, i) == s->length && go_on(s, &steps));
        return i;
    }
    do
        for (uint64_t stop = block_end(s, at); at < stop; at += n) {
            if (in_set(rules, set, s, at, &n))
                return at;
        }
    while (next_block(s, at));
    return at;
}

/* End of before[set]{1,max}after at i; i if it does not match. The set is of ASCII. */
static uint64_t tag_match(const stage *rules, const uint8_t *set, const scan *s, uint64_t i) {
    const uint64_t n = strlen(rules->before);
    if (s->length - i < n || memcmp(s->text + i, rules->before, (size_t)n) != 0)
        return i;
    uint64_t at = i + n, steps = 0;
    while (at < s->length && s->text[at] < 0x80 && set[s->text[at]] &&
           (rules->max == 0 || at - i - n < rules->max) && go_on(s, &steps))
        at++;
    return at > i + n && at < s->length && s->text[at] == (uint8_t)rules->after ? at + 1 : i;
}

static uint64_t scan_tag(const stage *rules, const uint8_t *set, const scan *s, uint64_t i) {
    uint64_t end = tag_match(rules, set, s, i);
    if (end > i)
        return end;
    i++; /* and on to where a tag begins */
    do
        for (uint64_t stop = block_end(s, i); i < stop; i++) {
            const uint8_t *first = memchr(s->text + i, rules->before[0], (size_t)(stop - i));
            i = first ? (uint64_t)(first - s->text) : stop;
            if (first && tag_match(rules, set, s, i) > i)
                return i;
            if (!first)
                break;
        }
    while (next_block(s, i));
    return i;
}

/* End of [\t\n], of four spaces or of two at i; i if there is none of them. */
static uint64_t indent(const scan *s, uint64_t i) {
    if (s->text[i] == '\t' || s->text[i] == '\n')
        return i + 1;
    uint64_t spaces = 0;
    while (spaces < 4 && i + spaces < s->length && s->text[i + spaces] == ' ')
        spaces++;
    return i + (spaces == 4 ? 4 : spaces >= 2 ? 2 : 0);
}

static uint64_t scan_indent(const scan *s, uint64_t i) {
    uint64_t end = indent(s, i);
    if (end > i)
        return end;
    do
        for (uint64_t stop = block_end(s, i); i < stop; i++)
            if (indent(s, i) > i)
                return i;
    while (next_block(s, i));
    return i;
}

static bool is_triple(const scan *s, uint64_t i) {
    if (s->length - i < 3)
        return false;
    for (uint64_t k = i; k < i + 3; k++)
        if (s->text[k] < '0' || s->text[k] > '9')
            return false;
    return true;
}

static uint64_t scan_triple(const scan *s, uint64_t i) {
    if (is_triple(s, i))
        return i + 3;
    uint64_t steps = 0;
    while (i < s->length && !is_triple(s, i) && go_on(s, &steps))
        i++;
    return i;
}

/* \s+$: the white space at the end of the text is one piece, what precedes it another */
static uint64_t scan_trailing(const scan *s, uint64_t i) {
    uint64_t begin = s->length, steps = 0;
    while (begin > i && go_on(s, &steps)) {
        uint64_t at = begin - 1;
        while (at > i && (s->text[at] & 0xC0) == 0x80)
            at--;
        uint32_t n;
        if (!(class_at(s, at, &n) & SM_CHAR_SPACE))
            break;
        begin = at;
    }
    return begin > i ? begin : s->length;
}

static uint64_t scan_lines(const scan *s, uint64_t i) {
    bool line_end = s->text[i] == '\n';
    do {
        for (uint64_t stop = block_end(s, i); i < stop; i++)
            if ((s->text[i] == '\n') != line_end)
                return i;
    } while (next_block(s, i));
    return i;
}

/* End of the run of digits at i and how many there are; i if there is none or
 * (if rules->whole) a word character follows it. *next is where to look on. */
static uint64_t digit_run(const stage *rules, const uint8_t *set, const scan *s, uint64_t i,
                          uint64_t *count, uint64_t *next) {
    uint64_t end = i, steps = 0;
    uint32_t n;
    for (*count = 0; in_set(rules, set, s, end, &n) && go_on(s, &steps); end += n)
        ++*count;
    *next = end;
    if (end == i) {
        (void)class_at(s, i, &n);
        *next = i + n;
    } else if (rules->whole && end < s->length &&
               (s->text[end] == '_' ||
                class_at(s, end, &n) & (SM_CHAR_LETTER | SM_CHAR_DIGIT | SM_CHAR_MARK)))
        return i;
    return end;
}

static uint64_t scan_groups(const stage *rules, const uint8_t *set, const scan *s, uint64_t from,
                            uint64_t *run_end) {
    uint64_t count = 3, i = from, next, steps = 0;
    if (from >= *run_end) {
        uint64_t end = digit_run(rules, set, s, from, &count, &next);
        if (end == from) { /* a piece without groups, up to the next run that has them */
            for (i = next; i < s->length && digit_run(rules, set, s, i, &count, &next) == i &&
                           sm_pace_add(s->pace, &steps, next - i);)
                i = next;
            return i;
        }
        *run_end = end;
        count = (count - 1) % 3 + 1;
    }
    return skip(s, i, count);
}

uint64_t sm_scan(const stage *rules, const uint8_t *set, const uint8_t *text, uint64_t length,
                 uint64_t from, uint64_t *memo, sm_pace *pace) {
    const scan whole = {text, length, pace}, *s = &whole;
    switch (rules->op) {
    case STAGE_SET:
        return scan_set(rules, set, s, from);
    case STAGE_TRIPLE:
        return scan_triple(s, from);
    case STAGE_TRAILING:
        return scan_trailing(s, from);
    case STAGE_LINES:
        return scan_lines(s, from);
    case STAGE_GROUPS:
        return scan_groups(rules, set, s, from, memo);
    case STAGE_GPT2:
        return scan_gpt2(s, from);
    case STAGE_WORDS:
        return scan_words(rules, s, from, memo);
    case STAGE_CASED:
        return scan_cased(rules, s, from);
    case STAGE_PARTS:
        return scan_parts(rules, set, s, from);
    case STAGE_TAG:
        return scan_tag(rules, set, s, from);
    case STAGE_INDENT:
        return scan_indent(s, from);
    case STAGE_SCRIPT:
        return scan_script(rules, s, from);
    }
    return length; /* no op is left */
}
