# SPDX-License-Identifier: Apache-2.0
"""The description of the interface, held against what a live daemon answers.

schemathesis makes requests of every operation, good ones and bad ones, and looks at each answer:
its status is described, its headers and its content are as described, what is good is accepted,
what is bad is refused, and nothing is a failure of the server's.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.daemon import KEY, Daemon

EXAMPLES: Final = 10
"""Requests of chance for each operation, beside those that cover its schema."""
SEED: Final = 1
DEADLINE_S: Final = 600

SETTINGS: Final = """\
seed = {seed}
continue-on-failure = true
warnings = false
headers = {{ x-api-key = "{key}" }}
generation.max-examples = {examples}
output.sanitization.enabled = false

# What is good there is for the upstream to say.
[[operations]]
include-tag = "gateway"
checks.positive_data_acceptance.enabled = false
checks.negative_data_rejection.enabled = false
checks.unsupported_method.enabled = false

[[operations]]
include-path-regex = "^/s/"
parameters = {{ "path.session_id" = "{session}" }}
checks.positive_data_acceptance.enabled = false
checks.negative_data_rejection.enabled = false
checks.unsupported_method.enabled = false
"""


@pytest.mark.timeout(DEADLINE_S)
def test_the_interface_is_as_described(served: Daemon, tmp_path: Path) -> None:
    settings = tmp_path / "schemathesis.toml"
    session = served.launch()
    settings.write_text(SETTINGS.format(seed=SEED, key=KEY, examples=EXAMPLES, session=session.id))
    url = f"http://127.0.0.1:{served.port}/openapi.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", settings),
            *("run", url, "--phases", "examples,coverage,fuzzing", "--no-color"),
        ],
        cwd=tmp_path,  # where it keeps what it has learned
        env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert "No issues found" in done.stdout or " passed" in done.stdout

    log = served.log()
    assert "Traceback" not in log
    assert KEY not in log
    assert served.health()["status"] == "ok"
