// model/jinja/value.hpp: what a template computes with. Strings know which of their bytes the template wrote.
// Holds   lists, dicts and strings never change once made, so copies are shared; only a namespace changes
// Threads a value belongs to one rendering
// Source  the semantics are Python's, as Jinja2 3.1 shows them
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "config/result.hpp"
#include "model/text/trust_map.hpp"

namespace quadrant::model::jinja {

class value;
class dict;
class scope;
struct statement;
using list = std::vector<value>;

/// What a value takes, so that a renderer can stop before it takes too much.
struct extent {
  int depth = 0;            ///< of lists in lists
  std::uint64_t weight = 1; ///< about the bytes that writing it out takes; what is shared counts each time
};

struct undefined {
  std::string name; ///< what was looked for
};
struct counted_list;
struct loop_state { ///< the `loop` of one turn
  std::shared_ptr<const counted_list> items;
  std::int64_t index0;
};
struct callable {
  std::string name;
  const statement* macro = nullptr; ///< null: a function of the interpreter
  std::weak_ptr<scope> home;        ///< where the macro was defined
};
/// A dict that `set ns.x = ...` changes; the interpreter owns it.
struct name_space {
  std::map<std::string, value, std::less<>> entries;
};

class value {
public:
  using text_ref = std::shared_ptr<const marked_text>;
  using list_ref = std::shared_ptr<const counted_list>;
  using dict_ref = std::shared_ptr<const dict>;
  using storage = std::variant<undefined, std::nullptr_t, bool, std::int64_t, double, text_ref, list_ref, dict_ref,
                               name_space*, std::shared_ptr<const loop_state>, std::shared_ptr<const callable>>;

  value() = default;
  value(storage s) : storage_(std::move(s)) {} // NOLINT(google-explicit-constructor)
  static value missing(std::string name) { return storage(undefined{std::move(name)}); }
  static value none() { return storage(nullptr); }
  static value boolean(bool b) { return storage(b); }
  static value integer(std::int64_t i) { return storage(i); }
  static value real(double d) { return storage(d); }
  static value text(marked_text t) { return storage(std::make_shared<const marked_text>(std::move(t))); }
  static value text(std::string_view t, bool trusted) { return text(marked_text{std::string(t), {t.size(), trusted}}); }
  static value items(list l);
  static value entries(dict d);
  /// All strings and keys untrusted. Errors  nested deeper than 100
  static result<value> from_json(const nlohmann::ordered_json& json, int depth = 0);

  template <class T>
  [[nodiscard]] bool is() const noexcept {
    return std::holds_alternative<T>(storage_);
  }
  template <class T>
  [[nodiscard]] const T& get() const {
    return std::get<T>(storage_);
  }
  template <class T>
  [[nodiscard]] const T* get_if() const noexcept {
    return std::get_if<T>(&storage_);
  }

  [[nodiscard]] bool is_undefined() const noexcept { return is<undefined>(); }
  [[nodiscard]] bool is_text() const noexcept { return is<text_ref>(); }
  [[nodiscard]] bool is_list() const noexcept { return is<list_ref>(); }
  [[nodiscard]] bool is_dict() const noexcept { return is<dict_ref>(); }
  [[nodiscard]] bool is_number() const noexcept { return is<bool>() || is<std::int64_t>() || is<double>(); }
  [[nodiscard]] const marked_text& marked() const { return *get<text_ref>(); }
  [[nodiscard]] const std::string& chars() const { return get<text_ref>()->text; }
  [[nodiscard]] const list& as_list() const;
  [[nodiscard]] const dict& as_dict() const { return *get<dict_ref>(); }

  [[nodiscard]] bool truth() const;
  [[nodiscard]] double number() const;                       ///< of a number
  [[nodiscard]] std::string_view type_name() const noexcept; ///< as Python calls it
  [[nodiscard]] extent size() const noexcept;
  /// What `{{ }}` writes.
  [[nodiscard]] marked_text str() const;

private:
  storage storage_;
};

/// Keys in the order they came; a later value of the same key stands in its first place.
class dict {
public:
  using entry = std::pair<value, value>; ///< the key is a string
  void set(value key, value v);
  [[nodiscard]] const value* find(std::string_view key) const;
  [[nodiscard]] const std::vector<entry>& entries() const noexcept { return entries_; }
  [[nodiscard]] extent size() const noexcept { return size_; }

private:
  std::vector<entry> entries_;
  extent size_{.depth = 1};
  std::map<std::string, std::size_t, std::less<>> places_;
};

struct counted_list {
  list items;
  extent size;
};

inline const list& value::as_list() const { return get<list_ref>()->items; }

bool equal(const value& a, const value& b);
/// Errors  the two have no order
result<bool> less(const value& a, const value& b);

struct json_style {
  int indent = -1; ///< spaces; -1: all on one line
  bool ascii = false, sort_keys = false;
  std::string item_separator = ", ", key_separator = ": ";
};
/// As Python's json.dumps writes it. Errors  a value that JSON has no form for, or too deep.
result<std::string> to_json(const value& v, const json_style& style);

} // namespace quadrant::model::jinja
