"""Faults to plant, one at a time: what a fuzzer worth its time has to find.

Each is a change of one place of the source. `old` stands there exactly once (a test checks it), so
that the list can't rot; when that place is rewritten, plant the same mistake in what replaced it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plant:
    name: str
    file: str
    old: str
    new: str
    breaks: str


PLANTS = [
    Plant(
        "wrong-gradient",
        "autograd/reductions.cpp",
        "out[0] = running_from_end(Op::Cumsum, g, c.axes[0]);",
        "out[0] = running(Op::Cumsum, g, c.axes[0]);",
        "the gradient of cumsum sums from the wrong end",
    ),
    Plant(
        "not-transposed",
        "autograd/rules.cpp",
        "out[0] = ops::permute(g, inverse);",
        "out[0] = ops::permute(g, c.axes);",
        "the gradient of a permutation permutes again instead of back",
    ),
    Plant(
        "one-use-forgotten",
        "autograd/reverse.cpp",
        "  sum = sum ? sum + cotangent : cotangent;\n  level.highest",
        "  sum = cotangent;\n  level.highest",
        "of a value used twice, only one use reaches its gradient",
    ),
    Plant(
        "wrong-tangent",
        "autograd/elementwise.cpp",
        "if (term) sum = sum ? sum + term : term;",
        "if (term && !sum) sum = term;",
        "forward mode drops the tangent of a second operand",
    ),
    Plant(
        "no-grad-ignored",
        "trace/resolve.cpp",
        "view.detached ? 0 : (all & ~DerivativeMask{view.blocked}) | (all << 16);",
        "(all & ~DerivativeMask{view.blocked}) | (all << 16);",
        "a detached view passes gradients",
    ),
    Plant(
        "dropped-write",
        "trace/view.cpp",
        "  rebind(root, value);\n  if (home.storage",
        "  if (chain.size() < 2) rebind(root, value);\n  if (home.storage",
        "a write to a view of a view does not reach the base",
    ),
    Plant(
        "exposed-residual",
        "trace/compact.cpp",
        "node.value = make_private(stored.find(id));",
        "node.value = index.empty() ? make_private(stored.find(id)) : stored.find(id);",
        "what backward saved changes when memory known outside is written",
    ),
    Plant(
        "wrong-batching",
        "trace/batch_structural.cpp",
        "return to_front(result, c.batched[0] ? batches : batches + free_a);",
        "return to_front(result, c.batched[0] ? batches : batches + free_a - free_a);",
        "vmap over the second operand of a matrix product moves the wrong axis",
    ),
    Plant(
        "stale-numbers",
        "trace/match.cpp",
        "std::copy(sizes, sizes + copy.sizes, program.attributes.begin() + copy.to + copy.axes);",
        "if (sizes == nullptr) program.attributes.clear();",
        "a predicted program keeps the slice starts and scalars of the time before",
    ),
    Plant(
        "donated-too-early",
        "trace/extract.cpp",
        "storage.use_count() == 2 &&",
        "storage.use_count() <= 3 &&",
        "a buffer that one more holder still needs is overwritten",
    ),
    Plant(
        "wrong-simplification",
        "jit/simplify/simplify.cpp",
        "    for (int64_t axis : node.axes) append(key, axis);\n",
        "    if (node.op == Op::Constant) append(key, node.axes[1]);\n",
        "two operations that differ in their axes only are taken for one",
    ),
    Plant(
        "wrong-stride",
        "jit/schedule/access.cpp",
        "if (!((unit >> d) & 1)) e = algebra.scale(e, attribute(rank + d));",
        "if (!((unit >> d) & 1) && d > 0) e = algebra.scale(e, attribute(rank + d));",
        "the step of a slice is ignored in the first dimension",
    ),
    Plant(
        "wrong-mask",
        "jit/schedule/row.cpp",
        "const Pack sum = b.binary(reducers_[r].combine, carried[r], operand(r));\n"
        "            next.push_back(b.select(mask, sum, carried[r]));",
        "next.push_back(b.binary(reducers_[r].combine, carried[r], operand(r)));",
        "lanes past the end of a row take part in its reduction",
    ),
    Plant(
        "missing-chunk",
        "jit/plan/launch.cpp",
        "range = (range + step.divide_range - 1) / step.divide_range;",
        "range = std::max<int64_t>(range / step.divide_range, 1);",
        "a sum over a whole tensor misses its last chunk of up to 32,767 elements",
    ),
    Plant(
        "lifetimes-overlap",
        "jit/plan/bind.cpp",
        "if ((*buffers_)[other].last < (*buffers_)[id].first ||",
        "if ((*buffers_)[other].last <= (*buffers_)[id].first ||",
        "a temporary takes the memory of one that the same step still reads",
    ),
    Plant(
        "wrong-split",
        "core/threads.cpp",
        "const std::int64_t first = chunk * size + std::min(chunk, longer);",
        "const std::int64_t first = chunk * size;",
        "threads share the elements out wrongly unless they divide evenly",
    ),
    Plant(
        "wrong-rounding",
        "jit/llvm/cast.cpp",
        "b_.CreateAdd(odd, integer(i32, 0x7fff))",
        "b_.CreateAdd(b_.CreateAnd(odd, integer(i32, 0)), integer(i32, 0x8000))",
        "float32 to bfloat16 rounds ties up in machine code",
    ),
    Plant(
        "wrong-counter",
        "jit/loop/math.cpp",
        "const Pack word = b.and_(low(element), number(3));",
        "const Pack word = b.and_(low(element), number(1));",
        "random numbers take two of the four words of each block",
    ),
    Plant(
        "scatter-overwrites",
        "jit/schedule/column.cpp",
        "      if (adds) {\n",
        "      if (adds && !is_put) {\n",
        "elements scattered to one place replace each other instead of adding up",
    ),
]
