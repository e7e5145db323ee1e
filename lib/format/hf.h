/* hf.h - Hugging Face directories: config.json becomes keys by the names of keys.h, with the values
 * that llama.cpp's converter gives them, and the tensors of safetensors files get our names. What
 * is known of a family is data (hf_families.c): which keys, which names, which tensors lie in
 * another order than ours. Private to lib/format.
 *
 * Failures stick: the first one is what opening returns, calls after it do nothing.
 */
#ifndef SM_FORMAT_HF_H
#define SM_FORMAT_HF_H

#include "format/format.h"
#include "json.h"
#include "peft.h"
#include "safetensors.h"

/* ---- families as data -------------------------------------------------------------------- */

/* What is made of a value of config.json. null is as if the key were not there. */
typedef enum hf_rule {
    HF_END,    /* of a table */
    HF_COUNT,  /* a whole number from 0: u32 */
    HF_NUMBER, /* f32 */
    HF_FLAG,   /* bool */
    HF_IS,     /* must be one of `value`, texts separated by bars; no key */
    HF_OFF,    /* must be false, 0 or empty; no key */
    HF_ON,     /* must be true; no key */
    HF_SKIP    /* changes nothing here, or is read by the family's function; no key */
} hf_rule;

typedef struct hf_key {
    hf_rule rule;
    const char *names; /* separated by bars: the first that is there counts */
    const char *key;   /* without the architecture; NULL: none */
    const char *value; /* HF_IS: see there; else where config.json has none: a number, "!" (it must
                          have one) or NULL (then there is no key, either) */
} hf_key;

/* In which order a tensor lies in its file. Rows are counted over the last dimension. */
typedef enum hf_order {
    HF_SAME,
    HF_Q,            /* rows of query heads in halves, ours in pairs (rope) */
    HF_K,            /* the same of key heads */
    HF_PLUS_ONE,     /* a vector that lacks 1 */
    HF_TURNED,       /* columns are rows (Conv1D), of a stack in each matrix */
    HF_TURNED_EVEN,  /* the same, and every second row: 0, 2, … (gate and up in turns) */
    HF_TURNED_ODD,   /* 1, 3, … */
    HF_TURNED_FIRST, /* the first half of ours; HF_TURNED_LAST: the last */
    HF_TURNED_LAST,
    HF_EVEN, /* every second row */
    HF_ODD,
    HF_FIRST_HALF, /* of the rows of each matrix of a stack */
    HF_LAST_HALF,
    HF_HEADS,    /* rows [head][q, k, v]: ours [q, k, v][head] */
    HF_GROUPS,   /* rows [kv head][its queries, k, v]: ours [q, k, v] */
    HF_GROUPS_Q, /* the queries alone, in pairs, as HF_Q */
    HF_GROUPS_K,
    HF_GROUPS_V,
    HF_LATENT_K, /* rows [head][nope, value]: the first of each head, turned */
    HF_LATENT_V,
    HF_EITHER_FIRST, /* HF_FIRST_HALF, or HF_TURNED_FIRST where columns are rows: both are written
                        */
    HF_EITHER_LAST,
    HF_EITHER,     /* HF_SAME or HF_TURNED, likewise */
    HF_POSITIONS,  /* behind two rows of padding */
    HF_TAPS,       /* of a convolution of channels by themselves: matrices of one row each */
    HF_MXFP4,      /* blocks and scales apart; columns in another order */
    HF_MXFP4_EVEN, /* the same, every second row */
    HF_MXFP4_ODD
} hf_order;

/* A tensor's names. # stands for the layer; & for a number whose tensors are stacked into one. A
 * name that ends with neither .weight nor .bias stands for both. */
typedef struct hf_name {
    const char *from; /* without the family's prefix; NULL ends a table */
    const char *to;   /* NULL: nothing is computed of it */
    hf_order order;
} hf_name;

typedef struct hf_reader hf_reader;

typedef struct hf_family hf_family;
struct hf_family {
    const char *types; /* model_type of config.json, separated by bars */
    const char *architecture;
    const hf_key *keys;   /* before the ones that all families have; NULL: none */
    const hf_name *names; /* likewise */
    /* Another family, if config.json means that one; NULL: it does not depend */
    const hf_family *(*instead)(hf_reader *r);
    void (*more)(hf_reader *r); /* keys and tensors that are no matter of tables; NULL */
    const char *prefix;         /* of names, which a file may leave out; NULL: "model." */
    double theta;               /* base of the rotation where no key says it; 0: 10000 */
    bool tied;                  /* the output layer, where no key says it */
    bool partial;               /* heads may be rotated in part */
    bool no_rope;
    bool qk_in_pairs; /* rope on pairs (GGUF) of q and k that are in halves here */
};

