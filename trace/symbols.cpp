// Symbolic numbers: what a proof notes of them, and the constants that stand for them.
#include <algorithm>

#include "trace/capture.h"
#include "trace/recorder.h"

namespace tenon {
namespace {

Symbols* open_symbols() {
  for (Unit* unit = recorder().unit; unit; unit = unit->outer()) {
    if (Symbols* symbols = unit->symbols()) return symbols;
  }
  return nullptr;  // one that was left over from a proof: nobody asks
}

}  // namespace

void note_symbol_read(uint32_t symbol) {
  if (Symbols* symbols = open_symbols()) symbols->read.push_back(symbol);
}
void note_symbol_compared(uint32_t symbol, double with, bool equal) {
  if (Symbols* symbols = open_symbols()) symbols->compared.push_back({symbol, with, equal});
}
void note_symbol_recorded(uint32_t symbol, uint32_t node) {
  if (Symbols* symbols = open_symbols()) symbols->recorded.emplace_back(symbol, node);
}

bool bind_symbols(Capture& capture, const Capture& proof) {
  std::vector<Capture*> parts;
  for (Capture::Part& part : capture.before) parts.push_back(part.capture.get());
  parts.push_back(&capture);
  size_t first = 0;
  for (const Capture* part : parts) {
    const size_t count = part->stream.size();
    // A region's body holds copies of constants, which would stay as they are.
    if (part->has_regions || first + count > proof.stream.size() ||
        !std::equal(part->stream.begin(), part->stream.end(), proof.stream.begin() + first)) {
      return false;
    }
    first += count;
  }
  if (first != proof.stream.size()) return false;
  first = 0;
  for (Capture* part : parts) {
    for (const auto& [place, node] : part->numbers) {
      for (const auto& [symbol, recorded] : proof.symbols.recorded) {
        if (recorded == first + place) part->nodes[node].symbol = symbol;
      }
    }
    first += part->stream.size();
  }
  return true;
}

}  // namespace tenon
