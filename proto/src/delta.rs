//! What changed between two states of a batch, and the way back.

use prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage as _};
use prost_types::FieldMask;

use crate::{
    json::POOL,
    v1::{Batch, BatchDelta},
};

/// The top-level fields in which `new` differs from `old`; none if they are equal.
#[must_use]
pub fn between(old: &Batch, new: &Batch) -> Option<BatchDelta> {
    let (old, new) = (dynamic(old)?, dynamic(new)?);
    let mut changed = DynamicMessage::new(new.descriptor());
    let mut paths = Vec::new();
    for field in new.descriptor().fields() {
        let value = new.get_field(&field);
        if value == old.get_field(&field) && new.has_field(&field) == old.has_field(&field) {
            continue;
        }
        if new.has_field(&field) {
            changed.set_field(&field, value.into_owned());
        }
        paths.push(field.name().to_owned());
    }
    let batch = changed.transcode_to::<Batch>().ok();
    (!paths.is_empty()).then_some(BatchDelta { batch, update_mask: Some(FieldMask { paths }) })
}

/// Sets the fields that `delta` names. Unknown names (of a newer server) are passed over.
pub fn apply(batch: &mut Batch, delta: &BatchDelta) {
    let from = delta.batch.as_ref().and_then(dynamic);
    let (Some(mut whole), Some(from)) = (dynamic(batch), from) else { return };
    for path in delta.update_mask.iter().flat_map(|mask| &mask.paths) {
        let Some(field) = whole.descriptor().get_field_by_name(path) else { continue };
        if from.has_field(&field) {
            whole.set_field(&field, from.get_field(&field).into_owned());
        } else {
            whole.clear_field(&field);
        }
    }
    if let Ok(updated) = whole.transcode_to() {
        *batch = updated;
    }
}

fn dynamic(batch: &Batch) -> Option<DynamicMessage> {
    let descriptor = POOL.get_message_by_name("caravan.v1.Batch")?;
    DynamicMessage::decode(descriptor, batch.encode_to_vec().as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Progress, RequestCounts, batch::State};

    #[test]
    fn applying_what_changed_gives_the_new_state() {
        let old = Batch {
            state: State::Running.into(),
            requests: Some(RequestCounts { total: 9, succeeded: 1, failed: 0 }),
            progress: Some(Progress::default()),
            ..Default::default()
        };
        let new = Batch {
            state: State::Completed.into(),
            requests: Some(RequestCounts { total: 9, succeeded: 9, failed: 0 }),
            output_file: "files/file_1".into(),
            ..Default::default()
        };
        let delta = between(&old, &new).expect("they differ");
        let paths = &delta.update_mask.as_ref().expect("a mask").paths;
        assert_eq!(*paths, ["state", "requests", "progress", "output_file"]);
        let mut batch = old;
        apply(&mut batch, &delta);
        assert_eq!(batch, new);
    }

    #[test]
    fn equal_states_have_no_delta() {
        assert_eq!(between(&Batch::default(), &Batch::default()), None);
    }
}
