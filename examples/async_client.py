"""The same client in asyncio programs: every method that would block is awaited instead."""

from __future__ import annotations

import asyncio

from myscheduler import Client


def fibonacci(n: int) -> int:
    """Some work."""
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


async def main() -> None:
    """A cluster, its client, and other things that go on meanwhile."""
    async with Client(n_workers=2, threads_per_worker=1, dashboard_address=None, asynchronous=True) as client:
        futures = client.map(fibonacci, range(20))
        ticks = 0
        while not all(future.done() for future in futures):
            ticks += 1
            await asyncio.sleep(0.001)  # the loop is free for other work
        values = await client.gather(futures)
        print("fibonacci:", values)
        print("one of them:", await futures[10])
        print("the loop ran meanwhile:", ticks > 0)


if __name__ == "__main__":
    asyncio.run(main())
