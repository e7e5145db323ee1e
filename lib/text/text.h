/* text.h - tokenizers: bytes and ids, no tensors, no files.
 *
 * A tokenizer is built from a vocabulary description that the caller fills in
 * (from GGUF metadata or elsewhere); everything needed is copied or indexed.
 * The public functions of smallmind/tokenizer.h that need no file are
 * implemented in this folder as well.
 */
#ifndef SM_TEXT_H
#define SM_TEXT_H

#include "base/base.h"
#include "smallmind/tokenizer.h"

/* A byte string inside the caller's memory. */
typedef struct sm_str {
    const char *data;
    uint64_t length;
} sm_str;

/* Token types as numbered in tokenizer.ggml.token_type. */
#define SM_TOKEN_NORMAL 1
#define SM_TOKEN_UNKNOWN 2
#define SM_TOKEN_CONTROL 3
#define SM_TOKEN_USER_DEFINED 4
#define SM_TOKEN_UNUSED 5
#define SM_TOKEN_BYTE 6

/* Long work that a callback may stop: counts steps (a byte looked at, at most some ten
 * nanoseconds) and asks every few milliseconds. All zero: never stops. */
typedef struct sm_pace {
    sm_cancel_fn cancel; /* NULL: never */
    void *user;
    uint64_t left; /* steps until the next question */
    bool stopped;  /* the answer was yes; nothing is asked again */
} sm_pace;

bool sm_pace_ask(sm_pace *pace);
/* False when the work is to stop. */
static inline bool sm_pace_step(sm_pace *pace, uint64_t steps) {
    if (steps < pace->left) {
        pace->left -= steps;
        return true;
    }
    return sm_pace_ask(pace);
}

#define SM_PACE_PART 8192 /* steps that loops count by themselves */

/* For hot loops: *steps, which is a local of theirs, counts `more`; the pace counts large parts of
 * it only, so that what ends before that costs nothing. Whoever calls for many short texts counts
 * these. */
static inline bool sm_pace_add(sm_pace *pace, uint64_t *steps, uint64_t more) {
    *steps += more;
    if (__builtin_expect(*steps < SM_PACE_PART, 1))
        return true;
    more = *steps;
    *steps = 0;
    return sm_pace_step(pace, more);
}
/* Where the next block of a text ends of which the first i bytes are done; i at the end of the
 * text and when the work is to stop. The first block is not counted: see sm_pace_add. */
static inline uint64_t sm_pace_block(sm_pace *pace, uint64_t i, uint64_t length) {
    uint64_t n = length - i < SM_PACE_PART ? length - i : SM_PACE_PART;
    return n && (!i || sm_pace_step(pace, n)) ? i + n : i;
}

#define SM_UNSET INT32_MIN /* an id or switch the file does not have: use the kind's default */

/* What a tokenizer is made of. Arrays may be NULL where the kind does not need
 * them. Strings may be anything: the builder validates. All of it may be freed
 * after sm_tokenizer_build. */
typedef struct sm_vocab {
    sm_str model; /* tokenizer.ggml.model: "gpt2", "llama", "bert", "t5" */
    sm_str pre;   /* tokenizer.ggml.pre, maybe empty */
    uint64_t n_tokens;
    const sm_str *tokens; /* [n_tokens] */
    const float *scores;  /* [n_tokens] or NULL */
    const int32_t *types; /* [n_tokens] or NULL */
    uint64_t n_merges;
    const sm_str *merges; /* "left right" */
    sm_str charsmap;      /* precompiled_charsmap bytes (unigram) */
    sm_str unk_surface;   /* what SM_DECODE_TEXT writes for the unknown token; 31 bytes at most */
    int32_t bos, eos, unk, sep, pad, mask, cls, eot, eom; /* id or SM_UNSET */
    int32_t add_bos, add_eos, add_space_prefix, remove_extra_whitespaces, escape_whitespaces,
        ignore_merges;                /* 0, 1 or SM_UNSET */
    int32_t lowercase, strip_accents; /* WordPiece; 0, 1 or SM_UNSET */
    /* general.name, general.architecture, maybe empty: a few models' special tokens swallow
     * the white space beside them, which no key says */
    sm_str name, architecture;
    sm_pace *pace; /* asked while the tokenizer is built; NULL: nobody is */
} sm_vocab;