const hf_family *hf_family_find(const char *type, uint64_t length);
/* The i-th of those that become a model of that architecture; NULL past the last. */
const hf_family *hf_family_of(const char *architecture, uint64_t length, uint32_t i);
extern const hf_key hf_common_keys[];
extern const hf_name hf_common_names[];
/* Keys of config.json that change nothing that is computed here: exact names, and beginnings and
 * endings with a * there. */
extern const char *const hf_harmless[];

/* Who packed weights of fewer bits (hf_packed.c). */
typedef enum hf_packing { HF_UNPACKED, HF_GPTQ, HF_AWQ, HF_COMPRESSED, HF_NIBBLES } hf_packing;

/* ---- reading ------------------------------------------------------------------------------ */

#define HF_MAX_ASKED 256

/* A tensor that no file has (rope_freqs.weight). */
typedef struct hf_made {
    const char *name;
    uint64_t n;
    float *value;
} hf_made;

struct hf_reader {
    sm_mem *mem;
    sm_error *error;
    const sm_hook *hook;
    sm_status status;
    const char *dir;   /* as given */
    const char *shown; /* the same for messages */
    const char *config_shown;
    const hf_family *family;
    sm_json *json;
    sm_json_value config; /* the object with the text model's keys */
    sm_gguf_writer *keys;
    uint32_t n_asked, n_put;
    const char *asked[HF_MAX_ASKED]; /* names of keys that were looked at, with their bars */
    const char *put[HF_MAX_ASKED];   /* names of keys that were written */
    hf_made made[4];
    uint32_t n_made;
    uint32_t n_embd, n_layer, n_head, n_head_kv, head_dim;
    uint32_t nope, value_dim; /* of latent heads */
    uint32_t n_ff_expert;     /* where stacks of experts may lie either way */
    bool tied, tied_said;
    bool biased;       /* queries have biases, says config.json */
    uint64_t n_vocab;  /* 0: not said */
    uint32_t n_drafts; /* layers behind the last that are not computed */
    char dense[2][96]; /* files of matrices behind pooling, the last of `files` */
    uint32_t n_dense;
    bool pictures;          /* the model has parts that read no text, which are left out */
    const sm_source *model; /* which the adapter in the directory is for; NULL: a model is read */
    hf_packing packing;
    uint32_t bits, group, zeros_lack_one; /* of packed weights; group 0: all columns */
    uint32_t block[2]; /* rows and columns that have one scale together; 0: not said */
    sm_source *source; /* keys are in it when tensors are read */
    sm_safetensors *files;
    uint32_t n_files;
};

/* ---- keys (hf_config.c) ------------------------------------------------------------------- */

/* Reads config.json, which must stay in memory, into r; the family's keys and those of all are
 * written to r->keys. What is asked for and not read is refused. */
void hf_read_config(hf_reader *r, const void *text, uint64_t length);

/* The parts of it that other files with keys need, too: a text as r->json, the rows of a table, and
 * the refusal of members of r->config that nobody looked at. */
void hf_read_json(hf_reader *r, const void *text, uint64_t length);
void hf_read_table(hf_reader *r, const hf_key *table);
void hf_refuse_unread(hf_reader *r);

void hf_fail(hf_reader *r, sm_status status, const char *name, const char *what);
/* Looks a key up, by names separated by bars; SM_JSON_NONE where there is none or null. */
sm_json_value hf_find(hf_reader *r, const char *names);
bool hf_has(hf_reader *r, const char *names);
/* Of the object `in`, whose members are all looked at. */
sm_json_value hf_find_in(hf_reader *r, sm_json_value in, const char *names);
uint32_t hf_count_or(hf_reader *r, const char *names, uint32_t fallback);
double hf_number_or(hf_reader *r, const char *names, double fallback);
bool hf_flag_or(hf_reader *r, const char *names, bool fallback);
/* Whether the key is there and is that text. */
bool hf_is(hf_reader *r, const char *names, const char *text);

/* Keys of ours: `key` without the architecture. One that was written is not written again. */
void hf_put_count(hf_reader *r, const char *key, uint32_t value);
void hf_put_number(hf_reader *r, const char *key, double value);
void hf_put_flag(hf_reader *r, const char *key, bool value);
void hf_put_text(hf_reader *r, const char *key, const char *value);
void hf_put_flags(hf_reader *r, const char *key, const bool *value, uint32_t n);
void hf_put_floats(hf_reader *r, const char *key, const float *value, uint32_t n);
void hf_put_counts(hf_reader *r, const char *key, const uint32_t *value, uint32_t n);
void hf_put_texts(hf_reader *r, const char *key, const sm_gguf_str *value, uint32_t n);

/* The rotation (hf_rope.c), from rope_parameters, or rope_theta and rope_scaling. */
void hf_read_rope(hf_reader *r);
/* quantization_config (hf_quantized.c). */
void hf_read_quantized(hf_reader *r);
/* layer_types and sliding_window: keys of windows. `usual`: of so many layers the last has none
 * where no key of ours says which (0: all have one); `period` the same where config.json does not
 * say it. */
