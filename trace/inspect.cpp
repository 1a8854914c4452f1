#include "trace/inspect.h"

#include "trace/complex_program.h"
#include "trace/match.h"
#include "trace/recorder.h"

namespace tenon {

SegmentCounts segment_counts() {
  const Predictor& predictor = recorder().predictor;
  return {predictor.matched, predictor.unmatched};
}

std::string explain_pending(FunctionRef<std::string(const Program&)> explain) {
  RunRecipe recipe;
  {
    TraceLock lock;
    const Segment& segment = *recorder().segment;
    recipe = make_recipe(segment);
    if (recipe.roots.empty()) return {};
    bind_inputs(recipe, segment);
  }
  return explain(has_complex(recipe.program) ? on_reals(recipe.program) : recipe.program);
}

}  // namespace tenon
