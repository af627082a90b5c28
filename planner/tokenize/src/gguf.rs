use std::io::{self, Read};

use crate::Error;
use crate::column::Column;
use crate::metadata::{Described, Metadata, Scalar};

/// Bytes of metadata that are read at most: the largest known vocabulary has 16 MB.
const MAX_BYTES: u64 = 256 << 20;
/// Entries of metadata: models have about 50.
const MAX_ENTRIES: u64 = 1 << 16;
/// Bytes of a key: the format's own limit.
const MAX_KEY: u64 = (1 << 16) - 1;
/// Bytes of a text: the longest are chat templates.
const MAX_TEXT: u64 = 16 << 20;
/// Elements of an array: the most known are 514,906 merges.
const MAX_ELEMENTS: u64 = 1 << 22;

/// Read the metadata of a GGUF file, and those of its arrays that are wanted. Memory is bounded by
/// what is read, never by what a length says.
pub(crate) fn read(reader: impl Read, wanted: impl Fn(&str) -> bool) -> Result<Described, Error> {
    let mut input = Input { reader: reader.take(MAX_BYTES) };
    if input.bytes::<4>()? != *b"GGUF" {
        return Err(Error::NotGguf);
    }
    let version = input.u32()?;
    if !(2..=3).contains(&version) {
        return Err(Error::Version(version));
    }
    input.u64()?; // tensors
    let entries = limited("the number of entries", input.u64()?, MAX_ENTRIES)?;
    let mut described = Described::default();
    for _ in 0..entries {
        let key = input.text("the length of a key", MAX_KEY)?;
        match input.u32()? {
            kind::ARRAY => input.array(key, &wanted, &mut described)?,
            kind => {
                let value = input.scalar(kind)?;
                described.metadata.insert(key, value);
            }
        }
    }
    Ok(described)
}

/// The types of values.
mod kind {
    pub(super) const U8: u32 = 0;
    pub(super) const I8: u32 = 1;
    pub(super) const U16: u32 = 2;
    pub(super) const I16: u32 = 3;
    pub(super) const U32: u32 = 4;
    pub(super) const I32: u32 = 5;
    pub(super) const F32: u32 = 6;
    pub(super) const BOOL: u32 = 7;
    pub(super) const TEXT: u32 = 8;
    pub(super) const ARRAY: u32 = 9;
    pub(super) const U64: u32 = 10;
    pub(super) const I64: u32 = 11;
    pub(super) const F64: u32 = 12;
}

struct Input<R> {
    reader: io::Take<R>,
}

// === impl Input ===

impl<R: Read> Input<R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    /// A text; what is not UTF-8 in it is replaced, which no text of a vocabulary here survives as
    /// a token of its own.
    fn text(&mut self, what: &'static str, limit: u64) -> Result<String, Error> {
        let length = limited(what, self.u64()?, limit)?;
        let mut bytes = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    fn scalar(&mut self, kind: u32) -> Result<Scalar, Error> {
        Ok(match kind {
            kind::U8 => Scalar::Integer(u8::from_le_bytes(self.bytes()?).into()),
            kind::I8 => Scalar::Integer(i8::from_le_bytes(self.bytes()?).into()),
            kind::U16 => Scalar::Integer(u16::from_le_bytes(self.bytes()?).into()),
            kind::I16 => Scalar::Integer(i16::from_le_bytes(self.bytes()?).into()),
            kind::U32 => Scalar::Integer(self.u32()?.into()),
            kind::I32 => Scalar::Integer(i32::from_le_bytes(self.bytes()?).into()),
            kind::F32 => Scalar::Float(f32::from_le_bytes(self.bytes()?).into()),
            kind::BOOL => Scalar::Bool(self.bytes::<1>()? != [0]),
            kind::TEXT => Scalar::Text(self.text("the length of a text", MAX_TEXT)?),
            kind::U64 => Scalar::Integer(self.u64()?.into()),
            kind::I64 => Scalar::Integer(i64::from_le_bytes(self.bytes()?).into()),
            kind::F64 => Scalar::Float(f64::from_le_bytes(self.bytes()?)),
            other => return Err(Error::Invalid(format!("the type {other} of a value"))),
        })
    }

    fn array(
        &mut self,
        key: String,
        wanted: &impl Fn(&str) -> bool,
        into: &mut Described,
    ) -> Result<(), Error> {
        let kind = self.u32()?;
        let length = limited("the length of an array", self.u64()?, MAX_ELEMENTS)?;
        let wanted = wanted(&key);
        let (mut texts, mut numbers, mut list) = (Column::default(), Vec::new(), Vec::new());
        for _ in 0..length {
            match self.scalar(kind)? {
                scalar if !wanted => {
                    if kind != kind::TEXT && Metadata::keeps(length) {
                        list.push(Some(scalar));
                    }
                }
                Scalar::Text(text) => texts.push(&text),
                Scalar::Float(number) => numbers.push(number),
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "the arrays of a vocabulary hold 32 bits at most"
                )]
                Scalar::Integer(number) => numbers.push(number as f64),
                Scalar::Bool(_) => return Err(Error::Invalid(key)),
            }
        }
        if wanted && kind == kind::TEXT {
            into.texts.insert(key, texts);
        } else if wanted {
            into.numbers.insert(key, numbers);
        } else if !list.is_empty() {
            into.metadata.insert_list(key, list.into_iter());
        }
        Ok(())
    }
}

fn limited(what: &'static str, found: u64, limit: u64) -> Result<u64, Error> {
    if found > limit { Err(Error::TooLarge { what, found, limit }) } else { Ok(found) }
}

#[cfg(test)]
#[path = "gguf_tests.rs"]
mod tests;
