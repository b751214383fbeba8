# SPDX-License-Identifier: Apache-2.0
"""``python3 -I -m cco.daemon``: the API daemon, started by systemd or by `cco daemon run`."""

import logging
import os
import signal
import sys

from cco import __version__, paths, systemd
from cco import log as logs
from cco.configfile import load
from cco.daemon import listeners
from cco.daemon.ending import give_up
from cco.errors import CcoError

log = logging.getLogger("cco.daemon")  # the module runs as __main__


def main() -> int:
    """Serve until told to stop; return the exit status."""
    environ = dict(os.environ)
    # Gunicorn would report readiness itself, before its worker has loaded anything.
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        os.environ.pop(name, None)
    logs.setup(environ, stream=sys.stderr)
    try:
        return _serve(environ)
    except CcoError as error:
        return give_up(error)


def _serve(environ: dict[str, str]) -> int:
    from cco.daemon.server import BOOT_STATUS, Application
    from cco.daemon.worker import Hosted

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
    notifier = systemd.Notifier(environ.get("NOTIFY_SOCKET"))

    def build() -> Hosted:
        from cco.api.app import create_app
        from cco.api.services import Services
        from cco.api.unread import refusal

        services = Services(environ, paths=where, http_url=url, uid=uid)
        agents, port = len(services.catalog.agents), url or "no port"
        log.info("CCO %s serves %s and %s: %d agents", __version__, where.socket, port, agents)
        return Hosted(
            create_app(services),
            services.guard.is_ours,
            refusal,
            services.reload,
            services.stop,
            services.close,
        )

    try:
        Application(
            build,
            threads=settings.server.threads,
            notifier=notifier,
            has_watchdog=systemd.watchdog_s(environ, pid=pid) > 0,
        ).run()
    except SystemExit as ended:
        if os.getpid() != pid:  # the worker, whose status the arbiter knows how to take
            raise
        return BOOT_STATUS.get(ended.code, os.EX_SOFTWARE) if ended.code else os.EX_OK
    finally:
        if not passed and os.getpid() == pid:
            where.socket.unlink(missing_ok=True)
    return os.EX_OK


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main())
