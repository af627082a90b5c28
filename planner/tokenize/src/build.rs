use std::sync::Arc;

use crate::bpe::Bpe;
use crate::fields::Fields;
use crate::json::Json;
use crate::pre::Rules;
use crate::special::Specials;
use crate::spm::Spm;
use crate::tokenizer::{Composed, Plain};
use crate::unigram::Unigram;
use crate::wpm::Wpm;
use crate::{Definition, Error, Tokenizer};

/// Build the tokenizer: some 10 to 50 MB in memory and up to a second, so share it.
///
/// # Errors
/// The kind of tokenizer or its pre-tokenizer is not known here (a model that does not name one
/// included), or the vocabulary lacks what its kind needs.
pub fn build(definition: &Definition) -> Result<Arc<dyn Tokenizer>, Error> {
    let vocabulary = match definition {
        Definition::Vocabulary(vocabulary) => vocabulary,
        Definition::TokenizerJson(json) => return Ok(Arc::new(Json::new(json)?)),
    };
    let fields = vocabulary.fields();
    match fields.model.as_str() {
        "gpt2" => composed(fields, Bpe::new(fields, Rules::named(fields.pre.as_deref())?)?),
        "gemma4" => composed(fields, Bpe::new(fields, Rules::of_text())?),
        "llama" => composed(fields, Spm::new(fields)?),
        "bert" => composed(fields, Wpm::new(fields)?),
        "t5" => composed(fields, Unigram::new(fields)?),
        unknown => Err(Error::UnknownModel(unknown.to_owned())),
    }
}

fn composed(fields: &Fields, plain: impl Plain + 'static) -> Result<Arc<dyn Tokenizer>, Error> {
    Ok(Arc::new(Composed { specials: Specials::new(fields)?, plain }))
}
