/* Reading tokenizer.json: normalizers, pre-tokenizers, decoders, post-processors. */
#include "steps_read.h"

#define MAX_NESTING 8

/* ---- lists of components --------------------------------------------------------------------- */

/* Walks a component and, where it is a Sequence, what it is made of, at any depth. */
typedef struct walk {
    const char *list; /* name of a sequence's array */
    sm_json_value array[MAX_NESTING], item[MAX_NESTING];
    uint32_t index[MAX_NESTING];
    uint32_t depth;
    char place[SM_STEPS_PLACE];
    size_t base[MAX_NESTING]; /* length of the place of the array's owner */
} walk;

static bool is_sequence(const sm_steps_reader *r, sm_json_value value) {
    return sm_json_is(r->json, sm_json_get(r->json, value, "type"), "Sequence");
}

/* Goes into sequences until a component of another kind; SM_JSON_NONE at the end or on failure. */
static sm_json_value settle(sm_steps_reader *r, walk *w, sm_json_value value) {
    for (;;) {
        while (value == SM_JSON_NONE) { /* the array is at its end */
            if (w->depth == 0)
                return SM_JSON_NONE;
            const uint32_t d = w->depth - 1;
            w->item[d] = w->index[d] == UINT32_MAX ? sm_json_first(r->json, w->array[d])
                                                   : sm_json_next(r->json, w->array[d], w->item[d]);
            w->index[d]++;
            value = w->item[d];
            if (value == SM_JSON_NONE)
                w->depth--;
            else
                (void)sm_format(w->place + w->base[d], sizeof w->place - w->base[d], ".%s[%u]",
                                w->list, w->index[d]);
        }
        if (!is_sequence(r, value))
            return value;
        const sm_json_value array = sm_json_get(r->json, value, w->list);
        if (sm_json_kind_of(r->json, array) != SM_JSON_ARRAY) {
            sm_steps_broken(r, w->place, "a Sequence without its list");
            return SM_JSON_NONE;
        }
        if (w->depth == MAX_NESTING || strlen(w->place) > SM_STEPS_PLACE - 40) {
            sm_steps_refuse(r, w->place, "a Sequence so deep");
            return SM_JSON_NONE;
        }
        w->array[w->depth] = array;
        w->index[w->depth] = UINT32_MAX;
        w->base[w->depth] = strlen(w->place);
        w->depth++;
        value = SM_JSON_NONE;
    }
}

static sm_json_value first_part(sm_steps_reader *r, walk *w, sm_json_value value, const char *place,
                                const char *list) {
    memset(w, 0, sizeof *w);
    w->list = list;
    (void)sm_format(w->place, sizeof w->place, "%s", place);
    const sm_json_kind kind = sm_json_kind_of(r->json, value);
    if (kind == SM_JSON_ABSENT || kind == SM_JSON_NULL)
        return SM_JSON_NONE;
    return settle(r, w, value);
}

static sm_json_value next_part(sm_steps_reader *r, walk *w) {
    return r->status ? SM_JSON_NONE : settle(r, w, SM_JSON_NONE);
}

typedef bool (*part_fn)(sm_steps_reader *r, sm_json_value value, const char *place);

typedef struct part_kind {
    const char *name;
    part_fn read;
} part_kind;

static bool read_part(sm_steps_reader *r, const part_kind *kinds, size_t n, sm_json_value value,
                      const char *place) {
    const sm_json_value type = sm_json_get(r->json, value, "type");
    char what[96];
    uint64_t length;
    const char *name = sm_json_text(r->json, type, &length);
    if (sm_json_kind_of(r->json, type) != SM_JSON_STRING)
        return sm_steps_broken(r, place, "a component without a type");
    for (size_t i = 0; i < n; i++)
        if (sm_json_is(r->json, type, kinds[i].name))
            return kinds[i].read(r, value, place);
    (void)sm_format(what, sizeof what, "type \"%.*s\"", length < 64 ? (int)length : 64, name);
    return sm_steps_refuse(r, place, what);
}

