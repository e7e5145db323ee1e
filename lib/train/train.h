/* train.h - training: matrix products, parameters, the tape and the backward pass,
 * loss, optimizers and schedules, data.
 *
 * The forward pass is lib/nn's own: sm_forward with a tape in its batch records what
 * backward needs. Everything here runs SPMD, as nn does: a function that takes an
 * sm_crew is called by every thread of the team with the same arguments, shares the
 * work out itself and ends with a barrier, so its results may be read by all.
 *
 * Results are bit-identical for every number of threads: work is split over output
 * elements only, or over a number of parts that does not depend on the threads and
 * that are added in order.
 */
#ifndef SM_TRAIN_INTERNAL_H
#define SM_TRAIN_INTERNAL_H

#include "base/base.h"
#include "format/format.h"
#include "kernels.h"
#include "nn/nn.h"
#include "smallmind/train.h"
#include "text/text.h"

/* ---- crew ------------------------------------------------------------------------- */

typedef struct sm_gemm_scratch sm_gemm_scratch;

/* One thread's place in a running team. */
typedef struct sm_crew {
    sm_team *team;
    const sm_kernels *kernels;
    sm_gemm_scratch *gemm;
    uint32_t thread, n_threads;
    sm_stop *stop; /* NULL: what runs is not cut short */
} sm_crew;

/* Whether the crew's work is cut short; thread 0 asks the hook. */
static inline bool sm_crew_stopped(const sm_crew *crew) {
    return crew->stop && sm_stop_now(crew->stop, crew->thread == 0);
}

/* Elements, a few operations of each, between two questions: some 10 us. */
#define SM_ASK_ELEMENTS 16384

/* The same in a loop over rows of `width` elements, of which i is the number: not for each. */
static inline bool sm_crew_stopped_at(const sm_crew *crew, uint64_t i, uint64_t width) {
    const uint64_t every = width < SM_ASK_ELEMENTS ? SM_ASK_ELEMENTS / (width + 1) : 1;
    return crew->stop && i % every == 0 && sm_crew_stopped(crew);
}

/* ---- matrix products (gemm.c) --------------------------------------------------------- */

typedef enum sm_precision {
    SM_PRECISION_F32,
    SM_PRECISION_BF16 /* inputs rounded to bf16 while packing, sums in f32 */
} sm_precision;

/* C[M][N] = (accumulate ? C : 0) + A * B, with A(m, k) = a[m * lda + k], or
 * a[k * lda + m] where a_transposed; B(k, n) = b[k * ldb + n], or b[n * ldb + k]
 * where b_transposed. So with row-major activations X[T][in], weights W[out][in]:
 *   Y[T][out]   = X * W^T     b_transposed
 *   dX[T][in]   = dY * W      neither
 *   dW[out][in] += dY^T * X   a_transposed, accumulate
 * Any sizes from 1. C must not overlap A or B. Each element is C + (sum of slab 0 of K)
 * + (slab 1) + ..., in this order; a slab's sum is one chain from 0. The slabs depend on K,
 * the precision and the instruction-set level only, so the bits do on nothing else. */
typedef struct sm_gemm_args {
    uint64_t M, N, K;
    const float *a;
    uint64_t lda;
    const float *b;
    uint64_t ldb;
    float *c;
    uint64_t ldc;
    bool a_transposed, b_transposed, accumulate;
    sm_precision precision;
} sm_gemm_args;

/* Packing buffers of a team of at most n_threads: one that they share and one of each
 * thread, 12 MiB + 1.5 MiB per thread. SM_ERR_NOMEM. */
sm_status sm_gemm_scratch_new(sm_gemm_scratch **out, sm_mem *mem, uint32_t n_threads,
                              sm_error *error);
