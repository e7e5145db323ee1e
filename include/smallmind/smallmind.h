/* smallmind.h - libsmallmind: run and train language models inside your program.
 *
 * Umbrella header. Options structs begin with struct_size = sizeof(the struct);
 * zero in every other field is the default, NULL means all defaults. Structs the
 * library fills in begin with struct_size too, set by the caller.
 */
#ifndef SMALLMIND_H
#define SMALLMIND_H

#include "types.h"
#include "gguf.h"
#include "tokenizer.h"
#include "constrain.h"
#include "model.h"
#include "generate.h"
#include "chat.h"
#include "batch.h"
#include "quantize.h"
#include "adapter.h"
#include "train.h"

#endif
