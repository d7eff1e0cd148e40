"""Name -> builder, written as text: `rmsprop_sgld(delta=0.01)` validates, builds, hashes and documents itself."""

import ast
import functools
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any

from bitsandnats.errors import InputError, message


@dataclass(frozen=True)
class Entry:
    """One algorithm: where its builder lives, and one line about it."""

    location: str
    summary: str
    tags: tuple[str, ...] = ()

    def load(self) -> Callable[..., Any]:
        """Returns the builder, importing its module."""
        module, attribute = self.location.split(":")
        return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True)
class Registry:
    """The algorithms of one family, third parties' included.

    A package adds its own through the entry-point group `bitsandnats.FAMILY`; the conformance tests run over
    every name found here.
    """

    family: str
    bound: tuple[str, ...]
    builtin: dict[str, Entry]

    def entries(self) -> dict[str, Entry]:
        """Every name with its entry, the project's own first."""
        found = dict(self.builtin)
        for point in entry_points(group=f"bitsandnats.{self.family}"):
            if point.name in found:
                raise InputError(
                    message(
                        expected=f"distinct names among {self.family}",
                        got=f"{point.name!r} from {point.value} and another",
                        do="rename or uninstall one of them",
                    )
                )
            found[point.name] = Entry(point.value, f"from {point.value}")
        return found

    def entry(self, text: str) -> Entry:
        """The entry that `text` names; options in it are ignored."""
        return self._find(_parse(text)[0])

    def build(self, text: str) -> Callable[..., Any]:
        """The builder that `text` names with its options bound, `name` or `name(option=value, …)`.

        Raises:
            InputError: no such name (near ones are suggested), an unknown option, or text of another form.
        """
        name, options = _parse(text)
        builder = self._find(name).load()
        known = [p for p in inspect.signature(builder).parameters if p not in self.bound]
        unknown = [option for option in options if option not in known]
        if unknown:
            raise InputError(
                message(
                    expected=f"options of {name} among {', '.join(known) or '(none)'}",
                    got=unknown[0],
                    do=f"see 'bitsandnats ls {self.family}'",
                )
            )
        return functools.partial(builder, **options)

    def given(self, text: str) -> dict[str, Any]:
        """The options in `text`."""
        return _parse(text)[1]

    def changed(self, text: str, options: dict[str, Any]) -> str:
        """`text` with these options in place of its own."""
        name, given = _parse(text)
        return f"{name}({', '.join(f'{option}={value!r}' for option, value in {**given, **options}.items())})"

    def options(self, name: str) -> str:
        """The options of `name` with their defaults, as one would write them."""
        parameters = inspect.signature(self._find(name).load()).parameters.values()
        return ", ".join(f"{p.name}={p.default!r}" for p in parameters if p.name not in self.bound)

    def _find(self, name: str) -> Entry:
        if name in self.builtin:  # reading what is installed takes longer than a small model's whole start-up
            return self.builtin[name]
        entries = self.entries()
        if name in entries:
            return entries[name]
        near = get_close_matches(name, entries, n=1)
        raise InputError(
            message(
                expected=f"one of the {self.family} {', '.join(entries)}",
                got=repr(name),
                do=f"did you mean {near[0]!r}?" if near else f"see 'bitsandnats ls {self.family}'",
            )
        )


def _parse(text: str) -> tuple[str, dict[str, Any]]:
    name, _, rest = text.strip().partition("(")
    if not rest:
        return name, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
            raise ValueError
        return name, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError):
        raise InputError(
            message(expected="name or name(option=value, …)", got=repr(text), do="write options by name")
        ) from None
