"""JSON Schemas of Python's types, and their values back: dataclasses, TypedDicts, enumerations and
what typing has for lists and choices; models of pydantic by what they say of themselves."""
import dataclasses
import datetime
import enum
import json
import types
import typing
import uuid

SIMPLE = {
    str: {"type": "string"}, int: {"type": "integer"}, float: {"type": "number"},
    bool: {"type": "boolean"}, type(None): {"type": "null"}, typing.Any: {},
    datetime.date: {"type": "string", "format": "date"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    uuid.UUID: {"type": "string", "format": "uuid"},
}
UNIONS = (typing.Union, getattr(types, "UnionType", typing.Union))
READERS = {datetime.date: datetime.date.fromisoformat, uuid.UUID: uuid.UUID,
           datetime.datetime: lambda text: datetime.datetime.fromisoformat(
               text[:-1] + "+00:00" if text[-1:] in "zZ" else text)}


def is_pydantic(kind):
    return isinstance(kind, type) and hasattr(kind, "model_json_schema")


def is_record(kind):
    return isinstance(kind, type) and (dataclasses.is_dataclass(kind)
                                       or hasattr(kind, "__required_keys__"))


def members(kind):
    """{name: type} and the names that have to be there, of a dataclass or a TypedDict."""
    hints = typing.get_type_hints(kind)
    if not dataclasses.is_dataclass(kind):
        return hints, [name for name in hints if name in kind.__required_keys__]
    missing = dataclasses.MISSING
    fields = [field for field in dataclasses.fields(kind) if field.init]
    return ({field.name: hints[field.name] for field in fields},
            [field.name for field in fields
             if field.default is missing and field.default_factory is missing])


class _Writer:
    def __init__(self):
        self.records = {}  # name: schema, or None while it is made

    def record(self, kind):
        """A reference: records may hold themselves."""
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name not in self.records:
            self.records[name] = None
            hints, required = members(kind)
            self.records[name] = {
                "type": "object", "additionalProperties": False, "required": required,
                "properties": {field: self.of(hint) for field, hint in hints.items()}}
        return {"$ref": f"#/$defs/{name}"}

    def tuple(self, inner):
        if len(inner) == 2 and inner[1] is Ellipsis:
            return {"type": "array", "items": self.of(inner[0])}
        return {"type": "array", "prefixItems": [self.of(item) for item in inner], "items": False,
                "minItems": len(inner)}

    def generic(self, kind, origin, inner):
        if origin in UNIONS:
            return {"anyOf": [self.of(item) for item in inner]}
        if origin is typing.Literal:
            return {"enum": list(inner)}
        if origin is list:
            return {"type": "array", "items": self.of(inner[0])}
        if origin is tuple:
            return self.tuple(inner)
        if origin is dict and inner[0] is str:
            return {"type": "object", "additionalProperties": self.of(inner[1])}
        if hasattr(kind, "__metadata__"):  # Annotated
            return self.of(kind.__origin__)
        raise TypeError(f"there is no JSON Schema for {kind!r}")

    def of(self, kind):
        kind = type(None) if kind is None else kind
        if kind in SIMPLE:
            return SIMPLE[kind]
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return {"enum": [item.value for item in kind]}
        if is_record(kind):
            return self.record(kind)
        if kind in (list, dict):
            return {"type": "array" if kind is list else "object"}
        return self.generic(kind, typing.get_origin(kind), typing.get_args(kind))


def text_of(kind):
    """The schema, as JSON, of a type; schemas as text or dicts are what they are."""
    if isinstance(kind, str):
        return kind
    if isinstance(kind, dict):
        return json.dumps(kind)
    if is_pydantic(kind):
        return json.dumps(kind.model_json_schema())
    writer = _Writer()
    schema = dict(writer.of(kind))
    if writer.records:
        schema["$defs"] = writer.records
    return json.dumps(schema)


def fits(kind, value):
    """Whether a value, known to be of one of a union's types, may be of this one."""
    try:
        made(kind, value)
    except (TypeError, ValueError, KeyError, AttributeError):
        return False
    return True


def of_union(inner, value):
    for kind in inner:
        if fits(kind, value):
            return made(kind, value)
    raise ValueError(f"{value!r} is of none of the types")


def of_record(kind, value):
    hints, required = members(kind)
    if not set(required) <= set(value) <= set(hints):
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return kind(**{name: made(hints[name], item) for name, item in value.items()})


def of_plain(kind, value):
    """Of a class that JSON has itself."""
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return kind(value) if kind is float else value


def of_generic(kind, value):
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in UNIONS:
        return of_union(inner, value)
    if origin is list:
        return [made(inner[0], item) for item in of_plain(list, value)]
    if origin is tuple:
        kinds = [inner[0]] * len(value) if inner[1:] == (Ellipsis,) else inner
        return tuple(made(*pair) for pair in zip(kinds, of_plain(list, value)))
    if origin is dict:
        return {name: made(inner[1], item) for name, item in of_plain(dict, value).items()}
    if origin is typing.Literal and value not in inner:
        raise ValueError(f"{value!r} is none of {inner}")
    return made(kind.__origin__, value) if hasattr(kind, "__metadata__") else value


def made(kind, value):
    """The value of a type that JSON stands for."""
    if kind is typing.Any:
        return value
    if kind is None or kind is type(None):
        return of_plain(type(None), value)
    if kind in READERS:
        return READERS[kind](value)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    if is_record(kind):
        return of_record(kind, of_plain(dict, value))
    if kind in (str, int, float, bool, list, dict):
        return of_plain(kind, value)
    return of_generic(kind, value)


def read(kind, text):
    """What a text says that matches the schema of `kind`."""
    if is_pydantic(kind):
        return kind.model_validate_json(text)
    value = json.loads(text)
    return value if isinstance(kind, (str, dict)) else made(kind, value)


def plain(value):
    """For json.dumps: what messages and tools may be made of."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: item for name, item in dataclasses.asdict(value).items() if item is not None}
    raise TypeError(f"{value!r} cannot be written as JSON")
