"""What bindings/cpp has from the headers: a class for each status, a struct for each options
struct. The declarations themselves are the C headers."""
import pathlib

import option_tables

ROOT = pathlib.Path(__file__).resolve().parents[2]
TYPES = {"U32": "std::uint32_t", "U64": "std::uint64_t", "F64": "double", "ENUM": "std::uint32_t",
         "BOOL": "bool", "STRING": "std::string"}
ZEROS = {"U32": "SM_ZERO_U32", "F64": "SM_ZERO"}
# C struct: name here, members written by hand
STRUCTS = {
    "sm_model_options": ("model_options", [
        "/// Told of done and total units; false, or what it throws, ends the loading.",
        "std::function<bool(std::uint64_t, std::uint64_t)> progress;",
        "/// Ends the loading when it is set; not owned.", "const canceller *cancel = nullptr;"]),
    "sm_session_options": ("session_options", []),
    "sm_fork_options": ("fork_options", []),
    "sm_encoder_options": ("encoder_options", []),
    "sm_sampling": ("sampling_options", [
        "/// Added to the logits of tokens.", "std::vector<sm_logit_bias> bias;",
        "/// Texts that repetitions do not reach over.",
        "std::vector<std::string> dry_breaker_texts;"]),
    "sm_generate_options": ("generate_options", [
        "/// How tokens are chosen.", "sampling_options sampling = {};",
        "/// Texts that end the text.", "std::vector<std::string> stop;",
        "/// Texts that the text must not hold.", "std::vector<std::string> ban;",
        "/// What the text must match; not owned.", "const class constraint *constraint = nullptr;",
        "/// Ends the call when it is set, beside the session's; not owned.",
        "const canceller *cancel = nullptr;"]),
}


def status_classes(h):
    out = []
    codes = [name for name in h.constants if name.startswith("SM_ERR_")]
    for name in codes:
        kind = name.removeprefix("SM_ERR_").lower() + "_error"
        out += [f"/// {name}", f"struct {kind} : error {{", "    using error::error;", "};"]
    out += ["", "/// Throws what a call has said.", "[[noreturn]] inline void raise(const sm_error &e) {",
            "    switch (e.code) {"]
    for name in codes:
        kind = name.removeprefix("SM_ERR_").lower() + "_error"
        out += [f"    case {name}:", f"        throw {kind}(e);"]
    return out + ["    default:", "        throw error(e);", "    }", "}"]


def member(row):
    kind = TYPES[row.kind]
    if row.kind == "BOOL":
        return f"    bool {row.name} = false;"
    if row.zero or row.kind == "STRING":
        return f"    std::optional<{kind}> {row.name} = std::nullopt;"
    return f"    {kind} {row.name} = 0;"


def assignment(row):
    if row.kind == "STRING":
        return [f"    out.{row.name} = in.{row.name} ? in.{row.name}->c_str() : nullptr;"]
    if row.zero:
        zero = "0" if row.kind == "U32" else "0.0"
        equal = f"*in.{row.name} == 0" if row.kind == "U32" else f"detail::is_zero(*in.{row.name})"
        return [f"    if (in.{row.name})",
                f"        out.{row.name} = {equal} ? {ZEROS[row.kind]} : *in.{row.name};"]
    return [f"    out.{row.name} = in.{row.name};"]


def struct(tables, name):
    ours, more = STRUCTS[name]
    rows = option_tables.settable(tables, name)
    out = [f"/// {name}. What is not set is the library's default.", f"struct {ours} {{"]
    for row in rows:
        out += [*option_tables.comment(row, "///"), member(row)]
    out += [f"    {line}" for line in more] + ["};", ""]
    out += [f"/// The numbers, words and texts of them; `in` has to live as long as `out`.",
            f"inline void fill({name} &out, const {ours} &in) {{"]
    out += [line for row in rows for line in assignment(row)]
    return out + ["}", ""]


def cpp(h):
    tables = option_tables.read(ROOT)
    out = ["// Statuses and options of libsmallmind for C++. Made by scripts/bindings.py: do not edit.",
           "#ifndef SMALLMIND_OPTIONS_HPP", "#define SMALLMIND_OPTIONS_HPP", "",
           "#include <cstdint>", "#include <functional>", "#include <optional>",
           "#include <stdexcept>", "#include <string>", "#include <vector>", "",
           "#include <smallmind/smallmind.h>", "", "namespace smallmind {", "",
           "class canceller;", "class constraint;", "",
           "/// A call that failed: the C message, its status, and the system's number of it or 0.",
           "struct error : std::runtime_error {",
           "    explicit error(const sm_error &e)",
           "        : std::runtime_error(e.message), code(e.code), system(e.system) {}",
           "    sm_status code;", "    std::int32_t system;", "};", ""]
    out += status_classes(h)
    out += ["", "namespace detail {", "inline bool is_zero(double x) { return x >= 0 && x <= 0; }",
            "} // namespace detail", ""]
    for name in STRUCTS:
        out += struct(tables, name)
    return "\n".join([*out, "} // namespace smallmind", "#endif", ""])


FILES = {"bindings/cpp/smallmind_options.hpp": cpp}
