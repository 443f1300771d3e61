// AVX2 with AVX-VNNI: see level_avx2.cpp.
#define LATE_RERANK_AVXVNNI
#include "level_avx2.cpp"
