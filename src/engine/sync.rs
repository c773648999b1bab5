//! The lock and the condition of a channel's slot: parking_lot's, or in a model those of loom, which tries
//! every order in which threads can meet at them.

#[cfg(not(loom))]
pub(super) use parking_lot::{Condvar, Mutex, MutexGuard};

#[cfg(loom)]
pub(super) use model::{Condvar, Mutex, MutexGuard};

/// loom's types in parking_lot's manner. A model has no clock: what waits until a time waits for ever, so
/// that a lost wake-up is a deadlock, which loom finds.
#[cfg(loom)]
mod model {
    use std::fmt;
    use std::ops::{Deref, DerefMut};
    use std::time::Instant;

    pub(in crate::engine) struct Mutex<T>(loom::sync::Mutex<T>);

    /// Empty only while `Condvar::wait` has it.
    pub(in crate::engine) struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

    pub(in crate::engine) struct Condvar(loom::sync::Condvar);

    pub(in crate::engine) struct Waited;

    impl Waited {
        pub(in crate::engine) fn timed_out(&self) -> bool {
            false
        }
    }

    impl<T> Mutex<T> {
        pub(in crate::engine) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(in crate::engine) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().expect("no thread of a model panics")))
        }
    }

    impl<T> fmt::Debug for Mutex<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Mutex")
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().expect("not while waiting")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("not while waiting")
        }
    }

    impl fmt::Debug for Condvar {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Condvar")
        }
    }

    impl Condvar {
        pub(in crate::engine) fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        pub(in crate::engine) fn notify_all(&self) {
            self.0.notify_all();
        }

        pub(in crate::engine) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let inner = guard.0.take().expect("not while waiting");
            guard.0 = Some(self.0.wait(inner).expect("no thread of a model panics"));
        }

        pub(in crate::engine) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> Waited {
            self.wait(guard);
            Waited
        }
    }
}
