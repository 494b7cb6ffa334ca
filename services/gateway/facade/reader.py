"""Fields of a request, read as leniently as the clients of the old API need it; whatever is wrong is collected by path.

Ids come as numbers or text, numbers as text or floats without a fraction, and ``null`` is as if the field were not there.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.chassis.errors import Violation
from services.gateway.facade.answers import Declined, told

INT32: Final = 2**31 - 1
INT64: Final = 2**63 - 1


class Reader:
    """One JSON object of a request, at ``path``."""

    def __init__(self, values: Mapping[str, Any], path: str = "", problems: list[Violation] | None = None) -> None:
        """All readers of a request share ``problems``."""
        self.values, self.path = values, path
        self.problems: list[Violation] = [] if problems is None else problems

    def wrong(self, name: str, message: str) -> None:
        """Note that a field is wrong, and how to mend it."""
        self.problems.append(Violation(self.path + name, message))

    def check(self) -> None:
        """Raises Declined where anything was wrong."""
        if self.problems:
            raise Declined("INVALID_ARGUMENT", told(self.problems))

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(name) is not None

    def text(self, name: str, default: str = "", *, required: str = "") -> str:
        """A text or a number, without spaces around it. ``required``: how to mend it where it is missing or empty."""
        value = self.values.get(name)
        if value is None:
            found = default
        elif (read := as_text(value)) is None:
            self.wrong(name, f"must be text, not {show(value)}")
            return default
        else:
            found = read.strip()
        if required and not found:
            self.wrong(name, required)
        return found

    def number(
        self, name: str, default: int | None = None, *, least: int = 0, most: int = INT64, required: str = ""
    ) -> int:
        """A whole number within bounds. Where it is missing ``default``, else 0 and how to mend it (``required``)."""
        value = self.values.get(name)
        if value is None or value == "":
            if required:
                self.wrong(name, required)
            return default or 0
        found = as_number(value)
        if found is None:
            self.wrong(name, f"must be a whole number, not {show(value)}")
        elif not least <= found <= most:
            self.wrong(name, f"must lie between {least} and {most}")
        else:
            return found
        return default or 0

    def choice(self, name: str, known: Mapping[int, Any], default: Any = None) -> Any:
        """What the number in the field stands for; ``default`` where it is missing."""
        value = self.values.get(name)
        if value is None or value == "":
            if default is None:
                self.wrong(name, f"give one of {', '.join(map(str, known))}")
            return default
        found = as_number(value)
        if found is None or found not in known:
            self.wrong(name, f"must be one of {', '.join(map(str, known))}, not {show(value)}")
            return default
        return known[found]

    def child(self, name: str, *, required: str = "") -> "Reader":
        """The object in the field; an empty one where it is missing."""
        value = self.values.get(name)
        if value is None and required:
            self.wrong(name, required)
        elif value is not None and not isinstance(value, Mapping):
            self.wrong(name, f"must be an object, not {show(value)}")
            value = None
        return Reader(value or {}, f"{self.path}{name}.", self.problems)

    def items(self, name: str) -> list[Any]:
        """The list in the field without its nulls; empty where it is missing. A lone value is a list of one."""
        value = self.values.get(name)
        if value is None:
            return []
        if isinstance(value, Mapping):
            self.wrong(name, "must be a list")
            return []
        return [each for each in value if each is not None] if isinstance(value, list) else [value]

    def texts(self, name: str) -> list[str]:
        """A list of texts or numbers."""
        found = []
        for number, value in enumerate(self.items(name)):
            read = as_text(value)
            if read is None:
                self.wrong(f"{name}[{number}]", f"must be text, not {show(value)}")
            else:
                found.append(read.strip())
        return found

    def children(self, name: str) -> Iterator["Reader"]:
        """The objects in a list; nulls are left out."""
        values = self.values.get(name)
        if values is not None and not isinstance(values, list):
            self.wrong(name, f"must be a list, not {show(values)}")
            return
        for number, value in enumerate(values or ()):
            if isinstance(value, Mapping):
                yield Reader(value, f"{self.path}{name}[{number}].", self.problems)
            elif value is not None:
                self.wrong(f"{name}[{number}]", f"must be an object, not {show(value)}")


def as_text(value: Any) -> str | None:
    """A text, or a whole number as text; None for anything else."""
    if isinstance(value, str):
        return value
    number = None if isinstance(value, bool) else as_number(value)
    return None if number is None else str(number)


def as_number(value: Any) -> int | None:
    """A whole number, also from text, from a float without a fraction, or from true and false; None for anything else."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        whole, _, fraction = text.partition(".")
        digits = whole.removeprefix("-")
        fits = digits.isascii() and digits.isdecimal() and len(digits) <= 19 and not fraction.strip("0")
        return int(whole) if fits else None
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= INT64 else None


def show(value: Any) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
