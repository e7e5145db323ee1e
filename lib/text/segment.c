/* Segmentation of words by a vocabulary without merges: unigram (Viterbi) and
 * WordPiece (longest first), each with its normalization. */
#include "internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- independent segments ------------------------------------------------ */

#define SPACE_CODE 0xFFU
#define STEP_BYTES 8192 /* of a long segment, run or word are looked at between questions */

/* One character as a neighbour: its bytes, the code of its first and of its last byte.
 * A space and what stands for it are one. */
static uint32_t neighbour(const uint8_t *text, uint64_t length, uint32_t *first, uint32_t *last) {
    if (text[0] == ' ') {
        *first = *last = SPACE_CODE;
        return 1;
    }
    if (length >= 3 && memcmp(text, SM_LOWER_BLOCK, 3) == 0) {
        *first = *last = SPACE_CODE;
        return 3;
    }
    uint32_t code, n = sm_utf8_decode(text, length, &code);
    *first = text[0];
    *last = text[n - 1];
    return n;
}

/* No token of these vocabularies spans a line end, and none is to come from merges that do. */
static void part_lines(sm_tokenizer *t) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t pairs[] = {byte << 8 | '\n', (uint32_t)'\n' << 8 | byte};
        for (uint32_t k = 0; byte != '\n' && k < 2; k++)
            t->adjacent[pairs[k] / 64] &= ~(1ULL << pairs[k] % 64);
    }
}

bool sm_segment_build(sm_tokenizer *t) {
    t->adjacent = sm_alloc_zero(t->mem, 256 * 256 / 8);
    if (!t->adjacent)
        return false;
    for (uint32_t id = 0; id < t->text.n; id++) {
        uint32_t length;
        const uint8_t *text = (const uint8_t *)sm_strings_get(&t->text, id, &length);
        if (t->pace && !sm_pace_step(t->pace, 4 + 2 * (uint64_t)length))
            break;
        if (!(t->flags[id] & SM_FLAG_MERGE) || !length)
            continue;
        uint32_t first, last, before;
        for (uint32_t i = neighbour(text, length, &first, &before); i < length; before = last) {
            i += neighbour(text + i, length - i, &first, &last);
            uint32_t pair = before << 8 | first;
            t->adjacent[pair / 64] |= 1ULL << pair % 64;
        }
    }
    if (t->kind == SM_TOKENIZER_CHARS)
        part_lines(t);
    return true;
}

uint64_t sm_segment_end(sm_encoder *encoder, const uint8_t *text, uint64_t length, uint64_t begin) {
    const sm_tokenizer *t = encoder->tokenizer;
    uint32_t first, last, before;
    uint64_t i = begin + neighbour(text + begin, length - begin, &first, &before), stop;
    do {
        stop = length - i < STEP_BYTES ? length : i + STEP_BYTES;
        while (i < stop) {
            uint32_t n;
            if (text[i] < 0x80 && text[i] != ' ') {
                first = last = text[i];
                n = 1;
            } else {
                n = neighbour(text + i, length - i, &first, &last);
            }
            uint32_t pair = before << 8 | first;
            if (!(t->adjacent[pair / 64] >> pair % 64 & 1))
                return i;
            i += n;
            before = last;
        }
        /* if it is to stop whoever goes on from there finds out */
    } while (i < length && sm_pace_step(&encoder->pace, STEP_BYTES));
    return i;
}

/* ---- charsmap ------------------------------------------------------------ */

/* Units of a double array in Darts' layout: base in bits 10-30 (times 256 if bit 9 is
 * set), bit 8: the node ends a key, bits 0-7 and 31: label. */
static uint32_t unit_base(uint32_t unit) {
    return (unit >> 10) << ((unit & 1U << 9) >> 6);
}
static uint32_t unit_label(uint32_t unit) {
    return unit & (1U << 31 | 0xFF);
}
static bool unit_ends_key(uint32_t unit) {
    return unit >> 8 & 1;
}
static uint32_t unit_value(uint32_t unit) {
    return unit & ~(1U << 31);
}

#define MAX_REPLACEMENT 256 /* bytes that one match may turn into */

