"""Components of a response matrix: principal ones, and independent ones."""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.errors import DataError, InputError, message

_ITERATIONS = 2000
_TOLERANCE = 1e-6


class Components(NamedTuple):
    """Statistical components of a response matrix, the one that explains most first.

    Attributes:
        loadings: of the network's components; the largest of each is positive.
        scores: of the probe's columns.
        explained: share of the variance.
    """

    loadings: Float[ndarray, "component pc"]
    scores: Float[ndarray, "column pc"]
    explained: Float[ndarray, " pc"]


def standardised(matrix: Float[ndarray, "component column"]) -> Float[ndarray, "component column"]:
    """Each row less its mean, over its s.d.; zeros where it is constant."""
    away = matrix - matrix.mean(1, keepdims=True)
    spread = away.std(1, keepdims=True)
    return np.divide(away, spread, out=np.zeros_like(away), where=spread > 0)


def principal_components(matrix: Float[ndarray, "component column"], rank: int) -> Components:
    """Principal components of standardised rows, columns as observations; loadings of length 1.

    Args:
        matrix: responses.
        rank: how many.

    Raises:
        InputError: there are fewer rows or columns than that.
    """
    _check_rank(matrix, rank)
    left, size, right = np.linalg.svd(standardised(matrix).T, full_matrices=False)
    share = size**2 / max(float((size**2).sum()), 1e-300)
    return _signed(right[:rank].T, left[:, :rank] * size[:rank], share[:rank])


def independent_components(matrix: Float[ndarray, "component column"], rank: int, *, seed: int = 0) -> Components:
    """Independent components of standardised rows, columns as observations: scores as far from normal as can be.

    Scores have mean 0 and variance 1 and are uncorrelated; a row is the sum of scores times its loadings, as far as
    `rank` of them go. FastICA (Hyvärinen & Oja 2000) of scikit-learn. Checked in `tests/truth/test_susceptibility.py`.

    Args:
        matrix: responses.
        rank: how many.
        seed: of the rotation that it starts from.

    Raises:
        InputError: there are fewer rows or columns than that, or scikit-learn is not installed.
        DataError: no components are found, as in noise that is normal in every direction.
    """
    _check_rank(matrix, rank)
    try:
        from sklearn.decomposition import FastICA
        from sklearn.exceptions import ConvergenceWarning
    except ImportError as error:
        do = "run: pip install 'bitsandnats[studies]'"
        raise InputError(message(expected="scikit-learn", got="none installed", do=do)) from error
    rows = standardised(matrix)
    found = FastICA(rank, whiten="unit-variance", max_iter=_ITERATIONS, tol=_TOLERANCE, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            scores = np.asarray(found.fit_transform(rows.T))
        except ConvergenceWarning:
            raise DataError(
                message(
                    expected=f"independent components that settle within {_ITERATIONS} iterations",
                    got=f"none for rank {rank}",
                    do="ask for fewer, or for principal components",
                )
            ) from None
    loadings = np.asarray(found.mixing_)
    share = (loadings**2).sum(0) / max(float((rows.std(1) ** 2).sum()), 1e-300)
    order = np.argsort(-share)
    return _signed(loadings[:, order], scores[:, order], share[order])


def _signed(loadings: ndarray, scores: ndarray, explained: ndarray) -> Components:
    sign = np.sign(loadings[np.abs(loadings).argmax(0), range(loadings.shape[1])])
    sign = np.where(sign == 0, 1.0, sign)
    return Components(loadings * sign, scores * sign, explained)


def _check_rank(matrix: ndarray, rank: int) -> None:
    most = min(matrix.shape)
    if not 1 <= rank <= most:
        raise InputError(
            message(
                expected=f"a rank from 1 to {most}, the smaller of components and columns",
                got=str(rank),
                do="name more components or longer probes",
            )
        )
