/* pretokenize.h - how the pre-tokenizer table (pretokenize.c) describes its
 * stages to the scanners (scan.c). */
#ifndef SM_TEXT_PRETOKENIZE_H
#define SM_TEXT_PRETOKENIZE_H

#include "internal.h"

/* A set of characters: by class, by ASCII spelling, by ranges beyond ASCII. */
typedef struct char_set {
    uint32_t classes;
    const char *ascii;
    const uint32_t (*ranges)[2]; /* ascending, inclusive */
    uint32_t n_ranges;
    const char
        *kinds; /* of each range one, from 1 on; runs end where it changes; NULL: all alike */
} char_set;

typedef enum stage_op {
    STAGE_SET,      /* [set]{1,max} (max 0: any number), after `\s?` if spaced */
    STAGE_TRIPLE,   /* exactly three ASCII digits */
    STAGE_GROUPS,   /* runs of digits in groups of three counted from the right */
    STAGE_TRAILING, /* \s+$ */
    STAGE_LINES,    /* [^\n]+|[\n]+ */
    STAGE_PARTS,    /* ' ?' and what is not in the set */
    STAGE_TAG,      /* before[set]{1,max}after */
    STAGE_INDENT,   /* [\t\n]|    |  (four spaces, two) */
    STAGE_GPT2,
    STAGE_WORDS,  /* the family that began with GPT-4's pattern */
    STAGE_CASED,  /* GPT-4o's: splits before upper case inside words */
    STAGE_SCRIPT, /* DeepSeek V3's */
} stage_op;

typedef struct stage {
    stage_op op;
    uint8_t max;       /* SET, TAG; WORDS and CASED: longest run of digits (0: any) */
    bool spaced;       /* SET: `\s?` in front */
    bool contractions; /* WORDS: 's 't … first; CASED: behind a word */
    bool marks;        /* WORDS: \p{M} counts as a letter */
    bool slash;        /* CASED: [\r\n/]* behind punctuation, else [\r\n]* */
    bool bare;    /* WORDS, SCRIPT: no line ends behind punctuation; SCRIPT: each its own piece */
    bool phrases; /* WORDS: they go on behind single spaces, to [\r\n]? behind punctuation */
    bool whole;   /* GROUPS: not if a word character follows the run */
    bool halving; /* WORDS: white space in pieces of 512, 256, … characters */
    char after;   /* TAG: not in the set */
    const char *before;  /* TAG */
    const char_set *set; /* SET, GROUPS, PARTS, TAG; CASED: a script that makes words of its own */
} stage;

/* The end of the piece of text[0..length) that begins at `from` < length. A
 * stage's text is one piece of the stage before. `set` has one byte for each
 * ASCII character of rules->set. *memo, 0 for a new text, is the scanner's own. Some place
 * from `from` on if pace says stop. */
uint64_t sm_scan(const stage *rules, const uint8_t *set, const uint8_t *text, uint64_t length,
                 uint64_t from, uint64_t *memo, sm_pace *pace);

/* The scanner that makes the pieces (matches and what lies between) of a pattern, which is known by
 * its text, and the ASCII members of its set; NULL. */
const stage *sm_scan_of(sm_str pattern, uint8_t ascii[128]);

#endif
