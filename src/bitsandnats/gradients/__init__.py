"""Attribution from gradients at w*: what the covariances are compared with. All are signed as influence is."""

from bitsandnats._registry import Entry

METHODS = {
    "gradsim": Entry("bitsandnats.gradients.similarity:gradient_similarity", "−∇φ·∇ℓ at w*"),
    "tracin": Entry("bitsandnats.gradients.tracin:tracin", "−Σ η ∇φ·∇ℓ over checkpoints"),
    "damped": Entry("bitsandnats.gradients.damped:damped_influence", "−∇φᵀ(H + damping)⁻¹∇ℓ with the exact Hessian"),
    "gauss_newton": Entry(
        "bitsandnats.gradients.gauss_newton:gauss_newton", "the same with the exact Gauss–Newton matrix"
    ),
    "ekfac": Entry("bitsandnats.gradients.ekfac:ekfac_influence", "the same with EK-FAC's Fisher information"),
    "trak": Entry("bitsandnats.gradients.projected:projected_influence", "random projections of gradients, whitened"),
}
"""Baselines by name."""
