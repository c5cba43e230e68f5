// model/text/nfc.hpp: Unicode normal form C, with the trust of every byte carried along.
// Where characters of different trust melt into one, that one is untrusted.
// Threads any
#pragma once
#include "model/text/trust_map.hpp"

namespace quadrant::model {

/// `in` is valid UTF-8.
marked_text nfc(marked_text in);

} // namespace quadrant::model
