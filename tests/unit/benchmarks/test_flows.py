from collections import Counter

import pytest
from benchmarks.flows import Job, Target, build, listed_key
from benchmarks.wire import Request, Response, WireError

TARGET = Target("127.0.0.1", 9, "access", "secret")


def job(op: str, **more: object) -> Job:
    return Job(TARGET, op, "bucket", "p/", **more)  # type: ignore[arg-type]  # tests name the fields they need


def lines(requests: list[Request]) -> list[str]:
    return [request.head.split(b"\r\n")[0].decode() for request in requests]


def test_listed_keys_sort_as_they_are_numbered() -> None:
    keys = [listed_key("list/", number, 1234) for number in range(1234)]
    assert keys == sorted(keys, key=str.encode)
    assert len({key.split("/")[1] for key in keys}) == 10


def test_workers_of_a_fill_share_every_key_once() -> None:
    found = [
        line
        for worker in range(3)
        for line in lines(list(build(job("fill", keys=100, first=7, worker=worker, workers=3))[0]))
    ]
    assert sorted(found) == [f"PUT /bucket/p/{number:09d} HTTP/1.1" for number in range(7, 107)]


def test_deletes_name_exactly_what_the_puts_wrote() -> None:
    put = build(job("put", worker=1, workers=2))[0]
    written = lines([next(put) for _ in range(5)])
    deleted = lines(list(build(job("delete", worker=1, workers=2, limits=(0, 5)))[0]))
    assert [line.replace("PUT", "DELETE") for line in written] == deleted


def test_list_pages_differ_and_are_full() -> None:
    flow = build(job("list", list_bucket="listed", list_keys=1500))[0]
    pages = lines([next(flow) for _ in range(500)])
    assert len(set(pages)) == 500
    last = max(int(line.split("start-after=")[1].split(" ")[0].split("%2F")[-1]) for line in pages)
    assert last + 1000 < 1500


def test_mixed_is_seventy_twenty_five_five() -> None:
    flow = build(job("mixed", keys=10, list_bucket="listed", list_keys=1500, seconds=0.1))[0]
    requests = [next(flow) for _ in range(1000)]
    kinds = Counter("LIST" if b"list-type" in r.head else r.head.split(b" ")[0].decode() for r in requests)
    assert kinds == {"GET": 700, "PUT": 200, "DELETE": 50, "LIST": 50}


def test_multipart_is_one_operation_of_begin_parts_and_completion() -> None:
    flow = build(job("multipart", size_bytes=16 * 1024 * 1024))[0]
    sent = [next(flow)]
    answers = [
        Response(200, 0, b"", b"<R><UploadId>u1</UploadId></R>"),
        Response(200, 0, b'HTTP/1.1 200 OK\r\nETag: "a"\r\n'),
        Response(200, 0, b'HTTP/1.1 200 OK\r\netag:"b"\r\n'),
    ]
    sent += [flow.send(answer) for answer in answers]
    assert [request.last for request in sent] == [False, False, False, True]
    assert sent[3].body is not None
    assert b'<PartNumber>1</PartNumber><ETag>"a"</ETag></Part>' in bytes(sent[3].body)
    assert b'<PartNumber>2</PartNumber><ETag>"b"</ETag></Part>' in bytes(sent[3].body)
    with pytest.raises(WireError):
        flow.send(Response(200, 0, b"", b"<Error><Code>InternalError</Code></Error>"))
