"""Keyword arguments of libsmallmind, for type checkers. Made by scripts/bindings.py: do not
edit."""
# ruff: noqa
from __future__ import annotations

from typing import (TYPE_CHECKING, Any, Iterable, Literal, Mapping, Optional, TypedDict,
                    Union)

if TYPE_CHECKING:
    import smallmind

Text = Union[str, bytes]


class ModelOptions(TypedDict, total=False):
    # How the file is read (map, read).
    io: Union[int, Literal["map", "read"]]
    # Highest instruction-set level to use (auto, scalar, avx2, avx512, neon, dotprod, avxvnni,
    # i8mm, avx512bf16).
    level: Union[int, Literal["auto", "scalar", "avx2", "avx512", "neon", "dotprod", "avxvnni", "i8mm", "avx512bf16"]]
    # Copy weights into the layout the kernels like at first use, or never (lazy, none).
    repack: Union[int, Literal["lazy", "none"]]
    # Heap of the model and its sessions together; 0: no limit.
    memory_limit: int
    # What weights multiply: rounded to 8 bits beside quantized ones, or f32 beside all (slow)
    # (fast, float).
    activations: Union[int, Literal["fast", "float"]]


class SessionOptions(TypedDict, total=False):
    # Tokens the session can hold; 0: the model's training context, 4096 at most.
    n_ctx: int
    # Threads that compute; 0: all CPUs of the process, 8 at most.
    n_threads: int
    # Tokens computed together at most.
    n_batch: int
    # Number format of the key/value cache (f16, f32, bf16, q8_0, q4_0, q5_0, iq4_nl).
    kv_type: Union[int, Literal["f16", "f32", "bf16", "q8_0", "q4_0", "q5_0", "iq4_nl"]]
    # Keep each thread but the caller's on a CPU of its own.
    pin: bool
    # What layers with a window keep of keys and values: the window and one batch, or all (window,
    # all).
    kv_keep: Union[int, Literal["window", "all"]]


class ForkOptions(TypedDict, total=False):
    # Threads that compute; 0: as many as the session that is copied has.
    n_threads: int


class EncoderOptions(TypedDict, total=False):
    # Threads that compute; 0: all CPUs of the process, 8 at most.
    n_threads: int
    # Of a text at most; 0: what the model was trained with, 8192 at most.
    max_tokens: int
    # Computed together at most; 0: 512; max_tokens if that is more.
    n_batch: int
    # What is made of a text's tokens; model: what its file says (model, mean, first, last).
    pooling: Union[int, Literal["model", "mean", "first", "last"]]
    # What becomes of texts of more than max_tokens (cut, refuse, windows).
    long_texts: Union[int, Literal["cut", "refuse", "windows"]]
    # Elements of a vector, the first ones; 0: all.
    n_dims: int
    # Vectors are not divided by their length.
    raw: bool
    # Put before every text.
    prefix: str
    # The prefix that the model's directory calls so.
    prompt: str


class SamplingOptions(TypedDict, total=False):
    # 0 takes the likeliest token, more is more random.
    temperature: float
    # Keep the k likeliest; 0: all.
    top_k: int
    # Keep the smallest set of tokens with this probability; 0 can be said.
    top_p: float
    # Drop tokens less likely than this share of the likeliest one's probability.
    min_p: float
    # Divides the logits of tokens that occurred; 1: none.
    repeat_penalty: float
    # Subtracted once from tokens that occurred.
    presence_penalty: float
    # Subtracted for each time that a token occurred.
    frequency_penalty: float
    # How far back the penalties look; 0 can be said.
    penalty_last_n: int
    # Same seed, same tokens.
    seed: int
    # Tells apart sequences drawn with one seed.
    sequence: int
    # Keep the tokens whose information is nearest to the entropy, with this probability; 0 can be
    # said.
    typical_p: float
    # Drop tokens below this times the square of the likeliest one's probability.
    top_a: float
    # Drop logits more than so many standard deviations below the largest; 0: none.
    top_n_sigma: float
    # How often to drop the likeliest tokens but the last of those above the threshold.
    xtc_probability: float
    # Probability from which XTC drops tokens; 0 can be said.
    xtc_threshold: float
    # Penalty of a token that would go on with a repetition; 0: none.
    dry_multiplier: float
    # The penalty's growth with each token repeated.
    dry_base: float
    # Repetitions up to this length cost nothing more; 0 can be said.
    dry_allowed_length: int
    # How far back DRY looks; 0: as far as there is text.
    dry_last_n: int
    # The temperature moves so far up and down with the entropy; 0: it stays.
    dynatemp_range: float
    # Of the entropy's share of the largest; 0 can be said.
    dynatemp_exponent: float
    # Version of Mirostat; 0: none (0, 1, 2).
    mirostat: Union[int, Literal["0", "1", "2"]]
    # Likeliest tokens that version 1 estimates from.
    mirostat_m: int
    # Bits of surprise that Mirostat aims at; 0 can be said.
    mirostat_tau: float
    # How fast Mirostat follows; 0 can be said.
    mirostat_eta: float
    # Typical_p, top_p, min_p and XTC leave so many tokens at least.
    min_keep: int
    # Names of the samplers in their order.
    order: str
    bias: Mapping[int, float]
    dry_breaker_texts: Union[Text, Iterable[Text]]


