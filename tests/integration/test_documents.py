# SPDX-License-Identifier: Apache-2.0
"""Our documents, followed to the letter: each command gives what they show.

A document has a place of its own: a home, a project, a daemon, the real Claude Code, and the
offline upstream for the provider. Its commands run one after another, as a reader types them.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from cco.offline.server import OfflineUpstream
from tests.daemon import short_directory
from tests.documents import documents, fits, steps
from tests.integration.claude import DEADLINE_S, Place

FOLLOWED = [document for document in documents() if list(steps(document))]


@pytest.mark.needs("fuse", "claude")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", FOLLOWED, ids=str)
def test_documents_show_what_happens(document: Path) -> None:
    with OfflineUpstream() as upstream:
        place = Place(short_directory(), upstream)
        try:
            follow(document, place)
        finally:
            place.close()


def follow(document: Path, place: Place) -> None:
    """Run the commands of a document; each must print what stands there."""
    environ = place.environ()
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    for step in steps(document):
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=place.project,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert fits(step.output, done.stdout), (
            f"{step.place}: $ {step.command}\n"
            f"shown:\n{step.output}\nprinted (exit {done.returncode}):\n{done.stdout}"
        )
