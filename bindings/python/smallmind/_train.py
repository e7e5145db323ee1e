"""Training: trainers, and the files they begin with and end in."""
import ctypes

from . import _abi, _options
from ._handle import Guard, Handle, interruptible, new_flag
from ._library import call, filled, lib, sized
from ._model import as_dict, loaded, path_bytes


def _paths(name, paths):
    data = [path_bytes(name, path) for path in paths]
    return (ctypes.c_char_p * len(data))(*data)


class Trainer(Handle):
    """Trains a model whole or, with lora_rank, by an adapter. Options are keyword arguments by the
    C library's names; data is a path, more_data are further ones."""

    def __init__(self, model_path, *, data, more_data=(), progress=None, **values):
        given = _options.make(_abi.sm_trainer_options, values)
        given.data = path_bytes("data", data)
        more = _paths("more_data", more_data)
        given.more_data, given.n_more_data = ctypes.cast(more, type(given.more_data)), len(more)
        flag, load = loaded("sm_trainer_open", lib.sm_trainer_free,
                            [path_bytes("model_path", model_path)], given, progress)
        self._flag = flag
        super().__init__(interruptible(flag, load))

    def _call(self, name, *arguments):
        """A call that takes long."""
        try:
            interruptible(self._flag, lambda: call(name, self, *arguments))
        finally:
            lib.sm_cancel_set(self._flag, 0)

    def cancel(self):
        """Ends the call that another thread is in."""
        lib.sm_cancel_set(self._flag, 1)

    @property
    def info(self):
        return as_dict(filled(_abi.sm_trainer_info, "sm_trainer_get_info", self))

    @property
    def steps_left(self):
        return lib.sm_trainer_steps_left(self)

    def step(self):
        """One optimizer step; its metrics as a dict."""
        metrics = sized(_abi.sm_train_metrics)
        self._call("sm_trainer_step", ctypes.byref(metrics))
        return as_dict(metrics)

    def train(self, steps=None, *, progress=None):
        """That many steps, or all that are left. Gives a list of their metrics, each a dict, as
        pandas.DataFrame takes it. progress is called with each, between two steps, and may call
        everything of the trainer; a true answer ends the training here."""
        rows = []
        while self.steps_left and (steps is None or len(rows) < steps):
            rows.append(self.step())
            if progress is not None and progress(rows[-1]):
                break
        return rows

    def evaluate(self):
        """The loss of the validation part, as a dict."""
        result = sized(_abi.sm_train_evaluation)
        self._call("sm_trainer_evaluate", ctypes.byref(result))
        return as_dict(result)

    def save(self, path):
        """Writes a checkpoint."""
        self._call("sm_trainer_save", path_bytes("path", path))

    def resume(self, path):
        """Goes on where a checkpoint stands."""
        self._call("sm_trainer_resume", path_bytes("path", path))

    def export(self, path, **values):
        """Writes the model as it is now."""
        given = _options.make(_abi.sm_export_options, values)
        self._call("sm_trainer_export", path_bytes("path", path), ctypes.byref(given))

    def export_adapter(self, path):
        """Writes the adapter alone."""
        self._call("sm_trainer_export_adapter", path_bytes("path", path))


def _write(struct, values, progress, function):
    """A call that writes a file: function(options) makes it."""
    given = _options.make(struct, values)
    flag = new_flag()
    given.cancel_flag = flag.handle.value
    with Guard() as guard:
        hook = guard(_abi.sm_progress_fn, progress) if progress else _abi.sm_progress_fn()
        given.progress = hook
        interruptible(flag.handle, lambda: function(given))
        del hook


def train_vocabulary(path, text_paths, *, progress=None, **values):
    """Learns a vocabulary from files of text and writes it."""
    names = _paths("text_paths", text_paths)
    _write(_abi.sm_vocabulary_options, values, progress, lambda given: call(
        "sm_vocabulary_train", path_bytes("path", path),
        ctypes.cast(names, lib.sm_vocabulary_train.argtypes[1]), len(names), ctypes.byref(given)))


def init_model(path, vocabulary_path, *, progress=None, **values):
    """Writes a model with random weights, and the vocabulary of another file."""
    _write(_abi.sm_model_init_options, values, progress, lambda given: call(
        "sm_model_init", path_bytes("path", path), path_bytes("vocabulary_path", vocabulary_path),
        ctypes.byref(given)))


def quantize(path, source, type, *, progress=None, **values):
    """Writes a model with its matrices in another type ("Q4_K_M"); gives a dict of what was done."""
    result = sized(_abi.sm_quantize_result)
    _write(_abi.sm_quantize_options, {**values, "type": type}, progress, lambda given: call(
        "sm_model_quantize", path_bytes("path", path), path_bytes("source", source),
        ctypes.byref(given), ctypes.byref(result)))
    return as_dict(result)


def merge_adapter(path, model_path, adapter_path, *, scale=1.0, progress=None, **values):
    """Writes a model with an adapter added to its matrices."""
    _write(_abi.sm_merge_options, values, progress, lambda given: call(
        "sm_adapter_merge", path_bytes("path", path), path_bytes("model_path", model_path),
        path_bytes("adapter_path", adapter_path), float(scale), ctypes.byref(given)))
