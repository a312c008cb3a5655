"""An agent that uses the tools of whoever watches it: a worker in Python. See rungate.toml beside this file.

It looks at the client's clipboard, says what it finds as it writes it, and asks before it keeps a note. The clipboard and
the notes are the client's: the agent names a tool, and the client, wherever it is, does the work and answers.
"""

import json
import sys
import time


class Client:
    """Whoever has started the run, or watches it. What is asked of it is answered by a line on standard input."""

    def __init__(self):
        # {"run_id": …, "session_id": …, "pipeline_id": …, "params": {name: text}, "inputs": {key: output}}
        self.task = json.loads(sys.stdin.readline())
        self.asked = 0

    def say(self, kind, **fields):
        """Writes one message. Flushed, because a pipe is not: people want to see it now."""
        print(json.dumps({"type": kind, **fields}), flush=True)

    def write(self, text):
        """Writes a text in pieces, as a language model does."""
        for word in text.split(" "):
            self.say("delta", text=f"{word} ")
            time.sleep(0.02)

    def call(self, tool, **args):
        """Calls a tool of the client; gives its result. The run is WAITING_TOOL meanwhile."""
        name = self.new_name("call")
        self.say("tool_call", tool_call_id=name, tool_name=tool, args=args)
        answer = self.answer("tool_call_id", name)
        if answer["ok"]:
            return answer["result"]
        # tool_failed, tool_timeout, blocked, rejected: who runs the gateway may have a word in it, see [tools].
        raise ToolFailed(tool, answer["code"], answer["error"])

    def approves(self, tool, summary):
        """Asks whether something may be done; gives the decision. The run is WAITING_APPROVAL meanwhile."""
        name = self.new_name("approval")
        self.say("approval", approval_id=name, tool_name=tool, summary=summary)
        answer = self.answer("approval_id", name)
        # What nobody decides in time comes as a reject too, with the code approval_timeout.
        return answer["decision"] == "approve", answer["reason"]

    def new_name(self, kind):
        """Each request has a name of its own within the run."""
        self.asked += 1
        return f"{kind}-{self.asked}"

    def answer(self, field, name):
        """The answer to one request. This agent asks one thing at a time, so it is the next line."""
        line = sys.stdin.readline()
        if not line:
            sys.exit("the gateway is gone")
        answer = json.loads(line)
        assert answer[field] == name
        return answer


class ToolFailed(Exception):
    """A tool gave no result."""

    def __init__(self, tool, code, error):
        super().__init__(f"{tool}: {error}")
        self.retryable = code == "tool_timeout"


def work(client):
    # What a person says arrives in `user_input`: `rungate run agent --input …`, or the message of `agent_invoke`.
    wish = client.task["params"].get("user_input", "something")
    client.write(f"You want {wish}. I look at your clipboard.")
    words = str(client.call("read_clipboard", format="text")).split()
    longest = max(words, key=len, default="")
    client.write(f"It holds {len(words)} words; the longest is {longest!r}.")
    client.say("progress", percent=50, message="read the clipboard")
    note = f"{wish}: {longest}"
    approved, reason = client.approves("keep_note", f"keep the note {note!r}")
    if approved:
        client.call("keep_note", text=note)
        client.write("I have kept a note.")
    else:
        client.write(f"I keep nothing: {reason}." if reason else "I keep nothing.")
    client.say("result", output={"words": len(words), "kept": note if approved else None})


def main():
    client = Client()
    try:
        work(client)
    except ToolFailed as failed:
        client.say("error", message=str(failed), retryable=failed.retryable)


main()
