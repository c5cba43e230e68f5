// model/jinja/parser.hpp: tokens to a tree.
// Errors  errc::corrupt: line and cause; errc::unavailable: line and the tag, filter or test that is not known here
#pragma once
#include <memory>
#include <string_view>

#include "config/result.hpp"
#include "model/jinja/ast.hpp"

namespace quadrant::model::jinja {

result<std::shared_ptr<const block>> parse(std::string_view source);

} // namespace quadrant::model::jinja
