//! Devices by name.

use burn::tensor::Device;
#[cfg(feature = "wgpu")]
use burn::tensor::DeviceKind;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
use burn::tensor::DeviceType;

/// Why a device name is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The backend is not in this build.
    #[error("this build has no `{name}` backend; rebuild with `--features {name}`")]
    NotBuilt {
        /// The backend, which is also the feature.
        name: &'static str,
    },
    /// No backend has this name.
    #[error("no device is called `{name}`; did you mean `{nearest}`?")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The nearest that exists.
        nearest: &'static str,
    },
    /// What follows the colon is no number.
    #[error("`{text}` is no device number; write for example `{backend}:0`")]
    Index {
        /// What was written.
        text: String,
        /// The backend.
        backend: &'static str,
    },
    /// The backend has only one device.
    #[error("`{backend}` has one device only; leave out `:{index}`")]
    Single {
        /// The backend.
        backend: &'static str,
        /// What was asked for.
        index: usize,
    },
    /// The machine has no device for the backend.
    #[error("no device for `{backend}` was found on this machine; check its driver, or use `flex`")]
    NotFound {
        /// The backend.
        backend: &'static str,
    },
    /// The machine has fewer devices.
    #[error("there is no `{backend}:{index}`; the last one found on this machine is `{backend}:{last}`")]
    NoSuchIndex {
        /// The backend.
        backend: &'static str,
        /// What was asked for.
        index: usize,
        /// The highest number that exists.
        last: usize,
    },
}

const BACKENDS: [&str; 8] = ["flex", "ndarray", "wgpu", "vulkan", "metal", "webgpu", "cuda", "rocm"];

/// The device called `text`: a backend's name, for GPUs with an optional number as in `cuda:0`. `cpu` is `flex`.
///
/// # Errors
///
/// When there is no such backend, or it is not in this build: the message names the feature to enable.
pub fn parse_device(text: &str) -> Result<Device, DeviceError> {
    let (name, index) = match text.split_once(':') {
        Some((name, index)) => (name, Some(index)),
        None => (text, None),
    };
    let name = if name == "cpu" { "flex" } else { name };
    let Some(backend) = BACKENDS.into_iter().find(|backend| *backend == name) else {
        let nearest = BACKENDS
            .into_iter()
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        return Err(DeviceError::Unknown { name: name.to_owned(), nearest: nearest.unwrap_or("flex") });
    };
    let index = match index {
        Some(text) => {
            Some(text.parse::<usize>().map_err(|_| DeviceError::Index { text: text.to_owned(), backend })?)
        }
        None => None,
    };
    open(backend, index)
}

fn open(backend: &'static str, index: Option<usize>) -> Result<Device, DeviceError> {
    let single = |device: Device| match index {
        Some(index) if index > 0 => Err(DeviceError::Single { backend, index }),
        _ => Ok(device),
    };
    match backend {
        #[cfg(feature = "flex")]
        "flex" => single(Device::flex()),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated)]
        "ndarray" => single(Device::ndarray()),
        #[cfg(feature = "wgpu")]
        "wgpu" => pick(backend, index, DeviceType::Wgpu, || Device::wgpu(DeviceKind::DefaultDevice)),
        #[cfg(feature = "vulkan")]
        "vulkan" => pick(backend, index, DeviceType::Vulkan, || Device::vulkan(DeviceKind::DefaultDevice)),
        #[cfg(feature = "metal")]
        "metal" => pick(backend, index, DeviceType::Metal, || Device::metal(DeviceKind::DefaultDevice)),
        #[cfg(feature = "webgpu")]
        "webgpu" => pick(backend, index, DeviceType::WebGpu, || Device::webgpu(DeviceKind::DefaultDevice)),
        #[cfg(feature = "cuda")]
        "cuda" => pick(backend, index, DeviceType::Cuda, || Device::cuda(0)),
        #[cfg(feature = "rocm")]
        "rocm" => pick(backend, index, DeviceType::Rocm, || Device::rocm(0)),
        name => {
            let _ = single;
            Err(DeviceError::NotBuilt { name })
        }
    }
}

