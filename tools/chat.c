/* chat.c - `smallmind chat`: a conversation through the model's own template. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include <jansson.h>

#include "cli.h"
#include "line.h"
#include "shown.h"
#include "summary.h"

#define DIM "\033[2m"
#define GREEN "\033[32m"
#define CYAN "\033[36m"
#define PLAIN "\033[0m"

typedef struct chat_state {
    const char *path, *system, *template_name, *tools_path;
    bool json;
    sm_model_options model;
    sm_session_options session;
    sm_sampling sampling;
    sm_generate_options generate;
    sm_session *handle;
    sm_chat *chat;
    const sm_model *loaded;
    json_t *messages;
    char *summary; /* of the first n_summed messages, that the model gets instead; NULL: none */
    size_t n_summed;
    char *tools; /* as text; NULL: none */
    bool colour; /* stdout is a terminal */
    bool typed;  /* lines are typed */
    /* of the answer that is being written */
    uint32_t kind;   /* SM_DELTA_… of what stands on the screen; 0: nothing yet */
    json_t *message; /* when it is complete */
    bool dropped;
} chat_state;

/* ---- messages ------------------------------------------------------------------------------- */

static bool add_message(chat_state *c, const char *role, const char *text, size_t length) {
    json_t *message = json_pack("{s:s, s:o}", "role", role, "content", cli_json_text(text, length));
    if (message != NULL && json_array_append_new(c->messages, message) == 0)
        return true;
    cli_error("out of memory for a message");
    return false;
}

static void forget_summary(chat_state *c) {
    free(c->summary);
    c->summary = NULL;
    c->n_summed = 0;
}

/* Everything but the system message goes, which the new text becomes if there is one. */
static bool start_over(chat_state *c, const char *system) {
    json_array_clear(c->messages);
    forget_summary(c);
    return system == NULL || add_message(c, "system", system, strlen(system));
}

static const char *role_of(const chat_state *c, size_t i) {
    const char *role = json_string_value(json_object_get(json_array_get(c->messages, i), "role"));
    return role != NULL ? role : "";
}

static bool has_system(const chat_state *c) {
    return strcmp(role_of(c, 0), "system") == 0;
}

/* A system message that goes on with the summary. NULL: no memory. */
static json_t *system_with_summary(const chat_state *c) {
    const json_t *own =
        has_system(c) ? json_object_get(json_array_get(c->messages, 0), "content") : NULL;
    const char *text = json_string_value(own);
    text = text != NULL ? text : "";
    return json_pack("{s:s, s:s+++}", "role", "system", "content", text, *text != 0 ? "\n\n" : "",
                     "Summary of the conversation so far: ", c->summary);
}

/* The messages that the model gets, as JSON that the caller frees. NULL: no memory. */
static char *messages_for_model(const chat_state *c) {
    if (c->summary == NULL)
        return json_dumps(c->messages, JSON_COMPACT);
    json_t *sent = json_array();
    bool good = json_array_append_new(sent, system_with_summary(c)) == 0;
    for (size_t i = c->n_summed; good && i < json_array_size(c->messages); i++)
        good = json_array_append(sent, json_array_get(c->messages, i)) == 0;
    char *text = good ? json_dumps(sent, JSON_COMPACT) : NULL;
    json_decref(sent);
    return text;
}

/* Back to behind the last message of the user. false: there is none. */
static bool forget_answer(chat_state *c) {
    size_t n = json_array_size(c->messages);
    while (n > 0 && strcmp(role_of(c, n - 1), "user") != 0)
        n--;
    while (n > 0 && json_array_size(c->messages) > n)
        json_array_remove(c->messages, json_array_size(c->messages) - 1);
    return n > 0;
}

/* ---- what is written ------------------------------------------------------------------------- */

static void paint(const chat_state *c, const char *colour) {
    if (c->colour)
        fputs(colour, stdout);
}

/* Reasoning is dimmed, and stands apart from the answer. */
static void turn_to(chat_state *c, uint32_t kind) {
    if (kind == c->kind)
        return;
    if (c->kind != 0) {
        paint(c, PLAIN);
        fputs(c->kind == SM_DELTA_REASONING ? "\n\n" : "\n", stdout);
    }
    paint(c, kind == SM_DELTA_REASONING ? DIM : kind == SM_DELTA_CALL ? CYAN : PLAIN);
    c->kind = kind;
}

static void print_call(const sm_delta *delta) {
    char name[CLI_SHOWN_SPACE];
    printf("-> %s ", cli_shown(name, delta->name));
    cli_print_escaped(delta->text, (size_t)delta->length, 0);
    putchar('\n');
}

