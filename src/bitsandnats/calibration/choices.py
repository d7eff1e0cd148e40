"""Settings in the making: what was given, what has been chosen, and why."""

from typing import Any

from bitsandnats.settings import Settings, settings_from


class Choices:
    """Fields of `Settings` as they are found; a field that was given is never chosen again."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.fields: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self.reasons: dict[str, str] = {n: "given" for n in self.fields if n not in ("seed", "center", "reasons")}

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    @property
    def seed(self) -> int:
        """Of every random choice."""
        return int(self.fields.get("seed", 0))

    def numerics(self) -> dict[str, Any]:
        """How losses are computed, where that was given: probes are computed as draws are."""
        names = ("precision", "micro_batch", "center", "compile")
        return {name: self.fields[name] for name in names if name in self.fields}

    def choose(self, name: str, value: Any, reason: str) -> None:
        """Takes `value` for a field that was not given."""
        if name not in self.fields:
            self.fields[name], self.reasons[name] = value, reason

    def settings(self) -> Settings:
        """The finished settings, each with its reason."""
        return settings_from({**self.fields, "reasons": self.reasons})
