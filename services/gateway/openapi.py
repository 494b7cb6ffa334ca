"""The OpenAPI 3.1 document, from the descriptors and the comments in the protos."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from jishi.options.v1 import options_pb2

from services.chassis import codec
from services.chassis.errors import REASONS
from services.chassis.rpc.contracts import DOWNLOAD, IMMUTABLE
from services.gateway.downloads import PLACE
from services.gateway.routes import Route
from services.gateway.uploads import FILE, PIECE

Schema = dict[str, Any]
_TYPES: Final[Mapping[int, Schema]] = {
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_INT64: {"type": "integer", "format": "int64"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "format": "int32", "minimum": 0},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "integer", "format": "int64", "minimum": 0},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}
BODILESS: Final = frozenset({"GET", "DELETE"})
"""Verbs whose request is told in path and query only."""
_MOMENT: Final = "google.protobuf.Timestamp"
_PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "Why a request was refused (RFC 9457).",
    "required": ["type", "title", "status", "detail", "instance", "reason", "errcode"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, and how to mend it."},
        "instance": {"type": "string", "description": "The trace under which we logged it."},
        "reason": {"type": "string", "enum": sorted(REASONS)},
        "errcode": {"type": "integer", "description": "The WeChat error code of the reason."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_KEY: Final[Schema] = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "maxLength": 255},
    "description": "Repeat a request with the same key and it is done once; the answer then has `Idempotency-Replayed: true`.",
}


def document(routes: Iterable[Route], base_url: str) -> dict[str, Any]:
    """The document of ``routes``; ``base_url`` is where clients reach them."""
    schemas: dict[str, Schema] = {"Problem": _PROBLEM}
    paths: dict[str, dict[str, Any]] = {}
    for route in sorted(routes, key=lambda route: (route.template, route.verb)):
        paths.setdefault(route.template, {})[route.verb.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Jishi (集市)",
            "version": "v1",
            "description": "Money is in fen, times are RFC 3339, ids are text.",
        },
        "servers": [{"url": base_url}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(route: Route, schemas: dict[str, Schema]) -> dict[str, Any]:
    method, rule = route.method, route.method.rule
    said = comments().get(method.descriptor.full_name, "")
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    operation: dict[str, Any] = {
        "operationId": method.name.replace(".", "_"),
        "tags": [method.service],
        "summary": re.split(r"(?<=[.。;])\s", said, maxsplit=1)[0].rstrip(".;"),
        "description": said,
        "parameters": _parameters(route, schemas),
        "responses": {
            str(rule.success_status or 200): _success(route, schemas),
            "default": {"description": "Refused.", "content": problem},
        },
        "security": [{"token": [rule.scope] if rule.scope else []}] + ([{}] if method.public else []),
        "x-allow": list(rule.allow),
    }
    if rule.sandbox:
        operation["x-sandbox"] = True
    if route.verb not in BODILESS:
        operation["requestBody"] = _body(route, schemas)
    return operation


def _success(route: Route, schemas: dict[str, Schema]) -> dict[str, Any]:
    if route.method.rule.body == "raw":
        return {"description": "What the sender of the notification expects."}
    if route.method.rule.body in (DOWNLOAD, IMMUTABLE):
        whole = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        return {"description": "The file.", "content": whole}
    said = {"schema": _reference(route.method.response.DESCRIPTOR, schemas)}
    return {
        "description": comments().get(route.method.response.DESCRIPTOR.full_name, ""),
        "content": {"application/json": said},
    }


def _parameters(route: Route, schemas: dict[str, Schema]) -> list[Schema]:
    fields = route.method.request.DESCRIPTOR.fields_by_name
    found = []
    for name, field in fields.items():
        where = "path" if name in route.parameters else "query"
        if route.method.rule.body == DOWNLOAD and name == PLACE:
            continue
        if where == "path" or route.verb in BODILESS:
            said = {"description": comments().get(field.full_name, "")}
            found.append(
                {"name": name, "in": where, "required": where == "path", "schema": _schema(field, schemas), **said}
            )
    if route.method.rule.effect == options_pb2.EFFECT_WRITE and route.method.rule.body != "raw":
        found.append(_KEY)
    return found


def _body(route: Route, schemas: dict[str, Schema]) -> dict[str, Any]:
    kind = route.method.rule.body
    if kind == "raw":
        return {"content": {"*/*": {"schema": {}}}}
    hidden = {*route.parameters, PIECE} if kind == "upload" else set(route.parameters)
    whole = _message(route.method.request.DESCRIPTOR, schemas)
    own = {**whole, "properties": {name: said for name, said in whole["properties"].items() if name not in hidden}}
    if kind == "upload":
        own["properties"][FILE] = {"type": "string", "contentMediaType": "application/octet-stream"}
        return {"required": True, "content": {"multipart/form-data": {"schema": {**own, "required": [FILE]}}}}
    return {"content": {"application/json": {"schema": own}, "application/x-www-form-urlencoded": {"schema": own}}}


def _reference(descriptor: Any, schemas: dict[str, Schema]) -> Schema:
    name = descriptor.full_name.removeprefix("jishi.").replace(".v1.", ".")
    if name not in schemas:
        schemas[name] = {}  # a message may hold itself
        schemas[name] = _message(descriptor, schemas)
    return {"$ref": f"#/components/schemas/{name}"}


def _message(descriptor: Any, schemas: dict[str, Schema]) -> Schema:
    properties = {}
    for field in descriptor.fields:
        said = comments().get(field.full_name)
        schema = _schema(field, schemas)
        properties[field.name] = {**schema, "description": said} if said else schema
    return {"type": "object", "description": comments().get(descriptor.full_name, ""), "properties": properties}


def _schema(field: Any, schemas: dict[str, Schema]) -> Schema:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _single(field.message_type.fields_by_name["value"], schemas)}
    single = _single(field, schemas)
    return {"type": "array", "items": single} if field.is_repeated else single


def _single(field: Any, schemas: dict[str, Schema]) -> Schema:
    if field.message_type is not None:
        if field.message_type.full_name == _MOMENT:
            return {"type": "string", "format": "date-time"}
        return _reference(field.message_type, schemas)
    if field.enum_type is not None:
        return {"type": "string", "enum": list(codec.enum_names(field.enum_type))}
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    return dict(_TYPES[field.cpp_type])


@cache
def comments() -> Mapping[str, str]:
    """Comments of the protos by full name; empty where the descriptors were generated without them."""
    source = files("jishi") / "descriptors.binpb"
    if not source.is_file():
        return {}
    found: dict[str, str] = {}
    for file in FileDescriptorSet.FromString(source.read_bytes()).file:
        for location in file.source_code_info.location:
            text = " ".join(location.leading_comments.split())
            if text:
                found[_name_at(file, list(location.path))] = text
    return found


def _name_at(file: FileDescriptorProto, path: list[int]) -> str:
    """The full name of what a source location's path (field numbers and indexes by turns) leads to; "" for anything else."""
    at: Any = file
    names = [file.package]
    for number, index in zip(path[::2], path[1::2], strict=False):
        field = at.DESCRIPTOR.fields_by_number.get(number)
        if field is None or not field.is_repeated or field.message_type is None:
            return ""
        at = getattr(at, field.name)[index]
        names.append(str(getattr(at, "name", "")))
    return ".".join(names)
