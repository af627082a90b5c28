//! The command caravan.
