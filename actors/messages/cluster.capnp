# Who is there and where. Addresses come only from a versioned view; a worker that is not in the newest view does not exist.
@0xd3a1c0de51ab1e04;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("quadrant::wire");
using Data = import "data.capnp";
using Serving = import "serving.capnp";

# node agent ▶ supervisor, with its own handle beside it.
struct Join {
  name     @0 :Text;       # of a process in the topology; empty: any that is still missing
  pid      @1 :UInt32;
}
# supervisor ▶ node agent: run these workers. Reply: Assigned, with their handles beside it, when they are loaded. With a problem:
# there is no place for this process, and it ends.
struct Assign {
  name       @0 :Text;
  topology   @1 :Text;     # TOML
  model      @2 :Text;     # directory
  precision  @3 :Text;
  workers    @4 :List(Text);
  token      @5 :Text;     # of the cluster: the data plane's handshake
  problem    @6 :Serving.Problem;
}
struct Worker {
  name     @0 :Text;
  address  @1 :Data.Address;
  landing  @2 :Data.TensorRef;   # where peers put rows for it
  kvPool   @3 :Data.TensorRef;   # decode workers: where hand-overs put KV
}
struct Assigned {
  name        @0 :Text;
  workers     @1 :List(Worker);
  numericsId  @2 :UInt64;
  problem     @3 :Serving.Problem;
}
# supervisor ▶ every worker, planner and router, with all handles beside it in the order of `workers`. Reply: unit when it is ready.
struct View {
  version @0 :UInt64;
  workers @1 :List(Worker);
}
# supervisor ▶ router and planner: this worker is lost; what depends on it cannot be served.
struct WorkerDown {
  name   @0 :Text;
  reason @1 :Text;
}
# anyone ▶ node agent or supervisor. Reply: StatusReport.
struct StatusQuery {
  version @0 :UInt64;
}
struct ActorStatus {
  id         @0 :UInt64;
  role       @1 :Text;
  node       @2 :Text;
  state      @3 :Text;
  mailbox    @4 :UInt64;
  messages   @5 :UInt64;
  busyNs     @6 :UInt64;
  maxNs      @7 :UInt64;
}
struct Books {
  blocksTotal  @0 :Int64;
  blocksFree   @1 :Int64;
  blocksUsed   @2 :Int64;
  blocksCached @3 :Int64;
  leases       @4 :Int64;
  requestsLive @5 :Int64;
  creditsOut   @6 :Int64;
}
struct StatusReport {
  actors    @0 :List(ActorStatus);
  books     @1 :Books;
  gauges    @2 :List(Gauge);
  serving   @3 :Bool;
  note      @4 :Text;
  struct Gauge {
    name  @0 :Text;
    value @1 :Float64;
  }
}
