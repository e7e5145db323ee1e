/* internal.h - what the files of lib/text share; nobody else includes it. */
#ifndef SM_TEXT_INTERNAL_H
#define SM_TEXT_INTERNAL_H

#include <string.h>

#include "text/text.h"

#define SM_NO_ID UINT32_MAX           /* a symbol that no token spells */
#define SM_MAX_TOKEN_BYTES 4096       /* a longer vocabulary entry is refused */
#define SM_LOWER_BLOCK "\xE2\x96\x81" /* U+2581, how SentencePiece writes a space */

/* ---- character classes (unicode.c) --------------------------------------- */

#define SM_CHAR_LETTER 1U    /* \p{L} */
#define SM_CHAR_NUMBER 2U    /* \p{N} */
#define SM_CHAR_SPACE 4U     /* White_Space */
#define SM_CHAR_PUNCT 8U     /* \p{P} */
#define SM_CHAR_SYMBOL 16U   /* \p{S} */
#define SM_CHAR_MARK 32U     /* \p{M} */
#define SM_CHAR_UPPER 64U    /* \p{Lu} \p{Lt} */
#define SM_CHAR_LOWER 128U   /* \p{Ll} */
#define SM_CHAR_NEWLINE 256U /* \r \n */
#define SM_CHAR_CONTROL 512U /* \p{Cc} \p{Cf} \p{Co} \p{Cs} */
#define SM_CHAR_MN 1024U     /* \p{Mn} */
#define SM_CHAR_DIGIT 2048U  /* \p{Nd} */

extern const uint16_t sm_char_ascii[128];
/* Classes of any code point. */
uint32_t sm_char_class(uint32_t code);
/* Characters that BERT makes words of their own: the CJK ideographs. */
bool sm_is_ideograph(uint32_t code);
/* Where the extended grapheme cluster at `at` of valid UTF-8 ends, as far as clusters of up to five
 * bytes and what they are cut from go (graphemes.c). */
uint64_t sm_grapheme_end(const uint8_t *text, uint64_t length, uint64_t at);

/* Classes of the character at text[0..length) (valid UTF-8) and its bytes. */
static inline uint32_t sm_char_at(const uint8_t *text, uint64_t length, uint32_t *bytes) {
    if (text[0] < 0x80) {
        *bytes = 1;
        return sm_char_ascii[text[0]];
    }
    uint32_t code;
    *bytes = sm_utf8_decode(text, length, &code);
    return sm_char_class(code);
}

/* ---- lookup structures (strings.c) --------------------------------------- */

/* Byte strings with consecutive numbers, in one block. */
typedef struct sm_strings {
    char *data;
    uint32_t *at; /* [n + 1] */
    uint32_t n;
} sm_strings;

static inline const char *sm_strings_get(const sm_strings *strings, uint32_t i, uint32_t *length) {
    *length = strings->at[i + 1] - strings->at[i];
    return strings->data + strings->at[i];
}

/* Hash index over sm_strings: the lowest number of equal strings; empty ones
 * are not found. */
typedef struct sm_index {
    uint64_t *slots; /* hash tag << 32 | number + 1; 0: free */
    uint64_t mask;
    uint64_t seed;
} sm_index;

/* pace may be NULL; once it says stop the index is incomplete. */
bool sm_index_build(sm_index *index, sm_mem *mem, const sm_strings *strings, sm_pace *pace);
/* SM_NO_ID if absent. */
uint32_t sm_index_find(const sm_index *index, const sm_strings *strings, const void *text,
                       uint64_t length);

/* Pairs of ids -> (rank, merged id). */
typedef struct sm_pair {
    uint64_t key; /* left << 32 | right; UINT64_MAX: free */
    uint32_t rank;
    uint32_t merged;
} sm_pair;

typedef struct sm_pairs {
    sm_pair *slots;
    uint64_t mask;
    uint64_t seed;
} sm_pairs;

/* Room for n pairs. */
bool sm_pairs_init(sm_pairs *pairs, sm_mem *mem, uint64_t n);
/* Keeps what a pair already has. */
void sm_pairs_add(sm_pairs *pairs, uint32_t left, uint32_t right, uint32_t rank, uint32_t merged);
const sm_pair *sm_pairs_find(const sm_pairs *pairs, uint32_t left, uint32_t right);

/* A set of strings in byte order, for finding those a text begins with. */
typedef struct sm_prefixes {
    uint32_t *ids; /* sorted by their strings */
    uint32_t n;
    uint32_t first[257];  /* range of each first byte */
    uint32_t marked[257]; /* of each byte that follows U+2581, as words begin; [256]: their end */
} sm_prefixes;

