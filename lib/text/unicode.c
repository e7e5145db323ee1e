/* unicode.c - classes of characters, case and decomposition. */
#include "internal.h"

#define U (SM_CHAR_LETTER | SM_CHAR_UPPER)
#define L (SM_CHAR_LETTER | SM_CHAR_LOWER)
#define D (SM_CHAR_NUMBER | SM_CHAR_DIGIT)
#define S SM_CHAR_SPACE
#define N SM_CHAR_NEWLINE
#define P SM_CHAR_PUNCT
#define Y SM_CHAR_SYMBOL
#define C SM_CHAR_CONTROL

/* sm_char_class of the code points below 128 */
const uint16_t sm_char_ascii[128] = {
    /* clang-format off */
    C, C, C, C, C, C, C, C,
    C, S | C, S | N | C, S | C, S | C, S | N | C, C, C,
    C, C, C, C, C, C, C, C,
    C, C, C, C, C, C, C, C,
    S, P, P, P, Y, P, P, P,
    P, P, P, Y, P, P, P, P,
    D, D, D, D, D, D, D, D,
    D, D, P, P, Y, Y, Y, P,
    P, U, U, U, U, U, U, U,
    U, U, U, U, U, U, U, U,
    U, U, U, U, U, U, U, U,
    U, U, U, P, P, P, Y, P,
    Y, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L,
    L, L, L, P, Y, P, Y, C,
    /* clang-format on */
};

static uint32_t category_class(sm_category category) {
    switch (category) {
    case SM_CATEGORY_LU:
    case SM_CATEGORY_LT:
        return U;
    case SM_CATEGORY_LL:
        return L;
    case SM_CATEGORY_LM:
    case SM_CATEGORY_LO:
        return SM_CHAR_LETTER;
    case SM_CATEGORY_MN:
        return SM_CHAR_MARK | SM_CHAR_MN;
    case SM_CATEGORY_MC:
    case SM_CATEGORY_ME:
        return SM_CHAR_MARK;
    case SM_CATEGORY_ND:
        return D;
    case SM_CATEGORY_NL:
    case SM_CATEGORY_NO:
        return SM_CHAR_NUMBER;
    case SM_CATEGORY_PC:
    case SM_CATEGORY_PD:
    case SM_CATEGORY_PS:
    case SM_CATEGORY_PE:
    case SM_CATEGORY_PI:
    case SM_CATEGORY_PF:
    case SM_CATEGORY_PO:
        return P;
    case SM_CATEGORY_SM:
    case SM_CATEGORY_SC:
    case SM_CATEGORY_SK:
    case SM_CATEGORY_SO:
        return Y;
    case SM_CATEGORY_ZS:
    case SM_CATEGORY_ZL:
    case SM_CATEGORY_ZP:
        return S;
    case SM_CATEGORY_CC:
    case SM_CATEGORY_CF:
    case SM_CATEGORY_CS:
    case SM_CATEGORY_CO:
        return C;
    default: /* unassigned */
        return 0;
    }
}

uint32_t sm_char_class(uint32_t code) {
    if (code < 128)
        return sm_char_ascii[code];
    if (code == 0x85) /* next line: the only White_Space beyond ASCII outside \p{Z} */
        return S | C;
    return category_class(sm_category_of(code));
}

bool sm_is_ideograph(uint32_t code) {
    static const uint32_t ranges[][2] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},
                                         {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F},
                                         {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};
    for (size_t i = 0; code >= 0x3400 && i < sizeof ranges / sizeof *ranges; i++)
        if (code >= ranges[i][0] && code <= ranges[i][1])
            return true;
    return false;
}
