//! What the library accepts: which algorithms, and keys as they stand at which time.

use std::sync::LazyLock;
use std::time::SystemTime;

use sequoia_openpgp::Cert;
use sequoia_openpgp::policy::StandardPolicy;

/// The library's own policy: no broken algorithms.
pub(super) static POLICY: LazyLock<StandardPolicy<'static>> = LazyLock::new(StandardPolicy::new);

/// The present, but not before the certificate was made: a machine whose clock is not set yet can still open keynodes.
pub(super) fn present(cert: &Cert) -> SystemTime {
    let made = cert.primary_key().key().creation_time();
    SystemTime::now().max(made + std::time::Duration::from_secs(60))
}
