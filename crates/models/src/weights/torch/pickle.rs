//! Reads a pickle and executes nothing: that of a torch checkpoint, or of a tokenizer that is published as one.
//!
//! A pickle is a program for a small stack machine. This one knows only the instructions that build plain values, and of the names that a
//! pickle may use only those on the list of whoever reads it ([`Names`]); it *records* what those would make. Any other instruction or name
//! is an error.
//! Instructions: <https://github.com/python/cpython/blob/main/Lib/pickletools.py>, protocols 2 to 5.
//!
//! Values are handles into a [`Heap`], so that neither deep nesting nor shared or circular values cost more than their own bytes.

use std::collections::HashMap;

use super::super::encoding::Encoding;
use super::super::table::MAX_AXES;

/// Largest pickle: about a hundred thousand tensors.
pub(super) const MAX_PICKLE: usize = 16 << 20;

/// Most values on the stack: many more than Python's pickler leaves there, which writes dictionaries in batches of a thousand.
const MAX_STACK: usize = 1 << 20;

/// What a pickle can hold here. Containers are handles into the [`Heap`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Bytes(&'a [u8]),
    /// Integers of more than 64 bits, which nothing needs.
    Other,
    Text(&'a str),
    Global(Global),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
    /// An object of a class that is only recorded; its state is in the [`Heap`].
    Object(usize),
}

impl Value<'_> {
    /// What it is, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a truth value",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Bytes(_) => "bytes",
            Value::Other => "a long integer",
            Value::Text(_) => "text",
            Value::Global(_) => "a class or function",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dictionary",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
            Value::Object(_) => "an object",
        }
    }
}

/// The names that a pickle may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    /// A class of storages of numbers of one kind.
    Storage(Encoding),
    /// tiktoken's tokenizer.
    Tokenizer,
}

/// Whose pickle it is: which names it may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Names {
    /// Those that describe tensors.
    Checkpoint,
    /// The class of tiktoken's tokenizers.
    Tokenizer,
}

/// Numbers in a file of the archive.
#[derive(Debug)]
pub(crate) struct Storage<'a> {
    pub(crate) encoding: Encoding,
    /// The file's name under `data/`.
    pub(crate) key: &'a str,
    pub(crate) numbers: usize,
}

/// A view of a storage, in numbers. `shape` and `strides` are of the same length.
#[derive(Debug)]
pub(crate) struct Tensor {
    pub(crate) storage: usize,
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

#[derive(Debug, Default)]
struct Dict<'a> {
    items: Vec<(Value<'a>, Value<'a>)>,
    holds_tensors: bool,
}

/// Everything that a pickle made.
#[derive(Debug, Default)]
pub(crate) struct Heap<'a> {
    tuples: Vec<Vec<Value<'a>>>,
    lists: Vec<Vec<Value<'a>>>,
    dicts: Vec<Dict<'a>>,
    storages: Vec<Storage<'a>>,
    tensors: Vec<Tensor>,
    /// Each object's state.
    objects: Vec<Value<'a>>,
}

impl<'a> Heap<'a> {
    pub(crate) fn dict(&self, handle: usize) -> &[(Value<'a>, Value<'a>)] {
        &self.dicts[handle].items
    }

    pub(crate) fn list(&self, handle: usize) -> &[Value<'a>] {
        &self.lists[handle]
    }

    pub(crate) fn storages(&self) -> &[Storage<'a>] {
        &self.storages
    }

    pub(crate) fn storage(&self, handle: usize) -> &Storage<'a> {
        &self.storages[handle]
    }

    pub(crate) fn tensor(&self, handle: usize) -> &Tensor {
        &self.tensors[handle]
    }

    /// Whether a dictionary holds tensors itself.
    pub(crate) fn holds_tensors(&self, handle: usize) -> bool {
        self.dicts[handle].holds_tensors
    }

    /// An object's state, `None` if it was given none.
    pub(crate) fn state(&self, handle: usize) -> Value<'a> {
        self.objects[handle]
    }

    fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        if let Value::Tuple(handle) = value { Some(&self.tuples[handle]) } else { None }
    }

    /// A tuple of sizes, of no more than [`MAX_AXES`]: a pickle can name the same long tuple again and again.
    fn sizes(&self, value: Value<'a>) -> Option<Vec<usize>> {
        self.tuple(value).filter(|tuple| tuple.len() <= MAX_AXES)?.iter().map(|value| size(*value)).collect()
    }
}

