//! Thrift's compact protocol, as far as pages have to be told from each other and a footer has to be trusted.

/// Structures inside structures; a footer has about ten.
const MAX_DEPTH: usize = 32;
/// What one structure of a list becomes in memory, at most about.
const BYTES_OF_STRUCT: usize = 512;
/// Bytes of memory for each byte of a footer, and for any footer.
const GROWTH: usize = 64;
const ALWAYS: usize = 1 << 20;
/// Fields of the structures of a footer that are looked at.
const SCHEMA: i64 = 2;
const NUM_CHILDREN: usize = 5;

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

type Result<T> = std::result::Result<T, &'static str>;

const CUT: &str = "its description is cut short";
const WRONG: &str = "its description makes no sense";

/// Reads a description from its first byte on.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Structures seen in lists.
    listed: usize,
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, listed: 0 }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = *self.bytes.get(self.at).ok_or(CUT)?;
        self.at += 1;
        Ok(byte)
    }

    fn pass(&mut self, len: usize) -> Result<()> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        self.at = end.ok_or(CUT)?;
        Ok(())
    }

    fn unsigned(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WRONG)
    }

    fn signed(&mut self) -> Result<i64> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The number and kind of the next field of a structure; nothing at its end.
    pub(super) fn field(&mut self, last: &mut i64) -> Result<Option<(i64, u8)>> {
        let head = self.byte()?;
        if head & 0x0F == 0 {
            return Ok(None);
        }
        let number = match head >> 4 {
            0 => self.signed()?,
            step => last.saturating_add(step.into()),
        };
        *last = number;
        Ok(Some((number, head & 0x0F)))
    }

    /// The value of a field that is a whole number, or true or false.
    pub(super) fn int(&mut self, kind: u8) -> Result<i64> {
        match kind {
            TRUE => Ok(1),
            FALSE => Ok(0),
            I16..=I64 => self.signed(),
            _ => Err(WRONG),
        }
    }

    /// The whole numbers among the fields of a structure, by their numbers; what else there is is passed over.
    pub(super) fn ints<const N: usize>(&mut self, kind: u8) -> Result<[Option<i64>; N]> {
        if kind != STRUCT {
            return Err(WRONG);
        }
        let mut found = [None; N];
        let mut last = 0;
        while let Some((number, kind)) = self.field(&mut last)? {
            match usize::try_from(number).ok().and_then(|number| found.get_mut(number)) {
                Some(place) if matches!(kind, TRUE | FALSE | I16..=I64) => *place = Some(self.int(kind)?),
                _ => self.skip(kind, 1)?,
            }
        }
        Ok(found)
    }

    /// Passes over the value of a field.
    pub(super) fn skip(&mut self, kind: u8, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(WRONG);
        }
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.pass(1),
            I16..=I64 => self.signed().map(drop),
            DOUBLE => self.pass(8),
            BINARY => {
                let len = self.unsigned()?;
                self.pass(usize::try_from(len).map_err(|_| CUT)?)
            }
            LIST | SET => {
                let (len, kind) = self.list()?;
                for _ in 0..len {
                    self.element(kind, depth)?;
                }
                Ok(())
            }
            MAP => {
                let len = self.unsigned()?;
                let kinds = if len > 0 { self.byte()? } else { 0 };
                for _ in 0..len {
                    self.element(kinds >> 4, depth)?;
                    self.element(kinds & 0x0F, depth)?;
                }
                Ok(())
            }
            STRUCT => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth + 1)?;
                }
                Ok(())
            }
            UUID => self.pass(16),
            _ => Err(WRONG),
        }
    }

    /// The length of a list, of which each element takes a byte at least, and the kind of its elements.
    fn list(&mut self) -> Result<(usize, u8)> {
        let head = self.byte()?;
        let len = match head >> 4 {
            15 => self.unsigned()?,
            len => len.into(),
        };
        let len = usize::try_from(len).ok().filter(|len| *len <= self.bytes.len() - self.at).ok_or(CUT)?;
        if head & 0x0F == STRUCT {
            self.listed = self.listed.saturating_add(len);
        }
        Ok((len, head & 0x0F))
    }

    /// In lists, unlike in structures, true and false take a byte.
    fn element(&mut self, kind: u8, depth: usize) -> Result<()> {
        match kind {
            TRUE | FALSE => self.pass(1),
            _ => self.skip(kind, depth + 1),
        }
    }
}

/// Whether a description holds what it claims, so that whoever reads it takes no more memory than about 64 times its length, and a
/// bounded stack.
pub(super) fn check(bytes: &[u8]) -> Result<()> {
    let mut thrift = Thrift::new(bytes);
    let mut last = 0;
    while let Some((number, kind)) = thrift.field(&mut last)? {
        if number == SCHEMA && kind == LIST {
            check_schema(&mut thrift)?;
        } else {
            thrift.skip(kind, 1)?;
        }
    }
    if thrift.listed.saturating_mul(BYTES_OF_STRUCT) > bytes.len() * GROWTH + ALWAYS {
        return Err(WRONG);
    }
    Ok(())
}

/// The columns, as a tree written from the top down: it must not be deep.
fn check_schema(thrift: &mut Thrift<'_>) -> Result<()> {
    let (len, kind) = thrift.list()?;
    if kind != STRUCT {
        // The page index has numbers here.
        for _ in 0..len {
            thrift.element(kind, 1)?;
        }
        return Ok(());
    }
    // Of each column that is open, how many are still to come in it.
    let mut open: Vec<i64> = Vec::new();
    for _ in 0..len {
        let children = thrift.ints::<{ NUM_CHILDREN + 1 }>(STRUCT)?[NUM_CHILDREN].unwrap_or(0);
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if children < 0 || children as u64 > len as u64 {
            return Err(WRONG);
        }
        open.push(children);
        while open.last() == Some(&0) {
            open.pop();
        }
        if open.len() > MAX_DEPTH {
            return Err("its columns lie too deep in each other");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_others_passed_over() {
        // 1: i32 -3; 2: binary "ab"; 4: list of two structs; 5: true; stop.
        let bytes = [0x15, 5, 0x18, 2, b'a', b'b', 0x29, 0x2C, 0x15, 2, 0, 0, 0x11, 0, 99];
        let mut thrift = Thrift::new(&bytes);
        assert_eq!(thrift.ints::<6>(STRUCT).unwrap(), [None, Some(-3), None, None, None, Some(1)]);
        assert_eq!(thrift.position(), bytes.len() - 1);
        for end in 0..bytes.len() - 1 {
            assert!(Thrift::new(&bytes[..end]).ints::<6>(STRUCT).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn what_claims_too_much_is_refused() {
        // A list of two milliards of structures.
        assert!(check(&[0x49, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x07, 0]).is_err());
        // As many empty ones as there are bytes.
        let mut many = vec![0x49, 0xFC, 0x80, 0x80, 0x40];
        many.resize(5 + (1 << 20), 0);
        many.push(0);
        assert!(check(&many).is_err());
        // Structures in structures.
        assert!(check(&[0x1C; 100]).is_err());
        // A hundred columns, each in the last.
        let mut deep = vec![0x29, 0xFC, 100];
        (0..100).for_each(|_| deep.extend([0x55, 2, 0]));
        deep.push(0);
        assert_eq!(check(&deep).unwrap_err(), "its columns lie too deep in each other");
    }
}
