// Launching kernels: one by itself, or neighbours that don't depend on each other at once, so that
// threads meet once for all of an optimizer's updates and not after each.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <unordered_map>

#include "core/profile.h"
#include "core/threads.h"
#include "jit/plan/bind.h"
#include "jit/plan/hot.h"
#include "jit/plan/narrow.h"
#include "jit/plan/record.h"
#include "jit/plan/running.h"

namespace tenon::jit {

namespace {

// Work of one chunk, in operations: below it a launch costs more than it brings.
std::atomic<int64_t> chunk_work{1 << 16};

// Scratch of the calling worker.
void* scratch_of_worker(int64_t bytes) {
  if (bytes == 0) return nullptr;
  thread_local std::unique_ptr<std::byte[]> memory;
  thread_local int64_t size = 0;
  if (size < bytes) {
    memory = std::make_unique_for_overwrite<std::byte[]>(bytes + 64);
    size = bytes;
  }
  const auto address = reinterpret_cast<uintptr_t>(memory.get());
  return reinterpret_cast<void*>((address + 63) / 64 * 64);
}

}  // namespace

void set_chunk_work(int64_t operations) { chunk_work = operations; }

void Plan::Launch::run(int64_t begin, int64_t end, loop::ErrorSlot* error) const {
  kernel->run(buffers.data(), ints.data(), scalars.data(), scratch_of_worker(scratch), begin, end,
              error);
}

// False if there is nothing to do.
bool Plan::prepare(const KernelStep& standard, const Running& running, Launch& launch) const {
  const Binding& binding = *running.binding;
  const Variant variant = variant_of(standard, binding);
  const KernelStep& step = *variant.step;
  int64_t range = binding[step.range];
  if (step.divide_range != 1) range = (range + step.divide_range - 1) / step.divide_range;
  if (range == 0) return false;
  if (step.copy_from != kNone &&
      running.pointers[step.copy_from] == running.pointers[step.copy_to]) {
    return false;
  }
  for (uint32_t id : step.buffers) launch.buffers.push_back(running.pointers[id]);
  for (PolyId p : step.ints) launch.ints.push_back(binding[p]);
  for (uint32_t source : step.scalars) {
    launch.scalars.push_back(
        static_cast<uint64_t>(running.program.attributes[running.program.nodes[source].sizes]));
  }
  launch.kernel = variant.kernel;
  launch.charged = variant.charged;
  launch.scratch = variant.kernel->code.scratch.bytes(launch.ints.data());
  const int64_t work = std::max<int64_t>(binding[step.work], 1);
  const double unit = static_cast<double>(work) / static_cast<double>(range) * step.cost;
  const double chunk =
      std::ldexp(static_cast<double>(chunk_work.load(std::memory_order_relaxed)), step.grain_shift);
  launch.range = range;
  launch.grain = std::max<int64_t>(1, static_cast<int64_t>(chunk / unit));
  if (step.unit_elements) launch.grain = (launch.grain + 63) / 64 * 64;
  launch.operations = work * step.cost;
  return true;
}

void Plan::run_kernel(const KernelStep& step, const Step& info, Running& running) {
  Launch launch;
  if (!prepare(step, running, launch)) return;
  count_launch();
  const RunClock clock(*launch.charged, launch.operations);
  loop::ErrorSlot* error = info.can_fail ? &running.error : nullptr;
  if (launch.range <= launch.grain) {
    launch.run(0, launch.range, error);
  } else {
    parallel_for(launch.range, launch.grain,
                 [&](int64_t begin, int64_t end) { launch.run(begin, end, error); });
  }
  if (error && error->failed()) fail_at(step, running);
}

// Steps [begin, end) of one batch: their chunks, in order, are the range of one loop.
void Plan::run_batch(size_t begin, size_t end, Running& running) {
  std::vector<Launch> launches(end - begin);
  std::vector<int64_t> ends;  // by launch: the chunks up to it
  ends.reserve(launches.size());
  size_t count = 0;
  int64_t operations = 0;
  for (size_t s = begin; s < end; ++s) {
    Launch& launch = launches[count];
    if (!prepare(std::get<KernelStep>(steps_[s].what), running, launch)) continue;
    ends.push_back((ends.empty() ? 0 : ends.back()) + launch.chunks());
    operations += launch.operations;
    ++count;
    count_launch();
  }
  if (count == 0) return;
  const auto run = [&](int64_t from, int64_t to) {
    size_t k = std::upper_bound(ends.begin(), ends.end(), from) - ends.begin();
    for (; from < to; ++k) {
      const Launch& launch = launches[k];
      const int64_t first = k == 0 ? 0 : ends[k - 1], last = std::min(to, ends[k]);
      launch.run((from - first) * launch.grain,
                 std::min((last - first) * launch.grain, launch.range), nullptr);
      from = last;
    }
  };
  const int64_t start = event_clock();
  // Chunks of small kernels may be less than a thread is worth.
  const int64_t chunks = ends.back();
  const int64_t worth = std::max<int64_t>(1, operations / chunk_work);
  parallel_for(chunks, (chunks + worth - 1) / worth, run);
  const double per_operation = static_cast<double>(event_clock() - start) / operations;
  for (size_t k = 0; k < count; ++k) {
    charge(*launches[k].charged, static_cast<int64_t>(per_operation * launches[k].operations));
  }
}

// Kernels that read and write inputs and outputs alone, of which none writes what another touches.
// Temporaries would have to live as long as the batch.
void Plan::find_batches() {
  const size_t count = steps_.size();
  batch_ends_.resize(count);
  for (size_t s = 0; s < count; ++s) batch_ends_[s] = s + 1;
  if (!does(Optimization::BatchLaunches)) return;
  std::unordered_map<uint32_t, bool> touched;  // in the batch at hand: whether it is written
  const auto joins = [&](size_t s) {
    const auto* kernel = std::get_if<KernelStep>(&steps_[s].what);
    if (!kernel || steps_[s].can_fail || kernel->copy_from != kNone) return false;
    std::vector<std::pair<uint32_t, bool>> own;
    for (uint32_t id : kernel->buffers) {
      const uint32_t memory = memory_of(id);
      const PlanBuffer& buffer = buffers_[memory];
      if (memory != id || (buffer.input == kNone && buffer.output == kNone)) return false;
      const bool is_written = buffer.input == kNone && buffer.first == s;
      own.emplace_back(memory, is_written);
      if (is_written && buffer.may_reuse != kNone) own.emplace_back(buffer.may_reuse, true);
    }
    for (const auto& [memory, is_written] : own) {
      const auto other = touched.find(memory);
      if (other != touched.end() && (is_written || other->second)) return false;
    }
    for (const auto& [memory, is_written] : own) touched[memory] |= is_written;
    return true;
  };
  for (size_t begin = 0; begin < count;) {
    touched.clear();
    size_t end = begin;
    while (end < count && joins(end)) ++end;
    end = std::max(end, begin + 1);
    batch_ends_[begin] = end;
    begin = end;
  }
}

}  // namespace tenon::jit
