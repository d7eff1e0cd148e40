"""Generated text in which every token is known to be predictable by one structure: by what, its label says."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

LABELS = ("bigram", "skip", "induction", "bracket", "other")
"""By what the next token is to be predicted; `other`: by nothing but what follows what in general."""

STRUCTURES = LABELS[:-1]

_WORDS, _NAMES, _TOPICS, _QUERIES, _TYPES = 48, 24, 8, 2, 4
_START = 0
_WORD = 1
_NAME = _WORD + _WORDS
_TOPIC = _NAME + _NAMES
_QUERY = _TOPIC + _TOPICS
_ANSWER = _QUERY + _QUERIES
_OPEN = _ANSWER + _QUERIES * _TOPICS
_CLOSE = _OPEN + _TYPES
VOCABULARY = _CLOSE + _TYPES

LENGTH = 64
"""Tokens that are predicted of a text."""

_SUCCESSORS = (0.7, 0.2, 0.1)
_PHRASES, _PHRASE, _DEPTH = 3, 4, 2
_LANGUAGE = 20_250_418  # seed of the table of successors: one language for all

Shares = tuple[float, float, float, float]
"""How often words, queries, phrases and brackets come."""

MIXED: Shares = (0.15, 0.15, 0.5, 0.2)

PURE: dict[str, Shares] = {
    name: tuple(0.88 if own == name else 0.04 for own in STRUCTURES)  # type: ignore[misc]
    for name in STRUCTURES
}
"""Text in which one structure is frequent and the others are rare."""


class Text(NamedTuple):
    """Texts with what is known of each token that is predicted.

    Attributes:
        tokens: the first one is always the same.
        labels: place in `LABELS` of what predicts the token one further on.
    """

    tokens: Int64[Tensor, "text {LENGTH}+1"]
    labels: Int64[Tensor, "text {LENGTH}"]


def generated(texts: int, *, seed: int, shares: Shares = MIXED) -> Text:
    """Texts of the language, each from its own random stream.

    Words follow each other by a sparse table (bigrams). A topic is named at the beginning, and after each query its
    answer is the topic's (skip-trigrams). A text has three phrases of four random names, which come again and again
    (induction: the names after the first, from the second time on). Brackets of four types close what was opened last.

    Args:
        texts: how many.
        seed: of the texts.
        shares: how often each kind of event comes.
    """
    successors = np.random.default_rng(_LANGUAGE).integers(0, _WORDS, (_WORDS, len(_SUCCESSORS)))
    written = [_written(np.random.default_rng([seed, i]), successors, shares) for i in range(texts)]
    tokens, labels = (torch.tensor([text[k] for text in written]) for k in (0, 1))
    return Text(tokens, labels)


def _written(random: np.random.Generator, successors: np.ndarray, shares: Shares) -> tuple[list[int], list[int]]:
    topic = int(random.integers(_TOPICS))
    phrases = random.permutation(_NAMES)[: _PHRASES * _PHRASE].reshape(_PHRASES, _PHRASE).tolist()
    draws = random.random(4 * LENGTH).tolist()
    tokens, labels, seen, opened = [_START, _TOPIC + topic], [_other()], set(), []

    def write(token: int, label: str) -> None:
        tokens.append(token)
        labels.append(LABELS.index(label))

    edges = np.cumsum(shares).tolist()
    while len(tokens) <= LENGTH:
        event = draws.pop() if draws else float(random.random())
        if event < edges[0]:
            word = int(random.integers(_WORDS))
            write(_WORD + word, "other")
            for _ in range(int(random.integers(2, 5))):
                word = int(successors[word, int(random.choice(len(_SUCCESSORS), p=_SUCCESSORS))])
                write(_WORD + word, "bigram")
        elif event < edges[1]:
            query = int(random.integers(_QUERIES))
            write(_QUERY + query, "other")
            write(_ANSWER + query * _TOPICS + topic, "skip")
        elif event < edges[2]:
            phrase = int(random.integers(_PHRASES))
            for place, name in enumerate(phrases[phrase]):
                write(_NAME + name, "induction" if place and phrase in seen else "other")
            seen.add(phrase)
        elif len(opened) < _DEPTH and (not opened or random.random() < 0.3):
            opened.append(int(random.integers(_TYPES)))
            write(_OPEN + opened[-1], "other")
        else:
            write(_CLOSE + opened.pop(), "bracket")
    return tokens[: LENGTH + 1], labels[:LENGTH]


def _other() -> int:
    return LABELS.index("other")


_SHOWN = (
    (_CLOSE, ")]}>"),
    (_OPEN, "([{<"),
)


def shown(token: int) -> str:
    """A token as text: `word7`, `Name3`, `#2` (topic), `?a`, `=a2` (answer), brackets."""
    for start, marks in _SHOWN:
        if token >= start:
            return marks[token - start]
    if token >= _ANSWER:
        return f"={'ab'[(token - _ANSWER) // _TOPICS]}{(token - _ANSWER) % _TOPICS}"
    if token >= _QUERY:
        return f"?{'ab'[token - _QUERY]}"
    if token >= _TOPIC:
        return f"#{token - _TOPIC}"
    if token >= _NAME:
        return f"Name{token - _NAME}"
    return f"word{token - _WORD}" if token >= _WORD else "start"