/* Checks the key that node `at` ends. */
static bool value_ok(const sm_charsmap *map, uint32_t at) {
    uint32_t leaf = at ^ unit_base(map->units[at]);
    if (leaf >= map->n_units)
        return false;
    uint32_t offset = unit_value(map->units[leaf]);
    if (offset >= map->n_replacements)
        return false;
    uint32_t rest = map->n_replacements - offset;
    return memchr(map->replacements + offset, 0, rest < MAX_REPLACEMENT ? rest : MAX_REPLACEMENT) !=
           NULL;
}

static bool has_child(const sm_charsmap *map, uint32_t base, uint32_t c, uint32_t *child) {
    *child = base ^ c;
    return *child < map->n_units && unit_label(map->units[*child]) == c;
}

/* Visits every node that a text can reach, each once: suffixes are shared, and where
 * a broken file makes a cycle the end of the text still ends every walk. */
static sm_status charsmap_check(const sm_charsmap *map, sm_mem *mem, sm_error *error) {
    uint32_t *queue = sm_alloc_array(mem, map->n_units, sizeof *queue);
    uint8_t *seen = sm_alloc_zero(mem, map->n_units);
    sm_status status = SM_OK;
    if (!queue || !seen)
        status = sm_fail(error, SM_ERR_NOMEM, "out of memory");
    uint32_t n = 0;
    if (!status) {
        queue[n++] = 0;
        seen[0] = 1;
    }
    for (uint32_t i = 0; i < n && !status; i++) {
        uint32_t base = queue[i] ^ unit_base(map->units[queue[i]]);
        for (uint32_t c = 1; c < 256 && !status; c++) {
            uint32_t child;
            if (!has_child(map, base, c, &child) || seen[child])
                continue;
            if (unit_ends_key(map->units[child]) && !value_ok(map, child))
                status = sm_fail(error, SM_ERR_FORMAT,
                                 "tokenizer.ggml.precompiled_charsmap: no replacement in range "
                                 "for unit %u",
                                 child);
            seen[child] = 1;
            queue[n++] = child;
        }
    }
    sm_free(mem, queue);
    sm_free(mem, seen);
    return status;
}

static bool is_plain(const sm_charsmap *map, uint32_t c) {
    uint32_t node, next;
    if (!map->n_units || c == 0 || !has_child(map, unit_base(map->units[0]), c, &node))
        return true;
    if (unit_ends_key(map->units[node]))
        return false;
    uint32_t base = node ^ unit_base(map->units[node]);
    for (uint32_t d = 1; d < 128; d++)
        if (has_child(map, base, d, &next))
            return false;
    return true;
}

static uint32_t read_le32(const char *at) {
    const uint8_t *p = (const uint8_t *)at;
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

sm_status sm_charsmap_build(sm_charsmap *map, sm_mem *mem, sm_str bytes, sm_error *error) {
    memset(map, 0, sizeof *map);
    memset(map->plain, 1, sizeof map->plain);
    if (!bytes.length)
        return SM_OK;
    uint32_t size = bytes.length >= 4 ? read_le32(bytes.data) : 0;
    if (bytes.length > INT32_MAX || size % 4 || size == 0 || size >= bytes.length - 4)
        return sm_fail(error, SM_ERR_FORMAT,
                       "tokenizer.ggml.precompiled_charsmap: %u bytes of units in %llu bytes", size,
                       (unsigned long long)bytes.length);
    map->n_units = size / 4;
    map->n_replacements = (uint32_t)bytes.length - 4 - size;
    map->units = sm_alloc_array(mem, map->n_units, 4);
    map->replacements = sm_alloc(mem, map->n_replacements);
    if (!map->units || !map->replacements)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < map->n_units; i++)
        map->units[i] = read_le32(bytes.data + 4 + 4 * (uint64_t)i);
    memcpy(map->replacements, bytes.data + 4 + size, map->n_replacements);
    for (uint32_t c = 0; c < 128; c++)
        map->plain[c] = is_plain(map, c);
    return charsmap_check(map, mem, error);
}

/* Length of the beginning of text[0..length) that needs no look into the map. */
static uint64_t plain_run(const sm_charsmap *map, const uint8_t *text, uint64_t length) {
    uint64_t n = 0, most = length < STEP_BYTES ? length : STEP_BYTES;
    while (n < most && text[n] < 0x80 && map->plain[text[n]])
        n++;
    return n && n < length && text[n] >= 0x80 ? n - 1 : n; /* it may combine with the last */
}

