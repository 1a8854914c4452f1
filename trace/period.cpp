#include "trace/period.h"

#include <algorithm>

#include "core/types.h"

namespace tenon {
namespace {

uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
  return hash ^ (hash >> 29);
}

bool is_source(const Node& node) {
  return node.op == Op::Input || node.op == Op::Constant || node.op == Op::Iota;
}

bool moves_one_operand(const Node& node) {
  const PrimitiveClass group = info(node.op).group;
  return node.operand_count == 1 && (group == PrimitiveClass::Movement || node.op == Op::Alias);
}

uint64_t distance_to(uint64_t position, uint64_t operand) {
  if (operand == 0 || position - operand > kNearTokens) return 0;
  return position - operand;
}

// z[i]: how many tokens from i on equal those from the start.
template <class At>
std::vector<size_t> z_function(size_t n, At&& at) {
  std::vector<size_t> z(n, 0);
  for (size_t i = 1, left = 0, right = 0; i < n; ++i) {
    if (i < right) z[i] = std::min(right - i, z[i - left]);
    while (i + z[i] < n && at(z[i]) == at(i + z[i])) ++z[i];
    if (i + z[i] > right) {
      left = i;
      right = i + z[i];
    }
  }
  return z;
}

// The smallest period that lasts two turns and covers `least` tokens from the start.
size_t smallest_period(const std::vector<size_t>& z, size_t least) {
  for (size_t p = 1; 2 * p <= z.size(); ++p) {
    if (z[p] >= p && p + z[p] >= least) return p;
  }
  return 0;
}

// Where in a turn to cut: the fewest values live on from one side to the other (between two steps
// of a training loop, say, and not in the middle of one). The place in the first turn.
struct Boundary {
  size_t at;
  size_t crossing;
};
Boundary best_boundary(const Stream& stream, const Repetition& loop) {
  // Counted in the second turn, where both sides are the loop's.
  const size_t first = loop.begin + loop.period, last = first + loop.period;
  std::vector<int> change(loop.period + 1, 0);
  for (size_t i = loop.begin; i < last; ++i) {
    const size_t use = std::min<size_t>(stream.last_uses[i], last);
    const size_t from = std::max(i + 1, first);  // crosses boundaries i + 1 .. use
    if (use < from) continue;
    ++change[from - first];
    if (use + 1 <= last) --change[use + 1 - first];
  }
  Boundary best{loop.begin, ~size_t{0}};
  int crossing = 0;
  for (size_t i = 0; i < loop.period; ++i) {
    crossing += change[i];
    if (static_cast<size_t>(crossing) < best.crossing) {
      best = {loop.begin + i, static_cast<size_t>(crossing)};
    }
  }
  return best;
}

// The largest power of four that fits.
size_t turns_in_piece(size_t period) {
  size_t turns = 1;
  while (4 * turns * period <= kPieceTokens) turns *= 4;
  return turns;
}

// Loops of a stretch that is run as a whole, in pieces.
void cut_stretch(const Stream& stream, size_t low, size_t high, int depth,
                 std::vector<size_t>& cuts) {
  constexpr size_t kFewestTokens = 64, kFewestTurns = 8;
  constexpr int kDeepest = 4;
  if (depth > kDeepest || high - low < kFewestTokens) return;
  const auto tokens = std::span(stream.tokens).subspan(low, high - low);
  Repetition loop = find_repetition_at_end(tokens);
  if (loop.count() < kFewestTurns) loop = find_repetition(tokens);
  if (loop.count() < kFewestTurns) return;
  loop.begin += low;
  loop.end += low;
  // Turns that don't depend on each other (an optimizer's parameters) are no loop in time; they
  // are better side by side in one program.
  const auto [begin, crossing] = best_boundary(stream, loop);
  if (crossing == 0) return;
  cut_stretch(stream, low, begin, depth + 1, cuts);
  if (begin > low) cuts.push_back(begin);
  size_t at = begin, turns = (loop.end - begin) / loop.period;
  for (size_t piece = turns_in_piece(loop.period); turns > 0; piece /= 4) {
    for (; turns >= piece; turns -= piece) {
      at += piece * loop.period;
      cuts.push_back(at);
    }
  }
  cut_stretch(stream, at, high, depth + 1, cuts);
  if (!cuts.empty() && cuts.back() == high) cuts.pop_back();
}

}  // namespace

