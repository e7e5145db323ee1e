/* smallmind/train.h - train a model from scratch, fine-tune it whole or by LoRA adapters.
 *
 *     sm_trainer_open(&t, "model.gguf", &options, &err);      // options.data = "text.txt"
 *     while (sm_trainer_steps_left(t)) {
 *         sm_trainer_step(t, &metrics, &err);                  // one optimizer step
 *         ...                                                  // sm_trainer_evaluate, _save
 *     }
 *     sm_trainer_export(t, "trained.gguf", NULL, &err);
 *
 * Training starts from the weights of a GGUF file: a real model, or one that
 * sm_model_init made with random weights. The file is never written to.
 *
 * A trainer is used by one thread at a time; it runs its own team of threads inside. While a
 * call has not returned, callbacks and other threads get SM_ERR_STATE from all functions but
 * sm_trainer_get_info and sm_trainer_steps_left (at any time) and sm_trainer_free, which takes
 * effect when the call ends. The callback on_step of sm_trainer_train stands between two steps and
 * may call more: sm_trainer_evaluate, _save, _export, _export_adapter and _set_cancel. Of fork()
 * see types.h.
 *
 * The same options, data and seed give the same bits for every number of threads, and
 * after every interruption that a checkpoint bridges.
 */
#ifndef SMALLMIND_TRAIN_H
#define SMALLMIND_TRAIN_H

#include "tokenizer.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- a new vocabulary --------------------------------------------------------------- */

typedef struct sm_vocabulary_options {
    uint32_t struct_size;
    uint32_t n_vocab;        /* tokens, marks and the 256 bytes included; 0: 4096 */
    const char *separator;   /* mark between documents, which becomes the BOS and EOS token; NULL:
                                "<|endoftext|>" */
    const char *pre;         /* pre-tokenizer that cuts text into words; NULL: "gpt-2" */
    sm_progress_fn progress; /* NULL: none */
    void *progress_user;
    sm_cancel *cancel_flag; /* NULL, or what ends the call when it is set (types.h) */
    uint64_t min_count;     /* a pair seen less often is not merged; 0: 2 */
} sm_vocabulary_options;

/* Learns a byte-level BPE vocabulary from text files (UTF-8) and writes it as a GGUF file without
 * weights. SM_ERR_ARGUMENT, _IO, _FORMAT (not UTF-8: names the file; or no text at all),
 * _UNSUPPORTED (pre; a compressed file, or UTF-16), _NOMEM, _CANCELLED. */
SM_API sm_status SM_CALL sm_vocabulary_train(const char *path, const char *const *text_paths,
                                             uint64_t n_texts, const sm_vocabulary_options *options,
                                             sm_error *error);

/* ---- a new model ------------------------------------------------------------------ */

typedef struct sm_model_init_options {
    uint32_t struct_size;
    uint32_t n_embd;         /* width of the model; 0: 256 */
    uint32_t n_layer;        /* 0: 6 */
    uint32_t n_head;         /* 0: n_embd / 32 */
    uint32_t n_head_kv;      /* divides n_head; 0: n_head */
    uint32_t n_ff;           /* 0: 8/3 of n_embd, rounded up to a multiple of 32 */
    uint32_t n_ctx;          /* context length that the file states; 0: 512 */
    uint32_t untied;         /* 1: an output matrix of its own; default: the embedding's, tied */
    uint32_t family;         /* SM_FAMILY_… */
    uint32_t sliding_window; /* tokens that attention sees, the token itself included; 0: all */
    uint64_t seed;
    double rope_theta;       /* 0: 10000 */
    const char *name;        /* general.name; NULL: none */
    sm_progress_fn progress; /* weights written; NULL: none */
    void *progress_user;
    sm_cancel *cancel_flag;   /* NULL, or what ends the call when it is set (types.h) */
    const char *architecture; /* general.architecture, any that runs and needs no more sizes than
                                 these; NULL: what `family` says */
    const sm_allocator *allocator; /* NULL: the C library's */
} sm_model_init_options;

enum {
    SM_FAMILY_LLAMA = 0,
    SM_FAMILY_QWEN2 = 1, /* with q, k and v biases */
    SM_FAMILY_QWEN3 = 2, /* with q and k norms */
};

/* Writes a model with random weights (normal, standard deviation 0.02; matrices that add
 * to the residual stream 0.02/sqrt(2 n_layer); norms 1, biases 0) and the vocabulary of
 * another GGUF file, or of a directory with config.json and tokenizer.json. f32.
 * SM_ERR_ARGUMENT, _IO, _MISSING (no vocabulary; a size that the architecture needs beside these:
 * names its key), _UNSUPPORTED (no such architecture), _NOMEM, _CANCELLED. */
