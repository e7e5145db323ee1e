"""Every public function with bad arguments: it answers, it does not fall over.

Usage: test_arguments.py SOURCE_ROOT LIBRARY MODEL

The functions and their parameters are read from the headers, so one that is new is called without
being named here; one with a parameter of a type that nothing is known of fails. Each is called in
a process of its own: as it should be, with each pointer NULL in turn (with and without a place for
the error), with structs of sizes that are none, with numbers beyond what they stand for, and with
no room for what it gives. What fails has to say so: its status is in the error, whose message names
the function or a struct of it where a pointer or a size was wrong.
"""
import ctypes
import math
import os
import pathlib
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback

ROOT = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(ROOT / "scripts"))
sys.path.insert(0, str(ROOT / "bindings/python"))
LIBRARY, MODEL = sys.argv[2:4]
os.environ["SMALLMIND_LIBRARY"] = LIBRARY
import headers  # noqa: E402
from smallmind import _abi  # noqa: E402

H = headers.read(ROOT)
ARGUMENT, STATE = _abi.SM_ERR_ARGUMENT, _abi.SM_ERR_STATE
WORD = b"Once upon a time"

# Pointers that may be NULL, by parameter, or by function and parameter: their headers say so.
OPTIONAL = {
    "options", "schema_options", "error", "user", "cancel", "on_token", "on_delta", "on_step",
    "tools", "reused", "statuses", "result", "metrics",
    ("sm_gguf_get_key", "name"), ("sm_gguf_get_key", "type"), ("sm_constraint_new", "tokenizer"),
    ("sm_constraint_new_choices", "tokenizer"),
    ("sm_constraint_new_schema", "tokenizer"), ("sm_constraint_forced_text", "text"),
    ("sm_constraint_forced", "ids"), ("sm_session_tokens", "n"),
    ("sm_encoder_score_ids", "types"), ("sm_encoder_label", "length"),
    ("sm_session_feed_logprobs", "top"), ("sm_session_logits", "n"),
    ("sm_watermark_detect", "watermark"), ("sm_session_sample", "sampling"),
    ("sm_constraint_new_tools", "tokenizer"), ("sm_constraint_new_tools", "format"),
    ("sm_constraint_new_tools", "choice")}
# Functions that fail here called as they should be, and why.
FAILS = {
    "sm_tokenizer_encode_pair": _abi.SM_ERR_UNSUPPORTED,  # the vocabulary has no pairs
    "sm_session_save_bytes": _abi.SM_ERR_BUFFER,
    "sm_session_restore_bytes": _abi.SM_ERR_FORMAT,  # zeros
    "sm_imatrix_save": STATE,  # nothing was fed
    "sm_session_detach": ARGUMENT,  # it is not attached
    "sm_encoder_score": _abi.SM_ERR_UNSUPPORTED,  # the model has no labels
    "sm_encoder_score_ids": _abi.SM_ERR_UNSUPPORTED,
    "sm_encoder_rerank": _abi.SM_ERR_UNSUPPORTED,
    "sm_trainer_evaluate": STATE,  # nothing is kept for validation
    "sm_trainer_export": STATE}  # adapters are trained
