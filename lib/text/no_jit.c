/* no_jit.c - what PCRE2's archive asks of its just-in-time compiler, which nothing here calls
 * (pretokenize.c): a quarter of a megabyte that the linker then leaves out. Part of the library
 * only where PCRE2 is inside it and can do without the rest (meson.build). A pattern that the JIT
 * never compiled has no executable code, and PCRE2 calls none of these for it. */
void _pcre2_jit_free_8(void *code, void *memory);
int _pcre2_jit_check_exec_8(void);
int pcre2_jit_match_8(void);

void _pcre2_jit_free_8(void *code, void *memory) {
    (void)code;
    (void)memory;
}

int _pcre2_jit_check_exec_8(void) {
    return 0;
}

int pcre2_jit_match_8(void) {
    return -45; /* PCRE2_ERROR_JIT_BADOPTION */
}
