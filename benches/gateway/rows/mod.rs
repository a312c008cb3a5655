//! The rows of the table, one file each.

pub(crate) mod fan_out;

use crate::{options::Options, table::Table};

/// Measures the rows that were asked for.
pub(crate) async fn measure(options: &Options, table: &mut Table) {
    fan_out::measure(options, table).await;
}
