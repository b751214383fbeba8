# SPDX-License-Identifier: Apache-2.0
"""Files that people open elsewhere."""

import csv
import io
import json
from pathlib import Path

import pytest

from cco.errors import RequestError
from cco.tui import export
from tests.unit.tui.samples import NOW, agents, request, session


def test_json_is_what_the_api_told() -> None:
    rows = [request(), session(project="/日本")]
    assert json.loads(export.as_json(rows)) == rows
    assert "日本" in export.as_json(rows)


def test_csv_has_every_member_once() -> None:
    told = list(csv.DictReader(io.StringIO(export.as_csv(agents()["byAgent"]))))
    assert [row["agent"] for row in told] == ["Chief Architect", "main", "Explore"]
    assert told[0]["tokens.total"] == "11100"
    assert told[0]["costUsd"] == "3.0"


def test_csv_of_unlike_rows_leaves_empty_what_is_not_there() -> None:
    told = list(csv.DictReader(io.StringIO(export.as_csv([{"a": None}, {"b": [1, "x"]}]))))
    assert told == [{"a": "", "b": ""}, {"a": "", "b": "1, x"}]
    assert export.as_csv([]) == "\n"


def test_no_name_is_a_formula() -> None:
    text = export.as_csv([{"project": "=HYPERLINK(1)", "agent": "@x", "costUsd": -1.5}])
    assert text.splitlines()[1] == "'=HYPERLINK(1),'@x,-1.5"


def test_file_is_new_and_for_its_user_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = export.write([request()], "Requests", "json", now=NOW)
    assert name == "cco-requests-20261122-123040.json"
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / name).read_text()) == [request()]
    assert export.write([request()], "Requests", "csv", now=NOW).endswith(".csv")
    with pytest.raises(RequestError, match="cannot be written"):
        export.write([], "Requests", "json", now=NOW)  # never over another one