static int32_t on_delta(void *user, const sm_delta *delta) {
    chat_state *c = user;
    json_error_t error;
    json_t *json = NULL;
    if (c->json || delta->kind == SM_DELTA_END) {
        json = json_loadb(delta->json, (size_t)delta->json_length, JSON_DECODE_ANY, &error);
        if (json == NULL)
            return 1;
    }
    if (delta->kind == SM_DELTA_END)
        c->message = json_deep_copy(json_object_get(json, "message"));
    if (c->json)
        cli_print_json(delta->kind == SM_DELTA_END ? json : json_pack("{s:o}", "delta", json),
                       JSON_COMPACT);
    else
        json_decref(json);
    if (!c->json && delta->kind != SM_DELTA_END) {
        turn_to(c, delta->kind);
        if (delta->kind == SM_DELTA_CALL)
            print_call(delta);
        else
            fwrite(delta->text, 1, (size_t)delta->length, stdout);
    }
    return fflush(stdout) != 0 || cli_interrupted();
}

static int32_t on_cancel(void *user) {
    (void)user;
    return cli_interrupted();
}

/* ---- a full context -------------------------------------------------------------------------- */

/* Ids of what the model gets; more than capacity: *n is how many. */
static bool encode_messages(const chat_state *c, int32_t *ids, uint64_t capacity, uint64_t *n) {
    sm_error error = {0};
    sm_tokenizer *tokenizer = NULL;
    char *messages = messages_for_model(c);
    sm_status status = sm_model_get_tokenizer(c->loaded, &tokenizer, &error);
    if (messages == NULL)
        cli_error("out of memory for the messages");
    else if (status == SM_OK)
        status =
            sm_chat_encode(c->chat, tokenizer, messages, c->tools, NULL, ids, capacity, n, &error);
    sm_tokenizer_free(tokenizer);
    free(messages);
    if (status != SM_OK && status != SM_ERR_BUFFER)
        cli_fail(&error);
    return messages != NULL && (status == SM_OK || status == SM_ERR_BUFFER);
}

/* All before the last message of the user becomes a summary, if it is none yet. */
static bool sum_up(chat_state *c) {
    const size_t first = c->n_summed != 0 ? c->n_summed : has_system(c);
    size_t last = json_array_size(c->messages);
    while (last > first && strcmp(role_of(c, last - 1), "user") != 0)
        last--;
    if (last <= first + 1)
        return true;
    fprintf(stderr, "%s[context full: a summary takes the place of %zu messages]\n",
            c->dropped ? "" : "\n", last - 1 - first);
    c->dropped = true;
    const summary_by by = {c->loaded, c->chat, &c->session, &c->sampling, on_cancel};
    char *summary = summarise(&by, c->messages, first, last - 1, c->summary);
    if (summary == NULL)
        return false;
    free(c->summary);
    c->summary = summary;
    c->n_summed = last - 1;
    return true;
}

/* The session goes on with the summary, the last turn and the end of the answer that is being
 * written, up to three quarters of the context if that can be. */
static int32_t replace_by_summary(chat_state *c, sm_context_full *full) {
    uint64_t before = 0, n = 0;
    if (!encode_messages(c, NULL, 0, &before) || !sum_up(c) ||
        !encode_messages(c, full->replacement, full->n_ctx, &n))
        return 1;
    if (n >= full->n_ctx) {
        cli_error("the context of %u tokens is too small for the last message behind a summary",
                  full->n_ctx);
        return 1;
    }
    const uint64_t most = full->n_ctx - full->n_ctx / 4;
    const uint64_t room = n < most ? most - n : (full->n_ctx - n) / 2;
    const uint64_t written = full->n_ids > before ? full->n_ids - before : 0;
    const uint64_t kept = written < room ? written : room;
    if (kept < written) {
        fprintf(stderr, "%s[context full: the first %llu tokens of the answer are dropped]\n",
                c->dropped ? "" : "\n", (unsigned long long)(written - kept));
        c->dropped = true;
    }
    memcpy(full->replacement + n, full->ids + full->n_ids - kept, kept * sizeof *full->ids);
    full->n_replacement = n + kept;
    return cli_interrupted();
}

static int32_t on_context_full(void *user, sm_context_full *full) {
    chat_state *c = user;
    if (full->policy == SM_CONTEXT_ASK)
        return replace_by_summary(c, full);
    fprintf(stderr, "%s[context full: %llu tokens behind the first %u are dropped]\n",
            c->dropped ? "" : "\n", (unsigned long long)full->n_dropped, full->n_keep);
    c->dropped = true;
    return cli_interrupted();
}

