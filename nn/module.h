// Modules: named parameters, buffers and children, and a forward.
//
//   struct Net : nn::Module {
//     nn::Linear& hidden = add<nn::Linear>("hidden", 64, 128);
//     nn::Linear& output = add<nn::Linear>("output", 128, 10);
//     Tensor forward(const Tensor& x) override { return output(relu(hidden(x))); }
//   };
//
// A module owns its children, so it can be moved but not copied. Tensors are handles: a parameter
// that a layer keeps as a member is the one registered here, and stays so when a state is loaded.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trace/ops/types.h"
#include "trace/tensor.h"

namespace tenon {
using TensorDict = std::vector<std::pair<std::string, Tensor>>;
}

namespace tenon::nn {

class Module {
 public:
  Module() = default;
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;
  virtual ~Module() = default;

  virtual Tensor forward(const Tensor& input);
  Tensor operator()(const Tensor& input) { return forward(input); }

  // Parameters of this module and those below it, each once; names are paths: "hidden.weight".
  std::vector<Tensor> parameters() const;
  TensorDict named_parameters() const;
  TensorDict named_buffers() const;
  std::vector<std::pair<std::string, Module*>> named_children() const;
  std::vector<std::pair<std::string, Module*>> named_modules();  // with itself, as ""

  // Parameters and persistent buffers by their paths; the tensors themselves, detached.
  TensorDict state_dict() const;
  struct LoadReport {
    std::vector<std::string> missing, unexpected;
  };
  // Stores the values of equally named tensors. RuntimeError, naming every tensor whose shape
  // differs and, when strict, every name that is missing or unexpected; then nothing was changed.
  LoadReport load_state_dict(const TensorDict& state, bool strict = true);

  void train(bool on = true);
  void eval() { train(false); }
  bool is_training() const { return training; }
  void zero_grad(bool set_to_none = true);
  void requires_grad_(bool on = true);
  void to(DType dtype);  // floating parameters and buffers

  virtual std::string name() const { return "Module"; }  // of its class
  virtual std::string extra_repr() const { return ""; }
  std::string repr() const;  // as PyTorch prints modules

  bool training = true;

 protected:
  // Undefined tensors may be registered: a bias that a layer was made without.
  Tensor register_parameter(std::string name, Tensor parameter);
  Tensor register_buffer(std::string name, Tensor buffer, bool persistent = true);
  Module& register_module(std::string name, std::unique_ptr<Module> module);
  template <class M, class... Args>
  M& add(std::string name, Args&&... args) {
    return static_cast<M&>(
        register_module(std::move(name), std::make_unique<M>(std::forward<Args>(args)...)));
  }

 private:
  struct Slot {
    std::string name;
    Tensor tensor;
    bool persistent = true;
  };
  void check_name(std::string_view name) const;
  template <class Visit>
  void visit(const std::string& prefix, Visit&& visit) const;
  TensorDict stored() const;

  std::vector<Slot> parameters_;
  std::vector<Slot> buffers_;
  std::vector<std::pair<std::string, std::unique_ptr<Module>>> children_;
};

// Options as Python prints them, for extra_repr.
std::string show(bool value);
std::string show(int64_t value);
std::string show(double value);
std::string show(std::string_view text);
std::string show(const IntList& list);
std::string show(const Tensor& tensor);  // whether there is one
template <class T>
std::string show(const std::optional<T>& value) {
  return value ? show(*value) : "None";
}

}  // namespace tenon::nn
