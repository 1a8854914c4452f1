#include "jit/llvm/compiler.h"

#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/ExecutionEngine/Orc/ObjectLinkingLayer.h>
#include <llvm/IR/DiagnosticInfo.h>
#include <llvm/IR/DiagnosticPrinter.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/Support/SmallVectorMemoryBuffer.h>
#include <llvm/Support/raw_ostream.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "core/log.h"
#include "core/optimizations.h"
#include "core/threads.h"
#include "jit/cache/disk_cache.h"
#include "jit/llvm/generator_hash.h"
#include "jit/llvm/lower.h"
#include "jit/llvm/target.h"
#include "jit/loop/evaluate.h"
#include "jit/loop/math.h"

namespace tenon::llvm_jit {
namespace {

namespace orc = llvm::orc;

std::atomic<int> planned_failures{0};

// Called by compiled code when a check fails.
void report_checks(loop::ErrorSlot* slot, uint32_t code, uint32_t site, uint32_t lanes,
                   const int64_t* index, const int64_t* value) {
  for (int lane = 0; lanes != 0; ++lane, lanes >>= 1) {
    if (lanes & 1) {
      loop::report_failure(*slot, static_cast<loop::CheckCode>(code), site, index[lane],
                           value[lane]);
    }
  }
}

template <class T>
void unary_lanes(double (*function)(double), const T* x, const T*, T* result) {
  for (int i = 0; i < loop::kLanes; ++i) result[i] = static_cast<T>(function(x[i]));
}

template <class T>
void binary_lanes(double (*function)(double, double), const T* x, const T* y, T* result) {
  for (int i = 0; i < loop::kLanes; ++i) result[i] = static_cast<T>(function(x[i], y[i]));
}

template <loop::BinaryOp Op, loop::Scalar Type>
void divide_lanes(const uint64_t* x, const uint64_t* y, uint64_t* result) {
  for (int i = 0; i < loop::kLanes; ++i) {
    result[i] = loop::evaluate_binary(Op, Type, x[i], y[i]);
  }
}

// An LLVM error becomes ours, with the kernel's text kept where the user can send it from.
[[noreturn]] void fail_compilation(const loop::Kernel& kernel, const std::string& message) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path folder = fs::temp_directory_path(ignored);
  const fs::path path =
      (ignored ? fs::path(".") : folder) / fmt::format("tenon-{}-{}.kernel", kernel.name, getpid());
  std::ofstream(path) << "# " << message << "\n" << loop::print(kernel);
  fail(ErrorKind::Internal,
       "compiling the kernel {} failed: {}. The kernel and the log are kept in {}; please report "
       "them",
       kernel.name, message, path.string());
}

template <class T>
T take(llvm::Expected<T> expected, const loop::Kernel& kernel) {
  if (!expected) fail_compilation(kernel, llvm::toString(expected.takeError()));
  return std::move(*expected);
}

// Puts constants into the pages of the code. With one kind of protection a kernel's pages join
// those of its neighbours in the kernel's table of mappings; with two kinds, some 30,000 kernels
// would fill it (vm.max_map_count).
class OneProtection final : public orc::ObjectLinkingLayer::Plugin {
 public:
  void modifyPassConfig(orc::MaterializationResponsibility&, llvm::jitlink::LinkGraph&,
                        llvm::jitlink::PassConfiguration& config) override {
    config.PostPrunePasses.emplace_back([](llvm::jitlink::LinkGraph& graph) {
      for (llvm::jitlink::Section& section : graph.sections()) {
        if (section.getMemProt() == orc::MemProt::Read) {
          using llvm::BitmaskEnumDetail::operator|;
          section.setMemProt(orc::MemProt::Read | orc::MemProt::Exec);
        }
      }
      return llvm::Error::success();
    });
  }
  llvm::Error notifyFailed(orc::MaterializationResponsibility&) override {
    return llvm::Error::success();
  }
  llvm::Error notifyRemovingResources(orc::JITDylib&, orc::ResourceKey) override {
    return llvm::Error::success();
  }
  void notifyTransferringResources(orc::JITDylib&, orc::ResourceKey, orc::ResourceKey) override {}
};

// The one ORC instance. Each kernel lives in a library of its own, so that its symbol may repeat
// and its memory goes with it.
class Loader {
 public:
  static Loader& instance() {
    static Loader* const loader = new Loader;  // code may run until the process ends
    return *loader;
  }

