// The oneTBB arena behind core/threads.h, which decides what runs where. Compiled without
// sanitizers: ThreadSanitizer can't see into oneTBB's library, so what its headers do would look
// like races. The order between threads that matters is made visible in threads.cpp.
#pragma once

#include <cstdint>

namespace tenon::detail {

inline constexpr int kMaxThreads = 1024;

// The cores that affinity and the control group's quota leave.
int usable_cores();

// Calls run(context, i) for each i in [0, chunks) on up to `threads` threads, the caller among
// them, and returns when all are done. An exception of run() cancels the chunks not yet begun.
void run_in_arena(int threads, std::int64_t chunks, void (*run)(void* context, std::int64_t chunk),
                  void* context);

// Work that workers do beside whoever asked for it.
class Group;
Group* make_group();
// Has a worker call run(context), which must not throw.
void add_to_group(int threads, Group& group, void (*run)(void* context), void* context);
// Until all that was added has ended; does the workers' work meanwhile.
void wait_for_group(int threads, Group& group);
// Has a worker wait, and then call run(context).
void wait_for_group_later(int threads, Group& group, void (*run)(void* context), void* context);
void free_group(Group* group);  // after waiting

}  // namespace tenon::detail
