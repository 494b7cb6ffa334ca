"""The index on disk: a folder for each that was built, and a pointer to the one in force, replaced in one step."""

import json
import secrets
import shutil
import threading
from pathlib import Path
from typing import Any, Final

import tantivy

from services.catalog.store.search import documents
from services.chassis import clock

_POINTER: Final = "current"
_STATUS: Final = "status"
_META: Final = "meta.json"
LOOK_EVERY_S: Final = 0.02


class Folder:
    """``data_dir/search``."""

    def __init__(self, place: Path) -> None:
        """Makes it where it is missing."""
        self.place = place
        place.mkdir(parents=True, exist_ok=True)

    def pointer(self) -> dict[str, Any]:
        """{wanted, name} of the index in force; empty before the first was built."""
        return self._read(_POINTER)

    def point(self, wanted: str, name: str) -> None:
        """From now on the index ``name`` answers. Who reads the one before has its files open, and it goes when the next is made."""
        self.write(_POINTER, {"wanted": wanted, "name": name})

    def status(self) -> dict[str, Any]:
        """What the keeper said last."""
        return self._read(_STATUS)

    def say(self, **status: Any) -> None:
        """Where the keeper is."""
        self.write(_STATUS, status)

    def make(self) -> tuple[str, tantivy.Index]:
        """A new, empty index; those that are not in force go, and pieces of files that a kill left."""
        inforce = self.pointer().get("name")
        for other in self.place.iterdir():
            if other.is_dir() and other.name != inforce:
                shutil.rmtree(other, ignore_errors=True)
            elif "." in other.name:
                other.unlink(missing_ok=True)
        name = f"i{secrets.token_hex(6)}"
        (self.place / name).mkdir()
        return name, documents.register(tantivy.Index(documents.schema(), str(self.place / name)))

    def open(self, name: str) -> tantivy.Index:
        """An index that is there. Raises ValueError, OSError."""
        return documents.register(tantivy.Index.open(str(self.place / name)))

    def changed_at(self, name: str) -> float:
        """When the index was last committed; 0 for one that is gone."""
        try:
            return (self.place / name / _META).stat().st_mtime_ns
        except OSError:
            return 0

    def position(self, name: str) -> int:
        """Up to which moment (wall ms) the index ``name`` holds the feed; 0 for one that is gone."""
        return int(self._read(f"{name}/position").get("at", 0))

    def revision(self, name: str) -> int:
        """Which revision of the category tree the index ``name`` holds."""
        return int(self._read(f"{name}/position").get("revision", 0))

    def set_position(self, name: str, at: int, revision: int) -> None:
        """The index ``name`` holds the feed up to ``at`` and the tree of ``revision``, and was committed before this is said."""
        self.write(f"{name}/position", {"at": at, "revision": revision})

    def write(self, name: str, values: dict[str, Any]) -> None:
        """Replace a small file in one step."""
        part = self.place / f"{name}.{secrets.token_hex(4)}"
        part.write_text(json.dumps(values), encoding="utf-8")
        part.replace(self.place / name)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.place / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found


class Reader:
    """The index in force, as its last commit left it. Thread-safe; any number of processes may have one."""

    def __init__(self, folder: Folder) -> None:
        """Opens nothing yet."""
        self._folder, self._lock = folder, threading.Lock()
        self._name, self._seen, self._looked_at = "", 0.0, float("-inf")
        self._index: tantivy.Index | None = None

    def index(self) -> tantivy.Index | None:
        """None before the first index was built."""
        if self._index is not None and clock.monotonic() - self._looked_at < LOOK_EVERY_S:
            return self._index
        with self._lock:
            if self._index is None or clock.monotonic() - self._looked_at >= LOOK_EVERY_S:
                self._look()
                self._looked_at = clock.monotonic()
        return self._index

    def _look(self) -> None:
        name = str(self._folder.pointer().get("name", ""))
        changed = self._folder.changed_at(name) if name else 0.0
        if not changed or (name == self._name and changed == self._seen):
            return
        if name != self._name:
            try:
                self._index = self._folder.open(name)
            except (ValueError, OSError):  # it is replaced at this very moment: the one in hand answers on
                return
        elif self._index is not None:
            self._index.reload()
        self._name, self._seen = name, changed
