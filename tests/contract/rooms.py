"""import-linter contracts of our own: what each room of a service may import (docs: the table of rooms in README).

An allowlist, where import-linter's own contracts are lists of what is forbidden; and it needs no list of services, so a new
service is covered from its first file.
"""

import sys
from collections.abc import Iterator

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

ROOT = "services"
CHASSIS = f"{ROOT}.chassis"
COMPOSITION = f"{ROOT}.cli"
"""The command line starts and audits every service, so it alone may import them all."""


def is_below(module: str, package: str) -> bool:
    """Whether `module` is `package` or inside it."""
    return module == package or module.startswith(f"{package}.")


def arrows(graph: ImportGraph) -> Iterator[tuple[str, str]]:
    """Every direct import of our own modules as (importer, imported)."""
    for importer in sorted(module for module in graph.modules if is_below(module, ROOT)):
        for imported in sorted(graph.find_modules_directly_imported_by(importer)):
            yield importer, imported


class Reporting(Contract):
    """A contract that is a question about one arrow; subclasses answer `is_wrong`."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002 - the interface of import-linter
        """Collect the wrong arrows."""
        wrong = [
            (
                importer,
                imported,
                sorted(
                    detail["line_number"] for detail in graph.get_import_details(importer=importer, imported=imported)
                ),
            )
            for importer, imported in arrows(graph)
            if self.is_wrong(importer, imported)
        ]
        return ContractCheck(kept=not wrong, metadata={"wrong": wrong})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line an arrow."""
        for importer, imported, lines in check.metadata["wrong"]:
            output.print_error(f"{importer} -> {imported} (l. {', '.join(map(str, lines))})")

    def is_wrong(self, importer: str, imported: str) -> bool:
        """Whether this import breaks the contract."""
        raise NotImplementedError


class Room(Reporting):
    """Modules called `room` import nothing but themselves and what `may_import` names.

    Words of `may_import`: a room of the same service (`store`), a module (`services.chassis.money`), `stdlib`,
    `third-party` (anything from PyPI, and the generated `jishi`), `chassis` (all of it but the two sides that only
    one kind of process may load: `chassis.rpc`, `chassis.amqp`, which are named when meant).
    """

    type_name = "room"
    room = fields.StringField()
    may_import = fields.SetField(subfield=fields.StringField())

    def is_wrong(self, importer: str, imported: str) -> bool:
        """Whether `importer` is this room and `imported` is outside its list."""
        parts = importer.split(".")
        service = ".".join(parts[:2])
        if len(parts) < 3 or parts[2] != self.room or service in (CHASSIS, COMPOSITION):
            return False
        if imported in (ROOT, service) or is_below(imported, f"{service}.{self.room}"):
            return False
        return not any(self._covers(str(word), service, imported) for word in self.may_import)

    @staticmethod
    def _covers(word: str, service: str, imported: str) -> bool:
        top = imported.split(".", 1)[0]
        if word == "stdlib":
            return top in sys.stdlib_module_names
        if word == "third-party":
            return top != ROOT and top not in sys.stdlib_module_names
        if word == "chassis":
            one_sided = (f"{CHASSIS}.rpc", f"{CHASSIS}.amqp")
            return is_below(imported, CHASSIS) and not any(is_below(imported, side) for side in one_sided)
        if word.startswith("chassis."):
            return is_below(imported, f"{ROOT}.{word}")
        if word.startswith(f"{ROOT}."):
            return is_below(imported, word)
        return is_below(imported, f"{service}.{word}")


class Strangers(Reporting):
    """No service imports another: they meet by gRPC and by event. The chassis knows none of them."""

    type_name = "strangers"

    def is_wrong(self, importer: str, imported: str) -> bool:
        """Whether an arrow leads from one service into another."""
        if not is_below(imported, ROOT) or imported == ROOT or is_below(importer, COMPOSITION) or importer == ROOT:
            return False
        home = ".".join(importer.split(".")[:2])
        return not is_below(imported, home) and not is_below(imported, CHASSIS)


class Door(Reporting):
    """Only modules below `keeper` import the libraries in `libraries`."""

    type_name = "door"
    keeper = fields.StringField()
    libraries = fields.SetField(subfield=fields.StringField())

    def is_wrong(self, importer: str, imported: str) -> bool:
        """Whether a module outside the keeper imports one of the libraries."""
        return imported.split(".", 1)[0] in self.libraries and not is_below(importer, str(self.keeper))
