"""What a user can mend: every message says what was expected, what was found, and what to do."""


class BitsAndNatsError(Exception):
    """Base of all errors that the user can mend; the command line prints them as one sentence, without a traceback."""


class InputError(BitsAndNatsError):
    """An option or argument has an impossible value."""


class ModelError(BitsAndNatsError):
    """The model cannot be measured as it is: its weights, mode or loss."""


class GridError(ModelError):
    """Weights that no whole numbers of steps stand for: the spacing is too fine for them, or they are not finite."""


class DataError(BitsAndNatsError):
    """The data are missing, too short or of the wrong form."""


class StoreError(BitsAndNatsError):
    """A run folder is missing, damaged, unwritable, or belongs to other settings."""


class SettingsError(BitsAndNatsError):
    """No settings could be found under which the model can be measured."""


def message(*, expected: str, got: str, do: str) -> str:
    """One sentence in the house form: *expected, got, do this*."""
    return f"expected {expected}, got {got}; {do}"
