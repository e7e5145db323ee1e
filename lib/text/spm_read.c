/* Reading a SentencePiece model: the fields of its protocol buffer that a vocabulary needs. */
#include "text.h"

#include <math.h>
#include <string.h>

#define MAX_PIECES (1U << 22)

/* A message, or what is left of one. */
typedef struct message {
    const uint8_t *at, *end;
} message;

typedef struct field {
    uint32_t number, wire;
    uint64_t value; /* of numbers */
    message bytes;  /* of what has a length */
} field;

typedef struct model {
    sm_mem *mem;
    sm_error *error;
    sm_pace *pace;
    sm_vocab vocab;
    sm_str *tokens;
    float *scores;
    int32_t *types;
    uint32_t n;
    uint64_t kind; /* of the trainer */
    bool suffix;   /* spaces end words */
    sm_str bos, eos, pad;
} model;

static sm_status broken(const model *m, const char *what) {
    return sm_fail(m->error, SM_ERR_FORMAT, "SentencePiece model: %s", what);
}

static sm_status refuse(const model *m, const char *what) {
    return sm_fail(m->error, SM_ERR_UNSUPPORTED, "SentencePiece model: %s is not supported", what);
}

/* ---- protocol buffers ------------------------------------------------------------------------ */

static bool take_varint(message *m, uint64_t *value) {
    *value = 0;
    for (uint32_t shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        const uint8_t byte = *m->at++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static bool take_fixed(message *m, uint32_t bytes, uint64_t *value) {
    *value = 0;
    if (m->end - m->at < (ptrdiff_t)bytes)
        return false;
    for (uint32_t i = 0; i < bytes; i++)
        *value |= (uint64_t)*m->at++ << 8 * i;
    return true;
}

/* The next field; false where the message is broken. */
static bool take_field(message *m, field *f) {
    uint64_t tag;
    if (!take_varint(m, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX)
        return false;
    f->number = (uint32_t)(tag >> 3);
    f->wire = tag & 7;
    switch (f->wire) {
    case 0:
        return take_varint(m, &f->value);
    case 1:
        return take_fixed(m, 8, &f->value);
    case 5:
        return take_fixed(m, 4, &f->value);
    case 2:
        if (!take_varint(m, &f->value) || f->value > (uint64_t)(m->end - m->at))
            return false;
        f->bytes = (message){m->at, m->at + f->value};
        m->at += f->value;
        return true;
    default:
        return false;
    }
}

static bool is_text(const field *f, uint32_t number) {
    return f->number == number && f->wire == 2;
}

static bool is_number(const field *f, uint32_t number) {
    return f->number == number && f->wire == 0;
}

static sm_str text_of(const field *f) {
    return (sm_str){(const char *)f->bytes.at, (uint64_t)(f->bytes.end - f->bytes.at)};
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static sm_status count_pieces(model *m, message whole) {
    uint32_t n = 0;
    while (whole.at < whole.end) {
        field f;
        if (!take_field(&whole, &f))
            return broken(m, "a field that is broken");
        n += is_text(&f, 1);
        if (n > MAX_PIECES)
            return broken(m, "too many pieces");
    }
    if (!n)
        return broken(m, "no pieces");
    m->tokens = sm_alloc_zero(m->mem, n * sizeof *m->tokens);
    m->scores = sm_alloc_zero(m->mem, n * sizeof *m->scores);
    m->types = sm_alloc_zero(m->mem, n * sizeof *m->types);
    return m->tokens && m->scores && m->types ? SM_OK
                                              : sm_fail(m->error, SM_ERR_NOMEM, "out of memory");
}

static sm_status read_piece(model *m, message piece) {
    const uint32_t i = m->n++;
    m->types[i] = SM_TOKEN_NORMAL;
    m->tokens[i] = (sm_str){"", 0};
    while (piece.at < piece.end) {
        field f;
        if (!take_field(&piece, &f))
            return broken(m, "a piece that is broken");
        if (is_text(&f, 1))
            m->tokens[i] = text_of(&f);
        else if (f.number == 2 && f.wire == 5)
            memcpy(&m->scores[i], &(uint32_t){(uint32_t)f.value}, sizeof m->scores[i]);
        else if (is_number(&f, 3))
            m->types[i] =
                f.value >= SM_TOKEN_NORMAL && f.value <= SM_TOKEN_BYTE ? (int32_t)f.value : 0;
    }
    if (!m->types[i])
        return broken(m, "a piece of no known type");
    return m->pace && !sm_pace_step(m->pace, 16)
               ? sm_fail(m->error, SM_ERR_CANCELLED, "loading was cancelled")
               : SM_OK;
}

/* ---- specifications -------------------------------------------------------------------------- */

static sm_status read_trainer(model *m, message spec) {
    while (spec.at < spec.end) {
        field f;
        if (!take_field(&spec, &f))
            return broken(m, "a trainer_spec that is broken");
        if (is_number(&f, 3))
            m->kind = f.value;
        else if (is_number(&f, 24))
            m->suffix = f.value != 0;
        else if (is_text(&f, 44))
            m->vocab.unk_surface = text_of(&f);
        else if (is_text(&f, 46))
            m->bos = text_of(&f);
        else if (is_text(&f, 47))
            m->eos = text_of(&f);
        else if (is_text(&f, 48))
            m->pad = text_of(&f);
    }
    return SM_OK;
}

static sm_status read_normalizer(model *m, message spec) {
    while (spec.at < spec.end) {
        field f;
        if (!take_field(&spec, &f))
            return broken(m, "a normalizer_spec that is broken");
        if (is_text(&f, 2))
            m->vocab.charsmap = text_of(&f);
        else if (is_number(&f, 3))
            m->vocab.add_space_prefix = f.value != 0;
        else if (is_number(&f, 4))
            m->vocab.remove_extra_whitespaces = f.value != 0;
        else if (is_number(&f, 5))
            m->vocab.escape_whitespaces = f.value != 0;
    }
    return SM_OK;
}

/* What decoding would replace: nobody computes it. */
static sm_status check_denormalizer(model *m, message spec) {
    while (spec.at < spec.end) {
        field f;
        if (!take_field(&spec, &f))
            return broken(m, "a denormalizer_spec that is broken");
        if (is_text(&f, 2) && f.value)
            return refuse(m, "denormalizer_spec.precompiled_charsmap");
    }
    return SM_OK;
}

static sm_status read_fields(model *m, message whole) {
    sm_status status = SM_OK;
    while (whole.at < whole.end && !status) {
        field f;
        if (!take_field(&whole, &f))
            return broken(m, "a field that is broken");
        if (is_text(&f, 1))
            status = read_piece(m, f.bytes);
        else if (is_text(&f, 2))
            status = read_trainer(m, f.bytes);
        else if (is_text(&f, 3))
            status = read_normalizer(m, f.bytes);
        else if (is_text(&f, 5))
            status = check_denormalizer(m, f.bytes);
    }
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* The control token of that text; -1. */
static int32_t control_named(const model *m, sm_str text) {
    for (uint32_t i = 0; i < m->n; i++)
        if (m->types[i] == SM_TOKEN_CONTROL && m->tokens[i].length == text.length &&
            memcmp(m->tokens[i].data, text.data, (size_t)text.length) == 0)
            return (int32_t)i;
    return -1;
}

static sm_status finish(model *m) {
    sm_vocab *v = &m->vocab;
    if (m->kind != 1 && m->kind != 2)
        return refuse(m, "a model_type other than UNIGRAM and BPE");
    if (m->suffix)
        return refuse(m, "treat_whitespace_as_suffix");
    if (v->unk_surface.length > 31)
        return refuse(m, "an unk_surface of that length");
    v->model = m->kind == 2 ? (sm_str){"llama", 5} : (sm_str){"t5", 2};
    v->n_tokens = m->n;
    v->tokens = m->tokens;
    v->scores = m->scores;
    v->types = m->types;
    v->bos = control_named(m, m->bos);
    v->eos = control_named(m, m->eos);
    v->pad = control_named(m, m->pad);
    v->unk = -1;
    for (uint32_t i = 0; i < m->n && v->unk < 0; i++)
        v->unk = m->types[i] == SM_TOKEN_UNKNOWN ? (int32_t)i : -1;
    if (v->unk < 0)
        return broken(m, "no piece for what is unknown");
    return SM_OK;
}

bool sm_is_sentencepiece(sm_str bytes) {
    message whole = {(const uint8_t *)bytes.data, (const uint8_t *)bytes.data + bytes.length};
    field f, inner;
    if (!bytes.length || !take_field(&whole, &f) || !is_text(&f, 1) || f.value > 4096)
        return false;
    return take_field(&f.bytes, &inner) && is_text(&inner, 1);
}

sm_status sm_tokenizer_from_sentencepiece(sm_tokenizer **out, sm_mem *mem, sm_str bytes,
                                          sm_pace *pace, sm_error *error) {
    model m = {.mem = mem,
               .error = error,
               .pace = pace,
               .kind = 1,
               .bos = {"<s>", 3},
               .eos = {"</s>", 4},
               .pad = {"<pad>", 5}};
    const message whole = {(const uint8_t *)bytes.data, (const uint8_t *)bytes.data + bytes.length};
    m.vocab = (sm_vocab){.sep = SM_UNSET,
                         .mask = SM_UNSET,
                         .cls = SM_UNSET,
                         .eot = SM_UNSET,
                         .eom = SM_UNSET,
                         .add_bos = SM_UNSET,
                         .add_eos = SM_UNSET,
                         .add_space_prefix = 1,
                         .remove_extra_whitespaces = 1,
                         .escape_whitespaces = 1,
                         .unk_surface = {" \xE2\x81\x87 ", 5},
                         .pace = pace};
    *out = NULL;
    sm_status status = count_pieces(&m, whole);
    if (!status)
        status = read_fields(&m, whole);
    if (!status)
        status = finish(&m);
    if (!status)
        status = sm_tokenizer_build(out, mem, &m.vocab, error);
    sm_free(mem, m.tokens);
    sm_free(mem, m.scores);
    sm_free(mem, m.types);
    return status;
}
