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
# short; the input may be long and comes through head. What is longer than any task is not sent: a
# daemon that hangs would not take it, and bash waits for that without an end.
_SCRIPT: Final = """\
# Posts the input of a hook to the CCO daemon and prints its answer; silent without a daemon.
exec 2>/dev/null
LC_ALL=C
input=$(head -c {max_bytes}; exec cat >/dev/null)
[ ${{#input}} -lt {max_bytes} ] || exit 0
exec 3<>/dev/tcp/{host}/{port} || exit 0
printf '%s\\r\\n' "POST {path}/$1 HTTP/1.1" 'Host: {netloc}' 'Content-Type: application/json' \\
    "x-cco-session: $CCO_SESSION" "Content-Length: ${{#input}}" 'Connection: close' '' >&3
printf '%s' "$input" >&3
IFS= read -r -d '' -t {timeout_s} answer <&3
[ $? -le 128 ] || exit 0
body=${{answer#*$'\\r\\n\\r\\n'}}
# Another server may have the port since the daemon went.
[[ $answer == 'HTTP/1.1 200 '* && $body == '{{"hookSpecificOutput"'* ]] && printf '%s' "$body"
exit 0
"""
_PLUGIN: Final = "${ORCHESTRATOR_VFS_MOUNT}/plugin"
TIMEOUT_S: Final = 0.25
"""Longest wait for the answer: a prompt waits meanwhile. A daemon that is well takes milliseconds,
and goes on with what it was told when nobody waits any more."""
MAX_BYTES: Final = 1_000_000
"""Of an input that is sent; the longest task that a suggestion is made for has less."""


def program(hooks_url: str) -> str:
    """Return the program for a daemon that takes hooks at ``http://host:port/path``."""
    url = urlsplit(hooks_url)
    return _SCRIPT.format(
        host=url.hostname,
        port=url.port or 80,
        path=url.path.rstrip("/"),
        netloc=url.netloc,
        timeout_s=TIMEOUT_S,
        max_bytes=MAX_BYTES,
    )


def command(event: str) -> str:
    """Return the shell's command for an event; with the mount, the program itself may be away."""
    # -p: nothing that the environment tells bash to read or to be is of interest here.
    return f'bash -p "{_PLUGIN}/{PATH}" {event} 2>/dev/null || :'


def show_command(file: str) -> str:
    """Return the shell's command that shows a file of the plugin, and nothing where it is away."""
    return f'cat "{_PLUGIN}/{file}" 2>/dev/null || :'
