import pytest
import torch

from bitsandnats.data import pack
from bitsandnats.errors import DataError, InputError


def test_documents_are_joined_and_cut():
    packed = pack([[1, 2, 3], [4], [], [5, 6]], 3, separator=0)
    assert packed.dtype == torch.int64
    assert packed.tolist() == [[1, 2, 3], [0, 4, 0], [0, 5, 6]]


def test_without_separator_the_remainder_is_dropped():
    assert pack([[1, 2, 3], [4, 5]], 2, separator=None).tolist() == [[1, 2], [3, 4]]


def test_too_short():
    with pytest.raises(DataError, match="expected text of at least one context, 8 tokens, got 4 tokens"):
        pack([[1, 2, 3]], 8, separator=0)


def test_context_of_one():
    with pytest.raises(InputError, match="at least 2"):
        pack([[1, 2, 3]], 1, separator=0)
