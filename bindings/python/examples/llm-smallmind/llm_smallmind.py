"""A plug-in of llm (https://llm.datasette.io): models of files.

    llm smallmind add tiny model.gguf
    llm -m tiny "Once upon a time"
"""
import json
import pathlib
from typing import Optional

import click
import llm
import pydantic
import smallmind


def models_file():
    return llm.user_dir() / "smallmind.json"


def models():
    path = models_file()
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@llm.hookimpl
def register_models(register):
    for name, path in models().items():
        loaded = Loaded(path)
        register(Smallmind(name, loaded), AsyncSmallmind(name, loaded))


@llm.hookimpl
def register_commands(cli):
    @cli.group()
    def smallmind():
        "Models of files"

    @smallmind.command()
    @click.argument("name")
    @click.argument("path", type=click.Path(exists=True, resolve_path=True))
    def add(name, path):
        "Makes the model of a file known by a name"
        models_file().write_text(json.dumps({**models(), name: path}, indent=2) + "\n",
                                 encoding="utf-8")


class Loaded:
    """A file's model with one session, loaded when it is first asked: what a conversation has said
    stays in the session."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self._session = None

    def session(self):
        if self._session is None:
            self._session = smallmind.Model(self.path).session()
        return self._session


class Options(llm.Options):
    """What of the library's options llm users ask for; names are the library's."""
    max_tokens: Optional[int] = pydantic.Field(default=512, description="tokens at most")
    temperature: Optional[float] = pydantic.Field(default=None, description="0: the likeliest")
    top_p: Optional[float] = pydantic.Field(default=None, description="of the likeliest tokens")
    top_k: Optional[int] = pydantic.Field(default=None, description="number of likeliest tokens")
    seed: Optional[int] = pydantic.Field(default=None, description="same seed, same text")
    template: Optional[str] = pydantic.Field(
        default=None, description="layout of the chat where the model has none: chatml …")


def messages_of(prompt, earlier):
    """The conversation so far; `earlier` are its (question, answer)s."""
    messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
    for question, answer in earlier:
        messages += [{"role": "user", "content": question},
                     {"role": "assistant", "content": answer}]
    return [*messages, {"role": "user", "content": prompt.prompt}]


def asked(prompt):
    """Keyword arguments."""
    how = {name: value for name, value in prompt.options.model_dump().items() if value is not None}
    return {**how, "schema": prompt.schema} if prompt.schema else how


class Shared:
    can_stream = True
    supports_schema = True
    Options = Options

    def __init__(self, name, loaded):
        self.model_id = name
        self._loaded = loaded

    def read(self, delta, response):
        """The text of a delta; the last one tells what was used."""
        if "usage" in delta:
            response.set_usage(input=delta["usage"]["prompt_tokens"],
                               output=delta["usage"]["completion_tokens"])
        return delta.get("content") or ""


class Smallmind(Shared, llm.Model):
    def execute(self, prompt, stream, response, conversation):
        earlier = [(one.prompt.prompt, one.text()) for one in conversation.responses] \
            if conversation else []
        for delta in self._loaded.session().stream_chat(messages_of(prompt, earlier),
                                                        **asked(prompt)):
            yield self.read(delta, response)


class AsyncSmallmind(Shared, llm.AsyncModel):
    async def execute(self, prompt, stream, response, conversation):
        earlier = [(one.prompt.prompt, await one.text()) for one in conversation.responses] \
            if conversation else []
        async for delta in self._loaded.session().astream_chat(messages_of(prompt, earlier),
                                                               **asked(prompt)):
            yield self.read(delta, response)
