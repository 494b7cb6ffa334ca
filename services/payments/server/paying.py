"""The rpcs around one payment: its code, its end."""

from jishi.payments.v1 import paying_pb2 as paying
from jishi.payments.v1 import payments_pb2 as pb

from services.chassis import codec, rpc
from services.payments.commands.closing import close_payment, reverse_payment
from services.payments.provider import Channel
from services.payments.queries import as_closed, codes, payment, payment_view, whose
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

    def ReversePayment(self, call: rpc.Call, request: pb.ReversePaymentRequest) -> pb.ReversePaymentResponse:
        """The till, or the buyer, does not know what became of it."""
        done = reverse_payment(self._store, self._channel, call.cause, whose(call.actor), request.payment_id)
        if done.replayed:
            call.mark_replayed()
        return pb.ReversePaymentResponse(payment=codec.from_plain(pb.Payment, payment_view(done.payable, done.number)))

    def GetPaymentCode(self, call: rpc.Call, request: paying.GetPaymentCodeRequest) -> paying.GetPaymentCodeResponse:
        """The QR code."""
        found, number = payment(self._store, whose(call.actor), request.payment_id)
        kind = "svg" if request.format == paying.CODE_FORMAT_SVG else "png"
        return paying.GetPaymentCodeResponse(
            data=codes.image(found, number, kind), content_type=codes.TYPES[kind], file_name=f"{number}.{kind}"
        )
