//! Writes a Llama-shaped GGUF with random Q4_0 weights, for showing that a model larger than memory can be explained.
//!
//! A layer at a time goes to the file, so that writing needs no more memory than reading.

#![allow(clippy::print_stderr, reason = "a chore talks to whoever runs it")]

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::{Context, Result};
use half::f16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Sizes; the defaults are those of a 7B Llama.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file to write.
    output: PathBuf,
    #[arg(long, default_value_t = 32)]
    layers: usize,
    #[arg(long, default_value_t = 4096)]
    d_model: usize,
    #[arg(long, default_value_t = 32)]
    heads: usize,
    #[arg(long, default_value_t = 11008)]
    d_ff: usize,
    #[arg(long, default_value_t = 32000)]
    vocabulary: usize,
}

/// A tensor to come: name, `[outputs, inputs]` (or one row of f32).
struct Planned {
    name: String,
    rows: usize,
    columns: usize,
}

const ALIGNMENT: u64 = 32;
const F32: u32 = 0;
const Q4_0: u32 = 2;
/// Weights in a Q4_0 block: one f16 scale and 16 bytes of two 4-bit numbers each.
const BLOCK: usize = 32;
const BLOCK_BYTES: usize = 18;

impl Planned {
    fn is_vector(&self) -> bool {
        self.rows == 1
    }

    fn bytes(&self) -> u64 {
        let numbers = self.rows * self.columns;
        if self.is_vector() { 4 * numbers as u64 } else { (numbers / BLOCK * BLOCK_BYTES) as u64 }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let planned = plan(args);
    let file = File::create(&args.output).with_context(|| format!("cannot write {}", args.output.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let header = header(args, &planned);
    out.write_all(&header)?;
    pad(&mut out, header.len() as u64)?;
    let mut chance = ChaCha8Rng::seed_from_u64(0);
    for tensor in &planned {
        write(&mut out, tensor, &mut chance)?;
        pad(&mut out, tensor.bytes())?;
    }
    out.flush()?;
    let numbers: usize = planned.iter().map(|t| t.rows * t.columns).sum();
    eprintln!("{}: {:.2} billion weights", args.output.display(), numbers as f64 / 1e9);
    Ok(())
}

fn plan(a: &Args) -> Vec<Planned> {
    let tensor = |name: String, rows, columns| Planned { name: format!("{name}.weight"), rows, columns };
    let mut all = vec![tensor("token_embd".into(), a.vocabulary, a.d_model), tensor("output_norm".into(), 1, a.d_model)];
    for l in 0..a.layers {
        let mut add = |name: &str, rows, columns| all.push(tensor(format!("blk.{l}.{name}"), rows, columns));
        add("attn_norm", 1, a.d_model);
        ["attn_q", "attn_k", "attn_v", "attn_output"].iter().for_each(|n| add(n, a.d_model, a.d_model));
        add("ffn_norm", 1, a.d_model);
        add("ffn_gate", a.d_ff, a.d_model);
        add("ffn_up", a.d_ff, a.d_model);
        add("ffn_down", a.d_model, a.d_ff);
    }
    all.push(tensor("output".into(), a.vocabulary, a.d_model));
    all
}

fn header(a: &Args, planned: &[Planned]) -> Vec<u8> {
    let mut h = Vec::new();
    let text = |h: &mut Vec<u8>, s: &str| {
        h.extend((s.len() as u64).to_le_bytes());
        h.extend(s.as_bytes());
    };
    let numbers = [
        ("llama.block_count", a.layers),
        ("llama.context_length", 4096),
        ("llama.embedding_length", a.d_model),
        ("llama.feed_forward_length", a.d_ff),
        ("llama.attention.head_count", a.heads),
        ("llama.attention.head_count_kv", a.heads),
    ];
    h.extend(b"GGUF");
    h.extend(3u32.to_le_bytes());
    h.extend((planned.len() as u64).to_le_bytes());
    h.extend((numbers.len() as u64 + 2).to_le_bytes());
    text(&mut h, "general.architecture");
    h.extend(8u32.to_le_bytes());
    text(&mut h, "llama");
    for (key, value) in numbers {
        text(&mut h, key);
        h.extend(4u32.to_le_bytes());
        h.extend((value as u32).to_le_bytes());
    }
    text(&mut h, "llama.attention.layer_norm_rms_epsilon");
    h.extend(6u32.to_le_bytes());
    h.extend(1e-5f32.to_le_bytes());
    let mut offset = 0u64;
    for tensor in planned {
        text(&mut h, &tensor.name);
        let dimensions: &[usize] = if tensor.is_vector() { &[tensor.columns] } else { &[tensor.columns, tensor.rows] };
        h.extend((dimensions.len() as u32).to_le_bytes());
        dimensions.iter().for_each(|d| h.extend((*d as u64).to_le_bytes()));
        h.extend(if tensor.is_vector() { F32 } else { Q4_0 }.to_le_bytes());
        h.extend(offset.to_le_bytes());
        offset += tensor.bytes().next_multiple_of(ALIGNMENT);
    }
    h
}

/// Norms are ones; matrices have entries of standard deviation about 1/√inputs.
fn write(out: &mut impl Write, tensor: &Planned, chance: &mut ChaCha8Rng) -> Result<()> {
    if tensor.is_vector() {
        (0..tensor.columns).try_for_each(|_| out.write_all(&1f32.to_le_bytes()))?;
        return Ok(());
    }
    // Even 4-bit numbers minus 8 have a standard deviation of 4.6.
    let scale = f16::from_f64(1.0 / (4.6 * (tensor.columns as f64).sqrt())).to_le_bytes();
    let mut row = vec![0u8; tensor.columns / BLOCK * BLOCK_BYTES];
    for _ in 0..tensor.rows {
        chance.fill_bytes(&mut row);
        row.chunks_exact_mut(BLOCK_BYTES).for_each(|block| block[..2].copy_from_slice(&scale));
        out.write_all(&row)?;
    }
    Ok(())
}

fn pad(out: &mut impl Write, written: u64) -> Result<()> {
    let missing = written.next_multiple_of(ALIGNMENT) - written;
    Ok(out.write_all(&vec![0; missing as usize])?)
}
