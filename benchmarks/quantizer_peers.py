"""Quantization beside torchao: the same tensors, the same bits, one range a tensor, weights only, symmetric.

    python -m venv PEER && PEER/bin/pip install torch==2.13.0 torchao
    python benchmarks/quantizer_peers.py --peer PEER/bin/python       writes docs/results/quantizer_peers.md
    python benchmarks/quantizer_peers.py --peer PYTHON --print        prints only

Checkpoints of a small GPT-NeoX trained on the text that Python carries, layer norms folded. All moving tensors are
quantized to b bits: by bitsandnats to n_q - 1 = 2^b - 1 values; by torchao to the same number, and to its own 2^b, of
which one has no counterpart of the other sign. Ranges that look at the loss do so on training text; what is compared is
the loss increase on held-out text, item by item.
"""

import argparse
import platform
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from quantizer_report import page

from bitsandnats import hf
from bitsandnats.compressors import quantize
from bitsandnats.data.corpus import embedded_corpus
from bitsandnats.recipes.series import checkpoint_series
from bitsandnats.task import Task

OUT = Path(__file__).parents[1] / "docs" / "results" / "quantizer_peers.md"
PEER = Path(__file__).with_name("quantizer_peer_torchao.py")
BITS = (2, 3, 4, 5, 6, 8)
STEPS = (128, 512)
OURS = {"optimal": quantize("optimal", granularity="tensor"), "largest": quantize("largest", granularity="tensor")}


class Row(NamedTuple):
    """One method on one checkpoint at one number of bits: ΔL, nats a token, and by item."""

    checkpoint: str
    bits: int
    method: str
    codes: int
    items: np.ndarray

    @property
    def excess(self) -> float:
        return float(self.items.mean())

    @property
    def se(self) -> float:
        return float(self.items.std(ddof=1) / np.sqrt(len(self.items)))


def suite(folder: Path) -> Path:
    options = hf.TrainOptions(width=64, context=64, vocabulary=512, steps=STEPS[-1], checkpoints=STEPS)
    corpus = embedded_corpus(2_000_000)
    return hf.train_suite(folder / "suite", options, corpus.train, corpus.held_out)


def measured(label: str, task: Task, held_out: Task, peer: Path, folder: Path) -> tuple[list[Row], dict[str, str]]:
    with torch.no_grad():
        reference = held_out.all_item_losses(held_out.center)

    def row(method: str, bits: int, codes: int, weights: dict[str, Any]) -> Row:
        with torch.no_grad():
            losses = held_out.all_item_losses(weights)
        return Row(label, bits, method, codes, ((losses - reference).double() / held_out.mean_weight).numpy())

    theirs, versions = peers(task, peer, folder)
    rows = [row(f"torchao {name}", bits, 2**bits - (not own), w) for (name, bits, own), w in theirs.items()]
    for name, compressor in OURS.items():
        prepared = compressor.prepare(task)
        rows += [row(f"bitsandnats {name}", bits, 2**bits - 1, prepared.compress(2**bits)) for bits in BITS]
    return rows, versions


def peers(task: Task, peer: Path, folder: Path) -> tuple[dict[Any, dict[str, Any]], dict[str, str]]:
    given, made = folder / "given.pt", folder / "made.pt"
    torch.save({"tensors": {k: w.detach() for k, w in task.center.items()}, "bits": BITS}, given)
    subprocess.run([str(peer), str(PEER), str(given), str(made)], check=True, capture_output=True)
    answer = torch.load(made)
    return answer["found"], answer["versions"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True, help="Python of an environment that has torchao")
    parser.add_argument("--suite", type=Path, help="a suite of 'bitsandnats train'; by default one is trained")
    parser.add_argument("--print", action="store_true", help="print only")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained = asked.suite or suite(folder)
        options = hf.suite_options(trained)
        series = checkpoint_series(trained, fold=True)
        labels = [label for label, step in series.steps.items() if step in STEPS] or list(series.load)[-2:]
        rows: list[Row] = []
        versions: dict[str, str] = {}
        for label in labels:
            task = series.load[label]()
            found, versions = measured(label, task, series.held_out(task), asked.peer, folder)
            rows += found
    versions |= {"bitsandnats' torch": torch.__version__, "platform": f"{platform.system()} {platform.machine()}"}
    model = f"{options.layers} layers of width {options.width}, {options.steps} steps"
    command = "python benchmarks/quantizer_peers.py --peer PYTHON"
    if asked.suite:
        command += f" --suite {asked.suite}" if not asked.suite.is_absolute() else " --suite SUITE"
    text = page(rows, model, command, versions)
    print(text)
    if not asked.print:
        OUT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
