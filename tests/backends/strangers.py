"""What somebody does at the channel under the house's name, without the house."""

import json
import secrets
import time
from pathlib import Path
from typing import Protocol

import httpx

from services.chassis.channel_signing import authorize, read_credential


class HasData(Protocol):
    """A stack, as far as it matters here."""

    data: Path


def strange_payment(stack: HasData) -> str:
    """A payment that the channel takes under the house's name for a trade the house knows nothing of; its number."""
    merchant = read_credential(stack.data / "channel" / "merchant")
    body = {
        "appid": "wx0000000000000001",
        "mchid": merchant.mchid,
        "description": "别家的",
        "out_trade_no": f"X{secrets.token_hex(8)}",
        "notify_url": "http://127.0.0.1:9/nobody",
        "amount": {"total": 4_200, "currency": "CNY"},
    }
    target, content = "/v3/pay/transactions/native", json.dumps(body).encode()
    headers = {"Authorization": authorize(merchant, "POST", target, content, now_s=int(time.time()))}
    headers["Content-Type"] = "application/json"
    placed = httpx.post(merchant.base_url + target, content=content, headers=headers).json()
    httpx.post(placed["code_url"] + "/pay", json={"notify": {"copies": 0}}).raise_for_status()
    return str(body["out_trade_no"])
