/* Tokens that end a turn and others known by their text. GGUF has keys for some
 * of them, but many files lack these or call the tokens ordinary ones. */
#include "internal.h"

#include <string.h>

#define END 1U       /* ends a generation */
#define TURN 2U      /* end of turn; the first one found is eot */
#define MESSAGE 4U   /* end of message */
#define CONTROL 8U   /* a control token whatever the file says */
#define VISIBLE 16U  /* user-defined whatever the file says */
#define IF_TYPED 32U /* may be an ordinary word: only if the file has it as special */

static const struct {
    const char *text;
    uint32_t what;
} markers[] = {
    {"<|eot_id|>", TURN | END},
    {"<|im_end|>", TURN | END},
    {"<|end|>", TURN | END},
    {"<end_of_turn>", TURN | END},
    {"<|endoftext|>", TURN | END},
    {"<|end_of_text|>", TURN | END},
    {"<EOT>", TURN | END},
    {"_<EOT>", TURN | END},
    {"[EOT]", TURN | END | IF_TYPED},
    {"<\xEF\xBD\x9C"
     "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
     TURN | END},
    {"<end_of_utterance>", TURN | END},
    {"<|eom_id|>", MESSAGE | END},
    {"<|return|>", END},
    {"<|call|>", END},
    {"<|calls|>", END},
    {"<|flush|>", END},
    {"<turn|>", END},
    {"<|tool_response>", END},
    {"[e~[", END},
    {"</s>", END | IF_TYPED},
    {"<eos>", END | IF_TYPED},
    {"[EOS]", END | IF_TYPED},
    {"<|fim_pad|>", END},
    {"<fim-pad>", END},
    {"<fim_pad>", END},
    {"<PAD>", END | IF_TYPED},
    {"[PAD]", END | IF_TYPED},
    {"<|fim_repo|>", END},
    {"<|repo_name|>", END},
    {"<fim-repo>", END},
    {"<REPO>", END | IF_TYPED},
    {"<reponame>", END},
    {"<|file_sep|>", END},
    {"<|fim_prefix|>", CONTROL},
    {"<fim-prefix>", CONTROL},
    {"<fim_prefix>", CONTROL},
    {"<\xEF\xBD\x9C"
     "fim\xE2\x96\x81"
     "begin\xEF\xBD\x9C>",
     CONTROL},
    {"<PRE>", CONTROL | IF_TYPED},
    {SM_LOWER_BLOCK "<PRE>", CONTROL},
    {"<|code_prefix|>", CONTROL},
    {"<|prefix|>", CONTROL},
    {"<|fim_suffix|>", CONTROL},
    {"<fim-suffix>", CONTROL},
    {"<fim_suffix>", CONTROL},
    {"<\xEF\xBD\x9C"
     "fim\xE2\x96\x81hole\xEF\xBD\x9C>",
     CONTROL},
    {"<SUF>", CONTROL | IF_TYPED},
    {SM_LOWER_BLOCK "<SUF>", CONTROL},
    {"<|code_suffix|>", CONTROL},
    {"<|suffix|>", CONTROL},
    {"<|fim_middle|>", CONTROL},
    {"<fim-middle>", CONTROL},
    {"<fim_middle>", CONTROL},
    {"<\xEF\xBD\x9C"
     "fim\xE2\x96\x81"
     "end\xEF\xBD\x9C>",
     CONTROL},
    {"<MID>", CONTROL | IF_TYPED},
    {SM_LOWER_BLOCK "<MID>", CONTROL},
    {"<|code_middle|>", CONTROL},
    {"<|middle|>", CONTROL},
    {"<|channel|>", VISIBLE},
    {"<|message|>", VISIBLE},
    {"<|start|>", VISIBLE},
    {"<|constrain|>", VISIBLE},
};

static uint32_t find(const sm_tokenizer *t, const char *text) {
    return sm_index_find(&t->index, &t->text, text, strlen(text));
}

static bool ends(const sm_tokenizer *t, const char *text) {
    uint32_t id = find(t, text);
    return id != SM_NO_ID && t->flags[id] & SM_FLAG_END;
}

