import pytest

from bitsandnats.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        (float("nan"), "—"),
        (0, "0"),
        (1536, "1536"),
        (660480, "660,480"),
        (220.812, "221"),
        (5.2, "5.20"),
        (-0.0456, "−0.0456"),
        (7.78e-6, "7.78×10⁻⁶"),
        (1e-5, "10⁻⁵"),
        (1700000.0, "1.7×10⁶"),
        (171234.0, "171,234"),
    ],
)
def test_number(value, text):
    assert numbers.number(value) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (120.34, 3.14, "120.3 ± 3.1"),
        (6.9312, 0.0213, "6.931 ± 0.021"),
        (5000.0, 120.0, "5,000 ± 120"),
        (22.4, None, "22.4"),
        (-3.0, 1.5, "−3.0 ± 1.5"),
        (None, 1.0, "—"),
    ],
)
def test_uncertain(value, error, text):
    assert numbers.uncertain(value, error) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (1.0, "1"), (1e4, "10,000"), (3000.0, "3000"), (7.78e-6, "7.78×10⁻⁶"), (None, "—"), (0, "0")],
)
def test_exact(value, text):
    assert numbers.exact(value) == text


def test_shares_intervals_and_times():
    assert [numbers.percent(value) for value in (0.0521, 0.59, 0, None)] == ["5.2 %", "59 %", "0 %", "—"]
    assert numbers.interval([5.1, 5.3]) == "[5.10, 5.30]"
    assert numbers.interval([5.1, None]) == numbers.interval(None) == ""
    assert [numbers.duration(value) for value in (4.25, 431.0, 7300, None)] == ["4.2 s", "7 min 11 s", "2 h 1 min", "—"]
    assert [numbers.compact(value) for value in (0, 512, 2000, 90000, 143000, 3e6)] == [
        "0",
        "512",
        "2000",
        "90k",
        "143k",
        "3M",
    ]