/* Takes ids[0..n) of the given strings (empty ones are left out); on equal strings the
 * lowest id wins. */
bool sm_prefixes_build(sm_prefixes *set, sm_mem *mem, const sm_strings *strings,
                       const uint32_t *ids, uint32_t n, sm_pace *pace);

/* A walk over the members that are prefixes of one text, shortest first. */
typedef struct sm_prefix_walk {
    uint32_t low, high, depth;
} sm_prefix_walk;

static inline void sm_prefixes_start(const sm_prefixes *set, uint8_t first, sm_prefix_walk *walk) {
    walk->low = set->first[first];
    walk->high = set->first[first + 1];
    walk->depth = 1;
}
/* The next member that is a prefix of text[0..length), its bytes in *bytes;
 * SM_NO_ID when there is no further one. text[0] was given to start. */
uint32_t sm_prefixes_next(const sm_prefixes *set, const sm_strings *strings, const uint8_t *text,
                          uint64_t length, sm_prefix_walk *walk, uint32_t *bytes);

/* ---- pre-tokenizers (pretokenize.c) -------------------------------------- */

#define SM_MAX_STAGES 6

typedef struct sm_pre sm_pre;

#define SM_PRE_IGNORE_MERGES 1U /* a word that is a token stays whole */
#define SM_PRE_ADD_BOS 2U
#define SM_PRE_MASK_LSTRIP 4U /* "<mask>" takes the white space before it */

/* NULL if the name is unknown; "" is "default". Sets *flags. */
sm_status sm_pre_new(sm_pre **out, sm_mem *mem, const char *name, uint64_t length, uint32_t *flags,
                     sm_error *error);
void sm_pre_free(sm_pre *pre, sm_mem *mem);
/* The i-th known name; NULL past the end. */
const char *sm_pre_name(uint32_t i);

/* Walks a text (valid UTF-8) piece by piece; the pieces cover it. */
typedef struct sm_split {
    const sm_pre *pre;
    const uint8_t *text;
    uint64_t length;
    uint64_t begin[SM_MAX_STAGES], end[SM_MAX_STAGES]; /* current piece of each stage */
    uint64_t match_end[SM_MAX_STAGES];                 /* of a run found ahead */
    sm_pace *pace;
    sm_pace idle; /* what pace points to where the caller has none */
} sm_split;

/* pre and pace, which may be NULL, must outlive the walk. */
void sm_split_start(sm_split *split, const sm_pre *pre, const uint8_t *text, uint64_t length,
                    sm_pace *pace);
/* The next piece [*begin, *end). *begin == length of the text at the end. Steps are counted
 * inside long pieces; that there are many is for the caller to count. SM_ERR_CANCELLED. */
sm_status sm_split_next(sm_split *split, uint64_t *begin, uint64_t *end, sm_error *error);

/* ---- the tokenizer ------------------------------------------------------- */

/* Flags beside a token's type. */
#define SM_FLAG_END 1U
#define SM_FLAG_LSTRIP 2U /* takes the white space before it when parsed */
#define SM_FLAG_RSTRIP 4U
#define SM_FLAG_BYTE 8U   /* stands for one byte */
#define SM_FLAG_MERGE 16U /* may come out of plain text */
#define SM_FLAG_WOVEN 32U /* user-defined, found in running text: does not cut it in fragments */

/* XOR-compressed double array of a SentencePiece charsmap and what its values point to. */
typedef struct sm_charsmap {
    uint32_t *units;
    uint32_t n_units;
    char *replacements; /* zero-terminated strings */
    uint32_t n_replacements;
    bool plain[128]; /* ASCII that stays as it is unless a character beyond ASCII follows */
} sm_charsmap;

struct sm_tokenizer {
    sm_mem *mem;
    sm_pace *pace; /* of the loading, NULL afterwards */
    _Atomic uint32_t references;
    void (*on_free)(void *owner);
    void *owner;
    void *_Atomic extra; /* made of the vocabulary by another component */
    void (*release_extra)(void *extra);

    uint32_t kind;
    char pre_name[64];
    char unk_surface[32]; /* what SM_DECODE_TEXT writes for the unknown token */
    int32_t bos, eos, unk, sep, pad, mask, cls, eot, eom;
    bool add_bos, add_eos, add_space_prefix, remove_extra_whitespaces, escape_whitespaces,
        ignore_merges, lowercase, strip_accents;
    bool dense;      /* length + 16 ids are always enough */
    bool normalizes; /* SPM: a fragment is normalized before it is cut in words */
    bool fuses;      /* several unknown characters in a row are one unknown token */

