# What rides on the data plane, or names places on it.
@0xd3a1c0de51ab1e03;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("quadrant::wire");
using Serving = import "serving.capnp";

struct Address {             # a worker's inbox at its process's endpoint
  endpoint @0 :UInt64;
  host     @1 :Text;
  port     @2 :UInt16;
  inbox    @3 :UInt32;
}

# A tensor in registered memory. The key dies with the registration.
struct TensorRef {
  key    @0 :UInt64;
  offset @1 :UInt64;
  bytes  @2 :UInt64;
}

# Delivered to an inbox when the bytes it speaks of are in place.
struct Arrival {
  union {
    gather :group {          # part of rank `source` for the ordinal-th gather of this slot
      slot    @0 :UInt32;
      ordinal @1 :UInt64;
      source  @2 :UInt32;
    }
    residual :group {        # what the stage before leaves of the ordinal-th step of this slot
      slot2    @3 :UInt32;
      ordinal2 @4 :UInt64;
    }
    dispatch @5 :Dispatch;   # to an expert group
    state :group {           # what attention has folded before this rank, for the ordinal-th time in this slot
      slot4    @8 :UInt32;
      ordinal4 @9 :UInt64;
    }
    combine :group {         # from an expert group: its rows of the ordinal-th dispatch of this slot
      slot3    @6 :UInt32;
      ordinal3 @7 :UInt64;
    }
    kv :group {              # so many (block, layer, head) slices of a hand-over; a rank above 0 passes the word on to rank 0
      request5 @10 :UInt64;
      attempt5 @11 :UInt32;
      slices5  @12 :UInt32;
    }
    first :group {           # the other half of a hand-over: the prompt is computed, this is index 0 of each sample
      request6 @13 :UInt64;
      attempt6 @14 :UInt32;
      tokens6  @15 :List(Int32);
      endedNs6 @16 :Int64;   # when, by the monotonic clock of the machine
    }
  }
}
struct Dispatch {
  caller      @0 :UInt32;       # row of the view
  slot        @1 :UInt32;
  ordinal     @2 :UInt64;
  layer       @3 :UInt32;
  counts      @4 :List(Int32);  # rows for each expert of the group, in order
  replyTo     @5 :Address;
  out         @6 :TensorRef;    # where the group's rows go, contiguous
}

# shard ▶ kv_transfer: these positions of a layer are in the pools of the decode ranks that hold them, or the problem that
# stopped them. planner ▶ kv_transfer: the prompt cannot be computed (the problem; nothing else is set).
struct KvSent {
  request       @0 :UInt64;
  attempt       @1 :UInt32;
  worker        @2 :UInt32;     # row of the view
  layer         @3 :UInt32;     # in the shard
  firstPosition @4 :Int32;
  endPosition   @5 :Int32;
  problem       @6 :Serving.Problem;
}
# kv_transfer ▶ planner ▶ every shard, with the kv_transfer's handle beside it: the request is over before its hand-over. No
# chunk of it is planned, and no slice sent, any more. Each shard says Halted when none is on the way.
struct Halt {
  request @0 :UInt64;
  attempt @1 :UInt32;
}
# shard ▶ kv_transfer.
struct Halted {
  request @0 :UInt64;
  attempt @1 :UInt32;
  worker  @2 :UInt32;           # row of the view
}
