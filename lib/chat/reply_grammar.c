/* reply_grammar.c - tools as a grammar (GBNF): calls that a format and a list of tools allow. */
#include "reply.h"

/* JSON, and the values of the other notations; white space is bounded, for a model may go on with
 * it forever. */
static const char rules[] =
    "ws ::= [ \\n]{0,8}\n"
    "object ::= \"{\" ws (pair (\",\" ws pair)*)? \"}\" \n"
    "pair ::= string ws \":\" ws value ws\n"
    "array ::= \"[\" ws (value ws (\",\" ws value ws)*)? \"]\"\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "char ::= [^\"\\\\\\x00-\\x1f] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4})\n"
    "number ::= \"-\"? (\"0\" | [1-9] [0-9]{0,17}) (\".\" [0-9]{1,17})? ([eE] [-+]? [0-9]{1,3})?\n"
    "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
    "text ::= ([^<] | \"<\" [^/<|\\uFF5C])*\n"
    "word ::= [a-zA-Z0-9_]{1,64}\n"
    "pairs ::= \"{\" (entry (\",\" entry)*)? \"}\"\n"
    "entry ::= word \":\" item\n"
    "item ::= \"<|\\\"|>\" [^<]* \"<|\\\"|>\" | number | \"true\" | \"false\" | \"null\" | pairs | "
    "\"[\" (item (\",\" item)*)? \"]\"\n"
    "literal ::= string | number | \"True\" | \"False\" | \"None\" | \"[\" (literal (\", \" "
    "literal)*)? \"]\" | \"{\" (string \": \" literal (\", \" string \": \" literal)*)? \"}\"\n"
    "arguments ::= word \"=\" literal\n";

static void put_quoted(sm_builder *out, const char *text, uint64_t n) {
    sm_builder_byte(out, '"');
    for (uint64_t i = 0; i < n; i++) {
        char escape[8];
        const uint8_t c = (uint8_t)text[i];
        if (c == '"' || c == '\\') {
            sm_builder_byte(out, '\\');
            sm_builder_byte(out, text[i]);
        } else if (c == '\n') {
            sm_builder_text(out, "\\n");
        } else if (c < 0x20) {
            sm_builder_add(out, escape,
                           sm_format(escape, sizeof escape, "\\x%c%c", "0123456789abcdef"[c >> 4],
                                     "0123456789abcdef"[c & 15]));
        } else {
            sm_builder_byte(out, text[i]);
        }
    }
    sm_builder_text(out, "\" ");
}

/* One way to write the steps from..to. */
static void put_steps(sm_builder *out, const sm_reply_step *step, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        switch (step[i].code) {
        case SM_REPLY_TEXT:
            put_quoted(out, step[i].text, step[i].length);
            break;
        case SM_REPLY_SPACE:
            sm_builder_text(out, "ws ");
            break;
        case SM_REPLY_NAME:
            sm_builder_text(out, "name ");
            break;
        case SM_REPLY_ID:
            sm_builder_text(out, "[a-zA-Z0-9]{9} ");
            break;
        case SM_REPLY_ID_NAME:
            sm_builder_text(out, "\"functions.\" name \":\" [0-9]{1,3} ");
            break;
        case SM_REPLY_KEY:
            sm_builder_text(out, "word ");
            break;
        case SM_REPLY_VALUE:
            sm_builder_text(out, "text ");
            break;
        case SM_REPLY_LINES:
            sm_builder_text(out, "\"\\n\" text ");
            break;
        case SM_REPLY_IS_STRING:
            sm_builder_text(out, "(\"true\" | \"false\") ");
            break;
        case SM_REPLY_TYPE:
            sm_builder_text(out,
                            "(\"string\" | \"number\" | \"boolean\" | \"object\" | \"array\" | "
                            "\"null\") ");
            break;
        case SM_REPLY_ANY: /* of harmony: what says that JSON follows; elsewhere nothing */
            sm_builder_text(out, "(\" <|constrain|>json\" | \" json\" | \" index=\\\"\" [0-9]{1,2} "
                                 "\"\\\"\")? ");
            break;
        case SM_REPLY_OBJECTS:
            sm_builder_text(out, "(call | \"[\" ws call (\",\" ws call)* ws \"]\") ");
            break;
        case SM_REPLY_MAPS:
            sm_builder_text(out, "\"[\" ws map (\",\" ws map)* ws \"]\" ");
            break;
        case SM_REPLY_ARGUMENTS:
            sm_builder_text(out, "object ");
            break;
        case SM_REPLY_PAIRS:
            sm_builder_text(out, "pairs ");
            break;
        case SM_REPLY_PYTHON:
            sm_builder_text(out, "\"[\" python (\", \" python)* \"]\" ");
            break;
        case SM_REPLY_MAYBE:
        case SM_REPLY_LOOP:
        case SM_REPLY_CALL:
            sm_builder_byte(out, '(');
            break;
        case SM_REPLY_MAYBE_END:
            sm_builder_text(out, ")? ");
            break;
        case SM_REPLY_LOOP_END:
            sm_builder_text(out, ")* ");
            break;
        case SM_REPLY_CALL_END:
            sm_builder_text(out, ")+ ");
            break;
        default:
            break;
        }
    }
}