#define MAX_RULE 512 /* bytes */

const char *sm_charsmap_find(const sm_charsmap *map, const uint8_t *text, uint64_t length) {
    uint32_t node = map->n_units ? unit_base(map->units[0]) : 0;
    for (uint64_t i = 0; i < length && text[i] && map->n_units; i++) {
        node ^= text[i];
        if (node >= map->n_units || unit_label(map->units[node]) != text[i])
            return NULL;
        const uint32_t unit = map->units[node];
        node ^= unit_base(unit);
        if (unit_ends_key(unit))
            return map->replacements + unit_value(map->units[node]);
    }
    return NULL;
}

static const uint8_t not_utf8[] = {0xEF, 0xBF, 0xBD}; /* U+FFFD */

/* What the beginning of text[0..length) turns into; returns the bytes consumed. */
static uint64_t normalize_prefix(const sm_charsmap *map, const uint8_t *text, uint64_t length,
                                 const uint8_t **out, uint64_t *n) {
    uint64_t matched = 0;
    if (map->n_units) {
        uint32_t node = unit_base(map->units[0]);
        /* rules have a few characters; a broken map may go round in circles for ever */
        for (uint64_t i = 0; i < length && i < MAX_RULE && text[i]; i++) {
            node ^= text[i];
            if (node >= map->n_units || unit_label(map->units[node]) != text[i])
                break;
            uint32_t unit = map->units[node];
            node ^= unit_base(unit);
            if (unit_ends_key(unit)) {
                matched = i + 1;
                *out = (const uint8_t *)map->replacements + unit_value(map->units[node]);
            }
        }
    }
    if (matched) {
        *n = strlen((const char *)*out);
        return matched;
    }
    uint32_t code, used = sm_utf8_decode(text, length, &code);
    *out = code == UINT32_MAX ? not_utf8 : text;
    *n = code == UINT32_MAX ? 3 : used;
    return used;
}

/* ---- SentencePiece's normalization ------------------------------------------ */

#define NORMAL_STEPS 16 /* to look up what a character turns into */

typedef struct normalizer {
    const sm_tokenizer *t;
    uint8_t *out;
    uint64_t n;
    uint64_t owed; /* spaces before the next character, if there is one */
    bool begun;    /* there is something before: a space may follow it */
    bool whole;    /* what comes next is a user-defined piece */
} normalizer;

static void put_space(normalizer *z) {
    uint64_t n = z->t->escape_whitespaces ? 3 : 1;
    memcpy(z->out + z->n, n == 3 ? SM_LOWER_BLOCK : " ", (size_t)n);
    z->n += n;
}

/* Of spaces in a row one is left; a user-defined piece keeps all of its own, but those in front
 * that follow a space. */
static void put_normal(normalizer *z, const uint8_t *bytes, uint64_t n) {
    const bool removes = z->t->remove_extra_whitespaces;
    bool keeps = z->whole && !z->owed && (z->begun || z->n > 0);
    for (uint64_t i = 0; i < n; i++) {
        if (bytes[i] == ' ' && !removes) {
            put_space(z);
        } else if (bytes[i] == ' ') {
            if (keeps || (!z->owed && (z->begun || z->n > 0)))
                z->owed++;
        } else {
            for (; z->owed; z->owed--)
                put_space(z);
            z->out[z->n++] = bytes[i];
            keeps = z->whole;
        }
    }
}

/* The beginning of text[0..length) and what it turns into; returns the bytes consumed. */
static uint64_t normal_piece(normalizer *z, const uint8_t *text, uint64_t length,
                             const uint8_t **out, uint64_t *n, uint64_t *steps) {
    const sm_tokenizer *t = z->t;
    z->whole = false;
    *out = text;
    *n = plain_run(&t->charsmap, text, length);
    if (*n)
        return *n;
    uint32_t bytes;
    z->whole = t->woven.first[*text] != t->woven.first[*text + 1] &&
               sm_find_special(t, &t->woven, text, length, &bytes, steps) != SM_NO_ID;
    if (z->whole)
        return *n = bytes; /* user-defined pieces stay as they are */
    uint64_t used = normalize_prefix(&t->charsmap, text, length, out, n);
    if (*out == not_utf8 && t->kind != SM_TOKENIZER_UNIGRAM)
        *out = text, *n = used; /* there are bytes for it */
    return used;
}

