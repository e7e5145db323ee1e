/* smallmind/embed.h - texts in, vectors and scores out.
 *
 * An encoder computes whole texts at once with an encoder's model (bert and its kin) or a decoder's
 * (the last token then knows the whole text), and makes of the last hidden states of their tokens a
 * vector of each text (pooling), or scores by labels. Texts that are given together are computed
 * together, sorted by length and packed without padding; what comes out is in the caller's order
 * and the same bits as of each text alone, on any number of threads.
 *
 *     sm_encoder *e;
 *     sm_encoder_new(&e, model, NULL, &error);
 *     sm_encoder_info info = {.struct_size = sizeof info};
 *     sm_encoder_get_info(e, &info, &error);
 *     float *vectors = malloc(n * info.n_dims * sizeof *vectors);
 *     sm_encoder_embed(e, texts, n, vectors, n * info.n_dims, &error);
 *     sm_encoder_free(e);
 */
#ifndef SMALLMIND_EMBED_H
#define SMALLMIND_EMBED_H

#include "model.h"
#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_encoder sm_encoder;

/* What is made of the hidden states of a text's tokens. */
enum {
    SM_POOLING_MODEL = 0, /* what the model's file says; mean where it says nothing, of models
                             whose tokens see only those before them the last one */
    SM_POOLING_MEAN = 1,
    SM_POOLING_FIRST = 2, /* the first token's ([CLS]) */
    SM_POOLING_LAST = 3,
};

/* What becomes of texts of more than max_tokens. */
enum {
    SM_LONG_CUT = 0,     /* what is behind is left out, the markers at the end stay */
    SM_LONG_REFUSE = 1,  /* SM_ERR_CONTEXT_FULL, which tells the text's number */
    SM_LONG_WINDOWS = 2, /* computed in pieces; the vector is their mean, weighted by tokens. Not
                            for scores, where it refuses */
};

typedef struct sm_encoder_options {
    uint32_t struct_size;
    uint32_t n_threads;  /* of its team; 0: all CPUs of the process, 8 at most */
    uint32_t max_tokens; /* of a text, markers included; 0: what the model was trained with, 8192 at
                            most */
    uint32_t n_batch;    /* tokens that are computed together; 0: 512, or max_tokens if that is
                            more, which it is at least */
    uint32_t pooling;    /* SM_POOLING_… */
    uint32_t long_texts; /* SM_LONG_… */
    uint32_t n_dims;     /* of vectors: the first ones, for models that are trained for that
                            (Matryoshka, arXiv:2205.13147); 0: all */
    uint32_t raw;        /* 1: vectors are what they are; 0: divided by their length */
    const char *prefix;  /* put before every text (not of sm_encoder_rerank), as models want it
                            that know several tasks ("search_query: "); NULL: the one of `prompt` */
    const char *prompt;  /* the same by the name that the model's directory gives it
                            (config_sentence_transformers.json: "query", "document"); NULL: its
                            default one, if it has one; "": none */
    sm_cancel *cancel_flag; /* NULL, or what ends calls of the encoder when it is set (types.h) */
} sm_encoder_options;

typedef struct sm_encoder_info {
    uint32_t struct_size; /* set by the caller */
    uint32_t pooling;     /* SM_POOLING_…, what is done */
    uint32_t n_dims;      /* of vectors */
    uint32_t n_embd;      /* of hidden states */
    uint32_t max_tokens;
    uint32_t n_labels; /* scores of a text; 0: the model has none, and sm_encoder_score and
                          sm_encoder_rerank are refused */
} sm_encoder_info;

/* Holds a reference to the model. One call at a time: another one that comes meanwhile gets
 * SM_ERR_STATE, sm_encoder_free takes effect when it ends; after a fork() only freeing works
 * (SM_ERR_STATE). SM_ERR_ARGUMENT, _NOMEM, _SYSTEM (threads), _UNSUPPORTED (a kind of state that
 * cannot be computed all at once). */
