"""Encoders: vectors and scores of texts."""
import ctypes

from . import _abi, _options, _stream
from ._handle import Handle, interruptible, new_flag, owned
from ._library import call, filled, lib, text_bytes, texts
from ._model import as_dict

POOLING = {_abi.SM_POOLING_MEAN: "mean", _abi.SM_POOLING_FIRST: "first",
           _abi.SM_POOLING_LAST: "last"}


class Encoder(Handle):
    """Vectors and scores of texts, of one or of many together. One call at a time. Rows come as
    buffers of floats, a row for each text, which numpy.asarray takes without a copy."""

    def __init__(self, model, **values):
        given = _options.make(_abi.sm_encoder_options, values)
        self._flag_owner = new_flag()
        given.cancel_flag = self._flag.value
        super().__init__(owned(lib.sm_encoder_free, "sm_encoder_new", model, ctypes.byref(given)))

    @property
    def _flag(self):
        return self._flag_owner.handle

    @property
    def info(self):
        found = as_dict(filled(_abi.sm_encoder_info, "sm_encoder_get_info", self))
        found["pooling"] = POOLING.get(found["pooling"], "other")
        return found

    @property
    def labels(self):
        """The names of the scores of a text; None for one that has none."""
        return [self._label(i) for i in range(self.info["n_labels"])]

    def _label(self, i):
        n = ctypes.c_uint64()
        name = lib.sm_encoder_label(self, i, ctypes.byref(n))
        return None if name is None else name[:n.value].decode(errors="replace")

    def cancel(self):
        """Ends the call that another thread is in."""
        lib.sm_cancel_set(self._flag, 1)

    def _call(self, work):
        try:
            return interruptible(self._flag, work)
        finally:
            lib.sm_cancel_set(self._flag, 0)

    def _rows(self, name, given, width, *before):
        """What makes the rows: a function, and their buffer of (texts, width)."""
        made = texts(given)
        # without labels the call says what is wrong
        numbers = (ctypes.c_float * max(1, len(made) * width))()

        def work():
            call(name, self, *before, made, len(made), numbers, len(numbers))
            if not made or not width:
                return memoryview(numbers)[:0].cast("B").cast("f")
            rows = memoryview(numbers).cast("B").cast("f", (len(made), width))
            return rows.cast("B").cast("f") if isinstance(given, (str, bytes)) else rows
        return work

    def embed(self, text):
        """The vector of a text, or those of several."""
        return self._call(self._rows("sm_encoder_embed", text, self.info["n_dims"]))

    async def aembed(self, text):
        return await _stream.awaited(
            self._flag, self._rows("sm_encoder_embed", text, self.info["n_dims"]))

    def score(self, text):
        """The scores of a text by labels, or those of several."""
        return self._call(self._rows("sm_encoder_score", text, self.info["n_labels"]))

    def rerank(self, query, documents):
        """How well documents answer a query, the greater the better: a buffer of floats."""
        data = text_bytes(query)
        rows = self._call(self._rows("sm_encoder_rerank", documents, 1, data, len(data)))
        return rows.cast("B").cast("f")
