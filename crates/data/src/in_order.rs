//! Work on many samples at once whose results come in order.

use rayon::prelude::*;

use crate::Result;

/// Samples a thread has before the results are handed over: enough that waiting for the slowest costs little.
const SAMPLES_A_THREAD: usize = 32;

/// Does `work` for 0 to `count`, on all of rayon's threads, and hands each result to `take`, in order and on the
/// calling thread. What `take` sees depends on nothing but `work`; as many results wait as a few samples a thread.
///
/// `work` gets room for the bytes of a picture, which it may use as it likes.
///
/// # Errors
///
/// The first error of `take` ends the work.
pub(crate) fn in_order<T: Send>(
    count: usize,
    work: impl Fn(&mut Vec<u8>, usize) -> T + Sync,
    mut take: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    let step = SAMPLES_A_THREAD * rayon::current_num_threads().max(1);
    for start in (0..count).step_by(step) {
        let end = (start + step).min(count);
        let results: Vec<T> = (start..end).into_par_iter().map_init(Vec::new, &work).collect();
        for (index, result) in (start..end).zip(results) {
            take(index, result)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, ErrorKind};

    #[test]
    fn results_come_in_order_and_the_first_error_ends_the_work() {
        let mut seen = Vec::new();
        in_order(
            1000,
            |_, index| index * 2,
            |index, result| {
                seen.push((index, result));
                Ok(())
            },
        )
        .unwrap();
        assert!(seen.iter().enumerate().all(|(at, pair)| *pair == (at, 2 * at)) && seen.len() == 1000);

        let failed = in_order(
            1_000_000,
            |_, index| index,
            |_, index| if index == 5 { Err(Error::new(ErrorKind::Setting("five".into()))) } else { Ok(()) },
        );
        assert_eq!(failed.unwrap_err().to_string(), "five");
    }
}
