// What this processor and its operating system can run.
#pragma once

namespace late_rerank {

bool processor_has_avx512vnni();
bool processor_has_avxvnni();
bool processor_has_avx2();
bool processor_has_neon();

}  // namespace late_rerank
