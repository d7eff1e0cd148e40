"""What a series of checkpoints is measured on: one text, packed once, sampled on and held out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from bitsandnats.errors import DataError, message
from bitsandnats.hf.load import load_tokenizer
from bitsandnats.hf.series import Checkpoint
from bitsandnats.hf.suite import read_suite, suite_contexts
from bitsandnats.hf.text import read_documents, split_contexts, text_contexts

_EVALUATION_ITEMS = 32
_SHORT_CONTEXT = 128


@dataclass(frozen=True)
class SeriesText:
    """Contexts of tokens for every checkpoint of a series.

    Attributes:
        sampling: contexts that the loss L_n of the posterior is a mean over.
        evaluation: held-out contexts for losses and critical points.
        sampling_words, evaluation_words: what they are.
    """

    sampling: Int64[Tensor, "item context"]
    evaluation: Int64[Tensor, "held_out context"]
    sampling_words: str
    evaluation_words: str


def series_text(
    checkpoints: Sequence[Checkpoint],
    text: Sequence[str | os.PathLike[str]] | None,
    context: int | None,
) -> SeriesText:
    """The text of a series: files that were given, or the tokens that the suite was trained on.

    Given text is cut into contexts of which every tenth is held out; of the held-out contexts, at most 32, evenly
    spaced, are used.

    Args:
        checkpoints: the series; its last checkpoint's tokenizer is used.
        text: files or folders; None for a suite trained by `train_suite`.
        context: tokens a context; by default that of the suite, else 128.

    Raises:
        DataError: no text is given and none belongs to the series, or it is too short.
    """
    if text is None:
        folder = Path(checkpoints[-1].reference).resolve().parent
        if read_suite(folder) is None:
            raise DataError(
                message(
                    expected="text to measure the series on",
                    got="none, and the series is no suite trained here",
                    do="name files or folders with --text",
                )
            )
        sampling, held_out = suite_contexts(folder)
        if context is not None and context != sampling.shape[1]:
            raise DataError(
                message(
                    expected=f"the suite's own context of {sampling.shape[1]} tokens",
                    got=f"context {context}",
                    do="leave it out, or give the text itself with --text",
                )
            )
        return SeriesText(sampling, _spaced(held_out), "the suite's training text", "the suite's held-out text")
    tokenizer = load_tokenizer(checkpoints[-1].reference)
    contexts = text_contexts(read_documents(list(text)), tokenizer, context or _SHORT_CONTEXT)
    sampling, held_out = split_contexts(contexts)
    names = ", ".join(Path(t).name for t in text)
    return SeriesText(sampling, _spaced(held_out), f"nine tenths of {names}", f"a tenth of {names}, held out")


def _spaced(contexts: Int64[Tensor, "item context"]) -> Int64[Tensor, "held_out context"]:
    count = min(_EVALUATION_ITEMS, len(contexts))
    return contexts[torch.linspace(0, len(contexts) - 1, count).round().long()]
