/* What the headers of 1.0 declared (scripts/abi.py). It never changes. */
typedef int32_t sm_status;
enum {
    SM_OK = 0,
    SM_ERR_ARGUMENT = -1,
    SM_ERR_NOMEM = -2,
    SM_ERR_IO = -3,
    SM_ERR_FORMAT = -4,
    SM_ERR_MISSING = -5,
    SM_ERR_SHAPE = -6,
    SM_ERR_UNSUPPORTED = -7,
    SM_ERR_TOKEN = -8,
    SM_ERR_CONTEXT_FULL = -9,
    SM_ERR_CANCELLED = -10,
    SM_ERR_STATE = -11,
    SM_ERR_BUFFER = -12,
    SM_ERR_SYSTEM = -13,
    SM_ERR_DIVERGED = -14,
};
typedef struct sm_text {
    const char *text;
    uint64_t length;
} sm_text;
typedef struct sm_error {
    sm_status code;
    int32_t system;
    char message[504];
} sm_error;
const char *sm_status_text(sm_status status);
const char *sm_version(void);
uint32_t sm_version_number(void);
uint32_t sm_abi(void);
typedef struct sm_build_info {
    uint32_t struct_size;
    uint32_t abi;
    uint32_t version_number;
    uint32_t level;
    const char *version;
    const char *families;
    const char *types;
    const char *features;
    uint64_t levels;
} sm_build_info;
sm_status sm_build_get_info(sm_build_info *info, sm_error *error);
uint64_t sm_text_escape(const char *text, uint64_t length, char *out, uint64_t capacity);
typedef void (*sm_done_fn)(void *user);
typedef void *(*sm_alloc_fn)(void *user, uint64_t size, uint64_t align);
typedef void (*sm_release_fn)(void *user, void *ptr, uint64_t size, uint64_t align);
typedef struct sm_allocator {
    uint32_t struct_size;
    uint32_t reserved;
    sm_alloc_fn alloc;
    sm_release_fn release;
    void *user;
    sm_done_fn done;
} sm_allocator;
enum {
    SM_LOG_ERROR = 1,
    SM_LOG_WARN = 2,
    SM_LOG_INFO = 3,
};
typedef void (*sm_log_fn)(void *user, int32_t severity, const char *message);
typedef struct sm_logger {
    uint32_t struct_size;
    uint32_t reserved;
    sm_log_fn log;
    void *user;
    sm_done_fn done;
} sm_logger;
typedef int32_t (*sm_progress_fn)(void *user, uint64_t done, uint64_t total);
typedef int32_t (*sm_cancel_fn)(void *user);
typedef struct sm_cancel sm_cancel;
sm_status sm_cancel_new(sm_cancel **out, sm_error *error);
void sm_cancel_set(sm_cancel *cancel, int32_t on);
int32_t sm_cancel_is_set(const sm_cancel *cancel);
void sm_cancel_free(sm_cancel *cancel);
enum {
    SM_ORIGIN_PATH = 0,
    SM_ORIGIN_MEMORY = 1,
    SM_ORIGIN_FD = 2,
    SM_ORIGIN_READ = 3,
};
typedef int64_t (*sm_read_fn)(void *user, uint64_t offset, void *to, uint64_t n);
typedef struct sm_origin {
    uint32_t struct_size;
    uint32_t kind;
    const char *name;
    const void *data;
    sm_read_fn read;
    sm_done_fn done;
    void *user;
    uint64_t offset;
    uint64_t size;
    int64_t fd;
} sm_origin;
enum {
    SM_LEVEL_AUTO = 0,
    SM_LEVEL_SCALAR = 1,
    SM_LEVEL_AVX2 = 2,
    SM_LEVEL_AVX512 = 3,
    SM_LEVEL_NEON = 4,
    SM_LEVEL_DOTPROD = 5,
    SM_LEVEL_AVXVNNI = 6,
    SM_LEVEL_I8MM = 7,
    SM_LEVEL_AVX512BF16 = 8,
};
const char *sm_level_name(uint32_t level);
uint32_t sm_level_from_name(const char *name);
uint32_t sm_level_best(uint32_t cap);
uint32_t sm_cpu_count(void);
uint32_t sm_names_find(const char *names, const char *name, uint32_t *nearest);
const char *sm_names_get(const char *names, uint32_t i, uint64_t *length);
enum {
    SM_OPTION_U32 = 1,
    SM_OPTION_U64 = 2,
    SM_OPTION_F64 = 3,
    SM_OPTION_ENUM = 4,
    SM_OPTION_POINTER = 5,
    SM_OPTION_BOOL = 6,
    SM_OPTION_STRING = 7,
};
typedef struct sm_option {
    uint32_t struct_size;
    uint32_t type;
    uint32_t offset;
    uint32_t reserved;
    const char *name;
    const char *names;
    const char *unit;
    const char *doc;
    double min, max;
    double fallback;
    double zero;
} sm_option;
enum {
    SM_OPTIONS_MODEL = 1,
    SM_OPTIONS_SESSION = 2,
    SM_OPTIONS_SAMPLING = 3,
    SM_OPTIONS_GENERATE = 4,
    SM_OPTIONS_QUANTIZE = 5,
    SM_OPTIONS_IMATRIX = 6,
    SM_OPTIONS_BATCH = 7,
    SM_OPTIONS_WATERMARK = 8,
    SM_OPTIONS_ADAPTER = 9,
    SM_OPTIONS_MERGE = 10,
    SM_OPTIONS_PACK = 11,
    SM_OPTIONS_FORK = 12,
    SM_OPTIONS_TRAINER = 16,
    SM_OPTIONS_INIT = 17,
    SM_OPTIONS_VOCABULARY = 18,
    SM_OPTIONS_EXPORT = 19,
};
const char *sm_options_name(uint32_t options_struct);
uint32_t sm_options_count(uint32_t options_struct);
sm_status sm_options_get(uint32_t options_struct, uint32_t i, sm_option *option, sm_error *error);
typedef struct sm_gguf sm_gguf;
enum {
    SM_IO_MAP = 0,
    SM_IO_READ = 1,
};
typedef struct sm_gguf_options {
    uint32_t struct_size;
    uint32_t io;
    const sm_allocator *allocator;
    sm_progress_fn progress;
    void *progress_user;
    sm_cancel *cancel_flag;
} sm_gguf_options;
enum {
    SM_GGUF_HOLDS_MODEL = 1,
    SM_GGUF_HOLDS_PACKED = 2,
    SM_GGUF_HOLDS_VOCABULARY = 4,
    SM_GGUF_HOLDS_ADAPTER = 8,
    SM_GGUF_HOLDS_IMATRIX = 16,
    SM_GGUF_HOLDS_CHECKPOINT = 32,
    SM_GGUF_HOLDS_OTHER = 64,
};
typedef struct sm_gguf_info {
    uint32_t struct_size;
    uint32_t version;
    uint32_t alignment;
    uint32_t n_files;
    uint64_t n_keys;
    uint64_t n_tensors;
    uint64_t n_elements;
    uint64_t data_bytes;
    uint64_t holds;
} sm_gguf_info;
typedef struct sm_gguf_tensor_info {
    uint32_t struct_size;
    uint32_t type;
    const char *name;
    const char *type_name;
    uint32_t n_dims;
    uint32_t file;
    uint64_t dims[4];
    uint64_t offset;
    uint64_t size;
    uint32_t packed;
    uint32_t weight_type;
    const char *weight_type_name;
    uint64_t weight_dims[4];
} sm_gguf_tensor_info;
sm_status sm_gguf_load(sm_gguf **out, const char *path, const sm_gguf_options *options,
                       sm_error *error);