SM_API sm_status SM_CALL sm_model_init(const char *path, const char *vocabulary_path,
                                       const sm_model_init_options *options, sm_error *error);

/* ---- trainer ----------------------------------------------------------------------- */

typedef struct sm_trainer sm_trainer;

/* Instruction data is a JSON array or JSONL; docs/training.md has its layouts. */
enum {
    SM_DATA_FILE_AUTO = 0,     /* .json, .jsonl, .ndjson are instruction data, all else text */
    SM_DATA_FILE_TEXT = 1,     /* plain text in UTF-8 */
    SM_DATA_FILE_INSTRUCT = 2, /* a rejected answer is refused but by objectives that compare */
    SM_DATA_FILE_CHOSEN = 3,   /* rejected answers are left out, the chosen ones learned */
};

enum {
    SM_LAYOUT_ALPACA = 0,
    SM_LAYOUT_CHATML = 1,
};

enum {
    SM_OPTIMIZER_ADAMW = 0,
    SM_OPTIMIZER_LION = 1,
    SM_OPTIMIZER_ADAFACTOR = 2,
    SM_OPTIMIZER_SGD = 3,
};

/* What is learned. All but the first learn from answers that people prefer to others
 * (docs/training.md). */
enum {
    SM_OBJECTIVE_SUPERVISED = 0, /* the text, or the answers */
    SM_OBJECTIVE_DPO = 1,        /* arXiv:2305.18290; entries with a chosen and a rejected answer */
    SM_OBJECTIVE_IPO = 2,        /* arXiv:2310.12036; the same entries */
    SM_OBJECTIVE_SIMPO = 3,      /* arXiv:2405.14734; the same entries, no reference */
    SM_OBJECTIVE_ORPO = 4,       /* arXiv:2403.07691; the same entries, no reference */
    SM_OBJECTIVE_KTO = 5,        /* arXiv:2402.01306; entries with one answer and a label */
};

enum {
    SM_LR_COSINE = 0,
    SM_LR_CONSTANT = 1,
    SM_LR_LINEAR = 2,
    SM_LR_POLYNOMIAL = 3,
    SM_LR_INVERSE_SQRT = 4,
    SM_LR_WSD = 5,
    SM_LR_RESTARTS = 6,
};

enum {
    SM_TRAIN_F32 = 0,
    SM_TRAIN_BF16 = 1,
};

