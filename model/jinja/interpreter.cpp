#include "model/jinja/interpreter.hpp"

#include <algorithm>
#include <deque>
#include <memory>

#include "model/jinja/access.hpp"
#include "model/jinja/budget.hpp"
#include "model/jinja/filters.hpp"
#include "model/jinja/functions.hpp"
#include "model/jinja/operators.hpp"
#include "model/jinja/scope.hpp"
#include "model/jinja/strings.hpp"

namespace quadrant::model::jinja {

namespace {

constexpr int max_value_depth = 200; ///< the client's 100, and what the template puts around it

constexpr std::string_view functions[] = {"namespace", "raise_exception", "strftime_now", "range", "dict"};

enum class flow : std::uint8_t { on, leave_loop, next_turn };

class interpreter {
public:
  explicit interpreter(const environment& with) : now_(with.now), global_(std::make_shared<scope>(nullptr)) {
    for (const auto name : functions) global_->set(std::string(name), function(std::string(name)));
    for (const auto& [name, v] : with.variables) global_->set(name, v);
    current_ = std::make_shared<scope>(global_);
  }

  result<marked_text> run(const block& program) {
    QUADRANT_TRY_VOID(execute(program));
    return std::move(out_);
  }

private:
  static value function(std::string name) {
    return value::storage(std::make_shared<const callable>(callable{std::move(name), nullptr, {}}));
  }
  static failure at_line(int line, const std::string& what) {
    return {errc::invalid_argument, "chat template, line " + std::to_string(line) + ": " + what};
  }
  /// The result of a part that knows no lines.
  template <class T>
  static result<T> at_line(int line, result<T> r) {
    if (r) return r;
    return at_line(line, r.error().message);
  }

  // Statements

  result<flow> execute(const block& b) {
    const auto level = budget_.level();
    for (const auto& s : b.statements) {
      if (level.too_deep()) return at_line(s.line, "nested too deep");
      QUADRANT_TRY(const auto next, execute(s));
      if (next != flow::on) return next;
    }
    return flow::on;
  }

  result<flow> execute(const statement& s) {
    switch (s.kind) {
    case statement_kind::text: return write(s, s.text);
    case statement_kind::output: {
      QUADRANT_TRY(const auto v, evaluate(*s.subject));
      return write(s, v);
    }
    case statement_kind::branch: {
      QUADRANT_TRY(const auto v, evaluate(*s.subject));
      return execute(v.truth() ? s.body : s.other);
    }
    case statement_kind::loop: return loop(s);
    case statement_kind::assign: return assign(s);
    case statement_kind::capture: {
      QUADRANT_TRY(auto text, captured(s.body, std::make_shared<scope>(current_)));
      current_->set(s.names.front(), std::move(text));
      return flow::on;
    }
    case statement_kind::define_macro:
      current_->set(s.word, value::storage(std::make_shared<const callable>(callable{s.word, &s, current_})));
      return flow::on;
    case statement_kind::leave_loop: return flow::leave_loop;
    case statement_kind::next_turn: return flow::next_turn;
    case statement_kind::scoped: return execute_in(std::make_shared<scope>(current_), s.body);
    case statement_kind::filtered: return filtered(s);
    }
    return flow::on;
  }

  result<flow> write(const statement& s, const value& v) {
    if (v.is_text())
      out_.append(v.marked());
    else
      out_.append(v.str());
    if (out_.text.size() > max_bytes) return at_line(s.line, "the prompt is longer than 16 MB");
    return flow::on;
  }

  result<flow> execute_in(std::shared_ptr<scope> inner, const block& body) {
    std::swap(current_, inner);
    auto next = execute(body);
    std::swap(current_, inner);
    return next;
  }

  /// What `body` writes.
  result<value> captured(const block& body, std::shared_ptr<scope> inner) {
    marked_text text;
    std::swap(out_, text);
    const auto next = execute_in(std::move(inner), body);
    std::swap(out_, text);
    if (!next) return next.error();
    return value::text(std::move(text));
  }

  static result<void> within(bool budget, int line) {
    if (!budget) return at_line(line, "more than 1000000 loop turns and calls");
    return {};
  }
  result<void> spend_turn(int line) { return within(budget_.spend_turn(), line); }
  template <class... Values>
  result<void> spend_looks(int line, const Values&... values) {
    return within(budget_.spend_looks(values...), line);
  }

  result<void> bind(scope& to, const std::vector<std::string>& names, const value& v, int line) {
    if (names.size() == 1) {
      to.set(names.front(), v);
      return {};
    }
    QUADRANT_TRY(const auto parts, at_line(line, members_of(v)));
    if (parts.as_list().size() != names.size())
      return at_line(line, "cannot give " + std::to_string(parts.as_list().size()) + " values to " +
                               std::to_string(names.size()) + " names");
    for (std::size_t i = 0; i < names.size(); ++i) to.set(names[i], parts.as_list()[i]);
    return {};
  }

