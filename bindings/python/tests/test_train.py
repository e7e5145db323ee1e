"""Tests of training and of the files it makes."""
import json
import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import smallmind  # noqa: E402

MODEL = os.environ["SMALLMIND_TEST_MODEL"]
TEXT = "the cat and the dog and the end of the tale\n<|endoftext|>\n" * 40
HOW = {"sequence": 16, "rows": 2, "n_threads": 1, "lr": 1e-3}


class Training(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.place = pathlib.Path(folder.name)
        self.data = self.place / "text.txt"
        self.data.write_text(TEXT, encoding="utf-8")

    def trainer(self, **more):
        return smallmind.Trainer(MODEL, data=self.data, **{**HOW, "steps": 6, **more})

    def test_steps_and_their_metrics(self):
        seen = []
        with self.trainer(validation=0.1) as trainer:
            before = trainer.evaluate()["loss"]
            rows = trainer.train(progress=seen.append)
            self.assertEqual([row["step"] for row in rows], [1, 2, 3, 4, 5, 6])
            self.assertEqual(rows, seen)
            self.assertLess(trainer.evaluate()["loss"], before)
            self.assertEqual(trainer.steps_left, 0)
            self.assertEqual(trainer.info["step"], 6)
            with self.assertRaises(smallmind.StateError):
                trainer.step()
            trainer.export(self.place / "model.gguf", type="BF16")
        with self.assertRaises(smallmind.StateError):
            trainer.info
        self.assertTrue(smallmind.Model(self.place / "model.gguf").session(n_threads=1).complete(
            "the cat", max_tokens=4, ignore_end=True))

    def test_preferences(self):
        pairs = self.place / "pairs.jsonl"
        pairs.write_text("".join(json.dumps({"prompt": f"say {w}", "chosen": f" {w}", "rejected": " no"})
                                 + "\n" for w in ("cat", "dog", "sun", "sea") * 4), encoding="utf-8")
        with smallmind.Trainer(MODEL, data=pairs, **{**HOW, "steps": 8, "lr": 5e-3}, objective="dpo",
                               preference_beta=0.2, validation=0.2) as trainer:
            self.assertAlmostEqual(trainer.evaluate()["reward_margin"], 0, 5)
            rows = trainer.train()
            self.assertAlmostEqual(rows[0]["loss"], 0.693147, 5)
            self.assertGreater(trainer.evaluate()["reward_margin"], 0.01)

    def test_a_teacher(self):
        rows = self.trainer(teacher=MODEL, teacher_weight=1).train()
        self.assertAlmostEqual(rows[0]["teacher_loss"], 0, 5)
        with self.assertRaises(smallmind.Error):
            self.trainer(teacher_weight=0.5)

    def test_pandas_takes_the_metrics(self):
        try:
            import pandas
        except ImportError:
            self.skipTest("pandas is not installed")
        frame = pandas.DataFrame(self.trainer(steps=2).train())
        self.assertEqual(list(frame["step"]), [1, 2])
        self.assertEqual(frame["loss"].dtype, "float64")

    def test_a_checkpoint_goes_on(self):
        whole = [row["loss"] for row in self.trainer().train()]
        first = self.trainer()
        begun = first.train(2)
        first.save(self.place / "run.ckpt")
        second = self.trainer()
        second.resume(self.place / "run.ckpt")
        self.assertEqual([row["loss"] for row in begun + second.train()], whole)

    def test_progress_ends_it(self):
        class Own(Exception):
            pass

        def fail(row):
            raise Own
        trainer = self.trainer()
        self.assertEqual(len(trainer.train(progress=lambda row: row["step"] == 2)), 2)
        with self.assertRaises(Own):
            trainer.train(progress=fail)
        self.assertEqual(trainer.steps_left, 3)
        with self.assertRaises(Own):
            self.trainer(progress=lambda done, total: fail(done))

    def test_an_adapter(self):
        trainer = self.trainer(lora_rank=2, lr=1e-2)
        trainer.train()
        path = self.place / "adapter.gguf"
        trainer.export_adapter(path)
        model = smallmind.Model(MODEL)
        adapter, session = smallmind.Adapter(model, path), model.session(n_threads=1)
        self.assertEqual(adapter.info["max_rank"], 2)
        session.feed([1, 2])
        plain = list(session.logits())
        session.attach(adapter)
        session.feed([1, 2])
        adapted = list(session.logits())
        self.assertNotEqual(plain, adapted)
        session.detach(adapter)
        session.feed([1, 2])
        self.assertEqual(list(session.logits()), plain)
        smallmind.merge_adapter(self.place / "merged.gguf", MODEL, path, type="F32")
        merged = smallmind.Model(self.place / "merged.gguf").session(n_threads=1)
        merged.feed([1, 2])
        for one, other in zip(merged.logits(), adapted):
            self.assertAlmostEqual(one, other, delta=1e-2)

    def test_from_nothing(self):
        vocabulary, new, small = (self.place / name for name in ("v.gguf", "n.gguf", "s.gguf"))
        seen = []
        smallmind.train_vocabulary(vocabulary, [self.data, self.data], n_vocab=300,
                                   progress=lambda done, total: seen.append(total) and None)
        self.assertTrue(seen)
        smallmind.init_model(new, vocabulary, n_embd=32, n_layer=1, n_head=2, n_ff=64, n_ctx=64)
        done = smallmind.quantize(small, new, "Q8_0")
        self.assertGreater(done["n_quantized"], 0)
        self.assertLess(done["bytes_after"], done["bytes_before"])
        self.assertEqual(smallmind.Model(small).info["n_embd"], 32)
        with self.assertRaises(smallmind.ArgumentError):
            smallmind.quantize(small, new, "Q99")


if __name__ == "__main__":
    unittest.main()
