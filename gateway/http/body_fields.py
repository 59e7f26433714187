"""Find out what a field of a JSON body accepts."""

import re
from typing import Any

import msgspec

_STEP = re.compile(r"\w+|\[[^\]]*\]")


def values_at(body: Any, place: str) -> tuple[str, ...]:
    """Return the values that the field at ``place`` of a body of the type ``body`` accepts.

    ``place`` is as msgspec writes it, such as ``filter.stages[...]``. Empty if the values are not a
    fixed list.
    """
    return tuple(dict.fromkeys(value for each in _at(body, place) for value in _values(each)))


def description_at(body: Any, place: str) -> str:
    """Return the description of the field's type at ``place``; empty without one."""
    return next((text for each in _at(body, place) for text in _descriptions(each)), "")


def _at(body: Any, place: str) -> list[msgspec.inspect.Type]:
    found = [msgspec.inspect.type_info(body)]
    for step in _STEP.findall(place):
        found = [inner for each in found for inner in _inside(each, step)]
    return found


def _descriptions(kind: msgspec.inspect.Type) -> list[str]:
    match kind:
        case msgspec.inspect.Metadata(extra_json_schema={"description": str(text)}):
            return [text]
        case msgspec.inspect.UnionType(types=types):
            return [text for each in types for text in _descriptions(each)]
        case _:
            return []


def _inside(kind: msgspec.inspect.Type, step: str) -> list[msgspec.inspect.Type]:
    match kind:
        case msgspec.inspect.UnionType(types=types):
            return [inner for each in types for inner in _inside(each, step)]
        case msgspec.inspect.StructType(fields=fields):
            return [each.type for each in fields if each.encode_name == step]
        case (
            msgspec.inspect.ListType(item_type=item) | msgspec.inspect.VarTupleType(item_type=item)
        ):
            return [item] if step.startswith("[") else []
        case msgspec.inspect.Metadata(type=inner):
            return _inside(inner, step)
        case _:
            return []


def _values(kind: msgspec.inspect.Type) -> list[str]:
    match kind:
        case msgspec.inspect.UnionType(types=types):
            return [value for each in types for value in _values(each)]
        case msgspec.inspect.EnumType(cls=cls):
            return [str(each.value) for each in cls]
        case msgspec.inspect.LiteralType(values=values):
            return [str(each) for each in values]
        case msgspec.inspect.Metadata(type=inner):
            return _values(inner)
        case _:
            return []
