// The kinds of kernels, each in its own file.
#pragma once

#include <optional>

#include "jit/schedule/schedule.h"

namespace tenon::jit {

KernelCode schedule_map(const Placement& placement, Algebra& algebra, uint32_t group);
// out = operand 0 of n, before a scatter or an update.
KernelCode schedule_base_copy(const Placement& placement, Algebra& algebra, uint32_t group,
                              NodeIndex n);
KernelCode schedule_box(const Placement& placement, Algebra& algebra, uint32_t group, NodeIndex n);
KernelCode schedule_part(const Placement& placement, Algebra& algebra, uint32_t group, NodeIndex n,
                         uint32_t operand);
KernelCode schedule_row(const Placement& placement, Algebra& algebra, uint32_t group);
// The same where rows lie side by side in memory, element by element; nothing where they don't.
std::optional<KernelCode> schedule_rows_side_by_side(const Placement& placement, Algebra& algebra,
                                                     uint32_t group);
// Adds the variant for short rows to the kernel of a group, if it can have one.
void add_narrow_row(const Placement& placement, Algebra& algebra, uint32_t group, KernelCode& code);
void add_narrow_column(const Placement& placement, Algebra& algebra, uint32_t group,
                       KernelCode& code);
KernelCode schedule_column(const Placement& placement, Algebra& algebra, uint32_t group);
KernelCode schedule_full_chunks(const Placement& placement, Algebra& algebra, uint32_t group);
KernelCode schedule_full_result(const Placement& placement, Algebra& algebra, uint32_t group);
KernelCode schedule_scan(const Placement& placement, Algebra& algebra, uint32_t group);
KernelCode schedule_scatter(const Placement& placement, Algebra& algebra, uint32_t group,
                            NodeIndex n);

}  // namespace tenon::jit
