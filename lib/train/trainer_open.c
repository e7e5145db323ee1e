/* Opening a trainer: options, data, graph, teacher and optimizer. */
#include "objective.h"
#include "trainer.h"

#include <math.h>
#include <string.h>

#define DEFAULT_THREADS 8
#define DEFAULT_SEQUENCE 256

static void set_defaults(sm_trainer_options *o) {
    static const double lr[] = {1e-3, 1e-4, 1e-2, 0.1}; /* by optimizer */
    if (o->lr == 0)
        o->lr = lr[o->optimizer] * (o->objective == SM_OBJECTIVE_SUPERVISED ? 1 : 0.01);
    if (o->beta2 == SM_ZERO)
        o->beta2 = 0;
    else if (o->beta2 == 0)
        o->beta2 = o->optimizer == SM_OPTIMIZER_LION ? 0.99 : 0.95;
    if (o->lora_alpha == 0)
        o->lora_alpha = 2.0 * o->lora_rank;
    if (!o->n_threads) {
        const uint32_t cpus = sm_cpu_count();
        o->n_threads = cpus < DEFAULT_THREADS ? cpus : DEFAULT_THREADS;
    }
}

static sm_status make_schedule(sm_trainer *t, sm_error *error) {
    static const sm_schedule_kind kinds[] = {SM_SCHEDULE_COSINE,         SM_SCHEDULE_CONSTANT,
                                             SM_SCHEDULE_LINEAR,         SM_SCHEDULE_POLYNOMIAL,
                                             SM_SCHEDULE_INVERSE_SQRT,   SM_SCHEDULE_WSD,
                                             SM_SCHEDULE_COSINE_RESTARTS};
    const sm_trainer_options *o = &t->options;
    t->schedule = (sm_schedule){.kind = kinds[o->schedule],
                                .lr = o->lr,
                                .min_lr = o->min_lr,
                                .warmup = o->warmup,
                                .steps = o->steps,
                                .power = o->power,
                                .decay_fraction = o->decay_part,
                                .cycle = o->cycle       ? o->cycle
                                         : o->steps / 4 ? o->steps / 4
                                                        : 1,
                                .cycle_factor = o->cycle_growth};
    return sm_schedule_check(&t->schedule, error);
}

static uint64_t batch_tokens(const sm_trainer_options *o) {
    return o->objective == SM_OBJECTIVE_SUPERVISED ? (uint64_t)o->sequence * o->rows
                                                   : sm_preference_tokens(o);
}

/* A row must fit in the context that the model states: what it writes goes no further. */
static sm_status settle_sequence(sm_trainer *t, sm_error *error) {
    sm_trainer_options *o = &t->options;
    sm_config config;
    sm_status status = sm_config_read(&config, t->source, error);
    if (status)
        return status;
    if (!o->sequence)
        o->sequence = config.n_ctx_train < DEFAULT_SEQUENCE ? config.n_ctx_train : DEFAULT_SEQUENCE;
    if (o->sequence > config.n_ctx_train)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "option sequence is %u, but the context of %s is %u tokens", o->sequence,
                       t->path, config.n_ctx_train);
    if (batch_tokens(o) > SM_GRAPH_MAX_TOKENS)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "options rows and sequence: %u rows of %s%u tokens are more than %u tokens "
                       "(option accumulate makes larger batches of several)",
                       o->rows, sm_objective_pairs(o->objective) ? "twice " : "", o->sequence,
                       SM_GRAPH_MAX_TOKENS);
    return SM_OK;
}

/* The progress hook as one that only says whether to go on, while documents are read. */
typedef struct opening {
    sm_progress_fn progress;
    void *user;
    uint64_t done, bytes; /* of the data; at first all has been gone through */
} opening;

static int32_t ask_progress(void *user) {
    const opening *o = user;
    return o->progress && o->progress(o->user, o->done, o->bytes);
}

/* The steps that option epochs asks for, by the batches of the first pass. */
static sm_status count_steps(sm_trainer *t, opening *hook, sm_error *error) {
    sm_data_cursor start;
    uint64_t batches = 0;
    double done = 0;
    hook->done = 0;
    sm_dataset_cursor(t->dataset, &start);
    while (done < 1) {
        sm_train_batch batch;
        sm_status status = t->preference ? sm_preference_skip(t->preference, error)
                                         : sm_dataset_next(t->dataset, &batch, error);
        if (status)
            return status;
        batches++;
        done = sm_dataset_epochs(t->dataset);
        hook->done = (uint64_t)((done < 1 ? done : 1) * (double)hook->bytes);
    }
    const double steps =
        ceil(t->options.epochs * (double)batches / done / t->options.accumulate - 1e-9);
    t->options.steps = steps < 1 ? 1 : steps < 9e15 ? (uint64_t)steps : (uint64_t)9e15;
    return sm_dataset_seek(t->dataset, &start, error);
}