fn size(value: Value<'_>) -> Option<usize> {
    if let Value::Int(x) = value { usize::try_from(x).ok() } else { None }
}

fn push<T>(items: &mut Vec<T>, item: T) -> usize {
    items.push(item);
    items.len() - 1
}

/// Reads a pickle: all that it made, its one result, and how many bytes it took.
pub(crate) fn read(pickle: &[u8], names: Names) -> Result<(Heap<'_>, Value<'_>, usize), String> {
    if pickle.len() > MAX_PICKLE {
        return Err(format!("{} bytes are over the limit of {MAX_PICKLE}", pickle.len()));
    }
    let mut machine = Machine { names, rest: pickle, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), heap: Heap::default() };
    loop {
        let at = pickle.len() - machine.rest.len();
        if let Some(result) = machine.step().map_err(|problem| format!("at byte {at}: {problem}"))? {
            return Ok((machine.heap, result, pickle.len() - machine.rest.len()));
        }
    }
}

struct Machine<'a> {
    names: Names,
    rest: &'a [u8],
    stack: Vec<Value<'a>>,
    /// Lengths of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    heap: Heap<'a>,
}

impl<'a> Machine<'a> {
    /// Follows one instruction; gives the result at the last.
    fn step(&mut self) -> Result<Option<Value<'a>>, String> {
        let [instruction] = self.array()?;
        match instruction {
            0x80 => match self.array()? {
                [2..=5] => {}
                [protocol] => return Err(format!("pickle protocol {protocol}; 2 to 5 are read")),
            },
            0x95 => drop(self.array::<8>()?), // A frame's length: frames change nothing.
            b'.' => return self.pop().map(Some),

            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'K' => {
                let [x] = self.array()?;
                self.push(Value::Int(x.into()))?;
            }
            b'M' => {
                let x = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(x.into()))?;
            }
            b'J' => {
                let x = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(x.into()))?;
            }
            0x8a => {
                let [n] = self.array()?;
                let value = long(self.take(n.into())?);
                self.push(value)?;
            }
            b'G' => {
                let x = f64::from_be_bytes(self.array()?);
                self.push(Value::Float(x))?;
            }
            b'C' => {
                let [n] = self.array()?;
                let bytes = self.take(n.into())?;
                self.push(Value::Bytes(bytes))?;
            }
            b'B' => {
                let n = u32::from_le_bytes(self.array()?);
                let bytes = self.take(n.into())?;
                self.push(Value::Bytes(bytes))?;
            }
            0x8c => {
                let [n] = self.array()?;
                self.text(n.into())?;
            }
            b'X' => {
                let n = u32::from_le_bytes(self.array()?);
                self.text(n.into())?;
            }
            0x8d => {
                let n = u64::from_le_bytes(self.array()?);
                self.text(n)?;
            }

            b'(' => {
                if self.marks.len() >= MAX_STACK {
                    return Err(format!("more than {MAX_STACK} open marks"));
                }
                self.marks.push(self.stack.len());
            }
            b')' => self.tuple(0)?,
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let n = self.since_mark()?;
                self.tuple(n)?;
            }
            b']' | 0x8f => {
                let list = push(&mut self.heap.lists, Vec::new());
                self.push(Value::List(list))?;
            }
            b'a' => self.append(1)?,
            b'e' | 0x90 => {
                let n = self.since_mark()?;
                self.append(n)?;
            }
            b'}' => self.new_dict()?,
            b's' => self.set_items(2)?,
            b'u' => {
                let n = self.since_mark()?;
                self.set_items(n)?;
            }

            b'q' => {
                let [index] = self.array()?;
                self.memorise(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.memorise(index)?;
            }
            0x94 => self.memorise(self.memo.len() as u32)?,
            b'h' => {
                let [index] = self.array()?;
                self.recall(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index)?;
            }

            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(global(self.names, module, name)?))?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.push(Value::Global(global(self.names, module, name)?))?,
                _ => return Err("a global's name is not text".into()),
            },
            b'Q' => self.storage()?,
            b'R' => self.call()?,
            0x81 if self.names == Names::Tokenizer => match (self.pop()?, self.pop()?) {
                (arguments, Value::Global(Global::Tokenizer)) if self.heap.tuple(arguments).is_some_and(<[_]>::is_empty) => {
                    let object = push(&mut self.heap.objects, Value::None);
                    self.push(Value::Object(object))?;
                }
                (_, class) => return Err(format!("{} is made an object of, which only a tokenizer can be", class.kind())),
            },
            // Ordered dictionaries have a state, too; what torch notes there is no tensor.
            b'b' => match (self.pop()?, self.stack.last()) {
                (_, Some(Value::Dict(_))) => {}
                (state, Some(&Value::Object(object))) => self.heap.objects[object] = state,
                (_, Some(value)) => return Err(format!("{} is given a state, which only a dictionary can have", value.kind())),
                (_, None) => return Err("the stack is empty".into()),
            },
            _ => return Err(format!("instruction 0x{instruction:02x} has no place in a {}", self.names.of())),
        }
        Ok(None)
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8], String> {
        let taken = usize::try_from(n).ok().and_then(|n| self.rest.split_at_checked(n));
        let (taken, rest) = taken.ok_or_else(|| format!("{n} bytes should follow, but only {} do", self.rest.len()))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(*self.take(N as u64)?.as_array().expect("N bytes were taken"))
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').ok_or("a name without an end")?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        std::str::from_utf8(line).map_err(|e| format!("a name that is not UTF-8: {e}"))
    }

    fn text(&mut self, n: u64) -> Result<(), String> {
        let text = std::str::from_utf8(self.take(n)?).map_err(|e| format!("text that is not UTF-8: {e}"))?;
        self.push(Value::Text(text))
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        if self.stack.len() >= MAX_STACK {
            return Err(format!("more than {MAX_STACK} values on the stack"));
        }
        self.stack.push(value);
        Ok(())
    }

    /// How many of the last values may be taken: those since the last mark.
    fn available(&self) -> usize {
        self.stack.len() - self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value<'a>, String> {
        if self.available() == 0 {
            return Err("the stack is empty".into());
        }
        Ok(self.stack.pop().expect("it is not empty"))
    }

    /// The last `n` values, oldest first.
    fn pop_many(&mut self, n: usize) -> Result<Vec<Value<'a>>, String> {
        if self.available() < n {
            return Err("the stack is empty".into());
        }
        Ok(self.stack.split_off(self.stack.len() - n))
    }

    /// Closes the last mark and counts the values since.
    fn since_mark(&mut self) -> Result<usize, String> {
        let n = self.available();
        self.marks.pop().ok_or("there is no mark on the stack")?;
        Ok(n)
    }

    fn tuple(&mut self, n: usize) -> Result<(), String> {
        let items = self.pop_many(n)?;
        let tuple = push(&mut self.heap.tuples, items);
        self.push(Value::Tuple(tuple))
    }

    fn new_dict(&mut self) -> Result<(), String> {
        let dict = push(&mut self.heap.dicts, Dict::default());
        self.push(Value::Dict(dict))
    }

    fn append(&mut self, n: usize) -> Result<(), String> {
        let items = self.pop_many(n)?;
        match self.stack.last() {
            Some(&Value::List(list)) => self.heap.lists[list].extend(items),
            _ => return Err("there is no list to append to".into()),
        }
        Ok(())
    }

    fn set_items(&mut self, n: usize) -> Result<(), String> {
        let items = self.pop_many(n)?;
        let (pairs, []) = items.as_chunks() else {
            return Err("a key without a value".into());
        };
        match self.stack.last() {
            Some(&Value::Dict(dict)) => {
                let dict = &mut self.heap.dicts[dict];
                dict.items.extend(pairs.iter().map(|&[key, value]| (key, value)));
                dict.holds_tensors |= pairs.iter().any(|[_, value]| matches!(value, Value::Tensor(_)));
            }
            _ => return Err("there is no dictionary to put items into".into()),
        }
        Ok(())
    }

    fn memorise(&mut self, index: u32) -> Result<(), String> {
        let value = *self.stack.last().ok_or("the stack is empty")?;
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), String> {
        let value = *self.memo.get(&index).ok_or_else(|| format!("nothing was remembered as {index}"))?;
        self.push(value)
    }

    /// A persistent id: `("storage", class, file, device, numbers)`, and before torch 1.6 one more that must be `None`.
    fn storage(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let id = match self.heap.tuple(id) {
            Some([id @ .., Value::None]) if id.len() == 5 => id,
            Some(id) => id,
            None => &[],
        };
        let &[Value::Text("storage"), Value::Global(Global::Storage(encoding)), Value::Text(key), Value::Text(_), numbers] = id else {
            return Err("a persistent id that is not (\"storage\", class, file, device, size)".into());
        };
        let numbers = size(numbers).ok_or("a storage's size is not a non-negative integer")?;
        let storage = push(&mut self.heap.storages, Storage { encoding, key, numbers });
        self.push(Value::Storage(storage))
    }

    /// What a whitelisted function would make of its arguments.
    fn call(&mut self) -> Result<(), String> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let arguments = self.heap.tuple(arguments).ok_or("arguments that are not a tuple")?;
        match (function, arguments) {
            (Value::Global(Global::OrderedDict), []) => self.new_dict(),
            (
                Value::Global(Global::RebuildTensor),
                &[Value::Storage(storage), offset, shape, strides, _, _] | &[Value::Storage(storage), offset, shape, strides, _, _, _],
            ) => {
                let (Some(offset), Some(shape), Some(strides)) = (size(offset), self.heap.sizes(shape), self.heap.sizes(strides)) else {
                    return Err("a tensor's offset, shape or strides are not (a few) non-negative integers".into());
                };
                if shape.len() != strides.len() {
                    return Err(format!("a tensor of {} axes with {} strides", shape.len(), strides.len()));
                }
                let tensor = push(&mut self.heap.tensors, Tensor { storage, offset, shape, strides });
                self.push(Value::Tensor(tensor))
            }
            (Value::Global(Global::RebuildParameter), &[Value::Tensor(tensor), _, _]) => self.push(Value::Tensor(tensor)),
            (Value::Global(global), arguments) => {
                let kinds: Vec<_> = arguments.iter().take(8).map(Value::kind).collect();
                Err(format!("{global:?} is called with ({})", kinds.join(", ")))
            }
            (other, _) => Err(format!("{} is called as a function", other.kind())),
        }
    }
}

