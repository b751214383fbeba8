# SPDX-License-Identifier: Apache-2.0
"""Places, taken and given back."""

import pytest

from cco.errors import Unavailable
from cco.gateway.places import Places


def test_there_are_so_many_places_and_no_more() -> None:
    places = Places(2)
    first, second = places.take(), places.take()
    with pytest.raises(Unavailable) as caught:
        places.take()
    assert caught.value.code == "no-room"
    assert "2 requests are under way" in caught.value.message

    second.release()
    with places.take(), pytest.raises(Unavailable):
        places.take()
    places.take()
    first.release()


def test_place_is_given_back_once() -> None:
    places = Places(1)
    place = places.take()
    place.release()
    place.release()
    with places.take(), pytest.raises(Unavailable):
        places.take()


def test_place_is_given_back_after_an_error() -> None:
    places = Places(1)
    with pytest.raises(ZeroDivisionError), places.take():
        raise ZeroDivisionError
    places.take()


def test_bodies_share_what_there_is() -> None:
    places = Places(3, max_bytes=10 * 2**20)
    first, second = places.take(), places.take()
    first.hold(6 * 2**20)
    second.hold(3 * 2**20)
    with pytest.raises(Unavailable) as caught:
        second.hold(2**20 + 1)
    assert caught.value.code == "no-room"
    assert "(10 MB)" in caught.value.message

    second.hold(2**20)
    first.release()
    second.hold(6 * 2**20)
    second.release()
    with places.take() as third:
        third.hold(10 * 2**20)
