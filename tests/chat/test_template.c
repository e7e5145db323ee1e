/* Templates: results of Jinja2 3.1 with the settings of transformers, what limits end, which bytes
 * are the caller's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "chat/template.h"

static sm_mem mem;
static const char values[] =
    "{\"s\": \"Hi\", \"n\": 5, \"l\": [1, 2, 3], \"d\": {\"a\": 1, \"items\": \"I\"}, \"z\": null,"
    " \"m\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"bot\", \"content\": null}]}";

/* Renders with the members of `values`, each a variable. */
static sm_status render(const char *text, const sm_template_options *options, sm_rendered *out,
                        sm_error *error) {
    static const sm_json_source source = {.name = "values", .line = 1};
    sm_json *json;
    sm_template *t;
    sm_variable variables[8];
    uint32_t n = 0;
    *out = (sm_rendered){0};
    sm_status status = sm_template_parse(&t, &mem, text, strlen(text), "test", error);
    if (status)
        return status;
    assert_int_equal(sm_json_read(&json, &mem, values, strlen(values), &source, NULL, NULL), SM_OK);
    for (sm_json_value i = sm_json_first(json, SM_JSON_ROOT); i != SM_JSON_NONE;
         i = sm_json_next(json, SM_JSON_ROOT, i)) {
        uint64_t length;
        const char *name = sm_json_text(json, i, &length);
        variables[n++] = (sm_variable){.name = name,
                                       .name_length = length,
                                       .kind = SM_VARIABLE_JSON,
                                       .json = json,
                                       .value = sm_json_member(json, i)};
    }
    status = sm_template_render(t, &mem, variables, n, options, out, error);
    sm_template_free(t);
    sm_json_free(json);
    return status;
}

