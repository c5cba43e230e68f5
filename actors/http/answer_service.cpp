#include "actors/http/answer_service.hpp"

#include <utility>
#include <variant>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include "actors/http/text_service.hpp"

namespace quadrant::actors::http {

bool answer_service::room_for(const std::shared_ptr<connection>& to, std::size_t bytes) {
  if (waiting_bytes_.load() + bytes > allowed_.waiting_bytes) {
    to->reply(to_api_error({errc::unavailable, "too many prompts wait to be read; try again later"}));
    return false;
  }
  waiting_bytes_ += bytes;
  return true;
}

void answer_service::generate(const std::shared_ptr<connection>& to, std::string body, admit how) {
  if (!room_for(to, body.size())) return;
  const auto made = std::make_shared<exchange>(with_, to);
  to->answered_by(made);
  boost::asio::post(aside_, [this, made, how, body = std::move(body)] {
    waiting_bytes_ -= body.size();
    if (made->given_up()) return;
    boost::asio::post(*with_.io,
                      [made, outcome = how(with_.model, body)]() mutable { made->admitted(std::move(outcome)); });
  });
}

void answer_service::answer_text(const std::shared_ptr<connection>& to, std::string body, convert how) {
  if (!room_for(to, body.size())) return;
  boost::asio::post(aside_, [this, client = std::weak_ptr(to), how, body = std::move(body)] {
    waiting_bytes_ -= body.size();
    boost::asio::post(*with_.io, [client, outcome = how(with_.model, body)] {
      const auto alive = client.lock();
      if (!alive) return;
      if (const auto* error = std::get_if<api_error>(&outcome)) return alive->reply(*error);
      alive->reply({.body = std::get<std::string>(outcome)});
    });
  });
}

void answer_service::tokenize(const std::shared_ptr<connection>& to, std::string body) {
  answer_text(to, std::move(body), http::tokenize);
}
void answer_service::detokenize(const std::shared_ptr<connection>& to, std::string body) {
  answer_text(to, std::move(body), http::detokenize);
}

} // namespace quadrant::actors::http
