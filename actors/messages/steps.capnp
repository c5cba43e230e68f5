# What workers are told to compute, and what they tell. One numbered step log per pipeline and per decode replica: every rank
# executes the same steps in the same order, so nothing but the number needs to be agreed on.
@0xd3a1c0de51ab1e02;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("quadrant::wire");
using Serving = import "serving.capnp";

# planner ▶ every shard of its pipeline, with the handles of the chunks' requests and kv_transfers beside it.
struct MicroBatch {
  step   @0 :UInt64;      # ascending; shards execute them in order
  slot   @1 :UInt32;      # frame to use; free again when the last stage has reported the step
  chunks @2 :List(Chunk);
  struct Chunk {
    request       @0 :UInt64;
    attempt       @1 :UInt32;
    firstPosition @2 :Int32;
    tokens        @3 :List(Int32);
    blocks        @4 :List(Int32);   # in the shard's pool, of positions 0 .. end of this chunk
    last          @5 :Bool;          # completes the prompt: its last row is sampled
    allLogits     @6 :Bool;
    sampling      @7 :Serving.Sampling;
    samples       @8 :Int32;
    rules         @9 :Serving.SamplingRules;  # where it is the last
    cachedTokens  @10 :Int32;        # of the prompt
    sendFrom      @11 :Int32;        # block: the KV of those from here on, as far as they are complete, is handed over
    to            @12 :Serving.KvPlace;  # for each of these blocks; none with allLogits
  }
}
# last shard (tp_rank 0) ▶ planner.
struct MicroBatchDone {
  step @0 :UInt64;
}

# decode tp_rank 0 ▶ the other ranks.
struct DecodeStep {
  number     @0 :UInt64;
  microBatch @1 :UInt32;
  rows       @2 :List(Row);
  struct Row {
    slot     @0 :Int32;
    position @1 :Int32;        # of the input token
    token    @2 :Int32;        # a token, or -1 - slot: the one that the step before left on the device
    blocks   @3 :List(Int32);
    sampling @4 :Serving.Sampling;
    segmentEnds @5 :List(Int32);  # where its KV is split over the ranks that share heads
    opens    @6 :Bool;         # the first row of its sequence, which the rules are for
    rules    @7 :Serving.SamplingRules;
  }
}
# a decode rank's device ▶ its worker, when a step has ended.
struct DecodeStepDone {
  number     @0 :UInt64;
  microBatch @1 :UInt32;
  made       @2 :List(Serving.Made);
  startedNs  @3 :Int64;
  endedNs    @4 :Int64;
}
