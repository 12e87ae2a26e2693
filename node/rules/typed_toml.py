"""TOML that people write, as frozen structs: each mistake named by its field, the value found and what is allowed.

A field's Meta carries all that a person should know: `description` is its comment in the file, `title` says what is
allowed where a range does not. Floats are read as the text that stands in the file, so that no rounding can creep in.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

FOUND_CHARACTERS_MAX = 60
"""A wrong value is shown up to this length: enough to recognise it in one line of a terminal."""

COMMENT_WIDTH = 110
_PLACE = re.compile(r" - at `\$\.(?P<path>[\w.]+?)(\[[\d.]+\])*`$")
_SYNTAX = re.compile(r"^(?P<what>.*) \(at (?P<where>.*)\)$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*?)`( - at `\$[\w.]*`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>\w+)`")


class TomlProblem(ValueError):  # noqa: N818 - it is a message for the person who wrote the file
    """The text is not what was asked for; the message names the place, the value and what is allowed."""


def parse(text: str, wanted: type[T]) -> T:
    """The struct that `text` describes. Raises TomlProblem."""
    return converted(document_of(text), wanted)


def converted(document: Mapping[str, object], wanted: type[T]) -> T:
    """The struct that a table describes. Raises TomlProblem."""
    try:
        return msgspec.convert(document, wanted)
    except msgspec.ValidationError as error:
        raise TomlProblem(_explanation(error, document, wanted)) from error


def fields_of(wanted: type[msgspec.Struct]) -> list[str]:
    """The names of the fields as they stand in the file: a section's own before those that it has of another struct."""
    return sorted(wanted.__struct_fields__, key=lambda name: name not in wanted.__annotations__)


def render(value: msgspec.Struct) -> str:
    """Commented TOML that `parse` reads back to an equal value. Sections follow plain fields."""
    return "\n".join(_lines_of(value)) + "\n"


def allowed_at(wanted: type[msgspec.Struct], path: tuple[str, ...]) -> str:
    """What may stand at `path`, in words: "a whole number from 1 to 64"."""
    return _allowed(_type_at(wanted, path))


def range_of(wanted: type[msgspec.Struct], name: str) -> tuple[int, int]:
    """The least and the greatest whole number that the field may be."""
    metas = _metas_of(_type_at(wanted, (name,)))
    return next((int(meta.ge), int(meta.le)) for meta in metas if meta.ge is not None and meta.le is not None)


def document_of(text: str) -> dict[str, object]:
    """The tables that stand in the text, floats as their text. Raises TomlProblem."""
    try:
        return tomllib.loads(text, parse_float=str)
    except tomllib.TOMLDecodeError as error:
        found = _SYNTAX.match(str(error))
        message = f"{found['where']}: {found['what'][:1].lower()}{found['what'][1:]}" if found else str(error)
        raise TomlProblem(f"not valid TOML: {message}") from error
    except RecursionError as error:
        raise TomlProblem("not valid TOML: nested too deeply") from error
    except ValueError as error:  # Python reads no such integer (sys.set_int_max_str_digits)
        raise TomlProblem("not valid TOML: a whole number has thousands of digits") from error


# --- what is wrong --------------------------------------------------------------------------------------------------


def _explanation(error: msgspec.ValidationError, document: Mapping[str, object], wanted: type[msgspec.Struct]) -> str:
    """msgspec's reason, retold with the value found and what is allowed; a struct tells itself what its fields contradict."""
    reason = str(error)
    place = _PLACE.search(reason)
    path = tuple(place["path"].split(".")) if place else ()
    if error.__cause__ is not None:
        return _dotted((*path, _printable(str(error.__cause__))))
    if unknown := _UNKNOWN.match(reason):
        return _unknown_field(path, unknown["name"], wanted)
    if missing := _MISSING.match(reason):
        full = (*path, missing["name"])
        return f"{_dotted(full)} is missing; allowed is {allowed_at(wanted, full)}"
    value, kind = _value_at(document, path), _type_at(wanted, path)
    names = _names_of(kind)
    return (
        wrong_name(_dotted(path), value, names) if names else f"{_dotted(path)} is {_shown(value)}; allowed is {_allowed(kind)}"
    )


