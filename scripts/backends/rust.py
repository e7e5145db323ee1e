"""bindings/rust: the declarations (sys.rs), and statuses and structs of options (options.rs)."""
import pathlib
import re
import textwrap

import headers
import option_tables

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = {"void": "c_void", "char": "c_char", "float": "f32", "double": "f64", "uint8_t": "u8",
         "int32_t": "i32", "uint32_t": "u32", "int64_t": "i64", "uint64_t": "u64"}
KEYWORDS = {"type", "in", "ref", "fn", "move", "use", "mod", "match", "loop"}
TYPES = {"U32": "u32", "U64": "u64", "F64": "f64", "ENUM": "u32", "BOOL": "bool",
         "STRING": "String"}
# C struct: name here, members written by hand
STRUCTS = {
    "sm_model_options": ("ModelOptions", [
        "/// Ends the loading when it is set.", "pub cancel: Option<crate::Canceller>,"]),
    "sm_session_options": ("SessionOptions", []),
    "sm_fork_options": ("ForkOptions", []),
    "sm_encoder_options": ("EncoderOptions", []),
    "sm_sampling": ("Sampling", [
        "/// Added to the logits of tokens.", "pub bias: Vec<(i32, f64)>,",
        "/// Texts that repetitions do not reach over.", "pub dry_breaker_texts: Vec<String>,"]),
    "sm_generate_options": ("GenerateOptions", [
        "/// How tokens are chosen.", "pub sampling: Sampling,",
        "/// Texts that end the text.", "pub stop: Vec<String>,",
        "/// Texts that the text must not hold.", "pub ban: Vec<String>,",
        "/// What the text must match.", "pub constraint: Option<crate::Constraint>,",
        "/// Ends the call when it is set, beside the session's.",
        "pub cancel: Option<crate::Canceller>,"]),
}


def name_of(name):
    return f"r#{name}" if name in KEYWORDS else name


def kind_of(h, kind):
    """The Rust type of a C one."""
    words = re.findall(r"\w+|\*", kind)
    stars = [i for i, word in enumerate(words) if word == "*"]
    base = [word for word in words[:stars[0] if stars else None] if word != "const"][-1]
    made, const = NAMES.get(base, base), "const" in words[:stars[0] if stars else 0]
    for i in stars:
        made = f"*{'const' if const else 'mut'} {made}"
        const = words[i + 1:i + 2] == ["const"]
    return made


def signature(h, f, name=""):
    arguments = ", ".join(f"{name_of(p.name)}: {kind_of(h, p.type)}" for p in f.parameters)
    result = "" if f.result == "void" else f" -> {kind_of(h, f.result)}"
    return f"fn{' ' + name if name else ''}({arguments}){result}"


def constant(name, value):
    return f"pub const {name}: {'i32' if value < 0 or name == 'SM_OK' else 'u32'} = {value};"


def sys(h):
    out = ["//! Declarations of libsmallmind. Made by scripts/bindings.py: do not edit.",
           "#![allow(non_camel_case_types, missing_docs, rustdoc::all, clippy::all)]", "",
           "use std::os::raw::{c_char, c_void};", ""]
    out += [constant(name, value) for name, value in [*h.constants.items(), *h.numbers.items()]]
    out += ["pub const SM_ZERO: f64 = -1.0;", "pub const SM_ZERO_U32: u32 = u32::MAX;",
            "pub const SM_NAME_NONE: u32 = u32::MAX;", "pub const SM_ZT: u64 = u64::MAX;", ""]
    out += [f"pub type {alias} = {NAMES[kind]};" for alias, kind in h.scalars.items()]
    for name in h.handles:
        out += ["", "#[repr(C)]", f"pub struct {name} {{", "    _private: [u8; 0],", "}"]
    out.append("")
    out += [f"pub type {f.name} = Option<unsafe extern \"C\" {signature(h, f)}>;"
            for f in h.callbacks.values()]
    for name, fields in h.structs.items():
        out += ["", "#[repr(C)]", "#[derive(Clone, Copy)]", f"pub struct {name} {{"]
        for f in fields:
            kind = kind_of(h, f.type)
            out.append(f"    pub {name_of(f.name)}: {f'[{kind}; {f.count}]' if f.count > 1 else kind},")
        out.append("}")
    out += ["", '#[cfg(target_pointer_width = "64")]', "const _: () = {"]
    out += [f"    assert!(std::mem::size_of::<{name}>() == {headers.layout(h, name, 'LP64')[1]});"
            for name in h.structs]
    out += ["};", "", 'extern "C" {']
    comments = headers.comments(ROOT)
    for f in h.functions.values():
        out += textwrap.wrap(comments.get(f.name, ""), 100, initial_indent="    /// ",
                             subsequent_indent="    /// ")
        out.append(f"    pub {signature(h, f, f.name)};")
    return "\n".join([*out, "}", ""])


def statuses(h):
    out = ["/// What a call failed with.", "#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]",
           "pub struct Status(pub i32);", "", "impl Status {"]
    for name, value in h.constants.items():
        if name.startswith("SM_ERR_"):
            out += [f"    /// {name}",
                    f"    pub const {name.removeprefix('SM_ERR_')}: Status = Status({value});"]
    return out + ["}", ""]


def member(row):
    kind = TYPES[row.kind]
    return f"    pub {row.name}: {f'Option<{kind}>' if row.zero or row.kind == 'STRING' else kind},"


def assignment(row):
    if row.kind == "STRING":
        return [f"        c.{row.name} = texts.optional(\"{row.name}\", self.{row.name}.as_deref())?;"]
    if row.kind == "BOOL":
        return [f"        c.{row.name} = u32::from(self.{row.name});"]
    if row.zero:
        zero = f"SM_ZERO{'_U32' if row.kind == 'U32' else ''}"
        return [f"        if let Some(value) = self.{row.name} {{",
                f"            c.{row.name} = if value == {'0' if row.kind == 'U32' else '0.0'} "
                f"{{ sys::{zero} }} else {{ value }};", "        }"]
    return [f"        c.{row.name} = self.{row.name};"]


def struct(tables, name):
    ours, more = STRUCTS[name]
    rows = option_tables.settable(tables, name)
    texts = "texts" if any(row.kind == "STRING" for row in rows) else "_texts"
    out = [f"/// `{name}`: what is not set is the library's default.", "#[derive(Clone, Default)]",
           f"pub struct {ours} {{"]
    for row in rows:
        out += [*option_tables.comment(row, "///"), member(row)]
    out += [f"    {line}" for line in more] + ["}", "", f"impl {ours} {{"]
    out += [f"    pub(crate) fn fill(&self, c: &mut sys::{name}, {texts}: &mut Texts) -> Result<()> {{"]
    return out + [line for row in rows for line in assignment(row)] + ["        Ok(())", "    }", "}", ""]


def options(h):
    tables = option_tables.read(ROOT)
    out = ["//! Statuses and options of libsmallmind. Made by scripts/bindings.py: do not edit.", "",
           "use crate::{sys, Result, Texts};", ""]
    out += statuses(h)
    for name in STRUCTS:
        out += struct(tables, name)
    return "\n".join(out)


FILES = {"bindings/rust/src/sys.rs": sys, "bindings/rust/src/options.rs": options}
