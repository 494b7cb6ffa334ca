"""The rpcs as their protos declare them: message classes, HTTP door, who may call."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message import Message
from jishi.options.v1 import options_pb2

from services.chassis import codec
from services.chassis.tokens import ANYONE, SERVICE

UPLOAD = "upload"
DOWNLOAD = "download"
IMMUTABLE = "immutable"
_PIECE = {"data", "next_page_token", "content_type", "file_name"}
_WHOLE = {"data", "content_type"}


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """One rpc. ``name``: ``orders.PlaceOrder``; ``path``: as gRPC knows it; ``rule``: its option."""

    service: str
    name: str
    path: str
    rule: options_pb2.Rpc
    descriptor: MethodDescriptor
    request: type[Message]
    response: type[Message]
    kinds: frozenset[str]
    """Kinds of people and apps let in."""
    services: frozenset[str]
    """Names of services let in."""

    @property
    def streams(self) -> bool:
        """Whether the client sends a stream of requests."""
        return bool(self.descriptor.client_streaming)

    @property
    def public(self) -> bool:
        """Whether no token is needed."""
        return ANYONE in self.kinds

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.rule.effect == options_pb2.EFFECT_READ


def method(service: str, descriptor: MethodDescriptor) -> Method:
    """What ``descriptor`` declares. Raises ValueError for an rpc without its option, or with a streamed response."""
    rule = descriptor.GetOptions().Extensions[options_pb2.rpc]
    if not rule.allow or not rule.effect:
        raise ValueError(f"{descriptor.full_name}: option (jishi.options.v1.rpc) must say allow and effect")
    if descriptor.server_streaming:
        raise ValueError(f"{descriptor.full_name}: streamed responses are not supported; answer with pages")
    if rule.http and descriptor.client_streaming != (rule.body == UPLOAD):
        raise ValueError(f'{descriptor.full_name}: body "{UPLOAD}" and a stream of requests belong together')
    if rule.body == DOWNLOAD:
        asked, answered = descriptor.input_type.fields_by_name, descriptor.output_type.fields_by_name
        if rule.effect != options_pb2.EFFECT_READ or "page_token" not in asked or set(answered) != _PIECE:
            raise ValueError(f"{descriptor.full_name}: a download reads, page_token → {', '.join(sorted(_PIECE))}")
    if rule.body == IMMUTABLE and (
        rule.effect != options_pb2.EFFECT_READ or set(descriptor.output_type.fields_by_name) != _WHOLE
    ):
        raise ValueError(f'{descriptor.full_name}: body "{IMMUTABLE}" reads, and answers {", ".join(sorted(_WHOLE))}')
    prefix = SERVICE + ":"
    return Method(
        service=service,
        name=f"{service}.{descriptor.name}",
        path=f"/{descriptor.containing_service.full_name}/{descriptor.name}",
        rule=rule,
        descriptor=descriptor,
        request=codec.message_class(descriptor.input_type),
        response=codec.message_class(descriptor.output_type),
        kinds=frozenset(who for who in rule.allow if not who.startswith(prefix)),
        services=frozenset(who.removeprefix(prefix) for who in rule.allow if who.startswith(prefix)),
    )


@cache
def methods_of(service: str) -> Mapping[str, Method]:
    """Every rpc of a service by its short name, from the generated modules of ``jishi.<service>.v1``; empty while it has none."""
    found: dict[str, Method] = {}
    for file in _files(service):
        for declared in file.services_by_name.values():
            for descriptor in declared.methods:
                found[descriptor.name] = method(service, descriptor)
    return found


def _files(service: str) -> Iterator[FileDescriptor]:
    try:
        package: Any = importlib.import_module(f"jishi.{service}.v1")
    except ModuleNotFoundError:
        return
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.endswith("_pb2"):
            yield importlib.import_module(f"{package.__name__}.{module.name}").DESCRIPTOR
