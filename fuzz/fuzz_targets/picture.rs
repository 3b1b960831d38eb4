#![no_main]

use pellucid_models::image::{Picture, Preprocessing};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(picture) = Picture::decode(bytes, None) {
        let prepared = Preprocessing::clip(32).apply(&picture).expect("a picture that was decoded can be prepared");
        assert!(prepared.pixels.iter().all(|x| x.is_finite()));
    }
});
