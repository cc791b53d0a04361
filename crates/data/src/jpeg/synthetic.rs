//! JPEG files of random coefficients, for the tests.

use crate::order::SampleRng;

/// What kind of file to write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Synthetic {
    pub(super) width: u16,
    pub(super) height: u16,
    /// Blocks in an MCU, across and down, of each component.
    pub(super) sampling: &'static [(u8, u8)],
    /// MCUs between restart markers.
    pub(super) restart: u16,
    pub(super) seed: u64,
}

pub(super) const GRAY: &[(u8, u8)] = &[(1, 1)];
/// 4:4:4, 4:2:2, 4:4:0 and 4:2:0.
pub(super) const SAMPLINGS: [&[(u8, u8)]; 4] = [
    &[(1, 1), (1, 1), (1, 1)],
    &[(2, 1), (1, 1), (1, 1)],
    &[(1, 2), (1, 1), (1, 1)],
    &[(2, 2), (1, 1), (1, 1)],
];

/// How many codes have each length, and their symbols. Some codes are longer than a look.
fn codes() -> [([u8; 16], Vec<u8>); 2] {
    let mut dc = [0; 16];
    (dc[1], dc[2], dc[11]) = (1, 3, 8);
    let mut ac = [0; 16];
    (ac[1], ac[2], ac[3], ac[6], ac[9], ac[11], ac[14]) = (1, 1, 2, 18, 40, 20, 80);
    let mut symbols = vec![0x00, 0x01, 0x11, 0x02];
    let values = (0..16u8).flat_map(|run| (1..=10).map(move |size| run << 4 | size));
    symbols.extend(values.filter(|symbol| ![0x01, 0x11, 0x02].contains(symbol)));
    symbols.push(0xF0);
    [(dc, (0..12).collect()), (ac, symbols)]
}

struct Writer {
    bytes: Vec<u8>,
    buffer: u64,
    count: u32,
}

impl Writer {
    fn put(&mut self, value: u32, count: u32) {
        self.buffer = self.buffer << count | u64::from(value);
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.buffer >> self.count) as u8;
            self.bytes.push(byte);
            if byte == 0xFF {
                self.bytes.push(0);
            }
        }
    }

    /// Ones up to the next byte.
    fn align(&mut self) {
        self.put(0x7F, 7);
        self.count = 0;
    }

    fn symbol(&mut self, (counts, symbols): &([u8; 16], Vec<u8>), symbol: u8) {
        let place = symbols.iter().position(|&s| s == symbol).unwrap() as u32;
        let (mut code, mut first) = (0, 0);
        for (length, &count) in (1..).zip(counts) {
            let count = u32::from(count);
            if place < first + count {
                return self.put(code + place - first, length);
            }
            (code, first) = ((code + count) << 1, first + count);
        }
        unreachable!("every symbol has a code");
    }

    fn value(&mut self, value: i32, size: u32) {
        let bits = if value < 0 { value - 1 } else { value } as u32;
        self.put(bits & ((1 << size) - 1), size);
    }

    fn segment(&mut self, marker: u8, data: &[u8]) {
        self.bytes.extend([0xFF, marker]);
        self.bytes.extend((data.len() as u16 + 2).to_be_bytes());
        self.bytes.extend(data);
    }
}

fn size_of(value: i32) -> u32 {
    i32::BITS - value.abs().leading_zeros()
}

impl Synthetic {
    /// The file.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut w = Writer { bytes: vec![0xFF, 0xD8], buffer: 0, count: 0 };
        for table in 0..2u8 {
            let steps = (0..64).map(|k| 3 + table * 2 + k / 8);
            w.segment(0xDB, &std::iter::once(table).chain(steps).collect::<Vec<u8>>());
        }
        let mut frame = vec![8];
        frame.extend(self.height.to_be_bytes());
        frame.extend(self.width.to_be_bytes());
        frame.push(self.sampling.len() as u8);
        for (id, &(across, down)) in (1..).zip(self.sampling) {
            frame.extend([id, across << 4 | down, u8::from(id > 1)]);
        }
        w.segment(0xC0, &frame);
        let codes = codes();
        for (class, (counts, symbols)) in codes.iter().enumerate() {
            w.segment(0xC4, &[&[(class as u8) << 4], &counts[..], symbols].concat());
        }
        if self.restart > 0 {
            w.segment(0xDD, &self.restart.to_be_bytes());
        }
        let mut scan = vec![self.sampling.len() as u8];
        for (id, _) in (1..).zip(self.sampling) {
            scan.extend([id, 0]);
        }
        scan.extend([0, 63, 0]);
        w.segment(0xDA, &scan);
        self.write_scan(&mut w, &codes);
        w.bytes.extend([0xFF, 0xD9]);
        w.bytes
    }

    fn write_scan(&self, w: &mut Writer, codes: &[([u8; 16], Vec<u8>); 2]) {
        let mcu = |size: u16, blocks: u8| u32::from(size).div_ceil(8 * u32::from(blocks));
        let (across, down) = self.sampling[0];
        let mcus = mcu(self.width, across) * mcu(self.height, down);
        let mut rng = SampleRng::new(self.seed, 0, 0, 0);
        let mut means = [0; 3];
        // What a decoder has to know of the block before.
        let mut told = [0; 3];
        for n in 0..mcus {
            if self.restart > 0 && n > 0 && n % u32::from(self.restart) == 0 {
                w.align();
                w.bytes.extend([0xFF, 0xD0 + (n / u32::from(self.restart) - 1) as u8 % 8]);
                told = [0; 3];
            }
            for (c, &(across, down)) in self.sampling.iter().enumerate() {
                for _ in 0..across * down {
                    means[c] = (means[c] + rng.below(121) as i32 - 60).clamp(-300, 300);
                    let difference = means[c] - told[c];
                    told[c] = means[c];
                    w.symbol(&codes[0], size_of(difference) as u8);
                    w.value(difference, size_of(difference));
                    write_coefficients(w, &codes[1], &mut rng);
                }
            }
        }
        w.align();
    }
}

fn write_coefficients(w: &mut Writer, code: &([u8; 16], Vec<u8>), rng: &mut SampleRng) {
    // No coefficient in some blocks, many in others.
    let density = [0, 0, 2, 6, 20, 60][rng.below(6) as usize];
    let mut run = 0;
    for k in 1..64u64 {
        let value = if rng.below(64) < density {
            rng.below(2 * (130 / k) + 3) as i32 - (130 / k) as i32 - 1
        } else {
            0
        };
        if value == 0 {
            run += 1;
            continue;
        }
        while run > 15 {
            w.symbol(code, 0xF0);
            run -= 16;
        }
        w.symbol(code, (run << 4) | size_of(value) as u8);
        w.value(value, size_of(value));
        run = 0;
    }
    if run > 0 {
        w.symbol(code, 0);
    }
}