sm_status sm_gguf_load_from(sm_gguf **out, const sm_origin *origin, const sm_gguf_options *options,
                            sm_error *error);
void sm_gguf_free(sm_gguf *gguf);
sm_status sm_gguf_get_info(const sm_gguf *gguf, sm_gguf_info *info, sm_error *error);
sm_status sm_gguf_get_key(const sm_gguf *gguf, uint64_t i, const char **name, const char **type,
                          sm_error *error);
sm_status sm_gguf_get_value(const sm_gguf *gguf, uint64_t i, uint64_t max_items, char *text,
                            uint64_t capacity, uint64_t *n, sm_error *error);
sm_status sm_gguf_get_tensor(const sm_gguf *gguf, uint64_t i, sm_gguf_tensor_info *info,
                             sm_error *error);
typedef struct sm_tokenizer sm_tokenizer;
typedef struct sm_detokenizer sm_detokenizer;
enum {
    SM_TOKENIZER_BPE = 1,
    SM_TOKENIZER_SPM = 2,
    SM_TOKENIZER_WORDPIECE = 3,
    SM_TOKENIZER_UNIGRAM = 4,
    SM_TOKENIZER_CHARS = 5,
    SM_TOKENIZER_WORDLEVEL = 6,
};
typedef struct sm_tokenizer_options {
    uint32_t struct_size;
    uint32_t reserved;
    const sm_allocator *allocator;
    sm_cancel_fn cancel;
    void *cancel_user;
    const sm_logger *log;
    sm_cancel *cancel_flag;
} sm_tokenizer_options;
typedef struct sm_tokenizer_info {
    uint32_t struct_size;
    uint32_t kind;
    int32_t n_vocab;
    int32_t bos;
    int32_t eos;
    int32_t unk;
    int32_t sep;
    int32_t pad;
    int32_t mask;
    int32_t eot;
    int32_t add_bos;
    int32_t add_eos;
    char pre[64];
} sm_tokenizer_info;
sm_status sm_tokenizer_load(sm_tokenizer **out, const char *path,
                            const sm_tokenizer_options *options, sm_error *error);
sm_status sm_tokenizer_load_from(sm_tokenizer **out, const sm_origin *origin,
                                 const sm_tokenizer_options *options, sm_error *error);
void sm_tokenizer_free(sm_tokenizer *tokenizer);
sm_status sm_tokenizer_get_info(const sm_tokenizer *tokenizer, sm_tokenizer_info *info,
                                sm_error *error);
enum {
    SM_ENCODE_SPECIAL = 1,
    SM_ENCODE_MARKERS = 2,
};
typedef struct sm_encode_options {
    uint32_t struct_size;
    uint32_t flags;
    sm_cancel_fn cancel;
    void *cancel_user;
    sm_cancel *cancel_flag;
} sm_encode_options;
sm_status sm_tokenizer_encode(const sm_tokenizer *tokenizer, const char *text, uint64_t length,
                              const sm_encode_options *options, int32_t *ids, uint64_t capacity,
                              uint64_t *n, sm_error *error);
enum {
    SM_DECODE_SPECIAL = 1,
    SM_DECODE_KEEP_SPACE = 2,
    SM_DECODE_TEXT = 4,
};
sm_status sm_tokenizer_encode_pair(const sm_tokenizer *tokenizer, const char *first,
                                   uint64_t first_length, const char *second,
                                   uint64_t second_length, const sm_encode_options *options,
                                   int32_t *ids, int32_t *type_ids, uint64_t capacity, uint64_t *n,
                                   sm_error *error);
