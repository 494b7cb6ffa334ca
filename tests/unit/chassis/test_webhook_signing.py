"""Messages in the form of Standard Webhooks: only what was signed, for what it says, and lately."""

import base64

import pytest

from services.chassis import webhook_signing as signing

NOW = 1_614_265_330
# The example of the specification of Standard Webhooks.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
HEADERS = {
    "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "Webhook-Timestamp": str(NOW),
    "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def refused(known, headers=HEADERS, body=BODY, now_s=NOW):
    with pytest.raises(signing.MessageRefusedError) as caught:
        signing.check(known, headers, body, now_s=now_s)
    return str(caught.value)


def test_the_example_of_the_specification_is_believed_and_made():
    assert signing.check([signing.new_secret(), SECRET], HEADERS, BODY, now_s=NOW + 300) == HEADERS["Webhook-Id"]
    made = signing.signed(SECRET, HEADERS["Webhook-Id"], BODY, now_s=NOW)
    assert made == {name.lower(): value for name, value in HEADERS.items()}
    several = {**HEADERS, "Webhook-Signature": f"v1a,xx v1,AAAA {HEADERS['Webhook-Signature']}"}
    assert signing.check([SECRET], several, BODY, now_s=NOW)


def test_what_is_forged_old_or_incomplete_is_refused():
    assert "signature" in refused([signing.new_secret()])
    assert "signature" in refused([])
    assert "signature" in refused([SECRET], body=BODY + b" ")
    assert "signature" in refused([SECRET], {**HEADERS, "Webhook-Id": "msg_other"})
    assert "signature" in refused([SECRET], {**HEADERS, "Webhook-Timestamp": str(NOW + 1)})
    for late in (-301, 301):
        assert "timestamp" in refused([SECRET], now_s=NOW + late)
    for wrong in ("", "x", "-1", "9" * 30, "١٢٣"):
        assert "timestamp" in refused([SECRET], {**HEADERS, "Webhook-Timestamp": wrong})
    for name in HEADERS:
        assert name.lower() in refused([SECRET], {key: value for key, value in HEADERS.items() if key != name})


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_!", "whsec_" + base64.b64encode(b"short").decode(), SECRET[6:]]
)
def test_what_is_no_secret_is_refused(secret):
    with pytest.raises(ValueError, match="base64"):
        signing.key_of(secret)
