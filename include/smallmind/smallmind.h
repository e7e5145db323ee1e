/* smallmind.h - libsmallmind: run and train language models inside your program.
 *
 * Umbrella header. Names: sm_noun_load makes a handle of a file and reads it whole, _new of what is
 * in memory, _open one that goes on working on files, each with a _free; _restore fills a handle
 * that is there. Handles come first, then what is written, then what is read, then options. Ids and
 * sizes of models are int32_t, tokens of a session and settings uint32_t, lengths of lists, bytes
 * and numbers of steps uint64_t.
 *
 * Options structs begin with struct_size = sizeof(the struct);
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
#include "embed.h"
#include "train.h"

#endif
