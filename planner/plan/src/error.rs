/// An input that no plan can be made of.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request names a group without head.
    #[error("request {ordinal} names group {group}, which has no head")]
    UnknownGroup {
        /// The request.
        ordinal: u32,
        /// What it names.
        group: u32,
    },
    /// A head names a model without fleet.
    #[error("group {group} names model {model}, which has no fleet")]
    UnknownModel {
        /// The group.
        group: u32,
        /// What its head names.
        model: u32,
    },
    /// More requests or groups than an ordinal can number.
    #[error("more than {} requests or groups", u32::MAX)]
    TooMany,
    /// A margin or fraction that is 0 or above 1.
    #[error("{field} is {value}, which is not above 0 and at most 1")]
    RatioOutOfRange {
        /// Field of `Limits`.
        field: &'static str,
        /// Its value.
        value: f64,
    },
    /// `Limits::tiers` must ascend.
    #[error("context tiers do not ascend")]
    TiersNotAscending,
    /// Not even one exchange fits the context beside the shared prompt.
    #[error("an exchange of {exchange} tokens does not fit {room}")]
    ExchangeTooLong {
        /// One request with its answer, in tokens.
        exchange: u64,
        /// Tokens left beside the shared prompt.
        room: u64,
    },
}
