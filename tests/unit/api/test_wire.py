# SPDX-License-Identifier: Apache-2.0
"""Headers are of the thread that serves the request."""

import threading

from cco.api.wire import current


def test_threads_have_headers_of_their_own() -> None:
    seen: list[object] = []

    def serve(name: str, barrier: threading.Barrier) -> None:
        seen.append(current.headers)  # nothing of another request
        current.headers = ((name, "x"), (name, "y"))
        barrier.wait()
        assert current.headers == ((name, "x"), (name, "y"))

    barrier = threading.Barrier(3)
    threads = [threading.Thread(target=serve, args=(name, barrier)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == [(), (), ()]
