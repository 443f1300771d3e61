// late_rerank.maxsim._native: checks what Python gives, before any pointer moves, and calls the kernel without the GIL.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "kernel.h"
#include "score.h"
#include "windows.h"

namespace nb = nanobind;

namespace late_rerank {
namespace {

template <class T, int kDims>
using Array = nb::ndarray<T, nb::ndim<kDims>, nb::c_contig, nb::device::cpu>;

constexpr size_t kMaxDim = 1 << 16;  // sums of more products of bytes would not fit 32 bits

[[noreturn]] void refuse(const std::string& why) { throw nb::value_error(why.c_str()); }

const Level& level_named(const std::string& name) {
  for (const Level* const* level = kLevels; *level; level++)
    if ((*level)->name == name) {
      if (!(*level)->supported()) refuse("this processor has no " + name);
      return **level;
    }
  refuse("the kernel was built without level '" + name + "'");
}

Codec codec_named(const std::string& name) {
  if (name == "float32") return Codec::float32;
  if (name == "float16") return Codec::float16;
  if (name == "int8") return Codec::int8;
  if (name == "int4") return Codec::int4;
  if (name == "binary") return Codec::binary;
  refuse("the kernel has no codec '" + name + "'");
}

// Memory that Python lends, for as long as this lives. To be made and destroyed with the GIL held.
class Borrowed {
 public:
  explicit Borrowed(nb::tuple buffers) {
    views_.reserve(buffers.size());
    for (nb::handle from : buffers) borrow(from);
  }
  ~Borrowed() { release(); }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  size_t size() const { return views_.size(); }
  const Py_buffer& operator[](size_t i) const { return views_[i]; }

 private:
  void borrow(nb::handle from) {
    Py_buffer view;
    if (PyObject_GetBuffer(from.ptr(), &view, PyBUF_ND | PyBUF_FORMAT)) {
      release();  // no destructor runs for what was never made
      throw nb::python_error();
    }
    views_.push_back(view);
    if (view.ndim == 1 && view.itemsize == 1) return;
    release();
    refuse("buffers must be 1-d arrays of bytes (uint8)");
  }
  void release() {
    for (Py_buffer& view : views_) PyBuffer_Release(&view);
    views_.clear();
  }
  std::vector<Py_buffer> views_;
};

// Releases the GIL while it lives. nanobind's would end the process if Python ended meanwhile: before 3.14 a daemon thread that then
// asks for the GIL is unwound, and out of a destructor nothing may be.
class Released {
 public:
  Released() : state_(PyEval_SaveThread()) {}
  ~Released() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));  // the process is ending: nobody waits for this thread
    }
  }
  Released(const Released&) = delete;
  Released& operator=(const Released&) = delete;

 private:
  PyThreadState* const state_;
};

// Views into files can begin anywhere; a vector load of an int64 from an odd address is undefined.
template <class Given>
void check_aligned(const Given& array, const char* name) {
  if (reinterpret_cast<uintptr_t>(array.data()) % alignof(typename Given::Scalar))
    refuse(std::string(name) + " isn't aligned to its dtype; copy it");
}

// Where n_tokens tokens of `width` bytes lie; refuses what reaches out of the buffer.
const uint8_t* placed(const Py_buffer& buffer, int64_t start, size_t n_tokens, size_t width, const char* column, size_t document) {
  const size_t size = static_cast<size_t>(buffer.len);
  const bool inside =
      start >= 0 && static_cast<uint64_t>(start) <= size && n_tokens <= (size - static_cast<size_t>(start)) / width;
  if (!inside)
    refuse("document " + std::to_string(document) + ": its " + column + ", " + std::to_string(n_tokens) + " tokens of " +
           std::to_string(width) + " bytes from byte " + std::to_string(start) + ", reach out of its buffer of " +
           std::to_string(size) + " bytes");
  return static_cast<const uint8_t*>(buffer.buf) + start;
}

// Copied, since Python's arrays could change while the GIL is released.
struct OwnedRotation {
  std::vector<float> signs;
  std::vector<int32_t> permutation, blocks;
  size_t n_rounds = 0;

  Rotation view() const { return {n_rounds, signs.data(), permutation.data(), blocks.size(), blocks.data()}; }
};

using RotationArrays = std::tuple<Array<const float, 2>, Array<const int32_t, 2>, Array<const int32_t, 1>>;