static const struct {
    const char *template, *text; /* text NULL: an error */
} cases[] = {
    {"{{ x }}|{{ x is defined }}|{{ x|default('q') }}|{{ m[9] }}", "|False|q|"},
    {"{{ x.y }}", NULL},
    {"{{ 'a' + 1 }}", NULL},
    {"{{ x == y }}{{ x ~ 1 }}{% for i in x %}{% endfor %}", "True1"},
    {"{{ 7 // -2 }} {{ -7 % 3 }} {{ 2**3**2 }} {{ 1/2 }} {{ 1e16 }} {{ 0.1 + 0.2 }}",
     "-4 2 64 0.5 1e+16 0.30000000000000004"},
    {"{{ 9223372036854775807 + 1 }}", NULL},
    {"{{ l[::-1] }}{{ s[::-1] }}{{ l[-2:9] }}{{ 'a\xc3\xa9z'[1] }}", "[3, 2, 1]iH[2, 3]\xc3\xa9"},
    {"{{ d.items }}", NULL},
    {"{{ d['items'] }}{{ d.a }}{{ d.get('q', 2) }}{{ d.items()|list }}",
     "I12[('a', 1), ('items', 'I')]"},
    {"{% set x = 1 %}{% for i in l %}{% set x = i %}{% endfor %}{{ x }}", "1"},
    {"{% set ns = namespace(v=0) %}{% for i in l %}{% set ns.v = ns.v + i %}{% endfor %}{{ ns.v }}",
     "6"},
    {"{% set ns = namespace(v=0) %}"
     "{% for i in l if ns.v < 2 %}{% set ns.v = ns.v + 1 %}{{ i }}{% endfor %}",
     "12"},
    {"{% for i in l if i > 1 %}{{ loop.index }}{{ loop.last }}{% else %}none{% endfor %}",
     "1False2True"},
    {"{% for i in l if i > 9 %}x{% else %}none{% endfor %}", "none"},
    {"{% for i in l %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{{ loop.previtem }};{% endfor "
     "%}",
     "1;32;"},
    {"{% for i in l %}{% set q %}{{ i }}{% if i == 2 %}{% break %}{% endif %}{% endset %}{{ q }}"
     "{% endfor %}z",
     "1z"},
    {"{% macro f(a, b=a, c=2) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }}{{ f(1, c=3) }}",
     "112113"},
    {"{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, b=3) }}",
     "1(2,){'b': 3}"},
    {"{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}", NULL},
    {"{% macro g() %}[{{ caller(5) }}]{% endmacro %}{% call(z) g() %}c{{ z }}{% endcall %}",
     "[c5]"},
    {"{{ m|selectattr('content', 'none')|map(attribute='role')|join(',') }}", "bot"},
    {"{% if m|selectattr('role', 'eq', 'q') %}always{% endif %}{{ z|selectattr('a')|list }}",
     "always[]"},
    {"{{ d|tojson }}{{ l|tojson(separators=(',', ':')) }}{{ 'a\"\xc3\xa9\n<'|tojson }}",
     "{\"a\": 1, \"items\": \"I\"}[1,2,3]\"a\\\"\xc3\xa9\\n<\""},
    {"{{ [1]|tojson(indent=2) }}{{ []|tojson(indent=2) }}", "[\n  1\n][]"},
    {"{{ 'x'|int }}{{ 'abc'|float }}{{ '3.7'|int }}{{ 'ff'|int(0, 16) }}{{ '.5'|float }}",
     "00.032550.5"},
    {"{{ '{\"a\": [1, null]}'|from_json }}", "{'a': [1, None]}"},
    {"{{ 'no JSON'|from_json }}", NULL},
    {"{{ '%s-%03d-%.2f' % ('a', 7, 2.345) }}{{ '{}{:>3}'.format(1, 'b') }}", "a-007-2.351  b"},
    {"{{ 'a b  c'.split() }}{{ 'a,b,c'.split(',', 1) }}{{ 'xaxx'.strip('x') }}",
     "['a', 'b', 'c']['a', 'b,c']a"},
    {"{{ 'stra\xc3\x9f"
     "e'.upper() }}{{ \"it's a-b\"|title }}{{ 'aB'|capitalize }}",
     "STRASSEIt's A-BAb"},
    {"{{ l.append(4) }}", NULL},
    /* results of Jinja2 that random expressions and changed templates showed to be others here */
    {"{{ ' a b  c '.split(none, 1) }}{{ ' a b '.rsplit(none, 1) }}", "['a', 'b  c '][' a', 'b']"},
    {"{{ '\\x7f\\xe9'|tojson(ensure_ascii=true) }}", "\"\\u007f\\u00e9\""},
    {"{{ ['b', 'a']|sort(attribute='x') }}", "['b', 'a']"},
    {"{{ m|sort(attribute='z,role')|map(attribute='role')|join(',') }}", "bot,user"},
    {"{% for i in l %}{% for k in [1] %}{{ loop.depth }}{% endfor %}{% endfor %}", "111"},
    {"{{ d[1:] }}", NULL},
    {"{{ n|indent }}", NULL},
    {"{{ x|int }}", NULL},
    {"{{ (s|safe,) }}{{ ('a b'|e).split() }}", "(Markup('Hi'),)[Markup('a'), Markup('b')]"},
    {"{{ l|truncate(3) }}{{ 'abc def ghi'|truncate(8, leeway=0) }}{{ 'abcdefghij'|truncate(5, "
     "true, "
     "'.', 0) }}{{ 'abcdef'|truncate(3) }}",
     "[1, 2, 3]abc...abcd.abcdef"},
    {"[{{ s|center(7) }}]{{ 'a b/\xc3\xa9'|urlencode }}{{ {'k /': 'v &'}|urlencode }}",
     "[   Hi  ]a%20b/%C3%A9k+%2F=v+%26"},
    {"{{ l|batch(2)|list }}{{ l|batch(2, 0)|list }}{{ l|slice(2)|list }}{{ []|batch(2)|list }}",
     "[[1, 2], [3]][[1, 2], [3, 0]][[1, 2], [3]][]"},
    {"{% for g, i in m|groupby('role') %}{{ g }}{{ i|length }}{% endfor %}"
     "{{ (m|groupby('role'))[0].grouper }}{{ (m|groupby('q', 'z'))[0]['list']|length }}",
     "bot1user1bot2"},
    {"{% for i in [[1, [2]], 3] recursive %}{% if i is iterable %}[{{ loop(i) }}]{% else %}{{ i }}."
     "{{ loop.depth }} {% endif %}{% else %}none{% endfor %}",
     "[1.2 [2.3 ]]3.1 "},
    {"{% for i in l if i > 1 recursive %}{{ i }}{{ loop([]) }}{% else %}-{% endfor %}", "2-3-"},
    {"{% for i in l %}{{ loop([1]) }}{% endfor %}", NULL},
    {"{% for i in l recursive %}{{ loop([1]) }}{% endfor %}", NULL},
    /* filters that Jinja runs item by item fail when their items are asked for */
    {"{% if l|map('length') %}a{% endif %}{{ [s, 1]|map('length')|first }}{{ 5|items is iterable "
     "}}",
     "a2True"},
    {"{{ [s, 1]|map('length')|list }}", NULL},
    {"{% for i in 5|items %}{% endfor %}", NULL},
    {"{{ l.append is defined }}", "False"},
    {"  {% if n %}\n  a\n  {% endif %}\nb\n", "  a\nb"},
    {"a {%- if n -%} \n b {%- endif %} c", "ab c"},
    {"{% raw %}{{ x }}{% endraw %}{# c #}\n.", "{{ x }}."},
    {"{{ 1 < 2 < 3 }}{{ not 1 in l }}{{ 'a' if none else 'b' }}", "TrueFalseb"},
    {"{{ strftime_now('%Y-%m-%d %H:%M:%S %b %A %j') }}", "2026-03-14 09:26:53 Mar Saturday 073"},
    {"{% generation %}{{ s }}{% set q = 1 %}{% endgeneration %}{{ q }}", "Hi"},
    {"{% include 'x' %}", NULL},
    {"{{ s|nosuchfilter }}", NULL},
    {"{% if false %}{{ s|nosuchfilter }}{% endif %}", ""},
    {"{% for i in l %}", NULL},
    {"{{ '", NULL},
};