typedef struct sm_trainer_options {
    uint32_t struct_size;
    uint32_t n_threads; /* 0: all CPUs of the process, 8 at most */
    /* data */
    const char *data;             /* path of the training data (required) */
    const char *const *more_data; /* paths of further files, whose documents follow: one data set,
                                     each file of its own kind where data_kind is auto */
    uint64_t n_more_data;         /* of them, 65535 at most */
    const char *separator;        /* between documents of a text; NULL: "<|endoftext|>" */
    double validation;  /* part kept for validation, 0..0.5: the last documents of the data, one
                           at least; default 0: none */
    uint32_t data_kind; /* SM_DATA_FILE_… */
    uint32_t layout;    /* SM_LAYOUT_… of instruction data */
    uint32_t loss_on_prompt; /* 1: instruction data trains the prompts too */
    uint32_t sequence;       /* tokens of a row, 2 at least, the model's context at most; 0: 256, or
                                that context if it is less */
    uint32_t rows;           /* rows computed together; 0: 8 */
    uint32_t accumulate;     /* such batches to one optimizer step; 0: 1 */
    uint64_t steps;          /* optimizer steps in all; 0: 1000 */
    double epochs; /* instead of steps: as many as so many passes through the training part
                      take, rounded up; tokenizes it once when opened. 0: steps count */
    uint64_t seed; /* of the data's order, adapters' weights and dropout */
    /* optimizer */
    uint32_t optimizer;    /* SM_OPTIMIZER_… */
    uint32_t state_8bit;   /* 1: AdamW's moments in 8 bits each */
    double lr;             /* highest learning rate; 0: 1e-3, 1e-4 for Lion, 0.01 for Adafactor,
                            0.1 for SGD; a hundredth of it where answers are compared */
    double min_lr;         /* at the end of the schedule */
    double beta1;          /* AdamW and Lion; 0: 0.9; SM_ZERO: 0 */
    double beta2;          /* 0: 0.95 for AdamW, 0.99 for Lion; SM_ZERO: 0 */
    double eps;            /* AdamW; 0: 1e-8 */
    double weight_decay;   /* decoupled; matrices only */
    double expert_balance; /* mixtures of experts: weight of a loss that keeps experts equally in
                              use, added to that of the text (docs/training.md); default 0: none */
    double momentum;       /* SGD; 0: 0.9; SM_ZERO: none */
    double clip;           /* largest global norm of the gradient; 0: 1 */
    uint32_t no_clip;      /* 1: no limit */
    /* schedule of the learning rate, in optimizer steps */
    uint32_t schedule;   /* SM_LR_… */
    uint64_t warmup;     /* steps of linear rise at the beginning */
    double power;        /* polynomial; 0: 2; SM_ZERO: 0 */
    double decay_part;   /* WSD: the last part of the steps; 0: 0.2; SM_ZERO: none */
    uint64_t cycle;      /* restarts: steps of the first cycle; 0: a quarter of the steps */
    double cycle_growth; /* restarts: each cycle is longer by this factor; 0: 2 */
    /* computation */
    uint32_t precision;         /* SM_TRAIN_F32, or matrix products with inputs in bf16 */
    uint32_t checkpoint_layers; /* 1: keep each layer's input only and compute the rest again */
    uint32_t level;             /* cap on the instruction set, SM_LEVEL_… */
    /* adapters (LoRA) instead of the whole model */
    uint32_t lora_rank;  /* 0: train every weight */
    double lora_alpha;   /* scale is alpha / rank; 0: 2 * rank */
    double lora_dropout; /* of the adapters' input, 0..0.9 */
    uint32_t lora_rs;    /* 1: scale is alpha / sqrt(rank) */
    uint32_t openblas;   /* 1: f32 products of the backward pass by OpenBLAS, if the library was
                            built with it; set it to one thread, it is called by each */
    const char *lora_targets;      /* tensors by part of their name in either case, comma separated
                                 ("attn_q,attn_v"), or by the names of Hugging Face's models:
                                 q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj,
                                 lm_head, dense, dense_h_to_4h, dense_4h_to_h, fc1, fc2, c_fc,
                                 c_proj, and of tensors that hold several matrices qkv_proj,
                                 query_key_value, Wqkv, c_attn, gate_up_proj; NULL: every matrix of
                                 every layer */
    const sm_allocator *allocator; /* NULL: the C library's */
    sm_progress_fn progress;       /* while opening: bytes of data read of all, then weights made
                                      ready of all, then of the optimizer, then entries that the
                                      reference was asked about; NULL: none */
    void *progress_user;
    const sm_logger *log;   /* while opening, warnings as of sm_tokenizer_options; NULL: silent */
    sm_cancel *cancel_flag; /* NULL, or what ends opening and every later call while it is set */
    /* host */
    uint64_t memory_limit; /* bytes of heap; 0: none */
    /* objectives that compare answers. An entry is a row of two answers, of up to `sequence` tokens
     * each; the step's loss is the mean over its rows * accumulate entries. The reference is the
     * model without adapters; if it is trained whole, as it was when the trainer was opened, which
     * goes through all data for it. */
    uint32_t objective;         /* SM_OBJECTIVE_… */
    uint32_t length_normalized; /* DPO: 1: log-probabilities are means over an answer's tokens, as
                                   they are in IPO, SimPO and ORPO */
    double preference_beta;     /* how strongly preferences count; 0: 0.1, 2 for SimPO */
    double label_smoothing;     /* DPO, SimPO, ORPO: part of the pairs taken to be the other way
                                   round, 0..0.5 */
    double preference_margin;   /* SimPO: reward that the chosen answer is to have more; 0: 1 */
    double desirable_weight;    /* KTO: of good answers; 0: 1 */
    double undesirable_weight;  /* KTO: of the others; 0: 1 */
    /* distillation, of the supervised objective */
    const char *teacher;        /* path of a model with the same vocabulary, whose probabilities are
                            learned; NULL: none */
    double teacher_weight;      /* part of the loss that the teacher counts, 0..1; 0: 0.5 */
    double teacher_temperature; /* of the probabilities that are compared; 0: 2 */
    /* adapters */
    double lora_b_rate; /* the learning rate of B is so many times that of A (LoRA+); 0: 1 */
} sm_trainer_options;

/* Opens the model and the data. The model needs a vocabulary. SM_ERR_ARGUMENT, _IO,
 * _FORMAT (the data: file and line; weights that are infinite or NaN: tensor and row), _MISSING,
 * _SHAPE, _UNSUPPORTED, _NOMEM, _SYSTEM, _CANCELLED. */
SM_API sm_status SM_CALL sm_trainer_open(sm_trainer **out, const char *model_path,
                                         const sm_trainer_options *options, sm_error *error);
