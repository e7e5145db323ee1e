/* What people take for a model, or for text: files of other formats, pages, pointers, directories,
 * addresses, and GGUF files that hold something else. One table for each, and what to do
 * instead. */
#include "format/format.h"

#include <string.h>

/* ---- files that are no GGUF files ------------------------------------------------------------ */

#define LOOKED_AT ((uint64_t)1 << 16) /* bytes of a file */

/* How a file's beginning is told. */
typedef enum how {
    MAGIC,       /* these bytes at this place */
    MARKUP,      /* this text behind white space, in either case */
    JSON,        /* a brace or bracket behind white space, then a quote or another one */
    SAFETENSORS, /* a length, then JSON */
    OLD_IMATRIX, /* numbers, then a tensor's name */
    PIECES,      /* a SentencePiece model: its first piece */
    ONNX,        /* a version, then who made it */
    TEXT,        /* nothing but characters */
    ZEROS,
} how;

#define ITS_DIRECTORY \
    "name the directory that it lies in, with the model's config.json and weights in it"
#define PICKLES                                                                        \
    "load the model with transformers and save it with save_pretrained, which writes " \
    "safetensors, "                                                                    \
    "and name that directory"
#define CONVERT "convert it with llama.cpp's convert_hf_to_gguf.py, or look for a GGUF file of it"
#define CONVERT_ADAPTER "name its directory, as an adapter of its model"
#define WRITE_UTF8 "write it as UTF-8 first (iconv -f UTF-16 -t UTF-8)"
#define WRITE_JSONL "write it as JSONL first"
#define LFS_PULL "run `git lfs pull` in its repository"
#define UNPACK "unpack it and give the GGUF file that is in it"
#define OLD_GGML "such files are no longer read: convert the original anew, or look for a GGUF file"
#define ADDRESS \
    "fetch the file itself: at Hugging Face its address has /resolve/, not /blob/, in it"

