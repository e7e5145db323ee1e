"""A program that type checkers accept; lines that end with "refused" they do not."""
import asyncio
import dataclasses
from typing import Any, Dict, List

import smallmind


@dataclasses.dataclass
class Answer:
    colour: str
    number: int


def text(model: smallmind.Model) -> str:
    with model.session(n_ctx=512, kv_type="q8_0") as session:
        for piece in session.generate("Once", max_tokens=4, temperature=0.8, stop=["\n"]):
            print(piece.upper())
        ids: List[int] = model.encode("Once")
        session.feed(ids)
        best, logprob = session.sample(top_k=40, bias={1: -1.0})
        rows: memoryview = session.feed_logits([best])
        again = session.fork(n_threads=1).complete("Once", constraint=model.constraint(regex="a+"))
        return again + str(logprob) + str(len(rows))


def vectors(model: smallmind.Model) -> float:
    encoder = model.encoder(pooling="mean", n_dims=8)
    one: memoryview = encoder.embed(["Once", "upon"])
    return sum(encoder.rerank("query", ["document"])) + len(one) + len(encoder.labels)


def chat(session: smallmind.Session) -> int:
    messages = [{"role": "user", "content": "a colour and a number"}]
    message: Dict[str, Any] = session.chat(messages, template="chatml", max_tokens=4)
    return session.chat_as(Answer, messages).number + len(message)


async def both(path: str) -> None:
    model = await smallmind.Model.aload(path, io="read")
    session = model.session()
    async for piece in session.agenerate("Once", max_tokens=4):
        print(piece.upper())
    answer = await session.achat_as(Answer, [])
    print(answer.colour)


def train(path: str) -> List[float]:
    with smallmind.Trainer(path, data="text.txt", lora_rank=4, schedule="wsd") as trainer:
        return [row["loss"] for row in trainer.train(10, progress=print)]


def wrong(model: smallmind.Model, session: smallmind.Session) -> None:
    model.session(n_ctx="512")  # refused
    model.session(colour="blue")  # refused
    model.session(kv_type="q9")  # refused
    session.complete(5)  # refused
    session.chat_as(Answer, []).size  # refused
    smallmind.Trainer("model.gguf")  # refused
    model.constraint(regex="a", choices=["b"])  # refused


if __name__ == "__main__":
    asyncio.run(both("model.gguf"))