sm_status sm_tokenizer_decode(const sm_tokenizer *tokenizer, const int32_t *ids, uint64_t n_ids,
                              uint32_t flags, char *text, uint64_t capacity, uint64_t *n,
                              sm_error *error);
const char *sm_tokenizer_token_text(const sm_tokenizer *tokenizer, int32_t id, uint64_t *length);
int32_t sm_tokenizer_find(const sm_tokenizer *tokenizer, const char *text, uint64_t length);
int32_t sm_tokenizer_is_end(const sm_tokenizer *tokenizer, int32_t id);
sm_status sm_detokenizer_new(sm_detokenizer **out, const sm_tokenizer *tokenizer, uint32_t flags,
                             sm_error *error);
void sm_detokenizer_free(sm_detokenizer *detokenizer);
sm_status sm_detokenizer_feed(sm_detokenizer *detokenizer, int32_t id, const char **piece,
                              uint64_t *length, sm_error *error);
sm_status sm_detokenizer_flush(sm_detokenizer *detokenizer, const char **piece, uint64_t *length,
                               sm_error *error);
sm_status sm_detokenizer_reset(sm_detokenizer *detokenizer, sm_error *error);
typedef struct sm_constraint sm_constraint;
typedef struct sm_constraint_state sm_constraint_state;
enum {
    SM_CONSTRAINT_GBNF = 1,
    SM_CONSTRAINT_REGEX = 2,
    SM_CONSTRAINT_GRAMMAR = 3,
};
typedef struct sm_constraint_options {
    uint32_t struct_size;
    uint32_t reserved;
    const sm_text *triggers;
    const sm_allocator *allocator;
    uint64_t n_triggers;
    uint64_t memory_limit;
    sm_cancel_fn cancel;
    void *cancel_user;
    sm_cancel *cancel_flag;
    void *reserved_pointer;
} sm_constraint_options;
sm_status sm_constraint_new(sm_constraint **out, const sm_tokenizer *tokenizer, uint32_t kind,
                            const char *text, uint64_t length, const sm_constraint_options *options,
                            sm_error *error);
sm_status sm_constraint_new_choices(sm_constraint **out, const sm_tokenizer *tokenizer,
                                    const sm_text *texts, uint64_t n,
                                    const sm_constraint_options *options, sm_error *error);
enum {
    SM_SPACES_NONE = 0,
    SM_SPACES_ONE = 1,
    SM_SPACES_ANY = 2,
};
enum {
    SM_SCHEMA_ANY_ORDER = 1,
    SM_SCHEMA_UNKNOWN = 2,
};
typedef struct sm_schema_options {
    uint32_t struct_size;
    uint32_t draft;
    uint32_t spaces;
    uint32_t max_spaces;
    uint32_t flags;
    uint32_t reserved;
    sm_cancel_fn cancel;
    void *cancel_user;
    sm_cancel *cancel_flag;
} sm_schema_options;
sm_status sm_constraint_new_schema(sm_constraint **out, const sm_tokenizer *tokenizer,
                                   const char *text, uint64_t length,
                                   const sm_schema_options *schema_options,
                                   const sm_constraint_options *options, sm_error *error);
void sm_constraint_free(sm_constraint *constraint);
sm_status sm_constraint_state_new(sm_constraint_state **out, sm_constraint *constraint,
                                  sm_error *error);
sm_status sm_constraint_state_fork(sm_constraint_state **out, const sm_constraint_state *state,
                                   sm_error *error);
void sm_constraint_state_free(sm_constraint_state *state);
sm_status sm_constraint_mask(sm_constraint_state *state, uint32_t *mask, uint64_t n_words,
                             sm_error *error);
sm_status sm_constraint_accept(sm_constraint_state *state, int32_t id, sm_error *error);
sm_status sm_constraint_accept_text(sm_constraint_state *state, const char *text, uint64_t length,
                                    sm_error *error);
sm_status sm_constraint_forced_text(sm_constraint_state *state, char *text, uint64_t capacity,
                                    uint64_t *n, sm_error *error);
sm_status sm_constraint_forced(sm_constraint_state *state, int32_t *ids, uint64_t capacity,
                               uint64_t *n, sm_error *error);
int32_t sm_constraint_can_end(const sm_constraint_state *state);
int32_t sm_constraint_ended(sm_constraint_state *state);
sm_status sm_constraint_rewind(sm_constraint_state *state, uint64_t n, sm_error *error);
sm_status sm_constraint_reset(sm_constraint_state *state, sm_error *error);
typedef struct sm_model sm_model;
enum {
    SM_REPACK_LAZY = 0,
    SM_REPACK_NONE = 1,
};
enum {
    SM_ACTIVATIONS_FAST = 0,
    SM_ACTIVATIONS_FLOAT = 1,
};
typedef struct sm_model_options {
    uint32_t struct_size;
    uint32_t io;
    uint32_t level;
    uint32_t repack;
    uint32_t activations;
    uint32_t reserved;
    const sm_allocator *allocator;
    const sm_logger *log;
    sm_progress_fn progress;
    void *progress_user;
    sm_cancel *cancel_flag;
    uint64_t memory_limit;
} sm_model_options;
typedef struct sm_model_info {
    uint32_t struct_size;
    uint32_t level;
    const char *architecture;
    const char *name;
    int32_t n_vocab;
    int32_t n_ctx_train;
    int32_t n_embd;
    int32_t n_layer;
    int32_t n_head;
    int32_t n_head_kv;
    int32_t head_dim;
    int32_t n_ff;
    uint64_t n_params;
    uint64_t weight_bytes;
    uint64_t decode_bytes;
    uint64_t packed_bytes;
    uint64_t heap_bytes;
    uint64_t heap_peak;
    uint64_t n_allocs;
    uint64_t packed_file_bytes;
    int32_t sliding_window;
    int32_t reserved;
} sm_model_info;
sm_status sm_model_load(sm_model **out, const char *path, const sm_model_options *options,
                        sm_error *error);
