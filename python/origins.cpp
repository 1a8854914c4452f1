// Reading the current frame without making a frame object needs CPython's own headers: this is the
// only file that includes them, and each version is spelled out.
#include "python/origins.h"

#include <Python.h>

#if PY_VERSION_HEX >= 0x030b0000
#define Py_BUILD_CORE
#include <internal/pycore_frame.h>
#undef Py_BUILD_CORE
#else
#include <frameobject.h>
#endif

#include <array>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "trace/origin.h"

namespace tenon::python {
namespace {

struct Place {
  PyCodeObject* code;
  int offset;  // in bytes
};

struct PlaceHash {
  size_t operator()(const Place& place) const {
    return (reinterpret_cast<size_t>(place.code) >> 4) * 0x9e3779b97f4a7c15u +
           static_cast<size_t>(place.offset);
  }
};
struct PlaceEqual {
  bool operator()(const Place& a, const Place& b) const {
    return a.code == b.code && a.offset == b.offset;
  }
};

// All under the interpreter lock. A code object once seen is kept: its address is its name.
std::unordered_map<Place, uint32_t, PlaceHash, PlaceEqual> numbers;
std::map<std::tuple<PyCodeObject*, int, int, int, int>, uint32_t> expressions;
std::vector<Place> places{{nullptr, 0}};  // 0 is unknown
std::unordered_map<PyCodeObject*, bool> ours;
std::string folder;

// What was last found under a hash, in front of a map.
template <class Key, class T>
struct Recent {
  Key key{};
  T value{};
};
std::array<Recent<PyCodeObject*, bool>, 256> recent_ours;
std::array<Recent<Place, uint32_t>, 1024> recent_numbers;

bool find_ours(PyCodeObject* code) {
  const auto found = ours.find(code);
  if (found != ours.end()) return found->second;
  const char* file = PyUnicode_AsUTF8(code->co_filename);
  if (file == nullptr) PyErr_Clear();
  const bool inside = file != nullptr && std::string_view(file).starts_with(folder);
  Py_INCREF(code);
  ours.emplace(code, inside);
  return inside;
}

bool is_ours(PyCodeObject* code) {
  auto& recent = recent_ours[(reinterpret_cast<uintptr_t>(code) >> 5) % recent_ours.size()];
  if (recent.key != code) recent = {code, find_ours(code)};
  return recent.value;
}

// The innermost frame that is not of the package.
Place current_place() {
  PyThreadState* state = PyThreadState_Get();
  if (state == nullptr) return {nullptr, 0};
#if PY_VERSION_HEX >= 0x030d0000
  for (_PyInterpreterFrame* frame = state->current_frame; frame; frame = frame->previous) {
    if (frame->owner == FRAME_OWNED_BY_CSTACK) continue;
    auto* code = reinterpret_cast<PyCodeObject*>(frame->f_executable);
    if (!is_ours(code)) return {code, _PyInterpreterFrame_LASTI(frame) * 2};
  }
#elif PY_VERSION_HEX >= 0x030b0000
  for (_PyInterpreterFrame* frame = state->cframe->current_frame; frame; frame = frame->previous) {
#if PY_VERSION_HEX >= 0x030c0000
    if (frame->owner == FRAME_OWNED_BY_CSTACK) continue;
#endif
    PyCodeObject* code = frame->f_code;
    if (!is_ours(code)) return {code, static_cast<int>(_PyInterpreterFrame_LASTI(frame)) * 2};
  }
#else
  for (PyFrameObject* frame = state->frame; frame; frame = frame->f_back) {
    if (!is_ours(frame->f_code)) return {frame->f_code, frame->f_lasti * 2};
  }
#endif
  return {nullptr, 0};
}

// An interpreter that specialises its code may stop at another instruction of the same call later:
// what has one number is an expression of the source.
uint32_t number_of_expression(const Place& place) {
  int line = 0, column = 0, end_line = 0, end_column = 0;
#if PY_VERSION_HEX >= 0x030b0000
  PyCode_Addr2Location(place.code, place.offset, &line, &column, &end_line, &end_column);
#else
  line = PyCode_Addr2Line(place.code, place.offset);
  column = place.offset;
#endif
  const auto [at, is_new] = expressions.try_emplace(
      {place.code, line, column, end_line, end_column}, static_cast<uint32_t>(places.size()));
  if (is_new) {
    Py_INCREF(place.code);
    places.push_back(place);
  }
  return at->second;
}

uint32_t current() {
  const Place place = current_place();
  if (place.code == nullptr) return 0;
  auto& recent = recent_numbers[PlaceHash()(place) % recent_numbers.size()];
  if (PlaceEqual()(place, recent.key)) return recent.value;
  const auto [at, is_new] = numbers.try_emplace(place, 0);
  if (is_new) at->second = number_of_expression(place);
  recent = {place, at->second};
  return at->second;
}

std::string describe(uint32_t origin) {
  if (origin == 0 || origin >= places.size()) return {};
  const Place& place = places[origin];
  const PyGILState_STATE state = PyGILState_Ensure();
  const char* file = PyUnicode_AsUTF8(place.code->co_filename);
  if (file == nullptr) PyErr_Clear();
  std::string text = std::string(file ? file : "?") + ":" +
                     std::to_string(PyCode_Addr2Line(place.code, place.offset));
  PyGILState_Release(state);
  return text;
}

}  // namespace

void install_origins(const char* package_folder) {
  folder = package_folder;
  set_origin_hooks({current, describe});
}

}  // namespace tenon::python
