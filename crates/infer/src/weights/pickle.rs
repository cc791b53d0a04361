//! What a pickle refers to, told without running it.
//!
//! A pickle is a row of opcodes for a stack machine. Three of them name something of Python's that others may call: `GLOBAL` and `INST`
//! spell it out, `STACK_GLOBAL` takes the two strings before it. Their forms are those of Python's `pickletools`.

use std::collections::HashMap;

/// The pickle that begins at `*at` in `bytes` refers to nothing but what rebuilds tensors and plain values. Moves `*at` behind it.
///
/// # Errors
///
/// The name of the first other thing it refers to, or where it is damaged.
pub(super) fn check(bytes: &[u8], at: &mut usize) -> Result<(), String> {
    let mut scan = Scan { bytes, at: *at, strings: Vec::new(), memo: HashMap::new() };
    while scan.step()? {}
    *at = scan.at;
    Ok(())
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The strings that were pushed since the last opcode that did anything else.
    strings: Vec<&'a str>,
    /// What was kept, by number: strings, and places of other things.
    memo: HashMap<u64, Option<&'a str>>,
}

impl<'a> Scan<'a> {
    /// One opcode; false at the end.
    fn step(&mut self) -> Result<bool, String> {
        let start = self.at;
        let code = self.take(1)?[0];
        match code {
            b'.' => return Ok(false),
            b'c' | b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                allow(module, name)?;
                self.strings.clear();
            }
            0x93 => {
                let [.., module, name] = self.strings[..] else {
                    return Err(format!("the name at byte {start} is not written out"));
                };
                allow(module, name)?;
                self.strings.clear();
            }
            0x82..=0x84 => return Err(format!("it refers to Python's extension registry at byte {start}")),
            0x97 | 0x98 => return Err(format!("it refers to buffers outside of the file at byte {start}")),
            // Strings.
            b'V' => {
                let text = self.line()?;
                self.strings.push(text);
            }
            b'S' => {
                let text = self.line()?;
                self.strings.push(text.trim_matches(['\'', '"']));
            }
            b'U' | 0x8c => self.string(1)?,
            b'T' | b'X' => self.string(4)?,
            0x8d => self.string(8)?,
            // Keeping and fetching.
            b'p' | b'q' | b'r' => {
                let number = self.number(code, [b'p', b'q', b'r'])?;
                self.memo.insert(number, self.strings.last().copied());
            }
            0x94 => {
                let number = self.memo.len() as u64;
                self.memo.insert(number, self.strings.last().copied());
            }
            b'g' | b'h' | b'j' => {
                let number = self.number(code, [b'g', b'h', b'j'])?;
                match self.memo.get(&number) {
                    Some(Some(text)) => self.strings.push(text),
                    _ => self.strings.clear(),
                }
            }
            // A frame is only a hint how much to read.
            0x95 => {
                self.take(8)?;
            }
            _ => {
                self.other(code, start)?;
                self.strings.clear();
            }
        }
        Ok(true)
    }

    /// Passes over what has nothing to do with names.
    fn other(&mut self, code: u8, start: usize) -> Result<(), String> {
        let length = match code {
            b'('
            | b'0'
            | b'1'
            | b'2'
            | b'N'
            | b'R'
            | b'b'
            | b'd'
            | b'l'
            | b't'
            | b's'
            | b'a'
            | b')'
            | b']'
            | b'}'
            | b'e'
            | b'u'
            | b'o'
            | b'Q'
            | 0x81
            | 0x85..=0x89
            | 0x8f..=0x92 => 0,
            b'I' | b'L' | b'F' | b'P' => {
                self.line()?;
                0
            }
            b'K' | 0x80 => 1,
            b'M' => 2,
            b'J' => 4,
            b'G' => 8,
            b'C' | 0x8a => self.length(1)?,
            b'B' | 0x8b => self.length(4)?,
            0x8e | 0x96 => self.length(8)?,
            _ => return Err(format!("byte {start} is no instruction of a pickle")),
        };
        self.take(length).map(|_| ())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("it ends within byte {}", self.at))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A number of `width` bytes.
    fn length(&mut self, width: usize) -> Result<usize, String> {
        let bytes = self.take(width)?;
        let value = bytes
            .iter()
            .rev()
            .try_fold(0usize, |value, byte| Some(value.checked_mul(256)? + usize::from(*byte)));
        value.ok_or_else(|| format!("the length before byte {} is too large", self.at))
    }

    fn string(&mut self, width: usize) -> Result<(), String> {
        let length = self.length(width)?;
        let bytes = self.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => self.strings.push(text),
            // A name in another encoding is none that is allowed.
            Err(_) => self.strings.clear(),
        }
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        let length = length.ok_or_else(|| format!("the line at byte {} does not end", self.at))?;
        let start = self.at;
        self.at += length + 1;
        std::str::from_utf8(&rest[..length]).map_err(|_| format!("the line at byte {start} is no text"))
    }

    /// The number of a place that is written as a line, as one byte or as four.
    fn number(&mut self, code: u8, [line, byte, _]: [u8; 3]) -> Result<u64, String> {
        if code == line {
            let at = self.at;
            return self.line()?.trim().parse().map_err(|_| format!("the line at byte {at} is no number"));
        }
        Ok(self.length(if code == byte { 1 } else { 4 })? as u64)
    }
}

/// Refuses what weights do not need.
fn allow(module: &str, name: &str) -> Result<(), String> {
    let known = match module {
        "collections" => matches!(name, "OrderedDict" | "defaultdict" | "Counter"),
        "builtins" | "__builtin__" => {
            matches!(
                name,
                "set" | "frozenset" | "dict" | "list" | "tuple" | "int" | "float" | "complex" | "bytearray"
            )
        }
        "_codecs" => name == "encode",
        "torch._utils" => matches!(
            name,
            "_rebuild_tensor"
                | "_rebuild_tensor_v2"
                | "_rebuild_tensor_v3"
                | "_rebuild_parameter"
                | "_rebuild_parameter_with_state"
        ),
        "torch._tensor" => name == "_rebuild_from_type_v2",
        "torch.nn.parameter" => name == "Parameter",
        "torch.serialization" => name == "_get_layout",
        "torch" | "torch.cuda" | "torch.storage" => {
            name.ends_with("Storage") || matches!(name, "Size" | "device" | "Tensor") || is_dtype(name)
        }
        "numpy" => name == "dtype" || is_dtype(name),
        "numpy.core.multiarray" | "numpy._core.multiarray" => matches!(name, "scalar" | "_reconstruct"),
        // Settings of the program that trained: names and values, nothing that acts.
        "argparse" => name == "Namespace",
        _ => false,
    };
    if known {
        return Ok(());
    }
    Err(format!("it refers to `{module}.{name}`, which no weights need"))
}

/// `float32`, `int64`, `bool`, …
fn is_dtype(name: &str) -> bool {
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
    matches!(
        kind,
        "float" | "bfloat" | "int" | "uint" | "complex" | "bool" | "bool_" | "half" | "double" | "long"
    )
}
