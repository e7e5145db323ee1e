/* The callbacks that Go exports, as the types that the library takes. */
#include <smallmind/smallmind.h>

#include "_cgo_export.h"

sm_progress_fn smGoProgressHook(void) {
    return smGoProgress;
}

sm_token_fn smGoTokenHook(void) {
    return (sm_token_fn)smGoToken;
}

sm_delta_fn smGoDeltaHook(void) {
    return (sm_delta_fn)smGoDelta;
}
