//! One line of an input: which endpoints there are, which fields a body may have, which
//! kind of engine honours what, and what makes a line invalid. Beside it what is done
//! with a line: laying it over the defaults of its batch, splitting off what requests
//! share, and writing its answer's line.
//! Pure: no I/O, no clock, and memory in proportion to one line.

mod body;
mod defaults;
mod endpoint;
mod envelope;
mod error;
mod field;
mod file;
mod hash;
mod json;
mod kinds;
mod line;
mod measure;
mod outline;
mod output;
mod path;
mod report;
mod split;

pub use body::{fields, honours, treatment};
pub use defaults::{Defaults, DefaultsError};
pub use endpoint::{Dialect, Endpoint, EngineKind};
pub use error::{Code, LineError};
pub use field::{Field, Treatment};
pub use file::{is_blank, looks_compressed, strip_bom};
pub use hash::content_hash;
pub use kinds::Kinds;
pub use line::{Line, LinePolicy, validate};
pub use measure::Texts;
pub use outline::{Message, Outline};
pub use output::{Source, error_line, output_line};
pub use split::{Parts, merge, split};
