// Scores the calls of a file, without Python: a level for another processor can be tested under an emulator.
//
//   score_file CALLS RESULTS
//
// CALLS is one call after the other, each a Header and the arrays named there, all in this processor's byte order. RESULTS is for
// each call what `score` returned (int64), scores (n_documents,) and token maxima (n_documents, n_query_tokens), float32.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

#include "score.h"

namespace {

using namespace late_rerank;

struct Header {
  char level[16];  // ends in zeros
  uint32_t codec;  // as in the enum
  uint32_t n_query_tokens, dim;
  uint32_t n_rounds, n_blocks;  // of the rotation; 0 if there is none
  uint32_t n_documents, bytes_per_token, bytes_per_scale;
  uint32_t n_threads;
};
// Then: query        (n_query_tokens, dim) float32
//       signs        (n_rounds, dim) float32
//       permutation  (n_rounds, dim) int32
//       blocks       (n_blocks,) int32
//       lengths      (n_documents,) uint32
//       codes and scales of the first document, of the second one, ...

[[noreturn]] void stop(const char* why, const char* what) {
  std::fprintf(stderr, "score_file: %s %s\n", why, what);
  std::exit(2);
}

// Memory that ends where the next page can't be touched: reading or writing past it ends the program. The bytes before it are NaN
// as floats, halves and scales. Never given back: the program is over soon.
void* guarded(size_t n_bytes) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), room = (n_bytes + page - 1) / page * page;
  void* const memory = mmap(nullptr, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) stop("no memory", "(or too many calls: Linux allows 65,530 mappings)");
  uint8_t* const begin = static_cast<uint8_t*>(memory);
  if (mprotect(begin + room, page, PROT_NONE)) stop("no guard page", "");
  std::memset(begin, 0xff, room - n_bytes);
  return begin + (room - n_bytes);
}

template <class T>
T* array(std::ifstream& calls, size_t n) {
  T* const values = static_cast<T*>(guarded(n * sizeof(T)));
  if (!calls.read(reinterpret_cast<char*>(values), static_cast<std::streamsize>(n * sizeof(T)))) stop("the calls end too early", "");
  return values;
}

void write(std::ofstream& results, const void* values, size_t n_bytes) {
  results.write(static_cast<const char*>(values), static_cast<std::streamsize>(n_bytes));
}

const Level& level_named(const char* name) {
  for (const Level* const* level = kLevels; *level; level++)
    if (!std::strcmp((*level)->name, name)) {
      if (!(*level)->supported()) stop("this processor has no", name);
      return **level;
    }
  stop("built without level", name);
}

void answer(const Header& header, std::ifstream& calls, std::ofstream& results) {
  const size_t n = header.n_documents, n_query_tokens = header.n_query_tokens, turned = header.n_rounds * header.dim;
  const float* const query = array<float>(calls, n_query_tokens * header.dim);
  const float* const signs = array<float>(calls, turned);
  const int32_t* const permutation = array<int32_t>(calls, turned);
  const int32_t* const blocks = array<int32_t>(calls, header.n_blocks);
  const uint32_t* const lengths = array<uint32_t>(calls, n);
  std::vector<Document> documents;
  for (size_t i = 0; i < n; i++) {
    const uint8_t* const codes = array<uint8_t>(calls, size_t{lengths[i]} * header.bytes_per_token);
    const uint8_t* const scales = array<uint8_t>(calls, size_t{lengths[i]} * header.bytes_per_scale);
    documents.push_back({codes, scales, lengths[i]});
  }
  const size_t offsets[] = {0, n_query_tokens};
  float* const scores = static_cast<float*>(guarded(n * sizeof(float)));
  float* const maxima = static_cast<float*>(guarded(n * n_query_tokens * sizeof(float)));
  const int64_t status = score({&level_named(header.level),
                                {static_cast<Codec>(header.codec), n_query_tokens, header.dim},
                                query,
                                offsets,
                                1,
                                {header.n_rounds, signs, permutation, header.n_blocks, blocks},
                                documents.data(),
                                n,
                                scores,
                                maxima,
                                header.n_threads});
  write(results, &status, sizeof status);
  write(results, scores, n * sizeof(float));
  write(results, maxima, n * n_query_tokens * sizeof(float));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) stop("usage:", "score_file CALLS RESULTS");
  std::ifstream calls(argv[1], std::ios::binary);
  std::ofstream results(argv[2], std::ios::binary);
  if (!calls || !results) stop("can't open", calls ? argv[2] : argv[1]);
  for (Header header; calls.read(reinterpret_cast<char*>(&header), sizeof header);) answer(header, calls, results);
  if (!results.flush()) stop("can't write", argv[2]);
}
