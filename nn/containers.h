// Modules made of other modules.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "nn/module.h"

namespace tenon::nn {

// Children in order, named "0", "1", ...
//
//   nn::Sequential net(nn::Linear(64, 128), nn::ReLU(), nn::Linear(128, 10));
class ModuleList : public Module {
 public:
  template <class... Modules>
    requires(std::is_base_of_v<Module, std::remove_cvref_t<Modules>> && ...)
  explicit ModuleList(Modules&&... modules) {
    (append(std::forward<Modules>(modules)), ...);
  }
  ModuleList(ModuleList&&) = default;

  template <class M>
  M& append(M&& module) {
    static_assert(!std::is_lvalue_reference_v<M>, "move the module in");
    return add<M>(std::to_string(size_++), std::move(module));
  }
  int64_t size() const { return size_; }
  Module& operator[](int64_t index) const { return *named_children().at(index).second; }
  std::string name() const override { return "ModuleList"; }

 private:
  int64_t size_ = 0;
};

// Each child's output is the next one's input.
class Sequential : public ModuleList {
 public:
  using ModuleList::ModuleList;
  Tensor forward(const Tensor& input) override {
    Tensor x = input;
    for (const auto& [name, child] : named_children()) x = (*child)(x);
    return x;
  }
  std::string name() const override { return "Sequential"; }
};

}  // namespace tenon::nn