sm_status sm_model_load_from(sm_model **out, const sm_origin *origin,
                             const sm_model_options *options, sm_error *error);
void sm_model_free(sm_model *model);
sm_status sm_model_get_info(const sm_model *model, sm_model_info *info, sm_error *error);
typedef struct sm_pack_options {
    uint32_t struct_size;
    uint32_t reserved;
    sm_progress_fn progress;
    void *progress_user;
    sm_cancel *cancel_flag;
} sm_pack_options;
sm_status sm_model_save_packed(const sm_model *model, const char *path,
                               const sm_pack_options *options, sm_error *error);
sm_status sm_model_get_tokenizer(const sm_model *model, sm_tokenizer **out, sm_error *error);
typedef struct sm_session sm_session;
struct sm_constraint;
enum {
    SM_KV_TYPE_F16 = 0,
    SM_KV_TYPE_F32 = 1,
    SM_KV_TYPE_BF16 = 2,
    SM_KV_TYPE_Q8_0 = 3,
    SM_KV_TYPE_Q4_0 = 4,
    SM_KV_TYPE_Q5_0 = 5,
    SM_KV_TYPE_IQ4_NL = 6,
};
enum {
    SM_KV_KEEP_WINDOW = 0,
    SM_KV_KEEP_ALL = 1,
};
typedef struct sm_session_options {
    uint32_t struct_size;
    uint32_t n_ctx;
    uint32_t n_threads;
    uint32_t n_batch;
    uint32_t kv_type;
    uint32_t pin;
    uint32_t kv_keep;
    uint32_t reserved;
    sm_cancel *cancel_flag;
} sm_session_options;
sm_status sm_session_new(sm_session **out, const sm_model *model, const sm_session_options *options,
                         sm_error *error);
void sm_session_free(sm_session *session);
typedef struct sm_fork_options {
    uint32_t struct_size;
    uint32_t n_threads;
    sm_cancel *cancel_flag;
} sm_fork_options;
sm_status sm_session_fork(sm_session **out, const sm_session *session,
                          const sm_fork_options *options, sm_error *error);
sm_status sm_session_save(const sm_session *session, const char *path, sm_error *error);
sm_status sm_session_restore(sm_session *session, const char *path, sm_error *error);
sm_status sm_session_save_bytes(const sm_session *session, void *buffer, uint64_t capacity,
                                uint64_t *size, sm_error *error);
sm_status sm_session_restore_bytes(sm_session *session, const void *data, uint64_t size,
                                   sm_error *error);
uint32_t sm_session_length(const sm_session *session);
uint64_t sm_session_read_bytes(const sm_session *session, uint32_t position);
typedef struct sm_session_info {
    uint32_t struct_size;
    uint32_t length;
    uint32_t n_ctx;
    uint32_t n_threads;
    uint32_t n_batch;
    uint32_t kv_type;
    uint32_t kv_keep;
    int32_t n_vocab;
    uint64_t cache_bytes;
} sm_session_info;
sm_status sm_session_get_info(const sm_session *session, sm_session_info *info, sm_error *error);
sm_status sm_session_tokens(const sm_session *session, uint32_t begin, int32_t *ids,
                            uint64_t capacity, uint64_t *n, sm_error *error);
sm_status sm_session_set_cancel(sm_session *session, sm_cancel_fn cancel, void *user,
                                sm_error *error);
sm_status sm_session_feed(sm_session *session, const int32_t *ids, uint64_t n, sm_error *error);
sm_status sm_session_feed_logits(sm_session *session, const int32_t *ids, uint64_t n, float *logits,
                                 uint64_t capacity, sm_error *error);
typedef struct sm_token_logprob {
    int32_t id;
    int32_t reserved;
    double logprob;
} sm_token_logprob;
enum {
    SM_MAX_LOGPROBS = 20,
};
sm_status sm_session_feed_logprobs(sm_session *session, const int32_t *ids, uint64_t n,
                                   uint32_t n_top, double *logprobs, sm_token_logprob *top,
                                   sm_error *error);
sm_status sm_session_sync(sm_session *session, const int32_t *ids, uint64_t n, uint64_t *reused,
                          sm_error *error);
sm_status sm_session_rewind(sm_session *session, uint32_t length, sm_error *error);
sm_status sm_session_drop(sm_session *session, uint32_t begin, uint32_t end, sm_error *error);
sm_status sm_session_drop_turns(sm_session *session, const uint32_t *turns, uint64_t n_turns,
                                uint64_t keep, uint32_t room, uint64_t *n_dropped, sm_error *error);
sm_status sm_session_logits(const sm_session *session, const float **logits, uint64_t *n,
                            sm_error *error);