/* What literal signs for a space leave at the end, where spaces are removed. */
static void drop_spaces(normalizer *z) {
    uint64_t width = z->t->escape_whitespaces ? 3 : 1;
    const char *space = width == 3 ? SM_LOWER_BLOCK : " ";
    while (z->n >= width && memcmp(z->out + z->n - width, space, (size_t)width) == 0)
        z->n -= width;
}

bool sm_normal_ends_with_space(const sm_tokenizer *t, const uint8_t *text, uint64_t length) {
    const uint8_t *bytes;
    uint64_t last = length - 1, n;
    while (last > 0 && length - last < 4 && (text[last] & 0xC0) == 0x80)
        last--;
    (void)normalize_prefix(&t->charsmap, text + last, length - last, &bytes, &n);
    return n > 0 && bytes[n - 1] == ' ';
}

sm_status sm_normalize(sm_encoder *encoder, const uint8_t *text, uint64_t length, uint64_t *n) {
    const sm_tokenizer *t = encoder->tokenizer;
    const bool first = t->add_space_prefix && !encoder->joined,
               removes = t->remove_extra_whitespaces;
    normalizer z = {
        .t = t, .begun = encoder->joined, .owed = removes && (first || encoder->after_space)};
    bool prefix = first && !removes;
    for (uint64_t i = 0; i < length;) {
        const uint8_t *bytes;
        uint64_t more, steps = NORMAL_STEPS;
        i += normal_piece(&z, text + i, length - i, &bytes, &more, &steps);
        z.out = sm_scratch_reserve(encoder, &encoder->normal, z.n, z.n + 4 * (more + z.owed) + 4);
        if (!z.out || !sm_pace_step(&encoder->pace, more + steps))
            return sm_encoder_fail(encoder);
        if (prefix)
            put_space(&z);
        prefix = false;
        put_normal(&z, bytes, more);
    }
    if (t->remove_extra_whitespaces)
        drop_spaces(&z);
    *n = z.n;
    return SM_OK;
}

/* ---- unigram ------------------------------------------------------------- */

/* Best way to reach a position. Where two ways are equally likely the rounding of their sums
 * decides: so these are, as SentencePiece's, of single precision and of all that is in front,
 * too. */
typedef struct best {
    float score;
    uint32_t from;
    uint32_t id; /* SM_NO_ID: by an unknown character */
} best;

#define RESET_AT 100000.0F /* a sum beyond it starts anew from 0, as SentencePiece 0.2.3 has it */

/* Takes what position `from` has from all that was reached, which ends at `end`. */
static void start_anew(best *path, uint32_t from, uint32_t end) {
    const float offset = path[from].score;
    for (uint32_t i = from; i <= end; i++)
        if (path[i].score > -FLT_MAX)
            path[i].score -= offset;
}

static void offer(best *at, float score, uint32_t from, uint32_t id) {
    if (score > at->score)
        *at = (best){score, from, id};
}

/* Scores all paths through the word; every character can at least be unknown. */
static sm_status viterbi(sm_encoder *encoder, const uint8_t *word, uint32_t length, best *path) {
    const sm_tokenizer *t = encoder->tokenizer;
    uint64_t at = 0, stop;
    while ((stop = sm_pace_block(&encoder->pace, at, length)) > at)
        for (; at < stop; at++)
            path[at + 1] = (best){-FLT_MAX, 0, SM_NO_ID};
    if (at < length)
        return sm_encoder_fail(encoder);
    path[0] = (best){encoder->reached, 0, SM_NO_ID};
    for (uint32_t i = 0, end = 0; i < length;) {
        uint32_t code, width = sm_utf8_decode(word + i, length - i, &code), id, bytes;
        bool known = false;
        if (fabsf(path[i].score) > RESET_AT)
            start_anew(path, i, end);
        sm_prefix_walk walk;
        sm_prefixes_start(&t->words, word[i], &walk);
        while ((id = sm_prefixes_next(&t->words, &t->text, word + i, length - i, &walk, &bytes)) !=
               SM_NO_ID) {
            known |= bytes == width;
            end = i + bytes > end ? i + bytes : end;
            double score = (double)t->score[id];
            if (t->type[id] == SM_TOKEN_USER_DEFINED) /* SentencePiece's bonus */
                score = 0.1 * (bytes - 1);
            offer(&path[i + bytes], (float)((double)path[i].score + score), i, id);
        }
        if (!known)
            offer(&path[i + width], path[i].score + t->unknown_score, i, SM_NO_ID);
        i += width;
        end = i > end ? i : end;
        sm_status status = sm_encoder_step(encoder, NORMAL_STEPS + walk.depth);
        if (status)
            return status;
    }
    return SM_OK;
}

