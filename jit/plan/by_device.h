// Programs of several devices, and of one that isn't the host: parted into programs of one device
// each, with copies between them.
//
// In: a program whose nodes are on the devices that their types name. Out: its outputs, each on its
// device. Parts are few and large: a node belongs to the latest part of its device that its users
// allow, and a part begins only where something has to come from another device. What must hold: an
// input is overwritten only by the last part, since an earlier one may run and a later one fail.
#pragma once

#include <variant>
#include <vector>

#include "core/function_ref.h"
#include "trace/program.h"

namespace tenon::jit {

class Plan;

class ProgramByDevice {
 public:
  // Whether something is not on the host.
  static bool is_needed(const Program& program);

  explicit ProgramByDevice(const Program& program);

  using RunOnHost = FunctionRef<std::vector<Buffer>(Program&)>;
  // Runs a program with the nodes of the one that this was made for.
  std::vector<Buffer> run(const Program& program, RunOnHost run_on_host);

 private:
  struct Copy {
    uint32_t from, to;  // nodes
  };
  struct Part {
    Device device;
    Program program;
    std::vector<uint32_t> inputs, outputs;  // nodes of the whole program
    Plan* plan = nullptr;                   // on a device
  };
  struct Step {
    std::variant<Copy, Part> what;
    std::vector<uint32_t> last_used;  // values that die here
  };

  void make_copied_dense(const Program& program);
  void find_stages();
  void make_steps();
  void fill(Part& part, uint32_t stage);
  void find_last_uses();
  void run_part(Step& step, const Program& program, std::vector<Buffer>& values,
                RunOnHost run_on_host);

  Device device_of(uint32_t node) const { return type_of(nodes_[node].type).device; }
  bool is_number(uint32_t node) const { return nodes_[node].op == Op::Constant; }
  bool is_copy(uint32_t node) const;
  std::span<const uint32_t> operands_of(uint32_t node) const {
    return {operands_.data() + nodes_[node].operands, nodes_[node].operand_count};
  }

  // The whole program, in which what is copied is dense and laid out as its copy.
  std::vector<ProgramNode> nodes_;
  std::vector<uint32_t> operands_, outputs_, inputs_;
  std::vector<uint8_t> is_output_;
  std::vector<uint32_t> stages_;  // by node
  std::vector<Step> steps_;
  size_t last_part_ = 0;  // of the steps
};

}  // namespace tenon::jit
