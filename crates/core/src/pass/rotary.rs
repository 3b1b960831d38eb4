//! Sines and cosines of rotary position embeddings, made once a walk.

use std::sync::{Arc, Mutex};

use pellucid_kernels::Real;

use crate::model::Rotary;

/// Sines and cosines of a rotary embedding, `[position, dims/2]`, computed in f64 once per walk.
#[derive(Debug)]
pub(crate) struct RotaryTables<T> {
    positions: usize,
    made: Mutex<Vec<(Rotary, Arc<SinCos<T>>)>>,
}

#[derive(Debug)]
pub(crate) struct SinCos<T> {
    pub(crate) cos: Vec<T>,
    pub(crate) sin: Vec<T>,
}

impl<T: Real> RotaryTables<T> {
    /// For positions below `positions`.
    pub(crate) fn new(positions: usize) -> Self {
        Self { positions, made: Mutex::default() }
    }

    pub(crate) fn get(&self, rotary: &Rotary) -> Arc<SinCos<T>> {
        let mut made = self.made.lock().expect("no thread panics while it holds the tables");
        if let Some((_, tables)) = made.iter().find(|(r, _)| r == rotary) {
            return tables.clone();
        }
        let angles = || (0..self.positions).flat_map(|p| rotary.frequencies.iter().map(move |f| p as f64 * f));
        let cos = angles().map(|a| T::from_f64(a.cos() * rotary.magnitude)).collect();
        let sin = angles().map(|a| T::from_f64(a.sin() * rotary.magnitude)).collect();
        let tables = Arc::new(SinCos { cos, sin });
        made.push((rotary.clone(), tables.clone()));
        tables
    }
}
