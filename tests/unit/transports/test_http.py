"""One HTTP stream: complete responses from bytes, and clear errors from anything else."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest

from sansio_socketio.protocol.errors import TransportError, message_of
from sansio_socketio.protocol.transports.http import (
    BLOCK,
    MAX_EXCERPT,
    Exchange,
    Response,
    refusal,
    unreachable,
)
from sansio_socketio.protocol.url import parse_url
from sansio_socketio.runtime import combine_errors
from tests.unit.transports.rig import TransportRig, chunked, http_response

LIMIT = 1000
CHAT = parse_url("http://chat.test")
NOT_OFFERED = "the server does not offer this transport (see the option `transports`)"


def exchange() -> Exchange:
    stream = Exchange("chat.test:80")
    stream.request("GET", "/", [(b"Host", b"localhost")], b"", LIMIT)
    return stream


def receive(data: bytes) -> Response:
    received = exchange().receive(data)
    assert received is not None
    return received


def error_of(data: bytes) -> TransportError:
    with pytest.raises(TransportError) as caught:
        exchange().receive(data)
    return caught.value


def coded(coding: bytes, body: bytes) -> bytes:
    return http_response(body, b"Content-Encoding: " + coding)


def raw_deflate(body: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(body) + deflater.flush()


def test_a_request_is_written_with_headers_and_body() -> None:
    stream = Exchange("chat.test:80")
    parts = stream.request("POST", "/a?b", [(b"Host", b"localhost"), (b"Content-Length", b"3")], b"xyz", LIMIT)
    assert parts == [b"POST /a?b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n", b"xyz"]


def failed_to_connect(cause: BaseException) -> OSError:
    """Return the error of trio or anyio if it could not connect to any address of a host."""
    error = OSError("all attempts to connect to localhost:1 failed")
    error.__cause__ = cause
    return error


REFUSED, UNREACHABLE = ConnectionRefusedError(111, "refused"), OSError(101, "no route")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (REFUSED, "connection refused"),
        (TimeoutError(), "TimeoutError"),
        (
            failed_to_connect(ExceptionGroup("", [REFUSED, UNREACHABLE, REFUSED])),
            "connection refused; [Errno 101] no route",
        ),
        (failed_to_connect(UNREACHABLE), "[Errno 101] no route"),
        (combine_errors([REFUSED, UNREACHABLE]), "connection refused; [Errno 101] no route"),
        (combine_errors([REFUSED, REFUSED]), "connection refused"),
        (OSError("all attempts failed"), "all attempts failed"),
    ],
)
def test_the_message_of_an_error_names_the_failure_of_each_address(error: OSError, shown: str) -> None:
    assert message_of(error) == shown


def test_a_large_body_is_not_copied() -> None:
    body = bytes(100_000)
    headers = [(b"Host", b"localhost"), (b"Content-Length", b"100000")]
    assert Exchange("chat.test:80").request("POST", "/", headers, body, LIMIT)[1] is body


@pytest.mark.parametrize(
    "data",
    [
        http_response(b"hello"),
        chunked(b"he", b"llo"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + http_response(b"hello"),
        b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
        coded(b"identity", b"hello"),
        coded(b"gzip", gzip.compress(b"hello", mtime=0)),
        coded(b"X-GZip", gzip.compress(b"hello", mtime=0)),
        coded(b"deflate", zlib.compress(b"hello")),
        coded(b"deflate", raw_deflate(b"hello")),
    ],
)
def test_bodies_are_decoded(data: bytes) -> None:
    assert receive(data).body == b"hello"


def test_an_empty_compressed_body_is_accepted() -> None:
    assert receive(coded(b"gzip", b"")).body == b""


def test_the_response_has_status_and_headers() -> None:
    received = receive(http_response(b"", b"X-A: 1", b"x-a: 2", status=b"404 Not Found"))
    assert received.status == 404
    assert received.header(b"x-a") == b"1, 2"
    assert received.header(b"x-b") == b""


def test_a_body_without_a_length_ends_with_the_stream() -> None:
    stream = exchange()
    assert stream.receive(b"HTTP/1.0 200 OK\r\n\r\nhel") is None
    assert stream.receive(memoryview(b"lo")) is None
    received = stream.receive_eof()
    assert received is not None
    assert received.body == b"hello"


def test_empty_data_does_not_end_the_response() -> None:
    stream = exchange()
    assert stream.receive(b"") is None
    assert stream.receive(http_response(b"hello")) is not None


def test_the_stream_is_reused_for_the_next_request() -> None:
    stream = exchange()
    assert stream.receive(http_response(b"one")) is not None
    assert stream.recycle()
    stream.request("GET", "/", [(b"Host", b"localhost")], b"", LIMIT)
    received = stream.receive(http_response(b"two"))
    assert received is not None
    assert received.body == b"two"


@pytest.mark.parametrize(
    "data",
    [
        http_response(b"x", b"Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
        http_response(b"x") + b"\n",
        http_response(b"x") + http_response(b"another"),
        chunked(b"x") + bytes(BLOCK),
        http_response(bytes(1000)).ljust(BLOCK, b"x") + b"x",
    ],
)
def test_a_stream_is_not_reused_after_some_responses(data: bytes) -> None:
    stream = exchange()
    assert stream.receive(data) is not None
    assert not stream.recycle()


def test_bytes_after_the_last_response_of_a_stream_are_ignored() -> None:
    assert receive(http_response(b"x", b"Connection: close") + b"garbage").body == b"x"


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
@pytest.mark.parametrize(
    ("coding", "compress"), [(b"identity", bytes), (b"gzip", gzip.compress), (b"deflate", zlib.compress)]
)
def test_a_body_larger_than_max_message_size_is_a_transport_error(
    size: int, coding: bytes, compress: Callable[[bytes], bytes]
) -> None:
    data = coded(coding, compress(bytes(size)))
    if size <= LIMIT:
        assert len(receive(data).body) == size
    else:
        error = error_of(data)
        assert str(error) == ("chat.test:80 sent an HTTP body larger than max_message_size (1000 bytes)")
        assert error.status == 200


def test_an_endless_body_fails_at_max_message_size() -> None:
    stream = exchange()
    assert stream.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") is None
    for _ in range(10):
        assert stream.receive(b"64\r\n" + bytes(100) + b"\r\n") is None
    with pytest.raises(TransportError, match="larger than max_message_size"):
        stream.receive(b"64\r\n" + bytes(100) + b"\r\n")


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("chunk", [1, 999, BLOCK - 1, 100_000])
@pytest.mark.parametrize(
    ("data", "is_valid"),
    [
        (http_response(b"", b"A: " + b"a" * 16_000), True),
        (http_response(b"", b"A: " + b"a" * BLOCK), False),
        (CHUNKED + b"1;" + b"x" * 16_000 + b"\r\na\r\n0\r\n\r\n", True),
        (CHUNKED + b"1;" + b"x" * 2 * BLOCK + b"\r\na\r\n0\r\n\r\n", False),
        (CHUNKED + b"1\r\na\r\n0\r\nA: " + b"a" * 16_000 + b"\r\n\r\n", True),
        (CHUNKED + b"1\r\na\r\n0\r\nA: " + b"a" * 2 * BLOCK + b"\r\n\r\n", False),
        (b"HTTP/1.1 103 Hints\r\n\r\n" * 1000 + http_response(b""), True),
        (CHUNKED + b"1\r\na\r\n" * 900 + b"0\r\n\r\n", True),
    ],
)
def test_the_size_of_headers_and_chunk_metadata_is_bounded_in_any_chunking(
    data: bytes, is_valid: bool, chunk: int
) -> None:
    stream = exchange()

    def feed() -> Response | None:
        parts = [stream.receive(data[start : start + chunk]) for start in range(0, len(data), chunk)]
        return parts[-1]

    if is_valid:
        assert feed() is not None
        assert stream.recycle()
    else:
        with pytest.raises(TransportError, match=r"too long \(16384 bytes are accepted\)"):
            feed()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "illegal status line"),
        (
            b"\x15\x03\x03\x00\x02\x02\x46",
            "illegal status line; the server uses TLS on this port: use https:// or wss://$",
        ),
        (b"HTTP/1.1 200 OK\r\nno header\r\n\r\n", "illegal header line$"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "illegal chunk header$"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "without a pending proposal"),
        (coded(b"br", b"x"), "unsupported Content-Encoding br; gzip and deflate are supported"),
        (coded(b"gzip, gzip", b"x"), "unsupported Content-Encoding; gzip and deflate are supported"),
        (coded(b"gzip", b"not gzip"), "cannot be decompressed"),
        (coded(b"gzip", gzip.compress(b"hello", mtime=0)[:-1]), "its length is wrong"),
        (coded(b"gzip", gzip.compress(b"hello", mtime=0) + b"x"), "its length is wrong"),
        (coded(b"deflate", b"\xff"), "cannot be decompressed"),
        (coded(b"deflate", b"\x78"), "cannot be decompressed"),
    ],
)
def test_an_invalid_response_is_a_transport_error(data: bytes, expected: str) -> None:
    with pytest.raises(TransportError, match=expected):
        exchange().receive(data)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 2", http_response(b"hello")[:-1], chunked(b"hello")[:-5]])
def test_a_truncated_response_is_a_transport_error(data: bytes) -> None:
    stream = exchange()
    assert stream.receive(data) is None
    with pytest.raises(TransportError) as caught:
        stream.receive_eof()
    assert str(caught.value) == "chat.test:80 closed the stream before its HTTP response was complete"


def test_an_invalid_compressed_body_fails_at_the_end_of_the_stream() -> None:
    stream = exchange()
    assert stream.receive(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip") is None
    with pytest.raises(TransportError, match="cannot be decompressed"):
        stream.receive_eof()


def test_the_end_of_an_idle_stream_is_not_a_response() -> None:
    stream = exchange()
    assert stream.receive(http_response(b"x")) is not None
    assert stream.recycle()
    with pytest.raises(TransportError, match="closed the stream"):
        stream.receive_eof()


@pytest.mark.parametrize("start", [b"\x16", b" ", b"\r", b"\n", b"\r\n", b"x", b"RTSP/1.0 200 OK\r\n"])
def test_an_invalid_status_line_has_one_message_in_any_chunking(start: bytes) -> None:
    data = start + b"HTTP/1.1 200 OK\r\n\r\n"
    stream = exchange()

    def feed() -> None:
        for byte in data:
            stream.receive(bytes([byte]))

    with pytest.raises(TransportError, match="is invalid: illegal status line") as caught:
        feed()
    assert str(caught.value) == str(error_of(data))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b'{"code":1,"message":"Session ID unknown"}', "with HTTP status 400: Session ID unknown (code 1)"),
        (409, b'{"message":"go away"}', "with HTTP status 409: go away"),
        (400, b'{"code":1}', "with HTTP status 400"),
        (400, b'{"message":1}', "with HTTP status 400"),
        (500, b"[1]", "with HTTP status 500"),
        (
            502,
            b"<h1>Bad Gateway</h1>",
            "with HTTP status 502; it is a proxy or gateway that could not reach the server behind it",
        ),
        (400, b'{"message":"bad /?token=s3cret, why?"}', "with HTTP status 400: bad /?*** why?"),
        (
            400,
            b'{"code":0,"message":"Transport unknown"}',
            f"with HTTP status 400: Transport unknown (code 0); {NOT_OFFERED}",
        ),
        (404, b"", "with HTTP status 404; does the server use another path (the option `path`)?"),
        (413, b"", "with HTTP status 413; the message is larger than the server accepts"),
    ],
)
def test_a_refusal_shows_the_status_and_the_message_of_the_server(status: int, body: bytes, expected: str) -> None:
    error = refusal(CHAT, "a GET request", status, body)
    assert str(error) == f"chat.test:80 responded to a GET request {expected}"
    assert (error.status, error.body) == (status, body.decode())


def test_the_refusal_of_a_path_says_what_the_path_of_the_url_is() -> None:
    error = refusal(parse_url("http://chat.test/ws/?token=s3cret"), "a GET request", 404, b"")
    assert str(error).endswith("(the option `path`)? In the URL, '/ws/' names a namespace")


def test_the_body_of_a_refusal_is_truncated_and_decoded_leniently() -> None:
    assert refusal(CHAT, "it", 500, b"\xff" + bytes(MAX_EXCERPT)).body == "\ufffd" + "\0" * (MAX_EXCERPT - 1)


@pytest.mark.parametrize(
    ("status", "location", "shown"),
    [
        (301, b"https://chat.test/socket.io/?EIO=4&token=s3cret", "https://chat.test/socket.io/?EIO=***&token=***"),
        (302, b"/login?next=%2Fsocket.io", "/login?next=***"),
        (308, b"//user:s3cret@chat.test/#s3cret", "//***@chat.test/#***"),
        (307, b"/" + b"a" * 300, "/" + "a" * 199),
    ],
)
def test_a_redirect_shows_its_location_without_secrets(status: int, location: bytes, shown: str) -> None:
    error = refusal(CHAT, "a GET request", status, b"", location)
    assert f"with HTTP status {status}; it redirects to '{shown}', which is not followed" in str(error)


@pytest.mark.parametrize("status", [200, 201, 404])
def test_a_location_is_shown_for_redirects_only(status: int) -> None:
    assert "/there" not in str(refusal(CHAT, "a GET request", status, b"", b"/there"))


# Streams that cannot be opened


def test_a_refused_connection_is_shown_alike_for_every_runtime() -> None:
    refused = ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 4999)")
    error = unreachable("127.0.0.1:4999", refused)
    hint = "is the server running at this host and port?"
    assert str(error) == f"could not connect to 127.0.0.1:4999: connection refused; {hint}"
    assert error.__cause__ is refused
    assert hint not in str(unreachable("far.test", combine_errors([refused, OSError(101, "no route")])))


def test_the_error_has_the_status_and_body_of_the_proxy() -> None:
    refused = TransportError("the proxy refuses", status=403, body="not you!")
    error = unreachable("far.test", refused)
    assert (str(error), error.status, error.body) == (
        "could not connect to far.test: the proxy refuses",
        403,
        "not you!",
    )
    assert error.__cause__ is refused
    other = unreachable("far.test", OSError("no route"))
    assert (other.status, other.body) == (None, None)


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError()])
@pytest.mark.parametrize("name", ["polling", "websocket"])
def test_an_error_without_a_message_is_shown_by_its_type(name: str, error: Exception) -> None:
    opening, broken = TransportRig(name), TransportRig(name)
    for rig in (opening, broken):
        rig.open()
    opening.stream_failed(1, error)
    broken.stream_opened(1)
    broken.eof(1, error)
    for rig in (opening, broken):
        assert type(error).__name__ in str(rig.failure())
