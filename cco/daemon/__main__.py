# SPDX-License-Identifier: Apache-2.0
"""``python3 -I -m cco.daemon``: the API daemon, started by systemd or by `cco daemon run`."""

import os
import signal
import sys

from cco import log, paths, systemd
from cco.configfile import load
from cco.daemon import listeners
from cco.errors import CcoError, ConfigError


def main() -> int:
    """Serve until told to stop; return the exit status."""
    environ = dict(os.environ)
    # Gunicorn would report readiness itself, before its worker has loaded anything.
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        os.environ.pop(name, None)
    log.setup(environ, stream=sys.stderr)
    try:
        return _serve(environ)
    except CcoError as error:
        print(f"cco: {error.message}", file=sys.stderr)
        if error.hint:
            print(error.hint, file=sys.stderr)
        return os.EX_CONFIG if isinstance(error, ConfigError) else os.EX_UNAVAILABLE


def _serve(environ: dict[str, str]) -> int:
    from cco.daemon.server import Application, Hosted

    pid, uid = os.getpid(), os.getuid()
    where = paths.locate(environ, uid=uid)
    settings = load(environ, config=where.config).settings
    passed = systemd.inherited_fds(environ, pid=pid)
    if passed:
        url = listeners.inherited_url(passed)
    else:
        paths.make_runtime(where, uid=uid)
        served = listeners.open_all(where, settings.server)
        url = served.url
        os.environ.update(listeners.hand_over(served))
        served.close()
    notifier = systemd.Notifier(environ.get("NOTIFY_SOCKET"))

    def build() -> Hosted:
        from cco.api.app import create_app
        from cco.api.services import Services

        services = Services(environ, paths=where, http_url=url, uid=uid)
        return Hosted(create_app(services), services.reload, services.stop, services.close)

    try:
        Application(
            build,
            threads=settings.server.threads,
            notifier=notifier,
            has_watchdog=systemd.watchdog_s(environ, pid=pid) > 0,
        ).run()
    finally:
        if not passed and os.getpid() == pid:
            where.socket.unlink(missing_ok=True)
    return os.EX_OK


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main())
