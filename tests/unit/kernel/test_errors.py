"""The catalogue of reasons is complete and harmless to old SDKs."""

import grpc
import pytest

from services.chassis.errors import REASONS, Refusal, invalid

MAKES_SDKS_RETRY = {-1, 40014, 45009}
"""Codes on which published SDKs fetch a token again or repeat the call."""


def test_every_reason_has_a_real_grpc_code_and_http_status():
    for reason in REASONS.values():
        assert hasattr(grpc.StatusCode, reason.grpc)
        assert 400 <= reason.http < 600
        assert reason.errcode != 0


def test_business_refusals_never_look_like_token_trouble():
    for name, reason in REASONS.items():
        if reason.http not in (401, 429):
            assert reason.errcode not in MAKES_SDKS_RETRY | {40001, 42001}, name


def test_an_unknown_reason_is_refused_where_it_is_written():
    with pytest.raises(KeyError):
        Refusal("NO_SUCH_REASON", "x")


def test_invalid_names_the_field_and_the_fix():
    refusal = invalid("lines[0].quantity", "must be at least 1")
    assert refusal.violations[0].field == "lines[0].quantity"
    assert "at least 1" in str(refusal)
