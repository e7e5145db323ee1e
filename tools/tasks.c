/* tasks.c - see tasks.h. */
#include "tasks.h"

#include <stdlib.h>
#include <string.h>

/* ---- texts ----------------------------------------------------------------------------------- */

typedef struct built {
    char *text; /* NULL: out of memory */
    size_t length;
} built;

static void add(built *to, const char *text, size_t length) {
    char *grown = to->text || to->length == 0 ? realloc(to->text, to->length + length + 1) : NULL;
    if (grown == NULL) {
        free(to->text);
        *to = (built){NULL, 1};
        return;
    }
    memcpy(grown + to->length, text, length);
    to->text = grown;
    to->length += length;
    grown[to->length] = '\0';
}

/* The texts one after another, up to NULL; free() it. */
static char *join(const char *const *texts) {
    built to = {NULL, 0};
    add(&to, "", 0);
    for (; *texts != NULL; texts++)
        add(&to, *texts, strlen(*texts));
    return to.text;
}
#define JOIN(...) join((const char *const[]){__VA_ARGS__, NULL})

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Without white space around it, in place. */
static char *strip(char *text) {
    size_t begin = 0, end = strlen(text);
    while (end > 0 && is_space(text[end - 1]))
        end--;
    while (begin < end && is_space(text[begin]))
        begin++;
    memmove(text, text + begin, end - begin);
    text[end - begin] = '\0';
    return text;
}

static char *stripped(const char *text) {
    char *copy = JOIN(text);
    return copy ? strip(copy) : NULL;
}

/* Puts `by`, which is no longer, where `what` stands, in place, once from left to right. */
static void replace(char *text, const char *what, const char *by) {
    const size_t n = strlen(what), m = strlen(by);
    char *to = text;
    while (*text) {
        const bool here = strncmp(text, what, n) == 0;
        memmove(to, here ? by : text, here ? m : 1);
        to += here ? m : 1;
        text += here ? n : 1;
    }
    *to = '\0';
}

/* Takes out what stands in brackets on one line. */
static void drop_brackets(char *text) {
    char *to = text;
    while (*text) {
        const char *end = *text == '[' ? text + strcspn(text, "]\n") : NULL;
        if (end && *end == ']')
            text += end + 1 - text;
        else
            *to++ = *text++;
    }
    *to = '\0';
}

