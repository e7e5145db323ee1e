#!/usr/bin/env python3
"""Makes tests/train/golden/*.bin: losses, gradients and ten AdamW steps by PyTorch.

Usage: golden_train.py DIR CASE...

DIR/train-CASE.gguf is what `test_torch --write DIR` wrote: random F32 weights. The network here is
written from the formulas (norms, rope, grouped attention with windows and sinks, gated and plain
feed-forward parts, experts), in double; autograd and
torch.optim.AdamW do the rest. Batch and optimizer settings are those of test_torch.c.

DIR/train-CASE.bin: 11 f64 losses (mean over targets, before step 1 .. after step 10); then per
tensor, in the order of the file: u32 length of the name, name, u32 elements, u32 step, and of the
gradient of the first loss and of the change in ten steps each: f64 length (root of the sum of
squares) and f64 sum along random signs, both over all elements, then every step-th element as f32
(of the change: the value after it). Signs: bit 0 of each number of splitmix64 from state 1, set
for +, one per element. Little endian.
"""
import struct
import sys

import torch

# lengths of the spans; tokens that occur; AdamW's eps; matrices are stored as every n-th element
CASES = {
    "llama": ([13, 8, 19], 50, 1e-8, 1),
    "qwen3": ([13, 8, 19], 50, 1e-8, 1),
    "qwen2": ([13, 8, 19], 50, 1e-8, 1),
    "cs336": ([64] * 8, 100, 1e-6, 13),
    "gemma3": ([13, 8, 19], 50, 1e-8, 1),
    "mixtral": ([13, 8, 19], 50, 1e-8, 1),
    "gpt2": ([13, 8, 19], 50, 1e-4, 1),
    "gptoss": ([13, 8, 19], 50, 1e-8, 1),
}
LR, BETAS, DECAY = 2e-3, (0.9, 0.95), 0.1


def read_gguf(path):
    data = open(path, "rb").read()
    at = 0

    def take(form):
        nonlocal at
        value = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return value[0]

    def text():
        nonlocal at
        n = take("Q")
        at += n
        return data[at - n:at].decode()

    def value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            element, n = take("I"), take("Q")
            return [value(element) for _ in range(n)]
        return take({0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q",
                     11: "q", 12: "d"}[kind])

    assert take("I") == 0x46554747
    take("I")
    n_tensors, n_keys = take("Q"), take("Q")
    keys = {}
    for _ in range(n_keys):
        name = text()
        keys[name] = value(take("I"))
    entries = []
    for _ in range(n_tensors):
        name = text()
        dims = [take("Q") for _ in range(take("I"))]
        assert take("I") == 0, "F32 only"
        entries.append((name, dims, take("Q")))
    align = keys.get("general.alignment", 32)
    start = (at + align - 1) // align * align
    tensors = {}
    for name, dims, offset in entries:
        n = 1
        for d in dims:
            n *= d
        values = struct.unpack_from("<%df" % n, data, start + offset)
        tensor = torch.tensor(values, dtype=torch.float64).reshape(dims[::-1])
        tensors[name] = tensor.requires_grad_()
    return keys, tensors


def rms_norm(x, w, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * w


def layer_norm(x, w, bias, eps):
    x = x - x.mean(-1, keepdim=True)
    return rms_norm(x, w, eps) + bias


def rope(x, theta, neighbours):
    """x: [tokens][heads][head_dim]"""
    n, _, dim = x.shape
    angle = torch.arange(n, dtype=torch.float64)[:, None] * theta ** (
        -torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    c, s = angle.cos()[:, None], angle.sin()[:, None]
    if neighbours:
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2)
    a, b = x[..., :dim // 2], x[..., dim // 2:]
    return torch.cat((a * c - b * s, a * s + b * c), -1)


def gelu(x):
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x ** 3)))


def silu(x):
    return x * torch.sigmoid(x)


def clamped(gate, up):
    """gpt-oss: alpha 1.702, limit 7"""
    gate, up = gate.clamp(max=7.0), up.clamp(-7.0, 7.0)
    return gate * torch.sigmoid(1.702 * gate) * (up + 1)