static bool read_parts(sm_steps_reader *r, const part_kind *kinds, size_t n, sm_json_value value,
                       const char *place, const char *list) {
    walk w;
    for (sm_json_value part = first_part(r, &w, value, place, list); part != SM_JSON_NONE;
         part = next_part(r, &w))
        if (!read_part(r, kinds, n, part, w.place))
            return false;
    return !r->status;
}

#define READ_PARTS(r, kinds, value, place, list) \
    read_parts(r, kinds, sizeof(kinds) / sizeof *(kinds), value, place, list)

/* ---- patterns -------------------------------------------------------------------------------- */

/* {"String": …} or {"Regex": …}: what it is, and which. */
static bool pattern_text(sm_steps_reader *r, sm_json_value object, const char *place, bool *regex,
                         sm_str *text) {
    const sm_json_value pattern = sm_json_get(r->json, object, "pattern");
    char inner[SM_STEPS_PLACE];
    (void)sm_format(inner, sizeof inner, "%s.pattern", place);
    *regex = sm_json_get(r->json, pattern, "Regex") != SM_JSON_NONE;
    return sm_steps_text(r, pattern, inner, *regex ? "Regex" : "String", NULL, text);
}

static bool read_pattern(sm_steps_reader *r, sm_json_value object, const char *place,
                         sm_pattern **out) {
    bool regex;
    sm_str text;
    char inner[SM_STEPS_PLACE];
    if (!pattern_text(r, object, place, &regex, &text))
        return false;
    (void)sm_format(inner, sizeof inner, "%s.pattern", place);
    const sm_status status =
        regex ? sm_pattern_new(out, r->mem, text, SM_DIALECT_ONIGURUMA, inner, r->error)
              : sm_pattern_new_literal(out, r->mem, text, r->error);
    r->status = r->status ? r->status : status;
    return !status;
}

/* ---- normalizers ----------------------------------------------------------------------------- */

static sm_clean *new_clean(sm_steps_reader *r, const char *place, sm_clean_op op) {
    if (r->steps->n_clean == SM_STEPS_MAX_STEPS) {
        sm_steps_refuse(r, place, "a list of so many steps");
        return NULL;
    }
    sm_clean *c = &r->steps->clean[r->steps->n_clean++];
    c->op = op;
    return c;
}

static bool clean_form(sm_steps_reader *r, const char *place, sm_clean_op op, bool compatible) {
    sm_clean *c = new_clean(r, place, op);
    if (c)
        c->compatible = compatible;
    return c != NULL;
}

static bool clean_nfc(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)value;
    return clean_form(r, place, CLEAN_COMPOSE, false);
}

static bool clean_nfd(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)value;
    return clean_form(r, place, CLEAN_DECOMPOSE, false);
}

static bool clean_nfkc(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)value;
    return clean_form(r, place, CLEAN_COMPOSE, true);
}

static bool clean_nfkd(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)value;
    return clean_form(r, place, CLEAN_DECOMPOSE, true);
}

static bool clean_lowercase(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)value;
    return new_clean(r, place, CLEAN_LOWER) != NULL;
}

static bool clean_accents(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)value;
    return new_clean(r, place, CLEAN_DROP_MARKS) != NULL;
}

static bool clean_nmt(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)value;
    return new_clean(r, place, CLEAN_NMT) != NULL;
}

static bool clean_bytes(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)value;
    return new_clean(r, place, CLEAN_BYTES) != NULL;
}

static bool clean_strip(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_clean *c = new_clean(r, place, CLEAN_STRIP);
    return c && sm_steps_bool(r, value, place, "strip_left", true, &c->left) &&
           sm_steps_bool(r, value, place, "strip_right", true, &c->right);
}

static bool clean_replace(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_clean *c = new_clean(r, place, CLEAN_REPLACE);
    return c && read_pattern(r, value, place, &c->pattern) &&
           sm_steps_copy(r, value, place, "content", NULL, &c->text);
}

