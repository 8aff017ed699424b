"""The one way to wait: for a condition, with a deadline. Tests never sleep for a guessed time."""
import time


class Deadline(AssertionError):
    pass


def wait_until(condition, seconds, what, interval=0.02, explain=None):
    """Returns the first true value of condition(). `explain()` adds what is the case to the error."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            text = f"waited {seconds} s for {what}"
            if explain is not None:
                text += f"; {explain()}"
            raise Deadline(text)
        time.sleep(interval)
