"""What a document promised: the events that it carries, and those that its transactions sent by letter."""

from collections.abc import Mapping
from typing import Any

from services.chassis.mongo import LETTERS, Database


def promised(database: Database, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The events in order; of letters also those that were sent."""
    subject = str(document["_id"])
    letters = database[LETTERS.name].find({"outbox.subject": subject})
    written = [each for letter in letters for each in letter["outbox"] if each["subject"] == subject]
    return sorted([*document.get("outbox", ()), *written], key=lambda each: each["sequence"])