static bool clean_prepend(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_clean *c = new_clean(r, place, CLEAN_PREPEND);
    return c && sm_steps_copy(r, value, place, "prepend", NULL, &c->text);
}

static bool clean_bert(sm_steps_reader *r, sm_json_value value, const char *place) {
    bool controls, ideographs, lower, accents;
    if (!sm_steps_bool(r, value, place, "clean_text", true, &controls) ||
        !sm_steps_bool(r, value, place, "handle_chinese_chars", true, &ideographs) ||
        !sm_steps_bool(r, value, place, "lowercase", true, &lower) ||
        !sm_steps_bool(r, value, place, "strip_accents", lower, &accents))
        return false;
    if ((controls && !new_clean(r, place, CLEAN_CONTROLS)) ||
        (ideographs && !new_clean(r, place, CLEAN_IDEOGRAPHS)) ||
        (accents && !clean_form(r, place, CLEAN_DECOMPOSE, false)))
        return false;
    sm_clean *marks = accents ? new_clean(r, place, CLEAN_DROP_MARKS) : NULL;
    if (marks)
        marks->only_mn = true;
    return (!accents || marks) && (!lower || new_clean(r, place, CLEAN_LOWER));
}

static int32_t base64_digit(char c) {
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

int64_t sm_base64(sm_str text, char *out) {
    while (text.length && text.data[text.length - 1] == '=')
        text.length--;
    uint32_t bits = 0, n_bits = 0;
    int64_t n = 0;
    for (uint64_t i = 0; i < text.length; i++) {
        const int32_t digit = base64_digit(text.data[i]);
        if (digit < 0)
            return -1;
        bits = bits << 6 | (uint32_t)digit;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[n++] = (char)(bits >> n_bits & 0xFF);
        }
    }
    return n;
}

static bool clean_charsmap(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_str text;
    sm_clean *c = new_clean(r, place, CLEAN_CHARSMAP);
    if (!c || !sm_steps_text(r, value, place, "precompiled_charsmap", NULL, &text))
        return false;
    char *bytes = sm_alloc(r->mem, text.length + 1);
    if (!bytes)
        return sm_steps_no_memory(r);
    const int64_t n = sm_base64(text, bytes);
    sm_error cause = {0};
    const sm_status status =
        n < 0 ? SM_ERR_FORMAT
              : sm_charsmap_build(&c->charsmap, r->mem, (sm_str){bytes, (uint64_t)n}, &cause);
    sm_free(r->mem, bytes);
    if (status == SM_ERR_NOMEM)
        return sm_steps_no_memory(r);
    return !status || sm_steps_broken(r, place, "a precompiled_charsmap that is none");
}

bool sm_steps_read_normalizer(sm_steps_reader *r, sm_json_value value) {
    static const part_kind kinds[] = {{"NFC", clean_nfc},
                                      {"NFD", clean_nfd},
                                      {"NFKC", clean_nfkc},
                                      {"NFKD", clean_nfkd},
                                      {"Lowercase", clean_lowercase},
                                      {"StripAccents", clean_accents},
                                      {"Strip", clean_strip},
                                      {"Replace", clean_replace},
                                      {"Prepend", clean_prepend},
                                      {"BertNormalizer", clean_bert},
                                      {"Precompiled", clean_charsmap},
                                      {"Nmt", clean_nmt},
                                      {"ByteLevel", clean_bytes}};
    return READ_PARTS(r, kinds, value, "normalizer", "normalizers");
}

/* ---- pre-tokenizers -------------------------------------------------------------------------- */

static sm_cut *new_cut(sm_steps_reader *r, const char *place, sm_cut_op op) {
    if (r->steps->n_cut == SM_STEPS_MAX_STEPS) {
        sm_steps_refuse(r, place, "a list of so many steps");
        return NULL;
    }
    sm_cut *c = &r->steps->cut[r->steps->n_cut++];
    c->op = op;
    return c;
}

