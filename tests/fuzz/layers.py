"""Convolutions, pooling, norms and attention, drawn and applied here: instructions `layer.*`.

A convolution's weight, a norm's scale, keys and values are made of a second tensor of the program,
so that their gradients are compared too. Pooling looks for a maximum among different elements only.
"""

from __future__ import annotations

from math import prod
from typing import Any

from tests.fuzz.programs import Instruction, Shape

SPREAD = 0.4  # of what makes elements different
LARGEST_WEIGHT = 4_000
CONVOLUTIONS = ("conv", "conv_transpose")
POOLS = ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool")
NORMS = ("layer_norm", "rms_norm", "group_norm", "instance_norm", "batch_norm")


def spread(m: Any, x: Any) -> Any:
    """x with elements that differ: a rounding must not decide which is largest."""
    n = prod(x.shape)
    return x + (m.arange(n, dtype=x.dtype) * 1.37).sin().reshape(x.shape) * SPREAD


def of_size(m: Any, y: Any, shape: Shape) -> Any:
    """A tensor of this shape, made of the elements of y again and again."""
    flat = y.reshape(-1)
    index = m.arange(prod(shape)) * 7 % flat.shape[0]
    return flat.index_select(0, index).reshape(shape)


def composed(name: str, x: Any, scale: Any, o: dict[str, Any]) -> Any:
    """The judge's norms. PyTorch's own have a wrong gradient of their tangent (2.13)."""
    shape, rank = x.shape, x.ndim
    dims = {
        "layer_norm": range(rank - len(o["scale"]), rank),
        "group_norm": range(2, 1 + rank),
        "instance_norm": range(2, rank),
        "batch_norm": [0, *range(2, rank)],
    }[name]
    if name == "group_norm":
        x = x.reshape(shape[0], o["groups"], -1, *shape[2:])
    centred = x - x.mean(tuple(dims), keepdim=True)
    x = centred / (centred.square().mean(tuple(dims), keepdim=True) + 0.1).sqrt()
    if name != "layer_norm":
        scale = scale.reshape(-1, *[1] * (rank - 2))
    return x.reshape(shape) * scale + scale * 0.5


def attend(m: Any, query: Any, y: Any, o: dict[str, Any]) -> Any:
    """Attention; the judge's composed, since PyTorch's own has no forward derivative."""
    key, value = of_size(m, y, o["key"]), of_size(m, y.reshape(-1).flip(0) * 0.7, o["value"])
    rows, columns = query.shape[-2], key.shape[-2]
    row, column = m.arange(rows).reshape(-1, 1), m.arange(columns)
    mask = {
        "none": None,
        "causal": column <= row,
        "mask": (row * 3 + column * 2) % 5 != 1,  # two neighbours are never both out of sight
    }[o["mask"]]
    if m.__name__ == "torch":
        logits = query @ key.transpose(-1, -2) * o["scale"]
        if mask is not None:
            logits = logits.masked_fill(~mask, -float("inf"))
        return logits.softmax(-1) @ value
    options = {"is_causal": True} if o["mask"] == "causal" else {"attn_mask": mask}
    return m.nn.functional.scaled_dot_product_attention(
        query, key, value, scale=o["scale"], **options
    )


def apply(m: Any, name: str, operands: list[Any], o: dict[str, Any]) -> Any:
    functional = m.nn.functional
    x = operands[0].reshape(o["shape"])
    if name == "attention":
        return attend(m, x, operands[1], o)
    if name in CONVOLUTIONS:
        weight = of_size(m, operands[1], o["weight"]) * 0.3
        options = {k: o[k] for k in ("stride", "padding", "dilation", "groups")}
        if "output_padding" in o:
            options["output_padding"] = o["output_padding"]
        bias = weight.reshape(weight.shape[0], -1).sum(1) if o["bias"] else None
        return getattr(functional, f"{name}{o['rank']}d")(x, weight, bias, **options)
    if name.startswith("adaptive"):
        return getattr(functional, f"{name}{o['rank']}d")(spread(m, x), o["size"])
    if name in POOLS:
        options = {k: o[k] for k in ("stride", "padding", "ceil_mode")}
        return getattr(functional, f"{name}{o['rank']}d")(spread(m, x), o["window"], **options)
    x = spread(m, x)
    scale = of_size(m, operands[1], o["scale"])
    if m.__name__ == "torch" and name != "rms_norm":
        return composed(name, x, scale, o)
    if name == "layer_norm":
        return functional.layer_norm(x, o["scale"], scale, scale * 0.5, eps=0.1)
    if name == "rms_norm":
        return functional.rms_norm(x, o["scale"], scale, eps=0.1)
    if name == "group_norm":
        return functional.group_norm(x, o["groups"], scale, scale * 0.5, eps=0.1)
    if name == "instance_norm":
        return functional.instance_norm(x, weight=scale, bias=scale * 0.5, eps=0.1)
    assert name == "batch_norm"
    return functional.batch_norm(x, None, None, scale, scale * 0.5, training=True, eps=0.1)


def image_of(r: Any, shape: Shape) -> Shape | None:
    """(N, C, spatial...) of as many elements as a tensor has."""
    if not shape or 0 in shape:
        return None
    if len(shape) == 1:
        return (1, 1, *shape)
    if len(shape) == 2:
        return r.choice([(1, *shape), (1, 1, *shape), (*shape, 1)])
    if len(shape) == 3:
        return r.choice([shape, (1, *shape), (shape[0], 1, *shape[1:])])
    return shape if len(shape) <= 5 else None


