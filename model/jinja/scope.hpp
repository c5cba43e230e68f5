// model/jinja/scope.hpp: the names that a piece of template sees: its own, then those around it.
// Threads belongs to one rendering
#pragma once
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "model/jinja/value.hpp"

namespace quadrant::model::jinja {

/// Names of one block: of the template, a turn of a loop, a call of a macro.
class scope {
public:
  explicit scope(std::shared_ptr<scope> outer) : outer_(std::move(outer)) {}

  void set(const std::string& name, value v) { names_.insert_or_assign(name, std::move(v)); }
  [[nodiscard]] const value* find(const std::string& name) const {
    for (const auto* s = this; s != nullptr; s = s->outer_.get())
      if (const auto found = s->names_.find(name); found != s->names_.end()) return &found->second;
    return nullptr;
  }

private:
  std::shared_ptr<scope> outer_;
  std::map<std::string, value> names_;
};

} // namespace quadrant::model::jinja
