//! DeiT (Touvron et al. 2020, arXiv 2012.12877): ViT with a distillation token behind the class token.
//!
//! ```text
//! one head    C·LN(x₀)                          x₀: the row of the class token
//! two heads   ½·(C·LN(x₀) + D·LN(x₁))           x₁: the row of the distillation token
//! ```
//!
//! The two heads are read as one map of both rows side by side, `classifier` `[class, 2·d_model]`: see `names.rs`.

use pellucid_core::model::{Linear, Outputs, Pooling};

use super::{Entry, vit::base};

/// The table's row.
pub(super) const ENTRY: Entry = Entry {
    model_type: "deit",
    build: |config| {
        let mut model = base(config, "deit", &[("cls_token", 1), ("distillation_token", 1)])?;
        let d = model.description.d_model;
        if let (Outputs::Classes { pooling, names }, Some(true)) =
            (&mut model.description.outputs, config.shape("classifier.weight").map(|s| s == [s[0], 2 * d]))
        {
            *pooling = Pooling::FirstTwo;
            model.head.last = Some(Linear::new("classifier", 2 * d, names.len()).with_bias(true));
        }
        Ok(Box::new(model))
    },
    prefix: "deit.",
    unused: &["deit.embeddings.mask_token", "deit.pooler.", "decoder."],
    ..Entry::BARE
};
