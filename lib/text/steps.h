/* steps.h - tokenizers of tokenizer.json files: their steps, as data (read by steps_read.c and
 * steps_parts.c), and who runs them. A text is cut at added tokens, normalized (clean), cut into
 * pieces (cut), these become ids by a model's algorithm, and a template puts special ones around
 * them. Ids become texts again, step by step (undo). */
#ifndef SM_TEXT_STEPS_H
#define SM_TEXT_STEPS_H

#include "pattern.h"
#include "pretokenize.h"

#define SM_STEPS_MAX_STEPS 32 /* of each list */

/* ---- normalizers (steps_clean.c) ------------------------------------------------------------- */

typedef enum sm_clean_op {
    CLEAN_COMPOSE,   /* NFC; compatible: NFKC */
    CLEAN_DECOMPOSE, /* NFD; compatible: NFKD */
    CLEAN_LOWER,
    CLEAN_DROP_MARKS, /* StripAccents; only_mn: those that do not take space */
    CLEAN_STRIP,
    CLEAN_REPLACE,
    CLEAN_PREPEND,
    CLEAN_CONTROLS,   /* BERT's clean_text */
    CLEAN_IDEOGRAPHS, /* spaces around each */
    CLEAN_CHARSMAP,
    CLEAN_NMT,
    CLEAN_BYTES, /* bytes as GPT-2's characters */
} sm_clean_op;

typedef struct sm_clean {
    sm_clean_op op;
    bool compatible, only_mn, left, right;
    sm_pattern *pattern; /* REPLACE */
    sm_str text;         /* REPLACE, PREPEND */
    sm_charsmap charsmap;
} sm_clean;

/* ---- pre-tokenizers (steps_cut.c) ------------------------------------------------------------ */

typedef enum sm_cut_op {
    CUT_SPLIT,
    CUT_META,   /* spaces become a character, which is put in front */
    CUT_SPACE,  /* a space in front */
    CUT_BYTES,  /* bytes as GPT-2's characters */
    CUT_LENGTH, /* so many characters each */
    CUT_SCRIPTS,
} sm_cut_op;

typedef enum sm_cut_keep { /* what becomes of matches */
                           KEEP_ISOLATED,
                           KEEP_REMOVED,
                           KEEP_CONTIGUOUS,
                           KEEP_WITH_PREVIOUS,
                           KEEP_WITH_NEXT,
} sm_cut_keep;

typedef enum sm_cut_front { FRONT_ALWAYS, FRONT_FIRST, FRONT_NEVER } sm_cut_front;

typedef struct sm_cut {
    sm_cut_op op;
    sm_cut_keep keep;
    bool invert;
    sm_cut_front front;
    const stage *scan;            /* SPLIT: pieces are what this finds, all kept; or */
    bool (*holds)(uint32_t code); /* matches are single characters; or */
    sm_pattern *pattern;
    uint8_t ascii[128]; /* members of scan's set, or of holds */
    uint32_t length;
    uint32_t scripts[3]; /* SCRIPTS: Han, Hiragana, Katakana */
    sm_str text;         /* META: the character */
} sm_cut;

/* A place in one step's text. */
typedef struct sm_cut_state {
    const uint8_t *text;
    uint64_t length, at; /* at: what is not handed out yet */
    uint64_t begin, end; /* of the match ahead; begin UINT64_MAX: none is left */
    bool known;          /* these are right */
    uint64_t memo, last; /* where to look on, and where the last match ended */
    bool first;          /* the text is the beginning of all */
    bool joined;         /* ... and goes on from another */
    sm_scratch made;     /* its text, where a step makes one */
} sm_cut_state;

/* ---- models (steps_words.c) ------------------------------------------------------------------ */

typedef enum sm_steps_model { HF_BPE, HF_UNIGRAM, HF_WORDPIECE, HF_WORDLEVEL } sm_steps_model;

/* ---- templates ------------------------------------------------------------------------------- */

typedef enum sm_steps_part_kind { HF_IDS, HF_FIRST, HF_SECOND } sm_steps_part_kind;

typedef struct sm_steps_part {
    sm_steps_part_kind kind;
    uint32_t at, n; /* HF_IDS */
    uint32_t type;
} sm_steps_part;

typedef struct sm_steps_template {
    sm_steps_part parts[SM_STEPS_MAX_STEPS];
    uint32_t n;
} sm_steps_template;

/* ---- decoders (steps_undo.c) ----------------------------------------------------------------- */

typedef enum sm_undo_op {
    UNDO_BYTES,
    UNDO_META,
    UNDO_WORDPIECE,
    UNDO_SUFFIX,
    UNDO_CTC,
    UNDO_REPLACE,
    UNDO_FUSE,
    UNDO_STRIP,
    UNDO_FALLBACK,
} sm_undo_op;

typedef struct sm_undo {
    sm_undo_op op;
    bool cleanup, front; /* WORDPIECE, CTC; META: the first token's are dropped */
    bool fused;          /* STRIP: behind a FUSE */
    uint32_t start, stop;
    sm_pattern *pattern;
    sm_str text, other; /* the character, prefix, suffix or pad; what comes instead, delimiter */
} sm_undo;

/* ---- characters as Hugging Face has them (steps_old.c) --------------------------------------- */