void hf_windows(hf_reader *r, uint32_t usual, uint32_t period);
/* A vector of n for the network, whose values the caller fills in; NULL after a failure. */
float *hf_make(hf_reader *r, const char *name, uint64_t n);

/* ---- files of a directory (hf_open.c) ------------------------------------------------------ */

/* What messages call a directory and the file of its keys. */
#define HF_SHOWN 200
typedef struct hf_labels {
    char shown[HF_SHOWN], config[HF_SHOWN + 32];
} hf_labels;

/* A reader of the directory `path`; labels must outlive it. `config`: the file of its keys. */
hf_reader hf_begin(sm_mem *mem, const char *path, const char *config, const sm_hook *hook,
                   hf_labels *labels, sm_error *error);
/* r->source from r->keys, which are taken, whatever r->status is. */
void hf_make_source(hf_reader *r);
/* One more file of weights. */
void hf_add_file(hf_reader *r, const char *name, bool map);
/* Reads the tensors and lets go of everything but the source, which *out gets. */
sm_status hf_end(hf_reader *r, sm_source **out);

bool hf_has_file(const hf_reader *r, const char *name);
/* One that is read into memory; the caller closes it. */
void hf_open_text(hf_reader *r, const char *name, sm_file *file);
/* What other files say of texts: chat templates, which tokens end one, how they are sampled
 * (hf_texts.c). */
void hf_read_texts(hf_reader *r);
/* What modules.json makes of hidden states: key pooling_type, r->dense (hf_pooling.c). */
void hf_read_modules(hf_reader *r);

/* ---- tensors (hf_tensors.c, hf_convert.c) --------------------------------------------------- */

/* A tensor on its way: where it lies in a file, or converted. */
typedef struct hf_tensor {
    uint32_t type;              /* sm_dtype */
    bool vector;                /* cols is 1, and one of dims */
    uint64_t depth, rows, cols; /* matrices, each of so many rows */
    const uint8_t *data;
    uint64_t row_bytes, distance; /* bytes of a row, and from one matrix to the next */
} hf_tensor;

/* All tensors of r->files into r->source, which has the keys. */
void hf_read_tensors(hf_reader *r);
/* How a tensor is wanted. */
typedef struct hf_form {
    hf_order order;
    bool vector; /* a bias or a gain: one column */
    bool f32;    /* not as the file has it */
} hf_form;

/* A tensor in the order in which ours lie, as our type. It stays where it is if that changes
 * nothing; otherwise it is copied. */
void hf_convert(hf_reader *r, const sm_st_tensor *t, hf_form form, hf_tensor *out);
/* Packed weights: whether a tensor is the codes of some; the same as a tensor of ours; whether it
 * is something that such have beside them. */
bool hf_is_packed(const hf_reader *r, const sm_st_tensor *t);
void hf_unpack(hf_reader *r, const sm_st_tensor *t, hf_tensor *out);
bool hf_beside_packed(const hf_reader *r, const sm_st_tensor *t);
/* Whether every tensor of every file has a name of r->family's. */
bool hf_places_all(const hf_reader *r);
/* Of an adapter (hf_adapter.c): */
#define HF_LORA_COPY ".base_layer.weight"
/* Reads off `model` the family and the numbers that adapters for it need. */
void hf_look_at_model(hf_reader *r, const sm_source *model);
/* In which order the rows of B lie of what a table's row names. */
hf_order hf_adapter_order(const hf_reader *r, const hf_name *row);
/* Which row of a matrix of so many in that order each row of ours is; false where heads do not
 * divide them, or it is not all of ours. */
bool hf_rows(const hf_reader *r, hf_order order, uint64_t rows, uint64_t *row_of);
/* Whether it is a copy of what is adapted, which the model has. */
bool hf_is_copied(hf_reader *r, const sm_st_tensor *t);
/* How often a B counts beside what the adapter's alpha says. */
double hf_lora_factor(hf_reader *r, const sm_st_tensor *b);
/* x times factor, as f32. */
void hf_scale(hf_reader *r, hf_tensor *x, double factor);

/* The same of bitsandbytes' (hf_nibbles.c), which those of all ask. */
bool hf_is_nibbles(const hf_reader *r, const sm_st_tensor *t);
void hf_unpack_nibbles(hf_reader *r, const sm_st_tensor *t, hf_tensor *out);
bool hf_beside_nibbles(const hf_reader *r, const sm_st_tensor *t);
/* A tensor of any file; NULL if there is none. */
const sm_st_tensor *hf_find_tensor(const hf_reader *r, const char *name);
/* Memory that lives as long as the source; NULL after a failure. */
void *hf_keep(hf_reader *r, uint64_t size);

/* A directory of config.json and one file of weights, both in memory and borrowed: for tests. */
sm_status hf_open_bytes(sm_source **out, sm_mem *mem, const void *config, uint64_t config_size,
                        const uint8_t *weights, uint64_t size, sm_error *error);

#endif
