"""Tests of the async variants."""
import asyncio
import os
import pathlib
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import smallmind  # noqa: E402

MODEL = os.environ["SMALLMIND_TEST_MODEL"]
MANY = {"max_tokens": 100000, "ignore_end": True, "context_full": "slide"}
MESSAGES = [{"role": "user", "content": "and the"}]


class Async(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.session = smallmind.Model(MODEL).session(n_threads=1, n_ctx=128)

    async def test_the_same_text(self):
        how = {"max_tokens": 24, "temperature": 1.0, "seed": 5, "ignore_end": True}
        pieces = [piece async for piece in self.session.agenerate("and the", **how)]
        self.assertEqual(pieces, list(self.session.generate("and the", **how)))
        self.assertEqual("".join(pieces), await self.session.acomplete("and the", **how))

    async def test_the_same_answer(self):
        how = {"template": "chatml", "max_tokens": 8}
        deltas = [delta async for delta in self.session.astream_chat(MESSAGES, **how)]
        self.assertEqual(deltas[-1]["message"], self.session.chat(MESSAGES, **how))
        self.assertEqual(deltas[-1]["message"], await self.session.achat(MESSAGES, **how))

    async def test_loading_and_feeding(self):
        model = await smallmind.Model.aload(MODEL)
        session = model.session(n_threads=1)
        await session.afeed([1, 2, 3])
        self.assertEqual(session.tokens, [1, 2, 3])
        with self.assertRaises(smallmind.FileError):
            await smallmind.Model.aload("/nonexistent/model.gguf")

    async def test_other_tasks_run_meanwhile(self):
        turns = 0

        async def count():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)
        counting = asyncio.create_task(count())
        await self.session.acomplete("and the", max_tokens=100, ignore_end=True)
        counting.cancel()
        self.assertGreater(turns, 1)

    async def test_two_at_the_same_time(self):
        other = self.session.model.session(n_threads=1, n_ctx=128)
        both = await asyncio.gather(*(s.acomplete("and the", max_tokens=20, ignore_end=True)
                                      for s in (self.session, other)))
        self.assertEqual(both[0], both[1])

    async def test_a_task_that_is_cancelled_ends_the_work(self):
        task = asyncio.create_task(self.session.acomplete("and the", **MANY))
        await asyncio.sleep(0.05)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        await self.session.afeed([1])  # nobody is at work

    async def test_a_timeout_ends_the_work(self):
        with self.assertRaises(asyncio.TimeoutError):
            await asyncio.wait_for(self.session.acomplete("and the", **MANY), 0.05)
        await self.session.afeed([1])

    async def test_an_iterator_that_is_closed_ends_the_work(self):
        pieces = self.session.agenerate("and the", **MANY)
        await pieces.__anext__()
        await pieces.aclose()
        self.session.feed([1])

    async def test_refusals_come_out(self):
        with self.assertRaises(smallmind.ArgumentError):
            await self.session.acomplete("and the", temperature=-1)
        with self.assertRaises(TypeError):
            self.session.agenerate("and the", colour="blue")


class Loops(unittest.TestCase):
    def test_a_loop_may_end_while_text_comes(self):
        session = smallmind.Model(MODEL).session(n_threads=1, n_ctx=128)

        async def begin():
            await session.agenerate("and the", **MANY).__anext__()
        asyncio.run(begin())
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(10)
        session.feed([1])


if __name__ == "__main__":
    unittest.main()