/* Appends the ids of an unknown character: its bytes where the vocabulary has
 * them, else the unknown token, once for several characters in a row. */
static uint64_t put_unknown(const sm_tokenizer *t, const uint8_t *bytes, uint32_t length,
                            int32_t *ids, uint64_t n) {
    for (uint32_t i = 0; i < length; i++)
        if (t->byte_id[bytes[i]] == SM_NO_ID) {
            if (t->unk >= 0 && (n == 0 || ids[n - 1] != t->unk))
                ids[n++] = t->unk;
            return n;
        }
    for (uint32_t i = 0; i < length; i++)
        ids[n++] = (int32_t)t->byte_id[bytes[length - 1 - i]]; /* backwards, as all here */
    return n;
}

sm_status sm_unigram_word(sm_encoder *encoder, const uint8_t *word, uint64_t length, int32_t **ids,
                          uint64_t *n) {
    *n = 0;
    if (length > UINT32_MAX / 4)
        return sm_fail(encoder->error, SM_ERR_UNSUPPORTED,
                       "%llu bytes without a place to split are too long for the tokenizer",
                       (unsigned long long)length);
    *ids = sm_scratch_reserve(encoder, &encoder->found, 0, length * sizeof **ids);
    best *path = sm_scratch_reserve(encoder, &encoder->symbols, 0, (length + 1) * sizeof *path);
    if (!*ids || !path)
        return sm_encoder_fail(encoder);
    const sm_tokenizer *t = encoder->tokenizer;
    sm_status status = viterbi(encoder, word, (uint32_t)length, path);
    encoder->reached = path[length].score;
    for (uint32_t at = (uint32_t)length; at > 0 && !status; at = path[at].from) {
        status = sm_encoder_step(encoder, NORMAL_STEPS);
        if (path[at].id != SM_NO_ID)
            (*ids)[(*n)++] = (int32_t)path[at].id;
        else
            *n = put_unknown(t, word + path[at].from, at - path[at].from, *ids, *n);
    }
    uint64_t i = 0, stop;
    while ((stop = sm_pace_block(&encoder->pace, i, *n / 2)) > i)
        for (; i < stop; i++) {
            int32_t swap = (*ids)[i];
            (*ids)[i] = (*ids)[*n - 1 - i];
            (*ids)[*n - 1 - i] = swap;
        }
    return status ? status : sm_encoder_step(encoder, 0);
}

/* ---- WordPiece ----------------------------------------------------------- */

sm_status sm_wordpiece_word(sm_encoder *encoder, const uint8_t *word, uint64_t length,
                            int32_t **ids, uint64_t *n) {
    const sm_tokenizer *t = encoder->tokenizer;
    uint64_t total = length + 3;
    uint8_t *marked = sm_scratch_reserve(encoder, &encoder->shadow, 0, total);
    *ids = sm_scratch_reserve(encoder, &encoder->found, 0, total * sizeof **ids);
    *n = 0;
    if (!marked || !*ids)
        return sm_encoder_fail(encoder);
    memcpy(marked, SM_LOWER_BLOCK, 3); /* the vocabulary writes it before a word's first piece */
    memcpy(marked + 3, word, (size_t)length);
    uint64_t steps = 0;
    for (uint64_t i = 0; i < total;) {
        uint32_t found = SM_NO_ID, used = 0, id, bytes;
        sm_prefix_walk walk;
        sm_prefixes_start(&t->words, marked[i], &walk);
        while ((id = sm_prefixes_next(&t->words, &t->text, marked + i, total - i, &walk, &bytes)) !=
               SM_NO_ID) {
            found = id;
            used = bytes;
        }
        if (found == SM_NO_ID) { /* a word that does not come out whole is unknown */
            (*ids)[0] = t->unk;
            *n = t->unk >= 0;
            return SM_OK;
        }
        (*ids)[(*n)++] = (int32_t)found;
        i += used;
        steps += NORMAL_STEPS + walk.depth;
    }
    return sm_encoder_step(encoder, steps);
}

