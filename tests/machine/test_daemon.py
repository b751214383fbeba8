# SPDX-License-Identifier: Apache-2.0
"""An ordinary user's daemon: what it can do in its sandbox, and without systemd's help."""

import json
from typing import Final

from cco import units
from cco.log import FLOOD
from tests.machine.installed import Login
from tests.machine.test_doctor import with_mounts

KEY: Final = "sk-ant-api03-planted-in-a-request-of-this-test"


# In its sandbox


def test_daemon_lacks_nothing_in_its_sandbox(alice: Login) -> None:
    alice.systemctl("start cco")
    alice.wait_until_ok()
    assert alice.health()["warnings"] == []
    worker = alice.worker_pid()
    show = f"cd /proc/{worker} && grep VmLck status && grep core limits && stat -c %U environ"
    locked, core, owner = alice.machine.run(show, user="root").stdout.splitlines()
    assert int(locked.split()[1]) > 0  # the page of the key
    assert core.split()[4:6] == ["0", "0"]
    assert owner == "root"  # not dumpable: closed to other processes of alice
    assert "Permission denied" in alice.run(f"cat /proc/{worker}/environ").stderr


def test_state_is_for_its_owner_alone(alice: Login) -> None:
    alice.systemctl("start cco")
    assert alice.run("ls ~/.local/state/cco/cco.db").returncode == 0  # on systemd 252 too
    modes = alice.run("stat -c %a $(dirname $(find ~ -name cco.db)) $(find ~ -name 'cco.db*')")
    assert modes.stdout.split()[0] == "700"
    assert set(modes.stdout.split()[1:]) == {"600"}


def test_journal_of_a_session_holds_no_secret(alice: Login) -> None:
    since = alice.machine.cursor()
    alice.use_upstream(port=8199)  # where nobody is
    session = alice.launch()
    alice.expected.append("No connection to the upstream offline")
    for headers in ([f"x-api-key: {KEY}"], [f"authorization: Bearer {KEY}"]):
        status, _ = alice.fetch(f"{session.base_url}/v1/models", headers=headers)
        assert status == 502
    alice.read("plugin/hooks/hooks.json", token=session.token)
    alice.systemctl("restart cco")
    entries = alice.machine.journal(since=since, _UID="1000")
    ours = [entry for entry in entries if entry.get("_SYSTEMD_USER_UNIT") in units.ALL]
    assert ours
    for secret in (KEY, session.token):
        assert secret not in json.dumps(ours)


def test_journal_tells_an_outage_once_and_whose_requests_failed(alice: Login) -> None:
    since = alice.machine.cursor()
    alice.use_upstream(port=8199)  # where nobody is
    session = alice.launch()
    alice.expected.append("No connection to the upstream offline|the upstream offline is out")
    url = f"{session.base_url}/v1/models"
    assert set(
        alice.run(
            f"for n in $(seq 50); do curl -so /dev/null -w '%{{http_code}} ' {url}; done"
        ).stdout.split()
    ) == {"502"}
    entries = alice.machine.journal(since=since, _UID="1000", _SYSTEMD_USER_UNIT="cco.service")
    [failed] = [one for one in entries if "No connection to the upstream" in str(one["MESSAGE"])]
    assert failed["CODE"] == "upstream-refused"
    assert (failed["SESSION"], failed["PROJECT"]) == (session.id, str(alice.home))
    assert failed["AGENT"] == "main"
    assert failed["REQUEST_ID"].startswith("cco_")
    [begun] = [one for one in entries if one["MESSAGE"] == f"a session begins in {alice.home}"]
    assert (begun["PRIORITY"], begun["SESSION"]) == ("6", session.id)
    for since in ("", " --since 1h", " --since 2026-01-01T00:00:00Z"):
        told = alice.cco(f"daemon logs{since}").stdout
        assert "serves /run/user/1000/cco.sock and http://127.0.0.1:3000: 119 agents" in told


def test_journal_that_only_root_may_read_is_not_taken_for_an_empty_one(alice: Login) -> None:
    closed = "mount -t tmpfs t /var/log/journal && mkdir -m 750 /var/log/journal/machine"
    done = with_mounts(alice, closed, "cco daemon logs")
    assert (done.returncode, done.stdout) == (77, "")
    assert "Run: sudo journalctl -t cco;" in done.stderr