static bool read_keep(sm_steps_reader *r, sm_json_value value, const char *place,
                      const char *otherwise, sm_cut_keep *keep) {
    static const char *const names[] = {[KEEP_ISOLATED] = "Isolated",
                                        [KEEP_REMOVED] = "Removed",
                                        [KEEP_CONTIGUOUS] = "Contiguous",
                                        [KEEP_WITH_PREVIOUS] = "MergedWithPrevious",
                                        [KEEP_WITH_NEXT] = "MergedWithNext"};
    sm_str name;
    if (!sm_steps_text(r, value, place, "behavior", otherwise, &name))
        return false;
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
        if (same_text(name.data, name.length, names[i])) {
            *keep = (sm_cut_keep)i;
            return true;
        }
    return sm_steps_refuse(r, place, "such a behavior");
}

/* Matches are single characters for which `holds`. */
static sm_cut *cut_held(sm_steps_reader *r, const char *place, bool (*holds)(uint32_t),
                        sm_cut_keep keep) {
    sm_cut *c = new_cut(r, place, CUT_SPLIT);
    if (!c)
        return NULL;
    c->holds = holds;
    c->keep = keep;
    for (uint32_t code = 0; code < 128; code++)
        c->ascii[code] = holds(code);
    return c;
}

static bool is_space(uint32_t code) {
    return (sm_char_class(code) & SM_CHAR_SPACE) != 0;
}

static bool add_pattern(sm_steps_reader *r, const char *place, const char *text, sm_cut_keep keep,
                        bool invert) {
    sm_cut *c = new_cut(r, place, CUT_SPLIT);
    if (!c)
        return false;
    const sm_str pattern = {text, strlen(text)};
    c->keep = keep;
    c->invert = invert;
    c->scan = keep == KEEP_ISOLATED ? sm_scan_of(pattern, c->ascii) : NULL;
    if (c->scan)
        return true;
    const sm_status status =
        sm_pattern_new(&c->pattern, r->mem, pattern, SM_DIALECT_FANCY, place, r->error);
    r->status = r->status ? r->status : status;
    return !status;
}

static bool cut_bytes(sm_steps_reader *r, sm_json_value value, const char *place) {
    static const char gpt2[] =
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    bool space, regex;
    if (!sm_steps_bool(r, value, place, "add_prefix_space", true, &space) ||
        !sm_steps_bool(r, value, place, "use_regex", true, &regex))
        return false;
    return (!space || new_cut(r, place, CUT_SPACE)) &&
           (!regex || add_pattern(r, place, gpt2, KEEP_ISOLATED, false)) &&
           new_cut(r, place, CUT_BYTES);
}

static bool cut_split(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_cut *c = new_cut(r, place, CUT_SPLIT);
    bool regex;
    sm_str text;
    if (!c || !pattern_text(r, value, place, &regex, &text) ||
        !read_keep(r, value, place, NULL, &c->keep) ||
        !sm_steps_bool(r, value, place, "invert", false, &c->invert))
        return false;
    if (regex && c->keep == KEEP_ISOLATED)
        c->scan = sm_scan_of(text, c->ascii);
    return c->scan || read_pattern(r, value, place, &c->pattern);
}

static bool cut_whitespace(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)value;
    return add_pattern(r, place, "[\\w\\x{200C}\\x{200D}]+|[^\\w\\s\\x{200C}\\x{200D}]+",
                       KEEP_REMOVED, true);
}

static bool cut_spaces(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)value;
    return cut_held(r, place, is_space, KEEP_REMOVED) != NULL;
}

static bool cut_digits(sm_steps_reader *r, sm_json_value value, const char *place) {
    bool each;
    return sm_steps_bool(r, value, place, "individual_digits", false, &each) &&
           cut_held(r, place, sm_old_number, each ? KEEP_ISOLATED : KEEP_CONTIGUOUS) != NULL;
}

static bool cut_punctuation(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_cut_keep keep;
    return read_keep(r, value, place, "Isolated", &keep) &&
           cut_held(r, place, sm_old_punctuation, keep) != NULL;
}

