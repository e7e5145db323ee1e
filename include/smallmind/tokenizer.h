/* smallmind/tokenizer.h - text to token ids and back.
 *
 * A tokenizer is immutable: any number of threads may use one at a time.
 * Handles are reference counted inside; sm_tokenizer_free drops one.
 * Texts are bytes with a length; invalid UTF-8 is accepted everywhere. A byte-level
 * or byte-fallback vocabulary that has a token for each of the 256 bytes (falcon's
 * has not) round-trips every text exactly, unless it normalizes; a SentencePiece one reads a
 * literal U+2581, its sign for a space, as a space.
 *
 * Ids are those of SentencePiece 0.2 (BPE, unigram) and of Hugging Face's tokenizers (byte-level
 * BPE, WordPiece) with the same vocabulary; behind a control token that is parsed a SentencePiece
 * vocabulary begins as at the beginning of a text, with its space in front.
 */
#ifndef SMALLMIND_TOKENIZER_H
#define SMALLMIND_TOKENIZER_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_tokenizer sm_tokenizer;
typedef struct sm_detokenizer sm_detokenizer;

/* Kinds, from GGUF tokenizer.ggml.model. */
enum {
    SM_TOKENIZER_BPE = 1,       /* "gpt2": byte-level BPE */
    SM_TOKENIZER_SPM = 2,       /* "llama": SentencePiece BPE, maybe with byte fallback */
    SM_TOKENIZER_WORDPIECE = 3, /* "bert" */
    SM_TOKENIZER_UNIGRAM = 4,   /* "t5": SentencePiece unigram */
    SM_TOKENIZER_CHARS = 5,     /* "gemma4": BPE by a list of merges, of characters, not bytes */
    SM_TOKENIZER_WORDLEVEL = 6, /* whole words; of tokenizer.json only */
};

typedef struct sm_tokenizer_options {
    uint32_t struct_size;
    uint32_t reserved;
    const sm_allocator *allocator; /* NULL: the C library's */
    sm_cancel_fn cancel;           /* asked while loading; NULL: never */
    void *cancel_user;
    const sm_logger *log;   /* NULL: silent. Warned of: a byte-level vocabulary that does not
                      say how its model cuts text (no key tokenizer.ggml.pre), so
                      that ids may be others than it was trained on */
    sm_cancel *cancel_flag; /* NULL, or what ends the call when it is set (types.h) */
} sm_tokenizer_options;

typedef struct sm_tokenizer_info {
    uint32_t struct_size; /* set by the caller */
    uint32_t kind;        /* SM_TOKENIZER_… */
    int32_t n_vocab;
    int32_t bos; /* -1 where the vocabulary has none, for all ids here */
    int32_t eos;
    int32_t unk;
    int32_t sep;
    int32_t pad;
    int32_t mask;
    int32_t eot;     /* end of turn, e.g. <|im_end|>, <|eot_id|> */
    int32_t add_bos; /* 1: SM_ENCODE_MARKERS puts BOS (or CLS) in front */
    int32_t add_eos; /* 1: SM_ENCODE_MARKERS puts EOS (or SEP) behind */
    char pre[64];    /* name of the pre-tokenizer, "" where the kind has none */
} sm_tokenizer_info;

/* Opens the vocabulary of a GGUF file (a whole model or vocab-only), of a tokenizer.json (Hugging
 * Face), a SentencePiece model (.model) or tiktoken's ranks (.tiktoken), or of a directory that has
 * one of these, in that order. Beside them tokenizer_config.json and special_tokens_map.json are
 * read: which tokens begin, end and pad, and add_bos_token and add_eos_token as transformers
 * applies them; a tiktoken file needs its pattern, "pat_str" (and "special_tokens") in a
 * config.json beside, but for encodings that are known by name (cl100k_base, o200k_base, r50k_base,
 * p50k_base, qwen). Of a tokenizer.json all components are computed, or refused by their place in
 * the file; its sections truncation and padding are not applied; a text whose bytes are no UTF-8
 * has U+FFFD for each of them, where the file's steps change texts. `path` is UTF-8. SM_ERR_IO,
 * _FORMAT (also ids of special tokens outside the vocabulary, byte tokens that are none, keys of a
 * wrong type, arrays of another length than the tokens), _MISSING, _UNSUPPORTED, _NOMEM, _ARGUMENT,
 * _CANCELLED; the message names the key. */
SM_API sm_status SM_CALL sm_tokenizer_load(sm_tokenizer **out, const char *path,
                                           const sm_tokenizer_options *options, sm_error *error);
/* The same from anywhere (types.h); what is no GGUF file from a path or from memory, where nothing
 * is beside it. */
SM_API sm_status SM_CALL sm_tokenizer_load_from(sm_tokenizer **out, const sm_origin *origin,
                                                const sm_tokenizer_options *options,
                                                sm_error *error);
SM_API void SM_CALL sm_tokenizer_free(sm_tokenizer *tokenizer);

/* SM_ERR_ARGUMENT if a pointer is NULL or info->struct_size unknown. */
SM_API sm_status SM_CALL sm_tokenizer_get_info(const sm_tokenizer *tokenizer,
                                               sm_tokenizer_info *info, sm_error *error);

enum {
    SM_ENCODE_SPECIAL = 1, /* parse the text of special tokens ("<|im_start|>") as those */
    SM_ENCODE_MARKERS = 2, /* add BOS/EOS (CLS/SEP) where the vocabulary says so */
};

