//! The locks and atomics of what a transport's threads share: parking_lot's and std's. Under
//! `cfg(loom)` they are loom's, which runs a test in every order that threads can take.
//!
//! Pools of the whole process and user streams are not part of what is modelled and keep their own.

#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
#[cfg(not(loom))]
pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

#[cfg(loom)]
pub(super) use modelled::{Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
pub(super) use parking_lot::{Condvar, Mutex, MutexGuard};

#[cfg(loom)]
pub(super) use loom::thread::ThreadId;
#[cfg(not(loom))]
pub(super) use std::thread::ThreadId;

/// The thread that asks.
pub(super) fn thread_id() -> ThreadId {
    #[cfg(loom)]
    use loom::thread::current;
    #[cfg(not(loom))]
    use std::thread::current;

    current().id()
}

/// loom's locks with parking_lot's signatures.
#[cfg(loom)]
mod modelled {
    use std::ops::{Deref, DerefMut};
    use std::time::Instant;

    use loom::sync;

    #[derive(Debug, Default)]
    pub(in crate::engine) struct Mutex<T>(sync::Mutex<T>);

    /// Holds a guard but while a condition variable has it.
    pub(in crate::engine) struct MutexGuard<'a, T>(Option<sync::MutexGuard<'a, T>>);

    #[derive(Debug, Default)]
    pub(in crate::engine) struct Condvar(sync::Condvar);

    /// No deadline passes in a model: whoever relies on one is found waiting for ever.
    pub(in crate::engine) struct Waited;

    impl<T> Mutex<T> {
        pub(in crate::engine) fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(in crate::engine) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(self.0.lock().ok())
        }

        pub(in crate::engine) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().expect("no guard while waiting")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("no guard while waiting")
        }
    }

    impl Condvar {
        pub(in crate::engine) fn new() -> Self {
            Self::default()
        }

        pub(in crate::engine) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            guard.0 = guard.0.take().and_then(|inner| self.0.wait(inner).ok());
        }

        pub(in crate::engine) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> Waited {
            self.wait(guard);
            Waited
        }

        pub(in crate::engine) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(in crate::engine) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    impl Waited {
        pub(in crate::engine) fn timed_out(&self) -> bool {
            false
        }
    }
}
