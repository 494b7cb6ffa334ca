"""The rules of accounts: who may open a shop, the states of a shop, what a token may say."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from services.chassis.decisions import Change, Fact
from services.chassis.errors import Refusal, Violation, invalid, wrong_state
from services.chassis.texts import has_control

Document = Mapping[str, Any]

SCOPES: Final = (
    "shop:write",
    "products:read",
    "products:write",
    "orders:read",
    "orders:write",
    "payments:read",
    "payments:write",
    "disputes:read",
    "disputes:write",
    "followers:read",
    "followers:write",
    "broadcast:read",
    "broadcast:send",
)
"""What a merchant's token may be good for. An official account's own credentials carry all of them."""

KIND_NAMES: Final = {"subscription": "订阅号", "service": "服务号", "enterprise": "企业号"}
STAFF_ROLES: Final = ("admin", "arbitrator", "supervisor", "auditor")
NAME_LENGTH: Final = 120
CLOCK_STEP_MS: Final = 3653 * 86_400_000
"""The sandbox's clock moves at most ten years a step: what a slip of the keyboard asks for cannot be taken back."""
CLOCK_END: Final = datetime(2080, 1, 1, tzinfo=UTC)
"""The sandbox's clock never passes it: the sort keys of orders (41 bits of ms since 2014) end in 2084."""

ACCOUNT_CHANGED: Final = "jishi.accounts.account.changed.v1"
SHOP_CHANGED: Final = "jishi.accounts.shop.changed.v1"
TOKEN_REVOKED: Final = "jishi.accounts.token.revoked.v1"  # noqa: S105 - an event type


@dataclass(frozen=True, slots=True)
class Step:
    """One verb in the life of a shop."""

    sources: tuple[str, ...]
    target: str
    needs_reason: bool = False


SHOP_STEPS: Final[Mapping[str, Step]] = {
    "apply": Step(("rejected",), "applied"),
    "approve": Step(("applied",), "open"),
    "reject": Step(("applied",), "rejected", needs_reason=True),
    "suspend": Step(("open",), "suspended", needs_reason=True),
    "reopen": Step(("suspended",), "open"),
    "close": Step(("open", "suspended"), "closed", needs_reason=True),
}
"""The only ways a shop changes its state. An application begins in ``applied``; a rejected one may be made again."""

PUBLIC_STATES: Final = ("open", "suspended", "closed")
"""States in which anybody may see a shop's card: a complaint against a closed shop still needs its respondent."""


# ------------------------------------------------------------------------------------------------------------ official accounts


def checked_name(path: str, name: str) -> str:
    """``name`` trimmed. Raises Refusal INVALID_ARGUMENT when it is empty, longer than 120 characters or holds control characters."""
    trimmed = name.strip()
    if not 0 < len(trimmed) <= NAME_LENGTH or has_control(trimmed):
        raise invalid(path, f"needs 1 to {NAME_LENGTH} characters, none of them control")
    return trimmed


def account_changed(account: Document) -> Fact:
    """The whole of an official account as a fact."""
    names = ("kind", "name", "verified", "payment_enabled", "warmed_up", "appid")
    return Fact(ACCOUNT_CHANGED, {"account_id": account["_id"], **{name: account[name] for name in names}})


def update_account(account: Document, wanted: Mapping[str, Any]) -> Change | None:
    """What changes when the platform learns ``wanted`` of an account; None when it knew it all."""
    new = {name: value for name, value in wanted.items() if account[name] != value}
    if not new:
        return None
    return Change(set=new, facts=(account_changed({**account, **new}),), answer=new)


# ------------------------------------------------------------------------------------------------------------ shops


def may_open_shop(account: Document) -> None:
    """Only a verified service account (服务号) with payment enabled may open a shop.

    Raises Refusal CONDITION_UNMET naming every missing condition (微信小店开通条件).
    """
    missing = []
    if account["kind"] != "service":
        chinese = KIND_NAMES[account["kind"]]
        article = "an" if account["kind"][0] in "aeiou" else "a"
        missing.append(
            (
                "kind",
                f"{article} {account['kind']} account ({chinese}) cannot open a shop; it takes a service account (服务号)",
            )
        )
    if not account["verified"]:
        missing.append(("verified", "the account is not verified (未认证); have it verified first"))
    if not account["payment_enabled"]:
        missing.append(("payment_enabled", "payment is not enabled (未开通微信支付); enable it first"))
    if missing:
        violations = tuple(Violation(path, message) for path, message in missing)
        raise Refusal("CONDITION_UNMET", "; ".join(message for _, message in missing), violations)


def checked_identity(identity: Document) -> dict[str, str]:
    """The legal identity (主体信息) with all four parts. Raises Refusal INVALID_ARGUMENT naming the empty ones."""
    parts = ("name", "registration_number", "address", "contact")
    found = {part: str(identity.get(part, "")).strip() for part in parts}
    empty = tuple(
        Violation(f"identity.{part}", "is required: a complaint needs a named respondent")
        for part in parts
        if not found[part]
    )
    if empty:
        raise Refusal("INVALID_ARGUMENT", f"{empty[0].field}: {empty[0].message}", empty)
    return found


