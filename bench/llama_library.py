#!/usr/bin/env python3
"""Measures a llama.cpp library once, through its C interface, and prints JSON.

Prints {"engine": TEXT, "prefill": SPEED, "decode": SPEED} in tokens per second; with several
sequences decode alone, and its speed counts the tokens of all of them. bench/peers calls this
script, one process per run.
"""
import argparse
import ctypes
import json
import os
import pathlib
import sys
import time

N_BATCH = 512          # tokens computed together, at most
ROUND_SECONDS = 0.1    # small models are run several times, as smallmind bench does
WARM_UP = 16           # tokens decoded before the clock runs


class Failure(Exception):
    """What cannot be done, told to the user; exit status 1."""


# Both parameter structs are only ever made by the library, which fills in its defaults, and
# handed back to it. They are declared larger than any version's: the calling conventions of
# x86-64 and AArch64 put the result where the caller says and read an argument from its first
# byte on, so only the fields set here need a known place. Those are the first four of
# llama_context_params, the same in every version; their defaults are checked all the same.

class Params(ctypes.Structure):
    _fields_ = [("words", ctypes.c_uint32 * 256)]


class Batch(ctypes.Structure):
    """llama_batch"""
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.c_void_p),
                ("embd", ctypes.c_void_p), ("pos", ctypes.c_void_p),
                ("n_seq_id", ctypes.c_void_p), ("seq_id", ctypes.c_void_p),
                ("logits", ctypes.c_void_p)]


PLACE_N_CTX, PLACE_N_BATCH, PLACE_N_UBATCH, PLACE_N_SEQ_MAX = 0, 1, 2, 3
DEFAULTS = [2048, 512, 1]  # of the last three


def find_libraries(folder):
    """Paths of libggml and libllama in a folder, or None."""
    found = []
    for name in ("libggml", "libllama"):
        paths = sorted(p for p in folder.glob(f"{name}.*") if ".so" in p.name)
        if not paths:
            return None
        found.append(paths[0])
    return found


def function(library, name, result, *arguments):
    try:
        made = getattr(library, name)
    except AttributeError:
        raise Failure(f"the llama.cpp library has no function {name}; its version is too old "
                      "or too new for this script") from None
    made.restype = result
    made.argtypes = arguments
    return made


def load_backends(ggml, folder, variant):
    """The CPU backend named, or else whatever ggml finds best for this machine."""
    if variant is None:
        function(ggml, "ggml_backend_load_all_from_path", None, ctypes.c_char_p)(
            os.fsencode(folder))
        return
    path = folder / f"libggml-cpu-{variant}.so"
    if not path.is_file():
        known = sorted(p.name[len("libggml-cpu-"):-len(".so")]
                       for p in folder.glob("libggml-cpu-*.so"))
        raise Failure(f"{path}: no such file (CPU backends here: {', '.join(known) or 'none'})")
    if not function(ggml, "ggml_backend_load", ctypes.c_void_p, ctypes.c_char_p)(
            os.fsencode(path)):
        raise Failure(f"{path}: llama.cpp cannot use this backend on this machine")


def loaded_cpu_library():
    """The CPU backend in use, from this process's mappings."""
    lines = pathlib.Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    paths = {pathlib.Path(line.split(maxsplit=5)[5]) for line in lines if "/libggml-" in line}
    for path in paths:
        if not path.name.startswith(("libggml-base", "libggml-cpu", "libggml-blas")):
            raise Failure(f"{path}: this llama.cpp computes on more than the CPU; "
                          "give one built for the CPU only")
    for path in paths:
        if path.name.startswith("libggml-cpu"):
            return path
    raise Failure("llama.cpp found no CPU backend that runs on this machine")


