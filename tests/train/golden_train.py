#!/usr/bin/env python3
"""Makes tests/train/golden/*.bin: losses, gradients and ten AdamW steps by PyTorch.

Usage: golden_train.py DIR CASE...

DIR/train-CASE.gguf is what `test_torch --write DIR` wrote: random F32 weights. The network here is
written from the formulas (RMSNorm, rope, grouped attention, SwiGLU), in double; autograd and
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


def logits_of(keys, w, ids):
    arch = keys["general.architecture"]
    key = lambda name: keys[arch + "." + name]
    eps, theta = key("attention.layer_norm_rms_epsilon"), key("rope.freq_base")
    heads, kv_heads = key("attention.head_count"), key("attention.head_count_kv")
    x = w["token_embd.weight"][ids]
    n = len(ids)
    mask = torch.full((n, n), float("-inf"), dtype=torch.float64).triu(1)
    for i in range(key("block_count")):
        t = lambda name: w["blk.%d.%s.weight" % (i, name)]

        def linear(y, name):
            bias = w.get("blk.%d.%s.bias" % (i, name))
            return y @ t(name).T + (0 if bias is None else bias)

        y = rms_norm(x, t("attn_norm"), eps)
        q = linear(y, "attn_q").reshape(n, heads, -1)
        k = linear(y, "attn_k").reshape(n, kv_heads, -1)
        v = linear(y, "attn_v").reshape(n, kv_heads, -1)
        if "blk.%d.attn_q_norm.weight" % i in w:
            q, k = rms_norm(q, t("attn_q_norm"), eps), rms_norm(k, t("attn_k_norm"), eps)
        q, k = rope(q, theta, arch == "llama"), rope(k, theta, arch == "llama")
        k, v = (z.repeat_interleave(heads // kv_heads, 1) for z in (k, v))
        p = (torch.einsum("thd,shd->hts", q, k) / q.shape[-1] ** 0.5 + mask).softmax(-1)
        x = x + linear(torch.einsum("hts,shd->thd", p, v).reshape(n, -1), "attn_output")
        y = rms_norm(x, t("ffn_norm"), eps)
        gate = linear(y, "ffn_gate")
        x = x + linear(gate * torch.sigmoid(gate) * linear(y, "ffn_up"), "ffn_down")
    return rms_norm(x, w["output_norm.weight"], eps) @ w.get("output.weight",
                                                             w["token_embd.weight"]).T


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
    matrices = [p for p in w.values() if p.dim() == 2]
    vectors = [p for p in w.values() if p.dim() == 1]
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
            text, every = name.encode(), step if p.dim() == 2 else 1
            out.write(struct.pack("<I", len(text)) + text + struct.pack("<II", p.numel(), every))
            out.write(summary(first[name], first[name], every))
            out.write(summary(p.detach() - start[name], p.detach(), every))


for name in sys.argv[2:]:
    make(sys.argv[1], name)
