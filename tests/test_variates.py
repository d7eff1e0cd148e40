"""Variates as a setting: what is refused, what stays as it was, and the directions behind them."""

import numpy as np
import pytest
import torch

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats.curvature import hessian_products, hessian_vector
from bitsandnats.errors import InputError
from bitsandnats.estimators.llc import as_record
from bitsandnats.run import choices, sample
from bitsandnats.target import variate
from bitsandnats.target.variate import leading_eigenpairs

FIELDS = {
    "sampler": "hmc(leapfrogs=2)", "step_size": 0.01, "gamma": 10.0, "nbeta": 50.0, "chains": 2, "draws": 12,
    "mode": "vmap",
}  # fmt: skip


def everything(task):
    return task.batch(torch.arange(len(task.data)))


def dense(task):
    columns = []
    for i in range(task.dimension):
        pieces = torch.eye(task.dimension, dtype=torch.float64)[i].split([w.numel() for w in task.center.values()])
        vector = {k: p.view(w.shape) for p, (k, w) in zip(pieces, task.center.items(), strict=True)}
        product = hessian_vector(task, task.center, everything(task), vector)
        columns.append(torch.cat([h.flatten() for h in product.values()]))
    return torch.stack(columns)


@pytest.mark.parametrize("count", [3, 100])  # by Lanczos, and of all weights
@pytest.mark.parametrize("pieces", [False, True])
def test_directions_are_eigenvectors_of_all_data(wave_task, count, pieces, monkeypatch):
    if pieces:  # no memory for all items at once
        monkeypatch.setattr(variate, "total_memory", lambda device: 1000 * variate.kept_bytes(wave_task, 1))
    values, vectors = leading_eigenpairs(wave_task, count)
    hessian = dense(wave_task)
    truth = torch.linalg.eigvalsh(hessian).flip(0)[:count]
    torch.testing.assert_close(values, truth, rtol=1e-3, atol=1e-3 * float(truth[0]))
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(len(values), dtype=torch.float64))
    torch.testing.assert_close(vectors @ hessian @ vectors.T, torch.diag(values), rtol=0, atol=1e-3 * float(truth[0]))


def test_a_flat_loss_has_no_directions_that_count():
    found = variate.quadratic_variate(toys.quadratic([0.0] * 300), 10.0, 1.0)
    assert not found.shares.any()


def test_products_of_one_graph(wave_task):
    vector = {k: torch.randn_like(w) for k, w in wave_task.center.items()}
    products = hessian_products(wave_task, everything(wave_task))
    for _ in range(2):
        found, known = products(vector), hessian_vector(wave_task, wave_task.center, everything(wave_task), vector)
        for name in known:
            torch.testing.assert_close(found[name], known[name])


@pytest.mark.parametrize("mode", ["loop", "vmap"])
@pytest.mark.parametrize("statistics", ["step", "none"])
def test_draws_stay_as_they_are(wave_task, mode, statistics):
    fields = {**FIELDS, "mode": mode, "statistics": statistics}
    bare = sample(wave_task, bn.Settings(**fields))
    tree = sample(wave_task, bn.Settings(**fields, variates="quadratic"))
    assert tree["draws"].dataset["variate"].dims == ("chain", "draw")
    assert tree["draws"].dataset.drop_vars("variate").equals(bare["draws"].dataset)
    assert "variate" not in bare["draws"].dataset


def test_what_the_definition_says(wave_task):
    """C from the weights of a draw, by autograd and the dense Hessian."""
    tree = sample(wave_task, bn.Settings(**FIELDS, variates="quadratic"), observables={"weights": "trace"})
    values, vectors = torch.linalg.eigh(dense(wave_task))
    stiffness = FIELDS["nbeta"] * values.clamp(min=0)
    shares = stiffness / (stiffness + FIELDS["gamma"])
    d = torch.as_tensor(tree["observables"].dataset["weights_trace"].values[1, -1])
    pieces = d.split([w.numel() for w in wave_task.center.values()])
    leaves = {
        k: (w + p.view(w.shape)).requires_grad_() for p, (k, w) in zip(pieces, wave_task.center.items(), strict=True)
    }
    loss = wave_task.mean_loss(wave_task.item_losses(leaves, everything(wave_task)))
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(leaves.values()))])
    slope = FIELDS["nbeta"] * gradient + FIELDS["gamma"] * d
    truth = float((shares * ((vectors.T @ slope) * (vectors.T @ d) - 1)).sum() / 2)
    assert float(tree["draws"].dataset["variate"][1, -1]) == pytest.approx(truth, rel=1e-6)


def test_through_estimate_and_back():
    found = bn.estimate_llc(toys.quadratic([1.0, 0.5]), settings=bn.Settings(**FIELDS), variates="quadratic")
    assert found.tree.attrs["variates"] == "quadratic"
    assert np.isfinite(as_record(found)["variate_coefficient"])
    assert "variate" not in found.tree["stronger_pull"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"sampler": "sgld"},
            "expected a sampler with accept/reject for variates 'quadratic', got sgld; use hmc or mala",
        ),
        ({"precision": "bfloat16"}, "expected gradients in the weights' own precision .*, got precision bfloat16"),
        ({"variates": "cubic"}, "change variates"),
    ],
)
def test_refused(wave_task, changes, said):
    with pytest.raises(InputError, match=said):
        sample(wave_task, bn.settings.settings_from({**FIELDS, "variates": "quadratic", **changes}))


def test_refused_where_directions_do_not_fit(wave_task, monkeypatch):
    monkeypatch.setattr(choices, "total_memory", lambda device: 10_000.0)
    with pytest.raises(InputError, match=r"directions of variates 'quadratic' that fit into .* 100 of 49 weights"):
        choices.check_variates(bn.Settings(**FIELDS, variates="quadratic"), wave_task)


def test_calibration_refuses_before_it_measures(wave_task):
    with pytest.raises(InputError, match="a sampler with accept/reject"):
        bn.calibrate(wave_task, given={"variates": "quadratic", "batch_size": 16})
    with pytest.raises(InputError, match="a sampler with accept/reject"):
        bn.calibrate(wave_task, given={"variates": "quadratic", "sampler": "sgld"})