void sm_gemm_scratch_free(sm_gemm_scratch *scratch); /* NULL is fine */
/* Whether f32 products with this scratch are computed by OpenBLAS (default: not), between
 * runs of the team. Blocks of C of a fixed size are shared out over the crew, each one call
 * of cblas_sgemm: so OpenBLAS should be set to one thread by the program (the setting is the
 * process's), and the bits are OpenBLAS's, those of its version and CPU. bf16 products stay
 * as they are. SM_ERR_UNSUPPORTED where the library was built without it (-Dopenblas). */
sm_status sm_gemm_use_openblas(sm_gemm_scratch *scratch, bool use, sm_error *error);
/* Collective: called by every thread of the crew with equal arguments; returns after a
 * barrier. What a and b hold must have been visible to all threads before. Asks crew->stop for
 * every few tiles; once it is stopped c holds rubbish. */
void sm_gemm(const sm_crew *crew, const sm_gemm_args *args);
/* The same product, bit for bit, by the calling thread alone with its own buffer of
 * crew->gemm: no barrier inside, so each thread may compute another one (attention). Asks
 * nothing: it is for small ones. */
void sm_gemm_alone(const sm_crew *crew, const sm_gemm_args *args);

/* ---- parameters (params.c) ------------------------------------------------------- */

/* One trainable tensor. */
typedef struct sm_param {
    const char *name;    /* as in the model's file, or "blk.0.attn_q.weight.lora_a" */
    uint64_t rows, cols; /* rows 1 for vectors; of stacked matrices all rows together */
    float *value;        /* [rows][cols]: the f32 master */
    float *grad;         /* [rows][cols] */
    bool decay;          /* matrices: weight decay applies; not norms, biases */
    uint64_t depth;      /* matrices that are stacked; 0: it is one */
    double rate;         /* times the learning rate; 0: 1 */
} sm_param;

typedef struct sm_params {
    sm_param *param;
    uint32_t n;
    uint64_t n_elements; /* in all */
} sm_params;

/* All of a crew: sets every gradient to 0; some of them where crew->stop is stopped. */
void sm_params_zero_grad(const sm_crew *crew, const sm_params *params);

/* ---- what was trained, for who writes it (trainer.c) ---------------------------------- */

/* What a trainer has: its own. */
typedef struct sm_trained {
    sm_mem *mem;
    const sm_source *source; /* the model's file */
    const sm_net *net;
    const sm_params *params; /* in full training those of the model, else of adapters */
    uint32_t lora_rank;      /* 0: full training */
    double lora_alpha;       /* scaled so that adapters count alpha / rank times */
    sm_hook hook;            /* to be asked */
} sm_trained;

/* Marks the trainer as in use, until sm_trainer_end; a callback of sm_trainer_train may do that.
 * SM_ERR_STATE. */
sm_status sm_trainer_look(sm_trainer *trainer, sm_trained *out, sm_error *error);
/* Makes the parameters' values those of a whole step: ends what was cut short, looks for what is
 * not finite. SM_ERR_DIVERGED, SM_ERR_CANCELLED (may be called again), SM_ERR_STATE. */
sm_status sm_trainer_ready(sm_trainer *trainer, sm_error *error);
/* May free the trainer. */
void sm_trainer_end(sm_trainer *trainer);

/* ---- optimizers (optim.c) -------------------------------------------------------- */

typedef enum sm_optimizer_kind {
    SM_OPTIM_ADAMW,     /* Loshchilov & Hutter, arXiv:1711.05101 */
    SM_OPTIM_LION,      /* Chen et al., arXiv:2302.06675 */
    SM_OPTIM_ADAFACTOR, /* Shazeer & Stern, arXiv:1804.04235 */
    SM_OPTIM_SGD,       /* with momentum */
} sm_optimizer_kind;

typedef struct sm_optim_config {
    sm_optimizer_kind kind;
    double beta1, beta2, eps, weight_decay, momentum;
    bool state_8bit; /* AdamW: moments as 8-bit blocks (arXiv:2110.02861) */
} sm_optim_config;

