"""What bindings/javascript has from the headers: constants, types of options, fields of structs that
tell something."""
import pathlib

import option_tables

ROOT = pathlib.Path(__file__).resolve().parents[2]
TYPES = {"U32": "number", "U64": "number | bigint", "F64": "number", "BOOL": "boolean",
         "STRING": "string"}
OPTIONS = {"sm_model_options": "ModelOptions", "sm_session_options": "SessionOptions",
           "sm_fork_options": "ForkOptions", "sm_encoder_options": "EncoderOptions",
           "sm_sampling": "SamplingOptions", "sm_generate_options": "TextOptions"}
TOLD = {"sm_model_info": "ModelInfo", "sm_generate_stats": "Stats",
        "sm_encoder_info": "EncoderInfo"}
FIELDS = {"int32_t": "I32", "uint32_t": "U32", "uint64_t": "U64", "double": "F64",
          "const char *": "TEXT"}
MADE = "Made by scripts/bindings.py: do not edit."


def told(h, struct):
    return [f for f in h.structs[struct] if f.name not in ("struct_size", "reserved")]


def constants(h):
    rows = {**h.constants, **h.numbers}
    return "\n".join([f"// Constants of libsmallmind. {MADE}",
                      *(f"export const {name} = {value};" for name, value in rows.items()), ""])


def fields(h):
    out = [f"/* {MADE} */"]
    for struct in TOLD:
        out += [f"static const struct field {struct}_fields[] = {{",
                *(f"    FIELD({struct}, {f.name}, {FIELDS[f.type]})," for f in told(h, struct)),
                "};"]
    return "\n".join([*out, ""])


def words(row):
    return " | ".join([*(f'"{name}"' for name in row.names.split("|")), "number"])


def types(h):
    tables = option_tables.read(ROOT)
    out = [f"// Options and answers of libsmallmind. {MADE}"]
    for struct, name in OPTIONS.items():
        out += ["", f"/** {struct}. What is not set is the library's default. */",
                f"export interface {name} {{"]
        for row in option_tables.settable(tables, struct):
            out += ["  /**", *option_tables.comment(row, " *", 2), "   */",
                    f"  {row.name}?: {words(row) if row.kind == 'ENUM' else TYPES[row.kind]};"]
        out.append("}")
    for struct, name in TOLD.items():
        out += ["", f"/** {struct} */", f"export interface {name} {{",
                *(f"  {f.name}: {'string' if FIELDS[f.type] == 'TEXT' else 'number'};"
                  for f in told(h, struct)), "}"]
    return "\n".join([*out, ""])


FILES = {"bindings/javascript/constants.js": constants, "bindings/javascript/fields.inc": fields,
         "bindings/javascript/options.d.ts": types}
