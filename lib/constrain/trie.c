/* trie.c - the texts of a vocabulary's tokens, for masks. */
#include "trie.h"

#include <string.h>

const uint8_t sm_slice_lengths[SM_SLICE_LENGTHS] = {1, 2, 3, 4, 6, 8, 12, 20, 32, 254};

bool sm_slice_has(uint32_t slice, uint32_t code) {
    if (code >= 0x80)
        return code <= 0x10FFFF;
    if (slice == 0) /* what JSON strings hold unescaped */
        return code >= 0x20 && code != '"' && code != '\\';
    const char low = lower_ascii((char)code);
    return (low >= 'a' && low <= 'z') || (code >= '0' && code <= '9') || code == ' ';
}

uint32_t sm_byte_group(uint8_t byte) {
    static const char alone[] = "\"\\/<>{}[],:.-_'()=";
    const char *at = byte ? strchr(alone, byte) : NULL;
    if (at)
        return 11 + (uint32_t)(at - alone);
    if (byte >= 0x80)
        return 29;
    if (byte < 0x20 || byte == 0x7F)
        return byte == '\n' || byte == '\r' || byte == '\t' ? 1 : 0;
    if (byte >= '0' && byte <= '9')
        return 2;
    if (byte >= 'a' && byte <= 'z')
        return byte > 's' ? 6 : byte > 'm' ? 5 : byte > 'f' ? 4 : 3;
    if (byte >= 'A' && byte <= 'Z')
        return byte > 'F' ? 8 : 7;
    return byte == ' ' ? 9 : 10;
}

static bool is_broken(sm_str text) {
    for (uint64_t i = 0; i < text.length;) {
        uint32_t code;
        const uint64_t n = sm_utf8_decode((const uint8_t *)text.data + i, text.length - i, &code);
        if (code > 0x10FFFF)
            return true;
        i += n;
    }
    return !text.length;
}

/* Characters of a text that is plain; 255: it is not, or has more than 254. */
static uint8_t plain_length(uint32_t slice, sm_str text) {
    uint32_t n = 0;
    for (uint64_t i = 0; i < text.length; n++) {
        uint32_t code;
        i += sm_utf8_decode((const uint8_t *)text.data + i, text.length - i, &code);
        if (!sm_slice_has(slice, code) || n == 254)
            return 255;
    }
    return (uint8_t)n;
}

/* ---- order (trie.c) -------------------------------------------------------------------------- */

static bool before(const sm_trie *t, int32_t a, int32_t b) {
    const sm_str x = t->text[a], y = t->text[b];
    const int order = memcmp(x.data, y.data, (size_t)min_u64(x.length, y.length));
    return order ? order < 0 : x.length != y.length ? x.length < y.length : a < b;
}

static void sift(const sm_trie *t, int32_t *ids, uint32_t n, uint32_t i) {
    for (;;) {
        uint32_t last = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (before(t, ids[last], ids[child]))
                last = child;
        if (last == i)
            return;
        const int32_t swap = ids[i];
        ids[i] = ids[last];
        ids[last] = swap;
        i = last;
    }
}

static void sort(const sm_trie *t, int32_t *ids, uint32_t n) {
    for (uint32_t i = n / 2; i-- > 0;)
        sift(t, ids, n, i);
    for (uint32_t end = n; end-- > 1;) {
        const int32_t swap = ids[0];
        ids[0] = ids[end];
        ids[end] = swap;
        sift(t, ids, end, 0);
    }
}

/* ---- the tree (trie.c) ----------------------------------------------------------------------- */

static uint32_t common(sm_str a, sm_str b) {
    uint32_t n = 0;
    while (n < a.length && n < b.length && a.data[n] == b.data[n])
        n++;
    return n;
}

/* Twigs of sorted ids, in the order of their bytes; with twigs NULL only counts. */
static uint32_t grow(sm_trie *t, const int32_t *ids, uint32_t n, sm_twig *twigs) {
    uint32_t count = 1;
    int32_t last = -1;
    if (twigs)
        twigs[0] = (sm_twig){.token = -1};
    for (uint32_t i = 0; i < n; i++) {
        const sm_str text = t->text[ids[i]];
        const uint32_t shared = i ? common(t->text[ids[i - 1]], text) : 0;
        if (i && shared == text.length) { /* the same text once more */
            if (twigs)
                t->same[last] = ids[i];
            last = ids[i];
            continue;
        }
        for (uint32_t d = shared; d < text.length; d++, count++)
            if (twigs)
                twigs[count] = (sm_twig){.depth = (uint16_t)(d + 1),
                                         .byte = (uint8_t)text.data[d],
                                         .token = d + 1 == text.length ? ids[i] : -1};
        last = ids[i];
    }
    return count;
}