SM_API sm_status SM_CALL sm_encoder_new(sm_encoder **out, const sm_model *model,
                                        const sm_encoder_options *options, sm_error *error);
SM_API void SM_CALL sm_encoder_free(sm_encoder *encoder); /* NULL is fine */
SM_API sm_status SM_CALL sm_encoder_get_info(const sm_encoder *encoder, sm_encoder_info *info,
                                             sm_error *error);
/* The name of a label, in UTF-8, *length bytes (may be NULL), valid as long as the model; NULL
 * where it has none. */
SM_API const char *SM_CALL sm_encoder_label(const sm_encoder *encoder, uint32_t i,
                                            uint64_t *length);

/* vectors[n][n_dims]. capacity: floats there is room for, SM_ERR_BUFFER if that is too few.
 * SM_ERR_ARGUMENT, _MISSING (the model has no vocabulary), _CONTEXT_FULL, _NOMEM, _CANCELLED,
 * _FORMAT (hidden states that are not finite); on failure what vectors hold is undefined. A text
 * without tokens has a vector of zeros. */
SM_API sm_status SM_CALL sm_encoder_embed(sm_encoder *encoder, const sm_text *texts, uint64_t n,
                                          float *vectors, uint64_t capacity, sm_error *error);
/* The same of n_ids tokens of one's own, markers included: vector[n_dims]. Also SM_ERR_TOKEN;
 * longer ones than max_tokens are refused. */
SM_API sm_status SM_CALL sm_encoder_embed_ids(sm_encoder *encoder, const int32_t *ids,
                                              uint64_t n_ids, float *vector, uint64_t capacity,
                                              sm_error *error);
/* The last hidden states of such tokens, after the last norm: states[n_ids][n_embd]. */
SM_API sm_status SM_CALL sm_encoder_hidden(sm_encoder *encoder, const int32_t *ids, uint64_t n_ids,
                                           float *states, uint64_t capacity, sm_error *error);

/* scores[n][n_labels] of texts, as the model makes them: of several labels their softmax, of one
 * its sigmoid is a probability. SM_ERR_UNSUPPORTED if the model has none. */
SM_API sm_status SM_CALL sm_encoder_score(sm_encoder *encoder, const sm_text *texts, uint64_t n,
                                          float *scores, uint64_t capacity, sm_error *error);
/* The same of tokens, with the type of each (the segment; NULL: 0): scores[n_labels]. */
SM_API sm_status SM_CALL sm_encoder_score_ids(sm_encoder *encoder, const int32_t *ids,
                                              const int32_t *types, uint64_t n_ids, float *scores,
                                              uint64_t capacity, sm_error *error);
/* scores[n], the greater the better, of documents for a query, by a model with one label that reads
 * pairs. Long documents are cut. SM_ERR_UNSUPPORTED where it has another number of labels, or its
 * vocabulary does not say how pairs are put together. */
SM_API sm_status SM_CALL sm_encoder_rerank(sm_encoder *encoder, const char *query, uint64_t length,
                                           const sm_text *documents, uint64_t n, float *scores,
                                           uint64_t capacity, sm_error *error);

/* Vectors of fewer bits. */
enum {
    SM_PACKED_INT8 = 1,   /* round(127 x), -127..127: for vectors of length 1 */
    SM_PACKED_BINARY = 2, /* a bit each, 1 where it is above 0, the first in the highest of a byte;
                             their distance is the number of bits that differ */
};
/* packed[n][bytes]: n_dims or (n_dims + 7) / 8 bytes for each of vectors[n][n_dims]. size: bytes
 * there is room for. SM_ERR_ARGUMENT (also values that are no numbers), _BUFFER. */
SM_API sm_status SM_CALL sm_vectors_pack(const float *vectors, uint64_t n, uint32_t n_dims,
                                         uint32_t kind, void *packed, uint64_t size,
                                         sm_error *error);

#ifdef __cplusplus
}
#endif
#endif
