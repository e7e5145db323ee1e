#!/usr/bin/env python3
"""Makes tests/train/golden/preference-*.bin: objectives that compare answers, by PyTorch.

Usage: golden_preference.py DIR CASE...

DIR/student.gguf and DIR/teacher.gguf are what `test_preference --write DIR` wrote. The network is golden_train.py's, in
double; the losses are those of the papers, spelled as TRL has them (DPOTrainer, CPOTrainer,
ORPOTrainer, KTOTrainer), autograd does the rest. Entries and references are those of
test_preference.c.

DIR/preference-CASE.bin: f64 loss (mean over the entries; of distill over the tokens), f64 rewards of both
answers of each entry (of labels: of its one; of distill none), then per tensor as golden_train.py's: u32 length of the name, name, u32
elements, u32 step, and of the gradient f64 length, f64 sum along random signs, every step-th element
as f32.
"""
import os
import struct
import sys

arguments, sys.argv[1:] = sys.argv[1:], []  # golden_train.py would make its own
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

from golden_train import logits_of, read_gguf, summary  # noqa: E402

SPANS = [9, 12, 7, 15]  # chosen, rejected, chosen, rejected; of labels: good, bad, bad, good
PROMPTS = [3, 3, 4, 4]  # tokens before the answer, of which none is predicted
REFERENCE = [-26.5, -42.0, -15.0, -49.5]
GOOD = [True, False, False, True]
KL = 0.75

# objective, beta, smoothing, normalized, margin, desirable, undesirable
CASES = {
    "dpo": ("dpo", 0.1, 0.0, False),
    "cdpo": ("dpo", 0.3, 0.2, False),
    "dpo-mean": ("dpo", 0.5, 0.0, True),
    "ipo": ("ipo", 0.25, 0.0, True),
    "simpo": ("simpo", 2.0, 0.1, True),
    "orpo": ("orpo", 0.2, 0.0, True),
    "kto": ("kto", 0.15, 0.0, False),
    "distill": ("distill", 0.3, 0.0, False),  # the teacher's weight
}
MARGIN, DESIRABLE, UNDESIRABLE = 0.8, 1.0, 1.33


def pair_loss(kind, beta, smoothing, logps, lengths):
    """Of one pair: loss, and the rewards."""
    reference = [REFERENCE[i] for i in logps]
    a, b = logps.values()
    n, m = (lengths[i] for i in logps)
    if kind == "dpo":
        logits = (a - reference[0]) - (b - reference[1])
        if lengths["mean"]:
            logits = (a - reference[0]) / n - (b - reference[1]) / m
    if kind == "ipo":
        logits = (a - reference[0]) / n - (b - reference[1]) / m
        loss = (logits - 1 / (2 * beta)) ** 2
    elif kind == "simpo":
        gamma_logratios = MARGIN / beta
        logits = a / n - b / m - gamma_logratios
    elif kind == "orpo":
        x, y = a / n, b / m
        log_odds = (x - y) - (torch.log1p(-torch.exp(x)) - torch.log1p(-torch.exp(y)))
        loss = -x - beta * F.logsigmoid(log_odds)
    if kind in ("dpo", "simpo"):
        loss = (-F.logsigmoid(beta * logits) * (1 - smoothing)
                - F.logsigmoid(-beta * logits) * smoothing)
    if kind in ("simpo", "orpo"):
        rewards = [beta * a / n, beta * b / m]
    elif kind == "ipo" or lengths["mean"]:
        rewards = [beta * (a - reference[0]) / n, beta * (b - reference[1]) / m]
    else:
        rewards = [beta * (a - reference[0]), beta * (b - reference[1])]
    return loss, rewards


def label_loss(beta, i, logp):
    ratio = logp - REFERENCE[i]
    if GOOD[i]:
        return DESIRABLE * (1 - torch.sigmoid(beta * (ratio - KL))), [beta * ratio]
    return UNDESIRABLE * (1 - torch.sigmoid(beta * (KL - ratio))), [beta * ratio]


def distill(directory, w, keys, ids):
    """(1 - weight) of the text's loss and the teacher's, Hinton's: T^2 KL of what T softens."""
    teacher_keys, teacher = read_gguf("%s/teacher.gguf" % directory)
    weight, temperature, losses, at = CASES["distill"][1], 1.7, [], 0
    for i, n in enumerate(SPANS):
        own, other = (logits_of(k, m, ids[at:at + n])[PROMPTS[i]:]
                      for k, m in ((keys, w), (teacher_keys, teacher)))
        wanted = torch.tensor([(t * t * 7 + 5) % 100 for t in range(at, at + n)][PROMPTS[i]:])
        text = F.cross_entropy(own, wanted, reduction="none")
        unlike = F.kl_div(F.log_softmax(own / temperature, -1),
                          F.log_softmax(other.detach() / temperature, -1), log_target=True,
                          reduction="none").sum(-1) * temperature ** 2
        losses.append((1 - weight) * text + weight * unlike)
        at += n
    return torch.cat(losses).mean()


def make(directory, case):
    kind, beta, smoothing, mean = CASES[case]
    keys, w = read_gguf("%s/student.gguf" % directory)
    ids = [(t * 37 + 11) % 50 for t in range(sum(SPANS))]
    logps, lengths, at = [], {"mean": mean}, 0
    for i, n in enumerate(SPANS):
        rows = F.log_softmax(logits_of(keys, w, ids[at:at + n]), -1)
        wanted = [(t * t * 7 + 5) % 100 for t in range(at, at + n)]
        logps.append(sum(rows[t, wanted[t]] for t in range(PROMPTS[i], n)))
        lengths[i] = n - PROMPTS[i]
        at += n
    if kind == "distill":
        entries = [(distill(directory, w, keys, ids), [])]
    elif kind == "kto":
        entries = [label_loss(beta, i, logps[i]) for i in range(4)]
    else:
        entries = [pair_loss(kind, beta, smoothing, {i: logps[i], i + 1: logps[i + 1]}, lengths)
                   for i in (0, 2)]
    loss = sum(e[0] for e in entries) / len(entries)
    loss.backward()
    with open("%s/preference-%s.bin" % (directory, case), "wb") as out:
        out.write(struct.pack("<d", loss.item()))
        for _, rewards in entries:
            out.write(struct.pack("<%dd" % len(rewards), *(r.item() for r in rewards)))
        for name, p in w.items():
            text = name.encode()
            out.write(struct.pack("<I", len(text)) + text + struct.pack("<II", p.numel(), 7))
            out.write(summary(p.grad, p.grad, 7))


for name in arguments[1:]:
    make(arguments[0], name)
