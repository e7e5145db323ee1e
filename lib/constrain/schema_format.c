/* schema_format.c - the formats of JSON Schema as regular expressions, and what OpenAPI's say. */
#include "schema.h"

#define D2 "[0-9]{2}"
#define LEAP "(" D2 "(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
#define DATE                                                                                      \
    "(?!0000)([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|" \
    "30)"                                                                                         \
    "|02-(0[1-9]|1[0-9]|2[0-8]))|" LEAP "-02-29)"
#define HM "([01][0-9]|2[0-3]):[0-5][0-9]"
#define TIME HM ":[0-5][0-9](\\.[0-9]+)?(Z|[+-]" HM ")"
#define LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define ATEXT "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define IPV4 OCTET "(\\." OCTET "){3}"
#define H16 "[0-9A-Fa-f]{1,4}"
#define IPV6                                                                                     \
    "((" H16 ":){7}" H16 "|(" H16 ":){6}" IPV4 "|(" H16 ":){1,7}:|(" H16 ":){1,6}:" H16 "|(" H16 \
    ":){1,5}(:" H16 "){2}|(" H16 ":){1,4}(:" H16 "){3}|(" H16 ":){1,3}(:" H16 "){4}"             \
    "|(" H16 ":){1,2}(:" H16 "){5}|" H16 ":(:" H16 "){6}|:((:" H16 "){1,7}|:)"                   \
    "|::(" H16 ":){0,5}" IPV4 "|" H16 ":(:" H16 "){0,4}:" IPV4 "|(" H16 ":){2}(:" H16            \
    "){0,3}:" IPV4 "|(" H16 ":){3}(:" H16 "){0,2}:" IPV4 "|(" H16 ":){4}(:" H16 ")?:" IPV4       \
    "|(" H16 ":){5}:" IPV4 ")"
#define PERCENT "%[0-9A-Fa-f]{2}"
#define PCHAR "([A-Za-z0-9._~!$&'()*+,;=:@-]|" PERCENT ")"
#define QUERY "([A-Za-z0-9._~!$&'()*+,;=:@/?-]|" PERCENT ")*"
#define AUTHORITY                                             \
    "(([A-Za-z0-9._~!$&'()*+,;=:-]|" PERCENT ")*@)?(\\[" IPV6 \
    "\\]|([A-Za-z0-9._~!$&'()*+,;=-]|" PERCENT ")*)(:[0-9]*)?"
#define SEGMENTS "(/" PCHAR "*)*"
#define ENDING "(\\?" QUERY ")?(#" QUERY ")?"
#define NO_COLON "([A-Za-z0-9._~!$&'()*+,;=@-]|" PERCENT ")"
#define POINTER "(/([^~/]|~[01])*)*"
#define DUR_TIME "T([0-9]+H([0-9]+M([0-9]+S)?)?|[0-9]+M([0-9]+S)?|[0-9]+S)"

static const struct {
    const char *name, *pattern; /* NULL: says nothing of what is valid JSON of the type */
} formats[] = {
    {"date", DATE},
    {"time", TIME},
    {"date-time", DATE "T" TIME},
    {"duration", "P([0-9]+W|([0-9]+D|[0-9]+M([0-9]+D)?|[0-9]+Y([0-9]+M([0-9]+D)?)?)(" DUR_TIME
                 ")?|" DUR_TIME ")"},
    {"email", ATEXT "(\\." ATEXT ")*@" LABEL "(\\." LABEL ")+"},
    {"hostname", "(?=.{1,253}$)(?!([^.]*\\.)*..--)" LABEL "(\\." LABEL ")*"},
    {"ipv4", IPV4},
    {"ipv6", IPV6},
    {"uuid", "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"},
    {"uri", "[A-Za-z][A-Za-z0-9+.-]*:(//" AUTHORITY SEGMENTS "|/(" PCHAR "+" SEGMENTS ")?|" PCHAR
            "+" SEGMENTS "|)" ENDING},
    {"uri-reference", "([A-Za-z][A-Za-z0-9+.-]*:(//" AUTHORITY SEGMENTS "|/(" PCHAR "+" SEGMENTS
                      ")?|" PCHAR "+" SEGMENTS "|)|//" AUTHORITY SEGMENTS "|/(" PCHAR "+" SEGMENTS
                      ")?|" NO_COLON "+" SEGMENTS "|)" ENDING},
    {"json-pointer", POINTER},
    {"relative-json-pointer", "(0|[1-9][0-9]*)(#|" POINTER ")"},
    {"byte", "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"},
    {"float", NULL},
    {"double", NULL},
    {"binary", NULL},
    {"password", NULL},
};

static formula whole_between(schema *s, const char *low, const char *high) {
    const uint32_t a = sm_decimal_parse(s, low, strlen(low), SM_JSON_NONE);
    const uint32_t b = sm_decimal_parse(s, high, strlen(high), SM_JSON_NONE);
    return sm_formula_and2(s, sm_formula_literal(s, N_LEAST, a, 0, 0, 0),
                           sm_formula_literal(s, N_MOST, b, 0, 0, 0));
}

formula sm_format_read(schema *s, const char *name, uint64_t length, sm_json_value place) {
    for (uint32_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (same_text(name, length, formats[i].name))
            return formats[i].pattern ? sm_formula_literal(s, S_REGEX, 0, i + 1, place, 0) : VERUM;
    if (same_text(name, length, "int32"))
        return whole_between(s, "-2147483648", "2147483647");
    if (same_text(name, length, "int64"))
        return whole_between(s, "-9223372036854775808", "9223372036854775807");
    if (!s->options.unknown_passes)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, place, "a format that is not honoured");
    return VERUM;
}

sm_expr sm_format_write(schema *s, uint32_t format, const sm_char_map *map) {
    sm_expr *kept = &s->formats[sm_string_plain(s)][format];
    if (*kept == SM_EXPR_NONE)
        *kept =
            sm_expr_regex(s->g, formats[format].pattern, strlen(formats[format].pattern), 0, map);
    return *kept;
}
