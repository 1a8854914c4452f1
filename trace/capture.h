// What a function recorded, as a program of the tensors it was given.
//
// In: the nodes that a call of the function appended to the open segment, and the tensors that it
// was given and that it returned. Out: a Capture, which can be recorded again with other tensors of
// the same types (`replay`), run at once (`Launch`), or looked at (`program_of`). What must hold
// for a replay to be the call: the function did nothing that is no node - it read no value, wrote
// to no tensor that it was given, and used no tensor that is neither given nor made by it.
// Otherwise the capture has an obstacle, and only serves to be looked at.
//
// What a training step does besides recording (a backward pass, an optimizer's step, gradients set
// to None) is an effect: it is no part of a capture, but parts it, and is done again between the
// replays of its parts. So does reading a boolean: what follows is of that answer alone.
//
// A proof gives the function symbolic numbers (see Scalar) for those that later calls give others
// of. Where one becomes a constant of the trace, and nothing else is made of it, the capture's
// constant may be another one in each replay (`bind_symbols`).
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/small_vector.h"
#include "trace/cell.h"
#include "trace/tensor.h"

namespace tenon {

enum class Effect : uint8_t { Backward, Step, ZeroGrad, Read };
const char* name_of(Effect effect);

// What became of symbolic numbers.
struct Symbols {
  struct Comparison {
    uint32_t symbol;
    double with;
    bool equal;
  };
  std::vector<uint32_t> read;  // for something else than a constant: the value has to be the same
  std::vector<Comparison> compared;                     // the outcome has to be the same
  std::vector<std::pair<uint32_t, uint32_t>> recorded;  // symbol, node of the constant
};

struct Capture : RefCounted {
  static constexpr uint32_t kUnknown = ~uint32_t{0};
  static constexpr uint32_t kFirstKept = uint32_t{1} << 31;  // slots from here on: in `kept`

  struct Node {
    Op op;  // Input: the value of a given tensor, read here for the first time
    TypeId type;
    DerivativeMask mask;
    uint32_t origin;
    uint32_t operands, operand_count;  // offset into Capture::operands
    uint32_t axes, axes_count;         // offset into Capture::attributes
    uint32_t sizes, sizes_count;
    uint32_t slot;    // of an Input; kUnknown: neither given nor made here
    uint32_t symbol;  // of a Constant: the number to be; 0: it stays as it is
  };
  struct Result {
    enum class Kind : uint8_t { Given, Computed, View, Same, Unused };
    Kind kind;
    uint32_t source;  // slot, node, or a result: the view's base, the same tensor
    uint32_t version = 0;
    Op op = Op::Alias;  // View: its movement
    Dims axes, sizes, dims;
    bool detached = false;
  };

  // What was recorded before an effect. Its results are given to the parts that follow, after all
  // that it was given.
  struct Part {
    Ref<Capture> capture;
    Effect effect;
    uint32_t root;        // slot of what Backward starts from, or Read reads
    bool answer = false;  // Read
  };
  std::vector<Part> before;

  std::vector<TypeId> given;  // types of the given tensors
  std::vector<Node> nodes;
  std::vector<uint32_t> operands;
  std::vector<int64_t> attributes;
  std::vector<Result> results;  // those asked for, then bases of views
  size_t asked = 0;
  uint16_t blocked = 0;  // reverse modes that were blocked
  size_t recorded = 0;   // nodes that the function appended, dead ones included
  std::string obstacle;  // why it can't stand for a call; empty: it can
  uint32_t obstacle_origin = 0;
  bool draws = false;        // random numbers
  std::vector<Buffer> kept;  // what else it read, if the unit keeps that

  // Of a unit that follows numbers: what each recorded node is, dead ones included, but for those
  // that stand for the values of cells; where in it user's numbers are, and their nodes.
  std::vector<uint64_t> stream;
  std::vector<std::pair<uint32_t, uint32_t>> numbers;
  Symbols symbols;  // recorded: with places in the stream for nodes
  bool has_regions = false;

  std::span<const uint32_t> operands_of(const Node& node) const {
    return {operands.data() + node.operands, node.operand_count};
  }
  std::span<const int64_t> axes_of(const Node& node) const {
    return {attributes.data() + node.axes, node.axes_count};
  }
  std::span<const int64_t> sizes_of(const Node& node) const {
    return {attributes.data() + node.sizes, node.sizes_count};
  }
};

// A unit: what is recorded while one is open is not cut by caps, nor at the period of a loop inside
// it. Watches what is recorded, for a capture.
class Unit {
 public:
  // Proving: what is no recording raises, before it is done, and what was recorded is taken back
  // when the unit ends. (Left there, a view's node would stand before those that Python is to
  // record, and gradients would be summed in another order.)
  // Keeping: holds the buffers of tensors that are neither given nor computed.
  // Parting: effects part what it captures. Otherwise what they record is part of it.
  // Following: for a proof, or for a call whose numbers are to be bound to those of a proof.
  explicit Unit(std::vector<Tensor> given, bool proving = false, bool keeps = false,
                bool parting = false, bool following = false);
  ~Unit();
  Unit(const Unit&) = delete;