static bool cut_bert(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)value;
    return cut_held(r, place, is_space, KEEP_REMOVED) &&
           cut_held(r, place, sm_old_punctuation, KEEP_ISOLATED);
}

/* One character. */
static bool read_char(sm_steps_reader *r, sm_json_value value, const char *place, const char *name,
                      sm_str *out) {
    sm_str text;
    uint32_t code;
    if (!sm_steps_text(r, value, place, name, NULL, &text))
        return false;
    if (!text.length ||
        sm_utf8_decode((const uint8_t *)text.data, text.length, &code) != text.length)
        return sm_steps_broken(r, place, "what is not one character");
    return sm_steps_keep(r, text, out);
}

static bool read_literal(sm_steps_reader *r, sm_str text, sm_pattern **out) {
    const sm_status status = sm_pattern_new_literal(out, r->mem, text, r->error);
    r->status = r->status ? r->status : status;
    return !status;
}

static bool cut_delimiter(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_cut *c = new_cut(r, place, CUT_SPLIT);
    if (!c || !read_char(r, value, place, "delimiter", &c->text))
        return false;
    c->keep = KEEP_REMOVED;
    return read_literal(r, c->text, &c->pattern);
}

/* When a character is put in front. */
static bool read_front(sm_steps_reader *r, sm_json_value value, const char *place,
                       sm_cut_front *front) {
    static const char *const names[] = {
        [FRONT_ALWAYS] = "always", [FRONT_FIRST] = "first", [FRONT_NEVER] = "never"};
    sm_str name;
    bool space;
    if (!sm_steps_text(r, value, place, "prepend_scheme", "always", &name) ||
        !sm_steps_bool(r, value, place, "add_prefix_space", true, &space))
        return false;
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
        if (same_text(name.data, name.length, names[i])) {
            *front = space ? (sm_cut_front)i : FRONT_NEVER;
            return true;
        }
    return sm_steps_refuse(r, place, "such a prepend_scheme");
}

static bool cut_meta(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_cut *c = new_cut(r, place, CUT_META);
    bool splits;
    if (!c || !read_char(r, value, place, "replacement", &c->text) ||
        !read_front(r, value, place, &c->front) ||
        !sm_steps_bool(r, value, place, "split", true, &splits))
        return false;
    if (!splits)
        return true;
    sm_cut *s = new_cut(r, place, CUT_SPLIT);
    if (!s)
        return false;
    s->keep = KEEP_WITH_NEXT;
    return read_literal(r, c->text, &s->pattern);
}

static bool cut_length(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_cut *c = new_cut(r, place, CUT_LENGTH);
    if (!c || !sm_steps_u32(r, value, place, "length", 5, &c->length))
        return false;
    return c->length || sm_steps_broken(r, place, "a length of 0");
}

static bool cut_scripts(sm_steps_reader *r, sm_json_value value, const char *place) {
    static const char *const names[] = {"Han", "Hiragana", "Katakana"};
    sm_cut *c = new_cut(r, place, CUT_SCRIPTS);
    (void)value;
    for (uint32_t i = 0; c && i < 3; i++)
        c->scripts[i] = (uint32_t)sm_script_named(names[i], strlen(names[i]));
    return c != NULL;
}

bool sm_steps_read_pre_tokenizer(sm_steps_reader *r, sm_json_value value) {
    static const part_kind kinds[] = {{"ByteLevel", cut_bytes},
                                      {"Split", cut_split},
                                      {"Whitespace", cut_whitespace},
                                      {"WhitespaceSplit", cut_spaces},
                                      {"Metaspace", cut_meta},
                                      {"Digits", cut_digits},
                                      {"Punctuation", cut_punctuation},
                                      {"BertPreTokenizer", cut_bert},
                                      {"CharDelimiterSplit", cut_delimiter},
                                      {"UnicodeScripts", cut_scripts},
                                      {"FixedLength", cut_length}};
    return READ_PARTS(r, kinds, value, "pre_tokenizer", "pretokenizers");
}

