"""A character-level GPT and the text it learns, as an ordinary PyTorch program.

Nothing here knows that Tenon records and compiles; with `tenon` replaced by `torch` in the three
imports below the file is a PyTorch program, which is how `compare_gpt.py` makes its peer.
"""

from __future__ import annotations

import numpy as np
from task import Config, Text, Training, initial_value

import tenon as tn
import tenon.nn.functional as F
from tenon import nn


class Attention(nn.Module):
    """Causal self-attention; with a cache, of the newest positions over all earlier ones."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x, cache=None, start=0):
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if cache is None:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            keys, values = cache
            keys[:, :, start : start + length] = k
            values[:, :, start : start + length] = v
            end = start + length
            # With one new position every cached one is visible; a prompt starts an empty cache.
            y = F.scaled_dot_product_attention(
                q, keys[:, :, :end], values[:, :, :end], is_causal=length > 1
            )
        return self.proj(y.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.norm2 = nn.LayerNorm(config.width)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, 4 * config.width),
            nn.GELU(),
            nn.Linear(4 * config.width, config.width),
        )

    def forward(self, x, cache=None, start=0):
        x = x + self.attention(self.norm1(x), cache, start)
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Characters (batch, length) int64 to logits (batch, length, vocabulary) float32."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.token = nn.Embedding(config.vocabulary, config.width)
        self.position = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)

    def forward(self, tokens, caches=None, start=0):
        positions = tn.arange(start, start + tokens.shape[1], device=tokens.device)
        x = self.token(tokens) + self.position(positions)
        for i, block in enumerate(self.blocks):
            x = block(x, None if caches is None else caches[i], start)
        return self.head(self.norm(x))

    def new_caches(self):
        """Empty keys and values of every layer, for one sequence."""
        c = self.config
        shape, device = (1, c.heads, c.context, c.width // c.heads), self.head.weight.device
        return [
            (tn.zeros(shape, device=device), tn.zeros(shape, device=device))
            for _ in range(c.layers)
        ]


def tensors(arrays, device=None):
    return [tn.tensor(a, device=device) for a in arrays]


def loss_of(model, inputs, targets):
    """Mean cross-entropy in nats a character."""
    logits = model(inputs)
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def initialize(model, seed: int = 0) -> None:
    """GPT-2's initial values, the same in any framework."""
    rng = np.random.default_rng(seed)
    with tn.no_grad():
        for name, parameter in model.named_parameters():
            shape = tuple(parameter.shape)
            parameter.copy_(tn.from_numpy(initial_value(name, shape, len(model.blocks), rng)))


def train(model, text: Text, options: Training, **adamw):
    """Trains, yielding every step's loss before anything has to read it."""
    optimizer = tn.optim.AdamW(
        model.parameters(),
        lr=options.lr,
        betas=(0.9, 0.99),
        weight_decay=options.weight_decay,
        **adamw,
    )
    rng = np.random.default_rng(options.seed)
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate(step)
        arrays = text.batch(rng, options.batch, model.config.context)
        loss = loss_of(model, *tensors(arrays, model.head.weight.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss


def held_out_loss(model, text: Text, batch: int) -> float:
    """Mean loss over the held-out part, in nats a character."""
    total, count = 0.0, 0
    model.eval()
    with tn.no_grad():
        for windows in text.held_out_batches(batch, model.config.context):
            inputs, targets = tensors(windows, model.head.weight.device)
            total += loss_of(model, inputs, targets).item() * targets.numel()
            count += targets.numel()
    model.train()
    return total / count


def generate(model, text: Text, prompt: str, length: int, seed: int = 0, temperature: float = 0.8):
    """Yields `length` characters, one at a time, reading keys and values from a cache."""
    rng = np.random.default_rng(seed)
    context = model.config.context
    numbers = list(text.encode(prompt))
    model.eval()
    with tn.no_grad():
        caches, start, pending = model.new_caches(), 0, numbers
        for _ in range(length):
            if start + len(pending) > context:
                # The window is full: go on from its second half.
                caches, start, pending = model.new_caches(), 0, numbers[-context // 2 :]
            logits = model(tn.tensor([pending]), caches, start)[0, -1]
            start += len(pending)
            p = (logits / temperature).softmax(-1).numpy().astype(np.float64)
            drawn = int(rng.choice(len(p), p=p / p.sum()))
            numbers.append(drawn)
            pending = [drawn]
            yield text.decode([drawn])
    model.train()
