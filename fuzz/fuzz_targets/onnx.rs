#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = pellucid_models::weights::Onnx::from_bytes(bytes.to_vec()) {
        pellucid_fuzz::read_everything(&file);
    }
});