def test_journal_is_not_flooded(alice: Login) -> None:
    since = alice.machine.cursor()
    alice.systemctl("start cco")
    told = """'{"pid": '$$', "cwd": "/", "project": "/"}'"""
    urls = "'http://localhost/api/sessions?[1-700]'"
    alice.run(f"curl -so /dev/null --unix-socket {alice.socket} -d {told} {urls}", check=True)
    entries = alice.machine.journal(
        since=since, SYSLOG_IDENTIFIER="cco", LOGGER="cco.orchestration.sessions"
    )
    begun = [str(entry["MESSAGE"]) for entry in entries]
    assert 400 < len(begun) <= FLOOD
    assert begun[-1] == "a session begins in / (a flood: what follows within 30 s is left out)"


def test_launch_gives_claude_code_its_environment(alice: Login) -> None:
    session = alice.launch("-p 'hello there' --model opus")
    given, mount = session.environment, alice.mount
    assert given["ORCHESTRATOR_ENABLED"] == "true"
    assert given["ORCHESTRATOR_VFS_MOUNT"] == str(mount)
    assert given["ORCHESTRATOR_AGENTS"] == f"{mount}/agents.sealed"
    assert given["ORCHESTRATOR_RULES"] == f"{mount}/orchestrator.sealed"
    assert given["ORCHESTRATOR_HOOKS"] == f"{mount}/hooks.sealed"
    assert given["ORCHESTRATOR_MANIFEST"] == f"{mount}/.manifest"
    assert given["ORCHESTRATOR_API_URL"] == "http://localhost:3000"
    assert session.base_url == f"http://127.0.0.1:3000/s/{session.id}"
    assert session.argv[:3] == ["--plugin-dir", f"{mount}/plugin", "--settings"]
    settings = json.loads(session.argv[3])
    assert settings["env"] == {"ANTHROPIC_BASE_URL": session.base_url}
    assert set(settings) == {"env", "hooks"}
    assert session.argv[4:] == ["-p", "hello there", "--model", "opus"]
    [listed] = json.loads(alice.fetch("/api/sessions")[1])["sessions"]
    assert (listed["id"], listed["pid"], listed["project"]) == (
        session.id,
        session.pid,
        str(alice.home),
    )


# Without systemd's help


def test_supervisor_of_an_ordinary_user_keeps_api_and_mount_running(alice: Login) -> None:
    runtime = alice.runtime / "second"
    second = {
        "CCO_RUNTIME_DIR": str(runtime),
        "CCO_CONFIG": f"{alice.home}/launched.toml",
        "XDG_STATE_HOME": f"{alice.home}/launched-state",
    }
    alice.run("printf '[server]\\nport = 3100\\n' >~/launched.toml")
    start = "systemd-run --user --quiet --unit=session --service-type=notify"
    start += " --property=KillMode=mixed " + " ".join(f"-E {n}={v}" for n, v in second.items())
    alice.run(f"{start} cco daemon run", check=True)

    def status() -> int:
        return alice.cco("daemon status", environment=second).returncode

    def children() -> list[str]:
        return alice.run(f"pgrep --parent {alice.main_pid('session')}").stdout.split()

    assert status() == 0
    assert alice.cco("daemon status").returncode == 3  # the unit is another
    assert alice.run(f"cat {runtime}/cco/health").stdout == "OK\n"
    before = children()
    alice.run(f"kill -9 {' '.join(before)}", check=True)
    alice.machine.wait(lambda: len(children()) == 2 and status() == 0, "recovery")
    assert not set(children()) & set(before)
    assert alice.run(f"cat {runtime}/cco/health").stdout == "OK\n"
    assert alice.fetch("http://localhost:3100/api/agents")[0] == 200

    assert alice.cco("daemon stop", environment=second).stdout == "stopped\n"
    assert status() == 3
    assert alice.machine.state("session.service", user="alice") == "inactive"  # and not failed
    assert alice.run(f"ls {runtime}; grep {runtime} /proc/self/mountinfo").stdout == ""
