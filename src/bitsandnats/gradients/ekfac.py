"""The damped influence function with eigenvalue-corrected Kronecker factors (EK-FAC), through kronfluence."""

import copy
import importlib
import logging
import tempfile
import warnings
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bitsandnats._functional import FunctionalLoss
from bitsandnats._tree import map_batch
from bitsandnats._types import Batch, Data
from bitsandnats.errors import InputError, message
from bitsandnats.gradients.damped import check_damping
from bitsandnats.gradients.features import Scores
from bitsandnats.losses import CrossEntropy
from bitsandnats.task import Task

_PER_PASS = 256  # items


def ekfac_influence(
    task: Task,
    train: Data,
    query: Data,
    *,
    damping: float,
    labels: Literal["sampled", "given"] = "sampled",
    seed: int = 0,
) -> Scores:
    r"""$-\nabla\phi^T(F+\delta)^{-1}\nabla\ell$ with EK-FAC's approximation of the Fisher information F.

    Of linear and convolutional layers, layer by layer; other weights do not count. Source: George et al. (2018), Grosse
    et al. (2023); computed by kronfluence. Checked in `tests/truth/test_ekfac.py`.

    Args:
        task: a classifier under `losses.cross_entropy()`, and the data of F.
        train: items attributed to.
        query: items whose losses are φ.
        damping: δ > 0, in units of F.
        labels: F from labels `sampled` from the network's own predictions, or from those `given`.
        seed: of sampled labels.

    Raises:
        InputError: kronfluence is not installed, no damping, or another loss, unit or kind of network.
    """
    check_damping(damping)
    analyzer, prepare_model, base, arguments = _library()
    if not isinstance(task.loss, FunctionalLoss) or not isinstance(task.loss.loss, CrossEntropy) or task.weight:
        raise InputError(
            message(
                expected="a classifier under losses.cross_entropy() for EK-FAC",
                got="another loss, or one with weights",
                do="leave the baseline 'ekfac' out",
            )
        )
    cross_entropy = nn.functional.cross_entropy

    class Classifier(base):  # the library's own form; nothing of it is overridden but what it leaves open
        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
            logits = _flat(model(batch[0]))
            answers = batch[1].flatten()
            if sample:
                with torch.no_grad():
                    answers = torch.multinomial(torch.softmax(logits, -1), 1).flatten()
            return cross_entropy(logits, answers, reduction="sum")

        def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
            return self.compute_train_loss(batch, model)

    module, own = _module(task), Classifier()
    if not any(isinstance(part, nn.Linear | nn.Conv2d) for part in module.modules()):
        raise InputError(
            message(expected="linear or convolutional layers for EK-FAC", got="none", do="leave 'ekfac' out")
        )
    device = task.device
    factors = arguments.FactorArguments(strategy="ekfac", use_empirical_fisher=labels == "given")
    score = arguments.ScoreArguments(damping_factor=damping)
    quiet = {"cpu": device.type == "cpu", "disable_tqdm": True, "log_level": logging.ERROR}
    devices = [device] if device.type == "cuda" else []
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # the library uses names that torch gives up
        torch.manual_seed(seed)  # it samples labels from the standard generator, which is put back
        tool = analyzer(analysis_name="ekfac", model=prepare_model(module, own), task=own, output_dir=folder, **quiet)
        sizes = {"per_device_train_batch_size": _PER_PASS}
        tool.fit_all_factors("f", _Items(task.data), per_device_batch_size=_PER_PASS, factor_args=factors)
        both = {"query_dataset": _Items(query), "train_dataset": _Items(train)}
        queries = {"per_device_query_batch_size": _PER_PASS, **sizes}
        tool.compute_pairwise_scores("pairs", "f", **both, **queries, score_args=score)
        pairs, lengths = tool.load_pairwise_scores("pairs"), []
        for name, data in (("query", query), ("train", train)):
            tool.compute_self_scores(name, "f", train_dataset=_Items(data), score_args=score, **sizes)
            lengths.append(tool.load_self_scores(name))
    raw = -_numpy(pairs["all_modules"])
    squares = np.outer(*(np.maximum(_numpy(one["all_modules"]), 0) for one in lengths))
    return Scores(raw, np.divide(raw, np.sqrt(squares), out=np.zeros_like(raw), where=squares > 0))


_PARTS = ("kronfluence.arguments", "kronfluence.analyzer", "kronfluence.task")


def _library() -> tuple[Any, Any, Any, Any]:
    """What of kronfluence is used.

    Raises:
        InputError: it is not installed.
    """
    try:
        importlib.import_module("kronfluence")
        arguments, analyzer, base = map(importlib.import_module, _PARTS)
    except ImportError as error:
        do = "run: pip install 'bitsandnats[ekfac]', or leave the baseline 'ekfac' out"
        raise InputError(message(expected="kronfluence, for EK-FAC", got=f"no module {error.name}", do=do)) from error
    return analyzer.Analyzer, analyzer.prepare_model, base.Task, arguments


def _module(task: Task) -> nn.Module:
    """A copy of the network of its own, at w*: the library changes it."""
    assert isinstance(task.loss, FunctionalLoss)
    module = copy.deepcopy(task.loss.module)
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with torch.no_grad():
        for name, value in {**task.loss.constants, **task.center}.items():
            own[name].copy_(value)
    return nn.Sequential(module).eval()  # a bare layer cannot be replaced by the library's own


def _flat(logits: Tensor) -> Tensor:
    return logits.reshape(-1, logits.shape[-1])


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()


class _Items(torch.utils.data.Dataset[Batch]):
    """Items one by one, as the library reads them."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Batch:
        return map_batch(lambda t: t[0], self._data.batch(torch.tensor([index])))
