/* Prints what the package's library is, and that it is the one of the headers. */
#include "smallmind/smallmind.h"

#include <stdio.h>

int main(void) {
    sm_build_info info = {.struct_size = sizeof info};
    if (sm_build_get_info(&info, NULL) != SM_OK || info.abi != SM_ABI)
        return 1;
    printf("smallmind %s: %s\n", info.version, info.features);
    return 0;
}
