//! Pictures as such in terminals that can show them: the protocols of kitty and of iTerm2, each a PNG between escape characters.
//!
//! Sources: sw.kovidgoyal.net/kitty/graphics-protocol, iterm2.com/documentation-images.html. The PNG is our own; nothing of an attribution's text goes
//! into an escape sequence.

use base64::{Engine, engine::general_purpose::STANDARD};
use image::{RgbImage, Rgba, RgbaImage, imageops};
use pellucid_core::Result;

use crate::{Graphics, picture::layer::png};

/// Pixels that a character is taken to be wide and high.
pub(super) const CELL: [usize; 2] = [10, 20];

/// Most bytes of base64 in one of kitty's pieces.
const PIECE: usize = 4096;

/// Two pictures side by side, `columns` characters wide and `rows` high together.
pub(super) fn side_by_side(graphics: Graphics, pictures: [&RgbImage; 2], gap: usize) -> Result<String> {
    let [a, b] = pictures;
    let gap = (gap * CELL[0]) as u32;
    let mut sheet = RgbaImage::from_pixel(a.width() + gap + b.width(), a.height().max(b.height()), Rgba([0; 4]));
    for (picture, left) in [(a, 0), (b, a.width() + gap)] {
        let whole = RgbaImage::from_fn(picture.width(), picture.height(), |x, y| {
            let [r, g, b] = picture.get_pixel(x, y).0;
            Rgba([r, g, b, 255])
        });
        imageops::replace(&mut sheet, &whole, i64::from(left), 0);
    }
    let cells = [(sheet.width() as usize).div_ceil(CELL[0]), (sheet.height() as usize).div_ceil(CELL[1])];
    Ok(escaped(graphics, &STANDARD.encode(png(&sheet)?), cells))
}

fn escaped(graphics: Graphics, data: &str, [columns, rows]: [usize; 2]) -> String {
    match graphics {
        Graphics::Iterm => format!("\x1b]1337;File=inline=1;width={columns};height={rows};preserveAspectRatio=1:{data}\x07"),
        Graphics::Kitty => {
            let pieces: Vec<&[u8]> = data.as_bytes().chunks(PIECE).collect();
            let piece = |(i, piece): (usize, &&[u8])| {
                let more = u8::from(i + 1 < pieces.len());
                let first = if i == 0 { format!("a=T,f=100,q=2,c={columns},r={rows},") } else { String::new() };
                format!("\x1b_G{first}m={more};{}\x1b\\", String::from_utf8_lossy(piece))
            };
            pieces.iter().enumerate().map(piece).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_arrives_whole_in_either_protocol() {
        let noise = RgbImage::from_fn(90, 60, |x, y| image::Rgb([(x * 37 + y * 91) as u8, (x * y) as u8, (x ^ y) as u8]));
        let sent = |graphics| side_by_side(graphics, [&noise, &noise], 2).unwrap();
        let iterm = sent(Graphics::Iterm);
        let data =
            iterm.strip_prefix("\x1b]1337;File=inline=1;width=20;height=3;preserveAspectRatio=1:").unwrap().strip_suffix('\x07').unwrap();
        let kitty = sent(Graphics::Kitty);
        let pieces: Vec<&str> = kitty.split_inclusive("\x1b\\").collect();
        assert!(pieces.len() > 1 && pieces[0].starts_with("\x1b_Ga=T,f=100,q=2,c=20,r=3,m=1;"), "{}", pieces.len());
        let body = |p: &str| p.strip_suffix("\x1b\\").unwrap().split_once(';').unwrap().1.to_owned();
        assert!(pieces.iter().all(|p| body(p).len() <= PIECE) && pieces.last().unwrap().starts_with("\x1b_Gm=0;"));
        assert_eq!(pieces.iter().map(|p| body(p)).collect::<String>(), data);
        let shown = image::load_from_memory(&STANDARD.decode(data).unwrap()).unwrap().to_rgba8();
        assert_eq!(shown.dimensions(), (90 + 20 + 90, 60));
        assert_eq!(shown.get_pixel(115, 7).0[..3], noise.get_pixel(5, 7).0);
        assert_eq!(shown.get_pixel(95, 7).0[3], 0, "nothing between them");
    }
}
