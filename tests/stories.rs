//! User stories, told through real sockets to the real program.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a story that cannot go on fails"
)]

#[path = "stories/harness.rs"]
mod harness;

#[path = "stories/completion.rs"]
mod completion;
#[path = "stories/contracts.rs"]
mod contracts;
#[path = "stories/database.rs"]
mod database;
#[path = "stories/doubt.rs"]
mod doubt;
#[path = "stories/faults.rs"]
mod faults;
#[path = "stories/fleet.rs"]
mod fleet;
#[path = "stories/imports.rs"]
mod imports;
#[path = "stories/lifecycle.rs"]
mod lifecycle;
#[path = "stories/load.rs"]
mod load;
#[path = "stories/lookups.rs"]
mod lookups;
#[path = "stories/mappings.rs"]
mod mappings;
#[path = "stories/operating.rs"]
mod operating;
#[path = "stories/orders.rs"]
mod orders;
#[path = "stories/outage.rs"]
mod outage;
#[path = "stories/protocols.rs"]
mod protocols;
#[path = "stories/publishing.rs"]
mod publishing;
#[path = "stories/refusals.rs"]
mod refusals;
#[path = "stories/telemetry.rs"]
mod telemetry;
#[path = "stories/updates.rs"]
mod updates;
#[path = "stories/webhooks.rs"]
mod webhooks;
