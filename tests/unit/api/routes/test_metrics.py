# SPDX-License-Identifier: Apache-2.0
"""``GET /metrics``: for whom, and at what price."""

import subprocess
import sys

import pytest

from tests.capabilities import ROOT
from tests.unit.api.house import House, error_of


@pytest.mark.parametrize("by_tcp", [False, True])
def test_scraper_is_served_like_any_other_caller(house: House, *, by_tcp: bool) -> None:
    answer = house.ask("GET", "/metrics", by_tcp=by_tcp)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "\ncco_build_info{" in answer.text


def test_only_reading_is_served(house: House) -> None:
    answer = house.ask("POST", "/metrics")

    assert error_of(answer) == (405, "wrong-method")
    assert set(answer.allow) == {"GET", "HEAD", "OPTIONS"}


def test_library_is_loaded_by_the_first_scrape_only() -> None:
    script = "import sys, cco.api.app; print('prometheus_client' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