OwnedRotation checked(const RotationArrays& arrays, size_t dim) {
  const auto& [signs, permutation, blocks] = arrays;
  if (signs.shape(1) != dim || permutation.shape(1) != dim || signs.shape(0) != permutation.shape(0))
    refuse("a rotation needs signs and a permutation, (n_rounds, dim) each, for dim " + std::to_string(dim));
  check_aligned(signs, "signs");
  check_aligned(permutation, "permutation");
  check_aligned(blocks, "blocks");
  OwnedRotation owned;
  owned.n_rounds = signs.shape(0);
  owned.signs.assign(signs.data(), signs.data() + signs.size());
  owned.permutation.assign(permutation.data(), permutation.data() + permutation.size());
  owned.blocks.assign(blocks.data(), blocks.data() + blocks.size());
  for (int32_t from : owned.permutation)
    if (from < 0 || static_cast<size_t>(from) >= dim) refuse("a rotation's permutation must hold numbers below dim");
  size_t sum = 0;
  for (int32_t block : owned.blocks) {
    if (block < 1 || (block & (block - 1))) refuse("a rotation's blocks must be powers of two");
    sum += static_cast<size_t>(block);
  }
  if (sum != dim) refuse("a rotation's blocks must sum to dim");
  return owned;
}

std::vector<size_t> checked_offsets(const Array<const int64_t, 1>& offsets, size_t n_query_tokens) {
  if (offsets.shape(0) == 0) refuse("query offsets must hold n_queries + 1 numbers");
  std::vector<size_t> checked(offsets.shape(0));
  for (size_t i = 0; i < checked.size(); i++) {
    const int64_t offset = offsets.data()[i], before = i ? offsets.data()[i - 1] : 0;
    if (offset < before || static_cast<size_t>(offset) > n_query_tokens) refuse("query offsets must rise from 0 to the query's tokens");
    checked[i] = static_cast<size_t>(offset);
  }
  if (checked.front() != 0 || checked.back() != n_query_tokens) refuse("query offsets must rise from 0 to the query's tokens");
  return checked;
}

using WindowArrays = std::tuple<Array<const int64_t, 1>, Array<float, 2>, Array<int64_t, 2>>;

std::vector<size_t> checked_strides(const WindowArrays& windows, size_t n_queries, size_t n_documents) {
  const auto& [strides, best, first] = windows;
  check_aligned(strides, "strides");
  check_aligned(best, "best");
  check_aligned(first, "first");
  if (n_queries != 1) refuse("windows are scored for one query a call, got " + std::to_string(n_queries));
  const size_t n_scales = strides.shape(0);
  if (n_scales < 1 || n_scales > kMaxScales) refuse("windows need 1 to " + std::to_string(kMaxScales) + " strides, got " + std::to_string(n_scales));
  if (best.shape(0) != n_scales || first.shape(0) != n_scales || best.shape(1) != n_documents || first.shape(1) != n_documents)
    refuse("best and first must be (n_scales, n_documents)");
  std::vector<size_t> checked(n_scales);
  for (size_t i = 0; i < n_scales; i++) {
    const int64_t stride = strides.data()[i];
    if (stride < 1 || (i && (stride <= strides.data()[i - 1] || stride % strides.data()[i - 1])))
      refuse("strides must be at least 1, ascending, and each a multiple of the one before");
    checked[i] = static_cast<size_t>(stride);
  }
  return checked;
}

