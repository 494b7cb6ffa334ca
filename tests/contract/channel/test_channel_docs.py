"""The examples of docs/channel.md run as they stand there."""

import json
import re
import secrets
from pathlib import Path

from services.channel.cashier import PayRequest

PAGE = (Path(__file__).parents[3] / "docs" / "channel.md").read_text(encoding="utf-8")


def examples(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_session_of_the_page(channel):
    (code,) = examples("python")
    number = f"D{secrets.token_hex(8)}"
    names = {"DATA_DIR": channel.data, "OUT_TRADE_NO": number, "NOTIFY_URL": f"{channel.shop.url}/{number}"}
    exec(compile(code, "docs/channel.md", "exec"), names)  # noqa: S102 - our own page
    assert names["paid"].json()["trade_state"] == "SUCCESS"
    assert names["asked"].json()["amount"]["total"] == 12800
    assert names["refunded"].json()["status"] == "SUCCESS"
    channel.shop.wait(f"/{number}", 1)


def test_the_cashiers_words():
    (body,) = examples("json")
    assert PayRequest.model_validate(json.loads(body)).notify is not None


def test_every_route_is_on_the_page(channel):
    paths = channel.http.get("/openapi.json").json()["paths"]
    told = re.sub(r"\{\w+\}", "{}", PAGE).replace("{jsapi|native}", "jsapi")
    missing = [path for path in paths if re.sub(r"\{\w+\}", "{}", path) not in told]
    assert missing == []
