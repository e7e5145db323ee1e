"""Tests of the Python binding, for unittest and pytest.

SMALLMIND_LIBRARY names the library, SMALLMIND_TEST_MODEL a model with a vocabulary.
"""
import gc
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import smallmind  # noqa: E402

MODEL = os.environ["SMALLMIND_TEST_MODEL"]
MANY = {"max_tokens": 100000, "ignore_end": True, "context_full": "slide"}


class Models(unittest.TestCase):
    def test_what_a_file_says(self):
        with smallmind.Model(MODEL) as model:
            self.assertGreater(model.info["n_vocab"], 0)
            self.assertEqual(model.info["architecture"], "llama")
        with self.assertRaises(smallmind.StateError):
            model.info

    def test_texts_there_and_back(self):
        model = smallmind.Model(MODEL)
        ids = model.encode("and the end\0!", markers=False)
        self.assertGreater(len(ids), 2)
        self.assertEqual(model.decode(ids).strip(), "and the end\0!")

    def test_vectors(self):
        encoder = smallmind.Model(MODEL).encoder(n_threads=1)
        width = encoder.info["n_dims"]
        rows = encoder.embed(["Once upon a time", "and the end", ""])
        self.assertEqual(rows.shape, (3, width))
        first, second, _ = rows.tolist()
        self.assertAlmostEqual(sum(x * x for x in first), 1, 4)
        self.assertNotEqual(first, second)
        self.assertEqual(encoder.embed("and the end").tolist(), second)  # alone the same
        self.assertEqual(len(encoder.embed([])), 0)
        self.assertEqual((encoder.info["n_labels"], encoder.labels), (0, []))
        for call in (lambda: encoder.score("Once"), lambda: encoder.rerank("Once", ["a", "b"])):
            with self.assertRaises(smallmind.UnsupportedError):
                call()
        encoder.cancel()
        with self.assertRaises(smallmind.CancelledError):
            encoder.embed("Once")
        encoder.close()
        with self.assertRaises(smallmind.StateError):
            encoder.embed("Once")
        with smallmind.Model(MODEL).encoder(n_dims=8, pooling="mean") as few:
            self.assertEqual(few.embed("Once").shape, (8,))
            self.assertEqual(few.info["pooling"], "mean")

    def test_vectors_are_interrupted(self):
        encoder = smallmind.Model(MODEL).encoder(n_threads=1)
        timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
        with self.assertRaises(KeyboardInterrupt):
            timer.start()
            while True:
                encoder.embed(["Once upon a time there was"] * 5000)
        self.assertEqual(len(encoder.embed("Once")), encoder.info["n_dims"])

    def test_errors_are_exceptions(self):
        with self.assertRaises(smallmind.FileError) as caught:
            smallmind.Model("/nonexistent/model.gguf")
        self.assertIsInstance(caught.exception, OSError)
        self.assertEqual(caught.exception.errno, 2)
        self.assertIn("/nonexistent", str(caught.exception))
        with self.assertRaises(smallmind.ArgumentError) as caught:
            smallmind.Model(MODEL).session(n_threads=100000)
        self.assertIn("n_threads", str(caught.exception))
        with self.assertRaises(TypeError):
            smallmind.Model(MODEL, colour="blue")
        with self.assertRaises(ValueError):
            smallmind.Model(MODEL, io="sideways")

    def test_numbers_that_do_not_fit_are_refused(self):
        model = smallmind.Model(MODEL)
        session = model.session(n_threads=1, n_ctx=64)
        session.feed([1, 2])
        for cut in (lambda: model.session(n_ctx=2**32 + 64), lambda: model.session(n_ctx=-1),
                    lambda: session.rewind(2**32), lambda: session.sample(seed=-1)):
            with self.assertRaisesRegex(ValueError, "not in 0"):
                cut()
        for cut in (lambda: model.decode([2**32]), lambda: session.feed([2**32])):
            with self.assertRaises(OverflowError):
                cut()
        for no_number in (12.7, "12"):
            with self.assertRaises(TypeError):
                model.session(n_ctx=no_number)
        self.assertEqual(session.tokens, [1, 2])

    def test_texts_that_are_none_are_refused(self):
        model = smallmind.Model(MODEL)
        with self.assertRaises(TypeError):
            model.encode(5)
        with self.assertRaises(ValueError):
            smallmind.Model(MODEL + "\0x")
        with self.assertRaises(TypeError):
            smallmind.Model(5)
        self.assertEqual(smallmind.Model(os.fsencode(MODEL)).info, model.info)
        with self.assertRaises(smallmind.FileError):
            smallmind.Model(os.fsdecode(b"/nonexistent/\xff"))

    def test_the_number_of_a_list_goes_with_the_list(self):
        for lines in smallmind.options().values():
            self.assertNotRegex(lines, "(?m)^n_(stop|ban|bias|steps):")
        with self.assertRaises(TypeError):
            smallmind.Model(MODEL).session(n_threads=1).complete("and the", n_stop=5)

    def test_what_a_callback_raises_comes_out(self):
        class Own(Exception):
            pass

        def progress(done, total):
            raise Own(done)
        with self.assertRaises(Own):
            smallmind.Model(MODEL, progress=progress)

    def test_options_come_from_the_tables(self):
        self.assertIn("temperature", smallmind.options()["sampling"])
        self.assertIn("n_ctx", smallmind.options()["session"])


