"""A small orchestrator. Its one agent greets, calls a tool of the client, asks for an approval, and ends.

    python3 orchestrator.py [PORT [GATEWAY]]

It listens on 127.0.0.1:PORT (8081) and pushes to the internal port of the gateway, GATEWAY (http://127.0.0.1:8091).
"""

import http.server
import json
import queue
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8081
GATEWAY = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8091"

runs = {}  # by the request that started them: what is started twice runs once
lock = threading.Lock()


class Cancelled(Exception):
    pass


class Refused(Exception):
    pass


class Run:
    def __init__(self, started):
        self.id = "run_" + uuid.uuid4().hex[:8]
        self.session = started["session_id"]
        self.words = started["input_message"]["content"]
        self.answers = {}  # by the id of what was asked; the first counts
        self.inbox = queue.Queue()
        threading.Thread(target=self.work, daemon=True).start()

    def push(self, kind, **fields):
        """Pushes until it has arrived. The event_id lets the gateway apply it once."""
        event = {"type": kind, "run_id": self.id, "ts": int(time.time() * 1000), "event_id": str(uuid.uuid4()), **fields}
        body = json.dumps({"session_id": self.session, "event": event}).encode()
        request = urllib.request.Request(GATEWAY + "/internal/send", body, {"Content-Type": "application/json"})
        while True:
            try:
                return json.load(urllib.request.urlopen(request, timeout=5))
            except urllib.error.HTTPError as error:
                if error.code != 503 and error.code != 429:  # 404, 409: the run is not wanted any more
                    raise Refused(json.load(error)["error"])
            except OSError:
                pass  # the gateway is away: it will be back
            time.sleep(1)

    def ask(self, kind, id, **fields):
        self.push(kind, **fields)
        while True:
            answered, answer = self.inbox.get()
            if answered is None:
                try:
                    self.push("cancelled", reason="stopped by the orchestrator")
                except Refused:
                    pass  # a run that only waited has ended at once
                raise Cancelled
            if answered == id:
                return answer

    def work(self):
        try:
            for word in ["Hello ", "from ", "the ", "agent. "]:
                self.push("delta", text=word)
            call, approval = "tc_" + self.id, "ap_" + self.id
            place = self.ask("tool_request", call, tool_call_id=call, tool_name="where_am_i", args={"words": self.words})
            verdict = self.ask("approval_required", approval, approval_id=approval, tool_name="publish", args_summary="publish the place")
            self.push("done", output={"place": place.get("result"), "approved": verdict["decision"] == "approve"})
        except Cancelled:
            print("stopped", self.id, file=sys.stderr, flush=True)
        except Refused as refused:
            print("gave up", self.id, refused, file=sys.stderr, flush=True)


class Api(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        parts = self.path.strip("/").split("/")
        if parts[1:] == ["invoke"]:
            with lock:
                run = runs.get(body["request_id"]) or runs.setdefault(body["request_id"], Run(body))
            return self.answer({"run_id": run.id, "session_id": run.session, "agent_id": body["agent_id"]})
        kind, id = parts[1], parts[2]
        for run in list(runs.values()):
            if kind == "runs" and run.id == id:
                run.inbox.put((None, None))
                return self.answer({"run_id": id, "status": "CANCELLED", "message": ""})
            if id.endswith(run.id):
                if id not in run.answers:
                    run.answers[id] = body
                    run.inbox.put((id, body))
                return self.answer(run.answers[id])
        self.answer({"error": "unknown"}, 404)

    def answer(self, body, status=200):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        print(self.command, self.path, file=sys.stderr, flush=True)


server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Api)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