def draw(drawer: Any) -> tuple[Instruction, Any] | None:
    r = drawer.random
    i, j = drawer.pick("float"), drawer.pick("float")
    if i is None or 0 in drawer.known[j].shape:
        return None
    x, y = drawer.known[i], drawer.known[j]
    shape = image_of(r, x.shape)
    if shape is None:
        return None
    name = r.choice([*CONVOLUTIONS * 3, *POOLS, *NORMS, *["attention"] * 3])
    rank = len(shape) - 2
    options: dict[str, Any] = {"shape": shape, "rank": rank}
    bound = x.storage.bound + SPREAD
    if name in CONVOLUTIONS:
        result = draw_convolution(r, name, shape, options)
        if result is None:
            return None
        taps = prod(options["weight"][1:]) if name == "conv" else prod(options["weight"])
        bound = 0.3 * (taps * x.storage.bound + taps) * y.storage.bound
    elif name in POOLS:
        result = draw_pool(r, name, shape, options)
    elif name == "attention":
        result = draw_attention(r, shape, options)
        bound = y.storage.bound
    else:
        result = draw_norm(r, name, shape, options)
        bound = (prod(shape) ** 0.5 + 0.5) * y.storage.bound
    if result is None:
        return None
    operands = [i] if name in POOLS else [i, j]
    varies = any(drawer.known[k].varies for k in operands)
    return Instruction(f"layer.{name}", operands, options), drawer.fresh(result, bound, varies)


def draw_convolution(r: Any, name: str, shape: Shape, options: dict[str, Any]) -> Shape | None:
    rank, channels = options["rank"], shape[1]
    groups = r.choice([g for g in (1, 1, 2, 3, channels) if channels % g == 0 and g <= 8])
    others = r.choice([1, 2, 3, 5])
    window, stride, padding, dilation, space, extra = [], [], [], [], [], []
    for n in shape[2:]:
        k, s, d = r.choice([1, 2, 3]), r.choice([1, 1, 2]), r.choice([1, 1, 2])
        p = r.randint(0, k - 1)
        if name == "conv":
            extent = (n + 2 * p - d * (k - 1) - 1) // s + 1
        else:
            extra.append(r.randrange(max(s, d)))
            extent = (n - 1) * s - 2 * p + d * (k - 1) + extra[-1] + 1
        if extent < 1 or n + 2 * p < d * (k - 1) + 1:
            return None
        space.append(extent)
        for values, value in zip((window, stride, padding, dilation), (k, s, p, d)):
            values.append(value)
    out = others * groups
    first = (out, channels // groups) if name == "conv" else (channels, others)
    weight = (*first, *window)
    if prod(weight) > LARGEST_WEIGHT:
        return None
    options |= {"weight": weight, "stride": stride, "padding": padding, "dilation": dilation}
    options |= {"groups": groups, "bias": name == "conv" and r.random() < 0.5}
    if name != "conv":
        options["output_padding"] = extra
    options["rank"] = rank
    return (shape[0], out, *space)


def draw_pool(r: Any, name: str, shape: Shape, options: dict[str, Any]) -> Shape | None:
    if name.startswith("adaptive"):
        options["size"] = tuple(r.randint(1, min(n, 4)) for n in shape[2:])
        return (*shape[:2], *options["size"])
    window, stride, padding, space = [], [], [], []
    ceil_mode = r.random() < 0.3
    for n in shape[2:]:
        k, s = r.choice([1, 2, 3]), r.choice([1, 2])
        p = r.randint(0, k // 2)
        if n + 2 * p < k:
            return None
        extent = (n + 2 * p - k + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (extent - 1) * s >= n + p:  # no window begins behind the input
            extent -= 1
        for values, value in zip((window, stride, padding, space), (k, s, p, extent)):
            values.append(value)
    options |= {"window": window, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    return (*shape[:2], *space)


def draw_attention(r: Any, shape: Shape, options: dict[str, Any]) -> Shape | None:
    *batch, _, width = shape
    keys, channels = r.choice([2, 3, 5, 17]), r.choice([1, 2, 4, 9])
    options |= {"key": (*batch, keys, width), "value": (*batch, keys, channels)}
    if max(prod(options["key"]), prod(options["value"])) > LARGEST_WEIGHT:
        return None
    options |= {"mask": r.choice(["none", "causal", "mask"]), "scale": 0.3 / width**0.5}
    return (*shape[:-1], channels)


def draw_norm(r: Any, name: str, shape: Shape, options: dict[str, Any]) -> Shape | None:
    if name in ("layer_norm", "rms_norm"):
        options["scale"] = shape[r.randrange(len(shape)) :]
        return shape
    options["scale"] = (shape[1],)
    if name == "group_norm":
        options["groups"] = r.choice([g for g in (1, 2, 3, shape[1]) if shape[1] % g == 0])
    many = prod(shape[2:]) if name == "instance_norm" else shape[0] * prod(shape[2:])
    if name == "group_norm":
        many = prod(shape[1:]) // options["groups"]
    return shape if many > 1 else None  # of one element there is no variance
