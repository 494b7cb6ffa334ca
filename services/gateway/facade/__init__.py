"""The facade: the merchant API of 微信小店 as of 2014 (微信商铺API手册 V1.15) before the rpcs of the house, so that its SDKs work unchanged.

It translates and decides nothing of the trade; what is stricter or laxer than ``/v1`` is what the manual says (docs/facade.md).
"""

from services.gateway.facade.doors import Facade

__all__ = ["Facade"]
