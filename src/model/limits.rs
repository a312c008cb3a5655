//! Every bound of the program, with its reason and with what happens when it is reached.
//!
//! Bounds that an operator may want to move are settings; what stands here are their defaults.

use std::time::Duration;

use jiff::SignedDuration;

/// The largest message a client may send. Larger ones fail with RESOURCE_EXHAUSTED. The default of every gRPC stack.
pub const MESSAGE_BYTES: usize = 4 << 20;

/// The largest text a single event may carry. Longer text of a worker is cut, and the cut is told. A quarter of
/// [`MESSAGE_BYTES`], so that an event fits into a client's default limit whatever the wire format adds.
pub const EVENT_TEXT_BYTES: usize = 1 << 20;

/// The largest output a run may end with, in the larger of its wire formats. A larger one is the run's ERROR
/// `output_too_large`. Beside a text and a view it still fits into [`MESSAGE_BYTES`].
pub const OUTPUT_BYTES: usize = 2 << 20;

/// Lists and objects inside each other in a run's output. A deeper one is the run's ERROR `output_too_large`: clients
/// decode at most 100 messages inside each other, and each object of an output is three of them.
pub const OUTPUT_DEPTH: usize = 30;

/// The largest view a single event may carry, as JSON. A larger one is left out, and that is told.
pub const VIEW_BYTES: usize = 768 << 10;

/// Ids of nodes whose names a session keeps. Beyond it all are named anew, which gives the same names unless two of
/// them have the same hash.
pub const NODE_IDS: usize = 100_000;

/// Commands that wait for a run's writer. When it is full the worker waits; watchers never do.
pub const WRITER_MAILBOX: usize = 256;

/// KiB of events that wait for a run's writer, or are being written by it. Beyond it the worker waits. Four times the
/// largest text of an event.
pub const WRITER_MAILBOX_KIB: u32 = 4 << 10;

/// Commands that a run's writer takes up in one append: what arrives while the previous append was under way.
pub const WRITER_BATCH: usize = 256;

/// Bytes of events that a watcher takes from the log at a time. Bounds what a slow watcher holds.
pub const WATCH_BATCH_BYTES: usize = 256 << 10;

/// Requests that the workers of one run may make in its life, at about 150 bytes of memory each; the next one is refused.
/// Guards the log against a loop.
pub const REQUESTS_PER_RUN: usize = 10_000;

/// Requests of one run that may be open at a time; the next one is refused. More than a person or a client has in view.
pub const OPEN_REQUESTS: usize = 256;

/// Bytes of the name of a request. Workers choose it; a longer one is refused.
pub const REQUEST_ID_BYTES: usize = 128;

/// Bytes of what a client answers to a request, in the larger of its wire formats. A larger answer is INVALID_ARGUMENT.
/// It is an event of the log, so it fits into one.
pub const ANSWER_BYTES: usize = 1 << 20;

/// Pushes of an orchestrator to one run that are remembered, at about 50 bytes of memory each, so that one that comes
/// twice is applied once. Beyond it the oldest are forgotten: one that comes again after so many others is applied again.
pub const REMEMBERED_PUSHES: usize = 16_384;

/// How often the workers of one run are begun, the first time included. A run that brings the gateway down each time must
/// not do so for ever; beyond it the run ends like one that is not begun again at all.
pub const ATTEMPTS: u32 = 5;

/// Runs that wait for one session. One more is RESOURCE_EXHAUSTED. Nobody reads more answers than this one by one.
pub const WAITING_PER_SESSION: usize = 16;

/// Runs of a session that one watch of the session tells at a time: the active one, those that wait, and one that has
/// passed the session on and is about to write its last event. Older runs come first; further ones wait until one of
/// these has ended.
pub const OPEN_RUNS: usize = WAITING_PER_SESSION + 2;

/// Idempotency keys that are remembered, at about 100 bytes of memory each. Beyond it the oldest are forgotten before
/// their time.
pub const IDEMPOTENCY_KEYS: usize = 1_000_000;

/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Characters of a user id, a purpose, a repository's address. Longer ones are INVALID_ARGUMENT.
pub const SHORT_TEXT_BYTES: usize = 2048;

/// Bytes of one input of the person. Longer ones are INVALID_ARGUMENT.
pub const INPUT_BYTES: usize = 1 << 20;

/// Parameters of a run. More are INVALID_ARGUMENT.
pub const PARAMS: usize = 256;

/// Runs on a page when the client does not say, and the most it may ask for.
pub const PAGE_SIZE: usize = 50;
/// See [`PAGE_SIZE`].
pub const MAX_PAGE_SIZE: usize = 200;

/// Silence after which a stream says that it is alive. Below the minute after which common proxies cut.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
