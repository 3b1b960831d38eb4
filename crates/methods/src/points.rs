//! Gradients at many points near an input (along a path, in a cloud), added up.
//!
//! Points go down many at a time, in groups that fit the memory: a layer's weights are decoded twice a group, however many points it has.

use std::ops::Range;

use pellucid_core::{
    Engine, Error, Result,
    walk::{
        Estimate,
        down::{Descent, Landing, Wanted},
    },
};

use crate::{embedding::Space, entries::Entries, propagation::Plan};

/// Where gradients are taken: `count` points for each input of the plan.
pub(crate) struct Points<'a> {
    pub(crate) engine: &'a Engine<'a>,
    pub(crate) plan: Plan,
    pub(crate) space: Space,
    pub(crate) count: usize,
}

/// Points that go down together, and what that takes. Point `p` is number `p % count` of input `p / count`.
type Group = (Range<usize>, Estimate);

impl Points<'_> {
    /// How points go down.
    ///
    /// # Errors
    /// Memory that does not suffice for one.
    fn groups(&self) -> Result<Vec<Group>> {
        let all = self.plan.descents.len() * self.count;
        let mut groups = Vec::new();
        let mut first = 0;
        while first < all {
            let most = all - first;
            // The least number that does not fit, found by halving; one point must.
            let (mut fits, mut beyond, mut cost) = (1, most + 1, self.cost(first..first + 1)?);
            let memory = self.engine.memory()?;
            if cost.peak_bytes > memory {
                return Err(Error::Memory(format!(
                    "one step needs about {} MiB, but may take {} MiB: allow more with --max-memory, or explain a shorter input",
                    cost.peak_bytes.div_ceil(1 << 20),
                    memory >> 20
                )));
            }
            while beyond - fits > 1 {
                let tried = if beyond > most { most } else { (fits + beyond) / 2 };
                match self.cost(first..first + tried) {
                    Ok(needs) if needs.peak_bytes <= memory => (fits, cost) = (tried, needs),
                    Ok(_) | Err(Error::Memory(_)) => beyond = tried,
                    Err(other) => return Err(other),
                }
                if fits == most {
                    break;
                }
            }
            groups.push((first..first + fits, cost));
            first += fits;
        }
        Ok(groups)
    }

    /// What a group takes: the walk, and points and gradients in full precision.
    fn cost(&self, group: Range<usize>) -> Result<Estimate> {
        let descents: Vec<Descent> = group.map(|p| self.plan.descents[p / self.count].clone()).collect();
        let own = |d: &Descent| (d.input.len() * (2 + d.signals.len())) as u64;
        let walk = self.engine.estimate_down(&descents, &self.space.wanted())?;
        let numbers = descents.iter().map(own).sum::<u64>() * self.space.width(self.engine) as u64;
        Ok(Estimate { peak_bytes: walk.peak_bytes + 8 * numbers, ..walk })
    }

    /// What scoring `ends` and sending all points down takes.
    ///
    /// # Errors
    /// As [`Engine::estimate_down`].
    pub(crate) fn estimate(&self, ends: &[Descent]) -> Result<Estimate> {
        let ends = self.engine.estimate_down(ends, &Wanted::default())?;
        Ok(self.groups()?.into_iter().fold(ends, |sum, group| joined(sum, group.1)))
    }

    /// Σ over points of `weight · gradient` for every signal of every input; `point` gives the k-th of an input, `[row, width]`. The scores are
    /// those of `ends`, of which the first are the inputs of the plan as they are.
    ///
    /// # Errors
    /// As [`Engine::down`].
    pub(crate) fn gather(self, ends: &[Descent], weights: &[f64], point: &dyn Fn(usize, usize) -> Vec<f64>) -> Result<Entries> {
        let width = self.space.width(self.engine);
        let mut landing = self.engine.down(ends, &Wanted::default(), &mut |_| Ok(()))?;
        let zeros = |d: &Descent| vec![vec![0.0; d.input.len() * width]; d.signals.len()];
        let mut each: Vec<Vec<Vec<f64>>> = self.plan.descents.iter().map(zeros).collect();
        for (group, cost) in self.groups()? {
            let at = |p: usize| (p / self.count, p % self.count);
            let put = |p: usize| self.space.put(&self.plan.descents[at(p).0], point(at(p).0, at(p).1));
            let descents: Vec<Descent> = group.clone().map(put).collect();
            let Landing { descents: landed, backwards, .. } = self.engine.down(&descents, &self.space.wanted(), &mut |_| Ok(()))?;
            for (p, landed) in group.zip(landed) {
                for (sum, signal) in each[at(p).0].iter_mut().zip(&self.space.reached(landed).signals) {
                    sum.iter_mut().zip(signal).for_each(|(s, g)| *s += weights[at(p).1] * g);
                }
            }
            landing.backwards += backwards;
            landing.cost = joined(landing.cost, cost);
        }
        let patches = self.space.patches(self.engine).cloned();
        Ok(Entries { plan: self.plan, landing, each, width, patches })
    }
}

/// One walk after the other.
pub(crate) fn joined(a: Estimate, b: Estimate) -> Estimate {
    Estimate {
        copies: a.copies + b.copies,
        rows: a.rows + b.rows,
        sweeps: a.sweeps + b.sweeps,
        gflop: a.gflop + b.gflop,
        peak_bytes: a.peak_bytes.max(b.peak_bytes),
    }
}