/* Where each twig ends: at the next one that is as deep or less. open: [max_depth + 1]. */
static void close_twigs(sm_twig *twigs, uint32_t n, uint32_t *open) {
    uint32_t last = 0;
    for (uint32_t i = 0; i <= n; i++) {
        const uint32_t depth = i < n ? twigs[i].depth : 0;
        for (uint32_t d = depth; i > 0 && d <= last; d++)
            twigs[open[d]].end = i;
        if (i < n)
            open[depth] = i;
        last = depth;
    }
}

static void find_needs(const sm_trie *t, uint32_t slice, sm_twig *twigs, uint32_t n) {
    for (uint32_t i = n; i-- > 0;) {
        uint8_t need = twigs[i].token < 0 ? 0 : plain_length(slice, t->text[twigs[i].token]);
        for (uint32_t child = i + 1; child < twigs[i].end; child = twigs[child].end)
            need = need > twigs[child].need ? need : twigs[child].need;
        twigs[i].need = need;
    }
}

static void find_groups(const sm_trie *t, sm_twig *twigs, uint32_t n) {
    for (uint32_t i = n; i-- > 0;) {
        uint32_t groups =
            twigs[i].token >= 0 && is_broken(t->text[twigs[i].token]) ? SM_GROUP_BROKEN : 0;
        for (uint32_t child = i + 1; child < twigs[i].end; child = twigs[child].end) {
            groups |= (twigs[child].below & ~SM_GROUP_INSIDE) | t->group[twigs[child].byte];
            if (twigs[child].byte >= 0x80 && twigs[child].byte < 0xC0)
                groups |= SM_GROUP_INSIDE;
        }
        twigs[i].below = groups;
    }
}

/* Children of a twig on top of the pile, so that the most needy is taken first. */
static uint32_t pile_children(const sm_twig *from, uint32_t i, uint32_t *pile, uint32_t n) {
    const uint32_t begin = n;
    for (uint32_t child = i + 1; child < from[i].end; child = from[child].end) {
        uint32_t at = n++;
        for (; at > begin && from[pile[at - 1]].need >= from[child].need; at--)
            pile[at] = pile[at - 1];
        pile[at] = child;
    }
    return n;
}

/* The same tree with the most needy first among the children of each. */
static void reorder(const sm_twig *from, sm_twig *to, uint32_t *pile) {
    uint32_t n = 1, made = 0;
    pile[0] = 0;
    while (n > 0) {
        const uint32_t i = pile[--n];
        to[made] = from[i];
        to[made].end = made + (from[i].end - i);
        made++;
        n = pile_children(from, i, pile, n);
    }
}

/* ---- masks (trie.c) -------------------------------------------------------------------------- */

static void fill_plain(sm_trie *t, uint32_t slice) {
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        if (!t->text[id].length)
            continue;
        const uint8_t length = plain_length(slice, t->text[id]);
        for (uint32_t k = 0; k < SM_SLICE_LENGTHS; k++)
            if (length <= sm_slice_lengths[k])
                t->plain[slice][(uint64_t)k * t->n_words + id / 32] |= 1U << id % 32;
    }
}

static void fill_holding(sm_trie *t) {
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        const sm_str text = t->text[id];
        uint32_t *bits = t->holding + id / 32;
        const uint32_t bit = 1U << id % 32;
        for (uint64_t i = 0; i < text.length; i++) {
            const uint8_t byte = (uint8_t)text.data[i];
            if (byte < 0x80)
                bits[(uint64_t)byte * t->n_words] |= bit;
            bits[(128ULL + sm_byte_group(byte)) * t->n_words] |= bit;
        }
        if (!text.length)
            bits[(128ULL + 29) * t->n_words] |= bit;
        if (!is_broken(text))
            continue;
        bits[(128ULL + 30) * t->n_words] |= bit;
        if (text.length)
            t->broken[t->n_broken++] = (int32_t)id;
    }
}

/* ---- making and keeping (trie.c) ------------------------------------------------------------- */

static void trie_free(void *trie) {
    sm_trie *t = trie;
    sm_mem *mem = t->mem;
    for (uint32_t i = 0; i < SM_SLICES; i++) {
        sm_free(mem, t->twigs[i]);
        sm_free(mem, t->plain[i]);
    }
    void *const blocks[] = {t->broken, t->holding, t->same, t->ends, t->text, t->marked, t};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        sm_free(mem, blocks[i]);
}

