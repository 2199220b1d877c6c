#!/usr/bin/env python3
"""Listens to a warren gateway with Server-Sent Events: listen.py URL [COUNT]

Prints messages and gaps, one JSON frame per line, and on standard error what happens to the stream.
Ends after COUNT messages, or when the gateway refuses for good. Written from docs/protocol.md; [C-n] is a rule there.
"""
import http.client, json, random, sys, time, urllib.error, urllib.request


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def events(response):
    """Yields each event of the stream as a dict of its fields [C-14]."""
    event = {}
    for line in response:
        name, _, value = line.decode().rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if not line.strip(b"\r\n"):
            yield event
            event = {}
        elif name == "data" and "data" in event:
            event["data"] += "\n" + value
        elif name:  # a line that begins with a colon is a comment
            event[name] = value


class Listener:
    def __init__(self, url, count):
        self.url, self.left = url, count
        self.last_id, self.wait, self.failures = None, 1.0, 0

    def stream(self):
        """Reads one stream to its end; true means to come back."""
        headers = {"Accept": "text/event-stream"}
        if self.last_id:
            headers["Last-Event-ID"] = self.last_id
        self.failures += 1
        try:  # 45 seconds without a byte, three heartbeats, mean a dead stream [C-9]
            with urllib.request.urlopen(urllib.request.Request(self.url, headers=headers), timeout=45) as response:
                if response.headers.get_content_type() != "text/event-stream":
                    say("no event stream, but", response.headers.get_content_type(), "at", self.url)
                    return False
                for event in events(response):
                    self.wait = int(event.get("retry", self.wait * 1000)) / 1000
                    if "data" in event and not self.frame(json.loads(event["data"])):
                        return False
                    self.last_id = event.get("id", self.last_id)  # of every frame, once dealt with [C-2]
            say("the stream ended")
        except urllib.error.HTTPError as refusal:  # 429 and 5xx can pass [C-15]
            say("refused:", refusal.code, refusal.read().decode())
            after = refusal.headers.get("Retry-After", "")
            self.wait = int(after) if after.isdigit() else 1  # a proxy may give a date instead
            return refusal.code == 429 or refusal.code >= 500
        except (OSError, http.client.HTTPException) as error:
            say("cut:", repr(error))
        return True

    def frame(self, frame):
        """Deals with one frame; false ends the client. Unknown types are ignored [C-1]."""
        if frame["type"] == "ready":
            self.failures = 0
            say("live on", frame["stream"], "resumed" if frame["resumed"] else "anew")
        elif frame["type"] in ("message", "gap"):  # a gap is told like a message [C-4]
            print(json.dumps(frame), flush=True)
            self.left -= frame["type"] == "message"
        elif frame["type"] == "bye":
            say("bye:", frame["code"], frame["reason"])
            return frame["reconnect"]  # [C-6]
        return self.left != 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    listener = Listener(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else -1)
    while listener.stream():  # never at once, and slower with each failure [C-8]
        time.sleep(listener.wait + random.uniform(0, min(30, 2 ** listener.failures - 1)))
    sys.exit(listener.left != 0)
