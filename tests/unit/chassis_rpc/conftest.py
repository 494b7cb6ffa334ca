"""The desk's fixtures for this folder."""

from tests.unit.chassis_rpc.rig import rig, settings

__all__ = ["rig", "settings"]