/// A little-endian two's complement integer of any length.
fn long(bytes: &[u8]) -> Value<'static> {
    let negative = bytes.last().is_some_and(|byte| byte >> 7 == 1);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    match wide.get_mut(..bytes.len()) {
        Some(low) => low.copy_from_slice(bytes),
        None => return Value::Other,
    }
    Value::Int(i64::from_le_bytes(wide))
}

impl Names {
    fn of(self) -> &'static str {
        match self {
            Names::Checkpoint => "checkpoint",
            Names::Tokenizer => "tokenizer",
        }
    }
}

fn global(names: Names, module: &str, name: &str) -> Result<Global, String> {
    let other = |name, bytes| Ok(Global::Storage(Encoding::Other { name, numbers: 1, bytes }));
    match (module, name) {
        ("tiktoken.core", "Encoding") if names == Names::Tokenizer => Ok(Global::Tokenizer),
        _ if names == Names::Tokenizer => {
            Err(format!("wants `{}.{}`; a tokenizer may name `tiktoken.core.Encoding` only", module.escape_debug(), name.escape_debug()))
        }
        ("collections", "OrderedDict") => Ok(Global::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2") => Ok(Global::RebuildTensor),
        ("torch._utils", "_rebuild_parameter") => Ok(Global::RebuildParameter),
        ("torch", "FloatStorage") => Ok(Global::Storage(Encoding::F32)),
        ("torch", "HalfStorage") => Ok(Global::Storage(Encoding::F16)),
        ("torch", "BFloat16Storage") => Ok(Global::Storage(Encoding::Bf16)),
        ("torch", "DoubleStorage") => other("f64", 8),
        ("torch", "LongStorage") => other("i64", 8),
        ("torch", "IntStorage") => other("i32", 4),
        ("torch", "ShortStorage") => other("i16", 2),
        ("torch", "CharStorage") => other("i8", 1),
        ("torch", "ByteStorage") => other("u8", 1),
        ("torch", "BoolStorage") => other("bool", 1),
        _ => Err(format!(
            "wants `{}.{}`, which is not on the list of what a checkpoint may name; save it again as tensors only, or as safetensors",
            module.escape_debug(),
            name.escape_debug()
        )),
    }
}
