// Prediction: a program that repeats records the same nodes again, and then nothing about them has
// to be worked out again - which are alive, what derivatives save, the program to run.
//
// The recorder compares a sealed segment with those it sealed before, the successor of the last one
// first. Nodes (operations, types, wiring, derivative masks, origins) and the cells that name them
// must be the same; buffers, scalars and slice bounds may differ. A mismatch costs one comparison.
//
// Which cells are alive may change from run to run (a garbage collector's time, a name kept while
// debugging). A program that gives more than is asked for serves too, what nobody holds being
// dropped; only a set of results that comes again and again gets a program of its own. So n values
// that live or not cost at most about n programs, and not two to the n.
#pragma once

#include <memory>
#include <vector>

#include "trace/compact.h"
#include "trace/program.h"

namespace tenon {

// What running a segment needs, apart from its buffers and numbers.
struct RunRecipe {
  Residuals residuals;
  std::vector<NodeId> roots;   // computed by the run, ascending
  Program program;             // without inputs
  std::vector<NodeId> inputs;  // the segment's node for each input

  struct AttributeCopy {
    uint32_t from;  // offset in the segment's pool
    uint32_t to;    // offset in the program's
    uint32_t axes, sizes;
  };
  std::vector<AttributeCopy> attributes;
  bool wide = false;  // the program gives more than is alive

  std::vector<NodeId> nodes;  // the segment's node for each of the program's, ascending
  // See early.h: after how many of the segment's nodes to run what there is, how often in a row
  // the segment came as it was, and nanoseconds from the first point to the flush.
  std::vector<NodeId> early_points;
  bool early_is_known = false;
  int trust = 0;
  int64_t lead = 0;
};

// Works out a recipe from scratch.
RunRecipe make_recipe(const Segment& segment);
// The recipe's program with the segment's buffers; donatable where nobody else holds one.
void bind_inputs(RunRecipe& recipe, const Segment& segment);

class Predictor {
 public:
  // The recipe of an equal segment seen before, its attributes brought up to date, or a new one.
  std::shared_ptr<RunRecipe> recipe_for(const Segment& segment);

  // That of the segment predicted to come next; null where none is.
  RunRecipe* predicted() const;
  // The same if the segment so far is that one's beginning, as far as values go. The first
  // `compared` nodes are known to be.
  std::shared_ptr<RunRecipe> predicted_beginning(const Segment& segment, NodeId compared) const;

  // Whether the predicted segment has as many nodes. A cheap guess.
  bool expects(const Segment& segment) const;

  uint64_t matched = 0;
  uint64_t unmatched = 0;

 private:
  struct Seen {
    std::vector<Node> nodes;
    std::vector<uint32_t> operand_pool;
    std::vector<int64_t> attributes;
    std::vector<std::pair<NodeId, DerivativeMask>> cells;
    std::shared_ptr<RunRecipe> recipe;
    size_t next = 0;    // which followed it last time
    uint32_t uses = 0;  // of a wide recipe
  };
  static bool has_nodes_of(const Seen& seen, const Segment& segment);
  std::shared_ptr<RunRecipe> new_recipe(const Segment& segment);
  static bool update_attributes(Seen& seen, const Segment& segment);
  bool is_equal(Seen& seen, const Segment& segment) const;

  static constexpr size_t kKept = 32;
  static constexpr uint32_t kWideUses = 8;
  std::vector<Seen> seen_;
  std::vector<std::pair<NodeId, DerivativeMask>> cells_;  // of the segment being compared
  size_t last_ = 0;
  size_t replace_ = 0;
};

}  // namespace tenon