typedef struct sm_encode_options {
    uint32_t struct_size;
    uint32_t flags;      /* SM_ENCODE_…, or-ed; 0: plain text only, nothing added */
    sm_cancel_fn cancel; /* NULL: never; may use the tokenizer, which no call changes */
    void *cancel_user;
    sm_cancel *cancel_flag; /* NULL, or what ends the call when it is set (types.h) */
} sm_encode_options;

/* Encodes text[0..length). Stores the number of ids in *n (n must not be
 * NULL); writes them when capacity is enough, else returns SM_ERR_BUFFER and
 * writes nothing. ids may be NULL with capacity 0. length + 16 ids always
 * suffice for BPE, SPM, CHARS and WordPiece kinds (2 * length + 16 where an SPM
 * vocabulary has special tokens of a single byte, any number where it normalizes). options NULL:
 * all zero. SM_ERR_CANCELLED, SM_ERR_NOMEM, SM_ERR_ARGUMENT (also for a text of more than SIZE_MAX
 * / 64 bytes), SM_ERR_UNSUPPORTED (a gigabyte of text without a place to split): *n is 0. */
SM_API sm_status SM_CALL sm_tokenizer_encode(const sm_tokenizer *tokenizer, const char *text,
                                             uint64_t length, const sm_encode_options *options,
                                             int32_t *ids, uint64_t capacity, uint64_t *n,
                                             sm_error *error);

enum {
    SM_DECODE_SPECIAL = 1,    /* render control tokens too (default: they are silent) */
    SM_DECODE_KEEP_SPACE = 2, /* keep the space SPM-style vocabularies put in front of text */
    SM_DECODE_TEXT = 4,       /* UTF-8 in any case: what is none becomes U+FFFD, as many as the
                                 tokenizer's own implementation writes (sm_tokenizer_decode only) */
};

/* Encodes two texts as the vocabulary's template for pairs puts them together (BERT: [CLS] first
 * [SEP] second [SEP]); without SM_ENCODE_MARKERS one behind the other. type_ids[capacity], which
 * may be NULL, gets the number of the segment that each id belongs to. Otherwise as
 * sm_tokenizer_encode; SM_ERR_UNSUPPORTED where the vocabulary has no template (those of GGUF files
 * but WordPiece). */
SM_API sm_status SM_CALL sm_tokenizer_encode_pair(const sm_tokenizer *tokenizer, const char *first,
                                                  uint64_t first_length, const char *second,
                                                  uint64_t second_length,
                                                  const sm_encode_options *options, int32_t *ids,
                                                  int32_t *type_ids, uint64_t capacity, uint64_t *n,
                                                  sm_error *error);

/* Decodes ids to bytes. *n gets the length, as with encode; not
 * zero-terminated. SM_ERR_TOKEN for an id outside the vocabulary. */
SM_API sm_status SM_CALL sm_tokenizer_decode(const sm_tokenizer *tokenizer, const int32_t *ids,
                                             uint64_t n_ids, uint32_t flags, char *text,
                                             uint64_t capacity, uint64_t *n, sm_error *error);

/* The raw vocabulary entry of one id as the file spells it (not decoded);
 * valid as long as the tokenizer. Stores length; NULL if id is out of range. */
SM_API const char *SM_CALL sm_tokenizer_token_text(const sm_tokenizer *tokenizer, int32_t id,
                                                   uint64_t *length);

/* The id whose vocabulary entry is exactly these bytes, or -1. */
SM_API int32_t SM_CALL sm_tokenizer_find(const sm_tokenizer *tokenizer, const char *text,
                                         uint64_t length);

/* 1 if the id ends a generation (EOS, end of turn, end of message), else 0. */
SM_API int32_t SM_CALL sm_tokenizer_is_end(const sm_tokenizer *tokenizer, int32_t id);

/* Streaming decode: feed ids one by one, get the bytes that are complete. What comes out is what
 * sm_tokenizer_decode makes, but where a tokenizer.json's decoder looks ahead or back: the space
 * that a BPEDecoder writes behind a word comes behind the last one, too, a Strip takes nothing off
 * the end, and a CTC decoder keeps tokens that repeat. Never hands out part of a UTF-8 sequence:
 * bytes wait until the sequence is whole or can no longer become valid. One thread at a time:
 * another one that comes while a call has not returned gets SM_ERR_STATE; sm_detokenizer_free takes
 * effect when it ends. Holds a reference to the tokenizer. */
SM_API sm_status SM_CALL sm_detokenizer_new(sm_detokenizer **out, const sm_tokenizer *tokenizer,
                                            uint32_t flags, sm_error *error);
SM_API void SM_CALL sm_detokenizer_free(sm_detokenizer *detokenizer);
/* *piece (zero-terminated, *length bytes, maybe 0) is valid until the next call. */
SM_API sm_status SM_CALL sm_detokenizer_feed(sm_detokenizer *detokenizer, int32_t id,
                                             const char **piece, uint64_t *length, sm_error *error);
/* Hands out whatever still waits (an unfinished sequence comes out as it is). */
SM_API sm_status SM_CALL sm_detokenizer_flush(sm_detokenizer *detokenizer, const char **piece,
                                              uint64_t *length, sm_error *error);
/* Back to the state of a new one. SM_ERR_ARGUMENT, _STATE. */
SM_API sm_status SM_CALL sm_detokenizer_reset(sm_detokenizer *detokenizer, sm_error *error);

#ifdef __cplusplus
}
#endif
#endif
