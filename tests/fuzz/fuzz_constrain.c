/* Fuzz target of constraints: the first byte says grammar (g; l: one that may be left recursive) or
 * regular expression, up to a zero byte it is read, what follows the zero is a text for it. What
 * may come next by bytes may come, and nothing takes longer than its limit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "constrain/constrain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_constrain: %s\n", what);
        abort();
    }
}

/* Byte by byte it is what it is at once, and back again. */
static void follow(sm_constraint *c, const char *text, size_t n) {
    sm_constraint_state *s, *at_once;
    char forced[64];
    uint64_t length, taken = 0;
    if (sm_constraint_state_new(&s, c, NULL) || sm_constraint_state_fork(&at_once, s, NULL))
        return;
    sm_status status = SM_OK;
    for (; taken < n && !status; taken += !status) {
        const sm_status known = sm_constraint_forced_text(s, forced, sizeof forced, &length, NULL);
        status = sm_constraint_accept_text(s, text + taken, 1, NULL);
        if (!known && length > 0 && !status)
            require(text[taken] == forced[0], "something else than what is forced");
    }
    if (status == SM_OK || status == SM_ERR_ARGUMENT) {
        const sm_status whole = sm_constraint_accept_text(at_once, text, n, NULL);
        require(whole == status || whole == SM_ERR_UNSUPPORTED, "at once it is not the same");
        if (!status && !whole)
            require(sm_constraint_can_end(s) == sm_constraint_can_end(at_once),
                    "it ends otherwise");
    }
    require(!sm_constraint_rewind(s, taken, NULL), "it does not go back");
    sm_constraint_state_free(at_once);
    sm_constraint_state_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > 4096)
        return 0;
    const char *text = (const char *)data + 1;
    const size_t n = strnlen(text, size - 1), rest = size - 1 - n;
    const sm_constraint_options options = {.struct_size = sizeof options, .memory_limit = 64 << 20};
    sm_constraint *c;
    sm_error error;
    const uint32_t kind = data[0] == 'g'   ? SM_CONSTRAINT_GBNF
                          : data[0] == 'l' ? SM_CONSTRAINT_GRAMMAR
                                           : SM_CONSTRAINT_REGEX;
    if (sm_constraint_new(&c, NULL, kind, text, n, &options, &error))
        return 0;
    follow(c, text + n + (rest > 0), rest > 0 ? rest - 1 : 0);
    sm_constraint_free(c);
    return 0;
}
