"""One set of conventions between protobuf, documents and JSON."""

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jishi.orders.v1 import events_pb2 as orders
from jishi.payments.v1 import events_pb2 as payments

from services.chassis import codec
from services.chassis.errors import Refusal

PAID = {
    "order_id": "1",
    "checkout_id": "c",
    "shop_id": "s",
    "account_id": "a",
    "buyer_id": "b",
    "openid": "o",
    "amount": 2**40,
    "currency": "CNY",
    "lines": [
        {"product_id": "p", "sku_id": "", "name": "碎花连衣裙", "quantity": 2, "price": 19900, "product_version": 1}
    ],
    "paid_at": datetime(2026, 1, 5, 2, 0, 0, 123000, tzinfo=UTC),
    "transaction_id": "t",
}


def test_a_document_survives_the_message():
    assert codec.to_plain(codec.from_plain(orders.OrderPaid, PAID)) == PAID


def test_a_document_survives_the_bus():
    message = codec.from_plain(orders.OrderPaid, PAID)
    on_the_bus = codec.bus_json(message)
    assert on_the_bus["amount"] == str(2**40)
    assert codec.to_plain(codec.from_bus(orders.OrderPaid, on_the_bus)) == PAID


def test_enums_are_lower_case_names_without_their_prefix():
    message = codec.from_plain(payments.RefundSucceeded, {"cause": "paid_twice"})
    assert message.cause == payments.REFUND_CAUSE_PAID_TWICE
    assert codec.to_plain(message)["cause"] == "paid_twice"
    assert codec.to_plain(payments.RefundSucceeded())["cause"] == ""


def test_fields_of_a_newer_sender_are_ignored_on_the_bus():
    assert codec.from_bus(orders.OrderClosed, {"order_id": "1", "colour": "red"}).order_id == "1"


def test_a_client_hears_of_every_wrong_field_by_path():
    sent = {"order_id": 5, "amount": "x", "lines": [{"quantity": 2**31}, {"nam": 1}], "paid_at": "yesterday"}
    with pytest.raises(Refusal) as refused:
        codec.from_json(orders.OrderPaid, sent)
    assert [violation.field for violation in refused.value.violations] == [
        "order_id",
        "amount",
        "lines[0].quantity",
        "lines[1].nam",
        "paid_at",
    ]


@pytest.mark.parametrize(
    "sent",
    [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "3000-01-01T00:00:00Z",
    ],
)
def test_a_time_that_nothing_can_hold_is_refused_by_name(sent):
    with pytest.raises(Refusal) as refused:
        codec.from_json(orders.OrderPaid, {"paid_at": sent})
    assert [violation.field for violation in refused.value.violations] == ["paid_at"]


@pytest.mark.parametrize("sent", ["1970-01-01T00:00:00Z", "2999-12-31T23:59:59.999+00:00", "3000-01-01T07:59:59+08:00"])
def test_the_first_and_last_times_come_through(sent):
    message = codec.from_json(orders.OrderPaid, {"paid_at": sent})
    assert codec.to_plain(message)["paid_at"] == datetime.fromisoformat(sent)


def test_a_client_may_send_numbers_as_text_and_null_as_absent():
    message = codec.from_json(
        orders.OrderPaid, {"amount": "12", "order_id": None, "paid_at": "2026-01-05T10:00:00+08:00"}
    )
    assert (message.amount, message.order_id) == (12, "")
    assert codec.to_plain(message)["paid_at"] == datetime(2026, 1, 5, 2, tzinfo=UTC)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["order_id", "lines", "amount", "paid_at", "x"]), inner)
        ),
        max_leaves=20,
    ).filter(lambda value: isinstance(value, dict))
)
def test_whatever_json_comes_it_is_taken_or_refused(sent: dict):
    with contextlib.suppress(Refusal):
        assert codec.from_json(orders.OrderPaid, sent).ByteSize() >= 0
