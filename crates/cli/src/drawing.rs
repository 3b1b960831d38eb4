//! How the map of a picture is drawn, as typed.

use clap::{Args, builder::PossibleValuesParser};
use pellucid::render::{ColourMap, Interpolation, MapScale, Mask, Options, Overlay};

use crate::args;

#[derive(Clone, Debug, Args)]
pub(crate) struct DrawArgs {
    /// Picture: colours of the map [default: ember, or red-blue for scores with a sign]
    #[arg(long, value_parser = PossibleValuesParser::new(ColourMap::ALL.map(ColourMap::id)))]
    palette: Option<String>,
    /// Picture: how scores of patches become pixels
    #[arg(long, default_value = "bilinear", value_parser = args::one_of(["bilinear", "nearest"], interpolation))]
    interpolation: Interpolation,
    /// Picture: which scores have the colours at the ends: auto, min-max, or two numbers such as -0.5..0.5
    #[arg(long, default_value = "auto", value_name = "SCALE", allow_hyphen_values = true, value_parser = scale)]
    scale: MapScale,
    /// Picture: how the map is laid over it
    #[arg(long, default_value = "fading", value_parser = args::one_of(["fading", "even", "as-published"], overlay))]
    overlay: Overlay,
    /// Picture: opacity of the map over it, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = Options::default().opacity, value_parser = share)]
    opacity: f64,
    /// Picture: show only a part of the map: none, otsu, or above this share of the scale, 0 to 1
    #[arg(long, default_value = "none", value_name = "MASK", value_parser = mask)]
    mask: Mask,
}

impl DrawArgs {
    /// Written into options.
    pub(crate) fn options(&self, options: Options) -> Options {
        Options {
            palette: self.palette.as_deref().and_then(ColourMap::named),
            interpolation: self.interpolation,
            scale: self.scale,
            overlay: self.overlay,
            opacity: self.opacity,
            mask: self.mask,
            ..options
        }
    }
}

fn interpolation(name: &str) -> Interpolation {
    if name == "nearest" { Interpolation::Nearest } else { Interpolation::Bilinear }
}

fn overlay(name: &str) -> Overlay {
    match name {
        "even" => Overlay::Even,
        "as-published" => Overlay::AsPublished,
        _ => Overlay::Fading,
    }
}

fn scale(written: &str) -> Result<MapScale, String> {
    let wrong = || format!("`{written}` is no scale; write auto, min-max, or two numbers, the lower first, such as -0.5..0.5");
    match written {
        "auto" => Ok(MapScale::Auto),
        "min-max" => Ok(MapScale::MinMax),
        _ => {
            let (low, high) = written.split_once("..").ok_or_else(wrong)?;
            let number = |n: &str| n.trim().parse().ok().filter(|n: &f64| n.is_finite());
            let (low, high) = number(low).zip(number(high)).filter(|(low, high)| low < high).ok_or_else(wrong)?;
            Ok(MapScale::Fixed { low, high })
        }
    }
}

fn mask(written: &str) -> Result<Mask, String> {
    match written {
        "none" => Ok(Mask::None),
        "otsu" => Ok(Mask::Otsu),
        _ => share(written).map(Mask::Threshold).map_err(|_| format!("`{written}` is no mask; write none, otsu, or a share from 0 to 1")),
    }
}

fn share(written: &str) -> Result<f64, String> {
    let number = written.trim().parse().ok().filter(|n| (0.0..=1.0).contains(n));
    number.ok_or_else(|| format!("`{written}` is not a number from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_and_masks_are_read_as_people_write_them() {
        assert_eq!(scale("-0.5..1e2"), Ok(MapScale::Fixed { low: -0.5, high: 100.0 }));
        assert_eq!((scale("auto"), mask("otsu"), mask("0.25")), (Ok(MapScale::Auto), Ok(Mask::Otsu), Ok(Mask::Threshold(0.25))));
        for bad in ["", "1..1", "2..1", "a..b", "0..inf", "NaN..1", "1"] {
            assert!(scale(bad).unwrap_err().contains("min-max"), "{bad}");
        }
        for bad in ["", "-0.1", "1.1", "NaN", "yes"] {
            assert!(mask(bad).is_err() && share(bad).is_err(), "{bad}");
        }
    }
}
