//! The log on disk: what survives, what is cut, what is told.
