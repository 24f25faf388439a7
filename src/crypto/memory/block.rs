//! Blocks of locked memory: slots of shared chunks for small ones, pages of their own for large ones.
//!
//! Small blocks come in sizes of 32 bytes, 64, 128 … 16 KiB. Each size has its own chunks, which are kept and reused;
//! a free slot holds the address of the next free one and zeros otherwise.
#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::{self, NonNull};
use std::sync::Once;

use parking_lot::Mutex;
use rustix::mm::{Advice, MapFlags, MlockFlags, MremapFlags, ProtFlags};
use zeroize::Zeroize;

const SMALLEST: usize = 32;
const LARGEST_SLOT: usize = 16 * 1024;
const CLASSES: usize = 10;
const CHUNK: usize = 64 * 1024;
/// Most commands need little: locking memory takes as long as clearing it.
const FIRST_CHUNK: usize = LARGEST_SLOT;
const PAGE: usize = 4096;
/// Blocks beyond this size may have holes: memory is taken, and locked, where something is written. A message with a value
/// of 64 MiB, the usual limit, is below it.
pub(super) const HOLES: usize = 80 << 20;

/// The slots of one size.
struct Class {
    /// The first free slot that was in use before.
    free: Option<NonNull<u8>>,
    /// The part of the newest chunk that was never in use.
    fresh: Option<NonNull<u8>>,
    fresh_bytes: usize,
    chunks: usize,
}

// SAFETY: a class owns the memory that its pointers lead to; nothing about it is tied to a thread.
unsafe impl Send for Class {}

static ARENA: [Mutex<Class>; CLASSES] =
    [const { Mutex::new(Class { free: None, fresh: None, fresh_bytes: 0, chunks: 0 }) }; CLASSES];

/// A piece of locked memory, owned alone; all zero at first, wiped and given back on drop.
pub(super) struct Block {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: a block owns its memory alone, like a `Box<[u8]>`.
unsafe impl Send for Block {}
// SAFETY: shared references only read.
unsafe impl Sync for Block {}

impl Block {
    /// At least `len` zero bytes.
    pub(super) fn allocate(len: usize) -> Self {
        let capacity = Self::capacity_for(len);
        let start = match class(capacity) {
            Some(class) => class.lock().take(capacity),
            None => map(capacity)
                .unwrap_or_else(|| handle_alloc_error(Layout::array::<u8>(capacity).unwrap_or(Layout::new::<u8>()))),
        };
        Self { start, capacity }
    }

    /// A large block of its own; `None`: the machine has not that much memory.
    pub(super) fn try_large(len: usize) -> Option<Self> {
        let capacity = Self::capacity_for(len.max(LARGEST_SLOT + 1));
        Some(Self { start: map(capacity)?, capacity })
    }

    /// The size of the block that holds `len` bytes.
    pub(super) const fn capacity_for(len: usize) -> usize {
        if len <= SMALLEST {
            SMALLEST
        } else if len <= LARGEST_SLOT {
            len.next_power_of_two()
        } else {
            // Wraps around only for lengths that no machine can map; mmap refuses zero.
            len.wrapping_add(PAGE - 1) & !(PAGE - 1)
        }
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` leads to `capacity` initialised bytes that this block owns.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.capacity) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` makes it the only access.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.capacity) }
    }

    /// Extends a large block without leaving a copy behind; false if it cannot be done.
    pub(super) fn grow_in_place(&mut self, len: usize) -> bool {
        let capacity = Self::capacity_for(len);
        // All of a block that is locked without holes would be taken at once.
        let other_kind = self.capacity <= LARGEST_SLOT || (self.capacity <= HOLES && capacity > HOLES);
        if other_kind || capacity <= self.capacity {
            return false;
        }
        // SAFETY: the range is a mapping of this block's own, and no reference into it is alive.
        let moved =
            unsafe { rustix::mm::mremap(self.start.as_ptr().cast(), self.capacity, capacity, MremapFlags::MAYMOVE) };
        match moved.ok().and_then(|p| NonNull::new(p.cast())) {
            Some(start) => {
                (self.start, self.capacity) = (start, capacity);
                true
            }
            None => false,
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // The kernel clears the pages of a mapping before anybody gets them again; wiping would fill the holes.
        if self.capacity <= HOLES {
            self.bytes_mut().zeroize();
        }
        match class(self.capacity) {
            Some(class) => class.lock().give_back(self.start),
            // SAFETY: the mapping is this block's own and nobody uses it after its drop. A failure leaves wiped pages.
            None => drop(unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.capacity) }),
        }
    }
}

/// The class of slots of exactly this size, none for large blocks.
fn class(capacity: usize) -> Option<&'static Mutex<Class>> {
    let index = capacity.trailing_zeros().checked_sub(SMALLEST.trailing_zeros())?;
    if capacity > LARGEST_SLOT { None } else { ARENA.get(usize::try_from(index).ok()?) }
}

impl Class {
    fn take(&mut self, size: usize) -> NonNull<u8> {
        if let Some(slot) = self.free {
            let link: *mut Option<NonNull<u8>> = slot.as_ptr().cast();
            // SAFETY: a free slot begins with an aligned link (slots are multiples of 32 bytes) and is nobody else's.
            unsafe {
                self.free = link.read();
                link.cast::<usize>().write(0);
            }
            return slot;
        }
        let chunk = match self.fresh.take() {
            Some(chunk) if self.fresh_bytes >= size => chunk,
            _ => {
                let len = if self.chunks == 0 { FIRST_CHUNK } else { CHUNK };
                self.chunks += 1;
                self.fresh_bytes = len;
                map(len).unwrap_or_else(|| handle_alloc_error(Layout::new::<[u8; CHUNK]>()))
            }
        };
        self.fresh_bytes -= size;
        if self.fresh_bytes > 0 {
            // SAFETY: `fresh_bytes` more bytes of the same mapping follow this slot.
            self.fresh = Some(unsafe { chunk.add(size) });
        }
        chunk
    }