/* The first line that fits counts. */
static const struct {
    how how;
    uint16_t at, length; /* of the magic */
    const char *magic;
    const char *needle; /* is in the beginning, too; NULL: whatever is there */
    const char *what;
    const char *advice;  /* to who wants a model; NULL: told elsewhere */
    const char *as_text; /* to who wants text; NULL: it may be text */
} foreign[] = {
    {MAGIC, 0, 4, "GGUF", NULL, "a GGUF file", NULL, "it holds no text"},
    {MAGIC, 0, 2, "\xFF\xFE", NULL, "UTF-16", NULL, WRITE_UTF8},
    {MAGIC, 0, 2, "\xFE\xFF", NULL, "UTF-16", NULL, WRITE_UTF8},
    {MAGIC, 0, 4, "FUGG", NULL, "a GGUF file of a big-endian machine",
     "a little-endian one is read", NULL},
    {MAGIC, 0, 42, "version https://git-lfs.github.com/spec/v1", NULL,
     "a Git LFS pointer, not the file that it stands for", LFS_PULL, LFS_PULL},
    {MAGIC, 0, 8, "version ", "oid sha256:", "a Git LFS pointer, not the file that it stands for",
     LFS_PULL, NULL},
    {MARKUP, 0, 9, "<!doctype", NULL, "an HTML page", ADDRESS, NULL},
    {MARKUP, 0, 5, "<html", NULL, "an HTML page", ADDRESS, NULL},
    {MARKUP, 0, 5, "<?xml", NULL, "an XML document, as servers send with an error",
     "look into it, and fetch the file itself", NULL},
    {SAFETENSORS, 0, 0, NULL, "lora_A", "a safetensors file of a PEFT adapter", CONVERT_ADAPTER,
     "it holds no text"},
    {SAFETENSORS, 0, 0, NULL, NULL, "a safetensors file (Hugging Face)", ITS_DIRECTORY,
     "it holds no text"},
    {MAGIC, 0, 4, "PK\3\4", "data.pkl", "a PyTorch file (pickle in a zip archive)", PICKLES,
     "it holds no text"},
    {MAGIC, 0, 4, "PK\3\4", ".npy", "a NumPy archive (.npz)", CONVERT, "it holds no text"},
    {MAGIC, 0, 4, "PK\3\4", NULL, "a zip archive", UNPACK, "unpack it first"},
    {MAGIC, 0, 4, "PK\5\6", NULL, "an empty zip archive", "fetch it again", NULL},
    {MAGIC, 0, 2, "\x80\2", NULL, "a PyTorch file (Python pickle)", PICKLES, "it holds no text"},
    {MAGIC, 0, 2, "\x80\3", NULL, "a Python pickle", CONVERT, "it holds no text"},
    {MAGIC, 0, 2, "\x80\4", NULL, "a Python pickle", CONVERT, "it holds no text"},
    {MAGIC, 0, 2, "\x80\5", NULL, "a Python pickle", CONVERT, "it holds no text"},
    {MAGIC, 0, 2, "\x1f\x8b", NULL, "a gzip file", UNPACK " (gunzip, or tar -xzf)",
     "decompress it first (gunzip)"},
    {MAGIC, 0, 6,
     "\xFD"
     "7zXZ",
     NULL, "an xz file", UNPACK " (xz -d)", "decompress it first (unxz)"},
    {MAGIC, 0, 4, "\x28\xB5\x2F\xFD", NULL, "a zstd file", UNPACK " (zstd -d)",
     "decompress it first (unzstd)"},
    {MAGIC, 0, 3, "BZh", NULL, "a bzip2 file", UNPACK " (bunzip2)",
     "decompress it first (bunzip2)"},
    {MAGIC, 0, 6, "7z\xBC\xAF\x27\x1C", NULL, "a 7-Zip archive", UNPACK, "unpack it first"},
    {MAGIC, 0, 4, "Rar!", NULL, "a RAR archive", UNPACK, NULL},
    {MAGIC, 257, 5, "ustar", NULL, "a tar archive", UNPACK, "unpack it first"},
    {MAGIC, 0, 4, "lmgg", NULL, "a GGML file, the format before GGUF", OLD_GGML, NULL},
    {MAGIC, 0, 4, "fmgg", NULL, "a GGMF file, a format before GGUF", OLD_GGML, NULL},
    {MAGIC, 0, 4, "tjgg", NULL, "a GGJT file, a format before GGUF", OLD_GGML, NULL},
    {MAGIC, 0, 4, "algg", NULL, "a GGLA file, a LoRA adapter from before GGUF",
     "convert the original anew with llama.cpp's convert_lora_to_gguf.py", NULL},
    {MAGIC, 0, 4, "nsgg", NULL, "a session that llama.cpp saved", "name the model instead", NULL},
    {MAGIC, 0, 4, "qsgg", NULL, "a session that llama.cpp saved", "name the model instead", NULL},
    {MAGIC, 0, 6, "MZqFpD", NULL, "a llamafile, a program with a model in it",
     "fetch the model itself as a GGUF file", NULL},
    {MAGIC, 0, 2, "MZ", NULL, "a program (Windows)", "name the model instead", NULL},
    {MAGIC, 0, 4,
     "\x7F"
     "ELF",
     NULL, "a program or library (ELF)", "name the model instead", "it holds no text"},
    {MAGIC, 0, 8, "\x89HDF\r\n\x1A\n", NULL, "an HDF5 file (Keras)", CONVERT, "it holds no text"},
    {MAGIC, 0, 6, "\x93NUMPY", NULL, "a NumPy array (.npy)", CONVERT, "it holds no text"},
    {MAGIC, 4, 4, "TFL3", NULL, "a TensorFlow Lite model", CONVERT, "it holds no text"},
    {MAGIC, 0, 4, "PAR1", NULL, "a Parquet file, which holds data and no model", CONVERT,
     WRITE_JSONL},
    {MAGIC, 0, 6, "ARROW1", NULL, "an Arrow file, which holds data and no model", CONVERT,
     WRITE_JSONL},
    {MAGIC, 0, 5, "%PDF-", NULL, "a PDF document", "name the model instead",
     "write its text as UTF-8 first"},
    {MAGIC, 0, 8, "\x89PNG\r\n\x1A\n", NULL, "a PNG image", "name the model instead",
     "it holds no text"},
    {JSON, 0, 0, NULL, "\"weight_map\"", "the index of a safetensors model (Hugging Face)",
     ITS_DIRECTORY, NULL},
    {JSON, 0, 0, NULL, "\"peft_type\"", "the configuration of a PEFT adapter", CONVERT_ADAPTER,
     NULL},
    {JSON, 0, 0, NULL, "\"architectures\"", "the configuration of a Hugging Face model",
     ITS_DIRECTORY, NULL},
    {JSON, 0, 0, NULL, "\"added_tokens\"", "a Hugging Face tokenizer (tokenizer.json)",
     "the vocabulary is read from a GGUF file: convert the model with convert_hf_to_gguf.py", NULL},
    {JSON, 0, 0, NULL, "\"error\"", "a server's error message (JSON)",
     "look into it, and fetch the file itself", NULL},
    {JSON, 0, 0, NULL, NULL, "a JSON file", "name the model instead", NULL},
    {OLD_IMATRIX, 0, 0, NULL, NULL, "an importance matrix of the old kind (.dat)",
     "name it as importance matrix (quantize --imatrix)", NULL},
    {PIECES, 0, 0, NULL, NULL, "a SentencePiece vocabulary (tokenizer.model)",
     "the vocabulary is read from a GGUF file: convert the model with convert_hf_to_gguf.py", NULL},
    {ONNX, 0, 0, NULL, NULL, "an ONNX model", CONVERT, NULL},
    {ZEROS, 0, 0, NULL, NULL, "nothing but zero bytes, as where a download has only begun",
     "fetch it again", NULL},
    {TEXT, 0, 0, NULL, NULL, "a text file", "name the model instead", NULL},
};