  /// The members that the loop goes over: those that its condition lets through.
  result<value> loop_members(const statement& s) {
    QUADRANT_TRY(const auto subject, evaluate(*s.subject));
    QUADRANT_TRY(auto all, at_line(s.line, members_of(subject)));
    if (s.condition == nullptr) return all;
    list kept;
    for (const auto& item : all.as_list()) {
      QUADRANT_TRY_VOID(spend_turn(s.line));
      auto inner = std::make_shared<scope>(current_);
      QUADRANT_TRY_VOID(bind(*inner, s.names, item, s.line));
      std::swap(current_, inner);
      const auto holds = evaluate(*s.condition);
      std::swap(current_, inner);
      if (!holds) return holds.error();
      if (holds->truth()) kept.push_back(item);
    }
    return value::items(std::move(kept));
  }

  [[gnu::noinline]] result<flow> loop(const statement& s) {
    QUADRANT_TRY(const auto members, loop_members(s));
    const auto& items = members.get<value::list_ref>();
    if (items->items.empty()) return execute_in(std::make_shared<scope>(current_), s.other);
    for (std::size_t i = 0; i < items->items.size(); ++i) {
      QUADRANT_TRY_VOID(spend_turn(s.line));
      auto turn = std::make_shared<scope>(current_);
      turn->set("loop", value::storage(std::make_shared<const loop_state>(loop_state{items, std::int64_t(i)})));
      QUADRANT_TRY_VOID(bind(*turn, s.names, items->items[i], s.line));
      QUADRANT_TRY(const auto next, execute_in(std::move(turn), s.body));
      if (next == flow::leave_loop) break;
    }
    return flow::on;
  }

  [[gnu::noinline]] result<flow> assign(const statement& s) {
    QUADRANT_TRY(auto v, evaluate(*s.subject));
    if (!s.to_attribute) {
      QUADRANT_TRY_VOID(bind(*current_, s.names, v, s.line));
      return flow::on;
    }
    const auto* target = current_->find(s.names[0]);
    if (target == nullptr || !target->is<name_space*>())
      return at_line(s.line, "'" + s.names[0] + "' is no namespace: only its attributes can be set");
    target->get<name_space*>()->entries.insert_or_assign(s.names[1], std::move(v));
    return flow::on;
  }

  [[gnu::noinline]] result<flow> filtered(const statement& s) {
    auto inner = std::make_shared<scope>(current_);
    QUADRANT_TRY(auto text, captured(s.body, inner));
    inner->set(filtered_body, std::move(text));
    std::swap(current_, inner);
    const auto v = evaluate(*s.subject);
    std::swap(current_, inner);
    if (!v) return v.error();
    return write(s, *v);
  }

  // Expressions

  result<value> evaluate(const expression& e) {
    const auto level = budget_.level();
    if (level.too_deep()) return at_line(e.line, "nested too deep");
    auto v = evaluate_kind(e);
    if (!v) return v;
    const auto size = v->size();
    if (size.weight > max_bytes) return at_line(e.line, "a value is larger than 16 MB");
    if (size.depth > max_value_depth) return at_line(e.line, "a value is nested too deep");
    return v;
  }

  /// Each kind has a frame of its own, so that the recursion holds no more than it needs.
  result<value> evaluate_kind(const expression& e) {
    switch (e.kind) {
    case expression_kind::literal: return e.constant;
    case expression_kind::name: return name(e);
    case expression_kind::list_display: return list_display(e);
    case expression_kind::dict_display: return dict_display(e);
    case expression_kind::attribute: return attribute(e);
    case expression_kind::index: return index(e);
    case expression_kind::slice: return slice(e);
    case expression_kind::call: return call(e);
    case expression_kind::filter: return filter(e);
    case expression_kind::test: return test(e);
    case expression_kind::unary: return unary(e);
    case expression_kind::binary: return binary(e);
    case expression_kind::comparison: return comparison(e);
    case expression_kind::conditional: return conditional(e);
    }
    return value();
  }

  [[gnu::noinline]] result<value> name(const expression& e) {
    const auto* found = current_->find(e.word);
    return found != nullptr ? *found : value::missing(e.word);
  }

  [[gnu::noinline]] result<value> attribute(const expression& e) {
    QUADRANT_TRY(const auto object, evaluate(*e.operands[0]));
    if (is_method(object, e.word)) return function("method " + e.word); // as Python has it, before a key of that name
    return at_line(e.line, attribute_of(object, e.word));
  }

