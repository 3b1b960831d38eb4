//! Layer-wise relevance propagation under αβ rules (α = 1, β = 0), alone or multiplied with gradients of attention.
//!
//! Relevance 1 starts at the target's logit and goes down, operation by operation; K_l is what reaches the pattern of layer l.
//!
//! ```text
//! transformer-attribution    C_l = 1/H · Σ_h (∂y/∂A_h,l ⊙ K_h,l)⁺      R = N(C_L + I) ··· N(C_s + I)       the row of the target
//! rollout                    C_l = 1/H · Σ_h (K_h,l)⁺                  R = N(C_L + I) ··· N(C_s + I)       the row of the target
//! last-layer, second-layer   C_l of the layer itself, with K⁺ or, with `gradient`, (∂y/∂A ⊙ K)⁺                the row of the target
//! full                       the relevance that reaches the input of the first block, summed over d_model; in a model of pictures the pixels,
//!                            summed over channels
//! ```
//!
//! Source: Chefer et al. 2021a, *Transformer Interpretability Beyond Attention Visualization* (arXiv 2012.09838), eq. 3–14; the rules are in
//! [`pellucid_core::rules::AlphaBeta`]. Their names for variants: partial LRP is `last-layer` under the rules `original`, full LRP is `full` under
//! the rules `original`; their last-layer attention is the method `attention`. For a counterfactual class, make it the target.
//! y is the target's logit, whatever score the question asks about: relevance starts there too.
//!
//! `normalize` (N) is on: the published code for text has it; without it (the paper's eq. 14 and the code for images) scores grow with every
//! layer by the size of its gradient, and neither layers nor targets can be compared. `start_layer` is 0; the published code for BERT starts at
//! layer 11 of 12 unless told otherwise.
//! The identities give the asked position most of its row before any attention; they are dropped, as in `chefer`, and `identity: true` keeps them.
//! (The published code for BERT writes over the first position instead: `first_token`.)
//! We differ from the published wiring in two ways, by less than 1e-7 of the largest number in every case: a value that several operations read
//! collects from all of them at once (theirs nests queries, keys and values in a copy of their own), and a mask is no operand of an addition.
//! Always in f64: the rules divide by sums that may almost cancel, and f32 can be off by a hundredth of the largest score.
//! Passes and memory: one walk down with one signal a target token, two where a gradient is multiplied; twice the bytes of f32. Operations
//! without a rule (gated feed-forward networks, rotary positions) are refused.
//! Below the first block of a model of pictures, the addition of positions takes its share, learned rows keep theirs, and the projection of patches
//! has the z^B rule (Montavon et al. 2017), whatever the rules: pixels lie between the lowest and the highest of the picture.
//! Promise: `full` under `ours` (and `detr`) conserves: relevance at the input of the first block, as at that of every block, sums to the 1 it
//! started with (of which positions and learned rows keep a part: pixels sum to something else). Biases take nothing under these rules, and what was embedded (token, position, kind) is not yet taken apart there, so nothing
//! is left out of the sum. What is lost is what the 1e-9 in the divisions takes (about 1e-8 over three blocks), and all that arrives at a number
//! to which nothing contributed with its own sign.

use pellucid_core::{
    Engine, Error, Method, Outcome, Question, Result, Score, Sign,
    model::Description,
    rules::{self, Rules},
    walk::{
        Estimate,
        down::{Combine, Wanted},
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    Entry, NormalizeScores,
    carried::{Carry, FirstToken, Layer, Step, double},
    propagation::{Plan, check_layer, promise},
    reduction::{Reduce, Reduction},
};

/// The table's row.
pub(crate) const ENTRY: Entry = Entry {
    id: "lrp",
    summary: "propagates relevance through every operation, by default weighed with gradients of attention",
    needs: "an αβ rule for every operation: no gated feed-forward networks, no rotary positions",
    promise: "full relevance under the rules `ours` sums to 1",
    cost: "one walk down in f64 with two signals a target token; memory of one block and parts of its pattern",
    source: "Chefer et al. 2021, arXiv 2012.09838",
    docs: include_str!("lrp.rs"),
    make: |parameters| Ok(Box::new(crate::parse::<Lrp>("lrp", parameters)?.checked()?)),
};

/// Which αβ rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlphaBetaRules {
    /// The paper's; relevance is conserved.
    #[default]
    Ours,
    /// Those before it; relevance is not conserved and may explode.
    Original,
    /// `ours`, every linear map rescaled to conserve its sum.
    Detr,
}

impl From<AlphaBetaRules> for Rules {
    fn from(rules: AlphaBetaRules) -> Self {
        Rules::AlphaBeta(match rules {
            AlphaBetaRules::Ours => rules::AlphaBeta::Ours,
            AlphaBetaRules::Original => rules::AlphaBeta::Original,
            AlphaBetaRules::Detr => rules::AlphaBeta::Detr,
        })
    }
}

/// What is made of relevance; see the formulas above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Relevance × gradient, through the layers.
    #[default]
    TransformerAttribution,
    /// Relevance at the patterns, through the layers.
    Rollout,
    /// Relevance at the last pattern.
    #[serde(alias = "partial")]
    LastLayer,
    /// Relevance at the pattern of layer 1.
    SecondLayer,
    /// Relevance at the first block's input, or at the pixels.
    Full,
}

