#include "trace/match.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "core/optimizations.h"
#include "trace/extract.h"
#include "trace/recorder.h"

namespace tenon {
namespace {

template <class T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// What is alive and what derivatives read, without the program that computes it.
RunRecipe choose_roots(const Segment& segment) {
  RunRecipe recipe;
  recipe.residuals = choose_residuals(segment);
  for (const Cell* cell = segment.cells; cell; cell = cell->next) {
    if (!cell->view && needs_run(segment, cell->node)) recipe.roots.push_back(cell->node);
  }
  for (NodeId node : recipe.residuals.must_store) {
    if (needs_run(segment, node)) recipe.roots.push_back(node);
  }
  std::ranges::sort(recipe.roots);
  recipe.roots.erase(std::unique(recipe.roots.begin(), recipe.roots.end()), recipe.roots.end());
  return recipe;
}

}  // namespace

RunRecipe make_recipe(const Segment& segment) {
  RunRecipe recipe = choose_roots(segment);
  extract_program(segment, recipe);
  return recipe;
}

bool Predictor::update_attributes(Seen& seen, const Segment& segment) {
  if (same_bytes(seen.attributes, segment.attributes)) return true;
  if (seen.attributes.size() != segment.attributes.size()) return false;
  Program& program = seen.recipe->program;
  for (const RunRecipe::AttributeCopy& copy : seen.recipe->attributes) {
    const int64_t* from = segment.attributes.data() + copy.from;
    if (from[0] != copy.axes || from[1] != copy.sizes ||
        std::memcmp(from + 2, program.attributes.data() + copy.to, copy.axes * sizeof(int64_t))) {
      return false;
    }
  }
  for (const RunRecipe::AttributeCopy& copy : seen.recipe->attributes) {
    const int64_t* sizes = segment.attributes.data() + copy.from + 2 + copy.axes;
    std::copy(sizes, sizes + copy.sizes, program.attributes.begin() + copy.to + copy.axes);
  }
  seen.attributes = segment.attributes;
  return true;
}

bool Predictor::has_nodes_of(const Seen& seen, const Segment& segment) {
  return same_bytes(seen.nodes, segment.nodes) &&
         same_bytes(seen.operand_pool, segment.operand_pool);
}

bool Predictor::is_equal(Seen& seen, const Segment& segment) const {
  return has_nodes_of(seen, segment) && seen.cells == cells_ && update_attributes(seen, segment);
}

std::shared_ptr<RunRecipe> Predictor::new_recipe(const Segment& segment) {
  auto recipe = std::make_shared<RunRecipe>(choose_roots(segment));
  const Seen* enough = nullptr;  // the narrowest that gives all these roots
  std::vector<NodeId> all = recipe->roots;
  size_t kin = 0;
  for (Seen& seen : seen_) {
    if (recipe->roots.empty()) break;
    if (!has_nodes_of(seen, segment) || !update_attributes(seen, segment)) continue;
    const std::vector<NodeId>& roots = seen.recipe->roots;
    if (std::ranges::includes(roots, recipe->roots) &&
        (!enough || roots.size() < enough->recipe->roots.size())) {
      enough = &seen;
    }
    std::vector<NodeId> both;
    std::ranges::set_union(all, roots, std::back_inserter(both));
    all = std::move(both);
    ++kin;
  }
  if (enough) {
    recipe->wide = enough->recipe->roots.size() > recipe->roots.size();
    recipe->roots = enough->recipe->roots;
    recipe->program = enough->recipe->program;
    recipe->inputs = enough->recipe->inputs;
    recipe->attributes = enough->recipe->attributes;
    recipe->nodes = enough->recipe->nodes;
    return recipe;
  }
  if (kin >= 2) {  // what lives has changed before: expect it to go on
    recipe->wide = all.size() > recipe->roots.size();
    recipe->roots = std::move(all);
  }
  extract_program(segment, *recipe);
  return recipe;
}

RunRecipe* Predictor::predicted() const {
  if (last_ >= seen_.size() || seen_[last_].next >= seen_.size()) return nullptr;
  return seen_[seen_[last_].next].recipe.get();
}

std::shared_ptr<RunRecipe> Predictor::predicted_beginning(const Segment& segment,
                                                          NodeId compared) const {
  if (!predicted()) return nullptr;
  const Seen& seen = seen_[seen_[last_].next];
  const size_t size = segment.nodes.size(), pooled = segment.operand_pool.size();
  if (size < compared || size > seen.nodes.size() || pooled > seen.operand_pool.size()) {
    return nullptr;
  }
  const auto is_same = [](const Node& a, const Node& b) {
    constexpr uint8_t kFlags = Node::kLeaf | Node::kValued | Node::kCustom;
    return a.op == b.op && a.type == b.type && a.operand_count == b.operand_count &&
           std::ranges::equal(a.operands, b.operands) && a.attributes == b.attributes &&
           a.level == b.level && a.origin == b.origin && (a.flags & kFlags) == (b.flags & kFlags);
  };
  const bool is_beginning = std::equal(segment.nodes.begin() + compared, segment.nodes.end(),
                                       seen.nodes.begin() + compared, is_same) &&
                            std::equal(segment.operand_pool.begin(), segment.operand_pool.end(),
                                       seen.operand_pool.begin());
  return is_beginning ? seen.recipe : nullptr;
}

bool Predictor::expects(const Segment& segment) const {
  if (last_ >= seen_.size()) return false;
  const size_t predicted = seen_[last_].next;
  return predicted < seen_.size() && seen_[predicted].nodes.size() == segment.nodes.size();
}

std::shared_ptr<RunRecipe> Predictor::recipe_for(const Segment& segment) {
  if (!is_enabled(Optimization::Matching)) {
    ++unmatched;
    return std::make_shared<RunRecipe>(make_recipe(segment));
  }
  cells_.clear();
  for (const Cell* cell = segment.cells; cell; cell = cell->next) {
    cells_.emplace_back(cell->node, cell->wanted_derivatives());
  }
  const auto follow = [&](size_t at) {
    if (last_ < seen_.size()) seen_[last_].next = at;
    last_ = at;
    return seen_[at].recipe;
  };
  const size_t predicted = last_ < seen_.size() ? seen_[last_].next : 0;
  for (size_t i = 0; i < seen_.size(); ++i) {
    const size_t at = (predicted + i) % seen_.size();
    Seen& seen = seen_[at];
    if (!is_equal(seen, segment)) continue;
    ++matched;
    ++seen.recipe->trust;
    if (seen.recipe->wide && ++seen.uses == kWideUses) {
      seen.recipe = std::make_shared<RunRecipe>(make_recipe(segment));
    }
    return follow(at);
  }
  ++unmatched;
  std::shared_ptr<RunRecipe> recipe = new_recipe(segment);
  if (seen_.size() < kKept) {
    replace_ = seen_.size();
    seen_.emplace_back();
  } else {
    replace_ = (replace_ + 1) % kKept;
  }
  seen_[replace_] = {
      segment.nodes, segment.operand_pool, segment.attributes, cells_, std::move(recipe), 0, 0};
  return follow(replace_);
}

}  // namespace tenon
