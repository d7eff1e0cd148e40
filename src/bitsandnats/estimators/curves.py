"""Curves over checkpoints, grouped by their shape."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import pdist, squareform

from bitsandnats.errors import InputError, message


def warping_distance(a: Float[ndarray, " n"], b: Float[ndarray, " m"]) -> float:
    r"""Dynamic time warping: √ of the least sum of squared differences over monotone alignments of two curves.

    Source: Sakoe & Chiba (1978), without a window. Checked in `tests/truth/test_susceptibility.py`.
    """
    cost = np.square(a[:, None] - b[None, :])
    total = np.full((len(a) + 1, len(b) + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(len(a)):
        for j in range(len(b)):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j + 1], total[i + 1, j], total[i, j])
    return float(np.sqrt(total[-1, -1]))


def cluster_curves(
    curves: Float[ndarray, "curve checkpoint"],
    clusters: int,
    *,
    method: Literal["kmeans", "dtw", "hierarchical"] = "kmeans",
    seed: int = 0,
) -> Int[ndarray, " curve"]:
    """The cluster of each curve, from 0 on, in the order in which they appear.

    Args:
        curves: standardise them first where only the shape is meant.
        clusters: how many.
        method: `kmeans` (the best of ten starts), `hierarchical` (Ward's), or `dtw` (average linkage of distances after
            dynamic time warping).
        seed: of the starts of k-means.

    Raises:
        InputError: more clusters than curves, or values that are not finite.
    """
    if not 1 <= clusters <= len(curves) or not np.isfinite(curves).all():
        raise InputError(
            message(
                expected=f"finite curves and from 1 to {len(curves)} clusters",
                got=f"{clusters} clusters" if np.isfinite(curves).all() else "values that are not finite",
                do="ask for fewer clusters or leave out what could not be measured",
            )
        )
    if method == "kmeans":
        best, labels = np.inf, np.zeros(len(curves), dtype=np.int64)
        for start in range(10):
            centers, own = kmeans2(curves, clusters, minit="++", rng=np.random.default_rng([seed, start]))
            error = float(np.square(curves - centers[own]).sum())
            if error < best:
                best, labels = error, own
    elif len(curves) == 1:
        labels = np.zeros(1, dtype=np.int64)
    else:
        if method == "dtw":
            apart = np.array([[warping_distance(a, b) for b in curves] for a in curves])
            tree = linkage(squareform((apart + apart.T) / 2, checks=False), "average")
        else:
            tree = linkage(curves, "ward")
        labels = fcluster(tree, clusters, "maxclust")
    seen = {label: place for place, label in enumerate(dict.fromkeys(int(x) for x in labels))}
    return np.array([seen[int(x)] for x in labels], dtype=np.int64)


def shapes(curves: Float[ndarray, "curve checkpoint"]) -> Float[ndarray, "curve checkpoint"]:
    """Each curve less its mean and over its s.d.; a constant one as zeros."""
    away = curves - curves.mean(1, keepdims=True)
    spread = away.std(1, keepdims=True)
    return np.divide(away, spread, out=np.zeros_like(away), where=spread > 0)


def silhouette(curves: Float[ndarray, "curve checkpoint"], labels: Int[ndarray, " curve"]) -> float:
    r"""Mean silhouette: $(b-a)/\max(a,b)$ with a the mean distance to the own cluster, b to the nearest other.

    0 for a curve that is alone in its cluster. Source: Rousseeuw (1987). Checked in `tests/test_estimators.py`.
    """
    apart = squareform(pdist(curves))
    found = []
    for i, own in enumerate(labels):
        same = np.flatnonzero((labels == own) & (np.arange(len(labels)) != i))
        others = [apart[i, labels == other].mean() for other in np.unique(labels) if other != own]
        if not len(same) or not others:
            found.append(0.0)
            continue
        a, b = float(apart[i, same].mean()), float(min(others))
        found.append((b - a) / max(a, b) if max(a, b) > 0 else 0.0)
    return float(np.mean(found))


def cluster_count(curves: Float[ndarray, "curve checkpoint"], *, most: int = 6, seed: int = 0) -> int:
    """How many groups, from 2 to `most`, have the largest mean silhouette by k-means; 1 of fewer than 4 curves."""
    counts = range(2, min(most, len(curves) - 2) + 1)
    worth = {count: silhouette(curves, cluster_curves(curves, count, seed=seed)) for count in counts}
    return max(worth, key=lambda count: worth[count], default=1)