/* ---- decoders -------------------------------------------------------------------------------- */

static sm_undo *new_undo(sm_steps_reader *r, const char *place, sm_undo_op op) {
    if (r->steps->n_undo == SM_STEPS_MAX_STEPS) {
        sm_steps_refuse(r, place, "a list of so many steps");
        return NULL;
    }
    sm_undo *u = &r->steps->undo[r->steps->n_undo++];
    u->op = op;
    return u;
}

static bool undo_bytes(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)value;
    return new_undo(r, place, UNDO_BYTES) != NULL;
}

static bool undo_fuse(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)value;
    return new_undo(r, place, UNDO_FUSE) != NULL;
}

static bool undo_fallback(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)value;
    return new_undo(r, place, UNDO_FALLBACK) != NULL;
}

static bool undo_meta(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_undo *u = new_undo(r, place, UNDO_META);
    sm_cut_front front;
    if (!u || !read_char(r, value, place, "replacement", &u->text) ||
        !read_front(r, value, place, &front))
        return false;
    u->front = front != FRONT_NEVER;
    return true;
}

static bool undo_wordpiece(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_undo *u = new_undo(r, place, UNDO_WORDPIECE);
    return u && sm_steps_copy(r, value, place, "prefix", "##", &u->text) &&
           sm_steps_bool(r, value, place, "cleanup", true, &u->cleanup);
}

static bool undo_suffix(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_undo *u = new_undo(r, place, UNDO_SUFFIX);
    return u && sm_steps_copy(r, value, place, "suffix", "</w>", &u->text);
}

static bool undo_ctc(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_undo *u = new_undo(r, place, UNDO_CTC);
    return u && sm_steps_copy(r, value, place, "pad_token", "<pad>", &u->text) &&
           sm_steps_copy(r, value, place, "word_delimiter_token", "|", &u->other) &&
           sm_steps_bool(r, value, place, "cleanup", true, &u->cleanup);
}

static bool undo_replace(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_undo *u = new_undo(r, place, UNDO_REPLACE);
    return u && read_pattern(r, value, place, &u->pattern) &&
           sm_steps_copy(r, value, place, "content", NULL, &u->other);
}

static bool undo_strip(sm_steps_reader *r, sm_json_value value, const char *place) {
    sm_undo *u = new_undo(r, place, UNDO_STRIP);
    if (!u || !read_char(r, value, place, "content", &u->text) ||
        !sm_steps_u32(r, value, place, "start", 0, &u->start) ||
        !sm_steps_u32(r, value, place, "stop", 0, &u->stop))
        return false;
    for (uint32_t i = 0; i + 1 < r->steps->n_undo; i++)
        u->fused |= r->steps->undo[i].op == UNDO_FUSE || r->steps->undo[i].op == UNDO_BYTES;
    return true;
}

bool sm_steps_read_decoder(sm_steps_reader *r, sm_json_value value) {
    static const part_kind kinds[] = {
        {"ByteLevel", undo_bytes},   {"Metaspace", undo_meta}, {"WordPiece", undo_wordpiece},
        {"BPEDecoder", undo_suffix}, {"CTC", undo_ctc},        {"Replace", undo_replace},
        {"Fuse", undo_fuse},         {"Strip", undo_strip},    {"ByteFallback", undo_fallback}};
    const sm_json_kind kind = sm_json_kind_of(r->json, value);
    r->steps->no_decoder = kind == SM_JSON_ABSENT || kind == SM_JSON_NULL;
    return READ_PARTS(r, kinds, value, "decoder", "decoders");
}

/* ---- post-processors ------------------------------------------------------------------------- */

static bool add_piece(sm_steps_reader *r, const char *place, sm_steps_template *to,
                      sm_steps_part part) {
    if (to->n == SM_STEPS_MAX_STEPS)
        return sm_steps_refuse(r, place, "a template of so many pieces");
    to->parts[to->n++] = part;
    return true;
}