  void load(CompiledCode& code, const loop::Kernel& kernel,
            std::unique_ptr<llvm::MemoryBuffer> object, const std::string& symbol) {
    orc::JITDylib& library =
        jit_->getExecutionSession().createBareJITDylib(fmt::format("kernel{}", next_++));
    code.library = &library;
    library.addToLinkOrder(*hosts_);
    if (auto error = jit_->addObjectFile(library, std::move(object))) {
      fail_compilation(kernel, llvm::toString(std::move(error)));
    }
    code.function = take(jit_->lookup(library, symbol), kernel).toPtr<loop::KernelFunction>();
  }

  void unload(void* library) {
    llvm::consumeError(
        jit_->getExecutionSession().removeJITDylib(*static_cast<orc::JITDylib*>(library)));
  }

 private:
  Loader() {
    host();
    auto machine = make_machine(host(), Tier::Quick);  // initializes the targets
    auto builder = orc::LLJITBuilder();
    builder.setJITTargetMachineBuilder(orc::JITTargetMachineBuilder(llvm::Triple(host().triple)));
    builder.setLinkProcessSymbolsByDefault(false);
    builder.setPlatformSetUp(orc::setUpInactivePlatform);  // kernels have no initializers
    auto jit = builder.create();
    if (!jit) fail(ErrorKind::Internal, "LLVM ORC: {}", llvm::toString(jit.takeError()));
    jit_ = std::move(*jit);
    if (auto* layer = llvm::dyn_cast<orc::ObjectLinkingLayer>(&jit_->getObjLinkingLayer())) {
      layer->addPlugin(std::make_shared<OneProtection>());
    }
    hosts_ = &jit_->getExecutionSession().createBareJITDylib("hosts");
    orc::SymbolMap symbols;
    const auto define = [&](const std::string& name, auto* function) {
      symbols[jit_->mangleAndIntern(name)] = {orc::ExecutorAddr::fromPtr(function),
                                              llvm::JITSymbolFlags::Exported};
    };
    define(kReportSymbol, &report_checks);
    const loop::HostFunction unary{"", std::fabs, nullptr}, binary{"", nullptr, std::pow};
    define(lanes_symbol(unary, loop::Scalar::F32), &unary_lanes<float>);
    define(lanes_symbol(unary, loop::Scalar::F64), &unary_lanes<double>);
    define(lanes_symbol(binary, loop::Scalar::F32), &binary_lanes<float>);
    define(lanes_symbol(binary, loop::Scalar::F64), &binary_lanes<double>);
    const auto define_division = [&]<loop::BinaryOp Op, loop::Scalar Type>() {
      define(division_symbol(Op, Type), &divide_lanes<Op, Type>);
    };
    define_division.operator()<loop::BinaryOp::Div, loop::Scalar::I64>();
    define_division.operator()<loop::BinaryOp::Div, loop::Scalar::U64>();
    define_division.operator()<loop::BinaryOp::Rem, loop::Scalar::I64>();
    define_division.operator()<loop::BinaryOp::Rem, loop::Scalar::U64>();
    for (const loop::HostFunction& function : loop::host_functions()) {
      if (function.unary)
        define(std::string(kHostPrefix) + function.name, function.unary);
      else
        define(std::string(kHostPrefix) + function.name, function.binary);
    }
    llvm::cantFail(hosts_->define(orc::absoluteSymbols(std::move(symbols))));
    // What code generation may call on its own account (memset, conversions).
    hosts_->addGenerator(llvm::cantFail(orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(
        jit_->getDataLayout().getGlobalPrefix())));
  }

  std::unique_ptr<orc::LLJIT> jit_;
  orc::JITDylib* hosts_ = nullptr;
  std::atomic<uint64_t> next_{0};
};

bool has_avx512(llvm::StringRef features) { return features.contains("+avx512f"); }

llvm::SmallVector<char, 0> emit(const loop::Kernel& kernel, llvm::TargetMachine& machine,
                                const std::string& symbol) {
  if (planned_failures.load(std::memory_order_relaxed) > 0 && planned_failures.fetch_sub(1) > 0) {
    fail_compilation(kernel, "injected failure");
  }
  llvm::LLVMContext context;
  std::string problem;
  context.setDiagnosticHandlerCallBack(
      [](const llvm::DiagnosticInfo* info, void* text) {
        if (info->getSeverity() != llvm::DS_Error) return;
        llvm::raw_string_ostream stream(*static_cast<std::string*>(text));
        llvm::DiagnosticPrinterRawOStream printer(stream);
        info->print(printer);
      },
      &problem);
  auto module = lower(kernel, context, symbol, has_avx512(machine.getTargetFeatureString()));
  module->setDataLayout(machine.createDataLayout());
  module->setTargetTriple(machine
                              .getTargetTriple()
#if LLVM_VERSION_MAJOR < 21
                              .str()
#endif
  );
  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream stream(object);
  llvm::legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::ObjectFile)) {
    fail_compilation(kernel, "the target can't emit objects");
  }
  passes.run(*module);
  if (!problem.empty()) fail_compilation(kernel, problem);
  return object;
}