/* One line about the answer, where somebody sees it. */
static void print_stats(const chat_state *c) {
    sm_generate_stats stats = {.struct_size = sizeof stats};
    if (c->json || sm_session_get_stats(c->handle, &stats, NULL) != SM_OK)
        return;
    const char *why = stats.finish == SM_FINISH_CONTEXT     ? ", stopped: the context is full"
                      : stats.finish == SM_FINISH_LENGTH    ? ", stopped: as long as -n allows"
                      : stats.finish == SM_FINISH_CANCELLED ? ", stopped"
                                                            : "";
    const double decoded = stats.generated_tokens > 1 ? stats.generated_tokens - 1 : 0;
    const double seconds = stats.generate_seconds;
    const bool colour = isatty(STDERR_FILENO) != 0;
    if (c->typed || *why != 0)
        fprintf(stderr, "%s[%u tokens, %.1f tokens/s, context %u of %u%s]%s\n", colour ? DIM : "",
                stats.generated_tokens, seconds > 0.0 ? decoded / seconds : 0.0,
                sm_session_length(c->handle), cli_session_info(c->handle).n_ctx, why,
                colour ? PLAIN : "");
}

/* ---- an answer ------------------------------------------------------------------------------- */

/* A stopped answer stays as far as it came; after a failure the conversation is as it was. */
static int answer(chat_state *c) {
    sm_error error = {0};
    char *messages = messages_for_model(c);
    if (messages == NULL)
        return cli_error("out of memory for the messages");
    c->kind = 0;
    c->dropped = false;
    c->message = NULL;
    sm_session_set_cancel(c->handle, on_cancel, c, NULL);
    const sm_answer_options options = {.struct_size = sizeof options, .generate = &c->generate};
    const sm_status status =
        sm_session_chat(c->handle, c->chat, messages, c->tools, &options, on_delta, c, &error);
    free(messages);
    if (!c->json && c->kind != 0) {
        paint(c, PLAIN);
        putchar('\n');
        fflush(stdout);
    }
    if (c->message != NULL)
        json_array_append_new(c->messages, c->message);
    if (status == SM_OK || (status == SM_ERR_CANCELLED && cli_interrupted()))
        print_stats(c);
    if (status == SM_ERR_CANCELLED && cli_interrupted())
        return CLI_GO_ON;
    return status == SM_OK ? CLI_GO_ON : cli_fail(&error);
}

/* ---- commands -------------------------------------------------------------------------------- */

static void print_help(void) {
    fputs("/system [TEXT]  start over, with this system message or none\n"
          "/regen          answer again\n"
          "/save FILE      write the conversation, a JSON array of messages\n"
          "/load FILE      go on with one\n"
          "/help           this\n"
          "/quit           end; so does Ctrl-D\n"
          "A line that ends with \\ goes on on the next; \"\"\" begins and ends several lines.\n"
          "Ctrl-C stops an answer.\n",
          stderr);
}

static void save(const chat_state *c, const char *path) {
    if (*path == 0)
        cli_error("/save needs the name of a file");
    else if (json_dump_file(c->messages, path, JSON_INDENT(1)) != 0)
        cli_error("%s: cannot be written", path);
}

static void load(chat_state *c, const char *path) {
    json_error_t error;
    json_t *messages = *path != 0 ? json_load_file(path, 0, &error) : NULL;
    if (*path == 0) {
        cli_error("/load needs the name of a file");
    } else if (messages == NULL) {
        cli_error("%s:%d: %s", path, error.line, error.text);
    } else if (!json_is_array(messages)) {
        cli_error("%s: not a JSON array of messages", path);
        json_decref(messages);
    } else {
        json_decref(c->messages);
        c->messages = messages;
        forget_summary(c);
    }
}

/* Whether the line is a command of that name; *rest: what follows it. */
static bool is_command(const char *line, const char *name, const char **rest) {
    const size_t n = strlen(name);
    if (strncmp(line, name, n) != 0 || (line[n] != 0 && line[n] != ' '))
        return false;
    *rest = line + n + strspn(line + n, " ");
    return true;
}