def checked_currency(currency: str) -> str:
    """An ISO 4217 code. Raises Refusal INVALID_ARGUMENT."""
    if not (len(currency) == 3 and currency.isascii() and currency.isupper() and currency.isalpha()):
        raise invalid("currency", "needs an ISO 4217 code such as CNY")
    return currency


def shop_changed(shop: Document) -> Fact:
    """The whole of a shop as a fact."""
    names = ("account_id", "name", "state", "currency", "identity")
    return Fact(SHOP_CHANGED, {"shop_id": shop["_id"], **{name: shop[name] for name in names}})


def step_shop(shop: Document, verb: str, reason: str = "", new: Document | None = None) -> Change:
    """The change that ``verb`` (a key of SHOP_STEPS) makes, with ``new`` fields written too.

    Raises Refusal WRONG_STATE from another state, INVALID_ARGUMENT where the verb needs a reason and has none.
    """
    step = SHOP_STEPS[verb]
    if step.needs_reason and not reason.strip():
        raise invalid("reason", "tell the merchant why")
    if shop["state"] not in step.sources:
        raise wrong_state("shop", str(shop["_id"]), shop["state"], " or ".join(step.sources))
    after = {**(new or {}), "state": step.target, "reason": reason.strip()}
    return Change(set=after, facts=(shop_changed({**shop, **after}),), answer=after)


def may_see_shop(shop: Document, *, kind: str, account_id: str) -> bool:
    """Whether a caller of ``kind`` (with ``account_id`` when a merchant) may see the shop's card."""
    if shop["state"] in PUBLIC_STATES or kind in ("admin", "auditor", "service"):
        return True
    return kind == "merchant" and account_id == shop["account_id"]


# ------------------------------------------------------------------------------------------------------------ scopes and apps


def checked_scopes(path: str, wanted: Sequence[str], allowed: Collection[str] = SCOPES) -> list[str]:
    """``wanted`` sorted and without doubles; empty means all that is allowed. Raises Refusal for one that is not allowed."""
    if not wanted:
        return sorted(allowed)
    wrong = sorted(set(wanted) - set(allowed))
    if wrong:
        raise invalid(path, f"{', '.join(wrong)} not among {' '.join(sorted(allowed))}")
    return sorted(set(wanted))


def grant(document: Document, scopes: list[str]) -> Change | None:
    """The change that installs an app (again) with ``scopes``; None when it is installed like that."""
    if document["active"] and document["scopes"] == scopes:
        return None
    return Change(set={"active": True, "scopes": scopes})


def revoke_grant(document: Document, issued_before: datetime, expire_time: datetime) -> Change | None:
    """The change that takes an app off a shop: its tokens for that shop issued so far die, those for other shops live on."""
    if not document["active"]:
        return None
    fact = token_revoked("", document["client_id"], issued_before, expire_time, document["shop_id"])
    return Change(set={"active": False}, facts=(fact,))


def dismiss(member: Document, issued_before: datetime, expire_time: datetime) -> Change | None:
    """The change that ends a staff member's service; None when it had ended."""
    if not member["active"]:
        return None
    return Change(set={"active": False}, facts=(token_revoked("", member["_id"], issued_before, expire_time),))


def token_revoked(
    token_id: str, subject: str, issued_before: datetime, expire_time: datetime, shop_id: str = ""
) -> Fact:
    """One token by ``token_id``, or all of ``subject`` (for ``shop_id``; empty: for any) issued before a moment, are no longer good."""
    data = {"token_id": token_id, "subject": subject, "issued_before": issued_before, "expire_time": expire_time}
    return Fact(TOKEN_REVOKED, data | {"shop_id": shop_id})


# ------------------------------------------------------------------------------------------------------------ the sandbox's clock


def clock_target(now: datetime, offset_ms: int, seconds: int, until: datetime | None) -> int:
    """The offset (ms) that moves the business clock from ``now`` by ``seconds`` or to ``until``.

    Raises Refusal INVALID_ARGUMENT for both, for neither, for a way back, a step of more than ten years and a date past CLOCK_END.
    """
    if (seconds == 0) == (until is None):
        raise invalid("seconds", "say either how many seconds to move, or until when")
    if until is not None:
        step_ms = round((until - now).total_seconds() * 1000)
        if step_ms < 0:
            raise invalid("until", f"the business clock shows {now.isoformat()} and never goes back")
        return offset_ms + _within_reach("until", now, step_ms)
    if seconds < 0:
        raise invalid("seconds", "the business clock never goes back")
    return offset_ms + _within_reach("seconds", now, seconds * 1000)


def _within_reach(field: str, now: datetime, step_ms: int) -> int:
    if step_ms > CLOCK_STEP_MS:
        raise invalid(field, f"one step is at most {CLOCK_STEP_MS // 1000} seconds (ten years)")
    if now + timedelta(milliseconds=step_ms) > CLOCK_END:
        raise invalid(field, f"the business clock shows {now.isoformat()} and never passes {CLOCK_END.isoformat()}")
    return step_ms
