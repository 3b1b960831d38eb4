//! The stack that image transformers and CLIP's text tower share; they differ in the names of their tensors, which each tells in a file of its own.
//!
//! ```text
//! x₀ = [learned rows; P·patch + b] + position, or token + position           (CLIP's image tower normalises it once more)
//! x ← x + λ₁ ⊙ O·attention(Q·h, K·h, V·h),  h = LN(x)        x ← x + λ₂ ⊙ W₂·act(W₁·LN(x))        λ: only where there are layer scales
//! ```
//!
//! A norm comes before each sublayer (Dosovitskiy et al. 2020, arXiv 2010.11929). The stream is normalised once more after the last block.

use pellucid_core::{
    Activation, Error, Patches, Result,
    model::{Architecture, Description, Factor, Linear, Norm, Parameter, Pooling, Table},
    pass::{Pass, Value},
};

use super::{Config, attention::SelfAttention};

/// What the first block takes.
pub(super) struct Embeddings {
    pub(super) from: From,
    pub(super) positions: Table,
    pub(super) norm: Option<Norm>,
}

/// What symbols become.
pub(super) enum From {
    /// Pixels of a patch through the convolution's weight, as a matrix; learned rows before them, in order.
    Pixels { projection: Linear, learned: Vec<Table> },
    /// Rows of a table.
    Tokens(Table),
}

impl Embeddings {
    /// Patches behind learned rows (their names and numbers, in order), as ViT and its relatives name them: tensors begin with `{prefix}.embeddings.`.
    pub(super) fn of_patches(prefix: &str, description: &Description, learned: &[(&str, usize)]) -> Self {
        let (d, patches) = (description.d_model, description.patches.as_ref().expect("described as a model of pictures"));
        let table = |name: &str, rows| Table { name: format!("{prefix}.embeddings.{name}"), rows, width: d };
        let projection = Linear::new(&format!("{prefix}.embeddings.patch_embeddings.projection"), patches.width(), d).with_bias(true);
        let learned = learned.iter().filter(|l| l.1 > 0).map(|(name, rows)| table(name, *rows)).collect();
        let positions = table("position_embeddings", description.context);
        Self { from: From::Pixels { projection, learned }, positions, norm: None }
    }
}

/// One block.
pub(super) struct Block {
    pub(super) attention_norm: Norm,
    pub(super) attention: SelfAttention,
    pub(super) attention_scale: Option<Factor>,
    pub(super) norm: Norm,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) scale: Option<Factor>,
}

/// What comes after the last block: `last·norm(pooled)` (or `last·pool(norm(x))`, which is not the same for a mean).
#[derive(Default)]
pub(super) struct Head {
    /// Applied to rows before they become one.
    pub(super) norm: Option<Norm>,
    /// Applied to the one row.
    pub(super) pooled_norm: Option<Norm>,
    /// A map of the one row, and the function after it.
    pub(super) dense: Option<(Linear, Option<Activation>)>,
    /// Applied to what comes of it.
    pub(super) dense_norm: Option<Norm>,
    /// To classes.
    pub(super) last: Option<Linear>,
}

/// A stack with its head.
pub(super) struct PreNorm {
    pub(super) description: Description,
    pub(super) embeddings: Embeddings,
    pub(super) blocks: Vec<Block>,
    pub(super) act: Activation,
    pub(super) head: Head,
}

/// Sizes that every config of an image encoder tells, under the same keys.
pub(super) struct Sizes {
    pub(super) d: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) d_head: usize,
    pub(super) d_ff: usize,
    /// Without the learned rows.
    pub(super) patches: Patches,
}

impl Sizes {
    /// From a config; `d_ff` is `mlp_ratio` times the width where it is not given.
    ///
    /// # Errors
    /// A size that is missing, makes no sense or does not divide.
    pub(super) fn read(config: &Config) -> Result<Self> {
        let (d, layers, heads) =
            (config.size("hidden_size")?, config.layers("num_hidden_layers")?, config.heads_or("num_attention_heads", None)?);
        let d_head = config.divide(("hidden_size", d), ("num_attention_heads", heads))?;
        let (size, channels) = (config.size("patch_size")?, config.size_or("num_channels", 3)?);
        let image = config.size("image_size")?;
        let side = config.divide(("image_size", image), ("patch_size", size))?;
        if side > MOST_PATCHES || channels * size * size > MOST_NUMBERS {
            return Err(Error::Weights(format!(
                "the config's `image_size` {image}, `patch_size` {size} and `num_channels` {channels} are beyond any image transformer: at most \
                 {MOST_PATCHES} patches a side, of at most {MOST_NUMBERS} numbers each"
            )));
        }
        let d_ff = match config.get("intermediate_size") {
            Some(_) => config.size("intermediate_size")?,
            None => d * config.size_or("mlp_ratio", 4)?,
        };
        Ok(Self { d, layers, heads, d_head, d_ff, patches: Patches { channels, size, grid: [side, side], leading: 0 } })
    }

