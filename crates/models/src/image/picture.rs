//! A picture: pixels the right way up, and where they came from.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use pellucid_core::{Error, ImageRecord, Region, Result};
use sha2::{Digest, Sha256};

use super::data_url::data_url;
use super::decode::{self, Decoded, Format, MAX_FILE_BYTES, Transparency};

/// A decoded picture: 8-bit RGB, the right way up.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
    /// The file's name without folder, where it has one.
    pub name: Option<String>,
    /// Lower-case hexadecimal sha256 of the file's bytes.
    pub sha256: String,
    /// How the file stores it; `None` for a picture made of pixels.
    pub format: Option<Format>,
    /// Whether the file holds more frames than this one, its first.
    pub animated: bool,
    /// Whether some of it is see-through in the file; what became of that is for [`Transparency`] to say.
    pub transparent: bool,
}

impl Picture {
    /// Reads a PNG, JPEG, WebP or GIF file, told apart by content. Transparency is dropped.
    ///
    /// # Errors
    /// The file cannot be read, is no such image, is damaged, or is larger than the limits of this module.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Transparency::Dropped)
    }

    /// As [`open`](Self::open), saying what becomes of what is see-through.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, transparency: Transparency) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read(path)?;
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        Self::of(decode::decode(&bytes, path, transparency)?, &bytes, name)
    }

    /// A picture from a file's bytes; `name` is for messages and records. Transparency is dropped.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn decode(bytes: &[u8], name: Option<&str>) -> Result<Self> {
        Self::decode_with(bytes, name, Transparency::Dropped)
    }

    /// As [`decode`](Self::decode), saying what becomes of what is see-through.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn decode_with(bytes: &[u8], name: Option<&str>, transparency: Transparency) -> Result<Self> {
        let file = Path::new(name.unwrap_or("image"));
        Self::of(decode::decode(bytes, file, transparency)?, bytes, name.map(str::to_owned))
    }

    /// A picture from its pixels, row by row. There is no file: `sha256` is that of the pixels.
    ///
    /// # Errors
    /// No pixels, too many, or another number of bytes than three a pixel.
    pub fn from_rgb(width: usize, height: usize, rgb: Vec<u8>, name: Option<&str>) -> Result<Self> {
        let pixels = decode::pixels(width, height).map_err(Error::request)?;
        if rgb.len() != pixels * 3 {
            return Err(Error::request(format!("an image of {width}x{height} is {} bytes of RGB, not {}", pixels * 3, rgb.len())));
        }
        let (name, sha256) = (name.map(str::to_owned), sha256(&rgb));
        Ok(Self { width, height, rgb, name, sha256, format: None, animated: false, transparent: false })
    }

    fn of(decoded: Decoded, bytes: &[u8], name: Option<String>) -> Result<Self> {
        let Decoded { width, height, rgb, format, animated, transparent } = decoded;
        Ok(Self { width, height, rgb, name, sha256: sha256(bytes), format: Some(format), animated, transparent })
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Its pixels, `[height, width, 3]`, 0 to 255.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The picture as a `data:` address, made smaller if one of its sides is longer than `longest_side`, the same shape: a PNG where it has few
    /// colours or few pixels, a JPEG otherwise.
    ///
    /// # Errors
    /// `longest_side` is 0.
    pub fn to_data_url(&self, longest_side: usize) -> Result<String> {
        data_url(self, longest_side)
    }

    /// What an attribution keeps of it: `seen` is the part that the model saw, cut into `grid` (`[rows, columns]`) patches; the picture for
    /// drawing has no side longer than `longest_side`.
    ///
    /// # Errors
    /// `longest_side` is 0.
    pub fn record(&self, seen: Region, grid: [usize; 2], longest_side: usize) -> Result<ImageRecord> {
        Ok(ImageRecord {
            name: self.name.clone(),
            sha256: self.sha256.clone(),
            width: self.width as u32, // at most `MAX_PIXELS`
            height: self.height as u32,
            seen,
            grid,
            controls: Vec::new(),
            picture: self.to_data_url(longest_side)?,
        })
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Picture")
            .field("name", &self.name)
            .field("width", &self.width)
            .field("height", &self.height)
            .finish_non_exhaustive()
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a file, if it is one and not too large. What says it is short and goes on (a device, a growing file) is caught as well.
fn read(path: &Path) -> Result<Vec<u8>> {
    let unreadable = |e| Error::io("cannot read", path, e);
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a folder" } else { "no ordinary file" };
        return Err(Error::request(format!("{}: {what}; an image is one file, {KINDS}", path.display())));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

pub(super) const KINDS: &str = "PNG, JPEG, WebP or GIF";
