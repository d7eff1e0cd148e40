"""A byte-level BPE tokenizer trained on the spot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bitsandnats.errors import DataError, message
from bitsandnats.hf._quiet import quiet

END_OF_TEXT = "<|endoftext|>"


def train_tokenizer(documents: Sequence[str], vocabulary: int, file: Path) -> None:
    """Trains byte-level BPE on `documents` and writes it to `file`; `END_OF_TEXT` is token 0.

    Args:
        documents: the training text.
        vocabulary: tokens in all: 256 bytes, the end of text, and merges.
        file: a `tokenizer.json`.

    Raises:
        DataError: the text is too uniform for so many tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    if tokenizer.get_vocab_size() != vocabulary:
        raise DataError(
            message(
                expected=f"text with enough repeated pieces for {vocabulary} tokens",
                got=f"enough for {tokenizer.get_vocab_size()}",
                do="supply more text or a smaller vocabulary",
            )
        )
    tokenizer.save(str(file))


def open_tokenizer(file: Path, context: int) -> Any:
    """The tokenizer in `file` as transformers uses it, for models of so many positions."""
    with quiet():
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast(
            tokenizer_file=str(file),
            bos_token=END_OF_TEXT,
            eos_token=END_OF_TEXT,
            unk_token=END_OF_TEXT,
            model_max_length=context,
            clean_up_tokenization_spaces=False,
        )
