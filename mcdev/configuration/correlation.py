"""How drawn parameters go together."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from mcdev.configuration.problems import Problem
from mcdev.schema import PureNumber, Strict


class Correlation(Strict):
    """Correlation between drawn parameters' normal scores (of lognormal ones: between their logarithms)."""

    parameters: tuple[str, ...] = Field(min_length=2, max_length=100)
    """Names of parameters that are drawn."""
    matrix: tuple[tuple[PureNumber, ...], ...] | None = None
    """Correlation matrix in that order."""
    factor: tuple[PureNumber, ...] | None = None
    """Or loadings on one common factor: two parameters correlate by the product of theirs."""

    def full(self) -> np.ndarray:
        """The matrix [parameter, parameter]."""
        if self.factor is not None:
            loading = np.array(self.factor)
            return np.outer(loading, loading) + np.diag(1.0 - loading**2)
        return np.array(self.matrix)

    def problems(self) -> list[Problem]:
        """What is wrong with it as a correlation matrix."""
        key, count = "ensemble.correlation", len(self.parameters)
        if len(set(self.parameters)) < count:
            return [Problem(f"{key}.parameters", list(self.parameters), "expected different names")]
        if (self.matrix is None) == (self.factor is None):
            return [Problem(key, None, "expected either matrix = [[…], …] or factor = […]")]
        if self.factor is not None:
            if len(self.factor) != count or not all(abs(f) < 1 for f in self.factor):
                message = f"expected {count} loadings between -1 and 1, one a parameter"
                return [Problem(f"{key}.factor", list(self.factor), message)]
            return []
        assert self.matrix is not None
        shown = [list(row) for row in self.matrix]
        if len(shown) != count or any(len(row) != count for row in shown):
            return [Problem(f"{key}.matrix", shown, f"expected {count} rows of {count} numbers")]
        full = self.full()
        if not (np.all(np.isfinite(full)) and np.allclose(full, full.T, atol=1e-12) and np.all(np.diag(full) == 1.0)):
            return [Problem(f"{key}.matrix", shown, "expected a symmetric matrix with ones on its diagonal")]
        least = float(np.linalg.eigvalsh(full)[0])
        if least < 1e-9:
            message = f"expected a positive definite matrix; least eigenvalue {least:.2g}: lower the correlations"
            return [Problem(f"{key}.matrix", shown, message)]
        return []
