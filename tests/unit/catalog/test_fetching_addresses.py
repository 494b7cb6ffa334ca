"""Where the address of a picture may lead."""

import asyncio
import ipaddress
import socket
import threading

import pytest

from services.catalog.jobs.fetching.addresses import UnfetchableError, is_outside, place_of
from services.catalog.jobs.fetching.download import Limits, download
from tests.backends.pictures import PictureServer

LIMITS = Limits(seconds=5, redirects=3, bytes=2**20)


def got(server, path, limits=LIMITS):
    return asyncio.run(download(f"{server.url}/{path}", limits, [server.authority]))


@pytest.fixture(scope="module")
def server():
    found = PictureServer()
    yield found
    found.close()


@pytest.fixture
def names(monkeypatch):
    """What names resolve to; numbers are themselves."""
    known = {}
    real = socket.getaddrinfo

    def resolve(host, port, *rest, **more):
        if host not in known:
            return real(host, port, *rest, flags=socket.AI_NUMERICHOST, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, port)) for number in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


@pytest.mark.parametrize(
    ("number", "outside"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        (str(ipaddress.IPv4Address(0)), False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2001:0:7f00:1::", False),
        ("64:ff9b:1::7f00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("::7f00:1", False),
        ("fec0::1", False),
        ("2001:db8::1", False),
        ("192.0.0.9", False),
    ],
)
def test_only_numbers_of_the_public_internet_are_outside(number, outside):
    assert is_outside(number) is outside


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ftp://example.com/a.png", "BAD_ADDRESS"),
        ("file:///etc/passwd", "BAD_ADDRESS"),
        ("https://user:word@example.com/a.png", "BAD_ADDRESS"),
        ("http://", "BAD_ADDRESS"),
        ("http://[::1/a.png", "BAD_ADDRESS"),
        ("http://93.184.216.34:22/", "ADDRESS_REFUSED"),
        ("https://93.184.216.34:80/", "ADDRESS_REFUSED"),
        ("http://127.0.0.1/a.png", "ADDRESS_REFUSED"),
        ("http://[::1]/a.png", "ADDRESS_REFUSED"),
        ("http://[::ffff:127.0.0.1]/a.png", "ADDRESS_REFUSED"),
        ("http://2130706433/a.png", "ADDRESS_REFUSED"),
        ("http://0x7f.1/a.png", "ADDRESS_REFUSED"),
        ("http://127.1/a.png", "ADDRESS_REFUSED"),
        ("http://169.254.169.254/latest/meta-data/", "ADDRESS_REFUSED"),
        ("http://inside.example/a.png", "ADDRESS_REFUSED"),
        ("http://half.example/a.png", "ADDRESS_REFUSED"),
        ("http://nowhere.example/a.png", "UNKNOWN_HOST"),
    ],
)
def test_an_address_that_leads_inside_or_nowhere_is_not_asked(names, address, reason):
    names |= {"inside.example": ["127.0.0.1"], "half.example": ["93.184.216.34", "10.0.0.1"]}
    with pytest.raises(UnfetchableError) as refused:
        place_of(address, ())
    assert refused.value.reason == reason
    assert refused.value.passing == (reason == "UNKNOWN_HOST")


def test_a_name_of_this_machine_leads_inside():
    with pytest.raises(UnfetchableError) as refused:
        place_of("http://localhost/a.png", ())
    assert refused.value.reason == "ADDRESS_REFUSED"


def test_a_name_that_is_not_ascii_is_asked_for_as_it_is_resolved(names):
    names["xn--fiqs8s.example"] = ["93.184.216.34"]
    place = place_of("http://中国.example/图.png", ())
    assert (place.host, place.authority) == ("xn--fiqs8s.example", "xn--fiqs8s.example")
    assert str(place.url) == "http://93.184.216.34/%E5%9B%BE.png"


def test_a_name_that_answers_otherwise_the_second_time_leads_nowhere(names):
    """DNS rebinding: outside when it is looked at, inside when it is connected to."""
    names["rebinding.example"] = ["93.184.216.34"]
    place = place_of("http://rebinding.example/a.png", ())
    names["rebinding.example"] = ["127.0.0.1"]
    assert place.url.host == "93.184.216.34"


def test_the_connection_goes_to_the_number_that_was_looked_at_under_the_name_that_was_given(names):
    names["pictures.example"] = ["93.184.216.34"]
    place = place_of("https://pictures.example/a.png?x=1#top", ())
    assert str(place.url) == "https://93.184.216.34/a.png?x=1"
    assert (place.host, place.authority) == ("pictures.example", "pictures.example")


def test_an_inside_server_is_asked_where_the_installation_allows_it(server):
    assert got(server, "ok/1.png").startswith(b"\x89PNG")
    assert got(server, "to/ok/1.png").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("path", "reason", "passing"),
    [
        ("gone", "REFUSED_THERE", False),
        ("busy/{}", "REFUSED_THERE", True),
        ("huge", "TOO_LARGE", False),
        ("to/http://169.254.169.254/latest/", "ADDRESS_REFUSED", False),
        ("to/http://127.0.0.1:1/", "ADDRESS_REFUSED", False),
        ("to/file:///etc/passwd", "BAD_ADDRESS", False),
        ("to/http://pictures.example:port/", "NO_ANSWER", True),
        ("to/http://localhost/", "ADDRESS_REFUSED", False),
        ("to/to/to/to/to/ok/1.png", "TOO_MANY_REDIRECTS", False),
    ],
)
def test_what_no_picture_comes_of_is_told(server, path, reason, passing):
    with pytest.raises(UnfetchableError) as refused:
        got(server, path.format(server.asked.total()))
    assert (refused.value.reason, refused.value.passing) == (reason, passing)


@pytest.mark.parametrize("path", ["slow", "drip"])
def test_a_server_that_drips_its_body_or_its_headers_is_left_after_a_while(server, path):
    with pytest.raises(UnfetchableError) as refused:
        got(server, path, Limits(0.5, 3, 2**20))
    assert (refused.value.reason, refused.value.passing) == ("TOO_SLOW", True)


def test_a_server_that_speaks_something_else_gives_no_picture():
    with socket.create_server(("127.0.0.1", 0)) as other:
        authority = f"127.0.0.1:{other.getsockname()[1]}"

        def speak():
            with other.accept()[0] as line:
                line.recv(4096)
                line.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        speaking = threading.Thread(target=speak)
        speaking.start()
        with pytest.raises(UnfetchableError, match="did not answer"):
            asyncio.run(download(f"http://{authority}/a.png", LIMITS, [authority]))
        speaking.join()
