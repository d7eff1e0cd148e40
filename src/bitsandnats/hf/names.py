"""Names on the Hugging Face hub, and what was probably meant by one that is unknown."""

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_STEP = re.compile(r"step[-_]?(\d+)", re.IGNORECASE)
_LAST = re.compile(r"(\d+)$")


@dataclass(frozen=True)
class HubName:
    """A model on the hub.

    Attributes:
        model: `org/name`, or `name` for the few without an organisation.
        revision: branch, tag or commit; None where the reference names none, which means `main`.
        file: a GGUF file in it, None for a model in transformers' own form.
    """

    model: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        """The reference, as it is written."""
        whole = self.model if self.file is None else f"{self.model}/{self.file}"
        return whole if self.revision is None else f"{whole}@{self.revision}"

    @property
    def at(self) -> str:
        """The revision, `main` where none is named."""
        return self.revision or "main"


def parse(reference: str | os.PathLike[str]) -> HubName | None:
    """`org/name`, `org/name@revision` or `org/name/file.gguf@revision` taken apart; None for what is no name."""
    name, at, revision = os.fspath(reference).partition("@")
    if at and not revision:
        return None
    file = None
    if name.lower().endswith(".gguf"):
        parts = name.split("/")
        if len(parts) < 3:
            return None
        name, file = "/".join(parts[:2]), "/".join(parts[2:])
    if not _NAME.fullmatch(name) or ".." in name or "--" in name:
        return None
    return HubName(name, revision or None, file)


def step_of(label: str) -> int | None:
    """The training step that a label says: the number after the last `step`, else the one at its end.

    `step512`, `checkpoint-512`, `512` -> 512; `stage1-step1000-tokens5B` -> 1000; `main` -> None.
    """
    found = _STEP.findall(label) or _LAST.findall(label)
    return int(found[-1]) if found else None


def numbered(label: str) -> tuple[str, int] | None:
    """What stands before the step in a label, and the step; None without a step."""
    found = list(_STEP.finditer(label)) or list(_LAST.finditer(label))
    return (label[: found[-1].start(1)], int(found[-1][1])) if found else None


def near(wanted: str, there: Sequence[str], at_most: int = 3) -> list[str]:
    """The names most like the one wanted; of revisions with steps, those of the nearest steps."""
    asked = numbered(wanted)
    steps = [(abs(n[1] - asked[1]), name) for name in there if asked and (n := numbered(name)) and n[0] == asked[0]]
    if steps:
        return [name for _, name in sorted(steps)[:at_most]]
    lower = {name.lower(): name for name in there}
    found = difflib.get_close_matches(wanted.lower(), list(lower), n=at_most, cutoff=0.5)
    return [lower[name] for name in found]


def some(names: Sequence[str], shown: int = 4) -> str:
    """A list in words, shortened in its middle."""
    if not names:
        return "none"
    if len(names) <= shown + 1:
        return ", ".join(names)
    return f"{', '.join(names[: shown - 1])} … {names[-1]} ({len(names)} in all)"
