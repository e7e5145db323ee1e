/* update.c - optimizer updates, portable. */
#define UPDATE(op) sm_##op##_ref
#include "update_impl.h"