class Layer:
    """Layer i of a model: its tensors by their short names."""

    def __init__(self, keys, w, i):
        self.keys, self.w, self.i = keys, w, i
        self.arch = keys["general.architecture"]

    def key(self, name, fallback=None):
        return self.keys.get(self.arch + "." + name, fallback)

    def has(self, name):
        return "blk.%d.%s" % (self.i, name) in self.w

    def t(self, name):
        return self.w["blk.%d.%s" % (self.i, name)]

    def linear(self, y, name):
        return y @ self.t(name + ".weight").T + (self.t(name + ".bias") if self.has(name + ".bias")
                                                 else 0)

    def norm(self, y, name):
        if self.has(name + ".bias"):
            return layer_norm(y, self.t(name + ".weight"), self.t(name + ".bias"),
                              self.key("attention.layer_norm_epsilon"))
        return rms_norm(y, self.t(name + ".weight"), self.key("attention.layer_norm_rms_epsilon"))

    def projections(self, y):
        heads, kv_heads = self.key("attention.head_count"), self.key("attention.head_count_kv")
        n = len(y)
        if self.has("attn_qkv.weight"):
            width = self.key("embedding_length") // heads
            q, k, v = self.linear(y, "attn_qkv").split(
                [width * heads, width * kv_heads, width * kv_heads], -1)
        else:
            q, k, v = (self.linear(y, "attn_" + name) for name in "qkv")
        return q.reshape(n, heads, -1), k.reshape(n, kv_heads, -1), v.reshape(n, kv_heads, -1)

    def attention(self, y):
        kind = KINDS[self.arch]
        q, k, v = self.projections(y)
        n, heads, dim = q.shape
        if self.has("attn_q_norm.weight"):
            q, k = self.norm(q, "attn_q_norm"), self.norm(k, "attn_k_norm")
        window = self.key("attention.sliding_window", 0) if kind.windowed(self.i) else 0
        if kind.neighbours is not None:
            theta = self.key("rope.freq_base")
            if window and "near" in kind.__dict__:
                theta = kind.near
            q, k = rope(q, theta, kind.neighbours), rope(k, theta, kind.neighbours)
        k, v = (z.repeat_interleave(heads // k.shape[1], 1) for z in (k, v))
        at = torch.arange(n)
        seen = at[:, None] >= at
        if window:
            seen = seen & (at[:, None] - at < window)
        scores = (torch.einsum("thd,shd->hts", q, k) / dim ** 0.5).masked_fill(~seen, float("-inf"))
        if self.has("attn_sinks.weight"):
            sinks = self.t("attn_sinks.weight")[:, None, None].expand(heads, n, 1)
            p = torch.cat((scores, sinks), -1).softmax(-1)[..., :-1]
        else:
            p = scores.softmax(-1)
        return self.linear(torch.einsum("hts,shd->thd", p, v).reshape(n, -1), "attn_output")

    def expert(self, y, e):
        def part(z, name):
            bias = "ffn_%s_exps.bias" % name
            return z @ self.t("ffn_%s_exps.weight" % name)[e].T + (
                self.t(bias)[e] if self.has(bias) else 0)

        gate, up = part(y, "gate"), part(y, "up")
        both = clamped(gate, up) if self.arch == "gpt-oss" else silu(gate) * up
        return part(both, "down")

    def feed_forward(self, y):
        if self.has("ffn_gate_inp.weight"):
            logits = self.linear(y, "ffn_gate_inp")
            best, chosen = logits.topk(self.key("expert_used_count"), -1)
            share = torch.zeros_like(logits).scatter(-1, chosen, best.softmax(-1))
            return sum(share[:, e, None] * self.expert(y, e) for e in range(logits.shape[-1]))
        act = gelu if KINDS[self.arch].gelu else silu
        if self.has("ffn_gate.weight"):
            return self.linear(act(self.linear(y, "ffn_gate")) * self.linear(y, "ffn_up"),
                               "ffn_down")
        return self.linear(act(self.linear(y, "ffn_up")), "ffn_down")


class Kind:
    """neighbours: which pairs rope turns, None: there is none; near: its base in windowed layers."""

    def __init__(self, neighbours, gelu=False, ffn_norm="ffn_norm", posts=(None, None),
                 windowed=lambda i: False, **more):
        self.neighbours, self.gelu, self.ffn_norm, self.posts = neighbours, gelu, ffn_norm, posts
        self.windowed = windowed
        self.__dict__.update(more)


KINDS = {
    "llama": Kind(True),
    "qwen2": Kind(False),
    "qwen3": Kind(False),
    "gemma3": Kind(False, gelu=True, posts=("post_attention_norm", "post_ffw_norm"),
                   windowed=lambda i: i % 6 < 5, near=1e4),
    "gpt2": Kind(None, gelu=True),
    "gpt-oss": Kind(False, ffn_norm="post_attention_norm", windowed=lambda i: i % 2 == 0),
}


def logits_of(keys, w, ids):
    arch = keys["general.architecture"]
    kind = KINDS[arch]
    x = w["token_embd.weight"][ids]
    if arch == "gemma3":
        x = x * keys["gemma3.embedding_length"] ** 0.5
    if "position_embd.weight" in w:
        x = x + w["position_embd.weight"][:len(ids)]
    for i in range(keys[arch + ".block_count"]):
        layer = Layer(keys, w, i)
        for part, pre, post in ((layer.attention, "attn_norm", kind.posts[0]),
                                (layer.feed_forward, kind.ffn_norm, kind.posts[1])):
            y = part(layer.norm(x, pre))
            x = x + (layer.norm(y, post) if post else y)
    if "output_norm.bias" in w:
        x = layer_norm(x, w["output_norm.weight"], w["output_norm.bias"],
                       keys[arch + ".attention.layer_norm_epsilon"])
    else:
        x = rms_norm(x, w["output_norm.weight"], keys[arch + ".attention.layer_norm_rms_epsilon"])
    return x @ w.get("output.weight", w["token_embd.weight"]).T


def signs(n):
    """n numbers +1 or -1."""
    state, out = 1, []
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        out.append(1.0 if (z ^ z >> 31) & 1 else -1.0)
    return torch.tensor(out, dtype=torch.float64)


def summary(values, stored, step):
    values, stored = values.flatten(), stored.flatten()[::step].tolist()
    return struct.pack("<2d%df" % len(stored), values.norm(), values @ signs(len(values)), *stored)


def make(directory, case):
    spans, n_ids, eps, step = CASES[case]
    keys, w = read_gguf("%s/train-%s.gguf" % (directory, case))
    start = {name: p.detach().clone() for name, p in w.items()}
    n = sum(spans)
    ids = [(t * 37 + 11) % n_ids for t in range(n)]
    targets = torch.tensor([-1 if t % 6 == 2 else (t * t * 7 + 5) % 100 for t in range(n)])
    is_matrix = {name: p.dim() > 1 and name.endswith(".weight") for name, p in w.items()}
    matrices = [p for name, p in w.items() if is_matrix[name]]
    vectors = [p for name, p in w.items() if not is_matrix[name]]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY},
                                   {"params": vectors, "weight_decay": 0}],
                                  lr=LR, betas=BETAS, eps=eps)

    def loss():
        rows, at = [], 0
        for length in spans:
            rows.append(logits_of(keys, w, ids[at:at + length]))
            at += length
        return torch.nn.functional.cross_entropy(torch.cat(rows), targets, ignore_index=-1)

    losses, first = [], None
    for _ in range(10):
        optimizer.zero_grad()
        value = loss()
        losses.append(value.item())
        value.backward()
        if first is None:
            first = {name: p.grad.clone() for name, p in w.items()}
        optimizer.step()
    losses.append(loss().item())
    with open("%s/train-%s.bin" % (directory, case), "wb") as out:
        out.write(struct.pack("<11d", *losses))
        for name, p in w.items():
            text, every = name.encode(), step if is_matrix[name] else 1
            out.write(struct.pack("<I", len(text)) + text + struct.pack("<II", p.numel(), every))
            out.write(summary(first[name], first[name], every))
            out.write(summary(p.detach() - start[name], p.detach(), every))


for name in sys.argv[2:]:
    make(sys.argv[1], name)