void score_into(const std::string& level, const std::string& codec_name, Array<const float, 2> query,
                Array<const int64_t, 1> query_offsets, nb::tuple buffers, Array<const int32_t, 1> buffer,
                Array<const int64_t, 1> codes, std::optional<Array<const int64_t, 1>> scales, Array<const int64_t, 1> lengths,
                std::optional<RotationArrays> rotation, std::optional<Array<float, 2>> scores,
                std::optional<Array<float, 2>> maxima, int n_threads, std::optional<WindowArrays> windows) {
  const Codec codec = codec_named(codec_name);
  const size_t n = lengths.shape(0), n_query_tokens = query.shape(0), dim = query.shape(1);
  const bool has_scales = codec == Codec::int8 || codec == Codec::int4 || codec == Codec::binary;
  const bool is_rotated = codec == Codec::int4 || codec == Codec::binary;
  if (dim < 1 || dim > kMaxDim) refuse("dim must be from 1 to " + std::to_string(kMaxDim) + ", got " + std::to_string(dim));
  if (n_threads < 1 || n_threads > 1024) refuse("n_threads must be from 1 to 1024, got " + std::to_string(n_threads));
  if (has_scales != scales.has_value()) refuse(codec_name + (has_scales ? " needs scales" : " has no scales"));
  if (is_rotated != rotation.has_value()) refuse(codec_name + (is_rotated ? " needs a rotation" : " has no rotation"));
  if (buffer.shape(0) != n || codes.shape(0) != n || (scales && scales->shape(0) != n))
    refuse("buffer, starts and lengths must have one entry a document");
  check_aligned(query, "query");
  check_aligned(query_offsets, "query offsets");
  check_aligned(buffer, "buffer");
  check_aligned(codes, "codes' starts");
  check_aligned(lengths, "lengths");
  if (scales) check_aligned(*scales, "scales' starts");
  if (scores) check_aligned(*scores, "scores");
  if (maxima) check_aligned(*maxima, "maxima");
  const std::vector<size_t> offsets = checked_offsets(query_offsets, n_query_tokens);
  const size_t n_queries = offsets.size() - 1;
  if (scores && (scores->shape(0) != n_queries || scores->shape(1) != n)) refuse("scores must be (n_queries, n_documents)");
  if (maxima && (maxima->shape(0) != n || maxima->shape(1) != n_query_tokens))
    refuse("maxima must be (n_documents, n_query_tokens)");
  if (windows && maxima) refuse("maxima are of whole documents: ask for them, or for windows");
  const std::vector<size_t> strides = windows ? checked_strides(*windows, n_queries, n) : std::vector<size_t>{};
  const OwnedRotation owned = rotation ? checked(*rotation, dim) : OwnedRotation{};

  const Borrowed borrowed(buffers);
  std::vector<Document> documents(n);
  const size_t width = code_bytes(codec, dim);
  for (size_t i = 0; i < n; i++) {
    const int32_t which = buffer.data()[i];
    const int64_t length = lengths.data()[i];
    if (which < 0 || static_cast<size_t>(which) >= borrowed.size())
      refuse("document " + std::to_string(i) + " lies in buffer " + std::to_string(which) + " of " + std::to_string(borrowed.size()));
    if (length < 0) refuse("document " + std::to_string(i) + " has " + std::to_string(length) + " tokens");
    const Py_buffer& memory = borrowed[static_cast<size_t>(which)];
    const size_t n_tokens = static_cast<size_t>(length);
    const uint8_t* at = placed(memory, codes.data()[i], n_tokens, width, "codes", i);
    documents[i] = {at, scales ? placed(memory, scales->data()[i], n_tokens, 4, "scales", i) : at, n_tokens};
  }

  const Call call = {&level_named(level), {codec, n_query_tokens, dim}, query.data(), offsets.data(), n_queries, owned.view(),
                     documents.data(), n, scores ? scores->data() : nullptr, maxima ? maxima->data() : nullptr,
                     static_cast<size_t>(n_threads),
                     {strides.data(), strides.size(), windows ? std::get<1>(*windows).data() : nullptr,
                      windows ? std::get<2>(*windows).data() : nullptr}};
  int64_t wrong;
  {
    const Released released;
    wrong = score(call);
  }
  if (wrong == kQueryNotFinite) refuse("the query holds NaN or infinity, or its rotation overflows");
  if (wrong != kFine)
    refuse("document " + std::to_string(wrong) + " holds NaN or infinity, or its products overflow: its stored bytes are damaged, or weren't written by this codec");
}

std::vector<std::string> levels() {
  std::vector<std::string> names;
  for (const Level* const* level = kLevels; *level; level++)
    if ((*level)->supported()) names.push_back((*level)->name);
  return names;
}

double peak(const std::string& level_name, const std::string& codec_name, uint64_t n) {
  const Level& level = level_named(level_name);
  const Codec codec = codec_named(codec_name);
  const Released released;
  const auto started = std::chrono::steady_clock::now();
  const double multiplied = level.peak(codec, n);
  return multiplied / std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
}

int query_limit(const std::string& level) { return level_named(level).query_limit; }

}  // namespace

NB_MODULE(_native, module) {
  using nb::arg;
  module.def("levels", &levels);
  module.def("query_limit", &query_limit, arg("level"));
  module.def("peak", &peak, arg("level"), arg("codec"), arg("n"));
  // noconvert everywhere: a silent copy of `scores` would lose them, one of anything else would be slow.
  module.def("score_into", &score_into, arg("level"), arg("codec"), arg("query").noconvert(), arg("query_offsets").noconvert(),
             arg("buffers"), arg("buffer").noconvert(), arg("codes").noconvert(), arg("scales").noconvert().none(),
             arg("lengths").noconvert(), arg("rotation").noconvert().none(), arg("scores").noconvert().none(),
             arg("maxima").noconvert().none(), arg("n_threads"), arg("windows").noconvert().none());
}

}  // namespace late_rerank
