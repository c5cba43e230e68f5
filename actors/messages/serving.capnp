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
  sampleIndex @5 :UInt32;    # of sample 0
  presence    @6 :Float32;
  frequency   @7 :Float32;
  repetition  @8 :Float32 = 1;
}

# What changes logits beside those numbers; said once a request. Not there: nothing.
struct SamplingRules {
  prompt       @0 :List(Int32);  # its ids, where repetition is penalised
  bias         @1 :List(Bias);
  banned       @2 :List(Int32);  # for positions below bannedUntil
  bannedUntil  @3 :Int32;
  jsonObject   @4 :Bool;
  topLogprobs  @5 :Int32 = -1;
  countsTokens @6 :Bool;         # a penalty looks at the answer so far
  struct Bias {
    id   @0 :Int32;
    bias @1 :Float32;
  }
}

# A token of an answer.
struct Made {
  token    @0 :Int32;      # -1: a NaN or Inf reached the logits, or no token may come
  digest   @1 :UInt64;     # xxh3 of the row of logits
  logprobs @2 :List(Logprob);  # where they were asked for: its own, then the likeliest
  struct Logprob {
    id      @0 :Int32;
    logprob @1 :Float32;
  }
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
  samples      @6 :Int32 = 1;
  rules        @7 :SamplingRules;
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
  sample  @2 :Int32 = -1;   # to the decode worker: this one alone, once it is decoded
}

# request ▶ decode worker (tp_rank 0). The lease waits in a queue until slots and blocks are free, first come first served.
struct Reserve {
  request      @0 :UInt64;
  attempt      @1 :UInt32;
  tokens       @2 :List(Int32);  # the prompt
  maxNewTokens @3 :Int32;
  stopTokens   @4 :List(Int32);
  sampling     @5 :Sampling;
  samples      @6 :Int32;
  rules        @7 :SamplingRules;
}
# Where the KV of a prompt goes: block ids of the decode replica, the same on every tp_rank.
struct KvPlace {
  blocks      @0 :List(Int32);  # of the prompt, -1 where its KV is in place
  copies      @1 :List(Int32);  # of the last block, where it is open: one of each further sample
  segmentEnds @2 :List(Int32);  # where it is split over ranks that share heads (scheduler/kv_split.hpp); a block id is one
                                # of the rank that holds it
}
# decode worker ▶ request: there is room for the prompt and all new tokens.
struct Lease {
  request @0 :UInt64;
  attempt @1 :UInt32;
  to      @2 :KvPlace;
  problem @3 :Problem;
}

# request ▶ planner, with the handle of its kv_transfer beside it.
struct Prefill {
  request   @0 :UInt64;
  attempt   @1 :UInt32;
  tokens    @2 :List(Int32);
  sampling  @3 :Sampling;
  allLogits @4 :Bool;
  to        @5 :KvPlace;        # of the decode lease
  samples   @6 :Int32;
  rules     @7 :SamplingRules;
}

# last prefill shard (tp_rank 0) ▶ request: the prompt is computed. Index 0 of each sample's answer. The decode worker hears
# it too, on the data plane, and its tokens may come before.
struct FirstToken {
  request @0 :UInt64;
  attempt @1 :UInt32;
  samples @2 :List(Made);
  cachedTokens @3 :Int32; # of the prompt: were not computed
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

# decode worker ▶ request. Known indices are dropped.
struct Token {
  request @0 :UInt64;
  attempt @1 :UInt32;
  sample  @2 :Int32;
  index   @3 :Int32;
  made    @4 :Made;
}