#define MAX_WORD 100 /* characters: max_input_chars_per_word of BERT's tokenizer.json */

typedef struct word_builder {
    sm_encoder *encoder;
    uint64_t n; /* bytes */
    uint8_t word[4 * MAX_WORD];
    uint64_t chars; /* those past MAX_WORD are only counted; not beside n, lest both be read in
                     * one when one of them has just been written, which has to wait */
} word_builder;

static sm_status end_word(word_builder *b) {
    int32_t unk = b->encoder->tokenizer->unk;
    sm_status status = SM_OK;
    if (b->chars > MAX_WORD)
        status = sm_encoder_put(b->encoder, &unk, unk >= 0);
    else if (b->n)
        status = sm_encoder_word(b->encoder, b->word, b->n, sm_wordpiece_word);
    b->n = b->chars = 0;
    return status;
}

static void append(word_builder *b, uint32_t code) {
    if (b->chars++ < MAX_WORD)
        b->n += sm_utf8_encode(code, b->word + b->n);
}

/* One character after decomposition. */
static sm_status add_normal(word_builder *b, uint32_t code) {
    const sm_tokenizer *t = b->encoder->tokenizer;
    uint32_t class = sm_char_class(code);
    bool white = class & SM_CHAR_SPACE &&
                 (!(class & SM_CHAR_CONTROL) || code == '\t' || class & SM_CHAR_NEWLINE);
    if (white)
        return end_word(b);
    if (code == 0 || code == 0xFFFD || class & SM_CHAR_CONTROL ||
        (t->strip_accents && class & SM_CHAR_MN))
        return SM_OK; /* form feed and the like are dropped, not white space */
    bool alone =
        class & SM_CHAR_PUNCT || (code < 0x80 && class & SM_CHAR_SYMBOL) || sm_is_ideograph(code);
    sm_status status = alone ? end_word(b) : SM_OK;
    if (t->lowercase)
        code = sm_lower_of(code);
    if (status)
        return status;
    append(b, code);
    return alone ? end_word(b) : SM_OK;
}

static sm_status add_character(word_builder *b, uint32_t code) {
    if (code < 0x80 || !b->encoder->tokenizer->strip_accents)
        return add_normal(b, code);
    uint32_t parts[SM_MOST_PARTS];
    const uint32_t n = sm_decompose(code, parts);
    sm_status status = SM_OK;
    for (uint32_t i = 0; i < n && !status; i++)
        status = add_normal(b, parts[i]);
    return status;
}

/* Takes the run of ASCII letters and digits, maybe empty, that text begins with; its length. */
static uint64_t append_ascii(word_builder *b, const uint8_t *text, uint64_t length) {
    uint8_t fold = b->encoder->tokenizer->lowercase ? 0x20 : 0; /* digits have that bit anyway */
    const uint64_t most = length < STEP_BYTES ? length : STEP_BYTES;
    const uint64_t room = b->chars < MAX_WORD ? MAX_WORD - b->chars : 0;
    uint8_t *word = b->word + b->n;
    uint64_t run = 0;
    for (; run < most && text[run] < 0x80 &&
           sm_char_ascii[text[run]] & (SM_CHAR_LETTER | SM_CHAR_NUMBER);
         run++)
        if (run < room)
            word[run] = text[run] | fold;
    b->chars += run;
    b->n += run < room ? run : room;
    return run;
}

sm_status sm_wordpiece_fragment(sm_encoder *encoder, const uint8_t *text, uint64_t length) {
    word_builder b;
    b.encoder = encoder;
    b.n = b.chars = 0;
    sm_status status = SM_OK;
    for (uint64_t i = 0, steps = 0; i < length && !status;) {
        uint32_t code;
        uint64_t run = append_ascii(&b, text + i, length - i);
        i += run;
        if (i == length)
            break;
        i += sm_utf8_decode(text + i, length - i, &code);
        if (!sm_pace_add(&encoder->pace, &steps, run + NORMAL_STEPS))
            return sm_encoder_fail(encoder);
        if (code != UINT32_MAX) /* BERT's clean-up drops what is no character */
            status = add_character(&b, code);
    }
    return status ? status : end_word(&b);
}
