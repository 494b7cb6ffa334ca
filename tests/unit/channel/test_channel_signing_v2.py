"""The older language: the manual's own vectors, another library's signatures, and XML that means harm."""

import pytest
from wechatpy.pay.utils import calculate_signature, calculate_signature_hmac, dict_to_xml

from services.chassis import channel_signing_v2 as v2
from services.chassis.channel_signing import SignatureRefusedError

KEY = "192006250b4c09247ec02edce69f6a2d"
FIELDS = {
    "appid": "wxd930ea5d5a258f4f",
    "mch_id": "10000100",
    "device_info": "1000",
    "body": "test",
    "nonce_str": "ibuaiVcKdpRxkhJA",
}


def test_the_vectors_of_the_manual():
    assert v2.sign(FIELDS, KEY) == "9A0A8659F005D6984697E2CA0A9CF3B7"
    assert v2.sign(FIELDS, KEY, v2.HMAC_SHA256) == "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6"


def test_another_library_signs_and_reads_the_same():
    told = {**FIELDS, "body": "龙井 <茶> & 杯]]>", "attach": "", "new_field": "x"}
    assert v2.sign(told, KEY) == calculate_signature(told, KEY)
    assert v2.sign(told, KEY, v2.HMAC_SHA256) == calculate_signature_hmac(told, KEY)
    plain = {**told, "body": "龙井 <茶> & 杯"}
    assert v2.from_xml(dict_to_xml(plain, "S").encode()) == {**plain, "sign": "S"}
    assert v2.from_xml(v2.to_xml(told)) == {name: value for name, value in told.items() if value}


@pytest.mark.parametrize("kind", v2.KINDS)
def test_a_message_is_believed_only_as_it_was_signed(kind):
    told = v2.signed({**FIELDS, "sign_type": kind}, KEY, kind)
    v2.verify(told, KEY)
    wrong = [
        {**told, "body": "test2"},
        {**told, "added": "x"},
        {**told, "sign": told["sign"].lower()},
        {**told, "sign": ""},
        {**told, "sign_type": "MD4"},
        {name: value for name, value in told.items() if name != "sign"},
    ]
    for one in wrong:
        with pytest.raises(SignatureRefusedError):
            v2.verify(one, KEY)
    with pytest.raises(SignatureRefusedError):
        v2.verify(told, KEY[::-1])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<xml><a>1</xml>",
        b"<other><a>1</a></other>",
        b"<xml><a><b>1</b></a></xml>",
        b"<xml><a>1</a><a>2</a></xml>",
        b'<!DOCTYPE xml [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><xml><c>&b;</c></xml>',
        b'<!DOCTYPE xml [<!ENTITY x SYSTEM "file:///etc/hostname">]><xml><c>&x;</c></xml>',
        b"<xml><a>" + b"1" * v2.LARGEST + b"</a></xml>",
        b"<xml><a>\xff</a></xml>",
    ],
)
def test_what_is_no_flat_message_is_refused(body):
    with pytest.raises(v2.BadXmlError):
        v2.from_xml(body)


def test_a_refund_notice_opens_with_its_key_only():
    sealed = v2.seal(KEY, b"<root><out_refund_no>1</out_refund_no></root>")
    assert v2.open_sealed(KEY, sealed).startswith(b"<root>")
    for key, text in ((KEY[::-1], sealed), (KEY, sealed[:-4]), (KEY, "%%")):
        with pytest.raises(SignatureRefusedError):
            v2.open_sealed(key, text)
