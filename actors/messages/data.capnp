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

# shard ▶ kv_transfer: these positions of a layer are in the shard's pool.
struct KvReady {
  request       @0 :UInt64;
  attempt       @1 :UInt32;
  worker        @2 :UInt32;     # row of the view
  layer         @3 :UInt32;     # in the shard
  firstPosition @4 :Int32;
  endPosition   @5 :Int32;
  last          @6 :Bool;
  blocks        @7 :List(Int32);
}
# kv_transfer ▶ shard: send these slices. Sent when each has arrived, or with the problem that stopped it.
struct KvSend {
  request  @0 :UInt64;
  attempt  @1 :UInt32;
  ticket   @2 :UInt64;
  to       @3 :Address;
  slices   @4 :List(Slice);
  struct Slice {
    fromOffset @0 :UInt64;      # in the shard's pool
    to         @1 :TensorRef;
  }
}
struct KvSent {
  request @0 :UInt64;
  attempt @1 :UInt32;
  ticket  @2 :UInt64;
  bytes   @3 :UInt64;
  problem @4 :Serving.Problem;
}
