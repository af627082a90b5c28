//! Folds what changed into what was known of a batch.

use caravan_proto::v1::{Batch, BatchDelta};

/// Sets the fields of `$batch` that `$path` may name, and names all of them in `FIELDS`.
macro_rules! fields {
    ($($field:ident),* $(,)?) => {
        /// Every field of a batch.
        #[cfg(test)]
        const FIELDS: &[&str] = &[$(stringify!($field)),*];

        fn set(batch: &mut Batch, path: &str, new: &mut Batch) {
            match path {
                $(stringify!($field) => batch.$field = std::mem::take(&mut new.$field),)*
                // A field of a later version of the contract.
                _ => {}
            }
        }
    };
}

fields! {
    name, input_file, strategy, on_invalid, priority, endpoint, model, metadata, chunk_limits, stated_tokens,
    completion_window, retention, webhook, defaults, state, state_reason, state_message, requests, chunks, usage, plan, progress, output_file,
    error_file, line_errors, line_error_count, create_time, plan_time, start_time, last_commit_time, end_time,
    revision, report, pinned_models, expire_time, purge_time, retried_from, retries,
}

/// Sets the fields of `batch` that `delta` names.
pub(crate) fn apply(batch: &mut Batch, delta: BatchDelta) {
    let mut new = delta.batch.unwrap_or_default();
    for path in delta.update_mask.unwrap_or_default().paths {
        set(batch, &path, &mut new);
    }
}

#[cfg(test)]
mod tests {
    use caravan_proto::{DESCRIPTORS, v1::RequestCounts, v1::batch::State};
    use prost::Message as _;
    use prost_types::{FieldMask, FileDescriptorSet};

    use super::*;

    #[test]
    fn every_field_of_the_contract_is_known() {
        let set = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
        let batch =
            set.file.iter().flat_map(|file| &file.message_type).find(|message| message.name() == "Batch");
        let mut fields: Vec<_> = batch.expect("Batch").field.iter().map(|field| field.name()).collect();
        let mut known = FIELDS.to_vec();
        fields.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, fields);
    }

    #[test]
    fn only_what_the_mask_names_changes() {
        let mut batch = Batch { model: "kept".into(), state_reason: "OLD".into(), ..Default::default() };
        let new = Batch {
            state: State::Running.into(),
            requests: Some(RequestCounts { total: 2, succeeded: 1, failed: 0 }),
            model: "not named".into(),
            ..Default::default()
        };
        let paths = ["state", "requests", "state_reason", "of_tomorrow"].map(String::from).to_vec();
        apply(&mut batch, BatchDelta { batch: Some(new), update_mask: Some(FieldMask { paths }) });
        assert_eq!(batch.state(), State::Running);
        assert_eq!(batch.requests.map(|requests| requests.succeeded), Some(1));
        assert_eq!((batch.model.as_str(), batch.state_reason.as_str()), ("kept", ""));
    }
}
