"""Devices for circuit simulators: subcircuits for ngspice, modules in Verilog-A, instances with their own parameters.

``model`` gathers what is exported. ``laws`` are a device's own functions as formulas: ``jaxpr`` reads them, and
``expressions`` are their trees and text. ``spice`` and ``verilog_a`` write both. ``swarm`` is the compact model of the
diffusive family; ``instances`` draws devices; ``ngspice`` runs netlists. Long form: docs/spice.md.
"""

from mcdev.export.model import Model, Parameter, model_of
from mcdev.export.names import LANGUAGES
from mcdev.export.source import export
from mcdev.export.spice import subcircuit
from mcdev.export.verilog_a import module

__all__ = ["LANGUAGES", "Model", "Parameter", "export", "model_of", "module", "subcircuit"]
