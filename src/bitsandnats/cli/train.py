"""`bitsandnats train`."""

from pathlib import Path
from typing import Annotated

import typer

from bitsandnats.cli import console, options

EXAMPLES = (
    "bitsandnats train --out runs/suite",
    "bitsandnats train --out runs/suite --text book.txt --layers 3 --steps 2000",
)


def train(
    out: Annotated[Path, typer.Option(metavar="PATH", help="Folder of the suite; the same command continues it.")],
    text: Annotated[
        list[Path] | None,
        typer.Option("--text", metavar="PATH", help="Text file or folder, repeatable; by default text Python carries."),
    ] = None,
    layers: Annotated[int, typer.Option(metavar="N", help="Transformer blocks.")] = 2,
    width: Annotated[int, typer.Option(metavar="N", help="Length of the residual vectors.")] = 128,
    heads: Annotated[int, typer.Option(metavar="N", help="Attention heads a block.")] = 4,
    context: Annotated[int, typer.Option(metavar="N", help="Tokens a context.")] = 128,
    vocabulary: Annotated[int, typer.Option(metavar="N", help="Tokens of the tokenizer.")] = 1024,
    steps: Annotated[int, typer.Option(metavar="N", help="Optimizer steps.")] = 768,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Contexts a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(metavar="X", help="Peak learning rate.")] = 6e-3,
    seed: options.Seed = 0,
    device: options.Device = None,
) -> None:
    """Trains a small GPT-NeoX on text and saves Hugging Face checkpoints at log-spaced steps."""
    from bitsandnats import hf
    from bitsandnats.data import embedded_corpus, split_documents

    options.checked_device(device)
    settings = hf.TrainOptions(
        layers=layers,
        width=width,
        heads=heads,
        context=context,
        vocabulary=vocabulary,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    with console.job({"text": 0.05, "training": 0.95}) as job:
        job.at("text", 0.0, "reading text")
        corpus = embedded_corpus() if text is None else split_documents(hf.read_documents(list(text)))

        def progress(stage: str, done: int, total: int) -> None:
            job.at("training" if stage == "train" else "text", done / max(total, 1), console.words(stage))

        folder = hf.train_suite(out, settings, corpus.train, corpus.held_out, progress, device=device)
    checkpoints = hf.find_series(folder)
    console.say(f"{len(checkpoints)} checkpoints in {folder}, trained on {corpus.description}")
