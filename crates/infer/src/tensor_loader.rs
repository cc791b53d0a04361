//! A loader's batches on a device.

use burn::tensor::Device;
use pyrograph_data::Loader;
use pyrograph_data::tensor::{NormalizeOn, TensorLoader};
use pyrograph_model::is_host;

/// The batches of `loader` on `device`. A GPU is sent bytes and normalizes them itself.
#[must_use]
pub fn tensor_loader(loader: Loader, device: Device) -> TensorLoader {
    let normalize_on = if is_host(&device) { NormalizeOn::Host } else { NormalizeOn::Device };
    TensorLoader::new(loader, device).with_normalize_on(normalize_on)
}