/* Texts of all tokens that may come: of control tokens 0xFF and their name. */
static bool take_texts(sm_trie *t, const sm_tokenizer *tokenizer) {
    uint64_t room = 0, n;
    for (uint32_t id = 0; id < t->n_vocab; id++)
        if (sm_tokenizer_silent_text(tokenizer, (int32_t)id, &n))
            room += n + 1;
    t->marked = sm_alloc(t->mem, room + 1);
    uint8_t *at = t->marked;
    for (uint32_t id = 0; at && id < t->n_vocab; id++) {
        t->same[id] = -1;
        if (sm_tokenizer_is_end(tokenizer, (int32_t)id)) {
            t->ends[id / 32] |= 1U << id % 32;
            continue;
        }
        const char *text = sm_tokenizer_silent_text(tokenizer, (int32_t)id, &n);
        if (text) {
            *at = 0xFF;
            memcpy(at + 1, text, (size_t)n);
            t->text[id] = (sm_str){(const char *)at, n + 1};
            at += n + 1;
        } else if ((text = sm_tokenizer_inner_text(tokenizer, (int32_t)id, &n)) != NULL) {
            t->text[id] = (sm_str){text, n};
        }
        t->max_depth = (uint32_t)max_u64(t->max_depth, t->text[id].length);
    }
    return at != NULL;
}

static bool make_trees(sm_trie *t, int32_t *ids, uint32_t n) {
    sort(t, ids, n);
    t->n_twigs = grow(t, ids, n, NULL);
    sm_twig *plain = sm_alloc_array(t->mem, t->n_twigs, sizeof *plain);
    uint32_t *pile = sm_alloc_array(t->mem, max_u64(t->n_twigs, t->max_depth + 2ULL), sizeof *pile);
    t->holding = sm_alloc_zero(t->mem, (uint64_t)SM_HOLDING * t->n_words * 4);
    t->broken = sm_alloc_array(t->mem, t->n_vocab, sizeof *t->broken);
    bool sound = plain && pile && t->holding && t->broken;
    if (sound) {
        grow(t, ids, n, plain);
        close_twigs(plain, t->n_twigs, pile);
        for (uint32_t b = 0; b < 256; b++)
            t->group[b] = 1U << sm_byte_group((uint8_t)b);
        find_groups(t, plain, t->n_twigs);
        fill_holding(t);
    }
    for (uint32_t i = 0; sound && i < SM_SLICES; i++) {
        t->twigs[i] = sm_alloc_array(t->mem, t->n_twigs, sizeof *plain);
        t->plain[i] = sm_alloc_zero(t->mem, (uint64_t)SM_SLICE_LENGTHS * t->n_words * 4);
        sound = t->twigs[i] && t->plain[i];
        if (!sound)
            break;
        find_needs(t, i, plain, t->n_twigs);
        reorder(plain, t->twigs[i], pile);
        fill_plain(t, i);
    }
    sm_free(t->mem, plain);
    sm_free(t->mem, pile);
    return sound;
}

static sm_trie *make(const sm_tokenizer *tokenizer, sm_mem *mem) {
    sm_trie *t = sm_alloc_zero(mem, sizeof *t);
    if (!t)
        return NULL;
    t->mem = mem;
    t->n_vocab = (uint32_t)sm_tokenizer_n_vocab(tokenizer);
    t->n_words = (t->n_vocab + 31) / 32;
    t->same = sm_alloc_array(mem, t->n_vocab, sizeof *t->same);
    t->ends = sm_alloc_zero(mem, t->n_words * 4ULL);
    t->text = sm_alloc_zero(mem, t->n_vocab * sizeof *t->text);
    int32_t *ids = sm_alloc_array(mem, t->n_vocab, sizeof *ids);
    bool sound = t->same && t->ends && t->text && ids && take_texts(t, tokenizer);
    uint32_t n = 0;
    for (uint32_t id = 0; sound && id < t->n_vocab; id++)
        if (t->text[id].length)
            ids[n++] = (int32_t)id;
    sound = sound && make_trees(t, ids, n);
    sm_free(mem, ids);
    if (!sound)
        trie_free(t);
    return sound ? t : NULL;
}

sm_status sm_trie_of(const sm_trie **out, const sm_tokenizer *tokenizer, sm_error *error) {
    sm_tokenizer_info info = {.struct_size = sizeof info};
    *out = sm_tokenizer_extra(tokenizer);
    if (*out)
        return SM_OK;
    const sm_status status = sm_tokenizer_get_info(tokenizer, &info, error);
    if (status)
        return status;
    if (info.kind == SM_TOKENIZER_WORDPIECE)
        return sm_fail(
            error, SM_ERR_UNSUPPORTED,
            "constraints: WordPiece vocabularies, whose tokens are no pieces of text, are "
            "not supported");
    sm_trie *made = make(tokenizer, sm_tokenizer_mem(tokenizer));
    if (!made)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a table of %d tokens", info.n_vocab);
    *out = sm_tokenizer_set_extra(tokenizer, made, trie_free);
    return SM_OK;
}