typedef struct sm_optim sm_optim;
/* States for every parameter, all zero. params is kept and must outlive the optimizer. hook (may be
 * NULL) is asked: weights done of all. SM_ERR_ARGUMENT names the value; SM_ERR_NOMEM, _CANCELLED.
 */
sm_status sm_optim_new(sm_optim **out, sm_mem *mem, const sm_optim_config *config,
                       const sm_params *params, const sm_hook *hook, sm_error *error);
void sm_optim_free(sm_optim *optim); /* NULL is fine */
/* Global L2 norm of all gradients, every thread gets the same value; NaN or infinite where
 * a gradient is. Partial sums over fixed pieces in double. Anything where crew->stop is stopped. */
double sm_optim_grad_norm(const sm_crew *crew, sm_optim *optim);
/* One update with gradients multiplied by grad_scale (1/accumulation, clipping). False to all of
 * the crew: crew->stop is stopped, some weights are updated and others not. The update then goes on
 * where it stands when it is called again, with the same lr and grad_scale. */
bool sm_optim_step(const sm_crew *crew, sm_optim *optim, double lr, double grad_scale);
/* State for checkpoints: count tensors of bytes, in a fixed order, named by role. */
uint32_t sm_optim_state_count(const sm_optim *optim);
void sm_optim_state(sm_optim *optim, uint32_t i, const char **param, const char **role, void **data,
                    uint64_t *bytes);
uint64_t sm_optim_steps(const sm_optim *optim);
void sm_optim_set_steps(sm_optim *optim, uint64_t steps); /* forgets an unfinished update */

typedef enum sm_schedule_kind {
    SM_SCHEDULE_CONSTANT,
    SM_SCHEDULE_LINEAR,
    SM_SCHEDULE_COSINE,
    SM_SCHEDULE_POLYNOMIAL,
    SM_SCHEDULE_INVERSE_SQRT,
    SM_SCHEDULE_WSD,             /* warmup, stable, decay: arXiv:2404.06395 */
    SM_SCHEDULE_COSINE_RESTARTS, /* SGDR: arXiv:1608.03983 */
} sm_schedule_kind;

typedef struct sm_schedule {
    sm_schedule_kind kind;
    double lr, min_lr;      /* highest and last */
    uint64_t warmup, steps; /* steps in all, warmup included */
    double power;           /* polynomial */
    double decay_fraction;  /* WSD: last part of the steps, 0..1 */
    uint64_t cycle;         /* restarts: first cycle's steps; */
    double cycle_factor;    /* each further cycle is longer by this */
} sm_schedule;

sm_status sm_schedule_check(const sm_schedule *schedule, sm_error *error);
/* Learning rate of step 0, 1, …; pure function. */
double sm_schedule_lr(const sm_schedule *schedule, uint64_t step);

/* ---- a graph: tape, loss and backward (graph.c, graph_batch.c) ------------------------------- */

/* One training batch: n_tokens tokens in spans, each span a document or a piece of one that
 * sees nothing of the others and begins at position 0. */
typedef struct sm_train_batch {
    uint32_t n_tokens;
    const int32_t *ids;     /* [n_tokens] */
    const int32_t *targets; /* [n_tokens] the token to predict after each, -1: no loss there */
    uint32_t n_spans;
    const uint32_t *span_begin; /* [n_spans + 1], first token of each; last entry n_tokens */
} sm_train_batch;

/* A network that is trained: a net with f32 copies of what is trained, its parameters,
 * gradients and all buffers of a step of at most max_tokens tokens. */
typedef struct sm_graph sm_graph;

#define SM_GRAPH_MAX_TOKENS (1u << 20)

