/* schema_refs.c - where things stand in a schema's document, and what $ref leads to.
 *
 * Every $id makes a resource, every $anchor a name in one; a reference is resolved against the URI
 * of the resource around it (RFC 3986, 5.2) and looked for among them: nothing is fetched.
 */
#include "schema.h"

#define MAX_URI 2048

/* ---- places (schema_refs.c) ----------------------------------------------------------------- */

static bool is_member_name(const schema *s, sm_json_value value) {
    const sm_json_value parent = s->parent[value];
    return parent != SM_JSON_NONE && sm_json_kind_of(s->json, parent) == SM_JSON_OBJECT;
}

static uint32_t index_in(const schema *s, sm_json_value array, sm_json_value item) {
    uint32_t i = 0;
    for (sm_json_value v = sm_json_first(s->json, array); v != item && v != SM_JSON_NONE;
         v = sm_json_next(s->json, array, v))
        i++;
    return i;
}

/* One step of a JSON pointer, or behind a point: [1] .name. */
static uint32_t write_step(const schema *s, sm_json_value value, char *out, uint32_t capacity) {
    const bool points = s->options.name != NULL;
    if (!is_member_name(s, value))
        return (uint32_t)sm_format(out, capacity, points ? "[%u]" : "/%u",
                                   index_in(s, s->parent[value], value));
    uint64_t length;
    const char *name = sm_json_text(s->json, value, &length);
    uint32_t n = 0;
    out[n++] = points ? '.' : '/';
    for (uint64_t i = 0; i < length && n + 3 < capacity; i++) {
        const bool special = !points && (name[i] == '~' || name[i] == '/');
        out[n++] = special ? '~' : name[i];
        if (special)
            out[n++] = name[i] == '~' ? '0' : '1';
    }
    return n;
}

void sm_schema_place(const schema *s, sm_json_value value, char *out, uint32_t capacity) {
    sm_json_value steps[2 * SM_JSON_MAX_DEPTH + 2];
    uint32_t n_steps = 0, n = 0;
    if (value == SM_JSON_NONE || !s->parent || value >= s->n_values)
        value = SM_JSON_ROOT;
    for (sm_json_value v = value; s->parent && s->parent[v] != SM_JSON_NONE; v = s->parent[v])
        if (sm_json_kind_of(s->json, s->parent[v]) !=
            SM_JSON_STRING) /* else its name is the step */
            steps[n_steps++] = v;
    if (!s->options.name)
        out[n++] = '#';
    while (n_steps && n + 40 < capacity)
        n += write_step(s, steps[--n_steps], out + n, capacity - n - 4);
    memcpy(out + n, n_steps ? "..." : "", n_steps ? 4 : 1);
}

/* ---- URIs (schema_refs.c) -------------------------------------------------------------------- */

typedef struct piece {
    const char *at;
    uint32_t n;
} piece;

typedef struct uri {
    piece scheme, authority, path, query;
    bool has_authority, has_query;
} uri;

static uint32_t until(const char *at, uint32_t n, const char *stops) {
    uint32_t i = 0;
    while (i < n && !strchr(stops, at[i]))
        i++;
    return i;
}

/* Without a fragment. Zero bytes stop nothing: strchr finds the end of `stops` for them. */
static uri split(const char *at, uint32_t n) {
    uri u = {0};
    const uint32_t scheme = until(at, n, ":/?#");
    if (scheme && scheme < n && at[scheme] == ':') {
        u.scheme = (piece){at, scheme};
        at += scheme + 1;
        n -= scheme + 1;
    }
    if (n >= 2 && at[0] == '/' && at[1] == '/') {
        u.has_authority = true;
        u.authority = (piece){at + 2, until(at + 2, n - 2, "/?#")};
        at += 2 + u.authority.n;
        n -= 2 + u.authority.n;
    }
    u.path = (piece){at, until(at, n, "?#")};
    if (u.path.n < n && at[u.path.n] == '?') {
        u.has_query = true;
        u.query = (piece){at + u.path.n + 1, n - u.path.n - 1};
    }
    return u;
}

typedef struct builder {
    char bytes[MAX_URI];
    uint32_t n;
    bool full;
} builder;

static void add(builder *b, const char *bytes, uint32_t n) {
    if (n > MAX_URI - b->n) {
        b->full = true;
        return;
    }
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}