/* CLI_GO_ON, or how the program ends. */
static int command(chat_state *c, const char *line) {
    const char *rest = "";
    if (is_command(line, "/quit", &rest) || is_command(line, "/exit", &rest))
        return CLI_DONE;
    if (is_command(line, "/help", &rest))
        print_help();
    else if (is_command(line, "/system", &rest))
        start_over(c, *rest != 0 ? rest : NULL);
    else if (is_command(line, "/save", &rest))
        save(c, rest);
    else if (is_command(line, "/load", &rest))
        load(c, rest);
    else if (is_command(line, "/image", &rest))
        cli_error("/image: images are not read by this version, only text");
    else if (!is_command(line, "/regen", &rest))
        cli_error("%s: no such command; /help lists them", line);
    else if (!forget_answer(c))
        cli_error("/regen: nothing was asked yet");
    else
        return answer(c);
    return CLI_GO_ON;
}

/* ---- turns ----------------------------------------------------------------------------------- */

typedef struct turn_text {
    char *data;
    size_t length;
} turn_text;

static bool append(turn_text *t, const char *text, size_t length, const char *end) {
    char *data = realloc(t->data, t->length + length + strlen(end) + 1);
    if (data == NULL)
        return false;
    memcpy(data + t->length, text, length);
    memcpy(data + t->length + length, end, strlen(end) + 1);
    t->data = data;
    t->length += length + strlen(end);
    return true;
}

/* A turn: one line from a pipe; typed, a line, or several (\ at their ends, or between """). */
static line_end read_turn(const chat_state *c, turn_text *turn) {
    bool block = false, more = false;
    *turn = (turn_text){0};
    do {
        char *line;
        size_t n;
        line_end end = line_read(turn->data != NULL || block ? "... " : "> ", &line, &n);
        if (end != LINE_READ) {
            if (end == LINE_OVER && turn->data != NULL)
                return LINE_READ;
            free(turn->data);
            turn->data = NULL;
            return end;
        }
        const bool fence = c->typed && strcmp(line, "\"\"\"") == 0;
        more = c->typed && !block && n > 0 && line[n - 1] == '\\';
        block = block != fence;
        if (!fence && !append(turn, line, n - more, more || block ? "\n" : ""))
            end = LINE_OVER;
        else if (fence && turn->data == NULL && !append(turn, "", 0, ""))
            end = LINE_OVER;
        free(line);
        if (end != LINE_READ)
            return end;
    } while (more || block);
    return LINE_READ;
}

/* In JSON a line may be a whole message: results of tools come that way. */
static bool add_turn(chat_state *c, const turn_text *turn) {
    json_error_t error;
    json_t *message = c->json ? json_loadb(turn->data, turn->length, 0, &error) : NULL;
    if (json_is_object(message) && json_is_string(json_object_get(message, "role")))
        return json_array_append_new(c->messages, message) == 0;
    json_decref(message);
    return add_message(c, "user", turn->data, turn->length);
}

static int take_turn(chat_state *c, const turn_text *turn) {
    const size_t n = json_array_size(c->messages);
    if (turn->length == 0)
        return CLI_GO_ON;
    line_remember(turn->data);
    if (turn->data[0] == '/')
        return command(c, turn->data);
    int code = add_turn(c, turn) ? answer(c) : CLI_FAILED;
    if (code != CLI_GO_ON)
        while (json_array_size(c->messages) > n)
            json_array_remove(c->messages, json_array_size(c->messages) - 1);
    /* somebody who types may try something else; a pipe gets the failure */
    return code != CLI_GO_ON && c->typed ? CLI_GO_ON : code;
}

static int converse(chat_state *c) {
    int code = CLI_GO_ON;
    while (code == CLI_GO_ON) {
        turn_text turn;
        cli_forget_interrupt();
        if (cli_interrupted()) /* by more than Ctrl-C */
            return cli_interrupt_code();
        if (c->typed && c->colour)
            fputs(GREEN, stderr);
        const line_end end = read_turn(c, &turn);
        if (c->typed && c->colour)
            fputs(PLAIN, stderr);
        if (end == LINE_OVER)
            return CLI_DONE;
        if (end == LINE_STOPPED) {
            if (!c->typed)
                return cli_interrupt_code();
            continue;
        }
        code = take_turn(c, &turn);
        free(turn.data);
        if (cli_interrupted() && !c->typed)
            return cli_interrupt_code();
    }
    return code;
}

/* ---- beginning ------------------------------------------------------------------------------- */

static int read_tools(chat_state *c) {
    cli_input input;
    if (c->tools_path == NULL)
        return CLI_GO_ON;
    if (!cli_read_text(&input, c->tools_path))
        return CLI_FAILED;
    json_error_t error;
    json_t *tools = json_loadb(input.text, input.length, 0, &error);
    int code = CLI_GO_ON;
    if (tools == NULL)
        code = cli_error("%s:%d: %s", c->tools_path, error.line, error.text);
    else if (!json_is_array(tools))
        code = cli_error("%s: not a JSON array of tools", c->tools_path);
    json_decref(tools);
    if (code == CLI_GO_ON)
        c->tools = input.text;
    else
        free(input.text);
    return code;
}

