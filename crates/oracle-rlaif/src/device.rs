//! The device that a run computes on.

use burn::tensor::Device;

/// Names that `--device` takes in this build.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let mut names = vec!["cpu"];
    if cfg!(feature = "cuda") {
        names.push("cuda");
    }
    if cfg!(feature = "vulkan") {
        names.push("vulkan");
    }
    if cfg!(feature = "metal") {
        names.push("metal");
    }
    if cfg!(feature = "wgpu") {
        names.push("wgpu");
    }
    names
}

/// The device of that name.
///
/// # Errors
///
/// Names the devices of this build, and the cargo feature that brings a known one.
pub fn open(name: &str) -> Result<Device, String> {
    match name {
        "cpu" => Ok(Device::flex()),
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(0)),
        #[cfg(feature = "vulkan")]
        "vulkan" => Ok(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "metal")]
        "metal" => Ok(Device::metal(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        // A guard, not a pattern: which of these are taken above depends on the build.
        other if ["cuda", "vulkan", "metal", "wgpu"].contains(&other) => Err(format!(
            "this build has no device `{name}`; build it with `cargo build --release --features \
             {name}`"
        )),
        other => Err(format!("unknown device `{other}`, expected one of {:?}", names())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_device_is_named_with_those_there_are() {
        assert!(open("cpu").is_ok());
        let error = open("tpu").unwrap_err();
        assert!(error.contains("tpu") && error.contains("cpu"), "{error}");
    }
}
