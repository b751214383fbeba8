# SPDX-License-Identifier: Apache-2.0
"""Holds a live daemon against the description of its interface, by schemathesis."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.daemon import KEY, Daemon

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


def examine(served: Daemon, directory: Path, *, examples: int, seed: int) -> tuple[int, str]:
    """Make requests of every operation; return the status of schemathesis and what it says.

    Args:
        served: the daemon.
        directory: where schemathesis may write.
        examples: requests of chance for each operation, beside those that cover its schema.
        seed: brings them back.
    """
    settings = directory / "schemathesis.toml"
    session = served.launch()
    settings.write_text(SETTINGS.format(seed=seed, key=KEY, examples=examples, session=session.id))
    url = f"http://127.0.0.1:{served.port}/openapi.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", settings),
            *("run", url, "--phases", "examples,coverage,fuzzing", "--no-color"),
        ],
        cwd=directory,  # where it keeps what it has learned
        env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(directory)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S * max(1, examples // 10),
        check=False,
    )
    told = (line[:300] for line in (done.stdout + done.stderr).splitlines())  # URLs can be long
    return done.returncode, "\n".join(told)
