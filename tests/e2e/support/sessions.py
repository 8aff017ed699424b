"""Sessions with a server: one for each statement, and one for all looks while something is waited for.

A session costs the server a process, which on some machines takes longer than the query; looked at fifty
times a second that would be most of what the tests do.
"""
import contextlib
import threading

import psycopg2
import psycopg2.extensions

LOCAL = threading.local()


@contextlib.contextmanager
def kept():
    """Within it the sessions that this thread's use() opens stay open for the next use()."""
    if getattr(LOCAL, "kept", None) is not None:
        yield
        return
    LOCAL.kept = {}
    try:
        yield
    finally:
        sessions, LOCAL.kept = LOCAL.kept, None
        for session in sessions.values():
            session.close()


def use(uri, work, **options):
    """What work(cursor) returns. One that was kept and has been ended meanwhile is replaced; so within
    kept() work() should only look."""
    kept_here = getattr(LOCAL, "kept", None)
    key = (uri, *sorted(options.items()))
    session = kept_here.pop(key, None) if kept_here is not None else None
    if session is not None:
        try:
            return _use(session, work, key)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            if not session.was_lost:
                raise
    session = psycopg2.connect(uri, connection_factory=Session, **options)
    session.autocommit = True
    return _use(session, work, key)


class Session(psycopg2.extensions.connection):
    was_lost = False


def _use(session, work, key):
    try:
        with session.cursor() as cursor:
            result = work(cursor)
    except BaseException:
        session.was_lost = session.closed != 0
        session.close()
        raise
    kept_here = getattr(LOCAL, "kept", None)
    if kept_here is None:
        session.close()
    else:
        kept_here[key] = session
    return result
