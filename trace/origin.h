// Where the user's program recorded a node. A language front end (python/) installs the hooks; an
// origin is a small number, resolved to a line of source only when somebody asks.
#pragma once

#include <cstdint>
#include <string>

namespace tenon {

struct OriginHooks {
  uint32_t (*current)() = nullptr;              // the caller's place, cheap
  std::string (*describe)(uint32_t) = nullptr;  // "model.py:12"
};
void set_origin_hooks(OriginHooks hooks);
uint32_t current_origin();
std::string describe_origin(uint32_t origin);  // empty when unknown

}  // namespace tenon