  [[gnu::noinline]] result<value> index(const expression& e) {
    QUADRANT_TRY(const auto object, evaluate(*e.operands[0]));
    QUADRANT_TRY(const auto key, evaluate(*e.operands[1]));
    return at_line(e.line, item_of(object, key));
  }

  [[gnu::noinline]] result<value> filter(const expression& e) {
    QUADRANT_TRY(const auto subject, evaluate(*e.operands[0]));
    QUADRANT_TRY(const auto with, arguments_of(e));
    for (const auto& argument : with.positional) // select('in', long), and such
      QUADRANT_TRY_VOID(within(budget_.spend_looks_each(subject, argument), e.line));
    QUADRANT_TRY(auto v, at_line(e.line, apply_filter(e.word, subject, with)));
    const bool looks_at_one = e.word == "length" || e.word == "count" || e.word == "first" || e.word == "last";
    QUADRANT_TRY_VOID(looks_at_one ? result<void>() : spend_looks(e.line, subject, v));
    return v;
  }

  [[gnu::noinline]] result<value> test(const expression& e) {
    QUADRANT_TRY(const auto subject, evaluate(*e.operands[0]));
    QUADRANT_TRY(const auto with, arguments_of(e));
    QUADRANT_TRY_VOID(spend_looks(e.line, subject));
    for (const auto& argument : with.positional) QUADRANT_TRY_VOID(spend_looks(e.line, argument));
    QUADRANT_TRY(const bool holds, at_line(e.line, apply_test(e.word, subject, with)));
    return value::boolean(holds);
  }

  [[gnu::noinline]] result<value> unary(const expression& e) {
    QUADRANT_TRY(const auto v, evaluate(*e.operands[0]));
    if (e.word == "not") return value::boolean(!v.truth());
    return at_line(e.line, apply_sign(e.word, v));
  }

  [[gnu::noinline]] result<value> conditional(const expression& e) {
    QUADRANT_TRY(const auto condition, evaluate(*e.operands[1]));
    if (condition.truth()) return evaluate(*e.operands[0]);
    return e.operands[2] != nullptr ? evaluate(*e.operands[2]) : result<value>(value());
  }

  [[gnu::noinline]] result<value> list_display(const expression& e) {
    list items;
    for (const auto& operand : e.operands) {
      QUADRANT_TRY(auto item, evaluate(*operand));
      items.push_back(std::move(item));
    }
    return value::items(std::move(items));
  }

  [[gnu::noinline]] result<value> dict_display(const expression& e) {
    dict entries;
    for (std::size_t i = 0; i + 1 < e.operands.size(); i += 2) {
      QUADRANT_TRY(auto key, evaluate(*e.operands[i]));
      if (!key.is_text()) return at_line(e.line, "a dict's keys are str, not " + std::string(key.type_name()));
      QUADRANT_TRY(auto item, evaluate(*e.operands[i + 1]));
      entries.set(std::move(key), std::move(item));
    }
    return value::entries(std::move(entries));
  }

  [[gnu::noinline]] result<value> slice(const expression& e) {
    QUADRANT_TRY(const auto object, evaluate(*e.operands[0]));
    value bounds[3];
    for (std::size_t i = 0; i < 3; ++i)
      if (e.operands[i + 1] != nullptr) {
        QUADRANT_TRY(bounds[i], evaluate(*e.operands[i + 1]));
      }
    QUADRANT_TRY(auto v, at_line(e.line, slice_of(object, bounds[0], bounds[1], bounds[2])));
    QUADRANT_TRY_VOID(spend_looks(e.line, v));
    return v;
  }

  [[gnu::noinline]] result<value> binary(const expression& e) {
    QUADRANT_TRY(auto left, evaluate(*e.operands[0]));
    if (e.word == "and" || e.word == "or") return left.truth() == (e.word == "or") ? left : evaluate(*e.operands[1]);
    QUADRANT_TRY(const auto right, evaluate(*e.operands[1]));
    QUADRANT_TRY(auto v, at_line(e.line, apply_binary(e.word, left, right)));
    QUADRANT_TRY_VOID(spend_looks(e.line, v));
    return v;
  }

  [[gnu::noinline]] result<value> comparison(const expression& e) {
    QUADRANT_TRY(auto left, evaluate(*e.operands[0]));
    for (std::size_t i = 0; i < e.words.size(); ++i) {
      QUADRANT_TRY(auto right, evaluate(*e.operands[i + 1]));
      QUADRANT_TRY_VOID(spend_looks(e.line, left, right));
      QUADRANT_TRY(const bool holds, at_line(e.line, compare(e.words[i], left, right)));
      if (!holds) return value::boolean(false);
      left = std::move(right);
    }
    return value::boolean(true);
  }

