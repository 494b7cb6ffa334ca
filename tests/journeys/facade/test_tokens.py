"""Tokens of the 2014 shop API: as the manual has them, and refused by the documented codes."""

import pytest


def test_a_token_is_as_the_manual_has_it_and_a_second_one_leaves_the_first_good(old):
    asked = {"grant_type": "client_credential", "appid": old.merchant.appid, "secret": old.merchant.secret}
    told = old.client.get("/cgi-bin/token", params=asked).json()
    assert (set(told), told["expires_in"]) == ({"access_token", "expires_in"}, 7200)
    assert len(told["access_token"]) <= 512, "clients keep so much room for it"
    for token in (told["access_token"], old.token):
        assert old.ask("/merchant/group/getall", access_token=token) == {
            "errcode": 0,
            "errmsg": "success",
            "groups_detail": [],
        }


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"grant_type": None}, 40002, "invalid grant_type"),
        ({"grant_type": "password"}, 40002, "invalid grant_type"),
        ({"appid": None}, 41002, "appid missing"),
        ({"secret": None}, 41004, "appsecret missing"),
        ({"appid": "nobody"}, 40013, "invalid appid"),
        ({"appid": "wx0123456789abcdef"}, 40013, "invalid appid"),
        ({"secret": "wrong"}, 40125, "invalid appsecret"),
    ],
)
def test_who_asks_for_a_token_in_the_wrong_way_is_told_by_the_documented_code(old, change, code, text):
    asked = {"grant_type": "client_credential", "appid": old.merchant.appid, "secret": old.merchant.secret, **change}
    answer = old.client.get(
        "/cgi-bin/token", params={name: value for name, value in asked.items() if value is not None}
    )
    told = answer.json()
    assert (answer.status_code, told["errcode"], told["errmsg"].split(":")[0]) == (200, code, text)


def test_a_call_without_a_good_token_is_told_by_the_documented_code(old, buyer):
    assert old.code("/merchant/group/getall", access_token="") == 41001
    assert old.code("/merchant/group/getall", access_token="made-up") == 40001
    assert old.code("/merchant/group/getall", access_token=old.token[:-4]) == 40001
    assert old.code("/merchant/group/getall", access_token="红") == 40001
    assert old.code("/merchant/group/getall", access_token=buyer.api.token) == 48001
