"""The installation's own secrets: the key that openids and credentials are derived from, and the bootstrap secret."""

import os
import secrets
from pathlib import Path
from typing import Final

from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.settings import Settings

KEY_BYTES: Final = 32
KEY_FILE: Final = "installation.key"
BOOTSTRAP_FILE: Final = "bootstrap-secret"


class _Given(BaseSettings):
    """``JISHI_INSTALLATION_KEY`` (64 hex digits): where several machines must derive the same ids."""

    model_config = SettingsConfigDict(env_prefix="JISHI_", extra="ignore")
    installation_key: str = ""


def installation_key(settings: Settings) -> bytes:
    """32 bytes: from the environment, else from the data folder's file, made there on first use.

    Losing it changes every openid, so it belongs into the backup. Raises ValueError for a key that is no 64 hex digits.
    """
    given = _Given().installation_key
    text = given or once(settings.data_dir / KEY_FILE, secrets.token_hex(KEY_BYTES))
    key = bytes.fromhex(text)
    if len(key) != KEY_BYTES:
        raise ValueError("JISHI_INSTALLATION_KEY needs 64 hex digits")
    return key


def bootstrap_secret(settings: Settings) -> str:
    """What makes the first admin: from the environment, else from the data folder's file; empty where there is neither."""
    if settings.bootstrap_secret:
        return settings.bootstrap_secret
    path = settings.data_dir / BOOTSTRAP_FILE
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def once(path: Path, content: str) -> str:
    """The content of a file of mode 0600 that is made with ``content`` where it is absent; of many makers one wins."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="utf-8").strip()
