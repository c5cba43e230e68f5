// Read by clang-tidy only, ahead of every file. Cap'n Proto 0.9 leaves these two to C++20's reversed comparison, which
// Clang 16 takes away again where an operator!= stands beside the operator== (P2468).
#pragma once

namespace kj {
class StringPtr;
bool operator==(const char*, const StringPtr&);
bool operator!=(const char*, const StringPtr&);
} // namespace kj