static sm_status check_data(const sm_trainer_options *o, sm_error *error) {
    if (o->n_more_data && !o->more_data)
        return sm_fail(error, SM_ERR_ARGUMENT, "option more_data is NULL");
    for (uint64_t i = 0; i < o->n_more_data; i++)
        if (!o->more_data[i])
            return sm_fail(error, SM_ERR_ARGUMENT, "option more_data: path %llu is NULL",
                           (unsigned long long)i);
    return SM_OK;
}

/* What has to be read of the data before training begins. */
static sm_status read_ahead(sm_trainer *t, opening *hook, sm_error *error) {
    sm_status status = SM_OK;
    sm_dataset_info info;
    sm_dataset_get_info(t->dataset, &info);
    hook->done = hook->bytes = info.train_bytes + info.validation_bytes;
    sm_dataset_set_cancel(t->dataset, ask_progress, hook);
    if (t->options.validation > 0) {
        sm_train_batch batch;
        bool any = false;
        status = t->preference ? sm_preference_can_validate(t->preference, &any, error)
                               : sm_dataset_validation(t->dataset, true, &batch, &any, error);
        if (!status && !any)
            status = sm_fail(error, SM_ERR_ARGUMENT,
                             "%s: the part kept for validation has nothing to predict in rows of "
                             "%u tokens",
                             info.path, t->options.sequence);
    }
    if (!status && t->options.epochs > 0)
        status = count_steps(t, hook, error);
    sm_dataset_set_cancel(t->dataset, NULL, NULL);
    return status;
}

static sm_data_kind data_kind(const sm_trainer_options *o) {
    static const sm_data_kind kinds[] = {SM_DATA_AUTO, SM_DATA_TEXT, SM_DATA_INSTRUCT,
                                         SM_DATA_CHOSEN};
    if (o->objective == SM_OBJECTIVE_SUPERVISED)
        return kinds[o->data_kind];
    return sm_objective_pairs(o->objective) ? SM_DATA_PAIRS : SM_DATA_LABELS;
}

static sm_status open_data(sm_trainer *t, const char *path, const char *separator,
                           sm_progress_fn progress, void *user, sm_error *error) {
    const sm_trainer_options *o = &t->options;
    const sm_dataset_options data = {
        .kind = data_kind(o),
        .sequence = o->sequence,
        .rows = o->rows,
        .seed = o->seed,
        .validation = o->validation,
        .separator = separator ? separator : "<|endoftext|>",
        .layout = o->layout == SM_LAYOUT_CHATML ? SM_TEMPLATE_CHATML : SM_TEMPLATE_ALPACA,
        .loss_on_prompt = o->loss_on_prompt,
        .more_paths = o->more_data,
        .n_more = o->n_more_data,
    };
    sm_dataset_info info;
    sm_status status =
        sm_dataset_open(&t->dataset, t->mem, path, t->tokenizer, &data, progress, user, error);
    if (status)
        return status;
    sm_dataset_get_info(t->dataset, &info);
    if (o->validation > 0 && !info.validation_documents)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "%s: %llu document cannot be parted for option validation", path,
                       (unsigned long long)info.train_documents);
    opening hook = {.progress = progress, .user = user};
    if (o->objective != SM_OBJECTIVE_SUPERVISED)
        status = sm_preference_new(&t->preference, t, error);
    return status ? status : read_ahead(t, &hook, error);
}

static sm_status make_graph(sm_trainer *t, const sm_trainer_options *given, sm_error *error) {
    const sm_trainer_options *o = &t->options;
    const sm_graph_options graph = {
        .max_tokens = (uint32_t)batch_tokens(o),
        .max_spans = t->preference ? sm_preference_spans(o) : sm_dataset_max_spans(t->dataset),
        .n_threads = o->n_threads,
        .precision = o->precision == SM_TRAIN_BF16 ? SM_PRECISION_BF16 : SM_PRECISION_F32,
        .checkpoint_layers = o->checkpoint_layers,
        .lora_rank = o->lora_rank,
        .lora_alpha = o->lora_alpha,
        .lora_dropout = o->lora_dropout,
        .lora_rs = o->lora_rs,
        .lora_b_rate = o->lora_b_rate,
        .lora_targets = given->lora_targets,
        .expert_balance = o->expert_balance,
        .answers = t->preference != NULL,
        .seed = o->seed,
        .hook = &(sm_hook){given->progress, given->progress_user},
    };
    const sm_kernels *kernels = sm_kernels_get(sm_level_best(o->level));
    if (!kernels)
        return sm_fail(error, SM_ERR_UNSUPPORTED, "level '%s' is not in this build",
                       sm_level_name(sm_level_best(o->level)));
    sm_status status = sm_graph_new(&t->graph, t->mem, t->source, kernels, &graph, error);
    if (!status && o->openblas)
        status = sm_gemm_use_openblas(sm_graph_gemm(t->graph), true, error);
    return status;
}