/* remove_dot_segments of what is behind `from`. */
static void without_dots(builder *b, uint32_t from) {
    uint32_t out = from, in = from;
    while (in < b->n) {
        const bool rooted = b->bytes[in] == '/';
        const uint32_t name = in + rooted;
        const uint32_t n = until(b->bytes + name, b->n - name, "/");
        const bool one = n == 1 && b->bytes[name] == '.';
        const bool two = n == 2 && b->bytes[name] == '.' && b->bytes[name + 1] == '.';
        const bool last = name + n == b->n;
        if (two)
            while (out > from && b->bytes[--out] != '/')
                ;
        if (one || two) {
            if (last && out < b->n)
                b->bytes[out++] = '/';
        } else {
            memmove(b->bytes + out, b->bytes + in, rooted + n);
            out += rooted + n;
        }
        in = name + n;
    }
    b->n = out;
}

static void add_path(builder *b, const uri *base, const uri *ref) {
    const uint32_t from = b->n;
    if (!ref->path.n) {
        add(b, base->path.at, base->path.n);
        return;
    }
    if (ref->path.at[0] != '/') {
        uint32_t keep = base->path.n;
        while (keep && base->path.at[keep - 1] != '/')
            keep--;
        if (!keep && base->has_authority)
            add(b, "/", 1);
        add(b, base->path.at, keep);
    }
    add(b, ref->path.at, ref->path.n);
    without_dots(b, from);
}

static void add_authority(builder *b, const uri *u) {
    if (u->has_authority) {
        add(b, "//", 2);
        add(b, u->authority.at, u->authority.n);
    }
}

static void resolve_uri(builder *b, piece base_text, piece ref_text) {
    const uri base = split(base_text.at, base_text.n), ref = split(ref_text.at, ref_text.n);
    const uri *scheme = ref.scheme.n ? &ref : &base;
    if (scheme->scheme.n) {
        add(b, scheme->scheme.at, scheme->scheme.n);
        add(b, ":", 1);
    }
    const bool whole = ref.scheme.n || ref.has_authority;
    add_authority(b, whole ? &ref : &base);
    if (whole) {
        const uint32_t from = b->n;
        add(b, ref.path.at, ref.path.n);
        without_dots(b, from);
    } else {
        add_path(b, &base, &ref);
    }
    const uri *query = ref.has_query || whole || ref.path.n ? &ref : &base;
    if (query->has_query) {
        add(b, "?", 1);
        add(b, query->query.at, query->query.n);
    }
}

/* ---- the index (schema_refs.c) --------------------------------------------------------------- */

static piece json_piece(const schema *s, sm_json_value value) {
    uint64_t n;
    const char *at = sm_json_text(s->json, value, &n);
    return (piece){at, at ? (uint32_t)n : 0};
}

static piece text_piece(const schema *s, uint32_t t) {
    piece p;
    p.at = sm_schema_text_of(s, t, &p.n);
    return p;
}

static void add_anchor(schema *s, sm_json_value name, piece anchor, sm_json_value value) {
    const anchor_row row = {s->base[value], sm_schema_text(s, anchor.at, anchor.n), value};
    for (uint32_t i = 0; i < s->anchors.n; i++) {
        const anchor_row *has = &AT(s, anchors, anchor_row, i);
        if (has->resource == row.resource && has->name == row.name)
            sm_schema_fail(s, SM_ERR_FORMAT, name, "an anchor that is there twice");
    }
    sm_schema_push(s, &s->anchors, &row, sizeof row);
}

/* An $id: a resource; in draft 7 "#name" is an anchor. */
static void add_id(schema *s, sm_json_value id, sm_json_value value) {
    piece p = json_piece(s, id);
    if (p.n && p.at[0] == '#') {
        add_anchor(s, id, (piece){p.at + 1, p.n - 1}, value);
        return;
    }
    p.n = until(p.at, p.n, "#");
    builder *b = sm_alloc(s->mem, sizeof *b);
    if (!b) {
        sm_schema_fail(s, SM_ERR_NOMEM, SM_JSON_NONE, "out of memory");
        return;
    }
    b->n = 0;
    b->full = false;
    /* a copy of the base: making a text may move what its piece points to, but not before */
    resolve_uri(b, text_piece(s, AT(s, resources, resource, s->base[value]).uri), p);
    if (b->full)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, id, "a URI of more than 2048 bytes");
    const resource r = {sm_schema_text(s, b->bytes, b->n), value};
    sm_free(s->mem, b);
    if (sm_schema_push(s, &s->resources, &r, sizeof r))
        s->base[value] = s->resources.n - 1;
}

