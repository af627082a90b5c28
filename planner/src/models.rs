//! Models that engines list.

use caravan_proto::v1;

pub use caravan_proto::model::{bare, means};

/// The largest context that an engine may be asked for with a model, if it is known.
#[must_use]
pub fn largest_context(engine: &v1::Engine, wanted: &str) -> Option<i64> {
    let known = engine.models.iter().find(|model| means(wanted, &model.name))?;
    Some(known.max_context).filter(|context| *context > 0)
}