/// Parameters of relevance propagation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lrp {
    /// Which rules.
    pub rules: AlphaBetaRules,
    /// What is made of relevance.
    pub variant: Variant,
    /// Layers before it are left out, where layers are multiplied.
    pub start_layer: Layer,
    /// Whether rows of `C + I` are divided by their sums, where layers are multiplied.
    pub normalize: bool,
    /// Whether `last-layer` and `second-layer` are multiplied with the gradient.
    pub gradient: bool,
    /// Whether the identities count, where layers are multiplied: what the position that is asked has before any attention.
    pub identity: bool,
    /// What becomes of position 0.
    pub first_token: FirstToken,
}

impl Default for Lrp {
    fn default() -> Self {
        Self {
            rules: AlphaBetaRules::default(),
            variant: Variant::default(),
            start_layer: Layer::Number(0),
            normalize: true,
            gradient: false,
            identity: false,
            first_token: FirstToken::default(),
        }
    }
}

impl Lrp {
    /// Passes on parameters that make sense.
    ///
    /// # Errors
    /// `gradient` where it says nothing.
    pub fn checked(self) -> Result<Self> {
        self.check().map(|()| self)
    }

    fn check(&self) -> Result<()> {
        let why = match self.variant {
            Variant::LastLayer | Variant::SecondLayer => return Ok(()),
            Variant::TransformerAttribution => "transformer-attribution is with the gradient always",
            Variant::Rollout => "rollout is without the gradient, and with it is transformer-attribution",
            Variant::Full => "full relevance has no gradient",
        };
        if self.gradient {
            return Err(Error::request(format!("`gradient` is for the variants last-layer and second-layer; {why}")));
        }
        Ok(())
    }

    /// How rows are carried; `None` for the variant `full`, which carries none.
    ///
    /// # Errors
    /// A layer beyond the model.
    pub fn carry(&self, model: &Description) -> Result<Option<Carry>> {
        let layers = model.layers;
        let through = if self.normalize { Step::Normalized } else { Step::Add };
        let (gradient, step, layers) = match self.variant {
            Variant::TransformerAttribution => (true, through, self.start_layer.of(layers)?..layers),
            Variant::Rollout => (false, through, self.start_layer.of(layers)?..layers),
            Variant::LastLayer => (self.gradient, Step::Replace, layers - 1..layers),
            Variant::SecondLayer => (self.gradient, Step::Replace, check_layer(1, layers).map(|()| 1..2)?),
            Variant::Full => return Ok(None),
        };
        let relevance = Rules::from(self.rules);
        let (rules, of) = match gradient {
            true => (vec![Rules::GRADIENT, relevance], Combine::PositiveSignals(0, 1)),
            false => (vec![relevance], Combine::PositiveSignal(0)),
        };
        Ok(Some(Carry { rules, of, step, layers, identity: self.identity || step == Step::Replace }))
    }

    fn full(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        let plan = Plan::new(engine, question, Score::Logit, &[self.rules.into()])?;
        let model = engine.model.description();
        let landing = engine.down(&plan.descents, &wanted(model), &mut |_| Ok(()))?;
        let of_pixels = |descent: usize| landing.descents[descent].embeddings.as_ref();
        let at_first_block = |descent: usize, signal: usize| &landing.descents[descent].hidden[0].signals[signal];
        let sum = Reduction { reduce: Reduce::Sum, absolute: false, normalize: NormalizeScores::None };
        let mut outcome = plan.outcome(question, &landing, &|descent, signal| {
            let relevance = of_pixels(descent).map_or_else(|| at_first_block(descent, signal), |pixels| &pixels.signals[signal]);
            let mut row = sum.positions(relevance, relevance.len() / plan.descents[descent].input.len());
            self.first_token.apply(&mut row);
            row
        });
        if let Some(patches) = &model.patches {
            let picture = |(descent, signal): (usize, usize)| {
                Some(sum.pixels(&patches.picture(&of_pixels(descent)?.signals[signal]), patches.channels))
            };
            outcome.pixels = plan.signals(false).into_iter().map(picture).collect();
            outcome.contrast_pixels = question.target.contrast.as_ref().and(plan.signals(true).into_iter().map(picture).collect());
        }
        if self.rules != AlphaBetaRules::Original {
            let sums = plan.signals(false).into_iter().map(|(descent, signal)| at_first_block(descent, signal).iter().sum());
            outcome.promises = sums.enumerate().map(|(t, sum)| promise("conservation", t, 1.0, sum)).collect();
        }
        Ok(outcome)
    }
}

fn wanted(model: &Description) -> Wanted {
    Wanted { hidden: vec![0], embeddings: model.patches.is_some(), ..Wanted::default() }
}

impl Method for Lrp {
    fn id(&self) -> &'static str {
        "lrp"
    }

    fn parameters(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("plain data")
    }

    fn sign(&self) -> Sign {
        if self.variant == Variant::Full { Sign::Signed } else { Sign::Unsigned }
    }

    fn fits(&self, model: &Description) -> Result<()> {
        self.check()?;
        Rules::from(self.rules).fits(model)?;
        self.carry(model).map(|_| ())
    }

    fn estimate(&self, engine: &Engine<'_>, question: &Question) -> Result<Estimate> {
        self.check()?;
        let engine = &double(engine);
        match self.carry(engine.model.description())? {
            Some(carry) => carry.estimate(engine, question, Score::Logit),
            None => Plan::new(engine, question, Score::Logit, &[self.rules.into()])?.estimate(engine, &wanted(engine.model.description())),
        }
    }

    fn attribute(&self, engine: &Engine<'_>, question: &Question) -> Result<Outcome> {
        self.check()?;
        let engine = &double(engine);
        match self.carry(engine.model.description())? {
            Some(carry) => carry.attribute(engine, question, Score::Logit, &|row| self.first_token.apply(row)),
            None => self.full(engine, question),
        }
    }
}
