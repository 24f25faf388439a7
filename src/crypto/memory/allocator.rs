//! The program's allocator: nothing that is freed stays readable.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::ptr;

use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap_anonymous, mremap, munmap};
use tikv_jemallocator::Jemalloc;
use zeroizing_alloc::ZeroAlloc;

/// From this size on a block is a mapping of its own, whose pages the kernel clears before anybody gets them again; below,
/// blocks are wiped. (The `OpenPGP` library reserves 4 MiB for each message, of which it uses little.)
const LARGE: usize = 1 << 20;

/// The strictest alignment that a mapping has by itself, in bytes.
const PAGE: usize = 4096;

/// Wipes small blocks when they are freed, and unmaps large ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct WipingAllocator;

/// Blocks of one size lie together: with the C library's allocator, which puts small ones that stay between large ones that
/// come and go with each message, a mount grew by 20 KiB with every secret that was read.
const SMALL: ZeroAlloc<Jemalloc> = ZeroAlloc(Jemalloc);

fn is_mapped(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= PAGE
}

// SAFETY: which of the two ways a block is served follows from its layout alone, so that it goes back the way it came.
// Mappings are fresh, aligned to pages, at least as large as asked for, and belong to nobody else.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_mapped(layout) {
            return map(layout.size());
        }
        // SAFETY: the caller's promises are handed on.
        unsafe { SMALL.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_mapped(layout) {
            return map(layout.size());
        }
        // SAFETY: the caller's promises are handed on.
        unsafe { SMALL.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_mapped(layout) {
            // SAFETY: the block is a mapping of this size, which its owner gives back. Should the kernel refuse, it leaks.
            let _ = unsafe { munmap(block.cast(), layout.size()) };
        } else {
            // SAFETY: the caller's promises are handed on.
            unsafe { SMALL.dealloc(block, layout) }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size is not zero and, rounded up to the alignment, no overflow.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if is_mapped(layout) && is_mapped(new) {
            // SAFETY: the block is a mapping of the old size, and nobody uses it but its owner.
            let moved = unsafe { mremap(block.cast(), layout.size(), size, MremapFlags::MAYMOVE) };
            return moved.map_or(ptr::null_mut(), <*mut _>::cast);
        }
        // SAFETY: the new block is at least as large as what is copied, and another than the old one, which is freed only
        // when its content has moved.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

fn map(size: usize) -> *mut u8 {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory that is in use.
    let mapping = unsafe { mmap_anonymous(ptr::null_mut(), size, protection, MapFlags::PRIVATE) };
    mapping.map_or(ptr::null_mut(), <*mut _>::cast)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_their_content_as_they_grow_and_shrink() {
        let allocator = WipingAllocator;
        let sizes = [16, 5_000, LARGE - 1, LARGE, LARGE + 1, 8 * LARGE, 3 * LARGE, LARGE, LARGE - 1, 100];
        let layout = |size| Layout::from_size_align(size, 16).expect("a layout");
        let filled = 16;
        // SAFETY: every block is used within its size, and freed once with its own layout.
        unsafe {
            let mut block = allocator.alloc(layout(sizes[0]));
            block.write_bytes(0x5a, filled);
            for pair in sizes.windows(2) {
                block = allocator.realloc(block, layout(pair[0]), pair[1]);
                assert!(!block.is_null() && block.align_offset(16) == 0);
                assert!((0..filled).all(|n| block.add(n).read() == 0x5a), "{pair:?}");
                block.add(pair[1] - 1).write(1);
                block.write_bytes(0x5a, filled);
            }
            allocator.dealloc(block, layout(100));
            let zeroed = allocator.alloc_zeroed(layout(2 * LARGE));
            assert!((0..2 * LARGE).step_by(4096).all(|n| zeroed.add(n).read() == 0));
            allocator.dealloc(zeroed, layout(2 * LARGE));
        }
    }
}
