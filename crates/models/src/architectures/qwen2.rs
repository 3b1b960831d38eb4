//! Qwen2 (arXiv 2407.10671): [`Llama`] with biases on queries, keys and values. Sliding windows, off in the published decoders, are refused.

use pellucid_core::Error;

use super::{
    Entry, GgufNames,
    llama::{self, Llama},
};

/// The table's row.
pub(super) const ENTRY: Entry = Entry {
    model_type: "qwen2",
    build: |config| {
        if config.flag_or("use_sliding_window", false)? {
            return Err(Error::Unsupported("this qwen2 model uses a sliding window (`use_sliding_window`), which is not supported".into()));
        }
        Ok(Box::new(Llama::new(config, true, false)?))
    },
    prefix: "model.",
    unused: &[],
    gguf: Some(GgufNames { architecture: "qwen2", pairs_side_by_side: &[], ..llama::GGUF }),
    ..Entry::BARE
};