  // Of a proof: a boolean that it has recorded, computed beside the trace, as a flush would: with
  // all that is alive, which later ones go on from. None where it isn't computed here, or depends
  // on what was pending before.
  std::optional<bool> truth_of(const Tensor& x);
  // Ends the unit. As so_far.
  Ref<Capture> finish(std::span<const Tensor> results);
  // Ends it without one: the function raised, or nobody asks.
  void close();

  // The recorder tells.
  void note_resolved(Cell& cell);
  void check_write(const Cell& cell) const;
  void note_obstacle(const std::string& what, uint32_t origin);
  Symbols* symbols() { return proving_ && following_ ? &symbols_ : nullptr; }
  void begin_effect(Effect effect, const Tensor& root);
  void end_effect();
  void note_answer(bool answer);  // of the Read under way
  bool is_inside_effect() const { return effects_ > 0; }
  Unit* outer() const { return outer_; }

 private:
  struct Given {
    Ref<Cell> cell;
    TypeId type;
    uint32_t version;
    bool requires_grad;
    const Cell* grad;
  };
  // What resolving a cell changes of it.
  struct Saved {
    Ref<Cell> cell;
    NodeId node;  // that it names in the open segment
    GraphRef derivative;
    uint64_t cached_sequence, leaf_sequence;
    NodeId cached_node, leaf_node, leaf_of;
    uint32_t cached_version;
    int32_t leaf_depth;
  };
  friend class CaptureBuilder;
  void save(Cell& cell);
  void take_back();
  void give(const Tensor& tensor);
  void begin_part();
  std::vector<Tensor> made_since_begin() const;
  Ref<Capture> capture(std::span<const Tensor> results) const;  // of the part

  std::vector<Given> given_;
  size_t asked_ = 0;  // of the given, those that the caller gave; then what earlier parts made
  std::vector<Capture::Part> parts_;
  std::vector<std::pair<NodeId, const Cell*>> resolved_;  // before which node
  std::vector<Saved> saved_;
  uint64_t sequence_;
  NodeId first_;
  size_t operands_, attributes_, sources_, leaves_, customs_;  // the segment's, at the begin
  int64_t pinned_bytes_;
  Unit* outer_;
  const bool proving_, keeps_, parting_, following_;
  Symbols symbols_;
  std::unordered_map<NodeId, Buffer> known_;  // values that truth_of has computed
  int effects_ = 0;                           // nesting of effects under way
  uint16_t blocked_;
  bool open_ = true;
  std::string obstacle_;
  uint32_t obstacle_origin_ = 0;
};

// Around an effect, so that the units that are open know of it.
class EffectScope {
 public:
  explicit EffectScope(Effect effect, const Tensor& root = {});
  ~EffectScope();
  EffectScope(const EffectScope&) = delete;
  void note_answer(bool answer);  // Read: what it read

 private:
  Unit* unit_;
};

// No transform, no mode that runs each operation at once.
bool is_outside_transforms();
// Whether a capture may stand for a call now: no transform or operation is open.
bool can_replay(const Capture& capture);
// Records it again, without its parts before, with these tensors, which have the types of those it
// was captured with, and these numbers for symbols 1, 2, ... Returns the results asked for.
std::vector<Tensor> replay(const Capture& capture, std::span<const Tensor> given,
                           std::span<const Scalar> numbers = {});
// Makes the constants that a proof recorded of symbols those of the same call's capture. False, and
// nothing is done, unless both recorded the same.
bool bind_symbols(Capture& capture, const Capture& proof);
// Drops of each part what no later one uses.
void prune(Capture& capture);

// A symbol's place in a program: the attribute that holds its payload, of that dtype.
struct SymbolPlace {
  uint32_t symbol, attribute;
  DType dtype;
};
// The capture as a program for an executor: inputs in the order of its Input nodes that are needed
// (`slots` names them), outputs in the order of its computed results.
Program program_of(const Capture& capture, std::vector<uint32_t>* slots = nullptr,
                   std::vector<SymbolPlace>* symbols = nullptr);

// One that its buffers are complete when it returns; other threads run meanwhile.
std::vector<Buffer> run_at_once(Program& program);

// Runs a capture's program at once where that is the same: every given tensor is a buffer without a
// derivative to record, nothing is drawn at random, no result is a view.
class Launch {
 public:
  explicit Launch(const Capture& capture);
  // Empty: not now, replay it.
  std::vector<Tensor> run(const Capture& capture, std::span<const Tensor> given,
                          std::span<const Scalar> numbers = {});

 private:
  bool possible_ = false;
  bool busy_ = false;  // under the interpreter lock: another thread runs the program
  Program program_;
  std::vector<uint32_t> slots_;  // by input
  std::vector<SymbolPlace> symbols_;
  std::vector<uint32_t> outputs_;  // by computed result: the output of the program
};

}  // namespace tenon
