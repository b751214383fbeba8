# SPDX-License-Identifier: Apache-2.0
"""Figures as people read them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from cco.tui import figures

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "-"),  # unknown, which is not zero
        (0, "$0.00"),
        (0.000_000_001, "<$0.0001"),
        (0.000_05, "$0.0001"),
        (0.0123, "$0.0123"),
        (0.995, "$0.99"),
        (1.005, "$1.00"),
        (12.345, "$12.35"),
        (1234.5, "$1,234.50"),
        (1234567.0, "$1,234,567.00"),
    ],
)
def test_usd(amount: float | None, shown: str) -> None:
    assert figures.usd(amount) == shown


def test_exact_usd_has_all_that_the_ledger_has() -> None:
    assert figures.exact_usd(1234.000000001) == "$1,234.000000001"
    assert figures.exact_usd(0.5) == "$0.50"
    assert figures.exact_usd(None) == "-"


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (999, "999"),
        (99_999, "99,999"),
        (100_000, "100k"),
        (999_499, "999k"),
        (1_234_567, "1.23M"),
        (12_345_678, "12.3M"),
        (123_456_789, "123M"),
        (9_999_999_999, "10.0G"),
        (1.5e12, "1.50T"),
    ],
)
def test_count(number: float | None, shown: str) -> None:
    assert figures.count(number) == shown
    assert len(shown) <= 6


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (None, "-"),
        (0.0, "0ms"),
        (999.4, "999ms"),
        (999.6, "1.00s"),
        (12_345, "12.3s"),
        (245_000, "4m05s"),
        (7_500_000, "2h05m"),
    ],
)
def test_took(milliseconds: float | None, shown: str) -> None:
    assert figures.took(milliseconds) == shown
    assert len(shown) <= 5


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (-3, "0s"), (59.9, "59s"), (60, "1m00s"), (3600, "1h00m"), (187_200, "2d04h")],
)
def test_span(seconds: float | None, shown: str) -> None:
    assert figures.span(seconds) == shown


@pytest.mark.parametrize(
    ("data", "shown"),
    [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (20 * 2**20, "20.0 MiB")],
)
def test_size(data: float | None, shown: str) -> None:
    assert figures.size(data) == shown


def test_size_of_much_is_in_the_largest_unit() -> None:
    assert figures.size(5000 * 2**30) == "5000 GiB"


def test_percent_and_whole() -> None:
    assert (figures.percent(None), figures.percent(0.1234), figures.percent(1)) == (
        "-",
        "12.3%",
        "100.0%",
    )
    assert (figures.whole(None), figures.whole(1234567)) == ("-", "1,234,567")


def test_clock_is_that_of_the_zone() -> None:
    zone = timezone(timedelta(hours=2))
    assert figures.clock("2026-11-22T12:34:56.789Z", zone) == "14:34:56"
    assert figures.clock(None) == "-"


def test_age_is_never_negative() -> None:
    assert figures.age_s("2026-11-22T11:59:30.000Z", NOW) == 30
    assert figures.age_s("2026-11-22T12:00:30.000Z", NOW) == 0
    assert figures.age_s(None, NOW) is None