static bool add_ids(sm_steps_reader *r, const int32_t *ids, uint32_t n, uint32_t *at) {
    sm_steps *hf = r->steps;
    int32_t *fresh = sm_alloc_array(r->mem, (uint64_t)hf->n_ids + n + 1, sizeof *fresh);
    if (!fresh)
        return sm_steps_no_memory(r);
    if (hf->n_ids)
        memcpy(fresh, hf->ids, hf->n_ids * sizeof *fresh);
    memcpy(fresh + hf->n_ids, ids, n * sizeof *fresh);
    sm_free(r->mem, hf->ids);
    hf->ids = fresh;
    *at = hf->n_ids;
    hf->n_ids += n;
    return true;
}

static bool add_marks(sm_steps_reader *r, const char *place, sm_steps_template *to, int32_t id,
                      uint32_t count, uint32_t type) {
    const int32_t ids[2] = {id, id};
    uint32_t at;
    return add_ids(r, ids, count, &at) &&
           add_piece(r, place, to, (sm_steps_part){HF_IDS, at, count, type});
}

/* A template may be given once; ByteLevel changes offsets only. */
static bool first_template(sm_steps_reader *r, const char *place) {
    return !r->steps->single.n || sm_steps_refuse(r, place, "a second template");
}

static bool post_bytes(sm_steps_reader *r, sm_json_value value, const char *place) {
    (void)r;
    (void)value;
    (void)place;
    return true;
}

/* ["[SEP]", 102] */
static bool read_mark(sm_steps_reader *r, sm_json_value value, const char *place, const char *name,
                      int32_t *id) {
    const sm_json_value pair = sm_json_get(r->json, value, name);
    const sm_json_value text = sm_json_first(r->json, pair),
                        number = sm_json_next(r->json, pair, text);
    uint64_t n;
    if (sm_json_kind_of(r->json, pair) != SM_JSON_ARRAY || sm_json_count(r->json, pair) != 2 ||
        !sm_json_u64(r->json, number, &n) || n >= r->t->text.n)
        return sm_steps_broken(r, place, "a mark that is no token and its id");
    *id = (int32_t)n;
    return true;
}

static bool post_marks(sm_steps_reader *r, sm_json_value value, const char *place, bool roberta) {
    int32_t cls, sep;
    sm_steps_template *s = &r->steps->single, *p = &r->steps->pair;
    const sm_steps_part first = {HF_FIRST, 0, 0, 0}, second = {HF_SECOND, 0, 0, !roberta};
    return first_template(r, place) && read_mark(r, value, place, "cls", &cls) &&
           read_mark(r, value, place, "sep", &sep) && add_marks(r, place, s, cls, 1, 0) &&
           add_piece(r, place, s, first) && add_marks(r, place, s, sep, 1, 0) &&
           add_marks(r, place, p, cls, 1, 0) && add_piece(r, place, p, first) &&
           add_marks(r, place, p, sep, roberta ? 2 : 1, 0) && add_piece(r, place, p, second) &&
           add_marks(r, place, p, sep, 1, !roberta);
}

static bool post_bert(sm_steps_reader *r, sm_json_value value, const char *place) {
    return post_marks(r, value, place, false);
}

static bool post_roberta(sm_steps_reader *r, sm_json_value value, const char *place) {
    return post_marks(r, value, place, true);
}

