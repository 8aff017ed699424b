"""The one way to wait: for a condition, with a deadline. Tests never sleep for a guessed time."""
import time

from . import sessions

# Seconds. After a look that took long the next one comes after as long, up to the second.
INTERVAL_MIN, INTERVAL_MAX = 0.02, 0.25


class Deadline(AssertionError):
    pass


def wait_until(condition, seconds, what, interval=INTERVAL_MIN, explain=None):
    """Returns the first true value of condition(), which only looks. `explain()` adds what is the case
    to the error."""
    end = time.monotonic() + seconds
    with sessions.kept():
        while True:
            began = time.monotonic()
            value = condition()
            if value:
                return value
            now = time.monotonic()
            if now > end:
                break
            time.sleep(max(interval, min(now - began, INTERVAL_MAX)))
    text = f"waited {seconds} s for {what}"
    if explain is not None:
        text += f"; {explain()}"
    raise Deadline(text)
