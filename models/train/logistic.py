"""Training a two-class logistic regression with scikit-learn. It knows no file formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .datasets import Split


@dataclass(frozen=True, slots=True)
class LogisticRecipe:
    """Everything that decides the weights, the data aside.

    `inverse_penalty` is scikit-learn's C (L2 penalty, on pixels scaled by `scale`). The fit starts from zero
    and draws no random numbers.
    """

    scale: float
    inverse_penalty: float = 1.0
    max_iter: int = 200
    tol: float = 1e-6


def train(recipe: LogisticRecipe, split: Split) -> tuple[NDArray[np.float32], float]:
    """Fit labels 0 and 1; returns coefficients (n_inputs,) f32 and intercept, which take raw features.

    The pixel scale is folded into the coefficients: the format has no input normalisation.
    """
    features = split.train_features.astype(np.float64) * recipe.scale
    fitted = LogisticRegression(C=recipe.inverse_penalty, max_iter=recipe.max_iter, tol=recipe.tol)
    fitted.fit(features, split.train_labels)
    coefficients = (fitted.coef_[0] * recipe.scale).astype(np.float32)
    return coefficients, float(fitted.intercept_[0])
