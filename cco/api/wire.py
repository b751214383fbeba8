# SPDX-License-Identifier: Apache-2.0
"""What WSGI does not carry: a request's headers as they came, with order and multiplicity.

Gunicorn hands them over in its `pre_request` hook, in the thread that then serves the request.
"""

import threading
from collections.abc import Sequence


class _Current(threading.local):
    headers: Sequence[tuple[str, str]] = ()
    """Name, in lower case, and value of each header line of this thread's request."""


current = _Current()