static void put_names(sm_builder *out, const sm_reply_tools *tools, const char *only, bool quoted) {
    bool first = true;
    sm_builder_text(out, quoted ? "quoted ::= " : "name ::= ");
    for (sm_json_value i = sm_json_first(tools->json, SM_JSON_ROOT); i != SM_JSON_NONE;
         i = sm_json_next(tools->json, SM_JSON_ROOT, i)) {
        uint64_t n;
        const char *name = sm_reply_tool_name(tools, i, &n);
        if (!name || (only && !same_text(name, n, only)))
            continue;
        sm_builder json = sm_builder_of(out->mem, 0);
        sm_json_writer w = sm_json_writer_of(&json, NULL);
        sm_json_put_string(&w, name, n);
        sm_builder_text(out, first ? "" : "| ");
        put_quoted(out, quoted ? json.data : name, quoted ? json.length : n);
        out->failed |= json.failed;
        sm_builder_free(&json);
        first = false;
    }
    sm_builder_byte(out, '\n');
}

/* {"name": NAME, "arguments": {…}}, by the format's own keys. */
static void put_call(sm_builder *out, const sm_reply_format *format) {
    const char *const *keys = format->keys;
    sm_builder_text(out, "call ::= \"{\" ws \"\\\"");
    sm_builder_text(out, keys[0] ? keys[0] : "name");
    sm_builder_text(out, "\\\":\" ws quoted \",\" ws \"\\\"");
    sm_builder_text(out, keys[1] ? keys[1] : "arguments");
    sm_builder_text(out, "\\\":\" ws object ws \"}\"\n");
}

bool sm_reply_put_grammar(sm_builder *out, const sm_reply_format *format,
                          const sm_reply_tools *tools, const char *only, bool after_mark) {
    sm_reply_step step[SM_REPLY_MAX_STEPS];
    const uint32_t n = sm_reply_compile(format->patterns[0], step);
    const bool marked = step[0].code == SM_REPLY_TEXT;
    const bool begun =
        marked && format->begun && same_text(step[0].text, step[0].length, format->begun);
    if (!tools->json || (after_mark && (!marked || begun)))
        return false;
    sm_builder_text(out, after_mark ? "root ::= " : "root ::= ws ");
    put_steps(out, step, after_mark || begun ? 1 : 0, n);
    if (marked) { /* further calls */
        sm_builder_text(out, "(ws ");
        put_steps(out, step, 0, n);
        sm_builder_text(out, ")* ");
    }
    sm_builder_byte(out, '\n');
    put_names(out, tools, only, false);
    put_names(out, tools, only, true);
    put_call(out, format);
    sm_builder_text(out, "map ::= \"{\" ws quoted \":\" ws object ws \"}\"\n"
                         "python ::= name \"(\" (arguments (\", \" arguments)*)? \")\"\n");
    sm_builder_text(out, rules);
    return !out->failed;
}
