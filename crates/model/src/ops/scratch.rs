//! Buffers that a thread works with again and again.

/// The first `length` elements, whatever they hold.
pub(super) fn of_length(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}