/* The beginning of a file. */
typedef struct beginning {
    const uint8_t *data;
    uint64_t size;
    bool whole; /* there is no more of it */
} beginning;

static bool has(const beginning *b, uint64_t at, const void *bytes, uint64_t length) {
    return at <= b->size && length <= b->size - at &&
           memcmp(b->data + at, bytes, (size_t)length) == 0;
}

static bool holds(const beginning *b, const char *needle) {
    const size_t length = strlen(needle);
    for (uint64_t i = 0; i + length <= b->size; i++)
        if (b->data[i] == (uint8_t)needle[0] && memcmp(b->data + i, needle, length) == 0)
            return true;
    return false;
}

/* The first byte that is no white space and no byte order mark. */
static uint64_t skip_space(const beginning *b, uint64_t i) {
    if (i == 0 && has(b, 0, "\xEF\xBB\xBF", 3))
        i = 3;
    while (i < b->size && (b->data[i] == ' ' || (b->data[i] >= '\t' && b->data[i] <= '\r')))
        i++;
    return i;
}

static bool is_markup(const beginning *b, const char *mark, uint64_t length) {
    const uint64_t at = skip_space(b, 0);
    if (length > b->size - at)
        return false;
    for (uint64_t i = 0; i < length; i++) {
        if (lower_ascii((char)b->data[at + i]) != mark[i])
            return false;
    }
    return true;
}

static bool is_json(const beginning *b, uint64_t at) {
    at = skip_space(b, at);
    if (at >= b->size || (b->data[at] != '{' && b->data[at] != '['))
        return false;
    const uint64_t next = skip_space(b, at + 1);
    return next < b->size && strchr("\"{[}]", b->data[next]) != NULL && b->data[next] != 0;
}

static bool is_text(const beginning *b) {
    uint64_t n = b->whole ? b->size : sm_utf8_complete(b->data, b->size);
    for (uint64_t i = 0; i < n;) {
        uint32_t code;
        const uint32_t used = sm_utf8_decode(b->data + i, n - i, &code);
        if (code == UINT32_MAX || (code < 32 && (code < '\t' || code > '\r')))
            return false;
        i += used;
    }
    return n > 0;
}

static bool is_old_imatrix(const beginning *b) {
    const uint64_t n = b->size >= 12 ? sm_load_le(b->data, 4) : 0;
    const uint64_t length = n ? sm_load_le(b->data + 4, 4) : 0;
    return n > 0 && n < 100000 && length > 4 && length < 256 && has(b, 8, "blk.", 4);
}

bool sm_is_old_imatrix(const uint8_t *data, uint64_t size) {
    return is_old_imatrix(&(beginning){data, size, true});
}

static bool fits(const beginning *b, size_t i) {
    switch (foreign[i].how) {
    case MAGIC:
        return has(b, foreign[i].at, foreign[i].magic, foreign[i].length);
    case MARKUP:
        return is_markup(b, foreign[i].magic, foreign[i].length);
    case JSON:
        return is_json(b, 0);
    case SAFETENSORS:
        return b->size > 10 && sm_load_le(b->data, 8) < (uint64_t)1 << 32 && b->data[8] == '{' &&
               is_json(b, 8);
    case OLD_IMATRIX:
        return is_old_imatrix(b);
    case PIECES: /* of a message of type piece: the text "<unk>" */
        return has(b, 0, "\n", 1) && has(b, 2, "\n\5<unk>", 7);
    case ONNX:
        return b->size > 2 && b->data[0] == 8 && b->data[2] == 0x12 &&
               (holds(&(beginning){b->data, b->size < 64 ? b->size : 64, false}, "pytorch") ||
                holds(&(beginning){b->data, b->size < 64 ? b->size : 64, false}, "onnx"));
    case ZEROS:
        for (uint64_t k = 0; k < b->size; k++)
            if (b->data[k])
                return false;
        return true;
    default:
        return is_text(b);
    }
}

