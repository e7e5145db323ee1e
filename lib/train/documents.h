/* documents.h - a file of training text as a list of documents, and the tokens of each.
 * Private to lib/train.
 */
#ifndef SM_DOCUMENTS_H
#define SM_DOCUMENTS_H

#include "format/json.h"
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
    sm_data_kind kind; /* what the options say, or what auto found */
    sm_data_template layout;
    bool loss_on_prompt;
    int32_t (*cancel)(void *user); /* asked while documents are read; NULL: never */
    void *cancel_user;
    bool continued; /* documents are pieces of one text: no markers around them */
    sm_document *list;
    uint64_t n, capacity;
    uint64_t hashed, hash; /* bytes of the file that are in the hash so far: all, once it is open */
} sm_documents;

/* Which of an entry's answers is meant. */
typedef enum sm_answer_side {
    SM_SIDE_ANSWER,   /* its only one, or the chosen one of a pair */
    SM_SIDE_REJECTED, /* of a pair */
} sm_answer_side;

/* The tokens of one document. learn[i]: token i is one to be predicted. */
typedef struct sm_document_tokens {
    int32_t *ids;
    uint8_t *learn;
    uint64_t n, capacity;
    bool good; /* what an entry with a label says of its answer */
} sm_document_tokens;

sm_status sm_documents_open(sm_documents *documents, sm_mem *mem, const char *path,
                            const sm_tokenizer *tokenizer, const sm_dataset_options *options,
                            sm_progress_fn progress, void *progress_user, sm_error *error);
void sm_documents_close(sm_documents *documents);
/* Tokens of document i in place of what `tokens` held, with the answer of that side.
 * SM_ERR_CANCELLED, _NOMEM, _FORMAT. */
sm_status sm_documents_read(const sm_documents *documents, uint64_t i, sm_answer_side side,
                            sm_document_tokens *tokens, sm_error *error);
/* Room for n tokens. SM_ERR_NOMEM. */
sm_status sm_document_tokens_reserve(sm_document_tokens *tokens, sm_mem *mem, uint64_t n,
                                     sm_error *error);
/* Tokens of document i of a data set, training first, as sm_documents_read. */
sm_status sm_dataset_read(const sm_dataset *dataset, uint64_t i, sm_answer_side side,
                          sm_document_tokens *tokens, sm_error *error);
/* The next document of training in its order, as a number for sm_dataset_read; moves the cursor. */
uint64_t sm_dataset_take(sm_dataset *dataset);
void sm_document_tokens_free(sm_document_tokens *tokens, sm_mem *mem);

/* ---- while the file is opened (listing.c) ------------------------------------------------ */

#define SM_WATCH_BYTES (1u << 20) /* gone through between two questions: some hundred us */

/* Tells, while the file is gone through for the first time, that it is read up to byte `end`: what
 * has been read since is hashed while it is in the CPU's caches. */
void sm_documents_hash(sm_documents *documents, uint64_t end);
/* Appends an entry to the list. */
sm_status sm_documents_add(sm_documents *documents, uint64_t offset, uint64_t length, uint64_t line,
                           sm_error *error);

/* How far the file has been gone through, for whoever asks while it is opened. */
typedef struct sm_watch {
    const sm_documents *documents;
    uint64_t at, told;       /* bytes; where the hook was asked last */
    sm_progress_fn progress; /* NULL: never */
    void *user;
} sm_watch;

/* Asks the hook: non-zero if it wants no more. Takes the watch as void *, as such hooks do. */
int32_t sm_watch_ask(void *watch);
/* The same where some MiB have been read since; SM_ERR_CANCELLED. */
sm_status sm_watch_tell(sm_watch *watch, sm_error *error);

/* ---- what is written of an entry (render.c) ------------------------------------------------ */

/* The portion of an entry that something belongs to. */
typedef enum sm_portion {
    SM_PORTION_PROMPT, /* learned where prompts are */
    SM_PORTION_ANSWER, /* learned */
    SM_PORTION_SILENT  /* an answer that shall not be learned */
} sm_portion;

/* A piece of text that is encoded at once, and a token after it. */
typedef struct sm_part {
    uint64_t begin, end; /* bytes of the text */
    uint64_t answer;     /* where in it an answer begins; UINT64_MAX: nowhere */
    sm_portion portion;  /* of the answer */
    bool joined;         /* goes on where the part before ends, with no token between */
    int32_t token;       /* -1: none */
    sm_portion token_portion;
} sm_part;

typedef struct sm_rendering {
    sm_mem *mem;
    bool check; /* nothing is kept: only to see whether it can be written */
    bool good;  /* the label of the entry */
    char *text;
    uint64_t length, capacity;
    sm_part *part;
    uint64_t n, part_capacity;
} sm_rendering;

void sm_rendering_free(sm_rendering *rendering);
/* Append text of a prompt, an answer (of zero bytes, too), a token (nothing where id is -1). */
sm_status sm_render_text(sm_rendering *rendering, const char *bytes, uint64_t n, sm_error *error);
sm_status sm_render_answer(sm_rendering *rendering, const char *bytes, uint64_t n,
                           sm_portion portion, sm_error *error);
sm_status sm_render_token(sm_rendering *rendering, int32_t id, sm_portion portion, sm_error *error);

typedef enum sm_speaker { SM_SPEAKER_SYSTEM, SM_SPEAKER_USER, SM_SPEAKER_ASSISTANT } sm_speaker;

/* Writes one entry in a layout. */
typedef struct sm_writer {
    sm_rendering out;
    sm_data_template layout;
    int32_t im_start, im_end, eos;
    uint64_t turns, answers; /* written so far; answers: that are learned */
    sm_error *error;
} sm_writer;

/* One turn; portion: of an assistant's, SM_PORTION_PROMPT of the others. input: what goes with an
 * instruction (Alpaca), empty elsewhere. A system's turn can only be the first but in ChatML. */
sm_status sm_write_turn(sm_writer *writer, sm_speaker who, sm_str text, sm_str input,
                        sm_portion portion);
/* What Alpaca's layout begins with where there is no system text. */
sm_status sm_write_preamble(sm_writer *writer, bool with_input);
/* An answer alone, and the end of text. */
sm_status sm_write_answer(sm_writer *writer, sm_str text, sm_portion portion);
sm_status sm_write_end(sm_writer *writer, sm_portion portion);

/* A hook that ends what is under way. */
typedef struct sm_canceller {
    int32_t (*cancel)(void *user); /* NULL: never */
    void *user;
} sm_canceller;

/* Writes an entry that has been parsed, with the answer of that side, to `out`, which is empty
 * (instruct.c). */
sm_status sm_instruct_write(const sm_documents *documents, const sm_document *entry,
                            const sm_json *json, sm_answer_side side, sm_canceller hook,
                            sm_rendering *out, sm_error *error);

/* Instruction data (entries.c): lists and checks the entries; writes entry i to `rendering`, which
 * is empty. */
sm_status sm_instruct_index(sm_documents *documents, sm_progress_fn progress, void *progress_user,
                            sm_error *error);
sm_status sm_instruct_render(const sm_documents *documents, uint64_t i, sm_answer_side side,
                             sm_rendering *rendering, sm_error *error);

#endif