/* The ids that a template's special token stands for. */
static bool read_special(sm_steps_reader *r, sm_json_value specials, const char *place, sm_str name,
                         sm_steps_part *part) {
    for (sm_json_value key = sm_json_first(r->json, specials); key != SM_JSON_NONE;
         key = sm_json_next(r->json, specials, key)) {
        uint64_t length, n;
        const char *text = sm_json_text(r->json, key, &length);
        if (length != name.length || memcmp(text, name.data, (size_t)length) != 0)
            continue;
        const sm_json_value ids = sm_json_get(r->json, sm_json_member(r->json, key), "ids");
        part->at = r->steps->n_ids;
        part->n = 0;
        for (sm_json_value id = sm_json_first(r->json, ids); id != SM_JSON_NONE;
             id = sm_json_next(r->json, ids, id), part->n++) {
            uint32_t at;
            if (!sm_json_u64(r->json, id, &n) || n >= r->t->text.n)
                return sm_steps_broken(r, place,
                                       "a special token with an id outside the vocabulary");
            if (part->n == 64)
                return sm_steps_refuse(r, place, "a special token of so many ids");
            if (!add_ids(r, &(int32_t){(int32_t)n}, 1, &at))
                return false;
        }
        return true;
    }
    return sm_steps_broken(r, place, "a special token that special_tokens lacks");
}

static bool read_piece(sm_steps_reader *r, sm_json_value piece, sm_json_value specials,
                       const char *place, sm_steps_template *to) {
    const sm_json_value sequence = sm_json_get(r->json, piece, "Sequence"),
                        special = sm_json_get(r->json, piece, "SpecialToken");
    const sm_json_value it = sequence != SM_JSON_NONE ? sequence : special;
    sm_steps_part part = {HF_IDS, 0, 0, 0};
    sm_str name;
    if (!sm_steps_text(r, it, place, "id", NULL, &name) ||
        !sm_steps_u32(r, it, place, "type_id", 0, &part.type))
        return false;
    if (part.type > INT32_MAX)
        return sm_steps_broken(r, place, "a type_id that is too large");
    if (it == special)
        return read_special(r, specials, place, name, &part) && add_piece(r, place, to, part);
    const bool first = same_text(name.data, name.length, "A");
    if (!first && !same_text(name.data, name.length, "B"))
        return sm_steps_broken(r, place, "a sequence that is neither A nor B");
    if (!first && to == &r->steps->single)
        return sm_steps_broken(r, place, "sequence B in the template of one text");
    part.kind = first ? HF_FIRST : HF_SECOND;
    return add_piece(r, place, to, part);
}

static bool read_template(sm_steps_reader *r, sm_json_value value, const char *place,
                          const char *name, sm_steps_template *to) {
    const sm_json_value list = sm_json_get(r->json, value, name),
                        specials = sm_json_get(r->json, value, "special_tokens");
    char inner[SM_STEPS_PLACE];
    uint32_t i = 0;
    if (sm_json_kind_of(r->json, list) != SM_JSON_ARRAY)
        return sm_steps_broken(r, place, "a template without its pieces");
    for (sm_json_value piece = sm_json_first(r->json, list); piece != SM_JSON_NONE;
         piece = sm_json_next(r->json, list, piece), i++) {
        (void)sm_format(inner, sizeof inner, "%s.%s[%u]", place, name, i);
        if (!read_piece(r, piece, specials, inner, to))
            return false;
    }
    return true;
}

static bool post_template(sm_steps_reader *r, sm_json_value value, const char *place) {
    return first_template(r, place) &&
           read_template(r, value, place, "single", &r->steps->single) &&
           read_template(r, value, place, "pair", &r->steps->pair);
}

bool sm_steps_read_post_processor(sm_steps_reader *r, sm_json_value value) {
    static const part_kind kinds[] = {{"ByteLevel", post_bytes},
                                      {"BertProcessing", post_bert},
                                      {"RobertaProcessing", post_roberta},
                                      {"TemplateProcessing", post_template}};
    const char *place = "post_processor";
    if (!READ_PARTS(r, kinds, value, place, "processors"))
        return false;
    sm_steps *hf = r->steps;
    return (hf->single.n || add_piece(r, place, &hf->single, (sm_steps_part){HF_FIRST, 0, 0, 0})) &&
           (hf->pair.n || (add_piece(r, place, &hf->pair, (sm_steps_part){HF_FIRST, 0, 0, 0}) &&
                           add_piece(r, place, &hf->pair, (sm_steps_part){HF_SECOND, 0, 0, 1})));
}
