# What a request says on its way through the cluster. All ids are the requester's: a request id is unique in a cluster's life,
# an attempt counts its tries. A message of an old attempt is dropped by whoever gets it; control messages may come twice.
@0xd3a1c0de51ab1e01;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("quadrant::wire");

struct Sampling {
  temperature @0 :Float32;   # 0: greedy
  topP        @1 :Float32 = 1;
  minP        @2 :Float32;
  topK        @3 :Int32;     # 0: all
  seed        @4 :UInt64;
  sampleIndex @5 :UInt32;
}

struct Problem {             # errc and its line; code 0 is success
  code    @0 :UInt32;
  message @1 :Text;
}

# engine ▶ request: the first message of its life. The request answers nobody; it calls its sink.
struct RequestSpec {
  id           @0 :UInt64;
  tokens       @1 :List(Int32);   # the prompt
  maxNewTokens @2 :Int32;
  stopTokens   @3 :List(Int32);
  sampling     @4 :Sampling;
  allLogits    @5 :Bool;          # give the logits of every prompt position, and generate nothing
}

# request ▶ router. Reply: Route, or Problem{unavailable} when the queue is full or the cluster is not serving.
struct Admit {
  request      @0 :UInt64;
  promptTokens @1 :Int32;
  maxNewTokens @2 :Int32;
}
struct Route {
  pipeline @0 :UInt32;
  decode   @1 :UInt32;
  problem  @2 :Problem;
}
# request ▶ router, planner, decode worker: it is over, forget it and free what is its own. Idempotent.
struct Forget {
  request @0 :UInt64;
  attempt @1 :UInt32;
}

# request ▶ decode worker (tp_rank 0). The lease waits in a queue until slot and blocks are free, first come first served.
struct Reserve {
  request      @0 :UInt64;
  attempt      @1 :UInt32;
  promptTokens @2 :Int32;
  maxNewTokens @3 :Int32;
  stopTokens   @4 :List(Int32);
  sampling     @5 :Sampling;
}
# decode worker ▶ request. blocks: enough for prompt and all new tokens; the same ids on every tp_rank. segmentEnds: where
# the KV is split over ranks that share heads (scheduler/kv_split.hpp); a block id is one of the rank that holds it.
struct Lease {
  request @0 :UInt64;
  attempt @1 :UInt32;
  slot    @2 :Int32;
  blocks  @3 :List(Int32);
  problem @4 :Problem;
  segmentEnds @5 :List(Int32);
}

# request ▶ planner, with the handle of its kv_transfer beside it.
struct Prefill {
  request   @0 :UInt64;
  attempt   @1 :UInt32;
  tokens    @2 :List(Int32);
  sampling  @3 :Sampling;
  allLogits @4 :Bool;
  blocks      @5 :List(Int32);  # of the decode lease: where the KV goes
  segmentEnds @6 :List(Int32);
}

# last prefill shard (tp_rank 0) ▶ request: the prompt is computed. Index 0 of the answer. The decode worker hears it too, on the
# data plane, and its tokens may come before.
struct FirstToken {
  request @0 :UInt64;
  attempt @1 :UInt32;
  token   @2 :Int32;      # -1: a NaN or Inf reached the logits
  digest  @3 :UInt64;     # xxh3 of the row of logits
}
# last prefill shard ▶ request, only with allLogits: a few rows at a time.
struct LogitRows {
  request       @0 :UInt64;
  attempt       @1 :UInt32;
  firstPosition @2 :Int32;
  vocabulary    @3 :Int32;
  rows          @4 :Data;  # f32 [rows, vocabulary]
}

# kv_transfer ▶ request: the KV cannot reach the decode ranks.
struct HandOverFailed {
  request @0 :UInt64;
  attempt @1 :UInt32;
  problem @2 :Problem;
}

# decode worker ▶ request. Known indices are dropped. finished: 0 no, 1 stop token, 2 length, 3 fault.
struct Token {
  request  @0 :UInt64;
  attempt  @1 :UInt32;
  index    @2 :Int32;
  token    @3 :Int32;
  digest   @4 :UInt64;
  finished @5 :UInt8;
}
