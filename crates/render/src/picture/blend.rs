//! A map's colours over a picture.

use pellucid_core::{Error, Result};

use super::ColourTable;

/// `(1 − opacity)·picture + opacity·colours`, all RGB in rows; `opacities` has one number for each pixel, 0 to 1.
///
/// # Errors
/// The three do not have equally many pixels.
pub fn overlay(picture: &[u8], colours: &[u8], opacities: &[f64]) -> Result<Vec<u8>> {
    if picture.len() != colours.len() || opacities.len().checked_mul(3) != Some(colours.len()) {
        let (p, c, o) = (picture.len(), colours.len(), opacities.len());
        return Err(Error::request(format!("a picture of {p} numbers, colours of {c} and {o} opacities do not lie over one another")));
    }
    let mixed = |(i, (&p, &c)): (usize, (&u8, &u8))| {
        let opacity = opacities[i / 3].clamp(0.0, 1.0);
        (f64::from(p) * (1.0 - opacity) + f64::from(c) * opacity).round() as u8
    };
    Ok(picture.iter().zip(colours).enumerate().map(mixed).collect())
}

/// The overlay as the published code of Chefer et al. (2021) draws it: `picture` (RGB) and `map` (one number for each pixel) in 0 to 1. The colours,
/// in the order blue, green, red, are added to the picture; the sum is divided by its largest number, and red and blue are exchanged on
/// the whole. So the map's colours come out right and the picture's own red and blue do not. Fractions are cut off, not rounded.
///
/// # Errors
/// `picture` is not three numbers for each of `map`.
pub fn overlay_as_published(picture: &[f64], map: &[f64], colours: &ColourTable) -> Result<Vec<u8>> {
    if map.len().checked_mul(3) != Some(picture.len()) {
        return Err(Error::request(format!("a picture of {} numbers is not three for each of a map's {}", picture.len(), map.len())));
    }
    let sum = |(pixel, &v): (&[f64], &f64)| -> [f64; 3] {
        // Casts from floats saturate.
        let [r, g, b] = colours[usize::from((255.0 * v) as u8)].map(|c| f64::from(c) / 255.0);
        [b + pixel[0], g + pixel[1], r + pixel[2]]
    };
    let sums: Vec<[f64; 3]> = picture.chunks_exact(3).zip(map).map(sum).collect();
    let most = sums.iter().flatten().fold(0.0f64, |a, &b| a.max(b));
    let level = |v: f64| if most > 0.0 { (255.0 * (v / most)) as u8 } else { 0 };
    Ok(sums.iter().flat_map(|&[first, green, third]| [level(third), level(green), level(first)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::ColourMap;

    #[test]
    fn an_overlay_lies_between_the_picture_and_the_colours() {
        let (picture, colours) = ([0, 100, 200, 10, 20, 30], [200, 100, 0, 255, 255, 255]);
        assert_eq!(overlay(&picture, &colours, &[0.25, 0.0]).unwrap(), [50, 100, 150, 10, 20, 30]);
        assert_eq!(overlay(&picture, &colours, &[1.0, 1.0]).unwrap(), colours);
        assert!(overlay(&picture, &colours, &[0.5]).unwrap_err().to_string().contains("1 opacities"));
    }

    #[test]
    fn the_published_overlay_exchanges_red_and_blue_of_the_picture_only() {
        // Lowest of the map: (0, 0, 128/255) added to a pure red pixel; the largest sum is 1.
        let drawn = overlay_as_published(&[1.0, 0.0, 0.0], &[0.0], ColourMap::Jet.table()).unwrap();
        // First channel 128/255 + 1, the largest; it ends up as blue.
        assert_eq!(drawn, [0, 0, 255]);
        let two = overlay_as_published(&[1.0, 0.5, 0.0, 0.0, 0.0, 0.0], &[1.0, 0.0], ColourMap::Jet.table()).unwrap();
        // Sums (0 + 1, 0 + 0.5, 128/255 + 0) and (128/255, 0, 0), divided by 1, times 255, exchanged.
        assert_eq!(two, [128, 127, 255, 0, 0, 128]);
        assert!(overlay_as_published(&[0.0; 5], &[0.0, 0.0], ColourMap::Jet.table()).is_err());
    }
}
