"""As much of DynamoDB as the guide's store needs: put if it is not there, get, delete."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def serve(items: dict[str, Any]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            act = self.headers["X-Amz-Target"].rpartition(".")[2]
            status, answer = perform(items, act, asked)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def perform(items: dict[str, Any], act: str, asked: Any) -> tuple[int, Any]:
    if act == "PutItem":
        key = asked["Item"]["id"]["S"]
        if condition := asked.get("ConditionExpression"):
            assert condition == "attribute_not_exists(id) OR #until <= :now"
            now = int(asked["ExpressionAttributeValues"][":now"]["N"])
            if key in items and int(items[key]["until"]["N"]) > now:
                fault = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
                return 400, {"__type": fault, "message": "The conditional request failed"}
        items[key] = asked["Item"]
        return 200, {}
    key = asked["Key"]["id"]["S"]
    if act == "GetItem":
        return 200, {"Item": items[key]} if key in items else {}
    items.pop(key, None)
    return 200, {}
