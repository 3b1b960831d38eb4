//! A model whose one block is a single operation, so that a rule can be looked at alone.

use std::{collections::BTreeMap, ops::Range};

use pellucid_core::{
    Activation, Compute, Engine, Error, Input, Model, Result, Score, TensorInfo, WeightStore,
    model::{Architecture, Attention, Description, Linear, Norm, Parameter, Table},
    pass::{Pass, Value},
    rules::Rules,
    walk::down::{Descent, Signal, Term, Wanted},
};

pub(crate) const WIDTH: usize = 4;
pub(crate) const D_HEAD: usize = 2;
pub(crate) const SCALE: f64 = 0.8;
pub(crate) const EPSILON: f64 = 1e-3;
const VOCABULARY: usize = 5;
const IDS: [u32; 3] = [3, 1, 4];

/// The operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    RmsNorm,
    LayerNorm,
    Activation,
    Gate,
    Attention,
    /// A linear map with a bias.
    Map,
}

/// What a signal met.
pub(crate) struct Run {
    /// What the block takes, `[row][i]`.
    pub(crate) input: Vec<Vec<f64>>,
    /// What arrives from above.
    pub(crate) arriving: Vec<Vec<f64>>,
    /// What goes on below, `[row, i]`.
    pub(crate) leaving: Vec<f64>,
    store: Numbers,
}

impl Run {
    /// Rows of a weight.
    pub(crate) fn weight(&self, name: &str) -> Vec<Vec<f64>> {
        self.store.0[name].1.chunks(WIDTH).map(|r| r.iter().map(|x| f64::from(*x)).collect()).collect()
    }
}

/// Sends one logit of each row down, so that something arrives everywhere.
pub(crate) fn run(block: Block, rules: Rules) -> Run {
    let architecture = || Box::new(Toy::new(block));
    let store = Numbers::of(&*architecture());
    let model = Model::new(architecture(), Box::new(store.clone()), |_| false).unwrap();
    let mut engine = Engine::new(&model);
    engine.compute = Compute::F64;
    engine.max_memory = Some(1 << 28);
    let term = |row| Term { row, output: row as u32 + 1, score: Score::Logit, temperature: 1.0, weight: 1.0 };
    let terms: Vec<Term> = (0..IDS.len()).map(term).collect();
    let descent = Descent { input: Input::tokens(&IDS), signals: vec![Signal { rules, terms: terms.clone() }], ..Descent::default() };
    let wanted = Wanted { hidden: vec![0], ..Wanted::default() };
    let landed = engine.down(&[descent], &wanted, &mut |_| Ok(())).unwrap().descents.remove(0).hidden.remove(0);
    let run = Run { input: Vec::new(), arriving: Vec::new(), leaving: landed.signals[0].clone(), store };
    let (table, last) = (run.weight("table"), run.weight("last.weight"));
    let input = IDS.map(|id| table[id as usize].clone()).to_vec();
    assert_eq!(landed.value, input.concat(), "a token's embedding is all that the block takes");
    Run { input, arriving: terms.iter().map(|t| last[t.output as usize].clone()).collect(), ..run }
}

/// Tensors in memory.
#[derive(Clone)]
struct Numbers(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Numbers {
    /// Something for every tensor of an architecture: no two numbers of a tensor alike, of both signs.
    fn of(architecture: &dyn Architecture) -> Self {
        let parameters = architecture.parameters().into_iter().chain(architecture.block_parameters(0));
        let fill = |(seed, (name, shape)): (usize, (String, Vec<usize>))| {
            let count: usize = shape.iter().product();
            let values = (0..count).map(|i| ((i * 7 + seed * 13 + 1) as f32 * 0.7).sin() * 1.5).collect();
            (name, (shape, values))
        };
        Self(parameters.flat_map(|p| p.tensors()).enumerate().map(fill).collect())
    }
}

impl WeightStore for Numbers {
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let (shape, values) = self.0.get(name)?;
        Some(TensorInfo { shape: shape.clone(), encoding: "f32", bytes: 4 * values.len() as u64 })
    }

    fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let (shape, values) = self.0.get(name).ok_or_else(|| Error::Weights(format!("no tensor `{name}`")))?;
        let columns = shape.last().copied().unwrap_or(1);
        out.copy_from_slice(&values[rows.start * columns..rows.end * columns]);
        Ok(())
    }

    fn release(&self, _: &str) {}
}

struct Toy {
    block: Block,
    description: Description,
    table: Table,
    last: Linear,
}

fn map(name: &str) -> Linear {
    Linear::new(name, WIDTH, WIDTH)
}

impl Toy {
    fn new(block: Block) -> Self {
        let description = Description {
            architecture: "toy".into(),
            layers: 1,
            d_model: WIDTH,
            heads: WIDTH / D_HEAD,
            kv_heads: WIDTH / D_HEAD,
            d_head: D_HEAD,
            d_ff: WIDTH,
            vocabulary: VOCABULARY,
            context: 16,
            causal: true,
            ..Description::default()
        };
        let table = Table { name: "table".into(), rows: VOCABULARY, width: WIDTH };
        Self { block, description, table, last: Linear::new("last", WIDTH, VOCABULARY) }
    }

    fn norm(&self) -> Norm {
        match self.block {
            Block::LayerNorm => Norm::layer("norm", WIDTH, EPSILON),
            _ => Norm::rms("norm", WIDTH, EPSILON),
        }
    }
}

impl Architecture for Toy {
    fn description(&self) -> &Description {
        &self.description
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![(&self.table).into(), (&self.last).into()]
    }

    fn block_parameters(&self, _: usize) -> Vec<Parameter> {
        match self.block {
            Block::RmsNorm | Block::LayerNorm => vec![(&self.norm()).into()],
            Block::Activation => Vec::new(),
            Block::Map => vec![(&map("map").with_bias(true)).into()],
            Block::Gate => ["gate", "up"].map(|n| (&map(n)).into()).to_vec(),
            Block::Attention => ["q", "k", "v"].map(|n| (&map(n)).into()).to_vec(),
        }
    }

    fn token_table(&self) -> Option<&Table> {
        Some(&self.table)
    }

    fn embed(&self, pass: &mut dyn Pass) -> Result<Value> {
        pass.tokens(&self.table)
    }

    fn block(&self, layer: usize, x: Value, pass: &mut dyn Pass) -> Result<Value> {
        match self.block {
            Block::RmsNorm | Block::LayerNorm => pass.norm(&x, &self.norm()),
            Block::Activation => pass.activation(x, Activation::Silu),
            Block::Map => pass.linear(&x, &map("map").with_bias(true)),
            Block::Gate => {
                let (gate, up) = (pass.linear(&x, &map("gate"))?, pass.linear(&x, &map("up"))?);
                pass.gate(gate, up, Activation::Silu)
            }
            Block::Attention => {
                let [q, k, v] = ["q", "k", "v"].map(|n| pass.linear(&x, &map(n)));
                let heads = WIDTH / D_HEAD;
                let attention = Attention { heads, kv_heads: heads, d_head: D_HEAD, scale: SCALE, causal: true, layer };
                pass.attention(q?, k?, v?, &attention)
            }
        }
    }

    fn finish(&self, x: Value, _: &mut dyn Pass) -> Result<Value> {
        Ok(x)
    }

    fn unembedding(&self) -> Option<&Linear> {
        Some(&self.last)
    }
}
