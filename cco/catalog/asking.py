# SPDX-License-Identifier: Apache-2.0
"""The program by which a hook asks the daemon without being heard where nobody answers; pure.

Claude Code can post a hook's input itself (``http``), but tells its user of some events when that
fails, and of any command of a plugin whose folder is gone. So there is this program, in bash, that
nothing else need be installed: it posts what comes by standard input, and prints the answer of a
200. Whatever goes wrong it prints nothing and ends with 0, at once where nobody listens. It lies in
the plugin; the hooks that run it are given to Claude Code with the session's settings.
"""

from typing import Final
from urllib.parse import urlsplit

PATH: Final = "hooks/ask"
"""In the plugin."""

# With LC_ALL=C the length of a text is in bytes. Bash reads a socket byte by byte: answers are
# short; the input may be long and comes through cat.
_SCRIPT: Final = """\
# Posts the input of a hook to the CCO daemon and prints its answer; silent without a daemon.
exec 2>/dev/null
LC_ALL=C
input=$(cat)
exec 3<>/dev/tcp/{host}/{port} || exit 0
printf '%s\\r\\n' "POST {path}/$1 HTTP/1.1" 'Host: {netloc}' 'Content-Type: application/json' \\
    "x-cco-session: $CCO_SESSION" "Content-Length: ${{#input}}" 'Connection: close' '' >&3
printf '%s' "$input" >&3
read -r -t {timeout_s} _ status _ <&3
[ "$status" = 200 ] || exit 0
while IFS= read -r -t {timeout_s} line <&3 && [ "$line" != $'\\r' ]; do :; done
IFS= read -r -d '' -t {timeout_s} body <&3
printf '%s' "$body"
exit 0
"""
_PLUGIN: Final = "${ORCHESTRATOR_VFS_MOUNT}/plugin"
TIMEOUT_S: Final = 2
"""Longest silence of the daemon that it waits for."""


def program(hooks_url: str) -> str:
    """Return the program for a daemon that takes hooks at ``http://host:port/path``."""
    url = urlsplit(hooks_url)
    return _SCRIPT.format(
        host=url.hostname,
        port=url.port or 80,
        path=url.path.rstrip("/"),
        netloc=url.netloc,
        timeout_s=TIMEOUT_S,
    )


def command(event: str) -> str:
    """Return the shell's command for an event; with the mount, the program itself may be away."""
    # -p: nothing that the environment tells bash to read or to be is of interest here.
    return f'bash -p "{_PLUGIN}/{PATH}" {event} 2>/dev/null || :'


def show_command(file: str) -> str:
    """Return the shell's command that shows a file of the plugin, and nothing where it is away."""
    return f'cat "{_PLUGIN}/{file}" 2>/dev/null || :'
