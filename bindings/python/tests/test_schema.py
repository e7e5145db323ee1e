"""Tests of schemas by types, and of constraints."""
import dataclasses
import datetime
import enum
import json
import os
import pathlib
import sys
import typing
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import smallmind  # noqa: E402
from smallmind import _schema  # noqa: E402

try:
    import pydantic
except ImportError:
    pydantic = None

MODEL = os.environ["SMALLMIND_TEST_MODEL"]
MESSAGES = [{"role": "user", "content": "and the"}]
HOW = {"template": "chatml", "max_tokens": 100, "temperature": 1.0, "seed": 3}


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: typing.Literal[1, 2]
    colour: Colour


@dataclasses.dataclass
class Shape:
    kind: typing.Literal["line", "area"]
    points: typing.List[Point]
    closed: bool
    next: "typing.Optional[Shape]" = None


class Size(typing.TypedDict):
    wide: int
    high: float


VALUES = [
    (Shape, Shape("line", [Point(1, Colour.RED)], True, Shape("area", [], False)),
     '{"kind": "line", "points": [{"x": 1, "colour": "red"}], "closed": true,'
     ' "next": {"kind": "area", "points": [], "closed": false, "next": null}}'),
    (typing.Tuple[int, str], (1, "a"), '[1, "a"]'),
    (typing.Tuple[int, ...], (1, 2, 3), "[1, 2, 3]"),
    (typing.Dict[str, typing.Union[int, typing.List[str]]], {"a": 1, "b": ["c"]},
     '{"a": 1, "b": ["c"]}'),
    (Size, {"wide": 1, "high": 2.0}, '{"wide": 1, "high": 2}'),
    (datetime.date, datetime.date(2020, 2, 29), '"2020-02-29"'),
    (datetime.datetime, datetime.datetime(2020, 2, 29, 1, 2, 3, tzinfo=datetime.timezone.utc),
     '"2020-02-29T01:02:03Z"'),
    (typing.Optional[Colour], None, "null"),
    (typing.Optional[Colour], Colour.BLUE, '"blue"'),
]


class Types(unittest.TestCase):
    def setUp(self):
        self.model = smallmind.Model(MODEL)

    def test_values_there_and_back(self):
        for kind, value, text in VALUES:
            with self.subTest(kind):
                self.assertEqual(_schema.read(kind, text), value)
                self.model.constraint(schema=kind).close()  # the library takes the schema

    def test_what_fits_no_type_is_refused(self):
        for kind, text in ((int, "1.5"), (int, "true"), (Size, '{"wide": 1}'), (str, "1"),
                           (typing.Union[int, str], "null"), (Colour, '"green"'),
                           (typing.Literal["a"], '"b"')):
            with self.subTest(kind), self.assertRaises(ValueError):
                _schema.read(kind, text)
        for kind in (set, typing.Dict[int, str], object):
            with self.subTest(kind), self.assertRaises(TypeError):
                self.model.constraint(schema=kind)


class Answers(unittest.TestCase):
    def setUp(self):
        self.model = smallmind.Model(MODEL)
        self.session = self.model.session(n_threads=1, n_ctx=512)

    def test_of_a_dataclass(self):
        point = self.session.chat_as(Point, MESSAGES, **HOW)
        self.assertIsInstance(point, Point)
        self.assertIn(point.x, (1, 2))
        self.assertIsInstance(point.colour, Colour)

    def test_of_a_schema(self):
        found = self.session.chat_as({"enum": [{"a": 1}, {"a": 2}]}, MESSAGES, **HOW)
        self.assertIn(found, ({"a": 1}, {"a": 2}))

    @unittest.skipUnless(pydantic, "pydantic is not installed")
    def test_of_pydantic(self):
        class Line(pydantic.BaseModel):
            colour: Colour
            width: int = pydantic.Field(ge=1, le=9)
        line = self.session.chat_as(Line, MESSAGES, **HOW)
        self.assertIsInstance(line, Line)
        self.assertIn(line.width, range(1, 10))

        class Message(pydantic.BaseModel):
            role: str
            content: str
        same = self.session.chat([Message(role="user", content="and the")], **HOW)
        self.assertEqual(same, self.session.chat(MESSAGES, **HOW))

    def test_an_answer_that_is_cut_is_none(self):
        with self.assertRaises(smallmind.FormatError):
            self.session.chat_as(Shape, MESSAGES, **{**HOW, "max_tokens": 3})

    def test_messages_of_dataclasses(self):
        @dataclasses.dataclass
        class Message:
            role: str
            content: str
            name: typing.Optional[str] = None
        same = self.session.chat([Message("user", "and the")], **HOW)
        self.assertEqual(same, self.session.chat(MESSAGES, **HOW))

    def test_other_constraints(self):
        how = {"max_tokens": 50, "temperature": 1.0, "seed": 1}
        self.assertIn(self.session.complete("and the", choices=["red", "blue"], **how),
                      ("red", "blue"))
        self.assertRegex(self.session.complete("and the", regex="[0-9]{3}x", **how), "^[0-9]{3}x$")
        twice = self.model.constraint(grammar='root ::= "a" "b"+ "."')
        for _ in range(2):
            self.assertRegex(self.session.complete("and the", constraint=twice, **how), "^ab+")
        json.loads(self.session.complete("and the", schema={"type": "boolean"}, **how))
        with self.assertRaises(TypeError):
            self.session.complete("and the", regex="a", choices=["b"])
        with self.assertRaises(smallmind.FormatError):
            self.model.constraint(regex="(")


if __name__ == "__main__":
    unittest.main()
