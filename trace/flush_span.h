// What the profiler sees of a flush.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/profile.h"
#include "trace/segment.h"

namespace tenon {

// A flush, and what came before it since the last one: Python, recording.
class FlushSpan {
 public:
  explicit FlushSpan(const Segment& segment) : span_(ProfileEvent::Kind::Flush, "flush") {
    ProfileEvent* flush = span_.event();
    if (!flush) return;
    ProfileEvent event;
    event.kind = ProfileEvent::Kind::Record;
    event.name = fmt::format("record {} nodes", segment.nodes.size());
    event.begin = std::max(last_end, events_begin());
    event.end = flush->begin;
    for (const Node& node : segment.nodes) {
      if (node.origin != 0 && (event.origins.empty() || event.origins.back() != node.origin)) {
        event.origins.push_back(node.origin);
      }
      if (event.origins.size() == kMostLines) break;
    }
    add_event(std::move(event));
  }
  ~FlushSpan() {
    if (span_.event()) last_end = event_clock();
  }

 private:
  static constexpr size_t kMostLines = 64;
  static inline thread_local int64_t last_end = 0;
  ProfileSpan span_;
};

}  // namespace tenon