  /// All operands but the first, and the named ones.
  result<arguments> arguments_of(const expression& e) {
    arguments with;
    for (std::size_t i = 1; i < e.operands.size(); ++i) {
      QUADRANT_TRY(auto v, evaluate(*e.operands[i]));
      with.positional.push_back(std::move(v));
    }
    for (const auto& [name, operand] : e.named) {
      QUADRANT_TRY(auto v, evaluate(*operand));
      with.named.emplace_back(name, std::move(v));
    }
    return with;
  }

  // Calls

  [[gnu::noinline]] result<value> call(const expression& e) {
    const auto& target = *e.operands[0];
    value f;
    if (target.kind == expression_kind::attribute) {
      QUADRANT_TRY(const auto object, evaluate(*target.operands[0]));
      if (is_method(object, target.word)) {
        QUADRANT_TRY(const auto with, arguments_of(e));
        QUADRANT_TRY(auto v, at_line(e.line, apply_method(object, target.word, with)));
        QUADRANT_TRY_VOID(spend_looks(e.line, object, v));
        return v;
      }
      if (const auto* state = object.get_if<std::shared_ptr<const loop_state>>(); state && target.word == "cycle") {
        QUADRANT_TRY(const auto with, arguments_of(e));
        if (with.positional.empty()) return at_line(e.line, "loop.cycle has nothing to choose from");
        return with.positional[std::size_t((*state)->index0) % with.positional.size()];
      }
      QUADRANT_TRY(f, at_line(e.line, attribute_of(object, target.word)));
      if (f.is_undefined())
        return at_line(e.line, std::string(object.type_name()) + " has no method '" + target.word + "'");
    } else {
      QUADRANT_TRY(f, evaluate(target));
    }
    if (f.is_undefined()) return at_line(e.line, is_undefined(f).message);
    const auto* callee = f.get_if<std::shared_ptr<const callable>>();
    if (callee == nullptr) return at_line(e.line, std::string(f.type_name()) + " cannot be called");
    QUADRANT_TRY(const auto with, arguments_of(e));
    return (*callee)->macro != nullptr ? call_macro(**callee, with, e.line)
                                       : call_function((*callee)->name, with, e.line);
  }

  [[gnu::noinline]] result<value> call_macro(const callable& f, const arguments& with, int line) {
    const auto& macro = *f.macro;
    const auto one_more = budget_.call();
    if (one_more.too_deep()) return at_line(line, "more than 100 nested calls");
    QUADRANT_TRY_VOID(spend_turn(line));
    if (with.positional.size() > macro.names.size())
      return at_line(line, "macro '" + f.name + "' takes " + std::to_string(macro.names.size()) + " arguments");
    for (const auto& [name, v] : with.named)
      if (std::ranges::find(macro.names, name) == macro.names.end())
        return at_line(line, "macro '" + f.name + "' has no argument '" + name + "'");
    auto home = f.home.lock();
    auto inner = std::make_shared<scope>(home != nullptr ? std::move(home) : global_);
    for (std::size_t i = 0; i < macro.names.size(); ++i) {
      if (const auto* given = with.find(i, macro.names[i])) {
        inner->set(macro.names[i], *given);
        continue;
      }
      auto fallback = value::missing(macro.names[i]);
      if (macro.defaults[i] != nullptr) {
        auto caller = std::exchange(current_, inner);
        auto made = evaluate(*macro.defaults[i]);
        current_ = std::move(caller);
        QUADRANT_TRY(fallback, std::move(made));
      }
      inner->set(macro.names[i], std::move(fallback));
    }
    return captured(macro.body, std::move(inner));
  }

  [[gnu::noinline]] result<value> call_function(const std::string& name, const arguments& with, int line) {
    if (name == "raise_exception") {
      const auto* message = with.find(0, "message");
      return {errc::invalid_argument,
              message != nullptr ? message->str().text : "the chat template refuses these messages"};
    }
    if (name != "namespace") {
      QUADRANT_TRY(auto v, at_line(line, apply_function(name, with, now_)));
      QUADRANT_TRY_VOID(spend_looks(line, v));
      return v;
    }
    QUADRANT_TRY(const auto entries, at_line(line, apply_function("dict", with, now_)));
    QUADRANT_TRY_VOID(spend_turn(line));
    auto& space = spaces_.emplace_back();
    for (const auto& [key, v] : entries.as_dict().entries()) space.entries.insert_or_assign(key.chars(), v);
    return value(&space);
  }

  std::chrono::system_clock::time_point now_;
  std::deque<name_space> spaces_; ///< stay where they are, for values point to them
  std::shared_ptr<scope> global_, current_;
  marked_text out_;
  budget budget_;
};

} // namespace

result<marked_text> interpret(const block& program, const environment& with) { return interpreter(with).run(program); }

} // namespace quadrant::model::jinja
