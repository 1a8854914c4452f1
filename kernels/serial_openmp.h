// One OpenMP thread for the libraries built on it: our own pool decides what runs in parallel.
#pragma once

// From libgomp, which oneDNN is built on. Its header needs -fopenmp, and these are the only two.
extern "C" {
void omp_set_num_threads(int threads);
int omp_get_max_threads(void);
}

namespace tenon::kernels {

// OpenMP's number of threads is a property of the calling thread: one during the call, and what the
// application had set afterwards.
class SerialOpenMp {
 public:
  SerialOpenMp() : threads_(omp_get_max_threads()) {
    if (threads_ != 1) omp_set_num_threads(1);
  }
  ~SerialOpenMp() {
    if (threads_ != 1) omp_set_num_threads(threads_);
  }
  SerialOpenMp(const SerialOpenMp&) = delete;
  SerialOpenMp& operator=(const SerialOpenMp&) = delete;

 private:
  int threads_;
};

}  // namespace tenon::kernels
