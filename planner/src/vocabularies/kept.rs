//! A vocabulary as it is kept: a SHA-256, then the message that it is of.

use bytes::Bytes;
use caravan_proto::v1;
use caravan_tokenize::Definition;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::{Known, template};

const CHECKSUM: usize = 32;

/// Name of the object of a key: keys are whatever executors say.
pub(super) fn name(key: &str) -> String {
    Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn encode(vocabulary: &v1::Vocabulary) -> Bytes {
    let message = vocabulary.encode_to_vec();
    let mut bytes = Vec::with_capacity(CHECKSUM + message.len());
    bytes.extend_from_slice(&Sha256::digest(&message));
    bytes.extend_from_slice(&message);
    bytes.into()
}

/// What was encoded for `key`; none if it is anything else.
pub(super) fn decode(bytes: &[u8], key: &str) -> Option<v1::Vocabulary> {
    let (checksum, message) = bytes.split_at_checked(CHECKSUM)?;
    if Sha256::digest(message).as_slice() != checksum {
        return None;
    }
    v1::Vocabulary::decode(message).ok().filter(|vocabulary| vocabulary.vocabulary == key)
}

/// The tokenizer, or a sentence on why there is none. Takes up to a second.
pub(super) fn build(kept: v1::Vocabulary) -> Result<Known, String> {
    let definition = Definition::decode(&kept.definition).map_err(|error| error.to_string())?;
    drop(kept.definition);
    let mut known = Known::of(&definition).map_err(|error| error.to_string())?;
    known.template = template::tokens(&*known.tokenizer, definition.begin().as_deref(), &kept.renderings);
    Ok(Known { key: kept.vocabulary, ..known })
}