def wrong_name(field: str, value: object, names: Sequence[str]) -> str:
    """What is wrong with a value that is none of these names, and which of them may have been meant."""
    near = difflib.get_close_matches(value, names, n=1) if isinstance(value, str) else []
    hint = f" (did you mean {json.dumps(near[0])}?)" if near else ""
    return f"{field} is {_shown(value)}; allowed is {one_of(names)}{hint}"


def one_of(names: Sequence[str]) -> str:
    """The names, as allowed values are told."""
    return "one of " + ", ".join(map(json.dumps, names))


def _unknown_field(path: tuple[str, ...], name: str, wanted: type[msgspec.Struct]) -> str:
    known = _type_at(wanted, path)
    names = fields_of(known) if isinstance(known, type) and issubclass(known, msgspec.Struct) else []
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {_dotted((*path, near[0]))}?" if near else f"known here: {', '.join(names) or 'none'}"
    return f"{_dotted((*path, _shortened(name)))} is not a setting ({hint})"


def _names_of(wanted: object) -> list[str]:
    """The names that may stand where there is a choice of them; else none."""
    bare = get_args(wanted)[0] if get_origin(wanted) is Annotated else wanted
    return [member.value for member in bare] if isinstance(bare, type) and issubclass(bare, Enum) else []


def _value_at(document: object, path: tuple[str, ...]) -> object:
    for name in path:
        assert isinstance(document, Mapping)
        document = document[name]
    return document


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a section"
    try:
        return _shortened(json.dumps(value, default=str))
    except ValueError:  # it was in base 2, 8 or 16, and Python writes no such integer (sys.set_int_max_str_digits)
        return "a whole number of thousands of digits"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _shortened(text: str) -> str:
    printable = _printable(text)
    return printable if len(printable) <= FOUND_CHARACTERS_MAX else printable[: FOUND_CHARACTERS_MAX - 3] + "..."


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(path)


# --- what is allowed ------------------------------------------------------------------------------------------------


def _type_at(wanted: object, path: tuple[str, ...]) -> object:
    for name in path:
        wanted = get_type_hints(wanted, include_extras=True)[name]
    return wanted


def _allowed(wanted: object) -> str:
    wanted = _given(wanted)
    metas = _metas_of(wanted)
    titles = [meta.title for meta in metas if meta.title]
    bare = get_args(wanted)[0] if get_origin(wanted) is Annotated else wanted
    if titles:
        return titles[-1]
    if names := _names_of(wanted):
        return one_of(names)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        return f"a section with {', '.join(fields_of(bare))}"
    return f"a whole number from {_range(metas)}"


def _given(wanted: object) -> object:
    """Of a field that may be left out: what it is when it is there."""
    kinds = [kind for kind in get_args(wanted) if kind is not NoneType] if get_origin(wanted) in (Union, UnionType) else []
    return kinds[0] if len(kinds) == 1 else wanted


def _range(metas: tuple[msgspec.Meta, ...]) -> str:
    return next(f"{meta.ge:,} to {meta.le:,}" for meta in metas if meta.ge is not None)


def _metas_of(wanted: object) -> tuple[msgspec.Meta, ...]:
    """What is annotated on the type, the innermost first."""
    return tuple(item for item in get_args(wanted)[1:] if isinstance(item, msgspec.Meta))


# --- what a person reads --------------------------------------------------------------------------------------------


def _lines_of(value: msgspec.Struct, prefix: str = "") -> Iterator[str]:
    types = get_type_hints(type(value), include_extras=True)
    items = [(name, getattr(value, name)) for name in fields_of(type(value))]
    for name, item in items:
        if not isinstance(item, msgspec.Struct):
            yield from _comment_lines(types[name])
            yield f"{name} = {json.dumps(item)}"
    for name, item in items:
        if isinstance(item, msgspec.Struct):
            yield from ("", f"[{prefix}{name}]", f"# {(type(item).__doc__ or '').splitlines()[0]}")
            yield from _lines_of(item, f"{prefix}{name}.")


def _comment_lines(wanted: object) -> Iterator[str]:
    metas = _metas_of(wanted)
    has_range = any(meta.ge is not None for meta in metas)
    for meta in metas:
        if meta.description:
            yield from (f"# {line}" for line in _wrapped(meta.description + (f" [{_range(metas)}]" if has_range else "")))


def _wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= COMMENT_WIDTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