    sm_strings text;       /* entries as the file spells them */
    sm_strings piece;      /* what they decode to */
    uint8_t *type;         /* [n] */
    uint8_t *flags;        /* [n] */
    uint32_t max_piece;    /* bytes of the longest piece */
    uint32_t max_token;    /* bytes of the longest entry */
    sm_index index;        /* over text */
    uint32_t byte_id[256]; /* token of each byte, or SM_NO_ID */

    sm_prefixes special;      /* USER_DEFINED, CONTROL, UNKNOWN */
    sm_prefixes user_defined; /* USER_DEFINED that cut the text in fragments */
    sm_prefixes woven;        /* USER_DEFINED that do not: of the SentencePiece kinds */

    sm_pre *pre;          /* byte-level BPE */
    sm_pairs pairs;       /* byte-level BPE, CHARS */
    uint32_t *order;      /* SentencePiece BPE: [n] merge priority, lower first */
    float *score;         /* unigram: [n] */
    float unknown_score;  /* unigram */
    sm_charsmap charsmap; /* SentencePiece kinds */
    sm_prefixes words;    /* unigram, WordPiece: tokens that plain text can yield */
    uint64_t *adjacent;   /* SentencePiece kinds: [1024] bits, see sm_segment_end */
    struct sm_steps
        *steps; /* of a tokenizer.json (steps.h), which has steps of its own; else NULL */
};

/* Steps between two questions: a third of a millisecond at ten nanoseconds each. */
#define SM_PACE_STEPS 32768

static inline uint64_t sm_load64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

/* ---- encoding ------------------------------------------------------------ */

/* Growing scratch memory of one encode call. */
typedef struct sm_scratch {
    void *data;
    uint64_t size;
} sm_scratch;

/* Ids on their way to the caller. */
typedef struct sm_sink {
    int32_t *ids;
    uint64_t n;        /* ids so far, stored or not */
    uint64_t room;     /* ids that fit into ids */
    uint64_t capacity; /* what the caller can take; no use in storing more */
    uint64_t guess;    /* ids to expect */
    bool own;          /* ids is ours and may grow up to capacity */
} sm_sink;

struct sm_cached;
struct sm_cut_state;

/* What looking for a pattern works with (pattern.h). All zero but mem and pace. */
typedef struct sm_matcher {
    sm_mem *mem;
    sm_pace *pace;
    void *stack;
    uint64_t room; /* entries */
} sm_matcher;

typedef struct sm_encoder {
    const sm_tokenizer *tokenizer;
    sm_mem *mem;
    sm_error *error;
    sm_pace pace;
    sm_sink sink;
    struct sm_cached *cache; /* NULL for short texts */
    uint64_t cache_mask;
    sm_split split;
    sm_scratch shadow;         /* copy of a text with invalid UTF-8 */
    sm_scratch word;           /* the word in work */
    sm_scratch symbols;        /* of a long word */
    sm_scratch heap;           /* of a long word */
    sm_scratch links;          /* of a long word */
    sm_scratch clean[2];       /* tokenizer.json: what a normalizer reads and writes */
    struct sm_cut_state *cuts; /* tokenizer.json: one for each step of its pre-tokenizer */
    sm_matcher matcher;
    /* a text made valid and the caller's, where words are bytes of that; NULL: the same */
    const uint8_t *valid, *raw;
    sm_scratch normal;  /* the normalized fragment; the first word, with the space before it */
    sm_scratch found;   /* ids of the word in work */
    bool after_unknown; /* the last id of this fragment was unknown (SentencePiece kinds) */
    float reached;      /* unigram: the sum of scores of the fragment so far */
    bool joined;        /* this fragment goes on from text that was encoded before */
    bool after_space;   /* ... and that ended with a space, normalized */
    const sm_text_part
        *part;        /* the first that may lie at or behind the place in work; NULL: none */
    uint32_t n_parts; /* from there on */
} sm_encoder;

/* For one text of `length` bytes; ids[capacity] is the caller's. To be ended with sm_encoder_done,
 * on failure too. SM_ERR_NOMEM. */
sm_status sm_encoder_init(sm_encoder *encoder, const sm_tokenizer *tokenizer, uint64_t length,
                          const sm_encode_options *options, int32_t *ids, uint64_t capacity,
                          sm_error *error);
void sm_encoder_done(sm_encoder *encoder);
/* At least `size` bytes, the first `keep` of the old ones kept; NULL without memory or if
 * the call was cancelled while copying. */
