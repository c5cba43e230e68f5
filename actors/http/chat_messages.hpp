// actors/http/chat_messages.hpp: the conversation of a chat request, checked, as a chat template takes it.
//
//   role                      content                                        beside it
//   system, developer, user   a string, or [{type: text, text}, ...]         name
//   assistant                 the same; null where there are tool_calls      name, reasoning_content, tool_calls
//   tool                      the same                                       name, tool_call_id
//
// Parts of one content are joined by line ends. tool_calls: [{id, type: function, function: {name, arguments}}], the
// arguments the JSON text of an object. Other fields are dropped. Here null is null: a template may ask for it.
#pragma once
#include <nlohmann/json.hpp>

#include "actors/http/request_fields.hpp"

namespace quadrant::actors::http {

nlohmann::ordered_json read_messages(request_fields& fields);
/// A list of {type: function, function: {name, ...}}, or null where there are none.
nlohmann::ordered_json read_tools(request_fields& fields);

} // namespace quadrant::actors::http