class Sessions(unittest.TestCase):
    def setUp(self):
        self.model = smallmind.Model(MODEL)
        self.session = self.model.session(n_threads=1, n_ctx=128)

    def test_token_by_token(self):
        ids = self.model.encode("and the")
        self.session.feed(ids)
        self.assertEqual(self.session.tokens, ids)
        logits = self.session.logits()
        self.assertEqual(len(logits), self.model.info["n_vocab"])
        best, logprob = self.session.sample()
        self.assertEqual(best, max(range(len(logits)), key=lambda i: logits[i]))
        self.assertLess(logprob, 0)
        # a zero is a zero: the likeliest token alone
        self.assertEqual(self.session.sample(temperature=5, top_p=0, seed=3)[0], best)
        fork = self.session.fork()
        fork.feed([best])
        self.assertEqual(len(fork), len(self.session) + 1)
        self.session.rewind(1)
        self.assertEqual(self.session.tokens, ids[:1])

    def test_logits_keep_their_session(self):
        self.session.feed([1, 2])
        logits = self.session.logits()
        first = logits[0]
        del self.session
        gc.collect()
        self.assertEqual(logits[0], first)
        with self.assertRaises(TypeError):
            logits[0] = 0.0

    def test_logits_outlive_closing(self):
        self.session.feed([1, 2])
        logits, same = self.session.logits(), list(self.session.logits())
        self.session.close()
        with self.assertRaises(smallmind.StateError):
            self.session.feed([1])
        gc.collect()
        others = [self.model.session(n_threads=1, n_ctx=128) for _ in range(8)]
        for other in others:  # would be given the memory
            other.feed([3, 4])
        self.assertEqual(list(logits), same)

    def test_memory_that_nobody_looks_at_goes_with_closing(self):
        self.session.feed([1])  # what the model needs itself is there
        before = self.model.info["heap_bytes"]
        session = self.model.session(n_threads=1, n_ctx=128)
        session.feed([1])
        logits = session.logits()
        session.close()
        self.assertGreater(self.model.info["heap_bytes"], before)
        del logits
        gc.collect()
        self.assertEqual(self.model.info["heap_bytes"], before)

    def test_numpy_takes_logits(self):
        try:
            import numpy
        except ImportError:
            self.skipTest("numpy is not installed")
        rows = numpy.asarray(self.session.feed_logits([1, 2, 3]))
        self.assertEqual((rows.shape, rows.dtype), ((3, self.model.info["n_vocab"]), "float32"))
        last = numpy.asarray(self.session.logits())
        self.assertTrue((rows[2] == last).all())
        self.assertFalse(last.flags.owndata)
        del self.session
        gc.collect()
        self.assertTrue((rows[2] == last).all())

    def test_logits_of_every_token(self):
        rows = self.session.feed_logits([1, 2, 3]).tolist()
        self.session.rewind(0)
        for token, row in zip([1, 2, 3], rows):
            self.session.feed([token])
            self.assertEqual(list(self.session.logits()), row)

    def test_biases_and_drafts(self):
        self.session.feed(self.model.encode("and the"))
        best, _ = self.session.sample()
        self.assertNotEqual(self.session.sample(bias={best: -1000.0})[0], best)
        self.assertEqual(self.session.sample(bias={7: 1000.0})[0], 7)
        plain = self.session.complete("and the", max_tokens=20, ignore_end=True)
        draft = self.model.session(n_threads=1, n_ctx=128)
        self.assertEqual(self.session.complete("and the", max_tokens=20, ignore_end=True,
                                               draft=draft), plain)
        self.assertGreater(self.session.stats["accepted_tokens"], 0)

    def test_saved_and_restored(self):
        self.session.feed([1, 2, 3])
        with tempfile.TemporaryDirectory() as place:
            path = pathlib.Path(place) / "session"
            self.session.save(path)
            other = self.model.session(n_threads=1, n_ctx=128)
            other.restore(path)
        self.assertEqual(other.tokens, [1, 2, 3])
        self.assertEqual(list(other.logits()), list(self.session.logits()))

    def test_streaming(self):
        how = {"max_tokens": 24, "temperature": 1.0, "seed": 5, "ignore_end": True}
        pieces = list(self.session.generate("and the", **how))
        self.assertGreater(len(pieces), 3)
        self.assertEqual("".join(pieces), self.session.complete("and the", **how))
        self.assertEqual(self.session.stats["finish"], "length")
        whole = "".join(pieces)
        cut = self.session.complete("and the", stop=[whole[5:8]], **how)
        self.assertEqual(cut, whole[:whole.index(whole[5:8])])
        # a text alone is one text, not one of each letter
        self.assertEqual(cut, self.session.complete("and the", stop=whole[5:8], **how))

    def test_an_iterator_that_is_closed_ends_the_work(self):
        pieces = self.session.generate("and the", **MANY)
        next(pieces)
        pieces.close()
        self.session.feed([1])  # nobody is at work

    def test_another_thread_cancels(self):
        threading.Timer(0.05, self.session.cancel).start()
        with self.assertRaises(smallmind.CancelledError):
            self.session.complete("and the", **MANY)
        self.session.feed([1])

    def test_other_threads_run_meanwhile(self):
        outcome = []

        def work():
            try:
                self.session.complete("and the", **MANY)
            except smallmind.Error as error:
                outcome.append(type(error))
        worker = threading.Thread(target=work)
        worker.start()
        for _ in range(1000):
            time.sleep(0)
        self.assertTrue(worker.is_alive())
        self.session.cancel()
        worker.join()
        self.assertEqual(outcome, [smallmind.CancelledError])

    def test_handles_go_in_any_order(self):
        model = smallmind.Model(MODEL)
        session = model.session(n_threads=1)
        model.close()
        session.feed([1])
        session.close()
        session.close()

    def test_chat(self):
        messages = [{"role": "user", "content": "and the"}]
        deltas = list(self.session.stream_chat(messages, template="chatml", max_tokens=8))
        self.assertIn("message", deltas[-1])
        self.assertEqual(deltas[-1]["message"]["role"], "assistant")
        message = self.session.chat(messages, template="chatml", max_tokens=8)
        self.assertEqual(message, deltas[-1]["message"])
        with self.assertRaises(smallmind.ArgumentError):
            self.session.chat(messages, template="no such layout")