    fn give_back(&mut self, slot: NonNull<u8>) {
        let link: *mut Option<NonNull<u8>> = slot.as_ptr().cast();
        // SAFETY: the slot was just given up, is aligned and large enough for a link.
        unsafe { link.write(self.free) };
        self.free = Some(slot);
    }
}

/// Maps zero pages, locked, not dumped, not inherited by a forked child (where they would not be locked).
fn map(len: usize) -> Option<NonNull<u8>> {
    let flags = if len > HOLES { MapFlags::PRIVATE | MapFlags::NORESERVE } else { MapFlags::PRIVATE };
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let mapped = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags) };
    let start = NonNull::new(mapped.ok()?)?;
    // SAFETY: the range is the mapping just made; these calls change how it is treated, not what it holds.
    unsafe {
        let locked = if len > HOLES {
            rustix::mm::mlock_with(start.as_ptr(), len, MlockFlags::ONFAULT)
        } else {
            rustix::mm::mlock(start.as_ptr(), len)
        };
        if locked.is_err() {
            warn_once();
        }
        // Old kernels may know neither; the process is not dumpable anyway.
        let _ = rustix::mm::madvise(start.as_ptr(), len, Advice::LinuxDontDump);
        let _ = rustix::mm::madvise(start.as_ptr(), len, Advice::LinuxDontFork);
    }
    Some(start.cast())
}

fn warn_once() {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        log::warn!(
            "secrets in memory may be swapped to disk: the limit for locked memory is too low (raise it with `ulimit -l`, \
             LimitMEMLOCK= in a systemd unit, or --ulimit memlock=-1 for a container)"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let sizes: Vec<_> = [0, 1, 32, 33, 4096, 16_384, 16_385, 20_480].map(Block::capacity_for).into();
        assert_eq!(sizes, [32, 32, 32, 64, 4096, 16_384, 20_480, 20_480]);
        assert!(class(32).is_some() && class(16_384).is_some() && class(32_768).is_none());
    }

    #[test]
    fn a_dropped_slot_is_wiped() {
        let mut block = Block::allocate(LARGEST_SLOT);
        block.bytes_mut().fill(0xa5);
        let start = block.start;
        drop(block);
        // Another test may own the slot by now, but it never writes this pattern.
        // SAFETY: chunks stay mapped for ever; volatile, because somebody may write to it.
        let left = (8..LARGEST_SLOT).filter(|i| unsafe { start.add(*i).as_ptr().read_volatile() } == 0xa5).count();
        assert!(left < 256, "{left} bytes of the pattern are left");
    }

    #[test]
    fn small_blocks_share_chunks_and_reuse_slots() {
        const COUNT: usize = 10_000;
        let chunks = || class(SMALLEST).map_or(0, |c| c.lock().chunks);
        let before = chunks();
        let first: Vec<_> = (0..COUNT).map(|_| Block::allocate(32)).collect();
        let peak = chunks();
        assert!((peak - before) * CHUNK <= COUNT * 32 + 3 * CHUNK, "{} chunks", peak - before);
        drop(first);
        for block in (0..COUNT).map(|_| Block::allocate(32)) {
            assert!(block.bytes().iter().all(|b| *b == 0));
        }
        let second: Vec<_> = (0..COUNT).map(|_| Block::allocate(32)).collect();
        assert!(chunks() <= peak + 2);
        drop(second);
    }

    /// The kernel's flags of the mapping that holds this address.
    fn flags(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("/proc");
        let mut inside = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|r| r.split_once('-'));
            if let Some((from, to)) =
                range.and_then(|(a, b)| Some((usize::from_str_radix(a, 16).ok()?, usize::from_str_radix(b, 16).ok()?)))
            {
                inside = (from..to).contains(&address);
            } else if inside && line.starts_with("VmFlags:") {
                return format!("{line} ");
            }
        }
        String::new()
    }

    /// Other tests could use up what may be locked, so it has a process of its own.
    #[test]
    fn the_kernel_has_it_locked_and_not_dumped_nor_inherited() {
        crate::crypto::tests::alone("memory::block::tests::locked_in_a_process_of_its_own", &[]);
    }

    #[test]
    #[ignore = "run by the_kernel_has_it_locked_and_not_dumped_nor_inherited"]
    fn locked_in_a_process_of_its_own() {
        let lockable =
            rustix::process::getrlimit(rustix::process::Resource::Memlock).current.is_none_or(|l| l > 2 << 20);
        let mut large = Block::allocate(100_000);
        for grown in [false, true] {
            if grown {
                assert!(large.grow_in_place(1_000_000));
            }
            for block in [&large, &Block::allocate(40)] {
                let flags = flags(block.start.as_ptr() as usize);
                assert!(flags.contains(" dd ") && flags.contains(" dc "), "{flags}");
                assert!(flags.contains(" lo ") || !lockable, "{flags}");
            }
        }
        assert!(large.bytes().iter().all(|b| *b == 0));
        let mut holed = Block::try_large(3 << 30).expect("address space");
        holed.bytes_mut()[2 << 30] = 1;
        let flags = flags(holed.start.as_ptr() as usize);
        assert!(flags.contains(" dd ") && flags.contains(" dc ") && (flags.contains(" lo ") || !lockable), "{flags}");
        assert!(resident_kib() < 200 << 10, "only what is written takes memory");
    }

    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}