void *sm_scratch_reserve(sm_encoder *encoder, sm_scratch *scratch, uint64_t keep, uint64_t size);
/* The status of an encoder that cannot go on: SM_ERR_CANCELLED or SM_ERR_NOMEM. */
sm_status sm_encoder_fail(sm_encoder *encoder);
/* Counts steps of work; SM_ERR_CANCELLED when it is to stop. */
static inline sm_status sm_encoder_step(sm_encoder *encoder, uint64_t steps) {
    return sm_pace_step(&encoder->pace, steps) ? SM_OK : sm_encoder_fail(encoder);
}
/* memcpy of any length, which counts what is long; SM_ERR_CANCELLED. */
sm_status sm_encoder_copy(sm_encoder *encoder, void *to, const void *from, uint64_t n);

/* Appends ids; SM_ERR_NOMEM, SM_ERR_CANCELLED. */
sm_status sm_encoder_put(sm_encoder *encoder, const int32_t *ids, uint64_t n);
/* Appends the ids of one word, from the cache where it is there; `make` finds
 * them otherwise. The caller counts its bytes as steps of work. */
typedef sm_status (*sm_word_fn)(sm_encoder *encoder, const uint8_t *word, uint64_t length,
                                int32_t **ids, uint64_t *n);
sm_status sm_encoder_word(sm_encoder *encoder, const uint8_t *word, uint64_t length,
                          sm_word_fn make);

/* Ids of one word: byte-level BPE, or SentencePiece BPE (spaces not yet escaped). */
sm_status sm_bpe_word(sm_encoder *encoder, const uint8_t *word, uint64_t length, int32_t **ids,
                      uint64_t *n);
/* The same for unigram (spaces as the vocabulary writes them) and WordPiece
 * (without the mark in front). */
sm_status sm_unigram_word(sm_encoder *encoder, const uint8_t *word, uint64_t length, int32_t **ids,
                          uint64_t *n);
sm_status sm_wordpiece_word(sm_encoder *encoder, const uint8_t *word, uint64_t length,
                            int32_t **ids, uint64_t *n);
/* Merges ids[0..*n) in place (merge_ids.c). SM_ERR_NOMEM, SM_ERR_CANCELLED. */
sm_status sm_merge_ids(sm_encoder *encoder, const sm_pairs *pairs, uint32_t *ids, uint64_t *n);

/* Whether a text, which is no empty one, ends with a space when it is normalized. */
bool sm_normal_ends_with_space(const sm_tokenizer *tokenizer, const uint8_t *text, uint64_t length);
/* What SentencePiece makes of a fragment before it is cut in words, in encoder->normal: characters
 * replaced, spaces escaped, one put in front, those too many removed. */
sm_status sm_normalize(sm_encoder *encoder, const uint8_t *text, uint64_t length, uint64_t *n);
/* The longest member of the set at text[0..length), SM_NO_ID if there is none; counts what it
 * takes as steps. */
uint32_t sm_find_special(const sm_tokenizer *tokenizer, const sm_prefixes *set, const uint8_t *text,
                         uint64_t length, uint32_t *bytes, uint64_t *steps);
/* A fragment of plain text. */
sm_status sm_wordpiece_fragment(sm_encoder *encoder, const uint8_t *text, uint64_t length);

/* SentencePiece kinds: records which bytes stand next to each other inside tokens. */
bool sm_segment_build(sm_tokenizer *tokenizer);
/* The end of the segment that begins at `begin`: the first character boundary
 * that no token can span, so that segments can be encoded one by one. Some place further on
 * if the call is cancelled. */
uint64_t sm_segment_end(sm_encoder *encoder, const uint8_t *text, uint64_t length, uint64_t begin);

/* What Hugging Face's tokenizers have for a cluster or a character: the replacement of its shortest
 * beginning that has one; NULL. */
const char *sm_charsmap_find(const sm_charsmap *map, const uint8_t *text, uint64_t length);
/* Checks and copies a precompiled charsmap. */
sm_status sm_charsmap_build(sm_charsmap *map, sm_mem *mem, sm_str bytes, sm_error *error);

/* Byte <-> printable code point of byte-level vocabularies. */
uint32_t sm_byte_to_code(uint8_t byte);
int32_t sm_code_to_byte(uint32_t code); /* -1 if none */

/* Finds the tokens that end a turn by their text: sets eot, eom, end flags and
 * corrects types that files often have wrong. */
void sm_markers_detect(sm_tokenizer *tokenizer);
/* Which special tokens swallow the white space beside them. Files do not say;
 * it is known for a few models by name. */
void sm_markers_strip(sm_tokenizer *tokenizer, sm_str name, sm_str architecture,
                      uint32_t pre_flags);

/* What one token decodes to; NULL (length 0) for a silent one. *strip is the state
 * "the next space was put there by encoding"; true at first, unless spaces are kept. */
const char *sm_decode_token(const sm_tokenizer *tokenizer, int32_t id, uint32_t flags, bool *strip,
                            uint32_t *length);

#endif
