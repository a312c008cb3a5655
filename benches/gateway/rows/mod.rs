//! The rows of the table, one file each.

mod encode;
mod fan_out;
mod growth;
mod idle;
mod replay;
mod run_start;
mod slow_readers;
mod soak;
mod sockets;
mod token_streams;

use crate::{options::Options, table::Table};

/// Measures the rows that were asked for.
pub(crate) async fn measure(options: &Options, table: &mut Table) {
    fan_out::measure(options, table).await;
    token_streams::measure(options, table).await;
    replay::measure(options, table).await;
    run_start::measure(options, table).await;
    idle::measure(options, table).await;
    slow_readers::measure(options, table).await;
    sockets::measure(options, table).await;
    growth::measure(options, table).await;
    soak::measure(options, table).await;
    encode::measure(options, table);
}
