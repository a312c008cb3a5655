"""Counts to n: a worker in Python. See rungate.toml beside this file.

A worker reads one line of JSON from standard input and writes lines of JSON to standard output. What it writes to
standard error, and every line that is no such message, becomes a line of the run's log.
"""

import json
import signal
import sys
import time

stop = False


def say(kind, **fields):
    """Writes one message. Flushed, because a pipe is not: people want to see it now."""
    print(json.dumps({"type": kind, **fields}), flush=True)


def on_terminate(_signal, _frame):
    """Whoever cancels the run, or a time limit, sends SIGTERM. There are a few seconds for last words."""
    global stop
    stop = True


def ask(prompt):
    """Asks the person who watches the run, and waits for the answer. The run waits too, however long it takes."""
    say("input", request_id="how-far", prompt=prompt)
    # One line is read at a time: standard input stays open, so reading to its end would wait for ever. It ends when the
    # gateway is gone.
    line = sys.stdin.readline()
    return json.loads(line)["text"] if line else None


def number(text):
    """A whole number out of what a person wrote."""
    try:
        return min(max(int(text), 1), 1000)
    except (TypeError, ValueError):
        say("error", message=f"{text!r} is no number", retryable=False)
        sys.exit(1)


def graph(count):
    """What can be drawn of the work: a chain of numbers."""
    nodes = [{"uid": str(it), "label": str(it)} for it in range(1, count + 1)]
    edges = [{"from": str(it), "to": str(it + 1)} for it in range(1, count)]
    return {"phase": "count", "graph": {"nodes": nodes, "edges": edges}}


def main():
    signal.signal(signal.SIGTERM, on_terminate)
    # {"run_id": …, "session_id": …, "pipeline_id": …, "params": {name: text}, "inputs": {key: output}}
    task = json.loads(sys.stdin.readline())
    text = task["params"].get("n")
    if text is None:
        text = ask("How far shall I count?")
    n = number(text)
    say("log", message=f"counting to {n}")
    for it in range(1, n + 1):
        time.sleep(0.1)
        if stop:
            say("log", message=f"stopped before {it}")
            return
        say("progress", percent=100 * it / n, message=f"{it} of {n}")
        # Pieces of a text that grows, as a language model writes it.
        say("delta", text=f"{it} ")
    say("view", view=graph(min(n, 20)))
    say("result", output={"n": n, "sum": n * (n + 1) // 2})


main()
