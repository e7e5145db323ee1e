/* trie.h - the texts of a vocabulary's tokens, for masks; nobody outside lib/constrain includes it.
 *
 * Most tokens are plain text, and most states of a constraint that let much through let all plain
 * text of some length through. For each of a few slices (characters that count as plain) the tokens
 * of up to so many characters are kept as masks, and the tree of all tokens in an order that has
 * what is plain last: what a mask was taken for is passed over without looking at it.
 */
#ifndef SM_CONSTRAIN_TRIE_H
#define SM_CONSTRAIN_TRIE_H

#include "text/text.h"

#define SM_SLICES 2
/* Groups of bytes, as bits: of ASCII, so that what grammars tell apart is in different ones; what
 * is beyond; that some text is no whole UTF-8; that a character has begun. */
#define SM_ASCII_GROUPS 29
#define SM_GROUP_HIGH (1U << 29)
#define SM_GROUP_BROKEN (1U << 30)
#define SM_GROUP_INSIDE (1U << 31)
#define SM_HOLDING (128 + 31) /* masks of tokens that hold a byte, then a group */
#define SM_SLICE_LENGTHS 10

typedef struct sm_twig {
    uint32_t end;   /* the number behind the last one below it */
    uint32_t below; /* groups of the bytes below it */
    int32_t token;  /* whose text ends here; -1: none */
    uint16_t depth; /* bytes up to here */
    uint8_t byte;
    uint8_t need; /* characters of the longest text from here on; 255: some are not plain */
} sm_twig;

typedef struct sm_trie {
    sm_mem *mem;
    uint32_t n_vocab, n_words, n_twigs, max_depth;
    sm_twig *twigs[SM_SLICES];
    uint32_t *plain[SM_SLICES]; /* [SM_SLICE_LENGTHS][n_words] */
    uint32_t group[256];        /* of each byte, its bit */
    int32_t *broken;            /* [n_broken]: tokens that are no whole UTF-8 */
    uint32_t n_broken;
    uint32_t *holding; /* [SM_HOLDING][n_words]; without a text: high and broken */
    int32_t *same;     /* [n_vocab]: the next token with the same text, -1 */
    uint32_t *ends;    /* [n_words]: tokens that end a generation */
    sm_str *text;      /* [n_vocab]; of control tokens 0xFF and what they are called */
    uint8_t *marked;   /* room for those */
} sm_trie;

extern const uint8_t sm_slice_lengths[SM_SLICE_LENGTHS];
uint32_t sm_byte_group(uint8_t byte); /* its number; 29 from 0x80 on */
/* Whether a character is plain in a slice. */
bool sm_slice_has(uint32_t slice, uint32_t code);

/* The tokenizer's, made if it has none yet. SM_ERR_NOMEM, SM_ERR_UNSUPPORTED. */
sm_status sm_trie_of(const sm_trie **out, const sm_tokenizer *tokenizer, sm_error *error);

#endif
