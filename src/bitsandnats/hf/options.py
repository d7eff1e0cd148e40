"""What a suite is trained with."""

from dataclasses import dataclass, fields

from bitsandnats.errors import InputError, message


@dataclass(frozen=True)
class TrainOptions:
    """Options of `train_suite`; the defaults train 0.66 million parameters in a few minutes on one core.

    Attributes:
        layers: transformer blocks.
        width: length of the residual vectors.
        heads: attention heads a block; divides `width`.
        context: tokens an item.
        vocabulary: tokens of the tokenizer, 256 bytes and the end of text among them.
        steps: optimizer steps.
        batch_size: items a step.
        learning_rate: its peak; it rises linearly over `warmup` steps, then falls to a tenth along a cosine.
        warmup: steps until the peak.
        weight_decay: AdamW's, on matrices only.
        clip: largest norm of a step's gradient.
        checkpoints: steps to save at; None for `log_spaced_steps(steps)`. The last is always saved.
        evaluation_items: held-out items, evenly spaced, that the loss in `suite.json` is a mean over, at most.
        seed: of the first weights and of the order of the data.
    """

    layers: int = 2
    width: int = 128
    heads: int = 4
    context: int = 128
    vocabulary: int = 1024
    steps: int = 768
    batch_size: int = 32
    learning_rate: float = 6e-3
    warmup: int = 64
    weight_decay: float = 0.03
    clip: float = 1.0
    checkpoints: tuple[int, ...] | None = None
    evaluation_items: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses impossible values.

        Raises:
            InputError: a value is out of its range.
        """
        least = {"context": 2, "vocabulary": 258, "warmup": 0, "weight_decay": 0, "seed": 0}
        for field in fields(self):
            value = getattr(self, field.name)
            bound = least.get(field.name, 1)
            positive = field.name in ("learning_rate", "clip")
            if field.name != "checkpoints" and not (value > 0 if positive else value >= bound):
                expected = f"{field.name} {'above 0' if positive else f'of at least {bound}'}"
                raise InputError(message(expected=expected, got=str(value), do="choose another value"))
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise InputError(
                message(
                    expected="a width that is an even multiple of heads (rotary positions need pairs)",
                    got=f"width {self.width}, heads {self.heads}",
                    do="change one of them",
                )
            )
        if self.checkpoints is not None and not all(0 <= step <= self.steps for step in self.checkpoints):
            raise InputError(
                message(
                    expected=f"checkpoints from 0 to {self.steps}, the last step",
                    got=str(list(self.checkpoints)),
                    do="train longer or leave the later ones out",
                )
            )

    def saved_steps(self) -> tuple[int, ...]:
        """Steps that are saved, ascending, the last one included."""
        chosen = log_spaced_steps(self.steps) if self.checkpoints is None else self.checkpoints
        return tuple(sorted({*chosen, self.steps}))


def log_spaced_steps(steps: int) -> tuple[int, ...]:
    """Steps 0, 1, 2, 4, … 64, then 96, 128, 192, 256, 384, … (×1.5 and ×4/3 in turn), and `steps` itself."""
    powers = [1 << k for k in range(steps.bit_length())]
    between = [3 * p // 2 for p in powers if p >= 64]
    return tuple(sorted({0, steps, *(s for s in powers + between if s <= steps)}))
