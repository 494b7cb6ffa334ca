"""Protobuf messages ↔ plain Python values, by one set of conventions.

| protobuf | plain value | HTTP JSON |
| --- | --- | --- |
| integers | int | number (money is fen; ids are strings in the protos) |
| enum ``ORDER_STATE_PAID`` | ``"paid"`` | ``"paid"`` |
| Timestamp | aware UTC datetime | RFC 3339 text |
| bytes | bytes | base64 text |
| unset message or ``optional`` field | key absent | key absent |
| unspecified enum | ``""`` | ``""`` |

On the bus, events are the canonical protobuf JSON instead (``bus_json``), so that any protobuf library reads them. The plan for a
message type is compiled once, because this runs on every read.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.errors import Refusal, Violation

M = TypeVar("M", bound=Message)
Convert = Callable[[Any], Any]

_INTEGERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)
_RANGES: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_TIMESTAMP: Final = Timestamp.DESCRIPTOR.full_name
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_END: Final = datetime(3000, 1, 1, tzinfo=UTC)


class BadValueError(ValueError):
    """A value that does not fit its field: ``path`` and how to mend it."""

    def __init__(self, path: str, message: str) -> None:
        """Name the field by dotted path."""
        super().__init__(f"{path}: {message}")
        self.path, self.message = path, message


# ---------------------------------------------------------------------------------------------------- message → plain values


def to_plain(message: Message) -> dict[str, Any]:
    """The message as plain values: every scalar and list, and what is set of the rest."""
    out: dict[str, Any] = {}
    for name, presence, convert in _reading_plan(message.DESCRIPTOR):
        if presence and not message.HasField(name):
            continue
        out[name] = convert(getattr(message, name))
    return out


@cache
def _reading_plan(descriptor: Descriptor) -> tuple[tuple[str, bool, Convert], ...]:
    return tuple((field.name, field.has_presence, _reader(field)) for field in descriptor.fields)


def _reader(field: FieldDescriptor) -> Convert:
    if _is_map(field):
        value = _single_reader(_map_value(field))
        return lambda mapping: {key: value(mapping[key]) for key in mapping}
    single = _single_reader(field)
    if field.is_repeated:
        return list if single is _same else lambda items: [single(item) for item in items]
    return single


def _single_reader(field: FieldDescriptor) -> Convert:
    if field.message_type is not None:
        return _moment if field.message_type.full_name == _TIMESTAMP else to_plain
    if field.enum_type is not None:
        names = {number: name for name, number in enum_names(field.enum_type).items()}
        return lambda number: names.get(number, str(number))
    return _same


def _same(value: Any) -> Any:
    return value


def _moment(stamp: Any) -> datetime:
    return _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)


# ---------------------------------------------------------------------------------------------------- plain values → message


def from_plain(kind: type[M], values: Mapping[str, Any]) -> M:
    """A message of ``kind`` from a document: keys that the message does not know are left out, None means absent.

    Raises BadValueError for a value that does not fit.
    """
    message = kind()
    _fill(message, values, "", strict=False)
    return message


def from_json(kind: type[M], values: Mapping[str, Any]) -> M:
    """A message of ``kind`` from what a client sent: unknown fields and wrong values are refused, all at once, by path."""
    message = kind()
    problems: list[Violation] = []
    _fill(message, values, "", strict=True, problems=problems)
    if problems:
        first = problems[0]
        raise Refusal("INVALID_ARGUMENT", f"{first.field}: {first.message}", tuple(problems))
    return message


def _fill(
    message: Message, values: Mapping[str, Any], path: str, *, strict: bool, problems: list[Violation] | None = None
) -> None:
    plan = _writing_plan(message.DESCRIPTOR)
    for name, value in values.items():
        if value is None:
            continue
        write = plan.get(name)
        try:
            if write is None:
                if strict:
                    raise BadValueError(path + name, "no such field; look at /openapi.json for the fields of this call")
                continue
            write(message, value, path, strict, problems)
        except BadValueError as error:
            if problems is None:
                raise
            problems.append(Violation(error.path, error.message))


Write = Callable[[Any, Any, str, bool, "list[Violation] | None"], None]


@cache
def _writing_plan(descriptor: Descriptor) -> dict[str, Write]:
    return {field.name: _writer(field) for field in descriptor.fields}


def _writer(field: FieldDescriptor) -> Write:
    if _is_map(field):
        return _map_writer(field)
    if field.message_type is not None and field.message_type.full_name != _TIMESTAMP:
        return _messages_writer(field) if field.is_repeated else _message_writer(field)
    parse = _parser(field)
    name = field.name
    if field.is_repeated:

        def write_list(message: Any, value: Any, path: str, *_: Any) -> None:
            items = _sequence(value, path + name)
            getattr(message, name).extend([parse(item, f"{path}{name}[{i}]") for i, item in enumerate(items)])

        return write_list
    if field.message_type is not None:

        def write_moment(message: Any, value: Any, path: str, *_: Any) -> None:
            getattr(message, name).CopyFrom(parse(value, path + name))

        return write_moment

    def write(message: Any, value: Any, path: str, *_: Any) -> None:
        setattr(message, name, parse(value, path + name))

    return write


def _message_writer(field: FieldDescriptor) -> Write:
    name = field.name

    def write(message: Any, value: Any, path: str, strict: bool, problems: list[Violation] | None) -> None:
        target = getattr(message, name)
        target.SetInParent()
        _fill(target, _mapping(value, path + name), f"{path}{name}.", strict=strict, problems=problems)

    return write


def _messages_writer(field: FieldDescriptor) -> Write:
    name = field.name

    def write(message: Any, value: Any, path: str, strict: bool, problems: list[Violation] | None) -> None:
        target = getattr(message, name)
        for i, item in enumerate(_sequence(value, path + name)):
            _fill(
                target.add(),
                _mapping(item, f"{path}{name}[{i}]"),
                f"{path}{name}[{i}].",
                strict=strict,
                problems=problems,
            )

    return write


def _map_writer(field: FieldDescriptor) -> Write:
    name = field.name
    value_field = _map_value(field)
    parse = None if value_field.message_type is not None else _parser(value_field)

    def write(message: Any, value: Any, path: str, strict: bool, problems: list[Violation] | None) -> None:
        target = getattr(message, name)
        for key, item in _mapping(value, path + name).items():
            where = f"{path}{name}.{key}"
            if parse is None:
                _fill(target[key], _mapping(item, where), where + ".", strict=strict, problems=problems)
            else:
                target[key] = parse(item, where)

    return write


def _parser(field: FieldDescriptor) -> Callable[[Any, str], Any]:
    if field.message_type is not None:
        return _parse_moment
    if field.enum_type is not None:
        return _enum_parser(field.enum_type)
    if field.cpp_type in _INTEGERS:
        return _integer_parser(*_RANGES[field.cpp_type])
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _parse_bool
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _parse_bytes if field.type == FieldDescriptor.TYPE_BYTES else _parse_text
    return _parse_number


def _integer_parser(low: int, high: int) -> Callable[[Any, str], int]:
    def parse(value: Any, path: str) -> int:
        number = value
        if (isinstance(value, str) and value.lstrip("-").isdecimal() and value.isascii() and len(value) <= 20) or (
            isinstance(value, float) and value.is_integer()
        ):
            number = int(value)
        if not isinstance(number, int) or isinstance(number, bool):
            raise BadValueError(path, f"must be a whole number, not {_show(value)}")
        if not low <= number <= high:
            raise BadValueError(path, f"must lie between {low} and {high}")
        return number

    return parse


def _enum_parser(enum: EnumDescriptor) -> Callable[[Any, str], int]:
    names = enum_names(enum)
    known = ", ".join(name for name in names if name)

    def parse(value: Any, path: str) -> int:
        if isinstance(value, str) and value.lower() in names:
            return names[value.lower()]
        raise BadValueError(path, f"must be one of {known}; got {_show(value)}")

    return parse


def _parse_bool(value: Any, path: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
        return value.lower() in ("true", "1")
    raise BadValueError(path, f"must be true or false, not {_show(value)}")


def _parse_text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise BadValueError(path, f"must be text, not {_show(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadValueError(path, "holds half of a surrogate pair; send valid Unicode") from error
    return value


def _parse_bytes(value: Any, path: str) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(_parse_text(value, path), validate=True)
    except binascii.Error as error:
        raise BadValueError(path, "must be base64 text") from error


def _parse_number(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValueError(path, f"must be a number, not {_show(value)}")
    return float(value)


def _parse_moment(value: Any, path: str) -> Timestamp:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise BadValueError(path, 'must be an RFC 3339 time such as "2026-01-05T10:00:00+08:00"') from error
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise BadValueError(path, 'must be an RFC 3339 time with its zone, such as "2026-01-05T10:00:00+08:00"')
    if not _EPOCH <= value < _END:
        raise BadValueError(path, f"must lie between the years {_EPOCH.year} and {_END.year - 1} (UTC)")
    since = value - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadValueError(path, f"must be an object, not {_show(value)}")
    return value


def _sequence(value: Any, path: str) -> Sequence[Any]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise BadValueError(path, f"must be a list, not {_show(value)}")
    return value


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _map_value(field: FieldDescriptor) -> FieldDescriptor:
    entry = field.message_type
    if entry is None:
        raise TypeError(field.name)
    return entry.fields_by_name["value"]


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


@cache
def enum_names(enum: EnumDescriptor) -> dict[str, int]:
    """``{"": 0, "paid": 1, …}`` for an enum whose values begin with its own name."""
    prefix = (
        "".join(("_" if i and letter.isupper() else "") + letter.upper() for i, letter in enumerate(enum.name)) + "_"
    )
    names = {value.name.removeprefix(prefix).lower(): value.number for value in enum.values if value.number}
    return {"": 0, **names}


# ---------------------------------------------------------------------------------------------------- the bus, and message classes


def bus_json(message: Message) -> dict[str, Any]:
    """The message as canonical protobuf JSON (snake_case names): what travels in events."""
    found: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return found


def from_bus(kind: type[M], data: Mapping[str, Any]) -> M:
    """A message from canonical protobuf JSON; fields of a newer sender are ignored."""
    return json_format.ParseDict(dict(data), kind(), ignore_unknown_fields=True)


def message_class(descriptor: Descriptor) -> type[Message]:
    """The Python class of a message type."""
    return GetMessageClass(descriptor)
