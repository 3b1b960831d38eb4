//! Otsu's threshold (1979): the grey level that divides an image into two classes with the largest variance between them.
//!
//! With `ω` the share of pixels up to level `t`, `µ` their part of the mean and `µ_T` the mean of all: `σ²(t) = (µ_T ω − µ)² / (ω (1 − ω))`.
//! Of several equal maxima the first counts, as in OpenCV; a pixel *above* the threshold belongs to the foreground.

/// The threshold of grey levels 0 to 255; 0 where all pixels are the same or there are none.
pub fn otsu(image: &[u8]) -> u8 {
    let mut histogram = [0u64; 256];
    image.iter().for_each(|&v| histogram[usize::from(v)] += 1);
    let pixels = image.len() as f64;
    let mean: f64 = histogram.iter().enumerate().map(|(level, &n)| level as f64 * n as f64).sum::<f64>() / pixels;
    let (mut share, mut part, mut best, mut threshold) = (0.0, 0.0, 0.0, 0);
    for (level, &n) in histogram.iter().enumerate() {
        share += n as f64 / pixels;
        part += level as f64 * n as f64 / pixels;
        let rest = 1.0 - share;
        // One class alone has nothing to differ from; the bound is above what rounding leaves of 0.
        if share < 1e-12 || rest < 1e-12 {
            continue;
        }
        let variance = (mean * share - part).powi(2) / (share * rest);
        // What rounding adds on empty levels is no new maximum.
        if variance > best * (1.0 + 1e-12) {
            (best, threshold) = (variance, level);
        }
    }
    threshold as u8
}

/// Which pixels are more than the threshold.
pub fn above(image: &[u8], threshold: u8) -> Vec<bool> {
    image.iter().map(|&v| v > threshold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: within every division, weights times squared distance of the means.
    fn by_definition(image: &[u8]) -> u8 {
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let (mut best, mut threshold) = (0.0, 0);
        for t in 0..=255u8 {
            let (low, high): (Vec<f64>, Vec<f64>) = image.iter().map(|&v| f64::from(v)).partition(|&v| v <= f64::from(t));
            if low.is_empty() || high.is_empty() {
                continue;
            }
            let variance = low.len() as f64 * high.len() as f64 * (mean(&low) - mean(&high)).powi(2);
            if variance > best * (1.0 + 1e-12) {
                (best, threshold) = (variance, t);
            }
        }
        threshold
    }

    #[test]
    fn two_levels_are_divided_at_the_lower_one() {
        let image = [&[10u8; 30][..], &[200; 10]].concat();
        assert_eq!(otsu(&image), 10);
        assert_eq!(above(&image, 10).iter().filter(|a| **a).count(), 10);
    }

    #[test]
    fn it_is_the_division_with_the_largest_variance() {
        let mut state = 7u32;
        for pixels in [2, 9, 100, 577] {
            let image: Vec<u8> = (0..pixels)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            assert_eq!(otsu(&image), by_definition(&image), "{image:?}");
        }
    }

    #[test]
    fn an_image_of_one_level_or_none_has_threshold_0() {
        assert_eq!(otsu(&[77; 5]), 0);
        assert_eq!(otsu(&[]), 0);
    }
}
