"""How the verbs read their data: one value of all options that say so."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bitsandnats.cli import options

TextItems = Annotated[
    str,
    typer.Option(
        "--text-items",
        metavar="NAME",
        help="contexts of equal length, or documents: each one's start, padded.",
        rich_help_panel="Model and data",
    ),
]

Center = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE",
        help="Where w* is kept: device (the default), or cpu, an array of the weights' size less on an accelerator.",
        rich_help_panel="Sampling; what is left out is measured or a default",
    ),
]


@dataclass(frozen=True)
class Reading:
    """Data as the options of a verb describe them.

    Attributes:
        text: sources, NAME=SOURCE or SOURCE; None = the suite's.
        field: of JSON lines, parquet and datasets: where the text is.
        items: `contexts` or `documents`.
        context: tokens a context.
        fold: whether layer norms are folded.
        device: where to compute.
        unit: of the loss.
    """

    text: list[str] | None
    field: str
    items: str
    context: int | None
    fold: bool | None
    device: str | None
    unit: str | None

    @property
    def texts(self) -> Any:
        """The sources as `hf.Texts`; None where none is given.

        Raises:
            InputError: some texts have a name and some have none, or `items` is unknown.
        """
        return options.texts(self.text, self.field, self.items)

    def load(self, model: str) -> Any:
        """The Task that MODEL names, on these data.

        Raises:
            ModelError: as `options.load_task`.
            InputError: as `options.load_task`, or as `texts`.
        """
        return options.load_task(model, self.texts, self.context, self.fold, self.device, self.unit)

    def load_other(self, model: str, sources: Sequence[str | Path]) -> Any:
        """The Task that MODEL names on other text, read and cut in the same way.

        Raises:
            ModelError: as `options.load_task`.
            InputError: as `options.load_task`.
        """
        other = options.texts([str(source) for source in sources], self.field, self.items)
        return options.load_task(model, other, self.context, self.fold, self.device, self.unit)
