//! Work on one of the threads that compute.

use burn::tensor::Device;

use crate::is_host;
#[cfg(feature = "flex")]
use crate::{noise, precision, prepared};

/// Runs `work` on one of the threads that compute for `device`, if those are the processor's: its many short operations then need not wake a thread
/// each, which takes as long as the operations themselves where images are few. On other devices it runs where it is.
///
/// What [`noise::of_step`], [`with_products_in`](crate::with_products_in) and a [`Prepared`](crate::Prepared) network have set for this thread
/// goes along; other thread-locals do not.
pub fn on_compute_thread<R: Send>(device: &Device, work: impl FnOnce() -> R + Send) -> R {
    if cfg!(feature = "flex") && is_host(&device.clone().inner()) { on_pool(work) } else { work() }
}

#[cfg(not(feature = "flex"))]
fn on_pool<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(feature = "flex")]
fn on_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let (noise, products, folded) = (noise::state(), precision::products(), prepared::kept());
    let (result, noise) = rayon::scope(|_| {
        // The thread may be waiting for operations of other such work, which goes on with what it has set.
        let _before = Restore(noise::state(), precision::products());
        let _folded_before = prepared::Restore(prepared::set(folded));
        noise::set_state(noise);
        precision::set_products(products);
        (work(), noise::state())
    });
    noise::set_state(noise);
    result
}

/// What a thread had set before, for when this is dropped.
#[cfg(feature = "flex")]
struct Restore(noise::State, precision::Products);

#[cfg(feature = "flex")]
impl Drop for Restore {
    fn drop(&mut self) {
        noise::set_state(self.0);
        precision::set_products(self.1);
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::FloatDType;

    use super::*;
    use crate::with_products_in;

    #[test]
    fn random_draws_and_precision_go_along_and_come_back() {
        let device = Device::flex().autodiff();
        noise::of_step(7, 1);
        let here = [noise::draws(3), noise::draws(3), noise::draws(3)];
        noise::of_step(7, 1);
        let first = noise::draws(3);
        let second = with_products_in(Some(FloatDType::BF16), || {
            on_compute_thread(&device, || {
                assert!(precision::rounds());
                noise::draws(3)
            })
        });
        assert_eq!([first, second, noise::draws(3)], here);
        on_compute_thread(&device, || assert!(!precision::rounds()));
    }

    #[test]
    fn work_within_work_leaves_the_outer_as_it_was() {
        let device = Device::flex();
        noise::of_step(7, 1);
        let here = [noise::draws(2), noise::draws(2)];
        noise::of_step(7, 1);
        let there = on_compute_thread(&device, || {
            let first = noise::draws(2);
            let panics = std::panic::catch_unwind(|| {
                on_pool(|| {
                    noise::of_step(8, 1);
                    panic!("of the work");
                })
            });
            assert!(panics.is_err());
            [first, noise::draws(2)]
        });
        assert_eq!(there, here);
    }
}
