//! The zip archive around a torch checkpoint since 1.6: a pickle, and one stored file per storage.

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;

use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use super::pickle::Names;
use super::{Checkpoint, pickle};

/// Reads the archive's directory and its pickle.
pub(super) fn read(bytes: &[u8]) -> Result<Checkpoint<'_>, String> {
    let entries = entries(bytes)?;
    // Everything is in one folder, named as the checkpoint was when it was saved.
    let (folder, pickle) = find_pickle(&entries)?;
    if let Some(order) = entries.get(&format!("{folder}byteorder"))
        && &bytes[order.clone()] != b"little"
    {
        return Err("the numbers are not stored little-endian".into());
    }
    let (heap, top, _) = pickle::read(&bytes[pickle], Names::Checkpoint).map_err(|what| format!("data.pkl: {what}"))?;
    let data = format!("{folder}data/");
    let storages = entries.iter().filter_map(|(name, range)| Some((name.strip_prefix(&data)?.to_owned(), range.clone()))).collect();
    Ok(Checkpoint { heap, top, storages })
}

/// Where every file of the archive lies. All are stored as they are, and lie inside the archive.
fn entries(bytes: &[u8]) -> Result<HashMap<String, Range<usize>>, String> {
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut zip = ZipArchive::with_config(config, Cursor::new(bytes)).map_err(|e| format!("bad zip archive: {e}"))?;
    if zip.has_duplicate_names() {
        return Err("two files in the archive have the same name".into());
    }
    let mut entries = HashMap::new();
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).map_err(|e| format!("bad zip archive: {e}"))?;
        let name = entry.name().map_err(|e| format!("bad zip archive: {e}"))?.into_owned();
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(format!("`{name}` is compressed or encrypted; torch stores it as it is"));
        }
        let range = entry.data_start().and_then(|start| {
            let (start, size) = (usize::try_from(start).ok()?, usize::try_from(entry.compressed_size()).ok()?);
            Some(start..start.checked_add(size).filter(|&end| end <= bytes.len())?)
        });
        let range = range.ok_or_else(|| format!("`{name}` lies outside the file"))?;
        entries.insert(name, range);
    }
    Ok(entries)
}

/// The folder of `data.pkl`, with its slash, and where that lies.
fn find_pickle(entries: &HashMap<String, Range<usize>>) -> Result<(&str, Range<usize>), String> {
    let mut pickles = entries.iter().filter_map(|(name, range)| {
        let folder = name.strip_suffix("data.pkl").filter(|folder| folder.is_empty() || folder.ends_with('/'))?;
        Some((folder, range.clone()))
    });
    match (pickles.next(), pickles.next()) {
        (Some(pickle), None) => Ok(pickle),
        (None, _) => Err("a zip archive without data.pkl: not a torch checkpoint".into()),
        (Some(_), Some(_)) => Err("a zip archive with more than one data.pkl: not a torch checkpoint".into()),
    }
}