SM_API void SM_CALL sm_trainer_free(sm_trainer *trainer); /* NULL is fine */

typedef struct sm_trainer_info {
    uint32_t struct_size; /* set by the caller */
    uint32_t level;       /* SM_LEVEL_… in use */
    uint32_t n_threads;
    uint32_t n_vocab;  /* tokens of the vocabulary */
    uint64_t n_params; /* weights that are trained */
    uint64_t steps;    /* in all */
    uint64_t step;     /* done */
    uint64_t tokens;   /* trained on so far, those of prompts and padding not counted */
    uint64_t epoch;    /* passes through the data finished */
    uint64_t train_documents, validation_documents;
    uint64_t train_bytes, validation_bytes; /* of text */
    uint64_t heap_bytes, heap_peak;
    double epochs;     /* passes through the data, with the part of the running one */
    uint64_t updating; /* 1: a cancelled step has changed weights; the next one only ends it */
} sm_trainer_info;
SM_API sm_status SM_CALL sm_trainer_get_info(const sm_trainer *trainer, sm_trainer_info *info,
                                             sm_error *error);
/* Steps still to be done; 0 for NULL. */
SM_API uint64_t SM_CALL sm_trainer_steps_left(const sm_trainer *trainer);

typedef struct sm_train_metrics {
    uint32_t struct_size; /* set by the caller */
    uint32_t reserved;
    uint64_t step;    /* done, this one included */
    double loss;      /* mean over the step's targets, nats per token, before the update */
    double grad_norm; /* global L2 norm before clipping */
    double lr;        /* of this step */
    uint64_t targets; /* tokens whose prediction was trained */
    double seconds;
    uint64_t tokens;       /* that were computed: those of prompts too, padding not */
    double expert_balance; /* with that option the loss that it weighs, of all layers: 1 for each
                              where experts are in equal use; else 0. Not part of `loss` */
    /* where answers are compared, else 0; `loss` is then the objective's, a mean over entries.
     * Rewards: beta times how much likelier than by the reference the model makes an answer
     * (without one: its log-probability), means over the good and the other answers, 0 where there
     * are none */
    double chosen_reward, rejected_reward;
    double reward_margin; /* the first less the second */
    double teacher_loss; /* distillation: temperature^2 KL(teacher || model), nats per token; `loss`
                            is then what is mixed of that and of the text's */
    double accuracy; /* part of the pairs whose chosen answer has the higher reward; of entries with
                        a label those on the right side of the reference point */
} sm_train_metrics;

/* One optimizer step: `accumulate` batches forward and backward, clip, update. metrics may
 * be NULL. SM_ERR_CANCELLED (the hook said so: nothing has changed; or the update of the weights
 * had begun: the next step goes on with it and is then that step, and an evaluation, saving or
 * exporting finishes it first). SM_ERR_DIVERGED if the loss or a gradient is not finite: weights
 * and optimizer are as before the step, the trainer goes no further. SM_ERR_STATE if no step is
 * left, or its batches hold no token to learn. SM_ERR_ARGUMENT (struct_size of metrics: no step is
 * taken), _FORMAT, _NOMEM. */
SM_API sm_status SM_CALL sm_trainer_step(sm_trainer *trainer, sm_train_metrics *metrics,
                                         sm_error *error);
/* What a step gave, which stays done whatever the answer is. What it may call is said above. */
typedef int32_t(SM_CALL *sm_train_step_fn)(void *user, const sm_train_metrics *metrics);
/* Steps until none is left, `steps` are done (0: all that are left) or on_step, called after each,
 * wants no more (SM_ERR_CANCELLED); on_step may be NULL. The statuses of sm_trainer_step, SM_OK if
 * no step is left. */
SM_API sm_status SM_CALL sm_trainer_train(sm_trainer *trainer, uint64_t steps,
                                          sm_train_step_fn on_step, void *user, sm_error *error);
/* Asked by the calling thread every few milliseconds of a step or evaluation, and while saving,
 * resuming and exporting; non-zero makes that call return SM_ERR_CANCELLED. NULL: never. A hook
 * that goes on saying so lets nothing be saved: take it away before what was trained is written. */
SM_API sm_status SM_CALL sm_trainer_set_cancel(sm_trainer *trainer, sm_cancel_fn cancel, void *user,
                                               sm_error *error);