typedef struct sm_graph_options {
    uint32_t max_tokens; /* in one batch, SM_GRAPH_MAX_TOKENS at most */
    uint32_t max_spans;
    uint32_t n_threads;
    sm_precision precision;
    bool checkpoint_layers; /* keep only each layer's input, compute the rest again */
    /* LoRA (arXiv:2106.09685) instead of everything; rank 0: full training */
    uint32_t lora_rank;
    double lora_alpha, lora_dropout;
    bool lora_rs;             /* scale alpha / sqrt(rank), arXiv:2312.03732 */
    double lora_b_rate;       /* B's learning rate by A's, arXiv:2402.12354; 0: 1 */
    const char *lora_targets; /* comma separated parts of tensor names ("attn_q,attn_v"); NULL:
                                 every matrix of every layer. "output.weight" is the head, where it
                                 is not tied */
    double expert_balance;    /* weight of the balancing loss of routers, 0: none */
    bool answers;             /* sm_graph_answers and sm_graph_backward_answers are called */
    uint64_t seed;            /* of LoRA's initial A and of dropout */
    const sm_hook *hook;      /* asked while the graph is made, weights ready of all; NULL: none */
} sm_graph_options;

/* Binds an open file, which must outlive the graph. SM_ERR_ARGUMENT, _MISSING, _SHAPE,
 * _UNSUPPORTED, _NOMEM, _SYSTEM, _CANCELLED. */
sm_status sm_graph_new(sm_graph **out, sm_mem *mem, const sm_source *source,
                       const sm_kernels *kernels, const sm_graph_options *options, sm_error *error);
void sm_graph_free(sm_graph *graph); /* NULL is fine */
const sm_params *sm_graph_params(const sm_graph *graph);
const sm_net *sm_graph_net(const sm_graph *graph);
/* What LoRA adds to that net, up to date after sm_graph_update; NULL in full training. Its lora's
 * a.data and b.data are the parameters' values. */
const sm_adapters *sm_graph_adapters(const sm_graph *graph);
sm_team *sm_graph_team(sm_graph *graph);
sm_gemm_scratch *sm_graph_gemm(sm_graph *graph);
/* A hook that the calling thread asks many times in every product of a batch, forward and backward,
 * and in what else takes long; non-zero ends the batch with SM_ERR_CANCELLED. NULL: never. */
void sm_graph_set_cancel(sm_graph *graph, int32_t (*cancel)(void *user), void *user);
/* For other work of the team that asks that hook: before it, whether it was cut short, and a
 * thread's place in it. */
void sm_graph_begin(sm_graph *graph);
bool sm_graph_stopped(const sm_graph *graph);
sm_crew sm_graph_crew(sm_graph *graph, uint32_t thread, uint32_t n_threads);
/* Asks it between runs of the team. */
bool sm_graph_ask(const sm_graph *graph);

/* Mean loss in nats over the tokens with a target; *n_targets (may be NULL) how many. No
 * gradients. SM_ERR_TOKEN, SM_ERR_ARGUMENT (spans, sizes), SM_ERR_CANCELLED. */
sm_status sm_graph_loss(sm_graph *graph, const sm_train_batch *batch, double *loss,
                        uint64_t *n_targets, sm_error *error);
/* The same and adds weight * d(sum of losses)/d(parameter) to every gradient; with weight =
 * 1 / targets of all batches of a step, accumulation equals one large batch. step and
 * micro-batch number key the dropout's random numbers. Cancelled, gradients are undefined. */
sm_status sm_graph_backward(sm_graph *graph, const sm_train_batch *batch, double weight,
                            uint64_t draw, double *loss_sum, uint64_t *n_targets, sm_error *error);
/* Of each span the sum of its tokens' losses, in order, without gradients; base: those of the model
 * without the graph's adapters. SM_ERR_TOKEN, SM_ERR_ARGUMENT, SM_ERR_CANCELLED. */
sm_status sm_graph_answers(sm_graph *graph, const sm_train_batch *batch, bool base, double *losses,
                           sm_error *error);
/* What a batch counts in an objective, from the losses of its spans: the objective's derivative by
 * each. */
typedef void (*sm_judge_fn)(void *user, const double *losses, double *weights);
/* Adds the gradient of an objective that looks at sums of spans (losses and weights: [n_spans],
 * which are filled in). */