class GenerateOptions(SamplingOptions, total=False):
    # Tokens to generate at most; 0: until the context is full.
    max_tokens: int
    # Parse special tokens written in the prompt.
    parse_special: bool
    # Leave out the BOS token.
    no_bos: bool
    # Go on after the end of the text.
    ignore_end: bool
    # Compute guessed tokens together with the chosen one; ngram: guessed from the text so far. The
    # result is the same (no, ngram).
    speculate: Union[int, Literal["no", "ngram"]]
    # Guessed at a time at most.
    draft_tokens: int
    # When the context is full: stop; drop tokens and compute the rest again; drop them and keep the
    # rest's keys and values; ask the program (stop, slide, sinks, ask).
    context_full: Union[int, Literal["stop", "slide", "sinks", "ask"]]
    # First tokens that a full context keeps; 0: none, 4 of sinks.
    n_keep: int
    # Dropped behind them at a time; 0: half of the others.
    n_drop: int
    # Choose the prompt's last tokens anew where they are the beginning of longer ones.
    heal: bool
    # The text does not end before so many.
    min_tokens: int
    # Likeliest tokens to tell the log-probabilities of, beside each that is chosen.
    n_logprobs: int
    # Tell of the prompt's tokens, too, and of their log-probabilities.
    echo: bool
    stop: Union[Text, Iterable[Text]]
    ban: Union[Text, Iterable[Text]]
    draft: Optional[smallmind.Session]
    constraint: Optional[smallmind.Constraint]
    schema: Any
    grammar: Text
    regex: Text
    choices: Iterable[Text]