static void look_at(schema *s, sm_json_value value) {
    const sm_json_value id = sm_json_get(s->json, value, "$id");
    const bool hidden = s->draft7 && sm_json_get(s->json, value, "$ref") != SM_JSON_NONE;
    if (sm_json_kind_of(s->json, id) == SM_JSON_STRING && !hidden)
        add_id(s, id, value);
    static const char *const names[] = {"$anchor", "$dynamicAnchor"};
    for (uint32_t i = 0; i < 2; i++) {
        const sm_json_value anchor = sm_json_get(s->json, value, names[i]);
        if (sm_json_kind_of(s->json, anchor) == SM_JSON_STRING)
            add_anchor(s, anchor, json_piece(s, anchor), value);
    }
}

/* What a container's items are, by what it is itself. */
static holding holds_of(const schema *s, holding outer, bool is_schema, sm_json_value name) {
    if (is_schema && name != SM_JSON_NONE) {
        const piece p = json_piece(s, name);
        return sm_schema_holds(p.at, p.n);
    }
    return outer == H_LIST || outer == H_MAP ? H_SCHEMA : H_NOTHING;
}

/* Gives a value its place; true if it has items. */
static bool place_value(schema *s, sm_json_value value, sm_json_value parent, sm_json_value owner,
                        holding what) {
    const sm_json_kind kind = sm_json_kind_of(s->json, value);
    s->parent[value] = parent;
    s->base[value] = owner == SM_JSON_NONE ? 0 : s->base[owner];
    s->holds[value] = (uint8_t)what;
    if (what == H_SCHEMA && kind == SM_JSON_OBJECT)
        look_at(s, value);
    return kind == SM_JSON_OBJECT || kind == SM_JSON_ARRAY;
}

static void index_items(schema *s, sm_json_value container) {
    const bool object = sm_json_kind_of(s->json, container) == SM_JSON_OBJECT;
    const holding outer = (holding)s->holds[container];
    for (sm_json_value v = sm_json_first(s->json, container); v != SM_JSON_NONE && !s->status;
         v = sm_json_next(s->json, container, v)) {
        holding what = holds_of(s, outer, object && outer == H_SCHEMA, object ? v : SM_JSON_NONE);
        sm_json_value value = v;
        if (object) {
            value = sm_json_member(s->json, v);
            s->parent[v] = container;
            s->base[v] = s->base[container];
        }
        if (what == H_LIST && sm_json_kind_of(s->json, value) == SM_JSON_OBJECT)
            what = H_SCHEMA; /* items and others that are either */
        place_value(s, value, v == value ? container : v, container, what);
    }
}

bool sm_schema_index(schema *s) {
    const uint64_t n = s->n_values;
    s->parent = sm_alloc_array(s->mem, n, sizeof *s->parent);
    s->base = sm_alloc_array(s->mem, n, sizeof *s->base);
    s->holds = sm_alloc_zero(s->mem, n);
    if (s->parent) /* errors look for their place in it from here on */
        memset(s->parent, 0xff, n * sizeof *s->parent);
    if (!s->parent || !s->base || !s->holds) {
        sm_schema_fail(s, SM_ERR_NOMEM, SM_JSON_NONE, "out of memory");
        return false;
    }
    const resource root = {sm_schema_text(s, "", 0), SM_JSON_ROOT};
    if (!sm_schema_push(s, &s->resources, &root, sizeof root))
        return false;
    place_value(s, SM_JSON_ROOT, SM_JSON_NONE, SM_JSON_NONE, H_SCHEMA);
    /* values are numbered depth first: a container comes before what is in it */
    for (sm_json_value v = 0; v < n && sm_schema_goes_on(s); v++) {
        const sm_json_kind kind = sm_json_kind_of(s->json, v);
        if (kind == SM_JSON_OBJECT || kind == SM_JSON_ARRAY)
            index_items(s, v);
    }
    return !s->status;
}

/* ---- references (schema_refs.c) -------------------------------------------------------------- */

static int hex_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = lower_ascii(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %XX undone; the length. */
static uint32_t undo_percents(const char *at, uint32_t n, char *out) {
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        const bool coded =
            at[i] == '%' && i + 2 < n && hex_of(at[i + 1]) >= 0 && hex_of(at[i + 2]) >= 0;
        out[k++] = coded ? (char)(hex_of(at[i + 1]) * 16 + hex_of(at[i + 2])) : at[i];
        i += coded ? 2 : 0;
    }
    return k;
}