class Interrupts(unittest.TestCase):
    PROGRAM = textwrap.dedent("""
        import smallmind, sys
        session = smallmind.Model(sys.argv[1]).session(n_threads=1, n_ctx=2048)
        kept = []  # Python drops what interrupts a finalizer
        print("ready", flush=True)
        try:
            while True:
                {work}
        except KeyboardInterrupt:
            session.rewind(0)
            print("ended", flush=True)
        """)

    def interrupted(self, work):
        environment = dict(os.environ, PYTHONPATH=str(pathlib.Path(__file__).parents[1]))
        with subprocess.Popen([sys.executable, "-c", self.PROGRAM.format(work=work), MODEL],
                              stdout=subprocess.PIPE, text=True, env=environment) as program:
            self.assertEqual(program.stdout.readline(), "ready\n")
            time.sleep(0.2)
            program.send_signal(signal.SIGINT)
            self.assertEqual(program.stdout.read(), "ended\n")
        self.assertEqual(program.returncode, 0)

    def test_while_feeding(self):
        self.interrupted("session.feed([1] * 2000); session.rewind(0)")

    def test_while_streaming(self):
        self.interrupted("session.complete('and the', max_tokens=2000, ignore_end=True)")

    def test_while_one_token_after_the_other_is_fed(self):
        # of a model whose tokens take long, so that they are fed aside
        self.interrupted("session.model._decode_bytes = 1 << 40\n        "
                         "session.feed([1]) if len(session) < 2000 else session.rewind(0)")

    def test_while_forking(self):
        self.interrupted("session.feed([1] * 8); kept.append(session.fork()); session.rewind(0)")

    def test_while_sessions_are_made(self):
        self.interrupted("kept.append(session.model.session(n_threads=1, n_ctx=2048))")

    def test_while_encoding(self):
        self.interrupted("session.model.encode('and the ' * 4000000)")

    def test_a_program_may_end_while_text_comes(self):
        program = """if True:
            import smallmind, sys
            session = smallmind.Model(sys.argv[1]).session(n_threads=1)
            pieces = session.generate("and the", max_tokens=100000, ignore_end=True,
                                      context_full="slide")
            next(pieces)
            """
        environment = dict(os.environ, PYTHONPATH=str(pathlib.Path(__file__).parents[1]))
        run = subprocess.run([sys.executable, "-c", program, MODEL], capture_output=True,
                             text=True, env=environment)
        self.assertEqual((run.returncode, run.stderr), (0, ""))


class Readme(unittest.TestCase):
    def test_its_program(self):
        text = pathlib.Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
        program = text.split("```python\n")[1].split("```")[0].replace("model.gguf", MODEL)
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                             env=dict(os.environ, PYTHONPATH=str(pathlib.Path(__file__).parents[1])))
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertTrue(run.stdout)


if __name__ == "__main__":
    unittest.main()
