"""What a series of checkpoints is measured on: one text, packed once, sampled on and held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bitsandnats.errors import DataError, message
from bitsandnats.hf.files import read_sizes
from bitsandnats.hf.load import Text, check_context, check_vocabulary, load_tokenizer
from bitsandnats.hf.loss import contexts_of
from bitsandnats.hf.packed import Packed, pack_text, pack_tokens, split_packed
from bitsandnats.hf.series import Checkpoint
from bitsandnats.hf.suite import read_suite, suite_contexts
from bitsandnats.hf.text import as_texts

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

    sampling: Packed
    evaluation: Packed
    sampling_words: str
    evaluation_words: str


def series_text(checkpoints: Sequence[Checkpoint], text: Text | None, context: int | None) -> SeriesText:
    """The text of a series: files that were given, or the tokens that the suite was trained on.

    Given text is cut into items of which every tenth is held out, of each subset on its own; of the held-out items of
    a subset, at most 32, evenly spaced, are used.

    Args:
        checkpoints: the series; its last checkpoint's tokenizer is used.
        text: as `load_task` takes it; None for a suite trained by `train_suite`.
        context: tokens an item; by default that of the suite, else 128 or the model's longest.

    Raises:
        DataError: no text is given and none belongs to the series, or it is too short.
        InputError: the context is longer than the model's, or not that of given tokens.
        ModelError: the tokenizer is missing, or not the model's.
    """
    last = checkpoints[-1].reference
    if text is None:
        folder = Path(last).resolve().parent
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
        some = held_out[torch.linspace(0, len(held_out) - 1, min(_EVALUATION_ITEMS, len(held_out))).round().long()]
        words = "the suite's training text", "the suite's held-out text"
        return SeriesText(pack_tokens(sampling), pack_tokens(some), *words)
    if isinstance(text, Packed | Tensor):
        packed, words = text if isinstance(text, Packed) else pack_tokens(contexts_of(text)), "the given tokens"
    else:
        texts, sizes = as_texts(text), read_sizes(last)
        context = context or min(_SHORT_CONTEXT, sizes.positions or _SHORT_CONTEXT)
        check_context(context, sizes.positions)
        tokenizer = load_tokenizer(last)
        check_vocabulary(tokenizer, sizes.vocabulary)
        packed, words = pack_text(texts, tokenizer, context), texts.words
    sampling_part, evaluation = split_packed(packed, 10, _EVALUATION_ITEMS)
    return SeriesText(sampling_part, evaluation, f"nine tenths of {words}", f"a tenth of {words}, held out")