Stream make_stream(const Segment& segment) {
  Stream stream;
  const size_t n = segment.nodes.size();
  stream.positions.assign(n, 0);
  std::vector<uint64_t> looks(n, 0);  // stands for a node without a token in those of its users
  stream.tokens.reserve(n);
  stream.nodes.reserve(n);
  stream.last_uses.reserve(n);
  for (NodeId id = 0; id < n; ++id) {
    const Node& node = segment.nodes[id];
    if (node.op == Op::Input) {
      stream.positions[id] = segment.sources[node.attributes].position;
      continue;
    }
    const uint64_t position = segment.first_position + stream.tokens.size();
    const auto operands = segment.operands_of(node);
    const Type& type = type_of(node.type);
    uint64_t token =
        mix(static_cast<uint64_t>(node.op), static_cast<uint64_t>(type.dtype) << 8 | type.rank);
    for (int64_t axis : segment.axes_of(node)) token = mix(token, static_cast<uint64_t>(axis));
    if (node.flags & Node::kLeaf) {
      const LeafAnchor* leaf = segment.leaves[node.attributes].get();
      token = mix(token, reinterpret_cast<uintptr_t>(leaf));
    }
    if (is_source(node) ||
        (moves_one_operand(node) && distance_to(position, stream.positions[operands[0]]) == 0)) {
      looks[id] = is_source(node) ? token : mix(token, looks[operands[0]]);
      continue;
    }
    token = mix(token, node.mask);
    for (NodeId operand : operands) {
      const uint64_t distance = distance_to(position, stream.positions[operand]);
      token = mix(mix(token, distance), looks[operand]);
      if (distance != 0 && stream.positions[operand] >= segment.first_position) {
        stream.last_uses[stream.positions[operand] - segment.first_position] =
            static_cast<uint32_t>(stream.tokens.size());
      }
    }
    stream.positions[id] = position;
    stream.last_uses.push_back(static_cast<uint32_t>(stream.tokens.size()));
    stream.tokens.push_back(token);
    stream.nodes.push_back(id);
  }
  return stream;
}

Repetition find_repetition_at_end(std::span<const uint64_t> tokens) {
  const size_t n = tokens.size();
  const auto z = z_function(n, [&](size_t i) { return tokens[n - 1 - i]; });
  const size_t period = smallest_period(z, (n + 1) / 2);
  if (period == 0) return {};
  return {n - (period + z[period]), period, n};
}

Repetition find_repetition(std::span<const uint64_t> tokens) {
  const size_t n = tokens.size(), middle = n / 2;
  const auto z = z_function(n - middle, [&](size_t i) { return tokens[middle + i]; });
  const size_t period = smallest_period(z, n / 8 + 1);
  if (period == 0) return {};
  Repetition loop{middle, period, middle + period + z[period]};
  while (loop.begin > 0 && tokens[loop.begin - 1] == tokens[loop.begin - 1 + period]) --loop.begin;
  return 2 * (loop.end - loop.begin) >= n ? loop : Repetition{};
}

std::vector<size_t> cuts_for_cap(const Stream& stream) {
  const Repetition loop = find_repetition_at_end(stream.tokens);
  if (loop.period == 0) return {};
  const size_t begin = best_boundary(stream, loop).at;
  std::vector<size_t> cuts;
  cut_stretch(stream, 0, begin, 0, cuts);
  if (begin > 0) cuts.push_back(begin);
  const size_t piece = turns_in_piece(loop.period) * loop.period;
  for (size_t at = begin + piece; at <= loop.end; at += piece) cuts.push_back(at);
  return cuts;
}

std::vector<size_t> cuts_for_flush(const Stream& stream) {
  std::vector<size_t> cuts;
  cut_stretch(stream, 0, stream.tokens.size(), 0, cuts);
  return cuts;
}

}  // namespace tenon