    /// The description of an encoder with so many learned rows.
    pub(super) fn description(&self, architecture: &str, leading: usize) -> Description {
        let patches = Patches { leading, ..self.patches.clone() };
        Description {
            architecture: architecture.into(),
            layers: self.layers,
            d_model: self.d,
            heads: self.heads,
            kv_heads: self.heads,
            d_head: self.d_head,
            d_ff: self.d_ff,
            vocabulary: leading,
            context: leading + patches.count(),
            patches: Some(patches),
            ..Description::default()
        }
    }
}

/// Real ones have at most some hundred patches a side.
const MOST_PATCHES: usize = 1 << 10;

/// Numbers of a patch: a patch of 256 × 256 pixels in three colours is far more than any.
const MOST_NUMBERS: usize = 1 << 18;

impl Architecture for PreNorm {
    fn description(&self) -> &Description {
        &self.description
    }

    fn parameters(&self) -> Vec<Parameter> {
        let (e, head) = (&self.embeddings, &self.head);
        let (projection, tables) = match &e.from {
            From::Pixels { projection, learned } => (Some(projection), &learned[..]),
            From::Tokens(table) => (None, std::slice::from_ref(table)),
        };
        let tables = tables.iter().chain([&e.positions]).map(Parameter::from);
        let norms = e.norm.iter().chain(&head.norm).chain(&head.pooled_norm).chain(&head.dense_norm).map(Parameter::from);
        let linears = projection.into_iter().chain(head.dense.iter().map(|d| &d.0)).chain(&head.last).map(Parameter::from);
        tables.chain(norms).chain(linears).collect()
    }

    fn block_parameters(&self, layer: usize) -> Vec<Parameter> {
        let b = &self.blocks[layer];
        let norms = [&b.attention_norm, &b.norm].map(Parameter::from);
        let scales = b.attention_scale.iter().chain(&b.scale).map(Parameter::from);
        b.attention.parameters().chain([&b.up, &b.down].map(Parameter::from)).chain(norms).chain(scales).collect()
    }

    fn token_table(&self) -> Option<&Table> {
        if let From::Tokens(table) = &self.embeddings.from { Some(table) } else { None }
    }

    fn embed(&self, pass: &mut dyn Pass) -> Result<Value> {
        let e = &self.embeddings;
        let x = match &e.from {
            From::Pixels { projection, learned } => {
                let pixels = pass.pixels(self.description.patches.as_ref().expect("what looks at pixels has patches"))?;
                let x = pass.linear(&pixels, projection)?;
                pass.learned(x, learned)?
            }
            From::Tokens(table) => pass.tokens(table)?,
        };
        let positions = pass.positions(&e.positions, 0)?;
        let x = pass.add(x, positions)?;
        match &e.norm {
            Some(norm) => pass.norm(&x, norm),
            None => Ok(x),
        }
    }

    fn block(&self, layer: usize, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        let b = &self.blocks[layer];
        let h = pass.norm(&x, &b.attention_norm)?;
        let memory = b.attention.keys_values(&h, pass)?;
        let (x, h) = (pass.asked(x)?, pass.asked(h)?);
        let mut out = b.attention.attend(&h, memory, &self.description, layer, pass)?;
        if let Some(scale) = &b.attention_scale {
            out = pass.scale(out, scale)?;
        }
        let x = pass.add(x, out)?;

        let h = pass.norm(&x, &b.norm)?;
        let middle = pass.linear(&h, &b.up)?;
        let middle = pass.activation(middle, self.act)?;
        let mut out = pass.linear(&middle, &b.down)?;
        if let Some(scale) = &b.scale {
            out = pass.scale(out, scale)?;
        }
        pass.add(x, out)
    }

    fn finish(&self, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        let mut x = match &self.head.norm {
            Some(norm) => pass.norm(&x, norm)?,
            None => x,
        };
        x = match self.description.outputs.pooling() {
            Some(Pooling::FirstTwo) => pass.first(&x, 2)?,
            Some(Pooling::Mean | Pooling::Patches) => pass.mean(&x, 0)?,
            Some(Pooling::FirstAndPatches) => {
                let (first, mean) = (pass.first(&x, 1)?, pass.mean(&x, 1)?);
                pass.join(first, mean)?
            }
            _ => x,
        };
        if let Some(norm) = &self.head.pooled_norm {
            x = pass.norm(&x, norm)?;
        }
        if let Some((dense, act)) = &self.head.dense {
            x = pass.linear(&x, dense)?;
            if let Some(act) = act {
                x = pass.activation(x, *act)?;
            }
        }
        match &self.head.dense_norm {
            Some(norm) => pass.norm(&x, norm),
            None => Ok(x),
        }
    }

    fn unembedding(&self) -> Option<&Linear> {
        self.head.last.as_ref()
    }
}