/* Whether both files spell their tokens alike, as far as they have them. */
static bool same_tokens(const sm_source *a, const sm_source *b) {
    const sm_key *own = sm_source_find_key(a, SM_K_TOKENS),
                 *other = sm_source_find_key(b, SM_K_TOKENS);
    const char *x, *y;
    uint64_t n, m, at = 0, bt = 0;
    if (!own || !other)
        return true;
    if (own->count != other->count)
        return false;
    while (sm_key_next_str(own, &at, &x, &n) && sm_key_next_str(other, &bt, &y, &m))
        if (n != m || memcmp(x, y, (size_t)n) != 0)
            return false;
    return true;
}

static sm_status open_teacher(sm_trainer *t, const sm_trainer_options *given, sm_error *error) {
    const sm_trainer_options *o = &t->options;
    const sm_net *net = sm_graph_net(t->graph);
    sm_status status =
        sm_source_open_asking(&t->teacher_source, t->mem, given->teacher, true,
                              &(sm_hook){given->progress, given->progress_user}, error);
    if (!status)
        status = sm_source_expect(t->teacher_source, SM_GGUF_HOLDS_MODEL, error);
    if (!status && !same_tokens(t->source, t->teacher_source))
        status = sm_fail(error, SM_ERR_SHAPE, "%s cannot teach %s: its tokens are others",
                         given->teacher, t->path);
    if (status)
        return status;
    const sm_teacher_options teacher = {.weight = o->teacher_weight,
                                        .temperature = o->teacher_temperature,
                                        .max_tokens = (uint32_t)batch_tokens(o),
                                        .max_spans = sm_dataset_max_spans(t->dataset),
                                        .n_threads = o->n_threads,
                                        .n_vocab = net->config.n_vocab,
                                        .chunk = sm_graph_chunk(t->graph)};
    status = sm_teacher_new(&t->teacher, t->mem, t->teacher_source, net->kernels, &teacher, error);
    if (!status)
        sm_graph_set_teacher(t->graph, t->teacher);
    return status;
}

/* A file with damaged weights is told apart from training that goes astray. */
static sm_status check_weights(sm_trainer *t, const sm_trainer_options *given, sm_error *error) {
    const sm_hook hook = {given->progress, given->progress_user};
    sm_status status = SM_OK;
    for (uint64_t i = 0; i < t->source->n_tensors && !status; i++)
        status = sm_tensor_check(t->source, &t->source->tensors[i], sm_graph_net(t->graph)->kernels,
                                 t->mem, &hook, error);
    return status;
}

static sm_status make_optimizer(sm_trainer *t, const sm_trainer_options *given, sm_error *error) {
    static const sm_optimizer_kind kinds[] = {SM_OPTIM_ADAMW, SM_OPTIM_LION, SM_OPTIM_ADAFACTOR,
                                              SM_OPTIM_SGD};
    const sm_trainer_options *o = &t->options;
    const sm_optim_config config = {.kind = kinds[o->optimizer],
                                    .beta1 = o->beta1,
                                    .beta2 = o->beta2,
                                    .eps = o->eps,
                                    .weight_decay = o->weight_decay,
                                    .momentum = o->momentum,
                                    .state_8bit = o->state_8bit};
    return sm_optim_new(&t->optim, t->mem, &config, sm_graph_params(t->graph),
                        &(sm_hook){given->progress, given->progress_user}, error);
}

/* Asks while nothing is done yet that is counted. */
static int32_t ask_opening(void *user) {
    const sm_trainer_options *given = user;
    return given->progress && given->progress(given->progress_user, 0, 1);
}

