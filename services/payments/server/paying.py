"""The rpcs around one payment: its code, its end."""

from jishi.payments.v1 import paying_pb2 as paying
from jishi.payments.v1 import payments_pb2 as pb

from services.chassis import codec, rpc
from services.payments.commands.closing import close_payment
from services.payments.provider import Channel
from services.payments.queries import as_closed, codes, payment
from services.payments.store import Store


class PayingCalls:
    """What a buyer does with a payment that is open."""

    _store: Store
    _channel: Channel

    def ClosePayment(self, call: rpc.Call, request: paying.ClosePaymentRequest) -> pb.ClosePaymentResponse:
        """The buyer gives it up."""
        done = close_payment(self._store, self._channel, call.cause, call.actor.subject, request.payment_id)
        if done.replayed:
            call.mark_replayed()
        return pb.ClosePaymentResponse(payment=codec.from_plain(pb.Payment, as_closed(done.payable, done.number)))

    def GetPaymentCode(self, call: rpc.Call, request: paying.GetPaymentCodeRequest) -> paying.GetPaymentCodeResponse:
        """The QR code."""
        found, number = payment(self._store, call.actor.subject, request.payment_id)
        kind = "svg" if request.format == paying.CODE_FORMAT_SVG else "png"
        return paying.GetPaymentCodeResponse(
            data=codes.image(found, number, kind), content_type=codes.TYPES[kind], file_name=f"{number}.{kind}"
        )
