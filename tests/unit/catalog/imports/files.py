"""Product files out of nothing, and what came of them, for the tests beside it."""

HEAD = "Handle,Title,Published,Option1 Name,Option1 Value,Variant SKU,Variant Inventory Qty,Variant Price\n"


def csv(count, price="9.90", stock=5, prefix="p", bad=()):
    """``count`` products with two variants each; those whose numbers are in ``bad`` have no price."""
    rows = []
    for n in range(count):
        shown = "" if n in bad else price
        rows.append(f"{prefix}{n},商品{n},true,尺码,M,,{stock},{shown}\n{prefix}{n},,,,L,,{stock},{price}\n")
    return HEAD + "".join(rows)


def counts(job):
    return tuple(job[name] for name in ("total", "created", "updated", "unchanged", "failed"))


class Killed(BaseException):
    """The process is gone between two lines."""
