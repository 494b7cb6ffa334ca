"""gRPC, and the only package that imports it: servers from descriptors, calls between services, the gateway's channels."""

from services.chassis.rpc.call import Call
from services.chassis.rpc.client import Stub, connect
from services.chassis.rpc.contracts import Method, methods_of
from services.chassis.rpc.node import Node
from services.chassis.rpc.server import Beside, Servers, Service, serve, start
from services.chassis.tokens import Caller

__all__ = [
    "Beside",
    "Call",
    "Caller",
    "Method",
    "Node",
    "Servers",
    "Service",
    "Stub",
    "connect",
    "methods_of",
    "serve",
    "start",
]
