//! How the process keeps the memory that tensors leave behind, and in which pages it has it.
//!
//! A step of training frees and asks again for the same megabytes, hundreds of times a second. The GNU C library hands such pieces back to the
//! kernel and fetches them anew, which costs a page fault every 4 KiB: a third of the time of a small network on a CPU. It does so whatever it is
//! told with the heaps that it makes for threads besides the first, so that all get their memory from one: with two threads a ResNet-18 learned a
//! sixth faster for it, and needed a sixth less.
//!
//! The weights of a network alone lie in more pages of 4 KiB than a processor remembers the places of, and each answer reads all of them. In
//! pages of 2 MiB a MobileNetV3 answered single images a tenth faster, and a ResNet-18 learned a sixth faster, without more memory.

/// Keeps freed memory for the next allocation instead of handing it back to the operating system, and asks for large pages.
///
/// It changes the whole process, so a library never does it; call it first thing in `main`. The process stays as large as it once
/// was. It does nothing where the C library is not GNU's; where the kernel gives large pages to nobody
/// (`/sys/kernel/mm/transparent_hugepage/enabled`) there are none, and none are asked for where a process may have few addresses (`ulimit -v`).
pub fn tune_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    gnu::tune();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
mod gnu {
    use std::ffi::c_void;
    use std::hint::black_box;

    /// The greatest size for which a heap without room grows; what is larger comes from the kernel, and goes back there.
    const LARGEST_PIECE: i32 = 32 << 20;
    /// More than is ever free at the end of a heap.
    const NEVER: i32 = i32::MAX;
    const ONE_HEAP: i32 = 1;

    /// Addresses at the start of the heap for which large pages are asked for; memory it is when something is written there.
    const LARGE: i32 = 1 << 30;
    /// What the library asks the kernel for besides what it needs, unless it is told.
    const AS_EVER: i32 = 128 << 10;
    /// More than the heap has when a process begins.
    const MORE: usize = 1 << 20;

    pub(super) fn tune() {
        // SAFETY: `mallopt` takes two numbers and changes only how the allocator behaves from now on.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_PIECE);
            libc::mallopt(libc::M_TRIM_THRESHOLD, NEVER);
            libc::mallopt(libc::M_ARENA_MAX, ONE_HEAP);
        }
        ask_for_large_pages();
    }

    /// Lets the heap grow at once, and gives advice on what it has grown by: on what it grows by later it would have to be given again.
    fn ask_for_large_pages() {
        // SAFETY: a number is asked for. Where pages are larger than usual, large ones are too large: 512 MiB.
        if unsafe { libc::sysconf(libc::_SC_PAGESIZE) } != 4096 || addresses_are_scarce() {
            return;
        }
        // SAFETY: nothing is moved, only asked for; what was allocated is freed, once. Allocating it is not to be left out.
        let grown = unsafe {
            let end = libc::sbrk(0);
            libc::mallopt(libc::M_TOP_PAD, LARGE);
            libc::free(black_box(libc::malloc(MORE)));
            libc::mallopt(libc::M_TOP_PAD, AS_EVER);
            (end as usize).next_multiple_of(4096)..libc::sbrk(0) as usize
        };
        // Where the kernel does not give so many, it has not grown.
        if grown.start < grown.end {
            // SAFETY: these are pages of the heap, and the advice leaves alone what is in them. Not taken, it does no harm.
            unsafe { libc::madvise(grown.start as *mut c_void, grown.len(), libc::MADV_HUGEPAGE) };
        }
    }

    /// Whether the process has a limit (`ulimit -v`, `ulimit -d`) that threads and files would miss what the heap takes of, or every address counts as
    /// memory that is used.
    fn addresses_are_scarce() -> bool {
        let has_limit = |which| {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: the limit is written to what is there for it.
            let known = unsafe { libc::getrlimit(which, &raw mut limit) } == 0;
            !known || limit.rlim_cur != libc::RLIM_INFINITY
        };
        let never_overcommits =
            || std::fs::read("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.starts_with(b"2"));
        has_limit(libc::RLIMIT_AS) || has_limit(libc::RLIMIT_DATA) || never_overcommits()
    }
}