static sm_status open_all(sm_trainer *t, const char *model_path, const sm_trainer_options *given,
                          sm_error *error) {
    sm_status status = make_schedule(t, error);
    if (!status)
        status = sm_source_open_asking(&t->source, t->mem, model_path, true,
                                       &(sm_hook){given->progress, given->progress_user}, error);
    if (!status)
        status = sm_source_expect(t->source, SM_GGUF_HOLDS_MODEL, error);
    if (!status)
        status =
            sm_tokenizer_load(&t->tokenizer, model_path,
                              &(sm_tokenizer_options){.struct_size = sizeof(sm_tokenizer_options),
                                                      .allocator = given->allocator,
                                                      .cancel = ask_opening,
                                                      .cancel_user = (void *)(uintptr_t)given,
                                                      .log = given->log},
                              error);
    if (!status)
        status = settle_sequence(t, error);
    if (!status)
        status = open_data(t, given->data, given->separator, given->progress, given->progress_user,
                           error);
    if (!status && t->options.epochs > 0)
        status = make_schedule(t, error);
    if (!status)
        status = make_graph(t, given, error);
    if (!status)
        status = check_weights(t, given, error);
    if (!status && given->teacher)
        status = open_teacher(t, given, error);
    if (!status &&
        (uint32_t)sm_tokenizer_n_vocab(t->tokenizer) > sm_graph_net(t->graph)->config.n_vocab)
        status = sm_fail(error, SM_ERR_SHAPE,
                         "%s: key 'tokenizer.ggml.tokens' has %d tokens but tensor "
                         "'token_embd.weight' only %u rows",
                         model_path, sm_tokenizer_n_vocab(t->tokenizer),
                         sm_graph_net(t->graph)->config.n_vocab);
    if (!status)
        status = make_optimizer(t, given, error);
    if (!status && t->preference && !t->options.lora_rank)
        status = sm_preference_refer(t->preference,
                                     &(sm_hook){given->progress, given->progress_user}, error);
    return status;
}

/* Texts of the options that are needed later. */
static sm_status keep_texts(sm_trainer *t, const char *model_path, const sm_trainer_options *o,
                            sm_error *error) {
    sm_mem *mem = t->mem;
    t->path = sm_strdup(mem, model_path, strlen(model_path));
    if (o->lora_targets)
        t->targets = sm_strdup(mem, o->lora_targets, strlen(o->lora_targets));
    if (o->separator)
        t->separator = sm_strdup(mem, o->separator, strlen(o->separator));
    if (o->teacher)
        t->teacher_path = sm_strdup(mem, o->teacher, strlen(o->teacher));
    return t->path && (!o->lora_targets || t->targets) && (!o->separator || t->separator) &&
                   (!o->teacher || t->teacher_path)
               ? SM_OK
               : sm_fail(error, SM_ERR_NOMEM, "out of memory");
}

void sm_trainer_set_hook(sm_trainer *t) {
    sm_graph_set_cancel(t->graph, sm_asks(&t->ask), &t->ask);
    sm_dataset_set_cancel(t->dataset, sm_asks(&t->ask), &t->ask);
}

/* With options that were taken. */
static sm_status open_taken(sm_trainer **out, const char *model_path, sm_trainer_options *o,
                            sm_error *error) {
    sm_mem *mem;
    sm_status status = sm_mem_create(&mem, o->allocator, o->memory_limit, error);
    if (status)
        return status;
    sm_trainer *t = sm_alloc_zero(mem, sizeof *t);
    if (!t) {
        sm_mem_destroy(mem);
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    }
    sm_allocator inner = mem->hook; /* of what the trainer has: nobody is told of that */
    inner.done = NULL;
    if (o->allocator) {
        inner.struct_size = sizeof inner;
        o->allocator = &inner;
    }
    t->mem = mem;
    t->flag = sm_cancel_retain(o->cancel_flag);
    t->ask.flag = t->flag;
    status = keep_texts(t, model_path, o, error);
    if (!status) {
        t->options = *o;
        status = sm_objective_settle(&t->options, error);
    }
    if (!status) {
        set_defaults(&t->options);
        status = open_all(t, model_path, o, error);
    }
    /* the caller's pointers do not outlive this call */
    t->options.data = t->options.separator = t->options.lora_targets = t->options.teacher = NULL;
    t->options.more_data = NULL;
    t->options.allocator = NULL;
    t->options.log = NULL;
    if (status) {
        sm_trainer_free(t);
        return status;
    }
    sm_trainer_set_hook(t);
    *out = t;
    return SM_OK;
}

sm_status sm_trainer_open(sm_trainer **out, const char *model_path,
                          const sm_trainer_options *options, sm_error *error) {
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_trainer_open: out is NULL");
    *out = NULL;
    if (!model_path || !options)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_trainer_open: path or options are NULL");
    sm_trainer_options o;
    sm_ask asked;
    sm_logger log = {.struct_size = sizeof log};
    sm_status status = sm_options_take(&o, sizeof o, options, SM_OPTIONS_TRAINER, error);
    if (status)
        return status;
    const sm_logger *given = o.log;
    status = o.data ? check_data(&o, error)
                    : sm_fail(error, SM_ERR_ARGUMENT, "option data is not given");
    if (!status)
        status = sm_logger_take(&log, o.log, error);
    log.done = NULL; /* of the tokenizer's loading: it is told below */
    o.log = o.log ? &log : NULL;
    sm_join_progress(&asked, &o.progress, &o.progress_user, o.cancel_flag);
    if (status)
        sm_allocator_drop(o.allocator);
    else
        status = open_taken(out, model_path, &o, error);
    sm_logger_drop(given);
    return status;
}