typedef struct sm_train_evaluation {
    uint32_t struct_size; /* set by the caller */
    uint32_t reserved;
    double loss;          /* nats per token, or the objective's mean over entries */
    double bits_per_byte; /* of plain text, end marks counted; 0 for instruction data */
    uint64_t targets;
    double seconds;
    double chosen_reward, rejected_reward, reward_margin, accuracy; /* as of sm_train_metrics */
} sm_train_evaluation;
/* Over the validation part. SM_ERR_STATE if there is none, _DIVERGED if the loss is not finite,
 * _CANCELLED, _ARGUMENT, _FORMAT, _NOMEM. */
SM_API sm_status SM_CALL sm_trainer_evaluate(sm_trainer *trainer, sm_train_evaluation *result,
                                             sm_error *error);

/* ---- files -------------------------------------------------------------------------- */

/* Everything that going on needs: weights, optimizer, schedule, place in the data, and a
 * checksum of the whole file. The file appears whole or not at all. SM_ERR_IO, _NOMEM, _ARGUMENT,
 * _CANCELLED, _DIVERGED (a weight is not finite: nothing is written, so that a checkpoint that is
 * there stays the last good one). */
SM_API sm_status SM_CALL sm_trainer_save(sm_trainer *trainer, const char *path, sm_error *error);
/* Goes on where a checkpoint of the same model, data and options stands. Options that do not
 * change what is computed (threads) may differ, and `steps`, if the schedule is to end later; the
 * data may lie elsewhere, but every byte of it is compared (by a hash), and every bit of an option.
 * Files of earlier versions of the library are read. SM_ERR_IO, _FORMAT (damaged: any byte of it is
 * another than was written), _ARGUMENT (of another run: names what differs), _UNSUPPORTED (a later
 * version of the format), _NOMEM, _CANCELLED; the trainer is then as before. Only where it is
 * cancelled while weights are being replaced it is of no use (SM_ERR_STATE) until a checkpoint is
 * resumed. */
SM_API sm_status SM_CALL sm_trainer_resume(sm_trainer *trainer, const char *path, sm_error *error);

typedef struct sm_checkpoint_info {
    uint32_t struct_size; /* set by the caller */
    uint32_t reserved;
    uint64_t step;   /* done */
    uint64_t steps;  /* of the run, as its options said when it was saved */
    uint64_t tokens; /* trained on so far */
} sm_checkpoint_info;
/* Where a checkpoint stands, without its model and data; the checksum is not looked at.
 * SM_ERR_IO, _FORMAT (no checkpoint), _UNSUPPORTED (a later version), _ARGUMENT, _NOMEM. */
SM_API sm_status SM_CALL sm_checkpoint_get_info(const char *path, sm_checkpoint_info *info,
                                                sm_error *error);
/* What a run was made with, so that it can be opened again without saying so: sets the fields of
 * `options` (struct_size set by the caller) that determine what is computed, and steps, data_kind,
 * data, more_data, separator and lora_targets; *model_path to the model's. Paths are as they were
 * given then. The strings and the list more_data lie in `text`, of `capacity` bytes, NULL where
 * they were not given. What the checkpoint does not know (threads, memory, hooks; paths, if it is
 * of an older library) stays as it is. *needed: bytes of text that it takes. SM_ERR_BUFFER (more
 * than capacity: nothing is set but *needed), and the statuses of sm_checkpoint_get_info; the
 * checksum is looked at. */
SM_API sm_status SM_CALL sm_checkpoint_get_options(const char *path, sm_trainer_options *options,
                                                   const char **model_path, char *text,
                                                   uint64_t capacity, uint64_t *needed,
                                                   sm_error *error);

typedef struct sm_export_options {
    uint32_t struct_size;
    uint32_t reserved;
    const char *type; /* of matrices: "F32", "F16" or "BF16"; NULL: F32. The rest stays f32 */
} sm_export_options;

/* Writes the model as it is now. options may be NULL. SM_ERR_DIVERGED (a weight is not finite),
 * _FORMAT (too large for the type: names tensor and row; in both cases nothing is written),
 * _ARGUMENT (type), _STATE (adapters are trained: sm_trainer_export_adapter, and sm_adapter_merge
 * for a model with them), _IO, _NOMEM. */
SM_API sm_status SM_CALL sm_trainer_export(sm_trainer *trainer, const char *path,
                                           const sm_export_options *options, sm_error *error);
/* Writes the adapters alone, as a GGUF adapter file. SM_ERR_STATE if there are none,
 * _DIVERGED (a weight is not finite: nothing is written), _ARGUMENT, _IO, _NOMEM. */
SM_API sm_status SM_CALL sm_trainer_export_adapter(sm_trainer *trainer, const char *path,
                                                   sm_error *error);

#ifdef __cplusplus
}
#endif
#endif
