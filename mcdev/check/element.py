"""An element of circuits by itself."""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from pydantic import ValidationError

from mcdev.check.current_law import check_law
from mcdev.check.examples import LANES, SPREAD, table_of
from mcdev.check.failure import Failure, first_line
from mcdev.circuits.elements.contract import Conductor
from mcdev.kinds import name_of
from mcdev.machine.environment import computing
from mcdev.schema import typical


def check_conductor(kind: type[Conductor]) -> Iterator[Failure]:
    """The law of an element of circuits."""
    name = name_of(kind)
    try:
        element: Conductor = kind.model_validate({**table_of(kind), "between": ["a", "b"]}, strict=False)
    except ValidationError as error:
        yield Failure(name, "an example that is an element", first_line(error))
        return
    spread = 1.0 + SPREAD * np.arange(LANES)
    with computing(True):
        values = {key: jnp.asarray(typical(getattr(element, key)) * spread) for key in element.parameters()}
        try:
            law = element.law(values)
        except Exception as error:  # a stranger's code
            yield Failure(name, "law() to give a law", first_line(error))
            return
        yield from check_law(name, law, LANES)
