//! What the decoders do not tell about a file and its blocks do: whether a JPEG or WebP is whole, whether a GIF has a second frame, and whether the
//! frames of a WebP are as large as its header says.

/// Whether a JPEG's end marker is there. Decoders fill what is missing with grey; half a picture is not the picture.
pub(super) fn jpeg_is_whole(bytes: &[u8]) -> bool {
    const END: u8 = 0xD9;
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&b| b == 0xFF) {
        rest = &rest[at + 1..];
        let Some(&marker) = rest.first() else { return false };
        match marker {
            END => return true,
            // A byte of entropy-coded data, a marker without length, or filling before a marker.
            0x00 | 0x01 | 0xD0..=0xD8 | 0xFF => continue,
            // A segment with its length, two bytes of which are the length's own. After a scan's header its data follow and are searched.
            _ => match rest {
                [_, high, low, ..] => rest = rest.get(1 + usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default(),
                _ => return false,
            },
        }
    }
    false
}

/// Whether a GIF has more than one frame.
pub(super) fn gif_is_animated(bytes: &[u8]) -> bool {
    second_gif_frame(bytes).is_some()
}

fn second_gif_frame(bytes: &[u8]) -> Option<()> {
    let palette = |flags: u8| if flags & 0x80 != 0 { 3 << ((flags & 7) + 1) } else { 0 };
    let mut rest = bytes.get(13 + palette(*bytes.get(10)?)..)?;
    let mut frames = 0;
    loop {
        let header = match *rest.first()? {
            b'!' => 2, // an extension and its kind
            b',' if frames == 1 => return Some(()),
            b',' => {
                frames += 1;
                10 + palette(*rest.get(9)?) + 1 // where and how large, a palette, the code size
            }
            _ => return None,
        };
        rest = rest.get(header..)?;
        loop {
            let length = usize::from(*rest.first()?);
            rest = rest.get(1 + length..)?;
            if length == 0 {
                break;
            }
        }
    }
}

/// Whether a WebP is as long as it says. Its decoder makes a picture of half the data too.
pub(super) fn webp_is_whole(bytes: &[u8]) -> bool {
    bytes.get(4..).and_then(<[u8]>::first_chunk).is_some_and(|size| u32::from_le_bytes(*size) as usize <= bytes.len() - 8)
}

/// What is wrong with a WebP whose lossy data are of another size than its frame: decoding would take memory that no header announced.
pub(super) fn webp_disagreement(bytes: &[u8]) -> Option<String> {
    let mut canvas = None;
    for (kind, body) in chunks(bytes.get(12..)?) {
        match kind {
            b"VP8X" => canvas = Some((three(body, 4)? + 1, three(body, 7)? + 1)),
            b"VP8 " => return canvas.and_then(|size| differs(size, body)),
            b"ANMF" => {
                let frame = (three(body, 6)? + 1, three(body, 9)? + 1);
                return chunks(body.get(16..)?).filter(|(kind, _)| *kind == b"VP8 ").find_map(|(_, data)| differs(frame, data));
            }
            _ => {}
        }
    }
    None
}

/// Where the first frame of an animated WebP says whether it is blended: bit 1 is "no".
///
/// Nothing lies below the first frame, so it needs no blending, and the decoder's costs a grey level by rounding.
pub(super) fn webp_blending(bytes: &[u8]) -> Option<usize> {
    let (_, frame) = chunks(bytes.get(12..)?).find(|(kind, _)| *kind == b"ANMF")?;
    let flags = frame.get(15)?;
    Some(std::ptr::from_ref(flags).addr() - bytes.as_ptr().addr())
}

/// `kind` and content of each chunk; a cut-off last one as far as it goes.
fn chunks(mut rest: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (kind, after) = rest.split_first_chunk::<4>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        rest = after.get(length + length % 2..).unwrap_or_default();
        Some((kind, &after[..length.min(after.len())]))
    })
}

fn three(bytes: &[u8], at: usize) -> Option<u32> {
    let b = bytes.get(at..at + 3)?;
    Some(u32::from_le_bytes([b[0], b[1], b[2], 0]))
}

/// Width and height stand in 14 bits each after the frame's tag and start code.
fn differs(frame: (u32, u32), data: &[u8]) -> Option<String> {
    let side = |at: usize| Some(u32::from(u16::from_le_bytes([*data.get(at)?, *data.get(at + 1)?]) & 0x3FFF));
    let stored = (side(6)?, side(8)?);
    (stored != frame).then(|| format!("a frame of {}x{} holds data of {}x{}", frame.0, frame.1, stored.0, stored.1))
}
