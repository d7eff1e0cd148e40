"""Spectral entropy: how many directions a matrix uses, as something that a training loop can lower."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitsandnats.errors import InputError, ModelError, message


def spectral_entropy(model: nn.Module) -> Float[Tensor, ""]:
    r"""Mean spectral entropy of a model's matrices, nats; differentiable once.

    $\frac1M\sum_W H(W)$, with H as in `matrix_entropy`, over all trainable parameters of two axes or more (further axes
    taken together, as of convolutions) none of whose sides is 1; tied ones count once. Add λ_s times it to a loss:

        loss = task_loss + 0.1 * spectral_entropy(model)

    One decomposition a matrix and step. Checked by finite differences in `tests/truth/test_spectral_entropy.py`.

    Args:
        model: any module.

    Raises:
        ModelError: it has no such matrix.

    Source: arXiv 2412.09810, equations 15 and 16.
    """
    matrices = [p.flatten(1) for p in model.parameters() if p.requires_grad and p.ndim > 1]
    matrices = [w for w in matrices if min(w.shape) > 1]
    if not matrices:
        expected, do = "a model with matrices", "leave the spectral entropy out"
        raise ModelError(message(expected=expected, got="none that is trained", do=do))
    return torch.stack([matrix_entropy(w).to(matrices[0].dtype) for w in matrices]).mean()


def matrix_entropy(matrix: Float[Tensor, "row column"]) -> Float[Tensor, ""]:
    r"""Entropy of the normalised singular values, nats: $H=-\sum_i\bar\sigma_i\ln\bar\sigma_i$.

    From 0 (rank one, or all zero) to ln min(m, n) (orthogonal). The gradient is
    $U\,\mathrm{diag}(\partial H/\partial\sigma)\,V^\top$: no differences of singular values stand in a denominator, so
    that repeated ones do no harm, as they do when a decomposition is differentiated. Singular values that are zero up
    to rounding have no part in it.

    Args:
        matrix: W, of real numbers.

    Raises:
        InputError: an axis more or less, or none of real numbers.
    """
    if matrix.ndim != 2 or not matrix.is_floating_point():
        got = f"{str(matrix.dtype).removeprefix('torch.')} of {matrix.ndim} axes"
        raise InputError(message(expected="a matrix of real numbers", got=got, do="give one matrix at a time"))
    if not matrix.numel():
        return matrix.sum()
    w = matrix.float() if matrix.dtype in (torch.float16, torch.bfloat16) else matrix
    with torch.no_grad():
        left, values, right = torch.linalg.svd(w, full_matrices=False)
        floor = values.max() * max(w.shape) * torch.finfo(w.dtype).eps
        kept = values > floor
    # u'Wv is each singular value, and linear in W: its gradient uv' is that of the value, whatever the others are
    differentiable = torch.einsum("ir,ij,rj->r", left[:, kept], w, right[kept])
    if not differentiable.numel():
        return 0 * w.sum()
    share = differentiable / differentiable.sum()
    return torch.special.entr(share).sum()


def effective_rank(matrix: Float[Tensor, "row column"]) -> float:
    """e^H of the normalised singular values (Roy and Vetterli 2007); 1 for rank one, n for an orthogonal n × n matrix.

    Args:
        matrix: W; 0 where it is all zero or empty.

    Raises:
        InputError: as `matrix_entropy`.
    """
    with torch.no_grad():
        entropy = matrix_entropy(matrix.double() if matrix.is_floating_point() else matrix)
        return float(entropy.exp()) if bool((matrix != 0).any()) else 0.0
