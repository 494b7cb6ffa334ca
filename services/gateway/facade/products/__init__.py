"""Products (商品): the six calls of §1 of the 微信商铺API手册 V1.15 that write and read them, and the two of §2 on their stock."""

from services.gateway.facade.products.calls import (
    add_stock,
    by_status,
    create,
    delete,
    get,
    reduce_stock,
    set_status,
    update,
)

__all__ = ["add_stock", "by_status", "create", "delete", "get", "reduce_stock", "set_status", "update"]