/* Builds a tokenizer with memory from `mem`, which must outlive it.
 * SM_ERR_FORMAT (broken vocabulary; the message names the key),
 * SM_ERR_MISSING, SM_ERR_UNSUPPORTED (model or pre-tokenizer by name),
 * SM_ERR_NOMEM.
 *
 * What real files have is taken as it is: of equal entries the first counts, an
 * empty one is never produced, an id outside the vocabulary counts as not given, a
 * merge of or into something that is no token has no effect, `<0x..>` that is not
 * two hexadecimal digits is text, unless its type says that it is a byte. Bytes that
 * no token spells become the unknown token, or nothing if there is none. */
sm_status sm_tokenizer_build(sm_tokenizer **out, sm_mem *mem, const sm_vocab *vocab,
                             sm_error *error);
/* Builds one from the text of a tokenizer.json, exactly as Hugging Face's tokenizers run it.
 * SM_ERR_FORMAT, SM_ERR_UNSUPPORTED (what is not computed; the message begins with its place in the
 * file: "pre_tokenizer.pretokenizers[1]"), SM_ERR_NOMEM, SM_ERR_CANCELLED. The sections truncation
 * and padding are not applied: how long texts may be is for the caller to say. pace may be NULL. */
sm_status sm_tokenizer_from_json(sm_tokenizer **out, sm_mem *mem, sm_str text, sm_pace *pace,
                                 sm_error *error);
/* From a SentencePiece model (BPE or unigram). SM_ERR_FORMAT, SM_ERR_UNSUPPORTED (by name),
 * SM_ERR_NOMEM, SM_ERR_CANCELLED. */
sm_status sm_tokenizer_from_sentencepiece(sm_tokenizer **out, sm_mem *mem, sm_str bytes,
                                          sm_pace *pace, sm_error *error);
/* Whether a file begins as one does. */
bool sm_is_sentencepiece(sm_str bytes);
/* From tiktoken's ranks, the pattern that cuts texts (of Rust's dialect), and special tokens. The
 * same statuses. */
typedef struct sm_special {
    sm_str text;
    int32_t id;
} sm_special;
sm_status sm_tokenizer_from_tiktoken(sm_tokenizer **out, sm_mem *mem, sm_str text, sm_str pattern,
                                     const sm_special *specials, uint32_t n_specials, sm_pace *pace,
                                     sm_error *error);
bool sm_is_tiktoken(sm_str text);
/* Tells a tokenizer just built which tokens begin, end, pad … texts: texts of
 * tokenizer_config.json and special_tokens_map.json, either may be empty; their add_bos_token and
 * add_eos_token as transformers applies them. Finds the tokens that end a turn by their text.
 * SM_ERR_FORMAT, SM_ERR_NOMEM. */
sm_status sm_tokenizer_name_specials(sm_tokenizer *tokenizer, sm_str config, sm_str map,
                                     sm_error *error);
/* One more reference; sm_tokenizer_free drops one. When the last goes,
 * on_free(owner) is called after the memory was returned (used by a standalone
 * tokenizer to drop its sm_mem and by a model-owned one to drop the model). */
void sm_tokenizer_retain(const sm_tokenizer *tokenizer);
void sm_tokenizer_set_owner(sm_tokenizer *tokenizer, void (*on_free)(void *owner), void *owner);
/* Parts of a text, one after the other from its beginning. */
typedef struct sm_text_part {
    uint64_t end; /* byte of the text where it ends */
    bool plain;   /* special tokens are not looked for in it */
} sm_text_part;
/* sm_tokenizer_encode with SM_ENCODE_SPECIAL, but that tokens which only that finds count only
 * where they lie in parts that are not plain: the ids are those of the whole text wherever the
 * plain parts spell no such token. The parts cover the text. Control tokens that begin or end in a
 * plain part are text. */
sm_status sm_tokenizer_encode_parts(const sm_tokenizer *tokenizer, const char *text,
                                    uint64_t length, const sm_text_part *parts, uint32_t n_parts,
                                    const sm_encode_options *options, int32_t *ids,
                                    uint64_t capacity, uint64_t *n, sm_error *error);
/* sm_tokenizer_encode of text[from..length), as it goes on from text[0..from), which was encoded
 * before it: nothing is put in front that belongs to the beginning of a text. The ids of both are
 * those of the whole text wherever no token of that lies across `from`, and decode to it in any
 * case. */
