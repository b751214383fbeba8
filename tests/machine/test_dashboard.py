# SPDX-License-Identifier: Apache-2.0
"""The dashboard where systemd runs the daemon: its log is the journal."""

import json
from typing import Final

from tests.machine.installed import Login
from tests.mounting import wait_until

READ: Final = """
import json, os
from cco.paths import locate
from cco.tui.process import open_log
environ = dict(os.environ)
reader = open_log(locate(environ, uid=os.getuid()), environ)
lines = reader.read()
print(json.dumps([type(reader).__name__, lines, reader.read()]))
"""


def test_log_of_the_dashboard_is_the_journal_of_the_units(alice: Login) -> None:
    alice.start()

    def read() -> tuple[str, list[list[object]], list[list[object]]]:
        done = alice.run(["/usr/bin/python3", "-I", "-c", READ], check=True)
        kind, lines, again = json.loads(done.stdout)
        return kind, lines, again

    wait_until(lambda: any("serves" in str(line[4]) for line in read()[1]), "the journal has it")
    kind, lines, again = read()
    assert kind == "Journal"
    assert again == []  # it was read on from where it was
    (served,) = [line for line in lines if " serves " in str(line[4])][-1:]
    assert served[2] == "INFO"
    assert str(served[3]).startswith("cco.") or served[3] == "__main__"
    assert str(served[1]).endswith("Z")
