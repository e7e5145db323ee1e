/* How long work asks whether it is to go on. */
#include "internal.h"

bool sm_pace_ask(sm_pace *pace) {
    if (!pace->stopped && pace->cancel && pace->cancel(pace->user))
        pace->stopped = true;
    pace->left = pace->stopped ? 0 : SM_PACE_STEPS;
    return !pace->stopped;
}
