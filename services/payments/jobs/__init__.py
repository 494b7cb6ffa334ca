"""What payments does in the jobs process, which may speak HTTP: a module a subject."""

from typing import Final

from services.chassis.reacting import Job
from services.payments.jobs import folding, inquiries, reconciling, refunds, sealing, topups, withdrawals
from services.payments.jobs.folding import fold_all
from services.payments.jobs.inquiries import inquire
from services.payments.jobs.refunds import post_refund
from services.payments.store.sealing import STANDING

JOBS: Final = (
    Job("refunds", "refunds", refunds.run),
    Job("payables", "inquiries", inquiries.run),
    Job("credits", "folding", folding.run),
    Job("withdrawals", "withdrawals", withdrawals.run),
    Job("sealing", "sealing", sealing.run, standing=STANDING),
    Job("topups", "topups", topups.run),
    Job("reconciliations", "reconciling", reconciling.run),
)

__all__ = ["JOBS", "fold_all", "inquire", "post_refund"]
