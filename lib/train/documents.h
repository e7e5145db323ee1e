/* documents.h - a file of training text as a list of documents, and the tokens of each.
 * Private to lib/train.
 */
#ifndef SM_DOCUMENTS_H
#define SM_DOCUMENTS_H

#include "train.h"

/* A piece of the file. */
typedef struct sm_document {
    uint64_t offset, length; /* bytes */
    uint64_t line;           /* of its first byte, from 1: for messages */
} sm_document;

typedef struct sm_documents {
    sm_mem *mem;
    sm_file file;
    char *path;
    const sm_tokenizer *tokenizer;
    sm_tokenizer_info vocab;
    sm_data_kind kind; /* text or instruct */
    sm_data_template layout;
    bool loss_on_prompt;
    bool continued; /* documents are pieces of one text: no markers around them */
    sm_document *list;
    uint64_t n, capacity;
    uint64_t hashed, hash; /* bytes of the file that are in the hash so far: all, once it is open */
} sm_documents;

/* The tokens of one document. learn[i]: token i is one to be predicted. */
typedef struct sm_document_tokens {
    int32_t *ids;
    uint8_t *learn;
    uint64_t n, capacity;
} sm_document_tokens;

sm_status sm_documents_open(sm_documents *documents, sm_mem *mem, const char *path,
                            const sm_tokenizer *tokenizer, const sm_dataset_options *options,
                            sm_progress_fn progress, void *progress_user, sm_error *error);
void sm_documents_close(sm_documents *documents);
/* Tokens of document i in place of what `tokens` held. */
sm_status sm_documents_read(const sm_documents *documents, uint64_t i, sm_document_tokens *tokens,
                            sm_error *error);
void sm_document_tokens_free(sm_document_tokens *tokens, sm_mem *mem);

/* Tells, while the file is gone through for the first time, that it is read up to byte `end`: what
 * has been read since is hashed while it is in the CPU's caches. */
void sm_documents_hash(sm_documents *documents, uint64_t end);
/* Appends an entry to the list. */
sm_status sm_documents_add(sm_documents *documents, uint64_t offset, uint64_t length, uint64_t line,
                           sm_error *error);
/* Appends text as tokens; special: the text of special tokens in it counts as those. */
sm_status sm_documents_encode(const sm_documents *documents, const char *text, uint64_t length,
                              bool special, bool learn, sm_document_tokens *tokens,
                              sm_error *error);
/* Appends one token; nothing where id is -1. */
sm_status sm_documents_push(const sm_documents *documents, int32_t id, bool learn,
                            sm_document_tokens *tokens, sm_error *error);

/* Instruction data (instruct.c): lists and checks the entries; tokens of entry i. */
sm_status sm_instruct_index(sm_documents *documents, sm_progress_fn progress, void *progress_user,
                            sm_error *error);
sm_status sm_instruct_read(const sm_documents *documents, uint64_t i, sm_document_tokens *tokens,
                           sm_error *error);

#endif