static void test_results(void **state) {
    (void)state;
    const sm_template_options options = {.clock = 1773480413, .clock_is_set = true};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sm_rendered out;
        sm_error error = {0};
        const sm_status status = render(cases[i].template, &options, &out, &error);
        if (cases[i].text ? status || strcmp(out.text, cases[i].text) != 0 : !status)
            fail_msg("%s: %s", cases[i].template, status ? error.message : out.text);
        sm_rendered_free(&out);
        assert_int_equal(mem.in_use, 0);
    }
}

static void test_exception(void **state) {
    (void)state;
    sm_rendered out;
    sm_error error = {0};
    assert_int_equal(render("{{ raise_exception('no ' ~ n) }}", NULL, &out, &error),
                     SM_ERR_ARGUMENT);
    assert_string_equal(out.exception, "no 5");
    sm_rendered_free(&out);
}

/* The caller's bytes between < and >, all others the template's. */
static void expect_origins(const char *template, const char *want) {
    char got[256];
    size_t n = 0;
    uint64_t at = 0;
    sm_rendered out;
    sm_error error = {0};
    if (render(template, NULL, &out, &error))
        fail_msg("%s: %s", template, error.message);
    for (uint32_t i = 0; i < out.n_pieces; i++) {
        n += (size_t)snprintf(got + n, sizeof got - n, out.pieces[i].user ? "<%.*s>" : "%.*s",
                              (int)(out.pieces[i].end - at), out.text + at);
        at = out.pieces[i].end;
    }
    assert_int_equal(at, out.length);
    assert_string_equal(got, want);
    sm_rendered_free(&out);
}

static void test_origins(void **state) {
    (void)state;
    expect_origins("[{{ s }}]", "[<Hi>]");
    expect_origins("{{ ('[' ~ s + ']')[1:] }}", "<Hi>]");
    expect_origins("{{ s.replace('i', 'o') }}{{ s|upper }}", "<H>o<HI>");
    expect_origins("{{ m|map(attribute='role')|join('+') }}", "<user>+<bot>");
    expect_origins("{{ s|tojson }}{{ '%s!' % s }}{{ '{}?'.format(s) }}", "\"<Hi>\"<Hi>!<Hi>?");
    expect_origins("{% set x %}a{{ s }}b{% endset %}{{ x|trim }}{{ x.split('a')[1] }}",
                   "a<Hi>b<Hi>b");
    expect_origins("{{ [s] }}{{ ('\"' ~ s ~ '\"')|from_json }}", "['<Hi>']<Hi>");
}

static int32_t always(void *user) {
    ++*(uint32_t *)user;
    return 1;
}

static void test_limits(void **state) {
    (void)state;
    static const char *const bombs[] = {
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% "
        "endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% "
        "endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}{% endfor "
        "%}{{ ns.x }}",
        "{{ 'a' * 999999999 }}",
        "{{ 'a'.ljust(999999999999) }}",
        "{{ '%999999999d' % 1 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set ns = namespace(x=1) %}{% set ns.x = ns %}{{ ns }}",
        "{{ range(10 ** 15)|list }}",
    };
    const sm_template_options options = {
        .max_steps = 2000000, .max_output = 1 << 20, .max_memory = 16 << 20};
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        sm_rendered out;
        sm_error error = {0};
        const sm_status status = render(bombs[i], &options, &out, &error);
        if (status != SM_ERR_UNSUPPORTED && status != SM_ERR_FORMAT && status != SM_ERR_NOMEM)
            fail_msg("%s: %d", bombs[i], status);
        sm_rendered_free(&out);
        assert_int_equal(mem.in_use, 0);
    }
    uint32_t asked = 0;
    const sm_template_options hook = {.cancel = always, .user = &asked};
    sm_rendered out;
    assert_int_equal(render(bombs[0], &hook, &out, NULL), SM_ERR_CANCELLED);
    assert_int_equal(asked, 1);
    sm_rendered_free(&out);
}

static void test_depth(void **state) {
    (void)state;
    static const char *const open[] = {"(", "[", "-", "not ", "l[", "f("};
    for (size_t k = 0; k < sizeof open / sizeof *open; k++) {
        char text[4096] = "{{ ";
        sm_rendered out;
        for (int i = 0; i < 500; i++)
            strncat(text, open[k], sizeof text - strlen(text) - 1);
        strncat(text, "1 }}", sizeof text - strlen(text) - 1);
        assert_int_not_equal(render(text, NULL, &out, NULL), SM_OK);
        sm_rendered_free(&out);
    }
    char chain[4096] = "{{ 1";
    sm_rendered out;
    for (int i = 0; i < 500; i++)
        strncat(chain, "+1", sizeof chain - strlen(chain) - 1);
    strncat(chain, " }}", sizeof chain - strlen(chain) - 1);
    assert_int_equal(render(chain, NULL, &out, NULL), SM_OK);
    assert_string_equal(out.text, "501");
    sm_rendered_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results), cmocka_unit_test(test_exception),
        cmocka_unit_test(test_origins), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_depth),
    };
    sm_mem_init(&mem, NULL, 0, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
