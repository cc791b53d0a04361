//! Huffman codes as tables: one look gives a symbol and how many bits it takes, or several to be passed over.

use super::Damage;
use super::bits::{Bits, Place, Supply};
use super::header::ZIGZAG;

/// Bits that are looked up at once. Codes that are longer (there are few) are searched.
const LOOK: u32 = 10;

/// Bits that are looked up at once where symbols are passed over.
const SKIP: u32 = 11;

/// What an entry of a table says, from the lowest bit: 6 bits: how many bits to take. From bit 8: how far the place in the
/// block moves. From bit 16, 6 bits: 64 less the size of the value (modulo 64). From bit 24, 5 bits: length of the code. Then
/// the flags. The processor takes shifts modulo 64, so that most fields need no mask.
type Entry = u32;

/// The block is over.
const END: Entry = 1 << 31;
/// Sixteen zeros.
const ZEROS: Entry = 1 << 30;
/// No code that is short enough begins like this.
const LONG: Entry = 1 << 29;
/// Any of these.
const SPECIAL: Entry = END | ZEROS | LONG;

fn entry(length: u32, size: u32, advance: u32) -> Entry {
    (length + size) | advance << 8 | ((64 - size) & 63) << 16 | length << 24
}

#[inline(always)]
fn taken(entry: Entry) -> u32 {
    entry & 63
}

#[inline(always)]
fn advance(entry: Entry) -> usize {
    (entry >> 8 & 0xFF) as usize
}

#[inline(always)]
fn size(entry: Entry) -> u32 {
    (64 - (entry >> 16 & 63)) & 63
}

/// A Huffman code, for means (DC) or for the other coefficients (AC).
#[derive(Debug, Clone)]
pub(super) struct Code {
    /// The 16 counts and the symbols that this was made from.
    description: Vec<u8>,
    /// What the next [`LOOK`] bits begin with.
    one: Box<[Entry; 1 << LOOK]>,
    /// As many symbols as the next bits hold whole, to be passed over.
    many: Box<[Entry; 1 << SKIP]>,
    has_many: bool,
    /// For each length, the first 16 bits that belong to no code of this length or shorter.
    limit: [u32; 17],
    /// For each length, what to add to a code of this length to get the place of its entry.
    offset: [i32; 17],
    entries: Vec<Entry>,
}

impl Default for Code {
    fn default() -> Self {
        Self {
            description: Vec::new(),
            one: Box::new([LONG; _]),
            many: Box::new([LONG; _]),
            has_many: false,
            limit: [0; 17],
            offset: [0; 17],
            entries: Vec::new(),
        }
    }
}

impl Code {
    /// Makes the tables of the code that `description` describes, unless it has them.
    pub(super) fn prepare(&mut self, description: &[u8], is_dc: bool, skips: bool) -> Result<(), Damage> {
        if self.description != description || description.is_empty() {
            self.description.clear();
            self.build(description, is_dc)?;
            self.description.extend(description);
            self.has_many = false;
        }
        if skips && !self.has_many {
            self.join();
            self.has_many = true;
        }
        Ok(())
    }

