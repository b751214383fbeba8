# SPDX-License-Identifier: Apache-2.0
import pytest

from cco import meter
from cco.meter import Meter, parse_rollup


def test_parse_rollup() -> None:
    text = (
        "00400000-7ffe11f43000 ---p 00000000 00:00 0                          [rollup]\n"
        "Rss:               20560 kB\n"
        "Pss:               16646 kB\n"
        "Pss_Dirty:             0 kB\n"
    )
    assert parse_rollup(text) == {"Rss": 20560 * 1024, "Pss": 16646 * 1024, "Pss_Dirty": 0}


def test_meter_reads_this_process() -> None:
    read = Meter().read()
    assert 0 < int(str(read["pssBytes"])) <= int(str(read["rssBytes"]))


def test_idle_mount_is_not_shown_with_the_load_of_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Meter()
    assert "cpuPercent" not in made.read()
    monkeypatch.setattr(meter, "MIN_SPAN_S", 0.0)
    assert float(str(made.read()["cpuPercent"])) >= 0