class TrainerOptions(TypedDict, total=False):
    # What stands between documents of a text.
    separator: str
    # Threads that compute; 0: all CPUs of the process, 8 at most.
    n_threads: int
    # Part of the data kept for validation: the last documents.
    validation: float
    # What the data is; auto: .json and .jsonl files hold instructions, others text; chosen:
    # instructions, without their rejected answers (auto, text, instruct, chosen).
    data_kind: Union[int, Literal["auto", "text", "instruct", "chosen"]]
    # How instructions are written out (alpaca, chatml).
    layout: Union[int, Literal["alpaca", "chatml"]]
    # Train the prompts of instruction data too, not only the answers.
    loss_on_prompt: bool
    # Length of a row; 0: 256, or the model's context if that is less.
    sequence: int
    # Rows computed together.
    rows: int
    # Batches of rows that make one optimizer step.
    accumulate: int
    # Optimizer steps in all.
    steps: int
    # Passes through the training data, instead of steps; it is tokenized once more to count the
    # steps.
    epochs: float
    # Of the data's order, adapters' first weights and dropout.
    seed: int
    # Rule of the updates (adamw, lion, adafactor, sgd).
    optimizer: Union[int, Literal["adamw", "lion", "adafactor", "sgd"]]
    # Keep AdamW's moments in 8 bits each.
    state_8bit: bool
    # Highest learning rate; 0: 1e-3 AdamW, 1e-4 Lion, 1e-2 Adafactor, 0.1 SGD.
    lr: float
    # Learning rate at the end of the schedule.
    min_lr: float
    # AdamW and Lion: decay of the first moment; 0 can be said.
    beta1: float
    # Decay of the second moment; 0: 0.95, or 0.99 for Lion; 0 can be said.
    beta2: float
    # AdamW: added to the root of the second moment.
    eps: float
    # Decoupled weight decay of matrices.
    weight_decay: float
    # Mixtures of experts: weight of the loss that keeps experts equally in use.
    expert_balance: float
    # SGD; 0 can be said.
    momentum: float
    # Largest global norm of the gradient.
    clip: float
    # Do not limit the gradient.
    no_clip: bool
    # Course of the learning rate after the warmup (cosine, constant, linear, polynomial, inverse-
    # sqrt, wsd, restarts).
    schedule: Union[int, Literal["cosine", "constant", "linear", "polynomial", "inverse-sqrt", "wsd", "restarts"]]
    # Linear rise of the learning rate.
    warmup: int
    # Of the polynomial schedule; 0 can be said.
    power: float
    # WSD: the last part of the steps; 0 can be said.
    decay_part: float
    # Restarts: first cycle; 0: a quarter of the steps.
    cycle: int
    # Restarts: each cycle is longer by this.
    cycle_growth: float
    # Number format of matrix products' inputs (f32, bf16).
    precision: Union[int, Literal["f32", "bf16"]]
    # Keep only each layer's input and compute the rest again: less memory, a third slower.
    checkpoint_layers: bool
    # Highest instruction-set level to use (auto, scalar, avx2, avx512, neon, dotprod, avxvnni,
    # i8mm, avx512bf16).
    level: Union[int, Literal["auto", "scalar", "avx2", "avx512", "neon", "dotprod", "avxvnni", "i8mm", "avx512bf16"]]
    # Train adapters of this rank over frozen weights; 0: train every weight.
    lora_rank: int
    # Adapters count alpha/rank times; 0: twice the rank.
    lora_alpha: float
    # Part of the adapters' inputs dropped.
    lora_dropout: float
    # Adapters count alpha/sqrt(rank) times.
    lora_rs: bool
    # F32 products of the backward pass by OpenBLAS, where the library was built with it.
    openblas: bool
    # Tensors that get adapters.
    lora_targets: str
    # Heap of the trainer; 0: no limit.
    memory_limit: int
    # What is learned: the answers, or to prefer some to others, in data with chosen and rejected
    # answers (kto: with a label) (supervised, dpo, ipo, simpo, orpo, kto).
    objective: Union[int, Literal["supervised", "dpo", "ipo", "simpo", "orpo", "kto"]]
    # DPO: compare means of an answer's tokens, as the others do.
    length_normalized: bool
    # How strongly preferences count; 0: 0.1, 2 for SimPO.
    preference_beta: float
    # DPO, SimPO, ORPO: part of the pairs taken to be the other way round.
    label_smoothing: float
    # SimPO: reward that the chosen answer is to have more; 0: 1; 0 can be said.
    preference_margin: float
    # KTO: weight of good answers; 0: 1.
    desirable_weight: float
    # KTO: weight of the others; 0: 1.
    undesirable_weight: float
    # Model whose probabilities are learned, too.
    teacher: str
    # Part of the loss that the teacher counts; 0: 0.5.
    teacher_weight: float
    # Of the probabilities that are compared with the teacher's; 0: 2.
    teacher_temperature: float
    # Learning rate of the adapters' B by that of A (LoRA+); 0: 1.
    lora_b_rate: float


class ExportOptions(TypedDict, total=False):
    # Of matrices: F32, F16 or BF16; NULL: F32.
    type: str


class VocabularyOptions(TypedDict, total=False):
    # Size of the vocabulary, the 256 bytes included.
    n_vocab: int
    # Mark between documents.
    separator: str
    # Pre-tokenizer.
    pre: str
    # How often a pair must occur to be merged.
    min_count: int


class InitOptions(TypedDict, total=False):
    # Width of the model.
    n_embd: int
    # Depth of the model.
    n_layer: int
    # Attention heads; 0: one for each 32 of the width.
    n_head: int
    # Heads of keys and values; 0: as many as attention heads.
    n_head_kv: int
    # Width inside the feed-forward block; 0: 8/3 of the model's, to a multiple of 32.
    n_ff: int
    # Context length.
    n_ctx: int
    # An output matrix of its own instead of the embedding's.
    untied: bool
    # Kind of network (llama, qwen2, qwen3).
    family: Union[int, Literal["llama", "qwen2", "qwen3"]]
    # Each token attends to this many of the last, itself included; 0: to all.
    sliding_window: int
    # Of the random weights.
    seed: int
    # Base of the rotary position angles.
    rope_theta: float
    # General.name of the file.
    name: str
    # General.architecture, in place of the kind of network.
    architecture: str


class QuantizeOptions(TypedDict, total=False):
    # Threads that encode; 0: all CPUs of the process, 8 at most.
    n_threads: int
    # Path of an importance matrix.
    imatrix: str
    # A mixture's base type for every matrix.
    pure: bool
    # Accept matrices that are quantized already: their errors add up.
    requantize: bool
    # Highest instruction-set level to use (auto, scalar, avx2, avx512, neon, dotprod, avxvnni,
    # i8mm, avx512bf16).
    level: Union[int, Literal["auto", "scalar", "avx2", "avx512", "neon", "dotprod", "avxvnni", "i8mm", "avx512bf16"]]


class MergeOptions(TypedDict, total=False):
    # Of the merged matrices; NULL: as they were.
    type: str
