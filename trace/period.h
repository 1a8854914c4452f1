// Where to cut a stream of recorded operations so that a loop gives the same pieces again and
// again.
//
// A token stands for a node: operation, dtype, rank, structural attributes, and for each operand
// its distance, or 0 if that is large or the operand is a buffer. Equal tokens are a heuristic (the
// plan's key is exact), so a wrong cut costs a plan, never a value. Inputs, constants and views of
// them have no token of their own: a segment records them once, at their first use, and not in each
// turn of a loop.
// Leaves that require grad differ from each other, so that equal layers are no loop.
// (A value from before a cap's cut keeps its distance, else each segment would begin with a turn
// that looks different.)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trace/segment.h"

namespace tenon {

struct Stream {
  std::vector<uint64_t> tokens;
  std::vector<NodeId> nodes;        // that of each token
  std::vector<uint32_t> last_uses;  // token of the last near user, or the token itself
  std::vector<uint64_t> positions;  // of the segment's nodes: 1 + place in the recorder's whole
                                    // stream since the last flush; 0: a buffer's, or far away
};
Stream make_stream(const Segment& segment);

// tokens[i] == tokens[i - period] for begin + period <= i < end. period 0: none.
struct Repetition {
  size_t begin = 0, period = 0, end = 0;
  size_t count() const { return period == 0 ? 0 : (end - begin) / period; }
};
// The smallest period whose repeats reach the end and cover at least half.
Repetition find_repetition_at_end(std::span<const uint64_t> tokens);
// The same for repeats that only have to reach past the middle, grown to both sides.
Repetition find_repetition(std::span<const uint64_t> tokens);

// Cuts (places in the stream, ascending, none at its end) for a stream that has grown too long: the
// part before the loop, then pieces of so many turns that they have at most kPieceTokens; the rest
// stays pending. Empty when there is no loop.
std::vector<size_t> cuts_for_cap(const Stream& stream);
// Cuts for a stream that is flushed as a whole: loops in pieces as above, the rest of their turns
// in powers of four, so that loops of ever new lengths need few plans. (Powers of two halve the
// runs of such a rest and double the plans, which cost a thousand times more.)
std::vector<size_t> cuts_for_flush(const Stream& stream);

inline constexpr size_t kPieceTokens = 512;
inline constexpr uint64_t kNearTokens = 1024;

}  // namespace tenon