sm_status sm_graph_backward_answers(sm_graph *graph, const sm_train_batch *batch, uint64_t draw,
                                    double *losses, double *weights, sm_judge_fn weigh, void *user,
                                    sm_error *error);
/* The balancing loss of the routers in the last sm_graph_backward (option expert_balance; 0 without
 * it), summed over layers; its gradient counts expert_balance * weight * targets times. */
double sm_graph_balance(const sm_graph *graph);
/* After the parameters' values changed: refreshes what is derived from them (packed
 * weights). SM_ERR_CANCELLED: it must be called again before the next batch. */
sm_status sm_graph_update(sm_graph *graph);

/* ---- a teacher (teacher.c) ----------------------------------------------------------- */

/* A model whose logits are learned beside the text: each token's loss is (1 - weight) of its own
 * and weight times temperature^2 KL(teacher || model), both softened by the temperature. */
typedef struct sm_teacher sm_teacher;
typedef struct sm_teacher_options {
    double weight, temperature;
    uint32_t max_tokens, max_spans, n_threads; /* as of the graph */
    uint32_t n_vocab, chunk;                   /* rows of the graph's net; sm_graph_chunk */
} sm_teacher_options;
/* The file must outlive it. SM_ERR_SHAPE (another vocabulary), and those of sm_net_load. */
sm_status sm_teacher_new(sm_teacher **out, sm_mem *mem, const sm_source *source,
                         const sm_kernels *kernels, const sm_teacher_options *options,
                         sm_error *error);
void sm_teacher_free(sm_teacher *teacher); /* NULL is fine */
/* From now on sm_graph_backward learns of the teacher, too, which must outlive it. */
void sm_graph_set_teacher(sm_graph *graph, sm_teacher *teacher);
/* Tokens whose logits exist at a time. */
uint32_t sm_graph_chunk(const sm_graph *graph);
/* Of the last sm_graph_backward: the sum of temperature^2 KL(teacher || model); 0 without one. */
double sm_graph_unlike(const sm_graph *graph);

/* Where the time of all batches so far went. */
typedef enum sm_graph_part {
    SM_PART_FORWARD,   /* embedding and layers */
    SM_PART_HEAD,      /* logits and loss */
    SM_PART_WEIGHTS,   /* products for gradients of weights */
    SM_PART_INPUTS,    /* products for gradients of activations */
    SM_PART_ATTENTION, /* backward */
    SM_PART_ROWS,      /* norms, silu, rope, biases, embedding */
    SM_PART_UPDATE,    /* packing weights */
    SM_PART_COUNT
} sm_graph_part;
/* Nanoseconds of each part. */
void sm_graph_times(const sm_graph *graph, uint64_t times[SM_PART_COUNT]);

/* ---- data (data.c, documents.c, instruct.c) ----------------------------------------- */

/* Where a data set stands: enough to go on from it after a restart. */
typedef struct sm_data_cursor {
    uint64_t epoch;
    uint64_t position; /* document in the shuffled order of the epoch */
    uint64_t offset;   /* tokens of that document already used */
} sm_data_cursor;

typedef struct sm_dataset sm_dataset;

typedef enum sm_data_kind {
    SM_DATA_AUTO,
    SM_DATA_TEXT,
    SM_DATA_INSTRUCT,
    SM_DATA_CHOSEN,
    SM_DATA_PAIRS, /* a chosen and a rejected answer */
    SM_DATA_LABELS /* one answer, and whether it is good */
} sm_data_kind;
typedef enum sm_data_template {
    SM_TEMPLATE_ALPACA, /* "### Instruction:" … "### Response:" */
    SM_TEMPLATE_CHATML, /* <|im_start|>role … <|im_end|> */
} sm_data_template;