/// Device `index` of those found, or the one that the driver prefers. Burn panics where a GPU that is not there is first
/// used, so what is there is asked beforehand.
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
fn pick(
    backend: &'static str,
    index: Option<usize>,
    kind: DeviceType,
    preferred: impl FnOnce() -> Device,
) -> Result<Device, DeviceError> {
    let mut found: Vec<Device> = Device::enumerate(kind).into_iter().collect();
    let Some(last) = found.len().checked_sub(1) else {
        return Err(DeviceError::NotFound { backend });
    };
    match index {
        None => Ok(preferred()),
        Some(index) if index > last => Err(DeviceError::NoSuchIndex { backend, index, last }),
        Some(index) => Ok(found.swap_remove(index)),
    }
}

/// The device that is used where none is named, and its name: the CPU where it is in the build, otherwise the
/// first backend that is.
///
/// # Errors
///
/// When no backend is in the build, or none of those that are finds its device.
pub fn default_device() -> Result<(Device, String), DeviceError> {
    let mut error = DeviceError::NotBuilt { name: "flex" };
    for name in BACKENDS {
        match open(name, None) {
            Ok(device) => return Ok((device, name.to_owned())),
            Err(DeviceError::NotBuilt { .. }) => {}
            Err(other) => error = other,
        }
    }
    Err(error)
}

/// Whether `device` is the host's own processor, to which nothing has to be sent.
#[must_use]
pub fn is_host(device: &Device) -> bool {
    let hosts: &[fn() -> Device] = &[
        #[cfg(feature = "flex")]
        Device::flex,
        #[cfg(feature = "ndarray")]
        #[allow(deprecated)]
        Device::ndarray,
    ];
    hosts.iter().any(|host| host() == *device)
}

/// Every backend by name, with whether it is in this build and what it is for. Opens no device.
#[must_use]
pub fn available_devices() -> Vec<(&'static str, String)> {
    let built = [
        cfg!(feature = "flex"),
        cfg!(feature = "ndarray"),
        cfg!(feature = "wgpu"),
        cfg!(feature = "vulkan"),
        cfg!(feature = "metal"),
        cfg!(feature = "webgpu"),
        cfg!(feature = "cuda"),
        cfg!(feature = "rocm"),
    ];
    let about = [
        "CPU, pure Rust; the default",
        "CPU, the older backend, much slower",
        "GPU through wgpu (Vulkan, Metal, DirectX or WebGPU)",
        "GPU through Vulkan",
        "GPU through Metal",
        "GPU through WebGPU",
        "NVIDIA GPU, as cuda:0",
        "AMD GPU, as rocm:0",
    ];
    BACKENDS
        .into_iter()
        .zip(built)
        .zip(about)
        .map(|((name, built), about)| match built {
            true => (name, about.to_owned()),
            false => (name, format!("{about} (not in this build: --features {name})")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_has_two_names() {
        assert_eq!(parse_device("cpu").unwrap(), parse_device("flex").unwrap());
        assert_eq!(parse_device("flex:0").unwrap(), parse_device("flex").unwrap());
    }

    #[test]
    fn the_cpu_is_the_host() {
        assert!(is_host(&parse_device("cpu").unwrap()));
        assert!(is_host(&parse_device("cpu").unwrap().autodiff()));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_backend_that_is_not_built_names_its_feature() {
        let error = parse_device("cuda:0").unwrap_err().to_string();
        assert!(error.contains("--features cuda"), "{error}");
    }

    #[test]
    fn wrong_names_and_numbers_are_refused() {
        assert!(parse_device("vulcan").unwrap_err().to_string().contains("did you mean `vulkan`"));
        assert!(matches!(parse_device("flex:1"), Err(DeviceError::Single { .. })));
        assert!(matches!(parse_device("cuda:x"), Err(DeviceError::Index { .. })));
    }
}
