"""An HTTP server of one folder on the loopback: ranges, ETags, and faults on demand."""

from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote


class Server(ThreadingHTTPServer):
    """Serves `folder`; `requests` are the (status, Range) that it answered."""

    ranges = length = True
    dated = False
    etag = '"first"'
    shift = 0  # bytes by which a part is another than was asked for
    most = None  # bytes of a part

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.url = folder, f"http://127.0.0.1:{self.server_port}"
        self.requests: list[tuple[int, str | None]] = []
        self.breaks: list[int] = []  # bytes of the body after which the next answers break off
        self.answers: list[int] = []  # statuses of the next answers

    def __enter__(self) -> "Server":
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path, server, wanted = self.server.folder / unquote(self.path[1:]), self.server, self.headers["Range"]
        date = formatdate(0, usegmt=True) if server.dated else None
        if server.answers or not path.is_file():
            return self._begin(server.answers.pop(0) if server.answers else 404, {"Content-Length": 0})
        body, status, headers = path.read_bytes(), 200, {"ETag": server.etag, "Last-Modified": date}
        if wanted and server.ranges and self.headers["If-Range"] in (server.etag or date, None):
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) + server.shift
            if start >= len(body):
                return self._begin(416, {"Content-Length": 0})
            part, status = body[start:][: server.most], 206
            headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(body)}"
            body = part
        self._begin(status, headers | ({"Content-Length": len(body)} if server.length else {}))
        self.wfile.write(body[: server.breaks.pop(0) if server.breaks else None])

    def _begin(self, status: int, headers: dict) -> None:
        self.server.requests.append((status, self.headers["Range"]))
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()

    def log_message(self, *_) -> None:
        pass
