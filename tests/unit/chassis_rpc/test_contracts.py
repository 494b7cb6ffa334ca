"""What is refused of a proto when a server or the gateway is built."""

from types import SimpleNamespace
from urllib.parse import quote

import pytest
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st
from jishi.options.v1 import options_pb2

from services.chassis.errors import REASONS, Refusal, Violation
from services.chassis.rpc import contracts, status
from services.gateway.routes import Table, routes_of
from tests.unit.chassis_rpc import desk


def descriptor(*, client_streaming=False, server_streaming=False, **rule):
    """A method descriptor that says what it is told to."""
    declared = options_pb2.Rpc(**rule)
    options = SimpleNamespace(Extensions={options_pb2.rpc: declared})
    message = desk.message("GetCardRequest").DESCRIPTOR
    return SimpleNamespace(
        full_name="x.Y.Z",
        name="Z",
        containing_service=SimpleNamespace(full_name="x.Y"),
        input_type=message,
        output_type=message,
        client_streaming=client_streaming,
        server_streaming=server_streaming,
        GetOptions=lambda: options,
    )


READ = {"allow": ["anyone"], "effect": options_pb2.EFFECT_READ}


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"allow": ["anyone"]}, "allow and effect"),
        ({"effect": options_pb2.EFFECT_READ}, "allow and effect"),
        ({**READ, "server_streaming": True}, "pages"),
        ({**READ, "http": "POST /x", "client_streaming": True}, "belong together"),
        ({**READ, "http": "POST /x", "body": "upload"}, "belong together"),
    ],
)
def test_an_rpc_that_says_too_little_is_refused(declared, said):
    with pytest.raises(ValueError, match=said):
        contracts.method("x", descriptor(**declared))


@pytest.mark.parametrize("http", ["FETCH /x", "GET", "GET x", "GET /x/{unknown}"])
def test_a_door_that_cannot_be_read_is_refused(http):
    with pytest.raises(ValueError, match=r"http must be like|does not have"):
        routes_of([contracts.method("x", descriptor(**READ, http=http))])


def test_two_rpcs_may_not_want_the_same_door():
    one = contracts.method("x", descriptor(**READ, http="GET /x/{card_id}"))
    with pytest.raises(ValueError, match="both want"):
        Table(routes_of([one, one]))


def routes(*doors):
    return Table(routes_of([contracts.method("x", descriptor(**READ, http=door)) for door in doors]))


def test_a_literal_goes_before_a_parameter_and_a_verb_before_an_id():
    table = routes("GET /x/{card_id}", "GET /x/fixed", "POST /x/{card_id}:go", "POST /x:all", "GET /x/{card_id}/y")
    assert table.find("/x/fixed")[1] == []
    assert table.find("/x/other")[1] == ["other"]
    assert (set(table.find("/x/a:go")[0]), table.find("/x/a:go")[1]) == ({"POST"}, ["a"])
    assert table.find("/x/a:stay")[1] == ["a:stay"]
    assert table.find("/x:all")[1] == []
    assert table.find("/x/fixed/y")[1] == ["fixed"]
    for unknown in ("/", "/x", "/x/", "/x/a/z", "/y", "/x//y"):
        assert table.find(unknown) is None


def test_services_without_a_package_have_no_rpcs():
    assert contracts.methods_of("nobody") == {}


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_survives_the_wire(reason):
    refusal = Refusal(reason, "why", retry_after_s=3, info={"a": "1"})
    packed = status.to_status(refusal)
    metadata = ((status.DETAILS, packed.SerializeToString()),)
    assert status._answered(metadata) == refusal


def test_details_that_are_not_ours_are_not_believed():
    assert status._answered(()) is None
    assert status._answered(((status.DETAILS, b"\xff\xff"),)) is None
    foreign = status.to_status(Refusal("NOT_FOUND", "x"))
    del foreign.details[:]
    assert status._answered(((status.DETAILS, foreign.SerializeToString()),)) is None


@given(
    message=st.text(max_size=20_000),
    info=st.dictionaries(st.sampled_from(["kind", "id", "state", "wanted"]), st.text(max_size=10_000)),
    violations=st.lists(st.builds(Violation, st.text(max_size=9_000), st.text(max_size=9_000)), max_size=40),
)
def test_a_refusal_fits_the_line_whatever_it_names(message, info, violations):
    packed = status.to_status(Refusal("NOT_FOUND", message, tuple(violations), info=info))
    escaped = quote(packed.message, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")
    assert len(escaped) + len(packed.SerializeToString()) * 4 / 3 < 8192 - 1024
    (told,) = [found for found in packed.details if found.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert told.ByteSize() > 0
    shown = error_details_pb2.BadRequest()
    assert any(found.Unpack(shown) for found in packed.details) == bool(violations)
    assert len(shown.field_violations) >= min(1, len(violations))


def test_a_short_refusal_is_told_whole():
    violations = tuple(Violation(f"lines[{number}].quantity", "1 至 99 之间的整数") for number in range(8))
    packed = status.to_status(Refusal("INVALID_ARGUMENT", "没有这个商品 100 %", violations))
    assert packed.message == "没有这个商品 100 %"
    shown = error_details_pb2.BadRequest()
    assert any(found.Unpack(shown) for found in packed.details)
    assert [found.description for found in shown.field_violations] == [one.message for one in violations]
