"""Groups (分组): named sets of a shop's products in the merchant's order (微信商铺API手册 V1.15 §4)."""

from collections.abc import Sequence

from services.chassis.errors import Refusal, Violation, invalid, not_found
from services.chassis.texts import has_control


def check_name(name: str, longest: int) -> None:
    """Raises Refusal INVALID_ARGUMENT for a name that cannot be shown."""
    if not 0 < len(name.strip()) <= len(name) <= longest or has_control(name):
        raise invalid("name", f"give the group a name of at most {longest} characters, none of them control")


def added(present: Sequence[str], more: Sequence[str], most: int) -> list[str]:
    """A group's products after adding ``more`` at the end, each once. Raises Refusal INVALID_ARGUMENT above ``most``."""
    together = list(dict.fromkeys([*present, *more]))
    if len(together) > most:
        raise Refusal(
            "INVALID_ARGUMENT",
            f"a group has at most {most} products",
            (Violation("product_ids", f"at most {most} in a group"),),
        )
    return together


def changed(present: Sequence[str], add: Sequence[str], remove: Sequence[str], most: int) -> list[str]:
    """A group's products after taking ``remove`` out and adding ``add`` at the end. Raises Refusal INVALID_ARGUMENT above ``most``."""
    gone = set(remove)
    return added([product_id for product_id in present if product_id not in gone], add, most)


def check_apart(add: Sequence[str], remove: Sequence[str]) -> None:
    """Raises Refusal INVALID_ARGUMENT where a product shall come and go in one change."""
    gone = set(remove)
    both = [number for number, product_id in enumerate(add) if product_id in gone]
    if both:
        raise invalid(f"add[{both[0]}]", "the same product stands in `remove`; leave it out of one of them")


def moved(present: Sequence[str], product_ids: Sequence[str], position: int) -> list[str]:
    """A group's products with ``product_ids`` behind ``position`` of the others. Raises Refusal INVALID_ARGUMENT, NOT_FOUND."""
    if position < 0:
        raise invalid("position", "0 is the front of the group; a negative number is no place")
    if not product_ids:
        raise invalid("product_ids", "name the products to move")
    wanted, known = list(dict.fromkeys(product_ids)), set(present)
    for product_id in wanted:
        if product_id not in known:
            raise not_found("product in the group", product_id)
    others = [product_id for product_id in present if product_id not in set(wanted)]
    return [*others[:position], *wanted, *others[position:]]
