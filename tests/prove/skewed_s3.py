"""An S3 server whose clock is an hour off, as its clients see it: in front of the lab's own, it sets the time of each request back by an hour.

    python3 skewed_s3.py PORT TARGET-PORT CERTIFICATE KEY      run in the network of the S3 server (nsenter); ends with its standard input

A server compares a request's time with its own clock before it looks at the signature, so the answer is the real server's: RequestTimeTooSkewed.
"""

from __future__ import annotations

import http.client
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOUR = 3600
AMZ = "%Y%m%dT%H%M%SZ"


class Handler(BaseHTTPRequestHandler):
    """Hands requests on."""

    protocol_version = "HTTP/1.1"
    target = 0

    def _hand_on(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "expect")}
        for name in list(headers):
            if name.lower() == "x-amz-date":
                headers[name] = time.strftime(AMZ, time.gmtime(time.time() - HOUR))
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is the next process
        connection = http.client.HTTPSConnection("127.0.0.1", self.target, timeout=60, context=context)
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _hand_on

    def log_message(self, *_args: object) -> None:
        pass


def main(port: str, target: str, certificate: str, key: str) -> None:
    Handler.target = int(target)
    server = ThreadingHTTPServer(("0.0.0.0", int(port)), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
