use std::fmt;

/// What is wrong with a line, as a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// The line is not one JSON object, or not one that every reader reads alike.
    InvalidJsonLine,
    /// The line is not UTF-8.
    InvalidUtf8,
    /// The line has more bytes or more JSON values than allowed.
    LineTooLong,
    /// A field that must be there is not.
    MissingRequiredParameter,
    /// A field's JSON type is wrong.
    InvalidType,
    /// A field's value is out of its range or unknown.
    InvalidValue,
    /// An earlier line has the same `custom_id`.
    DuplicateCustomId,
    /// The method is not POST.
    UnsupportedMethod,
    /// The URL names no endpoint that is served.
    UnsupportedUrl,
    /// The URL is not the one that the batch names.
    UrlMismatch,
    /// The model is not the one that the batch names.
    ModelMismatch,
    /// No kind of engine in the fleet honours the parameter.
    UnsupportedParameter,
    /// `"stream": true`.
    StreamNotSupported,
    /// The prompt with its answer does not fit the context of any slot.
    ContextLengthExceeded,
    /// The file has no request.
    EmptyFile,
    /// The file has more requests than allowed.
    TooManyRequests,
}

/// One thing that is wrong with one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {code}: {message}")]
pub struct LineError {
    /// 1-based line number; 0 for the file as a whole.
    pub line: u64,
    /// The line's `custom_id`, if it could be read and is valid.
    pub custom_id: Option<String>,
    /// What is wrong, for programs.
    pub code: Code,
    /// Path of the field, e.g. `body.messages[1].role`; none for the line as a whole.
    pub param: Option<String>,
    /// What is wrong and the way out, for people. Quotes at most a few words of the line.
    pub message: String,
}

// === impl Code ===

impl Code {
    /// Every code.
    pub const ALL: [Self; 16] = [
        Self::InvalidJsonLine,
        Self::InvalidUtf8,
        Self::LineTooLong,
        Self::MissingRequiredParameter,
        Self::InvalidType,
        Self::InvalidValue,
        Self::DuplicateCustomId,
        Self::UnsupportedMethod,
        Self::UnsupportedUrl,
        Self::UrlMismatch,
        Self::ModelMismatch,
        Self::UnsupportedParameter,
        Self::StreamNotSupported,
        Self::ContextLengthExceeded,
        Self::EmptyFile,
        Self::TooManyRequests,
    ];

    /// The code as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJsonLine => "invalid_json_line",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::LineTooLong => "line_too_long",
            Self::MissingRequiredParameter => "missing_required_parameter",
            Self::InvalidType => "invalid_type",
            Self::InvalidValue => "invalid_value",
            Self::DuplicateCustomId => "duplicate_custom_id",
            Self::UnsupportedMethod => "unsupported_method",
            Self::UnsupportedUrl => "unsupported_url",
            Self::UrlMismatch => "url_mismatch",
            Self::ModelMismatch => "model_mismatch",
            Self::UnsupportedParameter => "unsupported_parameter",
            Self::StreamNotSupported => "stream_not_supported",
            Self::ContextLengthExceeded => "context_length_exceeded",
            Self::EmptyFile => "empty_file",
            Self::TooManyRequests => "too_many_requests",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl LineError ===

impl LineError {
    fn whole(line: u64, code: Code, message: String) -> Self {
        Self { line, custom_id: None, code, param: None, message }
    }

    /// The line has more than `limit` bytes; for who refuses it before holding all of it.
    #[must_use]
    pub fn line_too_long(line: u64, limit: usize) -> Self {
        let message = format!("the line is longer than {limit} bytes: shorten its prompt or its images");
        Self::whole(line, Code::LineTooLong, message)
    }

    /// The line is short enough, but has more than `limit` bytes with its batch's defaults.
    pub(crate) fn line_too_long_with_defaults(line: u64, limit: usize) -> Self {
        let message =
            format!("the line with the batch's defaults is longer than {limit} bytes: shorten either");
        Self::whole(line, Code::LineTooLong, message)
    }

    /// `custom_id` was used before, on line `first` if that is known.
    #[must_use]
    pub fn duplicate_custom_id(line: u64, custom_id: &str, first: Option<u64>) -> Self {
        let place = first.map_or_else(|| "an earlier line".to_owned(), |first| format!("line {first}"));
        Self {
            line,
            custom_id: Some(custom_id.to_owned()),
            code: Code::DuplicateCustomId,
            param: Some("custom_id".to_owned()),
            message: format!("{place} has the same custom_id: each must be unique within the file"),
        }
    }

    /// A prompt of `prompt` tokens with `answer` tokens of answer does not fit `context` tokens.
    #[must_use]
    pub fn context_length_exceeded(
        line: u64,
        custom_id: &str,
        prompt: u64,
        answer: u64,
        context: u64,
    ) -> Self {
        Self {
            line,
            custom_id: Some(custom_id.to_owned()),
            code: Code::ContextLengthExceeded,
            param: Some("body".to_owned()),
            message: format!(
                "{prompt} prompt tokens and {answer} of answer do not fit a slot's {context}: \
                 shorten the prompt or the answer's limit"
            ),
        }
    }

    /// The file holds no request at all.
    #[must_use]
    pub fn empty_file() -> Self {
        Self::whole(0, Code::EmptyFile, "the file has no request: write one JSON object a line".to_owned())
    }

    /// `line` is the first past the `limit` of requests in one file.
    #[must_use]
    pub fn too_many_requests(line: u64, limit: u64) -> Self {
        let message = format!("the file has more than {limit} requests: split it into several batches");
        Self::whole(line, Code::TooManyRequests, message)
    }

    /// The file is compressed, as [`looks_compressed`](crate::looks_compressed) told.
    #[must_use]
    pub fn compressed(format: &str) -> Self {
        let message = format!("the file is compressed ({format}): upload the JSONL text itself");
        Self::whole(1, Code::InvalidJsonLine, message)
    }
}