static bool is_row(const beginning *b, size_t i) {
    return fits(b, i) && (!foreign[i].needle || holds(b, foreign[i].needle));
}

sm_status sm_recognize_bytes(const char *path, const uint8_t *data, uint64_t size,
                             sm_error *error) {
    const beginning b = {data, size < LOOKED_AT ? size : LOOKED_AT, size <= LOOKED_AT};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (foreign[i].advice && is_row(&b, i))
            return sm_fail(error, SM_ERR_FORMAT, "%s: not a GGUF file but %s: %s", path,
                           foreign[i].what, foreign[i].advice);
    return SM_OK;
}

/* Bytes of text[0..n) that are zero or no UTF-8. */
static uint64_t count_odd(const uint8_t *text, uint64_t n) {
    uint64_t odd = 0;
    for (uint64_t i = 0; i < n;) {
        uint32_t code;
        i += sm_utf8_decode(text + i, n - i, &code);
        odd += code == 0 || code == UINT32_MAX;
    }
    return odd;
}

/* Text in UTF-8 may have some odd bytes, whatever the language; UTF-16 has many. */
sm_status sm_recognize_text(const char *path, const uint8_t *data, uint64_t size, sm_error *error) {
    const beginning b = {data, size < LOOKED_AT ? size : LOOKED_AT, size <= LOOKED_AT};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (foreign[i].as_text && is_row(&b, i))
            return sm_fail(error, SM_ERR_UNSUPPORTED, "%s: this is %s: %s", path, foreign[i].what,
                           foreign[i].as_text);
    const uint64_t n = sm_utf8_complete(data, size < 4096 ? size : 4096), odd = count_odd(data, n);
    if (odd > n / 8 && odd > 2)
        return sm_fail(error, SM_ERR_UNSUPPORTED,
                       "%s: this is no text in UTF-8 (in UTF-16 or another encoding, or binary)",
                       path);
    return SM_OK;
}

/* ---- paths that are no files ----------------------------------------------------------------- */

/* What a directory is by a file in it; the first line that fits counts. */
static const struct {
    const char *ending, *what, *advice;
} directories[] = {
    {".gguf", "a directory", "name the file in it"},
    {"adapter_config.json", "a PEFT adapter (a directory of Hugging Face's)",
     "name it as an adapter of its model"},
    {".safetensors", "a directory of weights without config.json, which says how to compute them",
     "put the model's there"},
    {"pytorch_model.bin", "a directory of PyTorch's pickles", PICKLES},
    {"", "a directory", "name a GGUF file, or a directory with config.json and model.safetensors"},
};

static bool is_address(const char *path) {
    static const char *const schemes[] = {"http://", "https://", "ftp://", "hf://",
                                          "s3://",   "gs://",    "file://"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (starts_with(path, schemes[i]))
            return true;
    return starts_with(path, "huggingface.co/") || starts_with(path, "hf.co/");
}

/* "owner/name", as Hugging Face calls its repositories, where no directory is called like the
 * owner. */
static bool is_repository(const char *path) {
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    char owner[128];
    bool is_directory;
    const size_t n = strspn(path, letters);
    if (n == 0 || n >= sizeof owner || path[0] == '.' || path[n] != '/' || !path[n + 1] ||
        path[n + 1 + strspn(path + n + 1, letters)])
        return false;
    memcpy(owner, path, n);
    owner[n] = 0;
    sm_directory_find(owner, "", owner, 0, &is_directory);
    return !is_directory;
}

sm_status sm_recognize_path(const char *path, const char *shown, sm_error *error) {
    char name[256];
    bool is_directory;
    if (is_address(path))
        return sm_fail(error, SM_ERR_IO,
                       "%s: is an address and not a file: nothing is downloaded here; fetch the "
                       "file and give its path",
                       shown);
    if (is_repository(path))
        return sm_fail(
            error, SM_ERR_IO,
            "%s: no such file; if it is a repository's name: nothing is downloaded here, "
            "fetch a GGUF file of it and give its path",
            shown);
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
        const bool found =
            sm_directory_find(path, directories[i].ending, name, sizeof name, &is_directory);
        if (!is_directory)
            return SM_OK;
        if (found)
            return sm_fail(error, SM_ERR_IO, "%s: is %s, not a model: %s%s%s%s", shown,
                           directories[i].what, directories[i].advice, i == 0 ? " (" : "",
                           i == 0 ? name : "", i == 0 ? ")" : "");
    }
    return SM_OK;
}

/* ---- GGUF files that hold something else ----------------------------------------------------- */

