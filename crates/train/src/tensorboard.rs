//! Curves as TensorBoard's event files have them.
//!
//! A file is a row of records: the length of the data (8 bytes), a checksum of these, the data, a checksum of it, all little-endian. The data of
//! each is an `Event` of protocol buffers: `wall_time` = 1 (double), `step` = 2 (integer), `file_version` = 3 (text), `summary` = 5, in which
//! every `value` = 1 has a `tag` = 1 (text) and a `simple_value` = 2 (float).

use crate::EpochRow;

/// What begins every event file.
const VERSION: &str = "brain.Event:2";
/// What a checksum is turned by and added to, so that data which holds checksums has one of its own.
const MASK: u32 = 0xa282_ead8;

/// An event file of a run that began at `started`, in seconds since 1970: one event an epoch, whose step is the epoch. It takes place at the
/// beginning of the run and the seconds of training since. Values that are not finite are left out.
pub(crate) fn event_file(rows: &[EpochRow], started: f64) -> Vec<u8> {
    let mut file = record(&Message::default().double(1, started).bytes(3, VERSION.as_bytes()).0);
    let mut seconds = 0.0;
    for row in rows {
        if row.seconds.is_finite() {
            seconds += row.seconds;
        }
        let event = Message::default()
            .double(1, started + seconds)
            .integer(2, row.epoch as u64)
            .bytes(5, &summary(row));
        file.extend(record(&event.0));
    }
    file
}

fn summary(row: &EpochRow) -> Vec<u8> {
    let scalars = [
        ("loss/train", row.train_loss),
        ("loss/valid", row.valid_loss),
        ("accuracy/train", row.train_accuracy),
        ("accuracy/valid", row.valid_accuracy),
        ("top5/valid", row.valid_top5),
        ("learning_rate", row.learning_rate),
        ("images_per_second", row.images_per_second),
        ("waiting_share", row.waiting_share),
    ];
    let mut summary = Message::default();
    for (tag, value) in scalars {
        let value = value as f32;
        if value.is_finite() {
            let scalar = Message::default().bytes(1, tag.as_bytes()).float(2, value);
            summary = summary.bytes(1, &scalar.0);
        }
    }
    summary.0
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), data, &masked(data)].concat()
}

fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(MASK).to_le_bytes()
}

/// A message of protocol buffers, field after field.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// The number of a field, and how its value is written.
    fn key(mut self, field: u64, form: u64) -> Self {
        self.varint(field << 3 | form);
        self
    }

    fn integer(self, field: u64, value: u64) -> Self {
        let mut message = self.key(field, 0);
        message.varint(value);
        message
    }

    fn double(self, field: u64, value: f64) -> Self {
        let mut message = self.key(field, 1);
        message.0.extend(value.to_le_bytes());
        message
    }

    fn bytes(self, field: u64, value: &[u8]) -> Self {
        let mut message = self.key(field, 2);
        message.varint(value.len() as u64);
        message.0.extend(value);
        message
    }

    fn float(self, field: u64, value: f32) -> Self {
        let mut message = self.key(field, 5);
        message.0.extend(value.to_le_bytes());
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What TensorBoard's own protocol buffers make of the same numbers.
    const THEIRS: &str = "\
        1800000000000000a37f4b22090000000000408f401a0d627261696e2e4576656e743a3273ae6b56\
        a90000000000000034679813090000000000508f4010ac022a9a010a110a0a6c6f73732f747261696e150000c03f0a150a0e616363\
        75726163792f747261696e150000003f0a150a0e61636375726163792f76616c6964150000803e0a110a0a746f70352f76616c6964\
        150000803f0a140a0d6c6561726e696e675f7261746515cdcc4c3d0a180a11696d616765735f7065725f7365636f6e64150000c842\
        0a140a0d77616974696e675f7368617265150000003e417df1cc";

    #[test]
    fn bytes_are_those_of_tensorboards_own_writer() {
        let row = EpochRow {
            epoch: 300,
            learning_rate: 0.05,
            train_loss: 1.5,
            train_accuracy: 0.5,
            valid_loss: f64::INFINITY,
            valid_accuracy: 0.25,
            valid_top5: 1.0,
            seconds: 2.0,
            images_per_second: 100.0,
            waiting_share: 0.125,
            ..EpochRow::default()
        };
        let file = event_file(std::slice::from_ref(&row), 1000.0);
        let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, THEIRS);
        // More epochs are added at the end.
        let more = event_file(&[row.clone(), row], 1000.0);
        assert!(more.len() > file.len() && more.starts_with(&file));
    }
}
