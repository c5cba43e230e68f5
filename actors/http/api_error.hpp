// actors/http/api_error.hpp: why a client gets no answer, in the words of OpenAI's API.
#pragma once
#include <string>

#include "config/result.hpp"

namespace quadrant::actors::http {

struct api_error {
  int status = 500;    ///< of HTTP
  std::string message; ///< one line: what is wrong and what is allowed
  std::string type = "server_error";
  std::string param; ///< the field; empty: null
  std::string code;  ///< for programs; empty: null
};

inline api_error bad_request(std::string param, std::string message, std::string code = {}) {
  return {400, std::move(message), "invalid_request_error", std::move(param), std::move(code)};
}

/// What a failed request tells its client.
api_error to_api_error(const failure& why);

} // namespace quadrant::actors::http
