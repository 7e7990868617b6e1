//! Whole objects to and from one remote system.
//!
//! A [`Broker`] puts, reads, lists and deletes *objects*: named runs of bytes that are written
//! once and as a whole. It knows nothing of tables, jobs or the layout of a repository; what the
//! names mean is the caller's business. The trait's documentation is a contract, and
//! [`conformance`] is the suite that every implementation passes.
//!
//! | Type | Is |
//! |---|---|
//! | [`LocalBroker`] | a folder of a local or mounted file system, with honest syncs |
//! | [`MemoryBroker`] | a full citizen without a disk, shared by its clones |
//! | [`Retry`] | tries again with capped backoff, and reads ambiguous puts back |
//! | [`Throttle`] | bounds requests at a time and per second |
//! | [`Bandwidth`] | bounds bytes per second, up and down apart, alterable while in use |
//! | [`Record`] | counts requests and bytes, and keeps a list of calls where wanted |
//! | [`Fault`] | fails, hangs, tears, corrupts and lies by plan, for tests |
//!
//! Wrappers nest; the usual order from the caller inwards is
//! `Retry<Throttle<Bandwidth<Record<adapter>>>>`, so that each try counts against the limits.
//!
//! ```
//! use holdfast_broker::{Broker, BrokerExt, Context, MemoryBroker, ObjectName};
//! use holdfast_broker::{PutMode, PutOutcome};
//!
//! # fn main() -> Result<(), holdfast_broker::Error> {
//! let broker = MemoryBroker::new();
//! let ctx = Context::new();
//! let name = ObjectName::parse("greetings/first")?;
//! let outcome = broker.put_bytes(&ctx, &name, b"hello", PutMode::CreateIfAbsent)?;
//! assert_eq!(outcome, PutOutcome::Created);
//! assert_eq!(broker.get(&ctx, &name, 1024)?, b"hello");
//! assert_eq!(broker.list_all(&ctx, "greetings/")?.len(), 1);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests are outside the deterministic core"
    )
)]

mod bandwidth;
mod broker;
mod clock;
pub mod conformance;
mod context;
mod error;
mod fault;
mod hash;
mod local;
pub mod location;
mod memory;
mod name;
mod record;
mod retry;
mod source;
mod throttle;

pub use bandwidth::{Bandwidth, BandwidthLimits};
pub use broker::{
    Atomicity, Broker, BrokerExt, ConditionalPut, Description, Durability, ListConsistency,
    ObjectInfo, Page, PageToken, PutMode, PutOutcome, Request, Visit,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use context::{Budget, CancelToken, Context};
pub use error::{Error, ErrorClass};
pub use fault::{Fault, FaultPlan, FaultRule, Trouble, When};
pub use local::{LocalBroker, Swept};
pub use location::Location;
pub use memory::{MemoryBroker, MemoryCounts};
pub use name::ObjectName;
pub use record::{Call, Calls, Figures, Record, Recorder};
pub use retry::{Retry, RetryPolicy};
pub use source::{BytesSource, Source};
pub use throttle::{Throttle, ThrottleLimits};