sm_status sm_tokenizer_encode_rest(const sm_tokenizer *tokenizer, const char *text, uint64_t length,
                                   uint64_t from, const sm_encode_options *options, int32_t *ids,
                                   uint64_t capacity, uint64_t *n, sm_error *error);
/* Makes it one that ends a generation; of ids outside the vocabulary nothing happens. Before others
 * see the tokenizer. */
void sm_tokenizer_mark_end(sm_tokenizer *tokenizer, int64_t id);
int32_t sm_tokenizer_n_vocab(const sm_tokenizer *tokenizer);
/* What a detokenizer carries from token to token: to go back to. */
typedef struct sm_detokenizer_mark {
    uint32_t n_waiting;
    char waiting[4];
    bool strip;
} sm_detokenizer_mark;
void sm_detokenizer_get_mark(const sm_detokenizer *detokenizer, sm_detokenizer_mark *mark);
void sm_detokenizer_go_back(sm_detokenizer *detokenizer, const sm_detokenizer_mark *mark);
/* The text of a token that decoding shows with SM_DECODE_SPECIAL only; NULL of others and of ids
 * outside the vocabulary. Not zero-terminated. */
const char *sm_tokenizer_silent_text(const sm_tokenizer *tokenizer, int32_t id, uint64_t *length);

/* What a token adds inside a text, bytes that need not be whole characters; NULL of those that are
 * silent or not in use, and of ids outside the vocabulary. Not zero-terminated. */
const char *sm_tokenizer_inner_text(const sm_tokenizer *tokenizer, int32_t id, uint64_t *length);

/* Something that is made of the vocabulary once, by whoever needs it first, and freed with it by
 * `release`, before its memory. NULL: not made yet. */
const void *sm_tokenizer_extra(const sm_tokenizer *tokenizer);
/* Gives it one; answers the one that it has: where another thread came first, that of the other,
 * and the new one is released. */
const void *sm_tokenizer_set_extra(const sm_tokenizer *tokenizer, void *extra,
                                   void (*release)(void *extra));
sm_mem *sm_tokenizer_mem(const sm_tokenizer *tokenizer); /* whose memory lasts as long as it */

/* ---- learning a byte-level BPE vocabulary (learn.c) --------------------------------------- */

typedef struct sm_bpe_learner sm_bpe_learner;

/* pre: name of the pre-tokenizer that cuts text into words ("gpt-2"). special: tokens that
 * never occur in words; they get the first ids, then come the 256 bytes, then what is learned.
 * SM_ERR_UNSUPPORTED (pre), SM_ERR_NOMEM. */
sm_status sm_bpe_learner_new(sm_bpe_learner **out, sm_mem *mem, sm_str pre, const sm_str *special,
                             uint32_t n_special, sm_error *error);
void sm_bpe_learner_free(sm_bpe_learner *learner); /* NULL is fine */
/* Counts the words of a piece of text, which no special token crosses. pace may be NULL.
 * SM_ERR_FORMAT if it is not UTF-8 (the message says at which byte), SM_ERR_NOMEM,
 * SM_ERR_CANCELLED. */
sm_status sm_bpe_learner_add(sm_bpe_learner *learner, const void *text, uint64_t length,
                             sm_pace *pace, sm_error *error);
/* Learns until there are n_vocab tokens or no pair occurs min_count times. Once. progress may
 * be NULL. SM_ERR_ARGUMENT, SM_ERR_NOMEM, SM_ERR_CANCELLED. */
sm_status sm_bpe_learner_run(sm_bpe_learner *learner, uint32_t n_vocab, uint64_t min_count,
                             sm_progress_fn progress, void *progress_user, sm_error *error);
uint32_t sm_bpe_learner_tokens(const sm_bpe_learner *learner);
uint32_t sm_bpe_learner_merges(const sm_bpe_learner *learner);
/* The token as vocabularies spell it, bytes as GPT-2's characters; returns the length. out may
 * be NULL. */
uint64_t sm_bpe_learner_token(const sm_bpe_learner *learner, uint32_t id, char *out);
/* Merge i, in the order of merging, as token ids. */
void sm_bpe_learner_merge(const sm_bpe_learner *learner, uint32_t i, uint32_t *left,
                          uint32_t *right);

#endif
