"""Where sockets do what blocks: a few threads with a database connection each."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from deliveries.transactions import reconnecting

P = ParamSpec("P")
T = TypeVar("T")

# What they do is short, and on SQLite one writes at a time anyway.
THREADS = 4

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="sockets")


async def run(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in one of the threads; a connection that broke in it is dropped."""

    def connected() -> T:
        with reconnecting():
            return work(*args, **kwargs)

    # Not Django's one thread for everything sensitive, which a slow page may hold.
    return await sync_to_async(connected, thread_sensitive=False, executor=_pool)()