typedef struct sm_logit_bias {
    int32_t token;
    int32_t reserved;
    double bias;
} sm_logit_bias;
enum {
    SM_SAMPLER_PENALTIES = 1,
    SM_SAMPLER_DRY = 2,
    SM_SAMPLER_TOP_N_SIGMA = 3,
    SM_SAMPLER_TOP_K = 4,
    SM_SAMPLER_TYPICAL = 5,
    SM_SAMPLER_TOP_P = 6,
    SM_SAMPLER_MIN_P = 7,
    SM_SAMPLER_TOP_A = 8,
    SM_SAMPLER_XTC = 9,
    SM_SAMPLER_TEMPERATURE = 10,
    SM_SAMPLER_MIROSTAT = 11,
};
typedef struct sm_sampler_info {
    uint32_t struct_size;
    uint32_t sampler;
    uint32_t n_parameters;
    uint32_t reserved;
    const char *name;
    const char *other_names;
    const char *parameters;
    const char *fields;
    const char *doc;
} sm_sampler_info;
uint32_t sm_sampler_count(void);
sm_status sm_sampler_get_info(uint32_t i, sm_sampler_info *info, sm_error *error);
typedef struct sm_sampling_step {
    uint32_t sampler;
    uint32_t min_keep;
    double value[4];
} sm_sampling_step;
enum {
    SM_WATERMARK_LEFT = 0,
    SM_WATERMARK_SELF = 1,
};
typedef struct sm_watermark {
    uint32_t struct_size;
    uint32_t seeding;
    uint32_t width;
    uint32_t reserved;
    double gamma;
    double delta;
    uint64_t key;
} sm_watermark;
typedef struct sm_watermark_score {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t n_scored;
    uint64_t n_green;
    uint64_t n_repeated;
    double z;
    double p;
} sm_watermark_score;
sm_status sm_watermark_detect(const sm_watermark *watermark, const int32_t *ids, uint64_t n,
                              sm_watermark_score *score, sm_error *error);
typedef struct sm_sampling {
    uint32_t struct_size;
    uint32_t top_k;
    double temperature;
    double top_p;
    double min_p;
    double repeat_penalty;
    double presence_penalty;
    double frequency_penalty;
    uint32_t penalty_last_n;
    uint32_t min_keep;
    uint64_t seed;
    uint64_t sequence;
    const sm_logit_bias *bias;
    uint64_t n_bias;
    double typical_p;
    double top_a;
    double top_n_sigma;
    double xtc_probability;
    double xtc_threshold;
    double dry_multiplier;
    double dry_base;
    uint32_t dry_allowed_length;
    uint32_t dry_last_n;
    const int32_t *dry_breakers;
    uint64_t n_dry_breakers;
    double dynatemp_range;
    double dynatemp_exponent;
    uint32_t mirostat;
    uint32_t mirostat_m;
    double mirostat_tau;
    double mirostat_eta;
    uint64_t n_steps;
    const sm_sampling_step *steps;
    const char *order;
    const uint32_t *mask;
    const sm_watermark *watermark;
    const float *logits;
    const sm_text *dry_breaker_texts;
    uint64_t n_dry_breaker_texts;
} sm_sampling;
typedef struct sm_choice {
    uint32_t struct_size;
    int32_t id;
    double logprob;
    uint64_t rank;
    sm_token_logprob *top;
    uint64_t n_top;
} sm_choice;
sm_status sm_session_sample(sm_session *session, const sm_sampling *sampling, sm_choice *choice,
                            sm_error *error);
enum {
    SM_CONTEXT_STOP = 0,
    SM_CONTEXT_SLIDE = 1,
    SM_CONTEXT_SINKS = 2,
    SM_CONTEXT_ASK = 3,
};
typedef struct sm_context_full {
    uint32_t struct_size;
    uint32_t policy;
    uint32_t n_ctx;
    uint32_t n_keep;
    const int32_t *ids;
    int32_t *replacement;
    uint64_t n_replacement;
    uint64_t n_ids;
    uint64_t n_dropped;
} sm_context_full;
typedef int32_t (*sm_context_fn)(void *user, sm_context_full *full);
enum {
    SM_SPECULATE_NO = 0,
    SM_SPECULATE_NGRAM = 1,
};
typedef struct sm_generate_options {
    uint32_t struct_size;
    uint32_t max_tokens;
    const sm_sampling *sampling;
    const sm_text *stop;
    uint32_t parse_special;
    uint32_t no_bos;
    uint32_t ignore_end;
    uint32_t speculate;
    uint32_t draft_tokens;
    sm_session *draft;
    uint32_t context_full;
    uint32_t n_keep;
    uint32_t n_drop;
    uint32_t heal;
    sm_context_fn on_context_full;
    void *context_full_user;
    struct sm_constraint *constraint;
    sm_cancel *cancel_flag;
    const sm_text *ban;
    uint32_t min_tokens;
    uint32_t n_logprobs;
    uint32_t echo;
    uint64_t n_stop;
    uint64_t n_ban;
} sm_generate_options;
typedef struct sm_token {
    uint32_t struct_size;
    int32_t id;
    double logprob;
    const char *text;
    uint64_t length;
    const sm_token_logprob *top;
    uint64_t n_top;
    uint32_t in_prompt;
    uint32_t reserved;
} sm_token;
typedef int32_t (*sm_token_fn)(void *user, const sm_token *token);
enum {
    SM_FINISH_NONE = 0,
    SM_FINISH_END = 1,
    SM_FINISH_STOP = 2,
    SM_FINISH_LENGTH = 3,
    SM_FINISH_CANCELLED = 4,
    SM_FINISH_CONTEXT = 5,
    SM_FINISH_ERROR = 6,
};
typedef struct sm_generate_stats {
    uint32_t struct_size;
    uint32_t finish;
    uint32_t prompt_tokens;
    uint32_t reused_tokens;
    uint32_t generated_tokens;
    uint32_t reserved;
    double prepare_seconds;
    double prompt_seconds;
    double first_token_seconds;
    double generate_seconds;
    uint64_t drafted_tokens;
    uint64_t accepted_tokens;
    uint64_t dropped_tokens;
    uint64_t context_fulls;
    uint64_t healed_tokens;
} sm_generate_stats;
sm_status sm_session_generate(sm_session *session, const char *prompt, uint64_t length,
                              const sm_generate_options *options, sm_token_fn on_token, void *user,
                              sm_error *error);