class World:
    """Handles and buffers to call functions with."""

    def __init__(self, folder):
        self.lib = ctypes.CDLL(LIBRARY)
        self.folder, self.kept, self.handles = folder, [], {}
        for name, function in H.functions.items():
            if not hasattr(self.lib, name):  # experimental: in the static library alone
                continue
            entry = getattr(self.lib, name)
            entry.restype, entry.argtypes = _abi.FUNCTIONS[name]

    def handle(self, kind):
        if kind not in self.handles:
            self.handles[kind] = getattr(self, "make_" + kind)()
        return self.handles[kind]

    def keep(self, value):
        self.kept.append(value)
        return value

    def made(self, function, *arguments):
        handle, error = ctypes.c_void_p(), _abi.sm_error()
        place = [p.name for p in H.functions[function].parameters].index("out")
        arguments = [*arguments[:place], ctypes.byref(handle), *arguments[place:]]
        status = getattr(self.lib, function)(*arguments, ctypes.byref(error))
        if status:
            raise RuntimeError(f"{function}: {error.message}")
        return handle

    def sized(self, kind, **values):
        struct = getattr(_abi, kind)(**values)
        if hasattr(struct, "struct_size"):
            struct.struct_size = ctypes.sizeof(struct)
        return self.keep(struct)

    def path(self, name):
        return str(self.folder / name).encode()

    def text_file(self):
        path = self.folder / "text.txt"
        path.write_text("Once upon a time there was a little text. " * 40)
        return str(path).encode()

    # ---- handles ----

    def make_sm_cancel(self):
        return self.made("sm_cancel_new")

    def make_sm_model(self):
        return self.made("sm_model_load", MODEL.encode(), None)

    def make_sm_gguf(self):
        return self.made("sm_gguf_load", MODEL.encode(), None)

    def make_sm_tokenizer(self):
        return self.made("sm_model_get_tokenizer", self.handle("sm_model"))

    def make_sm_detokenizer(self):
        return self.made("sm_detokenizer_new", self.handle("sm_tokenizer"), 0)

    def make_sm_session(self):
        options = self.sized("sm_session_options", n_ctx=64, n_threads=1)
        session = self.made("sm_session_new", self.handle("sm_model"), ctypes.byref(options))
        ids = (ctypes.c_int32 * 4)(1, 5, 6, 7)
        assert self.lib.sm_session_feed(session, ids, 4, None) == 0
        return session

    def make_sm_batch(self):
        return self.made("sm_batch_new", self.handle("sm_model"),
                         ctypes.byref(self.sized("sm_batch_options", n_threads=1)))

    def make_sm_constraint(self):
        return self.made("sm_constraint_new", self.handle("sm_tokenizer"),
                         _abi.SM_CONSTRAINT_REGEX, b"[a-z ]*", 7, None)

    def make_sm_constraint_state(self):
        return self.made("sm_constraint_state_new", self.handle("sm_constraint"))

    def make_sm_chat(self):
        options = self.sized("sm_chat_options", template_name=b"chatml")
        return self.made("sm_chat_new", ctypes.byref(options))

    def make_sm_reply(self):
        return self.made("sm_reply_new", ctypes.byref(self.sized("sm_reply_options")))

    def make_sm_encoder(self):
        return self.made("sm_encoder_new", self.handle("sm_model"),
                         ctypes.byref(self.sized("sm_encoder_options", n_threads=1)))

    def make_sm_imatrix(self):
        return self.made("sm_imatrix_new", self.handle("sm_model"),
                         ctypes.byref(self.sized("sm_imatrix_options", n_ctx=32, n_threads=1)))

    def make_sm_trainer(self):
        return self.made("sm_trainer_open", MODEL.encode(), ctypes.byref(self.trainer_options()))

    def make_sm_adapter(self):
        return self.made("sm_adapter_load", self.handle("sm_model"), self.adapter_file(), None)

    def trainer_options(self):
        return self.sized("sm_trainer_options", data=self.text_file(), n_threads=1, sequence=8,
                          rows=1, steps=4, lora_rank=2)

    def adapter_file(self):
        path = self.path("adapter.gguf")
        if not os.path.exists(path):
            error = _abi.sm_error()
            status = self.lib.sm_trainer_export_adapter(self.handle("sm_trainer"), path,
                                                        ctypes.byref(error))
            assert status == 0, error.message
        return path

    # ---- arguments ----

    TEXTS = {"messages": b'[{"role": "user", "content": "Hello"}]', "tools": None, "choice": None,
             "template_text": b"{{ messages[0].content }}", "format": b"hermes", "type": b"Q8_0",
             "shape": b"stories260k", "dataset": b"text", "names": b"one|two", "name": b"one"}

    WORDS = {"sm_constraint_new_schema": b'{"type": "integer"}', "sm_constraint_new": b"[a-z ]*",
             "sm_constraint_accept_text": b"once upon a time"}

    def text(self, function, name):
        if name in ("path", "in_path", "model_path", "vocabulary_path"):
            writes = re.search(r"_(save|save_packed|export|export_adapter|train|init)$", function)
            if name == "path" and (writes or function == "sm_vocabulary_train"):
                return self.path("written")
            if function == "sm_adapter_load":
                return self.adapter_file()
            if function in ("sm_trainer_resume", "sm_checkpoint_get_info",
                            "sm_checkpoint_get_options"):
                saved = self.path("checkpoint")
                assert self.lib.sm_trainer_save(self.handle("sm_trainer"), saved, None) == 0
                return saved
            if function == "sm_session_restore":
                saved = self.path("session")
                assert self.lib.sm_session_save(self.handle("sm_session"), saved, None) == 0
                return saved
            return MODEL.encode()
        if name == "adapter_path":
            return self.adapter_file()
        if name in ("out_path", "out_directory"):
            return self.path("out")
        if function in self.WORDS and name == "text":
            return self.WORDS[function]
        return self.TEXTS.get(name, WORD)

    def good(self, function, parameter):
        """A value that the function takes, and that stays alive."""
        kind, name = parameter.type, parameter.name
        base = kind.replace("const ", "").rstrip(" *")
        if base in H.handles and kind.endswith("**"):
            return self.keep(ctypes.pointer(ctypes.c_void_p()))
        if base in H.handles:
            return self.handle(base)
        if kind == "const char *":
            return self.text(function, name)
        if kind == "const char *const *":
            return self.keep((ctypes.c_char_p * 1)(self.text_file()))
        if kind.endswith("**"):
            return self.keep(ctypes.pointer(ctypes.c_void_p()))
        if base in H.callbacks:
            return _abi.__dict__[base]()
        if base in H.structs and kind.endswith("*"):
            return self.struct(function, base, name)
        if kind.endswith("*"):
            return self.buffer(base, name)
        return self.number(function, base, name)

    def struct(self, function, base, name):
        if base == "sm_error":
            return ctypes.pointer(self.keep(_abi.sm_error()))
        if base == "sm_origin":
            path = self.adapter_file() if "adapter" in function else MODEL.encode()
            return ctypes.pointer(self.sized(base, name=path))
        if base == "sm_trainer_options" and function == "sm_trainer_open":
            return ctypes.pointer(self.trainer_options())
        if base == "sm_text":
            return self.keep((_abi.sm_text * 2)(_abi.sm_text(WORD, len(WORD)),
                                                _abi.sm_text(WORD, len(WORD))))
        if base == "sm_chat_options":
            return ctypes.pointer(self.sized(base, template_name=b"chatml"))
        if base == "sm_session_options" and function != "sm_batch_new_session":
            return ctypes.pointer(self.sized(base, n_ctx=64, n_threads=1))
        if base == "sm_quantize_options":
            return ctypes.pointer(self.sized(base, type=b"Q8_0", n_threads=1))
        if base == "sm_answer_options":
            how = self.struct("", "sm_generate_options", "options")
            return ctypes.pointer(self.sized(base, generate=how))
        if base == "sm_generate_options":
            return ctypes.pointer(self.sized(base, max_tokens=2))
        if base in ("sm_batch_item", "sm_batch_text"):
            return self.items(base)
        if name == "top":
            return self.keep((getattr(_abi, base) * 64)())
        return ctypes.pointer(self.sized(base))

    def items(self, base):
        session = self.made("sm_batch_new_session", self.handle("sm_batch"),
                            ctypes.byref(self.sized("sm_session_options", n_ctx=64)))
        item = self.sized(base, session=session.value)
        if base == "sm_batch_item":
            item.ids = ctypes.cast(self.buffer("int32_t", "ids"), ctypes.POINTER(ctypes.c_int32))
            item.n_ids = 2
        else:
            how = self.struct("", "sm_generate_options", "options")
            item.prompt, item.length, item.options = WORD, len(WORD), how
        return ctypes.pointer(item)

    KINDS = {"int32_t": ctypes.c_int32, "uint32_t": ctypes.c_uint32, "uint64_t": ctypes.c_uint64,
             "double": ctypes.c_double, "float": ctypes.c_float, "char": ctypes.c_char,
             "void": ctypes.c_char, "sm_status": ctypes.c_int32}

    def buffer(self, base, name):
        buffer = self.keep((self.KINDS[base] * 65536)())
        if base == "int32_t" and name == "ids":
            buffer[0:4] = [1, 5, 6, 7]
        if name == "turns":
            buffer[0:2] = [0, 2]
        return buffer

    def allowed_token(self):
        mask = (ctypes.c_uint32 * 4096)()
        assert self.lib.sm_constraint_mask(self.handle("sm_constraint_state"), mask, 4096, None) == 0
        return next(i for i in range(3, 4096 * 32) if mask[i // 32] >> i % 32 & 1)

    def number(self, function, base, name):
        if name in ("capacity", "n_words"):
            return 4096
        if function == "sm_constraint_rewind":
            return 0
        if function == "sm_constraint_accept" and name == "id":
            return self.allowed_token()
        if name == "length" and function in self.WORDS:
            return len(self.WORDS[function])
        if name in ("length", "first_length", "second_length"):
            return 2 if function == "sm_session_rewind" else len(WORD)
        return {"n": 2, "n_ids": 2, "n_items": 1, "max_items": 4, "size": 65536, "id": 5, "steps": 1,
                "kind": _abi.SM_CONSTRAINT_REGEX, "end": 2, "begin": 1, "n_texts": 1, "n_turns": 2,
                "options_struct": _abi.SM_OPTIONS_MODEL, "level": 1, "cap": 1,
                "scale": 1.0}.get(name, 0)


# ---- one call -------------------------------------------------------------------------------


class Bad(Exception):
    pass


def call(world, name, arguments):
    entry = getattr(world.lib, name)
    return entry(*(ctypes.cast(a, t) if isinstance(a, (ctypes.Array, ctypes._Pointer)) and
                   isinstance(t, type) and t is not ctypes.c_void_p and
                   not isinstance(a, t) else a
                   for a, t in zip(arguments, entry.argtypes)))


def arguments_of(world, function, **instead):
    return [instead[p.name] if p.name in instead else world.good(function.name, p)
            for p in function.parameters]


def names_of(function):
    """What a message about its arguments may name."""
    structs = [p.type.replace("const ", "").rstrip(" *") for p in function.parameters]
    return [function.name, *(s for s in structs if s in H.structs and s != "sm_error")]


def check(world, function, what, named=False, **instead):
    """Calls it; gives its status. A failure has to be told, where `named` by the name of the
    function or of a struct that it takes."""
    arguments = arguments_of(world, function, **instead)
    status = call(world, function.name, arguments)
    if function.result != "sm_status":
        return status
    place = [i for i, p in enumerate(function.parameters) if p.type == "sm_error *"]
    error = arguments[place[0]] if place else None
    if status and error:
        told = error.contents
        if told.code != status or not told.message:
            raise Bad(f"{what}: status {status}, but the error says {told.code} '{told.message}'")
        message = told.message.decode()
        if named and status == ARGUMENT and not any(n in message for n in names_of(function)):
            raise Bad(f"{what}: '{message}' names neither the function nor a struct")
    return status


def good_call(world, function):
    status = check(world, function, "as it should be")
    if function.result == "sm_status" and status and FAILS.get(function.name) != status:
        raise Bad(f"fails with {status} when it is called as it should be")


def pointers(function):
    return [p for p in function.parameters if p.type.endswith("*")]


def null_calls(world, function, n):
    p = pointers(function)[n]
    what = f"{p.name} NULL"
    status = check(world, function, what, True, **{p.name: None})
    optional = p.name in OPTIONAL or (function.name, p.name) in OPTIONAL
    # without a buffer there is no room
    allowed = (ARGUMENT, STATE, _abi.SM_ERR_BUFFER, FAILS.get(function.name, ARGUMENT))
    if function.result == "sm_status" and not optional and status not in allowed:
        raise Bad(f"{what}: status {status}")
    if "error" in [q.name for q in function.parameters]:
        check(world, function, what + ", no error", **{p.name: None, "error": None})


def size_calls(world, function, n):
    p = pointers(function)[n]
    base = p.type.replace("const ", "").rstrip(" *")
    size = ctypes.sizeof(getattr(_abi, base))
    for wrong in (0, 1, 3, 5, size - 1, size + 1 << 20, 0xFFFFFFFF):
        value = world.good(function.name, p)
        value[0].struct_size = wrong
        what = f"{p.name}->struct_size {wrong}"
        status = check(world, function, what, True, **{p.name: value})
        if function.result == "sm_status" and status not in (ARGUMENT, FAILS.get(function.name)):
            raise Bad(f"{what}: status {status}")


WRONG = {"int32_t": (-1, -2**31, 2**31 - 1), "uint32_t": (2**32 - 1, 2**31),
         "double": (float("nan"), float("inf"), -float("inf"))}
LENGTHS = {"length", "n", "capacity", "size", "n_texts", "n_turns", "n_top", "n_items", "n_words"}


def number_calls(world, function, n):
    p = [q for q in function.parameters if q.type in WRONG and q.name not in LENGTHS][n]
    for wrong in WRONG[p.type]:
        check(world, function, f"{p.name} {wrong}", **{p.name: wrong})


def room_calls(world, function, name):
    """No room: at least the status says so, or what had to be written needed none."""
    status = check(world, function, f"{name} 0", True, **{name: 0})
    if function.result == "sm_status" and status not in (
            0, ARGUMENT, STATE, _abi.SM_ERR_BUFFER, FAILS.get(function.name, 0)):
        raise Bad(f"{name} 0: status {status}")


def endless_calls(world, function, name):
    """More room than memory has, which a caller may say; nothing is multiplied into too little."""
    status = check(world, function, f"{name} 2^64-1", **{name: 2**64 - 1})
    good = check(world, function, "as it should be")
    if function.result == "sm_status" and status not in (good, ARGUMENT, _abi.SM_ERR_NOMEM):
        raise Bad(f"{name} 2^64-1: status {status}")


def many_calls(world, function, name):
    """As many ids as nothing can take: refused before they are read."""
    for many in (2**31, 2**32 - 1, 2**62, 2**64 - 1):
        status = check(world, function, f"{name} {many}", **{name: many})
        if function.result == "sm_status" and status == 0:
            raise Bad(f"{name} {many}: is taken")


# ---- fields -----------------------------------------------------------------------------------

NUMBERS = {"int32_t": (-1, -2**31, 2**31 - 1), "uint32_t": (2**32 - 1, 2**31, 7777),
           "uint64_t": (2**64 - 1, 2**63, 2**40), "double": (math.nan, math.inf, -math.inf, -1.0),
           "float": (math.nan, math.inf, -math.inf, -1.0)}


def wrong_values(fields, field):
    """[(what to call it, {field: value})] that a caller should not give, or hardly."""
    if field.name == "reserved":
        return [("reserved 1", {"reserved": 1})]
    if field.type in NUMBERS and field.count == 1:
        counted = [f.name for f in fields if "n_" + f.name == field.name and "*" in f.type]
        some = [(f"{field.name} 3 of none", {field.name: 3, counted[0]: None})] if counted else []
        return some + [(f"{field.name} {v}", {field.name: v, **{c: None for c in counted}})
                       for v in NUMBERS[field.type]]
    if field.type == "const char *":
        return [(f"{field.name} '{v[:8]!r}'", {field.name: v})
                for v in (b"", b"\xff\xfe\x80", b"x" * 100000, b"%s%n\n\x1b[2J")]
    return []


def given_structs(function):
    """Parameters that are structs for the library to read."""
    for p in function.parameters:
        base = p.type.replace("const ", "").rstrip(" *")
        if p.type.startswith("const ") and p.type.count("*") == 1 and base in H.structs and any(
                f.name == "struct_size" for f in H.structs[base]):
            yield p, base


def field_calls(world, function, name, base, field):
    fields = H.structs[base]
    for what, values in wrong_values(fields, next(f for f in fields if f.name == field)):
        value = world.good(function.name, next(p for p in function.parameters if p.name == name))
        kinds = dict(getattr(_abi, base)._fields_)
        for key, wrong in values.items():
            setattr(value[0], key, ctypes.cast(None, kinds[key])
                    if wrong is None and hasattr(kinds[key], "contents") else wrong)
        what = f"{base}.{what}"
        status, message = told(world, function, what, **{name: value})
        unread = "3 of none" in what and field == "n_logits"  # logits may be NULL
        if function.result == "sm_status" and status == 0 and not unread and (
                any(said in what for said in ("3 of none", "nan", "reserved"))):
            raise Bad(f"{what}: is taken")
        if status == ARGUMENT and not speaks_of(field, message) and not any(
                n in message for n in names_of(function)):
            raise Bad(f"{what}: '{message}' names neither the field nor the struct")


def speaks_of(field, message):
    """Names it, or in words: "LoRA target" for lora_targets."""
    words = [word.rstrip("s") for word in field.split("_") if len(word) > 2]
    return field in message or any(word in message.lower() for word in words)


def told(world, function, what, **instead):
    """Status and message of a call."""
    place = [p.name for p in function.parameters if p.type == "sm_error *"]
    error = _abi.sm_error()
    given = {place[0]: ctypes.pointer(error)} if place else {}
    status = check(world, function, what, **instead, **given)
    return status if function.result == "sm_status" else 0, error.message.decode()


def tasks(function):
    yield good_call, ()
    for p, base in given_structs(function):
        for field in H.structs[base]:
            if field.name != "struct_size":
                yield field_calls, (p.name, base, field.name)
    for n, p in enumerate(pointers(function)):
        yield null_calls, (n,)
        base = p.type.replace("const ", "").rstrip(" *")
        if base in H.structs and any(f.name == "struct_size" for f in H.structs[base]) and \
                not p.type.endswith("**"):
            yield size_calls, (n,)
    for n, _ in enumerate(q for q in function.parameters
                          if q.type in WRONG and q.name not in LENGTHS):
        yield number_calls, (n,)
    for p in function.parameters:
        if p.name in ("capacity", "size", "n_words", "max_items") and "*" not in p.type:
            yield room_calls, (p.name,)
        if p.name == "capacity" and "*" not in p.type and function.name not in FAILS:
            yield endless_calls, (p.name,)
        if p.name == "n_ids":
            yield many_calls, (p.name,)


# ---- processes of their own -------------------------------------------------------------------


def in_child(work):
    """What it prints; "" where all was well."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        said = ""
        signal.alarm(30)
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        try:
            work()
        except Bad as bad:
            said = str(bad)
        except BaseException:
            said = traceback.format_exc()
        os.write(write, said.encode(errors="replace")[:60000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return said or (f"ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "")


def main():
    passed = failed = 0
    exported = ctypes.CDLL(LIBRARY)
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        for function in H.functions.values():
            if not hasattr(exported, function.name):
                continue
            for task, arguments in tasks(function):
                place = folder / "one"
                place.mkdir()
                said = in_child(lambda: task(World(place), function, *arguments))
                shutil.rmtree(place)
                passed, failed = passed + (not said), failed + bool(said)
                if said:
                    print(f"{function.name}: {said}")
    finally:
        shutil.rmtree(folder)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed != 0


sys.exit(main())