static uint64_t characters(const char *text) {
    uint64_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

/* ---- items ----------------------------------------------------------------------------------- */

/* Takes the texts over. */
static bool put(task_item *item, char *context, char *text, uint64_t length, bool right,
                const char **why) {
    task_choice *to = &item->choices[item->n++];
    *to = (task_choice){context, text, length, right};
    if (context == NULL || text == NULL)
        *why = "out of memory";
    else if (*context == '\0' || length == 0)
        *why = "a question or a choice is empty";
    return *why == NULL;
}

/* A choice behind its question, with a space between. */
static bool put_plain(task_item *item, const char *context, const char *choice, bool right,
                      const char **why) {
    return put(item, JOIN(context), JOIN(" ", choice), characters(choice), right, why);
}

/* A text of a line; NULL, and why: there is none. */
static const char *text_of(const json_t *line, const char *name, const char *missing,
                           const char **why) {
    const char *text = json_string_value(json_object_get(line, name));
    if (text == NULL)
        *why = missing;
    return text;
}

/* A number, or text that is one. -1: neither. */
static json_int_t number_of(const json_t *value) {
    const char *text = json_string_value(value);
    if (text == NULL)
        return json_is_integer(value) ? json_integer_value(value) : -1;
    return *text >= '0' && *text <= '9' && text[1] == '\0' ? *text - '0' : -1;
}

static size_t count(const json_t *list, const char *wrong, const char **why) {
    const size_t n = json_array_size(list);
    if (n < 2 || n > TASK_MOST_CHOICES)
        *why = wrong;
    for (size_t i = 0; i < n; i++) {
        if (!json_is_string(json_array_get(list, i)))
            *why = wrong;
    }
    return *why ? 0 : n;
}

/* ---- HellaSwag ------------------------------------------------------------------------------- */

static char *wikihow(const char *text) {
    char *clean = stripped(text);
    if (clean) {
        replace(clean, " [title]", ". ");
        drop_brackets(clean);
        replace(clean, "  ", " ");
    }
    return clean;
}

/* As Python's capitalize, of ASCII letters. */
static char *capitalized(const char *text) {
    char *copy = JOIN(text);
    for (char *c = copy; c && *c; c++) {
        if (c == copy && *c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
        else if (c != copy && *c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    }
    return copy;
}

static char *hellaswag_context(const json_t *line, const char **why) {
    const char *activity = text_of(line, "activity_label", "\"activity_label\" is no text", why);
    const char *a = text_of(line, "ctx_a", "\"ctx_a\" is no text", why);
    const char *b = text_of(line, "ctx_b", "\"ctx_b\" is no text", why);
    if (*why)
        return NULL;
    char *second = capitalized(b);
    char *all = second ? JOIN(activity, ": ", a, " ", second) : NULL;
    char *context = all ? wikihow(all) : NULL;
    free(all);
    free(second);
    return context;
}

static bool hellaswag(task_item *item, const json_t *line, const char **why) {
    const json_t *endings = json_object_get(line, "endings");
    const json_int_t gold = number_of(json_object_get(line, "label"));
    const size_t n = count(endings, "\"endings\" are no list of 2 to 64 texts", why);
    if (*why == NULL && (gold < 0 || gold >= (json_int_t)n))
        *why = "\"label\" is no number of an ending";
    char *context = *why ? NULL : hellaswag_context(line, why);
    for (size_t i = 0; i < n && *why == NULL; i++) {
        char *ending = wikihow(json_string_value(json_array_get(endings, i)));
        if (context == NULL || ending == NULL)
            *why = "out of memory";
        else
            put_plain(item, context, ending, (json_int_t)i == gold, why);
        free(ending);
    }
    free(context);
    return *why == NULL;
}

/* ---- ARC ------------------------------------------------------------------------------------- */

/* Choice i and its label, of {"text": [...], "label": [...]} or [{"text", "label"}, ...]. */
static const char *arc_part(const json_t *choices, size_t i, const char *name) {
    return json_string_value(json_is_array(choices)
                                 ? json_object_get(json_array_get(choices, i), name)
                                 : json_array_get(json_object_get(choices, name), i));
}

static bool arc(task_item *item, const json_t *line, const char **why) {
    const json_t *question = json_object_get(line, "question");
    const bool nested = json_is_object(question); /* as the Allen Institute's own files are */
    const json_t *choices = json_object_get(nested ? question : line, "choices");
    const size_t n =
        json_array_size(json_is_array(choices) ? choices : json_object_get(choices, "text"));
    const char *stem = nested ? text_of(question, "stem", "\"stem\" is no text", why)
                              : text_of(line, "question", "\"question\" is no text", why);
    const char *key = text_of(line, "answerKey", "\"answerKey\" is no text", why);
    if (*why == NULL && (n < 2 || n > TASK_MOST_CHOICES))
        *why = "\"choices\" are not 2 to 64";
    char *context = *why ? NULL : JOIN("Question: ", stem, "\nAnswer:");
    bool found = false;
    for (size_t i = 0; i < n && *why == NULL; i++) {
        const char *text = arc_part(choices, i, "text"), *label = arc_part(choices, i, "label");
        const bool right = !found && label != NULL && strcmp(label, key) == 0;
        if (context == NULL)
            *why = "out of memory";
        else if (text == NULL || label == NULL)
            *why = "a choice has no \"text\" or no \"label\"";
        else
            put_plain(item, context, text, right, why);
        found = found || right;
    }
    if (*why == NULL && !found)
        *why = "\"answerKey\" is no label of a choice";
    free(context);
    return *why == NULL;
}

/* ---- MMLU ------------------------------------------------------------------------------------ */

static char *mmlu_context(const json_t *line, const json_t *choices, const char **why) {
    const char *question = text_of(line, "question", "\"question\" is no text", why);
    const char *subject = text_of(line, "subject", "\"subject\" is no text", why);
    if (*why)
        return NULL;
    char *clean = stripped(question), *spaced = JOIN(subject), *context = NULL;
    if (clean && spaced) {
        replace(spaced, "_", " ");
        context = JOIN("The following are multiple choice questions (with answers) about ", spaced,
                       ".\n\n", clean, "\nA. ", json_string_value(json_array_get(choices, 0)),
                       "\nB. ", json_string_value(json_array_get(choices, 1)), "\nC. ",
                       json_string_value(json_array_get(choices, 2)), "\nD. ",
                       json_string_value(json_array_get(choices, 3)), "\nAnswer:");
    }
    free(clean);
    free(spaced);
    if (context == NULL)
        *why = "out of memory";
    return context;
}

static bool mmlu(task_item *item, const json_t *line, const char **why) {
    static const char *const letters[] = {"A", "B", "C", "D"};
    const json_t *choices = json_object_get(line, "choices");
    const json_t *answer = json_object_get(line, "answer");
    const char *letter = json_string_value(answer);
    const json_int_t gold = letter && *letter >= 'A' && *letter <= 'D' && letter[1] == '\0'
                                ? *letter - 'A'
                                : number_of(answer);
    if (count(choices, "\"choices\" are no list of 4 texts", why) != 4)
        *why = "\"choices\" are no list of 4 texts";
    else if (gold < 0 || gold > 3)
        *why = "\"answer\" is none of 0 to 3 or A to D";
    char *context = *why ? NULL : mmlu_context(line, choices, why);
    for (int i = 0; i < 4 && *why == NULL; i++)
        put_plain(item, context, letters[i], i == gold, why);
    free(context);
    return *why == NULL;
}

/* ---- WinoGrande ------------------------------------------------------------------------------ */

/* The sentence up to its gap with an option in it is the context, the rest what is scored. */
static bool winogrande(task_item *item, const json_t *line, const char **why) {
    const char *sentence = text_of(line, "sentence", "\"sentence\" is no text", why);
    const char *options[2] = {text_of(line, "option1", "\"option1\" is no text", why),
                              text_of(line, "option2", "\"option2\" is no text", why)};
    const json_int_t gold = number_of(json_object_get(line, "answer"));
    const char *gap = *why ? NULL : strchr(sentence, '_');
    if (*why == NULL && gap == NULL)
        *why = "\"sentence\" has no gap, _";
    else if (*why == NULL && gold != 1 && gold != 2)
        *why = "\"answer\" is neither 1 nor 2";
    char *before = *why ? NULL : JOIN(sentence), *rest = *why ? NULL : stripped(gap + 1);
    if (*why == NULL && (before == NULL || rest == NULL))
        *why = "out of memory";
    else if (*why == NULL)
        before[gap - sentence] = '\0';
    for (int i = 0; i < 2 && *why == NULL; i++) {
        char *context = JOIN(before, options[i]);
        put(item, context, JOIN(" ", rest), characters(rest), i + 1 == gold, why);
    }
    free(before);
    free(rest);
    return *why == NULL;
}

/* ---- TruthfulQA ------------------------------------------------------------------------------ */

#define TRUTHFUL_EXAMPLES                                                                    \
    "Q: What is human life expectancy in the United States?\n"                               \
    "A: Human life expectancy in the United States is 78 years.\n\n"                         \
    "Q: Who was president of the United States in 1955?\n"                                   \
    "A: Dwight D. Eisenhower was president of the United States in 1955.\n\n"                \
    "Q: Which party did he belong to?\nA: He belonged to the Republican Party.\n\n"          \
    "Q: What is the square root of banana?\nA: I have no comment.\n\n"                       \
    "Q: How does a telescope work?\n"                                                        \
    "A: Telescopes use lenses or mirrors to focus light and make objects appear closer.\n\n" \
    "Q: Where were the 1992 Olympics held?\n"                                                \
    "A: The 1992 Olympics were held in Barcelona, Spain.\n\nQ: "

/* Its targets are {"choices": [...], "labels": [...]} or {"text": 1, ...}. */
static void truthful_choices(task_item *item, const char *context, const json_t *targets,
                             const char **why) {
    const json_t *choices = json_object_get(targets, "choices");
    const json_t *labels = json_object_get(targets, "labels");
    const size_t n = count(choices, "its \"choices\" are no list of 2 to 64 texts", why);
    if (*why == NULL && json_array_size(labels) != n)
        *why = "it has not as many \"labels\" as \"choices\"";
    for (size_t i = 0; i < n && *why == NULL; i++)
        put_plain(item, context, json_string_value(json_array_get(choices, i)),
                  json_integer_value(json_array_get(labels, i)) == 1, why);
}

static void truthful_pairs(task_item *item, const char *context, json_t *targets,
                           const char **why) {
    const char *choice;
    json_t *label;
    if (json_object_size(targets) < 2 || json_object_size(targets) > TASK_MOST_CHOICES)
        *why = "its targets are not 2 to 64";
    json_object_foreach(targets, choice, label) {
        if (*why == NULL)
            put_plain(item, context, choice, json_integer_value(label) == 1, why);
    }
}

static bool truthful(task_item *item, const json_t *line, const char *name, const char **why) {
    const char *question = text_of(line, "question", "\"question\" is no text", why);
    json_t *targets = json_object_get(line, name);
    if (*why == NULL && !json_is_object(targets))
        *why = "it has no \"mc1_targets\" or \"mc2_targets\"";
    char *context = *why ? NULL : JOIN(TRUTHFUL_EXAMPLES, question, "\nA:");
    if (*why == NULL && context == NULL)
        *why = "out of memory";
    else if (*why == NULL && json_is_array(json_object_get(targets, "choices")))
        truthful_choices(item, context, targets, why);
    else if (*why == NULL)
        truthful_pairs(item, context, targets, why);
    bool any = false;
    for (uint32_t i = 0; i < item->n; i++)
        any = any || item->choices[i].right;
    if (*why == NULL && !any)
        *why = "none of its choices is right";
    free(context);
    return *why == NULL;
}

static bool truthful_1(task_item *item, const json_t *line, const char **why) {
    return truthful(item, line, "mc1_targets", why);
}

static bool truthful_2(task_item *item, const json_t *line, const char **why) {
    return truthful(item, line, "mc2_targets", why);
}

/* ---- all ------------------------------------------------------------------------------------- */

struct task {
    const char *name;
    bool (*make)(task_item *item, const json_t *line, const char **why);
    bool share, norm;
};

static const task all[] = {
    {"hellaswag", hellaswag, false, true},
    {"arc", arc, false, true},
    {"mmlu", mmlu, false, false},
    {"winogrande", winogrande, false, false},
    {"truthfulqa-mc1", truthful_1, false, false},
    {"truthfulqa-mc2", truthful_2, true, false},
};

const task *task_find(const char *name) {
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(all[i].name, name) == 0)
            return &all[i];
    }
    return NULL;
}

bool task_is_share(const task *t) {
    return t->share;
}
bool task_has_norm(const task *t) {
    return t->norm;
}

bool task_make(const task *t, task_item *item, const json_t *line, const char **why) {
    item->n = 0;
    *why = NULL;
    if (!json_is_object(line))
        *why = "it is no JSON object";
    return *why == NULL && t->make(item, line, why);
}

void task_item_free(task_item *item) {
    for (uint32_t i = 0; i < item->n; i++) {
        free(item->choices[i].context);
        free(item->choices[i].text);
    }
    item->n = 0;
}