sm_status sm_session_get_stats(const sm_session *session, sm_generate_stats *stats,
                               sm_error *error);
typedef struct sm_chat sm_chat;
typedef struct sm_chat_options {
    uint32_t struct_size;
    uint32_t reserved;
    const char *template_text;
    const char *template_name;
    const char *bos, *eos;
    const sm_allocator *allocator;
} sm_chat_options;
typedef struct sm_render_options {
    uint32_t struct_size;
    uint32_t no_generation_prompt;
    const char *variables;
    sm_cancel_fn cancel;
    void *cancel_user;
    sm_cancel *cancel_flag;
    int64_t clock;
} sm_render_options;
sm_status sm_chat_new(sm_chat **out, const sm_chat_options *options, sm_error *error);
sm_status sm_chat_new_from_model(sm_chat **out, const sm_model *model,
                                 const sm_chat_options *options, sm_error *error);
void sm_chat_free(sm_chat *chat);
const char *sm_chat_template_text(const sm_chat *chat);
const char *sm_chat_reply_format(const sm_chat *chat);
const char *sm_chat_layouts_list(void);
sm_status sm_chat_render(const sm_chat *chat, const char *messages, const char *tools,
                         const sm_render_options *options, char *text, uint64_t capacity,
                         uint64_t *n, sm_error *error);
sm_status sm_chat_encode(const sm_chat *chat, const sm_tokenizer *tokenizer, const char *messages,
                         const char *tools, const sm_render_options *options, int32_t *ids,
                         uint64_t capacity, uint64_t *n, sm_error *error);
sm_status sm_chat_prompt_end(const sm_chat *chat, const char *messages, const char *tools,
                             const sm_render_options *options, char *text, uint64_t capacity,
                             uint64_t *n, sm_error *error);
typedef struct sm_reply sm_reply;
typedef struct sm_reply_options {
    uint32_t struct_size;
    uint32_t first_call;
    const char *format;
    const char *template_text;
    const char *prompt_end;
    const char *tools;
    const sm_allocator *allocator;
} sm_reply_options;
enum {
    SM_DELTA_CONTENT = 1,
    SM_DELTA_REASONING = 2,
    SM_DELTA_CALL = 3,
    SM_DELTA_END = 4,
};
typedef struct sm_delta {
    uint32_t struct_size;
    uint32_t kind;
    const char *text;
    uint64_t length;
    const char *name;
    const char *id;
    const char *json;
    uint64_t json_length;
} sm_delta;
typedef int32_t (*sm_delta_fn)(void *user, const sm_delta *delta);
typedef struct sm_reply_info {
    uint32_t struct_size;
    uint32_t n_calls;
    uint32_t malformed;
    uint32_t reasoning;
} sm_reply_info;
sm_status sm_reply_new(sm_reply **out, const sm_reply_options *options, sm_error *error);
void sm_reply_free(sm_reply *reply);
sm_status sm_reply_feed(sm_reply *reply, const char *text, uint64_t length, sm_delta_fn on_delta,
                        void *user, sm_error *error);
sm_status sm_reply_finish(sm_reply *reply, sm_delta_fn on_delta, void *user, sm_error *error);
sm_status sm_reply_message(sm_reply *reply, char *json, uint64_t capacity, uint64_t *n,
                           sm_error *error);
sm_status sm_reply_get_info(sm_reply *reply, sm_reply_info *info, sm_error *error);
sm_status sm_session_reply(sm_session *session, const int32_t *ids, uint64_t n,
                           const sm_generate_options *options, sm_reply *reply,
                           sm_delta_fn on_delta, void *user, sm_error *error);
sm_status sm_constraint_new_tools(sm_constraint **out, const sm_tokenizer *tokenizer,
                                  const char *format, const char *tools, const char *choice,
                                  uint32_t reasoning, sm_error *error);
typedef struct sm_answer_options {
    uint32_t struct_size;
    uint32_t reserved;
    const char *tool_choice;
    const sm_generate_options *generate;
    const char *format;
    const char *variables;
} sm_answer_options;
sm_status sm_session_chat(sm_session *session, const sm_chat *chat, const char *messages,
                          const char *tools, const sm_answer_options *options, sm_delta_fn on_delta,
                          void *user, sm_error *error);
const char *sm_reply_formats_list(void);
const char *sm_reply_format_of(const char *template_text);
typedef struct sm_batch sm_batch;
typedef struct sm_batch_options {
    uint32_t struct_size;
    uint32_t n_threads;
    uint32_t n_sequences;
    uint32_t n_batch;
    uint32_t n_ctx;
    uint32_t pin;
    sm_cancel *cancel_flag;
} sm_batch_options;
sm_status sm_batch_new(sm_batch **out, const sm_model *model, const sm_batch_options *options,
                       sm_error *error);
void sm_batch_free(sm_batch *batch);
sm_status sm_batch_new_session(sm_session **out, sm_batch *batch, const sm_session_options *options,
                               sm_error *error);
