//! How long things take: `cargo test --release speed -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

fn time<T>(what: &str, times: u32, mut work: impl FnMut() -> T) {
    let start = Instant::now();
    for _ in 0..times {
        std::hint::black_box(work());
    }
    println!("{what:28} {:10.1} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(times));
}

#[test]
#[ignore = "prints figures, checks nothing"]
fn figures() {
    for profile in PROFILES {
        println!("profile {profile}");
        let node = NodeKey::generate(*profile).unwrap();
        let data = [b'x'; 64];
        let Sealed { message, session_key } = seal(&node, ID, &data, Padding::Value).unwrap();
        let epoch = Epoch::of(&message, &session_key).unwrap();
        let commit = pattern(700);
        // The library remembers what it has verified, so each is another one.
        let mut signatures =
            (0..500).map(|i| [&commit[..i], b"x"].concat()).map(|d| (node.sign(&d).unwrap(), d)).collect::<Vec<_>>();
        time("seal 64 bytes", 2000, || seal(&node, ID, &data, Padding::Value).unwrap());
        time("seal in an epoch", 2000, || epoch.seal("change", &data, Padding::Change).unwrap());
        time("open by the node's key", 2000, || open(&node, &message, ID, None, 1000).unwrap());
        time("open, session key known", 2000, || open(&node, &message, ID, Some(&session_key), 1000).unwrap());
        time("sign", 2000, || node.sign(&commit).unwrap());
        time("verify", 500, || {
            let (signature, data) = signatures.pop().unwrap();
            node.certificate().verify(&data, signature.as_bytes()).unwrap();
        });
        let large = seal(&node, ID, &pattern(10 << 20), Padding::Value).unwrap();
        time("seal 10 MiB", 5, || seal(&node, ID, &pattern(10 << 20), Padding::Value).unwrap());
        time("open 10 MiB", 5, || open(&node, &large.message, ID, Some(&large.session_key), 10 << 20).unwrap());
        let slot = slot::seal_for_passphrase(&node, b"passphrase").unwrap();
        time("open a passphrase slot", 3, || slot::open_with_passphrase(&slot, b"passphrase").unwrap());
        let own = slot::seal_for_certificate(&node, node.certificate()).unwrap();
        let user = UserKey::parse(&node.to_secret().unwrap()).unwrap();
        time("open a key slot", 100, || slot::open_with_key(&own, &user).unwrap());
        time("read a key", 100, || NodeKey::from_secret(&node.to_secret().unwrap()).unwrap());
    }
}