typedef struct sm_dataset_options {
    /* auto: files that end in .json, .jsonl or .ndjson are instruction data; chosen: instruction
     * data, the rejected side of preferences left out (refused otherwise) */
    sm_data_kind kind;
    uint32_t sequence; /* tokens of one row, at least 2 */
    uint32_t rows;     /* of a batch */
    uint64_t seed;     /* of the shuffle: order = f(seed, epoch) */
    double validation; /* part kept for validation, 0..0.5: the file's last documents, by bytes */
    /* plain text: what stands between documents; where it does not occur the text is one
     * document, cut into pieces at line ends. NULL: it never occurs */
    const char *separator;
    sm_data_template layout;       /* of instruction data */
    bool loss_on_prompt;           /* instruction data: default answers only */
    const char *const *more_paths; /* of further files, whose documents follow */
    uint64_t n_more;
} sm_dataset_options;

/* Opens plain text, or instruction data: a JSON array or one JSON object a line, in one of the
 * layouts that instruct.c lists. The file is mapped and tokenized document by document as batches
 * need it. The ids of an entry are those that generating has for the same text (documents.c). What
 * is no UTF-8 text by its first bytes is refused. SM_ERR_IO, SM_ERR_FORMAT (names file and line),
 * SM_ERR_UNSUPPORTED, SM_ERR_ARGUMENT, SM_ERR_NOMEM, SM_ERR_CANCELLED (progress said so, which is
 * asked once a MiB). The tokenizer must outlive the data set. */
sm_status sm_dataset_open(sm_dataset **out, sm_mem *mem, const char *path,
                          const sm_tokenizer *tokenizer, const sm_dataset_options *options,
                          sm_progress_fn progress, void *progress_user, sm_error *error);
void sm_dataset_free(sm_dataset *dataset); /* NULL is fine */
/* A hook asked while documents are read, encoded and looked for; non-zero makes the call under way
 * return SM_ERR_CANCELLED. NULL: never. */
void sm_dataset_set_cancel(sm_dataset *dataset, int32_t (*cancel)(void *user), void *user);

/* The next training batch of rows * sequence tokens; advances the cursor, epochs never end.
 * Documents follow each other in a row, each a span of its own. Text that does not fit goes on
 * in the next row as a new span; an instruction entry is never divided: it waits for the next
 * row (what is left is padding without targets), and is cut off at the length of a row, or left out
 * if that leaves no target. The batch is valid until the next call. SM_ERR_NOMEM, SM_ERR_STATE if
 * no document has a target. */
sm_status sm_dataset_next(sm_dataset *dataset, sm_train_batch *batch, sm_error *error);
/* The same over the validation part, in the file's order, from its beginning where restart is
 * set; *more is false (batch untouched) past the end. */
sm_status sm_dataset_validation(sm_dataset *dataset, bool restart, sm_train_batch *batch,
                                bool *more, sm_error *error);
/* Path of file i as it was given; NULL behind the last. */
const char *sm_dataset_file(const sm_dataset *dataset, uint64_t i);
/* Tokens of the last batch that only fill its rows. */
uint32_t sm_dataset_padding(const sm_dataset *dataset);
void sm_dataset_cursor(const sm_dataset *dataset, sm_data_cursor *cursor);
/* Passes through the training part, with the part of the running one: of its documents, and of the
 * tokens of the document where it stands. */
double sm_dataset_epochs(const sm_dataset *dataset);
/* SM_ERR_ARGUMENT if the cursor is not one of this data set. */
sm_status sm_dataset_seek(sm_dataset *dataset, const sm_data_cursor *cursor, sm_error *error);

/* Spans of a batch at most. */
uint32_t sm_dataset_max_spans(const sm_dataset *dataset);
/* False: instruction data. */
bool sm_dataset_is_text(const sm_dataset *dataset);
typedef struct sm_dataset_info {
    uint64_t train_documents, validation_documents;
    uint64_t train_bytes, validation_bytes; /* of text, prompts included */
    uint64_t hash;    /* of the file's bytes and how documents part them: to recognise it again */
    const char *path; /* of the file; the data set's own */
} sm_dataset_info;
void sm_dataset_get_info(const sm_dataset *dataset, sm_dataset_info *info);

#endif