    /// The codes of a length follow one another, and those of the next length follow them (T.81, annex C).
    fn build(&mut self, description: &[u8], is_dc: bool) -> Result<(), Damage> {
        let (counts, symbols) = description.split_at_checked(16).ok_or(Damage::Code)?;
        self.one.fill(LONG);
        self.entries.clear();
        let mut code = 0u32;
        let mut symbols = symbols.iter();
        for (length, &count) in (1..).zip(counts) {
            self.offset[length as usize] = self.entries.len() as i32 - code as i32;
            for &symbol in symbols.by_ref().take(count.into()) {
                let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
                let entry = match (run, size) {
                    _ if is_dc && run > 0 => return Err(Damage::Code),
                    _ if is_dc => entry(length, size, 1),
                    (15, 0) => entry(length, 0, 16) | ZEROS,
                    // Only progressive pictures end more than one block at once: as every viewer, take it for one.
                    (_, 0) => entry(length, 0, 0) | END,
                    _ => entry(length, size, run + 1),
                };
                if code >> length != 0 {
                    return Err(Damage::Code);
                }
                if length <= LOOK {
                    let first = (code << (LOOK - length)) as usize;
                    let last = first + (1 << (LOOK - length));
                    self.one.get_mut(first..last).ok_or(Damage::Code)?.fill(entry);
                }
                self.entries.push(entry);
                code += 1;
            }
            self.limit[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(())
    }

    /// Joins symbols that fit into one look.
    fn join(&mut self) {
        for (bits, entry) in self.many.iter_mut().enumerate() {
            *entry = self.one[bits >> (SKIP - LOOK)];
        }
        // Each round at most doubles how many symbols an entry stands for.
        for _ in 0..2 {
            let before = self.many.clone();
            for (bits, joined) in self.many.iter_mut().enumerate() {
                let first = taken(*joined);
                if *joined & (END | LONG) != 0 || first >= SKIP {
                    continue;
                }
                let rest = (bits << first) & ((1 << SKIP) - 1);
                for next in [before[rest], self.one[rest >> (SKIP - LOOK)]] {
                    // All but the value of the last symbol has to lie within the look.
                    let length = first + taken(next) - size(next);
                    let moved = advance(*joined) + advance(next);
                    if next & LONG == 0 && length <= SKIP && moved < 64 {
                        *joined = entry(length, size(next), moved as u32) | (next & END);
                        break;
                    }
                }
            }
        }
    }

    /// The entry of a code that is longer than a look.
    #[cold]
    #[inline(never)]
    fn search(&self, bits: u64) -> Result<Entry, Damage> {
        let code = (bits >> 48) as u32;
        for length in LOOK as usize + 1..=16 {
            if code < self.limit[length] {
                let place = (code >> (16 - length)) as i32 + self.offset[length];
                let entry = usize::try_from(place).ok().and_then(|place| self.entries.get(place));
                return entry.copied().ok_or(Damage::Symbol);
            }
        }
        Err(Damage::Symbol)
    }

    /// The entry that `bits` begin with.
    #[inline(always)]
    fn look(&self, bits: u64) -> Result<Entry, Damage> {
        let entry = self.one[(bits >> (64 - LOOK)) as usize];
        if entry & LONG == 0 { Ok(entry) } else { self.search(bits) }
    }
}

/// The value that comes behind the code of `entry` and has at least one bit (T.81, figure F.12): `bits` begin with the code.
#[inline(always)]
fn value(bits: u64, entry: Entry) -> i32 {
    let behind = bits.wrapping_shl(entry >> 24);
    // Values that begin with a zero are negative: the largest number of this size is taken off.
    let negative = !(behind as i64 >> 63) as u64;
    (behind.wrapping_shr(entry >> 16) as i32).wrapping_sub(negative.wrapping_shr(entry >> 16) as i32)
}

impl Bits<'_> {
    /// Takes a block into `block`, which is all 0, in natural order; `mean` is that of the block before and becomes that of this
    /// one. Coefficients behind `last` in zigzag order are passed over.
    ///
    /// Gives the positions of those behind the mean that are not 0, or-ed together.
    #[inline(always)]
    pub(super) fn block(
        &mut self,
        [dc, ac]: &[Code; 2],
        mean: &mut i32,
        last: usize,
        block: &mut [i16; 64],
    ) -> Result<u8, Damage> {
        let mut place = self.place;
        *mean = mean.wrapping_add(difference(&mut self.supply, &mut place, dc)?);
        block[0] = *mean as i16;
        let seen = coefficients(&mut self.supply, &mut place, ac, last, block);
        self.place = place;
        seen
    }

    /// Passes over a block but for its mean.
    #[inline(always)]
    pub(super) fn skip_block(&mut self, [dc, ac]: &[Code; 2], mean: &mut i32) -> Result<(), Damage> {
        let mut place = self.place;
        *mean = mean.wrapping_add(difference(&mut self.supply, &mut place, dc)?);
        let skipped = skip(&mut self.supply, &mut place, ac, 0);
        self.place = place;
        skipped
    }
}

/// Takes the difference of a block's mean to that of the one before.
#[inline(always)]
fn difference(supply: &mut Supply<'_>, bits: &mut Place, code: &Code) -> Result<i32, Damage> {
    bits.refill(supply);
    let entry = code.look(bits.peek())?;
    let difference = if size(entry) == 0 { 0 } else { value(bits.peek(), entry) };
    bits.take(entry);
    Ok(difference)
}

/// Takes the coefficients behind the mean.
#[inline(always)]
fn coefficients(
    supply: &mut Supply<'_>,
    bits: &mut Place,
    code: &Code,
    last: usize,
    block: &mut [i16; 64],
) -> Result<u8, Damage> {
    let (mut k, mut seen) = (0, 0);
    while k < last {
        bits.refill(supply);
        // What is ready suffices for one symbol and mostly for two.
        for _ in 0..2 {
            let mut entry = code.one[(bits.peek() >> (64 - LOOK)) as usize];
            if entry & SPECIAL != 0 {
                if entry & LONG != 0 {
                    entry = code.search(bits.peek())?;
                }
                if entry & END != 0 {
                    bits.take(entry);
                    return Ok(seen);
                }
            }
            k += advance(entry);
            if entry & ZEROS == 0 {
                let position = ZIGZAG[k & 127];
                block[usize::from(position & 63)] = value(bits.peek(), entry) as i16;
                seen |= position;
            }
            bits.take(entry);
            if k >= last || !bits.has_symbol() {
                break;
            }
        }
    }
    skip(supply, bits, code, k)?;
    Ok(seen)
}

/// Passes over the coefficients behind place `k` of a block, in zigzag order.
#[inline(always)]
fn skip(supply: &mut Supply<'_>, bits: &mut Place, code: &Code, mut k: usize) -> Result<(), Damage> {
    while k < 63 {
        bits.top_up(supply);
        let mut entry = code.many[(bits.peek() >> (64 - SKIP)) as usize];
        // Near the end of the block, what is joined may belong to the next one.
        if entry & LONG != 0 || k + advance(entry) >= 63 {
            entry = code.look(bits.peek())?;
        }
        bits.take(entry);
        k += advance(entry);
        if entry & END != 0 {
            return Ok(());
        }
    }
    // A run reaches past the end.
    if k > 63 { Err(Damage::Run) } else { Ok(()) }
}
