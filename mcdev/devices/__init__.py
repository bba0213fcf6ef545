"""Device families. A new one: its file, and a line in ``Device``."""

from mcdev.devices.diffusive import Diffusive

Device = Diffusive

__all__ = ["Device", "Diffusive"]