constexpr const char* kSymbol = "tenon_kernel";

// What objects depend on besides the kernel and the tier.
Hash128 maker() { return hash128(host_description() + " " TENON_GENERATOR_HASH); }

jit::ProcessCache& cache() {
  static auto* const instance = new jit::ProcessCache("", maker);
  return *instance;
}

Hash128 cache_key(const loop::Kernel& kernel, Tier tier) {
  static const Hash128 made_by = maker();
  Hash128 key = combine(hash128(loop::canonical_form(kernel)), made_by);
  key.low ^= static_cast<uint64_t>(tier);
  return key;
}

std::unique_ptr<llvm::MemoryBuffer> generate(const loop::Kernel& kernel, Tier tier) {
  thread_local std::unique_ptr<llvm::TargetMachine> machines[2];
  auto& machine = machines[static_cast<int>(tier)];
  if (!machine) machine = make_machine(host(), tier);
  return std::make_unique<llvm::SmallVectorMemoryBuffer>(emit(kernel, *machine, kSymbol), false);
}

Ref<CompiledCode> compile_one(const loop::Kernel& kernel, Tier tier) {
  const auto begin = std::chrono::steady_clock::now();
  const auto disk = is_enabled(Optimization::KernelCache) ? cache().get() : nullptr;
  auto code = make_ref<CompiledCode>();
  code->tier = tier;
  std::optional<std::vector<std::byte>> kept;
  if (disk && tier == Tier::Quick) {  // better code that an earlier process has made serves at once
    kept = disk->load(cache_key(kernel, Tier::Hot));
    if (kept) code->tier = Tier::Hot;
  }
  const Hash128 key = disk ? cache_key(kernel, tier) : Hash128{};
  if (disk && !kept) kept = disk->load(key);
  std::unique_ptr<llvm::MemoryBuffer> object;
  if (kept) {
    code->from_disk = true;
    object = llvm::MemoryBuffer::getMemBufferCopy(
        {reinterpret_cast<const char*>(kept->data()), kept->size()}, kernel.name);
  } else {
    object = generate(kernel, tier);
    if (disk) {
      disk->store(key, std::as_bytes(std::span(object->getBufferStart(), object->getBufferSize())));
    }
  }
  code->object_bytes = object->getBufferSize();
  Loader::instance().load(*code, kernel, std::move(object), kSymbol);
  const double milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  if (!code->from_disk) code->milliseconds = milliseconds;
  log(code->from_disk ? Category::Cache : Category::Kernels,
      "{} {} ({} nodes) in {:.2f} ms, {} bytes", code->from_disk ? "loaded" : "compiled",
      kernel.name, kernel.nodes.size(), milliseconds, code->object_bytes);
  return code;
}

}  // namespace

CompiledCode::~CompiledCode() {
  if (library) Loader::instance().unload(library);
}

std::vector<Ref<CompiledCode>> compile(std::span<const loop::Kernel* const> kernels, Tier tier) {
  std::vector<Ref<CompiledCode>> result(kernels.size());
  if (kernels.empty()) return result;
  Loader::instance();
  parallel_for(static_cast<int64_t>(kernels.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) result[i] = compile_one(*kernels[i], tier);
  });
  return result;
}

std::vector<std::byte> emit_object(const loop::Kernel& kernel, const std::string& triple,
                                   const std::string& cpu, const std::string& features) {
  const TargetSpec spec = triple.empty() ? host() : TargetSpec{triple, cpu, features};
  const auto machine = make_machine(spec, Tier::Hot);
  const auto object = emit(kernel, *machine, kSymbol);
  const auto* bytes = reinterpret_cast<const std::byte*>(object.data());
  return {bytes, bytes + object.size()};
}

std::string llvm_text(const loop::Kernel& kernel) {
  llvm::LLVMContext context;
  const auto module = lower(kernel, context, kSymbol, has_avx512(host().features));
  std::string text;
  llvm::raw_string_ostream stream(text);
  module->print(stream, nullptr);
  return text;
}

void set_cache_folder(const std::optional<std::filesystem::path>& folder) {
  cache().set_folder(folder);
}

void fail_next_compilations(int count) { planned_failures = count; }

}  // namespace tenon::llvm_jit
