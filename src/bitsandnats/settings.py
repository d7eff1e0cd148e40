"""Frozen settings, in and out of TOML."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bitsandnats.errors import InputError, message


class Settings(BaseModel):
    """How a local posterior is sampled; one such object serves a whole series.

    Attributes:
        sampler: name and options as in `bitsandnats ls samplers`.
        step_size: ε of the sampler, dimensionless; not comparable between samplers.
        gamma: γ, strength of the pull to w*, nats per squared unit of weight.
        nbeta: nβ, n times the inverse temperature, dimensionless.
        batch_size: items a minibatch; all of them where the data hold no more.
        chains: independent chains.
        burn_in: steps of each chain that are kept apart and never averaged.
        draws: steps of each chain that count.
        start: `center` (at w*) or `noise` (at w* + N(0, 1/γ)).
        seed: chain c's randomness depends on (seed, c) only.
        mode: `loop` (one chain after another), `vmap` (all at once), or `auto` (the faster, by measurement).
        baseline: where L(w*) comes from: `all` items once, each `batch` again, `none` (a few batches, unpaired),
            or `auto` (the cheaper of the first two).
        statistics: `step` keeps each step's distance, virial and slope beside the loss, which the verdict judges by;
            `none` keeps the loss alone and is faster.
        metric: `weights`, or `tensors`: pull and noise in units of each tensor's own curvature (`metric.in_metric`).
        gradient: `plain`, or `control`: less the same batch's gradient at w*, plus the whole data's: less heating by
            small batches, at twice the price of a step.
        variates: `quadratic` takes out of λ̂ what the loss's quadratic part scatters, by a quantity of known mean along
            the stiffest directions; for samplers with accept/reject only. `none`: λ̂ is the plain mean.
        precision: of the loss's products: `float32` (the weights' own type), `tf32` (on CUDA) or `bfloat16` (autocast);
            weights, steps and noise are never rounded.
        micro_batch: items a pass at most, whose gradients are added up; `whole` = all of a batch, `auto` = as many as
            memory holds, which a study settles once and keeps.
        center: where w* is kept: on the `device`, or by the `cpu`, from where each step fetches it (`paging`): an array
            less on the device, and the same draws to the bit.
        compile: the network's layers are run through `torch.compile` (`compiling`), which rounds differently.
        reasons: why each field has its value, in words, where it was not given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sampler: str = "sgld"
    step_size: float = Field(gt=0, allow_inf_nan=False)
    gamma: float = Field(ge=0, allow_inf_nan=False)
    nbeta: float = Field(gt=0, allow_inf_nan=False)
    batch_size: int = Field(default=16, ge=1)
    chains: int = Field(default=4, ge=1)
    burn_in: int = Field(default=0, ge=0)
    draws: int = Field(default=200, ge=1)
    start: Literal["center", "noise"] = "center"
    seed: int = Field(default=0, ge=0)
    mode: Literal["auto", "loop", "vmap"] = "auto"
    baseline: Literal["auto", "all", "batch", "none"] = "auto"
    statistics: Literal["step", "none"] = "step"
    metric: Literal["weights", "tensors"] = "weights"
    gradient: Literal["plain", "control"] = "plain"
    variates: Literal["none", "quadratic"] = "none"
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    micro_batch: Literal["auto", "whole"] | Annotated[int, Field(ge=1)] = "auto"
    center: Literal["device", "cpu"] = "device"
    compile: bool = False
    reasons: dict[str, str] = Field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """The fields that act on the numbers: not the reasons, not where w* is kept, and `compile` where it is on."""
        return self.model_dump(exclude={"center", "reasons", *(() if self.compile else ("compile",))})

    @property
    def steps(self) -> int:
        """Steps of a chain, burn-in included."""
        return self.burn_in + self.draws


def settings_from(fields: dict[str, Any]) -> Settings:
    """Settings from a plain dictionary.

    Raises:
        InputError: a field is unknown, missing or out of range; one sentence naming it.
    """
    try:
        return Settings.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        got = "nothing" if first["type"] == "missing" else f"{name} = {first.get('input')!r}"
        raise InputError(message(expected=f"{name}: {first['msg'].lower()}", got=got, do=f"change {name}")) from None


def changed(settings: Settings, fields: dict[str, Any]) -> Settings:
    """`settings` with the given fields replaced and validated anew; None values are left out."""
    return settings_from({**settings.model_dump(), **{k: v for k, v in fields.items() if v is not None}})


def to_toml(table: dict[str, Any], prefix: str = "") -> str:
    """A nested dictionary of plain values as TOML; None values are left out."""
    lines = [f"{_key(k)} = {_value(v)}" for k, v in table.items() if v is not None and not isinstance(v, dict)]
    text = "\n".join(lines) + ("\n" if lines else "")
    for key, value in table.items():
        if isinstance(value, dict):
            name = f"{prefix}{_key(key)}"
            text += f"\n[{name}]\n{to_toml(value, name + '.')}"
    return text


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else _text(name)


def _value(value: Any) -> str:
    if hasattr(value, "item"):  # numpy's and torch's numbers
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    if isinstance(value, int | float):
        return repr(value)
    return _text(str(value))


def _text(text: str) -> str:
    """A TOML string: JSON's, but for one character that TOML forbids."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