/* --template FILE, or a name; without it the model's own. */
static int open_template(chat_state *c, const sm_model *model) {
    sm_error error = {0};
    sm_chat_options o = {.struct_size = sizeof o};
    cli_input input = {0};
    if (c->template_name != NULL && access(c->template_name, R_OK) == 0) {
        if (!cli_read_text(&input, c->template_name))
            return CLI_FAILED;
        o.template_text = input.text;
    } else {
        o.template_name = c->template_name;
    }
    const sm_status status = sm_chat_new_from_model(&c->chat, model, &o, &error);
    free(input.text);
    return status == SM_OK ? CLI_GO_ON : cli_fail(&error);
}

static int with_model(chat_state *c, const sm_model *model) {
    int code = open_template(c, model);
    if (code == CLI_GO_ON)
        code = cli_open_session(&c->handle, model, &c->session, NULL);
    if (code != CLI_GO_ON)
        return code;
    c->loaded = model;
    c->messages = json_array();
    if (!start_over(c, c->system))
        return CLI_FAILED;
    if (c->typed)
        fputs("/help lists commands; Ctrl-D ends\n", stderr);
    return converse(c);
}

static int load_and_converse(chat_state *c) {
    sm_model *model;
    sm_model_info info;
    int code = read_tools(c);
    if (code == CLI_GO_ON)
        code = cli_load_model(&model, &info, c->path, &c->model);
    if (code == CLI_GO_ON) {
        code = with_model(c, model);
        sm_chat_free(c->chat);
        sm_session_free(c->handle);
        sm_model_free(model);
    }
    json_decref(c->messages);
    free(c->summary);
    free(c->tools);
    return code;
}

int cmd_chat(int argc, char **argv) {
    chat_state c = {
        .model.struct_size = sizeof c.model,
        .session.struct_size = sizeof c.session,
        .sampling.struct_size = sizeof c.sampling,
        .generate.struct_size = sizeof c.generate,
    };
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &c.path, "FILE", 0, 0, CLI_MODEL_DOC},
        {0, "system", CLI_TEXT, &c.system, "TEXT", 0, 0, "the system message"},
        {0, "template", CLI_TEXT, &c.template_name, "FILE|NAME", 0, 0,
         "a chat template other than the model's own: a file, one of the model's by name, or a "
         "well-known layout (chatml, llama-2, zephyr …)"},
        {0, "tools", CLI_TEXT, &c.tools_path, "FILE", 0, 0,
         "tools that the model may call, a JSON array as in OpenAI's API; - reads standard input"},
        {0, "json", CLI_SWITCH, &c.json, "", 0, 0,
         "print JSON objects, one a line: each delta as it comes, and the whole answer with why it "
         "ended. A line of the input may then be a whole message ({\"role\": …}), a tool's result "
         "for one"},
    };
    const cli_fields fields[] = {
        {SM_OPTIONS_GENERATE, &c.generate, NULL},
        {SM_OPTIONS_SAMPLING, &c.sampling, NULL},
        {SM_OPTIONS_SESSION, &c.session, NULL},
        {SM_OPTIONS_MODEL, &c.model, NULL},
    };
    const cli_command about = {
        .name = "chat",
        .synopsis = "-m MODEL [OPTION]...",
        .summary =
            "Talks with a model through its chat template. Typed lines are turns; /help lists\n"
            "commands (/system, /regen, /save, /load …); Ctrl-C stops an answer, Ctrl-D ends.\n"
            "From a pipe each line is a turn, and the answers go to standard output.\n"
            "What the model says to itself is dimmed on a terminal, calls of tools are shown.\n"
            "With --context-full ask a summary that the model writes takes the place of earlier\n"
            "turns.",
        .examples = {{"smallmind chat -m model.gguf --system \"Be brief.\"", "talk with a model"},
                     {"echo \"What is the capital of Italy?\" | smallmind chat -m model.gguf",
                      "one question, one answer"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = &c.path,
    };
    const int code = cli_parse(&about, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (c.path == NULL)
        return cli_misuse("chat", "-m MODEL is required");
    c.generate.sampling = &c.sampling;
    c.generate.on_context_full = on_context_full;
    c.generate.context_full_user = &c;
    c.colour = isatty(STDOUT_FILENO) != 0;
    c.typed = line_is_typed() && !c.json;
    cli_catch_interrupt();
    return load_and_converse(&c);
}
