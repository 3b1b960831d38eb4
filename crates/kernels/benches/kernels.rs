//! One thread's speed. `cargo bench -p pellucid-kernels`; products are in multiply–adds × 2 per second, the rest in numbers per second.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pellucid_kernels::{
    Activation, AttentionShape, KeysValues, Packed, RotaryLayout, activate, attention, gate, layer_norm, product, rms_norm, rotary,
};

/// Numbers between −½ and ½ that no kernel finds special.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + 13) % 1000) as f32 / 1000.0 - 0.5).collect()
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("product");
    for (m, k, n) in [(128, 576, 576), (256, 576, 1536), (256, 1536, 576), (512, 768, 3072), (512, 3072, 768)] {
        let (x, weight) = (numbers(m * k), numbers(n * k));
        let mut packed = Packed::zeros(n, k);
        packed.set_outputs(0, &weight);
        let mut out = vec![0.0; m * n];
        group.throughput(Throughput::Elements(2 * (m * n * k) as u64));
        group.bench_function(format!("{m}×{k}×{n} packed"), |b| b.iter(|| product(&mut out, n, &x, k, m, &packed, None, false)));
        group.bench_function(format!("{m}×{k}×{n} gemm crate"), |b| b.iter(|| gemm_crate(&mut out, &x, &weight, (m, k, n))));
    }
}

/// The same product by the crate that the tensor library uses, on the weight as it is stored.
fn gemm_crate(out: &mut [f32], x: &[f32], weight: &[f32], (m, k, n): (usize, usize, usize)) {
    assert!(out.len() == m * n && x.len() == m * k && weight.len() == n * k);
    // SAFETY: the matrices have these sizes, all row-major, the weight seen as its transpose.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            x.as_ptr(),
            1,
            k as isize,
            weight.as_ptr(),
            k as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

fn attentions(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention, 9 heads, 3 key heads of 64, causal");
    let shape = AttentionShape { heads: 9, kv_heads: 3, d_head: 64, scale: 0.125, causal: true };
    for rows in [256, 2048] {
        let (q, keys, values) = (numbers(rows * 576), numbers(rows * 192), numbers(rows * 192));
        let positions: Vec<usize> = (0..rows).collect();
        let mut out = vec![0.0; rows * 576];
        // Two products over the visible half of the pattern.
        group.throughput(Throughput::Elements((rows * (rows + 1) / 2 * 576 * 4) as u64));
        let own = KeysValues { keys: &keys, values: &values, rows };
        group.bench_function(format!("{rows} rows"), |b| b.iter(|| attention(&mut out, &q, &positions, None, own, &shape, None)));
    }
}

fn elementwise(c: &mut Criterion) {
    let (rows, width, inner) = (256, 576, 1536);
    let mut group = c.benchmark_group("elementwise");
    group.throughput(Throughput::Elements((rows * inner) as u64));
    let up = numbers(rows * inner);
    let mut x = up.clone();
    for activation in [Activation::GeluErf, Activation::GeluTanh, Activation::Silu, Activation::Tanh] {
        group.bench_function(format!("{activation:?}"), |b| b.iter(|| activate(black_box(&mut x), activation)));
    }
    group.bench_function("gate, Silu", |b| b.iter(|| gate(black_box(&mut x), &up, Activation::Silu)));

    group.throughput(Throughput::Elements((rows * width) as u64));
    let (x, weight) = (numbers(rows * width), numbers(width));
    let mut out = x.clone();
    group.bench_function("rms norm", |b| b.iter(|| rms_norm(&mut out, black_box(&x), width, Some(&weight), 1e-5)));
    group.bench_function("layer norm", |b| b.iter(|| layer_norm(&mut out, black_box(&x), width, &weight, Some(&weight), 1e-5)));
    let positions: Vec<usize> = (0..rows).collect();
    let table = numbers(rows * 32);
    group.bench_function("rotary", |b| {
        b.iter(|| rotary(black_box(&mut out), width, 9, 64, 64, RotaryLayout::HalfSplit, &positions, &table, &table));
    });
}

criterion_group!(kernels, products, attentions, elementwise);
criterion_main!(kernels);
