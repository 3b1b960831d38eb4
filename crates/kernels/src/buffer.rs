//! Numbers in memory that begins on a cache line, and a thread's spare ones.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::Real;

/// Bytes in a cache line and in the widest register: a load of a whole register never straddles two lines.
const LINE: usize = 64;

/// A fixed number of numbers, zero at first, beginning on a cache line.
pub struct Buffer<T> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: a buffer owns its memory alone, like a `Vec`.
unsafe impl<T: Send> Send for Buffer<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Buffer<T> {}

impl<T: Real> Buffer<T> {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        if len == 0 {
            return Buffer { start: NonNull::dangling(), len };
        }
        let layout = Self::layout(len);
        // SAFETY: `len` is not 0, so the layout is not empty.
        let memory = unsafe { alloc_zeroed(layout) }.cast::<T>();
        Buffer { start: NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout)), len }
    }
}

impl<T> Buffer<T> {
    fn layout(len: usize) -> Layout {
        let bytes = len.checked_mul(size_of::<T>()).expect("callers check sizes against memory before they ask");
        Layout::from_size_align(bytes, LINE).expect("callers check sizes against memory before they ask")
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated in `zeros` with this layout, and T (f32, f64) has no drop of its own.
            unsafe { dealloc(self.start.as_ptr().cast(), Self::layout(self.len)) };
        }
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `start` points at `len` initialised numbers that live as long as self.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and self is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// A buffer lent by the thread: **what it holds at first is left over from earlier use**. Goes back when dropped.
pub(crate) struct Scratch<T: Real> {
    buffer: Option<Buffer<T>>,
    len: usize,
}

impl<T: Real> Scratch<T> {
    /// Exactly `len` numbers: the smallest spare buffer that has them, else a new one in the place of a smaller one.
    pub(crate) fn take(len: usize) -> Self {
        let buffer = T::spares().with_borrow_mut(|spares| {
            let fitting = (0..spares.len()).filter(|&i| spares[i].len() >= len.max(1)).min_by_key(|&i| spares[i].len());
            match fitting {
                Some(i) if len > 0 => spares.swap_remove(i),
                None if len > 0 => {
                    spares.pop();
                    Buffer::zeros((len + len / 4).next_multiple_of(1024))
                }
                _ => Buffer::zeros(0),
            }
        });
        Scratch { buffer: Some(buffer), len }
    }
}

impl<T: Real> Drop for Scratch<T> {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take().filter(|buffer| !buffer.is_empty()) {
            T::spares().with_borrow_mut(|spares| spares.push(buffer));
        }
    }
}

impl<T: Real> Deref for Scratch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.buffer.as_ref().expect("taken only by drop")[..self.len]
    }
}

impl<T: Real> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.buffer.as_mut().expect("taken only by drop")[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_zero_and_begins_on_a_cache_line() {
        for len in [0, 1, 1000] {
            let buffer = Buffer::<f32>::zeros(len);
            assert!(buffer.len() == len && buffer.iter().all(|&x| x == 0.0));
            assert!(len == 0 || (buffer.as_ptr() as usize).is_multiple_of(LINE));
        }
    }

    #[test]
    fn a_thread_reuses_its_scratch_memory() {
        std::thread::spawn(|| {
            let start = |len| Scratch::<f64>::take(len).as_ptr();
            let (first, held) = (start(5000), Scratch::<f64>::take(10));
            assert_eq!(held.as_ptr(), first, "any buffer that is long enough will do");
            assert_ne!(start(10), first, "what is lent is not lent again");
            drop(held);
            assert_eq!(start(4000), first, "the smallest that fits");
            assert!(Scratch::<f64>::take(0).is_empty());
        })
        .join()
        .expect("the thread's assertions hold");
    }
}