static bool says(const sm_source *source, const char *key, const char *text) {
    const char *data;
    uint64_t length;
    return !sm_source_get_str(source, key, &data, &length, NULL) && same_text(data, length, text);
}

/* How a file tells what it holds, and what it is as something else; the first line that fits
 * counts. */
static const struct {
    uint32_t content;       /* SM_GGUF_HOLDS_… */
    const char *key, *text; /* a text the key must hold; NULL: that it is there is enough */
    sm_status status;
    const char *what, *advice;
} contents[] = {
    {SM_GGUF_HOLDS_CHECKPOINT, "smallmind.checkpoint.version", NULL, SM_ERR_UNSUPPORTED,
     "a training checkpoint", "resume from it, or use the file that the training wrote"},
    {SM_GGUF_HOLDS_CHECKPOINT, SM_K_TYPE, "checkpoint", SM_ERR_UNSUPPORTED, "a training checkpoint",
     "resume from it, or use the file that the training wrote"},
    {SM_GGUF_HOLDS_OTHER, SM_K_TYPE, "session", SM_ERR_UNSUPPORTED, "a saved session",
     "name the model that it was saved with, and load the session into one of that model"},
    {SM_GGUF_HOLDS_ADAPTER, SM_K_TYPE, "adapter", SM_ERR_UNSUPPORTED, "a LoRA adapter",
     "name the model that it was made for, and attach the adapter to it"},
    {SM_GGUF_HOLDS_ADAPTER, SM_K_ADAPTER_TYPE, NULL, SM_ERR_UNSUPPORTED, "a LoRA adapter",
     "name the model that it was made for, and attach the adapter to it"},
    {SM_GGUF_HOLDS_IMATRIX, SM_K_TYPE, "imatrix", SM_ERR_UNSUPPORTED, "an importance matrix",
     "it serves to quantize a model: name the model"},
    {SM_GGUF_HOLDS_OTHER, SM_K_TYPE, "mmproj", SM_ERR_UNSUPPORTED,
     "a projector of images or sound (mmproj)", "name the model that it goes with"},
    {SM_GGUF_HOLDS_OTHER, SM_K_ARCHITECTURE, "clip", SM_ERR_UNSUPPORTED,
     "a projector of images or sound (mmproj)", "name the model that it goes with"},
    {SM_GGUF_HOLDS_OTHER, SM_K_ARCHITECTURE, "controlvector", SM_ERR_UNSUPPORTED,
     "a control vector", "name a model"},
    {SM_GGUF_HOLDS_PACKED, SM_PACKED_VERSION_KEY, NULL, SM_ERR_UNSUPPORTED,
     "a model packed for computing", "take the file that it was packed from"},
    {SM_GGUF_HOLDS_VOCABULARY, NULL, NULL, SM_ERR_MISSING, "a vocabulary without weights",
     "name a whole model (a new one is made from a vocabulary by sm_model_init)"},
    {SM_GGUF_HOLDS_MODEL, "", NULL, SM_ERR_UNSUPPORTED, "a model", "name a file of that kind"},
};

static bool holds_content(const sm_source *source, size_t i) {
    if (!contents[i].key)
        return source->n_tensors == 0 && sm_source_find_key(source, SM_K_TOKENS);
    if (!contents[i].key[0])
        return true;
    return contents[i].text ? says(source, contents[i].key, contents[i].text)
                            : sm_source_find_key(source, contents[i].key) != NULL;
}

/* The line of the table for the file; the last one holds for every file. */
static size_t line_of(const sm_source *source) {
    size_t i = 0;
    while (!holds_content(source, i))
        i++;
    return i;
}

uint32_t sm_source_holds(const sm_source *source) {
    return contents[line_of(source)].content;
}

sm_status sm_source_expect(const sm_source *source, uint32_t allowed, sm_error *error) {
    const size_t i = line_of(source);
    if (allowed & contents[i].content)
        return SM_OK;
    if (allowed & SM_GGUF_HOLDS_MODEL)
        return sm_fail(error, contents[i].status, "%s: is %s%s: %s", source->path, contents[i].what,
                       contents[i].content == SM_GGUF_HOLDS_PACKED ? "" : ", not a model",
                       contents[i].advice);
    const bool adapter = allowed & SM_GGUF_HOLDS_ADAPTER;
    return sm_fail(error, adapter ? SM_ERR_UNSUPPORTED : SM_ERR_FORMAT,
                   "%s: is %s, not %s: its key 'general.type' is not \"%s\"", source->path,
                   contents[i].what, adapter ? "a LoRA adapter" : "an importance matrix",
                   adapter ? "adapter" : "imatrix");
}
