"""Writers in the background: threads that each do one transaction after another until they are told to stop."""
import threading

from .waiting import wait_until

PAUSE_SECONDS = 0.01


class BackgroundLoad:
    """movers: each with a `connection`, a `transaction()` and the number of those `done`."""

    def __init__(self, movers):
        self.movers = list(movers)
        self.stopping, self.failures, self.threads = threading.Event(), [], []

    def run(self, mover):
        try:
            while not self.stopping.wait(PAUSE_SECONDS):
                mover.transaction()
        except Exception as error:  # shown by whoever waits
            self.failures.append(error)
            mover.connection.close()

    @property
    def done(self):
        return sum(mover.done for mover in self.movers)

    def wait_for(self, more):
        enough = self.done + more
        wait_until(lambda: self.done >= enough or self.failures, 60, "the load to go on")
        assert not self.failures, self.failures

    def __enter__(self):
        self.threads = [threading.Thread(target=self.run, args=(mover,), daemon=True) for mover in self.movers]
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
        for mover in self.movers:
            mover.connection.close()
        self.movers = []
        assert not self.failures, self.failures

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.stopping.set()
