// A driver without a device, for tests: a library with the functions of libcuda, whose kernels run
// on the emulation. Queued work runs as late as it may: only when something waits for it. Every
// call is checked; what a caller does wrong is kept as a violation.
#pragma once

extern "C" {
// What callers did wrong since the last call, a line each; empty: nothing.
const char* fake_violations();
// How many there are: "memory", "pinned", "stream", "event", "module".
int fake_count(const char* what);
// How often a function of the driver was called since the last fake_reset().
int fake_calls(const char* function);
// From the call after `skip` more of that function on, `count` calls fail with `result`.
void fake_fail(const char* function, int skip, int count, int result);
// Forgets calls, failures and violations. Bytes that the device has.
void fake_reset(unsigned long long memory);
// For the other fakes: work in a stream's order; whether memory is the device's; a violation.
struct CUstream_st;
void fake_enqueue(struct CUstream_st* stream, void (*work)(void*), void* argument);
int fake_is_device_memory(const void* address, unsigned long long bytes);
void fake_violate(const char* what);
void fake_set_version(int version);
void fake_set_devices(int count);
}
