"""A training step of an LSTM: 64 steps of 32 sequences, 256 inputs, 512 hidden units; and forward.

python benchmarks/lstm_step.py [--case step] [--peers tenon torch jax.jit]

The step ends when the loss is read and the gradients of input, weights and biases are there.
torch.compile hands an LSTM to the same library function as torch.
"""

from __future__ import annotations

import numpy as np
from harness import Options, Peer, Runner, main

LENGTH, BATCH, INPUTS, HIDDEN = 64, 32, 256, 512
CASES = ("forward", "step", "forward 8x1x64", "step 8x1x64")  # the latter: length, batch, hidden


def sizes(case: str) -> tuple[int, int, int, int]:
    return (8, 1, 64, 64) if case.endswith("64") else (LENGTH, BATCH, INPUTS, HIDDEN)


def arrays(case: str) -> tuple[np.ndarray, list[np.ndarray]]:
    length, batch, inputs, hidden = sizes(case)
    rng = np.random.default_rng(0)
    bound = hidden**-0.5
    shapes = [(4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,)]
    x = rng.normal(size=(length, batch, inputs)).astype(np.float32)
    return x, [rng.uniform(-bound, bound, s).astype(np.float32) for s in shapes]


def joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(p).ravel() / np.abs(p).max() for p in parts])


def of_module(case: str, module, x, no_grad, evaluate) -> Runner:
    parameters = list(module.parameters())

    def forward():
        with no_grad():
            output = module(x)[0]
            evaluate(output)
            return [output]

    def step():
        for p in (*parameters, x):
            p.grad = None
        loss = module(x)[0].square().mean()
        loss.backward()
        gradients = [p.grad for p in (*parameters, x)]
        evaluate(loss, *gradients)
        loss.item()
        return gradients

    run = step if case.startswith("step") else forward
    if run is step:
        x.requires_grad_()
    return Runner(run, lambda: joined([t.detach().numpy() for t in run()]))


def tenon(case: str) -> Runner:
    import tenon as tn

    x, weights = arrays(case)
    module = tn.nn.LSTM(x.shape[2], sizes(case)[3])
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    module.load_state_dict({n: tn.tensor(w) for n, w in zip(names, weights, strict=True)})
    return of_module(case, module, tn.tensor(x), tn.no_grad, tn.eval)


def torch(case: str, compiled: bool = False) -> Runner:
    import torch

    x, weights = arrays(case)
    module = torch.nn.LSTM(x.shape[2], sizes(case)[3])
    with torch.no_grad():
        for parameter, weight in zip(module.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(weight))
    run = torch.compile(module, dynamic=False) if compiled else module
    return of_module(case, run, torch.from_numpy(x), torch.no_grad, lambda *_: None)


def torch_compile(case: str) -> Runner:
    return torch(case, compiled=True)


def jax_jit(case: str) -> Runner:
    import jax
    import jax.numpy as jnp

    on_host = arrays(case)
    x, weights = jnp.asarray(on_host[0]), [jnp.asarray(w) for w in on_host[1]]

    def forward(weights, x):
        w_ih, w_hh, b_ih, b_hh = weights

        def body(state, gates):
            h, c = state
            i, f, g, o = jnp.split(gates + h @ w_hh.T + b_hh, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((x.shape[1], w_hh.shape[1]), x.dtype)
        return jax.lax.scan(body, (zeros, zeros), x @ w_ih.T + b_ih)[1]

    def loss(weights, x):
        return (forward(weights, x) ** 2).mean()

    if case.startswith("step"):
        compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))

        def run():
            value, (of_weights, of_x) = compiled(weights, x)
            float(value)
            return [g.block_until_ready() for g in (*of_weights, of_x)]
    else:
        only = jax.jit(forward)

        def run():
            return [only(weights, x).block_until_ready()]

    return Runner(run, lambda: joined([np.asarray(a) for a in run()]))


PEERS: dict[str, Peer] = {
    "tenon": tenon,
    "torch": torch,
    "torch.compile": torch_compile,
    "jax.jit": jax_jit,
}

if __name__ == "__main__":
    main(__doc__, PEERS, list(CASES), Options(tolerance=1e-4, unit="ms", rounds=5))