static void take_end(sm_tokenizer *t, const char *text, uint8_t type) {
    uint32_t id = find(t, text);
    if (id == SM_NO_ID)
        return;
    t->flags[id] &= (uint8_t)~SM_FLAG_END;
    if (!t->steps)
        t->type[id] = type;
}

static void mark_end(sm_tokenizer *t, int32_t id) {
    if (id >= 0)
        t->flags[id] |= SM_FLAG_END;
}

void sm_tokenizer_mark_end(sm_tokenizer *t, int64_t id) {
    if (id >= 0 && id < sm_tokenizer_n_vocab(t))
        mark_end(t, (int32_t)id);
}

void sm_markers_detect(sm_tokenizer *t) {
    for (size_t i = 0; i < sizeof markers / sizeof *markers; i++) {
        uint32_t id = find(t, markers[i].text), what = markers[i].what;
        if (id == SM_NO_ID || (what & IF_TYPED && t->type[id] == SM_TOKEN_NORMAL))
            continue;
        if (!t->steps) /* there the file is exact */
            t->type[id] = what & VISIBLE ? SM_TOKEN_USER_DEFINED : SM_TOKEN_CONTROL;
        if (what & END)
            mark_end(t, (int32_t)id);
        if (what & TURN && t->eot < 0)
            t->eot = (int32_t)id;
        if (what & MESSAGE && t->eom < 0)
            t->eom = (int32_t)id;
    }
    mark_end(t, t->eos);
    mark_end(t, t->eot);
    mark_end(t, t->eom);
    /* gpt-oss and Solar end a part of a message, not the turn, with <|end|> */
    bool call = ends(t, "<|call|>") || ends(t, "<|calls|>");
    if (call && (ends(t, "<|return|>") || ends(t, "<|flush|>")) && ends(t, "<|end|>"))
        take_end(t, "<|end|>", SM_TOKEN_USER_DEFINED);
    /* Gemma 4 has </s> for markup */
    if (ends(t, "<|tool_response>") && ends(t, "</s>"))
        take_end(t, "</s>", SM_TOKEN_NORMAL);
}

/* ASCII letters of either case are equal; `part` is in lower case. */
static bool contains(sm_str text, const char *part) {
    uint64_t n = strlen(part);
    for (uint64_t i = 0; n <= text.length && i <= text.length - n; i++) {
        uint64_t k = 0;
        for (; k < n; k++) {
            char c = text.data[i + k];
            if (c >= 'A' && c <= 'Z')
                c = (char)(c + ('a' - 'A'));
            if (c != part[k])
                break;
        }
        if (k == n)
            return true;
    }
    return false;
}

static void set_flag(sm_tokenizer *t, const char *text, uint8_t flag, bool on) {
    uint32_t id = find(t, text);
    if (id != SM_NO_ID)
        t->flags[id] = (uint8_t)(on ? t->flags[id] | flag : t->flags[id] & ~flag);
}

void sm_markers_strip(sm_tokenizer *t, sm_str name, sm_str architecture, uint32_t pre_flags) {
    if (pre_flags & SM_PRE_MASK_LSTRIP || contains(architecture, "nomic-bert-moe") ||
        contains(architecture, "jina-bert-v3")) {
        set_flag(t, "<mask>", SM_FLAG_LSTRIP, true);
    } else if (contains(name, "phi-3") || contains(name, "phi3")) {
        for (uint32_t id = 0; id < t->text.n; id++)
            if (t->type[id] == SM_TOKEN_CONTROL || t->type[id] == SM_TOKEN_USER_DEFINED ||
                t->type[id] == SM_TOKEN_UNKNOWN)
                t->flags[id] |= SM_FLAG_RSTRIP;
        set_flag(t, "</s>", SM_FLAG_RSTRIP, true);
        set_flag(t, "<s>", SM_FLAG_RSTRIP, false);
        set_flag(t, "<unk>", SM_FLAG_RSTRIP, false);
        set_flag(t, "<|endoftext|>", SM_FLAG_RSTRIP, false);
    } else if (contains(name, "modern-bert")) {
        set_flag(t, "[MASK]", SM_FLAG_LSTRIP, true);
    }
}