sm_status sm_batch_set_cancel(sm_batch *batch, sm_cancel_fn cancel, void *user, sm_error *error);
typedef struct sm_batch_item {
    uint32_t struct_size;
    uint32_t reserved;
    sm_session *session;
    const int32_t *ids;
    float *logits;
    uint64_t n_ids;
    uint64_t n_logits;
} sm_batch_item;
sm_status sm_batch_step(sm_batch *batch, const sm_batch_item *items, uint64_t n_items,
                        sm_error *error);
typedef struct sm_batch_text {
    uint32_t struct_size;
    uint32_t reserved;
    sm_session *session;
    const char *prompt;
    const sm_generate_options *options;
    sm_token_fn on_token;
    void *user;
    uint64_t length;
} sm_batch_text;
sm_status sm_batch_generate(sm_batch *batch, const sm_batch_text *items, uint64_t n_items,
                            sm_status *statuses, sm_error *error);
typedef struct sm_quantize_override {
    uint32_t struct_size;
    uint32_t reserved;
    const char *pattern;
    const char *type;
} sm_quantize_override;
typedef struct sm_quantize_tensor {
    uint32_t struct_size;
    uint32_t fallback;
    const char *name;
    const char *from, *to;
    uint64_t n_weights;
    uint64_t bytes_before, bytes_after;
    double rms;
    double rmse;
    uint32_t copied;
    uint32_t by_imatrix;
} sm_quantize_tensor;
typedef int32_t (*sm_quantize_tensor_fn)(void *user, const sm_quantize_tensor *tensor);
typedef struct sm_quantize_options {
    uint32_t struct_size;
    uint32_t n_threads;
    const char *type;
    const char *imatrix;
    const sm_quantize_override *overrides;
    uint64_t n_overrides;
    uint32_t pure;
    uint32_t requantize;
    uint32_t level;
    uint32_t reserved;
    const sm_allocator *allocator;
    sm_progress_fn progress;
    void *progress_user;
    sm_quantize_tensor_fn on_tensor;
    void *on_tensor_user;
    sm_cancel *cancel_flag;
} sm_quantize_options;
typedef struct sm_quantize_result {
    uint32_t struct_size;
    uint32_t n_quantized;
    uint32_t n_fallback;
    uint32_t n_imatrix;
    uint64_t n_tensors;
    uint64_t bytes_before, bytes_after;
} sm_quantize_result;
sm_status sm_model_quantize(const char *out_path, const char *in_path,
                            const sm_quantize_options *options, sm_quantize_result *result,
                            sm_error *error);
typedef struct sm_imatrix sm_imatrix;
typedef struct sm_imatrix_options {
    uint32_t struct_size;
    uint32_t n_ctx;
    uint32_t n_threads;
    uint32_t reserved;
    sm_cancel *cancel_flag;
} sm_imatrix_options;
sm_status sm_imatrix_new(sm_imatrix **out, const sm_model *model, const sm_imatrix_options *options,
                         sm_error *error);
void sm_imatrix_free(sm_imatrix *imatrix);
sm_status sm_imatrix_set_cancel(sm_imatrix *imatrix, sm_cancel_fn cancel, void *user,
                                sm_error *error);
sm_status sm_imatrix_feed(sm_imatrix *imatrix, const int32_t *ids, uint64_t n, sm_error *error);
uint32_t sm_imatrix_capacity(const sm_imatrix *imatrix);
uint32_t sm_imatrix_chunks(const sm_imatrix *imatrix);
sm_status sm_imatrix_save(const sm_imatrix *imatrix, const char *path, const char *dataset,
                          sm_error *error);
typedef struct sm_adapter sm_adapter;
typedef struct sm_adapter_options {
    uint32_t struct_size;
    uint32_t reserved;
    sm_progress_fn progress;
    void *progress_user;
    sm_cancel *cancel_flag;
} sm_adapter_options;
typedef struct sm_merge_options {
    uint32_t struct_size;
    uint32_t reserved;
    const char *type;
    sm_progress_fn progress;
    void *progress_user;
    sm_cancel *cancel_flag;
} sm_merge_options;
sm_status sm_adapter_load(sm_adapter **out, const sm_model *model, const char *path,
                          const sm_adapter_options *options, sm_error *error);
sm_status sm_adapter_load_from(sm_adapter **out, const sm_model *model, const sm_origin *origin,
                               const sm_adapter_options *options, sm_error *error);
void sm_adapter_free(sm_adapter *adapter);
typedef struct sm_adapter_info {
    uint32_t struct_size;
    uint32_t n_matrices;
    uint32_t max_rank;
    uint32_t reserved;
    double alpha;
    uint64_t n_weights;
} sm_adapter_info;
sm_status sm_adapter_get_info(const sm_adapter *adapter, sm_adapter_info *info, sm_error *error);
enum {
    SM_MAX_ADAPTERS = 16,
};
sm_status sm_session_attach(sm_session *session, const sm_adapter *adapter, double scale,
                            sm_error *error);
sm_status sm_session_detach(sm_session *session, const sm_adapter *adapter, sm_error *error);
sm_status sm_adapter_merge(const char *out_path, const char *model_path, const char *adapter_path,
                           double scale, const sm_merge_options *options, sm_error *error);
sm_status sm_adapter_export(const char *out_directory, const char *model_path,
                            const char *adapter_path, const sm_adapter_options *options,
                            sm_error *error);
typedef struct sm_vocabulary_options {
    uint32_t struct_size;
    uint32_t n_vocab;
    const char *separator;
    const char *pre;
    sm_progress_fn progress;
    void *progress_user;
    sm_cancel *cancel_flag;
    uint64_t min_count;
} sm_vocabulary_options;
sm_status sm_vocabulary_train(const char *path, const char *const *text_paths, uint64_t n_texts,
                              const sm_vocabulary_options *options, sm_error *error);