static sm_json_value item_at(const schema *s, sm_json_value array, const char *step, uint32_t n) {
    uint64_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (step[i] < '0' || step[i] > '9' || i > 8)
            return SM_JSON_NONE;
        at = at * 10 + (uint64_t)(step[i] - '0');
    }
    sm_json_value v = n ? sm_json_first(s->json, array) : SM_JSON_NONE;
    while (at-- && v != SM_JSON_NONE)
        v = sm_json_next(s->json, array, v);
    return v;
}

/* The last member of that name, as sm_json_get; names may hold zero bytes. */
static sm_json_value member_at(const schema *s, sm_json_value object, const char *step,
                               uint32_t n) {
    sm_json_value found = SM_JSON_NONE;
    for (sm_json_value v = sm_json_first(s->json, object); v != SM_JSON_NONE;
         v = sm_json_next(s->json, object, v)) {
        const piece name = json_piece(s, v);
        if (name.n == n && memcmp(name.at, step, n) == 0)
            found = sm_json_member(s->json, v);
    }
    return found;
}

/* Follows a JSON pointer of n bytes, which it overwrites. */
static sm_json_value follow(const schema *s, sm_json_value from, char *pointer, uint32_t n) {
    for (uint32_t i = 0; i < n && from != SM_JSON_NONE;) {
        char *step = pointer + i + 1;
        const uint32_t length = until(step, n - i - 1, "/");
        uint32_t k = 0;
        for (uint32_t j = 0; j < length; j++) {
            const bool tilde =
                step[j] == '~' && j + 1 < length && (step[j + 1] == '0' || step[j + 1] == '1');
            step[k++] = !tilde ? step[j] : step[j + 1] == '0' ? '~' : '/';
            j += tilde;
        }
        from = sm_json_kind_of(s->json, from) == SM_JSON_ARRAY ? item_at(s, from, step, k)
                                                               : member_at(s, from, step, k);
        i += length + 1;
    }
    return from;
}

static uint32_t resource_of(schema *s, sm_json_value ref, piece address) {
    if (!address.n)
        return s->base[ref];
    builder *b = sm_alloc(s->mem, sizeof *b);
    if (!b) {
        sm_schema_fail(s, SM_ERR_NOMEM, SM_JSON_NONE, "out of memory");
        return 0;
    }
    b->n = 0;
    b->full = false;
    resolve_uri(b, text_piece(s, AT(s, resources, resource, s->base[ref]).uri), address);
    uint32_t found = UINT32_MAX;
    for (uint32_t i = 0; i < s->resources.n && found == UINT32_MAX; i++) {
        const piece has = text_piece(s, AT(s, resources, resource, i).uri);
        if (has.n == b->n && memcmp(has.at, b->bytes, has.n) == 0)
            found = i;
    }
    sm_free(s->mem, b);
    return found;
}

static sm_json_value by_fragment(schema *s, uint32_t r, const char *fragment, uint32_t n) {
    const sm_json_value root = AT(s, resources, resource, r).value;
    char *plain = sm_alloc(s->mem, (uint64_t)n + 1);
    if (!plain) {
        sm_schema_fail(s, SM_ERR_NOMEM, SM_JSON_NONE, "out of memory");
        return SM_JSON_NONE;
    }
    const uint32_t length = undo_percents(fragment, n, plain);
    sm_json_value found = root;
    if (length && plain[0] == '/') {
        found = follow(s, root, plain, length);
    } else if (length) {
        const uint32_t name = sm_schema_text(s, plain, length);
        found = SM_JSON_NONE;
        for (uint32_t i = 0; i < s->anchors.n; i++) {
            const anchor_row *a = &AT(s, anchors, anchor_row, i);
            if (a->resource == r && a->name == name)
                found = a->value;
        }
    }
    sm_free(s->mem, plain);
    return found;
}

sm_json_value sm_schema_resolve(schema *s, sm_json_value ref) {
    const piece p = json_piece(s, ref);
    if (!p.at) {
        sm_schema_fail(s, SM_ERR_FORMAT, ref, "a reference that is no string");
        return SM_JSON_NONE;
    }
    const uint32_t n = until(p.at, p.n, "#");
    const uint32_t r = resource_of(s, ref, (piece){p.at, n});
    if (r == UINT32_MAX) {
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, ref,
                       "leads to another document, and nothing is fetched");
        return SM_JSON_NONE;
    }
    const sm_json_value found = n < p.n ? by_fragment(s, r, p.at + n + 1, p.n - n - 1)
                                        : AT(s, resources, resource, r).value;
    if (found == SM_JSON_NONE)
        sm_schema_fail(s, SM_ERR_FORMAT, ref, "leads to nothing");
    return found;
}
