"""A saved language model and text as a Task."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bitsandnats._types import Unit
from bitsandnats.errors import DataError, InputError, ModelError, message
from bitsandnats.hf._quiet import first_line, quiet
from bitsandnats.hf.checkpointing import checkpoint_layers
from bitsandnats.hf.files import find_folder, gguf_file, origin, stored_dtypes
from bitsandnats.hf.gguf import HALF, WHOLE, gguf_types
from bitsandnats.hf.loss import CausalLMLoss as CausalLMLoss
from bitsandnats.hf.loss import contexts_of, token_weights
from bitsandnats.hf.packed import Packed, pack_text, pack_tokens
from bitsandnats.hf.suite import read_suite, suite_contexts
from bitsandnats.hf.text import Paths, Texts, as_texts
from bitsandnats.structure import can_fold, fold_layer_norm
from bitsandnats.task import Task

_LONGEST_DEFAULT = 2048  # tokens

Text = Paths | Mapping[str, Paths] | Texts | Packed | Tensor
"""Where text comes from: paths, a mapping name of a subset -> paths, `Texts`, or tokens `[item, context]`."""


def load_task(
    reference: str | os.PathLike[str],
    *,
    text: Text | None = None,
    context: int | None = None,
    unit: Unit = "token",
    fold: bool | None = False,
    device: str | torch.device | None = None,
    checkpointing: bool = False,
) -> Task:
    """A causal language model and text as a Task, in float32 (float64 where the file is), in evaluation mode.

    Args:
        reference: folder of the model, as `save_pretrained` writes it; or its name on the Hugging Face hub, `org/name`
            or `org/name@revision`: as it lies in the local cache, else fetched into it. Of a GGUF file (its path, or
            `org/name/file.gguf`) the weights are those that it decodes to.
        text: file or folder of text, `dataset:org/name`, several of them; a mapping from names of subsets to these;
            `Texts` for other fields and padded documents; or contexts of tokens `[item, context]`, -1 behind the end of
            shorter ones. None for the training text of the suite that the checkpoint belongs to.
        context: tokens an item; by default the model's longest, at most 2048, or that of the given contexts.
        unit: `token`, or `sequence` for the sum over an item's tokens.
        fold: fold layer norms into the linear maps behind them first (see `structure.fold_layer_norm`); None = where
            the architecture is known, and a note where it is not.
        device: where to measure; None = the CPU.
        checkpointing: run each layer again for its gradient (`hf.checkpointing`): less memory, a third more products.

    Raises:
        ModelError: no such model, incomplete, damaged, of an architecture that cannot be used, or not the text's.
        DataError: the text is missing, too short, or has tokens that the model does not know.
        InputError: the context is longer than the model's, or not that of the given contexts.
    """
    model, notes = load_model(reference)
    packed = _resolve_text(model, reference, text, context)
    _check_tokens(packed, _vocabulary(model))
    if fold or (fold is None and can_fold(model)):
        folded = fold_layer_norm(model)
        model, notes = folded.module, (*notes, *folded.notes)
    elif fold is None:
        notes = (*notes, "layer norms not folded: not known how for this architecture")
    if device is not None:
        model = model.to(device)
    if checkpointing:
        checkpoint_layers(model)
    weight = token_weights if packed.padded else None
    task = Task.from_module(model, CausalLMLoss(), packed.data, weight=weight, unit=unit)
    return dataclasses.replace(task, notes=notes, source=origin(reference), subsets=packed.subsets)


def load_model(reference: str | os.PathLike[str]) -> tuple[nn.Module, tuple[str, ...]]:
    """The causal language model in a folder, in evaluation mode, with notes on what was changed in loading.

    Weights in half precision are upcast to float32; parameters keep their values.

    Raises:
        ModelError: no such model, no weights or not all of them, a damaged file, or no causal language model.
    """
    folder, gguf = find_folder(reference), gguf_file(reference)
    dtypes = stored_dtypes(folder) if gguf is None else gguf_types(folder / gguf)
    dtype = torch.float64 if "float64" in dtypes else torch.float32
    try:
        # Parameters that a file lacks would be drawn at random: from no generator of the user's, and refused below.
        with quiet(), torch.random.fork_rng(devices=[]):
            from transformers import AutoModelForCausalLM

            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, local_files_only=True, output_loading_info=True, gguf_file=gguf
            )
            model, report = loaded
    except Exception as error:
        raise ModelError(
            message(
                expected=f"a causal language model that transformers can load from {reference}",
                got=first_line(error),
                do="use another model, or save this one anew with save_pretrained",
            )
        ) from error
    lacking = [str(key) for name in ("missing_keys", "mismatched_keys") for key in sorted(report.get(name, ()))]
    if lacking:
        raise ModelError(
            message(
                expected=f"all weights of the model in {reference}",
                got=f"{len(lacking)} missing or of another shape, {lacking[0]} the first",
                do="use a complete checkpoint whose config.json is its own",
            )
        )
    half = sorted(dtypes & HALF)
    notes = (f"weights stored in {' and '.join(half)}, upcast to {str(dtype).removeprefix('torch.')}",) if half else ()
    coarse = sorted(dtypes - HALF - WHOLE) if gguf is not None else []
    if coarse:
        told = (
            f"weights decoded from {', '.join(coarse)}: quantized before, so that results of quantization say nothing"
        )
        notes = (*notes, told)
    return model.eval(), notes


def load_tokenizer(reference: str | os.PathLike[str]) -> Any:
    """The tokenizer beside a model.

    Raises:
        ModelError: there is none.
    """
    folder = find_folder(reference)
    try:
        with quiet():
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, gguf_file=gguf_file(reference))
            # Where its files are missing, transformers builds one without tokens, which turns any text into nothing.
            if not tokenizer("text", add_special_tokens=False)["input_ids"]:
                raise ValueError("a tokenizer without tokens")
            return tokenizer
    except Exception as error:
        raise ModelError(
            message(
                expected=f"a tokenizer beside the model in {reference}",
                got=first_line(error),
                do="put its tokenizer.json there, or give contexts of tokens as text",
            )
        ) from error


def _resolve_text(
    model: nn.Module, reference: str | os.PathLike[str], text: Text | None, context: int | None
) -> Packed:
    """Contexts of tokens from whatever stands for text."""
    if text is None:
        suite = find_folder(reference).resolve().parent
        if read_suite(suite) is None:
            raise DataError(
                message(
                    expected="text to measure the model on",
                    got="none, and the model is no checkpoint of a suite trained here",
                    do="name a text file or folder",
                )
            )
        text, _ = suite_contexts(suite)
    given = pack_tokens(contexts_of(text)) if isinstance(text, Tensor) else text
    if isinstance(given, Packed) and context not in (None, given.context):
        raise InputError(
            message(
                expected=f"the context of the given tokens, {given.context}",
                got=f"context = {context}",
                do="leave it out or cut the tokens anew",
            )
        )
    longest: int | None = getattr(model.config, "max_position_embeddings", None)
    if context is None:
        context = given.context if isinstance(given, Packed) else min(longest or _LONGEST_DEFAULT, _LONGEST_DEFAULT)
    check_context(context, longest)
    if isinstance(given, Packed):
        return given
    tokenizer = load_tokenizer(reference)
    check_vocabulary(tokenizer, _vocabulary(model))
    return pack_text(as_texts(given), tokenizer, context)


def check_context(context: int, longest: int | None) -> None:
    """Refuses contexts that are longer than the model's.

    Raises:
        InputError: as said.
    """
    if longest is not None and context > longest:
        raise InputError(
            message(
                expected=f"a context of at most {longest} tokens, the model's positions",
                got=str(context),
                do="choose a shorter one",
            )
        )


def check_vocabulary(tokenizer: Any, vocabulary: int | None) -> None:
    """Refuses a tokenizer that has more tokens than the model.

    Raises:
        ModelError: as said.
    """
    if vocabulary is not None and tokenizer.vocab_size > vocabulary:
        raise ModelError(
            message(
                expected=f"a tokenizer of at most {vocabulary} tokens, the model's vocabulary",
                got=f"one of {tokenizer.vocab_size}",
                do="use the tokenizer that the model was trained with",
            )
        )


def _check_tokens(packed: Packed, vocabulary: int) -> None:
    if packed.largest >= vocabulary:
        raise DataError(
            message(
                expected=f"tokens from 0 to {vocabulary - 1}, the model's vocabulary",
                got=f"tokens up to {packed.largest}",
                do="use the tokenizer that the model was trained with",
            )
        )


def _vocabulary(model: Any) -> int:
    return int(model.get_input_embeddings().num_embeddings)