typedef struct sm_model_init_options {
    uint32_t struct_size;
    uint32_t n_embd;
    uint32_t n_layer;
    uint32_t n_head;
    uint32_t n_head_kv;
    uint32_t n_ff;
    uint32_t n_ctx;
    uint32_t untied;
    uint32_t family;
    uint32_t sliding_window;
    uint64_t seed;
    double rope_theta;
    const char *name;
    sm_progress_fn progress;
    void *progress_user;
    sm_cancel *cancel_flag;
    const char *architecture;
    const sm_allocator *allocator;
} sm_model_init_options;
enum {
    SM_FAMILY_LLAMA = 0,
    SM_FAMILY_QWEN2 = 1,
    SM_FAMILY_QWEN3 = 2,
};
sm_status sm_model_init(const char *path, const char *vocabulary_path,
                        const sm_model_init_options *options, sm_error *error);
typedef struct sm_trainer sm_trainer;
enum {
    SM_DATA_FILE_AUTO = 0,
    SM_DATA_FILE_TEXT = 1,
    SM_DATA_FILE_INSTRUCT = 2,
    SM_DATA_FILE_CHOSEN = 3,
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
    uint32_t n_threads;
    const char *data;
    const char *const *more_data;
    uint64_t n_more_data;
    const char *separator;
    double validation;
    uint32_t data_kind;
    uint32_t layout;
    uint32_t loss_on_prompt;
    uint32_t sequence;
    uint32_t rows;
    uint32_t accumulate;
    uint64_t steps;
    double epochs;
    uint64_t seed;
    uint32_t optimizer;
    uint32_t state_8bit;
    double lr;
    double min_lr;
    double beta1;
    double beta2;
    double eps;
    double weight_decay;
    double expert_balance;
    double momentum;
    double clip;
    uint32_t no_clip;
    uint32_t schedule;
    uint64_t warmup;
    double power;
    double decay_part;
    uint64_t cycle;
    double cycle_growth;
    uint32_t precision;
    uint32_t checkpoint_layers;
    uint32_t level;
    uint32_t lora_rank;
    double lora_alpha;
    double lora_dropout;
    uint32_t lora_rs;
    uint32_t openblas;
    const char *lora_targets;
    const sm_allocator *allocator;
    sm_progress_fn progress;
    void *progress_user;
    const sm_logger *log;
    sm_cancel *cancel_flag;
    uint64_t memory_limit;
} sm_trainer_options;
sm_status sm_trainer_open(sm_trainer **out, const char *model_path,
                          const sm_trainer_options *options, sm_error *error);
void sm_trainer_free(sm_trainer *trainer);
typedef struct sm_trainer_info {
    uint32_t struct_size;
    uint32_t level;
    uint32_t n_threads;
    uint32_t n_vocab;
    uint64_t n_params;
    uint64_t steps;
    uint64_t step;
    uint64_t tokens;
    uint64_t epoch;
    uint64_t train_documents, validation_documents;
    uint64_t train_bytes, validation_bytes;
    uint64_t heap_bytes, heap_peak;
    double epochs;
    uint64_t updating;
} sm_trainer_info;
sm_status sm_trainer_get_info(const sm_trainer *trainer, sm_trainer_info *info, sm_error *error);
uint64_t sm_trainer_steps_left(const sm_trainer *trainer);
typedef struct sm_train_metrics {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t step;
    double loss;
    double grad_norm;
    double lr;
    uint64_t targets;
    double seconds;
    uint64_t tokens;
    double expert_balance;
} sm_train_metrics;
sm_status sm_trainer_step(sm_trainer *trainer, sm_train_metrics *metrics, sm_error *error);
typedef int32_t (*sm_train_step_fn)(void *user, const sm_train_metrics *metrics);
sm_status sm_trainer_train(sm_trainer *trainer, uint64_t steps, sm_train_step_fn on_step,
                           void *user, sm_error *error);
sm_status sm_trainer_set_cancel(sm_trainer *trainer, sm_cancel_fn cancel, void *user,
                                sm_error *error);
typedef struct sm_train_evaluation {
    uint32_t struct_size;
    uint32_t reserved;
    double loss;
    double bits_per_byte;
    uint64_t targets;
    double seconds;
} sm_train_evaluation;
sm_status sm_trainer_evaluate(sm_trainer *trainer, sm_train_evaluation *result, sm_error *error);
sm_status sm_trainer_save(sm_trainer *trainer, const char *path, sm_error *error);
sm_status sm_trainer_resume(sm_trainer *trainer, const char *path, sm_error *error);
typedef struct sm_checkpoint_info {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t step;
    uint64_t steps;
    uint64_t tokens;
} sm_checkpoint_info;
sm_status sm_checkpoint_get_info(const char *path, sm_checkpoint_info *info, sm_error *error);
sm_status sm_checkpoint_get_options(const char *path, sm_trainer_options *options,
                                    const char **model_path, char *text, uint64_t capacity,
                                    uint64_t *needed, sm_error *error);
typedef struct sm_export_options {
    uint32_t struct_size;
    uint32_t reserved;
    const char *type;
} sm_export_options;
sm_status sm_trainer_export(sm_trainer *trainer, const char *path, const sm_export_options *options,
                            sm_error *error);
sm_status sm_trainer_export_adapter(sm_trainer *trainer, const char *path, sm_error *error);
