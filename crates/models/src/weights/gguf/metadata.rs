//! Typed metadata values, and asking for them by key.

use std::fmt;

use pellucid_core::{Error, Result};

use super::Gguf;
use super::reader::Reader;

/// A metadata value. Integers of all widths are widened; arrays stay typed.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any unsigned integer.
    U64(u64),
    /// Any signed integer.
    I64(i64),
    /// A float of 32 or 64 bits.
    F64(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    String(String),
    /// An array of integers of any kind.
    I64s(Vec<i64>),
    /// An array of 32-bit floats.
    F32s(Vec<f32>),
    /// An array of 64-bit floats.
    F64s(Vec<f64>),
    /// An array of truth values.
    Bools(Vec<bool>),
    /// An array of texts.
    Strings(Vec<String>),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Value::U64(_) | Value::I64(_) => "an integer",
            Value::F64(_) => "a float",
            Value::Bool(_) => "a truth value",
            Value::String(_) => "a string",
            Value::I64s(_) => "an array of integers",
            Value::F32s(_) => "an array of 32-bit floats",
            Value::F64s(_) => "an array of 64-bit floats",
            Value::Bools(_) => "an array of truth values",
            Value::Strings(_) => "an array of strings",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::U64(x) => x.fmt(f),
            Value::I64(x) => x.fmt(f),
            Value::F64(x) => x.fmt(f),
            Value::Bool(x) => x.fmt(f),
            Value::String(x) => write!(f, "{x:?}"),
            array => f.write_str(array.kind()),
        }
    }
}

/// Reads a value: its type's number, then the value.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Value, String> {
    let kind = reader.u32("its type")?;
    let what = "its value";
    Ok(match kind {
        0 => Value::U64(u8::from_le_bytes(reader.array(what)?).into()),
        1 => Value::I64(i8::from_le_bytes(reader.array(what)?).into()),
        2 => Value::U64(u16::from_le_bytes(reader.array(what)?).into()),
        3 => Value::I64(i16::from_le_bytes(reader.array(what)?).into()),
        4 => Value::U64(reader.u32(what)?.into()),
        5 => Value::I64(i32::from_le_bytes(reader.array(what)?).into()),
        6 => Value::F64(f32::from_le_bytes(reader.array(what)?).into()),
        7 => Value::Bool(truth(reader.array(what)?)?),
        8 => Value::String(reader.string(what)?),
        9 => read_array(reader)?,
        10 => Value::U64(reader.u64(what)?),
        11 => Value::I64(i64::from_le_bytes(reader.array(what)?)),
        12 => Value::F64(f64::from_le_bytes(reader.array(what)?)),
        _ => return Err(format!("unknown type {kind}")),
    })
}

fn read_array(reader: &mut Reader<'_>) -> Result<Value, String> {
    let kind = reader.u32("its elements' type")?;
    Ok(match kind {
        0 => Value::I64s(elements(reader, |b| Ok(u8::from_le_bytes(b).into()))?),
        1 => Value::I64s(elements(reader, |b| Ok(i8::from_le_bytes(b).into()))?),
        2 => Value::I64s(elements(reader, |b| Ok(u16::from_le_bytes(b).into()))?),
        3 => Value::I64s(elements(reader, |b| Ok(i16::from_le_bytes(b).into()))?),
        4 => Value::I64s(elements(reader, |b| Ok(u32::from_le_bytes(b).into()))?),
        5 => Value::I64s(elements(reader, |b| Ok(i32::from_le_bytes(b).into()))?),
        6 => Value::F32s(elements(reader, |b| Ok(f32::from_le_bytes(b)))?),
        7 => Value::Bools(elements(reader, truth)?),
        8 => {
            let n = reader.count("strings", 8)?;
            Value::Strings((0..n).map(|_| reader.string("a string")).collect::<Result<_, _>>()?)
        }
        9 => return Err("arrays of arrays are not read".into()),
        10 => Value::I64s(elements(reader, |b| {
            let x = u64::from_le_bytes(b);
            i64::try_from(x).map_err(|_| format!("{x} in an array is too large"))
        })?),
        11 => Value::I64s(elements(reader, |b| Ok(i64::from_le_bytes(b)))?),
        12 => Value::F64s(elements(reader, |b| Ok(f64::from_le_bytes(b)))?),
        _ => return Err(format!("an array of unknown type {kind}")),
    })
}

fn elements<T, const N: usize>(reader: &mut Reader<'_>, decode: impl Fn([u8; N]) -> Result<T, String>) -> Result<Vec<T>, String> {
    let n = reader.count("elements", N)?;
    let bytes = reader.take(n * N, "its elements")?; // No overflow: `count` found room for them.
    bytes.as_chunks().0.iter().map(|element| decode(*element)).collect()
}

fn truth([byte]: [u8; 1]) -> Result<bool, String> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(format!("{byte} is no truth value, which is 0 or 1")),
    }
}

/// Metadata by key. Each returns [`Error::Format`] if the key is missing or its value of another type.
impl Gguf {
    /// Whether there is metadata of that key.
    pub fn has(&self, key: &str) -> bool {
        self.metadata.contains_key(key)
    }

    /// A non-negative integer.
    pub fn get_u64(&self, key: &str) -> Result<u64> {
        self.get(key, "a non-negative integer", |value| match value {
            Value::U64(x) => Some(*x),
            Value::I64(x) => u64::try_from(*x).ok(),
            _ => None,
        })
    }

    /// A non-negative integer as a size.
    pub fn get_usize(&self, key: &str) -> Result<usize> {
        self.get(key, "a size", |value| match value {
            Value::U64(x) => usize::try_from(*x).ok(),
            Value::I64(x) => usize::try_from(*x).ok(),
            _ => None,
        })
    }

    /// A float of 32 or 64 bits.
    pub fn get_f64(&self, key: &str) -> Result<f64> {
        self.get(key, "a float", |value| if let Value::F64(x) = value { Some(*x) } else { None })
    }

    /// A truth value.
    pub fn get_bool(&self, key: &str) -> Result<bool> {
        self.get(key, "a truth value", |value| if let Value::Bool(x) = value { Some(*x) } else { None })
    }

    /// A string.
    pub fn get_str(&self, key: &str) -> Result<&str> {
        self.get(key, "a string", |value| if let Value::String(x) = value { Some(x.as_str()) } else { None })
    }

    /// An array of strings.
    pub fn get_strings(&self, key: &str) -> Result<&[String]> {
        self.get(key, "an array of strings", |value| if let Value::Strings(x) = value { Some(x.as_slice()) } else { None })
    }

    /// An array of 32-bit floats.
    pub fn get_f32s(&self, key: &str) -> Result<&[f32]> {
        self.get(key, "an array of 32-bit floats", |value| if let Value::F32s(x) = value { Some(x.as_slice()) } else { None })
    }

    /// An array of integers of any kind.
    pub fn get_i64s(&self, key: &str) -> Result<&[i64]> {
        self.get(key, "an array of integers", |value| if let Value::I64s(x) = value { Some(x.as_slice()) } else { None })
    }

    fn get<'a, T>(&'a self, key: &str, expected: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<T> {
        let Some(value) = self.metadata.get(key) else {
            return Err(Error::format(self.path(), format!("there is no metadata `{key}`")));
        };
        let is = if matches!(value, Value::U64(_) | Value::I64(_)) { value.to_string() } else { value.kind().to_owned() };
        read(value).ok_or_else(|| Error::format(self.path(), format!("metadata `{key}` is {is}, not {expected}")))
    }
}