class Engine:
    """A model in a llama.cpp library, with a context for args.batch sequences."""

    def __init__(self, args):
        libraries = find_libraries(args.folder)
        if libraries is None:
            raise Failure(f"{args.folder}: no libllama and libggml here")
        ggml, self.llama = (ctypes.CDLL(str(p), mode=ctypes.RTLD_GLOBAL) for p in libraries)
        load_backends(ggml, args.folder, args.cpu)
        self.function("llama_backend_init", None)()
        self.cpu_library = loaded_cpu_library()
        self.base = ctypes.CDLL(str(next(self.cpu_library.parent.glob("libggml-base.*"))))
        self.name = f"llama.cpp {self.version()}, {libraries[1].name} " \
                    f"with {self.cpu_library.name}"
        self.model_path = args.model
        self.load(args)
        self.attach_threads(args.threads)
        self.find_functions()
        n_vocab = self.count_vocabulary()
        self.ids = (ctypes.c_int32 * args.n_ids)(
            *((7919 * i + 1) % n_vocab for i in range(args.n_ids)))

    def function(self, name, result, *arguments):
        return function(self.llama, name, result, *arguments)

    def version(self):
        """Version and commit, as far as this version can tell."""
        texts = []
        for library, name in ((self.llama, "llama_version"), (self.base, "ggml_commit")):
            if hasattr(library, name):
                texts.append(function(library, name, ctypes.c_char_p)().decode())
        return " ".join(texts) or "of unknown version"

    def load(self, args):
        pointer = ctypes.c_void_p
        self.model = self.function("llama_model_load_from_file", pointer, ctypes.c_char_p, Params)(
            os.fsencode(args.model), self.function("llama_model_default_params", Params)())
        if not self.model:
            raise Failure(f"{args.model}: llama.cpp cannot load this model")
        params = self.function("llama_context_default_params", Params)()
        if params.words[1:4] != DEFAULTS:
            raise Failure("llama_context_params of this llama.cpp does not begin as expected")
        # the context is shared out among the sequences
        params.words[PLACE_N_CTX] = args.batch * (-(-args.n_ids // 256) * 256)
        params.words[PLACE_N_BATCH] = params.words[PLACE_N_UBATCH] = N_BATCH
        params.words[PLACE_N_SEQ_MAX] = args.batch
        self.context = self.function("llama_init_from_model", pointer, pointer, Params)(
            self.model, params)
        if not self.context:
            raise Failure(f"{args.model}: llama.cpp cannot make a context")

    def attach_threads(self, n_threads):
        """Lets the context keep its threads between steps, as llama-bench does; without this
        the library starts new ones at every step."""
        pointer = ctypes.c_void_p
        self.function("llama_set_n_threads", None, pointer, ctypes.c_int32, ctypes.c_int32)(
            self.context, n_threads, n_threads)
        params = Params()
        function(self.base, "ggml_threadpool_params_init", None, pointer, ctypes.c_int)(
            ctypes.byref(params), n_threads)
        pool = function(ctypes.CDLL(str(self.cpu_library)), "ggml_threadpool_new", pointer,
                        pointer)(ctypes.byref(params))
        if not pool:
            raise Failure("llama.cpp cannot start its threads")
        self.function("llama_attach_threadpool", None, *[pointer] * 3)(self.context, pool, pool)

    def count_vocabulary(self):
        pointer = ctypes.c_void_p
        vocab = self.function("llama_model_get_vocab", pointer, pointer)(self.model)
        n = self.function("llama_vocab_n_tokens", ctypes.c_int32, pointer)(vocab)
        if n < 1:
            raise Failure(f"{self.model_path}: llama.cpp sees no vocabulary in it")
        return n

    def find_functions(self):
        pointer, number = ctypes.c_void_p, ctypes.c_int32
        self.memory = self.function("llama_get_memory", pointer, pointer)(self.context)
        self.remove = self.function("llama_memory_seq_rm", ctypes.c_bool, pointer, *[number] * 3)
        self.copy = self.function("llama_memory_seq_cp", None, pointer, *[number] * 4)
        self.decode = self.function("llama_decode", number, pointer, Batch)
        self.synchronize = self.function("llama_synchronize", None, pointer)

    def rewind(self, sequence, length):
        """Forgets what a sequence holds from that length on."""
        if not self.remove(self.memory, sequence, length, -1):
            raise Failure(f"{self.model_path}: llama.cpp cannot rewind this model")

    def make_batch(self, at, n, n_sequences=1):
        """n tokens of each sequence, from position `at` on; logits of the last of each."""
        total = n * n_sequences
        tokens, positions, counts = ((ctypes.c_int32 * total)() for _ in range(3))
        numbers = (ctypes.c_int32 * n_sequences)(*range(n_sequences))
        owners = (ctypes.c_void_p * total)()
        logits = (ctypes.c_int8 * total)()
        for row in range(total):
            i, sequence = divmod(row, n_sequences)
            tokens[row], positions[row], counts[row] = self.ids[at + i], at + i, 1
            owners[row] = ctypes.addressof(numbers) + 4 * sequence
            logits[row] = i == n - 1
        arrays = (tokens, positions, counts, owners, logits)
        tokens, positions, counts, owners, logits = map(ctypes.addressof, arrays)
        batch = Batch(total, tokens, None, positions, counts, owners, logits)
        batch.keep = arrays, numbers  # what the addresses point at
        return batch

    def feed(self, batches):
        for batch in batches:
            if self.decode(self.context, batch) != 0:
                raise Failure(f"{self.model_path}: llama.cpp failed while computing")
            self.synchronize(self.context)


def time_rounds(rewind, feed, n):
    """Tokens per second of n tokens, over and over."""
    seconds, tokens = 0.0, 0
    while tokens == 0 or seconds < ROUND_SECONDS:
        rewind()
        start = time.perf_counter()
        feed()
        seconds += time.perf_counter() - start
        tokens += n
    return tokens / seconds


def measure(engine, args):
    def prompt(at, n):
        return [engine.make_batch(begin, min(N_BATCH, at + n - begin))
                for begin in range(at, at + n, N_BATCH)]

    def rewind():
        for sequence in range(args.batch):
            engine.rewind(sequence, args.depth)

    # made before the clock runs: Python is slow beside a small model
    prefill = prompt(args.depth, args.prefill)
    decode = [engine.make_batch(args.depth + i, 1, args.batch) for i in range(args.decode)]
    engine.feed(prompt(0, args.depth))
    for sequence in range(1, args.batch if args.depth else 0):
        engine.copy(engine.memory, 0, sequence, -1, -1)
    result = {"engine": engine.name}
    if args.batch == 1:
        engine.feed(prefill)
        result["prefill"] = time_rounds(rewind, lambda: engine.feed(prefill), args.prefill)
    rewind()
    engine.feed(decode[:WARM_UP])
    result["decode"] = time_rounds(rewind, lambda: engine.feed(decode),
                                   args.decode * args.batch)
    return result


def parse_arguments():
    parser = argparse.ArgumentParser(prog="llama_library.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", type=pathlib.Path,
                        help="folder of libllama.so, libggml.so and their CPU backends")
    parser.add_argument("model", metavar="MODEL", help="GGUF file")
    parser.add_argument("--cpu", metavar="NAME",
                        help="load DIR/libggml-cpu-NAME.so [the best for this machine]")
    for letter, name, default, text in (
            ("-t", "threads", len(os.sched_getaffinity(0)), "threads"),
            ("-p", "prefill", 512, "tokens of the prompt"),
            ("-n", "decode", 128, "tokens fed one by one, per sequence"),
            ("-d", "depth", 0, "tokens in the context before either"),
            ("-b", "batch", 1, "sequences decoded together")):
        parser.add_argument(letter, f"--{name}", type=int, default=default, metavar="N",
                            help=f"{text} [{default}]")
    args = parser.parse_args()
    args.n_ids = args.depth + max(args.prefill, args.decode)
    return args


def main():
    args = parse_arguments()
    json.dump(measure(Engine(args), args), sys.stdout)
    # What the library holds goes with the process.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        print(f"llama_library.py: {failure}", file=sys.stderr)
        sys.exit(1)