bool sm_old_punctuation(uint32_t code); /* or ASCII symbols */
bool sm_old_control(uint32_t code);
bool sm_old_mark(uint32_t code, bool only_mn);
bool sm_old_number(uint32_t code);
bool sm_old_whole(uint32_t code); /* not decomposed, though Unicode 15 does */

/* ---- the whole ------------------------------------------------------------------------------- */

/* Of added tokens. */
#define HF_SINGLE_WORD 1U
#define HF_LSTRIP 2U
#define HF_RSTRIP 4U
#define HF_SPECIAL 8U
#define HF_NORMALIZED 16U /* looked for in normalized text */
#define HF_ADDED 32U

typedef struct sm_steps {
    sm_clean clean[SM_STEPS_MAX_STEPS];
    sm_cut cut[SM_STEPS_MAX_STEPS];
    sm_undo undo[SM_STEPS_MAX_STEPS];
    uint32_t n_clean, n_cut, n_undo;
    bool no_decoder;  /* tokens are joined by spaces */
    bool keeps_bytes; /* texts are not changed before they are words: any bytes will do */

    sm_steps_model model;
    bool byte_words; /* BPE: words are bytes, their characters in the vocabulary GPT-2's */
    bool fuse_unk, byte_fallback;
    uint32_t ascii_id[128], block_id; /* BPE of characters: tokens of single ones; of U+2581 */
    bool segments;                    /* a long word may be cut where no token spans */
    sm_str prefix, suffix;
    uint32_t max_chars;
    double *score;
    double unknown_score;
    sm_strings tails;  /* WORDPIECE: tokens behind the prefix */
    sm_prefixes inner; /* over tails */

    uint8_t *added;    /* [n] HF_SINGLE_WORD and so on */
    sm_strings normal; /* texts of added tokens that are looked for after normalizing */
    sm_prefixes raw_set, normal_set;

    int32_t *ids; /* of templates */
    uint32_t n_ids;
    sm_steps_template single, pair;
} sm_steps;

/* Bytes that base64 text stands for, into out[text.length]; how many, or -1 if it is none. */
int64_t sm_base64(sm_str text, char *out);

/* A tokenizer of steps with nothing in it yet; sm_tokenizer_free frees it. */
sm_status sm_steps_new(sm_tokenizer **out, sm_mem *mem, sm_error *error);
/* What its tokens decode to, when all else is there. SM_ERR_NOMEM, _UNSUPPORTED, _CANCELLED. */
sm_status sm_steps_make_pieces(sm_tokenizer *tokenizer, sm_pace *pace, sm_error *error);
void sm_steps_free(sm_steps *steps, sm_mem *mem); /* NULL is fine */

/* One sequence. */
sm_status sm_steps_encode(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                          uint32_t flags);
/* Two, or one where second is NULL; type_ids may be NULL. */
sm_status sm_steps_encode_template(sm_encoder *encoder, const sm_steps_template *how, sm_str first,
                                   sm_str second, uint32_t flags, int32_t *type_ids,
                                   uint64_t capacity);

/* Normalizes text[0..length) (valid UTF-8); *out lies in the encoder's memory or is text. */
sm_status sm_steps_clean(sm_encoder *encoder, const uint8_t *text, uint64_t length, bool joined,
                         const uint8_t **out, uint64_t *n);

/* Walks the pieces of a text: start, then next until *length is 0. states[n_cut]. */
void sm_steps_cut_start(sm_encoder *encoder, sm_cut_state *states, const uint8_t *text,
                        uint64_t length, bool first, bool joined);
sm_status sm_steps_cut_next(sm_encoder *encoder, sm_cut_state *states, const uint8_t **piece,
                            uint64_t *length);

/* Ids of a piece: an sm_word_fn. */
sm_status sm_steps_word(sm_encoder *encoder, const uint8_t *word, uint64_t length, int32_t **ids,
                        uint64_t *n);

/* Where the decoded tokens stand in their text. */
typedef enum sm_undo_where { UNDO_WHOLE, UNDO_HEAD, UNDO_MIDDLE } sm_undo_where;

/* Texts that follow each other, and their ends. */
typedef struct sm_texts {
    char *data;
    uint64_t n, room;
    uint64_t *ends;
    uint64_t count, count_room;
    uint64_t most; /* bytes they may have; 0: any number */
    bool too_long; /* they would have had more */
} sm_texts;

void sm_texts_free(sm_texts *texts, sm_mem *mem);
bool sm_texts_add(sm_texts *texts, sm_mem *mem, const char *text, uint64_t length);
/* Makes one text of UTF-8 of them; other is scratch. A sign stands for each byte that is no
 * character's, or for as many as could begin one, as in Rust. */
bool sm_texts_make_valid(sm_texts *texts, sm_texts *other, sm_mem *mem, bool each);
/* What decoding takes for the text of a token: an added one as it is looked for. */
const char *sm_steps_token_text(const sm_tokenizer *tokenizer, uint32_t id, uint32_t *length);
/* Runs the decoder over the tokens of `texts`, which holds the result then, as one text or
 * several. `other` is scratch. lossy: what is not UTF-8 becomes U+FFFD. */
sm_status sm_steps_undo(const sm_tokenizer *tokenizer, sm_texts *texts, sm_texts *other,
                        sm_undo_where where, bool lossy, sm_error *error);

#endif
