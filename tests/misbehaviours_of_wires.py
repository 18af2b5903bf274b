"""What goes wrong before there is a reply: statuses, redirects, sockets, bodies, streams."""

from __future__ import annotations

import gzip

from tests.misbehaviour import NO_MODE, PLAIN, TOLD, Case, bad, said
from tests.rough_endpoint import Wire, http, stream

STATUSES = {
    f"status {number}": Case((bad(number),) * 3, "refused", says=f"status {number}",
                             requests=3 if number in NO_MODE else 1)
    for number in (400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 413, 415, 418, 422, 425, 429, 431, 451,
                   500, 501, 502, 503, 504, 507, 520, 529)
}  # fmt: skip
RETRIES = {
    "429, wait 0 s, then well": Case((bad(429, retry_after="0"),), "taken", requests=2, retries=1),
    "429, wait a moment, then well": Case((bad(429, retry_after_ms="20"),), "taken", requests=2, retries=1),
    "429 without a time, then well": Case((bad(429),), "taken", requests=2, retries=1),
    "429, wait for a week": Case((bad(429, retry_after="604800"),), "refused", requests=1, retries=1),
    "429, wait until long ago": Case(
        (bad(429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),), "taken", requests=2, retries=1
    ),
    "429, wait a negative time": Case((bad(429, retry_after="-5"),), "taken", requests=2, retries=1),
    "429, wait nonsense": Case((bad(429, retry_after="soon; rm -rf"),), "taken", requests=2, retries=1),
    "429 for ever": Case((bad(429, retry_after_ms="1"),) * 9, "refused", requests=3, retries=2),
    "500 for ever": Case((bad(500, retry_after_ms="1"),) * 9, "refused", requests=3, retries=2),
    "503, then well": Case((bad(503, retry_after_ms="1"),), "taken", requests=2, retries=1),
    "400 which it says to try again": Case((bad(400, x_should_retry="false"),) * 3, "refused", requests=3),
}
REDIRECTS = {
    f"redirect {number} to itself": Case(
        (http("", status=f"{number} Found", location="/v1/chat/completions"),) * 30, "refused"
    )
    for number in (301, 302, 307, 308)
} | {
    "redirect to a file": Case((http("", status="307 Found", location="file:///etc/passwd"),), "refused"),
    "redirect to nowhere": Case((http("", status="307 Found", location="http://127.0.0.1:9/"),), "refused"),
    "redirect without a place": Case((http("", status="307 Found"),), "refused"),
}
SOCKETS = {
    "hangs up at once": Case((Wire(()),), "refused"),
    "hangs up rudely": Case((Wire((), slams=True),), "refused"),
    "hangs up in the head": Case((Wire((b"HTTP/1.1 200 OK\r\ncontent-",)),), "refused"),
    "hangs up in the body": Case((http(TOLD[:99], content_length="5000"),), "refused", says="broke off"),
    "speaks no HTTP": Case((Wire((b"220 smtp ready\r\n",)),), "refused"),
    "speaks TLS": Case((Wire((b"\x16\x03\x01\x02\x00\x01\x00",)),), "refused"),
    "says nothing": Case((Wire((b"",), pause=1.5),), "refused", says="no whole answer", timeout_s=0.3),
    "drips": Case(
        (stream(b" ", pause=0.02, endless=True),), "refused", says="no whole answer", timeout_s=0.3
    ),
    "claims to be compressed": Case((http(TOLD, content_encoding="gzip"),), "refused"),
    "a bomb of zeros": Case((http(gzip.compress(b"0" * 20_000_000), content_encoding="gzip"),)),
    "chunks of no size": Case((http("zz\r\nhello", transfer_encoding="chunked"),), "refused"),
    "a head without end": Case((Wire((b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 500_000,)),), "refused"),
    "compressed, and well": Case((http(gzip.compress(TOLD.encode()), content_encoding="gzip"),), "taken"),
}
BODIES = {
    "an empty body": Case((http(""),)),
    "blanks": Case((http(" \n " * 50),)),
    "204 and nothing": Case((http("", status="204 No Content"),)),
    "a page": Case((http("<!doctype html><script>alert(1)</script>", kind="text/html"),)),
    "a good reply called a page": Case((http(TOLD, kind="text/html"),), "taken"),
    "a good reply of no kind": Case((http(TOLD, kind=""),), "taken"),
    "half of a reply": Case((http(TOLD[: len(TOLD) // 2]),)),
    "a reply and a half": Case((http(TOLD + TOLD[:50]),)),
    "two megabytes": Case((http("x" * 2_000_000),), says="longer than"),
    "two megabytes of a reply": Case((said("x" * 2_000_000),), says="longer than"),
    "no UTF-8": Case((http(b'{"choices": "\xff\xfe\xc3\x28"}'),)),
    "UTF-16": Case((http(TOLD.encode("utf-16")),), "taken"),
    "zeros": Case((http(b"\0" * 5000),)),
    "null": Case((http("null"),)),
    "true": Case((http("true"),)),
    "a number": Case((http("42"),)),
    "NaN": Case((http("NaN"),)),
    "a string": Case((http('"well"'),)),
    "a list": Case((http(f"[{TOLD}]"),)),
    "depth": Case((http('{"a":' * 100_000),)),
    "depth of lists": Case((http("[" * 200_000),)),
    "a huge number": Case((http('{"choices": [' + "9" * 100_000 + "]}"),)),
    "choices twice, the last empty": Case((http(TOLD[:-1] + ', "choices": []}'),)),
}
_READ = [line for line in PLAIN if "[DONE]" not in line]
STREAMS = {
    "a stream without DONE": Case((stream(*_READ),), "taken", streams=True),
    "a stream with line ends of Windows": Case(
        (stream(*[line.replace("\n", "\r\n") for line in PLAIN]),), "taken", streams=True
    ),
    "a stream called JSON": Case((stream(*PLAIN, kind="application/json"),), "taken", streams=True),
    "a whole reply instead of a stream": Case((http(TOLD),), "taken", streams=True),
    "comments between": Case(
        (stream(*[part for line in PLAIN for part in (": keep-alive\n\n", line)]),), "taken", streams=True
    ),
    "a stream that breaks off": Case((stream(*PLAIN[:4]),), streams=True, says="broke off"),
    "a stream that is reset": Case(
        (stream(*PLAIN[:4], pause=0.01, slams=True),), "refused", streams=True, says="broke off"
    ),
    "garbage in a stream": Case(
        (stream(PLAIN[0], "data: {oops\n\n", *PLAIN[1:]),), "taken", streams=True
    ),
    "nothing but garbage": Case((stream(*["data: {oops\n\n"] * 20),), streams=True),
    "no UTF-8 in a stream": Case((stream(b"data: \xff\xfe\n\n", *PLAIN),), "taken", streams=True),
    "lists in a stream": Case((stream("data: [1]\n\n", "data: null\n\n"),), streams=True),
    "an empty stream": Case((stream("data: [DONE]\n\n"),), streams=True),
    "comments alone": Case((stream(": hello\n\n", ": hello\n\n"),), streams=True),
    "an error in a stream": Case(
        (stream(*PLAIN[:3], 'data: {"error": {"message": "overloaded"}}\n\n'),),
        streams=True,
        says="overloaded",
    ),
    "an error alone in a stream": Case(
        (stream('data: {"error": {"message": "m", "code": 503}}\n\n'),), "refused", streams=True, says="503"
    ),
    "depth in a stream": Case((stream(f"data: {'[' * 100_000}\n\n"),), streams=True),
    "a line without end": Case((stream("data: " + "x" * 1_200_000),), streams=True, says="longer than"),
    "a refusal in a stream": Case(
        (stream('data: {"choices": [{"index": 0, "delta": {"refusal": "no"}}]}\n\n', "data: [DONE]\n\n"),),
        streams=True,
        says="refused",
    ),
    "comments for ever": Case(
        (stream(": still there\n\n", endless=True),), "refused", streams=True, timeout_s=0.3, says="no whole"
    ),
    "empty pieces for ever": Case(
        (stream(PLAIN[0], endless=True),), "refused", streams=True, timeout_s=0.3, says="no whole"
    ),
    "tool calls in a stream": Case(
        (
            stream(
                'data: {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "1", '
                '"function": {"name": "plan", "arguments": "{}"}}]}}]}\n\n',
                "data: [DONE]\n\n",
            ),
        ),
        streams=True,
    ),
}  # fmt: skip
