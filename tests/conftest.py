"""Shared by all tests: one torch thread, and small trained networks with their snapshots."""

import copy
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, at import: no test asks the hub; those of the hub have one of their own

import numpy as np
import pytest
import torch
from torch import Tensor, nn


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_cache_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests prepare is kept in a folder of theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BITSANDNATS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """A test that changes the number of threads does not change the next test's."""
    torch.set_num_threads(1)


def mlp(*widths: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """A tanh network in evaluation mode, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(itertools.pairwise(widths)):
            layers += [nn.Linear(a, b)] + ([nn.Tanh()] if i < len(widths) - 2 else [])
        return nn.Sequential(*layers).to(dtype).eval()


def train(
    model: nn.Module, loss: Callable[[nn.Module], Tensor], at: list[int], rate: float = 1e-2
) -> dict[str, nn.Module]:
    """Snapshots of full-batch Adam at the steps `at`, by label."""
    model = model.train()
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    snapshots = {}
    for step in range(max(at) + 1):
        if step in at:
            snapshots[f"step{step}"] = copy.deepcopy(model).eval()
            for p in snapshots[f"step{step}"].parameters():
                p.grad = None
        optimiser.zero_grad()
        loss(model).backward()
        optimiser.step()
    return snapshots


@pytest.fixture(scope="session")
def build_mlp() -> Callable[..., nn.Sequential]:
    return mlp


@pytest.fixture(scope="session")
def digits() -> dict[str, tuple[Tensor, Tensor]]:
    """scikit-learn's handwritten digits: 1,200 to train on, 400 held out."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x = torch.tensor(images[order] / 16, dtype=torch.float32)
    y = torch.tensor(labels[order], dtype=torch.long)
    return {"train": (x[:1200], y[:1200]), "held_out": (x[1200:1600], y[1200:1600])}


@pytest.fixture(scope="session")
def digit_snapshots(digits: dict[str, tuple[Tensor, Tensor]]) -> dict[str, nn.Module]:
    """A digits classifier along its training."""
    x, y = digits["train"]
    return train(mlp(64, 24, 10, seed=1), lambda m: nn.functional.cross_entropy(m(x), y), [10, 25, 50, 100, 200])


@pytest.fixture(scope="session")
def waves() -> tuple[Tensor, Tensor]:
    """A noisy curve to fit."""
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(300, 2, generator=generator, dtype=torch.float64) * 4 - 2
    y = torch.sin(x[:, :1]) * x[:, 1:] + 0.1 * torch.randn(300, 1, generator=generator, dtype=torch.float64)
    return x, y


@pytest.fixture(scope="session")
def wave_snapshots(waves: tuple[Tensor, Tensor]) -> dict[str, nn.Module]:
    """A regression network along its training, float64."""
    x, y = waves
    model = mlp(2, 12, 1, seed=2, dtype=torch.float64)
    return train(model, lambda m: (m(x) - y).square().mean(), [20, 60, 150, 400])


@pytest.fixture
def digit_task(digit_snapshots: dict[str, nn.Module], digits: dict[str, Any]) -> Any:
    """The trained digits classifier as a Task, on the training images."""
    import bitsandnats as bn

    return bn.Task.from_module(digit_snapshots["step200"], bn.losses.cross_entropy(), digits["train"])


@pytest.fixture
def wave_task(wave_snapshots: dict[str, nn.Module], waves: tuple[Tensor, Tensor]) -> Any:
    """The trained regression network as a Task."""
    import bitsandnats as bn

    return bn.Task.from_module(wave_snapshots["step400"], bn.losses.gaussian(0.1), waves)


TRANSFORMERS = {
    "neox": ("GPTNeoX", {"intermediate_size": 32}),
    "neox-sequential": ("GPTNeoX", {"intermediate_size": 32, "use_parallel_residual": False, "attention_bias": False}),
    "neox-tied": ("GPTNeoX", {"intermediate_size": 32, "tie_word_embeddings": True}),
    "gpt2": ("GPT2", {}),
    "gpt2-untied": ("GPT2", {"tie_word_embeddings": False}),
    "llama": ("Llama", {"intermediate_size": 24, "num_key_value_heads": 2, "head_dim": 6}),
    "llama-tied": ("Llama", {"intermediate_size": 16, "tie_word_embeddings": True}),
    "qwen2": ("Qwen2", {"intermediate_size": 24, "num_key_value_heads": 1}),
    "qwen3": ("Qwen3", {"intermediate_size": 24, "num_key_value_heads": 2, "head_dim": 8}),
    "phi3": ("Phi3", {"intermediate_size": 24, "num_key_value_heads": 2, "pad_token_id": 0}),
    "mixtral": ("Mixtral", {"intermediate_size": 24, "num_key_value_heads": 2}),
    "gemma2": ("Gemma2", {"intermediate_size": 24, "num_key_value_heads": 2, "head_dim": 8}),
}


def transformer(name: str, dtype: torch.dtype = torch.float32, **changes: Any) -> nn.Module:
    """A tiny random causal language model, 3 layers of 4 heads unless changed; norms and biases far from 1 and 0."""
    transformers = pytest.importorskip("transformers")
    family, options = TRANSFORMERS[name]
    size = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 16}
    config = getattr(transformers, f"{family}Config")(
        vocab_size=40, bos_token_id=0, eos_token_id=1, **{**size, **options, **changes}
    )
    with torch.random.fork_rng(devices=[]):
        suffix = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
        model = getattr(transformers, family + suffix)(config).to(dtype).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter, p in model.named_parameters():
            p.copy_((0.3 if p.ndim > 1 else 0.7) * torch.randn(p.shape, generator=generator, dtype=dtype))
            if p.ndim == 1 and parameter.endswith("weight"):
                p.add_(1)
    return model


@pytest.fixture(scope="session")
def build_transformer() -> Callable[..., nn.Module]:
    return transformer
